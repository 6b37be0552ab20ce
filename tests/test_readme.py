"""README, docs and their like: every command runs, every figure is measured, every link leads somewhere.

What a page shows is run in the order it is shown, in a folder of its own. What takes too long here is run by
another test, which MADE and ELSEWHERE name; a command in none of them is run, whatever it is.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mlkit.start import lessons

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
         "benchmarks/README.md"]
HOME_OF = {".venv/bin/mlkit": [sys.executable, "-m", "mlkit"], ".venv/bin/python": [sys.executable],
           "mlkit": [sys.executable, "-m", "mlkit"]}

# What `make TARGET` runs, as `make -n` says it, and the test that runs just that.
MADE = {
    "install": ("-m pip install", "test_readme.py::test_make_installs_as_the_page_says"),
    "lab": ("-m mlkit lab", "test_browser.py::test_the_lab_opens_on_the_start_page"),
    "course": ("-m mlkit run", "test_course.py::test_a_failing_notebook_does_not_stop_the_others"),
    "site": ("-m mlkit site", "test_site.py::test_a_link_that_leads_nowhere_is_an_error"),
    "dashboard": ("-m mlkit dashboard", "test_browser.py::test_the_dashboard_answers_a_change_of_instrument"),
    "test": ("-m pytest -n", "test_notebooks.py::test_the_test_run_turns_red_on_each_wrong_notebook"),
    "test-all": ("--all", "test_notebooks.py::test_the_test_run_turns_red_on_each_wrong_notebook"),
    "notebooks": ("-m mlkit notebooks", "test_readme.py::test_notebooks_are_written_back"),
    "bench": ("benchmarks/run.py", "test_readme.py::test_the_benchmark_runs"),
    "clean": ("rm -rf", "test_readme.py::test_clean_removes_what_was_made_and_nothing_else"),
}
ELSEWHERE = {
    ".venv/bin/python -m pip install -r requirements.txt": "test_readme.py::test_make_installs_as_the_page_says",
    ".venv/bin/python -m mlkit lab": MADE["lab"][1],
    ".venv/bin/python -m mlkit run": MADE["course"][1],
    ".venv/bin/python -m pytest": MADE["test"][1],
    "git clone": "test_readme.py::test_the_wait_in_the_readme_is_measured",
}


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    return re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def inline_commands(page):
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", prose)
    return [span for span in spans if re.match(r"(make|mlkit|pip|python|git|\.venv/bin/\w+) [\w-]", span)]


def lines_of(block):
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip() and not line.startswith("#")]


def exists(test):
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def make(*words, folder=ROOT):
    """make, unaware of a make that runs this test."""
    outer = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "TESTS", "JOBS", "DEEP", "LAB")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def run_command(command, folder):
    """Run a command of a page; one that another test runs is looked up there instead."""
    words = shlex.split(command)
    if words[0] == "make" and words[1:] != ["help"]:
        said, test = MADE[next(word for word in words[1:] if "=" not in word)]
        dry = make("-n", "-B", *words[1:])
        assert dry.returncode == 0 and said in dry.stdout and exists(test), (command, dry.stderr)
    elif command in ELSEWHERE:
        assert exists(ELSEWHERE[command]), command
    else:
        done = subprocess.run([*HOME_OF.get(words[0], words[:1]), *words[1:]], cwd=folder, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """As the course's own folder, to run things in and to write into."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "Makefile", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_says_what_it_is():
    assert {language for page in PAGES for language, _ in blocks(page)} == {"python", "sh"}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page, folder):
    """Block after block, as a reader would; a Python block that begins with a file's name is that file."""
    scope = {}
    for language, block in blocks(page):
        named = re.match(r"# (\w+\.py)\n", block)
        if language == "sh":
            for command in lines_of(block):
                run_command(command, folder)
        elif named:
            (folder / named[1]).write_text(block, encoding="utf-8")
        else:
            exec(compile(block, page, "exec"), scope)
    check = CHECKS.get(page)
    if check:
        check(scope)


def check_engine(scope):
    result = scope["backtest"](scope["load_bars"]("GE").loc["2010":], scope["Momentum"]())
    assert len(result.fills) > 100 and len(scope["table"]) == 12


def check_research(scope):
    assert scope["found"].models.obstacle == "" and len(scope["ledger"]) == 1
    assert scope["result"].signals["model"].str.startswith("logistic ").all() and len(scope["result"].risk)


def check_production(scope):
    assert scope["registry"].champion("ge-daily")


CHECKS = {"docs/engine.md": check_engine, "docs/research.md": check_research, "docs/production.md": check_production}


@pytest.mark.parametrize("command", sorted({command for page in PAGES for command in inline_commands(page)}))
def test_a_command_in_a_sentence_runs(command, folder):
    run_command(command, folder)


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
    run_command("mlkit notebooks", folder)
    assert nbformat.read(folder / "notebooks" / "00_one.ipynb", 4).cells[0].outputs[0].data["text/plain"] == "2"


def test_the_benchmark_runs(folder):
    run_command(f".venv/bin/python {ROOT}/benchmarks/run.py --sizes 500 --engines mlkit_bar_by_bar --rounds 1 "
                "--repeats 1 --no-write", folder)


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
    found = re.search(r"From `git clone` to the\ncharts of lesson 00: (\d+) s \(cloning (\d+), installing (\d+), lesson 00 "
                      r"(\d+)\)\. `\.venv` takes (\d\.\d\d) GB\.", README)
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


def test_the_picture_and_the_figures_under_it_are_those_of_the_lesson():
    caption = re.search(r"\*Lesson 00: (.*?)\*\n", README, re.DOTALL).group(1)
    lesson = text_of("notebooks/00_first_ml_strategy.ipynb")
    figures = re.findall(r"\d[\d,]*\d", caption)
    assert len(figures) == 4 and all(figure in lesson for figure in figures), figures
    pictures = [output["data"]["image/png"].strip() for cell in json.loads(lesson)["cells"] if cell["id"] == "waterfall"
                for output in cell["outputs"] if "image/png" in output["data"]]
    import base64
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
