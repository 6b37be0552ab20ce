"""`sweep`: many backtests over the same bars, one row each.

The bars are checked once, indicators that strategies have in common are computed once,
runs in whole trades are worked out together (`mlkit.engine.many`), and nothing but the
row is kept of a run. Every row is what `backtest` would give.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mlkit.engine.execution import Costs, RealisticExecutionHandler
from mlkit.engine.run import Desk, strategy_name
from mlkit.engine.sharing import sharing
from mlkit.engine.strategies import Strategy
from mlkit.overfitting.ledger import is_counting, note_trials

AT_ONCE = 500_000  # bars worked on together: a few megabytes an array
OPTIONS = {"cash", "sizer", "risk", "allow_short", "latency_bars", "minimum_edge_bps", "engine"}
CHUNKS_PER_JOB = 8  # how finely the work is cut: progress moves, and no worker waits long for the last


class Combination(NamedTuple):
    """One backtest of a sweep: on which instrument (None: on all bars), of what, at which costs and size."""

    symbol: str | None
    name: str | None
    strategy: Strategy
    handler: RealisticExecutionHandler
    sizer: tuple  # (name, sizer), or () for the one among the options


def sweep(bars, strategies, *, costs=None, sizers=None, apart: bool = False, n_jobs: int = 1, progress: bool = True,
          **options) -> pd.DataFrame:
    """Backtest every strategy under every set of costs; one row a combination.

    bars : a bars table, or a dict of them by symbol
    strategies : an iterable of Strategy, or a dict of them by name
    costs : Costs, or an iterable of Costs; default Costs()
    sizers : an iterable of sizers, or a dict of them by name, each to be combined with all else; default
        the one `sizer` of the options
    apart : with a dict of bars, every instrument by itself, with all of the cash: a strategy without a
        symbol on each of them, one with a symbol on that
    n_jobs : processes (joblib; inside `joblib.parallel_config(backend="dask")` a
        cluster's workers), -1 = one a core
    options : as for `backtest`: cash, sizer, risk, allow_short, latency_bars, minimum_edge_bps, engine

    returns : DataFrame, instruments outermost (a column `symbol`, if apart), then strategies: `strategy`,
        its parameters, the costs, `sizer` (if several were asked for), every metric, `order_hash`,
        `engine`. A parameter that a strategy lacks is NaN there.
    Raises what `backtest` raises, for the first combination at fault, naming it.
    """
    combinations, options = _combine(bars, strategies, costs, sizers, apart, options)
    bar = tqdm(total=len(combinations), desc="sweep", unit=" backtests", disable=not progress)
    with bar:
        if n_jobs == 1:
            rows = _rows(bars, combinations, options, bar.update)
        else:
            rows = _in_parallel(bars, combinations, options, n_jobs, bar)
    if is_counting():
        for symbol, group in groupby(zip(combinations, rows), key=lambda pair: pair[0].symbol):
            note_trials(bars if symbol is None else {symbol: bars[symbol]},
                        ((each.strategy, each.handler, row) for each, row in group))
    return pd.DataFrame(rows)


def _combine(bars, strategies, costs, sizers, apart: bool, options: dict) -> tuple[list[Combination], dict]:
    """All combinations in the order of their rows, and the options that are the same for all."""
    named = list(strategies.items()) if isinstance(strategies, dict) else [(None, s) for s in _listed(strategies)]
    charges = [Costs()] if costs is None else [costs] if isinstance(costs, Costs) else _listed(costs)
    if not named or not charges:
        raise ValueError("a sweep needs at least one strategy and one set of costs")
    for each in charges:
        if not isinstance(each, Costs):
            raise ValueError(f"costs must be Costs(...) or several of them, not {each!r}")
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"sweep takes no {', '.join(unknown)}; beside costs and sizers there are "
                         f"{', '.join(sorted(OPTIONS))}")
    if sizers is not None and options.get("sizer") is not None:
        raise ValueError("a sweep takes one sizer or several sizers, not both")
    sizes = [()] if sizers is None else (list(sizers.items()) if isinstance(sizers, dict)
                                         else [(repr(sizer), sizer) for sizer in _listed(sizers)])
    if not sizes or (apart and not (isinstance(bars, dict) and bars)):
        raise ValueError("a sweep needs at least one sizer" if not sizes else "apart needs a dict of bars by symbol")
    handlers = [RealisticExecutionHandler(each, latency_bars=options.get("latency_bars", 0)) for each in charges]
    combinations = [Combination(symbol, name, strategy, handler, size)
                    for symbol in (bars if apart else [None]) for name, strategy in named
                    if not apart or getattr(strategy, "symbol", None) in (None, symbol)
                    for handler in handlers for size in sizes]
    if not combinations:
        raise ValueError(f"no strategy trades any of {', '.join(bars)}")
    return combinations, {name: value for name, value in options.items() if name != "latency_bars"}


def _listed(values) -> list:
    if not isinstance(values, Iterable):
        raise ValueError(f"several are expected here, in a list or a dict, not {values!r}")
    return list(values)


def _in_parallel(bars, combinations: list, options: dict, n_jobs: int, bar) -> list[dict]:
    from joblib import Parallel, delayed, effective_n_jobs

    size = max(1, -(-len(combinations) // (CHUNKS_PER_JOB * effective_n_jobs(n_jobs))))
    chunks = [combinations[first : first + size] for first in range(0, len(combinations), size)]
    rows = []
    jobs = (delayed(_rows)(_bars_of(chunk, bars), chunk, options) for chunk in chunks)
    for part in Parallel(n_jobs=n_jobs, return_as="generator")(jobs):
        rows += part
        bar.update(len(part))
    return rows


def _bars_of(chunk: list[Combination], bars):
    """No more bars than a worker needs."""
    if chunk[0].symbol is None:
        return bars
    return {symbol: bars[symbol] for symbol in dict.fromkeys(each.symbol for each in chunk)}


def _rows(bars, combinations: list[Combination], options: dict, done=None) -> list[dict]:
    """The rows of some combinations, in their order."""
    rows, desks, waiting = [None] * len(combinations), {}, {}
    with sharing():
        for number, each in enumerate(combinations):
            strategy, label = each.strategy, each.name
            if label is None:
                label = strategy_name(strategy) if isinstance(strategy, Strategy) else repr(strategy)
            mine = options | {"sizer": each.sizer[1]} if each.sizer else options
            try:
                place = each.symbol or getattr(strategy, "symbol", None)
                if place not in desks:
                    desks[place] = Desk(bars if each.symbol is None else {each.symbol: bars[each.symbol]}, strategy)
                decisions = desks[place].for_many(strategy, each.handler, **mine)
                found = None if decisions is not None else _alone(desks[place], strategy, each.handler, mine)
            except ValueError as error:
                error.add_note(f"(in the sweep, at {label}: {strategy!r} with {each.handler.costs})")
                raise
            where = {} if each.symbol is None else {"symbol": each.symbol}
            size = {"sizer": each.sizer[0]} if each.sizer else {}
            rows[number] = {**where, "strategy": label, **_parameters(strategy), **asdict(each.handler.costs), **size}
            if found:
                rows[number] |= found
            else:
                first = strategy.first_decision(desks[place].tables[desks[place].prices.symbol])
                key = place, id(each.handler), id(mine.get("sizer")), first
                group = waiting.setdefault(key, [])
                group.append((number, strategy, decisions))
                if len(group) * len(decisions) >= AT_ONCE:
                    _together(desks[place], waiting.pop(key), first, each.handler, mine, rows)
            if done:
                done()
        for (place, handler, sizer, first), group in waiting.items():
            each = combinations[group[0][0]]
            mine = options | {"sizer": each.sizer[1]} if each.sizer else options
            _together(desks[place], group, first, each.handler, mine, rows)
    return rows


def _alone(desk: Desk, strategy: Strategy, handler, options: dict) -> dict:
    result = desk.backtest(strategy, execution=handler, **options)
    return {**result.figures, "order_hash": result.order_hash, "engine": result.engine}


def _together(desk: Desk, group: list, first: int, handler, options: dict, rows: list) -> None:
    """Fill in the rows of runs that share their handler, their sizer and their warm-up."""
    found = desk.many(np.array([decisions for *_, decisions in group]), first, handler, **options)
    for (number, strategy, _), row in zip(group, found):
        rows[number] |= _alone(desk, strategy, handler, options) if row is None else {**row, "engine": "replay"}


def _parameters(strategy: Strategy) -> dict:
    """The strategy's own settings that fit in a table."""
    return {name: value for name, value in vars(strategy).items()
            if not name.startswith("_") and name not in ("symbol", "model_name")
            and isinstance(value, (bool, int, float, str, np.number))}
