"""Lesson 08's helpers: what they bet, size, limit and score, where the answer is known without them."""

import numpy as np
import pandas as pd
import pytest

from mlkit import (BuyAndHold, Costs, FixedFraction, RealisticExecutionHandler, VolatilityTarget, audit_features,
                   audit_strategy, backtest, check_bars, evaluate, load_bars, planted_edge, random_walk)
from mlkit.lessons import risk, sizes
from mlkit.lessons.comparison import paired_differences

FREE = RealisticExecutionHandler(Costs(0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def bars():
    return planted_edge(1_400, seed=3, strength=0.1)


@pytest.fixture(scope="module")
def found(bars):
    return {"made": {name: risk.forecast_volatility(model, bars) for name, model in risk.forecasters().items()
                     if name != "GARCH"}}


# ------------------------------------------------------------- the gambler


@pytest.mark.parametrize("win", [0.52, 0.6])
def test_growth_is_highest_at_kelly_and_gone_a_little_before_twice_that(win):
    stakes = np.linspace(0.0, 0.95, 951)
    best = stakes[sizes.growth(stakes, win).argmax()]
    assert best == pytest.approx(2 * win - 1, abs=1e-3)
    assert sizes.growth(2 * (2 * win - 1), win) < 0 < sizes.growth(1.9 * (2 * win - 1), win)
    assert sizes.growth(0.0, win) == 0.0


def test_half_of_kelly_keeps_three_quarters_of_the_growth():
    assert sizes.growth(0.02, 0.52) / sizes.growth(0.04, 0.52) == pytest.approx(0.75, abs=0.01)


def test_gamblers_win_or_lose_what_they_staked():
    wealth = sizes.gamblers(0.3, 0.6, n_bets=50, n_players=4_000, seed=1)
    steps = wealth[1:] / wealth[:-1]
    assert wealth.shape == (51, 4_000) and (wealth[0] == 1.0).all()
    assert set(np.unique(steps.round(12))) == {0.7, 1.3}
    assert (steps > 1).mean() == pytest.approx(0.6, abs=0.01)
    assert np.log(wealth[-1]).mean() / 50 == pytest.approx(float(sizes.growth(0.3, 0.6)), abs=0.002)
    assert np.array_equal(wealth, sizes.gamblers(0.3, 0.6, n_bets=50, n_players=4_000, seed=1))
    assert not np.array_equal(wealth, sizes.gamblers(0.3, 0.6, n_bets=50, n_players=4_000, seed=2))


def test_the_share_with_less_is_the_binomial_one():
    assert sizes.share_with_less(0.6, 0.6, 1) == pytest.approx(0.4)
    assert sizes.share_with_less(0.6, 0.6, 2) == pytest.approx(1 - 0.6**2)  # one win and one loss leave 0.64
    assert sizes.share_with_less(0.01, 0.6, 3) == pytest.approx(0.4**3 + 3 * 0.6 * 0.4**2)
    wealth = sizes.gamblers(0.4, 0.6, 200, 20_000, seed=5)
    assert (wealth[-1] < 1).mean() == pytest.approx(sizes.share_with_less(0.4, 0.6, 200), abs=0.01)


def test_the_table_counts_who_was_ruined_on_the_way():
    table = sizes.gamblers_table([0.2, 0.6], 0.6, 200, seed=0)
    wealth = sizes.gamblers(0.6, 0.6, 200, seed=0)
    row = table.loc["60%"]
    assert row["expected"] == pytest.approx(1.12**200) and row["median"] == np.median(wealth[-1])
    assert row["ruined"] == (wealth < 0.01).any(axis=0).mean() >= (wealth[-1] < 0.01).mean()
    assert table.loc["20%", "growth a bet"] > 0 > row["growth a bet"]


def test_pictures_of_bets_say_what_came():
    title = sizes.plot_gamblers(0.4, 0.6, n_bets=200, seed=0).axes[0].get_title(loc="left")
    wealth = sizes.gamblers(0.4, 0.6, 200, seed=0)
    assert title == (f"40% staked, 60% won: {sizes.share_with_less(0.4, 0.6, 200):.0%} have less than they began with, "
                     f"{(wealth < 0.01).any(axis=0).mean():.0%} were ruined")
    assert sizes.plot_growth(0.6, [0.2]).axes[0].get_title(loc="left") == (
        "Wealth grows fastest at 20% a bet, and not at all from 39% on")
    assert "fastest at 10% a bet" in sizes.plot_growth(0.55).axes[0].get_title(loc="left")


# --------------------------------------------------------------- six sizes


class Nothing(BuyAndHold):
    """Never buys."""

    def decide(self, bars):
        return np.zeros(len(bars), dtype=np.int8)


def test_sizes_side_by_side(bars):
    results = {"half": backtest(bars, BuyAndHold(), sizer=FixedFraction(0.5), execution=FREE),
               "all": backtest(bars, BuyAndHold(), execution=FREE), "none": backtest(bars, Nothing(), execution=FREE)}
    table = sizes.size_table(results)
    assert table.loc["half", "share held"] == pytest.approx(0.5, abs=0.02)
    assert table.loc["all", "share held"] == pytest.approx(1.0, abs=0.02)
    grown = backtest(planted_edge(1_400, 3, 0.5), sizes.FollowTheDay(), sizer=FixedFraction(0.5), execution=FREE)
    assert grown.metrics["total_return"] > 1  # a share of what there is by then, not of what there was at first
    assert sizes.size_table({"grown": grown}).loc["grown", "share held"] == pytest.approx(0.5, abs=0.02)
    assert table.loc["none"].isna()[["share held", "sharpe", "error"]].all()
    assert table.loc["all", "error"] == pytest.approx(np.sqrt(252 / len(bars)), rel=0.02)  # of a ratio near 0
    equal = sizes.at_equal_volatility(results)
    assert list(equal) == ["half", "all"] and equal.std().to_numpy() == pytest.approx(np.sqrt(252))
    assert equal.mean().to_numpy() == pytest.approx(table["sharpe"].dropna().to_numpy())


# ---------------------------------------------------------- drawdown limits


def leaning(table):
    """Correlation of a return with the one before."""
    returns = np.log(table["close"]).diff().dropna()
    return returns.autocorr(1)


def test_an_edge_that_turns_is_the_same_world_until_it_does():
    whole, turned = planted_edge(6_000, 4, 0.3), sizes.edge_that_turns(6_000, 4, 0.3, turn=3_000)
    check_bars(turned, positive=True)
    pd.testing.assert_frame_equal(turned.iloc[:3_000], whole.iloc[:3_000])
    assert leaning(turned.iloc[:3_000]) == pytest.approx(0.3, abs=0.06)
    assert leaning(turned.iloc[3_000:]) == pytest.approx(-0.3, abs=0.06)
    moves, against = (each["close"].pct_change() for each in (turned, planted_edge(6_000, 4, -0.3)))
    assert moves.iloc[3_000:].to_numpy() == pytest.approx(against.iloc[3_000:].to_numpy())  # it goes on where it stood
    pd.testing.assert_frame_equal(sizes.edge_that_turns(500, 4, 0.3, turn=500), planted_edge(500, 4, 0.3))


def test_following_the_day_earns_what_the_leaning_pays_and_looks_at_nothing_else(bars):
    strong, reverse = (backtest(planted_edge(3_000, 1, lean), sizes.FollowTheDay(), execution=FREE).metrics["sharpe"]
                       for lean in (0.3, -0.3))
    assert strong > 1 and reverse < -1
    assert audit_strategy(sizes.FollowTheDay(), bars.iloc[:300]).clean
    closes = pd.DataFrame({"close": [1.0, 2.0, 2.0, 1.0]}, pd.date_range("2024-01-01", periods=4))
    assert sizes.FollowTheDay().decide(closes).tolist() == [0, 1, 0, -1]


def test_a_hard_limit_ends_it_and_a_soft_one_lets_less_and_less():
    world = sizes.edge_that_turns(1_500, 0, 0.1, turn=400)
    found = sizes.with_limits(world, sizes.FollowTheDay(), 0.1, cost_bps=1.0)
    assert list(found) == list(sizes.LIMITS) and found["no limit"].metrics["max_drawdown"] < -0.3
    for name in sizes.LIMITS[1:]:
        assert found[name].metrics["max_drawdown"] > -0.15
    hard = found["hard limit"]
    below = hard.equity / hard.equity.cummax() - 1
    reached = below.index[below < -0.1][0]
    bought = hard.fills[hard.fills["quantity"] > 0]["timestamp"]
    after = world.index[world.index.get_loc(reached) + 1]  # what was ordered before it may still fill
    assert (bought <= after).all() and set(hard.risk["reason"]) == {"max_drawdown"}
    soft = found["soft limit"].risk
    soft = soft[soft["allowed"] > 0].set_index("timestamp")
    share = soft["allowed"] * world["close"].reindex(soft.index) / found["soft limit"].equity.reindex(soft.index)
    depth = (found["soft limit"].equity / found["soft limit"].equity.cummax() - 1).reindex(soft.index)
    assert share[depth > -0.02].mean() > 2 * share[depth < -0.06].mean()


def test_many_worlds_are_the_single_ones():
    many = sizes.limits_in_worlds(2, 0.1, turn=400, n_bars=800, seed=7)
    world = sizes.edge_that_turns(800, 8, 0.1, turn=400)
    found = sizes.with_limits(world, sizes.FollowTheDay(), 0.1, 1.0)
    row = many.iloc[1]
    for name, result in found.items():
        assert row[name] == result.metrics["total_return"]
    assert row["reached"] == (found["no limit"].metrics["max_drawdown"] < -0.1)
    hard = found["hard limit"].fills
    assert world.index[int(row["hard stops"])] == hard[hard["quantity"] > 0]["timestamp"].iloc[-1]


def test_the_picture_of_limits_says_who_gains():
    free, hard = (backtest(random_walk(300, seed), BuyAndHold(), execution=FREE) for seed in (1, 2))
    gain = hard.metrics["total_return"] - free.metrics["total_return"]
    worlds = {"one": {"no limit": free, "hard limit": hard}, "two": {"no limit": hard, "hard limit": free}}
    titles = [axis.get_title(loc="left") for axis in sizes.plot_limits(worlds).axes]
    verbs = ["saves", "costs"] if gain > 0 else ["costs", "saves"]
    assert titles == [f"{name}: the hard limit {verb} {abs(gain):.0%} of the capital" for name, verb in zip(worlds, verbs)]


# ------------------------------------------------------ a currency on a leash


def test_what_a_target_asks_for(bars):
    sizer = VolatilityTarget(0.10, max_fraction=1e6)
    asked = sizes.asked(sizer, bars)
    trailing = bars["close"].pct_change().rolling(20).std() * np.sqrt(252)
    np.testing.assert_allclose(asked, 0.10 / trailing)
    assert asked.max() > 1 and sizes.asked(VolatilityTarget(0.10), bars).max() <= 1.0
    title = sizes.plot_asked(asked.to_frame("made"), 0.1).axes[0].get_title(loc="left")
    assert title == f"For 10% a year it asks for up to {asked.max():,.0f} of made"


def test_a_floor_remembers_and_looks_at_the_past_alone():
    franc = load_bars("EURCHF").loc["2008":"2014"]
    floor = sizes.floored(franc)
    returns = franc["close"].pct_change()
    assert (floor.dropna() >= returns.rolling(20).std()[floor.dropna().index]).all()
    assert floor.iloc[-1] == pytest.approx(returns.std())  # the quiet end leaves the floor
    assert (floor.iloc[:250].dropna() == returns.rolling(20).std().iloc[:250].dropna()).all()  # too few to remember
    assert sizes.fall_to_fear(franc).iloc[-1] == pytest.approx(-2 * np.sqrt(20) * returns.iloc[-60:].std())
    for forecast in (sizes.floored, sizes.fall_to_fear):
        assert audit_features(lambda each: forecast(each).to_frame("forecast"), franc.iloc[:400], n_cuts=3).clean
    assert (sizes.fall_to_fear(franc).dropna() < 0).all()


# ------------------------------------------------------- forecasts of risk


def test_losses_are_what_evaluate_averages(found):
    for name, each in found["made"].items():
        scores = evaluate(each.predictions, each.labels, task="volatility", n_boot=20)
        assert risk.losses(found["made"])[name].mean() == pytest.approx(scores.loc["qlike", "value"])
        assert each.folds["train_from"].iloc[0] < each.predictions.index[0]
    still = pd.Series([0.0, 0.01, 0.02])
    assert risk.qlike(pd.Series([0.01, 0.01, 0.02]), still).tolist() == pytest.approx([0.0, 0.0, 0.0])
    low, high = risk.qlike(pd.Series([0.01, 0.04]), pd.Series([0.02, 0.02]))
    assert low > high > 0  # too low is dearer than too high


def test_tables_of_scores_by_forecast_and_market(found):
    both = {"a": found["made"], "b": found["made"]}
    tables = risk.score_tables(both, "qlike", n_boot=50)
    assert list(tables) == ["last 5 days", "last 20 days", "EWMA", "HAR"]
    means = risk.losses(found["made"]).mean()
    for name, table in tables.items():
        assert list(table.index) == ["a", "b"] and (table["low"] < table["high"]).all()
        assert table["value"].to_numpy() == pytest.approx([means[name]] * 2)


def test_an_expanding_forecast_learns_from_all_before(bars):
    slid, grown = (risk.forecast_volatility(risk.HAR(), bars, expanding=expanding).folds for expanding in (False, True))
    assert slid["train_from"].iloc[-1] > grown["train_from"].iloc[-1] == slid["train_from"].iloc[0]


def test_verdicts_count_intervals_that_stay_on_one_side(found):
    rows = np.random.default_rng(0).random(500)
    index = pd.date_range("2020-01-01", periods=500)
    losses = pd.DataFrame({"rival": rows, "better": rows - 0.1, "worse": rows + 0.1, "alike": np.roll(rows, 7)}, index)
    pairs = {market: paired_differences(-losses, n_boot=100) for market in ("a", "b")}
    counts = risk.verdicts(pairs, "rival")
    assert counts.loc["better"].tolist() == [2, 0, 0] and counts.loc["worse"].tolist() == [0, 0, 2]
    assert counts.loc["alike"].tolist() == [0, 2, 0] and "rival" not in counts.index


def test_pictures_of_risk_say_what_came():
    reviews = pd.DataFrame({"forecast": [0.1, 0.3, 0.3, 0.1], "realised": [0.1, 0.3, 0.1, np.nan],
                            "reason": ["", "volatility_limit", "volatility_limit", ""]})
    title = risk.plot_reviews(reviews, 0.2).axes[0].get_title(loc="left")
    assert title == "Above the limit came 50% of what was refused and 0% of what was allowed"
    table = pd.DataFrame({"value": [0.3, 0.5], "low": [0.2, 0.4], "high": [0.4, 0.6]}, ["a", "b"])
    axis = risk.plot_intervals({"one": table, "two": table}, "score", "as said", log=True).axes[0]
    assert axis.get_title(loc="left") == "as said" and [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert sorted(line.get_xdata().tolist() for line in axis.lines) == [[0.3, 0.5]] * 2
