"""Pages for the browser: each executed notebook as HTML, and the one index that links them.

They load nothing from anywhere: the course is read offline, from a folder, by a
link or by double click.
"""

import html
from functools import cache
from pathlib import Path
from string import Template
from urllib.parse import quote

from mlkit.batch import format_value, recorded
from mlkit.notebooks import Outcome

TEMPLATES = Path(__file__).with_name("pages") / "nbconvert"

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem; border-bottom: 1px solid #d5dae0; }
small { color: #59636e; }
tr.failed { background: #fdecea; }
@media (max-width: 45rem) { h1 { font-size: 1.5rem; } }
"""

INDEX = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mlkit: the course</title>
<style>
$style.time { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: fit-content(60%) 1fr; gap: 0 1rem; margin: 0; font-size: .875rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
dt, dd, code, small { overflow-wrap: anywhere; }
td p { margin: 0 0 .5rem; }
@media (max-width: 45rem) {
  table, caption, tbody, tfoot, tr, tr > * { display: block; border: 0; padding: 0; }
  thead { display: none; }
  tr { border-bottom: 1px solid #d5dae0; padding: .75rem .25rem; }
  .status, .time { display: inline-block; margin: .25rem .75rem .5rem 0; }
}
</style>
</head>
<body>
<h1>The course, as it ran here</h1>
<table>
<caption>$summary</caption>
<thead><tr><th>Lesson</th><th>Status</th><th class="time">Time</th><th>What it found</th></tr></thead>
<tbody>
$rows
</tbody>
<tfoot><tr><th>$all_lessons</th><td></td><th class="time">$total</th><td></td></tr></tfoot>
</table>
<p>To change something and run it again: <code>make lab</code>.</p>
</body>
</html>
""")


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
        return (f"<p>{html.escape(name)} could not be made a page ({html.escape(repr(error))}): open the notebook "
                "itself.</p>")


def page_of(text: str, name: str) -> str:
    """An executed notebook's JSON as a page; name : of its file."""
    import nbformat

    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata.pop("widgets", None)      # live widgets need a kernel: the page shows their text
    page, _ = _exporter().from_notebook_node(notebook, resources={"metadata": {"name": title_of(notebook, Path(name))}})
    return page


@cache
def _exporter():
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="course", extra_template_basedirs=[str(TEMPLATES)])


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
    index.write_text(INDEX.substitute(style=STYLE, summary=summary, rows="\n".join(rows), total=total,
                                      all_lessons="So far" if waiting else "Total"), encoding="utf-8")
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
            f'<td class="time">{duration(outcome.seconds)}</td><td>{found}</td></tr>')


def duration(seconds: float) -> str:
    """Seconds as a person says them: '12.3 s', '2 min 05 s'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
