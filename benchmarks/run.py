"""Measure mlkit beside the engines people would use instead; print and write one table.

    make bench                               # or: .venv/bin/python benchmarks/run.py
    .venv/bin/python benchmarks/run.py --sizes 100000 --engines mlkit_bar_by_bar backtesting_py --no-write

Each peer gets an environment of its own under .bench/. Same bars, same rule, costs on,
statistics on both sides (benchmarks/engines/common.py says which); the engines take
turns in every round, each run is a process of its own, figures are CPU seconds, the
best of the repeats of a run and the median over rounds. Closed trades are printed side
by side: they must agree. The table goes into benchmarks/README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".bench"
ENGINES = {  # name: (title, requirement of its own environment; None = mlkit's, largest number of bars)
    "mlkit_replay": ("mlkit, replay", None, 10_000_000),
    "mlkit_bar_by_bar": ("mlkit, event loop, `handle_market` a bar", None, 1_000_000),
    "mlkit_events": ("mlkit, event loop, `decide` at once", None, 1_000_000),
    "backtesting_py": ("backtesting.py 0.6.6", ["backtesting==0.6.6"], 1_000_000),
    "vectorbt_py": ("vectorbt 1.2.0", ["vectorbt==1.2.0"], 1_000_000),
    "backtrader_py": ("backtrader 1.9.78.123", ["backtrader==1.9.78.123", "pandas==3.1.1"], 100_000),
    "bt_py": ("bt 1.4.1", ["bt==1.4.1"], 100_000),
}
SWEEPS = {  # the 1,000 combinations of engines/grid.py over 2,500 bars
    "mlkit_sweep": ("mlkit, `sweep`, every metric and the order hash", "mlkit_replay"),
    "vectorbt_sweep": ("vectorbt 1.2.0, one portfolio, Sharpe ratio only", "vectorbt_py"),
}
START, END = "<!-- engines -->", "<!-- /engines -->"


def python_of(engine: str) -> Path:
    """The interpreter for an engine, its environment made when there is none."""
    requirements = ENGINES[engine][1]
    if requirements is None:
        return Path(sys.executable)
    home = ENVIRONMENTS / engine
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (home / ".ready").exists():
        print(f"installing {', '.join(requirements)} into {home.relative_to(HERE.parent)} ...", flush=True)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", *requirements], check=True)
        (home / ".ready").touch()
    return python


def measure(script: str, engine: str, n_bars: int, repeats: int, *more: str) -> dict:
    """One process of one script in an engine's environment: its JSON line."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    done = subprocess.run([python_of(engine), HERE / "engines" / f"{script}.py", str(n_bars), str(repeats), *more],
                          capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{script} failed at {n_bars} bars:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_all(engines: list[str], sizes: list[int], rounds: int, repeats: int) -> list[dict]:
    rows = []
    for n_bars in sizes:
        due = [engine for engine in engines if n_bars <= ENGINES[engine][2]]
        runs = {engine: [] for engine in due}
        for number in range(rounds):
            for engine in due:
                print(f"{n_bars:>9,} bars, round {number + 1} of {rounds}: {ENGINES[engine][0]}", flush=True)
                runs[engine].append(measure(engine, engine, n_bars, repeats))
        for engine, lines in runs.items():
            seconds = statistics.median(min(line["seconds"]) for line in lines)
            rows.append({"engine": engine, "n_bars": n_bars, "bars_per_second": n_bars / seconds,
                         "first": statistics.median(line["first"] for line in lines),
                         "added_mb": statistics.median(line["added_mb"] for line in lines),
                         "trades": lines[0]["trades"]})
    return rows


def measure_sweeps(rounds: int, repeats: int) -> str:
    """The table of sweeps."""
    runs = {script: [] for script in SWEEPS}
    for number in range(rounds):
        for script, (title, engine) in SWEEPS.items():
            print(f"1,000 combinations, round {number + 1} of {rounds}: {title}", flush=True)
            runs[script].append(measure(script, engine, 2_500, repeats))
    lines = ["| 1,000 combinations on 2,500 bars | seconds | first call, s | memory added, MB | closed trades |",
             "|---|--:|--:|--:|--:|"]
    for script, found in runs.items():
        seconds = statistics.median(min(line["seconds"]) for line in found)
        first, added = (statistics.median(line[name] for line in found) for name in ("first", "added_mb"))
        lines.append(f"| {SWEEPS[script][0]} | {seconds:.3f} | {first:.2f} | {added:.0f} | {found[0]['trades']:,} |")
    return "\n".join(lines)


def measure_model(rounds: int) -> str:
    """A fitted model end to end: in one batch, and bar by bar."""
    batch = [measure("mlkit_ml", "mlkit_replay", 100_000, 3) for _ in range(rounds)]
    rows = [measure("mlkit_ml", "mlkit_replay", 1_000, 1, "row") for _ in range(rounds)]
    batch, row = (statistics.median(min(line["seconds"]) / line["n_bars"] for line in found) for found in (batch, rows))
    return (f"A fitted logistic regression on seven features, end to end: {batch * 1e5:.3f} s for 100,000 bars in one batch "
            f"({batch * 1e6:.2f} microseconds a bar); row by row, {row * 1e6:,.0f} microseconds a bar, {row / batch:,.0f} times as long.")


def table(rows: list[dict]) -> str:
    lines = ["| bars | engine | bars/s | first call, s | memory added, MB | closed trades |", "|--:|---|--:|--:|--:|--:|"]
    for row in rows:
        lines.append(f"| {row['n_bars']:,} | {ENGINES[row['engine']][0]} | {row['bars_per_second']:,.0f} | "
                     f"{row['first']:.3f} | {row['added_mb']:.0f} | {row['trades']:,} |")
    return "\n".join(lines)


def write(text: str, rounds: int) -> None:
    """Put the table between its marks in benchmarks/README.md."""
    page = HERE / "README.md"
    whole = page.read_text(encoding="utf-8")
    before, after = whole.split(START)[0], whole.split(END)[1]
    stamp = f"Measured {date.today()}, one core, medians of {rounds} interleaved rounds."
    page.write_text(f"{before}{START}\n{stamp}\n\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_500, 100_000, 1_000_000, 10_000_000], metavar="BARS")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="runs in one process; the best counts")
    parser.add_argument("--no-write", action="store_true", help="print only")
    given = parser.parse_args()
    rows = measure_all(given.engines, given.sizes, given.rounds, given.repeats)
    text = table(rows)
    if given.engines == list(ENGINES):
        text = "\n\n".join([text, measure_sweeps(given.rounds, given.repeats), measure_model(given.rounds)])
    print("\n" + text)
    for n_bars in given.sizes:
        if len({row["trades"] for row in rows if row["n_bars"] == n_bars}) > 1:
            raise SystemExit(f"the engines disagree on the number of trades over {n_bars:,} bars: not comparable")
    if not given.no_write:
        write(text, given.rounds)
        print(f"written to {(HERE / 'README.md').relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
