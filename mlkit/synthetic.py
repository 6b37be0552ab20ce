"""Markets whose truth is known: no edge at all, one known edge, an edge that changes sign.

Part of `mlkit.markets`, which hands these on. Each gives a full bars table from a
seed, so that a method can be tried where the right answer is not in doubt.

>>> random_walk(3, seed=1)["close"].round(2).tolist()
[101.12, 101.66, 100.73]
"""

import numpy as np
import pandas as pd

FIRST_DAY = "2000-01-03"
DAYS_TO_2200 = int(np.busday_count(FIRST_DAY, "2200-01-01"))
OVERNIGHT = 0.1  # share of a bar's variance that falls between the close and the next open


def random_walk(n_bars, seed, volatility=0.01, drift=0.0) -> pd.DataFrame:
    """A market without any edge: log returns are independent normal draws.

    n_bars : at least 2. seed : int >= 0; the same seed gives the same bars.
    volatility, drift : standard deviation and mean of the close-to-close log
        return, a bar. A tenth of the variance falls before the open; high and
        low are drawn as a Brownian path's; volume is log-normal, median 1e6.

    At drift 0 up and down are equally likely, whatever is known: an honest
    accuracy is 50 %. (The mean simple return is then volatility**2 / 2, half a
    basis point at 0.01: arithmetic, not a prediction.)

    Returns DataFrame (n_bars, 5), open high low close volume, start price 100, on
    business days from 2000-01-03; beyond the year 2199 (52,177 bars) on minutes
    in UTC instead. Raises ValueError for a bad parameter.
    """
    return _world("RANDOM_WALK", n_bars, seed, volatility, drift)


def planted_edge(n_bars, seed, strength=0.05, volatility=0.01, drift=0.0) -> pd.DataFrame:
    """A market with one known edge: a bar's return leans on the return before it.

    With r[t] the close-to-close log return in excess of `drift`, and sd r = volatility:

        open[t+1] = close[t] x exp(night),        night independent
        r[t+1]    = night + strength x r[t] + noise

    so r[t+1] and the return that a decision at the close of t can earn,
    open[t+1] to open[t+2], both have correlation `strength` with r[t] (momentum
    above 0, reversal below), and nothing else in the past helps. The best
    possible: information coefficient |strength|; accuracy of the sign
    1/2 + arcsin(|strength|) / pi (51.6 % at 0.05, drift 0); a mean of
    0.8 x |strength| x volatility a bar for a position of sign(r[t]) (4 basis
    points at the defaults), before costs.

    Parameters, calendar and errors as in `random_walk`; |strength| <= 0.9.
    """
    return _world("PLANTED_EDGE", n_bars, seed, volatility, drift, strength)


def regime_switching(n_bars, seed, strength=0.1, regime_length=250, volatility=0.01,
                     drift=0.0) -> pd.DataFrame:
    """`planted_edge`, with an edge that changes sign: momentum, then reversal.

    A two-state Markov chain leaves its state with probability 1 / regime_length
    a bar, so regimes last `regime_length` (>= 1) bars on average, geometrically
    distributed, and both are equally frequent. Column `regime`, +1.0 or -1.0, is
    the truth: r[t+1] leans on regime[t] x strength x r[t]. It is no feature: to
    know it is worth all that `planted_edge` promises, without it the correlation
    over all bars is 0.

    Returns the columns of `random_walk` and `regime`.
    """
    if not 1 <= regime_length < np.inf:
        raise ValueError(f"regime_length is an average of bars, 1 or more, not {regime_length!r}.")
    return _world("REGIME_SWITCHING", n_bars, seed, volatility, drift, strength, regime_length)


def _world(symbol, n_bars, seed, volatility, drift, strength=0.0, regime_length=None):
    _check_world(n_bars, seed, volatility, strength)
    rng = np.random.default_rng(seed)
    calm = volatility * np.sqrt(1 - OVERNIGHT - strength**2)  # keeps sd r = volatility
    before = volatility * rng.standard_normal()
    night = volatility * np.sqrt(OVERNIGHT) * rng.standard_normal(n_bars)
    shock = night + calm * rng.standard_normal(n_bars)
    regime = np.ones(n_bars)
    if regime_length:
        leaves = rng.random(n_bars) < 1 / regime_length
        regime = rng.choice([-1.0, 1.0]) * np.cumprod(np.where(leaves, -1.0, 1.0))
    excess = _lean(shock, strength, regime, before) if strength else shock

    close = np.log(100.0) + np.cumsum(excess + drift)
    if not np.abs(close).max() < 600:
        raise ValueError(f"{n_bars} bars of volatility {volatility} and drift {drift} take the price "
                         "out of the range of floats: lower one of them.")
    open_ = np.append(np.log(100.0), close[:-1]) + night + OVERNIGHT * drift
    bars = pd.DataFrame({"open": np.exp(open_)}, index=_stamps(n_bars))
    # Exact extremes of a Brownian path from open to close: the Rayleigh law of a bridge.
    day = close - open_
    up, down = (np.sqrt(day**2 + 2 * calm**2 * rng.standard_exponential(n_bars)) for _ in range(2))
    prices = bars["open"].to_numpy(), np.exp(close)  # rounding must not put these outside
    bars["high"] = np.maximum(np.exp(open_ + (day + up) / 2), np.maximum(*prices))
    bars["low"] = np.minimum(np.exp(open_ + (day - down) / 2), np.minimum(*prices))
    bars["close"] = prices[1]
    bars["volume"] = np.round(1e6 * np.exp(0.3 * rng.standard_normal(n_bars)))
    if regime_length:
        bars["regime"] = regime
    bars.attrs = {"symbol": symbol, "kind": "synthetic"}
    return bars


def _lean(shock, strength, regime, before):
    """r[t] = strength x regime[t-1] x r[t-1] + shock[t], without a loop."""
    from scipy.signal import lfilter  # here, as it takes longer to import than pandas
    # With sign[t] the product of the regimes before t, sign x r has a fixed coefficient.
    sign = np.cumprod(np.append(1.0, regime[:-1]))
    return sign * lfilter([1.0], [1.0, -strength], sign * shock, zi=[strength * before])[0]


def _check_world(n_bars, seed, volatility, strength):
    for name, value, least in (("n_bars", n_bars, 2), ("seed", seed, 0)):
        if not (isinstance(value, (int, np.integer)) and value >= least):
            raise ValueError(f"{name} is a whole number, {least} or more, not {value!r}.")
    if not (0 < volatility < np.inf and abs(strength) <= 0.9):
        raise ValueError("volatility is above 0 and finite, strength is between -0.9 and 0.9, "
                         f"not {volatility!r} and {strength!r}.")


def _stamps(n_bars: int) -> pd.DatetimeIndex:
    steps = np.arange(n_bars)
    if n_bars <= DAYS_TO_2200:
        stamps = np.busday_offset(FIRST_DAY, steps).astype("M8[us]")
        return pd.DatetimeIndex(stamps, name="timestamp")
    stamps = np.datetime64(FIRST_DAY, "us") + steps * np.timedelta64(60_000_000, "us")
    return pd.DatetimeIndex(stamps, name="timestamp").tz_localize("UTC")
