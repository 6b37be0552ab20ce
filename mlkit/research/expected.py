"""What a probability is worth: the rule that turns a classifier's score into an expected return.

Part of `mlkit.research`. A probability has no unit that costs could be compared with; a return has.

>>> import numpy as np, pandas as pd
>>> scores = pd.Series([0.4, 0.5, 0.6], pd.date_range("2024-01-01", periods=3))
>>> worth = ExpectedReturn().fit(scores, pd.Series([-0.01, 0.002, 0.01], scores.index))
>>> round(worth.slope_, 2), worth(scores).round(3).tolist()
(0.1, [-0.01, 0.0, 0.01])
"""

from __future__ import annotations

import numpy as np
import pandas as pd


class ExpectedReturn:
    """Expected return = slope x (probability - 1/2), the slope fitted by least squares and never below 0.

    There is no constant: a probability of one half is worth nothing, whichever way the market has
    drifted. The slope is what a point of probability has been worth, in returns over the horizon of the
    labels, so a trade that is held longer pays its round trip less often than this supposes.

    fit(scores, returns) : Series (m,) of probabilities of a rise, made for rows the model had not seen,
        and of the returns that followed, on one index. Rows with NaN are left out.
    from_walk_forward(found, returns) : refitted at each turn of a schedule, on the predictions out of
        sample whose return was known by then; NaN until the second turn

    Calling it gives the expected returns (n,) of a Series of scores. `slope_` is the last slope, `slopes`
    a Series of them by the bar from which each counts, `n_` the rows behind the last.
    """

    def __init__(self):
        self._starts, self._slopes, self.n_ = pd.DatetimeIndex([]), np.array([]), 0

    def fit(self, scores: pd.Series, returns: pd.Series) -> ExpectedReturn:
        """Raises ValueError where no score differs from one half, or none has a return."""
        slope, self.n_ = _slope(scores, returns)
        self._starts, self._slopes = pd.DatetimeIndex([pd.Timestamp.min]), np.array([slope])
        return self

    @classmethod
    def from_walk_forward(cls, found, returns: pd.DataFrame) -> ExpectedReturn:
        """found : OutOfSample of a classifier; returns : a table of `next_return` (label, end) on its bars.

        Raises ValueError where the folds saw the future, or there are not two turns.
        """
        found.models.check_tradable()
        table = returns.reindex(found.predictions.index)
        starts, slopes, made = found.models.starts[1:], [], cls()
        if not len(starts):
            raise ValueError("one turn of a schedule leaves nothing out of sample to learn from before it: give the "
                             "walk forward at least two folds, or fit on an earlier span")
        for start in starts:
            known = (table["end"] <= start).to_numpy() & (found.predictions.index < start)
            slope, made.n_ = _slope(found.predictions[known], table["label"][known])
            slopes.append(slope)
        made._starts, made._slopes = starts, np.array(slopes)
        return made

    @property
    def slope_(self) -> float:
        return float(self._slopes[-1])

    @property
    def slopes(self) -> pd.Series:
        return pd.Series(self._slopes, self._starts, name="slope")

    def __call__(self, scores: pd.Series) -> np.ndarray:
        if not len(self._slopes):
            raise ValueError("ExpectedReturn has not been fitted: fit it on predictions of the past first")
        if len(self._slopes) == 1 and self._starts[0] == pd.Timestamp.min:
            slopes = self._slopes[0]
        else:
            turn = self._starts.searchsorted(scores.index, side="right") - 1
            slopes = np.where(turn < 0, np.nan, self._slopes[np.maximum(turn, 0)])
        return slopes * (scores.to_numpy(dtype=float) - 0.5)

    def __repr__(self) -> str:
        return f"ExpectedReturn(slope {self.slope_:.4f} from {self.n_:,} rows)" if len(self._slopes) else "ExpectedReturn()"


def _slope(scores: pd.Series, returns: pd.Series) -> tuple[float, int]:
    """(slope, rows it rests on)."""
    if not scores.index.equals(returns.index):
        raise ValueError(f"scores ({len(scores):,}) and returns ({len(returns):,}) are not on one index")
    away, earned = scores.to_numpy(dtype=float) - 0.5, returns.to_numpy(dtype=float)
    known = ~np.isnan(away + earned)
    away, earned = away[known], earned[known]
    if not (away**2).sum() > 0:
        raise ValueError(f"of {len(scores):,} scores none is away from one half with a return known: nothing says what "
                         "a probability is worth")
    return max(float(away @ earned / (away @ away)), 0.0), int(known.sum())
