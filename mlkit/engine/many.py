"""Many runs in whole trades at once: the rows of a sweep, from a few arrays for all of them.

A single replay of a few thousand bars spends its time in the calls, not in the numbers.
Here the runs of a sweep that trade whole trades (`mlkit.engine.replay.whole_trades`) are
laid end to end: their decisions, prices, costs and equity are worked out by the same
expressions and functions, so that orders and equity are the same to the last bit; sums
over trades may differ from a single run's in the last digit or two.
"""

from __future__ import annotations

import hashlib

import numpy as np

from mlkit import metrics
from mlkit.engine.execution import fill_price
from mlkit.engine.replay import accounts, buys_by_cash, order_keys
from mlkit.engine.result import order_bytes
from mlkit.engine.sizing import FixedQuantity


def rows_of(prices, decisions: np.ndarray, *, execution, sizer, cash, start, periods_per_year) -> list[dict | None]:
    """One dict of figures and `order_hash` for each run, None for those that need a run of their own.

    prices : Prices; decisions : (runs, n) int8, 0 before the first that counts; start : first
        bar of the statistics. No impact, no lots, no limits, no shorts (as `whole_trades`).
    """
    runs, n = decisions.shape
    at, run, buys = _alternating(decisions)
    orders = np.bincount(run, minlength=runs)
    first = np.concatenate([[0], np.cumsum(orders)])
    wait, costs = 1 + execution.latency_bars, execution.costs
    good = np.ones(runs, dtype=bool)
    if wait > 1:
        rushed = (run[1:] == run[:-1]) & (at[1:] - at[:-1] < wait)
        good[run[1:][rushed]] = False
    done = at + wait < n
    fill, fill_run, side = (at + wait)[done], run[done], np.where(buys[done], 1.0, -1.0)
    fills = np.bincount(fill_run, minlength=runs)
    fill_first = np.concatenate([[0], np.cumsum(fills)])
    reference, decided = prices.reference[fill], prices.close[at]
    price = fill_price(side, reference, costs.half_spread, costs.slippage, 0.0)
    wanted, units, commission, money = _sizes(sizer, cash, decided, price, first, fill_first, costs, good)
    if prices.volume is not None:
        volume = prices.volume[fill]
        room = units <= costs.max_participation * volume if execution.capped else True
        good[fill_run[~((volume > 0.0) & room)]] = False
    held = np.where(side > 0.0, units, 0.0)
    equity = _equity(prices.close, fill, held, money, fill_first, cash, runs)
    good &= equity.min(axis=1) > 0.0
    filled = np.zeros(len(at))
    filled[done] = side * units
    keys = order_keys(at, np.where(buys, wanted, -wanted), filled)
    lines = order_bytes(keys, [prices.symbol], prices.index)
    statistics = _statistics(prices, equity[:, start:], fill, fill_run, fill_first, side, units, price, reference,
                             decided[done], commission, held, costs, cash, start)
    rows = []
    for k in range(runs):
        if not good[k]:
            rows.append(None)
            continue
        path, trades, held_share, traded, waterfall, is_open = (part(k) for part in statistics)
        row = metrics.figures(path, n - start, trades, held_share, traded, waterfall, periods_per_year, is_open)
        row["order_hash"] = hashlib.sha256(lines[first[k] : first[k + 1]].tobytes()).hexdigest()
        rows.append(row)
    return rows


def _alternating(decisions: np.ndarray):
    """`replay.alternating` of every run: bar, run and whether it buys, run after run."""
    runs, n = decisions.shape
    flat = decisions.reshape(-1)
    fresh = flat != 0
    fresh[1:] &= flat[1:] != flat[:-1]
    fresh[::n] |= flat[::n] != 0
    said = np.flatnonzero(fresh)
    codes, run = flat[said], said // n
    keep = codes > 0
    keep[1:] = np.where(run[1:] == run[:-1], codes[1:] != codes[:-1], keep[1:])
    said, run = said[keep], run[keep]
    return said - run * n, run, codes[keep] > 0


def _sizes(sizer, cash, decided, price, first, fill_first, costs, good):
    """(wanted (orders,), units, commission, cash after (fills,)); a run that cannot be sized so is marked not good."""
    rate, fee = costs.commission_rate, costs.commission_min
    wanted, units = np.zeros(len(decided)), np.zeros(len(price))
    commission, money = np.zeros(len(price)), np.full(len(price), cash)
    fixed = type(sizer) is FixedQuantity
    if fixed:
        wanted.fill(sizer.units)
        units.fill(sizer.units)
    for k in range(len(good)):
        mine, paid = slice(first[k], first[k + 1]), slice(fill_first[k], fill_first[k + 1])
        if not good[k]:
            continue  # its orders do not take turns: it gets a run of its own
        if not fixed:
            closes = decided[mine][::2].tolist()
            wants, bought = buys_by_cash(sizer, [sizer.fraction] * len(closes), cash, closes, price[paid][::2].tolist(),
                                         price[paid][1::2].tolist(), rate, fee)
            wanted[mine][::2], wanted[mine][1::2] = wants, bought[: (first[k + 1] - first[k]) // 2]
            units[paid] = np.repeat(bought, 2)[: fill_first[k + 1] - fill_first[k]]
        commission[paid], after = accounts(cash, price[paid], units[paid], rate, fee)
        money[paid] = after[1:]
        if fixed:
            before, asked = after[:-1][::2], price[paid][::2]
            good[k] &= bool((np.minimum(before / (asked * (1.0 + rate)), (before - fee) / asked) >= sizer.units).all())
        else:
            good[k] &= bool((units[paid] > 0.0).all() and after[2::2].min(initial=1.0) > 0.0)
    return wanted, units, commission, money


def _equity(close, fill, held, money, fill_first, cash, runs) -> np.ndarray:
    """(runs, n), as `whole_trades` works it out."""
    n = len(close)
    starts = fill_first[:-1] + np.arange(runs)  # each run has one stretch more than fills: the one before them
    size = len(fill) + runs
    first_bar, position, balance = np.zeros(size, dtype=np.int64), np.zeros(size), np.full(size, cash)
    later = np.ones(size, dtype=bool)
    later[starts] = False
    first_bar[later], position[later], balance[later] = fill, held, money
    ends = np.empty(size, dtype=np.int64)
    ends[:-1] = np.where(later[1:], first_bar[1:], n)
    ends[-1] = n
    lengths = ends - first_bar
    equity = np.repeat(position, lengths).reshape(runs, n)
    equity *= close
    equity += np.repeat(balance, lengths).reshape(runs, n)
    return equity


def _statistics(prices, equity, fill, fill_run, fill_first, side, units, price, reference, decided, commission, held,
                costs, cash, start):
    """Functions of a run's number, each giving one argument of `metrics.figures`."""
    runs, n = len(fill_first) - 1, equity.shape[1]
    path = {name: values.tolist() for name, values in metrics.path_statistics(equity, cash).items()}

    def total(values, of=fill_run):
        return np.bincount(of, weights=values, minlength=runs)

    quantity = side * units
    flow = -(quantity * price) - commission
    bought, sold = np.flatnonzero(side > 0.0), np.flatnonzero(side < 0.0)
    profit, of = flow[sold - 1] + flow[sold], fill_run[sold]
    wins, losses = profit > 0.0, profit < 0.0
    trades = {"n": np.bincount(of, minlength=runs), "n_wins": np.bincount(of[wins], minlength=runs),
              "n_losses": np.bincount(of[losses], minlength=runs), "gained": total(profit[wins], of[wins]),
              "lost": total(profit[losses], of[losses])}
    trades = {name: values.tolist() for name, values in trades.items()}
    open_at_end = np.bincount(fill_run[bought], minlength=runs) - np.bincount(of, minlength=runs)
    last = np.maximum(fill_first[1:] - 1, 0)
    units_left = np.where(open_at_end > 0, held[last] if len(held) else 0.0, 0.0)
    bars_held = total(-side * fill) + open_at_end * (start + n)
    traded = reference * units
    falls = {"gross": units_left * prices.close[-1] - total(quantity * decided),
             "delay": -total((reference - decided) * quantity), "spread": -total(traded * costs.half_spread),
             "slippage": -total(traded * costs.slippage), "impact": np.zeros(runs), "commission": -total(commission),
             "borrow": np.zeros(runs)}
    falls = {name: (0.0 + values).tolist() for name, values in falls.items()}
    value = total(units * price).tolist()
    return (lambda k: {name: values[k] for name, values in path.items()},
            lambda k: {name: values[k] for name, values in trades.items()},
            lambda k: float(bars_held[k] / n) if n else np.nan, lambda k: value[k],
            lambda k: {name: values[k] for name, values in falls.items()}, lambda k: int(open_at_end[k]))
