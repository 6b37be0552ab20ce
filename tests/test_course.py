"""Running notebooks: the course goes on after a failure, and parameters are checked before anything starts."""

import gc
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import mlkit.course_page
from mlkit.batch import MIME, ParameterError, check_parameters, parameters_of, record, recorded
from mlkit.cli import main, readable
from mlkit.course import run_course
from mlkit.course_page import page_of
from mlkit.notebooks import execute, merge_streams

PARAMETERS = """\
symbol = "GE"            # any instrument of `mlkit data`
cost_bps: float = 1
window = 20
use_model = True
thresholds = [0.45, 0.55]
equation = "a=b"
end = None
"""
RECORD = ("import os\nimport numpy as np\nfrom mlkit.batch import record\n"
          "record(sharpe=np.float64(0.123456789), trades=np.int64(7), undefined=float('nan'), lost=-np.inf)\n"
          "record(trades=8, honest=np.bool_(True), note='<b>&</b>', nothing=None,\n"
          "       folder=os.path.basename(os.getcwd()), asked=f'{symbol} {cost_bps} {use_model}',\n"
          "       seed=os.environ['PYTHONHASHSEED'], threads=os.environ['OMP_NUM_THREADS'])")


def write(path, *sources, title="# A lesson", parameters=PARAMETERS):
    cells = [new_markdown_cell(title)] if title else []
    if parameters:
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[*cells, *map(new_code_cell, sources)]), path)
    return path


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of which half goes wrong, each lesson in its own way, run once by `mlkit run`."""
    home = tmp_path_factory.mktemp("course")
    notebooks = home / "notebooks"
    write(notebooks / "00_good.ipynb", RECORD, title="# First & <foremost>")
    write(notebooks / "01_raises.ipynb", "1", "raise ValueError('first line\\nnot <script>alert(1)</script>')", "2")
    write(notebooks / "02_dies.ipynb", "import os; os._exit(3)")
    write(notebooks / "03_hangs.ipynb", "while True:\n    pass")
    (notebooks / "04_broken.ipynb").write_text("not a notebook")
    write(notebooks / "05_good.ipynb", "print('still here')")
    write(notebooks / "scratch.ipynb", "1 / 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        result = CliRunner().invoke(main, ["run", "--timeout", "5"])
    return home, result, (home / "runs/course/index.html").read_text()


def test_a_failing_notebook_does_not_stop_the_others(course):
    home, result, index = course
    assert result.exit_code == 1
    assert re.findall(r'<tr class="(\w+)">', index) == ["ok", "failed", "failed", "failed", "failed", "ok"]
    assert "still here" in (home / "runs/course/05_good.html").read_text()
    assert "scratch" not in index


def test_every_failure_is_named(course):
    _, result, _ = course
    told = result.stderr
    assert "4 of 6 notebooks failed" in told
    assert re.search(r"01_raises.ipynb, cell 3 \(id \w+\): ValueError: not <script>", told)
    assert re.search(r"02_dies.ipynb, cell 2 \(id \w+\): the kernel died", told)
    assert re.search(r"03_hangs.ipynb, cell 2 \(id \w+\): stopped: it ran longer than the 5 s", told)
    assert "04_broken.ipynb: NotJSONError" in told
    assert "Open runs/course/index.html in a browser" in result.stdout.splitlines()[-1]


def test_the_index_says_how_long_each_and_all_took(course):
    *each, total = [float(60 * int(minutes or 0) + float(seconds)) for minutes, seconds in
                    re.findall(r'<t[dh] class="number">(?:(\d+) min )?([\d.]+) s<', course[2])]
    assert len(each) == 6 and min(each) >= 0 and total == pytest.approx(sum(each), abs=1)


def test_the_bar_says_where_it_is(course):
    assert "notebook 2 of 6: 01_raises" in course[1].stderr and "left" in course[1].stderr


def test_the_index_is_one_safe_page(course):
    home, _, index = course
    assert "First &amp; &lt;foremost&gt;" in index and "<script" not in index and "http" not in index
    assert "not &lt;script&gt;alert(1)" in index and "<dt>note</dt><dd>&lt;b&gt;&amp;&lt;/b&gt;</dd>" in index
    assert "<dt>sharpe</dt><dd>0.123457</dd><dt>trades</dt><dd>8</dd>" in index
    for link in re.findall(r'href="([^"]*)"', index):
        assert (home / "runs/course" / link).is_file()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", (home / "runs/course/00_good.html").read_text())


def test_a_page_is_small_quiet_and_describes_its_pictures():
    pictures = [new_output("display_data", {kind: "PHN2Zy8+", "text/plain": f"Plot: {kind} & <so on>"})
                for kind in ("image/png", "image/jpeg", "image/svg+xml")]
    told = new_output("display_data", {"image/svg+xml": "<svg/>"}, metadata={"image/svg+xml": {"alt": "It falls"}})
    view = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"},
                                         "text/plain": "IntSlider(1)"})
    script = new_output("display_data", {"application/javascript": "alert(1)"})
    colour = new_output("stream", text="\x1b[31mred\x1b[0m")
    code = new_code_cell("a = 1", outputs=[*pictures, told, view, script, colour])
    notebook = new_notebook(cells=[new_markdown_cell("# So & <so>"), code], metadata={
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}}})
    page = page_of(nbformat.writes(notebook), "so.ipynb")
    soup = BeautifulSoup(page, "html.parser")
    assert [picture["alt"] for picture in soup.select("img")] == [
        "Plot: image/png & <so on>", "Plot: image/jpeg & <so on>", "Plot: image/svg+xml & <so on>", "It falls"]
    assert soup.title.get_text() == "So & <so>" and "IntSlider(1)" in page
    assert soup.select_one(".ansi-red-fg").get_text() == "red" and ".ansi-red-fg" in soup.style.get_text()
    assert "<script" not in page and len(page) < 30_000


def test_results_come_back_as_they_were_recorded(course):
    home, _, _ = course
    results = recorded(home / "runs/course/00_good.ipynb")
    assert np.isnan(results.pop("undefined")) and results.pop("lost") == float("-inf")
    assert results == {"sharpe": 0.123456789, "trades": 8, "honest": True, "note": "<b>&</b>", "nothing": None,
                       "folder": "notebooks", "asked": "GE 1 True", "seed": "0", "threads": "1"}
    assert list(results)[:3] == ["sharpe", "trades", "honest"]
    shown = nbformat.read(home / "runs/course/00_good.ipynb", as_version=4).cells[-1].outputs[1].data
    assert {MIME, "text/plain", "text/html"} == set(shown) and "&lt;b&gt;" in shown["text/html"]


def test_a_page_that_cannot_be_made_stops_no_course(tmp_path, monkeypatch):
    def broken(text, name):
        raise RuntimeError("no template")

    monkeypatch.setattr(mlkit.course_page, "page_of", broken)
    outcomes = run_course([write(tmp_path / f"{name}.ipynb", "1") for name in "ab"], tmp_path / "out", progress=False)
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert "could not be made a page" in (tmp_path / "out" / "b.html").read_text()


def test_streams_are_merged_as_nbclient_does_and_a_long_line_takes_no_time():
    def cell(*outputs):
        return new_code_cell(outputs=[new_output("stream", name=name, text=text) if name else
                                      new_output("display_data", {"text/plain": text}) for name, text in outputs])

    mixed = cell(("stderr", "10 %\r50 %"), ("stdout", "one\r\n"), ("stderr", "\r99 %\rdone\n"), ("", "shown"), ("stdout", "two"))
    merge_streams(mixed)
    assert [(out.get("name"), out.get("text")) for out in mixed.outputs] == [
        ("stdout", "one\r\ntwo"), ("stderr", "done\n"), (None, None)]
    long, begun = cell(("stdout", "y" * 1_000_000)), time.perf_counter()
    merge_streams(long)
    assert time.perf_counter() - begun < 5 and len(long.outputs[0].text) == 1_000_000


@pytest.mark.filterwarnings("error")
def test_a_run_leaves_nothing_behind(tmp_path):
    """A folder taken away only by the garbage collector's warning would make some later test red."""
    (tmp_path / "scratch").mkdir()
    outcome = execute(write(tmp_path / "lesson.ipynb", "1"), tmp_path / "ran.ipynb", scratch=str(tmp_path / "scratch"))
    gc.collect()
    assert outcome.status == "ok" and not list((tmp_path / "scratch").iterdir())


def test_given_parameters_arrive_as_what_they_are(tmp_path):
    notebook = write(tmp_path / "one.ipynb", RECORD)
    result = CliRunner().invoke(main, ["run", str(notebook), "--out", str(tmp_path / "out"), "-p", "symbol=IBM",
                                       "-p", "cost_bps=1e-3", "-p", "use_model=false"])
    assert result.exit_code == 0, result.output
    assert recorded(tmp_path / "out/one.ipynb")["asked"] == "IBM 0.001 False"


@pytest.mark.parametrize("name, text, value", [
    ("symbol", "10", "10"), ("cost_bps", "5", 5.0), ("cost_bps", "1e-3", 0.001), ("window", "30", 30),
    ("use_model", "false", False), ("use_model", "True", True), ("use_model", "0", False),
    ("thresholds", "[0.4, 0.6]", [0.4, 0.6]), ("equation", "c=d", "c=d"), ("end", "2009-01-02", "2009-01-02"),
    ("end", "None", None), ("cost_bps", 5, 5.0), ("window", 30, 30),
])
def test_a_value_is_cast_to_the_type_in_the_notebook(tmp_path, name, text, value):
    given = check_parameters(write(tmp_path / "n.ipynb"), {name: text})
    assert given == {name: value} and type(given[name]) is type(value)


@pytest.mark.parametrize("name, value, why", [
    ("window", "1.5", "window='1.5' is not a whole number"), ("window", 1.5, "is not a whole number"),
    ("window", True, "is not a whole number"), ("cost_bps", "cheap", "cost_bps='cheap' is not a number"),
    ("use_model", "maybe", "is not true or false"), ("use_model", 1, "is not true or false"),
    ("thresholds", "0.4", "is not a list"), ("thresholds", "[0.4", "is not a list"), ("symbol", 7, "is not a str"),
    ("symbl", "IBM", "no parameter 'symbl'"),
])
def test_a_value_that_does_not_fit_is_refused(tmp_path, name, value, why):
    with pytest.raises(ParameterError, match=re.escape(why)) as caught:
        check_parameters(write(tmp_path / "n.ipynb"), {name: value})
    assert "n.ipynb" in str(caught.value)


def test_the_command_line_refuses_before_it_runs(tmp_path):
    with_cell, without = write(tmp_path / "a.ipynb"), write(tmp_path / "b.ipynb", "x = 1", parameters=None)
    out = str(tmp_path / "out")
    for arguments, told in [([with_cell, "-p", "zzz=1"], "window = 20"), ([without, "-p", "x=2"], "no cell tagged"),
                            ([with_cell, without, "-p", "window=3"], "b.ipynb"),
                            ([with_cell, "-p", "window"], "NAME=VALUE"),
                            ([with_cell, "-p", "window=1", "-p", "window=2"], "twice"),
                            ([write(tmp_path / "sub/a.ipynb"), with_cell], "two notebooks are called a.ipynb")]:
        result = CliRunner().invoke(main, ["run", "--out", out, *map(str, arguments)])
        assert result.exit_code and told in result.stderr, result.output
    assert not (tmp_path / "out").exists()


def test_a_notebook_is_never_overwritten_by_its_own_run(tmp_path):
    notebook = write(tmp_path / "n.ipynb", "1")
    before = notebook.read_bytes()
    done = CliRunner().invoke(main, ["run", str(notebook), "--out", str(tmp_path)])
    assert done.exit_code == 1 and f"{tmp_path} holds n.ipynb itself: choose another output folder" in done.stderr
    with pytest.raises(ValueError, match="holds n.ipynb itself"):
        execute(notebook, tmp_path / "sub" / ".." / "n.ipynb")
    assert notebook.read_bytes() == before and list(tmp_path.iterdir()) == [notebook]


@pytest.mark.skipif(os.name != "posix", reason="it sends a signal that this system has not")
def test_ctrl_c_stops_the_notebooks_still_to_be_made(tmp_path):
    begun = [tmp_path / "a.begun", tmp_path / "b.begun"]
    notebooks = [write(path.with_suffix(".ipynb"), f"import time\nopen({str(path)!r}, 'w').close()\ntime.sleep(60)")
                 for path in begun]
    before = [path.read_bytes() for path in notebooks]
    made = subprocess.Popen([sys.executable, "-m", "mlkit", "notebooks", *map(str, notebooks)], stderr=subprocess.PIPE,
                            text=True)
    while not begun[0].exists():
        assert made.poll() is None
        time.sleep(0.1)
    made.send_signal(signal.SIGINT)
    told = made.communicate(timeout=30)[1]
    assert made.returncode == 1 and "Aborted" in told and not begun[1].exists()
    assert [path.read_bytes() for path in notebooks] == before


def test_a_folder_without_notebooks_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("run", "notebooks"):
        result = CliRunner().invoke(main, [command])
        assert result.exit_code == 1 and "no notebooks here" in result.stderr


def test_a_notebook_without_parameters_can_still_run_without_any(tmp_path):
    notebook = write(tmp_path / "n.ipynb", parameters=None)
    assert parameters_of(notebook) is None and check_parameters(notebook, {}) == {}


@pytest.mark.parametrize("value", [[1], pd.Timestamp("2006-01-03"), pd.Series([1.0]), np.array(1.0), 1j, object()])
def test_only_plain_values_are_recorded(value):
    with pytest.raises(TypeError, match=r"record\(what=...\)"):
        record(what=value)


def test_record_outside_a_notebook_prints(capsys):
    record(sharpe=0.25, name="GE")
    assert capsys.readouterr().out == "sharpe  0.25\nname    GE\n"
    with pytest.raises(TypeError, match="named results"):
        record()


def test_data_prints_a_table_that_fits():
    table = pd.DataFrame({"name": ["WTI"], "first": [pd.Timestamp("1986-01-02")], "quirks": ["negative once, " * 20]})
    text = readable(table, 80)
    assert "WTI   1986-01-02" in text and max(map(len, text.splitlines())) <= 80
    result = CliRunner().invoke(main, ["data"])
    assert result.exit_code == 0 and "WTI " in result.stdout and "-36.98" not in result.stdout
    one = CliRunner().invoke(main, ["data", "WTI"])
    assert one.exit_code == 0 and "-36.98 on 2020-04-20" in one.stdout and "load_bars('WTI')" in one.stdout
    typo = CliRunner().invoke(main, ["data", "EURUDS"])
    assert typo.exit_code == 1 and "did you mean EURUSD" in typo.output


def test_the_command_starts_without_loading_what_it_does_not_need():
    code = "import sys, mlkit.cli, mlkit.course, mlkit.batch; print({'papermill', 'nbconvert', 'IPython'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
    help_text = subprocess.run([sys.executable, "-m", "mlkit", "--help"], capture_output=True, text=True)
    assert help_text.returncode == 0 and "Usage: mlkit" in help_text.stdout


def test_run_course_is_a_function_too(tmp_path):
    outcomes = run_course([], tmp_path / "out")
    assert outcomes == []
