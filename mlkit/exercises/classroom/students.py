"""The students' notebooks, made from the sources with their solutions by nbgrader's own `generate_assignment`.

A source, `mlkit/exercises/sources/01_leakage.ipynb`, holds the solutions and the hidden tests. What is made
of it is the notebook without both, with nbgrader's metadata: which cell is graded and for how many points,
which is locked, and the checksum of each. nbgrader's `gradebook.db` keeps the hidden tests, for the grading.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from mlkit.course import blank, regenerate
from mlkit.exercises.checker import BEGIN, END, SOURCES, lessons
from mlkit.notebooks import Outcome, environment

STUB = "# your code here"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
FORBIDDEN = ("BEGIN SOLUTION", "HIDDEN TESTS", ".grade(", "exercises/sources", "exercises.sources")
TELLING = 12  # characters: a solution's line of that length may not even be part of another line
README = """# Exercises

{table}

Open them in JupyterLab where the course is installed (`jupyter lab`), each after its lesson.

* Write your answers where it says `{stub}`. The cell below each says at once what it thinks of them: not
  attempted, your code raised, a mistake it knows, wrong on this smallest input, or right.
* `check.q1.hint()` gives a hint. How often you tried, which hints you asked for and what you chose first is kept, in
  the notebook and beside it in `.tries.json`, so that a restart does not lose it. It costs no points.
* You may copy or split the cell with your answer: all of it runs from top to bottom, and the last definition counts.
* The cells that check are locked. If one was lost or changed, nothing is lost either: it is put back when graded.
* Hand in the notebook itself, saved, under the name it has here. Other files are not looked at. It is run again
  from top to bottom on a machine without network, in one process: Kernel, Restart Kernel and Run All Cells shows you
  whether it runs.
"""


def make_course(names, root: Path) -> dict[str, Path]:
    """Make an nbgrader course in a folder: `gradebook.db` and `release/LESSON/LESSON.ipynb`.

    Returns
    -------
    dict of lesson -> path of its student's notebook. No solution is left in the folder.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    made = {}
    for name in names:
        source = root / "source" / name / f"{name}.ipynb"
        source.parent.mkdir(parents=True)
        source.write_text(json.dumps(_with_setup_locked(source_of(name), name)), encoding="utf-8")
        config = Config(ClearSolutions={"code_stub": {"python": STUB}})
        course = CourseDirectory(root=str(root), assignment_id=name, config=config)
        with environment({"PATH": _path_with_alembic()}):
            GenerateAssignment(coursedir=course, config=config).start()
        made[name] = root / "release" / name / f"{name}.ipynb"
    shutil.rmtree(root / "source")
    return made


def _with_setup_locked(notebook: dict, lesson: str) -> dict:
    """The first code cell, which everything rests on, is locked, and is called as the lesson: a file may be renamed."""
    setup = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    setup["metadata"]["nbgrader"] = {"grade": False, "grade_id": lesson, "locked": True, "schema_version": 3,
                                     "solution": False, "task": False}
    return notebook


def _path_with_alembic() -> str:
    """nbgrader asks the `alembic` beside this Python, by name, for the version of its gradebook."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def source_of(lesson: str) -> dict:
    """The notebook with the solutions; raises FileNotFoundError where it is not installed."""
    path = SOURCES / f"{lesson}.ipynb"
    if not path.exists():
        raise FileNotFoundError(f"the solutions to {lesson} are not installed here ({path} is missing): exercises are "
                                "handed out and graded from a checkout of the course, which has them")
    return json.loads(path.read_text(encoding="utf-8"))


def student_notebooks(names) -> dict[str, str]:
    """Lesson -> the text of its student's notebook, never run.

    Raises ValueError naming what is found, if one holds a solution's line, a hidden test or the way to them.
    """
    with tempfile.TemporaryDirectory(prefix="mlkit-") as folder:
        paths = make_course(names, Path(folder))
        made = {name: blank(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    found = {name: faults(notebook, source_of(name)) for name, notebook in made.items()}
    told = "\n".join(f"  {name}: {fault}" for name, those in found.items() for fault in those)
    if told:
        raise ValueError(f"nothing was written, the students would get more than the questions:\n{told}")
    return {name: nbformat.writes(notebook).rstrip("\n") + "\n" for name, notebook in made.items()}


def faults(student, source: dict) -> list[str]:
    """What a student's notebook holds that it must not, in words; empty when it may be handed out."""
    text = "\n".join([*(cell["source"] for cell in student["cells"]), json.dumps(student)])
    lines = {line.strip() for line in text.splitlines()}
    found = [f"it says {word!r}" for word in FORBIDDEN if word in text]
    for what, begin, end in (("solution", BEGIN, END), ("hidden test", BEGIN_HIDDEN, END_HIDDEN)):
        for line in secret_lines(source, begin, end):
            if line in lines or (len(line) >= TELLING and line in text):
                found.append(f"a line of a {what} stands in it too: {line}")
    return found


def secret_lines(source: dict, begin: str = BEGIN, end: str = END) -> list[str]:
    """The lines between two marks in a source, without their indentation."""
    cells = ("".join(cell["source"]) for cell in source["cells"])
    regions = (region for cell in cells for region in re.findall(rf"{begin}\n(.*?)[ \t]*{end}", cell, re.DOTALL))
    return [line.strip() for region in regions for line in region.splitlines() if line.strip()]


def release(names, out: Path) -> list[Path]:
    """Write the students' notebooks, never run, and a page for the students into a folder; returns what was written.

    The page lists those of earlier weeks in the folder, too, and takes their page's place. Raises ValueError where a
    notebook may not be handed out, and FileExistsError where another file has the name of one: somebody may have
    worked in it.
    """
    texts = {f"{name}.ipynb": text for name, text in student_notebooks(names).items()}
    listed = [name for name in lessons() if name in names or (out / f"{name}.ipynb").exists()]
    table = "\n".join(f"* [{name}]({name}.ipynb): {_how_much(name)}" for name in listed)
    texts["README.md"] = README.format(table=table, stub=STUB)
    there = {name: (out / name).read_text(encoding="utf-8") for name in texts if (out / name).exists()}
    others = [name for name, text in there.items() if text != texts[name] and not _is_page(text)]
    if others:
        raise FileExistsError(f"{out} holds other files named {', '.join(others)}, perhaps with somebody's work: "
                              "nothing was written; take another folder, or move them away")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")
    return [out / name for name in texts]


def _is_page(text: str) -> bool:
    """Whether `release` wrote this page, whatever it lists; one edited since is somebody's."""
    before, after = README.replace("{stub}", STUB).split("{table}")
    return text.startswith(before) and text.endswith(after)


def _how_much(lesson: str) -> str:
    questions = lessons()[lesson].QUESTIONS
    return f"{len(questions)} questions, {sum(question.points for question in questions)} points"


def make(names, folder: Path) -> list[Outcome]:
    """Write the students' notebooks into the course's folder of exercises, and run them, as they are kept in git.

    Returns
    -------
    list of Outcome: "changed", "unchanged" or "failed".
    """
    paths = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in student_notebooks(names).items():
        paths.append(folder / f"{name}.ipynb")
        if not paths[-1].exists() or as_given(paths[-1].read_text(encoding="utf-8")) != as_given(text):
            paths[-1].write_text(text, encoding="utf-8", newline="\n")
    return regenerate(paths)


def as_given(text: str) -> list[tuple]:
    """What of a notebook does not change by running it: each cell's id, type, source and metadata."""
    return [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in blank(text).cells]
