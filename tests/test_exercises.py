"""Every question of every exercise: blank, right in several ways, each known mistake by its name, raising.

The answers are in `answers/lessonNN.py`, written apart from the checker, as learners would write them:
`RIGHT` is name of a question -> at least two right answers, `WRONG` -> name of the mistake -> an answer that
makes it (or a list of such answers).
"""

import json
import re
from functools import cache
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from mlkit.exercises.checker import BEGIN, END, GRADING_SEEDS, SOURCES, Checker, NotRight, lessons, solution_of
from mlkit.exercises.questions import Choice

LESSONS = lessons()
QUESTIONS = [(lesson, question) for lesson, module in LESSONS.items() for question in module.QUESTIONS]
ASKED = [(lesson, question) for lesson, question in QUESTIONS if not isinstance(question, Choice)]
CHOSEN = [(lesson, question) for lesson, question in QUESTIONS if isinstance(question, Choice)]
FOR_EACH = pytest.mark.parametrize("lesson, question", QUESTIONS, ids=lambda part: getattr(part, "name", part))
FOR_EACH_ASKED = pytest.mark.parametrize("lesson, question", ASKED, ids=lambda part: getattr(part, "name", part))
FOR_EACH_LESSON = pytest.mark.parametrize("lesson", LESSONS)


def answers(lesson):
    return import_module(f"answers.{LESSONS[lesson].__name__.rpartition('.')[2]}")


def listed(answer):
    return answer if isinstance(answer, list) else [answer]


def made(lesson, question):
    """(name of the mistake, an answer that makes it)"""
    if isinstance(question, Choice):
        return [(option.mistake, letter) for letter, option in question.options.items() if option.mistake]
    return [(name, answer) for name, given in answers(lesson).WRONG[question.name].items() for answer in listed(given)]


MISTAKES = [(lesson, question, name, answer) for lesson, question in QUESTIONS for name, answer in made(lesson, question)]
VARIANTS = [(lesson, question, answer) for lesson, question in ASKED for answer in answers(lesson).RIGHT[question.name]]


@FOR_EACH
@pytest.mark.parametrize("blank", [None, ..., "", lambda *inputs: None, lambda *inputs: ...])
def test_blank_is_not_attempted(lesson, question, blank):
    assert question.judge(blank).outcome == "not attempted"


@FOR_EACH
def test_the_reference_is_right(lesson, question):
    reference = question.reference
    answer = (lambda *inputs: reference(*inputs)) if callable(reference) else reference
    for seed in GRADING_SEEDS:
        verdict = question.judge(answer, seed)
        assert verdict.right, verdict
    assert question.keep in verdict.text


def test_a_function_that_gives_nothing_is_told_so():
    for lesson, question in ASKED:
        assert "None each time" in question.judge(lambda *inputs: None).text, (lesson, question.name)


def test_names_that_were_told_do_not_tell_which_columns_are_bound_to_the_price():
    question = next(each for each in LESSONS["03_feature_engineering"].QUESTIONS if each.name == "q3")
    for seed in GRADING_SEEDS:
        found = set().union(*(question.reference(*case) for case in question.cases(seed)))
        assert not question.judge(lambda bars, build: found & set(build(bars)), seed).right


def test_which_kind_of_fold_is_told():
    """Rows that train and test alike come first: there is no purge that would mend them."""
    answer = answers("01_leakage").mended(folds=lambda labels: [(np.arange(len(labels)), np.arange(len(labels)))])
    question = LESSONS["01_leakage"].QUESTIONS[5]
    assert question.judge(answer).mistake == "trains on its test"


@pytest.mark.parametrize("lesson, question, answer", VARIANTS, ids=lambda part: getattr(part, "name", None))
def test_whatever_does_the_same_is_right(lesson, question, answer):
    for seed in GRADING_SEEDS:
        verdict = question.judge(answer, seed)
        assert verdict.right, verdict


def nones(values):
    return [None if value is pd.NA or value != value else value for value in values.tolist()]


IN_A_ROW = {"a list": pd.Series.tolist, "a tuple": tuple, "an array": pd.Series.to_numpy, "an index": pd.Index,
            "a column of an array": lambda values: values.to_numpy().reshape(-1, 1), "None for NaN": nones}
SHAPES = [  # of which kinds of values, and what else code that is right makes of them
    (pd.Series, {**IN_A_ROW, "a table": pd.Series.to_frame, "under another name": lambda values: values.rename("mine"),
                 "objects": lambda values: values.astype(object),
                 "NA for NaN": lambda values: values.astype(object).where(values.notna(), pd.NA),
                 "nullable": pd.Series.convert_dtypes,
                 "single": lambda values: values.astype("float32" if values.dtype == float else values.dtype),
                 "numbers": lambda values: values.astype(float if values.dtype in (bool, int) else values.dtype)}),
    ((int, float, str), {"of numpy": lambda value: np.asarray(value)[()], "without dimension": np.asarray}),
    (np.generic, {"of Python": lambda value: value.item()}),
    (float, {"single": np.float32}), (bool, {"a number": int}), (int, {"a float": float}),
    (set, {"a list": list, "a tuple": tuple, "an array": lambda names: np.array(sorted(names)),
           "an index": lambda names: pd.Index(sorted(names)), "a series": lambda names: pd.Series(sorted(names))}),
    (list, {"a tuple": tuple, "an array": np.array, "a series": pd.Series}), (tuple, {"a list": list}),
    (np.ndarray, {"a list": np.ndarray.tolist}),
    (pd.DataFrame, {"a dict": lambda table: table.to_dict("series"), "nullable": pd.DataFrame.convert_dtypes,
                    "objects": lambda table: table.astype(object), "turned round": lambda table: table.iloc[:, ::-1]})]
REFUSED = {("05_model_comparison", "q1"): set(IN_A_ROW)}  # it is found by its name, which values in a row have not


def reshaped(value, kind, shape):
    """A right value in another shape, and the parts of it that are of this kind; None where there are none."""
    if isinstance(value, kind):
        return shape(value)
    if isinstance(value, (dict, tuple)):
        parts = value if isinstance(value, dict) else dict(enumerate(value))
        others = {name: reshaped(part, kind, shape) for name, part in parts.items()}
        if any(other is not None for other in others.values()):
            made = {name: parts[name] if other is None else other for name, other in others.items()}
            return made if isinstance(value, dict) else tuple(made.values())
    return None


@FOR_EACH_ASKED
def test_a_right_answer_may_come_in_any_shape(lesson, question):
    made, refused = [], {}

    def right(*inputs):
        made.append(question.reference(*inputs) if callable(question.reference) else question.reference)
        return made[-1]

    assert question.judge(right).right
    first = made[0]
    for kind, shapes in SHAPES:
        for name, shape in shapes.items():
            if reshaped(first, kind, shape) is None or name in REFUSED.get((lesson, question.name), ()):
                continue
            verdict = question.judge(lambda *inputs: reshaped(right(*inputs), kind, shape))
            if not verdict.right:
                refused[kind, name] = verdict.text
    assert not refused


@pytest.mark.parametrize("lesson, question", CHOSEN, ids=lambda part: getattr(part, "name", part))
def test_a_letter_may_be_written_as_one_likes(lesson, question):
    for letter in (question.reference.upper(), f" {question.reference} "):
        assert question.judge(letter).right
    assert question.judge("zebra").outcome == question.judge(17).outcome == "wrong"


@pytest.mark.parametrize("lesson, question, name, answer", MISTAKES, ids=lambda part: getattr(part, "name", None)
                         or (part if isinstance(part, str) else None))
def test_each_known_mistake_is_told_by_its_name(lesson, question, name, answer):
    verdict = question.judge(answer)
    assert (verdict.outcome, verdict.mistake) == ("mistake", name), verdict
    told = {mistake.name: mistake.hint for mistake in question.mistakes}
    if name in told:
        assert told[name] in verdict.text
    with pytest.raises(NotRight):
        getattr(Checker(lesson, [question]), question.name).grade(answer)


@FOR_EACH
def test_a_solution_that_raises_is_told_what_and_where(lesson, question):
    def broken(*inputs):
        return inputs[1_000]        # the line that is told

    verdict = question.judge(broken)
    assert verdict.outcome == "raised" and "IndexError" in verdict.text and "the line that is told" in verdict.text


@FOR_EACH
def test_a_question_has_mistakes_hints_and_a_sentence_to_keep(lesson, question):
    names = [name for name, _ in made(lesson, question)]
    assert len(set(names)) >= 3 and question.hints and question.keep.endswith(".")
    if not isinstance(question, Choice):
        assert len(answers(lesson).RIGHT[question.name]) >= 2
        assert {mistake.name for mistake in question.mistakes} <= set(names) | {"looks ahead"}
        assert all(mistake.hint.endswith((".", "?")) for mistake in question.mistakes)
    else:
        assert sum(not option.mistake for option in question.options.values()) == 1


# ---- the notebooks with the solutions


@cache
def source(lesson):
    return json.loads((SOURCES / f"{lesson}.ipynb").read_text(encoding="utf-8"))


def code_of(lesson, solved: bool):
    text = ["".join(cell["source"]) for cell in source(lesson)["cells"] if cell["cell_type"] == "code"]
    if not solved:
        text = [re.sub(rf"{BEGIN}\n.*?\n[ \t]*{END}", "pass", each, flags=re.DOTALL) for each in text]
    return [re.sub(r"### (BEGIN|END) HIDDEN TESTS\n?", "", each) if solved
            else re.sub(r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS", "", each, flags=re.DOTALL) for each in text]


def outcomes(lesson, solved: bool):
    world = {"__name__": "__main__"}
    for number, text in enumerate(code_of(lesson, solved)):
        exec(compile(text, f"<cell {number}>", "exec"), world)     # noqa: S102  (our own source notebook)
    return {name: check.verdict.outcome for name, check in world["check"].checks.items()}


@FOR_EACH_LESSON
def test_the_solutions_are_right_and_the_blanks_are_not_attempted(lesson):
    names = [question.name for question in LESSONS[lesson].QUESTIONS]
    assert names == [f"q{number}" for number in range(1, len(names) + 1)] and 4 <= len(names) <= 6
    assert outcomes(lesson, solved=True) == dict.fromkeys(names, "right")
    assert outcomes(lesson, solved=False) == dict.fromkeys(names, "not attempted")


@FOR_EACH_LESSON
def test_a_source_notebook_has_its_cells_in_order(lesson):
    cells = [cell for cell in source(lesson)["cells"] if "nbgrader" in cell["metadata"]]
    told = [(cell["metadata"]["nbgrader"]["grade_id"], cell["metadata"]["nbgrader"].get("points")) for cell in cells]
    wanted = [pair for question in LESSONS[lesson].QUESTIONS
              for pair in ((question.name, None), (f"{question.name}-check", question.points))]
    assert told == wanted
    prose = "\n".join("".join(cell["source"]) for cell in source(lesson)["cells"] if cell["cell_type"] == "markdown")
    for question in LESSONS[lesson].QUESTIONS:
        assert solution_of(lesson, question.name)
        for option in getattr(question, "options", {}).values():
            assert option.text in prose, option.text


def test_how_much_is_asked(record_property):
    record_property("exercises", f"{len(LESSONS)} lessons, {len(QUESTIONS)} questions, {len(MISTAKES)} wrong answers of "
                                 f"{len({(lesson, question.name, name) for lesson, question, name, _ in MISTAKES})} known "
                                 f"mistakes, {len(VARIANTS)} right variants beside the references")
    assert QUESTIONS
