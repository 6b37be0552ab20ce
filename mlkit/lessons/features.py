"""Lesson 03, what a feature may know: its exhibits, its measurements and its pictures.

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
from mlkit.plots import BLUE, GREY, ORANGE, Plot, figure
from mlkit.research import impurity_importance, permutation_importance, single_feature_importance, walk_forward
from mlkit.splits import WalkForward

WAYS = {"shuffled": "log loss added by shuffling", "splits": "share of the trees' purity",
        "alone": "accuracy alone, above 1/2"}
YEAR = 250  # bars shown of the features


# ---------------------------------------------------------------- exhibits

def one_shuffled(X: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, str]:
    """X (n, k) with the values of one column, drawn by seed, in random order; and that column's name."""
    rng = np.random.default_rng(seed)
    name = X.columns[rng.integers(X.shape[1])]
    return X.assign(**{name: rng.permutation(X[name])}), name


def back_adjusted(bars: pd.DataFrame) -> pd.DataFrame:
    """Closes adjusted for splits as data vendors do it: every price over the product of all LATER ratios.

    bars : needs raw_close and split (the ratio of that morning, blank for none). Returns DataFrame (n, 1), close.
    """
    ratios = bars["split"].fillna(1.0).to_numpy()
    later = np.append(ratios[::-1].cumprod()[::-1][1:], 1.0)
    return pd.DataFrame({"close": bars["raw_close"] / later})


def with_copy(X: pd.DataFrame, column: str, correlation: float, seed: int = 0) -> pd.DataFrame:
    """X and a further column `copy`: as spread as `column` and of about that correlation with it, 0 to 1."""
    if not 0 <= correlation <= 1:
        raise ValueError(f"A copy has a correlation from 0 to 1 with its original, not {correlation!r}.")
    noise = X[column].std() * np.random.default_rng(seed).standard_normal(len(X))
    return X.assign(copy=correlation * X[column] + np.sqrt(1 - correlation**2) * noise)


# ------------------------------------------------------------ measurements

def importances(model, X: pd.DataFrame, y, splitter) -> pd.DataFrame:
    """Three importances of each column on the same folds: DataFrame (k, 3), in X's order.

    shuffled : `permutation_importance`, nats of log loss; splits : `impurity_importance`, shares that
    add up to 1; alone : `single_feature_importance`, accuracy above 1/2
    """
    found = {"shuffled": permutation_importance(model, X, y, splitter, n_repeats=3),
             "splits": impurity_importance(model, X, y, splitter),
             "alone": single_feature_importance(model, X, y, splitter)}
    return pd.DataFrame({way: table["importance"] for way, table in found.items()}).loc[X.columns]


def added_features(steps: dict, labels: pd.DataFrame, *, n_folds: int = 5, n_boot: int = 500) -> pd.DataFrame:
    """What each table of features calls right more often than the first, on the same rows and folds.

    steps : {name: DataFrame (n, k)} on the index of labels; the first is the base, itself set
        against knowing nothing (the commoner direction in training)
    labels : of `mlkit.direction`, (n, 2)

    Half the rows train the first logistic regression, the rest is tested in n_folds blocks. Returns
    DataFrame, one row a step: columns (how many), accuracy, gain (in accuracy), low, high (95 %
    interval of the gain: both are judged on the same days, drawn again in blocks).
    """
    whole = labels["label"].notna() & pd.concat(steps, axis=1).notna().all(axis=1)
    labels = labels[whole]
    test = len(labels) // (2 * n_folds)
    splitter = WalkForward(len(labels) - n_folds * test, test, label_end=labels["end"])

    def right(name, X):
        found = walk_forward(make_model(name), X[whole], labels, splitter)
        return ((found.predictions > 0.5) == (found.labels == 1)).astype(float)

    hits = {name: right("logistic", X) for name, X in steps.items()}
    first = next(iter(steps))
    nothing, rows = right("majority", steps[first]), {}
    for name, hit in hits.items():
        gain = hit - (nothing if name == first else hits[first])
        low, high = _interval(gain.to_numpy(), n_boot)
        rows[name] = {"columns": steps[name].shape[1], "accuracy": hit.mean(), "gain": gain.mean(), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def _interval(values: np.ndarray, n_boot: int) -> tuple[float, float]:
    """The middle 95 % of the mean of rows drawn again in blocks (circular block bootstrap)."""
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    drawn = CircularBlockBootstrap(ceil(len(values) ** (1 / 3)), values, seed=0).apply(np.mean, n_boot)
    return tuple(np.percentile(drawn, [2.5, 97.5]))


# ---------------------------------------------------------------- pictures

def plot_features(bars: pd.DataFrame) -> Plot:
    """The last year of a market: its averages, volatility, RSI and MACD."""
    fig, (price, spread, rsi, macd) = figure(4, [2, 1, 1, 1], (8.0, 7.0))
    symbol = bars.attrs.get("symbol", "close")
    made = pd.concat([each(bars) for each in (PriceToAverage(5, 20), Volatility(20), RSI(14), MACD())], axis=1)
    close, made = bars["close"].iloc[-YEAR:], made.iloc[-YEAR:]
    price.plot(close, color="black", linewidth=1, label="close")
    for window, colour, style in ((5, ORANGE, "--"), (20, BLUE, "-")):
        price.plot(close / (1 + made[f"price_to_average_{window}"]), color=colour, linestyle=style, label=f"average of {window}")
    above = (made["price_to_average_20"] > 0).mean()
    price.set_title(f"{symbol}: above its 20-bar average on {above:.0%} of the last {len(close)} bars", loc="left")
    price.set_ylabel("price")
    calm, wild = made["volatility_20"].agg(["min", "max"])
    spread.plot(100 * made["volatility_20"], color=BLUE)
    spread.set_title(f"volatility: between {calm:.1%} and {wild:.1%} a bar", loc="left")
    spread.set_ylabel("% a bar")
    rsi.plot(made["rsi_14"], color=BLUE)
    rsi.set_title(f"RSI: from {made['rsi_14'].min():.0f} to {made['rsi_14'].max():.0f}, of 0 to 100", loc="left")
    rsi.set_ylabel("RSI")
    macd.plot(made["macd"], color=BLUE, label="MACD")
    macd.plot(made["signal"], color=ORANGE, linestyle="--", label="its signal line")
    crossed = (np.diff(np.sign(made["histogram"].to_numpy())) != 0).sum()
    macd.set_title(f"MACD: crossed its signal line {crossed} times", loc="left")
    macd.set(ylabel="price units", xlabel="date")
    for axis in (price, macd):
        axis.legend(frameon=False, ncols=3, fontsize=8)
    return fig


def plot_raw_and_adjusted(bars: pd.DataFrame, periods: int = 20) -> Plot:
    """Raw close and adjusted close from one start, and the momentum that each of them shows."""
    fig, (price, momentum) = figure(2, [1.3, 1], (8.0, 5.6))
    lines = (("raw_close", ORANGE, "--", "as traded"), ("close", BLUE, "-", "adjusted"))
    grown = {name: bars[name] / bars[name].iloc[0] for name, *_ in lines}
    for name, colour, style, label in lines:
        price.plot(grown[name], color=colour, linestyle=style, linewidth=1, label=label)
        momentum.plot(100 * bars[name].pct_change(periods), color=colour, linestyle=style, linewidth=0.7)
    price.set_yscale("log")
    price.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    price.set_ylabel("first day = 1 (log scale)")
    price.legend(frameon=False, loc="upper left")
    end, wealth = grown["raw_close"].iloc[-1], grown["close"].iloc[-1]
    price.set_title(f"{bars.attrs['symbol']}: {end - 1:+.0%} as traded, and {wealth:.0f} times the money for who held it", loc="left")
    fallen = {name: int((bars[name].pct_change(periods) < -0.4).sum()) for name, *_ in lines}
    momentum.set_title(f"{periods}-day return below -40 %: {fallen['raw_close']} days as traded, {fallen['close']} adjusted", loc="left")
    momentum.set(ylabel=f"{periods}-day return, %", xlabel="date")
    return fig


def plot_bars(values: pd.Series, title: str, xlabel: str, marked: str = "") -> Plot:
    """One horizontal bar a feature, the largest on top, one of them marked."""
    fig, (axis,) = figure(size=(8.0, 0.9 + 0.24 * len(values)))
    values = values.sort_values()
    axis.barh(values.index, values, color=[ORANGE if name == marked else BLUE for name in values.index])
    axis.set_title(title, loc="left")
    axis.set_xlabel(xlabel)
    return fig


def plot_importances(table: pd.DataFrame, title: str, marked=()) -> Plot:
    """The table of `importances`, a panel for each way to ask; marked columns in orange."""
    fig = Plot(figsize=(8.0, 1.3 + 0.3 * len(table)), dpi=100, layout="constrained")
    colours = [ORANGE if name in marked else BLUE for name in table.index]
    for axis, way in zip(fig.subplots(1, 3, sharey=True), WAYS):
        axis.barh(table.index, table[way], color=colours)
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.invert_yaxis() if axis.get_subplotspec().is_first_col() else None
        axis.set_xlabel(WAYS[way])
        axis.locator_params(axis="x", nbins=4)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    fig.axes[0].set_title(title, loc="left")
    return fig


def plot_gains(tables: dict, title: str) -> Plot:
    """Gains of `added_features` with their intervals, of several markets ({name: table}) side by side."""
    steps = next(iter(tables.values())).index
    fig, (axis,) = figure(size=(8.0, 1.3 + 0.4 * len(steps)))
    places = np.arange(len(steps), 0, -1)
    for number, (name, table) in enumerate(tables.items()):
        gain, colour = 100 * table["gain"], (BLUE, ORANGE)[number]
        reach = 100 * np.abs(table[["low", "high"]].sub(table["gain"], axis=0)).to_numpy().T
        axis.errorbar(gain, places - 0.2 * number, xerr=reach, color=colour, fmt="os"[number], capsize=3, label=name)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.set_yticks(places, [f"{steps[0]}, against knowing nothing", *(f"{step}, against {steps[0]}" for step in steps[1:])])
    axis.set_xlabel("gain in accuracy, percentage points, with 95 % intervals")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, loc="lower right", fontsize=8)
    return fig


def plot_copy(model, X: pd.DataFrame, y, splitter, before: pd.DataFrame, correlation: float) -> Plot:
    """What a copy of that correlation leaves of the importance that X's first column had `before`."""
    name = X.columns[0]
    share = 100 * importances(model, with_copy(X, name, correlation), y, splitter) / before.loc[name]
    fig, (axis,) = figure(size=(8.0, 3.2))
    places = np.arange(len(WAYS))
    for shift, column, colour, label in ((-0.2, name, BLUE, f"{name}, the original"), (0.2, "copy", ORANGE, "the copy")):
        drawn = axis.bar(places + shift, share.loc[column], 0.38, color=colour, label=label)
        axis.bar_label(drawn, fmt="%.0f", fontsize=8)
    axis.axhline(100, color=GREY, linewidth=1, linestyle=":")
    axis.set_xticks(places, ["by shuffling", "by the trees' splits", "alone"])
    axis.set_ylabel(f"% of what {name} had\nbefore the copy came")
    axis.set_ylim(min(0.0, share.loc[[name, "copy"]].min().min()) - 12, 135)
    axis.set_title(f"A copy of correlation {correlation:g}: shuffling leaves the original {share.loc[name, 'shuffled']:.0f} %, "
                   f"alone it keeps {share.loc[name, 'alone']:.0f} %", loc="left")
    axis.legend(frameon=False, ncols=2, fontsize=8, loc="upper left")
    return fig
