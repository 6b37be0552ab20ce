"""Prose and outputs of a lesson say the same: a figure in a sentence stands in an output of the same notebook.

And what a lesson consists of: short cells, a prediction, a slider, a record.
"""

import ast
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest

from mlkit.batch import parameters_of
from mlkit.course import numbered_notebooks, output_texts

LESSONS = numbered_notebooks(Path(__file__).parents[1] / "notebooks")
TAUGHT = [path for path in LESSONS if path.stem[:2] != "00"]  # 00 comes before these habits are explained
PERCENTAGE = re.compile(r"(?<![\w.])[-+\u2212]?\d[\d,]*(?:\.\d+)?(?= ?%| per ?cent)")
SHARPE = re.compile(r"Sharpe ratio (?:of|is|was) (?:about |only )?([-+\u2212]?\d+(?:\.\d+)?)")


def figures(prose):
    """Percentages and Sharpe ratios that a text states, as written."""
    return [found.group() for found in PERCENTAGE.finditer(prose)] + SHARPE.findall(prose)


def said_elsewhere(figure, notebook):
    """Whether an output or the code of the notebook (an assert, a parameter) holds the figure, as % or as a fraction."""
    value = float(figure.replace(",", "").replace("\u2212", "-").lstrip("+"))
    spellings = {figure.lstrip("+"), f"{value:g}", f"{abs(value):g}"}
    texts = [text for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
             for _, text in output_texts(output)]
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    fractions = {f"{value / 100:g}", f"{value / 100:.2f}", f"{abs(value) / 100:g}"}
    standing = [re.compile(rf"(?<![\d.]){re.escape(one)}(?![\d]|\.\d)") for one in spellings | fractions]
    return any(each.search(text) for text in texts + code for each in standing)


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=TAUGHT, ids=lambda path: path.stem)
def taught(request):
    return nbformat.read(request.param, as_version=4)


def sources(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_every_figure_in_prose_stands_in_an_output(lesson):
    loose = [(cell.id, figure) for cell in lesson.cells if cell.cell_type == "markdown"
             for figure in figures(cell.source) if not said_elsewhere(figure, lesson)]
    assert not loose, f"no output of this notebook holds {loose}"


def test_a_figure_nobody_computed_is_found():
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("print(0.432)", outputs=[nbformat.v4.new_output("stream", text="accuracy 43.2%")])])
    assert figures("It was right 43.2 % of the time, not 71.5 %, at a Sharpe ratio of 0.8.") == ["43.2", "71.5", "0.8"]
    assert said_elsewhere("43.2", notebook)
    assert not said_elsewhere("71.5", notebook) and not said_elsewhere("3.2", notebook)


def test_cells_are_short(lesson):
    lines = [len([line for line in source.splitlines() if line.strip()]) for source in sources(lesson)]
    assert max(lines) <= 15 and median(lines) <= 5, sorted(lines)[-5:]


def test_no_cell_only_defines(lesson):
    for source in sources(lesson):
        body = ast.parse(source).body
        assert not body or not all(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in body), source


def test_nothing_is_silenced_and_nothing_warned(lesson):
    assert not any(re.search(r"filterwarnings|simplefilter|catch_warnings|%%capture|np\.seterr", source)
                   for source in sources(lesson))
    assert not [cell.id for cell in lesson.cells if cell.cell_type == "code"
                for output in cell.outputs if output.get("name") == "stderr"]


def test_few_cells_are_exempt_from_comparison():
    exempt = total = 0
    for path in LESSONS:
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        total += len(cells)
        exempt += sum(any(tag.startswith("nbval") for tag in cell.metadata.get("tags", [])) for cell in cells)
    assert exempt <= 0.05 * total


def test_a_lesson_asks_shows_lets_move_and_records(taught):
    code = "\n".join(sources(taught))
    for wanted in ("predict_first(", ".reveal(", "slider(", "record("):
        assert wanted in code, f"no {wanted}...)"
    prose = "\n".join(cell.source for cell in taught.cells if cell.cell_type == "markdown")
    assert "minutes" in taught.cells[0].source and "able to" in taught.cells[0].source
    assert re.search(r"## What to remember\s+1\. .+\n2\. .+\n3\. ", prose)


@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_a_lesson_can_be_run_on_another_market(path):
    assert "symbol" in parameters_of(path)
