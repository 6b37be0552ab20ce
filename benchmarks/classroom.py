"""Forty students hand in: does each right answer get its points, no wrong one any, and how long does it take?

    python benchmarks/classroom.py                    # needs requirements-classroom.txt
    python benchmarks/classroom.py 08 --students 20 --workers 4

The class is that of tests/pupils.py: right in several ways, each known mistake, blank, raising, endless, hungry
for memory, cells lost, file renamed, truncated, another kernel, deleting, reading the solutions, forging. Ends
with status 1 if one of them did not get what is due.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pupils import class_of

from mlkit.exercises.checker import lessons
from mlkit.exercises.classroom.grading import grade
from mlkit.exercises.classroom.report import write_report


def unjust(expected: dict, rows: list[dict]) -> list[str]:
    """What was graded otherwise than it should have been, in words."""
    found = []
    told = {(row["student"], row["lesson"], row["question"]): row for row in rows}
    for (student, lesson), questions in expected.items():
        for question, (outcome, mistake) in questions.items():
            row = told[student, lesson, question]
            due = row["max_points"] if outcome == "right" else 0.0
            if row["points"] != due or (outcome or row["outcome"], mistake) != (row["outcome"], row["mistake"]):
                found.append(f"{student}, {question}: {outcome} {mistake} became {row['outcome']} {row['mistake']}, "
                             f"{row['points']:g} points. {row['error']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", nargs="?", default="01", choices=[name[:2] for name in lessons()])
    parser.add_argument("--students", type=int, default=40)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    name = next(name for name in lessons() if name.startswith(given.lesson))
    with tempfile.TemporaryDirectory() as folder:
        submissions, gradebook = Path(folder, "submissions"), Path(folder, "gradebook.csv")
        numbers = iter(range(given.students))
        expected = class_of([name], submissions, lambda kind: next(numbers, None) is not None)
        began = perf_counter()
        graded = grade(submissions, gradebook, [name], workers=given.workers)
        took = perf_counter() - began
        write_report(gradebook, Path(folder, "report.html"))
    wrong, count = unjust(expected, graded.rows), len(expected)
    points = sum(row["points"] == row["max_points"] for row in graded.rows)
    print(f"{name}: {count} submissions, {len(graded.rows)} answers, {points} of them with full points, on "
          f"{given.workers} workers: {took:.0f} s, {took / count:.1f} s a submission; the longest took "
          f"{max(graded.seconds):.0f} s by itself.")
    print("\n".join(wrong) or "Each got what was due.")
    if wrong or count != given.students:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
