"""Batches on this machine: no run lost, none done twice, every failure a row, and nothing begun that cannot go on."""

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from batches import PARAMETERS, stamps, write_notebook
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import mlkit.batch.plan
import mlkit.batch.task
import mlkit.course_page
import mlkit.markets
from mlkit.batch import BatchError, ParameterError, collect, recorded, run_grid
from mlkit.batch.folder import LocalFolder, open_folder
from mlkit.batch.grid import job_of
from mlkit.batch.page import write_pages
from mlkit.batch.plan import SUMMARY, code_version, make_plan, read_grid, split_values, with_values
from mlkit.batch.table import table_of
from mlkit.batch.task import give_up, perform
from mlkit.cli import main
from mlkit.course import numbered_notebooks
from mlkit.notebooks import execute

ROOT = Path(__file__).parents[1]
TABLE_END = list(SUMMARY)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a notebook, and bars that fail the check."""
    home = tmp_path_factory.mktemp("batch")
    write_notebook(home / "notebooks" / "small.ipynb")
    crossed = "Date,Open,High,Low,Close\n2024-01-02,1,2,3,1\n2024-01-03,1,2,1,1\n"
    (home / "notebooks" / "crossed.csv").write_text(crossed)
    return home


@pytest.fixture
def small(home):
    return home / "notebooks" / "small.ipynb"


@pytest.fixture(scope="module")
def batch(home):
    """Everything that can go wrong in a run, beside runs that go well, in one command on two workers."""
    if os.name != "posix":
        pytest.skip("its notebooks stop and kill processes by signals that this system has not")
    log = home / "log"
    kinds = ["good", "raises", "dies", "dies once", "crossed.csv", "kills its worker once"]
    grid = [{"kind": kind, "a": 7, "log": str(log)} for kind in kinds]
    grid += [{"kind": "good", "a": a, "log": str(log)} for a in (8, 10)]
    (home / "grid.yaml").write_text(json.dumps(grid))        # JSON is YAML too
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        done = CliRunner().invoke(main, ["batch", "notebooks/small.ipynb", "--grid", "grid.yaml", "--out", "runs/x",
                                         "--workers", "2"])
    return home / "runs" / "x", done, collect(home / "runs" / "x").set_index(["kind", "a"])


def test_every_run_is_a_row_and_a_failure_stops_no_other(batch):
    _, done, table = batch
    assert done.exit_code == 1, done.output
    assert table["status"].to_dict() == {
        ("crossed.csv", 7): "failed", ("dies", 7): "failed", ("dies once", 7): "ok", ("good", 7): "ok",
        ("good", 8): "ok", ("good", 10): "ok", ("kills its worker once", 7): "ok", ("raises", 7): "failed"}
    assert "8 runs: 5 ok, 3 failed." in done.stdout and "tries the failed ones again" in done.stdout


def test_what_went_wrong_and_where_is_in_the_table(batch):
    _, done, table = batch
    told = table[["cell", "error"]].xs(7, level="a").T.to_dict("list")
    assert told["raises"] == ["cell 3 (id c3)", "ValueError: planted <b>7</b>"]
    assert told["dies"] == ["cell 3 (id c3)", "the kernel died: killed, out of memory, or it ended the process itself"]
    assert told["crossed.csv"][0] == "cell 3 (id c3)"
    assert told["crossed.csv"][1].startswith("BarsError: crossed.csv has close outside [low, high]")
    assert told["good"] == ["", ""] and told["dies once"] == ["", ""]
    assert "failed  a=7, kind=raises" in done.stderr
    assert re.search(r"\d of 8 done, \d failed, 2 running +\d+% .*gone, .* left", done.stderr)


def test_results_have_columns_of_their_own(batch):
    _, _, table = batch
    table = table.reset_index()
    assert list(table)[2:] == ["slow", "log", "square", "half", "word", "jobs", "folder", *TABLE_END]
    good = table[table["status"] == "ok"]
    assert (good["square"] == good["a"] ** 2).all() and (good["half"] == good["a"] / 2).all()
    assert table.loc[table["status"] == "failed", "square"].isna().all()
    assert set(good["jobs"]) == {1}, "joblib inside a run starts no processes"
    assert set(good["folder"]) == {"notebooks"}, "a run works in the notebook's folder"
    assert set(table["notebook"]) == {"small.ipynb"} and table["mlkit_version"].str.endswith("+" + code_version()).all()
    assert table["duration"].between(0.2, 60).all()


def test_a_kernel_that_dies_and_a_worker_that_is_killed_are_tried_again(batch):
    folder, _, _ = batch
    begun = Counter((folder.parents[1] / "log").read_text().splitlines())
    assert begun["begin dies once 7"] == begun["begin dies 7"] == 2 and begun["end dies once 7"] == 1
    assert begun["begin kills its worker once 7"] >= 2 and begun["end kills its worker once 7"] == 1
    assert begun["begin raises 7"] == 1, "a cell that raises is not tried again"


def test_a_run_that_always_kills_its_worker_is_a_failed_row(small, tmp_path):
    if os.name != "posix":
        pytest.skip("it kills its worker by a signal that this system has not")
    grid = [{"a": 1}, {"kind": "kills its worker"}] + [{"a": a} for a in range(2, 8)]
    table = run_grid(small, grid, tmp_path / "x", workers=2, progress=False, pages=False).set_index("kind")
    assert table.loc["good", "status"].tolist() == ["ok"] * 7
    assert table.loc["kills its worker", ["status", "error"]].tolist() == [
        "failed", "its worker process was killed 2 times with no other run beside it (out of memory?)"]


def test_a_failed_run_keeps_what_it_had_done(batch):
    folder, _, table = batch
    for kind in ("raises", "dies"):
        notebook = nbformat.read(folder / table.loc[(kind, 7), "file"], as_version=4)
        nbformat.validate(notebook)
        printed = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
        assert "before " + kind in "".join(printed)
        assert notebook.metadata.mlkit.status == "failed"
        assert notebook.metadata.papermill.output_path.startswith("small_a=7")


def test_a_run_that_hangs_is_stopped(small, tmp_path):
    if os.name != "posix":
        pytest.skip("its kernel is stopped by a signal that this system has not")
    begun = time.monotonic()
    table = run_grid(small, {"kind": ["hangs"]}, tmp_path / "x", timeout=6, progress=False, pages=False)
    assert table["status"].tolist() == ["failed"] and time.monotonic() - begun < 40
    assert table["error"].tolist() == ["stopped: it ran longer than the 6 s it may take"]
    assert table["duration"][0] > 5 and table["cell"][0].startswith("cell ")
    assert "before hangs" in (tmp_path / "x" / table["file"][0]).read_text()


def test_a_second_try_has_what_the_first_left_of_the_time(small, tmp_path):
    grid = [{"kind": "dies once", "slow": 6.0, "log": str(tmp_path / "log")}]
    table = run_grid(small, grid, tmp_path / "x", timeout=10, progress=False, pages=False)
    assert table["error"].tolist() == ["stopped: it ran longer than the 10 s it may take"] and table["duration"][0] > 9


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_a_worker_sees_that_its_parent_is_gone(monkeypatch, system):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ids = iter([parent.pid] * 2 + [1])      # where the system gives an orphan another parent
    monkeypatch.setattr(mlkit.batch.task, "os", SimpleNamespace(name=system, getppid=lambda: next(ids)))
    lives = mlkit.batch.task._life_of(parent.pid)
    assert lives() and lives()
    parent.communicate()
    assert not lives() and (system == "posix" or not mlkit.batch.task._life_of(parent.pid)())


def test_nothing_half_written_is_left(batch):
    folder, _, table = batch
    there = {path.name for path in folder.iterdir()}
    wanted = {name for file in table["file"] for name in (file, file.replace(".ipynb", ".html"))}
    assert there == wanted | {"index.html", "table.csv", ".batch", ".batch-lock"}


def test_the_table_in_the_file_is_the_table(batch):
    folder, _, _ = batch
    saved = pd.read_csv(folder / "table.csv", keep_default_na=False, na_values=[""])
    table = collect(folder)
    assert saved["square"].equals(table["square"]) and saved["file"].equals(table["file"])
    assert saved["error"].fillna("").equals(table["error"])


def test_the_page_has_failures_first_and_loads_nothing(batch):
    folder, _, _ = batch
    page = (folder / "index.html").read_text()
    assert re.findall(r'<tr class="(\w+)">', page) == ["failed"] * 3 + ["ok"] * 5
    assert "planted &lt;b&gt;7&lt;/b&gt;" in page and "<b>7</b>" not in page
    assert "BarsError: crossed.csv has close" in page
    links = {unquote(link) for link in re.findall(r'href="([^"]+)"', page)}
    assert len(links) == 2 * 8 + 1 and all((folder / link).is_file() for link in links)
    assert not re.search(r"""(?:src|href|url|import)\s*[=(:]\s*["']?\s*(?:https?:)?//""", page)


def table_and_page(folder, notebook, grid, results):
    """The page of a grid of which each combination gave the results that a function says; None: it failed."""
    folder.mkdir()
    plan = make_plan(notebook, grid)
    records = []
    for run in plan:
        found = results(**run.parameters)
        how = {"status": "failed", "error": "ValueError: planted"} if found is None else {}
        records.append(entry(parameters=plan.defaults | run.parameters, results=found or {}, file=run.name, **how))
    write_pages(open_folder(folder), plan, table_of(records), pages=False)
    return (folder / "index.html").read_text()


def test_two_parameters_make_a_heat_map_of_each_number(small, tmp_path):
    grid = {"a": [10, 9], "kind": ["x", "<y>"]}
    page = table_and_page(tmp_path / "x", small, grid, lambda a, kind: None if (a, kind) == (9, "x") else {
        "gain": a / 4, "word": "w", "luck": float("nan") if a == 9 else 1.0})
    assert re.findall(r"<option>(.*?)</option>", page) == ["gain", "luck"], "numbers alone"
    gain, luck = re.findall(r"<figure id=.*?</figure>", page, re.DOTALL)
    assert "gain: 2.25 (pale) to 2.5 (dark), the highest at a = 10, kind = &lt;y&gt;" in gain and "hidden" in luck
    assert [re.findall(r"<t[hd][^>]*>(?:<a[^>]*>)?([^<]*)", line) for line in gain.split("<tr>")[1:]] == [
        ["a \\ kind", "&lt;y&gt;", "x"], ["9", "2.25", "failed"], ["10", "2.5", "2.5"]]
    colours = re.findall(r"rgb\((\d+) (\d+) (\d+)\); color: (#\w+)", gain)
    assert colours[0] == ("247", "251", "255", "#000") and colours[1:] == [("8", "48", "107", "#fff")] * 2
    assert [cell.count("rgb") for cell in luck.split("<tr>")[1:]] == [0, 0, 2]


def test_the_number_in_a_heat_map_stands_out(small, tmp_path):
    """4.5 to 1, as WCAG 2.2 asks of text."""
    def light(colour):
        channels = [each / 255 for each in colour]
        return sum(share * (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4)
                   for share, each in zip((0.2126, 0.7152, 0.0722), channels))

    page = table_and_page(tmp_path / "x", small, {"a": [*range(40)], "kind": ["x", "y"]}, lambda a, kind: {"gain": a})
    colours = re.findall(r"rgb\((\d+) (\d+) (\d+)\); color: #(\w)", page)
    assert len(colours) == 80
    for *ground, ink in colours:
        low, high = sorted([light(map(int, ground)), float(ink == "f")])
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, ink)


@pytest.mark.parametrize("grid", [{"a": [1, 2]}, {"a": [1, 2], "kind": ["x", "y"], "slow": [0, 1]},
                                  {"a": [1], "kind": ["x"]}])
def test_another_grid_has_a_table_alone(small, tmp_path, grid):
    page = table_and_page(tmp_path / "x", small, grid, lambda **_: {"gain": 1.0})
    assert "<figure" not in page and "<select" not in page
    assert "In all of them " in page and ("a = 1" in page) == (len(grid["a"]) == 1)


def test_the_page_sorts_and_shows_one_heat_map_in_a_browser(small, tmp_path):
    browser = pytest.importorskip("playwright.sync_api", reason="requirements-browser.txt is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine")
    table_and_page(tmp_path / "x", small, {"a": [10, 9, -1], "kind": ["x", "y"]}, lambda a, kind: {
        "gain": a * 1.5, "loss": float("nan") if a == 9 else -a})
    with browser.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = opened.new_page(viewport={"width": 390, "height": 800})
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "x" / "index.html").as_uri())

        def column(name):
            place = page.locator(".runs th").all_inner_texts().index(name) + 1
            return page.locator(f".runs tbody td:nth-child({place})").all_inner_texts()

        page.get_by_role("button", name="gain").click()
        assert column("gain") == ["-1.5", "-1.5", "13.5", "13.5", "15", "15"], "as numbers"
        page.get_by_role("button", name="gain").click()
        assert column("gain") == ["15", "15", "13.5", "13.5", "-1.5", "-1.5"]
        page.get_by_role("button", name="loss").click()
        assert column("loss") == ["-10", "-10", "1", "1", "", ""], "what is missing comes last"
        page.get_by_role("button", name="kind").click()
        assert column("kind") == ["x"] * 3 + ["y"] * 3
        assert page.locator("figure:visible").count() == 1 and page.locator("#heat-gain").is_visible()
        page.get_by_label("Heat map of").select_option("loss")
        assert page.locator("figure:visible").count() == 1 and page.locator("#heat-loss").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "a phone scrolls the table, not the page"
        assert len(asked) == 1
        opened.close()


def test_the_same_call_again_keeps_what_is_finished(small, tmp_path):
    grid, out = {"a": [1, 2], "kind": ["good", "raises"], "log": [str(tmp_path / "log")]}, tmp_path / "x"
    first = run_grid(small, grid, out, workers=2, progress=False)
    before = stamps(out)
    again = run_grid(small, grid, out, workers=2, progress=False)
    kept = first.loc[first["status"] == "ok", "file"]
    assert len(kept) == 2 and {name for name in before if before[name] == stamps(out)[name]} == set(kept)
    assert Counter((tmp_path / "log").read_text().splitlines()) == {
        "begin good 1": 1, "end good 1": 1, "begin good 2": 1, "end good 2": 1,
        "begin raises 1": 2, "begin raises 2": 2}
    same = [name for name in first if name != "duration"]
    pd.testing.assert_frame_equal(first[same], again[same])
    pd.testing.assert_frame_equal(again, collect(out))


def test_a_finished_run_is_not_true_of_another_notebook_or_another_mlkit(small, tmp_path, monkeypatch):
    notebook, out = tmp_path / "mine.ipynb", tmp_path / "x"
    shutil.copy(small, notebook)

    def run(**options):
        before = stamps(out)
        run_grid(notebook, {"a": [1]}, out, progress=False, pages=False, **options)
        [name] = stamps(out)
        return before.get(name) != stamps(out)[name]

    assert run() and not run()
    assert run(force=True)
    content = nbformat.read(notebook, as_version=4)
    content.cells[1].outputs = [nbformat.v4.new_output("stream", text="an output")]
    nbformat.write(content, notebook)
    assert not run(), "outputs do not count"
    content.cells[-1].source += "\nrecord(more=1)"
    nbformat.write(content, notebook)
    assert run() and not run()
    for module in (mlkit.batch.plan, mlkit.batch.task):
        monkeypatch.setattr(module, "code_version", lambda: "another")
    assert run() and not run()


def test_the_version_of_mlkit_is_that_of_its_files(tmp_path):
    for folder in ("mlkit", "data"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    ask = [sys.executable, "-c", "from mlkit.batch.plan import code_version; print(code_version(), end='')"]

    def version():
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(ask, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    assert version() == code_version()
    module = tmp_path / "mlkit" / "rolling.py"
    module.write_bytes(module.read_bytes().replace(b"\n", b"\r\n"))
    assert version() == code_version(), "line ends do not count"
    module.write_bytes(module.read_bytes() + b"# changed\n")
    assert version() != code_version()


def test_the_data_of_a_wheel_and_the_packages_are_in_the_version(tmp_path, monkeypatch):
    data = tmp_path / "share" / "mlkit"
    shutil.copytree(ROOT / "data", data)
    before = code_version()
    monkeypatch.setattr(mlkit.markets, "DATA", data)
    assert code_version() == before, "wherever it lies"
    with open(data / "ge_daily.csv", "a") as file:
        file.write("\n")
    changed = code_version()
    assert changed != before
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    assert code_version() == changed
    (site / "scikit_learn-99.dist-info").mkdir()
    (site / "scikit_learn-99.dist-info" / "METADATA").write_text("Name: scikit-learn\nVersion: 99\n")
    assert code_version() not in (before, changed), "a worker that has been up for days sees it, too"


def test_a_bars_file_that_changed_makes_another_run(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "1", parameters="bars = 'b.csv'\nother = ''")
    mine, seen = tmp_path / "a.csv", set()
    for content in ("1", "2", None):
        mine.unlink(missing_ok=True) if content is None else mine.write_text(content)
        for grid in ({"bars": ["a.csv"]}, {"other": [str(mine)]}, {"other": ["x"]}):
            seen |= {run.identity for run in make_plan(notebook, grid)}
    assert len(seen) == 3 + 3 + 1, "and what reads no file is the same run"
    (tmp_path / "b.csv").write_text("1")
    assert {run.identity for run in make_plan(notebook, {"other": ["x"]})}.isdisjoint(seen), "a default counts, too"


def test_mlkit_changed_meanwhile_stops_the_batch(small, tmp_path, monkeypatch):
    for seen in (["another"], [code_version(), "another"]):      # before its first run, and during it
        monkeypatch.setattr(mlkit.batch.task, "code_version", iter(seen).__next__)
        with pytest.raises(BatchError, match="not the one that began this batch"):
            run_grid(small, {"a": [1]}, tmp_path / "x", progress=False)
        assert not stamps(tmp_path / "x")


def test_a_batch_that_cannot_go_on_ends_with_status_1(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "from mlkit import record\nrecord(a=a + 1)")
    done = CliRunner().invoke(main, ["batch", str(notebook), "-p", "a=1,2", "--out", str(tmp_path / "x"), "--no-pages"])
    assert done.exit_code == 1 and "stopped half way: n.ipynb records a=2" in done.stderr
    assert f"What has finished is kept in {tmp_path / 'x'}" in done.stderr and len(stamps(tmp_path / "x")) == 1


def command(notebook, out, log, count, *more):
    return [sys.executable, "-m", "mlkit", "batch", str(notebook), "-p", "a=" + ",".join(map(str, range(count))),
            "-p", "slow=0.5", "-p", f"log={log}", "--out", str(out), "--workers", "2", "--no-pages", *more]


@pytest.mark.skipif(os.name != "posix", reason="it sends signals that this system has not")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_batch_that_is_stopped_half_way_is_resumed(small, tmp_path, how):
    """kill -9 of the parent alone, and Ctrl-C, which all of its processes hear."""
    out, log, count = tmp_path / "x", tmp_path / "log", 6
    log.touch()
    parent = subprocess.Popen(command(small, out, log, count), stderr=subprocess.PIPE, text=True,
                              start_new_session=True)
    wait_until(lambda: len(stamps(out)) >= 2 if out.exists() else False, 60)
    send = os.kill if how == "SIGKILL" else os.killpg
    send(parent.pid, getattr(signal, how))
    told = parent.communicate(timeout=30)[1]
    begun = len(log.read_text().splitlines())
    assert parent.returncode == (-signal.SIGKILL if how == "SIGKILL" else 130)
    assert how == "SIGKILL" or "What has finished is kept in" in told
    time.sleep(2)
    assert len(log.read_text().splitlines()) == begun, "its workers and kernels ended with it"
    finished = stamps(out)
    assert 2 <= len(finished) < count
    again = subprocess.run(command(small, out, log, count), capture_output=True, text=True)
    assert again.returncode == 0 and f"{len(finished)} finished before and are kept" in again.stderr
    table = collect(out)
    assert len(table) == count and (table["status"] == "ok").all() and (table["square"] == table["a"] ** 2).all()
    assert {name: stamps(out)[name] for name in finished} == finished, "none that had finished was run again"
    ended = Counter(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert len(ended) == count and set(ended.values()) == {1}


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_fail_fast_stops_at_the_first_failure(small, tmp_path):
    grid = [{"kind": "good"}, {"kind": "raises"}, {"kind": "good", "a": 2}]
    table = run_grid(small, grid, tmp_path / "x", fail_fast=True, progress=False)
    assert table["status"].tolist() == ["ok", "failed"] and "2 of 3 runs" in (tmp_path / "x" / "index.html").read_text()
    table = run_grid(small, grid, tmp_path / "x", progress=False)
    assert table["status"].tolist() == ["ok", "failed", "ok"]


def test_two_batches_do_not_write_into_one_folder(small, tmp_path):
    out = tmp_path / "x"
    out.mkdir()
    with open_folder(out).alone(), pytest.raises(BatchError, match=rf"another batch.*process {os.getpid()} on .*since"):
        run_grid(small, {"a": [1]}, out, progress=False)
    assert [path.name for path in out.iterdir()] == [".batch-lock"]


def test_a_run_of_an_earlier_batch_that_ends_late_writes_nothing(small, tmp_path):
    out, grid = tmp_path / "x", {"a": [1]}
    plan = make_plan(small, grid)
    earlier = job_of(plan, open_folder(out), timeout=60, again=True)
    table = run_grid(small, grid, out, progress=False, pages=False)
    before = stamps(out)
    with pytest.raises(BatchError, match="another batch was begun in .* meanwhile"):
        perform(earlier, *plan)
    with pytest.raises(BatchError, match="another batch was begun in .* meanwhile"):
        give_up(earlier, *plan, "its worker died")
    (out / ".batch").unlink()
    with pytest.raises(BatchError, match="or its file .batch was deleted"):
        give_up(earlier, *plan, "its worker died")
    assert stamps(out) == before
    pd.testing.assert_frame_equal(table, collect(out))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    place = open_folder(tmp_path)
    place.write("a.ipynb", "first")
    with pytest.raises(UnicodeEncodeError):
        place.write("a.ipynb", "x" * 1_000_000 + "\ud800")      # which no file can hold
    assert place.read("a.ipynb") == b"first" and place.names() == ["a.ipynb"] and len(list(tmp_path.iterdir())) == 1


def test_a_writer_killed_at_any_time_leaves_a_whole_file(tmp_path):
    code = ("from mlkit.batch.folder import open_folder\nplace, number = open_folder('.'), 0\nwhile True:\n"
            "    place.write('a.ipynb', str(number % 10) * 20_000_000)\n    number += 1\n    print(number, flush=True)")
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
        writer.stdout.readline(), writer.stdout.readline()
        time.sleep(random.uniform(0, 0.1))
        writer.kill()
        writer.communicate()
        content = (tmp_path / "a.ipynb").read_bytes()
        assert len(content) == 20_000_000 and len(set(content)) == 1
    with open_folder(tmp_path).alone():
        assert {path.name for path in tmp_path.iterdir()} == {"a.ipynb", ".batch-lock"}


def test_what_a_killed_batch_left_half_written_is_removed_and_nothing_else(tmp_path):
    left, mine = tmp_path / ".small_a=1_00.ipynb.0123456789ab.new", tmp_path / ".mine.new"
    left.touch(), mine.touch()
    with open_folder(tmp_path).alone():
        assert not left.exists() and mine.exists()


# ------------------------------------------------------------------ refused before anything starts

@pytest.mark.parametrize("grid, why", [
    ({"b": [1]}, "no parameter 'b'. It has:\n  a = 1"), ({"a": ["x"]}, "a='x' is not a whole number"),
    ({"slow": [True]}, "is not a number"), ({"a": [1, "1"]}, "asks twice for the value of a 1"),
    ({"a": []}, "a has no value"), ([], "it holds no run"), ("a", "a grid is a mapping"), (3, "a grid is a mapping"),
    ([{"a": 1}, {"a": 1}], "asks twice"), ([{"a": 1}, {"c": 1}], "no parameter 'c'"),
    ({"log": [("x",)]}, "is not a str")])
def test_a_grid_that_does_not_fit_is_refused(small, tmp_path, grid, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        run_grid(small, grid, tmp_path / "x", progress=False)
    assert not (tmp_path / "x").exists()


def test_a_notebook_that_no_batch_can_run_is_refused(tmp_path):
    bare = write_notebook(tmp_path / "bare.ipynb", "x = 1", parameters=None)
    hides = write_notebook(tmp_path / "hides.ipynb", "1", parameters="status = 1")
    magic = write_notebook(tmp_path / "magic.ipynb", "1", parameters="%matplotlib inline\na = 1")
    (tmp_path / "broken.ipynb").write_text("{")
    for notebook, kind, why in [(bare, ParameterError, "no cell tagged 'parameters'"),
                                (hides, ParameterError, "the parameter status has the name"),
                                (magic, ParameterError, "not plain Python"),
                                (tmp_path / "broken.ipynb", BatchError, "cannot be read as a notebook"),
                                (tmp_path / "none.ipynb", BatchError, "No such file")]:
        with pytest.raises(kind, match=re.escape(why)):
            run_grid(notebook, {"a": [1]}, tmp_path / "x", progress=False)
    assert not (tmp_path / "x").exists()


def test_a_place_that_cannot_be_written_is_refused(small, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    places = [taken, taken / "below", "unknown://place"]
    if sys.platform == "linux":
        places += ["/proc/nothing", "/sys/kernel"]      # where nobody can, root neither
    for place in places:
        with pytest.raises(BatchError, match="cannot write into|cannot be opened"):
            run_grid(small, {"a": [1]}, place, progress=False)
    assert taken.read_text() == "a file" and list(tmp_path.iterdir()) == [taken]


def test_a_folder_that_is_made_and_then_refuses_is_taken_away_again(tmp_path, monkeypatch):
    def full(self, name, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFolder, "write", full)
    with pytest.raises(BatchError, match="No space left"):
        open_folder(tmp_path / "a" / "b").prepare()
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_a_failed_row(small, tmp_path, monkeypatch):
    write = LocalFolder.write

    def full(self, name, text):
        if name.endswith(".ipynb"):
            raise OSError(28, "No space left on device")
        write(self, name, text)

    monkeypatch.setattr(LocalFolder, "write", full)
    table = run_grid(small, {"a": [1]}, tmp_path / "x", progress=False, pages=False)
    assert table["status"].tolist() == ["failed"] and "No space left" in table["error"][0] and table["file"][0] == ""


def test_what_cannot_be_read_or_run_is_a_failed_row_and_the_others_go_on(small, tmp_path, monkeypatch):
    out, grid = tmp_path / "x", {"a": [1, 2, 3]}
    run_grid(small, {"a": [1, 3]}, out, progress=False, pages=False)
    before, tails, [bad, full, _] = stamps(out), LocalFolder.tails, make_plan(small, grid)

    def broken(self, names):
        if bad.name in names:
            raise OSError(5, "Input/output error")
        return tails(self, names)

    def no_room(job, run, folder):
        if run.name == full.name:
            raise OSError(28, "No space left on device")
        return execute_in(job, run, folder)

    execute_in = mlkit.batch.task._execute
    monkeypatch.setattr(LocalFolder, "tails", broken)
    monkeypatch.setattr(mlkit.batch.task, "_execute", no_room)
    table = run_grid(small, grid, out, progress=False, pages=False).set_index("a")
    assert table["status"].tolist() == ["failed", "failed", "ok"]
    assert "Input/output error" in table.loc[1, "error"] and table.loc[1, "file"] == ""
    assert "No space left" in table.loc[2, "error"] and before.items() <= stamps(out).items()


def test_a_result_is_not_lost_for_want_of_a_page(small, tmp_path, monkeypatch):
    def broken(text, name):
        raise RuntimeError("no <template>")

    monkeypatch.setattr(mlkit.course_page, "page_of", broken)
    table = run_grid(small, {"a": [1]}, tmp_path / "x", progress=False)
    assert table["status"].tolist() == ["ok"]
    page = (tmp_path / "x" / table["file"][0]).with_suffix(".html").read_text()
    assert "RuntimeError(&#x27;no &lt;template&gt;&#x27;)" in page and "<style>" in page


def test_the_command_line_refuses_with_status_2(small, tmp_path):
    out, grid = tmp_path / "x", tmp_path / "grid.yaml"
    grid.write_text("a: [1, 2")
    for arguments, told in [([], "nothing to vary"), (["-p", "a"], "not NAME=A,B"),
                            (["-p", "a=1", "-p", "a=2"], "given twice"),
                            (["-p", 'log="x'], "double quotes"), (["-p", "b=1"], "no parameter 'b'"),
                            (["-p", "a=1", "--workers", "2", "--scheduler", "tcp://localhost:1"], "give one"),
                            (["--grid", str(grid)], "cannot be read as YAML"), (["-p", "a=1", "--workers", "0"], "0")]:
        done = CliRunner().invoke(main, ["batch", str(small), "--out", str(out), *arguments])
        assert done.exit_code == 2 and told in done.stderr, done.output
    assert not out.exists()


@pytest.mark.parametrize("text, told", [
    ("", "not None"), ("[1, 2]", "not [1, 2]"), ("just text", "not 'just text'"),
    ("a: [1]\nslow: [1]\na: [2]\n", "a is there twice"), ("- {a: 1, a: 2}", "a is there twice"),
    ("- {a: 1}\n- {a: '1'}", "asks twice for the combination")])
@pytest.mark.parametrize("more", [[], ["-p", "kind=x,y"]])
def test_a_file_that_is_no_grid_is_refused(small, tmp_path, text, told, more):
    (tmp_path / "grid.yaml").write_text(text)
    done = CliRunner().invoke(main, ["batch", str(small), "--grid", str(tmp_path / "grid.yaml"), "--out",
                                     str(tmp_path / "x"), *more])
    assert done.exit_code == 2 and told in done.stderr, done.output
    assert not (tmp_path / "x").exists()


def test_a_grid_of_a_file_is_not_multiplied_out_to_be_counted(small, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("".join(f"- {{a: {number}}}\n" for number in range(500)))
    plan = make_plan(small, with_values(read_grid(grid), {"slow": [str(number) for number in range(2000)]}))
    assert len(plan) == 1_000_000 and len(plan.blocks) == 500
    assert len({id(block["slow"]) for block in plan.blocks}) == 1, "a block has no list of its own"


def test_a_million_runs_are_counted_and_asked_for(small, tmp_path):
    thousand = ",".join(map(str, range(1000)))
    arguments = ["batch", str(small), "-p", f"a={thousand}", "-p", f"slow={thousand}", "--out", str(tmp_path / "x")]
    begun = time.monotonic()
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and "1,000,000 runs" in done.stderr and "--yes" in done.stderr
    assert "about 116 days on 1 worker, at 10.0 s a run (assumed" in done.stderr
    assert time.monotonic() - begun < 10, "they were not made one by one to be counted"
    pty = pytest.importorskip("pty", reason="this system has no terminals of that kind")
    here, there = pty.openpty()
    asked = subprocess.Popen([sys.executable, "-m", "mlkit", *arguments], stdin=there, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    os.write(here, b"n\n")
    told, _ = asked.communicate(timeout=60)
    assert asked.returncode == 2 and "Run them? [y/N]" in told and "Nothing was run" in told
    assert not (tmp_path / "x").exists()


def test_the_time_of_many_runs_is_estimated_from_those_that_finished(small, tmp_path):
    run_grid(small, {"a": [1]}, tmp_path / "x", progress=False, pages=False)
    duration = collect(tmp_path / "x")["duration"][0]
    done = CliRunner().invoke(main, ["batch", str(small), "-p", "a=" + ",".join(map(str, range(1001))), "--out",
                                     str(tmp_path / "x"), "--workers", "2"])
    assert f"at {duration:.1f} s a run (the mean of 1 finished" in done.stderr and "on 2 workers" in done.stderr
    done = CliRunner().invoke(main, ["batch", str(small), "-p", "a=" + ",".join(map(str, range(3600))), "--out",
                                     str(tmp_path / "y"), "--scheduler", "tcp://127.0.0.1:1"])
    assert "about 10 hours of work for all the cluster's workers together, at 10.0 s a run" in done.stderr


# ------------------------------------------------------------------ parameters and names

ODD = {"text": "a \"b\" 'c' \\n \n {d} $e ü 漢,=", "word": "", "number": -0.0, "large": math.inf, "missing": math.nan,
       "count": 2**70, "flag": True, "listed": [1, "x", [None, 2.5]], "named": {"a b": [True]}, "nothing": None}


def test_values_arrive_as_what_they_are_and_come_back(tmp_path):
    names = "\n".join(f"{name} = {value if value is None else type(value)()!r}" for name, value in ODD.items())
    notebook = write_notebook(tmp_path / "odd.ipynb", "from mlkit import record\n" + "\n".join(
        f"record(was_{name}=repr({name}))" for name in ODD), parameters=names)
    table = run_grid(notebook, [ODD], tmp_path / "x", progress=False)
    assert table["status"].tolist() == ["ok"], table["error"][0]
    for name, value in ODD.items():
        assert table[f"was_{name}"][0] == repr(value)
        back = table[name][0]
        assert repr(back) == repr(value) or back == value or (value is None or value != value) and pd.isna(back), name
    text = (tmp_path / "x" / table["file"][0]).read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_defaults_of_any_kind_are_in_the_table(tmp_path):
    parameters = "a = 1\npair = (1, 'x')\nkinds = {3}\nnothing = None\nlater = dict(a=1)\ndeep = [float('inf')]"
    notebook = write_notebook(tmp_path / "n.ipynb", "1", parameters=parameters)
    table = run_grid(notebook, {"a": [2]}, tmp_path / "x", progress=False, pages=False)
    assert table[["status", "a", "pair", "kinds", "nothing"]].values.tolist() == [["ok", 2, [1, "x"], "{3}", None]]
    assert "later" not in table, "what a call gives is not known"
    pd.testing.assert_frame_equal(table, collect(tmp_path / "x"))


VALUES = st.one_of(st.text(max_size=300), st.floats(), st.integers(), st.booleans(), st.none(),
                   st.lists(st.integers() | st.text(max_size=5), max_size=4))


@settings(max_examples=200, deadline=None)
@given(combinations=st.lists(st.fixed_dictionaries({}, optional={"A": VALUES, "a": VALUES, "long_name_" * 9: VALUES}),
                             min_size=2, max_size=20, unique_by=lambda each: json.dumps(each, sort_keys=True)))
def test_names_of_different_runs_differ_and_are_safe_everywhere(any_plan, combinations):
    names = [run.name for run in any_plan(combinations)]
    assert len({name.lower() for name in names}) == len(combinations)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9.+=_-]{1,160}\.ipynb", name) and not name.startswith((".", "-"))
    assert names == [run.name for run in any_plan([dict(reversed(each.items())) for each in combinations])]


@pytest.fixture(scope="module")
def any_plan(tmp_path_factory):
    parameters = "\n".join(f"{name} = None" for name in ("A", "a", "long_name_" * 9))
    path = write_notebook(tmp_path_factory.mktemp("any") / "any.ipynb", "1", parameters=parameters)
    plan = make_plan(path, {})
    return lambda combinations: replace(plan, blocks=[{name: [value] for name, value in each.items()}
                                                      for each in combinations])


def test_a_name_reads_well_and_stays_the_same(small):
    names = [run.name for run in make_plan(small, {"kind": ["a/b: 50 %"], "a": ["-3"]})]
    assert names == ["small_a=-3_kind=a-b-50-_a3bf4b47f0d7376e.ipynb"]


def test_a_grid_is_all_combinations_the_last_changing_fastest(small):
    plan = make_plan(small, {"kind": ["x", "y"], "a": range(3)})
    assert len(plan) == 6 and [run.parameters for run in plan][:4] == [
        {"a": 0, "kind": "x"}, {"a": 1, "kind": "x"}, {"a": 2, "kind": "x"}, {"a": 0, "kind": "y"}]
    assert len({run.identity for run in plan}) == 6


def test_numpy_values_and_single_ones_are_taken(small):
    numpy = pytest.importorskip("numpy")
    plan = make_plan(small, {"slow": numpy.linspace(0, 1, 3), "a": numpy.int64(3), "kind": "one"})
    assert [run.parameters for run in plan] == [{"a": 3, "kind": "one", "slow": slow} for slow in (0.0, 0.5, 1.0)]


@pytest.mark.parametrize("text, values", [("a,b", ["a", "b"]), ("a", ["a"]), ("", [""]), ('"a,b",c', ["a,b", "c"]),
                                          ("1e-3, 2", ["1e-3", "2"]), ('"say ""x"""', ['say "x"'])])
def test_values_of_the_command_line_are_split_at_commas(text, values):
    assert split_values(text) == values


def test_a_grid_of_a_file_and_of_the_command_line_are_combined(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "1", parameters=PARAMETERS + "start = '2000-01-01'")
    (tmp_path / "grid.yaml").write_text("start: [2006-01-01, 2007-06-30]\nslow: [1e-3]\n")
    done = CliRunner().invoke(main, ["batch", str(notebook), "--grid", str(tmp_path / "grid.yaml"), "-p", "a=1,2",
                                     "--out", str(tmp_path / "x"), "--no-pages"])
    assert done.exit_code == 0, done.output
    table = collect(tmp_path / "x")
    assert table[["a", "slow", "start"]].values.tolist() == [
        [1, 0.001, "2006-01-01"], [1, 0.001, "2007-06-30"], [2, 0.001, "2006-01-01"], [2, 0.001, "2007-06-30"]]
    done = CliRunner().invoke(main, ["batch", str(notebook), "--grid", str(tmp_path / "grid.yaml"), "-p", "slow=1"])
    assert done.exit_code == 2 and "say it once" in done.stderr


# ------------------------------------------------------------------ collecting

def entry(**more):
    """A run's record, as `mlkit.batch.task` makes it."""
    names = {"parameters": {"a": 1}, "results": {"x": 1.0}} | {key: more.pop(key) for key in ("parameters", "results")
                                                              if key in more}
    entries = {key: [{"name": name, "value": value} for name, value in values.items()] for key, values in names.items()}
    summary = {"status": "ok", "duration": 1.0, "notebook": "n.ipynb", "file": "f.ipynb"}
    return dict.fromkeys(SUMMARY, "") | summary | entries | more


def test_rows_are_in_the_order_of_their_parameters():
    table = table_of(entry(parameters={"a": a, "b": b}, file=f"{a}{b}") for a in (10, 9, None) for b in ("y", "x"))
    assert table[["a", "b"]].fillna(0).values.tolist() == [[0, "x"], [0, "y"], [9, "x"], [9, "y"], [10, "x"], [10, "y"]]


@pytest.mark.parametrize("records, why", [
    ([entry(results={"a": 2})], "n.ipynb records a=2 and has a parameter a=1"),
    ([entry(results={"status": "fine"})], "a result called 'status'"),
    ([entry(), entry(parameters={}, results={"a": 1}, notebook="m.ipynb")],
     "'a' is a result of m.ipynb and a parameter")])
def test_one_column_never_holds_two_things(records, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        table_of(records)
    assert list(table_of([entry(results={"a": 1, "x": 2})]))[:2] == ["a", "x"], "recorded as it is, it is no clash"


@pytest.mark.parametrize("lesson", numbered_notebooks(ROOT / "notebooks"), ids=lambda path: path.stem)
def test_every_lesson_can_be_run_over_a_grid(lesson):
    """It has parameters, and what it records has a column of its own."""
    defaults = make_plan(lesson, {}).defaults
    table = table_of([entry(parameters=defaults, results=recorded(lesson), notebook=lesson.name)])
    assert len(table.columns) >= len(defaults) + 5 + len(SUMMARY)


def test_a_clash_of_names_stops_the_batch_at_its_first_run(tmp_path):
    notebook = write_notebook(tmp_path / "n.ipynb", "from mlkit import record\nrecord(a=a + 1)")
    with pytest.raises(ValueError, match=r"records a=2 and has a parameter a=1"):
        run_grid(notebook, {"a": [1, 2, 3]}, tmp_path / "x", progress=False, pages=False)
    assert len(stamps(tmp_path / "x")) == 1


def test_a_file_that_is_no_executed_notebook_is_a_row_too(small, tmp_path):
    out = tmp_path / "x"
    run_grid(small, {"a": [1]}, out, progress=False, pages=False)
    [whole] = out.glob("*.ipynb")
    (out / "cut.ipynb").write_bytes(whole.read_bytes()[:-200])
    (out / "other.ipynb").write_text("[1]")
    shutil.copy(small, out / "never run.ipynb")
    assert execute(small, out / "by hand.ipynb", parameters={"a": 5}).status == "ok"
    assert execute(small, out / "by hand too.ipynb", parameters={"a": 6, "kind": "raises"}).failed
    assert execute(small, out / "dies.ipynb", parameters={"kind": "dies"}).kernel_died
    assert execute(small, out / "hangs.ipynb", parameters={"kind": "hangs"}, timeout=6).failed
    by_papermill = json.loads((out / "by hand.ipynb").read_text())      # as it leaves what did not come to its end
    by_papermill["cells"][-1]["execution_count"] = None
    (out / "half.ipynb").write_text(json.dumps(by_papermill))
    table = collect(out).set_index("file")
    assert table["status"].to_dict() == {
        whole.name: "ok", "cut.ipynb": "unreadable", "other.ipynb": "unreadable", "never run.ipynb": "unreadable",
        "by hand.ipynb": "ok", "by hand too.ipynb": "failed", "dies.ipynb": "failed", "hangs.ipynb": "failed",
        "half.ipynb": "failed"}
    assert table.loc[["dies.ipynb", "hangs.ipynb", "half.ipynb"], "error"].tolist() == ["it did not end"] * 3
    assert table.loc["by hand.ipynb", ["kind", "slow", "log"]].tolist() == ["good", 0.0, ""], "its defaults, too"
    assert table.loc["by hand.ipynb", ["a", "square", "notebook"]].tolist() == [5, 25, "small.ipynb"]
    assert "planted" in table.loc["by hand too.ipynb", "error"]
    assert table.loc["cut.ipynb", "error"] == "it is not a notebook"


def test_a_record_is_found_however_the_file_was_saved(small, tmp_path):
    out = tmp_path / "x"
    notebook = write_notebook(tmp_path / "n.ipynb", "from mlkit import record\nrecord(long='x' * 100_000, short=1)")
    for grid in ({"a": [1]}, {"a": [2]}):
        run_grid(notebook, grid, out, progress=False, pages=False)
    before = stamps(out)
    assert len(run_grid(notebook, {"a": [1, 2]}, out, progress=False, pages=False)) == 2 and stamps(out) == before
    for path in out.glob("*.ipynb"):        # as JupyterLab writes it: keys in order
        nbformat.write(nbformat.read(path, as_version=4), path)
    table = collect(out)
    assert table["a"].tolist() == [1, 2] and table["long"].str.len().tolist() == [100_000] * 2


def test_only_pages_that_are_there_are_linked(small, tmp_path):
    out = tmp_path / "x"
    run_grid(small, {"a": [1]}, out, progress=False, pages=False)
    run_grid(small, {"a": [1, 2], "kind": ["good"]}, out, progress=False)
    run_grid(small, {"a": [1, 3]}, out, progress=False, pages=True)
    page = (out / "index.html").read_text()
    links = {unquote(link) for link in re.findall(r'href="([^"]+)"', page)}
    assert len(links) == 2 + 1 + 1 and all((out / link).is_file() for link in links)


def test_a_notebook_by_another_name_and_one_run_again_are_what_they_are(small, tmp_path):
    out = tmp_path / "x"
    [file] = run_grid(small, {"a": [3]}, out, progress=False, pages=False)["file"]
    shutil.copy(out / file, out / "copy.ipynb")
    assert not execute(out / file, out / "again.ipynb", parameters={"a": 4}).failed
    table = collect(out).set_index("file")
    assert table["a"].to_dict() == {file: 3, "copy.ipynb": 3, "again.ipynb": 4}
    assert table["square"].to_dict() == {file: 9, "copy.ipynb": 9, "again.ipynb": 16}


def test_an_executed_notebook_is_its_own_record(batch):
    folder, _, table = batch
    assert recorded(folder / table.loc[("good", 8), "file"]) == {"square": 64, "half": 4.0, "word": "GOOD", "jobs": 1,
                                                                "folder": "notebooks"}


def test_collecting_from_nowhere_and_from_an_empty_folder(tmp_path):
    with pytest.raises(BatchError, match="there is no folder"):
        collect(tmp_path / "none")
    empty = collect(tmp_path)
    assert empty.empty and list(empty) == TABLE_END
