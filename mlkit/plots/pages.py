"""A result as a small page, and its figures as people write them."""

from __future__ import annotations

import html

import pandas as pd

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
                   for name, value in figures[""].items()
                   if not name.endswith(" cost") or name in ("total cost", "trading cost"))
    falls = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{value:+,.2f}</td></tr>"
                    for name, value in result.waterfall.items())
    return (f"<div><p><b>{html.escape(result.name)}, {span}, engine: {result.engine}</b></p>{notes}"
            f"<div style='display:flex;gap:3em'><table>{rows}</table>"
            f"<table style='align-self:flex-start'>{falls}</table></div></div>")
