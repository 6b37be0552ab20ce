"""The event loop: the specification of the engine, read from top to bottom.

One bar: pay borrow on what was carried in; fill what was queued before it at its
open; trigger stops and targets inside it; mark at its close; look at risk; let the
strategy see it; queue what it decides for the next bar. `Run.run` is that sentence.

The loop is told what to trade by `Book`s, one an instrument, and leaves behind a
`Record`: plain lists that `BacktestResult` turns into tables when asked.
"""

from __future__ import annotations

import math
from numbers import Real

from mlkit.engine.books import Book, Record, WorkingOrder
from mlkit.engine.events import FillEvent, OrderEvent, OrderReason, OrderState, SignalEvent, VetoEvent, VetoReason
from mlkit.engine.execution import IMPACT_WINDOW, fill_price, impact_fraction
from mlkit.engine.portfolio import FLAT_TOLERANCE
from mlkit.engine.risk import checked_answer
from mlkit.engine.sizing import cut_to_lots, whole_lots


class Run:
    """One backtest in progress.

    books : dict of Book, in the order in which instruments are served
    timeline : for each bar of the run's clock, the books that have a bar then
    """

    def __init__(self, books, timeline, strategy, *, portfolio, execution, risk, sizer, allow_short, minimum_edge=0.0):
        self.books, self.timeline, self.strategy = books, timeline, strategy
        self.portfolio, self.execution, self.costs = portfolio, execution, execution.costs
        self.risk, self.sizer = risk, sizer
        self.allow_short, self.lookback, self.minimum_edge = allow_short, strategy.lookback, minimum_edge
        self.vectorised = any(book.decisions is not None for book in books.values())
        self.half_spread, self.slippage = self.costs.half_spread, self.costs.slippage
        self.commission_rate, self.impact = self.costs.commission_rate, self.costs.impact
        self.record = Record()
        self.clock = -1
        self.working = 0  # how many orders are on their way

    def run(self, progress=iter) -> Record:
        portfolio, safe = self.portfolio, not self.execution.unsafe_same_bar
        positions, marks, borrows = portfolio.positions, portfolio.marks, self.costs.borrow_bps_per_year > 0
        hear, equities = self.read_decision if self.vectorised else self.ask_strategy, self.record.equity
        for self.clock, present in enumerate(progress(self.timeline)):
            for book in present:
                book.at += 1
                if borrows and positions[book.symbol] < 0.0:
                    self.accrue_borrow(book)
            if self.working and safe:
                self.fill_orders(present, at_open=True)
            for book in present:
                if book.levels:
                    self.check_levels(book)
                marks[book.symbol] = book.close[book.at]
            equity = portfolio.value()
            if equity > 0.0:
                for book in present:
                    for signal in hear(book):
                        self.take(signal, book)
                if self.working and not safe:
                    self.fill_orders(present, at_open=False)
                    equity = portfolio.value()
            equities.append(equity)
            if equity <= 0.0:
                self.record.bankrupt = True
                break
        self.close_books()
        return self.record

    def close_books(self) -> None:
        """The bars have ended, or the money has: what still works expires."""
        for book in self.books.values():
            if book.order:
                self.retire(book, OrderState.EXPIRED,
                            OrderReason.BANKRUPT if self.record.bankrupt else OrderReason.END_OF_DATA)
            position, mark = self.portfolio.position(book.symbol), self.portfolio.price(book.symbol)
            self.record.positions[book.symbol] = position, mark

    # ---- before the fills

    def accrue_borrow(self, book: Book) -> None:
        """Rent of the shares owed since the previous bar, by calendar day, on the previous close."""
        i = book.at
        fee = float(-self.portfolio.position(book.symbol) * book.close[i - 1] * book.days[i] * self.costs.borrow_per_day)
        self.portfolio.pay(fee)
        self.record.borrow.append((self.clock, book.symbol, fee))

    # ---- fills

    def fill_orders(self, present: list[Book], at_open: bool) -> None:
        """Fill working orders: first whatever reduces a position, then whatever increases one."""
        due = [book for book in present if book.order and book.at >= book.order.eligible]
        for increasing in (False, True):
            for book in due:
                if book.order:
                    self.work(book, (book.open if at_open else book.close)[book.at], increasing)

    def capacity(self, book: Book) -> float:
        """Units that this bar can still give us: none without volume, else the participation cap less our fills."""
        if not book.has_volume:
            return math.inf
        if book.capacity_at != book.at:
            volume, book.capacity_at = book.volume[book.at], book.at
            book.capacity = 0.0
            if volume > 0.0:
                book.capacity = self.costs.max_participation * volume if self.execution.capped else math.inf
        return book.capacity

    def work(self, book: Book, reference: float, increasing: bool) -> None:
        """Fill the reducing or the increasing part of the book's order at this reference price."""
        order, position = book.order, self.portfolio.position(book.symbol)
        left = order.remaining
        against = position * left < 0.0
        if against and not increasing:
            self.execute(book, math.copysign(min(abs(left), abs(position)), left), reference, increasing=False)
        elif increasing and not against:
            self.execute(book, left, reference, increasing=True)

    def execute(self, book: Book, quantity: float, reference: float, increasing: bool) -> None:
        """Fill up to `quantity` (signed) of the book's order, and end the order when it is done."""
        order, lot = book.order, book.order.event.lot_size if increasing else None
        side = 1.0 if quantity > 0.0 else -1.0
        units = whole_lots(min(abs(quantity), self.capacity(book)), lot)
        if units <= 0.0:
            return  # no volume for us: the order waits
        if self.impact and book.at <= IMPACT_WINDOW:
            return self.retire(book, OrderState.REJECTED, OrderReason.NO_HISTORY)
        impact = self.impact_of(book, units)
        if math.isnan(impact):
            return  # nothing has traded for 20 bars: no price for the impact, so the order waits
        price = fill_price(side, reference, self.half_spread, self.slippage, impact)
        if price <= 0.0:
            return  # more impact than price: no one would buy, so the order waits
        short_of_cash = False
        if increasing:
            affordable = max(self.affordable(price, order.fee_left), 0.0)
            if affordable < units:
                short_of_cash, units = True, whole_lots(affordable, lot)
                impact = self.impact_of(book, units)
                price = fill_price(side, reference, self.half_spread, self.slippage, impact)
        if units > 0.0:
            self.fill(book, side * units, reference, price, impact)
        if not order.remaining:
            cause = order.event.cause
            order.state, order.reason = OrderState.FILLED, OrderReason.FILLED if cause == "signal" else cause
            self.release(book)
        elif short_of_cash:
            self.retire(book, OrderState.REJECTED, OrderReason.CASH)

    def impact_of(self, book: Book, units: float) -> float:
        if not self.impact:
            return 0.0
        return float(impact_fraction(self.impact, units, book.volatility[book.at], book.mean_volume[book.at]))

    def affordable(self, price: float, fee_left: float) -> float:
        """The most units that cash can pay, commission included."""
        cash = self.portfolio.cash
        return min(cash / (price * (1.0 + self.commission_rate)), (cash - fee_left) / price)

    def fill(self, book: Book, quantity: float, reference: float, price: float, impact: float) -> None:
        order, units = book.order, abs(quantity)
        commission = max(order.fee_left, self.commission_rate * price * units)
        order.fee_left = max(0.0, order.fee_left - commission)
        event, traded = order.event, reference * units
        before = self.portfolio.position(book.symbol)
        self.portfolio.trade(book.symbol, quantity, price, commission)
        after = self.portfolio.position(book.symbol)
        fill = FillEvent(book.timestamps[book.at], book.symbol, quantity, price, reference, event.decision_price,
                         (reference - event.decision_price) * quantity, traded * self.half_spread,
                         traded * self.slippage, traded * impact, commission, event.order_id)
        self.record.fills.append((self.clock, fill, after))
        book.capacity -= units
        order.filled += quantity
        self.portfolio.working[book.symbol] = order.remaining
        if after == 0.0:
            book.levels = None
        elif before * quantity >= 0.0 and event.cause == "signal":
            book.levels = None if event.stop is event.target is None else (event.stop, event.target)

    # ---- stops and targets

    def check_levels(self, book: Book) -> None:
        """A gap fills at the open, a move through fills at the level, and there the stop comes before the target."""
        i, long = book.at, self.portfolio.position(book.symbol) > 0.0
        for path in ((book.open, book.open), (book.low, book.high)):  # at the open, then inside the bar
            for cause, level in zip(("stop", "target"), book.levels):
                below = long == (cause == "stop")  # is the level met by falling prices?
                price = (path[0] if below else path[1])[i]
                if level is not None and (price <= level if below else price >= level):
                    return self.exit(book, cause, level, price if path[0] is book.open else level)

    def exit(self, book: Book, cause: str, level: float, reference: float) -> None:
        """A child order that leaves the whole position, within this bar."""
        book.levels = None
        self.queue(book, -self.portfolio.position(book.symbol), level, cause=cause)
        self.work(book, reference, increasing=False)

    # ---- signals

    def ask_strategy(self, book: Book) -> list[SignalEvent]:
        """What the strategy says to this bar."""
        if book.ignored:
            return []
        signals = self.strategy.handle_market(next(book.events))
        if signals is None or isinstance(signals, list) and not signals:
            return []
        if not isinstance(signals, (list, tuple)):
            raise ValueError(f"handle_market must return a list of SignalEvent, not {signals!r}")
        return signals

    def read_decision(self, book: Book) -> list[SignalEvent]:
        """The signal behind this bar's decision, when it would change what is held."""
        decision = book.decisions[book.at]
        if not decision:
            return []
        held = self.portfolio.held(book.symbol)
        if decision > 0:
            wanted, direction = held <= 0.0, "BUY"
        else:
            from_flat = held == 0.0 and self.allow_short and self.strategy.shorts_from_flat
            wanted, direction = held > 0.0 or from_flat, "SELL"
        if not wanted:
            return []
        strength = 1.0 if book.scores is None else book.scores[book.at]
        return [SignalEvent(book.timestamps[book.at], book.symbol, direction, book.close[book.at], strength,
                            self.strategy.model_at(book.timestamps[book.at]))]

    def take(self, signal: SignalEvent, book: Book) -> None:
        """Turn a signal into an order or a veto, and write it down."""
        self.check_signal(signal, book)
        outcome = self.follow(signal)
        self.record.signals.append((self.clock, signal, outcome))
        if outcome != "order":
            self.record.vetoes.append(VetoEvent(signal.timestamp, signal.symbol, outcome))

    def check_signal(self, signal: SignalEvent, book: Book) -> None:
        if not isinstance(signal, SignalEvent):
            raise ValueError(f"handle_market must return a list of SignalEvent, not {signal!r} in it")
        if signal.symbol not in self.books:
            raise ValueError(f"signal for {signal.symbol!r}, which has no bars here; there are {', '.join(self.books)}")
        if signal.timestamp != book.timestamps[book.at]:
            raise ValueError(f"signal stamped {signal.timestamp} at the bar of {book.timestamps[book.at]}: "
                             f"use timestamp=event.timestamp")

    def follow(self, signal: SignalEvent) -> str:
        """Queue the order this signal asks for; returns "order", or why there is none."""
        book, symbol = self.books[signal.symbol], signal.symbol
        if book.at < 0:
            return VetoReason.NO_PRICE
        if book.at < self.lookback - 1:
            return VetoReason.WARM_UP
        position, held = self.portfolio.position(symbol), self.portfolio.held(symbol)
        veto = self.stance_veto(signal.direction, held)
        if veto:
            return veto
        target = 0.0
        if signal.direction == "BUY" or self.allow_short:
            if book.sizing is not None and math.isnan(book.sizing[book.at]):
                return VetoReason.NO_FORECAST
            target = self.target_units(signal, book)
            if target == 0.0:
                return VetoReason.ZERO_SIZE
            if signal.direction == "SELL":
                target = -target
        quantity = target - position
        if abs(quantity) <= FLAT_TOLERANCE * max(abs(target), abs(position)):
            self.retire(book, OrderState.CANCELLED, OrderReason.REPLACED)
            return VetoReason.ORDER_CANCELLED
        if self.minimum_edge and target:
            quantity, reason = self.weigh_edge(quantity, book)
            if not quantity:
                return reason
        allowed, reason = self.ask_risk(quantity, book)
        if allowed == 0.0:
            return reason or VetoReason.RISK
        self.queue(book, allowed, self.portfolio.price(symbol), signal=signal)
        return "order"

    def ask_risk(self, quantity: float, book: Book) -> tuple[float, str]:
        """What the risk manager allows of an order, in whole lots, and why not all of it."""
        forecast, known = (math.nan, ()) if book.risk is None else (book.risk[book.at], (book.risk[book.at],))
        allowed, reason = checked_answer(self.risk, quantity, book.symbol,
                                         self.risk.review(book.symbol, quantity, self.portfolio, *known))
        if allowed != quantity:
            allowed = cut_to_lots(allowed, self.portfolio.position(book.symbol), getattr(self.sizer, "lot_size", None))
        if known or allowed != quantity:
            self.record.reviews.append((self.clock, book.symbol, quantity, allowed, str(reason), forecast))
        return allowed, reason

    def weigh_edge(self, quantity: float, book: Book) -> tuple[float, str]:
        """The order if it is expected to pay for its round trip and the margin; else its closing part, and why."""
        position, expected, units = self.portfolio.position(book.symbol), book.edge[book.at], abs(quantity)
        # The impact of a fill at the next bar rests on what this close completes.
        impact = impact_fraction(self.impact, units, *book.market_after(book.at)) if book.at >= IMPACT_WINDOW else 0.0
        needed = self.costs.round_trip(units, book.close[book.at], impact) + self.minimum_edge
        if expected * math.copysign(1.0, quantity) > needed:
            return quantity, ""
        reason = VetoReason.NO_FORECAST if math.isnan(expected) else VetoReason.BELOW_EDGE
        kept = -position if position * quantity < 0.0 else 0.0
        if kept:
            self.record.reviews.append((self.clock, book.symbol, quantity, kept, str(reason), expected))
        return kept, reason

    def stance_veto(self, direction: str, held: float) -> str:
        """Why this direction asks for nothing new, given what is held; "" if it does."""
        if direction == "HOLD":
            return VetoReason.HOLD
        if direction == "BUY":
            return VetoReason.ALREADY_LONG if held > 0.0 else ""
        if held < 0.0:
            return VetoReason.ALREADY_SHORT
        return VetoReason.NOTHING_TO_SELL if held == 0.0 and not self.allow_short else ""

    def target_units(self, signal: SignalEvent, book: Book) -> float:
        known = () if book.sizing is None else (book.sizing[book.at],)
        units = self.sizer.size(signal, self.portfolio, *known)
        if not (isinstance(units, Real) and math.isfinite(units) and units >= 0.0):
            raise ValueError(f"{self.sizer!r} gave {units} units for {signal.symbol} on {signal.timestamp}: "
                             f"a size is a finite number of at least 0")
        return whole_lots(units, getattr(self.sizer, "lot_size", None))

    # ---- the life of an order

    def queue(self, book: Book, quantity: float, decision_price: float, signal: SignalEvent | None = None,
              cause: str = "signal") -> None:
        """A new working order for the book; the one it had, if any, is replaced."""
        if book.order:
            self.retire(book, OrderState.CANCELLED, OrderReason.REPLACED)
        wait = 0 if signal is None or self.execution.unsafe_same_bar else 1 + self.execution.latency_bars
        at = signal.timestamp if signal else book.timestamps[book.at]
        event = OrderEvent(len(self.record.orders) + 1, at, book.symbol, quantity, decision_price, cause,
                           signal.stop if signal else None, signal.target if signal else None,
                           getattr(self.sizer, "lot_size", None) if signal else None)
        book.order = WorkingOrder(event, self.clock, book.at + wait, self.costs.commission_min)
        self.record.orders.append(book.order)
        self.portfolio.working[book.symbol] = quantity
        self.working += 1

    def retire(self, book: Book, state: str, reason: str) -> None:
        book.order.end(state, reason)
        self.release(book)

    def release(self, book: Book) -> None:
        book.order = None
        self.portfolio.working[book.symbol] = 0.0
        self.working -= 1
