"""walk_forward, its scores and intervals, the schedule in a strategy, and importances."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import KFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit.engine import IdealExecutionHandler, MLStrategy, backtest, compare, sweep
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction, next_return, triple_barrier
from mlkit.markets import planted_edge, random_walk
from mlkit.models import make_model
from mlkit.models.scoring import Schedule, scores_of
from mlkit.research import (evaluate, impurity_importance, permutation_importance, single_feature_importance,
                            walk_forward)
from mlkit.splits import CombinatorialPurged, PurgedKFold, WalkForward

FEATURES = FeatureSet([LaggedReturns(3), Volatility(10)])
BARS = planted_edge(900, seed=4, strength=0.3)
X, LABELS = FEATURES(BARS), direction(BARS)
MODEL = make_pipeline(StandardScaler(), LogisticRegression())


def splitter(**options):
    return WalkForward(**({"train_size": 300, "test_size": 120, "label_end": LABELS["end"]} | options))


class MeanOfLast(RegressorMixin, BaseEstimator):
    """A sequence model: the mean of column `return_1` over this row and the three before."""

    context = 3

    def fit(self, X, y):
        self.last_ = X.index[-1]
        return self

    def predict(self, X):
        return X["return_1"].rolling(4, min_periods=1).mean().to_numpy()


# ---- walk_forward


def test_every_prediction_is_that_of_a_model_fitted_on_its_own_train_rows_alone():
    found = walk_forward(MODEL, X, LABELS, splitter())
    whole = X.notna().all(axis=1) & LABELS["label"].notna()
    rows, y = X[whole], LABELS.loc[whole, "label"]
    for number, (train, test) in enumerate(splitter().split(rows)):
        fitted = clone(MODEL).fit(rows.iloc[train], y.iloc[train])
        expected = fitted.predict_proba(rows.iloc[test])[:, 1]
        part = found.table.loc[rows.index[test]]
        assert np.array_equal(part["prediction"], expected)
        assert np.array_equal(part["label"], y.iloc[test])
        assert (part["fold"] == number).all() and part["train_to"].eq(rows.index[train[-1]]).all()
        fold = found.folds.loc[number]
        assert fold["n_train"] == len(train) and fold["n_test"] == len(test)
        assert fold["train_score"] == fitted.score(rows.iloc[train], y.iloc[train])
        assert fold["test_score"] == fitted.score(rows.iloc[test], y.iloc[test])
        assert fold["train_to"] < fold["known_by"] <= fold["test_from"]
    assert found.dropped == len(X) - whole.sum() == 12
    assert found.predictions.index.equals(rows.index[300:])
    assert "12 rows dropped" in repr(found)


def test_folds_that_share_their_train_rows_share_one_model():
    often, seldom = (walk_forward(MODEL, X, LABELS, splitter(refit_every=every)) for every in (120, 360))
    assert len(often.models) == len(often.folds) == len(seldom.folds) == 5 and len(seldom.models) == 2
    assert seldom.folds["model"].nunique() == 2 and seldom.predictions.index.equals(often.predictions.index)
    same = seldom.folds["train_to"].eq(often.folds["train_to"])
    assert same.tolist() == [True, False, False, True, False]
    agree = (seldom.table["prediction"] == often.table["prediction"]).groupby(seldom.fold_of).all()
    assert agree.tolist() == same.tolist()
    assert np.array_equal(MLStrategy(seldom, FEATURES).scores(BARS)[310:-2], seldom.predictions[:len(BARS)-312])


def test_two_processes_give_the_same_bits_as_one():
    one, two = (walk_forward(RandomForestClassifier(20, random_state=3), X, LABELS, splitter(), n_jobs=jobs)
                for jobs in (1, 2))
    pd.testing.assert_frame_equal(one.table, two.table, check_exact=True)
    pd.testing.assert_frame_equal(one.folds, two.folds, check_exact=True)


def test_the_model_given_stays_unfitted_and_the_tables_as_they_were():
    model, before = clone(MODEL), X.copy()
    walk_forward(model, X, LABELS, splitter())
    assert not hasattr(model[-1], "coef_")
    pd.testing.assert_frame_equal(X, before)


def test_a_series_of_labels_does_as_well_as_the_table():
    table, series = (walk_forward(MODEL, X, y, splitter()) for y in (LABELS, LABELS["label"]))
    assert table.predictions.equals(series.predictions) and table.models.obstacle == series.models.obstacle == ""


def test_a_sequence_model_sees_the_rows_between_training_and_test():
    gap = splitter(embargo=7)
    found = walk_forward(MeanOfLast(), X, LABELS, gap)
    expected = X["return_1"].rolling(4).mean().loc[found.predictions.index]
    assert np.allclose(found.predictions, expected, rtol=0, atol=1e-15)
    assert (X.index.get_indexer(found.folds["test_from"]) - X.index.get_indexer(found.folds["train_to"])).min() >= 7


def test_regression_is_scored_by_r2():
    y = next_return(BARS)
    found = walk_forward(LinearRegression(), X, y, splitter(label_end=y["end"]))
    part = found.table[found.table["fold"] == 2]
    assert found.task == "return"
    assert found.folds["test_score"][2] == pytest.approx(r2_score(part["label"], part["prediction"]), abs=1e-12)


def test_what_walk_forward_refuses():
    labels = LABELS["label"]
    for call, words in [
        (lambda: walk_forward(MODEL, X, labels.iloc[:-1], splitter()), "not on one index"),
        (lambda: walk_forward(MODEL, X.to_numpy(), labels, splitter()), "DatetimeIndex"),
        (lambda: walk_forward(MODEL, X, LABELS[["label"]], splitter()), "label and end"),
        (lambda: walk_forward(MODEL, X.assign(hole=np.nan), labels, splitter()), r"features \['hole'\]"),
        (lambda: walk_forward(MODEL, X.iloc[::-1], labels.iloc[::-1], KFold(3)), "increase"),
        (lambda: walk_forward(MODEL, X, labels, CombinatorialPurged(4, 2, label_end=LABELS["end"])), "tested 3 times"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_a_fold_that_fails_is_named():
    with pytest.raises(ValueError) as caught:
        walk_forward(MODEL, X, LABELS["label"].where(LABELS["label"].isna(), 1.0), splitter())
    assert "in fold 0: trained 2000-01-17" in "".join(caught.value.__notes__)


# ---- the schedule in a strategy


def test_each_model_of_a_schedule_decides_from_its_own_day_on():
    found = walk_forward(MODEL, X, LABELS, splitter())
    scores = MLStrategy(found, FEATURES).scores(BARS)
    expected = found.predictions.reindex(X.index)
    last = X.index > found.predictions.index[-1]  # no label there, but a decision
    assert np.array_equal(np.isnan(scores), np.asarray(expected.isna() & ~last))
    assert np.allclose(scores[~last], expected[~last], rtol=0, atol=1e-15, equal_nan=True)


def test_a_schedule_trades_alike_in_both_engines_and_signs_every_signal():
    found = walk_forward(MODEL, X, LABELS, splitter())
    strategy = MLStrategy(found.models, FEATURES, enter=0.52, exit=0.48)
    loop, replay = (backtest(BARS, strategy, engine=engine) for engine in ("events", "replay"))
    assert loop.order_hash == replay.order_hash and len(loop.orders) > 20
    pd.testing.assert_frame_equal(loop.signals, replay.signals)
    starts = found.models.starts
    assert loop.signals["timestamp"].min() >= starts[0]
    turns = starts.searchsorted(loop.signals["timestamp"], side="right") - 1
    assert loop.signals["model"].tolist() == [f"LogisticRegression {starts[turn]:%Y-%m-%d}" for turn in turns]
    assert loop.signals["model"].nunique() == len(starts)


def test_statistics_begin_where_the_first_model_could_trade():
    found = walk_forward(MODEL, X, LABELS, splitter())
    result = backtest(BARS, MLStrategy(found, FEATURES))
    first = BARS.index.get_loc(found.models.starts[0]) + 1
    assert result.returns.index[0] == BARS.index[first]
    assert result.metrics["n_bars"] == len(BARS) - first
    both = compare(BARS, {"schedule": MLStrategy(found, FEATURES), "last": MLStrategy(found.models[-1], FEATURES)})
    assert both["schedule"].returns.index.equals(both["last"].returns.index)
    assert both["schedule"].order_hash == result.order_hash


@pytest.mark.parametrize("model", [MeanOfLast(), MODEL])
def test_handle_market_decides_as_the_whole_table_does(model):
    found = walk_forward(model, X, LABELS, splitter())
    middle = found.predictions.median()
    whole = MLStrategy(found, FEATURES, enter=middle, exit=middle)

    class RowByRow(MLStrategy):
        def handle_market(self, event):
            return super().handle_market(event)

    rows = RowByRow(found, FEATURES, enter=middle, exit=middle)
    bars = BARS.iloc[:480]
    assert backtest(bars, rows).order_hash == backtest(bars, whole).order_hash
    assert len(backtest(bars, rows).orders) > 10


def test_a_sweep_of_schedules_gives_the_rows_of_backtests():
    found = [walk_forward(MODEL, X, LABELS, splitter(train_size=size)) for size in (200, 300)]
    strategies = [MLStrategy(each, FEATURES, enter=enter) for each in found for enter in (0.5, 0.55)]
    table = sweep(BARS, strategies, progress=False)
    alone = [backtest(BARS, strategy) for strategy in strategies]
    assert table["order_hash"].tolist() == [each.order_hash for each in alone]
    assert table["n_bars"].tolist() == [each.metrics["n_bars"] for each in alone]


@pytest.mark.parametrize("folds, labels, words", [
    (KFold(4), LABELS["label"], "not known when"),
    (KFold(4), LABELS, "only WalkForward"),
    (PurgedKFold(4, label_end=LABELS["end"]), LABELS, "only WalkForward"),
    (TimeSeriesSplit(4), LABELS, "was known only"),
])
def test_models_that_saw_the_future_may_not_trade(folds, labels, words):
    found = walk_forward(MODEL, X, labels, folds)
    with pytest.raises(ValueError, match=words):
        MLStrategy(found, FEATURES)


def test_time_series_split_with_a_gap_of_the_horizon_may_trade():
    found = walk_forward(MODEL, X, LABELS, TimeSeriesSplit(4, gap=1))
    assert MLStrategy(found, FEATURES).model is found.models


def test_schedules_that_make_no_sense_are_refused():
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    index = pd.date_range("2024-01-01", periods=3)
    with pytest.raises(ValueError, match="increase"):
        Schedule([fitted, fitted], index[[1, 0]])
    with pytest.raises(ValueError, match="as many starts"):
        Schedule([fitted], index)
    with pytest.raises(ValueError, match="different clocks"):
        Schedule([fitted], index[:1]).turns(index.tz_localize("UTC"))


def test_scores_need_a_fitted_model_that_knows_a_rise():
    with pytest.raises(ValueError, match="has not been fitted"):
        scores_of(LogisticRegression(), X.dropna())
    rows = X.dropna()
    falls = LogisticRegression().fit(rows, np.arange(len(rows)) % 2 + 2)
    with pytest.raises(ValueError, match="none of them is 1"):
        scores_of(falls, rows)


# ---- scores and their intervals


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 200), st.sampled_from([1, 2, 8]))
def test_scores_of_a_direction_are_those_of_scikit_learn(seed, n, digits):
    rng = np.random.default_rng(seed)
    index = pd.date_range("2020-01-01", periods=n)
    predictions = pd.Series(np.round(rng.random(n), digits), index)  # few digits: many ties
    labels = pd.Series(np.append([0.0, 1.0], rng.integers(0, 2, n - 2)), index)
    found = evaluate(predictions, labels, n_boot=1)["value"]
    assert found["accuracy"] == pytest.approx(((predictions > 0.5) == labels).mean(), abs=1e-12)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, predictions), abs=1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(labels, predictions.clip(1e-15, 1 - 1e-15)), abs=1e-9)
    assert found["brier"] == pytest.approx(brier_score_loss(labels, predictions), abs=1e-12)
    assert found["information_coefficient"] == pytest.approx(spearmanr(predictions, labels)[0], abs=1e-12)


def test_scores_of_values_are_those_of_scikit_learn_and_scipy():
    rng = np.random.default_rng(1)
    index = pd.date_range("2020-01-01", periods=300)
    labels = pd.Series(rng.normal(size=300), index)
    predictions = 0.3 * labels + rng.normal(size=300)
    found = evaluate(predictions, labels, task="return", n_boot=1)["value"]
    assert found["r2"] == pytest.approx(r2_score(labels, predictions), abs=1e-12)
    assert found["information_coefficient"] == pytest.approx(spearmanr(labels, predictions)[0], abs=1e-12)
    assert found["hit_rate"] == ((labels > 0) == (predictions > 0)).mean()
    assert found["mean_absolute_error"] == pytest.approx((labels - predictions).abs().mean(), abs=1e-12)


def test_triple_barrier_scores_ask_whether_the_target_was_met():
    index = pd.date_range("2020-01-01", periods=4)
    found = evaluate(pd.Series([0.9, 0.2, 0.1, 0.6], index), pd.Series([1.0, -1.0, 0.0, -1.0], index), n_boot=1)
    assert found.loc["accuracy", "value"] == 0.75


def test_resampled_scores_are_the_scores_of_the_resampled_rows():
    from arch.bootstrap import CircularBlockBootstrap
    rng = np.random.default_rng(5)
    n, index = 90, pd.date_range("2020-01-01", periods=90)
    predictions, labels = rng.random(n).round(1), rng.integers(0, 2, n).astype(float)
    found = evaluate(pd.Series(predictions, index), pd.Series(labels, index), n_boot=60, block=5, seed=2)
    drawn = [rows[0][0] for rows in CircularBlockBootstrap(5, np.arange(n), seed=2).bootstrap(60)]
    for name, score in (("auc", roc_auc_score), ("brier", brier_score_loss)):
        values = [score(labels[rows], predictions[rows]) for rows in drawn]
        assert found.loc[name, ["low", "high"]].tolist() == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-12)


def test_the_interval_is_the_binomial_one_for_independent_rows_and_wider_for_repeated_ones():
    rng = np.random.default_rng(0)
    index = pd.date_range("2000-01-01", periods=4000)
    labels = pd.Series(rng.integers(0, 2, 4000).astype(float), index)
    half = pd.Series(rng.random(4000), index)
    low, high = evaluate(half, labels).loc["accuracy", ["low", "high"]]
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(4000), rel=0.15)
    repeated = evaluate(pd.Series(np.repeat(half.to_numpy()[:400], 10), index),
                        pd.Series(np.repeat(labels.to_numpy()[:400], 10), index), block=40).loc["accuracy"]
    assert repeated["high"] - repeated["low"] > 2.5 * (high - low)


def test_what_cannot_be_scored():
    index = pd.date_range("2020-01-01", periods=5)
    ones, half = pd.Series(1.0, index), pd.Series(0.5, index)
    found = evaluate(half, ones, n_boot=10)
    assert np.isnan(found.loc[["auc", "information_coefficient"], "value"]).all()
    assert np.isnan(found.loc["auc", "low"])
    for call, words in [(lambda: evaluate(half, ones.iloc[1:]), "one index"),
                        (lambda: evaluate(half * np.nan, ones), "5 NaN"),
                        (lambda: evaluate(half * 3, ones), "probabilities"),
                        (lambda: evaluate(half, ones, block=6), "block"),
                        (lambda: evaluate(half, ones, confidence=95), "between 0 and 1")]:
        with pytest.raises(ValueError, match=words):
            call()


# ---- importance


def test_permutation_and_single_importance_find_the_planted_feature():
    for found in (permutation_importance(MODEL, X, LABELS, splitter(), n_jobs=2),
                  single_feature_importance(MODEL, X, LABELS, splitter())):
        assert found.index[0] == "return_1"
        assert found.loc["return_1", "importance"] > 3 * found.loc["return_1", "standard_error"] > 0
        assert (found["importance"].iloc[1:] < found["importance"].iloc[0] / 4).all()
        assert (found["folds"] == 5).all()


def test_impurity_praises_noise_where_permutation_does_not():
    bars = random_walk(900, seed=2)
    x, labels = FEATURES(bars), direction(bars)
    split = WalkForward(300, 120, label_end=labels["end"])
    forest = RandomForestClassifier(60, max_depth=5, random_state=0)
    impurity = impurity_importance(forest, x, labels, split)
    assert impurity["importance"].sum() == pytest.approx(1.0) and (impurity["importance"] > 0.15).all()
    permuted = permutation_importance(forest, x, labels, split)
    assert (permuted["importance"].abs() < 3 * permuted["standard_error"] + 0.02).all()


def test_a_model_without_trees_has_no_impurity():
    with pytest.raises(ValueError, match="not made of trees"):
        impurity_importance(MODEL, X, LABELS, splitter())


def test_long_labels_are_purged_before_they_are_trained_on():
    labels = triple_barrier(BARS, 15)
    found = walk_forward(RandomForestClassifier(5, random_state=0), X, labels, splitter(label_end=labels["end"]))
    assert (found.folds["known_by"] <= found.folds["test_from"]).all()
    assert backtest(BARS, MLStrategy(found, FEATURES, enter=0.4, exit=0.2),
                    execution=IdealExecutionHandler()).metrics["n_bars"] > 0


# ---- online learning


def test_online_learning_goes_on_from_what_it_knew():
    from sklearn.linear_model import SGDClassifier

    bars = planted_edge(1_500, seed=4, strength=0.3)
    X, labels = LaggedReturns(2)(bars).iloc[2:-2], direction(bars).iloc[2:-2]
    model = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0))
    splitter = WalkForward(500, 250, label_end=labels["end"], expanding=True)
    found = walk_forward(model, X, labels, splitter, online=True)
    folds = list(splitter.split(X))
    by_hand = clone(model).fit(X.iloc[folds[0][0]], labels["label"].iloc[folds[0][0]])
    for number, (train, test) in enumerate(folds):
        new = np.setdiff1d(train, folds[number - 1][0]) if number else []
        if len(new):
            by_hand[-1].partial_fit(by_hand[:-1].transform(X.iloc[new]), labels["label"].iloc[new])
        assert np.array_equal(by_hand.predict_proba(X.iloc[test])[:, 1], found.predictions.iloc[test - folds[0][1][0]])
    assert len({id(each) for each in found.models}) == len(folds), "each model of the schedule is frozen"
    assert not found.models.obstacle and found.scores(n_boot=50).loc["accuracy", "value"] > 0.53
    once = walk_forward(model, X, labels, splitter)
    assert np.array_equal(found.predictions.iloc[:250], once.predictions.iloc[:250])
    assert not np.array_equal(found.predictions.iloc[250:], once.predictions.iloc[250:])
    with pytest.raises(ValueError, match="no partial_fit"):
        walk_forward(make_model("logistic"), X, labels, splitter, online=True)
