"""Splits: every rule counted again pair by pair, in loops that share nothing with the code."""

import pickle
from copy import deepcopy
from itertools import combinations, takewhile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from vectors import vector

from mlkit.labels import triple_barrier
from mlkit.splits import CombinatorialPurged, PurgedKFold, WalkForward
from mlkit.synthetic import random_walk

PROPERTY = settings(max_examples=50, deadline=None)
HOUR = pd.Timedelta("1h")


def daily(n, reach):
    """X (n, 1) on days, and labels that end `reach` days on."""
    index = pd.date_range("2024-01-01", periods=n, name="timestamp")
    return pd.DataFrame({"x": np.arange(n, dtype=float)}, index), pd.Series(index + pd.Timedelta(days=reach), index)


def splits_of(splitter, X):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(X)]


@st.composite
def markets(draw, least=8):
    """X on irregular times, and labels of any length: 0, overlong, ending before those of earlier rows."""
    n = draw(st.integers(least, 30))
    steps, lengths = (np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))
                      for low, high in ((1, 6), (0, draw(st.integers(0, 30)))))
    first = pd.Timestamp("2024-01-01", tz=draw(st.sampled_from([None, "UTC"])))
    index = first + pd.to_timedelta(np.cumsum(steps), unit="h")
    ends = pd.Series(index + pd.to_timedelta(lengths, unit="h"), index)
    return pd.DataFrame({"x": range(n)}, index), ends.sample(frac=1, random_state=n)  # in no order


# ------------------------------------------------------------------ the rules, counted pair by pair

def meets(ends, one, other):
    """Whether [one, its end) meets [other, its end)."""
    return one < ends[other] and other < ends[one]


def count_meetings(X, ends, splits):
    """Train rows whose label meets one of the test rows', over all splits."""
    return sum(any(meets(ends, X.index[i], X.index[j]) for j in test) for train, test in splits for i in train)


def count_meetings_of_arrays(X, ends, splits):
    """The same for more rows: every train row against every test row at once."""
    start, end = X.index.to_numpy(), ends.reindex(X.index).to_numpy()
    return sum(((start[a, None] < end[b]) & (start[b] < end[a, None])).any(axis=1).sum() for a, b in splits)


def is_embargoed(X, ends, test, row, embargo):
    """Whether a row is one of those after a run of test rows whose last label has ended."""
    for last in (j for j in test if j + 1 not in test):
        run = [last]
        while run[0] - 1 in test:
            run.insert(0, run[0] - 1)
        labels_end = max(ends[X.index[j]] for j in run)
        if isinstance(embargo, int):
            free = [i for i in range(last + 1, len(X)) if X.index[i] >= labels_end]
            if row in free[:embargo]:
                return True
        elif row > last and X.index[row] < labels_end + embargo:
            return True
    return False


def expected_of_blocks(X, ends, n_blocks, n_test_blocks, embargo):
    blocks = np.array_split(range(len(X)), n_blocks)
    for chosen in combinations(blocks, n_test_blocks):
        test = np.concatenate(chosen).tolist()
        yield [i for i in range(len(X)) if i not in test
               and not any(meets(ends, X.index[i], X.index[j]) for j in test)
               and not (embargo and is_embargoed(X, ends, test, i, embargo))], test


def expected_of_walk(X, ends, row, train_size, expanding, refit_every, embargo):
    """The train rows of the model that decides a row."""
    fit = train_size
    while fit + refit_every <= row:
        fit += refit_every
    now = X.index[fit]
    is_late = ((lambda i: i >= fit - embargo) if isinstance(embargo, int) else (lambda i: X.index[i] >= now - embargo))
    first = 0 if expanding else fit - train_size
    return [i for i in range(first, fit) if ends[X.index[i]] <= now and not (embargo and is_late(i))]


def same_or_refused(splitter, X, expected):
    """The splits are those expected, up to one with nothing to train on: there, that is said instead."""
    usable, made, message = list(takewhile(lambda split: split[0], expected)), [], ""
    try:
        for train, test in splitter.split(X):
            made.append((train.tolist(), test.tolist()))
    except ValueError as error:
        message = str(error)
    assert made == usable and ("no row left to train on" in message) == (len(usable) < len(expected))


embargoes = st.one_of(st.just(0), st.integers(1, 4), st.integers(0, 12).map(lambda hours: hours * HOUR))


@PROPERTY
@given(markets(), st.data())
def test_blocks_purge_every_row_whose_label_meets_a_test_row_and_no_other(market, data):
    X, ends = market
    n_blocks = data.draw(st.integers(2, 6))
    n_test_blocks = data.draw(st.integers(1, n_blocks - 1))
    splitter = CombinatorialPurged(n_blocks, n_test_blocks, label_end=ends)
    expected = list(expected_of_blocks(X, ends, n_blocks, n_test_blocks, 0))
    assert splitter.get_n_splits() == len(expected)
    same_or_refused(splitter, X, expected)


@PROPERTY
@given(markets(), st.integers(2, 8), embargoes)
def test_folds_with_an_embargo(market, n_splits, embargo):
    X, ends = market
    splitter = PurgedKFold(n_splits, label_end=ends, embargo=embargo)
    same_or_refused(splitter, X, list(expected_of_blocks(X, ends, n_splits, 1, embargo)))
    assert splitter.get_n_splits(X) == n_splits


@PROPERTY
@given(markets(), embargoes)
def test_an_embargo_follows_each_run_of_test_blocks(market, embargo):
    X, ends = market
    expected = list(expected_of_blocks(X, ends, 6, 2, embargo))
    same_or_refused(CombinatorialPurged(6, 2, label_end=ends, embargo=embargo), X, expected)


@PROPERTY
@given(markets(least=12), st.integers(3, 8), st.integers(1, 4), st.none() | st.integers(1, 9), st.booleans(), embargoes)
def test_every_row_after_the_first_is_decided_once_by_a_model_that_knew_the_labels_it_learnt(
        market, train_size, test_size, refit_every, expanding, embargo):
    X, ends = market
    splitter = WalkForward(train_size, test_size, label_end=ends, expanding=expanding, embargo=embargo,
                           refit_every=refit_every)
    options = train_size, expanding, refit_every or test_size, embargo
    tests = []
    for row in range(train_size, len(X)):
        due = [step for step in (test_size, refit_every or test_size) if (row - train_size) % step == 0]
        tests = [*tests, [row]] if due else [*tests[:-1], [*tests[-1], row]]
    expected = [(expected_of_walk(X, ends, test[0], *options), test) for test in tests]
    for train, test in expected:  # one model decides all rows of a block
        assert all(expected_of_walk(X, ends, row, *options) == train for row in test)
    assert count_meetings(X, ends, expected) == 0
    assert splitter.get_n_splits(X) == len(expected)
    same_or_refused(splitter, X, expected)


@PROPERTY
@given(st.integers(2, 7), st.data())
def test_paths_cover_every_block_and_use_every_prediction_once(n_blocks, data):
    n_test_blocks = data.draw(st.integers(1, n_blocks - 1))
    X, ends = daily(2 * n_blocks + 1, 0)
    splitter = CombinatorialPurged(n_blocks, n_test_blocks, label_end=ends)
    choices = list(combinations(range(n_blocks), n_test_blocks))
    paths = splitter.paths()
    used = sorted((int(split), block) for path in paths for block, split in enumerate(path))
    assert paths.dtype.kind == "i" and paths.shape[1] == n_blocks
    assert used == [(split, block) for split, choice in enumerate(choices) for block in choice]

    along = splitter.recombine(X, [100 * split + test for split, (_, test) in enumerate(splitter.split(X))])
    block_of = np.concatenate([[k] * len(rows) for k, rows in enumerate(np.array_split(range(len(X)), n_blocks))])
    assert along.index.equals(X.index)
    assert (along.to_numpy() == (100 * paths[:, block_of] + np.arange(len(X))).T).all()


# ------------------------------------------------------------------ published examples

def test_numbers_of_combinatorial_splits_and_paths():
    example = vector("cpcv_counts")
    _, ends = daily(20, 1)
    made = [CombinatorialPurged(*counts, label_end=ends) for counts in example["inputs"]["NK"]]
    assert [splitter.get_n_splits() for splitter in made] == example["expected"]["splits"]
    assert [len(splitter.paths()) for splitter in made] == example["expected"]["paths"]


def test_a_gap_of_rows_is_a_label_that_reaches_one_row_further():
    example = vector("sklearn_tss_gap")
    inputs, expected = example["inputs"], example["expected"]
    X, ends = daily(inputs["n"], inputs["gap"] + 1)
    first = inputs["n"] - inputs["n_splits"] * inputs["test_size"]
    made = splits_of(WalkForward(first, inputs["test_size"], label_end=ends, expanding=True), X)
    assert [train for train, _ in made] == [list(range(last + 1)) for last in expected["train_last"]]
    assert [test for _, test in made] == expected["test"]


def test_a_rolling_window_with_one_row_purged():
    example = vector("skfolio_wf")
    inputs, expected = example["inputs"], example["expected"]
    X, ends = daily(inputs["n"], inputs["purged_size"] + 1)
    size = inputs["train_size"] + inputs["purged_size"]  # ours is before purging
    made = splits_of(WalkForward(size, inputs["test_size"], label_end=ends), X)
    assert made == list(zip(expected["train"], expected["test"]))


def test_combinations_purged_on_both_sides():
    example = vector("skfolio_cpcv_purge")
    inputs = example["inputs"]
    X, ends = daily(inputs["n"], inputs["purged_size"] + 1)
    made = splits_of(CombinatorialPurged(inputs["n_folds"], inputs["n_test_folds"], label_end=ends), X)
    assert [train for train, _ in made] == example["expected"]["train"]


def test_purging_by_label_times():
    example = vector("purge_label_times")
    inputs = example["inputs"]
    X, ends = daily(inputs["n"] + 2, inputs["horizon_days"])  # a row more on either side: its test rows are a fold
    (train, test), = [(train - 1, test - 1) for train, test in PurgedKFold(4, label_end=ends).split(X)
                      if test.tolist() == [row + 1 for row in inputs["test"]]]
    assert [row for row in train if row in inputs["train"]] == example["expected"]["kept"]


# ------------------------------------------------------------------ labels of this course

@pytest.fixture(scope="module")
def barriers():
    """(X, y, ends) of triple-barrier labels, 1 to 20 bars long."""
    bars = random_walk(500, seed=3)
    labels = triple_barrier(bars, 20, upper=1.5, lower=1.5).dropna()
    X = pd.DataFrame({"r": bars.close.pct_change(), "s": bars.close.pct_change(5)}).loc[labels.index]
    return X, (labels.label > 0).astype(int), labels.end


def test_a_gap_counted_in_rows_leaves_overlaps_where_labels_vary_and_purging_none(barriers):
    X, _, ends = barriers
    bars_to_end = X.index.searchsorted(ends) - np.arange(len(X))
    gap = int(np.ceil(bars_to_end.mean()))
    counted = TimeSeriesSplit(5, gap=gap, test_size=60).split(X)
    assert len(set(bars_to_end)) > 5 and count_meetings_of_arrays(X, ends, counted) > 0
    for splitter in (WalkForward(150, 60, label_end=ends, expanding=True), PurgedKFold(5, label_end=ends),
                     CombinatorialPurged(6, 2, label_end=ends), WalkForward(150, 60, label_end=ends, refit_every=25)):
        assert count_meetings_of_arrays(X, ends, splitter.split(X)) == 0


@pytest.mark.parametrize("make", [lambda ends: WalkForward(120, 60, label_end=ends),
                                  lambda ends: PurgedKFold(4, label_end=ends, embargo=5),
                                  lambda ends: CombinatorialPurged(4, 2, label_end=ends)],
                         ids=["WalkForward", "PurgedKFold", "CombinatorialPurged"])
def test_nested_in_grid_search_in_cross_validation(barriers, make):
    X, y, ends = barriers
    outer, inner = make(ends), PurgedKFold(3, label_end=ends)
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                          {"logisticregression__C": [0.01, 1.0]}, cv=inner, error_score="raise")
    scores = cross_val_score(search, X, y, cv=outer, error_score="raise")
    assert len(scores) == outer.get_n_splits(X) and np.isfinite(scores).all()
    for train, _ in outer.split(X):  # rows with holes between them, each still with its own label
        part = X.iloc[train]
        assert count_meetings_of_arrays(part, ends, inner.split(part)) == 0
        with_own_labels = PurgedKFold(3, label_end=ends.iloc[train]).split(part)
        assert [a.tolist() for a, _ in with_own_labels] == [a.tolist() for a, _ in inner.split(part)]


def test_inside_sklearn_every_row_is_predicted_by_a_fold_that_did_not_see_it(barriers):
    X, y, ends = barriers
    by_fold = PurgedKFold(5, label_end=ends)
    model = LogisticRegression()
    predicted = cross_val_predict(model, X, y, cv=by_fold)
    for train, test in by_fold.split(X, y):
        assert (predicted[test] == model.fit(X.iloc[train], y.iloc[train]).predict(X.iloc[test])).all()


def test_a_stale_model_keeps_its_train_rows_and_what_is_tested_stays():
    X, ends = daily(30, 2)
    stale = splits_of(WalkForward(10, 5, label_end=ends, refit_every=10), X)
    assert [train for train, _ in stale] == [list(range(9))] * 2 + [list(range(10, 19))] * 2
    assert [test for _, test in stale] == [test for _, test in splits_of(WalkForward(10, 5, label_end=ends), X)]


def test_labels_may_be_given_as_a_table_in_another_zone_or_unit(barriers):
    X, y, ends = barriers
    plain = splits_of(PurgedKFold(4, label_end=ends), X)
    assert splits_of(PurgedKFold(4, label_end=pd.DataFrame({"label": y, "end": ends})), X) == plain
    there = ends.tz_localize("UTC").dt.tz_localize("UTC").tz_convert("America/New_York").dt.tz_convert("Asia/Tokyo")
    assert splits_of(PurgedKFold(4, label_end=there), X.tz_localize("UTC")) == plain
    coarse = pd.Series(ends.astype("M8[s]").to_numpy(), ends.index.as_unit("s"))
    for embargo in (3, pd.Timedelta("3D"), np.timedelta64(3, "D")):
        plain = splits_of(PurgedKFold(4, label_end=ends, embargo=embargo), X)
        fine = X.set_axis(X.index.as_unit("ns"))
        assert splits_of(PurgedKFold(4, label_end=coarse, embargo=embargo), fine) == plain


def test_copies_split_alike_and_show_their_parameters(barriers):
    X, _, ends = barriers
    for splitter in (WalkForward(150, 60, label_end=ends, embargo=2), PurgedKFold(4, label_end=ends, embargo=3 * HOUR),
                     CombinatorialPurged(5, 2, label_end=ends)):
        for copy in (clone(splitter), deepcopy(splitter), pickle.loads(pickle.dumps(splitter))):
            assert copy is not splitter and splits_of(copy, X) == splits_of(splitter, X)
            assert repr(copy) == repr(splitter)
    assert repr(WalkForward(9, 3, label_end=ends)) == (
        f"WalkForward(train_size=9, test_size=3, label_end=<{len(ends)} times>, expanding=False, embargo=0, "
        "refit_every=None)")


def test_a_hundred_thousand_rows():
    n = 100_000
    index = pd.date_range("2000-01-01", periods=n, freq="min")
    X = pd.DataFrame({"x": np.zeros(n)}, index)
    ends = pd.Series(index + pd.to_timedelta(np.random.default_rng(0).integers(1, 500, n), unit="min"), index)
    for splitter in (PurgedKFold(10, label_end=ends, embargo=10), WalkForward(50_000, 5_000, label_end=ends)):
        folds = list(splitter.split(X))  # a moment; pair by pair it would take minutes
        assert len(folds) == 10 and all(len(train) > 40_000 for train, _ in folds)


# ------------------------------------------------------------------ what is refused

X10, ENDS10 = daily(10, 2)


def fold(X=X10, n_splits=2, label_end=ENDS10, **options):
    return list(PurgedKFold(n_splits, label_end=label_end, **options).split(X))


def changed(series, row, value):
    return series.where(np.arange(len(series)) != row, value)


@pytest.mark.parametrize("make, message", [
    (lambda: fold(X10.to_numpy()), "X needs a DatetimeIndex.*not a ndarray without one: pass the DataFrame"),
    (lambda: fold(X10.reset_index(drop=True)), "X needs a DatetimeIndex.*not a RangeIndex"),
    (lambda: fold(X10.iloc[[0, 1, 3, 2, 4]]), r"Row 3 of X has a time before the row above it \(2024-01-03\)"),
    (lambda: fold(X10.iloc[[0, 1, 1, 2]]), r"Row 2 of X has a duplicate time \(2024-01-02\)"),
    (lambda: fold(X10.set_axis(X10.index.where(X10.index.day != 4))), "Row 3 of X has no time"),
    (lambda: fold(label_end=ENDS10.drop(ENDS10.index[[4, 6]])),
     "label_end has no row for 2 of 10 rows, the first 2024-01-05"),
    (lambda: fold(label_end=changed(ENDS10, 8, pd.NaT)), "label_end is NaT for 1 of 10 rows, the first 2024-01-09"),
    (lambda: fold(label_end=changed(ENDS10, 3, pd.Timestamp("2024-01-03 23:00"))),
     "label_end is before the decision for 1 of 10 rows, the first 2024-01-04"),
    (lambda: fold(label_end=pd.concat([ENDS10, ENDS10.iloc[2:4]])), "label_end has a second end for 2 .* 2024-01-03"),
    (lambda: fold(label_end=5), r'labels\["end"\], not 5. No gap counted in rows'),
    (lambda: fold(label_end=ENDS10.to_numpy()), r'labels\["end"\], not a ndarray'),
    (lambda: fold(label_end=X10), r"not a table with \['x'\]"),
    (lambda: fold(label_end=X10["x"]), "its values are float64, not times"),
    (lambda: fold(label_end=ENDS10.reset_index(drop=True)), "its index is a RangeIndex"),
    (lambda: fold(X10.tz_localize("UTC")), "X has times in UTC, label_end .its index. in no zone"),
    (lambda: fold(label_end=ENDS10.dt.tz_localize("UTC")), "X has times in no zone, label_end .its ends. in UTC"),
    (lambda: fold(n_splits=1), "n_splits is a whole number, 2 or more, not 1"),
    (lambda: fold(n_splits=2.0), "n_splits is a whole number, 2 or more, not 2.0"),
    (lambda: fold(n_splits=11), "11 blocks need at least as many rows, X has 10"),
    (lambda: fold(embargo=-1), "embargo is a number of bars .* not -1"),
    (lambda: fold(embargo=0.01), "embargo is a number of bars .* not 0.01"),
    (lambda: fold(embargo=True), "embargo is a number of bars .* not True"),
    (lambda: fold(embargo="5D"), "embargo is a number of bars .* not '5D'"),
    (lambda: fold(embargo=-HOUR), "embargo is a number of bars"),
    (lambda: fold(embargo=pd.NaT), "embargo is a number of bars"),
    (lambda: fold(label_end=ENDS10 + 10 * 24 * HOUR),
     r"Split 0 \(test rows 2024-01-01 to 2024-01-05\) has no row left to train on"),
    (lambda: fold(embargo=100), "no row left to train on"),
    (lambda: CombinatorialPurged(1, 1, label_end=ENDS10), "n_blocks is a whole number, 2 or more, not 1"),
    (lambda: CombinatorialPurged(4, 0, label_end=ENDS10), "n_test_blocks is a whole number, 1 or more, not 0"),
    (lambda: CombinatorialPurged(4, 4, label_end=ENDS10), "n_test_blocks 4 of n_blocks 4 leaves no block"),
    (lambda: CombinatorialPurged(4, 2, label_end=ENDS10).recombine(X10, [0] * 5), "6 splits, but predictions for 5"),
    (lambda: CombinatorialPurged(5, 1, label_end=ENDS10).recombine(X10, [[0, 0], [0]] + 3 * [[0, 0]]),
     "Split 1 tests 2 rows, but 1 are predicted"),
    (lambda: WalkForward(0, 1, label_end=ENDS10), "train_size is a whole number, 1 or more, not 0"),
    (lambda: WalkForward(3, -1, label_end=ENDS10), "test_size is a whole number, 1 or more, not -1"),
    (lambda: WalkForward(3, 1, label_end=ENDS10, refit_every=0), "refit_every is a whole number, 1 or more, not 0"),
    (lambda: list(WalkForward(3000, 250, label_end=ENDS10).split(X10)),
     "train_size 3,000 and test_size 250 need at least 3,250 rows, X has 10"),
    (lambda: WalkForward(9, 2, label_end=ENDS10).get_n_splits(X10), "need at least 11 rows, X has 10"),
    (lambda: WalkForward(3, 1, label_end=ENDS10).get_n_splits(), r"call get_n_splits\(X\)"),
    (lambda: list(WalkForward(3, 1, label_end=ENDS10, embargo=3).split(X10)), "Split 0 .* no row left to train on"),
    (lambda: list(WalkForward(3, 1, label_end=ENDS10, embargo=99).split(X10)), "Split 0 .* no row left to train on"),
])
def test_what_is_wrong_is_named_with_the_place_and_the_way_out(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sizes_that_just_fit():
    assert splits_of(WalkForward(8, 2, label_end=ENDS10), X10) == [(list(range(7)), [8, 9])]
    X, ends = daily(4, 1)
    assert splits_of(PurgedKFold(4, label_end=ends), X)[1] == ([0, 2, 3], [1])
