"""`mlkit doctor`: each fault planted, and found with its cure; and no fault where there is none."""

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlkit import doctor
from mlkit.cli import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    """A course of three files: requirements, optional ones, and its two folders."""
    (tmp_path / "requirements.txt").write_text("# pinned\n-e .\n\npytest==0.1\nno-such-package==1.0\n"
                                               "other-world==2 ; sys_platform == 'none'\n")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def test_here_nothing_is_wrong():
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    parts = re.findall(r"^OK    (\w+)", done.output, re.MULTILINE)
    assert parts[:6] == ["Python", "packages", "data", "kernel", "writing", "writing"]
    assert "Go on with `make lab`" in done.output and "FAIL" not in done.output


@pytest.mark.parametrize("version, status", [((3, 10, 4), "FAIL"), ((3, 11, 0), "OK"), ((3, 13, 9), "OK"),
                                             ((3, 14, 0), "FAIL")])
def test_the_version_of_python(version, status):
    *_, line = doctor.python(ROOT, version)
    assert line.status == status and line.found.startswith(".".join(map(str, version)))
    assert ("make lab PYTHON=" in line.cure) == (status == "FAIL")


def test_another_python_than_the_courses_own_is_told(folder):
    own = folder / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    first, _ = doctor.python(folder)
    assert first.status == "-" and first.cure == ".venv/bin/python -m mlkit doctor"


def test_packages_that_are_missing_or_of_another_version(folder):
    [line] = doctor.packages(folder)
    assert line.status == "FAIL" and line.found.startswith("2 of 2 are not as wanted")
    assert f"pytest: {pytest.__version__} installed, 0.1 wanted" in line.found
    assert "no-such-package: not installed, 1.0 wanted" in line.found and "other-world" not in line.found
    assert line.cure.splitlines()[0].endswith("-m pip install -r requirements.txt")


def test_from_a_wheel_what_mlkit_asks_for_is_looked_at(tmp_path, monkeypatch):
    """No requirements.txt, no folder of notebooks and no data beside the package."""
    asked = [f"pytest=={pytest.__version__}", "click>=8", "no-such-package<9,>=2",
             'other-world; sys_platform == "none"', 'pandas<1; extra == "test"', "numpy<1"]
    monkeypatch.setattr(doctor.metadata, "requires", {"mlkit": asked}.get)
    [line] = doctor.packages(tmp_path)
    assert line.status == "FAIL" and line.found.splitlines()[0] == "2 of 4 are not as wanted"
    assert "no-such-package: not installed, <9,>=2 wanted" in line.found and ", <1 wanted" in line.found
    assert "--no-index --find-links wheels mlkit" in line.cure
    del asked[2:]
    assert next(doctor.packages(tmp_path)).status == "OK"
    assert not [*doctor.writing(tmp_path), *doctor.optional(tmp_path)]
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    missing = next(doctor.data(tmp_path))
    assert missing.found == "share/mlkit/SOURCES.md is not here" and missing.cure == line.cure
    shutil.copytree(ROOT / "data", tmp_path / "share" / "mlkit")
    assert next(doctor.data(tmp_path)).status == "OK"


@pytest.mark.parametrize("windows, cure", [
    (False, "make lab (it makes .venv); without make: python3 -m venv .venv, then .venv/bin/python -m pip install "),
    (True, "python -m venv .venv, then .venv\\Scripts\\python -m pip install ")])
def test_nothing_is_installed_into_the_systems_own_python(folder, monkeypatch, windows, cure):
    monkeypatch.setattr(doctor.sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(doctor, "WINDOWS", windows)
    [line] = doctor.packages(folder)
    assert line.cure.startswith(f"{cure}-r requirements.txt\n") and ("make" in line.cure) != windows
    (folder / "requirements-sky.txt").write_text("# Optional: flying.\nno-such-package==1")
    cure = cure.rpartition("; without make: ")[2]
    assert next(doctor.optional(folder)).cure == f"{cure}-r requirements.txt -r requirements-sky.txt"


def test_where_there_is_no_make_none_is_named(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "WINDOWS", True)
    assert "py -3.12 -m venv .venv" in list(doctor.python(ROOT, (3, 14, 0)))[-1].cure
    for check in ("python", "packages", "data", "kernel", "writing", "optional"):
        monkeypatch.setattr(doctor, check, lambda root: [])
    doctor.report(ROOT)
    assert "-m mlkit lab`" in capsys.readouterr().out


def test_a_package_whose_condition_holds_is_wanted(folder):
    (folder / "requirements.txt").write_text(f"no-such-package==2 ; sys_platform == '{sys.platform}'")
    assert "no-such-package" in next(doctor.packages(folder)).found


def test_optional_packages_are_no_fault(folder):
    (folder / "requirements-sky.txt").write_text("# Optional: flying.\nno-such-package==1\npytest==0.1")
    (folder / "requirements-old.txt").write_text("# Optional: reading.\npytest==0.1\nnbval==0.11.0")
    (folder / "requirements-sun.txt").write_text(f"# Optional: seeing.\npytest=={pytest.__version__}")
    old, sky, sun = doctor.optional(folder)
    assert (sky.status, sky.part, sky.found) == ("-", "sky", "not installed, needed for flying")
    assert sky.cure.endswith("-m pip install -r requirements.txt -r requirements-sky.txt")
    assert old.status == "-" and f"pytest: {pytest.__version__} installed, 0.1 wanted" in old.found
    assert (sun.status, sun.found) == ("OK", "for seeing")


def test_every_optional_file_says_what_it_is_for():
    for line in doctor.optional(ROOT):
        assert re.fullmatch(r"(for|not installed, needed for) \w.{10,}", line.found), line


def test_data_that_changed_or_went_missing(tmp_path):
    shutil.copytree(ROOT / "data", tmp_path / "data")
    assert next(doctor.data(tmp_path)).status == "OK"
    changed = tmp_path / "data" / "ge_daily.csv"
    changed.write_bytes(changed.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "data" / "fx_ecb_daily.csv.gz").unlink()
    (tmp_path / "data" / "catalogue.csv").unlink()
    line = next(doctor.data(tmp_path))
    assert line.status == "FAIL" and line.found.splitlines() == [
        "ge_daily.csv is not what it was (its checksum differs)", "fx_ecb_daily.csv.gz is missing",
        "catalogue.csv is missing"]
    assert line.cure == "git checkout -- data/ge_daily.csv data/fx_ecb_daily.csv.gz data/catalogue.csv"
    (tmp_path / "data" / "SOURCES.md").unlink()
    assert next(doctor.data(tmp_path)).found == "data/SOURCES.md is not here"


def test_every_bundled_file_has_its_checksum():
    sums = doctor.CHECKSUM.findall((ROOT / "data" / "SOURCES.md").read_text(encoding="utf-8"))
    files = {path.name for path in (ROOT / "data").iterdir()} - {"SOURCES.md", "catalogue.csv"}
    assert {name for name, _ in sums} == files


def test_a_kernel_that_dies(tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "dies.py"))
    line = next(doctor.kernel(ROOT))
    assert line.status == "FAIL" and "does not start" in line.found and "pip install" in line.cure


def test_a_kernel_with_a_broken_package(tmp_path, monkeypatch):
    (tmp_path / "pandas.py").write_text("raise ImportError('a library is missing')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    line = next(doctor.kernel(ROOT))
    assert line.status == "FAIL" and "cannot import mlkit: ImportError: a library is missing" in line.found


def test_a_kernel_with_the_mlkit_of_another_folder(tmp_path):
    line = next(doctor.kernel(tmp_path))
    assert line.status == "FAIL" and f"its mlkit is that of {ROOT}, not of {tmp_path}" in line.found


def test_a_kernel_imports_nothing_from_the_folder_the_doctor_runs_in(tmp_path, monkeypatch):
    """There it would find an mlkit that is not installed; lessons run in another folder, and would not."""
    (tmp_path / "mlkit.py").write_text("raise ImportError('not installed, only here')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "only here" not in next(doctor.kernel(ROOT)).found


def test_folders_that_cannot_be_written_to(folder, monkeypatch):
    assert [line.status for line in doctor.writing(folder)] == ["OK", "OK"]
    assert not (folder / "runs").exists(), "looked at, not made"
    (folder / "runs").write_text("a file, not a folder")
    (folder / "notebooks").rmdir()
    notebooks, runs = doctor.writing(folder)
    assert notebooks.status == runs.status == "FAIL" and "ls -ld runs" in runs.cure
    assert "notebooks/ cannot be written to: No such file" in notebooks.found
    shutil.rmtree(folder)
    monkeypatch.setattr(doctor, "_is_checkout", lambda root: True)
    assert f"ls -ld {folder} (" in list(doctor.writing(folder))[1].cure, "where runs is made, as it is not there yet"


def test_where_nothing_is_installed_it_still_reports(tmp_path):
    """A real environment without a single package, not even pip: lines, no traceback."""
    venv.create(tmp_path / "bare", with_pip=False)
    bare = tmp_path / "bare" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run(*words):
        return subprocess.run([bare, "-m", "mlkit", *words], cwd=ROOT, capture_output=True, text=True, timeout=60,
                              env={"PYTHONPATH": str(ROOT)})

    done = run("doctor")
    assert done.returncode == 1 and not done.stderr, done.stderr
    statuses = dict((part, status) for status, part in re.findall(r"^(OK|FAIL|-) +(\w+)", done.stdout, re.MULTILINE))
    assert statuses["packages"] == statuses["kernel"] == "FAIL" and statuses["data"] == statuses["Python"] == "OK"
    assert statuses["cluster"] == "-" and "2 to cure" in done.stdout
    other = run("data")
    assert other.returncode == 1 and other.stderr.startswith("mlkit cannot start: ") and "mlkit doctor" in other.stderr
    assert "Traceback" not in other.stderr
