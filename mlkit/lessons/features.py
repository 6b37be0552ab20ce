"""Lesson 03, what a feature may know: its measurements, its exhibits and its pictures.

>>> from mlkit import FeatureSet, LaggedReturns, direction, random_walk
>>> bars = random_walk(600, seed=1)
>>> steps = {"lags": FeatureSet([LaggedReturns(2)])(bars), "and a third": FeatureSet([LaggedReturns(3)])(bars)}
>>> list(added_features(steps, direction(bars), n_folds=2))
['columns', 'accuracy', 'gain', 'low', 'high']
"""

from math import ceil

import numpy as np
import pandas as pd

from mlkit.features import MACD, RSI, PriceToAverage, Volatility
from mlkit.models import make_model
from mlkit.plots import BLUE, GREEN, GREY, HATCH, ORANGE, Plot, figure, headline
from mlkit.research import impurity_importance, permutation_importance, single_feature_importance, walk_forward
from mlkit.splits import WalkForward

WAYS = {"splits": ("by splits", "share"), "shuffled": ("by shuffling", "log loss"),
        "alone": ("alone", "accuracy less ½")}


def halves(X: pd.DataFrame, labels: pd.DataFrame, n_folds: int = 1) -> tuple[pd.DataFrame, pd.DataFrame, WalkForward]:
    """X and labels (n, 2) on the rows without a hole, and a splitter: the first half trains the first
    model, the rest is tested in n_folds blocks of one size."""
    whole = X.notna().all(axis=1) & labels["label"].notna()
    X, labels = X[whole], labels[whole]
    test = len(X) // (2 * n_folds)
    return X, labels, WalkForward(len(X) - n_folds * test, test, label_end=labels["end"])


def importances(model, X: pd.DataFrame, labels: pd.DataFrame, splitter) -> pd.DataFrame:
    """Three importances on the same folds: DataFrame (k, 3), in the order of X's columns.

    splits : `impurity_importance`, shares that add up to 1; shuffled : `permutation_importance`, nats
    of log loss; alone : `single_feature_importance`, accuracy less 1/2
    """
    found = {"splits": impurity_importance(model, X, labels, splitter),
             "shuffled": permutation_importance(model, X, labels, splitter, n_repeats=3),
             "alone": single_feature_importance(model, X, labels, splitter)}
    return pd.DataFrame({way: table["importance"] for way, table in found.items()}).loc[X.columns]


def added_features(steps: dict, labels: pd.DataFrame, *, n_folds: int = 5, n_boot: int = 500) -> pd.DataFrame:
    """How much more a logistic regression calls right with each table of features than with the first.

    steps : {name: DataFrame (n, k)} on the index of labels (of `mlkit.direction`). The first is set
        against knowing nothing: the direction that was more common in training

    All on the same rows and folds (`halves`). Returns DataFrame, one row a step: columns (how many),
    accuracy, gain (in accuracy), low, high (95 % interval of the gain, from days drawn again in blocks).
    """
    first, *_ = steps
    whole, labels, splitter = halves(pd.concat(steps, axis=1), labels, n_folds)

    def right(model, X):
        found = walk_forward(make_model(model), X.loc[whole.index], labels, splitter)
        return (found.predictions > 0.5) == (found.labels == 1)

    hits = {name: right("logistic", X) for name, X in steps.items()}
    nothing, rows = right("majority", steps[first]), {}
    for name, hit in hits.items():
        gain = hit.astype(float) - (nothing if name == first else hits[first])
        low, high = _interval(gain.to_numpy(), n_boot)
        rows[name] = {"columns": steps[name].shape[1], "accuracy": hit.mean(), "gain": gain.mean(),
                      "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def _interval(values: np.ndarray, n_boot: int) -> tuple[float, float]:
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    drawn = CircularBlockBootstrap(ceil(len(values) ** (1 / 3)), values, seed=0).apply(np.mean, n_boot)
    return tuple(np.percentile(drawn, [2.5, 97.5]))


def back_adjusted(bars: pd.DataFrame) -> pd.DataFrame:
    """raw_close adjusted for splits as a data vendor does it: every price over the product of all LATER ratios.

    bars : raw_close and split (the ratio of that morning, blank for none). Returns DataFrame (n, 1), close.
    """
    ratios = bars["split"].fillna(1.0).to_numpy()
    later = np.append(ratios[::-1].cumprod()[::-1][1:], 1.0)
    return pd.DataFrame({"close": bars["raw_close"] / later})


def with_copy(X: pd.DataFrame, column: str, correlation: float, seed: int = 0) -> pd.DataFrame:
    """X and a further column `copy`, as spread as `column` and of about that correlation with it (0 to 1)."""
    noise = X[column].std() * np.random.default_rng(seed).standard_normal(len(X))
    return X.assign(copy=correlation * X[column] + np.sqrt(1 - correlation**2) * noise)


# ---------------------------------------------------------------- pictures

def plot_features(bars: pd.DataFrame, n_bars: int = 250) -> Plot:
    """The last bars of a market with their averages, volatility, RSI and MACD."""
    made = pd.concat([each(bars) for each in (PriceToAverage(5, 20), Volatility(20), RSI(14), MACD())], axis=1)
    close, made = bars["close"].iloc[-n_bars:], made.iloc[-n_bars:]
    averages = pd.DataFrame({f"average of {w}": close / (1 + made[f"price_to_average_{w}"]) for w in (5, 20)})
    above, crossed = (made["price_to_average_20"] > 0).mean(), (np.diff(np.sign(made["histogram"])) != 0).sum()
    (calm, low), (wild, high) = made[["volatility_20", "rsi_14"]].agg(["min", "max"]).to_numpy()
    fig, axes = figure(4, [2, 1, 1, 1], (8.0, 6.2))
    _lines(axes[0], averages.assign(close=close), "price",
           f"{bars.attrs['symbol']}: above its average of 20 on {above:.0%} of the last {n_bars} bars")
    _lines(axes[1], 100 * made[["volatility_20"]], "% a bar",
           f"Volatility: between {100 * calm:.2g}% and {100 * wild:.2g}% a bar")
    _lines(axes[2], made[["rsi_14"]], "0 to 100", f"RSI: between {low:.0f} and {high:.0f}")
    _lines(axes[3], made[["macd", "signal"]], "price units", f"MACD: crossed its signal line {crossed} times")
    axes[3].set_xlabel("date")
    return fig


def plot_raw_and_adjusted(bars: pd.DataFrame, periods: int = 20) -> Plot:
    """Raw and adjusted close from one start, and the momentum that each of them shows."""
    prices = bars[["raw_close", "close"]].set_axis(["as traded", "adjusted"], axis=1)
    grown, momentum = prices / prices.iloc[0], prices.pct_change(periods)
    (end, wealth), fallen = grown.iloc[-1], (momentum < -0.4).sum()
    fig, (top, bottom) = figure(2, [1.3, 1], (8.0, 5.6))
    _lines(top, grown, "first day = 1 (log scale)",
           f"{bars.attrs['symbol']}: {end - 1:+.0%} as traded, {wealth:.0f} times the money for a holder")
    top.set_yscale("log")
    top.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _lines(bottom, 100 * momentum, f"{periods}-bar return, %",
           f"{periods}-bar return below -40 %: {fallen['as traded']} days as traded, {fallen['adjusted']} adjusted")
    bottom.set_xlabel("date")
    return fig


def _lines(axis, lines: pd.DataFrame, unit: str, title: str) -> None:
    several, looks = lines.shape[1] > 1, ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))
    for (name, values), (colour, style) in zip(lines.items(), reversed(looks[: lines.shape[1]])):
        axis.plot(values, color=colour, linestyle=style, linewidth=0.9, label=name)
    if several:
        axis.legend(frameon=False, ncols=3, fontsize=8)
    axis.set_ylabel(unit)
    axis.set_title(title, loc="left")


def plot_importances(table: pd.DataFrame, title: str, marked=()) -> Plot:
    """Columns of `importances`, a panel for each way to ask; the marked features hatched."""
    height = 1.0 + 0.24 * len(table)
    fig = Plot(figsize=(8.0, height), dpi=100)  # laid out by hand: the title stands over all the panels
    place = {"left": 0.2, "right": 0.97, "bottom": 0.55 / height, "top": 1 - 0.35 / height, "wspace": 0.2}
    axes = fig.subplots(1, table.shape[1], sharey=True, squeeze=False, gridspec_kw=place)[0]
    for axis, way in zip(axes, table):
        axis.barh(table.index, table[way], color=[ORANGE if name in marked else BLUE for name in table.index],
                  hatch=[HATCH if name in marked else "" for name in table.index])
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.locator_params(axis="x", nbins=3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel(": ".join(WAYS[way]))
    axes[0].invert_yaxis()
    headline(fig, title)
    return fig


def plot_gains(tables: dict, title: str) -> Plot:
    """Gains of `added_features` with their intervals, of two markets ({name: table})."""
    base, *others = next(iter(tables.values())).index
    places = -np.arange(1.0 + len(others))
    fig, (axis,) = figure(size=(8.0, 1.4 + 0.4 * len(places)))
    for (name, table), colour, marker, shift in zip(tables.items(), (BLUE, ORANGE), "os", (0.12, -0.12)):
        gain = 100 * table["gain"]
        reach = [gain - 100 * table["low"], 100 * table["high"] - gain]
        axis.errorbar(gain, places + shift, xerr=reach, color=colour, fmt=marker, capsize=3, label=name)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.set_yticks(places, [f"{base}, over nothing", *(f"{other}, over {base}" for other in others)])
    axis.set_xlabel("gain in accuracy, percentage points, with 95 % intervals")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, fontsize=8)
    return fig


def plot_copy(share: pd.DataFrame, title: str) -> Plot:
    """What two columns (rows of `share`, fractions) have of an importance, for each way to ask."""
    fig, (axis,) = figure(size=(8.0, 3.2))
    places = np.arange(share.shape[1])
    for shift, (name, values), colour, hatch in zip((-0.2, 0.2), share.iterrows(), (BLUE, ORANGE), ("", HATCH)):
        drawn = axis.bar(places + shift, 100 * values, 0.38, color=colour, hatch=hatch, label=name)
        axis.bar_label(drawn, fmt="%.0f", fontsize=8)
    axis.axhline(100, color=GREY, linewidth=1, linestyle=":")
    axis.set_xticks(places, [WAYS[way][0] for way in share])
    axis.set_ylim(-15, 130)
    axis.set_ylabel(f"% of what {share.index[0]}\nhad without a copy")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, ncols=2, fontsize=8, loc="upper left")
    return fig
