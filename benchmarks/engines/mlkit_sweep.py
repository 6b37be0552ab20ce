"""mlkit: `sweep` over the same combinations, every metric and the order hash of each."""

import common
import grid

from mlkit.engine import Costs, FixedQuantity, MeanReversion, sweep


def prepare(bars):
    bars = bars.rename(columns=str.lower)
    strategies = [MeanReversion(*combination) for combination in grid.COMBINATIONS]

    def run():
        table = sweep(bars, strategies, costs=Costs(0, 5, 5), sizer=FixedQuantity(1), cash=common.CASH, progress=False)
        return table["n_trades"].sum()

    return run


if __name__ == "__main__":
    common.main(prepare)
