"""Lesson 08, risk: forecasts of volatility beside naive ones, and one that knows the future.

>>> from mlkit import audit_features, load_bars
>>> bars = load_bars("IBM")[-500:]
>>> audit_features(full_sample_garch, bars, n_cuts=2).clean
False
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd

from mlkit.features import LaggedReturns
from mlkit.labels import next_volatility
from mlkit.models import EWMA, GARCH, HAR
from mlkit.models.volatility import LEAST_ROWS, Naive, estimated
from mlkit.plots import BLUE, GREEN, GREY, ORANGE, RED, Plot, figure, log_labels
from mlkit.research import OutOfSample, walk_forward
from mlkit.splits import WalkForward

NAIVE = ("last 5 days", "last 20 days")
MARKS = ((GREY, "x"), (GREEN, "+"), (BLUE, "o"), (ORANGE, "s"), (RED, "^"))

# ------------------------------------------------------------ measurements


def forecasters(horizon: int = 5) -> dict:
    """Two naive forecasts of the volatility of the next `horizon` bars, and three models, unfitted."""
    return {NAIVE[0]: Naive(5), NAIVE[1]: Naive(20), "EWMA": EWMA(), "HAR": HAR(), "GARCH": GARCH(horizon)}


def forecast_volatility(model, bars: pd.DataFrame, horizon: int = 5, *, expanding: bool = False) -> OutOfSample:
    """What a model says of the volatility of the next `horizon` bars, by what it learns from 1,000 bars (expanding:
    all so far), every 250 bars anew."""
    labels = next_volatility(bars, horizon)
    splitter = WalkForward(1_000, 250, label_end=labels["end"], expanding=expanding)
    return walk_forward(model, LaggedReturns(1)(bars), labels, splitter)


def qlike(predictions: pd.Series, labels: pd.Series) -> pd.Series:
    """QLIKE of each forecast of a volatility (m,), 0 if it was right: what `evaluate` gives the mean of."""
    ratio = (labels.clip(lower=labels[labels > 0].min()) / predictions) ** 2
    return ratio - np.log(ratio) - 1.0


def losses(found: dict[str, OutOfSample]) -> pd.DataFrame:
    """`qlike` of each forecast on each tested bar, (m, forecasts)."""
    return pd.DataFrame({name: qlike(each.predictions, each.labels) for name, each in found.items()})


def score_tables(found: dict[str, dict[str, OutOfSample]], score: str, n_boot: int = 500) -> dict[str, pd.DataFrame]:
    """One score (qlike or r2) of market -> forecast -> OutOfSample: forecast -> DataFrame (markets; value, low, high)."""
    rows = {(market, name): each.scores(task="volatility", n_boot=n_boot).loc[score]
            for market, forecasts in found.items() for name, each in forecasts.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return {name: table.xs(name, level=1) for name in next(iter(found.values()))}


def verdicts(pairs: dict[str, pd.DataFrame], rival: str) -> pd.DataFrame:
    """How often each forecast beats `rival`, loses, or cannot be told from it: (forecasts, 3) counts of markets.

    pairs : market -> `paired_differences` of the negative losses, the better one first
    """
    counts: dict[str, list[int]] = {}
    for table in pairs.values():
        for pair, low in table["low"].items():
            first, second = pair.split(" - ")
            if rival in (first, second):
                place = 1 if low <= 0 else 0 if second == rival else 2
                counts.setdefault(second if first == rival else first, [0, 0, 0])[place] += 1
    return pd.DataFrame.from_dict(counts, orient="index", columns=["better", "not told apart", "worse"])


def full_sample_garch(bars: pd.DataFrame) -> pd.DataFrame:
    """The GARCH(1,1) volatility of each bar, from parameters estimated on all bars given: a leak.

    It is arch's conditional volatility: of bar t given the returns before it, per bar, but by what the whole
    table says of how volatility moves, and in the first 75 bars of where it began. Returns DataFrame
    (n, 1) on bars.index, column garch_volatility, NaN where a bar has no return or fewer than 100 have.
    """
    returns = LaggedReturns(1)(bars)["return_1"].dropna()
    if len(returns) < LEAST_ROWS:
        return pd.DataFrame({"garch_volatility": np.nan}, bars.index)
    scale = float(np.std(returns))
    found = pd.Series(scale * estimated(returns.to_numpy() / scale).conditional_volatility, returns.index)
    return found.reindex(bars.index).to_frame("garch_volatility")


def hindsight(bars: pd.DataFrame, horizon=5, train_size=1000, test_size=250) -> pd.DataFrame:
    """The volatility of the next bar by a GARCH that knew the past alone, and by one that knew all bars.

    horizon : bars of the label, `next_volatility`
    train_size, test_size : of the first training set, and rows after which the honest one is estimated again

    Returns DataFrame (rows tested, 3): honest, full_sample, label, per bar.
    """
    labels = next_volatility(bars, horizon)
    splitter = WalkForward(train_size, test_size, label_end=labels["end"], expanding=True)
    found = walk_forward(GARCH(horizon=1), LaggedReturns(1)(bars), labels, splitter)
    full = full_sample_garch(bars)["garch_volatility"].shift(-1)[found.predictions.index]
    return pd.DataFrame({"honest": found.predictions, "full_sample": full, "label": found.labels})


# ---------------------------------------------------------------- pictures


def plot_intervals(tables: dict[str, pd.DataFrame], xlabel: str, title: str, *, log: bool = False) -> Plot:
    """Values with their intervals: name -> DataFrame (rows; value, low, high), the rows one below another."""
    rows = list(next(iter(tables.values())).index)
    fig, (axis,) = figure(size=(8.0, 1.2 + 0.14 * len(rows) * (len(tables) + 1)))
    for number, ((name, table), (colour, marker)) in enumerate(zip(tables.items(), cycle(MARKS))):
        at = np.arange(len(rows)) + (number - (len(tables) - 1) / 2) * 0.8 / len(tables)
        axis.hlines(at, table["low"], table["high"], color=colour, linewidth=2, alpha=0.5)
        axis.plot(table["value"], at, marker, color=colour, markersize=5, label=name)
    axis.set_yticks(np.arange(len(rows)), rows)
    axis.invert_yaxis()
    if log:
        axis.set_xscale("log")
        axis.set_xticks(ticks := [0.2, 0.3, 0.5, 1.0, 2.0, 3.0], [f"{tick:g}" for tick in ticks], minor=False)
        axis.minorticks_off()
    axis.set_xlabel(xlabel)
    if len(tables) > 1:
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set_title(title, loc="left")
    return fig


def plot_reviews(reviews: pd.DataFrame, limit: float) -> Plot:
    """Forecast and realised volatility of every order that a `VolatilityRisk` was asked about: `BacktestResult.risk`."""
    known = reviews[reviews["realised"].notna()]
    fig, (axis,) = figure(size=(8.0, 4.2))
    refused = known["reason"] != ""
    for chosen, colour, marker, name in ((~refused, BLUE, "o", "allowed"), (refused, ORANGE, "^", "refused")):
        axis.plot(100 * known["forecast"][chosen], 100 * known["realised"][chosen].clip(lower=1e-4), marker, color=colour,
                  markersize=4, alpha=0.6, label=f"{chosen.sum()} {name}")
    ends = 100 * np.array([known["forecast"].min(), known["forecast"].max()])
    axis.plot(ends, ends, color="black", linewidth=0.8, label="as forecast")
    axis.axvline(100 * limit, color=GREY, linestyle="--", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel=f"forecast volatility, % a year (dashed: the limit, {limit:.0%})",
             ylabel="what came, % a year")
    log_labels(axis.xaxis, axis.get_xlim())
    log_labels(axis.yaxis, axis.get_ylim())
    axis.legend(frameon=False)
    over = (known["realised"] > limit).groupby(refused).mean().reindex([False, True])
    axis.set_title(f"Above the limit came {over[True]:.0%} of what was refused and {over[False]:.0%} of what was allowed",
                   loc="left")
    return fig
