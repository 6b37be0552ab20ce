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
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit.checks import PRICES, BarsError, check_bars
from mlkit.synthetic import planted_edge, random_walk, regime_switching

__all__ = ["BarsError", "check_bars", "datasets", "load_bars", "planted_edge",
           "random_walk", "read_bars", "regime_switching", "revisions"]

CHECKOUT = Path(__file__).resolve().parents[1]
DATA = CHECKOUT / "data" if (CHECKOUT / "data").is_dir() else Path(sys.prefix, "share", "mlkit")  # or from a wheel
# A public fact that the source leaves out: two for one, effective that morning.
WORLDS = {"RANDOM_WALK": random_walk, "PLANTED_EDGE": planted_edge, "REGIME_SWITCHING": regime_switching}
WORLD_BARS, WORLD_SEED = 5000, 1  # of those, when they are loaded by name
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
        `datasets()` lists all with their quirks. "RANDOM_WALK", "PLANTED_EDGE" and
        "REGIME_SWITCHING" give 5,000 bars of those worlds (seed 1), so that a lesson
        can be run where the truth is known.

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
    if name in WORLDS:
        return WORLDS[name](WORLD_BARS, WORLD_SEED)
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


def revisions() -> pd.DataFrame:
    """Cells of AAPL's and GE's daily history that two vintages of one source give differently.

    Returns DataFrame (9179, 5): date, symbol, field (open, high, low, close, volume, dividend:
    raw, not adjusted), v2013 and v2018 (the value in each vintage).
    Source: data/SOURCES.md.
    """
    return pd.read_csv(DATA / "equities_wiki_revisions.csv.gz", parse_dates=["date"])


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
