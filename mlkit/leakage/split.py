"""Do training labels reach into the test? Counted by intervals of time, never by a number of rows.

>>> import pandas as pd
>>> from sklearn.model_selection import TimeSeriesSplit
>>> days = pd.date_range("2024-01-01", periods=60)
>>> X, end = pd.DataFrame({"x": 0.0}, days), pd.Series(days + pd.Timedelta("3D"), days)
>>> audit_split(TimeSeriesSplit(2), X, end).findings["detail"][0].split(":")[0]
'Of the 20 rows that fold 1 trains on, 2 have labels that reach into the test'
>>> audit_split(TimeSeriesSplit(2, gap=2), X, end).clean
True
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import check_cv

from mlkit.leakage.futures import stamps
from mlkit.leakage.report import LeakageReport, day, findings_table, tests_table


def audit_split(splitter, X, label_end, y=None) -> LeakageReport:
    """Counts, fold by fold, the training rows whose label is made of the same time as a test label.

    splitter : an sklearn splitter, or a list of (train, test) positions
    X : DataFrame (n, k) on a DatetimeIndex; y : for splitters that ask for it
    label_end : Series of the times at which labels are known (`labels["end"]`), or a labels
        DataFrame with a column `end`; looked up by the index of X

    A label decided at t and known at `end` is made of the time [t, end); two that share any of
    it overlap, whichever comes first. One finding a fold: "overlap", or "shared" for rows that
    train and test alike. That rows later than the test are trained on is none: K-fold does
    that on purpose. O(n log n) a fold.

    Raises ValueError for an X without times, a label without an end, or one that ends before
    its decision.
    """
    index = getattr(X, "index", None)
    if not isinstance(index, pd.DatetimeIndex):
        raise ValueError("X has no times: put the times of the decisions in its index.")
    ends = ends_of(index, label_end)
    start, end = stamps(index), stamps(ends)
    rows, counts = [], [0, 0, 0]
    for fold, (train, test) in enumerate(check_cv(splitter).split(X, y), 1):
        train, test = np.unique(np.arange(len(index))[train]), np.unique(np.arange(len(index))[test])
        both = np.intersect1d(train, test)
        train_only = np.setdiff1d(train, both)
        meets = train_only[_meets(start[train_only], end[train_only], start[test], end[test])]
        if len(both):
            rows.append(("shared", f"fold {fold}", index[both].min(),
                         f"Fold {fold} trains on {len(both):,} of the {len(test):,} rows it tests, the first on "
                         f"{day(index[both].min())}: a score on them is a score of memory. Keep them apart."))
        if len(meets):
            first = meets[np.argmin(start[meets])]
            rows.append(("overlap", f"fold {fold}", index[first],
                         f"Of the {len(train):,} rows that fold {fold} trains on, {len(meets):,} have labels that reach "
                         f"into the test: the first is decided on {day(index[first])} and known on {day(ends[first])}. Purge "
                         "them: a training label has to end before the test begins, or begin after the test's end."))
        counts = [counts[0] + 1, counts[1] + bool(len(both) or len(meets)), 0]
    if not counts[0]:
        raise ValueError("The splitter gave no fold: there is nothing to audit.")
    return LeakageReport("split", f"{counts[0]} folds of {len(index):,} rows", findings_table(rows),
                         tests_table({"overlap": counts}))


def ends_of(index: pd.DatetimeIndex, label_end) -> pd.DatetimeIndex:
    """When the label of each row of X is known."""
    if isinstance(label_end, pd.DataFrame) and "end" in label_end:
        label_end = label_end["end"]
    if not isinstance(label_end, pd.Series):
        raise ValueError(f'label_end is a Series of the times at which labels are known, such as labels["end"], not '
                         f"a {type(label_end).__name__}.")
    ends = pd.DatetimeIndex(label_end.reindex(index))
    if ends.hasnans:
        raise ValueError(f"{ends.isna().sum():,} rows of X have no label_end, the first on {index[ends.isna()][0]}: "
                         "drop the rows whose label is not known, such as X = X[labels['end'].notna()].")
    early = stamps(ends) < stamps(index)
    if early.any():
        raise ValueError(f"The label of {index[early][0]} is known on {ends[early][0]}, before it is decided: "
                         "label_end is the time at which the outcome is known.")
    return ends


def _meets(start, end, test_start, test_end) -> np.ndarray:
    """Whether [start, end) shares time with any of the test's intervals: bool, one a training row."""
    if not len(test_start):
        return np.zeros(len(start), dtype=bool)
    order = np.argsort(test_start, kind="stable")
    latest = np.maximum.accumulate(test_end[order])  # among the tests that begin so early, the last to end
    before = np.searchsorted(test_start[order], end, side="left")  # tests that begin before the training label ends
    return (before > 0) & (latest[np.maximum(before - 1, 0)] > start)
