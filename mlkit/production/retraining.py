"""Retraining: a challenger takes the champion's place only if it wins on bars that neither has seen.

    decision = retrain(registry, "ge-daily", bars)
    print(decision.reason)            # and it is written down beside the versions, whatever it was

The last `holdout` bars are the arena. The champion was trained before them, or it cannot be judged; the
challenger is trained on everything whose label had ended when they began.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import ceil

import numpy as np
import pandas as pd
from sklearn.base import clone

from mlkit.labels import direction
from mlkit.models.scoring import Schedule, scores_of
from mlkit.production.contents import shown
from mlkit.production.registry import ChampionChanged, ModelRegistry, RegistryError
from mlkit.production.store import place, sealed

LEAST_HOLDOUT = 60  # rows: from fewer not even a large difference can be told


class CannotDecide(RegistryError):
    """There is nothing to decide on: no champion, or no bars that it has not seen."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of a retraining.

    promoted : whether the challenger is the champion now
    champion, challenger : versions; difference : champion's mean loss less the challenger's on the holdout
        (above 0: the challenger is better), with low and high, its interval at `confidence`
    loss : "brier" (squared error of a probability) or "squared"; rows, first, last : the holdout
    """

    name: str
    promoted: bool
    champion: int
    challenger: int
    difference: float
    low: float
    high: float
    confidence: float
    loss: str
    rows: int
    first: str
    last: str
    reason: str


def retrain(registry: ModelRegistry, name: str, bars: pd.DataFrame, *, model=None, features=None, label=direction,
            holdout: int = 250, train_size: int | None = None, confidence: float = 0.9, n_boot: int = 2_000,
            seed: int = 0) -> Decision:
    """Train a challenger, let it meet the champion on bars neither has seen, and promote it only if it wins.

    bars : all bars up to now; model : unfitted, default the champion's family with its parameters
    features : default the champion's; label : a function of `mlkit.labels`, as the champion was trained on
    holdout : how many of the last rows with a known label are the arena
    train_size : rows the challenger learns from, those nearest to the arena; None = all
    confidence : of the interval of the difference; the challenger wins if all of it is above 0

    The interval comes from a circular block bootstrap of the paired losses, blocks of the cube root of the
    rows. The challenger is registered either way, the decision written to the registry's `decisions`.
    Raises CannotDecide when there is no champion, when it was trained or chosen on any of the arena or nobody
    knows, or when there are too few rows; ChampionChanged when another process decided meanwhile.
    """
    if registry.champion(name) is None:
        raise CannotDecide(f"{name} has no champion to be challenged: promote a version first")
    champion = registry.load(name, features=features)
    X, y = _rows(bars, champion.features, label)
    if not LEAST_HOLDOUT <= holdout < len(X):
        raise CannotDecide(f"a holdout of {holdout} rows out of {len(X)}: it takes {LEAST_HOLDOUT} at least, and some to "
                           "train on before them")
    arena, before = X.index[-holdout:], X.index[:-holdout]
    _refuse_seen(champion, arena, decisions(registry, name))
    train = before[(y["end"][before] <= arena[0]).to_numpy()][-(train_size or len(before)):]
    challenger = clone(model if model is not None else _template(champion.model))
    challenger.fit(X.loc[train], y["label"][train])
    losses = {who: (scores_of(each, X)[-holdout:] - y["label"][arena].to_numpy()) ** 2
              for who, each in (("champion", champion.model), ("challenger", challenger))}
    gain = losses["champion"] - losses["challenger"]
    low, high = _interval(gain, confidence, n_boot, seed)
    wins = low > 0
    kind = "brier" if hasattr(challenger, "predict_proba") else "squared"
    version = registry.register(
        name, challenger, features=champion.features, trained_on=bars.loc[: y["end"][train].max()],
        metrics={f"{kind}_{who}": float(values.mean()) for who, values in losses.items()} | {"holdout_rows": holdout})
    verdict = "the challenger is better by more than luck" if wins else (
        "not better by more than luck, the champion stays")
    reason = (f"{kind} loss on {holdout} rows neither had seen, {shown(arena[0])} to {shown(arena[-1])}: "
              f"version {champion.version} {losses['champion'].mean():.6g}, version {version.version} {losses['challenger'].mean():.6g}; "
              f"difference {gain.mean():+.3g} ({confidence:.0%}: {low:+.3g} to {high:+.3g}): {verdict}")
    if wins:
        registry.promote(name, version.version, reason=reason, replacing=champion.version)
    decision = Decision(name, wins, champion.version, version.version, float(gain.mean()), low, high, confidence, kind,
                        holdout, shown(arena[0]), shown(arena[-1]), reason)
    place(registry.folder / name / "decisions", lambda number: {"decision.json": sealed(asdict(decision))})
    return decision


def decisions(registry: ModelRegistry, name: str) -> pd.DataFrame:
    """Every decision about a name, oldest first: a row each, the entries of Decision."""
    registry.versions(name)
    folder = registry.folder / name / "decisions"
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*/decision.json"))]
    return pd.DataFrame(found).drop(columns="seal", errors="ignore")


def _rows(bars: pd.DataFrame, features, label) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features and labels (label, end) of the rows where all is known."""
    X, y = features(bars), label(bars)
    known = X.notna().all(axis=1) & y["label"].notna()
    return X[known], y[known]


def _refuse_seen(champion, arena: pd.DatetimeIndex, earlier: pd.DataFrame) -> None:
    """Neither trained on the arena nor chosen on any of it."""
    who, trained = f"version {champion.version} of {champion.name}", champion.manifest["trained_on"]
    begins = f"the arena begins on {shown(arena[0])}: wait for more bars, or take a shorter holdout"
    if trained is None:
        raise CannotDecide(f"{who} does not say what it was trained on: register it with trained_on=bars")
    if pd.Timestamp(trained["last"]) > arena[0]:
        raise CannotDecide(f"{who} was trained on bars up to {trained['last']}, and {begins}")
    chosen = earlier[earlier["challenger"] == champion.version] if len(earlier) else earlier
    if len(chosen) and pd.Timestamp(chosen["last"].iloc[-1]) >= arena[0]:
        raise CannotDecide(f"{who} was chosen on bars up to {chosen['last'].iloc[-1]}, and {begins}")


def _template(model):
    return model[-1] if isinstance(model, Schedule) else model


def _interval(gain: np.ndarray, confidence: float, n_boot: int, seed: int) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a number between 0 and 1, not {confidence!r}")
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    days = CircularBlockBootstrap(ceil(len(gain) ** (1 / 3)), gain, seed=seed)
    means = days.apply(np.mean, n_boot).ravel()
    tail = 50 * (1 - confidence)
    return tuple(float(end) for end in np.percentile(means, [tail, 100 - tail]))


__all__ = ["CannotDecide", "ChampionChanged", "Decision", "decisions", "retrain"]
