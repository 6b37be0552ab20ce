"""Overfitting: how good the best of many looks by luck alone, and how to count the many.

Whoever tries often finds something. `TrialLedger` counts what was tried; the deflated Sharpe
ratio (`mlkit.overfitting.sharpe`) and the probability of overfitting (`mlkit.overfitting.pbo`)
say what is left of the best of it.

>>> from mlkit import BuyAndHold, MeanReversion, backtest, random_walk, sweep
>>> bars = random_walk(300, seed=1)
>>> with TrialLedger() as ledger:
...     result = backtest(bars, BuyAndHold())
...     table = sweep(bars, [MeanReversion(window) for window in (5, 10, 20)], progress=False)
>>> len(ledger)
4
>>> 0 < ledger.deflated_sharpe(result) < probabilistic_sharpe(result.metrics["sharpe"] / 252**0.5, len(result.returns))
True
"""

from mlkit.overfitting.ledger import TrialLedger
from mlkit.overfitting.pbo import PBO, probability_of_overfitting
from mlkit.overfitting.sharpe import (deflated_sharpe, expected_max_sharpe, minimum_backtest_length,
                                      minimum_track_record, probabilistic_sharpe, sharpe_standard_error)

__all__ = ["PBO", "TrialLedger", "deflated_sharpe", "expected_max_sharpe", "minimum_backtest_length",
           "minimum_track_record", "probabilistic_sharpe", "probability_of_overfitting", "sharpe_standard_error"]
