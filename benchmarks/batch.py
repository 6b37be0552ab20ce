"""What a batch costs beside its notebooks' own time, on this machine and on a Dask cluster, and what that says of a
larger one. Writes the table of docs/scaling.md.

    python benchmarks/batch.py                      # 40 capstones, three times: a quarter of an hour
    python benchmarks/batch.py --instruments GE,IBM --models ridge,logistic --results 1000 --print      # a look

It runs a grid in one command; again with a planted failure, killed half way and resumed; and on a scheduler with two
worker processes. Then the scheduler alone, with runs that do nothing, and `collect` over generated results.
"""

import argparse
import json
import os
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import nbformat
import pandas as pd
import psutil

from mlkit.batch import collect, run_grid
from mlkit.batch.folder import open_folder
from mlkit.batch.grid import job_of
from mlkit.batch.page import write_pages
from mlkit.batch.plan import make_plan
from mlkit.batch.task import find_records
from mlkit.notebooks import execute

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
PLANTED = 'assert ({names}) != {values!r}, "planted"'


def command(notebook: Path, grid: dict, out: Path, *more) -> list[str]:
    given = [word for name, values in grid.items() for word in ("-p", f"{name}={','.join(map(str, values))}")]
    return [sys.executable, "-m", "mlkit", "batch", str(notebook), *given, "--out", str(out), *more]


def cell_seconds(folder: Path) -> float:
    """What all cells of all executed notebooks of a folder took, as papermill timed them one by one."""
    return sum(cell["metadata"].get("papermill", {}).get("duration") or 0.0 for path in folder.glob("*.ipynb")
               for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def megabytes(notebook: Path, folder: Path) -> float:
    """The most memory that one run's kernel held."""
    outcome = execute(notebook, folder / "ran.ipynb")
    assert not outcome.failed, outcome.describe()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def kernel_seconds(folder: Path) -> float:
    """What a notebook that does nothing takes, two of them at once: its kernel's start and end."""
    empty = folder / "empty.ipynb"
    cell = nbformat.v4.new_code_cell("a = 0", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), empty)
    table = run_grid(empty, {"a": range(20)}, folder / "empty", workers=2, pages=False, progress=False)
    return table["duration"].median()


def last_wait(folder: Path) -> float:
    """Seconds that one of two workers had nothing left to do while the other was at its last run."""
    records = find_records(open_folder(folder), [path.name for path in folder.glob("*.ipynb")]).values()
    *_, one, other = sorted(datetime.fromisoformat(record["started"]).timestamp() + record["duration"]
                            for record in records)
    return other - one


def of_a_run(wall: float, folder: Path, count: int, kernel: float, at_once: int = 2) -> dict:
    """The overhead of a batch: the seconds of its workers that were neither cells nor kernels' starts."""
    work = cell_seconds(folder)
    overhead = at_once * wall - work - count * kernel
    return {"wall": wall, "work": work, "overhead a run": overhead / count, "share": overhead / work,
            "wait": last_wait(folder)}


def in_one_command(notebook: Path, grid: dict, out: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command(notebook, grid, out, "--workers", "2"), check=True)
    return time.perf_counter() - begun


def killed_and_resumed(notebook: Path, grid: dict, home: Path, count: int) -> dict:
    """A planted failure in the last combination; SIGKILL once half of the runs have finished; the command again."""
    planted, out = home / "planted" / notebook.name, home / "resumed"
    last = tuple(values[-1] for values in grid.values())
    content = nbformat.read(notebook, as_version=4)
    content.cells.insert(-1, nbformat.v4.new_code_cell(PLANTED.format(names=", ".join(grid), values=last)))
    planted.parent.mkdir()
    nbformat.write(content, planted)
    parent = subprocess.Popen(command(planted, grid, out, "--workers", "2"))
    while not out.exists() or len(list(out.glob("*.ipynb"))) < count // 2:
        time.sleep(0.1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(3)
    kept = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.ipynb")}
    status = subprocess.run(command(planted, grid, out, "--workers", "2")).returncode
    table = collect(out)
    again = sum((path.stat().st_ino, path.stat().st_mtime_ns) != stamp for path, stamp in kept.items())
    return {"finished at the kill": len(kept), "rows": len(table), "ok": int((table["status"] == "ok").sum()),
            "failed": int((table["status"] == "failed").sum()), "of those run again": again, "exit status": status}


@contextmanager
def cluster(home: Path, threads: int = 1):
    """(address of a scheduler with two worker processes of so many threads, the scheduler's process)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(home / "dask.log", "w") as log:
        def dask(which: str, *arguments) -> subprocess.Popen:
            module = f"distributed.cli.dask_{which}"
            return subprocess.Popen([sys.executable, "-m", module, *arguments, "--no-dashboard"], cwd=home,
                                    stdout=log, stderr=log)

        scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", str(port))
        workers = [dask("worker", f"tcp://127.0.0.1:{port}", "--nthreads", str(threads)) for _ in range(2)]
        try:
            from distributed import Client

            with Client(f"tcp://127.0.0.1:{port}", timeout=30, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=30)
            yield f"tcp://127.0.0.1:{port}", psutil.Process(scheduler.pid)
        finally:
            for process in [*workers, scheduler]:
                process.terminate()
                process.wait()


def nothing(job, run):
    """A run that does nothing, and answers as a run does."""
    results = [{"name": f"result_{number}", "value": number / 7} for number in range(30)]
    return {"identity": run.identity, "batch": job.batch, "status": "ok", "file": run.name, "parameters": [],
            "results": results}


def two_seconds(job, run):
    time.sleep(2)
    return nothing(job, run)


def crowd(notebook: Path, home: Path, at_once: int = 200, each: int = 10) -> dict:
    """So many runs at once, of two seconds that do nothing: seconds in all, and what they would be without a cost."""
    import mlkit.batch.cluster as batches

    with cluster(home, at_once // 2) as (address, _):
        plan = make_plan(notebook, {"seed": range(at_once * each)})
        batches.perform = two_seconds
        engine = batches.Cluster(address)
        with engine.started(plan.code):
            begun = time.perf_counter()
            done = sum(1 for _ in engine.run(job_of(plan, open_folder(home / "none"), timeout=1.0), list(plan)))
            wall = time.perf_counter() - begun
    assert done == at_once * each
    return {"runs": done, "wall": wall, "ideal": 2.0 * each}


def scheduling(notebook: Path, address: str, scheduler: psutil.Process, home: Path, count: int) -> dict:
    """Milliseconds a run of the scheduler's process, of the client's, and in all; bytes shipped a run."""
    import mlkit.batch.cluster as batches

    seeds = {"seed": range(count)}
    begun = time.perf_counter()
    plan = make_plan(notebook, seeds)
    runs = list(plan)
    planned = time.perf_counter() - begun
    job = job_of(plan, open_folder(home / "none"), timeout=1.0)
    batches.perform = nothing
    engine = batches.Cluster(address)
    with engine.started(plan.code):
        begun, busy, own = time.perf_counter(), sum(scheduler.cpu_times()[:2]), time.process_time()
        done = sum(1 for _ in engine.run(job, runs))
        wall = time.perf_counter() - begun
        busy, own = sum(scheduler.cpu_times()[:2]) - busy, time.process_time() - own
    assert done == count
    return {"in all": 1e3 * wall / count, "scheduler": 1e3 * busy / count, "client": 1e3 * own / count,
            "bytes": len(pickle.dumps((job, runs[-1]))), "plan": 1e3 * planned / count,
            "source": len(zlib.decompress(job.text))}


def collecting(executed: Path, home: Path, count: int) -> dict:
    """Seconds that `collect` takes for copies of an executed notebook, each with its own record; and for its page."""
    content = json.loads(executed.read_text(encoding="utf-8"))
    record = content["metadata"].pop("mlkit")
    folder = home / "generated"
    folder.mkdir()
    head = json.dumps({**content, "metadata": {**content["metadata"], "mlkit": None}}, indent=1, ensure_ascii=False)
    head = head[:head.rindex("null")]
    for number in range(count):
        entries = [entry | {"value": entry["value"] * (1 + 1e-6 * number)} if isinstance(entry["value"], float)
                   else entry for entry in record["results"]]
        parameters = [entry | {"value": number} if entry["name"] == "seed" else entry for entry in record["parameters"]]
        own = record | {"results": entries, "parameters": parameters, "file": f"run_{number:06d}.ipynb"}
        path = folder / own["file"]
        path.write_text(f"{head}{json.dumps(own, ensure_ascii=False)}\n }}\n}}\n", encoding="utf-8")
        forget(path)
    begun = time.perf_counter()
    table = collect(folder)
    cold = time.perf_counter() - begun
    assert len(table) == count and table["seed"].is_unique and (table["status"] == "ok").all()
    begun = time.perf_counter()
    collect(folder)
    warm = time.perf_counter() - begun
    begun, some = time.perf_counter(), sorted(folder.glob("*.ipynb"))[:200]
    for path in some:
        json.loads(path.read_bytes())
    whole = (time.perf_counter() - begun) / len(some) * count
    plan = make_plan(ROOT / "notebooks" / record["notebook"], {"seed": range(count)})
    begun = time.perf_counter()
    write_pages(open_folder(home), plan, table, False)
    page = time.perf_counter() - begun
    size = path.stat().st_size
    shutil.rmtree(folder)
    return {"cold": cold, "warm": warm, "whole": whole, "page": page, "size": size}


def forget(path: Path) -> None:
    """Let the system forget a file's content, so that reading it again is reading the disk."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plan_of(runs: int, workers: int, seconds: float, overhead: float, scheduler_ms: float, collect_seconds: float,
            megabytes: float) -> dict:
    """What measured costs say of a larger batch, if a worker elsewhere is a core such as here."""
    rate = workers / (seconds + overhead)
    return {"hours": runs / rate / 3600, "busy": rate * scheduler_ms / 1e3, "a second": rate,
            "most workers": (seconds + overhead) / (scheduler_ms / 1e3), "collect": collect_seconds * runs,
            "gigabytes": runs * megabytes / 1e3}


def overhead(found: dict) -> str:
    return (f"{found['overhead a run']:.2f} s a run, {found['share']:.1%} of the cells' time "
            f"({found['wait']:.0f} s in all is one worker's wait for the other's last run)")


def report(found: dict, options) -> str:
    here, there, kernel, count = found["here"], found["there"], found["kernel"], found["count"]
    cost, read, killed, many = found["scheduling"], found["collecting"], found["killed"], found["crowd"]
    own = here["work"] / count
    larger = plan_of(100_000, 200, own + kernel, there["overhead a run"], max(cost["scheduler"], cost["client"]),
                     read["cold"] / options.results, read["size"] / 1e6)
    rows = [
        (f"{count} runs of {options.notebook.stem}, 2 workers: wall", f"{here['wall']:,.0f} s"),
        ("their cells' own time, in all", f"{here['work']:,.0f} s"),
        ("a kernel's start and end, two at once", f"{kernel:.2f} s"),
        ("memory of a run's kernel, at most", f"{found['megabytes']:,.0f} MB"),
        ("overhead beyond one kernel start a run", overhead(here)),
        ("the same on a scheduler and two worker processes: wall", f"{there['wall']:,.0f} s"),
        ("overhead there", overhead(there)),
        ("its table beside that of one machine", "the same" if found["same"] else "DIFFERENT"),
        ("SIGKILL half way, a failure planted: finished at the kill", f"{killed['finished at the kill']}"),
        ("resumed: rows, ok, failed, exit status", "{rows}, {ok}, {failed}, {exit status}".format(**killed)),
        ("finished before and run again", f"{killed['of those run again']}"),
        ("shipped a run", f"{cost['bytes'] / 1e3:,.1f} kB (the notebook's source is {cost['source'] / 1e3:,.0f} kB)"),
        (f"scheduling, {options.tasks:,} runs that do nothing: in all", f"{cost['in all']:.2f} ms a run"),
        ("of that the scheduler's process", f"{cost['scheduler']:.2f} ms a run"),
        ("of that the process that asked", f"{cost['client']:.2f} ms a run"),
        (f"{many['runs']:,} runs of 2 s that do nothing, 200 at once: wall",
         f"{many['wall']:.1f} s ({many['ideal']:.0f} s without any cost)"),
        ("making names and identities", f"{cost['plan']:.3f} ms a run"),
        (f"collecting {options.results:,} results of {read['size'] / 1e6:.2f} MB, from the disk",
         f"{read['cold']:.1f} s"),
        ("the same, in the system's memory", f"{read['warm']:.1f} s"),
        ("if each notebook were parsed whole", f"{read['whole']:,.0f} s"),
        ("its page and table.csv", f"{read['page']:.1f} s"),
        ("**100,000 runs on 200 workers, computed**", f"**{larger['hours']:.1f} hours**"),
        ("runs a second that end", f"{larger['a second']:.1f}"),
        ("of one core, the busier of scheduler and asker", f"{larger['busy']:.1%}"),
        ("workers at which that core is full", f"{larger['most workers']:,.0f}"),
        ("collecting them", f"{larger['collect']:,.0f} s"),
        ("on the disk, without pages", f"{larger['gigabytes']:,.0f} GB")]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (f"Measured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, {options.notebook.stem} with "
            f"{found['grid']}.\n\n| what | measured |\n|---|--:|\n{lines}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notebook", type=Path, default=ROOT / "notebooks" / "11_capstone.ipynb")
    parser.add_argument("--instruments", default="GE,IBM,AAPL,BA,CAT,F,MSFT,EURUSD,USDJPY,BRENT")
    parser.add_argument("--models", default="logistic,ridge,random_forest,xgboost")
    parser.add_argument("--results", type=int, default=10_000, help="generated for collect")
    parser.add_argument("--tasks", type=int, default=10_000, help="that do nothing, for the scheduler")
    parser.add_argument("--print", action="store_true", help="print the table and leave docs/scaling.md alone")
    options = parser.parse_args()
    grid = {"symbol": options.instruments.split(","), "model": options.models.split(",")}
    found = {"count": len(grid["symbol"]) * len(grid["model"]), "grid": f"{len(grid['symbol'])} instruments and "
             f"{len(grid['model'])} models"}
    with tempfile.TemporaryDirectory(prefix="mlkit-") as folder:
        home = Path(folder)
        found["kernel"], found["megabytes"] = kernel_seconds(home), megabytes(options.notebook, home)
        wall = in_one_command(options.notebook, grid, home / "here")
        found["here"] = of_a_run(wall, home / "here", found["count"], found["kernel"])
        with cluster(home) as (address, scheduler):
            begun = time.perf_counter()
            subprocess.run(command(options.notebook, grid, home / "there", "--scheduler", address), check=True)
            found["there"] = of_a_run(time.perf_counter() - begun, home / "there", found["count"], found["kernel"])
            found["scheduling"] = scheduling(options.notebook, address, scheduler, home, options.tasks)
        found["crowd"] = crowd(options.notebook, home)
        one, other = (collect(home / name).drop(columns="duration") for name in ("here", "there"))
        found["same"] = one.equals(other)
        found["killed"] = killed_and_resumed(options.notebook, grid, home, found["count"])
        found["collecting"] = collecting(next((home / "here").glob("*.ipynb")), home, options.results)
    text = report(found, options)
    print(text)
    if not options.print:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    pd.set_option("display.width", 120)
    main()
