"""Pictures of costs: the waterfall from gross to net, the cost at which nothing is left, lines that cross."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd

from mlkit.plots.pages import PERCENT
from mlkit.plots.style import BLUE, CYCLE, GREY, HATCH, ORANGE, Plot, figure, headline

ENDS = ("gross", "net")  # of a waterfall


def plot_waterfall(waterfall: pd.Series, title: str) -> Plot:
    """From gross profit at decision prices down (or up) to net, a bar for each cost."""
    fig, (axis,) = figure()
    heights, bottoms, looks = _falls(waterfall)
    drawn = axis.bar(heights.index, heights, bottom=bottoms, edgecolor="black", linewidth=0.4, **looks)
    axis.bar_label(drawn, [f"{height:+,.0f}" for height in heights], padding=2, fontsize=8)
    axis.axhline(0.0, color="black", linewidth=0.8)
    low, high, room = _span(heights, bottoms, 0.12)
    axis.set_ylim(low - room, high + room)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_ylabel("profit, account currency")
    axis.set_title(title, loc="left")
    return fig


def plot_waterfalls(results: dict, title: str) -> Plot:
    """From gross profit to net, results (name -> BacktestResult) side by side on one scale, in % of the capital.

    What no one of them paid is left out.
    """
    falls = pd.DataFrame({name: 100 * result.waterfall / result.cash for name, result in results.items()})
    falls = falls[(falls != 0.0).any(axis=1) | falls.index.isin(ENDS)]
    fig, axes = figure(1, size=(8.0, 0.9 + 0.34 * len(falls)), columns=len(results))
    low, high, room = _span(*map(np.concatenate, zip(*(_falls(fall)[:2] for _, fall in falls.items()))), 0.3)
    for axis, (name, fall) in zip(axes, falls.items()):
        heights, bottoms, looks = _falls(fall)
        axis.barh(heights.index, heights, left=bottoms, edgecolor="black", linewidth=0.4, **looks)
        for row, (height, bottom) in enumerate(zip(heights, bottoms)):
            axis.annotate(f"{height:+,.1f}", (max(bottom, bottom + height, 0.0), row), (3, 0), va="center", fontsize=8,
                          textcoords="offset points")
        axis.axvline(0.0, color="black", linewidth=0.8)
        axis.set_xlabel("% of the capital")
        axis.set_title(name, loc="center", fontsize=9)
    axes[0].set_xlim(low - room * (low < 0.0), high + room)
    axes[0].invert_yaxis()
    headline(fig, title)
    return fig


def plot_break_even(found) -> Plot:
    """Net return of what was run again (`BreakEven`) against the cost a side, and where nothing is left.

    Between the runs the logarithm of the growth is drawn straight, which it nearly is.
    """
    fig, (axis,) = figure()
    cost, net = found.runs["cost_bps"].to_numpy(), found.runs["total_return"].to_numpy()
    between = np.linspace(0.0, cost[-1], 200)
    growth = np.log(np.maximum(1.0 + net, 1e-3))
    axis.plot(between, 100 * np.expm1(np.interp(between, cost, growth)), color=BLUE, linewidth=1.2)
    axis.plot(cost, 100 * np.maximum(net, -1.0), "o", color=BLUE, markersize=4, label=f"{len(cost)} runs")
    axis.axhline(0.0, color="black", linewidth=0.8)
    right = 1.05 * max([1.0, cost[-1], *(end for end in (found.low, found.high) if np.isfinite(end))])
    axis.hlines(0.0, found.low, min(found.high, right), color=ORANGE, alpha=0.5, linewidth=7, zorder=1,
                label="95 % interval")
    axis.set(xlabel="cost, bps of the traded value a side", ylabel="net return, %", xlim=(-0.02 * right, right))
    axis.legend(frameon=False, loc="upper right")
    where = f"Nothing is left at {found:,.1f} bps a side"
    if found in (0.0, np.inf):
        where = f"Something is left at {cost[-1]:,.0f} bps a side" if found else "Nothing is left even without costs"
    axis.set_title(f"{where} (95 % interval {found.low:,.1f} to {found.high:,.1f})", loc="left")
    return fig


def plot_cost_sensitivity(table: pd.DataFrame, title: str) -> Plot:
    """What `cost_sensitivity` found: a line a strategy; where they cross, the cost decides which is best."""
    fig, (axis,) = figure()
    scale = 100 if table.columns.name in PERCENT else 1
    for (name, values), (colour, style) in zip(table.items(), cycle(CYCLE)):
        axis.plot(table.index, scale * values, color=colour, linestyle=style, marker="o", markersize=3.5, label=name)
    axis.axhline(0.0, color="black", linewidth=0.8)
    metric = {"sharpe": "Sharpe ratio a year"}.get(table.columns.name, f"{table.columns.name}".replace("_", " "))
    axis.set(xlabel="cost, bps of the traded value a side", ylabel=f"{metric}, %" if scale == 100 else metric)
    axis.legend(frameon=False)
    axis.set_title(title, loc="left")
    return fig


def _falls(waterfall: pd.Series) -> tuple[pd.Series, np.ndarray, dict]:
    """Lengths of the bars of a waterfall by name, where each begins, and how it looks: what was lost is hatched."""
    parts = waterfall.drop("net").cumsum().to_numpy()
    starts = np.concatenate([[0.0], parts[:-1], [0.0]])
    kinds = [GREY if name in ENDS else BLUE if value >= 0 else ORANGE for name, value in waterfall.items()]
    return waterfall, starts, {"color": kinds, "hatch": [HATCH if kind == ORANGE else "" for kind in kinds]}


def _span(heights, bottoms, share: float) -> tuple[float, float, float]:
    """Lowest and highest end of bars, 0 among them, and a share of what is between for labels."""
    edges = [0.0, *bottoms, *np.add(bottoms, heights)]
    return min(edges), max(edges), share * (max(edges) - min(edges)) or 1.0
