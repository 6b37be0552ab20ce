"""Lesson 09, rules and models: a rule's proposals as labels, ways to add a model, filters that toss coins, made worlds.

>>> from mlkit import regime_switching
>>> results = run_world(regime_switching(2_000, seed=3, strength=0.3))
>>> print({way: round(float(result.metrics["sharpe"]), 1) for way, result in list(results.items())[:5]})
{'rule': 2.3, 'replaced': 0.8, 'filtered': 2.7, 'vote': 1.0, 'switch': 2.6}
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from scipy.stats import norm

from mlkit.engine import (BacktestResult, CombinedStrategy, Costs, FilteredStrategy, MeanReversion, MLStrategy,
                          MovingAverageCross, RealisticExecutionHandler, RegimeSwitch, Strategy, backtest)
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.features.indicators import Feature, price_column, returns_over
from mlkit.labels import direction, meta_label
from mlkit.lessons.sizes import at_equal_volatility
from mlkit.models import make_model
from mlkit.overfitting import sharpe_standard_error
from mlkit.plots import BLUE, GREY, ORANGE, Plot, figure
from mlkit.research import OutOfSample, walk_forward
from mlkit.rolling import rolling_mean
from mlkit.splits import WalkForward
from mlkit.synthetic import planted_edge, random_walk, regime_switching

# ------------------------------------------------------------ what is learned


def proposals(bars: pd.DataFrame, rule: Strategy, features, cost_bps: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features (m, k) and `meta_label`s (m, 2) of the bars at which a rule proposes to buy, where both are known."""
    labels, X = meta_label(bars, rule.decide(bars), cost_bps), features(bars)
    known = X.notna().all(axis=1) & labels["label"].notna()
    return X[known], labels[known]


def folds_of(labels: pd.DataFrame, n_folds: int = 6) -> WalkForward:
    """A third of the rows (n) to begin with, then all so far, learned from anew `n_folds` times."""
    n = len(labels)
    return WalkForward(n // 3, ceil((n - n // 3) / n_folds), label_end=labels["end"], expanding=True)


def learn_filter(bars: pd.DataFrame, rule: Strategy, features, cost_bps: float) -> OutOfSample:
    """Which of a rule's proposals are likelier to pay than its average one: above 1/2 those that are."""
    X, labels = proposals(bars, rule, features, cost_bps)
    return walk_forward(make_model("logistic", class_weight="balanced"), X, labels, folds_of(labels))


def learn_replacement(bars: pd.DataFrame, features, since, n_folds: int = 6) -> OutOfSample:
    """The next direction of every bar from `since` on, by what was known before, learned anew `n_folds` times."""
    X, labels = features(bars), direction(bars)
    known = X.notna().all(axis=1) & labels["label"].notna()
    X, labels = X[known], labels[known]
    before = int((X.index < since).sum())
    splitter = WalkForward(before, ceil((len(X) - before) / n_folds), label_end=labels["end"], expanding=True)
    return walk_forward(make_model("logistic"), X, labels, splitter)


def calm_or_wild(bars: pd.DataFrame) -> np.ndarray:
    """"wild" where the volatility of 20 bars is above its median so far, else "calm"; "" in the first 250: (n,)."""
    volatility = Volatility(20)(bars)["volatility_20"]
    usual = volatility.expanding(250).median()
    return np.where(usual.isna(), "", np.where(volatility > usual, "wild", "calm"))


# ------------------------------------------------------------ what is earned


def trade(bars: pd.DataFrame, strategies: dict, cost_bps: float, sizers: dict | None = None) -> dict:
    """Backtests (name -> BacktestResult) from the first bar on which all may decide, at the same cost (bps a side).

    strategies : name -> Strategy; sizers : name -> sizer, for those that do not hold all of the equity
    """
    lookback = 1 + max(strategy.first_decision(bars) for strategy in strategies.values())
    execution, results = RealisticExecutionHandler(Costs(cost_bps, 0.0, 0.0)), {}
    for name, strategy in strategies.items():
        strategy = copy.deepcopy(strategy)
        strategy.lookback = lookback
        results[name] = backtest(bars, strategy, execution=execution, sizer=(sizers or {}).get(name))
        results[name].name = str(name)
    return results


def profits(result: BacktestResult) -> pd.Series:
    """What each closed trade earned after costs, over the value at its entry (trades,), by the time of its exit."""
    trades = result.trades[~result.trades["open"]]
    value = trades["quantity"].abs() * trades["entry_price"]
    return pd.Series((trades["net_profit"] / value).to_numpy(), pd.DatetimeIndex(trades["exit_time"], name="exit"))


def kept_and_refused(rule: BacktestResult, filtered: BacktestResult) -> tuple[pd.Series, pd.Series]:
    """The rule's own `profits` of the trades that a filter of it makes too, and of the others, by time of exit."""
    earned = profits(rule)
    kept = earned.index.isin(profits(filtered).index)
    return earned[kept], earned[~kept]


def figures_of(results: dict) -> pd.DataFrame:
    """A row a result: trades, won (share), profit (mean a trade, bps), exposure, sharpe and its error, both a year."""
    rows = {}
    for name, result in results.items():
        earned, sharpe, a_year = profits(result), result.metrics["sharpe"], np.sqrt(result.periods_per_year)
        error = a_year * sharpe_standard_error(sharpe / a_year, len(result.returns)) if np.isfinite(sharpe) else np.nan
        rows[name] = {"trades": len(earned), "won": (earned > 0).mean(), "profit": 1e4 * earned.mean(),
                      "exposure": result.metrics["exposure"], "sharpe": sharpe, "error": error}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"trades": int})


def differences_to(results: dict, base: str, *, n_boot: int = 500, seed: int = 0) -> pd.DataFrame:
    """How much each Sharpe ratio a year is above that of `base`: value, and error, its standard deviation by luck.

    The days are drawn again in blocks of the cube root of their number, the same for all (circular block
    bootstrap), each column at its own volatility. Left out: what never held anything, and what is `base` itself.
    """
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    steady = at_equal_volatility(results)
    above = steady.drop(columns=base).sub(steady[base], axis=0)
    above = above.loc[:, above.abs().max() > 1e-12]
    days = CircularBlockBootstrap(ceil(len(above) ** (1 / 3)), above.to_numpy(), seed=seed)
    drawn = days.apply(lambda values: values.mean(axis=0), n_boot)
    return pd.DataFrame({"value": above.mean(), "error": drawn.std(axis=0, ddof=1)})


def intervals(differences: pd.DataFrame, tried: int = 1) -> pd.DataFrame:
    """value, low and high of `differences_to`: 95 %, or wider, the 5 % of error shared among as many as were `tried`
    (Bonferroni)."""
    reach = norm.ppf(1.0 - 0.025 / tried) * differences["error"]
    return pd.DataFrame({"value": differences["value"], "low": differences["value"] - reach,
                         "high": differences["value"] + reach})


# ------------------------------------------------------------ filters that know nothing


class Followed(Strategy):
    """A rule whose proposals are followed where an array (n,) says so, its exits always."""

    shorts_from_flat = False

    def __init__(self, rule: Strategy, allowed: np.ndarray, lookback: int):
        super().__init__(rule.symbol)
        self.rule, self.allowed, self.lookback = rule, allowed, lookback

    def decide(self, bars: pd.DataFrame) -> np.ndarray:
        proposed = self.rule.decide(bars)
        return np.where((proposed > 0) & ~self.allowed, 0, proposed)


def random_filters(bars: pd.DataFrame, strategy: FilteredStrategy, cost_bps: float, *, n: int = 200,
                   seed: int = 0) -> pd.DataFrame:
    """The filter's own verdicts given to the wrong proposals: moved along, all by the same number of places, in a ring.

    So each lets as many proposals through as the filter does, in streaks as long, and knows nothing. Returns
    DataFrame (n + 1, 5), the filter itself first: trades, profit (mean a trade, bps), sharpe, and the shares of the
    rule's own trades that won, followed_won and refused_won.
    """
    first = strategy.first_decision(bars)
    at = np.flatnonzero(strategy.rule.decide(bars) > 0)
    at = at[at >= first]
    passes = strategy.scores(bars)[at] >= strategy.threshold
    rule = _followed(bars, strategy.rule, np.ones(len(bars), dtype=bool), first, cost_bps)
    rows = []
    for place in [0, *np.random.default_rng(seed).integers(1, max(len(at), 2), n)]:
        allowed = np.zeros(len(bars), dtype=bool)
        allowed[at] = np.roll(passes, place)
        result = _followed(bars, strategy.rule, allowed, first, cost_bps)
        earned, (followed, refused) = profits(result), kept_and_refused(rule, result)
        rows.append({"trades": len(earned), "profit": 1e4 * earned.mean(), "sharpe": result.metrics["sharpe"],
                     "followed_won": (followed > 0).mean(), "refused_won": (refused > 0).mean()})
    return pd.DataFrame(rows)


def _followed(bars, rule: Strategy, allowed: np.ndarray, first: int, cost_bps: float) -> BacktestResult:
    return trade(bars, {"": Followed(rule, allowed, first + 1)}, cost_bps)[""]


def as_good(random: pd.DataFrame, column: str = "profit") -> float:
    """The share of `random_filters` as good as the filter or better, itself among them: a p-value."""
    return float((random[column] >= random[column].iloc[0]).mean())


# ------------------------------------------------------------ made worlds


FOLLOW = MovingAverageCross(1, 2)  # long after a bar that rose, out after one that fell
FADE = MeanReversion(2, enter=-0.5, exit=0.5)  # the opposite
STRENGTH, WORLD_BARS, WORLD_COST = 0.2, 4_000, 1.0
WORLDS = {
    "it is right": lambda seed: planted_edge(WORLD_BARS, seed, STRENGTH),
    "it is wrong": lambda seed: planted_edge(WORLD_BARS, seed, -STRENGTH),
    "it is right at times": lambda seed: regime_switching(WORLD_BARS, seed, STRENGTH),
    "there is nothing to know": lambda seed: random_walk(WORLD_BARS, seed),
}


@dataclass(frozen=True, repr=False)
class Echo(Feature):
    """How the last `window` returns leaned on the ones before them: their correlation about 0, echo_window."""

    window: int

    def __post_init__(self):
        self._promise([f"echo_{self.window}"], lookback=self.window + 2, window=self.window)

    def _columns(self, bars):
        returns = np.nan_to_num(returns_over(price_column(bars, positive=True)))
        leaning = rolling_mean(returns * np.roll(returns, 1), self.window) / rolling_mean(returns**2, self.window)
        leaning[: self.window + 1] = np.nan
        return [leaning]


WORLD_FEATURES = FeatureSet([LaggedReturns(2), Echo(20), Echo(60)])


def follow_or_fade(bars: pd.DataFrame) -> np.ndarray:
    """The regime as 60 bars suggest it, (n,): 1.0 where returns echoed, -1.0 where they turned back, 0.0 unknown."""
    return np.nan_to_num(np.sign(Echo(60)(bars)["echo_60"].to_numpy()))


def run_world(bars: pd.DataFrame, cost_bps: float = WORLD_COST) -> dict[str, BacktestResult]:
    """The rule FOLLOW and ways to add a model to it, on the same days; by the truth too, if the bars hold `regime`."""
    found = learn_filter(bars, FOLLOW, WORLD_FEATURES, cost_bps)
    replacement = learn_replacement(bars, WORLD_FEATURES, found.predictions.index[0])
    model = MLStrategy(replacement, WORLD_FEATURES, enter=0.5, exit=0.5)
    ways = {"rule": FOLLOW, "replaced": model, "filtered": FilteredStrategy(FOLLOW, found, WORLD_FEATURES),
            "vote": CombinedStrategy([FOLLOW, model]),
            "switch": RegimeSwitch(follow_or_fade, {1.0: FOLLOW, -1.0: FADE})}
    if "regime" in bars:
        ways["best filter"] = Followed(FOLLOW, (bars["regime"] > 0).to_numpy(), FOLLOW.lookback)
        ways["best switch"] = RegimeSwitch(_truth, {1.0: FOLLOW, -1.0: FADE})
    return trade(bars, ways, cost_bps)


def _truth(bars: pd.DataFrame) -> pd.Series:
    return bars["regime"]


def many_worlds(n_worlds: int, seed: int = 0) -> pd.DataFrame:
    """Sharpe ratio a year of each way, a row a world: `n_worlds` of each kind, which differ by their luck alone."""
    rows = [{"the rule": kind, "world": number}
            | {way: result.metrics["sharpe"] for way, result in run_world(make(seed + number)).items()}
            for kind, make in WORLDS.items() for number in range(n_worlds)]
    return pd.DataFrame(rows).set_index(["the rule", "world"])


# ---------------------------------------------------------------- pictures


def plot_trades(groups: dict[str, pd.Series], title: str, limits: tuple[float, float] | None = None) -> Plot:
    """What each trade earned (`profits`), by the time of its exit: name -> trades.

    limits : of the profits drawn, fractions, so that pictures can be laid side by side
    """
    fig, (axis,) = figure()
    for (name, earned), (colour, marker) in zip(groups.items(), ((BLUE, "o"), (ORANGE, "x"))):
        axis.plot(earned.index, 100 * earned.to_numpy(), marker, color=colour, markersize=4, alpha=0.7,
                  label=f"{len(earned)} {name}")
    axis.axhline(0.0, color="black", linewidth=0.8)
    if limits is not None:
        room = 0.05 * (limits[1] - limits[0])
        axis.set_ylim(100 * (limits[0] - room), 100 * (limits[1] + room))
    axis.set(xlabel="date of the sale", ylabel="profit after costs, % of the purchase")
    axis.legend(frameon=False, ncols=2, loc="lower left")
    axis.set_title(title, loc="left")
    return fig


def plot_threshold(rule: BacktestResult, filters: dict[float, BacktestResult], threshold: float) -> Plot:
    """The rule's trades, those that a filter of this threshold still makes and the others: threshold -> result."""
    earned, kept = profits(rule), profits(filters[threshold])
    _, refused = kept_and_refused(rule, filters[threshold])
    sharpe, usual = filters[threshold].metrics["sharpe"], rule.metrics["sharpe"]
    each = (f"{1e4 * kept.mean():+.0f} bp each (all: {1e4 * earned.mean():+.0f}), "
            f"Sharpe ratio {sharpe:.2f} (all: {usual:.2f})")
    title = f"threshold {threshold:g}: {len(kept)} of {len(earned)} trades, {each if len(kept) else 'it never trades'}"
    return plot_trades({"followed": kept, "refused": refused}, title, (earned.min(), earned.max()))


def plot_random_filters(random: pd.DataFrame, usual: float, title: str) -> Plot:
    """Mean profit a trade (bps) of `random_filters`, the filter itself their first row, and of the rule: `usual`."""
    fig, (axis,) = figure()
    own, coins = random["profit"].iloc[0], random["profit"].iloc[1:]
    axis.hist(coins, bins=25, color=GREY, alpha=0.6, label=f"{len(coins)} filters that know nothing")
    axis.axvline(own, color=BLUE, linewidth=2.5, label="the model's filter")
    axis.axvline(usual, color=ORANGE, linestyle="--", linewidth=2, label="the rule, unfiltered")
    axis.set(xlabel="mean profit a trade after costs, bp", ylabel="filters")
    axis.legend(frameon=False)
    axis.set_title(title, loc="left")
    return fig


def plot_worlds(many: pd.DataFrame) -> Plot:
    """Sharpe ratios of `many_worlds`: a panel a kind, a dot a world, a bar at the mean of each way."""
    kinds = list(dict.fromkeys(many.index.get_level_values(0)))
    ways = list(many.columns[many.notna().all()])  # in every kind of world
    fig, axes = figure(len(kinds) // 2, size=(8.0, 1.0 + 1.0 * len(kinds)), columns=2)
    for axis, kind in zip(axes, kinds):
        found, mean = many.loc[kind, ways], many.loc[kind, ways].mean()
        for at, way in enumerate(ways):
            axis.plot(found[way], np.full(len(found), at), "o", color=GREY, markersize=4, alpha=0.6)
            axis.plot(mean[way], at, "|", color=BLUE, markersize=16, markeredgewidth=3)
        axis.axvline(0.0, color="black", linewidth=0.8)
        axis.set_title(f"{kind}: {mean.idxmax()} leads", loc="left")
    axes[0].set_yticks(range(len(ways)), ways)
    axes[0].set_ylim(len(ways) - 0.4, -0.6)
    for axis in axes[-2:]:
        axis.set_xlabel("Sharpe ratio after costs, a year")
    return fig
