"""The families' common dress: one pipeline, and what a library's estimator lacks for ours.

Part of `mlkit.models`. Every model is a `CheckedPipeline` whose last step is its family's own
estimator. The rest adapts one: least squares to labels (`LinearProbability`), labels to 0..k-1
(`EncodedClassifier`), early stopping to time (`EarlyStoppedClassifier`, `EarlyStoppedRegressor`).

>>> import numpy as np
>>> from sklearn.linear_model import LinearRegression
>>> model = LinearProbability(LinearRegression()).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
>>> model.predict_proba([[1.0], [9.0]]).round(2)
array([[0.7, 0.3],
       [0. , 1. ]])
"""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, RegressorMixin, clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

TINY = 1e-12  # the least probability of one class of several: a row of them always has a sum


class CheckedPipeline(Pipeline):
    """An sklearn Pipeline that refuses what families would treat each in its own way.

    Raises ValueError for a missing or infinite value (trees would take it for news), and for a
    classifier's training labels that are all the same (`majority` alone takes them).

    name : str, of the family in the catalogue: what its last step is called
    """

    @property
    def name(self) -> str:
        return self.steps[-1][0]

    def fit(self, X, y, **params):
        X, y = refuse_missing(X, "X"), refuse_missing(y, "y")
        if is_classifier(self) and not isinstance(self[-1], DummyClassifier):
            refuse_one_class(y)
        return super().fit(X, y, **params)

    def predict(self, X, **params):
        return super().predict(refuse_missing(X, "X"), **params)

    @available_if(lambda self: hasattr(self[-1], "predict_proba"))
    def predict_proba(self, X, **params):
        return super().predict_proba(refuse_missing(X, "X"), **params)


class LinearProbability(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Labels as a linear regression's target: the linear probability model.

    regressor : an sklearn regressor. Two classes: it fits the second as 1, the first as 0, and what
    it predicts, clipped to [0, 1], is the probability. More: one target a class, clipped and
    scaled to a sum of 1.
    """

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y):
        check_classification_targets(y)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        target = codes.astype(float) if len(self.classes_) == 2 else np.eye(len(self.classes_))[codes]
        self.regressor_ = clone(self.regressor).fit(X, target)
        return self

    def predict_proba(self, X) -> np.ndarray:
        check_is_fitted(self)
        value = self.regressor_.predict(X)
        if value.ndim == 1:
            rises = np.clip(value, 0.0, 1.0)
            return np.column_stack([1.0 - rises, rises])
        share = np.clip(value, TINY, 1.0)
        return share / share.sum(axis=1, keepdims=True)

    def predict(self, X) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class EncodedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Any labels (-1, 0, 1) for a classifier that wants 0, 1, ..., k-1, as XGBoost does.

    classifier : an sklearn classifier.
    """

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        check_classification_targets(y)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        self.classifier_ = clone(self.classifier).fit(X, codes)
        return self

    @property
    def feature_importances_(self) -> np.ndarray:
        return self.classifier_.feature_importances_

    def predict_proba(self, X) -> np.ndarray:
        check_is_fitted(self)
        return self.classifier_.predict_proba(X)

    def predict(self, X) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class _EarlyStopped(MetaEstimatorMixin, BaseEstimator):
    """Training that ends when the last rows of the training span are predicted no better.

    network : an sklearn MLP. Its `max_iter`, `n_iter_no_change`, `tol` and `validation_fraction` mean
    what they mean in scikit-learn's early stopping, which holds back random rows. Neighbours in
    time are alike, so random rows flatter a network that remembers: here the last ones are held back.
    `n_epochs_` is the epoch whose weights were kept.
    """

    def __init__(self, network):
        self.network = network

    def _fit(self, X, y, **first_call):
        network = clone(self.network)
        # One generator for all epochs: from the bare seed each epoch would see the same order.
        network.set_params(random_state=np.random.RandomState(self.network.random_state))
        X, y = np.asarray(X), np.asarray(y)
        n_training = len(X) - max(1, round(network.validation_fraction * len(X)))
        if n_training < 1:
            raise ValueError(f"{len(X)} rows are too few to train on the first of them and stop by the last.")
        least = np.inf
        waited = 0
        for epoch in range(1, network.max_iter + 1):
            network.partial_fit(X[:n_training], y[:n_training], **first_call)
            loss = self._loss(network, X[n_training:], y[n_training:])
            waited = 0 if loss < least - network.tol else waited + 1
            if loss < least:
                least, self.n_epochs_ = loss, epoch
                kept = [weights.copy() for weights in network.coefs_ + network.intercepts_]
            if waited >= network.n_iter_no_change:
                break
        n_layers = len(network.coefs_)
        network.coefs_, network.intercepts_ = kept[:n_layers], kept[n_layers:]
        del network._optimizer, network._random_state  # of use in training alone, and not to be stored
        self.network_ = network.set_params(random_state=self.network.random_state)
        self.n_features_in_ = network.n_features_in_
        return self

    def predict(self, X) -> np.ndarray:
        check_is_fitted(self)
        return self.network_.predict(np.asarray(X))


class EarlyStoppedClassifier(ClassifierMixin, _EarlyStopped):
    __doc__ = _EarlyStopped.__doc__

    def fit(self, X, y):
        self.classes_ = np.unique(np.asarray(y))
        return self._fit(X, y, classes=self.classes_)

    def _loss(self, network, X, y) -> float:
        return log_loss(y, network.predict_proba(X), labels=self.classes_)

    def predict_proba(self, X) -> np.ndarray:
        check_is_fitted(self)
        return self.network_.predict_proba(np.asarray(X))


class EarlyStoppedRegressor(RegressorMixin, _EarlyStopped):
    __doc__ = _EarlyStopped.__doc__

    def fit(self, X, y):
        return self._fit(X, y)

    def _loss(self, network, X, y) -> float:
        return mean_squared_error(y, network.predict(X))


# ---- what every family refuses


def refuse_missing(table, name: str):
    """`table` (n,) or (n, k) as it came; ValueError at its first missing or infinite value."""
    values = np.asarray(table)
    if values.dtype.kind not in "fO":
        return table
    bad = ~np.isfinite(values) if values.dtype.kind != "O" else pd.isna(values)
    if not bad.any():
        return table
    where = np.argwhere(bad)
    row = where[0][0]
    place = f"row {table.index[row] if isinstance(table, (pd.DataFrame, pd.Series)) else row}"
    if isinstance(table, pd.DataFrame):
        place = f"column {table.columns[where[0][1]]}, {place}"
    raise ValueError(f"{name} has {len(where)} missing or infinite values, the first in {place}: leave out the rows "
                     "where a feature or the label is not known yet (walk_forward does).")


def refuse_one_class(y) -> None:
    """ValueError for labels (n,) that are all the same."""
    labels = pd.unique(np.ravel(y))
    if len(labels) < 2:
        raise ValueError(f"All {len(np.ravel(y))} training labels are {', '.join(map(str, labels))}: there is nothing "
                         "to learn. Train on a longer span, or choose other labels.")


def refuse_other_than_up_and_down(y, name: str) -> np.ndarray:
    """The classes (2,) of labels 0 and 1; ValueError for any other."""
    classes = np.unique(np.asarray(y))
    if len(classes) != 2 or (classes != [0, 1]).any():
        raise ValueError(f"{name} tells up from down, so labels are 0 and 1 (labels.direction), not "
                         f"{', '.join(map(str, classes))}: choose another family for those.")
    return classes
