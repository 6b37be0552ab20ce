"""Bars in: load the bundled markets, read your own, refuse bad ones, make worlds of known truth.

First in the flow: everything else (features, labels, splits, models, engine)
takes the bars tables made here. A bars table is a DataFrame on a strictly
increasing DatetimeIndex `timestamp` (naive for daily bars, UTC for intraday)
with float64 columns `open high low close volume`, or `close` alone for fixings,
spot prices and yields. Nothing here opens a socket: the data are files in `data/`.

>>> from mlkit.markets import load_bars
>>> bars = load_bars("GE")
>>> bars.attrs["symbol"], len(bars)
('GE', 12113)
"""

import difflib
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit.synthetic import planted_edge, random_walk, regime_switching

__all__ = ["BarsError", "check_bars", "datasets", "load_bars", "planted_edge",
           "random_walk", "read_bars", "regime_switching"]

DATA = Path(__file__).resolve().parents[1] / "data"
PRICES = ("open", "high", "low", "close")
# A public fact that the source leaves out: two for one, effective that morning.
KNOWN_SPLITS = {"MSFT": {pd.Timestamp("2003-02-18"): 2.0}}


# ---------------------------------------------------------------- bundled data

@lru_cache
def _catalogue() -> pd.DataFrame:
    return pd.read_csv(DATA / "catalogue.csv").set_index("name", drop=False)


@lru_cache
def _instruments(file: str) -> dict[str, pd.DataFrame]:
    """All bars of one file, by symbol; the cache that `load_bars` copies from."""
    table = pd.read_csv(DATA / file, parse_dates=["date"])
    table = table.rename(columns={"date": "timestamp"}).drop(columns="vintage", errors="ignore")
    bars = {}
    for symbol, rows in table.groupby("symbol", sort=False):
        rows = rows.drop(columns="symbol").set_index("timestamp").astype("float64")
        bars[symbol] = _adjust(rows, KNOWN_SPLITS.get(symbol, {})) if "adj_close" in rows else rows
        bars[symbol].attrs = {"symbol": symbol, "kind": str(_catalogue().kind[symbol])}
    return bars


def _adjust(raw: pd.DataFrame, known_splits: dict) -> pd.DataFrame:
    """Adjust OHLC by one factor, adj_close / close, and volume by the later splits."""
    split = raw["split"].copy()
    for day, ratio in known_splits.items():
        split[day] = ratio
    ratios = split.fillna(1.0).to_numpy()
    # The split of a day is in that day's price and volume: it scales the days before.
    later_splits = np.append(ratios[::-1].cumprod()[::-1][1:], 1.0)
    # One factor for the four prices keeps low <= open, close <= high through rounding.
    bars = raw[list(PRICES)].mul(raw["adj_close"] / raw["close"], axis=0)
    bars["volume"] = raw["volume"] * later_splits
    for column in (*PRICES, "volume"):
        bars[f"raw_{column}"] = raw[column]
    return bars.assign(dividend=raw["dividend"], split=split)


def load_bars(name):
    """Bars of one bundled instrument, or a dict of bars for several.

    name : str such as "GE", "EURUSD", "WTI", "UST10Y", or an iterable of them;
        `datasets()` lists all with their quirks.

    Returns a fresh DataFrame (n, columns), float64, yours to change; for an
    iterable, `dict[str, DataFrame]`. `attrs` has the symbol and the kind.
    Equities: open, high, low, close are adjusted for splits and dividends
    (raw x adj_close / raw close), volume by the splits after each day (shares of
    the last day); `raw_open` to `raw_volume` are as traded, `dividend` is cash a
    share on the ex-date and `split` a ratio, both NaN where the source has none.
    Other markets have `close` alone (units in `datasets()`); DE-LU adds load_mw,
    renewables_mw and solar_mw, hourly in UTC.

    The values are the publisher's and are not checked here, so that facts such
    as a blank day reach you: `check_bars` names them, the engine insists on it.
    Raises ValueError for an unknown name. Source: data/SOURCES.md.
    """
    if isinstance(name, Iterable) and not isinstance(name, str):
        return {each: load_bars(each) for each in name}
    known = list(_catalogue().name)
    if name not in known:
        close = difflib.get_close_matches(str(name).upper(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(f"no bundled instrument is called {name!r}: {hint}"
                         f"datasets() lists all {len(known)}.")
    return _instruments(_catalogue().file[name])[name].copy()


def datasets() -> pd.DataFrame:
    """What is in `data/`: one row an instrument, quirks included.

    Columns: name, kind (equity, fx, energy, rate, power), first and last
    (timestamps of the data; UTC for power), rows, licence, source (the
    attribution to print), quirks (what would bite you, in words).
    """
    table = _catalogue().reset_index(drop=True)
    spans = [_instruments(file)[name].index.tz_localize(None)
             for name, file in zip(table.name, table.file)]
    table["first"] = pd.DatetimeIndex([span[0] for span in spans])
    table["last"] = pd.DatetimeIndex([span[-1] for span in spans])
    table["rows"] = [len(span) for span in spans]
    return table[["name", "kind", "first", "last", "rows", "licence", "source", "quirks"]]


# ------------------------------------------------------------------- own files

STAMP = r"\d{4}-?\d\d-?\d\d(?:[T ]\d\d:?\d\d(?::?\d\d(?:\.\d+)?)? ?(Z|[+-]\d\d(?::?\d\d)?)?)?"
DATE_NAMES = ("timestamp", "datetime", "date", "time")


def read_bars(path) -> pd.DataFrame:
    """Bars of one instrument from a .csv, .csv.gz or .parquet file, checked.

    path : str or Path. Column names in any case: a date column (timestamp,
        datetime, date, time, else the first column if it holds dates), `close`,
        and usually open, high, low, volume. A `symbol` column becomes
        `attrs["symbol"]`; other columns are kept as they are.

    Dates are ISO 8601, such as 2020-01-31 or 2020-01-31T14:30:00Z; stamps with an
    offset are converted to UTC. Prices are left as they are: an "Adj Close"
    column is kept as `adj_close` and adjusts nothing.

    Returns DataFrame (n, columns) that passed `check_bars`. Raises
    FileNotFoundError; ValueError for an unknown extension, an unreadable file or
    date, no close, several symbols, or intraday stamps without a zone; BarsError.
    """
    path = Path(path)
    bars = _read_table(path).rename(columns=_standard_name)
    attrs = {"file": path.name}
    if "close" not in bars or not bars.columns.is_unique:
        raise ValueError(f"{path} needs one close column, and no name twice (case aside); it has "
                         f"{', '.join(map(str, bars.columns))}: rename or drop columns.")
    if "symbol" in bars:
        symbols = [str(symbol) for symbol in bars.pop("symbol").unique()]
        if len(symbols) > 1:
            raise ValueError(f"{path} holds {len(symbols)} symbols ({', '.join(symbols[:3])}, ...): "
                             "filter it to one symbol a file, then read that.")
        attrs |= {"symbol": symbol for symbol in symbols}
    dates = next((name for name in DATE_NAMES if name in bars), bars.columns[0])
    bars.index = _read_stamps(bars.pop(dates), path).rename("timestamp")
    numeric = bars.select_dtypes("number").columns.intersection([*PRICES, "volume"])
    bars = bars.astype(dict.fromkeys(numeric, "float64"))
    bars.attrs = attrs
    return check_bars(bars)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise ValueError(f"{path} is not a .csv, .csv.gz or .parquet file: save it as one of these.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path, seen from {Path.cwd()}.")
    try:
        if not path.name.lower().endswith(".parquet"):
            return pd.read_csv(path)
        table = pd.read_parquet(path)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}): is it complete, and of that type?") from error
    return table.reset_index() if isinstance(table.index, pd.DatetimeIndex) else table


def _standard_name(column) -> str:
    standard = str(column).strip().lower().replace(" ", "_")
    return standard if standard in {*PRICES, "volume", "adj_close", "symbol", *DATE_NAMES} else column


def _read_stamps(column: pd.Series, path: Path) -> pd.Index:
    """The date column as an index: strict ISO dates, naive days or UTC times."""
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.DatetimeIndex(column)
    else:
        text = column.astype(str).str.strip()
        text = text.where(text.str.fullmatch(STAMP))
        zoned = text.str.extract(STAMP)[0].notna()
        stamps = pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=zoned.any(), errors="coerce"))
        unread = np.flatnonzero(stamps.isna())
        if unread.size:
            raise ValueError(f"{path}, column {column.name!r}: {str(column.iloc[unread[0]])!r} in data row "
                             f"{unread[0] + 1} is not a date ({unread.size} such): write dates as "
                             "2020-01-31, times as 2020-01-31T14:30:00Z.")
        if zoned.nunique() > 1:  # left as they are, for check_bars to name
            return pd.Index([pd.Timestamp(stamp) for stamp in text], dtype=object)
    if stamps.tz is not None:
        return stamps.tz_convert("UTC")
    if (stamps != stamps.normalize()).any():
        raise ValueError(f"{path} has times of day without a zone ({stamps[0]}): intraday bars are UTC. "
                         "Localise them first, such as "
                         'table["timestamp"].dt.tz_localize("America/New_York").dt.tz_convert("UTC").')
    return stamps


# ---------------------------------------------------------------------- checks

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
