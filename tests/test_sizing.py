"""Sizers: published worked examples, sizes as stated, bad input refused, and what Kelly does not know."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from vectors import vector
from worlds import Scripted, make_bars, random_bars

from mlkit import (Confidence, Costs, FixedFraction, IdealExecutionHandler, Kelly, KellyWarning, MeanReversion, ModelSize,
                   RealisticExecutionHandler, RiskManager, Strategy, VolatilityTarget, backtest, kelly_estimate, kelly_size,
                   load_bars, random_walk, sizing_table, sweep)
from mlkit.engine.sizing import STATE

BARS = random_bars(4, n=120)
BUY = Scripted({60: "BUY", 100: "SELL"})
IDEAL = IdealExecutionHandler()


class Sure(Strategy):
    """Buys on one bar with a given probability."""

    def __init__(self, probability, at=60):
        super().__init__()
        self.probability, self.at, self.bar = probability, at, -1

    def handle_market(self, event):
        self.bar += 1
        return self.signal(event, "BUY", self.probability) if self.bar == self.at else []


def share(sizer, strategy=BUY, bars=BARS, **options):
    """What share of the equity the first order asks for, at the close it was decided on."""
    result = backtest(bars, strategy, sizer=sizer, execution=IDEAL, **options)
    order = result.orders.iloc[0]
    return order["quantity"] * bars["close"][order["timestamp"]] / result.equity[order["timestamp"]]


def test_confidence_is_the_published_bet_size():
    given_, expected, tolerance = (vector("afml_bet_size_prob")[part] for part in ("inputs", "expected", "tolerance"))
    sizes = Confidence(n_classes=given_["classes"]).fractions(np.array(given_["p"]), None)
    assert sizes == pytest.approx(expected["m"], abs=tolerance)
    assert share(Confidence(), Sure(0.7)) == pytest.approx(expected["m"][3], abs=1e-6)
    assert share(Confidence(0.5), Sure(1.0)) == pytest.approx(0.5)


def test_confidence_below_one_half_is_no_bet_and_steps_round():
    result = backtest(BARS, Sure(0.49), sizer=Confidence())
    assert result.signals["outcome"].tolist() == ["zero_size"] and result.orders.empty
    assert Confidence(step=0.25).fractions(np.array([0.55, 0.6, 0.9]), None).tolist() == [0.0, 0.25, 0.75]


def test_a_short_bet_is_as_sure_as_the_fall_is_probable():
    class Falls(Sure):
        def handle_market(self, event):
            return [s for each in super().handle_market(event) for s in self.signal(event, "SELL", each.strength)]

    assert share(Confidence(), Falls(0.3), allow_short=True) == pytest.approx(-share(Confidence(), Sure(0.7)))
    assert share(Confidence(), Scripted({60: "SELL"}), allow_short=True) == pytest.approx(-1.0)  # a rule is sure


def test_kelly_is_the_published_one():
    given_, expected, tolerance = (vector("kelly_even_money")[part] for part in ("inputs", "expected", "tolerance"))
    p, f = given_["p"], expected["f"]
    assert Kelly(1.0, payoff=given_["b"]).fractions(p, None) == pytest.approx(f, abs=tolerance)
    assert p * np.log(1 + f) + (1 - p) * np.log(1 - f) == pytest.approx(expected["log_growth"], abs=tolerance)
    assert share(Kelly(0.5), Sure(0.6)) == pytest.approx(f / 2)
    given_, expected, tolerance = (vector("kelly_continuous")[part] for part in ("inputs", "expected", "tolerance"))
    assert kelly_size(given_["mu"], given_["sigma"] ** 2) == pytest.approx(expected["f"], abs=tolerance)
    assert share(Kelly(0.5, mean=0.06, variance=0.04)) == pytest.approx(0.75)


@given(p=st.floats(0.0, 1.0), payoff=st.floats(0.1, 10.0))
def test_no_other_bet_grows_faster_than_kelly(p, payoff):
    full = float(Kelly(1.0, payoff=payoff).fractions(p, None))
    assert 0.0 <= full <= 1.0

    def growth(f):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(p * np.log1p(payoff * f)) + ((1 - p) * np.log1p(-f) if p < 1 else 0.0)

    others = np.linspace(0.0, 0.999, 50)
    assert (growth(others) <= growth(min(full, 0.9999)) + 1e-3).all()


@pytest.mark.parametrize("make", [
    lambda: Kelly(payoff=np.inf), lambda: Kelly(payoff=0.0), lambda: Kelly(mean=0.01, variance=0.0),
    lambda: Kelly(mean=np.inf, variance=1.0), lambda: Kelly(mean=0.01), lambda: Kelly.from_returns([0.01, 0.01, 0.01]),
    lambda: kelly_estimate([0.01]), lambda: kelly_estimate([0.01, np.nan, 0.02]), lambda: Kelly(0.0)])
def test_an_infinite_edge_is_refused(make):
    with pytest.raises(ValueError, match="Kelly|returns|positive"):
        make()


def test_kelly_says_how_little_a_mean_is_known():
    returns = np.random.default_rng(0).normal(0.0003, 0.01, 1000)
    found = kelly_estimate(returns)
    again = [kelly_estimate(np.random.default_rng(seed).normal(0.0003, 0.01, 1000))["size"] for seed in range(400)]
    assert np.std(again) == pytest.approx(found["standard_error"], rel=0.1)
    with pytest.warns(KellyWarning, match="cannot be told from zero"):
        Kelly.from_returns(returns - returns.mean() + 0.0003)
    assert Kelly.from_returns(returns - returns.mean() + 0.003).mean == pytest.approx(0.003)  # a mean like that is known


def test_volatility_target_holds_what_the_forecast_allows():
    volatility = BARS["close"].pct_change().rolling(20).std() * np.sqrt(365)  # these bars know no weekend
    sizer = VolatilityTarget(0.10)
    assert share(sizer) == pytest.approx(0.10 / volatility.iloc[60])
    assert share(VolatilityTarget(0.10, periods_per_year=252)) == pytest.approx(0.10 / (volatility.iloc[60] / np.sqrt(365 / 252)))
    constant = VolatilityTarget(0.10, model=lambda bars: np.full(len(bars), 0.02), periods_per_year=100)
    assert share(constant) == pytest.approx(0.5)
    assert [share(VolatilityTarget(5.0, max_fraction=most)) for most in (1.0, 0.3)] == pytest.approx([1.0, 0.3])
    with np.errstate(all="raise"):
        assert VolatilityTarget(0.1).fractions(1.0, 0.0) == 1.0  # a market that does not move asks for all of it


def test_what_cash_cannot_pay_is_cut_and_said():
    result = backtest(BARS, BUY, sizer=VolatilityTarget(5.0, max_fraction=20.0))
    order = result.orders.iloc[0]
    assert (order["state"], order["reason"]) == ("partly_filled", "cash")
    limited = backtest(BARS, BUY, sizer=VolatilityTarget(5.0, max_fraction=20.0), risk=RiskManager(max_position=1.0))
    assert limited.signals["outcome"].iloc[0] == "max_position"
    assert limited.risk[["reason", "allowed"]].iloc[0].tolist() == ["max_position", 0.0]


def test_no_forecast_no_trade_and_the_statistics_wait_for_it():
    early = Scripted({5: "BUY", 60: "BUY"})
    result = backtest(BARS, early, sizer=VolatilityTarget(0.10))
    assert result.signals["outcome"].tolist() == ["no_forecast", "order"]
    assert "1 signals were refused" in result.notes()[0]
    assert result.returns.index[0] == BARS.index[21]  # twenty returns need bars 0 to 20, and the next one fills


def test_a_model_sizes_by_confidence_volatility_and_the_state_of_the_portfolio():
    class Told:
        feature_names_in_ = np.array(STATE)
        asked = []

        def predict(self, table):
            self.asked.append(table.iloc[0].tolist())
            return [0.25]

    result = backtest(BARS, Sure(0.8), sizer=ModelSize(Told(), window=10), execution=IDEAL)
    confidence, volatility, drawdown, exposure = Told.asked[-1]
    assert (confidence, drawdown, exposure) == (0.8, 0.0, 0.0)
    assert volatility == pytest.approx(BARS["close"].pct_change().rolling(10).std().iloc[60])
    assert result.fills["quantity"].iloc[0] * BARS["close"].iloc[60] == pytest.approx(25_000)


def test_a_model_can_be_trained_on_what_earlier_trades_came_to():
    first = backtest(load_bars("GE").loc[:"1990"], MeanReversion(10))
    table = sizing_table(first).dropna()
    assert list(table) == [*STATE, "outcome"] and len(table) > 200
    closed = first.trades[first.trades["exit_time"].notna()]
    assert table["outcome"].iloc[-1] == pytest.approx(closed["net_profit"].iloc[-1] / (
        closed["quantity"].iloc[-1] * closed["entry_price"].iloc[-1]))
    assert (table.index < closed["entry_time"].iloc[-len(table):]).all() and (table["drawdown"] <= 0).all()
    model = LinearRegression().fit(table[list(STATE)], 0.5 + 50 * table["outcome"])
    result = backtest(load_bars("GE").loc["1991":"1995"], MeanReversion(10), sizer=ModelSize(model))
    assert result.engine == "replay" and result.fills["quantity"].nunique() > 10


@pytest.mark.parametrize("make, message", [
    (lambda: VolatilityTarget(0.0), "target"), (lambda: VolatilityTarget(-0.1), "target"),
    (lambda: VolatilityTarget(0.1, max_fraction=np.inf), "max_fraction"), (lambda: Confidence(n_classes=1), "n_classes"),
    (lambda: Confidence(step=2.0), "step"), (lambda: VolatilityTarget(0.1, model="garsch"), "ewma"),
    (lambda: VolatilityTarget(0.1, model=LinearRegression()), "features"), (lambda: ModelSize(object()), "regressor"),
    (lambda: ModelSize(LinearRegression().fit(pd.DataFrame({"x": [1.0, 2.0]}), [1, 2])), "confidence"),
    (lambda: backtest(BARS, Sure(1.7), sizer=Confidence()), "1.7"),
    (lambda: backtest(BARS, Sure(-0.2), sizer=Kelly()), "-0.2"),
    (lambda: backtest(BARS, BUY, sizer=VolatilityTarget(model=lambda bars: -bars["close"])), "negative"),
    (lambda: backtest(BARS, BUY, sizer=VolatilityTarget(model=lambda bars: [0.1])), "shape"),
    (lambda: backtest(BARS, BUY, sizer=VolatilityTarget(model=lambda bars: bars["close"] * np.inf)), "infinite"),
    (lambda: backtest(BARS.set_axis(pd.date_range("2020", periods=120, freq="h", tz="UTC")), BUY, sizer=VolatilityTarget()),
     "periods_per_year"),
    (lambda: backtest(BARS, BUY, sizer=ModelSize(type("Nan", (), {"predict": lambda self, table: [np.nan]})())), "NaN")])
def test_bad_input_is_refused_with_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_pegged_market_asks_for_any_size():
    bars = make_bars(np.full(60, 7.45) + 1e-4 * np.sin(np.arange(60)))
    strategy = Scripted({40: "BUY"})
    assert share(VolatilityTarget(0.10, max_fraction=1e9), strategy, bars) > 100
    assert share(VolatilityTarget(0.10), strategy, bars) == pytest.approx(1.0)


def test_a_sweep_combines_sizers_and_instruments():
    tables = {"GE": load_bars("GE").loc["2000":"2004"], "WALK": random_walk(600, 1)}
    sizers = {"all": FixedFraction(1.0), "target": VolatilityTarget(0.1), "half Kelly": Kelly(0.5, mean=2e-4, variance=3e-4)}
    costs = [Costs(), Costs(5, 5, 5)]
    rules = [MeanReversion(10), MeanReversion(20, symbol="GE")]
    table = sweep(tables, rules, costs=costs, sizers=sizers, apart=True, progress=False)
    assert len(table) == 6 * (2 + 1) and table["symbol"].tolist() == ["GE"] * 12 + ["WALK"] * 6
    assert list(table.columns[:3]) == ["symbol", "strategy", "window"]
    for _, row in table.iterrows():
        charges = Costs(row["half_spread_bps"], row["slippage_bps"], row["commission_bps"])
        alone = backtest(tables[row["symbol"]], MeanReversion(int(row["window"])), sizer=sizers[row["sizer"]],
                         execution=RealisticExecutionHandler(charges))
        assert row["order_hash"] == backtest({row["symbol"]: tables[row["symbol"]]}, MeanReversion(int(row["window"])),
                                             sizer=sizers[row["sizer"]],
                                             execution=RealisticExecutionHandler(charges)).order_hash
        assert row["sharpe"] == pytest.approx(alone.metrics["sharpe"])
    two = sweep(tables, rules, costs=costs, sizers=sizers, apart=True, progress=False, n_jobs=2)
    pd.testing.assert_frame_equal(table, two)


@pytest.mark.parametrize("options, message", [
    ({"sizers": []}, "at least one sizer"), ({"sizers": [FixedFraction(1)], "sizer": FixedFraction(1)}, "not both"),
    ({"apart": True}, "dict of bars")])
def test_a_sweep_refuses_what_it_cannot_combine(options, message):
    with pytest.raises(ValueError, match=message):
        sweep(BARS, [MeanReversion(5)], progress=False, **options)
    with pytest.raises(ValueError, match="no strategy trades any"):
        sweep({"A": BARS}, [MeanReversion(5, symbol="B")], apart=True, progress=False)
