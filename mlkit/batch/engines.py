"""Many runs at once on this machine: worker processes through joblib. Part of `mlkit.batch`.

`LocalWorkers` and `mlkit.batch.cluster.Cluster` do the same: `run(job, runs)` gives each run's record as it ends,
in whatever order, and loses none; closing that iterator stops what is still running.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from mlkit.batch.plan import BatchError, Run
from mlkit.batch.task import Job, perform

DEATHS = 3      # of worker processes, one after the other without a run between them, before a batch gives up


class LocalWorkers:
    """`count` processes of this machine; one kernel each."""

    def __init__(self, count: int):
        if count < 1:
            raise BatchError(f"workers={count}: it takes at least one")
        self.at_once = count

    @contextmanager
    def started(self, code: str):
        yield self      # processes of this machine have the `mlkit` that is on it

    def reaches(self, place) -> None:
        """A process of this machine reaches what this one does."""

    def run(self, job: Job, runs: list[Run]) -> Iterator[dict]:
        """The runs' records. Raises BatchError if worker processes die time and again."""
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        waiting, deaths = {run.name: run for run in runs}, 0
        with tempfile.TemporaryDirectory(prefix="mlkit-", ignore_cleanup_errors=True) as scratch:
            job = replace(job, parent=os.getpid(), scratch=scratch)
            while waiting:
                workers = Parallel(self.at_once, backend="loky", batch_size=1, return_as="generator_unordered")
                tasks = [delayed(_named)(job, run) for run in waiting.values()]
                try:
                    with closing(workers(tasks)) as done:
                        for name, record in done:
                            del waiting[name]
                            deaths = 0
                            yield record
                except TerminatedWorkerError as error:      # killed from outside: what it was at is done again
                    deaths += 1
                    if deaths == DEATHS:
                        raise BatchError(f"worker processes were killed {DEATHS} times before one more run ended (out "
                                         "of memory?): try with fewer workers; finished runs are kept") from error


def _named(job: Job, run: Run) -> tuple[str, dict]:
    return run.name, perform(job, run)
