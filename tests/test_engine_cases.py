"""Known failures of other engines, closed forms, and the rules one at a time."""

import math
from collections import deque

import numpy as np
import pandas as pd
import pytest
from worlds import Scripted, make_bars, random_bars

from mlkit.engine import (BuyAndHold, Costs, FixedFraction, FixedQuantity, IdealExecutionHandler, MarketEvent,
                          MeanReversion, MovingAverageCross, RealisticExecutionHandler, RiskManager, SignalEvent,
                          Strategy, backtest, compare)
from mlkit.markets import BarsError, load_bars, random_walk

IDEAL = IdealExecutionHandler()
FREE = Costs(0, 0, 0)


def run(bars, script, **options):
    options.setdefault("execution", IDEAL)
    options.setdefault("sizer", FixedQuantity(10.0))
    return backtest(bars, Scripted(script), **options)


# ---- closed forms


@pytest.mark.parametrize("units", [1.0, 8192.0])
def test_a_round_trip_in_a_flat_market_costs_exactly_twice_the_rates(units):
    bars = make_bars([50.0] * 6, volume=1e9)
    result = run(bars, {1: "BUY", 3: "SELL"}, sizer=FixedQuantity(units), cash=1e6,
                 execution=RealisticExecutionHandler(Costs(3, 4, 5)))
    one_way = units * 50.0 * 7e-4
    commission = units * (50.0 * (1 + 7e-4) + 50.0 * (1 - 7e-4)) * 5e-4  # on the price paid and the price got
    assert result.equity.iloc[-1] == pytest.approx(1e6 - 2 * one_way - commission, abs=1e-9)
    assert commission == pytest.approx(2 * units * 50.0 * 5e-4, abs=1e-9)


def test_buy_and_hold_is_the_price_ratio_less_its_costs():
    bars = load_bars("IBM")
    free = backtest(bars, BuyAndHold(), execution=IDEAL)
    units = min(1e5 / bars["close"].iloc[0], 1e5 / bars["open"].iloc[1])
    assert free.equity.iloc[-1] == pytest.approx(1e5 + units * (bars["close"].iloc[-1] - bars["open"].iloc[1]))
    paid = backtest(bars, BuyAndHold(), execution=RealisticExecutionHandler(Costs(1, 1, 1)))
    price = bars["open"].iloc[1] * 1.0002
    units = min(1e5 / bars["close"].iloc[0], 1e5 / (price * 1.0001))
    expected = 1e5 - units * price * 1.0001 + units * bars["close"].iloc[-1]
    assert paid.equity.iloc[-1] == pytest.approx(expected, rel=1e-12)


# ---- what other engines get wrong


def test_size_is_blind_to_the_next_open():
    calm = make_bars([100, 100, 100, 100], volume=1e9)
    gap = make_bars([100, 100, 40, 100], highs=[100, 100, 100, 100], lows=[100, 100, 40, 100],
                    closes=[100, 100, 100, 100], volume=1e9)
    sizes = [run(bars, {1: "BUY"}, sizer=FixedFraction(1.0)).orders["quantity"].iloc[0] for bars in (calm, gap)]
    assert sizes == [1000.0, 1000.0]


def test_a_full_cash_order_after_a_gap_up_is_reduced_with_a_reason():
    bars = make_bars([100, 100, 125, 125], volume=1e9)
    result = run(bars, {1: "BUY"}, sizer=FixedFraction(1.0))
    order = result.orders.iloc[0]
    assert (order["state"], order["reason"]) == ("partly_filled", "cash")
    assert (order["quantity"], order["filled"]) == (1000.0, 800.0)
    assert result.equity.iloc[-1] == 1e5


def test_a_minimum_fee_is_charged_once_over_partial_fills():
    bars = make_bars([10.0] * 8, volume=40.0)
    result = run(bars, {0: "BUY"}, sizer=FixedQuantity(100.0),
                 execution=RealisticExecutionHandler(Costs(0, 0, 0, commission_min=7, max_participation=1.0)))
    assert result.fills["quantity"].tolist() == [40.0, 40.0, 20.0]
    assert result.fills["commission"].tolist() == [7.0, 0.0, 0.0]
    assert result.orders["state"].tolist() == ["filled"]


@pytest.mark.parametrize("nothing", [0.0, np.nan])
@pytest.mark.parametrize("execution", [IDEAL, RealisticExecutionHandler(Costs(1, 1, 1))])
def test_no_volume_no_fill(nothing, execution):
    bars = make_bars([10, 11, 12, 13, 14], volume=[1e6, nothing, nothing, 1e6, 1e6])
    result = run(bars, {0: "BUY"}, execution=execution)
    assert result.fills["timestamp"].tolist() == [bars.index[3]]
    assert result.fills["reference"].tolist() == [13.0]
    assert result.fills["decision_price"].tolist() == [10.0]


def test_an_order_that_never_meets_volume_expires():
    bars = make_bars([10, 11, 12], volume=[1e6, 0, 0])
    orders = run(bars, {0: "BUY"}).orders
    assert orders[["state", "reason", "filled"]].iloc[0].tolist() == ["expired", "end_of_data", 0.0]


@pytest.mark.parametrize("units", [8192.0, 1e6, 0.1])
def test_no_phantom_position_after_partial_fills(units):
    bars = make_bars([3.3] * 40, volume=units / 7.3)
    result = run(bars, {0: "BUY", 20: "SELL"}, sizer=FixedQuantity(units), cash=1e9,
                 execution=RealisticExecutionHandler(Costs(0, 0, 0)))
    assert len(result.fills) == 16
    assert result.trades["open"].tolist() == [False]
    assert result.orders["state"].tolist() == ["filled", "filled"]
    assert result.metrics["n_open_trades"] == 0 and result.equity.iloc[-1] == result.equity.iloc[-5]


def test_a_stop_through_a_gap_fills_at_the_open_and_slips():
    bars = make_bars([100, 100, 80, 80], closes=[100, 100, 85, 80], volume=1e9)
    result = run(bars, {0: ("BUY", 95.0, None)}, execution=RealisticExecutionHandler(Costs(0, 10, 0)))
    stop = result.fills.iloc[1]
    assert (stop["reference"], stop["decision_price"]) == (80.0, 95.0)
    assert stop["price"] == pytest.approx(80.0 * 0.999)
    assert stop["delay"] == pytest.approx((80.0 - 95.0) * -10.0), "the gap is a cost of delay"
    assert result.exits[["cause", "level"]].iloc[0].tolist() == ["stop", 95.0]
    assert result.counts.tolist() == [1, 1, 2, 0]


def test_a_move_through_the_stop_fills_at_the_stop():
    bars = make_bars([100, 100, 99], lows=[100, 100, 90], closes=[100, 100, 91], volume=1e9)
    result = run(bars, {0: ("BUY", 95.0, None)}, execution=RealisticExecutionHandler(Costs(0, 10, 0)))
    assert result.fills["reference"].tolist() == [100.0, 95.0]
    assert result.fills["price"].iloc[1] == pytest.approx(95.0 * 0.999)
    assert result.orders["reason"].tolist() == ["filled", "stop"]


def test_stop_before_target_when_one_bar_holds_both():
    bars = make_bars([100, 100, 100], highs=[100, 100, 120], lows=[100, 100, 80], volume=1e9)
    result = run(bars, {0: ("BUY", 95.0, 110.0)})
    assert result.exits["cause"].tolist() == ["stop"]
    assert result.equity.iloc[-1] == 1e5 - 50.0


def test_levels_of_a_short_position_are_mirrored():
    bars = make_bars([100, 100, 100, 100], highs=[100, 100, 120, 100], lows=[100, 100, 99, 100], volume=1e9)
    result = run(bars, {0: ("SELL", 110.0, 90.0)}, allow_short=True)
    assert result.fills["reference"].tolist() == [100.0, 110.0]
    assert result.exits["cause"].tolist() == ["stop"]


def test_a_delisting_while_holding_leaves_an_open_trade_and_says_so():
    alive = make_bars([10.0] * 10, volume=1e6)
    gone = make_bars([20, 21, 22, 23], volume=1e6)
    result = backtest({"ALIVE": alive, "GONE": gone}, BuyAndHold(), execution=IDEAL, sizer=FixedQuantity(5.0))
    trade = result.trades.set_index("symbol").loc["GONE"]
    assert trade["open"] and pd.isna(trade["exit_time"]) and math.isnan(trade["exit_price"])
    assert trade["net_profit"] == pytest.approx(5 * (23 - 21))
    assert result.equity.iloc[-1] == pytest.approx(1e5 + 10)
    assert "GONE has no bar after 2020-01-04" in result.notes()[0]
    assert result.metrics["n_trades"] == 0 and result.metrics["n_open_trades"] == 2


def test_unequal_calendars_fill_only_on_their_own_bars():
    both = pd.date_range("2020-01-01", periods=6, name="timestamp")
    a = make_bars([10, 11, 12, 13, 14, 15], volume=1e6)
    b = make_bars([50, 52, 54], volume=1e6).set_axis(both[[0, 3, 5]], axis=0)
    result = backtest({"A": a, "B": b}, BuyAndHold(), execution=IDEAL, sizer=FixedQuantity(1.0))
    fills = result.fills.set_index("symbol")
    assert fills.loc["A", "timestamp"] == both[1] and fills.loc["B", "timestamp"] == both[3]
    assert result.equity.index.equals(both)
    assert result.equity.iloc[4] == pytest.approx(1e5 + (14 - 11) + (52 - 52)), "B is marked at its last close"


def test_the_first_bar_counts_in_the_drawdown():
    bars = make_bars([100, 100, 100], closes=[100, 80, 100], lows=[100, 80, 100], volume=1e9)
    result = run(bars, {0: "BUY"}, sizer=FixedFraction(1.0))
    assert result.metrics["max_drawdown"] == pytest.approx(-0.2)
    assert result.returns.iloc[0] == pytest.approx(-0.2) and len(result.returns) == 2


def test_faulty_bars_are_refused_by_name():
    good = random_bars(1, n=30)
    faulty = {
        "missing": good.assign(close=good["close"].where(good.index != good.index[7])),
        "duplicate": pd.concat([good.iloc[:10], good.iloc[9:]]),
        "unsorted": good.iloc[::-1],
        "low": good.assign(low=good["high"] + 1),
        "non-positive": good - 1000.0,
    }
    for fault, bars in faulty.items():
        with pytest.raises(BarsError, match=fault):
            backtest(bars, BuyAndHold())
    with pytest.raises(BarsError, match="time zones"):
        backtest({"A": good, "B": good.tz_localize("UTC")}, BuyAndHold())
    with pytest.raises(BarsError, match="-36.98"):
        backtest(load_bars("WTI"), BuyAndHold())


# ---- orders and their reasons


def test_a_newer_order_replaces_a_waiting_one():
    bars = make_bars([10.0] * 5, volume=[1e6, 0, 0, 1e6, 1e6])
    result = run(bars, {0: "BUY", 1: "SELL", 2: "BUY"}, allow_short=False)
    assert result.orders["state"].tolist() == ["cancelled", "filled"]
    assert result.orders["reason"].tolist() == ["replaced", "filled"]
    assert result.signals["outcome"].tolist() == ["order", "order_cancelled", "order"]


def test_vetoes_have_reasons():
    bars = make_bars([10.0] * 8, volume=1e6)
    said = {0: "HOLD", 1: "SELL", 2: "BUY", 4: "BUY", 5: "SELL"}
    assert run(bars, said).signals["outcome"].tolist() == ["hold", "nothing_to_sell", "order", "already_long", "order"]
    shorts = run(bars, {0: "SELL", 2: "SELL"}, allow_short=True)
    assert shorts.signals["outcome"].tolist() == ["order", "already_short"]


def test_a_reversal_is_one_order_with_two_fills():
    bars = make_bars([10.0] * 6, volume=1e6)
    result = run(bars, {0: "BUY", 2: "SELL"}, allow_short=True)
    assert result.orders["quantity"].tolist() == [10.0, -20.0]
    assert result.fills["quantity"].tolist() == [10.0, -10.0, -10.0]
    assert result.trades["quantity"].tolist() == [10.0, -10.0]


def test_a_reduction_is_never_refused_for_lack_of_cash():
    """A short that has lost nearly everything can still be bought back."""
    bars = make_bars([10, 10, 10, 19, 19.5, 19.5], volume=1e9)
    result = run(bars, {0: "SELL", 3: "BUY"}, allow_short=True, sizer=FixedFraction(1.0))
    closing, *_ = result.fills["quantity"][1:]
    assert closing == pytest.approx(10_000.0)


def test_bankruptcy_stops_the_run_and_says_so():
    bars = make_bars([10, 10, 25, 30, 10], volume=1e9)
    result = run(bars, {0: "SELL"}, allow_short=True, sizer=FixedFraction(1.0))
    assert result.bankrupt and len(result.equity) == 3 and result.equity.iloc[-1] <= 0
    assert "Bankrupt on 2020-01-03" in result.notes()[0]
    assert result.metrics["annual_return"] == -1.0


def test_an_order_under_impact_without_history_is_rejected():
    bars = random_bars(3, n=40, volume=1e7)
    execution = RealisticExecutionHandler(Costs(impact=1.0))
    early = run(bars, {10: "BUY"}, execution=execution)
    assert early.orders[["state", "reason"]].iloc[0].tolist() == ["rejected", "no_history"]
    result = run(bars, {25: "BUY"}, execution=execution)
    past = bars["close"].iloc[5:26]
    sigma = past.pct_change().dropna().std()
    mean_volume = bars["volume"].iloc[6:26].mean()
    reference = bars["open"].iloc[26]
    assert result.fills["impact"].iloc[0] == pytest.approx(reference * 10 * sigma * math.sqrt(10 / mean_volume))


def test_borrow_accrues_over_the_weekend_on_the_previous_close():
    days = pd.DatetimeIndex(["2020-01-02", "2020-01-03", "2020-01-06"], name="timestamp")
    bars = make_bars([100, 100, 100], closes=[100, 110, 100], highs=[100, 110, 100], volume=1e9).set_axis(days, axis=0)
    result = run(bars, {0: "SELL"}, allow_short=True,
                 execution=RealisticExecutionHandler(Costs(0, 0, 0, borrow_bps_per_year=365)))
    assert -result.waterfall["borrow"] == pytest.approx(10 * 110 * 3 * 365e-4 / 365)


def test_latency_delays_the_fill_not_the_size():
    bars = make_bars([100, 101, 102, 103, 104], volume=1e9)
    late = run(bars, {0: "BUY"}, execution=RealisticExecutionHandler(FREE, latency_bars=2), sizer=FixedFraction(0.5))
    assert late.orders["quantity"].iloc[0] == 500.0
    assert late.fills["timestamp"].iloc[0] == bars.index[3]
    assert late.waterfall["delay"] == pytest.approx(-3 * 500.0)


def test_the_same_bar_fill_is_unsafe_and_stamped():
    bars = make_bars([100, 101, 102], volume=1e9)
    result = run(bars, {1: "BUY"}, execution=RealisticExecutionHandler(FREE, unsafe_same_bar=True))
    assert result.fills["timestamp"].iloc[0] == bars.index[1]
    assert result.unsafe_same_bar and "Unsafe" in result.notes()[0] and "Unsafe" in result._repr_html_()
    with pytest.raises(ValueError, match="latency"):
        RealisticExecutionHandler(unsafe_same_bar=True, latency_bars=1)


def test_reducing_orders_fill_first_and_their_cash_is_used():
    a = make_bars([10.0] * 6, volume=1e9)
    b = make_bars([10.0] * 6, volume=1e9)

    class Rotate(Strategy):
        def handle_market(self, event):
            day = event.timestamp.day
            said = {(1, "B"): "BUY", (3, "B"): "SELL", (3, "A"): "BUY"}.get((day, event.symbol))
            return [SignalEvent(event.timestamp, event.symbol, said, event.price)] if said else []

    result = backtest({"A": a, "B": b}, Rotate(), execution=IDEAL)
    assert result.fills["symbol"].tolist() == ["B", "B", "A"]
    assert result.orders["state"].tolist() == ["filled"] * 3


def test_lots_round_down():
    bars = make_bars([7.0] * 4, volume=1e9)
    result = run(bars, {0: "BUY"}, sizer=FixedFraction(1.0, lot_size=100.0))
    assert result.orders["quantity"].tolist() == [14_200.0]
    tiny = run(bars, {0: "BUY"}, sizer=FixedFraction(1.0, lot_size=1e6))
    assert tiny.signals["outcome"].tolist() == ["zero_size"]


# ---- risk


def test_risk_vetoes_are_events_with_reasons():
    bars = make_bars([100.0] * 6, volume=1e9)
    for limits, reason in ((RiskManager(max_position=0.5), "max_position"),
                           (RiskManager(max_exposure=0.5), "max_exposure")):
        result = run(bars, {0: "BUY"}, risk=limits, sizer=FixedFraction(1.0))
        assert result.signals["outcome"].tolist() == [reason] and len(result.fills) == 0
        allowed = run(bars, {0: "BUY"}, risk=limits, sizer=FixedFraction(0.5))
        assert allowed.signals["outcome"].tolist() == ["order"]


def test_exposure_counts_working_orders_of_the_other_instruments():
    a, b = make_bars([10.0] * 4, volume=1e9), make_bars([20.0] * 4, volume=1e9)
    result = backtest({"A": a, "B": b}, BuyAndHold(), execution=IDEAL, sizer=FixedFraction(0.6),
                      risk=RiskManager(max_exposure=1.0))
    assert set(result.signals.loc[result.signals["symbol"] == "B", "outcome"]) == {"max_exposure"}


def test_a_drawdown_limit_stops_new_risk_but_never_an_exit():
    bars = make_bars([100, 100, 70, 70, 70, 70], volume=1e9)
    result = run(bars, {0: "BUY", 2: "SELL", 4: "BUY"}, sizer=FixedFraction(1.0), risk=RiskManager(max_drawdown=0.2))
    assert result.signals["outcome"].tolist() == ["order", "order", "max_drawdown"]


def test_a_reversal_over_a_limit_is_cut_to_its_closing_part():
    bars = make_bars([100.0] * 6, volume=1e9)
    result = run(bars, {0: "BUY", 2: "SELL"}, allow_short=True, risk=RiskManager(max_exposure=0.1),
                 sizer=FixedFraction(0.1), cash=1e5)
    assert result.orders["quantity"].tolist() == [100.0, -200.0]
    cut = run(bars * [1, 1, 1, 1, 1], {0: "BUY", 2: "SELL"}, allow_short=True, sizer=FixedFraction(0.1),
              risk=_Shrinking())
    assert cut.orders["quantity"].tolist() == [100.0, -100.0]


class _Shrinking(RiskManager):
    """Refuses any short position."""

    def _breach(self, symbol, value, portfolio):
        return "max_position" if portfolio.position(symbol) > 0 else ""


def test_a_risk_manager_may_only_reduce():
    class Doubling(RiskManager):
        def review(self, symbol, quantity, portfolio):
            return 2 * quantity, ""

    with pytest.raises(ValueError, match="only reduce"):
        run(make_bars([10.0] * 3), {0: "BUY"}, risk=Doubling())


# ---- strategies


class Sketch(Strategy):
    """The class of the course's first sketch, unchanged."""

    def __init__(self, symbol, model):
        super().__init__(symbol)
        self.model = model
        self.prices = deque(maxlen=3)

    def handle_market(self, event):
        self.prices.append(event.price)
        if len(self.prices) < 3:
            return []
        row = [[self.prices[-1] / self.prices[0] - 1]]
        if self.model.predict_proba(row)[0][1] > 0.5:
            return [SignalEvent(timestamp=event.timestamp, symbol=event.symbol, direction="BUY", price=event.price)]
        return [SignalEvent(timestamp=event.timestamp, symbol=event.symbol, direction="SELL", price=event.price)]


def test_the_sketch_runs_unchanged():
    class Momentum:
        def predict_proba(self, rows):
            return [[0.0, 1.0] if row[0] > 0 else [1.0, 0.0] for row in rows]

    result = backtest(random_bars(4), Sketch("X", Momentum()))
    assert len(result.fills) > 4
    assert set(result.signals["outcome"]) == {"order", "already_long", "nothing_to_sell"}


def test_the_symbol_comes_from_the_strategy_then_the_bars():
    bars = random_bars(1)
    assert set(backtest(bars, BuyAndHold()).fills["symbol"]) == {"ASSET"}
    assert set(backtest(load_bars("GE").iloc[:50], BuyAndHold()).fills["symbol"]) == {"GE"}
    assert set(backtest(bars, Scripted({0: "BUY"}, symbol="X")).fills["symbol"]) == {"X"}
    with pytest.raises(ValueError, match="'X'.*only for A"):
        backtest({"A": bars}, Scripted({}, symbol="X"))


def test_nothing_is_traded_before_the_warm_up():
    bars = random_bars(1)
    result = backtest(bars, Scripted({3: "BUY", 9: "BUY"}, lookback=10), execution=IDEAL)
    assert result.signals["outcome"].tolist() == ["warm_up", "order"]
    assert result.returns.index[0] == bars.index[10]
    waits = backtest(bars, MeanReversion(20)).orders["timestamp"]
    assert waits.min() >= bars.index[19]


def test_compare_uses_one_span_for_all():
    results = compare(random_bars(1, n=200), {"quick": MeanReversion(5), "slow": MovingAverageCross(10, 60),
                                               "hold": BuyAndHold()})
    assert len({result.returns.index[0] for result in results.values()}) == 1
    assert results["hold"].fills["timestamp"].iloc[0] == results["slow"].bars["ASSET"].index[60]


def test_a_flat_window_gives_no_signal():
    bars = make_bars([0.1] * 60, volume=1e6)
    for strategy in (MeanReversion(20), MovingAverageCross(3, 20)):
        assert len(backtest(bars, strategy).signals) == 0


def test_mean_reversion_by_hand():
    """Closes 10 10 10 7: mean 9.25, standard deviation 1.5 (ddof=1), z = -1.5."""
    bars = make_bars([10, 10, 10, 7, 7, 9, 9], volume=1e9)
    assert backtest(bars, MeanReversion(4, enter=-1.49)).orders["timestamp"].iloc[0] == bars.index[3]
    assert bars.index[3] not in set(backtest(bars, MeanReversion(4, enter=-1.51)).orders["timestamp"])


def test_an_inherited_decide_does_not_overrule_a_new_handle_market():
    class Never(MeanReversion):
        def handle_market(self, event):
            return []

    assert len(backtest(random_bars(2), Never(5)).orders) == 0


@pytest.mark.parametrize(("decide", "message"), [
    (lambda self, bars: np.zeros(3), "shape"),
    (lambda self, bars: np.where(np.arange(len(bars)) == 40, np.nan, 0.0), "nan on 2020"),
    (lambda self, bars: np.where(np.arange(len(bars)) == 40, 2, 0), "2 on 2020"),
])
def test_a_bad_decide_is_refused_with_its_timestamp(decide, message):
    strategy = type("Bad", (Strategy,), {"decide": decide})()
    with pytest.raises(ValueError, match=message):
        backtest(random_bars(2), strategy)


def test_signals_are_checked():
    stamp = pd.Timestamp("2020-01-01")
    with pytest.raises(ValueError, match="BUY, SELL, HOLD"):
        SignalEvent(stamp, "A", "LONG", 10.0)
    with pytest.raises(ValueError, match="finite"):
        SignalEvent(stamp, "A", "BUY", float("nan"))
    with pytest.raises(ValueError, match="stop .* below"):
        SignalEvent(stamp, "A", "BUY", 10.0, stop=11.0)
    with pytest.raises(ValueError, match="target .* below"):
        SignalEvent(stamp, "A", "SELL", 10.0, target=11.0)
    for said, message in ((lambda e: [SignalEvent(stamp, e.symbol, "BUY", 1.0)], "stamped"),
                          (lambda e: [SignalEvent(e.timestamp, "ZZ", "BUY", 1.0)], "'ZZ'"),
                          (lambda e: SignalEvent(e.timestamp, e.symbol, "BUY", 1.0), "a list"),
                          (lambda e: ["BUY"], "list of SignalEvent")):
        strategy = type("Odd", (Strategy,), {"handle_market": lambda self, e, said=said: said(e)})()
        with pytest.raises(ValueError, match=message):
            backtest(random_bars(2), strategy)


def test_events_are_frozen_and_the_bar_s_price_is_its_close():
    event = MarketEvent(pd.Timestamp("2020-01-01"), "A", 1.0, 3.0, 0.5, 2.0, 10.0)
    assert event.price == 2.0
    with pytest.raises(AttributeError):
        event.close = 5.0


# ---- options


@pytest.mark.parametrize(("options", "message"), [
    ({"cash": 0}, "cash"), ({"cash": float("nan")}, "cash"), ({"engine": "fast"}, "engine"),
])
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        backtest(random_bars(1), BuyAndHold(), **options)


@pytest.mark.parametrize("make", [lambda: Costs(half_spread_bps=-1), lambda: Costs(impact=float("inf")),
                                  lambda: Costs(max_participation=0), lambda: Costs(9000, 1000),
                                  lambda: FixedFraction(0), lambda: FixedQuantity(float("nan")),
                                  lambda: RiskManager(max_position=-1), lambda: MeanReversion(1),
                                  lambda: MeanReversion(20, 1, 0), lambda: MovingAverageCross(5, 5),
                                  lambda: RealisticExecutionHandler(latency_bars=-1)])
def test_bad_values_are_refused_when_made(make):
    with pytest.raises(ValueError):
        make()


def test_impact_and_caps_need_volume():
    for charges in (Costs(impact=1.0), Costs(max_participation=0.1)):
        with pytest.raises(ValueError, match="EURUSD has no volume"):
            backtest(load_bars("EURUSD"), BuyAndHold(), execution=RealisticExecutionHandler(charges))


def test_a_strategy_that_says_nothing_is_refused():
    with pytest.raises(ValueError, match="says nothing"):
        backtest(random_bars(1), Strategy())
    with pytest.raises(ValueError, match="instance"):
        backtest(random_bars(1), MeanReversion)


def test_the_result_can_be_looked_at():
    result = backtest(random_walk(300, seed=3), MeanReversion())
    page = result._repr_html_()
    assert "waterfall" in page or "gross" in page
    assert f"{result.metrics['sharpe']:.2f}" in page and "MeanReversion" in repr(result)
    shown, about = result.plot()._repr_mimebundle_()
    assert shown["image/png"].startswith(b"\x89PNG") and "MeanReversion" in shown["text/plain"]
    assert shown["image/png"] == result.plot().png() and "MeanReversion" in about["image/png"]["alt"]
