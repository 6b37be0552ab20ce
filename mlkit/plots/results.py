"""Pictures of a market and of what a backtest made of it: price, equity, drawdown, trades."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd

from mlkit.plots.style import BLUE, CYCLE, GREY, ORANGE, Plot, figure, log_scale


def plot_result(result, benchmark=None) -> Plot:
    """Equity and drawdown (with a benchmark's), and the trades on the price."""
    fig, (top, middle, bottom) = figure(3, [2.2, 1.0, 1.6], (8.0, 6.4))
    lines = {result.name: result}
    if benchmark is not None:
        lines[benchmark.name if benchmark.name != result.name else f"benchmark: {benchmark.name}"] = benchmark
    _equity_lines(top, lines)
    total = result.metrics["total_return"]
    top.set_title(f"{result.name}: {total:+.0%} after costs, deepest drawdown "
                  f"{result.metrics['max_drawdown']:.0%}", loc="left")
    _drawdowns(middle, lines)
    _trades_on_price(bottom, result)
    bottom.set_xlabel("date")
    return fig


def plot_trades(result) -> Plot:
    """The close of the instrument traded most, and every purchase and sale of it."""
    fig, (axis,) = figure()
    symbol, buys, sells = _trades_on_price(axis, result)
    axis.set_xlabel("date")
    axis.set_title(f"{result.name} bought {symbol} {buys} times and sold it {sells} times", loc="left")
    return fig


def plot_price(bars: pd.DataFrame, title: str, split=None) -> Plot:
    """Closes on a logarithmic scale, and the day from which nothing has been seen yet."""
    fig, (axis,) = figure(size=(8.0, 3.0))
    close = bars["close"]
    axis.plot(close.index, close.to_numpy(), color=BLUE, linewidth=0.9)
    log_scale(axis)
    if split is not None:
        split = pd.Timestamp(split)
        axis.axvspan(split, close.index[-1], color=ORANGE, alpha=0.15, linewidth=0)
        axis.text(split, 0.03, "  not seen in training", transform=axis.get_xaxis_transform(), color="black")
    axis.set(xlabel="date", ylabel=f"{bars.attrs.get('symbol', 'close')}, adjusted price (log scale)")
    axis.set_title(title, loc="left")
    return fig


def plot_equity(results: dict, title: str) -> Plot:
    """Equity curves of several results (name -> BacktestResult) on a logarithmic scale."""
    fig, (axis,) = figure()
    _equity_lines(axis, results)
    axis.set_title(title, loc="left")
    axis.set_xlabel("date")
    return fig


def _equity_lines(axis, results: dict) -> None:
    for (name, result), (colour, style) in zip(results.items(), cycle(CYCLE)):
        axis.plot(result.equity.index, result.equity.to_numpy(), color=colour, linestyle=style, linewidth=1.2,
                  label=name)
    if all((result.equity > 0).all() for result in results.values()):
        log_scale(axis)
    axis.set_ylabel("equity, account currency" + " (log scale)" * (axis.get_yscale() == "log"))
    if len(results) > 1:
        axis.legend(frameon=False, loc="upper left")


def _drawdowns(axis, results: dict) -> None:
    """How far each result is below its own peak; the first is shaded."""
    for (name, result), (colour, style) in zip(results.items(), cycle(CYCLE)):
        below = 100 * (result.equity / np.maximum(result.equity.cummax(), result.cash) - 1.0)
        axis.plot(below.index, below.to_numpy(), color=colour, linestyle=style, linewidth=0.9, label=name)
    first = axis.lines[0]
    axis.fill_between(first.get_xdata(), first.get_ydata(), 0.0, color=BLUE, alpha=0.25, linewidth=0)
    axis.set_ylabel("drawdown, %")


def _trades_on_price(axis, result) -> tuple[str, int, int]:
    """The instrument traded most, its close, and every fill in it; its name, and the numbers of buys and sells."""
    fills = result.fills
    symbol = fills["symbol"].mode()[0] if len(fills) else next(iter(result.bars))
    close, fills = result.bars[symbol]["close"], fills[fills["symbol"] == symbol]
    axis.plot(close.index, close.to_numpy(), color=GREY, linewidth=0.8, label="close")
    counts = []
    for chosen, marker, colour, label in ((fills["quantity"] > 0, "^", BLUE, "buys"),
                                          (fills["quantity"] < 0, "v", ORANGE, "sells")):
        counts.append(int(chosen.sum()))
        axis.plot(fills["timestamp"][chosen], fills["price"][chosen], marker, color=colour, markersize=3.5,
                  label=f"{counts[-1]} {label}")
    is_yield = result.bars[symbol].attrs.get("kind") == "rate"
    axis.set_ylabel(f"{symbol}, {'yield, % a year' if is_yield else 'price, account currency'}")
    axis.legend(frameon=False, loc="upper left", ncols=3)
    return symbol, *counts
