"""Limits between a signal and an order.

A risk manager is asked about every order before it is queued and answers with the
quantity it allows and, when that is less than asked, the reason. An order that only
reduces a position always passes; a reversal over a limit is cut down to its closing
part.

>>> RiskManager(max_position=0.5, max_drawdown=0.2)
RiskManager(max_position=0.5, max_exposure=None, max_drawdown=0.2)
"""

from __future__ import annotations

from dataclasses import dataclass

from mlkit.engine.events import VetoReason
from mlkit.engine.portfolio import Portfolio, is_positive

ROUNDING = 1.0 + 1e-9  # a size of exactly the limit must not fail by a rounding error


@dataclass(frozen=True)
class RiskManager:
    """Hard limits, as multiples of equity at the close of the decision; None = no limit.

    max_position : value of one symbol's position
    max_exposure : gross value of all positions, working orders counted
    max_drawdown : below the equity peak, new risk is refused (0.2: a fifth down)
    """

    max_position: float | None = None
    max_exposure: float | None = None
    max_drawdown: float | None = None

    def __post_init__(self):
        for name in ("max_position", "max_exposure", "max_drawdown"):
            value = getattr(self, name)
            if value is not None and not is_positive(value):
                raise ValueError(f"RiskManager: {name} must be a positive number or None, not {value!r}")

    def review(self, symbol: str, quantity: float, portfolio: Portfolio) -> tuple[float, str]:
        """(allowed quantity, reason); the reason is "" when all of it is allowed."""
        position = portfolio.position(symbol)
        after = position + quantity
        if abs(after) <= abs(position) and after * position >= 0:
            return quantity, ""
        reason = self._breach(symbol, abs(after) * portfolio.price(symbol), portfolio)
        if not reason:
            return quantity, ""
        return (-position if after * position < 0 else 0.0), reason

    def _breach(self, symbol: str, value: float, portfolio: Portfolio) -> str:
        equity = portfolio.equity
        if self.max_drawdown is not None and -portfolio.drawdown() > self.max_drawdown:
            return VetoReason.MAX_DRAWDOWN
        if self.max_position is not None and value > self.max_position * equity * ROUNDING:
            return VetoReason.MAX_POSITION
        if self.max_exposure is not None:
            others = portfolio.exposure() * equity - abs(portfolio.held(symbol)) * portfolio.price(symbol)
            if others + value > self.max_exposure * equity * ROUNDING:
                return VetoReason.MAX_EXPOSURE
        return ""
