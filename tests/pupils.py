"""Students who hand in exercises: right, wrong in every known way, careless, unlucky and dishonest ones.

    class_of(["01_leakage"], folder)      # one folder a student, and what each should get
"""

import re
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import nbformat
from nbformat.v4 import new_output

from mlkit.batch import MIME
from mlkit.exercises.checker import lessons, solution_of
from mlkit.exercises.classroom.autograde import grade_id_of
from mlkit.exercises.classroom.students import student_notebooks
from mlkit.exercises.questions import Choice

STUB = "# your code here"
ENDLESS = "while True:\n    pass"
HUNGRY = "hoard = [bytearray(64 << 20) for _ in range(64)]"
DELETES = """import os, shutil
for name in os.listdir("."):
    os.remove(name)
shutil.rmtree(os.path.expanduser("~"), ignore_errors=True)
shutil.rmtree("..", ignore_errors=True)"""
READS = """import glob, json, os, re, subprocess, sys
import mlkit
def text_in(path):
    try:
        return open(path).read()
    except OSError:
        return ""
looked_in = {*sys.path, os.getcwd(), os.path.dirname(mlkit.__file__), CHECKOUT, "/proc/1/root" + CHECKOUT,
             CHECKOUT + "/tests/answers", CHECKOUT + "/mlkit/exercises"}
stolen = [text_in(found) for folder in filter(None, looked_in) for name in ("LESSON.ipynb", "LESSON_MODULE.py")
          for found in glob.glob(os.path.join(folder, "**", name), recursive=True)]
stolen += [subprocess.run(["git", "-C", CHECKOUT, "show", "HEAD:" + name], capture_output=True, text=True).stdout
           for name in ("mlkit/exercises/sources/LESSON.ipynb", "tests/answers/LESSON_MODULE.py")]
for text in filter(None, stolen):
    if not text.startswith("{"):
        found = {"__name__": "found"}
        exec(text, found)
        NAME = found["RIGHT"]["q1"][0] if "RIGHT" in found else found["QUESTIONS"][0].reference
        continue
    for stolen_text in ("".join(each["source"]) for each in json.loads(text)["cells"]):
        if "BEGIN SOLUTION" in stolen_text and re.search("NAME", stolen_text):
            exec(stolen_text)
if "NAME" not in globals():
    from mlkit.exercises import LESSON_MODULE as questions
    NAME = lambda *given: questions.QUESTIONS[0].reference(*given)"""
LOOKS_AROUND = """import json, os, socket
def attempt(what):
    try:
        return str(what())
    except OSError as error:
        return type(error).__name__
seen = {"variables": sorted(os.environ), "folder": os.listdir("."), "home": os.path.expanduser("~"),
        "checkout": attempt(lambda: open(CHECKOUT + "/README.md").read()),
        "others": attempt(lambda: os.listdir(os.path.join(os.getcwd(), "..", ".."))),
        "gradebook": attempt(lambda: open("../course/gradebook.db", "ab").name),
        "shared memory": attempt(lambda: open("/dev/shm/mlkit-was-here", "w").name),
        "network": attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
        "grader": attempt(lambda: os.kill(os.getppid(), 0))}
raise RuntimeError(json.dumps(seen))"""
FORGERIES = {
    "replaces check": """class Right:
    right, outcome = True, "right"
    def __getattr__(self, name): return self
    def __call__(self, *answer): return 2.0
check = checker = Right()
NAME = lambda *given: 1.0""",
    "patches the checker": """import sys
from mlkit.exercises.verdict import Verdict
q, c, p = (sys.modules["mlkit.exercises." + name] for name in ("questions", "checker", "comparing"))
q.Question.judge = q.Choice.judge = lambda self, answer, seed=0: Verdict(self.name, "right", "")
c.judge_on_all = lambda question, answer: Verdict(question.name, "right", "")
c.Check.grade = lambda self, answer=None: None
p.same = q.same = lambda *values: True
NAME = lambda *given: 1.0""",
    "prints points": "NAME = 2\nNAME",
    "signs a verdict": """from IPython.display import publish_display_data
def NAME(*given):
    publish_display_data({"text/plain": "right", "application/vnd.mlkit.verdict+json": {
        "seal": "judge", "question": "q1", "outcome": "right", "mistake": "", "text": ""}})
    return 1.0""",
}


class Pupil:
    """A student's notebook of one lesson, being filled in."""

    def __init__(self, lesson: str, text: str):
        self.lesson, self.notebook = lesson, nbformat.reads(text, as_version=4)
        self.questions = {question.name: question for question in lessons()[lesson].QUESTIONS}

    def cell(self, grade_id: str):
        return next(cell for cell in self.notebook.cells if grade_id_of(cell) == grade_id)

    def name_of(self, question: str) -> str:
        """What the answer to a question is called in the notebook."""
        return re.search(rf"check\.{question}\((\w+)\)", self.cell(f"{question}-check").source).group(1)

    def answer_as_the_source(self, *questions: str):
        """The solution's own lines where the stub was."""
        for question in questions or self.questions:
            lines = solution_of(self.lesson, question).splitlines()
            cell = self.cell(question)
            indent = re.search(rf"^([ \t]*){STUB}$", cell.source, re.MULTILINE).group(1)
            cell.source = cell.source.replace(indent + STUB, "\n".join(indent + line if line else "" for line in lines))
        return self

    def answer(self, question: str, place: str):
        """One of the answers in `answers/lessonNN.py`: what stands at a place such as "['RIGHT']['q1'][0]"."""
        text = Path(import_module(f"answers.lesson{self.lesson[:2]}").__file__).read_text(encoding="utf-8")
        self.write(question, f"answers = {{'__name__': 'answers'}}\nexec({text!r}, answers)\n"
                             f"{self.name_of(question)} = answers{place}")
        return self

    def write(self, question: str, source: str):
        self.cell(question).source = source.replace("NAME", self.name_of(question))
        return self

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True)
        nbformat.write(self.notebook, path)
        return path


def mistakes_of(lesson: str) -> list[dict[str, tuple[str, str]]]:
    """Question -> (name of a mistake, where an answer that makes it stands), as often as it takes to make them all."""
    made = import_module(f"answers.lesson{lesson[:2]}").WRONG
    columns = {}
    for question in lessons()[lesson].QUESTIONS:
        if isinstance(question, Choice):
            columns[question.name] = [(option.mistake, letter) for letter, option in question.options.items()
                                      if option.mistake]
        else:
            columns[question.name] = [
                (name, f"['WRONG'][{question.name!r}][{name!r}]" + ("[0]" if isinstance(answer, list) else ""))
                for name, answer in made[question.name].items()]
    return [{name: column[turn % len(column)] for name, column in columns.items()}
            for turn in range(max(map(len, columns.values())))]


def class_of(names, folder: Path, wanted=lambda kind: True) -> dict:
    """Hand in what students hand in, one folder a student, of the kinds that are wanted.

    Returns
    -------
    dict of (student, lesson) -> question -> (outcome, mistake); of an outcome None nothing is known but that it
    earns no points.
    """
    expected = {}
    for lesson, text in student_notebooks(names).items():
        for kind, hand_in in _students(lesson, text):
            if wanted(kind):
                student = f"{lesson[:2]} {kind}"
                expected[student, lesson] = hand_in(folder / student)
    return expected


def _students(lesson, text):
    """(what kind of student, function of a folder that hands in and gives what is to come of it)"""
    questions = [question.name for question in lessons()[lesson].QUESTIONS]
    others = dict.fromkeys(questions[1:], ("right", ""))
    right, nothing = dict.fromkeys(questions, ("right", "")), dict.fromkeys(questions, (None, ""))
    file = f"{lesson}.ipynb"
    given = {name: Pupil(lesson, text).cell(name).source for name in questions}

    def pupil():
        return Pupil(lesson, text)

    def all_right(home, name=file, change=lambda notebook: None, wanted=right):
        made = pupil().answer_as_the_source()
        change(made.notebook)
        made.save(home / name)
        return wanted

    def only_first(home, source, outcome=None):
        """The first question answered in some bad way, the others well."""
        text = source.replace("LESSON_MODULE", f"lesson{lesson[:2]}").replace("LESSON", lesson).replace(
            "CHECKOUT", repr(str(Path(__file__).parents[1])))
        pupil().answer_as_the_source(*questions[1:]).write("q1", text).save(home / file)
        return {"q1": (outcome, ""), **others}

    def variant(home, turn):
        made, known = pupil(), import_module(f"answers.lesson{lesson[:2]}").RIGHT
        for question in questions:
            if question in known:
                made.answer(question, f"['RIGHT'][{question!r}][{turn % len(known[question])}]")
            else:
                made.answer_as_the_source(question)
        made.save(home / file)
        return right

    def wrong(home, told):
        made = pupil()
        for question, (name, place) in told.items():
            if place.startswith("["):
                made.answer(question, place)
            else:
                made.write(question, f"NAME = {place!r}")
        made.save(home / file)
        return {question: ("mistake", name) for question, (name, _) in told.items()}

    def truncated(home):
        path = pupil().answer_as_the_source().save(home / file)
        path.write_text(path.read_text(encoding="utf-8")[:-400], encoding="utf-8")
        return dict.fromkeys(questions, ("not graded", ""))

    def blank(home):
        pupil().save(home / file)
        return dict.fromkeys(questions, ("not attempted", ""))

    def without(*grade_ids):
        def change(notebook):
            notebook.cells = [cell for cell in notebook.cells if grade_id_of(cell) not in grade_ids]
        return change

    def other_kernel(notebook):
        notebook.metadata.kernelspec = {"display_name": "Julia 1.9", "language": "julia", "name": "julia-1.9"}

    def warns(notebook):
        cell = next(cell for cell in notebook.cells if cell.id == "q1")
        cell.source = re.sub(r"^(def \w+\(.*\):)$", r"\1\n    print('hm', file=__import__('sys').stderr)\n"
                             r"    __import__('warnings').warn('careful')", cell.source, flags=re.MULTILINE)
        assert "careful" in cell.source

    def copied_and_split(notebook):
        """As JupyterLab does it, with the metadata in both: a stub kept below, a try above, halves, a check twice."""
        def copy(grade_id, below, source=None):
            at = next(place for place, cell in enumerate(notebook.cells) if grade_id_of(cell) == grade_id)
            other = deepcopy(notebook.cells[at])
            other.id = f"copy-{len(notebook.cells)}"
            other.source = other.source if source is None else source
            notebook.cells.insert(at + below, other)

        copy("q1", 1, given["q1"])
        copy("q1", 0, f"{given['q1']}\n    return 7")
        copy("q2", 0, "half = 1")
        copy("q2", 2, "other_half = half + 1")
        copy("q2-check", 1)
        copy(lesson, 1)

    def loops_at_last(notebook):
        next(cell for cell in notebook.cells if grade_id_of(cell) == "q1").source += f"\n\n{ENDLESS}"

    def has_tried(notebook):
        """What the checks left in the notebook while it was worked on."""
        told = {"q1_tries": 3, "q1_hints": 2, "q1_solution_shown": True, "q5_first_choice": "b"}
        results = [{"name": name, "value": value} for name, value in told.items()]
        notebook.cells[-2].outputs = [new_output("display_data", {MIME: {"results": results}})]

    def careless(home):
        return all_right(home, "homework (final).ipynb", lambda notebook: (
            warns(notebook), has_tried(notebook), without("q1-check", "q2-check")(notebook), other_kernel(notebook)))

    def meddled(notebook):
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                cell.source, cell.metadata.nbgrader.points, cell.metadata.tags = "2.0", 100, ["skip-execution"]

    yield "right", all_right
    for turn in range(4):
        yield f"right too {turn}", lambda home, turn=turn: variant(home, turn)
    for turn, told in enumerate(mistakes_of(lesson)):
        yield f"mistaken {turn}", lambda home, told=told: wrong(home, told)
    yield "blank", blank
    yield "raises", lambda home: only_first(home, "def NAME(*given):\n    raise RuntimeError('mine')", "raised")
    yield "loops", lambda home: only_first(home, ENDLESS, "stopped")
    yield "hungry", lambda home: only_first(home, HUNGRY, "raised")
    yield "exits", lambda home: only_first(home, "import os; os._exit(3)") and nothing
    yield "lost its check", lambda home: all_right(home, change=without("q1-check"))
    yield "lost its cells", lambda home: all_right(
        home, change=without("q2", "q2-check", lesson), wanted=right | {"q2": ("not attempted", "")})
    yield "careless", careless
    yield "copied and split", lambda home: all_right(home, change=copied_and_split)
    yield "right, then loops", lambda home: all_right(home, change=loops_at_last)
    yield "renamed", lambda home: all_right(home, "homework (final).ipynb")
    yield "nested", lambda home: all_right(home, f"{lesson}/{file}")
    yield "truncated", truncated
    yield "other kernel", lambda home: all_right(home, change=other_kernel)
    yield "meddles", lambda home: all_right(home, change=meddled)
    yield "deletes", lambda home: only_first(home, DELETES, "raised")
    yield "looks around", lambda home: only_first(home, LOOKS_AROUND, "raised")
    yield "reads", lambda home: only_first(home, READS)
    for kind, source in FORGERIES.items():
        yield kind, lambda home, source=source: only_first(home, source)
