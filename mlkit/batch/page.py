"""A batch on one page: `index.html`, and `table.csv` beside it. Part of `mlkit.batch`.

Failures first, a table that sorts by a click, a heat map for each number that a grid of two parameters gave. Loads
nothing from anywhere.
"""

import html
import math
from string import Template
from urllib.parse import quote

import pandas as pd

from mlkit.batch.plan import SUMMARY
from mlkit.batch.records import format_value
from mlkit.course_page import duration, html_page

MOST_ROWS = 2_000       # on the page; the table in the file holds them all
MOST_CELLS = 20_000     # of all heat maps together
PALE, DARK = (247, 251, 255), (8, 48, 107)      # of the heat map: lightness alone tells them apart

PAGE = Template("""<h1>$title</h1>
<p>$summary</p>
$heat
<div class="wide">
<table class="rows runs">
<caption>A click on a heading sorts. $told</caption>
<thead><tr>$headings</tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>
<p><small>For other programs: <a href="table.csv">table.csv</a>, or <code>mlkit.collect(folder)</code>.</small></p>
<script>
for (const button of document.querySelectorAll(".runs th button")) button.onclick = () => {
  const heading = button.parentElement, column = heading.cellIndex, body = document.querySelector(".runs tbody");
  const sign = heading.ariaSort === "ascending" ? -1 : 1;
  for (const other of heading.parentElement.cells) other.ariaSort = null;
  heading.ariaSort = sign > 0 ? "ascending" : "descending";
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => a === "" || b === "" ? (a === "") - (b === "")
    : sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
};
const choice = document.querySelector("select");
if (choice) choice.onchange = () => {
  for (const map of document.querySelectorAll("figure")) map.hidden = map.id !== "heat-" + choice.value;
};
</script>
""")


def write_pages(place, plan, table: pd.DataFrame, pages: bool) -> None:
    """Put `index.html` and `table.csv` into a batch's folder.

    plan : what was asked for, of which the table may hold a part
    table : of `collect`; pages : whether to link to the pages of those executed notebooks that have one
    """
    place.write("table.csv", table.to_csv(index=False))
    pages = set(place.names()) if pages else set()
    varied = varied_parameters(plan)
    counts = table["status"].value_counts()
    summary = (f"{len(table):,} of {len(plan):,} runs: {counts.get('ok', 0):,} ok, <strong>{counts.get('failed', 0):,} "
               f"failed</strong>; {duration(table['duration'].sum())} of work.")
    fixed = [f"{name} = {table[name].iloc[0]}" for name in plan.known if name in table and name not in varied]
    summary += f" In all of them {html.escape(', '.join(fixed))}." if fixed else ""
    first = table.iloc[(table["status"] == "ok").to_numpy().argsort(kind="stable")].head(MOST_ROWS)
    told = f"The first {len(first):,} of {len(table):,} rows." if len(table) > len(first) else "Failures come first."
    results = [name for name in table if name not in SUMMARY and name not in plan.known]
    names = [*varied, "status", *results, "duration"]
    headings = "".join(f"<th{_class(first, name)}><button>{html.escape(name)}</button></th>" for name in names)
    rows = (_row(row, names, pages) for row in first.to_dict("records"))
    title = f"{plan.notebook.stem}: {len(plan):,} run{'s' * (len(plan) != 1)}"
    place.write("index.html", html_page(title, PAGE.substitute(
        title=html.escape(title), summary=summary, heat=_heat_maps(table, varied, results, pages), told=told,
        headings=f"<th>run</th>{headings}", rows="\n".join(rows))))


def varied_parameters(plan) -> list[str]:
    """The parameters of a plan that take more than one value."""
    values: dict[str, set] = {}
    for block in plan.blocks:
        for name, each in block.items():
            values.setdefault(name, set()).update(map(repr, each))
    for name in values:
        if any(name not in block for block in plan.blocks):
            values[name].add(repr(plan.known[name].default))
    return [name for name in plan.known if len(values.get(name, ())) > 1]


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _class(table: pd.DataFrame, name: str) -> str:
    return ' class="number"' if pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool else ""


def _row(row: dict, names: list[str], pages: set[str]) -> str:
    cells = [f"<td>{_links(row, pages)}</td>"]
    for name in names:
        value = row[name]
        if name == "status" and row["error"]:
            where = f"<strong>{html.escape(row['cell'])}</strong>: " if row["cell"] else ""
            why = f"{value}. {where}<code>{html.escape(row['error'])}</code>"
            cells.append(f'<td class="error" data-value="{value}">{why}</td>')
        elif _is_number(value):
            missing = isinstance(value, float) and math.isnan(value)
            shown = "" if missing else duration(value) if name == "duration" else format_value(value)
            cells.append(f'<td class="number" data-value="{"" if missing else value}">{shown}</td>')
        else:
            cells.append(f"<td>{'' if value is None else html.escape(format_value(value))}</td>")
    return f'<tr class="{row["status"]}">{"".join(cells)}</tr>'


def _links(row: dict, pages: set[str]) -> str:
    if not row["file"]:
        return "not written"
    page = _page_of(row)
    read = f'<a href="{quote(page)}">read</a> ' if page in pages else ""
    return f'{read}<a href="{quote(row["file"])}">notebook</a>'


def _page_of(row: dict) -> str:
    return row["file"].removesuffix(".ipynb") + ".html"


def _heat_maps(table: pd.DataFrame, varied: list[str], results: list[str], pages: set[str]) -> str:
    """A heat map for each result that is a number, of a grid in which two parameters vary; "" for another."""
    results = [name for name in results if any(_is_number(value) and math.isfinite(value) for value in table[name])]
    if len(varied) != 2 or not results:
        return ""
    down, across = ([*dict.fromkeys(table[name].map(repr))] for name in varied)
    results = results[:MOST_CELLS // (len(down) * len(across))]
    rows = {(repr(row[varied[0]]), repr(row[varied[1]])): row for row in table.to_dict("records")}
    figures = [_heat_map(rows, varied, down, across, name, pages, hidden=name != results[0]) for name in results]
    options = "".join(f"<option>{html.escape(name)}</option>" for name in results)
    return f'<h2><label>Heat map of <select>{options}</select></label></h2>\n{"".join(figures)}' if results else ""


def _heat_map(rows: dict, varied: list[str], down: list, across: list, name: str, pages: set[str], *,
              hidden: bool) -> str:
    numbers = {key: row[name] for key, row in rows.items() if _is_number(row[name]) and math.isfinite(row[name])}
    low, high = min(numbers.values()), max(numbers.values())
    best = max(numbers, key=numbers.get)
    place = ", ".join(f"{each} = {rows[best][each]}" for each in varied)
    title = f"{name}: {format_value(low)} (pale) to {format_value(high)} (dark), the highest at {place}"
    text = {repr(row[each]): format_value(row[each]) for row in rows.values() for each in varied}
    head = "".join(f"<th>{html.escape(text[value])}</th>" for value in across)
    lines = []
    for y in down:
        cells = "".join(_heat_cell(rows.get((y, x)), numbers.get((y, x)), low, high, pages) for x in across)
        lines.append(f"<tr><th>{html.escape(text[y])}</th>{cells}</tr>")
    corner = f"{html.escape(varied[0])} \\ {html.escape(varied[1])}"
    return (f'<figure id="heat-{html.escape(name)}"{" hidden" if hidden else ""} style="margin: 0"><figcaption>'
            f'{html.escape(title)}</figcaption><div class="wide"><table class="heat"><tr><th>{corner}</th>{head}</tr>\n'
            + "\n".join(lines) + "</table></div></figure>\n")


def _heat_cell(row: dict | None, value, low: float, high: float, pages: set[str]) -> str:
    if row is None or value is None:
        word = "not run" if row is None else row["status"] if row["status"] != "ok" else "none"
        return f'<td class="none">{word}</td>'
    share = (value - low) / (high - low) if high > low else 0.0
    red, green, blue = (round(pale + share * (dark - pale)) for pale, dark in zip(PALE, DARK))
    ink = "#fff" if share > 0.65 else "#000"      # where both stand out equally
    file = quote(_page_of(row) if _page_of(row) in pages else row["file"])
    return f'<td style="background: rgb({red} {green} {blue}); color: {ink}"><a href="{file}">{value:.4g}</a></td>'
