"""Explorers of money: what costs leave, what a threshold changes, how much to hold.

Each is a function of data and one setting -> Plot, drawn anew in about a tenth of a second on 20 years of daily
bars (`benchmarks/widgets.py` measures it): the replay runs the backtest again, and the panels are laid out by hand.

>>> from mlkit import MovingAverageCross, break_even_cost, planted_edge
>>> bars, rule = planted_edge(500, seed=1, strength=0.3), MovingAverageCross(1, 2)
>>> fig = cost_explorer(bars, rule, break_even_cost(bars, rule, n_boot=1), cost_bps=10)
>>> print(fig.get_suptitle())
10 bps a side leave +55 % of +87 %; nothing is left at 33.5
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlkit.engine import (BacktestResult, BuyAndHold, Costs, IdealExecutionHandler, MLStrategy,
                          RealisticExecutionHandler, Strategy, backtest)
from mlkit.engine.strategies import codes_of
from mlkit.plots import BLUE, GREY, HATCH, ORANGE, Plot, headline, panels

DEAR = 100.0  # bps a side: the highest cost that is drawn, unless it is asked for
EDGES = tuple(np.arange(0.0, 0.0801, 0.01).round(2))  # of thresholds, above and below one half
SIZES = np.linspace(0.0, 6.0, 61)  # times the equity
LEGEND = {"fontsize": 8, "framealpha": 0.8, "edgecolor": "none"}
BROKE = 1e-6  # of the first wealth: what is drawn for less


class Decided(Strategy):
    """The decisions of a strategy on some bars, worked out once, so that they can be traded again and again at once."""

    def __init__(self, strategy: Strategy, bars: pd.DataFrame, decisions: np.ndarray | None = None):
        super().__init__(strategy.symbol)
        self.decisions = pd.Series(strategy.decide(bars) if decisions is None else decisions, bars.index)
        self.lookback = 1 + strategy.first_decision(bars)
        self.shorts_from_flat = strategy.shorts_from_flat

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        return self.decisions.loc[bars.index].to_numpy()


def cost_explorer(bars: pd.DataFrame, strategy: Strategy, found, *, cost_bps: float, on: Plot | None = None) -> Plot:
    """Profit after a cost a side beside that at no cost, the waterfall between, and where on the way to zero it is.

    strategy : one with `decide`; `Decided` saves a model the work of deciding each time
    found : `break_even_cost` of it on the same bars
    """
    free = backtest(bars, strategy, execution=IdealExecutionHandler())
    paid = backtest(bars, strategy, execution=RealisticExecutionHandler(Costs(cost_bps, 0.0, 0.0)))
    gains = [100 * result.metrics["total_return"] for result in (paid, free)]
    places = (0.09, 0.13, 0.47, 0.76), (0.69, 0.59, 0.29, 0.3), (0.69, 0.13, 0.29, 0.3)
    fig, (left, top, bottom) = panels((8.0, 4.0), *places, on=on)
    for result, colour, style, name in ((free, GREY, ":", "at no cost"), (paid, BLUE, "-", f"after {cost_bps:g} bps")):
        left.plot(result.returns.index, _profit(result), color=colour, linestyle=style, linewidth=1.2, label=name)
    left.axhline(0.0, color="black", linewidth=0.8)
    left.set(xlabel="date", ylabel="profit, % of the capital")
    left.legend(**LEGEND, loc="upper left")
    _waterfall(top, paid)
    _net_against_cost(bottom, found, cost_bps, gains[0])
    where = ("nothing is left even at no cost" if found == 0.0 else f"nothing is left at {found:.1f}"
             if np.isfinite(found) else "no cost takes all")
    headline(fig, f"{cost_bps:g} bps a side leave {gains[0]:+.0f} % of {gains[1]:+.0f} %; {where}")
    return fig


def _profit(result: BacktestResult) -> np.ndarray:
    return 100 * (result.equity.loc[result.returns.index] / result.cash - 1.0).to_numpy()


def _waterfall(axis, result: BacktestResult) -> None:
    """From gross to net in % of the capital, four bars."""
    fall = 100 * result.waterfall[["gross", "delay", "spread", "net"]] / result.cash
    starts = [0.0, fall["gross"], fall["gross"] + fall["delay"], 0.0]
    kinds = [GREY, *(BLUE if value >= 0 else ORANGE for value in fall[["delay", "spread"]]), GREY]
    axis.barh(range(4), fall, left=starts, color=kinds, hatch=[HATCH if kind == ORANGE else "" for kind in kinds],
              edgecolor="black", linewidth=0.4)
    axis.set_yticks(range(4), [f"{name} {value:+.0f}" for name, value in zip(("gross", "delay", "costs", "net"), fall)],
                    fontsize=8)
    axis.axvline(0.0, color="black", linewidth=0.8)
    axis.set_ylim(3.6, -0.6)
    axis.locator_params(axis="x", nbins=4)
    axis.set_xlabel("% of the capital")


def _net_against_cost(axis, found, cost_bps: float, net: float) -> None:
    cost, left = found.runs["cost_bps"].to_numpy(), found.runs["total_return"].to_numpy()
    right = max(cost[cost <= DEAR].max(), cost_bps, 1.0)
    between = np.linspace(0.0, right, 60)
    growth = np.interp(between, cost, np.log(np.maximum(1.0 + left, 1e-3)))
    axis.plot(between, 100 * np.expm1(growth), color=GREY, linewidth=1.0)
    axis.plot([cost_bps], [net], "o", color=BLUE, markersize=7, label="now")
    axis.axhline(0.0, color="black", linewidth=0.8)
    if found <= right:
        axis.plot([float(found)], [0.0], "|", color=ORANGE, markersize=16, markeredgewidth=3, label="break-even")
    axis.set(xlabel="cost, bps a side", ylabel="net, %", xlim=(-0.04 * right, 1.08 * right))
    axis.legend(**LEGEND, loc="upper right")
    axis.locator_params(nbins=4)


def threshold_explorer(bars: pd.DataFrame, strategy: MLStrategy, execution=None, *, edge: float,
                       on: Plot | None = None) -> Plot:
    """Equity of a model that buys above 1/2 + edge and sells below 1/2 - edge, and what all distances made.

    strategy : gives the scores; its own thresholds do not count; execution : default costs unless given
    """
    scores = strategy.scores(bars)
    results = {each: _traded(bars, strategy, scores, each, execution) for each in sorted({*EDGES, edge})}
    held = backtest(bars.iloc[strategy.first_decision(bars):], BuyAndHold(), execution=execution)
    chosen, gains = results[edge], {each: 100 * result.metrics["total_return"] for each, result in results.items()}
    fig, (left, right) = panels((8.0, 3.6), (0.09, 0.14, 0.5, 0.74), (0.7, 0.14, 0.28, 0.74), on=on)
    for result, colour, style, name in ((held, GREY, ":", "buy & hold"), (chosen, BLUE, "-", "the model")):
        left.plot(result.returns.index, _profit(result), color=colour, linestyle=style, linewidth=1.1, label=name)
    left.axhline(0.0, color="black", linewidth=0.8)
    left.set(xlabel="date", ylabel="profit, % of the capital")
    left.legend(**LEGEND, loc="upper left")
    right.plot(list(gains), list(gains.values()), color=GREY, marker="s", markersize=3.5, linewidth=0.9,
               label="all distances")
    right.plot([edge], [gains[edge]], "o", color=BLUE, markersize=9, label="chosen")
    right.axhline(0.0, color="black", linewidth=0.8)
    right.set(xlabel="distance from one half", ylabel="total return, %")
    right.legend(**LEGEND)
    right.locator_params(nbins=5)
    headline(fig, f"Buy above {0.5 + edge:.2f}, sell below {0.5 - edge:.2f}: {gains[edge]:+.0f} % in "
                   f"{chosen.metrics['n_trades']:.0f} trades; all {len(gains)} distances "
                   f"{min(gains.values()):+.0f} to {max(gains.values()):+.0f} %")
    return fig


def _traded(bars, strategy: MLStrategy, scores: np.ndarray, edge: float, execution) -> BacktestResult:
    decisions = codes_of(scores > 0.5 + edge, scores < 0.5 - edge)
    return backtest(bars, Decided(strategy, bars, decisions), execution=execution)


def size_explorer(returns: pd.Series, *, size: float, on: Plot | None = None) -> Plot:
    """Wealth of whoever holds `size` times the equity of a market, day after day, and how fast it grows by size.

    returns : (n,) of the market, simple, daily. Borrowing costs nothing here, so sizes above 1 look better than they
        are; whoever loses all, or more, in a day stays at nothing.
    """
    values = returns.to_numpy()
    wealth, growth = _wealth(values, size), np.array([_growth(values, each) for each in SIZES])
    fig, (left, right) = panels((8.0, 3.6), (0.09, 0.14, 0.5, 0.74), (0.7, 0.14, 0.28, 0.74), on=on)
    for each, colour, style in ((1.0, GREY, ":"), (size, BLUE, "-")) if size != 1.0 else ((1.0, BLUE, "-"),):
        left.plot(returns.index, np.maximum(_wealth(values, each), BROKE), color=colour, linestyle=style, linewidth=1.1,
                  label=f"{each:g} x the equity")
    left.set(yscale="log", xlabel="date", ylabel="wealth, from 1 (log scale)")
    left.legend(**LEGEND, loc="upper left")
    right.plot(SIZES, 100 * growth, color=GREY, linewidth=1.2, label="by size")
    right.plot([size], [100 * _growth(values, size)], "o", color=BLUE, markersize=9, label="chosen")
    right.axhline(0.0, color="black", linewidth=0.8)
    top = max(np.nanmax(growth), 0.01)
    lowest = np.nanmin([-3 * top, 1.2 * _growth(values, size)])
    right.set(xlabel="size, times the equity", ylabel="growth, % a year", ylim=(100 * lowest, 140 * top))
    right.legend(**LEGEND, loc="lower left")
    deepest = (wealth / np.maximum.accumulate(wealth)).min() - 1.0
    headline(fig, f"{size:g} times the equity: {wealth[-1]:.3g} of 1 are left, after a fall of {-deepest:.0%}; "
                   f"fastest growth at {SIZES[np.nanargmax(growth)]:g}")
    return fig


def _wealth(returns: np.ndarray, size: float) -> np.ndarray:
    """From 1, at each close: (n,); nothing from the day on that takes all."""
    return np.cumprod(np.maximum(1.0 + size * returns, 0.0))


def _growth(returns: np.ndarray, size: float) -> float:
    """Growth of the logarithm of wealth a year of 252 days; NaN where a day takes all."""
    steps = 1.0 + size * returns
    return float(252 * np.log(steps).mean()) if steps.min() > 0 else np.nan
