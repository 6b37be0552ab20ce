"""Six sizes on ten instruments at eight levels of cost, in one sweep: how long it takes.

    python benchmarks/sizes.py
"""

from time import perf_counter

import numpy as np
from sklearn.linear_model import LinearRegression

from mlkit import (Confidence, Costs, FixedFraction, FixedQuantity, Kelly, MeanReversion, ModelSize, VolatilityTarget,
                   load_bars, sweep)

SYMBOLS = ["AAPL", "BA", "CAT", "DELL", "EBAY", "F", "GE", "GOOG", "IBM", "MSFT"]
COSTS = [Costs(bps, 0.0, 0.0) for bps in (0, 0.5, 1, 2, 3, 5, 10, 20)]


def main() -> None:
    tables = load_bars(SYMBOLS)
    state = np.random.default_rng(0).random((200, 4))
    sizers = {"fraction": FixedFraction(1.0), "quantity": FixedQuantity(10.0), "volatility": VolatilityTarget(0.15),
              "confidence": Confidence(), "half Kelly": Kelly(0.5, mean=3e-4, variance=4e-4),
              "model": ModelSize(LinearRegression().fit(state, state.mean(axis=1)))}
    for jobs in (1, 2):
        took = []
        for _ in range(3):
            started = perf_counter()
            table = sweep(tables, [MeanReversion()], costs=COSTS, sizers=sizers, apart=True, n_jobs=jobs, progress=False)
            took.append(perf_counter() - started)
        print(f"{len(table)} backtests over {sum(map(len, tables.values())):,} bars, {table['n_trades'].sum():,.0f} trades, "
              f"{jobs} process{'es' if jobs > 1 else ''}: median {np.median(took):.2f} s of {', '.join(f'{t:.2f}' for t in took)}")


if __name__ == "__main__":
    main()
