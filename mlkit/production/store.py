"""Files that are there whole or not at all, whoever else is writing.

Part of `mlkit.production`. What a registry keeps is never changed: it is a numbered folder, filled
beside its place and moved there in one step. Two processes that want the same number cannot both have
it, as a folder cannot be moved onto one that holds files; the later one takes the next number. A
process that dies leaves a folder that has no number, and that nobody reads.

    number = place(folder, {"model.skops": data, "manifest.json": text})
    read(folder / numbered(number) / "manifest.json")
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

DIGITS = 6
UNFINISHED = ".new-"
ABANDONED = 3600.0  # seconds after which an unfinished folder is nobody's any more


def numbered(number: int) -> str:
    return f"{number:0{DIGITS}d}"


def numbers(folder: Path) -> list[int]:
    """The numbers there are in a folder, in order."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if len(name) == DIGITS and name.isdecimal())


def place(folder: Path, contents: Callable[[int], dict[str, bytes]]) -> int:
    """Put files into the next free number of a folder; returns the number.

    contents : given the number, the files' bytes by name
    Whole or not at all: files and folder are on the disk before they are moved to their place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    number = max(numbers(folder), default=0)
    while True:
        number += 1
        made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        try:
            for name, data in contents(number).items():
                with open(made / name, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            made.chmod(0o755)
            _flush(made)
            os.rename(made, folder / numbered(number))
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not (folder / numbered(number)).exists():
                raise
            continue  # somebody else has this number
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        _flush(folder)
        return number


def _flush(folder: Path) -> None:
    """What is in a folder is on the disk too, where the system lets one ask for that."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _sweep(folder: Path) -> None:
    """Remove what processes that died left behind."""
    for each in folder.glob(UNFINISHED + "*"):
        try:
            if time.time() - each.stat().st_mtime > ABANDONED:
                shutil.rmtree(each, ignore_errors=True)
        except FileNotFoundError:
            pass  # it was finished, or swept by another


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sealed(entries: dict) -> bytes:
    """A JSON file that tells when it was edited: its entries, and a hash of them."""
    return json.dumps({**entries, "seal": sha256(_canonical(entries))}, indent=1, allow_nan=False).encode()


def unsealed(data: bytes) -> dict:
    """The entries of a file of `sealed`. Raises ValueError for one that is none, or was edited."""
    entries = json.loads(data)
    if not isinstance(entries, dict) or "seal" not in entries:
        raise ValueError("it has no seal")
    seal = entries.pop("seal")
    if seal != sha256(_canonical(entries)):
        raise ValueError("it was edited after it was written")
    return entries


def _canonical(entries: dict) -> bytes:
    return json.dumps(entries, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
