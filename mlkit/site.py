"""The lessons as a folder of web pages, as they were last saved: `make site`, `mlkit site`.

Nothing is run, and nothing is loaded from anywhere: the folder opens by double click, on a phone too, with search,
contents and next/previous links.

    build_site("notebooks", "runs/site")                # then open runs/site/index.html
    broken, elsewhere = stray_links("runs/site")        # broken must be empty
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from mlkit.course_page import HEADINGS, PAGES, heading_text, html_page, html_template, soup_of
from mlkit.start import Lesson, lessons

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

MARKER = "search-index.js"      # the file by which a folder is known to hold a site


@dataclass
class Page:
    """A notebook on its way to a page: its HTML, and its ids as JupyterLab's links know them and as they are here."""

    source: Path
    url: str
    title: str
    soup: BeautifulSoup
    anchors: dict[str, str] = field(default_factory=dict)


def build_site(notebooks, out, *, progress: bool = True) -> Path:
    """Write the site; returns the path of its index.html.

    notebooks : folder of the lessons, and of their exercises in `exercises/`
    out : folder for the site; what an earlier site left there is replaced

    Raises ValueError if there are no lessons, or `out` is a folder of something else.
    """
    from tqdm import tqdm

    notebooks, out = Path(notebooks), Path(out)
    taught = lessons(notebooks)
    if not taught:
        raise ValueError(f"no lessons in {notebooks}: run it in the folder that holds notebooks/")
    _clear(out)
    sources = [path for lesson in taught for path in (lesson.path, lesson.exercise) if path]
    bar = tqdm(sources, disable=not progress, leave=False, file=sys.stderr, desc="pages", unit="page")
    pages = {source.resolve(): _page_of(source, notebooks) for source in bar}
    for page in pages.values():
        _write(page, _steps(page, list(pages.values())), pages, out)
    _write_index(taught, pages, out)
    sections = [section for page in pages.values() for section in _sections(page)]
    (out / MARKER).write_text(f"window.MLKIT_SECTIONS = {json.dumps(sections, ensure_ascii=False)};\n",
                              encoding="utf-8")
    shutil.copyfile(PAGES / "site" / "site.js", out / "site.js")
    return out / "index.html"


def _clear(out: Path) -> None:
    """Make room for a site, and delete no folder of anything else."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise ValueError(f"{out} is not empty, and holds no site: choose another folder, or empty it first")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()      # first: an interrupted site can be written again


# ---------------------------------------------------------------- a notebook as HTML


def _page_of(source: Path, notebooks: Path) -> Page:
    import nbformat

    soup = soup_of(nbformat.read(source, as_version=4))
    heading = soup.find("h1")
    url = source.relative_to(notebooks).with_suffix(".html").as_posix()
    page = Page(source, url, heading_text(heading) if heading else source.stem, soup)
    for cell in soup.select("div.cell[id]"):
        del cell["id"]
    for heading in soup.find_all(HEADINGS):
        _give_id(heading, page)
    return page


def _give_id(heading, page: Page) -> None:
    """A short id of its own for a heading; JupyterLab's is remembered for links that use it."""
    link = heading.find("a", class_="anchor-link")
    slug = re.sub(r"[^a-z0-9]+", "-", heading_text(heading).lower()).strip("-") or "section"
    unique = next(name for name in (slug, *(f"{slug}-{n}" for n in range(2, 1000)))
                  if not page.soup.find(HEADINGS, id=name))
    page.anchors.setdefault(unquote(heading.get("id", unique)), unique)
    heading["id"] = unique
    if link:
        link["href"] = f"#{unique}"


def _write(page: Page, steps: list[dict], pages: dict[Path, Page], out: Path) -> None:
    """Links between notebooks become links between pages; the rest of the page is put around."""
    for link in page.soup.select("a[href], img[src]"):
        name = "href" if link.name == "a" else "src"
        link[name] = _rewritten(link[name], page, pages)
    contents = [{"level": int(heading.name[1]), "id": heading["id"], "text": heading_text(heading)}
                for heading in page.soup.find_all(["h2", "h3"])]
    _save(out / page.url, page.title, str(page.soup), root="../" * page.url.count("/"), contents=contents, steps=steps,
          kind="lesson with-contents" if contents else "lesson")


def _rewritten(link: str, page: Page, pages: dict[Path, Page]) -> str:
    """A link of a notebook as the site needs it; what does not lead to a notebook of the site stays as it is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return link
    target = pages.get((page.source.parent / unquote(parts.path)).resolve()) if parts.path else page
    if target is None:
        return link
    anchor = unquote(parts.fragment)
    anchor = f"#{target.anchors.get(anchor, anchor)}" if anchor else ""
    return (quote(_from(page.url, target.url)) if parts.path else "") + anchor


def _from(here: str, there: str) -> str:
    return os.path.relpath(there, Path(here).parent).replace(os.sep, "/")


def _steps(page: Page, pages: list[Page]) -> list[dict]:
    """The pages before and after this one."""
    place = pages.index(page)
    steps = [("prev", "Before", pages[place - 1])] if place else []
    steps += [("next", "Next", pages[place + 1])] if place + 1 < len(pages) else []
    return [{"rel": rel, "word": word, "title": other.title, "url": quote(_from(page.url, other.url))}
            for rel, word, other in steps]


def _write_index(taught: list[Lesson], pages: dict[Path, Page], out: Path) -> None:
    rows = [{"number": lesson.number, "question": lesson.question, "minutes": lesson.minutes,
             "url": quote(pages[lesson.path.resolve()].url),
             "exercise": quote(pages[lesson.exercise.resolve()].url) if lesson.exercise else ""} for lesson in taught]
    body = html_template("site/index.html.j2").render(lessons=rows, exercises=any(row["exercise"] for row in rows))
    _save(out / "index.html", "mlkit: machine learning for trading", body, root="")


def _save(path: Path, title: str, body: str, **parts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html_page(title, body, "site/page.html.j2", **parts), encoding="utf-8")


# ---------------------------------------------------------------- search and links


def _sections(page: Page) -> list[dict]:
    """What the search looks through: each heading with the text, code and output until the next."""
    sections = [{"url": page.url, "page": page.title, "heading": page.title, "text": []}]
    for element in page.soup.find_all([*HEADINGS, "p", "li", "pre", "td", "th", "img"]):
        if element.name in HEADINGS:
            if element.name == "h1":
                sections[-1]["url"] = f"{page.url}#{element['id']}"
            else:
                sections.append({"url": f"{page.url}#{element['id']}", "page": page.title,
                                 "heading": heading_text(element), "text": []})
        elif not element.find_parent(["li", "td", "th"]):
            sections[-1]["text"].append(element.get("alt", "") if element.name == "img" else element.get_text(" ")
                                        if element.name != "pre" else element.get_text())
    return [section | {"text": " ".join(" ".join(section["text"]).split())} for section in sections]


def stray_links(folder) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Links and sources of all pages under a folder that do not lead to a place in it, as (page, link).

    Returns those that lead nowhere, and those that lead to the web, which a reader without a network cannot follow.
    What an output links to is its program's affair.
    """
    from bs4 import BeautifulSoup

    folder = Path(folder).resolve()
    soups = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
             for path in sorted(folder.rglob("*.html"))}
    ids = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in soups.items()}
    broken, elsewhere = [], []
    for path, soup in soups.items():
        for tag in soup.select("[href], [src]"):
            link = tag.get("href", tag.get("src"))
            if not tag.find_parent(class_="output") and not _leads_somewhere(link, path, folder, ids):
                stray = elsewhere if urlsplit(link).scheme in ("http", "https", "mailto") else broken
                stray.append((path.relative_to(folder).as_posix(), link))
    return broken, elsewhere


def _leads_somewhere(link: str, page: Path, folder: Path, ids: dict[Path, set]) -> bool:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    inside = not parts.scheme and not parts.netloc and target.is_file() and folder in target.parents
    return inside and (not parts.fragment or parts.fragment in ids.get(target, ()))
