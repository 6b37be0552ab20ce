"""Prophet: the label as a function of the calendar, and of nothing else.

Part of `mlkit.models`. Trend and seasons are fitted to the training labels at their decision times;
a forecast asks the calendar alone. It sees no feature and no bar of the test, so what it earns
is what the calendar knows.

    model = make_model("prophet").fit(X_train, y_train)
    model.predict_proba(X_test)          # from X_test.index
"""

import logging
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mlkit.models.adapters import refuse_other_than_up_and_down

CHATTY = ("prophet", "prophet.forecaster", "prophet.models", "prophet.plot", "cmdstanpy")
LEAST, MOST = 0.01, 0.99  # a season fitted to labels of 0 and 1 is a sum: it may leave [0, 1]


class _Prophet(BaseEstimator):
    """What the two have in common.

    growth : "flat" (no trend) or "linear" (with changepoints)
    yearly_seasonality, weekly_seasonality, daily_seasonality : "auto" (where the training span
        has two periods), True, False or a number of Fourier terms
    changepoint_prior_scale, seasonality_prior_scale : how far trend and seasons may bend; less is flatter
    random_state : seed of the optimiser's start

    `model_` is Prophet's own JSON: plain text, which any later Prophet reads.

    Taylor & Letham (2018), Forecasting at Scale. Raises ValueError for X without a DatetimeIndex.
    """

    context = 0  # the row's own time is all it takes

    def __init__(self, growth="flat", yearly_seasonality="auto", weekly_seasonality="auto", daily_seasonality="auto",
                 changepoint_prior_scale=0.05, seasonality_prior_scale=0.1, random_state=0):
        self.growth = growth
        self.yearly_seasonality = yearly_seasonality
        self.weekly_seasonality = weekly_seasonality
        self.daily_seasonality = daily_seasonality
        self.changepoint_prior_scale = changepoint_prior_scale
        self.seasonality_prior_scale = seasonality_prior_scale
        self.random_state = random_state

    def _fit(self, X, y):
        table = pd.DataFrame({"ds": _calendar(X), "y": np.asarray(y, dtype=float)})
        options = self.get_params()
        seed = options.pop("random_state")
        with _quiet():
            from prophet import Prophet
            from prophet.serialize import model_to_json
            self.model_ = model_to_json(Prophet(**options, uncertainty_samples=0).fit(table, seed=seed))
        return self

    def _forecast(self, X) -> np.ndarray:
        check_is_fitted(self)
        with _quiet():
            from prophet.serialize import model_from_json
            return model_from_json(self.model_).predict(pd.DataFrame({"ds": _calendar(X)}))["yhat"].to_numpy()


class ProphetRegressor(RegressorMixin, _Prophet):
    __doc__ = "The label to be expected at a time of the calendar.\n" + _Prophet.__doc__

    def fit(self, X, y):
        return self._fit(X, y)

    def predict(self, X) -> np.ndarray:
        return self._forecast(X)


class ProphetClassifier(ClassifierMixin, _Prophet):
    __doc__ = "The probability of a 1 at a time of the calendar, between 0.01 and 0.99.\n" + _Prophet.__doc__

    def fit(self, X, y):
        self.classes_ = refuse_other_than_up_and_down(y, "Prophet")
        return self._fit(X, y)

    def predict_proba(self, X) -> np.ndarray:
        rises = np.clip(self._forecast(X), LEAST, MOST)
        return np.column_stack([1.0 - rises, rises])

    def predict(self, X) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def _calendar(X) -> pd.DatetimeIndex:
    """The decision times (n,), without a time zone: those of UTC."""
    if not isinstance(getattr(X, "index", None), pd.DatetimeIndex):
        raise ValueError("Prophet knows nothing but the time: X needs a DatetimeIndex.")
    return X.index.tz_convert("UTC").tz_localize(None) if X.index.tz else X.index


@contextmanager
def _quiet():
    """Prophet and Stan tell every step they take; until they are done, these loggers alone drop it.

    And Prophet 1.5 still calls pandas as pandas 4 will no longer allow: not for us to mend, nor a learner to read.
    """
    def silence(record):
        return False

    loggers = [logging.getLogger(name) for name in CHATTY]
    for logger in loggers:
        logger.addFilter(silence)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="prophet")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(silence)
