"""bt: target weights from the same rule. It trades at the bar it is told on, so the bars it is given are opens."""

import bt
import common
import numpy as np
import pandas as pd


def prepare(bars):
    def run():
        rolling = bars["Close"].rolling(common.WINDOW)
        score = ((bars["Close"] - rolling.mean()) / rolling.std(ddof=1)).to_numpy()
        said = np.where(score < common.ENTER, 1.0, np.where(score > common.EXIT, 0.0, np.nan))
        held = pd.Series(said, bars.index).ffill().fillna(0.0).shift(1, fill_value=0.0)
        changed = held[held.diff().fillna(0.0) != 0]
        units = pd.DataFrame({"asset": changed.diff().fillna(changed)})
        strategy = bt.Strategy("mean reversion", [Trade(units)], [bt.Security("asset")])
        backtest = bt.Backtest(strategy, bars[["Open"]].set_axis(["asset"], axis=1), initial_capital=common.CASH,
                               commissions=lambda quantity, price: abs(quantity) * price * (common.COMMISSION + common.SLIPPAGE),
                               integer_positions=False, progress_bar=False)
        bt.run(backtest)  # its statistics are made here
        return int((backtest.strategy.get_transactions()["quantity"] < 0).sum())

    return run


class Trade(bt.Algo):
    """Transact the given units on their days."""

    def __init__(self, units):
        super().__init__()
        self.units = units["asset"].to_dict()

    def __call__(self, target):
        units = self.units.get(target.now)
        if units:
            target.children["asset"].transact(units)
        return True


if __name__ == "__main__":
    common.main(prepare)
