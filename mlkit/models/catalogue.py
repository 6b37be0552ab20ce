"""The catalogue: every family by name, what it is for, and one function that makes it.

Part of `mlkit.models`. `make_model` gives an unfitted sklearn estimator: a pipeline whose last
step is the family's own, with defaults for financial noise (strong penalties, shallow trees, small
networks) and one thread each, as folds run side by side.

>>> make_model("ridge", alpha=10.0)[-1]
LinearProbability(regressor=Ridge(alpha=10.0))
>>> CATALOGUE["ridge"].task
('direction', 'return', 'level', 'volatility', 'drawdown')
"""

from dataclasses import asdict, dataclass
from html import escape
from importlib.util import find_spec
from types import MappingProxyType

import pandas as pd
from sklearn.base import BaseEstimator

from mlkit.models.adapters import CheckedPipeline
from mlkit.models.families import dress, learner

TASKS = ("direction", "return", "level", "volatility", "drawdown")
OPTIONAL = ("torch", "skorch")


class UnknownModel(ValueError):
    """A name that is not in the catalogue."""


class MissingDependency(ImportError):
    """A package that a family needs is not installed."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What to know of a family before choosing it.

    task : what it can predict: "direction" (a classifier), "return", "level", "volatility", "drawdown"
    requires : packages it imports; avoid : when not to use it
    """

    family: str
    task: tuple[str, ...]
    strengths: str
    weaknesses: str
    requires: tuple[str, ...]
    avoid: str

    @property
    def is_installed(self) -> bool:
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages it needs that are not here."""
        return tuple(package for package in self.requires if not _is_here(package))

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{name}</th><td style='text-align: left'>{escape(_text(value))}</td></tr>"
                       for name, value in asdict(self).items())
        return f"<table>{rows}</table>"


CATALOGUE = MappingProxyType({
    "majority": ModelCard(
        "baseline", TASKS, "Nothing to overfit; the score every other model has to beat.",
        "Knows nothing but the average of its training labels.", ("sklearn",),
        "As a strategy: it is long, or out, for ever."),
    "linear": ModelCard(
        "linear", TASKS, "One solution, in a moment; a weight a feature to read.",
        "Correlated features share their weight at random; probabilities are clipped lines.", ("sklearn",),
        "Many features for few rows: use ridge."),
    "logistic": ModelCard(
        "linear", ("direction",), "Probabilities that mean what they say; penalised; hard to overfit.",
        "Straight boundaries only, unless the features bend them.", ("sklearn",),
        "When what matters is an interaction of features, or the size of the move."),
    "ridge": ModelCard(
        "linear", TASKS, "Least squares with a penalty: steady where features are many and alike.",
        "Straight lines only; the penalty has to be chosen.", ("sklearn",),
        "When few features matter a lot and the rest not at all."),
    "random_forest": ModelCard(
        "trees", TASKS, "Finds interactions and thresholds without scaling; shallow trees average noise away.",
        "Slow a row; cannot predict beyond the labels it saw; deep trees learn the training span by heart.",
        ("sklearn",), "For levels and trends; where a decision has to be made in microseconds."),
    "xgboost": ModelCard(
        "trees", TASKS, "The strongest on tables of features; fast; penalised in many ways.",
        "Every round fits what is left, and in the end that is noise: rounds and rate decide.", ("xgboost",),
        "With few rows, or when nobody will tune it out of sample."),
    "mlp": ModelCard(
        "neural", TASKS, "Smooth functions of many features at once; stopped by the last rows of its training span.",
        "Another seed is another model; needs scaling and many rows.", ("sklearn",),
        "Under a few thousand rows, or when a decision must be explained."),
    "arima": ModelCard(
        "time series", ("direction", "return", "level", "volatility"),
        "Knows time: forecasts from the series alone, with a standard error.",
        "One series, straight lines, a constant variance; sees no other feature and no label.", ("statsmodels",),
        "When the news is in other features, or the horizon is more than a bar."),
    "prophet": ModelCard(
        "time series", TASKS, "Trend and seasons of the calendar, readable, for demand, load and prices of energy.",
        "Sees time alone; liquid markets leave little of the calendar to earn.", ("prophet",),
        "For returns of liquid markets: here as the claim to be tested."),
    "lstm": ModelCard(
        "neural", TASKS, "Reads the order of events, without lags made by hand.",
        "Many parameters for few rows; slow; another seed is another model.", OPTIONAL,
        "On daily bars of one instrument, before something simpler has won."),
})


def model_table() -> pd.DataFrame:
    """The catalogue as a table: a row a name, the card's entries and whether it is installed."""
    rows = {name: {**{key: _text(value) for key, value in asdict(card).items()}, "installed": card.is_installed}
            for name, card in CATALOGUE.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def make_model(name: str, *, task: str = "direction", seed: int = 0, **params) -> CheckedPipeline:
    """An unfitted model of the catalogue.

    task : "direction" gives a classifier (for labels 0 and 1, most families -1, 0 and 1 too), with
        predict_proba and classes_; the others ("return", "level", "volatility", "drawdown") a regressor.
    seed : the same seed gives the same predictions, bit for bit
    params : of the family's own estimator: make_model("random_forest", n_estimators=50)

    Raises UnknownModel; ValueError for a task it cannot do and for a parameter it does not have;
    MissingDependency when its packages are not installed.
    """
    if name not in CATALOGUE:
        raise UnknownModel(f"There is no model {name!r}. The catalogue has {', '.join(CATALOGUE)}.")
    card = CATALOGUE[name]
    if task not in card.task:
        able = [other for other, its in CATALOGUE.items() if task in its.task]
        raise ValueError(f"{name} cannot do {task!r}: it does {', '.join(card.task)}. " +
                         (f"For {task}: {', '.join(able)}." if able else f"Tasks are {', '.join(TASKS)}."))
    if card.missing:
        optional = set(card.missing) <= set(OPTIONAL)
        raise MissingDependency(
            f"{name} needs {' and '.join(card.missing)}: pip install -r requirements"
            + ("-deep.txt (in the course: make course DEEP=1)." if optional else ".txt"))
    return dress(_configured(learner(name, task=task, seed=seed), params, name), name, task)


def _configured(estimator: BaseEstimator, params: dict, name: str) -> BaseEstimator:
    offered = sorted(set(estimator.get_params(deep=False)) - {"random_state"})
    unknown = [param for param in params if param not in offered]
    if unknown:
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}. It has {', '.join(offered) or 'none'}; its "
                         "random numbers follow from seed.")
    return estimator.set_params(**params)


def _is_here(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # there, but kept from being imported
        return False


def _text(value) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
