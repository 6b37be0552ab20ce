"""What an order really costs: spread, slippage, impact, commission, borrow, delay.

An execution handler is a value: its `costs`, how many bars an order is late, and
whether it may (unsafely) fill at the very close it was decided on. The arithmetic
is in plain functions that take floats or arrays alike, so that the event loop and
the replay cannot differ.

>>> costs = Costs(half_spread_bps=1, slippage_bps=1, commission_bps=1)
>>> round(fill_price(+1.0, 100.0, costs.half_spread, costs.slippage, 0.0), 2)
100.02
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BPS = 1e-4
IMPACT_WINDOW = 20  # bars of trailing volatility and volume in the impact law


@dataclass(frozen=True)
class Costs:
    """What trading costs. Names ending in `_bps` are 1e-4 of the traded value, a side.

    half_spread_bps, slippage_bps, commission_bps : paid on every fill
    commission_min : account currency, the least an order pays
    impact : factor of the square-root law (0 = none, about 1 in practice):
        impact x volatility x sqrt(|quantity| / mean volume), both over the 20 bars
        before the fill (Almgren et al. 2005, "Direct estimation of equity market
        impact"; Toth et al. 2011, Phys. Rev. X 1, 021006)
    borrow_bps_per_year : on the value of short positions, by calendar day / 365
    max_participation : the largest share of a bar's volume that our fills may be

    Raises ValueError for a negative, infinite or missing number.
    """

    half_spread_bps: float = 1.0
    slippage_bps: float = 1.0
    commission_bps: float = 1.0
    commission_min: float = 0.0
    impact: float = 0.0
    borrow_bps_per_year: float = 0.0
    max_participation: float = 1.0

    def __post_init__(self):
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not isinstance(value, (int, float, np.number)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"Costs: {entry.name} must be a finite number of at least 0, not {value!r}")
        if not 0 < self.max_participation <= 1:
            raise ValueError(f"Costs: max_participation is a share of volume in (0, 1], not {self.max_participation}")
        if self.half_spread + self.slippage >= 1:
            raise ValueError("Costs: half spread and slippage together must be under 10,000 bps (the whole price)")

    @property
    def half_spread(self) -> float:
        return self.half_spread_bps * BPS

    @property
    def slippage(self) -> float:
        return self.slippage_bps * BPS

    @property
    def commission_rate(self) -> float:
        return self.commission_bps * BPS

    def round_trip(self, units: float, price: float, impact: float = 0.0) -> float:
        """Spread, slippage, commission and this impact of buying and selling again, as a fraction of the price."""
        commission = max(self.commission_rate, self.commission_min / (units * price))
        return 2.0 * (self.half_spread + self.slippage + impact + commission)

    @property
    def borrow_per_day(self) -> float:
        return self.borrow_bps_per_year * BPS / 365.0


@dataclass(frozen=True)
class RealisticExecutionHandler:
    """Fills at the next open, with costs; `latency_bars` opens later if asked.

    `unsafe_same_bar=True` fills at the close the decision was made on. No one can
    trade there; it exists to show how much that mistake flatters, and is stamped on
    the result.
    """

    costs: Costs = field(default_factory=Costs)
    latency_bars: int = 0
    unsafe_same_bar: bool = False

    def __post_init__(self):
        if not isinstance(self.costs, Costs):
            raise ValueError(f"costs must be a Costs(...), not {self.costs!r}")
        if not isinstance(self.latency_bars, (int, np.integer)) or self.latency_bars < 0:
            raise ValueError(f"latency_bars must be a whole number of at least 0, not {self.latency_bars!r}")
        if self.unsafe_same_bar and self.latency_bars:
            raise ValueError("unsafe_same_bar fills at once: it cannot be combined with latency_bars")

    @property
    def capped(self) -> bool:
        """Whether a bar's volume limits a fill."""
        return True


@dataclass(frozen=True)
class IdealExecutionHandler:
    """Fills everything at the next open at no cost: the yardstick, never the truth."""

    costs: Costs = field(default=Costs(0, 0, 0), init=False)
    latency_bars: int = field(default=0, init=False)
    unsafe_same_bar: bool = field(default=False, init=False)

    @property
    def capped(self) -> bool:
        return False


def fill_price(side, reference, half_spread, slippage, impact):
    """Price paid: reference x (1 + side x (half spread + slippage + impact)); `side` is +1 or -1."""
    return reference * (1.0 + side * (half_spread + slippage + impact))


def impact_fraction(factor, quantity, volatility, mean_volume):
    """The square-root law as a fraction of price; `quantity` without sign."""
    return factor * volatility * np.sqrt(quantity / mean_volume)


def calendar_days(index) -> np.ndarray:
    """Calendar days (fractions for intraday bars) since the bar before: (n,), NaN first."""
    return np.append(np.nan, np.diff(index.as_unit("ns").asi8) / 86_400e9)


def trailing_market(close: np.ndarray, volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Volatility and mean volume of the 20 bars before each bar, the bar itself excluded.

    close, volume : arrays (n,)
    returns : two arrays (n,): standard deviation (ddof=1) of close returns, and mean
        volume (a missing volume counts as none); NaN where there is no such history.
    """
    n, window = len(close), IMPACT_WINDOW
    volatility, mean_volume = np.full(n, np.nan), np.full(n, np.nan)
    if n > window + 1:
        returns = close[1:] / close[:-1] - 1.0
        for first in range(0, n - window - 1, 65536):
            part = sliding_window_view(returns[first : first + 65536 + window - 1][: n - 2 - first], window)
            volatility[first + window + 1 : first + window + 1 + len(part)] = part.std(axis=1, ddof=1)
        traded = sliding_window_view(np.nan_to_num(volume[:-1]), window).mean(axis=1)
        mean_volume[window:] = traded
    return volatility, np.where(mean_volume > 0, mean_volume, np.nan)
