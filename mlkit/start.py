"""The start page of the course: every lesson with its question and its minutes, and which you have finished.

`notebooks/start.ipynb` shows it; `mlkit lab` brings it up to date and opens JupyterLab on it.

>>> [lesson.question for lesson in lessons(FOLDER)][:2]
['Can a simple model trade at all?', 'Why is this backtest so good?']
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

from mlkit.notebooks import kernel_variables, set_environment
from mlkit.progress import COPY, UNATTENDED, finished, tick, untick

__all__ = ["Lesson", "StartPage", "lessons", "page", "tick", "untick"]

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
PAGE = "start.ipynb"
SETTINGS = Path(__file__).with_name("pages") / "lab"      # JupyterLab's: no news, no look-up of new versions
TITLE = re.compile(r"^# (?:\d\d · )?(.+)$", re.MULTILINE)
MINUTES = re.compile(r"\b[Aa]bout (\d+) minutes")


class Lesson(NamedTuple):
    """A lesson as its first cell and its folder tell of it; `exercise` is None where there is none yet."""

    path: Path
    question: str
    minutes: int
    exercise: Path | None

    @property
    def number(self) -> str:
        return self.path.name[:2]


def lessons(folder=".") -> list[Lesson]:
    """The lessons in a folder, in order: notebooks whose first cell has "# NN · question" and "About N minutes".

    Copies that JupyterLab made, and other notebooks of the learner's own, are left out.
    """
    from mlkit.course import numbered_notebooks

    return [lesson for path in numbered_notebooks(folder) if (lesson := _lesson(path))]


def _lesson(path: Path) -> Lesson | None:
    try:
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    title, minutes = TITLE.search(first), MINUTES.search(first)
    if not title or not minutes or COPY in path.stem:
        return None
    exercise = path.parent / "exercises" / path.name
    return Lesson(path, title[1], int(minutes[1]), exercise if exercise.is_file() else None)


class StartPage:
    """The table of lessons, as text and as HTML with links."""

    def __init__(self, lessons: list[Lesson], done: dict[str, str], folder):
        self.lessons, self.done, self._folder = lessons, done, Path(folder)

    @property
    def next(self) -> Lesson | None:
        """The first lesson not finished; None when there is none."""
        return next((lesson for lesson in self.lessons if lesson.path.stem not in self.done), None)

    def _summary(self) -> str:
        left = [lesson for lesson in self.lessons if lesson.path.stem not in self.done]
        if not left:
            return f"All {len(self.lessons)} lessons are finished."
        time = f"about {sum(lesson.minutes for lesson in left) / 60:.1f} hours"
        if len(left) == len(self.lessons):
            return f"{len(self.lessons)} lessons, {time} in all. Begin with"
        return f"{len(self.lessons) - len(left)} of {len(self.lessons)} lessons finished, {time} to go. Go on with"

    def _tick(self, lesson: Lesson) -> str:
        day = self.done.get(lesson.path.stem)
        return f"✓ {date.fromisoformat(day):%d %b %Y}" if day else ""

    def __repr__(self) -> str:
        width = max((len(lesson.question) for lesson in self.lessons), default=0)
        rows = [f"{lesson.number}  {lesson.question:<{width}}  {lesson.minutes:>3} minutes  {self._tick(lesson)}".rstrip()
                for lesson in self.lessons]
        return "\n".join([f"{self._summary()} {self.next.number}." if self.next else self._summary(), "", *rows])

    def _repr_html_(self) -> str:
        cell = "<td style='text-align:left'>"
        begin = f" {self._link(self.next.path, f'{self.next.number} · {self.next.question}')}." if self.next else ""
        rows = "".join(
            f"<tr>{cell}{self._tick(lesson)}</td>{cell}{lesson.number}</td>{cell}{self._link(lesson.path, lesson.question)}"
            f"</td>{cell}{lesson.minutes} min</td>{cell}"
            f"{self._link(lesson.exercise, f'exercise {lesson.number}') if lesson.exercise else ''}</td></tr>"
            for lesson in self.lessons)
        head = "".join(f"{cell.replace('td', 'th', 1)}{name}</th>"
                       for name in ("finished", "lesson", "question", "time", "exercise"))
        return (f"<p>{html.escape(self._summary())}{begin}</p>\n"
                f"<table style='font-size:inherit'><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>")

    def _link(self, path: Path, words: str) -> str:
        return f'<a href="{path.relative_to(self._folder).as_posix()}">{html.escape(words)}</a>'


def page(folder=".") -> StartPage:
    """The start page of a folder of lessons; in a run that nobody watches, as for a learner who begins."""
    return StartPage(lessons(folder), {} if UNATTENDED in os.environ else finished(folder), folder)


def refresh(folder) -> None:
    """Bring the table in `start.ipynb` up to date, so that it is right when it is opened; there may be no such file."""
    import nbformat

    from mlkit.course import replace_text, text_of

    path = Path(folder, PAGE)
    if not path.is_file():
        return
    notebook, shown = nbformat.read(path, as_version=4), page(folder)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "lessons" in cell.metadata.get("tags", []) and "text/html" in output.get("data", {}):
                output.data.update({"text/plain": repr(shown), "text/html": shown._repr_html_()})
    if text_of(notebook) != path.read_text(encoding="utf-8"):
        replace_text(path, text_of(notebook))


def open_lab(folder, arguments=()) -> None:
    """Open JupyterLab on the start page; comes back when it is stopped.

    arguments : more of JupyterLab's own, such as --no-browser
    Raises ValueError if the folder holds no lessons, or the note of what is finished cannot be read.
    """
    if not lessons(folder):
        raise ValueError(f"there are no lessons in {Path(folder).resolve()}: run it in the folder that holds notebooks/")
    refresh(folder)
    # this .venv's kernel, not one installed for the user; and a person looks on
    set_environment(kernel_variables() | {"JUPYTER_PREFER_ENV_PATH": "1", UNATTENDED: None})
    from jupyterlab.labapp import main

    options = [f"--notebook-dir={folder}", f"--LabApp.app_settings_dir={SETTINGS}"]
    if (Path(folder) / PAGE).is_file():
        options.append(f"--LabApp.default_url=/lab/tree/{PAGE}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:      # in a container; it listens on this machine alone, with a token
        options.append("--allow-root")
    sys.argv[0] = "jupyter-lab"
    main([*options, *arguments])
