"""Lesson 08, how much: a gambler's bets, one signal in six sizes, limits that save or lock in, a currency on a leash.

>>> round(float(growth(0.2, win=0.6)), 4), round(float(growth(0.4, win=0.6)), 4)  # the best bet, and twice that
(0.0201, -0.0024)
>>> round(share_with_less(0.6, win=0.6, n_bets=200), 3)
0.965
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from scipy.stats import binom

from mlkit.engine import (BacktestResult, Costs, DrawdownRisk, RealisticExecutionHandler, RiskManager, Strategy,
                          backtest)
from mlkit.features import Volatility
from mlkit.overfitting import sharpe_standard_error
from mlkit.plots import BLUE, CYCLE, GREY, ORANGE, Plot, figure, panels
from mlkit.synthetic import planted_edge

RUIN = 0.01  # of the first wealth: who has fallen below it counts as ruined, whatever comes later
DRAWN = 100  # players whose wealth is drawn
PRICES = ["open", "high", "low", "close"]
LIMITS = ("no limit", "hard limit", "soft limit")

# ------------------------------------------------------------- the gambler


def growth(fraction, win: float):
    """Expected growth of the logarithm of wealth a bet, at even money: `fraction` of it staked, won with chance `win`.

    Kelly (1956), Bell System Technical Journal 35, 917; highest at a fraction of 2 win - 1.
    """
    return win * np.log1p(fraction) + (1.0 - win) * np.log1p(-np.asarray(fraction))


def gamblers(fraction: float, win: float, n_bets: int, n_players: int = 1_000, seed: int = 0) -> np.ndarray:
    """Wealth of players who stake the same fraction of what they have, bet after bet: (n_bets + 1, n_players), from 1."""
    won = np.random.default_rng(seed).random((n_bets, n_players)) < win
    steps = np.where(won, 1.0 + fraction, 1.0 - fraction)
    return np.vstack([np.ones(n_players), np.cumprod(steps, axis=0)])


def share_with_less(fraction: float, win: float, n_bets: int) -> float:
    """The exact share of such players who end with less than they began."""
    wins = np.arange(n_bets + 1)
    ends = wins * np.log1p(fraction) + (n_bets - wins) * np.log1p(-fraction)
    return float(binom.pmf(wins, n_bets, win)[ends < 0].sum())


def gamblers_table(fractions, win: float, n_bets: int, seed: int = 0) -> pd.DataFrame:
    """A row a fraction: growth a bet, the expected and the median wealth, the shares that lost and were ruined."""
    rows = {}
    for fraction in fractions:
        wealth = gamblers(fraction, win, n_bets, seed=seed)
        rows[f"{fraction:.0%}"] = {
            "growth a bet": float(growth(fraction, win)), "expected": (1.0 + fraction * (2.0 * win - 1.0)) ** n_bets,
            "median": float(np.median(wealth[-1])), "with less": share_with_less(fraction, win, n_bets),
            "ruined": float((wealth.min(axis=0) < RUIN).mean())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("staked")


# --------------------------------------------------------------- six sizes


def size_table(results: dict[str, BacktestResult]) -> pd.DataFrame:
    """Figures of results on the same days: share held (at the entries, of equity), annual_return, volatility,
    max_drawdown, sharpe and error (its standard error), both a year; NaN where nothing was bought."""
    rows = {}
    for name, result in results.items():
        buys = _buys(result)
        share = buys["quantity"] * buys["price"] / result.equity.loc[buys["timestamp"]].to_numpy()
        a_year = np.sqrt(result.periods_per_year)
        sharpe = result.metrics["sharpe"]
        error = a_year * sharpe_standard_error(sharpe / a_year, len(result.returns)) if np.isfinite(sharpe) else np.nan
        rows[name] = {"share held": share.mean(), **result.metrics[["annual_return", "volatility", "max_drawdown", "sharpe"]],
                      "error": error}
    return pd.DataFrame.from_dict(rows, orient="index")


def _buys(result: BacktestResult) -> pd.DataFrame:
    return result.fills[result.fills["quantity"] > 0]


def at_equal_volatility(results: dict[str, BacktestResult]) -> pd.DataFrame:
    """Returns (n, sizes), each divided by its own deviation a bar and a year's root: the mean of a column is its
    Sharpe ratio a year. Sizes that never held anything are left out."""
    returns = pd.DataFrame({name: result.returns for name, result in results.items()})
    returns = returns.loc[:, returns.std() > 0]
    return returns / returns.std() * np.sqrt(next(iter(results.values())).periods_per_year)


# ---------------------------------------------------------- drawdown limits


class FollowTheDay(Strategy):
    """Long after a bar that rose, out after one that fell: what a leaning of `planted_edge` above 0 pays for."""

    shorts_from_flat = False
    lookback = 2

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        close = bars["close"].to_numpy()
        return np.sign(np.diff(close, prepend=close[:1])).astype(np.int8)


def edge_that_turns(n_bars: int, seed: int, strength: float, turn: int) -> pd.DataFrame:
    """`planted_edge` bars whose leaning changes its sign at bar `turn`; the luck, bar by bar, is that of the same seed."""
    bars, against = planted_edge(n_bars, seed, strength), planted_edge(n_bars, seed, -strength)
    if turn < n_bars:
        joined = against[PRICES] * (bars["close"].iloc[turn - 1] / against["close"].iloc[turn - 1])
        bars.loc[bars.index[turn:], PRICES] = joined.iloc[turn:]
    return bars


def fall_to_fear(bars: pd.DataFrame) -> pd.Series:
    """A plain forecast of the deepest fall over 20 bars (n,): two of their deviations, by the last 60 returns."""
    return -2.0 * np.sqrt(20) * Volatility(60)(bars)["volatility_60"]


def with_limits(bars: pd.DataFrame, strategy: Strategy, limit: float, cost_bps: float) -> dict[str, BacktestResult]:
    """The same strategy without a limit on the drawdown, with a hard one and with a soft one.

    hard : RiskManager(max_drawdown=limit), no new risk below it; soft : DrawdownRisk by `fall_to_fear`, the less
    risk the closer the account is to it (in the spirit of Grossman & Zhou 1993, Mathematical Finance 3, 241)
    """
    risks = (None, RiskManager(max_drawdown=limit), DrawdownRisk(fall_to_fear, max_drawdown=limit, horizon=20))
    execution = RealisticExecutionHandler(Costs(cost_bps, 0.0, 0.0))
    return {name: backtest(bars, strategy, risk=risk, execution=execution) for name, risk in zip(LIMITS, risks)}


def limits_in_worlds(n_worlds: int, limit: float, *, turn: int, n_bars: int = 1_500, strength: float = 0.1,
                     cost_bps: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Total returns of `with_limits` in worlds that differ by their luck alone, a row a world.

    Beside the three, `reached`: whether the run without a limit went below it; `hard stops` and `soft stops`: the bar
    of the last purchase under each limit.
    """
    rows = []
    for number in range(n_worlds):
        bars = edge_that_turns(n_bars, seed + number, strength, turn)
        found = with_limits(bars, FollowTheDay(), limit, cost_bps)
        row = {name: result.metrics["total_return"] for name, result in found.items()}
        row["reached"] = found["no limit"].metrics["max_drawdown"] < -limit
        stops = {f"{name[:4]} stops": bars.index.get_loc(_buys(found[name])["timestamp"].iloc[-1]) for name in LIMITS[1:]}
        rows.append(row | stops)
    return pd.DataFrame(rows)


# ------------------------------------------------------ a currency on a leash


def asked(sizer, bars: pd.DataFrame) -> pd.Series:
    """The share of equity that a sizer with a forecast asks for at each close (n,), before anyone limits it."""
    return pd.Series(sizer.fractions(1.0, sizer.forecast(bars)), bars.index)


def floored(bars: pd.DataFrame) -> pd.Series:
    """Volatility a bar (n,): of the last 20 returns, but never less than that of all so far, once there are 250."""
    returns = bars["close"].pct_change()
    return returns.rolling(20).std().clip(lower=returns.expanding(250).std())


# ---------------------------------------------------------------- pictures


def plot_growth(win: float, fractions=()) -> Plot:
    """Growth a bet against the fraction staked, as a curve, and at some fractions as players measured it."""
    best, stakes = 2.0 * win - 1.0, np.linspace(0.0, 0.7, 701)
    gone = stakes[growth(stakes, win) >= 0].max()
    fig, (axis,) = figure()
    axis.plot(100 * stakes, 100 * growth(stakes, win), color=BLUE, label="worked out")
    measured = [np.log(gamblers(each, win, 200)[-1]).mean() / 200 for each in fractions]
    axis.plot(100 * np.array(fractions), 100 * np.array(measured), "o", color=ORANGE, label="1,000 players, 200 bets")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.axvline(100 * best, color=GREY, linestyle="--", linewidth=1)
    axis.set(xlabel=f"staked, % of wealth (dashed: Kelly, {best:.0%})", ylabel="growth of log wealth a bet, %")
    axis.legend(frameon=False, loc="lower left")
    axis.set_title(f"Wealth grows fastest at {best:.0%} a bet, and not at all from {gone:.0%} on", loc="left")
    return fig


def plot_gamblers(fraction: float, win: float, n_bets: int = 200, seed: int = 0, *, on: Plot | None = None) -> Plot:
    """Wealth of some players bet by bet, the median of a thousand, and what the average promises."""
    wealth, bets = gamblers(fraction, win, n_bets, seed=seed), np.arange(n_bets + 1)
    fig, (axis,) = panels((8.0, 4.2), (0.09, 0.12, 0.89, 0.8), on=on)
    axis.plot(bets, wealth[:, :DRAWN], color=GREY, linewidth=0.4, alpha=0.5)
    axis.plot(bets, np.median(wealth, axis=1), color=BLUE, linewidth=2, label="median of 1,000 players")
    axis.plot(bets, (1.0 + fraction * (2.0 * win - 1.0)) ** bets, color=ORANGE, linestyle="--", linewidth=2,
              label="expected wealth")
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set(yscale="log", xlabel="bets", ylabel="wealth, from 1 (log scale)")
    axis.minorticks_off()
    axis.legend(frameon=False, loc="upper left")
    axis.set_title(f"{fraction:.0%} staked, {win:.0%} won: {share_with_less(fraction, win, n_bets):.0%} have less than "
                   f"they began with, {(wealth.min(axis=0) < RUIN).mean():.0%} were ruined", loc="left")
    return fig


def plot_limits(worlds: dict[str, dict[str, BacktestResult]]) -> Plot:
    """Equity with and without limits, a panel a world: name -> `with_limits`."""
    fig, axes = figure(len(worlds), size=(8.0, 0.8 + 2.5 * len(worlds)))
    for axis, (world, found) in zip(axes, worlds.items()):
        for (name, result), (colour, style) in zip(found.items(), CYCLE):
            axis.plot(np.arange(len(result.equity)), 100 * result.equity / result.cash, color=colour, linestyle=style,
                      linewidth=1.2, label=f"{name}: {result.metrics['total_return']:+.0%}")
        free, hard = (found[name].metrics["total_return"] for name in LIMITS[:2])
        what = "saves" if hard > free else "costs" if hard < free else "changes"
        axis.set_title(f"{world}: the hard limit {what} {abs(hard - free):.0%} of the capital", loc="left")
        axis.set_ylabel("equity, % of the capital")
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    axes[-1].set_xlabel("bars")
    return fig


def plot_asked(asks: pd.DataFrame, target: float) -> Plot:
    """How many times the equity a volatility target asks for, market by market, on a logarithmic scale."""
    fig, (axis,) = figure()
    for (name, values), (colour, style) in zip(asks.items(), cycle(CYCLE)):
        axis.plot(values.index, values.to_numpy(), color=colour, linestyle=style, linewidth=0.9, label=name)
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set(yscale="log", xlabel="date", ylabel="asked, times the equity (log scale)")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_ylim(top=4 * asks.max().max())
    axis.legend(frameon=False, ncols=3, loc="upper right")
    most = ", ".join(f"{values.max():,.0f} of {name}" for name, values in asks.items())
    axis.set_title(f"For {target:.0%} a year it asks for up to {most}", loc="left")
    return fig
