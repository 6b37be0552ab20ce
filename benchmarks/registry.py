"""Kills processes that write to a registry, and lets several write at once; counts what was lost.

    python benchmarks/registry.py [--kills 50] [--processes 4] [--versions 25]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from mlkit import FeatureSet, LaggedReturns, make_model
from mlkit.production import ModelRegistry

FEATURES = FeatureSet([LaggedReturns(2)])


def model(family="logistic", **parameters):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 2)), columns=FEATURES.names)
    return make_model(family, **parameters).fit(table, (rng.random(300) < 0.5).astype(float))


def write(folder: str, versions: int) -> None:
    """Register and promote so many versions, and say each one's number once it is done."""
    registry, fitted = ModelRegistry(folder), model()
    for _ in range(versions):
        version = registry.register("model", fitted, features=FEATURES).version
        print(f"registered {version}", flush=True)
        registry.promote("model", version)
        print(f"promoted {version}", flush=True)


def writer(folder: str, versions: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, "--write", folder, str(versions)], stdout=subprocess.PIPE, text=True)


def said(output: str, word: str) -> list[int]:
    return [int(line.split()[1]) for line in output.splitlines() if line.startswith(word + " ") and line.split()[1].isdigit()]


def check(folder: str, promised: list[int]) -> tuple[int, int, int]:
    """(lost, repeated, unreadable) of the versions that writers said they had registered."""
    registry = ModelRegistry(folder)
    there = registry.versions("model")
    unreadable = 0
    for version in there:
        try:
            registry.load("model", version).model.predict_proba(pd.DataFrame([[0.0, 0.0]], columns=FEATURES.names))
        except ValueError:
            unreadable += 1
    if registry.champion("model") is not None:
        registry.load("model")
    return len(set(promised) - set(there)), len(promised) - len(set(promised)), unreadable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--versions", type=int, default=25)
    options = parser.parse_args()
    totals = np.zeros(3, dtype=int)
    with tempfile.TemporaryDirectory() as folder:
        promised, rng = [], random.Random(1)
        for _ in range(options.kills):
            process = writer(folder, 1_000)
            first = process.stdout.readline()  # it has begun
            time.sleep(rng.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
            promised += said(first + process.communicate()[0], "registered")
        found = check(folder, promised)
        left = sum(name.startswith(".new-") for _, folders, _ in os.walk(folder) for name in folders)
        totals += found
        print(f"{options.kills} kills, {len(promised)} versions promised, {left} unfinished folders left that nobody reads: "
              "{} lost, {} repeated, {} unreadable".format(*found))
    with tempfile.TemporaryDirectory() as folder:
        processes = [writer(folder, options.versions) for _ in range(options.processes)]
        promised = [version for each in processes for version in said(each.communicate()[0], "registered")]
        found = check(folder, promised)
        totals += found
        print(f"{options.processes} processes at once, {options.versions} versions each, {len(promised)} promised: "
              "{} lost, {} repeated, {} unreadable".format(*found))
    with tempfile.TemporaryDirectory() as folder:
        registry, forest = ModelRegistry(folder), model("random_forest", n_estimators=200)
        started = time.perf_counter()
        registry.register("forest", forest, features=FEATURES)
        written = time.perf_counter()
        registry.load("forest", 1)
        print(f"a forest of 200 trees: {written - started:.2f} s to register, {time.perf_counter() - written:.2f} s to load")
    sys.exit(int(totals.any()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2], int(sys.argv[3]))
    else:
        main()
