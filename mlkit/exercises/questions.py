"""Questions, and how an answer to one is judged: by what it does with data.

>>> double = Question("q1", keep="Twice is times two.", hints=("What is 3 and 3?",), reference=lambda x: 2 * x,
...                   cases=lambda seed: [(3,), (5,)],
...                   mistakes=(Mistake("squares", "Times itself is not times two.", lambda x: x * x),))
>>> double.judge(lambda x: x + x)
✓ q1, right. Twice is times two.
>>> double.judge(lambda x: x ** 2)
✗ q1, a known mistake: squares. Times itself is not times two.
"""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

from mlkit.exercises.comparing import copies, described, part_of, same, smallest_difference
from mlkit.exercises.verdict import Verdict

OURS = str(Path(__file__).parents[1])
LIBRARIES = tuple({OURS, *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))})
LOOKS_AHEAD = ("looks ahead", "the answer uses bars which were still to come")
FOUND = {  # kind of an audit's finding -> what the mistake is called, and what the audit found of the answer
    "lookahead": LOOKS_AHEAD, "row set": LOOKS_AHEAD,
    "shared": ("trains on its test", "the answer trains on rows that it is tested on"),
    "overlap": ("labels reach into the test", "the answer trains on rows whose labels reach into the test"),
    "null labels": ("knows what it is scored on", "the answer agrees with labels of which nothing can be known"),
    "not repeatable": ("another answer each time", "the answer says something else when it is asked again"),
}


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give, and what is said to it.

    name : a few words, for the learner and the gradebook
    hint : about the idea, not the answer
    like : an answer that makes this mistake (a function, a value): who does the same with all cases made it
    when : instead, or where one answer is not enough: function of (given, expected), the lists of what came
        out for each case -> bool
    part : where an answer has several parts (a mapping), the one that `like` and the answer are compared by, so
        that a mistake in one part is told whatever the others are
    also : further answers that make it, each as `like`
    """

    name: str
    hint: str
    like: Any = None
    when: Callable[[list, list], bool] | None = None
    part: str = ""
    also: tuple = ()

    @property
    def made_by(self) -> tuple:
        """The answers that make this mistake."""
        return (() if self.like is None else (self.like,)) + self.also


def call(answer, *inputs):
    """An answer's output: a function is called with the inputs, a value is what it is."""
    return answer(*inputs) if callable(answer) else answer


def faulty(answer: Callable, choices: dict[str, tuple], **fault) -> tuple:
    """Every way to have a fault, for `Mistake.also`, where an answer is made of choices and the first fault is told.

    answer : takes the choices by name; choices : name -> the honest value, then others, in the order of the work
    fault : one of the names, with the values that are this fault

    What comes before the fault is honest, what comes after it may be anything.

    >>> [way.keywords for way in faulty(print, {"end": ("", "!"), "flush": (False, True)}, end=("!",))]
    [{'end': '!', 'flush': False}, {'end': '!', 'flush': True}]
    """
    at = list(choices).index(*fault)
    options = [fault.get(name, each[:1] if place < at else each) for place, (name, each) in enumerate(choices.items())]
    return tuple(partial(answer, **dict(zip(choices, values))) for values in product(*options))


def no_input(seed: int) -> list[tuple]:
    """The one case of a question that asks for a value."""
    return [()]


@dataclass(frozen=True)
class Question:
    """A question whose answer is a function or a value.

    name : "q1", ... as the notebook calls it
    keep : one sentence worth keeping, said when the answer is right
    hints : about the idea, given one after the other
    reference : a right answer; for a value a function without arguments may work it out
    mistakes : at least three that real learners make; the first that fits is named
    cases : seed -> list of inputs, tuples, the smallest first. The notebook uses seed 0, grading others too.
    run : (answer, *inputs) -> what is compared; default: what the answer returns
    audit : answer -> LeakageReport, where the question is about causality
    tolerance : relative difference of numbers that counts as none
    points : what it is worth
    """

    name: str
    keep: str
    hints: tuple[str, ...]
    reference: Any
    mistakes: tuple[Mistake, ...]
    cases: Callable[[int], list[tuple]] = no_input
    run: Callable = call
    audit: Callable | None = None
    tolerance: float = 1e-9
    points: int = 2

    def judge(self, answer, seed: int = 0) -> Verdict:
        """The verdict on an answer; whatever the answer does, this does not raise (but for an interrupt)."""
        if is_blank(answer):
            return self._not_attempted()
        inputs = self.cases(seed)
        if inputs != [()] and not callable(answer):
            return Verdict(self.name, "wrong", f"A function is asked for, and yours is {described(answer)}.")
        if _is_ours(answer):
            return Verdict(self.name, "wrong", "This is the checker's own function, not an answer of yours.")
        try:
            given = [self.run(answer, *copies(case)) for case in inputs]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (exit() in an answer is an answer that raises)
            return self._raised(error)
        if all(value is None for value in given) and callable(answer):
            return Verdict(self.name, "not attempted", "Your function gave None each time. Write your answer in the "
                           f"cell above, and end it with `return`; check.{self.name}.hint() helps.")
        if all(is_blank(value) for value in given):
            return self._not_attempted()
        expected = [self.run(self.reference, *copies(case)) for case in inputs]
        try:
            return self._compared(answer, inputs, given, expected)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (an object that cannot be compared)
            return self._raised(error)

    def _compared(self, answer, inputs, given, expected) -> Verdict:
        right = self._agree(given, expected)
        try:
            name, peeks = _first_peek(self.audit, answer) if self.audit else ("", "")
        except ValueError as error:
            if right:
                return Verdict(self.name, "wrong", f"On this data it is right, but the leakage audit fails: {error}")
            name, peeks = "", ""
        if right and not peeks:
            return Verdict(self.name, "right", self.keep)
        for mistake in () if right else self.mistakes:
            if self._fits(mistake, inputs, given, expected):
                return Verdict(self.name, "mistake", " ".join(filter(None, (mistake.hint, peeks))), mistake.name)
        if peeks:
            return Verdict(self.name, "mistake", peeks, name)
        return Verdict(self.name, "wrong",
                       f"It is no mistake we know. {self._smallest(answer, inputs, given, expected)}")

    def _agree(self, given, expected) -> bool:
        return all(same(one, other, self.tolerance) for one, other in zip(given, expected, strict=True))

    def _fits(self, mistake: Mistake, inputs, given, expected) -> bool:
        if mistake.when is not None and _holds(mistake.when, given, expected):
            return True
        return any(self._does_as(like, mistake.part, inputs, given, expected) for like in mistake.made_by)

    def _does_as(self, like, part: str, inputs, given, expected) -> bool:
        made = (self.run(like, *copies(case)) for case in inputs)  # no further than the first that differs
        if part:
            given, made, expected = ((part_of(each, part) for each in side) for side in (given, made, expected))
            given = list(given)
            if self._agree(given, expected):
                return False
        return self._agree(given, made)

    def _smallest(self, answer, inputs, given, expected) -> str:
        if inputs == [()]:  # the right value stays unsaid
            return f"Yours is {described(given[0])}{_direction(given[0], expected[0])}."
        case = next(case for case, one, other in zip(inputs, given, expected) if not same(one, other, self.tolerance))
        return smallest_difference(lambda shorter: (self.run(answer, *copies(shorter)),
                                                    self.run(self.reference, *copies(shorter))), case, self.tolerance,
                                   _names_of(answer))

    def _not_attempted(self) -> Verdict:
        return Verdict(self.name, "not attempted",
                       f"Write your answer in the cell above; check.{self.name}.hint() helps.")

    def _raised(self, error: BaseException) -> Verdict:
        if isinstance(error, NotImplementedError) and not str(error):
            return self._not_attempted()
        said = f": {str(error).rstrip('.')}" if str(error) not in ("", "None") else ""
        return Verdict(self.name, "raised", f"Your code raised {type(error).__name__}{said}{_place(error)}")


@dataclass(frozen=True)
class Option:
    """One answer to a question of thought: its text, and why it is right or wrong; `mistake` names a wrong one."""

    text: str
    why: str
    mistake: str = ""


@dataclass(frozen=True)
class Choice:
    """A question of thought: one of several answers is right, and each has its own explanation.

    options : letter -> Option; the one without a `mistake` is right
    """

    name: str
    keep: str
    hints: tuple[str, ...]
    options: dict[str, Option]
    points: int = 1
    mistakes: tuple = field(default=(), init=False)

    @property
    def reference(self) -> str:
        """The letter of the right answer."""
        return next(letter for letter, option in self.options.items() if not option.mistake)

    def judge(self, answer, seed: int = 0) -> Verdict:
        """The verdict on a letter."""
        try:
            answer = call(answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001
            return Question._raised(self, error)
        if is_blank(answer):
            return Verdict(self.name, "not attempted", f"Choose one of {', '.join(self.options)}.")
        letter = answer.strip().lower() if isinstance(answer, str) else answer
        option = self.options.get(letter) if isinstance(letter, str) else None
        if option is None:
            return Verdict(self.name, "wrong", f"{answer!r} is none of {', '.join(self.options)}.")
        told = {"choice": letter}
        if option.mistake:
            return Verdict(self.name, "mistake", option.why, option.mistake, told)
        return Verdict(self.name, "right", f"{option.why} {self.keep}", record=told)

    def _not_attempted(self) -> Verdict:
        return Verdict(self.name, "not attempted", f"Choose one of {', '.join(self.options)}.")


def is_blank(answer) -> bool:
    """Whether nothing was answered: None, the three dots, an empty text, parts that are all blank."""
    if isinstance(answer, Mapping) and len(answer):
        return all(is_blank(part) for part in answer.values())
    return answer is None or answer is ... or (isinstance(answer, str) and not answer.strip())


def _holds(when: Callable, given, expected) -> bool:
    """Whether a condition on answers holds; it does not of answers of another kind than it looks for."""
    try:
        return bool(when(given, expected))
    except Exception:  # noqa: BLE001
        return False


def _is_ours(answer) -> bool:
    return getattr(getattr(answer, "__code__", None), "co_filename", "").startswith(str(Path(__file__).parent))


def _names_of(answer) -> tuple:
    """What a function calls its inputs; nothing where that cannot be told."""
    try:
        return tuple(signature(answer).parameters)
    except (TypeError, ValueError):
        return ()


def _direction(given, expected) -> str:
    try:
        return ": too high" if given > expected else ": too low" if given < expected else ""
    except (TypeError, ValueError):
        return ""


def _first_peek(audit: Callable, answer) -> tuple[str, str]:
    """What an audit found first, as a mistake's name and a sentence; both '' if it found nothing.

    An answer may refuse bars of the audit's making. Rows that train and test alike come before labels that overlap.
    """
    findings = audit(answer).findings.sort_values("timestamp", kind="stable", na_position="last")
    findings = findings[findings["kind"] != "undetermined"]
    for _, finding in findings.sort_values("kind", key=lambda kinds: kinds != "shared", kind="stable").iterrows():
        return FOUND[finding["kind"]][0], f"The leakage audit: {finding['detail']}"
    return "", ""


def _place(error: BaseException) -> str:
    """', at line 3 of your cell: `x = 1 / 0`', where the learner's own code can be found in the traceback."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(LIBRARIES)]
    if isinstance(error, SyntaxError) or not own:
        return "."
    line = own[-1].line or linecache.getline(own[-1].filename, own[-1].lineno).strip()
    return f", at line {own[-1].lineno} of your cell: {line}" if line else f", at line {own[-1].lineno} of your cell."
