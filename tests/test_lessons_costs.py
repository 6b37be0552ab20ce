"""Lesson 06's helpers: bills and break-evens that add up, skill that is what it says, filters on the same days."""

import numpy as np
import pandas as pd
import pytest

from mlkit import (Costs, IdealExecutionHandler, LaggedReturns, MovingAverageCross, RealisticExecutionHandler,
                   audit_strategy, backtest, break_even_cost, cost_sensitivity, next_return, planted_edge, random_walk)
from mlkit.lessons import costs as lesson
from mlkit.lessons.comparison import run_families

RULE = MovingAverageCross(1, 2)
CHARGED, DEAR = RealisticExecutionHandler(Costs(2, 1, 1)), RealisticExecutionHandler(Costs(15, 0, 0))
LAGS = LaggedReturns(2)


@pytest.fixture(scope="module")
def bars():
    return planted_edge(2_000, seed=2, strength=0.3)


@pytest.fixture(scope="module")
def found(bars):
    return run_families(["logistic"], bars, LAGS)["logistic"]


@pytest.fixture(scope="module")
def filtered(bars, found):
    return lesson.edge_filter(found, bars, LAGS, DEAR, margins=[1.0, 20.0])


def test_the_bill_is_turnover_times_cost(bars):
    free, charged = backtest(bars, RULE, execution=IdealExecutionHandler()), backtest(bars, RULE, execution=CHARGED)
    bill = lesson.bill_a_year(free, charged)
    assert bill == pytest.approx(-np.expm1(-charged.metrics["turnover"] * 4e-4), rel=0.05)
    years = len(charged.returns) / 252
    assert charged.equity.iloc[-1] == pytest.approx(free.equity.iloc[-1] * (1 - bill) ** years)


def test_every_line_of_a_side_is_in_bps_and_they_add_up(bars):
    charged = backtest(bars, RULE, execution=CHARGED)
    side = lesson.per_side({"free": backtest(bars, RULE, execution=IdealExecutionHandler()), "charged": charged})
    assert list(side.index) == ["gross", "delay", "spread", "slippage", "commission", "net"]
    assert side["charged"][["spread", "slippage"]].tolist() == pytest.approx([-2.0, -1.0])
    assert side["charged"]["commission"] == pytest.approx(-1.0, rel=0.01)  # on the price paid, not on the reference
    for name in side:
        assert side[name].drop("net").sum() == pytest.approx(side[name]["net"])
    at = break_even_cost(bars, RULE, n_boot=1)
    there = backtest(bars, RULE, execution=RealisticExecutionHandler(Costs(float(at), 0, 0)))
    earned = lesson.per_side({"": there})[""][["gross", "delay"]].sum()
    assert earned == pytest.approx(float(at), rel=1e-4)  # there it pays exactly what it earns


def test_delay_a_side_is_the_waterfalls_and_its_error_shrinks_with_the_fills(bars):
    charged = backtest(bars, RULE, execution=CHARGED)
    wait, error = lesson.delay_per_side(charged)
    assert wait == pytest.approx(lesson.per_side({"": charged})[""]["delay"])
    fills = charged.fills
    each = -1e4 * fills["delay"] / (fills["quantity"].abs() * fills["reference"])
    assert error == pytest.approx(each.std() / np.sqrt(len(each)), rel=0.2)
    assert abs(wait) < 3 * error  # nights are independent of all that was known: it waits for nothing and pays nothing


def test_limits_stand_beside_their_turnover(bars):
    rules = {"slow": MovingAverageCross(5, 50), "quick": RULE}
    traded = {name: backtest(bars, rule, execution=CHARGED) for name, rule in rules.items()}
    limits = {name: break_even_cost(bars, rule, n_boot=50) for name, rule in rules.items()}
    table = lesson.limit_table(limits, traded)
    assert list(table.index) == ["quick", "slow"] and table["turnover"].is_monotonic_decreasing
    assert table.loc["quick", ["break_even", "low", "high"]].tolist() == [limits["quick"], limits["quick"].low,
                                                                           limits["quick"].high]


def test_impact_a_side_follows_the_square_root_of_the_money(bars):
    table = lesson.by_size(bars, RULE, Costs(1, 1, 1), [100.0, 400.0])
    impact = table["impact, bps"]
    assert impact["400"] / impact["100"] == pytest.approx(2.0, rel=0.05)
    assert (table["all costs, bps"] - impact).tolist() == pytest.approx([3.0, 3.0], abs=0.01)
    with pytest.raises(ValueError, match="no volume"):
        lesson.by_size(bars.drop(columns="volume"), RULE, Costs(), [100.0])


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_fortune_teller_is_right_as_often_as_she_says_on_moves_of_any_size(bars, horizon):
    codes = pd.Series(lesson.FortuneTeller(0.6, horizon, seed=3).decide(bars), bars.index)
    moves = next_return(bars, horizon)["label"].iloc[::horizon].dropna()
    assert (codes.drop(moves.index) == 0).all() and (codes[moves.index] != 0).all()
    right = (codes[moves.index] == np.sign(moves)).astype(float)
    by_size = right.iloc[moves.abs().argsort(kind="stable")]
    blocks = [by_size.iloc[first : first + 20].mean() for first in range(0, len(by_size) - 19, 20)]
    assert blocks == pytest.approx([0.6] * len(blocks))
    again, other = (lesson.FortuneTeller(0.6, horizon, seed).decide(bars) for seed in (3, 4))
    assert (codes == again).all() and (codes != other).any()


def test_the_audit_sees_through_the_fortune_teller():
    assert not audit_strategy(lesson.FortuneTeller(0.6, 1), random_walk(300, seed=1)).clean


def test_speed_divides_what_skill_earns_by_the_root_of_the_holding_time():
    walk = random_walk(4_000, seed=5).drop(columns="volume")
    table = lesson.speeds(walk, 0.6, [1, 4])
    assert table["turnover"][1] / table["turnover"][4] == pytest.approx(4.0, rel=0.1)
    assert table["worked_out"].tolist() == pytest.approx([0.2 * 0.798 * 100, 0.2 * 0.798 * 200], rel=0.05)
    assert table["sharpe"][1] / table["sharpe"][4] == pytest.approx(2.0, rel=0.15)
    assert (table["break_even"] < table["worked_out"]).all()
    assert table["break_even"].tolist() == pytest.approx(table["worked_out"].tolist(), rel=0.2)


def test_where_two_lines_cross_both_are_equally_good():
    walk = random_walk(2_000, seed=5).drop(columns="volume")
    rules = {"quick": lesson.FortuneTeller(0.6, 1), "slow": lesson.FortuneTeller(0.6, 20)}
    table = cost_sensitivity(walk, rules, range(0, 21, 2), allow_short=True, progress=False)
    at = lesson.crossing(table)
    there = cost_sensitivity(walk, rules, [at], allow_short=True, progress=False).iloc[0]
    assert there["quick"] == pytest.approx(there["slow"], abs=0.01)
    with pytest.raises(ValueError, match="quick and slow do not cross between 0 and 2 bps"):
        lesson.crossing(table.loc[:2])


def test_late_is_what_the_engine_gives_for_a_latency():
    walk, teller = random_walk(2_000, seed=5).drop(columns="volume"), lesson.FortuneTeller(0.6, 1)
    table = lesson.when_late(walk, {"quick": teller}, [0, 1])
    late = RealisticExecutionHandler(Costs(0, 0, 0), latency_bars=1)
    assert table["quick"][1] == backtest(walk, teller, execution=late, allow_short=True).metrics["sharpe"]
    assert table["quick"][1] < table["quick"][0] / 2


def test_a_point_is_worth_what_the_world_says(bars, found):
    table = lesson.worth_table({"logistic": found}, bars)
    assert table.shape == (1, 3) and list(table.columns) == [f"{turn:%Y-%m-%d}" for turn in found.models.starts[1:]]
    # strength x |r| expected, and a probability of 1/2 + strength x |r| / (volatility sqrt(2 pi)): a point is 2.5 bps
    assert table.iloc[0, -1] == pytest.approx(2.5, rel=0.35)


def test_the_filter_is_compared_on_the_same_days_and_refuses_the_weak(bars, found, filtered):
    assert list(filtered) == ["every signal", "round trip + 1 bps", "round trip + 20 bps"]
    days = filtered["every signal"].returns.index
    assert all(result.returns.index.equals(days) for result in filtered.values())
    first = found.models.starts[1]
    assert days[0] == bars.index[bars.index.get_loc(first) + 1]  # decided on the first day with a known worth
    trades = [len(result.trades) for result in filtered.values()]
    assert trades[0] > trades[1] > trades[2] > 0
    kept = lesson.per_side(filtered).loc["net"]
    assert kept["round trip + 1 bps"] > kept["every signal"]


def test_a_lot_refuses_as_many_and_keeps_less(bars, found, filtered):
    strict = filtered["round trip + 1 bps"]
    share = lesson.refused(strict)
    outcomes = strict.signals[strict.signals["direction"] == "BUY"]["outcome"].value_counts()
    assert share == outcomes["below_edge"] / (outcomes["below_edge"] + outcomes["order"])
    assert lesson.refused(filtered["every signal"]) == 0.0
    lots = [lesson.by_lot(found, bars, LAGS, DEAR, share, seed) for seed in range(5)]
    assert np.mean([lesson.refused(lot) for lot in lots]) == pytest.approx(share, abs=0.05)
    assert lots[0].returns.index.equals(strict.returns.index)
    kept = lesson.per_side({"filter": strict} | {str(seed): lot for seed, lot in enumerate(lots)}).loc["net"]
    assert kept["filter"] > kept.drop("filter").mean()


def test_the_table_of_filters_reads_a_run_without_trades(bars, found, filtered):
    never = lesson.edge_filter(found, bars, LAGS, DEAR, margins=[5_000.0])
    table = lesson.filter_table(never)
    assert table.loc["round trip + 5000 bps"].tolist()[:2] == ["0", "0.0%"]
    assert table.loc["round trip + 5000 bps", "kept, bps a side"] == "-"
    assert table.loc["every signal", "sharpe"] == f"{filtered['every signal'].metrics['sharpe']:.2f}"


def test_the_waterfall_in_time_ends_where_the_waterfall_does(bars):
    axis, = lesson.plot_money(bars, RULE, cost_bps=4.0).axes
    result = backtest(bars, RULE, execution=RealisticExecutionHandler(Costs(4, 0, 0)))
    fall = 100 * result.waterfall / result.cash
    ends = [line.get_ydata()[-1] for line in axis.lines[:3]]
    assert ends == pytest.approx([fall["gross"], fall["gross"] + fall["delay"], fall["net"]])
    assert axis.get_title(loc="left").endswith(f"{fall['net']:+.0f} %")
    assert len(axis.lines[0].get_xdata()) == len(result.returns)


def test_profits_begin_where_trading_could(bars, filtered):
    axis, = lesson.plot_profits(filtered, "a title").axes
    assert axis.get_title(loc="left") == "a title"
    assert [len(line.get_xdata()) for line in axis.lines[:3]] == [len(filtered["every signal"].returns)] * 3
    assert axis.lines[1].get_ydata()[-1] == pytest.approx(
        100 * filtered["round trip + 1 bps"].metrics["total_return"])


def test_break_evens_are_sorted_into_can_cannot_and_unknown():
    table = pd.DataFrame({"turnover": [200.0, 50.0, 9.0], "break_even": [1.0, 8.0, 20.0], "low": [0.0, 5.0, 2.0],
                          "high": [2.0, 11.0, np.inf]}, index=["poor", "rich", "open"])
    axis, = lesson.plot_break_evens(table, 3.0, "a title").axes
    rows = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert rows["clearly pays this cost"] == [1] and rows["cannot pay it"] == [0] and rows["cannot be told"] == [2]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["poor (200)", "rich (50)", "open (9)"]
    assert "it costs 3" in axis.get_xlabel() and np.isfinite(axis.get_xlim()[1])


def test_the_picture_of_speeds_shows_the_table():
    table = pd.DataFrame({"turnover": [250.0, 12.0], "sharpe": [1.2, 0.3], "worked_out": [8.0, 36.0],
                          "break_even": [7.4, 22.0]}, index=[1, 20])
    axis, = lesson.plot_speeds(table, 0.55).axes
    assert axis.lines[1].get_ydata().tolist() == [7.4, 22.0]
    assert [text.get_text() for text in axis.texts] == ["1 day", "20 days"]
    assert axis.get_title(loc="left") == "All are right 55% of the time; one can pay 7 bps a side, another 22"
