"""Batches, sweeps and walk-forwards on a real Dask cluster: a scheduler and two worker processes on loopback."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import joblib
import pandas as pd
import pytest
from batches import stamps, write_notebook
from click.testing import CliRunner

import mlkit.batch.cluster
import mlkit.batch.engines
import mlkit.batch.plan
import mlkit.batch.task
from mlkit import (Costs, FeatureSet, LaggedReturns, MeanReversion, WalkForward, direction, load_bars, make_model,
                   sweep, walk_forward)
from mlkit.batch import BatchError, BatchStopped, collect, run_grid
from mlkit.batch.folder import open_folder
from mlkit.batch.grid import job_of
from mlkit.batch.plan import make_plan
from mlkit.batch.task import give_up
from mlkit.cli import main

distributed = pytest.importorskip("distributed", reason="requirements-cluster.txt is not installed")
fsspec = pytest.importorskip("fsspec", reason="requirements-cluster.txt is not installed")
START = 60      # seconds within which the cluster has to be up on a busy machine


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler with two workers, of one thread and of two. One that dies is started again."""
    env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with cluster(tmp_path_factory.mktemp("dask"), env, 1, 2) as address:
        yield address


@contextmanager
def cluster(here, env, *threads):
    """The address of a scheduler with a worker process of so many threads each."""
    if os.name != "posix":
        pytest.skip("its notebooks kill their workers by a signal that this system has not")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    started = [dask(here, env, "scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":")[-1], "--no-dashboard")]
    started += [dask(here, env, "worker", address, "--nthreads", str(count), "--host", "127.0.0.1", "--no-dashboard",
                     "--local-directory", str(here)) for count in threads]
    try:
        wait_for_workers(address, len(threads))
        yield address
    finally:
        stop(started)


def wait_for_workers(address, count):
    with distributed.Client(address, timeout=START, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=START)


def stop(processes):
    for process in reversed(processes):
        process.terminate()
        process.wait(30)


def dask(folder, env, which, *arguments):
    module = f"distributed.cli.dask_{which}"
    log = open(folder / f"{which}-{time.monotonic_ns()}.log", "w")
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=folder, env=env, stdout=log, stderr=log)


@pytest.fixture
def small(tmp_path):
    return write_notebook(tmp_path / "notebooks" / "small.ipynb")


def test_the_table_is_that_of_one_machine(scheduler, small, tmp_path):
    grid = {"a": [1, 2, 10], "kind": ["good", "raises"]}
    done = CliRunner().invoke(main, ["batch", str(small), "-p", "a=1,2,10", "-p", "kind=good,raises", "--out",
                                     str(tmp_path / "cluster"), "--scheduler", scheduler])
    assert done.exit_code == 1 and "6 runs: 3 ok, 3 failed" in done.stdout, done.output
    there = collect(tmp_path / "cluster")
    here = run_grid(small, grid, tmp_path / "here", workers=2, progress=False)
    pd.testing.assert_frame_equal(there.drop(columns="duration"), here.drop(columns="duration"))
    assert names_in(tmp_path / "cluster") == names_in(tmp_path / "here")
    before = stamps(tmp_path / "cluster")
    run_grid(small, {"a": [1, 2, 10]}, tmp_path / "cluster", scheduler=scheduler, progress=False)
    assert len(stamps(tmp_path / "cluster")) == 9 and before.items() <= stamps(tmp_path / "cluster").items()


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def test_a_worker_killed_in_the_middle_loses_no_run(scheduler, small, tmp_path):
    log = tmp_path / "log"
    kinds = {3: "kills its worker once"}
    grid = [{"a": a, "kind": kinds.get(a, "good"), "slow": 0.3, "log": str(log)} for a in range(8)]
    table = run_grid(small, grid, tmp_path / "x", scheduler=scheduler, progress=False, pages=False)
    assert table["a"].tolist() == list(range(8)) and (table["status"] == "ok").all(), table["error"].tolist()
    ended = Counter(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert len(ended) == 8 and set(ended.values()) == {1}, "and none that had finished is done twice"
    assert log.read_text().count("begin kills its worker once 3") == 2


def test_a_run_that_kills_every_worker_is_a_failed_row(scheduler, small, tmp_path):
    grid = [{"a": 1}, {"kind": "kills its worker"}]
    table = run_grid(small, grid, tmp_path / "x", scheduler=scheduler, progress=False)
    row = table.set_index("kind").loc["kills its worker"]
    assert table["status"].tolist() == ["ok", "failed"] and "every worker that took it died" in row["error"]
    pd.testing.assert_frame_equal(table, collect(tmp_path / "x"))


def test_what_only_waited_where_a_worker_died_is_done(small, tmp_path):
    """A scheduler that gives a run up at the first death of its worker, and one worker with one thread."""
    env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    grid = [{"kind": "kills its worker"}] + [{"a": a} for a in range(2, 14)]
    with cluster(tmp_path, env, 1) as address:
        table = run_grid(small, grid, tmp_path / "x", scheduler=address, progress=False, pages=False)
    assert table.loc[table["status"] == "failed", "kind"].tolist() == ["kills its worker"]
    assert len(table) == 13


def test_a_run_given_up_after_it_finished_keeps_its_result(small, tmp_path):
    grid = {"a": [1]}
    table = run_grid(small, grid, tmp_path / "x", progress=False, pages=False)
    before, plan = stamps(tmp_path / "x"), make_plan(small, grid)
    record = give_up(job_of(plan, open_folder(tmp_path / "x"), timeout=1), *plan, "its worker died as it answered")
    assert record["status"] == "ok" and stamps(tmp_path / "x") == before and len(table) == 1


def test_a_stopped_batch_leaves_the_scheduler_nothing_to_do(scheduler, small, tmp_path):
    grid = [{"kind": "raises"}] + [{"a": a, "slow": 0.2} for a in range(12)]
    table = run_grid(small, grid, tmp_path / "x", scheduler=scheduler, fail_fast=True, progress=False)
    assert "failed" in set(table["status"]) and len(table) < 13
    with distributed.Client(scheduler, set_as_default=False) as client:
        end = time.monotonic() + 30
        while any(client.processing().values()) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(client.processing().values())
    assert len(stamps(tmp_path / "x")) < 13
    again = run_grid(small, grid, tmp_path / "x", scheduler=scheduler, progress=False, pages=False)
    assert again["status"].value_counts().to_dict() == {"ok": 12, "failed": 1}


def test_an_address_without_a_scheduler_is_refused_soon(small, tmp_path, monkeypatch):
    monkeypatch.setattr(mlkit.batch.cluster, "ANSWER", 2)
    with socket.create_server(("127.0.0.1", 0)) as mute:        # listens, and says nothing: another service's port
        mute_address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        for address in (mute_address, "tcp://127.0.0.1:1", "nonsense"):
            begun = time.monotonic()
            with pytest.raises(BatchError, match="no Dask scheduler answers at " + re.escape(address)):
                run_grid(small, {"a": [1]}, tmp_path / "x", scheduler=address, progress=False)
            assert time.monotonic() - begun < 10
    assert not (tmp_path / "x").exists()


def test_a_scheduler_without_workers_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(mlkit.batch.cluster, "ANSWER", 2)
    with (distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
          pytest.raises(BatchError, match="has no worker: start some")):
        run_grid(small, {"a": [1]}, tmp_path / "x", scheduler=empty.scheduler_address, progress=False)
    assert not (tmp_path / "x").exists()


def test_a_cluster_without_mlkit_is_refused(small, tmp_path):
    """A scheduler and a worker started in an environment that has Dask and no mlkit."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hide = tmp_path / "sitecustomize.py"
    hide.write_text("import sys; sys.modules['mlkit'] = None")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    started = [dask(tmp_path, env, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
               dask(tmp_path, env, "worker", f"tcp://127.0.0.1:{port}", "--no-nanny", "--no-dashboard")]
    try:
        wait_for_workers(f"tcp://127.0.0.1:{port}", 1)
        with pytest.raises(BatchError, match="the scheduler has no mlkit, or an old one"):
            run_grid(small, {"a": [1]}, tmp_path / "x", scheduler=f"tcp://127.0.0.1:{port}", progress=False)
    finally:
        stop(started)
    assert not (tmp_path / "x").exists()


def test_a_cluster_with_another_mlkit_is_refused(scheduler, small, tmp_path, monkeypatch):
    monkeypatch.setattr(mlkit.batch.plan, "code_version", lambda: "another")
    with pytest.raises(BatchError, match="the scheduler has another mlkit"):
        run_grid(small, {"a": [1]}, tmp_path / "x", scheduler=scheduler, progress=False)
    assert not (tmp_path / "x").exists()


def test_a_place_that_workers_do_not_share_is_refused(scheduler, small):
    why = r"the worker tcp://.* does not write to the same memory://mine \(FileNotFoundError"
    with pytest.raises(BatchError, match=why):
        run_grid(small, {"a": [1]}, "memory://mine", scheduler=scheduler, progress=False)


def test_a_folder_that_workers_do_not_share_is_not_left_behind(scheduler, small, tmp_path, monkeypatch):
    monkeypatch.setattr(mlkit.batch.cluster, "_trouble", lambda place, probe: "FileNotFoundError")
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "there" / "x" / "y", tmp_path / "there"):
        with pytest.raises(BatchError, match="does not write to the same"):
            run_grid(small, {"a": [1]}, out, scheduler=scheduler, progress=False)
        assert not list((tmp_path / "there").iterdir())


def test_a_scheduler_that_goes_leaves_what_has_finished(small, tmp_path):
    out = tmp_path / "x"
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")

    def stop_it_half_way():
        while len(stamps(out)) < 2:
            time.sleep(0.05)
        cluster.close()

    stopper = threading.Thread(target=stop_it_half_way)
    stopper.start()
    grid, address = {"a": range(5), "slow": 0.3}, cluster.scheduler_address
    with pytest.raises(BatchStopped, match="the scheduler is gone.*: run it again when it is back"):
        run_grid(small, grid, out, scheduler=address, progress=False, pages=False)
    stopper.join()
    kept = stamps(out)
    table = run_grid(small, grid, out, progress=False, pages=False)
    assert 2 <= len(kept) < 5 and (table["status"] == "ok").all() and kept.items() <= stamps(out).items()


def test_a_scheduler_that_goes_while_a_record_is_fetched_is_told(small, tmp_path, monkeypatch):
    """What was finished is cancelled between being seen and being fetched: chance decides it, so here it is made."""
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    fetched = mlkit.batch.cluster._fetched

    def too_late(future):
        if len(stamps(tmp_path / "x")) < 2:
            return fetched(future)
        cluster.close()
        while future.status != "cancelled":
            time.sleep(0.05)
        return fetched(SimpleNamespace(status="finished", result=future.result))      # as it was seen before

    monkeypatch.setattr(mlkit.batch.cluster, "_fetched", too_late)
    with pytest.raises(BatchStopped, match="the scheduler is gone.*: run it again when it is back"):
        run_grid(small, {"a": range(5)}, tmp_path / "x", scheduler=cluster.scheduler_address, progress=False,
                 pages=False)


def test_a_cluster_whose_last_worker_goes_is_not_waited_for_for_ever(small, tmp_path, monkeypatch):
    monkeypatch.setattr(mlkit.batch.cluster, "DESERTED", 3)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as lonely:
        def send_it_away():
            while not stamps(tmp_path / "x"):
                time.sleep(0.05)
            lonely.scale(0)

        leaver = threading.Thread(target=send_it_away)
        leaver.start()
        with pytest.raises(BatchStopped, match="no worker for 3 s: start some and run it again"):
            run_grid(small, {"a": range(5), "slow": 0.3}, tmp_path / "x", scheduler=lonely.scheduler_address,
                     progress=False, pages=False)
        leaver.join()


def test_a_result_that_was_written_elsewhere_is_a_failed_row(small, tmp_path, monkeypatch):
    perform = mlkit.batch.task.perform

    def elsewhere(job, run):
        if run.parameters["a"] == 2:
            job = replace(job, out=str(tmp_path / "y"))
        return perform(job, run)

    (tmp_path / "y").mkdir()
    monkeypatch.setattr(mlkit.batch.engines, "perform", elsewhere)
    monkeypatch.setattr(mlkit.batch.task, "is_current", lambda place, job: True)
    table = run_grid(small, {"a": [1, 2]}, tmp_path / "x", progress=False, pages=False)
    assert table["status"].tolist() == ["ok", "failed"] and table["file"][1] == "" and len(stamps(tmp_path / "y")) == 1
    assert f"its result is not in {tmp_path / 'x'}: {socket.gethostname()}, which did it" in table["error"][1]


def test_an_object_store_is_as_good_as_a_folder(small, tmp_path):
    """fsspec's own store in memory, which only this process sees; a worker process would see a bucket."""
    grid = {"kind": ["good", "raises"]}
    there = run_grid(small, grid, "memory://bucket/x", progress=False)
    here = run_grid(small, grid, tmp_path / "x", progress=False)
    pd.testing.assert_frame_equal(there.drop(columns="duration"), here.drop(columns="duration"))
    pd.testing.assert_frame_equal(collect("memory://bucket/x"), there)
    again = run_grid(small, {"kind": ["good"], "a": [2]}, "memory://bucket/x", progress=False, pages=False)
    assert again["square"].tolist() == [4] and len(collect("memory://bucket/x")) == 3
    stored = {path.rsplit("/", 1)[-1] for path in fsspec.filesystem("memory").ls("/bucket/x", detail=False)}
    assert stored >= {"index.html", "table.csv", *there["file"]}
    with pytest.raises(BatchError, match="there is no folder memory://bucket/y"):
        collect("memory://bucket/y")


def test_a_store_that_does_not_count_from_the_end_is_read_whole(monkeypatch):
    class NoTails(type(fsspec.filesystem("memory"))):
        def cat_file(self, path, start=None, end=None, **options):
            if start is not None and start < 0:
                raise ValueError("the offset must not be negative")
            return super().cat_file(path, start, end, **options)

    place = open_folder("memory://no-tails/x")
    place.files = NoTails()
    place.write("a", "x" * 100_000)
    assert place.tails(["a", "none"]) == {"a": b"x" * 100_000}


@pytest.fixture
def on_the_cluster(scheduler):
    """joblib's work goes to the cluster; gives the keys of what it sent there."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        sent, submit = [], client.submit

        def submitting(*arguments, **options):
            sent.append(options.get("key"))
            return submit(*arguments, **options)

        client.submit = submitting
        with joblib.parallel_config(backend="dask", client=client):
            yield sent


def test_a_sweep_on_the_cluster_gives_the_same_table(on_the_cluster):
    bars = load_bars("GE").loc["2000":"2002"]
    options = {"costs": [Costs(), Costs(5, 5, 5)], "progress": False}
    rules = [MeanReversion(window, enter) for window in (10, 20, 40) for enter in (-2.0, -1.0)]
    alone = sweep(bars, rules, **options)
    assert not on_the_cluster, "n_jobs=1 stays here"
    pd.testing.assert_frame_equal(sweep(bars, rules, n_jobs=-1, **options), alone)
    assert len(on_the_cluster) >= 6


def test_a_walk_forward_on_the_cluster_gives_the_same_predictions(on_the_cluster):
    bars = load_bars("GE").loc["2000":"2004"]
    X, labels = FeatureSet([LaggedReturns(3)])(bars), direction(bars)
    splitter = WalkForward(400, 200, label_end=labels["end"])
    alone = walk_forward(make_model("logistic"), X, labels, splitter)
    for jobs in (2, -1):
        found = walk_forward(make_model("logistic"), X, labels, splitter, n_jobs=jobs)
        pd.testing.assert_series_equal(found.predictions, alone.predictions, check_exact=True)
        pd.testing.assert_frame_equal(found.folds, alone.folds)
    assert len(on_the_cluster) >= 2 * len(alone.models.names)
