"""The README: its commands exist, its figures are measured, its links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from mlkit.batch.cluster import IN_FLIGHT
from mlkit.batch.folder import TAIL
from mlkit.batch.grid import RENDERED
from mlkit.batch.page import MOST_ROWS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_speed_in_the_readme_is_in_the_measured_table():
    rows = re.findall(r"^\| (mlkit, .*|vectorbt .*|backtesting.*) \| ([\d,]+) \|$", README, re.MULTILINE)
    table = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert len(rows) == 4
    for engine, speed in rows:
        assert re.search(rf"\| 100,000 \| {re.escape(engine.split(', one')[0])}.* \| {speed} \|", table), (engine, speed)
    seconds = re.search(r"1,000 combinations on 2,500 bars takes ([\d.]+) s", README).group(1)
    assert re.search(rf"\| mlkit, `sweep`.* \| {seconds} \|", table)


def test_what_is_said_of_scaling_is_so():
    """The constants are the code's; the measured table keeps what the batch promises."""
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert f"last {TAIL // 1024} KB" in text and f"at most {IN_FLIGHT:,} runs in the scheduler" in text
    assert f"shows the first {MOST_ROWS:,}" in text and f"the default above {RENDERED} runs" in text
    rows = dict(re.findall(r"^\| (.*) \| (.*) \|$", text, re.MULTILINE))
    for where in ("overhead beyond one kernel start a run", "overhead there"):
        assert float(re.search(r"([\d.]+)% of the cells' time", rows[where]).group(1)) < 10
    count = int(next(name for name in rows if name.endswith("2 workers: wall")).split()[0])
    assert rows["resumed: rows, ok, failed, exit status"] == f"{count}, {count - 1}, 1, 1" and count == 40
    assert rows["finished before and run again"] == "0" and rows["its table beside that of one machine"] == "the same"
    collected = next(name for name in rows if name.startswith("collecting 10,000 results"))
    assert float(rows[collected].split()[0]) < 30


def test_the_figures_under_the_picture_are_in_the_lesson():
    caption = re.search(r"\*Lesson 00: (.*?)\*\n", README, re.DOTALL).group(1)
    lesson = (ROOT / "notebooks" / "00_first_ml_strategy.ipynb").read_text(encoding="utf-8")
    figures = re.findall(r"\d[\d,]*\d", caption)
    assert len(figures) == 4 and all(figure in lesson for figure in figures), figures


def test_every_make_target_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)\b", README, re.MULTILINE))
    assert named and named <= targets, named - targets


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", "docs/scaling.md"])
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_the_attribution_lines_are_printed():
    sources = (ROOT / "data" / "SOURCES.md").read_text(encoding="utf-8")
    line = next(line for line in sources.splitlines() if line.startswith("Attribution lines"))
    for attribution in re.findall(r'"([^"]+)"', line):
        assert attribution in README, attribution


def test_the_examples_run(tmp_path, monkeypatch):
    """All code blocks, one after the other, as a reader would."""
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    monkeypatch.chdir(tmp_path)  # some of them write here
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), scope)
    result = scope["backtest"](scope["load_bars"]("GE").loc["2010":], scope["Momentum"]())
    assert len(result.fills) > 100 and len(scope["table"]) == 12
    assert scope["runs"]["status"].tolist() == ["ok", "ok"]
    assert scope["found"].models.obstacle == "" and len(scope["ledger"]) == 1
    assert scope["result"].signals["model"].str.startswith("logistic ").all()
    assert scope["registry"].champion("ge-daily") and len(scope["result"].risk)


def test_the_table_of_lessons_is_what_the_lessons_say():
    rows = dict(re.findall(r"^\| \[\w+\]\((notebooks/\w+\.ipynb)\) \| .* \| (\d+) \|$", README, re.M))
    lessons = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert list(rows) == [str(path.relative_to(ROOT)) for path in lessons], "every lesson, in order"
    for path in lessons:
        first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        assert f"bout {rows[str(path.relative_to(ROOT))]} minutes" in "".join(first), path.name
