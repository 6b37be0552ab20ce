"""The lessons as web pages: links, search, pictures with words, and the pages as a browser and a phone show them."""

import json
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from browser import chromium, keep, opened  # noqa: F401 - chromium is a fixture
from bs4 import BeautifulSoup
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import mlkit.site
from mlkit.cli import main
from mlkit.site import build_site, stray_links
from mlkit.start import lessons

ROOT = Path(__file__).resolve().parents[1]
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def lesson(path, title, *prose, outputs=()):
    cells = [new_markdown_cell(f"# {title}\n\nAbout 10 minutes."), *map(new_markdown_cell, prose)]
    cells += [new_code_cell("a = 1", outputs=list(outputs), execution_count=1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)


@pytest.fixture
def small(tmp_path):
    """Two lessons and an exercise, with links of every kind between them."""
    folder = tmp_path / "notebooks"
    picture = new_output("display_data", {"image/png": PIXEL, "text/plain": "Plot: it <rises>"})
    described = new_output("display_data", {"image/png": PIXEL, "text/plain": "Plot: it falls"},
                           metadata={"image/png": {"alt": "A line that falls"}})
    image = f'<img src="data:image/png;base64,{PIXEL}" alt="A line that rests">'
    watched = new_output("display_data", {"image/png": PIXEL, "text/html": image, "text/plain": "Plot: it rests"})
    lesson(folder / "00_first.ipynb", "00 · Is it <so>?", "## What & why\n[next](01_second.ipynb), [there]"
           "(01_second.ipynb#What-was-that%3F), [below](#What-%26-why), [do](exercises/00_first.ipynb)",
           "## What & why\nAgain, with a neologism: floccinaucinihilipilification.",
           outputs=[picture, described, watched])
    lesson(folder / "01_second.ipynb", "01 · Why?", "## What was that?\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    lesson(folder / "exercises" / "00_first.ipynb", "Exercise", "[back](../00_first.ipynb#What-%26-why)")
    return folder


@cache
def soup_of(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_links_between_notebooks_become_links_between_pages(small, tmp_path):
    index = build_site(small, tmp_path / "site", progress=False)
    first, exercise = soup_of(tmp_path / "site/00_first.html"), soup_of(tmp_path / "site/exercises/00_first.html")
    links = {link.get_text(): link["href"] for link in first.select("main p a")}
    assert links == {"next": "01_second.html", "there": "01_second.html#what-was-that", "below": "#what-why",
                     "do": "exercises/00_first.html"}
    assert [link["href"] for link in exercise.select("main p a")] == ["../00_first.html#what-why"]
    assert [heading["id"] for heading in first.select("h2")] == ["what-why", "what-why-2"]
    assert [link["href"] for link in first.select(".contents a")] == ["#what-why", "#what-why-2"]
    assert [(link["rel"][0], link["href"]) for link in exercise.select(".steps a")] == [
        ("prev", "../00_first.html"), ("next", "../01_second.html")]
    row = soup_of(index).select("tbody tr")[0]
    assert [cell.get_text() for cell in row.select("td")] == ["00 · Is it <so>?", "10", "exercise"]
    assert [link["href"] for link in row.select("a")] == ["00_first.html", "exercises/00_first.html"]


def test_pictures_have_words(small, tmp_path):
    build_site(small, tmp_path / "site", progress=False)
    pictures = soup_of(tmp_path / "site/00_first.html").select("main img")
    assert [picture["alt"] for picture in pictures] == ["Plot: it <rises>", "A line that falls", "A line that rests"]


@pytest.mark.parametrize("link", ["02_gone.ipynb", "01_second.ipynb#no-such", "#no-such", "../README.md"])
def test_a_link_that_leads_nowhere_is_an_error(small, tmp_path, monkeypatch, link):
    lesson(small / "00_first.ipynb", "00 · Is it so?", f"[there]({link})", "## What & why")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["site"])
    assert done.exit_code == 1
    assert "runs/site/index.html is written, but has links that lead nowhere: 00_first.html to " in done.output
    broken, elsewhere = stray_links("runs/site")
    assert len(broken) == 1 and elsewhere == []


def test_a_link_to_the_web_is_a_remark_and_an_output_links_where_it_likes(small, tmp_path, monkeypatch):
    model = new_output("display_data", {"text/html": '<a href="https://scikit-learn.org/">?</a> <a href="gone">?</a>'})
    lesson(small / "00_first.ipynb", "00 · So?", "[there](https://example.org/)", "## What & why", outputs=[model])
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["site"])
    assert done.exit_code == 0 and "Open runs/site/index.html" in done.stdout
    assert [line for line in done.stderr.splitlines() if "links" in line] == [
        "00_first.html links to the web, which is not there without a network: https://example.org/"]


def test_an_interrupted_site_can_be_written_again(small, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mlkit.site, "_write_index", interrupted)
        build_site(small, tmp_path / "site", progress=False)
    assert (tmp_path / "site" / "00_first.html").exists()
    assert build_site(small, tmp_path / "site", progress=False).exists()


def test_a_folder_of_something_else_is_left_alone(small, tmp_path):
    other = tmp_path / "mine" / "thesis.txt"
    other.parent.mkdir()
    other.write_text("all I have")
    with pytest.raises(ValueError, match="is not empty, and holds no site"):
        build_site(small, other.parent, progress=False)
    assert other.read_text() == "all I have"
    build_site(small, tmp_path / "site", progress=False)
    (tmp_path / "site" / "old.html").write_text("of an earlier site")
    build_site(small, tmp_path / "site", progress=False)
    assert not (tmp_path / "site" / "old.html").exists()


def test_without_lessons_there_is_no_site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["site"])
    assert done.exit_code == 1 and "run it in the folder that holds notebooks/" in done.output


# ---------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of the lessons in git."""
    folder = tmp_path_factory.mktemp("site")
    build_site(ROOT / "notebooks", folder, progress=False)
    return folder


def test_every_lesson_and_exercise_is_there_and_no_link_is_broken(site):
    taught = lessons(ROOT / "notebooks")
    linked = [link["href"] for link in soup_of(site / "index.html").select("main a")]
    pages = [path.relative_to(ROOT / "notebooks").with_suffix(".html").as_posix()
             for each in taught for path in (each.path, each.exercise) if path]
    assert linked == pages and stray_links(site) == ([], [])


def test_every_picture_is_described_and_headings_are_in_order(site):
    for path in site.rglob("*.html"):
        soup = soup_of(path)
        for picture in soup.select("img"):
            assert len(picture.get("alt", "")) > 10, (path.name, picture.get("alt"))
        levels = [int(heading.name[1]) for heading in soup.select("main :is(h1, h2, h3, h4, h5, h6)")]
        assert levels[0] == 1 and levels.count(1) == 1, path.name
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), (path.name, levels)


def test_what_is_searched_is_all_that_is_read(site):
    script = (site / "search-index.js").read_text(encoding="utf-8")
    sections = json.loads(script.removeprefix("window.MLKIT_SECTIONS = ").removesuffix(";\n"))
    for path in site.rglob("*.html"):
        words = set(re.findall(r"\w{4,}", " ".join(p.get_text(" ") for p in soup_of(path).select("main .text_cell p, pre"))))
        held = " ".join(section["text"] for section in sections
                        if section["url"].partition("#")[0] == path.relative_to(site).as_posix())
        assert not [word for word in words if word not in held], path.name


def test_every_page_in_a_browser_is_whole_quiet_and_no_wider_than_a_phone(site, chromium):
    """From the index through every `next`, on a desk and on a phone."""
    pages = {path.resolve().as_uri() for path in site.rglob("*.html")} - {(site / "index.html").resolve().as_uri()}
    with opened(chromium) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto((site / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        keep(page, "site-index-phone")
        page.click("main a")
        seen = []
        while True:
            page.wait_for_load_state()
            seen.append(page.url)
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 844})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url
            assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
            following = page.locator("a[rel=next]")
            if not following.count():
                break
            following.click()
        assert set(seen) == pages and len(seen) == len(pages)
        assert page.faults == []


def test_search_finds_and_leads_there(site, chromium):
    with opened(chromium, 390, 844) as page:
        page.goto((site / "01_leakage.html").as_uri())
        page.get_by_role("searchbox").click()
        page.keyboard.type("break-even cost")
        found = page.locator("#results li")
        found.first.wait_for()
        assert "06 · What is left after costs?" in found.first.inner_text()
        assert {"break", "even", "cost"} <= {mark.lower() for mark in page.locator("#results mark").all_inner_texts()}
        assert re.fullmatch(r"\d+ sections?", page.get_by_role("status").inner_text())
        assert page.locator("[aria-live]").count() == 0, "the results are not read aloud at every key"
        keep(page, "site-search-phone")
        found.last.scroll_into_view_if_needed()
        page.get_by_role("button", name="Close").click()
        assert page.locator("#results").is_hidden()
        page.get_by_role("searchbox").press("Enter")
        assert page.locator("#results").is_visible()
        page.keyboard.press("Enter")
        page.wait_for_url("**/06_cost_aware_backtesting.html#*")
        anchor = page.url.partition("#")[2]
        assert 56 <= page.locator(f"[id='{anchor}']").evaluate("e => e.getBoundingClientRect().top") < 844
        keep(page, "site-lesson-phone")
        page.fill("input[type=search]", "<img src=x onerror=alert(1)> floccinaucinihil")
        assert page.get_by_role("status").inner_text() == "Nothing found." and found.count() == 0
        page.keyboard.press("Escape")
        assert page.locator("#results").is_hidden() and page.faults == []
        page.locator("h1").click()
        page.keyboard.type("/cost")
        assert page.locator("#results").is_hidden(), "a key alone starts nothing"


def test_what_is_wide_moves_within_the_page_and_not_the_page(small, tmp_path, chromium):
    columns = "|".join("column" * 5 for _ in range(20))
    wide = new_output("stream", text=f"{'first':<150}last")
    lesson(small / "00_first.ipynb", "00 · Wide?", "## What & why\n```\n" + "long " * 60 + "\n```", "w" * 300,
           f"|{columns}|\n|{'|'.join(['---'] * 20)}|\n|{columns}|", outputs=[wide])
    build_site(small, tmp_path / "site", progress=False)
    with opened(chromium, 390, 844) as page:
        page.goto((tmp_path / "site" / "00_first.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for part in (".text_cell pre", ".wide", ".output"):
            assert page.locator(part).first.evaluate("part => part.scrollWidth > part.clientWidth"), part
