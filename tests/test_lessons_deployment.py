"""Lesson 10's helpers: what a pickle holds, what is refused, what a monitor is fed, and when a challenger can win."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from mlkit import (BuyAndHold, FeatureSet, LaggedReturns, MLStrategy, ModelRegistry, Monitor, Volatility, WalkForward, backtest,
                   compare, direction, load_bars, make_model, walk_forward)
from mlkit.lessons import deployment as lesson
from mlkit.models.scoring import scores_of

BARS = load_bars("GE").iloc[-1_500:]
FEATURES = FeatureSet([LaggedReturns(2), Volatility(20)])
CHANGED = FeatureSet([LaggedReturns(2), {"volatility_20": lesson.volatility_in_percent}])


@pytest.fixture(scope="module")
def model():
    return make_model("logistic").fit(*lesson.known_rows(BARS, FEATURES))


@pytest.fixture(scope="module")
def other():
    return make_model("majority").fit(*lesson.known_rows(BARS, FEATURES))


@pytest.fixture
def registry(tmp_path, model):
    made = ModelRegistry(tmp_path / "registry")
    made.register("desk", model, features=FEATURES, trained_on=BARS)
    return made


def test_the_command_in_a_pickle_is_read_and_not_run(tmp_path):
    data = lesson.pickle_that_runs(f"echo gone > {tmp_path / 'canary'}")
    assert lesson.command_in(data) == "system" and not (tmp_path / "canary").exists()
    assert lesson.command_in(lesson.pickle.dumps([1, "two"])) == ""


def test_a_pickle_notices_another_library_and_nothing_else(model, other):
    table = lesson.plain_pickle(model, other, FEATURES, CHANGED, BARS)
    assert table["noticed"].tolist() == [False, False, False, True] and tuple(table.index) == lesson.WAYS
    assert "something else" in table.iloc[0, 0] and table.iloc[3, 0] == "warns, and loads"
    same = lesson.plain_pickle(model, model, FEATURES, FEATURES, BARS)
    assert same.iloc[0, 0] == "loads" and "up to 0 points" in same.iloc[1, 0]


def test_each_attack_is_refused_by_its_kind_on_a_copy(registry, other, tmp_path):
    before = {path: path.read_bytes() for path in registry.folder.rglob("*") if path.is_file()}
    found = {name: lesson.refusal(registry, "desk", attack)
             for name, attack in lesson.attacks(other, f"echo gone > {tmp_path / 'canary'}").items()}
    assert [kind for kind, _ in found.values()] == ["Tampered", "Tampered", "UnreadableVersion", "UntrustedType",
                                                    "UnreadableVersion", "none"]
    assert all(said and str(tmp_path) not in said and "/tmp" not in said for kind, said in found.values() if kind != "none")
    assert lesson.refusal(registry, "desk", features=CHANGED)[0] == "FeatureMismatch"
    assert lesson.refusal(registry, "desk") == ("none", "") and not (tmp_path / "canary").exists()
    assert {path: path.read_bytes() for path in registry.folder.rglob("*") if path.is_file()} == before


def test_what_is_made_to_fit_is_told_by_a_hash_kept_elsewhere(registry, other):
    kept = lesson.manifest_hash(registry.load("desk", 1).path)
    forged = lesson.attacks(other, "")["another model, hashes to fit"]
    assert lesson.refusal(registry, "desk", forged) == lesson.refusal(registry, "desk", kept=kept) == ("none", "")
    assert lesson.refusal(registry, "desk", forged, kept=kept)[0] == "another hash"


def test_a_day_holds_what_was_known_at_its_close(model):
    result = backtest(BARS.iloc[-300:], MLStrategy(model, FEATURES, enter=0.5, exit=0.5))
    days = lesson.days_of(model, FEATURES, BARS.iloc[-300:], result)
    labels, X = direction(BARS), FEATURES(BARS).dropna()
    said = pd.Series(scores_of(model, X), X.index)
    for day in days.index[[0, 100, -1]]:
        decided = labels.index[labels["end"] == day].item()
        assert decided == BARS.index[BARS.index.get_loc(day) - 2]
        assert days.loc[day, "prediction"] == said[decided] and days.loc[day, "label"] == labels.loc[decided, "label"]
        assert days.loc[day, "profit"] == result.returns[day]
        assert days.loc[day, X.columns].to_numpy(dtype=float) == pytest.approx(X.loc[day].to_numpy(), abs=1e-12)
    cut = lesson.days_of(model, FEATURES, BARS.iloc[-300:-50], result)
    pd.testing.assert_frame_equal(cut, days.loc[: cut.index[-1]])  # the future changes nothing


def test_what_is_fed_bar_by_bar_is_what_is_fed_at_once(model, tmp_path):
    labels = direction(BARS)
    found = walk_forward(make_model("logistic"), FEATURES(BARS), labels, WalkForward(700, 400, label_end=labels["end"]))
    result = backtest(BARS, MLStrategy(found, FEATURES, enter=0.5, exit=0.5))
    monitor = Monitor(lesson.reference_of(found, FEATURES, BARS, result), run_length=300)
    assert {"feature return_1", "hit rate", "calibration high", "calibration low", "profit"} <= set(monitor.detectors.index)
    other = Monitor.load(monitor.save(tmp_path / "state.json"))
    days = lesson.days_of(model, FEATURES, BARS, result)
    shown = lesson.feed(monitor, days)
    other.update_many(days.index, features=days[FEATURES(BARS).columns], prediction=days["prediction"], label=days["label"],
                      profit=days["profit"])
    assert {alert.message for alert in monitor.alerts} == {alert.message for alert in other.alerts}
    assert 0 < len(shown) <= len(monitor.alerts)
    nothing = backtest(BARS, MLStrategy(found, FEATURES, enter=1.0, exit=0.0))
    assert "profit" not in Monitor(lesson.reference_of(found, FEATURES, BARS, nothing), run_length=300).detectors.index


def test_alarms_by_luck_and_how_late_a_true_one_is():
    quiet = Monitor(lesson.Reference(FEATURES(BARS).dropna(), profits=np.random.default_rng(0).normal(size=500)))
    assert [lesson.by_luck(quiet, n) for n in (249, 250, 999)] == pytest.approx([249 / 2_500, 1_000 / 2_500, 3_249 / 2_500])
    assert lesson.at_least(0, 4.8) == 1.0
    assert lesson.at_least(3, 2.0) == pytest.approx(1 - sum(poisson.pmf(k, 2.0) for k in range(3)))
    rng = np.random.default_rng(0)
    before, worse, same = (rng.random(2_000) < share for share in (0.6, 0.4, 0.6))
    late = lesson.delays(before, worse, [250, 2_500])["bars to a true alarm"]
    assert late[250] < late[2_500] < 100
    assert lesson.delays(before, same, [250])["bars to a true alarm"][250] > 100


def test_a_lead_has_its_sign_and_its_interval():
    never = MLStrategy(lesson.stays_out(FEATURES, BARS), FEATURES, enter=0.5, exit=0.5)
    rising, idle = compare(BARS, {"held": BuyAndHold(), "never": never}).values()
    assert not len(idle.fills)
    lead, low, high = lesson.lead_over(rising, idle)
    assert low < lead < high and lead == pytest.approx(rising.periods_per_year * rising.returns.mean())
    assert lesson.lead_over(idle, rising) == pytest.approx((-lead, -high, -low))


def test_what_if_decides_on_copies(tmp_path):
    small, world = FeatureSet([LaggedReturns(2)]), lesson.edge_that_turns(1_700, 0, 0.3, 1_000)
    registry = ModelRegistry(tmp_path)
    registry.register("made", make_model("logistic").fit(*lesson.known_rows(world.iloc[:800], small)), features=small,
                      trained_on=world.iloc[:800])
    registry.promote("made", 1)
    table = lesson.what_if(registry, "made", world, {"early": 1_060, "late": 1_600}, 1_000, train_size=250, holdout=250)
    assert table["rows learned after the turn"].tolist() == [0, 250] and table["promoted"]["late"]
    assert (table["champion"] - table["challenger"]).to_numpy() == pytest.approx(table["difference"].to_numpy())
    assert registry.versions("made") == [1] and registry.champion("made") == 1


def test_losses_calls_and_boldness_are_of_the_same_probabilities(model):
    X, y = lesson.known_rows(BARS, FEATURES)
    p = scores_of(model, X)
    assert lesson.brier(model, FEATURES, BARS).to_numpy() == pytest.approx((p - y.to_numpy()) ** 2)
    assert lesson.calls(model, FEATURES, BARS).to_numpy() == pytest.approx(((p > 0.5) == (y.to_numpy() == 1)).astype(float))
    assert lesson.boldness(model, FEATURES, BARS).loc[X.index].to_numpy() == pytest.approx(p - 0.5)


def test_rows_needed_are_those_at_which_the_interval_leaves_0():
    gains = pd.Series(np.random.default_rng(1).normal(0.01, 0.1, 5_000))
    needed = lesson.rows_needed(gains)
    assert gains.mean() - 1.6449 * gains.std() / np.sqrt(needed) == pytest.approx(0.0, abs=1e-5)
    assert lesson.rows_needed(gains - 1.0) == np.inf
    weak, strong = (lesson.gains_after_a_turn(strength, n_test=2_000) for strength in (0.1, 0.3))
    assert len(weak) == 2_000 and 0 < weak.mean() < strong.mean()


def test_pictures_say_what_they_show():
    axis, = lesson.plot_arena(0.1, 60).axes
    needed = lesson.rows_needed(lesson.gains_after_a_turn(0.1))
    assert f"{needed:,.0f} bars" in axis.get_title(loc="left")
    band = axis.collections[0].get_paths()[0].vertices
    assert band[np.abs(band[:, 0] - needed).argsort()[:4], 1].min() == pytest.approx(0.0, abs=0.5)
    result = backtest(BARS, BuyAndHold())
    axis, = lesson.plot_story({"held": result}, {"a day": BARS.index[700]}, {"held": 1.234}).axes
    assert axis.get_title(loc="left") == "1 becomes 1.23 (held)" and axis.texts[0].get_text() == " a day"
    assert axis.lines[0].get_ydata()[-1] == pytest.approx(result.equity.iloc[-1] / result.cash)
