"""Lesson 01's own code: what it measures is right where the answer is known, and its pictures say what they show."""

import numpy as np
import pandas as pd
import pytest

from mlkit import (LaggedReturns, WalkForward, audit_features, direction, load_bars, make_model, random_walk, revisions,
                   walk_forward)
from mlkit.leakage import LeakageError
from mlkit.lessons.leaks import (LEAKS, Museum, accuracy, called_right, dollar_returns, flipped_days, headlines,
                                 neighbours, overlap_scores, plot_clocks, plot_overlap, quoted_walk, releases,
                                 slow_features, switched_scores)


@pytest.fixture(scope="module")
def walk():
    return random_walk(2_000, seed=3)


@pytest.fixture(scope="module")
def scores(walk):
    return overlap_scores(walk, [1, 20])


def test_accuracy_is_that_of_the_walk_forward_it_stands_for(walk):
    X, labels = LaggedReturns(2)(walk), direction(walk)
    found = walk_forward(make_model("logistic"), X, labels, WalkForward(1000, 500, label_end=labels["end"]))
    assert accuracy(X, labels) == pytest.approx(found.scores(n_boot=1).loc["accuracy", "value"])


def test_accuracy_takes_a_model_and_a_splitter(walk):
    labels = direction(walk)
    known = pd.DataFrame({"answer": labels["label"]})
    folds = WalkForward(200, 100, label_end=labels["end"])
    assert accuracy(known, labels, neighbours(), folds) == 1.0
    assert accuracy(1.0 - known, labels, make_model("majority"), folds) < 0.6


def test_a_call_is_right_when_it_is_on_the_side_of_its_label():
    days = pd.date_range("2024-01-01", periods=4)
    label = pd.Series([1.0, 0.0, 1.0, 0.0], days)
    assert called_right(pd.Series([0.6, 0.4, 0.4, 0.6], days), label) == 0.5
    assert called_right(pd.Series([0.1, 0.9], days[[1, 2]]), label) == 1.0  # fewer than there are labels


def test_the_quoted_walk_reverts_as_much_as_its_spread_says():
    half_spread, volatility = 0.005, 0.01
    bars = quoted_walk(20_000, 1, half_spread)
    returns = bars["close"].pct_change()
    expected = -(half_spread**2) / (volatility**2 + 2 * half_spread**2)  # Roll (1984)
    assert returns.autocorr() == pytest.approx(expected, abs=0.02)
    overnight = bars["open"] / bars["close"].shift() - 1  # the side of the open owes nothing to that of the close
    assert overnight.std() == pytest.approx(np.sqrt(0.1 * volatility**2 + 2 * half_spread**2), rel=0.03)


def test_the_quoted_walk_is_made_of_valid_bars():
    bars = quoted_walk(2_000, 2, 0.01)
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    value = random_walk(2_000, 2)["close"]
    assert sorted((bars["close"] / value - 1).round(9).unique()) == [-0.01, 0.01]


def test_slow_features_are_causal(walk):
    assert audit_features(slow_features, walk.iloc[:600], n_cuts=4).clean


def test_shuffled_folds_fake_where_labels_overlap_and_only_there(scores):
    assert abs(scores.loc[1, "shuffled"] - 0.5) < 2 * scores.loc[1, "coin"]
    assert scores.loc[20, "shuffled"] > 0.7
    assert (scores["purged"] - 0.5).abs().lt(2 * scores["coin"]).all()


def test_the_coin_lands_as_far_off_as_so_many_separate_answers_may(walk, scores):
    rows = slow_features(walk).notna().all(axis=1).sum()
    assert scores.loc[1, "coin"] == pytest.approx(2 * 0.5 / np.sqrt(rows - 2))  # the last two rows have no label
    assert scores.loc[20, "coin"] == pytest.approx(2 * 0.5 / np.sqrt((rows - 21) / 20))


@pytest.fixture
def museum():
    museum = Museum()
    museum.add("small", 0.52, 0.50, "no audit")
    leaky = audit_features(lambda bars: bars["close"].shift(-1), random_walk(100, 1), n_cuts=2)
    clean = audit_features(lambda bars: bars["close"], random_walk(100, 1), n_cuts=2)
    museum.add("large", 0.80, 0.49, leaky)
    museum.add("blind", 0.60, 0.50, clean)
    return museum


def test_the_museum_orders_by_what_was_faked_and_says_who_saw_it(museum):
    table = museum.exhibits
    assert table["exhibit"].tolist() == ["large", "blind", "small"]
    assert table["fake"].round(9).tolist() == [0.31, 0.10, 0.02]
    assert table["seen by"].tolist() == ["audit_features", "no audit", "no audit"]


def test_the_table_is_written_in_percent_and_points(museum):
    museum.add("nothing", 0.4999, 0.5, "no audit")
    table = museum.table()
    assert table.loc["large"].tolist() == ["80.0%", "49.0%", "+31.0", "audit_features"]
    assert table.loc["nothing", "points faked"] == "+0.0"


def test_an_exhibit_is_announced(capsys):
    Museum().add("small", 0.52, 0.5, "no audit")
    assert capsys.readouterr().out == "small: 52.0% with the leak, 50.0% cured; seen by no audit\n"


def test_a_cure_is_cleared_by_the_audit_or_refused(museum, capsys):
    clean, leaky = (audit_features(lambda bars: bars["close"].shift(by), random_walk(100, 1), n_cuts=2)
                    for by in (0, -1))
    museum.add("cured", 0.8, 0.5, leaky, clean)
    assert capsys.readouterr().out.endswith("seen by audit_features, which clears the cure\n")
    with pytest.raises(LeakageError, match="It uses the next bar"):
        museum.add("not cured", 0.8, 0.7, leaky, leaky)
    assert "not cured" not in set(museum.exhibits["exhibit"])


def test_the_picture_of_the_museum_counts_who_sees(museum):
    (axis,) = museum.plot().axes
    assert axis.get_title(loc="left") == "3 leaks: an audit sees 1, none sees 2"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["small", "blind", "large"]
    points = {line.get_label(): line.get_xdata().round(9).tolist() for line in axis.lines[:3]}
    assert points == {"cured": [50.0, 50.0, 49.0], "with the leak, an audit sees it": [80.0],
                      "with the leak, no audit sees it": [52.0, 60.0]}


def test_a_statistic_comes_out_days_after_its_week_and_on_sundays_too(walk):
    table = releases(walk, seed=3)
    late = (table.index - pd.DatetimeIndex(table["week"])).days
    assert set(late) == set(range(3, 10)) and (table["week"].dt.day_of_week == 4).all()
    assert table.index.is_monotonic_increasing and table.index.is_unique


def test_the_tone_of_the_headlines_knows_no_price(walk):
    tone, returns = headlines(walk, seed=3)["tone"], walk["close"].pct_change()
    assert 0.65 < len(tone) / len(walk) < 0.75 and tone.between(-1.0, 1.0).all()
    for days in (-1, 0, 1):
        assert abs(tone.corr(returns.shift(days))) < 3 / len(tone) ** 0.5


def test_the_dollar_gains_what_both_publishers_say():
    table = dollar_returns("JPY")
    monday, tuesday, wednesday = pd.to_datetime(["2016-06-20", "2016-06-21", "2016-06-22"])
    h10 = load_bars("USDJPY")["close"]
    ecb = load_bars("EURJPY")["close"] / load_bars("EURUSD")["close"]
    assert table.loc[tuesday, "H.10"] == pytest.approx(h10[tuesday] / h10[monday] - 1)
    assert table.loc[tuesday, "ECB"] == pytest.approx(ecb[tuesday] / ecb[monday] - 1)
    assert table.loc[tuesday, "ECB next day"] == pytest.approx(ecb[wednesday] / ecb[tuesday] - 1)
    assert dollar_returns("JPY", known_delay=4).loc[wednesday, "H.10"] == table.loc[tuesday, "H.10"]


def test_days_are_flipped_where_the_sign_of_a_rise_differs():
    close = load_bars("GE")["raw_close"]
    up = close.diff() > 0
    rises = close.index[up & up.shift(-1, fill_value=False)][[100, 500]]  # the next day rises in both vintages
    changed = pd.DataFrame({"date": rises, "symbol": "GE", "field": "close", "v2018": close[rises].to_numpy(),
                            "v2013": close.shift()[rises].to_numpy()})  # the older vintage had it stand still
    assert flipped_days(changed.assign(field="open")) == 0
    assert flipped_days(changed.iloc[:1]) == 1
    assert flipped_days(changed) == 2
    assert 0 < flipped_days(revisions()) < 20


@pytest.mark.parametrize("horizon, sharing", [(1, 0), (20, 24)])
def test_the_picture_of_overlap_counts_the_labels_that_share_days(scores, horizon, sharing):
    top, bottom = plot_overlap(scores, horizon).axes
    assert f"shares days with {sharing} of its 24" in top.get_title(loc="left")
    lengths = {round(end[0] - start[0]) for part in top.collections for start, end in part.get_segments()}
    assert lengths == {horizon}
    assert f"{scores.loc[horizon, 'shuffled']:.0%}".replace("%", " %") in bottom.get_title(loc="left")


def test_the_switchboard_has_every_combination_and_each_leak_does_what_the_museum_says():
    scores = switched_scores(random_walk(3_000, seed=1))
    assert len(scores) == 2 ** len(LEAKS) and set(max(scores, key=len)) == set(LEAKS)
    alone = {name: scores[frozenset([name])] for name in LEAKS}
    coin = 1.0 / np.sqrt(2_000)
    assert abs(scores[frozenset()] - 0.5) < 2 * coin and abs(alone["scaler_on_everything"] - scores[frozenset()]) < coin
    assert alone["next_bar"] > alone["centred_average"] > alone["filling_back"] > 0.5 + coin
    assert abs(scores[frozenset(LEAKS)] - alone["next_bar"]) < 2 * coin  # they hide one another, and do not add up


def test_a_horizon_nobody_scored_is_refused(scores):
    with pytest.raises(ValueError, match="No horizon 7 was scored: there are 1, 20"):
        plot_overlap(scores, 7)


def test_the_picture_of_the_clocks_shades_what_both_returns_hold():
    (axis,) = plot_clocks().axes
    bars = {bar.get_x(): bar.get_x() + bar.get_width() for bar in axis.patches[:2]}
    (first, first_end), (second, second_end) = sorted(bars.items())
    shared = axis.patches[2]
    assert (shared.get_x(), shared.get_x() + shared.get_width()) == (second, first_end)
    assert f"{first_end - second:g} hours of Tuesday" in axis.get_title(loc="left")
