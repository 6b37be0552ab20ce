"""What a learner sees, in a real browser: JupyterLab as `make lab` opens it, a lesson run, a slider moved, the dashboard.

The pages of the site: tests/test_site.py.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from browser import (PATIENCE, SCREENSHOTS, chromium, keep, opened, serving,  # noqa: F401 - chromium is a fixture
                     until)

from mlkit.start import lessons

ROOT = Path(__file__).resolve().parents[1]
IN_FRONT = ".jp-NotebookPanel:not(.lm-mod-hidden)"
PRESSES = 12
LATENCIES = {}           # what a move draws -> what it took, in words

# From a key press to the pixels that it changed: the picture is loaded, and two frames later it is on the screen.
WATCH = """() => {
  window.latencies = [];
  let pressed = null;
  document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  document.addEventListener("load", (event) => {
    if (event.target.tagName !== "IMG" || pressed === null) return;
    const begin = pressed;
    pressed = null;
    requestAnimationFrame(() => requestAnimationFrame(() => window.latencies.push(performance.now() - begin)));
  }, true);
}"""

# The pixels of a picture, kept in the page; gives the number under which they are kept.
PIXELS = """async (image) => {
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  window.seen = window.seen ?? [];
  return window.seen.push(context.getImageData(0, 0, canvas.width, canvas.height).data) - 1;
}"""
# The share of the values that differ between two such pictures; all of them if even the size does.
CHANGED = """([one, other]) => {
  const before = window.seen[one], after = window.seen[other];
  if (before.length !== after.length) return 1;
  return before.filter((value, place) => value !== after[place]).length / before.length;
}"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A learner's copy of the course."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    return folder


@pytest.fixture(scope="module")
def lab(course):
    """JupyterLab, started by the command of `make lab`; its address."""
    assert re.search(r"^lab: .*\n\t@\$\(PY\) -m mlkit lab \$\(LAB\)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = ["-m", "mlkit", "lab", "--no-browser", "--port={port}", "--IdentityProvider.token="]
    with serving(words, course, "/api") as address:
        yield address


@pytest.fixture(scope="module")
def start(lab, chromium):
    with opened(chromium) as page:
        page.goto(lab)
        page.wait_for_selector(f"{IN_FRONT} .jp-OutputArea table")
        yield page


@pytest.fixture(scope="module")
def lesson(start):
    """Lesson 01, opened by its link on the start page, all of its cells run."""
    start.click(f"{IN_FRONT} .jp-OutputArea a:has-text('Why is this backtest so good?') >> nth=-1")
    start.wait_for_selector(f"{IN_FRONT} .jp-RenderedMarkdown:has-text('After this lesson you will be able to')")
    keep(start, "lab-lesson")
    run_all(start)
    return start


def run_all(page):
    """Run All Cells, once there is a kernel to run them: before that the menu does nothing, in silence."""
    page.locator(f"{IN_FRONT} .jp-KernelName", has_text="Python 3").wait_for()
    page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    until(lambda: counts(page)[-1].isdigit() or is_stuck(page), "the last cell to have run")


def counts(page) -> list[str]:
    """The execution counts of the notebook in front: '' for a cell that did not run, '*' for one that waits."""
    prompts = page.locator(f"{IN_FRONT} .jp-CodeCell .jp-InputPrompt").all_text_contents()
    return [prompt.strip("[]: ") for prompt in prompts]


def is_stuck(page) -> bool:
    """Whether a cell failed: those after it never run."""
    waiting = counts(page)
    return waiting[0].isdigit() and "*" not in waiting


def test_the_lab_opens_on_the_start_page(start, lab, course):
    assert start.url == f"{lab}/lab/tree/start.ipynb"
    shown = start.locator(f"{IN_FRONT} .jp-OutputArea tbody tr").all_text_contents()
    assert len(shown) == len(lessons(course / "notebooks")) and "Why is this backtest so good?" in shown[1]
    keep(start, "lab-start")


def test_a_lesson_runs_from_top_to_bottom(lesson, course):
    assert lesson.url.endswith("/lab/tree/01_leakage.ipynb")
    ran = counts(lesson)
    assert ran == [str(count) for count in range(1, len(ran) + 1)] and len(ran) > 40
    assert not [fault for fault in lesson.faults if "far:" in fault or "not loaded" in fault], "it works offline"


def test_every_picture_of_a_lesson_has_words(lesson):
    words = lesson.locator(f"{IN_FRONT} .jp-OutputArea img").evaluate_all("all => all.map((image) => image.alt)")
    assert len(words) > 5 and min(map(len, words)) > 60, words


def move(page, told, draws: str) -> None:
    """Move the first slider of the notebook in front to and fro by the keyboard, and tell what each move took."""
    cell = page.locator(f"{IN_FRONT} .jp-CodeCell", has_text="slider(").first
    handle, picture = cell.locator(".noUi-handle").first, cell.locator(".jp-OutputArea img").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    before = picture.evaluate(PIXELS)
    page.evaluate(WATCH)
    for press in range(PRESSES):
        done = page.evaluate("latencies.length")
        page.keyboard.press("ArrowLeft" if press % 2 else "ArrowRight")
        page.wait_for_function(f"latencies.length > {done}")
        if press == 0:
            after = picture.evaluate(PIXELS)
            keep(page, f"lab-slider-{len(LATENCIES)}")
    again = picture.evaluate(PIXELS)
    assert page.evaluate(CHANGED, [before, after]) > 0.001, "the picture is another one"
    assert page.evaluate(CHANGED, [before, again]) == 0, "and the first, where the slider stands again as it stood"
    latencies = sorted(page.evaluate("latencies"))
    LATENCIES[draws] = (f"{draws}, from key press to new pixels: median {statistics.median(latencies):.0f} ms, "
                        f"slowest {latencies[-1]:.0f} ms of {len(latencies)} (aim: a median under 250 ms)")
    told("slider", LATENCIES[draws])
    (SCREENSHOTS / "latency.txt").write_text("\n".join([*LATENCIES.values(), ""]), encoding="utf-8")


def test_a_slider_moved_by_the_keyboard_changes_the_plot(lesson, record_property):
    move(lesson, record_property, "scores known before (lesson 01)")


def test_a_lesson_that_was_run_is_ticked_on_the_start_page(lesson, course):
    done = json.loads((course / "notebooks" / ".progress.json").read_text())
    assert list(done) == ["01_leakage"]
    lesson.click(".lm-TabBar-tabLabel:text-is('start.ipynb')")
    run_all(lesson)
    row = lesson.locator(f"{IN_FRONT} .jp-OutputArea tr", has_text="Why is this backtest so good?")
    assert "✓" in row.text_content()
    keep(lesson, "lab-start-ticked")


def test_a_slider_that_trades_again_changes_the_plot(lab, chromium, record_property):
    with opened(chromium) as page:
        page.goto(f"{lab}/lab/workspaces/other/tree/00_first_ml_strategy.ipynb")      # none of the other tabs
        run_all(page)
        move(page, record_property, "ten backtests at each move (lesson 00)")


def test_an_exercise_names_the_mistake_that_was_typed(lab, chromium):
    """Written into the cell by the keyboard, as a learner would."""
    with opened(chromium) as page:
        page.goto(f"{lab}/lab/tree/exercises/01_leakage.ipynb")
        cell = page.locator(f"{IN_FRONT} .jp-CodeCell", has_text="def place(bars):")
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+End")
        page.keyboard.press("Enter")
        page.keyboard.type("return (bars.close - min(bars.low)) / (max(bars.high) - min(bars.low))")
        run_all(page)
        verdict = page.locator(f"{IN_FRONT} .jp-CodeCell", has_text="check.q1(place)").locator(".jp-OutputArea")
        assert "q1, a known mistake: the range of the whole table." in verdict.text_content()
        assert "The leakage audit:" in verdict.text_content()
        verdict.scroll_into_view_if_needed()
        page.locator(f"{IN_FRONT} .jp-RenderedMarkdown", has_text="When was it known?").wait_for()
        keep(page, "lab-exercise")


FAILING = """
import browser, pathlib, pytest
from browser import chromium, opened
browser.SCREENSHOTS = pathlib.Path("pictures")

@pytest.fixture(scope="module")
def shared(chromium):
    with opened(chromium) as page:
        yield page

def test_all(shared):
    assert False

def test_one(chromium):
    with opened(chromium):
        assert False

def test_well(chromium):
    with opened(chromium):
        pass
"""


def test_of_a_failure_there_is_a_picture_of_each_open_page(tmp_path, chromium):
    (tmp_path / "test_it.py").write_text(FAILING)
    words = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path, "-q", tmp_path]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT / "tests")}, cwd=tmp_path,
                          capture_output=True, text=True, timeout=PATIENCE)
    names = sorted(path.name for path in (tmp_path / "pictures").glob("*.png"))
    assert names == ["failed-test-all-1.png", "failed-test-one-1.png", "failed-test-one-2.png"], done.stdout


# ---------------------------------------------------------------- the dashboard


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory, chromium):
    """The page that `make dashboard` serves, with its first answer."""
    words = ["-m", "mlkit", "dashboard", "--no-browser", "--port={port}"]
    with serving(words, tmp_path_factory.mktemp("dashboard"), "/voila/static/favicon.ico") as address:
        with opened(chromium) as page:
            page.goto(address)
            page.wait_for_selector("h2:has-text('conditions hold')")
            keep(page, "dashboard")
            yield page


def test_the_dashboard_answers_a_change_of_instrument(dashboard):
    before = dashboard.locator("figure img").first.evaluate(PIXELS)      # the equity curves
    dashboard.get_by_label("instrument").select_option("EURUSD")
    dashboard.wait_for_selector("p:has-text('logistic on EURUSD, ')")
    after = dashboard.locator("figure img").first.evaluate(PIXELS)
    assert dashboard.evaluate(CHANGED, [before, after]) > 0.001
    assert dashboard.locator("figure").count() == 3
    keep(dashboard, "dashboard-eurusd")


def test_the_dashboard_by_the_arrow_keys_answers_the_last_one(dashboard):
    chosen = dashboard.get_by_label("instrument")
    chosen.focus()
    for _ in range(3):
        dashboard.keyboard.press("ArrowDown")
    name = chosen.evaluate("box => box.options[box.selectedIndex].text")
    assert name != "EURUSD"
    dashboard.wait_for_selector(f"p:has-text('logistic on {name}, ')")


def test_the_dashboard_answers_a_change_of_cost_and_of_model(dashboard):
    dashboard.locator(".noUi-handle").press("ArrowRight")
    dashboard.wait_for_selector("p:has-text('at 5 bps a side')")
    dashboard.get_by_label("model").select_option("ridge")
    dashboard.wait_for_selector("p:has-text('ridge on ')")
    assert "5" in dashboard.locator("tr", has_text="it can pay its costs").text_content()


def test_the_dashboard_says_what_it_cannot_do_and_goes_on(dashboard):
    dashboard.get_by_label("instrument").select_option("WTI")
    dashboard.wait_for_selector("[role=status]:has-text('WTI has a non-positive close')")
    assert dashboard.locator("figure").count() == 0
    dashboard.get_by_label("instrument").select_option("GE")
    dashboard.wait_for_selector("p:has-text('on GE, ')")
    dashboard.set_viewport_size({"width": 390, "height": 844})
    assert dashboard.evaluate("document.documentElement.scrollWidth") <= 390
    keep(dashboard, "dashboard-phone")
    assert dashboard.faults == []
