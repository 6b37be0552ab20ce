"""The engine: market event, strategy, signal, risk, order, execution, fill.

>>> from mlkit.engine import BuyAndHold, backtest
>>> from mlkit.markets import random_walk
>>> result = backtest(random_walk(500, seed=1), BuyAndHold())
>>> int(result.metrics["n_open_trades"])
1
"""

from mlkit.engine.events import FillEvent, MarketEvent, OrderEvent, SignalEvent, VetoEvent
from mlkit.engine.execution import Costs, IdealExecutionHandler, RealisticExecutionHandler
from mlkit.engine.portfolio import Portfolio
from mlkit.engine.result import BacktestResult
from mlkit.engine.risk import RiskManager
from mlkit.engine.run import backtest, compare
from mlkit.engine.sizing import FixedFraction, FixedQuantity
from mlkit.engine.strategies import BuyAndHold, MeanReversion, MLStrategy, MovingAverageCross, Strategy
from mlkit.engine.sweep import sweep

__all__ = [
    "BacktestResult", "BuyAndHold", "Costs", "FillEvent", "FixedFraction", "FixedQuantity", "IdealExecutionHandler",
    "MLStrategy", "MarketEvent", "MeanReversion", "MovingAverageCross", "OrderEvent", "Portfolio",
    "RealisticExecutionHandler", "RiskManager", "SignalEvent", "Strategy", "VetoEvent", "backtest", "compare", "sweep",
]
