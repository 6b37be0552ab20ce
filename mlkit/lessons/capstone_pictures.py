"""The pictures of lesson 11: what a Sharpe ratio is known to, year by year, and the verdict at other costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mlkit.engine import BacktestResult
from mlkit.lessons.capstone import ends
from mlkit.lessons.decision import verdict
from mlkit.lessons.risk import plot_intervals
from mlkit.plots import BLUE, CYCLE, GREY, ORANGE, figure


def plot_sharpes(results: dict[str, BacktestResult], drawn: pd.DataFrame) -> Figure:
    """Sharpe ratio a year of each that held something, with its interval."""
    rows = {name: [result.metrics["sharpe"], *ends(drawn[name, "sharpe"])] for name, result in results.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"]).dropna()
    half, n = (table["high"] - table["low"]).mean() / 2, len(next(iter(results.values())).returns)
    return plot_intervals({"": table}, "Sharpe ratio a year after costs, with 95 % interval",
                          f"{n:,} bars tell a Sharpe ratio to about {half:.2f} either way")


def plot_years(years: pd.DataFrame, name: str, rival: str) -> Figure:
    """Return of each year (`by_year`): one as bars, another as marks."""
    fig, (axis,) = figure()
    won, ahead = years[name] > 0, (years[name] > years[rival]).sum()
    for chosen, colour, word in ((won, BLUE, "gained"), (~won, ORANGE, "lost")):
        axis.bar(years.index[chosen], 100 * years[name][chosen], color=colour, edgecolor="black", linewidth=0.4,
                 label=f"{name}: {word}")
    axis.plot(years.index, 100 * years[rival], "D", color=GREY, markersize=4, label=rival)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="year", ylabel="return after costs, %")
    axis.legend(frameon=False)
    axis.set_title(f"{name} gained in {won.sum()} of {len(years)} years, and was ahead of {rival} in {ahead}",
                   loc="left")
    return fig


def plot_at_cost(lines: pd.DataFrame, conditions_at, *, cost_bps: float) -> Figure:
    """Sharpe ratios against the cost a side (`cost_lines`), and in the title what the conditions say at one cost.

    conditions_at : cost in bps a side -> the six conditions
    """
    fig, (axis,) = figure()
    for (name, line), (colour, style) in zip(lines.items(), CYCLE):
        axis.plot(lines.index, line, color=colour, linestyle=style, marker="o", markersize=3.5, label=name)
    axis.axvline(cost_bps, color="black", linestyle=":", linewidth=1.5)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set(xlabel="cost, bps of the traded value a side", ylabel="Sharpe ratio a year")
    axis.legend(frameon=False)
    axis.set_title(f"At {cost_bps:g} bps a side. {verdict(conditions_at(cost_bps))}", loc="left")
    return fig
