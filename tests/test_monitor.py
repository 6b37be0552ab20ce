"""The monitor: false alarms as often as it says, real ones soon, a state that survives, and no bar counted twice."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import vector

from mlkit.production import LateBar, Monitor, Reference, stability_index
from mlkit.production.detectors import Cusum, Stability, drawn, sums_of

DAYS = pd.bdate_range("2010-01-01", periods=20_000)


def world(rng, n, hit=0.56, scale=1.0, drift=0.0004, shift=0.0):
    """Features, probabilities, labels and profits of a model that is right `hit` of the time."""
    p = np.where(rng.random(n) < 0.5, 0.56, 0.44)
    y = (rng.random(n) < np.where(p > 0.5, hit, 1 - hit)).astype(float)
    return pd.DataFrame(rng.normal(shift, scale, (n, 3)), columns=["a", "b", "c"]), p, y, rng.normal(drift, 0.01 * scale, n)


def watch(n=4_000, seed=0, **options):
    X, p, y, r = world(np.random.default_rng(seed), n)
    return Monitor(Reference(X, p, y, r), **options)


@pytest.fixture(scope="module")
def trained():
    return watch()


def feed(monitor, rng, n, **changes):
    X, p, y, r = world(rng, n, **changes)
    begin = 0 if monitor.last is None else DAYS.get_loc(monitor.last) + 1
    return monitor.update_many(DAYS[begin : begin + n], features=X, prediction=p, label=y, profit=r)


@pytest.fixture
def fresh(trained, tmp_path):
    return Monitor.load(trained.save(tmp_path / "monitor.json"))


def test_the_stability_index_is_the_published_one():
    given_, expected, tolerance = (vector("psi")[part] for part in ("inputs", "expected", "tolerance"))
    assert stability_index(given_["expected"], given_["actual"]) == pytest.approx(expected["psi"], abs=tolerance)
    assert stability_index([0.5, 0.5], [0.0, 1.0], 100) > 1 and stability_index([0.3, 0.7], [0.3, 0.7]) == 0.0


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=60), st.floats(0, 2))
def test_sums_are_those_of_page_s_recursion(steps, level):
    now, expected = level, []
    for step in steps:
        now = max(0.0, now + step)
        expected.append(now)
    assert sums_of(np.array(steps), level) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(values=st.lists(st.floats(-3, 3), min_size=1, max_size=80), cut=st.integers(0, 80))
def test_many_at_once_are_one_by_one(values, cut):
    one, many = (Cusum("x", 0.25, 100, threshold=1.5) for _ in range(2))
    alarms = [at for at, value in enumerate(values) if one.update(value)]
    found = many.update_many(np.array(values[:cut]))
    found += [at + min(cut, len(values)) for at in many.update_many(np.array(values[cut:]))]
    assert found == alarms and many.level == pytest.approx(one.level, abs=1e-9)


def test_a_threshold_gives_the_run_length_that_was_asked_for():
    calm = np.random.default_rng(0).normal(size=3_000)
    for run_length in (300, 1_000):
        detector = Cusum("mean", 0.5, run_length).calibrate(calm)
        paths = drawn(calm, 20 * run_length, 1, seed=99, paths=200)  # 200 runs of a world that is the reference's
        alarms = sum(len(Cusum("mean", 0.5, run_length, detector.threshold).update_many(path)) for path in paths)
        assert paths.size / alarms == pytest.approx(run_length, rel=0.15)
        b = detector.threshold + 1.166  # Siegmund (1985), eq. 2.57, for normal values of mean 0 and deviation 1
        z = (calm.mean(), calm.std())
        k = (0.5 - z[0]) / z[1]
        b = detector.threshold / z[1] + 1.166
        assert (np.exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k) == pytest.approx(run_length, rel=0.2)


def test_false_alarms_over_200_runs_are_as_rare_as_stated():
    """Each run has a reference of its own, so this holds for the user who has but one."""
    rng = np.random.default_rng(5)
    waits = {"residual": [], "feature": []}
    for _ in range(200):
        calm = rng.normal(size=2_000)
        detector = Cusum("residual", 0.5, 500).calibrate(np.abs(calm) / np.abs(calm).mean() - 1)
        later = np.abs(rng.normal(size=5_000)) / np.abs(calm).mean() - 1
        waits["residual"].append(len(detector.update_many(later)))
        stability = Stability(["x"], 100, 500).calibrate(calm[:, None], block=1)
        waits["feature"].append(len(stability.update_many(rng.normal(size=(5_000, 1)))))
    for name, alarms in waits.items():
        assert 200 * 5_000 / sum(alarms) == pytest.approx(500, rel=0.2), name


def test_a_doubled_residual_is_found_at_once_and_a_lower_hit_rate_late(trained):
    rng = np.random.default_rng(3)
    values = Monitor(Reference(predictions=np.zeros(3_000), labels=rng.normal(size=3_000)))
    assert list(values.sums) == ["hit rate", "residual"]
    delays = {"residual": [], "hit rate": []}
    for seed in range(200):
        again = np.random.default_rng(seed)
        delays["residual"].append(values.sums["residual"].first_alarm(
            values._scores(np.zeros(500), 2 * again.normal(size=500))["residual"]))
        _, p, y, _ = world(again, 1_500, hit=0.48)
        delays["hit rate"].append(trained.sums["hit rate"].first_alarm(trained._scores(p, y)["hit rate"]))
    assert None not in delays["residual"] and np.median(delays["residual"]) < 20
    assert np.median([1_500 if each is None else each for each in delays["hit rate"]]) > 100
    # An alarm that is to be false once in ten years needs months to see 56 % become 48 %.


def test_alarms_say_what_and_how_often_they_are_false(fresh):
    alerts = feed(fresh, np.random.default_rng(1), 1_000, scale=2.0, shift=1.0, drift=-0.004)
    kinds = {alert.detector for alert in alerts}
    assert {"feature a", "feature b", "feature c", "profit"} <= kinds
    assert all("once in 2,500 bars" in alert.message and alert.statistic >= alert.threshold for alert in alerts)
    assert fresh.alerts == alerts and [alert.timestamp for alert in alerts] == sorted(alert.timestamp for alert in alerts)
    assert fresh.detectors["run_length"].eq(2_500).all() and len(fresh.detectors) == 3 + 4


def test_one_by_one_is_all_at_once(fresh, trained, tmp_path):
    other = Monitor.load(trained.save(tmp_path / "again.json"))
    X, p, y, r = world(np.random.default_rng(2), 600, hit=0.3, scale=1.7)
    many = fresh.update_many(DAYS[:600], features=X, prediction=p, label=y, profit=r)
    returned = [other.update(DAYS[at], features=X.iloc[at], prediction=p[at], label=y[at], profit=r[at]) for at in range(600)]
    assert sorted(a.message for a in other.alerts) == sorted(a.message for a in many) and len(many) > 5
    shown = [alert for alert in returned if alert]
    assert len(shown) == len({alert.timestamp for alert in other.alerts}) and set(shown) <= set(other.alerts)
    pd.testing.assert_frame_equal(fresh.detectors, other.detectors)


def test_its_state_survives_a_restart(fresh, tmp_path):
    rng = np.random.default_rng(4)
    X, p, y, r = world(rng, 900, hit=0.45)
    whole = Monitor.load(fresh.save(tmp_path / "before.json"))
    whole.update_many(DAYS[:900], features=X, prediction=p, label=y, profit=r)
    for first in range(0, 900, 170):
        rows = slice(first, min(first + 170, 900))
        fresh.update_many(DAYS[rows], features=X[rows], prediction=p[rows], label=y[rows], profit=r[rows])
        fresh = Monitor.load(fresh.save(tmp_path / "state.json"))
    assert fresh.alerts == whole.alerts and fresh.last == whole.last
    pd.testing.assert_frame_equal(fresh.detectors, whole.detectors)


def test_no_bar_is_counted_twice(fresh):
    rng = np.random.default_rng(6)
    feed(fresh, rng, 10)
    before = fresh.detectors
    assert fresh.update(DAYS[9], features=[9.0, 9.0, 9.0], prediction=0.9, label=0.0, profit=-1.0) is None
    assert fresh.ignored == 1
    for late in (lambda: fresh.update(DAYS[3], profit=-1.0), lambda: fresh.update_many(DAYS[9:12], profit=np.zeros(3)),
                 lambda: fresh.update_many(DAYS[[12, 11]], profit=np.zeros(2)),
                 lambda: fresh.update_many(DAYS[[12, 12]], profit=np.zeros(2))):
        with pytest.raises(LateBar):
            late()
    pd.testing.assert_frame_equal(fresh.detectors, before)
    assert fresh.last == DAYS[9]


@pytest.mark.parametrize("given_", [
    {"features": np.zeros((2, 2))}, {"features": np.array([[0.0, np.nan, 0.0]] * 2)}, {"prediction": [0.5, 0.5]},
    {"prediction": [0.5], "label": [1.0]}, {"profit": [np.nan, 0.0]}, {"profit": [np.inf, 0.0]},
    {"features": pd.DataFrame(np.zeros((2, 3)), columns=["a", "b", "d"])}])
def test_bad_bars_are_refused_and_change_nothing(fresh, given_):
    before = fresh.detectors
    with pytest.raises((ValueError, KeyError)):
        fresh.update_many(DAYS[:2], **{"profit": np.zeros(2), **given_})
    pd.testing.assert_frame_equal(fresh.detectors, before)
    assert fresh.last is None


@pytest.mark.parametrize("make, message", [
    (lambda: Monitor(Reference()), "empty"), (lambda: watch(50), "100 finite values"),
    (lambda: watch(window=10), "window"), (lambda: watch(run_length=100), "run_length"),
    (lambda: Monitor(Reference(predictions=np.zeros(200), labels=np.zeros(199))), "one for one"),
    (lambda: Monitor(Reference(profits=np.full(200, np.nan))), "finite")])
def test_a_bad_reference_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_features_alone_are_a_reference_too():
    X = world(np.random.default_rng(0), 1_000)[0]
    monitor = Monitor(X)
    assert list(monitor.detectors.index) == ["feature a", "feature b", "feature c"] and monitor.sums == {}
    assert monitor.update_many(DAYS[:500], features=X.iloc[:500] + 2.0)
    with pytest.raises(ValueError, match="one row of a, b, c"):
        monitor.update(DAYS[500], features=[1.0])


def test_an_edited_state_is_refused(fresh, tmp_path):
    path = fresh.save(tmp_path / "monitor.json")
    state = json.loads(path.read_text())
    state["sums"][0]["threshold"] = 1e9
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match="edited"):
        Monitor.load(path)
    path.write_bytes(b"not json")
    with pytest.raises(ValueError, match="no monitor"):
        Monitor.load(path)
