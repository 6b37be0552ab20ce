"""Small notebooks for the tests of batches, each run a second or two; what a cell does comes from its parameters."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """\
a = 1
kind = "good"
slow = 0.0
log = ""        # each run writes a line when it begins and when it ends
"""

WORK = """\
import os, signal, sys, time
from pathlib import Path

def note(word):
    if log:
        with open(log, "a") as file:
            file.write(f"{word} {kind} {a}\\n")

note("begin")
first = not log or Path(log).read_text().splitlines().count(f"begin {kind} {a}") == 1
print(f"before {kind}")
time.sleep(slow)"""

TROUBLE = """\
if kind == "raises":
    raise ValueError(f"planted <b>{a}</b>")
if kind == "dies" or kind == "dies once" and first:
    os._exit(3)
if kind == "hangs":
    os.kill(os.getpid(), signal.SIGSTOP)            # does not even answer to being told to stop
if kind == "kills its worker" or kind == "kills its worker once" and first:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
if kind.endswith(".csv"):
    from mlkit import read_bars
    read_bars(kind)"""

RECORD = """\
import joblib
from mlkit import record
record(square=a ** 2, half=a / 2, word=kind.upper(), jobs=joblib.effective_n_jobs(4),
       folder=os.path.basename(os.getcwd()))
note("end")"""


def write_notebook(path, *sources, parameters=PARAMETERS):
    """A notebook of these cells after its `parameters` cell; of a run's work, trouble and record if none are given."""
    cells = [new_markdown_cell("# A small notebook")]
    if parameters is not None:
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += map(new_code_cell, sources or (WORK, TROUBLE, RECORD))
    for number, cell in enumerate(cells):
        cell["id"] = f"c{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


def stamps(folder):
    """Which file is which: name -> (inode, time of change) of each executed notebook."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.ipynb")}
