"""How much a Sharpe ratio proves: its standard error, and what is left of it after many trials.

Every ratio here is per period (a daily one for daily returns: the annual one over the square
root of the periods a year), and kurtosis is raw: 3 for normal returns. Arguments are numbers
or arrays that go together; the answer is a float or an array.

Two conventions are in use, and they do not agree:

- "2014", Bailey & Lopez de Prado (2012, 2014): standard error at the observed ratio, over n - 1.
- "2025", Lopez de Prado, Lipton & Zoonekynd (2025): standard error at the ratio under the null
  hypothesis, over n; and the deflated ratio takes into account that the best of many luck-made
  ratios varies less than a single one.

When none of 100 independent trials has an edge, the best reaches a deflated ratio above 0.95 in
0.15 % of cases by the first and in 5.9 % by the second (their variance being known).

>>> daily = 2.5 / 250**0.5
>>> round(deflated_sharpe(daily, 1250, n_trials=100, variance=0.5 / 250, skew=-3, kurtosis=10), 4)
0.9004
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

CONVENTIONS = ("2014", "2025")
EULER = float(np.euler_gamma)
GRID = np.arange(-12.0, 14.0, 0.01)  # normal deviates: on so smooth a curve a plain sum is exact to rounding
DENSITY = np.exp(-(GRID**2) / 2.0) / np.sqrt(2.0 * np.pi) * 0.01


def sharpe_standard_error(sharpe, n, skew=0.0, kurtosis=3.0, *, ddof=0):
    """Standard error of a Sharpe ratio: sqrt((1 - skew SR + (kurtosis - 1) / 4 SR^2) / (n - ddof)).

    sharpe : per period; n : returns it was measured on
    ddof : 0 as in Lo (2002), Table 1, and Lopez de Prado et al. (2025); 1 as in Bailey & Lopez de
        Prado (2012), whose probabilistic ratio is Phi((SR - benchmark) / this)

    Mertens (2002), Comments on variance of the IID estimator in Lo. Returns are taken as
    independent: autocorrelated ones make it larger. Raises ValueError for a kurtosis that cannot
    be, n < 2 and values that are not finite.
    """
    _check(sharpe=sharpe, n=n, skew=skew, kurtosis=kurtosis)
    return _plain(np.sqrt(_variance(sharpe, skew, kurtosis) / (np.asarray(n, dtype=float) - ddof)))


def probabilistic_sharpe(sharpe, n, *, benchmark=0.0, skew=0.0, kurtosis=3.0, convention="2014"):
    """Probability, 0 to 1, that the true Sharpe ratio is above `benchmark`, from one observed on n returns.

    "2014": Phi((SR - benchmark) / standard error at SR, over n - 1), Bailey & Lopez de Prado
    (2012). "2025": the standard error at the benchmark, over n; one minus this is the
    p-value of the test that the ratio is no more than the benchmark. Raises ValueError as
    `sharpe_standard_error`, and for another convention.
    """
    at, ddof = _null_or_observed(convention, sharpe, benchmark)
    _check(sharpe=sharpe, n=n, skew=skew, kurtosis=kurtosis, benchmark=benchmark)
    error = sharpe_standard_error(at, n, skew, kurtosis, ddof=ddof)
    return _plain(ndtr(np.subtract(sharpe, benchmark) / error))


def minimum_track_record(sharpe, *, benchmark=0.0, skew=0.0, kurtosis=3.0, confidence=0.95, convention="2014"):
    """How many returns a Sharpe ratio needs to be above `benchmark` with that confidence (0.5 to 1).

    The n, seldom whole, at which `probabilistic_sharpe` reaches `confidence`; infinite for a ratio
    at or below its benchmark. Bailey & Lopez de Prado (2012); for "2025" Lopez de Prado et
    al. (2025), without the 1 that is added there. Raises ValueError as `probabilistic_sharpe`.
    """
    at, ddof = _null_or_observed(convention, sharpe, benchmark)
    _check(sharpe=sharpe, skew=skew, kurtosis=kurtosis, benchmark=benchmark)
    if not np.all((0.5 < np.asarray(confidence)) & (np.asarray(confidence) < 1.0)):
        raise ValueError(f"confidence is a probability above 0.5 and below 1, such as 0.95, not {confidence!r}.")
    excess = np.subtract(sharpe, benchmark, dtype=float)
    above = np.where(excess > 0.0, excess, 1.0)
    length = ddof + _variance(at, skew, kurtosis) * (ndtri(confidence) / above) ** 2
    return _plain(np.where(excess > 0.0, length, np.inf))


def minimum_backtest_length(n_trials, target_sharpe_per_year=1.0):
    """Years of backtest below which luck alone is expected to show the target among so many trials.

    target_sharpe_per_year : an annualised Sharpe ratio above 0; the trials are independent and
    none has an edge. (E[max of n_trials normals] / target)^2, Bailey, Borwein, Lopez de Prado &
    Zhu (2014), Notices of the AMS 61(5): 45 trials are too many for 5 years.

    >>> round(minimum_backtest_length(45), 1)
    5.0
    """
    if not np.all(np.asarray(target_sharpe_per_year) > 0.0):
        raise ValueError(f"target_sharpe_per_year is a Sharpe ratio above 0, not {target_sharpe_per_year!r}.")
    return _plain((expected_max_sharpe(n_trials, 1.0) / np.asarray(target_sharpe_per_year, dtype=float)) ** 2)


def expected_max_sharpe(n_trials, variance):
    """The best Sharpe ratio to expect of so many independent trials when none has an edge.

    variance : of the trials' Sharpe ratios, per period (or a year: so is the answer); of a single
        trial it is not asked for, and the answer is 0
    sqrt(variance) ((1 - g) z(1 - 1/N) + g z(1 - 1/(N e))) with Euler's g and normal quantiles z:
    Bailey & Lopez de Prado (2014). An approximation, 2.5 % too high for 5 trials and 0.4 %
    for 1,000. A fraction, an effective number of trials, is taken too: below 2, on a straight line.
    """
    trials = _check_trials(n_trials)
    deviation = np.sqrt(_check_variance(variance, trials))
    safe = np.maximum(trials, 2.0)
    many = -(1.0 - EULER) * ndtri(1.0 / safe) - EULER * ndtri(1.0 / (safe * np.e))
    return _plain(deviation * np.where(trials < 2.0, many * (trials - 1.0), many))


def deflated_sharpe(sharpe, n, *, n_trials, variance, skew=0.0, kurtosis=3.0, convention="2014"):
    """Probability, 0 to 1, that the best of `n_trials` is more than the luck of having tried so often.

    sharpe, n, skew, kurtosis : of the trial that was chosen; variance : of all trials' ratios

    `probabilistic_sharpe` with `expected_max_sharpe` for a benchmark: Bailey & Lopez de Prado
    (2014). "2025" also multiplies the standard error by the standard deviation of the
    maximum of so many normals (Lopez de Prado et al. 2025, Exhibit 3): 0.43 for 100. One trial is
    not deflated. Raises ValueError as they do.

    The example of 2014 (daily returns of 5 years, a Sharpe ratio of 2.5 a year, 100 trials) by
    "2014", by the standard error of 2025 alone, and by "2025":

    >>> daily, shape, tried = 2.5 / 250**0.5, {"skew": -3, "kurtosis": 10}, {"n_trials": 100, "variance": 0.5 / 250}
    >>> round(deflated_sharpe(daily, 1250, **tried, **shape), 4)
    0.9004
    >>> luck = expected_max_sharpe(**tried)
    >>> round(probabilistic_sharpe(daily, 1250, benchmark=luck, **shape, convention="2025"), 4)
    0.9128
    >>> round(deflated_sharpe(daily, 1250, **tried, **shape, convention="2025"), 4)
    0.9992
    """
    luck = expected_max_sharpe(n_trials, variance)
    at, ddof = _null_or_observed(convention, sharpe, luck)
    _check(sharpe=sharpe, n=n, skew=skew, kurtosis=kurtosis)
    error = sharpe_standard_error(at, n, skew, kurtosis, ddof=ddof)
    if convention == "2025":
        error = error * deviation_of_maximum(n_trials)
    return _plain(ndtr(np.subtract(sharpe, luck) / error))


def deviation_of_maximum(n_trials):
    """Standard deviation of the largest of so many independent standard normals, by quadrature."""
    trials = _check_trials(n_trials)[..., None]
    chances = trials * np.exp((trials - 1.0) * log_ndtr(GRID)) * DENSITY
    mean = (chances * GRID).sum(axis=-1)
    return _plain(np.sqrt((chances * (GRID - mean[..., None]) ** 2).sum(axis=-1)))


# ---- what they share


def _null_or_observed(convention, sharpe, benchmark):
    """(ratio at which the standard error is taken, what is taken off n) by the convention."""
    if convention not in CONVENTIONS:
        raise ValueError(f'convention is "2014" or "2025", not {convention!r}.')
    return (sharpe, 1) if convention == "2014" else (benchmark, 0)


def _variance(sharpe, skew, kurtosis):
    """Of the estimated ratio, times n."""
    sharpe = np.asarray(sharpe, dtype=float)
    return 1.0 - np.multiply(skew, sharpe) + np.subtract(kurtosis, 1.0) / 4.0 * sharpe**2


def _check(*, skew, kurtosis, n=2, **ratios) -> None:
    for name, values in {**ratios, "n": n, "skew": skew, "kurtosis": kurtosis}.items():
        if not np.all(np.isfinite(np.asarray(values, dtype=float))):
            raise ValueError(f"{name} has to be finite, not {values!r} (what never traded has no Sharpe ratio).")
    if not np.all(np.asarray(n) >= 2):
        raise ValueError(f"n is how many returns the ratio was measured on, 2 or more, not {n!r}.")
    least = 1.0 + np.square(np.asarray(skew, dtype=float))
    if not np.all(np.asarray(kurtosis, dtype=float) >= least * (1.0 - 1e-9)):
        raise ValueError(f"No returns have kurtosis {kurtosis!r} with skew {skew!r}: it is at least 1 + skew^2. Raw "
                         "kurtosis is needed, 3 for normal returns; pandas and scipy give the EXCESS by default: "
                         "add 3 to that.")


def _check_trials(n_trials) -> np.ndarray:
    trials = np.asarray(n_trials, dtype=float)
    if not np.all((trials >= 1.0) & (trials < np.inf)):
        raise ValueError(f"n_trials is how many were tried, 1 or more, not {n_trials!r}.")
    return trials


def _check_variance(variance, trials) -> np.ndarray:
    """The variance, 0 where a single trial cannot have one."""
    asked = np.where(trials > 1.0, np.asarray(variance, dtype=float), 0.0)
    if not np.all((asked >= 0.0) & (asked < np.inf)):
        raise ValueError(f"variance is that of the trials' Sharpe ratios, 0 or more, not {variance!r}.")
    return asked


def _plain(values):
    """A float for what holds one number."""
    return float(values) if np.ndim(values) == 0 else np.asarray(values)
