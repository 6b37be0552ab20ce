"""README, docs and their like: every command runs, every figure is measured, every link leads somewhere.

How a command is run, and who runs it where that takes too long here: tests/commands.py.
"""

import base64
import json
import re
import shutil
from functools import cache

import nbformat
import pandas as pd
import pytest
from commands import MADE, PAGES, ROOT, blocks, commands_of, inline_commands, make, run_command, text_of
from figures import is_exempt
from nbformat.v4 import new_code_cell, new_notebook

from mlkit.batch.cluster import IN_FLIGHT
from mlkit.batch.folder import TAIL
from mlkit.batch.grid import RENDERED
from mlkit.batch.page import MOST_ROWS
from mlkit.course import committed_notebooks
from mlkit.start import lessons

README, MAKEFILE = text_of("README.md"), text_of("Makefile")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """As the course's own folder, to run things in and to write into."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "Makefile", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_is_python_or_commands():
    assert {language for page in PAGES for language, _ in blocks(page)} <= {"python", "sh", ""}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page, folder):
    """Block after block, as a reader would; a Python block that begins with a file's name is that file."""
    scope = {}
    for language, block in blocks(page):
        named = re.match(r"# (\w+\.py)\n", block)
        if language != "python":
            for command in commands_of(block):
                run_command(command, folder, page)
        elif named:
            (folder / named[1]).write_text(block, encoding="utf-8")
        else:
            exec(compile(block, page, "exec"), scope)
    check = CHECKS.get(page)
    if check:
        check(scope)


def check_batch(scope):
    assert scope["runs"]["status"].tolist() == ["ok", "ok"]


def check_engine(scope):
    result = scope["backtest"](scope["load_bars"]("GE").loc["2010":], scope["Momentum"]())
    assert len(result.fills) > 100 and len(scope["table"]) == 12


def check_research(scope):
    assert scope["found"].models.obstacle == "" and len(scope["ledger"]) == 1
    assert scope["result"].signals["model"].str.startswith("logistic ").all() and len(scope["result"].risk)


def check_production(scope):
    assert scope["registry"].champion("ge-daily")


CHECKS = {"README.md": check_batch, "docs/engine.md": check_engine, "docs/research.md": check_research, "docs/production.md": check_production}


@pytest.mark.parametrize("command, page", sorted({command: page for page in PAGES for command in inline_commands(page)}.items()))
def test_a_command_in_a_sentence_runs(command, page, folder):
    run_command(command, folder, page)


def test_the_readme_and_make_help_list_the_same():
    helped = re.findall(r"^  make ([a-z-]+) ", make("help").stdout, re.MULTILINE)
    table = re.findall(r"^\| `make ([a-z-]+)` \|", README, re.MULTILINE)
    assert sorted(table) == sorted(helped) and set(table) == {*MADE, "help"}


def test_make_installs_as_the_page_says():
    assert re.search(r"\$\(PIP\) -r requirements.txt$", MAKEFILE, re.MULTILINE)
    assert re.search(r"^PIP := \$\(PY\) -m pip install ", MAKEFILE, re.MULTILINE)
    assert "requirements-deep.txt" in make("-n", "-B", "course", "DEEP=1").stdout


def test_notebooks_are_written_back(folder):
    shutil.rmtree(folder / "notebooks")
    (folder / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), folder / "notebooks" / "00_one.ipynb")
    run_command("mlkit notebooks", folder, "README.md")
    assert nbformat.read(folder / "notebooks" / "00_one.ipynb", 4).cells[0].outputs[0].data["text/plain"] == "2"


def test_the_capstone_runs_over_a_grid(folder):
    """The README's command, on fewer bars: its eight runs take a minute or two."""
    (folder / "small.yaml").write_text("symbol: [GE, EURUSD]\nrows: [2000]\ntrain_size: [500]\nn_boot: [200]\n")
    run_command("mlkit batch notebooks/11_capstone.ipynb --grid small.yaml --workers 2 --out runs/capstone", folder, "README.md")
    table = pd.read_csv(folder / "runs" / "capstone" / "table.csv")
    assert table["status"].tolist() == ["ok", "ok"] and set(table["symbol"]) == {"GE", "EURUSD"}


def test_the_benchmark_runs(folder):
    run_command(f".venv/bin/python {ROOT}/benchmarks/run.py --sizes 500 --engines mlkit_bar_by_bar --rounds 1 "
                "--repeats 1 --no-write", folder, "README.md")


def test_clean_removes_what_was_made_and_nothing_else(folder):
    made = [".venv/bin/python", "runs/course/index.html", "runs/site/index.html", "runs/screenshots/a.png",
            "mlkit/__pycache__/a.pyc", "notebooks/.ipynb_checkpoints/a.ipynb", ".pytest_cache/a"]
    mine = ["runs/ibm/index.html", "notebooks/mine.ipynb", "notebooks/.progress.json"]
    for name in made + mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert make("clean", folder=folder).returncode == 0
    assert not [name for name in made if (folder / name).exists()] and all((folder / name).exists() for name in mine)


# ---------------------------------------------------------------- what the pages say


def test_the_readme_begins_with_all_of_it_on_one_screen():
    """What it is, the two commands, one picture, the table of lessons."""
    screen = README[: README.index("\n\n", README.index("| lesson |"))]
    places = [screen.index(part) for part in ("# mlkit: ", "```sh\nmake lab ", "\nmake course ", "<img ", "| lesson |")]
    assert places == sorted(places) and screen.count("<img ") == 1 and screen.count("```") == 2
    assert len(screen.splitlines()) <= 40 and max(map(len, screen.splitlines())) <= 160


def test_the_table_of_lessons_is_what_the_lessons_say():
    rows = re.findall(r"^\| \[(\w+)\]\((notebooks/\w+\.ipynb)\) \| (.*) \| (\d+) \|$", README, re.M)
    assert rows == [(lesson.path.stem, str(lesson.path.relative_to(ROOT)), lesson.question, str(lesson.minutes))
                    for lesson in lessons(ROOT / "notebooks")]


def test_the_wait_in_the_readme_is_measured():
    """By benchmarks/first_chart.py, whose sentence it is; it keeps what was aimed at."""
    assert 'print(f"From `git clone` to the charts of lesson 00: ' in text_of("benchmarks/first_chart.py")
    found = re.search(r"From `git clone` to the charts of lesson 00: (\d+) s \(cloning (\d+), installing (\d+), lesson 00 "
                      r"(\d+)\)\. `\.venv` takes (\d\.\d\d) GB\.", " ".join(README.split()))
    total, *parts = map(int, found.groups()[:4])
    assert abs(total - sum(parts)) <= 2 and total < 300 and float(found[5]) < 1


def test_every_speed_is_in_the_measured_table():
    page, table = text_of("docs/engine.md"), text_of("benchmarks/README.md")
    rows = re.findall(r"^\| (mlkit, .*|vectorbt .*|backtesting.*) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for engine, speed in rows:
        assert re.search(rf"\| 100,000 \| {re.escape(engine.split(', one')[0])}.* \| {speed} \|", table), (engine, speed)
    seconds = re.search(r"1,000 combinations on 2,500 bars takes ([\d.]+) s", page).group(1)
    assert re.search(rf"\| mlkit, `sweep`.* \| {seconds} \|", table)


def test_all_but_three_cells_of_the_notebooks_are_compared():
    cells = [cell for path in committed_notebooks(ROOT / "notebooks") for cell in nbformat.read(path, as_version=4).cells]
    assert "compares all but three cells" in text_of("docs/engine.md")
    assert [cell.id for cell in cells if cell.cell_type == "code" and is_exempt(cell)] == ["times", "deep", "lessons"]


def test_what_is_said_of_scaling_is_so():
    """The constants are the code's; the measured batch lost no run, did none twice and gave the same table twice."""
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert f"last {TAIL // 1024} KB" in text and f"at most {IN_FLIGHT:,} runs in the scheduler" in text
    assert f"shows the first {MOST_ROWS:,}" in text and f"the default above {RENDERED} runs" in text
    rows = dict(re.findall(r"^\| (.*) \| (.*) \|$", text, re.MULTILINE))
    count = int(next(name for name in rows if name.endswith("2 workers: wall")).split()[0])
    assert rows["resumed: rows, ok, failed, exit status"] == f"{count}, {count - 1}, 1, 1" and count == 40
    assert rows["finished before and run again"] == "0" and rows["its table beside that of one machine"] == "the same"


def test_the_picture_and_the_figures_under_it_are_those_of_the_lesson():
    caption = re.search(r"\*Lesson 00: (.*?)\*\n", README, re.DOTALL).group(1)
    lesson = text_of("notebooks/00_first_ml_strategy.ipynb")
    figures = re.findall(r"\d[\d,]*\d", caption)
    assert len(figures) == 6 and all(figure in lesson for figure in figures), figures
    pictures = [output["data"]["image/png"].strip() for cell in json.loads(lesson)["cells"] if cell["id"] == "waterfall"
                for output in cell["outputs"] if "image/png" in output["data"]]
    assert [base64.b64decode(picture) for picture in pictures] == [(ROOT / "docs" / "waterfall.png").read_bytes()], (
        "docs/waterfall.png is not the picture in cell `waterfall` of lesson 00: save that one")


@cache
def anchors_of(path):
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "data/SOURCES.md"])
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        path, _, anchor = "".join(link).partition("#")
        if path.startswith("https://"):     # another machine's: nothing here depends on it, and no test asks for it
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists() and ROOT in target.resolve().parents, link
        assert not anchor or anchor in anchors_of(target), link


def test_every_page_of_the_docs_is_linked_from_the_readme():
    for page in PAGES[1:]:
        assert f"]({page})" in README, page


def test_the_attribution_lines_are_printed():
    line = next(line for line in text_of("data/SOURCES.md").splitlines() if line.startswith("Attribution lines"))
    for attribution in re.findall(r'"([^"]+)"', line):
        assert attribution in README, attribution
