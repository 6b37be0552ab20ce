"""How each family of the catalogue is made: its own estimator with our defaults, and its dress.

Part of `mlkit.models`. The defaults expect financial noise, where one part in a hundred of what
moves can be known: penalties are strong, trees shallow, networks small. One thread each, as
folds run side by side and threads in a single row's prediction cost more than they save.

>>> dress(learner("logistic", task="direction", seed=0), "logistic", "direction")
CheckedPipeline(steps=[('scale', StandardScaler()),
                       ('logistic', LogisticRegression(C=0.01))])
"""

from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from mlkit.models.adapters import (CheckedPipeline, EarlyStoppedClassifier, EarlyStoppedRegressor, EncodedClassifier,
                                   LinearProbability)
from mlkit.models.arima import ArimaClassifier, ArimaRegressor
from mlkit.models.lstm import LSTMClassifier, LSTMRegressor
from mlkit.models.prophet import ProphetClassifier, ProphetRegressor

SCALED = ("linear", "logistic", "ridge", "mlp", "lstm")  # the others do not mind the size of a feature


def learner(name: str, *, task: str, seed: int) -> BaseEstimator:
    """The family's own estimator, whose parameters `make_model` takes."""
    classifies = task == "direction"
    match name:
        case "majority":
            return DummyClassifier(strategy="prior") if classifies else DummyRegressor(strategy="mean")
        case "linear":
            return LinearRegression()
        case "logistic":
            return LogisticRegression(C=0.01)
        case "ridge":
            return Ridge(alpha=1000.0)  # of n rows of scaled features: they count n, so the penalty is a share of that
        case "random_forest":
            kind = RandomForestClassifier if classifies else RandomForestRegressor
            return kind(n_estimators=100, max_depth=4, min_samples_leaf=20, max_features="sqrt", max_samples=0.5,
                        n_jobs=1, random_state=seed)
        case "xgboost":
            from xgboost import XGBClassifier, XGBRegressor
            kind = XGBClassifier if classifies else XGBRegressor
            return kind(n_estimators=100, max_depth=2, learning_rate=0.03, subsample=0.7, colsample_bytree=0.7,
                        min_child_weight=20.0, reg_lambda=10.0, n_jobs=1, random_state=seed)
        case "mlp":
            kind = MLPClassifier if classifies else MLPRegressor
            return kind(hidden_layer_sizes=(8,), alpha=1.0, learning_rate_init=0.003, max_iter=50,
                        n_iter_no_change=5, validation_fraction=0.2, random_state=seed)
        case "arima":
            return _arima(task)
        case "prophet":
            kind = ProphetClassifier if classifies else ProphetRegressor
            return kind(growth="linear" if task == "level" else "flat", random_state=seed)
        case "lstm":
            return (LSTMClassifier if classifies else LSTMRegressor)(random_state=seed)


def _arima(task: str) -> BaseEstimator:
    match task:
        case "level":
            return ArimaRegressor(series="close", order=(1, 1, 1), trend="n")
        case "volatility":
            return ArimaRegressor(series="volatility_")
        case "return":
            return ArimaRegressor()
        case "direction":
            return ArimaClassifier()


def dress(learner: BaseEstimator, name: str, task: str) -> CheckedPipeline:
    """The estimator in its pipeline, as the step of that name, adapted where its library lacks something."""
    match name, task:
        case "linear" | "ridge", "direction":
            learner = LinearProbability(learner)
        case "xgboost", "direction":
            learner = EncodedClassifier(learner)
        case "mlp", "direction":
            learner = EarlyStoppedClassifier(learner)
        case "mlp", _:
            learner = TransformedTargetRegressor(EarlyStoppedRegressor(learner), transformer=StandardScaler())
    scale = [("scale", StandardScaler())] if name in SCALED else []
    return CheckedPipeline([*scale, (name, learner)])
