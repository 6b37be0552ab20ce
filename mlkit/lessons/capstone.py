"""Lesson 11, is it worth the complexity: bars, audits, backtests and a decision by rules that were made before it.

What is measured is here, what is decided by it in `mlkit.lessons.decision`, the pictures in
`mlkit.lessons.capstone_pictures`.

>>> from mlkit import planted_edge
>>> setup = Setup("logistic", train_size=500, test_size=250)
>>> bars = usable(planted_edge(1_500, seed=1, strength=0.3), setup)
>>> results = trade(bars, setup, traders_of(bars, setup, research(bars, setup)))
>>> print({name: round(float(each.metrics["sharpe"]), 1) for name, each in results.items()})
{'logistic': 2.3, 'mean reversion': -0.3, 'buy & hold': 0.0}
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit import metrics
from mlkit.checks import PRICES, BarsError
from mlkit.engine import (BacktestResult, BuyAndHold, Costs, MeanReversion, MLStrategy, RealisticExecutionHandler,
                          Strategy, compare)
from mlkit.features import RSI, FeatureSet, LaggedReturns, PriceToAverage, Volatility
from mlkit.features.indicators import whole_number
from mlkit.labels import direction
from mlkit.leakage import LeakageReport, audit_features, audit_procedure, audit_split, audit_strategy
from mlkit.markets import check_bars, datasets, load_bars, read_bars
from mlkit.models import make_model
from mlkit.models.scoring import Schedule, name_of
from mlkit.plots import format_metric
from mlkit.research import OutOfSample, walk_forward
from mlkit.splits import WalkForward
from mlkit.widgets import Decided

FEATURES = FeatureSet([LaggedReturns(5), PriceToAverage(5, 20), Volatility(20), RSI(14)])
NAIVE = "majority"  # the family that knows nothing but which direction was commoner
RIVALS = {"mean reversion": MeanReversion(20), "buy & hold": BuyAndHold()}
LEAST_TESTED = 500  # bars: two years of days, below which nothing steady can be seen
WITH_INTERVAL = ("annual_return", "volatility", "sharpe", "sortino", "max_drawdown")
REFUSED = {  # kinds of series that have a number a bar and yet no price at which one could trade
    "rate": "is a yield, not a price: nobody can buy it, so there is no return to earn and no cost to pay. Price a "
            "bond from it, and give its bars as csv.",
    "power": "is an auction, not a market: all prices of a day are fixed at about noon the day before, so nobody can "
             "trade from one hour to the next. Take one price a day, as a csv, if you know what you could have traded.",
}
ALONE = ("exposure", "turnover", "n_trades", "win_rate", "trading_cost")

# ------------------------------------------------------------ what is asked for


@dataclass(frozen=True)
class Setup:
    """What a report is asked for, checked when it is made; it gives back what a run of the notebook was told.

    model : a family of the catalogue, or several, separated by commas
    horizon : bars that the label looks ahead; train_size, test_size : rows of the walk forward
    tried_before : backtests made before this report, which no ledger here has seen

    Raises UnknownModel, MissingDependency, and ValueError for what cannot be.
    """

    model: str = "logistic"
    costs: Costs = field(default_factory=Costs)
    horizon: int = 1
    train_size: int = 1000
    test_size: int = 500
    tried_before: int = 0
    n_boot: int = 500
    seed: int = 0

    def __post_init__(self):
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"model names a family of the catalogue, or several with commas between, each once: not "
                             f"{self.model!r}.")
        for name in self.names:
            make_model(name, seed=self.seed)
        for name, least in (("horizon", 1), ("train_size", 100), ("test_size", 20), ("tried_before", 0),
                            ("n_boot", 100), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} is a whole number, {least} or more, not {value!r}.")

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.model.split(",") if name.strip()]

    @property
    def bars_needed(self) -> int:
        """Bars for the warm-up of the features, the training, the test, and the end of the last label."""
        return FEATURES.lookback + self.train_size + max(self.test_size, LEAST_TESTED) + self.horizon

    @property
    def cost_bps(self) -> float:
        """What a side costs, in all."""
        return self.costs.half_spread_bps + self.costs.slippage_bps + self.costs.commission_bps

    def at_cost(self, cost_bps: float) -> Setup:
        """The same, where a side costs this in all."""
        return replace(self, costs=Costs(cost_bps, 0.0, 0.0))

    @property
    def execution(self) -> RealisticExecutionHandler:
        return RealisticExecutionHandler(self.costs)


def bars_of(symbol: str, csv: str = "", rows: int = 0) -> pd.DataFrame:
    """The last `rows` bars (0: all) of a bundled market, or of a file of one's own in its place.

    Raises what `load_bars` and `read_bars` raise.
    """
    bars = read_bars(csv) if csv else load_bars(symbol)
    bars.attrs.setdefault("symbol", Path(csv).name.split(".")[0])
    return bars.iloc[-whole_number(rows, "rows", least=0):]


def usable(bars: pd.DataFrame, setup: Setup) -> pd.DataFrame:
    """These bars, if this report can be made of them.

    Raises BarsError for bars with faults or prices that are not positive; ValueError for what nobody can trade, for
    fewer bars than the setup needs, and for a horizon longer than the blocks in which bars are drawn again.
    """
    name = bars.attrs["symbol"]
    if bars.attrs.get("kind") in REFUSED:
        raise ValueError(f"{name} {REFUSED[bars.attrs['kind']]}")
    check_bars(bars, positive=True)
    if len(bars) < setup.bars_needed:
        raise ValueError(f"{name} has {len(bars):,} bars and this report needs {setup.bars_needed:,}: "
                         f"{FEATURES.lookback} for the features, {setup.train_size:,} to learn from, "
                         f"{max(setup.test_size, LEAST_TESTED):,} to be tested on, {setup.horizon} for the last "
                         "label. Give it more bars, or a smaller train_size or test_size.")
    block = ceil((len(bars) - FEATURES.lookback - setup.train_size - setup.horizon) ** (1 / 3))
    if setup.horizon > block:
        raise ValueError(f"A horizon of {setup.horizon} is longer than the {block} bars that the intervals draw "
                         "together on so short a test: labels that overlap would pass for independent ones. Take at "
                         f"most {block}.")
    return bars


def facts(bars: pd.DataFrame) -> pd.DataFrame:
    """What there is to know of bars before anything is learned from them: a row a fact, in words."""
    steps, close = pd.Series(bars.index, bars.index).diff(), bars["close"]
    odd = suspicious(bars)
    rows = {"bars": f"{len(bars):,}, from {_day(bars.index[0])} to {_day(bars.index[-1])}",
            "prices": "open, high, low and close" if set(PRICES) <= set(bars) else
                      "close alone: orders fill at the next close",
            "bars without a change": f"{(close.diff() == 0).mean():.1%}",
            "largest step in time": f"{str(steps.max()).removesuffix(' 00:00:00')}, to {_day(steps.idxmax())}",
            "largest move": f"{close.pct_change().abs().max():.0%}, on {_day(close.pct_change().abs().idxmax())}",
            "check_bars": "nothing is wrong",
            "looks suspicious": ", ".join(f"{count} x {fault}" for fault, count in odd["fault"].value_counts().items())
                                or "nothing"}
    if "volume" in bars:
        rows["bars without trade"] = f"{(~(bars['volume'] > 0)).sum():,}"
    if "adj_close" in bars:
        rows["adj_close"] = "is there, and adjusts nothing: divide the prices by it first, if they are as traded"
    return pd.DataFrame.from_dict(rows, orient="index", columns=["found"])


def suspicious(bars: pd.DataFrame) -> pd.DataFrame:
    """The gaps (ten days, or ten times the usual step) and moves (30 %) that `check_bars` names when it is asked to."""
    usual = pd.Series(bars.index).diff().median()
    try:
        check_bars(bars, max_gap=max(10 * usual, pd.Timedelta("10D")), max_move=0.3)
    except BarsError as error:
        return error.faults
    return pd.DataFrame(columns=["timestamp", "column", "fault", "detail"])


def quirks_of(bars: pd.DataFrame) -> str:
    """What the publisher's data are known for; "" for bars that are not bundled."""
    known = datasets().set_index("name")["quirks"]
    return "" if "file" in bars.attrs else known.get(bars.attrs["symbol"], "")


def _day(stamp: pd.Timestamp) -> str:
    return f"{stamp:%Y-%m-%d}"


# ------------------------------------------------------------ what is measured


def rows_of(bars: pd.DataFrame, setup: Setup) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features (m, k) and labels (m, 2) of the bars where both are known."""
    X, labels = FEATURES(bars), direction(bars, setup.horizon)
    known = X.notna().all(axis=1) & labels["label"].notna()
    return X[known], labels[known]


def splitter_of(labels: pd.DataFrame, setup: Setup) -> WalkForward:
    return WalkForward(setup.train_size, setup.test_size, label_end=labels["end"])


def research(bars: pd.DataFrame, setup: Setup) -> dict[str, OutOfSample]:
    """What each family says of the next direction, and the naive forecast, on the same rows and folds."""
    X, labels = rows_of(bars, setup)
    return {name: walk_forward(make_model(name, seed=setup.seed), X, labels, splitter_of(labels, setup))
            for name in dict.fromkeys([*setup.names, NAIVE])}


def strategy_of(found: OutOfSample | Schedule) -> MLStrategy:
    """What trades on these models: long above 1/2, out below."""
    return MLStrategy(found, FEATURES, enter=0.5, exit=0.5)


def traders_of(bars: pd.DataFrame, setup: Setup, found: dict[str, OutOfSample]) -> dict[str, Strategy]:
    """Each family as a strategy whose decisions on these bars are worked out once."""
    return {name: Decided(strategy_of(found[name]), bars) for name in setup.names}


def trade(bars: pd.DataFrame, setup: Setup, traders: dict[str, Strategy]) -> dict[str, BacktestResult]:
    """Backtests of the families and of their rivals, on the same days at the same costs."""
    return compare(bars, traders | RIVALS, execution=setup.execution)


def leader(results: dict[str, BacktestResult], names) -> str:
    """Which of these has the highest Sharpe ratio; the first where none has one."""
    sharpe = {name: results[name].metrics["sharpe"] for name in names}
    return max(sharpe, key=lambda name: sharpe[name] if np.isfinite(sharpe[name]) else -np.inf)


def audits(bars: pd.DataFrame, setup: Setup, found: OutOfSample) -> dict[str, LeakageReport]:
    """Four questions about looking ahead: the features, the split, the fitting and predicting, the decisions.

    The last two run everything many times, so on the last bars alone: one model and the block it is tested on; the
    decisions of as many bars.
    """
    X, labels = rows_of(bars, setup)
    late = slice(-(setup.train_size + setup.test_size), None)
    predict = partial(predictions, name=name_of(found.models), labels=labels, setup=setup)
    tail = bars.iloc[-(FEATURES.lookback + max(setup.test_size, LEAST_TESTED)):]
    used = found.models.turns(tail.index)[FEATURES.lookback - 1]  # the first model that decides there
    models = Schedule(list(found.models)[used:], found.models.starts[used:])
    return {"features": audit_features(FEATURES, bars, seed=setup.seed),
            "split": audit_split(splitter_of(labels, setup), X, labels),
            "fitting": audit_procedure(predict, X[late], labels["label"][late], label_end=labels["end"], n_cuts=2,
                                       n_null=4, seed=setup.seed),
            "decisions": audit_strategy(strategy_of(models), tail, execution=setup.execution, seed=setup.seed)}


def predictions(X: pd.DataFrame, y: pd.Series, *, name: str, labels: pd.DataFrame, setup: Setup) -> pd.Series:
    """The whole way from rows to predictions out of sample, for `audit_procedure`."""
    return walk_forward(make_model(name, seed=setup.seed), X, y, splitter_of(labels, setup)).predictions


def audit_table(reports: dict[str, LeakageReport]) -> pd.DataFrame:
    """A row an audit: how many tests were made, and what was found."""
    rows = {name: {"tests": int(report.tests["made"].sum()), "findings": len(report.findings), "clean": report.clean}
            for name, report in reports.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("audit of the")


# ------------------------------------------------------------ what is known of it


def drawn_again(results: dict[str, BacktestResult], *, n_boot: int = 500, seed: int = 0) -> pd.DataFrame:
    """Figures of results on days that are drawn again, the same days for all: (n_boot, results x WITH_INTERVAL).

    Circular block bootstrap, blocks of the cube root of the number of days.
    """
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    returns = np.array([each.returns.to_numpy() for each in results.values()])
    n, periods = returns.shape[1], next(iter(results.values())).periods_per_year
    days = CircularBlockBootstrap(ceil(n ** (1 / 3)), np.arange(n), seed=seed)
    rows = [_figures(returns[:, drawn[0][0]], periods).ravel() for drawn in days.bootstrap(n_boot)]
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_product([results, WITH_INTERVAL]))


def _figures(returns: np.ndarray, periods: float) -> np.ndarray:
    """WITH_INTERVAL of returns (results, n): (results, figures); NaN where nothing was held."""
    path = metrics.path_statistics(np.cumprod(1.0 + returns, axis=1), 1.0)
    moved = path["deviation"] > metrics.CONSTANT
    year = np.sqrt(periods)

    def ratio(below):
        return np.divide(year * path["mean"], below, out=np.full(len(below), np.nan), where=moved & (below > 0))

    growth = np.maximum(path["growth"], 0.0) ** (periods / returns.shape[1]) - 1.0
    return np.column_stack([growth, year * path["deviation"], ratio(path["deviation"]), ratio(path["downside"]),
                            path["depth"]])


def ends(drawn) -> tuple[float, float]:
    """The 95 % interval of what was drawn; NaN where nothing could be."""
    drawn = np.asarray(drawn, dtype=float)
    return tuple(np.nanpercentile(drawn, [2.5, 97.5])) if np.isfinite(drawn).any() else (np.nan, np.nan)


def figures_table(results: dict[str, BacktestResult], drawn: pd.DataFrame) -> pd.DataFrame:
    """Results side by side, formatted for reading, with 95 % intervals where there are any."""
    rows = {}
    for metric in WITH_INTERVAL + ALONE:
        rows[metric.replace("_", " ")] = cells = {}
        for name, result in results.items():
            cells[name] = shown = format_metric(metric, result.metrics[metric])
            if metric in WITH_INTERVAL and shown != "-":
                cells[name] += " ({} to {})".format(*(format_metric(metric, end) for end in ends(drawn[name, metric])))
    return pd.DataFrame.from_dict(rows, orient="index")


def by_year(results: dict[str, BacktestResult]) -> pd.DataFrame:
    """Compound return of each calendar year: a row a year with at least half as many bars as the fullest."""
    returns = pd.DataFrame({name: each.returns for name, each in results.items()})
    years = returns.groupby(returns.index.year)
    bars = years.size()
    return ((1.0 + returns).groupby(returns.index.year).prod() - 1.0)[bars >= bars.max() / 2].rename_axis("year")
