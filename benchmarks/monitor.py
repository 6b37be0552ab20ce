"""How many bars a second the monitor takes, how often its alarms are false and how late they are.

    python benchmarks/monitor.py [--runs 200]
"""

import argparse
from time import perf_counter

import numpy as np
import pandas as pd

from mlkit.production import Monitor, Reference

BARS, FEATURES, YEARS = 50_000, 10, 10_000


def world(rng, n, hit=0.56, scale=1.0, drift=0.0004):
    """Features, probabilities, labels and profits of a model that is right `hit` of the time."""
    p = np.where(rng.random(n) < 0.5, 0.56, 0.44)
    y = (rng.random(n) < np.where(p > 0.5, hit, 1 - hit)).astype(float)
    columns = [f"feature {number}" for number in range(FEATURES)]
    return pd.DataFrame(scale * rng.normal(size=(n, FEATURES)), columns=columns), p, y, rng.normal(drift, 0.01 * scale, n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of each kind (default 200)")
    runs = parser.parse_args().runs
    rng, days = np.random.default_rng(0), pd.date_range("2000-01-01", periods=BARS, freq="h")
    monitor = Monitor(Reference(*world(rng, 20_000)))
    X, p, y, r = world(rng, BARS)
    started = perf_counter()
    monitor.update_many(days, features=X, prediction=p, label=y, profit=r)
    took = perf_counter() - started
    print(f"{BARS:,} bars with {FEATURES} features: {BARS / took:,.0f} bars a second in a row")
    rows, later = X.to_numpy(), list(days + (days[-1] - days[0]) + pd.Timedelta(hours=1))
    started = perf_counter()
    for at in range(10_000):
        monitor.update(later[at], features=rows[at], prediction=p[at], label=y[at], profit=r[at])
    print(f"one at a time: {10_000 / (perf_counter() - started):,.0f} bars a second")
    changes = {"nothing": {}, "hit rate 56 % to 48 %": {"hit": 0.48}, "volatility doubled": {"scale": 2.0},
               "profit a tenth of a deviation less": {"drift": 0.0004 - 0.001}}
    for change, options in changes.items():
        alarms, delays = dict.fromkeys(monitor.sums, 0), {name: [] for name in monitor.sums}
        n = YEARS if change == "nothing" else 500
        for _ in range(runs):
            _, p, y, r = world(rng, n, **options)
            values = monitor._scores(p, y) | {"profit": (monitor.mean - r) / monitor.deviation}
            for name, detector in monitor.sums.items():
                first = detector.first_alarm(values[name])
                delays[name].append(np.inf if first is None else first)
                if change == "nothing":
                    detector.level = 0.0
                    alarms[name] += len(detector.update_many(values[name]))
        for name in monitor.sums:
            if change == "nothing":
                print(f"nothing changes, {name}: a false alarm in {runs * n / max(alarms[name], 1):,.0f} bars "
                      f"(stated: {monitor.run_length:,.0f})")
            else:
                found = np.isfinite(delays[name])
                print(f"{change}, {name}: found within {n} bars in {found.mean():.0%} of {runs} runs, median delay "
                      f"{np.median(delays[name]):,.0f} bars")


if __name__ == "__main__":
    main()
