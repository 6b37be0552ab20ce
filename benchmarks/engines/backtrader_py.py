"""backtrader: its own Strategy, market orders at the next open, trade and Sharpe analyzers."""

import math
from collections import deque

import backtrader
import common


class MeanReversion(backtrader.Strategy):
    def __init__(self):
        self.closes, self.closed = deque(maxlen=common.WINDOW), 0

    def notify_trade(self, trade):
        self.closed += trade.isclosed

    def next(self):
        close = self.data.close[0]
        self.closes.append(close)
        if len(self.closes) < common.WINDOW:
            return
        mean = sum(self.closes) / common.WINDOW
        deviation = math.dist(self.closes, (mean,) * common.WINDOW) / math.sqrt(common.WINDOW - 1)
        score = (close - mean) / deviation
        if not self.position and score < common.ENTER:
            self.buy(size=1)
        elif self.position and score > common.EXIT:
            self.close()


def prepare(bars):
    def run():
        cerebro = backtrader.Cerebro(stdstats=False)
        cerebro.adddata(backtrader.feeds.PandasData(dataname=bars))
        cerebro.addstrategy(MeanReversion)
        cerebro.addanalyzer(backtrader.analyzers.SharpeRatio)
        cerebro.addanalyzer(backtrader.analyzers.DrawDown)
        cerebro.broker.setcash(common.CASH)
        cerebro.broker.setcommission(commission=common.COMMISSION)
        cerebro.broker.set_slippage_perc(common.SLIPPAGE, slip_open=True, slip_match=True, slip_out=True)
        return cerebro.run()[0].closed

    return run


if __name__ == "__main__":
    common.main(prepare)
