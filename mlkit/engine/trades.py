"""Trades, flat to flat: from fills to what each round trip earned.

A trade begins with the fill that leaves zero and ends with the fill that returns to
it; what happens between (partial fills, part exits) belongs to it, and so does the
borrow paid meanwhile. A trade still open at the end is marked at the last close.
"""

from __future__ import annotations

import numpy as np

COLUMNS = ("symbol", "entry_time", "exit_time", "quantity", "entry_price", "exit_price", "net_profit", "bars_held",
           "open")


def round_trips(fills: dict, borrow: dict, positions: dict) -> dict[str, np.ndarray]:
    """Columns of the trades, in order of entry; times are clock positions, an open exit is -1.

    fills, borrow : columns as `Record` gives them; positions : symbol -> (units, mark) at the end
    """
    if len(positions) == 1:
        (symbol, held), = positions.items()
        return _of_symbol(symbol, fills, borrow, *held)
    parts = [_of_symbol(symbol, _rows(fills, symbol), _rows(borrow, symbol), *positions[symbol])
             for symbol in positions]
    parts = [part for part in parts if len(part["entry"])]
    if not parts:
        return _of_symbol("", _rows(fills, None), _rows(borrow, None), 0.0, 0.0)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["entry"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def _rows(columns: dict, symbol) -> dict[str, np.ndarray]:
    chosen = columns["symbol"] == symbol
    return {name: values[chosen] for name, values in columns.items()}


def _of_symbol(symbol: str, fills: dict, borrow: dict, units: float, mark: float) -> dict[str, np.ndarray]:
    quantity, price, position, clock = (fills[name] for name in ("quantity", "price", "position", "clock"))
    ends = position == 0.0
    starts = np.flatnonzero(np.concatenate([[True], ends[:-1]])) if len(ends) else np.empty(0, dtype=np.int64)
    n = len(starts)
    if n == 0:
        empty = np.empty(0)
        return {"symbol": np.empty(0, dtype=object), "entry": starts, "exit": starts, "quantity": empty,
                "entry_price": empty, "exit_price": empty, "net_profit": empty, "open": np.empty(0, dtype=bool)}
    side = np.sign(quantity[starts])
    trade = np.repeat(np.arange(n), np.diff(np.append(starts, len(quantity))))
    opening = np.sign(quantity) == side[trade]
    value = quantity * price
    opened = np.add.reduceat(np.where(opening, quantity, 0.0), starts)
    closed = np.add.reduceat(np.where(opening, 0.0, quantity), starts)
    flow = np.add.reduceat(-value - fills["commission"], starts)
    if len(borrow["clock"]):
        payer = np.searchsorted(clock[starts], borrow["clock"], side="left") - 1
        flow -= np.bincount(payer, weights=borrow["amount"], minlength=n)
    still_open = np.zeros(n, dtype=bool)
    still_open[-1] = not ends[-1]
    flow[-1] += units * mark
    with np.errstate(invalid="ignore", divide="ignore"):
        entry_price = np.add.reduceat(np.where(opening, value, 0.0), starts) / opened
        exit_price = np.add.reduceat(np.where(opening, 0.0, value), starts) / closed
    last = np.append(starts[1:], len(quantity)) - 1
    return {"symbol": np.full(n, symbol, dtype=object), "entry": clock[starts],
            "exit": np.where(still_open, -1, clock[last]), "quantity": opened, "entry_price": entry_price,
            "exit_price": exit_price, "net_profit": flow, "open": still_open}
