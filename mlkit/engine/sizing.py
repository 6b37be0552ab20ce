"""How much: from a signal to a number of units.

A sizer answers one question at the close on which the signal was made: how many
units should be held if this signal is followed? It sees the portfolio and the price
of then; it never sees the price of the fill.

>>> FixedFraction(0.5)
FixedFraction(fraction=0.5, lot_size=None)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlkit.engine.events import SignalEvent
from mlkit.engine.portfolio import Portfolio, is_positive


def whole_lots(units: float, lot_size: float | None) -> float:
    """`units` rounded down to whole lots (a hair below a whole lot counts as whole)."""
    return units if lot_size is None else math.floor(units / lot_size + 1e-9) * lot_size


def _require_positive(owner: object, **values: float | None) -> None:
    for name, value in values.items():
        if not is_positive(value) and not (name == "lot_size" and value is None):
            raise ValueError(f"{type(owner).__name__}: {name} must be a positive number, not {value!r}")


@dataclass(frozen=True)
class FixedFraction:
    """Hold `fraction` of total equity in the signalled symbol; nothing is reserved for others."""

    fraction: float = 1.0
    lot_size: float | None = None

    def __post_init__(self):
        _require_positive(self, fraction=self.fraction, lot_size=self.lot_size)

    def size(self, signal: SignalEvent, portfolio: Portfolio) -> float:
        return self.fraction * portfolio.equity / portfolio.price(signal.symbol)


@dataclass(frozen=True)
class FixedQuantity:
    """Hold a fixed number of units, whatever they cost."""

    units: float
    lot_size: float | None = None

    def __post_init__(self):
        _require_positive(self, units=self.units, lot_size=self.lot_size)

    def size(self, signal: SignalEvent, portfolio: Portfolio) -> float:
        return self.units
