"""Performance figures from returns, trades and fills.

Returns are simple, one a bar, the first measured from the initial capital. The
Sharpe ratio is arithmetic: mean / standard deviation (ddof=1) x sqrt(periods a
year), without a risk-free rate. What is undefined is NaN, never 0 and never
infinity: a series that does not move has no Sharpe ratio.

>>> round(sharpe([0.01, -0.005, 0.02, 0.0]), 2)
8.95
>>> max_drawdown([-0.1, 0.05])
-0.09999999999999998
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

DAYS_PER_YEAR = 252
PIECE = 16_384  # bars worked on at once: they stay in the processor's cache
CONSTANT = 1e-12  # deviation of returns, relative to their mean (to 1 % at least), below which they do not move


def _array(values) -> np.ndarray:
    return np.asarray(values, dtype=float)


def periods_per_year(index: pd.DatetimeIndex) -> float:
    """Bars a year, from the median distance of the bars.

    252 for daily bars on weekdays, 365 with weekends, 52, 12, 4 and 1 for weekly to
    yearly ones; intraday bars are counted (bars / years). NaN for fewer than two bars.
    """
    if len(index) < 2:
        return np.nan
    seconds = np.median(np.diff(index[-10_000:].as_unit("s").asi8))
    days = seconds / 86400
    if days < 0.9:
        years = (index[-1] - index[0]).total_seconds() / (365.25 * 86400)
        return float(round((len(index) - 1) / years))
    if days < 4:
        return 365.0 if (index[-2_000:].day_of_week >= 5).mean() > 0.2 else float(DAYS_PER_YEAR)
    for limit, periods in ((15, 52.0), (60, 12.0), (180, 4.0)):
        if days < limit:
            return periods
    return 1.0


def sharpe(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annualised Sharpe ratio of returns (n,); NaN for fewer than two or for a constant series."""
    mean, deviation = _moments(_array(returns))
    return _ratio(mean, deviation, periods_per_year)


def sortino(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Mean over downside deviation (root mean square of the returns below 0, over all n), annualised.

    Sortino & Price (1994), with a target of 0. NaN when nothing was lost.
    """
    returns = _array(returns)
    mean, deviation = _moments(returns)
    if np.isnan(_ratio(mean, deviation, 1.0)):
        return np.nan
    downside = math.sqrt(float(_sum_of_squares(np.minimum(returns, 0.0))) / len(returns))
    return _ratio(mean, downside, periods_per_year)


def volatility(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annualised sample standard deviation (ddof=1); NaN for fewer than two returns."""
    return _moments(_array(returns))[1] * math.sqrt(periods_per_year)


def total_return(returns) -> float:
    """Compound return over all of them: 0.5 = half as much again; NaN for none."""
    return float(np.prod(1.0 + _array(returns)) - 1.0) if len(returns) else np.nan


def annual_return(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Compound return a year; -1 when everything was lost, NaN for no returns or beyond the range of floats."""
    return _a_year(1.0 + total_return(returns), len(returns), periods_per_year)


def drawdown(returns) -> np.ndarray:
    """Equity below its highest point so far, the initial capital included: (n,), 0 or negative."""
    return _of_peak(np.cumprod(1.0 + _array(returns)), 1.0) - 1.0


def max_drawdown(returns) -> float:
    """The deepest drawdown, 0 or negative (-0.2: a fifth below the peak); NaN for no returns."""
    below = drawdown(returns)
    return float(below.min()) if len(below) else np.nan


def calmar(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annual return over the depth of the maximum drawdown; NaN when there was none."""
    depth = -max_drawdown(returns)
    return annual_return(returns, periods_per_year) / depth if depth > 0 else np.nan


def win_rate(profits) -> float:
    """Share of closed trades with a net profit above 0; NaN without trades.

    Here and below: profits is an array of net profits of closed trades, or the table of trades.
    """
    return _of_trades(**trade_statistics(profits))["win_rate"]


def profit_factor(profits) -> float:
    """Gross profits over gross losses of closed trades; NaN when there is no loss."""
    return _of_trades(**trade_statistics(profits))["profit_factor"]


def average_win(profits) -> float:
    """Mean net profit of the closed trades that gained; NaN when none did."""
    return _of_trades(**trade_statistics(profits))["average_win"]


def average_loss(profits) -> float:
    """Mean net profit of the closed trades that lost: negative, NaN when none did."""
    return _of_trades(**trade_statistics(profits))["average_loss"]


def turnover(traded_value: float, equity, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Value traded a year, buys and sells alike, as a multiple of mean equity (n,)."""
    equity = _array(equity)
    return _turnover(traded_value, float(equity.sum()) / max(len(equity), 1), len(equity), periods_per_year)


def summary(equity, cash: float, profits, held: float, traded_value: float, waterfall: dict,
            periods_per_year: float, n_open_trades: int = 0) -> dict[str, float]:
    """Every figure of a backtest, by name; those of the functions above, worked out together.

    equity : (n,) over the bars of the statistics; cash : the equity before them
    profits : net profits of the closed trades; held : share of bars with a position at the close
    traded_value : sum of |quantity| x price over the fills
    waterfall : signed effects on profit, with "gross" and the six costs
    """
    path = {name: float(value) for name, value in path_statistics(equity, cash).items()}
    return figures(path, len(equity), trade_statistics(profits), held, traded_value, waterfall, periods_per_year,
                   n_open_trades)


def path_statistics(equity: np.ndarray, cash: float) -> dict[str, np.ndarray]:
    """What `figures` needs of a path of equity that starts from `cash`.

    equity : (..., n), one run or many; gives (...,) each, NaN without bars. Worked out piece by
    piece, so that no more than a piece of the returns exists at a time.
    """
    n, shape = equity.shape[-1], equity.shape[:-1]
    if n == 0:
        return dict.fromkeys(("mean", "deviation", "downside", "growth", "depth", "mean_equity"), np.full(shape, np.nan))
    pieces = [slice(first, first + PIECE) for first in range(0, n, PIECE)]
    total = lost = money = squares = np.zeros(shape)
    depth, peak = np.full(shape, np.inf), np.full(shape, float(cash))
    for piece in pieces:
        part, returns = equity[..., piece], _returns(equity, piece, cash)
        total, money = total + returns.sum(axis=-1), money + part.sum(axis=-1)
        lost = lost + _sum_of_squares(np.minimum(returns, 0.0, out=returns))
        high = np.maximum.accumulate(part, axis=-1)
        np.maximum(high, peak[..., None], out=high)
        peak = high[..., -1].copy()
        depth = np.minimum(depth, np.divide(part, high, out=high).min(axis=-1))
    mean = total / n
    for piece in pieces:
        away = _returns(equity, piece, cash)
        away -= mean[..., None]
        squares = squares + _sum_of_squares(away)
    return {"mean": mean, "deviation": np.sqrt(squares / (n - 1)) if n > 1 else np.full(shape, np.nan),
            "downside": np.sqrt(lost / n), "growth": equity[..., -1] / cash, "depth": depth - 1.0,
            "mean_equity": money / n}


def _returns(equity: np.ndarray, piece: slice, cash: float) -> np.ndarray:
    """Returns of a piece of the bars, the first of all measured from `cash`."""
    part, first = equity[..., piece], piece.start
    returns = np.empty(part.shape)
    np.divide(part[..., 0], equity[..., first - 1] if first else cash, out=returns[..., 0])
    np.divide(part[..., 1:], part[..., :-1], out=returns[..., 1:])
    returns -= 1.0
    return returns


def trade_statistics(profits) -> dict[str, float]:
    """What `figures` needs of closed trades: how many, how many won and lost, and how much."""
    if isinstance(profits, pd.DataFrame):
        profits = profits.loc[profits["exit_time"].notna(), "net_profit"]
    profits = _array(profits)
    wins, losses = profits[profits > 0], profits[profits < 0]
    return {"n": len(profits), "n_wins": len(wins), "n_losses": len(losses), "gained": float(wins.sum()),
            "lost": float(losses.sum())}


def figures(path: dict, n_bars: int, trades: dict, held: float, traded_value: float, waterfall: dict,
            periods_per_year: float, n_open_trades: int) -> dict[str, float]:
    """The named figures of one run, from `path_statistics` and `trade_statistics`."""
    mean, deviation, depth = path["mean"], path["deviation"], path["depth"]
    ratio = _ratio(mean, deviation, periods_per_year)
    a_year = _a_year(path["growth"], n_bars, periods_per_year)
    costs = {name: 0.0 - waterfall[name] for name in ("delay", "spread", "slippage", "impact", "commission", "borrow")}
    total_cost, gross = sum(costs.values()), waterfall["gross"]
    return {
        "total_return": path["growth"] - 1.0,
        "annual_return": a_year,
        "volatility": deviation * math.sqrt(periods_per_year),
        "sharpe": ratio,
        "sortino": math.nan if math.isnan(ratio) else _ratio(mean, path["downside"], periods_per_year),
        "max_drawdown": depth,
        "calmar": a_year / -depth if depth < 0 else math.nan,
        "n_trades": float(trades["n"]),
        "n_open_trades": float(n_open_trades),
        **_of_trades(**trades),
        "exposure": held,
        "turnover": _turnover(traded_value, path["mean_equity"], n_bars, periods_per_year),
        "trading_cost": total_cost - costs["delay"],
        "total_cost": total_cost,
        **{f"{name}_cost": cost for name, cost in costs.items()},
        "cost_share_of_gross": total_cost / gross if gross > 0 else math.nan,
        "periods_per_year": float(periods_per_year),
        "n_bars": float(n_bars),
    }


# ---- what several of them share


def _moments(returns: np.ndarray) -> tuple[float, float]:
    """Mean and sample standard deviation (ddof=1); NaN for fewer than two."""
    n = len(returns)
    if n < 2:
        return np.nan, np.nan
    mean = float(returns.sum()) / n
    return mean, math.sqrt(float(_sum_of_squares(returns - mean)) / (n - 1))


def _ratio(mean: float, deviation: float, periods_per_year: float) -> float:
    if not deviation > CONSTANT * max(abs(mean), 0.01):
        return np.nan
    return mean / deviation * math.sqrt(periods_per_year)


def _sum_of_squares(values: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    return np.einsum("...i,...i->...", values, values)


def _a_year(growth: float, n: int, periods_per_year: float) -> float:
    if n == 0:
        return np.nan
    if not growth > 0:
        return -1.0
    exponent = math.log(growth) * periods_per_year / n
    return math.expm1(exponent) if exponent < 700 else np.nan  # beyond what a float can hold


def _of_peak(equity: np.ndarray, start: float) -> np.ndarray:
    """Equity as a share of its highest value so far, `start` included."""
    peak = np.maximum.accumulate(equity, axis=-1)
    np.maximum(peak, start, out=peak)
    return np.divide(equity, peak, out=peak)


def _turnover(traded_value: float, mean_equity: float, n: int, periods_per_year: float) -> float:
    return float(traded_value / mean_equity * periods_per_year / n) if n and mean_equity > 0 else np.nan


def _of_trades(n: int, n_wins: int, n_losses: int, gained: float, lost: float) -> dict[str, float]:
    return {"win_rate": n_wins / n if n else np.nan, "profit_factor": gained / -lost if lost < 0 else np.nan,
            "average_win": gained / n_wins if n_wins else np.nan, "average_loss": lost / n_losses if n_losses else np.nan}
