"""Retraining: the challenger wins where it is better, stays out where it is not, and nothing is decided in the dark."""

import subprocess
import sys
from multiprocessing import get_context

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin

from mlkit import FeatureSet, LaggedReturns, direction, make_model, planted_edge, random_walk
from mlkit.cli import main
from mlkit.production import CannotDecide, ModelRegistry, decisions, retrain

FEATURES = FeatureSet([LaggedReturns(2)])


def register(folder, bars, sign=1.0, name="model"):
    """A champion trained on bars; with sign -1 on labels turned over, so that it is wrong wherever it was right."""
    registry = ModelRegistry(folder)
    X, y = FEATURES(bars), direction(bars)["label"]
    known = X.notna().all(axis=1) & y.notna()
    labels = y[known] if sign > 0 else 1.0 - y[known]
    registry.register(name, make_model("logistic").fit(X[known], labels), features=FEATURES, trained_on=bars)
    registry.promote(name, registry.versions(name)[-1])
    return registry


WORLD = planted_edge(2_500, seed=2, strength=0.3)


def test_a_better_challenger_is_promoted(tmp_path):
    registry = register(tmp_path, WORLD.iloc[:1_000], sign=-1.0)
    decision = retrain(registry, "model", WORLD, holdout=500)
    assert decision.promoted and decision.low > 0 and registry.champion("model") == decision.challenger == 2
    history = registry.history("model")
    assert history["reason"].iloc[-1] == decision.reason and "more than luck" in decision.reason
    table = decisions(registry, "model")
    assert len(table) == 1 and table["promoted"].item() and table["rows"].item() == 500
    assert registry.load("model").manifest["metrics"]["brier_challenger"] < registry.load("model").manifest["metrics"]["brier_champion"]


def test_one_that_is_no_better_is_kept_beside(tmp_path):
    registry = register(tmp_path, WORLD.iloc[:1_900])
    decision = retrain(registry, "model", WORLD, holdout=500)
    assert not decision.promoted and registry.champion("model") == 1 and registry.versions("model") == [1, 2]
    assert decision.low <= 0 and "champion stays" in decision.reason


def test_where_there_is_nothing_to_learn_challengers_are_rarely_promoted():
    promoted = []
    for seed in range(20):
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            bars = random_walk(1_200, seed=seed)
            promoted.append(retrain(register(folder, bars.iloc[:800]), "model", bars, holdout=300).promoted)
    assert sum(promoted) <= 4  # five of a hundred at 90 %; four or more of twenty has a probability of 2 %


def test_the_challenger_learns_only_from_labels_that_had_ended(tmp_path):
    seen = {}

    class Curious(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            seen["last"], self.classes_ = X.index[-1], np.array([0.0, 1.0])
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    registry = register(tmp_path, WORLD.iloc[:1_000])
    with pytest.raises(ValueError, match="Curious"):  # it could not be loaded again, so it is not registered
        retrain(registry, "model", WORLD, model=Curious(), holdout=500, label=lambda bars: direction(bars, horizon=10))
    known = direction(WORLD, horizon=10)
    known = known[known["label"].notna() & FEATURES(WORLD).notna().all(axis=1)]
    arena = known.index[-500]
    assert known["end"][seen["last"]] <= arena < known["end"].iloc[known.index.get_loc(seen["last"]) + 1]
    assert registry.versions("model") == [1]


@pytest.mark.parametrize("prepare, options, message", [
    (lambda registry: None, {"holdout": 1_600}, "trained on bars up to"), (lambda registry: None, {"holdout": 20}, "60 at least"),
    (lambda registry: None, {"holdout": 2_600}, "holdout of 2600"),
    (lambda registry: unknown_span(registry), {}, "does not say what it was trained on")])
def test_what_cannot_be_decided_is_not(tmp_path, prepare, options, message):
    registry = register(tmp_path, WORLD.iloc[:1_000])
    prepare(registry)
    before = registry.versions("model")
    with pytest.raises(CannotDecide, match=message):
        retrain(registry, "model", WORLD, **options)
    assert registry.versions("model") == before


def unknown_span(registry):
    champion = registry.load("model")
    registry.register("model", champion.model, features=FEATURES)
    registry.promote("model", 2)


def test_without_a_champion_nothing_is_challenged(tmp_path):
    registry = ModelRegistry(tmp_path)
    X = FEATURES(WORLD).dropna()
    registry.register("model", make_model("ridge").fit(X, (X["return_1"] > 0).astype(float)), features=FEATURES)
    with pytest.raises(CannotDecide, match="no champion"):
        retrain(registry, "model", WORLD)


def once(folder):
    return retrain(ModelRegistry(folder), "model", WORLD, holdout=500).promoted


def twice(folder, barrier):
    barrier.wait()
    try:
        return once(folder)
    except ValueError as error:
        return type(error).__name__


def test_two_at_once_corrupt_nothing(tmp_path):
    registry = register(tmp_path, WORLD.iloc[:1_000], sign=-1.0)
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(2) as pool:
        barrier = manager.Barrier(2)
        ended = pool.starmap(twice, [(str(tmp_path), barrier)] * 2)
    assert True in ended and set(ended) <= {True, False, "ChampionChanged", "CannotDecide"}
    assert registry.versions("model") == list(range(1, len(registry.versions("model")) + 1))
    assert (registry.history("model")["event"] == "promoted").sum() == 1 + ended.count(True)
    assert registry.load("model").version in registry.versions("model")


def test_the_command_says_what_it_decided(tmp_path):
    register(tmp_path / "registry", WORLD.iloc[:1_000], sign=-1.0)
    path = tmp_path / "bars.csv"
    WORLD.rename_axis("date").to_csv(path)
    call = ["retrain", "--registry", str(tmp_path / "registry"), "--name", "model", "--data", str(path), "--holdout", "500"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert "better by more than luck" in done.stdout and "model: version 2 is the champion" in done.stdout
    again = CliRunner().invoke(main, call)
    assert again.exit_code == 1 and "not decided" in again.stderr and "wait for more bars" in again.stderr
    nobody = CliRunner().invoke(main, [*call[:4], "nobody", *call[5:]])
    assert nobody.exit_code == 1 and "there is model" in nobody.stderr
    shown = subprocess.run([sys.executable, "-m", "mlkit", "retrain", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "Example:" in shown.stdout
