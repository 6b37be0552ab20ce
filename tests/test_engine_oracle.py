"""The engine against an oracle that shares no code with it: orders, fills and equity, to 1e-9."""

import dataclasses

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Scripted, costs, random_bars, scripts, with_levels

from mlkit.engine import (BuyAndHold, Costs, FixedFraction, FixedQuantity, IdealExecutionHandler, MeanReversion,
                          MovingAverageCross, RealisticExecutionHandler, backtest)
from mlkit.markets import load_bars

RULES = {
    "mean reversion": (MeanReversion(20), oracle.mean_reversion(20)),
    "moving averages": (MovingAverageCross(10, 40), oracle.moving_average_cross(10, 40)),
    "buy and hold": (BuyAndHold(), oracle.buy_and_hold()),
}
MARKETS = {"GE": ("2004", "2012"), "IBM": ("2005", "2013"), "EURUSD": ("2008", "2016")}


def assert_same(result, run, cash=100_000.0):
    """The same orders in the same states, the same fills, the same equity."""
    orders = result.orders
    assert len(orders) == len(run.orders)
    for name in ("timestamp", "state", "reason"):
        assert orders[name].tolist() == [order[name] for order in run.orders], name
    np.testing.assert_allclose(orders["quantity"], [o["quantity"] for o in run.orders], rtol=1e-9)
    np.testing.assert_allclose(orders["filled"], [o["filled"] for o in run.orders], rtol=1e-9)
    fills = result.fills
    assert fills["timestamp"].tolist() == [fill["timestamp"] for fill in run.fills]
    for name in ("quantity", "price", "reference", "decision_price", "delay", "spread", "slippage", "impact",
                 "commission"):
        np.testing.assert_allclose(fills[name], [fill[name] for fill in run.fills], rtol=1e-9, atol=1e-9 * cash)
    assert (fills["order_id"] - 1).tolist() == [fill["order_id"] for fill in run.fills]
    np.testing.assert_allclose(result.equity, run.equity, rtol=0, atol=1e-9 * cash)
    np.testing.assert_allclose(-result.waterfall["borrow"], run.borrow, atol=1e-9 * cash)
    signals = result.signals
    assert signals["outcome"].tolist() == [signal["outcome"] for signal in run.signals]
    assert result.counts["exits"] == run.exits


@pytest.mark.parametrize("symbol", MARKETS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ideal", [True, False])
def test_real_markets(symbol, rule, ideal):
    first, last = MARKETS[symbol]
    bars = load_bars(symbol).loc[first:last]
    strategy, decide = RULES[rule]
    charges = Costs(2, 3, 5, commission_min=4, impact=0 if symbol == "EURUSD" else 0.8)
    execution = IdealExecutionHandler() if ideal else RealisticExecutionHandler(charges)
    result = backtest(bars, strategy, execution=execution)
    run = oracle.simulate(bars, decide, ideal=ideal, **dataclasses.asdict(charges))
    assert len(run.orders) >= 1
    assert_same(result, run)


@pytest.mark.parametrize("symbol", ["GE", "EURUSD"])
def test_real_markets_with_shorts(symbol):
    bars = load_bars(symbol).loc["2007":"2010"]
    charges = Costs(2, 3, 5, borrow_bps_per_year=80)
    result = backtest(bars, MovingAverageCross(5, 30), execution=RealisticExecutionHandler(charges, latency_bars=1),
                      allow_short=True)
    run = oracle.simulate(bars, oracle.moving_average_cross(5, 30), allow_short=True, latency_bars=1,
                          **dataclasses.asdict(charges))
    assert (result.fills["quantity"] < 0).sum() > 20
    assert_same(result, run)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000), charges=costs(), latency=st.integers(0, 2),
       allow_short=st.booleans(), holes=st.booleans(), close_only=st.booleans(),
       units=st.sampled_from([None, None, 10.0, 900.0]), fraction=st.sampled_from([1.0, 0.5, 1.7]))
def test_anything(data, seed, charges, latency, allow_short, holes, close_only, units, fraction):
    bars = random_bars(seed, holes=holes)
    script = with_levels(data.draw(scripts(len(bars))), bars)
    if close_only:
        bars = bars[["close"]]
        charges = dataclasses.replace(charges, impact=0.0, max_participation=1.0)
    result = backtest(bars, Scripted(script), execution=RealisticExecutionHandler(charges, latency_bars=latency),
                      sizer=FixedFraction(fraction) if units is None else FixedQuantity(units), allow_short=allow_short)
    said = [(at, *script[at]) for at in sorted(script)]
    run = oracle.simulate(bars, said, units=units, fraction=fraction, latency_bars=latency, allow_short=allow_short,
                          **dataclasses.asdict(charges))
    assert_same(result, run)
