"""Lesson 04, what to predict: how much better than a rival, what barriers earn, and its pictures.

>>> from mlkit import random_walk, triple_barrier
>>> labels = triple_barrier(random_walk(400, seed=1), horizon=20, upper=1.0, lower=1.0)
>>> timing(labels, train_size=200, test_size=50)
{'known after, bars': '1 to 7', 'purged before a block': '0 to 1'}
"""

import numpy as np
import pandas as pd

from mlkit import metrics
from mlkit.engine import BacktestResult, SignalEvent, Strategy, backtest
from mlkit.features import Volatility
from mlkit.models import make_model
from mlkit.plots import BLUE, GREY, ORANGE, RED, Plot, figure
from mlkit.research import OutOfSample, walk_forward
from mlkit.splits import WalkForward

OUTCOMES = {1.0: "target met", -1.0: "stop met", 0.0: "time is up"}
SHOWN = 30  # training rows in the picture of a purge


# ------------------------------------------------------------ measurements

def known_rows(X: pd.DataFrame, targets: dict) -> tuple[pd.DataFrame, dict]:
    """Features and labels ({name: label, end}) of the rows on which every one of them is known."""
    known = X.notna().all(axis=1)
    for labels in targets.values():
        known &= labels["label"].notna()
    return X[known], {name: labels[known] for name, labels in targets.items()}


def forecasts(family: str, X: pd.DataFrame, targets: dict) -> dict[str, OutOfSample]:
    """{task: what a family of models predicted}, over the second half of the rows, learning from all before.

    It is fitted six times, at the start of each twelfth of the rows. targets : {task: label, end}
    """
    half, block = len(X) // 2, len(X) // 12 + 1
    return {task: walk_forward(make_model(family, task=task), X, labels,
                               WalkForward(half, block, label_end=labels["end"], expanding=True))
            for task, labels in targets.items()}


def correlations(scores: dict) -> pd.DataFrame:
    """The information coefficient of each of the tables of `evaluate`: correlation, low, high."""
    rows = {name: table.loc["information_coefficient", ["value", "low", "high"]] for name, table in scores.items()}
    return pd.DataFrame(rows).T.astype(float).set_axis(["correlation", "low", "high"], axis=1)


def against(X: pd.DataFrame, model: dict, average: dict) -> pd.DataFrame:
    """`improvement` of a model on rivals that cost nothing: "the average" and, where there is one, "as now".

    model, average : of `forecasts`; X : features with the columns close and volatility_20, which are
    the level and the volatility of now
    """
    rows, now = {}, {"level": X["close"], "volatility": X["volatility_20"]}
    for task, found in model.items():
        rivals = {"the average": average[task].predictions}
        if task in now:
            rivals["as now"] = now[task].loc[found.labels.index]
        for name, rival in rivals.items():
            rows[f"{task}, against {name}"] = improvement(found.predictions, rival, found.labels)
    return pd.DataFrame.from_dict(rows, orient="index")


def improvement(forecast: pd.Series, rival: pd.Series, labels: pd.Series, *, block: int = 20,
                n_boot: int = 500) -> dict:
    """The share of the rival's squared error that the forecast takes away; below 0 it adds to it.

    All (n,) on one index; for a direction, probabilities against labels of 0 and 1 (the Brier skill
    score). Returns value, low, high: 95 % interval, blocks of rows drawn again for both at once.
    """
    if not (forecast.index.equals(labels.index) and rival.index.equals(labels.index)):
        raise ValueError("Forecast, rival and labels are on one index: take rival.loc[labels.index].")
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    errors = [((labels - each) ** 2).to_numpy() for each in (forecast, rival)]

    def share(own, others):
        return 1.0 - own.mean() / others.mean()

    drawn = CircularBlockBootstrap(block, *errors, seed=0).apply(share, n_boot)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": share(*errors), "low": low, "high": high}


def timing(labels: pd.DataFrame, train_size: int, test_size: int) -> dict:
    """After how many bars labels (n, 2) are known, and how many rows `WalkForward` purges before a block."""
    known = labels["label"].notna()
    after = labels.index.get_indexer(labels["end"][known]) - np.flatnonzero(known)
    folds = WalkForward(train_size, test_size, label_end=labels["end"]).split(labels[known])
    purged = [train_size - len(train) for train, _ in folds]
    return {name: f"{min(each)}" if min(each) == max(each) else f"{min(each)} to {max(each)}"
            for name, each in (("known after, bars", after), ("purged before a block", purged))}


class BarrierTrades(Strategy):
    """Buys when flat, with a target and a stop around the close, and sells when its time is up.

    volatility : Series, per bar, by the bars at whose close it may buy; NaN = it may not
    target, stop : distances from that close, in volatilities; patience : bars until it sells anyway
    """

    def __init__(self, volatility: pd.Series, target: float, stop: float, patience: int):
        super().__init__()
        self.volatility, self.target, self.stop, self.patience = volatility.dropna(), target, stop, patience
        self._at = self.volatility.to_dict()
        self._left = 0

    def handle_market(self, event):
        if self.held(event.symbol):
            self._left -= 1
            return [] if self._left > 0 else self.signal(event, "SELL")
        if event.timestamp not in self._at:
            return []
        self._left, width = self.patience, self._at[event.timestamp]
        return [SignalEvent(event.timestamp, event.symbol, "BUY", event.close,
                            stop=event.close * (1 - self.stop * width), target=event.close * (1 + self.target * width))]


def trade_figures(result: BacktestResult) -> dict:
    """What the closed trades of a result brought, as fractions of what was bought, after costs.

    wins (share), average_win, average_loss (above 0), needed (share of wins at which these two break
    even), per_trade (mean), error (its standard error), trades (how many)
    """
    trades = result.trades[~result.trades["open"]]
    profit = (trades["net_profit"] / (trades["quantity"] * trades["entry_price"])).to_numpy()
    win, loss = metrics.average_win(profit), -metrics.average_loss(profit)
    return {"wins": metrics.win_rate(profit), "average_win": win, "average_loss": loss, "needed": loss / (win + loss),
            "per_trade": profit.mean(), "error": profit.std(ddof=1) / len(profit) ** 0.5, "trades": len(profit)}


def barrier_figures(bars: pd.DataFrame, target: float, stop: float, patience: int) -> dict:
    """`trade_figures` of buying whenever flat, at the engine's ordinary costs."""
    volatility = Volatility(20)(bars)["volatility_20"]
    return trade_figures(backtest(bars, BarrierTrades(volatility, target, stop, patience)))


def trade_table(figures: dict) -> pd.DataFrame:
    """{name: trade_figures} for reading; the last column is the mean and two standard errors of it."""
    return pd.DataFrame({name: {"trades": f"{each['trades']:,}", "won": f"{each['wins']:.0%}",
                                "needed": f"{each['needed']:.0%}", "a win": f"{each['average_win']:+.2%}",
                                "a loss": f"{-each['average_loss']:+.2%}",
                                "bps a trade": f"{1e4 * each['per_trade']:+.1f} ± {2e4 * each['error']:.1f}"}
                         for name, each in figures.items()}).T


# ---------------------------------------------------------------- pictures

def plot_forecasts(panels: dict, unit: str) -> Plot:
    """Panels one above another: title -> DataFrame (n, 2) of the truth and the forecast of it."""
    fig, axes = figure(len(panels), size=(8.0, 0.8 + 2.4 * len(panels)))
    for axis, (title, lines) in zip(axes, panels.items()):
        for name, colour, style, width in zip(lines, (GREY, BLUE), ("-", "--"), (1.6, 1.1)):
            axis.plot(lines.index, lines[name].to_numpy(), color=colour, linestyle=style, linewidth=width, label=name)
        axis.set_title(title, loc="left")
        axis.set_ylabel(unit)
        axis.legend(frameon=False, ncols=2, fontsize=8)
    axes[-1].set_xlabel("date" if isinstance(lines.index, pd.DatetimeIndex) else "bars")
    return fig


def plot_volatility(found: dict) -> Plot:
    """The last 500 bars of volatility forecasts ({name: OutOfSample}), with the information coefficient of all."""
    panels = {}
    for name, each in found.items():
        lines = pd.DataFrame({"volatility that came": each.labels, "forecast": each.predictions})
        title = f"{name}: correlation {lines.corr('spearman').iloc[0, 1]:.2f}"
        panels[title] = 100 * lines[-500:].reset_index(drop=True)
    return plot_forecasts(panels, "volatility, % a bar")


def plot_improvements(tables: dict, title: str) -> Plot:
    """Rows of `improvement` with their intervals, of two markets ({name: DataFrame})."""
    places = -np.arange(float(len(next(iter(tables.values())))))
    fig, (axis,) = figure(size=(8.0, 1.4 + 0.4 * len(places)))
    for (name, table), colour, marker, shift in zip(tables.items(), (BLUE, ORANGE), "os", (0.12, -0.12)):
        reach = 100 * np.array([table["value"] - table["low"], table["high"] - table["value"]])
        axis.errorbar(100 * table["value"], places + shift, xerr=reach, color=colour, fmt=marker, capsize=3, label=name)
        axis.set_yticks(places, table.index)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.set_xlabel("% of the rival's squared error that the model takes away, with 95 % intervals")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, fontsize=8, loc="center right")
    return fig


def plot_outcomes(bars: pd.DataFrame, labels: pd.DataFrame, target: float, stop: float) -> Plot:
    """A trade of each outcome there is, of middling length: bars, target and stop, in % of the entry.

    labels : of `triple_barrier` with these distances, in volatilities of 20 bars
    """
    volatility = Volatility(20)(bars)["volatility_20"]
    known = labels["label"].notna().to_numpy()
    length = pd.Series(bars.index.get_indexer(labels["end"]) - np.arange(len(bars)), bars.index)[known]
    outcomes = [each for each in OUTCOMES if (labels["label"] == each).any()]
    fig, axes = figure(len(outcomes), size=(8.0, 0.8 + 1.9 * len(outcomes)))
    for axis, outcome in zip(axes, outcomes):
        lengths = length[labels["label"][known] == outcome].sort_values(kind="stable")
        decided = bars.index.get_loc(lengths.index[len(lengths) // 2])
        width, last = 100 * volatility.iloc[decided], int(lengths.iloc[len(lengths) // 2])
        path = bars.iloc[decided + 1 : decided + last + 1]
        entry = path["open" if "open" in bars else "close"].iloc[0]
        at, close = np.arange(1, last + 1), 100 * (path["close"] / entry - 1)
        if "high" in bars:
            axis.vlines(at, *(100 * (path[name] / entry - 1) for name in ("low", "high")), color=GREY, linewidth=3)
        axis.plot(at, close, "o-", color="black", markersize=4, linewidth=0.6)
        for level, colour, name in ((target * width, BLUE, "target"), (-stop * width, RED, "stop")):
            axis.axhline(level, color=colour, linestyle="--", label=f"{name} at {level:+.2g} %")
        axis.set_title(f"bought after the close of {bars.index[decided]:%Y-%m-%d}: {OUTCOMES[outcome]} "
                       f"on bar {last}, label {outcome:.0f}", loc="left")
        axis.set_ylabel("from entry, %")
        axis.legend(frameon=False, fontsize=8, loc="center right")
    axes[-1].set_xlabel("bars after the decision")
    axes[-1].set_xlim(0.5, axes[-1].get_xlim()[1] * 1.25)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return fig


def plot_purge(labels: pd.DataFrame, train_size: int, test_size: int) -> Plot:
    """The last training rows before a test block, each from its decision to its label's end.

    Of the blocks, the one before which most rows may train that are younger than a purged one.
    """
    labels = labels[labels["label"].notna()]
    row = np.arange(-SHOWN, 0)
    folds = list(WalkForward(train_size, test_size, label_end=labels["end"]).split(labels))
    trains = [np.isin(test[0] + row, train) for train, test in folds]
    younger = [(kept & (row > row[~kept].min(initial=0))).sum() for kept in trains]
    chosen = int(np.argmax(younger))
    first, kept = folds[chosen][1][0], trains[chosen]
    ends = labels.index.searchsorted(labels["end"].iloc[first + row]) - first
    fig, (axis,) = figure(size=(8.0, 4.6))
    for rows, colour, marker, name in ((kept, BLUE, "o", "trains"), (~kept, ORANGE, "X", "purged")):
        axis.hlines(row[rows], row[rows], ends[rows], color=colour, linewidth=2)
        axis.plot(ends[rows], row[rows], marker, color=colour, markersize=5, linestyle="", label=name)
    axis.axvline(0, color="black", linewidth=1)
    axis.text(0.4, -SHOWN, "the model is fitted here,\nthe test begins", fontsize=9, va="bottom")
    axis.set_xlim(right=max(ends.max(), 10) + 1)
    axis.set_title(f"Purged: {(~kept).sum()}; younger than the oldest of them, and fit to train: {younger[chosen]}",
                   loc="left")
    axis.set(xlabel="bars from the first test row: a line begins at the decision and ends when the label is known",
             ylabel="decision, bars before the test")
    axis.legend(frameon=False, loc="upper left")
    return fig


def plot_break_even(bars: pd.DataFrame, others: pd.DataFrame, target: float, stop: float, patience: int) -> Plot:
    """The share of wins of one choice of barriers, above or below what its wins and losses need.

    others : DataFrame of `barrier_figures`, shown in grey for comparison
    """
    found = barrier_figures(bars, target, stop, patience)
    ratio = np.geomspace(0.1, 20, 200)
    fig, (axis,) = figure(size=(8.0, 4.2))
    axis.plot(ratio, 100 * ratio / (1 + ratio), color="black", label="share of wins needed to break even")
    axis.plot(others["average_loss"] / others["average_win"], 100 * others["wins"], "s", color=GREY,
              label="other choices")
    axis.plot(found["average_loss"] / found["average_win"], 100 * found["wins"], "o", color=ORANGE, markersize=10,
              label=f"target {target:g}, stop {stop:g}")
    axis.set(xscale="log", ylim=(0, 100), xlabel="average loss over average win (log scale)", ylabel="trades won, %")
    axis.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10, 20], ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"])
    axis.set_title(f"Wins {found['wins']:.0%} of {found['trades']:,} trades, needs {found['needed']:.0%}: "
                   f"{1e4 * found['per_trade']:+.1f} bps a trade", loc="left")
    axis.legend(frameon=False, loc="lower right")
    return fig
