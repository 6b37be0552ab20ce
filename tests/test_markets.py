"""mlkit.markets: what is loaded is the source's, what is bad is refused, and made worlds keep their word."""

import doctest
import math
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlkit import checks, markets, synthetic
from mlkit.markets import (BarsError, check_bars, datasets, load_bars, planted_edge, random_walk,
                           read_bars, regime_switching, revisions)

DATA = Path(markets.__file__).resolve().parents[1] / "data"
EQUITIES = ["AAPL", "BA", "CAT", "DELL", "EBAY", "F", "GE", "GOOG", "IBM", "MSFT"]
OHLC = ["open", "high", "low", "close"]
NAMES = list(datasets().name)


@pytest.fixture(scope="module")
def panel():
    table = pd.read_csv(DATA / "equities_us_daily.csv.gz", parse_dates=["date"])
    return {symbol: rows.set_index("date") for symbol, rows in table.groupby("symbol")}


def good(n=5):
    """A faultless OHLCV table, index 2020-01-01 onward."""
    close = 100.0 + np.arange(n)
    return pd.DataFrame({"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close,
                         "volume": 1000.0},
                        index=pd.date_range("2020-01-01", periods=n, name="timestamp"))


def refused(bars, **options):
    with pytest.raises(BarsError) as caught:
        check_bars(bars, **options)
    assert list(caught.value.faults.columns) == ["timestamp", "column", "fault", "detail"]
    return caught.value


def kinds(bars, **options):
    faults = refused(bars, **options).faults
    return list(zip(faults.fault, faults.column, faults.timestamp))


# ---------------------------------------------------------------- bundled data

def test_the_example_in_the_module_docstring_runs():
    assert doctest.testmod(markets) == (0, 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_instrument_has_the_shape_of_bars(name):
    bars = load_bars(name)
    assert isinstance(bars.index, pd.DatetimeIndex) and bars.index.name == "timestamp"
    assert bars.index.is_unique and bars.index.is_monotonic_increasing
    assert (bars.dtypes == "float64").all()
    assert bars.attrs == {"symbol": name, "kind": datasets().set_index("name").kind[name]}
    assert all(type(value) is str for value in bars.attrs.values())
    assert str(bars.index.tz) == ("UTC" if name == "DE-LU" else "None")
    if name in EQUITIES:
        assert list(bars.columns) == [*OHLC, "volume", *(f"raw_{c}" for c in (*OHLC, "volume")),
                                      "dividend", "split"]
    elif name == "DE-LU":
        assert list(bars.columns) == ["close", "load_mw", "renewables_mw", "solar_mw"]
    else:
        assert list(bars.columns) == ["close"]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_blank_day_of_henry_hub_is_refused(name):
    bars = load_bars(name)
    if name == "HENRYHUB":
        assert kinds(bars) == [("missing", "close", pd.Timestamp("2018-01-05"))]
        bars = bars.dropna()
    assert check_bars(bars) is bars


def test_values_are_the_source_files_own():
    energy = pd.read_csv(DATA / "energy_eia_daily.csv.gz")
    wti = energy[energy.symbol == "WTI"]
    np.testing.assert_array_equal(load_bars("WTI").close, wti.close)
    assert list(load_bars("WTI").index.astype(str)) == list(wti.date)


@pytest.mark.parametrize("symbol", EQUITIES)
def test_equities_are_adjusted_by_one_factor(symbol, panel):
    bars, source = load_bars(symbol), panel[symbol]
    np.testing.assert_allclose(bars.close, source.adj_close, rtol=1e-15)
    factor = source.adj_close / source.close
    for column in OHLC:
        np.testing.assert_array_equal(bars[f"raw_{column}"], source[column])
        np.testing.assert_array_equal(bars[column], source[column] * factor)
    assert (bars.high >= bars[OHLC].max(axis=1)).all() and (bars.low <= bars[OHLC].min(axis=1)).all()
    np.testing.assert_array_equal(bars.raw_volume, source.volume)
    np.testing.assert_array_equal(bars.dividend, source.dividend)


def test_volume_counts_in_shares_of_the_last_day():
    ge = load_bars("GE")
    scale = ge.volume / ge.raw_volume
    # Six splits: 2, 2, 2, 2, 2 and 3 for 1; the split day itself already trades new shares.
    for day, times in [("1970-01-02", 96), ("1971-06-07", 96), ("1971-06-08", 48), ("1994-05-13", 12),
                       ("1994-05-16", 6), ("2000-05-05", 3), ("2000-05-08", 1), ("2018-01-05", 1)]:
        assert scale[day] == times, day
    assert load_bars("F").pipe(lambda f: f.volume / f.raw_volume)["2000-08-02"] == pytest.approx(1.571)


def test_the_split_of_msft_is_added_and_nothing_else():
    msft = load_bars("MSFT")
    assert list(msft.split.dropna().items()) == [(pd.Timestamp("2003-02-18"), 2.0)]
    scale = msft.volume / msft.raw_volume
    assert (scale[:"2003-02-14"] == 2).all() and (scale["2003-02-18":] == 1).all()
    # The source's volume is unadjusted before that day: dollars at raw prices are continuous.
    dollars = msft.raw_close * msft.raw_volume
    assert 0.7 < dollars["2003-02-19":][:60].median() / dollars[:"2003-02-14"][-60:].median() < 1.4
    for symbol in ("GOOG", "IBM"):
        bars = load_bars(symbol)
        assert bars.split.isna().all() and bars.dividend.isna().all()
        np.testing.assert_array_equal(bars.volume, bars.raw_volume)


def test_ge_is_the_full_panel_and_agrees_with_its_own_file(panel):
    ge = load_bars("GE")
    assert len(ge) == len(panel["GE"]) == 12113 and str(ge.index[0].date()) == "1970-01-02"
    own = read_bars(DATA / "ge_daily.csv")
    np.testing.assert_allclose(ge.close[own.index], own.adj_close, rtol=1e-15)


def test_a_list_gives_a_dict_in_its_order():
    several = load_bars(["WTI", "GE"])
    assert list(several) == ["WTI", "GE"]
    pd.testing.assert_frame_equal(several["GE"], load_bars("GE"))


def test_a_change_to_the_result_does_not_reach_the_next_caller():
    spoilt = load_bars("GE")
    before = spoilt.copy()
    spoilt.loc[spoilt.index[0], "close"] = -1.0
    spoilt["open"] = 0.0
    del spoilt["split"]
    spoilt.index.name = "when"
    spoilt.attrs["symbol"] = "SPOILT"
    fresh = load_bars("GE")
    pd.testing.assert_frame_equal(fresh, before)
    assert fresh.attrs["symbol"] == "GE" and fresh.index.name == "timestamp"
    table = datasets()
    table["quirks"] = ""
    assert datasets().quirks.str.len().min() > 0


@pytest.mark.parametrize("wrong, near", [("EURUDS", "EURUSD"), ("ge", "GE"), ("UST10", "UST10Y"),
                                         ("henryhub", "HENRYHUB")])
def test_an_unknown_name_is_told_its_neighbours(wrong, near):
    with pytest.raises(ValueError, match=f"(?s){wrong}.*did you mean .*{near}.*datasets\\(\\)"):
        load_bars(wrong)


@pytest.mark.parametrize("wrong", ["QQQQQQQQ", 7, None])
def test_a_name_like_no_other_is_pointed_to_datasets(wrong):
    with pytest.raises(ValueError, match=r"datasets\(\) lists all 47"):
        load_bars(wrong)
    with pytest.raises(ValueError, match="datasets"):
        load_bars(["GE", wrong])


def test_datasets_has_a_row_for_every_symbol_in_the_files():
    table = datasets()
    assert list(table.columns) == ["name", "kind", "first", "last", "rows", "licence", "source", "quirks"]
    in_files = set()
    for file in DATA.glob("*.csv.gz"):
        if "revisions" not in file.name:
            in_files |= set(pd.read_csv(file, usecols=["symbol"]).symbol)
    assert set(table.name) == in_files and table.name.is_unique and len(table) == 47
    assert set(table.kind) == {"equity", "fx", "energy", "rate", "power"}
    for column in ("licence", "source", "quirks"):
        assert all(isinstance(text, str) and len(text) > 5 for text in table[column]), column


def test_datasets_reads_its_spans_from_the_data():
    table = datasets().set_index("name")
    for name in NAMES:
        index = load_bars(name).index.tz_localize(None)
        assert (table["first"][name], table["last"][name]) == (index[0], index[-1])
        assert table.rows[name] == len(index)
    assert table["last"]["DELL"] == pd.Timestamp("2013-10-29")
    assert table["last"]["DE-LU"] == pd.Timestamp("2025-09-30 21:00")


@pytest.mark.parametrize("name, says", [
    ("WTI", "-36.98 on 2020-04-20"), ("BRENT", "2020-04-21"), ("HENRYHUB", "2005-09-23 to 2005-10-06"),
    ("HENRYHUB", "2018-01-05"), ("HENRYHUB", "23.86"), ("DELL", "ends 2013-10-29"),
    ("F", "spin-off of The Associates"), ("F", "32 dividends"), ("F", "recapitalisation"),
    ("EURISK", "3341 days"), ("EURRUB", "ends 2022-03-01"), ("EURTRY", "2021-12-21"),
    ("EURCHF", "2015-01-15"), ("EURDKK", "pegged"), ("AAPL", "stale bars: 1985-09-27"),
    ("AAPL", "2003-01-29"), ("AAPL", "2017-08-07"), ("GE", "2017-11-08"), ("GE", "1/8-dollar ticks"),
    ("DE-LU", "day-ahead auction"), ("DE-LU", "look-ahead"), ("DE-LU", "negative"),
    ("USDJPY", "clock is hours later"), ("USDGBP", "inverted"), ("UST1M", "true zero yields on 100 days"),
    ("UST3M", "true zero yields on 21 days"), ("UST30Y", "2002-02-19 to 2006-02-08"),
    ("UST20Y", "starts 1993-10-01"), ("UST10Y", "percent per year"), ("EURUSD", "14:15 CET"),
    ("EURUSD", "not a tradable quote"), ("GE", "survivorship"), ("BA", "split days is doubled"),
    ("MSFT", "2:1 split of 2003-02-18"), ("GOOG", "0.5015 of raw")])
def test_a_quirk_that_bites_is_in_the_table(name, says):
    assert says in datasets().set_index("name").quirks[name]


def test_the_quirks_tell_the_truth():
    power, ust = load_bars("DE-LU").close, load_bars(["UST1M", "UST3M"])
    assert ((power < 0).sum(), (power == 0).sum(), power.min(), power.max()) == (982, 140, -250.32, 936.28)
    assert [(bars.close == 0).sum() for bars in ust.values()] == [100, 21]
    assert load_bars("EURTRY").close.pct_change()["2021-12-21"] == pytest.approx(-0.27, abs=0.005)
    assert load_bars("EURCHF").close.pct_change()["2015-01-15"] == pytest.approx(-0.144, abs=0.0005)
    assert load_bars("BRENT").close.pct_change()["2020-04-21"] == pytest.approx(-0.47, abs=0.005)
    assert np.log(load_bars("EURDKK").close).diff().std() * 252**0.5 < 0.01
    assert load_bars("GOOG").pipe(lambda b: b.close / b.raw_close).round(4).unique() == [0.5015]
    assert load_bars("MSFT").raw_volume["2003-02-18"] == 28707750
    aapl = load_bars("AAPL")
    assert aapl.raw_volume["1985-09-27"] == 4471 and aapl.raw_close["2003-01-29"] == 14.58
    absent = pd.DatetimeIndex(["1981-08-10", "1983-09-23", "2017-08-07", "2017-11-08"])
    assert not aapl.index.isin(absent).any()


# ---------------------------------------------------------------------- checks

def test_good_bars_come_back_as_the_same_object():
    for bars in (good(), good()[["close"]], good()[["close", "volume"]], good(1), good().tz_localize("UTC"),
                 good().tz_localize(timezone.utc), good().astype("Float64"), good().astype("int64")):
        before = bars.copy()
        assert check_bars(bars, positive=True, max_gap="1D", max_move=0.02) is bars
        pd.testing.assert_frame_equal(bars, before)


def test_no_trade_is_a_fact_and_further_columns_are_free():
    bars = good().assign(dividend=np.nan, note="text")
    bars.loc[bars.index[:2], "volume"] = [0.0, np.nan]
    assert check_bars(bars, positive=True) is bars


def with_cell(row, column, value):
    bars = good()
    bars.loc[bars.index[row], column] = value
    return bars


@pytest.mark.parametrize("row, column, value, fault", [
    (2, "close", np.nan, "missing"), (0, "open", np.nan, "missing"), (4, "high", np.inf, "non-finite"),
    (1, "low", -np.inf, "non-finite"), (1, "volume", np.inf, "non-finite"), (3, "volume", -1.0, "negative volume"),
    (3, "open", 200.0, "outside [low, high]"), (3, "open", 1.0, "outside [low, high]"),
    (2, "close", 104.0, "outside [low, high]"), (2, "close", 99.0, "outside [low, high]")])
def test_one_bad_cell_is_one_fault_in_its_place(row, column, value, fault):
    bars = with_cell(row, column, value)
    assert kinds(bars) == [(fault, column, bars.index[row])]


def test_low_above_high():
    swapped = good()
    swapped.loc[swapped.index[1], ["low", "high"]] = [102.0, 100.0]
    assert kinds(swapped) == [("low > high", "low", swapped.index[1])]
    swapped.loc[swapped.index[1], "close"] = 150.0
    assert [fault for fault, *_ in kinds(swapped)] == ["low > high", "outside [low, high]"]


def test_rounding_is_not_a_fault_and_a_tick_is():
    bars = good()
    bars["high"] = bars["close"] = bars["close"] * 1.0
    assert check_bars(bars.assign(high=bars.high * (1 - 5e-10))) is not None
    assert len(refused(bars.assign(high=bars.high * (1 - 5e-9))).faults) == 5
    negative = -good().rename(columns={"high": "low", "low": "high"})
    negative["volume"] = 1.0
    assert check_bars(negative) is negative
    negative["close"] = negative.high * (1 - 5e-10)  # the slack is of the size, whatever the sign
    assert check_bars(negative) is negative


def test_the_calendar():
    bars = good()
    twice = pd.concat([bars, bars.iloc[[1]]])
    assert kinds(twice) == [("duplicate", "timestamp", bars.index[1]), ("unsorted", "timestamp", bars.index[1])]
    assert kinds(bars.iloc[[0, 1, 1, 2]]) == [("duplicate", "timestamp", bars.index[1])]
    assert kinds(bars.iloc[[0, 2, 1, 3]]) == [("unsorted", "timestamp", bars.index[1])]
    without = bars.set_index(bars.index.where(bars.index != bars.index[2]))
    assert kinds(without) == [("missing", "timestamp", pd.NaT)]
    assert kinds(bars.tz_localize("Europe/London"))[0][:2] == ("not UTC", "timestamp")
    assert "Europe/London" in str(refused(bars.tz_localize("Europe/London")))
    assert kinds(bars.tz_localize(timezone(timedelta(hours=1))))[0][:2] == ("not UTC", "timestamp")
    zones = bars.set_axis([stamp.tz_localize("UTC" if i else None) for i, stamp in enumerate(bars.index)])
    assert kinds(zones)[0][:2] == ("mixed time zones", "timestamp")
    assert kinds(bars.reset_index(drop=True))[0][:2] == ("missing", "timestamp")
    assert kinds(bars.set_axis(bars.index.astype(str)))[0][:2] == ("missing", "timestamp")


def test_the_columns():
    bars = good()
    assert kinds(bars[:0])[0][0] == "empty"
    assert kinds(bars[["volume"]])[0][:2] == ("missing", "close")
    assert [(f, c) for f, c, _ in kinds(bars[["open", "close"]])] == [("missing", "high"), ("missing", "low")]
    assert kinds(bars.rename(columns=str.title))[0][:2] == ("missing", "close")
    text = bars.astype({"close": object})
    text.loc[text.index[3], "close"] = "n/a"
    assert ("non-numeric", "close", bars.index[3]) in kinds(text)
    assert kinds(bars.astype({"volume": str}))[0][:2] == ("non-numeric", "volume")
    assert kinds(bars.assign(close=True))[0][:2] == ("non-numeric", "close")
    assert kinds(pd.concat([bars, bars[["close"]]], axis=1))[0][:2] == ("duplicate", "close")
    for wrong in ({"GE": bars}, bars.close, None):
        assert refused(wrong).faults.fault[0] == "not a table"


def test_all_faults_are_collected():
    bars = good(8)
    bars.iloc[0, 3], bars.iloc[1, 1], bars.iloc[2, 4], bars.iloc[3, 0] = np.nan, np.inf, -5.0, 500.0
    bars = bars.iloc[[0, 1, 2, 3, 3, 5, 4, 6, 7]]
    error = refused(bars)
    assert sorted(set(error.faults.fault)) == ["duplicate", "missing", "negative volume", "non-finite",
                                               "outside [low, high]", "unsorted"]
    assert len(error.faults) == 7  # the bad open is in both copies of its bar
    assert all(fault in checks.FAULTS for fault in error.faults.fault)
    assert len(str(error).splitlines()) == 6


def test_options_refuse_more_and_only_on_demand():
    bars = good(6).iloc[[0, 1, 4, 5]]
    assert check_bars(bars, max_gap="3D") is bars
    assert kinds(bars, max_gap="2D") == [("gap", "timestamp", bars.index[2])]
    assert kinds(bars, max_gap=pd.Timedelta(days=2, hours=23))[0][2] == bars.index[2]
    close = good(6)[["close"]].assign(close=[100.0, 140.0, 140.0, 90.0, -2.0, -2.1])
    day = close.index
    assert check_bars(close, max_move=1.1) is close
    assert [t for _, _, t in kinds(close, max_move=0.3)] == [day[1], day[3], day[4]]
    assert [t for _, _, t in kinds(close, max_move=0.4)] == [day[4]]  # beyond, not at
    assert kinds(close, positive=True) == [("non-positive", "close", day[4]), ("non-positive", "close", day[5])]
    zero = good().assign(low=0.0)
    assert [c for _, c, _ in kinds(zero, positive=True)] == ["low"] * 5
    assert kinds(bars.tz_localize("UTC"), max_gap="2D")[0][0] == "gap"


@pytest.mark.parametrize("options", [{"max_gap": 10}, {"max_gap": "-1D"}, {"max_gap": "soon"},
                                     {"max_move": 0}, {"max_move": -0.1}, {"max_move": np.nan}])
def test_a_bad_option_is_said_so(options):
    with pytest.raises(ValueError) as caught:
        check_bars(good(), **options)
    assert not isinstance(caught.value, BarsError)


def test_the_message_says_what_where_and_the_way_out():
    assert str(refused(load_bars("WTI"), positive=True)) == (
        "WTI has a non-positive close (-36.98 on 2020-04-20): percentage returns are undefined there; "
        "use differences, or drop the day knowingly.")
    message = str(refused(load_bars("DE-LU"), positive=True))
    assert message.startswith("DE-LU has a non-positive close (0 on 2024-01-01 01:00:00+00:00, -0.01 on ")
    assert "and 1119 more" in message
    message = str(refused(good().assign(low=101.5)[:1]))
    assert message.startswith("This table has a low > high (101.5 > 101 on 2020-01-01)")


@pytest.mark.parametrize("name, options, days", [
    ("HENRYHUB", {"max_gap": "10D"}, ["2005-10-07"]), ("EURISK", {"max_gap": "10D"}, ["2018-02-01"]),
    ("UST30Y", {"max_gap": "10D"}, ["2006-02-09"]), ("F", {"max_move": 0.3}, ["1998-04-08"]),
    ("WTI", {"positive": True}, ["2020-04-20"])])
def test_the_facts_of_the_data_are_named(name, options, days):
    bars = load_bars(name).dropna(subset="close")
    faults = refused(bars, **options).faults
    assert list(faults.timestamp.astype(str)) == days


# ------------------------------------------------------------------- own files

def write(folder, text, name="bars.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_read_ge_daily():
    bars = read_bars(DATA / "ge_daily.csv")
    assert bars.attrs == {"symbol": "GE", "file": "ge_daily.csv"} and len(bars) == 7059
    assert list(bars.columns) == [*OHLC, "volume", "dividend", "split", "adj_close"]
    assert bars.close.iloc[0] == 66.75 and bars.adj_close.iloc[0] == 2.537067  # left unadjusted
    assert str(bars.index[0]) == "1990-01-02 00:00:00" and bars.index.name == "timestamp"


@pytest.mark.parametrize("header", [
    "Date,Open,High,Low,Close,Adj Close,Volume", "TIMESTAMP,OPEN,HIGH,LOW,CLOSE,adj_close,VOLUME",
    ",open,high,low,close,ADJ CLOSE,volume", "Day,Open, High, Low,Close,Adj_Close,Volume"])
def test_names_in_any_case(tmp_path, header):
    bars = read_bars(write(tmp_path, f"{header}\n2020-01-02,1,3,1,2,1.5,10\n2020-01-03,2,3,1,2,1.5,0\n"))
    assert list(bars.columns) == [*OHLC, "adj_close", "volume"]
    assert bars.close.tolist() == [2.0, 2.0] and bars.adj_close.tolist() == [1.5, 1.5]
    assert (bars.dtypes == "float64").all() and bars.index.tz is None
    assert bars.attrs == {"file": "bars.csv"}


def test_extra_columns_are_kept_as_they_are(tmp_path):
    bars = read_bars(write(tmp_path, "Note,close,Date,Load MW\na,1,20200102,3\nb,2,20200103,\n"))
    assert list(bars.columns) == ["Note", "close", "Load MW"] and list(bars.Note) == ["a", "b"]
    assert list(bars.index.astype(str)) == ["2020-01-02", "2020-01-03"]


def test_packed_csv_and_parquet_give_the_same_bars(tmp_path):
    bars = random_walk(50, 1)
    bars.to_csv(tmp_path / "a.csv.gz")
    bars.to_parquet(tmp_path / "b.parquet")
    bars.reset_index().rename(columns=str.title).to_parquet(tmp_path / "c.parquet")
    bars.tz_localize("America/New_York").to_parquet(tmp_path / "d.parquet")
    for name in "a.csv.gz", "b.parquet", "c.parquet":
        pd.testing.assert_frame_equal(read_bars(tmp_path / name), bars, check_index_type=False)
    assert str(read_bars(tmp_path / "d.parquet").index[0]) == "2000-01-03 05:00:00+00:00"


def test_intraday_is_utc_or_refused(tmp_path):
    for text in ("2020-01-02T10:00:00+02:00", "2020-01-02T08:00Z", "2020-01-02 08:00:00.000+00"):
        bars = read_bars(write(tmp_path, f"time,close\n{text},1\n2020-01-02T12:00:00+02:00,2\n"))
        assert str(bars.index.tz) == "UTC" and bars.index[0] == pd.Timestamp("2020-01-02 08:00", tz="UTC")
    with pytest.raises(ValueError, match="tz_localize"):
        read_bars(write(tmp_path, "time,close\n2020-01-02 10:00,1\n2020-01-02 11:00,2\n"))
    with pytest.raises(BarsError, match="mixed time zones"):
        read_bars(write(tmp_path, "time,close\n2020-01-02 10:00,1\n2020-01-02 11:00Z,2\n"))
    assert read_bars(write(tmp_path, "time,close\n2020-01-02 00:00,1\n")).index.tz is None  # a day, written long


@pytest.mark.parametrize("date", ["01/02/2020", "2020-02-30", "2 Jan 2020", "2020", "1577923200", "soon", "",
                                  "2020-01-02x", "2020-01-02-02", "2020-01-02T10Z"])
def test_a_date_is_iso_or_refused_with_its_row(tmp_path, date):
    with pytest.raises(ValueError, match="data row 2 is not a date") as caught:
        read_bars(write(tmp_path, f"date,close\n2020-01-01,1\n{date},2\n"))
    assert "bars.csv" in str(caught.value) and "2020-01-31" in str(caught.value)
    assert date in ("", *str(caught.value).split("'"))


@pytest.mark.parametrize("text, says", [
    ("date,price\n2020-01-02,1\n", "close column"), ("date,Close,close\n2020-01-02,1,1\n", "no name twice"),
    ("date,symbol,close\n2020-01-02,A,1\n2020-01-02,B,1\n", "2 symbols .A, B.*filter"),
    ("open,high,low,close\n1,2,1,2\n", "not a date"), ("", "cannot be read"),
    ("date,close\n2020-01-02,1\n2020-01-02,2\n", "bars.csv has a duplicate timestamp"),
    ("date,close\n2020-01-02,\n", "missing close"), ("date,close\n2020-01-02,one\n", "non-numeric close .*'one'"),
    ("date,close\n", "no rows")])
def test_a_bad_file_is_refused(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        read_bars(write(tmp_path, text))


def test_a_file_that_is_not_there_or_not_what_it_says(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        read_bars(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match=r"bars.xlsx is not a .csv, .csv.gz or .parquet"):
        read_bars(write(tmp_path, "x", "bars.xlsx"))
    for name in ("bars.csv.gz", "bars.parquet"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            read_bars(write(tmp_path, "no such thing", name))


# ------------------------------------------------------------ synthetic worlds

WORLDS = [random_walk, planted_edge, regime_switching]


def correlation(x, y):
    both = x.notna() & y.notna()
    return np.corrcoef(x[both], y[both])[0, 1]


def returns(bars):
    """This bar's close-to-close; the next one; what a decision at this close earns, open to open."""
    now = np.log(bars.close).diff()
    return now, now.shift(-1), np.log(bars.open).diff().shift(-2)


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_is_faultless_and_repeatable(world):
    bars = world(5000, 3)
    assert check_bars(bars, positive=True) is bars
    assert list(bars.columns)[:5] == [*OHLC, "volume"] and (bars.dtypes == "float64").all()
    assert bars.attrs == {"symbol": world.__name__.upper(), "kind": "synthetic"}
    assert (bars.high >= bars[OHLC].max(axis=1)).all() and (bars.low <= bars[OHLC].min(axis=1)).all()
    assert (bars.volume > 0).all() and bars.volume.median() == pytest.approx(1e6, rel=0.03)
    pd.testing.assert_frame_equal(world(5000, 3), bars)
    assert not world(5000, 4).equals(bars)
    assert len(world(2, 0)) == 2


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("options", [
    {"n_bars": 1}, {"n_bars": 10.0}, {"n_bars": "10"}, {"seed": -1}, {"seed": None}, {"volatility": 0.0},
    {"volatility": -0.01}, {"volatility": np.nan}, {"volatility": np.inf}, {"drift": np.inf},
    {"n_bars": 10_000, "volatility": 100.0}, {"drift": 100.0}])
def test_a_world_refuses_bad_parameters(world, options):
    with pytest.raises(ValueError):
        world(**{"n_bars": 100, "seed": 0, **options})


@pytest.mark.parametrize("world, options", [
    (planted_edge, {"strength": 0.92}), (planted_edge, {"strength": np.nan}), (regime_switching, {"strength": -1}),
    (regime_switching, {"regime_length": 0.5}), (regime_switching, {"regime_length": np.inf}),
    (regime_switching, {"regime_length": np.nan}), (regime_switching, {"regime_length": 0})])
def test_an_edge_refuses_bad_parameters(world, options):
    with pytest.raises(ValueError):
        world(100, 0, **options)


@pytest.mark.parametrize("world", WORLDS)
def test_the_calendar_is_business_days_while_they_last(world):
    days = world(1000, 0).index
    assert days.tz is None and str(days[0].date()) == "2000-01-03" and days.name == "timestamp"
    assert days.equals(pd.bdate_range("2000-01-03", periods=1000))


def test_beyond_2199_bars_are_minutes():
    last = random_walk(52_177, 0).index[-1]
    assert str(last) == "2199-12-31 00:00:00"
    minutes = random_walk(52_178, 0).index
    assert str(minutes.tz) == "UTC" and str(minutes[-1]) == "2000-02-08 05:37:00+00:00"
    assert set(minutes[1:] - minutes[:-1]) == {pd.Timedelta("1min")}
    ten_million = synthetic._stamps(10_000_000)
    assert len(ten_million) == 10_000_000 and ten_million[-1].year == 2019


def test_a_random_walk_has_the_stated_law_and_no_edge():
    n = 400_000
    bars = random_walk(n, 11, volatility=0.002, drift=1e-5)
    now, following, earned = returns(bars)
    five = 5 / math.sqrt(n)  # five standard errors of a correlation
    assert now.std() == pytest.approx(0.002, rel=five)
    assert now.mean() == pytest.approx(1e-5, abs=0.002 * five)
    assert now.kurt() == pytest.approx(0, abs=5 * math.sqrt(24 / n))
    night = np.log(bars.open / bars.close.shift())
    day = np.log(bars.close / bars.open)
    assert night.var() == pytest.approx(0.1 * 0.002**2, rel=2 * five)
    for known in (now, night, day, np.log(bars.volume), np.log(bars.high / bars.low), now.shift(1)):
        assert abs(correlation(known, following)) < five
        assert abs(correlation(known, earned)) < five
    assert abs(correlation(night, day)) < five
    honest = np.log(random_walk(n, 5, volatility=0.002).close).diff()[1:]
    assert (honest > 0).mean() == pytest.approx(0.5, abs=five / 2)


def test_rounding_never_puts_a_price_outside_its_bar():
    bars = random_walk(2000, 0, volatility=1e-15)  # moves of the size of rounding
    assert (bars.high >= bars[OHLC].max(axis=1)).all() and (bars.low <= bars[OHLC].min(axis=1)).all()


def test_high_and_low_are_those_of_a_brownian_path():
    bars = random_walk(200_000, 2, volatility=0.002)
    session = 0.9 * 0.002**2
    # The maximum of a Brownian path has the law of |path's end|: its mean square is the variance.
    assert (np.log(bars.high / bars.open) ** 2).mean() == pytest.approx(session, rel=0.02)
    assert (np.log(bars.low / bars.open) ** 2).mean() == pytest.approx(session, rel=0.02)


@pytest.mark.parametrize("strength", [0.05, 0.3, -0.3])
def test_the_planted_edge_is_as_strong_as_stated(strength):
    n = 400_000
    bars = planted_edge(n, 7, strength=strength, volatility=0.002)
    now, following, earned = returns(bars)
    five = 5 / math.sqrt(n)
    assert now.std() == pytest.approx(0.002, rel=five)
    best = 0.5 + math.asin(abs(strength)) / math.pi
    for target in (following, earned):
        assert correlation(now, target) == pytest.approx(strength, abs=five)
        assert target.std() == pytest.approx(0.002, rel=five)
        hit = (np.sign(now * strength) == np.sign(target))[1:-2].mean()
        assert hit == pytest.approx(best, abs=five / 2)
        profit = (np.sign(now * strength) * target).mean()
        assert profit == pytest.approx(0.8 * abs(strength) * 0.002, abs=0.002 * five)
        # Given r[t], nothing else in the past helps.
        rest = target - strength * now
        for known in (now.shift(1), np.log(bars.open / bars.close.shift()), np.log(bars.high / bars.low)):
            assert abs(correlation(known, rest)) < five


def test_the_edge_is_there_from_the_first_bar():
    first = [np.log(planted_edge(2, seed, strength=0.9).close.iloc[0] / 100) for seed in range(300)]
    assert np.std(first) == pytest.approx(0.01, rel=5 / math.sqrt(2 * 300))


def test_the_default_edge_has_the_figures_of_its_docstring():
    assert 0.5 + math.asin(0.05) / math.pi == pytest.approx(0.516, abs=5e-4)
    assert math.sqrt(2 / math.pi) * 0.05 * 0.01 * 1e4 == pytest.approx(4, abs=0.05)
    assert "51.6 %" in planted_edge.__doc__


def test_a_drift_moves_the_mean_and_not_the_edge():
    bars = planted_edge(400_000, 9, strength=0.2, volatility=0.002, drift=2e-4)
    now, following, earned = returns(bars)
    assert now.mean() == pytest.approx(2e-4, abs=5 * 0.002 * 1.25 / math.sqrt(len(bars)))
    night = np.log(bars.open / bars.close.shift())  # has its tenth of the drift
    assert night.mean() == pytest.approx(2e-5, abs=5 * 0.002 * 0.32 / math.sqrt(len(bars)))
    assert correlation(now, earned) == pytest.approx(0.2, abs=5 / math.sqrt(len(bars)))


def test_regimes_change_the_sign_and_last_as_long_as_stated():
    n, length = 400_000, 100
    bars = regime_switching(n, 13, strength=0.2, regime_length=length, volatility=0.002)
    now, following, earned = returns(bars)
    assert set(bars.regime) == {-1.0, 1.0}
    switches = (bars.regime.diff().abs() == 2).sum()
    assert switches == pytest.approx(n / length, abs=5 * math.sqrt(n / length))
    assert bars.regime.mean() == pytest.approx(0, abs=5 * math.sqrt(2 * length / n))
    five = 5 / math.sqrt(n)
    for target in (following, earned):
        assert correlation(bars.regime * now, target) == pytest.approx(0.2, abs=five)
        for state in (1.0, -1.0):
            there = bars.regime == state
            assert correlation(now[there], target[there]) == pytest.approx(0.2 * state, abs=2 * five)
        assert abs(correlation(now, target)) < five + 0.2 * abs(bars.regime.mean())
    # The regime of bar t rules the step from t to t + 1: its last bar tells that from the step into t.
    final = bars.regime.diff().shift(-1).abs() == 2
    assert correlation((bars.regime * now)[final], following[final]) == pytest.approx(0.2, abs=0.08)


def test_regimes_start_on_either_side_and_run_geometrically():
    assert {regime_switching(2, seed).regime.iloc[0] for seed in range(20)} == {-1.0, 1.0}
    regime = regime_switching(200_000, 1, regime_length=20, volatility=0.002).regime
    runs = regime.groupby((regime.diff() != 0).cumsum()).size()
    assert runs.mean() == pytest.approx(20, rel=0.06) and runs.std() == pytest.approx(19.5, rel=0.08)
    alternating = regime_switching(10, 0, regime_length=1).regime
    assert (alternating.diff()[1:].abs() == 2).all()


@pytest.mark.parametrize("name, world", [("RANDOM_WALK", random_walk), ("PLANTED_EDGE", planted_edge),
                                         ("REGIME_SWITCHING", regime_switching)])
def test_worlds_of_known_truth_load_by_name(name, world):
    pd.testing.assert_frame_equal(load_bars(name), world(5000, seed=1))
    assert load_bars([name])[name].attrs["symbol"] == name


def test_revisions_are_the_cells_that_two_vintages_give_differently():
    cells = revisions()
    assert len(cells) == 9179 and set(cells["symbol"]) == {"AAPL", "GE"}
    assert (cells["v2013"] != cells["v2018"]).all() and cells.notna().all(axis=None)
    one = cells[(cells["date"] == "1980-12-12") & (cells["field"] == "high")].iloc[0]
    assert (one["v2013"], one["v2018"]) == (28.88, 28.87)
