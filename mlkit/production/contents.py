"""What a version holds: the model's files, what is written down about it, and how it is read back.

Part of `mlkit.production`. The model is a skops file (`mlkit.models.save_model`) without its boosters,
each of which is kept in its own library's JSON. Shipped features are written down as a recipe; of all
features, the names and a hash of what they give on a fixed sample of bars.

>>> from mlkit.features import FeatureSet, LaggedReturns
>>> recipe_of(FeatureSet([LaggedReturns(3)]))
[{'feature': 'LaggedReturns', 'arguments': [3]}]
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from dataclasses import astuple
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit import features as shipped
from mlkit.features import FeatureSet
from mlkit.features.indicators import Feature
from mlkit.models.scoring import Schedule, name_of
from mlkit.models.store import dump_model, parse_model
from mlkit.production.store import sha256
from mlkit.synthetic import random_walk

FORMAT = 1
MANIFEST, MODEL, BOOSTER = "manifest.json", "model.skops", "booster-{}.json"
LIBRARIES = ("scikit-learn", "skops", "xgboost-cpu", "statsmodels", "prophet", "numpy", "pandas")
MUST_AGREE = {"scikit-learn": 2}  # how many parts of the version: scikit-learn reads no other minor version's models
SAMPLE_BARS, SAMPLE_SEED = 400, 20_260_101
LARGEST = 2**30  # bytes a model file may unpack to
DIGITS = 9  # significant ones of a feature's values that have to be the same


class RegistryError(ValueError):
    """Something in a registry is not as it should be; its kinds say what."""


class Tampered(RegistryError):
    """A file is not the one that was registered."""


class UntrustedType(RegistryError):
    """A model holds a type that is not on the list: what it would do when loaded nobody knows."""


class FeatureMismatch(RegistryError):
    """The features are not those that the model was trained on."""


class UnreadableVersion(RegistryError):
    """Another format, or other libraries than can read it."""


# ---- the model


def model_files(model) -> dict[str, bytes]:
    """The files of a fitted model, by name. Raises UntrustedType for one that could not be loaded again."""
    bare = copy.deepcopy(model)
    files = {}
    for number, estimator in enumerate(_boosted(bare)):
        files[BOOSTER.format(number)] = bytes(estimator.get_booster().save_raw("json"))
        estimator._Booster = None
    try:
        files[MODEL] = dump_model(bare)
    except ValueError as error:
        raise UntrustedType(str(error)) from error
    return files


def read_model(folder: Path, manifest: dict):
    """The model in a version's folder, every file of it being the one in the manifest."""
    files = {}
    for name, digest in manifest["files"].items():
        try:
            data = (folder / name).read_bytes()
        except FileNotFoundError as error:
            raise Tampered(f"{folder / name} is missing: it was registered with this version") from error
        if sha256(data) != digest:
            raise Tampered(f"{folder / name} is not the file that was registered: its sha256 differs from the manifest's")
        files[name] = data
    _check_libraries(folder, manifest["libraries"])
    _check_size(folder / MODEL, files[MODEL])
    try:
        model = parse_model(files[MODEL], folder / MODEL)
    except ValueError as error:
        raise UntrustedType(str(error)) from error
    except Exception as error:  # whatever a library makes of a file it does not understand
        raise UnreadableVersion(f"{folder / MODEL} cannot be read here ({type(error).__name__}: {error}). It was written "
                                f"with {_listed(manifest['libraries'])}") from error
    for number, estimator in enumerate(_boosted(model)):
        from xgboost import Booster

        estimator._Booster = Booster(model_file=bytearray(files[BOOSTER.format(number)]))
    return model


def _boosted(model) -> list:
    """Every XGBoost estimator in a model, in an order that is always the same."""
    if hasattr(model, "get_booster"):
        return [model] if "_Booster" in vars(model) else []
    inside = list(model) if isinstance(model, Schedule) else [step for _, step in getattr(model, "steps", [])]
    inside += [value for name, value in sorted(vars(model).items()) if name.endswith("_") and hasattr(value, "get_params")]
    return [found for each in inside for found in _boosted(each)]


def _check_libraries(folder: Path, written: dict) -> None:
    for name, parts in MUST_AGREE.items():
        then, now = (".".join(each.split(".")[:parts]) for each in (written.get(name, ""), _installed(name)))
        if then != now:
            raise UnreadableVersion(f"{folder} was written with {name} {written.get(name)}, and here is {_installed(name)}, "
                                    f"which does not promise to read it: install {name} {then}, or train and register anew")


def _check_size(path: Path, data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise UnreadableVersion(f"{path} is no model file: {error}") from error
    if size > LARGEST:
        raise UnreadableVersion(f"{path} would unpack to {size:,} bytes, more than a model's {LARGEST:,}")


# ---- the features


def recipe_of(features) -> list | None:
    """How to make these features again: class and arguments of each; None where one is not shipped."""
    parts = features.features if isinstance(features, FeatureSet) else [features]
    parts = parts if isinstance(parts, (list, tuple)) else [parts]
    plain = [part for part in parts if isinstance(part, Feature) and type(part).__name__ != "CrossReturn"]
    if len(plain) < len(parts):
        return None
    return [{"feature": type(part).__name__, "arguments": np.hstack(astuple(part)).tolist()} for part in parts]


def features_hash(features) -> str:
    """sha256 of the columns and values that features give on a fixed random walk, to nine significant digits."""
    table = _builder(features)(random_walk(SAMPLE_BARS, SAMPLE_SEED))
    values = [[f"{value:.{DIGITS - 1}e}" for value in row] for row in table.to_numpy(dtype=float)]
    return sha256(json.dumps([list(map(str, table.columns)), values]).encode())


def rebuilt_features(manifest: dict, given):
    """The features of a version, those given or those of its recipe. Raises FeatureMismatch unless they are the same."""
    about = manifest["features"]
    if given is None:
        if about["recipe"] is None:
            raise FeatureMismatch(f"the features {', '.join(about['names'])} are not all shipped with mlkit: hand them to "
                                  "load(..., features=...)")
        given = FeatureSet([getattr(shipped, each["feature"])(*each["arguments"]) for each in about["recipe"]])
    names = list(_builder(given)(random_walk(SAMPLE_BARS, SAMPLE_SEED)).columns)
    if names != about["names"]:
        raise FeatureMismatch(f"these features give {', '.join(names)}, and the model reads {', '.join(about['names'])}")
    if features_hash(given) != about["sha256"]:
        raise FeatureMismatch(f"the features {', '.join(names)} give other values than when the model was registered: "
                              "their code has changed")
    return given


def _builder(features):
    return features if isinstance(features, (FeatureSet, Feature)) else FeatureSet([features])


# ---- what is written down


def describe(model, features, metrics: dict | None, trained_on, files: dict[str, bytes]) -> dict:
    """The entries of a manifest that do not depend on its number."""
    table = _builder(features)(random_walk(SAMPLE_BARS, SAMPLE_SEED))
    parameters = getattr(model, "get_params", dict)(deep=True)
    return {
        "model": name_of(model), "type": type(model).__name__,
        "parameters": {name: repr(value)[:200] for name, value in sorted(parameters.items()) if not hasattr(value, "fit")},
        "features": {"names": list(table.columns), "sha256": features_hash(features), "recipe": recipe_of(features)},
        "trained_on": _span(trained_on),
        "metrics": {name: _number(name, value) for name, value in (metrics or {}).items()},
        "libraries": {name: _installed(name) for name in LIBRARIES},
        "files": {name: sha256(data) for name, data in sorted(files.items())},
    }


def _span(bars) -> dict | None:
    """First and last bar of a table, how many there are, and a hash of their times and values; of a pair, the two alone."""
    if bars is None:
        return None
    if isinstance(bars, tuple) and len(bars) == 2:
        first, last = map(pd.Timestamp, bars)
        return {"symbol": "", "first": shown(first), "last": shown(last), "rows": None, "sha256": None}
    if not isinstance(bars, pd.DataFrame) or not isinstance(bars.index, pd.DatetimeIndex) or not len(bars):
        raise RegistryError(f"trained_on is the table of bars the model was trained on, not {type(bars).__name__}")
    values = bars.index.as_unit("ns").asi8.tobytes() + bars.select_dtypes("number").to_numpy(dtype=float).tobytes()
    return {"symbol": str(bars.attrs.get("symbol", "")), "first": shown(bars.index[0]), "last": shown(bars.index[-1]),
            "rows": len(bars), "sha256": sha256(values)}


def shown(stamp) -> str:
    """A time in words: the day alone where it is midnight."""
    return str(stamp).removesuffix(" 00:00:00")


def _number(name: str, value) -> float:
    if isinstance(value, bool) or not np.isscalar(value) or not np.isfinite(value):
        raise RegistryError(f"the metric {name} is a finite number, not {value!r}")
    return float(value)


def _installed(name: str) -> str:
    try:
        return installed(name)
    except ImportError:
        return ""


def _listed(libraries: dict) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items() if version)
