"""Rules and models together: a model that vetoes a rule, a vote, a switch between regimes.

Each is a strategy like any other, made of strategies: it decides all at once where its members
can, and bar by bar where one of them cannot. A member is asked what it would hold if it were
alone, long or flat.

>>> import numpy as np, pandas as pd
>>> from mlkit.engine.strategies import MeanReversion, MovingAverageCross
>>> closes = pd.DataFrame({"close": [10.0, 10.1, 10.0, 9.0, 10.5, 11.0]}, index=pd.date_range("2024-01-01", periods=6))
>>> both = CombinedStrategy([MeanReversion(3), MovingAverageCross(1, 3)])
>>> both.decide(closes)
array([-1, -1, -1,  0,  0,  0], dtype=int8)
>>> [stances_of(member, closes).tolist() for member in both.strategies]
[[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]]
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import msgspec
import numpy as np
import pandas as pd

from mlkit.engine.events import MarketEvent, SignalEvent
from mlkit.engine.forecasts import Memory, Reader
from mlkit.engine.sharing import shared
from mlkit.engine.strategies import Strategy, codes_of


class FilteredStrategy(Strategy):
    """A rule proposes, a model disposes: meta-labelling.

    rule : a Strategy that is long or flat; its entries are proposals, its exits are followed always
    model, features : as of MLStrategy; the score is the probability that a proposal pays (a classifier
        trained on `meta_label`), or what it is expected to earn (a regressor)
    threshold : a BUY of the rule is followed where the score is at least this

    The score is the strength of the signals, so that a sizer can use it: the rule chooses the side, the
    model the size. Lopez de Prado (2018), Advances in Financial Machine Learning, section 3.6.
    """

    shorts_from_flat = False

    def __init__(self, rule: Strategy, model, features, *, threshold: float = 0.5, symbol: str | None = None):
        _check_members([rule])
        super().__init__(symbol or rule.symbol)
        self._reader = Reader(model, features)
        self.rule, self.model, self.features, self.threshold = rule, self._reader.model, self._reader.features, threshold
        self._members = (rule,)
        self.lookback = max(rule.lookback, self._reader.lookback)
        self.model_name = f"{self._reader.name} on {type(rule).__name__}"
        self._memory = None

    def attach(self, portfolio) -> None:
        super().attach(portfolio)
        self.rule = copy.copy(self.rule)  # the engine attaches a copy of this strategy, and its rule is not ours
        self.rule.attach(portfolio)

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        if self._memory is None:
            self._memory = self._reader.remember(self.lookback)
        seen = self._memory.add(event)
        proposed = self.rule.handle_market(event)
        if seen < self.lookback or not proposed:
            return []
        score = float(self._reader.scores(self._memory.bars(event.symbol), self.lookback, last=True)[-1])
        if np.isnan(score):
            return []
        model = self.model_at(event.timestamp)
        return [msgspec.structs.replace(signal, strength=score, model=model) for signal in proposed
                if signal.direction != "BUY" or score >= self.threshold]

    def scores(self, bars: pd.DataFrame) -> np.ndarray:
        """The model's score at every bar (n,), NaN before its first."""
        return shared(bars, ("scores", self.lookback), lambda: self._reader.scores(bars, self.lookback), self.model,
                      self.features)

    def first_decision(self, bars: pd.DataFrame) -> int:
        return max(self.rule.first_decision(bars), self._reader.first(bars.index, self.lookback))

    def model_at(self, timestamp) -> str:
        return f"{self._reader.name_at(timestamp)} on {type(self.rule).__name__}"

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        proposed = np.asarray(self.rule.decide(bars))
        return codes_of((proposed > 0) & (self.scores(bars) >= self.threshold), proposed < 0)


class _MadeOfOthers(Strategy):
    """What votes and switches share: members on paper, and a wish to be long (1), out (0) or as it is (1/2)."""

    shorts_from_flat = False

    def attach(self, portfolio) -> None:
        super().attach(portfolio)
        self._members = tuple(copy.copy(member) for member in self._members)  # as the rule of a FilteredStrategy
        for member in self._members:
            member.attach(_Paper(portfolio, member.lookback))

    def handle_market(self, event: MarketEvent) -> list[SignalEvent]:
        seen = [member._portfolio.hear(event, member.handle_market(event)) for member in self._members]
        wish = self._wish(event)
        if seen[0] < self.lookback:
            return []
        held = self.held(event.symbol) > 0
        if wish > 0.5 and not held:
            return self.signal(event, "BUY")
        return self.signal(event, "SELL") if wish < 0.5 and held else []

    def first_decision(self, bars: pd.DataFrame) -> int:
        return max(super().first_decision(bars), *(member.first_decision(bars) for member in self._members))

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        wish = self._wishes(bars, [stances_of(member, bars) for member in self._members])
        return codes_of(wish > 0.5, wish < 0.5)


class CombinedStrategy(_MadeOfOthers):
    """A weighted vote: long where enough of its members would be.

    strategies : Strategy instances, long or flat; weights : one each, positive, default all the same
    enter, exit : BUY where the share of the votes for being long is above `enter` unless long, SELL where
        it is below `exit` when long; at the border it stays as it is
    """

    def __init__(self, strategies, weights=None, *, enter: float = 0.5, exit: float = 0.5, symbol: str | None = None):
        self.strategies = list(strategies)
        _check_members(self.strategies)
        super().__init__(symbol or self.strategies[0].symbol)
        self.weights = [1.0] * len(self.strategies) if weights is None else [float(weight) for weight in weights]
        if len(self.weights) != len(self.strategies) or not all(0 < weight < np.inf for weight in self.weights):
            raise ValueError(f"CombinedStrategy needs a positive weight for each of its {len(self.strategies)} "
                             f"strategies, not {weights!r}")
        if not 0 <= exit <= enter <= 1:
            raise ValueError(f"CombinedStrategy needs 0 <= exit <= enter <= 1, not enter={enter}, exit={exit}")
        self.enter, self.exit = enter, exit
        self._members = tuple(self.strategies)
        self.lookback = max(member.lookback for member in self._members)

    def _wish(self, event: MarketEvent) -> float:
        return float(self._vote([member._portfolio.stance(event.symbol) for member in self._members]))

    def _wishes(self, bars, stances) -> np.ndarray:
        return self._vote(stances)

    def _vote(self, stances):
        share = sum(weight * stance for weight, stance in zip(self.weights, stances)) / sum(self.weights)
        return np.where(share > self.enter, 1.0, np.where(share < self.exit, 0.0, 0.5))


class RegimeSwitch(_MadeOfOthers):
    """One strategy a regime; in a regime that has none it is out.

    regime_of : function of bars -> regimes, a Series or array (n,), each from its bar and those before
        (`audit_strategy` looks whether that is so)
    strategies : dict of regime -> Strategy, long or flat

    When the regime changes, what the strategy of the new one would hold is taken over at once.
    """

    def __init__(self, regime_of: Callable, strategies: dict, *, symbol: str | None = None):
        if not isinstance(strategies, dict) or not callable(regime_of):
            raise ValueError("RegimeSwitch takes a function of bars and a dict of regime -> Strategy")
        _check_members(list(strategies.values()))
        super().__init__(symbol or next(iter(strategies.values())).symbol)
        self.regime_of, self.strategies = regime_of, dict(strategies)
        self._members = tuple(self.strategies.values())
        self.lookback = max(member.lookback for member in self._members)
        self._memory = Memory()

    def _wish(self, event: MarketEvent) -> float:
        self._memory.add(event)
        bars = self._memory.bars(event.symbol)
        stances = [member._portfolio.stance(event.symbol) for member in self._members]
        return float(self._chosen(self._regimes(bars)[-1:], stances)[0])

    def _wishes(self, bars, stances) -> np.ndarray:
        return self._chosen(self._regimes(bars), stances)

    def _regimes(self, bars: pd.DataFrame) -> np.ndarray:
        regimes = np.asarray(self.regime_of(bars.copy(deep=False)), dtype=object)
        if regimes.shape != (len(bars),):
            raise ValueError(f"regime_of gave shape {regimes.shape} for {len(bars)} bars: one regime a bar is due")
        return regimes

    def _chosen(self, regimes: np.ndarray, stances) -> np.ndarray:
        wish = np.zeros(len(regimes))
        for regime, stance in zip(self.strategies, stances):
            wish = np.where(regimes == regime, stance, wish)
        return wish


def stances_of(strategy: Strategy, bars: pd.DataFrame) -> np.ndarray:
    """What a strategy would hold if it were alone, by its decisions: (n,) of 1.0 (long) and 0.0 (flat)."""
    decisions = np.asarray(strategy.decide(bars), dtype=float)
    decisions[: strategy.first_decision(bars)] = 0.0
    said = np.where(decisions == 0.0, np.nan, decisions > 0.0)
    return pd.Series(said).ffill().fillna(0.0).to_numpy()


class _Paper:
    """A portfolio in which a member holds what it asked for; all else is the real one's."""

    def __init__(self, portfolio, lookback: int):
        self._real, self._lookback = portfolio, lookback
        self._stances: dict[str, float] = {}
        self._seen: dict[str, int] = {}

    def __getattr__(self, name):
        return getattr(object.__getattribute__(self, "_real"), name)

    def hear(self, event: MarketEvent, signals) -> int:
        """Take account of what the member said at this bar; returns how many bars it has seen."""
        seen = self._seen[event.symbol] = self._seen.get(event.symbol, 0) + 1
        for signal in signals or ():
            if signal.direction != "HOLD" and seen >= self._lookback:
                self._stances[signal.symbol] = float(signal.direction == "BUY")
        return seen

    def stance(self, symbol: str) -> float:
        return self._stances.get(symbol, 0.0)

    held = position = stance


def _check_members(strategies: list) -> None:
    if not strategies or not all(isinstance(strategy, Strategy) for strategy in strategies):
        raise ValueError(f"a strategy made of others needs Strategy instances, not {strategies!r}")
