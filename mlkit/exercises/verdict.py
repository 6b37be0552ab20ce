"""What the checker answers: one of five outcomes, in words, and kept in the notebook's record."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from mlkit.batch import record_as

OUTCOMES = {"not attempted": "○", "raised": "⚠", "mistake": "✗", "wrong": "✗", "right": "✓"}


@dataclass(frozen=True)
class Verdict:
    """How one answer to one question was judged.

    question : "q1", ...
    outcome : "not attempted", "raised", "mistake" (a known one), "wrong" (in a way not known) or "right"
    text : what the learner is told
    mistake : the name of the known mistake, else ""
    record : further results for the notebook's record, by name
    """

    question: str
    outcome: str
    text: str
    mistake: str = ""
    record: dict = field(default_factory=dict)

    @property
    def right(self) -> bool:
        return self.outcome == "right"

    def __str__(self) -> str:
        said = f"a known mistake: {self.mistake}" if self.mistake else self.outcome
        return f"{OUTCOMES[self.outcome]} {self.question}, {said}. {self.text}"

    __repr__ = __str__

    def results(self) -> dict:
        """What the notebook's record keeps of it."""
        return {self.question: self.outcome, f"{self.question}_mistake": self.mistake,
                **{f"{self.question}_{name}": value for name, value in self.record.items()}}

    def _ipython_display_(self) -> None:
        head, _, rest = str(self).partition(". ")
        rest = "<br>".join(f"<span style='white-space:pre-wrap'>{html.escape(line)}</span>" for line in rest.splitlines())
        page = f"<div style='border-left:4px solid #555;padding-left:1em'><b>{html.escape(head)}.</b> {rest}</div>"
        record_as(str(self), self.results(), page)
