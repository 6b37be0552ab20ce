"""The oracle against cases worked by hand, so that it may judge the engine."""

import math
import random

import pandas as pd
import pytest
from oracle import buy_and_hold, mean_reversion, moving_average_cross, simulate


def make_bars(rows, start="2024-01-01", dates=None):
    """Bars from prices (flat bars) or (open, high, low, close); volume 1,000."""
    rows = [row if isinstance(row, tuple) else (row,) * 4 for row in rows]
    index = pd.DatetimeIndex(dates) if dates else pd.date_range(start, periods=len(rows))
    bars = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float, index=index)
    return bars.assign(volume=1_000.0).rename_axis("timestamp")


def with_volume(bars, volumes):
    return bars.assign(volume=[float(v) for v in volumes])


def ends(run):
    return [(order["state"], order["reason"]) for order in run.orders]


def quantities(run):
    return [fill["quantity"] for fill in run.fills]


def references(run):
    return [fill["reference"] for fill in run.fills]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def buy(i, stop=None, target=None):
    return (i, "BUY", stop, target)


def sell(i, stop=None, target=None):
    return (i, "SELL", stop, target)


# Costs ---------------------------------------------------------------------------------

def test_round_trip_in_a_flat_market_costs_twice_one_way():
    run = simulate(make_bars([100] * 4), [buy(0), sell(1)], units=10,
                   half_spread_bps=2, slippage_bps=3, commission_bps=5)
    # buy  at 100.05: 0.5 of spread and slippage, commission 1000.5 x 5e-4 = 0.50025
    # sell at  99.95: 0.5 of spread and slippage, commission  999.5 x 5e-4 = 0.49975
    assert [fill["price"] for fill in run.fills] == [near(100.05), near(99.95)]
    assert [fill["commission"] for fill in run.fills] == [near(0.50025), near(0.49975)]
    # one way is (2 + 3 + 5) bps of 1,000 = 1
    assert 100_000 - run.cash == near(2.0)
    assert run.equity == [100_000, near(100_000 - 1.00025), near(99_998), near(99_998)]
    assert ends(run) == [("filled", "filled")] * 2


def test_delay_is_signed():
    run = simulate(make_bars([100, 98, 103]), [buy(0), sell(1)], units=10)
    # bought 2 below the decision: -20; sold 5 above the decision: 5 x -10 = -50
    assert [fill["delay"] for fill in run.fills] == [-20, -50]


def test_commission_minimum_is_charged_once_over_partial_fills():
    run = simulate(make_bars([100] * 5), [buy(0)], units=1_200, commission_min=70,
                   commission_bps=1, max_participation=0.5, cash=1e6)
    # 500, 500, 200 units at 1 bp: 5, 5, 2. The first fill pays the whole minimum of 70;
    # nothing is left of it after that, so the others pay their rate.
    assert quantities(run) == [500, 500, 200]
    assert [fill["commission"] for fill in run.fills] == [70, near(5), near(2)]


def test_a_new_order_has_a_new_minimum():
    run = simulate(make_bars([100] * 4), [buy(0), sell(1)], units=1, commission_min=7)
    assert 100_000 - run.cash == 14


def zigzag(n):
    closes = [100.0]
    for i in range(n - 1):
        closes.append(closes[-1] * (1.01 if i % 2 == 0 else 0.99))
    return closes


def test_impact_is_the_square_root_law():
    closes = zigzag(24)
    bars = with_volume(make_bars(closes), [100] * 24)
    run = simulate(bars, [buy(20)], units=25, impact=2.0)
    # 20 returns of +-1 % with mean zero: std = 0.01 sqrt(20/19); sqrt(25/100) = 1/2
    expected = 2.0 * 0.01 * math.sqrt(20 / 19) * 0.5
    assert run.fills[0]["price"] == near(closes[21] * (1 + expected))
    assert run.fills[0]["impact"] == near(closes[21] * expected * 25)


def test_impact_does_not_see_the_fill_bar():
    calm = with_volume(make_bars(zigzag(22)), [100] * 22)
    wild = calm.copy()
    wild.loc[wild.index[21], ["high", "close", "volume"]] = [500.0, 500.0, 9_000.0]
    runs = [simulate(bars, [buy(20)], units=25, impact=1.0) for bars in (calm, wild)]
    assert runs[0].fills == runs[1].fills


def test_impact_without_history_is_rejected():
    bars = make_bars(zigzag(24))
    run = simulate(bars, [buy(19)], units=1, impact=1.0)      # fill bar 20: 19 returns
    assert ends(run) == [("rejected", "no_history")] and run.fills == []
    assert ends(simulate(bars, [buy(20)], units=1, impact=1.0)) == [("filled", "filled")]


def test_borrow_over_a_weekend():
    dates = ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"]    # Thu Fri Mon Tue
    run = simulate(make_bars([100, 100, 110, 110], dates=dates), [sell(0)], units=10,
                   allow_short=True, borrow_bps_per_year=365)
    # 365 bps a year is 1 bp a day. Short from Friday's open, so Friday owes nothing;
    # Monday: 10 x Friday's close 100 x 3 days = 0.3; Tuesday: 10 x 110 x 1 day = 0.11
    assert run.borrow == near(0.41)
    # 100,000 + 1,000 received - 0.41; the short is worth -1,100
    assert run.equity[-1] == near(100_000 + 1_000 - 0.41 - 1_100)


def test_borrow_is_charged_on_the_bar_that_covers_but_not_on_longs():
    bars = make_bars([100] * 4)
    covered = simulate(bars, [sell(0), buy(1)], units=10, allow_short=True,
                       borrow_bps_per_year=365)
    assert covered.borrow == near(0.1)                        # one night short, then long
    assert simulate(bars, [buy(0)], units=10, borrow_bps_per_year=365).borrow == 0


def test_ideal_execution_is_free():
    run = simulate(make_bars([100] * 3), [buy(0)], units=10, half_spread_bps=9, impact=1,
                   commission_min=5, latency_bars=1, max_participation=0.001, ideal=True)
    assert run.equity == [100_000] * 3 and quantities(run) == [10]


# Time, volume, the life of an order ----------------------------------------------------

def test_an_order_fills_at_the_next_open_with_the_size_of_the_close():
    bars = make_bars([(10, 11, 9, 10), (8, 12, 7, 11)])
    run = simulate(bars, [buy(0)], fraction=0.5, cash=1_000)
    # half of 1,000 at the close of 10 is 50 units; they cost 8 each; marked at 11
    assert quantities(run) == [50] and references(run) == [8]
    assert run.equity == [1_000, 1_000 + 50 * 3]


def test_close_only_bars_fill_at_the_next_close():
    bars = make_bars([10, 12, 15])[["close"]]
    run = simulate(bars, [buy(0)], units=5)
    assert references(run) == [12] and run.equity == [100_000, 100_000, 100_015]
    with pytest.raises(ValueError, match="volume"):
        simulate(bars, [buy(0)], units=5, impact=1.0)
    with pytest.raises(ValueError, match="volume"):
        simulate(bars, [buy(0)], units=5, max_participation=0.5)


def test_latency_delays_the_fill_not_the_size():
    run = simulate(make_bars([10, 20, 40, 80, 80]), [buy(0)], fraction=0.1, cash=1_000,
                   latency_bars=2)
    # 100 / 10 = 10 units, filled at bar 3; delay (80 - 10) x 10; 800 of cash is enough
    assert quantities(run) == [10] and references(run) == [80]
    assert run.fills[0]["delay"] == 700


def test_no_volume_no_fill():
    bars = with_volume(make_bars([10, 11, 12, 13]), [9, 0, math.nan, 9])
    for ideal in (False, True):
        run = simulate(bars, [buy(0)], units=5, ideal=ideal)
        assert references(run) == [13] and ends(run) == [("filled", "filled")]


def test_bars_end():
    dry = with_volume(make_bars([10] * 3), [9, 0, 0])
    assert ends(simulate(dry, [buy(0)], units=5)) == [("expired", "end_of_data")]
    assert ends(simulate(make_bars([10]), [buy(0)], units=5)) == [("expired", "end_of_data")]
    thin = with_volume(make_bars([10] * 3), [9, 9, 9])
    run = simulate(thin, [buy(0)], units=50)
    assert ends(run) == [("partly_filled", "end_of_data")] and quantities(run) == [9, 9]


def test_a_newer_order_replaces():
    thin = with_volume(make_bars([10] * 4), [9] * 4)
    run = simulate(thin, [buy(0), sell(1)], units=50)
    assert ends(run) == [("partly_filled", "replaced"), ("filled", "filled")]
    assert [order["quantity"] for order in run.orders] == [50, -9] and run.position == 0
    dry = with_volume(make_bars([10] * 4), [9, 0, 9, 9])
    run = simulate(dry, [buy(0), sell(1)], units=5, allow_short=True)
    assert ends(run) == [("cancelled", "replaced"), ("filled", "filled")]
    assert [order["quantity"] for order in run.orders] == [5, -5]


def test_a_sell_against_a_working_buy_cancels_it():
    dry = with_volume(make_bars([10] * 4), [9, 0, 9, 9])
    run = simulate(dry, [buy(0), sell(1)], units=5)
    assert ends(run) == [("cancelled", "replaced")] and run.fills == []
    assert [s["outcome"] for s in run.signals] == ["order", "order_cancelled"]


def test_vetoes():
    signals = [sell(0), (0, "HOLD", None, None), buy(0), buy(0), buy(1), sell(2)]
    run = simulate(make_bars([10] * 5), signals, units=5)
    assert [s["outcome"] for s in run.signals] == [
        "nothing_to_sell", "hold", "order", "already_long", "already_long", "order"]
    run = simulate(make_bars([10] * 5), [sell(0), sell(1)], units=5, allow_short=True)
    assert [s["outcome"] for s in run.signals] == ["order", "already_short"]


def test_no_phantom_position():
    # in floats, 1.25 less six sales of 0.2 less the rest leaves 5.6e-17 unless it is cleared
    bars = with_volume(make_bars([3.0] * 20), [1.0] * 20)
    run = simulate(bars, [buy(0), sell(9)], units=1.25, max_participation=0.2)
    assert quantities(run) == [near(0.2)] * 6 + [near(0.05)] + [near(-0.2)] * 6 + [near(-0.05)]
    assert run.position == 0 and ends(run) == [("filled", "filled")] * 2


# Cash ----------------------------------------------------------------------------------

def test_a_full_cash_order_after_a_gap_up_is_reduced():
    bars = make_bars([10, 12.5, 12.5])
    run = simulate(bars, [buy(0)], cash=1_000)
    # 100 units wanted; 1,000 / 12.5 = 80
    assert quantities(run) == [80] and run.cash == near(0)
    assert ends(run) == [("partly_filled", "cash")]
    run = simulate(bars, [buy(0)], cash=1_000, commission_min=50)
    assert quantities(run) == [76] and run.cash == near(0)     # (1,000 - 50) / 12.5
    run = simulate(bars, [buy(0)], cash=1_000, commission_bps=2_500)
    assert quantities(run) == [64] and run.cash == near(0)     # 1,000 / (12.5 x 1.25)
    run = simulate(bars, [buy(0)], cash=1_000, commission_min=1_000)
    assert run.fills == [] and ends(run) == [("rejected", "cash")]


def test_a_flat_market_needs_no_reduction():
    run = simulate(make_bars([10.1] * 3), [buy(0)], cash=1_000)
    assert ends(run) == [("filled", "filled")]


@pytest.mark.parametrize("volume", [7, 11, 13, 17, 19, 23, 29, 31])
def test_rounding_is_not_a_shortage_of_cash(volume):
    # exactly all the cash, in several fills whose rounding adds up
    bars = with_volume(make_bars([10.1] * 20), [volume] * 20)
    run = simulate(bars, [buy(0)], cash=1_000)
    assert ends(run) == [("filled", "filled")] and run.cash == pytest.approx(0, abs=1e-9)


def test_size_is_a_share_of_equity_not_of_cash():
    run = simulate(make_bars([100, 100, 200, 200]), [buy(0), sell(2)], fraction=0.1,
                   cash=10_000, allow_short=True)
    # 10 units cost 1,000; at 200 equity is 9,000 + 2,000; a tenth of it is 5.5 units short
    assert quantities(run) == [10, -10, near(-5.5)]


def test_impact_of_the_cash_cap_and_of_the_fill():
    closes = zigzag(22)
    bars = with_volume(make_bars(closes), [100] * 22)
    run = simulate(bars, [buy(20)], units=100, impact=1.0, cash=1_000)
    scale = 0.01 * math.sqrt(20 / 19)
    affordable = 1_000 / (closes[21] * (1 + scale))            # priced as if 100 were bought
    assert quantities(run) == [near(affordable)]
    paid = closes[21] * (1 + scale * math.sqrt(affordable / 100))
    assert run.fills[0]["price"] == near(paid) and run.cash == near(1_000 - affordable * paid)


# Reversals -----------------------------------------------------------------------------

def test_a_reversal_is_one_order_with_two_fills():
    run = simulate(make_bars([100] * 4), [buy(0), sell(1)], units=10, allow_short=True,
                   slippage_bps=100, commission_min=3)
    assert [order["quantity"] for order in run.orders] == [10, -20]
    assert quantities(run) == [10, -10, -10]
    assert [fill["order_id"] for fill in run.fills] == [0, 1, 1]
    # bought at 101, sold twice at 99; two orders, two minimum commissions
    assert run.cash == near(100_000 - 1_010 - 3 + 990 - 3 + 990)
    assert run.equity[-1] == near(run.cash - 1_000) and run.position == -10


def test_a_reversal_shares_the_volume_of_a_bar():
    bars = with_volume(make_bars([100] * 6), [100, 100, 15, 100, 100, 100])
    run = simulate(bars, [buy(0), sell(1)], units=10, allow_short=True)
    assert quantities(run) == [10, -10, -5, -5] and ends(run)[1] == ("filled", "filled")


def test_the_closing_part_needs_no_cash_and_the_opening_part_does():
    run = simulate(make_bars([100, 100, 100, 300]), [sell(0), buy(2)], units=10,
                   allow_short=True, cash=3_000)
    # short 10 at 100: cash 4,000. Cover 10 at 300: cash 1,000. Buy 10 more: 3 1/3 units
    assert quantities(run) == [-10, 10, near(10 / 3)]
    assert ends(run)[1] == ("partly_filled", "cash") and run.cash == near(0)


def test_bankruptcy_stops_the_run():
    run = simulate(make_bars([100, 100, 300, 300, 300]), [sell(0), buy(3)], units=10,
                   allow_short=True, cash=1_500)
    # short 10 at 100: 2,500 of cash; at 300 the debt is 3,000
    assert run.equity == [1_500, 1_500, -500] and len(run.orders) == 1
    thin = with_volume(make_bars([100, 100, 300, 300]), [50, 8, 0, 50])
    run = simulate(thin, [sell(0)], units=10, allow_short=True, cash=1_000)
    assert ends(run) == [("partly_filled", "bankrupt")] and run.equity[-1] == -600


# Stops and targets ---------------------------------------------------------------------

@pytest.mark.parametrize("bar, reason, reference", [
    ((99, 99, 94, 97), "stop", 95),       # through the stop
    ((90, 99, 88, 97), "stop", 90),       # a gap below it fills at the open
    ((101, 106, 101, 104), "target", 105),
    ((108, 109, 107, 108), "target", 108),
    ((100, 106, 94, 100), "stop", 95),    # both in one bar: the stop
])
def test_exits_of_a_long(bar, reason, reference):
    run = simulate(make_bars([100, 100, bar, 100]), [buy(0, stop=95, target=105)], units=10,
                   slippage_bps=100)
    exit = run.fills[1]
    assert exit["timestamp"] == pd.Timestamp("2024-01-03") and exit["quantity"] == -10
    assert exit["reference"] == reference and exit["price"] == near(reference * 0.99)
    level = 95 if reason == "stop" else 105
    assert exit["decision_price"] == level and exit["delay"] == (reference - level) * -10
    assert ends(run) == [("filled", "filled"), ("filled", reason)] and run.position == 0
    assert run.orders[1]["timestamp"] == exit["timestamp"]


@pytest.mark.parametrize("bar, reason, reference", [
    ((101, 106, 101, 103), "stop", 105),
    ((110, 112, 101, 103), "stop", 110),
    ((99, 99, 94, 97), "target", 95),
    ((92, 93, 91, 92), "target", 92),
    ((100, 106, 94, 100), "stop", 105),
])
def test_exits_of_a_short(bar, reason, reference):
    run = simulate(make_bars([100, 100, bar, 100]), [sell(0, stop=105, target=95)], units=10,
                   slippage_bps=100, allow_short=True)
    assert references(run) == [100, reference] and quantities(run) == [-10, 10]
    assert run.fills[1]["price"] == near(reference * 1.01)
    assert ends(run)[1] == ("filled", reason)


def test_the_entry_bar_can_stop_out_and_nothing_is_live_afterwards():
    bars = make_bars([100, (100, 101, 94, 96), (90, 90, 80, 85)])
    run = simulate(bars, [buy(0, stop=95)], units=10)
    assert references(run) == [100, 95] and run.equity == [100_000, 99_950, 99_950]


def test_an_exit_without_volume_waits_for_the_next_open():
    bars = with_volume(make_bars([100, 100, (99, 99, 90, 92), 91, 91]), [50, 50, 0, 50, 50])
    run = simulate(bars, [buy(0, stop=95)], units=10)
    assert references(run) == [100, 91] and ends(run)[1] == ("filled", "stop")
    assert run.orders[1]["timestamp"] == pd.Timestamp("2024-01-03")
    assert run.fills[1]["decision_price"] == 95 and run.fills[1]["delay"] == 40


def test_a_waiting_exit_is_not_decided_twice():
    bars = with_volume(make_bars([100, 100, 90, 90, 91]), [50, 50, 0, 0, 50])
    run = simulate(bars, [buy(0, stop=95)], units=10)
    assert run.exits == 1 and references(run) == [100, 91] and len(run.orders) == 2


def test_an_exit_beyond_the_cap_works_on():
    bars = with_volume(make_bars([100, 100, (99, 99, 90, 92), 91, 91]), [50, 50, 6, 50, 50])
    run = simulate(bars, [buy(0, stop=95)], units=10)
    assert quantities(run) == [10, -6, -4] and references(run) == [100, 95, 91]
    assert len(run.orders) == 2 and ends(run)[1] == ("filled", "stop")


def test_an_exit_replaces_the_rest_of_its_entry():
    bars = with_volume(make_bars([100, 100, (99, 99, 90, 92), 91, 91]), [50, 4, 5, 50, 50])
    run = simulate(bars, [buy(0, stop=95)], units=20)
    # 4 bought, then 5 more at 99 use up the bar in which the stop is touched: the exit
    # of 9 is decided there and sells at the next open
    assert quantities(run) == [4, 5, -9] and references(run) == [100, 99, 91]
    assert ends(run) == [("partly_filled", "replaced"), ("filled", "stop")]


def test_a_reversal_brings_its_own_levels():
    bars = make_bars([100, 100, (100, 100, 90, 100), (100, 120, 100, 110)])
    run = simulate(bars, [buy(0, stop=95), sell(1, stop=115)], units=10, allow_short=True)
    # the long is reversed at the open of bar 2, so its stop at 95 is gone
    assert references(run) == [100, 100, 100, 115] and ends(run)[2] == ("filled", "stop")


# Rules ---------------------------------------------------------------------------------

def decisions(rule, closes, held=0.0):
    return [rule(i, closes[:i + 1], held) for i in range(len(closes))]


def test_mean_reversion():
    # (1, 1, 4): mean 2, std sqrt(3), z = 2/sqrt(3) = 1.15; (4, 1, 1): z = -0.58
    rule = mean_reversion(window=3, enter=-0.5, exit=1.0)
    assert decisions(rule, [4.0, 1.0, 1.0]) == [None, None, "BUY"]
    assert decisions(rule, [4.0, 1.0, 1.0], held=1) == [None, None, None]
    assert decisions(rule, [1.0, 1.0, 4.0], held=1) == [None, None, "SELL"]
    assert decisions(rule, [1.0, 1.0, 4.0]) == [None, None, None]
    assert mean_reversion(window=3, enter=-0.6)(2, [4.0, 1.0, 1.0], 0) is None
    assert decisions(mean_reversion(window=3, enter=9.0), [0.1] * 5) == [None] * 5


def test_moving_average_cross():
    rule = moving_average_cross(1, 3)
    assert decisions(rule, [1.0, 2.0, 3.0, 3.0]) == [None, None, "BUY", "BUY"]
    assert decisions(rule, [3.0, 2.0, 1.0], held=1) == [None, None, "SELL"]
    assert decisions(rule, [0.1] * 4) == [None] * 4


def test_buy_and_hold_is_the_price_ratio():
    run = simulate(make_bars([10, 10, 12, 15]), buy_and_hold(), cash=1_000)
    assert run.equity[-1] == near(1_500) and len(run.orders) == 1


# Accounting on random worlds -----------------------------------------------------------

@pytest.mark.parametrize("seed", range(30))
def test_every_unit_of_money_is_accounted_for(seed):
    rng = random.Random(seed)
    price, rows = 100.0, []
    for _ in range(300):
        opening = price * math.exp(rng.gauss(0, 0.02))
        price = opening * math.exp(rng.gauss(0, 0.02))
        rows.append((opening, max(opening, price) * 1.01, min(opening, price) * 0.99, price))
    volumes = [rng.choice([0, math.nan, 300, 900, 2_000]) for _ in rows]
    bars = with_volume(make_bars(rows), volumes)
    signals = []
    for i in range(25, 300, 5):
        way = rng.choice(["BUY", "SELL"])
        signals.append((i, way, rows[i][3] * (0.95 if way == "BUY" else 1.05), None))
    run = simulate(bars, signals, half_spread_bps=3, slippage_bps=2, commission_bps=1,
                   commission_min=1, impact=0.5, borrow_bps_per_year=300, allow_short=True,
                   max_participation=0.5, latency_bars=seed % 3)

    # gross: every fill at its decision price, what is left marked at the last close
    gross = sum((price - fill["decision_price"]) * fill["quantity"] for fill in run.fills)
    costs = sum(fill[name] for fill in run.fills
                for name in ("delay", "spread", "slippage", "impact", "commission"))
    assert run.equity[-1] == pytest.approx(100_000 + gross - costs - run.borrow, abs=1e-6)
    assert len(run.equity) == 300 and len(run.fills) > 10

    vetoes = sum(signal["outcome"] != "order" for signal in run.signals)
    assert run.exits > 0 and len(run.signals) + run.exits == len(run.orders) + vetoes
    assert all(state != "working" and reason for state, reason in ends(run))
    for order in run.orders:
        filled = sum(f["quantity"] for f in run.fills if f["order_id"] == order["order_id"])
        assert filled == pytest.approx(order["filled"], rel=1e-9)
        assert (order["state"] == "filled") == (order["filled"] == pytest.approx(order["quantity"]))
