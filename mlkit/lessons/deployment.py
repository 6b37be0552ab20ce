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
from scipy.stats import norm, poisson
from sklearn.dummy import DummyClassifier

from mlkit.engine import BacktestResult
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction
from mlkit.lessons import comparison
from mlkit.lessons.sizes import edge_that_turns
from mlkit.models import make_model
from mlkit.models.scoring import scores_of
from mlkit.plots import BLUE, GREY, ORANGE, RED, Plot, figure
from mlkit.production import ModelRegistry, Monitor, Reference, RegistryError, retrain
from mlkit.production.contents import model_files
from mlkit.production.detectors import Cusum, drawn
from mlkit.production.monitor import ALLOWANCES, BLOCK
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
    return pd.DataFrame(told, index=list(WAYS), columns=["what a plain pickle does", "noticed"])


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
        "another model, hashes to fit": lambda path: _put(path, model_files(other)["model.skops"]),
    }


def manifest_hash(path: Path) -> str:
    """sha256 of the manifest of a version, which names the hashes of all the rest."""
    return sha256((path / "manifest.json").read_bytes())


def refusal(registry: ModelRegistry, name: str, attack: Callable | None = None, features=None, *,
            kept: str = "") -> tuple[str, str]:
    """The kind of error, and what it says first, when a version 1 that suffered an attack is loaded.

    kept : `manifest_hash` of the version as it was registered, if it was kept elsewhere
    A copy of the registry is attacked, never the registry. ("none", "") where it loads.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = ModelRegistry(shutil.copytree(registry.folder, Path(folder) / "copy"))
        path = copy.folder / name / "versions" / "000001"
        if attack is not None:
            attack(path)
        if kept not in ("", manifest_hash(path)):
            return "another hash", "the manifest is not the one whose hash was kept"
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
    X, labels = comparison.known_rows(bars, features)
    return X, labels["label"]


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
    names = [name for name in days if name not in ("prediction", "label", "profit")]
    earns = "profit" in monitor.detectors.index
    alerts = [monitor.update(day, features=row[names], prediction=row["prediction"], label=row["label"],
                             profit=row["profit"] if earns else None) for day, row in days.iterrows()]
    return [alert for alert in alerts if alert is not None]


def by_luck(monitor: Monitor, n_bars: int) -> float:
    """False alarms to expect in so many bars: a feature is looked at once a window, all else at each bar."""
    sums, windows = len(monitor.sums), n_bars // monitor.window
    return (sums * n_bars + (len(monitor.detectors) - sums) * windows * monitor.window) / monitor.run_length


def at_least(count: int, expected: float) -> float:
    """How probable `count` alarms or more are where `expected` come by luck, one independent of the other (Poisson)."""
    return float(poisson.sf(count - 1, expected))


def delays(right_before, right_after, run_lengths, *, seed: int = 0) -> pd.DataFrame:
    """Bars until a hit-rate detector sees a true fall, by how many pass until it sees a false one (`run_lengths`).

    right_before, right_after : (n,), (m,) of 1.0 and 0.0, whether each call was right; the median of 200 paths
        drawn in blocks of 20 bars from what came after
    """
    before, after = np.asarray(right_before, dtype=float), np.asarray(right_after, dtype=float)
    paths = drawn(before.mean() - after, 2_000, BLOCK, seed)
    medians = {}
    for length in run_lengths:
        detector = Cusum("hit rate", ALLOWANCES["hit rate"], length).calibrate(before.mean() - before, block=BLOCK, seed=seed)
        found = [detector.first_alarm(path) for path in paths]
        medians[length] = np.median([np.inf if at is None else at + 1 for at in found])
    return pd.Series(medians, name="bars to a true alarm").rename_axis("bars to a false alarm").to_frame()


def lead_over(result: BacktestResult, benchmark: BacktestResult, *, n_boot: int = 500) -> tuple[float, float, float]:
    """How much more a strategy earned a year than a benchmark on the same bars, and its 95 % interval: fractions."""
    returns = pd.DataFrame({"strategy": result.returns, "benchmark": benchmark.returns})
    table = result.periods_per_year * comparison.paired_differences(returns, n_boot=n_boot)
    difference, low, high = table.iloc[0][["difference", "low", "high"]]
    return (difference, low, high) if table.index[0].startswith("strategy") else (-difference, -high, -low)


# ------------------------------------------------------------ challengers


def what_if(registry: ModelRegistry, name: str, bars: pd.DataFrame, ends: dict[str, int], turn: int, **options) -> pd.DataFrame:
    """What `retrain` would decide if it were called at some bars, each time on a copy of the registry.

    ends : name -> number of bars there are; turn : the bar at which the world changed
    Returns, a row a moment: how many of the rows it learned from came after the turn, the losses of both, the
    difference with low and high, and whether it was promoted.
    """
    rows = {}
    for moment, end in ends.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = ModelRegistry(shutil.copytree(registry.folder, Path(folder) / "copy"))
            decision = retrain(copy, name, bars.iloc[:end], **options)
            manifest = copy.load(name, decision.challenger).manifest
        learned = bars.index.get_loc(pd.Timestamp(manifest["trained_on"]["last"])) - turn
        rows[moment] = {"rows learned after the turn": int(np.clip(learned, 0, options["train_size"])),
                        "champion": manifest["metrics"]["brier_champion"], "challenger": manifest["metrics"]["brier_challenger"],
                        "difference": decision.difference, "low": decision.low, "high": decision.high,
                        "promoted": decision.promoted}
    return pd.DataFrame.from_dict(rows, orient="index")


def calls(model, features, bars: pd.DataFrame) -> pd.Series:
    """Whether each call (m,) was right: 1.0 or 0.0, where label and features are known."""
    X, y = known_rows(bars, features)
    return ((pd.Series(scores_of(model, X), X.index) > 0.5) == (y == 1)).astype(float)


def boldness(model, features, bars: pd.DataFrame) -> pd.Series:
    """How far each probability (m,) is from one half, above 0 for a rise."""
    X = features(bars).dropna()
    return pd.Series(scores_of(model, X) - 0.5, X.index)


def stays_out(features, bars: pd.DataFrame):
    """A model that never expects a rise."""
    return DummyClassifier(strategy="constant", constant=0).fit(*known_rows(bars, features))


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


def plot_arena(strength: float, holdout: int = 250) -> Plot:
    """The interval of the difference between a stale champion and one that knows, against the length of the arena."""
    gains = gains_after_a_turn(strength)
    lengths, mean = np.geomspace(60, 10_000, 100), 1e3 * gains.mean()
    room = 1e3 * norm.ppf(0.95) * gains.std() / np.sqrt(lengths)
    fig, (axis,) = figure()
    axis.fill_between(lengths, mean - room, mean + room, color=BLUE, alpha=0.25, linewidth=0, label="90 % interval")
    axis.plot(lengths, np.full(len(lengths), mean), color=BLUE, linewidth=1.2, label="difference, of 6,000 bars")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.axvline(holdout, color=GREY, linestyle="--", linewidth=1.0, label=f"an arena of {holdout}")
    axis.set(xscale="log", xlabel="length of the arena, bars", ylabel="stale loss less new loss, x 1000")
    axis.set_xticks([60, 250, 1_000, 2_500, 10_000], ["60", "250", "1,000", "2,500", "10,000"], minor=False)
    axis.legend(frameon=False, loc="upper right")
    needed = rows_needed(gains)
    when = f"even odds at {needed:,.0f} bars, {needed / 252:.1f} years" if needed < np.inf else "never told apart"
    axis.set_title(f"A correlation of {strength:g} that turns: {when}", loc="left")
    return fig


def plot_story(results: dict[str, BacktestResult], moments: dict[str, pd.Timestamp], wealth: dict[str, float]) -> Plot:
    """Wealth of up to four accounts (name -> result) from 1, a line at each moment, what is left of 1 in the title."""
    fig, (axis,) = figure()
    for (name, result), (colour, style) in zip(results.items(), ((GREY, ":"), (ORANGE, "--"), (BLUE, "-"), (RED, "-."))):
        axis.plot(result.equity.index, result.equity / result.cash, color=colour, linestyle=style, linewidth=1.3, label=name)
    for name, day in moments.items():
        axis.axvline(day, color="black", linewidth=0.6)
        axis.text(day, 0.02, f" {name}", transform=axis.get_xaxis_transform(), fontsize=8)
    axis.set(yscale="log", xlabel="date", ylabel="wealth, of 1 (log scale)")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: "")
    axis.set_yticks([0.25, 0.5, 1.0, 2.0, 4.0])
    axis.legend(frameon=False, loc="upper left", fontsize=8)
    axis.set_title("1 becomes " + ", ".join(f"{value:.2f} ({name})" for name, value in wealth.items()), loc="left")
    return fig
