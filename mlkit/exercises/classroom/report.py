"""A page about a gradebook: how the points are spread, the commonest misconceptions, who is stuck.

It loads nothing from anywhere, reads on a phone and prints.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from jinja2 import Environment

from mlkit.course_page import html_page
from mlkit.exercises.checker import lessons
from mlkit.exercises.classroom.gradebook import read_gradebook
from mlkit.exercises.questions import FOUND

MISCONCEPTIONS = 3  # shown of each question
TRIED = ("mistake", "wrong", "raised", "stopped")
MANY_TRIES = 5
BARS = 10  # of a distribution, at most
AUDITED = {name: f"The leakage audit found that {what}." for name, what in FOUND.values()}
KINDS = {"right": "right", "mistake": "a known mistake", "wrong": "wrong in another way", "raised": "raised or stopped",
         "stopped": "raised or stopped"}
LEFT = "not attempted, not graded or not handed in"

PAGE = """<h1>{{ title }}</h1>
<p>{{ summary }}</p>
{% for lesson in taken %}
<h2>{{ lesson.name }}: {{ lesson.finding }}</h2>
<div class="spread">
{% for bin in lesson.spread %}<span>{{ bin.label }}</span><span>
<i class="bar" style="width: {{ bin.width }}%"></i>{{ bin.count }}</span>
{% endfor %}</div>
<p class="key"><small>Of each question:
{% for kind, what in key %}<i class="{{ kind }}"></i>{{ what }}{% endfor %}</small></p>
<table class="rows stacked">
<thead><tr><th>Question</th><th class="number">Right</th><th>How it was answered</th>
<th>The commonest misconceptions<br><small>of a choice: what was chosen first</small></th></tr></thead>
<tbody>
{% for question in lesson.questions %}
<tr><td><strong>{{ question.name }}</strong><br><small>{{ question.points }}</small></td>
<td class="number">{{ question.right }} of {{ question.students }}</td>
<td><div class="stack">{% for kind, count in question.parts %}
<i class="{{ kind }}" style="width: {{ 100 * count / question.students }}%" title="{{ count }}"></i>{% endfor %}</div>
<small>{{ question.told }}</small></td>
<td>{% if question.misconceptions %}<ol>{% for made in question.misconceptions %}
<li><strong>{{ made.name }}</strong>, {{ made.count }}{% if made.hint %}: <small>{{ made.hint }}</small>{% endif %}</li>
{% endfor %}</ol>{% else %}<small>no known mistake</small>{% endif %}</td></tr>
{% endfor %}</tbody>
</table>
{% endfor %}
<h2>Who is stuck: {{ stuck_finding }}</h2>
<p><small>{{ stuck_means }}</small></p>
{% if names and stuck %}
<table class="rows stacked">
<thead><tr><th>Student</th><th>Lesson</th><th>Where</th></tr></thead>
<tbody>
{% for one in stuck %}<tr><td><strong>{{ one.student }}</strong></td><td>{{ one.lesson }}</td><td>
{% for line in one.where %}<p>{{ line }}</p>{% endfor %}</td></tr>
{% endfor %}</tbody>
</table>
{% endif %}
{% if names and remarks %}
<h2>To look at: {{ remarks|length }} submission{{ "s" if remarks|length != 1 }}</h2>
<table class="rows stacked">
<thead><tr><th>Student</th><th>File</th><th>What</th></tr></thead>
<tbody>
{% for one in remarks %}<tr><td>{{ one.student }}</td><td class="long">{{ one.file }}</td>
<td class="long">{{ one.what }}</td></tr>
{% endfor %}</tbody>
</table>
{% endif %}
{% if names %}
<h2>Everybody</h2>
<table class="rows stacked">
<thead><tr><th>Student</th>{% for lesson in taken %}<th class="number">{{ lesson.name }}</th>{% endfor %}
<th class="number">Together</th></tr></thead>
<tbody>
{% for one in everybody %}<tr><td><strong>{{ one.student }}</strong></td>{% for lesson, points in one.points %}
<td class="number" data-lesson="{{ lesson }}">{{ points }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
{% endif %}
"""


@dataclass(frozen=True)
class Bin:
    """One bar of a distribution."""

    label: str
    count: int
    width: float


def write_report(gradebook: Path, out: Path, names: bool = True) -> Path:
    """Write the page about a gradebook, with no student's name on it if so asked; raises ValueError if it is none."""
    rows = read_gradebook(gradebook)
    by_lesson = defaultdict(list)
    for row in rows:
        by_lesson[row["lesson"]].append(row)
    taken = [_lesson(name, those) for name, those in by_lesson.items() if name]
    students, stuck, totals = sorted({row["student"] for row in rows}), _stuck(rows), _totals(rows)
    everybody = [{"student": student, "points": [
        *((lesson["name"], f"{totals[student, lesson['name']]:g}") for lesson in taken),
        ("together", f"{sum(totals[student, lesson['name']] for lesson in taken):g}")]} for student in students]
    count = len(students)
    body = Environment(autoescape=True, trim_blocks=True).from_string(PAGE).render(
        title=f"Exercises: {', '.join(lesson['name'] for lesson in taken) or 'nothing graded'}",
        taken=taken, stuck=stuck, remarks=_remarks(rows), everybody=everybody, names=names,
        summary=f"{_many(count, 'student')}, {_many(len(taken), 'lesson')}, from {gradebook.name}.",
        key=[*{_kind(kind): what for kind, what in KINDS.items()}.items(), ("left", LEFT)],
        stuck_finding=f"{len({one['student'] for one in stuck}) or 'nobody'} of {count}" if stuck else "nobody",
        stuck_means=f"Two questions of a lesson tried and not right, or one after {MANY_TRIES} tries or a look at its "
                    "solution.")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html_page(f"Gradebook: {_many(count, 'student')}", body), encoding="utf-8")
    return out


def _many(count: float, what: str) -> str:
    return f"{count:g} {what}{'s' * (count != 1)}"


def _kind(outcome: str) -> str:
    return {"stopped": "raised"}.get(outcome, outcome) if outcome in KINDS else "left"


def _totals(rows) -> Counter:
    """(student, lesson) -> points"""
    totals = Counter()
    for row in rows:
        totals[row["student"], row["lesson"]] += row["points"]
    return totals


def _lesson(name: str, rows: list[dict]) -> dict:
    points = [each for (_, lesson), each in _totals(rows).items()]
    by_question = defaultdict(list)
    for row in rows:
        by_question[row["question"]].append(row)
    most = sum(max(row["max_points"] for row in those) for those in by_question.values())
    middle = median(points)
    finding = f"the middle of the class has {middle:g} of {most:g} points"
    return {"name": name, "finding": finding, "spread": spread(points, most),
            "questions": [_question(name, question, those) for question, those in by_question.items()]}


def spread(points: list[float], most: float) -> list[Bin]:
    """How many have how many points, the highest first; a bar a point, or a bar for several where there are many."""
    step = max(1, -(-int(most) // BARS))
    counts = Counter(min(int(each // step), int(most // step)) for each in points)
    highest = max(counts.values())
    bins = []
    for place in range(int(most // step), -1, -1):
        low, high = place * step, min(place * step + step - 1, int(most))
        bins.append(Bin(f"{low}" if low >= high else f"{low} to {high}", counts[place], 90 * counts[place] / highest))
    return bins


def _question(lesson: str, name: str, rows: list[dict]) -> dict:
    kinds = Counter(_kind(row["outcome"]) for row in rows)
    outcomes = Counter(row["outcome"] for row in rows if row["outcome"] != "right")
    thought, hints = _options(lesson, name), hints_of(lesson, name)
    made = Counter(filter(None, (thought.get(row["first_choice"], row["mistake"]) for row in rows)))
    misconceptions = [{"name": mistake, "count": count, "hint": hints.get(mistake, "")}
                      for mistake, count in sorted(made.items(), key=lambda pair: (-pair[1], pair[0]))[:MISCONCEPTIONS]]
    told = [f"{count} {'with a known mistake' if outcome == 'mistake' else outcome}"
            for outcome, count in outcomes.most_common()]
    return {"name": name, "points": _many(rows[0]["max_points"], "point"), "students": len(rows),
            "right": kinds["right"], "told": ", ".join(told), "misconceptions": misconceptions,
            "parts": [(kind, kinds[kind]) for kind in ("right", "mistake", "wrong", "raised", "left") if kinds[kind]]}


def hints_of(lesson: str, question: str) -> dict[str, str]:
    """Name of a mistake -> what is said to it, where the exercise is known here."""
    asked = _asked(lesson, question)
    options = getattr(asked, "options", {}).values()
    return (AUDITED | {option.mistake: option.why for option in options if option.mistake}
            | {mistake.name: mistake.hint for mistake in getattr(asked, "mistakes", ())})


def _options(lesson: str, question: str) -> dict[str, str]:
    """Letter of a question of thought -> the mistake in it, as what somebody thinks is what was chosen first."""
    return {letter: option.mistake for letter, option in getattr(_asked(lesson, question), "options", {}).items()}


def _asked(lesson: str, question: str):
    module = lessons().get(lesson)
    return next((each for each in module.QUESTIONS if each.name == question), None) if module else None


def _stuck(rows) -> list[dict]:
    """Who is stuck, where and on what; those with most to untangle first."""
    by_work = defaultdict(list)
    for row in rows:
        if row["outcome"] in TRIED:
            by_work[row["student"], row["lesson"]].append(row)
    found = []
    for (student, lesson), tried in by_work.items():
        if len(tried) >= 2 or int(tried[0]["tries"] or 0) >= MANY_TRIES or tried[0]["solution_shown"] == "1":
            found.append({"student": student, "lesson": lesson, "where": _where(tried), "open": len(tried)})
    return sorted(found, key=lambda one: (-one["open"], one["student"], one["lesson"]))


def _where(tried: list[dict]) -> list[str]:
    """What of a lesson went wrong, a line for all questions of which the same is to be said."""
    said = defaultdict(list)
    for row in tried:
        said[_what(row)].append(row["question"])
    return [f"{', '.join(questions)}: {what}" for what, questions in said.items()]


def _what(row: dict) -> str:
    told = row["mistake"] or row["error"] or row["outcome"]
    counts = [f"{row[what]} {what if row[what] != '1' else one}" for what, one in (("tries", "try"), ("hints", "hint"))
              if row[what] not in ("", "0")]
    return "; ".join([told, *counts, *(["looked at the solution"] if row["solution_shown"] == "1" else [])])


def _remarks(rows) -> list[dict]:
    """Submissions with something to look at, each once."""
    seen = {}
    for row in rows:
        what = "; ".join(filter(None, [row["remark"], row["error"] if row["outcome"] == "not graded" else ""]))
        if what:
            seen[row["student"], row["file"], what] = {"student": row["student"], "file": row["file"], "what": what}
    return list(seen.values())
