"""Pictures of models: folds on time, calibration, reliability of forecasts, settings and their scores, regimes."""

from __future__ import annotations

from itertools import cycle

import matplotlib.dates
import numpy as np
import pandas as pd

from mlkit.plots.style import BLUE, GREY, HATCH, ORANGE, RED, Plot, figure, log_labels

ROLES = {"trains": (BLUE, 0.3, ""), "purged": (ORANGE, 0.75, "xxxx"), "is tested": (GREY, 0.55, "")}
SHADES = ((ORANGE, 0.28, ""), (GREY, 0.18, HATCH), (BLUE, 0.14, "...."))  # of regimes
CELLS = 60  # of a heat map up to which each shows its number


def plot_fold_map(splitter, X, title: str = "") -> Plot:
    """Each fold of a splitter on time: the rows that train, those purged, and those tested.

    splitter : of `mlkit.splits` or sklearn; X : what it splits, with the index of its rows
    """
    folds = list(splitter.split(X))
    fig, (axis,) = figure(size=(8.0, 1.4 + 0.22 * min(len(folds), 20)))
    purged = draw_folds(axis, folds, X.index)
    fig.legend(*axis.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    axis.set_title(title or f"{len(folds)} folds, which purge {purged.sum():,} rows in all", loc="left")
    fig.sentence = fold_words(folds, X.index)
    return fig


def fold_words(folds, index) -> str:
    """Folds in a sentence: how many, and how the first and the last of them are made of rows."""
    told = []
    for number in (0, len(folds) - 1):
        train, test = folds[number]
        told.append(f"fold {number} trains on {len(train):,} rows and is tested on {len(test):,}, "
                    f"{index[test[0]]:%Y-%m-%d} to {index[test[-1]]:%Y-%m-%d}")
    return f"{len(folds)} folds, one below another: " + "; ".join(dict.fromkeys(told))


def draw_folds(axis, folds, index) -> np.ndarray:
    """Draw folds (train rows, test rows of an index), a line each; returns how many rows each one purges.

    Purged is what lies between the first and the last row of a fold and neither trains nor is tested.
    """
    spans = {role: [] for role in ROLES}
    purges = []
    for line, (train, test) in enumerate(folds):
        inside = np.arange(min(train.min(), test.min()), max(train.max(), test.max()) + 1)
        purged = np.setdiff1d(inside, np.concatenate([train, test]))
        purges.append(len(purged))
        for role, rows in zip(ROLES, (train, purged, test)):
            spans[role] += [(line, first, last) for first, last in _runs(rows)]
    dated = isinstance(index, pd.DatetimeIndex)
    places = matplotlib.dates.date2num(index) if dated else np.asarray(index, float)
    if dated:
        axis.xaxis_date()
    for role, (colour, height, hatch) in ROLES.items():
        lines, first, last = np.array(spans[role] or np.empty((0, 3)), dtype=int).T
        left, right = places[first], places[np.minimum(last + 1, len(places) - 1)]
        axis.barh(lines, right - left, left=left, height=height, color=colour, hatch=hatch, label=role,
                  edgecolor="white" if hatch else colour, linewidth=0.3)
    axis.set(xlabel="date" if dated else "row", ylabel="fold", ylim=(len(folds) - 0.4, -0.6))
    axis.yaxis.get_major_locator().set_params(integer=True)
    return np.array(purges)


def _runs(rows: np.ndarray) -> list[tuple[int, int]]:
    """First and last of each unbroken run of row numbers."""
    rows = np.sort(rows)
    breaks = np.flatnonzero(np.diff(rows) > 1)
    return list(zip(rows[np.r_[0, breaks + 1]], rows[np.r_[breaks, len(rows) - 1]])) if len(rows) else []


def binned(said, came, n_bins: int = 10) -> pd.DataFrame:
    """Forecasts in bins of equal size, the smallest first: means of what was said and of what came, and how many."""
    order = np.argsort(np.asarray(said), kind="stable")
    bins = np.array_split(order, min(n_bins, len(order)))
    return pd.DataFrame([{"said": np.asarray(said)[rows].mean(), "came": np.asarray(came)[rows].mean(), "n": len(rows)}
                         for rows in bins])


def plot_calibration(predictions: pd.Series, labels: pd.Series, title: str = "", n_bins: int = 10) -> Plot:
    """How often came true what was given some probability: bins of equal size with 95 % intervals, and the diagonal.

    predictions : (n,) probabilities of a rise; labels : (n,) of 1 and 0
    The intervals are normal ones, as if the days knew nothing of one another.
    """
    bins = 100 * binned(predictions, labels, n_bins)
    reach = 1.96 * np.sqrt(bins["came"] * (100 - bins["came"]) / bins["n"] * 100)
    off = (bins["came"] - bins["said"]).abs().mean()
    fig, (axis,) = figure(size=(6.0, 4.2))
    ends = bins["said"].iloc[[0, -1]]
    axis.plot(ends, ends, color=GREY, linestyle="--", label="as said")
    axis.errorbar(bins["said"], bins["came"], reach, color=BLUE, fmt="o", capsize=3, label="as it came")
    axis.set(xlabel="probability of a rise that was said, %", ylabel="rises that came, % of days")
    axis.legend(frameon=False, loc="best")
    axis.set_title(title or f"On average {off:.1f} points between what was said and what came", loc="left")
    return fig


def plot_reliability(forecasts: dict, labels: pd.Series, unit: str, title: str, n_bins: int = 10) -> Plot:
    """What came on average where so much had been forecast, in bins of equal size, on logarithmic axes.

    forecasts : name -> Series (n,), above 0, of volatility, say; labels : Series of what came, on the same index
    """
    fig, (axis,) = figure(size=(6.0, 4.2))
    ends = []
    for (name, forecast), (colour, marker, style) in zip(
            forecasts.items(), cycle(((BLUE, "o", "-"), (ORANGE, "s", "--"), (RED, "^", ":")))):
        bins = binned(forecast, labels.loc[forecast.index], n_bins)
        axis.plot(bins["said"], bins["came"], color=colour, marker=marker, linestyle=style, linewidth=0.9, markersize=5,
                  label=name)
        ends += [bins["said"].min(), bins["said"].max()]
    ends = [min(ends), max(ends)]
    axis.plot(ends, ends, color=GREY, linewidth=1.0, label="as forecast")
    axis.set(xscale="log", yscale="log", xlabel=f"forecast, {unit} (log scale)",
             ylabel=f"what came, {unit}, mean of the bin (log scale)")
    log_labels(axis.xaxis, axis.get_xlim())
    log_labels(axis.yaxis, axis.get_ylim())
    axis.legend(frameon=False, loc="upper left")
    axis.set_title(title, loc="left")
    return fig


def plot_settings(table: pd.DataFrame, metric: str, title: str = "") -> Plot:
    """A metric of each pair of settings as a heat map; the number of trials, which luck grows with, is in its title.

    table : (rows, columns) of the metric by two settings, whose names are those of its axes; NaN where nothing was run
    """
    import seaborn  # here, as it takes longer to import than the rest

    n_trials = int(table.notna().to_numpy().sum())
    best, median = np.nanmax(table), np.nanmedian(table)
    fig, (axis,) = figure(size=(8.0, 4.6))
    axis.grid(False)
    seaborn.heatmap(table, ax=axis, cmap="cividis", annot=table.size <= CELLS, fmt=".2f", linewidths=0.3,
                    cbar_kws={"label": metric})
    axis.set(xlabel=str(table.columns.name or "columns"), ylabel=str(table.index.name or "rows"))
    axis.tick_params(axis="both", length=0, rotation=0)
    finding = title or f"the best shows {best:.2f}, the median {median:.2f}"
    axis.set_title(f"{n_trials:,} trials: {finding}", loc="left")
    return fig


def plot_regimes(values: pd.Series, regime: pd.Series, ylabel: str, title: str, names: dict | None = None,
                 level: float | None = None) -> Plot:
    """A line over time, and bands, each with a shade and a hatch of its own, where some regime ruled.

    regime : Series of what ruled at each bar; names : value -> name of the regimes that are shaded, all unless given
    level : where a line is drawn across
    """
    names = names or {value: str(value) for value in regime.dropna().unique()}
    fig, (axis,) = figure(size=(8.0, 3.2))
    for (value, name), (colour, alpha, hatch) in zip(names.items(), cycle(SHADES)):
        axis.fill_between(regime.index, 0, 1, where=regime.to_numpy() == value, transform=axis.get_xaxis_transform(),
                          facecolor=colour, edgecolor=colour if hatch else "none", hatch=hatch, alpha=alpha,
                          linewidth=0, step="mid", label=name)
    axis.plot(values.index, values.to_numpy(), color=BLUE, linewidth=1.0)
    if level is not None:
        axis.axhline(level, color="black", linewidth=0.8)
    axis.set(xlabel="date", ylabel=ylabel)
    axis.legend(frameon=True, framealpha=1.0, edgecolor="none", fontsize=8, loc="upper right", ncols=len(names))
    axis.set_title(title, loc="left")
    return fig
