"""What must hold over any bars, strategy and costs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from worlds import Scripted, costs, random_bars, scripts, with_levels

from mlkit.engine import (BuyAndHold, CombinedStrategy, Confidence, DrawdownRisk, FixedFraction, FixedQuantity,
                          Kelly, MeanReversion, MovingAverageCross, RealisticExecutionHandler, RiskManager,
                          VolatilityRisk, VolatilityTarget, backtest)

CASH = 100_000.0


def deepest(bars):
    """A forecast of the fall to come: the largest move of five bars."""
    return -bars["close"].pct_change().abs().rolling(5).max()


SIZERS = [FixedFraction(1.0), FixedFraction(0.4), FixedQuantity(50.0), FixedFraction(1.0, lot_size=100.0),
          VolatilityTarget(0.2, window=5), Confidence(0.8), Kelly(0.5, mean=2e-4, variance=4e-4)]
RISKS = [RiskManager(), RiskManager(max_position=0.5), RiskManager(max_exposure=0.9), RiskManager(max_drawdown=0.02),
         VolatilityRisk("ewma", max_volatility=0.2), DrawdownRisk(deepest, max_drawdown=0.05)]


@st.composite
def runs(draw, **charges):
    """Any backtest: one or two instruments, random script, costs, sizes and limits."""
    seed = draw(st.integers(0, 10_000))
    bars = random_bars(seed, holes=draw(st.booleans()))
    script = with_levels(draw(scripts(len(bars))), bars)
    options = {
        "execution": RealisticExecutionHandler(draw(costs(**charges)), latency_bars=draw(st.integers(0, 1))),
        "sizer": draw(st.sampled_from(SIZERS)), "risk": draw(st.sampled_from(RISKS)),
        "allow_short": draw(st.booleans()), "cash": CASH}
    if draw(st.booleans()):
        other = random_bars(seed + 1, n=60)
        strategy = draw(st.sampled_from([MeanReversion(5), MovingAverageCross(3, 9), BuyAndHold()]))
        return {"A": bars, "B": other.iloc[::2]}, strategy, options
    return bars, Scripted(script), options


def positions_over_time(result):
    """Units held at each close, by symbol, from the fills alone."""
    fills = result.fills
    return {symbol: fills[fills["symbol"] == symbol].groupby("timestamp")["quantity"].sum()
            .reindex(result.equity.index, fill_value=0.0).cumsum() for symbol in result.bars}


@settings(max_examples=150, deadline=None)
@given(run=runs())
def test_cash_is_conserved_and_equity_is_cash_plus_positions(run):
    bars, strategy, options = run
    result = backtest(bars, strategy, **options)
    fills = result.fills
    flow = -(fills["quantity"] * fills["price"]) - fills["commission"]
    cash = CASH + flow.groupby(fills["timestamp"]).sum().reindex(result.equity.index, fill_value=0.0).cumsum()
    value = sum(units * result.bars[symbol]["close"].reindex(result.equity.index).ffill().fillna(0.0)
                for symbol, units in positions_over_time(result).items())
    rent = cash + value - result.equity
    assert rent.iloc[0] == pytest.approx(0.0, abs=1e-7)
    assert (np.diff(rent) > -1e-7).all(), "borrow is only ever paid"
    assert rent.iloc[-1] == pytest.approx(-result.waterfall["borrow"], abs=1e-7)
    if options["execution"].costs.borrow_bps_per_year == 0:
        np.testing.assert_allclose(rent, 0.0, atol=1e-7)


@settings(max_examples=150, deadline=None)
@given(run=runs())
def test_the_waterfall_adds_up(run):
    bars, strategy, options = run
    result = backtest(bars, strategy, **options)
    net = result.equity.iloc[-1] - CASH
    assert result.waterfall["net"] == pytest.approx(net, abs=1e-9 * CASH)
    assert result.waterfall.drop("net").sum() == pytest.approx(net, abs=1e-9 * CASH)
    assert result.trades["net_profit"].sum() == pytest.approx(net, abs=1e-9 * CASH)
    assert (result.waterfall[["spread", "slippage", "impact", "commission", "borrow"]] <= 0).all()


@settings(max_examples=150, deadline=None)
@given(run=runs())
def test_every_signal_and_every_order_is_accounted_for(run):
    bars, strategy, options = run
    result = backtest(bars, strategy, **options)
    counts, orders, signals = result.counts, result.orders, result.signals
    assert counts["signals"] + counts["exits"] == counts["orders"] + counts["vetoes"]
    assert counts["signals"] == len(signals) and counts["orders"] == len(orders)
    assert (signals["outcome"] != "order").sum() == counts["vetoes"]
    assert orders["state"].isin(["filled", "partly_filled", "rejected", "expired", "cancelled"]).all()
    assert (orders["reason"] != "").all()
    filled = result.fills.groupby("order_id")["quantity"].sum().reindex(orders["order_id"], fill_value=0.0).to_numpy()
    np.testing.assert_allclose(filled, orders["filled"], rtol=1e-9)
    whole = np.isclose(orders["filled"], orders["quantity"], rtol=1e-9)
    assert (whole == (orders["state"] == "filled")).all()
    assert ((orders["filled"] != 0) & ~whole == (orders["state"] == "partly_filled")).all()


@settings(max_examples=150, deadline=None)
@given(run=runs())
def test_fills_are_priced_as_stated_and_within_the_bar_s_volume(run):
    bars, strategy, options = run
    result = backtest(bars, strategy, **options)
    fills, charges = result.fills, options["execution"].costs
    units, side = fills["quantity"].abs(), np.sign(fills["quantity"])
    extra = (fills["spread"] + fills["slippage"] + fills["impact"]) / units
    np.testing.assert_allclose(fills["price"], fills["reference"] + side * extra, rtol=1e-12)
    np.testing.assert_allclose(fills["delay"], (fills["reference"] - fills["decision_price"]) * fills["quantity"],
                               atol=1e-9)
    assert (fills["commission"] >= charges.commission_rate * fills["price"] * units - 1e-9).all()
    for symbol, traded in units.groupby(fills["symbol"]):
        own = traded.groupby(fills["timestamp"]).sum()
        volume = result.bars[symbol]["volume"].reindex(own.index)
        assert (own <= charges.max_participation * volume * (1 + 1e-9)).all()


@settings(max_examples=100, deadline=None)
@given(run=runs(), power=st.sampled_from([-3, 1, 5]))
def test_prices_in_another_unit_change_nothing(run, power):
    """All prices times 2^k: the same money, orders of the inverse size (volume is scaled with them)."""
    bars, strategy, options = run
    assume(not isinstance(options["sizer"], FixedQuantity) and options["sizer"].lot_size is None)
    factor = 2.0**power

    def scaled(table):
        table = table.copy()
        table[["open", "high", "low", "close"]] *= factor
        table["volume"] /= factor
        return table

    if isinstance(strategy, Scripted):
        strategy = Scripted({at: (direction, *(level and level * factor for level in levels))
                             for at, (direction, *levels) in strategy.script.items()})
        before, after = Scripted({at: (d, *(level and level / factor for level in levels))
                                  for at, (d, *levels) in strategy.script.items()}), strategy
    else:
        before = after = strategy
    bigger = {k: scaled(v) for k, v in bars.items()} if isinstance(bars, dict) else scaled(bars)
    first, second = backtest(bars, before, **options), backtest(bigger, after, **options)
    np.testing.assert_allclose(second.equity, first.equity, rtol=1e-12)
    np.testing.assert_allclose(second.fills["quantity"] * factor, first.fills["quantity"], rtol=1e-12)
    assert second.orders["reason"].tolist() == first.orders["reason"].tolist()


@settings(max_examples=100, deadline=None)
@given(run=runs(impact=False, minimum=False, cap=False), power=st.sampled_from([-4, 2, 6]))
def test_more_cash_the_same_result_in_proportion(run, power):
    """Without a minimum fee, impact or a binding cap, results scale with cash."""
    bars, strategy, options = run
    assume(not isinstance(options["sizer"], FixedQuantity) and options["sizer"].lot_size is None)

    def endless(table):
        return table.assign(volume=table["volume"] * 1e9)

    bars = {k: endless(v) for k, v in bars.items()} if isinstance(bars, dict) else endless(bars)
    small = backtest(bars, strategy, **options)
    big = backtest(bars, strategy, **{**options, "cash": CASH * 2.0**power})
    np.testing.assert_allclose(big.equity, small.equity * 2.0**power, rtol=1e-12)
    assert big.orders["state"].tolist() == small.orders["state"].tolist()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data(), low=costs(cap=False), allow_short=st.booleans(),
       name=st.sampled_from(["half_spread_bps", "slippage_bps", "commission_bps", "commission_min", "impact",
                             "borrow_bps_per_year"]), more=st.floats(0.1, 50.0))
def test_a_higher_cost_never_helps(seed, data, low, allow_short, name, more):
    """For the same filled quantities: fixed units and ample cash, so that no cost changes what is filled."""
    bars = random_bars(seed, volume=1e7)
    script = {at: said[0] for at, said in data.draw(scripts(len(bars), levels=False)).items() if at > 21}
    high = dataclasses.replace(low, **{name: getattr(low, name) + more})
    cheap, dear = (backtest(bars, Scripted(script), execution=RealisticExecutionHandler(charges),
                            sizer=FixedQuantity(10.0), allow_short=allow_short) for charges in (low, high))
    assert cheap.fills["quantity"].tolist() == dear.fills["quantity"].tolist()
    assert (dear.equity <= cheap.equity + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(run=runs(), cut=st.integers(5, 70))
def test_the_future_changes_nothing_before_it(run, cut):
    """Orders are decided and sized blind to every later bar, the next open included."""
    bars, strategy, options = run
    assume(not isinstance(bars, dict))
    strategy = Scripted({at: said for at, said in strategy.script.items() if at < cut})
    changed = bars.copy()
    changed.iloc[cut:, :4] *= 3.0
    changed.iloc[cut:, 4] *= 7.0
    first, second = backtest(bars, strategy, **options), backtest(changed, strategy, **options)
    last = bars.index[cut - 1]
    for name in ("timestamp", "quantity"):
        assert (first.orders.loc[first.orders["timestamp"] <= last, name].tolist()
                == second.orders.loc[second.orders["timestamp"] <= last, name].tolist())
    np.testing.assert_array_equal(first.equity.iloc[:cut], second.equity.iloc[:cut])


@settings(max_examples=50, deadline=None)
@given(run=runs())
def test_the_same_input_gives_the_same_hash_and_leaves_its_arguments_alone(run):
    bars, strategy, options = run
    table = bars["A"] if isinstance(bars, dict) else bars
    before, state = table.copy(), repr(vars(strategy))
    first, second = backtest(bars, strategy, **options), backtest(bars, strategy, **options)
    assert first.order_hash == second.order_hash
    assert first.equity.equals(second.equity)
    assert table.equals(before) and repr(vars(strategy)) == state


VOTE = CombinedStrategy([MeanReversion(8), MovingAverageCross(2, 7), MeanReversion(5)], [1, 2, 1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), rule=st.sampled_from([MeanReversion(8), MeanReversion(5, -0.5, 0.5),
                                                         MovingAverageCross(2, 7), BuyAndHold(), VOTE]))
def test_decide_and_handle_market_say_the_same(seed, rule):
    """`decide` speaks for a strategy; written bar by bar it must come to the same orders."""
    spoken = type("Spoken", (type(rule),), {"handle_market": type(rule).handle_market})
    bar_by_bar = spoken.__new__(spoken)
    vars(bar_by_bar).update(vars(rule))
    bars = random_bars(seed, n=150)
    assert backtest(bars, rule).order_hash == backtest(bars, bar_by_bar).order_hash
