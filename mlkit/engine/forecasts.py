"""What a frozen model says at each close: for strategies, filters, sizers and risk managers alike.

A `Reader` is a model with the features it reads; a `Forecast` is anything that can say a number a
bar: a fitted model, a schedule of them, "ewma", or a function of bars. Both give all bars at once,
each value from that bar and those before it, and nothing is fitted here.

>>> from mlkit.markets import random_walk
>>> trailing = Forecast(lambda bars: bars["close"].pct_change().rolling(20).std())
>>> trailing(random_walk(100, seed=1)).round(4)[[0, 19, 20]]
array([   nan,    nan, 0.0093])
"""

from __future__ import annotations

from collections import deque

import numpy as np
import pandas as pd

from mlkit.features import FeatureSet, LaggedReturns
from mlkit.features.indicators import Feature
from mlkit.metrics import periods_per_year
from mlkit.models.scoring import Schedule, context_of, last_step, name_of, scores_of


class Reader:
    """A frozen model and the features it reads.

    model : a fitted estimator, a Schedule, or what `walk_forward` found
    features : a FeatureSet, a feature, or a function of bars -> DataFrame (n, k)

    `.lookback`, bars needed for the first score; `.name`. Raises ValueError for a schedule whose
    folds saw the future.
    """

    def __init__(self, model, features):
        self.model = getattr(model, "models", None) or model
        if isinstance(self.model, Schedule):
            self.model.check_tradable()
        self.features = features if isinstance(features, (FeatureSet, Feature)) else FeatureSet([features])
        self.lookback = self.features.lookback + getattr(last_step(self.model), "warm_up", 0)
        self.name = name_of(self.model)

    @property
    def is_classifier(self) -> bool:
        return hasattr(self.model[0] if isinstance(self.model, Schedule) else self.model, "predict_proba")

    def remember(self, lookback: int) -> Memory:
        """A memory of as many bars as a score may rest on, for a user who needs `lookback` of them."""
        context = context_of(self.model)
        endless = context is None or self.features.warmup > self.features.lookback  # recursive features forget nothing
        return Memory(None if endless else max(lookback, self.lookback) + context)

    def first(self, index: pd.DatetimeIndex, lookback: int) -> int:
        """Position of the first bar it can score, given the bars its user needs (len(index) = none)."""
        first = min(max(lookback, self.lookback) - 1, len(index))
        if isinstance(self.model, Schedule):
            first = max(first, int(np.searchsorted(self.model.turns(index), 0)))
        return first

    def name_at(self, timestamp) -> str:
        """The name of the model whose turn it is."""
        if isinstance(self.model, Schedule):
            return self.model.names[self.model.turns(pd.DatetimeIndex([timestamp]))[0]]
        return self.name

    def scores(self, bars: pd.DataFrame, lookback: int = 1, last: bool = False) -> np.ndarray:
        """Scores (n,), NaN before the first; of the `last` bar alone if that is all that is asked for.

        Raises ValueError where a feature or a score is NaN after the warm-up, with column and bar.
        """
        begin = max(lookback, self.features.lookback) - 1  # what comes before is warm-up, no model's business
        first = max(len(bars) - 1, begin) if last else max(self.first(bars.index, lookback), begin)
        scores = np.full(len(bars), np.nan)
        if len(bars) > first:
            table = self._table(bars).iloc[begin:]
            _refuse_holes(table)
            scores[first:] = scores_of(self.model, table, first - begin)
        return scores

    def _table(self, bars: pd.DataFrame) -> pd.DataFrame:
        return self.features.transform(bars) if hasattr(self.features, "transform") else self.features(bars)


def _refuse_holes(table: pd.DataFrame) -> None:
    missing = table.isna().to_numpy()
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise ValueError(f"feature {table.columns[column]!r} is NaN at {table.index[row]}, where a decision is due: "
                         f"its bars have a hole, or it needs more of them than it says (set strategy.lookback)")


class Memory:
    """The bars that a strategy was shown one by one, as a table again; `length` of them at most, None = all."""

    def __init__(self, length: int | None = None):
        self._length, self._rows = length, {}

    def add(self, event) -> int:
        """Keep this bar; returns how many of its symbol are kept."""
        rows = self._rows.setdefault(event.symbol, deque(maxlen=self._length))
        rows.append((event.timestamp, event.open, event.high, event.low, event.close, event.volume))
        return len(rows)

    def bars(self, symbol: str) -> pd.DataFrame:
        columns = ["timestamp", "open", "high", "low", "close", "volume"]
        return pd.DataFrame(self._rows[symbol], columns=columns).set_index("timestamp")


class Forecast:
    """A number a bar, (n,), known at its close; NaN where there is none yet.

    source : "ewma" (RiskMetrics 1996, decay 0.94); a fitted regressor, a Schedule or what `walk_forward`
        found, with `features`; or a function of bars -> Series or array (n,)
    features : as of a Reader; models of one series (EWMA, HAR, GARCH) need none: they read LaggedReturns(1)
    """

    def __init__(self, source, features=None):
        if source == "ewma":
            from mlkit.models import EWMA

            source = EWMA()
        self.name = getattr(source, "__name__", "") or type(source).__name__
        self._function = self._reader = None
        model = getattr(source, "models", None) or source
        if hasattr(model, "predict") or isinstance(model, Schedule):
            one = last_step(model[0] if isinstance(model, Schedule) else model)
            if features is None and getattr(one, "series", "") == "return_1":
                features = LaggedReturns(1)
            if features is None:
                raise ValueError(f"{name_of(model)} reads features: say which (features=FeatureSet([...])).")
            self._reader = Reader(model, features)
            self.name = self._reader.name
        elif callable(source):
            self._function = source
        else:
            raise ValueError(f'a forecast is "ewma", a fitted model with its features, or a function of bars, not {source!r}')

    def __call__(self, bars: pd.DataFrame) -> np.ndarray:
        """(n,) float64. Raises ValueError for another shape, or a value that is infinite."""
        if self._reader is not None:
            values = self._reader.scores(bars)
        else:
            values = np.asarray(self._function(bars.copy(deep=False)), dtype=float)
            values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.shape != (len(bars),):
            raise ValueError(f"the forecast {self.name} gave shape {values.shape} for {len(bars)} bars: one number a bar")
        if np.isinf(values).any():
            raise ValueError(f"the forecast {self.name} is infinite at {bars.index[np.isinf(values)][0]}")
        return values

    def __repr__(self) -> str:
        return self.name


def per_year(bars: pd.DataFrame, periods: float | None) -> float:
    """Square root of the bars a year: what turns a volatility a bar into one a year.

    Known from the distance of daily and longer bars. Raises ValueError for intraday bars without `periods`:
    how many there are in a year is only counted at its end.
    """
    if periods is None:
        if len(bars) > 1 and np.median(np.diff(bars.index.as_unit("s").asi8)) < 0.9 * 86400:
            raise ValueError("these bars are intraday: say how many a year has (periods_per_year=...)")
        periods = periods_per_year(bars.index)
    return float(np.sqrt(periods))
