"""Lesson 06, what is left after costs: bills, break-evens, speeds, lines that cross, trades not worth their cost.

>>> from mlkit import random_walk
>>> speeds(random_walk(2_500, seed=1), accuracy=0.55, horizons=[1, 20]).rename_axis(None).round(1)
    turnover  sharpe  worked_out  break_even
1      259.3     1.2         7.9         7.1
20      10.9     0.3        34.0        30.8
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from mlkit.analysis import BreakEven, break_even_cost
from mlkit.engine import (BacktestResult, Costs, IdealExecutionHandler, MLStrategy, RealisticExecutionHandler, Strategy,
                          backtest)
from mlkit.engine.execution import BPS
from mlkit.labels import next_return
from mlkit.plots import BLUE, CYCLE, GREEN, GREY, ORANGE, Plot, figure, metrics_table
from mlkit.research import ExpectedReturn, OutOfSample

STRATUM = 20  # calls about moves of like size, of which the fortune teller gets the same share right

# ------------------------------------------------------------------- bills


def bill_a_year(free: BacktestResult, charged: BacktestResult) -> float:
    """The share of the account that costs took in a year, on average: the same signals without and with them."""
    years = len(charged.returns) / charged.periods_per_year
    return 1.0 - float(charged.equity.iloc[-1] / free.equity.iloc[-1]) ** (1.0 / years)


def traded_value(result: BacktestResult) -> np.ndarray:
    """Reference value of each fill, account currency: (fills,)."""
    return (result.fills["quantity"].abs() * result.fills["reference"]).to_numpy()


def per_side(results: dict[str, BacktestResult]) -> pd.DataFrame:
    """The waterfalls of some results in bps of the value that was traded, a column each; what none paid is left out."""
    falls = pd.DataFrame({name: each.waterfall / traded_value(each).sum() / BPS for name, each in results.items()})
    return falls[(falls != 0.0).any(axis=1) | falls.index.isin(["gross", "net"])]


def delay_per_side(result: BacktestResult) -> tuple[float, float]:
    """What waiting for the fill brought (below 0: cost), bps of the traded value, and its standard error.

    A ratio of two sums over the fills; the error is that of its linear part (Cochran 1977, Sampling
    Techniques, 2.11), with fills taken as independent.
    """
    gained, value = -result.fills["delay"].to_numpy(), traded_value(result)
    mean = gained.sum() / value.sum()
    return mean / BPS, np.sqrt(((gained - mean * value) ** 2).sum()) / value.sum() / BPS


def limit_table(limits: dict[str, BreakEven], traded: dict[str, BacktestResult]) -> pd.DataFrame:
    """Break-even costs beside the turnover of `traded`, the busiest first: turnover (a year), break_even, low, high."""
    rows = {name: {"turnover": traded[name].metrics["turnover"], "break_even": float(found), "low": found.low,
                   "high": found.high} for name, found in limits.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["turnover", "break_even", "low", "high"])
    return table.sort_values("turnover", ascending=False)


def by_size(bars: pd.DataFrame, strategy: Strategy, costs: Costs, sizes) -> pd.DataFrame:
    """The same strategy with more and more capital where orders move the price by the square-root law (factor 1).

    returns : a row a size: impact and all costs of trading, in bps a side, and the total return
    Raises ValueError for bars without volume.
    """
    execution, rows = RealisticExecutionHandler(replace(costs, impact=1.0)), {}
    for cash in sizes:
        result = backtest(bars, strategy, execution=execution, cash=cash)
        side = per_side({"": result})[""]
        paid = -side.drop(["gross", "delay", "net"])
        rows[f"{cash:,.0f}"] = {"impact, bps": paid["impact"], "all costs, bps": paid.sum(),
                                "total return": result.metrics["total_return"]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("capital")


# ----------------------------------------------- two rules equally often right


class FortuneTeller(Strategy):
    """Looks into the future and lies: every `horizon` bars it says which way the price goes until the next call, and
    is right with a share `accuracy` of its calls, large moves or small alike.

    No model can do this. It is here because two of them, quick and slow, are equally good by construction.
    """

    shorts_from_flat = True

    def __init__(self, accuracy: float, horizon: int, seed: int = 0):
        super().__init__()
        self.accuracy, self.horizon, self.seed = accuracy, horizon, seed

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        moves = next_return(bars, self.horizon)["label"].iloc[:: self.horizon].dropna()
        rng, lies = np.random.default_rng(self.seed), np.zeros(len(moves), dtype=bool)
        by_size = np.argsort(moves.abs().to_numpy(), kind="stable")
        for first in range(0, len(moves), STRATUM):
            alike = by_size[first : first + STRATUM]
            lies[rng.permutation(alike)[: round((1.0 - self.accuracy) * len(alike))]] = True
        codes = np.zeros(len(bars), dtype=np.int8)
        codes[bars.index.get_indexer(moves.index)] = np.where((moves > 0.0) != lies, 1, -1)
        return codes


def speeds(bars: pd.DataFrame, accuracy: float, horizons, seed: int = 0) -> pd.DataFrame:
    """Fortune tellers of one accuracy, a row a horizon: turnover a year, sharpe without costs, break_even, and
    worked_out, what a side earns: (2 accuracy - 1) x the average move, both in bps."""
    rows = {}
    for horizon in horizons:
        teller = FortuneTeller(accuracy, horizon, seed)
        free = backtest(bars, teller, execution=IdealExecutionHandler(), allow_short=True)
        move = next_return(bars, horizon)["label"].iloc[::horizon].abs().mean()
        rows[horizon] = {**free.metrics[["turnover", "sharpe"]], "worked_out": (2.0 * accuracy - 1.0) * move / BPS,
                         "break_even": float(break_even_cost(bars, teller, n_boot=1, allow_short=True))}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("held, bars")


def crossing(table: pd.DataFrame) -> float:
    """The cost at which the two lines of a `cost_sensitivity` cross, straight between its rows.

    Raises ValueError where they do not.
    """
    ahead = (table.iloc[:, 0] - table.iloc[:, 1]).to_numpy()
    turns = np.flatnonzero(np.sign(ahead[1:]) != np.sign(ahead[:-1]))
    if not len(turns):
        raise ValueError(f"{table.columns[0]} and {table.columns[1]} do not cross between {table.index[0]:g} and "
                         f"{table.index[-1]:g} bps a side")
    at, cost = turns[0], table.index
    return float(cost[at] + (cost[at + 1] - cost[at]) * ahead[at] / (ahead[at] - ahead[at + 1]))


def when_late(bars: pd.DataFrame, strategies: dict[str, Strategy], latencies) -> pd.DataFrame:
    """Sharpe ratios without costs when every fill comes some bars later: a row a latency, a column a strategy."""
    rows = {}
    for bars_late in latencies:
        execution = RealisticExecutionHandler(Costs(0, 0, 0), latency_bars=bars_late)
        rows[bars_late] = {name: backtest(bars, strategy, execution=execution, allow_short=True).metrics["sharpe"]
                           for name, strategy in strategies.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("bars late")


# --------------------------------------------------- trades that do not pay


def worth_table(found: dict[str, OutOfSample], bars: pd.DataFrame) -> pd.DataFrame:
    """What one point of probability (0.01) was worth in bps by the next bar, at each turn of the schedule after the
    first, by what was known then (`ExpectedReturn.from_walk_forward`): a row a family, a column a turn."""
    returns = next_return(bars)
    slopes = {name: ExpectedReturn.from_walk_forward(each, returns).slopes for name, each in found.items()}
    table = pd.DataFrame(slopes).T * 0.01 / BPS
    return table.set_axis([f"{turn:%Y-%m-%d}" for turn in table.columns], axis=1)


def edge_filter(found: OutOfSample, bars: pd.DataFrame, features, execution, margins) -> dict[str, BacktestResult]:
    """Every signal of a model, and those that promise more than their round trip by some margins (bps, above 0).

    All on the same days: those on which it is known what a probability is worth.
    """
    worth = ExpectedReturn.from_walk_forward(found, next_return(bars))
    strategy = _waiting(found, bars, features, worth)
    filtered = {f"round trip + {margin:g} bps": backtest(bars, strategy, execution=execution, minimum_edge_bps=margin)
                for margin in margins}
    return {"every signal": backtest(bars, strategy, execution=execution)} | filtered


def refused(result: BacktestResult) -> float:
    """The share of the wishes to buy that the minimum edge refused."""
    outcome = result.signals.loc[result.signals["direction"] == "BUY", "outcome"]
    wished = outcome[outcome.isin(["order", "below_edge"])]
    return float((wished == "below_edge").mean())


def by_lot(found: OutOfSample, bars: pd.DataFrame, features, execution, share: float, seed: int) -> BacktestResult:
    """As `edge_filter`, but what is refused is drawn by lot, with this chance, whatever the model says."""
    drawn = pd.Series(np.where(np.random.default_rng(seed).random(len(bars)) < share, -1.0, 1.0), bars.index)
    worth = ExpectedReturn.from_walk_forward(found, next_return(bars))
    strategy = _waiting(found, bars, features, worth)
    strategy.expected = lambda scores: drawn.loc[scores.index].to_numpy()
    return backtest(bars, strategy, execution=execution, minimum_edge_bps=1.0)


def filter_table(results: dict[str, BacktestResult]) -> pd.DataFrame:
    """Results side by side, formatted for reading: trades, exposure, return, Sharpe ratio, and bps kept a side."""
    kept = per_side(results).loc["net"].map("{:.1f}".format).replace("nan", "-")
    table = metrics_table(results, ["n_trades", "exposure", "total_return", "sharpe"]).T
    return table.assign(**{"kept, bps a side": kept})


def _waiting(found: OutOfSample, bars: pd.DataFrame, features, worth: ExpectedReturn) -> MLStrategy:
    """The strategy of these models, from the day on which its scores have a known worth."""
    strategy = MLStrategy(found, features, enter=0.5, exit=0.5, expected=worth)
    strategy.lookback = 1 + bars.index.get_loc(worth.slopes.index[0])
    return strategy


# ---------------------------------------------------------------- pictures


def plot_profits(results: dict[str, BacktestResult], title: str) -> Plot:
    """Profit so far of several results, from the first bar on which they could trade."""
    return _plot_lines({name: _profit(result) for name, result in results.items()}, CYCLE, title)


def plot_money(bars: pd.DataFrame, strategy: Strategy, *, cost_bps: float) -> Plot:
    """Profit so far at the prices decided on, after the wait, and after a cost a side: the waterfall in time."""
    result = backtest(bars, strategy, execution=RealisticExecutionHandler(Costs(cost_bps, 0.0, 0.0)))
    net, fall = _profit(result), 100 * result.waterfall / result.cash
    paid = 100 * result.fills.groupby("timestamp")[["spread", "delay"]].sum().cumsum() / result.cash
    paid = paid.reindex(net.index).ffill().fillna(0.0)
    lines = {"at the prices decided on": net + paid.sum(axis=1), "after the wait": net + paid["spread"],
             f"after {cost_bps:g} bps a side": net}
    return _plot_lines(lines, ((GREY, ":"), (ORANGE, "--"), (BLUE, "-")),
                       f"{fall['gross']:+.0f} % as decided, {fall['delay']:+.0f} by the wait, {fall['spread']:+.0f} in "
                       f"costs: {fall['net']:+.0f} %")


def _profit(result: BacktestResult) -> pd.Series:
    return 100 * (result.equity.loc[result.returns.index] / result.cash - 1.0)


def _plot_lines(lines: dict[str, pd.Series], styles, title: str) -> Plot:
    fig, (axis,) = figure()
    for (name, line), (colour, style) in zip(lines.items(), styles):
        axis.plot(line.index, line.to_numpy(), color=colour, linestyle=style, linewidth=1.2, label=name)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set(xlabel="date", ylabel="profit, % of the capital")
    axis.legend(frameon=False, loc="upper left")
    axis.set_title(title, loc="left")
    return fig


def plot_break_evens(table: pd.DataFrame, cost_bps: float, title: str) -> Plot:
    """Break-even costs with their intervals, a row a strategy of `break_evens`, and what trading costs."""
    fig, (axis,) = figure(size=(8.0, 1.2 + 0.32 * max(len(table), 2)))
    right = 1.1 * max([cost_bps, 1.0, *table[["break_even", "low", "high"]].replace(np.inf, np.nan).max().dropna()])
    kinds = {"clearly pays this cost": (table["low"] > cost_bps, "o", BLUE),
             "cannot pay it": (table["high"] < cost_bps, "x", ORANGE)}
    kinds["cannot be told"] = (~(kinds["clearly pays this cost"][0] | kinds["cannot pay it"][0]), "s", GREY)
    rows = np.arange(len(table))
    for name, (chosen, marker, colour) in kinds.items():
        axis.hlines(rows[chosen], table["low"][chosen], table["high"][chosen].clip(upper=right), color=colour,
                    linewidth=2.5, alpha=0.5)
        axis.plot(table["break_even"][chosen].clip(upper=right), rows[chosen], marker, color=colour, label=name)
    axis.axvline(cost_bps, color="black", linestyle="--", linewidth=1)
    axis.set_yticks(rows, [f"{name} ({turnover:.0f})" for name, turnover in table["turnover"].items()])
    axis.invert_yaxis()
    axis.set(xlabel=f"break-even cost, bps a side, 95 % interval (dashed: it costs {cost_bps:g})",
             xlim=(-0.02 * right, right), ylabel="turnover a year in brackets")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    axis.set_title(title, loc="left")
    return fig


def plot_speeds(table: pd.DataFrame, accuracy: float) -> Plot:
    """Break-even cost against turnover for rules of `speeds`, equally often right, on logarithmic axes."""
    fig, (axis,) = figure()
    axis.plot(table["turnover"], table["worked_out"], color=GREY, linestyle="--", label="what a side earns, worked out")
    axis.plot(table["turnover"], table["break_even"], "o", color=GREEN, label="break-even cost, found by running")
    for held, row in table.iterrows():
        axis.annotate(f"{held} day{'s' if held > 1 else ''}", (row["turnover"], row["break_even"]), (6, -10),
                      fontsize=8, textcoords="offset points")
    for name in ("x", "y"):
        getattr(axis, f"set_{name}scale")("log")
        getattr(axis, f"{name}axis").set_major_formatter(lambda value, _: f"{value:,.10g}")
        getattr(axis, f"{name}axis").set_minor_formatter(lambda value, _: "")
    axis.set_yticks([5, 10, 20, 50])
    axis.set_xticks([10, 20, 50, 100, 200, 500])
    axis.set_xlim(right=1.4 * table["turnover"].max())
    axis.set(xlabel="turnover, accounts a year (log scale)", ylabel="bps a side (log scale)")
    axis.legend(frameon=False)
    quick, slow = table["break_even"].iloc[[0, -1]]
    axis.set_title(f"All are right {accuracy:.0%} of the time; one can pay {quick:.0f} bps a side, another {slow:.0f}",
                   loc="left")
    return fig
