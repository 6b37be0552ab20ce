"""The things that pass through the engine: bar, signal, order, fill and veto.

A bar arrives as a `MarketEvent`; a strategy answers with `SignalEvent`s; each
signal becomes either one `OrderEvent` or one `VetoEvent`; an order becomes none,
one or several `FillEvent`s. All are frozen: what has happened stays as it was.

>>> import pandas as pd
>>> SignalEvent(timestamp=pd.Timestamp("2006-01-03"), symbol="GE", direction="BUY", price=35.4).strength
1.0
"""

from __future__ import annotations

import math
from enum import StrEnum
from numbers import Real

import msgspec
import pandas as pd

DIRECTIONS = ("BUY", "SELL", "HOLD")


class OrderState(StrEnum):
    """How an order ended. Every order ends in exactly one of these."""

    FILLED = "filled"
    PARTLY_FILLED = "partly_filled"  # something was filled, the rest never will be
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class OrderReason(StrEnum):
    """Why it ended so."""

    FILLED = "filled"
    STOP = "stop"  # a filled exit at the stop
    TARGET = "target"  # a filled exit at the target
    CASH = "cash"  # cut to what the cash could pay
    NO_HISTORY = "no_history"  # fewer than 20 returns: the impact cannot be known
    REPLACED = "replaced"  # by a newer order for the same symbol
    END_OF_DATA = "end_of_data"
    BANKRUPT = "bankrupt"


class VetoReason(StrEnum):
    """Why a signal became no order."""

    HOLD = "hold"
    ALREADY_LONG = "already_long"
    ALREADY_SHORT = "already_short"
    NOTHING_TO_SELL = "nothing_to_sell"
    ORDER_CANCELLED = "order_cancelled"  # all it did was to cancel the working order
    WARM_UP = "warm_up"
    NO_PRICE = "no_price"  # the symbol has had no bar yet
    ZERO_SIZE = "zero_size"
    MAX_POSITION = "max_position"
    MAX_EXPOSURE = "max_exposure"
    MAX_DRAWDOWN = "max_drawdown"
    VOLATILITY_LIMIT = "volatility_limit"  # the position is expected to move more than allowed
    DRAWDOWN_LIMIT = "drawdown_limit"  # the account is expected to fall further than allowed
    NO_FORECAST = "no_forecast"  # the sizer, the risk manager or the expected return has none yet
    BELOW_EDGE = "below_edge"  # the expected return does not pay for the round trip and the margin
    RISK = "risk"  # a risk manager that gave no reason


class MarketEvent(msgspec.Struct, frozen=True, gc=False):
    """One bar, known at its close. `volume` is NaN where the source has none."""

    timestamp: pd.Timestamp
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def price(self) -> float:
        return self.close


class SignalEvent(msgspec.Struct, frozen=True, gc=False):
    """What a strategy wants, decided at the close of `timestamp`.

    `direction` is "BUY", "SELL" or "HOLD"; `stop` and `target` are price levels at
    which the position that this signal opens is left again. Raises ValueError for
    another direction, a price that is not finite, or a level on the wrong side.
    """

    timestamp: pd.Timestamp
    symbol: str
    direction: str
    price: float
    strength: float = 1.0
    model: str = ""
    stop: float | None = None
    target: float | None = None

    def __post_init__(self):
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, not {self.direction!r} "
                             f"({self.symbol}, {self.timestamp})")
        if not (isinstance(self.price, Real) and math.isfinite(self.price)):
            raise ValueError(f"a signal needs a finite price, not {self.price} ({self.symbol}, {self.timestamp})")
        if self.stop is None and self.target is None:
            return
        side = -1.0 if self.direction == "SELL" else 1.0
        for name, level, sign in (("stop", self.stop, -side), ("target", self.target, side)):
            if level is not None and not (isinstance(level, Real) and level > 0 and (level - self.price) * sign > 0):
                where = "above" if sign > 0 else "below"
                raise ValueError(f"the {name} of a {self.direction} at {self.price} must lie {where} it, "
                                 f"not at {level} ({self.symbol}, {self.timestamp})")


class OrderEvent(msgspec.Struct, frozen=True, gc=False):
    """A market order: `quantity` is signed, in units, and was fixed at the close of `timestamp`.

    `cause` is "signal", "stop" or "target"; `decision_price` is what a fill without
    any cost or delay would have paid: the close, or the level of the stop or target.
    """

    order_id: int
    timestamp: pd.Timestamp
    symbol: str
    quantity: float
    decision_price: float
    cause: str = "signal"
    stop: float | None = None
    target: float | None = None
    lot_size: float | None = None


class FillEvent(msgspec.Struct, frozen=True, gc=False):
    """Part or all of an order, done. Costs are account currency for this fill, positive = paid."""

    timestamp: pd.Timestamp
    symbol: str
    quantity: float
    price: float
    reference: float
    decision_price: float
    delay: float
    spread: float
    slippage: float
    impact: float
    commission: float
    order_id: int


class VetoEvent(msgspec.Struct, frozen=True, gc=False):
    """A signal that became no order, and why."""

    timestamp: pd.Timestamp
    symbol: str
    reason: str
