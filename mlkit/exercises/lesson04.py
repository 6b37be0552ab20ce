"""Exercise to lesson 04, what to predict: labels and when they are known, wins that pay, and rivals worth beating.

Markets are random walks and, where volatility is forecast, pieces of bundled ones: a walk has none to forecast.
"""

from functools import cache, partial

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from mlkit.exercises.comparing import rows_marked
from mlkit.exercises.questions import Choice, Mistake, Option, Question, call, faulty
from mlkit.features import FeatureSet, Volatility
from mlkit.labels import triple_barrier
from mlkit.leakage import audit_split
from mlkit.markets import load_bars, random_walk

LESSON = "04_what_to_predict"

# ---- q1: what a decision can earn


def _to_earn(bars, horizon):
    return bars["open"].shift(-1 - horizon) / bars["open"].shift(-1) - 1


def _change(entry, exit_, wait_in, wait_out):
    """Answers that buy at one price and sell `horizon` bars on at another, each so many bars late."""
    return lambda bars, horizon: bars[exit_].shift(-wait_out - horizon) / bars[entry].shift(-wait_in) - 1


TO_EARN = Question(
    "q1", reference=_to_earn,
    cases=lambda seed: [(random_walk(bars, seed + bars), horizon) for bars, horizon in ((8, 1), (9, 3), (100, 5))],
    keep="A label is what you can still earn once you have decided, from the next open on.",
    hints=("You decide at a close, when that bar is over. What is the first price at which you can still buy?",
           "Write down, for row 2 of eight bars and horizon 3, in which row you buy and in which you sell."),
    mistakes=(
        Mistake("from close to close",
                "You buy at the very close that you had to see first. Once you know it, it is over: which price "
                "comes next?", _change("close", "close", 0, 0)),
        Mistake("an open already gone",
                "You buy at the open of the bar you decide on. When you decide, at its close, that open is hours "
                "old.", _change("open", "open", 0, 0)),
        Mistake("a bar short", "You hold for one bar less than asked: from the next open, so many bars have to pass.",
                _change("open", "open", 1, 0)),
        Mistake("sold at a close",
                "You sell at a close. An order that is decided on is filled at an open, this one too.",
                _change("open", "close", 1, 0), also=(_change("open", "close", 1, 1),)),
        Mistake("the past, not the future",
                "What is in a row had happened by then: that is a feature. A label of a row is about the "
                "bars after it.", lambda bars, horizon: bars["open"].pct_change(horizon),
                also=(lambda bars, horizon: bars["close"].pct_change(horizon),)),
        Mistake("one bar, whatever the horizon",
                "The horizon changes nothing in your answer: it always holds for one bar.",
                lambda bars, horizon: _to_earn(bars, 1)),
        Mistake("unknown is not zero",
                "In the last rows the outcome is not known yet. A zero there claims that the price will not "
                "move, and a model would learn that.", lambda bars, horizon: _to_earn(bars, horizon).fillna(0)),
        Mistake("rows left out", "Every bar has a row, also those whose outcome is not known yet: NaN says so.",
                lambda bars, horizon: _to_earn(bars, horizon).dropna()),
        Mistake("percent, not a fraction", "You gave percent. Everything here is a fraction: 0.01 is one percent.",
                lambda bars, horizon: 100 * _to_earn(bars, horizon)),
        Mistake("money, not a return",
                "That is what one share earns in money. A return is relative to what you paid for it.",
                lambda bars, horizon: _to_earn(bars, horizon) * bars["open"].shift(-1)),
        Mistake("a logarithm",
                "Logarithms of returns are fine to add up, but no account grows by them: what is asked for is the "
                "simple return.", lambda bars, horizon: np.log1p(_to_earn(bars, horizon))),
    ))


# ---- q2: which rows may train


def _may_train(labels, fit):
    return (labels.index < fit) & (labels["end"] <= fit)


def _marked(answer, labels, fit):
    """True or False for each row, also of an answer that gives the rows themselves or their times."""
    rows = call(answer, labels, fit)
    rows = rows.index if isinstance(rows, pd.DataFrame) and rows.shape[1] > 1 else rows
    return pd.Series(labels.index.isin(rows), labels.index) if isinstance(rows, pd.DatetimeIndex) else rows


def _labels_by_hand(seed):
    """Ten labels, the first unknown, one of the middle the slowest."""
    days, rng = pd.bdate_range("2019-03-04", periods=10, name="timestamp"), np.random.default_rng([4, seed])
    bars = np.array([0, *rng.integers(1, 3, 2), 4, *rng.integers(1, 3, 2), 1, 1, 1, 0])
    end = pd.Series(days[np.minimum(np.arange(10) + bars, 9)], days).where(bars > 0)
    return pd.DataFrame({"label": np.where(bars > 0, rng.choice([-1.0, 0.0, 1.0], 10), np.nan), "end": end})


FITS = (6, 90, 120)  # the row of each case at whose close the model is fitted


def _labels(seed):
    by_hand, many = _labels_by_hand(seed), triple_barrier(random_walk(160, 400 + seed), 15, window=10)
    return [(labels, labels.index[fit]) for labels, fit in zip((by_hand, many, many), FITS)]


def _by_rows(rows_left_out, labels, fit):
    """Cuts off so many rows before the fit."""
    return (np.arange(len(labels)) < labels.index.get_loc(fit) - rows_left_out) & labels["end"].notna()


def _one_block(given, expected):
    """Whether the chosen rows are one run in each case, which ends before the fit."""
    rows = [rows_marked(one, other.index) for one, other in zip(given, expected)]
    return any(map(len, rows)) and all(
        (np.diff(each) == 1).all() and each.max(initial=-1) < fit for each, fit in zip(rows, FITS))


def _audit_rows(answer):
    labels = triple_barrier(random_walk(120, 9), 12, window=10).dropna()
    rows = rows_marked(_marked(answer, labels.copy(), labels.index[60]), labels.index)
    return audit_split([(rows, np.arange(60, len(labels)))], labels[["label"]], labels["end"])


MAY_TRAIN = Question(
    "q2", reference=_may_train, cases=_labels, run=_marked, audit=_audit_rows,
    keep="A row trains once its label is known: `end` says when that is, and no fixed number of rows can.",
    hints=("A row is fit for training if its label was known at the close at which the model is fitted.",
           "Look at the column `end`, row by row; and think of rows that have none."),
    mistakes=(
        Mistake("decided is not known",
                "You take all that was decided before the fit. Some of those labels are made of bars that come "
                "after it: what does `end` say?", lambda labels, fit: labels.index < fit,
                also=(lambda labels, fit: (labels.index < fit) & labels["end"].notna(),
                      lambda labels, fit: labels.index <= fit)),
        Mistake("the rows of the test",
                "Your rows are those of the test, which begins with the bar of the fit. The past teaches.",
                lambda labels, fit: labels.index >= fit,
                also=(lambda labels, fit: labels.index > fit,
                      lambda labels, fit: (labels.index >= fit) & labels["end"].notna(),
                      lambda labels, fit: (labels.index > fit) & labels["end"].notna())),
        Mistake("a row that was known",
                "You leave out rows whose label became known at the very close of the fit. The model is fitted "
                "at that close: it may know what is known then.", lambda labels, fit: labels["end"] < fit),
        Mistake("rows without a label",
                "Some of your rows have no label at all: at the beginning the volatility is not known, so there "
                "is nothing to learn there. NaT is not an early time.",
                lambda labels, fit: (labels.index < fit) & ~(labels["end"] > fit)),
        Mistake("counts rows",
                "You cut off some of the last rows, whatever became of each. One trade is over at once, another takes "
                "weeks: a young row may be known while an older one is not.",
                when=_one_block, like=lambda labels, fit: _by_rows(1, labels, fit)),
    ))


# ---- q3: how often it has to win


def _needed(target, stop, cost_bps):
    cost = 2 * cost_bps * 1e-4
    return (stop + cost) / (target + stop)


def _barriers(seed):
    rng = np.random.default_rng([5, seed])
    rest = [(float(target), float(stop), float(bps)) for target, stop, bps in
            zip(rng.uniform(0.01, 0.03, 3).round(4), rng.uniform(0.01, 0.04, 3).round(4), rng.integers(3, 12, 3))]
    return [(0.01, round(0.02 + 0.001 * float(rng.integers(1, 9)), 3), 5.0), *rest]


NEEDED = Question(
    "q3", reference=_needed, cases=_barriers, points=1,
    keep="A share of wins says nothing beside the share that is needed, and costs raise that one from both ends.",
    hints=("With a share p of wins, what does an average trade bring? At the share that is asked for it brings "
           "nothing.",
           "A win brings the target less what the two sides cost. What does a loss take?"),
    mistakes=(
        Mistake("upside down",
                "The nearer the target and the farther the stop, the more often you have to win: a large loss takes "
                "many small wins. Yours says the contrary.", lambda target, stop, bps: _needed(stop, target, bps),
                also=(lambda target, stop, bps: target / (target + stop),
                      lambda target, stop, bps: (target - 2e-4 * bps) / (target + stop))),
        Mistake("costs forgotten",
                "That is enough where trading is free. Every win brings less than its target, and every loss takes "
                "more than its stop.", lambda target, stop, bps: _needed(target, stop, 0)),
        Mistake("one side only", "A trade is a purchase and a sale, and each of them costs.",
                lambda target, stop, bps: _needed(target, stop, bps / 2)),
        Mistake("a basis point is a hundredth of a percent",
                "Your cost is not in the unit of the barriers. They are fractions of the price: how small a fraction "
                "is a basis point?", lambda target, stop, bps: _needed(target, stop, 100 * bps),
                also=(lambda target, stop, bps: _needed(target, stop, 1e4 * bps),
                      lambda target, stop, bps: _needed(target, stop, 10 * bps))),
        Mistake("costs on the losses alone",
                "The losers pay in your answer and the winners do not. A trade costs as much if it wins.",
                lambda target, stop, bps: (stop + 2e-4 * bps) / (target + stop + 2e-4 * bps),
                also=(lambda target, stop, bps: stop / (target - 2e-4 * bps + stop),)),
        Mistake("costs that help",
                "In your answer a cost makes somebody better off. It is taken from what a win brings and added to what "
                "a loss takes.", lambda target, stop, bps: (stop + 2e-4 * bps) / (target + stop + 4e-4 * bps),
                also=(lambda target, stop, bps: (stop - 2e-4 * bps) / (target + stop),)),
        Mistake("half of them", "Half of the trades are enough only if a win brings as much as a loss takes.",
                lambda target, stop, bps: 0.5),
        Mistake("percent, not a fraction", "You gave percent. Here a share is a fraction: 1 is all of them.",
                lambda target, stop, bps: 100 * _needed(target, stop, bps)),
        Mistake("odds, not a share",
                "That is how many wins are due to each loss. Asked for is their share of all trades.",
                lambda target, stop, bps: (stop + 2e-4 * bps) / (target - 2e-4 * bps),
                also=(lambda target, stop, bps: stop / target,)),
    ))


# ---- q4: against tomorrow = today


def _errors(forecast, close, rival=None):
    """Errors of forecasts of the next close, and of a rival's; by default the rival says that it will be as today."""
    rival = close if rival is None else rival
    return (close.shift(-1) - forecast).dropna(), (close.shift(-1) - rival).dropna()


def _taken_away(forecast, close, rival=None, power=2, root=1):
    own, others = ((each.abs() ** power).mean() ** (1 / root) for each in _errors(forecast, close, rival))
    return 1 - own / others


def _price_forecasts(seed):
    """Forecasts that know a little of the change, or nothing at all."""
    rng, cases = np.random.default_rng([6, seed]), []
    for n, knows in ((8, 0.6), (200, 0.1), (200, 0.0)):
        close = pd.Series(50 * np.exp(np.cumsum(rng.normal(0, 0.02, n))), pd.bdate_range("2015-01-05", periods=n))
        cases.append((close + knows * close.diff().shift(-1).fillna(0) + rng.normal(0, 0.2, n), close))
    return cases


SKILL = Question(
    "q4", reference=_taken_away, cases=_price_forecasts,
    keep="Name the strongest rival that costs nothing, and count only what you take away from its error.",
    hints=("Two errors a day, both of the next close: that of the forecast, and that of somebody who says 'as today'.",
           "Of eight days only seven have a next close. In which row does the close stand that row 0 forecasts?"),
    mistakes=(
        Mistake("an easy rival",
                "You compare it with the average of all these prices, a forecast that nobody would make. What would "
                "somebody say who knows today's price and nothing else?",
                lambda forecast, close: r2_score(close[1:], forecast[:-1]),
                also=(lambda forecast, close: r2_score(close, forecast),)),
        Mistake("not the day it is for",
                "You hold the forecast against the price of the day it was made on, which was known then. It is for "
                "the day after.",
                lambda forecast, close: 1 - ((close - forecast) ** 2).mean() / (close.diff() ** 2).mean(),
                also=(lambda forecast, close: 1 - ((close - forecast)[1:] ** 2).mean() / (close.diff() ** 2).mean(),)),
        Mistake("an old rival",
                "Your rival says 'as yesterday'. He may look at today's price just as the forecast does.",
                lambda forecast, close: _taken_away(forecast, close, close.shift(1))),
        Mistake("what is left, not what is taken away",
                "That is the share of the rival's error which is still there. With no error at all it would be 0, and "
                "the best score should be 1.", lambda forecast, close: 1 - _taken_away(forecast, close)),
        Mistake("sizes, not squares",
                "You took the sizes of the errors. In squares a large error counts for more than two of half its "
                "size.", lambda forecast, close: _taken_away(forecast, close, power=1)),
        Mistake("roots",
                "You compare the roots of the mean squares. Asked for is the share of the squared error itself.",
                lambda forecast, close: _taken_away(forecast, close, root=2)),
        Mistake("percent, not a fraction", "You gave percent. Here a share is a fraction: 1 is all of it.",
                lambda forecast, close: 100 * _taken_away(forecast, close)),
    ))


# ---- q5: what has been shown

SHOWN = Choice(
    "q5",
    keep="That something can be known is one claim, that a model is needed for it another: each has its rival.",
    hints=("Which of the two rivals knows nothing of the day, and which knows something without any model?",),
    options={
        "a": Option("That the price can be forecast, and that this model is what you need to do it.",
                    "The second interval reaches from below zero to above it: whoever repeats yesterday's price, for "
                    "nothing, may be just as good. Only a rival of strength could show that the model is needed.",
                    "one weak rival"),
        "b": Option("That nothing can be forecast, as one of the two intervals contains zero.",
                    "The first interval lies far above zero: something can be known beforehand. The second asks "
                    "another question, whether this model was needed to know it.", "two questions taken for one"),
        "c": Option("That something can be known beforehand, but not that this model is needed to know it.",
                    "So it is: the average is beaten clearly, 'as yesterday' is not."),
        "d": Option("That a trader who follows it earns money, as it takes away a third of the error.",
                    "An error is not a profit. What is earned hangs on what can be bought at which price once the "
                    "forecast is made, and on what that costs.", "error taken for profit"),
    })


# ---- q6: an honest score


def _variation(bars, ahead=5, split="before", rival="stronger"):
    """The score with another target, split or rival; the defaults are the honest ones."""
    X = FeatureSet([Volatility(5), Volatility(20)])(bars).to_numpy()
    y = np.append(X[ahead:, 0], np.full(ahead, np.nan))
    rows = np.flatnonzero(~np.isnan(X).any(axis=1) & ~np.isnan(y))
    if split == "shuffled":
        train, test = train_test_split(rows, test_size=0.5, random_state=0)
    else:
        gap = {"before": ahead - 1, "reaches in": 0, "a row too many": ahead}[split]
        train, test = rows[: len(rows) // 2 - gap], rows[len(rows) // 2 :]
    weights, *_ = np.linalg.lstsq(np.column_stack([np.ones(len(train)), X[train]]), y[train])
    own, average, variance, as_now = (((y[test] - says) ** 2).mean() for says in (
        weights[0] + X[test] @ weights[1:], y[train].mean(), y[test].mean(), X[test, 1]))
    rivals = {"average": average, "variance": variance, "as now": as_now, "stronger": min(average, as_now),
              "weaker": max(average, as_now)}
    return float(1 - own / rivals[rival])


@cache
def _spans(seed):
    """Three pieces of bundled markets, among which each of the two rivals is once the stronger one."""
    rng, found = np.random.default_rng([7, seed]), {}
    while len(found) < 3:
        name = str(rng.choice(["GE", "IBM", "EURUSD", "BA", "USDJPY"]))
        bars, n = load_bars(name), int(rng.integers(150, 400))
        first = int(rng.integers(0, len(bars) - n))
        bars = bars[[column for column in ("open", "high", "low", "close") if column in bars]].iloc[first : first + n]
        kind = "third" if len(found) == 2 else min(("average",
                                                    "as now"), key=lambda rival: _variation(bars, rival=rival))
        found.setdefault(kind, (bars,))
    return sorted(found.values(), key=lambda case: len(case[0]))


_with_fault = partial(faulty, _variation, {"ahead": (5, 1),
                                            "split": ("before", "reaches in", "shuffled", "a row too many"),
                                            "rival": ("stronger", "average", "variance", "as now", "weaker")})


HONEST = Question(
    "q6", reference=_variation, cases=_spans, tolerance=1e-6, points=4,
    keep="An honest score: a target still open, rows whose labels were known, and the strongest rival there is.",
    hints=("Ask three things of the colleague's code: what of the target is known already, what the model has seen of "
           "the test, and against whom it is scored.",
           "Of five returns, how many does the target share with the feature `volatility_5` of the same row?",
           "A label of five returns is known five bars later. Which of the last training rows reach into the test?"),
    mistakes=(
        Mistake("most of it is known already",
                "Your target shares four of its five returns with a feature of the same row. A forecast of what has "
                "mostly happened looks good and is worth nothing. This comes first; there may be more to mend.",
                also=_with_fault(ahead=(1,))),
        Mistake("shuffled",
                "You shuffle days whose labels overlap: nearly every test label has neighbours, made of nearly the "
                "same returns, among those the model learned from.",
                also=_with_fault(split=("shuffled",))),
        Mistake("labels reach into the test",
                "The first half comes first, but its last labels are not known when the test begins: they "
                "are made of the same returns as the first labels of the test.",
                also=_with_fault(split=("reaches in",))),
        Mistake("a row too many",
                "You leave out a row whose label becomes known at the very close of the first test row. That one was "
                "known in time.", also=_with_fault(split=("a row too many",))),
        Mistake("knows the average of the test",
                "You compare it with the average of the test days, which nobody knew before they were "
                "over, and with nobody else.", also=_with_fault(rival=("variance",))),
        Mistake("only one rival",
                "One rival is always the same in your answer. Which is the stronger one changes from market to market, "
                "and the forecast has to beat that one.",
                also=_with_fault(rival=("average", "as now"))),
        Mistake("the weaker rival",
                "Of the two rivals you took the one that is easier to beat: a large error is a weak rival.",
                also=_with_fault(rival=("weaker",))),
    ))

QUESTIONS = [TO_EARN, MAY_TRAIN, NEEDED, SKILL, SHOWN, HONEST]
