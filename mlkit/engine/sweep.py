"""`sweep`: many backtests over the same bars, one row each.

The bars are checked once, indicators that strategies have in common are computed once,
runs in whole trades are worked out together (`mlkit.engine.many`), and nothing but the
row is kept of a run. Every row is what `backtest` would give.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mlkit.engine.execution import Costs, RealisticExecutionHandler
from mlkit.engine.run import Desk, strategy_name
from mlkit.engine.sharing import sharing
from mlkit.engine.strategies import Strategy
from mlkit.overfitting.ledger import is_counting, note_trials

AT_ONCE = 500_000  # bars worked on together: a few megabytes an array
OPTIONS = {"cash", "sizer", "risk", "allow_short", "latency_bars", "engine"}
CHUNKS_PER_JOB = 8  # how finely the work is cut: progress moves, and no worker waits long for the last


def sweep(bars, strategies, *, costs=None, n_jobs: int = 1, progress: bool = True, **options) -> pd.DataFrame:
    """Backtest every strategy under every set of costs; one row a combination.

    bars : a bars table, or a dict of them by symbol
    strategies : an iterable of Strategy, or a dict of them by name
    costs : Costs, or an iterable of Costs; default Costs()
    n_jobs : processes (joblib; inside `joblib.parallel_config(backend="dask")` a
        cluster's workers), -1 = one a core
    options : as for `backtest`: cash, sizer, risk, allow_short, latency_bars, engine

    returns : DataFrame, strategies outermost: `strategy`, its parameters, the costs, every
        metric, `order_hash`, `engine`. A parameter that a strategy lacks is NaN there.
    Raises what `backtest` raises, for the first combination at fault, naming it.
    """
    named = list(strategies.items()) if isinstance(strategies, dict) else [(None, s) for s in _listed(strategies)]
    charges = [Costs()] if costs is None else [costs] if isinstance(costs, Costs) else _listed(costs)
    if not named or not charges:
        raise ValueError("a sweep needs at least one strategy and one set of costs")
    for each in charges:
        if not isinstance(each, Costs):
            raise ValueError(f"costs must be Costs(...) or several of them, not {each!r}")
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"sweep takes no {', '.join(unknown)}; beside costs there are {', '.join(sorted(OPTIONS))}")
    handlers = [RealisticExecutionHandler(each, latency_bars=options.get("latency_bars", 0)) for each in charges]
    options = {name: value for name, value in options.items() if name != "latency_bars"}
    shown = [(handler, asdict(handler.costs)) for handler in handlers]
    combinations = [(name, strategy, handler, charges) for name, strategy in named for handler, charges in shown]
    bar = tqdm(total=len(combinations), desc="sweep", unit=" backtests", disable=not progress)
    with bar:
        if n_jobs == 1:
            rows = _rows(bars, combinations, options, bar.update)
        else:
            rows = _in_parallel(bars, combinations, options, n_jobs, bar)
    if is_counting():
        note_trials(bars, ((strategy, handler, row) for (_, strategy, handler, _), row in zip(combinations, rows)))
    return pd.DataFrame(rows)


def _listed(values) -> list:
    if not isinstance(values, Iterable):
        raise ValueError(f"several are expected here, in a list or a dict, not {values!r}")
    return list(values)


def _in_parallel(bars, combinations: list, options: dict, n_jobs: int, bar) -> list[dict]:
    from joblib import Parallel, delayed, effective_n_jobs

    size = max(1, -(-len(combinations) // (CHUNKS_PER_JOB * effective_n_jobs(n_jobs))))
    chunks = [combinations[first : first + size] for first in range(0, len(combinations), size)]
    rows = []
    for part in Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_rows)(bars, chunk, options) for chunk in chunks):
        rows += part
        bar.update(len(part))
    return rows


def _rows(bars, combinations: list, options: dict, done=None) -> list[dict]:
    """The rows of some combinations, in their order."""
    rows, desks, waiting = [None] * len(combinations), {}, {}
    with sharing():
        for number, (name, strategy, handler, charges) in enumerate(combinations):
            label = name or (strategy_name(strategy) if isinstance(strategy, Strategy) else repr(strategy))
            try:
                symbol = getattr(strategy, "symbol", None)
                if symbol not in desks:
                    desks[symbol] = Desk(bars, strategy)
                decisions = desks[symbol].for_many(strategy, handler, **options)
                found = None if decisions is not None else _alone(desks[symbol], strategy, handler, options)
            except ValueError as error:
                error.add_note(f"(in the sweep, at {label}: {strategy!r} with {handler.costs})")
                raise
            rows[number] = {"strategy": label, **_parameters(strategy), **charges}
            if found:
                rows[number] |= found
            else:
                key = symbol, id(handler), desks[symbol].first_tradable(strategy, handler)
                group = waiting.setdefault(key, [])
                group.append((number, strategy, handler, decisions))
                if len(group) * len(decisions) >= AT_ONCE:
                    _together(desks[symbol], waiting.pop(key), options, rows)
            if done:
                done()
        for (symbol, _, _), group in waiting.items():
            _together(desks[symbol], group, options, rows)
    return rows


def _alone(desk: Desk, strategy: Strategy, handler, options: dict) -> dict:
    result = desk.backtest(strategy, execution=handler, **options)
    return {**result.figures, "order_hash": result.order_hash, "engine": result.engine}


def _together(desk: Desk, group: list, options: dict, rows: list) -> None:
    """Fill in the rows of runs that share their handler and their warm-up."""
    _, strategy, handler, _ = group[0]
    found = desk.many(np.array([decisions for *_, decisions in group]), strategy, handler, **options)
    for (number, strategy, handler, _), row in zip(group, found):
        rows[number] |= _alone(desk, strategy, handler, options) if row is None else {**row, "engine": "replay"}


def _parameters(strategy: Strategy) -> dict:
    """The strategy's own settings that fit in a table."""
    return {name: value for name, value in vars(strategy).items()
            if not name.startswith("_") and name not in ("symbol", "model_name")
            and isinstance(value, (bool, int, float, str, np.number))}
