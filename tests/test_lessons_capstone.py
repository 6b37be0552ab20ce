"""Lesson 11's helpers: what a report refuses and measures, and a verdict that is right where the truth is known."""

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kurtosis, skew

from mlkit import (BarsError, Costs, FeatureSet, IdealExecutionHandler, LaggedReturns, TrialLedger, UnknownModel,
                   WalkForward, backtest, deflated_sharpe, load_bars, planted_edge, random_walk)
from mlkit.batch import parameters_of
from mlkit.lessons import capstone as lesson
from mlkit.lessons import capstone_pictures as pictures
from mlkit.lessons import decision

SMALL = {"train_size": 300, "test_size": 250, "n_boot": 100}
SETUP = lesson.Setup("logistic", **SMALL)
CLEAN = decision.Condition("nothing leaks", "0 findings in 9 tests", True, 0)


@pytest.fixture(scope="module")
def bars():
    return planted_edge(1_500, seed=2, strength=0.3)


@pytest.fixture(scope="module")
def found(bars):
    return lesson.research(bars, SETUP)


@pytest.fixture(scope="module")
def traders(bars, found):
    return lesson.traders_of(bars, SETUP, found)


@pytest.fixture(scope="module")
def results(bars, traders):
    return lesson.trade(bars, SETUP, traders)


@pytest.fixture(scope="module")
def drawn(results):
    return lesson.drawn_again(results, n_boot=200)


@pytest.fixture(scope="module")
def falling():
    """A market on which the naive forecast never buys."""
    return random_walk(900, seed=1, drift=-0.004)


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize("asked, told", [
    ({"model": ""}, "family of the catalogue"), ({"model": "ridge, ridge"}, "each once"),
    ({"horizon": 0}, "horizon is a whole number, 1 or more, not 0"), ({"horizon": True}, "horizon"),
    ({"train_size": 99}, "train_size .* 100 or more"), ({"test_size": 10}, "test_size"),
    ({"tried_before": -1}, "tried_before"), ({"n_boot": 1}, "n_boot"), ({"seed": 1.5}, "seed"),
])
def test_a_setup_that_cannot_be_is_refused(asked, told):
    with pytest.raises(ValueError, match=told):
        lesson.Setup(**asked)


def test_an_unknown_model_is_told_what_there_is():
    with pytest.raises(UnknownModel, match="'forest'. The catalogue has majority, .*xgboost"):
        lesson.Setup("logistic,forest")


def test_the_notebook_asks_for_what_a_setup_takes_with_its_defaults():
    told = parameters_of(Path(__file__).parents[1] / "notebooks" / "11_capstone.ipynb")
    default = lesson.Setup()
    for each in fields(lesson.Setup):
        if each.name != "costs":
            assert told[each.name].default == getattr(default, each.name), each.name
    assert Costs(*(told[f"{name}_bps"].default for name in ("half_spread", "slippage", "commission"))) == default.costs
    assert default.cost_bps == 3.0 and default.at_cost(7).cost_bps == 7.0 and list(told)[0] == "symbol"


def test_as_many_bars_as_it_asks_for_are_enough_and_one_fewer_is_refused():
    setup = lesson.Setup("ridge", horizon=3, **SMALL)
    bars = planted_edge(setup.bars_needed, seed=1)
    assert len(lesson.rows_of(lesson.usable(bars, setup), setup)[0]) == 300 + lesson.LEAST_TESTED
    assert len(decision.judge(bars, setup)) == 6
    with pytest.raises(ValueError, match=f"PLANTED_EDGE has {setup.bars_needed - 1:,} bars and this report needs "
                                         f"{setup.bars_needed:,}: 21 for the features, 300 to learn from, 500"):
        lesson.usable(bars.iloc[1:], setup)
    longer = lesson.Setup("ridge", train_size=300, test_size=800)
    with pytest.raises(ValueError, match="800 to be tested on"):
        lesson.usable(bars, longer)


def test_a_horizon_longer_than_a_block_is_refused():
    setup = lesson.Setup("ridge", horizon=9, **SMALL)
    with pytest.raises(ValueError, match="9 is longer than the 8 bars .* Take at most 8"):
        lesson.usable(random_walk(830, seed=1), setup)
    assert len(lesson.usable(random_walk(900, seed=1), setup)) == 900


@pytest.mark.parametrize("market, error, told", [
    ("UST10Y", ValueError, "UST10Y is a yield, not a price"), ("DE-LU", ValueError, "DE-LU is an auction"),
    ("WTI", BarsError, r"WTI has a non-positive close \(-36.98 on 2020-04-20\)"),
    ("HENRYHUB", BarsError, "missing close"), ("GEE", ValueError, "did you mean GE")])
def test_what_nobody_can_trade_is_refused_in_a_sentence(market, error, told):
    with pytest.raises(error, match=told):
        lesson.usable(lesson.bars_of(market), SETUP)


@pytest.mark.parametrize("symbol", ["EURUSD", "BRENT", "PLANTED_EDGE"])
def test_other_kinds_of_market_can_be_judged(symbol):
    conditions = decision.judge(lesson.bars_of(symbol, rows=900), SETUP)
    assert conditions[0].passed and [each.name for each in conditions] == list(decision.RULES)


# ------------------------------------------------------------ bars of one's own


def test_a_file_of_ones_own_takes_the_place_of_a_market(bars, tmp_path):
    path = tmp_path / "mine.csv"
    bars.rename(columns=str.capitalize).assign(**{"Adj Close": bars["close"]}).to_csv(path)
    mine = lesson.bars_of("GE", str(path), rows=900)
    assert mine.attrs["symbol"] == "mine" and lesson.quirks_of(mine) == ""
    pd.testing.assert_series_equal(mine["close"], bars["close"].iloc[-900:], check_freq=False, rtol=1e-12)
    assert "adjusts nothing" in lesson.facts(mine).loc["adj_close", "found"]
    same = [decision.judge(each, SETUP, CLEAN) for each in (mine, bars.iloc[-900:])]
    assert [each.passed for each in same[0]] == [each.passed for each in same[1]]
    assert same[0][1].measured == same[1][1].measured


def test_a_file_with_faults_is_refused_by_date(bars, tmp_path):
    bad = bars.copy()
    bad.loc[bad.index[700], "low"] = bad["high"].iloc[700] * 2
    bad.to_csv(tmp_path / "bad.csv")
    with pytest.raises(BarsError, match=rf"bad.csv has a low > high .* on {bad.index[700]:%Y-%m-%d}"):
        lesson.bars_of("GE", str(tmp_path / "bad.csv"))
    with pytest.raises(FileNotFoundError, match="none.csv"):
        lesson.bars_of("GE", str(tmp_path / "none.csv"))


def test_intraday_bars_of_ones_own_are_judged_too(bars, tmp_path):
    hourly = bars.iloc[:900].set_axis(pd.date_range("2020-01-01", periods=900, freq="h", tz="UTC", name="timestamp"))
    hourly.to_csv(tmp_path / "hourly.csv")
    mine = lesson.bars_of("", str(tmp_path / "hourly.csv"))
    assert lesson.facts(mine).loc["largest step in time", "found"].startswith("0 days 01:00:00, to ")
    assert len(decision.judge(mine, SETUP, CLEAN)) == 6


def test_facts_name_gaps_and_moves():
    iceland = load_bars("EURISK")
    odd = lesson.suspicious(iceland)
    assert set(odd["fault"]) == {"gap", "move"} and pd.Timestamp("2018-02-01") in set(odd["timestamp"])
    facts = lesson.facts(iceland)["found"]
    assert facts["largest step in time"] == "3341 days, to 2018-02-01" and "1 x gap" in facts["looks suspicious"]
    assert facts["prices"].startswith("close alone") and "hole of 3341 days" in lesson.quirks_of(iceland)
    calm = lesson.facts(load_bars("GE"))["found"]
    assert calm["looks suspicious"] == "nothing" and calm["bars"].startswith("12,113, from 1970-01-02")


# ------------------------------------------------------------ what is measured


def test_models_and_naive_forecast_share_rows_folds_and_horizon(bars):
    setup = lesson.Setup("logistic,ridge", horizon=5, **SMALL)
    found = lesson.research(bars, setup)
    assert list(found) == ["logistic", "ridge", "majority"]
    X, labels = lesson.rows_of(bars, setup)
    ahead = bars["open"].shift(-6) > bars["open"].shift(-1)
    assert (labels["label"] == ahead[labels.index]).all() and len(X) == len(bars) - 20 - 6
    for each in found.values():
        assert each.predictions.index.equals(X.index[300:]) and each.labels.equals(labels["label"].iloc[300:])
        assert (each.folds["known_by"] <= each.folds["test_from"]).all()


def test_decisions_worked_out_once_trade_as_the_model_does(bars, found, traders, results):
    model = lesson.strategy_of(found["logistic"])
    alone = backtest(bars, model, execution=SETUP.execution)
    assert alone.order_hash == backtest(bars, traders["logistic"], execution=SETUP.execution).order_hash
    assert results["logistic"].order_hash == alone.order_hash and len(alone.fills) > 50
    assert all(each.returns.index.equals(alone.returns.index) for each in results.values())
    assert alone.returns.index[0] > found["logistic"].predictions.index[0]
    assert list(results) == ["logistic", "mean reversion", "buy & hold"]


def test_the_lines_over_the_costs_are_on_the_same_days(bars, traders, results):
    lines = decision.cost_lines(bars, traders, [0.0, 3.0])
    for name, result in results.items():
        assert lines[name][3.0] == pytest.approx(result.metrics["sharpe"], abs=1e-3), name
        assert lines[name][0.0] >= lines[name][3.0]


def test_the_leader_is_the_one_of_the_highest_sharpe_ratio(results, bars):
    ratios = {name: result.metrics["sharpe"] for name, result in results.items()}
    assert lesson.leader(results, results) == max(ratios, key=ratios.get)
    assert lesson.leader(results, ["mean reversion", "buy & hold"]) == max(list(ratios)[1:], key=ratios.get)


def test_clean_work_is_called_clean(bars, found):
    reports = lesson.audits(bars, SETUP, found["logistic"])
    table = lesson.audit_table(reports)
    assert table["clean"].all() and (table["tests"] > 0).all()
    assert list(table.index) == ["features", "split", "fitting", "decisions"]
    leaks = decision.nothing_leaks(reports)
    assert leaks.passed and leaks.measured == f"0 findings in {table['tests'].sum()} tests"


def test_a_feature_that_peeks_is_found_by_features_and_decisions(bars, monkeypatch):
    def tomorrow(bars):
        return bars["close"].shift(-1).fillna(bars["close"]) / bars["close"] - 1
    peek = FeatureSet([LaggedReturns(20), tomorrow])
    monkeypatch.setattr(lesson, "FEATURES", peek)
    reports = lesson.audits(bars.iloc[:900], SETUP, lesson.research(bars.iloc[:900], SETUP)["logistic"])
    assert not reports["features"].clean and not reports["decisions"].clean
    leaks = decision.nothing_leaks(reports)
    assert not leaks.passed and leaks.value > 0 and decision.reasons([leaks])[0].startswith("it leaks: ")


def test_a_split_without_a_purge_is_found_by_split_and_fitting(bars, monkeypatch):
    def unpurged(labels, setup):
        return WalkForward(setup.train_size, setup.test_size, label_end=pd.Series(labels.index, labels.index))
    setup = lesson.Setup("xgboost", horizon=8, **SMALL)
    honest = lesson.research(bars, setup)["xgboost"]
    monkeypatch.setattr(lesson, "splitter_of", unpurged)
    reports = lesson.audits(bars, setup, honest)
    assert not reports["split"].clean and not reports["fitting"].clean and reports["features"].clean


def test_figures_drawn_again_are_those_of_the_results(results, drawn):
    returns = np.array([each.returns.to_numpy() for each in results.values()])
    periods = results["logistic"].periods_per_year
    table = pd.DataFrame(lesson._figures(returns, periods), results, lesson.WITH_INTERVAL)
    for name, result in results.items():
        expected = result.metrics[list(lesson.WITH_INTERVAL)].to_numpy()
        assert table.loc[name].to_numpy() == pytest.approx(expected, rel=1e-9)
    ratio = drawn["logistic", "sharpe"]
    error = np.sqrt(periods / returns.shape[1])
    assert ratio.mean() == pytest.approx(results["logistic"].metrics["sharpe"], abs=0.5 * error)
    assert ratio.std() == pytest.approx(error, rel=0.3)
    twins = lesson.drawn_again({"a": results["logistic"], "b": results["logistic"]}, n_boot=100)
    assert (twins["a", "sharpe"] == twins["b", "sharpe"]).all()  # the same days for all


def test_a_table_shows_figures_with_their_intervals(results, drawn):
    table = lesson.figures_table(results, drawn)
    low, high = lesson.ends(drawn["logistic", "sharpe"])
    assert table.loc["sharpe", "logistic"] == f"{results['logistic'].metrics['sharpe']:.2f} ({low:.2f} to {high:.2f})"
    assert table.loc["n trades", "buy & hold"] == "0"


def test_a_year_is_its_days_and_a_piece_of_one_is_left_out():
    days = pd.bdate_range("2001-11-01", "2003-09-30")
    returns = pd.Series(0.01 * np.random.default_rng(0).standard_normal(len(days)), days)
    years = lesson.by_year({"own": SimpleNamespace(returns=returns)})["own"]
    assert list(years.index) == [2002, 2003]  # two months are no year, nine are
    assert years[2002] == pytest.approx((1 + returns["2002"]).prod() - 1)


# ------------------------------------------------------------ the conditions


class Called:
    """What `calls` asks of an OutOfSample: predictions and labels."""

    def __init__(self, right):
        self.labels = pd.Series(1.0, pd.bdate_range("2020-01-01", periods=len(right)))
        self.predictions = pd.Series(right, self.labels.index, dtype=float)


def knowledge(own, naive, seed=0):
    """`it_knows_something` of calls that are right with these chances on 2,000 days."""
    rng = np.random.default_rng(seed)
    found = {"own": Called(rng.random(2_000) < own), "majority": Called(rng.random(2_000) < naive)}
    return decision.it_knows_something(found, "own", SETUP)


def test_who_is_right_as_often_as_the_naive_forecast_knows_nothing():
    assert not knowledge(0.55, 0.55).passed and "the naive forecast" in knowledge(0.55, 0.55).measured
    assert knowledge(0.6, 0.53).passed
    poor = knowledge(0.49, 0.44)  # better than who is worse than a coin
    assert not poor.passed and "a coin" in poor.measured
    bad = knowledge(0.42, 0.40)
    assert bad.is_against and decision.reasons([bad])[0].startswith("it is wrong more often than who knows nothing")
    best = knowledge(0.6, 0.4)
    assert best.low < best.value < best.high and best.value == pytest.approx(10, abs=4)


def traded(bars):
    """Results, and figures drawn again, of SETUP on these bars."""
    results = lesson.trade(bars, SETUP, lesson.traders_of(bars, SETUP, lesson.research(bars, SETUP)))
    return results, lesson.drawn_again(results, n_boot=100)


def test_the_rival_is_the_best_of_what_is_simpler():
    results, drawn = traded(planted_edge(1_500, seed=3, strength=0.4, drift=0.0005))
    beats = decision.it_beats_what_is_simpler(results, "logistic", drawn)
    rival = max(lesson.RIVALS, key=lambda name: results[name].metrics["sharpe"])
    assert results[rival].metrics["sharpe"] > 0 and f"{rival} {results[rival].metrics['sharpe']:.2f}" in beats.measured
    assert beats.passed and beats.low < beats.value < beats.high
    assert beats.value == pytest.approx(results["logistic"].metrics["sharpe"] - results[rival].metrics["sharpe"])
    twin = decision.it_beats_what_is_simpler(results | {"twin": results[rival]}, "twin",
                                             drawn.join(pd.concat({"twin": drawn[rival]}, axis=1)))
    assert not twin.passed and twin.value == twin.low == twin.high == 0.0


def test_where_both_rivals_lose_to_stay_out_is_the_rival():
    results, drawn = traded(random_walk(1_500, seed=3, drift=-0.002))
    assert max(results[name].metrics["sharpe"] for name in lesson.RIVALS) < 0
    beats = decision.it_beats_what_is_simpler(results, "logistic", drawn)
    assert "staying out 0.00" in beats.measured and beats.value == results["logistic"].metrics["sharpe"]
    assert [beats.low, beats.high] == list(lesson.ends(drawn["logistic", "sharpe"]))


def test_luck_counts_every_trial(bars, traders, results):
    with TrialLedger() as ledger:
        lesson.trade(bars, SETUP, traders)
    alone, many = (decision.it_is_more_than_luck(results["logistic"], ledger, before) for before in (0, 10_000))
    assert alone.measured.endswith("after 3 trials") and many.measured.endswith("after 10003 trials")
    assert alone.passed and not many.passed and many.value < alone.value
    returns = results["logistic"].returns
    expected = deflated_sharpe(returns.mean() / returns.std(), len(returns), n_trials=3, variance=1 / len(returns),
                               skew=skew(returns), kurtosis=kurtosis(returns, fisher=False))
    assert alone.value == pytest.approx(expected)


def test_the_ratio_that_is_needed_is_the_one_that_would_pass(results):
    result = results["logistic"]
    needed = decision.sharpe_needed(result, [1, 40])
    n, a_bar = len(result.returns), needed / np.sqrt(result.periods_per_year)
    for tried, ratio in a_bar.items():
        assert deflated_sharpe(ratio, n, n_trials=tried, variance=1 / n) == pytest.approx(0.95, abs=0.005)
    assert needed[1] < needed[40]


def test_the_limit_has_to_lie_above_the_costs_with_its_interval(bars, traders):
    limit = decision.limit_of(bars, traders["logistic"], SETUP)
    assert 0 < limit.low < limit < limit.high
    below, between, above = (decision.it_can_pay(limit, SETUP.at_cost(cost))
                             for cost in (limit.low / 2, (limit.low + limit) / 2, 2 * limit.high))
    assert below.passed and not between.passed and not above.passed
    assert not between.is_against and above.is_against
    assert decision.reasons([between, above]) == [f"it may not pay its costs: {between.measured}",
                                                  f"it cannot pay its costs: {above.measured}"]


def jumpy(jumps, n_bars=1_500):
    """A market that rises by these fractions after these bars and by nothing else, apart from a little noise."""
    noise = 1e-4 * np.random.default_rng(0).standard_normal(n_bars)
    steps = noise - noise.mean()
    for bar, jump in jumps.items():
        steps[bar] += jump
    close = 100.0 * np.exp(np.cumsum(steps))
    return pd.DataFrame({"close": close}, pd.bdate_range("2000-01-03", periods=n_bars, name="timestamp"))


class EveryMonth(lesson.Strategy):
    """In for twenty bars, out for one."""

    shorts_from_flat = False

    def decide(self, bars):
        return np.where(np.arange(len(bars)) % 21 == 20, -1, 1).astype(np.int8)


def steadiness(jumps):
    return decision.it_is_steady(backtest(jumpy(jumps), EveryMonth(), execution=IdealExecutionHandler()))


def test_steady_is_what_no_trade_and_no_third_of_the_time_made():
    steady = steadiness({bar: 0.01 for bar in range(10, 1_500, 42)})
    assert steady.passed and steady.value == 1.0 and steady.measured == "6 of 6 years gain"
    one = steadiness({bar: 0.01 for bar in range(10, 1_500, 42)} | {700: 0.9})
    assert not one.passed and "its best trades made it all" in one.measured
    late = steadiness({bar: 0.01 for bar in range(1_035, 1_500, 21)} | {bar: -0.0001 for bar in range(10, 1_000)})
    assert not late.passed and "one third of the time made it all" in late.measured
    loser = steadiness({bar: -0.01 for bar in range(10, 1_500, 42)})
    assert not loser.passed and loser.measured.endswith("in all it gains nothing")


def test_gains_in_most_years_are_not_enough_where_all_is_lost_in_one(monkeypatch):
    days = pd.bdate_range("2001-01-01", "2004-12-31")
    returns = pd.Series(np.where(days.year == 2003, -0.004, 0.001), days)
    fine = pd.DataFrame({"check": ["one trade", "period"], "verdict": "ok"})
    monkeypatch.setattr(decision, "diagnose", lambda result: SimpleNamespace(checks=fine))
    lost = decision.it_is_steady(SimpleNamespace(returns=returns, metrics={"total_return": (1 + returns).prod() - 1}))
    assert not lost.passed and lost.value == 0.75 and lost.measured == "3 of 4 years gain; in all it gains nothing"


# ------------------------------------------------------------ the verdict


def some(passed):
    return [decision.Condition(name, f"measured {number}", number < passed)
            for number, name in enumerate(decision.RULES)]


def test_the_verdict_is_all_of_them_or_no():
    assert decision.verdict(some(6)) == "Worth it: 6 of 6 conditions hold." and decision.is_worth_it(some(6))
    assert decision.verdict(some(5)) == "Not worth it: 5 of 6 conditions hold." and not decision.is_worth_it(some(5))
    assert decision.verdict(some(1)) == "Not worth it: 1 of 6 conditions holds."
    assert decision.reasons(some(6)) == [] and decision.reasons(some(5)) == ["it is not steady: measured 5"]
    with pytest.raises(ValueError, match="each of the conditions once"):
        decision.is_worth_it(some(6)[:5])
    assert repr(some(1)[0]) == "nothing leaks: measured 0. It holds." and "does not hold" in repr(some(1)[1])


def test_the_table_and_its_page_say_what_was_asked_and_found():
    table = decision.table_of(some(2))
    assert list(table.index) == list(decision.RULES) == list(decision.rules_table().index)
    page = decision.page_of(table).data
    assert page.count(">yes<") == 2 and page.count(">no<") == 4 and "..." not in page
    assert all(rule.replace("&", "&amp;") in page for rule in decision.RULES.values())


@pytest.mark.parametrize("strength", [0.3, -0.3])
def test_a_strong_edge_is_worth_it(strength):
    for seed in range(3):
        conditions = decision.judge(planted_edge(3_000, seed, strength), SETUP, CLEAN)
        assert decision.is_worth_it(conditions), (seed, decision.reasons(conditions))


def test_nothing_is_hardly_ever_worth_it():
    """12 walks, and 6 that rise: on none are all six true, and of those about knowledge few are."""
    worlds = [random_walk(900, seed) for seed in range(12)]
    worlds += [random_walk(900, seed, drift=0.0008) for seed in range(6)]
    table = pd.DataFrame([{each.name: each.passed for each in decision.judge(bars, SETUP, CLEAN)} for bars in worlds])
    assert not table.all(axis=1).any()
    assert table["it knows something"].sum() <= 2 and table["it beats what is simpler"].sum() <= 1


def test_a_weak_edge_is_real_and_not_worth_it():
    worlds = {"weak": planted_edge(1_500, 1, 0.05), "strong": planted_edge(1_500, 1, 0.4)}
    judged = decision.judge_worlds(worlds, SETUP)
    assert judged.loc["worth it"].tolist() == [False, True] and list(judged.index) == [*decision.RULES, "worth it"]


def test_what_makes_money_by_being_long_is_not_worth_it():
    """The lesson's "Try it": Apple rose, and so did whoever was in."""
    conditions = decision.judge(load_bars("AAPL"), lesson.Setup(n_boot=200), CLEAN)
    failed = {each.name for each in conditions if not each.passed}
    assert failed == {"it knows something", "it beats what is simpler"}


def test_of_several_the_best_is_judged_and_all_are_counted(bars):
    setup = lesson.Setup("ridge, logistic", tried_before=5, **SMALL)
    assert setup.names == ["ridge", "logistic"]
    conditions = decision.judge(bars, setup, CLEAN)
    assert conditions[3].measured.endswith("after 9 trials")
    found = lesson.research(bars, setup)
    results = lesson.trade(bars, setup, lesson.traders_of(bars, setup, found))
    best = max(setup.names, key=lambda name: results[name].metrics["sharpe"])
    assert f"Sharpe ratio {results[best].metrics['sharpe']:.2f}, " in conditions[2].measured


def test_a_model_that_never_trades_gets_a_verdict_too(falling):
    setup = lesson.Setup("majority", **SMALL)
    found = lesson.research(falling, setup)
    traders = lesson.traders_of(falling, setup, found)
    with TrialLedger() as ledger:
        results = lesson.trade(falling, setup, traders)
    assert results["majority"].fills.empty
    conditions = decision.decide(falling, setup, found, traders, CLEAN)
    assert [each.passed for each in conditions] == [True] + 5 * [False]
    assert [each.measured for each in conditions[2:5]] == 3 * ["it never held anything"]
    drawn = lesson.drawn_again(results, n_boot=100)
    assert lesson.figures_table(results, drawn).loc["sharpe", "majority"] == "-"
    summary = decision.summary("majority", conditions, results, drawn, len(ledger))
    assert summary["verdict"] == "Not worth it: 1 of 6 conditions holds." and np.isnan(summary["sharpe_low"])
    labels = [text.get_text() for text in pictures.plot_sharpes(results, drawn).axes[0].get_yticklabels()]
    assert labels == ["mean reversion", "buy & hold"]


def test_the_summary_is_what_a_table_of_many_reports_needs(bars, found, traders, results, drawn):
    conditions = decision.decide(bars, SETUP, found, traders, CLEAN)
    summary = decision.summary("logistic", conditions, results, drawn, 3)
    assert summary["worth_it"] is True and summary["failed"] == "" and summary["conditions_met"] == 6
    assert summary["sharpe_low"] < summary["sharpe_net"] < summary["sharpe_high"]
    assert summary["sharpe_buy_and_hold"] == results["buy & hold"].metrics["sharpe"]
    assert summary["lead_low"] == conditions[1].low and summary["break_even_bps"] == conditions[4].value
    asked = set(parameters_of(Path(__file__).parents[1] / "notebooks" / "11_capstone.ipynb"))
    assert not asked & set(summary)  # a table of runs has a column for each of both


# ---------------------------------------------------------------- pictures


def test_titles_say_what_is_drawn(bars, found, traders, results, drawn):
    years = lesson.by_year(results)
    axis, = pictures.plot_years(years, "logistic", "buy & hold").axes
    heights = [bar.get_height() for bar in axis.patches]
    assert sorted(heights) == pytest.approx(sorted(100 * years["logistic"]))
    gained, ahead = (years["logistic"] > 0).sum(), (years["logistic"] > years["buy & hold"]).sum()
    assert axis.get_title(loc="left") == (f"logistic gained in {gained} of {len(years)} years, and was ahead of buy & "
                                          f"hold in {ahead}")
    half = np.mean([np.subtract(*lesson.ends(drawn[name, "sharpe"])[::-1]) for name in results]) / 2
    axis, = pictures.plot_sharpes(results, drawn).axes
    assert axis.get_title(loc="left").endswith(f"to about {half:.2f} either way")


def test_the_title_at_a_cost_is_the_verdict_there(bars, found, traders):
    def conditions_at(cost_bps):
        return decision.decide(bars, SETUP.at_cost(cost_bps), found, traders, CLEAN)
    lines = decision.cost_lines(bars, traders, [0.0, 3.0, 200.0])
    titles = {cost: pictures.plot_at_cost(lines, conditions_at, cost_bps=cost).axes[0].get_title(loc="left")
              for cost in (3.0, 200.0)}
    assert titles[3.0] == "At 3 bps a side. Worth it: 6 of 6 conditions hold."
    assert re.fullmatch(r"At 200 bps a side. Not worth it: [12] of 6 conditions holds?\.", titles[200.0])
