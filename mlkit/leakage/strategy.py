"""Do the decisions of a strategy look ahead? Fills are not asked: they come a bar later, when a peek has paid off.

>>> from mlkit.engine import MeanReversion
>>> from mlkit.markets import random_walk
>>> audit_strategy(MeanReversion(10), random_walk(300, seed=1)).clean
True
"""

from __future__ import annotations

import copy
import warnings
from types import FunctionType, ModuleType

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mlkit.engine.run import backtest
from mlkit.engine.strategies import uses_decide
from mlkit.leakage.futures import altered, clock_of, irregular_cuts, stamps
from mlkit.leakage.report import LeakageReport
from mlkit.leakage.trail import Table, Trail, table_of
from mlkit.overfitting.ledger import uncounted

TESTS = ("truncation", "noise")
N_CUTS = 4  # irregular ones, and as many at bars where the strategy acted
LEAST_BARS = 20


def audit_strategy(strategy, bars, *, seed=0, progress=False, **backtest_options) -> LeakageReport:
    """Whether any decision of a strategy depends on bars that came after it.

    strategy : a Strategy; bars : a bars table of at least 20, or a dict of them
    seed : of cuts and noise, an int; the same gives the same report
    backtest_options : as for `backtest`; sizers and risk managers are audited along

    At 8 cuts, half of them where the strategy acted, the bars after the cut are cut off, and
    replaced by noise that makes valid bars. Up to and including the cut must stay the same:
    signals (direction, strength, model, stop, target), orders (those still pending too), and,
    where the strategy has them, `decide(bars)` and the continuous `scores(bars)`, which move
    before a decision flips. Fills are not compared: at the cut none has happened yet, so
    that a look at one bar of the future would not show.

    Tables with a DatetimeIndex that the strategy or its parts hold (a table of signals, another
    market) are cut and changed with the bars. What it cannot see: arrays, functions and models.
    A model fitted on all bars is frozen, and gives the same scores whatever comes: that is for
    `audit_procedure`. The runs are no trials to a ledger, and the arguments stay as they were.
    Raises ValueError for too few bars; what `backtest` raises on them as they are, it raises.
    """
    tables = bars if isinstance(bars, dict) else {"": bars}
    clock, zone = clock_of(tables), next(iter(tables.values())).index.tz
    trail = Trail("strategy", clock, zone, actor="the strategy", row_kind="lookahead")
    first, last = _first_cut(strategy, tables, clock), len(clock) - 2
    rng = np.random.default_rng(seed)
    held = {("held", at): table for at, table in enumerate(_held_tables((strategy, backtest_options)))}

    def run(test=None, cut=None) -> list[Table]:
        given = {**tables, **held}
        given = altered(given, cut, test, rng) if test else {name: table.copy() for name, table in given.items()}
        others = {id(table): given.pop(name) for name, table in held.items()}  # what a deep copy puts in their place
        twin, options = copy.deepcopy((strategy, backtest_options), others)
        return _decisions(twin, given if isinstance(bars, dict) else given[""], options)

    full = run()
    trail.repeat(full, run())
    acted = np.searchsorted(clock, np.unique(full[1].stamps))
    acted = acted[(acted >= first) & (acted <= last)]
    cuts = sorted({*irregular_cuts(first, last, N_CUTS, rng),
                   *map(int, rng.choice(acted, min(N_CUTS, len(acted)), replace=False))})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of prices made of noise: our doing, not the strategy's
        plan = [(test, clock[cut]) for cut in cuts for test in TESTS]
        for test, cut in tqdm(plan, desc="audit", unit=" runs", disable=not progress):
            try:
                trail.compare(test, cut, full, run(test, cut))
            except Exception as error:
                trail.fail(test, cut, error)
    return trail.report()


def _first_cut(strategy, tables: dict, clock: np.ndarray) -> int:
    """The position on the clock at which every table has a fifth of its bars, and enough to decide on."""
    rows = {name: min(max(len(table) // 5, strategy.lookback), len(table) - 1) for name, table in tables.items()}
    first = max(int(np.searchsorted(clock, stamps(table.index)[rows[name]])) for name, table in tables.items())
    if len(clock) < LEAST_BARS or first > len(clock) - 2:
        name, lookback = type(strategy).__name__, strategy.lookback
        raise ValueError(f"{len(clock)} bars leave none to cut: {name} needs {lookback} for its first decision, and an "
                         f"audit at least {LEAST_BARS}. Give it a longer history.")
    return first


def _decisions(strategy, bars, options: dict) -> list[Table]:
    """What was decided: signals, orders, and for each instrument decisions and scores."""
    with uncounted():
        result = backtest(bars, strategy, **options)
    signals = result.signals.set_index("timestamp")[["symbol", "direction", "strength", "model"]]
    # Levels are decided with the signal and are in no table of the result; a replay has none.
    levels = [(signal.stop, signal.target) for _, signal, _ in getattr(result._record, "signals", [])]
    if levels:
        signals[["stop", "target"]] = np.array(levels, dtype=float)
    orders = result.orders.set_index("timestamp")[["symbol", "quantity"]]
    made = [table_of(signals.add_prefix("signal "), "signals"), table_of(orders.add_prefix("order "), "orders")]
    for symbol, table in result.bars.items():
        if strategy.symbol in (None, symbol):
            made.append(table_of(_all_at_once(strategy, options, table, f" of {symbol}" if len(result.bars) > 1 else "")))
    return made


def _all_at_once(strategy, options: dict, table: pd.DataFrame, of: str) -> pd.DataFrame:
    """What strategy, sizer and risk manager work out for all bars before the run."""
    columns = {}
    if uses_decide(strategy):
        columns["decision"] = np.array(strategy.decide(table.copy()), dtype=float)
        columns["decision"][: strategy.lookback - 1] = 0.0  # nobody asks for these
        if strategy.scores is not None:
            columns["score"] = strategy.scores(table.copy())
    if options.get("minimum_edge_bps"):
        columns["expected return"] = strategy.expected_returns(table.copy())
    for name in ("sizer", "risk"):
        if hasattr(options.get(name), "forecast"):
            columns[f"{name} forecast"] = options[name].forecast(table.copy())
    return pd.DataFrame({f"{name}{of}": np.asarray(values, dtype=float) for name, values in columns.items()}, table.index)


def _held_tables(whole):
    """Every DataFrame and Series on a DatetimeIndex within the attributes of these objects, each once."""
    waiting, seen = [whole], {}
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (type, FunctionType, ModuleType)):
            continue
        seen[id(each)] = each
        if isinstance(each, (pd.DataFrame, pd.Series)):
            if isinstance(each.index, pd.DatetimeIndex):
                yield each
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, (list, tuple, set)):
            waiting += each
        elif hasattr(each, "__dict__"):
            waiting += vars(each).values()
