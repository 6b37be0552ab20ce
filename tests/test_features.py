"""Features: closed forms, published values, and that nothing depends on the future or on where a table is cut."""

import copy
import functools
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from vectors import vector

from mlkit.features import (MACD, RSI, CrossReturn, FeatureSet, LaggedReturns, PriceToAverage, Volatility, parity)
from mlkit.markets import BarsError

WINDOWED = [LaggedReturns(1), LaggedReturns(5), PriceToAverage(5, 10, 20), PriceToAverage(1, 3),
            Volatility(20), Volatility(2)]
RECURSIVE = [RSI(14), RSI(2), MACD(12, 26, 9), MACD(1, 2, 1), MACD(3, 5, 40)]
SHIPPED = WINDOWED + RECURSIVE
PROPERTY = settings(max_examples=15, deadline=None)


def make_bars(close, start="2020-01-01", freq="D", tz=None, symbol=None):
    """Bars of closes alone."""
    index = pd.date_range(start, periods=len(close), freq=freq, tz=tz, name="timestamp")
    bars = pd.DataFrame({"close": np.asarray(close, dtype=float)}, index=index)
    if symbol:
        bars.attrs["symbol"] = symbol
    return bars


def walk(n, seed=0, volatility=0.02):
    return make_bars(50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, volatility, n))))


def exactly(left, right):
    """The same bits, NaN included."""
    return np.array_equal(np.asarray(left), np.asarray(right), equal_nan=True)


# ------------------------------------------------------------------ closed forms

def test_lagged_returns_are_the_returns_of_the_bars_before():
    bars = walk(30)
    close, table = bars.close.to_numpy(), LaggedReturns(4)(bars)
    assert list(table) == ["return_1", "return_2", "return_3", "return_4"]
    for t in range(30):
        for k in range(1, 5):
            expected = close[t - k + 1] / close[t - k] - 1 if t >= k else np.nan
            assert exactly(table.iloc[t, k - 1], expected)


def test_price_to_average_and_volatility_against_numpy():
    bars = walk(60)
    close = bars.close.to_numpy()
    to_average, volatility = PriceToAverage(5, 20)(bars), Volatility(20)(bars)
    assert list(to_average) == ["price_to_average_5", "price_to_average_20"] and list(volatility) == ["volatility_20"]
    for t in range(60):
        for column, window in enumerate((5, 20)):
            expected = close[t] / close[t - window + 1 : t + 1].mean() - 1 if t >= window - 1 else np.nan
            assert to_average.iloc[t, column] == pytest.approx(expected, abs=1e-13, nan_ok=True)
        expected = np.std(close[t - 19 : t + 1] / close[t - 20 : t] - 1, ddof=1) if t >= 20 else np.nan
        assert volatility.iloc[t, 0] == pytest.approx(expected, rel=1e-11, nan_ok=True)


def test_a_market_that_does_not_move():
    bars = make_bars([7.1] * 80)
    values = FeatureSet(SHIPPED[:1] + [PriceToAverage(20), Volatility(20), RSI(14)])(bars).iloc[-1]
    assert values.to_dict() == pytest.approx({"return_1": 0, "price_to_average_20": 0, "volatility_20": 0, "rsi_14": 50})
    assert MACD()(bars).iloc[-1].to_numpy() == pytest.approx(0, abs=1e-12)


def test_rsi_of_only_rises_and_of_only_falls():
    rising = make_bars(np.arange(1.0, 41))
    assert (RSI(14)(rising).dropna() == 100).all().all()
    assert (RSI(14)(rising[::-1].set_axis(rising.index)).dropna() == 0).all().all()


# -------------------------------------------------------------- published values

def test_rsi_of_stockcharts():
    example = vector("rsi14_stockcharts")  # the cs-rsi sheet (QQQQ, 14-Dec-09 to 1-Feb-10)
    rsi = RSI(14)(make_bars(example["inputs"]["close"])).iloc[:, 0]
    assert rsi.iloc[:14].isna().all()
    assert rsi.iloc[14:].to_numpy() == pytest.approx(example["expected"]["rsi"], abs=example["tolerance"])


# The first closes of the reference series of TA-Lib's regression tests and the values it
# expects of them (ta_regtest: test_data.c, test_rsi.c, test_macd.c; default compatibility),
# which are cut after 2 and 4 digits; and what TA-Lib 0.8.2 gives for these closes, in full.
TALIB_CLOSE = [91.5, 94.815, 94.375, 95.095, 93.78, 94.625, 92.53, 92.75, 90.315, 92.47, 96.125, 97.25, 98.5, 89.875,
               91.0, 92.815, 89.155, 89.345, 91.625, 89.875, 88.375, 87.625, 84.78, 83.0, 83.5, 81.375, 84.44, 89.25,
               86.375, 86.25, 85.25, 87.125, 85.815, 88.97]


def test_rsi_and_macd_of_talib():
    bars = make_bars(TALIB_CLOSE)
    rsi, macd = RSI(14)(bars).iloc[:, 0], MACD(12, 26, 9)(bars)
    assert rsi.iloc[:14].isna().all() and macd.iloc[:33].isna().all().all()
    assert rsi.iloc[14:17].to_numpy() == pytest.approx([49.14, 52.32, 46.07], abs=0.01)
    assert rsi.iloc[14:17].to_numpy() == pytest.approx([49.14733969986358, 52.32555279533659, 46.07239657691365])
    assert macd.iloc[33].to_numpy() == pytest.approx([-1.9738, -2.7071, 0.7333], abs=0.0001)
    assert macd.iloc[33].to_numpy() == pytest.approx([-1.97383143114259, -2.70710774204163, 0.73327631089904])


def exponential(values, first, span):
    """By the definition, one value after the other: {index: average}, seeded at `first` with `span` values."""
    average = {first: sum(values[first - span + 1 : first + 1]) / span}
    for t in range(first + 1, len(values)):
        average[t] = average[t - 1] + 2 / (span + 1) * (values[t] - average[t - 1])
    return average


@pytest.mark.parametrize("fast, slow, signal", [(12, 26, 9), (3, 5, 4), (1, 2, 1)])
def test_macd_against_a_loop(fast, slow, signal):
    bars = walk(200)
    close, table = bars.close.tolist(), MACD(fast, slow, signal)(bars)
    quick, long = exponential(close, slow - 1, fast), exponential(close, slow - 1, slow)
    macd = [quick.get(t, 0.0) - long.get(t, 0.0) for t in range(200)]
    first = slow + signal - 2
    smooth = exponential(macd, first, signal)
    assert list(table) == ["macd", "signal", "histogram"]
    assert table.iloc[:first].isna().all().all()
    for t in range(first, 200):
        assert table.iloc[t].to_numpy() == pytest.approx([macd[t], smooth[t], macd[t] - smooth[t]], abs=1e-11)


def test_rsi_against_wilders_loop():
    bars = walk(300)
    change = np.diff(bars.close.to_numpy())
    gain, loss = np.maximum(change, 0)[:14].mean(), np.maximum(-change, 0)[:14].mean()
    rsi = RSI(14)(bars).iloc[:, 0]
    for t in range(14, 300):
        assert rsi.iloc[t] == pytest.approx(100 - 100 / (1 + gain / loss), abs=1e-9)
        if t < 299:
            gain, loss = (gain * 13 + max(change[t], 0)) / 14, (loss * 13 + max(-change[t], 0)) / 14


# ---------------------------------------------- where a table begins, ends and scales

@pytest.mark.parametrize("feature", SHIPPED, ids=repr)
def test_the_first_value_comes_at_the_lookback(feature):
    table = feature(walk(400))
    assert feature.names == list(table)
    assert (table.dtypes == "float64").all()
    assert table.notna().all(axis=1).to_numpy().argmax() == feature.lookback - 1
    assert table.iloc[feature.lookback - 1 :].notna().all().all()


@pytest.mark.parametrize("feature", SHIPPED, ids=repr)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 25, 26, 33])
def test_a_table_shorter_than_the_lookback_is_nan_on_its_own_index(feature, n):
    bars = walk(n)
    table = feature(bars)
    assert table.index.equals(bars.index) and list(table) == feature.names
    if n < feature.lookback:
        assert table.isna().any(axis=1).all()


closes = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=90)


@pytest.mark.parametrize("feature", SHIPPED, ids=repr)
@PROPERTY
@given(closes, st.data())
def test_a_prefix_gives_the_same_bits(feature, close, data):
    bars = make_bars(close)
    cut = data.draw(st.integers(1, len(close)))
    assert exactly(feature(bars).iloc[:cut], feature(bars.iloc[:cut]))


@pytest.mark.parametrize("feature", WINDOWED, ids=repr)
@PROPERTY
@given(closes, st.data())
def test_the_last_lookback_bars_give_the_same_bits(feature, close, data):
    bars = make_bars(close)
    end = data.draw(st.integers(1, len(close)))
    window = bars.iloc[max(end - feature.lookback, 0) : end]
    assert exactly(feature(bars).iloc[end - 1], feature(window).iloc[-1])


@pytest.mark.parametrize("feature", SHIPPED, ids=repr)
def test_the_same_bits_in_a_long_table_and_in_any_layout_of_it(feature):
    bars = walk(20_000)
    whole = feature(bars)
    wide = bars.assign(open=1.0, high=2.0)[["open", "close", "high"]].copy()
    interleaved = pd.DataFrame(np.ascontiguousarray(wide.to_numpy()), index=wide.index, columns=wide.columns)
    assert exactly(whole, feature(interleaved))
    for end in (8191, 8192, 8193, 16_385, 20_000):
        assert exactly(whole.iloc[end - 1], feature(bars.iloc[:end]).iloc[-1])
        if feature in WINDOWED:
            assert exactly(whole.iloc[end - 1], feature(bars.iloc[end - feature.lookback : end]).iloc[-1])


@pytest.mark.parametrize("feature", SHIPPED, ids=repr)
@PROPERTY
@given(closes, st.integers(-20, 20))
def test_a_change_of_unit_by_a_power_of_two(feature, close, power):
    """Fractions and RSI keep their bits, MACD scales: units play no part, nor does any constant."""
    factor = 2.0**power
    plain, scaled = feature(make_bars(close)), feature(make_bars(np.array(close) * factor))
    assert exactly(plain * (factor if isinstance(feature, MACD) else 1.0), scaled)


@pytest.mark.parametrize("feature", RECURSIVE, ids=repr)
def test_after_the_warmup_the_first_bar_is_forgotten(feature):
    bars = walk(3000, volatility=0.05)
    whole = feature(bars)
    apart = {extra: max(np.abs(feature(bars.iloc[end - extra : end]).iloc[-1] - whole.iloc[end - 1]).max()
                        for end in range(1000, 3000, 97)) for extra in (feature.lookback, feature.warmup)}
    assert apart[feature.warmup] <= 1e-8
    assert feature.warmup == feature.lookback or apart[feature.lookback] > 1e-3


def test_the_warmup_of_a_window_is_its_lookback():
    assert [feature.warmup for feature in WINDOWED] == [feature.lookback for feature in WINDOWED]
    assert RSI(14).lookback == 15 and MACD(12, 26, 9).lookback == 34 and 250 < RSI(14).warmup < 600


def test_a_million_bars_need_less_than_100_megabytes():
    bars = walk(1_000_000, volatility=1e-4)
    for feature in (Volatility(20), PriceToAverage(20)):
        tracemalloc.start()
        feature(bars)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100e6


# ---------------------------------------------------------------- objects and errors

@pytest.mark.parametrize("feature", SHIPPED + [CrossReturn(walk(50), 2, known_delay=4)], ids=repr)
def test_a_feature_is_a_value(feature):
    for twin in (copy.deepcopy(feature), pickle.loads(pickle.dumps(feature)), clone(feature, safe=False)):
        assert twin == feature and repr(twin) == repr(feature) and twin.names == feature.names
        assert exactly(twin(walk(60)), feature(walk(60)))
    with pytest.raises(AttributeError):
        feature.window = 3
    assert sum(feature == other for other in SHIPPED) == (feature in SHIPPED)


def test_repr_says_how_to_make_it():
    for feature in SHIPPED:
        assert eval(repr(feature)) == feature
    assert repr(PriceToAverage()) == "PriceToAverage(5, 10, 20)" and repr(MACD()) == "MACD(12, 26, 9)"


@pytest.mark.parametrize("make", [lambda: LaggedReturns(0), lambda: LaggedReturns(2.5), lambda: RSI(True),
                                  lambda: Volatility(1), lambda: PriceToAverage(5, 5), lambda: PriceToAverage([5]),
                                  lambda: MACD(26, 12, 9), lambda: MACD(12, 12, 9), lambda: CrossReturn(walk(9), 0),
                                  lambda: CrossReturn(walk(9), known_delay=float("nan"))])
def test_parameters_that_make_no_sense(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("feature", WINDOWED, ids=repr)
def test_a_percentage_of_a_non_positive_price_is_refused(feature):
    wti = make_bars([18.27, -36.98, 8.91], start="2020-04-19", symbol="WTI")
    sentence = (r"WTI has a non-positive close \(-36.98 on 2020-04-20\): percentage returns are undefined there; "
                "use differences, or drop the day knowingly.")
    with pytest.raises(BarsError, match=sentence):
        feature(wti)
    with pytest.raises(BarsError, match=sentence):
        CrossReturn(wti)
    with pytest.raises(BarsError):
        feature(make_bars([1.0, 0.0]))


def test_differences_of_a_non_positive_price_are_not():
    bars = walk(60) - 50
    assert RSI(14)(bars).iloc[-1].notna().all() and MACD()(bars).iloc[-1].notna().all()


def test_a_missing_close_is_named_by_its_absence():
    with pytest.raises(ValueError, match="column 'close' is needed here, not one with .'price'"):
        RSI(14)(walk(20).rename(columns={"close": "price"}))
    with pytest.raises(ValueError, match="not a dict"):
        RSI(14)({"GE": walk(20)})


# -------------------------------------------------------------------- cross returns

def test_the_value_of_a_date_that_is_known_later_is_not_used():
    ecb, h10 = make_bars([1.0] * 4), make_bars([100, 110, 121, 242], symbol="USDCAD")
    same_time, later = CrossReturn(h10)(ecb), CrossReturn(h10, known_delay=4)(ecb)
    assert list(same_time) == ["USDCAD_return_1"]
    assert exactly(same_time.round(12).to_numpy()[:, 0], [np.nan, 0.1, 0.1, 1.0])
    assert exactly(later.round(12).to_numpy()[:, 0], [np.nan, np.nan, 0.1, 0.1])
    assert exactly(CrossReturn(h10, known_delay=pd.Timedelta("4h"))(ecb), later)
    assert exactly(CrossReturn(h10, known_delay="4h")(ecb), later)
    assert exactly(CrossReturn(h10, known_delay=-4)(ecb), same_time)
    assert exactly(CrossReturn(h10, known_delay=0)(ecb), same_time)
    assert exactly(CrossReturn(h10, 2)(ecb).round(12).to_numpy()[:, 0], [np.nan, np.nan, 0.21, 1.2])


def test_the_last_known_return_stands_while_the_other_market_is_closed():
    other = make_bars([100, 110, 121, 242, 242], symbol="X").iloc[[0, 1, 3]]
    values = CrossReturn(other)(make_bars([1.0] * 5)).round(12).to_numpy()[:, 0]
    assert exactly(values, [np.nan, 0.1, 0.1, 1.2, 1.2])


@PROPERTY
@given(st.sets(st.integers(0, 60), min_size=2), st.sets(st.integers(0, 60), min_size=1), st.integers(-50, 50))
def test_cross_return_against_a_search_for_what_was_known(theirs, ours, delay):
    theirs, ours = sorted(theirs), sorted(ours)
    start = pd.Timestamp("2024-01-01", tz="UTC")
    other = walk(len(theirs)).set_axis(start + pd.to_timedelta(theirs, unit="h"))
    own = walk(len(ours)).set_axis(start + pd.to_timedelta(ours, unit="h"))
    values = CrossReturn(other, known_delay=delay)(own).iloc[:, 0]
    returns = other.close / other.close.shift(1) - 1
    for stamp, value in values.items():
        known = [r for hour, r in zip(theirs, returns) if start + pd.Timedelta(hours=hour + delay) <= stamp]
        assert exactly(value, known[-1] if known else np.nan)


def test_daily_and_intraday_clocks_are_compared_only_when_told_how():
    daily, hourly = make_bars([100, 110, 121]), make_bars([1.0] * 72, freq="h", tz="UTC")
    for own, other in ((hourly, daily), (daily, hourly), (hourly.tz_localize(None), daily)):
        with pytest.raises(ValueError, match="known_delay"):
            CrossReturn(other)(own)
    values = CrossReturn(daily, known_delay=21)(hourly).iloc[:, 0]
    assert values.first_valid_index() == pd.Timestamp("2020-01-02 21:00", tz="UTC")


def test_the_other_table_is_copied_and_has_to_be_in_order():
    other, bars = walk(10), walk(10)
    feature = CrossReturn(other)
    before = feature(bars)
    other.loc[:, "close"] = 1.0
    assert exactly(before, feature(bars)) and feature != CrossReturn(other)
    for wrong in (walk(10)[::-1], pd.concat([walk(3), walk(3)]), walk(3).iloc[[0, 1, 1, 2]]):
        with pytest.raises(ValueError, match="increase"):
            CrossReturn(wrong)
    with pytest.raises(ValueError, match="DatetimeIndex"):
        CrossReturn(walk(10).reset_index(drop=True))


# ---------------------------------------------------------------------- feature sets

def momentum(bars):
    return bars["close"].diff(3)


def two_columns(bars):
    return pd.DataFrame({"up": bars["close"].diff() > 0, "level": bars["close"]})


def test_a_set_takes_features_functions_and_dicts():
    bars = walk(50)
    features = FeatureSet([LaggedReturns(2), momentum, two_columns,
                           {"two": two_columns, "gap": lambda b: b.close.diff(), "slow": MACD(5, 20, 4), "r": RSI(3)}])
    table = features(bars)
    assert list(table) == ["return_1", "return_2", "momentum", "up", "level", "two_up", "two_level", "gap",
                           "slow_macd", "slow_signal", "slow_histogram", "r"]
    assert (table.dtypes == "float64").all() and table.index.equals(bars.index)
    assert exactly(table["slow_macd"], MACD(5, 20, 4)(bars)["macd"]) and exactly(table["r"], RSI(3)(bars)["rsi_3"])
    assert exactly(table["momentum"], momentum(bars)) and set(table["up"]) == {0.0, 1.0}
    assert features.names[:4] == ["return_1", "return_2", "momentum", "two_columns"]  # promised, not yet seen
    assert features.fit(bars).names == list(table) == list(features.get_feature_names_out())


def test_one_feature_or_a_dict_will_do():
    bars = walk(30)
    assert exactly(FeatureSet(RSI(14))(bars), RSI(14)(bars))
    assert FeatureSet({"m": momentum})(bars).columns.tolist() == ["m"]


def test_lookback_and_warmup_are_the_largest():
    momentum_with_lookback = functools.wraps(momentum)(lambda bars: momentum(bars))
    momentum_with_lookback.lookback = 77
    assert FeatureSet([momentum]).lookback == 1
    assert FeatureSet([momentum, PriceToAverage(5, 20), RSI(14)]).lookback == 20
    assert FeatureSet([momentum, RSI(14), Volatility(20)]).warmup == RSI(14).warmup
    assert FeatureSet([momentum_with_lookback, RSI(14)]).lookback == 77


def test_a_set_is_an_sklearn_transformer():
    bars = walk(120)
    features = FeatureSet([LaggedReturns(3), RSI(14), momentum])
    twin = clone(features.fit(bars))
    assert twin is not features and not hasattr(twin, "names_") and twin.get_params()["features"] == features.features
    assert exactly(twin.transform(bars), features.fit_transform(bars))
    assert exactly(twin.set_output(transform="pandas").fit_transform(bars), features(bars))
    assert twin.set_params(features=[RSI(5)]).fit(bars).names == ["rsi_5"]
    assert exactly(pickle.loads(pickle.dumps(features)).transform(bars), features(bars))

    rises = (bars.close.shift(-1) > bars.close).astype(int)
    model = make_pipeline(features, SimpleImputer(), LogisticRegression()).fit(bars, rises)
    assert model[:-1].get_feature_names_out().tolist() == features.names
    assert clone(model).fit(bars, rises).predict(bars).tolist() == model.predict(bars).tolist()
    assert model[:-1].set_output(transform="pandas").transform(bars).index.equals(bars.index)


@pytest.mark.parametrize("features", [[RSI(14), RSI(14)], [momentum, {"momentum": RSI(14)}], [MACD(), MACD(3, 6, 2)]])
def test_a_name_used_twice_is_refused(features):
    with pytest.raises(ValueError, match="momentum|rsi_14|macd, signal, histogram"):
        FeatureSet(features)


def test_a_name_used_twice_by_a_function_is_refused_when_seen():
    with pytest.raises(ValueError, match="level"):
        FeatureSet([two_columns, {"level": momentum}])(walk(9))


@pytest.mark.parametrize("function, message", [
    (lambda bars: bars.close.dropna().iloc[3:], "Feature mine gave 7 rows for 10 bars"),
    (lambda bars: bars.close.reset_index(drop=True), "Feature mine .* another index"),
    (lambda bars: bars.close.shift(1, freq="D"), "Feature mine .* another index"),
    (lambda bars: bars.close.to_numpy(), "Feature mine gave a ndarray"),
    (lambda bars: None, "Feature mine gave a NoneType"),
    (lambda bars: bars.close.astype(str) + "x", "Feature mine gave values that are not numbers"),
])
def test_a_function_that_breaks_the_contract_is_named(function, message):
    with pytest.raises(ValueError, match=message):
        FeatureSet({"mine": function})(walk(10))


def test_an_error_in_a_function_keeps_its_kind_and_tells_whose_it_is():
    with pytest.raises(ZeroDivisionError) as caught:
        FeatureSet({"mine": lambda bars: 1 / 0})(walk(10))
    assert "mine" in caught.value.__notes__[0]


@pytest.mark.parametrize("features", [[], {}, ["rsi"], [None], [lambda bars: bars.close], [functools.partial(momentum)]])
def test_what_is_no_feature_is_refused(features):
    with pytest.raises(ValueError):
        FeatureSet(features)


def test_a_set_needs_one_table_of_bars():
    with pytest.raises(ValueError, match="not from a dict"):
        FeatureSet([RSI(14)]).transform({"GE": walk(20)})


def test_columns_that_change_after_fit_are_refused():
    features = FeatureSet([dummies]).fit(make_bars([1, 2, 3]))
    with pytest.raises(ValueError, match="fitted as .*3.* and are now"):
        features.transform(make_bars([1, 2, 2]))


def dummies(bars):
    return pd.get_dummies(bars["close"].astype(int))


def test_a_function_cannot_change_the_bars():
    def careless(bars):
        bars["close"] = 0.0
        return bars["close"]
    bars = walk(20)
    before = bars.copy()
    FeatureSet([careless, RSI(14)])(bars)
    pd.testing.assert_frame_equal(bars, before)


# ---------------------------------------------------------------------------- parity

def test_parity_of_everything_shipped_is_exact():
    table = parity([LaggedReturns(3), PriceToAverage(), Volatility(), RSI(), MACD(), CrossReturn(walk(150, 1))], walk(150))
    assert (table["max_abs_difference"] == 0).all() and table["at"].isna().all() and (table["rows"] == 150).all()


def scaled(bars):
    return bars["close"] / bars["close"].max()


def tomorrow(bars):
    return bars["close"].shift(-1)


def test_parity_catches_a_look_ahead():
    bars = walk(80)
    table = parity([RSI(14), scaled, tomorrow], bars, rows=[10, 40, 60])
    assert table["max_abs_difference"].tolist()[0] == 0 and table.loc["tomorrow", "max_abs_difference"] == np.inf
    alone = [1 - bars.close.iloc[row] / bars.close.max() - (1 - bars.close.iloc[row] / bars.close[: row + 1].max())
             for row in (10, 40, 60)]
    assert table.loc["scaled", "max_abs_difference"] == pytest.approx(max(np.abs(alone)))
    assert table.loc["scaled", "at"] == bars.index[[10, 40, 60][int(np.argmax(np.abs(alone)))]]
    assert (table["rows"] == 3).all()


def test_parity_of_rows_outside_the_table_is_refused():
    for rows in ([], [-1], [80]):
        with pytest.raises(ValueError, match="0 to 79"):
            parity(RSI(14), walk(80), rows)
