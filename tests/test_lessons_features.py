"""Lesson 03's module: what it measures is right where the answer is known, and its pictures show what they are of."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import log_loss

from mlkit import FeatureSet, LaggedReturns, audit_features, direction, load_bars, make_model, planted_edge
from mlkit.lessons.features import (added_features, back_adjusted, halves, importances, plot_copy, plot_features,
                                    plot_gains, plot_importances, plot_raw_and_adjusted, with_copy)
from mlkit.plots import BLUE, ORANGE

WORLD = planted_edge(1_200, seed=3, strength=0.6)
LABELS = direction(WORLD)
LAGS = LaggedReturns(1)(WORLD)
NOISE = pd.Series(np.random.default_rng(3).standard_normal(len(WORLD)), WORLD.index)
TREES = make_model("random_forest", n_estimators=10, max_features=None)


@pytest.mark.parametrize("n_folds", [1, 3])
def test_halves_tests_the_second_half_in_blocks_of_one_size(n_folds):
    X, labels, splitter = halves(LaggedReturns(7)(WORLD), LABELS, n_folds)
    assert X.index.equals(labels.index) and X.index.equals(WORLD.index[7:-2])   # warm-up, and labels not yet known
    folds = list(splitter.split(X))
    assert [len(test) for _, test in folds] == [len(X) // 2 // n_folds] * n_folds
    assert folds[-1][1][-1] == len(X) - 1 and abs(folds[0][1][0] - len(X) / 2) <= n_folds


def test_three_importances_agree_on_the_one_column_that_matters():
    X, labels, splitter = halves(LAGS.assign(noise=NOISE)[["noise", "return_1"]], LABELS)
    asked = importances(TREES, X, labels, splitter)
    assert list(asked.index) == ["noise", "return_1"] and list(asked) == ["splits", "shuffled", "alone"]
    assert (asked.loc["return_1"] > 3 * asked.loc["noise"].abs()).all()
    assert asked["splits"].sum() == pytest.approx(1)
    (train, test), = splitter.split(X)
    alone = TREES.fit(X[["return_1"]].iloc[train], labels["label"].iloc[train])
    hits = alone.predict(X[["return_1"]].iloc[test]) == labels["label"].iloc[test]
    assert asked.loc["return_1", "alone"] == pytest.approx(hits.mean() - 0.5)

    fitted = TREES.fit(X.iloc[train], labels["label"].iloc[train])
    new, truth = X.iloc[test], labels["label"].iloc[test]
    mixed = new.assign(return_1=np.random.default_rng(0).permutation(new["return_1"]))
    lost = log_loss(truth, fitted.predict_proba(mixed)) - log_loss(truth, fitted.predict_proba(new))
    assert asked.loc["return_1", "shuffled"] == pytest.approx(lost, rel=0.2)


def test_a_group_that_helps_is_told_from_one_that_does_not():
    answer = LABELS["label"] + NOISE
    steps = {"lags": LAGS, "noise": LAGS.assign(noise=NOISE), "answer": LAGS.assign(noise=NOISE, answer=answer)}
    table = added_features(steps, LABELS, n_folds=2)
    assert table["columns"].tolist() == [1, 2, 3]
    assert ((table["low"] < table["gain"]) & (table["gain"] < table["high"])).all()
    assert table.loc["lags", "low"] > 0 and table.loc["answer", "low"] > 0
    assert table.loc["noise", "low"] < 0 < table.loc["noise", "high"]
    assert table.loc["answer", "gain"] == pytest.approx(table.loc["answer", "accuracy"] - table.loc["lags", "accuracy"])


def test_the_base_is_set_against_the_commoner_direction():
    rising = LABELS.assign(label=LABELS["label"].mask((NOISE > 1) & LABELS["label"].notna(), 1.0))
    table = added_features({"noise": NOISE.to_frame("noise")}, rising, n_folds=2)
    _, labels, splitter = halves(NOISE.to_frame("noise"), rising, 2)
    tested = np.concatenate([test for _, test in splitter.split(labels)])
    ups = labels["label"].iloc[tested].mean()
    assert ups > 0.55 and table.loc["noise", "gain"] == pytest.approx(table.loc["noise", "accuracy"] - ups)


def test_every_step_is_judged_on_the_rows_that_all_have():
    late = LAGS.assign(late=NOISE.where(np.arange(len(NOISE)) >= 400))
    both = added_features({"lags": LAGS, "late": late}, LABELS, n_folds=2)
    alone = added_features({"lags": LAGS.iloc[400:]}, LABELS.iloc[400:], n_folds=2)
    pd.testing.assert_series_equal(both.loc["lags"], alone.loc["lags"])


def test_prices_before_a_split_are_divided_by_it_and_by_no_earlier_one():
    raw = pd.DataFrame({"raw_close": [600.0, 300.0, 302.0, 100.0], "split": [np.nan, 2.0, np.nan, 3.0]},
                       pd.date_range("2024-01-01", periods=4))
    assert back_adjusted(raw)["close"].tolist() == pytest.approx([100, 100, 302 / 3, 100])


def test_the_audit_sees_price_units_move_with_a_later_split():
    raw = load_bars("GE").loc["1993":"2001", ["raw_close", "split"]]
    raw["split"] = raw["split"].where(raw["split"] != 1)
    build = FeatureSet([LaggedReturns(1), {"level": lambda bars: bars["close"]}])
    report = audit_features(lambda bars: build(back_adjusted(bars)), raw, n_cuts=3)
    assert report.findings["column"].tolist() == ["level"]


@pytest.mark.parametrize("correlation", [0.0, 0.7, 1.0])
def test_a_copy_is_as_alike_as_was_asked(correlation):
    copied = with_copy(LAGS, "return_1", correlation)
    assert copied["copy"].corr(copied["return_1"]) == pytest.approx(correlation, abs=0.06)
    assert copied["copy"].std() == pytest.approx(LAGS["return_1"].std(), rel=0.06)
    assert LAGS.columns.tolist() == ["return_1"]


def test_the_title_of_raw_and_adjusted_counts_the_false_crashes():
    close = pd.Series(100 * 1.001 ** np.arange(300), pd.date_range("2020-01-01", periods=300))
    bars = pd.DataFrame({"close": close, "raw_close": close.where(np.arange(300) < 150, close / 2)})
    bars.attrs["symbol"] = "X"
    price, momentum = (axis.get_title(loc="left") for axis in plot_raw_and_adjusted(bars, periods=20).axes)
    assert price == "X: -33% as traded, 1 times the money for a holder"
    assert momentum == "20-bar return below -40 %: 20 days as traded, 0 adjusted"


def test_the_picture_of_the_features_states_what_it_shows():
    axes = plot_features(WORLD, n_bars=100).axes
    titles = [axis.get_title(loc="left") for axis in axes]
    lines = {line.get_label(): line.get_ydata() for axis in axes for line in axis.lines}
    assert np.allclose(lines["average of 5"], WORLD["close"].rolling(5).mean().iloc[-100:])
    assert np.allclose(lines["volatility_20"], 100 * WORLD["close"].pct_change().rolling(20).std().iloc[-100:])
    last = WORLD["close"].iloc[-100:]
    above = (last > WORLD["close"].rolling(20).mean().iloc[-100:]).mean()
    assert titles[0] == f"PLANTED_EDGE: above its average of 20 on {above:.0%} of the last 100 bars"
    spread = WORLD["close"].pct_change().rolling(20).std().iloc[-100:]
    assert titles[1] == f"Volatility: between {100 * spread.min():.2g}% and {100 * spread.max():.2g}% a bar"


def test_bars_of_importances_are_as_long_as_the_numbers():
    table = pd.DataFrame({"shuffled": [0.5, -0.1], "alone": [0.2, 0.3]}, ["useful", "fake"])
    fig = plot_importances(table, "title", marked=["fake"])
    for axis, way in zip(fig.axes, table):
        assert [bar.get_width() for bar in axis.patches] == table[way].tolist()
        assert [to_hex(bar.get_facecolor()).upper() for bar in axis.patches] == [BLUE, ORANGE]
        assert axis.get_xlim()[0] <= table[way].min() and axis.get_xlim()[1] >= table[way].max()
    assert [axis.get_xlabel() for axis in fig.axes] == ["by shuffling: log loss", "alone: accuracy less ½"]
    assert fig.axes[0].yaxis_inverted()     # the first row is on top


def test_gains_are_drawn_with_their_intervals():
    table = pd.DataFrame({"gain": [0.01, -0.02], "low": [0.0, -0.05], "high": [0.03, 0.01]}, ["lags", "+ more"])
    axis, = plot_gains({"one": table, "two": table + 0.1}, "title").axes
    ends = [segment[:, 0].tolist() for bars in axis.collections for segment in bars.get_segments()]
    assert np.allclose(ends, [[0, 3], [-5, 1], [10, 13], [5, 11]])
    assert [text.get_text() for text in axis.get_yticklabels()] == ["lags, over nothing", "+ more, over lags"]


def test_the_copy_stands_beside_its_original():
    share = pd.DataFrame([[0.3, 0.5, 1.0], [0.2, 0.4, 0.9]], ["return_1", "copy"], ["splits", "shuffled", "alone"])
    axis, = plot_copy(share, "title").axes
    assert np.allclose([bar.get_height() for bar in axis.patches], [30, 50, 100, 20, 40, 90])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["by splits", "by shuffling", "alone"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["return_1", "copy"]
