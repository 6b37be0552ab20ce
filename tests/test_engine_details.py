"""One rule at a time, each with the number it must give: written against bugs planted in a copy of the engine."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from worlds import Scripted, make_bars, random_bars

from mlkit.engine import (BuyAndHold, Costs, FixedFraction, FixedQuantity, IdealExecutionHandler, MeanReversion,
                          MLStrategy, RealisticExecutionHandler, RiskManager, SignalEvent, Strategy, backtest, compare)
from mlkit.engine.execution import trailing_market
from mlkit.features import LaggedReturns
from mlkit.markets import load_bars

IDEAL, FREE = IdealExecutionHandler(), RealisticExecutionHandler(Costs(0, 0, 0))
FLAT = make_bars([10.0] * 8, volume=1e9)


def run(bars, script, **options):
    return backtest(bars, Scripted(script), **{"execution": IDEAL, "sizer": FixedQuantity(10.0), **options})


# ---- what is measured, by hand


def test_figures_of_two_trades_by_hand():
    """10 units: in at 10, out at 12 after two bars; in at 12, out at 11 after one. Nine bars, the first cannot trade."""
    bars = make_bars([10, 10, 11, 12, 12, 12, 11, 11, 11], volume=1e9)
    result = run(bars, {0: "BUY", 2: "SELL", 4: "BUY", 5: "SELL"}, cash=1000.0,
                 execution=RealisticExecutionHandler(Costs(0, 0, 10)))
    assert result.trades["bars_held"].tolist() == [2, 1]
    assert result.trades[["entry_price", "exit_price"]].to_numpy().tolist() == [[10.0, 12.0], [12.0, 11.0]]
    assert result.metrics["exposure"] == pytest.approx(3 / 8)
    traded = 10 * (10 + 12 + 12 + 11)
    equity = result.equity.iloc[1:]
    assert result.metrics["turnover"] == pytest.approx(traded / equity.mean() * 365 / 8)
    commission = traded * 1e-3
    assert result.metrics["trading_cost"] == pytest.approx(commission)
    assert result.waterfall["gross"] == pytest.approx(10 * ((11 - 10) + (12 - 12))), "decided at 10, 11, 12 and 12"
    assert result.waterfall["delay"] == pytest.approx(10 * (1 - 1)), "12 instead of 11, then 11 instead of 12"
    assert result.metrics["cost_share_of_gross"] == pytest.approx(commission / 10)
    assert result.metrics["total_cost"] == pytest.approx(commission)


def test_trading_cost_leaves_out_the_delay():
    bars = make_bars([10, 12, 12, 12], volume=1e9)
    figures = run(bars, {0: "BUY"}, execution=RealisticExecutionHandler(Costs(0, 0, 10))).metrics
    assert figures["delay_cost"] == pytest.approx(20.0)
    assert figures["trading_cost"] == pytest.approx(0.12) and figures["total_cost"] == pytest.approx(20.12)


@pytest.mark.parametrize(("latency", "first"), [(0, 5), (2, 7)])
def test_statistics_start_at_the_first_bar_that_could_trade(latency, first):
    result = backtest(FLAT, Scripted({}, lookback=5), execution=RealisticExecutionHandler(latency_bars=latency))
    assert result.returns.index[0] == FLAT.index[first]


def test_statistics_start_with_the_first_of_several_instruments():
    late = make_bars([5.0] * 6, volume=1e9, start="2020-01-03")
    assert backtest({"LATE": late, "A": FLAT}, BuyAndHold()).returns.index[0] == FLAT.index[1]


def test_the_hash_changes_with_whatever_an_order_is():
    base = run(FLAT, {1: "BUY"})
    others = [run(FLAT, {2: "BUY"}), run(FLAT, {1: "BUY"}, sizer=FixedQuantity(11.0)),
              run(FLAT, {1: "BUY"}, cash=50.0), run(FLAT, {1: "BUY", 3: "SELL"}), run(FLAT, {7: "BUY"}),
              backtest(FLAT, Scripted({1: "BUY"}, symbol="X"), execution=IDEAL, sizer=FixedQuantity(10.0)),
              run(FLAT.assign(volume=0.0), {1: "BUY"})]
    hashes = [result.order_hash for result in (base, *others)]
    assert len(set(hashes)) == len(hashes)
    long_names = [backtest({"A" * 40 + end: FLAT}, BuyAndHold()).order_hash for end in "xy"]
    assert long_names[0] != long_names[1]


# ---- the warm-up


def test_a_signal_one_bar_before_the_warm_up_is_refused():
    result = backtest(FLAT, Scripted({3: "BUY", 4: "BUY"}, lookback=5), execution=IDEAL)
    assert result.signals["outcome"].tolist() == ["warm_up", "order"]


@pytest.mark.parametrize("engine", ["events", "replay"])
def test_decisions_before_the_warm_up_are_not_taken(engine):
    hold = BuyAndHold()
    hold.lookback = 5
    assert backtest(FLAT, hold, engine=engine).orders["timestamp"].tolist() == [FLAT.index[4]]


# ---- fills


def test_cash_goes_to_the_instruments_in_their_order():
    bars = {"FIRST": FLAT, "SECOND": FLAT, "THIRD": FLAT}
    orders = backtest(bars, BuyAndHold(), execution=IDEAL, sizer=FixedFraction(0.7)).orders.iloc[:3]
    assert orders["symbol"].tolist() == list(bars)
    assert orders["filled"].tolist() == pytest.approx([7000.0, 3000.0, 0.0])
    assert orders["state"].tolist() == ["filled", "partly_filled", "rejected"]


def test_a_level_that_is_touched_exactly_is_met():
    bars = make_bars([100, 100, 100], lows=[100, 100, 95], highs=[100, 100, 101], volume=1e9)
    assert run(bars, {0: ("BUY", 95.0, None)}).exits["cause"].tolist() == ["stop"]
    bars = make_bars([100, 100, 100], highs=[100, 100, 110], volume=1e9)
    assert run(bars, {0: ("BUY", None, 110.0)}).exits["cause"].tolist() == ["target"]


def test_the_open_comes_before_the_rest_of_the_bar():
    """A gap over the target is taken at the open, though the stop is met later in the same bar."""
    bars = make_bars([100, 100, 112], highs=[100, 100, 112], lows=[100, 100, 94], closes=[100, 100, 95], volume=1e9)
    result = run(bars, {0: ("BUY", 95.0, 110.0)})
    assert result.exits["cause"].tolist() == ["target"] and result.fills["reference"].iloc[1] == 112.0


def test_lots_round_down_what_the_cash_can_pay():
    bars = make_bars([10, 10, 13, 13], volume=1e9)
    order = run(bars, {1: "BUY"}, sizer=FixedFraction(1.0, lot_size=1000.0)).orders.iloc[0]
    assert (order["quantity"], order["filled"], order["reason"]) == (10_000.0, 7000.0, "cash")


def test_a_reduction_is_not_held_back_by_lots():
    bars = make_bars([100, 100, 90, 90, 90, 90], lows=[100, 100, 80, 90, 90, 90], volume=[1e9, 1e9, 7.5, 1e9, 1e9, 1e9])
    result = run(bars, {0: ("BUY", 95.0, None), 2: "SELL"}, sizer=FixedQuantity(10.0, lot_size=2.0), execution=FREE)
    assert result.trades["open"].tolist() == [False]


def test_ideal_execution_is_not_capped_by_volume():
    thin = make_bars([10.0] * 4, volume=3.0)
    assert run(thin, {0: "BUY"}).fills["quantity"].tolist() == [10.0]
    assert run(thin, {0: "BUY"}, execution=FREE).fills["quantity"].tolist() == [3.0, 3.0, 3.0]


def test_equity_after_an_unsafe_fill_has_paid_for_it():
    result = run(FLAT, {1: "BUY"}, execution=RealisticExecutionHandler(Costs(0, 0, 100), unsafe_same_bar=True))
    assert result.equity.iloc[1] == pytest.approx(1e5 - 1.0)


def test_borrow_by_the_hour():
    hourly = make_bars([100.0] * 5, volume=1e9, freq="h").tz_localize("UTC")
    charges = Costs(0, 0, 0, borrow_bps_per_year=365)
    result = run(hourly, {0: "SELL"}, allow_short=True, execution=RealisticExecutionHandler(charges))
    assert -result.waterfall["borrow"] == pytest.approx(10 * 100 * 3 / 24 * 1e-4)


def test_orders_at_bankruptcy_expire_with_that_reason():
    late = run(make_bars([10, 10, 25, 25], volume=[1e9, 1e9, 0, 0]), {0: "SELL", 1: "BUY"}, allow_short=True,
               sizer=FixedFraction(1.0))
    assert late.bankrupt and late.orders["reason"].tolist()[-1] == "bankrupt"


def test_a_signal_for_an_instrument_without_a_bar_yet():
    late = make_bars([5.0] * 3, volume=1e9, start="2020-01-05")

    class Eager(Strategy):
        def handle_market(self, event):
            return [SignalEvent(event.timestamp, "LATE", "BUY", 5.0)] if event.timestamp.day == 2 else []

    assert backtest({"A": FLAT, "LATE": late}, Eager()).signals["outcome"].tolist() == ["no_price"]


def test_more_impact_than_price_is_never_a_fill_below_zero():
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.05, 60)))
    volume = np.full(60, 1e6)
    volume[31:55], volume[53] = 1.0, 1e6
    result = run(make_bars(prices, volume=volume), {25: "BUY", 52: "SELL"}, sizer=FixedQuantity(1e4), cash=1e7,
                 execution=RealisticExecutionHandler(Costs(0, 0, 0, impact=1.0)))
    assert (result.fills["price"] > 0).all() and len(result.fills) >= 1


def test_trailing_market_over_the_edge_of_its_chunks():
    rng = np.random.default_rng(0)
    close, volume = np.exp(np.cumsum(rng.normal(0, 0.01, 66_000))), rng.lognormal(10, 1, 66_000)
    volatility, mean_volume = trailing_market(close, volume)
    for at in (21, 65_535, 65_556, 65_557, 65_558, 65_999):
        returns = np.diff(close[at - 21 : at]) / close[at - 21 : at - 1]
        assert volatility[at] == pytest.approx(returns.std(ddof=1), rel=1e-12)
        assert mean_volume[at] == pytest.approx(volume[at - 20 : at].mean(), rel=1e-12)
    assert np.isnan(volatility[:21]).all() and np.isnan(mean_volume[:20]).all()


# ---- risk


def test_the_drawdown_is_measured_from_the_initial_cash():
    bars = make_bars([100, 100, 79, 79, 79, 79], volume=1e9)
    limits = RiskManager(max_drawdown=0.2)
    assert run(bars, {0: "BUY", 2: "SELL", 4: "BUY"}, sizer=FixedFraction(1.0), risk=limits
               ).signals["outcome"].tolist()[-1] == "max_drawdown"
    exact = make_bars([100, 100, 75, 75, 75, 75], volume=1e9)
    assert run(exact, {0: "BUY", 2: "SELL", 4: "BUY"}, sizer=FixedFraction(1.0), risk=RiskManager(max_drawdown=0.25)
               ).signals["outcome"].tolist()[-1] == "order", "at the limit is not beyond it"


@pytest.mark.parametrize(("answer", "message"), [((0.0,), "review gives"), (3.0, "review gives"),
                                                 ((float("nan"), ""), "only reduce")])
def test_what_a_risk_manager_may_answer(answer, message):
    class Odd(RiskManager):
        def review(self, symbol, quantity, portfolio):
            return answer

    with pytest.raises(ValueError, match=message):
        run(FLAT, {0: "BUY"}, risk=Odd())


def test_parts_of_your_own_may_have_settings_of_their_own():
    class Half(RiskManager):
        def __init__(self, share):
            self.share = share

        def review(self, symbol, quantity, portfolio):
            return quantity * self.share, "half"

    class Twice(FixedFraction):
        def __init__(self, times):
            super().__init__(0.2)
            self.times = times

        def size(self, signal, portfolio):
            return self.times * super().size(signal, portfolio)

    assert run(FLAT, {0: "BUY"}, risk=Half(0.5), sizer=Twice(3)).orders["quantity"].tolist() == [3000.0]


# ---- nothing is changed behind your back


def test_a_decide_that_writes_into_its_bars_writes_into_its_own():
    class Writes(Strategy):
        def decide(self, bars):
            bars["x"] = 1.0
            bars.loc[:, "close"] = 1.0
            return np.ones(len(bars))

    bars = random_bars(1)
    before = bars.copy()
    result = backtest(bars, Writes())
    pd.testing.assert_frame_equal(bars, before)
    result.bars["ASSET"].loc[:, "close"] = 5.0
    equity = result.equity
    equity.iloc[:] = 0.0
    pd.testing.assert_frame_equal(bars, before)
    assert result.equity.iloc[0] == 1e5


def test_instruments_that_are_not_traded_need_no_volume_and_no_positive_price():
    bars = {"GE": load_bars("GE").loc["2016":], "WTI": load_bars("WTI")}
    result = backtest(bars, BuyAndHold("GE"), execution=RealisticExecutionHandler(Costs(impact=1.0)))
    assert set(result.signals["symbol"]) == {"GE"}


def test_a_signal_of_your_own_is_not_overruled_by_an_inherited_decide():
    class WithStop(MeanReversion):
        def signal(self, event, direction, strength=1.0):
            stop = event.close * 0.99 if direction == "BUY" else None
            return [SignalEvent(event.timestamp, event.symbol, direction, event.close, stop=stop)]

    assert len(backtest(random_bars(1, n=300), WithStop(5)).exits) > 0


# ---- a model in a strategy


def fitted(bars, flip=False):
    X, up = LaggedReturns(2)(bars), (bars["close"].shift(-1) > bars["close"]).astype(int)
    return LogisticRegression().fit(X.iloc[2:-1], 1 - up.iloc[2:-1] if flip else up.iloc[2:-1])


def test_a_model_buys_above_enter_and_sells_below_exit():
    bars = random_bars(11, n=400)
    model, features = fitted(bars), LaggedReturns(2)
    score = pd.Series(np.nan, bars.index)
    score.iloc[2:] = model.predict_proba(features(bars).iloc[2:])[:, 1]
    enter, exit = score.quantile([0.7, 0.3])
    result = backtest(bars, MLStrategy(model, features, enter=enter, exit=exit))
    signals = result.signals.set_index("timestamp")
    assert (signals["strength"] == score[signals.index]).all() and set(signals["model"]) == {"LogisticRegression"}
    assert (signals.loc[signals["direction"] == "BUY", "strength"] > enter).all()
    assert (signals.loc[signals["direction"] == "SELL", "strength"] < exit).all()
    assert signals.index[0] == score[score > enter].index[0] and len(signals) > 10
    spoken = type("Spoken", (MLStrategy,), {"decide": None, "handle_market": MLStrategy.handle_market})
    assert backtest(bars, spoken(model, features, enter=enter, exit=exit)).order_hash == result.order_hash


def test_the_probability_is_that_of_class_one():
    bars = random_bars(11, n=200)
    for model in (fitted(bars), fitted(bars, flip=True)):
        first = MLStrategy(model, LaggedReturns(2)).scores(bars)[2:]
        assert first == pytest.approx(model.predict_proba(LaggedReturns(2)(bars).iloc[2:])[:, list(model.classes_).index(1)])
    assert first.mean() != pytest.approx(0.5, abs=1e-6)


class Stub:
    """Whatever a model might answer."""

    def __init__(self, answer):
        self.answer = answer

    def predict_proba(self, table):
        return self.answer(table)


@pytest.mark.parametrize(("model", "message"), [
    (LogisticRegression(), "LogisticRegression has not been fitted"),
    (Stub(lambda table: np.full((len(table), 2), np.nan)), "NaN on 2020-01-0"),
    (Stub(lambda table: np.zeros((3, 2))), "shape"),
    (LogisticRegression().fit(pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 1.0]}), ["down", "up"]), "none of them is 1"),
])
def test_a_model_that_cannot_answer_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        backtest(random_bars(1), MLStrategy(model, lambda_feature()))


def lambda_feature():
    return {"a": lambda bars: bars["close"] * 0.0, "b": lambda bars: bars["close"] * 0.0 + 1.0}


def test_a_model_without_classes_and_a_regression_work_too():
    stub = Stub(lambda table: [[0.2, 0.8]] * len(table))
    assert backtest(random_bars(1), MLStrategy(stub, lambda_feature())).orders["quantity"].iloc[0] > 0
    regression = LinearRegression().fit(pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 1.0]}), [0.0, 1.0])
    assert len(backtest(random_bars(1), MLStrategy(regression, lambda_feature(), enter=0.1, exit=0.0)).orders) == 1


def test_a_function_with_a_lookback_is_a_feature_like_any_other():
    def momentum(bars):
        return bars["close"].pct_change(9)

    bars = random_bars(1)
    strategy = MLStrategy(Stub(lambda table: np.tile([0.0, 1.0], (len(table), 1))), momentum)
    with pytest.raises(ValueError, match="set strategy.lookback"):
        backtest(bars, strategy)
    strategy.lookback = 10
    assert backtest(bars, strategy).orders["timestamp"].iloc[0] == bars.index[9]
    momentum.lookback = 10
    assert MLStrategy(strategy.model, momentum).lookback == 10


# ---- options


@pytest.mark.parametrize("options", [{"sizer": 0}, {"sizer": FixedFraction}, {"risk": 0.2}, {"execution": Costs()},
                                     {"execution": "ideal"}, {"cash": True}, {"minimum_edge_bps": 5.0}])
def test_options_of_the_wrong_kind_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        backtest(FLAT, BuyAndHold(), **options)


def test_more_bad_values():
    for make in (lambda: FixedQuantity(None), lambda: FixedFraction("all"), lambda: MeanReversion(2.5),
                 lambda: SignalEvent(FLAT.index[0], "A", "BUY", None), lambda: compare(FLAT, {}),
                 lambda: compare(FLAT, [BuyAndHold()])):
        with pytest.raises(ValueError):
            make()


def test_figures_of_a_short_and_lucky_run_stay_in_the_range_of_floats():
    up = make_bars(np.linspace(100, 120, 10), freq="5min").tz_localize("UTC")
    result = backtest(up, BuyAndHold())
    assert np.isnan(result.metrics["annual_return"]) and "BuyAndHold" in result._repr_html_()


def test_pictures_show_the_instrument_that_is_traded_and_two_lines_of_one_name():
    bars = {"A": random_bars(1), "B": random_bars(2)}
    result = backtest(bars, Scripted({1: "BUY"}, symbol="B"))
    axes = result.plot(result).axes
    assert axes[2].get_ylabel() == "B, price, account currency" and len(axes[0].get_lines()) == 2
