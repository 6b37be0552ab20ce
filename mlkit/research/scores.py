"""How good predictions were, with an interval that knows how little a market tells.

>>> import numpy as np, pandas as pd
>>> index = pd.date_range("2020-01-01", periods=400)
>>> labels = pd.Series(np.tile([1.0, 0.0, 1.0, 1.0], 100), index)
>>> evaluate(pd.Series(0.75, index), labels, n_boot=200).loc[["accuracy", "brier"], "value"].tolist()
[0.75, 0.1875]
"""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd
from scipy.stats import rankdata

SURE = 1e-15  # a probability of 0 or 1 is taken for one this far from it in the log loss, as in scikit-learn
AT_ONCE = 2**22  # weights held at a time, in resampled rows


def evaluate(predictions: pd.Series, labels: pd.Series, *, task: str = "direction", confidence: float = 0.95,
             n_boot: int = 1000, block: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Scores of predictions (n,) against labels (n,), each with a block-bootstrap interval.

    task : "direction", predictions are probabilities of class 1: accuracy (of calling it above
        1/2), auc, log_loss, brier, information_coefficient. "volatility", predictions and labels
        are volatilities: qlike, r2. Anything else, predictions are values:
        information_coefficient, r2 (against the mean label), hit_rate (share of signs called
        right; 0 counts as no rise), mean_absolute_error
    block : rows drawn together, since what overlaps or trends is not independent; None for the
        cube root of n, rounded up. Take at least the label's horizon
    n_boot, seed : circular block bootstrap (Politis & Romano 1992), through arch

    The information coefficient is Spearman's rank correlation (ranks are kept as they are when
    rows are drawn again). QLIKE is the mean of ratio - ln(ratio) - 1, where ratio = (label /
    prediction)^2: 0 for what was right, dearer for too low than for too high, and blind to the
    market's own level of volatility; Patton (2011), J. Econometrics 160, 246-256. Where nothing
    moved, the label counts as the smallest above 0: it adds the same to every forecast's score.

    Returns DataFrame, one row a score: value, low, high, n. A score is NaN where it is not
    defined: the AUC of one class, the correlation of a constant. Raises ValueError for tables of
    other lengths or indexes, NaN, probabilities outside [0, 1], volatilities forecast at 0.
    """
    values, truth = _checked(predictions, labels, task)
    n = len(values)
    if not 0 < confidence < 1 or n_boot < 1:
        raise ValueError(f"confidence lies between 0 and 1 and n_boot is 1 or more, not {confidence} and {n_boot}.")
    block = ceil(n ** (1 / 3)) if block is None else block
    if not 1 <= block <= n:
        raise ValueError(f"block is a number of rows from 1 to {n}, not {block}.")
    rates = {"direction": _direction_scores, "volatility": _volatility_scores}
    rate = rates.get(task, _value_scores)(values, truth)
    whole = rate(np.ones((1, n)))
    draws = [rate(weights) for weights in _weights(n, block, n_boot, seed)]
    tail = 50 * (1 - confidence)
    rows = {}
    for name, value in whole.items():
        drawn = np.concatenate([each[name] for each in draws])
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
        rows[name] = {"value": float(value[0]), "low": low, "high": high, "n": n}
    return pd.DataFrame.from_dict(rows, orient="index")


def _checked(predictions, labels, task) -> tuple[np.ndarray, np.ndarray]:
    if not (isinstance(predictions, pd.Series) and isinstance(labels, pd.Series)
            and predictions.index.equals(labels.index) and len(labels)):
        raise ValueError("Predictions and labels are two Series on one index, at least one row.")
    values, truth = predictions.to_numpy(dtype=float), labels.to_numpy(dtype=float)
    for name, each in (("predictions", values), ("labels", truth)):
        if not np.isfinite(each).all():
            raise ValueError(f"The {name} hold {(~np.isfinite(each)).sum()} NaN or infinite values: drop those rows.")
    if task == "direction" and (values.min() < 0 or values.max() > 1):
        raise ValueError(f"Predictions of a direction are probabilities, not {values.min():.3g} to {values.max():.3g}: "
                         'for values say task="return".')
    if task == "volatility" and (values.min() <= 0 or truth.min() < 0):
        raise ValueError("A volatility is not negative, and its forecast above 0: "
                         f"not {values.min():.3g} with labels from {truth.min():.3g}.")
    return values, truth


def _weights(n: int, block: int, n_boot: int, seed: int):
    """How often each row was drawn, (draws, n), some draws at a time."""
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    drawn = (rows[0][0] for rows in CircularBlockBootstrap(block, np.arange(n), seed=seed).bootstrap(n_boot))
    size = max(1, AT_ONCE // n)
    for first in range(0, n_boot, size):
        yield np.array([np.bincount(next(drawn), minlength=n) for _ in range(min(size, n_boot - first))], dtype=float)


def _direction_scores(values, truth):
    """A function of weights (draws, n) that gives every score (draws,)."""
    up = truth == 1
    sure = np.clip(values, SURE, 1 - SURE)
    means = {"accuracy": (values > 0.5) == up, "log_loss": -np.where(up, np.log(sure), np.log1p(-sure)),
             "brier": (values - up) ** 2}
    auc, correlation = _auc(values, up), _correlation(rankdata(values), rankdata(up))

    def rate(weights):
        found = {name: weights @ each / len(values) for name, each in means.items()}
        return {"accuracy": found["accuracy"], "auc": auc(weights), "log_loss": found["log_loss"],
                "brier": found["brier"], "information_coefficient": correlation(weights)}

    return rate


def _value_scores(values, truth):
    means = {"hit_rate": (values > 0) == (truth > 0), "mean_absolute_error": np.abs(truth - values)}
    correlation, r2, n = _correlation(rankdata(values), rankdata(truth)), _r2(values, truth), len(values)

    def rate(weights):
        return {"information_coefficient": correlation(weights), "r2": r2(weights),
                **{name: weights @ each / n for name, each in means.items()}}

    return rate


def _volatility_scores(values, truth):
    moved = truth[truth > 0]
    ratio = (np.maximum(truth, moved.min() if len(moved) else np.nan) / values) ** 2
    loss, r2 = ratio - np.log(ratio) - 1.0, _r2(values, truth)
    return lambda weights: {"qlike": weights @ loss / len(values), "r2": r2(weights)}


def _r2(values, truth):
    """The share of the labels' variance that is explained."""
    error, n = (truth - values) ** 2, len(values)

    def rate(weights):
        spread = weights @ truth**2 / n - (weights @ truth / n) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 0, 1 - weights @ error / n / spread, np.nan)

    return rate


def _auc(values, up):
    """The share of (rise, fall) pairs of rows in which the rise has the higher value; ties count one half."""
    order = np.argsort(values, kind="stable")
    ties = np.flatnonzero(np.append(True, np.diff(values[order]) > 0))  # where each new value begins
    up = up[order]

    def rate(weights):
        rises = np.add.reduceat(weights[:, order] * up, ties, axis=1)
        falls = np.add.reduceat(weights[:, order] * ~up, ties, axis=1)
        below = np.cumsum(falls, axis=1) - falls / 2
        pairs = rises.sum(axis=1) * falls.sum(axis=1)
        return np.divide((rises * below).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)

    return rate


def _correlation(first, second):
    """The correlation of two fixed columns (n,) under weights."""
    first, second = first - first.mean(), second - second.mean()
    columns = np.column_stack([first, second, first**2, second**2, first * second])

    def rate(weights):
        a, b, aa, bb, ab = (weights @ columns / len(first)).T
        spread = (aa - a * a) * (bb - b * b)
        return np.divide(ab - a * b, np.sqrt(spread, where=spread > 0, out=np.ones_like(spread)),
                         out=np.full(len(a), np.nan), where=spread > 1e-12)

    return rate
