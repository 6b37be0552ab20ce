"""vectorbt: signals from a rolling z-score, `Portfolio.from_signals` at the next open, its statistics."""

import common
import vectorbt as vbt


def prepare(bars):
    def run():
        rolling = bars["Close"].rolling(common.WINDOW)
        score = (bars["Close"] - rolling.mean()) / rolling.std(ddof=1)
        entries = (score < common.ENTER).shift(1, fill_value=False)  # decided at the close, filled at the next open
        exits = (score > common.EXIT).shift(1, fill_value=False)
        portfolio = vbt.Portfolio.from_signals(
            bars["Close"], entries, exits, price=bars["Open"], size=1, fees=common.COMMISSION,
            slippage=common.SLIPPAGE, init_cash=common.CASH, freq="1min")
        portfolio.stats(silence_warnings=True)
        return portfolio.trades.closed.count()

    return run


if __name__ == "__main__":
    common.main(prepare)
