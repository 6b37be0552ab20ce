"""`walk_forward`: predictions for rows that no model had seen, fold by fold.

>>> from mlkit import LaggedReturns, WalkForward, direction, make_model, planted_edge
>>> bars = planted_edge(1_000, seed=1, strength=0.3)
>>> labels = direction(bars)
>>> splitter = WalkForward(500, 100, label_end=labels["end"])
>>> found = walk_forward(make_model("logistic"), LaggedReturns(3)(bars), labels, splitter)
>>> found
OutOfSample(logistic: 495 rows in 5 folds, accuracy 0.581 out of sample, 0.596 in training, 5 rows dropped)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from mlkit.models.scoring import Schedule, last_step, name_of, scores_of
from mlkit.research.scores import evaluate


@dataclass(frozen=True, repr=False, eq=False)
class OutOfSample:
    """What `walk_forward` found; m rows were tested, in f folds.

    predictions : Series (m,), in the order of time: the probability of class 1 (a rise) of a
        classifier, the prediction of a regressor
    labels : Series (m,), what it should have been
    folds : DataFrame (f, ...): model, train_from, train_to (first and last row trained on), known_by
        (when the last of their labels was known), n_train, test_from, test_to, n_test,
        train_score, test_score (accuracy of a classifier, R2 of a regressor)
    models : Schedule of the fitted models, which MLStrategy takes; it says so if they may not trade.
        Folds with the same train rows (`refit_every`) share one
    dropped : rows left out because a feature or the label was NaN
    task : "direction" (a classifier) or "return" (a regressor, whatever it predicts)
    """

    predictions: pd.Series
    labels: pd.Series
    folds: pd.DataFrame
    models: Schedule
    dropped: int
    task: str
    fold_of: np.ndarray

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a prediction: prediction, label, fold, model, train_from, train_to."""
        tags = self.folds[["model", "train_from", "train_to"]].iloc[self.fold_of].set_index(self.predictions.index)
        return pd.concat([self.predictions, self.labels.rename("label"),
                          pd.Series(self.fold_of, self.predictions.index, name="fold"), tags], axis=1)

    def scores(self, task: str | None = None, **options) -> pd.DataFrame:
        """Every score over all tested rows with its interval: `mlkit.research.evaluate`.

        task : what was predicted; its own unless given. A regressor of volatility takes "volatility"
        """
        return evaluate(self.predictions, self.labels, task=task or self.task, **options)

    def plot(self):
        """Train and test score, fold by fold."""
        from mlkit.research.pictures import plot_folds
        return plot_folds(self)

    def __repr__(self) -> str:
        score = "accuracy" if self.task == "direction" else "R2"
        means = self.folds[["test_score", "train_score"]].mean()
        return (f"OutOfSample({name_of(self.models)}: {len(self.predictions):,} rows in {len(self.folds)} folds, "
                f"{score} {means['test_score']:.3f} out of sample, {means['train_score']:.3f} in training, "
                f"{self.dropped:,} rows dropped)")

    def _repr_html_(self) -> str:
        from mlkit.research.pictures import out_of_sample_html
        return out_of_sample_html(self)


def walk_forward(model, X: pd.DataFrame, y, splitter, *, online: bool = False, n_jobs: int = 1,
                 progress: bool = False) -> OutOfSample:
    """Fit a fresh copy of the model on each train set and let it predict the test set that follows.

    model : an unfitted sklearn estimator, such as `make_model` gives
    X : features, DataFrame (n, k) on increasing times
    y : labels on the same index: a Series (n,), or a table of `mlkit.labels` (label, end)
    splitter : of `mlkit.splits`, or any of sklearn; each row may be tested once
    online : True fits the first fold alone; from there the model goes on learning (`partial_fit`, one pass)
        from the rows that each later train set adds, and forgets none. Its scaler stays that of the first
        fold. For models that can, such as make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss"))
    n_jobs : folds fitted at once (joblib), -1 = one a core; the results are the same to the last bit

    Rows with NaN are dropped first, and counted. Sequence models are shown the rows between
    training and test too: the features were known by then, only the labels were not.

    Raises ValueError for tables that do not match, no rows left, a row tested twice; and what a
    model raises (labels all the same, say) with the fold named.
    """
    X, y, ends, dropped = aligned(X, y, splitter)
    folds = checked_folds(splitter, X, y)
    fits = [list(same) for _, same in groupby(range(len(folds)), key=lambda number: folds[number][0].tobytes())]
    groups = [[(number, *folds[number]) for number in numbers] for numbers in fits]
    if online:
        fitting = _learn_on(clone(model), X, y, groups)
    else:
        jobs = (delayed(_fit)(clone(model), X, y, group) for group in groups)
        fitting = Parallel(n_jobs=min(n_jobs, len(fits)), return_as="generator")(jobs)
    with tqdm(total=len(fits), desc=name_of(model), unit=" fits", disable=not progress) as bar:
        done = []
        for each in fitting:
            done.append(each)
            bar.update()
    fitted, parts = zip(*done)
    predicted, spans = zip(*chain.from_iterable(parts))
    tested = np.concatenate([test for _, test in folds])
    order = np.argsort(tested)
    starts = X.index[[folds[numbers[0]][1][0] for numbers in fits]]
    schedule = Schedule(fitted, starts, _obstacle(folds, X.index, ends))
    table = pd.DataFrame(spans)
    table.insert(0, "model", np.repeat(schedule.names, [len(numbers) for numbers in fits]))
    if ends is not None:
        table.insert(3, "known_by", [ends.iloc[train].max() for train, _ in folds])
    fold_of = np.repeat(np.arange(len(folds)), [len(test) for _, test in folds])[order]
    index = X.index[tested[order]]
    return OutOfSample(pd.Series(np.concatenate(predicted)[order], index, name="prediction"), y.loc[index], table,
                       schedule, dropped, "direction" if hasattr(fitted[0], "predict_proba") else "return", fold_of)


def aligned(X, y, splitter):
    """X, y and label ends (or None) without the rows that hold NaN, and how many those were."""
    ends = getattr(splitter, "label_end", None)
    if isinstance(y, pd.DataFrame):
        if not {"label", "end"} <= set(y):
            raise ValueError(f"A table of labels has the columns label and end, not {list(y)}.")
        ends, y = y["end"] if ends is None else ends, y["label"]
    if not (isinstance(X, pd.DataFrame) and isinstance(y, pd.Series) and isinstance(X.index, pd.DatetimeIndex)):
        raise ValueError("walk_forward takes a DataFrame of features with a DatetimeIndex and a Series of labels on it, "
                         f"not a {type(X).__name__} and a {type(y).__name__}.")
    if not X.index.equals(y.index):
        raise ValueError(f"X ({len(X):,} rows) and y ({len(y):,}) are not on one index: make both from the same bars.")
    if not (X.index.is_monotonic_increasing and X.index.is_unique):
        raise ValueError("The times of X have to increase, each one once.")
    whole = X.notna().all(axis=1) & y.notna()
    if not whole.any():
        empty = X.columns[X.isna().all()].tolist()
        raise ValueError(f"No row is left without NaN: {f'features {empty} have' if empty else 'every row has'} "
                         "a hole; look at the warm-up and at the labels.")
    X, y = X[whole], y[whole]
    ends = None if ends is None else pd.DataFrame(ends).iloc[:, -1].reindex(X.index)
    return X, y, ends, int(len(whole) - whole.sum())


def checked_folds(splitter, X: pd.DataFrame, y: pd.Series) -> list[tuple]:
    """(train, test) positions of each fold, in order."""
    folds = [(np.sort(train), np.sort(test)) for train, test in splitter.split(X, y)]
    if not folds:
        raise ValueError("The splitter gave no fold.")
    times = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(X))
    if times.max() > 1:
        raise ValueError(f"{X.index[times.argmax()]} is tested {times.max()} times: walk_forward gives one prediction a "
                         "row. Split in a way that tests each row once, or walk each path of the splitter by itself.")
    for number, (train, test) in enumerate(folds):
        if not len(train) or not len(test):
            raise ValueError(f"Fold {number} has {len(train)} rows to train on and {len(test)} to test.")
    return folds


def _obstacle(folds: list, index: pd.DatetimeIndex, ends: pd.Series | None) -> str:
    """Why models trained on these folds may not trade; "" if they may."""
    if ends is None:
        return ("It is not known when the labels were known: give walk_forward the whole table of labels (label, end), "
                "or a splitter of mlkit.splits.")
    starts = index[[test[0] for _, test in folds]]
    for (train, _), start in zip(folds, starts):
        late = ends.iloc[train] > start
        if (index[train[-1]] >= start) or late.any():
            row = ends.index[train[-1]] if not late.any() else late.index[late.to_numpy().argmax()]
            return (f"A model that decides from {start} on was trained on the row of {row}, whose label was known only "
                    f"on {ends[row]}: only WalkForward gives models that could have traded.")
    return "" if starts.is_monotonic_increasing else "Its folds are not in the order of time."


def _fit(model, X, y, folds: list[tuple]) -> tuple:
    """(fitted model, [(scores of the test rows, spans and scores) of each fold]); the folds share their train rows."""
    return _told(model, X, y, folds, lambda train: model.fit(X.iloc[train], y.iloc[train]))


def _learn_on(model, X, y, groups: list[list]):
    """As `_fit` for each group of folds, each model going on from a copy of the one before it."""
    seen = np.array([], dtype=int)
    for folds in groups:
        train = folds[0][1]
        new, going_on = np.setdiff1d(train, seen), copy.deepcopy(model)

        def learn(train, new=new, going_on=going_on, first=not len(seen)):
            if first:
                going_on.fit(X.iloc[train], y.iloc[train])
            elif len(new):
                _partial_fit(going_on, X.iloc[new], y.iloc[new])

        yield _told(going_on, X, y, folds, learn)
        model, seen = going_on, np.union1d(seen, train)


def _partial_fit(model, X, y) -> None:
    """One pass over new rows; the earlier steps of a pipeline stay as they are."""
    steps = getattr(model, "steps", None)
    if not hasattr(last_step(model), "partial_fit"):
        raise ValueError(f"{name_of(model)} cannot learn on (it has no partial_fit): take one that can, such as "
                         'make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss")), or online=False')
    rows = model[:-1].transform(X) if steps and len(steps) > 1 else X
    last_step(model).partial_fit(rows, y)


def _told(model, X, y, folds: list[tuple], learn) -> tuple:
    """What `_fit` gives, of a model that learns from the first fold's train rows by `learn(train)`."""
    parts = []
    with threadpool_limits(1):  # more threads make small fits slower, and the last bit another
        for number, train, test in folds:
            try:
                if number == folds[0][0]:
                    learn(train)
                first = min(train[0], test[0])
                scores = scores_of(model, X.iloc[: max(train[-1], test[-1]) + 1], first)
            except ValueError as error:
                error.add_note(f"(in fold {number}: trained {X.index[train[0]]} to {X.index[train[-1]]}, "
                               f"tested {X.index[test[0]]} to {X.index[test[-1]]})")
                raise
            parts.append((scores[test - first], _row(model, X.index, y, train, test, scores, first)))
    return model, parts


def _row(model, index, y, train, test, scores, first) -> dict:
    """The fold's row in `OutOfSample.folds`."""
    rate = _accuracy if hasattr(model, "predict_proba") else _r2
    return {"train_from": index[train[0]], "train_to": index[train[-1]], "n_train": len(train),
            "test_from": index[test[0]], "test_to": index[test[-1]], "n_test": len(test),
            "train_score": rate(y.iloc[train], scores[train - first]),
            "test_score": rate(y.iloc[test], scores[test - first])}


def _accuracy(labels, scores) -> float:
    return float(((scores > 0.5) == (labels == 1)).mean())


def _r2(labels, scores) -> float:
    return float(r2_score(labels, scores)) if len(labels) > 1 else np.nan
