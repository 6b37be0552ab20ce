"""Lesson 08, risk and sizing: a volatility that knows the future, beside one that does not.

>>> from mlkit import audit_features, load_bars
>>> bars = load_bars("IBM")[-500:]
>>> audit_features(full_sample_garch, bars, n_cuts=2).clean
False
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlkit.features import LaggedReturns
from mlkit.labels import next_volatility
from mlkit.models import GARCH
from mlkit.models.volatility import LEAST_ROWS, estimated
from mlkit.research import walk_forward
from mlkit.splits import WalkForward


def full_sample_garch(bars: pd.DataFrame) -> pd.DataFrame:
    """The GARCH(1,1) volatility of each bar, from parameters estimated on all bars given: a leak.

    It is arch's conditional volatility: of bar t given the returns before it, per bar, but by what the whole
    table says of how volatility moves, and in the first 75 bars of where it began. Returns DataFrame
    (n, 1) on bars.index, column garch_volatility, NaN where a bar has no return or fewer than 100 have.
    """
    returns = LaggedReturns(1)(bars)["return_1"].dropna()
    if len(returns) < LEAST_ROWS:
        return pd.DataFrame({"garch_volatility": np.nan}, bars.index)
    scale = float(np.std(returns))
    found = pd.Series(scale * estimated(returns.to_numpy() / scale).conditional_volatility, returns.index)
    return found.reindex(bars.index).to_frame("garch_volatility")


def hindsight(bars: pd.DataFrame, horizon=5, train_size=1000, test_size=250) -> pd.DataFrame:
    """The volatility of the next bar by a GARCH that knew the past alone, and by one that knew all bars.

    horizon : bars of the label, `next_volatility`
    train_size, test_size : of the first training set, and rows after which the honest one is estimated again

    Returns DataFrame (rows tested, 3): honest, full_sample, label, per bar.
    """
    labels = next_volatility(bars, horizon)
    splitter = WalkForward(train_size, test_size, label_end=labels["end"], expanding=True)
    found = walk_forward(GARCH(horizon=1), LaggedReturns(1)(bars), labels, splitter)
    full = full_sample_garch(bars)["garch_volatility"].shift(-1)[found.predictions.index]
    return pd.DataFrame({"honest": found.predictions, "full_sample": full, "label": found.labels})
