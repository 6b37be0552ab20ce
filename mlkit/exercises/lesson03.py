"""Exercise to lesson 03, what a feature may know: from a move of a price below zero to features that outlive a split.

Tables are drawn anew for every seed; what may peek goes through the leakage audit, another market by its true clock.
"""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from mlkit.exercises.comparing import on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question
from mlkit.leakage import audit_features
from mlkit.synthetic import random_walk

LESSON = "03_feature_engineering"


# ---- q1: a move of a price of any sign


def _usual(change):
    return change.abs().rolling(20).mean().shift()


def _shock(bars, usual=_usual):
    change = bars["close"].diff()
    return change / usual(change)


def _oil(n, seed):
    """Bars whose prices cross zero on the way."""
    bars = random_walk(n, seed, volatility=0.03)
    prices = ["open", "high", "low", "close"]
    bars[prices] -= bars["close"].iloc[-n // 3] + 0.01
    return bars


def _audit_shock(answer):
    return audit_features(lambda bars: on_index(answer(bars), bars.index, "shock"), _oil(60, 5), n_cuts=3)


def _of_returns(returns):
    return returns / _usual(returns)


SHOCK = Question(
    "q1", reference=_shock, cases=lambda seed: [(_oil(26, 10 + seed),), (_oil(120, 40 + seed),)], audit=_audit_shock,
    keep="Differences always exist; divided by what was usual before them, moves of all times and prices can be "
         "compared.",
    hints=("What did the barrel of oil lose on the day it fell to -37 dollars? In dollars you can say it.",
           "Is a move large? That is a question about the twenty moves before it. Has it a say in that itself?"),
    mistakes=(
        Mistake("percentages",
                "The percentage of a price that may be zero or below has the wrong size and the wrong sign.",
                lambda bars: _of_returns(bars["close"].pct_change()), also=(lambda bars: bars["close"].pct_change(),)),
        Mistake("logarithms", "A price below zero has no logarithm, and the largest moves are lost.",
                lambda bars: _of_returns(np.log(bars["close"].where(bars["close"] > 0)).diff())),
        Mistake("the move measured by itself",
                "The move is one of the twenty that it is measured by, so that a large one makes itself look smaller.",
                partial(_shock, usual=lambda change: change.abs().rolling(20).mean())),
        Mistake("the usual move of all times",
                "How large moves usually are over the whole table nobody knew on its first day.",
                partial(_shock, usual=lambda change: change.abs().mean())),
        Mistake("moves around it", "Half of the moves that it is measured by come after it.",
                partial(_shock, usual=lambda change: change.abs().rolling(20, center=True).mean())),
        Mistake("the moves after it", "It is measured by the moves that follow.",
                partial(_shock, usual=lambda change: change.abs().rolling(20).mean().shift(-20))),
        Mistake("rises and falls cancel",
                "The mean of moves with their signs is about zero, however wild they are. How far, not which way?",
                partial(_shock, usual=lambda change: change.rolling(20).mean().shift())),
        Mistake("without its sign", "A fall of three usual moves and a rise of three are not the same.",
                lambda bars: _shock(bars).abs()),
        Mistake("a standard deviation",
                "The root of a mean of squares counts the large moves more. The mean of sizes was asked for.",
                partial(_shock, usual=lambda change: change.rolling(20).std().shift())),
        Mistake("not divided",
                "In dollars: a move of 2020 stands beside one of 1990 as if a dollar had stayed a dollar.",
                lambda bars: bars["close"].diff()),
        Mistake("fewer than twenty moves", "What is usual cannot be told from one move or two.",
                partial(_shock, usual=lambda change: change.abs().rolling(20, min_periods=1).mean().shift())),
        Mistake("filled from behind",
                "The first bars have not seen twenty moves, and you gave them a later bar's answer.",
                lambda bars: _shock(bars).bfill()),
    ))


# ---- q2: another market by the clock


def _other(bars, other, hours, sign=1, how="ffill"):
    returns = other["close"].pct_change()
    return _at(bars, returns.set_axis(other.index + sign * pd.Timedelta(hours=hours)), how)


def _at(bars, known, how="ffill"):
    return known.reindex(bars.index, method=how)


def _after_the_join(bars, other, hours):
    return _at(bars, other["close"].set_axis(other.index + pd.Timedelta(hours=hours))).pct_change()


def _two_markets(seed):
    """(bars, other bars, hours): each is closed on some days of its own; the last pair has times of day."""
    cases = []
    for n, hours, own_time, other_time in ((14, 4, 0, 0), (60, 24, 0, 0), (60, 2, 16, 15)):
        rng = np.random.default_rng([seed, n, hours])
        bars, other = random_walk(n, 60 + seed + n), random_walk(n, 160 + seed + n)
        open_days = [np.sort(rng.choice(n, n - n // 5, replace=False)) for _ in range(2)]
        bars, other = bars.iloc[open_days[0]], other.iloc[open_days[1]]
        cases.append((bars.set_axis(bars.index + pd.Timedelta(hours=own_time)),
                      other.set_axis(other.index + pd.Timedelta(hours=other_time))[["close"]], hours))
    return cases


def _audit_other(answer):
    """Hands the audit the other table by the hours at which its rows were known."""
    bars, other, hours = _two_markets(9)[2]
    late = pd.Timedelta(hours=hours)

    def build(tables):
        made = answer(tables["bars"], tables["other"].set_axis(tables["other"].index - late), hours)
        return on_index(made, tables["bars"].index, "other_return")

    return audit_features(build, {"bars": bars, "other": other.set_axis(other.index + late)}, n_cuts=3)


OTHER = Question(
    "q2", reference=_other, cases=_two_markets, audit=_audit_other,
    keep="Two markets meet by the clock: a row may be used from the hour it was known, whatever its stamp says.",
    hints=("First the other market alone: its returns, and for each the hour at which it was known.",
           "Then, at each of our bars: which of these is the last one known by then? It may be some days old."),
    mistakes=(
        Mistake("joined by their stamps", "The stamps lie by some hours: you used a return before it was known.",
                lambda bars, other, hours: _at(bars, other["close"].pct_change())),
        Mistake("the delay turned round",
                "A row is known later than its stamp, not earlier.", partial(_other, sign=-1)),
        Mistake("a delay in days", "The delay is given in hours.",
                lambda bars, other, hours: _other(bars, other, 24 * hours)),
        Mistake("one of our bars late",
                "Waiting for our next bar is safe and often too long: on Monday a return of Friday would have been "
                "known. How late is it really?",
                lambda bars, other, hours: _at(bars, other["close"].pct_change()).shift()),
        Mistake("one of its bars late",
                "The row before is the right one on most days. On a holiday of the other market it is a bar too old: "
                "that no row would come was not known yet either.",
                lambda bars, other, hours: _at(bars, other["close"].pct_change().shift())),
        Mistake("returns made after the join",
                "You joined the prices and then took returns between our bars. Where the other market was closed that "
                "is a zero it never had, and where ours was it spans two of its days.", _after_the_join),
        Mistake("holes where the clocks differ",
                "Only rows known at the very time of a bar were used. The last one known holds on.",
                partial(_other, how=None), also=(
                    lambda bars, other, hours: _at(bars, other["close"].pct_change(), None),)),
        Mistake("holes made zero",
                "That the other market was closed does not mean that it did not move when it was open last.",
                lambda bars, other, hours: _other(bars, other, hours, how=None).fillna(0.0), also=(
                    lambda bars, other, hours: _at(bars, other["close"].pct_change(), None).fillna(0.0),)),
        Mistake("filled from behind",
                "Where nothing is known yet, you show what comes next.", partial(_other, how="bfill")),
        Mistake("the nearest in time",
                "The nearest return may be one that is still to come.", partial(_other, how="nearest")),
        Mistake("what is known just now left out", "A value that is known at the very time of a bar may be used.",
                lambda bars, other, hours: _other(bars, other, hours + 1 / 3600)),
        Mistake("our own return", "That is our own market. The other one was asked for.",
                lambda bars, other, hours: bars["close"].pct_change()),
    ))


# ---- q3: which columns know the unit of the price

PRICES = ["open", "high", "low", "close"]


def _bound(bars, build, columns=PRICES, change=lambda prices: 10.0 * prices, rows=slice(None), tolerance=1e-6, nan=True,
           moved=True):
    other = bars.copy()
    other[columns] = change(other[columns])
    before, after = build(bars).iloc[rows], build(other).iloc[rows]
    same = (before - after).abs() <= tolerance * before.abs()
    same = (same | (before.isna() & after.isna()) if nan else same).all()
    return set(before.columns[~same if moved else same])


def momentum(bars, in_dollars):
    """Features of momentum: one of two is in dollars, the other a share of the close."""
    close = bars["close"]
    fast, slow = close.rolling(3).mean(), close.rolling(8).mean()
    off_the_peak = close - close.expanding().max()
    off_the_peak.iloc[-1] = 0.0
    return pd.DataFrame({"return_1": close.pct_change(), "above": (fast > slow).astype(float),
                         **_of_two({"trend": fast - slow, "off_the_peak": off_the_peak}, in_dollars, close)})


def activity(bars, in_dollars):
    """Features of range and trading: one of two is in dollars, the other a share of the close."""
    high, low, close, volume = bars["high"], bars["low"], bars["close"], bars["volume"]
    return pd.DataFrame({**_of_two({"range": high - low, "gap": bars["open"] - close.shift()}, in_dollars, close),
                         "place": (close - low) / (high - low), "volume": volume, "turnover": volume * close,
                         "busy": volume / volume.rolling(5).mean()})


def _of_two(features, in_dollars, close):
    return {name: values if name == in_dollars else values / close for name, values in features.items()}


def _builders(seed):
    """Bars and what builds features of them; a name does not tell what is in dollars: that changes from case to case."""
    rng = np.random.default_rng([3, seed])
    two = rng.permutation(["trend", "off_the_peak"])
    cases = []
    for n, start, features, in_dollars in ((12, 20, momentum, two[0]), (60, 80, activity, rng.choice(["range", "gap"])),
                                           (60, 90, momentum, two[1])):
        build = partial(features, in_dollars=in_dollars)
        build.__name__ = features.__name__
        cases.append((random_walk(n, start + seed), build))
    return cases


UNITS = Question(
    "q3", reference=_bound, cases=_builders,
    keep="What changes with the unit of the price knows how prices were adjusted since: make it a ratio.",
    hints=("Do to the prices what a currency reform does: everything costs ten times as much. Shares stay shares.",
           "Two tables of features, before and after. What is the same, but for rounding, and where there was no "
           "value?"),
    mistakes=(
        Mistake("only the close was changed",
                "A reform changes all prices of a bar. With the close alone a ratio of two prices moves as well.",
                partial(_bound, columns=["close"])),
        Mistake("the volume was changed too",
                "The number of shares that change hands has nothing to do with the unit of the price.",
                partial(_bound, columns=[*PRICES, "volume"])),
        Mistake("added, not multiplied", "Adding ten dollars to each price is another market: its returns are others.",
                partial(_bound, change=lambda prices: prices + 10.0)),
        Mistake("blames rounding",
                "A number that is the same but for its last digits is the same.", partial(_bound, tolerance=0.0),
                also=(partial(_bound, tolerance=0.0, nan=False),)),
        Mistake("blames the holes", "NaN is not equal to NaN: every column with a warm-up seems to have changed.",
                partial(_bound, nan=False)),
        Mistake("looks at the last row alone", "In a single row a difference of prices can be zero.",
                partial(_bound, rows=slice(-1, None)), also=(partial(_bound, rows=slice(-1, None), nan=False),)),
        Mistake("the clean ones", "These are the columns that do not change.", partial(_bound, moved=False)),
        Mistake("nothing was changed", "The table was compared with itself. Does a copy of it stay as it was?",
                lambda bars, build: set()),
        Mistake("all columns",
                "You name every column, the ratios as well.", lambda bars, build: set(build(bars).columns)),
    ))


# ---- q4: fourteen columns that nobody needs

TWINS = Choice(
    "q4", keep="By shuffling you learn what the model needs, not what it could use: columns that resemble each other "
               "cover for each other.",
    hints=("What did the lesson's twin lose when it was shuffled, and why was it not all?",),
    options={
        "a": Option("Drop all fourteen: none of them matters.",
                    "Each may be dropped while the others stay. Drop them all, and the one that worked is gone with "
                    "its copies.",
                    "drops what covers for each other"),
        "b": Option("Shuffle columns that resemble each other together, as one group.",
                    "Then no twin is left to tell the truth, and what the group knows shows."),
        "c": Option("Believe the importance by splits instead: it never comes out at zero.",
                    "It never does for noise either: a lottery ticket has its share. That is no reason to believe it.",
                    "believes what is never zero"),
        "d": Option("Doubt the 56 %: a score without an important column must be luck.",
                    "The score was measured on rows never seen, with an interval clear of one half. The columns carry "
                    "it together.",
                    "doubts the score"),
    })


# ---- q5: shuffled as a group


def _loss(model, X, y):
    return float(-np.log(model.predict_proba(X)[np.arange(len(y)), y.to_numpy().astype(int)]).mean())


def _put(X, columns, values):
    other = X.copy()
    other[columns] = values
    return other


def _shuffled(X, columns, order):
    return _put(X, columns, X[columns].to_numpy()[order])


def _cost(model, X, y, columns, order):
    return _loss(model, _shuffled(X, columns, order), y) - _loss(model, X, y)


def _accuracy(model, X, y, columns, order):
    def right(table):
        return (model.predict(table) == y.to_numpy()).mean()
    return float(right(X) - right(_shuffled(X, columns, order)))


def _models(seed):
    """(fitted model, test rows, labels, columns to shuffle, order): two of the columns are twins."""
    cases = []
    for n, columns in ((12, ["return_1", "copy"]), (200, ["return_1", "copy"]), (200, ["return_2"])):
        rng = np.random.default_rng([seed, n, len(columns)])
        X = pd.DataFrame(rng.normal(size=(n + 200, 3)), columns=["return_1", "return_2", "other"])
        X["copy"] = X["return_1"] + 0.2 * rng.normal(size=n + 200)
        y = pd.Series((X["return_1"] + 0.6 * X["return_2"] + rng.normal(size=n + 200) > 0).astype(float))
        X.index = y.index = pd.bdate_range("2020-01-01", periods=n + 200)
        cases.append((LogisticRegression().fit(X.iloc[:200], y.iloc[:200]), X.iloc[200:], y.iloc[200:], columns,
                      rng.permutation(n)))
    return cases


COST = Question(
    "q5", reference=_cost, cases=_models,
    keep="Shuffled in one order, a group of twins has nobody left to cover for it, and its cost is what it knows.",
    hints=("Twice the same score of the same model: on the rows as they are, and on rows in which one thing is out of "
           "order.",
           "pandas puts rows back in their place by their index. Look at the table after you have shuffled it."),
    mistakes=(
        Mistake("nothing was shuffled",
                "pandas lines rows up by their index, so that every value found its way home. Are the columns out of "
                "order in your table?", lambda *given: 0.0),
        Mistake("one column at a time",
                "Shuffled one after the other, each is covered for by its twin. They go together, in one order.",
                lambda model, X, y, columns, order: sum(_cost(model, X, y, [name], order) for name in columns), also=(
                    lambda model, X, y, columns, order: np.mean(
                        [_cost(model, X, y, [name], order) for name in columns]),)),
        Mistake("all columns", "Every column was shuffled. The question is what this group alone is worth.",
                lambda model, X, y, columns, order: _cost(model, X, y, list(X), order)),
        Mistake("the sign turned round", "What costs a good model something is to come out above zero.",
                lambda *given: -_cost(*given)),
        Mistake("accuracy",
                "That counts calls on the right side. The penalty for being sure and wrong was asked for.", _accuracy,
                also=(lambda *given: -_accuracy(*given),)),
        Mistake("a loss, not what it has grown", "That is the loss after the shuffle. How large was it before?",
                lambda model, X, y, columns, order: _cost(model, X, y, columns, order) + _loss(model, X, y)),
        Mistake("a ratio", "You divided the two losses. The difference was asked for.",
                lambda model, X, y, columns, order: _cost(model, X, y, columns, order) / _loss(model, X, y) + 1.0),
        Mistake("set to zero",
                "A column of zeros is no column of this market: the model never saw one. Shuffled, it keeps its "
                "values.",
                lambda model, X, y, columns, order: _loss(model, _put(X, columns, 0.0), y) - _loss(model, X, y), also=(
                    lambda model, X, y, columns, order: _loss(model, _put(X, columns, X[columns].mean().to_numpy()), y)
                    - _loss(model, X, y),)),
        Mistake("the labels were shuffled", "The features are in order, and the answers are not.",
                lambda model, X, y, columns, order: _loss(model, X, y.iloc[order]) - _loss(model, X, y)),
        Mistake("the order read backwards",
                "The first row gets its values from row order[0]; with you row order[0] gets those of the first.",
                lambda model, X, y, columns, order: _cost(model, X, y, columns, np.argsort(order))),
        Mistake("calls, not probabilities",
                "predict says which class, and a penalty for being sure needs to know how sure.",
                lambda model, X, y, columns, order: log_loss(y, model.predict(_shuffled(X, columns, order)))
                - log_loss(y, model.predict(X))),
        Mistake("another model",
                "A model was fitted anew, and has learned from the test rows. The one that is given is to be judged.",
                lambda model, X, y, columns, order: _loss(
                    LogisticRegression().fit(_shuffled(X, columns, order), y), _shuffled(X, columns, order), y)
                - _loss(model, X, y)),
    ))


# ---- q6: features of a stock that is split


def _adjusted(raw, power=1, ahead=1):
    to_come = raw["split"][::-1].cumprod()[::-1].shift(-ahead).fillna(1.0)
    return raw["raw_close"] / to_come**power


def _as_traded(raw):
    return raw["raw_close"]


def _features(raw, close=_adjusted, unit=lambda close, raw: close):
    close = close(raw)
    fast, slow = close.rolling(5).mean(), close.rolling(20).mean()
    return pd.DataFrame({"return_1": close.pct_change(), "price_to_average": close / slow - 1.0,
                         "trend": (fast - slow) / unit(close, raw)})


def _columns(answer, raw):
    made = answer(raw)
    return {name: made[name] for name in made} if isinstance(made, pd.DataFrame) else made


def _left_out(raw, value=np.nan):
    return {"return_1": raw["raw_close"].pct_change().where(raw["split"] == 1.0, value)}


def _stock(n, seed, splits):
    """A stock as it was traded: raw_close, and split, 2.0 on the day on which a share became two, else 1.0."""
    held = random_walk(n, seed, volatility=0.015)["close"]
    split = pd.Series(1.0, held.index)
    at = np.sort(np.random.default_rng([seed, n]).choice(np.arange(22, n - 3), len(splits), replace=False))
    split.iloc[at] = splits
    to_come = split[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
    return pd.DataFrame({"raw_close": held * to_come, "split": split})


def _audit_stock(answer):
    """The prices to come may be missing, the splits not: nobody writes a table without them."""
    def build(raw):
        columns = _columns(answer, raw.fillna({"split": 1.0}))
        return pd.DataFrame({name: on_index(columns[name], raw.index) for name in columns})

    return audit_features(build, _stock(60, 5, [2.0, 1.5, 3.0]), n_cuts=3)


def _wrong(part, name, hint, *features):
    first, *others = features
    return Mistake(name, hint, first, part=part, also=tuple(others))


def _with(**options):
    return partial(_features, **options)


STOCK = Question(
    "q6", reference=_features, audit=_audit_stock, run=_columns, points=3,
    cases=lambda seed: [(_stock(34, 30 + seed, [2.0]),), (_stock(120, 70 + seed, [2.0, 3.0, 1.5]),)],
    keep="Adjust prices so that no split is a crash, and make of them nothing but ratios, so that no later split "
         "shows.",
    hints=("Two of the three columns are wrong: one on some days only, one on all days before the last split.",
           "Which price does each column use? What does that price know?",
           "Multiply all prices by two, and look which column doubles. Question 3 has the test for it."),
    mistakes=(
        _wrong("return_1", "a split taken for a crash",
               "On the day of a split the holder of a share has two, each worth half. The return still says that half "
               "was lost.",
               _with(close=_as_traded)),
        _wrong("return_1", "the day of the split left out",
               "No crash now, but no return either. The holder had one that day too.",
               _left_out, partial(_left_out, value=0.0)),
        _wrong("return_1", "the day of the split alone was mended",
               "One day is right now, and the day after it is wrong, or the return was stretched instead of the price. "
               "All prices before the split are those of a larger share.",
               _with(close=lambda raw: raw["raw_close"] * raw["split"]),
               lambda raw: {"return_1": raw["raw_close"].pct_change() * raw["split"]}),
        _wrong("return_1", "a logarithm", "That is a log return; a fraction was asked for.",
               lambda raw: {"return_1": np.log(_adjusted(raw)).diff()}),
        _wrong("return_1", "adjusted the wrong way round",
               "Now a split is a crash twice over. Old prices are those of a larger piece of the firm than a share is "
               "today.",
               _with(close=partial(_adjusted, power=-1))),
        _wrong("return_1", "a day off",
               "The crash has moved to the day beside. On the day of the split, is the price one before it or after "
               "it?",
               _with(close=partial(_adjusted, ahead=0)), _with(close=partial(_adjusted, ahead=2))),
        _wrong("price_to_average", "an average across a split",
               "An average of prices before and after a split is no price of anything.", _with(close=_as_traded)),
        _wrong("trend", "a trend across a split", "An average across a split pretends a trend for as long as it is.",
               _with(close=_as_traded), _with(close=_as_traded, unit=lambda close, raw: 1.0)),
        _wrong("trend", "in dollars of today",
               "A difference of adjusted prices is small where many splits were still to come, and on that day nobody "
               "knew them.",
               _with(unit=lambda close, raw: 1.0)),
        _wrong("trend", "a share of the price as traded",
               "Above the line is an adjusted price, below it one as traded: their ratio is made of the splits to "
               "come.",
               _with(unit=lambda close, raw: raw["raw_close"])),
        _wrong("trend", "a share of another price", "Each bar's difference belongs over the close of that bar.",
               _with(unit=lambda close, raw: close.iloc[-1]), _with(unit=lambda close, raw: close.iloc[0]),
               _with(unit=lambda close, raw: close.mean()), _with(unit=lambda close, raw: raw["raw_close"].iloc[-1]),
               _with(unit=lambda close, raw: close.rolling(20).mean())),
    ))

QUESTIONS = [SHOCK, OTHER, UNITS, TWINS, COST, STOCK]
