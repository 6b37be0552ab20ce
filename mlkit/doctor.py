"""`mlkit doctor`: is everything here that the course needs? A line for each part, and for each fault its cure.

Most useful where half of it is missing, so this file needs nothing but Python itself, of any version that
can read it; what it looks at (packages, a kernel) it imports only while looking.

    python3 -m mlkit doctor         # works before anything is installed, and says what to install
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WINDOWS = os.name == "nt"      # there the course is used without make
OLDEST, NEWEST = (3, 11), (3, 13)
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)\s*(?:;\s*(?P<condition>.+))?")
CHECKSUM = re.compile(r"^## `(?P<file>[^`]+)`.*?^- sha256 `(?P<sum>\w+)`", re.MULTILINE | re.DOTALL)
SHOWN = 5          # faulty packages shown one by one
PATIENCE = 120     # seconds for a kernel to start, and again for its imports
IN_KERNEL = ("import mlkit, mlkit.plots, mlkit.models, mlkit.engine, mlkit.widgets\n"
             "mlkit.load_bars('GE'); print(mlkit.__file__)")


class Line(NamedTuple):
    """What was found of one part: `status` is "OK", "FAIL" or "-" (optional, and not here)."""

    status: str
    part: str
    found: str
    cure: str = ""

    def __str__(self):
        indent = "\n" + " " * 18
        cure = f"\ncure: {self.cure}" if self.status == "FAIL" else f"\nto have it: {self.cure}" if self.cure else ""
        return f"{self.status:<5} {self.part:<11} " + (self.found + cure).replace("\n", indent)


def report(root: Path = ROOT) -> int:
    """Print a line for each part as it is looked at; returns the exit status, 1 if something must be cured."""
    failed = 0
    for check in (python, packages, data, kernel, writing, optional):
        for line in check(root):
            print(line, flush=True)
            failed += line.status == "FAIL"
    if failed:
        print(f"\n{failed} to cure. Begin with the first, then run mlkit doctor again: one fault often makes the next.")
    else:
        lab = f"{_short(Path(sys.executable), root)} -m mlkit lab" if WINDOWS else "make lab"
        print("\nAll that the course needs is here." + f" Go on with `{lab}`." * _is_checkout(root))
    return int(bool(failed))


def _is_checkout(root: Path) -> bool:
    """Whether this is the course's folder; else mlkit was installed from a wheel, which has no requirements.txt."""
    return (root / "requirements.txt").is_file()


def python(root: Path, version=sys.version_info):
    """Whether this Python is one the course runs on."""
    found = "{}.{}.{}, {}".format(*version[:3], _short(Path(sys.executable), root))
    own = _own_python(root)
    if own and Path(sys.prefix) != root / ".venv":
        yield Line("-", "Python", f"what follows is about {sys.executable}, not about the course's own",
                   f"{_short(own, root)} -m mlkit doctor")
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        yield Line("OK", "Python", found)
    else:
        yield Line("FAIL", "Python", found, "install Python 3.11, 3.12 or 3.13, then: "
                   + ("py -3.12 -m venv .venv" if WINDOWS else "make lab PYTHON=python3.12"))


def packages(root: Path):
    """Whether what is installed is what requirements.txt pins, or what the wheel that mlkit came in asks for."""
    if _is_checkout(root):
        pins, unread = _pins(root / "requirements.txt")
        rest = f" ({unread} more depend on the system, and without `packaging` cannot be read)" if unread else ""
        asks = "requirements.txt pins it"
        more = "\nif that fails: delete the folder .venv, then " + ("run mlkit doctor again" if WINDOWS else "make lab")
    else:
        pins, rest, asks, more = _requirements(), "", "mlkit asks for it", ""
    wrong = list(_wrong(pins))
    if not wrong:
        yield Line("OK", "packages", f"{len(pins)}, each as {asks}{rest}")
        return
    shown = wrong[:SHOWN] + ([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else [])
    yield Line("FAIL", "packages", "\n".join([f"{len(wrong)} of {len(pins)} are not as wanted{rest}", *shown]),
               _install(root) + more)


def optional(root: Path):
    """Which of the optional requirements files are installed; each says in its first line what it is for."""
    for file in sorted(root.glob("requirements-*.txt")):
        pins, _ = _pins(file)
        wrong, part = list(_wrong(pins)), file.stem.partition("-")[2]
        purpose = file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").partition("Optional: ")[2].rstrip(".")
        if not wrong:
            yield Line("OK", part, f"for {purpose}")
        elif len(wrong) < len(pins) and not any("not installed" in each for each in wrong):
            yield Line("-", part, "\n".join(["not as pinned", *wrong]), _pip(root, "requirements.txt", file.name))
        else:
            yield Line("-", part, f"not installed, needed for {purpose}", _pip(root, "requirements.txt", file.name))


def _pins(file: Path) -> tuple[dict[str, str], int]:
    """Name -> version that a requirements file asks for here, and how many lines could not be judged."""
    lines = [PIN.fullmatch(line.strip()) for line in file.read_text(encoding="utf-8").splitlines()]
    pins, unread, holds = {}, 0, _marker_reader()
    for found in filter(None, lines):
        if found["condition"] and not holds:
            unread += 1
        elif not found["condition"] or holds(found["condition"]):
            pins[found["name"]] = found["version"]
    return pins, unread


def _requirements() -> dict[str, str]:
    """Name -> versions, such as ">=3.0,<4", that the installed mlkit asks for here; extras are left out."""
    reader = _packaging("requirements", "Requirement")
    if not reader:
        return {"packaging": ">=0"}
    try:
        asked = [reader(text) for text in metadata.requires("mlkit") or []]
    except metadata.PackageNotFoundError:
        return {"mlkit": ">=0"}
    return {each.name: str(each.specifier) for each in asked if not each.marker or each.marker.evaluate({"extra": ""})}


def _marker_reader():
    """A function that says whether a condition such as `os_name == 'nt'` holds; None where no package reads them."""
    marker = _packaging("markers", "Marker")
    return marker and (lambda text: marker(text).evaluate())


def _packaging(module: str, name: str):
    """A class of `packaging`, pip's own copy if there is no other; None where there is neither."""
    for source in ("packaging", "pip._vendor.packaging"):
        try:
            return getattr(__import__(f"{source}.{module}", fromlist=[name]), name)
        except ImportError:
            continue
    return None


def _wrong(pins: dict[str, str]):
    """What differs from the versions wanted, in words."""
    for name, wanted in pins.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield f"{name}: not installed, {wanted} wanted"
            continue
        if not found or not _fits(found, wanted):
            yield f"{name}: {found or 'a broken version'} installed, {wanted} wanted"


def _fits(found: str, wanted: str) -> bool:
    if wanted[:1].isdigit():
        return found.partition("+")[0] == wanted      # "2.13.0+cpu" is a 2.13.0
    return _packaging("specifiers", "SpecifierSet")(wanted).contains(found, prereleases=True)


def data(root: Path):
    """Whether the bundled data are those whose checksums stand in their SOURCES.md."""
    checkout = (root / "data").is_dir() or _is_checkout(root)
    folder = root / "data" if checkout else Path(sys.prefix, "share", "mlkit")       # where a wheel puts them
    sources = folder / "SOURCES.md"
    if not sources.is_file():
        yield Line("FAIL", "data", f"{_short(sources, root)} is not here",
                   "git checkout -- data" if checkout else _install(root))
        return
    sums = {found["file"]: found["sum"] for found in CHECKSUM.finditer(sources.read_text(encoding="utf-8"))}
    bad = [f"{name} is {fault}" for name, wanted in [*sums.items(), ("catalogue.csv", None)]
           for fault in [_fault(folder / name, wanted)] if fault]
    if bad:
        names = " ".join(f"data/{each.split()[0]}" for each in bad)
        yield Line("FAIL", "data", "\n".join(bad), f"git checkout -- {names}" if checkout else _install(root))
    else:
        yield Line("OK", "data", f"{len(sums)} files with the checksums of data/SOURCES.md")


def _fault(file: Path, wanted: str | None) -> str:
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return f"not readable ({error.strerror})" if file.exists() else "missing"
    return "not what it was (its checksum differs)" if wanted not in (None, found) else ""


def kernel(root: Path):
    """Whether a kernel starts and finds this mlkit: a notebook needs both."""
    begin, said = time.perf_counter(), []
    try:
        answer = _ask_kernel(IN_KERNEL, said)
    except Exception as error:      # whatever is broken in there, it is a line of the report
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        yield Line("FAIL", "kernel", f"does not start: {reason}", _install(root))
        return
    place = Path("".join(said).strip() or ".").resolve().parent.parent
    if answer["status"] != "ok":
        yield Line("FAIL", "kernel", f"starts, but cannot import mlkit: {answer['ename']}: {answer['evalue']}",
                   _install(root))
    elif place != root:
        yield Line("FAIL", "kernel", f"starts, but its mlkit is that of {place}, not of {root}",
                   _install(root))
    else:
        yield Line("OK", "kernel", f"started, and imported mlkit, in {time.perf_counter() - begin:.1f} s")


def _ask_kernel(code: str, said: list) -> dict:
    """Run code in a fresh kernel such as notebooks get; its answer, and in `said` what it printed."""
    from jupyter_client.manager import KernelManager

    from mlkit.notebooks import kernel_variables

    def hear(message):
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            said.append(message["content"]["text"])

    wanted = {**os.environ, **kernel_variables()}
    manager = KernelManager(kernel_name="python3")      # found by this name, as JupyterLab finds it
    # in an empty folder: a kernel imports what lies in its own, and lessons do not run in the checkout's root
    with tempfile.TemporaryFile() as remarks, tempfile.TemporaryDirectory() as elsewhere:
        manager.start_kernel(env={name: value for name, value in wanted.items() if value is not None}, stdout=remarks,
                             stderr=remarks, cwd=elsewhere)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            return client.execute_interactive(code, timeout=PATIENCE, output_hook=hear)["content"]
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def writing(root: Path):
    """Whether lessons can be saved and runs be kept, in the course's folder."""
    for name in ("notebooks", "runs") if _is_checkout(root) else ():
        folder = root / name if (root / name).exists() or name == "notebooks" else root
        shown = _short(folder, root)
        try:
            with tempfile.TemporaryFile(dir=folder):
                yield Line("OK", "writing", f"{name}/")
        except OSError as error:
            yield Line("FAIL", "writing", f"{name}/ cannot be written to: {error.strerror}",
                       f"see that {shown} is a folder of yours: ls -ld {shown} (then chmod u+rwx {shown}, or move the "
                       "course to your home folder)")


def _install(root: Path) -> str:
    """How to have what the course needs."""
    if not _is_checkout(root):
        return (f"{sys.executable} -m pip install --force-reinstall --no-index --find-links wheels mlkit\n"
                "where `wheels` is the folder of wheels it was installed from")
    own = _own_python(root) or Path(sys.prefix) == root / ".venv"
    made = "" if WINDOWS or own else "make lab (it makes .venv); without make: "
    return made + _pip(root, "requirements.txt")


def _pip(root: Path, *files: str) -> str:
    """The command that installs requirements files: into an environment, as systems guard their own Python."""
    command = " ".join(["-m pip install", *(f"-r {file}" for file in files)])
    if _own_python(root) or sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").is_dir():
        return f"{_short(_own_python(root) or Path(sys.executable), root)} {command}"
    python, own = ("python", r".venv\Scripts\python") if WINDOWS else ("python3", ".venv/bin/python")
    return f"{python} -m venv .venv, then {own} {command}"


def _own_python(root: Path) -> Path | None:
    places = (root / ".venv" / "bin" / "python", root / ".venv" / "Scripts" / "python.exe")
    return next((each for each in places if each.exists()), None)


def _short(path: Path, root: Path) -> str:
    """A path seen from the course's folder."""
    return str(path.relative_to(root)) if root in path.parents else str(path)
