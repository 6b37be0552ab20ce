"""The gradebook: a line a student and question, in a CSV that a spreadsheet opens and that is never lost.

    student,lesson,question,points,max_points,outcome,mistake,tries,hints,solution_shown,first_choice,seconds,error,...
    ann,01_leakage,q1,2,2,right,,3,1,,,0.4,,ann/01_leakage.ipynb,,5d0c...

`outcome` is the checker's (right, mistake, wrong, raised, not attempted) or says why there is none: stopped (a
limit), not graded (no notebook that can be read), not handed in. `tries`, `hints`, `solution_shown` and the letter
that was chosen first are what the notebook said when it was handed in. `seconds` is how long the question's cells
ran. `key` stands for the submission, the exercise and the limits: what has not changed need not be graded again.
"""

import csv
import io
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

COLUMNS = ("student", "lesson", "question", "points", "max_points", "outcome", "mistake", "tries", "hints",
           "solution_shown", "first_choice", "seconds", "error", "file", "remark", "key")
LATER = ("first_choice",)  # not in the first gradebooks
LONGEST = 1000  # characters of a text
MARKED = ("=", "+", "-", "@", "'")  # a spreadsheet works out what begins so; a ' before it says that it is a text


def write_gradebook(path: Path, rows: list[dict]) -> Path | None:
    """Write rows; a file that was there with other content is kept as `gradebook.1.csv`, or the next free number.

    Returns
    -------
    The path under which the old one is kept; None if there was none or it says the same.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows({name: _written(row.get(name, "")) for name in COLUMNS} for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(path.parent):
        kept = None
        if path.exists():
            if path.read_bytes() == text.getvalue().encode("utf-8"):
                return None
            numbers = [int(found.group(1)) for other in path.parent.glob(f"{path.stem}.*{path.suffix}")
                       if (found := re.fullmatch(rf"{re.escape(path.stem)}\.(\d+)", other.stem))]
            kept = path.with_name(f"{path.stem}.{max(numbers, default=0) + 1}{path.suffix}")
            with path.open("rb") as old, kept.open("xb") as copy:
                shutil.copyfileobj(old, copy)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text.getvalue(), encoding="utf-8", newline="")
        os.replace(new, path)
    return kept


@contextmanager
def _alone_in(folder: Path):
    """Of two runs that write a gradebook into a folder, the second waits, and then keeps what the first one wrote."""
    import fcntl  # not on Windows, where gradebooks are read and none is written

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_gradebook(path: Path) -> list[dict]:
    """The rows of a gradebook, all values as text but for points and seconds, which are numbers.

    Raises ValueError saying what is missing if the file is none.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
        lacking = [name for name in COLUMNS if name not in LATER and (not rows or rows[0].get(name) is None)]
        if lacking:
            raise ValueError(f"it has no column {', '.join(lacking)}" if rows else "it has no rows")
        return [{name: _read(name, row.get(name) or "") for name in COLUMNS} for row in rows]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path} is no gradebook that `mlkit exercises grade` wrote: {error}") from error


def _written(value) -> str:
    if isinstance(value, (bool, int)):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}"
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in value).split())
    text = text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."
    return f"'{text}" if text.startswith(MARKED) else text


def _read(name: str, text: str):
    if name in ("points", "max_points", "seconds"):
        return float(text or 0)
    return text[1:] if text.startswith("'") and text[1:].startswith(MARKED) else text
