"""Lesson 07, non-stationarity: schedules of models, how long a memory should be, and how soon a change is seen.

>>> curve = window_scores([50, 250, 2_000], seeds=range(3), n_bars=4_000)
>>> int(curve.mean().idxmax())                         # regimes last 500 bars on average
50
>>> round(information(0.56, 0.48), 4)                  # nats a bar: little
0.0129
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import poisson
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit.engine import MLStrategy, backtest
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction, next_return
from mlkit.lessons.comparison import paired_differences
from mlkit.models import make_model
from mlkit.production import Reference, stability_index
from mlkit.production.detectors import Cusum, sums_of
from mlkit.production.monitor import ALLOWANCES
from mlkit.research import OutOfSample, walk_forward
from mlkit.splits import WalkForward
from mlkit.synthetic import regime_switching

FEATURES = FeatureSet([LaggedReturns(2), Volatility(20)])
# The last day before each break, by what is said of it; the market is the bundled one that felt it.
EPISODES = {"2000, end of the boom": ("GE", "2000-03-24"), "2008, Lehman": ("GE", "2008-09-12"),
            "2015, the franc let go": ("EURCHF", "2015-01-14"), "2020, oil": ("BRENT", "2020-03-06")}
WITHIN, CALM = 500, 0.02  # bars, and the share of runs in which a calm detector is false within so many

# ------------------------------------------------------------ schedules


def frozen(bars: pd.DataFrame, n_learn: int) -> OutOfSample:
    """One ridge regression of the next return on FEATURES, fitted on the first `n_learn` rows and never again."""
    return scheduled(bars, n_learn, None)


def scheduled(bars: pd.DataFrame, n_learn: int, refit_every: int | None) -> OutOfSample:
    """As `frozen`, with a fresh model every `refit_every` rows from the `n_learn` before it; None: never."""
    X, labels = _whole(bars, next_return(bars))
    splitter = WalkForward(n_learn, len(X) - n_learn, label_end=labels["end"], refit_every=refit_every)
    return walk_forward(make_model("ridge", task="return"), X, labels, splitter)


def schedules(bars: pd.DataFrame, start, n_test: int, *, memory: int = 1_000, refit_every: int = 50) -> pd.DataFrame:
    """Whether each schedule calls the direction of `n_test` bars from `start` on right: (n_test, 8) of 0.0 and 1.0.

    memory : rows before `start` that the frozen, the expanding and the online models begin with
    refit_every : rows between two fits, or two passes over new rows, where the name does not say another
    """
    X, labels = _whole(bars, direction(bars))
    at = int(X.index.searchsorted(pd.Timestamp(start)))
    if at < memory or at + n_test > len(X):
        raise ValueError(f"{start} has {at} rows before it and {len(X) - at} after: {memory} and {n_test} are due")
    logistic, ends, found = make_model("logistic"), labels["end"], {}

    def walk(rows: int, model=logistic, online=False, every=refit_every, **options):
        splitter = WalkForward(rows, n_test, label_end=ends, refit_every=every, **options)
        span = slice(at - rows, at + n_test)
        out = walk_forward(model, X.iloc[span], labels.iloc[span], splitter, online=online)
        return ((out.predictions > 0.5) == (out.labels == 1)).astype(float)

    found["frozen"] = walk(memory, every=n_test)
    for rows in (100, 250, 1_000):
        found[f"rolling {rows:,}"] = walk(rows)
    found["rolling 250, every 250"] = walk(250, every=250)
    found["expanding"] = walk(memory, expanding=True)
    found["online, remembers"] = walk(memory, learner(forgets=False), online=True, expanding=True)
    found["online, forgets"] = walk(memory, learner(forgets=True), online=True, expanding=True)
    return pd.DataFrame(found)


def against(right: pd.DataFrame, base: str, *, n_boot: int = 400) -> pd.DataFrame:
    """Each column's share right, its difference from the base's and its 95 % interval: right, difference, low, high.

    Both are judged on the same days, drawn again in blocks: `paired_differences`, with the sign of column less base.
    """
    pairs, rows = paired_differences(right, n_boot=n_boot), {base: {"right": right[base].mean()}}
    for pair, row in pairs.iterrows():
        first, second = pair.split(" - ")
        if base in (first, second):
            name, ends = (first, row[["low", "high"]]) if second == base else (second, -row[["high", "low"]])
            rows[name] = {"right": right[name].mean(), "difference": right[name].mean() - right[base].mean(),
                          "low": ends.iloc[0], "high": ends.iloc[1]}
    return pd.DataFrame.from_dict(rows, orient="index").loc[list(right)]


def learner(forgets: bool):
    """A logistic regression that learns on by steps of gradient descent, one pass over each row, the oldest first.

    forgets : True, steps of one size, which remember about 4 / 0.02 = 200 rows; False, steps of 4 / (rows so far), by
        which all rows count the same (the curvature of a logistic loss is a quarter at most: hence the 4)
    """
    steps = {"learning_rate": "invscaling", "eta0": 4.0, "power_t": 1.0}
    if forgets:
        steps = {"learning_rate": "constant", "eta0": 0.02}
    return make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", max_iter=1, tol=None, shuffle=False, **steps))


def _whole(bars: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features (m, k) and labels (m, 2) of the rows where both are known."""
    X = FEATURES(bars)
    known = X.notna().all(axis=1) & labels["label"].notna()
    return X[known], labels[known]


def hits(found: OutOfSample) -> pd.Series:
    """Whether each prediction of a return had the right sign: (m,) of 0.0 and 1.0."""
    return ((found.predictions > 0) == (found.labels > 0)).astype(float)


def by_year(right: pd.Series) -> pd.DataFrame:
    """Of each year of 100 days or more: days, rate (called right), and low and high, a coin's 95 % band."""
    groups = right.groupby(right.index.year)
    table = pd.DataFrame({"days": groups.size(), "rate": groups.mean()})
    table = table[table["days"] >= 100]
    return table.assign(low=0.5 - 0.98 / np.sqrt(table["days"]), high=0.5 + 0.98 / np.sqrt(table["days"]))


def window_scores(windows, seeds, *, n_bars: int = 6_000, regime_length: int = 500, strength: float = 0.3,
                  first: int = 2_000) -> pd.DataFrame:
    """Share of bars that a model with each memory calls right in `regime_switching`, a world a seed: (seeds, windows).

    The model is the plainest there is: the return to come on the last one, through the origin, refitted at every bar
    on the pairs of the last `window` bars whose outcome is known. Each world is judged from bar `first` on.
    """
    rows = {}
    for seed in seeds:
        bars = regime_switching(n_bars, seed, strength=strength, regime_length=regime_length)
        x, y = bars["close"].pct_change().to_numpy(), next_return(bars)["label"].to_numpy()
        total = np.append(0.0, np.nancumsum(x * y))
        now = np.arange(first, n_bars - 2)
        known = now - 1  # the pairs before this row: that of now - 2 ends at the open of now
        lean = {window: total[known] - total[np.maximum(known - window, 0)] for window in windows}
        rows[seed] = {window: ((x[now] * each > 0) == (y[now] > 0)).mean() for window, each in lean.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


# ------------------------------------------------------------- detectors


def drift_detection_method(right: np.ndarray, level: float = 3.0, warm_up: int = 30) -> np.ndarray:
    """First alarm of DDM along each row of (m, n) ones and zeros; n where there is none.

    It keeps the lowest error rate so far plus its standard deviation, and alarms where the error rate plus its
    deviation is `level` such deviations above. Gama et al. (2004), Learning with drift detection, SBIA 2004.
    """
    n = np.arange(1, right.shape[1] + 1)
    rate = np.cumsum(1.0 - right, axis=1) / n
    deviation = np.sqrt(rate * (1.0 - rate) / n)
    total = np.where(n > warm_up, rate + deviation, np.inf)
    best = np.maximum.accumulate(np.where(total <= np.minimum.accumulate(total, axis=1), n - 1, 0), axis=1)
    best_rate, best_deviation = (np.take_along_axis(each, best, axis=1) for each in (rate, deviation))
    alarm = (total > best_rate + level * best_deviation) & np.isfinite(total)
    return np.where(alarm.any(axis=1), alarm.argmax(axis=1), len(n))


def information(before: float, after: float) -> float:
    """What one bar tells of a hit rate that fell from `before` to `after`: Kullback-Leibler divergence, nats."""
    return float(after * np.log(after / before) + (1 - after) * np.log((1 - after) / (1 - before)))


def least_delay(nats: float, run_length: float) -> float:
    """Bars that the best detector needs on average, where a bar tells `nats` and false alarms come every `run_length`.

    The CUSUM of log likelihood ratios has no rival (Moustakides 1986); its run lengths are those of a Brownian motion
    with the same drift (Siegmund 1985): (exp(h) - h - 1) / nats without a change, (h - 1 + exp(-h)) / nats with one.
    """
    h = brentq(lambda h: np.exp(h) - h - 1.0 - nats * run_length, 1e-9, 100.0)
    return float((h - 1.0 + np.exp(-h)) / nats)


def detectors(hit_rate: float = 0.56, run_length: float = 2_500, seed: int = 0) -> dict[str, Cusum]:
    """A CUSUM of the size of normal residuals and two of the hit rate: false once in `run_length` bars, and a calm one.

    The calm one is false within 500 bars in 2 runs of 100, as DDM is.
    """
    rng = np.random.default_rng(seed)
    right, sizes = (rng.random((2_000, WITHIN)) < hit_rate).astype(float), _sizes(rng, 5_000)
    rate = Cusum("hit rate", ALLOWANCES["hit rate"], run_length).calibrate(hit_rate - right.ravel()[:5_000])
    highest = sums_of(hit_rate - right - rate.allowance).max(axis=1)
    calm = Cusum("hit rate", rate.allowance, WITHIN / CALM, threshold=float(np.quantile(highest, 1.0 - CALM)))
    residual = Cusum("residual", ALLOWANCES["residual"], run_length).calibrate(sizes - 1.0)
    return {"residual, CUSUM": residual, "hit rate, CUSUM": rate, "hit rate, calm CUSUM": calm}


def delays(watch: dict[str, Cusum], *, before: float = 0.56, after: float = 0.48, larger: float = 2.0,
           n_runs: int = 400, n_before: int = 500, n_after: int = 2_000, seed: int = 1) -> pd.DataFrame:
    """Bars from a change to the alarm of `detectors` and of DDM, a row a run; inf: none in `n_after` bars.

    From bar `n_before` on the hit rate is `after` and residuals are `larger` times as large. With after=before and
    larger=1 nothing changes, and what is found is false. The CUSUMs begin anew at the change, as after any alarm; DDM,
    which compares with its own past, has seen all bars: NaN where it alarmed before there was anything to find.
    """
    rng = np.random.default_rng(seed)
    chance = np.where(np.arange(n_before + n_after) < n_before, before, after)
    right = (rng.random((n_runs, len(chance))) < chance).astype(float)
    worse = {"residual": larger * _sizes(rng, (n_runs, n_after)) - 1.0, "hit rate": before - right[:, n_before:]}
    found = {name: [_first(detector, row) for row in worse[detector.name]] for name, detector in watch.items()}
    ddm = drift_detection_method(right) - n_before
    return pd.DataFrame({**found, "hit rate, DDM": np.where(ddm < 0, np.nan, np.where(ddm < n_after, ddm, np.inf))})


def share_within(found: pd.DataFrame, bars: int = WITHIN) -> pd.Series:
    """Share of runs, silent until then, that alarm in fewer than so many bars: by detector."""
    return (found < bars).sum() / found.notna().sum()


def _sizes(rng, shape) -> np.ndarray:
    """Sizes of normal residuals, 1 on average."""
    return np.abs(rng.standard_normal(shape)) / np.sqrt(2.0 / np.pi)


def _first(detector: Cusum, values: np.ndarray) -> float:
    alarm = detector.first_alarm(values)
    return np.inf if alarm is None else float(alarm)


def what_is_known(found: OutOfSample, bars: pd.DataFrame, n_check: int) -> tuple[Reference, pd.DataFrame, dict]:
    """What a monitor learns from and is fed: the reference, of the first `n_check` bars, and of the bars after it the
    features and {prediction, label, profit}.

    A prediction is counted at the bar at which its outcome is known; the profit of a bar is that of the strategy that
    is long where a rise is predicted and out otherwise, after the default costs of `backtest`.
    """
    ends = next_return(bars)["end"].reindex(found.predictions.index)
    known = pd.DataFrame({"prediction": found.predictions.to_numpy(), "label": found.labels.to_numpy()},
                         pd.DatetimeIndex(ends))
    profit = backtest(bars, MLStrategy(found, FEATURES, enter=0.0, exit=0.0)).returns
    table = known.join(profit.rename("profit"), how="inner").join(FEATURES(bars), how="inner")
    names = list(FEATURES(bars).columns)
    first, later = table.iloc[:n_check], table.iloc[n_check:]
    reference = Reference(first[names], first["prediction"], first["label"], first["profit"])
    return reference, later[names], {name: later[name].to_numpy() for name in ("prediction", "label", "profit")}


def shifts(features: pd.DataFrame, reference: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Population stability index of each feature against the reference, in each year of 100 bars: (years, features)."""
    rows = {}
    for year, part in features.groupby(features.index.year):
        if len(part) >= 100:
            rows[year] = {name: _shift(reference[name].to_numpy(), part[name].to_numpy(), bins) for name in features}
    return pd.DataFrame.from_dict(rows, orient="index")


def counted(marked: pd.DataFrame) -> str:
    """How many rows of each column (n, k) of True and False are True, in words."""
    return ", ".join(f"{name} {count} of {len(marked)}" for name, count in marked.sum().items())


def _shift(then: np.ndarray, now: np.ndarray, bins: int) -> float:
    edges = np.unique(np.quantile(then, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = [np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1) / len(each)
              for each in (then, now)]
    return float(stability_index(*shares, len(now)))


def alarm_table(alerts, names, n_bars: int, run_length: float) -> pd.DataFrame:
    """Alarms of each detector beside those of chance: the first, alarms, expected, and whether it is more than stated.

    More than stated: so many or more come by chance with a probability below 1 % (Poisson).
    """
    days = {name: [alert.timestamp for alert in alerts if alert.detector == name] for name in names}
    expected = n_bars / run_length
    return pd.DataFrame({name: {"first": f"{found[0]:%Y-%m-%d}" if found else "-", "alarms": len(found),
                                "expected": round(expected, 1),
                                "more than stated": bool(poisson.sf(len(found) - 1, expected) < 0.01)}
                         for name, found in days.items()}).T
