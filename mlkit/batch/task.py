"""One run, as a worker does it: execute, note how it ended, put the notebook in its place. Part of `mlkit.batch`.

A worker is told all it needs (`Job` and `Run`) and reads nothing else: it may be another process or another
machine. The notebook it leaves holds the run's record at its very end, in the notebook's own metadata under
"mlkit": a table of thousands of runs reads 64 KB a file, whatever pictures there are in it.
"""

import contextlib
import json
import math
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mlkit.batch.folder import OWNER, open_folder
from mlkit.batch.plan import BatchError, Run, code_version, mlkit_version
from mlkit.batch.records import results_in, to_entries

KEY = '\n  "mlkit": '           # at this depth only a key of the notebook's metadata can stand
VARIABLES = {"JOBLIB_MULTIPROCESSING": "0", "LOKY_MAX_CPU_COUNT": "1",      # a run is one process on one core
             "NUMEXPR_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
HEARTBEAT = 0.5                 # seconds between looks at whether the batch's own process is still there


@dataclass(frozen=True)
class Job:
    """What all runs of a batch have in common.

    notebook : its file's name; text : its JSON, compressed; version : its hash
    folder : where it lies, and where it runs if the worker has such a folder
    defaults : its parameters' plain defaults
    code : hash of `mlkit`, which the worker's has to equal
    out : folder or URL for the executed notebooks
    timeout : seconds a run may take, its second try included
    batch : this batch's own name
    again : run what another batch has finished, too
    pages : render each executed notebook as a page
    parent, scratch : process that ends this one by ending, and folder for passing files; none on a cluster
    """

    notebook: str
    text: bytes
    version: str
    folder: str
    defaults: dict
    code: str
    out: str
    timeout: float
    batch: str
    again: bool = False
    pages: bool = False
    parent: int | None = None
    scratch: str | None = None


def perform(job: Job, run: Run) -> dict:
    """Do one run, unless its finished result is there already; returns its record.

    A raising cell, a dead kernel (tried once more), the time limit, and what cannot be read or written are records
    with the status "failed". Raises BatchError if this `mlkit` is another than the batch's, if a later batch was
    begun in its folder, or if that or its file `.batch` was deleted.
    """
    _live_with(job)
    try:
        _check_code(job)
        place = open_folder(job.out)
        return _finished(place, job, run) or _performed(place, job, run)
    except BatchError:
        raise
    except Exception as error:      # a full disk, say; each store has errors of its own
        return give_up(job, run, f"{type(error).__name__}: {error}")


def _performed(place, job: Job, run: Run) -> dict:
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    with tempfile.TemporaryDirectory(prefix="mlkit-", dir=job.scratch, ignore_cleanup_errors=True) as folder:
        outcome, attempts, notebook = _execute(job, run, Path(folder))
    _check_code(job)        # a kernel imports as it goes: what it ran would be neither version
    record = _record(job, run, outcome.status, outcome.cell, outcome.error, results_in(notebook["cells"]),
                     seconds=outcome.seconds, started=started, attempts=attempts)
    return _place(place, job, run, notebook, record)


def _check_code(job: Job) -> None:
    if code_version() != job.code:
        raise BatchError(f"mlkit on {socket.gethostname()}, or a package it needs, is not the one that began this "
                         "batch (or was changed meanwhile): a table would mix two versions; bring them to the same "
                         "state and run it again")


def give_up(job: Job, run: Run, error: str) -> dict:
    """The record, put in place, of a run that no worker brought to an end; a finished one's own."""
    place = open_folder(job.out)
    record = _record(job, run, "failed", "", error, {}, seconds=math.nan, started="", attempts=0)
    try:
        known = _finished(place, job, run)
    except Exception:       # what is there cannot be read, and may be finished: it is left alone
        return record | {"file": ""}
    return known or _place(place, job, run, json.loads(zlib.decompress(job.text)), record)


def _finished(place, job: Job, run: Run) -> dict | None:
    known = find_records(place, [run.name]).get(run.name)
    return known if is_finished(known, run.identity) and (not job.again or known["batch"] == job.batch) else None


def is_finished(record: dict | None, identity: str) -> bool:
    return bool(record) and record["status"] == "ok" and record["identity"] == identity


def is_current(place, job: Job) -> bool:
    """Whether this batch was begun there last: one whose command was killed may still have runs under way."""
    try:
        return place.read(OWNER) == job.batch.encode()
    except FileNotFoundError:
        return False


def find_records(place, names) -> dict[str, dict | None]:
    """name -> record of those files that are there; None for one that holds none."""
    found = {name: record_at_end(tail) for name, tail in place.tails(names).items()}
    for name in [name for name, record in found.items() if record is None]:     # a long record, or another's file
        found[name] = record_in(place.read(name))
    return found


def record_in(content: bytes) -> dict | None:
    """The record in a whole notebook, None if there is none."""
    try:
        record = json.loads(content)["metadata"]["mlkit"]
    except (ValueError, KeyError, TypeError):
        return None
    return record if _is_record(record) else None


def record_at_end(tail: bytes) -> dict | None:
    """The record in the last bytes of an executed notebook, None if there is none."""
    start = tail.rfind(KEY.encode())
    try:
        record, _ = json.JSONDecoder().raw_decode(tail[start + len(KEY):].decode()) if start >= 0 else (None, 0)
    except ValueError:
        return None
    return record if _is_record(record) else None


def _is_record(record) -> bool:
    return isinstance(record, dict) and {"identity", "status", "batch", "parameters", "results"} <= record.keys()


def _execute(job: Job, run: Run, folder: Path):
    """(outcome, attempts, the executed notebook's JSON); a kernel that dies is given one more try."""
    from mlkit.notebooks import execute

    source, made = folder / job.notebook, folder / "executed.ipynb"
    source.write_bytes(zlib.decompress(job.text))
    at, spent = Path(job.folder) if Path(job.folder).is_dir() else folder, 0.0
    for attempt in (1, 2):
        outcome = execute(source, made, parameters=run.parameters, timeout=job.timeout, spent=spent, folder=at,
                          scratch=job.scratch, variables=VARIABLES)
        spent = outcome.seconds
        if not outcome.kernel_died:
            break
    return outcome, attempt, json.loads((made if made.exists() else source).read_text(encoding="utf-8"))


def _record(job: Job, run: Run, status: str, cell: str, error: str, results: dict, *, seconds: float, started: str,
            attempts: int) -> dict:
    return {"identity": run.identity, "batch": job.batch, "status": status, "error": error, "cell": cell,
            "parameters": to_entries({name: value if isinstance(value, float) else _for_json(value)
                                      for name, value in (job.defaults | run.parameters).items()}),
            "given": list(run.parameters),
            "results": to_entries(results), "duration": None if math.isnan(seconds) else round(seconds, 3),
            "started": started, "attempts": attempts,
            "notebook": job.notebook, "notebook_version": job.version, "mlkit_version": mlkit_version(job.code),
            "file": run.name, "host": socket.gethostname(), "python": sys.version.split()[0]}


def _place(place, job: Job, run: Run, notebook: dict, record: dict) -> dict:
    """Write the notebook with its record as its last word, and its page before it; returns the record.

    Raises BatchError if a later batch was begun there: it may have better, and does this run itself; and if
    the folder or its file `.batch` was deleted.
    """
    metadata = notebook.pop("metadata")
    if "papermill" in metadata:
        metadata["papermill"] |= {"input_path": job.notebook, "output_path": run.name,
                                  "parameters": _for_json(run.parameters)}
    notebook["metadata"] = {**metadata, "mlkit": record}
    page = Path(run.name).with_suffix(".html").name
    try:
        if not is_current(place, job):
            raise BatchError(f"another batch was begun in {place} meanwhile, or its file {OWNER} was deleted: this one "
                             "writes nothing there any more")
        if job.pages:
            from mlkit.course_page import page_or_reason

            place.write(page, page_or_reason(json.dumps(notebook), run.name))
        else:
            place.remove(page)          # an earlier run's
        place.write(run.name, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    except BatchError:
        raise
    except Exception as error:          # each store has errors of its own; the others may still be written
        why = f"its result could not be written: {type(error).__name__}: {error}"
        return record | {"status": "failed", "error": why, "file": ""}
    return record


def _for_json(value):
    """JSON has no infinity and no NaN: their names instead."""
    if isinstance(value, dict):
        return {key: _for_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_for_json(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


_scratch: set[str] = set()      # of the batches this process works for, to be removed when their process is gone


def _live_with(job: Job) -> None:
    """Let this process end when the batch's own does, however that ends, and not hear its Ctrl-C."""
    if job.parent in (None, os.getpid()):
        return
    _scratch.add(job.scratch)
    if len(_scratch) == 1 and os.name == "posix":
        with contextlib.suppress(PermissionError):      # it leads a group of its own already
            os.setsid()
        threading.Thread(target=_end_with, args=(job.parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    lives = _life_of(parent)
    while lives():
        time.sleep(HEARTBEAT)
    for folder in _scratch:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)         # the kernel looks at its parent in the same way


def _life_of(parent: int) -> Callable[[], bool]:
    """Tells whether this process's parent is still there."""
    if os.name == "posix":
        return lambda: os.getppid() == parent
    import psutil       # Windows has no other parent for an orphan: its id stays

    try:
        return psutil.Process(parent).is_running
    except psutil.NoSuchProcess:
        return lambda: False
