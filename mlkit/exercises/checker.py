"""`check.q1(answer)`, `check.q1.hint()`, `check.q1.solution()`: what an exercise notebook calls."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from mlkit.batch import record_as
from mlkit.exercises.questions import Choice, Question
from mlkit.exercises.tries import counts_of, keep_counts
from mlkit.exercises.verdict import Verdict

SOURCES = Path(__file__).with_name("sources")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
GRADING_SEEDS = (0, 7, 23)  # whoever fits seed 0 alone has fitted the notebook, not the question


class NotRight(AssertionError):
    """Raised where an answer is graded and is not right; its message is the verdict."""


class Check:
    """One question, as a notebook sees it: call it with an answer."""

    def __init__(self, lesson: str, question: Question | Choice):
        self._lesson, self._question = lesson, question
        self._counts, self._hints = counts_of(lesson, question.name), 0
        self.verdict: Verdict | None = None

    def __call__(self, answer=None) -> Verdict:
        """Judge an answer; shown when it is the last line of a cell, and kept in the notebook's record."""
        self.verdict = self._told(self._question.judge(answer))
        return self.verdict

    def hint(self) -> None:
        """Show the next hint; after the last one, that one again."""
        hints, name = self._question.hints, self._question.name
        text = hints[min(self._hints, len(hints) - 1)]
        self._hints += 1
        self._count(hints=max(self._hints, self._counts["hints"]))
        record_as(f"Hint {min(self._hints, len(hints))} of {len(hints)} to {name}: {text}",
                  {f"{name}_hints": self._counts["hints"]})

    def solution(self) -> None:
        """Show the solution, if it is installed; that it was asked for is recorded."""
        self._count(solution_shown=True)
        name = self._question.name
        text = solution_of(self._lesson, name)
        if text is None:
            text = "No solutions are installed here: ask whoever gave you this exercise."
        record_as(text, {f"{name}_solution_shown": True})

    def grade(self, answer=None) -> Verdict:
        """Judge an answer on more data than the notebook shows; raises NotRight unless it is right on all of it."""
        self.verdict = self._told(judge_on_all(self._question, answer))
        self.verdict._ipython_display_()
        if not self.verdict.right:
            raise NotRight(str(self.verdict))
        return self.verdict

    def _told(self, verdict: Verdict) -> Verdict:
        """The verdict with the counts in its record: tries until it was right once, and of a choice the first one."""
        counts = self._counts
        self._count(tries=counts["tries"] + (verdict.outcome != "not attempted" and not counts["right"]),
                    right=counts["right"] or verdict.right,
                    first_choice=counts["first_choice"] or verdict.record.get("choice", ""))
        kept = {name: counts[name] for name in ("tries", "hints", "solution_shown")}
        if isinstance(self._question, Choice):
            kept["first_choice"] = counts["first_choice"]
        return Verdict(verdict.question, verdict.outcome, verdict.text, verdict.mistake, kept)

    def _count(self, **changes) -> None:
        self._counts.update(changes)
        keep_counts(self._lesson, self._question.name, self._counts)

    def __repr__(self) -> str:
        return f"Question {self._question.name}: check.{self._question.name}(your answer), .hint(), .solution()"


class Checker:
    """A lesson's questions, each as an attribute: `check.q1`, `check.q2`, ...

    >>> len(demonstration().checks)
    1
    """

    def __init__(self, lesson: str, questions):
        self.lesson = lesson
        self.checks = {question.name: Check(lesson, question) for question in questions}

    def __getattr__(self, name: str) -> Check:
        checks = self.__dict__.get("checks", {})
        if name not in checks:
            raise AttributeError(f"there is no question {name} here; there are {', '.join(checks)}")
        return checks[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.checks]

    @property
    def right(self) -> list[str]:
        """Names of the questions whose last answer was right."""
        return [name for name, check in self.checks.items() if check.verdict and check.verdict.right]

    def __repr__(self) -> str:
        still = [name for name in self.checks if name not in self.right]
        done = f"{len(self.right)} of {len(self.checks)} right"
        return f"{self.lesson}: {done}; still open: {', '.join(still)}." if still else f"{self.lesson}: {done}. All done."

    def _ipython_display_(self) -> None:
        record_as(repr(self), {"questions": len(self.checks), "right": len(self.right)})


def judge_on_all(question: Question | Choice, answer) -> Verdict:
    """The verdict on more data than the notebook shows: the first that is not right, else right."""
    for seed in GRADING_SEEDS:
        verdict = question.judge(answer, seed)
        if not verdict.right:
            break
        if isinstance(question, Question):
            question = replace(question, audit=None)  # it has data of its own, the same for all seeds
    return verdict


def checker(lesson: str) -> Checker:
    """The checker of a lesson's exercise: `check = checker("01_leakage")`.

    Raises ValueError listing the lessons that have one, if this is none of them.
    """
    known = lessons()
    if lesson not in known:
        raise ValueError(f"no exercise is called {lesson!r}; there are {', '.join(known) or 'none'}")
    return Checker(lesson, known[lesson].QUESTIONS)


def lessons() -> dict:
    """Lesson's name -> module with its `QUESTIONS`, in the course's order."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("lesson[0-9][0-9].py"))
    modules = [import_module(f"mlkit.exercises.{name}") for name in names]
    return {module.LESSON: module for module in modules}


def solution_of(lesson: str, question: str) -> str | None:
    """The code between the marks of a question's solution in the source notebook; None where that is not installed."""
    source = SOURCES / f"{lesson}.ipynb"
    if not source.exists():
        return None
    for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]:
        told = cell["metadata"].get("nbgrader", {})
        if told.get("solution") and told.get("grade_id") == question:
            found = re.findall(rf"{BEGIN}\n(.*?)\n[ \t]*{END}", "".join(cell["source"]), re.DOTALL)
            return "\n".join(textwrap.dedent(each) for each in found)
    return None


def demonstration() -> Checker:
    """A checker with one question, to look at."""
    return Checker("demonstration", [Question("q1", keep="Two and two are four.", hints=("Count your fingers.",),
                                              reference=4, mistakes=())])
