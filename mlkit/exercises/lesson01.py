"""Exercise to lesson 01, leakage: from a window that looks at the past alone to three leaks in one pipeline.

Every table is drawn at random, so that whoever finds something in it has peeked.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit.exercises.comparing import on_index, part_of, rows_marked
from mlkit.exercises.questions import Choice, Mistake, Option, Question, is_blank
from mlkit.labels import direction
from mlkit.leakage import audit_features, audit_procedure, audit_split
from mlkit.lessons.leaks import headlines, releases
from mlkit.research import walk_forward
from mlkit.splits import PurgedKFold, WalkForward
from mlkit.synthetic import random_walk

LESSON = "01_leakage"


# ---- q1: the place of the close in the range of ten bars


def _place(bars, window=lambda prices: prices.rolling(10), of=("low", "high")):
    low, high = window(bars[of[0]]).min(), window(bars[of[1]]).max()
    return (bars["close"] - low) / (high - low)


def _of_bars_to_come(bars):
    return _place(bars[::-1])[::-1]


def _audit_place(answer):
    return audit_features(lambda bars: on_index(answer(bars), bars.index, "place"), random_walk(60, seed=5), n_cuts=3)


PLACE = Question(
    "q1", reference=_place, audit=_audit_place,
    cases=lambda seed: [(random_walk(12, 100 + seed),), (random_walk(80, 200 + seed),)],
    keep="A window ends at the bar it is written on; what it cannot know yet stays empty.",
    hints=("Take the tenth bar of the table and a pencil: which ten lows may you look at that evening?",
           "Two rolling windows are enough, one over the lows and one over the highs. Where does a window end?"),
    mistakes=(
        Mistake("a window around the bar",
                "A window can be written on its last bar or on its middle one. On the middle one, half of it has not "
                "happened yet.",
                partial(_place, window=lambda prices: prices.rolling(10, center=True))),
        Mistake("the range of the whole table",
                "You measured every bar by the lowest and highest price of all. In the first year, who knew how far "
                "the price would ever go?",
                lambda bars: (bars["close"] - bars["low"].min()) / (bars["high"].max() - bars["low"].min())),
        Mistake("the bars to come",
                "Your ten bars begin at the bar, where they should end. What you have is where the close lies in a "
                "range that is still to be made.", _of_bars_to_come),
        Mistake("the start filled from behind",
                "The first bars have no ten bars behind them. You gave them the number of a later bar: that is knowing "
                "it before it was there.",
                lambda bars: _place(bars).bfill()),
        Mistake("the bar itself left out",
                "That looks ahead nowhere, but a range without the bar itself can leave its close outside, below 0 or "
                "above 1. Its own high and low are known at its close.",
                lambda bars: (bars["close"] - bars["low"].rolling(10).min().shift())
                / (bars["high"].rolling(10).max() - bars["low"].rolling(10).min()).shift()),
        Mistake("fewer than ten bars",
                "You have a number for the first bar too. The range of one bar or of five is not that of ten, and a "
                "model cannot tell them apart.",
                partial(_place, window=lambda prices: prices.rolling(10, min_periods=1))),
        Mistake("all bars so far",
                "Nothing ahead in it, but a range that only ever grows: after some years the close hardly ever reaches "
                "its edges. Ten bars were asked for.",
                partial(_place, window=lambda prices: prices.expanding(10))),
        Mistake("the range of the closes", "The price went further than its closes did: a bar has a low and a high.",
                partial(_place, of=("close", "close"))),
    ))


# ---- q2: a statistic on the day it was known


def _known(bars, table):
    return table["value"].reindex(bars.index, method="ffill")


def _of_its_week(bars, table, method="ffill"):
    return table.set_index("week")["value"].reindex(bars.index, method=method)


def _as_of(bars, table, direction):
    left = pd.DataFrame({"day": bars.index})
    return pd.merge_asof(left, table, left_on="day", right_index=True, direction=direction).set_index("day")["value"]


def _on_a_line(bars, table):
    both = bars.index.union(table.index)
    return table["value"].reindex(both).interpolate(method="time").reindex(bars.index)


def _statistics(seed):
    markets = [random_walk(n, 300 + n + seed) for n in (15, 60)]
    return [(bars, releases(bars, 40 + seed)) for bars in markets]


def _audit_known(answer):
    bars = random_walk(60, seed=6)

    def build(tables):
        return on_index(answer(tables["bars"], tables["releases"]), tables["bars"].index, "value")

    return audit_features(build, {"bars": bars, "releases": releases(bars, 6)}, n_cuts=3)


KNOWN = Question(
    "q2", reference=_known, cases=_statistics, audit=_audit_known,
    keep="A number has two dates, what it is about and when it was known, and a feature goes by the second.",
    hints=("Play it through: it is Tuesday evening. Which row of the table was published last, and what does it say?",
           "The rows are in the order in which they were published. Each bar wants the last one at or before its day, "
           "even if that day was a Sunday."),
    mistakes=(
        Mistake("dated by its week",
                "On the Friday a week ends, nobody has counted it yet. You used each value from the day it is about, "
                "not from the day it came out.", _of_its_week),
        Mistake("filled from behind", "Between two publications you show the one that is still to come.",
                lambda bars, table: table["value"].reindex(bars.index, method="bfill")),
        Mistake("dated by its week, filled from behind",
                "All days of a week have that week's value, and the week is not even over. Nobody has it before it "
                "comes out.", partial(_of_its_week, method="bfill")),
        Mistake("a line between two publications",
                "To draw a line from one value to the next you need the next one. What was known in between is a step.",
                _on_a_line),
        Mistake("the nearest publication", "The nearest one in time may lie ahead.",
                lambda bars, table: table["value"].reindex(bars.index, method="nearest"),
                also=(partial(_as_of, direction="nearest"),)),
        Mistake("the start filled from behind",
                "Before the first publication there is no value, and you show the first one all the same.",
                lambda bars, table: _known(bars, table).bfill()),
        Mistake("what came out on a weekend is lost",
                "You looked for publications on the days of the bars and lost those of Saturdays and Sundays. On "
                "Monday they are the newest there is.",
                lambda bars, table: table["value"].reindex(bars.index).ffill()),
        Mistake("a day late",
                "It is published before the close, so that very close may know it. You made it wait for the next bar: "
                "honest, and a day of news given away.",
                lambda bars, table: _known(bars, table).shift()),
        Mistake("on the day it came out alone", "A value holds until the next one comes out. Yours is there for a day.",
                lambda bars, table: table["value"].reindex(bars.index)),
    ))


# ---- q3: scaled and chosen inside the fold


def _chosen(X, y, splitter, steps=(StandardScaler(), SelectKBest(f_classif, k=3))):
    return walk_forward(make_pipeline(*steps, LogisticRegression()), X, y, splitter).predictions


def _scaled(X):
    return pd.DataFrame(StandardScaler().fit_transform(X), X.index, X.columns)


def _best(X, y):
    return X.loc[:, SelectKBest(f_classif, k=3).fit(X, y).get_support()]


def _fold_by_fold(X, y, splitter, learn_on):
    """Predictions of a model that learns, in each fold, on the rows that `learn_on(train, test)` gives."""
    parts = []
    for train, test in splitter.split(X):
        rows = learn_on(train, test)
        model = make_pipeline(StandardScaler(), SelectKBest(f_classif, k=3), LogisticRegression())
        model.fit(X.iloc[rows], y.iloc[rows])
        parts.append(pd.Series(model.predict_proba(X.iloc[test])[:, 1], X.index[test]))
    return pd.concat(parts)


def _noise(seed, n_train, n, n_test=30, columns=8):
    """Features of pure noise of unequal size, labels of coin tosses that are known three days on, and a splitter."""
    rng, days = np.random.default_rng([seed, n]), pd.date_range("2020-01-01", periods=n)
    X = pd.DataFrame(rng.normal(size=(n, columns)) * rng.uniform(0.1, 5.0, columns), days).add_prefix("noise_")
    end = pd.Series(days + pd.Timedelta("3D"), days)
    return X, pd.Series(rng.integers(0, 2, n).astype(float), days), WalkForward(n_train, n_test, label_end=end)


def _audit_chosen(answer):
    X, y, splitter = _noise(9, 40, 60, 20)

    def procedure(X, y):
        tested = X.index[np.concatenate([test for _, test in splitter.split(X)])]
        return on_index(answer(X, y, splitter), tested)

    return audit_procedure(procedure, X, y, label_end=splitter.label_end, n_cuts=2, n_null=1)


CHOSEN = Question(
    "q3", reference=_chosen, cases=lambda seed: [_noise(seed, 30, 60), _noise(seed, 60, 120)], audit=_audit_chosen,
    tolerance=1e-6,
    keep="Whatever learns, be it a mean, a choice or a model, learns inside the fold, on its training rows alone.",
    hints=("Three things learn here: the scaler, the choice of columns, the regression. From which rows may each?",
           "A pipeline is fitted as one thing, fold by fold. What has to stand in it?"),
    mistakes=(
        Mistake("everything before the split",
                "Scaler and choice have both seen every row, those of the test too, before the first fold was cut.",
                lambda X, y, splitter: _chosen(_best(_scaled(X), y), y, splitter, steps=())),
        Mistake("columns chosen on everything",
                "Choosing columns by the labels is learning, and the labels of the test rows had a say in it.",
                lambda X, y, splitter: _chosen(_best(X, y), y, splitter, (StandardScaler(),))),
        Mistake("scaled on everything",
                "The mean and the spread of the scaler are of all rows, those of the test too. It fakes next to "
                "nothing, and is as easily cured.",
                lambda X, y, splitter: _chosen(_scaled(X), y, splitter, (SelectKBest(f_classif, k=3),))),
        Mistake("learned on the test rows",
                "The model was fitted on the rows it then predicts. That is a score of memory.",
                lambda X, y, splitter: _fold_by_fold(X, y, splitter, lambda train, test: np.arange(len(X)))),
        Mistake("learned on the fold's test rows",
                "In each fold the test rows were learned from along with the others.",
                lambda X, y, splitter: _fold_by_fold(X, y, splitter, np.union1d)),
        Mistake("chose nothing", "All columns went into the regression: honest, but three were to be chosen.",
                lambda X, y, splitter: _chosen(X, y, splitter, (StandardScaler(),))),
        Mistake("scaled nothing",
                "The columns went in as they are: honest, but a regression that charges for large weights treats "
                "columns of unequal size unequally.",
                lambda X, y, splitter: _chosen(X, y, splitter, (SelectKBest(f_classif, k=3),))),
        Mistake("probability of a fall", "predict_proba has two columns, one a class. You gave that of a fall.",
                lambda X, y, splitter: 1.0 - _chosen(X, y, splitter)),
        Mistake("a call, not a probability", "You gave which class is likelier, 0 or 1. How likely was asked for.",
                lambda X, y, splitter: (_chosen(X, y, splitter) > 0.5).astype(float)),
    ))


# ---- q4: which rows may train


def _reach(ends, first, last):
    return ends[first:last].max()


def _may_train(ends, first, last, over=_reach):
    return (ends <= first) | (ends.index >= over(ends, first, last))


BLOCKS = ((12, 5, 6, 4), (60, 30, 39, 12))  # rows, first and last of the test block, the longest label


def _blocks(seed):
    """(label ends, first and last decision of the block): its first label ends last, one ends as it begins."""
    rng, cases = np.random.default_rng([seed, 4]), []
    for n, start, stop, longest in BLOCKS:
        days = pd.bdate_range("2024-01-01", periods=2 * n)
        reach = rng.integers(1, longest + 1, n)
        reach[[start - 2, start, stop]] = 2, stop - start + 4, 2
        cases.append((pd.Series(days[np.arange(n) + reach], days[:n]), days[start], days[stop]))
    return cases


def _counts_rows(given, expected):
    """Whether the same numbers of rows around each block were left out, whatever their labels."""
    def left_out(before, after):
        return [[row < start - before or row > stop + after for row in range(n)] for n, start, stop, _ in BLOCKS]

    told = [np.asarray(each).tolist() for each in given]
    return any(told == left_out(before, after) for before in range(21) for after in (0, before))


def _audit_may_train(answer):
    ends, first, last = _blocks(9)[1]
    block = (ends.index >= first) & (ends.index <= last)
    train = rows_marked(answer(ends.copy(), first, last), ends.index)
    return audit_split([(train, np.flatnonzero(block))], ends.to_frame("end"), ends)


MAY_TRAIN = Question(
    "q4", reference=_may_train, cases=_blocks, audit=_audit_may_train,
    keep="A test block reaches as far as its labels do, and so does a training row: purge on both sides, by time.",
    hints=("Draw each label as a line from its decision to its end, and the block as one long line. Which ones share a "
           "day with it?",
           "From when to when do the labels of the block reach? The one decided last need not be the one that ends "
           "last."),
    mistakes=(
        Mistake("nothing purged",
                "You left out the block and nothing else. On the eve of it many labels are still under way: what they "
                "learn is an answer of the test.",
                lambda ends, first, last: pd.Series((ends.index < first) | (ends.index > last), ends.index)),
        Mistake("purged before the block only",
                "The labels of the block reach beyond it. Whoever trains on the days right after it trains on days "
                "that those labels are made of.",
                lambda ends, first, last: (ends <= first) | (ends.index > last)),
        Mistake("purged after the block only",
                "Before the block too there are labels that are not known yet when it begins.",
                lambda ends, first, last: (ends.index < first) | (ends.index >= _reach(ends, first, last))),
        Mistake("only the past trains",
                "Honest, and what a walk forward does. Here rows after the block may train as well, once they share no "
                "day with it.", lambda ends, first, last: ends <= first),
        Mistake("by the label decided last",
                "You went by where the label of the block's last row ends. One that was decided earlier can end later.",
                partial(_may_train, over=lambda ends, first, last: ends[last])),
        Mistake("a number of rows",
                "The same number of rows on both sides is too much for a short label and too little for a long one. "
                "Every label says itself when it ends.",
                when=_counts_rows),
        Mistake("one day too many",
                "That is safe, and gives rows away: a label that ends as the block begins is known by then, and a "
                "decision made as the block's last label ends shares no day with it.",
                also=(lambda ends, first, last: (ends < first) | (ends.index >= _reach(ends, first, last)),
                      lambda ends, first, last: (ends <= first) | (ends.index > _reach(ends, first, last)),
                      lambda ends, first, last: (ends < first) | (ends.index > _reach(ends, first, last)))),
    ))


# ---- q5: what no audit sees

SURVIVORS = Choice(
    "q5",
    keep="An audit believes the table it is given; who is in the table, and since when, you have to ask yourself.",
    hints=("An audit changes what comes after a day. What in this table would be the same, whatever came after?",),
    options={
        "a": Option("How the fifty companies got into the table.",
                    "They are the largest of today, so none of them went under, and what fell most came back: it had "
                    "to, to be here. In 1990 nobody had that list."),
        "b": Option("Nothing more: on random walks it earns nothing, and the audits are clean.",
                    "The audits are right, the code looks at nothing ahead. They were given a table that was made in "
                    "hindsight, and on a random walk nobody chose the survivors.", "trusts a clean audit"),
        "c": Option("Whether a scaler was fitted on all days.",
                    "The rule has no scaler: it buys what fell most. And on a random walk such a leak would have shown "
                    "as well, if it were of any size.", "blames the scaler"),
        "d": Option("Whether it earns as much with the hundred largest companies of today.",
                    "It most likely does, and that proves nothing: the hundred were drawn from the winners in the same "
                    "way.",
                    "more of the same survivors"),
    })


# ---- q6: three leaks in one pipeline

HORIZON = 5


def _pipeline(bars, headlines, half_spread, folds=None, feature=None, buyer=1.0, seller=1.0, off=0.0):
    labels = direction(bars, horizon=HORIZON).dropna()
    folds = PurgedKFold(5, label_end=labels["end"]) if folds is None else folds
    feature = headlines["tone"].reindex(bars.index).fillna(0.0) if feature is None else feature(bars, headlines)
    buy, sell = bars["open"].shift(-1), bars["open"].shift(-1 - HORIZON)
    earned = sell * (1.0 - seller * half_spread) / (buy * (1.0 + buyer * half_spread)) - 1.0 - off * half_spread
    return {"folds": folds.split(labels), "sentiment": feature, "earned": earned}


def _in_hindsight(bars, headlines):
    rose = bars["close"].shift(-1) > bars["close"]
    return pd.Series(np.where(rose, 1.0, -1.0), bars.index).where(bars.index.isin(headlines.index), 0.0)


def _told(answer, bars, headlines, half_spread):
    """The answer's parts, its folds in a word."""
    made = answer(bars, headlines, half_spread)
    if not isinstance(made, Mapping) or is_blank(made.get("folds")):
        return made
    return {**made, "folds": _kind_of(made["folds"], direction(bars, horizon=HORIZON).dropna())}


def _kind_of(folds, labels):
    pairs = [tuple(map(np.asarray, pair)) for pair in (folds.split(labels) if hasattr(folds, "split") else folds)]
    if not pairs:
        return "none"
    tested = np.concatenate([test for _, test in pairs])
    kinds = set(audit_split(pairs, labels, labels["end"]).findings["kind"])
    if "shared" in kinds:
        return "trained on"
    if kinds:
        return "blocks sharing days" if all((np.diff(test) == 1).all() for _, test in pairs) else "shuffled"
    if len(set(tested)) < max(len(tested), len(labels) / 2):
        return "few tested"
    enough = len(labels) / 10 if len(labels) > 50 else 0  # of a few rows a purge leaves little
    return "sound" if min(len(train) for train, _ in pairs) >= enough else "few train"


def _folds_are(kind):
    return lambda given, expected: all(isinstance(each, Mapping) and each.get("folds") == kind for each in given)


def _earned(name, hint, **costs):
    return Mistake(name, hint, partial(_pipeline, **costs), part="earned")


def _feature(name, hint, feature):
    return Mistake(name, hint, partial(_pipeline, feature=feature), part="sentiment")


def _markets(seed):
    markets = [random_walk(n, 500 + n + seed) for n in (130, 200)]
    return [(bars, headlines(bars, seed), half) for bars, half in zip(markets, (0.01, 0.0005))]


def _audit_sentiment(answer):
    bars = random_walk(60, seed=7)

    def sentiment(tables):
        made = part_of(answer(tables["bars"], tables["headlines"], 0.01), "sentiment")
        return on_index(made, tables["bars"].index, "sentiment")

    return audit_features(sentiment, {"bars": bars, "headlines": headlines(bars, 7)}, n_cuts=3)


PIPELINE = Question(
    "q6", reference=_pipeline, cases=_markets, run=_told, audit=_audit_sentiment, points=3,
    keep="Three leaks of three kinds: days that share their answer, an input made from the outcome, a price nobody "
         "gets. Each is one line, and no single test would have seen them all.",
    hints=("Ask of every line: would I have had this number that evening, and could I have traded at that price?",
           "One leak is in what trains beside what is tested, one in where the feature comes from, one in who pays.",
           "How far does a label reach? What was in the newspaper before the close? What does a seller get?"),
    mistakes=(
        Mistake("trains on its test",
                "Some rows are in both parts of a fold, so the model has learned the answers that it is asked for. "
                "That is a score of memory.", when=_folds_are("trained on")),
        Mistake("shuffles overlapping labels",
                "The folds are still dealt like cards. A label reaches over five days, so the day next door has nearly "
                "the same answer, and it is in training.", when=_folds_are("shuffled")),
        Mistake("whole blocks, nothing purged",
                "The blocks are whole now, but at their edges training labels still reach into the test.",
                when=_folds_are("blocks sharing days")),
        Mistake("tests too little", "Test at least half of the rows, and each of them once.",
                when=_folds_are("few tested")),
        Mistake("trains on next to nothing",
                "Nothing leaks where nothing trains. Each fold needs a tenth of the rows to learn from.",
                when=_folds_are("few train")),
        _feature("sentiment in hindsight",
                 "The feature still says what the price did afterwards. Good news is not news that turned out well: "
                 "what was known of it before the close?", _in_hindsight),
        _feature("sentiment after the day's move",
                 "The price of the day is known at its close, so this looks ahead nowhere. But it is the return over "
                 "again, under another name: what did the headlines say?",
                 lambda bars, headlines: np.sign(bars["close"].diff().reindex(headlines.index)).reindex(bars.index)
                 .fillna(0.0)),
        _feature("sentiment thrown out",
                 "Nothing leaks from a feature that is not there. But the table holds something that was known before "
                 "the close.", lambda bars, headlines: pd.Series(0.0, bars.index)),
        _feature("yesterday's headlines", "That is honest and a day late: the tone was read before this very close.",
                 lambda bars, headlines: headlines["tone"].reindex(bars.index).fillna(0.0).shift(fill_value=0.0)),
        _feature("old news carried on",
                 "On a day without headlines you repeat those of the last day that had some; 0 was asked for.",
                 lambda bars, headlines: headlines["tone"].reindex(bars.index).ffill().fillna(0.0)),
        _earned("one side only",
                "Only one of the two trades pays. Whoever buys has to sell again, and the spread is met by both.",
                seller=0.0),
        _earned("the other side only", "Now the sale pays, and the purchase no longer does.", buyer=0.0),
        _earned("no costs at all",
                "In the end nobody pays anything here. What a buyer loses is no gain of the seller's.",
                buyer=0.0, seller=0.0),
        _earned("the sign of a cost",
                "A cost never helps. Who pays more than the price here, and who gets less?", buyer=-1.0, seller=-1.0),
        _earned("the whole spread on each side",
                "Half of the spread is lost on each side. You charge the whole of it twice.",
                buyer=2.0, seller=2.0),
        _earned("taken off the return",
                "Nearly. The spread is a share of each price, and the two prices differ: take it off where it is paid.",
                buyer=0.0, seller=0.0, off=2.0),
    ))

QUESTIONS = [PLACE, KNOWN, CHOSEN, MAY_TRAIN, SURVIVORS, PIPELINE]
