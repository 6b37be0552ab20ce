"""Features: what a model may know at the close of a bar, and nothing later.

Second in the flow, after `markets`. A feature is a pure function of past bars: it
takes a bars table (n rows) and gives a DataFrame (n, columns) on the same index,
NaN until its window is full. A value depends on its window alone, so the whole
table, any prefix and the last `lookback` bars give the same bits: what is trained
on is what is served. RSI and MACD have no window, they remember every bar since
the first; for them any prefix gives the same bits.

>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [100.0, 110.0, 99.0, 99.0]}, index=pd.date_range("2024-01-01", periods=4))
>>> FeatureSet([LaggedReturns(2), PriceToAverage(2)])(bars).round(3).to_numpy()
array([[   nan,    nan,    nan],
       [ 0.1  ,    nan,  0.048],
       [-0.1  ,  0.1  , -0.053],
       [ 0.   , -0.1  ,  0.   ]])
"""

from collections import Counter
from dataclasses import astuple, dataclass
from math import ceil, log

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from mlkit.markets import check_bars
from mlkit.rolling import rolling_mean, rolling_moments

__all__ = ["MACD", "RSI", "CrossReturn", "FeatureSet", "LaggedReturns", "PriceToAverage", "Volatility", "parity"]

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
        _refuse_twice(names := [f"price_to_average_{window}" for window in windows])
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


@dataclass(frozen=True, repr=False, eq=False, init=False)
class CrossReturn(Feature):
    """Another instrument's last return known by then, a fraction: USDCAD_return_1.

    other_bars : its bars table, copied; attrs["symbol"] (else "cross") heads the column's name,
        unless `name` is given.
    periods : the return is over so many of its own bars.
    known_delay : hours (or a Timedelta) by which its value of a stamp is known later than ours of
        the same stamp, negative for earlier. The ECB fixes at 14:15 in Frankfurt, the Federal
        Reserve's H.10 at noon in New York, some 4 hours later: with 4, an ECB bar is given H.10's
        return of the day before. 0 unless said; it must be said between a daily and an intraday
        table, a date being midnight UTC: with 21, intraday bars know a daily return from 21:00.

    Each bar takes the last return known at its own time or before, however old (holidays); of our
    own bars only the stamp is used. Raises ValueError for stamps that do not increase or clocks
    that cannot be compared.
    """

    def __init__(self, other_bars: pd.DataFrame, periods=1, known_delay=None, name=None):
        returns = returns_over(price_column(other_bars, positive=True), whole_number(periods, "periods"))
        if not (_nanoseconds(other_bars)[1:] > _nanoseconds(other_bars)[:-1]).all():
            raise ValueError("The other table's timestamps have to increase, each one once.")
        number = isinstance(known_delay, (int, float, np.number)) and not isinstance(known_delay, bool)
        delay = None if known_delay is None else pd.Timedelta(known_delay, *["h"] * number)
        if delay is pd.NaT:
            raise ValueError(f"known_delay is a number of hours or a Timedelta, not {known_delay!r}.")
        self._promise([name or f"{other_bars.attrs.get('symbol', 'cross')}_return_{periods}"], lookback=1,
                      periods=int(periods), known_delay=delay, _returns=pd.Series(returns, other_bars.index))

    def _columns(self, bars):
        own, other = _nanoseconds(bars), _nanoseconds(self._returns)
        daily = [table.index.tz is None and not (stamps % pd.Timedelta("1D").as_unit("ns").value).any()
                 for table, stamps in ((bars, own), (self._returns, other))]
        if self.known_delay is None and daily[0] != daily[1]:
            raise ValueError(f"{self}: one table is daily, the other intraday. Say with known_delay how many hours "
                             "after midnight UTC of its date a daily bar is known (if that is ours: minus so many).")
        delay = 0 if self.known_delay is None else self.known_delay.as_unit("ns").value
        return [np.append(np.nan, self._returns)[np.searchsorted(other + delay, own, side="right")]]

    def __eq__(self, other) -> bool:
        return repr(self) == repr(other) and self._returns.equals(other._returns)

    def __repr__(self) -> str:
        delay = "" if self.known_delay is None else f", known_delay={str(self.known_delay)!r}"
        return f"CrossReturn(<{len(self._returns)} bars>, {self.periods}{delay}, name={self.names[0]!r})"


def _nanoseconds(bars) -> np.ndarray:
    """The stamps since 1970 in UTC; a date without a zone is midnight UTC."""
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise ValueError("A cross return is aligned by time: its bars need a DatetimeIndex.")
    return bars.index.as_unit("ns").asi8


class FeatureSet(TransformerMixin, BaseEstimator):
    """Features side by side: an sklearn transformer from bars (n rows) to a DataFrame (n, k).

    features : a list (or one) of shipped features; functions of bars that give a Series (named by
        the function) or a DataFrame (its own names) on bars.index; dicts {"name": either}, which
        name it, or head the names (name_column) where it has several columns.
    .names : list of str; before `fit` what is promised (by a function: its `.names`, else its
        `__name__`), after it the columns that came
    .lookback, .warmup : the largest of any; a function without such an attribute counts 1

    Nothing is learnt, so `transform` needs no `fit`; calling it transforms too, which makes it a
    builder for `audit_features`. Make features on the whole table and split afterwards: they are
    causal, and a table cut before loses its warm-up. Raises ValueError, naming the feature, for a
    name used twice, a result not on bars.index or not numbers, and columns other than at `fit`.
    """

    def __init__(self, features):
        self.features = features
        _refuse_twice(self.names)

    @property
    def names(self) -> list[str]:
        promised = [name for key, item in self._items() for name in _names(key, item)]
        return list(getattr(self, "names_", promised))

    @property
    def lookback(self) -> int:
        return max(getattr(item, "lookback", 1) for _, item in self._items())

    @property
    def warmup(self) -> int:
        return max(getattr(item, "warmup", getattr(item, "lookback", 1)) for _, item in self._items())

    def fit(self, bars: pd.DataFrame, y=None) -> "FeatureSet":
        self.names_ = list(self(bars))
        return self

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        table = self(bars)
        if list(table) != getattr(self, "names_", list(table)):
            raise ValueError(f"These features were fitted as {self.names_} and are now {list(table)}.")
        return table

    def __call__(self, bars: pd.DataFrame) -> pd.DataFrame:
        if not isinstance(bars, pd.DataFrame):
            raise ValueError(f"Features are made from one table of bars, not from a {type(bars).__name__}.")
        made = [column for key, item in self._items() for column in _columns(key, item, bars)]
        _refuse_twice(names := [name for name, _ in made])
        return pd.DataFrame(np.array([values for _, values in made]).T, bars.index, names, copy=False)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        return np.array(self.names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _items(self) -> list[tuple]:
        """(name from a dict or None, feature) of each."""
        features = self.features if isinstance(self.features, (list, tuple)) else [self.features]
        items = [pair for each in features for pair in (each.items() if isinstance(each, dict) else [(None, each)])]
        wrong = [item for _, item in items if not callable(item)]
        if wrong or not items:
            raise ValueError(f"Features are shipped ones, functions of bars or dicts of them, at least one: not "
                             f"{wrong or 'an empty list'}.")
        return items


def _names(key, item, columns=None) -> list[str]:
    """What its columns are called: those it gave, or else those it promises. A Series has none of its own."""
    label = key or getattr(item, "__name__", repr(item) if hasattr(item, "names") else "<lambda>")
    if label == "<lambda>":
        raise ValueError(f'{item!r} has no name of its own: give it one with {{"name": function_of_bars}}.')
    columns = list(getattr(item, "names", [label]) if columns is None else columns)
    if key:
        return [key] if len(columns) == 1 else [f"{key}_{column}" for column in columns]
    return columns


def _columns(key, item, bars) -> list[tuple]:
    """(name, values (n,) float64) of each column of one item, checked."""
    names = _names(key, item)
    if isinstance(item, Feature):
        return list(zip(names, item._columns(bars)))
    label = f"Feature {', '.join(names)}"
    try:
        made = item(bars.copy(deep=False))  # copy on write: no function can change our bars
    except Exception as error:
        error.add_note(f"{label} raised this.")
        raise
    if not isinstance(made, (pd.Series, pd.DataFrame)):
        raise ValueError(f"{label} gave a {type(made).__name__}, not a Series or DataFrame on bars.index.")
    if not made.index.equals(bars.index):
        raise ValueError(f"{label} gave {len(made)} rows for {len(bars)} bars, or another index: keep every bar of "
                         "bars.index, with NaN where there is no value.")
    names = _names(key, item, None if isinstance(made, pd.Series) else made.columns)
    try:
        return list(zip(names, pd.DataFrame(made).astype("float64").to_numpy().T))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label} gave values that are not numbers: {error}.") from error


def _refuse_twice(names: list) -> None:
    twice = [str(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f'Two features are called {", ".join(twice)}: rename one with {{"name": feature}}.')


def parity(features, bars: pd.DataFrame, rows=None) -> pd.DataFrame:
    """Batch values against values made one bar at a time, each from bars[:row + 1] alone.

    features : a FeatureSet, or what one takes
    rows : positions to compare; None for up to 200, evenly spread, the last included

    Returns DataFrame, one row a column: max_abs_difference (0.0 if what is trained on is what
    is served; inf where only one of the two has a value), at (where; NaT for no difference),
    rows (how many were compared).
    """
    build = features if isinstance(features, FeatureSet) else FeatureSet(features)
    n = len(bars)
    rows = np.unique(np.linspace(0, n - 1, min(n, 200)).astype(int) if rows is None else rows)
    if len(rows) == 0 or rows[0] < 0 or rows[-1] >= n:
        raise ValueError(f"rows are positions from 0 to {n - 1}, at least one.")
    batch = build(bars).iloc[rows]
    single = pd.concat([build(bars.iloc[: row + 1]).iloc[[-1]] for row in rows])
    same = batch.eq(single) | (batch.isna() & single.isna())
    apart = (batch - single).abs().mask(same, 0.0).fillna(np.inf)
    largest, at = apart.max(), apart.idxmax()
    return pd.DataFrame({"max_abs_difference": largest, "at": at.where(largest > 0), "rows": len(rows)})
