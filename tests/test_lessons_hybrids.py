"""Lesson 09's helpers: what a filter learns, what coins look like, and made worlds whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from worlds import random_bars

from mlkit import (BuyAndHold, Confidence, Costs, FeatureSet, FilteredStrategy, FixedFraction, LaggedReturns,
                   MLStrategy, MeanReversion, PriceToAverage, RealisticExecutionHandler, audit_features, audit_split,
                   audit_strategy, backtest, direction, load_bars, meta_label, random_walk, regime_switching,
                   trade_return)
from mlkit.engine import compare
from mlkit.lessons import hybrids as lesson

RULE = MeanReversion(20)
FEATURES = FeatureSet([LaggedReturns(2), PriceToAverage(20)])
COST = 3.0


@pytest.fixture(scope="module")
def bars():
    return load_bars("GE").loc["1994":"2006"]


@pytest.fixture(scope="module")
def found(bars):
    return lesson.learn_filter(bars, RULE, FEATURES, COST)


@pytest.fixture(scope="module")
def filtered(found):
    return FilteredStrategy(RULE, found, FEATURES)


@pytest.fixture(scope="module")
def many():
    return lesson.many_worlds(5, seed=40)


# ------------------------------------------------------------ what is learned


def test_proposals_are_where_the_rule_buys_and_all_is_known(bars):
    X, labels = lesson.proposals(bars, RULE, FEATURES, COST)
    everything = meta_label(bars, RULE.decide(bars), COST)
    assert labels.equals(everything.loc[X.index]) and X.notna().all(axis=None) and labels.notna().all(axis=None)
    assert set(X.index) <= set(bars.index[RULE.decide(bars) > 0])
    assert len(everything["label"].dropna()) - len(X) < 20  # all but the warm-up


def test_folds_purge_what_was_undecided_and_test_two_thirds(bars, found):
    X, labels = lesson.proposals(bars, RULE, FEATURES, COST)
    splitter = lesson.folds_of(labels)
    assert audit_split(splitter, X, labels).clean
    assert len(found.folds) == 6 and found.predictions.index.equals(X.index[len(X) // 3 :])
    assert (found.folds["known_by"] <= found.folds["test_from"]).all()
    before = np.array([(X.index < start).sum() for start in found.folds["test_from"]])
    assert (found.folds["n_train"] <= before).all() and (found.folds["n_train"] < before).any()


def test_one_half_is_the_usual_proposal_whatever_the_share_that_pays():
    bars = random_walk(3_000, seed=5)
    for cost in (0.0, 150.0):  # nearly all proposals pay, hardly any does
        found = lesson.learn_filter(bars, RULE, FEATURES, cost)
        assert not 0.3 < found.labels.mean() < 0.6
        assert 0.2 < (found.predictions >= 0.5).mean() < 0.8


def test_a_replacement_learns_from_all_days_before_and_from_none_after(bars):
    since = bars.index[1_500]
    found = lesson.learn_replacement(bars, FEATURES, since, n_folds=3)
    assert found.predictions.index[0] == since and len(found.folds) == 3
    assert (found.folds["known_by"] <= found.folds["test_from"]).all()
    assert found.labels.equals(direction(bars)["label"].loc[found.labels.index])
    assert found.folds["n_train"].iloc[0] == pytest.approx(1_500, abs=30)


def test_wild_is_above_the_median_so_far():
    bars = random_bars(1, n=600)
    state = lesson.calm_or_wild(bars)
    volatility = bars["close"].pct_change().rolling(20).std()
    known = volatility.expanding(250).median().notna().to_numpy()
    assert (state[~known] == "").all() and set(state[known]) == {"calm", "wild"}
    for at in np.flatnonzero(known)[[0, 50, -1]]:
        assert (state[at] == "wild") == (volatility.iloc[at] > volatility.iloc[: at + 1].median())
    assert (lesson.calm_or_wild(bars.iloc[:400]) == state[:400]).all()


# ------------------------------------------------------------ what is earned


def test_trades_start_together_and_are_those_of_the_engine(bars, filtered):
    results = lesson.trade(bars, {"rule": RULE, "filtered": filtered, "sized": filtered}, COST, {"sized": Confidence()})
    alone = compare(bars, {"rule": RULE, "filtered": filtered},
                    execution=RealisticExecutionHandler(Costs(COST, 0.0, 0.0)))
    for name, result in alone.items():
        assert results[name].order_hash == result.order_hash
        assert results[name].returns.equals(result.returns)
    days = {result.returns.index[0] for result in results.values()}
    assert len(days) == 1 and days.pop() == bars.index[filtered.first_decision(bars) + 1]
    assert results["sized"].metrics["volatility"] < results["filtered"].metrics["volatility"] / 2
    assert results["sized"].name == "sized" and RULE.lookback == 20


def test_profits_are_what_the_labels_say(bars):
    result = backtest(bars, RULE, execution=RealisticExecutionHandler(Costs(COST, 0.0, 0.0)))
    earned, labels = lesson.profits(result), trade_return(bars, RULE.decide(bars), COST)
    decided = bars.index[bars.index.get_indexer(result.trades["entry_time"]) - 1][: len(earned)]
    assert earned.to_numpy() == pytest.approx(labels["label"][decided].to_numpy())
    assert earned.index.tolist() == labels["end"][decided].tolist()


def test_figures_of_results(bars):
    results = lesson.trade(bars, {"rule": RULE, "hold": BuyAndHold()}, COST)
    table, earned = lesson.figures_of(results), lesson.profits(results["rule"])
    assert table.loc["rule", "trades"] == results["rule"].metrics["n_trades"] == len(earned)
    assert table.loc["rule", "profit"] == pytest.approx(1e4 * earned.mean())
    assert table.loc["rule", "won"] == pytest.approx(results["rule"].metrics["win_rate"])
    assert table.loc["rule", "sharpe"] == results["rule"].metrics["sharpe"]
    years = len(results["rule"].returns) / results["rule"].periods_per_year
    assert table.loc["rule", "error"] == pytest.approx(1 / np.sqrt(years), rel=0.05)
    assert table.loc["hold", "trades"] == 0 and np.isnan(table.loc["hold", "profit"])


def test_what_a_filter_refuses_and_what_it_follows_is_all(bars, filtered):
    results = lesson.trade(bars, {"rule": RULE, "filtered": filtered}, COST)
    followed, refused = lesson.kept_and_refused(results["rule"], results["filtered"])
    everything = pd.concat([followed, refused]).sort_index()
    assert everything.equals(lesson.profits(results["rule"]).sort_index()) and len(refused) > 5
    assert set(followed.index) == set(lesson.profits(results["filtered"]).index)


class Result:
    """What `differences_to` asks of a BacktestResult."""

    periods_per_year = 252.0

    def __init__(self, returns):
        self.returns = pd.Series(returns, pd.bdate_range("2000-01-03", periods=len(returns)))


def made_results(seed, n=2_000, extra=0.0):
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.01, n)
    results = {f"way {number}": Result(0.5 * common + rng.normal(0, 0.005, n)) for number in range(5)}
    results["way 0"] = Result(results["way 0"].returns.to_numpy() + extra)
    return {"rule": Result(common), "twice": Result(2 * common), "never": Result(np.zeros(n))} | results


def test_a_difference_is_one_of_sharpe_ratios_on_the_same_days():
    results = made_results(1)
    table = lesson.differences_to(results, "rule", n_boot=400)
    assert list(table.index) == [f"way {number}" for number in range(5)]  # not the same again, not what never held
    sharpe = {name: np.sqrt(252) * result.returns.mean() / result.returns.std() for name, result in results.items()
              if name != "never"}
    assert table["value"].to_numpy() == pytest.approx([sharpe[name] - sharpe["rule"] for name in table.index])
    correlation = results["rule"].returns.corr(results["way 1"].returns)
    assert table["error"]["way 1"] == pytest.approx(np.sqrt(2 * (1 - correlation) * 252 / 2_000), rel=0.15)
    single, shared = lesson.intervals(table), lesson.intervals(table, tried=5)
    assert (single["high"] - table["value"]).to_numpy() == pytest.approx(1.96 * table["error"].to_numpy(), rel=1e-3)
    assert (shared["low"] - table["value"]).to_numpy() == pytest.approx(-2.576 * table["error"].to_numpy(), rel=1e-3)


def test_of_five_that_are_no_better_one_by_one_many_look_so_and_shared_few():
    one_by_one, shared = [], []
    for seed in range(60):
        table = lesson.differences_to(made_results(seed, n=500), "rule", n_boot=60, seed=seed)
        for found, tried in ((one_by_one, 1), (shared, 5)):
            each = lesson.intervals(table, tried)
            found.append(((each["low"] > 0) | (each["high"] < 0)).any())
    assert np.mean(shared) <= 0.15 < np.mean(one_by_one) + 0.05 and sum(shared) < sum(one_by_one)
    better = lesson.differences_to(made_results(3, extra=0.0015), "rule", n_boot=100)
    assert lesson.intervals(better, tried=5)["low"]["way 0"] > 0


# ------------------------------------------------------------ filters that know nothing


def test_followed_enters_where_it_may_and_leaves_always(bars):
    proposed = RULE.decide(bars)
    allowed = np.arange(len(bars)) % 3 == 0
    said = lesson.Followed(RULE, allowed, 20).decide(bars)
    assert (said[proposed < 0] == -1).all() and ((said > 0) == ((proposed > 0) & allowed)).all()
    free = lesson.Followed(RULE, np.ones(len(bars), dtype=bool), 20)
    assert backtest(bars, free).order_hash == backtest(bars, RULE).order_hash


def test_the_first_of_the_random_filters_is_the_filter_itself(bars, filtered):
    random = lesson.random_filters(bars, filtered, COST, n=8, seed=1)
    real = lesson.trade(bars, {"rule": RULE, "filtered": filtered}, COST)
    earned = lesson.profits(real["filtered"])
    followed, refused = lesson.kept_and_refused(real["rule"], real["filtered"])
    assert random.loc[0, "profit"] == pytest.approx(1e4 * earned.mean()) and random.loc[0, "trades"] == len(earned)
    assert random.loc[0, "sharpe"] == pytest.approx(real["filtered"].metrics["sharpe"])
    won = [(followed > 0).mean(), (refused > 0).mean()]
    assert random.loc[0, ["followed_won", "refused_won"]].tolist() == pytest.approx(won)
    assert len(random) == 9 and random["trades"][1:].std() > 0
    assert random.equals(lesson.random_filters(bars, filtered, COST, n=8, seed=1))
    everything = FilteredStrategy(RULE, filtered.model, FEATURES, threshold=0.0)
    assert (lesson.random_filters(bars, everything, COST, n=5)["trades"] == len(lesson.profits(real["rule"]))).all()


def test_as_good_counts_the_filter_itself():
    random = pd.DataFrame({"profit": [3.0, 1.0, 2.0, 3.0, 5.0], "sharpe": [9.0, 1.0, 1.0, 1.0, 1.0]})
    assert lesson.as_good(random) == 0.6 and lesson.as_good(random, "sharpe") == 0.2


def test_coins_refuse_the_short_trades_which_are_those_that_won():
    for seed in range(3):
        walk = random_walk(3_000, seed=20 + seed)
        strategy = FilteredStrategy(RULE, lesson.learn_filter(walk, RULE, FEATURES, COST), FEATURES)
        coins = lesson.random_filters(walk, strategy, COST, n=25, seed=seed)[1:]
        assert coins["refused_won"].mean() > coins["followed_won"].mean() + 0.05
        trades = lesson.trade(walk, {"": RULE, "other": strategy}, COST)[""].trades.query("not open")
        short = trades["bars_held"] <= trades["bars_held"].median()
        assert (trades["net_profit"] > 0)[short].mean() > (trades["net_profit"] > 0)[~short].mean()


def shares_as_good(worlds):
    shares = []
    for seed, bars in enumerate(worlds):
        found = lesson.learn_filter(bars, lesson.FOLLOW, lesson.WORLD_FEATURES, lesson.WORLD_COST)
        strategy = FilteredStrategy(lesson.FOLLOW, found, lesson.WORLD_FEATURES)
        shares.append(lesson.as_good(lesson.random_filters(bars, strategy, lesson.WORLD_COST, n=30, seed=seed)))
    return np.array(shares)


def test_coins_tell_a_filter_that_chooses_from_one_that_does_not():
    knows = shares_as_good(regime_switching(4_000, seed, 0.25) for seed in range(60, 66))
    assert np.median(knows) < 0.1 and (knows < 0.35).all()
    nothing = shares_as_good(random_walk(1_500, seed) for seed in range(60, 70))
    assert (nothing < 0.1).mean() <= 0.3 and 0.3 < nothing.mean() < 0.8


# ------------------------------------------------------------ made worlds


def test_echo_by_hand_and_without_a_look_ahead():
    close = 100 * np.cumprod([1.0, 1.1, 1.1, 0.9, 0.9, 1.2])
    bars = pd.DataFrame({"close": close}, pd.date_range("2024-01-01", periods=6))
    echo = lesson.Echo(2)(bars)["echo_2"]
    r = bars["close"].pct_change().to_numpy()
    assert echo.iloc[:3].isna().all() and lesson.Echo(2).lookback == 4
    for at in (3, 4, 5):
        expected = (r[at] * r[at - 1] + r[at - 1] * r[at - 2]) / (r[at] ** 2 + r[at - 1] ** 2)
        assert echo.iloc[at] == pytest.approx(expected)
    walk = random_walk(300, seed=1)
    assert audit_features(lesson.WORLD_FEATURES, walk).clean
    assert audit_features(lambda bars: pd.DataFrame({"mood": lesson.follow_or_fade(bars)}, bars.index), walk).clean


def test_the_two_rules_of_the_worlds_are_opposites():
    walk = random_walk(200, seed=3)
    rose = np.sign(walk["close"].diff().fillna(0.0)).to_numpy()[1:]
    assert (lesson.FOLLOW.decide(walk)[1:] == rose).all() and (lesson.FADE.decide(walk)[1:] == -rose).all()


def test_the_guess_of_the_mood_is_mostly_right():
    bars = regime_switching(6_000, seed=9, strength=lesson.STRENGTH)
    guess = lesson.follow_or_fade(bars)
    assert (guess[:61] == 0).all() and set(guess[61:]) == {-1.0, 1.0}
    assert 0.75 < (guess[61:] == bars["regime"].to_numpy()[61:]).mean() < 0.98


def test_where_the_rule_is_right_nothing_is_to_be_gained(many):
    right = many.loc["it is right"].mean().dropna()
    assert right["rule"] > 1 and (right < right["rule"] + 0.15).all() and right["filtered"] > 0


def test_where_it_is_wrong_a_filter_only_refuses_and_a_replacement_earns(many):
    wrong = many.loc["it is wrong"]
    assert (wrong["filtered"] > wrong["rule"]).all() and (wrong["filtered"] < 0).all()
    assert (wrong["replaced"] > 0.5).all() and (wrong["switch"] > 0.5).all()


def test_where_it_is_right_at_times_a_filter_gets_part_of_its_ceiling(many):
    at_times = many.loc["it is right at times"]
    mean = at_times.mean()
    assert (at_times["filtered"] > at_times["rule"]).mean() >= 0.8
    assert mean["rule"] + 0.3 < mean["filtered"] < mean["best filter"] - 0.1
    assert mean["filtered"] < mean["switch"] < mean["best switch"]
    assert mean["best filter"] < mean["best switch"] - 0.2  # what the rule never proposes
    assert mean["replaced"] < mean["filtered"]


def test_where_there_is_nothing_to_know_nothing_is_found(many):
    nothing = many.loc["there is nothing to know"].mean().dropna()
    assert list(nothing.index) == ["rule", "replaced", "filtered", "vote", "switch"]
    assert nothing.abs().max() < 0.7


def test_no_filter_sells_what_the_rule_does_not(bars, filtered):
    for pair in (lesson.trade(bars, {"rule": RULE, "filtered": filtered}, COST),
                 lesson.run_world(regime_switching(2_000, seed=2, strength=0.3))):
        of = {way: set(lesson.profits(pair[way]).index) for way in pair}
        assert of["filtered"] < of["rule"] and of.get("best filter", set()) <= of["rule"]


def test_the_ways_of_the_worlds_do_not_look_ahead():
    bars = regime_switching(700, seed=4, strength=0.3)
    found = lesson.learn_filter(bars, lesson.FOLLOW, lesson.WORLD_FEATURES, 1.0)
    later = bars.iloc[400:].drop(columns="regime")
    replacement = lesson.learn_replacement(bars, lesson.WORLD_FEATURES, found.predictions.index[0])
    for strategy in (FilteredStrategy(lesson.FOLLOW, found, lesson.WORLD_FEATURES),
                     MLStrategy(replacement, lesson.WORLD_FEATURES, enter=0.5, exit=0.5)):
        assert audit_strategy(strategy, later, sizer=FixedFraction(0.5)).clean


# ---------------------------------------------------------------- pictures


def test_pictures_say_what_the_numbers_say(bars, filtered, many):
    results = lesson.trade(bars, {"rule": RULE, 0.5: filtered}, COST)
    kept, everything = lesson.profits(results[0.5]), lesson.profits(results["rule"])
    axis, = lesson.plot_threshold(results["rule"], {0.5: results[0.5]}, 0.5).axes
    title = axis.get_title(loc="left")
    assert f"{len(kept)} of {len(everything)} trades, {1e4 * kept.mean():+.0f} bp each" in title
    assert axis.lines[0].get_ydata() == pytest.approx(100 * kept.to_numpy())
    assert len(axis.lines[1].get_ydata()) == len(everything) - len(kept)
    never = lesson.trade(bars, {"": FilteredStrategy(RULE, filtered.model, FEATURES, threshold=2.0)}, COST)[""]
    axis, = lesson.plot_threshold(results["rule"], {2.0: never}, 2.0).axes
    assert axis.get_title(loc="left") == f"threshold 2: 0 of {len(everything)} trades, it never trades"
    random = lesson.random_filters(bars, filtered, COST, n=5)
    axis, = lesson.plot_random_filters(random, 12.0, "a title").axes
    assert axis.lines[0].get_xdata()[0] == random["profit"][0] and axis.lines[1].get_xdata()[0] == 12.0
    assert sum(patch.get_height() for patch in axis.patches) == 5
    axes = lesson.plot_worlds(many).axes
    bars_drawn = [line.get_xdata()[0] for line in axes[1].lines if line.get_marker() == "|"]
    assert bars_drawn == pytest.approx(many.loc["it is wrong"].mean().dropna().tolist())
    assert [axis.get_title(loc="left") for axis in axes][1] == "it is wrong: replaced leads" and len(axes) == 4
