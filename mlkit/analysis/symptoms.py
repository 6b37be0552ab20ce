"""What `diagnose` looks for: the thresholds, each with its reason, and the checks, each a short function.

A check takes a `Case`, one result and what several checks need of it, and gives its verdict and
what it measured, in words and numbers. None of the thresholds is a law.

>>> import numpy as np
>>> found = sharpe_interval(np.tile([0.01, -0.005], 500), 252)
>>> f"{found['low']:.2f} to {found['high']:.2f}"
'4.30 to 6.27'
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from mlkit import metrics
from mlkit.engine import Costs
from mlkit.engine.events import OrderReason, VetoReason
from mlkit.overfitting.sharpe import minimum_backtest_length, sharpe_standard_error
from mlkit.rolling import rolling_moments

Z = float(ndtri(0.975))  # of a 95 % interval
FEW_TRADES = 30  # with fewer, the share of trades won is known to 18 percentage points either way at best
ONE_TRADE = 0.5  # of the profit: whoever was not there that one time made half of it
BEST = 5  # trades without which some profit must be left
COST_SHARE = 0.5  # of what was earned before them: costs twice as high, an ordinary wrong guess, leave nothing
SHORT_HOLDING = 2.0  # bars: held for less, the bar between decision and fill is a good part of the trade
DELAY_SHARE = 1 / 3  # of the gross profit: then the edge is where nobody can trade, before the next open
HEAVY = 0.1  # of a bar's volume: the square-root law moves the price by 0.3 of its volatility there
AT_CAP = 0.01  # of the fills: one in a hundred may be an accident
CUT = 0.9  # of an order: at full size any gap up leaves a buy a little short of cash, and that is no fault
REFUSED = 0.1  # of the orders: a tenth of the decisions were not the strategy's own any more
SAME = 0.95  # correlation: nine tenths of the variance are the other's
LEAST_BARS = 60  # three thirds of a month each: what is shorter has no regimes
WINDOW = 20  # bars of trailing volatility, as in the impact law

INVALID, WARNING, UNKNOWN, OK = VERDICTS = ("invalid", "warning", "cannot say", "ok")
ORDINARY = ("order", VetoReason.HOLD, VetoReason.ALREADY_LONG, VetoReason.ALREADY_SHORT, VetoReason.NOTHING_TO_SELL,
            VetoReason.ORDER_CANCELLED, VetoReason.WARM_UP, VetoReason.NO_PRICE, VetoReason.NO_FORECAST,
            VetoReason.BELOW_EDGE, VetoReason.ZERO_SIZE)  # no limit and no lack of cash
NO_TRADE = UNKNOWN, "Nothing was traded."
NO_GAIN = UNKNOWN, "There is no profit whose origin could be asked."


class Case:
    """One result, and what several checks need of it, worked out once."""

    def __init__(self, result, n_trials, benchmark):
        self.result, self.n_trials, self.benchmark = result, n_trials, benchmark
        self.periods = result.periods_per_year
        self.returns = result.returns.to_numpy()
        self.fills, self.trades = result.fills, result.trades
        self.gross, self.net = result.waterfall["gross"], result.waterfall["net"]

    @cached_property
    def sharpe(self) -> dict | None:
        return sharpe_interval(self.returns, self.periods)

    @cached_property
    def market(self) -> np.ndarray:
        """Simple returns of what was traded, of several their mean, on all bars of the run: (bars,)."""
        clock, parts = self.result.equity.index, []
        for symbol in self.fills["symbol"].unique():
            close = self.result.bars[symbol]["close"].reindex(clock, method="ffill").to_numpy(dtype=float)
            parts.append(np.append(0.0, close[1:] / close[:-1] - 1.0))
        known = ~np.isnan(parts)
        return np.where(known, parts, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)

    @cached_property
    def of_equity(self) -> np.ndarray:
        """Net profit of each trade over the equity before it: money of later trades is not worth more."""
        equity = self.result.equity
        before = np.append(self.result.cash, equity)[equity.index.searchsorted(self.trades["entry_time"])]
        return self.trades["net_profit"].to_numpy() / before


def sharpe_interval(returns: np.ndarray, periods: float) -> dict | None:
    """Sharpe ratio a year of returns (n,), 95 % interval, chance that it is above 0; None where there is no ratio.

    Standard error of Mertens (2002); where the correlation with the return before is above 2 / sqrt(n), it
    is widened by sqrt((1 + rho) / (1 - rho)), what a first-order autoregression does to a mean (Lo, 2002).
    """
    ratio, n = metrics.sharpe(returns, 1.0), len(returns)
    if not np.isfinite(ratio) or not np.isfinite(periods):
        return None
    standard = (returns - returns.mean()) / returns.std()
    error = sharpe_standard_error(ratio, n, (standard**3).mean(), (standard**4).mean())
    rho = float((standard[1:] * standard[:-1]).mean())
    wider = np.sqrt((1.0 + rho) / (1.0 - rho)) if rho > 2.0 / np.sqrt(n) else 1.0
    year, half = np.sqrt(periods), Z * error * wider
    return {"sharpe": ratio * year, "low": (ratio - half) * year, "high": (ratio + half) * year,
            "probability": float(ndtr(ratio / (error * wider))), "rho": rho, "wider": float(wider)}


# ---- the checks: each takes a Case and gives (verdict, what was measured)


def _warn_if(bad: bool) -> str:
    return WARNING if bad else OK


def _same_bar(case) -> tuple[str, str]:
    if case.result.unsafe_same_bar:
        return INVALID, "Orders were filled at the very close they were decided on: no one can trade there."
    return OK, "No order was filled before the bar after its decision."


def _bankrupt(case) -> tuple[str, str]:
    equity = case.result.equity
    if case.result.bankrupt:
        return INVALID, f"The equity fell to {equity.iloc[-1]:,.0f} on {equity.index[-1]}, and the run stopped there."
    return OK, f"The equity never fell below {equity.min() / case.result.cash:.0%} of the capital."


def _noise(case) -> tuple[str, str]:
    found = case.sharpe
    if found is None:
        return UNKNOWN, f"The {len(case.returns)} returns are constant or too few: they have no Sharpe ratio."
    wider = f" (autocorrelation {found['rho']:.2f} widens it by {found['wider'] - 1:.0%})" if found["wider"] > 1 else ""
    return _warn_if(found["low"] <= 0.0), (
        f"Sharpe ratio {found['sharpe']:.2f} a year, 95 % interval {found['low']:.2f} to {found['high']:.2f}{wider}; "
        f"{found['probability']:.1%} sure to be above 0.")


def _trials(case) -> tuple[str, str]:
    if case.n_trials is None:
        return UNKNOWN, "Nobody said how many were tried: give n_trials, or keep a TrialLedger open."
    years_for_one = minimum_backtest_length(case.n_trials)  # for a Sharpe ratio of 1
    if case.sharpe is None or not case.sharpe["sharpe"] > 0.0:
        return UNKNOWN, "There is no Sharpe ratio above 0 that luck would have to explain."
    years, target = len(case.returns) / case.periods, case.sharpe["sharpe"]
    needed = years_for_one / target**2
    tried = f"{case.n_trials:,.0f} trial{'' if case.n_trials == 1 else 's'}"
    return _warn_if(needed > years), (f"{tried}: in up to {needed:.1f} years the best shows a Sharpe ratio of "
                                      f"{target:.2f} by luck alone, and the backtest has {years:.1f}.")


def _few_trades(case) -> tuple[str, str]:
    n, won = len(case.trades), int((case.trades["net_profit"] > 0).sum())
    if n == 0:
        return WARNING, "There is no trade to judge by."
    middle, half = won + Z**2 / 2, Z * np.sqrt(won * (n - won) / n + Z**2 / 4)  # Wilson (1927)
    return _warn_if(n < FEW_TRADES), (f"{n:,} trade{'' if n == 1 else 's'}, {won / n:.0%} of them won: 95 % interval "
                                      f"{(middle - half) / (n + Z**2):.0%} to {(middle + half) / (n + Z**2):.0%}.")


def _one_trade(case) -> tuple[str, str]:
    profits = np.sort(case.of_equity)[::-1]
    if not len(profits):
        return NO_TRADE
    if not profits.sum() > 0.0:
        return NO_GAIN
    if len(profits) == 1:
        return WARNING, "There is but one trade, and it made all of the profit."
    one, best = profits[0] / profits.sum(), profits[:BEST].sum() / profits.sum()
    bad = one > ONE_TRADE or (best >= 1.0 and len(profits) >= FEW_TRADES)
    return _warn_if(bad), (f"The best trade made {one:.0%} of the profit, the best {min(BEST, len(profits))} "
                           f"{best:.0%} (as shares of the equity at entry).")


def _period(case) -> tuple[str, str]:
    grown = [float(np.prod(1.0 + part)) for part in np.array_split(case.returns, 3)]
    return _only_one(case, [each - 1.0 for each in grown], math.prod(grown) - 1.0, "Thirds of the time")


def _volatility(case) -> tuple[str, str]:
    if case.fills.empty:
        return NO_TRADE
    bars = len(case.market)  # the first of them has no return, and each is told by what came before it
    spread = np.append([np.nan, np.nan], rolling_moments(case.market[1:], WINDOW)[1][:-1])
    spread = spread[bars - len(case.returns):bars]
    known = np.isfinite(spread)
    wild = spread > np.median(spread[known]) if known.any() else known
    if not wild.any():
        return UNKNOWN, "The instrument moves always alike, or there are too few bars to tell."
    halves = [float(case.returns[known & each].sum()) for each in (~wild, wild)]
    return _only_one(case, halves, sum(halves),
                     "Calm and wild half of the bars, by the instrument's volatility before them,")


def _only_one(case, parts: list[float], total: float, what: str) -> tuple[str, str]:
    """Whether all of the gain, `total`, came from one part."""
    if len(case.returns) < LEAST_BARS:
        return UNKNOWN, f"{len(case.returns)} bars are too few to compare parts of them."
    if not total > 0.0:
        return NO_GAIN
    return _warn_if(total <= max(parts)), f"{what} made {', '.join(f'{part:+.1%}' for part in parts)}."


def _costs(case) -> tuple[str, str]:
    if case.fills.empty:
        return NO_TRADE
    paid, capital = case.result.figures["trading_cost"], case.result.cash
    earned = case.net + paid
    if earned <= 0.0:
        return WARNING, f"It made {earned / capital:+.1%} of the capital before any cost of trading."
    if case.result.execution.costs == Costs(0, 0, 0):
        return WARNING, "No cost was charged: what is shown is what nobody gets."
    return _warn_if(paid > COST_SHARE * earned), (
        f"Trading took {paid / earned:.0%} of what was earned before it, {earned / capital:+.1%} of the capital.")


def _delay(case) -> tuple[str, str]:
    if case.trades.empty:
        return NO_TRADE
    if case.gross <= 0.0:
        return NO_GAIN
    held, share = case.trades["bars_held"].mean(), -case.result.waterfall["delay"] / case.gross
    return _warn_if(held < SHORT_HOLDING and share > DELAY_SHARE), (
        f"A trade is held for {held:,.1f} bars; the wait from decision to fill took {share:.1%} of the gross profit.")


def _participation(case) -> tuple[str, str]:
    if case.fills.empty:
        return NO_TRADE
    bars, costs = case.result.bars, case.result.execution.costs
    if not all("volume" in bars[symbol] for symbol in case.fills["symbol"].unique()):
        return UNKNOWN, "There is no volume to compare the fills with."
    limit = costs.max_participation if costs.impact else min(HEAVY, costs.max_participation)
    traded = case.fills["quantity"].abs().groupby([case.fills["symbol"], case.fills["timestamp"]]).sum()
    share = np.concatenate([own.to_numpy() / bars[symbol]["volume"].reindex(own.index.get_level_values(1)).to_numpy()
                            for symbol, own in traded.groupby(level=0)])
    heavy = (share >= limit * (1.0 - 1e-9)).mean()
    return _warn_if(heavy > AT_CAP), (f"{heavy:.0%} of the fills were {100 * limit:.3g} % of the bar's volume or more, "
                                      f"{'the cap' if limit == costs.max_participation else 'without impact'}; the "
                                      f"largest was {100 * share.max():.3g} %.")


def _refused(case) -> tuple[str, str]:
    orders, outcome, risk = case.result.orders, case.result.signals["outcome"], case.result.risk
    vetoed = int((~outcome.isin(ORDINARY)).sum())
    allowed, wanted = risk["allowed"].abs(), risk["asked"].abs()
    smaller = ~risk["reason"].isin(ORDINARY) & (allowed > 0.0) & (allowed < CUT * wanted)
    poor = (orders["reason"] == OrderReason.CASH) & (orders["filled"].abs() < CUT * orders["quantity"].abs())
    asked = len(orders) + vetoed
    if not asked:
        return UNKNOWN, "There was no order."
    return _warn_if(vetoed + smaller.sum() + poor.sum() > REFUSED * asked), (
        f"Of {asked:,} orders that were wanted, limits refused {vetoed:,} and cut {smaller.sum():,} below {CUT:.0%}, "
        f"and for lack of cash {poor.sum():,} got less than that.")


def _the_market(case) -> tuple[str, str]:
    if case.fills.empty:
        return NO_TRADE
    same = correlation(case.returns, case.market[len(case.market) - len(case.returns):])
    if same is None:
        return UNKNOWN, "The returns or the prices are constant, or too few."
    inside = case.result.figures["exposure"]
    return _warn_if(same > SAME), f"In the market on {inside:.0%} of the bars; correlation with the traded {same:.2f}."


def _benchmark(case) -> tuple[str, str]:
    if case.benchmark is None:
        return UNKNOWN, "No benchmark was given."
    own, other = case.result.returns.align(case.benchmark.returns, join="inner")
    if len(own) < 2:
        return UNKNOWN, "It has no bars in common with the benchmark."
    beta = np.cov(own, other)[0, 1] / other.var() if other.var() > 0.0 else 0.0
    left = sharpe_interval((own - beta * other).to_numpy(), case.periods)
    if left is None:
        return WARNING, f"It is {beta:.2f} times the benchmark, and nothing else."
    return _warn_if(left["low"] <= 0.0), (
        f"Without {beta:.2f} times the benchmark, the Sharpe ratio is {left['sharpe']:.2f} a year, 95 % interval "
        f"{left['low']:.2f} to {left['high']:.2f}.")


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Of two arrays (n,); None where one does not move."""
    if len(first) < 2 or not min(first.std(), second.std()) > metrics.CONSTANT * 0.01:
        return None
    return float(np.corrcoef(first, second)[0, 1])


CHECKS = {  # in order of what they cost
    "same-bar fills": (_same_bar, "Run it again without unsafe_same_bar."),
    "bankruptcy": (_bankrupt, "Trade smaller, or limit the loss: after this there is no account to go on with."),
    "noise": (_noise, "Take it for luck until more bars, or another market, show the same."),
    "trials": (_trials, "Deflate the Sharpe ratio (deflated_sharpe), or test the one choice on bars not yet seen."),
    "few trades": (_few_trades, "Test it over more years or more instruments before you judge."),
    "one trade": (_one_trade, "Look that trade up in result.trades: is it the rule's doing, or a piece of news?"),
    "period": (_period, "Ask what was different then, and test it where that was not so."),
    "volatility": (_volatility, "Ask whether the edge is the regime's: trade it there only if you knew that before."),
    "costs": (_costs, "Trade less often or demand more of a signal; see break_even_cost."),
    "delay": (_delay, "The profit lies between the close and the next open: decide earlier, or hold for longer."),
    "participation": (_participation, "This size moves the price: use less capital, or set impact and a cap."),
    "refused orders": (_refused, "Size it so that it may do what it decides, or count the limits as part of the rule."),
    "the market": (_the_market, "Compare it with buy and hold: diagnose(..., benchmark=...)."),
    "benchmark": (_benchmark, "Nothing shows that it adds to the benchmark, which is less work to hold."),
}
