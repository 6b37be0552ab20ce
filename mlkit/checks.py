"""Bad bars are refused, never repaired: every fault by name, column and timestamp.

Part of `mlkit.markets`, which hands these on.

>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [1.0, -1.0]}, index=pd.date_range("2024-01-01", periods=2))
>>> check_bars(bars) is bars
True
"""

from datetime import timedelta

import numpy as np
import pandas as pd

PRICES = ("open", "high", "low", "close")

FAULTS = {  # fault: (how the message names it, the way out)
    "not a table": ("no bars", "give one DataFrame of bars; check a dict of them one by one"),
    "empty": ("no rows", "check the filter or the dates you selected"),
    "duplicate": ("a duplicate {}", "find out which one is true and keep that"),
    "unsorted": ("an unsorted {}", "use bars.sort_index() once you know why"),
    "missing": ("a missing {}", "find the value or the column, or drop the bar knowingly"),
    "mixed time zones": ("mixed time zones", "use pd.to_datetime(..., utc=True) on the stamps"),
    "not UTC": ("a time zone other than UTC", 'use bars.tz_convert("UTC")'),
    "non-numeric": ("a non-numeric {}", "convert it with pd.to_numeric and look at what fails"),
    "non-finite": ("a non-finite {}", "look for a division by zero upstream and correct it there"),
    "low > high": ("a low > high", "see whether the columns are swapped, or drop the bar knowingly"),
    "outside [low, high]": ("{} outside [low, high]", "adjust all four prices by one factor, or drop it"),
    "negative volume": ("a negative volume", "no trade is 0 or NaN: look for a sentinel such as -1"),
    "non-positive": ("a non-positive {}",
                     "percentage returns are undefined there; use differences, or drop the day knowingly"),
    "gap": ("a gap in its calendar", "the change across it is no bar's return: cut the series there"),
    "move": ("a suspicious move of {}", "look for a split, a spin-off or a bad print before you believe it"),
}


class BarsError(ValueError):
    """Bars that were refused.

    faults : DataFrame, one row a fault: timestamp (NaT where the whole table or
        column is at fault), column, fault (a key of `FAULTS`), detail (the value).
    """

    def __init__(self, message, faults=None):
        super().__init__(message)
        self.faults = faults


def check_bars(bars, *, positive=False, max_gap=None, max_move=None):
    """Return the same bars, or refuse them with every fault named.

    bars : DataFrame, with open, high, low, close or `close` alone; `volume` is
        optional, its 0 or NaN means no trade. Further columns are not looked at.
    positive : also refuse prices <= 0, before a logarithm or a percentage.
    max_gap : also refuse a longer step between bars, such as "10D" or a Timedelta.
    max_move : also refuse a close-to-close change beyond this fraction, such as 0.3.

    Open and close may leave [low, high] by a relative 1e-9, the rounding of
    adjusted prices. Raises BarsError, whose `.faults` holds them all; ValueError
    for a bad option.
    """
    if max_gap is not None and (isinstance(max_gap, (int, float)) or pd.Timedelta(max_gap) <= timedelta(0)):
        raise ValueError(f'max_gap is a positive length of time such as "10D", not {max_gap!r}.')
    if max_move is not None and not max_move > 0:
        raise ValueError(f"max_move is a positive fraction such as 0.3, not {max_move!r}.")
    if max_gap is None and max_move is None and _plainly_good(bars, positive):
        return bars
    if isinstance(bars, pd.DataFrame):
        symbol = bars.attrs.get("symbol") or bars.attrs.get("file") or "This table"
        found = [*_index_faults(bars.index, max_gap), *_column_faults(bars, positive, max_move)]
    else:
        symbol, found = "This", [_whole("", "not a table", f"a {type(bars).__name__}")]
    if not any(len(rows) for rows, *_ in found):
        return bars
    faults = [(pd.NaT if row is None else bars.index[row], column, fault, detail)
              for rows, column, fault, details in found for row, detail in zip(rows, details)]
    faults = pd.DataFrame(faults, columns=["timestamp", "column", "fault", "detail"])
    raise BarsError(_message(symbol, faults), faults)


def _plainly_good(bars, positive: bool) -> bool:
    """Whether a quick look finds every value where it should be; a faster yes, never the last word on a no."""
    if not isinstance(bars, pd.DataFrame):
        return False
    index, kept = bars.index, [column for column in (*PRICES, "volume") if column in bars]
    if not (isinstance(index, pd.DatetimeIndex) and len(index) and (index.tz is None or str(index.tz) == "UTC")
            and index.is_monotonic_increasing and index.is_unique and bars.columns.is_unique
            and all(bars[column].dtype == np.float64 for column in kept)):
        return False
    values = {column: bars[column].to_numpy() for column in kept}
    volume = values.pop("volume", np.zeros(1))
    least = 0.0 if positive else -np.inf
    if not (volume.min() >= 0 and volume.max() < np.inf):  # False for NaN too
        return False
    if list(values) == ["close"]:
        return bool(least < values["close"].min() and values["close"].max() < np.inf)
    # Once low and high are finite, what lies between them is.
    return bool(len(values) == 4 and least < values["low"].min() and values["high"].max() < np.inf
                and all((values["low"] <= values[name]).all() and (values[name] <= values["high"]).all()
                        for name in ("open", "close")))


def _message(symbol: str, faults: pd.DataFrame) -> str:
    lines = []
    for (fault, column), group in faults.groupby(["fault", "column"], sort=False):
        shown = [detail if pd.isna(stamp) else f"{detail} on {_day(stamp)}"
                 for stamp, detail in zip(group.timestamp[:3], group.detail[:3])]
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        phrase, way_out = FAULTS[fault]
        lines.append(f"{symbol} has {phrase.format(column)} ({', '.join(shown)}{more}): {way_out}.")
    return "\n".join(lines)


def _day(stamp) -> str:
    return str(stamp).removesuffix(" 00:00:00")


def _whole(column, fault, detail):
    """A fault of the whole table or column: no row to point at."""
    return [None], column, fault, [detail]


def _at(mask, column, fault, text, *values):
    """A fault at the rows of a mask: (rows, column, fault, details)."""
    rows = np.flatnonzero(mask)
    return rows, column, fault, [text.format(*(each[row] for each in values)) for row in rows]


def _index_faults(index: pd.Index, max_gap):
    if len(index) == 0:
        yield _whole("", "empty", "0 rows")
    if not isinstance(index, pd.DatetimeIndex):
        zones = {str(stamp.tzinfo) for stamp in index if hasattr(stamp, "tzinfo")}
        yield (_whole("timestamp", "mixed time zones", ", ".join(sorted(zones))) if len(zones) > 1 else
               _whole("timestamp", "missing", f"the index is a {type(index).__name__}, not a DatetimeIndex"))
        return
    # Only a fixed zone knows its offset without a date: London in winter is not UTC.
    if index.tz is not None and index.tz.utcoffset(None) != timedelta(0):
        yield _whole("timestamp", "not UTC", str(index.tz))
    yield _at(index.isna(), "timestamp", "missing", "NaT in row {}", range(len(index)))
    if not index.is_unique:
        yield _at(index.duplicated() & index.notna(), "timestamp", "duplicate", "again")
    steps = pd.Series(index).diff()
    yield _at(steps < timedelta(0), "timestamp", "unsorted", "earlier than the bar before it")
    if max_gap is not None:
        rows = np.flatnonzero(steps > pd.Timedelta(max_gap))
        yield rows, "timestamp", "gap", [f"the first bar in {_day(steps[row])}" for row in rows]


def _column_faults(bars: pd.DataFrame, positive: bool, max_move):
    required = ("close",) if {"open", "high", "low"}.isdisjoint(bars.columns) else PRICES
    values = {}
    for column in (*PRICES, "volume"):
        if column not in bars:
            if column in required:
                yield _whole(column, "missing", "no such column")
        elif isinstance(bars[column], pd.DataFrame):
            yield _whole(column, "duplicate", "two columns of that name")
        elif bars[column].dtype.kind in "iuf":
            values[column] = bars[column].to_numpy("float64", na_value=np.nan)
        else:
            yield _whole(column, "non-numeric", f"dtype {bars[column].dtype}")
            read = pd.to_numeric(bars[column], errors="coerce")
            yield _at(read.isna() & bars[column].notna(), column, "non-numeric", "{!r}", bars[column].array)
    for column, v in values.items():
        yield _at(np.isinf(v), column, "non-finite", "{:.10g}", v)
        if column == "volume":
            yield _at(v < 0, column, "negative volume", "{:.10g}", v)
        else:
            yield _at(np.isnan(v), column, "missing", "{:.10g}", v)
            yield _at((v <= 0) & positive, column, "non-positive", "{:.10g}", v)
    with np.errstate(invalid="ignore"):  # NaN and inf are named above
        if all(column in values for column in PRICES):
            yield from _range_faults(*(values[column] for column in PRICES))
        if max_move is not None and "close" in values and len(bars):
            now, last = values["close"], np.append(np.nan, values["close"][:-1])
            far = np.abs(now - last) > max_move * np.abs(last)
            yield _at(far, "close", "move", "{:.6g} to {:.6g}", last, now)


def _range_faults(open_, high, low, close):
    slack = 1e-9 * np.maximum(np.abs(low), np.abs(high))
    yield _at(low - high > slack, "low", "low > high", "{:.10g} > {:.10g}", low, high)
    # Where low is above high, open and close are judged by the range between the two.
    bottom, top = np.minimum(low, high), np.maximum(low, high)
    for name, v in (("open", open_), ("close", close)):
        yield _at((v < bottom - slack) | (v > top + slack), name, "outside [low, high]",
                  "{:.10g} not in [{:.10g}, {:.10g}]", v, low, high)
