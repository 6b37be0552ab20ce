"""Whose notebook is it, and of which lesson? A folder of submissions, read.

    submissions/                    submissions/             (nbgrader's exchange)
      ann/01_leakage.ipynb            ann/01_leakage/01_leakage.ipynb
      bob/01_leakage.ipynb            bob/01_leakage/01_leakage.ipynb

Each folder is a student, by its name; below it, how files are called and nested is free. A notebook's lesson is
read from what stands in it, and only if nothing does from its name, so that a renamed file is still found.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

LARGEST = 50  # MB; a notebook with all its pictures has a few
LESSON_INSIDE = re.compile(r'(?:"grade_id":\s*|checker\(\\?["\'])\\?"?(\d\d_\w+)')


@dataclass(frozen=True)
class Submission:
    """One notebook that was handed in.

    lesson : "" where neither what stands in it nor its name says which
    remark : what the teacher should know about the file
    """

    student: str
    lesson: str
    path: Path
    remark: str = ""


def find_submissions(folder: Path, names) -> tuple[dict[str, list[Submission]], list[Path]]:
    """The notebooks in a folder of submissions.

    Parameters
    ----------
    folder : holds one folder a student.
    names : the lessons there are.

    Returns
    -------
    (student -> one Submission a lesson, files that lie beside the students' folders)

    Raises
    ------
    ValueError where no folder of a student is.
    """
    homes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not homes:
        raise ValueError(f"{folder} holds no folders, and one a student is looked for: {folder}/ann/01_leakage.ipynb")
    found = {home.name: _of_student(home, set(names)) for home in homes}
    return found, sorted(path for path in folder.glob("*.ipynb"))


def _of_student(home: Path, names: set[str]) -> list[Submission]:
    by_lesson, unreadable = defaultdict(list), {}
    for path in sorted(home.rglob("*.ipynb")):
        hidden = any(part.startswith(".") for part in path.relative_to(home).parts)
        try:
            if not hidden and path.is_file() and not path.is_symlink():
                by_lesson[lesson_of(path, names)].append(path)
        except OSError as error:
            unreadable[path] = f"it cannot be read: {error.strerror}"
    chosen = [Submission(home.name, path.stem if path.stem in names - set(by_lesson) else "", path, why)
              for path, why in unreadable.items()]
    for lesson, paths in sorted(by_lesson.items()):
        if not lesson:
            chosen += [Submission(home.name, "", path, "of no lesson that is known") for path in paths]
            continue
        path = next((path for path in paths if path.stem == lesson), paths[-1])
        others = ", ".join(str(other.relative_to(home)) for other in paths if other != path)
        remarks = [f"it was called {path.name}"] if path.stem != lesson else []
        remarks += [f"handed in as well, and left out: {others}"] if others else []
        chosen.append(Submission(home.name, lesson, path, "; ".join(remarks)))
    return chosen


def lesson_of(path: Path, names: set[str]) -> str:
    """The lesson a notebook belongs to; '' if none of these."""
    if path.stat().st_size <= LARGEST << 20:
        text = path.read_text(encoding="utf-8", errors="replace")
        inside = [name for name in LESSON_INSIDE.findall(text) if name in names]
        if inside:
            return inside[0]
    return path.stem if path.stem in names else ""
