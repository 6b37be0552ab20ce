"""How this repository is tested, for `tests/` and `notebooks/` alike.

Every committed notebook is a test: nbval runs each cell again in a fresh kernel
and its outputs must agree with those in git (`tests/nbcompare.py` says when they
do). nbval 0.11 is changed in these places, all in this file: the comparison and how it
is told; cells run with history, so that a trailing `;` works (nbval #194); a cell
that was never run fails (nbval passes it); kernels start as `mlkit.notebooks` says,
with the same environment and on private sockets. No kernel, whoever starts it, reaches
anything off this machine. What only `make test-all` runs is marked `long`, and is
skipped by name without `--all`.
"""

import inspect
import tempfile
from collections import Counter
from pathlib import Path

import nbcompare
import nbval.kernel
import nbval.plugin
import offline
import pytest

from mlkit.notebooks import kernel_variables, private_kernels, set_environment

collect_ignore_glob = ["mlkit/exercises/sources/*",     # never run as they stand: tests/test_exercises.py runs them
                       "mlkit/exercises/classroom/autograde.py"]      # a program; it needs nbgrader
WAS_COMPARED = "notebook cell"      # the key under which each cell tells the summary what was done with it
TOLD = ("exercises", "classroom", "slider")      # keys under which a test tells the summary something as it stands


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run what is marked `long` too, as `make test-all` does")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="left out here; `make test-all` runs it"))


def pytest_configure(config):
    set_environment(kernel_variables())
    offline.refuse_far_sockets()
    keep_kernels_offline(config)
    nbval.kernel.KernelManager = private_kernels(nbval.kernel.KernelManager)
    nbval.kernel.RunningKernel.execute_cell_input = execute_with_history
    nbval.plugin.IPyNbCell.compare_outputs = compare_outputs
    nbval.plugin.IPyNbCell.runtest = run_cell
    nbval.plugin.IPyNbCell.repr_failure = tell_failure


def keep_kernels_offline(config):
    """Each kernel reads this file before its first cell, nbval's and papermill's alike: IPython's PYTHONSTARTUP."""
    folder = tempfile.TemporaryDirectory(prefix="mlkit-")
    config.add_cleanup(folder.cleanup)
    guard = inspect.getsource(offline) + "\nrefuse_far_sockets()\n"
    startup = Path(folder.name, "offline.py")
    startup.write_text(f"exec({guard!r}, {{}})\n", encoding="utf-8")
    set_environment({"PYTHONSTARTUP": str(startup)})


def execute_with_history(kernel, cell_input, allow_stdin=None):
    return kernel.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


def compare_outputs(cell, computed, committed, skip_compare=None):
    cell.comparison_traceback = nbcompare.differences(committed, computed)
    return not cell.comparison_traceback


def run_cell(cell, run=nbval.plugin.IPyNbCell.runtest):
    exempt = cell.options["skip"] or not cell.options["check"]
    cell.user_properties.append((WAS_COMPARED, "exempt" if exempt else "compared"))
    expected = place_among_code_cells(cell)
    if expected is not None and cell.cell.execution_count != expected:
        cell.raise_cell_error(f"The committed notebook was not run from top to bottom: this cell has the count "
                              f"{cell.cell.execution_count} instead of {expected}. Run `make notebooks`.")
    run(cell)


def tell_failure(cell, excinfo):
    """The reason first: pytest's summary shows one line."""
    error = excinfo.value
    if not isinstance(error, nbval.plugin.NbCellError):
        return f"{type(error).__name__}: {error}"
    details = (error.inner_traceback or "").strip()
    compared = getattr(cell, "comparison_traceback", [])
    reason = (details.splitlines() or [""])[0 if compared else -1]
    return "\n".join([f"{error} {reason}".strip(), "", "Input:", error.source, "", details])


def place_among_code_cells(cell):
    """The execution count a cell has after Restart and Run All; None for an empty one."""
    code = [other for other in cell.parent.nb.cells if other.cell_type == "code" and other.source.strip()]
    return next((count for count, other in enumerate(code, 1) if other is cell.cell), None)


class CellCount:
    """Counts the notebook cells compared and exempt, and keeps what tests tell, where the summary is printed."""

    def __init__(self):
        self.cells = Counter()
        self.exempt, self.told = [], []

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            for key, value in report.user_properties:
                if key == WAS_COMPARED:
                    self.cells[value] += 1
                    if value == "exempt":
                        self.exempt.append(report.nodeid)
                elif key in TOLD:
                    self.told.append(f"{key}: {value}")

    def pytest_terminal_summary(self, terminalreporter):
        for line in self.told:
            terminalreporter.write_line(line)
        if self.cells:
            compared, exempt = self.cells["compared"], self.cells["exempt"]
            terminalreporter.write_line(f"notebook cells: {compared} compared with their committed outputs, {exempt} "
                                        f"exempt ({exempt / (compared + exempt):.1%}; nbval-ignore-output or -skip)")
            for name in sorted(self.exempt):
                terminalreporter.write_line(f"  exempt: {name}")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    session.config.pluginmanager.register(CellCount(), "notebook-cell-count")
