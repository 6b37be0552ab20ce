"""Every family of the catalogue, where the truth is known: no edge, one edge, and a leak."""

import numpy as np
import pytest

from mlkit.engine import MLStrategy, backtest
from mlkit.features import FeatureSet, LaggedReturns, PriceToAverage, Volatility
from mlkit.labels import direction
from mlkit.leakage import audit_features, audit_procedure
from mlkit.markets import planted_edge, random_walk
from mlkit.models import CATALOGUE, load_model, make_model, save_model
from mlkit.research import walk_forward
from mlkit.splits import WalkForward

FAMILIES = [name for name in CATALOGUE if name != "lstm"]  # that one: tests/test_models_deep.py
LINEAR = ["linear", "logistic", "ridge"]
BLIND = ["majority", "arima", "prophet"]  # they read no feature: the mean label, one series' past, the calendar
FEATURES = FeatureSet([LaggedReturns(5), PriceToAverage(5, 20), Volatility(20)])
LEAKY = FeatureSet([FEATURES, {"next_move": lambda bars: bars["open"].shift(-2) / bars["open"].shift(-1) - 1.0}])


def predicted(bars, name, features=FEATURES):
    labels = direction(bars)
    splitter = WalkForward(1200, 400, label_end=labels["end"])
    return walk_forward(make_model(name), features(bars), labels, splitter)


NO_EDGE = random_walk(3000, seed=1)
EDGE = planted_edge(3000, seed=3, strength=0.2)


@pytest.fixture(scope="module")
def on_no_edge():
    return {name: predicted(NO_EDGE, name) for name in FAMILIES}


def accuracy(found):
    return found.scores().loc["accuracy"]


@pytest.mark.parametrize("name", FAMILIES)
def test_where_there_is_nothing_every_family_finds_nothing(on_no_edge, name):
    found = on_no_edge[name].scores(confidence=0.99).loc["accuracy"]  # 0.95 would blame one family in twenty
    assert found["low"] < 0.5 < found["high"] and found["n"] == 1778


@pytest.mark.parametrize("name", LINEAR)
def test_the_linear_ones_find_the_planted_edge(name):
    assert accuracy(predicted(EDGE, name))["low"] > 0.5


@pytest.mark.parametrize("name", FAMILIES)
def test_with_a_leak_every_family_that_reads_features_looks_brilliant(name):
    found = accuracy(predicted(NO_EDGE, name, LEAKY))
    if name in BLIND:
        assert found["high"] < 0.55
    else:
        assert found["low"] > 0.9


def test_the_audit_says_which_column_it_is():
    report = audit_features(LEAKY, NO_EDGE)
    assert not report.clean and set(report.findings["column"]) == {"next_move"}
    assert audit_features(FEATURES, NO_EDGE).clean


def test_walk_forward_itself_passes_the_audit_of_procedures():
    labels = direction(NO_EDGE)
    X = FEATURES(NO_EDGE)
    whole = X.notna().all(axis=1) & labels["label"].notna()
    splitter = WalkForward(1200, 400, label_end=labels["end"])
    report = audit_procedure(lambda X, y: walk_forward(make_model("ridge"), X, y, splitter).predictions,
                             X[whole], labels.loc[whole, "label"])
    assert report.clean, report.findings


@pytest.mark.parametrize("name", FAMILIES)
def test_a_schedule_from_a_file_decides_as_the_one_in_memory(on_no_edge, name, tmp_path):
    models = on_no_edge[name].models
    save_model(models, tmp_path / "schedule.skops")
    again = load_model(tmp_path / "schedule.skops")
    middle = float(on_no_edge[name].predictions.median())
    kept, loaded = (backtest(NO_EDGE, MLStrategy(each, FEATURES, enter=middle, exit=middle)) for each in (models, again))
    assert again.names == models.names and len(again) == 5
    assert np.array_equal(kept.signals["strength"], loaded.signals["strength"])
    assert kept.signals["model"].equals(loaded.signals["model"])
    assert kept.order_hash == loaded.order_hash and (len(kept.orders) > 20 or name == "majority")
