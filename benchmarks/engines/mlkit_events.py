"""mlkit's event loop: one event a bar through `handle_market`."""

import common

from mlkit.engine import Costs, FixedQuantity, MeanReversion, RealisticExecutionHandler, backtest


class BarByBar(MeanReversion):
    """The rule as a learner would write it: `decide`, which says all decisions at once, is not used."""

    decide = None
    handle_market = MeanReversion.handle_market


def prepare(bars):
    bars = bars.rename(columns=str.lower)
    options = {"execution": RealisticExecutionHandler(Costs(0, 5, 5)), "sizer": FixedQuantity(1), "cash": common.CASH}

    def run():
        result = backtest(bars, BarByBar(common.WINDOW), engine="events", **options)
        return result.metrics["n_trades"]

    return run


if __name__ == "__main__":
    common.main(prepare)
