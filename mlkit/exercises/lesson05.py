"""Exercise to lesson 05, which family earns its complexity: the same days for all, luck, and choices that have seen.

Families that are right, or ahead, by a known amount are drawn; the last question fits real ones on made markets.
"""

from functools import cache, lru_cache, partial

import numpy as np
import pandas as pd
from scipy.stats import ttest_rel
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from mlkit.exercises.comparing import by_name, on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question, call, faulty
from mlkit.features import FeatureSet, LaggedReturns, Volatility
from mlkit.labels import direction
from mlkit.leakage import audit_procedure
from mlkit.markets import planted_edge

LESSON = "05_model_comparison"
NAMES = ["line", "forest", "network", "crowd", "memory", "calendar"]

# ---- q1: the same days for all


def _share_right(probability, labels):
    known = probability.notna().all(axis=1)
    right = (probability[known] > 0.5).eq(labels[known] == 1, axis=0)
    return right.mean()


def _each_on_its_own_days(probability, labels):
    return pd.Series({name: ((each.dropna() > 0.5) == (labels[each.notna()] == 1)).mean()
                      for name, each in probability.items()})


def _precision(probability, labels):
    """Of the days on which a rise was called, the share on which it came."""
    known = probability.dropna()
    return pd.Series({name: labels[known.index][each > 0.5].mean() for name, each in known.items()})


def _probabilities(seed):
    rng, cases = np.random.default_rng([51, seed]), []
    for n, k in ((8, 2), (120, 4)):
        days = pd.bdate_range("2016-02-01", periods=n)
        labels = pd.Series(rng.permutation(np.arange(n) % 3 > 0).astype(float), days)
        lean = np.outer(2 * labels - 1, rng.uniform(0.0, 0.06, k))
        table = pd.DataFrame(0.5 + lean + rng.uniform(-0.2, 0.2, (n, k)), days, NAMES[:k])
        for column in range(k):  # each is silent on days of its own
            table.iloc[rng.choice(n, max(1, n // 10), replace=False) % n, column] = np.nan
        table.iloc[[0, -1], [0, 1]] = [[np.nan, 0.7 - 0.4 * labels.iloc[0]], [0.3 + 0.4 * labels.iloc[-1], np.nan]]
        cases.append((table, labels))
    return cases


SAME_DAYS = Question(
    "q1", reference=_share_right, cases=_probabilities,
    run=lambda answer, *inputs: by_name(call(answer, *inputs)), points=1,
    keep="A comparison is fair when nothing differs but the family, and the days are the first thing to differ.",
    hints=("On which days may the families be compared, if some of them are silent on some?",
           "Rows first: those on which nobody is silent. Then calls. Then shares."),
    mistakes=(
        Mistake("other days for each",
                "Each family is judged on days of its own. Who was silent on the hard days looks better than who was "
                "not.",
                _each_on_its_own_days),
        Mistake("silence counted as a call",
                "Where a family is silent, NaN > 0.5 is False, and you count that as the call of a fall.",
                lambda probability, labels: (probability > 0.5).eq(labels == 1, axis=0).mean()),
        Mistake("silence counted as wrong",
                "A family that says nothing on a day is neither right nor wrong on it, and you count it as wrong.",
                lambda probability, labels: ((probability > 0.5).eq(labels == 1, axis=0) & probability.notna()).mean(),
                also=(lambda probability, labels: (_share_right(probability, labels)
                                                   * probability.notna().all(axis=1).mean()),)),
        Mistake("rises alone",
                "You look at the days on which a rise was called, and not at the falls. A call of a fall is right or "
                "wrong as well.", _precision),
        Mistake("how often it says rise",
                "That is how often a family calls a rise. Whether the rise came does not enter it.",
                lambda probability, labels: (probability.dropna() > 0.5).mean()),
        Mistake("how many, not which share", "You counted days. A share is a fraction of them.",
                lambda probability, labels: _share_right(probability, labels) * len(probability.dropna())),
        Mistake("percent, not a fraction", "You gave percent. Here a share is a fraction: 1 is all of the days.",
                lambda probability, labels: 100 * _share_right(probability, labels)),
    ))


# ---- q2: the difference, day by day


def _t(first, second):
    days = first - second
    return days.mean() / (days.std() / np.sqrt(len(days)))


def _unpaired(first, second, ddof=1):
    return (first.mean() - second.mean()) / np.sqrt((first.var(ddof=ddof) + second.var(ddof=ddof)) / len(first))


def _pooled(first, second):
    share = (first.mean() + second.mean()) / 2
    return (first.mean() - second.mean()) / np.sqrt(2 * share * (1 - share) / len(first))


def _pairs_of_calls(seed):
    rng, cases = np.random.default_rng([52, seed]), []
    for n, alike, sign in ((10, 5, 1), (12, 6, -1), (250, 175, 1)):
        first = rng.permutation((np.arange(n) < 0.6 * n).astype(float))
        second = first.copy()
        second[alike:] = rng.permutation((np.arange(n - alike) < 0.4 * (n - alike)).astype(float))
        days = pd.bdate_range("2016-02-01", periods=n)
        cases.append((pd.Series(first, days), pd.Series(second, days))[::sign])
    return cases


DIFFERENCE = Question(
    "q2", reference=_t, cases=_pairs_of_calls,
    keep="Two families judged on the same days share their luck: take the difference day by day, and ask how sure that "
    "is.",
    hints=("Work with one Series only: how much more right the first one was on each day.",
           "The standard error of a mean is the sample's standard deviation over the root of how many there are."),
    mistakes=(
        Mistake("as if on other days",
                "You add two variances, as for two samples that have nothing to do with each other. These two were "
                "judged on the same days, and mostly right on the same ones.", _unpaired,
                also=(partial(_unpaired, ddof=0), _pooled)),
        Mistake("divides by n",
                "A sample's deviation is taken from its own mean, in whose neighbourhood it looks too small. That is "
                "why its variance is not divided by n.",
                lambda first, second: (first - second).mean() / ((first - second).std(ddof=0) / np.sqrt(len(first)))),
        Mistake("deviation for standard error",
                "You divide by how much single days vary. The mean of many days varies far less than one of them.",
                lambda first, second: (first - second).mean() / (first - second).std(),
                also=(lambda first, second: (first - second).mean() / (first - second).std(ddof=0),)),
        Mistake("divides by n, not its root",
                "The error of a mean falls with the root of the number of days, not with the number itself.",
                lambda first, second: (first - second).mean() / (first - second).std() * len(first)),
        Mistake("against a coin",
                "You ask whether the first family beats a coin. The question is whether it beats the other family.",
                lambda first, second: _t(first, 0.5), also=(lambda first, second: (first.mean() - 0.5)
                                                            / np.sqrt(0.25 / len(first)),)),
        Mistake("the other way round", "You ask by how much the second is ahead of the first.",
                lambda first, second: _t(second, first)),
        Mistake("without its sign", "A family that is behind has a t below zero. Yours never has.",
                lambda first, second: abs(_t(first, second))),
        Mistake("a probability", "That is a p-value. Asked for is the distance from zero that it is worked out from.",
                lambda first, second: float(ttest_rel(first, second).pvalue)),
        Mistake("the size of the difference alone",
                "That is how large the difference is. How sure is it? On ten days it could be anything.",
                lambda first, second: (first - second).mean()),
    ))


# ---- q3: choose, then judge


def _halves(right, end, known_by="end", judged="second"):
    middle = right.index[len(right) // 2]
    before = {"end": end <= middle, "strict": end < middle, "decided": right.index < middle, "all": end == end,
              "second": right.index >= middle, "through": right.index <= middle}[known_by]
    chosen = right[before].mean().idxmax()
    days = {"second": right.index >= middle, "all": right.index == right.index, "first": before,
            "after": right.index > middle}[judged]
    return chosen, float(right.loc[days, chosen].mean())


def _counted(right, end):
    chosen, share = _halves(right, end)
    return chosen, share * (len(right) - len(right) // 2)


@cache
def _races(seed):
    """Close races with labels of some length: in each, the leader would be another if other days were counted."""
    rng, cases = np.random.default_rng([53, seed]), []
    for n, k, horizon, way in ((13, 3, 3, "decided"), (12, 3, 2, "all"), (60, 6, 12, "decided"), (61, 6, 8, "second"),
                               (80, 6, 16, "through")):
        row, middle = np.arange(n), n // 2
        counted = {"end": row + horizon <= middle, "decided": row < middle, "through": row <= middle,
                   "second": row >= middle, "all": row >= 0}
        leaders = {"end": [0, 1]}
        while any(len(each) > 1 for each in leaders.values()) or leaders["end"] == leaders[way]:  # no ties
            right = (rng.random((n, k)) < 0.52).astype(float)
            means = {name: right[rows].mean(axis=0) for name, rows in counted.items()}
            leaders = {name: list(np.flatnonzero(mean > mean.max() - 1e-9)) for name, mean in means.items()}
        days = pd.bdate_range("2017-05-01", periods=n + horizon)
        cases.append((pd.DataFrame(right, days[:n], NAMES[:k]), pd.Series(days[horizon:], days[:n])))
    return cases


CHOOSE = Question(
    "q3", reference=_halves, cases=_races,
    keep="Choosing is a fit: whoever is chosen by a day cannot be judged by it.",
    hints=("There are two sets of days: one to choose on, one to judge on. Nothing may be in both, not even part of a "
           "label.",
           "The choice is made at the close of the middle day. Which outcomes are known by then?"),
    mistakes=(
        Mistake("chosen on the days it is judged on",
                "Your choice has seen the days by which you judge it. Of six coins one is always ahead, and looks as "
                "if it could do something.",
                partial(_halves, known_by="all"), also=(partial(_halves, known_by="second"),)),
        Mistake("judged where it was chosen",
                "You report the score by which you chose. It is the highest of several, and so it flatters.",
                partial(_halves, judged="first"), also=tuple(partial(_halves, known_by=way, judged="first")
                                                              for way in ("decided", "through"))),
        Mistake("judged on all days",
                "You judge on all days, and half of them are those by which you chose.", partial(_halves, judged="all"),
                also=tuple(partial(_halves, known_by=way, judged="all") for way in ("decided", "all", "through"))),
        Mistake("not yet known",
                "You count days whose outcome was not known when you chose: their labels reach into the days by which "
                "you judge.", partial(_halves, known_by="decided"), also=(partial(_halves, known_by="through"),)),
        Mistake("a day that was known",
                "You leave out the day whose outcome became known at the very close of the choice. It was known in "
                "time.",
                partial(_halves, known_by="strict")),
        Mistake("how many, not which share", "You counted days. A share is a fraction of them.", _counted),
        Mistake("the middle day left out",
                "You judge from the day after the middle on. The choice is made at the close of the middle day, and so "
                "is that day's decision: it is the first to be judged.", partial(_halves, judged="after")),
    ))


# ---- q4: the luck of the best


def _leads(extra, draws):
    return extra.to_numpy()[draws].mean(axis=1), extra.mean().to_numpy()


def _luck(extra, draws):
    drawn, lead = _leads(extra, draws)
    return float(((drawn - lead).max(axis=1) >= lead.max()).mean())


def _luck_as(count):
    """An answer from the drawn means (draws, families), the true ones, and the column of the leader."""
    return lambda extra, draws: float(np.mean(count(*_leads(extra, draws), int(extra.mean().argmax()))))


def _extras(seed):
    rng, cases = np.random.default_rng([54, seed]), []
    for n, k, n_draws in ((8, 2, 12), (60, 6, 60), (120, 4, 60)):
        common = rng.normal(0, 0.006, (n, 1))
        extra = 0.01 * rng.standard_normal((n, k)) + common
        extra += (np.linspace(-0.4, 1.4, k) / np.sqrt(n) * 0.011) - extra.mean(axis=0)
        table = pd.DataFrame(extra[:, rng.permutation(k)], pd.bdate_range("2018-01-01", periods=n), NAMES[:k])
        cases.append((table, rng.integers(0, n, (n_draws, n))))
    return cases


LUCK = Question(
    "q4", reference=_luck, cases=_extras, points=3,
    keep="The best of many is ahead by luck alone: ask how often the best of them would be so far ahead if none were "
    "better.",
    hints=("The mean lead of each family in each draw is a table of draws and families: work that out first.",
           "If no family were better, how far would its drawn leads lie from zero on average? How do you bring them "
           "there?",
           "In each draw only one number counts: that of whoever is ahead in that draw."),
    mistakes=(
        Mistake("the leader alone",
                "You draw the days for the leader alone, as if nobody else had been tried. It was chosen because it "
                "leads: in another draw somebody else would.",
                _luck_as(lambda drawn, lead, best: drawn[:, best] - lead[best] >= lead[best])),
        Mistake("as if its lead were real",
                "In your draws the families keep the leads they have, so the best is about as far ahead as it was. Ask "
                "what happens if nobody is better: take each one's own lead away first.",
                _luck_as(lambda drawn, lead, best: drawn.max(axis=1) >= lead.max())),
        Mistake("how often the leader falls behind",
                "You count the draws in which the leader is no longer ahead. That is a test of one family, and this "
                "one was picked from several.", _luck_as(lambda drawn, lead, best: drawn[:, best] <= 0),
                also=(_luck_as(lambda drawn, lead, best: drawn[:, best] < 0),
                      _luck_as(lambda drawn, lead, best: drawn.max(axis=1) <= 0))),
        Mistake("everybody loses the leader's lead",
                "You take the leader's lead from all of them. Each family has a lead of its own, and without it each "
                "is no better than the benchmark.",
                _luck_as(lambda drawn, lead, best: (drawn - lead.max()).max(axis=1) >= lead.max())),
        Mistake("every family counted",
                "You count all pairs of a draw and a family. Of one draw only the best one counts, as only the best "
                "was shown to you.", _luck_as(lambda drawn, lead, best: drawn - lead >= lead.max())),
        Mistake("each against its own lead",
                "You ask whether some family repeats a lead of its own, and a small one is quickly repeated. The lead "
                "to be explained is the leader's.",
                _luck_as(lambda drawn, lead, best: (drawn - lead >= lead).any(axis=1))),
        Mistake("the other tail",
                "You count the draws in which luck does not reach so far. A small figure then means that luck explains "
                "everything.", lambda extra, draws: 1 - _luck(extra, draws)),
        Mistake("percent, not a fraction", "You gave percent. Here a share is a fraction: 1 is all of the draws.",
                lambda extra, draws: 100 * _luck(extra, draws)),
    ))


# ---- q5: which one to keep

KEEP = Choice(
    "q5", keep="Complexity is the side that has to prove something: where it cannot, the plain model stays.",
    hints=("Which of these figures speaks of the difference between the two, and what does it say?",),
    options={
        "a": Option("The forest: it was right more often on the same unseen days.",
                    "By 1.2 points, and the interval says that -0.7 would fit these days as well. A place in a table "
                    "is no difference.", "ranks what cannot be told apart"),
        "b": Option("The forest, with the best of ten seeds: the seeds move it by more than a point.",
                    "That its score moves by a point when nothing but the seed changes shows how much of it is drawn "
                    "by lot. The best of ten is ten trials, and its score flatters.", "chooses the luckiest seed"),
        "c": Option("The logistic regression: the forest has not shown that it is better, and it costs more.",
                    "The difference may be luck, so nothing pays for the hour and for the seeds."),
        "d": Option("Either of them: as zero is in the interval, they are equally good.",
                    "An interval that holds zero also holds 2 points. Not seen is not the same as not there; and two "
                    "models that cannot be told apart by score still differ in what they cost.",
                    "not shown taken for equal"),
    })


# ---- q6: an honest choice

FAMILIES = {"line": Ridge(100.0), "few neighbours": KNeighborsRegressor(5), "many neighbours": KNeighborsRegressor(25)}
HORIZON = 10


def _procedure(X, y, end, scaled="train", fitted="known", chosen="known", given="last"):
    """Predictions of the chosen family; the defaults are honest."""
    half, late = len(X) // 2, 3 * len(X) // 4
    made = _made(X.to_numpy().tobytes(), y.to_numpy().tobytes(), (end <= X.index[half]).to_numpy().tobytes(), scaled,
                 fitted)
    row = np.arange(half, len(X))
    judged = {"known": (row < late) & (end[half:] <= X.index[late]), "decided": row < late, "tested": row >= half,
              "last": row >= late}[chosen]
    right = ((made > 0.5) == (y.to_numpy()[half:, None] == 1))[judged].mean(axis=0)
    best = pd.Series(made[:, right.argmax()], X.index[half:])
    return best.iloc[late - half :] if given == "last" else best


@lru_cache(maxsize=100)
def _made(features: bytes, labels: bytes, known: bytes, scaled: str, fitted: str) -> np.ndarray:
    """What each family says of the second half, (rows, families): worked out once, as many mistakes begin with it."""
    y, known = np.frombuffer(labels), np.frombuffer(known, dtype=bool)
    X, half = np.frombuffer(features).reshape(len(y), -1), len(y) // 2
    train = (np.arange(len(y)) < half) & (known if fitted == "known" else True)
    seen = X[{"train": train, "all": slice(None), "half": slice(half), "never": train}[scaled]]
    Z = X if scaled == "never" else (X - seen.mean(axis=0)) / seen.std(axis=0)
    return np.column_stack([clone(model).fit(Z[train], y[train]).predict(Z[half:]) for model in FAMILIES.values()])


def _days(bars):
    """Features, labels of ten bars, and when each is known."""
    X, labels = FeatureSet([LaggedReturns(2), Volatility(10)])(bars), direction(bars, HORIZON)
    known = X.notna().all(axis=1) & labels["label"].notna()
    return X[known], labels["label"][known], labels["end"][known]


@cache
def _markets(seed):
    """Markets in each of which another way to choose, or to fit, ends elsewhere."""
    rng, cases = np.random.default_rng([55, seed]), []
    ways = [{"chosen": "decided"}, {"chosen": "last"}, {"chosen": "tested"}]
    while len(cases) < len(ways):
        data = _days(planted_edge(int(rng.integers(130, 200)), int(rng.integers(1e6)), strength=0.3))
        if not np.allclose(_procedure(*data), _procedure(*data, **ways[len(cases)])):
            cases.append(data)
    return sorted(cases, key=lambda case: len(case[0]))


def _audit(answer):
    X, y, end = _days(planted_edge(160, 3, strength=0.3))
    return audit_procedure(lambda X, y: on_index(answer(X, y, end), X.index[3 * len(X) // 4 :]), X, y, label_end=end,
                           n_cuts=3, n_null=1)


_with_fault = partial(faulty, _procedure, {"scaled": ("train",), "fitted": ("known", "decided"),
                                            "chosen": ("known", "decided", "last", "tested"), "given": ("last", "all")})


HONEST = Question(
    "q6", reference=_procedure, cases=_markets, audit=_audit, tolerance=1e-6, points=4,
    keep="A scaler, a fit and a choice are all learned from rows, and each may learn from rows known by then alone.",
    hints=("Three lines of the blog learn from data: which rows does each of them see, and which had been known by "
           "then?",
           "The scaler has a mean and a deviation. Of which days?",
           "A label takes ten bars. Which rows before the half are not known at the half, and which of the third "
           "quarter at its end?"),
    mistakes=(
        Mistake("scaled by days to come",
                "The mean and the deviation by which you scale are those of all days, the last quarter included. A "
                "scaler is fitted like a model, and on the same rows.", also=_with_fault(scaled=("all",))),
        Mistake("scaled by other rows",
                "The scaler learns from all rows before the half, the families from fewer. Nothing leaks by that, but "
                "one set of rows was asked for, for all that is learned.",
                also=tuple(partial(_procedure, scaled="half", chosen=way)
                           for way in ("known", "decided", "last", "tested"))),
        Mistake("not scaled", "You left the scaler out. How near two days are then hangs on the units of the features.",
                also=_with_fault(scaled=("never",))),
        Mistake("fitted on labels not yet known",
                "The last labels before the half reach into the days on which the families are judged: whoever "
                "remembers most looks best there.", also=_with_fault(fitted=("decided",))),
        Mistake("chosen on the days it hands on",
                "The family is chosen by the days whose predictions you hand on. Whoever was lucky there is chosen for "
                "it.",
                also=_with_fault(chosen=("last", "tested"))),
        Mistake("chosen by outcomes not yet known",
                "You choose by days of the third quarter whose outcome was not known at its end: their labels are made "
                "of the days that come after.", also=_with_fault(chosen=("decided",))),
        Mistake("hands on what it chose by",
                "The days on which you chose are among your predictions. Their score is the one you chose by.",
                also=_with_fault(given=("all",))),
    ))

QUESTIONS = [SAME_DAYS, DIFFERENCE, CHOOSE, LUCK, KEEP, HONEST]
