"""Work that several backtests over the same bars have in common, done once.

Inside `sharing()` an indicator is computed for the first strategy that asks and handed
to the next; outside it `shared` just computes. What is handed out is read-only.

>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [1.0, 2.0]})
>>> with sharing():
...     shared(bars, "double", lambda: bars["close"].to_numpy() * 2) is shared(bars, "double", lambda: None)
True
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

LIMIT = 32 * 2**20  # bytes kept; beyond it all is forgotten and made again when asked for

_kept: ContextVar[dict | None] = ContextVar("kept", default=None)


@contextmanager
def sharing():
    """Keep what `shared` computes until the end of the block. The bars in it must not be changed meanwhile."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def is_sharing() -> bool:
    return _kept.get() is not None


def shared(bars, key: Hashable, make: Callable[[], np.ndarray], *owners: object) -> np.ndarray:
    """`make()`, or what it gave before for these very bars, this key and these very owners (a model, its features)."""
    kept = _kept.get()
    if kept is None:
        return make()
    key = (id(bars), key, *map(id, owners))
    if key not in kept:
        made = make()
        made.flags.writeable = False
        kept["size"] = kept.get("size", 0) + made.nbytes
        if kept["size"] > LIMIT:
            kept.clear()
            kept["size"] = made.nbytes
        kept[key] = made, bars, owners  # all of them kept alive, lest another object gets the id of one
    return kept[key][0]
