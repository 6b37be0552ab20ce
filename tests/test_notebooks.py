"""The notebooks in git: they were run from top to bottom, on no particular machine, and a wrong one is found."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mlkit.batch import parameters_of
from mlkit.course import (blank, committed_notebooks, keep_measured, machine_detail, numbered_notebooks, output_texts,
                          regenerate, settle)

ROOT = Path(__file__).parents[1]
LESSONS = numbered_notebooks(ROOT / "notebooks")
COMMITTED = committed_notebooks(ROOT / "notebooks")
ANY_MACHINE = re.compile(r"(?<![\w.])(/home/|/Users/|/root/|/tmp/|/var/folders/|[A-Z]:\\\\+Users)")


def name_of(path):
    return str(path.relative_to(ROOT / "notebooks"))


@pytest.fixture(params=COMMITTED, ids=name_of)
def committed(request):
    return nbformat.read(request.param, as_version=4)


def test_it_was_run_from_top_to_bottom(committed):
    code = [cell for cell in committed.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_no_cell_ended_in_an_error(committed):
    assert not [cell.id for cell in committed.cells if cell.cell_type == "code"
                for output in cell.outputs if output.output_type == "error"]


def test_it_says_nothing_about_the_machine_it_ran_on(committed):
    for cell in committed.cells:
        for output in cell.get("outputs", []):
            for kind, text in output_texts(output):
                assert not machine_detail(text) and not ANY_MACHINE.search(text), f"cell {cell.id}, {kind}"
        assert not ANY_MACHINE.search(cell.source), f"cell {cell.id}"


def test_its_metadata_lasts(committed):
    assert committed.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert "version" not in committed.metadata.language_info
    assert set(committed.metadata) <= {"kernelspec", "language_info"}
    ids = [cell.id for cell in committed.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("lesson", LESSONS, ids=name_of)
def test_a_lesson_can_be_run_with_other_parameters(lesson):
    assert parameters_of(lesson), "no cell tagged 'parameters'"


@pytest.mark.long
@pytest.mark.parametrize("lesson", LESSONS, ids=name_of)
def test_a_lesson_made_again_on_one_machine_is_the_same_to_the_byte(lesson, tmp_path):
    copy = shutil.copy(lesson, tmp_path)
    [first] = regenerate([copy], progress=False)    # "changed" where another machine rounds or draws otherwise
    [again] = [first] if first.status == "unchanged" else regenerate([copy], progress=False)
    assert again.status == "unchanged", again.describe()


PLOT = "import matplotlib.pyplot as plt\nplt.plot([0, height]);"
DISPLAYS = "import sys\nfor i in range(3):\n    print(i, flush=True)\n    print('!', file=sys.stderr, flush=True)"


OFFLINE = """import socket
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    print("offline" in str(error))"""
TIMED = "import time\nprint(f'{time.perf_counter_ns():,} ns')"


def notebook_of(*sources):
    parameters = new_code_cell("height = 2.0\nname = 'GE'", metadata={"tags": ["parameters"]})
    cells = [new_code_cell(source, metadata={"tags": ["nbval-ignore-output"]} if source == TIMED else {})
             for source in sources]
    return new_notebook(cells=[new_markdown_cell("# A lesson"), parameters, *cells])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A good notebook, one whose cell raises and two that tell on their machine, each regenerated twice."""
    folder = tmp_path_factory.mktemp("made")
    sources = {"good": ("1 / 3", PLOT, DISPLAYS, OFFLINE, TIMED), "raises": ("1 / 0",),
               "tells": ("import os; print(os.getcwd())",), "address": ("object()",)}
    for name, cells in sources.items():
        raw = json.loads(nbformat.writes(notebook_of(*cells)))
        if name == "good":
            for cell in raw["cells"][:2]:
                del cell["id"]
        (folder / f"{name}.ipynb").write_text(json.dumps(raw))
    before = (folder / "raises.ipynb").read_bytes()
    first = regenerate([folder / f"{name}.ipynb" for name in sources], progress=False)
    bytes_after_one = (folder / "good.ipynb").read_bytes()
    again = regenerate([folder / "good.ipynb"], progress=False)
    return {"folder": folder, "first": dict(zip(sources, first)), "again": again[0], "raises before": before,
            "once": bytes_after_one}


def test_regenerating_twice_changes_nothing(made):
    assert (made["first"]["good"].status, made["again"].status) == ("changed", "unchanged")
    assert (made["folder"] / "good.ipynb").read_bytes() == made["once"]
    good = nbformat.reads(made["once"].decode(), as_version=4)
    assert [cell.execution_count for cell in good.cells[1:]] == [1, 2, 3, 4, 5, 6]
    assert good.cells[2].outputs[0].data["text/plain"] == "0.3333333333333333"
    assert list(good.cells[3].outputs[0].data) == ["image/png", "text/plain"]
    assert [(out.name, out.text) for out in good.cells[4].outputs] == [("stdout", "0\n1\n2\n"), ("stderr", "!\n!\n!\n")]
    assert good.cells[5].outputs[0].text == "True\n"


@pytest.mark.parametrize("now, kept", [("   12 s\n", True), ("12 minutes\n", False), ("", False)])
def test_of_an_exempt_cell_only_other_numbers_are_not_a_change(now, kept):
    was, made = notebook_of(TIMED, "1"), notebook_of(TIMED, "1")
    was.cells[2].outputs = was.cells[3].outputs = [new_output("stream", text="1.25 s\n")]
    made.cells[2].outputs = made.cells[3].outputs = [new_output("stream", text=now)]
    keep_measured(made, was)
    assert (made.cells[2].outputs == was.cells[2].outputs) == kept and made.cells[3].outputs[0].text == now


def test_a_failing_cell_is_named_and_leaves_the_file_alone(made):
    outcome = made["first"]["raises"]
    assert outcome.failed and outcome.cell.startswith("cell 2 (id ") and "ZeroDivisionError" in outcome.error
    assert (made["folder"] / "raises.ipynb").read_bytes() == made["raises before"]


@pytest.mark.parametrize("name, told", [("tells", "path of this machine"), ("address", "memory address")])
def test_what_differs_elsewhere_is_refused(made, name, told):
    outcome = made["first"][name]
    assert outcome.failed and told in outcome.error and outcome.cell.startswith("cell 2")
    assert nbformat.read(made["folder"] / f"{name}.ipynb", as_version=4).cells[2].outputs == []


def test_ids_are_kept_and_missing_ones_are_derived():
    raw = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"papermill": {}, "kernelspec": {"name": "mine"}},
           "cells": [{"cell_type": "markdown", "source": ["a"], "metadata": {}},
                     {"cell_type": "markdown", "source": ["a"], "metadata": {}, "id": "mine"},
                     {"cell_type": "code", "source": ["a"], "metadata": {"execution": {}, "tags": ["x"]}, "id": "mine",
                      "execution_count": 9, "outputs": []}]}
    one, two = blank(json.dumps(raw)), blank(json.dumps(raw))
    assert one == two and len({cell.id for cell in one.cells}) == 3 and one.cells[1].id == "mine"
    assert one.cells[2].metadata == {"tags": ["x"]} and set(one.metadata) == {"kernelspec", "language_info"}
    assert settle(one) is None


def make_test(project):
    """What `make test` runs, with this repository's own configuration: its run, the notebooks seen, the red ones."""
    assert "@$(PY) -m pytest -n $(JOBS) --dist loadfile $(TESTS)\n" in (ROOT / "Makefile").read_text()
    report = project / "report.xml"
    done = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", f"--junit-xml={report}"], cwd=project,
                          capture_output=True, text=True, timeout=300)
    red, seen = set(), set()
    for case in ElementTree.parse(report).iter("testcase"):
        notebook = case.get("classname").removesuffix(".ipynb").rpartition(".")[2]
        seen.add(notebook)
        if case.find("failure") is not None or case.find("error") is not None:
            red.add(notebook)
    return done, seen, red


def test_the_test_run_turns_red_on_each_wrong_notebook(made, tmp_path):
    for file in ("conftest.py", "pyproject.toml", "tests/nbcompare.py", "tests/offline.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(made["folder"] / "good.ipynb", folder)
    done, seen, red = make_test(tmp_path)
    assert done.returncode == 0 and seen == {"good"} and not red, done.stdout
    assert "notebook cells: 5 compared with their committed outputs, 1 exempt (16.7%" in done.stdout

    for name, change in WRONG.items():
        notebook = nbformat.read(folder / "good.ipynb", as_version=4)
        change(notebook)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    done, seen, red = make_test(tmp_path)
    assert done.returncode == 1 and seen == {"good", *WRONG} and red == set(WRONG), done.stdout
    assert "0.3334 was committed, 0.3333333333333333 is computed now" in done.stdout
    count = len(WRONG) + 1
    assert f"notebook cells: {5 * count} compared with their committed outputs, {count} exempt" in done.stdout


def wrong_number(notebook):
    notebook.cells[2].outputs[0].data["text/plain"] = "0.3334"


def changed_plot(notebook):
    notebook.cells[3].source = notebook.cells[3].source.replace("[0, height]", "[0, height / 2, height]").replace(
        "plot(", "plot([0, 1, 3], ")


def raising_cell(notebook):
    notebook.cells[4].source = "raise ValueError('planted')"


def never_run(notebook):
    for cell in notebook.cells[1:]:
        cell.update(outputs=[], execution_count=None)


def output_removed(notebook):
    notebook.cells[2].outputs = []


WRONG = {change.__name__: change for change in (wrong_number, changed_plot, raising_cell, never_run, output_removed)}
