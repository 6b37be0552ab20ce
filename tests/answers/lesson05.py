"""Answers to exercise 05, as learners would write them."""

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, precision_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RIGHT, WRONG = {}, {}

# ---- q1


def by_accuracy_score(probability, labels):
    both = probability.dropna()
    return {name: accuracy_score(labels[both.index] == 1, both[name] > 0.5) for name in both}


def by_loop(probability, labels):
    hits, days = dict.fromkeys(probability, 0), 0
    for day, row in probability.iterrows():
        if row.isna().any():
            continue
        days += 1
        for name in probability:
            hits[name] += (row[name] > 0.5) == (labels[day] == 1.0)
    return pd.Series(hits) / days


def each_alone(probability, labels):
    return pd.Series({name: accuracy_score(labels[column.notna()], column.dropna() > 0.5)
                      for name, column in probability.items()})


RIGHT["q1"] = [by_loop, by_accuracy_score]
WRONG["q1"] = {
    "other days for each": each_alone,
    "silence counted as a call": [lambda probability, labels: (probability > 0.5).eq(labels == 1, axis=0).mean(),
                                  lambda probability, labels: probability.fillna(0).gt(0.5).eq(labels, axis=0).mean()],
    "silence counted as wrong": [
        lambda probability, labels: (probability.dropna() > 0.5).eq(labels == 1, axis=0).mean(),
        lambda probability, labels: by_loop(probability, labels) * len(probability.dropna()) / len(probability)],
    "rises alone": lambda probability, labels: pd.Series(
        {name: precision_score(labels[column.index], column > 0.5) for name, column in probability.dropna().items()}),
    "how often it says rise": lambda probability, labels: probability.dropna().gt(0.5).mean(),
    "how many, not which share": lambda probability, labels: by_loop(probability, labels) * len(probability.dropna()),
    "percent, not a fraction": lambda probability, labels: by_loop(probability, labels) * 100,
}

# ---- q2


def error_by_hand(first, second):
    ahead = np.asarray(first) - np.asarray(second)
    return ahead.mean() / np.sqrt(((ahead - ahead.mean()) ** 2).sum() / (len(ahead) - 1) / len(ahead))


RIGHT["q2"] = [error_by_hand, lambda first, second: ttest_rel(first, second).statistic]
WRONG["q2"] = {
    "as if on other days": [lambda first, second: ttest_ind(first, second).statistic,
                            lambda first, second: ((first.mean() - second.mean())
                                                   / np.sqrt((np.var(first) + np.var(second)) / len(first)))],
    "divides by n": lambda first, second: (first - second).mean() / (first - second).sem(ddof=0),
    "deviation for standard error": [lambda first, second: (first - second).mean() / (first - second).std(),
                                     lambda first, second: np.mean(first - second) / np.std(np.array(first - second))],
    "divides by n, not its root": lambda first, second: (first - second).mean() / ((first - second).std() / len(first)),
    "against a coin": [lambda first, second: ttest_1samp(first, 0.5).statistic,
                       lambda first, second: (first.mean() - 0.5) / (0.5 / np.sqrt(len(first)))],
    "the other way round": lambda first, second: error_by_hand(second, first),
    "without its sign": lambda first, second: abs(error_by_hand(first, second)),
    "a probability": lambda first, second: ttest_rel(first, second).pvalue,
    "the size of the difference alone": lambda first, second: first.mean() - second.mean(),
}

# ---- q3


def with_arrays(right, end):
    at = len(right) // 2
    known = np.asarray(end <= right.index[at])
    values = right.to_numpy()
    best = int(np.argmax(values[known].mean(axis=0)))
    return [right.columns[best], values[at:, best].mean()]


def with_names(right, end):
    half = right.index[len(right) // 2]
    past, future = right[end.le(half)], right[right.index >= half]
    scores = {name: past[name].sum() for name in right}
    best = max(scores, key=scores.get)
    return best, future[best].mean()


def strictly_before(right, end):
    half = right.index[len(right) // 2]
    best = right[end < half].mean().idxmax()
    return best, right.loc[half:, best].mean()


def half_and_half(right, end):
    n = len(right) // 2
    best = right.iloc[:n].mean().idxmax()
    return best, right[best].iloc[n:].mean()


def best_of_all(right, end):
    best = right.mean().idxmax()
    return best, right[best].iloc[len(right) // 2 :].mean()


def best_afterwards(right, end):
    later = right.iloc[len(right) // 2 :].mean()
    return later.idxmax(), later.max()


def its_own_score(right, end):
    scores = right[end <= right.index[len(right) // 2]].mean()
    return scores.idxmax(), scores.max()


def first_half_score(right, end):
    scores = right.iloc[: len(right) // 2].mean()
    return scores.idxmax(), scores.max()


def score_of_all(right, end):
    best = right[end <= right.index[len(right) // 2]].mean().idxmax()
    return best, right[best].mean()


RIGHT["q3"] = [with_arrays, with_names]
WRONG["q3"] = {
    "chosen on the days it is judged on": [best_of_all, best_afterwards],
    "judged where it was chosen": [its_own_score, first_half_score],
    "judged on all days": [score_of_all, lambda right, end: (right.mean().idxmax(), right.mean().max())],
    "not yet known": [half_and_half,
                      lambda right, end: (right.loc[: right.index[len(right) // 2]].mean().idxmax(),
                                          right[right.loc[: right.index[len(right) // 2]].mean().idxmax()]
                                          .iloc[len(right) // 2 :].mean())],
    "a day that was known": strictly_before,
    "how many, not which share": lambda right, end: (with_names(right, end)[0], right[with_names(right, end)[0]]
                                                     .iloc[len(right) // 2 :].sum()),
    "the middle day left out": lambda right, end: (with_names(right, end)[0],
                                                   right[with_names(right, end)[0]].iloc[len(right) // 2 + 1 :].mean()),
}

# ---- q4


def draw_by_draw(extra, draws):
    lead = extra.mean()
    count = 0
    for rows in draws:
        count += max(extra[name].iloc[rows].mean() - lead[name] for name in extra) >= lead.max()
    return count / len(draws)


def centred_first(extra, draws):
    values = extra.to_numpy()
    centred = values - values.mean(axis=0)
    return np.mean(centred[draws].mean(axis=1).max(axis=1) >= values.mean(axis=0).max())


def means(extra, draws):
    return pd.DataFrame([extra.iloc[rows].mean() for rows in draws])


def centred(extra, draws):
    return means(extra, draws) - extra.mean()


def leader_alone(extra, draws):
    best = extra.mean().idxmax()
    return (means(extra, draws)[best] - extra[best].mean() >= extra[best].mean()).mean()


RIGHT["q4"] = [draw_by_draw, centred_first]
WRONG["q4"] = {
    "the leader alone": leader_alone,
    "as if its lead were real": lambda extra, draws: (means(extra, draws).max(axis=1) >= extra.mean().max()).mean(),
    "how often the leader falls behind": [lambda extra, draws: (means(extra, draws)[extra.mean().idxmax()] <= 0).mean(),
                                          lambda extra, draws: (means(extra, draws).max(axis=1) < 0).mean()],
    "everybody loses the leader's lead": lambda extra, draws: (means(extra, draws).max(axis=1) - extra.mean().max()
                                                               >= extra.mean().max()).mean(),
    "every family counted": lambda extra, draws: np.mean(centred(extra, draws) >= extra.mean().max()),
    "each against its own lead": lambda extra, draws: (centred(extra, draws) >= extra.mean()).any(axis=1).mean(),
    "the other tail": lambda extra, draws: (centred(extra, draws).max(axis=1) < extra.mean().max()).mean(),
    "percent, not a fraction": lambda extra, draws: 100 * centred_first(extra, draws),
}

# ---- q6

FAMILIES = {"line": Ridge(100.0), "few neighbours": KNeighborsRegressor(5), "many neighbours": KNeighborsRegressor(25)}


def with_pipelines(X, y, end):
    half, late = len(X) // 2, 3 * len(X) // 4
    train = [row for row in range(half) if end.iloc[row] <= X.index[half]]
    judge = [row for row in range(half, late) if end.iloc[row] <= X.index[late]]
    fitted = {name: make_pipeline(StandardScaler(), clone(model)).fit(X.iloc[train], y.iloc[train])
              for name, model in FAMILIES.items()}
    score = {name: accuracy_score(y.iloc[judge] == 1, model.predict(X.iloc[judge]) > 0.5)
             for name, model in fitted.items()}
    return pd.Series(fitted[max(score, key=score.get)].predict(X.iloc[late:]), X.index[late:])


def by_gap(X, y, end, scale_on=None, scale=True, purge=10, purge_choice=10, judge_to=None, hand_from=None):
    """Labels take ten bars, and the features have a row for each bar but the first: so nine rows are not known."""
    half, late = len(X) // 2, 3 * len(X) // 4
    train = slice(0, half - max(purge, 0))
    scaler = StandardScaler(with_mean=scale, with_std=scale)
    scaler.fit({"all": X, "half": X[:half], None: X.iloc[train]}[scale_on])
    best, most = None, -1
    for model in FAMILIES.values():
        model = clone(model).fit(scaler.transform(X.iloc[train]), y.iloc[train])
        made = pd.Series(model.predict(scaler.transform(X)), X.index)
        judged = slice(*judge_to) if judge_to else slice(half, late - max(purge_choice, 0))
        right = ((made > 0.5) == (y == 1)).iloc[judged].mean()
        if right > most:
            best, most = made, right
    return best.iloc[half if hand_from == "half" else late :]


def blog(X, y, end):
    Z, half = StandardScaler().fit_transform(X), len(X) // 2
    made = {name: clone(model).fit(Z[:half], y[:half]).predict(Z[half:]) for name, model in FAMILIES.items()}
    right = {name: ((each > 0.5) == (y[half:] == 1)).mean() for name, each in made.items()}
    return pd.Series(made[max(right, key=right.get)], X.index[half:])


def gap(X, end):
    """Rows before a fit whose label is not known at it."""
    return int((end.iloc[: len(X) // 2] > X.index[len(X) // 2]).sum())


def from_gap(**options):
    def answer(X, y, end):
        known = {"purge": gap(X, end), "purge_choice": gap(X, end)}
        judged = {"tested": (len(X) // 2, len(X)), "last": (3 * len(X) // 4, len(X)), "": None}
        return by_gap(X, y, end, **known | options | {"judge_to": judged[options.get("judge_to", "")]})
    return answer


RIGHT["q6"] = [with_pipelines, from_gap()]
WRONG["q6"] = {
    "scaled by days to come": [blog, from_gap(scale_on="all"), from_gap(scale_on="all", purge=0)],
    "scaled by other rows": from_gap(scale_on="half"),
    "not scaled": from_gap(scale=False),
    "fitted on labels not yet known": [from_gap(purge=0), from_gap(purge=0, purge_choice=0),
                                       from_gap(purge=0, judge_to="tested")],
    "chosen on the days it hands on": [from_gap(judge_to="tested"), from_gap(judge_to="last"),
                                       from_gap(judge_to="tested", hand_from="half")],
    "chosen by outcomes not yet known": from_gap(purge_choice=0),
    "hands on what it chose by": from_gap(hand_from="half"),
}
