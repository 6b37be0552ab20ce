"""Another future for the same past: the bars after a cut are taken away or changed.

All tables of a dict are cut at one moment. What comes back is new: the caller's
tables, and what a builder writes into ours, stay apart.

>>> import numpy as np, pandas as pd
>>> bars = pd.DataFrame({"close": [1.0, 2.0, 3.0]}, index=pd.date_range("2024-01-01", periods=3))
>>> other = altered({"": bars}, stamps(bars.index)[1], "times 1000", np.random.default_rng(0))
>>> other[""]["close"].tolist()
[1.0, 2.0, 3000.0]
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd

from mlkit.checks import PRICES

NOISE = 0.1  # standard deviation of the logarithm of the noise on what is positive; elsewhere it is the column's own
PHRASES = {"truncation": "were cut off", "noise": "were replaced by noise", "NaN": "were set to NaN",
           "shuffle": "were shuffled", "times 1000": "were multiplied by 1000",
           "resampled": "were replaced by others drawn at random"}
NEAR_THE_END = (1, 5, 21)  # bars left after the last cuts: what leaks only lately shows there


def stamps(index: pd.Index) -> np.ndarray:
    """Nanoseconds since 1970 in UTC, by which tables of any unit and zone are cut at one moment."""
    return index.as_unit("ns").asi8


def clock_of(tables: dict) -> np.ndarray:
    """The stamps of all tables, in order, each once. Raises ValueError for a table that cannot be cut in time."""
    for name, table in tables.items():
        label = f"The table {name!r}" if name else "The table"
        if not isinstance(table, (pd.DataFrame, pd.Series)):
            raise ValueError(f"{label} is a {type(table).__name__}: an audit takes a DataFrame, or a dict of them.")
        index = table.index
        if not (isinstance(index, pd.DatetimeIndex) and index.is_unique and index.is_monotonic_increasing):
            raise ValueError(f"{label} cannot be cut in time: it needs a DatetimeIndex that increases, each stamp "
                             "once. Sort it by its time, or make the time its index.")
    return np.unique(np.concatenate([stamps(table.index) for table in tables.values()]))


def irregular_cuts(first: int, last: int, count: int, rng) -> list[int]:
    """About `count` positions from `first` to `last`, one a stretch, with no period, the last ones near the end."""
    late = {last + 1 - left for left in NEAR_THE_END if last + 1 - left >= first}
    edges = np.linspace(first, last + 1, max(count - len(late), 1) + 1).astype(int)
    return sorted(late | {int(rng.integers(a, b)) for a, b in zip(edges, edges[1:]) if b > a})


def altered(tables: dict, until: int, test: str, rng, keep_prices=False) -> dict:
    """New tables, the same up to the stamp `until` (included) and changed by the test after it.

    test : a key of `PHRASES`; keep_prices : "NaN" leaves open, high, low and close as they are
    """
    made = {}
    for name, table in tables.items():
        first = int(np.searchsorted(stamps(table.index), until, side="right"))
        bare = table.copy(deep=False)
        bare.attrs = {}  # pandas copies them, deeply, at every step
        made[name] = _altered(bare, first, test, rng, PRICES if keep_prices else ())
        made[name].attrs = copy.deepcopy(table.attrs)
    return made


def _altered(table, first: int, test: str, rng, kept: tuple[str, ...]):
    """One table, changed from row `first` on, but for the columns that are kept."""
    if isinstance(table, pd.Series):
        return _altered(table.to_frame("value"), first, test, rng, kept)["value"].rename(table.name)
    n = len(table)
    if test == "truncation":
        return table.iloc[:first].copy()
    if test in ("shuffle", "resampled"):
        later = rng.permutation(np.arange(first, n)) if test == "shuffle" else rng.integers(0, n, n - first)
        return table.take(np.append(np.arange(first), later)).set_axis(table.index)
    columns = [values.array.copy() if name in kept else _other_values(values, first, test, rng)
               for name, values in table.items()]
    if test == "noise" and set(PRICES) <= set(table.columns):
        _make_ranges_hold([columns[table.columns.get_loc(name)] for name in PRICES], first)
    return pd.DataFrame(dict(enumerate(columns)), table.index).set_axis(table.columns, axis=1)


def _other_values(column: pd.Series, first: int, test: str, rng):
    """The values of a column, changed from row `first` on, of its own type; what is no float can only be drawn anew."""
    n = len(column)
    if not pd.api.types.is_float_dtype(column):
        drawn = np.append(np.arange(first), rng.integers(0, n, n - first))
        return column.array.take(drawn) if test == "noise" else column.array.copy()
    values = column.to_numpy(dtype=float, na_value=np.nan, copy=True)
    later = values[first:]
    if test == "NaN":
        later[:] = np.nan
    elif test == "times 1000":
        later *= 1000.0
    elif np.nanmin(values, initial=np.inf) >= 0:
        later *= np.exp(NOISE * rng.standard_normal(n - first))
    else:
        later += np.nanstd(values) * rng.standard_normal(n - first)
    return values if column.dtype == np.float64 else pd.array(values, dtype=column.dtype)


def _make_ranges_hold(prices: list, first: int) -> None:
    """low <= open, close <= high from row `first` on, so that a builder that checks its bars takes them."""
    later = np.array([pd.array(values[first:]).to_numpy(dtype=float, na_value=np.nan) for values in prices])
    _, high, low, _ = prices
    high[first:], low[first:] = np.fmax.reduce(later), np.fmin.reduce(later)
