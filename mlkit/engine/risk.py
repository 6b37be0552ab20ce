"""Limits between a signal and an order.

A risk manager is asked about every order before it is queued and answers with the
quantity it allows and, when that is less than asked, the reason. An order that only
reduces a position always passes; a reversal over a limit is cut down to its closing
part. One with a `forecast(bars)` is also handed that forecast's value at the close;
what it was asked, forecast and allowed is in the result (`BacktestResult.risk`), beside
what happened.

>>> RiskManager(max_position=0.5, max_drawdown=0.2)
RiskManager(max_position=0.5, max_exposure=None, max_drawdown=0.2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mlkit.engine.events import VetoReason
from mlkit.engine.forecasts import Forecast, per_year
from mlkit.engine.portfolio import Portfolio, is_positive
from mlkit.labels import next_drawdown, next_volatility

ROUNDING = 1.0 + 1e-9  # a size of exactly the limit must not fail by a rounding error


@dataclass(frozen=True)
class RiskManager:
    """Hard limits, as multiples of equity at the close of the decision; None = no limit.

    max_position : value of one symbol's position
    max_exposure : gross value of all positions, working orders counted
    max_drawdown : below the equity peak, new risk is refused (0.2: a fifth down); what is held is not
        sold, and may fall further
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
        if _only_reduces(position, after):
            return quantity, ""
        reason = self._breach(symbol, abs(after) * portfolio.price(symbol), portfolio)
        return (_closing_part(position, after), reason) if reason else (quantity, "")

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


def checked_answer(manager, quantity: float, symbol: str, answer) -> tuple[float, str]:
    """A risk manager's answer to an order, or ValueError for one that is none or asks for more."""
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], str)):
        raise ValueError(f"{manager!r} answered {answer!r}: review gives (allowed quantity, reason)")
    allowed = answer[0]
    if not math.isfinite(allowed) or abs(allowed) > abs(quantity) or allowed * quantity < 0.0:
        raise ValueError(f"{manager!r} answered {allowed} to an order of {quantity} {symbol}: it may only reduce an order")
    return answer


def _only_reduces(position: float, after: float) -> bool:
    return abs(after) <= abs(position) and after * position >= 0


def _closing_part(position: float, after: float) -> float:
    return -position if after * position < 0 else 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class _ForecastRisk:
    """What both models of risk share: a horizon, what is done about a breach, and hard limits."""

    horizon: int = 5
    scale: bool = True
    least: float = 0.1
    limits: RiskManager = field(default_factory=RiskManager)
    _forecast: Forecast = field(init=False, repr=False)

    reason = ""  # of a cut or a veto

    def _prepare(self, **budget: float) -> None:
        for name, value in (*budget.items(), ("horizon", self.horizon)):
            if not is_positive(value):
                raise ValueError(f"{type(self).__name__}: {name} must be a positive number, not {value!r}")
        if not 0 <= self.least <= 1 or not isinstance(self.limits, RiskManager):
            raise ValueError(f"{type(self).__name__}: least is a share in [0, 1] and limits a RiskManager(...), not "
                             f"{self.least!r} and {self.limits!r}")
        object.__setattr__(self, "_forecast", Forecast(self.model, self.features))

    def review(self, symbol: str, quantity: float, portfolio: Portfolio, forecast: float) -> tuple[float, str]:
        """As `RiskManager.review`, by this forecast; one that is NaN allows no new risk (`no_forecast`)."""
        position = portfolio.position(symbol)
        after = position + quantity
        if _only_reduces(position, after):
            return quantity, ""
        if math.isnan(forecast):
            return _closing_part(position, after), VetoReason.NO_FORECAST
        room, reason = self.weight(forecast, portfolio) * portfolio.equity / portfolio.price(symbol), ""
        if abs(after) > room * ROUNDING:
            reason, kept = self.reason, _closing_part(position, after)
            cut = math.copysign(room, after) - position
            if self.scale and cut * quantity > 0 and abs(cut) >= self.least * abs(quantity):
                kept = cut
            if not kept:
                return 0.0, reason
            quantity = kept
        allowed, hard = self.limits.review(symbol, quantity, portfolio)
        return allowed, hard or reason


@dataclass(frozen=True, eq=False)
class VolatilityRisk(_ForecastRisk):
    """Keeps the volatility that a position is expected to have within a limit.

    model : forecasts the market's volatility a bar over the next `horizon` bars: "ewma", a fitted EWMA,
        HAR or GARCH, any regressor of `next_volatility` with its `features`, what `walk_forward` found,
        or a function of bars
    max_volatility : the most a position may be expected to move, a year, as a share of equity (0.20 = 20 %)
    horizon : bars ahead that the forecast speaks of; what they came to stands beside it in the result
    scale : True cuts an order to what is allowed, False refuses it whole; one cut to less than `least` of
        what was asked is refused too
    limits : a RiskManager, whose hard limits hold whatever the model says

    |position| / equity x forecast a year <= max_volatility, or the order is cut to that
    (`volatility_limit`). Where the forecast is NaN no new risk is allowed (`no_forecast`). Raises
    ValueError for a negative forecast, and for intraday bars without periods_per_year.
    """

    model: object
    features: object = None
    max_volatility: float = 0.20
    periods_per_year: float | None = None

    reason = VetoReason.VOLATILITY_LIMIT

    def __post_init__(self):
        self._prepare(max_volatility=self.max_volatility)

    def forecast(self, bars: pd.DataFrame) -> np.ndarray:
        """Volatility a year to come, (n,), by each close."""
        values = self._forecast(bars) * per_year(bars, self.periods_per_year)
        return _refuse(values < 0, "negative", values, bars, self)

    def weight(self, forecast: float, portfolio: Portfolio) -> float:
        """The largest position, as a share of equity."""
        return self.max_volatility / forecast if forecast > 0 else math.inf

    def realised(self, bars: pd.DataFrame) -> pd.Series:
        """What the volatility a year of the next `horizon` bars came to, (n,)."""
        return next_volatility(bars, self.horizon)["label"] * per_year(bars, self.periods_per_year)


@dataclass(frozen=True, eq=False)
class DrawdownRisk(_ForecastRisk):
    """Keeps the drawdown that the account is expected to reach within a limit.

    model : forecasts the market's deepest fall over the next `horizon` bars (0 or negative, as
        `next_drawdown`): any regressor of that label with its `features`, what `walk_forward` found, or a
        function of bars
    max_drawdown : how far below its peak the account may be expected to fall (0.20 = a fifth)
    horizon, scale, least, limits : as of VolatilityRisk

    If the market falls as forecast, equity stands at (1 + drawdown) x (1 - weight x fall) of its peak; an
    order is cut to the weight at which that is 1 - max_drawdown (`drawdown_limit`). So the closer the
    account is to its limit, the less it may risk. A short position is taken to be hurt as much by a rise.
    Where the forecast is NaN no new risk is allowed (`no_forecast`). Raises ValueError for a positive forecast.
    """

    model: object
    features: object = None
    max_drawdown: float = 0.20

    reason = VetoReason.DRAWDOWN_LIMIT

    def __post_init__(self):
        self._prepare(max_drawdown=self.max_drawdown)

    def forecast(self, bars: pd.DataFrame) -> np.ndarray:
        """The deepest fall to come, (n,), 0 or negative, by each close."""
        values = self._forecast(bars)
        return _refuse(values > 0, "positive", values, bars, self)

    def weight(self, forecast: float, portfolio: Portfolio) -> float:
        """The largest position, as a share of equity."""
        left = 1.0 - (1.0 - self.max_drawdown) / (1.0 + portfolio.drawdown())
        if left <= 0:
            return 0.0
        return left / -forecast if forecast < 0 else math.inf

    def realised(self, bars: pd.DataFrame) -> pd.Series:
        """What the deepest fall of the next `horizon` bars came to, (n,)."""
        return next_drawdown(bars, self.horizon)["label"]


def _refuse(wrong: np.ndarray, sign: str, values: np.ndarray, bars: pd.DataFrame, owner) -> np.ndarray:
    if wrong.any():
        raise ValueError(f"{type(owner).__name__}: the forecast {owner._forecast.name} is {sign} at {bars.index[wrong][0]}: "
                         f"it should never be")
    return values
