"""Forecasts of volatility: how far the close will move in each of the next bars, from the returns so far.

Part of `mlkit.models`, and sequence models all: row t of what they predict uses rows up to t of X. They
read its column return_1, as LaggedReturns(1) makes it, and speak in the unit of `next_volatility`: the
standard deviation of a close return, a fraction per bar, above 0 as soon as a close has moved.

>>> from mlkit import LaggedReturns, load_bars
>>> X = LaggedReturns(1)(load_bars("GE")).dropna()
>>> EWMA().predict(X)[X.index.get_indexer(["1987-10-16", "1987-10-19"])].round(3)  # Black Monday
array([0.028, 0.051])

Each has `warm_up`, the earlier rows without which a forecast, given all the same, is made of too little;
`context`, how many it uses, None for all; and `requires_fit`, False where nothing is learnt: it predicts
without `fit` too. All raise ValueError for X without return_1, with NaN in it or out of order, and in
`fit` for returns that do not move or are too few.
"""

import warnings
from math import ceil, log

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from mlkit.features.indicators import refuse_twice, whole_number
from mlkit.models.arima import clock
from mlkit.rolling import rolling_mean, rolling_moments

FORGOTTEN = 0.01  # what all earlier returns may still weigh when an average is warm; RiskMetrics' tolerance level
ROWS_A_COEFFICIENT = 10  # from fewer a regression learns noise
LEAST_ROWS = 100  # from fewer the likelihood tells persistence from chance no more


class _Volatility(RegressorMixin, BaseEstimator):
    """What the four have in common."""

    series = "return_1"
    context = None
    requires_fit = True

    def fit(self, X, y=None):
        self._check()
        returns, least = _returns(X), self._least_rows
        if len(returns) < least:
            raise ValueError(f"{self} needs {least} training rows or more, not {len(returns)}.")
        if not np.ptp(returns) > 1e-12 * np.abs(returns).max():
            raise ValueError(f"return_1 does not move in {len(returns)} training rows: there is no volatility.")
        self._learn(returns, X, y)
        return self

    def predict(self, X) -> np.ndarray:
        """The volatility to come, seen from each row, (n,)."""
        check_is_fitted(self)
        self._check()
        return self._forecast(_returns(X), X)

    @property
    def _least_rows(self) -> int:
        return self.warm_up + 2

    def _learn(self, returns, X, y):
        pass

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.requires_fit
        return tags


class Naive(_Volatility):
    """The yardstick: the volatility of the last `window` bars, for those to come.

    It is the sample standard deviation (ddof=1), of which `next_volatility` is the twin ahead. Where nothing
    moved in the window, it is that of the last window in which something did; 0 before anything has. The
    first window - 1 rows, which have fewer bars, take the root of the mean square of those.
    """

    requires_fit = False

    def __init__(self, window=5):
        self.window = window

    @property
    def warm_up(self) -> int:
        return self.window - 1

    def _check(self):
        whole_number(self.window, "window", least=2)

    def _forecast(self, returns, X):
        volatility = rolling_moments(returns, self.window)[1]
        volatility = np.where(np.isnan(volatility), _trailing(returns, self.window), volatility)
        last_moved = np.maximum.accumulate(np.where(volatility > 0, np.arange(len(volatility)), 0))
        return volatility[last_moved]


class EWMA(_Volatility):
    """The root of an exponentially weighted mean of squared returns, the same for every horizon.

    decay : of the weight, a bar. J.P. Morgan/Reuters (1996), RiskMetrics Technical Document, 4th edition,
        section 5.2: 0.94 for days, around a mean of 0

    There is nothing to learn, and no start value: the weights of the rows at hand are made to sum to 1, so
    the first forecast is the first absolute return. Warm when all rows before weigh less than 1 %: after
    75 rows at 0.94. 0 as long as nothing has moved.
    """

    requires_fit = False

    def __init__(self, decay=0.94):
        self.decay = decay

    @property
    def warm_up(self) -> int:
        return ceil(log(FORGOTTEN) / log(self.decay)) - 1

    def _check(self):
        if not 0 < self.decay < 1:
            raise ValueError(f"decay is a number between 0 and 1, not {self.decay!r}.")

    def _forecast(self, returns, X):
        squares, weights = (_recursion(self.decay, values, 0.0) for values in (returns**2, np.ones(len(returns))))
        return np.sqrt(squares / weights)


class HAR(_Volatility):
    """Least squares of the volatility to come on those of the last day, week and month.

    windows : bars of each trailing volatility: the root of its mean squared return, for one bar the
        absolute return. Corsi (2009), "A simple approximate long-memory model of realized volatility",
        J. Financial Econometrics 7, 174-196, with returns a bar in place of returns within it

    Learns from labels of `next_volatility` over any horizon: `coef_` (one a window) and `intercept_`, from
    the training rows whose longest window is full. A line may go below 0: no forecast is less than
    `least_`, the smallest training label above 0. The first rows of a table use the bars there are.
    """

    def __init__(self, windows=(1, 5, 22)):
        self.windows = windows

    @property
    def context(self) -> int:
        return self.warm_up

    @property
    def warm_up(self) -> int:
        return max(self.windows) - 1

    @property
    def _least_rows(self) -> int:
        return self.warm_up + ROWS_A_COEFFICIENT * (len(self.windows) + 1)

    def _check(self):
        if not np.iterable(self.windows) or not len(self.windows):
            raise ValueError(f"windows are numbers of bars, at least one, not {self.windows!r}.")
        refuse_twice([f"volatility_{whole_number(window, 'A window')}" for window in self.windows])

    def _learn(self, returns, X, y):
        labels = np.asarray(y, dtype=float)
        if labels.shape != returns.shape or not (np.isfinite(labels) & (labels >= 0)).all() or not labels.any():
            raise ValueError("HAR learns from a volatility a row of X, finite, 0 or above and not all 0: take those of "
                             "next_volatility, and drop the rows that have none.")
        columns = [np.ones(len(returns)), *self._trailing(returns)]
        with threadpool_limits(limits=1, user_api="blas"):
            found = np.linalg.lstsq(np.column_stack(columns)[self.warm_up :], labels[self.warm_up :])[0]
        self.intercept_, self.coef_ = float(found[0]), found[1:]
        self.least_ = float(labels[labels > 0].min())

    def _forecast(self, returns, X):
        terms = [weight * column for weight, column in zip(self.coef_, self._trailing(returns))]
        return np.maximum(self.intercept_ + sum(terms), self.least_)

    def _trailing(self, returns) -> list[np.ndarray]:
        return [_trailing(returns, window) for window in self.windows]


class GARCH(_Volatility):
    """GARCH(1,1) around a constant mean, with normal errors: its volatility over the next `horizon` bars.

    The variance of the next bar is omega + alpha (return - mean)^2 + beta (variance of this bar): Bollerslev
    (1986), J. Econometrics 31, 307-327. That of each bar after it is expected to be omega + (alpha + beta)
    times the one before; the forecast is the root of the mean of `horizon` of them.

    Learnt by maximum likelihood (arch), from training rows alone and as plain numbers: `params_` (mean, omega,
    alpha, beta; of returns divided by `scale_`, their standard deviation), `start_` and `state_` (variance of the
    first training row and of the row after the last, in that unit; the first from arch's mean of the first
    75 squares), `last_` (index of the last row) and `converged_`, False where the likelihood's maximum was
    not found: the parameters are then those at which the search gave up.

    Rows of X later than the training rows go on from `state_`; earlier ones are taken on their own, from
    `start_` on. Nothing is estimated again.
    """

    warm_up = 0

    def __init__(self, horizon=5):
        self.horizon = horizon

    @property
    def _least_rows(self) -> int:
        return LEAST_ROWS

    def _check(self):
        whole_number(self.horizon, "horizon")

    def _learn(self, returns, X, y):
        self.scale_ = float(np.std(returns))
        found = estimated(returns / self.scale_)
        self.params_ = np.array(found.params)
        self.converged_ = bool(found.optimization_result.success)
        self.last_ = clock(X)[-1]
        self.start_ = float(found.conditional_volatility[0] ** 2)
        self.state_ = float(self._next_variance(returns, self.start_)[-1])

    def _forecast(self, returns, X):
        _, omega, alpha, beta = self.params_
        later = clock(X) > self.last_
        variance = self._next_variance(returns, self.start_)
        if later.any():  # training may have begun long after the table
            variance[later] = self._next_variance(returns[later], self.state_)
        left = (alpha + beta) ** np.arange(self.horizon)  # of the next bar's variance, in each bar to come
        added = np.append(0.0, np.cumsum(left)[:-1])  # omegas on the way to it
        return self.scale_ * np.sqrt(omega * added.mean() + variance * left.mean())

    def _next_variance(self, returns, first: float) -> np.ndarray:
        """The variance of the row after each row, (n,), given that of the first row."""
        mean, omega, alpha, beta = self.params_
        return _recursion(beta, omega + alpha * (returns / self.scale_ - mean) ** 2, first)


def estimated(scaled: np.ndarray):
    """What arch finds for a GARCH(1,1) with a constant mean in returns (n,) divided by about their deviation.

    A deviation of 1 as no other scale suits pegged currencies too: where returns in percent are tiny, the
    search stops short of the maximum.
    """
    from arch import arch_model  # here, as it imports statsmodels
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():  # a fit leaves a filter behind
        return arch_model(scaled, rescale=False).fit(disp="off", show_warning=False)


def _returns(X) -> np.ndarray:
    """The column return_1 (n,), checked."""
    columns = list(X.columns) if isinstance(X, pd.DataFrame) else []
    if "return_1" not in columns:
        raise ValueError(f"A forecast of volatility reads the column return_1 of X, a DataFrame, and there is "
                         f"{', '.join(map(str, columns)) or 'no column name'}: add LaggedReturns(1) to the FeatureSet.")
    clock(X)
    values = X["return_1"].to_numpy(dtype=float)
    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing):
        raise ValueError(f"return_1 has {len(missing)} missing or infinite values, the first in row "
                         f"{X.index[missing[0]]}: drop those rows, such as the first bar, which has no return.")
    return values


def _trailing(returns: np.ndarray, window: int) -> np.ndarray:
    """The root of the mean square of the last `window` returns, (n,); of those there are in the first rows."""
    squares = returns**2
    mean = rolling_mean(squares, window)
    fewer = squares[: window - 1]
    mean[: window - 1] = np.cumsum(fewer) / np.arange(1, len(fewer) + 1)
    return np.sqrt(mean)


def _recursion(decay: float, values: np.ndarray, first: float) -> np.ndarray:
    """state = value + decay x state before, (n,), `first` being the state before the first value."""
    from scipy.signal import lfilter  # here, as it takes longer to import than pandas
    return lfilter([1.0], [1.0, -decay], values, zi=[decay * first])[0]
