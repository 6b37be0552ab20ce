"""Comparing the past under one future and another, and keeping account of what moved.

>>> import pandas as pd
>>> days = pd.date_range("2024-01-01", periods=3)
>>> full, cut = pd.Series([1.0, 3.0, 4.0], days, name="x"), pd.Series([1.0, 2.0], days[:2], name="x")
>>> first_changes(table_of(full), table_of(cut), until=days[1].as_unit("ns").value)
{'x': 1704153600000000000}
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlkit.leakage.futures import PHRASES, stamps
from mlkit.leakage.report import LeakageReport, day, findings_table, tests_table

TOLERANCE = 1e-9  # of a value and of its column's typical size: what rounding may change
EVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Table:
    """Results in the order of their time: stamps (n,), columns by name (n,), and what a row is called."""

    stamps: np.ndarray
    columns: dict[str, np.ndarray]
    rows: str = "rows"


def table_of(made, rows="rows") -> Table:
    """A DataFrame or Series as a Table. Raises ValueError for anything else."""
    if isinstance(made, pd.Series):
        made = made.to_frame("value" if made.name is None else made.name)
    if not isinstance(made, pd.DataFrame):
        raise ValueError(f"it gave a {type(made).__name__}, not a DataFrame or Series indexed by time")
    if not isinstance(made.index, pd.DatetimeIndex) or made.index.hasnans:
        raise ValueError(f"it gave a table whose index is a {type(made.index).__name__}, not the times of its rows: "
                         "keep the index of the bars")
    names = [str(name) for name in made.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"it gave a column twice: {', '.join(names)}")
    if not made.index.is_monotonic_increasing:
        made = made.sort_index(kind="stable")
    return Table(stamps(made.index), {name: _values(made.iloc[:, at]) for at, name in enumerate(names)}, rows)


def _values(column: pd.Series) -> np.ndarray:
    """Numbers and truth values as float64, all else as objects."""
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)
    return column.to_numpy(dtype=float, na_value=np.nan) if numeric else column.astype(object).to_numpy()


def first_changes(full: Table, other: Table, until: int = EVER) -> dict[str, int]:
    """The stamp of the first row, up to `until`, in which a column differs; `full.rows` where one came or went."""
    ours, theirs = (table.stamps[: np.searchsorted(table.stamps, until, side="right")] for table in (full, other))
    changes, common = {}, min(len(ours), len(theirs))
    apart = np.flatnonzero(ours[:common] != theirs[:common])
    if len(apart) or len(ours) != len(theirs):
        common = int(apart[0]) if len(apart) else common
        changes[full.rows] = int(min(each[common] for each in (ours, theirs) if len(each) > common))
    for name in dict.fromkeys([*full.columns, *other.columns]):
        if name in full.columns and name in other.columns:
            differs = _differs(full.columns[name], other.columns[name], common)
        else:  # a column that is not there says as much as one that never changes
            values = (full if name in full.columns else other).columns[name][:common]
            differs = _differs(values, values[:1].repeat(len(values)), common)
        if differs.any():
            changes[name] = int(ours[np.argmax(differs)])
    return changes


def _differs(full: np.ndarray, other: np.ndarray, common: int) -> np.ndarray:
    """Where the first `common` values are not the same, NaN being the same as NaN: bool (common,)."""
    a, b = full[:common], other[:common]
    if a.dtype == object or b.dtype == object:
        return ~((a == b) | (pd.isna(a) & pd.isna(b)))
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if differs.any():  # by more than rounding?
        size = np.abs(full[np.isfinite(full) & (full != 0)])
        typical = np.median(size) if len(size) else 0.0
        with np.errstate(invalid="ignore"):
            differs &= ~((np.abs(a - b) <= TOLERANCE * (np.abs(a) + typical)) & np.isfinite(a))
    return differs


class Trail:
    """What the tests of one audit saw, test by test, and the report it makes.

    subject : as in LeakageReport; clock : stamps (n,) of all bars; zone : their time zone
    what : what is changed ("bars", "rows of X and y"); noun : what is counted ("bars", "rows")
    actor : who may fail ("the builder"); row_kind : the kind of finding when a row came or went
    advice : a sentence to end each finding with
    """

    def __init__(self, subject, clock, zone, *, actor, what="bars", noun="bars", row_kind="row set", advice=""):
        self.subject, self.clock, self.zone, self.actor = subject, clock, zone, actor
        self.what, self.noun, self.row_kind, self.advice = what, noun, row_kind, advice
        self.counts: dict[str, list[int]] = {}
        self.sightings: dict[str, list[tuple]] = {}  # column -> (stamp, cut, test)
        self.failures: dict[tuple, list] = {}  # (test, reason) -> cuts
        self.cuts: set[int] = set()
        self.random: dict[str, int] = {}  # column -> stamp at which two runs on the same bars differ
        self.extra: list[tuple] = []  # further findings
        self.row_labels: set[str] = set()

    def repeat(self, full: list[Table], again: list[Table]) -> None:
        """Take account of a second run on the same bars."""
        for one, two in zip(full, again):
            self.row_labels.add(one.rows)
            self.random |= first_changes(one, two)

    def compare(self, test: str, cut: int, full: list[Table], other: list[Table]) -> None:
        """Take account of a run with another future after the stamp `cut`."""
        changes = {}
        for one, two in zip(full, other):
            changes |= first_changes(one, two, cut)
        changes = {column: stamp for column, stamp in changes.items() if column not in self.random}
        self.count(test, cut, changed=bool(changes))
        for column, stamp in changes.items():
            self.sightings.setdefault(column, []).append((stamp, cut, test))

    def fail(self, test: str, cut: int, error: Exception) -> None:
        """Take account of a test that could not be made."""
        self.count(test, cut, undetermined=True)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        self.failures.setdefault((test, reason), []).append(cut)

    def count(self, test, cut=None, changed=False, undetermined=False) -> None:
        counts = self.counts.setdefault(test, [0, 0, 0])
        for at, so in enumerate((True, changed, undetermined)):
            counts[at] += so
        if cut is not None:
            self.cuts.add(cut)

    def report(self, notes=()) -> LeakageReport:
        rows = [self._looks_ahead(column, seen) for column, seen in self.sightings.items()]
        rows += [self._not_repeatable(column, stamp) for column, stamp in self.random.items()]
        rows += self.extra + [self._undetermined(*key, cuts) for key, cuts in self.failures.items()]
        made = sum(counts[0] for counts in self.counts.values())
        cuts = f" at {len(self.cuts)} cuts" if self.cuts else ""
        return LeakageReport(self.subject, f"{made} tests{cuts}", findings_table(rows), tests_table(self.counts),
                             tuple(notes))

    # ---- one sentence each

    def time(self, stamp: int) -> pd.Timestamp:
        return pd.Timestamp(stamp, unit="ns", tz="UTC").tz_convert(self.zone)

    def _looks_ahead(self, column: str, seen: list[tuple]) -> tuple:
        stamp, cut, test = min(seen, key=lambda each: (each[0], list(PHRASES).index(each[2])))
        is_row = column in self.row_labels
        who = f"One of the {column}" if is_row else column
        verb = "came or went" if is_row else "changed"
        reach = max(int(np.searchsorted(self.clock, c) - np.searchsorted(self.clock, s)) + 1 for s, c, _ in seen)
        bars = f"the next {self.noun[:-1]}" if reach == 1 else f"at least {reach:,} {self.noun} of the future"
        whole = ", as a mean, a rank or a scaling over the whole table does" if 2 * reach > len(self.clock) else ""
        counts = Counter(test for _, _, test in seen)
        saw = ", ".join(f"{test} ({counts[test]} of {self.counts[test][0]})" for test in PHRASES if counts[test])
        detail = (f"{who} at {day(self.time(stamp))} {verb} when the {self.what} after {day(self.time(cut))} "
                  f"{PHRASES[test]}. It uses {bars}{whole}. Seen by {saw}.{self.advice}")
        return self.row_kind if is_row else "lookahead", column, self.time(stamp), detail

    def _not_repeatable(self, column: str, stamp: int) -> tuple:
        return ("not repeatable", column, self.time(stamp),
                f"{column} at {day(self.time(stamp))} was not the same when {self.actor} ran twice on the same "
                f"{self.what}: nothing can be said about its past. Fix its random seed, let it remember nothing, "
                "and audit it again.")

    def _undetermined(self, test: str, reason: str, cuts: list[int]) -> tuple:
        first = self.time(min(cuts))
        return ("undetermined", "", first,
                f"The {test} test could not be made at {len(cuts)} of {self.counts[test][0]} cuts: {self.actor} failed "
                f"when the {self.what} after {day(first)} {PHRASES[test]} ({reason}). What was not looked at is not "
                f"clean: let {self.actor} take such {self.noun}, then audit it again.")
