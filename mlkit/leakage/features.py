"""Do features look ahead? Build them again with another future, and compare the past.

>>> from mlkit.features import FeatureSet, LaggedReturns
>>> from mlkit.markets import random_walk
>>> audit_features(FeatureSet([LaggedReturns(2)]), random_walk(300, seed=1)).clean
True
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mlkit.checks import PRICES, BarsError
from mlkit.leakage.futures import altered, clock_of, irregular_cuts, stamps
from mlkit.leakage.report import LeakageReport
from mlkit.leakage.trail import Table, Trail, first_changes, table_of

TESTS = ("truncation", "noise", "NaN", "shuffle", "times 1000")
LEAST_BARS = 20
EXTREMES = 3  # as many times n_cuts at most
REGIME = 20  # bars over which a market swings or trends


def audit_features(build, bars, *, n_cuts=12, seed=0, progress=False) -> LeakageReport:
    """Whether any value of a feature depends on bars that came after it.

    build : bars -> DataFrame or Series, indexed by time (a FeatureSet, a function)
    bars : a bars table (n rows, at least 20), or a dict of tables: then `build` gets the dict
    n_cuts : how many irregular cuts all tests are made at; a leak on one bar in a hundred needs
        some hundreds. Two tests are also made at the extremes of market and features (up to
        3 n_cuts), where what leaks only now and then mostly shows.
    seed : of cuts and noise, an int; the same gives the same report

    At each cut the bars after it are cut off, replaced by noise, set to NaN, shuffled, and
    multiplied by 1,000; what was built up to and including the cut must stay the same: values
    (to 1e-9), NaN pattern and rows. Before a fifth of the bars nothing is cut off, as a builder may
    need some. `build` gets copies: it may write into them. Where it refuses NaN prices with a
    BarsError, as `check_bars` does, NaN is tried in the other columns alone.

    What it cannot see: values worked out beforehand from a table outside `bars` (a closure, a
    model or scaler fitted on everything, another market), a setting chosen with hindsight, and
    bars that are themselves revised or stamped too early. Hand other markets in as a dict; for
    what is fitted use `audit_procedure`. Columns that no change of the bars moves are noted.

    Raises ValueError when the bars cannot be cut in time, or `build` fails on them as they are.
    """
    tables = bars if isinstance(bars, dict) else {"": bars}
    clock = clock_of(tables)
    first = _first_cut(tables, clock)
    rng = np.random.default_rng(seed)
    zone = next(iter(tables.values())).index.tz
    trail = Trail("features", clock, zone, actor="the builder")

    def built(given: dict) -> Table:
        return table_of(build(given if isinstance(bars, dict) else given[""]))

    full = _as_they_are(built, tables)
    trail.repeat([full], [_as_they_are(built, tables)])
    plan = _plan(tables, full, clock, first, n_cuts, rng)
    silent, notes = set(full.columns) - set(trail.random), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bars multiplied by 1000 or set to NaN: our doing, not the builder's
        for test, cut in tqdm(plan, desc="audit", unit=" builds", disable=not progress):
            try:
                other = _elsewise(built, tables, clock[cut], test, rng, notes)
            except Exception as error:
                trail.fail(test, clock[cut], error)
                continue
            trail.compare(test, clock[cut], [full], [other])
            if test != "truncation" and silent:
                silent -= set(first_changes(full, other))
    if silent and not trail.failures:
        notes.add(f"no change of the bars moved {', '.join(sorted(silent))}: made from the dates alone, constant, or "
                  "worked out beforehand from another table. Into such a table the audit cannot look.")
    return trail.report(sorted(notes))


def _elsewise(built, tables: dict, until: int, test: str, rng, notes: set) -> Table:
    """What is built with another future; one of NaN prices that is refused as bad bars is no future at all."""
    try:
        return built(altered(tables, until, test, rng))
    except BarsError:
        if test != "NaN":
            raise
        notes.add("the builder refuses bars with NaN prices, so NaN was tried in the other columns alone.")
        return built(altered(tables, until, test, rng, keep_prices=True))


def _as_they_are(built, tables: dict) -> Table:
    try:
        full = built({name: table.copy() for name, table in tables.items()})
    except Exception as error:
        raise ValueError(f"The builder fails on the bars as they are, so there is nothing to audit: "
                         f"{type(error).__name__}: {error}") from error
    if not len(full.stamps) or not full.columns:
        raise ValueError("The builder gave an empty table: there is nothing to audit.")
    return full


def _first_cut(tables: dict, clock: np.ndarray) -> int:
    """The position on the clock at which every table has a fifth of its rows."""
    first = max(int(np.searchsorted(clock, stamps(table.index)[len(table) // 5])) for table in tables.values())
    if len(clock) < LEAST_BARS or first > len(clock) - 2:
        raise ValueError(f"{len(clock)} bars leave none to cut: an audit needs at least {LEAST_BARS}, better hundreds, "
                         "and no table that begins when the others end.")
    return first


def _plan(tables, full: Table, clock, first: int, n_cuts: int, rng) -> list[tuple[str, int]]:
    """(test, position of the cut on the clock) of every build to make."""
    last = len(clock) - 2
    plan = [(test, cut) for cut in irregular_cuts(first, last, n_cuts, rng) for test in TESTS]
    begin = max(int(np.searchsorted(clock, stamps(table.index)[0])) for table in tables.values())
    plan += [(test, begin) for test in TESTS]  # the very first bar: a warm-up filled from behind shows only there
    telling = [cut for cut in _extremes(tables, full, clock) if begin < cut <= last]
    plan += [(test, cut) for cut in telling[: EXTREMES * n_cuts] for test in TESTS[:2]]
    return [(test, cut) for test, cut in dict.fromkeys(plan) if test != "truncation" or cut >= first]


def _extremes(tables: dict, full: Table, clock: np.ndarray) -> list[int]:
    """Positions at which a market moved, swung, rose or fell most, then where each column was last at its extremes."""
    market, rest = [], []
    for table in tables.values():
        frame = pd.DataFrame(table).select_dtypes(["number", "bool"]).astype(float)
        close = frame.get("close", pd.Series(dtype=float))
        change = close.diff() / close.shift().abs()
        moves = [change, change.rolling(REGIME).std(), change.rolling(REGIME).sum()]
        kept = [frame[name] for name in frame if name not in PRICES[:3]]  # the close stands for them
        for columns, several in ((market, moves), (rest, kept)):
            columns += [(stamps(each.index), each.to_numpy()) for each in several if len(each)]
    made = [(full.stamps, values) for values in full.columns.values() if values.dtype == float]
    found = [at[np.flatnonzero(values == extreme(values))[-1]] for at, values in market + made + rest
             if not np.isnan(values).all() for extreme in (np.nanmax, np.nanmin)]
    return list(dict.fromkeys(np.searchsorted(clock, found).tolist()))
