"""What the loop writes in: working orders, one book an instrument, and the record of a run.

>>> record = Record()
>>> record.bankrupt
False
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
import pandas as pd

from mlkit.engine.events import MarketEvent, OrderEvent, OrderState
from mlkit.engine.execution import calendar_days, trailing_market
from mlkit.engine.portfolio import FLAT_TOLERANCE
from mlkit.engine.trades import round_trips

FILL_NUMBERS = ("quantity", "price", "reference", "decision_price", "delay", "spread", "slippage", "impact",
                "commission")
REVIEW = ("clock", "symbol", "asked", "allowed", "reason", "forecast")


class WorkingOrder:
    """An order on its way: the frozen request and what has become of it so far."""

    __slots__ = ("event", "clock", "eligible", "filled", "fee_left", "state", "reason")

    def __init__(self, event: OrderEvent, clock: int, eligible: int, fee_left: float):
        self.event = event
        self.clock = clock  # position on the run's clock
        self.eligible = eligible  # first bar of its own book at which it may fill
        self.filled = 0.0
        self.fee_left = fee_left
        self.state = self.reason = ""

    @property
    def remaining(self) -> float:
        left = self.event.quantity - self.filled
        return 0.0 if abs(left) <= FLAT_TOLERANCE * abs(self.event.quantity) else left

    def end(self, state: str, reason: str) -> None:
        self.state = OrderState.PARTLY_FILLED if self.filled else state
        self.reason = reason


class Stamps:
    """Timestamps read one at a time, mostly the same one again."""

    def __init__(self, index: pd.DatetimeIndex):
        self.index, self.at, self.stamp = index, -1, None

    def __getitem__(self, at: int) -> pd.Timestamp:
        if at != self.at:
            self.at, self.stamp = at, self.index[at]
        return self.stamp


def _floats(bars: pd.DataFrame, column: str) -> list[float]:
    return bars[column].to_numpy(dtype=float).tolist()


class Book:
    """One instrument: its bars as plain lists, and where the loop stands in them."""

    def __init__(self, symbol: str, bars: pd.DataFrame, costs, ignored=False, decisions=None, scores=None, sizing=None,
                 risk=None, edge=None):
        self.symbol = symbol
        self.ignored = ignored  # not what the strategy trades
        self.close = _floats(bars, "close")
        whole = "open" in bars
        self.open, self.high, self.low = (_floats(bars, c) if whole else self.close for c in ("open", "high", "low"))
        self.has_volume = "volume" in bars
        self.volume = _floats(bars, "volume") if self.has_volume else [math.nan] * len(self.close)
        # A list of timestamps is slow to make: worth it only where every bar becomes an event.
        self.timestamps = bars.index.tolist() if decisions is None else Stamps(bars.index)
        self.events = map(MarketEvent, self.timestamps, repeat(symbol), self.open, self.high, self.low, self.close,
                          self.volume) if decisions is None else None
        self.at = -1  # the bar the loop stands on
        self.order: WorkingOrder | None = None
        self.levels: tuple | None = None  # the live (stop, target)
        self.capacity = math.inf  # what is left of this bar's volume for us, once asked for
        self.capacity_at = -1
        self.volatility = self.mean_volume = None
        if costs.impact and self.has_volume:
            # One more than there are bars: what the last close completes is known then.
            market = trailing_market(*(np.append(bars[name].to_numpy(dtype=float), np.nan) for name in ("close", "volume")))
            self.volatility, self.mean_volume = (values.tolist() for values in market)
        self.days = calendar_days(bars.index) if costs.borrow_bps_per_year else None
        self.decisions = None if decisions is None else decisions.tolist()
        self.scores = None if scores is None else scores.tolist()
        # What sizer and risk manager forecast at each close, and the return the strategy expects of a trade then.
        self.sizing, self.risk, self.edge = (None if each is None else each.tolist() for each in (sizing, risk, edge))


    def market_after(self, at: int) -> tuple[float, float]:
        """Volatility and mean volume of the 20 bars up to and including this one; (0, 1) where there is no impact."""
        return (self.volatility[at + 1], self.mean_volume[at + 1]) if self.volatility else (0.0, 1.0)


@dataclass(slots=True)
class Record:
    """What a run leaves behind; `clock` is a position on the union of all bars' timestamps."""

    equity: list = field(default_factory=list)  # one a bar
    orders: list = field(default_factory=list)  # WorkingOrder, ended, by order_id
    fills: list = field(default_factory=list)  # (clock, FillEvent, position after it)
    signals: list = field(default_factory=list)  # (clock, SignalEvent, outcome)
    vetoes: list = field(default_factory=list)  # VetoEvent
    borrow: list = field(default_factory=list)  # (clock, symbol, amount)
    reviews: list = field(default_factory=list)  # (clock, symbol, asked, allowed, reason, forecast)
    positions: dict = field(default_factory=dict)  # symbol -> (units, mark) at the end
    bankrupt: bool = False

    def order_keys(self) -> dict[str, np.ndarray]:
        """What identifies the orders: clock, symbol, quantity, filled, and state and reason as bytes."""
        columns = self.order_columns()
        return {**columns, "state": columns["state"].astype("S16"), "reason": columns["reason"].astype("S16")}

    def trades(self) -> dict[str, np.ndarray]:
        """Columns of the trades, flat to flat (`mlkit.engine.trades`)."""
        return round_trips(self.fill_columns(), self.borrow_columns(), self.positions)

    def order_columns(self) -> dict[str, np.ndarray]:
        """Columns of the table of orders, with `clock`, `cause` and `level` beside the public ones."""
        events = [order.event for order in self.orders]
        return {
            "order_id": np.array([e.order_id for e in events], dtype=np.int64),
            "clock": np.array([o.clock for o in self.orders], dtype=np.int64),
            "symbol": np.array([e.symbol for e in events], dtype=object),
            "quantity": np.array([e.quantity for e in events], dtype=float),
            "state": np.array([str(o.state) for o in self.orders], dtype=object),
            "reason": np.array([str(o.reason) for o in self.orders], dtype=object),
            "filled": np.array([o.filled for o in self.orders], dtype=float),
            "cause": np.array([e.cause for e in events], dtype=object),
            "level": np.array([e.decision_price for e in events], dtype=float),
        }

    def fill_columns(self) -> dict[str, np.ndarray]:
        """Columns of the table of fills, with `clock` and `position` (after the fill) beside the public ones."""
        events = [event for _, event, _ in self.fills]
        columns = {"clock": np.array([clock for clock, _, _ in self.fills], dtype=np.int64),
                   "symbol": np.array([e.symbol for e in events], dtype=object)}
        for name in FILL_NUMBERS:
            columns[name] = np.array([getattr(e, name) for e in events], dtype=float)
        columns["order_id"] = np.array([e.order_id for e in events], dtype=np.int64)
        columns["position"] = np.array([position for _, _, position in self.fills], dtype=float)
        return columns

    def signal_columns(self) -> dict[str, np.ndarray]:
        """Columns of the table of signals, with `clock` in place of the timestamp."""
        columns = {"clock": np.array([clock for clock, _, _ in self.signals], dtype=np.int64)}
        for name, kind in (("symbol", object), ("direction", object), ("price", float), ("strength", float),
                           ("model", object)):
            columns[name] = np.array([getattr(signal, name) for _, signal, _ in self.signals], dtype=kind)
        columns["outcome"] = np.array([str(outcome) for _, _, outcome in self.signals], dtype=object)
        return columns

    def review_columns(self) -> dict[str, np.ndarray]:
        """Columns of the table of reviews: what was asked, forecast and allowed, with `clock` for the timestamp."""
        kinds = zip(REVIEW, (np.int64, object, float, float, object, float))
        return {name: np.array([review[at] for review in self.reviews], dtype=kind) for at, (name, kind) in enumerate(kinds)}

    def borrow_columns(self) -> dict[str, np.ndarray]:
        return {"clock": np.array([clock for clock, _, _ in self.borrow], dtype=np.int64),
                "symbol": np.array([symbol for _, symbol, _ in self.borrow], dtype=object),
                "amount": np.array([amount for _, _, amount in self.borrow], dtype=float)}
