"""Cash, positions and marks: the only place where money changes hands.

equity = cash + sum of position x mark, at every bar. Strategies, sizers and risk
managers are given the portfolio to read; only the loop calls the methods that
change it.

>>> portfolio = Portfolio(100.0, ["GE"])
>>> portfolio.trade("GE", 2.0, 10.0, commission=1.0)
>>> portfolio.cash, portfolio.position("GE")
(79.0, 2.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real

FLAT_TOLERANCE = 1e-12  # of the larger of position and trade: below it a position is closed


def is_positive(value) -> bool:
    """Whether an option is a finite number above 0 (True and False are no numbers here)."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def add_to_position(position: float, quantity: float) -> float:
    """The position after a trade; what is only rounding error of a closed position is exactly zero."""
    after = position + quantity
    return 0.0 if abs(after) <= FLAT_TOLERANCE * max(abs(position), abs(quantity)) else after


class Portfolio:
    """What is owned and owed.

    cash, equity : account currency; `equity` as of the last mark
    peak : the highest equity so far, the initial cash included
    """

    __slots__ = ("cash", "equity", "peak", "positions", "marks", "working")

    def __init__(self, cash: float, symbols: Iterable[str]):
        self.cash = self.equity = self.peak = cash
        self.positions = dict.fromkeys(symbols, 0.0)
        self.marks = dict.fromkeys(self.positions, 0.0)
        self.working = dict.fromkeys(self.positions, 0.0)

    def position(self, symbol: str) -> float:
        """Units owned (negative: owed)."""
        return self.positions[symbol]

    def held(self, symbol: str) -> float:
        """Units owned once the working order of the symbol, if any, is done."""
        working = self.working[symbol]
        return add_to_position(self.positions[symbol], working) if working else self.positions[symbol]

    def price(self, symbol: str) -> float:
        """The last close of the symbol (0 before its first bar)."""
        return self.marks[symbol]

    def exposure(self) -> float:
        """Gross value of everything held, working orders included, as a multiple of equity."""
        return sum(abs(self.held(s)) * self.marks[s] for s in self.positions) / self.equity

    def drawdown(self) -> float:
        """Equity below its peak, as a fraction of it: 0 at the peak, -0.2 a fifth below."""
        return self.equity / self.peak - 1.0

    def trade(self, symbol: str, quantity: float, price: float, commission: float) -> None:
        self.cash += -(quantity * price) - commission
        self.positions[symbol] = add_to_position(self.positions[symbol], quantity)

    def pay(self, amount: float) -> None:
        self.cash += -amount

    def value(self) -> float:
        """Equity at the marks, remembered with its peak."""
        equity = self.cash
        for symbol, position in self.positions.items():
            if position:
                equity += position * self.marks[symbol]
        self.equity = equity
        if equity > self.peak:
            self.peak = equity
        return equity
