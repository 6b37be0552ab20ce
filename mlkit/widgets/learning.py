"""Explorers of learning: windows on time, capacity, how many were tried, leaks turned on and off.

Each is a function of data and settings -> Plot, drawn anew in about a tenth of a second (`benchmarks/widgets.py`
measures it).

>>> from mlkit import planted_edge
>>> fig = capacity_explorer(planted_edge(2_000, seed=1, strength=0.3), depth=8)
>>> print(fig.get_suptitle())
Depth 8, 66 answers: right on 68 % of the days it learned from, on 59 % of those after
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from mlkit.features import LaggedReturns
from mlkit.labels import direction
from mlkit.overfitting import expected_max_sharpe
from mlkit.plots import BLUE, GREY, HATCH, ORANGE, Plot, draw_folds, fold_words, headline, panels
from mlkit.splits import WalkForward

DEPTHS = (1, 2, 3, 5, 8, 12, 20)
NEAR = 60  # rows on either side of the first test block that are drawn large


# ------------------------------------------------------------------- windows


def window_explorer(index: pd.DatetimeIndex, *, train_size: int, test_size: int, horizon: int,
                    on: Plot | None = None) -> Plot:
    """The folds of a walk forward on time, and the end of the first training window row by row.

    index : of the bars; horizon : bars that a label reaches over, from the open after its decision
    """
    after = np.arange(len(index)) + horizon + 1
    known = after < len(index)
    rows = pd.DataFrame({"row": np.arange(known.sum())}, index[known])
    splitter = WalkForward(train_size, test_size, label_end=pd.Series(index[after[known]], rows.index))
    folds = list(splitter.split(rows))
    fig, (top, bottom) = panels((8.0, 4.6), (0.09, 0.52, 0.89, 0.4), (0.09, 0.11, 0.89, 0.25), on=on)
    purged = draw_folds(top, folds, rows.index)
    top.legend(frameon=True, framealpha=1.0, edgecolor="none", ncols=3, fontsize=8, loc="lower left")
    _first_border(bottom, *folds[0], horizon)
    top.set_title(f"{len(folds)} folds; a label of {horizon} bars purges {purged.max()} rows before each test",
                  loc="left")
    fig.sentence = fold_words(folds, rows.index)
    return fig


def _first_border(axis, train: np.ndarray, test: np.ndarray, horizon: int) -> None:
    """The labels around the first test row, each from its decision to the bar on which it is known."""
    start = test[0]
    for rows, colour, style, name in (
            (train[train >= start - NEAR], BLUE, "-", "trains"),
            (np.setdiff1d(np.arange(max(start - NEAR, 0), start), train), ORANGE, "--", "purged"),
            (test[test < start + NEAR // 3], GREY, ":", "is tested")):
        at = rows - start
        axis.hlines(at, at, at + horizon + 1, color=colour, linestyle=style, linewidth=1.2, label=name)
    axis.axvline(0.0, color="black", linewidth=1.0)
    axis.set(xlabel="bars from the first test row: each label, from its decision until it is known",
             ylabel="decided at", ylim=(NEAR // 3 + 1, -NEAR - 1), xlim=(-NEAR - 1, NEAR + NEAR // 3))


# ------------------------------------------------------------------ capacity


def capacity_explorer(bars: pd.DataFrame, *, depth: int, on: Plot | None = None) -> Plot:
    """What a tree of some depth makes of one feature, yesterday's return, and how often it is right by depth.

    bars : their first half teaches, their second half tests
    """
    X, y = LaggedReturns(1)(bars).to_numpy(), direction(bars)["label"].to_numpy()
    known = np.isfinite(X[:, 0]) & np.isfinite(y)
    X, y = 100 * X[known], y[known]
    half = len(X) // 2
    trees = {each: DecisionTreeClassifier(max_depth=each, random_state=0).fit(X[:half], y[:half])
             for each in sorted({*DEPTHS, depth})}
    right = {each: (100 * tree.score(X[:half], y[:half]), 100 * tree.score(X[half:], y[half:]))
             for each, tree in trees.items()}
    fig, (left, other) = panels((8.0, 3.8), (0.08, 0.14, 0.41, 0.74), (0.58, 0.14, 0.4, 0.74), on=on)
    at = np.linspace(*np.quantile(X[:half], [0.005, 0.995]), 500)
    left.plot(at, 100 * trees[depth].predict_proba(at[:, None])[:, 1], color=BLUE, linewidth=1.0, drawstyle="steps-mid",
              label="what the tree says")
    left.axhline(50.0, color="black", linewidth=0.8, linestyle=":")
    left.set(xlabel="yesterday's return, %", ylabel="probability of a rise, %", ylim=(-3, 103))
    for place, (colour, style, marker, name) in enumerate(((ORANGE, "--", "s", "days it learned from"),
                                                           (BLUE, "-", "o", "days after them"))):
        other.plot(list(right), [pair[place] for pair in right.values()], color=colour, linestyle=style, marker=marker,
                   markersize=4, label=name)
        other.plot([depth], [right[depth][place]], marker, color=colour, markersize=10)
    other.axhline(50.0, color="black", linewidth=0.8, linestyle=":")
    other.set(xlabel="depth of the tree (questions in a row)", ylabel="called right, % of days")
    other.legend(frameon=False, fontsize=9, loc="upper left")
    learned, after = right[depth]
    headline(fig, f"Depth {depth}, {trees[depth].get_n_leaves()} answers: right on {learned:.0f} % of the days it "
                  f"learned from, on {after:.0f} % of those after")
    return fig


# -------------------------------------------------------------------- trials


def trials_explorer(sharpes: np.ndarray, years: float, *, n_rules: int, on: Plot | None = None) -> Plot:
    """The best Sharpe ratio so far against the rules tried, on markets of pure noise, beside what luck was to show.

    sharpes : (markets, rules), a year, of the same rules on each market; years : of each market
    n_rules : how many of them to try, 1 or more
    """
    number = np.arange(1, n_rules + 1)
    best = np.maximum.accumulate(sharpes[:, :n_rules], axis=1)
    luck = np.atleast_1d(expected_max_sharpe(number, 1.0 / years))
    fig, (axis,) = panels((8.0, 3.6), (0.08, 0.14, 0.9, 0.77), on=on)
    axis.plot(number, best.T, color=GREY, linewidth=0.6, alpha=0.6)
    axis.plot(number, luck, color=ORANGE, linestyle="--", marker="s", markevery=[-1],
              label="to expect of so many different ideas")
    axis.plot(number, best.mean(axis=0), color=BLUE, marker="o", markevery=[-1],
              label="found, mean of the markets (thin: each)")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set(xlabel="rules tried", ylabel="best Sharpe ratio so far, a year", xlim=(0, sharpes.shape[1] + 1),
             ylim=(sharpes[:, 0].min() - 0.1, sharpes.max() + 0.1))
    axis.legend(frameon=False, loc="lower right")
    axis.set_title(f"The best of {n_rules} rules on noise shows {best[:, -1].mean():.2f} on average; "
                   f"{luck[-1]:.2f} if all were different", loc="left")
    return fig


# --------------------------------------------------------------------- leaks


def leak_switchboard(scores: dict, *, on: Plot | None = None, **switches: bool) -> Plot:
    """What a pipeline scores with the leaks that are turned on, beside each of them alone and none.

    scores : {frozenset of the leaks that are on: share of right calls}, for each combination of them
    switches : leak -> whether it is on; those left out are off. Raises ValueError for one that nobody measured
    """
    names = sorted(max(scores, key=len), key=lambda name: (-scores[frozenset([name])], name))
    unknown = sorted(set(switches) - set(names))
    if unknown:
        raise ValueError(f"nobody measured the leak {unknown[0]!r}: there are {', '.join(names)}")
    chosen = frozenset(name for name, is_on in switches.items() if is_on)
    alone = {name.replace("_", " "): 100 * scores[frozenset([name])] for name in names}
    rows = {"no leak": 100 * scores[frozenset()], **alone, "all that is on": 100 * scores[chosen]}
    looks = [("white", ""), *((ORANGE, HATCH) if name in chosen else ("white", "") for name in names), (BLUE, "")]
    fig, (axis,) = panels((8.0, 1.2 + 0.42 * len(rows)), (0.27, 0.17, 0.7, 0.72), on=on)
    lengths = np.array(list(rows.values())) - 50.0
    axis.barh(list(rows), lengths, left=50.0, height=0.6, color=[colour for colour, _ in looks],
              hatch=[hatch for _, hatch in looks], edgecolor="black", linewidth=0.8)
    for row, (value, length) in enumerate(zip(rows.values(), lengths)):
        axis.annotate(f"{value:.1f} %", (50.0 + max(length, 0.0), row), (4, 0), textcoords="offset points", va="center",
                      fontsize=9)
    axis.axvline(50.0, color="black", linewidth=0.8)
    axis.set(xlabel="called right, % of days of a random walk (hatched: turned on)", xlim=(44, 100))
    axis.set_ylim(len(rows) - 0.4, -0.6)
    count = {0: "No leak is on", 1: "One leak is on"}.get(len(chosen), f"{len(chosen)} leaks are on")
    axis.set_title(f"{count}: {rows['all that is on']:.1f} % called right where nobody can know anything", loc="left")
    fig.sentence = "Called right with " + ", ".join(f"{name}: {value:.1f} %" for name, value in rows.items())
    return fig
