"""Features side by side in one table, and the proof that a live system would see the same values.

>>> import pandas as pd
>>> from mlkit.features.indicators import LaggedReturns
>>> bars = pd.DataFrame({"close": [100.0, 110.0, 99.0]}, index=pd.date_range("2024-01-01", periods=3))
>>> FeatureSet([LaggedReturns(1), {"is_up": lambda bars: bars["close"].diff() > 0}]).names
['return_1', 'is_up']
"""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from mlkit.features.indicators import Feature, refuse_twice


class FeatureSet(TransformerMixin, BaseEstimator):
    """Features side by side: an sklearn transformer from bars (n rows) to a DataFrame (n, k).

    features : a list (or one) of shipped features; functions of bars that give a Series (named by
        the function) or a DataFrame (its own names) on bars.index; dicts {"name": either}, which
        name it, or head the names (name_column) where it has several columns.
    .names : list of str; before `fit` what is promised (by a function: its `.names`, else its
        `__name__`), after it the columns that came
    .lookback, .warmup : the largest of any; a function without such an attribute counts 1

    Nothing is learnt, so `transform` needs no `fit`; calling it transforms too, which makes it a
    builder for `audit_features`. Make features on the whole table and split afterwards: they are
    causal, and a table cut before loses its warm-up. Raises ValueError, naming the feature, for a
    name used twice, a result not on bars.index or not numbers, and columns other than at `fit`.
    """

    def __init__(self, features):
        self.features = features
        refuse_twice(self.names)

    @property
    def names(self) -> list[str]:
        promised = [name for key, item in self._items() for name in _names(key, item)]
        return list(getattr(self, "names_", promised))

    @property
    def lookback(self) -> int:
        return max(getattr(item, "lookback", 1) for _, item in self._items())

    @property
    def warmup(self) -> int:
        return max(getattr(item, "warmup", getattr(item, "lookback", 1)) for _, item in self._items())

    def fit(self, bars: pd.DataFrame, y=None) -> "FeatureSet":
        self.names_ = list(self(bars))
        return self

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        table = self(bars)
        if list(table) != getattr(self, "names_", list(table)):
            raise ValueError(f"These features were fitted as {self.names_} and are now {list(table)}.")
        return table

    def __call__(self, bars: pd.DataFrame) -> pd.DataFrame:
        if not isinstance(bars, pd.DataFrame):
            raise ValueError(f"Features are made from one table of bars, not from a {type(bars).__name__}.")
        made = [column for key, item in self._items() for column in _columns(key, item, bars)]
        refuse_twice(names := [name for name, _ in made])
        return pd.DataFrame(np.array([values for _, values in made]).T, bars.index, names, copy=False)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        return np.array(self.names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _items(self) -> list[tuple]:
        """(name from a dict or None, feature) of each."""
        features = self.features if isinstance(self.features, (list, tuple)) else [self.features]
        items = [pair for each in features for pair in (each.items() if isinstance(each, dict) else [(None, each)])]
        wrong = [item for _, item in items if not callable(item)]
        if wrong or not items:
            raise ValueError(f"Features are shipped ones, functions of bars or dicts of them, at least one: not "
                             f"{wrong or 'an empty list'}.")
        return items


def _names(key, item, columns=None) -> list[str]:
    """What its columns are called: those it gave, or else those it promises. A Series has none of its own."""
    label = key or getattr(item, "__name__", repr(item) if hasattr(item, "names") else "<lambda>")
    if label == "<lambda>":
        raise ValueError(f'{item!r} has no name of its own: give it one with {{"name": function_of_bars}}.')
    columns = list(getattr(item, "names", [label]) if columns is None else columns)
    if key:
        return [key] if len(columns) == 1 else [f"{key}_{column}" for column in columns]
    return columns


def _columns(key, item, bars) -> list[tuple]:
    """(name, values (n,) float64) of each column of one item, checked."""
    names = _names(key, item)
    if isinstance(item, Feature):
        return list(zip(names, item._columns(bars)))
    label = f"Feature {', '.join(names)}"
    try:
        made = item(bars.copy(deep=False))  # copy on write: no function can change our bars
    except Exception as error:
        error.add_note(f"{label} raised this.")
        raise
    if not isinstance(made, (pd.Series, pd.DataFrame)):
        raise ValueError(f"{label} gave a {type(made).__name__}, not a Series or DataFrame on bars.index.")
    if not made.index.equals(bars.index):
        raise ValueError(f"{label} gave {len(made)} rows for {len(bars)} bars, or another index: keep every bar of "
                         "bars.index, with NaN where there is no value.")
    names = _names(key, item, None if isinstance(made, pd.Series) else made.columns)
    try:
        return list(zip(names, pd.DataFrame(made).astype("float64").to_numpy().T))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label} gave values that are not numbers: {error}.") from error


def parity(features, bars: pd.DataFrame, rows=None) -> pd.DataFrame:
    """Batch values against values made one bar at a time, each from bars[:row + 1] alone.

    features : a FeatureSet, or what one takes
    rows : positions to compare; None for up to 200, evenly spread, the last included

    Returns DataFrame, one row a column: max_abs_difference (0.0 if what is trained on is what
    is served; inf where only one of the two has a value), at (where; NaT for no difference),
    rows (how many were compared).
    """
    build = features if isinstance(features, FeatureSet) else FeatureSet(features)
    n = len(bars)
    rows = np.unique(np.linspace(0, n - 1, min(n, 200)).astype(int) if rows is None else rows)
    if len(rows) == 0 or rows[0] < 0 or rows[-1] >= n:
        raise ValueError(f"rows are positions from 0 to {n - 1}, at least one.")
    batch = build(bars).iloc[rows]
    single = pd.concat([build(bars.iloc[: row + 1]).iloc[[-1]] for row in rows])
    same = batch.eq(single) | (batch.isna() & single.isna())
    apart = (batch - single).abs().mask(same, 0.0).fillna(np.inf)
    largest, at = apart.max(), apart.idxmax()
    return pd.DataFrame({"max_abs_difference": largest, "at": at.where(largest > 0), "rows": len(rows)})
