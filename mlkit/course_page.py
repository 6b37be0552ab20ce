"""Pages for the browser, all of one style: each executed notebook as HTML, and the one index that links them.

They load nothing from anywhere: the course is read offline, from a folder, by a
link or by double click.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlkit.batch import format_value, recorded
from mlkit.notebooks import Outcome

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

PAGES = Path(__file__).with_name("pages")
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]

INDEX = Template("""<h1>The course, as it ran here</h1>
<table class="rows stacked">
<caption>$summary</caption>
<thead><tr><th>Lesson</th><th>Status</th><th class="number">Time</th><th>What it found</th></tr></thead>
<tbody>
$rows
</tbody>
<tfoot><tr><th>$all_lessons</th><td></td><th class="number">$total</th><td></td></tr></tfoot>
</table>
<p>To change something and run it again: <code>make lab</code>.</p>
""")


def html_page(title: str, body: str, template: str = "page.html.j2", **parts) -> str:
    """A whole page with the one style sheet in it; title : text, body : HTML"""
    return html_template(template).render(title=title, body=body, style=_style(), **parts)


@cache
def html_template(name: str):
    """A template of `mlkit/pages`."""
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(PAGES), autoescape=True, trim_blocks=True).get_template(name)


@cache
def _style() -> str:
    """The rules of every page, and the colours of the words of code."""
    from pygments.formatters import HtmlFormatter

    colours = HtmlFormatter(style="default", nobackground=True).get_style_defs(".highlight")
    return f"{(PAGES / 'style.css').read_text(encoding='utf-8')}{colours}\n"


def render_notebook(executed: Path) -> Path:
    """Write an executed notebook as a page beside it; returns the page's path."""
    path = executed.with_suffix(".html")
    path.write_text(page_or_reason(executed.read_text(encoding="utf-8"), executed.name), encoding="utf-8")
    return path


def page_or_reason(text: str, name: str) -> str:
    """As `page_of`; a page that says why there is none if that fails: what a notebook found is not lost for that."""
    try:
        return page_of(text, name)
    except Exception as error:      # whatever is in a notebook
        return html_page(name, f"<p>{html.escape(name)} could not be made a page ({html.escape(repr(error))}): open "
                               "the notebook itself.</p>")


def page_of(text: str, name: str) -> str:
    """An executed notebook's JSON as a page; name : of its file."""
    import nbformat

    notebook = nbformat.reads(text, as_version=4)
    return html_page(title_of(notebook, Path(name)), str(soup_of(notebook)), kind="lesson")


def soup_of(notebook) -> BeautifulSoup:
    """The cells of a notebook as HTML, for a page of ours: every picture described, nothing wider than a phone."""
    from bs4 import BeautifulSoup

    notebook.metadata.pop("widgets", None)      # live widgets need a kernel: the page shows their text
    describe_pictures(notebook)
    body, _ = _exporter().from_notebook_node(notebook)
    soup = BeautifulSoup(body, "html.parser")
    for link in soup.select("a.anchor-link"):
        link["aria-label"] = f"Link to {heading_text(link.parent)}"
    for table in soup.select(".text_cell table"):
        table.wrap(soup.new_tag("div", attrs={"class": "wide"}))
    for text in soup.select(".output pre"):
        if not re.search(r"\S {2,}\S", text.get_text()):      # no columns: sentences, which may be broken anywhere
            text["class"] = "words"
    return soup


def heading_text(heading) -> str:
    """The words of a heading, without its link's."""
    return heading.get_text().rstrip("¶").strip()


def describe_pictures(notebook) -> None:
    """Give each picture without a description the words that stand beside it in the notebook."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/svg+xml", "image/jpeg"):
                if kind in output.get("data", {}):
                    about = output.metadata.setdefault(kind, {})
                    about.setdefault("alt", output.data.get("text/plain", ""))


@cache
def _exporter():
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="basic", raw_template=(PAGES / "cells.html.j2").read_text(encoding="utf-8"),
                        exclude_input_prompt=True, exclude_output_prompt=True)


def title_of(notebook, path: Path) -> str:
    """A notebook's first heading, or its file's name."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "papermill-error-cell-tag" not in cell.metadata.get("tags", []):
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line[2:].strip()
    return path.stem


def write_index(out: Path, outcomes: list[Outcome], waiting=()) -> Path:
    """Write `index.html`: a row a notebook with links, status, time and recorded results, and the time in all.

    Parameters
    ----------
    out : the folder that also holds the executed notebooks and their pages.
    outcomes : notebooks that ran.
    waiting : paths of those still to run.
    """
    count, failed = len(outcomes), sum(outcome.failed for outcome in outcomes)
    total = duration(sum(outcome.seconds for outcome in outcomes))
    summary = f"{count} notebook{'s' * (count != 1)} in {total}; {failed or 'none'} failed."
    if waiting:
        summary += f" {len(waiting)} still to run."
    rows = [_row(outcome) for outcome in outcomes]
    rows += [f'<tr><td>{html.escape(Path(path).stem)}</td><td class="status">waiting</td><td></td><td></td></tr>'
             for path in waiting]
    index = out / "index.html"
    body = INDEX.substitute(summary=summary, rows="\n".join(rows), total=total,
                            all_lessons="So far" if waiting else "Total")
    index.write_text(html_page("mlkit: the course", body), encoding="utf-8")
    return index


def _row(outcome: Outcome) -> str:
    name, title, found = html.escape(outcome.notebook.name), html.escape(outcome.notebook.stem), ""
    if outcome.output:
        import nbformat

        notebook = nbformat.read(outcome.output, as_version=4)
        title = html.escape(title_of(notebook, outcome.notebook))
        file = quote(outcome.output.stem)
        title = f'<a href="{file}.html">{title}</a><br><small><a href="{file}.ipynb">{name}</a> for JupyterLab</small>'
        told = notebook.metadata.get("papermill", {}).get("parameters", {})
        if told:
            told = html.escape(", ".join(f"{key} = {value}" for key, value in told.items()))
            title += f"<br><small>run with {told}</small>"
        found = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(format_value(value))}</dd>"
                        for key, value in recorded(notebook).items())
        found = f"<dl>{found}</dl>" if found else ""
    if outcome.failed:
        where = f"<strong>{html.escape(outcome.cell)}</strong>: " if outcome.cell else ""
        found = f"<p>{where}<code>{html.escape(outcome.error)}</code></p>{found}"
    return (f'<tr class="{outcome.status}"><td>{title}</td><td class="status">{outcome.status}</td>'
            f'<td class="number">{duration(outcome.seconds)}</td><td>{found}</td></tr>')


def duration(seconds: float) -> str:
    """Seconds as a person says them: '12.3 s', '2 min 05 s'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
