"""mlkit's event loop with a strategy that says its decisions at once."""

import common

from mlkit.engine import Costs, FixedQuantity, MeanReversion, RealisticExecutionHandler, backtest


def preparing(strategy, engine):
    """The `prepare` that `common.main` wants."""
    options = {"execution": RealisticExecutionHandler(Costs(0, 5, 5)), "sizer": FixedQuantity(1), "cash": common.CASH,
               "engine": engine}

    def prepare(bars):
        bars = bars.rename(columns=str.lower)
        return lambda: backtest(bars, strategy, **options).metrics["n_trades"]

    return prepare


if __name__ == "__main__":
    common.main(preparing(MeanReversion(common.WINDOW), engine="events"))
