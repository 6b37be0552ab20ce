"""Exercises that know the mistake you made: one checker a lesson, for learners alone and for a class.

An answer is run on data, its text is never read. It comes back as not attempted, raised, a known
mistake with a hint about the idea, wrong on this smallest input, or right with one sentence to keep.

    from mlkit.exercises import checker

    check = checker("01_leakage")
    check.q1(my_function)          # right, or which mistake
    check.q1.hint()                # the next hint; asked for, and recorded
    check.q1.solution()            # where the sources are installed

Each lesson's questions are in `lesson00.py` to `lesson11.py`; `sources/` holds the notebooks with their
solutions, from which the learners' notebooks in `notebooks/exercises/` are made. A wheel has no `sources/`.
"""

from mlkit.exercises.checker import Checker, NotRight, checker
from mlkit.exercises.questions import Choice, Mistake, Option, Question
from mlkit.exercises.verdict import Verdict

__all__ = ["Checker", "Choice", "Mistake", "NotRight", "Option", "Question", "Verdict", "checker"]
