"""Small made bars for the tests of the engine."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from mlkit.engine import Costs, SignalEvent, Strategy


def make_bars(opens, highs=None, lows=None, closes=None, volume=1e6, start="2020-01-01", freq="D"):
    """Bars from lists; what is left out is the widest that the others allow."""
    opens = np.asarray(opens, dtype=float)
    closes = opens if closes is None else np.asarray(closes, dtype=float)
    highs = np.maximum(opens, closes) if highs is None else np.asarray(highs, dtype=float)
    lows = np.minimum(opens, closes) if lows is None else np.asarray(lows, dtype=float)
    index = pd.date_range(start, periods=len(opens), freq=freq, name="timestamp")
    columns = {"open": opens, "high": highs, "low": lows, "close": closes}
    if volume is not None:
        columns["volume"] = np.broadcast_to(np.asarray(volume, dtype=float), opens.shape).copy()
    return pd.DataFrame(columns, index=index)


def random_bars(seed, n=80, volatility=0.02, holes=False, volume=1e5):
    """Random OHLCV bars on calendar days with gaps in price; `holes` leaves some without volume."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, volatility, n)))
    opens = np.concatenate([[100.0], closes[:-1]]) * np.exp(rng.normal(0, volatility / 2, n))
    highs = np.maximum(opens, closes) * np.exp(np.abs(rng.normal(0, volatility / 2, n)))
    lows = np.minimum(opens, closes) * np.exp(-np.abs(rng.normal(0, volatility / 2, n)))
    traded = rng.lognormal(np.log(volume), 0.5, n)
    if holes:
        traded[rng.random(n) < 0.15] = rng.choice([0.0, np.nan])
    days = np.cumsum(rng.choice([1, 1, 1, 3], n))
    bars = make_bars(opens, highs, lows, closes, traded)
    return bars.set_axis(pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"), axis=0).rename_axis("timestamp")


class Scripted(Strategy):
    """Says what it was told: {bar: "BUY"} or {bar: ("BUY", stop, target)}."""

    def __init__(self, script, symbol=None, lookback=1):
        super().__init__(symbol)
        self.script, self.lookback, self.bar = script, lookback, -1

    def handle_market(self, event):
        self.bar += 1
        said = self.script.get(self.bar)
        if said is None:
            return []
        direction, stop, target = (said, None, None) if isinstance(said, str) else said
        return [SignalEvent(event.timestamp, event.symbol, direction, event.price, stop=stop, target=target)]


def scripts(n, levels=True):
    """Hypothesis: {bar: what to say}, stops and targets as factors of the close are filled in by `with_levels`."""
    factor = st.one_of(st.none(), st.floats(0.9, 0.995)) if levels else st.none()
    said = st.tuples(st.sampled_from(["BUY", "SELL", "BUY", "SELL", "HOLD"]), factor, factor)
    return st.dictionaries(st.integers(0, n - 1), said, max_size=n // 2)


def with_levels(script, bars):
    """The script with its factors turned into price levels on the right side of the close."""
    close, placed = bars["close"].to_numpy(), {}
    for at, (direction, stop, target) in script.items():
        below, above = (stop, target) if direction != "SELL" else (target, stop)
        below = None if below is None else close[at] * below
        above = None if above is None else close[at] / above
        placed[at] = (direction, below, above) if direction != "SELL" else (direction, above, below)
    return placed


def costs(impact=True, minimum=True, cap=True, borrow=True):
    """Hypothesis: Costs from nothing to heavy."""
    bps = st.sampled_from([0.0, 1.0, 7.5, 40.0])
    return st.builds(Costs, half_spread_bps=bps, slippage_bps=bps, commission_bps=bps,
                     commission_min=st.sampled_from([0.0, 1.0, 25.0]) if minimum else st.just(0.0),
                     impact=st.sampled_from([0.0, 0.0, 1.0]) if impact else st.just(0.0),
                     borrow_bps_per_year=st.sampled_from([0.0, 300.0]) if borrow else st.just(0.0),
                     max_participation=st.sampled_from([1.0, 0.1, 0.001]) if cap else st.just(1.0))
