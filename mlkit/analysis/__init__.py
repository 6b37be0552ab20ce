"""After a backtest: what it can pay, and whether to believe it.

`break_even_cost` and `cost_sensitivity` (`mlkit.analysis.costs`) ask how dear trading may become;
`diagnose` (`mlkit.analysis.doctor`) looks for what most often makes a result worth nothing.

>>> from mlkit import MovingAverageCross, backtest, planted_edge
>>> bars = planted_edge(1_000, seed=1, strength=0.3)
>>> print(f"{break_even_cost(bars, MovingAverageCross(1, 2)):.1f} bps a side")
36.1 bps a side
>>> diagnose(backtest(bars, MovingAverageCross(1, 2)))
Nothing found in 14 checks; nothing can be said of trials, benchmark.
"""

from mlkit.analysis.costs import BreakEven, break_even_cost, cost_sensitivity
from mlkit.analysis.doctor import Diagnosis, diagnose

__all__ = ["BreakEven", "Diagnosis", "break_even_cost", "cost_sensitivity", "diagnose"]
