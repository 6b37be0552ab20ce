"""Lesson 10, deployment: what a stored model can suffer, what a monitor is fed, and when a challenger can win.

>>> command_in(pickle_that_runs("echo gone"))
'system'
"""

from __future__ import annotations

import json
import pickle
import pickletools
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import skops.io
from matplotlib.figure import Figure
from scipy.stats import norm, poisson

from mlkit.engine import BacktestResult
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction
from mlkit.lessons.comparison import paired_differences
from mlkit.lessons.sizes import edge_that_turns
from mlkit.models import make_model
from mlkit.models.scoring import scores_of
from mlkit.plots import BLUE, GREY, ORANGE, RED, figure
from mlkit.production import ModelRegistry, Reference, RegistryError, retrain
from mlkit.production.contents import model_files
from mlkit.production.detectors import Cusum, drawn
from mlkit.production.store import sealed, sha256

WAYS = ("a swapped file", "changed feature code", "a pickle that runs a command", "another library version")
OLD = "0.17.0"  # a scikit-learn of 2015

# ------------------------------------------------------------ what a stored model can suffer


class Foreign:
    """A type that no model of the catalogue is made of."""

    def __init__(self):
        self.weight = 1.0


class Command:
    """What unpickles by running a command in a shell."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        import os
        return os.system, (self.command,)


def pickle_that_runs(command: str) -> bytes:
    """A pickle which, when loaded, runs a command. Nothing runs while it is written."""
    return pickle.dumps(Command(command))


def command_in(data: bytes) -> str:
    """The function that a pickle would call first; "" if none. Read from its instructions, never loaded."""
    words = []
    for instruction, argument, _ in pickletools.genops(data):
        if instruction.name == "REDUCE":
            return words[1]
        words += [argument] if isinstance(argument, str) else []
    return ""


def plain_pickle(model, other, features, changed, bars: pd.DataFrame) -> pd.DataFrame:
    """What a model kept as a plain pickle does in four `WAYS` of going wrong: what happens, and whether it is noticed.

    other : the model that was put in its place; changed : features of the same names and other values
    """
    kept, put = pickle.dumps(model), pickle.dumps(other)
    now = sklearn.__version__.encode()
    older = kept.replace(now, b"0" + now[1:])  # of the same length, as a pickle counts its letters
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        pickle.loads(older)
    X, Y = features(bars).dropna(), changed(bars).dropna()
    apart = np.abs(scores_of(pickle.loads(kept), X) - scores_of(pickle.loads(kept), Y)).max()
    called = command_in(pickle_that_runs("echo gone"))
    told = [("loads, and predicts something else" if not np.array_equal(scores_of(pickle.loads(put), X), scores_of(model, X))
             else "loads", False),
            (f"predicts, up to {100 * apart:.2g} points of probability off", False),
            (f"would call {called} before anybody can look", False),
            ("warns, and loads" if heard else "loads", bool(heard))]
    return pd.DataFrame(told, index=list(WAYS), columns=["a plain pickle", "noticed"])


def attacks(other, command: str) -> dict[str, Callable]:
    """What is done to the folder of a version, by name: functions of its path.

    other : a fitted model, swapped in; command : what the pickle would run
    """
    return {
        "a swapped file": lambda path: (path / "model.skops").write_bytes(model_files(other)["model.skops"]),
        "an edited manifest": lambda path: _edit(path, '"rows": ', '"rows": 9'),
        "a pickle that runs a command, hashes to fit": lambda path: _put(path, pickle_that_runs(command)),
        "a foreign type, hashes to fit": lambda path: _put(path, skops.io.dumps({"model": Foreign()})),
        "another library version, hashes to fit": lambda path: _reseal(path, libraries={"scikit-learn": OLD}),
    }


def refusal(registry: ModelRegistry, name: str, attack: Callable | None = None, features=None) -> tuple[str, str]:
    """The kind of error, and what it says first, when a version 1 that suffered an attack is loaded.

    A copy of the registry is attacked, never the registry. ("none", "") where it loads.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = ModelRegistry(shutil.copytree(registry.folder, Path(folder) / "copy"))
        if attack is not None:
            attack(copy.folder / name / "versions" / "000001")
        try:
            copy.load(name, 1, features=features)
        except RegistryError as error:
            said = str(error).replace(str(copy.folder), "").lstrip("/\\")
            said = re.sub(r"the features \S.* give", "the features give", said)
            return type(error).__name__, re.split(r": |, and here|, which", said)[0]
    return "none", ""


def _edit(path: Path, text: str, by: str) -> None:
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace(text, by))


def _put(path: Path, data: bytes) -> None:
    (path / "model.skops").write_bytes(data)
    _reseal(path)


def _reseal(path: Path, **changes) -> None:
    """Write the manifest anew with hashes that fit, as one who may write in the folder could."""
    entries = json.loads((path / "manifest.json").read_text())
    entries.pop("seal")
    entries["files"] = {name: sha256((path / name).read_bytes()) for name in entries["files"]}
    (path / "manifest.json").write_bytes(sealed({**entries, **changes}))


def volatility_in_percent(bars: pd.DataFrame) -> pd.Series:
    """`Volatility(20)` as somebody would rather read it: a hundred times as large."""
    return 100 * Volatility(20)(bars)["volatility_20"]


# ------------------------------------------------------------ what a monitor is fed


def known_rows(bars: pd.DataFrame, features) -> tuple[pd.DataFrame, pd.Series]:
    """Features (m, k) and directions (m,) of the rows where both are known."""
    X, y = features(bars), direction(bars)["label"]
    known = X.notna().all(axis=1) & y.notna()
    return X[known], y[known]


def days_of(model, features, bars: pd.DataFrame, result: BacktestResult) -> pd.DataFrame:
    """What there is to know at each close of a backtest (n, k + 3): features, prediction, label, profit.

    prediction and label : of the decision whose answer became known on this bar, two bars before it
    """
    X, labels = features(bars).dropna(), direction(bars).dropna()
    said = pd.DataFrame({"prediction": pd.Series(scores_of(model, X), X.index), "label": labels["label"]}).dropna()
    said.index = pd.DatetimeIndex(labels["end"].reindex(said.index))
    return X.join(said, how="inner").join(result.returns.rename("profit"), how="inner")


def reference_of(found, features, bars: pd.DataFrame, result: BacktestResult) -> Reference:
    """What was normal on the days that `walk_forward` tested; profits are left out where nothing was held."""
    X = features(bars).loc[found.predictions.index]
    moved = result.returns.std() > 0
    return Reference(X, found.predictions, found.labels, result.returns if moved else None)


def feed(monitor, days: pd.DataFrame) -> list:
    """The alerts of a monitor that is fed the rows of `days_of` one by one; at most one a bar."""
    names = monitor.names
    alerts = [monitor.update(day, features=row[names], prediction=row["prediction"], label=row["label"],
                             profit=row["profit"] if "profit" in monitor.sums else None) for day, row in days.iterrows()]
    return [alert for alert in alerts if alert is not None]


def at_least(count: int, expected: float) -> float:
    """How probable `count` alarms or more are where `expected` come by luck, one independent of the other (Poisson)."""
    return float(poisson.sf(count - 1, expected))


def delays(right_before, right_after, run_lengths, *, seed: int = 0) -> pd.DataFrame:
    """Bars until a hit-rate detector sees a fall, and until it sees one that is none: a row a run length.

    right_before, right_after : (n,), (m,) of 1.0 and 0.0, whether each call was right. Medians over 200 paths
    drawn in blocks of 20 from what came after.
    """
    before, after = np.asarray(right_before, dtype=float), np.asarray(right_after, dtype=float)
    worse = drawn(before.mean() - after, 2_000, 20, seed)
    rows = {}
    for length in run_lengths:
        detector = Cusum("hit rate", 0.04, length).calibrate(before.mean() - before, block=20, seed=seed)
        found = [detector.first_alarm(path) for path in worse]
        rows[length] = {"bars to a true alarm": float(np.median([worse.shape[1] if at is None else at + 1 for at in found]))}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("bars to a false alarm")


def lead_over(result: BacktestResult, benchmark: BacktestResult, *, n_boot: int = 500) -> tuple[float, float, float]:
    """How much more a strategy earned a year than a benchmark on the same bars, and its 95 % interval: fractions."""
    returns = pd.DataFrame({"strategy": result.returns, "benchmark": benchmark.returns})
    table = result.periods_per_year * paired_differences(returns, n_boot=n_boot)
    difference, low, high = table.iloc[0][["difference", "low", "high"]]
    return (difference, low, high) if table.index[0].startswith("strategy") else (-difference, -high, -low)


# ------------------------------------------------------------ challengers


def what_if(registry: ModelRegistry, name: str, bars: pd.DataFrame, ends: dict[str, int], turn: int, **options) -> pd.DataFrame:
    """What `retrain` would decide if it were called at some bars, each time on a copy of the registry.

    ends : name -> number of bars there are; turn : the bar at which the world changed
    Returns, a row a moment: how many of its lessons came after the turn, difference, low, high, promoted.
    """
    rows = {}
    for moment, end in ends.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = ModelRegistry(shutil.copytree(registry.folder, Path(folder) / "copy"))
            decision = retrain(copy, name, bars.iloc[:end], **options)
            last = copy.load(name, decision.challenger).manifest["trained_on"]["last"]
        learned = max(bars.index.get_loc(pd.Timestamp(last)) - turn, 0)
        rows[moment] = {"learned after the turn": min(learned, options["train_size"]), "difference": decision.difference,
                        "low": decision.low, "high": decision.high, "promoted": decision.promoted}
    return pd.DataFrame.from_dict(rows, orient="index")


def brier(model, features, bars: pd.DataFrame) -> pd.Series:
    """Squared error of each probability (m,), where label and features are known."""
    X, y = known_rows(bars, features)
    return (pd.Series(scores_of(model, X), X.index) - y) ** 2


def gains_after_a_turn(strength: float, *, n_train: int = 2_000, n_test: int = 6_000, seed: int = 0) -> pd.Series:
    """How much less a challenger that knows the new world loses than a champion of the old, bar by bar (n_test,).

    Both are logistic regressions on two returns, each trained on `n_train` bars of its own world.
    """
    bars = edge_that_turns(2 * n_train + n_test + 2, seed, strength, n_train)
    features = FeatureSet([LaggedReturns(2)])
    old, new = (make_model("logistic").fit(*known_rows(bars.iloc[first : first + n_train], features)) for first in (0, n_train))
    late = bars.iloc[2 * n_train - 2 :]
    return brier(old, features, late) - brier(new, features, late)


def rows_needed(gains: pd.Series, confidence: float = 0.9) -> float:
    """Rows of an arena from which the interval of the mean gain (n,) lies above 0; inf if there is no gain."""
    mean = gains.mean()
    return float((norm.ppf(0.5 + confidence / 2) * gains.std() / mean) ** 2) if mean > 0 else np.inf


# ---------------------------------------------------------------- pictures


def plot_arena(strength: float, holdout: int = 250) -> Figure:
    """The interval of the difference between a stale champion and one that knows, against the length of the arena."""
    gains = gains_after_a_turn(strength)
    lengths, mean = np.geomspace(60, 10_000, 100), 1e3 * gains.mean()
    room = 1e3 * norm.ppf(0.95) * gains.std() / np.sqrt(lengths)
    fig, (axis,) = figure()
    axis.fill_between(lengths, mean - room, mean + room, color=BLUE, alpha=0.25, linewidth=0, label="90 % interval")
    axis.plot(lengths, np.full(len(lengths), mean), color=BLUE, linewidth=1.2, label="true difference")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.axvline(holdout, color=GREY, linestyle="--", linewidth=1.0, label=f"an arena of {holdout}")
    axis.set(xscale="log", xlabel="length of the arena, bars", ylabel="stale loss less new loss, x 1000")
    axis.set_xticks([60, 250, 1_000, 2_500, 10_000], ["60", "250", "1,000", "2,500", "10,000"], minor=False)
    axis.legend(frameon=False, loc="upper right")
    needed = rows_needed(gains)
    when = f"told after {needed:,.0f} bars, {needed / 252:.1f} years" if needed < np.inf else "never told"
    axis.set_title(f"A correlation of {strength:g} that turns: {when}", loc="left")
    return fig


def plot_story(results: dict[str, BacktestResult], moments: dict[str, pd.Timestamp], title: str) -> Figure:
    """Wealth of accounts (name -> result) from 1, with a line at each moment."""
    fig, (axis,) = figure()
    for (name, result), (colour, style) in zip(results.items(), ((GREY, "--"), (BLUE, "-"), (ORANGE, "-."))):
        axis.plot(result.equity.index, result.equity / result.cash, color=colour, linestyle=style, linewidth=1.2, label=name)
    for number, (name, day) in enumerate(moments.items()):
        axis.axvline(day, color=RED, linewidth=0.8)
        axis.text(day, 0.98 - 0.08 * (number % 3), f" {name}", transform=axis.get_xaxis_transform(), va="top", fontsize=8)
    axis.set(xlabel="date", ylabel="wealth, of 1 at the beginning")
    axis.legend(frameon=False, loc="lower left")
    axis.set_title(title, loc="left")
    return fig
