"""Models of risk: what they allow, what they refuse and why, and the forecast that stands beside what happened."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Scripted, random_bars

from mlkit import (DrawdownRisk, FeatureSet, FixedFraction, IdealExecutionHandler, LaggedReturns, MeanReversion,
                   RiskManager, Volatility, VolatilityRisk, WalkForward, backtest, load_bars, make_model, next_drawdown,
                   next_volatility, walk_forward)

BARS = random_bars(4, n=120)
BUY = Scripted({60: "BUY", 100: "SELL"})
IDEAL = IdealExecutionHandler()
YEAR = np.sqrt(365)  # these bars know no weekend


def constant(value):
    return lambda bars: np.full(len(bars), value)


def run(risk, strategy=BUY, bars=BARS, **options):
    return backtest(bars, strategy, risk=risk, execution=IDEAL, **options)


def weight(result):
    """The first order as a share of the equity when it was decided."""
    order = result.orders.iloc[0]
    return order["quantity"] * result.bars["ASSET"]["close"][order["timestamp"]] / result.equity[order["timestamp"]]


def test_an_order_is_cut_to_the_volatility_that_is_allowed():
    result = run(VolatilityRisk(constant(0.4 / YEAR), max_volatility=0.1))
    assert weight(result) == pytest.approx(0.25)
    row = result.risk.iloc[0]
    assert (row["reason"], row["forecast"]) == ("volatility_limit", pytest.approx(0.4))
    assert row["allowed"] / row["asked"] == pytest.approx(0.25)
    assert row["realised"] == pytest.approx(next_volatility(BARS, 5)["label"].iloc[60] * YEAR)
    assert len(result.risk) == len(result.orders) == 2, "the exit was put before it too, and passed"
    assert result.risk["allowed"].iloc[1] == result.risk["asked"].iloc[1] and result.risk["reason"].iloc[1] == ""


def test_within_the_limit_nothing_is_cut():
    result = run(VolatilityRisk(constant(0.05 / YEAR), max_volatility=0.1))
    assert weight(result) == pytest.approx(1.0) and (result.risk["reason"] == "").all()
    assert weight(run(VolatilityRisk(constant(0.0), max_volatility=0.1))) == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"scale": False}, {"least": 0.3}])
def test_what_is_not_scaled_is_a_veto_with_its_reason(options):
    result = run(VolatilityRisk(constant(0.4 / YEAR), max_volatility=0.1, **options))
    assert result.orders.empty and result.signals["outcome"].tolist() == ["volatility_limit", "nothing_to_sell"]
    assert result.risk["allowed"].tolist() == [0.0]


def test_the_account_s_own_drawdown_leaves_less_to_risk():
    bars = BARS.copy()
    bars.iloc[70:, :4] *= 0.9  # a tenth is lost while the first position is held
    twice = Scripted({60: "BUY", 75: "SELL", 80: "BUY"})
    result = run(DrawdownRisk(constant(-0.2), max_drawdown=0.2), twice, bars)
    below = result.equity / np.maximum(result.equity.cummax(), 100_000) - 1
    buys = result.orders[result.orders["quantity"] > 0]
    for _, order in buys.iterrows():
        at = order["timestamp"]
        held = order["quantity"] * bars["close"][at] / result.equity[at]
        assert held == pytest.approx(min(1.0, (1 - 0.8 / (1 + below[at])) / 0.2))
        if held < 1:
            assert (1 + below[at]) * (1 - held * 0.2) == pytest.approx(0.8)
    assert below[buys["timestamp"].iloc[1]] < -0.05 and result.risk["reason"].iloc[-1] == "drawdown_limit"
    assert result.risk["realised"].iloc[0] == pytest.approx(next_drawdown(bars, 5)["label"].iloc[60])


def test_beyond_its_drawdown_it_only_leaves():
    bars = BARS.copy()
    bars.iloc[70:, :4] *= 0.7
    result = run(DrawdownRisk(constant(-0.01), max_drawdown=0.2), Scripted({60: "BUY", 75: "SELL", 80: "BUY"}), bars)
    assert result.signals["outcome"].tolist() == ["order", "order", "drawdown_limit"]


def test_without_a_forecast_no_new_risk_and_the_result_says_so():
    def late(bars):
        return bars["close"].pct_change().rolling(80).std()

    result = run(VolatilityRisk(late), Scripted({60: "BUY", 100: "BUY", 110: "SELL"}))
    assert result.signals["outcome"].tolist() == ["no_forecast", "order", "order"]
    assert result.risk["forecast"].isna().tolist() == [True, False, False]
    assert result.notes() == ["1 signals were refused because nothing was forecast at their close (no_forecast)."]
    assert result.returns.index[0] == BARS.index[81]


def test_a_reversal_keeps_its_closing_part():
    risk = VolatilityRisk(lambda bars: pd.Series(0.01, bars.index).where(np.arange(len(bars)) < 80))
    result = run(risk, Scripted({60: "BUY", 100: "SELL"}), allow_short=True, sizer=FixedFraction(0.5))
    assert result.orders["quantity"].iloc[1] == pytest.approx(-result.orders["quantity"].iloc[0])
    assert result.risk["reason"].tolist() == ["", "no_forecast"]


def test_hard_limits_hold_whatever_the_model_says():
    calm = constant(1e-6)
    assert weight(run(VolatilityRisk(calm, limits=RiskManager(max_position=1.2)))) == pytest.approx(1.0)
    result = run(VolatilityRisk(calm, limits=RiskManager(max_position=0.8)))
    assert result.signals["outcome"].iloc[0] == "max_position" and result.risk["reason"].iloc[0] == "max_position"


def test_plain_limits_leave_a_row_for_what_they_cut():
    result = run(RiskManager(max_position=0.5), Scripted({60: "BUY", 80: "SELL"}), allow_short=True,
                 sizer=FixedFraction(0.4))
    assert result.risk.empty and list(result.risk) == ["timestamp", "symbol", "asked", "allowed", "reason", "forecast",
                                                       "realised"]
    refused = run(RiskManager(max_position=0.5))
    assert refused.risk[["allowed", "reason"]].iloc[0].tolist() == [0.0, "max_position"]


def test_lots_stay_whole_when_an_order_is_cut():
    result = run(VolatilityRisk(constant(0.4 / YEAR), max_volatility=0.1), sizer=FixedFraction(1.0, lot_size=50.0))
    assert result.orders["quantity"].iloc[0] % 50 == 0 and result.orders["state"].iloc[0] == "filled"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), most=st.floats(0.02, 0.5), fraction=st.floats(0.1, 1.0), script=st.dictionaries(
    st.integers(0, 119), st.sampled_from(["BUY", "SELL"]), min_size=1))
def test_no_entry_is_expected_to_move_more_than_allowed(seed, most, fraction, script):
    bars = random_bars(seed, n=120)
    result = run(VolatilityRisk("ewma", max_volatility=most, least=0.0), Scripted(script), bars, allow_short=True,
                 sizer=FixedFraction(fraction))
    reviews, equity = result.risk, result.equity
    held = reviews.set_index("timestamp")["allowed"]
    for _, order in result.orders.iterrows():
        at = order["timestamp"]
        before = result.fills.loc[result.fills["timestamp"] <= at, "quantity"].sum()
        after = before + order["quantity"]
        if abs(after) > 1e-9 * abs(before) and abs(after) > abs(before) or after * before < 0:
            move = abs(after) * bars["close"][at] / equity[at] * reviews.set_index("timestamp")["forecast"][at]
            assert move <= most * (1 + 1e-6)
    assert len(held) >= len(result.orders)


def folds(label):
    return WalkForward(500, 250, label_end=label["end"])


def test_models_of_the_catalogue_walk_forward_and_then_watch():
    bars = load_bars("GE").loc["2000":"2006"]
    features = FeatureSet([Volatility(5), Volatility(22), LaggedReturns(1)])
    rates, depths = next_volatility(bars, 5), next_drawdown(bars, 20)
    volatile = walk_forward(make_model("ridge", task="volatility"), features(bars), rates, folds(rates))
    deep = walk_forward(make_model("linear", task="drawdown"), features(bars), depths.assign(label=depths["label"]), folds(depths))
    for risk in (VolatilityRisk(volatile, features, max_volatility=0.15),
                 DrawdownRisk(lambda bars: np.minimum(deep.models.scores(features(bars).bfill()), 0.0), max_drawdown=0.1, horizon=20)):
        result = run(risk, MeanReversion(10), bars)
        table = result.risk
        assert result.engine == "replay" and len(result.fills) > 20
        known = table[table["realised"].notna() & table["forecast"].notna()]
        assert np.corrcoef(known["forecast"], known["realised"])[0, 1] > 0.2
        assert result.fills["timestamp"].iloc[0] > volatile.models.starts[0]


@pytest.mark.parametrize("make, message", [
    (lambda: VolatilityRisk("ewma", max_volatility=0.0), "max_volatility"),
    (lambda: VolatilityRisk("ewma", horizon=-1), "horizon"), (lambda: VolatilityRisk("ewma", least=2), "least"),
    (lambda: VolatilityRisk("ewma", limits=0.5), "RiskManager"), (lambda: VolatilityRisk("garch"), "ewma"),
    (lambda: DrawdownRisk(constant(-0.1), max_drawdown=np.nan), "max_drawdown"),
    (lambda: run(DrawdownRisk(constant(0.1))), "positive"), (lambda: run(VolatilityRisk(constant(-0.1))), "negative"),
    (lambda: run(VolatilityRisk(constant(np.inf))), "infinite"),
    (lambda: run(VolatilityRisk(lambda bars: np.zeros((len(bars), 2)))), "shape")])
def test_bad_input_is_refused_with_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
