"""The probability of backtest overfitting: does the best trial in sample stay good out of sample?

Combinatorially symmetric cross-validation: the bars are cut into blocks, and every way of
taking half of them as the sample is tried. Each time the best trial in sample is looked up
among all trials in the other half.

>>> import numpy as np
>>> luck = np.random.default_rng(5).normal(size=(1000, 20))
>>> probability_of_overfitting(luck)
<PBO 0.44: in 12,870 splits of 16 blocks, the best of 20 trials in sample (by sharpe) \
was no better than the median out of sample in 44 %, and lost in 33 %>
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
import pandas as pd

AT_ONCE = 2**18  # figures worked on together: 2 megabytes an array
MOST_BLOCKS = 24  # 2.7 million splits
EQUAL = 1e-10  # of the largest figure of a split: two trials nearer than that are a tie
STILL = 1e-6  # of its own deviation: a trial that moves less in a block does not move there


@dataclass(frozen=True, eq=False)
class PBO:
    """What `probability_of_overfitting` found; an array has one value a split (splits,).

    probability : share of the splits in which the best in sample was at or below the median out
        of sample (logit <= 0): near 0.5 for luck, near 0 for one trial that is truly better
    logits : ln(w / (1 - w)) of its rank out of sample, w = rank / (trials + 1), 1 the worst
    in_sample, out_of_sample : the metric of the best in sample, per period, in either half
    chosen : which trial that was, its position among `trials` (names)
    """

    logits: np.ndarray
    in_sample: np.ndarray
    out_of_sample: np.ndarray
    chosen: np.ndarray
    trials: list
    n_blocks: int
    metric: str

    @property
    def probability(self) -> float:
        return float((self.logits <= 0.0).mean())

    def plot(self):
        """The best in sample, there against out of sample; a matplotlib Figure."""
        from mlkit.overfitting.pictures import plot_degradation

        return plot_degradation(self)

    def __repr__(self) -> str:
        lost = (self.out_of_sample < 0).mean()
        return (f"<PBO {self.probability:.2f}: in {len(self.logits):,} splits of {self.n_blocks} blocks, the best of "
                f"{len(self.trials)} trials in sample (by {self.metric}) was no better than the median out of sample "
                f"in {100 * self.probability:.0f} %, and lost in {100 * lost:.0f} %>")


def probability_of_overfitting(performance, n_blocks=16, metric="sharpe") -> PBO:
    """How often the trial that looks best would have been a disappointment, from the returns of all trials.

    performance : DataFrame or array (n, trials), returns per period, a column a trial: all that
        were tried, not only the good ones
    n_blocks : even, 2 to 24; every way of choosing half of them is a split (12,870 of 16). The
        blocks are of one size: the first n % n_blocks rows are left out
    metric : "sharpe" (per period, ddof=1) or "mean"

    Of trials that tie, the first is chosen in sample; out of sample they share their mean rank.
    Bailey, Borwein, Lopez de Prado & Zhu (2015), The Probability of Backtest Overfitting, Journal
    of Computational Finance. Raises ValueError for NaN, fewer than 2 trials or than 2 rows a
    block, and, for "sharpe", a trial that does not move in half of the blocks.
    """
    values, names = _checked(performance, n_blocks, metric)
    blocks = values[len(values) % n_blocks :].reshape(n_blocks, -1, len(names))
    centre = blocks.mean(axis=(0, 1))
    if metric == "sharpe":
        _check_moves(blocks, centre, names)
    away = blocks - centre  # sums of squares lose digits far from zero
    sums, squares = away.sum(axis=1), np.einsum("bij,bij->bj", away, away)
    rows = blocks.shape[1] * n_blocks // 2

    def figures(taken: np.ndarray) -> np.ndarray:
        """The metric (splits, trials) in the blocks marked 1 (splits, n_blocks)."""
        total = taken @ sums
        mean = centre + total / rows
        return mean if metric == "mean" else mean / np.sqrt((taken @ squares - total**2 / rows) / (rows - 1))

    found = [_split(figures(taken), figures(1.0 - taken)) for taken in _halves(n_blocks, AT_ONCE // len(names) + 1)]
    chosen, ranks, in_sample, out_of_sample = (np.concatenate(part) for part in zip(*found))
    return PBO(logits=np.log(ranks / (len(names) + 1 - ranks)), in_sample=in_sample, out_of_sample=out_of_sample,
               chosen=chosen, trials=names, n_blocks=n_blocks, metric=metric)


def _halves(n_blocks: int, at_once: int) -> Iterator[np.ndarray]:
    """Every choice of half of the blocks, 1.0 where taken, piece by piece: (up to at_once, n_blocks)."""
    choices = combinations(range(n_blocks), n_blocks // 2)
    while piece := list(islice(choices, at_once)):
        taken = np.zeros((len(piece), n_blocks))
        np.put_along_axis(taken, np.array(piece), 1.0, axis=1)
        yield taken


def _split(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, ...]:
    """The best in sample, its rank out of sample (1 the worst), and its metric in both: (splits,) each."""
    slack_inside, slack_outside = (EQUAL * np.abs(each).max(axis=1, keepdims=True) for each in (inside, outside))
    best = (inside >= inside.max(axis=1, keepdims=True) - slack_inside).argmax(axis=1)[:, None]
    own = np.take_along_axis(outside, best, axis=1)
    below = (outside < own - slack_outside).sum(axis=1)
    level = (outside <= own + slack_outside).sum(axis=1) - below  # itself, and those it ties with
    return best[:, 0], below + (level + 1) / 2, np.take_along_axis(inside, best, axis=1)[:, 0], own[:, 0]


def _checked(performance, n_blocks, metric) -> tuple[np.ndarray, list]:
    """The returns (n, trials) and the names of the trials."""
    if metric not in ("sharpe", "mean"):
        raise ValueError(f'metric is "sharpe" or "mean", not {metric!r}.')
    if not isinstance(n_blocks, (int, np.integer)) or n_blocks not in range(2, MOST_BLOCKS + 1, 2):
        raise ValueError(f"n_blocks is an even number from 2 to {MOST_BLOCKS} ({comb(MOST_BLOCKS, MOST_BLOCKS // 2):,} "
                         f"splits), not {n_blocks!r}.")
    values = np.asarray(performance, dtype=float)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"performance has a column for each of 2 or more trials, not the shape {values.shape}.")
    table = performance if isinstance(performance, pd.DataFrame) else pd.DataFrame(values)
    least = (2 if metric == "sharpe" else 1) * n_blocks
    if len(values) < least:
        raise ValueError(f"{len(values)} rows are too few for {n_blocks} blocks by {metric}: {least} are needed, "
                         "or fewer blocks.")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"performance of {table.columns[column]!r} is {values[row, column]} at {table.index[row]} "
                         f"({len(bad)} such): all trials need the same span, with a return in every row.")
    return values, list(table.columns)


def _check_moves(blocks: np.ndarray, centre: np.ndarray, names: list) -> None:
    """Raise ValueError for a trial that is constant in some half of the blocks: it has no Sharpe ratio there."""
    half = len(blocks) // 2
    deviation = blocks.std(axis=(0, 1))
    slack = np.maximum(STILL * deviation, 1e-12 * np.maximum(np.abs(centre), 0.01))
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    still = high - low <= slack
    for column in np.flatnonzero(still.sum(axis=0) >= half):
        levels = np.sort(low[still[:, column], column])
        if (levels[half - 1 :] - levels[: len(levels) - half + 1] <= slack[column]).any():
            raise ValueError(f"trial {names[column]!r} does not move in {still[:, column].sum()} of {len(blocks)} "
                             'blocks: it has no Sharpe ratio there. Leave it out knowingly, or use metric="mean".')
