"""What a Sharpe ratio proves and how likely a backtest is overfitted: published figures, closed forms, brute force."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from vectors import vector

from mlkit.overfitting import (deflated_sharpe, expected_max_sharpe, minimum_backtest_length, minimum_track_record,
                               probabilistic_sharpe, probability_of_overfitting, sharpe_standard_error)
from mlkit.overfitting.sharpe import deviation_of_maximum


def published(name):
    """(inputs with sr and shape under our names, expected, tolerance)."""
    each = vector(name)
    given = each["inputs"]
    sharpe = given.get("sr", given["mu"] / given["sigma"] if "mu" in given else given.get("sr_annual"))
    shape = {name: given[name] for name in ("skew", "kurtosis") if name in given}
    return given, sharpe, shape, each["expected"], each["tolerance"]


# ---- published figures


def test_the_standard_error_of_lo_divides_by_n():
    given, _, _, expected, tolerance = published("lo_iid_se")
    found = sharpe_standard_error(np.array(given["sr"])[:, None], np.array(given["T"]))
    np.testing.assert_allclose(found, expected["se"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["sr_sd_2025_nonnormal", "sr_sd_2025_normal"])
def test_the_standard_error_of_2025_divides_by_n(name):
    given, sharpe, shape, expected, tolerance = published(name)
    assert sharpe_standard_error(sharpe, given["T"], **shape) == pytest.approx(expected["sd"], abs=tolerance)


def test_the_standard_error_of_2012_divides_by_one_less():
    given, sharpe, shape, expected, tolerance = published("sr_se_2012_a")
    assert sharpe_standard_error(sharpe, given["n"], **shape, ddof=1) == pytest.approx(expected["se"], abs=tolerance)
    assert sharpe_standard_error(sharpe, given["n"], **shape) != pytest.approx(expected["se"], abs=tolerance)


def test_the_probabilistic_ratio_of_2012_and_of_2025():
    given, sharpe, shape, expected, tolerance = published("psr2012_nonnormal")
    assert probabilistic_sharpe(sharpe, given["n"], **shape) == pytest.approx(expected["psr"], abs=tolerance)
    given, sharpe, shape, expected, tolerance = published("psr2025_sr0_0")
    found = probabilistic_sharpe(sharpe, given["T"], benchmark=given["sr0"], **shape, convention="2025")
    assert found == pytest.approx(expected["psr"], abs=tolerance)


def test_the_minimum_track_record_of_2012_and_of_2025():
    given, sharpe, shape, expected, tolerance = published("mintrl_2012_a")
    found = minimum_track_record(sharpe, benchmark=given["sr_benchmark"], **shape, confidence=given["prob"])
    assert found / given["periods_per_year"] == pytest.approx(expected["years"], abs=tolerance)
    given, sharpe, shape, expected, tolerance = published("mintrl2025")
    found = minimum_track_record(sharpe, **shape, confidence=1 - given["alpha"], convention="2025")
    assert found == pytest.approx(expected["n"], abs=tolerance)


def test_the_deflated_ratio_by_every_convention():
    given, annual, shape, expected, tolerance = published("dsr_convention_gap")
    periods = given["periods_per_year"]
    sharpe, tried = annual / periods**0.5, {"n_trials": given["N"], "variance": given["var_sr_annual"] / periods}
    luck = expected_max_sharpe(**tried)
    assert luck == pytest.approx(vector("dsr2014_expected_max_N100")["expected"]["sr0_per_period"], abs=tolerance)
    found = deflated_sharpe(sharpe, given["T"], **tried, **shape)
    assert found == pytest.approx(expected["dsr_2014"], abs=tolerance)
    assert found == pytest.approx(vector("dsr2014_N100")["expected"]["dsr"], abs=tolerance)
    found = probabilistic_sharpe(sharpe, given["T"], benchmark=luck, **shape, convention="2025")
    assert found == pytest.approx(expected["dsr_2025_K1"], abs=tolerance)
    found = deflated_sharpe(sharpe, given["T"], **tried, **shape, convention="2025")
    assert found == pytest.approx(expected["dsr_2025_Kadj"], abs=tolerance)


def test_the_deflated_ratio_of_2025_with_ten_trials():
    given, sharpe, shape, expected, tolerance = published("dsr2025_K10")
    found = deflated_sharpe(sharpe, given["T"], n_trials=given["K"], variance=given["variance_trials"], **shape,
                            convention="2025")
    assert found == pytest.approx(expected["dsr"], abs=tolerance)


def test_the_largest_of_many_normals():
    each = vector("max_normal_sd")
    found = deviation_of_maximum(each["inputs"]["K"])
    np.testing.assert_allclose(found, each["expected"]["sd"], atol=each["tolerance"])
    assert deviation_of_maximum(2) == pytest.approx((1 - 1 / np.pi) ** 0.5, abs=1e-13)
    each = vector("false_strategy_emax")
    np.testing.assert_allclose(expected_max_sharpe(each["inputs"]["N"], 1.0), each["expected"]["approx"],
                               atol=each["tolerance"])
    np.testing.assert_allclose(expected_max_sharpe([5, 1000], 1.0) / np.take(each["expected"]["exact"], [0, 3]) - 1,
                               [0.025, 0.004], atol=5e-4)  # what the docstring says
    assert 9 < expected_max_sharpe(1e20, 1.0) < 10  # where 1 - 1/N is 1


def test_the_minimum_backtest_length():
    each = vector("minbtl_45")
    found = minimum_backtest_length(each["inputs"]["N"])
    assert found == pytest.approx(each["expected"]["years"], abs=each["tolerance"])
    np.testing.assert_allclose(minimum_backtest_length([1, 45], 2.0), [0.0, minimum_backtest_length(45) / 4])


# ---- what holds for all of them

RATIO = st.integers(-500, 500).map(lambda thousandths: thousandths / 1000)
SHAPE = st.tuples(st.floats(-3, 3), st.floats(0, 12)).map(lambda s: {"skew": s[0], "kurtosis": 1.01 + s[0] ** 2 + s[1]})
CONVENTION = st.sampled_from(["2014", "2025"])


@given(sharpe=RATIO, benchmark=RATIO, shape=SHAPE, confidence=st.floats(0.6, 0.999), convention=CONVENTION)
def test_a_minimum_track_record_reaches_its_confidence_and_no_shorter_one_does(sharpe, benchmark, shape, confidence,
                                                                               convention):
    options = {"benchmark": benchmark, **shape, "convention": convention}
    length = minimum_track_record(sharpe, confidence=confidence, **options)
    if sharpe <= benchmark:
        assert length == np.inf
        return
    assume(2.5 < length < 1e12)
    assert probabilistic_sharpe(sharpe, length, **options) == pytest.approx(confidence, abs=1e-9)
    assert probabilistic_sharpe(sharpe, max(0.9 * length, 2.0), **options) < confidence


@given(sharpe=st.floats(0.01, 0.5), n=st.integers(10, 5000), trials=st.integers(1, 1000), shape=SHAPE,
       variance=st.floats(1e-4, 0.1), convention=CONVENTION)
def test_more_returns_prove_more_and_more_trials_less(sharpe, n, trials, shape, variance, convention):
    def deflated(n_trials=trials):
        return deflated_sharpe(sharpe, n, n_trials=n_trials, variance=variance, **shape, convention=convention)

    def probable(n):
        return probabilistic_sharpe(sharpe, n, **shape, convention=convention)

    assert probable(2 * n) >= probable(n)
    assert deflated(1) == pytest.approx(probable(n), abs=1e-12)
    luck = expected_max_sharpe(np.array([trials, trials + 1]), variance)
    assert luck[0] < luck[1]
    if convention == "2014":
        assert deflated(trials + 1) <= deflated() <= deflated(1)


def test_numbers_and_arrays_give_the_same():
    sharpe, n = np.array([[0.02], [0.1]]), np.array([100, 500, 2000])
    for convention in ("2014", "2025"):
        options = {"skew": -1.0, "kurtosis": 6.0, "convention": convention}
        found = deflated_sharpe(sharpe, n, n_trials=20, variance=0.001, **options)
        assert found.shape == (2, 3)
        one = deflated_sharpe(0.1, 500, n_trials=20, variance=0.001, **options)
        assert type(one) is float and one == found[1, 1]
        lengths = minimum_track_record([0.1, 0.0], **options)
        assert lengths[0] == minimum_track_record(0.1, **options) and lengths[1] == np.inf


def test_a_single_trial_has_no_variance_and_needs_none():
    assert deflated_sharpe(0.1, 500, n_trials=1, variance=np.nan) == probabilistic_sharpe(0.1, 500)
    none, some, two = expected_max_sharpe([1, 1.5, 2], [np.nan, 1.0, 1.0])
    assert none == 0.0 and some == pytest.approx(two / 2)


def test_how_often_luck_passes_for_skill():
    """The best of 100 trials without an edge, their variance known: P(deflated ratio > 0.95)."""
    rng, n, runs = np.random.default_rng(1), 5000, 200_000
    best = np.concatenate([rng.normal(0, n**-0.5, size=(20_000, 100)).max(axis=1) for _ in range(runs // 20_000)])
    for convention, share in (("2014", 0.0015), ("2025", 0.0586)):
        found = (deflated_sharpe(best, n, n_trials=100, variance=1 / n, convention=convention) > 0.95).mean()
        assert found == pytest.approx(share, abs=4 * (share / runs) ** 0.5 + 0.0004)
    naive = (probabilistic_sharpe(best, n) > 0.95).mean()
    assert naive == pytest.approx(1 - 0.95**100, abs=0.005)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: probabilistic_sharpe(0.1, 100, kurtosis=0.0), "EXCESS.*add 3"),
    (lambda: sharpe_standard_error(0.1, 100, skew=2.0, kurtosis=3.0), "1 \\+ skew\\^2"),
    (lambda: minimum_track_record(0.1, kurtosis=0.5), "EXCESS"),
    (lambda: probabilistic_sharpe(np.nan, 100), "sharpe has to be finite"),
    (lambda: probabilistic_sharpe(0.1, 100, benchmark=np.inf), "benchmark has to be finite"),
    (lambda: probabilistic_sharpe(0.1, 1), "2 or more, not 1"),
    (lambda: probabilistic_sharpe(0.1, 100, convention="2012"), '"2014" or "2025", not \'2012\''),
    (lambda: deflated_sharpe(0.1, 100, n_trials=5, variance=0.1, convention=2014), '"2014" or "2025", not 2014'),
    (lambda: minimum_track_record(0.1, confidence=95), "confidence.*not 95"),
    (lambda: expected_max_sharpe(0, 1.0), "n_trials.*not 0"),
    (lambda: expected_max_sharpe(10, np.nan), "variance.*not nan"),
    (lambda: deflated_sharpe(0.1, 100, n_trials=5, variance=-0.1), "variance.*not -0.1"),
    (lambda: minimum_backtest_length(10, 0.0), "target_sharpe_per_year.*not 0.0"),
])
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_two_point_returns_have_the_least_kurtosis_there_is():
    for lost in range(1, 60):  # some of these come out a rounding error below it
        returns = np.repeat([0.01, -0.013], [60 - lost, lost])
        away = (returns - returns.mean()) / returns.std()
        shape = {"skew": (away**3).mean(), "kurtosis": (away**4).mean()}
        assert shape["kurtosis"] == pytest.approx(1 + shape["skew"] ** 2)
        assert 0.5 < probabilistic_sharpe(0.1, 100, **shape) < 1


# ---- the probability of overfitting


def by_hand(performance, n_blocks, metric):
    """In sample, out of sample and rank share of the best in sample of each split, in loops."""
    returns = np.asarray(performance, dtype=float)
    blocks = np.array_split(returns[len(returns) % n_blocks :], n_blocks)
    figure = {"mean": lambda part: part.mean(axis=0),
              "sharpe": lambda part: part.mean(axis=0) / part.std(axis=0, ddof=1)}[metric]
    found = []
    for taken in combinations(range(n_blocks), n_blocks // 2):
        inside, outside = (figure(np.concatenate([block for k, block in enumerate(blocks) if (k in taken) == said]))
                           for said in (True, False))
        best = int(inside.argmax())
        found.append((inside[best], outside[best], rankdata(outside)[best] / (returns.shape[1] + 1), best))
    return [np.array(column) for column in zip(*found)]


def test_the_small_example_by_hand():
    each = vector("pbo_tiny")
    given, expected = each["inputs"], each["expected"]
    found = probability_of_overfitting(given["M"], given["S"], given["metric"])
    assert len(found.logits) == expected["n_combos"] and found.chosen.tolist() == expected["is_best"]
    np.testing.assert_allclose(1 / (1 + np.exp(-found.logits)), expected["omega"], atol=each["tolerance"])
    assert found.probability == pytest.approx(expected["pbo_le"])
    assert (found.logits < 0).mean() == pytest.approx(expected["pbo_lt"])


def test_the_example_that_other_libraries_agree_on():
    each = vector("pbo_32x4")
    found = probability_of_overfitting(pd.DataFrame(each["inputs"]["M"]), each["inputs"]["S"])
    assert len(found.logits) == each["expected"]["n_combos"]
    assert found.probability == pytest.approx(each["expected"]["pbo_le"], abs=each["tolerance"])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n_blocks=st.sampled_from([2, 4, 6, 8]), extra=st.integers(0, 7),
       trials=st.integers(2, 7), metric=st.sampled_from(["sharpe", "mean"]), shift=st.sampled_from([0.0, 1e-4, 50.0]))
def test_it_is_what_loops_find(seed, n_blocks, extra, trials, metric, shift):
    rng = np.random.default_rng(seed)
    performance = rng.normal(shift, 0.01, size=(n_blocks * 5 + extra, trials))
    found = probability_of_overfitting(performance, n_blocks, metric)
    inside, outside, share, best = by_hand(performance, n_blocks, metric)
    np.testing.assert_array_equal(found.chosen, best)
    np.testing.assert_allclose(found.in_sample, inside, rtol=1e-9)
    np.testing.assert_allclose(found.out_of_sample, outside, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.logits, np.log(share / (1 - share)), atol=1e-12)
    assert found.probability == (share <= 0.5).mean()


def test_many_splits_worked_on_in_pieces_are_all_there():
    performance = np.random.default_rng(3).normal(size=(60, 900))  # 924 splits of 900: four pieces
    found = probability_of_overfitting(performance, 12)
    inside, outside, share, best = by_hand(performance, 12, "sharpe")
    np.testing.assert_array_equal(found.chosen, best)
    np.testing.assert_allclose(found.out_of_sample, outside, rtol=1e-9)
    np.testing.assert_allclose(found.logits, np.log(share / (1 - share)), atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_trials_that_tie_share_their_rank_wherever_they_stand(scale):
    returns = scale * np.random.default_rng(4).normal(size=(96, 3))
    twice = np.repeat(returns, 13, axis=1)  # 39 columns: matrix products may round the last ones otherwise
    found, single = probability_of_overfitting(twice, 8), probability_of_overfitting(returns, 8)
    np.testing.assert_array_equal(found.chosen, 13 * single.chosen)  # the first of those that tie
    rank = 4 / (1 + np.exp(-single.logits))  # 1 to 3
    np.testing.assert_allclose(40 / (1 + np.exp(-found.logits)), 13 * (rank - 1) + 7)


def test_trials_of_the_same_figures_tie_whatever_rounding_makes_of_them():
    rng = np.random.default_rng(8)
    blocks = rng.normal(0.0004, 0.01, size=(8, 30))
    shuffled = [rng.permuted(blocks, axis=1).ravel() for _ in range(7)]  # the same sums, added up in another order
    for metric in ("sharpe", "mean"):
        found = probability_of_overfitting(np.transpose(shuffled), 8, metric)
        assert (found.chosen == 0).all() and (found.logits == 0).all()


def test_luck_has_no_best_trial_and_skill_has():
    """The mean over many worlds of luck is a half or a little more: splits of one world are not independent."""
    worlds = [np.random.default_rng(seed).normal(size=(480, 12)) for seed in range(60)]
    found = [probability_of_overfitting(world, 8).probability for world in worlds]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1) and np.std(found) > 0.1
    skilled = worlds[0] + np.where(np.arange(12) == 5, 0.5, 0.0)
    found = probability_of_overfitting(skilled, 8)
    assert found.probability == 0.0 and set(found.chosen) == {5}


def test_the_first_rows_are_left_out_when_blocks_do_not_come_out_even():
    performance = np.random.default_rng(5).normal(size=(103, 4))
    found, trimmed = (probability_of_overfitting(each, 10) for each in (performance, performance[3:]))
    np.testing.assert_array_equal(found.logits, trimmed.logits)
    worse = performance.copy()
    worse[:3] = -100.0
    np.testing.assert_array_equal(probability_of_overfitting(worse, 10).logits, found.logits)


def test_sixteen_blocks_of_ten_years_take_no_time():
    performance = np.random.default_rng(6).normal(0.0004, 0.01, size=(2500, 50))
    found = probability_of_overfitting(performance)
    assert len(found.logits) == comb(16, 8) == 12_870
    # every split and its mirror are there: what is in sample in one is out of sample in the other
    mirrored = found.chosen == found.chosen[::-1]
    np.testing.assert_allclose(found.in_sample[mirrored], found.out_of_sample[::-1][mirrored], rtol=1e-9)


def noise(n=40, trials=3):
    names = [f"rule {number}" for number in range(trials)]
    return pd.DataFrame(np.random.default_rng(7).normal(size=(n, trials)), columns=names,
                        index=pd.date_range("2024-01-01", periods=n))


def with_rows(value, rows):
    table = noise()
    table.iloc[rows, 1] = value
    return table


@pytest.mark.parametrize(("performance", "options", "message"), [
    (with_rows(np.nan, [3, 9]), {}, "'rule 1' is nan at 2024-01-04.*2 such"),
    (with_rows(np.inf, [3]), {"metric": "mean"}, "'rule 1' is inf"),
    (with_rows(0.3, slice(None)), {}, "'rule 1' does not move in 4 of 4 blocks"),
    (with_rows(0.0, slice(0, 20)), {}, "'rule 1' does not move in 2 of 4 blocks"),
    (with_rows(0.1, [*range(10), *range(30, 40)]), {}, "'rule 1' does not move in 2 of 4"),
    (noise(), {"n_blocks": 3}, "even number.*not 3"),
    (noise(), {"n_blocks": 4.0}, "even number.*not 4.0"),
    (noise(), {"n_blocks": 26}, "2 to 24"),
    (noise(), {"metric": "sortino"}, "'sortino'"),
    (noise(7), {}, "7 rows are too few for 4 blocks by sharpe: 8"),
    (noise(trials=1), {}, "2 or more trials.*\\(40, 1\\)"),
    (noise()["rule 0"], {}, "2 or more trials.*\\(40,\\)"),
])
def test_bad_performance_is_refused(performance, options, message):
    with pytest.raises(ValueError, match=message):
        probability_of_overfitting(performance, **{"n_blocks": 4, **options})


def test_a_trial_may_rest_in_fewer_than_half_of_the_blocks_or_rest_at_other_levels():
    assert probability_of_overfitting(with_rows(0.0, slice(0, 10)), 4).trials == ["rule 0", "rule 1", "rule 2"]
    levels = with_rows(0.0, slice(0, 10))
    levels.iloc[10:20, 1] = 0.5
    assert np.isfinite(probability_of_overfitting(levels, 4).in_sample).all()
    assert probability_of_overfitting(with_rows(0.0, slice(None)), 4, "mean").probability >= 0


def test_it_shows_itself():
    found = probability_of_overfitting(noise(400, 5), 8)
    share = f"{100 * found.probability:.0f} %"
    assert f"{found.probability:.2f}" in repr(found) and share in repr(found) and "70 splits of 8 blocks" in repr(found)
    axis = found.plot().axes[0]
    assert share in axis.get_title(loc="left") and "Sharpe ratio" in axis.get_xlabel()
    np.testing.assert_array_equal(axis.lines[0].get_xydata(), np.column_stack([found.in_sample, found.out_of_sample]))
