"""Binder, devcontainer and CI: they install what `make` does, and say what they lack."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])


def test_binder_installs_the_same_requirements():
    [line] = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    assert (ROOT / ".binder" / line.removeprefix("-r ")).resolve() == ROOT / "requirements.txt"
    version = (ROOT / ".binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    assert version in PYTHONS


def test_binder_builds_nothing_that_the_doctor_would_not_pass():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])     # there `python` has the packages
    done = subprocess.run([script], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "OK    kernel" in done.stdout, done.stdout + done.stderr
    page = re.search(r"urlpath=lab/tree/(\S+)", script.read_text())[1]
    assert (ROOT / page).is_file() and f"?urlpath=lab/tree/{page}" in (ROOT / "README.md").read_text()


def test_the_devcontainer_installs_with_make():
    about = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert re.search(r"python:(\d\.\d+)", about["image"])[1] in PYTHONS
    environment = {name: value for name, value in os.environ.items() if not name.startswith("M")}      # no outer make's
    command = about["postCreateCommand"].split()
    dry = subprocess.run([command[0], "-n", "-B", *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert dry.returncode == 0 and "-m pip install" in dry.stdout and "-r requirements.txt" in dry.stdout
    interpreter = about["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    venv = re.search(r"^VENV := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert interpreter == f"${{containerWorkspaceFolder}}/{venv}/bin/python"
    for port in about["forwardPorts"]:
        target = about["portsAttributes"][str(port)]["label"].partition("make ")[2]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture
def ci(tmp_path):
    """Run .ci/run in a folder of its own where only the given programs exist."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    for name in ("bash", "dirname", "id"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))

    def run(**programs):
        for name, script in programs.items():
            program = tmp_path / "bin" / name.replace("_", "-")
            program.write_text(f"#!{shutil.which('bash')}\n{script}\n")
            program.chmod(0o755)
        return subprocess.run([shutil.which("bash"), tmp_path / ".ci" / "run"], env={"PATH": str(tmp_path / "bin")},
                              capture_output=True, text=True)

    return run


def test_ci_tests_everything_and_insists_on_a_browser(ci):
    done = ci(chromium="", make='echo "make $* in $PWD, browser $REQUIRE_BROWSER"')
    assert done.returncode == 0 and re.fullmatch(r"make test DEEP=1 in \S+, browser 1\n", done.stdout)


def test_ci_installs_a_missing_browser_first(ci):
    install = 'echo "apt-get $*"'
    done = ci(apt_get=install, sudo='"$@"', make="echo tested")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["apt-get update -qq", "apt-get install -y -qq chromium fonts-dejavu", "tested"]


def test_ci_without_a_browser_or_a_way_to_one_says_what_to_do(ci):
    done = ci(make="echo tested")
    assert done.returncode == 1 and "apt-get install -y chromium fonts-dejavu" in done.stderr and not done.stdout


@pytest.mark.parametrize("required, status, outcome", [("", 0, "SKIPPED [1]"), ("1", 1, "ERROR")])
def test_a_missing_browser_is_told_and_fails_where_it_is_required(tmp_path, required, status, outcome):
    (tmp_path / "test_it.py").write_text("from browser import chromium\n\ndef test_it(chromium):\n    pass\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path, "-rsE", "-q", tmp_path],
                          env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}",
                               "REQUIRE_BROWSER": required}, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == status and outcome in done.stdout, done.stdout + done.stderr
    assert "apt-get install -y chromium fonts-dejavu" in done.stdout
