"""Splits: which rows train and which test, so that no label of one reaches into the other.

Fourth in the flow, after `labels`. The label of a row decided at t is made from the bars
up to its `end`: it covers the half-open interval [t, end). A row may train only if its
interval meets that of no test row; the others are purged, by times and never by a number
of rows, as labels end when they end. All three are sklearn splitters: pass them as `cv`,
nested too, with X on a DatetimeIndex (by which `label_end` is looked up).

>>> import pandas as pd
>>> X = pd.DataFrame({"x": range(8)}, index=pd.date_range("2024-01-01", periods=8))
>>> end = pd.Series(X.index + pd.Timedelta("2D"), X.index)  # each label looks two days on
>>> for train, test in PurgedKFold(2, label_end=end).split(X):
...     print(train, test)
[5 6 7] [0 1 2 3]
[0 1 2] [4 5 6 7]
>>> for train, test in WalkForward(4, 2, label_end=end).split(X):
...     print(train, test)
[0 1 2] [4 5]
[2 3 4] [6 7]
"""

from copy import deepcopy
from datetime import timedelta
from inspect import signature
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

__all__ = ["CombinatorialPurged", "PurgedKFold", "WalkForward"]


class LabelSplitter(BaseCrossValidator):
    """What the splitters have in common; a kind of its own says how in `_splits(times, ends)`.

    label_end : Series of times indexed by decision time, such as `labels["end"]`, or a table of
        labels with that column. It may hold more rows than X, in any order.
    embargo : bars (rows of X, an int) or a Timedelta, 0 or more
    """

    def __init__(self, label_end, embargo):
        self.label_end = _end_times(label_end)
        self.embargo = _embargo(embargo)

    def split(self, X, y=None, groups=None):
        """Yield (train, test), both arrays of row numbers of X, in order of time.

        X : DataFrame or Series (n rows) on a DatetimeIndex in order, without duplicates; y and
            groups are not looked at. Raises ValueError for another X, for a row of X without a
            label end or with one before the row, and where no row is left to train on.
        """
        times, ends = self._intervals(X)
        for number, (train, test) in enumerate(self._splits(times, ends)):
            if not len(train):
                raise ValueError(
                    f"Split {number} (test rows {_day(X.index[test[0]])} to {_day(X.index[test[-1]])}) has no row left "
                    "to train on: the labels of all others reach into it, or the embargo covers them. Use more "
                    "rows to train on, labels with a shorter horizon or a smaller embargo.")
            yield train, test

    def _intervals(self, X) -> tuple[np.ndarray, np.ndarray]:
        """When the label of each row of X starts and ends: two (n,) datetime64, in UTC if X has a zone."""
        index = _time_index(X)
        known, ends = self.label_end.index, pd.DatetimeIndex(self.label_end)
        for what, zone in (("its index", known.tz), ("its ends", ends.tz)):
            if (zone is None) != (index.tz is None):
                raise ValueError(f"X has times in {index.tz or 'no zone'}, label_end ({what}) in {zone or 'no zone'}: "
                                 "make labels and features from the same bars.")
        place = known.get_indexer(index)
        _refuse(place < 0, index, "label_end has no row for", "Make labels and features from the same bars.")
        times, ends = _instants(index), _instants(ends)[place]
        _refuse(np.isnat(ends), index, "label_end is NaT for",
                "Their label is not known (yet): keep the rows of X with label_end.reindex(X.index).notna().")
        _refuse(ends < times, index, "label_end is before the decision for",
                "A label ends at or after its own row: see whether index and values are swapped or shifted.")
        return times, ends

    def __sklearn_clone__(self):
        return deepcopy(self)

    def __repr__(self):
        shown = {name: getattr(self, name) for name in signature(type(self)).parameters}
        shown["label_end"] = f"<{len(self.label_end):,} times>"
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in shown.items())})"


class WalkForward(LabelSplitter):
    """Train on the past, test on what comes next, move on: each row after the first `train_size` is tested once.

    train_size : rows of X before each fit that may train (before purging); with `expanding`, those
        before the first fit, and all rows so far at the later ones
    test_size : rows of a test block; the last one may be shorter
    refit_every : rows from one fit to the next, None: `test_size`. Longer, and several blocks have
        the same train rows, a model gone stale; shorter, and a block is cut where a fit falls in
        it. What is tested is the same for any.
    label_end : as in `PurgedKFold`

    A fit happens at the first row it decides, and a row trains only if its label had ended by
    then; one that ends at that very time is known and stays. Nothing trains after a test block,
    so `embargo` is a further gap before it: the rows of the last `embargo` bars (or Timedelta)
    before a fit do not train either.

    Raises ValueError for bad parameters; when splitting, for fewer than train_size + test_size rows.
    """

    def __init__(self, train_size, test_size, *, label_end, expanding=False, embargo=0, refit_every=None):
        super().__init__(label_end, embargo)
        self.train_size = _whole_number(train_size, "train_size")
        self.test_size = _whole_number(test_size, "test_size")
        self.expanding = expanding
        self.refit_every = None if refit_every is None else _whole_number(refit_every, "refit_every")

    def get_n_splits(self, X=None, y=None, groups=None) -> int:
        """How many blocks X has; that depends on its rows, so that ValueError is raised without X."""
        if X is None:
            raise ValueError("WalkForward makes as many splits as fit in the data: call get_n_splits(X).")
        return len(self._starts(len(X)))

    def _splits(self, times, ends):
        starts = self._starts(len(times))
        for start, stop in pairwise([*starts, len(times)]):
            fit = start - (start - self.train_size) % self._rows_between_fits
            first = 0 if self.expanding else fit - self.train_size
            rows = np.arange(first, self._end_of_training(times, fit))
            yield rows[ends[rows] <= times[fit]], np.arange(start, stop)

    def _starts(self, n_rows: int) -> list[int]:
        """The first row of each block: where one is due, or a fit is."""
        if n_rows < self.train_size + self.test_size:
            raise ValueError(f"train_size {self.train_size:,} and test_size {self.test_size:,} need at least "
                             f"{self.train_size + self.test_size:,} rows, X has {n_rows:,}.")
        steps = (self.test_size, self._rows_between_fits)
        return sorted({start for step in steps for start in range(self.train_size, n_rows, step)})

    def _end_of_training(self, times, fit: int) -> int:
        """One past the last row that the embargo lets into a fit."""
        if isinstance(self.embargo, int):
            return fit - self.embargo
        return int(np.searchsorted(times, times[fit] - self.embargo.to_timedelta64()))

    @property
    def _rows_between_fits(self) -> int:
        return self.refit_every or self.test_size


class CombinatorialPurged(LabelSplitter):
    """Every choice of `n_test_blocks` of `n_blocks` contiguous blocks as test: many backtest paths, not one.

    C(n, k) splits; each block is tested in k/n C(n, k) of them, once in each of as many paths.
    Blocks are as equal as can be, longer ones first. Training rows come before, between and after
    the test blocks; a row is purged when its label's interval meets that of any test row.

    label_end : Series of times indexed by decision time, such as `labels["end"]`, or a table of
        labels with that column
    embargo : after each contiguous run of test rows, once the last of its labels has ended, the
        rows of so many bars (int) or of such a time (Timedelta) do not train either

    Raises ValueError for bad parameters; when splitting, for fewer rows than blocks.
    Lopez de Prado (2018), Advances in Financial Machine Learning, sections 7.4 and 12.4.
    """

    def __init__(self, n_blocks, n_test_blocks, *, label_end, embargo=0):
        super().__init__(label_end, embargo)
        self.n_blocks = _whole_number(n_blocks, "n_blocks", least=2)
        self.n_test_blocks = _whole_number(n_test_blocks, "n_test_blocks")
        if n_test_blocks >= n_blocks:
            raise ValueError(f"n_test_blocks {n_test_blocks} of n_blocks {n_blocks} leaves no block to train on.")

    def get_n_splits(self, X=None, y=None, groups=None) -> int:
        return comb(self.n_blocks, self.n_test_blocks)

    def paths(self) -> np.ndarray:
        """Which split predicts each block in each path: ints (n_paths, n_blocks), each (split, block) once."""
        is_test = np.zeros((self.get_n_splits(), self.n_blocks), dtype=bool)
        for split, blocks in enumerate(self._test_blocks()):
            is_test[split, list(blocks)] = True
        return np.column_stack([np.flatnonzero(tested) for tested in is_test.T])

    def recombine(self, X, predictions) -> pd.DataFrame:
        """Predictions along each path, (n, n_paths) on X.index: every column predicts every row once.

        predictions : for each split, in order, numbers for its test rows. Raises ValueError when
            there are more or fewer of them than `split(X)` asks for.
        """
        if len(predictions) != self.get_n_splits():
            raise ValueError(f"There are {self.get_n_splits():,} splits, but predictions for {len(predictions):,}.")
        edges, paths = _block_edges(len(X), self.n_blocks), self.paths()
        along = np.empty((len(X), len(paths)))
        for split, (blocks, predicted) in enumerate(zip(self._test_blocks(), predictions)):
            rows = _rows_of(blocks, edges)
            if len(predicted) != len(rows):
                raise ValueError(f"Split {split} tests {len(rows):,} rows, but {len(predicted):,} are predicted.")
            path = [np.searchsorted(paths[:, block], split) for block in blocks]
            along[rows, np.repeat(path, [edges[block + 1] - edges[block] for block in blocks])] = predicted
        return pd.DataFrame(along, X.index)

    def _splits(self, times, ends):
        edges = _block_edges(len(times), self.n_blocks)
        for blocks in self._test_blocks():
            test = _rows_of(blocks, edges)
            free = np.ones(len(times), dtype=bool)
            free[test] = False
            for first, stop in _runs(test):
                free[:first] &= ends[:first] <= times[first]  # whose labels do not reach into the run
                free[stop : self._end_of_embargo(times, ends[first:stop].max(), stop)] = False  # reached by its labels
            yield np.flatnonzero(free), test

    def _test_blocks(self):
        """The blocks tested in each split, in order: tuples of block numbers."""
        return combinations(range(self.n_blocks), self.n_test_blocks)

    def _end_of_embargo(self, times, labels_end, stop: int) -> int:
        """One past the last row under embargo after test rows that stop before `stop`."""
        if isinstance(self.embargo, int):
            return max(stop, int(np.searchsorted(times, labels_end))) + self.embargo
        return int(np.searchsorted(times, labels_end + self.embargo.to_timedelta64()))


class PurgedKFold(CombinatorialPurged):
    """Each of `n_splits` contiguous blocks as test once, purged rows aside all others as train.

    Training rows come before and after the test block: both are purged where their label's
    interval meets that of any test row. As the past is judged by models that know the future, it
    measures how well a model generalises, not what it would have earned: for that, `WalkForward`.

    label_end : Series of times indexed by decision time, such as `labels["end"]`, or a table of
        labels with that column
    embargo : after the test block, once the last of its labels has ended, the rows of so many
        bars (int) or of such a time (Timedelta) do not train either

    Raises ValueError for bad parameters; when splitting, for fewer rows than splits.
    Lopez de Prado (2018), Advances in Financial Machine Learning, section 7.4.
    """

    def __init__(self, n_splits, *, label_end, embargo=0):
        self.n_splits = _whole_number(n_splits, "n_splits", least=2)
        super().__init__(n_splits, 1, label_end=label_end, embargo=embargo)


def _block_edges(n_rows: int, n_blocks: int) -> np.ndarray:
    """The first row of each block and, last, n_rows: (n_blocks + 1,) ints."""
    if n_rows < n_blocks:
        raise ValueError(f"{n_blocks:,} blocks need at least as many rows, X has {n_rows:,}.")
    size, longer = divmod(n_rows, n_blocks)
    block = np.arange(n_blocks + 1)
    return block * size + np.minimum(block, longer)


def _rows_of(blocks, edges) -> np.ndarray:
    return np.concatenate([np.arange(edges[block], edges[block + 1]) for block in blocks])


def _runs(rows):
    """(first, one past the last) of each run of consecutive row numbers."""
    return [(run[0], run[-1] + 1) for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)]


def _time_index(X) -> pd.DatetimeIndex:
    """The index of X, if it tells times in order; else ValueError."""
    index = getattr(X, "index", None)
    if not isinstance(index, pd.DatetimeIndex):
        got = f"a {type(X).__name__} without one" if not isinstance(index, pd.Index) else f"a {type(index).__name__}"
        raise ValueError(f"X needs a DatetimeIndex, by which its labels are looked up, not {got}: pass the DataFrame "
                         "of features itself, and do what turns it into an array inside a Pipeline.")
    for wrong, what, way_out in ((index.isna(), "no time", "drop it knowingly"),
                                 (index.duplicated(), "a duplicate time", "find out which row is true"),
                                 (np.append(False, index[1:] < index[:-1]), "a time before the row above it",
                                  "use X.sort_index() and order y alike")):
        if wrong.any():
            raise ValueError(f"Row {wrong.argmax()} of X has {what} ({_day(index[wrong][0])}): {way_out}.")
    return index


def _instants(index: pd.DatetimeIndex) -> np.ndarray:
    """(n,) datetime64: times without a zone as they are, others in UTC."""
    return (index if index.tz is None else index.tz_convert(None)).to_numpy()


def _end_times(label_end) -> pd.Series:
    """`label_end` as a Series of times on a DatetimeIndex; else ValueError."""
    what = 'label_end is the time each label is known: a Series of times by decision time, such as labels["end"]'
    if isinstance(label_end, pd.DataFrame) and "end" in label_end:
        label_end = label_end["end"]
    if not isinstance(label_end, pd.Series):
        got = (f"a table with {list(label_end)}" if isinstance(label_end, pd.DataFrame) else
               f"{label_end!r}" if np.isscalar(label_end) else f"a {type(label_end).__name__}")
        raise ValueError(f"{what}, not {got}. No gap counted in rows can do: labels end when they end.")
    if not isinstance(label_end.index, pd.DatetimeIndex):
        raise ValueError(f"{what}; its index is a {type(label_end.index).__name__}, not a DatetimeIndex.")
    if label_end.dtype.kind != "M":
        raise ValueError(f"{what}; its values are {label_end.dtype}, not times: use pd.to_datetime if they mean some.")
    twice = label_end.index.duplicated()
    _refuse(twice, label_end.index, "label_end has a second end for", "Keep one label for each decision time.")
    return label_end


def _embargo(embargo) -> int | pd.Timedelta:
    if isinstance(embargo, (timedelta, np.timedelta64)) and pd.Timedelta(embargo) >= timedelta(0):
        return pd.Timedelta(embargo)
    if isinstance(embargo, (int, np.integer)) and not isinstance(embargo, bool) and embargo >= 0:
        return int(embargo)
    raise ValueError(f'embargo is a number of bars (int) or a Timedelta such as pd.Timedelta("5D"), 0 or more, '
                     f"not {embargo!r}.")


def _whole_number(value, name: str, least=1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} is a whole number, {least} or more, not {value!r}.")
    return int(value)


def _refuse(wrong, index, what: str, way_out: str):
    """ValueError where any of (n,) bool is true, with how many and the first of their times."""
    if wrong.any():
        raise ValueError(f"{what} {wrong.sum():,} of {len(index):,} rows, the first {_day(index[wrong][0])}. {way_out}")


def _day(stamp) -> str:
    return str(stamp).removesuffix(" 00:00:00")
