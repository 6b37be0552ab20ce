"""Trailing windows whose value depends on the window alone.

A running sum drifts: its value at a bar depends on every bar before the window, so
a backtest, a shorter history and a live system disagree in the last digits. Here
each value is merged from its own window in a fixed order, so that the whole table,
any prefix and the last `window` bars give the same bits; and it is quick, because a
window of 20 is put together from blocks of 4 and 16.

>>> rolling_mean([1.0, 2.0, 3.0, 4.0], 2)
array([nan, 1.5, 2.5, 3.5])
"""

from __future__ import annotations

import numpy as np

CHUNK = 8192  # values worked on at once: they stay in the processor's cache


def rolling_mean(values, window: int) -> np.ndarray:
    """Mean of the last `window` values, the current one included: (n,), NaN before the first."""
    return rolling_moments(values, window)[0]


def rolling_moments(values, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation (ddof=1) of the last `window` values.

    values : (n,) floats
    returns : two arrays (n,), NaN for the first window - 1 values (and the standard
        deviation everywhere when window is 1)

    Sums of squares are merged as Chan, Golub & LeVeque (1979), eq. 2.1, do: no
    cancellation however far the values are from zero. Raises ValueError for a window under 1.
    """
    values = np.ascontiguousarray(values, dtype=float)
    mean, deviation = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for at, total, squares in _windows(values, window):
        np.divide(total, window, out=mean[at])
        if window > 1:
            np.sqrt(squares / (window - 1), out=deviation[at])
    return mean, deviation


def rolling_score(values, window: int, flat: float) -> np.ndarray:
    """(value - mean) / standard deviation (ddof=1) over the last `window` values: (n,).

    NaN for the first window - 1 values, and where the standard deviation is below
    `flat` times the value. The mean and the deviation are those of `rolling_moments`.
    """
    score = np.full(len(values), np.nan)
    for at, part in score_pieces(values, window, flat):
        score[at] = part
    return score


def score_pieces(values, window: int, flat: float):
    """`rolling_score` piece by piece: (slice, scores), the first `window` - 1 left out."""
    values = np.ascontiguousarray(values, dtype=float)
    for at, total, squares in _windows(values, window):
        now = values[at]
        squares /= window - 1
        deviation = np.sqrt(squares, out=squares)
        still = deviation < flat * np.abs(now)
        if still.any():
            deviation[still] = np.nan
        part = now - total / window
        part /= deviation
        yield at, part


def _windows(values: np.ndarray, window: int):
    """(slice of the results, sums, sums of squared deviations) of all full windows, chunk by chunk."""
    if window < 1:
        raise ValueError(f"a window needs at least 1 value, not {window}")
    for first in range(0, len(values) - window + 1, CHUNK):
        total, squares = _window_sums(values[first : first + CHUNK + window - 1], window)
        yield slice(first + window - 1, first + window - 1 + len(total)), total, squares


def _window_sums(values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum, and sum of squared deviations from their mean, of each full window."""
    size, block, block_squares = 1, values, np.zeros(len(values))
    count, total, squares = 0, None, None
    while True:
        if window & size:
            if total is None:
                count, total, squares = size, block, block_squares
            else:
                late, early = total[size:], block[: len(total) - size]
                gap = late / count - early / size
                squares = squares[size:] + block_squares[: len(early)] + gap * gap * (count * size / (count + size))
                count, total = count + size, late + early
        if count == window:
            return total, squares
        gap = block[size:] - block[:-size]
        block_squares = block_squares[size:] + block_squares[:-size] + gap * gap * (0.5 / size)
        block = block[size:] + block[:-size]
        size *= 2
