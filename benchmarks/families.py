"""How long the model families and the audit take; prints a table.

    .venv/bin/python benchmarks/families.py [--jobs 2] [--rounds 3]

Walk-forward of every default family over the last 20 years of GE's days (10 features, 10 folds) and
the audit of the same features; wall seconds, medians of interleaved rounds.
"""

import argparse
import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"  # before NumPy is imported

import statistics
import time

import pandas as pd

from mlkit import (FeatureSet, LaggedReturns, PriceToAverage, RSI, Volatility, WalkForward, audit_features, direction,
                   load_bars, make_model, walk_forward)
from mlkit.models import CATALOGUE

YEARS = 20
FEATURES = FeatureSet([LaggedReturns(5), PriceToAverage(5, 10, 20), Volatility(20), RSI(14)])


def seconds(work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="folds fitted at once (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    options = parser.parse_args()
    bars = load_bars("GE")
    bars = bars[bars.index > bars.index[-1] - pd.DateOffset(years=YEARS)]
    X, labels = FEATURES(bars), direction(bars)
    rows = int((X.notna().all(axis=1) & labels["label"].notna()).sum())
    splitter = WalkForward(rows // 3, -(-(rows - rows // 3) // 10), label_end=labels["end"])
    families = [name for name, card in CATALOGUE.items() if card.is_installed]
    walk = {name: lambda name=name: walk_forward(make_model(name), X, labels, splitter, n_jobs=options.jobs)
            for name in families}
    walk["majority"]()  # the worker processes start before the clock does
    taken = {name: [] for name in [*families, "audit"]}
    for _ in range(options.rounds):
        for name in families:
            taken[name].append(seconds(walk[name]))
        taken["audit"].append(seconds(lambda: audit_features(FEATURES, bars.iloc[-5000:])))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    print(f"{rows:,} rows, {len(FEATURES.names)} features, {splitter.get_n_splits(X[-rows:])} folds, "
          f"{options.jobs} jobs, medians of {options.rounds} rounds\n")
    print("| family | seconds |\n|---|--:|")
    for name in families:
        print(f"| {name} | {medians[name]:.2f} |")
    print(f"| all but the deep one | {sum(medians[name] for name in families if name != 'lstm'):.2f} |")
    print(f"\nThe audit of these features over {min(5000, len(bars)):,} bars: {medians['audit']:.2f} s.")


if __name__ == "__main__":
    main()
