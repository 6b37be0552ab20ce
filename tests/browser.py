"""A real browser for the tests: Chromium through Playwright, and servers on this machine that it talks to.

Everything waits for a condition, never for a time. What a page complains of is kept, and so is every request to
another machine, of which there must be none. Screenshots go to runs/screenshots, which CI keeps: of what a test
shows, and of every page that is open when one fails.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "runs" / "screenshots"
PATIENCE = 180          # seconds for a condition: the machine may be busy with other tests
OPEN = []               # pages, until their block has ended well, or the browser is closed
OPTIONS = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


class Witness:
    """What the open pages look like when a test fails."""

    @staticmethod
    def pytest_exception_interact(node):
        for number, page in enumerate(OPEN, 1):
            with suppress(Exception):      # a page that has crashed: the test's own failure is what is told
                keep(page, f"failed-{re.sub(r'[^a-z0-9]+', '-', node.name)}-{number}", timeout=10_000)


@pytest.fixture(scope="module")
def chromium(request):
    """A running Chromium. Where there is none the tests are skipped aloud, or fail if REQUIRE_BROWSER=1."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright (pip install -r requirements.txt -r requirements-browser.txt)")
    program = shutil.which("chromium")
    if not program:
        _missing("Chromium (apt-get install -y chromium fonts-dejavu, or your system's own way)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        witness = Witness()
        request.config.pluginmanager.register(witness)
        yield browser
        request.config.pluginmanager.unregister(witness)
        OPEN.clear()
        browser.close()


def _missing(what: str):
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, and there is no {what}")
    pytest.skip(f"the tests in a real browser need {what}")


@contextmanager
def opened(browser, width=1280, height=900):
    """A page of a fresh profile, with `page.faults`: what it complained of, what it could not load or should not."""
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=1)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.faults = []
    page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("requestfailed", lambda request: page.faults.append(f"not loaded: {request.url[:200]}"))
    page.on("request", lambda request: None if is_near(request.url) else page.faults.append(f"far: {request.url[:200]}"))
    OPEN.append(page)
    yield page
    OPEN.remove(page)
    context.close()


def is_near(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "ws://127.0.0.1:"))


def keep(page, name: str, **options) -> None:
    """A screenshot, kept for whoever looks at the run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)


@contextmanager
def serving(words, folder: Path, ready: str):
    """Run a server of this environment's Python in a folder until the block ends; yields its address.

    words : what follows `python`, with "{port}" where the port belongs; ready : the path that answers when it is up
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = [word.format(port=address.rpartition(":")[2]) for word in words]
    private = {f"JUPYTER_{kind}_DIR": str(folder / f".{kind.lower()}") for kind in ("CONFIG", "DATA", "RUNTIME")}
    with open(folder / "server.log", "w+", encoding="utf-8") as log:
        server = subprocess.Popen([sys.executable, *words], cwd=folder, env={**os.environ, **private}, stdout=log, stderr=log)
        try:
            until(lambda: _answers(address + ready) or server.poll() is not None, "the server to answer")
            if server.poll() is not None:
                log.seek(0)
                raise AssertionError(f"{' '.join(words)} ended:\n{log.read()[-3000:]}")
            yield address
        finally:
            server.terminate()
            server.wait(PATIENCE)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(condition, what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.05)
