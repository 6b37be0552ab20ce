"""backtesting.py: its own Strategy, indicators computed at once, statistics as it reports them."""

import common
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting import backtesting as module

module._tqdm = lambda iterable, **_: iterable  # a progress bar is not what is measured


def z_score(close):
    close = pd.Series(close)
    rolling = close.rolling(common.WINDOW)
    return (close - rolling.mean()) / rolling.std(ddof=1)


class MeanReversion(Strategy):
    def init(self):
        self.z = self.I(z_score, self.data.Close)

    def next(self):
        if not self.position and self.z[-1] < common.ENTER:
            self.buy(size=1)
        elif self.position and self.z[-1] > common.EXIT:
            self.position.close()


def prepare(bars):
    def run():
        backtest = Backtest(bars, MeanReversion, cash=common.CASH, commission=common.COMMISSION,
                            spread=common.SLIPPAGE, finalize_trades=False)
        return backtest.run()["# Trades"]

    return run


if __name__ == "__main__":
    common.main(prepare)
