"""The commands that README and docs show, and how each is tried.

A command is run, in the order in which its page shows it, unless a rule below says who else runs just that, or
where the page itself says that nobody did. A form with PLACEHOLDERS, and a command named without what it needs,
are held against the command's own --help.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
         "benchmarks/README.md"]
MLKIT = [sys.executable, "-m", "mlkit"]
PROGRAMS = {"mlkit": MLKIT, ".venv/bin/mlkit": MLKIT, ".venv/bin/python": [sys.executable],
            "python": [sys.executable]}

# What `make TARGET` runs, as `make -n` says it, and the test that runs just that.
MADE = {
    "install": ("-m pip install", "test_readme.py::test_make_installs_as_the_page_says"),
    "lab": ("-m mlkit lab", "test_browser.py::test_the_lab_opens_on_the_start_page"),
    "course": ("-m mlkit run", "test_course.py::test_a_failing_notebook_does_not_stop_the_others"),
    "site": ("-m mlkit site", "test_site.py::test_a_link_that_leads_nowhere_is_an_error"),
    "dashboard": ("-m mlkit dashboard", "test_browser.py::test_the_dashboard_answers_a_change_of_instrument"),
    "test": ("-m pytest -n", "test_notebooks.py::test_the_test_run_turns_red_on_each_wrong_notebook"),
    "test-all": ("--all", "test_notebooks.py::test_the_test_run_turns_red_on_each_wrong_notebook"),
    "notebooks": ("-m mlkit notebooks", "test_readme.py::test_notebooks_are_written_back"),
    "bench": ("benchmarks/run.py", "test_readme.py::test_the_benchmark_runs"),
    "clean": ("rm -rf", "test_readme.py::test_clean_removes_what_was_made_and_nothing_else"),
    "exercises": ("-m mlkit exercises make", "test_classroom.py::test_the_notebook_in_git_is_what_its_source_makes"),
}

# Commands (as patterns) that another test runs, or that the page says were not run.
ELSEWHERE = {
    r"(\S+ -m pip|\S*pip) install( -r requirements[\w-]*\.txt)+": "test_readme.py::test_make_installs_as_the_page_says",
    r"\S+ -m mlkit lab|mlkit lab": MADE["lab"][1],
    r"\S+ -m mlkit run|mlkit run": MADE["course"][1],
    r"\S+ -m pytest": MADE["test"][1],
    r"mlkit site": MADE["site"][1],
    r"mlkit dashboard": MADE["dashboard"][1],
    r"\S*mlkit batch notebooks/11_capstone.ipynb -p .*": "test_readme.py::test_the_capstone_runs_over_a_grid",
    r"(alpha|beta)\$ .*": "test_cluster.py::test_the_table_is_that_of_one_machine",
    r"\.venv/bin/python benchmarks/batch.py": "test_readme.py::test_what_is_said_of_scaling_is_so",
    r"git clone": "test_readme.py::test_the_wait_in_the_readme_is_measured",
    r"mlkit exercises grade \w+ --out gradebook.csv": "test_classroom.py::test_each_gets_what_is_due",
    r"mlkit exercises report gradebook.csv": "test_classroom.py::test_the_page_says_what_the_gradebook_says",
    r"\S+ -m pip wheel .*": "test_classroom.py::test_the_wheel_has_the_course_and_no_solution",
    r"mkdir -p course && .*": "test_classroom.py::test_the_folder_for_a_room_holds_the_course_and_nothing_of_ones_own",
    r"for home in .*": "test_classroom.py::test_what_a_link_leads_to_is_not_collected",
    r"course-env/bin/.*": "Tried so on a Debian machine",
    r"sudo .*": "The hub's commands were not run here",
    r"(printf|docker|mkdir -p grades) .*": "the commands are untried",
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def commands_of(block: str) -> list[str]:
    """The commands of a block: lines, continued ones joined, without what is said beside them."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def inline_commands(page: str) -> list[str]:
    """The commands in a page's sentences and tables."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [span for span in re.findall(r"`([^`\n]+)`", prose)
            if re.match(r"(make|mlkit|pip|python|git|\.venv/bin/\w+) [\w-]", span)]


def exists(test: str) -> bool:
    """Whether there is a test of the name 'file.py::function' in this folder."""
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def make(*words: str, folder: Path = ROOT):
    """make, unaware of a make that runs this test."""
    outer = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "TESTS", "JOBS", "DEEP", "LAB", "VOILA")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def run_command(command: str, folder: Path, page: str) -> None:
    """Try a command of a page, in a folder like the course's."""
    words = shlex.split(command)
    if words[0] == "make" and words[1:] != ["help"]:
        said, test = MADE[next(word for word in words[1:] if "=" not in word)]
        dry = make("-n", "-B", *words[1:])
        assert dry.returncode == 0 and said in dry.stdout and exists(test), (command, dry.stderr)
        return
    who = next((who for pattern, who in ELSEWHERE.items() if re.fullmatch(pattern, command)), None)
    if who is not None:
        assert exists(who) if "::" in who else who in " ".join(text_of(page).split()), f"{command}: not in {who}"
        return
    program = PROGRAMS.get(words[0], words[:1])
    if program is MLKIT and (is_form(words) or lacks_what_it_needs(words[1:])):
        checked_by_help(words[1:])
        return
    done = subprocess.run([*program, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def is_form(words: list[str]) -> bool:
    return any(re.fullmatch(r"[\[(]?[A-Z][A-Z:|=]+.*", word) or "..." in word for word in words)


def lacks_what_it_needs(words: list[str]) -> bool:
    """Whether this only names a command, which needs something more to run."""
    names, command = command_named(words)
    return len(words) == len(names) and (hasattr(command, "commands") or any(each.required for each in command.params))


def checked_by_help(words: list[str]) -> None:
    """The command explains itself, and knows the options that the page gives it."""
    names, _ = command_named(words)
    helped = subprocess.run([*MLKIT, *names, "--help"], capture_output=True, text=True, timeout=60)
    options = [word for word in words if re.match(r"--?\w", word)]
    assert helped.returncode == 0 and all(option in helped.stdout for option in options), (words, helped.stdout)


def command_named(words: list[str]):
    """The names of commands that these words begin with, and the last one of them."""
    import click

    from mlkit.cli import main

    names, command, context = [], main, click.Context(main)
    for word in words:
        found = command.get_command(context, word) if hasattr(command, "get_command") else None
        if found is None:
            break
        names, command = [*names, word], found
    return names, command
