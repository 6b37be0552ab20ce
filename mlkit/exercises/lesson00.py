"""Exercise to lesson 00, the first strategy: from the first return you can earn to a backtest made honest.

The tables are drawn anew for every seed; the last question is judged by what its backtest did.
"""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit import metrics
from mlkit.engine import BacktestResult, Costs, MLStrategy, RealisticExecutionHandler, backtest
from mlkit.exercises.comparing import rows_marked
from mlkit.exercises.questions import Choice, Mistake, Option, Question
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction, next_return
from mlkit.leakage import audit_procedure, audit_split
from mlkit.synthetic import planted_edge, random_walk

LESSON = "00_first_ml_strategy"


# ---- q1: what a decision can earn first


def _opens(bars, bought, sold):
    return bars["open"].shift(-sold) / bars["open"].shift(-bought) - 1.0


EARNED = Question(
    "q1", reference=lambda bars: next_return(bars)["label"],
    cases=lambda seed: [(random_walk(8, 10 + seed),), (random_walk(120, 30 + seed),)],
    keep="Decide at the close of t, buy at the open of t+1: the first return you can earn ends at the open of t+2.",
    hints=("Walk through it: it is Monday after the close. When do you buy, and when could you sell a day later?",
           "Both prices are opens, and both are still to come. In the last rows they are not there yet."),
    mistakes=(
        Mistake("bought at the close that decided",
                "Once you know the close, its price is gone. What moves between that close and the next open is not "
                "yours.", lambda bars: bars["close"].shift(-1) / bars["close"] - 1.0, also=(
                    lambda bars: bars["open"].shift(-1) / bars["close"] - 1.0,
                    lambda bars: bars["open"].shift(-2) / bars["close"] - 1.0)),
        Mistake("the return that was", "That move was over when you decided. It is a feature, not a reward.",
                lambda bars: bars["close"].pct_change(), also=(lambda bars: bars["open"].pct_change(),)),
        Mistake("an open too early", "You buy at an open that lies before the close you decide at.",
                lambda bars: _opens(bars, 0, 1)),
        Mistake("an open too late",
                "Honest, but you let a day pass before you trade.", lambda bars: _opens(bars, 2, 3)),
        Mistake("sold at the close of the day",
                "A day later you decide again, at a close, and trade at the open after it. Until then you hold.",
                lambda bars: bars["close"].shift(-1) / bars["open"].shift(-1) - 1.0),
        Mistake("shifted the wrong way",
                "shift(1) brings the past down to today, shift(-1) the future up to it. A label is about what comes.",
                lambda bars: bars["open"].pct_change().shift(2), also=(
                    lambda bars: bars["open"].shift(2) / bars["open"].shift(1) - 1.0,
                    lambda bars: bars["open"].shift(1) / bars["open"].shift(2) - 1.0)),
        Mistake("a difference of prices",
                "A euro earned on a share of ten is not a euro earned on a share of a hundred. A return is a fraction "
                "of what was paid.",
                lambda bars: bars["open"].shift(-2) - bars["open"].shift(-1)),
        Mistake("percent", "A return of one percent is 0.01 here.", lambda bars: 100.0 * _opens(bars, 1, 2)),
        Mistake("a logarithm", "That is a log return. They add up nicely, but an account grows by simple ones.",
                lambda bars: np.log1p(_opens(bars, 1, 2))),
        Mistake("the unknown made zero", "In the last rows nobody knows it yet, and a zero says that nothing happened.",
                lambda bars: _opens(bars, 1, 2).fillna(0.0)),
    ))


# ---- q2: which rows may be learned from


def _complete(X, labels):
    return X.notna().all(axis=1) & labels["label"].notna()


def _rows_of(X, labels, split):
    return _complete(X, labels) & (labels["end"] < split)


def _tables(seed):
    """A table of ten rows with holes, and one of features, each with labels known two bars on, and a split."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2024-01-01", periods=12)
    X = pd.DataFrame(rng.normal(size=(10, 2)).round(2), days[:10], ["one", "two"])
    X.iloc[0], X.iloc[1, 0], X.iloc[3, 1] = np.nan, np.nan, np.nan
    small = pd.DataFrame({"label": rng.integers(0, 2, 10).astype(float), "end": days[2:]}, days[:10])
    small.iloc[8:] = np.nan, pd.NaT
    bars, features = random_walk(100, 50 + seed), FeatureSet([LaggedReturns(2), Volatility(10)])
    return [(X, small, days[7]), (features(bars), direction(bars), bars.index[70])]


def _audit_rows(answer):
    X, labels, split = _tables(9)[1]
    known = labels["end"].notna()
    X, labels = X[known], labels[known]
    rows = rows_marked(answer(X.copy(), labels.copy(), split), X.index)
    return audit_split([(rows, np.flatnonzero(X.index >= split))], X, labels)


ROWS = Question(
    "q2", reference=_rows_of, cases=_tables, audit=_audit_rows,
    keep="A row may teach from the day its label is known, not from the day it was decided.",
    hints=("Three things must be there: the features, the label, and the knowledge of the label. By when?",
           "Take the row before the split. What does its label still need?"),
    mistakes=(
        Mistake("decided before the split, not known",
                "The last rows before the split were decided in time, but their labels were made of prices after it. "
                "Look at the other column of the labels.",
                lambda X, labels, split: _complete(X, labels) & (X.index < split)),
        Mistake("known on the day of the split",
                "Before the split was asked for: what ends on that very day already knows its open.",
                lambda X, labels, split: _complete(X, labels) & (labels["end"] <= split)),
        Mistake("rows with holes", "A row in which a feature is missing cannot be learned from.",
                lambda X, labels, split: labels["label"].notna() & (labels["end"] < split)),
        Mistake("one feature is enough", "A row needs all of its features. any() is content with one of them.",
                lambda X, labels, split: X.notna().any(axis=1) & (labels["end"] < split)),
        Mistake("rows after the split too",
                "These are all rows that are complete. Those after the split are for the test.",
                lambda X, labels, split: _complete(X, labels)),
        Mistake("the test rows", "These are the rows of the test. The past teaches.",
                lambda X, labels, split: _complete(X, labels) & (X.index >= split), also=(
                    lambda X, labels, split: _complete(X, labels) & (labels["end"] >= split),)),
        Mistake("turned round", "True and False have changed places.",
                lambda X, labels, split: ~_rows_of(X, labels, split)),
    ))


# ---- q3: what is left of a trade


def _profit(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps, unit=1e-4, buyer=1.0, seller=1.0,
            spreads=1.0, slips=1.0, bought=1.0, sold=1.0):
    worse = unit * (spreads * half_spread_bps + slips * slippage_bps)
    paid, got = quantity * buy * (1.0 + buyer * worse), quantity * sell * (1.0 - seller * worse)
    return got - paid - unit * commission_bps * (bought * paid + sold * got)


def _on_the_opens(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    costs = half_spread_bps + slippage_bps + commission_bps
    return quantity * (sell - buy - 1e-4 * costs * (buy + sell))


def _multiplied(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    spread, slip, fee = (1e-4 * each for each in (half_spread_bps, slippage_bps, commission_bps))
    paid, got = quantity * buy * (1.0 + spread) * (1.0 + slip), quantity * sell * (1.0 - spread) * (1.0 - slip)
    return got * (1.0 - fee) - paid * (1.0 + fee)


def _of_the_wrong_sum(quantity, buy, sell, *costs, of=None, sides=2.0):
    return quantity * (sell - buy - sides * 1e-4 * sum(costs) * (sell - buy if of is None else of))


def _trades(seed):
    rng = np.random.default_rng(seed)
    return [(100.0, 50.0, 52.0, 1.0, 2.0, 3.0),
            *((float(rng.integers(10, 900)), *rng.uniform(20.0, 200.0, 2).round(2), *rng.uniform(1.0, 30.0, 3).round(1))
              for _ in range(3))]


PROFIT = Question(
    "q3", reference=_profit, cases=_trades,
    keep="A trade is two trades: the spread, the slippage and the commission are paid on the way in and on the way "
         "out.",
    hints=("Work it out with a pencil for 100 shares, bought at 50 and sold at 52, with costs of 1, 2 and 3.",
           "Write down what you pay at the purchase, everything included, and what you are left with at the sale."),
    mistakes=(
        Mistake("no costs at all", "That is what the trade would have brought if it cost nothing.",
                lambda quantity, buy, sell, *costs: quantity * (sell - buy)),
        Mistake("a basis point is smaller",
                "A basis point is a hundredth of a percent. How much is one percent, as a fraction?",
                partial(_profit, unit=1e-2), also=(partial(_profit, unit=1.0), partial(_profit, unit=1e-3))),
        Mistake("one side only", "Only one of the two trades pays. What was bought has to be sold.",
                partial(_profit, seller=0.0, sold=0.0), also=(
                    partial(_profit, buyer=0.0, bought=0.0), partial(_profit, seller=0.0),
                    partial(_profit, buyer=0.0))),
        Mistake("the commission once", "The broker is paid at both trades.",
                partial(_profit, sold=0.0), also=(partial(_profit, bought=0.0),)),
        Mistake("no commission", "Price and slippage are right, but the broker works for nothing.",
                partial(_profit, sold=0.0, bought=0.0)),
        Mistake("no slippage", "The price moves while you reach for it, and nobody pays for that here.",
                partial(_profit, slips=0.0)),
        Mistake("no spread", "Buyers pay a little more than sellers get, and nobody pays for that here.",
                partial(_profit, spreads=0.0)),
        Mistake("the sign of a cost", "A cost never helps: who buys pays more than the open, who sells gets less.",
                partial(_profit, seller=-1.0), also=(
                    partial(_profit, buyer=-1.0), partial(_profit, buyer=-1.0, seller=-1.0))),
        Mistake("the whole spread on each side",
                "Half of the spread is lost at each trade; you charge all of it twice.",
                partial(_profit, spreads=2.0)),
        Mistake("all costs on the open", "Nearly. The broker takes his share of what the trade really cost or brought.",
                _on_the_opens),
        Mistake("spread and slippage multiplied",
                "Nearly. The price is worse by the two together: add them, then take them off once.",
                _multiplied),
        Mistake("a share of nothing",
                "A basis point is a share of the money that moves, here of some thousands. You took it of 1, or of the "
                "gain.", partial(_of_the_wrong_sum, of=1.0), also=(
                    partial(_of_the_wrong_sum, of=1.0, sides=1.0), _of_the_wrong_sum,
                    partial(_of_the_wrong_sum, sides=1.0))),
        Mistake("one share", "That is the profit of a single share. How many were there?",
                lambda quantity, *rest: _profit(1.0, *rest)),
        Mistake("a fraction, not money", "That is a return. What is left was asked for in money.",
                lambda quantity, buy, *rest: _profit(quantity, buy, *rest) / (quantity * buy)),
    ))


# ---- q4: three figures of one account


def _figures(returns):
    return {"total_return": metrics.total_return(returns), "sharpe": metrics.sharpe(returns),
            "max_drawdown": metrics.max_drawdown(returns)}


def _only(part, figure):
    return lambda returns: {part: figure(np.asarray(returns, dtype=float))}


def _wrong(part, name, hint, *figures):
    first, *others = (_only(part, figure) for figure in figures)
    return Mistake(name, hint, first, part=part, also=tuple(others))


def _wealth(returns):
    return np.cumprod(1.0 + returns)


def _a_year(returns):
    return _wealth(returns)[-1] ** (252 / len(returns)) - 1.0


def _below(wealth):
    return (wealth / np.maximum.accumulate(wealth) - 1.0).min()


def _returns(seed):
    """Eight returns that begin with the deepest fall, and a year and a half of them."""
    rng, days = np.random.default_rng(seed), pd.bdate_range("2024-01-01", periods=380)
    few = np.append([-0.1, -0.05], rng.uniform(-0.02, 0.04, 6)).round(3)
    many = rng.normal(0.001, 0.02, 380)
    return [(pd.Series(few, days[:8]),), (pd.Series(many, days),)]


FIGURES = Question(
    "q4", reference=_figures, cases=_returns,
    keep="Returns multiply into wealth, add into an average, and a fall is measured from the highest point before it.",
    hints=("Begin with what becomes of 1 invested: a list of values, a product. Two of the three figures come from it.",
           "The Sharpe ratio needs no wealth. A mean grows with the time, a deviation with its square root.",
           "The first day can be a loss. From where did it fall?"),
    mistakes=(
        _wrong("total_return", "adds what multiplies",
               "Half lost and half gained again is not nothing: returns follow one another, each on what the one "
               "before has left.", lambda returns: returns.sum(), lambda returns: np.log1p(returns).sum()),
        _wrong("total_return", "the wealth, not the return", "That is what became of 1. How much of it is gain?",
               lambda returns: _wealth(returns)[-1]),
        _wrong("total_return", "a return a year", "That is the return of one year. What came of the whole time?",
               lambda returns: _a_year(returns), lambda returns: returns.mean() * 252),
        _wrong("sharpe", "not scaled to a year", "That is the ratio of a day. It was to be that of a year.",
               lambda returns: returns.mean() / returns.std(ddof=1), lambda returns: returns.mean() / returns.std()),
        _wrong("sharpe", "scaled by the days, not by their root",
               "A mean grows with the number of days, and a deviation does not stand still either.",
               lambda returns: 252 * returns.mean() / returns.std(ddof=1)),
        _wrong("sharpe", "365 days a year", "A market is not open every day; a year has about 252 trading days.",
               lambda returns: np.sqrt(365) * returns.mean() / returns.std(ddof=1),
               lambda returns: np.sqrt(365) * returns.mean() / returns.std()),
        _wrong("sharpe", "the deviation of a population",
               "numpy divides by n unless it is told otherwise, pandas by n - 1. These returns are a sample.",
               lambda returns: np.sqrt(252) * returns.mean() / returns.std()),
        _wrong("sharpe", "a variance, not a deviation",
               "Risk is measured in the unit of the returns here. A variance has another one.",
               lambda returns: np.sqrt(252) * returns.mean() / returns.var(ddof=1),
               lambda returns: returns.mean() / returns.var(ddof=1)),
        _wrong("sharpe", "the compound return over the deviation",
               "The mean of the Sharpe ratio is the arithmetic one. That is why it can be positive where money was "
               "lost.",
               lambda returns: _a_year(returns) / (np.sqrt(252) * returns.std(ddof=1))),
        _wrong("max_drawdown", "the start is no peak",
               "The account began at 1, before the first day. A loss on that day is a fall as well.",
               lambda returns: _below(_wealth(returns))),
        _wrong("max_drawdown", "without its sign", "Below the peak is negative here.",
               lambda returns: -_below(np.append(1.0, _wealth(returns))), lambda returns: -_below(_wealth(returns))),
        _wrong("max_drawdown", "below the start, not below the peak",
               "Whoever had doubled his money and lost all of the gain has fallen by half, and is back where he began.",
               lambda returns: _wealth(returns).min() - 1.0),
        _wrong("max_drawdown", "the worst day", "A fall can take many days.", lambda returns: returns.min()),
        _wrong("max_drawdown", "the lowest against the highest",
               "The lowest point may have come before the highest. Which peak had been seen by then?",
               lambda returns: _wealth(returns).min() / _wealth(returns).max() - 1.0),
        _wrong("max_drawdown", "added up, not multiplied", "A sum of returns is not an account.",
               lambda returns: (returns.cumsum() - np.maximum.accumulate(np.append(0.0, returns.cumsum()))[1:]).min(),
               lambda returns: (returns.cumsum() - np.maximum.accumulate(returns.cumsum())).min()),
    ))


# ---- q5: a verdict

VERDICT = Choice(
    "q5", keep="Say before you look what would convince you, and count what you tried: a rule made afterwards always "
               "holds.",
    hints=("Had the first pair passed, would anyone have looked at a second?",),
    options={
        "a": Option("Worth it, at 0.56 / 0.44: there t is above 2.",
                    "Of several pairs one often passes by luck, and this one was chosen because it did. The limit of 2 "
                    "is for a pair that was named beforehand.", "picks what passes"),
        "b": Option("Worth it: both pairs beat both rivals, and 1.7 is nearly 2.",
                    "A limit that gives way when one likes the result is no limit. The two pairs are no two witnesses "
                    "either: they hold the same days, nearly.", "lets the limit give way"),
        "c": Option("Not proven: the limit was set for the first pair, and the second was found by looking.",
                    "The first pair does not pass, and the second is the best of those that were tried. Days that "
                    "nobody has looked at can decide between them."),
        "d": Option("Not worth it: a t below 2 proves that the model knows nothing.",
                    "Luck could have made the difference, and so could a small edge: twelve years are too few to tell. "
                    "What was not shown was not refuted.", "takes no proof for a disproof"),
    })


# ---- q6: an honest backtest


def _backtest(bars, split, learn=_rows_of, begin=True, costs=Costs(), same_close=False):
    features = FeatureSet([LaggedReturns(3), Volatility(20)])
    X, labels = features.transform(bars), direction(bars)
    rows = learn(X, labels, split)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[rows], labels.loc[rows, "label"])
    first = bars.index.searchsorted(split) - (features.lookback if begin else 0) if begin is not None else 0
    strategy = MLStrategy(model, features, enter=0.52, exit=0.48)
    return backtest(bars.iloc[first:], strategy, execution=RealisticExecutionHandler(costs, unsafe_same_bar=same_close))


def _looked_at(answer, bars, split):
    """What a backtest did, in parts: where it begins, how it fills, what it pays, what the model said, what is left."""
    if split not in bars.index:
        raise ValueError(f"the bars end before {split:%Y-%m-%d}")
    result = answer(bars, split)
    if not isinstance(result, BacktestResult):
        return result
    costs = result.execution.costs
    said = result.signals.drop_duplicates("timestamp").set_index("timestamp")["strength"]
    return {"begins": result.equity.index[0], "same close": result.unsafe_same_bar,
            "costs, bps": [costs.half_spread_bps, costs.slippage_bps, costs.commission_bps],
            "probabilities": said, "equity": float(result.equity.iloc[-1])}


def _begins(when):
    return lambda given, expected: all(isinstance(one, dict) and when(one["begins"], other["begins"])
                                       for one, other in zip(given, expected))


def _did(part, name, hint, *options):
    first, *others = (partial(_backtest, **each) for each in options)
    return Mistake(name, hint, first, part=part, also=tuple(others))


def _markets(seed):
    markets = [planted_edge(n, 70 + seed, strength=0.2) for n in (200, 320)]
    return [(bars, bars.index[split]) for bars, split in zip(markets, (120, 220))]


def _audit_said(answer):
    """What the model said of a bar may hang on no later one: the bars are what is changed, and no labels beside them."""
    bars = planted_edge(170, 79, strength=0.2)
    return audit_procedure(lambda bars, _: _looked_at(answer, bars, bars.index[60])["probabilities"], bars,
                           bars["close"], n_cuts=1, n_null=0)


HONEST = Question(
    "q6", reference=_backtest, cases=_markets, run=_looked_at, audit=_audit_said, points=3,
    keep="Learn before the split, decide at the close, trade at the next open, pay for it: whatever then is left, is "
         "left.",
    hints=("There are four liberties in it. Go through the life of one order: who taught the model, when does it "
           "trade, at which price, and who is paid?",
           "The first half is in what the model learned from; your answer to question 2 knows how to do that.",
           "Which bars does the backtest get? Which fill is stamped as unsafe, and what do those zeros stand for?"),
    mistakes=(
        Mistake("trades the days it learned from",
                "The account begins before the split, on days whose answers the model was taught. That is a score of "
                "memory.", when=_begins(lambda mine, right: mine < right)),
        Mistake("no history before the split",
                "The backtest begins at the split, so the first decisions are lost to the warm-up of the features. "
                "Hand it what the features need.", when=_begins(lambda mine, right: mine > right)),
        Mistake("filled at the same close",
                "Orders still fill at the close they were decided on. The result carries a stamp that says so.",
                when=lambda given, expected: all(
                    isinstance(each, dict) and each["same close"] for each in given)),
        _did("costs, bps", "no costs", "Buyers, sellers and brokers are paid nothing.", {"costs": Costs(0, 0, 0)}),
        _did("costs, bps", "a cost left out",
             "Half the spread, the slippage and the commission: not all three are paid.",
             *({"costs": Costs(*each)} for each in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)))),
        _did("probabilities", "learned from all days",
             "The model still has learned from the days it trades: its probabilities are those of one that knows them.",
             {"learn": lambda X, labels, split: _complete(X, labels)}),
        _did("probabilities", "labels that reach over the split",
             "Nearly. The last rows it learned from were decided before the split, and their labels were not known "
             "yet.",
             {"learn": lambda X, labels, split: _complete(X, labels) & (X.index < split)},
             {"learn": lambda X, labels, split: _complete(X, labels) & (labels["end"] <= split)}),
        _did("probabilities", "learned from the days after",
             "It learned from the days after the split, and trades them.",
             {"learn": lambda X, labels, split: _complete(X, labels) & (X.index >= split)}),
    ))

QUESTIONS = [EARNED, ROWS, PROFIT, FIGURES, VERDICT, HONEST]
