"""Prose and outputs of a lesson say the same: a figure in a sentence stands in an output of the same notebook.
What a figure is, and what it may rest on, says `figures.py`.

And what a lesson consists of: short cells, a prediction, a slider, a record.
"""

import ast
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
from figures import figures, is_exempt, loose_figures, typed_figures
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mlkit.batch import parameters_of
from mlkit.course import committed_notebooks, numbered_notebooks

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = numbered_notebooks(NOTEBOOKS)
TAUGHT = [path for path in LESSONS if path.stem[:2] != "00"]  # 00 comes before these habits are explained


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=TAUGHT, ids=lambda path: path.stem)
def taught(request):
    return nbformat.read(request.param, as_version=4)


def sources(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_every_figure_in_prose_stands_in_an_output(lesson):
    loose = loose_figures(lesson)
    assert not loose, f"no output, assert, comparison or parameter of this notebook holds {loose}"


def test_no_figure_is_typed_into_a_title(lesson):
    typed = typed_figures(lesson)
    assert not typed, f"typed by hand, not worked out in the same cell: {typed}"


def notebook_of(*prose, code="", shown="", tags=(), **data):
    output = new_output("display_data", data) if data else new_output("stream", text=shown)
    return new_notebook(cells=[*map(new_markdown_cell, prose),
                               new_code_cell(code, outputs=[output], metadata={"tags": list(tags)})])


@pytest.mark.parametrize("prose, found", [
    ("It was right 43.2 % of the time, not 71.5%.", ["43.2", "71.5"]),
    ("## Right 45 per cent, **50** percent or fifty per\ncent: 27 percentage points", ["45", "50", "fifty", "27"]),
    ("From 40 to 45 %, twenty-five per cent, \u221212&nbsp;%", ["40", "45", "twenty-five", "-12"]),
    ("Half a percent, 1,000.5 points", ["Half a", "1,000.5"]),
    ("A Sharpe ratio of 0.8, a Sharpe of about 2: fine. Sharpe: 3; a 4 Sharpe", ["0.8", "2", "3", "4"]),
    ("*Sharpe ratios* above 1, Sharpe (5)", ["1", "5"]),
    ("R2 of 0.99, a t of 1.5, a return of -0.2 and a hit rate of .71", ["0.99", "1.5", "-0.2", ".71"]),
    ("<b>45</b> %, 27 points, but two points of the picture", ["45", "27"]),
    ("Three days in four, 9 out of 10, nine of ten, one time in twenty, 71/100",
     ["Three days in four", "9 out of 10", "nine of ten", "one time in twenty", "71/100"]),
    ("Two thirds of them, a quarter of the days, three-quarters", ["a quarter of", "three-quarters", "Two thirds"]),
    ("At 14:15, H.10 of 2013 and of 2018, 1. one of the two, `x = 0.3`, lesson 00, 1,000 days, 2 of 2014, 1/y", []),
    ("A 95 % interval, two intervals of 95 %\n\n**Try it:** lower the edge to 0.1, and the share to 20 %", ["20"]),
])
def test_what_a_figure_is(prose, found):
    assert sorted(figure.text for figure in figures(prose)) == sorted(found)


@pytest.mark.parametrize("prose, holds, notebook", [
    ("43.2 %", True, {"shown": "accuracy 43.2% of days"}),
    ("43.2 %", True, {"shown": "accuracy 0.432"}),
    ("43.2 %", True, {"text/plain": "  test, %  low, %\n     43.2    40.1"}),
    ("43.2 %", True, {"text/html": "<table><th>test, %</th><td>43.2</td></table>"}),
    ("43.2 %", True, {"text/plain": "Plot: right on 43.2 % of days"}),
    ("43.2 %", False, {"shown": "143.2% 43.25% 3.2% 43%"}),
    ("43.2 %", False, {"shown": "a mean of 43.2"}),
    ("43.2 %", False, {"text/html": "<style>td {width: 43.2%}</style><p>nothing</p>"}),
    ("43 %", False, {"shown": "43 trades, 43 days, 43e+01%, a Sharpe ratio of 0.43"}),
    ("43 %", False, {"shown": "You said 43 %; it is 50 %."}),
    ("43 %", False, {"shown": "How many? Your answer: 43 %"}),
    ("43 %", False, {"shown": "accuracy 43%", "tags": ["nbval-ignore-output"]}),
    ("43 %", False, {"code": "# NBVAL_IGNORE_OUTPUT\n1", "shown": "accuracy 43%"}),
    ("43 %", True, {"code": "assert accuracy > 0.43, 'as said'"}),
    ("43 %", False, {"code": "assert accuracy > 0, '43 % is a lot'"}),
    ("", False, {"code": "x = 1    # right 43 % of the time"}),
    ("50 %", False, {"code": "enter = 0.5"}),
    ("50 %", False, {"code": "enter = 0.5", "tags": ["parameters"]}),
    ("0.5", True, {"code": "enter = 0.5", "tags": ["parameters"]}),
    ("A Sharpe ratio of 2", True, {"shown": "sharpe 2.0"}),
    ("A Sharpe ratio of 2", False, {"shown": "sharpe 2.05"}),
    ("It rose by +20 %", False, {"shown": "return -20.0%"}),
    ("It fell by 20 %", True, {"shown": "return \u221220.0%"}),
    ("Above 0.95 it counts as found", True, {"code": "found = deflated > 0.95"}),
    ("three days in four", True, {"shown": "right on 75 % of days"}),
    ("three days in four", True, {"shown": "3 of 4"}),
    ("three days in four", False, {"shown": "3 markets, 4 folds"}),
    ("seven of twelve", True, {"code": "assert len(fake) == 12 and seen.sum() == 7"}),
    ("one time in twenty", True, {"shown": "at 95 %"}),
])
def test_what_a_figure_may_rest_on(prose, holds, notebook):
    assert (loose_figures(notebook_of(prose, **notebook)) == []) == holds


@pytest.mark.parametrize("code, typed", [
    ("print(f'right on {share:.1%} of days, 95 % interval {low:.1%}')", False),
    ("print('right on 71.5 % of days')", True), ("plot(x, title='Sharpe ratio of 2')", True),
    ("print(f'{(x > 0.7).sum()} are above 0.7')", False),
    ("print('{:+.1%} of days'.format(share))", False), ("assert x, 'right on 71.5 % of days'", False)])
def test_a_typed_figure_is_found(code, typed):
    assert bool(typed_figures(notebook_of(code=code))) == typed


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
    code = [cell for path in committed_notebooks(NOTEBOOKS) for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code"]
    exempt = [cell.id for cell in code if is_exempt(cell)]
    assert len(exempt) <= 0.05 * len(code), f"{len(exempt)} of {len(code)} cells of the course: {exempt}"


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


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_ends_with_the_way_to_its_exercise(path):
    words = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    way = rf"^\*\*Exercise:\*\* \[exercises/{path.name}\]\(exercises/{path.name}\): .*\w\.\Z"
    assert re.search(way, words[-1].source, re.MULTILINE)
