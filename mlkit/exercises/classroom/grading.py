"""Grade a folder of submissions with nbgrader: each in a process, a folder and a gradebook of its own.

A submission is a stranger's code. Its process starts with an empty environment in a folder below the temporary
one, is ended when it breaks a limit, and costs only itself. What that does not protect against: docs/teaching.md.

    graded = grade(Path("submissions"), Path("gradebook.csv"))
    graded.rows[0]["points"], graded.seconds
"""

import compileall
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from tqdm import tqdm

from mlkit.exercises.checker import lessons
from mlkit.exercises.classroom.gradebook import read_gradebook, write_gradebook
from mlkit.exercises.classroom.students import make_course, source_of
from mlkit.exercises.classroom.submissions import Submission, find_submissions
from mlkit.exercises.classroom.watch import Ended, run_watched
from mlkit.markets import DATA
from mlkit.notebooks import KERNELSPEC, kernel_variables

PACKAGE = Path(__file__).parents[2]
CORE = ("checker.py", "comparing.py", "questions.py")
NOT_COPIED = ("sources", "lesson[0-9][0-9].*")  # what no submission finds in its copy of mlkit
STARTING = 30  # seconds for Python, nbgrader and the kernel to start
GRADER_MEMORY = 1024  # MB for nbgrader itself, beside the kernel
LARGEST_FILE = 100  # MB
TASKS = 256  # that a submission may add to those its user runs already
SYSTEM_FOLDERS = ("/usr", "/bin", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt", "/System", "/Library")


@dataclass(frozen=True)
class Limits:
    """Of one submission: seconds for all its cells, for one of them, and MB of memory."""

    seconds: float = 180
    cell_seconds: float = 30
    memory: int = 2048


@dataclass
class Graded:
    """What came of a folder: the rows of the gradebook, and what to tell about them.

    kept : where the gradebook that was there is now, if it was another
    reused : submissions that have not changed since, and were not graded again
    loose : notebooks in no student's folder
    dropped : rows of the gradebook that was there of which nothing is left, as nobody handed in what they are about
    """

    rows: list[dict] = field(default_factory=list)
    kept: Path | None = None
    seconds: list[float] = field(default_factory=list)
    reused: int = 0
    loose: list[Path] = field(default_factory=list)
    dropped: int = 0


def grade(folder: Path, out: Path, names=None, *, limits: Limits = Limits(), workers: int = 0, again: bool = False,
          progress: bool = True) -> Graded:
    """Grade the notebooks in a folder of submissions, and write the gradebook.

    Parameters
    ----------
    folder : one folder a student (`submissions.py`).
    out : the gradebook; one that is there is kept under another name, and what has not changed is taken from it,
        as are the rows of lessons that are not graded now.
    names : lessons to grade; those that were handed in if None.
    workers : submissions at a time; as many as there are cores if 0.
    again : grade also what has not changed.

    Raises
    ------
    ValueError if there is no student's folder or `out` is no gradebook, FileNotFoundError if the solutions are not
    installed. An interrupt writes what is graded so far; the next run goes on from there.
    """
    known = list(names or lessons())
    students, loose = find_submissions(folder, lessons())
    seen = {each.lesson for those in students.values() for each in those}
    due = [name for name in known if names or name in seen]
    if not any(students.values()):
        raise ValueError(f"there is no notebook in any of the {len(students)} folders of {folder}")
    before, old = _rows_before(out), {}
    for row in [] if again else before:
        if row["key"]:
            old.setdefault(row["key"], []).append(row)
    with tempfile.TemporaryDirectory(prefix="mlkit-grade-", ignore_cleanup_errors=True) as temporary:
        classroom = Classroom(Path(temporary).resolve(), due, limits)
        jobs = [(each, classroom.key(each, folder)) for those in students.values() for each in those
                if each.lesson in due or not each.lesson]
        rows = {(each.student, each.path): old[key] for each, key in jobs if key in old}
        waiting = [(each, key) for each, key in jobs if key not in old]
        graded = Graded(reused=len(rows), loose=loose)
        try:
            for each, found, seconds in classroom.grade_all(waiting, workers or os.cpu_count() or 1, progress):
                rows[each.student, each.path] = [_line(each, row, folder) for row in found]
                graded.seconds.append(seconds)
        finally:  # an interrupt as well: what is done is done
            lines = [row for student, those in students.items() for row in _rows_of(student, those, due, rows)]
            lines += [row for row in before if row["lesson"] and row["lesson"] not in due]
            lines.sort(key=lambda row: (row["student"], not row["lesson"], row["lesson"]))
            graded.dropped = len({_about(row) for row in before} - {_about(row) for row in lines})
            graded.kept = write_gradebook(out, lines)
            graded.rows = read_gradebook(out)
    return graded


def _rows_before(out: Path) -> list[dict]:
    """The rows of the gradebook that is there, if any. Raises ValueError if it cannot be read."""
    if not out.exists():
        return []
    try:
        return read_gradebook(out)
    except ValueError as error:
        raise ValueError(f"{error}. Nothing was graded: if a spreadsheet saved it, save it again as CSV in UTF-8 with "
                         "commas; else take another --out") from error


def _about(row: dict) -> tuple:
    return row["student"], row["lesson"], row["question"], row.get("file", "") if not row["lesson"] else ""


def _line(submission: Submission, row: dict, folder: Path) -> dict:
    return {"student": submission.student, "lesson": submission.lesson, **row,
            "file": str(submission.path.relative_to(folder))}


def _rows_of(student: str, submissions: list[Submission], due: list[str], rows: dict):
    """A student's rows: lesson by lesson, then what belongs to none."""
    found = {each.lesson: each for each in submissions}
    for lesson in due:
        if lesson not in found:
            yield from ({"student": student, "lesson": lesson, **row} for row in no_points(lesson, "not handed in"))
        else:
            told = rows.get((student, found[lesson].path))
            yield from told or ({"student": student, "lesson": lesson, **row} for row in
                                no_points(lesson, "not graded", "grading was interrupted before it"))
    for each in submissions:
        if not each.lesson:
            yield from rows.get((student, each.path), [])


def no_points(lesson: str, outcome: str, error: str = "", **more) -> list[dict]:
    """A row a question of a lesson, without points."""
    questions = lessons()[lesson].QUESTIONS if lesson else []
    asked = [(question.name, question.points) for question in questions] or [("", 0)]
    return [{"question": name, "points": 0.0, "max_points": float(points), "outcome": outcome, "seconds": 0.0,
             "error": error, **more}
            for name, points in asked]


class Classroom:
    """A temporary folder from which each submission gets what it needs, and nothing more."""

    def __init__(self, folder: Path, names: list[str], limits: Limits):
        self.folder, self.limits, self.cancelled = folder, limits, threading.Event()
        self.questions = {name: Path(lessons()[name].__file__).read_text(encoding="utf-8") for name in names}
        core = "".join((PACKAGE / "exercises" / name).read_text(encoding="utf-8") for name in CORE)
        self.versions = {name: f"{core}{self.questions[name]}{json.dumps(source_of(name))}" for name in names}

    def key(self, submission: Submission, folder: Path) -> str:
        """Stands for a submission, its exercise and the limits: the same key, the same rows."""
        file, version = str(submission.path.relative_to(folder)), self.versions.get(submission.lesson)
        whole = repr([submission.student, file, submission.remark, asdict(self.limits), version]).encode()
        try:
            return hashlib.sha256(whole + submission.path.read_bytes()).hexdigest()[:16]
        except OSError:
            return ""

    def grade_all(self, waiting: list[tuple[Submission, str]], workers: int, progress: bool):
        """Yields (submission, rows, seconds) for each, in the order given."""
        if waiting:
            self._open()
        with ThreadPoolExecutor(workers) as pool, tqdm(
                total=len(waiting), disable=not progress or not waiting, unit="submission", leave=False,
                file=sys.stderr, mininterval=0.2 if sys.stderr.isatty() else 5, dynamic_ncols=True) as bar:
            try:
                for (each, _), (rows, seconds) in zip(waiting, pool.map(lambda job: self.grade_one(*job), waiting)):
                    bar.set_description_str(f"{each.student} {each.lesson}", refresh=False)
                    bar.update(1)
                    yield each, rows, seconds
            except BaseException:
                self.cancelled.set()  # what runs is ended, what waits does not start
                raise

    def _open(self) -> None:
        """Make what all submissions are given a copy of."""
        make_course(list(self.questions), self.folder / "course")
        shutil.copytree(PACKAGE, self.folder / "code" / "mlkit", ignore=shutil.ignore_patterns(*NOT_COPIED))
        compileall.compile_dir(self.folder / "code", quiet=2)
        (self.folder / "code" / "data").symlink_to(DATA)
        (self.folder / "home").mkdir()
        subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True,  # lists the fonts, once
                       env={**environment_in(self.folder), "TMPDIR": str(self.folder)}, stderr=subprocess.DEVNULL)

    def grade_one(self, submission: Submission, key: str) -> tuple[list[dict], float]:
        """Rows of one submission, and the seconds it took."""
        if not submission.lesson or self.cancelled.is_set():
            return no_points("", "not graded", submission.remark), 0.0
        try:
            told, ended = self._autograde(submission)
        except OSError as error:  # costs nobody else anything
            why, remark = f"it cannot be graded here: {error.strerror or error}", submission.remark
            if remark.startswith("it cannot be read"):
                why, remark = remark, ""
            return no_points(submission.lesson, "not graded", why, remark=remark), 0.0
        if "rows" not in told and not ended.stopped and not told.get("unreadable"):
            told, ended = self._autograde(submission)  # the grader's own trouble: a kernel that did not start, say
        remark = "; ".join(filter(None, [submission.remark, *told.get("remarks", [])]))
        outcome = "stopped" if ended.stopped else "not graded"
        rows = told.get("rows") or no_points(submission.lesson, outcome, told["error"])
        again = any(row["outcome"] == "not graded" for row in rows)
        return [{**row, "remark": remark, "key": "" if again else key} for row in rows], ended.seconds

    def _autograde(self, submission: Submission) -> tuple[dict, Ended]:
        """What the process that grades one submission wrote, or why it wrote nothing; and how it ended."""
        home = Path(tempfile.mkdtemp(prefix="s", dir=self.folder))
        try:
            self._prepare(home, submission)
            ended = run_watched(
                [sys.executable, "-P", "-m", "mlkit.exercises.classroom.autograde", str(home)], folder=home,
                environment=environment_in(home), seconds=self.limits.seconds + STARTING,
                memory=self.limits.memory + GRADER_MEMORY, errors=home / "errors.txt", cancelled=self.cancelled)
            result = home / "result.json"
            if result.exists() and not ended.stopped:
                return json.loads(result.read_text(encoding="utf-8")), ended
            errors = (home / "errors.txt").read_text(encoding="utf-8", errors="replace")
            return {"error": ended.stopped or _last_error(errors)}, ended
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def _prepare(self, home: Path, submission: Submission) -> None:
        """All that one submission's process finds: its notebook, nbgrader's course, a copy of mlkit, its kernel."""
        lesson, seal = submission.lesson, f"judge_{secrets.token_hex(16)}"
        for name in ("work", "t", "jupyter/kernels/python3"):
            (home / name).mkdir(parents=True)
        for name in ("code", "home"):
            shutil.copytree(self.folder / name, home / name, symlinks=True)
        (home / "course" / "release").mkdir(parents=True)
        shutil.copy(self.folder / "course" / "gradebook.db", home / "course")
        shutil.copytree(self.folder / "course" / "release" / lesson, home / "course" / "release" / lesson)
        shutil.copy(submission.path, home / "submitted.ipynb")
        kernel = {**KERNELSPEC, "argv": [sys.executable, "-P", "-m", "mlkit.exercises.classroom.confined",
                                         "{connection_file}", str(home / "orders.json")]}
        for name, told in (
                ("jupyter/kernels/python3/kernel.json", kernel),
                ("task.json", {"lesson": lesson, "seal": seal, "cell_seconds": self.limits.cell_seconds,
                               "seconds": self.limits.seconds}),
                ("orders.json", {"lesson": lesson, "seal": seal, "questions": self.questions[lesson],
                                 "limits": self._kernel_limits(), **rights_in(home)})):
            (home / name).write_text(json.dumps(told), encoding="utf-8")

    def _kernel_limits(self) -> dict:
        mine = os.getuid()
        tasks = sum(each.info["num_threads"] or 0 for each in psutil.process_iter(["uids", "num_threads"])
                    if each.info["uids"] and each.info["uids"].real == mine)
        return {"memory": self.limits.memory, "seconds": int(self.limits.seconds + STARTING),
                "file_size": LARGEST_FILE, "tasks": tasks + TASKS}


def environment_in(home: Path) -> dict[str, str]:
    """All of a submission's environment: nothing of the teacher's is in it."""
    return {**{name: value for name, value in kernel_variables().items() if value is not None},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]), "LANG": "C.UTF-8",
            "HOME": str(home / "home"), "TMPDIR": str(home / "t"), "PYTHONPATH": str(home / "code"),
            "JUPYTER_PATH": str(home / "jupyter"), "JUPYTER_RUNTIME_DIR": str(home / "t")}


def rights_in(home: Path) -> dict[str, list[str]]:
    """What its kernel may read, and what it may write, where the system can enforce that (`landlock.py`).

    It reads the system and Python, which may lie around a checkout or inside it, and nothing else of that, as the
    solutions are there. The teacher's PYTHONPATH is not its own. Nor is shared memory, which no limit counts and
    nobody empties: joblib then works in one process.
    """
    checkout, folders = PACKAGE.parent.resolve(), (*SYSTEM_FOLDERS, sys.prefix, sys.base_prefix)
    python = [each for folder in folders for each in _beside(checkout, Path(folder).resolve())]
    return {"readable": [*map(str, python), str(home / "code"), str(home / "jupyter"), str(DATA)],
            "writable": [str(home / "work"), str(home / "home"), str(home / "t"), "/dev/null"]}


def _beside(hidden: Path, folder: Path) -> list[Path]:
    """A folder; if it holds the hidden one, all that lies beside that."""
    if not hidden.is_relative_to(folder):
        return [folder]
    return [each for child in folder.iterdir() if folder != hidden and not child.is_symlink()
            for each in _beside(hidden, child)]


def _last_error(text: str) -> str:
    """The last error in what a process wrote, in one line."""
    found = [line for line in re.findall(r"^[\w.]+(?:Error|Exception|Interrupt|Exit)\b.*$", text, re.MULTILINE)
             if "NbGraderException" not in line]
    return found[-1] if found else "the grading process ended without a word"
