"""Answers to the exercise of lesson 02, right and wrong, as learners write them."""

import numpy as np
import pandas as pd
from scipy.special import ndtr
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score
from sklearn.tree import DecisionTreeClassifier
from statsmodels.stats.multitest import fdrcorrection, multipletests

from mlkit import PurgedKFold, deflated_sharpe, expected_max_sharpe, probabilistic_sharpe, walk_forward

# ---- q2


def fold_by_fold(train, inner, test):
    total = 0.0
    for fold in test.index:
        best = inner.columns[inner.loc[fold].to_numpy().argmax()]
        total += test.at[fold, best]
    return total / len(test)


def with_numpy(train, inner, test):
    rows = np.arange(len(test))
    return test.to_numpy()[rows, inner.to_numpy().argmax(axis=1)].mean()


# ---- q3


def by_hand(p_values, level):
    ordered = p_values.sort_values()
    lines = level * np.arange(1, len(ordered) + 1) / len(ordered)
    passing = np.flatnonzero(ordered.to_numpy() <= lines)
    kept = ordered.index[:passing[-1] + 1] if len(passing) else []
    return pd.Series(p_values.index.isin(kept), p_values.index)


def own_line(p_values, level):
    ordered = p_values.sort_values()
    passes = ordered <= level * np.arange(1, len(ordered) + 1) / len(ordered)
    return passes.reindex(p_values.index)


def stops_early(p_values, level):
    kept = pd.Series(False, p_values.index)
    for rank, (name, value) in enumerate(p_values.sort_values().items(), 1):
        if value > level * rank / len(p_values):
            break
        kept[name] = True
    return kept


def from_zero(p_values, level):
    ordered = p_values.sort_values()
    passes = [value <= level * rank / len(p_values) for rank, value in enumerate(ordered)]
    last = max((rank for rank, each in enumerate(passes) if each), default=-1)
    return pd.Series(p_values.index.isin(ordered.index[:last + 1]), p_values.index)


def order_lost(p_values, level):
    ordered = np.sort(p_values.to_numpy())
    return multipletests(ordered, level, "fdr_bh")[0]


# ---- q4


def judged(returns):
    daily = returns.mean() / returns.std()
    return deflated_sharpe(daily.max(), len(returns), n_trials=returns.shape[1], variance=daily.var())


def step_by_step(returns):
    ratios = [returns[name].mean() / returns[name].std() for name in returns]
    best, luck = max(ratios), expected_max_sharpe(len(ratios), np.var(ratios, ddof=1))
    return ndtr((best - luck) * np.sqrt(len(returns) - 1) / np.sqrt(1 + best**2 / 2))


def with_(best=None, n=None, **options):
    def answer(returns):
        daily = returns.mean() / returns.std()
        given = {"n_trials": len(daily), "variance": daily.var()}
        given |= {name: each(daily) for name, each in options.items()}
        return deflated_sharpe(best(daily) if best else daily.max(), n(daily) if n else len(returns), **given)
    return answer


# ---- q6


def searched(X, y, splitter):
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3, 8]},
                          cv=PurgedKFold(2, label_end=splitter.label_end), scoring="accuracy")
    return walk_forward(search, X, y, splitter).predictions


def searched_by_hand(X, y, splitter):
    parts = []
    for train, test in splitter.split(X):
        inside, answers = X.iloc[train], y.iloc[train]
        scores, folds = {}, PurgedKFold(2, label_end=splitter.label_end)
        for depth in (1, 3, 8):
            tree = DecisionTreeClassifier(max_depth=depth, random_state=0)
            scores[depth] = cross_val_score(tree, inside, answers, cv=folds).mean()
        best = max(scores, key=scores.get)
        tree = DecisionTreeClassifier(max_depth=best, random_state=0).fit(inside, answers)
        parts.append(pd.Series(tree.predict_proba(X.iloc[test])[:, 1], X.index[test]))
    return pd.concat(parts)


def inner(cv=None):
    def answer(X, y, splitter):
        options = {} if cv is None else {"cv": cv}
        search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3, 8]}, **options)
        return walk_forward(search, X, y, splitter).predictions
    return answer


def tree(depth):
    def answer(X, y, splitter):
        return walk_forward(DecisionTreeClassifier(max_depth=depth, random_state=0), X, y, splitter).predictions
    return answer


def colleague(X, y, splitter):
    tried = {depth: walk_forward(DecisionTreeClassifier(max_depth=depth, random_state=0), X, y, splitter)
             for depth in (1, 3, 8)}
    return tried[max(tried, key=lambda depth: tried[depth].folds["test_score"].mean())].predictions


def each_fold(column):
    def answer(X, y, splitter):
        parts = []
        for train, test in splitter.split(X):
            fitted = [DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X.iloc[train], y.iloc[train])
                      for depth in (1, 3, 8)]
            rows = train if column == "train" else test
            best = max(fitted, key=lambda each: each.score(X.iloc[rows], y.iloc[rows]))
            parts.append(pd.Series(best.predict_proba(X.iloc[test])[:, 1], X.index[test]))
        return pd.concat(parts)
    return answer


def search_first(X, y, splitter):
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3, 8]},
                          cv=PurgedKFold(2, label_end=splitter.label_end)).fit(X, y)
    best = DecisionTreeClassifier(random_state=0, **search.best_params_)
    return walk_forward(best, X, y, splitter).predictions


RIGHT = {
    "q1": [lambda n_rules, n_years: expected_max_sharpe(n_rules, 1 / n_years),
           lambda n_rules, n_years: n_years**-0.5 * expected_max_sharpe(n_rules, variance=1.0),
           lambda n_rules, n_years: 252**0.5 * expected_max_sharpe(n_rules, 1 / (252 * n_years))],
    "q2": [fold_by_fold, with_numpy],
    "q3": [by_hand, lambda p_values, level: multipletests(p_values, alpha=level, method="fdr_bh")[0],
           lambda p_values, level: fdrcorrection(p_values, level)[1] <= level],
    "q4": [judged, step_by_step],
    "q6": [searched, searched_by_hand],
}
WRONG = {
    "q1": {
        "a deviation where a variance is asked for": lambda n, years: expected_max_sharpe(n, 1 / years**0.5),
        "a ratio of a day": lambda n, years: expected_max_sharpe(n, 1 / (years * 252)),
        "scaled to a year twice": lambda n, years: expected_max_sharpe(n, 1 / years) * np.sqrt(252),
        "as if for one year": lambda n, years: expected_max_sharpe(n, 1),
        "more years, more luck": [lambda n, years: expected_max_sharpe(n, years),
                                  lambda n, years: expected_max_sharpe(n, np.sqrt(years))],
        "the bound for very many": lambda n, years: np.sqrt(2 * np.log(n)) / np.sqrt(years),
        "the scatter of one rule": [lambda n, years: 1 / np.sqrt(years), lambda n, years: 1.96 / np.sqrt(years)],
        "rules and years exchanged": lambda n, years: expected_max_sharpe(years, 1 / n),
    },
    "q2": {
        "the best on the test days": lambda train, inner, test: test.max(axis=1).mean(),
        "the setting that did best on the test days": lambda train, inner, test: max(
            test[name].mean() for name in test),
        "chosen by the training score": lambda train, inner, test: fold_by_fold(inner, train, test),
        "the score that chose": lambda train, inner, test: np.mean([inner.loc[fold].max() for fold in inner.index]),
        "one setting for all folds": lambda train, inner, test: test.mean()[inner.mean().idxmax()],
        "the mean of all settings": lambda train, inner, test: test.mean().mean(),
        "the smallest gap": lambda train, inner, test: np.mean(
            [test.loc[fold, (train - inner).loc[fold].abs().idxmin()] for fold in test.index]),
        "the smallest score": lambda train, inner, test: np.mean(
            [test.loc[fold, inner.loc[fold].idxmin()] for fold in test.index]),
    },
    "q3": {
        "not corrected": lambda p_values, level: p_values < level,
        "Bonferroni": [lambda p_values, level: p_values <= level / len(p_values),
                       lambda p_values, level: multipletests(p_values, level, "bonferroni")[0]],
        "another method": [lambda p_values, level: multipletests(p_values, level)[0],
                           lambda p_values, level: multipletests(p_values, level, "holm")[0]],
        "read the wrong way round": [
            lambda p_values, level: multipletests(p_values, level, "fdr_bh")[1] > level,
            lambda p_values, level: multipletests(p_values, level, "bonferroni")[1] > level],
        "each against its own line only": own_line,
        "stops at the first that fails": stops_early,
        "ranks counted from zero": [
            from_zero, lambda p_values, level: p_values <= level * (p_values.rank() - 1) / len(p_values)],
        "always at one level": lambda p_values, level: multipletests(p_values, method="fdr_bh")[0],
        "p-values, not answers": lambda p_values, level: fdrcorrection(p_values, level)[1],
        "in the order of the sorted": order_lost,
    },
    "q4": {
        "judged alone": [lambda returns: probabilistic_sharpe((returns.mean() / returns.std()).max(), len(returns)),
                         with_(n_trials=lambda daily: 1)],
        "a year's ratio among days": [with_(best=lambda daily: 252**0.5 * daily.max()),
                                      with_(best=lambda daily: 252**0.5 * daily.max(),
                                            variance=lambda daily: 252 * daily.var())],
        "luck of a year among days": with_(variance=lambda daily: (252**0.5 * daily).var()),
        "a deviation where a variance is asked for": with_(variance=lambda daily: daily.std()),
        "counts the winners only": with_(n_trials=lambda daily: (daily > 0).sum()),
        "the average rule": with_(best=lambda daily: daily.mean()),
        "the other convention": with_(convention=lambda daily: "2025"),
        "divided by n, not by n - 1": [
            lambda returns: deflated_sharpe(
                (returns.mean() / returns.std(ddof=0)).max(), len(returns), n_trials=returns.shape[1],
                variance=(returns.mean() / returns.std(ddof=0)).var()),
            with_(variance=lambda daily: np.var(daily.to_numpy()))],
        "the probability of luck": lambda returns: 1 - judged(returns),
        "returns and rules exchanged": lambda returns: with_(n_trials=lambda daily: len(returns))(returns),
    },
    "q6": {
        "the best on the test days": colleague,
        "each fold's best on its own test days": each_fold("test"),
        "searched on everything": search_first,
        "the deepest tree": [each_fold("train"), tree(None)],
        "the inner split is not purged": [inner(2), inner(KFold(2)), inner(), inner(StratifiedKFold(5))],
        "the inner split is shuffled": [inner(KFold(2, shuffle=True, random_state=0)),
                                        inner(KFold(2, shuffle=True, random_state=42))],
        "no choice at all": [tree(1), tree(3)],
        "a call, not a probability": lambda X, y, splitter: (searched_by_hand(X, y, splitter) > 0.5).astype(int),
        "looks ahead": lambda X, y, splitter: y.loc[searched(X, y, splitter).index],
    },
}
