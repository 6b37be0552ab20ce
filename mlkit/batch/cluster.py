"""Many runs at once on a Dask cluster: the same `perform`, sent to its workers. Part of `mlkit.batch`.

Shipped to a worker: the notebook's source without outputs (compressed), one combination of parameters, the output
folder's path or URL, and hashes. Not shipped: `mlkit` and its data, which the scheduler and the workers need
installed in the same state. Shipped back: the record (parameters, results, status), a few kilobytes; the executed
notebook is written by the worker.
"""

import asyncio
import math
import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice

from mlkit.batch.folder import open_folder
from mlkit.batch.plan import BatchError, Run, code_version
from mlkit.batch.task import Job, give_up, perform

ANSWER = 5              # seconds within which a scheduler has to answer, and then to have a worker
DESERTED = 60           # seconds without any worker after which a batch stops waiting for one
IN_FLIGHT = 2_000       # runs the scheduler knows of at once: what it holds does not grow with the grid
AWAY = ("lost", "pending")      # what becomes of a finished run whose worker goes before its record was fetched
INSTALL = "pip install -r requirements.txt -r requirements-cluster.txt"


class Cluster:
    """A client of the scheduler at an address such as "tcp://10.0.0.5:8786", and its workers, checked.

    Raises BatchError if Dask is not installed, nobody answers, there is no worker, or the scheduler's or a worker's
    `mlkit` is not this one.
    """

    def __init__(self, address: str):
        try:
            import distributed
        except ImportError as error:
            raise BatchError(f"a cluster needs Dask: {INSTALL}") from error
        self._asked, self._threads, self._alive = -math.inf, 0, math.inf
        try:
            _knock(address)
            self.client = distributed.Client(address, timeout=ANSWER, set_as_default=False)
        except Exception as error:      # whatever answers there may not be Dask at all
            raise BatchError(f"no Dask scheduler answers at {address} ({type(error).__name__}: {error}): start one "
                             "with `dask scheduler`, which prints its address (its port is 8786 as a rule; 8787 is "
                             "its dashboard)") from error

    @contextmanager
    def started(self, code: str):
        """Checked and, at the end, closed, which lets the scheduler drop what is still to do.

        code : hash of the `mlkit` that the scheduler and every worker have to have
        """
        try:
            self._check_workers(code)
            yield self
        finally:
            self.client.close()

    @property
    def at_once(self) -> int:
        """Runs at once: the threads of all workers, as of a few seconds ago."""
        if time.monotonic() > self._asked + 5:
            self._asked = time.monotonic()
            with suppress(OSError):         # the scheduler is gone, which the runs' futures tell
                self._threads = sum(self.client.nthreads().values())
        return self._threads

    def _wait(self) -> None:
        """A moment. Raises BatchError if there has been no worker for a minute."""
        now = time.monotonic()
        if self.at_once:
            self._alive = now
        elif now > self._alive + DESERTED:
            raise BatchError(f"the scheduler has had no worker for {DESERTED} s: start some and run it again")
        time.sleep(0.05)

    def _check_workers(self, mine: str) -> None:
        try:
            self.client.wait_for_workers(1, timeout=ANSWER)
        except TimeoutError as error:
            address = self.client.scheduler.address
            raise BatchError(f"the scheduler at {address} has no worker: start some with `dask worker {address}`, "
                             "where mlkit is installed") from error
        try:        # the scheduler reads what it hands on
            found = {"scheduler": self.client.run_on_scheduler(code_version)}
        except Exception as error:
            found = {"scheduler": error}
        found |= {f"worker {each}": theirs for each, theirs in self.client.run(code_version, on_error="return").items()}
        for who, theirs in found.items():
            if isinstance(theirs, Exception):
                raise BatchError(f"the {who} has no mlkit, or an old one ({type(theirs).__name__}: {theirs}): install "
                                 "the same there, and start it where `import mlkit` finds it") from theirs
            if theirs != mine:
                raise BatchError(f"the {who} has another mlkit, or other versions of the packages it needs (their hash "
                                 f"is {theirs}, here it is {mine}): bring both to the same state and start it again")

    def reaches(self, place) -> None:
        """See that every worker writes to the same place. Raises BatchError naming one that does not."""
        probe = f".probe-{secrets.token_hex(6)}"
        place.write(probe, "")
        try:
            for worker, trouble in self.client.run(_trouble, str(place), probe, on_error="return").items():
                if trouble:
                    raise BatchError(f"the worker {worker} does not write to the same {place} ({trouble}): give a "
                                     "folder that all machines share under this path, or a URL such as s3://...")
        finally:
            place.remove(probe)

    def run(self, job: Job, runs: list[Run]) -> Iterator[dict]:
        """The runs' records; a dead worker's go to others. Raises BatchError if the scheduler or all workers go."""
        killed = []
        for run, record in self._records(job, runs, IN_FLIGHT):
            if record:
                yield record
            else:
                killed.append(run)
        for run, record in self._records(job, killed, 1):       # Dask counts a death against what waited there, too
            yield record or give_up(job, run, "every worker that took it died, and no other run was beside it")

    def _records(self, job: Job, runs: list[Run], in_flight: int) -> Iterator[tuple[Run, dict | None]]:
        """Each run and its record; None if its workers died more often than Dask allows (`allowed-failures`)."""
        from distributed import KilledWorker, as_completed

        waiting, names = enumerate(runs), {run.name: run for run in runs}
        group = f"{job.batch}-{in_flight}"
        futures = as_completed([self._submit(job, group, *each) for each in islice(waiting, in_flight)],
                               loop=self.client.loop, raise_errors=False)
        while not futures.is_empty():
            if not futures.has_ready():
                self._wait()
                continue
            future = next(futures)
            run, record = names[future.key[1]], None
            if future.status in ("finished", *AWAY):
                if (record := _fetched(future)) is None:        # it went with its worker: Dask has it done again
                    futures.add(future)
                    self._wait()
                    continue
            elif isinstance(error := future.exception() if future.status == "error" else None, KilledWorker):
                pass
            elif error is not None:
                raise error if isinstance(error, BatchError) else BatchError(
                    f"a worker could not take {run.name}: {type(error).__name__}: {error}") from error
            else:
                raise BatchError(f"the scheduler is gone or dropped the batch ({future.status}): run it again when "
                                 "it is back")
            if another := next(waiting, None):
                futures.add(self._submit(job, group, *another))
            yield run, record

    def _submit(self, job: Job, group: str, number: int, run: Run):
        """In the grid's order: Dask would take what comes within a moment by the names of its keys.

        In one group, of which Dask keeps at the scheduler what has no free thread: given to a worker, it would wait
        there, and die with it.
        """
        return self.client.submit(perform, job, run, key=(group, run.name), priority=-number, pure=False)


def _fetched(future) -> dict | None:
    """A finished run's record; None if its worker is gone before it was fetched."""
    with suppress(TimeoutError, CancelledError):
        return future.result(timeout=ANSWER) if future.status == "finished" else None


def _knock(address: str) -> None:
    """Raises what goes wrong if no scheduler answers there in time: Dask's client waits for ever on a mute port."""
    from distributed.comm import connect
    from distributed.security import Security

    async def shake_hands():
        options = Security().get_connection_args("client")      # of Dask's configuration, for tls://
        comm = await asyncio.wait_for(connect(address, timeout=ANSWER, **options), ANSWER)
        comm.abort()

    with ThreadPoolExecutor(1) as aside:        # beside the loop of a notebook that calls this
        aside.submit(asyncio.run, shake_hands()).result()


def _trouble(place: str, probe: str) -> str:
    """What keeps this worker from writing beside a file that the batch's own process has just made; "" if nothing."""
    mine = f".probe-{secrets.token_hex(6)}-{os.getpid()}"
    try:
        there = open_folder(place)
        there.read(probe)
        there.write(mine, "")
        there.remove(mine)
    except Exception as error:      # each store has errors of its own
        return f"{type(error).__name__}: {error}"
    return ""
