"""How much: from a signal to a number of units.

A sizer answers one question at the close on which the signal was made: how many
units should be held if this signal is followed? It sees the portfolio and the price
of then; it never sees the price of the fill. One with a `forecast(bars)` is also handed
that forecast's value at the close; where it is NaN, the signal is vetoed (`no_forecast`).

The engine sizes an entry once: a position is not resized while it is held. What cash cannot
pay is cut when the order fills, so no long position is larger than the equity.

>>> float(VolatilityTarget(0.10).fractions(strength=1.0, forecast=0.20))  # half, at 20 % volatility a year
0.5
>>> round(float(Confidence().fractions(strength=0.6, forecast=None)), 3), round(float(Kelly().fractions(0.6, None)), 3)
(0.162, 0.1)
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import pandas as pd
from scipy.special import ndtr

from mlkit.engine.events import SignalEvent
from mlkit.engine.forecasts import Forecast, per_year
from mlkit.engine.portfolio import Portfolio, is_positive
from mlkit.features import Volatility

STATE = ("confidence", "volatility", "drawdown", "exposure")  # what a ModelSize's model reads, in this order


class KellyWarning(UserWarning):
    """A Kelly size from a mean that cannot be told from zero."""


def whole_lots(units: float, lot_size: float | None) -> float:
    """`units` rounded down to whole lots (a hair below a whole lot counts as whole)."""
    return units if lot_size is None else math.floor(units / lot_size + 1e-9) * lot_size


def cut_to_lots(allowed: float, position: float, lot_size: float | None) -> float:
    """What is left of an order that was cut, so that the position it leads to is whole lots; 0.0 if nothing is."""
    after = position + allowed
    if lot_size is None or not allowed or (abs(after) <= abs(position) and after * position >= 0.0):
        return allowed  # it only reduces: no lot is broken that was not before
    kept = math.copysign(whole_lots(abs(after), lot_size), after) - position
    return kept if kept * allowed > 0.0 else 0.0


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

    def fractions(self, strength, forecast):
        return self.fraction if np.ndim(strength) == 0 else np.full(np.shape(strength), self.fraction)

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


class _ByFraction:
    """Sizers whose share of equity depends on the signal and the market alone, never on the portfolio."""

    def size(self, signal: SignalEvent, portfolio: Portfolio, forecast: float | None = None) -> float:
        strength = signal.strength
        if signal.direction == "SELL" and strength != 1.0:
            strength = 1.0 - strength  # a model's strength is the probability of a rise; a rule's is 1, either way
        fraction = float(self.fractions(strength, forecast))
        if math.isnan(fraction):
            raise ValueError(f"{type(self).__name__} reads a probability from 0 to 1, and {signal.model or 'the strategy'} "
                             f"gave a strength of {signal.strength} on {signal.timestamp}")
        return fraction * portfolio.equity / portfolio.price(signal.symbol)


@dataclass(frozen=True, eq=False)
class VolatilityTarget(_ByFraction):
    """Hold what makes the position's volatility `target` a year, by the volatility forecast at the entry.

    target : of the position, a year, as a fraction of equity (0.10 = 10 %)
    model : who forecasts the volatility a bar to come: default the trailing one over `window` close returns,
        or what a `Forecast` takes: "ewma", a fitted model (with `features`), a function of bars
    max_fraction : the most to hold, as a share of equity. A market that hardly moves asks for any size:
        a pegged currency at 1 % a year would be held ten times over
    periods_per_year : bars a year; None = by the distance of the bars, which daily and longer ones tell

    fraction = min(target / (forecast x sqrt(periods_per_year)), max_fraction).
    Moreira & Muir (2017), J. Finance 72, 1611; Harvey et al. (2018), J. Portfolio Management 45.
    """

    target: float = 0.10
    window: int = 20
    model: object = None
    features: object = None
    max_fraction: float = 1.0
    periods_per_year: float | None = None
    lot_size: float | None = None
    _forecast: Forecast = field(init=False, repr=False)

    def __post_init__(self):
        _require_positive(self, target=self.target, max_fraction=self.max_fraction, lot_size=self.lot_size)
        object.__setattr__(self, "_forecast", _volatility_forecast(self.model, self.features, self.window))

    def forecast(self, bars: pd.DataFrame) -> np.ndarray:
        """Volatility a year to come, (n,), by each close."""
        return _not_negative(self._forecast, bars) * per_year(bars, self.periods_per_year)

    def fractions(self, strength, forecast):
        with np.errstate(divide="ignore"):
            return np.minimum(np.divide(self.target, forecast), self.max_fraction)[()]


@dataclass(frozen=True)
class Confidence(_ByFraction):
    """Hold more the surer the model is: the size of a bet from its probability.

    max_fraction : share of equity at certainty
    n_classes : of the model's labels; at a probability of 1 / n_classes the size is 0
    step : round the size to multiples of this share, so that it does not change with every hair (AFML 10.3)

    z = (p - 1/K) / sqrt(p (1 - p)), size = 2 Phi(z) - 1, 0 where that is negative; p is the probability
    of the signalled side. A rule's strength of 1 is certainty.
    Lopez de Prado (2018), Advances in Financial Machine Learning, snippet 10.1.
    """

    max_fraction: float = 1.0
    n_classes: int = 2
    step: float | None = None
    lot_size: float | None = None

    def __post_init__(self):
        _require_positive(self, max_fraction=self.max_fraction, lot_size=self.lot_size)
        if self.n_classes < 2 or not (self.step is None or 0 < self.step <= 1):
            raise ValueError(f"Confidence: n_classes is at least 2 and step in (0, 1], not {self.n_classes}, {self.step}")

    def fractions(self, strength, forecast):
        p = np.asarray(strength, dtype=float)
        p = np.where((p >= 0) & (p <= 1), p, np.nan)
        with np.errstate(divide="ignore"):
            size = 2.0 * ndtr((p - 1.0 / self.n_classes) / np.sqrt(p * (1.0 - p))) - 1.0
        if self.step is not None:
            size = np.round(size / self.step) * self.step
        return (np.maximum(size, 0.0) * self.max_fraction)[()]


@dataclass(frozen=True)
class Kelly(_ByFraction):
    """A fraction of the size that makes wealth grow fastest, if the edge is what it is thought to be.

    fraction : of full Kelly; a half gives up a quarter of the growth for half of the swings
    payoff : average win over average loss; the signal's strength is the probability of winning, and the
        full size p - (1 - p) / payoff (Kelly 1956, Bell System Technical Journal 35, 917)
    mean, variance : of returns a bar (or a trade); given both, the full size is mean / variance whatever
        the signal's strength (Merton 1969; Thorp 2006, "The Kelly criterion", section 7)
    max_fraction : the most to hold, as a share of equity

    The size is as wrong as the mean: `Kelly.from_returns` says how wrong. 0 where there is no edge.
    Raises ValueError for an infinite edge: a payoff without losses, a mean without variance.
    """

    fraction: float = 0.5
    payoff: float = 1.0
    mean: float | None = None
    variance: float | None = None
    max_fraction: float = 1.0
    lot_size: float | None = None

    def __post_init__(self):
        _require_positive(self, fraction=self.fraction, max_fraction=self.max_fraction, lot_size=self.lot_size)
        if not is_positive(self.payoff):
            raise ValueError(f"Kelly: payoff is average win over average loss, a positive number, not {self.payoff!r}: "
                             "wins that were never followed by a loss are an edge that is infinite, and a sample too small")
        if (self.mean is None) != (self.variance is None):
            raise ValueError("Kelly: mean and variance go together; without them the signal's strength is the edge")
        if self.mean is not None:
            kelly_size(self.mean, self.variance)

    @classmethod
    def from_returns(cls, returns, fraction: float = 0.5, **options) -> Kelly:
        """Kelly by the mean and variance of past returns (n,), simple, a bar.

        Warns (KellyWarning) when the mean is within two standard errors of zero: then the size is mostly luck.
        """
        found = kelly_estimate(returns)
        if found["low"] <= 0 < found["size"]:
            warnings.warn(f"full Kelly is {found['size']:.2f} of the equity, give or take {found['standard_error']:.2f}: "
                          f"the mean of {found['n']:.0f} returns cannot be told from zero, nor can this size",
                          KellyWarning, stacklevel=2)
        return cls(fraction, mean=found["mean"], variance=found["variance"], **options)

    def fractions(self, strength, forecast):
        if self.mean is not None:
            full = kelly_size(self.mean, self.variance) + 0.0 * np.asarray(strength, dtype=float)
        else:
            p = np.asarray(strength, dtype=float)
            p = np.where((p >= 0) & (p <= 1), p, np.nan)
            full = p - (1.0 - p) / self.payoff
        return np.minimum(np.maximum(full, 0.0) * self.fraction, self.max_fraction)[()]


def kelly_size(mean: float, variance: float) -> float:
    """Full Kelly of returns with this mean and variance: mean / variance, a share of equity (below 0: the other side).

    Merton (1969). Raises ValueError for a mean without variance: its size is infinite.
    """
    if not (isinstance(mean, Real) and math.isfinite(mean)) or not is_positive(variance):
        raise ValueError(f"Kelly: a mean of {mean!r} with a variance of {variance!r} has no finite size: "
                         "returns that do not vary are no edge but a sample too small")
    return mean / variance


def kelly_estimate(returns) -> pd.Series:
    """What past returns (n,) say of full Kelly, and how little.

    Returns size (mean / variance), standard_error of it (1 / (deviation x sqrt(n)), from the error of the
    mean alone), low and high (95 %), mean, variance (ddof=1), n. Raises ValueError as `kelly_size`.
    """
    returns = np.asarray(returns, dtype=float)
    if len(returns) < 2 or not np.isfinite(returns).all():
        raise ValueError(f"Kelly needs two or more finite returns, not {len(returns)} with holes or infinities in them")
    mean, variance = float(returns.mean()), float(returns.var(ddof=1))
    size = kelly_size(mean, variance)
    error = 1.0 / math.sqrt(variance * len(returns))
    return pd.Series({"size": size, "standard_error": error, "low": size - 1.96 * error, "high": size + 1.96 * error,
                      "mean": mean, "variance": variance, "n": float(len(returns))})


@dataclass(frozen=True, eq=False)
class ModelSize:
    """Hold what a model says, from the signal's confidence, the market's volatility and the portfolio's state.

    model : a fitted regressor of a share of equity; it reads the columns `confidence` (the signal's
        strength), `volatility` (trailing, over `window` bars, a bar), `drawdown` (equity below its peak, 0
        or negative) and `exposure` (gross value held over equity), in this order
    max_fraction : the most to hold; what the model says is kept within 0 and this

    `sizing_table` makes its training rows from an earlier backtest. Raises ValueError when the model is
    not fitted, was fitted on other columns, or says NaN.
    """

    model: object
    window: int = 20
    max_fraction: float = 1.0
    lot_size: float | None = None
    _forecast: Forecast = field(init=False, repr=False)

    def __post_init__(self):
        _require_positive(self, max_fraction=self.max_fraction, lot_size=self.lot_size)
        names = list(getattr(self.model, "feature_names_in_", STATE))
        if not hasattr(self.model, "predict") or names != list(STATE):
            raise ValueError(f"ModelSize takes a fitted regressor of the columns {', '.join(STATE)}, not "
                             f"{self.model!r} of {', '.join(names)}")
        object.__setattr__(self, "_forecast", _volatility_forecast(None, None, self.window))

    def forecast(self, bars: pd.DataFrame) -> np.ndarray:
        """Trailing volatility a bar, (n,)."""
        return self._forecast(bars)

    def size(self, signal: SignalEvent, portfolio: Portfolio, forecast: float) -> float:
        state = [signal.strength, forecast, portfolio.drawdown(), portfolio.exposure()]
        table = pd.DataFrame([state], columns=STATE) if hasattr(self.model, "feature_names_in_") else [state]
        said = float(np.ravel(self.model.predict(table))[0])
        if math.isnan(said):
            raise ValueError(f"{type(self.model).__name__} gave a size of NaN for {signal.symbol} on {signal.timestamp}")
        return min(max(said, 0.0), self.max_fraction) * portfolio.equity / portfolio.price(signal.symbol)


def sizing_table(result, window: int = 20) -> pd.DataFrame:
    """What a ModelSize would have been shown at each closed trade of a backtest, and what came of the trade.

    result : BacktestResult of one instrument. Returns DataFrame (trades, 5) by the time of the decision: the
        columns a ModelSize's model reads, and `outcome`, the trade's net profit over the value at its entry
    """
    (bars,) = result.bars.values()
    trades, fills = result.trades, result.fills
    trades = trades[trades["exit_time"].notna()]
    orders = result.orders.set_index("order_id")["timestamp"]
    entries = fills.drop_duplicates("timestamp").set_index("timestamp")["order_id"].reindex(trades["entry_time"])
    decided = pd.DatetimeIndex(orders.reindex(entries))
    strength = result.signals.drop_duplicates("timestamp").set_index("timestamp")["strength"]
    volatility = pd.Series(_volatility_forecast(None, None, window)(bars), bars.index)
    equity = result.equity
    below = equity / np.maximum(equity.cummax(), result.cash) - 1.0
    value = (trades["quantity"].abs() * trades["entry_price"]).to_numpy()
    state = {"confidence": strength, "volatility": volatility, "drawdown": below}
    table = pd.DataFrame({name: values.reindex(decided).to_numpy() for name, values in state.items()},
                         index=decided.rename("timestamp"))
    return table.assign(exposure=0.0, outcome=trades["net_profit"].to_numpy() / value)


def _volatility_forecast(source, features, window: int) -> Forecast:
    if source is not None:
        return Forecast(source, features)
    volatility = Volatility(window)

    def trailing_volatility(bars):
        return volatility(bars)

    return Forecast(trailing_volatility)


def _not_negative(forecast: Forecast, bars: pd.DataFrame) -> np.ndarray:
    values = forecast(bars)
    if (values < 0).any():
        raise ValueError(f"the forecast {forecast.name} is negative at {bars.index[values < 0][0]}: no volatility is")
    return values
