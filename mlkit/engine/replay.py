"""The replay: the loop's orders, fills and equity to the last bit, without its idle bars.

It takes all decisions at once (`Strategy.decide`) and visits only the bars where
something happens, in one of two ways:

- `whole_trades`: long or flat, a size that does not hang on the portfolio, nothing that delays or refuses an order.
  Decisions alternate buy, sell, buy, sell; prices, costs and equity are arrays, and
  only a size that depends on the cash before it is worked out trade by trade.
- `Jump`: anything else that `decide` can say (shorts, borrow, impact, participation
  caps, bars without volume, lots, risk limits, latency). It is the loop itself, every
  fill by the loop's own methods, that skips from one decision or working order to the next.

It does not cover, and `backtest(engine="auto")` runs the event loop for: strategies
without `decide`, several instruments at once, `unsafe_same_bar`, and risk managers,
sizers or execution handlers other than those named in `SIZERS` and beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import zip_longest

import numpy as np

from mlkit.engine.books import Record
from mlkit.engine.events import OrderReason, OrderState
from mlkit.engine.execution import IdealExecutionHandler, RealisticExecutionHandler, fill_price
from mlkit.engine.loop import Run
from mlkit.engine.portfolio import FLAT_TOLERANCE
from mlkit.engine.risk import DrawdownRisk, RiskManager, VolatilityRisk
from mlkit.engine.sizing import Confidence, FixedFraction, FixedQuantity, Kelly, ModelSize, VolatilityTarget

SIZERS = (FixedFraction, FixedQuantity, VolatilityTarget, Confidence, Kelly, ModelSize)
MANAGERS = (RiskManager, VolatilityRisk, DrawdownRisk)
STRETCHES = 1024  # between fills, worked on at once


def why_not(tables: dict, vectorised: bool, execution, risk, sizer) -> str:
    """Why the replay cannot run this backtest; "" if it can."""
    if not vectorised:
        return "the strategy has no decide(bars) of its own"
    if len(tables) > 1:
        return "there are several instruments"
    if type(execution) not in (IdealExecutionHandler, RealisticExecutionHandler) or execution.unsafe_same_bar:
        return "fills at the same bar and execution handlers of your own need the event loop"
    if type(risk) not in MANAGERS or type(getattr(risk, "limits", risk)) not in MANAGERS:
        return f"the risk manager is a {type(getattr(risk, 'limits', risk)).__name__}"
    return "" if type(sizer) in SIZERS else f"the sizer is a {type(sizer).__name__}"


class Prices:
    """The columns of a bars table as arrays: what fills refer to, what is marked, what was traded."""

    __slots__ = ("symbol", "index", "reference", "close", "volume")

    def __init__(self, symbol: str, bars):
        self.symbol, self.index = symbol, bars.index
        self.close = bars["close"].to_numpy(dtype=float)
        self.reference = bars["open"].to_numpy(dtype=float) if "open" in bars else self.close
        self.volume = bars["volume"].to_numpy(dtype=float) if "volume" in bars else None


# ---- whole trades, in arrays


def whole_trades(prices: Prices, plan, *, execution, risk, sizer, cash, allow_short, minimum_edge=0.0,
                 model_at=None) -> Trades | None:
    """The run as arrays, or None where some order would wait, be refused, or open a short position."""
    costs, wait = execution.costs, 1 + execution.latency_bars
    if minimum_edge or not in_whole_trades(execution, risk, sizer, allow_short):
        return None
    scores, at = plan.arrays["scores"], alternating(plan.arrays["decisions"])
    n, fill = len(prices.close), at + wait
    if wait > 1 and len(at) > 1 and (at[1:] - at[:-1]).min() < wait:
        return None  # decided again while an order is still on its way
    filled = fill[: np.searchsorted(fill, n)]
    reference = prices.reference[filled]
    side = np.ones(len(filled))
    side[1::2] = -1.0
    price = fill_price(side, reference, costs.half_spread, costs.slippage, 0.0)
    fractions = None
    if type(sizer) is not FixedQuantity:
        buys, sizing = at[::2], plan.arrays["sizing"]
        fractions = sizer.fractions(np.ones(len(buys)) if scores is None else scores[buys],
                                    None if sizing is None else sizing[buys])
        if not (fractions > 0.0).all():
            return None  # a size of 0, or none that is known
    sized = _sizes(sizer, fractions, cash, prices.close[at], price, costs)
    if sized is None:
        return None
    wanted, units, commission, cash_after = sized
    if prices.volume is not None:
        volume = prices.volume[filled]
        room = costs.max_participation * volume if execution.capped else volume > 0.0
        enough = units <= room if execution.capped else room
        if not ((volume > 0.0) & enough).all():
            return None
    held = np.where(side > 0.0, units, 0.0)
    equity = _equity(prices.close, filled, np.concatenate([[0.0], held]), np.concatenate([[cash], cash_after]))
    if not equity.min() > 0.0:
        return None
    return Trades(prices, costs, at, filled, side, reference, price, wanted, units, commission, held, equity,
                  None if scores is None else scores[at], model_at)


def _equity(close, filled, held, cash) -> np.ndarray:
    """cash + held x close at every bar (n,), from what is held and owned before, between and after the fills.

    Some stretches at a time, so that what is in between stays in the processor's cache.
    """
    edges = np.concatenate([[0], filled, [len(close)]])
    lengths, equity = np.diff(edges), np.empty(len(close))
    for first in range(0, len(held), STRETCHES):
        some = slice(first, first + STRETCHES)
        bars = slice(edges[first], edges[min(first + STRETCHES, len(held))])
        part = np.multiply(np.repeat(held[some], lengths[some]), close[bars], out=equity[bars])
        part += np.repeat(cash[some], lengths[some])
    return equity


def in_whole_trades(execution, risk, sizer, allow_short) -> bool:
    """Whether nothing here can delay, refuse or split an order but the bars themselves."""
    return not (allow_short or execution.costs.impact or risk != RiskManager() or sizer.lot_size is not None
                or type(sizer) is ModelSize)


def alternating(decisions: np.ndarray) -> np.ndarray:
    """Bars of the decisions that change what is held: a buy, the first sell after it, a buy, ..."""
    fresh = decisions != 0
    fresh[1:] &= decisions[1:] != decisions[:-1]  # the same again changes nothing: few are left to look at
    said = np.flatnonzero(fresh)
    codes = decisions[said]
    changes = np.empty(len(said), dtype=bool)
    if len(said):
        changes[0] = codes[0] > 0
        np.not_equal(codes[1:], codes[:-1], out=changes[1:])
    return said[changes]


def _sizes(sizer, fractions, cash, close, price, costs):
    """(units wanted by each order, units of each fill, commissions, cash after each fill), or None.

    fractions : (buys,) of the equity, None for a fixed quantity; close : (orders,) at the decisions; price :
        (fills,). Buys and sells take turns, from flat with `cash`.
    """
    rate, fee, fills = costs.commission_rate, costs.commission_min, len(price)
    wanted, units = np.empty(len(close)), np.empty(fills)
    if type(sizer) is FixedQuantity:
        wanted.fill(sizer.units)
        units.fill(sizer.units)
        commission, money = accounts(cash, price, units, rate, fee)
        before, paid = money[:-1][::2], price[::2]
        if (np.minimum(before / (paid * (1.0 + rate)), (before - fee) / paid) >= sizer.units).all():
            return wanted, units, commission, money[1:]
    fractions = None if fractions is None else fractions.tolist()
    wants, buys = buys_by_cash(sizer, fractions, cash, close[::2].tolist(), price[::2].tolist(), price[1::2].tolist(),
                               rate, fee)
    if not (np.array(buys) > 0.0).all():
        return None
    units = np.repeat(buys, 2)[:fills]
    wanted[::2] = wants
    wanted[1::2] = buys[: len(close) // 2]
    commission, money = accounts(cash, price, units, rate, fee)
    return (wanted, units, commission, money[1:]) if money[2::2].min(initial=1.0) > 0.0 else None


def accounts(cash, price, units, rate, fee):
    """Commission of each fill, and cash before the first and after each: (fills,), (fills + 1,)."""
    commission = rate * price * units
    if fee:
        commission = np.maximum(fee, commission)
    flow = units * price
    flow[::2] *= -1.0
    flow -= commission
    return commission, np.cumsum(np.concatenate([[cash], flow]))


def buys_by_cash(sizer, fractions, cash, close, paid, got, rate, fee):
    """Units wanted and units bought, trade by trade, where a size depends on the money made before it."""
    fixed, gross_up = getattr(sizer, "units", None), 1.0 + rate
    wants, buys = [], []
    for fraction, decided, price, sold in zip_longest(fractions or (), close, paid, got):
        want = fraction * cash / decided if fixed is None else fixed
        wants.append(want)
        if price is None:
            break
        affordable = cash / (price * gross_up)
        if fee:
            affordable = min(affordable, (cash - fee) / price)
        units = affordable if affordable < want else want
        buys.append(units)
        if sold is None:
            continue
        charge, returned = rate * price * units, rate * sold * units
        cash += -(units * price) - (charge if charge > fee else fee)
        cash += units * sold - (returned if returned > fee else fee)
    return wants, buys


def order_keys(at, quantity, filled) -> dict[str, np.ndarray]:
    """What identifies orders that were filled, cut by the cash, or met the end of the bars: columns (orders,)."""
    state, reason = np.empty(len(at), "S16"), np.empty(len(at), "S16")
    state[:], reason[:] = OrderState.FILLED, OrderReason.FILLED
    cut = np.flatnonzero(np.abs(quantity - filled) > FLAT_TOLERANCE * np.abs(quantity))
    if len(cut):
        state[cut], reason[cut] = OrderState.PARTLY_FILLED, OrderReason.CASH
        unmet = cut[filled[cut] == 0.0]
        state[unmet], reason[unmet] = OrderState.EXPIRED, OrderReason.END_OF_DATA
    return {"clock": at, "quantity": quantity, "filled": filled, "state": state, "reason": reason}


class Trades:
    """The record of a run in whole trades: what `Record` is to the loop, its columns made when asked for."""

    bankrupt = False

    def __init__(self, prices, costs, at, filled, side, reference, price, wanted, units, commission, held, equity,
                 scores, model_at):
        self.prices, self.costs, self.at, self.filled, self.side = prices, costs, at, filled, side
        self.reference, self.price, self.wanted, self.units = reference, price, wanted, units
        self.commission, self.held, self.equity = commission, held, equity
        self.scores, self.model_at = scores, model_at
        self.positions = {prices.symbol: (float(held[-1]) if len(held) else 0.0, float(prices.close[-1]))}

    def order_keys(self) -> dict[str, np.ndarray]:
        """What identifies the orders, as `Record.order_keys`."""
        quantity, filled = self.wanted.copy(), np.zeros(len(self.at))
        quantity[1::2] *= -1.0
        np.multiply(self.side, self.units, out=filled[: len(self.filled)])
        return order_keys(self.at, quantity, filled)

    def order_columns(self) -> dict[str, np.ndarray]:
        keys, n = self.order_keys(), len(self.at)
        words = {name: keys[name].astype(str).astype(object) for name in ("state", "reason")}
        return {**keys, **words, "order_id": np.arange(1, n + 1), "cause": np.full(n, "signal", dtype=object),
                "level": self.prices.close[self.at]}

    def fill_columns(self) -> dict[str, np.ndarray]:
        n = len(self.filled)
        quantity, decided, traded = self.side * self.units, self.prices.close[self.at[:n]], self.reference * self.units
        return {"clock": self.filled, "quantity": quantity, "price": self.price, "reference": self.reference,
                "decision_price": decided, "delay": (self.reference - decided) * quantity,
                "spread": traded * self.costs.half_spread, "slippage": traded * self.costs.slippage,
                "impact": np.zeros(n), "commission": self.commission, "order_id": np.arange(1, n + 1),
                "position": self.held}

    def signal_columns(self) -> dict[str, np.ndarray]:
        n = len(self.at)
        strength = np.ones(n) if self.scores is None else self.scores
        return {"clock": self.at, "direction": np.resize(np.array(["BUY", "SELL"], dtype=object), n),
                "price": self.prices.close[self.at], "strength": strength,
                "model": np.array([self.model_at(each) for each in self.prices.index[self.at]], dtype=object),
                "outcome": np.full(n, "order", dtype=object)}

    def borrow_columns(self) -> dict[str, np.ndarray]:
        return {"clock": np.empty(0, dtype=np.int64), "amount": np.empty(0)}

    def review_columns(self) -> dict[str, np.ndarray]:
        return Record().review_columns()  # nobody was asked

    def trades(self) -> dict[str, np.ndarray]:
        """Columns of the trades, as `Record.trades`: each buy with its sell."""
        value = self.side * self.units * self.price
        flow = -value - self.commission
        closed, n = len(self.filled) // 2, (len(self.filled) + 1) // 2
        profit, leave, left = flow[::2].copy(), np.empty(n, dtype=np.int64), np.empty(n)
        leave[closed:], left[closed:] = -1, np.nan
        profit[:closed] += flow[1::2]
        leave[:closed] = self.filled[1::2]
        left[:closed] = value[1::2] / -self.units[1::2]
        is_open = leave < 0
        if n:
            units, mark = self.positions[self.prices.symbol]
            profit[-1] += units * mark
        return {"entry": self.filled[::2], "exit": leave, "quantity": self.units[::2],
                "entry_price": value[::2] / self.units[::2], "exit_price": left, "net_profit": profit, "open": is_open}


# ---- anything else that `decide` can say


class Jump(Run):
    """The loop over one instrument, from one bar where something happens to the next."""

    def run(self, progress=iter):
        book, portfolio, record = next(iter(self.books.values())), self.portfolio, self.record
        symbol, close = book.symbol, np.asarray(book.close)
        decisions = np.asarray(book.decisions)
        self.buys, self.sells = np.flatnonzero(decisions > 0).tolist(), np.flatnonzero(decisions < 0).tolist()
        n, equity = len(close), np.empty(len(close))
        while book.at < n - 1:
            due = min(self.next_bar(book), n)
            done = self.idle(book, due, close, equity)
            if done == due < n:
                self.clock = book.at = due
                if self.costs.borrow_bps_per_year and portfolio.positions[symbol] < 0.0:
                    self.accrue_borrow(book)
                if self.working:
                    self.fill_orders([book], at_open=True)
                portfolio.marks[symbol] = book.close[due]
                equity[due] = portfolio.value()
                if equity[due] > 0.0:
                    for signal in self.read_decision(book):
                        self.take(signal, book)
            if not equity[book.at] > 0.0:
                record.bankrupt = True
                break
        record.equity = equity[: book.at + 1]
        self.close_books()
        return record

    def next_bar(self, book) -> int:
        """The next bar at which an order may fill or a decision would change what is held."""
        after, held = book.at + 1, self.portfolio.held(book.symbol)
        bars = [max(after, book.order.eligible)] if book.order else []
        if held <= 0.0:
            bars += self.buys[(k := bisect_left(self.buys, after)) : k + 1]
        if held > 0.0 or (held == 0.0 and self.allow_short and self.strategy.shorts_from_flat):
            bars += self.sells[(k := bisect_left(self.sells, after)) : k + 1]
        return min(bars, default=len(book.close))

    def idle(self, book, until: int, close: np.ndarray, equity: np.ndarray) -> int:
        """Cash, equity and its peak over the bars in which nothing is done; returns `until`, or where the money ended."""
        first, portfolio = book.at + 1, self.portfolio
        if first >= until:
            return until
        position = portfolio.positions[book.symbol]
        fees = None
        cash = portfolio.cash
        if position < 0.0 and self.costs.borrow_bps_per_year:
            fees = -position * close[first - 1 : until - 1] * book.days[first:until] * self.costs.borrow_per_day
            cash = np.cumsum(np.concatenate([[cash], -fees]))[1:]
        stretch = equity[first:until]
        stretch[:] = cash
        if position:
            stretch += position * close[first:until]
        ends = stretch <= 0.0
        last = first + int(np.argmax(ends)) if position and ends.any() else until - 1
        if fees is not None:
            portfolio.cash = float(cash[last - first])
            self.record.borrow.extend((bar, book.symbol, fee) for bar, fee in
                                      zip(range(first, last + 1), fees.tolist()))
        portfolio.peak = max(portfolio.peak, float(stretch[: last - first + 1].max()))
        book.at = self.clock = last
        portfolio.marks[book.symbol] = book.close[last]
        return until if last == until - 1 and equity[last] > 0.0 else last
