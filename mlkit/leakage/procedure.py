"""Does a whole procedure look ahead: everything from X and y to out-of-sample predictions?

>>> import numpy as np, pandas as pd
>>> days, rng = pd.date_range("2024-01-01", periods=200), np.random.default_rng(1)
>>> X, y = pd.DataFrame({"x": rng.normal(size=200)}, days), pd.Series(rng.normal(size=200), days)
>>> def procedure(X, y):
...     return (X["x"] - X["x"].mean()) / X["x"].std()  # scaled by what is not yet known
>>> audit_procedure(procedure, X, y).findings[["kind", "column"]].to_numpy().tolist()
[['lookahead', 'predictions']]
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from tqdm.auto import tqdm

from mlkit.leakage.futures import altered, irregular_cuts, stamps
from mlkit.leakage.report import LeakageReport
from mlkit.leakage.split import ends_of
from mlkit.leakage.trail import Table, Trail, table_of
from mlkit.overfitting.ledger import uncounted

TESTS = ("noise", "resampled")
TOO_GOOD = 3.3  # standard errors: by chance once in 2,000 audits
LEAST_PREDICTIONS = 20


def audit_procedure(procedure, X, y, *, label_end=None, n_cuts=5, n_null=20, seed=0, progress=False) -> LeakageReport:
    """Whether out-of-sample predictions depend on what came after them, or on the labels they are scored on.

    procedure : (X, y) -> Series of predictions, numbers, indexed by rows of X: scaling, selection,
        tuning, fitting and splitting are all to happen inside it
    X : DataFrame (n, k), y : Series (n,), on one DatetimeIndex that increases, no row without a label
    label_end : as for `audit_split`: when each label is known (`labels["end"]`). With it, labels
        not yet known at a cut are changed too: a missing purge shows.
    n_cuts, n_null : cuts to change the future at (five at least: the first prediction and the last
        but one are among them), and runs on null labels; 2 + 2 cuts + n_null runs in all
    seed : an int; the same gives the same report

    Two tests, each blind to what the other sees:

    - Another future. The rows of X and y after a cut are replaced, by noise and by rows drawn at
      random; no prediction up to the cut may move (by 1e-9). It catches what was fitted on
      everything: a scaler, a selection of features, a hyper-parameter; and K-fold
      cross-validation, which predicts the past from the future. The first cut is at the first
      prediction, where labels that were not purged show.
    - Null labels. y is drawn from its own values, independently and with replacement, so that
      nothing can be known about it. The rank correlation of predictions with it, pooled over
      the runs, is a finding above 3.3 standard errors. It catches what has seen the labels it is
      scored on, such as choosing the best of many models on the test fold.

    Neither sees a label or a bar of the future that is a column of X: that is for `audit_features`.
    A backtest inside `procedure` is no trial to an open ledger in these runs.
    Raises ValueError for X and y that do not fit together; what `procedure` raises on them as they
    are, it raises.
    """
    _check(X, y)
    rng = np.random.default_rng(seed)
    known = None if label_end is None else stamps(ends_of(X.index, label_end))
    trail = Trail("procedure", stamps(X.index), X.index.tz, actor="the procedure", what="rows of X and y", noun="rows",
                  advice=" Fit and choose everything on the rows before a prediction.")

    def run(X, y) -> tuple[Table, pd.Series]:
        with uncounted():
            return _predictions(procedure(X.copy(), y.copy()), X.index)

    full, predictions = run(X, y)
    trail.repeat([full], [run(X, y)[0]])
    cuts = _cuts(predictions, X.index, n_cuts, rng)
    plan = [] if trail.random else [(test, cut) for cut in cuts for test in TESTS]
    scores = []
    bar = tqdm(total=len(plan) + n_null, desc="audit", unit=" runs", disable=not progress)
    with bar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models on noise: our doing, not the procedure's
        for test, cut in plan:
            now = trail.clock[cut]
            try:
                other, _ = run(altered({"": X}, now, test, rng)[""], _other_labels(y, known, trail.clock, now, rng))
                trail.compare(test, now, [full], [other])
            except Exception as error:
                trail.fail(test, now, error)
            bar.update()
        for _ in range(n_null):
            null = pd.Series(rng.choice(y.to_numpy(), len(y)), y.index, name=y.name)
            try:
                scores.append(_agreement(run(X, null)[1], null, y))
                trail.count("null labels")
            except Exception as error:
                _null_failed(trail, error)
            bar.update()
    return trail.report([_judge_null(trail, np.array([score for score in scores if score is not None]))])


def _check(X, y) -> None:
    index = getattr(X, "index", None)
    if not isinstance(X, pd.DataFrame) or not isinstance(index, pd.DatetimeIndex) or not (
            index.is_unique and index.is_monotonic_increasing):
        raise ValueError("X has to be a DataFrame on a DatetimeIndex that increases: the rows in the order of their "
                         "decisions. Put the times of the decisions in its index.")
    if not isinstance(y, pd.Series) or not y.index.equals(index) or y.isna().any():
        raise ValueError("y has to be a Series on the index of X without NaN: keep the rows where both are known, "
                         "such as X = X[y.notna()].dropna(); y = y[X.index].")


def _predictions(made, index: pd.DatetimeIndex) -> tuple[Table, pd.Series]:
    """What a procedure gave, checked: as a Table, and without NaN."""
    if not isinstance(made, pd.Series) or not pd.api.types.is_numeric_dtype(made):
        raise ValueError(f"A procedure gives a Series of numbers indexed by rows of X, not a {type(made).__name__}"
                         f"{f' of {made.dtype}' if isinstance(made, pd.Series) else ''}.")
    if not made.index.is_unique or not made.index.isin(index).all():
        raise ValueError("The predictions are to be indexed by rows of X, each once: predict each row in one fold.")
    known = made.astype(float).dropna()
    if len(known) < LEAST_PREDICTIONS:
        raise ValueError(f"{len(known)} predictions are too few to judge: an audit needs at least {LEAST_PREDICTIONS}.")
    return table_of(made.rename("predictions")), known


def _cuts(predictions: pd.Series, index: pd.DatetimeIndex, count: int, rng) -> list[int]:
    """Positions in X: at the first prediction, and irregularly to the last but one."""
    at = np.sort(index.get_indexer(predictions.index))
    return sorted({int(at[0]), *(int(at[row]) for row in irregular_cuts(1, len(at) - 2, count - 1, rng))})


def _other_labels(y: pd.Series, known, clock: np.ndarray, now: int, rng) -> pd.Series:
    """Labels with those after the cut, and those not yet known at it, drawn anew."""
    unknown = clock > now if known is None else (clock > now) | (known > now)
    other = y.to_numpy().copy()
    other[unknown] = rng.choice(other, int(unknown.sum()))
    return pd.Series(other, y.index, name=y.name)


def _agreement(predictions: pd.Series, null: pd.Series, y: pd.Series) -> float | None:
    """Standard errors by which ranks of predictions and null labels agree; None for constant predictions.

    Labels are scored by their ranks in y, from which they were drawn, so that their variance is
    known. Honest predictions that learn from earlier labels come out a little below 0, as all are
    centred on their common mean: the safe side of a test for too much agreement.
    """
    weights = rankdata(predictions.to_numpy())
    weights -= weights.mean()
    ranks = rankdata(y.to_numpy())
    if not weights.any() or not (ranks - ranks[0]).any():
        return None
    order = np.argsort(y.to_numpy())
    score = ranks[order][np.searchsorted(y.to_numpy()[order], null[predictions.index].to_numpy())]
    return float(weights @ score / ranks.std() / np.sqrt(weights @ weights))


def _null_failed(trail: Trail, error: Exception) -> None:
    trail.count("null labels", undetermined=True)
    if trail.counts["null labels"][2] == 1:
        trail.extra.append(("undetermined", "", pd.NaT,
                            "The test on null labels could not be made: the procedure failed on labels drawn at "
                            f"random ({type(error).__name__}: {error}). What was not looked at is not clean: let the "
                            "procedure take such labels, then audit it again."))


def _judge_null(trail: Trail, scores: np.ndarray) -> str:
    """Adds the finding, if there is one; a note with the figure."""
    if not len(scores):
        return "the predictions on null labels were all constant: that test had nothing to judge."
    z = scores.sum() / np.sqrt(len(scores))
    figure = f"z = {z:.1f} over {len(scores)} runs"
    if z > TOO_GOOD:
        trail.counts["null labels"][1] = int((scores > 0).sum())
        trail.extra.append(("null labels", "predictions", pd.NaT,
                            f"Predictions agree with labels drawn at random: {figure}, where {TOO_GOOD} would be "
                            "chance once in 2,000 audits. Nothing can be known about such labels, so the procedure has "
                            "seen those it is scored on: it chose a model, a feature or a parameter by them, or was "
                            "fitted on them. Choose on rows before the test alone."))
    return f"null labels: {figure} (a finding above {TOO_GOOD})."
