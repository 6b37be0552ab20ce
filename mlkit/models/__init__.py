"""Models: every family behind one interface, that of an sklearn estimator.

Fifth in the flow, after `splits`. `CATALOGUE` says what there is, `make_model` makes it,
`save_model` and `load_model` keep it; Naive, EWMA, HAR and GARCH, outside the catalogue, forecast volatility
alone. Nothing heavy (xgboost, statsmodels, arch, prophet, torch) is imported before a model that needs it is made.

>>> from mlkit.features import FeatureSet, LaggedReturns
>>> from mlkit.labels import direction
>>> from mlkit.markets import planted_edge
>>> bars = planted_edge(1000, seed=1, strength=0.3)
>>> X, y = FeatureSet([LaggedReturns(3)])(bars)[3:-2], direction(bars)["label"][3:-2]
>>> model = make_model("logistic").fit(X[:800], y[:800])
>>> print(round(model.score(X[800:], y[800:]), 2))
0.57
"""

from mlkit.models.catalogue import CATALOGUE, MissingDependency, ModelCard, UnknownModel, make_model, model_table
from mlkit.models.store import load_model, save_model
from mlkit.models.volatility import EWMA, GARCH, HAR, Naive

__all__ = ["CATALOGUE", "EWMA", "GARCH", "HAR", "MissingDependency", "ModelCard", "Naive", "UnknownModel", "load_model",
           "make_model", "model_table", "save_model"]
