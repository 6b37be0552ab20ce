"""The engine: market event, strategy, signal, risk, order, execution, fill.

>>> from mlkit.engine import BuyAndHold, backtest
>>> from mlkit.markets import random_walk
>>> result = backtest(random_walk(500, seed=1), BuyAndHold())
>>> int(result.metrics["n_open_trades"])
1
"""

from mlkit.engine.events import FillEvent, MarketEvent, OrderEvent, SignalEvent, VetoEvent
from mlkit.engine.execution import Costs, IdealExecutionHandler, RealisticExecutionHandler
from mlkit.engine.hybrids import CombinedStrategy, FilteredStrategy, RegimeSwitch
from mlkit.engine.portfolio import Portfolio
from mlkit.engine.result import BacktestResult
from mlkit.engine.risk import DrawdownRisk, RiskManager, VolatilityRisk
from mlkit.engine.run import backtest, compare
from mlkit.engine.sizing import (Confidence, FixedFraction, FixedQuantity, Kelly, KellyWarning, ModelSize,
                                 VolatilityTarget, kelly_estimate, kelly_size, sizing_table)
from mlkit.engine.strategies import BuyAndHold, MeanReversion, MLStrategy, MovingAverageCross, Strategy
from mlkit.engine.sweep import sweep

__all__ = [
    "BacktestResult", "BuyAndHold", "CombinedStrategy", "Confidence", "Costs", "DrawdownRisk", "FillEvent",
    "FilteredStrategy", "FixedFraction", "FixedQuantity", "IdealExecutionHandler", "Kelly", "KellyWarning", "MLStrategy",
    "MarketEvent", "MeanReversion", "ModelSize", "MovingAverageCross", "OrderEvent", "Portfolio",
    "RealisticExecutionHandler", "RegimeSwitch", "RiskManager", "SignalEvent", "Strategy", "VetoEvent", "VolatilityRisk",
    "VolatilityTarget", "backtest", "compare", "kelly_estimate", "kelly_size", "sizing_table", "sweep",
]
