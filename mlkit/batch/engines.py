"""Many runs at once on this machine: worker processes through joblib. Part of `mlkit.batch`.

`LocalWorkers` and `mlkit.batch.cluster.Cluster` do the same: `run(job, runs)` gives each run's record as it ends,
in whatever order, and loses none; closing that iterator stops what is still running.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

from mlkit.batch.plan import BatchError, Run
from mlkit.batch.task import Job, give_up, perform

TRIES = 2       # of a run alone, after its worker died


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
        """The runs' records. When a worker process dies, what was begun beside it is done again, one at a time."""
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        waiting = {run.name: run for run in runs}
        with tempfile.TemporaryDirectory(prefix="mlkit-", ignore_cleanup_errors=True) as scratch:
            job = replace(job, parent=os.getpid(), scratch=scratch)
            while waiting:
                begun: list[Run] = []
                try:
                    with closing(self._records(job, list(waiting.values()), begun)) as done:
                        for name, record in done:
                            del waiting[name]
                            yield record
                except TerminatedWorkerError:       # every worker ends with it, whichever run it was
                    for run in begun:
                        if waiting.pop(run.name, None):
                            yield self._alone(job, run)

    def _records(self, job: Job, runs: list[Run], begun: list[Run]) -> Iterator[tuple[str, dict]]:
        from joblib import Parallel, delayed

        def tasks():
            for run in runs:
                begun.append(run)
                yield delayed(_named)(job, run)

        return Parallel(self.at_once, backend="loky", batch_size=1, return_as="generator_unordered")(tasks())

    def _alone(self, job: Job, run: Run) -> dict:
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        for _ in range(TRIES):
            with suppress(TerminatedWorkerError), closing(self._records(job, [run], [])) as done:
                return next(done)[1]
        return give_up(job, run, f"its worker process was killed {TRIES} times with no other run beside it (out of "
                                 "memory?)")


def _named(job: Job, run: Run) -> tuple[str, dict]:
    return run.name, perform(job, run)
