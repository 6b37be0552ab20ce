"""Detectors of change: sums that rise when something is worse than it was, and how often they cry wolf.

Part of `mlkit.production`. A CUSUM adds up how far each value is worse than it was by more than an
allowance, never falling below 0, and alarms at a threshold (Page 1954, Biometrika 41, 100; in the form
of Page and Hinkley where the sum is of deviations from a mean). How long it runs until a false alarm
is a property of the threshold: here the threshold is found so that this run length is what was asked
for, by letting the detector run over its own reference drawn again in blocks.

>>> import numpy as np
>>> calm = np.random.default_rng(0).normal(size=2_000)
>>> detector = Cusum("mean", allowance=0.5, run_length=500).calibrate(calm)
>>> 3.0 < detector.threshold < 5.0                  # Siegmund's approximation: 4.0
True
>>> detector.first_alarm(np.full(50, 1.5)) < 10     # one and a half deviations worse from now on
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PATHS = 200  # runs by which a threshold is found: about a thousand alarms, so it is known to 3 %
LENGTHS = 5  # of each, in run lengths asked for
WINDOWS = 20  # for each drawn reference of a stability index
BINS = 10
NONE = np.array([], dtype=int)


@dataclass
class Cusum:
    """A one-sided CUSUM of how much worse each value is: sum = max(0, sum + value - allowance).

    name : str; allowance : what is forgiven a value, half of the change one wants to find soon
    run_length : expected values between two false alarms; threshold : found by `calibrate`
    level : the sum as it stands
    """

    name: str
    allowance: float
    run_length: float
    threshold: float = math.nan
    level: float = 0.0

    def calibrate(self, reference, *, block: int = 1, seed: int = 0) -> Cusum:
        """Find the threshold at which a reference (n,) without change alarms every `run_length` values.

        block : values in a row that are drawn together, where neighbours are alike
        """
        reference = np.asarray(reference, dtype=float)
        paths = sums_of(drawn(reference, int(LENGTHS * self.run_length), block, seed) - self.allowance)
        self.threshold = _threshold(paths, self.run_length)
        return self

    def update(self, value: float) -> bool:
        """Take account of a value; True is an alarm, after which the sum begins again."""
        self.level = max(0.0, self.level + value - self.allowance)
        if self.level <= self.threshold:
            return False
        self.level = 0.0
        return True

    def update_many(self, values: np.ndarray) -> list[int]:
        """As `update` for values (n,) in a row; returns the positions of the alarms."""
        alarms, begin, steps = [], 0, np.asarray(values, dtype=float) - self.allowance
        while begin < len(steps):
            sums = sums_of(steps[begin:], self.level)
            over = np.flatnonzero(sums > self.threshold)
            if not len(over):
                self.level = float(sums[-1])
                break
            alarms.append(begin + int(over[0]))
            begin, self.level = alarms[-1] + 1, 0.0
        return alarms

    def first_alarm(self, values: np.ndarray) -> int | None:
        """Position of the first alarm in values (n,) from a fresh start; the detector stays as it is."""
        over = np.flatnonzero(sums_of(np.asarray(values, dtype=float) - self.allowance) > self.threshold)
        return int(over[0]) if len(over) else None


def sums_of(steps: np.ndarray, level: float = 0.0) -> np.ndarray:
    """The CUSUM of steps (..., n) along the last axis from `level` on: the sum less its lowest point so far, or 0."""
    total = level + np.cumsum(steps, axis=-1)
    return total - np.minimum(np.minimum.accumulate(total, axis=-1), 0.0)


def drawn(reference: np.ndarray, length: int, block: int, seed: int, paths: int = PATHS) -> np.ndarray:
    """Paths (paths, length) of a reference (n,) drawn again in circular blocks."""
    rng = np.random.default_rng(seed)
    pieces = -(-length // block)
    starts = rng.integers(0, len(reference), (paths, pieces))
    rows = (starts[:, :, None] + np.arange(block)) % len(reference)
    return reference[rows.reshape(paths, -1)[:, :length]]


def _threshold(paths: np.ndarray, run_length: float) -> float:
    """The level that paths (m, n) of sums first pass after `run_length` on average, by bisection.

    The average counts the paths that never pass it: exposure over passages, as for waiting times that end early.
    """
    highest = np.maximum.accumulate(paths, axis=1)

    def waits(level: float) -> float:
        first = (highest <= level).sum(axis=1)
        passed = int((first < paths.shape[1]).sum())
        return np.inf if not passed else float(np.minimum(first + 1, paths.shape[1]).sum()) / passed

    low, high = 0.0, float(highest[:, -1].max())
    if not high > 0:
        raise ValueError("the reference never gets worse than its allowance: nothing can be learnt from it")
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if waits(middle) < run_length else (low, middle)
    return high


class Stability:
    """The population stability index of k features over the last `window` values, looked at every `window`.

    PSI = sum over bins of (share now - share then) x ln(share now / share then), in tenths of the reference; a
    bin that is empty counts half a value. The threshold of each feature is the one that windows cut from the
    reference itself pass once in `run_length` values; the usual 0.1 and 0.25 say nothing of how long a window is.
    Siddiqi (2006), Credit Risk Scorecards.

    names : of the features; `threshold` and `level` (of the last window): (k,)
    """

    def __init__(self, names: list[str], window: int, run_length: float):
        self.names, self.window, self.run_length = list(names), window, run_length
        k = len(self.names)
        self.edges, self.expected = np.full((k, BINS - 1), np.inf), np.zeros((k, BINS))
        self.threshold, self.level = np.full(k, np.nan), np.zeros(k)
        self.counts, self.seen = np.zeros((k, BINS)), 0

    def calibrate(self, reference: np.ndarray, *, block: int, seed: int = 0) -> Stability:
        """Bins and thresholds from values (n, k) without change; `block` of them in a row are drawn together."""
        for row, values in enumerate(np.asarray(reference, dtype=float).T):
            edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
            self.edges[row, : len(edges)] = edges  # bins beyond the last edge stay empty, then and now
            self.expected[row] = self._shares(row, values)
            # Windows against references drawn in the same way: a reference of few values is off by chance too.
            then = self._shares(row, drawn(values, len(values), block, seed, paths=PATHS))
            now = self._shares(row, drawn(values, self.window, block, seed + 1, paths=WINDOWS * PATHS))
            found = stability_index(np.repeat(then, WINDOWS, axis=0), now, self.window)
            self.threshold[row] = np.quantile(found, 1.0 - self.window / self.run_length)
        return self

    def _shares(self, row: int, values: np.ndarray) -> np.ndarray:
        """Share of each of a feature's bins in values (..., n): (..., BINS)."""
        bins = np.searchsorted(self.edges[row], values, side="right")
        return np.stack([(bins == bin_).mean(axis=-1) for bin_ in range(BINS)], axis=-1)

    def update(self, values: np.ndarray) -> np.ndarray:
        """Take account of the values (k,) of a bar; returns which features alarm: positions, mostly none."""
        self.counts[np.arange(len(self.names)), (self.edges <= values[:, None]).sum(axis=1)] += 1.0
        self.seen += 1
        return self._look() if self.seen == self.window else NONE

    def update_many(self, values: np.ndarray) -> list[tuple[int, int, float]]:
        """As `update` for values (n, k) in a row; returns (position, feature, level) of each alarm."""
        alarms, begin = [], 0
        while begin < len(values):
            end = min(begin + self.window - self.seen, len(values))
            for row, column in enumerate(values[begin:end].T):
                bins = np.searchsorted(self.edges[row], column, side="right")
                self.counts[row] += np.bincount(bins, minlength=BINS)
            self.seen += end - begin
            if self.seen == self.window:
                alarms += [(end - 1, int(row), float(self.level[row])) for row in self._look()]
            begin = end
        return alarms

    def _look(self) -> np.ndarray:
        """The window has ended: what it says, and begin the next."""
        self.level = stability_index(self.expected, self.counts / self.window, self.window)
        self.counts, self.seen = np.zeros_like(self.counts), 0
        return np.flatnonzero(self.level > self.threshold)


def stability_index(expected, actual, n: float = np.inf) -> np.ndarray:
    """Population stability index between shares (k,) and shares (..., k) of n values; an empty bin counts as half a value.

    sum of (actual - expected) x ln(actual / expected): the symmetric Kullback-Leibler divergence.
    """
    expected, actual = (np.maximum(np.asarray(each, dtype=float), 0.5 / n) for each in (expected, actual))
    return ((actual - expected) * np.log(actual / expected)).sum(axis=-1)
