"""Labels: closed forms, and that no label is known before its `end`."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.features import Volatility
from mlkit.labels import direction, next_drawdown, next_level, next_return, next_volatility, triple_barrier
from mlkit.markets import BarsError
from mlkit.metrics import max_drawdown

PROPERTY = settings(max_examples=25, deadline=None)
# Each with parameters small enough for short tables.
LABELS = {
    "next_return": lambda bars: next_return(bars),
    "next_return 3": lambda bars: next_return(bars, 3),
    "next_return close": lambda bars: next_return(bars, 2, price="close"),
    "direction": lambda bars: direction(bars),
    "direction close": lambda bars: direction(bars, 4, price="close"),
    "next_level": lambda bars: next_level(bars, 2),
    "next_volatility": lambda bars: next_volatility(bars, 3),
    "next_drawdown": lambda bars: next_drawdown(bars, 4),
    "triple_barrier": lambda bars: triple_barrier(bars, 5, upper=1.0, lower=1.5, window=3),
}
every_label = pytest.mark.parametrize("make", LABELS.values(), ids=LABELS)


def closes_only(*close):
    index = pd.date_range("2020-01-01", periods=len(close), name="timestamp")
    return pd.DataFrame({"close": np.array(close, dtype=float)}, index=index)


def table(*rows):
    """Bars from (open, high, low, close)."""
    index = pd.date_range("2020-01-01", periods=len(rows), name="timestamp")
    return pd.DataFrame(np.array(rows, dtype=float), index=index, columns=["open", "high", "low", "close"])


def random_bars(n, seed, volatility=0.02):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, volatility, n)))
    open_ = close * np.exp(rng.normal(0, volatility, n))
    high, low = np.maximum(open_, close) * (1 + rng.exponential(0.01, n)), np.minimum(open_, close) * 0.99
    return table(*np.column_stack([open_, high, low, close]))


def same(left, right):
    return left["label"].equals(right["label"]) and left["end"].equals(right["end"])


# ------------------------------------------------------------------ closed forms

def test_next_return_is_what_a_decision_at_the_close_can_earn():
    bars = random_bars(30, 1)
    o, c = bars.open.to_numpy(), bars.close.to_numpy()
    for horizon in (1, 4):
        for price, expected, last in (("open", lambda t: o[t + 1 + horizon] / o[t + 1] - 1, horizon + 1),
                                      ("close", lambda t: c[t + horizon] / c[t] - 1, horizon)):
            labels = next_return(bars, horizon, price)
            for t in range(30 - last):
                assert labels.label.iloc[t] == expected(t) and labels.end.iloc[t] == bars.index[t + last]
            assert labels.iloc[30 - last :].isna().all().all()


def test_bars_of_closes_alone_trade_at_the_next_close():
    bars = closes_only(100, 110, 121, 60.5)
    labels = next_return(bars)
    assert labels.label.round(12).tolist()[:2] == [0.1, -0.5] and labels.label.isna().tolist() == [False] * 2 + [True] * 2
    assert labels.end.tolist()[:2] == list(bars.index[2:]) and labels.end.isna().tolist() == [False] * 2 + [True] * 2


def test_direction_of_a_rise_a_fall_and_a_tie():
    labels = direction(closes_only(5, 5, 6, 6, 4), price="close")
    assert labels.label.tolist()[:4] == [0.0, 1.0, 0.0, 0.0] and np.isnan(labels.label.iloc[4])
    opens = table((1, 9, 1, 5), (2, 9, 1, 5), (3, 9, 1, 5), (1, 9, 1, 5))
    assert direction(opens).label.tolist()[:2] == [1.0, 0.0]


@pytest.mark.parametrize("price", ["open", "close"])
def test_direction_is_the_sign_of_next_return(price):
    bars = random_bars(200, 2)
    returns, ups = next_return(bars, 3, price), direction(bars, 3, price)
    assert ups.end.equals(returns.end)
    known = returns.label.notna()
    assert ups.label[known].equals((returns.label[known] > 0).astype(float)) and ups.label[~known].isna().all()
    assert 0.2 < ups.label.mean() < 0.8


def test_next_level():
    bars = closes_only(-36.98, 10, 0, 7)  # prices of any sign
    labels = next_level(bars, 3)
    assert labels.label.iloc[0] == 7 and labels.end.iloc[0] == bars.index[3] and labels.iloc[1:].isna().all().all()


def test_next_volatility_against_numpy():
    bars = random_bars(40, 3)
    c = bars.close.to_numpy()
    labels = next_volatility(bars, 5)
    for t in range(35):
        expected = np.std(c[t + 1 : t + 6] / c[t : t + 5] - 1, ddof=1)
        assert labels.label.iloc[t] == pytest.approx(expected, rel=1e-11) and labels.end.iloc[t] == bars.index[t + 5]
    assert labels.iloc[35:].isna().all().all()


def test_next_drawdown_is_that_of_the_metrics():
    bars = random_bars(60, 4, volatility=0.05)
    c = bars.close.to_numpy()
    labels = next_drawdown(bars, 7)
    for t in range(53):
        expected = max_drawdown(c[t + 1 : t + 8] / c[t : t + 7] - 1)
        assert labels.label.iloc[t] == pytest.approx(expected, abs=1e-12) and labels.end.iloc[t] == bars.index[t + 7]
    assert labels.iloc[53:].isna().all().all()
    assert next_drawdown(closes_only(1, 2, 3, 4), 2).label.tolist()[:2] == [0.0, 0.0]


# ---------------------------------------------------------------- triple barrier

# Three bars whose returns have volatility 0.1 x sqrt(2) at the third; entry at the open of the fourth.
BEFORE = [(100, 100, 100, 100), (110, 110, 110, 110), (99, 99, 99, 99)]
WIDTH = 0.1 * np.sqrt(2)


def barrier_of(*after, horizon=3, **widths):
    bars = table(*BEFORE, *after)
    labels = triple_barrier(bars, horizon, window=2, **widths)
    end = labels.end.iloc[2]
    return labels.label.iloc[2], None if pd.isna(end) else bars.index.get_loc(end) - 2


def test_target_stop_and_time():
    quiet = (100, 101, 99, 100)
    up, down = 100 * (1 + 2 * WIDTH), 100 * (1 - 2 * WIDTH)
    assert barrier_of(quiet, quiet, quiet) == (0.0, 3)
    assert barrier_of(quiet, (100, up + 1e-9, 99, 100), quiet) == (1.0, 2)
    assert barrier_of(quiet, (100, up - 1e-9, 99, 100), quiet) == (0.0, 3)
    assert barrier_of(quiet, quiet, (100, 101, down - 1e-9, 100)) == (-1.0, 3)
    assert barrier_of(quiet, quiet, (100, 101, down + 1e-9, 100)) == (0.0, 3)
    assert barrier_of((100, 200, 99, 100), (100, 101, 1, 50), quiet) == (1.0, 1)  # the first touch is the label
    assert barrier_of(quiet, quiet, quiet, (100, 200, 1, 100)) == (0.0, 3)        # too late


def test_a_bar_that_touches_both_is_stopped():
    assert barrier_of((100, 300, 1, 250)) == (-1.0, 1)


def test_entry_is_the_next_open_and_widths_are_volatilities():
    assert barrier_of((200, 210, 190, 200), (200, 210, 190, 200), horizon=2) == (0.0, 2)
    touch = (100, 100 * (1 + 1.5 * WIDTH), 99, 100)
    assert barrier_of(touch, (100, 101, 99, 100), horizon=2) == (0.0, 2)
    assert barrier_of(touch, upper=1.4) == (1.0, 1)
    assert barrier_of((100, 101, 100 * (1 - 1.5 * WIDTH), 100), lower=1.4) == (-1.0, 1)


def test_undecided_at_the_end_of_the_bars_is_unknown_and_decided_is_not():
    quiet = (100, 101, 99, 100)
    label, end = barrier_of(quiet, quiet)
    assert np.isnan(label) and end is None
    assert barrier_of(quiet, (100, 300, 99, 100)) == (1.0, 2)


def test_without_volatility_there_is_no_barrier():
    labels = triple_barrier(closes_only(*[5.0] * 40), 3, window=5)
    assert labels.isna().all().all()
    assert triple_barrier(random_bars(60, 5), 3, window=20).label.first_valid_index() == pd.Timestamp("2020-01-21")


def by_hand(bars, horizon, upper, lower, window):
    """One row after the other."""
    volatility = Volatility(window)(bars).iloc[:, 0]
    ranges = "open" in bars
    o, h, l = (bars[name if ranges else "close"].to_numpy() for name in ("open", "high", "low"))
    for t in range(len(bars)):
        first = t + 1 if ranges else t + 2
        label, end = np.nan, None
        if volatility.iloc[t] > 0 and t + 1 < len(bars):
            for s in range(first, min(first + horizon, len(bars))):
                if l[s] <= o[t + 1] * (1 - lower * volatility.iloc[t]):
                    label, end = -1.0, s
                elif h[s] >= o[t + 1] * (1 + upper * volatility.iloc[t]):
                    label, end = 1.0, s
                elif s == first + horizon - 1:
                    label, end = 0.0, s
                if end is not None:
                    break
        yield label, pd.NaT if end is None else bars.index[end]


@pytest.mark.parametrize("columns", [["open", "high", "low", "close"], ["close"]])
def test_triple_barrier_against_a_loop(columns):
    bars = random_bars(400, 6)[columns]
    labels = triple_barrier(bars, 10, upper=2.5, lower=2.0, window=20)
    expected = pd.DataFrame(by_hand(bars, 10, 2.5, 2.0, 20), columns=["label", "end"], index=bars.index)
    assert labels.label.equals(expected.label)
    assert (labels.end.isna() == expected.end.isna()).all() and (labels.end == expected.end)[labels.end.notna()].all()
    assert set(labels.label.dropna()) == {-1.0, 0.0, 1.0}


# ------------------------------------------------------- nothing before its `end`

seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(8, 40)


@every_label
@PROPERTY
@given(lengths, seeds, seeds, st.data())
def test_bars_after_the_end_have_no_part_in_a_label(make, n, seed, other_seed, data):
    bars = random_bars(n, seed, volatility=0.05)
    labels = make(bars)
    cut = data.draw(st.integers(1, n - 1))  # bars from here on are not known yet
    known = labels.end < bars.index[cut]
    changed = bars.copy()
    changed.iloc[cut:] = 3 * random_bars(n, other_seed, volatility=0.5).iloc[cut:]
    for other in (bars.iloc[:cut], changed):
        now = make(other)
        assert same(now[known[: len(now)]], labels[known])
    assert make(bars.iloc[:cut]).label.notna().sum() == known.sum()  # nor is one given before its end


@every_label
def test_the_bar_at_the_end_has_a_part_in_it(make):
    """So `end` is no later than need be."""
    bars = random_bars(60, 7)
    labels = make(bars)
    moved = 0
    for t in np.flatnonzero(labels.label.notna())[:20]:
        for factor in (0.2, 5.0):
            other = bars.copy()
            other.loc[labels.end.iloc[t]] *= factor
            moved += make(other).label.iloc[t] != labels.label.iloc[t]
    assert moved >= 5


@every_label
def test_bars_up_to_the_decision_alone_give_no_label(make):
    bars = random_bars(60, 8)
    labels = make(bars)
    assert (labels.end > labels.index)[labels.label.notna()].all()
    assert labels.label.notna().sum() > 40
    assert np.isnan(labels.label.iloc[-1]) and labels.end.isna().equals(labels.label.isna())


@every_label
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_short_tables_have_no_labels(make, n):
    bars = random_bars(4, 9).iloc[:n]
    labels = make(bars)
    assert labels.index.equals(bars.index) and list(labels) == ["label", "end"]
    assert labels.label.dtype == "float64" and labels.end.dtype == bars.index.dtype
    known_at_once = labels.label.notna().sum()
    assert known_at_once <= max(n - 1, 0) and np.isnan(labels.label.iloc[-1:]).all()


@every_label
@PROPERTY
@given(lengths, seeds, st.integers(-20, 20))
def test_a_change_of_unit_changes_only_levels(make, n, seed, power):
    bars = random_bars(n, seed)
    labels, scaled = make(bars), make(bars * 2.0**power)
    if make is LABELS["next_level"]:
        labels["label"] *= 2.0**power
    assert same(labels, scaled)


def test_times_keep_their_zone():
    bars = random_bars(50, 10)
    bars.index = bars.index.tz_localize("UTC")
    for make in LABELS.values():
        assert make(bars).end.dtype == bars.index.dtype


# ------------------------------------------------------------------------ errors

@pytest.mark.parametrize("make", [next_return, direction, next_level, next_volatility, next_drawdown, triple_barrier])
@pytest.mark.parametrize("horizon", [0, -1, 1.5, True, "5"])
def test_a_horizon_is_a_number_of_bars(make, horizon):
    with pytest.raises(ValueError, match="horizon is a whole number of bars"):
        make(random_bars(30, 11), horizon)


def test_parameters_that_make_no_sense():
    bars = random_bars(30, 12)
    for call in (lambda: next_return(bars, price="high"), lambda: direction(bars, price=None),
                 lambda: next_volatility(bars, 1), lambda: triple_barrier(bars, upper=0),
                 lambda: triple_barrier(bars, lower=np.inf), lambda: triple_barrier(bars, window=1)):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("make", [next_return, next_volatility, next_drawdown, triple_barrier])
def test_percentages_of_non_positive_prices_are_refused(make):
    wti = closes_only(18.27, -36.98, 8.91, 9.0)
    wti.attrs["symbol"] = "WTI"
    with pytest.raises(BarsError, match=r"WTI has a non-positive close \(-36.98 on 2020-01-02\)"):
        make(wti)
    assert direction(wti, price="close").label.tolist()[:3] == [0.0, 1.0, 1.0]


def test_a_non_positive_open_is_refused_where_opens_are_used():
    bars = random_bars(30, 13)
    bars.iloc[4, bars.columns.get_indexer(["open", "low"])] = -1.0
    for make in (next_return, triple_barrier):
        with pytest.raises(BarsError, match="non-positive open"):
            make(bars)
    assert next_return(bars, price="close").label.notna().sum() == 29


@every_label
def test_bars_need_times_and_a_close(make):
    bars = random_bars(30, 14)
    with pytest.raises(ValueError, match="DatetimeIndex"):
        make(bars.reset_index(drop=True))
    with pytest.raises(ValueError, match="column"):
        make(bars[[]])
