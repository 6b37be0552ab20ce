"""A watch over a model that trades: is the world still the one it learned in?

    reference = Reference(features=X, predictions=found.predictions, labels=found.labels, profits=result.returns)
    monitor = Monitor(reference)
    for each bar:                                              # once a bar, in the order of time
        alert = monitor.update(timestamp, features=row, prediction=p, label=y, profit=r)
        if alert: ...
    monitor.save("monitor.json");  Monitor.load("monitor.json")       # goes on where it stopped

What is watched: each feature's distribution (population stability index), the size of the residuals, the
hit rate, the profit, and the calibration of the probabilities. Every alarm says how often it would be
false. A hit rate is slow to speak whatever the detector: a single bar holds little of it.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit.production.detectors import Cusum, Stability
from mlkit.production.store import sealed, unsealed

FORMAT = 1
BLOCK = 20  # bars in a row that are drawn together: volatility comes in spells of about a month
# What each detector forgives a bar: half of the change it is to find soon.
ALLOWANCES = {"hit rate": 0.04,  # of being right: half of a fall by 8 points
              "profit": 0.1,  # standard deviations of profit: half of a fall by a fifth of one
              "residual": 0.5,  # of the mean absolute residual: half of a doubling
              "calibration high": 0.05, "calibration low": 0.05}  # of a probability
MEANING = {"hit rate": "the model is right less often than it was",
           "profit": "it earns less than it did, or its profits swing more widely",
           "residual": "its errors are larger than they were",
           "calibration high": "rises come less often than it says, over all its calls",
           "calibration low": "rises come more often than it says, over all its calls"}


@dataclass(frozen=True, eq=False)
class Reference:
    """What was normal: a span that the model did not learn from, before the monitor begins.

    features : DataFrame (n, k); predictions : (m,) probabilities of a rise, or values; labels : (m,) what
        came; profits : (m,) returns of the strategy, one a bar. Any may be left out, and is then not watched.
    """

    features: pd.DataFrame | None = None
    predictions: object = None
    labels: object = None
    profits: object = None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alarm: when, by which detector (and feature), and how often it is false.

    run_length : bars between two false alarms of this detector, on average, where nothing changes
    """

    timestamp: pd.Timestamp
    detector: str
    statistic: float
    threshold: float
    run_length: float
    message: str


class LateBar(ValueError):
    """A bar that is older than one already counted."""


class Monitor:
    """Detectors over one model, fed once a bar.

    reference : a Reference (or its features alone, a DataFrame), of 100 rows at least and better of 2,000: a short
        one is off by chance itself. On a random walk, 250 rows gave six times the false alarms that are stated,
        2,000 as many as are stated
    window : bars of a population stability index, looked at once a window
    run_length : bars between two false alarms of each detector, on average, while all is as in the reference
    seed : of the draws by which thresholds are found

    `.alerts`, all so far; `.detectors`, a DataFrame: detector, threshold, level, run_length. With d detectors
    some alarm is false every run_length / d bars. The run length holds for a world that is the reference's
    (with 2,000 rows, a fifth either way is ordinary).
    A bar fed again is ignored (it returns None and counts in `.ignored`), an older one raises LateBar.
    """

    def __init__(self, reference: Reference, *, window: int = 250, run_length: float = 2_500, seed: int = 0):
        if window < 50 or not run_length >= window:
            raise ValueError(f"window is 50 bars or more and run_length at least as long, not {window} and {run_length}")
        if isinstance(reference, pd.DataFrame):
            reference = Reference(features=reference)
        self.window, self.run_length = int(window), float(run_length)
        self.stability, self.sums = None, {}
        self.last, self.ignored, self.alerts = None, 0, []
        if reference.features is not None:
            self._watch_features(reference.features, seed)
        for name, values in self._values_of(reference).items():
            detector = Cusum(name, ALLOWANCES[name], self.run_length)
            self.sums[name] = detector.calibrate(_checked(name, values), block=BLOCK, seed=seed)
        if self.stability is None and not self.sums:
            raise ValueError("the reference is empty: give it features, predictions with labels, or profits")

    def _watch_features(self, features: pd.DataFrame, seed: int) -> None:
        table = np.column_stack([_checked(str(name), column.to_numpy(dtype=float)) for name, column in features.items()])
        self.stability = Stability(list(map(str, features)), self.window, self.run_length).calibrate(
            table, block=max(BLOCK, self.window // 2), seed=seed)

    def _values_of(self, reference: Reference) -> dict[str, np.ndarray]:
        """How much worse each row of the reference is than its own average, by detector; sets the averages."""
        self.is_probability, self.scale, self.hit_rate, self.mean, self.deviation = False, 1.0, 0.5, 0.0, 1.0
        found = {}
        if reference.predictions is not None and reference.labels is not None:
            p, y = (np.asarray(each, dtype=float) for each in (reference.predictions, reference.labels))
            if p.shape != y.shape or p.ndim != 1:
                raise ValueError(f"predictions {p.shape} and labels {y.shape} are not one for one")
            self.is_probability = bool(np.isin(y, (0.0, 1.0)).all() and (p >= 0).all() and (p <= 1).all())
            self.scale = float(np.abs(y - p).mean()) or 1.0
            self.hit_rate = float(_hits(p, y, self.is_probability).mean())
            found |= self._scores(p, y)
        if reference.profits is not None:
            r = np.asarray(reference.profits, dtype=float)
            self.mean, self.deviation = float(r.mean()), float(r.std(ddof=1)) or 1.0
            found["profit"] = (self.mean - r) / self.deviation
        return found

    def _scores(self, p, y) -> dict[str, np.ndarray]:
        """How much worse predictions are than the reference's, by detector."""
        found = {"hit rate": self.hit_rate - _hits(p, y, self.is_probability)}
        if self.is_probability:
            found |= {"calibration high": p - y, "calibration low": y - p}
        else:
            found["residual"] = np.abs(y - p) / self.scale - 1.0
        return found

    # ---- feeding

    def update(self, timestamp, *, features=None, prediction=None, label=None, profit=None) -> Alert | None:
        """Take account of a bar.

        features : the row (k,) of this bar; prediction, label : of the latest decision whose label became
            known at this bar; profit : the strategy's return over it. What is None is not counted.
        Returns the alert, the one with the highest level over its threshold where there are several
        (`.alerts` has all), or None. Raises LateBar for a bar before the last, ValueError for NaN.
        """
        stamp = pd.Timestamp(timestamp)
        if self.last is not None and stamp <= self.last:
            if stamp == self.last:
                self.ignored += 1
                return None
            raise LateBar(f"{stamp} comes after {self.last} was counted: feed bars in the order of time")
        row = None if features is None else self._feature_row(features)
        values = self._bar_values((), prediction, label, profit)
        new = [] if row is None else [(at, self.stability.level[at]) for at in self.stability.update(row)]
        new = [self._feature_alert(stamp, *each) for each in new]
        new += [self._sum_alert(stamp, name) for name, value in values.items() if self.sums[name].update(float(value))]
        self.last = stamp
        if not new:
            return None
        self.alerts += new
        return max(new, key=lambda alert: alert.statistic / alert.threshold)

    def update_many(self, timestamps, *, features=None, prediction=None, label=None, profit=None) -> list[Alert]:
        """As `update` for bars in a row: features (n, k), the others (n,). Returns the alerts among them.

        Nothing is counted unless all of it is good: ValueError or LateBar leave the monitor as it was.
        """
        stamps = pd.DatetimeIndex(timestamps)
        n = len(stamps)
        if not n:
            return []
        if not (stamps.is_monotonic_increasing and stamps.is_unique) or (self.last is not None and stamps[0] <= self.last):
            raise LateBar(f"bars from {stamps[0]} on, the last counted being {self.last}: feed each bar once, in order")
        table = None if features is None else self._feature_table(features, n)
        values = self._bar_values((n,), prediction, label, profit)
        alerts = [] if table is None else [self._feature_alert(stamps[at], *each)
                                           for at, *each in self.stability.update_many(table)]
        alerts += [self._sum_alert(stamps[at], name) for name, row in values.items()
                   for at in self.sums[name].update_many(row)]
        self.last = stamps[-1]
        alerts.sort(key=lambda alert: alert.timestamp)
        self.alerts += alerts
        return alerts

    def _feature_row(self, features) -> np.ndarray:
        row = np.asarray(features, dtype=float)
        if self.stability is None or row.shape != (len(self.stability.names),):
            raise ValueError(f"features of shape {row.shape}: one row of {self._watched()} is due")
        if np.isnan(row).any():
            raise ValueError(f"feature {self.stability.names[int(np.isnan(row).argmax())]} is NaN")
        return row

    def _feature_table(self, features, n: int) -> np.ndarray:
        if isinstance(features, pd.DataFrame) and self.stability is not None:
            missing = [name for name in self.stability.names if name not in features]
            if missing:
                raise ValueError(f"there is no feature {', '.join(missing)} among {', '.join(map(str, features))}")
            features = features[self.stability.names]
        table = np.asarray(features, dtype=float)
        if self.stability is None or table.shape != (n, len(self.stability.names)):
            raise ValueError(f"features of shape {table.shape} for {n} bars: a column for each of {self._watched()} is due")
        if np.isnan(table).any():
            row, column = np.argwhere(np.isnan(table))[0]
            raise ValueError(f"feature {self.stability.names[column]} is NaN in row {row}")
        return table

    def _watched(self) -> str:
        return ", ".join(self.stability.names) if self.stability is not None else "no features (none are watched)"

    def _bar_values(self, shape: tuple, prediction, label, profit) -> dict:
        """How much worse than the reference these bars are, by detector; all of them checked."""
        if (prediction is None) != (label is None):
            raise ValueError("prediction and label go together: the prediction made then, and what came of it")
        given = {"prediction": prediction, "label": label, "profit": profit}
        arrays = {name: np.asarray(value, dtype=float) for name, value in given.items() if value is not None}
        for name, array in arrays.items():
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name}: finite numbers of shape {shape} are due, not {array.shape} with "
                                 f"{int((~np.isfinite(array)).sum())} that are not finite")
        values = self._scores(arrays["prediction"], arrays["label"]) if prediction is not None else {}
        if profit is not None:
            values["profit"] = (self.mean - arrays["profit"]) / self.deviation
        return {name: row for name, row in values.items() if name in self.sums}

    def _feature_alert(self, stamp, at: int, level: float) -> Alert:
        name, threshold = self.stability.names[at], self.stability.threshold[at]
        return self._alert(stamp, f"feature {name}", level, threshold, f"{name} is not distributed as it was")

    def _sum_alert(self, stamp, name: str) -> Alert:
        return self._alert(stamp, name, self.sums[name].threshold, self.sums[name].threshold, MEANING[name])

    def _alert(self, stamp, detector: str, statistic: float, threshold: float, meaning: str) -> Alert:
        return Alert(stamp, detector, float(statistic), float(threshold), self.run_length,
                     f"{detector} at {stamp:%Y-%m-%d}: {meaning}. Where nothing has changed this is said once in "
                     f"{self.run_length:,.0f} bars.")

    @property
    def detectors(self) -> pd.DataFrame:
        """What is watched: threshold, level and run_length (bars) by detector."""
        rows = {name: (each.threshold, each.level) for name, each in self.sums.items()}
        if self.stability is not None:
            features = zip(self.stability.names, self.stability.threshold, self.stability.level)
            rows = {f"feature {name}": (threshold, level) for name, threshold, level in features} | rows
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["threshold", "level"])
        return table.assign(run_length=self.run_length).rename_axis("detector")

    # ---- state

    def save(self, path) -> Path:
        """Write all of its state to a file, whole or not at all; returns the path."""
        path = Path(path)
        state = {name: value for name, value in vars(self).items() if name not in ("stability", "sums", "last", "alerts")}
        state |= {"format": FORMAT, "last": None if self.last is None else self.last.isoformat(),
                  "sums": [asdict(each) for each in self.sums.values()],
                  "stability": None if self.stability is None else _listed(vars(self.stability)),
                  "alerts": [{**asdict(alert), "timestamp": alert.timestamp.isoformat()} for alert in self.alerts]}
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.resolve().parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed(state))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return path

    @classmethod
    def load(cls, path) -> Monitor:
        """The monitor in a file of `save`. Raises ValueError for one that is none, or was edited."""
        try:
            state = unsealed(Path(path).read_bytes())
        except (ValueError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} holds no monitor that was saved: {error}") from error
        if state.pop("format") != FORMAT:
            raise ValueError(f"{path} was saved in another format than this mlkit reads ({FORMAT})")
        monitor = cls.__new__(cls)
        sums, stability, alerts, last = (state.pop(name) for name in ("sums", "stability", "alerts", "last"))
        vars(monitor).update(state)
        monitor.last = None if last is None else pd.Timestamp(last)
        monitor.sums = {each["name"]: Cusum(**each) for each in sums}
        monitor.stability = None
        if stability is not None:
            monitor.stability = Stability(stability["names"], stability["window"], stability["run_length"])
            for name, was in vars(monitor.stability).items():
                setattr(monitor.stability, name, _array(stability[name]) if isinstance(was, np.ndarray)
                        else stability[name])
        monitor.alerts = [Alert(**{**each, "timestamp": pd.Timestamp(each["timestamp"])}) for each in alerts]
        return monitor

    def __repr__(self) -> str:
        count = 0 if self.stability is None else len(self.stability.names)
        return (f"Monitor({count} features, {', '.join(self.sums) or 'no predictions'}; last bar {self.last}, "
                f"{len(self.alerts)} alerts)")


def _listed(state: dict) -> dict:
    """As JSON takes it: arrays as lists, and null for an edge that is never reached."""
    return {name: np.where(np.isinf(value), None, value).tolist() if isinstance(value, np.ndarray) else value
            for name, value in state.items()}


def _array(values: list) -> np.ndarray:
    found = np.array(values, dtype=float)
    return np.where(np.isnan(found), np.inf, found)


def _hits(p, y, is_probability: bool) -> np.ndarray:
    """Whether each prediction had the right side: 1.0 or 0.0."""
    return ((p > 0.5) == (y == 1) if is_probability else (p > 0) == (y > 0)).astype(float)


def _checked(name: str, values: np.ndarray) -> np.ndarray:
    if len(values) < 100 or not np.isfinite(values).all():
        raise ValueError(f"the reference of {name} needs 100 finite values or more, not {len(values)} with "
                         f"{int((~np.isfinite(values)).sum())} missing")
    return values
