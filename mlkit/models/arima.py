"""ARIMA: the next value of one series, from that series alone.

Part of `mlkit.models`, and a sequence model: row t of what it predicts uses rows up to t of X.
It forecasts the next close return (or volatility, or close), one step ahead, and never looks
at the labels beyond a check. With labels on opens the label of t-1 ends after the close of
t: at the decision nobody knows it, so a model that went on from label to label would look ahead.

>>> import numpy as np, pandas as pd
>>> noise = np.random.default_rng(0).normal(0, 0.01, 300)
>>> X = pd.DataFrame({"return_1": noise[1:] - 0.5 * noise[:-1]}, index=pd.bdate_range("2024-01-01", periods=299))
>>> model = ArimaRegressor(order=(0, 0, 1)).fit(X[:200], np.zeros(200))
>>> bool(np.corrcoef(model.predict(X)[200:-1], X["return_1"][201:])[0, 1] > 0.2)
True
"""

import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
from scipy.special import ndtr
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from mlkit.models.adapters import refuse_other_than_up_and_down

HOW_TO_ADD = {"return_1": "LaggedReturns(1)", "volatility_": "Volatility(20)",
              "close": '{"close": lambda bars: bars["close"]}'}


class _Arima(BaseEstimator):
    """What the two have in common.

    series : the column of X to model; a name that ends in _ means the first column that begins so
    order : (p, d, q) autoregressive terms, differences, moving-average terms
    trend : "c" a constant mean, "n" none; a differenced series takes "n", or "t" for a drift

    Learnt, as plain arrays: `params_` (of the series divided by `scale_`, its standard deviation
    after differencing), `training_` (the series so divided), `last_` (the index of its last row) and
    `converged_`, False where the likelihood's maximum was not found: the forecasts are then those
    of the best parameters met.

    Rows of X later than the training rows are forecast on from them. A table that begins earlier
    is taken on its own, from its first row on: as `walk_forward` does it, with all rows
    before the first of interest. Nothing is estimated again.

    Box & Jenkins (1970); Durbin & Koopman (2012), chapter 4, for the filter. Raises ValueError for
    a table without the column, out of order, or with a series that does not move.
    """

    context = None  # every row before counts

    def __init__(self, series="return_1", order=(1, 0, 1), trend="c"):
        self.series = series
        self.order = order
        self.trend = trend

    def _fit(self, X):
        values = self._values(X)
        spread = float(np.std(np.diff(values, self.order[1])))
        if not spread > 1e-12 * np.abs(values).max():
            raise ValueError(f"{self.series} does not move in {len(values)} training rows: nothing to forecast.")
        self.scale_ = spread  # the likelihood is searched in units of 1, not of 1 %
        self.training_ = values / spread
        self.last_ = clock(X)[-1]
        with _undisturbed():
            results = self._model(self.training_).fit()
        self.params_ = np.array(results.params)
        self.converged_ = bool(results.mle_retvals["converged"])
        return self

    def _forecast(self, X) -> tuple[np.ndarray, np.ndarray]:
        """Each row's forecast of the value after it, and its standard error: (n,) each, in units of the series."""
        check_is_fitted(self)
        values = self._values(X) / self.scale_
        history = self.training_ if clock(X)[0] > self.last_ else values[:0]
        together = np.concatenate([history, values])
        with _undisturbed():
            results = self._model(together).filter(self.params_)
            ahead = results.get_prediction(start=len(history) + 1, end=len(together))
        return np.asarray(ahead.predicted_mean) * self.scale_, np.asarray(ahead.se_mean) * self.scale_

    def _model(self, values):
        from statsmodels.tsa.arima.model import ARIMA
        return ARIMA(values, order=tuple(self.order), trend=self.trend)

    def _values(self, X) -> np.ndarray:
        columns = list(X.columns) if isinstance(X, pd.DataFrame) else []
        found = [name for name in columns if name == self.series
                 or (self.series.endswith("_") and str(name).startswith(self.series))]
        if not found:
            add = HOW_TO_ADD.get(self.series, f'{{"{self.series}": a function of bars}}')
            raise ValueError(f"ARIMA models the column {self.series} of X, a DataFrame, and there is "
                             f"{', '.join(map(str, columns)) or 'no column name'}: add {add} to the FeatureSet, or "
                             "name another with series=...")
        return X[found[0]].to_numpy(dtype=float)


class ArimaRegressor(RegressorMixin, _Arima):
    __doc__ = "The forecast of the next value.\n" + _Arima.__doc__

    def fit(self, X, y):
        return self._fit(X)

    def predict(self, X) -> np.ndarray:
        return self._forecast(X)[0]


class ArimaClassifier(ClassifierMixin, _Arima):
    __doc__ = "The probability that the next value is above 0, by a normal law of its error.\n" + _Arima.__doc__

    def fit(self, X, y):
        self.classes_ = refuse_other_than_up_and_down(y, "ARIMA")
        return self._fit(X)

    def predict_proba(self, X) -> np.ndarray:
        forecast, error = self._forecast(X)
        return ndtr(np.column_stack([-forecast, forecast]) / error[:, None])

    def predict(self, X) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def clock(X) -> np.ndarray:
    """The index as numbers (n,), nanoseconds for times. Raises ValueError unless it increases."""
    times = X.index.as_unit("ns").asi8 if isinstance(X.index, pd.DatetimeIndex) else X.index.to_numpy(dtype=float)
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        raise ValueError(f"A sequence model reads rows in the order of time: {X.index[late[0] + 1]} comes after "
                         f"{X.index[late[0]]}. Sort X by its index.")
    return times


@contextmanager
def _undisturbed():
    """One thread, as the matrices are tiny and several make a fit many times slower; and no warnings.

    What statsmodels warns of in a fit is kept in `converged_`; in a forecast it is starting values nobody uses.
    """
    import statsmodels.tsa.arima.model  # noqa: F401  first, as its import sets warning filters of its own
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
