"""vectorbt: all combinations as columns of one portfolio, Sharpe ratio of each."""

import common
import grid
import pandas as pd
import vectorbt as vbt


def prepare(bars):
    close = bars["Close"]

    def run():
        scores = {window: (close - close.rolling(window).mean()) / close.rolling(window).std(ddof=1)
                  for window in grid.WINDOWS}
        entries = pd.concat({c: (scores[c[0]] < c[1]).shift(1, fill_value=False) for c in grid.COMBINATIONS}, axis=1)
        exits = pd.concat({c: (scores[c[0]] > c[2]).shift(1, fill_value=False) for c in grid.COMBINATIONS}, axis=1)
        portfolio = vbt.Portfolio.from_signals(close, entries, exits, price=bars["Open"], size=1, fees=common.COMMISSION,
                                               slippage=common.SLIPPAGE, init_cash=common.CASH, freq="1min")
        portfolio.sharpe_ratio()
        return portfolio.trades.closed.count().sum()

    return run


if __name__ == "__main__":
    common.main(prepare)
