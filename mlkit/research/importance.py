"""Which features matter: three ways to ask, all of them out of sample or said not to be.

Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 8. Two features that say
the same share the credit in the first two, and not in the third.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.inspection import permutation_importance as permute
from threadpoolctl import threadpool_limits

from mlkit.models.scoring import last_step, name_of
from mlkit.research.out_of_sample import aligned, checked_folds, walk_forward


def permutation_importance(model, X, y, splitter, *, n_repeats: int = 10, seed: int = 0, n_jobs: int = 1) -> pd.DataFrame:
    """What the test score loses when one column is shuffled ("mean decrease accuracy").

    The model is fitted on each train set and scored on its test set (log loss of a classifier, R2 of
    a regressor), purged as the splitter purges; within that test set one column at a time is put in
    random order `n_repeats` times. Arguments as for `walk_forward`.

    Returns DataFrame (k, 3), largest first: importance (mean over the folds), standard_error, folds.
    """
    X, y, _, _ = aligned(X, y, splitter)

    def lost(train, test):
        with threadpool_limits(1):
            fitted = clone(model).fit(X.iloc[train], y.iloc[train])
            score = "neg_log_loss" if hasattr(fitted, "predict_proba") else "r2"
            return permute(fitted, X.iloc[test], y.iloc[test], scoring=score, n_repeats=n_repeats,
                           random_state=seed).importances_mean

    return _summary(_each_fold(lost, X, y, splitter, n_jobs), X.columns)


def impurity_importance(model, X, y, splitter, *, n_jobs: int = 1) -> pd.DataFrame:
    """How much the splits of trees on a column made them purer ("mean decrease impurity").

    Measured on the rows the trees were TRAINED on, so noise scores too, and a column of many values
    more than one of few. The columns of a fold add up to 1. Arguments and result as for
    `permutation_importance`; raises ValueError for a model without `feature_importances_`.
    """
    X, y, _, _ = aligned(X, y, splitter)

    def purer(train, _):
        with threadpool_limits(1):
            fitted = last_step(clone(model).fit(X.iloc[train], y.iloc[train]))
        if not hasattr(fitted, "feature_importances_"):
            raise ValueError(f"{name_of(model)} is not made of trees: it has no feature_importances_.")
        return np.asarray(fitted.feature_importances_, dtype=float)

    return _summary(_each_fold(purer, X, y, splitter, n_jobs), X.columns)


def single_feature_importance(model, X, y, splitter, *, n_jobs: int = 1) -> pd.DataFrame:
    """The test score of the model with one column alone, less that of knowing nothing.

    Knowing nothing is an accuracy of 1/2 for a classifier and an R2 of 0 for a regressor.
    Arguments and result as for `permutation_importance`.
    """
    columns = {}
    for column in X.columns:
        found = walk_forward(model, X[[column]], y, splitter, n_jobs=n_jobs)
        columns[column] = found.folds["test_score"] - (0.5 if found.task == "direction" else 0.0)
    return _summary(pd.DataFrame(columns).to_numpy(), X.columns)


def _each_fold(work, X, y, splitter, n_jobs) -> np.ndarray:
    folds = checked_folds(splitter, X, y)
    return np.array(Parallel(n_jobs=min(n_jobs, len(folds)))(delayed(work)(train, test) for train, test in folds))


def _summary(values: np.ndarray, columns) -> pd.DataFrame:
    """Mean and standard error over the folds of values (folds, k), largest first."""
    folds = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(folds) if folds > 1 else np.full(len(columns), np.nan)
    table = pd.DataFrame({"importance": values.mean(axis=0), "standard_error": error, "folds": folds}, columns)
    return table.sort_values("importance", ascending=False, kind="stable").rename_axis("feature")
