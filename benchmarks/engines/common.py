"""What every engine is given and must report: the same bars, the same rule, one JSON line.

An engine file defines `prepare(bars)`, which may turn the bars into what its engine
likes to read (not timed), and gives a function that runs one backtest with statistics
and returns the number of closed trades (timed, CPU seconds of this process).
"""

import json
import resource
import sys
import time

import numpy as np
import pandas as pd

WINDOW, ENTER, EXIT = 20, -1.0, 0.0  # z-score of the close, sample standard deviation
COMMISSION, SLIPPAGE = 5e-4, 5e-4
CASH = 10_000_000.0


def bars(n: int, seed: int = 1) -> pd.DataFrame:
    """A random walk with gaps, reflected to stay between 37 and 272: minute bars, Open High Low Close Volume."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.002, n))
    close = 100 * np.exp(np.abs((walk + 1) % 4 - 2) - 1)
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 0.0005, n))
    spread = np.exp(np.abs(rng.normal(0, 0.001, (2, n))))
    index = pd.date_range("1980-01-01", periods=n, freq="min", name="timestamp")
    return pd.DataFrame({"Open": open_, "High": np.maximum(open_, close) * spread[0],
                         "Low": np.minimum(open_, close) / spread[1], "Close": close,
                         "Volume": rng.lognormal(14, 0.5, n)}, index=index)


def forget_peak() -> float:
    """Start the process's memory peak anew (Linux); gives the memory in use now, MB."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # elsewhere the peak so far counts too
    return peak_mb()


def peak_mb() -> float:
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(prepare) -> None:
    """`python ENGINE.py N_BARS REPEATS` prints one JSON line."""
    n, repeats = int(sys.argv[1]), int(sys.argv[2])
    table = bars(n)
    run = prepare(table)
    seconds, wall, trades = [], [], None
    before = forget_peak()
    for _ in range(repeats):
        started, clock = time.process_time(), time.perf_counter()
        trades = run()
        seconds.append(time.process_time() - started)
        wall.append(time.perf_counter() - clock)
    print(json.dumps({"n_bars": n, "first": wall[0], "seconds": seconds, "trades": int(trades),
                      "added_mb": peak_mb() - before}))
