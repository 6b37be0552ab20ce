"""What a notebook found, kept in the notebook: named results, and the parameters it takes.

An executed notebook is its own record. Its last cell says what matters, anyone
can read it back later, and parameters given from outside are checked against the
notebook's `parameters` cell before a kernel starts (papermill only warns of an
unknown name, and passes the text "false" for a flag, which is true).

    record(sharpe=0.41, trades=112)                  # in the notebook's last cell
    recorded("runs/course/00_first_ml_strategy.ipynb")       # {'sharpe': 0.41, 'trades': 112}
"""

import ast
import html
import math
import numbers
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.progress import note_finished

MIME = "application/vnd.mlkit.record+json"


class ParameterError(ValueError):
    """A parameter that the notebook does not take, or a value that does not fit it."""


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
    content = {"results": [_entry(name, _plain(name, value)) for name, value in results.items()]}
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
    results: dict[str, Any] = {}
    for cell in _read(notebook).cells:
        for output in cell.get("outputs", []):
            for entry in output.get("data", {}).get(MIME, {}).get("results", []):
                unusual = entry.get("not_finite")
                results[entry["name"]] = float(unusual) if unusual else entry["value"]
    return results


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


@dataclass(frozen=True, slots=True)
class Parameter:
    """One line of a notebook's `parameters` cell: its name, default and type (None when unknown)."""

    name: str
    default: Any
    type: type | None


def parameters_of(notebook) -> dict[str, Parameter] | None:
    """What a notebook can be told from outside, read from its cell tagged `parameters`.

    The type is the annotation's where there is one (`cost_bps: float = 1`), else the default's.

    Returns
    -------
    dict of name -> Parameter, or None when no cell has the tag.
    """
    cell = next((cell for cell in _read(notebook).cells
                 if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])), None)
    if cell is None:
        return None
    found = {}
    for line in ast.parse(cell.source).body:
        if isinstance(line, ast.Assign) and len(line.targets) == 1:
            target, annotation = line.targets[0], None
        elif isinstance(line, ast.AnnAssign) and line.value is not None:
            target, annotation = line.target, ast.unparse(line.annotation).strip("'\"")
        else:
            continue
        if isinstance(target, ast.Name):
            found[target.id] = _parameter(target.id, line.value, annotation)
    return found


def _parameter(name: str, expression: ast.expr, annotation: str | None) -> Parameter:
    try:
        default = ast.literal_eval(expression)
        kind = None if default is None else type(default)
    except ValueError:                      # a call, say: what it gives is not known before it runs
        default, kind = ast.unparse(expression), None
    named = {"bool": bool, "int": int, "float": float, "str": str}.get(annotation or "")
    return Parameter(name, default, named or kind)


def check_parameters(notebook, given: dict[str, Any]) -> dict[str, Any]:
    """The given values, each cast to the type the notebook's `parameters` cell has for it.

    Parameters
    ----------
    notebook : path of a notebook, or the notebook itself.
    given : name -> value; text (as it comes from a command line) is cast, other values are checked.

    Raises
    ------
    ParameterError listing what there is, when a name is unknown, a value does not
    fit, or the notebook has no `parameters` cell and would ignore them all.
    """
    if not given:
        return {}
    label = notebook if isinstance(notebook, (str, Path)) else "this notebook"
    known = parameters_of(notebook)
    if known is None:
        raise ParameterError(f"{label} has no cell tagged 'parameters' and would ignore {', '.join(given)}: "
                             "tag the cell that sets them (JupyterLab: the gears at the right, Cell Tags)")
    unknown = [name for name in given if name not in known]
    if unknown:
        there = "\n".join(f"  {p.name} = {p.default!r}" for p in known.values()) or "  (none)"
        raise ParameterError(f"{label} has no parameter {', '.join(map(repr, unknown))}. It has:\n{there}")
    return {name: _cast(known[name], value, label) for name, value in given.items()}


def _cast(parameter: Parameter, value, label):
    kind = parameter.type
    try:
        if isinstance(value, str):
            return _from_text(value, kind)
        if kind is None or type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
    except (ValueError, SyntaxError):
        pass
    expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
    raise ParameterError(f"{label}: {parameter.name}={value!r} is not {expected} "
                         f"(the notebook has {parameter.name} = {parameter.default!r})")


def _from_text(text: str, kind: type | None):
    if kind is bool:
        return _flag(text)
    if kind in (int, float, str):
        return kind(text)
    if kind is None:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    value = ast.literal_eval(text)          # a list, tuple, dict or set, written as in Python
    if type(value) is not kind:
        raise ValueError(text)
    return value


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "yes", "1", "false", "no", "0"):
        raise ValueError(text)
    return word in ("true", "yes", "1")


def _read(notebook):
    import nbformat

    return nbformat.read(notebook, as_version=4) if isinstance(notebook, (str, Path)) else notebook
