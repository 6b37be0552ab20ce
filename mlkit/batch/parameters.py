"""The parameters a notebook takes, and whether a value fits. Part of `mlkit.batch`.

Values given from outside are checked against the notebook's `parameters` cell before a kernel
starts: papermill only warns of an unknown name, casts nothing, passes the text "false" for a flag,
which is true, and writes a tuple as a text.
"""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.batch.records import read_notebook


TAG_IT = "tag the cell that sets them (JupyterLab: the gears at the right, Cell Tags)"
_NOT = object()         # what no value is


class ParameterError(ValueError):
    """A parameter that the notebook does not take, or a value that does not fit it."""


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
    cell = next((cell for cell in read_notebook(notebook).cells
                 if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])), None)
    if cell is None:
        return None
    found = {}
    for line in _lines(cell.source):
        if isinstance(line, ast.Assign) and len(line.targets) == 1:
            target, annotation = line.targets[0], None
        elif isinstance(line, ast.AnnAssign) and line.value is not None:
            target, annotation = line.target, ast.unparse(line.annotation).strip("'\"")
        else:
            continue
        if isinstance(target, ast.Name):
            found[target.id] = _parameter(target.id, line.value, annotation)
    return found


def _lines(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"the cell tagged 'parameters' is not plain Python ({error.msg}: {error.text}): "
                             "it should hold lines such as `window = 20`, and nothing else") from error


def _parameter(name: str, expression: ast.expr, annotation: str | None) -> Parameter:
    try:
        default = ast.literal_eval(expression)
        kind = None if default is None else type(default)
    except ValueError:                      # a call, say: what it gives is not known before it runs
        default, kind = ast.unparse(expression), None
    named = {"bool": bool, "int": int, "float": float, "str": str}.get(annotation or "")
    return Parameter(name, default, named or kind)


def defaults_of(known: dict[str, Parameter]) -> dict[str, Any]:
    """The defaults that are plain values, by name, as JSON has them: a tuple is a list, a set its text."""
    plain = {name: each.default for name, each in known.items() if each.type is not None or each.default is None}
    return json.loads(json.dumps(plain, default=repr))


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
        raise ParameterError(f"{label} has no cell tagged 'parameters' and would ignore {', '.join(given)}: {TAG_IT}")
    return fitted(known, given, label)


def fitted(known: dict[str, Parameter], given: dict[str, Any], label) -> dict[str, Any]:
    """The given values, cast, or refused as `check_parameters` does; label : the notebook's name in the error."""
    unknown = [name for name in given if name not in known]
    if unknown:
        there = "\n".join(f"  {p.name} = {p.default!r}" for p in known.values()) or "  (none)"
        raise ParameterError(f"{label} has no parameter {', '.join(map(repr, unknown))}. It has:\n{there}")
    return {name: _cast(known[name], value, label) for name, value in given.items()}


def _cast(parameter: Parameter, value, label):
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    fits = _fitting(parameter.type, value)
    if fits is _NOT:
        kind = parameter.type
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
        raise ParameterError(f"{label}: {parameter.name}={value!r} is not {expected} "
                             f"(the notebook has {parameter.name} = {parameter.default!r})")
    if not _can_be_written(fits):
        raise ParameterError(f"{label}: {parameter.name}={value!r} cannot be given from outside: papermill writes "
                             "numbers, text, None, and lists and dicts of them (with text as keys); a tuple would "
                             "become a text")
    return fits


def _fitting(kind: type | None, value):
    if isinstance(value, str):
        try:
            return _from_text(value, kind)
        except (ValueError, SyntaxError):
            return _NOT
    if kind is float and type(value) is int:
        return float(value)
    return value if kind is None or type(value) is kind else _NOT


def _can_be_written(value) -> bool:
    if isinstance(value, list):
        return all(map(_can_be_written, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_can_be_written, value.values()))
    return value is None or isinstance(value, (str, bool, int, float))


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
