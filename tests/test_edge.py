"""Minimum edge: an entry has to pay for its round trip; and what a probability is worth."""

import numpy as np
import pandas as pd
import pytest
from worlds import random_bars

from mlkit import (Costs, ExpectedReturn, FeatureSet, FixedFraction, LaggedReturns, MLStrategy, MeanReversion,
                   RealisticExecutionHandler, Strategy, WalkForward, audit_strategy, backtest, direction, make_model,
                   next_return, planted_edge, walk_forward)

BARS = random_bars(4, n=120)
FEATURES = FeatureSet([LaggedReturns(3)])


class Expects(Strategy):
    """Buys and sells in turn, and expects the same of every trade."""

    shorts_from_flat = True

    def __init__(self, expected):
        super().__init__()
        self.expected = expected

    def decide(self, bars):
        return np.resize([1, 0, 0, -1, 0], len(bars))

    def expected_returns(self, bars):
        return np.broadcast_to(self.expected, len(bars))


def run(expected, minimum, charges=None, **options):
    return backtest(BARS, Expects(expected), minimum_edge_bps=minimum,
                    execution=RealisticExecutionHandler(charges or Costs(2, 1, 3)), **options)


def test_a_trade_has_to_pay_for_both_ways_and_the_margin():
    round_trip = 2 * (2 + 1 + 3)  # bps
    for minimum in (0.5, 5.0):
        enough, short = (round_trip + minimum + step for step in (0.01, -0.01))
        assert len(run(enough * 1e-4, minimum).fills) > 10
        refused = run(short * 1e-4, minimum)
        assert refused.fills.empty and set(refused.signals["outcome"]) == {"below_edge"}
    assert len(run(0.0, 0.0).fills) > 10, "0 follows every signal"


def test_exits_are_never_refused():
    worth = np.where(np.arange(120) < 60, 0.01, 0.0)
    result = run(worth, 1.0)
    assert result.trades["exit_time"].notna().all() and result.fills["timestamp"].max() < BARS.index[66]
    assert {"order", "below_edge"} == set(result.signals["outcome"])


def test_a_minimum_fee_and_impact_count():
    fee = Costs(0, 0, 1, commission_min=50.0)
    value = 10_000.0
    needed = 2 * 50 / value
    sizer = FixedFraction(value / 100_000)
    assert len(run(needed * 1.002 + 1e-5, 0.1, fee, sizer=sizer).fills) and run(needed * 0.9, 0.1, fee, sizer=sizer).fills.empty
    impact = Costs(0, 0, 0, impact=1.0)
    result = run(1.0, 0.1, impact)
    paid = result.fills["impact"] / (result.fills["reference"] * result.fills["quantity"].abs())
    first = result.fills["timestamp"].iloc[0]
    assert len(run(2.2 * paid.iloc[0], 0.1, impact).fills)
    assert first not in set(run(1.5 * paid.iloc[0], 0.1, impact).fills["timestamp"])


def test_a_short_has_to_fall_and_a_reversal_keeps_its_closing_part():
    result = run(0.01, 1.0, allow_short=True)
    assert (result.orders["quantity"].cumsum() > -1e-6).all(), "nothing here is expected to fall"
    sold = result.risk[result.risk["reason"] == "below_edge"]
    assert len(sold) and (sold["allowed"] > sold["asked"]).all()
    assert len(run(-0.01, 1.0, allow_short=True).orders.query("quantity < 0"))


def test_what_is_not_known_is_not_traded():
    result = run(np.where(np.arange(120) < 60, np.nan, 0.01), 1.0)
    assert set(result.signals.loc[result.signals["timestamp"] < BARS.index[60], "outcome"]) == {"no_forecast"}
    assert result.returns.index[0] == BARS.index[61] and len(result.fills)


@pytest.mark.parametrize("minimum", [-1.0, np.nan, np.inf, True, "5"])
def test_a_minimum_is_a_number(minimum):
    with pytest.raises(ValueError, match="minimum_edge_bps"):
        run(0.01, minimum)


def test_a_strategy_has_to_say_what_it_expects():
    with pytest.raises(ValueError, match="MeanReversion does not"):
        backtest(BARS, MeanReversion(5), minimum_edge_bps=5)
    labels = direction(BARS)
    X = FEATURES(BARS).iloc[3:-2]
    model = make_model("logistic").fit(X, labels["label"].loc[X.index])
    with pytest.raises(ValueError, match="ExpectedReturn"):
        backtest(BARS, MLStrategy(model, FEATURES), minimum_edge_bps=5)
    with pytest.raises(ValueError, match="shape"):
        backtest(BARS, type("Bad", (Expects,), {"expected_returns": lambda self, bars: [0.1]})(0.1), minimum_edge_bps=5)


@pytest.fixture(scope="module")
def world():
    bars = planted_edge(3_000, seed=3, strength=0.3)
    labels, returns = direction(bars), next_return(bars)
    found = walk_forward(make_model("logistic"), FEATURES(bars), labels, WalkForward(1_000, 250, label_end=labels["end"]))
    return bars, found, returns


def test_the_slope_is_the_least_squares_one(world):
    bars, found, returns = world
    earned = returns["label"].reindex(found.predictions.index)
    worth = ExpectedReturn().fit(found.predictions, earned)
    away = (found.predictions - 0.5).to_numpy()[:, None]
    assert worth.slope_ == pytest.approx(np.linalg.lstsq(away, earned.to_numpy(), rcond=None)[0][0])
    assert worth(pd.Series([0.5, 0.6], bars.index[:2])).tolist() == pytest.approx([0.0, 0.1 * worth.slope_])
    assert ExpectedReturn().fit(found.predictions, -earned).slope_ == 0.0, "never below nothing"


def test_by_turns_it_learns_from_what_was_known_then(world):
    bars, found, returns = world
    worth = ExpectedReturn.from_walk_forward(found, returns)
    starts = found.models.starts
    assert worth.slopes.index.equals(starts[1:])
    table = returns.reindex(found.predictions.index)
    for start, slope in worth.slopes.items():
        known = (table["end"] <= start) & (table.index < start)
        assert slope == ExpectedReturn().fit(found.predictions[known], table["label"][known]).slope_
    scores = pd.Series(0.6, bars.index)
    assert np.isnan(worth(scores)[bars.index < starts[1]]).all() and not np.isnan(worth(scores)[bars.index >= starts[1]]).any()
    strategy = MLStrategy(found, FEATURES, enter=0.5, exit=0.5, expected=worth)
    assert audit_strategy(strategy, bars.iloc[:2200], minimum_edge_bps=2.0).clean


def test_the_filter_trades_less_and_better(world):
    bars, found, returns = world
    strategy = MLStrategy(found, FEATURES, enter=0.5, exit=0.5, expected=ExpectedReturn.from_walk_forward(found, returns))
    dear = RealisticExecutionHandler(Costs(30, 0, 0))
    plain, choosy = (backtest(bars, strategy, execution=dear, minimum_edge_bps=edge) for edge in (0.0, 5.0))
    assert 5 < len(choosy.fills) < len(plain.fills) / 2
    assert choosy.metrics["total_return"] > plain.metrics["total_return"]
    per_trade = [result.trades["net_profit"].mean() for result in (plain, choosy)]
    assert per_trade[1] > per_trade[0]


def test_a_regressor_says_what_it_expects_by_itself(world):
    bars, _, returns = world
    found = walk_forward(make_model("ridge", task="return"), FEATURES(bars), returns,
                         WalkForward(1_000, 500, label_end=returns["end"]))
    strategy = MLStrategy(found, FEATURES, enter=0.0, exit=0.0)
    assert np.array_equal(strategy.expected_returns(bars), strategy.scores(bars), equal_nan=True)
    result = backtest(bars, strategy, minimum_edge_bps=10)
    scores = pd.Series(strategy.scores(bars), bars.index)
    followed = result.signals[(result.signals["outcome"] == "order") & (result.signals["direction"] == "BUY")]
    assert (scores[followed["timestamp"]] > 16e-4).all() and len(followed) > 10


def test_a_rule_that_cannot_be_fitted_says_why(world):
    bars, found, returns = world
    half = pd.Series(0.5, bars.index)
    with pytest.raises(ValueError, match="away from one half"):
        ExpectedReturn().fit(half, returns["label"])
    with pytest.raises(ValueError, match="one index"):
        ExpectedReturn().fit(half, returns["label"].iloc[:-1])
    with pytest.raises(ValueError, match="not been fitted"):
        ExpectedReturn()(half)
    rows = slice(3, 2_503)
    one = walk_forward(make_model("logistic"), FEATURES(bars)[rows], direction(bars)[rows],
                       WalkForward(1_000, 1_500, label_end=returns["end"]))
    with pytest.raises(ValueError, match="two folds"):
        ExpectedReturn.from_walk_forward(one, returns)
