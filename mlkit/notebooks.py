"""Run one notebook: the same kernel, folder and environment wherever it is run.

`make course`, `make notebooks`, nbval and batches all start kernels as
this file says: in the notebook's own folder, over private sockets, with one BLAS
thread and a fixed hash seed, so that the same notebook gives the same outputs.

    outcome = execute(Path("notebooks/00_first_ml_strategy.ipynb"), Path("runs/course/00.ipynb"))
    outcome.status, outcome.seconds      # 'ok', 12.3
"""

import logging
import math
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlkit.progress import UNATTENDED

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LONGEST_SOCKET_PATH = 90       # the system's limit is 104 to 108 bytes
OVERWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)      # by what the line says after a carriage return


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a notebook's run ended.

    `status` is "ok" or "failed" (and "changed" or "unchanged" from `regenerate`);
    `cell` and `error` say where and why it failed, and are empty otherwise;
    `kernel_died` tells a kernel that was killed or never came up from a cell that raised.
    """

    notebook: Path
    status: str
    seconds: float
    cell: str = ""
    error: str = ""
    output: Path | None = None
    kernel_died: bool = False

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    def describe(self) -> str:
        """The failure in one line: notebook, cell, error."""
        return ", ".join(filter(None, (self.notebook.name, self.cell))) + f": {self.error}"


class Stopwatch:
    """A notebook's time limit, and which cell is running: nbclient calls its methods."""

    def __init__(self, seconds: float, on_cell: Callable[[], None] = lambda: None, spent: float = 0.0):
        self.limit, self.begin, self.on_cell = seconds, time.perf_counter() - spent, on_cell
        self.notebook = None        # once its kernel answers: the notebook as it is being executed
        self.started: list = []

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.begin

    def time_left(self, _cell) -> float:
        return max(0.1, self.limit - self.elapsed)

    def notebook_starts(self, notebook):
        notebook.metadata.pop("mlkit", None)        # what a batch said of an earlier run
        self.notebook = notebook

    def cell_starts(self, cell, cell_index):
        if cell.cell_type == "code" and cell.source.strip():
            self.started.append(cell)

    def cell_ends(self, cell, cell_index):
        self.on_cell()

    def hooks(self) -> dict:
        """What papermill and nbclient take to be limited and watched."""
        return {"timeout_func": self.time_left, "on_notebook_start": self.notebook_starts,
                "on_cell_start": self.cell_starts, "on_cell_executed": merge_streams,
                "on_cell_complete": self.cell_ends}


def merge_streams(cell, **_) -> None:
    """Put what a cell printed into one output a stream, each line as it stood last on the screen, stdout first.

    nbclient's `coalesce_streams` does the same, but takes 5 s for a line of 100 KB and a hundred times as long for
    one of 1 MB, and no time limit stops it.
    """
    merged, streams = [], {}
    for output in cell.outputs:
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
            continue
        merged.append(output)
        if output.output_type == "stream":
            streams[output.name] = output
    for output in streams.values():
        output.text = OVERWRITTEN.sub("", output.text)
    names = [output.get("name") for output in merged]
    for place in range(len(names) - 1):
        if names[place : place + 2] == ["stderr", "stdout"]:
            merged[place : place + 2] = merged[place + 1], merged[place]
    cell.outputs = merged


def kernel_variables() -> dict[str, str | None]:
    """The environment of every kernel, beside the caller's own; None means not set."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return {**dict.fromkeys(threads, "1"), "PYTHONHASHSEED": "0",
            UNATTENDED: "1",                    # no person has these notebooks open: mlkit.progress
            "MPLBACKEND": None}                 # the notebook's own: inline


def kernel_options(**place) -> dict:
    """How papermill and nbclient are to start a kernel and gather its outputs; place : as for `private_kernels`."""
    from jupyter_client.manager import AsyncKernelManager

    return {"kernel_manager_class": private_kernels(AsyncKernelManager, **place),
            "extra_arguments": ["--IPKernelApp.log_level=50"]}      # its remarks on how it was started or killed


@contextmanager
def environment(variables: dict[str, str | None]):
    """Have these environment variables in this block; None means not set."""
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


def private_kernels(manager_class, *, scratch: str | None = None, variables: dict[str, str | None] | None = None):
    """The same kernel manager, whose kernels are this Python's, in their one environment, on sockets of their own.

    scratch : folder for the socket files and what else a kernel's start leaves; the system's own if not given.
    variables : environment variables beside `kernel_variables`; None removes one.

    Many kernels at once cannot take each other's ports, and nobody else on the machine
    can listen. Where there are no socket files (Windows) or the folder's path is too
    long for one, it stays with TCP. The calling process's environment is not touched,
    so threads may start kernels too.
    """
    class PrivateKernelManager(manager_class):
        def __init__(self, **options):
            super().__init__(**options)
            folder = tempfile.mkdtemp(prefix="mlkit-", dir=scratch)
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.connection_file = os.path.join(folder, "kernel.json")
            address = os.path.join(folder, "k")
            if os.name == "posix" and len(address) < LONGEST_SOCKET_PATH:
                self.transport, self.ip = "ipc", address

        @property
        def kernel_spec(self):
            from ipykernel.kernelspec import get_kernel_dict
            from jupyter_client.kernelspec import KernelSpec

            return KernelSpec(**get_kernel_dict())      # not one that was installed for the user or the system

        def start_kernel(self, **options):
            wanted = {**os.environ, **kernel_variables(), **(variables or {})}
            env = {name: value for name, value in wanted.items() if value is not None}
            return super().start_kernel(**{"env": env, **options})

    return PrivateKernelManager


def refuse_itself(notebook: Path, output: Path) -> None:
    """Raises ValueError if running a notebook would overwrite it."""
    if notebook.exists() and output.exists() and output.samefile(notebook):
        raise ValueError(f"{output.parent} holds {notebook.name} itself: choose another output folder")


def execute(notebook: Path, output: Path, *, parameters: dict | None = None, timeout: float = 1800, spent: float = 0,
            on_cell: Callable[[], None] = lambda: None, folder: Path | None = None, **place) -> Outcome:
    """Run a notebook through papermill; what it produced until a failure is kept.

    Parameters
    ----------
    notebook, output : paths of the notebook to run, and of the executed copy.
    parameters : values for its `parameters` cell, checked (`mlkit.batch.check_parameters`).
    timeout : seconds for the whole notebook; spent : by an earlier try, which the outcome's seconds include.
    on_cell : called after each code cell.
    folder : where it runs; by default the notebook's own.
    place : `scratch` and `variables`, as for `private_kernels`.

    Returns
    -------
    Outcome; a raising cell, a dead kernel, the time limit and an unreadable file are outcomes, not exceptions.
    Raises ValueError if `output` is the notebook itself.
    """
    import nbformat
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)      # what went wrong is told once: by the outcome
    watch = Stopwatch(timeout, on_cell, spent)
    notebook, output = Path(notebook), Path(output).resolve()
    refuse_itself(notebook, output)
    output.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            notebook.resolve(), output, parameters or {}, kernel_name="python3", language="python", progress_bar=False,
            request_save_on_cell_execute=False,     # twice a cell, all of it anew: seconds in a long lesson
            resources={"metadata": {"path": str(folder or notebook.resolve().parent)}},
            execution_timeout=math.ceil(timeout), **kernel_options(**place), **watch.hooks())
    except Exception as error:      # whatever one notebook does, the others run: the outcome says what it was
        if watch.notebook is not None and not output.exists():
            watch.notebook.metadata["papermill"]["exception"] = True     # papermill notes only a cell that raised
            nbformat.write(watch.notebook, output)
        return Outcome(notebook, "failed", watch.elapsed, failed_cell(watch), explain(error, timeout),
                       output if output.exists() else None, died(error))
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


def died(error: Exception) -> bool:
    """Whether it was the kernel that ended, or that never answered, and no cell that raised."""
    from nbclient.exceptions import DeadKernelError

    return isinstance(error, DeadKernelError) or (isinstance(error, RuntimeError) and str(error).startswith("Kernel d"))


def explain(error: Exception, timeout: float) -> str:
    """A failure in one line: the last of the error's own, or what happened to the kernel."""
    from nbclient.exceptions import CellTimeoutError

    if isinstance(error, (CellTimeoutError, AssertionError)):    # nbclient's assert: out of time after the last cell
        return f"stopped: it ran longer than the {timeout:g} s it may take"
    if died(error):
        return "the kernel died: killed, out of memory, or it ended the process itself"
    name = getattr(error, "ename", None) or type(error).__name__
    lines = str(getattr(error, "evalue", error)).strip().splitlines()
    return f"{name}: {lines[-1]}" if lines else name
