"""Pictures: one quiet style, titles that state what is seen, units on the axes.

Every function takes a result and returns a matplotlib Figure; none draws on a
global state, none shows anything by itself; a notebook shows it as a cell's last value.
"""

from __future__ import annotations

import html
import io
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart by the colour-blind; each also has its own line style or marker.
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#767676", "#D55E00"
ENDS = ("gross", "net")  # of a waterfall
CYCLE = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (RED, ":"), (GREY, "-"))


class Plot(Figure):
    """A Figure that a notebook shows as one PNG, the same bytes every time, its titles as text beside it."""

    def _repr_mimebundle_(self, include=None, exclude=None):
        picture = io.BytesIO()
        self.savefig(picture, format="png", metadata={"Software": None})
        titles = [self.get_suptitle(), *(axis.get_title(loc="left") for axis in self.axes)]
        return {"image/png": picture.getvalue(), "text/plain": "Plot: " + "; ".join(t for t in titles if t)}


def figure(rows: int = 1, heights: list[float] | None = None, size: tuple[float, float] = (8.0, 3.6), columns: int = 1):
    """A Figure and its axes, one above another on a common x axis; in columns, row after row, on common axes."""
    fig = Plot(figsize=size, dpi=100, layout="constrained")
    axes = fig.subplots(rows, columns, sharex=rows * columns > 1, sharey=columns > 1, squeeze=False,
                        height_ratios=heights).ravel()
    for axis in axes:
        axis.grid(True, color="#e5e5e5", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return fig, axes


def plot_result(result, benchmark=None) -> Figure:
    """Equity (with a benchmark's), its drawdown, and the trades on the price."""
    fig, (top, middle, bottom) = figure(3, [2.2, 1.0, 1.6], (8.0, 6.4))
    lines = {result.name: result}
    if benchmark is not None:
        lines[benchmark.name if benchmark.name != result.name else f"benchmark: {benchmark.name}"] = benchmark
    _equity_lines(top, lines)
    total = result.metrics["total_return"]
    top.set_title(f"{result.name}: {total:+.0%} after costs, deepest drawdown "
                  f"{result.metrics['max_drawdown']:.0%}", loc="left")
    below = result.equity / np.maximum(result.equity.cummax(), result.cash) - 1.0
    middle.fill_between(below.index, 100 * below.to_numpy(), 0.0, color=BLUE, alpha=0.35, linewidth=0)
    middle.set_ylabel("drawdown, %")
    _trades_on_price(bottom, result)
    bottom.set_xlabel("date")
    return fig


def plot_price(bars: pd.DataFrame, title: str, split=None) -> Figure:
    """Closes on a logarithmic scale, and the day from which nothing has been seen yet."""
    fig, (axis,) = figure(size=(8.0, 3.0))
    close = bars["close"]
    axis.plot(close.index, close.to_numpy(), color=BLUE, linewidth=0.9)
    _log_scale(axis)
    if split is not None:
        split = pd.Timestamp(split)
        axis.axvspan(split, close.index[-1], color=ORANGE, alpha=0.15, linewidth=0)
        axis.text(split, 0.03, "  not seen in training", transform=axis.get_xaxis_transform(), color="black")
    axis.set(xlabel="date", ylabel=f"{bars.attrs.get('symbol', 'close')}, adjusted price (log scale)")
    axis.set_title(title, loc="left")
    return fig


def plot_equity(results: dict, title: str) -> Figure:
    """Equity curves of several results (name -> BacktestResult) on a logarithmic scale."""
    fig, (axis,) = figure()
    _equity_lines(axis, results)
    axis.set_title(title, loc="left")
    axis.set_xlabel("date")
    return fig


def plot_waterfall(waterfall: pd.Series, title: str) -> Figure:
    """From gross profit at decision prices down (or up) to net, a bar for each cost."""
    fig, (axis,) = figure()
    heights, bottoms, colours = _falls(waterfall)
    drawn = axis.bar(heights.index, heights, bottom=bottoms, color=colours, edgecolor="black", linewidth=0.4)
    axis.bar_label(drawn, [f"{height:+,.0f}" for height in heights], padding=2, fontsize=8)
    axis.axhline(0.0, color="black", linewidth=0.8)
    low, high, room = _span(heights, bottoms, 0.12)
    axis.set_ylim(low - room, high + room)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_ylabel("profit, account currency")
    axis.set_title(title, loc="left")
    return fig


def plot_waterfalls(results: dict, title: str) -> Figure:
    """From gross profit to net, results (name -> BacktestResult) side by side on one scale, in % of the capital.

    What no one of them paid is left out.
    """
    falls = pd.DataFrame({name: 100 * result.waterfall / result.cash for name, result in results.items()})
    falls = falls[(falls != 0.0).any(axis=1) | falls.index.isin(ENDS)]
    fig, axes = figure(1, size=(8.0, 0.9 + 0.34 * len(falls)), columns=len(results))
    low, high, room = _span(*map(np.concatenate, zip(*(_falls(fall)[:2] for _, fall in falls.items()))), 0.3)
    for axis, (name, fall) in zip(axes, falls.items()):
        heights, bottoms, colours = _falls(fall)
        axis.barh(heights.index, heights, left=bottoms, color=colours, edgecolor="black", linewidth=0.4)
        for row, (height, bottom) in enumerate(zip(heights, bottoms)):
            axis.annotate(f"{height:+,.1f}", (max(bottom, bottom + height, 0.0), row), (3, 0), va="center", fontsize=8,
                          textcoords="offset points")
        axis.axvline(0.0, color="black", linewidth=0.8)
        axis.set_xlabel("% of the capital")
        axis.set_title(name, loc="center", fontsize=9)
    axes[0].set_xlim(low - room * (low < 0.0), high + room)
    axes[0].invert_yaxis()
    fig.suptitle(title, x=0.01, ha="left")
    return fig


def plot_break_even(found) -> Figure:
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


def plot_cost_sensitivity(table: pd.DataFrame, title: str) -> Figure:
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


def _falls(waterfall: pd.Series) -> tuple[pd.Series, np.ndarray, list[str]]:
    """Lengths of the bars of a waterfall by name, where each begins, and its colour."""
    parts = waterfall.drop("net").cumsum().to_numpy()
    starts = np.concatenate([[0.0], parts[:-1], [0.0]])
    return waterfall, starts, [GREY if name in ENDS else BLUE if value >= 0 else ORANGE
                               for name, value in waterfall.items()]


def _span(heights, bottoms, share: float) -> tuple[float, float, float]:
    """Lowest and highest end of bars, 0 among them, and a share of what is between for labels."""
    edges = [0.0, *bottoms, *np.add(bottoms, heights)]
    return min(edges), max(edges), share * (max(edges) - min(edges)) or 1.0


def _equity_lines(axis, results: dict) -> None:
    for (name, result), (colour, style) in zip(results.items(), cycle(CYCLE)):
        axis.plot(result.equity.index, result.equity.to_numpy(), color=colour, linestyle=style, linewidth=1.2, label=name)
    if all((result.equity > 0).all() for result in results.values()):
        _log_scale(axis)
    axis.set_ylabel("equity (log scale)" if axis.get_yscale() == "log" else "equity")
    if len(results) > 1:
        axis.legend(frameon=False, loc="upper left")


def _log_scale(axis) -> None:
    """A logarithmic y axis with the labels 1, 2 and 5 of each power of ten, written out."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    steps = [step * 10.0**power for power in range(-6, 12) for step in (1, 2, 5)]
    axis.set_yticks([step for step in steps if low <= step <= high])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.yaxis.set_minor_formatter(lambda value, _: "")


def _trades_on_price(axis, result) -> None:
    """The instrument traded most, its close, and every fill in it."""
    fills = result.fills
    symbol = fills["symbol"].mode()[0] if len(fills) else next(iter(result.bars))
    close, fills = result.bars[symbol]["close"], fills[fills["symbol"] == symbol]
    axis.plot(close.index, close.to_numpy(), color=GREY, linewidth=0.8)
    for chosen, marker, colour, label in ((fills["quantity"] > 0, "^", BLUE, "buys"),
                                          (fills["quantity"] < 0, "v", ORANGE, "sells")):
        axis.plot(fills["timestamp"][chosen], fills["price"][chosen], marker, color=colour, markersize=3.5,
                  label=f"{int(chosen.sum())} {label}")
    axis.set_ylabel(f"{symbol}, price")
    axis.legend(frameon=False, loc="upper left", ncols=2)


# ---- a result as a small page

PERCENT = ("total_return", "annual_return", "volatility", "max_drawdown", "win_rate", "exposure", "cost_share_of_gross")
COUNTS = ("n_trades", "n_open_trades", "n_bars", "periods_per_year")
MONEY = ("average_win", "average_loss")


def format_metric(name: str, value: float) -> str:
    """A figure as people write it: percents, counts, money, ratios; "-" where it is undefined."""
    if pd.isna(value):
        return "-"
    if name in PERCENT:
        return f"{value:.1%}"
    if name in COUNTS:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if name in MONEY or name.endswith("_cost") else f"{value:.2f}"


def metrics_table(results: dict, names: list[str] | None = None) -> pd.DataFrame:
    """Results side by side, formatted for reading: a row for each name of a metric, a column for each result."""
    metrics = {label: result.metrics for label, result in results.items()}
    names = names or list(next(iter(metrics.values())).index)
    return pd.DataFrame({label: [format_metric(name, figures[name]) for name in names]
                         for label, figures in metrics.items()}, index=[name.replace("_", " ") for name in names])


def result_html(result) -> str:
    """The page a notebook shows for a result: notes, figures, waterfall."""
    notes = "".join(f"<p><b>Note.</b> {html.escape(note)}</p>" for note in result.notes())
    span = f"{result.returns.index[0]:%Y-%m-%d} to {result.returns.index[-1]:%Y-%m-%d}" if len(result.returns) else "-"
    figures = metrics_table({"": result}).rename_axis(None)
    rows = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{value}</td></tr>"
                   for name, value in figures[""].items() if not name.endswith(" cost") or name in ("total cost", "trading cost"))
    falls = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{value:+,.2f}</td></tr>"
                    for name, value in result.waterfall.items())
    return (f"<div><h4>{html.escape(result.name)}, {span}, engine: {result.engine}</h4>{notes}"
            f"<div style='display:flex;gap:3em'><table>{rows}</table>"
            f"<table style='align-self:flex-start'>{falls}</table></div></div>")
