"""The registry: versions that stay as they were, for many writers, through crashes, and against hostile files."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from multiprocessing import get_context
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from mlkit import (CATALOGUE, FeatureSet, LaggedReturns, MLStrategy, RSI, Volatility, WalkForward, backtest, direction,
                   load_bars, make_model, next_return, walk_forward)
from mlkit.models.scoring import scores_of
from mlkit.production import (BadName, ChampionChanged, FeatureMismatch, ModelRegistry, RegistryError, Tampered,
                              UnknownName, UnreadableVersion, UntrustedType)
from mlkit.production import store

BARS = load_bars("GE").iloc[-900:]
FEATURES = FeatureSet([LaggedReturns(2), Volatility(10), RSI(7)])
X = FEATURES(BARS).iloc[12:-2]
UP, RETURN = direction(BARS)["label"][X.index], next_return(BARS)["label"][X.index]
FAMILIES = [name for name in CATALOGUE if name != "lstm"]


def fitted(name="logistic", task="direction"):
    return make_model(name, task=task).fit(X, UP if task == "direction" else RETURN)


@pytest.fixture
def registry(tmp_path):
    made = ModelRegistry(tmp_path / "registry")
    made.register("ge", fitted(), features=FEATURES, trained_on=BARS, metrics={"auc": 0.53})
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_comes_back_with_the_same_bits(tmp_path, name):
    registry = ModelRegistry(tmp_path)
    for task in ("direction", "return"):
        if task not in CATALOGUE[name].task:
            continue
        model = fitted(name, task)
        registry.register(name, model, features=FEATURES)
        again = registry.load(name, "latest")
        assert scores_of(again.model, X).tobytes() == scores_of(model, X).tobytes()
        assert scores_of(model, X).tobytes() == scores_of(model, X).tobytes(), "registering left the model as it was"
        assert again.features(BARS).equals(FEATURES(BARS))


def test_a_booster_is_kept_in_its_own_json(tmp_path):
    version = ModelRegistry(tmp_path).register("boosted", fitted("xgboost"), features=FEATURES)
    assert json.loads((version.path / "booster-0.json").read_bytes())["learner"]
    with zipfile.ZipFile(version.path / "model.skops") as archive:
        assert not any(name.endswith(".bin") for name in archive.namelist()), "no second copy of it"


def test_a_schedule_trades_as_before_it_was_kept(tmp_path):
    labels = direction(BARS)
    found = walk_forward(make_model("xgboost"), FEATURES(BARS), labels, WalkForward(400, 100, label_end=labels["end"]))
    registry = ModelRegistry(tmp_path)
    registry.register("schedule", found.models, features=FEATURES)
    version = registry.load("schedule", 1)
    one, two = (backtest(BARS, MLStrategy(model, FEATURES, enter=0.5, exit=0.5)) for model in (found, version.model))
    assert one.order_hash == two.order_hash and len(one.fills)


def test_what_was_written_down(registry):
    version = registry.load("ge", 1)
    about = version.manifest
    assert about["model"] == "logistic" and about["metrics"] == {"auc": 0.53}
    assert about["features"]["names"] == ["return_1", "return_2", "volatility_10", "rsi_7"]
    assert about["trained_on"] | {"sha256": ""} == {"symbol": "GE", "first": f"{BARS.index[0]:%Y-%m-%d}", "last": "2018-01-05",
                                                    "rows": 900, "sha256": ""}
    assert any(name.endswith("C") for name in about["parameters"]) and about["libraries"]["scikit-learn"].startswith("1.")
    assert version.sha256 == store.sha256((version.path / "model.skops").read_bytes())
    span = registry.register("ge", fitted(), features=FEATURES, trained_on=("2014-06-10", BARS.index[-1]))
    assert span.manifest["trained_on"]["last"] == "2018-01-05" and span.manifest["trained_on"]["sha256"] is None
    other = registry.register("ge", fitted(), features=FEATURES, trained_on=BARS * 1.0001)
    assert other.manifest["trained_on"]["sha256"] != about["trained_on"]["sha256"]


def test_promote_rollback_and_the_history_of_it(registry):
    for _ in range(3):
        registry.register("ge", fitted(), features=FEATURES)
    with pytest.raises(UnknownName, match="no champion yet"):
        registry.load("ge")
    assert registry.champion("ge") is None and registry.versions("ge") == [1, 2, 3, 4]
    for version in (1, 2, 4):
        registry.promote("ge", version, reason=f"try {version}")
    assert registry.load("ge").version == 4
    assert [registry.rollback("ge"), registry.rollback("ge", reason="worse")] == [2, 1]
    with pytest.raises(UnknownName, match="no champion before version 1"):
        registry.rollback("ge")
    registry.promote("ge", 3)
    assert registry.rollback("ge") == 1, "the one before, not the one that was rolled back"
    history = registry.history("ge")
    assert history["event"].tolist() == ["registered"] * 4 + ["promoted"] * 3 + ["rolled back"] * 2 + ["promoted", "rolled back"]
    assert history["version"].tolist() == [1, 2, 3, 4, 1, 2, 4, 2, 1, 3, 1]
    assert history["reason"].iloc[4] == "try 1" and history["auc"].iloc[0] == 0.53
    assert history["time"].is_monotonic_increasing and str(history["time"].dt.tz) == "UTC"


def test_a_champion_is_not_replaced_behind_one_s_back(registry):
    registry.register("ge", fitted(), features=FEATURES)
    registry.promote("ge", 1, replacing=None)
    with pytest.raises(ChampionChanged, match="version 1 by now, not none"):
        registry.promote("ge", 2, replacing=None)
    registry.promote("ge", 2, replacing=1)
    assert registry.champion("ge") == 2


def test_features_that_are_not_shipped_are_asked_for_and_compared(tmp_path):
    registry = ModelRegistry(tmp_path)

    def jump(bars):
        return (bars["close"].diff().abs() / bars["close"]).rename("jump")

    own = FeatureSet([jump])
    table = own(BARS).dropna()
    model = make_model("ridge").fit(table.loc[X.index], UP)
    registry.register("own", model, features=own)
    with pytest.raises(FeatureMismatch, match="hand them to load"):
        registry.load("own", 1)
    assert registry.load("own", 1, features=own).model.predict_proba(table).shape == (len(table), 2)
    changed = FeatureSet([{"jump": lambda bars: bars["close"].diff() / bars["close"]}])
    with pytest.raises(FeatureMismatch, match="code has changed"):
        registry.load("own", 1, features=changed)
    with pytest.raises(FeatureMismatch, match="give return_1"):
        registry.load("own", 1, features=LaggedReturns(1))


def test_shipped_features_whose_code_changed_are_noticed(registry, monkeypatch):
    from mlkit.features import indicators

    change = indicators.RSI._columns
    monkeypatch.setattr(indicators.RSI, "_columns", lambda self, bars: [each * 1.001 for each in change(self, bars)])
    with pytest.raises(FeatureMismatch, match="code has changed"):
        registry.load("ge", 1)


class Runs:
    """A pickle that runs a command."""

    def __reduce__(self):
        return os.system, (f"touch {os.environ['CANARY']}",)


def hostile_pickle(path, version):
    (path / "model.skops").write_bytes(pickle.dumps(Runs()))
    reseal(path)


def foreign_type(path, version):
    skops.io.dump({"model": Foreign()}, path / "model.skops")
    reseal(path)


class Foreign:
    def __init__(self):
        self.x = 1


def truncated(path, version):
    data = (path / "model.skops").read_bytes()
    (path / "model.skops").write_bytes(data[: len(data) // 2])


def truncated_and_sealed_again(path, version):
    truncated(path, version)
    reseal(path)


def swapped(path, version):
    shutil.copy(version.path.parents[2] / "other/versions/000001/model.skops", path / "model.skops")


def edited_manifest(path, version):
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"auc": 0.53', '"auc": 0.93'))


def no_manifest(path, version):
    (path / "manifest.json").unlink()


def wrong_types(path, version):
    (path / "manifest.json").write_text('["a list"]')


def zip_bomb(path, version):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        with archive.open("zeros.npy", "w", force_zip64=True) as file:
            for _ in range(1100):
                file.write(bytes(2**20))
    (path / "model.skops").write_bytes(data.getvalue())
    reseal(path)


def foreign_version(path, version):
    reseal(path, libraries={**version.manifest["libraries"], "scikit-learn": "0.17.0"})


def foreign_format(path, version):
    reseal(path, format=99)


def moved(path, version):
    shutil.copytree(version.path.parents[2] / "other/versions/000001", path, dirs_exist_ok=True)


def reseal(path, **changes):
    """As one who may write in the folder would: with hashes that fit."""
    entries = json.loads((path / "manifest.json").read_text())
    entries.pop("seal")
    entries["files"] = {name: store.sha256((path / name).read_bytes()) for name in entries["files"]}
    (path / "manifest.json").write_bytes(store.sealed({**entries, **changes}))


HOSTILE = {hostile_pickle: UntrustedType, foreign_type: UntrustedType, truncated: Tampered,
           truncated_and_sealed_again: UnreadableVersion, swapped: Tampered, edited_manifest: Tampered, no_manifest: Tampered,
           wrong_types: Tampered, zip_bomb: UnreadableVersion, foreign_version: UnreadableVersion,
           foreign_format: UnreadableVersion, moved: Tampered}


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack.__name__)
def test_hostile_and_broken_files_are_refused_and_nothing_runs(registry, tmp_path, monkeypatch, attack):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    registry.register("other", fitted("ridge"), features=FEATURES)
    version = registry.load("ge", 1)
    attack(version.path, version)
    with pytest.raises(RegistryError) as caught:
        registry.load("ge", 1)
    assert type(caught.value) is HOSTILE[attack] or attack is hostile_pickle and isinstance(
        caught.value, (UntrustedType, UnreadableVersion)), repr(caught.value)
    assert "000001" in str(caught.value) and not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a\\b", "/abs", ".hidden", "con.", "x" * 65, "ü", None, "a\0b", "-x"])
def test_a_name_that_could_lead_elsewhere_is_refused(registry, name):
    before = sorted(registry.folder.rglob("*"))
    for call in (lambda: registry.register(name, fitted(), features=FEATURES), lambda: registry.load(name),
                 lambda: registry.promote(name, 1), lambda: registry.history(name)):
        with pytest.raises(BadName):
            call()
    assert sorted(registry.folder.rglob("*")) == before


@pytest.mark.parametrize("version", [0, 2, -1, "1", 1.0, True, "newest", "../000001"])
def test_a_version_that_is_not_there_is_named(registry, version):
    with pytest.raises(UnknownName, match="1 to 1"):
        registry.load("ge", version)


def test_what_cannot_be_loaded_again_is_refused_when_it_is_registered(registry):
    class Mine(LogisticRegression):
        pass

    before = sorted(registry.folder.rglob("*"))
    with pytest.raises(UntrustedType, match="Mine"):
        registry.register("ge", Mine().fit(X, UP), features=FEATURES)
    with pytest.raises(RegistryError, match="auc"):
        registry.register("ge", fitted(), features=FEATURES, metrics={"auc": float("nan")})
    with pytest.raises(RegistryError, match="trained_on"):
        registry.register("ge", fitted(), features=FEATURES, trained_on=[1, 2])
    assert sorted(registry.folder.rglob("*")) == before
    with pytest.raises(UnknownName, match="there is ge"):
        registry.versions("nobody")


def test_a_full_disk_leaves_everything_as_it_was(registry, monkeypatch):
    registry.promote("ge", 1)
    before = {path: path.read_bytes() for path in registry.folder.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for call in (lambda: registry.register("ge", fitted(), features=FEATURES), lambda: registry.promote("ge", 1)):
        with pytest.raises(OSError, match="No space"):
            call()
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in registry.folder.rglob("*") if path.is_file()} == before
    assert registry.load("ge").version == 1


def many(folder, count):
    registry = ModelRegistry(folder)
    return [registry.register("ge", fitted("ridge"), features=FEATURES).version for _ in range(count)]


def test_processes_that_register_at_once_lose_and_repeat_nothing(tmp_path):
    with get_context("spawn").Pool(4) as pool:
        got = pool.starmap(many, [(str(tmp_path), 6)] * 4)
    registry = ModelRegistry(tmp_path)
    assert sorted(sum(got, [])) == registry.versions("ge") == list(range(1, 25))
    assert all(registry.load("ge", version).version == version for version in registry.versions("ge"))


def test_a_strategy_can_be_made_from_a_version_s_folder(registry):
    version = registry.load("ge", 1)
    strategy = MLStrategy.from_path(version.path, enter=0.5, exit=0.5)
    same = MLStrategy(version.model, version.features, enter=0.5, exit=0.5)
    assert backtest(BARS, strategy).order_hash == backtest(BARS, same).order_hash
    with pytest.raises(RegistryError):
        MLStrategy.from_path(version.path.parent / "000009")


def test_kills_at_random_moments_leave_a_registry_that_can_be_read(tmp_path):
    script = Path(__file__).parents[1] / "benchmarks/registry.py"
    done = subprocess.run([sys.executable, str(script), "--kills", "6", "--processes", "2", "--versions", "4"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "0 lost, 0 repeated, 0 unreadable" in done.stdout
