"""What a learner moves in the lessons: each picture against a calculation of its own."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from mlkit import (BreakEven, BuyAndHold, Costs, FeatureSet, IdealExecutionHandler, LaggedReturns, MeanReversion,
                   MLStrategy, MovingAverageCross, RealisticExecutionHandler, WalkForward, backtest, break_even_cost,
                   direction, make_model, planted_edge)
from mlkit.overfitting import expected_max_sharpe
from mlkit.plots import faults
from mlkit.widgets import (Decided, capacity_explorer, cost_explorer, leak_switchboard, size_explorer,
                           threshold_explorer, trials_explorer, window_explorer)

N_BARS = 5_040  # 20 years of days
LEAKS = ("next_bar", "centred_average")
SCORES = {frozenset(): 0.5, frozenset(LEAKS[:1]): 0.65, frozenset(LEAKS[1:]): 0.6, frozenset(LEAKS): 0.7}
SHARPES = np.array([[0.2, -0.5, 0.7, 2.0], [-0.4, 0.1, 0.0, 0.9]])


@pytest.fixture(scope="module")
def bars():
    return planted_edge(N_BARS, seed=1, strength=0.2)


@pytest.fixture(scope="module")
def model(bars):
    features = FeatureSet([LaggedReturns(3)])
    X, y = features(bars), direction(bars)["label"]
    known = X.notna().all(axis=1) & y.notna()
    return MLStrategy(make_model("logistic").fit(X[known], y[known]), features)


@pytest.fixture(scope="module")
def explorers(bars, model):
    """Each as a function of `on`, in two settings."""
    rule = MovingAverageCross(1, 2)
    limit = break_even_cost(bars, rule, n_boot=1)
    returns = bars["close"].pct_change().dropna()
    return {"cost": (partial(cost_explorer, bars, rule, limit), {"cost_bps": 2.0}, {"cost_bps": 12.0}),
            "threshold": (partial(threshold_explorer, bars, model), {"edge": 0.02}, {"edge": 0.05}),
            "size": (partial(size_explorer, returns), {"size": 1.5}, {"size": 6.0}),
            "window": (partial(window_explorer, bars.index, train_size=1_000, test_size=500), {"horizon": 20},
                       {"horizon": 1}),
            "capacity": (partial(capacity_explorer, bars), {"depth": 3}, {"depth": 12}),
            "trials": (partial(trials_explorer, np.tile(SHARPES, (15, 50)), 5), {"n_rules": 200}, {"n_rules": 1}),
            "leaks": (partial(leak_switchboard, SCORES), {"next_bar": True}, {})}


NAMES = ("cost", "threshold", "size", "window", "capacity", "trials", "leaks")


@pytest.mark.parametrize("name", NAMES)
def test_an_explorer_says_what_it_shows_and_needs_no_colours(explorers, name):
    draw, one, other = explorers[name]
    assert faults(draw(**one)) == [] and len(draw(**one).alt) > 80
    assert draw(**one).alt != draw(**other).alt and draw(**one).digest() != draw(**other).digest()


@pytest.mark.parametrize("name", NAMES)
def test_drawn_on_again_is_drawn_anew(explorers, name):
    """The slider's short cut changes no pixel: on an old figure of another setting, shown or not."""
    draw, one, other = explorers[name]
    used = draw(**other)
    used.png()
    assert draw(**one, on=draw(**other)).png() == draw(**one, on=used).png() == draw(**one).png()


# ------------------------------------------------------------------- money


def by_label(axis):
    return {line.get_label(): line for line in axis.lines}


def test_costs_move_the_profit_the_waterfall_and_the_mark(bars):
    rule = MovingAverageCross(1, 2)
    limit = break_even_cost(bars, rule, n_boot=1)
    for cost in (2.0, float(limit)):
        paid = backtest(bars, rule, execution=RealisticExecutionHandler(Costs(cost, 0, 0)))
        free = backtest(bars, rule, execution=IdealExecutionHandler())
        left, top, bottom = cost_explorer(bars, rule, limit, cost_bps=cost).axes
        lines = by_label(left)
        assert lines["at no cost"].get_ydata()[-1] == pytest.approx(100 * free.metrics["total_return"])
        assert lines[f"after {cost:g} bps"].get_ydata()[-1] == pytest.approx(100 * paid.metrics["total_return"])
        fall = 100 * paid.waterfall[["gross", "delay", "spread", "net"]] / paid.cash
        bars_drawn = top.containers[0]
        assert [bar.get_width() for bar in bars_drawn] == pytest.approx(list(fall), abs=1e-9)
        assert bars_drawn[2].get_x() + bars_drawn[2].get_width() == pytest.approx(fall["net"])
        now, mark = by_label(bottom)["now"], by_label(bottom)["break-even"]
        assert (now.get_xdata()[0], now.get_ydata()[0]) == pytest.approx((cost, fall["net"]), abs=1e-9)
        assert mark.get_xdata()[0] == float(limit)
    assert abs(fall["net"]) < 1e-3  # at the break-even nothing is left


@pytest.mark.parametrize("rule, said", [(MeanReversion(2, enter=-0.1, exit=0.1), "nothing is left even at no cost"),
                                        (BuyAndHold(), "nothing is left at 2")])
def test_a_rule_without_a_break_even_is_explored_too(rule, said):
    bars = planted_edge(800, seed=2, strength=0.5)
    bars = bars.assign(**{name: bars[name] * np.linspace(1, 3, len(bars)) for name in ("open", "high", "low", "close")})
    found = break_even_cost(bars, rule, n_boot=1)
    fig = cost_explorer(bars, rule, found, cost_bps=3.0)
    assert said in fig.get_suptitle() and fig.axes[2].get_xlim()[1] < 120 and faults(fig) == []
    endless = BreakEven(np.inf, 0.0, np.inf, found.runs, "there is always something left")
    assert "no cost takes all" in cost_explorer(bars, rule, endless, cost_bps=3.0).get_suptitle()


def test_a_market_that_only_falls_has_its_best_size_at_nothing():
    returns = pd.Series([-0.01, 0.002, -0.02] * 10, pd.date_range("2020-01-01", periods=30))
    for size in (0.5, 60.0):
        fig = size_explorer(returns, size=size)
        assert "fastest growth at 0" in fig.get_suptitle() and fig.png()


def test_a_decided_strategy_trades_as_the_one_it_was_made_of(bars, model):
    for strategy in (model, MeanReversion(20)):
        assert backtest(bars, Decided(strategy, bars)).order_hash == backtest(bars, strategy).order_hash


@pytest.mark.parametrize("edge", [0.0, 0.03, 0.041])
def test_a_threshold_is_traded_as_the_model_with_these_thresholds(bars, model, edge):
    execution = RealisticExecutionHandler(Costs(1.0, 0, 0))
    alone = MLStrategy(model.model, model.features, enter=0.5 + edge, exit=0.5 - edge)
    wanted = backtest(bars, alone, execution=execution)
    fig = threshold_explorer(bars, model, execution, edge=edge)
    left, right = fig.axes
    assert by_label(left)["the model"].get_ydata()[-1] == pytest.approx(100 * wanted.metrics["total_return"])
    held = backtest(bars.iloc[alone.first_decision(bars):], BuyAndHold(), execution=execution)
    assert by_label(left)["buy & hold"].get_ydata()[-1] == pytest.approx(100 * held.metrics["total_return"])
    assert by_label(right)["chosen"].get_ydata()[0] == pytest.approx(100 * wanted.metrics["total_return"])
    assert f"in {wanted.metrics['n_trades']:.0f} trades" in fig.get_suptitle()
    assert edge in by_label(right)["all distances"].get_xdata()


def test_a_size_multiplies_every_day():
    returns = pd.Series([0.1, -0.2, 0.05, 0.0], pd.date_range("2020-01-01", periods=4))
    left, right = size_explorer(returns, size=2.0).axes
    assert by_label(left)["2 x the equity"].get_ydata() == pytest.approx([1.2, 0.72, 0.792, 0.792])
    chosen = by_label(right)["chosen"]
    assert chosen.get_ydata()[0] == pytest.approx(100 * 252 * np.log(0.792) / 4)


def test_whoever_loses_all_in_a_day_stays_at_nothing():
    returns = pd.Series([0.1, -0.3, 0.5], pd.date_range("2020-01-01", periods=3))
    fig = size_explorer(returns, size=4.0)
    assert by_label(fig.axes[0])["4 x the equity"].get_ydata()[1:] == pytest.approx([1e-6, 1e-6])
    assert "0 of 1 are left, after a fall of 100%" in fig.get_suptitle()


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("horizon", [1, 20])
def test_windows_are_those_of_walk_forward_with_their_purge(bars, horizon):
    labels = direction(bars, horizon=horizon)
    rows = bars[labels["end"].notna()]
    folds = list(WalkForward(1_000, 500, label_end=labels["end"]).split(rows))
    fig = window_explorer(bars.index, train_size=1_000, test_size=500, horizon=horizon)
    top, bottom = fig.axes
    train, purged, test = top.containers
    assert len(train) == len(test) == len(purged) == len(folds)
    first = np.datetime64(rows.index[folds[2][1][0]], "D").astype(float)
    assert test[2].get_x() == pytest.approx(first)
    assert fig.axes[0].get_title(loc="left") == (f"{len(folds)} folds; a label of {horizon} bars purges "
                                                 f"{1_000 - len(folds[0][0])} rows before each test")
    kinds = {each.get_label(): each for each in bottom.collections}
    assert len(kinds["purged"].get_segments()) == 1_000 - len(folds[0][0]) == horizon
    assert all(segment[1][0] <= 0 for segment in kinds["trains"].get_segments())  # known when the test begins
    assert all(segment[1][0] > 0 for segment in kinds["purged"].get_segments())


def test_a_tree_is_scored_on_the_half_that_taught_it_and_on_the_other(bars):
    X = 100 * bars["close"].pct_change().to_numpy()[1:-2]
    y = (bars["open"].to_numpy()[3:] > bars["open"].to_numpy()[2:-1]).astype(float)
    half = len(X) // 2
    tree = DecisionTreeClassifier(max_depth=5, random_state=0).fit(X[:half, None], y[:half])
    fig = capacity_explorer(bars, depth=5)
    left, right = fig.axes
    for label, part in (("days it learned from", slice(half)), ("days after them", slice(half, None))):
        line = by_label(right)[label]
        scored = dict(zip(line.get_xdata(), line.get_ydata()))[5]
        assert scored == pytest.approx(100 * (tree.predict(X[part, None]) == y[part]).mean())
    said = by_label(left)["what the tree says"]
    assert said.get_ydata() == pytest.approx(100 * tree.predict_proba(said.get_xdata()[:, None])[:, 1])
    assert fig.get_suptitle().startswith(f"Depth 5, {tree.get_n_leaves()} answers")


@pytest.mark.parametrize("n_rules", [1, 3])
def test_the_best_so_far_never_falls_and_stops_at_the_rules_tried(n_rules):
    axis = trials_explorer(SHARPES, 5, n_rules=n_rules).axes[0]
    found, luck = (next(line.get_ydata() for name, line in by_label(axis).items() if name.startswith(start))
                   for start in ("found", "to expect"))
    assert np.allclose(found, [-0.1, 0.15, 0.4][:n_rules])
    assert luck[0] == 0.0 and luck[-1] == pytest.approx(expected_max_sharpe(n_rules, 0.2))
    each = [list(line.get_ydata()) for line in axis.lines[:2]]
    assert each == [[0.2, 0.2, 0.7][:n_rules], [-0.4, 0.1, 0.1][:n_rules]]
    assert f"{found[-1]:.2f} on average; {luck[-1]:.2f}" in axis.get_title(loc="left")
    assert axis.get_ylim()[1] > 2.0  # the same axis wherever the slider stands


@pytest.mark.parametrize("on, score", [((), 50.0), (("next_bar",), 65.0), (LEAKS, 70.0)])
def test_the_switchboard_shows_what_is_on(on, score):
    fig = leak_switchboard(SCORES, **dict.fromkeys(on, True))
    bars_drawn = fig.axes[0].containers[0]
    assert 50 + bars_drawn[-1].get_width() == pytest.approx(score)
    hatched = [bool(bar.get_hatch()) for bar in bars_drawn]
    assert hatched == [False, *(name in on for name in LEAKS), False]
    assert f"{score:.1f} % called right" in fig.axes[0].get_title(loc="left") and "next bar: 65.0 %" in fig.alt


def test_a_leak_nobody_measured_is_refused():
    with pytest.raises(ValueError, match="nobody measured the leak 'moonlight': there are next_bar, centred_average"):
        leak_switchboard(SCORES, moonlight=True)
