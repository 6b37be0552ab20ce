"""What a notebook found, kept in the notebook: named results. Part of `mlkit.batch`."""

import html
import math
import numbers
from pathlib import Path
from typing import Any

from mlkit.progress import note_finished

MIME = "application/vnd.mlkit.record+json"


def record(**results) -> None:
    """Put named results into the notebook's own outputs, and show them.

    Parameters
    ----------
    results : numbers (numpy's too), strings, bools or None, by name. NaN and
        infinities are kept: JSON has none, so the bundle holds `null` as their
        `value` and says which it was in `not_finite`.

    Call it as often as you like: `recorded` merges the calls, and for the same
    name the later one wins. Outside a notebook it prints. A lesson ends with it, and
    is then finished: `mlkit.progress` notes that for the learner who has it open.

    Raises
    ------
    TypeError naming the result that is none of these, or if there is none at all.
    """
    if not results:
        raise TypeError("record() keeps named results: record(sharpe=0.41, trades=112)")
    values = {name: _plain(name, value) for name, value in results.items()}
    shown = {name: format_value(value) for name, value in values.items()}
    width = max(map(len, shown))
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in shown.items())
    record_as("\n".join(f"{name:<{width}}  {value}" for name, value in shown.items()), values, f"<table>{rows}</table>")
    note_finished()


def record_as(text: str, results: dict, page: str | None = None) -> None:
    """As `record`, shown as this text (and HTML page, if there is one); outside a notebook it prints."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(text)
        return
    content = {"results": to_entries({name: _plain(name, value) for name, value in results.items()})}
    display({MIME: content, "text/plain": text} | ({"text/html": page} if page else {}), raw=True)


def recorded(notebook) -> dict[str, Any]:
    """The results a notebook recorded, in the order of their names' first appearance.

    Parameters
    ----------
    notebook : path of an executed notebook, or the notebook itself (nbformat 4).

    Returns
    -------
    dict of name -> value; empty when nothing was recorded.
    """
    return results_in(read_notebook(notebook)["cells"])


def results_in(cells: list) -> dict[str, Any]:
    """The results recorded in the outputs of these cells, as `recorded`."""
    entries = [entry for cell in cells for output in cell.get("outputs", [])
               for entry in output.get("data", {}).get(MIME, {}).get("results", [])]
    return from_entries(entries)


def to_entries(values: dict) -> list[dict]:
    """Named values as JSON that every reader takes: it has no NaN and no infinity."""
    return [_entry(name, value) for name, value in values.items()]


def from_entries(entries: list[dict]) -> dict[str, Any]:
    """What `to_entries` was given."""
    return {entry["name"]: float(entry["not_finite"]) if entry.get("not_finite") else entry["value"]
            for entry in entries}


def format_value(value) -> str:
    """A recorded value as a person reads it: six significant digits, and no more."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _entry(name: str, value) -> dict:
    if isinstance(value, float) and not math.isfinite(value):
        return {"name": name, "value": None, "not_finite": str(value)}
    return {"name": name, "value": value}


def _plain(name: str, value):
    """The value as JSON knows it; numpy's scalars become Python's."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"record({name}=...): a result is a number, a string, a bool or None, not a "
                    f"{type(value).__name__}: pick one number from it, or use str({name})")


def read_notebook(notebook):
    """A notebook's content (nbformat 4), from its path or as it is."""
    import nbformat

    return nbformat.read(notebook, as_version=4) if isinstance(notebook, (str, Path)) else notebook
