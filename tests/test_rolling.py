"""Trailing windows: exact, and the same bits whatever stands before the window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.rolling import CHUNK, rolling_mean, rolling_moments


@settings(deadline=None)
@given(seed=st.integers(0, 1000), window=st.integers(1, 70), n=st.integers(1, 200), level=st.sampled_from([0.0, 1e6]))
def test_against_each_window_by_itself(seed, window, n, level):
    values = level + np.random.default_rng(seed).normal(size=n)
    mean, deviation = rolling_moments(values, window)
    assert np.isnan(mean[: window - 1]).all() and len(mean) == n
    for t in range(window - 1, n):
        part = values[t - window + 1 : t + 1]
        assert mean[t] == pytest.approx(part.mean(), rel=1e-12)
        if window > 1:
            assert deviation[t] == pytest.approx(part.std(ddof=1), rel=1e-7 if level else 1e-12)


@settings(deadline=None, max_examples=30)
@given(window=st.integers(2, 64), start=st.integers(0, CHUNK + 10))
def test_the_same_bits_from_any_start(window, start):
    """Across the edges of the chunks too."""
    values = np.exp(np.random.default_rng(1).normal(size=2 * CHUNK + 300))
    for whole, part in zip(rolling_moments(values, window), rolling_moments(values[start:], window)):
        np.testing.assert_array_equal(whole[start + window - 1 :], part[window - 1 :])


def test_a_constant_far_from_zero_has_no_deviation():
    assert rolling_moments(np.full(50, 1e9 + 0.1), 20)[1][-1] == 0.0


def test_a_missing_value_spoils_its_windows_and_no_others():
    values = np.arange(30.0)
    values[10] = np.nan
    assert np.flatnonzero(np.isnan(rolling_mean(values, 4))).tolist() == [0, 1, 2, 10, 11, 12, 13]


def test_windows_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        rolling_mean([1.0], 0)
