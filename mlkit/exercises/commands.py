"""The teacher's commands: `mlkit exercises release`, `grade`, `report` and `make`."""

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
STUDENTS_NOTEBOOKS = Path("notebooks", "exercises")


@click.group()
def exercises():
    """Hand out the exercises, grade what comes back, read the result.

    \b
    Example, a week of a course (docs/teaching.md has the whole term):
      mlkit exercises release --out course/exercises 01_leakage
      mlkit exercises grade submissions --out gradebook.csv
      mlkit exercises report gradebook.csv
    """


@exercises.command()
@click.argument("lessons", nargs=-1, metavar="[LESSON ...]")
@click.option("--out", required=True, type=NEW_FOLDER, help="Folder for the notebooks; made if it is not there.")
def release(lessons, out):
    """Write the students' notebooks into a folder.

    They hold no solution, no hidden test and no way to them: that is searched for, and nothing is written if it
    is found. Without a LESSON: all that have an exercise.

    \b
    Example:
      mlkit exercises release --out course/exercises
      mlkit exercises release --out course/exercises 01_leakage 02_overfitting
    """
    names = _named(lessons)
    _require_nbgrader()
    from mlkit.exercises.classroom.students import release as write

    with _told():
        written = write(names, out)
    click.echo(f"{len(written) - 1} notebook{'s' * (len(written) != 2)} for students in {out}, and a README.md.\n"
               f"What comes back: mlkit exercises grade SUBMISSIONS --out gradebook.csv")


@exercises.command()
@click.argument("submissions", type=FOLDER)
@click.argument("lessons", nargs=-1, metavar="[LESSON ...]")
@click.option("--out", required=True, type=NEW_FILE,
              help="The gradebook, a CSV. One that is there is kept under another name, never lost.")
@click.option("--timeout", default=180.0, show_default=True, type=click.FloatRange(min=1),
              help="Seconds the cells of one submission may take together.")
@click.option("--cell-timeout", default=30.0, show_default=True, type=click.FloatRange(min=1),
              help="Seconds one cell may take.")
@click.option("--memory", default=2048, show_default=True, type=click.IntRange(min=512),
              help="MB of memory one submission may take.")
@click.option("--workers", type=click.IntRange(min=1),
              help="Submissions at a time; as many as there are cores if left out.")
@click.option("--again", is_flag=True, help="Grade also what has not changed since the gradebook was written.")
def grade(submissions, lessons, out, timeout, cell_timeout, memory, workers, again):
    """Grade a folder of submissions: one folder a student in it, with notebooks.

    A submission is a stranger's code. Each runs in a process of its own with limits, and costs only itself;
    docs/teaching.md says what that does not protect against. Without a LESSON: all that were handed in.
    What has not changed is taken from the gradebook that is there, also points that you changed by hand;
    so are the rows of lessons that are not graded now.

    Ends with status 1 if something has to be looked at: a file that could not be graded, or is nobody's.

    \b
    Example:
      mlkit exercises grade submissions --out gradebook.csv
      mlkit exercises grade submissions 01_leakage --out week2.csv --cell-timeout 60 --workers 4
    """
    names = _named(lessons) if lessons else None
    _require_nbgrader()
    from mlkit.exercises.classroom import landlock
    from mlkit.exercises.classroom.grading import Limits
    from mlkit.exercises.classroom.grading import grade as grade_all

    if os.name == "nt":
        raise click.ClickException("grading needs the limits of Linux or macOS: on Windows, run it in WSL")
    able = landlock.lacking(version := landlock.version())
    if able:
        click.echo(f"This system has {'an old' if version else 'no'} Landlock: a submission can {able} "
                   "(docs/teaching.md).", err=True)
    with _told():
        graded = grade_all(submissions, out, names, limits=Limits(timeout, cell_timeout, memory), workers=workers or 0,
                           again=again)
    _tell(graded, out)


def _tell(graded, out: Path) -> None:
    """What came of it, and what to do next; leaves with status 1 if something has to be looked at."""
    count, seconds = len(graded.seconds), sum(graded.seconds)
    click.echo(f"{count} submission{'s' * (count != 1)} graded"
               + (f", {seconds / count:.1f} s each" if count else "")
               + (f"; {graded.reused} had not changed and stay as they were" if graded.reused else "") + ".")
    if graded.kept:
        click.echo(f"The gradebook that was there is now {graded.kept}.")
    if graded.dropped:
        click.echo(f"{graded.dropped} row{'s' * (graded.dropped != 1)} of the old gradebook "
                   f"{'was' if graded.dropped == 1 else 'were'} not taken over: what "
                   f"{'it is' if graded.dropped == 1 else 'they are'} about is not in the folder.")
    failed = {(row["student"], row.get("file", ""), row["error"] or row.get("remark", "")): row for row in graded.rows
              if row["outcome"] == "not graded"}
    for student, file, error in failed:
        click.echo(f"not graded: {file or student}: {error}", err=True)
    for path in graded.loose:
        click.echo(f"not graded: {path} lies in no student's folder: move it into one, named after its student",
                   err=True)
    click.echo(f"In {out}: points a question, mistakes, errors. A page about it: mlkit exercises report {out}")
    if failed or graded.loose:
        raise SystemExit(1)


@exercises.command()
@click.argument("gradebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=NEW_FILE, help="The page; beside the gradebook, with its name, if left out.")
@click.option("--without-names", is_flag=True, help="Leave out who is stuck, whose file it was and everybody's points.")
def report(gradebook, out, without_names):
    """Make a page of a gradebook: how the points are spread, the commonest misconceptions, who is stuck.

    \b
    Example:
      mlkit exercises report gradebook.csv
      mlkit exercises report gradebook.csv --out week2.html
      mlkit exercises report gradebook.csv --out to_show.html --without-names
    """
    from mlkit.exercises.classroom.report import write_report

    with _told():
        page = write_report(gradebook, out or gradebook.with_suffix(".html"), names=not without_names)
    click.echo(f"Open {page} in a browser; it needs no network, and prints.")


@exercises.command()
@click.argument("lessons", nargs=-1, metavar="[LESSON ...]")
def make(lessons):
    """Make notebooks/exercises anew from the sources with the solutions, and run them.

    For whoever writes exercises: `make test` fails until the two agree.

    \b
    Example:
      mlkit exercises make
      mlkit exercises make 01_leakage
    """
    names = _named(lessons)
    _require_nbgrader()
    if not STUDENTS_NOTEBOOKS.parent.is_dir():
        raise click.ClickException("no notebooks here: run it in the folder that holds notebooks/")
    from mlkit.exercises.classroom.students import make as write

    with _told():
        outcomes = write(names, STUDENTS_NOTEBOOKS)
    failed = [outcome for outcome in outcomes if outcome.failed]
    for outcome in failed:
        click.echo(f"  {outcome.describe()}", err=True)
    changed = sum(outcome.status == "changed" for outcome in outcomes)
    click.echo(f"{changed} of {len(outcomes)} notebooks in {STUDENTS_NOTEBOOKS} changed.")
    if failed:
        raise SystemExit(1)


def _named(lessons) -> list[str]:
    """Lessons as they are called, or by their number; all if none is named."""
    from mlkit.exercises.checker import lessons as known

    names = list(known())
    lessons = [next((name for name in names if name[:2] == given), given) for given in lessons]
    wrong = [name for name in lessons if name not in names]
    if wrong:
        raise click.BadParameter(f"no exercise is called {', '.join(wrong)}; there are {', '.join(names) or 'none'}",
                                 param_hint="LESSON")
    return [name for name in names if name in lessons] if lessons else names


def _require_nbgrader() -> None:
    if find_spec("nbgrader") is None:
        raise click.ClickException("this needs nbgrader, which is not installed: "
                                   "pip install -r requirements.txt -r requirements-classroom.txt")


@contextmanager
def _told():
    """What is wrong with the input, as the command's error."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
