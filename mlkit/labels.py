"""Labels: what to predict at the close of a bar, and when the answer is known.

Third in the flow, after `features`. Every function takes a bars table (n rows) and
gives a DataFrame (n, 2) on the same index: row t is a decision at the close of bar t,
`label` what it should have been (NaN where the bars end too early: never 0), and `end`
the timestamp of the bar in which that became known (NaT where label is NaN). A split
purges by `end`: a row is fit for training only at or after it. No bar after `end` has
any part in the label.

>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [100.0, 110.0, 99.0]}, index=pd.date_range("2024-01-01", periods=3))
>>> next_return(bars, price="close")
            label        end
2024-01-01    0.1 2024-01-02
2024-01-02   -0.1 2024-01-03
2024-01-03    NaN        NaT
"""

import numpy as np
import pandas as pd

from mlkit.features import Volatility
from mlkit.features.indicators import price_column, whole_number

__all__ = ["direction", "meta_label", "next_drawdown", "next_level", "next_return", "next_volatility", "trade_return",
           "triple_barrier"]

CONSTANT = 1e-12  # volatility below which a market does not move, and barriers have no width


def next_return(bars: pd.DataFrame, horizon=1, price="open") -> pd.DataFrame:
    """The return over `horizon` bars, a fraction.

    price : "open", what a decision at the close of t can earn: open[t+1+h] / open[t+1] - 1, as
        an order fills at the next open; with bars of closes alone, which fill at the next
        close, the same of closes. end = the bar t+1+h. "close": close[t+h] / close[t] - 1,
        end = the bar t+h; nothing trades at close[t] once it is known.

    Raises BarsError for a price <= 0.
    """
    entry, exit_, end = _entry_and_exit(bars, horizon, price, positive=True)
    return _labelled(bars, exit_ / entry - 1.0, end)


def direction(bars: pd.DataFrame, horizon=1, price="open") -> pd.DataFrame:
    """1.0 where the price of `next_return` rises, 0.0 where it falls or stays as it was.

    Takes prices of any sign.
    """
    entry, exit_, end = _entry_and_exit(bars, horizon, price, positive=False)
    return _labelled(bars, np.where(np.isnan(exit_ - entry), np.nan, exit_ > entry), end)


def next_level(bars: pd.DataFrame, horizon=1) -> pd.DataFrame:
    """The close `horizon` bars on, in price units: close[t+h]; end = the bar t+h."""
    horizon = whole_number(horizon, "horizon")
    return _labelled(bars, _ahead(price_column(bars), horizon), horizon)


def next_volatility(bars: pd.DataFrame, horizon=5) -> pd.DataFrame:
    """Sample standard deviation (ddof=1) of the next `horizon` (2 or more) close returns, per bar.

    They are those of bars t+1 to t+h; end = the bar t+h. Raises BarsError for a close <= 0.
    """
    horizon = whole_number(horizon, "horizon", least=2)
    return _labelled(bars, _ahead(Volatility(horizon)(bars).iloc[:, 0].to_numpy(), horizon), horizon)


def next_drawdown(bars: pd.DataFrame, horizon=20) -> pd.DataFrame:
    """The deepest fall of the close from its highest point so far, over the next `horizon` bars.

    The path is close[t], ..., close[t+h]. 0 or negative, as `metrics.max_drawdown`: -0.1 = a tenth
    below the peak; end = the bar t+h. Raises BarsError for a close <= 0.
    """
    horizon = whole_number(horizon, "horizon")
    peak = close = price_column(bars, positive=True)
    deepest = np.zeros(len(close))
    for k in range(1, horizon + 1):
        later = _ahead(close, k)
        peak = np.maximum(peak, later)
        deepest = np.minimum(deepest, later / peak - 1.0)
    return _labelled(bars, deepest, horizon)


def triple_barrier(bars: pd.DataFrame, horizon=10, *, upper=2.0, lower=2.0, window=20) -> pd.DataFrame:
    """Which is met first by a long position: a target (1.0), a stop (-1.0) or the end of its time (0.0).

    horizon : bars held, from the entry at the open of t+1 to the close of t+h
    upper, lower : distance of target and stop, in volatilities (`Volatility(window)` at t, per
        bar) as fractions of the entry price

    `end` is the bar of the touch, or t+h. A bar touches a barrier when its high or low meets
    it; one that touches both counts as stopped, as what came first is not known. Bars of
    closes alone enter at close[t+1] and are watched at the closes t+2 to t+1+h. NaN while
    volatility is unknown or 0, and where the bars end before a barrier is met.
    Lopez de Prado (2018), Advances in Financial Machine Learning, section 3.4. Raises BarsError
    for a price <= 0.
    """
    horizon = whole_number(horizon, "horizon")
    for name, width in (("upper", upper), ("lower", lower)):
        if not 0 < width < np.inf:
            raise ValueError(f"{name} is a number of volatilities above 0, not {width!r}.")
    volatility = Volatility(window)(bars).iloc[:, 0].to_numpy()
    ranges = {"open", "high", "low"} <= set(bars.columns)
    high, low, entry = (price_column(bars, name if ranges else "close", positive=True)
                        for name in ("high", "low", "open"))
    entry = _ahead(entry, 1)
    target, stop = entry * (1.0 + upper * volatility), entry * (1.0 - lower * volatility)

    label, bars_to_end = np.full(len(bars), np.nan), np.zeros(len(bars), dtype=int)
    undecided = ~np.isnan(entry) & (volatility > CONSTANT)
    first = 1 if ranges else 2
    for k in range(first, first + horizon):
        lowest, highest = _ahead(low, k), _ahead(high, k)
        undecided &= ~np.isnan(lowest + highest)  # the bars end here
        stopped = undecided & (lowest <= stop)
        gained = undecided & (highest >= target) & ~stopped
        label[stopped], label[gained] = -1.0, 1.0
        bars_to_end[undecided] = k
        undecided &= ~(stopped | gained)
    label[undecided] = 0.0
    return _labelled(bars, label, bars_to_end)


def meta_label(bars: pd.DataFrame, decisions, cost_bps: float = 0.0) -> pd.DataFrame:
    """Whether a rule's proposal paid: 1.0 where the trade it would open gains more than its costs, else 0.0.

    decisions : (n,) of a Strategy's `decide`: 1 proposes to buy, -1 to sell. A row with a proposal is
        bought at the open of t+1 (closes alone: the next close) and sold at the open after the first
        later -1; rows without a proposal, and trades that the bars cut short, are NaN
    cost_bps : a side, taken from both; end = the bar of the sale

    For the model of a FilteredStrategy. Lopez de Prado (2018), Advances in Financial Machine Learning,
    section 3.6. Raises BarsError for a price <= 0.
    """
    return_ = trade_return(bars, decisions, cost_bps)
    return return_.assign(label=(return_["label"] > 0).astype(float).where(return_["label"].notna()))


def trade_return(bars: pd.DataFrame, decisions, cost_bps: float = 0.0) -> pd.DataFrame:
    """What a rule's proposal earned, a fraction, after `cost_bps` a side; rows and ends as `meta_label`."""
    decisions = np.asarray(decisions)
    if decisions.shape != (len(bars),):
        raise ValueError(f"decisions of shape {decisions.shape} for {len(bars)} bars: one a bar is due")
    price = price_column(bars, "open" if "open" in bars else "close", positive=True)
    at, n = np.arange(len(bars)), len(bars)
    leaves = _next_at(decisions < 0)
    known = (decisions > 0) & (leaves < n - 1)
    entry, exit_ = price[np.minimum(at + 1, n - 1)], price[np.minimum(leaves + 1, n - 1)]
    cost = cost_bps * 1e-4
    earned = np.where(known, (1.0 - cost) * exit_ / ((1.0 + cost) * entry) - 1.0, np.nan)
    return _labelled(bars, earned, np.where(known, leaves + 1 - at, 0))


def _next_at(marked: np.ndarray) -> np.ndarray:
    """For each row the first later one that is marked, (n,); n where there is none."""
    n = len(marked)
    following = np.where(np.append(marked[1:], False), np.arange(1, n + 1), n)
    return np.minimum.accumulate(following[::-1])[::-1]


def _entry_and_exit(bars, horizon, price, positive) -> tuple[np.ndarray, np.ndarray, int]:
    """Prices (n,) of the round trip of a decision at each close, and how many bars on it ends."""
    horizon = whole_number(horizon, "horizon")
    if price not in ("open", "close"):
        raise ValueError(f'price is "open" or "close", not {price!r}.')
    wait = 1 if price == "open" else 0
    values = price_column(bars, "open" if wait and "open" in bars else "close", positive)
    return _ahead(values, wait), _ahead(values, wait + horizon), wait + horizon


def _ahead(values: np.ndarray, k: int) -> np.ndarray:
    """The value k rows on, (n,), NaN for the last k."""
    return np.append(values[k:], np.full(min(k, len(values)), np.nan))


def _labelled(bars, label, bars_to_end) -> pd.DataFrame:
    """`label` with the timestamp that many bars on (an int, or (n,) of them) where it is known."""
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise ValueError("A label ends at a time: its bars need a DatetimeIndex.")
    row = np.where(np.isnan(label), -1, np.arange(len(bars)) + bars_to_end)
    end = bars.index.take(row, allow_fill=True, fill_value=pd.NaT)
    return pd.DataFrame({"label": np.asarray(label, dtype=float), "end": end}, index=bars.index)
