"""Run one notebook: the same kernel, folder and environment wherever it is run.

`make course`, `make notebooks`, nbval and (later) batches all start kernels as
this file says: in the notebook's own folder, over private sockets, with one BLAS
thread and a fixed hash seed, so that the same notebook gives the same outputs.

    outcome = execute(Path("notebooks/00_first_ml_strategy.ipynb"), Path("runs/course/00.ipynb"))
    outcome.status, outcome.seconds      # 'ok', 12.3
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlkit.progress import UNATTENDED

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LONGEST_SOCKET_PATH = 90       # the system's limit is 104 to 108 bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a notebook's run ended.

    `status` is "ok" or "failed" (and "changed" or "unchanged" from `regenerate`);
    `cell` and `error` say where and why it failed, and are empty otherwise.
    """

    notebook: Path
    status: str
    seconds: float
    cell: str = ""
    error: str = ""
    output: Path | None = None

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    def describe(self) -> str:
        """The failure in one line: notebook, cell, error."""
        return ", ".join(filter(None, (self.notebook.name, self.cell))) + f": {self.error}"


class Stopwatch:
    """A notebook's time limit, and which cell is running: nbclient calls both methods."""

    def __init__(self, seconds: float, on_cell: Callable[[], None] = lambda: None):
        self.limit, self.begin, self.on_cell = seconds, time.perf_counter(), on_cell
        self.started: list = []

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.begin

    def time_left(self, _cell) -> float:
        return max(0.1, self.limit - self.elapsed)

    def cell_starts(self, cell, cell_index):
        if cell.cell_type == "code" and cell.source.strip():
            self.started.append(cell)

    def cell_ends(self, cell, cell_index):
        self.on_cell()

    def hooks(self) -> dict:
        """What papermill and nbclient take to be limited and watched."""
        return {"timeout_func": self.time_left, "on_cell_start": self.cell_starts, "on_cell_complete": self.cell_ends}


def kernel_variables() -> dict[str, str | None]:
    """The environment of every kernel, beside the caller's own; None means not set."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return {**dict.fromkeys(threads, "1"), "PYTHONHASHSEED": "0",
            UNATTENDED: "1",                    # no person has these notebooks open: mlkit.progress
            "JUPYTER_PREFER_ENV_PATH": "1",     # this .venv's kernel, not one installed for the user
            "MPLBACKEND": None}                 # the notebook's own: inline


def kernel_options() -> dict:
    """How papermill and nbclient are to start a kernel and gather its outputs."""
    from jupyter_client.manager import AsyncKernelManager

    return {"kernel_manager_class": private_sockets(AsyncKernelManager), "coalesce_streams": True,
            "extra_arguments": ["--IPKernelApp.log_level=50"]}      # its remarks on how it was started or killed


@contextmanager
def kernel_environment():
    """Kernels started in this block have `kernel_variables`; the caller's environment is put back after."""
    variables = kernel_variables()
    before = {name: os.environ.get(name) for name in variables}
    set_environment(variables)
    try:
        yield
    finally:
        set_environment(before)


def set_environment(variables: dict[str, str | None]) -> None:
    """Set environment variables of this process; None removes one."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def private_sockets(manager_class):
    """The same kernel manager, talking through socket files in a folder of its own.

    Many kernels at once then cannot take each other's ports, and nobody else on
    the machine can listen. Where there are no such sockets (Windows) or the
    temporary folder's path is too long for one, it stays with TCP.
    """
    class PrivateKernelManager(manager_class):
        def __init__(self, **options):
            super().__init__(**options)
            self._folder = tempfile.TemporaryDirectory(prefix="mlkit-", ignore_cleanup_errors=True)
            address = os.path.join(self._folder.name, "k")
            if os.name == "posix" and len(address) < LONGEST_SOCKET_PATH:
                self.transport, self.ip = "ipc", address

    return PrivateKernelManager


def execute(notebook: Path, output: Path, *, parameters: dict | None = None, timeout: float = 1800,
            on_cell: Callable[[], None] = lambda: None) -> Outcome:
    """Run a notebook through papermill, in its own folder; what it produced until a failure is kept.

    Parameters
    ----------
    notebook, output : paths of the notebook to run, and of the executed copy.
    parameters : values for its `parameters` cell, checked (`mlkit.batch.check_parameters`).
    timeout : seconds for the whole notebook.
    on_cell : called after each code cell.

    Returns
    -------
    Outcome; a raising cell, a dead kernel, the time limit and an unreadable file are outcomes, not exceptions.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)      # what went wrong is told once: by the outcome
    watch = Stopwatch(timeout, on_cell)
    output = Path(output).resolve()
    output.unlink(missing_ok=True)
    try:
        with kernel_environment():
            papermill.execute_notebook(
                Path(notebook).resolve(), output, parameters or {}, kernel_name="python3", language="python",
                cwd=Path(notebook).resolve().parent, progress_bar=False, **kernel_options(), **watch.hooks())
    except Exception as error:      # whatever one notebook does, the others run: the outcome says what it was
        return Outcome(notebook, "failed", watch.elapsed, failed_cell(watch), explain(error, timeout),
                       output if output.exists() else None)
    return Outcome(notebook, "ok", watch.elapsed, output=output)


def failed_cell(watch: Stopwatch) -> str:
    """Which cell a run stopped in, counted as the notebook in git counts: 'cell 3 (id 1f2e)'."""
    if not watch.started:
        return ""
    culprit = next((cell for cell in watch.started if any(output.output_type == "error" for output in cell.outputs)),
                   watch.started[-1])
    own = [cell for cell in watch.started if "injected-parameters" not in cell.metadata.get("tags", [])]
    place = next((count for count, cell in enumerate(own, 1) if cell is culprit), None)
    if place is None:
        return "the cell that papermill adds for the given parameters"
    return f"cell {place} (id {culprit.get('id', 'none')})"


def explain(error: Exception, timeout: float) -> str:
    """A failure in one line: the last of the error's own, or what happened to the kernel."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    if isinstance(error, CellTimeoutError):
        return f"stopped: it ran longer than the {timeout:g} s it may take"
    if isinstance(error, DeadKernelError):
        return "the kernel died: killed, out of memory, or it ended the process itself"
    name = getattr(error, "ename", None) or type(error).__name__
    lines = str(getattr(error, "evalue", error)).strip().splitlines()
    return f"{name}: {lines[-1]}" if lines else name
