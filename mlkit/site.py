"""The lessons as a folder of web pages, as they ran when they were committed: `make site`, `mlkit site`.

Nothing is run, and nothing is loaded from anywhere: the folder opens by double click, on a phone too, with search,
contents and next/previous links. A link that leads nowhere is an error.

    build_site("notebooks", "runs/site")        # then open runs/site/index.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from mlkit.start import Lesson, lessons

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

ASSETS = Path(__file__).with_name("pages") / "site"
HEADINGS = ["h1", "h2", "h3", "h4"]


class BrokenLinks(ValueError):
    """A site with links that lead nowhere; `.links` has them as (page, link)."""

    def __init__(self, links: list[tuple[str, str]]):
        self.links = links
        super().__init__("links that lead nowhere: " + "; ".join(f"{page} to {link}" for page, link in links))


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

    Raises ValueError if there are no lessons, or `out` is a folder of something else; BrokenLinks if a link of the
    finished site leads nowhere.
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
    (out / "search-index.js").write_text(f"window.MLKIT_SECTIONS = {json.dumps(sections, ensure_ascii=False)};\n",
                                         encoding="utf-8")
    (out / "site.css").write_text((ASSETS / "site.css").read_text(encoding="utf-8") + code_colours(), encoding="utf-8")
    shutil.copyfile(ASSETS / "site.js", out / "site.js")
    broken = broken_links(out)
    if broken:
        raise BrokenLinks(broken)
    return out / "index.html"


def _clear(out: Path) -> None:
    """Make room for a site, and delete no folder of anything else."""
    if out.exists() and any(out.iterdir()):
        if not (out / "search-index.js").is_file():
            raise ValueError(f"{out} is not empty, and holds no site: choose another folder, or empty it first")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


# ---------------------------------------------------------------- a notebook as HTML


def _page_of(source: Path, notebooks: Path) -> Page:
    import nbformat
    from bs4 import BeautifulSoup

    notebook = nbformat.read(source, as_version=4)
    describe_pictures(notebook)
    body, _ = _exporter().from_notebook_node(notebook)
    soup = BeautifulSoup(body, "html.parser")
    heading = soup.find("h1")
    url = source.relative_to(notebooks).with_suffix(".html").as_posix()
    page = Page(source, url, heading.get_text().rstrip("¶").strip() if heading else source.stem, soup)
    for cell in soup.select("div.cell[id]"):
        del cell["id"]
    for heading in soup.find_all([*HEADINGS, "h5", "h6"]):
        if heading.find_parent(class_="output"):
            heading.name, heading["class"] = "p", "caption"     # a table's own heading is none of the page
        else:
            _give_id(heading, page)
    return page


@cache
def _exporter():
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)


def describe_pictures(notebook) -> None:
    """Give each picture without a description the words that stand beside it in the notebook."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/svg+xml", "image/jpeg"):
                if kind in output.get("data", {}):
                    about = output.metadata.setdefault(kind, {})
                    about.setdefault("alt", output.data.get("text/plain", ""))


def code_colours() -> str:
    """The style rules of the classes that mark words of code."""
    from pygments.formatters import HtmlFormatter

    return f"\n{HtmlFormatter(style='default', nobackground=True).get_style_defs('.highlight')}\n"


def _give_id(heading, page: Page) -> None:
    """A short id of its own for a heading; JupyterLab's is remembered for links that use it."""
    link = heading.find("a", class_="anchor-link")
    words = heading.get_text().rstrip("¶").strip()
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "section"
    unique = next(name for name in (slug, *(f"{slug}-{n}" for n in range(2, 1000)))
                  if not page.soup.find(HEADINGS, id=name))
    page.anchors.setdefault(unquote(heading.get("id", unique)), unique)
    heading["id"] = unique
    if link:
        link["href"], link["aria-label"] = f"#{unique}", f"Link to {words}"


def _write(page: Page, steps: list[dict], pages: dict[Path, Page], out: Path) -> None:
    """Links between notebooks become links between pages; the rest of the page is put around."""
    for link in page.soup.select("a[href], img[src]"):
        name = "href" if link.name == "a" else "src"
        link[name] = _rewritten(link[name], page, pages)
    for table in page.soup.select(".text_cell table"):
        table.wrap(page.soup.new_tag("div", attrs={"class": "wide"}))
    for text in page.soup.select(".output pre"):
        if not re.search(r"\S {2,}\S", text.get_text()):      # no columns: sentences, which may be broken anywhere
            text["class"] = "words"
    contents = [{"level": int(heading.name[1]), "id": heading["id"], "text": heading.get_text().rstrip("¶").strip()}
                for heading in page.soup.find_all(["h2", "h3"])]
    _save(out / page.url, "../" * page.url.count("/"), title=page.title, body=str(page.soup), contents=contents,
          steps=steps)


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
    body = _template("index.html.j2").render(lessons=rows, exercises=any(row["exercise"] for row in rows))
    _save(out / "index.html", "", title="mlkit: machine learning for trading", body=body)


def _save(path: Path, root: str, **parts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_template("page.html.j2").render(root=root, **parts), encoding="utf-8")


@cache
def _template(name: str):
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(ASSETS), autoescape=True).get_template(name)


# ---------------------------------------------------------------- search and links


def _sections(page: Page) -> list[dict]:
    """What the search looks through: each heading with the text, code and output until the next."""
    sections = [{"url": page.url, "page": page.title, "heading": page.title, "text": []}]
    for element in page.soup.find_all([*HEADINGS, "p", "li", "pre", "td", "th", "img"]):
        if element.name in HEADINGS:
            words = element.get_text().rstrip("¶").strip()
            if element.name == "h1":
                sections[-1]["url"] = f"{page.url}#{element['id']}"
            else:
                sections.append({"url": f"{page.url}#{element['id']}", "page": page.title, "heading": words, "text": []})
        elif not element.find_parent(["li", "td", "th"]):
            sections[-1]["text"].append(element.get("alt", "") if element.name == "img" else element.get_text(" ")
                                        if element.name != "pre" else element.get_text())
    return [section | {"text": " ".join(" ".join(section["text"]).split())} for section in sections]


def broken_links(folder) -> list[tuple[str, str]]:
    """Links and sources of all pages under a folder that lead nowhere in it, as (page, link).

    What leads to another machine is counted as broken too: a site is read offline.
    """
    from bs4 import BeautifulSoup

    folder = Path(folder).resolve()
    soups = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in sorted(folder.rglob("*.html"))}
    ids = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in soups.items()}
    broken = []
    for path, soup in soups.items():
        for tag in soup.select("[href], [src]"):
            link = tag.get("href", tag.get("src"))
            if not _leads_somewhere(link, path, folder, ids):
                broken.append((path.relative_to(folder).as_posix(), link))
    return broken


def _leads_somewhere(link: str, page: Path, folder: Path, ids: dict[Path, set]) -> bool:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    inside = not parts.scheme and not parts.netloc and target.is_file() and folder in target.parents
    return inside and (not parts.fragment or parts.fragment in ids.get(target, ()))
