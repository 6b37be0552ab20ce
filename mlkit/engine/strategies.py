"""Strategies: from bars to signals.

A strategy is any class with `handle_market(event) -> list of SignalEvent`. It may
also say all its decisions at once in `decide(bars)`: one number a bar, 1 = buy
unless long, -1 = sell if long, 0 = nothing. Both say the same; the second is quick.

>>> import pandas as pd
>>> closes = pd.DataFrame({"close": [10.0, 10.1, 10.0, 9.0, 10.5]})
>>> MeanReversion(window=3).decide(closes)
array([ 0,  0,  0,  1, -1], dtype=int8)
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import dist, sqrt

import numpy as np
import pandas as pd

from mlkit.engine.events import MarketEvent, SignalEvent
from mlkit.engine.forecasts import Reader
from mlkit.engine.sharing import is_sharing, shared
from mlkit.rolling import rolling_mean, rolling_score, score_pieces

FLAT = 1e-12  # of the price: a window that moves less gives no signal


class Strategy:
    """Base class. Subclass it, call `super().__init__(symbol)`, write `handle_market`.

    symbol : the one instrument to trade and to be shown; None = every one there is
    lookback : bars needed for the first decision, the current one counted. Signals
        before it are refused, and statistics start after it.
    shorts_from_flat : whether a -1 from `decide` also opens a short position when
        flat (and `backtest(allow_short=True)`); the shipped strategies only leave a long.
    """

    symbol: str | None = None
    lookback: int = 1
    shorts_from_flat: bool = True
    decide = None  # optional method: (bars) -> array (n,) of 1, -1 and 0
    scores = None  # optional method: (bars) -> array (n,) of floats, the strength of each decision
    expected_returns = None  # optional method: (bars) -> array (n,) of fractions, for `minimum_edge_bps`
    _members: tuple = ()  # the strategies it is made of, if it is made of others
    model_name: str = ""
    _portfolio = None

    def __init__(self, symbol: str | None = None):
        self.symbol = symbol

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        """Signals decided at the close of this bar; called once a bar, oldest first."""
        return []

    def held(self, symbol: str) -> float:
        """Units held now, working orders counted (0 outside a backtest)."""
        return self._portfolio.held(symbol) if self._portfolio is not None else 0.0

    def first_decision(self, bars: pd.DataFrame) -> int:
        """Position of the first bar it may decide on: lookback - 1, or later (len(bars) = never)."""
        return min(self.lookback - 1, len(bars))

    def model_at(self, timestamp) -> str:
        """The name of the model that decides at this bar, written on its signals."""
        return self.model_name

    def attach(self, portfolio) -> None:
        """Called by the engine before the first bar."""
        self._portfolio = portfolio

    def signal(self, event: MarketEvent, direction: str, strength: float = 1.0) -> list[SignalEvent]:
        """A list with one signal at this event's close."""
        return [SignalEvent(event.timestamp, event.symbol, direction, event.close, strength,
                            self.model_at(event.timestamp))]

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "lookback" and v is not None}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


def uses_decide(strategy: Strategy) -> bool:
    """Whether `decide` speaks for this strategy.

    It does unless a subclass wrote its own `handle_market` (or what that is made of)
    below it: an inherited `decide` must not overrule what the subclass says. One made of others
    decides at once if all of them do.
    """
    if not all(uses_decide(member) for member in strategy._members):
        return False
    for owner in type(strategy).__mro__[:-2]:  # down to Strategy and object, which say nothing
        if vars(owner).get("decide") is not None:
            return True
        if not {"decide", "handle_market", "signal", "held", "attach"}.isdisjoint(vars(owner)):
            return False
    return False


class BuyAndHold(Strategy):
    """Buys at the first chance and keeps it."""

    shorts_from_flat = False

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        return [] if self.held(event.symbol) > 0 else self.signal(event, "BUY")

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        return np.ones(len(bars), dtype=np.int8)


class MeanReversion(Strategy):
    """Buys what fell unusually far below its own average and sells when it is back.

    The z-score is (close - mean) / standard deviation over the last `window` closes,
    the current one included, with the sample standard deviation (ddof=1): BUY below
    `enter` unless long, SELL above `exit` when long.
    """

    shorts_from_flat = False

    def __init__(self, window: int = 20, enter: float = -1.0, exit: float = 0.0, symbol: str | None = None):
        super().__init__(symbol)
        if not (isinstance(window, (int, np.integer)) and window >= 2 and enter < exit):
            raise ValueError(f"MeanReversion needs window >= 2 and enter < exit, "
                             f"not window={window}, enter={enter}, exit={exit}")
        self.window, self.enter, self.exit = window, enter, exit
        self.lookback = window
        self._root = sqrt(window - 1)
        self._closes: dict[str, deque] = {}

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        window, close, symbol = self.window, event.close, event.symbol
        closes = self._closes.get(symbol)
        if closes is None:
            closes = self._closes[symbol] = deque(maxlen=window)
        closes.append(close)
        if len(closes) < window:
            return []
        mean = sum(closes) / window
        deviation = dist(closes, (mean,) * window) / self._root
        if deviation < FLAT * close:
            return []
        score = (close - mean) / deviation
        if score < self.enter:
            return [] if self.held(symbol) > 0 else self.signal(event, "BUY")
        if score > self.exit and self.held(symbol) > 0:
            return self.signal(event, "SELL")
        return []

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        close = bars["close"].to_numpy(dtype=float)
        if not is_sharing():  # no table of scores for the sake of one look at each
            codes = np.zeros(len(close), dtype=np.int8)
            for at, score in score_pieces(close, self.window, FLAT):
                codes[at] = codes_of(score < self.enter, score > self.exit)
            return codes
        score = shared(bars, ("score", self.window), lambda: rolling_score(close, self.window, FLAT))
        return codes_of(shared(bars, ("below", self.window, self.enter), lambda: score < self.enter),
                        shared(bars, ("above", self.window, self.exit), lambda: score > self.exit))


class MovingAverageCross(Strategy):
    """Long while the fast average is above the slow one.

    BUY while above unless long, SELL while below when long; averages that differ by
    less than 1e-12 of the price say nothing.
    """

    shorts_from_flat = False

    def __init__(self, fast: int, slow: int, symbol: str | None = None):
        super().__init__(symbol)
        if not (isinstance(fast, (int, np.integer)) and isinstance(slow, (int, np.integer)) and 1 <= fast < slow):
            raise ValueError(f"MovingAverageCross needs 1 <= fast < slow, not fast={fast}, slow={slow}")
        self.fast, self.slow = fast, slow
        self.lookback = slow
        self._closes: dict[str, deque] = {}

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        closes = self._closes.setdefault(event.symbol, deque(maxlen=self.slow))
        closes.append(event.close)
        if len(closes) < self.slow:
            return []
        gap = sum(islice(closes, self.slow - self.fast, None)) / self.fast - sum(closes) / self.slow
        if abs(gap) <= FLAT * abs(event.close):
            return []
        held = self.held(event.symbol) > 0
        if gap > 0:
            return [] if held else self.signal(event, "BUY")
        return self.signal(event, "SELL") if held else []

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        close = bars["close"].to_numpy(dtype=float)
        fast, slow = (shared(bars, ("mean", window), lambda window=window: rolling_mean(close, window))
                      for window in (self.fast, self.slow))
        gap = fast - slow
        gap[np.abs(gap) <= FLAT * np.abs(close)] = np.nan
        return codes_of(gap > 0, gap < 0)


class MLStrategy(Strategy):
    """A fitted model on causal features: long when it is confident, out when it is not.

    model : a fitted estimator, or what `walk_forward` found: its models then take turns, each
        from the bar at which it was fitted, none before the first. With `predict_proba` a
        score is the probability of class 1 (the next move is up), otherwise the prediction
    features : a FeatureSet, a feature, or a function of bars -> DataFrame (n, k)
    enter, exit : BUY above `enter` unless long, SELL below `exit` when long
    expected : what a score is worth, for `backtest(minimum_edge_bps=...)`: an `ExpectedReturn`, or a function
        of a Series of scores -> returns (n,). A regressor of `next_return` needs none: its score is one

    The model is frozen: nothing is fitted in a backtest. Which one decided is written on every
    signal. Raises ValueError when a model is not fitted, was fitted on other columns, gives NaN
    where a decision is due, or comes from folds that saw the future.
    """

    shorts_from_flat = False

    def __init__(self, model, features, *, enter: float = 0.55, exit: float = 0.45, expected=None,
                 symbol: str | None = None):
        super().__init__(symbol)
        if not exit <= enter:
            raise ValueError(f"MLStrategy needs exit <= enter, not enter={enter}, exit={exit}")
        self._reader = Reader(model, features)
        self.model, self.features, self.enter, self.exit = self._reader.model, self._reader.features, enter, exit
        self.expected = expected
        self.lookback = self._reader.lookback
        self.model_name = self._reader.name
        self._memory = None

    @classmethod
    def from_path(cls, path, *, features=None, **options) -> MLStrategy:
        """The strategy of a registered model: the folder of a version of `mlkit.production.ModelRegistry`.

        features : needed only where it has other than shipped ones; options : enter, exit, expected, symbol
        Through skops, never pickle. Raises RegistryError, a ValueError, for anything not as it was registered.
        """
        from mlkit.production import load_version

        version = load_version(path, features=features)
        return cls(version.model, version.features, **options)

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        if self._memory is None:
            self._memory = self._reader.remember(self.lookback)
        if self._memory.add(event) < self.lookback:
            return []
        score = self._reader.scores(self._memory.bars(event.symbol), self.lookback, last=True)[-1]
        held = self.held(event.symbol) > 0
        if score > self.enter and not held:
            return self.signal(event, "BUY", float(score))
        return self.signal(event, "SELL", float(score)) if score < self.exit and held else []

    def scores(self, bars: pd.DataFrame) -> np.ndarray:
        """The model's score at every bar (n,), NaN before its first decision."""
        return shared(bars, ("scores", self.lookback), lambda: self._reader.scores(bars, self.lookback), self.model,
                      self.features)

    def expected_returns(self, bars: pd.DataFrame) -> np.ndarray:
        """What it expects of a trade decided at each close (n,), a fraction, NaN where it does not know."""
        scores = self.scores(bars)
        if self.expected is not None:
            return self.expected(pd.Series(scores, bars.index))
        if self._reader.is_classifier:
            raise ValueError(f"{self.model_name} gives probabilities: to compare them with costs, say what they are worth "
                             f"(MLStrategy(..., expected=ExpectedReturn().fit(probabilities, returns)))")
        return scores

    def first_decision(self, bars: pd.DataFrame) -> int:
        return self._reader.first(bars.index, self.lookback)

    def model_at(self, timestamp) -> str:
        return self._reader.name_at(timestamp)

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        scores = self.scores(bars)
        return codes_of(scores > self.enter, scores < self.exit)


def codes_of(buy: np.ndarray, sell: np.ndarray) -> np.ndarray:
    """1 where `buy`, -1 where `sell`, 0 where neither or both: (n,) int8."""
    return buy.view(np.int8) - sell.view(np.int8)

