"""The replay is the loop's twin: the same orders, fills and equity to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Scripted, costs, random_bars

from mlkit.engine import (BuyAndHold, CombinedStrategy, Confidence, Costs, DrawdownRisk, FixedFraction, FixedQuantity,
                          IdealExecutionHandler, Kelly, MeanReversion, ModelSize, MovingAverageCross,
                          RealisticExecutionHandler, RiskManager, Strategy, VolatilityRisk, VolatilityTarget, backtest)
from mlkit.engine.replay import alternating
from mlkit.markets import load_bars, random_walk

TABLES = ("orders", "fills", "signals", "trades", "exits", "risk")


class Half:
    """A size model that holds less the deeper the account is under water."""

    def predict(self, table):
        return [0.5 + table[0][2] + 0.1 * table[0][0]]


def holey(bars):
    """A volatility with a hole in it now and then."""
    close = bars["close"]
    return close.pct_change().rolling(5).std().where(close.round(1) % 1 > 0.2)


def falls(bars):
    return -bars["close"].pct_change().abs().rolling(3).max()


SIZERS = [FixedFraction(1.0), FixedFraction(0.4), FixedFraction(2.0), FixedQuantity(10.0), FixedQuantity(3000.0),
          FixedFraction(1.0, lot_size=7.0), FixedQuantity(40.0, lot_size=7.0), VolatilityTarget(0.2, window=5),
          VolatilityTarget(0.2, model=holey), VolatilityTarget(0.4, window=5, max_fraction=3.0, lot_size=7.0),
          Confidence(), Confidence(0.7, step=0.2), Kelly(1.0), Kelly(0.5, mean=1e-3, variance=4e-4), ModelSize(Half(), 5)]
RISKS = [RiskManager(), RiskManager(), RiskManager(max_position=0.5), RiskManager(max_drawdown=0.05),
         RiskManager(max_exposure=1.1), VolatilityRisk(holey, max_volatility=0.3), DrawdownRisk(falls, max_drawdown=0.1),
         VolatilityRisk(holey, max_volatility=0.2, scale=False, limits=RiskManager(max_drawdown=0.1)),
         DrawdownRisk(falls, max_drawdown=0.05, least=0.5, limits=RiskManager(max_position=0.6))]


class Told(Strategy):
    """Decides what it was given, bar by bar."""

    def __init__(self, decisions, lookback=1, shorts_from_flat=True):
        super().__init__()
        self.decisions, self.lookback, self.shorts_from_flat = decisions, lookback, shorts_from_flat

    def decide(self, bars):
        return self.decisions

    def scores(self, bars):
        return np.linspace(0.0, 1.0, len(bars))

    def expected_returns(self, bars):
        return (bars["close"].pct_change().rolling(2).mean() / 2).to_numpy()


def assert_twins(bars, strategy, **options):
    """Everything a result says is the same; returns the replay's."""
    loop, replay = (backtest(bars, strategy, engine=engine, **options) for engine in ("events", "replay"))
    assert (loop.engine, replay.engine) == ("events", "replay")
    assert loop.order_hash == replay.order_hash
    assert loop.equity.index.equals(replay.equity.index)
    assert loop.equity.to_numpy().tobytes() == replay.equity.to_numpy().tobytes(), "to the last bit"
    for name in TABLES:
        one, two = getattr(loop, name), getattr(replay, name)
        assert one.equals(two), f"{name}:\n{one}\n{two}"
    assert loop.waterfall.equals(replay.waterfall)
    assert loop.metrics.equals(replay.metrics)
    assert loop.counts.equals(replay.counts)
    assert loop.bankrupt == replay.bankrupt and loop.notes() == replay.notes()
    return replay


def any_decisions(n):
    """From one decision in a while to one at every bar."""
    return st.builds(lambda seed, quiet: np.random.default_rng(seed).choice(
        [-1, 0, 1], size=n, p=[(1 - quiet) / 2, quiet, (1 - quiet) / 2]).astype(np.int8),
        st.integers(0, 100_000), st.sampled_from([0.0, 0.5, 0.9, 0.98]))


@settings(max_examples=500, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000), charges=costs(), latency=st.integers(0, 2),
       allow_short=st.booleans(), holes=st.booleans(), close_only=st.booleans(), ideal=st.booleans(),
       shorts_from_flat=st.booleans(), lookback=st.sampled_from([1, 5, 300]), wild=st.sampled_from([0.02, 0.3]),
       sizer=st.sampled_from(SIZERS), risk=st.sampled_from(RISKS), edge=st.sampled_from([0.0, 0.0, 5.0]))
def test_twins(data, seed, charges, latency, allow_short, holes, close_only, ideal, shorts_from_flat, lookback, wild,
               sizer, risk, edge):
    bars = random_bars(seed, n=120, holes=holes, volatility=wild)
    execution = RealisticExecutionHandler(charges, latency_bars=latency)
    if close_only:
        bars = bars[["close"]]
        execution = RealisticExecutionHandler(Costs(charges.half_spread_bps, 0, 3), latency_bars=latency)
    if ideal:
        execution = IdealExecutionHandler()
    assert_twins(bars, Told(data.draw(any_decisions(len(bars))), lookback, shorts_from_flat), execution=execution,
                 sizer=sizer, risk=risk, allow_short=allow_short, minimum_edge_bps=edge)


@pytest.mark.parametrize("strategy", [MeanReversion(), MovingAverageCross(10, 50), BuyAndHold(),
                                      CombinedStrategy([MeanReversion(), MovingAverageCross(10, 50)], enter=0.4, exit=0.4)],
                         ids=lambda strategy: type(strategy).__name__)
@pytest.mark.parametrize("charges", [Costs(), Costs(3, 2, 5, commission_min=2, impact=1.0, max_participation=0.0001)],
                         ids=["whole trades", "with impact and a cap"])
@pytest.mark.parametrize("sizer", [FixedFraction(1.0), FixedQuantity(100.0), VolatilityTarget(0.1)],
                         ids=["fraction", "quantity", "volatility"])
def test_twins_on_twenty_years_of_ge(strategy, charges, sizer):
    bars = load_bars("GE").loc["1990":"2010"]
    replay = assert_twins(bars, strategy, execution=RealisticExecutionHandler(charges), sizer=sizer)
    assert len(replay.fills) >= 1


def test_twins_when_a_short_ruins_the_account():
    bars = random_bars(8, n=200, volatility=0.3)
    ruined = [seed for seed in range(30)
              if assert_twins(bars, Told(np.random.default_rng(seed).choice([-1, 0, 0, 1], 200)), allow_short=True,
                              sizer=FixedFraction(1.5)).bankrupt]
    assert ruined, "at least one of these must go bankrupt, or the test shows nothing"


def test_twins_with_borrow_over_idle_bars():
    bars = random_bars(5, n=300)
    decisions = np.zeros(300, dtype=int)
    decisions[[10, 200]] = -1, 1
    result = assert_twins(bars, Told(decisions), allow_short=True, sizer=FixedFraction(0.5),
                          execution=RealisticExecutionHandler(Costs(borrow_bps_per_year=300)))
    assert result.waterfall["borrow"] < 0


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60))
def test_alternating_decisions_by_hand(decisions):
    held, expected = False, []
    for at, decision in enumerate(decisions):
        if decision == (-1 if held else 1):
            held = not held
            expected.append(at)
    assert alternating(np.array(decisions, dtype=np.int8)).tolist() == expected


@pytest.mark.parametrize(("strategy", "options", "reason"), [
    (Scripted({}), {}, "no decide"),
    (MeanReversion(), {"execution": RealisticExecutionHandler(unsafe_same_bar=True)}, "same bar"),
    (MeanReversion(), {"risk": type("Mine", (RiskManager,), {})()}, "Mine"),
    (MeanReversion(), {"sizer": type("Mine", (FixedFraction,), {})(0.5)}, "Mine"),
])
def test_what_it_cannot_run_goes_through_the_loop(strategy, options, reason):
    bars = random_bars(1)
    assert backtest(bars, strategy, **options).engine == "events"
    with pytest.raises(ValueError, match=reason):
        backtest(bars, strategy, engine="replay", **options)


def test_several_instruments_go_through_the_loop():
    bars = {"A": random_bars(1), "B": random_bars(2)}
    assert backtest(bars, MeanReversion(5)).engine == "events"
    assert backtest({"A": bars["A"]}, MeanReversion(5)).engine == "replay"


def test_auto_takes_the_replay_where_it_can():
    assert backtest(random_walk(300, 1), MeanReversion()).engine == "replay"


def test_scores_are_the_strength_of_the_signals():
    bars = random_bars(3)
    result = assert_twins(bars, Told(np.tile([1, 0, -1, 0], 20)))
    assert result.signals["strength"].tolist() == np.linspace(0, 1, 80)[::2].tolist()
