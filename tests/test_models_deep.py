"""The LSTM, which needs torch and skorch: `make test DEEP=1` runs this file, `make test` leaves it out."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier

from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction, next_return
from mlkit.markets import planted_edge
from mlkit.models import CATALOGUE, load_model, make_model, save_model
from mlkit.models.lstm import LSTMClassifier
from mlkit.models.scoring import context_of, scores_of
from mlkit.production import ModelRegistry

pytestmark = pytest.mark.filterwarnings("error")

TASKS = CATALOGUE["lstm"].task
N_TRAINING = 400
SMALL = {"sequence": 5, "epochs": 4, "hidden": 4}


@cache
def world(n=600):
    bars = planted_edge(n + 25, seed=5, strength=0.4)
    X = FeatureSet([LaggedReturns(2), Volatility(20)])(bars)[20:-5]
    return X, direction(bars).loc[X.index, "label"], next_return(bars).loc[X.index, "label"]


def fit(task="direction", seed=0, **params):
    X, up, gain = world()
    y = up if task == "direction" else gain
    return make_model("lstm", task=task, seed=seed, **SMALL | params).fit(X[:N_TRAINING], y[:N_TRAINING])


fitted = cache(fit)


def says(model, X=None):
    X = world()[0] if X is None else X
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


@pytest.mark.parametrize("task", TASKS)
def test_one_contract(task, tmp_path):
    X = world()[0]
    model = fitted(task)
    values = says(model)
    assert np.isfinite(values).all() and len(values) == len(X)
    if task == "direction":
        assert model.classes_.tolist() == [0.0, 1.0] and np.allclose(values.sum(axis=1), 1.0)
        assert (model.predict(X) == (values[:, 1] > 0.5)).all()
    assert np.array_equal(says(fit(task)), values) and not np.array_equal(says(fit(task, seed=1)), values)
    assert repr(clone(model)) == repr(model) and not hasattr(clone(model)[-1], "weights_")
    assert np.array_equal(says(pickle.loads(pickle.dumps(model))), values)
    assert np.array_equal(says(load_model(save_model(model, tmp_path / "model.skops"))), values)
    assert {type(value) for value in model[-1].weights_.values()} == {np.ndarray}


def test_a_planted_edge_is_found():
    X, up, gain = world(3000)
    model = make_model("lstm", sequence=5).fit(X[:2000], up[:2000])
    assert model.score(X[2000:], up[2000:]) > 0.59  # the best possible: 0.63
    forecast = make_model("lstm", task="return", sequence=5).fit(X[:2000], gain[:2000]).predict(X)
    assert np.corrcoef(forecast[2000:], gain[2000:])[0, 1] > 0.3
    assert 0.1 < forecast.std() / gain.std() < 1.0  # back in the units of the label


@pytest.mark.parametrize("task", ["direction", "return"])
def test_no_later_row_counts_and_no_more_rows_than_it_says(task):
    X, model = world()[0], fitted(task)
    whole = says(model)
    assert context_of(model) == SMALL["sequence"] - 1
    changed = X.copy()
    changed.iloc[300:] += 1.0
    assert np.allclose(says(model, changed)[:300], whole[:300], rtol=0, atol=1e-12)
    assert not np.allclose(says(model, changed)[300:], whole[300:])
    score = whole[:, 1] if task == "direction" else whole
    assert np.allclose(scores_of(model, X, start=450), score[450:], rtol=0, atol=1e-12)
    assert np.allclose(says(model, X[446:])[4:], whole[450:], rtol=0, atol=1e-12)
    assert not np.allclose(says(model, X[447:])[3:4], whole[450:451], rtol=0, atol=1e-9)  # one row short


def test_the_first_rows_read_the_first_row_several_times():
    X, model = world()[0], fitted()
    padded = pd.concat([X[:1]] * 4 + [X])
    assert np.allclose(says(model, padded)[4:], says(model), rtol=0, atol=1e-12)


def test_only_training_rows_scale_the_features():
    X, model = world()[0], fitted()
    assert np.allclose(model["scale"].mean_, X[:N_TRAINING].mean())


def test_it_remembers_the_row_before():
    """The label is the sign of the feature one row earlier: no row knows its own."""
    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=1500)})
    y = (X["x"].shift(1, fill_value=0.0) > 0).astype(float)
    model = make_model("lstm", sequence=3, learning_rate=0.02).fit(X[:1000], y[:1000])
    assert model.score(X[1000:], y[1000:]) > 0.9


def test_training_stops_by_the_last_rows_not_by_random_ones():
    """The rule turns round in the last fifth: whatever is learnt from the rest predicts it worse."""
    X = np.random.default_rng(0).normal(size=(1000, 2))
    y = (X[:, 0] > 0).astype(float)
    turned = np.where(np.arange(1000) < 800, y, 1 - y)
    model = LSTMClassifier(sequence=2, epochs=12, patience=3, learning_rate=0.01)
    assert clone(model).fit(X, y).n_epochs_ == 12
    stopped = clone(model).fit(X, turned)
    assert stopped.n_epochs_ < 7
    assert abs(stopped.predict_proba(X)[:, 1] - 0.5).max() < 0.3  # the first weights, not the last
    once = model.set_params(epochs=1)
    assert np.array_equal(once.fit(X, y).predict_proba(X), once.fit(X, turned).predict_proba(X))


def test_three_classes_keep_their_order():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(800, 2)), columns=["a", "b"])
    y = np.sign(X["b"]) * (X["b"].abs() > 0.4)
    model = make_model("lstm", sequence=2, learning_rate=0.02).fit(X, y)
    assert model.classes_.tolist() == [-1.0, 0.0, 1.0]
    assert model.score(X, y) > 0.7


def test_torch_is_left_as_it_was():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    says(fit())
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 2 and not torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(n_threads)


def test_what_cannot_be_learnt_is_refused():
    X = world()[0]
    with pytest.raises(ValueError, match="All 600 training labels are 1.0"):
        make_model("lstm").fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match="1 rows are too few"):
        make_model("lstm", task="return").fit(X[:1], [0.1])
    with pytest.raises(ValueError, match="no parameter layers.*hidden, "):
        make_model("lstm", layers=2)


def test_it_comes_back_from_a_registry_with_the_same_bits(tmp_path):
    registry = ModelRegistry(tmp_path)
    registry.register("deep", fitted(), features=FeatureSet([LaggedReturns(2), Volatility(20)]))
    X = world()[0]
    assert scores_of(registry.load("deep", 1).model, X).tobytes() == scores_of(fitted(), X).tobytes()
