"""`run_grid`: run a notebook over a grid of parameters, here or on a cluster. Part of `mlkit.batch`."""

import secrets
import sys
import zlib
from contextlib import closing, suppress

from mlkit.batch.engines import LocalWorkers
from mlkit.batch.folder import OWNER, open_folder
from mlkit.batch.page import write_pages
from mlkit.batch.plan import BatchStopped, Plan, Run, make_plan
from mlkit.batch.records import from_entries
from mlkit.batch.table import check_names, table_of
from mlkit.batch.task import Job, find_records, is_current, is_finished

RENDERED = 100      # runs up to which every executed notebook gets a page of its own unless told otherwise


def run_grid(notebook, grid, out, *, workers: int = 1, scheduler: str | None = None, timeout: float = 1800,
             force: bool = False, fail_fast: bool = False, pages: bool | None = None, progress: bool = True):
    """Run a notebook with every combination of a grid, each in a kernel of its own, and put them in one table.

    Parameters
    ----------
    notebook : path of a notebook with a cell tagged `parameters`.
    grid : dict of name -> list of values (all combinations), or a list of dicts name -> value (one run each).
    out : folder, or URL of an object store (through fsspec), for the executed notebooks, `index.html` and
        `table.csv`. On a cluster all machines must reach it under the same path or URL.
    workers : processes on this machine, each with a kernel; at most one a core is of use.
    scheduler : address of a Dask scheduler ("tcp://HOST:8786") whose workers do the runs instead; one run a thread.
    timeout : seconds a run may take.
    force : run again what has a finished result.
    fail_fast : stop at the first run that fails.
    pages : render each executed notebook as a page, too; None: if there are at most 100 runs.
    progress : show a bar: done, failed, running, time left.

    A run whose result is there, finished, from the same notebook, parameters and `mlkit` is not done again, so the
    same call resumes a batch that was stopped or killed, and tries again what failed. A run that fails keeps its
    partial output and is a row of the table; the others go on. A kernel that dies is tried once more.

    Returns
    -------
    DataFrame, a row a run of this grid: what `collect` gives for their files. With `fail_fast`, runs that did not
    start are not in it.

    Raises
    ------
    ParameterError or BatchError (both ValueErrors) before anything starts or is written: no `parameters` cell, an
    unknown name, a value that does not fit, an output folder that cannot be written or is in use by another batch,
    a scheduler that does not answer, workers with another `mlkit`. BatchStopped, a BatchError, once runs have begun:
    the scheduler is gone, `mlkit` was changed, a run records a result under the name of a parameter with another
    value, or of a column that every table has.
    """
    plan = make_plan(notebook, grid)
    engine = LocalWorkers(workers) if scheduler is None else _cluster(scheduler)
    place = open_folder(out)
    with engine.started(plan.code):
        place.prepare()
        try:
            engine.reaches(place)
        except BaseException:
            place.leave()
            raise
        with place.alone():
            pages = len(plan) <= RENDERED if pages is None else pages
            job = job_of(plan, place, timeout=timeout, again=force, pages=pages)
            place.write(OWNER, job.batch)
            runs = list(plan)
            found = {} if force else _finished(place, runs)
            try:
                _run_all(engine, job, [run for run in runs if run.name not in found], found, fail_fast, progress)
                found |= _lost(place, found)
                table = table_of(found.values())
                write_pages(place, plan, table, pages)
            except BaseException as error:
                with suppress(ValueError, OSError):     # of names that clash or a full disk: that is being raised
                    if found and is_current(place, job):
                        write_pages(place, plan, table_of(found.values()), pages)
                if isinstance(error, (ValueError, OSError)):
                    raise BatchStopped(str(error)) from error
                raise
    return table


def _cluster(scheduler: str):
    from mlkit.batch.cluster import Cluster

    return Cluster(scheduler)


def job_of(plan: Plan, place, **options) -> Job:
    """What a worker is told beside its one combination."""
    return Job(plan.notebook.name, zlib.compress(plan.text.encode()), plan.version, str(plan.notebook.resolve().parent),
               plan.defaults, plan.code, str(place), batch=secrets.token_hex(8), **options)


def _finished(place, runs: list[Run]) -> dict[str, dict]:
    """Records of the runs whose finished result is there, by file name."""
    there = set(place.names())
    wanted = {run.name: run.identity for run in runs if run.name in there}
    with suppress(OSError):     # one cannot be read: each run's worker looks again, and that one is a failed row
        return {name: record for name, record in find_records(place, wanted).items()
                if is_finished(record, wanted[name])}
    return {}


def _run_all(engine, job: Job, runs: list[Run], found: dict[str, dict], fail_fast: bool, progress: bool) -> None:
    """Do the runs, adding their records to those found."""
    with (closing(Progress(len(runs), len(found), engine, progress)) as bar,
          closing(engine.run(job, runs)) as records):
        for record in records:
            found[record["file"] or f"{record['identity']}, not written"] = record
            bar.tell(record)
            check_names([record])
            if fail_fast and record["status"] == "failed":
                break


def _lost(place, found: dict[str, dict]) -> dict[str, dict]:
    """Records, failed ones, of the runs whose file is not there: of workers that joined later, and do not share it."""
    unseen = {record["file"] for record in found.values()}.difference(place.names(), [""])
    with suppress(OSError):
        unseen -= place.tails(unseen).keys()    # one machine's list of a shared folder is a minute behind, at times
    return {name: record | {"status": "failed", "file": "", "error":
                            f"its result is not in {place}: {record['host']}, which did it, has another of that name"}
            for name, record in found.items() if record["file"] in unseen}


class Progress:
    """One bar over the runs to do, and a line for each that failed."""

    def __init__(self, count: int, kept: int, engine, shown: bool):
        from tqdm import tqdm

        self.engine, self.done, self.failed, self.shown = engine, 0, 0, shown and count
        self.bar = tqdm(total=count, disable=not self.shown, file=sys.stderr, dynamic_ncols=True, smoothing=0,
                        leave=False, mininterval=0.2 if sys.stderr.isatty() else 5,
                        bar_format="{desc} {percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} left")
        if kept and shown:
            print(f"  {kept} finished before and are kept", file=sys.stderr)
        self._describe()

    def tell(self, record: dict) -> None:
        self.done += 1
        self.failed += record["status"] == "failed"
        self._describe()
        self.bar.update(1)
        if self.shown and record["status"] == "failed":
            self.bar.write(f"  failed  {describe(record)}", file=sys.stderr)

    def _describe(self) -> None:
        left = self.bar.total - self.done
        if self.shown:
            self.bar.set_description_str(f"{self.done} of {self.bar.total} done, {self.failed} failed, "
                                         f"{min(self.engine.at_once, left)} running", refresh=False)

    def close(self) -> None:
        self.bar.close()


def describe(record: dict) -> str:
    """A failed run in one line: its parameters, the cell, the error."""
    values = from_entries(record["parameters"])
    given = ", ".join(f"{name}={values[name]}" for name in record["given"])
    return ": ".join(filter(None, (given, record["cell"], record["error"])))
