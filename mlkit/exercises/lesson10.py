"""Exercise to lesson 10, deployment: features that are still the same, a watch that is fed in time, who may take over.

The last question takes any way to train a challenger and to judge it; what it had known is found out by changing what
it should not have looked at.
"""

from copy import deepcopy
from functools import cache

import numpy as np
import pandas as pd

from mlkit.exercises.comparing import on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question, is_blank
from mlkit.leakage import audit_features
from mlkit.markets import random_walk
from mlkit.models import make_model

LESSON = "10_production"
BARS = random_walk(160, 6)[["open", "close"]]


# ---- q1: are the features still the same?


def _changed(kept, now, unlike=lambda one, other: not one.equals(other), missing=True):
    names = set(kept.columns) & set(now.columns)
    gone = set(kept.columns) ^ set(now.columns)
    return {name for name in names if unlike(kept[name], now[name])} | (gone if missing else set())


def _samples(seed):
    rng = np.random.default_rng([1, seed])

    def table(n, *names):
        made = pd.DataFrame(rng.normal(0.5, 1, (n, len(names))), columns=names)
        made.iloc[:2, 0] = np.nan  # the first one has to warm up
        return made

    small, many = table(4, "average", "return_1"), table(40, "volatility", "return_1", "rsi", "gap", "age")
    percent = small.assign(return_1=100 * small["return_1"])
    others = many.assign(return_1=many["return_1"] * (1 + 1e-10), rsi=many["rsi"].to_numpy()[::-1],
                         volatility=many["volatility"].fillna(0.0)).drop(columns="age").assign(month=1.0)
    return [(small, small[["return_1", "average"]]), (small, percent), (many, others[sorted(others)])]


CHANGED = Question(
    "q1", reference=_changed, cases=_samples, points=1,
    keep="A name says nothing about what stands below it: keep a hash of what the features give, and refuse whatever "
         "differs.",
    hints=("A feature can have changed in four ways: it is gone, it is new, its values differ, or its gaps do.",
           "What does pandas answer to `NaN == NaN`? There is a method that compares two columns and takes such a gap "
           "for one."),
    mistakes=(
        Mistake("looks at the names alone", "A column of the same name with other values is what nobody notices: "
                "somebody made it percent, as that reads better, and the model goes on reading.",
                lambda kept, now: _changed(kept, now, lambda one, other: False)),
        Mistake("a gap is unlike itself", "NaN is not equal to NaN, so whatever needs to warm up looks changed on "
                "every day. Who cries at each start is switched off.",
                lambda kept, now: _changed(kept, now, lambda one, other: (one != other).any())),
        Mistake("nearly is good enough", "A difference too small to see is still other code. It is small on this "
                "sample; nobody knows what it does on another day.",
                lambda kept, now: _changed(kept, now, lambda one, other: not np.allclose(one, other, equal_nan=True))),
        Mistake("compares an average", "Other values can have the same mean, the same values in another order for one. "
                "The model reads row by row.", lambda kept, now: _changed(
                    kept, now, lambda one, other: not np.isclose(one.mean(), other.mean(), rtol=0, atol=1e-12))),
        Mistake("fills the gaps first", "A gap and a zero are two things: one says that nothing is known yet, and the "
                "other that nothing happened. Filled, they look alike.",
                lambda kept, now: _changed(kept, now, lambda one, other: not one.fillna(0).equals(other.fillna(0)))),
        Mistake("only what both have", "What is gone, and what is new, has changed most of all.",
                lambda kept, now: _changed(kept, now, missing=False)),
    ))


# ---- q2: what a watch may be told at a close


def _hits(bars):
    call, answer = _call(bars), bars["open"] > bars["open"].shift(1)
    return (call.shift(2) == answer).astype(float).where(np.arange(len(bars)) >= 3)


def _call(bars):
    return (bars["close"] > bars["close"].shift(1)).astype(float)


def _rose(bars, column="open", later=1):
    """Whether the price that many bars on is above the one before it."""
    return (bars[column].shift(-later) > bars[column].shift(1 - later)).astype(float)


def _early(by):
    def hits(bars):
        known = (_call(bars) == _rose(bars, later=2)).astype(float).where(np.arange(len(bars)) >= 1).shift(2 - by)
        return known.iloc[: len(bars) - by].reindex(bars.index)

    return hits


def _apart(by, column="open"):
    return lambda bars: (_call(bars).shift(by) == (bars[column] > bars[column].shift(1))).astype(float).where(
        np.arange(len(bars)) > by)


HITS = Question(
    "q2", reference=_hits, cases=lambda seed: [(random_walk(n, 60 + seed + n)[["open", "close"]],) for n in (9, 150)],
    audit=lambda answer: audit_features(lambda bars: on_index(answer(bars), bars.index), BARS, n_cuts=4),
    keep="A watch is fed with what is known at this close: the call of two bars ago, whose answer came today.",
    hints=("The call of bar t is bought at the open of t+1 and sold at the open of t+2. At which close is its answer "
           "known?",
           "At bar t you know the open of t and the one before. Which call do they answer?"),
    mistakes=(
        Mistake("written where it was decided", "You put the answer next to the call. On that evening nobody knew it: "
                "a watch that is fed so sees a fall two bars before it happens.", _early(2),
                also=(lambda bars: (_call(bars) == _rose(bars, later=2)).astype(float),)),
        Mistake("a bar too early", "At that close the second open is still to come.", _early(1),
                also=(lambda bars: (_call(bars).shift(1) == _rose(bars)).astype(float),)),
        Mistake("from close to close", "You ask whether the next close was higher. At the close that the call was made "
                "from nothing can be bought any more: the answer lies between two opens.", _apart(1, "close")),
        Mistake("the answer to another call", "The answer is one that is known by now, but it belongs to an earlier "
                "call than the one you hold against it. A model could be told right by chance only.",
                _apart(0), also=(_apart(1),)),
        Mistake("a bar too late", "It looks back further than it has to: the answer came a bar before.", _early(-1)),
        Mistake("counts what was never called", "In the first bars no call has been answered yet. That is neither "
                "right nor wrong: a comparison with nothing gives False, and False became a miss.",
                lambda bars: (_call(bars).shift(2) == (bars["open"] > bars["open"].shift(1))).astype(float),
                also=(lambda bars: (_call(bars).shift(2) == (bars["open"] > bars["open"].shift(1))).astype(float).where(
                    np.arange(len(bars)) >= 2),)),
    ))


# ---- q3: the sum that cries


def _alarms(messages, allowance, threshold, ignore="late", restart=True, floor=True, once=False):
    total, counted, found = 0.0, [], []
    for day, worse in messages:
        late, seen, again = counted and day <= max(counted), day in counted, counted and day == counted[-1]
        if {"late": late, "seen": seen, "again": again, "none": False}[ignore]:
            continue
        counted.append(day)
        total = worse if once else total + worse - allowance
        total = max(total, 0.0) if floor else total
        if total > threshold:
            found.append(day)
            total = 0.0 if restart else total
    return found


def _messages(seed):
    rng = np.random.default_rng([3, seed])
    many, day = [], 0
    while len(many) < 150:
        day += int(rng.integers(1, 3))  # some days come late, if at all
        many.append((day, round(float(rng.normal(0.0 if day < 60 else 0.25, 0.6)), 2)))
        if rng.random() < 0.15:  # the feed repeats itself
            many.append((day, round(float(rng.uniform(0.3, 1.2)), 2)))
        if rng.random() < 0.2 and day > 3:
            many.append((day - int(rng.integers(1, 3)), round(float(rng.uniform(0.5, 1.5)), 2)))
    few = [(1, 0.5), (2, -1.5), (3, 0.7), (4, 0.7), (4, 0.7), (3, 0.9), (5, 0.1), (6, 0.6), (7, 0.5), (8, 0.4)]
    later = int(rng.integers(0, 50))
    return [([(day + later, worse) for day, worse in few], 0.1, 1.03), (many, 0.15, 2.003)]  # no sum is just that


ALARMS = Question(
    "q3", reference=_alarms, cases=_messages,
    keep="A watch adds up what is worse than usual, forgives a little each bar, forgets good days, and counts no bar "
         "twice.",
    hints=("Three numbers are enough to carry along: the sum, the last day that was counted, and the alarms so far are "
           "a list.",
           "In which order: look at the day, add, cut off at 0, compare, begin again?"),
    mistakes=(
        Mistake("counts a bar twice", "The feed repeats itself, and you believe it both times. Bad days count double "
                "then, and the alarm is one about the feed.",
                lambda messages, allowance, threshold: _alarms(messages, allowance, threshold, ignore="none")),
        Mistake("lets the late one in", "You skip a day that comes again, and not every one that is older than the "
                "last. What comes late would change a sum that was acted upon: a watch goes forward in time alone.",
                lambda messages, allowance, threshold: _alarms(messages, allowance, threshold, ignore="again"),
                also=(lambda messages, allowance, threshold: _alarms(messages, allowance, threshold, ignore="seen"),)),
        Mistake("cries on and on", "After an alarm the sum stays where it is, so each following day is an alarm again. "
                "How many of those are news?",
                lambda messages, allowance, threshold: _alarms(messages, allowance, threshold, restart=False)),
        Mistake("saves up good days", "Your sum may fall as deep as it likes. After a good year it takes a bad one "
                "before anything is heard.",
                lambda messages, allowance, threshold: _alarms(messages, allowance, threshold, floor=False)),
        Mistake("forgives nothing", "Without an allowance the sum drifts up in a world that has not changed, and the "
                "false alarms come far more often than was reckoned.",
                lambda messages, allowance, threshold: _alarms(messages, 0.0, threshold)),
        Mistake("looks at single days", "You compare each day with the threshold. A model that has become a little "
                "worse has no day that stands out; it is the sum that tells.",
                lambda messages, allowance, threshold: _alarms(messages, allowance, threshold, once=True)),
    ))


# ---- q4: may the challenger take over?


def _promotes(arena, learned_from, alarm, z=1.645, paired="paired", n=None, seen=True, sign=1):
    gain = sign * (arena["champion"] - arena["challenger"])
    n = n or len(arena)
    apart = np.sqrt(arena.var() / n)
    error = {"paired": gain.std() / np.sqrt(n), "apart": np.sqrt((apart**2).sum()), "each": apart.sum()}[paired]
    return bool(gain.mean() - z * error > 0 and (learned_from > alarm or not seen))


def _arenas(seed):
    rng = np.random.default_rng([44, seed])
    days = pd.bdate_range("2018-01-01", periods=240)
    alarm = days[20]

    def arena(lead, shared, own=0.02, n=120):
        """Losses whose difference has a mean of so many standard errors; `shared` is the luck of both."""
        gain = rng.normal(size=n)
        gain = own * ((gain - gain.mean()) / gain.std(ddof=1) + lead / np.sqrt(n))
        luck = rng.normal(size=n)
        luck -= gain * (luck @ gain) / (gain @ gain)
        both = 0.25 + shared * (luck - luck.mean())
        return pd.DataFrame({"champion": both + gain / 2, "challenger": both - gain / 2}, days[-n:])

    since = [arena(4.0, 0.1, n=100), arena(1.1, 0.01), arena(1.46, 0.1), arena(-4.0, 0.1), arena(2.2, 0.0099),
             arena(1.95, 0.005)]
    return [*((each, days[40], alarm) for each in since), (arena(5.0, 0.1), days[10], alarm)]


PROMOTES = Question(
    "q4", reference=_promotes, cases=_arenas,
    keep="A challenger takes over by an interval of paired differences, and only if it has learned from the world that "
         "it is to trade in.",
    hints=("Both were judged on the same days. What is a single number for each day that tells who was better?",
           "A bad day is bad for both. What happens to that in the difference?"),
    mistakes=(
        Mistake("any lead will do", "Of two models that are equally good one is always in front. Is the lead larger "
                "than luck makes it?",
                lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, z=0)),
        Mistake("has not seen the new world", "It wins, and has not learned from one bar after the alarm. Whoever says "
                "less loses less where both are wrong: to win is not to be good.",
                lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, seen=False)),
        Mistake("takes them for strangers", "You add the luck of both as if each had had days of its own. They had the "
                "same days, and most of their luck is shared: look at the differences.",
                lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, paired="apart"),
                also=(lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, paired="each"),)),
        Mistake("the error of a day", "That is how far the difference of a single day strays. The mean of many days "
                "strays far less.",
                lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, n=1)),
        Mistake("one end of the interval", "An interval of 90 % leaves out 5 % at either end. Yours leaves out all 10 "
                "% at the lower one, and is too narrow.",
                lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, z=1.2816)),
        Mistake("the loser takes over", "These are losses: who has less of them is better.",
                lambda arena, learned_from, alarm: _promotes(arena, learned_from, alarm, sign=-1)),
    ))


# ---- q5: what an alarm justifies

RINGS = Choice(
    "q5",
    keep="An alarm says look, and trade less; it does not say retrain, for on its evening there is nothing to learn "
         "from yet.",
    hints=("What would a model learn tonight from the last 250 bars: the new world, or the old one?",),
    options={
        "a": Option("Train on the last 250 bars tonight and promote what comes out, as the old model is wrong.",
                    "Nearly all of those bars are from before the change. What you would promote has learned the old "
                    "world once more, and has been judged on nothing.", "retrains on the old world"),
        "b": Option("Move the threshold up, as twelve detectors ring five times in a thousand bars by luck alone.",
                    "It is true that a single alarm may be luck. But a threshold that is moved after each alarm is "
                    "none: next time the true alarm will come later, and you had chosen its price before.",
                    "silences the watch"),
        "c": Option("Trade less and look; who takes over is decided when enough bars have come after the alarm to "
                    "learn from and to judge on.",
                    "That costs little if the alarm was false, and it is where most of the money is saved if it was "
                    "true."),
        "d": Option("Nothing yet: if it is true, the account's drawdown will show it.",
                    "It will, when the loss has been made. The drawdown is the slowest of all detectors, and the only "
                    "one that is paid for.",
                    "waits for the loss"),
    })


# ---- q6: an honest retraining

ALARM, ROWS = 200, 500


@cache
def _world(seed, turns):
    """Features, labels that are known three rows on, and when the edge may have turned; the second feature is noise."""
    rng = np.random.default_rng([66, seed])
    days = pd.bdate_range("2015-01-05", periods=ROWS + 3)
    X = pd.DataFrame(rng.normal(size=(ROWS, 2)), days[:ROWS], ["lean", "noise"])
    edge = np.where(turns & (np.arange(ROWS) > ALARM), -1.0, 1.0)
    label = (edge * X["lean"] + rng.logistic(size=ROWS) > 0).astype(float)
    labels = pd.DataFrame({"label": label, "end": days[3:]})
    champion = make_model("logistic", C=1.0).fit(X.iloc[: ALARM - 3], label.iloc[: ALARM - 3])
    return X, labels, champion, days[ALARM]


def _retrained(X, labels, champion, alarm):
    new = X.index[X.index > alarm]
    learned, arena = new[: len(new) // 2], new[len(new) // 2 :]
    learned = learned[(labels["end"][learned] <= arena[0]).to_numpy()]
    challenger = make_model("logistic", C=1.0).fit(X.loc[learned], labels["label"][learned])
    losses = {name: (model.predict_proba(X.loc[arena])[:, 1] - labels["label"][arena]) ** 2
              for name, model in (("champion", champion), ("challenger", challenger))}
    return challenger, arena, _promotes(pd.DataFrame(losses), learned[0], alarm)


def _looked_at(answer, _, seed):
    """What the challenger and the decision rest on, in words, found by changing one thing at a time."""
    X, labels, champion, alarm = _world(seed, turns=True)
    first = answer(*deepcopy((X, labels, champion, alarm)))
    if is_blank(first):
        return first
    model, arena, turned = _three(first)
    said = _says(model, X)
    judged, end, now = X.index >= arena[0], labels["end"], X.index
    other = X.copy()
    other[judged] = 2 + 3 * np.random.default_rng(1).normal(size=(judged.sum(), 2))

    def moved(X_then, flipped):
        then = labels.assign(label=labels["label"].where(~flipped, 1 - labels["label"]))
        again, *_ = answer(*deepcopy((X_then, then, champion, alarm)))
        return not np.allclose(_says(again, X), said, rtol=0, atol=1e-9)

    learns = {"the arena": moved(other, np.zeros(ROWS, bool)) or moved(X, judged),
              "answers still open": moved(X, ~judged & (end > arena[0]).to_numpy()),
              "the old world": moved(X, (now <= alarm) & (end <= alarm).to_numpy())}
    calm = [answer(*deepcopy(_world(1000 * seed + number, turns=False)))[2] for number in range(12)]
    return {"asked again": "another challenger" if moved(X, np.zeros(ROWS, bool)) else "the same challenger",
            "learns from": ", ".join(name for name, found in learns.items() if found) or "the new world alone",
            "the arena": "new to both" if arena[0] > alarm else "known to the champion",
            "its rows": "enough" if len(arena) >= 100 else "too few",
            "where nothing has changed": "mostly stays" if sum(map(bool, calm)) <= 3 else "often changes",
            "where the edge has turned": "changes" if turned else "stays"}


def _three(given):
    if not isinstance(given, (tuple, list)) or len(given) != 3 or not isinstance(given[1], pd.DatetimeIndex):
        raise TypeError("three things are asked for: the challenger, the arena (a part of X.index), and True or False")
    return given


def _says(model, X):
    return model.predict_proba(X)[:, 1]


def _shows(name, *what):
    return lambda given, expected: any(each in given[0][name] for each in what)


RETRAINED = Question(
    "q6", reference=_retrained, cases=lambda seed: [("worlds drawn with seed", seed)], run=_looked_at, points=3,
    keep="The arena is new to both, the challenger has learned from the new world alone, and an interval decides.",
    hints=("Draw the rows as a line: the champion's past, the alarm, what the challenger learns from, the arena.",
           "At the border: which labels were not known yet when the arena began?", "Question 4 has the rule that "
           "decides."),
    mistakes=(
        Mistake("another challenger each time", "Trained twice on the same days it is not the same, so nobody can tell "
                "what it had known. Give whatever draws at random a `random_state`.",
                when=_shows("asked again", "another")),
        Mistake("learns from the arena", "What the challenger says depends on the rows that it is judged on: it has "
                "learned them, or was scaled or chosen by them. It would win with noise.",
                when=_shows("learns from", "the arena")),
        Mistake("judges on what the champion knows", "The arena begins before the alarm, on rows that the champion has "
                "learned. There it is better than it will ever be again.",
                when=_shows("the arena", "known to the champion")),
        Mistake("answers that were still open", "Some labels that it learned from were not known when the arena began: "
                "they end in it.",
                when=_shows("learns from", "answers still open")),
        Mistake("learns the old world again", "The challenger learns from rows before the alarm too. What it is to "
                "replace has learned the same, and where the world has turned, half of that is wrong.",
                when=_shows("learns from", "the old world")),
        Mistake("an arena of a few days", "From so few rows not even a large difference can be told.",
                when=_shows("its rows", "too few")),
        Mistake("any lead will do", "In worlds where nothing has changed it changes the model time and again: one of "
                "two equals is always in front.", when=_shows("where nothing has changed", "often")),
        Mistake("never changes", "The edge has turned long ago, the challenger has learned the new one, and the "
                "champion stays.",
                when=_shows("where the edge has turned", "stays")),
    ))

QUESTIONS = [CHANGED, HITS, ALARMS, PROMOTES, RINGS, RETRAINED]
