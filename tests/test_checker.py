"""The checker itself: what counts as the same, the smallest difference, where it raised, hints, grading, records."""

import types

import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from mlkit import audit_features, random_walk
from mlkit.batch import recorded
from mlkit.exercises import Checker, Choice, Mistake, NotRight, Option, Question, checker
from mlkit.exercises import checker as public_checker
from mlkit.exercises.checker import GRADING_SEEDS, judge_on_all
from mlkit.exercises.comparing import copies, described, on_index, same
from mlkit.exercises.questions import FOUND
from mlkit.notebooks import kernel_options

SERIES = pd.Series([1.0, np.nan, 3.0], pd.date_range("2020", periods=3), name="mine")
TABLE = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})


@pytest.mark.parametrize("given, expected", [
    (1, 1.0), (np.float32(0.5), 0.5), (True, 1), (1, True), (np.True_, True), (1e-12, 0.0), (1e6 * (1 + 1e-10), 1e6),
    (float("nan"), np.nan), (float("inf"), float("inf")), (SERIES.rename("other"), SERIES), (SERIES.to_numpy(), SERIES),
    (list(SERIES), SERIES), (SERIES.to_frame(), SERIES), (TABLE[["b", "a"]], TABLE), (TABLE["a"], TABLE[["a"]]),
    ((1, 2), [1, 2]), (np.array([1, 2]), [1, 2]), (pd.Index([1, 2]), [1, 2]), ([2, 1, 1], {1, 2}),
    ({"a": 1, "b": SERIES}, {"b": SERIES, "a": 1}), (pd.Series({"a": 1.0}), {"a": 1}), ("x", "x"), (np.str_("x"), "x"),
    ([1.0, None, 3.0], SERIES), ([1.0, pd.NA, 3.0], SERIES), (pd.NaT, np.nan), (SERIES.to_numpy()[:, None], SERIES),
    (np.array(2.0), 2), (np.float32(0.1), 0.1), (SERIES.to_numpy().astype("float32") / 10, SERIES / 10),
    (pd.Index(["a", "b"]), {"b", "a"}), (np.array(["a", "b"]), {"a", "b"}),
    (SERIES.index.to_numpy(), set(SERIES.index)),
    (np.datetime64("2020-01-01"), pd.Timestamp("2020-01-01"))])
def test_as_good_as(given, expected):
    assert same(given, expected)


class Yes(int):
    """An answer that says yes to everything."""

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize("given, expected", [
    (1.001, 1.0), (0.0, float("nan")), (float("nan"), 0.0), (1.0, float("inf")), (-float("inf"), float("inf")),
    ("1", 1), (None, 0), (SERIES.shift(1), SERIES), (SERIES.fillna(0), SERIES), (SERIES[:2], SERIES), (list(SERIES)[:2], SERIES),
    (SERIES.reset_index(drop=True), SERIES), (None, SERIES), (3, SERIES), (TABLE, TABLE[["a"]]), (TABLE[["a"]], TABLE),
    ([1, 2, 3], [1, 2]), ([2, 1], [1, 2]), ("12", ["1", "2"]), ("ab", {"a", "b"}), ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1, "b": 2}, {"a": 1}), ([1], {"a": 1}), (1, "1"), (False, True), (2, True), (Yes(0), True),
    (None, "x"), (np.nan, "x"), (np.str_("y"), "x"), (np.float32(0.1001), 0.1), (0.1 + 1e-7, 0.1),
    ([1.0, None, None], SERIES),
    (1j, 1), ({"a"}, ["a", "b"])])
def test_not_as_good_as(given, expected):
    assert not same(given, expected)


def mean_of_five(bars):
    return bars["close"].rolling(5).mean()


def question(**changes):
    """A mean of five closes: three known mistakes, and an audit."""
    given = dict(
        name="q1", keep="A window looks back.", hints=("What was known?", "Which bars are in the window?"),
        reference=mean_of_five, cases=lambda seed: [(random_walk(12, seed),), (random_walk(60, 50 + seed),)],
        audit=lambda answer: audit_features(lambda bars: on_index(answer(bars), bars.index), random_walk(80, 1),
                                            n_cuts=4),
        mistakes=(
            Mistake("tomorrow too", "You are early.", lambda bars: bars["close"].rolling(5).mean().shift(-1)),
            Mistake("of opens", "Which price is known at the close?", lambda bars: bars["open"].rolling(5).mean()),
            Mistake("from the first bar", "Four bars have no five.", when=lambda given, expected: all(
                one.notna().all() for one in given))))
    return Question(**given | changes)


def convolved(bars):
    return np.convolve(bars["close"], np.ones(5) / 5)[:len(bars)] * np.where(np.arange(len(bars)) < 4, np.nan, 1)


@pytest.mark.parametrize("answer, outcome, mistake, told", [
    (mean_of_five, "right", "", "A window looks back."),
    (convolved, "right", "", ""),
    (lambda bars: mean_of_five(bars).shift(-1), "mistake", "tomorrow too", "You are early. The leakage audit:"),
    (lambda bars: bars["open"].rolling(5).mean(), "mistake", "of opens", "known at the close"),
    (lambda bars: bars["close"].rolling(5, min_periods=1).mean(), "mistake", "from the first bar", "Four bars"),
    (lambda bars: bars["close"].rolling(5).mean().shift(-3), "mistake", "looks ahead", "The leakage audit: "),
    (lambda bars: bars["close"].rolling(6).mean(), "wrong", "", "5 bars with closes"),
    (lambda bars: None, "not attempted", "", "gave None each time"),
    (None, "not attempted", "", "check.q1.hint()"), (..., "not attempted", "", ""),
    ("", "not attempted", "", ""), (7, "wrong", "", "A function is asked for, and yours is 7"), (lambda: 1, "raised", "", "TypeError"),
    (lambda bars: exit(), "raised", "", "SystemExit"), (lambda bars: bars["clse"], "raised", "", "KeyError"),
    (lambda bars: object(), "wrong", "", "object")])
def test_outcomes(answer, outcome, mistake, told):
    verdict = question().judge(answer)
    assert (verdict.outcome, verdict.mistake) == (outcome, mistake), verdict
    assert told in verdict.text and "clse" not in str(question().reference)


def test_a_peek_is_told_with_its_bar_though_all_data_agree():
    """Right on every case, and yet it looks at the last bar: only the audit sees that."""
    def answer(bars):
        right = mean_of_five(bars)
        return right if len(bars) < 70 else right * bars["close"].iloc[-1]

    verdict = question().judge(answer)
    assert verdict.mistake == "looks ahead"
    bars = random_walk(80, 1)
    assert any(f"{day:%Y-%m-%d}" in verdict.text for day in bars.index), verdict.text


def test_the_smallest_input_is_the_smallest():
    """Of all beginnings of twelve bars, the first on which a mean of six differs is that with five."""
    verdict = question(audit=None).judge(lambda bars: bars["close"].rolling(6).mean())
    bars = random_walk(12, 0)
    assert f"Given 5 bars with closes {described(list(bars['close'][:5]))}" in verdict.text
    assert f"at {bars.index[4]:%Y-%m-%d} yours is nan, and {bars['close'][:5].mean():.6g} is right" in verdict.text


def test_only_what_counts_is_shown_as_the_difference():
    """A difference that the question lets pass is not shown: the one behind it is."""
    def answer(bars):
        made = mean_of_five(bars)
        made.iloc[4] *= 1 + 1e-5
        made.iloc[6] *= 2
        return made

    asked = question(audit=None, tolerance=1e-3)
    assert "at 2000-01-11 yours" in asked.judge(answer).text
    several = question(audit=None, tolerance=1e-3, reference=lambda bars: {"mean": mean_of_five(bars)}, mistakes=())
    assert "mean: at 2000-01-11 yours" in several.judge(lambda bars: {"mean": answer(bars)}).text


def test_what_was_not_asked_for_is_named():
    asked = question(audit=None, reference=lambda bars: {"mean": mean_of_five(bars)}, mistakes=())
    told = asked.judge(lambda bars: {"raw": bars["close"], "mean": mean_of_five(bars), "more": 1}).text
    assert told.endswith("these columns were not asked for: raw, more.")
    told = asked.judge(lambda bars: {"median": mean_of_five(bars)}).text
    assert "mean: yours is None" in told
    asked = question(audit=None, reference=lambda bars: {"mean": bars["close"].mean()}, mistakes=())
    assert "these parts were not asked for: x." in asked.judge(lambda bars: {"x": 1, "mean": bars["close"].mean()}).text


def test_another_index_is_told_as_the_fault():
    told = question().judge(lambda bars: mean_of_five(bars).reset_index(drop=True)).text
    assert "your values are right and their index is not: yours is [0, 1, 2, 3, 4]" in told


@pytest.mark.parametrize("findings, name", [
    (["lookahead"], "looks ahead"), (["row set"], "looks ahead"), (["overlap"], "labels reach into the test"),
    (["overlap", "shared"], "trains on its test"), (["not repeatable"], "another answer each time"),
    (["null labels"], "knows what it is scored on"), (["undetermined"], "")])
def test_a_finding_is_called_by_its_kind(findings, name):
    days = pd.date_range("2020", periods=len(findings))
    report = types.SimpleNamespace(findings=pd.DataFrame({
        "kind": findings, "timestamp": days, "detail": [f"this is {kind}" for kind in findings]}))
    verdict = question(audit=lambda answer: report).judge(mean_of_five)
    assert (verdict.mistake, verdict.right) == (name, not name)
    assert verdict.right or f"The leakage audit: this is {findings[-1]}" in verdict.text
    assert not name or name in dict(FOUND.values())


def test_a_wrong_value_is_told_its_direction_and_not_the_right_one():
    asked = question(reference=lambda: 41.5, cases=lambda seed: [()], audit=None, mistakes=())
    assert asked.judge(41.5).right and asked.judge(lambda: 41.5).right
    for value, direction in ((50.25, "too high"), (3, "too low")):
        verdict = asked.judge(value)
        assert direction in verdict.text and "41.5" not in verdict.text


def test_the_line_that_raised_is_the_learners_own():
    def broken(bars):
        bars = bars.copy()
        return bars.rolling("nonsense").mean()      # it breaks within pandas; the learner's line is this one

    verdict = question().judge(broken)
    assert "the learner's line is this one" in verdict.text and "site-packages" not in verdict.text


def test_an_answer_changes_nothing_by_writing_into_its_input():
    bars = random_walk(12, 0)
    asked = question(cases=lambda seed: [(bars,)], audit=None)

    def answer(bars):
        bars["close"] = 0.0
        return bars["close"]

    asked.judge(answer)
    assert (bars["close"] != 0).all() and copies((bars,))[0] is not bars


def test_an_interrupt_goes_through():
    def interrupted(bars):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        question().judge(interrupted)


def test_the_first_mistake_that_fits_is_named():
    twice = tuple(Mistake(name, f"{name}.", lambda bars: bars["close"]) for name in ("first", "second"))
    assert question(mistakes=twice).judge(lambda bars: bars["close"]).mistake == "first"


def test_a_choice_explains_each_option():
    asked = Choice("q2", keep="Keep it.", hints=("Think.",), options={
        "a": Option("yes", "Because it is."), "b": Option("no", "It is not so.", "says no")})
    assert asked.judge("A").right and "Because it is. Keep it." in asked.judge(lambda: "a").text
    assert (asked.judge("b").mistake, asked.judge("b").text) == ("says no", "It is not so.")
    assert asked.judge(...).outcome == "not attempted" and asked.judge("c").outcome == asked.judge(3).outcome == "wrong"
    assert asked.judge(lambda: 1 / 0).outcome == "raised"


def test_the_checkers_own_functions_are_no_answers():
    from mlkit.exercises import comparing

    assert "the checker's own" in question().judge(comparing.described).text
    assert question().judge(mean_of_five).right


# ---- check.q1, as a notebook calls it


@pytest.fixture
def check():
    return Checker("demonstration", [question(), question(name="q2")])


def test_tries_hints_and_the_solution_are_counted(check, capsys):
    assert check.q1(...).record == {"tries": 0, "hints": 0, "solution_shown": False}
    assert check.q1(lambda bars: 1).record["tries"] == 1
    for shown in ("Hint 1 of 2 to q1: What was known?", "Hint 2 of 2", "Hint 2 of 2"):
        check.q1.hint()
        assert shown in capsys.readouterr().out
    check.q1.solution()
    assert "ask whoever gave you this exercise" in capsys.readouterr().out
    assert check.q1(mean_of_five).record == {"tries": 2, "hints": 3, "solution_shown": True}
    assert check.right == ["q1"] and "1 of 2 right; still open: q2" in repr(check)
    assert "q1" in dir(check)
    with pytest.raises(AttributeError, match="no question q7 here; there are q1, q2"):
        check.q7(1)


def test_what_was_counted_outlives_the_kernel(tmp_path, monkeypatch, capsys):
    """In a notebook that a person has open the counts go on after a restart; they stop when the answer was right."""
    chosen = Choice("q2", keep="Keep it.", hints=("Think.",), options={
        "a": Option("yes", "Because it is."), "b": Option("no", "It is not so.", "says no")})

    def start():
        return Checker("demonstration", [question(), chosen])

    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "mine.ipynb"))
    monkeypatch.delenv("MLKIT_UNATTENDED", raising=False)
    for _ in range(2):
        assert start().q1(lambda bars: 1).record["tries"] == 1    # not saved yet
    (tmp_path / "mine.ipynb").write_text("{}", encoding="utf-8")
    check = start()
    check.q1(lambda bars: 1), check.q1.hint(), check.q1.hint(), check.q2("z"), check.q2("b")
    check = start()
    check.q1.hint()
    assert "Hint 1 of 2" in capsys.readouterr().out.splitlines()[-1]         # a run from top to bottom tells no more
    assert check.q2("a").record == {"tries": 3, "hints": 0, "solution_shown": False, "first_choice": "b"}
    assert check.q1(mean_of_five).record == {"tries": 2, "hints": 2, "solution_shown": False}
    assert start().q1(mean_of_five).record["tries"] == 2
    [kept] = set(tmp_path.iterdir()) - {tmp_path / "mine.ipynb"}
    assert kept.name == ".tries.json"
    for nonsense in ("{", "[1]", '{"demonstration": 3}', '{"demonstration": {"q1": {"tries": "many"}}}'):
        kept.write_text(nonsense, encoding="utf-8")
        assert start().q1(lambda bars: 1).record["tries"] == 1
    monkeypatch.setenv("MLKIT_UNATTENDED", "1")
    kept.unlink()
    assert start().q1(lambda bars: 1).record["tries"] == 1 and not kept.exists()


def test_grading_uses_other_data_than_the_notebook(check):
    """Whoever has fitted the notebook's seed alone passes there and not when graded."""
    fitted = {len(bars): mean_of_five(bars) for bars, in question().cases(0)} | {80: mean_of_five(random_walk(80, 1))}

    def answer(bars):
        known = fitted.get(len(bars))
        return known if known is not None and known.index.equals(bars.index) else mean_of_five(bars)

    check.q1._question = check.q2._question = question(audit=None)
    assert check.q1(answer).right and 0 in GRADING_SEEDS
    with pytest.raises(NotRight, match="wrong"):
        check.q1.grade(answer)
    assert check.q2.grade(mean_of_five).right and judge_on_all(question(), mean_of_five).right
    assert judge_on_all(question(audit=None), answer).outcome == "wrong"


def test_an_unknown_exercise_is_told_which_there_are():
    with pytest.raises(ValueError, match="no exercise is called '99_nothing'; there are .*01_leakage"):
        checker("99_nothing")
    assert callable(public_checker) and not isinstance(public_checker, types.ModuleType)


def test_a_notebook_keeps_what_was_said():
    """What the teacher reads later: outcome, mistake, tries, hints, of each question, in the notebook's outputs."""
    lines = ["from mlkit.exercises.checker import demonstration\ncheck = demonstration()", "check.q1(5)",
             "check.q1.hint()", "check.q1.solution()", "check.q1(4)", "check"]
    notebook = new_notebook(cells=[new_code_cell(line) for line in lines])
    NotebookClient(notebook, kernel_name="python3", **kernel_options()).execute()
    assert recorded(notebook) == {"q1": "right", "q1_mistake": "", "q1_tries": 2, "q1_hints": 1,
                                  "q1_solution_shown": True, "questions": 1, "right": 1}
    assert "q1, right. Two and two are four." in notebook.cells[4].outputs[0].data["text/plain"]
