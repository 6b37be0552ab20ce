"""What every fitted model says about a row, and a schedule of models that take turns.

A model's score is its probability of class 1 (a rise) where it has probabilities, its
prediction where it has not. A sequence model also needs the rows before: it says how many
in `context` (None: all there are), and `scores_of` sees that it gets them.

>>> import pandas as pd
>>> from sklearn.dummy import DummyRegressor
>>> X = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}, index=pd.date_range("2024-01-01", periods=4))
>>> models = [DummyRegressor(strategy="constant", constant=c).fit(X, X["x"]) for c in (5.0, 7.0)]
>>> Schedule(models, X.index[[1, 3]]).scores(X)
array([nan,  5.,  5.,  7.])
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError


def last_step(model):
    """The model itself, or the last step of a pipeline."""
    return model.steps[-1][1] if hasattr(model, "steps") else model


def name_of(model) -> str:
    """Its name in the catalogue, or else its class (of the last step when it is a pipeline)."""
    if isinstance(model, Schedule):
        return name_of(model[-1])
    return getattr(model, "name", None) or type(last_step(model)).__name__


def context_of(model) -> int | None:
    """How many earlier rows it needs to score a row: 0 for most, None for all there are."""
    return getattr(last_step(model), "context", 0)


def scores_of(model, X: pd.DataFrame, start: int = 0) -> np.ndarray:
    """A fitted model's scores of the rows from `start` on, (len(X) - start,) float64.

    X : features, (n, k), in the order of time; rows before `start` serve sequence models as context
    A Schedule gives NaN before its first model. Raises ValueError for a model that is not
    fitted, knows no class 1, or gives another number of scores or NaN.
    """
    if isinstance(model, Schedule):
        return model.scores(X, start)
    context = context_of(model)
    first = 0 if context is None else max(start - context, 0)
    rows = X.iloc[first:]
    try:
        scores = _probability(model, rows) if hasattr(model, "predict_proba") else model.predict(rows)
    except NotFittedError as error:
        raise ValueError(f"{name_of(model)} has not been fitted: fit it on the past before it decides") from error
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (len(rows),):
        raise ValueError(f"{name_of(model)} gave scores of shape {scores.shape} for {len(rows)} rows")
    scores = scores[start - first :]
    if np.isnan(scores).any():
        raise ValueError(f"{name_of(model)} gave NaN on {X.index[start:][np.isnan(scores)][0]}, where a score is due")
    return scores


def _probability(model, rows: pd.DataFrame) -> np.ndarray:
    """The probability of class 1: of the second of two columns for a model that names no classes."""
    probabilities = np.asarray(model.predict_proba(rows))
    classes = list(getattr(model, "classes_", range(probabilities.shape[-1])))
    if 1 not in classes:
        raise ValueError(f"{name_of(model)} knows the classes {classes}, and none of them is 1, a rise")
    return probabilities[:, classes.index(1)]


class Schedule:
    """Fitted models in the order in which they take over, each from the bar at which it was fitted.

    models : fitted estimators
    starts : DatetimeIndex, increasing: the first bar each of them decides; the last goes on to the end
    obstacle : why these may not trade, if something in how they were fitted speaks against it

    A sequence of its models; `.starts`, `.names` (`name_of` and first day), `.context` (the most any of
    them needs). It holds nothing but models, numbers and words, so `save_model` can store it.
    Raises ValueError for starts that do not increase or do not match the models.
    """

    def __init__(self, models, starts: pd.DatetimeIndex, obstacle: str = ""):
        self._models, self.obstacle = list(models), obstacle
        if not isinstance(starts, pd.DatetimeIndex) or len(starts) != len(self._models) or not len(starts):
            raise ValueError("A schedule is one or more models with a DatetimeIndex of as many starts.")
        if not obstacle and not (starts.is_monotonic_increasing and starts.is_unique):
            raise ValueError("The starts of a schedule increase: each model takes over from the one before.")
        self._nanoseconds = starts.as_unit("ns").asi8
        self._zone = "" if starts.tz is None else str(starts.tz)

    @property
    def starts(self) -> pd.DatetimeIndex:
        starts = pd.DatetimeIndex(self._nanoseconds)
        return starts.tz_localize("UTC").tz_convert(self._zone) if self._zone else starts

    @cached_property
    def names(self) -> list[str]:
        days = (self.starts == self.starts.normalize()).all()
        return [f"{name_of(model)} {start:{'%Y-%m-%d' if days else '%Y-%m-%d %H:%M'}}"
                for model, start in zip(self._models, self.starts)]

    @property
    def context(self) -> int | None:
        needs = [context_of(model) for model in self._models]
        return None if None in needs else max(needs)

    def check_tradable(self) -> None:
        """Raises ValueError with the obstacle, if there is one."""
        if self.obstacle:
            raise ValueError(f"These models may not trade. {self.obstacle}")

    def turns(self, index: pd.DatetimeIndex) -> np.ndarray:
        """Which model decides at each timestamp, (n,) positions in the schedule; -1 before the first."""
        if (index.tz is None) != (not self._zone):
            raise ValueError("The schedule and the bars are on different clocks: one has a time zone, the other not.")
        return np.searchsorted(self._nanoseconds, index.as_unit("ns").asi8, side="right") - 1

    def scores(self, X: pd.DataFrame, start: int = 0) -> np.ndarray:
        """As `scores_of`, each row by the model whose turn it is; NaN before the first."""
        turns = self.turns(X.index)
        scores = np.full(len(X) - start, np.nan)
        for turn in np.unique(turns[start:]):
            if turn >= 0:
                first, end = (np.searchsorted(turns, turn, side=side) for side in ("left", "right"))
                first = max(first, start)
                scores[first - start : end - start] = scores_of(self._models[turn], X.iloc[:end], first)
        return scores

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, item):
        return self._models[item]

    def __repr__(self) -> str:
        count = "1 model" if len(self) == 1 else f"{len(self)} models"
        return f"Schedule({count}: {self.names[0]} to {self.names[-1]})"
