"""Rules and models together: by hand on small worlds, bar by bar as all at once, in loop and replay alike."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from test_replay import Told, assert_twins
from worlds import Scripted, random_bars

from mlkit import (BuyAndHold, CombinedStrategy, Confidence, Costs, FeatureSet, FilteredStrategy, LaggedReturns, MLStrategy,
                   MeanReversion, MovingAverageCross, PriceToAverage, RealisticExecutionHandler, RegimeSwitch, Strategy,
                   Volatility, WalkForward, audit_strategy, backtest, load_bars, make_model, meta_label, random_walk, sweep,
                   trade_return, walk_forward)

FEATURES = FeatureSet([LaggedReturns(2), PriceToAverage(5)])


class ByReturn:
    """A fitted model that is sure of a rise after a rise."""

    def predict(self, table):
        return (table["return_1"] > 0).astype(float).to_numpy()


def filtered(rule=None, threshold=0.5):
    return FilteredStrategy(rule or MovingAverageCross(2, 7), ByReturn(), FEATURES, threshold=threshold)


def calm(bars):
    """Whether the last five moves were small; none before there are five."""
    moves = bars["close"].pct_change().abs().rolling(5).mean()
    return np.where(moves.isna(), "none", np.where(moves < 0.015, "calm", "wild"))


def switched():
    return RegimeSwitch(calm, {"calm": MovingAverageCross(2, 7), "wild": MeanReversion(8)})


HYBRIDS = {
    "filter": filtered, "filter of a vote": lambda: filtered(vote()), "vote": lambda: vote(),
    "quorum": lambda: CombinedStrategy([MeanReversion(8), MovingAverageCross(2, 7), BuyAndHold()], [2, 1, 1], enter=0.7, exit=0.3),
    "vote of filters": lambda: CombinedStrategy([filtered(), MeanReversion(5)]), "switch": switched,
    "switch of votes": lambda: RegimeSwitch(calm, {"calm": vote(), "wild": filtered()}),
}


def vote():
    return CombinedStrategy([MeanReversion(8), MovingAverageCross(2, 7), MeanReversion(5)], [1, 2, 1])


def bar_by_bar(strategy):
    """The same strategy, asked at every bar: an inherited `decide` does not speak for a `handle_market` of its own."""
    spoken = type("Spoken", (type(strategy),), {"handle_market": type(strategy).handle_market})
    twin = spoken.__new__(spoken)
    vars(twin).update(vars(strategy))
    return twin


@pytest.mark.parametrize("name", HYBRIDS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_bar_by_bar_and_all_at_once_say_the_same(name, seed):
    bars = random_bars(seed, n=100)
    once, slowly = backtest(bars, HYBRIDS[name]()), backtest(bars, bar_by_bar(HYBRIDS[name]()))
    assert (once.engine, slowly.engine) == ("replay", "events")
    assert once.order_hash == slowly.order_hash
    assert once.signals[["timestamp", "direction", "model"]].equals(slowly.signals[["timestamp", "direction", "model"]])


@pytest.mark.parametrize("name", HYBRIDS)
def test_loop_and_replay_are_twins(name):
    bars = load_bars("GE").loc["1998":"2003"]
    charges = Costs(2, 1, 1, commission_min=1.0, impact=0.5)
    replay = assert_twins(bars, HYBRIDS[name](), execution=RealisticExecutionHandler(charges))
    assert len(replay.fills) >= 2, name


@pytest.mark.parametrize("name", HYBRIDS)
def test_the_audit_finds_nothing(name):
    assert audit_strategy(HYBRIDS[name](), random_walk(300, seed=2)).clean


def test_a_model_vetoes_entries_and_never_an_exit():
    bars = random_bars(3, n=200)
    rule = MovingAverageCross(2, 7)
    proposed, followed = rule.decide(bars), filtered(rule).decide(bars)
    rose = bars["close"].pct_change() > 0
    assert (followed[proposed < 0] == -1).all()
    assert ((followed == 1) == ((proposed == 1) & rose)).iloc[7:].all()
    assert (filtered(rule, threshold=2.0).decide(bars) <= 0).all()
    assert np.array_equal(filtered(rule, threshold=0.0).decide(bars)[7:], proposed[7:])


def test_the_score_of_the_filter_is_the_strength_and_can_size_the_bet():
    bars = load_bars("GE").loc["1990":"2000"]
    rule = MeanReversion(10)
    features = FeatureSet([LaggedReturns(3), Volatility(10)])
    pays = meta_label(bars, rule.decide(bars), cost_bps=3)
    X, y = features(bars), pays["label"]
    known = X.notna().all(axis=1) & y.notna()
    found = walk_forward(make_model("logistic"), X[known], pays[known], WalkForward(200, 100, label_end=pays["end"]))
    result = backtest(bars, FilteredStrategy(rule, found, features), sizer=Confidence())
    buys = result.signals[result.signals["direction"] == "BUY"]
    assert (buys["strength"] >= 0.5).all() and buys["model"].str.contains("logistic .* on MeanReversion").all()
    assert len(result.fills) > 20 and result.fills["timestamp"].iloc[0] > found.models.starts[0]
    alone = backtest(bars, rule).signals
    assert set(buys["timestamp"]) <= set(bars.index[rule.decide(bars) > 0]) and len(buys) < len(alone)


def test_a_vote_by_hand():
    bars = random_bars(1, n=6)
    first, second = Told(np.array([1, 0, 0, -1, 0, 0])), Told(np.array([0, 1, 0, 0, 0, -1]))
    assert CombinedStrategy([first, second]).decide(bars).tolist() == [0, 1, 1, 0, 0, -1]
    assert CombinedStrategy([first, second], [3, 1]).decide(bars).tolist() == [1, 1, 1, -1, -1, -1]
    assert CombinedStrategy([first, second], enter=0.25, exit=0.25).decide(bars).tolist() == [1, 1, 1, 1, 1, -1]


def test_a_switch_by_hand():
    bars = random_bars(1, n=6)
    always, first = Told(np.ones(6, dtype=int)), Told(np.array([1, 0, -1, 0, 1, 0]))
    switch = RegimeSwitch(lambda bars: np.array(["a", "b", "b", "a", "?", "b"]), {"a": always, "b": first})
    assert switch.decide(bars).tolist() == [1, 1, -1, 1, -1, 1]


def test_a_member_without_decide_is_asked_bar_by_bar():
    bars = random_bars(2, n=60)
    said = CombinedStrategy([Scripted({10: "BUY", 30: "SELL"}), Scripted({20: "BUY", 40: "SELL"})], enter=0.9, exit=0.9)
    result = backtest(bars, said)
    assert result.engine == "events"
    assert result.signals["timestamp"].tolist() == [bars.index[20], bars.index[30]]
    with pytest.raises(ValueError, match="no decide"):
        backtest(bars, said, engine="replay")


def test_members_are_left_as_they_were_and_ask_what_they_hold_on_paper():
    class Curious(Strategy):
        held_at = {}

        def handle_market(self, event):
            self.held_at[event.timestamp] = self.held(event.symbol)
            return self.signal(event, "BUY")

    bars, member = random_bars(2, n=30), Curious()
    backtest(bars, CombinedStrategy([member, Scripted({})], enter=0.9, exit=0.1))  # the vote never passes
    assert list(Curious.held_at.values()) == [0.0] + [1.0] * 29 and member._portfolio is None
    rule = MeanReversion(5)
    backtest(bars, filtered(rule), engine="events")
    assert rule._portfolio is None and rule._closes == {}


def test_in_a_sweep_every_row_is_that_backtest():
    bars = load_bars("GE").loc["1998":"2003"]
    table = sweep(bars, {name: make() for name, make in HYBRIDS.items()}, costs=[Costs(), Costs(9, 9, 9)], progress=False)
    for _, row in table.iterrows():
        charges = Costs(row["half_spread_bps"], row["slippage_bps"], row["commission_bps"])
        alone = backtest(bars, HYBRIDS[row["strategy"]](), execution=RealisticExecutionHandler(charges))
        assert row["order_hash"] == alone.order_hash and row["sharpe"] == pytest.approx(alone.metrics["sharpe"])


def test_planted_leaks_are_seen_by_the_audit():
    def tomorrow(bars):
        return np.where(bars["close"].shift(-1) > bars["close"], "calm", "wild")

    class Peeks(FeatureSet):
        def __init__(self):
            super().__init__({"ahead": lambda bars: bars["close"].shift(-1).ffill() / bars["close"]})

    bars = random_walk(300, seed=2)
    model = LogisticRegression().fit(pd.DataFrame({"ahead": [0.9, 1.1] * 9}), [0, 1] * 9)
    for leaky in (RegimeSwitch(tomorrow, {"calm": BuyAndHold(), "wild": MeanReversion(5)}),
                  FilteredStrategy(MeanReversion(5), model, Peeks()),
                  CombinedStrategy([MLStrategy(model, Peeks(), enter=0.5, exit=0.5), MeanReversion(5)], enter=0.4, exit=0.4)):
        assert not audit_strategy(leaky, bars).clean, leaky


@pytest.mark.parametrize("make, message", [
    (lambda: CombinedStrategy([]), "Strategy instances"), (lambda: CombinedStrategy([MeanReversion]), "Strategy instances"),
    (lambda: CombinedStrategy([BuyAndHold()], [1, 2]), "weight"), (lambda: CombinedStrategy([BuyAndHold()], [0]), "weight"),
    (lambda: CombinedStrategy([BuyAndHold()], [np.inf]), "weight"),
    (lambda: CombinedStrategy([BuyAndHold()], enter=0.2, exit=0.4), "exit <= enter"),
    (lambda: RegimeSwitch(calm, [BuyAndHold()]), "dict"), (lambda: RegimeSwitch("calm", {"calm": BuyAndHold()}), "function"),
    (lambda: FilteredStrategy("rule", ByReturn(), FEATURES), "Strategy instances"),
    (lambda: backtest(random_bars(1), RegimeSwitch(lambda bars: [1], {1: BuyAndHold()})), "one regime a bar")])
def test_bad_input_is_refused_with_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_a_proposal_earned_by_hand():
    bars = pd.DataFrame({"open": [10.0, 11.0, 12.0, 9.0, 10.0, 20.0]}, index=pd.date_range("2024-01-01", periods=6))
    bars = bars.assign(high=bars["open"], low=bars["open"], close=bars["open"])
    earned = trade_return(bars, [1, 1, -1, 1, 0, 0], cost_bps=100)
    assert earned["label"].iloc[:2].tolist() == pytest.approx([9 / 11 * 0.99 / 1.01 - 1, 9 / 12 * 0.99 / 1.01 - 1])
    assert earned["end"].iloc[:2].tolist() == [bars.index[3]] * 2
    assert earned["label"].iloc[2:].isna().all() and earned["end"].iloc[2:].isna().all()  # nothing proposed, never sold
    assert meta_label(bars, [1, 1, -1, 1, 0, 0])["label"].iloc[:2].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="one a bar"):
        trade_return(bars, [1, 1])


def test_a_proposal_s_label_is_what_the_engine_earns():
    bars = load_bars("GE").loc["1998":"2003"]
    rule = MeanReversion(10)
    trades = backtest(bars, rule, execution=RealisticExecutionHandler(Costs(5, 0, 0))).trades.iloc[:-1]
    earned = trade_return(bars, rule.decide(bars), cost_bps=5)
    decided = bars.index[bars.index.get_indexer(trades["entry_time"]) - 1]
    by_engine = trades["exit_price"] / trades["entry_price"] - 1
    assert earned["label"][decided].to_numpy() == pytest.approx(by_engine.to_numpy())
    assert earned["end"][decided].tolist() == trades["exit_time"].tolist()
