"""Lesson 01, leakage: the museum's book of exhibits, what its rooms measure, and three pictures.

Every number comes from `mlkit` itself (research, splits, leakage); here it is kept and drawn.

>>> from mlkit import LaggedReturns, direction, random_walk
>>> bars = random_walk(3_000, seed=1)
>>> 0.45 < accuracy(LaggedReturns(2)(bars), direction(bars)) < 0.55
True
>>> accuracy(bars[["close"]].pct_change().shift(-1), direction(bars)) > 0.8  # tomorrow's return, today
True
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit.features import CrossReturn, FeatureSet, PriceToAverage, Volatility
from mlkit.labels import direction
from mlkit.leakage import LeakageReport
from mlkit.markets import load_bars
from mlkit.models import make_model
from mlkit.plots import BLUE, GREY, HATCH, ORANGE, RED, Plot, figure, panels
from mlkit.research import walk_forward
from mlkit.splits import PurgedKFold, WalkForward
from mlkit.synthetic import random_walk

LEAKS = ("next_bar", "centred_average", "filling_back", "scaler_on_everything")  # of the switchboard
ECB, H10 = 14.25, 18.0  # hours in Frankfurt at which they fix; H.10 does at noon in New York


def accuracy(X: pd.DataFrame, labels: pd.DataFrame, model=None, splitter=None) -> float:
    """The share of directions called right out of sample, a fraction.

    X : features (n, k); labels : of `direction`, on the same index
    model, splitter : logistic regression, walking forward (train on 1,000 rows, test on the next 500)
        unless given. Raises ValueError as `walk_forward` does.
    """
    splitter = splitter or WalkForward(1000, 500, label_end=labels["end"])
    found = walk_forward(model or make_model("logistic"), X, labels, splitter)
    return called_right(found.predictions, found.labels)


def called_right(predictions: pd.Series, label: pd.Series) -> float:
    """The share of `predictions` (n, probabilities of a rise) on the side of their `label` (1 or 0), a fraction."""
    return float(((predictions > 0.5) == (label[predictions.index] == 1)).mean())


class Museum:
    """Exhibits: what each leak scored, what was left after the cure, and who saw it."""

    def __init__(self):
        self._rows = []

    def add(self, exhibit: str, leak: float, cured: float, seen_by, cure: LeakageReport | None = None) -> None:
        """Hang up an exhibit and say what it faked.

        leak, cured : shares of right calls, fractions
        seen_by : the LeakageReport of the audit that was asked, or in words who else could know
        cure : what the same audit said of the cure. Raises LeakageError if that leaks too.
        """
        if cure is not None:
            cure.raise_if_leaky()
        if isinstance(seen_by, LeakageReport):
            seen_by = "no audit" if seen_by.clean else f"audit_{seen_by.subject}"
        self._rows.append({"exhibit": exhibit, "leak": leak, "cured": cured, "seen by": seen_by})
        cleared = "" if cure is None else ", which clears the cure"
        print(f"{exhibit}: {leak:.1%} with the leak, {cured:.1%} cured; seen by {seen_by}{cleared}")

    @property
    def exhibits(self) -> pd.DataFrame:
        """One row an exhibit, the largest fake first: exhibit, leak, cured, fake (fractions), seen by."""
        table = pd.DataFrame(self._rows)
        table.insert(3, "fake", table["leak"] - table["cured"])
        return table.sort_values("fake", ascending=False, kind="stable", ignore_index=True)

    def table(self) -> pd.DataFrame:
        """`exhibits` for reading: percentages and percentage points."""
        table = self.exhibits.set_index("exhibit")
        shares = table[["leak", "cured"]].map("{:.1%}".format)
        points = ((100 * table["fake"]).round(1) + 0.0).map("{:+.1f}".format)  # no minus before a zero
        return pd.DataFrame({"with the leak": shares["leak"], "cured": shares["cured"], "points faked": points,
                             "seen by": table["seen by"]})

    def plot(self):
        """From the cured score to the faked one, an exhibit a line."""
        table = self.exhibits[::-1]
        fig, (axis,) = figure(size=(8.0, 4.6))
        rows, blind = np.arange(len(table)), ~table["seen by"].str.startswith("audit").to_numpy()
        axis.hlines(rows, 100 * table["cured"], 100 * table["leak"], color=GREY, linewidth=2)
        axis.plot(100 * table["cured"], rows, "o", color=BLUE, label="cured")
        for chosen, marker, label in ((~blind, "D", "with the leak, an audit sees it"),
                                      (blind, "X", "with the leak, no audit sees it")):
            axis.plot(100 * table["leak"][chosen], rows[chosen], marker, color=RED, markersize=8, label=label)
        axis.axvline(50.0, color="black", linewidth=1, linestyle=":", label="a coin")
        axis.set_yticks(rows, table["exhibit"])
        axis.set_xlabel("called right, %")
        axis.set_title(f"{len(table)} leaks: an audit sees {(~blind).sum()}, none sees {blind.sum()}", loc="left")
        axis.legend(frameon=False, loc="lower right")
        return fig


def quoted_walk(n_bars: int, seed: int, half_spread: float) -> pd.DataFrame:
    """A random walk whose open and close are traded at the bid or at the ask, a coin deciding which.

    half_spread : fraction of the price. The value behind the quotes has no edge at all; Roll (1984),
    "A simple implicit measure of the effective bid-ask spread". Returns bars (n_bars, 5).
    """
    bars = random_walk(n_bars, seed)
    side = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (n_bars, 2))
    bars[["open", "close"]] *= 1.0 + half_spread * side
    bars["high"], bars["low"] = bars[["open", "high", "close"]].max(axis=1), bars[["open", "low", "close"]].min(axis=1)
    return bars


def neighbours(k: int = 3):
    """A model that remembers: the k most similar days vote."""
    return make_pipeline(StandardScaler(), KNeighborsClassifier(k))


def slow_features(bars: pd.DataFrame) -> pd.DataFrame:
    """Four features that hardly change from one day to the next: (n, 4)."""
    return FeatureSet([PriceToAverage(50, 100, 200), Volatility(50)])(bars)


def overlap_scores(bars: pd.DataFrame, horizons, seed: int = 0) -> pd.DataFrame:
    """Accuracy of `neighbours` in shuffled and in purged folds, for labels that reach so many bars.

    Returns DataFrame (len(horizons), 3) on the horizons: shuffled, purged, coin (how far from 1/2
    a coin may land: two standard errors of as many answers as there are labels that do not overlap).
    """
    X, rows = slow_features(bars), {}
    for horizon in horizons:
        labels = direction(bars, horizon=horizon)
        folds = {"shuffled": KFold(5, shuffle=True, random_state=seed),
                 "purged": PurgedKFold(5, label_end=labels["end"])}
        independent = (X.notna().all(axis=1) & labels["label"].notna()).sum() / horizon
        rows[horizon] = {name: accuracy(X, labels, neighbours(), each) for name, each in folds.items()}
        rows[horizon]["coin"] = independent**-0.5
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("horizon")


def switched_scores(bars: pd.DataFrame) -> dict[frozenset, float]:
    """`accuracy` of one pipeline with each combination of LEAKS: {frozenset of those that are on: fraction}.

    The pipeline: slope of a smooth line, distance from it, and the month's return; scaled, then a logistic regression
    that walks forward. centred_average : of the line; filling_back : of the month's return; next_bar : tomorrow's
    return as one more feature; scaler_on_everything : mean and spread of all rows
    """
    labels, close = direction(bars), bars["close"]
    month, scores = close.resample("ME").last().pct_change(), {}
    for on in (frozenset(leaks) for count in range(len(LEAKS) + 1) for leaks in combinations(LEAKS, count)):
        line = close.rolling(5, center="centred_average" in on).mean()
        X = pd.DataFrame({"slope": line.pct_change(), "distance": close / line - 1})
        X["month"] = month.reindex(bars.index, method="bfill" if "filling_back" in on else "ffill")
        if "next_bar" in on:
            X["next"] = close.pct_change().shift(-1)
        if "scaler_on_everything" in on:
            scores[on] = accuracy((X - X.mean()) / X.std(), labels, LogisticRegression())
        else:
            scores[on] = accuracy(X, labels, make_pipeline(StandardScaler(), LogisticRegression()))
    return scores


def releases(bars: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A weekly statistic, one row a release: on the day it was published, columns week (the Friday it is about), value.

    It comes out three to nine days after its Friday, on weekends too, and before the close. Nothing is in it.
    """
    rng = np.random.default_rng([seed, 2])
    weeks = pd.date_range(bars.index[0], bars.index[-1], freq="W-FRI").as_unit("us")
    published = (weeks + pd.to_timedelta(rng.integers(3, 10, len(weeks)), unit="D")).rename("published")
    return pd.DataFrame({"week": weeks, "value": rng.normal(50.0, 5.0, len(weeks)).round(1)}, published)


def headlines(bars: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The tone of a day's headlines, read off their words before the close: column tone, -1 to 1; not every day has news.

    Drawn at random: it knows nothing about any price.
    """
    rng = np.random.default_rng([seed, 3])
    tone = rng.uniform(-1.0, 1.0, len(bars)).round(2)
    return pd.DataFrame({"tone": tone}, bars.index)[rng.random(len(bars)) < 0.7]


def dollar_returns(code: str, known_delay=0) -> pd.DataFrame:
    """What a dollar gained in another currency, by the Federal Reserve's H.10 and by the ECB's fixing.

    code : "CAD", "CHF", "GBP" or "JPY"
    known_delay : hours by which H.10 is known later than the ECB's rate of the same date, as in `CrossReturn`

    Returns DataFrame (n, 3), fractions a day: H.10 (the last one known), ECB, and ECB next day; from
    February 1999, when the euro was a month old, until November 2017, where the bundled H.10 ends.
    """
    ecb = (load_bars(f"EUR{code}")[["close"]] / load_bars("EURUSD")[["close"]]).loc["1999-02":"2017-11"]
    h10 = CrossReturn(load_bars(f"USD{code}"), known_delay=known_delay, name="H.10")(ecb)
    today = ecb["close"].pct_change()
    return h10.assign(**{"ECB": today, "ECB next day": today.shift(-1)})


def flipped_days(changed: pd.DataFrame) -> int:
    """On how many days one vintage of `mlkit.revisions` has the close rise and the other has not."""
    days = 0
    for symbol, cells in changed[changed["field"] == "close"].groupby("symbol"):
        newer = load_bars(symbol)["raw_close"]
        older = newer.copy()
        older.update(cells.set_index("date")["v2013"])
        days += int(((older.diff() > 0) != (newer.diff() > 0)).sum())
    return days


def plot_overlap(scores: pd.DataFrame, horizon: int, *, on: Plot | None = None) -> Plot:
    """The labels around one test day, and what shuffled folds fake at each horizon.

    scores : of `overlap_scores`; horizon : one of its rows. Raises ValueError for another.
    on : a Plot of the same to draw on again
    """
    if horizon not in scores.index:
        raise ValueError(f"No horizon {horizon} was scored: there are {', '.join(map(str, scores.index))}.")
    fig, (top, bottom) = panels((8.0, 5.2), (0.08, 0.65, 0.9, 0.29), (0.08, 0.1, 0.9, 0.42), on=on)
    starts = np.arange(-12, 13)
    shared = np.maximum(horizon - np.abs(starts), 0)
    for chosen, colour, style, width in ((shared == 0, GREY, ":", 2), ((shared > 0) & (starts != 0), ORANGE, "-", 2),
                                         (starts == 0, "black", "-", 4)):
        at = starts[chosen]
        top.hlines(at, at, at + horizon, color=colour, linestyle=style, linewidth=width)
    top.set(xlabel="trading days, seen from the test day", ylabel="decided on day", xlim=(-14, 56), ylim=(13, -13))
    top.set_title(f"A label of {horizon} days shares days with {(shared > 0).sum() - 1} of its 24 nearest neighbours",
                  loc="left")
    band = 100 * scores["coin"]
    bottom.fill_between(scores.index, 50 - band, 50 + band, color=GREY, alpha=0.25, linewidth=0, label="a coin")
    bottom.plot(scores.index, 100 * scores["shuffled"], color=RED, marker="o", label="shuffled folds")
    bottom.plot(scores.index, 100 * scores["purged"], color=BLUE, marker="s", linestyle="--", label="purged folds")
    bottom.axvline(horizon, color="black", linewidth=1, linestyle=":")
    shuffled, purged = 100 * scores.loc[horizon, ["shuffled", "purged"]]
    bottom.set(xlabel="how far the label reaches, trading days", ylabel="called right, %")
    bottom.set_title(f"It fakes {shuffled - purged:+.0f} points: {shuffled:.0f} % shuffled, {purged:.0f} % purged",
                     loc="left")
    bottom.legend(loc="upper left", ncols=3, framealpha=1.0, edgecolor="none")  # hides the dotted line behind it
    bottom.set_ylim(top=100)
    return fig


def plot_clocks() -> Plot:
    """Which hours Tuesday's H.10 return and the ECB's return from Tuesday to Wednesday are made of."""
    fig, (axis,) = figure(size=(8.0, 2.6))
    axis.barh(["ECB, to Wednesday", "H.10, to Tuesday"], 24.0, left=[24 + ECB, H10], color=[BLUE, ORANGE],
              hatch=["", HATCH], height=0.45)
    axis.axvspan(24 + ECB, 24 + H10, color=GREY, alpha=0.4, linewidth=0)
    axis.set_xticks([H10, 24 + ECB, 24 + H10, 48 + ECB], ["Mon\n18:00", "Tue\n14:15", "Tue\n18:00", "Wed\n14:15"])
    axis.set_xlabel("time in Frankfurt")
    axis.set_title(f"{H10 - ECB:g} hours of Tuesday are in both returns", loc="left")
    return fig
