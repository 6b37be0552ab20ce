"""`backtest`: from bars and a strategy to a result."""

from __future__ import annotations

import copy
import gc
from contextlib import contextmanager
from functools import partial
from numbers import Real

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mlkit.engine.books import Book
from mlkit.engine.execution import BPS, RealisticExecutionHandler
from mlkit.engine.loop import Run
from mlkit.engine.many import rows_of
from mlkit.engine.plan import Plan, checked_decisions, is_shipped
from mlkit.engine.portfolio import Portfolio, is_positive
from mlkit.engine.replay import Jump, Prices, in_whole_trades, whole_trades, why_not
from mlkit.engine.result import BacktestResult
from mlkit.engine.risk import RiskManager
from mlkit.engine.sizing import FixedFraction, FixedQuantity
from mlkit.engine.strategies import Strategy, uses_decide
from mlkit.markets import BarsError, check_bars
from mlkit.metrics import periods_per_year
from mlkit.overfitting.ledger import is_counting, note_trials

ENGINES = ("auto", "events", "replay")


def backtest(bars, strategy: Strategy, *, execution=None, risk=None, sizer=None, cash: float = 100_000.0,
             allow_short: bool = False, minimum_edge_bps: float = 0.0, engine: str = "auto",
             progress: bool = False) -> BacktestResult:
    """Trade a strategy over past bars, bar by bar, with real costs.

    bars : a bars table, or a dict of them by symbol
    strategy : a Strategy
    execution : default RealisticExecutionHandler(), 1 bp each of half spread,
        slippage and commission; IdealExecutionHandler() for none
    risk : default RiskManager(), no limits
    sizer : default FixedFraction(1.0), all of the equity
    cash : initial capital, account currency
    allow_short : whether a SELL may open a short position
    minimum_edge_bps : above 0, an entry is followed only where the return that the strategy expects
        (`Strategy.expected_returns`) exceeds the round trip it would pay (spread, slippage, commission
        and impact, both ways, by what is known at the decision) by this margin; the others are vetoed
        (`below_edge`), exits never. 0 follows every signal
    engine : "events", the loop; "replay", its fast twin, or ValueError where it cannot
        run this (mlkit.engine.replay says when); "auto", the replay where it can
    progress : show a progress bar

    The arguments are left as they were: the run works on copies. Raises BarsError
    for bars that cannot be traded (missing, unsorted, not positive, ...), ValueError
    for a strategy whose symbol is not there, options out of range, or impact and
    participation limits on an instrument that has no volume.
    """
    result = Desk(bars, strategy).backtest(
        strategy, execution=execution, risk=risk, sizer=sizer, cash=cash, allow_short=allow_short,
        minimum_edge_bps=minimum_edge_bps, engine=engine, progress=progress)
    if is_counting():
        row = {**result.figures, "strategy": result.name, "order_hash": result.order_hash}
        note_trials(bars, [(strategy, result.execution, row)])
    return result


class Desk:
    """Bars that have been checked once, ready for any number of backtests."""

    def __init__(self, bars, strategy: Strategy):
        _check_strategy(strategy)
        self.tables = _tables(bars, strategy)
        if len(self.tables) == 1:
            (symbol, table), = self.tables.items()
            self.index, self.prices = table.index, Prices(symbol, table)
        else:
            self.index, self.prices = _union(self.tables), None
        self.periods_per_year = periods_per_year(self.index)

    def backtest(self, strategy: Strategy, *, execution=None, risk=None, sizer=None, cash=100_000.0, allow_short=False,
                 minimum_edge_bps=0.0, engine="auto", progress=False) -> BacktestResult:
        """As the function `backtest`."""
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
        if not is_positive(cash):
            raise ValueError(f"cash must be a positive number, not {cash!r}")
        _check_strategy(strategy)
        _check_edge(strategy, minimum_edge_bps)
        vectorised, cash = uses_decide(strategy), float(cash)
        parts = {"execution": RealisticExecutionHandler() if execution is None else execution,
                 "risk": RiskManager() if risk is None else risk,
                 "sizer": FixedFraction(1.0) if sizer is None else sizer}
        _check_parts(**parts)
        _check_volume(self.tables, parts["execution"].costs, strategy.symbol)
        obstacle = why_not(self.tables, vectorised, **parts)
        if engine == "replay" and obstacle:
            raise ValueError(f"the replay cannot run this: {obstacle}; engine=\"auto\" or \"events\" can")
        replayed = engine != "events" and not obstacle
        if not obstacle and is_shipped(strategy):
            settings = parts  # values that cannot change, and a `decide` that changes nothing
        else:
            strategy, settings = copy.deepcopy(strategy), copy.deepcopy(parts)
        settings = {**settings, "allow_short": allow_short, "minimum_edge": minimum_edge_bps * BPS}
        with _collector_paused():
            plans = {symbol: Plan(strategy, symbol, table, vectorised, settings) for symbol, table in self.tables.items()}
            record = self._record(strategy, settings, plans, cash, vectorised, replayed, progress)
        execution, risk = settings["execution"], settings["risk"]
        return BacktestResult(self.index, record, self.tables, name=strategy_name(strategy), cash=cash,
                              start=self.first_tradable(execution, {symbol: plan.first for symbol, plan in plans.items()}),
                              execution=execution, risk=risk, engine="replay" if replayed else "events",
                              periods_per_year=self.periods_per_year)

    def for_many(self, strategy: Strategy, execution, *, risk=None, sizer=None, cash=100_000.0, allow_short=False,
                 minimum_edge_bps=0.0, engine="auto"):
        """The strategy's decisions if `many` may run it, None if it needs a `backtest` of its own."""
        parts = {"execution": execution, "risk": RiskManager() if risk is None else risk,
                 "sizer": FixedFraction(1.0) if sizer is None else sizer}
        _check_strategy(strategy)
        if (engine not in ("auto", "replay") or not is_shipped(strategy) or not is_positive(cash) or minimum_edge_bps
                or not uses_decide(strategy) or type(parts["sizer"]) not in (FixedFraction, FixedQuantity)
                or why_not(self.tables, True, **parts) or not in_whole_trades(allow_short=allow_short, **parts)):
            return None
        _check_volume(self.tables, execution.costs, strategy.symbol)
        return checked_decisions(strategy, self.tables[self.prices.symbol])

    def many(self, decisions: np.ndarray, first: int, execution, *, sizer=None, cash=100_000.0, **_) -> list:
        """Figures and order hash of each run (`mlkit.engine.many`), None where it needs a `backtest` of its own.

        first : the first bar on which all of them may decide
        """
        return rows_of(self.prices, decisions, execution=execution, sizer=FixedFraction(1.0) if sizer is None else sizer,
                       cash=float(cash), start=self.first_tradable(execution, {self.prices.symbol: first}),
                       periods_per_year=self.periods_per_year)

    def first_tradable(self, execution, first_decisions: dict[str, int]) -> int:
        """Position on the clock of the first bar on which an order could fill.

        first_decisions : symbol -> the first bar of its table on which something can be decided
        """
        wait = 0 if execution.unsafe_same_bar else 1 + execution.latency_bars
        firsts = [self.index.get_loc(self.tables[symbol].index[first + wait]) for symbol, first in first_decisions.items()
                  if first + wait < len(self.tables[symbol])]
        return min(firsts, default=len(self.index))

    def _record(self, strategy, settings, plans, cash, vectorised, replayed, progress):
        """What the run leaves behind, by the quickest way that gives it."""
        tables = self.tables
        if replayed:
            record = whole_trades(self.prices, plans[self.prices.symbol], model_at=strategy.model_at, cash=cash, **settings)
            if record is not None:
                return record
        portfolio, strategy = Portfolio(cash, tables), copy.copy(strategy)
        strategy.attach(portfolio)
        books = {symbol: Book(symbol, table, settings["execution"].costs, strategy.symbol not in (None, symbol),
                              **plans[symbol].arrays) for symbol, table in tables.items()}
        run = (Jump if replayed else Run)(books, _timeline(self.index, tables, books), strategy, portfolio=portfolio,
                                          **settings)
        return run.run(partial(tqdm, desc="backtest", unit=" bars", unit_scale=True) if progress else iter)


def compare(bars, strategies: dict[str, Strategy], **options) -> dict[str, BacktestResult]:
    """Backtest several strategies over the same span: each waits for the longest warm-up among them.

    strategies : name -> Strategy; options : as for `backtest`, the same for all
    returns : name -> BacktestResult
    """
    if not isinstance(strategies, dict) or not strategies:
        raise ValueError("compare needs a dict of at least one strategy by name")
    tables = _tables(bars, next(iter(strategies.values()))).values()
    lookback = 1 + max(strategy.first_decision(table) for strategy in strategies.values() for table in tables)
    results = {}
    for name, strategy in strategies.items():
        strategy = copy.deepcopy(strategy)
        strategy.lookback = lookback
        results[name] = backtest(bars, strategy, **options)
        results[name].name = name
    return results


def strategy_name(strategy: Strategy) -> str:
    return strategy.model_name or type(strategy).__name__


@contextmanager
def _collector_paused():
    """No garbage collection meanwhile: a run makes very many small objects, and no cycles of them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_strategy(strategy) -> None:
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy must be an instance of a Strategy subclass, not {strategy!r}")
    if not uses_decide(strategy) and type(strategy).handle_market is Strategy.handle_market:
        raise ValueError(f"{type(strategy).__name__} says nothing: write handle_market(event) or decide(bars)")
    if not isinstance(strategy.lookback, (int, np.integer)) or strategy.lookback < 1:
        raise ValueError(f"{type(strategy).__name__}.lookback must be a whole number of at least 1, "
                         f"not {strategy.lookback!r}")


def _tables(bars, strategy: Strategy) -> dict[str, pd.DataFrame]:
    """Checked bars by symbol."""
    if isinstance(bars, pd.DataFrame):
        bars = {strategy.symbol or bars.attrs.get("symbol") or "ASSET": bars}
    if not isinstance(bars, dict) or not bars:
        raise ValueError(f"bars must be a bars table or a dict of them by symbol, not {type(bars).__name__}")
    if strategy.symbol is not None and strategy.symbol not in bars:
        raise ValueError(f"the strategy trades {strategy.symbol!r}, but there are bars only for {', '.join(bars)}")
    for symbol, table in bars.items():
        check_bars(table, positive=strategy.symbol in (None, symbol))
    if len({str(table.index.tz) for table in bars.values()}) > 1:
        zones = ", ".join(f"{symbol}: {table.index.tz or 'none'}" for symbol, table in bars.items())
        raise BarsError(f"instruments with mixed time zones cannot be put on one clock ({zones}): "
                        f"give all of them UTC, or none")
    return {symbol: table.copy(deep=False) for symbol, table in bars.items()}  # later changes are not ours


def _check_edge(strategy: Strategy, minimum_edge_bps) -> None:
    if isinstance(minimum_edge_bps, bool) or not isinstance(minimum_edge_bps, Real) or not 0 <= minimum_edge_bps < np.inf:
        raise ValueError(f"minimum_edge_bps must be a finite number of at least 0, not {minimum_edge_bps!r}")
    if minimum_edge_bps and strategy.expected_returns is None:
        raise ValueError(f"minimum_edge_bps={minimum_edge_bps!r} needs a strategy that states an expected return, and "
                         f"{type(strategy).__name__} does not: give it a method expected_returns(bars) -> (n,), or use "
                         f"an MLStrategy with expected=...")


def _check_parts(execution, risk, sizer) -> None:
    """Each an instance, and of the right kind."""
    for part, name, wanted, example in ((execution, "execution", "costs", "RealisticExecutionHandler(costs)"),
                                        (risk, "risk", "review", "RiskManager(max_position=1.0)"),
                                        (sizer, "sizer", "size", "FixedFraction(1.0)")):
        if isinstance(part, type) or not hasattr(part, wanted):
            raise ValueError(f"{name} must be one such as {example}, not {part!r}")


def _check_volume(tables: dict, costs, traded: str | None) -> None:
    for symbol, table in tables.items():
        if traded in (None, symbol) and "volume" not in table and (costs.impact or costs.max_participation < 1):
            raise ValueError(f"{symbol} has no volume: impact and max_participation cannot be worked out there; "
                             f"set impact=0 and max_participation=1.0")


def _union(tables: dict) -> pd.DatetimeIndex:
    """All timestamps of all instruments, in order."""
    index = None
    for table in tables.values():
        index = table.index if index is None else index.union(table.index)
    return index.rename("timestamp")


def _timeline(index: pd.DatetimeIndex, tables: dict, books: dict) -> list:
    """Which books have a bar at each timestamp."""
    if len(tables) == 1:
        return [list(books.values())] * len(index)
    timeline = [[] for _ in index]
    for symbol, table in tables.items():
        for at in index.get_indexer(table.index):
            timeline[at].append(books[symbol])
    return timeline
