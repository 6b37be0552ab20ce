"""What an audit found, in sentences.

>>> report = LeakageReport("features", "60 tests at 12 cuts", findings_table([]), tests_table({}))
>>> report
LeakageReport of features: 60 tests at 12 cuts: clean
"""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd

GREEN, RED = "#009E73", "#D55E00"  # Okabe & Ito (2008); the words beside them say the same


class LeakageError(ValueError):
    """Something looks ahead, or could not be shown not to; the message says what and where."""


@dataclass(frozen=True, repr=False, eq=False)
class LeakageReport:
    """What one audit found.

    subject : what was audited: "features", "procedure", "split" or "strategy"
    summary : how many tests were made
    findings : DataFrame, one row a finding: kind ("lookahead", "row set", "null labels", "overlap",
        "shared", "not repeatable", "undetermined"), column (or fold, or "rows"), timestamp (the
        earliest seen; NaT where there is none), detail (a sentence)
    tests : DataFrame, one row a kind of test: made, changed (how many saw a change), undetermined
    notes : what no test could look into
    """

    subject: str
    summary: str
    findings: pd.DataFrame
    tests: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every test was made and none found anything."""
        return self.findings.empty

    def raise_if_leaky(self) -> None:
        """Raise LeakageError, its message the sentences, unless the report is clean."""
        if not self.clean:
            raise LeakageError("\n".join(self.findings["detail"]))

    def _verdict(self) -> str:
        count = len(self.findings)
        return "clean" if self.clean else f"{count} finding{'s' if count > 1 else ''}"

    def __repr__(self) -> str:
        lines = [f"LeakageReport of {self.subject}: {self.summary}: {self._verdict()}"]
        lines += [f"- {row.kind}: {row.detail}" for row in self.findings.itertuples()]
        return "\n".join(lines + [f"Note: {note}" for note in self.notes])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(row.kind)}</td><td>{html.escape(row.column)}</td>"
                       f"<td>{'' if pd.isna(row.timestamp) else day(row.timestamp)}</td>"
                       f"<td style='text-align:left'>{html.escape(row.detail)}</td></tr>"
                       for row in self.findings.itertuples())
        heads = "".join(f"<th>{name}</th>" for name in self.findings)
        table = f"<table><tr>{heads}</tr>{rows}</table>" if rows else ""
        notes = "".join(f"<p><b>Note.</b> {html.escape(note)}</p>" for note in self.notes)
        return (f"<div style='border-left:4px solid {GREEN if self.clean else RED};padding-left:1em'>"
                f"<p><b>Leakage audit of {self.subject}: {self._verdict()}</b></p>"
                f"<p>{html.escape(self.summary)}</p>{table}{notes}</div>")


def findings_table(rows: list[tuple]) -> pd.DataFrame:
    """(kind, column, timestamp, detail) of each finding as a table, with the same types when there are none."""
    table = pd.DataFrame(rows, columns=["kind", "column", "timestamp", "detail"])
    text = {name: "str" for name in ("kind", "column", "detail")}
    return table.assign(timestamp=pd.DatetimeIndex(table["timestamp"])).astype(text)


def tests_table(counts: dict[str, list[int]]) -> pd.DataFrame:
    """[made, changed, undetermined] of each kind of test as a table."""
    return pd.DataFrame.from_dict(counts, orient="index", columns=["made", "changed", "undetermined"])


def day(stamp: pd.Timestamp) -> str:
    """The date of a daily bar, the time in full of any other."""
    return f"{stamp:%Y-%m-%d}" if stamp.tz is None and stamp == stamp.normalize() else str(stamp)
