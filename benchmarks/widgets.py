"""How soon an explorer answers: from the setting to the packed picture, on 20 years of daily bars.

    python benchmarks/widgets.py

Prints, for each explorer, medians in milliseconds over moves to and fro between two settings: the first picture
(axes are made), the next ones (drawn on the same axes, as a slider does), and of these the processor's share, which
other programs on the machine do not change.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import numpy as np

from mlkit import (FeatureSet, LaggedReturns, MLStrategy, MovingAverageCross, PriceToAverage, Volatility,
                   break_even_cost, direction, load_bars, make_model, planted_edge, random_walk)
from mlkit.lessons.leaks import LEAKS, overlap_scores, plot_overlap, switched_scores
from mlkit.widgets import (capacity_explorer, cost_explorer, leak_switchboard, size_explorer, threshold_explorer,
                           trials_explorer, window_explorer)

N_BARS, MOVES = 5_040, 15


def explorers() -> dict:
    """Name -> (function, one setting, another)."""
    bars, rule = load_bars("GE").iloc[-N_BARS:], MovingAverageCross(1, 5)
    features = FeatureSet([LaggedReturns(5), PriceToAverage(5, 20), Volatility(20)])
    X, y = features(bars), direction(bars)["label"]
    known = X.notna().all(axis=1) & y.notna()
    model = MLStrategy(make_model("logistic").fit(X[known], y[known]), features)
    limit, edge = break_even_cost(bars, rule, n_boot=1), planted_edge(N_BARS, seed=1, strength=0.3)
    sharpes = np.random.default_rng(0).normal(0.0, 0.45, (30, 200))
    walk = random_walk(4_000, seed=1)
    return {
        "cost": (partial(cost_explorer, bars, rule, limit), {"cost_bps": 2.0}, {"cost_bps": 5.0}),
        "threshold": (partial(threshold_explorer, bars, model), {"edge": 0.02}, {"edge": 0.05}),
        "size": (partial(size_explorer, bars["close"].pct_change().dropna()), {"size": 0.5}, {"size": 2.0}),
        "windows": (partial(window_explorer, bars.index, train_size=1_000, test_size=500), {"horizon": 5},
                    {"horizon": 20}),
        "capacity": (partial(capacity_explorer, edge), {"depth": 3}, {"depth": 12}),
        "trials": (partial(trials_explorer, sharpes, 5), {"n_rules": 50}, {"n_rules": 200}),
        "leaks": (partial(leak_switchboard, switched_scores(walk)), {LEAKS[0]: True}, {LEAKS[1]: True}),
        "overlap (lesson 01)": (partial(plot_overlap, overlap_scores(walk, [5, 20])), {"horizon": 5}, {"horizon": 20})}


def measure(draw, one: dict, other: dict) -> tuple[float, float, float]:
    """Milliseconds to the first picture, to the next ones, and of the processor: medians."""
    first, moved, busy = [], [], []
    for _ in range(3):
        start = time.perf_counter()
        figure = draw(**one)
        figure.png(quick=True)
        first.append(time.perf_counter() - start)
    for number in range(MOVES):
        start, worked = time.perf_counter(), time.process_time()
        figure = draw(**(one, other)[number % 2], on=figure)
        figure.png(quick=True)
        moved.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
    return tuple(1e3 * median(times) for times in (first, moved, busy))


if __name__ == "__main__":
    print(f"{'explorer':<20} {'first, ms':>10} {'moved, ms':>10} {'processor, ms':>14}")
    for name, (draw, one, other) in explorers().items():
        print(f"{name:<20} {{:>10.0f}} {{:>10.0f}} {{:>14.0f}}".format(*measure(draw, one, other)))
