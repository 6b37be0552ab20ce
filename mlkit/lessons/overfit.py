"""Lesson 02's exhibits: train score beside test score, and what luck finds among many rules.

>>> from sklearn.tree import DecisionTreeClassifier
>>> from mlkit import LaggedReturns, WalkForward, direction, planted_edge
>>> bars = planted_edge(1_500, seed=1, strength=0.3)
>>> labels = direction(bars)
>>> trees = {depth: DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in (1, 20)}
>>> train_and_test(trees, LaggedReturns(5)(bars), labels, WalkForward(500, 500, label_end=labels["end"])).round(2)
    train  test   low  high
1    0.60  0.57  0.54  0.60
20   0.98  0.53  0.51  0.56
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV

from mlkit import metrics
from mlkit.labels import direction
from mlkit.overfitting import TrialLedger, expected_max_sharpe, probabilistic_sharpe
from mlkit.plots import BLUE, GREEN, GREY, HATCH, ORANGE, Plot, figure
from mlkit.research import walk_forward
from mlkit.splits import PurgedKFold, WalkForward

LEARNED = "days it learned from"
UNSEEN = "days that came after, with 95 % interval"


def train_and_test(models: dict, X: pd.DataFrame, y, splitter) -> pd.DataFrame:
    """Accuracy of each model on what it learned from and on what came after, on the same folds.

    models : name -> unfitted classifier; the rest as for `walk_forward`
    returns : DataFrame, a row a model: train (mean over the folds), test (all tested rows), and
        low and high, the ends of the 95 % block-bootstrap interval of test. Fractions.
    """
    rows = {}
    for name, model in models.items():
        found = walk_forward(model, X, y, splitter)
        score = found.scores(n_boot=200).loc["accuracy"]
        rows[name] = {"train": found.folds["train_score"].mean(), "test": score["value"],
                      "low": score["low"], "high": score["high"]}
    return pd.DataFrame.from_dict(rows, orient="index")


def choose_both_ways(trees: dict, bars: pd.DataFrame, features, train_size: int, test_size: int) -> dict:
    """Accuracy on the test days of a depth that those days chose, and of one that was chosen before them.

    trees : depth -> unfitted DecisionTreeClassifier; the sizes as for `WalkForward`
    returns : "best on the test days", "mean of all" and "chosen before" (nested: by cross-validation
        inside each training window), fractions of all tested rows
    """
    X, labels = features.transform(bars), direction(bars)
    splitter = WalkForward(train_size, test_size, label_end=labels["end"])

    def accuracy(model) -> float:
        found = walk_forward(model, X, labels, splitter)
        return float(((found.predictions > 0.5) == found.labels).mean())

    tried = [accuracy(tree) for tree in trees.values()]
    inner = PurgedKFold(3, label_end=labels["end"])
    nested = GridSearchCV(next(iter(trees.values())), {"max_depth": list(trees)}, cv=inner)
    return {"best on the test days": max(tried), "mean of all": float(np.mean(tried)),
            "chosen before": accuracy(nested)}


def plot_capacity(curves: dict, label: str) -> Plot:
    """Train and test accuracy against capacity: a panel a market, curves title -> `train_and_test` of settings."""
    fig, axes = figure(len(curves), size=(8.0, 2.8 * len(curves)))
    for axis, (title, curve) in zip(axes, curves.items()):
        axis.plot(curve.index, 100 * curve["train"], color=ORANGE, marker="s", linestyle="--", label=LEARNED)
        axis.plot(curve.index, 100 * curve["test"], color=BLUE, marker="o", label=UNSEEN)
        axis.fill_between(curve.index, 100 * curve["low"], 100 * curve["high"], color=BLUE, alpha=0.15, linewidth=0)
        axis.axhline(50.0, color="black", linewidth=0.8, linestyle=":")
        axis.set_xticks(curve.index)
        axis.set_ylabel("called right, % of days")
        axis.set_title(title, loc="left")
    axes[0].legend(frameon=False, loc="upper left")
    axes[-1].set_xlabel(label)
    return fig


def plot_cures(tables: dict) -> Plot:
    """How far train and test are apart, model by model: a panel a market, tables title -> `train_and_test`."""
    fig, axes = figure(len(tables), size=(8.0, 3.1 * len(tables)))
    for axis, (title, table) in zip(axes, tables.items()):
        at, percent = np.arange(len(table)), 100 * table
        axis.hlines(at, percent["test"], percent["train"], color=GREY, linewidth=1.0, linestyle=":")
        axis.plot(percent["train"], at, "s", color=ORANGE, label=LEARNED)
        axis.hlines(at, percent["low"], percent["high"], color=BLUE, linewidth=2.5, alpha=0.4)
        axis.plot(percent["test"], at, "o", color=BLUE, label=UNSEEN)
        axis.axvline(50.0, color="black", linewidth=0.8)
        axis.set_yticks(at, table.index)
        axis.invert_yaxis()
        axis.set_title(title, loc="left")
    axes[0].legend(frameon=False, loc="center right")
    axes[-1].set_xlabel("called right, % of days")
    return fig


def judge_best(results: dict, ledger: TrialLedger) -> dict:
    """What is left of the best of many rules once they are counted.

    results : name -> BacktestResult, all that were tried; ledger : that counted them
    returns : best (its Sharpe ratio a year), luck (the best to expect of so many if none has an edge),
        alone (its probabilistic Sharpe ratio, as if nothing else had been tried), deflated_2014 and
        deflated_2025 (probabilities)
    """
    best = max(results.values(), key=lambda result: result.metrics["sharpe"])
    return {"best": best.metrics["sharpe"], "luck": expected_max_sharpe(len(ledger), ledger.trials["sharpe"].var()),
            "alone": probabilistic_sharpe(metrics.sharpe(best.returns, 1.0), len(best.returns)),
            "deflated_2014": ledger.deflated_sharpe(best), "deflated_2025": ledger.deflated_sharpe(best, "2025")}


def returns_of(results: dict) -> pd.DataFrame:
    """Returns a bar of name -> BacktestResult, a column each, over the span that all of them share."""
    return pd.concat({name: result.returns for name, result in results.items()}, axis=1, join="inner")


def plot_places(found: dict) -> Plot:
    """Where the winner of one half of the bars stands among all rules on the other: a panel a case, title -> PBO."""
    fig, axes = figure(len(found), size=(8.0, 2.3 * len(found)))
    edges = np.linspace(0.0, 100.0, 21)
    for axis, (title, pbo) in zip(axes, found.items()):
        place = 100.0 / (1.0 + np.exp(-pbo.logits))
        for chosen, colour, hatch, label in ((place <= 50.0, ORANGE, HATCH, "no better than the median"),
                                             (place > 50.0, BLUE, "", "better")):
            count, _ = np.histogram(place[chosen], edges)
            axis.bar(edges[:-1], 100.0 * count / len(place), width=5.0, align="edge", color=colour, hatch=hatch,
                     edgecolor="white", label=label)
        axis.axvline(50.0, color="black", linewidth=0.8)
        axis.set(xlim=(0, 100), ylabel="% of halvings")
        axis.set_title(title, loc="left")
    axes[-1].legend(frameon=False, loc="upper left", title="the winner, on the other half")
    axes[-1].set_xlabel("its place there: 0 the worst rule, 100 the best")
    return fig


def plot_p_values(p_values: np.ndarray, level: float = 0.05) -> Plot:
    """Sorted p-values (n,) on logarithmic scales, beside what noise would give and what each correction asks for."""
    count = len(p_values)
    rank = np.arange(1, count + 1)
    fig, (axis,) = figure()
    axis.plot(rank, np.sort(p_values), "o", color=BLUE, markersize=3.5, label="p-values, sorted")
    axis.plot(rank, rank / (count + 1), color=GREY, linewidth=1.0, label="what noise gives on average")
    axis.axhline(level, color="black", linewidth=0.8, linestyle=":", label=f"{level:g}, for one test")
    axis.plot(rank, level * rank / count, color=ORANGE, linestyle="--",
              label="Benjamini-Hochberg keeps all up to the last point below")
    axis.axhline(level / count, color=GREEN, linestyle="-.", label="Bonferroni keeps what is below")
    axis.set(xscale="log", yscale="log", xlabel="rank, smallest p-value first (log scale)",
             ylabel="p-value (log scale)")
    axis.set_title(f"{(p_values <= level).sum()} of {count} are below {level:g}, "
                   f"{(p_values <= level / count).sum()} below {level / count:g}", loc="left")
    axis.legend(frameon=False, loc="lower right")
    return fig
