"""Are two answers the same, and if not, on how little does it show?

>>> import numpy as np, pandas as pd
>>> same(np.array([1.0, np.nan]), pd.Series([1.0, np.nan])), same({"a": 1}, {"a": 2})
(True, False)
"""

from __future__ import annotations

import copy
import datetime
import warnings
from collections.abc import Mapping
from numbers import Number

import numpy as np
import pandas as pd

SHORTEST = 60  # prefixes of an input up to this length are tried one by one
SHOWN = 6  # values of a long answer that are shown
SINGLE = 1e-6  # relative difference that single precision may make


def same(given, expected, tolerance: float = 1e-9) -> bool:
    """Whether an answer is as good as the expected one.

    Numbers agree within `tolerance`, relative to the larger of 1 and the expected one; NaN equals NaN, and
    None and NA do too. Of tables and series the values and the index count, not names of series; a list or an
    array may stand for a series; True may be 1; one column may be a series; the order of columns is free.
    """
    if isinstance(given, np.float32):
        tolerance = max(tolerance, SINGLE)
    given, expected = plain(given), plain(expected)
    if isinstance(expected, (pd.Series, pd.DataFrame)):
        return _same_table(given, expected, tolerance)
    if isinstance(expected, Mapping):
        return (isinstance(given, (Mapping, pd.Series)) and set(given.keys()) == set(expected)
                and all(same(given[name], expected[name], tolerance) for name in expected))
    if isinstance(expected, (set, frozenset)):
        listed = _listed(given)
        return listed is not None and set(map(plain, listed)) == set(map(plain, expected))
    if isinstance(expected, (list, tuple, np.ndarray, pd.Index)):
        values, wanted = _listed(given), _listed(expected)
        return (values is not None and len(values) == len(wanted)
                and all(same(one, other, tolerance) for one, other in zip(values, wanted)))
    if isinstance(expected, Number):
        if not isinstance(given, Number) or isinstance(given, complex):
            return False
        return _close(float(given), float(expected), 0.0 if isinstance(expected, bool) else tolerance)
    return type(given) is type(expected) and bool(given == expected)


def plain(value):
    """A single value as Python and pandas have it, whichever way it was written; NaN for what says that there is none.

    >>> plain(np.str_("x")), plain(np.array(3)), plain(np.datetime64("2024-01-01")), plain(None)
    ('x', 3, Timestamp('2024-01-01 00:00:00'), nan)
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (np.datetime64, datetime.date)):
        value = pd.Timestamp(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return np.nan
    return value.item() if isinstance(value, np.generic) else value


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
    return same(_listed(given) or [], _listed(expected), tolerance)


def _listed(values) -> list | None:
    """The values of whatever holds one after the other; a column in an array of its own counts as its values."""
    if isinstance(values, (str, Mapping)) or not hasattr(values, "__iter__"):
        return None
    if isinstance(values, (pd.Series, pd.Index)):
        values = values.to_numpy()
    return list(values[:, 0] if isinstance(values, np.ndarray) and values.shape[1:] == (1,) else values)


def _close(given: float, expected: float, tolerance: float) -> bool:
    if np.isnan(expected) or np.isinf(expected):
        return given == expected or (np.isnan(given) and np.isnan(expected))
    return abs(given - expected) <= tolerance * max(1.0, abs(expected))


def part_of(values, name: str):
    """A part of an answer that is a mapping; None where there is none."""
    return values.get(name) if isinstance(values, (Mapping, pd.Series)) else None


def by_name(values):
    """A Series, or a table of one column, as a dict of what it holds by name; all else as it is."""
    if isinstance(values, pd.DataFrame) and values.shape[1] == 1:
        values = values.iloc[:, 0]
    return dict(zip(values.index, values.to_numpy())) if isinstance(values, pd.Series) else values


def on_index(values, index: pd.Index, name: str | None = None):
    """What holds one value a row (a list, an array, a column) as a Series, to be audited; a Series under `name`."""
    if isinstance(values, pd.DataFrame) and values.shape[1] == 1:
        values = values.iloc[:, 0]
    if isinstance(values, pd.Series):
        values = pd.Series(list(map(plain, values)), values.index) if values.dtype == object else values
    elif not isinstance(values, (pd.DataFrame, set, frozenset)):
        listed = _listed(values)
        values = pd.Series(list(map(plain, listed)), index) if listed and len(listed) == len(index) else values
    return values.rename(name) if name and isinstance(values, pd.Series) else values


def rows_marked(values, index: pd.Index) -> np.ndarray:
    """Positions of the rows of which an answer says True; raises ValueError where it does not speak of each row."""
    values = on_index(values, index)
    if not isinstance(values, pd.Series) or not values.index.equals(index):
        raise ValueError("it does not give True or False for each row.")
    return np.flatnonzero(values == 1)


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
            return _sentence(shorter, names, given, expected, tolerance)
    return _sentence(inputs, names, *outputs(inputs), tolerance)


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


def _sentence(inputs: tuple, names: tuple, given, expected, tolerance: float) -> str:
    named = len(names) == len(inputs) > 1
    shown = [f"{name} = {described(each)}" for name, each in zip(names, inputs)] if named else map(described, inputs)
    told = f"Given {', '.join(shown)}\n" if inputs else ""
    if isinstance(expected, Mapping) and isinstance(given, (Mapping, pd.Series)):
        name = next((name for name in expected
                     if name not in given.keys() or not same(given[name], expected[name], tolerance)), None)
        if name is None:
            what = "columns" if isinstance(next(iter(expected.values())), pd.Series) else "parts"
            more = ", ".join(str(name) for name in given.keys() if name not in expected)
            return f"{told}these {what} were not asked for: {more}."
        told, given, expected = f"{told}{name}: ", given.get(name), expected[name]
    if isinstance(expected, (set, frozenset)) and not isinstance(given, pd.DataFrame) and _listed(given) is not None:
        mine, right = (set(map(plain, each)) for each in (_listed(given), expected))
        apart = {"is missing": right - mine, "does not belong there": mine - right}
        return told + ", and ".join(f"{described(each)} {what}" for what, each in apart.items() if each) + "."
    if isinstance(expected, pd.Series) and isinstance(given, pd.Series) and not given.index.equals(expected.index) and (
            same(_listed(given), _listed(expected), tolerance)):
        return (f"{told}your values are right and their index is not: yours is {described(given.index)}, and "
                f"{described(expected.index)} is right.")
    place = _first_unlike(given, expected, tolerance)
    at, given, expected = place or ("", given, expected)
    shown = [described(given), described(expected)]
    if shown[0] == shown[1] and isinstance(given, Number):
        shown = [f"{value:.12g}" for value in (given, expected)]
    return f"{told}{f'at {at} ' if place else ''}yours is {shown[0]}, and {shown[1]} is right."


def _first_unlike(given, expected, tolerance: float):
    """(where, given, expected) of the first row that differs, if both have the same rows."""
    given = on_index(given, expected.index) if isinstance(expected, pd.Series) else given
    if isinstance(given, pd.Series) and isinstance(expected, pd.Series) and given.index.equals(expected.index):
        for at, mine, right in zip(given.index, _listed(given), _listed(expected)):
            if not same(mine, right, tolerance):
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
