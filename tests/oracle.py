"""A slow, plain simulator of one instrument: the second opinion on `mlkit.engine`.

Written from the rules under "Time and fills" in the design, without a look at the
engine, so that the two agree only if both are right. It uses floats, lists and one
loop; pandas is the input format and nothing more. Units: bars are counted from 0,
quantities are signed, costs are positive when paid.

    run = simulate(bars, [(0, "BUY", 95.0, None), (9, "SELL", None, None)], units=10)
    run = simulate(bars, mean_reversion(window=20), commission_bps=1)
    run.orders, run.fills, run.equity, run.cash, run.borrow
"""

import math
import statistics
from dataclasses import dataclass, field

TINY = 1e-12      # relative; anything smaller is rounding
HISTORY = 20      # returns and volumes behind the impact law

STATE_IF_NOTHING_FILLED = {
    "cash": "rejected", "no_history": "rejected",
    "end_of_data": "expired", "bankrupt": "expired",
    "replaced": "cancelled",
}


@dataclass
class Order:
    """One order; `first` is the first bar at whose open it may fill."""
    order_id: int
    index: int
    timestamp: object
    quantity: float
    decision_price: float
    first: int
    levels: tuple             # (stop, target) that its opening fills will set
    success: str = "filled"   # its reason once filled: "filled", "stop" or "target"
    filled: float = 0.0
    commission: float = 0.0
    state: str = "working"
    reason: str = ""

    @property
    def remaining(self):
        left = self.quantity - self.filled
        return 0.0 if abs(left) <= TINY * abs(self.quantity) else left

    def end(self, reason):
        if self.remaining == 0:
            self.state, self.reason = "filled", self.success
        else:
            self.state = "partly_filled" if self.filled else STATE_IF_NOTHING_FILLED[reason]
            self.reason = reason


@dataclass
class Run:
    """What happened, and the account as it stands now."""
    cash: float
    position: float = 0.0
    borrow: float = 0.0
    equity: list = field(default_factory=list)
    orders: list = field(default_factory=list)
    fills: list = field(default_factory=list)
    signals: list = field(default_factory=list)   # index, timestamp, direction, outcome
    exits: int = 0                                # orders born of a stop or a target
    working: object = None
    levels: tuple = (None, None)                  # the live (stop, target)
    traded: float = 0.0                           # units traded in the current bar


def simulate(bars, signals, *, half_spread_bps=0.0, slippage_bps=0.0, commission_bps=0.0,
             commission_min=0.0, impact=0.0, borrow_bps_per_year=0.0, max_participation=1.0,
             latency_bars=0, allow_short=False, fraction=1.0, units=None, cash=100_000.0,
             ideal=False):
    """Run `signals` over `bars` and return a Run.

    signals : list of (bar index, "BUY" | "SELL" | "HOLD", stop or None, target or None),
        or decide(i, closes_so_far, held_units) -> None, a direction, or
        (direction, stop, target).
    fraction, units : size of a position, as a share of equity or as a number of units.
    ideal : no cost of any kind, no latency, no cap; a bar without volume still fills nothing.
    """
    if ideal:
        half_spread_bps = slippage_bps = commission_bps = commission_min = impact = 0.0
        borrow_bps_per_year, max_participation, latency_bars = 0.0, math.inf, 0
    half_spread, slippage = half_spread_bps * 1e-4, slippage_bps * 1e-4
    rate, borrow_rate = commission_bps * 1e-4, borrow_bps_per_year * 1e-4 / 365

    times = list(bars.index)
    closes = [float(x) for x in bars["close"]]
    if "open" in bars:
        opens, highs, lows = ([float(x) for x in bars[c]] for c in ("open", "high", "low"))
    else:
        opens = highs = lows = closes
    if "volume" in bars:
        volumes = [0.0 if math.isnan(x) else float(x) for x in bars["volume"]]
    elif impact > 0 or max_participation < 1:
        raise ValueError("impact and a participation cap need a volume column")
    else:
        volumes = [math.inf] * len(closes)
    if min(opens + lows + closes) <= 0:
        raise ValueError("the oracle knows positive prices only")

    decide = signals if callable(signals) else None
    run = Run(cash=cash)

    def impact_fraction(i, quantity):
        if impact == 0:
            return 0.0
        past = closes[i - HISTORY - 1:i]
        returns = [b / a - 1 for a, b in zip(past, past[1:])]
        mean_volume = sum(volumes[i - HISTORY:i]) / HISTORY
        return impact * statistics.stdev(returns) * math.sqrt(quantity / mean_volume)

    def price_of(i, reference, side, quantity):
        return reference * (1 + side * (half_spread + slippage + impact_fraction(i, quantity)))

    def room_in(i):
        """Units that may still trade in bar i."""
        if volumes[i] == 0:
            return 0.0
        room = max_participation * volumes[i] - run.traded
        return room if room > TINY * run.traded else 0.0

    def book(order, i, reference, side, quantity):
        """One fill: `quantity` > 0 units on `side`."""
        price = price_of(i, reference, side, quantity)
        minimum_left = max(commission_min - order.commission, 0.0)
        commission = max(minimum_left, rate * price * quantity)
        value = reference * quantity
        run.fills.append({
            "timestamp": times[i], "index": i, "quantity": side * quantity, "price": price,
            "reference": reference, "decision_price": order.decision_price,
            "delay": (reference - order.decision_price) * side * quantity,
            "spread": half_spread * value, "slippage": slippage * value,
            "impact": impact_fraction(i, quantity) * value,
            "commission": commission, "order_id": order.order_id,
        })
        run.cash -= side * quantity * price + commission
        before = run.position
        run.position += side * quantity
        reduces = before * side < 0
        if reduces and abs(run.position) <= TINY * max(abs(before), abs(order.quantity)):
            run.position = 0.0
        if run.position == 0:
            run.levels = (None, None)
        elif not reduces:
            run.levels = order.levels
        order.filled += side * quantity
        order.commission += commission
        run.traded += quantity

    def work(i, reference):
        """Fill what bar i allows of the working order: first what closes, then what opens."""
        order = run.working
        if volumes[i] == 0:
            return
        if impact > 0 and i < HISTORY + 1:
            finish("no_history")
            return
        if impact > 0 and sum(volumes[i - HISTORY:i]) == 0:
            return                                # no price for the impact: never a free fill
        side = 1 if order.remaining > 0 else -1
        wanted = abs(order.remaining)
        closing = min(wanted, abs(run.position)) if run.position * side < 0 else 0.0
        opening = wanted - closing if wanted - closing > TINY * abs(order.quantity) else 0.0

        quantity = min(closing, room_in(i))
        if quantity > 0:
            book(order, i, reference, side, quantity)

        out_of_cash = False
        quantity = min(opening, room_in(i))
        if quantity > 0:
            price = price_of(i, reference, side, quantity)
            minimum_left = max(commission_min - order.commission, 0.0)
            affordable = min(run.cash / (price * (1 + rate)), (run.cash - minimum_left) / price)
            if affordable < quantity:
                out_of_cash, quantity = True, affordable
        if quantity > 0:
            book(order, i, reference, side, quantity)

        if out_of_cash or order.remaining == 0:
            finish("cash")                        # or "filled", if nothing remains

    def place(i, quantity, decision_price, first, levels=(None, None), success="filled"):
        """A new order; what was still working for the symbol is cancelled."""
        finish("replaced")
        run.working = Order(len(run.orders), i, times[i], quantity, decision_price, first,
                            levels, success)
        run.orders.append(run.working)

    def finish(reason):
        """End the working order, if there is one; a complete fill overrides the reason."""
        if run.working is not None:
            run.working.end(reason)
            run.working = None

    def exit_touched(i):
        """(kind, level, reference) of the stop or target that bar i reaches, or None."""
        stop, target = run.levels
        if run.position > 0:                      # what the open met comes before what the bar met
            if stop is not None and opens[i] <= stop:
                return "stop", stop, opens[i]
            if target is not None and opens[i] >= target:
                return "target", target, opens[i]
            if stop is not None and lows[i] <= stop:
                return "stop", stop, min(opens[i], stop)
            if target is not None and highs[i] >= target:
                return "target", target, max(opens[i], target)
        if run.position < 0:
            if stop is not None and opens[i] >= stop:
                return "stop", stop, opens[i]
            if target is not None and opens[i] <= target:
                return "target", target, opens[i]
            if stop is not None and highs[i] >= stop:
                return "stop", stop, max(opens[i], stop)
            if target is not None and lows[i] <= target:
                return "target", target, min(opens[i], target)
        return None

    def held():
        left = run.working.remaining if run.working else 0.0
        total = run.position + left
        return 0.0 if abs(total) <= TINY * (abs(run.position) + abs(left)) else total

    def handle(i, direction, levels):
        """Turn one signal into an order or a veto; return its outcome."""
        if direction == "HOLD":
            return "hold"
        if direction == "BUY" and held() > 0:
            return "already_long"
        if direction == "SELL" and held() < 0:
            return "already_short"
        if direction == "SELL" and held() == 0 and not allow_short:
            return "nothing_to_sell"
        size = units if units is not None else fraction * run.equity[i] / closes[i]
        target = size if direction == "BUY" else (-size if allow_short else 0.0)
        quantity = target - run.position
        if abs(quantity) <= TINY * max(abs(target), abs(run.position)):
            finish("replaced")
            return "order_cancelled"
        place(i, quantity, closes[i], i + 1 + latency_bars, levels)
        return "order"

    seen = []                                     # closes up to now: nothing can look ahead
    for i, now in enumerate(times):
        run.traded = 0.0

        if i > 0 and run.position < 0:
            days = (now - times[i - 1]).total_seconds() / 86_400
            owed = -run.position * closes[i - 1] * days * borrow_rate
            run.borrow += owed
            run.cash -= owed

        if run.working is not None and i >= run.working.first:
            work(i, opens[i])

        touched = exit_touched(i)
        if touched:
            kind, level, reference = touched
            run.levels = (None, None)             # a level fires once
            run.exits += 1
            place(i, -run.position, level, i + 1, success=kind)
            work(i, reference)

        seen.append(closes[i])
        run.equity.append(run.cash + run.position * closes[i])
        if run.equity[-1] <= 0:
            finish("bankrupt")
            break

        if decide:
            answer = decide(i, seen, held())
            answer = (answer, None, None) if isinstance(answer, str) else answer
            todays = [answer] if answer else []
        else:
            todays = [signal[1:] for signal in signals if signal[0] == i]
        for direction, stop, target in todays:
            outcome = handle(i, direction, (stop, target))
            run.signals.append({"index": i, "timestamp": now, "direction": direction,
                                "outcome": outcome})
    finish("end_of_data")

    shown = ("order_id", "index", "timestamp", "quantity", "state", "reason", "filled")
    run.orders = [{name: getattr(order, name) for name in shown} for order in run.orders]
    return run


def mean_reversion(window=20, enter=-1.0, exit=0.0):
    """BUY when the z-score of the close (ddof=1) is below `enter`, SELL above `exit`."""
    def decide(i, closes, held):
        if len(closes) < window:
            return None
        recent = closes[-window:]
        spread = statistics.stdev(recent)
        if spread < TINY * abs(closes[-1]):
            return None
        z = (closes[-1] - statistics.mean(recent)) / spread
        if z < enter and held <= 0:
            return "BUY"
        if z > exit and held > 0:
            return "SELL"
        return None
    return decide


def moving_average_cross(fast, slow):
    """BUY while the fast average is above the slow one and not long; SELL the other way."""
    def decide(i, closes, held):
        if len(closes) < slow:
            return None
        fast_average = statistics.mean(closes[-fast:])
        slow_average = statistics.mean(closes[-slow:])
        if fast_average > slow_average and held <= 0:
            return "BUY"
        if fast_average < slow_average and held > 0:
            return "SELL"
        return None
    return decide


def buy_and_hold():
    """BUY whenever flat."""
    def decide(i, closes, held):
        return "BUY" if held == 0 else None
    return decide
