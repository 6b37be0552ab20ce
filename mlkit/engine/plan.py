"""What is worked out at once before a run: decisions, scores and forecasts of one instrument, by bar.

Part of `mlkit.engine.run`. Every value rests on its bar and those before it; `audit_strategy` proves it.

>>> from mlkit.engine.strategies import MeanReversion
>>> from mlkit.markets import random_walk
>>> checked_decisions(MeanReversion(3), random_walk(6, seed=1)).tolist()
[0, 0, -1, -1, -1, 0]
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlkit.engine.hybrids import CombinedStrategy, FilteredStrategy
from mlkit.engine.sharing import shared
from mlkit.engine.strategies import BuyAndHold, MeanReversion, MLStrategy, MovingAverageCross, Strategy

SHIPPED = (BuyAndHold, MeanReversion, MovingAverageCross, MLStrategy, FilteredStrategy, CombinedStrategy)


class Plan:
    """What is worked out at once before a run, of one instrument, each value by its bar and those before.

    arrays : dict of arrays (n,) or None: decisions and scores of the strategy, sizing (what the sizer
        forecasts), risk (what the risk manager does), edge (what the strategy expects to earn)
    first : the first bar on which something can be decided; n where this instrument is not traded
    """

    def __init__(self, strategy, symbol: str, table: pd.DataFrame, vectorised: bool, settings: dict):
        self.arrays, self.first = dict.fromkeys(("decisions", "scores", "sizing", "risk", "edge")), len(table)
        if strategy.symbol not in (None, symbol):
            self.arrays["decisions"] = np.zeros(len(table), dtype=np.int8) if vectorised else None
            return
        if vectorised:
            self.arrays |= zip(("decisions", "scores"), _decisions(strategy, table))
        self.arrays["sizing"] = forecast_of(settings["sizer"], table)
        self.arrays["risk"] = forecast_of(settings["risk"], table)
        if settings["minimum_edge"]:
            name = f"{type(strategy).__name__}.expected_returns"
            self.arrays["edge"] = _one_a_bar(strategy.expected_returns(table), table, name)
        known = [_first_known(self.arrays[name]) for name in ("sizing", "risk", "edge")]
        self.first = max(strategy.first_decision(table), *known)


def forecast_of(part, table: pd.DataFrame) -> np.ndarray | None:
    """What a sizer or risk manager forecasts at each close (n,); None for one that forecasts nothing."""
    if not hasattr(part, "forecast"):
        return None
    name = f"{type(part).__name__}.forecast"
    return shared(table, "forecast", lambda: _one_a_bar(part.forecast(table.copy(deep=False)), table, name), part)


def _one_a_bar(values, table: pd.DataFrame, name: str) -> np.ndarray:
    values = np.array(values, dtype=float)
    if values.shape != (len(table),):
        raise ValueError(f"{name} gave an array of shape {values.shape} for {len(table)} bars: one number a bar is due")
    return values


def _first_known(values: np.ndarray | None) -> int:
    """Position of the first number; 0 where nothing is forecast, so that nothing has to be waited for."""
    if values is None:
        return 0
    known = ~np.isnan(values)
    return int(known.argmax()) if known.any() else len(values)


def _decisions(strategy: Strategy, table: pd.DataFrame) -> tuple:
    """(decisions, scores or None) of a strategy for one instrument."""
    if not is_shipped(strategy):
        table = table.copy(deep=False)  # what a `decide` writes into it stays there
    if strategy.scores is None:
        return checked_decisions(strategy, table), None
    scores = np.asarray(strategy.scores(table), dtype=float)
    if scores.shape != (len(table),):
        raise ValueError(f"{type(strategy).__name__}.scores gave an array of shape {scores.shape} for {len(table)} bars")
    return checked_decisions(strategy, table), scores


def is_shipped(strategy: Strategy) -> bool:
    """Whether this strategy, with all it is made of, is ours: its `decide` changes nothing, in it or in the bars."""
    return type(strategy) in SHIPPED and all(map(is_shipped, strategy._members))


def checked_decisions(strategy: Strategy, bars: pd.DataFrame) -> np.ndarray:
    """The strategy's decisions (n,), int8; what comes before its first is 0.

    Raises ValueError for a wrong length, or for anything but 1, -1 and 0 where a decision is due.
    """
    name, first = type(strategy).__name__, strategy.first_decision(bars)
    decisions = np.asarray(strategy.decide(bars))
    if is_shipped(strategy):  # its own array, of what it may hold
        decisions[:first] = 0
        return decisions
    if decisions.shape != (len(bars),):
        raise ValueError(f"{name}.decide gave an array of shape {decisions.shape} for {len(bars)} bars: "
                         f"one decision a bar is due, shape ({len(bars)},)")
    if decisions.dtype == np.int8:
        bad = decisions.view(np.uint8) + np.uint8(1) > 2  # -1, 0 and 1 are 0, 1 and 2 there
    else:
        bad = ~np.isin(decisions, (-1, 0, 1))
    bad[:first] = False
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"{name}.decide gave {decisions[at]} on {bars.index[at]}: a decision is 1 (buy), "
                         f"-1 (sell) or 0 (nothing)")
    checked = np.zeros(len(bars), dtype=np.int8)
    checked[first:] = decisions[first:]
    return checked
