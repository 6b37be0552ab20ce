"""Answers to exercise 06, as learners would write them."""

import numpy as np
import pandas as pd
from scipy.optimize import brentq

RIGHT, WRONG = {}, {}

# ---- q1


def bar_by_bar(position, cost_bps):
    paid, before = [], 0.0
    for now in position:
        paid.append(abs(now - before) * cost_bps * 0.0001)
        before = now
    return paid


RIGHT["q1"] = [bar_by_bar,
               lambda position, cost_bps: np.abs(np.diff(position, prepend=0.0)) * cost_bps / 1e4]
WRONG["q1"] = {
    "one side only": [lambda position, cost_bps: np.maximum(np.diff(position, prepend=0.0), 0) * cost_bps / 1e4,
                      lambda position, cost_bps: position.diff().fillna(0).clip(lower=0) * cost_bps / 1e4,
                      lambda position, cost_bps: np.maximum(-np.diff(position, prepend=0.0), 0) * cost_bps / 1e4],
    "sales give money back": [lambda position, cost_bps: np.diff(position, prepend=0.0) * cost_bps / 1e4,
                              lambda position, cost_bps: position.diff() * cost_bps / 1e4],
    "the first purchase is free": [lambda position, cost_bps: position.diff().abs() * cost_bps / 1e4,
                                   lambda position, cost_bps: position.diff().abs().fillna(0) * cost_bps / 1e4],
    "pays for holding": lambda position, cost_bps: position.abs() * cost_bps / 1e4,
    "every trade the same": [lambda position, cost_bps: (position != position.shift(fill_value=0.0)) * cost_bps / 1e4,
                             lambda position, cost_bps: (position.diff().fillna(0) != 0) * cost_bps / 1e4],
    "a reversal is free": lambda position, cost_bps: np.abs(np.diff(position.abs(), prepend=0.0)) * cost_bps / 1e4,
    "a cost below zero": lambda position, cost_bps: -np.abs(np.diff(position, prepend=0.0)) * cost_bps / 1e4,
    "all costs so far": lambda position, cost_bps: np.cumsum(bar_by_bar(position, cost_bps)),
    "a basis point is a hundredth of a percent": [
        lambda position, cost_bps: np.abs(np.diff(position, prepend=0.0)) * cost_bps / 100,
        lambda position, cost_bps: np.abs(np.diff(position, prepend=0.0)) * cost_bps / 1000,
        lambda position, cost_bps: np.abs(np.diff(position, prepend=0.0)) * cost_bps],
    "a round trip each time": lambda position, cost_bps: 2 * np.abs(np.diff(position, prepend=0.0)) * cost_bps / 1e4,
}

# ---- q2


def fill_by_fill(fills):
    delay = spread = commission = traded = 0.0
    for fill in fills.itertuples():
        delay += fill.quantity * (fill.reference - fill.decision_price)
        spread += fill.quantity * (fill.price - fill.reference)
        commission += fill.commission
        traded += abs(fill.quantity) * fill.reference
    return {"delay": delay / traded * 1e4, "spread": spread / traded * 1e4, "commission": commission / traded * 1e4}


def weighted(fills):
    """Means of the basis points of each fill, weighted by its value."""
    value, side = fills.quantity.abs() * fills.reference, np.sign(fills.quantity)
    table = pd.DataFrame({"delay": side * (1 - fills.decision_price / fills.reference),
                          "spread": side * (fills.price / fills.reference - 1), "commission": fills.commission / value})
    return pd.Series({name: 1e4 * np.average(table[name], weights=value) for name in table})


def rates(fills, delay, spread, value=None, commission=None):
    value = fills.quantity.abs() * fills.reference if value is None else value
    commission = fills.commission if commission is None else commission
    return {"delay": 1e4 * delay.sum() / value.sum(), "spread": 1e4 * spread.sum() / value.sum(),
            "commission": 1e4 * commission.sum() / value.sum()}


def waits(fills):
    return fills.quantity * (fills.reference - fills.decision_price)


def spreads(fills):
    return fills.quantity * (fills.price - fills.reference)


def mean_of_each(fills):
    value = fills.quantity.abs() * fills.reference
    return {"delay": 1e4 * (waits(fills) / value).mean(), "spread": 1e4 * (spreads(fills) / value).mean(),
            "commission": 1e4 * (fills.commission / value).mean()}


RIGHT["q2"] = [fill_by_fill, weighted]
WRONG["q2"] = {
    "delay without a sign": [lambda fills: rates(fills, waits(fills).abs(), spreads(fills)),
                             lambda fills: rates(fills, waits(fills).abs(), spreads(fills) * np.sign(fills.quantity))],
    "sales with the wrong sign": [lambda fills: rates(fills, waits(fills) * np.sign(fills.quantity), spreads(fills)),
                                  lambda fills: rates(fills, waits(fills), spreads(fills) * np.sign(fills.quantity)),
                                  lambda fills: rates(fills, waits(fills) * np.sign(fills.quantity),
                                                      spreads(fills) * np.sign(fills.quantity))],
    "gains taken for costs": lambda fills: rates(fills, -waits(fills), -spreads(fills)),
    "delay with the sign of a gain": lambda fills: rates(fills, -waits(fills), spreads(fills)),
    "the wait charged twice": lambda fills: rates(fills, waits(fills),
                                                  fills.quantity * (fills.price - fills.decision_price)),
    "all fills alike": mean_of_each,
    "buys less sales": lambda fills: rates(fills, waits(fills), spreads(fills), fills.quantity * fills.reference),
    "one side only": lambda fills: fill_by_fill(fills[fills.quantity > 0]),
    "a round trip": lambda fills: {name: 2 * paid for name, paid in fill_by_fill(fills).items()},
    "money, not a rate": lambda fills: {"delay": waits(fills).sum(), "spread": spreads(fills).sum(),
                                        "commission": fills.commission.sum()},
    "a fraction, not basis points": [lambda fills: weighted(fills) / 1e4, lambda fills: weighted(fills) / 100],
}

# ---- q3


def by_halving(net_at):
    if net_at(0) <= 0:
        return 0
    low, high = 0.0, 9_999.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if net_at(middle) > 0 else (low, middle)
    return low


def by_doubling(net_at):
    """Looks for a cost that is too high, and then on a fine grid."""
    if net_at(0) < 0:
        return 0.0
    high = 1.0
    while net_at(high) > 0:
        high *= 2
    costs = np.linspace(0, high, 200)
    return float(np.interp(0, [-net_at(cost) for cost in costs], costs))


def straight(step):
    return lambda net_at: net_at(0) * step / (net_at(0) - net_at(step))


def up_to(most):
    return lambda net_at: min(by_halving(net_at), most)


def first_whole(net_at):
    cost = 0
    while net_at(cost) > 0:
        cost += 1
    return cost


RIGHT["q3"] = [by_halving, by_doubling]
WRONG["q3"] = {
    "a straight line": [straight(1), straight(10), lambda net_at: max(0, straight(5)(net_at)),
                        lambda net_at: max(0, straight(100)(net_at))],
    "looks not far enough": [up_to(20), up_to(50), up_to(100)],
    "a cost below zero": lambda net_at: brentq(net_at, -100, 9_999),
    "whole basis points": [first_whole, lambda net_at: max(0, first_whole(net_at) - 1),
                           lambda net_at: round(by_halving(net_at))],
    "a fraction, not basis points": lambda net_at: by_halving(net_at) / 10_000,
    "a round trip": lambda net_at: by_halving(net_at) * 2,
}

# ---- q4


def signal_by_signal(signals, expected, cost_bps, margin_bps):
    return [0 if signal == 1 and not 1e4 * hoped > 2 * cost_bps + margin_bps else signal
            for signal, hoped in zip(signals, expected)]


def keep_if(condition, signals):
    return pd.Series(np.where((signals == 1) & ~condition, 0, signals), signals.index)


RIGHT["q4"] = [signal_by_signal,
               lambda signals, expected, cost, margin: keep_if(expected > (cost + cost + margin) / 1e4, signals)]
WRONG["q4"] = {
    "one side only": lambda signals, expected, cost, margin: keep_if(expected > (cost + margin) / 1e4, signals),
    "exits refused too": [lambda signals, expected, cost, margin: signals * (expected > (2 * cost + margin) / 1e4),
                          lambda signals, expected, cost, margin: signals * (expected > (cost + margin) / 1e4),
                          lambda signals, hoped, cost, margin: signals * (signals * hoped * 1e4 > 2 * cost + margin)],
    "a basis point is a hundredth of a percent": [
        lambda signals, expected, cost, margin: keep_if(expected > (2 * cost + margin) / 100, signals),
        lambda signals, expected, cost, margin: keep_if(expected > 2 * cost + margin, signals)],
    "rising is not enough": lambda signals, expected, cost, margin: keep_if(expected > 0, signals),
    "margin forgotten": lambda signals, expected, cost, margin: keep_if(expected > 2 * cost / 1e4, signals),
    "margin on both sides": lambda signals, expected, cost, margin: keep_if(expected > (cost + margin) / 5e3, signals),
    "keeps the wrong ones": lambda signals, hoped, cost, margin: keep_if(1e4 * hoped < 2 * cost + margin, signals),
    "rows left out": lambda signals, expected, cost, margin: signals.drop(
        signals.index[(signals == 1) & (expected <= (2 * cost + margin) / 1e4)]),
    "signals made up": lambda signals, expected, cost, margin: pd.Series(
        np.where(signals == -1, -1, np.where(expected > (2 * cost + margin) / 1e4, 1, 0)), signals.index),
}

# ---- q6


def by_loop(bars):
    close, opens, n = bars["close"].to_numpy(), bars["open"].to_numpy(), len(bars)
    change = np.append(np.nan, close[1:] / close[:-1] - 1)
    wanted = np.zeros(n)
    for row in range(10, n):
        last = change[row - 9 : row + 1]
        wanted[row] = (change[row] - last.mean()) / last.std(ddof=1) > 0.5
    net = np.zeros(n)
    for row in range(2, n):
        held, before = wanted[row - 2], wanted[row - 3] if row > 2 else 0.0
        net[row] = held * (opens[row] / opens[row - 1] - 1) - 0.001 * abs(held - before)
    return net


def tutorial(bars, score="tutorial", wait=0, price="close", sides=lambda traded: traded.clip(lower=0)):
    """The tutorial, mended where a learner mends it."""
    change = bars["close"].pct_change()
    if score == "tutorial":
        score = (change - change.mean()) / change.std()
    elif score == "so far":
        score = (change - change.expanding(10).mean()) / change.expanding(10).std()
    else:
        score = (change - change.rolling(10).mean()) / change.rolling(10).std()
    held = (score > 0.5).astype(float).shift(wait).fillna(0)
    earned = held * bars[price].pct_change()
    paid = 0.0010 * sides(held.diff())
    return (earned - paid).fillna(0.0)


def mended(**faults):
    return lambda bars: tutorial(bars, **{"score": "mended", "wait": 2, "price": "open", "sides": abs} | faults)


def holding(bars):
    """Pays for what is held."""
    free = mended(sides=lambda traded: 0)(bars)
    change = bars["close"].pct_change()
    held = ((change - change.rolling(10).mean()) / change.rolling(10).std() > 0.5).shift(2, fill_value=False)
    return free - 0.001 * held


RIGHT["q6"] = [by_loop, mended()]
WRONG["q6"] = {
    "judged by days to come": [tutorial, mended(score="tutorial"), mended(score="tutorial", wait=1, price="close")],
    "earns what it had to see": [mended(wait=0, price="close"), mended(wait=0, price="close", sides=lambda traded: 0)],
    "filled at the close it decided on": mended(wait=1, price="close"),
    "an open already gone": mended(wait=1, price="open"),
    "filled late": [mended(wait=3), mended(price="close")],
    "one side only": [mended(sides=lambda traded: traded.clip(lower=0)),
                      mended(sides=lambda traded: (-traded).clip(lower=0))],
    "free": mended(sides=lambda traded: 0),
    "a cost that is earned": [mended(sides=lambda traded: -abs(traded)), mended(sides=lambda traded: traded)],
    "pays for holding": holding,
    "another window": mended(score="so far"),
}
