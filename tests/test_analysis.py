"""How dear trading may be, and the doctor: closed forms, runs of one's own, and a small world for every finding."""

import copy
import pickle
import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import CircularBlockBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Scripted, make_bars, random_bars

from mlkit.analysis import break_even_cost, cost_sensitivity, diagnose
from mlkit.analysis.symptoms import CHECKS, VERDICTS, Case, sharpe_interval
from mlkit.engine import (BuyAndHold, Costs, FixedFraction, FixedQuantity, IdealExecutionHandler, MeanReversion,
                          MovingAverageCross, RealisticExecutionHandler, RiskManager, Strategy, backtest)
from mlkit.markets import BarsError, load_bars, planted_edge, random_walk
from mlkit.overfitting import TrialLedger, minimum_backtest_length
from mlkit.plots import plot_cost_sensitivity, plot_waterfall, plot_waterfalls

EDGE = planted_edge(2_500, seed=1, strength=0.3)
MOMENTUM = MovingAverageCross(1, 2)  # long after a rise: what `planted_edge` pays for
FREE = RealisticExecutionHandler(Costs(0, 0, 0))


def titles(plot):
    return [axis.get_title(loc=loc) for axis in plot.axes for loc in ("left", "center") if axis.get_title(loc=loc)]


def net_at(bps, bars, strategy, costs=Costs(0, 0, 0), latency=0, **options):
    """Net return of a backtest of one's own."""
    charged = Costs(bps, 0, 0, costs.commission_min, costs.impact, costs.borrow_bps_per_year, costs.max_participation)
    handler = RealisticExecutionHandler(charged, latency)
    return backtest(bars, strategy, execution=handler, **options).metrics["total_return"]


# ---- break-even cost: closed forms


@pytest.mark.parametrize("growth", [1.0002, 1.02, 1.5, 40.0])
def test_one_buy_and_one_sell(growth):
    """(1 - x) / (1 + x) of the growth is left."""
    opens = np.geomspace(100, 100 * growth, 6)
    bars = make_bars(opens, closes=np.append(opens[1:], 100.0))
    found = break_even_cost(bars, Scripted({0: "BUY", 4: "SELL"}))
    between = bars["open"].iloc[5] / bars["open"].iloc[1]
    assert found == pytest.approx(1e4 * (between - 1) / (between + 1), rel=1e-7)
    assert (1 - found * 1e-4) / (1 + found * 1e-4) * between == pytest.approx(1, abs=1e-7)


def test_what_is_still_held_pays_but_once_and_it_is_said():
    bars = make_bars(np.linspace(100, 130, 12))
    found = break_even_cost(bars, BuyAndHold())
    assert found == pytest.approx(1e4 * (130 / bars["open"].iloc[1] - 1), rel=1e-7)
    assert "sale not paid for" in found.note
    assert "sale not paid for" not in break_even_cost(bars, Scripted({0: "BUY", 4: "SELL"})).note


def test_a_short_sale():
    """Sold at p (1 - x), bought back at q (1 + x)."""
    bars = make_bars(np.linspace(100, 80, 9))
    p, q = bars["open"].iloc[[2, 6]]
    options = {"allow_short": True, "sizer": FixedQuantity(5.0)}
    found = break_even_cost(bars, Scripted({1: "SELL", 5: "BUY", 6: "SELL"}), **options)
    flat = break_even_cost(bars, Scripted({1: "SELL"}), **options)
    assert flat == pytest.approx(1e4 * (1 - bars["close"].iloc[-1] / p), rel=1e-7)
    # Bought back and bought (5 each at q), sold and sold short again: every fill is there, at its own price.
    sold, bought = 5 * p + 10 * bars["open"].iloc[7], 10 * q + 5 * bars["close"].iloc[-1]
    assert found == pytest.approx(1e4 * (sold - bought) / (5 * p + 10 * q + 10 * bars["open"].iloc[7]), rel=1e-7)


def test_with_a_fixed_quantity_it_is_gross_over_traded():
    result = backtest(EDGE, MOMENTUM, execution=FREE, sizer=FixedQuantity(10.0))
    fills, profit = result.fills, result.equity.iloc[-1] - result.cash
    expected = 1e4 * profit / (fills["quantity"].abs() * fills["reference"]).sum()
    assert break_even_cost(EDGE, MOMENTUM, sizer=FixedQuantity(10.0)) == pytest.approx(expected, rel=1e-7)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), latency=st.integers(0, 2), impact=st.sampled_from([0.0, 0.0, 1.0]),
       allow_short=st.booleans(), commission_min=st.sampled_from([0.0, 0.0, 2.0]), cap=st.sampled_from([1.0, 0.05]),
       sizer=st.sampled_from([FixedFraction(1.0), FixedFraction(0.3), FixedQuantity(10.0), FixedQuantity(1e-4)]),
       rule=st.sampled_from([MeanReversion(5), MovingAverageCross(2, 5), BuyAndHold()]))
def test_run_again_at_that_cost_nothing_is_left(seed, latency, impact, allow_short, commission_min, cap, sizer, rule):
    bars = random_bars(seed, n=120)
    kept = Costs(3, 3, 3, commission_min, impact, 50.0, cap)
    options = {"allow_short": allow_short, "sizer": sizer}
    found = break_even_cost(bars, rule, execution=RealisticExecutionHandler(kept, latency), n_boot=20, **options)
    net = {bps: net_at(bps, bars, rule, kept, latency, **options)
           for bps in (0.0, *((0.9 * found, found, 1.1 * found) if np.isfinite(found) else (9_999.0,)))}
    if found == 0.0:
        assert net[0.0] <= 0
    elif found == np.inf:
        assert net[9_999.0] > 0
    else:
        assert abs(net[found]) < 1e-6 and net[0.0] > net[0.9 * found] > net[found] > net[1.1 * found]
    assert 0.0 <= found.low <= found.high and len(found.runs) <= 15
    assert found.runs["cost_bps"].is_monotonic_increasing and found.runs["total_return"].is_monotonic_decreasing


def test_it_does_not_matter_how_the_cost_is_split():
    found = break_even_cost(EDGE, MOMENTUM)
    split = Costs(found / 2, found / 2, 0)
    assert abs(backtest(EDGE, MOMENTUM, execution=RealisticExecutionHandler(split)).metrics["total_return"]) < 1e-6
    assert found == break_even_cost(EDGE, MOMENTUM, execution=RealisticExecutionHandler(Costs(7, 8, 9)))
    assert found == break_even_cost(EDGE, MOMENTUM, execution=IdealExecutionHandler())
    assert len(found.runs) <= 6, "few runs are needed"


@dataclass(frozen=True)
class LateFills(RealisticExecutionHandler):
    costs: Costs = field(default_factory=Costs)


def test_a_handler_of_your_own_is_run_again_with_other_costs():
    assert break_even_cost(EDGE.iloc[:300], MOMENTUM, execution=LateFills()) == pytest.approx(
        break_even_cost(EDGE.iloc[:300], MOMENTUM), rel=1e-9)


def test_several_instruments():
    both = {"A": planted_edge(400, seed=1, strength=0.4), "B": planted_edge(400, seed=2, strength=0.4)}
    found = break_even_cost(both, MOMENTUM, sizer=FixedFraction(0.5))
    assert abs(net_at(found, both, MOMENTUM, sizer=FixedFraction(0.5))) < 1e-6


# ---- break-even cost: edges


def test_a_loser_has_nothing_to_pay_with():
    found = break_even_cost(make_bars(np.linspace(100, 90, 10)), BuyAndHold())
    assert found == 0.0 and found.low == 0.0 and "nothing before any cost" in found.note and len(found.runs) == 1


def test_what_stays_may_take_it_all():
    bars = make_bars(np.linspace(100, 101, 40), closes=np.linspace(100, 101, 40))
    free = break_even_cost(bars, Scripted({25: "BUY", 38: "SELL"}))
    found = break_even_cost(bars, Scripted({25: "BUY", 38: "SELL"}),
                            execution=RealisticExecutionHandler(Costs(0, 0, 0, commission_min=400)))
    assert free > 0.0 == found and "takes all of its gross profit" in found.note and "commission_min=400" in found.note


def test_some_gain_at_any_cost():
    found = break_even_cost(make_bars(np.geomspace(100, 500, 30)), BuyAndHold())
    assert found == np.inf and found.high == np.inf and "still gains at 9,999" in found.note
    assert found.runs["cost_bps"].iloc[-1] == 9_999.0 and found.runs["total_return"].iloc[-1] > 0


@pytest.mark.parametrize(("growth", "low"), [(2.2, 1e4 * np.log(2.2)), (3.0, np.inf)])
def test_the_interval_reaches_to_infinity_with_the_figure(growth, low):
    """Of two bars every draw is the same; beyond 9,999 bps nothing is told apart."""
    found = break_even_cost(make_bars([100.0, 100, 100 * growth]), BuyAndHold())
    assert found == found.high == np.inf and found.low == pytest.approx(low)


def test_one_fill_leaves_the_interval_open():
    """Most draws hold no fill at all: no cost there would be too much."""
    assert break_even_cost(random_walk(500, seed=1, drift=0.001), BuyAndHold()).high == np.inf


def test_without_a_trade_there_is_no_such_cost():
    with pytest.raises(ValueError, match="BuyAndHold never trades on these bars"):
        break_even_cost(make_bars([100.0]), BuyAndHold())
    with pytest.raises(ValueError, match="never trades"):
        break_even_cost(EDGE, MeanReversion(20, enter=-50.0))


def test_a_bankrupt_has_no_interval():
    bars = make_bars([100.0, 100, 150, 250, 100])
    found = break_even_cost(bars, Scripted({0: "SELL"}), allow_short=True)
    assert found == 0.0 and (found.low, found.high) == (0.0, np.inf)
    assert "Bankrupt" in found.note and "Nothing can be said of the interval" in found.note


def test_where_the_cost_makes_it_bankrupt_the_last_cost_that_does_not():
    """Short, it is nearly ruined on the way to its profit: a little more cost, and it never gets there."""
    bars = make_bars([100.0, 100, 190, 60, 60], closes=[100.0, 100, 190, 60, 60])
    found = break_even_cost(bars, Scripted({0: "SELL"}), allow_short=True)
    charged = backtest(bars, Scripted({0: "SELL"}), allow_short=True,
                       execution=RealisticExecutionHandler(Costs(found, 0, 0)))
    more = backtest(bars, Scripted({0: "SELL"}), allow_short=True,
                    execution=RealisticExecutionHandler(Costs(found * 1.001, 0, 0)))
    assert not charged.bankrupt and charged.metrics["total_return"] > 0.1 and more.bankrupt
    assert found == pytest.approx(1_000, abs=1e-3) and "No cost leaves exactly nothing" in found.note


def test_lots_may_jump_across_zero():
    bars = make_bars([100.0, 100, 110, 110])
    found = break_even_cost(bars, BuyAndHold(), sizer=FixedFraction(1.0, lot_size=300.0))
    assert found == pytest.approx(1_000, rel=1e-6), "with 900 of 1,000 units there is cash to spare up to 11 %"
    most = break_even_cost(bars, BuyAndHold(), sizer=FixedFraction(1.0, lot_size=990.0))
    assert most == pytest.approx(1e4 * (1_000 / 990 - 1), rel=1e-6) and "does not trade at all" in most.note
    assert most.low <= most <= most.high and most.high > 900, "what it could pay if it only traded"


class Expecting(Strategy):
    """Expects five per cent of everything, and says so."""

    def decide(self, bars):
        return np.where(np.arange(len(bars)) % 6 < 3, 1, -1)

    def expected_returns(self, bars):
        return np.full(len(bars), 0.05)

    shorts_from_flat = False


def test_a_minimum_edge_keeps_it_from_trading_before_it_loses():
    bars = make_bars(100 * np.tile([1, 1.02, 1.06, 1.15, 1.08, 1.04], 20))
    assert break_even_cost(bars, Expecting()) > 260
    found = break_even_cost(bars, Expecting(), minimum_edge_bps=10.0)
    assert found == pytest.approx((500 - 10) / 2, rel=1e-6) and "does not trade at all" in found.note


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"latency": 1}, ValueError, "takes no latency.*allow_short"),
    ({"cash": -5.0}, ValueError, "cash must be a positive"),
    ({"n_boot": 0}, ValueError, "n_boot is how often"),
    ({"execution": Costs()}, ValueError, "RealisticExecutionHandler"),
    ({"execution": RealisticExecutionHandler}, ValueError, "RealisticExecutionHandler"),
    ({"strategy": MeanReversion}, ValueError, "instance"),
    ({"bars": load_bars("WTI")}, BarsError, "36.98"),
])
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        break_even_cost(**{"bars": EDGE, "strategy": MOMENTUM, **options})


def test_its_runs_are_no_trials():
    with TrialLedger() as ledger:
        break_even_cost(EDGE, MOMENTUM, n_boot=20)
        assert len(ledger) == 0
        backtest(EDGE, MOMENTUM)
    assert len(ledger) == 1


# ---- break-even cost: interval and shape


def test_the_interval_is_of_gross_over_traded():
    found = break_even_cost(EDGE, MOMENTUM, n_boot=200, seed=4)
    result = backtest(EDGE, MOMENTUM, execution=RealisticExecutionHandler(Costs(float(found), 0, 0)))
    equity, fills = result.equity, result.fills.set_index("timestamp")
    before = equity.shift(1, fill_value=result.cash)
    traded = (fills["quantity"].abs() * fills["reference"]).groupby(level=0).sum().reindex(equity.index, fill_value=0.0)
    pairs = pd.DataFrame({"traded": traded / before, "gross": np.log(equity / before) + found * 1e-4 * traded / before})
    pairs = pairs.loc[result.returns.index]
    assert 1e4 * pairs["gross"].sum() / pairs["traded"].sum() == pytest.approx(found, rel=1e-6)
    drawn = [1e4 * each["gross"].sum() / each["traded"].sum()
             for (each,), _ in CircularBlockBootstrap(14, pairs, seed=4).bootstrap(200)]
    assert found.low == pytest.approx(np.sort(drawn)[4], rel=1e-6)
    assert found.high == pytest.approx(np.sort(drawn)[194], rel=1e-6)


def test_more_bars_say_more():
    short, long = (break_even_cost(planted_edge(n, seed=3, strength=0.3), MOMENTUM) for n in (600, 6_000))
    assert long.high - long.low < 0.5 * (short.high - short.low)


def test_it_is_a_float_and_more():
    found = break_even_cost(EDGE, MOMENTUM)
    assert isinstance(found, float) and found < 100 and f"{found:.1f}" == f"{float(found):.1f}"
    assert repr(found).startswith(f"<BreakEven {float(found):.2f} bps a side, 95 % interval {found.low:.2f} to ")
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert twin == found and twin.low == found.low and twin.note == found.note and twin.runs.equals(found.runs)


@pytest.mark.parametrize(("bars", "title"), [
    (EDGE, "Nothing is left at 22.1 bps a side (95 % interval 13."),
    (make_bars([100.0, 100, 90]), "Nothing is left even without costs"),
    (make_bars(np.geomspace(100, 500, 30)), "Something is left at 9,999 bps a side")])
def test_the_picture_says_what_was_found(bars, title):
    plot = break_even_cost(bars, MOMENTUM if bars is EDGE else BuyAndHold()).plot()
    assert title in titles(plot)[0] and plot.png()


# ---- cost sensitivity


RULES = {"quick": MOMENTUM, "slow": MovingAverageCross(5, 50)}


def test_every_cell_is_that_backtest():
    kept = Costs(9, 9, 9, impact=0.5)
    options = {"costs": kept, "latency_bars": 1, "progress": False}
    table = cost_sensitivity(EDGE, RULES, (0, 10, 2.5), metric="annual_return", **options)
    assert table.index.tolist() == [0, 10, 2.5] and table.index.name == "cost_bps"
    assert list(table) == ["quick", "slow"] and table.columns.name == "annual_return"
    for bps in table.index:
        for name, rule in RULES.items():
            handler = RealisticExecutionHandler(Costs(bps, 0, 0, impact=0.5), latency_bars=1)
            alone = backtest(EDGE, rule, execution=handler).metrics["annual_return"]
            assert table.loc[bps, name] == pytest.approx(alone)


def test_net_return_changes_sign_at_the_break_even():
    found = break_even_cost(EDGE, MOMENTUM)
    around = found - 0.01, found + 0.01
    table = cost_sensitivity(EDGE, {"quick": MOMENTUM}, around, metric="total_return", progress=False)
    assert table["quick"].iloc[0] > 0 > table["quick"].iloc[1]


def test_each_is_a_trial():
    with TrialLedger() as ledger:
        cost_sensitivity(EDGE, RULES, progress=False)
    assert len(ledger) == 12


def test_the_lines_are_drawn():
    table = cost_sensitivity(EDGE, RULES, progress=False)
    plot = plot_cost_sensitivity(table, "They cross")
    lines = {line.get_label(): line.get_ydata() for line in plot.axes[0].lines}
    np.testing.assert_array_equal(lines["quick"], table["quick"])
    assert titles(plot) == ["They cross"] and plot.axes[0].get_ylabel() == "Sharpe ratio a year"
    returns = plot_cost_sensitivity(table.rename_axis(columns="total_return"), "").axes[0]
    np.testing.assert_array_equal(returns.lines[0].get_ydata(), 100 * table["quick"])
    assert returns.get_ylabel() == "total return, %"


@pytest.mark.parametrize(("changes", "message"), [
    ({"strategies": [MOMENTUM]}, "in a dict, by name"), ({"strategies": {}}, "at least one"),
    ({"costs_bps": (-1,)}, "half_spread_bps"), ({"costs_bps": ()}, "at least one"), ({"latency": 1}, "latency"),
    ({"metric": "sharp"}, "'sharp' is no metric"), ({"metric": "order_hash"}, "is no metric"),
    ({"sizers": [FixedFraction(0.5)]}, "without sizers")])
def test_bad_input_of_the_table_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        cost_sensitivity(**{"bars": EDGE.iloc[:100], "strategies": RULES, "progress": False, **changes})


# ---- waterfalls


def test_waterfalls_side_by_side_are_in_per_cent_of_the_capital():
    dear = RealisticExecutionHandler(Costs(5, 5, 5, impact=1.0))
    results = {"cheap": backtest(EDGE, MOMENTUM, cash=1e3), "dear": backtest(EDGE, MOMENTUM, cash=1e6, execution=dear)}
    plot = plot_waterfalls(results, "Impact is for the rich")
    assert titles(plot) == ["cheap", "dear"] and plot._suptitle.get_text() == "Impact is for the rich"
    for axis, result in zip(plot.axes, results.values()):
        expected = 100 * result.waterfall.drop("borrow") / result.cash
        assert [patch.get_width() for patch in axis.patches] == pytest.approx(expected.to_list())
        assert [text.get_text() for text in axis.texts] == [f"{value:+,.1f}" for value in expected]
        ends = [patch.get_x() + patch.get_width() for patch in axis.patches]
        assert ends[-2] == pytest.approx(ends[-1], abs=1e-9), "the last cost ends where net does"
        assert axis.get_xlim() == plot.axes[0].get_xlim()
        assert axis.get_ylim()[0] > axis.get_ylim()[1], "gross is on top"
    assert [text.get_text() for text in plot.axes[0].get_yticklabels()][:2] == ["gross", "delay"]
    assert len(plot_waterfall(results["dear"].waterfall, "").axes[0].patches) == 8


# ---- the doctor


def checks(result, **options):
    """Check -> verdict, with every warning of numpy an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose(result, **options)
        assert repr(found) and found._repr_html_()
    table = found.checks
    assert set(table["verdict"]) <= set(VERDICTS) and set(table["check"]) == set(CHECKS)
    assert not table["measured"].str.contains("nan|inf ").any() and table["measured"].str.endswith(".").all()
    assert (table["advice"] != "").tolist() == table["verdict"].isin(["invalid", "warning"]).tolist()
    assert found["check"].tolist() == table.loc[table["verdict"].isin(["invalid", "warning"]), "check"].tolist()
    return table.set_index("check")["verdict"]


HEALTHY = backtest(EDGE, MOMENTUM)
UP_AND_DOWN = {at: "BUY" if at % 2 else "SELL" for at in range(1, 400)}  # in for one bar, out for one


def held(moves, execution=FREE, gap=0.0, **options):
    """Trades of one bar each: the price moves by `moves` while each is held, `gap` of it before the fill."""
    moves = np.asarray(moves, dtype=float)
    opens, closes, price = [100.0], [100.0], 100.0
    for move in moves:  # bar 1: decided at its close; bar 2: filled at its open; bar 3: sold at its open
        opens += [price, price * (1 + gap * move)]
        closes += [price, price * (1 + move)]
        price *= 1 + move
    bars = make_bars([*opens, price], closes=[*closes, price], volume=1e9)
    return backtest(bars, Scripted(UP_AND_DOWN), execution=execution, **options)


def drifting(*drifts, n=100, wiggle=0.001):
    """Buy and hold over stretches of `n` bars of these drifts; a pair is (drift, how much it wiggles besides)."""
    parts = [(each, wiggle) if np.isscalar(each) else each for each in drifts]
    steps = np.concatenate([drift + size * np.resize([1.0, -1.0], n) for drift, size in parts])
    return backtest(make_bars(100 * np.exp(np.cumsum(steps)), volume=1e9), BuyAndHold())


def shorted(*prices):
    return backtest(make_bars(prices), Scripted({0: "SELL"}), allow_short=True)


def limited(**limits):
    return backtest(EDGE, MOMENTUM, risk=RiskManager(**limits))


@dataclass(frozen=True)
class Share:
    """A risk manager that allows a share of every buy."""

    share: float

    def review(self, symbol, quantity, portfolio):
        return quantity * (self.share if quantity > 0 else 1.0), "a share"


def of_volume(volume, sizer=FixedQuantity(10.0), **costs):
    bars = EDGE.assign(volume=float(volume))
    return backtest(bars, MOMENTUM, execution=RealisticExecutionHandler(Costs(0, 0, 0, **costs)), sizer=sizer)


SMALL_GAINS = np.resize([0.01, 0.012, -0.004, 0.011], 40)
FIVE_MAKE_IT = np.where(np.arange(40) % 8 == 0, 0.10, -0.002)
IN_AND_OUT = {at: "BUY" if at % 4 else "SELL" for at in range(1, 400) if at % 4 < 2}
SHARPE, YEARS = HEALTHY.metrics["sharpe"], len(HEALTHY.returns) / 252
ENOUGH = next(n for n in np.geomspace(1e3, 1e12, 2_000) if minimum_backtest_length(n, SHARPE) > YEARS)
SICK = [  # check, a result in which it fires, one in which it does not, the options of diagnose for either
    ("same-bar fills", lambda: backtest(EDGE, MOMENTUM, execution=RealisticExecutionHandler(unsafe_same_bar=True)),
     lambda: HEALTHY, {}),
    ("bankruptcy", lambda: shorted(100, 100, 150, 250), lambda: shorted(100, 100, 150, 190), {}),
    ("noise", lambda: backtest(random_walk(2_500, seed=1), MOMENTUM), lambda: HEALTHY, {}),
    ("noise", lambda: backtest(random_walk(1_000, seed=5), MeanReversion()), lambda: HEALTHY, {}),  # 0.75 a year
    ("few trades", lambda: held(SMALL_GAINS[:29]), lambda: held(SMALL_GAINS[:30]), {}),
    ("one trade", lambda: held([*SMALL_GAINS, 0.5]), lambda: held(SMALL_GAINS), {}),
    ("one trade", lambda: held([1.0, 0.2, 0.2]), lambda: held([1.0] * 12), {}),  # the last made half of the money
    ("one trade", lambda: held(FIVE_MAKE_IT), lambda: held(np.where(FIVE_MAKE_IT > 0, 0.10, 0.002)), {}),
    ("one trade", lambda: held(FIVE_MAKE_IT), lambda: held(np.where(FIVE_MAKE_IT > 0, 0.06, -0.004)[:29]), {}),
    ("period", lambda: drifting(0.002, -0.0002, 0.0001), lambda: drifting(0.002, 0.0002, -0.0001), {}),
    ("period", lambda: drifting(0.006, (-0.002, 0.1), 0.0001), lambda: drifting(0.006, (0.002, 0.1), -0.0001), {}),
    ("volatility", lambda: drifting(*[(-0.0005, 0.001), (0.002, 0.01)] * 3),
     lambda: drifting(*[(0.0005, 0.001), (0.002, 0.01)] * 3), {}),
    ("costs", lambda: backtest(EDGE, MOMENTUM, execution=RealisticExecutionHandler(Costs(13, 0, 0))),
     lambda: backtest(EDGE, MOMENTUM, execution=RealisticExecutionHandler(Costs(9, 0, 0))), {}),
    ("costs", lambda: backtest(EDGE, MOMENTUM, execution=IdealExecutionHandler()), lambda: HEALTHY, {}),
    ("costs", lambda: drifting(-0.001), lambda: drifting(0.001), {}),
    ("delay", lambda: held(SMALL_GAINS, gap=0.4), lambda: held(SMALL_GAINS, gap=0.3), {}),
    ("participation", lambda: of_volume(40, impact=0.1, max_participation=0.2),
     lambda: of_volume(400, impact=0.1, max_participation=0.2), {}),
    ("participation", lambda: of_volume(90), lambda: of_volume(90, impact=0.1), {}),
    ("refused orders", lambda: limited(max_position=0.5), lambda: limited(max_position=1.1), {}),
    ("refused orders", lambda: held(SMALL_GAINS, sizer=FixedQuantity(1_200.0)),
     lambda: held(SMALL_GAINS, sizer=FixedQuantity(1_050.0)), {}),
    ("refused orders", lambda: backtest(EDGE, MOMENTUM, risk=Share(0.8)),
     lambda: backtest(EDGE, MOMENTUM, risk=Share(0.95)), {}),
    ("refused orders", lambda: limited(max_exposure=0.9),
     lambda: backtest(EDGE, Scripted(dict.fromkeys(range(1, 90), "BUY"))), {}),  # long already: no one refused that
    ("the market", lambda: backtest(EDGE, BuyAndHold()), lambda: HEALTHY, {}),
    ("benchmark", lambda: backtest(EDGE, BuyAndHold(), sizer=FixedFraction(0.5)), lambda: HEALTHY,
     {"benchmark": backtest(EDGE, BuyAndHold())}),
]


@pytest.mark.parametrize(("check", "sick", "sound", "options"), SICK, ids=[each[0] for each in SICK])
def test_it_fires_where_it_must_and_not_beside(check, sick, sound, options):
    assert checks(sick(), **options)[check] == ("invalid" if check in ("same-bar fills", "bankruptcy") else "warning")
    assert checks(sound(), **options)[check] == "ok"


def test_every_check_is_tested():
    assert {check for check, *_ in SICK} | {"trials"} == set(CHECKS)


def test_trials_are_those_said_or_those_counted():
    assert checks(HEALTHY)["trials"] == "cannot say"
    assert checks(HEALTHY, n_trials=1)["trials"] == checks(HEALTHY, n_trials=0.9 * ENOUGH)["trials"] == "ok"
    assert checks(HEALTHY, n_trials=ENOUGH)["trials"] == "warning"
    short = planted_edge(450, seed=4, strength=0.2)
    with TrialLedger():
        assert checks(HEALTHY)["trials"] == "ok", "a ledger without a trial: at least this one was run"
        result = backtest(short, MOMENTUM)
        assert checks(result)["trials"] == "ok"
        for window in range(2, 60):
            backtest(short, MeanReversion(window))
        assert checks(result)["trials"] == "warning" and "59 trials" in repr(diagnose(result))
    assert checks(result)["trials"] == "cannot say"


def test_a_short_wait_is_no_matter_for_who_holds_for_long():
    """The same gaps, from trades of three bars."""
    bars = held(np.resize([0.02, 0.001], 60), gap=0.4).bars["ASSET"]
    long = backtest(bars, Scripted(IN_AND_OUT), execution=FREE)
    share = -long.waterfall["delay"] / long.waterfall["gross"]
    assert share > 1 / 3 and checks(long)["delay"] == "ok"


def test_a_healthy_strategy_gets_no_warning():
    for seed in range(4):
        bars = planted_edge(2_500, seed=seed, strength=0.3)
        found = diagnose(backtest(bars, MOMENTUM), n_trials=20, benchmark=backtest(bars, BuyAndHold()))
        assert found.empty and repr(found) == "Nothing found in 14 checks." and "<td" not in found._repr_html_()
    cut = HEALTHY.orders["reason"] == "cash"
    assert cut.sum() > 100, "many buys are cut a little by a gap up, and that is no finding"


def test_half_of_a_rising_market_is_nothing_of_ones_own():
    bars = planted_edge(2_500, seed=1, strength=0.1, drift=0.001)
    half, benchmark = backtest(bars, BuyAndHold(), sizer=FixedFraction(0.5)), backtest(bars, BuyAndHold())
    found = checks(half, benchmark=benchmark)
    assert found["noise"] == "ok" and found["benchmark"] == "warning"


def test_where_the_instrument_always_moves_alike_there_is_no_calm_half():
    doubling = make_bars(100 * 2.0 ** np.arange(80), volume=None)
    assert checks(backtest(doubling, BuyAndHold()))["volatility"] == "cannot say"


def test_what_was_traded_is_the_mean_of_the_instruments_on_a_common_clock():
    first = make_bars([100.0, 110, 110, 121, 121])
    second = make_bars([50.0, 50, 50, 60, 60]).iloc[[0, 1, 3, 4]]
    result = backtest({"A": first, "B": second}, BuyAndHold(), sizer=FixedFraction(0.4))
    np.testing.assert_allclose(Case(result, None, None).market, [0.0, 0.05, 0.0, 0.15, 0.0], atol=1e-12)


def test_a_loss_before_any_cost_is_called_that():
    found = diagnose(drifting(-0.001)).set_index("check")
    assert found.loc["costs", "measured"].endswith("of the capital before any cost of trading.")


def test_autocorrelation_widens_the_interval():
    rng, inside, inside_if_not = np.random.default_rng(1), [], []
    for _ in range(400):
        noise = rng.normal(size=1_100)
        returns = np.zeros(1_100)
        for at in range(1, 1_100):
            returns[at] = 0.3 * returns[at - 1] + noise[at]
        found = sharpe_interval(returns[100:], 252)
        half = (found["high"] - found["low"]) / 2 / found["wider"]
        inside.append(found["low"] < 0 < found["high"])
        inside_if_not.append(abs(found["sharpe"]) < half)
    assert 0.92 < np.mean(inside) < 0.98 and np.mean(inside_if_not) < 0.89
    rho = HEALTHY.returns.autocorr(1)
    assert f"autocorrelation {rho:.2f} widens it by" in " ".join(diagnose(HEALTHY).checks["measured"])


def test_worst_comes_first_and_words_say_what_was_measured():
    found = diagnose(backtest(EDGE.iloc[:80], BuyAndHold(), execution=RealisticExecutionHandler(unsafe_same_bar=True)))
    assert list(found) == ["check", "verdict", "measured", "advice"]
    assert found["verdict"].tolist() == ["invalid"] + ["warning"] * (len(found) - 1) and len(found) >= 4
    ranks = found.checks["verdict"].map(VERDICTS.index)
    assert ranks.is_monotonic_increasing
    assert found.query("check == 'few trades'")["measured"].item().startswith("1 trade, ")
    assert type(found.query("verdict == 'warning'")) is pd.DataFrame and type(found.head()) is pd.DataFrame
    assert "<td" in found._repr_html_() and str(found) == repr(found)
    assert "\n- few trades (warning): 1 trade, " in repr(found)


HOURS = pd.date_range("2020", periods=len(EDGE), freq="h", tz="UTC", name="timestamp")
WORLDS = {
    "no trade": lambda: backtest(EDGE, MeanReversion(20, enter=-50.0)),
    "one trade": lambda: held([0.05]),
    "one losing trade": lambda: held([-0.05]),
    "never could trade": lambda: backtest(EDGE.iloc[:10], MeanReversion(20)),
    "constant equity": lambda: backtest(make_bars([100.0] * 200), BuyAndHold(), execution=FREE),
    "two bars": lambda: backtest(make_bars([100.0, 101.0]), BuyAndHold()),
    "one bar": lambda: backtest(make_bars([100.0]), BuyAndHold()),
    "several instruments": lambda: backtest(
        {"A": EDGE, "B": planted_edge(1_000, seed=2).iloc[100:], "C": random_bars(1)}, MeanReversion(5),
        sizer=FixedFraction(0.3)),
    "event loop": lambda: backtest(EDGE, MOMENTUM, engine="events"),
    "closes alone": lambda: backtest(load_bars("EURUSD").iloc[:500], MeanReversion(10)),
    "intraday": lambda: backtest(EDGE.set_axis(HOURS), MOMENTUM),
    "one bar, filled on it": lambda: backtest(
        make_bars([100.0]), BuyAndHold(), execution=RealisticExecutionHandler(unsafe_same_bar=True)),
    "bankrupt at once": lambda: shorted(100, 300, 300),
    "bankrupt later": lambda: shorted(100, 100, *np.linspace(100, 260, 90)),
    "holes in volume": lambda: backtest(random_bars(3, holes=True), MovingAverageCross(2, 5)),
}


@pytest.mark.parametrize("name", WORLDS)
def test_any_result_can_be_looked_at(name):
    result = WORLDS[name]()
    found = checks(result, n_trials=5, benchmark=result)
    if name in ("no trade", "never could trade", "constant equity"):
        assert found["noise"] == found["volatility"] == "cannot say" and found["few trades"] == "warning"
    if name == "event loop":
        pd.testing.assert_series_equal(found.sort_index(), checks(HEALTHY, n_trials=5, benchmark=result).sort_index())
    if name == "closes alone":
        assert found["participation"] == "cannot say"


@pytest.mark.parametrize(("options", "message"), [
    ({"result": EDGE}, "result must be what backtest gives"), ({"benchmark": EDGE}, "benchmark must be"),
    ({"result": None}, "result must be"), ({"n_trials": 0}, "n_trials"), ({"n_trials": -3}, "n_trials")])
def test_bad_input_of_the_doctor_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        diagnose(**{"result": HEALTHY, **options})
