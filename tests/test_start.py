"""The start page: it lists the lessons as they are, and remembers what a learner, and only a learner, has finished."""

import datetime
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mlkit import batch, progress, start
from mlkit.cli import main
from mlkit.course import regenerate
from mlkit.notebooks import execute

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TODAY = str(datetime.date.today())


@pytest.fixture
def folder(tmp_path):
    """Two lessons, one with an exercise, and the start page as it is in git."""
    for number, question, minutes in (("00", "Is it <so>?", 10), ("01", "Why?", 50)):
        cells = [new_markdown_cell(f"# {number} · {question}\n\nAbout {minutes} minutes."),
                 new_code_cell("symbol = 'GE'", metadata={"tags": ["parameters"]}),
                 new_code_cell("from mlkit import record\nrecord(symbol=symbol)")]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{number}_lesson.ipynb")
    (tmp_path / "exercises").mkdir()
    nbformat.write(new_notebook(), tmp_path / "exercises" / "01_lesson.ipynb")
    shutil.copy(NOTEBOOKS / "start.ipynb", tmp_path)
    return tmp_path


@pytest.fixture
def attended(monkeypatch, folder):
    """As in a kernel of JupyterLab that has lesson 01 of the folder open."""
    monkeypatch.delenv(progress.UNATTENDED)
    monkeypatch.setenv(progress.NOTEBOOK, str(folder / "01_lesson.ipynb"))
    return folder


def test_the_page_in_git_is_what_the_lessons_say():
    cells = nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4).cells
    [shown] = [output.data for cell in cells for output in cell.get("outputs", [])]
    page = start.page(NOTEBOOKS)
    assert (shown["text/plain"], shown["text/html"]) == (repr(page), page._repr_html_()), "run `make notebooks`"
    assert [lesson.path for lesson in page.lessons] == sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    for link in re.findall(r'href="([^"]+)"', page._repr_html_()):
        assert (NOTEBOOKS / link).is_file(), link


def test_what_the_page_says_to_run_asks_the_doctor(tmp_path):
    """From a kernel that has only its own Python to go by, as on Binder, on Windows, from a wheel."""
    prose = nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4).cells[-1].source
    nbformat.write(new_notebook(cells=[new_code_cell(re.search(r"```\n(.+?)\n```", prose, re.DOTALL)[1])]),
                   tmp_path / "cure.ipynb")
    assert execute(tmp_path / "cure.ipynb", tmp_path / "run.ipynb", folder=NOTEBOOKS).status == "ok"
    said = nbformat.read(tmp_path / "run.ipynb", as_version=4).cells[0].outputs[0].text
    assert "OK    Python" in said and "OK    kernel" in said, said


def test_a_page_links_each_lesson_and_its_exercise(folder):
    page = start.page(folder)
    assert repr(page).splitlines() == ["2 lessons, about 1.0 hours in all. Begin with 00.", "",
                                       "00  Is it <so>?   10 minutes", "01  Why?          50 minutes"]
    assert page._repr_html_().count("href=") == 4 and "Is it &lt;so&gt;?" in page._repr_html_()
    assert '<a href="exercises/01_lesson.ipynb">exercise 01</a>' in page._repr_html_()


def test_what_a_learner_adds_is_no_lesson_and_stops_nothing(attended):
    taught, page = start.lessons(attended), repr(start.page(attended))
    nbformat.write(new_notebook(cells=[new_markdown_cell("# 12 · My own?")]), attended / "12_mine.ipynb")
    nbformat.write(new_notebook(), attended / "13_empty.ipynb")
    (attended / "14_broken.ipynb").write_text("<<<<<<< HEAD")
    (attended / "15_other.ipynb").write_text("[]")
    for copy in ("01_lesson-Copy1.ipynb", "exercises/01_lesson-Copy1.ipynb"):
        shutil.copy(attended / "01_lesson.ipynb", attended / copy)
    start.refresh(attended)
    assert start.lessons(attended) == taught and repr(start.page(attended)) == page
    start.tick("01", attended)
    assert progress.finished(attended) == {"01_lesson": TODAY}


def test_ticks_by_hand(folder, monkeypatch):
    monkeypatch.delenv(progress.UNATTENDED)
    assert progress.finished(folder) == {}
    start.tick("00", folder)
    assert progress.finished(folder) == {"00_lesson": TODAY}
    page = start.page(folder)
    assert page.next.number == "01" and "1 of 2 lessons finished, about 0.8 hours to go. Go on with 01." in repr(page)
    assert f"✓ {datetime.date.today():%d %b %Y}" in page._repr_html_()
    start.tick("01_lesson", folder)
    assert start.page(folder).next is None and "All 2 lessons are finished." in repr(start.page(folder))
    start.untick("00", folder)
    assert progress.finished(folder) == {"01_lesson": TODAY}
    with pytest.raises(ValueError, match="no lesson '07' .*there are 00_lesson, 01_lesson"):
        start.tick("07", folder)


def test_the_record_of_a_lesson_that_a_person_has_open_finishes_it(attended, capsys):
    batch.record(symbol="GE")
    assert progress.finished(attended) == {"01_lesson": TODAY}
    progress._save({"01_lesson": "2020-01-31"}, attended)
    batch.record(symbol="GE")
    assert progress.finished(attended) == {"01_lesson": "2020-01-31"}, "the first day counts"


@pytest.mark.parametrize("notebook", ["start.ipynb", "07_gone.ipynb", "exercises/mine.ipynb", "01_lesson-Copy1.ipynb"])
def test_other_notebooks_finish_nothing(attended, monkeypatch, notebook):
    shutil.copy(attended / "01_lesson.ipynb", attended / "01_lesson-Copy1.ipynb")
    monkeypatch.setenv(progress.NOTEBOOK, str(attended / notebook))
    batch.record(symbol="GE")
    assert not (attended / progress.FILE).exists()


def test_runs_that_nobody_watches_neither_write_nor_show_progress(attended, tmp_path_factory):
    """Started from a notebook of JupyterLab, even: its variables are inherited."""
    lesson, out = attended / "01_lesson.ipynb", tmp_path_factory.mktemp("out")
    assert execute(lesson, out / "run.ipynb").status == "ok"
    assert regenerate([lesson], progress=False)[0].status == "changed"
    assert not (attended / progress.FILE).exists()
    start.tick("00", attended)
    assert execute(attended / "start.ipynb", out / "start.ipynb").status == "ok"
    assert "✓" not in (out / "start.ipynb").read_text() and "Begin with" in (out / "start.ipynb").read_text()


def test_a_note_that_cannot_be_read_is_told_and_kept(attended, capsys):
    (attended / progress.FILE).write_text('{"01_lesson": "yesterday"')
    batch.record(symbol="GE")
    told = capsys.readouterr()
    assert "symbol  GE" in told.out and "could not be noted" in told.err and "delete it to begin anew" in told.err
    assert (attended / progress.FILE).read_text() == '{"01_lesson": "yesterday"'
    with pytest.raises(ValueError, match="delete it to begin anew"):
        start.page(attended)


def test_the_page_is_right_when_it_is_opened(folder, monkeypatch):
    monkeypatch.delenv(progress.UNATTENDED)
    start.refresh(folder)
    once = (folder / "start.ipynb").read_bytes()
    start.tick("00", folder)
    start.refresh(folder)
    assert b"1 of 2 lessons finished" in (folder / "start.ipynb").read_bytes()
    start.untick("00", folder)
    start.refresh(folder)
    assert (folder / "start.ipynb").read_bytes() == once
    (folder / "start.ipynb").unlink()
    start.refresh(folder)
    assert not (folder / "start.ipynb").exists()


def test_opening_a_course_nobody_began_leaves_its_page_alone(tmp_path, monkeypatch):
    monkeypatch.delenv(progress.UNATTENDED)
    for path in NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(path, tmp_path)
    (tmp_path / "exercises").mkdir()
    for path in NOTEBOOKS.glob("exercises/*.ipynb"):
        shutil.copy(path, tmp_path / "exercises")
    start.refresh(tmp_path)
    assert (tmp_path / "start.ipynb").read_bytes() == (NOTEBOOKS / "start.ipynb").read_bytes()


def test_where_there_are_no_lessons_there_is_no_lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["lab"])
    assert done.exit_code == 1 and "run it in the folder that holds notebooks/" in done.output
