"""Lesson 07's pictures: years and regimes, memories, delays, alarms; what they show is measured by `lessons.drift`."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from mlkit import plots
from mlkit.features import Volatility
from mlkit.lessons.drift import WITHIN, delays, share_within
from mlkit.plots import BLUE, CYCLE, GREY, ORANGE, Plot, figure
from mlkit.production.detectors import Cusum


def plot_years(table: pd.DataFrame, live, title: str) -> Plot:
    """`by_year`: the hit rate of each year beside the band of a coin; `live`, the first day after the test."""
    fig, (axis,) = figure(size=(8.0, 3.2))
    axis.fill_between(table.index, 100 * table["low"], 100 * table["high"], color=GREY, alpha=0.25, linewidth=0,
                      label="where a coin lands in 95 % of years")
    axis.plot(table.index, 100 * table["rate"], "o-", color=BLUE, linewidth=0.9, markersize=4, label="the model")
    axis.axhline(50.0, color="black", linewidth=0.8)
    axis.axvline(live.year + live.day_of_year / 366 - 0.5, color=ORANGE, linestyle="--", label="live from here on")
    axis.set(xlabel="year", ylabel="called right, % of days")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    axis.set_title(title, loc="left")
    return fig


def plot_regimes(right: pd.Series, regime: pd.Series, learned: float, title: str, rows: int = 100) -> Plot:
    """Share called right over the last `rows` bars; the bars of the `learned` regime are shaded."""
    return plots.plot_regimes(100 * right.rolling(rows).mean(), regime, f"called right, % of {rows} bars", title,
                              {learned: "the regime it learned"}, level=50.0)


def plot_windows(curves: dict[str, pd.DataFrame], title: str) -> Plot:
    """`window_scores` of several worlds: the mean over seeds, with two standard errors, against the window."""
    fig, (axis,) = figure()
    for (name, curve), (colour, style) in zip(curves.items(), cycle(CYCLE)):
        axis.errorbar(curve.columns, 100 * curve.mean(), 200 * curve.sem(), color=colour, linestyle=style, marker="o",
                      markersize=4, capsize=3, label=name)
    axis.axhline(50.0, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xticks(list(curve.columns), [f"{window:,}" for window in curve.columns])
    axis.minorticks_off()
    axis.set(xlabel="memory, bars (logarithmic)", ylabel="called right, % of bars")
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, loc="left")
    return fig


def plot_shifts(psi: pd.DataFrame, title: str) -> Plot:
    """`shifts`: a line a feature, on a logarithmic scale, beside the rule of thumb."""
    fig, (axis,) = figure(size=(8.0, 3.2))
    for (name, column), (colour, style) in zip(psi.items(), cycle(CYCLE)):
        axis.plot(column.index, column, color=colour, linestyle=style, marker="o", markersize=3, label=name)
    axis.axhline(0.25, color="black", linewidth=0.8)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="year (line: 0.25, the rule of thumb)", ylabel="PSI (log scale)")
    axis.legend(frameon=False, fontsize=8, ncols=3)
    axis.set_title(title, loc="left")
    return fig


def plot_delays(found: pd.DataFrame, title: str, until: int = 1_000) -> Plot:
    """`delays`: the share of runs whose alarm has come, against the bars since the change."""
    fig, (axis,) = figure()
    bars = np.arange(until + 1)
    for (name, column), (colour, style) in zip(found.items(), cycle(CYCLE)):
        times = np.sort(column.dropna().to_numpy())
        alarmed = np.searchsorted(times, bars, side="right") / len(times)
        axis.plot(bars, 100 * alarmed, color=colour, linestyle=style, linewidth=1.4, label=name)
    axis.set(xlabel="bars since the change", ylabel="runs with an alarm, %", ylim=(-2, 102), xlim=(0, until))
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, loc="left")
    return fig


def plot_fall(watch: dict[str, Cusum], fall: int = 8) -> Plot:
    """Delays where a hit rate falls from 56 % by so many points; where it falls by 0 every alarm is false."""
    found = delays(watch, after=0.56 - fall / 100).filter(like="hit rate")
    shares = share_within(found)
    return plot_delays(found, f"56 % to {56 - fall} %: alarm within {WITHIN} bars in {shares['hit rate, CUSUM']:.0%} "
                              f"of runs, of DDM in {shares['hit rate, DDM']:.0%}")


def plot_alerts(alerts, bars: pd.DataFrame, names, title: str) -> Plot:
    """The alarms of a monitor, a line a detector, under the volatility of the market (% a day, 20 bars)."""
    fig, (top, bottom) = figure(2, [1.0, 1.4], (8.0, 4.4))
    volatility = 100 * Volatility(20)(bars).iloc[:, 0]
    top.plot(volatility.index, volatility.to_numpy(), color=GREY, linewidth=0.8)
    top.set_ylabel("volatility,\n% a day")
    names = list(names)
    for row, name in enumerate(names):
        days = [alert.timestamp for alert in alerts if alert.detector == name]
        bottom.plot(days, [row] * len(days), "|", color=BLUE, markersize=13, markeredgewidth=2)
    bottom.set_yticks(range(len(names)), names)
    bottom.set(ylim=(len(names) - 0.4, -0.6), xlabel="date")
    top.set_title(title, loc="left")
    return fig
