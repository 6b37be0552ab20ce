"""Lesson 02's own tools: each against a calculation that shares no code with it."""

import matplotlib.colors as colors
import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier

from mlkit import (BuyAndHold, FeatureSet, LaggedReturns, MeanReversion, MovingAverageCross, TrialLedger, WalkForward,
                   backtest, direction, random_walk)
from mlkit.lessons.overfit import (choose_both_ways, judge_best, plot_capacity, plot_cures, plot_p_values,
                                   plot_places, returns_of, train_and_test)
from mlkit.overfitting import (deflated_sharpe, expected_max_sharpe, probabilistic_sharpe,
                               probability_of_overfitting)
from mlkit.plots import BLUE, ORANGE

RULES = {"slow": MovingAverageCross(2, 60), "fast": MovingAverageCross(1, 5), "held": BuyAndHold(),
         "back": MeanReversion(10, -0.5)}


@pytest.fixture(scope="module")
def scored():
    bars = random_walk(700, seed=3)
    X, labels = LaggedReturns(4)(bars), direction(bars)
    splitter = WalkForward(300, 150, label_end=labels["end"])
    models = {"tree": DecisionTreeClassifier(random_state=0), "rise": DummyClassifier(strategy="constant", constant=1)}
    return X, labels, splitter, train_and_test(models, X, labels, splitter)


@pytest.fixture(scope="module")
def tried():
    with TrialLedger() as ledger:
        results = {name: backtest(random_walk(900, seed=5), rule) for name, rule in RULES.items()}
    return results, ledger


def test_train_is_the_mean_of_the_folds_and_test_counts_every_row_once(scored):
    X, labels, splitter, table = scored
    whole = X.notna().all(axis=1) & labels["label"].notna()
    X, y = X[whole], labels.loc[whole, "label"].to_numpy()
    train, hits = {"tree": [], "rise": []}, {"tree": [], "rise": []}
    for rows, unseen in splitter.split(X):
        tree = DecisionTreeClassifier(random_state=0).fit(X.to_numpy()[rows], y[rows])
        for name, call in (("tree", tree.predict), ("rise", lambda values: np.ones(len(values)))):
            train[name].append(np.mean(call(X.to_numpy()[rows]) == y[rows]))
            hits[name] += list(call(X.to_numpy()[unseen]) == y[unseen])
    assert len({len(part) for _, part in splitter.split(X)}) > 1  # so that a mean of folds is another number
    for name in ("tree", "rise"):
        assert table.loc[name, "train"] == pytest.approx(np.mean(train[name]))
        assert table.loc[name, "test"] == pytest.approx(np.mean(hits[name]))
    assert (table["low"] < table["test"]).all() and (table["test"] < table["high"]).all()


def test_a_depth_is_chosen_on_the_test_days_and_before_them():
    """Against loops over the rows by position. A label is known two bars after its row."""
    bars, depths, sizes = random_walk(700, seed=1), (1, 3, 9), (300, 150)
    features = FeatureSet([LaggedReturns(4)])
    X, label = features.transform(bars), direction(bars)["label"]
    rows = np.flatnonzero(X.notna().all(axis=1) & label.notna())
    X, y = X.to_numpy()[rows], label.to_numpy()[rows]

    def hits(depth, learned, unseen):
        tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X[learned], y[learned])
        return tree.predict(X[unseen]) == y[unseen]

    tried, nested = {depth: [] for depth in depths}, []
    for start in range(sizes[0], len(X), sizes[1]):
        learned, unseen = np.arange(start - sizes[0], start - 1), np.arange(start, min(start + sizes[1], len(X)))
        scores = dict.fromkeys(depths, 0.0)
        for part in np.array_split(np.arange(len(learned)), 3):
            others = [row for row in range(len(learned)) if row < part[0] - 1 or row > part[-1] + 1]
            for depth in depths:
                scores[depth] += hits(depth, learned[others], learned[part]).mean()
        nested += list(hits(max(depths, key=scores.get), learned, unseen))
        for depth in depths:
            tried[depth] += list(hits(depth, learned, unseen))
    accuracies = [np.mean(tried[depth]) for depth in depths]
    trees = {depth: DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in depths}
    found = choose_both_ways(trees, bars, features, *sizes)
    assert len(set(accuracies)) == 3 and max(accuracies) != np.mean(nested)
    assert found == pytest.approx({"best on the test days": max(accuracies), "mean of all": np.mean(accuracies),
                                   "chosen before": np.mean(nested)})


def test_the_best_is_judged_by_all_that_were_tried(tried):
    results, ledger = tried
    sharpes = pd.Series({name: result.returns.mean() / result.returns.std() for name, result in results.items()})
    best = results[sharpes.idxmax()].returns
    daily, n, variance = sharpes.max(), len(best), sharpes.var()
    shape = {"skew": best.skew(), "kurtosis": best.kurt() + 3.0}
    found = judge_best(results, ledger)
    assert found["best"] == pytest.approx(daily * 252**0.5)
    assert found["luck"] == pytest.approx(expected_max_sharpe(4, variance * 252))
    assert found["alone"] == pytest.approx(probabilistic_sharpe(daily, n))
    for name, convention in (("deflated_2014", "2014"), ("deflated_2025", "2025")):
        wanted = deflated_sharpe(daily, n, n_trials=4, variance=variance, convention=convention, **shape)
        assert found[name] == pytest.approx(wanted, abs=2e-3)  # pandas' skew and kurtosis are corrected for n
    assert found["deflated_2014"] != found["deflated_2025"]


def test_returns_are_those_of_the_span_that_all_share(tried):
    results, _ = tried
    returns = returns_of(results)
    assert list(returns) == list(RULES) and returns.notna().all().all()
    assert len(returns) == min(len(result.returns) for result in results.values()) < len(results["held"].returns)
    assert returns.index.is_monotonic_increasing


def lines(axis, colour):
    return [line for line in axis.lines if colors.same_color(line.get_color(), colour)]


def test_capacity_and_cures_show_train_in_one_colour_and_test_in_the_other(scored):
    table = scored[-1]
    curve = table.set_axis([1, 20])
    fig = plot_capacity({"here": curve, "there": curve / 2}, "depth")
    assert [axis.get_title(loc="left") for axis in fig.axes] == ["here", "there"]
    assert fig.axes[-1].get_xlabel() == "depth" and list(fig.axes[0].get_xticks()) == [1, 20]
    for axis, factor in zip(fig.axes, (100, 50)):
        assert np.allclose(lines(axis, ORANGE)[0].get_ydata(), factor * table["train"])
        assert np.allclose(lines(axis, BLUE)[0].get_ydata(), factor * table["test"])
        band = axis.collections[0].get_paths()[0].vertices[:, 1]
        assert np.isclose([band.min(), band.max()], [factor * table["low"].min(), factor * table["high"].max()]).all()
    axis = plot_cures({"here": table}).axes[0]
    assert np.allclose(lines(axis, ORANGE)[0].get_xdata(), 100 * table["train"])
    assert np.allclose(lines(axis, BLUE)[0].get_xdata(), 100 * table["test"])
    intervals = np.array([segment[:, 0] for segment in axis.collections[1].get_segments()])
    assert np.allclose(intervals, 100 * table[["low", "high"]])
    assert [label.get_text() for label in axis.get_yticklabels()] == list(table.index)
    assert axis.yaxis_inverted()  # the first row of the table on top


def test_the_places_of_the_winner_are_counted_and_coloured_by_the_median(tried):
    pbo = probability_of_overfitting(returns_of(tried[0]), 10)
    axis = plot_places({"four rules": pbo}).axes[0]
    share = {colour: sum(bar.get_height() for bar in axis.patches if colors.same_color(bar.get_facecolor(), colour))
             for colour in (ORANGE, BLUE)}
    assert 0 < pbo.probability < 1
    assert share[ORANGE] == pytest.approx(100 * pbo.probability) and sum(share.values()) == pytest.approx(100)
    worst, best = axis.patches[4], axis.patches[-4]  # of four rules, places 1 and 4 of 5: 20 and 80
    assert (worst.get_x(), best.get_x()) == (20.0, 80.0)
    assert worst.get_height() == pytest.approx(100 * np.mean(np.isclose(pbo.logits, np.log(1 / 4))))
    assert best.get_height() == pytest.approx(100 * np.mean(np.isclose(pbo.logits, np.log(4))))
    assert axis.get_title(loc="left") == "four rules"


def test_p_values_are_sorted_and_counted_at_both_levels():
    p_values = np.array([0.5, 0.004, 0.03, 0.9, 0.2])
    axis = plot_p_values(p_values).axes[0]
    assert axis.get_title(loc="left") == "2 of 5 are below 0.05, 1 below 0.01"
    assert list(axis.lines[0].get_ydata()) == sorted(p_values)
    assert np.allclose(lines(axis, ORANGE)[0].get_ydata(), [0.01, 0.02, 0.03, 0.04, 0.05])
    assert axis.lines[-1].get_ydata()[0] == pytest.approx(0.01)
