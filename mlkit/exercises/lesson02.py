"""Exercise to lesson 02, overfitting: from the luck of the best of many to a choice that has not seen its own test.

The tables are drawn anew for every seed; the last question is judged by the predictions and by the leakage audit.
"""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, check_cv
from sklearn.tree import DecisionTreeClassifier
from statsmodels.stats.multitest import multipletests

from mlkit.exercises.comparing import on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question
from mlkit.leakage import audit_procedure
from mlkit.overfitting import deflated_sharpe, expected_max_sharpe, probabilistic_sharpe
from mlkit.splits import PurgedKFold, WalkForward

LESSON = "02_overfitting"


# ---- q1: the best of many, by luck


def _luck(n_rules, n_years, variance=lambda years: 1.0 / years, factor=1.0):
    return factor * expected_max_sharpe(n_rules, variance(n_years))


def _searches(seed):
    rng = np.random.default_rng(seed)
    return [(200, 5), *((int(rng.integers(5, 900)), int(rng.integers(2, 25))) for _ in range(3))]


LUCK = Question(
    "q1", reference=_luck, cases=_searches, points=1,
    keep="How good the best of many looks by luck can be worked out before the first of them is tried.",
    hints=("A single rule without an edge: how far does its Sharpe ratio scatter over so many years?",
           "expected_max_sharpe asks for a variance. In which unit is the answer then?"),
    mistakes=(
        Mistake("a deviation where a variance is asked for",
                "1 over the root of the years is how far a ratio scatters: a standard deviation. Read again what the "
                "function wants.", partial(_luck, variance=lambda years: years**-0.5)),
        Mistake("a ratio of a day", "That is the best daily ratio, some sixteen times smaller than that of a year.",
                partial(_luck, variance=lambda years: 1.0 / (252 * years))),
        Mistake("scaled to a year twice", "A year's variance gives a year's ratio. It need not be scaled again.",
                partial(_luck, factor=252**0.5)),
        Mistake("as if for one year",
                "You took a variance of 1, which is that of a single year. More years, less luck.",
                partial(_luck, variance=lambda years: 1.0)),
        Mistake("more years, more luck", "With you, luck grows with the years. The longer one looks, the less it does.",
                partial(_luck, variance=lambda years: float(years)), also=(
                    partial(_luck, variance=lambda years: years**0.5),)),
        Mistake("the bound for very many",
                "The root of twice the logarithm is what the maximum comes near to for millions. For hundreds it is "
                "far too high.", lambda n_rules, n_years: (2.0 * np.log(n_rules) / n_years) ** 0.5),
        Mistake("the scatter of one rule", "That is how far one rule scatters. The best of many lies further out.",
                lambda n_rules, n_years: n_years**-0.5, also=(lambda n_rules, n_years: 1.96 * n_years**-0.5,)),
        Mistake("rules and years exchanged", "Which of the two numbers is how often you tried?",
                lambda n_rules, n_years: _luck(n_years, n_rules)),
    ))


# ---- q2: the score of a choice


def _honest_score(train, inner, test, by="inner"):
    chosen = {"inner": inner, "train": train, "test": test}[by].idxmax(axis=1)
    return float(np.mean([test.loc[fold, setting] for fold, setting in chosen.items()]))


def _scores(seed):
    """Accuracies (folds, settings) in training, in the inner folds and on the test days: 3 x 3 to 6 x 5."""
    cases = []
    for folds, depths in ((3, [1, 4, 20]), (4, [1, 2, 8, 20]), (6, [1, 2, 4, 8, 20])):
        rng, settings = np.random.default_rng([seed, folds]), len(depths)
        shape, index = (folds, settings), pd.RangeIndex(1, folds + 1, name="fold")
        inner, test = (np.round(rng.normal(0.52, 0.03, shape), 4) for _ in range(2))
        inner[:, 0] += np.where(np.arange(folds) % 2, 0.06, -0.06)  # the folds do not agree on one setting
        train = np.round(np.sort(rng.uniform(0.53, 0.99, shape), axis=1), 4)
        cases.append(tuple(pd.DataFrame(each, index, depths) for each in (train, inner, test)))
    return cases


SCORE = Question(
    "q2", reference=_honest_score, cases=_scores,
    keep="What chose a setting may not score it: each fold chooses on its own, before its test days are looked at.",
    hints=("Stand at the end of the training days of the second fold. Which numbers of the three tables are known?",
           "One setting is chosen there. What does it score on the days that follow? Then the next fold."),
    mistakes=(
        Mistake("the best on the test days", "You chose each fold's setting by the very days that score it.",
                partial(_honest_score, by="test")),
        Mistake("the setting that did best on the test days",
                "One setting for all, and chosen by the test days: the best of several is above the mean by luck "
                "alone.",
                lambda train, inner, test: test.mean().max()),
        Mistake("chosen by the training score",
                "The training score measures how much can be learned by heart. It always likes the largest model.",
                partial(_honest_score, by="train")),
        Mistake("the score that chose",
                "The choice is honest, but you report the score by which it was made. The best of several is flattered "
                "by its own luck. Which days have had no part in the choice?",
                lambda train, inner, test: inner.max(axis=1).mean()),
        Mistake("one setting for all folds",
                "To choose one setting by the mean over all folds you need the later ones, when the first has its "
                "test. Nobody could have done that.", lambda train, inner, test: test[inner.mean().idxmax()].mean()),
        Mistake("the mean of all settings", "Honest in its way, but a mean over all is no choice.",
                lambda train, inner, test: test.to_numpy().mean()),
        Mistake("the smallest gap",
                "A setting that knows nothing has no gap between training and what comes after. Judge by what it "
                "knows.",
                lambda train, inner, test: _honest_score(train, -(train - inner).abs(), test)),
        Mistake("the smallest score", "These are accuracies: more is better.",
                lambda train, inner, test: _honest_score(train, -inner, test)),
    ))


# ---- q3: which of many tests remain


def _kept(p_values, level, method="fdr_bh"):
    return pd.Series(multipletests(p_values, level, method)[0], p_values.index)


def _own_line(p_values, level, first=1):
    return p_values <= level * (p_values.rank(method="first") - 1 + first) / len(p_values)


def _until_one_fails(p_values, level):
    passes = _own_line(p_values, level)[p_values.sort_values().index]
    return passes.cummin().astype(bool).reindex(p_values.index)


def _from_zero(p_values, level):
    passes = p_values[_own_line(p_values, level, first=0)]
    return p_values <= (passes.max() if len(passes) else -1.0)


def _in_sorted_order(p_values, level):
    return pd.Series(np.sort(_kept(p_values, level).to_numpy())[::-1], p_values.index)


def _p_values(seed):
    """(p-values by factor, level): the largest that passes has one before it that does not."""
    rng = np.random.default_rng(seed)
    few = [0.001, 0.011, 0.022, 0.0245, 0.07, 0.3, 0.6, 0.8]
    many = np.append([0.0004, 0.00127, 0.0036, 0.0061, 0.00622, 0.03, 0.045], rng.uniform(0.06, 1.0, 33))
    mixed = np.append([*rng.uniform(0.0, 0.004, 5), 0.015], rng.uniform(0.11, 1.0, 24))
    cases = []
    for values, level in ((few, 0.05), (many, 0.05), (mixed, 0.1)):
        drawn = rng.permutation(np.asarray(values) * rng.uniform(0.997, 1.0, len(values)))
        cases.append((pd.Series(drawn, [f"factor_{number}" for number in range(1, len(drawn) + 1)]), level))
    return cases


KEPT = Question(
    "q3", reference=_kept, cases=_p_values,
    keep="After a correction fewer are left than before it; whoever finds more has read it the wrong way round.",
    hints=("Sort the p-values of the first table and write beside each the line that it has to stay below.",
           "The largest p-value that stays below its line decides for all that are smaller than it."),
    mistakes=(
        Mistake("not corrected", "Of a hundred tests of nothing about five are below 0.05.",
                lambda p_values, level: p_values <= level),
        Mistake("Bonferroni", "That keeps even one false alarm unlikely. Benjamini-Hochberg is milder.",
                partial(_kept, method="bonferroni")),
        Mistake("another method", "multipletests has a method of its own, Holm and Sidak's, if it is told none.",
                partial(_kept, method="hs"), also=(partial(_kept, method="holm"),)),
        Mistake("read the wrong way round",
                "The corrected p-values are p-values too: small ones are the finds. You kept the others.",
                lambda p_values, level: ~_kept(p_values, level), also=(
                    lambda p_values, level: ~_kept(p_values, level, "bonferroni"),)),
        Mistake("each against its own line only",
                "One that fails its own line is kept all the same, if a larger one passes its line.", _own_line),
        Mistake("stops at the first that fails",
                "You went up from the smallest and stopped too early. Look from the other end: which is the largest "
                "that passes?", _until_one_fails),
        Mistake("ranks counted from zero",
                "The smallest p-value has rank one; with you its line is at zero.", _from_zero,
                also=(partial(_own_line, first=0),)),
        Mistake("always at one level", "The level is given, and is not always 0.05.",
                lambda p_values, level: _kept(p_values, 0.05)),
        Mistake("p-values, not answers", "Those are the corrected p-values. Which factors are kept?",
                lambda p_values, level: multipletests(p_values, level, "fdr_bh")[1], also=(
                    lambda p_values, level: multipletests(p_values, level, "bonferroni")[1],)),
        Mistake("in the order of the sorted",
                "The right number is kept, but of the wrong factors: after sorting, which answer belongs to whom?",
                _in_sorted_order),
    ))


# ---- q4: the best of a table


def _deflated(returns, year=1.0, spread_year=1.0, power=2, tried=len, ddof=1, ddof_of_ratios=1,
              convention="2014", pick=pd.Series.max):
    ratios = returns.mean() / returns.std(ddof=ddof)
    variance = (spread_year**0.5 * ratios).std(ddof=ddof_of_ratios) ** power
    return deflated_sharpe(year**0.5 * pick(ratios), len(returns), n_trials=tried(ratios), variance=variance,
                           convention=convention)


def _alone(returns):
    return probabilistic_sharpe((returns.mean() / returns.std()).max(), len(returns))


def _trials(seed):
    """Daily returns of rules, a column each; some have an edge."""
    rng, cases = np.random.default_rng(seed), []
    for n, rules in ((60, 4), (250, 20)):
        drawn = rng.normal(0.0, 0.01, (n, rules)) + rng.normal(0.0, 0.0008, rules)
        drawn[:, :2] += 0.01 * np.array([2.2, -0.9]) / n**0.5
        cases.append((pd.DataFrame(drawn, pd.bdate_range("2020-01-01", periods=n)).add_prefix("rule_"),))
    return cases


DEFLATED = Question(
    "q4", reference=_deflated, cases=_trials,
    keep="The best of many is judged against the luck of having tried so many, all of them, with every figure per day.",
    hints=("Which four figures does deflated_sharpe want, and in which unit? Its docstring says.",
           "All rules that were tried count, the losers too: in the number, and in how much the ratios vary."),
    mistakes=(
        Mistake("judged alone", "That is the probability as if nothing else had been tried.",
                _alone, also=(partial(_deflated, tried=lambda ratios: 1),)),
        Mistake("a year's ratio among days", "The ratio is that of a year, the number of returns that of days.",
                partial(_deflated, year=252.0), also=(partial(_deflated, year=252.0, spread_year=252.0),)),
        Mistake("luck of a year among days", "The variance is of yearly ratios, the ratio itself of a day.",
                partial(_deflated, spread_year=252.0)),
        Mistake("a deviation where a variance is asked for", "How much the ratios vary is asked for as a variance.",
                partial(_deflated, power=1)),
        Mistake("counts the winners only", "You counted those that came out above zero. The others were tried as well.",
                partial(_deflated, tried=lambda ratios: int((ratios > 0).sum()))),
        Mistake("the average rule", "The rule that was chosen is to be judged, and that is the best.",
                partial(_deflated, pick=pd.Series.mean)),
        Mistake("the other convention",
                "The result is that of 2025. Say which one you use before you know which you like: here it is that of "
                "2014.", partial(_deflated, convention="2025")),
        Mistake("divided by n, not by n - 1",
                "numpy divides by n unless it is told otherwise. The returns are a sample, and so are the ratios.",
                partial(_deflated, ddof=0), also=(
                    partial(_deflated, ddof_of_ratios=0), partial(_deflated, ddof=0, ddof_of_ratios=0))),
        Mistake("the probability of luck", "That is one minus what was asked for.",
                lambda returns: 1.0 - _deflated(returns)),
        Mistake("returns and rules exchanged",
                "On how many returns does the ratio rest, and how many rules were tried?",
                lambda returns: _deflated(returns, tried=lambda ratios: len(returns))),
    ))


# ---- q5: a low PBO

LOW_PBO = Choice(
    "q5", keep="One market is one draw: a low PBO on it proves as little as a high Sharpe ratio.",
    hints=("What did the lesson's thirty markets of noise say about the PBO of a single one?",),
    options={
        "a": Option("The winner has an edge: with a probability of 92 % it is not overfitted.",
                    "PBO says how often the choice failed within these five years. All rules share the luck of these "
                    "years, in both halves of them: on a lucky market of noise they fail rarely too.",
                    "takes PBO for the odds of an edge"),
        "b": Option("It is overfitted: a Sharpe ratio above 1 is too good to be true.",
                    "A high ratio is a reason to look, and no proof. A true edge can show one as well.",
                    "takes a high ratio for a proof"),
        "c": Option("Try two hundred more rules and see whether PBO stays as low.",
                    "Every further rule raises what luck shows, and they are tried on the same five years. More tries "
                    "are the illness.", "cures tries with tries"),
        "d": Option("Little: the best is about as good as luck would show, and on one market PBO can be anything.",
                    "The ratio is what was to be expected without any edge, and on the lesson's markets of noise the "
                    "PBO went from nearly none to nearly all. Other markets, or later days, can tell."),
    })


# ---- q6: a choice before the test

DEPTHS = (1, 3, 8)


def _fitted(X, y, depth):
    return DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X.to_numpy(), y.to_numpy())


def _accuracy(X, y, learn, judge, depth):
    return (_fitted(X.iloc[learn], y.iloc[learn], depth).predict(X.iloc[judge].to_numpy()) == y.iloc[judge]).mean()


def _inner(X, y, splitter, train, inner=None):
    """The depth that is best in an inner split of the rows `train`; the smallest among equals."""
    inner = PurgedKFold(2, label_end=splitter.label_end) if inner is None else check_cv(inner, y, classifier=True)
    folds = [(train[learn], train[judge]) for learn, judge in inner.split(X.iloc[train], y.iloc[train])]
    return max(DEPTHS, key=lambda depth: np.mean([_accuracy(X, y, *fold, depth) for fold in folds]))


def _walked(X, y, splitter, choose):
    """Predictions of trees whose depth comes from choose(X, y, splitter, train, test)."""
    parts = []
    for train, test in splitter.split(X):
        tree = _fitted(X.iloc[train], y.iloc[train], choose(X, y, splitter, train, test))
        parts.append(pd.Series(tree.predict_proba(X.iloc[test].to_numpy())[:, 1], X.index[test]))
    return pd.concat(parts)


def _nested(X, y, splitter, inner=None):
    return _walked(X, y, splitter, lambda X, y, splitter, train, test: _inner(X, y, splitter, train, inner))


def _one_for_all(X, y, splitter, train, test):
    folds = list(splitter.split(X))
    return max(DEPTHS, key=lambda depth: np.mean([_accuracy(X, y, *fold, depth) for fold in folds]))


def _choosing(choose):
    return partial(_walked, choose=choose)


def _noisy(seed, n, test_size):
    """Four slow features, labels over eight days that now need one question and now two, and a splitter."""
    rng, days = np.random.default_rng([seed, n]), pd.date_range("2020-01-01", periods=n)
    drawn = rng.normal(size=(n + 7, 4))
    X = pd.DataFrame(sum(drawn[lag : n + lag] for lag in range(8)), days).add_prefix("feature_")
    first, second = (X.iloc[:, column].to_numpy() > 0 for column in (0, 1))
    up = np.where(np.arange(n) // 45 % 2, first ^ second, first) ^ (np.repeat(rng.random(n // 5 + 1), 5)[:n] < 0.25)
    end = pd.Series(days + pd.Timedelta("8D"), days)
    return X, pd.Series(up.astype(float), days), WalkForward(60, test_size, label_end=end)


def _audit_nested(answer):
    X, y, splitter = _noisy(9, 80, 20)

    def procedure(X, y):
        tested = X.index[np.concatenate([test for _, test in splitter.split(X)])]
        return on_index(answer(X, y, splitter), tested)

    return audit_procedure(procedure, X, y, label_end=splitter.label_end, n_cuts=2, n_null=0)


NESTED = Question(
    "q6", reference=_nested, cases=lambda seed: [_noisy(370 + seed, 90, 30), _noisy(370 + seed, 160, 20)],
    audit=_audit_nested, points=3,
    keep="A choice is part of the model: it is made anew in every fold, from the training days alone, and purged like "
         "the rest.",
    hints=("At the end of a fold's training days: how can you tell which depth is good, without the days to come?",
           "Split the training days once more, purged, and let that split choose. GridSearchCV is a model like any "
           "other.",
           "What is walked forward, the tree or the search?"),
    mistakes=(
        Mistake("the best on the test days",
                "The depth is still chosen by the score on all the test days.", _choosing(_one_for_all)),
        Mistake("each fold's best on its own test days",
                "Now every fold has its own depth, and its own test days have chosen it.",
                _choosing(lambda X, y, splitter, train, test: max(
                    DEPTHS, key=partial(_accuracy, X, y, train, test)))),
        Mistake("searched on everything",
                "The search has an inner split, but it was given all rows, those of the test too. What may it see in "
                "the first fold?", _choosing(
                    lambda X, y, splitter, train, test: _inner(X, y, splitter, np.arange(len(X))))),
        Mistake("the deepest tree",
                "Chosen by the training score, or not chosen at all, the deepest tree wins. What is learned by heart "
                "is no merit.", _choosing(lambda X, y, splitter, train, test: max(
                    DEPTHS, key=partial(_accuracy, X, y, train, train))), also=(_choosing(lambda *given: None),)),
        Mistake("the inner split is not purged",
                "Inside the training days too labels reach into one another: the inner split has to know when they "
                "end.", partial(_nested, inner=2), also=(
                    partial(_nested, inner=KFold(2)), partial(_nested, inner=5))),
        Mistake("the inner split is shuffled",
                "The inner rows are dealt like cards, and the neighbours of a day know its answer nearly.",
                partial(_nested, inner=KFold(2, shuffle=True, random_state=0)), also=(
                    partial(_nested, inner=KFold(2, shuffle=True, random_state=42)),)),
        Mistake("no choice at all", "That is one depth for all folds, and nothing has chosen it.",
                _choosing(lambda *given: 1), also=(_choosing(lambda *given: 3),)),
        Mistake("a call, not a probability", "You gave which class is likelier, 0 or 1. How likely was asked for.",
                lambda X, y, splitter: (_nested(X, y, splitter) > 0.5).astype(float)),
    ))

QUESTIONS = [LUCK, SCORE, KEPT, DEFLATED, LOW_PBO, NESTED]
