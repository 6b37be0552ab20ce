"""How dear may trading be? The cost at which nothing is left, and what is left at each cost.

Every figure is had by running the backtest again. To subtract a cost from the gross profit would
be wrong by what it changes on the way: a poorer account buys less the next time.

>>> from mlkit import MovingAverageCross, planted_edge
>>> bars = planted_edge(1_000, seed=1, strength=0.3)
>>> rules = {"quick": MovingAverageCross(1, 2), "slow": MovingAverageCross(5, 50)}
>>> cost_sensitivity(bars, rules, (0, 10, 50), progress=False).round(2)
sharpe    quick  slow
cost_bps             
0          3.19  0.06
10         2.31 -0.02
50        -1.08 -0.30
"""

from __future__ import annotations

import math
from dataclasses import is_dataclass, replace
from inspect import signature

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from mlkit.engine import Costs, IdealExecutionHandler, RealisticExecutionHandler, backtest, sweep
from mlkit.engine.execution import BPS
from mlkit.overfitting.ledger import uncounted

MOST = 9_999.0  # bps a side: at 10,000 a sale brings nothing, and `Costs` takes no more
NOTHING = 1e-8  # of the capital (or of the gain before the cost, if that is less): so little left is nothing
ROUNDING = 1e-15  # of the capital: an equity is not known better
TINY = 1e-12  # of the capital: less gain is rounding, and more is not left to a bankrupt
EXACT = 1e-6  # of the capital: a "zero" further away than this is a jump, not a root


class BreakEven(float):
    """A cost in basis points a side, and how well it is known; as a number it is that cost.

    low, high : ends of its 95 % interval, bps a side, 0 to infinity
    runs : DataFrame, cost_bps and total_return (a fraction of the capital) of every run, by cost
    note : what must be known to read it, in words
    """

    def __new__(cls, cost_bps: float, low: float, high: float, runs: pd.DataFrame, note: str):
        found = super().__new__(cls, cost_bps)
        found.low, found.high, found.runs, found.note = low, high, runs, note
        return found

    def __getnewargs__(self):
        return float(self), self.low, self.high, self.runs, self.note

    def plot(self):
        """Net return against the cost a side; a matplotlib Figure."""
        from mlkit.plots import plot_break_even

        return plot_break_even(self)

    def __repr__(self) -> str:
        return (f"<BreakEven {self:,.2f} bps a side, 95 % interval {self.low:,.2f} to {self.high:,.2f}, "
                f"{len(self.runs)} runs: {self.note}>")


def break_even_cost(bars, strategy, *, n_boot: int = 1000, seed: int = 0, **options) -> BreakEven:
    """The cost, in bps of the traded value a side, at which the net return is zero: found by running again.

    bars, strategy, options : as for `backtest`. The cost takes the place of half spread, slippage and
        commission rate of options["execution"]; impact, borrow, the minimum fee, participation and
        latency stay as they are there (default and for the ideal handler: none)
    n_boot, seed : draws of the interval, and their seed

    Zero when there is no gain even without the cost, infinite when there still is one at 9,999 bps;
    where net return jumps across zero (limits, lots), or the costs keep it from trading (a minimum
    edge), the last cost before that. The note says which. If net return crosses zero more than once,
    this is one of the crossings. What is held at the end is marked at its last close: nobody pays for
    its sale. The runs are no trials to a ledger.

    The interval is an approximation around the exact run. At the break-even x, with bar by bar
    traded[t] = reference value of the fills over the equity before them, and gross[t] = net log
    return + x traded[t], x is sum(gross) / sum(traded). That ratio is worked out again for pairs
    drawn in circular blocks of n^(1/3) bars, and its 2.5 and 97.5 percentiles are `low` and `high`,
    0 below 0 and infinite above 9,999, or where the draws hold no fill. When the break-even is zero or
    infinite, the pairs are those of the run at no cost, and the interval reaches to it. In 800 markets
    of a known edge (500 and 2,000 bars) it held the true cost in 92 to 93 of 100.

    Raises ValueError for a strategy that never trades, for options that `backtest` does not take, and
    what `backtest` raises.
    """
    _check_options(options, n_boot)
    execution, results = _handler(options.pop("execution", None)), {}

    def run(bps: float):
        handler = replace(execution, costs=_at(execution.costs, bps))
        results[bps] = backtest(bars, strategy, execution=handler, **options)
        return results[bps]

    with uncounted():
        free = run(0.0)
        if free.fills.empty:
            raise ValueError(f"{free.name} never trades on these bars: no cost can bring its return to zero. "
                             "Give it more bars, or a rule that acts.")
        found = _search(run, free)
    if 0.0 < found < math.inf and _loses(results[found]):  # a jump: the last cost at which something is left
        found = max(bps for bps in results if bps < found and not _loses(results[bps]))
    at = results.get(found, free)
    low, high = _interval(at, found, n_boot, seed)
    runs = pd.DataFrame([(bps, _net(results[bps])) for bps in sorted(results)], columns=["cost_bps", "total_return"])
    return BreakEven(found, low, high, runs, _note(found, free, at))


def cost_sensitivity(bars, strategies: dict, costs_bps=(0, 1, 2, 5, 10, 20), *, metric: str = "sharpe",
                     costs: Costs | None = None, **options) -> pd.DataFrame:
    """What is left of each strategy at each cost: where the lines cross, the cost decides which is best.

    strategies : dict of Strategy by name; costs_bps : bps a side, in all (half spread, slippage, commission)
    metric : what to show, a name in `BacktestResult.metrics`
    costs : what stays as it is beside that (impact, borrow, minimum fee, participation); default none
    options : as for `sweep`

    returns : DataFrame, a row a cost (index `cost_bps`), a column a strategy; `.columns.name` is the metric
    Each is a trial to an open ledger, as in any sweep. Raises ValueError as `sweep`, and for an unknown metric.
    """
    if not isinstance(strategies, dict):
        raise ValueError(f"cost_sensitivity needs strategies in a dict, by name, not {strategies!r}")
    if options.get("sizers") is not None or options.get("apart"):
        raise ValueError("cost_sensitivity shows one line a strategy: without sizers and apart, which sweep would take")
    charges = [_at(Costs() if costs is None else costs, bps) for bps in np.atleast_1d(costs_bps).tolist()]
    table = sweep(bars, strategies, costs=charges, **options)
    if metric not in table or not pd.api.types.is_float_dtype(table[metric]):
        raise ValueError(f"{metric!r} is no metric of a backtest: sharpe and total_return are, for example")
    values = table[metric].to_numpy(dtype=float).reshape(len(strategies), len(charges)).T
    index = pd.Index([each.half_spread_bps for each in charges], name="cost_bps")
    return pd.DataFrame(values, index=index, columns=pd.Index(list(strategies), name=metric))


# ---- what they share


def _at(costs: Costs, bps: float) -> Costs:
    """These costs with one rate in place of three."""
    return replace(costs, half_spread_bps=bps, slippage_bps=0.0, commission_bps=0.0)


def _check_options(options: dict, n_boot: int) -> None:
    known = signature(backtest).parameters.keys() - {"bars", "strategy"}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"break_even_cost takes no {', '.join(unknown)}; beside n_boot and seed there is what "
                         f"backtest takes: {', '.join(sorted(known))}")
    if not isinstance(n_boot, (int, np.integer)) or n_boot < 1:
        raise ValueError(f"n_boot is how often to draw, a whole number of at least 1, not {n_boot!r}")


def _handler(execution):
    """A handler whose costs can be changed."""
    if execution is None or isinstance(execution, IdealExecutionHandler):
        return RealisticExecutionHandler(Costs(0, 0, 0))
    if not is_dataclass(execution) or isinstance(execution, type) or not hasattr(execution, "costs"):
        raise ValueError(f"execution must be a dataclass with `costs`, such as RealisticExecutionHandler(costs), "
                         f"not {execution!r}: it is run again with other costs")
    return execution


def _net(result) -> float:
    return result.figures["total_return"]


def _loses(result) -> bool:
    """Whether this is beyond the break-even: also where the costs keep it from trading at all."""
    return _net(result) < -EXACT or result.fills.empty


def _search(run, free) -> float:
    """The cost in bps at which the net return of `run(bps)` is zero; `free` is the result at no cost."""
    gain = _net(free)
    if not gain > TINY:
        return 0.0
    nothing = max(NOTHING * min(1.0, gain), ROUNDING)

    def left(bps: float) -> float:
        """Log of the growth: nearly a straight line in the cost, so that few runs find its zero."""
        result = run(bps) if bps else free
        if abs(_net(result)) < nothing:
            return -EXACT if _loses(result) else 0.0
        return math.log1p(max(_net(result), TINY - 1.0))

    growth, traded = _pairs(free)
    low, high = 0.0, min(1.1 * growth.sum() / traded.sum() / BPS, MOST)
    while left(high) > 0.0:
        if high == MOST:
            return math.inf
        low, high = high, min(2.0 * high, MOST)
    return brentq(left, low, high, xtol=1e-8)


def _pairs(result) -> tuple[np.ndarray, np.ndarray]:
    """Net log returns, and traded value over the equity before it, bar by bar: two arrays (n,)."""
    returns, fills = result.returns, result.fills
    equity = np.append(result.cash, result.equity.loc[returns.index].to_numpy())
    at = returns.index.searchsorted(fills["timestamp"])
    value = np.bincount(at, weights=(fills["quantity"].abs() * fills["reference"]).to_numpy(), minlength=len(returns))
    return np.log(equity[1:] / equity[:-1]), value / equity[:-1]


def _interval(result, found: float, n_boot: int, seed: int) -> tuple[float, float]:
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    if result.bankrupt:
        return 0.0, math.inf
    net, traded = _pairs(result)
    around = found if math.isfinite(found) else 0.0

    def ratio(net, traded):
        total, value = net.sum(), traded.sum()
        if value == 0.0:
            return math.copysign(math.inf, total) if total else around
        return around + total / value / BPS

    block = math.ceil(len(net) ** (1 / 3))
    drawn = CircularBlockBootstrap(block, net, traded, seed=seed).apply(ratio, n_boot).ravel()
    ends = np.percentile(drawn, [2.5, 97.5], method="inverted_cdf")  # takes one of them: between infinities is nothing
    low, high = (math.inf if end > MOST else max(0.0, float(end)) for end in ends)
    return min(low, found), max(high, found)


def _note(found: float, free, at) -> str:
    """What must be known to read the figure."""
    gain, fills = _net(free), len(free.fills)
    gross, costs = free.waterfall["gross"], free.execution.costs
    words = [f"{gain:+.1%} before this cost, in {fills:,} fills."]
    if not gain > TINY:
        words.append("It earns nothing before any cost: there is nothing to pay with." if gross <= 0.0 else
                     "What stays as it is (delay, impact, borrow, minimum fee) takes all of its gross profit.")
    elif found == math.inf:
        words.append(f"It still gains at {MOST:,.0f} bps a side.")
    elif abs(_net(at)) > EXACT:
        words.append(f"No cost leaves exactly nothing: {_net(at):+.2%} here, and for a little more it loses or does "
                     "not trade at all.")
    kept = {name: getattr(costs, name) for name in ("impact", "borrow_bps_per_year", "commission_min")}
    stays = [f"{name}={value:g}" for name, value in kept.items() if value]
    if stays:
        words.append(f"Beside it stays {', '.join(stays)}.")
    if at.figures["n_open_trades"]:
        words.append("What is held at the end is marked at its last close, its sale not paid for.")
    if at.bankrupt:
        words.append("Nothing can be said of the interval then.")
    return " ".join([*words, *at.notes()])
