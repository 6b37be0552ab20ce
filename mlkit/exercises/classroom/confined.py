"""The kernel in which a submission runs: limits first, then the judge, then the student's cells.

Started by `autograde.py` as the kernel of its course, never by hand. The judge is loaded before any cell runs,
from a text that is then nowhere to be read; what a cell can import of `mlkit.exercises` is loaded anew, without
the lessons' questions, so that neither changing those modules nor reading a reference answer gets it a point.
"""

import json
import sys
import types
from importlib import import_module
from pathlib import Path

from mlkit.exercises.classroom.landlock import restrict

VERDICT = "application/vnd.mlkit.verdict+json"
PACKAGE = "mlkit.exercises"


class Judge:
    """Judges the answers of one submission, and signs what it says with a word that no cell knows beforehand."""

    def __init__(self, lesson: str, text: str, seal: str):
        from mlkit.exercises import questions
        from mlkit.exercises.checker import NotRight, judge_on_all
        from mlkit.exercises.verdict import Verdict

        name = f"{PACKAGE}.lesson{lesson[:2]}"
        module = types.ModuleType(name)
        module.__file__ = str(Path(questions.__file__).with_name(f"lesson{lesson[:2]}.py"))
        sys.modules[name] = module
        exec(compile(text, module.__file__, "exec"), module.__dict__)  # noqa: S102  (our own module)
        self._questions = {question.name: question for question in module.QUESTIONS}
        self._judge, self._verdict, self._not_right, self._seal = judge_on_all, Verdict, NotRight, seal

    def __call__(self, name: str, get_answer) -> None:
        """Judge `get_answer()`, and publish the verdict; raises NotRight unless it is right."""
        from IPython import get_ipython

        question = self._questions[name]
        try:
            verdict = self._judge(question, get_answer())
        except NameError as error:
            verdict = self._verdict(name, "raised", f"There is no answer: {error}.")
        get_ipython().display_pub.publish({"text/plain": str(verdict), VERDICT: {
            "seal": self._seal, "question": name, "outcome": verdict.outcome, "mistake": verdict.mistake,
            "text": verdict.text}})
        if not verdict.right:
            raise self._not_right(str(verdict))


class Unjudged:
    """What a submission's own `check` is while it is graded: its calls say nothing, the judge speaks."""

    def __init__(self, lesson: str = ""):
        pass

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return Unjudged()

    def __call__(self, *answer) -> None:
        pass


def load_judge(lesson: str, text: str, seal: str) -> Judge:
    """The judge, and in its place for everybody else a `checker` that knows no questions."""
    judge = Judge(lesson, text, seal)
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]
    anew = import_module(PACKAGE)
    sys.modules[f"{PACKAGE}.checker"].checker = anew.checker = Unjudged
    return judge


def limit(memory: int, seconds: int, file_size: int, tasks: int) -> None:
    """Cap memory and file size (MB), CPU seconds, and the tasks of this user; where the system knows such limits."""
    import resource

    for name, amount in (("RLIMIT_DATA", memory << 20), ("RLIMIT_CPU", seconds), ("RLIMIT_FSIZE", file_size << 20),
                         ("RLIMIT_NPROC", tasks), ("RLIMIT_CORE", 0)):
        if hasattr(resource, name):
            kind = getattr(resource, name)
            most = resource.getrlimit(kind)[1]
            amount = amount if most == resource.RLIM_INFINITY else min(amount, most)
            resource.setrlimit(kind, (amount, amount))


def forget_the_checkout() -> None:
    """Nothing this Python imports from leads to a checkout with the solutions."""
    sys.path[:] = [path for path in sys.path if not Path(path or ".", "mlkit", "exercises", "sources").exists()]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
    for name in [name for name in sys.modules if name.startswith("__editable__")]:
        del sys.modules[name]


def main(connection: str, orders_file: str, *more: str) -> None:
    orders = json.loads(Path(orders_file).read_text(encoding="utf-8"))
    Path(orders_file).unlink()
    forget_the_checkout()
    limit(**orders["limits"])
    restrict(orders["readable"], orders["writable"])
    sys.modules[orders["seal"]] = load_judge(orders["lesson"], orders["questions"], orders["seal"])
    sys.argv[:] = sys.argv[:1]
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(["-f", connection, *more])


if __name__ == "__main__":
    main(*sys.argv[1:])
