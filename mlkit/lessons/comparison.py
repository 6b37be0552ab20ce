"""Lesson 05, which family earns its complexity: families on the same folds, and what of their distance is luck.

>>> from mlkit import LaggedReturns, planted_edge
>>> found = run_families(["majority", "logistic"], planted_edge(1_500, seed=1, strength=0.3), LaggedReturns(3))
>>> score_table(found, n_boot=200).round(2)
          train  test   low  high
majority   0.51  0.49  0.45  0.53
logistic   0.60  0.58  0.55  0.62
>>> paired_differences(calls(found), n_boot=200).round(2)
                     difference   low  high
logistic - majority        0.09  0.04  0.15
"""

from __future__ import annotations

from itertools import combinations
from math import ceil
from time import perf_counter

import numpy as np
import pandas as pd

from mlkit.engine import BuyAndHold, Costs, MLStrategy, RealisticExecutionHandler, compare, sweep
from mlkit.labels import direction
from mlkit.models import make_model, model_table
from mlkit.models.scoring import scores_of
from mlkit.plots import BLUE, GREY, HATCH, ORANGE, Plot, figure, format_metric
from mlkit.research import OutOfSample, walk_forward
from mlkit.splits import WalkForward

N_FOLDS = 4
TRIES = 3  # at a time, of which the shortest counts: whatever else the machine does only makes it longer
LEFT = "<{} style='text-align: left'>"  # a table's cell with words in it

# ------------------------------------------------------------ measurements


def folds_of(labels: pd.DataFrame, n_folds: int = N_FOLDS) -> WalkForward:
    """Half of the rows (n) train, the window moves on in `n_folds` steps, and the other half is tested."""
    n = len(labels)
    return WalkForward(n // 2, ceil((n - n // 2) / n_folds), label_end=labels["end"])


def run_families(names, bars: pd.DataFrame, features, *, seed: int = 0) -> dict[str, OutOfSample]:
    """What each family of the catalogue says of the next direction, on the same rows and folds.

    names : of `CATALOGUE`; bars : (n, ...); features : bars -> DataFrame (n, k)
    Raises what `make_model` raises for a name, MissingDependency for one that is not installed.
    """
    X, labels = known_rows(bars, features)
    return {name: walk_forward(make_model(name, seed=seed), X, labels, folds_of(labels)) for name in names}


def known_rows(bars: pd.DataFrame, features) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features (m, k) and labels (m, 2) of the rows where both are known."""
    X, labels = features(bars), direction(bars)
    known = X.notna().all(axis=1) & labels["label"].notna()
    return X[known], labels[known]


def calls(found: dict[str, OutOfSample]) -> pd.DataFrame:
    """Whether each family called each tested day right: (m, families) of 0.0 and 1.0."""
    return pd.DataFrame({name: ((each.predictions > 0.5) == (each.labels == 1)).astype(float)
                         for name, each in found.items()})


def score_table(found: dict[str, OutOfSample], *, n_boot: int = 500) -> pd.DataFrame:
    """Accuracy of each family: train (mean of the folds), test, and low and high, its 95 % interval."""
    rows = {}
    for name, each in found.items():
        accuracy = each.scores(n_boot=n_boot).loc["accuracy"]
        rows[name] = {"train": each.folds["train_score"].mean(), "test": accuracy["value"],
                      "low": accuracy["low"], "high": accuracy["high"]}
    return pd.DataFrame.from_dict(rows, orient="index")


def paired_differences(right: pd.DataFrame, *, n_boot: int = 500, seed: int = 0) -> pd.DataFrame:
    """How much more often one column (m, k) is right than another: a row a pair, the better one first.

    Returns difference, low and high: the 95 % interval with both judged on the same days, which are
    drawn again in blocks (circular block bootstrap, blocks of the cube root of m).
    """
    mean, drawn = right.mean().to_numpy(), _drawn_means(right, n_boot, seed)
    rows = {}
    for pair in combinations(range(right.shape[1]), 2):
        first, second = sorted(pair, key=lambda column: -mean[column])
        low, high = np.percentile(drawn[:, first] - drawn[:, second], [2.5, 97.5])
        rows[f"{right.columns[first]} - {right.columns[second]}"] = {
            "difference": mean[first] - mean[second], "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def luck_of_the_best(right: pd.DataFrame, base, *, n_boot: int = 500, seed: int = 0) -> float:
    """How probable a lead over `base` as large as the best column's is, if no column (m, k) were better than it.

    base : what is to be beaten, a Series (m,) or the same number on every day
    The best of all columns is taken in every draw too: White (2000), A reality check for data
    snooping. 0 to 1; small where luck among so many does not explain the lead.
    """
    ahead = right.sub(base, axis=0)
    lead = ahead.mean().to_numpy()
    return float(((_drawn_means(ahead, n_boot, seed) - lead).max(axis=1) >= lead.max()).mean())


def choose(found: dict[str, OutOfSample], label_end: pd.Series, until=None) -> str:
    """The family right most often on the tested days whose label was known by `until`; None: on all of them."""
    return _known_by(calls(found), label_end, until).mean().idxmax()


def choose_then_judge(found: dict[str, OutOfSample], label_end: pd.Series, base: str) -> dict:
    """Choose on the first half of the tested days, judge on the second.

    Returns chosen; then, in percent of days called right, its first half (labels known by the
    middle only), its second half and that of `base`; and the rank correlation of all families' halves.
    """
    right = calls(found)
    middle = right.index[len(right) // 2]
    chosen = choose(found, label_end, middle)
    before, after = 100 * _known_by(right, label_end, middle).mean(), 100 * right[middle:].mean()
    return {"chosen": chosen, "first half, %": before[chosen], "second half, %": after[chosen],
            f"{base} there, %": after[base], "rank correlation": before.corr(after, method="spearman")}


def _known_by(right: pd.DataFrame, label_end: pd.Series, until) -> pd.DataFrame:
    return right if until is None else right[label_end.reindex(right.index) <= until]


def predictions_of_the_chosen(X: pd.DataFrame, y: pd.Series, *, names, label_end: pd.Series, before: bool) -> pd.Series:
    """A whole procedure, for `audit_procedure`: run some families, choose one, hand on what it predicted.

    before : True chooses on the first half of the tested days and hands on the second; False
        chooses on all tested days and hands on all
    """
    splitter = folds_of(label_end.reindex(X.index).to_frame("end"), n_folds=1)
    found = {name: walk_forward(make_model(name), X, y, splitter) for name in names}
    tested = X.index[len(X) // 2 :]
    middle = tested[len(tested) // 2]
    predicted = found[choose(found, label_end, middle if before else None)].predictions
    return predicted.loc[middle:] if before else predicted


def _drawn_means(right: pd.DataFrame, n_boot: int, seed: int) -> np.ndarray:
    """Means of every column over days drawn again in blocks, the same days for all: (n_boot, k)."""
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    days = CircularBlockBootstrap(ceil(len(right) ** (1 / 3)), right.to_numpy(), seed=seed)
    return days.apply(lambda values: values.mean(axis=0), n_boot)


def time_families(names, bars: pd.DataFrame, features, *, seed: int = 0) -> pd.DataFrame:
    """What each family takes, to one digit, as text: to fit the first fold, and to score 1,000 rows of it.

    The last column is the fitting of 1,000 walks through all folds.
    """
    X, labels = known_rows(bars, features)
    train, test = next(folds_of(labels).split(X))
    rows = {}
    for name in names:
        fits, scorings = [], []
        for _ in range(TRIES):
            started = perf_counter()
            model = make_model(name, seed=seed).fit(X.iloc[train], labels["label"].iloc[train])
            fitted = perf_counter()
            scores_of(model, X.iloc[test])
            fits.append(fitted - started)
            scorings.append(perf_counter() - fitted)
        rows[name] = {"fit, seconds": min(fits), "score 1,000 days, milliseconds": 1e6 * min(scorings) / len(test),
                      "1,000 walks, minutes": 1_000 * N_FOLDS * min(fits) / 60}
    return pd.DataFrame.from_dict(rows, orient="index").map(lambda value: f"{float(f'{value:.1g}'):g}")


def trade_families(found: dict[str, OutOfSample], bars: pd.DataFrame, features, cost_bps: float) -> dict:
    """Backtests of each family, long above 1/2 and out below, and of buy & hold, on the same days: `compare`."""
    strategies = {name: MLStrategy(each, features, enter=0.5, exit=0.5) for name, each in found.items()}
    return compare(bars, strategies | {"buy & hold": BuyAndHold()},
                   execution=RealisticExecutionHandler(Costs(cost_bps, 0.0, 0.0)))


def trading_grid(found: dict[str, OutOfSample], bars: pd.DataFrame, features, *, edges, costs_bps) -> pd.DataFrame:
    """`sweep` of each family: a BUY above 1/2 + edge, a SELL below 1/2 - edge, for each cost (bps a side)."""
    strategies = {(name, edge): MLStrategy(each, features, enter=0.5 + edge, exit=0.5 - edge)
                  for name, each in found.items() for edge in edges}
    grid = sweep(bars, strategies, costs=[Costs(bps, 0.0, 0.0) for bps in costs_bps], progress=False)
    return grid.assign(family=grid["strategy"].str[0], edge=grid["strategy"].str[1], cost_bps=grid["half_spread_bps"])


def report_of(name: str, bars: pd.DataFrame, features, rival: dict[str, OutOfSample], *, cost_bps: float,
              n_boot: int = 500, seed: int = 0) -> dict[str, str]:
    """What a comparison asks of one family on one market, as text: score, gap, distance to a rival, trading.

    rival : {name: what `run_families` found for it on the same bars}
    """
    found = run_families([name], bars, features, seed=seed)
    score = 100 * score_table(found, n_boot=n_boot).loc[name]
    pair = 100 * paired_differences(calls(rival | found), n_boot=n_boot)
    ahead, row = pair.index[0].split(" - ")[0], pair.iloc[0]
    figures = trade_families(found, bars, features, cost_bps)[name].metrics
    return {"train, %": f"{score['train']:.1f}",
            "test, %": f"{score['test']:.1f} ({score['low']:.1f} to {score['high']:.1f})",
            "gap, points": f"{score['train'] - score['test']:.1f}",
            "who leads, points": f"{ahead} by {row['difference']:.1f} ({row['low']:+.1f} to {row['high']:+.1f})",
            "Sharpe after costs": format_metric("sharpe", figures["sharpe"]), "turnover": f"{figures['turnover']:.1f}"}


# ------------------------------------------------------ tables and pictures


def trade_table(traded: dict[str, dict]) -> pd.DataFrame:
    """Sharpe ratio and turnover, a year, of market -> `trade_families`, as text; "-" for a family that never trades."""
    columns = {}
    for market, results in traded.items():
        figures = {name: result.metrics for name, result in results.items()}
        columns[market, "Sharpe"] = {name: format_metric("sharpe", each["sharpe"]) for name, each in figures.items()}
        columns[market, "turnover"] = {name: f"{each['turnover']:.1f}" for name, each in figures.items()}
    return pd.DataFrame(columns)


def cards():
    """The catalogue's cards for reading: family, strengths and when to leave it alone (an IPython HTML)."""
    from IPython.display import HTML  # here, as the rest of the module needs no notebook
    table = model_table()[["family", "strengths", "avoid"]].rename(columns={"avoid": "leave it alone"})
    with pd.option_context("display.max_colwidth", None):
        page = table.rename_axis(None).to_html(justify="left", border=0)
    return HTML(page.replace("<td>", LEFT.format("td")).replace("<th>", LEFT.format("th")))


def plot_families(tables: dict[str, pd.DataFrame], titles: dict[str, str]) -> Plot:
    """Train score, test score and its interval, family by family: a panel a market, market -> `score_table`."""
    fig, axes = figure(len(tables), size=(8.0, 2.7 * len(tables) + 0.4))
    for axis, (market, table) in zip(axes, tables.items()):
        at, percent = np.arange(len(table)), 100 * table
        axis.hlines(at, percent["low"], percent["high"], color=BLUE, linewidth=2.5, alpha=0.4)
        axis.plot(percent["test"], at, "o", color=BLUE, label="days it had not seen, with 95 % interval")
        axis.plot(percent["train"], at, "s", color=ORANGE, markersize=4, label="days it learned from")
        axis.axvline(50.0, color="black", linewidth=0.8)
        axis.set_yticks(at, table.index)
        axis.invert_yaxis()
        axis.set_title(titles[market], loc="left")
    axes[-1].set_xlabel("called right, % of days")
    fig.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    return fig


def plot_survivors(grid: pd.DataFrame, benchmark: float, *, edge: float, cost_bps: float) -> Plot:
    """Net Sharpe ratio of each family (of `trading_grid`) at one edge and cost, beside buy & hold's."""
    chosen = grid[(grid["edge"] == edge) & (grid["cost_bps"] == cost_bps)].set_index("family")["sharpe"]
    fig, (axis,) = figure()
    ahead = chosen > benchmark
    axis.barh(chosen.index, chosen.fillna(0.0), color=ahead.map({True: BLUE, False: ORANGE}), edgecolor="black",
              hatch=list(ahead.map({True: "", False: HATCH})), linewidth=0.4)
    for row, ratio in enumerate(chosen):
        words = " never trades" if np.isnan(ratio) else f" {ratio:.2f}"
        axis.text(np.fmax(ratio, 0.0), row, words, va="center", fontsize=8)
    axis.axvline(0.0, color="black", linewidth=0.8)
    axis.axvline(benchmark, color=GREY, linestyle="--")
    ends = [0.0, benchmark, grid["sharpe"].min(), grid["sharpe"].max()]
    axis.set(xlabel=f"Sharpe ratio after costs, a year (dashed: buy & hold, {benchmark:.2f}; hatched: not ahead of it)",
             xlim=(np.nanmin(ends) - 0.1, np.nanmax(ends) + 0.1))
    axis.invert_yaxis()
    axis.set_title(f"{ahead.sum()} of {len(chosen)} ahead of buy & hold: {cost_bps:g} bp a side, "
                   f"buy above {50 + 100 * edge:g} %, sell below {50 - 100 * edge:g} %", loc="left")
    return fig
