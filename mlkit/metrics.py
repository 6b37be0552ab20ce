"""Performance figures from returns, trades and fills.

Returns are simple, one a bar, the first measured from the initial capital. The
Sharpe ratio is arithmetic: mean / standard deviation (ddof=1) x sqrt(periods a
year), without a risk-free rate. What is undefined is NaN, never 0 and never
infinity: a series that does not move has no Sharpe ratio.

>>> round(sharpe([0.01, -0.005, 0.02, 0.0]), 2)
8.95
>>> max_drawdown([-0.1, 0.05])
-0.09999999999999998
"""

from __future__ import annotations

import numpy as np
import pandas as pd

DAYS_PER_YEAR = 252
CONSTANT = 1e-12  # spread of returns, relative to their size (to 1 % at least), below which they do not move


def _array(values) -> np.ndarray:
    return np.asarray(values, dtype=float)


def periods_per_year(index: pd.DatetimeIndex) -> float:
    """Bars a year, from the median distance of the bars.

    252 for daily bars on weekdays, 365 with weekends, 52, 12, 4 and 1 for weekly to
    yearly ones; intraday bars are counted (bars / years). NaN for fewer than two bars.
    """
    if len(index) < 2:
        return np.nan
    seconds = np.median(np.diff(index.as_unit("s").asi8[-10_000:]))
    days = seconds / 86400
    if days < 0.9:
        years = (index[-1] - index[0]).total_seconds() / (365.25 * 86400)
        return float(round((len(index) - 1) / years))
    if days < 4:
        return 365.0 if (index[-2_000:].day_of_week >= 5).mean() > 0.2 else float(DAYS_PER_YEAR)
    for limit, periods in ((15, 52.0), (60, 12.0), (180, 4.0)):
        if days < limit:
            return periods
    return 1.0


def sharpe(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annualised Sharpe ratio of returns (n,); NaN for fewer than two or for a constant series."""
    returns = _array(returns)
    if len(returns) < 2 or _is_constant(returns):
        return np.nan
    return float(returns.mean() / returns.std(ddof=1) * np.sqrt(periods_per_year))


def sortino(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Mean over downside deviation (root mean square of the returns below 0, over all n), annualised.

    Sortino & Price (1994), with a target of 0. NaN when nothing was lost.
    """
    returns = _array(returns)
    if len(returns) < 2 or _is_constant(returns):
        return np.nan
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
    return float(returns.mean() / downside * np.sqrt(periods_per_year)) if downside > 0 else np.nan


def volatility(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annualised sample standard deviation (ddof=1); NaN for fewer than two returns."""
    returns = _array(returns)
    return float(returns.std(ddof=1) * np.sqrt(periods_per_year)) if len(returns) > 1 else np.nan


def total_return(returns) -> float:
    """Compound return over all of them: 0.5 = half as much again."""
    return float(np.prod(1.0 + _array(returns)) - 1.0)


def annual_return(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Compound return a year; -1 when everything was lost, NaN for no returns."""
    n, growth = len(returns), 1.0 + total_return(returns)
    if n == 0:
        return np.nan
    return float(growth ** (periods_per_year / n) - 1.0) if growth > 0 else -1.0


def drawdown(returns) -> np.ndarray:
    """Equity below its highest point so far, the initial capital included: (n,), 0 or negative."""
    growth = np.cumprod(1.0 + _array(returns))
    return growth / np.maximum(np.maximum.accumulate(growth), 1.0) - 1.0 if len(growth) else growth


def max_drawdown(returns) -> float:
    """The deepest drawdown, 0 or negative (-0.2: a fifth below the peak); NaN for no returns."""
    below = drawdown(returns)
    return float(below.min()) if len(below) else np.nan


def calmar(returns, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Annual return over the depth of the maximum drawdown; NaN when there was none."""
    depth = -max_drawdown(returns)
    return annual_return(returns, periods_per_year) / depth if depth > 0 else np.nan


def win_rate(profits) -> float:
    """Share of closed trades with a net profit above 0; NaN without trades."""
    profits = _profits(profits)
    return float((profits > 0).mean()) if len(profits) else np.nan


def profit_factor(profits) -> float:
    """Gross profits over gross losses of closed trades; NaN when there is no loss."""
    profits = _profits(profits)
    losses = -profits[profits < 0].sum()
    return float(profits[profits > 0].sum() / losses) if losses > 0 else np.nan


def average_win(profits) -> float:
    profits = _profits(profits)
    return float(profits[profits > 0].mean()) if (profits > 0).any() else np.nan


def average_loss(profits) -> float:
    """Mean net profit of the closed trades that lost: negative, NaN when none did."""
    profits = _profits(profits)
    return float(profits[profits < 0].mean()) if (profits < 0).any() else np.nan


def turnover(traded_value: float, equity, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Value traded a year, buys and sells alike, as a multiple of mean equity (n,)."""
    equity = _array(equity)
    if not len(equity) or not equity.mean() > 0:
        return np.nan
    return float(traded_value / equity.mean() * periods_per_year / len(equity))


def summary(returns, equity, profits, held, traded_value: float, waterfall: dict, periods_per_year: float,
            n_open_trades: int = 0) -> dict[str, float]:
    """Every figure of a backtest, by name.

    returns, equity, held : (n,) over the bars of the statistics; `held` says whether
        anything was held at each close
    profits : net profits of the closed trades
    traded_value : sum of |quantity| x price over the fills
    waterfall : signed effects on profit, with "gross" and the six costs
    """
    costs = {name: -waterfall[name] for name in ("delay", "spread", "slippage", "impact", "commission", "borrow")}
    total_cost, gross = sum(costs.values()), waterfall["gross"]
    return {
        "total_return": total_return(returns),
        "annual_return": annual_return(returns, periods_per_year),
        "volatility": volatility(returns, periods_per_year),
        "sharpe": sharpe(returns, periods_per_year),
        "sortino": sortino(returns, periods_per_year),
        "max_drawdown": max_drawdown(returns),
        "calmar": calmar(returns, periods_per_year),
        "n_trades": float(len(profits)),
        "n_open_trades": float(n_open_trades),
        "win_rate": win_rate(profits),
        "profit_factor": profit_factor(profits),
        "average_win": average_win(profits),
        "average_loss": average_loss(profits),
        "exposure": float(np.mean(held)) if len(held) else np.nan,
        "turnover": turnover(traded_value, equity, periods_per_year),
        "trading_cost": total_cost - costs["delay"],
        "total_cost": total_cost,
        **{f"{name}_cost": cost for name, cost in costs.items()},
        "cost_share_of_gross": total_cost / gross if gross > 0 else np.nan,
        "periods_per_year": float(periods_per_year),
        "n_bars": float(len(returns)),
    }


def _profits(trades) -> np.ndarray:
    """Net profits of closed trades, from such an array or from the table of trades."""
    if isinstance(trades, pd.DataFrame):
        trades = trades.loc[~trades["open"], "net_profit"]
    return _array(trades)


def _is_constant(values: np.ndarray) -> bool:
    return np.ptp(values) <= CONSTANT * max(np.abs(values).max(), 0.01)
