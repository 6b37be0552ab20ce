"""Which lessons a learner has finished: a small file beside the lessons, in the learner's own folder.

A lesson is finished when its last cell, `record(...)`, runs in a notebook that a person has open. Runs that
nobody watches (`mlkit run`, `mlkit notebooks`, nbval, batches) say so in the environment of their kernels and
leave the file alone.

    finished("notebooks")                    # {'00_first_ml_strategy': '2026-11-26'}
    tick("01", folder="notebooks")           # by hand; untick takes it back
"""

import datetime
import json
import os
import sys
from pathlib import Path

FILE = ".progress.json"
UNATTENDED = "MLKIT_UNATTENDED"      # set for kernels that run on their own: mlkit.notebooks.kernel_variables
COPY = "-Copy"                       # in the name of a notebook that JupyterLab duplicated
NOTEBOOK = "JPY_SESSION_NAME"        # Jupyter tells a kernel so which notebook it belongs to


def finished(folder=".") -> dict[str, str]:
    """Lesson (its file's name without .ipynb) -> the day it was finished, as ISO date.

    Raises ValueError if the file is there and cannot be understood.
    """
    path = Path(folder, FILE)
    if not path.exists():
        return {}
    try:
        days = json.loads(path.read_text(encoding="utf-8"))
        return {str(lesson): str(datetime.date.fromisoformat(day)) for lesson, day in days.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): correct it, or delete it to begin anew") from error


def tick(lesson: str, folder=".") -> None:
    """Note a lesson of a folder, given by its name or number ("01"), as finished today.

    Raises ValueError if there is no such lesson.
    """
    _save(finished(folder) | {_name(lesson, folder): str(datetime.date.today())}, folder)


def untick(lesson: str, folder=".") -> None:
    """Note a lesson as not finished; raises ValueError if there is no such lesson."""
    name = _name(lesson, folder)
    _save({other: day for other, day in finished(folder).items() if other != name}, folder)


def note_finished() -> None:
    """Tick the lesson that this kernel is running, if a person has it open; a failure is told, and stops nothing."""
    notebook = Path(os.environ.get(NOTEBOOK, ""))
    is_lesson = notebook.name[:2].isdigit() and COPY not in notebook.stem and notebook.is_file()
    if UNATTENDED in os.environ or not is_lesson:
        return
    try:
        if notebook.stem not in finished(notebook.parent):
            tick(notebook.stem, notebook.parent)
    except (OSError, ValueError) as error:
        print(f"This lesson is finished, but that could not be noted: {error}", file=sys.stderr)


def _name(lesson: str, folder) -> str:
    names = sorted(path.stem for path in Path(folder).glob("[0-9][0-9]_*.ipynb"))
    found = [name for name in names if lesson in (name, name[:2])]
    if not found:
        raise ValueError(f"no lesson {lesson!r} in {Path(folder).resolve()}; there are {', '.join(names) or 'none'}")
    return found[0]


def _save(days: dict[str, str], folder) -> None:
    """Write the file whole or not at all."""
    path = Path(folder, FILE)
    new = path.with_name(f"{FILE}.new")
    new.write_text(json.dumps(dict(sorted(days.items())), indent=1) + "\n", encoding="utf-8")
    os.replace(new, path)
