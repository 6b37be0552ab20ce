"""Trials are counted: whoever tries often finds something, so every try has to be on the table.

While a `TrialLedger` is open, each backtest and each combination of a sweep is a trial in it,
whichever engine ran it and however many processes worked at it.

>>> from mlkit import BuyAndHold, MeanReversion, backtest, random_walk, sweep
>>> bars = random_walk(300, seed=1)
>>> with TrialLedger() as ledger:
...     result = backtest(bars, BuyAndHold())
...     table = sweep(bars, [MeanReversion(w) for w in (5, 10, 20)], progress=False)
>>> len(ledger)
4
"""

from __future__ import annotations

from contextvars import ContextVar

import pandas as pd

_open: ContextVar[tuple[TrialLedger, ...]] = ContextVar("open ledgers", default=())


class TrialLedger:
    """Counts every backtest run while it is open (a context manager; ledgers may be nested).

    trials : DataFrame, one row a trial in the order they were run: strategy, sharpe
        (annualised), n_bars (returns it rests on), order_hash
    """

    def __init__(self):
        self._rows: list[dict] = []

    def __enter__(self) -> TrialLedger:
        self._token = _open.set((*_open.get(), self))
        return self

    def __exit__(self, *_) -> None:
        _open.reset(self._token)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def trials(self) -> pd.DataFrame:
        return pd.DataFrame(self._rows, columns=["strategy", "sharpe", "n_bars", "order_hash"])


def is_counting() -> bool:
    """Whether a ledger is open."""
    return bool(_open.get())


def note_trial(strategy: str, sharpe: float, n_bars: float, order_hash: str) -> None:
    """Called by the engine for each run; writes it into every open ledger."""
    for ledger in _open.get():
        ledger._rows.append({"strategy": strategy, "sharpe": sharpe, "n_bars": int(n_bars), "order_hash": order_hash})
