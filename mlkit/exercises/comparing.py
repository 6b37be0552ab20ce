"""Are two answers the same, and if not, on how little does it show?

>>> import numpy as np, pandas as pd
>>> same(np.array([1.0, np.nan]), pd.Series([1.0, np.nan])), same({"a": 1}, {"a": 2})
(True, False)
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from numbers import Number

import numpy as np
import pandas as pd

SHORTEST = 60  # prefixes of an input up to this length are tried one by one
SHOWN = 6  # values of a long answer that are shown


def same(given, expected, tolerance: float = 1e-9) -> bool:
    """Whether an answer is as good as the expected one.

    Numbers agree within `tolerance`, relative to the larger of 1 and the expected one; NaN equals NaN.
    Of tables and series the values and the index count, not names of series; a list or an array may
    stand for a series; True may be 1; one column may be a series; the order of columns is free.
    """
    if isinstance(expected, (pd.Series, pd.DataFrame)):
        return _same_table(given, expected, tolerance)
    if isinstance(expected, Mapping):
        return (isinstance(given, (Mapping, pd.Series)) and set(given.keys()) == set(expected)
                and all(same(given[name], expected[name], tolerance) for name in expected))
    if isinstance(expected, (set, frozenset)):
        return not isinstance(given, str) and _listed(given) is not None and set(_listed(given)) == set(expected)
    if isinstance(expected, (list, tuple, np.ndarray, pd.Index)):
        values, wanted = _listed(given), _listed(expected)
        return (values is not None and len(values) == len(wanted)
                and all(same(one, other, tolerance) for one, other in zip(values, wanted)))
    if isinstance(expected, (bool, np.bool_)):
        return isinstance(given, (bool, np.bool_, Number)) and float(given) == float(expected)
    if isinstance(expected, Number):
        return isinstance(given, (Number, np.bool_)) and _close(float(given), float(expected), tolerance)
    return type(given) is type(expected) and bool(given == expected)


def _same_table(given, expected, tolerance) -> bool:
    if isinstance(expected, pd.DataFrame):
        if isinstance(given, pd.Series) and expected.shape[1] == 1:
            expected = expected.iloc[:, 0]
        elif not isinstance(given, pd.DataFrame) or set(given.columns) != set(expected.columns):
            return False
        else:
            return all(_same_table(given[name], expected[name], tolerance) for name in expected)
    if isinstance(given, pd.DataFrame) and given.shape[1] == 1:
        given = given.iloc[:, 0]
    if isinstance(given, pd.Series) and not given.index.equals(expected.index):
        return False
    return same(list(_listed(given) or []), list(expected), tolerance)


def _listed(values) -> list | None:
    if isinstance(values, (str, Mapping)) or not hasattr(values, "__iter__"):
        return None
    return list(values)


def _close(given: float, expected: float, tolerance: float) -> bool:
    if np.isnan(expected) or np.isinf(expected):
        return given == expected or (np.isnan(given) and np.isnan(expected))
    return abs(given - expected) <= tolerance * max(1.0, abs(expected))


def part_of(values, name: str):
    """A part of an answer that is a mapping; None where there is none."""
    return values.get(name) if isinstance(values, (Mapping, pd.Series)) else None


def on_index(values, index: pd.Index, name: str | None = None):
    """An array or a list of one value a row as a Series, so that it can be audited; a Series under `name`, if given."""
    if isinstance(values, (np.ndarray, list)) and len(values) == len(index):
        values = pd.Series(values, index)
    return values.rename(name) if name and isinstance(values, pd.Series) else values


def copies(inputs: tuple) -> tuple:
    """The inputs again, so that an answer that writes into them changes nothing."""
    return tuple(copy.deepcopy(value) for value in inputs)


def smallest_difference(outputs, inputs: tuple, tolerance: float, names: tuple = ()) -> str:
    """A sentence on the smallest input, among the beginnings of this one, on which two answers differ.

    outputs : function of inputs -> (given, expected); names : of the inputs, if they are known
    """
    for shorter in _beginnings(inputs):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of means of nothing: our doing, not the answer's
                given, expected = outputs(shorter)
        except Exception:  # noqa: BLE001  (too little for one of the two: a longer beginning tells)
            continue
        if not same(given, expected, tolerance) and not _is_nan(expected):
            return _sentence(shorter, names, given, expected)
    return _sentence(inputs, names, *outputs(inputs))


def _is_nan(value) -> bool:
    """Whether there is no right number for so little."""
    if isinstance(value, Mapping):
        return all(map(_is_nan, value.values()))
    if isinstance(value, pd.Series):
        return bool(value.isna().all())
    return isinstance(value, Number) and value != value


def _beginnings(inputs: tuple):
    """The inputs cut short, more and more of them: those that have a row for each of the first one's."""
    rows = (pd.DataFrame, pd.Series, list, np.ndarray)
    if inputs and isinstance(inputs[0], rows):
        along = [isinstance(each, rows) and len(each) == len(inputs[0]) for each in inputs]
        for length in range(1, min(len(inputs[0]), SHORTEST) + 1):
            yield tuple(each[:length] if cut else each for each, cut in zip(inputs, along))


def _sentence(inputs: tuple, names: tuple, given, expected) -> str:
    named = len(names) == len(inputs) > 1
    shown = [f"{name} = {described(each)}" for name, each in zip(names, inputs)] if named else map(described, inputs)
    told = f"Given {', '.join(shown)}\n" if inputs else ""
    if isinstance(expected, Mapping) and isinstance(given, (Mapping, pd.Series)):
        name = next((name for name in expected if not same(given.get(name), expected[name])), None)
        if name is not None:
            told, given, expected = f"{told}{name}: ", given.get(name), expected[name]
    if isinstance(expected, (set, frozenset)) and not isinstance(given, pd.DataFrame) and _listed(given) is not None:
        apart = {"is missing": set(expected) - set(given), "does not belong there": set(given) - set(expected)}
        return told + ", and ".join(f"{described(each)} {what}" for what, each in apart.items() if each) + "."
    place = _first_unlike(given, expected)
    at, given, expected = place or ("", given, expected)
    shown = [described(given), described(expected)]
    if shown[0] == shown[1] and isinstance(given, Number):
        shown = [f"{value:.12g}" for value in (given, expected)]
    return f"{told}{f'at {at} ' if place else ''}yours is {shown[0]}, and {shown[1]} is right."


def _first_unlike(given, expected):
    """(where, given, expected) of the first row that differs, if both have the same rows."""
    given = on_index(given, expected.index) if isinstance(expected, pd.Series) else given
    if isinstance(given, pd.Series) and isinstance(expected, pd.Series) and given.index.equals(expected.index):
        for at, mine, right in zip(given.index, given, expected):
            if not same(mine, right):
                return f"{at:%Y-%m-%d}" if isinstance(at, pd.Timestamp) else at, mine, right
    return None


def described(value) -> str:
    """A value in a few words: a number, a short list, how many bars and their closes."""
    if isinstance(value, pd.DataFrame) and "close" in value:
        return f"{len(value)} bar{'s' * (len(value) != 1)} with closes {described(list(value['close']))}"
    if isinstance(value, pd.DataFrame) and value.shape[1] > SHOWN:
        return f"a table of {len(value)} rows and the columns {', '.join(map(str, value.columns))}"
    if isinstance(value, pd.DataFrame):
        return f"a table of {len(value)} rows, {described({name: list(value[name]) for name in value})}"
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return f"an array of {' x '.join(map(str, value.shape))}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if isinstance(value, (pd.Series, np.ndarray, pd.Index, list, tuple)):
        values = list(value)
        shown = [described(each) for each in values[: SHOWN - 1]]
        rest = values[SHOWN - 1 :]
        return f"[{', '.join(shown + ['...'] * (len(rest) > 1) + [described(each) for each in rest[-1:]])}]"
    if isinstance(value, (set, frozenset)):
        return ", ".join(sorted(map(described, value))) or "nothing"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {described(each)}' for name, each in value.items())}}}"
    if isinstance(value, (np.bool_, np.integer)):
        return repr(value.item())
    if isinstance(value, pd.Timestamp):
        return str(value).removesuffix(" 00:00:00")
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return repr(value)
