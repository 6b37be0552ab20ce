"""A registry of models: a folder in which every version stays as it was registered.

    registry = ModelRegistry("registry")
    version = registry.register("ge-daily", model, features=features, trained_on=bars, metrics={"auc": 0.53})
    registry.promote("ge-daily", version.version, reason="beat 3 on the held-out year")
    champion = registry.load("ge-daily")          # .model .features .version
    registry.rollback("ge-daily")

    registry/ge-daily/versions/000001/            model.skops, booster-0.json, manifest.json
    registry/ge-daily/champions/000001/           champion.json: which version, since when, why

Nothing in it is ever changed, only added (`mlkit.production.store`): a process that dies while it writes
leaves everything as it was, and several may write at once. The champion is the last one named.
What is loaded is data, never code: see `mlkit.models.load_model`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from mlkit.production.contents import (FORMAT, MANIFEST, FeatureMismatch, RegistryError, Tampered, UnreadableVersion,
                                       UntrustedType, describe, model_files, read_model, rebuilt_features)
from mlkit.production.store import numbered, numbers, place, sealed, unsealed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHAMPION = "champion.json"

__all__ = ["BadName", "ChampionChanged", "FeatureMismatch", "ModelRegistry", "ModelVersion", "RegistryError", "Tampered",
           "UnknownName", "UnreadableVersion", "UntrustedType", "load_version"]


class BadName(RegistryError):
    """A name that could not be a folder's everywhere."""


class UnknownName(RegistryError):
    """A model, version or champion that is not there."""


class ChampionChanged(RegistryError):
    """Another process named a champion meanwhile."""


@dataclass(frozen=True, eq=False)
class ModelVersion:
    """One version of a model.

    name : str; version : int, from 1; path : its folder; sha256 : of its model file
    manifest : dict of what was written down when it was registered
    model, features : the fitted model and what it reads; None unless it came from `load`
    """

    name: str
    version: int
    path: Path
    sha256: str
    manifest: dict = field(repr=False)
    model: object = field(default=None, repr=False)
    features: object = field(default=None, repr=False)


class ModelRegistry:
    """Models by name and version, in a folder; see the module for how it is laid out.

    folder : made when the first model is registered

    Every method raises RegistryError (a ValueError) or one of its kinds: BadName, UnknownName, Tampered,
    UntrustedType, FeatureMismatch, UnreadableVersion, ChampionChanged.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def register(self, name: str, model, *, features, metrics: dict | None = None, trained_on=None) -> ModelVersion:
        """Keep a fitted model as the next version of a name. It is not the champion until it is promoted.

        model : a fitted model of the catalogue, or a Schedule of them
        features : what makes its columns from bars: a FeatureSet, a feature, or a function of bars. Shipped
            features are rebuilt by `load`; others have to be given to it again
        metrics : name -> number, as measured out of sample
        trained_on : the bars it was trained on, whose span and a hash of whose values are written down; or
            (first, last), the span alone

        Raises UntrustedType for a model that could not be loaded again, and writes nothing then.
        """
        files = model_files(model)
        about = describe(model, features, metrics, trained_on, files)

        def contents(number: int) -> dict[str, bytes]:
            entries = {"format": FORMAT, "name": name, "version": number, "registered": _now(), **about}
            return {**files, MANIFEST: sealed(entries)}

        version = place(self._folder(name) / "versions", contents)
        return self._version(name, version)

    def versions(self, name: str) -> list[int]:
        """The versions there are, oldest first."""
        found = numbers(self._folder(name) / "versions")
        if not found:
            known = ", ".join(self.names()) or "none yet"
            raise UnknownName(f"no model is registered as {name!r} in {self.folder}; there is {known}")
        return found

    def names(self) -> list[str]:
        """The names there are, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(each.name for each in self.folder.iterdir() if numbers(each / "versions"))

    def load(self, name: str, version="champion", *, features=None) -> ModelVersion:
        """A version with its model and features, if all of it is as it was registered.

        version : a number, "champion" or "latest"
        features : what makes its columns; needed where it has other than shipped features

        Raises Tampered for a file whose hash differs, UntrustedType for one that holds anything but arrays
        and known types, FeatureMismatch for features that give other columns or values than then, and
        UnreadableVersion for another format, or libraries that do not read it.
        """
        return _whole(self._version(name, self._number(name, version)), features)

    def champion(self, name: str) -> int | None:
        """The version that is promoted, None before the first is."""
        self.versions(name)
        last = self._last_champion(name)
        return last["version"] if last else None

    def promote(self, name: str, version: int, *, reason: str = "", replacing="any") -> None:
        """Make a version the champion.

        reason : why, for the history
        replacing : the champion as you knew it (None: none); ChampionChanged if it is another by now
        """
        self._name_champion(name, self._number(name, version), "promoted", reason, replacing)

    def rollback(self, name: str, *, reason: str = "") -> int:
        """Make the champion before this one the champion again; returns its version. Again: the one before that."""
        last = self._last_champion(name) if self.versions(name) else None
        if not last or last["before"] is None:
            raise UnknownName(f"{name} has no champion before "
                              f"{'version %d' % last['version'] if last else 'the first'} to go back to")
        steps = self._champions(name)
        before = next(each for each in steps if each["number"] == last["before"])
        self._name_champion(name, before["version"], "rolled back", reason, last["version"], before["before"])
        return before["version"]

    def history(self, name: str) -> pd.DataFrame:
        """What happened to a name, oldest first: time, event, version, reason, and the metrics it was registered with."""
        rows = []
        for number in self.versions(name):
            manifest = self._version(name, number).manifest
            rows.append({"time": manifest["registered"], "event": "registered", "version": number, "reason": "",
                         **manifest["metrics"]})
        rows += [{"time": each["time"], "event": each["event"], "version": each["version"], "reason": each["reason"]}
                 for each in self._champions(name)]
        table = pd.DataFrame(rows)
        table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601")
        return table.sort_values("time", kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        return f"ModelRegistry({str(self.folder)!r}: {', '.join(self.names()) or 'empty'})"

    # ---- underneath

    def _folder(self, name: str) -> Path:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith("."):
            raise BadName(f"{name!r} is no name for a model: letters, digits, . _ and -, beginning with a letter or "
                          "digit, 64 at most")
        return self.folder / name

    def _number(self, name: str, version) -> int:
        there = self.versions(name)
        if version == "latest":
            return there[-1]
        if version == "champion":
            champion = self.champion(name)
            if champion is None:
                raise UnknownName(f"{name} has no champion yet: promote one of its versions, {there[0]} to {there[-1]}")
            return champion
        if isinstance(version, bool) or not isinstance(version, int) or version not in there:
            raise UnknownName(f"{name} has no version {version!r}: there are {there[0]} to {there[-1]}")
        return version

    def _version(self, name: str, number: int) -> ModelVersion:
        found = _bare(self._folder(name) / "versions" / numbered(number))
        if (found.name, found.version) != (name, number):
            raise Tampered(f"{found.path} says it is version {found.version} of {found.name!r}: it was moved")
        return found

    def _champions(self, name: str) -> list[dict]:
        folder = self._folder(name) / "champions"
        return [_entries(folder / numbered(number) / CHAMPION) for number in numbers(folder)]

    def _last_champion(self, name: str) -> dict | None:
        folder = self._folder(name) / "champions"
        there = numbers(folder)
        return _entries(folder / numbered(there[-1]) / CHAMPION) if there else None

    def _name_champion(self, name, version, event, reason, replacing, before="last") -> None:
        def contents(number: int) -> dict[str, bytes]:
            last = self._last_champion(name)
            now = last["version"] if last else None
            if replacing != "any" and replacing != now:
                raise ChampionChanged(f"the champion of {name} is {_said(now)} by now, not {_said(replacing)}: look again "
                                      "before you replace it")
            entries = {"number": number, "name": name, "version": version, "event": event, "reason": reason, "time": _now(),
                       "before": (last["number"] if last else None) if before == "last" else before}
            return {CHAMPION: sealed(entries)}

        place(self._folder(name) / "champions", contents)


def load_version(path, *, features=None) -> ModelVersion:
    """The version in a folder of a registry, wherever it lies; features and errors as of `ModelRegistry.load`."""
    return _whole(_bare(Path(path)), features)


def _bare(path: Path) -> ModelVersion:
    """A version without its model, by its manifest."""
    manifest = _entries(path / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise UnreadableVersion(f"{path} was written in format {manifest.get('format')!r}, and this mlkit reads {FORMAT}")
    return ModelVersion(manifest["name"], manifest["version"], path, manifest["files"]["model.skops"], manifest)


def _whole(bare: ModelVersion, features) -> ModelVersion:
    """The version with its model and its features."""
    return replace(bare, features=rebuilt_features(bare.manifest, features), model=read_model(bare.path, bare.manifest))


def _said(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _entries(path: Path) -> dict:
    try:
        return unsealed(path.read_bytes())
    except FileNotFoundError as error:
        raise Tampered(f"{path} is missing: it was there when its folder was made") from error
    except ValueError as error:
        raise Tampered(f"{path} is not as it was written: {error}") from error
