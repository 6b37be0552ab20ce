"""The teacher's side: what students get holds no solution, what they hand in is graded, whatever it does."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache
from pathlib import Path

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

if os.name == "nt":
    pytest.skip("grading runs on Linux and macOS (on Windows, in WSL)", allow_module_level=True)
pytest.importorskip("nbgrader", reason="needs requirements-classroom.txt, which `make test` installs")

from pupils import Pupil, class_of

from mlkit.cli import main
from mlkit.exercises.checker import SOURCES, lessons
from mlkit.exercises.classroom import grading, landlock, students
from mlkit.exercises.classroom.autograde import grade_id_of, records, restore, row
from mlkit.exercises.classroom.confined import VERDICT
from mlkit.exercises.classroom.gradebook import COLUMNS, read_gradebook, write_gradebook
from mlkit.exercises.classroom.report import spread, write_report
from mlkit.exercises.classroom.submissions import find_submissions
from mlkit.exercises.classroom.watch import run_watched

ROOT = Path(__file__).parents[1]
LESSONS = list(lessons())
CLASS = "01_leakage"  # the lesson whose class is graded here; benchmarks/classroom.py takes 40 students
FOR_EACH_LESSON = pytest.mark.parametrize("lesson", LESSONS)
CONFINED = pytest.mark.skipif(not landlock.version(), reason="this system has no Landlock (Linux 5.13 or newer)")
KINDS = ("right too 0", "mistaken 0", "mistaken 1", "blank", "loops", "hungry", "careless", "copied and split",
         "truncated", "meddles", "deletes", "looks around", "reads", "patches the checker", "signs a verdict")
LIMITS = ("--memory", "1500", "--cell-timeout", "15")


def mlkit(*arguments):
    return CliRunner().invoke(main, ["exercises", *map(str, arguments)])


@cache
def text_of(lesson):
    return students.student_notebooks([lesson])[lesson]


def notebook_of(lesson, folder, name=None):
    pupil = Pupil(lesson, text_of(lesson))
    path = folder / (name or f"{lesson}.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(pupil.notebook, path)
    return path


# ---- what students get


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    """The folder that `mlkit exercises release` writes, of all lessons."""
    folder = tmp_path_factory.mktemp("handout")
    done = mlkit("release", "--out", folder)
    assert done.exit_code == 0, done.output
    return folder


@FOR_EACH_LESSON
def test_the_notebook_in_git_is_what_its_source_makes(handout, lesson):
    made = (handout / f"{lesson}.ipynb").read_text(encoding="utf-8")
    kept = (ROOT / "notebooks" / "exercises" / f"{lesson}.ipynb").read_text(encoding="utf-8")
    assert students.as_given(kept) == students.as_given(made), "run `mlkit exercises make`"


def test_no_other_notebook_is_among_the_exercises():
    assert sorted(path.stem for path in (ROOT / "notebooks" / "exercises").glob("*.ipynb")) == LESSONS


def secrets_of(lesson):
    """Each line of each solution and hidden test, read from the source by hand."""
    found, inside = [], False
    for cell in json.loads((SOURCES / f"{lesson}.ipynb").read_text(encoding="utf-8"))["cells"]:
        for line in "".join(cell["source"]).splitlines():
            begins, ends = line.strip().startswith("### BEGIN"), line.strip().startswith("### END")
            inside = begins or inside and not ends
            if inside and not begins and line.strip():
                found.append(line.strip())
    return found


@FOR_EACH_LESSON
@pytest.mark.parametrize("place", ["handout", "git"])
def test_no_line_of_a_solution_or_of_a_hidden_test_is_in_what_students_get(handout, lesson, place):
    folder = handout if place == "handout" else ROOT / "notebooks" / "exercises"
    text = (folder / f"{lesson}.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    shown = "\n".join([*(cell.source for cell in notebook.cells), json.dumps(notebook, ensure_ascii=False)])
    lines, secret = {line.strip() for line in shown.splitlines()}, secrets_of(lesson)
    assert len(secret) >= 2 * len(lessons()[lesson].QUESTIONS)
    for line in secret:
        assert line not in lines
        assert len(line) < students.TELLING or line not in shown
    assert not re.search(r"BEGIN|HIDDEN|\.grade\(|exercises.sources", shown)
    blanks = [cell.source for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert len(blanks) == len(lessons()[lesson].QUESTIONS) and all(students.STUB in source for source in blanks)


def test_what_is_handed_out_was_never_run_and_comes_with_a_page(handout):
    assert {path.name for path in handout.iterdir()} == {"README.md", *(f"{lesson}.ipynb" for lesson in LESSONS)}
    for path in handout.glob("*.ipynb"):
        assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)
    page = (handout / "README.md").read_text(encoding="utf-8")
    assert all((handout / link).exists() for link in re.findall(r"\]\((.*?)\)", page)) and "Hand in" in page


def leak_a_line(cells):
    cells[1]["source"] += "\n" + secrets_of(CLASS)[0]


def leak_half_a_line(cells):
    cells[0]["source"] += f"\n(`x = {secrets_of(CLASS)[0]}`)"


def leak_the_test(cells):
    cells[0]["source"] += "\ncheck.q1.grade(place)"


def tell_the_way(cells):
    cells[0]["source"] += "\nThe solutions are in mlkit/exercises/sources."


def forget_a_mark(cells):
    next(cell for cell in cells if "END SOLUTION" in cell["source"])["source"] += "\n### BEGIN SOLUTION"


@pytest.mark.parametrize("slip, told", [
    (leak_a_line, "a line of a solution"), (leak_half_a_line, "a line of a solution"), (leak_the_test, "a hidden test"),
    (tell_the_way, "exercises/sources"), (forget_a_mark, "")], ids=lambda part: getattr(part, "__name__", ""))
def test_a_slip_in_a_source_is_refused(tmp_path, monkeypatch, slip, told):
    source = students.source_of(CLASS)
    for cell in source["cells"]:
        cell["source"] = "".join(cell["source"])
    slip(source["cells"])
    (tmp_path / f"{CLASS}.ipynb").write_text(json.dumps(source), encoding="utf-8")
    monkeypatch.setattr(students, "SOURCES", tmp_path)
    done = mlkit("release", "--out", tmp_path / "out", CLASS)
    assert done.exit_code == 1 and told in done.output and not (tmp_path / "out").exists()


def test_a_students_work_is_not_overwritten(tmp_path):
    for name in ("01", CLASS):
        assert mlkit("release", "--out", tmp_path, name).exit_code == 0
    path = tmp_path / f"{CLASS}.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace(students.STUB, "return 7"), encoding="utf-8")
    done = mlkit("release", "--out", tmp_path, CLASS)
    assert done.exit_code == 1 and f"other files named {CLASS}.ipynb" in done.output
    assert "return 7" in path.read_text(encoding="utf-8") and len(list(tmp_path.iterdir())) == 2


def test_week_after_week_goes_into_one_folder_beside_the_lessons(tmp_path):
    """Its page lists all that were handed out so far; a page with a teacher's own words is not overwritten."""
    exercises = tmp_path / "course" / "exercises"
    shutil.copytree(ROOT / "notebooks", exercises.parent, ignore=shutil.ignore_patterns("exercises"))
    for name in LESSONS[1:3]:
        done = mlkit("release", "--out", exercises, name)
        assert done.exit_code == 0, done.output
        notebook = (exercises / f"{name}.ipynb").read_text(encoding="utf-8")
        links = re.findall(r"\]\(([\w./]+)\)", notebook)
        assert links and all((exercises / link).exists() for link in links)
    page = (exercises / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\* \[(\w+)\]", page, re.MULTILINE) == LESSONS[1:3]
    (exercises / "README.md").write_text(page + "Hand in by Friday.\n", encoding="utf-8")
    done = mlkit("release", "--out", exercises, LESSONS[3])
    assert done.exit_code == 1 and "other files named README.md" in done.output
    assert (exercises / "README.md").read_text(encoding="utf-8").endswith("Friday.\n")


def test_without_the_solutions_the_commands_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(students, "SOURCES", tmp_path)
    done = mlkit("release", "--out", tmp_path / "out", CLASS)
    assert done.exit_code == 1 and "are not installed here" in done.output and "from a checkout" in done.output


def test_without_nbgrader_the_commands_say_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    monkeypatch.setattr("mlkit.exercises.commands.find_spec", lambda name: None)
    for command in (["release", "--out", tmp_path / "out"], ["grade", tmp_path, "--out", tmp_path / "g.csv"], ["make"]):
        done = mlkit(*command)
        assert done.exit_code == 1 and "-r requirements-classroom.txt" in done.output


def test_the_wheel_has_the_course_and_no_solution(tmp_path):
    for name in ("mlkit", "data", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "checkout" / name) if (tmp_path / "checkout").exists() else (
            (tmp_path / "checkout").mkdir(), copy(ROOT / name, tmp_path / "checkout" / name))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", tmp_path,
                    tmp_path / "checkout"], check=True)
    installed = tmp_path / "installed"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", next(tmp_path.glob("*.whl")), installed], check=True)
    files = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith(".ipynb") or "sources" in name]
    assert {f"mlkit/exercises/lesson{lesson[:2]}.py" for lesson in LESSONS} <= files
    share = next(path for path in installed.rglob("share/mlkit"))
    code = (f"import sys; sys.path.insert(0, {str(installed)!r}); sys.prefix = {str(share.parents[1])!r}\n"
            f"import mlkit; from mlkit.exercises import checker\nassert mlkit.__file__.startswith({str(installed)!r})\n"
            f"checker({CLASS!r}).q1.solution(); print(len(mlkit.load_bars('GE')))\n"
            "from mlkit import doctor\n"
            "for check in (doctor.packages, doctor.data, doctor.writing, doctor.optional):\n"
            "    print(*check(doctor.ROOT), sep='\\n')")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
    assert "ask whoever gave you this exercise" in done.stdout and "12113" in done.stdout, done.stderr
    assert re.findall(r"^\S+ +(\w+)", done.stdout.partition("12113")[2], re.MULTILINE) == ["packages", "data"]
    assert done.stdout.count("\nOK  ") == 2, done.stdout


# ---- a class is graded


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A small class, handed in, graded by the command, and the page made of it."""
    home = tmp_path_factory.mktemp("class")
    expected = class_of([CLASS], home / "submissions", lambda kind: kind in KINDS)
    (home / "submissions" / "01 absent").mkdir()
    notebook_of(CLASS, home / "submissions")     # nobody's
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_OF_THE_TEACHER", "swordfish")
        patch.setattr(tempfile, "tempdir", str(home))
        done = mlkit("grade", home / "submissions", "--out", home / "gradebook.csv", *LIMITS)
    rows = list(csv.DictReader((home / "gradebook.csv").open(encoding="utf-8")))
    return {"home": home, "done": done, "rows": rows, "expected": expected, "seconds": time.monotonic() - began}


def rows_of(graded, kind):
    return {row["question"]: row for row in graded["rows"] if row["student"] == f"01 {kind}"}


def test_how_many_are_graded(graded, record_property):
    told = re.search(r"(\d+) submissions? graded, ([\d.]+) s each", graded["done"].output)
    record_property("classroom", f"{told.group(1)} submissions graded in {graded['seconds']:.0f} s")
    assert int(told.group(1)) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_gets_what_is_due(graded, kind):
    if kind == "reads" and not landlock.version():
        pytest.skip("this system has no Landlock: whoever looks for the checkout finds it")
    rows, expected = rows_of(graded, kind), graded["expected"][f"01 {kind}", CLASS]
    assert rows.keys() == expected.keys(), graded["done"].output
    for question, (outcome, mistake) in expected.items():
        row = rows[question]
        assert (outcome or row["outcome"], mistake) == (row["outcome"], row["mistake"]), row
        assert float(row["points"]) == (float(row["max_points"]) if outcome == "right" else 0), row


def test_the_forgers_answers_would_have_earned_the_points_had_they_been_right(graded):
    """The same notebook's other questions are right, and count: it is the forged one alone that does not."""
    for kind in ("reads", "patches the checker", "signs a verdict"):
        assert [row["outcome"] == "right" for row in rows_of(graded, kind).values()] == [False, *[True] * 5]


def test_whose_files_and_what_was_odd_about_them(graded):
    assert {row["outcome"] for row in rows_of(graded, "absent").values()} == {"not handed in"}
    careless = rows_of(graded, "careless")["q1"]
    assert "it was called homework (final).ipynb" in careless["remark"] and "q1-check was missing" in careless["remark"]
    assert careless["file"] == "01 careless/homework (final).ipynb"
    assert [careless[name] for name in ("tries", "hints", "solution_shown")] == ["3", "2", "1"]
    assert rows_of(graded, "careless")["q5"]["first_choice"] == "b" and careless["first_choice"] == ""
    times = {CLASS: 2, "q1": 3, "q2": 3, "q2-check": 2}
    assert rows_of(graded, "copied and split")["q1"]["remark"] == "; ".join(
        f"the cell {name} was there {count} times" for name, count in times.items())
    assert rows_of(graded, "careless")["q2"]["tries"] == rows_of(graded, "blank")["q1"]["tries"] == ""
    done = graded["done"]
    assert done.exit_code == 1 and "lies in no student's folder" in done.stderr
    assert "not graded: 01 truncated/01_leakage.ipynb: no notebook that can be read" in done.stderr


def test_what_went_wrong_is_told_in_one_line(graded):
    assert rows_of(graded, "loops")["q1"]["error"] == "stopped: it ran longer than the 15 s a cell may take"
    assert 15 <= float(rows_of(graded, "loops")["q1"]["seconds"]) < 30
    assert "MemoryError" in rows_of(graded, "hungry")["q1"]["error"]
    assert "not defined" in rows_of(graded, "deletes")["q1"]["error"]


@CONFINED
def test_a_submission_sees_nothing_of_the_teachers(graded):
    row = rows_of(graded, "looks around")["q1"]
    seen = json.loads(re.search(r"RuntimeError: (\{.*\})", row["error"]).group(1))
    assert row["outcome"] == "raised" and "swordfish" not in json.dumps(seen)
    assert not [name for name in seen["variables"] if "SECRET" in name or "TOKEN" in name]
    assert set(seen["variables"]) <= ALLOWED_VARIABLES, set(seen["variables"]) - ALLOWED_VARIABLES
    assert seen["folder"] == [] and "mlkit-grade-" in seen["home"]
    for what in ("checkout", "others", "gradebook", "shared memory", "network", "grader"):
        assert seen[what] == "PermissionError", what


ALLOWED_VARIABLES = {
    "PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "PYTHONPATH", "PYTHONHASHSEED", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "JUPYTER_PATH", "JUPYTER_RUNTIME_DIR",
    "JUPYTER_PREFER_ENV_PATH", "JPY_PARENT_PID", "JPY_SESSION_NAME", "NBGRADER_EXECUTION", "PYDEVD_USE_FRAME_EVAL",
    "PYDEVD_USE_CYTHON", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "TERM", "PAGER", "GIT_PAGER", "MPLBACKEND",
    "KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK", "MLKIT_UNATTENDED"}


def test_grading_again_changes_no_byte_and_only_what_is_new_is_graded(graded, tmp_path):
    home = graded["home"]
    before = (home / "gradebook.csv").read_bytes()
    done = mlkit("grade", home / "submissions", "--out", home / "gradebook.csv", *LIMITS)
    assert "14 had not changed" in done.output and (home / "gradebook.csv").read_bytes() == before
    assert [path.name for path in home.glob("gradebook*.csv")] == ["gradebook.csv"]
    late = tmp_path / "submissions"
    for kind in ("blank", "mistaken 0"):
        shutil.copytree(home / "submissions" / f"01 {kind}", late / f"01 {kind}")
    shutil.copy(home / "gradebook.csv", tmp_path)
    shutil.copy(home / "submissions" / "01 mistaken 1" / f"{CLASS}.ipynb", late / "01 blank")    # handed in at last
    done = mlkit("grade", late, "--out", tmp_path / "gradebook.csv", *LIMITS)
    assert done.exit_code == 0 and "1 submission graded" in done.output and "1 had not changed" in done.output
    assert (tmp_path / "gradebook.1.csv").read_bytes() == before
    rows = {(row["student"], row["question"]): row for row in read_gradebook(tmp_path / "gradebook.csv")}
    assert {rows["01 blank", question]["mistake"] for question in rows_of(graded, "mistaken 1")} == {
        row["mistake"] for row in rows_of(graded, "mistaken 1").values()}


def test_nothing_of_a_submission_is_left_running(graded):
    left = [process.info for process in psutil.process_iter(["pid", "cmdline"])
            if any(str(graded["home"]) in part for part in process.info["cmdline"] or [])]
    assert not left


def test_the_page_says_what_the_gradebook_says(graded, tmp_path):
    done = mlkit("report", graded["home"] / "gradebook.csv", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert done.exit_code == 0 and "<script" not in page and not re.search(r"""(src|href)=|url\(|@import""", page)
    right = sum(row["question"] == "q1" and row["outcome"] == "right" for row in graded["rows"])
    students_here = {row["student"] for row in graded["rows"]}
    assert f"{right} of {len(students_here)}</td>" in page
    for row in graded["rows"]:
        assert not row["mistake"] or row["mistake"].replace("'", "&#39;") in page
    assert "A window can be written on its last bar or on its middle one." in page      # a hint, of the first mistake
    stuck = page.split("Who is stuck")[1].split("<h2>")[0]
    assert "01 mistaken 0" in stuck and "01 right" not in stuck and "01 blank" not in stuck


# ---- its parts


def test_submissions_are_found_by_what_stands_in_them(tmp_path):
    one = notebook_of(CLASS, tmp_path / "ann")
    shutil.copy(one, tmp_path / "ann" / "again.ipynb")
    notebook_of(CLASS, tmp_path / "bob", "deep/down/Untitled.ipynb")
    notebook_of(LESSONS[-1], tmp_path / "cyd", f"{CLASS}.ipynb")        # named as another lesson
    (tmp_path / "cyd" / ".ipynb_checkpoints").mkdir()
    shutil.copy(one, tmp_path / "cyd" / ".ipynb_checkpoints")
    (tmp_path / "dee").mkdir()
    (tmp_path / "dee" / f"{CLASS}.ipynb").write_text("{", encoding="utf-8")
    (tmp_path / "dee" / "shopping.ipynb").write_text("milk", encoding="utf-8")
    (tmp_path / "eve").mkdir()
    (tmp_path / "eve" / f"{CLASS}.ipynb").symlink_to(one)
    found, loose = find_submissions(tmp_path, LESSONS)
    told = {(each.student, each.lesson): (each.path.name, each.remark) for those in found.values() for each in those}
    assert loose == [] and list(found) == ["ann", "bob", "cyd", "dee", "eve"] and found["eve"] == []
    assert told["ann", CLASS] == (f"{CLASS}.ipynb", "handed in as well, and left out: again.ipynb")
    assert told["bob", CLASS] == ("Untitled.ipynb", "it was called Untitled.ipynb")
    assert told["cyd", LESSONS[-1]][1] == f"it was called {CLASS}.ipynb"
    assert told["dee", CLASS][1] == "" and told["dee", ""] == ("shopping.ipynb", "of no lesson that is known")


def test_a_folder_without_students_is_told(tmp_path):
    notebook_of(CLASS, tmp_path)
    done = mlkit("grade", tmp_path, "--out", tmp_path / "g.csv")
    assert done.exit_code == 1 and "one a student is looked for" in done.output
    (tmp_path / "ann").mkdir()
    done = mlkit("grade", tmp_path, "--out", tmp_path / "g.csv")
    assert done.exit_code == 1 and "no notebook in any of the 1 folders" in done.output
    assert not (tmp_path / "g.csv").exists()
    done = mlkit("grade", tmp_path, "99_nothing", "--out", tmp_path / "g.csv")
    assert done.exit_code == 2 and f"there are {LESSONS[0]}" in done.output


@pytest.mark.parametrize("lost", [["q1-check"], ["q1", "q1-check"], [CLASS, "q1"],
                                  ["q2", "q2-check", "q3", "q3-check"], ["all"]])
def test_lost_cells_come_back_where_they_were(lost):
    given, notebook = (nbformat.reads(text_of(CLASS), as_version=4) for _ in range(2))
    sources = {grade_id_of(cell): cell.source for cell in given.cells if grade_id_of(cell)}
    names = list(sources)
    lost = names if lost == ["all"] else lost
    notebook.cells = [cell for cell in notebook.cells if grade_id_of(cell) not in lost]
    notebook.cells.insert(2, new_code_cell("mine = 1"))
    remarks = restore(notebook, given)
    assert remarks == [f"the cell {name} was missing" for name in names if name in lost]
    back = {grade_id_of(cell): cell.source for cell in notebook.cells if grade_id_of(cell)}
    assert list(back) == names and back == sources and any(cell.source == "mine = 1" for cell in notebook.cells)


def copied(notebook, grade_id, source, below):
    at = next(place for place, cell in enumerate(notebook.cells) if grade_id_of(cell) == grade_id)
    other = deepcopy(notebook.cells[at])
    other.id, other.source = f"copy-{len(notebook.cells)}", source
    notebook.cells.insert(at + below, other)


@pytest.mark.parametrize("first, second, kept", [
    ("stub", "mine = 1", "second"), ("mine = 1", "stub", "first"), ("mine = 1", "mine = 2", "second"),
    ("stub", "stub", "first")])
def test_of_a_copied_answer_the_last_that_was_edited_counts(first, second, kept):
    given, notebook = (nbformat.reads(text_of(CLASS), as_version=4) for _ in range(2))
    stub = next(cell.source for cell in given.cells if grade_id_of(cell) == "q1")
    sources = [stub if source == "stub" else source for source in (first, second)]
    next(cell for cell in notebook.cells if grade_id_of(cell) == "q1").source = sources[0]
    copied(notebook, "q1", sources[1], 1)
    assert restore(notebook, given) == ["the cell q1 was there 2 times"]
    [one] = [cell for cell in notebook.cells if grade_id_of(cell) == "q1"]
    assert one.source == sources[kept == "second"]
    ran = [cell.source for cell in notebook.cells if cell.source in sources]
    assert ran == [source for source in sources if source != stub] or ran == [stub]


def test_of_a_copied_check_the_last_counts_and_of_the_setup_the_first():
    given, notebook = (nbformat.reads(text_of(CLASS), as_version=4) for _ in range(2))
    for name in ("q1-check", CLASS):
        copied(notebook, name, "below", 1)
    restore(notebook, given)
    told = {grade_id_of(cell): cell.source for cell in notebook.cells if grade_id_of(cell)}
    assert told["q1-check"] == "below" != told[CLASS] and sum(cell.source == "below" for cell in notebook.cells) == 2


@pytest.mark.parametrize("outcome, cell_error, judged_error, told", [
    ("right", "stopped: 30 s", "", "right"), ("wrong", "stopped: 30 s", "", "stopped"), (None, "", "", "stopped"),
    ("wrong", "", "NotRight", "wrong"), (None, "", "stopped: the kernel died", "stopped"),
    ("raised", "NameError", "", "raised")])
def test_a_right_answer_is_right_whatever_ran_after_it(outcome, cell_error, judged_error, told):
    judged = {"seconds": 0.0, "error": judged_error} | ({"outcome": outcome, "text": "so"} if outcome else {})
    found = {"q1": {"error": cell_error, "seconds": 1.0}, "q1-check": judged}
    line = row("q1-check", {"q1-check": (2.0, 2.0)}, found, {})
    assert line["outcome"] == told and bool(line["error"]) == (told != "right" and bool(cell_error or judged_error))


def test_a_blank_that_comes_back_does_not_undo_an_answer():
    """The answer was written into a cell of the student's own, and the cell it belongs in deleted."""
    given, notebook = (nbformat.reads(text_of(CLASS), as_version=4) for _ in range(2))
    at = next(place for place, cell in enumerate(notebook.cells) if grade_id_of(cell) == "q1")
    notebook.cells[at] = new_code_cell("def place(bars): return 1")
    restore(notebook, given)
    order = [cell.source for cell in notebook.cells if "def place" in cell.source or "check.q1(" in cell.source]
    assert order[0].startswith('def place(bars):\n    """') and order[1].endswith("return 1")
    assert order[2].startswith("check")


def test_a_file_that_cannot_be_read_costs_only_itself(tmp_path, monkeypatch):
    notebook_of(CLASS, tmp_path / "ann")
    for student, file in (("bob", f"{CLASS}.ipynb"), ("cyd", "homework.ipynb"), ("dee", f"{CLASS}.ipynb")):
        notebook_of(CLASS, tmp_path / student, file)
    open_path, copy_file = Path.open, shutil.copy
    errors = {"bob": PermissionError(13, "Permission denied"), "cyd": PermissionError(13, "Permission denied")}

    def opened(path, *arguments, **options):
        if path.suffix == ".ipynb" and path.parent.name in errors:
            raise errors[path.parent.name]
        return open_path(path, *arguments, **options)

    def copied_file(source, *arguments):
        if Path(source).parent.name in errors | {"dee": 0}:
            raise errors.get(Path(source).parent.name, OSError(5, "Input/output error"))
        return copy_file(source, *arguments)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(grading.shutil, "copy", copied_file)
    monkeypatch.setattr(grading.Classroom, "grade_one", only_bad(grading.Classroom.grade_one))
    done = mlkit("grade", tmp_path, "--out", tmp_path / "g.csv")
    assert done.exit_code == 1 and "bob/01_leakage.ipynb: it cannot be read: Permission denied" in done.output
    told = {tuple(each[name] for name in ("student", "lesson", "outcome", "error"))
            for each in read_gradebook(tmp_path / "g.csv")}
    denied = "it cannot be read: Permission denied"
    assert told == {("ann", CLASS, "right", ""), ("bob", CLASS, "not graded", denied),
                    ("cyd", CLASS, "not handed in", ""), ("cyd", "", "not graded", denied),
                    ("dee", CLASS, "not graded", "it cannot be graded here: Input/output error")}
    assert not any(each["remark"] for each in read_gradebook(tmp_path / "g.csv"))


def only_bad(grade_one):
    """Grading without the minutes it takes: a notebook that can be read is right."""
    def graded(self, submission, key):
        if submission.student in ("ann", "eve"):
            return [each | {"outcome": "right", "key": key} for each in grading.no_points(submission.lesson, "")], 0.1
        return grade_one(self, submission, key)
    return graded


def test_grading_one_lesson_keeps_the_rows_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(grading.Classroom, "grade_one", only_bad(grading.Classroom.grade_one))
    monkeypatch.setattr(grading.Classroom, "_open", lambda self: None)
    handed_in, out, other = tmp_path / "in", tmp_path / "g.csv", LESSONS[2]
    for student, lesson in (("ann", CLASS), ("ann", other), ("eve", CLASS)):
        notebook_of(lesson, handed_in / student)
    mlkit("grade", handed_in, "--out", out)
    before, first = read_gradebook(out), out.read_bytes()
    assert {(each["student"], each["lesson"]) for each in before} == {
        (student, lesson) for student in ("ann", "eve") for lesson in (CLASS, other)}
    for options in (["02"], ["01"], ["02", "--again"], []):
        done = mlkit("grade", handed_in, *options, "--out", out)
        assert done.exit_code == 0 and "not taken over" not in done.output
        assert out.read_bytes() == first and sorted(path.name for path in tmp_path.glob("g*.csv")) == ["g.csv"]
    shutil.rmtree(handed_in / "eve")
    done = mlkit("grade", handed_in, "01", "--out", out)
    count = len(lessons()[CLASS].QUESTIONS)
    assert f"{count} rows of the old gradebook were not taken over" in done.output
    left = [each for each in before if each["student"] == "ann" or each["lesson"] == other]
    assert read_gradebook(out) == left and read_gradebook(tmp_path / "g.1.csv") == before


@pytest.mark.parametrize("system, told", [("/usr", set()), (".", {"home/other", "elsewhere"})])
def test_nothing_readable_leads_to_the_checkout(tmp_path, monkeypatch, system, told):
    """Whatever the teacher's Python imports from, and though the system's folders or Python lie around a checkout."""
    checkout = tmp_path / "home" / "checkout"
    for folder in (checkout / ".venv/lib", checkout / "tests/answers", tmp_path / "home/other", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(grading, "PACKAGE", checkout / "mlkit")
    monkeypatch.setattr(grading.sys, "prefix", str(checkout / ".venv"))
    monkeypatch.setattr(grading, "SYSTEM_FOLDERS", (str(tmp_path / system),))
    monkeypatch.setattr(grading.sys, "path", ["", *map(str, (checkout, checkout / "tests", tmp_path, "/"))])
    readable = {Path(each) for each in grading.rights_in(tmp_path / "s")["readable"]} - {grading.DATA}
    assert not [each for each in readable if checkout.is_relative_to(each)]
    mine = {each.relative_to(tmp_path).as_posix() for each in readable if each.is_relative_to(tmp_path)}
    assert mine == told | {"home/checkout/.venv", "s/code", "s/jupyter"}


def test_metadata_that_was_meddled_with_is_ours_again():
    given, notebook = (nbformat.reads(text_of(CLASS), as_version=4) for _ in range(2))
    for cell in notebook.cells:
        changed = {**cell.metadata.get("nbgrader", {}), "points": 100, "grade": False, "solution": True}
        cell.metadata = nbformat.from_dict({"nbgrader": changed, "tags": ["skip-execution"]})
    notebook.cells[0].metadata.nbgrader = "nonsense"
    assert restore(notebook, given) == []
    for cell, was in zip(notebook.cells, given.cells, strict=True):
        assert cell.metadata.get("nbgrader") == was.metadata.get("nbgrader")
    assert not any("tags" in cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("outputs", [[], [{"data": {"application/vnd.mlkit.record+json": {"results": 3}}}],
                                     [{"data": {"application/vnd.mlkit.record+json": {"results": [{"value": 1}]}}}],
                                     [{"data": {"application/vnd.mlkit.record+json": "x"}}]])
def test_records_edited_by_hand_are_no_records(outputs):
    notebook = new_notebook(cells=[new_code_cell("1")])
    notebook.cells[0].outputs = nbformat.from_dict(outputs)
    assert records(notebook) == {} and VERDICT != "application/vnd.mlkit.record+json"


ROW = dict.fromkeys(COLUMNS, "") | {"student": "ann", "lesson": CLASS, "question": "q1", "points": 2.0,
                                    "max_points": 2.0, "outcome": "right", "seconds": 0.25}


def test_a_gradebook_is_never_lost(tmp_path):
    path = tmp_path / "deep" / "gradebook.csv"
    assert write_gradebook(path, [ROW]) is None and write_gradebook(path, [ROW]) is None
    first = path.read_bytes()
    assert write_gradebook(path, [ROW | {"points": 1.0}]) == path.with_name("gradebook.1.csv")
    path.with_name("gradebook.7.csv").write_text("kept too", encoding="utf-8")
    path.write_text("a spreadsheet made this", encoding="utf-8")
    assert write_gradebook(path, [ROW]) == path.with_name("gradebook.8.csv")
    assert path.read_bytes() == path.with_name("gradebook.1.csv").read_bytes() == first
    assert path.with_name("gradebook.8.csv").read_text(encoding="utf-8") == "a spreadsheet made this"


def test_of_gradebooks_written_at_once_none_is_lost(tmp_path, monkeypatch):
    path, count, look = tmp_path / "gradebook.csv", 8, Path.glob

    def slow_look(folder, pattern):
        found = list(look(folder, pattern))
        time.sleep(0.05)
        return found

    monkeypatch.setattr(Path, "glob", slow_look)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda number: write_gradebook(path, [ROW | {"student": f"s{number}"}]), range(count)))
    found = [read_gradebook(each)[0]["student"] for each in tmp_path.glob("gradebook*.csv")]
    assert sorted(found) == sorted(f"s{number}" for number in range(count))
    assert not [each for each in tmp_path.iterdir() if each.suffix != ".csv"]


def test_a_gradebook_without_the_later_columns_is_one(tmp_path):
    text = "\n".join(",".join(value for name, value in line.items() if name != "first_choice") for line in (
        {name: name for name in COLUMNS}, {name: str(ROW[name]) for name in COLUMNS}))
    (tmp_path / "g.csv").write_text(text, encoding="utf-8")
    assert read_gradebook(tmp_path / "g.csv") == [ROW]


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "a, \"b\"", "'=1", "naïve"])
def test_a_spreadsheet_works_nothing_out_and_a_text_comes_back(tmp_path, text):
    error = "two\nlines\x1b[31m\u2028 more " + "x" * 1900
    write_gradebook(tmp_path / "g.csv", [ROW | {"student": text, "error": error}])
    [cells] = csv.DictReader((tmp_path / "g.csv").open(encoding="utf-8"))
    assert not cells["student"].startswith(("=", "+", "-", "@"))
    [row] = read_gradebook(tmp_path / "g.csv")
    assert row["student"] == text and row["points"] == 2.0 and row["seconds"] == 0.25
    assert row["error"].startswith("two lines [31m more x") and len(row["error"]) == 1000


def test_a_gradebook_that_cannot_be_read_is_not_graded_over(tmp_path):
    """A spreadsheet put semicolons between its columns; the points changed in it by hand would be lost."""
    notebook_of(CLASS, tmp_path / "submissions" / "ann")
    path = tmp_path / "gradebook.csv"
    write_gradebook(path, [ROW])
    path.write_text(saved := path.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    done = mlkit("grade", tmp_path / "submissions", "--out", path)
    assert done.exit_code == 1 and "no column student" in done.output and "UTF-8 with commas" in done.output
    assert str(path) in done.output and "another --out" in done.output
    assert path.read_text(encoding="utf-8") == saved and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text, told", [("", "no rows"), ("name,points\nann,3\n", "no column student"),
                                        ("\x00\xff", "")])
def test_a_file_that_is_no_gradebook_is_told(tmp_path, text, told):
    (tmp_path / "g.csv").write_text(text, encoding="latin-1")
    done = mlkit("report", tmp_path / "g.csv")
    assert done.exit_code == 1 and "is no gradebook" in done.output and told in done.output


def test_the_spread_holds_everybody():
    for most in (4, 9, 12, 35):
        points = [0, most, most / 2, most - 0.5, 1]
        bins = spread(points, most)
        assert sum(each.count for each in bins) == len(points) and len(bins) <= 11
        assert bins[0].label.endswith(str(most)) and bins[-1].label.startswith("0")


def test_a_student_is_stuck_by_tries_or_by_a_look_at_the_solution(tmp_path):
    def row(student, **changes):
        return ROW | {"student": student, "outcome": "wrong", "points": 0.0, "error": "so & so"} | changes

    write_gradebook(tmp_path / "g.csv", [row("ann", tries=5), row("bob", tries=4), row("cyd", solution_shown=True),
                                         row("dee", outcome="not attempted", tries=0),
                                         row("eve", outcome="right", tries=9)])
    page = write_report(tmp_path / "g.csv", tmp_path / "g.html").read_text(encoding="utf-8")
    stuck = page.split("Who is stuck: 2 of 5")[1].split("<h2>")[0]
    assert "ann" in stuck and "cyd" in stuck and "looked at the solution" in stuck and "so &amp; so" in stuck
    assert not any(name in stuck for name in ("bob", "dee", "eve"))


def test_a_page_without_names_names_nobody(tmp_path):
    students_here = ("Ann Abel", "Bob Bernau", "Cyd Cerf")
    write_gradebook(tmp_path / "g.csv", [ROW | {
        "student": student, "outcome": "mistake", "mistake": "a window around the bar", "points": 0.0, "tries": 9,
        "file": f"{student}/01_leakage.ipynb", "remark": "it was called x.ipynb"} for student in students_here])
    for options, named in (((), True), (("--without-names",), False)):
        done = mlkit("report", tmp_path / "g.csv", "--out", tmp_path / "g.html", *options)
        page = (tmp_path / "g.html").read_text(encoding="utf-8")
        assert done.exit_code == 0 and "a window around the bar</strong>, 3" in page
        for student in students_here:
            assert (student in page) == named
        assert "Who is stuck: 3 of 3" in page and ("<h2>Everybody</h2>" in page) == ("x.ipynb" in page) == named


def test_what_was_thought_first_is_the_misconception(tmp_path):
    """Of a question of thought all are right in the end: each option explains itself."""
    options = next(question for question in lessons()[CLASS].QUESTIONS if question.name == "q5").options
    first, second = [letter for letter, option in options.items() if option.mistake][:2]
    changes = [{"first_choice": first}, {"first_choice": first, "mistake": options[second].mistake}, {}]
    write_gradebook(tmp_path / "g.csv", [ROW | {"student": f"s{at}", "question": "q5"} | change
                                         for at, change in enumerate(changes)])
    page = write_report(tmp_path / "g.csv", tmp_path / "g.html").read_text(encoding="utf-8")
    assert f"{options[first].mistake}</strong>, 2" in page and f"{options[second].mistake}</strong>," not in page


# ---- the process that may do anything


def watched(tmp_path, code, **limits):
    given = dict(seconds=20, memory=1000, processes=10) | limits
    return run_watched([sys.executable, "-c", code], folder=tmp_path, environment={"PATH": os.defpath},
                       errors=tmp_path / "errors.txt", **given)


def test_a_process_that_behaves_ends_by_itself(tmp_path):
    ended = watched(tmp_path, "import os, sys; sys.exit(0 if set(os.environ) <= {'PATH', 'LC_CTYPE'} else 1)")
    assert (ended.status, ended.stopped) == (0, "")
    assert watched(tmp_path, "1 / 0").status == 1 and "ZeroDivisionError" in (tmp_path / "errors.txt").read_text()


@pytest.mark.parametrize("code, limits, told", [
    ("while True: pass", {"seconds": 1}, "longer than the 1 s"),
    ("hoard = [bytearray(b'x' * (8 << 20)) for _ in range(100)]\nimport time; time.sleep(9)", {"memory": 300},
     "300 MB"),
    ("import os, time\nfor _ in range(30):\n    if not os.fork(): time.sleep(30); os._exit(0)\ntime.sleep(9)", {},
     "more than 10 processes")])
def test_a_limit_ends_it_and_all_it_started(tmp_path, code, limits, told):
    began = time.monotonic()
    ended = watched(tmp_path, code, **limits)
    assert told in ended.stopped and time.monotonic() - began < 15
    assert not [process for process in psutil.process_iter(["cmdline"]) if code in (process.info["cmdline"] or [])]


@CONFINED
def test_what_landlock_leaves(tmp_path):
    """Reading outside is refused, and so is writing, to the process and to what it starts; inside all goes."""
    for name in ("mine", "shown", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x", encoding="utf-8")
    code = f"""import os, subprocess, sys
sys.path.insert(0, {str(Path(landlock.__file__).parent)!r})
import landlock
assert landlock.restrict(["/usr", "/lib", "/lib64", "/bin", "/etc", sys.prefix, sys.base_prefix, "/not/there", "shown"],
                         ["mine"])
open("mine/new", "w").write(open("shown/file").read()); os.remove("mine/file")
refused = 0
for attempt in (lambda: open("theirs/file"), lambda: open("theirs/new", "w"), lambda: os.remove("theirs/file"),
                lambda: os.rename("mine/new", "theirs/new"), lambda: os.listdir("theirs"),
                lambda: os.kill(os.getppid(), 0), lambda: open("shown/file", "a"), lambda: os.remove("shown/file"), lambda: os.mkdir("shown/new")):
    try:
        attempt()
    except PermissionError:
        refused += 1
print(refused, subprocess.run(["cat", "theirs/file"], capture_output=True).returncode)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["9", "1"], done.stderr
    assert (tmp_path / "theirs" / "file").exists() and (tmp_path / "mine" / "new").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize("known, told", [(0, "no Landlock: a submission can read and write what you can"),
                                         (2, "an old Landlock: a submission can empty files"),
                                         (3, "an old Landlock: a submission can open TCP connections"),
                                         (5, "an old Landlock: a submission can send signals"), (6, "")])
def test_an_older_landlock_is_told(tmp_path, monkeypatch, known, told):
    monkeypatch.setattr(landlock, "version", lambda: known)
    done = mlkit("grade", tmp_path, "--out", tmp_path / "g.csv")
    assert told in done.output and ("Landlock" in done.output) == bool(told)
    assert ("6.2" in done.output) == (0 < known < 3)
    assert ("6.7" in done.output) == (0 < known < 4) and ("6.12" in done.output) == (0 < known < 6)


# ---- docs/teaching.md

TEACHING = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")


def minutes_of(path):
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    return re.search(r"[Aa]bout (\d+) minutes", first).group(1)


def test_the_plan_has_every_lesson_and_its_minutes():
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| (\d+) \|$", TEACHING, re.MULTILINE)
    assert [int(week) for week, *_ in rows] == list(range(1, 13))
    assert set(LESSONS) <= {lesson for _, lesson, *_ in rows}
    for _, lesson, minutes, exercise in rows:
        for folder, stated in ((ROOT / "notebooks", minutes), (SOURCES, exercise)):
            path = folder / f"{lesson}.ipynb"
            assert not path.exists() or minutes_of(path) == stated, path


def test_a_week_fits_its_minutes():
    rows = re.findall(r"^\| \d+ \| \w+ \| (\d+) \| (\d+) \|$", TEACHING, re.MULTILINE)
    lesson, exercise = (sorted(map(int, column)) for column in zip(*rows))
    spans = [[int(least or most), int(most)] for least, most in
             re.findall(r"^\| \D+ \| (?:(\d+) to )?(\d+) \|$", TEACHING, re.MULTILINE)]
    guess, _, talk, _ = spans
    assert spans == [guess, [lesson[0], lesson[-1]], talk, [exercise[0], exercise[-1]]]
    assert guess[1] + 1.5 * lesson[-1] + talk[1] <= int(re.search(r"Plan (\d+) minutes", TEACHING)[1])


def test_the_folder_for_a_room_holds_the_course_and_nothing_of_ones_own(tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "notebooks" / ".progress.json").write_text("{}", encoding="utf-8")
    line = re.search(r"^mkdir -p course && .*$", TEACHING, re.MULTILINE)[0]
    line = line.replace(".venv/bin/mlkit", f"{sys.executable} -m mlkit")
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    names = {str(path.relative_to(tmp_path / "course")) for path in (tmp_path / "course").rglob("*") if path.is_file()}
    lessons_there = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert names == lessons_there | {"exercises/README.md"} | {f"exercises/{lesson}.ipynb" for lesson in LESSONS}


def test_what_a_link_leads_to_is_not_collected(tmp_path):
    """The page's loop, without sudo, over plain folders: bob links to what ann did."""
    one = notebook_of(CLASS, tmp_path / "home/jupyter-ann/course/exercises")
    other = tmp_path / "home/jupyter-bob/course/exercises"
    other.mkdir(parents=True)
    (other / one.name).symlink_to(one)
    loop = re.search(r"^for home in .*?done$", TEACHING, re.MULTILINE | re.DOTALL)[0]
    loop = loop.replace("sudo -u $name ", "").replace("/home/", f"{tmp_path}/home/")
    subprocess.run(["bash", "-c", loop], cwd=tmp_path, check=True)
    found, _ = find_submissions(tmp_path / "submissions", LESSONS)
    assert {name: len(those) for name, those in found.items()} == {"jupyter-ann": 1, "jupyter-bob": 0}


def test_the_commands_it_names_exist():
    named = re.findall(r"mlkit exercises (\w+)((?: [^\s`]+)*)", TEACHING)
    assert {command for command, _ in named} == {"release", "grade", "report"}
    group = main.get_command(None, "exercises")
    for command, rest in named:
        options = {option for parameter in group.get_command(None, command).params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, rest
    known = {option for command in ("release", "grade", "report")
             for parameter in group.get_command(None, command).params for option in parameter.opts}
    told = set(re.findall(r"`(--[a-z-]+)", TEACHING))
    assert {"--cell-timeout", "--timeout", "--memory", "--again"} <= told <= known


def test_its_links_and_columns_are_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", TEACHING):
        assert (ROOT / "docs" / link).exists(), link
    headings = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                for heading in re.findall(r"^## (.*)$", TEACHING, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEACHING)) <= headings
    table = TEACHING.split("| column | |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(COLUMNS)
