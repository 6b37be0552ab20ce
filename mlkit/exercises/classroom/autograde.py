"""Grade one submission with nbgrader's autograder: a process of its own, which `grading.py` starts and watches.

It works in one folder, which holds all it needs (see `grading.prepare`) and takes all it makes: `result.json`
at last. nbgrader puts edited cells right, adds the hidden tests, runs the notebook and keeps the points in its
gradebook; added here are cells that were deleted, the kernel's limits, and that a verdict counts only with the
judge's word on it (`confined.py`). A warning costs no points, a number printed by a cell earns none.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

sys.modules.setdefault("rfc3987_syntax", None)  # half of a start's time, to know kinds of addresses no notebook has

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade
from traitlets import Float, Unicode
from traitlets.config import Config

from mlkit.batch import recorded
from mlkit.exercises.classroom.confined import VERDICT
from mlkit.exercises.classroom.watch import adopt_orphans, end_family
from mlkit.notebooks import private_kernels

STUDENT = "student"  # whose name it is does not matter here, and could not always be a folder's
HIDDEN_TEST = re.compile(r"^check\.(q\d+)\.grade\((.*)\)$", re.MULTILINE)
PART_OF = "mlkit_part_of"  # in the metadata of a copy of a cell, or of the other half of one
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
KEPT = ("tries", "hints", "solution_shown", "first_choice")


class SealedExecute(Execute):
    """nbgrader's execution of a notebook, with the judge where the hidden tests are, and a limit for all of it."""

    seal = Unicode(help="the judge's name and word").tag(config=True)
    folder = Unicode(help="where the notebook runs").tag(config=True)
    report = Unicode(help="the file to write what was found to").tag(config=True)
    cell_seconds = Float(help="a cell may take").tag(config=True)
    total_seconds = Float(help="all cells together may take").tag(config=True)

    def __init__(self, **options):
        manager = private_kernels(AsyncKernelManager)
        manager.kernel_spec = AsyncKernelManager.kernel_spec      # the confined kernel's, which stands in the course
        super().__init__(kernel_manager_class=manager, **options)

    def preprocess(self, nb, resources):
        self.deadline, self.found = time.monotonic() + self.total_seconds, {}
        self.timeout_func = lambda cell: max(0.5, min(self.cell_seconds, self.deadline - time.monotonic()))
        resources["metadata"]["path"] = self.folder
        graded = {cell.metadata.nbgrader.grade_id: (cell, cell.source) for cell in nb.cells if is_grade(cell)}
        for cell, source in graded.values():
            name, answer = HIDDEN_TEST.search(source).groups()
            cell.source = f"__import__('sys').modules['{self.seal}']('{name}', lambda: ({answer}))"
            cell.metadata.tags = []
        died = ""
        try:
            nb, resources = super().preprocess(nb, resources)
        except DeadKernelError:
            died = "stopped: the kernel died, out of memory or time, or the code ended its own process"
        for cell, source in graded.values():
            cell.source = source
            self._keep_verdict(cell, died)
        Path(self.report).write_text(json.dumps(self.found), encoding="utf-8")
        return nb, resources

    def preprocess_cell(self, cell, resources, index):
        began = time.monotonic()
        cell, resources = super().preprocess_cell(cell, resources, index)
        name = grade_id_of(cell) or cell.metadata.get(PART_OF)
        if name:
            told = self.found.setdefault(name, {"seconds": 0.0, "error": ""})
            told["seconds"] += time.monotonic() - began
            told["error"] = told["error"] or error_of(cell, self.cell_seconds)
        return cell, resources

    def _keep_verdict(self, cell, died: str) -> None:
        """Of a graded cell's outputs only the judge's verdict stays, with an error unless it is "right"."""
        told = self.found.setdefault(cell.metadata.nbgrader.grade_id, {"seconds": 0.0, "error": died})
        signed = [output.data[VERDICT] for output in cell.outputs if VERDICT in output.get("data", {})]
        verdict = next((each for each in signed if each.get("seal") == self.seal), None)
        if verdict is not None:
            told |= {name: verdict[name] for name in ("outcome", "mistake", "text")}
        text = told.get("text") or told["error"] or "The judge said nothing."
        cell.outputs = [new_output("display_data", {"text/plain": text})]
        if told.get("outcome") != "right":
            cell.outputs.append(new_output("error", ename="NotRight", evalue=text, traceback=[text]))


def error_of(cell, limit: float) -> str:
    """A cell's error in one line; '' if it had none."""
    error = next((output for output in cell.get("outputs", []) if output.output_type == "error"), None)
    if error is None:
        return ""
    if error.ename in ("CellTimeoutError", "KeyboardInterrupt"):
        return f"stopped: it ran longer than the {limit:g} s a cell may take"
    return ESCAPES.sub("", f"{error.ename}: {error.evalue}".removesuffix(": "))


def restore(notebook, given) -> list[str]:
    """Give the exercise's cells their metadata again, and put back, as they were given, those that are missing.

    nbgrader restores the text of locked cells itself; where two cells in a row are missing, or one is there twice,
    it would stop.

    Returns
    -------
    list of str, a remark on each cell that was missing, or there several times.
    """
    ours = {cell.metadata.nbgrader.grade_id: cell for cell in given.cells if "nbgrader" in cell.metadata}
    found = {name: [cell for cell in notebook.cells if grade_id_of(cell) == name] for name in ours}
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    for name, cells in found.items():
        _choose(notebook, cells, ours[name])
    names = list(ours)
    remarks = [f"the cell {name} was there {len(cells)} times" for name, cells in found.items() if len(cells) > 1]
    for place, name in enumerate(names):
        there = [grade_id_of(cell) for cell in notebook.cells]
        if name in there:
            continue
        remarks.append(f"the cell {name} was missing")
        if is_grade(ours[name]):  # after all that may belong to its question
            at = next((there.index(other) for other in names[place:] if other in there), len(there))
        else:
            at = there.index(names[place - 1]) + 1 if place else 0
        notebook.cells.insert(at, nbformat.from_dict(ours[name]))
    return remarks


def _choose(notebook, cells: list, given) -> None:
    """Of a cell and its copies, or the halves of one that was split, the one that is the exercise's gets its metadata.

    All of them run, from top to bottom, as they did for the student: it is the last one, of an answer the last that
    was edited, and of the locked cell that all rests on the first. A copy left as it was given would undo an answer
    above it, and goes.
    """
    told = given.metadata.nbgrader
    untouched = [cell for cell in cells if told.solution and cell.source.strip() == given.source.strip()]
    edited = [cell for cell in cells if not any(cell is other for other in untouched)] or untouched[:1]
    for cell in edited:
        cell.metadata = nbformat.from_dict({PART_OF: told.grade_id} if told.solution else {})
    for cell in edited[-1:] if told.solution or told.grade else edited[:1]:
        cell.metadata = nbformat.from_dict({"nbgrader": told})
    gone = {id(cell) for cell in untouched} - {id(cell) for cell in edited}
    notebook.cells = [cell for cell in notebook.cells if id(cell) not in gone]


def grade_id_of(cell) -> str | None:
    told = cell.metadata.get("nbgrader")
    return told.get("grade_id") if isinstance(told, dict) else None


def records(notebook) -> dict:
    """What the checks wrote into the notebook as it was handed in: tries, hints, solutions looked at."""
    try:
        return {name: value for name, value in recorded(notebook).items()
                if isinstance(value, (int, bool)) or (name.endswith("_first_choice") and isinstance(value, str))}
    except (AttributeError, KeyError, TypeError, ValueError):  # outputs edited by hand
        return {}


def grade(home: Path, lesson: str, seal: str, cell_seconds: float, seconds: float) -> dict:
    """Grade `submitted.ipynb` in a prepared folder; returns its rows and remarks."""
    given = nbformat.read(home / "course" / "release" / lesson / f"{lesson}.ipynb", as_version=4)
    notebook = nbformat.read(home / "submitted.ipynb", as_version=4)
    kept = records(notebook)
    remarks = restore(notebook, given)
    handed_in = home / "course" / "submitted" / STUDENT / lesson / f"{lesson}.ipynb"
    handed_in.parent.mkdir(parents=True)
    nbformat.write(notebook, handed_in)
    found = home / "found.json"
    config = Config(SealedExecute={
        "seal": seal, "folder": str(home / "work"), "report": str(found), "cell_seconds": cell_seconds,
        "total_seconds": seconds, "raise_on_iopub_timeout": False})
    steps = [SealedExecute if step is Execute else step for step in Autograde.autograde_preprocessors.default_args[0]]
    course = CourseDirectory(root=str(home / "course"), assignment_id=lesson, student_id=STUDENT, config=config)
    Autograde(coursedir=course, config=config, autograde_preprocessors=steps).start()
    told = json.loads(found.read_text(encoding="utf-8"))
    with Gradebook(course.db_url) as gradebook:
        grades = gradebook.find_submission_notebook(lesson, lesson, STUDENT).grades
        points = {each.name: (each.auto_score, each.max_score) for each in grades}
    return {"remarks": remarks, "rows": [row(name, points, told, kept) for name in points]}


def row(check: str, points: dict, told: dict, kept: dict) -> dict:
    """One question's line in the gradebook."""
    question = check.removesuffix("-check")
    cell, judged = told.get(question, {}), told[check]
    error = cell.get("error") or judged["error"]  # the answer's own cell comes first: without it there is no answer
    outcome = judged.get("outcome", "stopped")
    if outcome != "right" and error.startswith("stopped"):
        outcome = "stopped"
    if outcome in ("wrong", "raised") and not cell.get("error"):
        error = judged["text"]
    return {"question": question, "points": points[check][0], "max_points": points[check][1], "outcome": outcome,
            "mistake": judged.get("mistake", ""), **{name: kept.get(f"{question}_{name}", "") for name in KEPT},
            "seconds": round(cell.get("seconds", 0.0) + judged["seconds"], 1),
            "error": " ".join(error.split()) if outcome in ("wrong", "raised", "stopped") else ""}


def main(home: Path) -> None:
    adopt_orphans()
    task = json.loads((home / "task.json").read_text(encoding="utf-8"))
    try:
        nbformat.read(home / "submitted.ipynb", as_version=4)
    except Exception as error:  # whatever is wrong with the file
        result = {"unreadable": True, "error": f"no notebook that can be read: {type(error).__name__}: {error}"}
    else:
        result = grade(home, **task)
    (home / "result.json").write_text(json.dumps(result), encoding="utf-8")
    end_family(os.getpid(), itself=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
