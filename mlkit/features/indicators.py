"""The features of one instrument's own prices, and what every feature has in common.

>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [100.0, 110.0, 99.0]}, index=pd.date_range("2024-01-01", periods=3))
>>> LaggedReturns(1)(bars)["return_1"].round(3).tolist()
[nan, 0.1, -0.1]
"""

from collections import Counter
from dataclasses import astuple, dataclass
from math import ceil, log

import numpy as np
import pandas as pd

from mlkit.markets import check_bars
from mlkit.rolling import rolling_mean, rolling_moments

# What a recursive average keeps of its first value after its warm-up: 1e-8 of an
# error of 1,000 price units, or of ten times the present moves in RSI's 100 points.
SEED_LEFT = 1e-11


def price_column(bars, column="close", positive=False) -> np.ndarray:
    """One price column (n,), float64; with `positive`, for percentages, refusing prices <= 0 (NaN passes).

    Raises ValueError without that column, BarsError for a price <= 0.
    """
    if not isinstance(bars, pd.DataFrame) or column not in bars:
        got = f"one with {list(bars)}" if isinstance(bars, pd.DataFrame) else f"a {type(bars).__name__}"
        raise ValueError(f"One bars table with a column {column!r} is needed here, not {got}.")
    values = np.ascontiguousarray(bars[column], dtype=float)
    if positive and (values <= 0).any():
        check_bars(bars, positive=True)  # names every such bar; too slow to ask at each one
    return values


def whole_number(value, name: str, least=1) -> int:
    """The value as an int; ValueError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} is a whole number of bars, {least} or more, not {value!r}.")
    return int(value)


def returns_over(close: np.ndarray, periods=1) -> np.ndarray:
    """close[t] / close[t - periods] - 1, (n,), NaN before the first."""
    return _late(close[periods:] / close[:-periods] - 1.0, len(close))


def _late(values: np.ndarray, n: int) -> np.ndarray:
    """The values as the last of n rows, NaN before them."""
    return np.append(np.full(n - len(values), np.nan), values)


def _recursive_average(values: np.ndarray, seed_bars: int, weight: float) -> np.ndarray:
    """average += weight x (value - average), from the mean of the first `seed_bars`: (n - seed_bars + 1,)."""
    from scipy.signal import lfilter  # here, as it takes longer to import than pandas
    if len(values) <= seed_bars:
        return rolling_mean(values, seed_bars)[seed_bars - 1 :]
    seed = rolling_mean(values[:seed_bars], seed_bars)[-1:]
    return np.append(seed, lfilter([weight], [1.0, weight - 1.0], values[seed_bars:], zi=(1.0 - weight) * seed)[0])


def _bars_to_forget(weight: float) -> int:
    return ceil(log(SEED_LEFT) / log(1.0 - weight)) if weight < 1 else 0


class Feature:
    """What the shipped features have in common; each is a frozen value, called with bars.

    .names : list of str, the columns
    .lookback : bars until every column has a value, the current one included
    .warmup : bars after which values agree to 1e-8 with those of an infinite history: `lookback`,
        but more for the recursive RSI and MACD. It informs, it never masks.
    feature(bars) : DataFrame (n, len(names)) on bars.index, float64. Raises ValueError without a
        close, BarsError for a close <= 0 where a percentage is taken.
    """

    def _promise(self, names, lookback, warmup=None, **parameters):
        vars(self).update(parameters, names=list(names), lookback=lookback, warmup=warmup or lookback)

    def __call__(self, bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(np.array(self._columns(bars)).T, bars.index, self.names, copy=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, np.hstack(astuple(self))))})"


@dataclass(frozen=True, repr=False)
class LaggedReturns(Feature):
    """The returns of the last n bars: return_k = close[t-k+1] / close[t-k] - 1, a fraction, k = 1..n."""

    n: int

    def __post_init__(self):
        n = whole_number(self.n, "n")
        self._promise([f"return_{k}" for k in range(1, n + 1)], lookback=n + 1, n=n)

    def _columns(self, bars):
        returns = returns_over(price_column(bars, positive=True))
        return [_late(returns[: max(len(returns) - k, 0)], len(returns)) for k in range(self.n)]


@dataclass(frozen=True, repr=False, init=False)
class PriceToAverage(Feature):
    """Close over its simple average of the last w bars, t included, minus 1: price_to_average_w, a fraction."""

    windows: tuple[int, ...]

    def __init__(self, *windows: int):
        windows = tuple(whole_number(window, "A window") for window in windows or (5, 10, 20))
        refuse_twice(names := [f"price_to_average_{window}" for window in windows])
        self._promise(names, lookback=max(windows), windows=windows)

    def _columns(self, bars):
        close = price_column(bars, positive=True)
        return [close / rolling_mean(close, window) - 1.0 for window in self.windows]


@dataclass(frozen=True, repr=False)
class Volatility(Feature):
    """Sample standard deviation (ddof=1) of the last `window` close returns, per bar: volatility_20."""

    window: int = 20

    def __post_init__(self):
        window = whole_number(self.window, "window", least=2)
        self._promise([f"volatility_{window}"], lookback=window + 1, window=window)

    def _columns(self, bars):
        returns = returns_over(price_column(bars, positive=True))
        return [_late(rolling_moments(returns[1:], self.window)[1], len(bars))]


@dataclass(frozen=True, repr=False)
class RSI(Feature):
    """Relative strength index, 0 to 100: rsi_14, its first value at index 14.

    100 x gain / (gain + loss), of average gains and losses that start as the mean of the
    first `window` changes and then move by 1/window of each new one; 50 where nothing has
    moved at all (TA-Lib: 0). Takes prices of any sign, as it uses differences.
    Wilder (1978), New Concepts in Technical Trading Systems; as StockCharts and TA-Lib.
    """

    window: int = 14

    def __post_init__(self):
        window = whole_number(self.window, "window", least=2)
        self._promise([f"rsi_{window}"], window + 1, window + 1 + _bars_to_forget(1 / window), window=window)

    def _columns(self, bars):
        change = np.diff(price_column(bars))
        gain, loss = (_recursive_average(np.maximum(move, 0.0), self.window, 1 / self.window)
                      for move in (change, -change))
        total = gain + loss
        share = np.divide(gain, total, out=np.full(len(total), 0.5), where=total != 0)
        return [_late(100.0 * share, len(bars))]


@dataclass(frozen=True, repr=False)
class MACD(Feature):
    """Moving average convergence and divergence: columns macd, signal, histogram, in price units.

    macd = the exponential average over `fast` bars minus that over `slow`, each seeded with
    a simple average that ends at index slow - 1; signal = the exponential average of macd,
    seeded with the mean of its first `signal` values; histogram = macd - signal. All start
    together, at index slow + signal - 2 (33), as in TA-Lib. Takes prices of any sign.
    """

    fast: int = 12
    slow: int = 26
    signal: int = 9

    def __post_init__(self):
        fast, slow, signal = (whole_number(getattr(self, name), name) for name in ("fast", "slow", "signal"))
        if fast >= slow:
            raise ValueError(f"fast ({fast}) has to be shorter than slow ({slow}).")
        settling = sum(_bars_to_forget(2 / (span + 1)) for span in (slow, signal))
        self._promise(["macd", "signal", "histogram"], slow + signal - 1, slow + signal - 1 + settling,
                      fast=fast, slow=slow, signal=signal)

    def _columns(self, bars):
        close = price_column(bars)
        fast = _recursive_average(close[self.slow - self.fast :], self.fast, 2 / (self.fast + 1))
        slow = _recursive_average(close, self.slow, 2 / (self.slow + 1))
        macd = fast - slow  # of one length: both averages start at one bar
        signal = _recursive_average(macd, self.signal, 2 / (self.signal + 1))
        macd = macd[len(macd) - len(signal) :]
        return [_late(values, len(close)) for values in (macd, signal, macd - signal)]


def refuse_twice(names: list) -> None:
    twice = [str(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f'Two features are called {", ".join(twice)}: rename one with {{"name": feature}}.')
