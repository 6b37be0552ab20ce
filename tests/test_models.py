"""Models: one contract for every family, and what each promises beyond it (lstm: test_models_deep.py)."""

import logging
import pickle
import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier

from mlkit import labels
from mlkit.features import RSI, FeatureSet, LaggedReturns, PriceToAverage, Volatility
from mlkit.markets import planted_edge
from mlkit.models import (CATALOGUE, MissingDependency, UnknownModel, load_model, make_model, model_table,
                          save_model)
from mlkit.models.adapters import EarlyStoppedClassifier, LinearProbability
from mlkit.models.arima import ArimaClassifier, ArimaRegressor
from mlkit.models.scoring import Schedule, scores_of

pytestmark = pytest.mark.filterwarnings("error")

NAMES = ["majority", "linear", "logistic", "ridge", "random_forest", "xgboost", "mlp", "arima", "prophet", "lstm"]
HERE = [name for name in NAMES if name != "lstm"]
RANDOM = ["random_forest", "xgboost", "mlp"]
ANY_LABELS = [name for name in HERE if name not in ("arima", "prophet")]
SMALL = {"random_forest": {"n_estimators": 20}, "xgboost": {"n_estimators": 20}, "mlp": {"max_iter": 8}}
PAIRS = [(name, task) for name in HERE for task in CATALOGUE[name].task]
LABELS = {"direction": labels.direction, "return": labels.next_return, "level": labels.next_level,
          "volatility": labels.next_volatility, "drawdown": labels.next_drawdown}
N_TRAINING = 350


@cache
def world():
    """Features (500, 10), and a label of each task for them."""
    bars = planted_edge(545, seed=3, strength=0.3)
    X = FeatureSet([LaggedReturns(5), PriceToAverage(5, 10), Volatility(20), RSI(14),
                    {"close": lambda bars: bars["close"]}])(bars)[20:520]
    return X, {task: label(bars).loc[X.index, "label"] for task, label in LABELS.items()}


def fit(name, task="direction", seed=0):
    X, y = world()[0][:N_TRAINING], world()[1][task][:N_TRAINING]
    return make_model(name, task=task, seed=seed, **SMALL.get(name, {})).fit(X, y)


fitted = cache(fit)


def says(model, X=None):
    """Its probabilities, or its predictions."""
    X = world()[0] if X is None else X
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


def noisy_table(n=300, seed=0):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 3)), columns=["return_1", "b", "volatility_5"],
                        index=pd.bdate_range("2020-01-01", periods=n))


# ------------------------------------------------------------------ the catalogue

def test_the_catalogue_has_every_family_and_says_what_to_know_of_it():
    assert list(CATALOGUE) == NAMES
    table = model_table()
    assert list(table.index) == NAMES and table["installed"].drop("lstm").all()
    for name, card in CATALOGUE.items():
        assert all([card.family, card.task, card.strengths, card.weaknesses, card.requires, card.avoid])
        assert set(card.task) <= set(LABELS) and "direction" in card.task
        assert card.strengths in card._repr_html_() and card.avoid == table.loc[name, "avoid"]
    with pytest.raises(AttributeError):
        CATALOGUE["ridge"].family = "trees"
    with pytest.raises(TypeError):
        CATALOGUE["mine"] = CATALOGUE["ridge"]


@pytest.mark.parametrize("call, words", [
    (lambda: make_model("ridgee"), ["ridgee", *NAMES]),
    (lambda: make_model("ridge", task="up"), ["up", *LABELS]),
    (lambda: make_model("logistic", task="return"), ["logistic cannot do 'return'", "direction", "ridge"]),
    (lambda: make_model("arima", task="drawdown"), ["arima cannot do", "volatility", "prophet"]),
    (lambda: make_model("ridge", gamma=1), ["no parameter gamma", "alpha", "fit_intercept"]),
    (lambda: make_model("random_forest", random_state=1), ["random_state", "seed"]),
])
def test_what_is_not_there_is_refused_with_a_list_of_what_is(call, words):
    with pytest.raises(ValueError) as refusal:
        call()
    assert all(word in str(refusal.value) for word in words)


def test_an_unknown_name_has_an_error_of_its_own():
    assert issubclass(UnknownModel, ValueError)
    with pytest.raises(UnknownModel):
        make_model("")


@pytest.mark.parametrize("name, task, params", [
    ("majority", "direction", {"strategy": "stratified"}), ("linear", "direction", {"fit_intercept": False}),
    ("linear", "return", {"fit_intercept": False}), ("logistic", "direction", {"C": 3.0}),
    ("ridge", "direction", {"alpha": 10.0}), ("ridge", "return", {"alpha": 10.0}),
    ("random_forest", "direction", {"n_estimators": 7}), ("random_forest", "level", {"max_depth": 2}),
    ("xgboost", "direction", {"max_depth": 5}), ("xgboost", "return", {"reg_lambda": 3.0}),
    ("mlp", "direction", {"hidden_layer_sizes": (3,)}), ("mlp", "return", {"alpha": 7.0}),
    ("arima", "direction", {"order": (2, 0, 0)}), ("arima", "level", {"series": "price"}),
    ("prophet", "direction", {"yearly_seasonality": 3}), ("prophet", "level", {"growth": "flat"}),
])
def test_parameters_reach_the_family_s_own_estimator(name, task, params):
    (key, value), = params.items()
    deep = make_model(name, task=task, **params).get_params()
    assert [deep[path] for path in deep if path.endswith(f"__{key}")] == [value]


def test_nothing_heavy_is_imported_before_it_is_needed():
    heavy = {"torch", "skorch", "prophet", "xgboost", "statsmodels", "skops"}
    assert python(f"import sys, mlkit.models; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_without_torch_the_error_says_what_to_install():
    code = """if True:
        import sys
        class NoTorch:
            def find_spec(name, path, target=None):
                if name == "torch":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, NoTorch)
        from mlkit.models import CATALOGUE, MissingDependency, make_model
        assert not CATALOGUE["lstm"].is_installed and CATALOGUE["ridge"].is_installed
        make_model("ridge")
        try:
            make_model("lstm")
        except MissingDependency as error:
            print(error)"""
    told = python(code)
    assert told.startswith("lstm needs torch")
    assert "pip install -r requirements-deep.txt" in told and "DEEP=1" in told
    assert issubclass(MissingDependency, ImportError)


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# ------------------------------------------------------------------ one contract

@pytest.mark.parametrize("name, task", PAIRS)
def test_every_family_does_its_tasks(name, task):
    X, y = world()
    model = fitted(name, task)
    predictions = model.predict(X)
    assert predictions.shape == (len(X),) and np.isfinite(predictions).all()
    if task != "direction":
        assert is_regressor(model) and not hasattr(model, "predict_proba")
        typical = y[task][:N_TRAINING]
        assert abs(np.median(predictions[:N_TRAINING]) - typical.median()) < 1.5 * typical.std()
        return
    assert is_classifier(model) and model.classes_.tolist() == [0.0, 1.0]
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (len(X), 2) and probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert (predictions == (probabilities[:, 1] > 0.5)).all()


@pytest.mark.parametrize("name, task", PAIRS)
def test_a_seed_decides_every_bit_and_a_clone_forgets(name, task):
    model, again = fitted(name, task), fit(name, task)
    assert np.array_equal(says(model), says(again))
    fresh = clone(model)
    assert repr(fresh) == repr(model) and not [key for key in vars(fresh[-1]) if key.endswith("_")]
    assert np.array_equal(says(fresh.fit(world()[0][:N_TRAINING], world()[1][task][:N_TRAINING])), says(model))
    other = says(fit(name, task, seed=1))
    assert np.array_equal(other, says(model)) == (name not in RANDOM)


@pytest.mark.parametrize("name, task", PAIRS)
def test_pickled_and_stored_models_predict_the_same_bits(name, task, tmp_path):
    model = fitted(name, task)
    assert np.array_equal(says(pickle.loads(pickle.dumps(model))), says(model))
    loaded = load_model(save_model(model, tmp_path / "model.skops"))
    assert type(loaded) is type(model) and np.array_equal(says(loaded), says(model))
    assert is_regressor(model) or loaded.classes_.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", HERE)
def test_parameters_can_be_read_and_set(name):
    model = make_model(name)
    for path, value in make_model(name, seed=5).get_params().items():
        if path.endswith("random_state"):
            model.set_params(**{path: value})
    assert repr(model) == repr(make_model(name, seed=5))
    assert model.steps[-1][0] == name


@pytest.mark.parametrize("name", ["linear", "logistic", "ridge", "random_forest", "xgboost", "mlp"])
def test_a_planted_edge_is_found(name):
    bars = planted_edge(3025, seed=5, strength=0.4)
    X = FeatureSet([LaggedReturns(3), Volatility(20)])(bars)[20:3020]
    up, gain = (label(bars).loc[X.index, "label"] for label in (labels.direction, labels.next_return))
    assert make_model(name).fit(X[:2000], up[:2000]).score(X[2000:], up[2000:]) > 0.59  # the best possible: 0.63
    if "return" in CATALOGUE[name].task:
        forecast = make_model(name, task="return").fit(X[:2000], gain[:2000]).predict(X[2000:])
        assert np.corrcoef(forecast, gain[2000:])[0, 1] > 0.3


@pytest.mark.parametrize("name", ["linear", "logistic", "ridge", "mlp"])
def test_the_unit_of_a_feature_does_not_matter(name):
    X, y = noisy_table(), noisy_table()["b"].gt(0).astype(float)
    plain, large = make_model(name).fit(X, y), make_model(name).fit(1000 * X, y)
    assert np.allclose(plain.predict_proba(X), large.predict_proba(1000 * X))


@pytest.mark.parametrize("name", ANY_LABELS)
def test_three_classes_keep_their_order(name):
    X = noisy_table(600)
    y = np.sign(X["b"]) * (X["b"].abs() > 0.4)
    model = make_model(name).fit(X, y)
    assert model.classes_.tolist() == [-1.0, 0.0, 1.0]
    probabilities = model.predict_proba(X)
    assert probabilities.min() >= 0 and np.allclose(probabilities.sum(axis=1), 1.0)
    assert set(model.predict(X)) <= {-1.0, 0.0, 1.0}
    if name != "majority":
        low, high = probabilities[X["b"] < -1], probabilities[X["b"] > 1]
        assert low[:, 0].mean() > low[:, 2].mean() + 0.1 and high[:, 2].mean() > high[:, 0].mean() + 0.1


@pytest.mark.parametrize("name", ["arima", "prophet"])
def test_families_of_two_classes_refuse_three(name):
    X = noisy_table()
    with pytest.raises(ValueError, match="labels are 0 and 1.*not -1.0, 0.0, 1.0"):
        make_model(name).fit(X, np.sign(X["b"]) * (X["b"].abs() > 0.4))


@pytest.mark.parametrize("name", HERE)
def test_labels_that_are_all_the_same(name):
    X, y = noisy_table(250), np.ones(250)
    if name == "majority":
        assert make_model(name).fit(X, y).predict_proba(X).tolist() == [[1.0]] * 250
    else:
        with pytest.raises(ValueError, match="All 250 training labels are 1.0: there is nothing to learn"):
            make_model(name).fit(X, y)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_value_is_named_wherever_it_comes(name, bad):
    X, y = noisy_table(), noisy_table()["b"].gt(0).astype(float)
    holed = X.copy()
    holed.iloc[7, 1] = bad
    model = make_model(name, **SMALL.get(name, {}))
    with pytest.raises(ValueError, match="X has 1 missing.*column b, row 2020-01-10"):
        model.fit(holed, y)
    with pytest.raises(ValueError, match="y has 1 missing.*row 2020-01-13"):
        model.fit(X, y.where(y.index != X.index[8]))
    model.fit(X, y)
    for method in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match="column b, row 2020-01-10"):
            method(holed)


@pytest.mark.parametrize("name", ["linear", "logistic", "ridge", "random_forest", "xgboost", "mlp"])
def test_columns_in_another_order_are_refused(name):
    X, y = noisy_table(), noisy_table()["b"].gt(0).astype(float)
    model = make_model(name, **SMALL.get(name, {})).fit(X, y)
    with pytest.raises(ValueError, match="(?i)feature.names"):
        model.predict(X[["b", "return_1", "volatility_5"]])


# ------------------------------------------------------------------ single families

def test_majority_says_the_average():
    X, y = world()
    assert np.allclose(fitted("majority").predict_proba(X)[:, 1], y["direction"][:N_TRAINING].mean())
    assert np.allclose(fitted("majority", "return").predict(X), y["return"][:N_TRAINING].mean())


def test_a_linear_probability_is_a_clipped_regression():
    X, y = noisy_table(), noisy_table()["b"].gt(0).map({True: 7, False: 3})
    line = LinearRegression().fit(X, y == 7).predict(X)
    model = LinearProbability(LinearRegression()).fit(X, y)
    assert line.max() > 1 and line.min() < 0
    assert np.allclose(model.predict_proba(X)[:, 1], np.clip(line, 0, 1)) and model.classes_.tolist() == [3, 7]
    assert set(model.predict(X[X["b"] > 1])) == {7}


def test_a_network_stops_by_the_last_rows_not_by_random_ones():
    """The rule turns round in the last fifth: whatever is learnt from the rest predicts it worse."""
    X = noisy_table(1000).to_numpy()
    y = (X[:, 1] > 0).astype(float)
    turned = np.where(np.arange(1000) < 800, y, 1 - y)
    network = MLPClassifier((8,), max_iter=30, n_iter_no_change=5, validation_fraction=0.2, random_state=0)
    assert EarlyStoppedClassifier(network).fit(X, y).n_epochs_ > 20
    stopped = EarlyStoppedClassifier(network).fit(X, turned)
    assert stopped.n_epochs_ < 10
    first = clone(network).set_params(random_state=np.random.RandomState(0))
    for _ in range(stopped.n_epochs_):
        first.partial_fit(X[:800], turned[:800], classes=[0.0, 1.0])
    assert np.array_equal(stopped.predict_proba(X), first.predict_proba(X))  # the weights of that epoch


def test_too_few_rows_to_stop_by():
    with pytest.raises(ValueError, match="1 rows are too few"):
        make_model("mlp", task="return").fit(noisy_table(1), [0.1])


# ------------------------------------------------------------------ ARIMA

@pytest.mark.parametrize("task", ["direction", "return", "level", "volatility"])
def test_arima_is_what_statsmodels_forecasts_from_each_prefix_afresh(task):
    from scipy.stats import norm
    from statsmodels.tsa.arima.model import ARIMA
    X, model = world()[0], fitted("arima", task)
    learnt = model[-1]
    column = {"level": "close", "volatility": "volatility_20"}.get(task, "return_1")
    series = X[column].to_numpy() / learnt.scale_
    # Given all earlier rows, given the training rows too, and given only what came after them.
    whole, after = says(model), says(model, X[N_TRAINING:])
    assert np.allclose(whole[N_TRAINING:], after, rtol=0, atol=1e-10)
    for t in [2, 10, N_TRAINING - 30, N_TRAINING, N_TRAINING + 1, N_TRAINING + 40, len(X) - 1]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ARIMA(series[:t + 1], order=learnt.order, trend=learnt.trend).filter(learnt.params_)
        ahead = results.get_forecast(1)
        expected = ahead.predicted_mean[0] * learnt.scale_
        if task == "direction":
            expected = norm.cdf(ahead.predicted_mean[0] / ahead.se_mean[0])
        assert abs((whole[t, 1] if task == "direction" else whole[t]) - expected) < 1e-10
        assert np.allclose(scores_of(model, X[:t + 1], start=t), expected, rtol=0, atol=1e-10)


def test_arima_goes_on_from_training_as_append_without_refitting_does():
    from statsmodels.tsa.arima.model import ARIMA
    X, model = world()[0], fitted("arima", "return")
    learnt, series = model[-1], X["return_1"].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = ARIMA(series[:N_TRAINING] / learnt.scale_, order=learnt.order, trend=learnt.trend).filter(learnt.params_)
        appended = results.append(series[N_TRAINING:] / learnt.scale_, refit=False)
    expected = appended.get_prediction(start=N_TRAINING + 1, end=len(X)).predicted_mean * learnt.scale_
    assert np.allclose(says(model, X[N_TRAINING:]), expected, rtol=0, atol=1e-12)


def test_arima_sees_no_later_row_and_no_label():
    X, y = world()
    changed = X.copy()
    changed.iloc[400:] *= -3.0
    model = fitted("arima")
    assert np.allclose(says(model, changed)[:400], says(model)[:400], rtol=0, atol=1e-12)
    assert not np.allclose(says(model, changed)[400:], says(model)[400:])
    upside_down = make_model("arima").fit(X[:N_TRAINING], 1 - y["direction"][:N_TRAINING])
    assert np.array_equal(says(upside_down), says(model))


def test_arima_finds_a_moving_average():
    shock = np.random.default_rng(1).normal(0, 0.01, 2001)
    X = pd.DataFrame({"return_1": shock[1:] + 0.6 * shock[:-1]}, index=pd.bdate_range("2000-01-03", periods=2000))
    model = ArimaRegressor(order=(0, 0, 1)).fit(X[:1500], np.zeros(1500))
    assert abs(model.params_[1] - 0.6) < 0.05 and model.converged_
    assert np.allclose(model.predict(X)[50:], 0.6 * shock[51:], atol=0.002)  # the shock of t is what t+1 keeps
    up = ArimaClassifier(order=(0, 0, 1)).fit(X[:1500], X["return_1"][:1500] > 0)
    assert ((up.predict_proba(X)[:, 1] > 0.5) == (model.predict(X) > 0)).all()


def test_arima_keeps_plain_arrays_only():
    learnt = vars(fitted("arima")[-1])
    kinds = {key: type(value) for key, value in learnt.items() if key.endswith("_")}
    assert kinds == {"classes_": np.ndarray, "scale_": float, "training_": np.ndarray, "last_": np.int64,
                     "params_": np.ndarray, "converged_": bool}


def test_arima_says_when_it_did_not_converge():
    X = noisy_table(60)
    model = make_model("arima", task="return", order=(5, 0, 5)).fit(X, X["b"])
    assert model[-1].converged_ is False and np.isfinite(model.predict(X)).all()
    assert fitted("arima", "return")[-1].converged_ is True


@pytest.mark.parametrize("name", ["arima", "prophet"])
def test_the_first_fit_of_a_process_is_quiet_too(name):
    """Libraries set up loggers and warning filters as they are imported, which is then."""
    code = f"""if True:
        import numpy as np, pandas as pd
        from mlkit.models import make_model
        X = pd.DataFrame({{"return_1": np.arange(6) % 3}}, index=pd.bdate_range("2024-01-01", periods=6))
        make_model("{name}").fit(X, [0, 1, 0, 1, 1, 0]).predict(X)"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == run.stderr == ""


@pytest.mark.parametrize("task, params, words", [
    ("return", {"series": "gap"}, ["column gap", "return_1, b, volatility_5", "series="]),
    ("level", {}, ["column close", 'lambda bars: bars["close"]']),
    ("volatility", {"series": "vol_"}, ["column vol_"]),
])
def test_arima_names_the_column_it_misses(task, params, words):
    X = noisy_table()
    with pytest.raises(ValueError) as refusal:
        make_model("arima", task=task, **params).fit(X, X["b"])
    assert all(word in str(refusal.value) for word in words)


def test_arima_refuses_what_is_no_series():
    X = noisy_table()
    with pytest.raises(ValueError, match="no column name"):
        make_model("arima", task="return").fit(X.to_numpy(), X["b"])
    with pytest.raises(ValueError, match="return_1 does not move in 300"):
        make_model("arima", task="return").fit(X * 0 + 0.01, X["b"])
    with pytest.raises(ValueError, match="2021-02-22 00:00:00 comes after 2021-02-23"):
        make_model("arima", task="return").fit(X[::-1], X["b"])


def test_arima_tells_time_across_zones():
    X = noisy_table().set_axis(pd.date_range("2024-01-01", periods=300, freq="h", tz="UTC"))
    model = make_model("arima", task="return").fit(X[:200].tz_convert("Asia/Tokyo"), X["b"][:200])
    assert np.allclose(model.predict(X[200:]), model.predict(X)[200:], rtol=0, atol=1e-10)


def test_arima_takes_the_column_of_that_very_name():
    X = noisy_table().rename(columns={"b": "return_10"})[["return_10", "return_1", "volatility_5"]]
    expected = ArimaRegressor().fit(X[["return_1"]], X["return_1"]).predict(X[["return_1"]])
    assert np.array_equal(make_model("arima", task="return").fit(X, X["return_1"]).predict(X), expected)


# ------------------------------------------------------------------ Prophet

def test_prophet_asks_the_calendar_alone():
    X, model = world()[0], fitted("prophet", "return")
    one_by_one = [model.predict(X[t:t + 1] * 0)[0] for t in (0, 400, 499)]
    assert np.allclose(one_by_one, model.predict(X)[[0, 400, 499]], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="DatetimeIndex"):
        model.predict(X.reset_index(drop=True))


def test_prophet_finds_the_day_of_the_week():
    X = noisy_table(600)
    friday = (X.index.day_of_week == 4).astype(float)
    model = make_model("prophet", seasonality_prior_scale=10.0).fit(X[:500], friday[:500])
    rises = model.predict_proba(X)[500:, 1]
    assert rises[friday[500:] == 1].min() > 0.9 and rises[friday[500:] == 0].max() < 0.1
    assert rises.min() == 0.01 and rises.max() == 0.99  # clipped: sums of seasons leave [0, 1]


def test_prophet_reads_times_of_any_zone_as_utc():
    X, y = noisy_table(100), noisy_table(100)["b"]
    X.index = pd.date_range("2024-01-01", periods=100, freq="6h")
    plain = make_model("prophet", task="return").fit(X, y)
    zoned = X.tz_localize("UTC").tz_convert("America/New_York")
    assert np.array_equal(make_model("prophet", task="return").fit(zoned, y).predict(zoned), plain.predict(X))


def test_prophet_has_a_trend_for_levels_alone():
    X = noisy_table(300)
    rising = np.arange(300.0)
    assert make_model("prophet", task="level").fit(X[:200], rising[:200]).predict(X[-1:])[0] > 290
    assert make_model("prophet", task="return").fit(X[:200], rising[:200]).predict(X[-1:])[0] < 200


def test_prophet_is_quiet_and_others_are_not(capfd, caplog):
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit("prophet").predict(world()[0])
        logging.getLogger("mine").info("heard")
        logging.getLogger("prophet").warning("heard too")
    heard = [(record.name, record.getMessage()) for record in caplog.records
             if record.name.split(".")[0] in ("prophet", "cmdstanpy", "mine")]
    assert heard == [("mine", "heard"), ("prophet", "heard too")]
    assert not warned and not logging.getLogger("cmdstanpy").filters
    assert "Chain" not in capfd.readouterr().err


# ------------------------------------------------------------------ the store

def test_a_schedule_is_stored_with_its_models(tmp_path):
    X = world()[0]
    schedule = Schedule([fitted("ridge"), fitted("arima"), fitted("xgboost")], X.index[[100, 200, 350]])
    loaded = load_model(save_model(schedule, tmp_path / "schedule.skops"))
    assert np.array_equal(loaded.scores(X), schedule.scores(X), equal_nan=True)
    assert loaded.names == schedule.names and loaded.starts.equals(schedule.starts)


class Foreign:
    def __init__(self):
        self.payload = 1


def test_other_types_are_named_and_never_made(tmp_path):
    path = tmp_path / "model.skops"
    for foreign in (Foreign(), make_model("ridge").set_params(ridge__regressor=Foreign())):
        with pytest.raises(ValueError, match="test_models.Foreign"):
            save_model(foreign, path)
        assert not path.exists()
    skops.io.dump({"model": Foreign()}, path)
    with pytest.raises(ValueError, match=r"model.skops holds test_models.Foreign"):
        load_model(path)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "pickle.skops").write_bytes(pickle.dumps(fitted("ridge")))
    whole = save_model(fitted("ridge"), tmp_path / "model.skops").read_bytes()
    (tmp_path / "cut.skops").write_bytes(whole[:len(whole) // 2])
    for name in ("pickle.skops", "cut.skops"):
        with pytest.raises(ValueError, match=f"{name} holds no model"):
            load_model(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.skops")
