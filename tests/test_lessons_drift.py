"""Lesson 07's helpers: schedules that see no future, detectors against their papers and against counting."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.linear_model import LinearRegression

from mlkit import WalkForward, load_bars, next_return, regime_switching, walk_forward
from mlkit.lessons import drift as lesson
from mlkit.lessons import drift_pictures as pictures
from mlkit.production import Monitor
from mlkit.production.detectors import Cusum


@pytest.fixture(scope="module")
def world():
    return regime_switching(2_600, seed=1, strength=0.3, regime_length=500)


@pytest.fixture(scope="module")
def watch():
    return lesson.detectors()


# ------------------------------------------------------------ schedules


def test_the_frozen_model_learns_once_from_the_first_rows(world):
    found = lesson.frozen(world, 500)
    assert len(found.models.names) == 1 and found.folds["n_train"].sum() <= 500
    assert found.folds["known_by"].iloc[0] <= found.predictions.index[0]
    yearly = lesson.scheduled(world, 500, 250)
    assert yearly.predictions.index.equals(found.predictions.index)
    assert len(yearly.models.names) == -(-len(found.predictions) // 250)
    assert yearly.predictions.iloc[:250].equals(found.predictions.iloc[:250])


def test_schedules_are_judged_on_the_same_days_and_know_nothing_of_what_follows(world):
    start = world.index[1_500]
    found = lesson.schedules(world, start, 200)
    assert list(found)[0] == "frozen" and found.shape == (200, 8) and found.index[0] == start
    assert not found.isna().any().any()
    changed = world.copy()  # another future from the 100th tested day on
    changed.iloc[1_600:, :4] *= 1.5
    again = lesson.schedules(changed, start, 200)
    assert again.iloc[:98].equals(found.iloc[:98])
    with pytest.raises(ValueError, match="rows before it"):
        lesson.schedules(world, world.index[900], 200)


def test_the_online_learner_that_remembers_averages_all_rows_and_the_other_does_not():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"x": rng.standard_normal(8_000)})
    lean = np.repeat([1.0, -1.0], 4_000)  # the sign of the edge changes half way
    y = pd.Series((rng.random(8_000) < 1 / (1 + np.exp(-lean * x["x"]))).astype(float))
    weight = {forgets: lesson.learner(forgets).fit(x, y)[-1].coef_[0, 0] for forgets in (True, False)}
    assert weight[True] < -0.6 and abs(weight[False]) < 0.25


def test_a_base_is_left_by_each_column_as_far_as_their_means_differ():
    rng = np.random.default_rng(1)
    chances = {"better": 0.6, "frozen": 0.5, "worse": 0.4, "same": 0.5}
    right = pd.DataFrame({name: (rng.random(2_000) < chance).astype(float) for name, chance in chances.items()},
                         pd.bdate_range("2000-01-03", periods=2_000))
    table = lesson.against(right, "frozen", n_boot=200)
    assert list(table.index) == list(right) and np.isnan(table["difference"]["frozen"])
    others = table.drop("frozen")
    leads = (right.mean() - right["frozen"].mean()).drop("frozen")
    assert others["difference"].to_numpy() == pytest.approx(leads.to_numpy())
    assert (others["low"] < others["difference"]).all() and (others["difference"] < others["high"]).all()
    assert table["low"]["better"] > 0 > table["high"]["worse"] and table["low"]["same"] < 0 < table["high"]["same"]


def test_the_years_of_a_coin_stay_in_their_band():
    days = pd.bdate_range("1700-01-01", "1999-12-31")
    table = lesson.by_year(pd.Series(np.random.default_rng(2).integers(0, 2, len(days)).astype(float), days))
    inside = ((table["rate"] >= table["low"]) & (table["rate"] <= table["high"])).mean()
    assert len(table) == 300 and 0.91 < inside < 0.99
    assert lesson.by_year(pd.Series(1.0, days[:150])).empty is False and lesson.by_year(pd.Series(1.0, days[:99])).empty


def test_a_memory_is_a_regression_through_the_origin_refitted_at_every_bar():
    bars = regime_switching(700, seed=3, strength=0.3, regime_length=200)
    X, labels = bars[["close"]].pct_change(), next_return(bars)
    splitter = WalkForward(101, 1, label_end=labels["end"])  # 101 rows before a fit, 100 of them known by then
    found = walk_forward(LinearRegression(fit_intercept=False), X.iloc[499:], labels.iloc[499:], splitter)
    slow = ((found.predictions > 0) == (found.labels > 0)).mean()
    fast = lesson.window_scores([100], [3], n_bars=700, regime_length=200, strength=0.3, first=600)
    assert found.predictions.index[0] == bars.index[600] and fast.loc[3, 100] == pytest.approx(slow, abs=1e-12)


def test_the_best_memory_is_between_the_ends_and_longer_where_regimes_are():
    windows = [10, 50, 100, 250, 2_000]
    best = {length: lesson.window_scores(windows, range(25), regime_length=length).mean() for length in (250, 2_000)}
    assert best[250].idxmax() < best[2_000].idxmax()
    for mean in best.values():
        assert mean.max() > mean[10] + 0.005 and mean.max() > mean[2_000] + 0.005


# ------------------------------------------------------------- detectors


def slow_ddm(right, level, warm_up):
    """DDM bar by bar, as Gama et al. write it."""
    errors, best = 0.0, (np.inf, 0.0)
    for n, hit in enumerate(right, start=1):
        errors += 1.0 - hit
        rate = errors / n
        deviation = np.sqrt(rate * (1.0 - rate) / n)
        if n <= warm_up:
            continue
        if rate + deviation <= sum(best):
            best = (rate, deviation)
        if rate + deviation > best[0] + level * best[1]:
            return n - 1
    return len(right)


def test_ddm_is_the_one_that_goes_bar_by_bar():
    rng = np.random.default_rng(4)
    right = (rng.random((60, 600)) < np.where(np.arange(600) < 300, 0.8, 0.5)).astype(float)
    for level in (2.0, 3.0):
        assert lesson.drift_detection_method(right, level).tolist() == [slow_ddm(row, level, 30) for row in right]
    assert lesson.drift_detection_method(np.ones((1, 50))).tolist() == [50]


def test_information_is_what_a_bar_tells_on_average():
    rng = np.random.default_rng(5)
    right = rng.random(400_000) < 0.48
    ratio = np.where(right, np.log(0.48 / 0.56), np.log(0.52 / 0.44))
    assert lesson.information(0.56, 0.48) == pytest.approx(ratio.mean(), abs=4 * ratio.std() / np.sqrt(400_000))
    assert lesson.information(0.5, 0.5) == 0.0


def test_the_least_delay_is_that_of_the_best_detector():
    """The CUSUM of log likelihood ratios of a small shift of a mean, run: its delay at the run length asked for."""
    rng, shift = np.random.default_rng(6), 0.2
    nats, allowance = shift**2 / 2, shift / 2  # the ratio of a value x is shift * (x - allowance)
    best = Cusum("mean", allowance, 1_000).calibrate(rng.standard_normal(20_000))
    waits = [best.first_alarm(rng.normal(shift, 1.0, 5_000)) + 1 for _ in range(600)]
    assert np.mean(waits) == pytest.approx(lesson.least_delay(nats, 1_000), rel=0.12)
    assert lesson.least_delay(nats, 4_000) > lesson.least_delay(nats, 1_000) > lesson.least_delay(2 * nats, 1_000)


def test_a_fall_of_eight_points_is_slow_to_see_and_a_doubling_quick(watch):
    change = lesson.delays(watch, n_runs=200)
    nothing = lesson.delays(watch, after=0.56, larger=1.0, n_runs=200)
    found, false = lesson.share_within(change), lesson.share_within(nothing)
    assert change["residual, CUSUM"].max() < 50 and 100 < change["hit rate, CUSUM"].median() < 250
    # Once in 2,500 bars is 1 - exp(-500 / 2,500) within 500, about, and the sum needs time to rise.
    assert 0.1 < false["hit rate, CUSUM"] < 0.28 and 0.08 < false["residual, CUSUM"] < 0.25
    assert false["hit rate, calm CUSUM"] < 0.06 and false["hit rate, DDM"] < 0.06
    assert found["hit rate, calm CUSUM"] > 0.7 and found["hit rate, DDM"] < 0.4
    assert change["hit rate, calm CUSUM"].median() > change["hit rate, CUSUM"].median()


def test_alarms_before_the_change_are_neither_found_nor_missed():
    found = pd.DataFrame({"a": [np.nan, 10.0, np.inf, 600.0], "b": [1.0, 2.0, 3.0, np.nan]})
    assert lesson.share_within(found).to_dict() == {"a": 1 / 3, "b": 1.0}


# ------------------------------------------------------------- monitoring


@pytest.fixture(scope="module")
def live(world):
    found = lesson.frozen(world, 500)
    return found, *lesson.what_is_known(found, world, 400)


def test_the_monitor_is_fed_an_outcome_when_it_is_known(world, live):
    found, reference, features, fed = live
    ends = next_return(world)["end"]
    bar = features.index[7]
    decided = ends.index[ends == bar][0]
    assert decided < bar
    assert fed["prediction"][7] == found.predictions[decided] and fed["label"][7] == found.labels[decided]
    assert features.loc[bar].equals(lesson.FEATURES(world).loc[bar])
    assert len(reference.features) == 400 and reference.features.index[-1] < features.index[0]
    assert {len(each) for each in fed.values()} == {len(features)}


def test_alarms_are_counted_beside_those_of_chance(live):
    _, reference, features, fed = live
    monitor = Monitor(reference, run_length=1_000)
    alerts = monitor.update_many(features.index, features=features, **fed)
    table = lesson.alarm_table(alerts, monitor.detectors.index, len(features), 1_000)
    assert table["alarms"].sum() == len(alerts) and (table["expected"] == round(len(features) / 1_000, 1)).all()
    many = [alert for alert in alerts if alert.detector == "hit rate"][:1] * 30
    crowded = lesson.alarm_table(many, ["hit rate", "profit"], 1_000, 1_000)
    assert crowded["more than stated"].tolist() == [True, False] and crowded["first"]["profit"] == "-"


def test_the_shift_of_a_year_is_the_divergence_from_the_reference():
    rng = np.random.default_rng(8)
    days = pd.bdate_range("2001-01-01", "2003-12-31")
    values = rng.standard_normal(len(days)) + 0.5 * (days.year == 2002)
    psi = lesson.shifts(pd.DataFrame({"x": values}, days), pd.DataFrame({"x": rng.standard_normal(50_000)}))["x"]
    edges = np.r_[-np.inf, norm.ppf(np.linspace(0.1, 0.9, 9)), np.inf]
    shares = np.diff(norm.cdf(edges - 0.5))
    expected = ((shares - 0.1) * np.log(shares / 0.1)).sum()
    assert psi[2002] == pytest.approx(expected, rel=0.5) and psi[2001] < expected / 3 and psi[2003] < expected / 3


# ---------------------------------------------------------------- pictures


def test_pictures_draw_what_the_tables_hold(world, live, watch):
    found, _, features, _ = live
    right = lesson.hits(found)
    years = lesson.by_year(right)
    axis, = pictures.plot_years(years, right.index[400], "a title").axes
    assert axis.get_title(loc="left") == "a title"
    assert axis.lines[0].get_ydata() == pytest.approx(100 * years["rate"].to_numpy())
    curve = pd.DataFrame({10: [0.5, 0.52], 100: [0.55, 0.57]})
    axis, = pictures.plot_windows({"a world": curve}, "t").axes
    assert axis.lines[0].get_ydata() == pytest.approx([51.0, 56.0])
    axis, = pictures.plot_delays(pd.DataFrame({"a": [0.0, 10.0, np.inf, np.nan]}), "t", until=20).axes
    assert axis.lines[0].get_ydata()[[0, 9, 10, 20]] == pytest.approx([100 / 3, 100 / 3, 200 / 3, 200 / 3])
    axis, = pictures.plot_fall(watch, fall=16).axes
    assert axis.get_title(loc="left").startswith("56 % to 40 %: alarm within 500 bars in 100% of runs")
    top, bottom = pictures.plot_alerts([], world, ["hit rate"], "quiet").axes
    assert top.get_title(loc="left") == "quiet" and len(bottom.lines[0].get_xdata()) == 0
    axis, = pictures.plot_regimes(right, world["regime"].reindex(right.index), -1.0, "t").axes
    assert axis.lines[0].get_ydata()[99] == pytest.approx(100 * right.iloc[:100].mean())
    assert len(pictures.plot_shifts(lesson.shifts(features, features), "t").axes[0].lines) == features.shape[1] + 1


def test_the_breaks_are_in_the_bundled_data_with_room_on_both_sides():
    for market, day in lesson.EPISODES.values():
        bars = load_bars(market)
        assert (bars["close"] > 0).all() and bars.index[0] < pd.Timestamp(day) - pd.Timedelta("1600D")
        assert (bars.index > day).sum() > 510
