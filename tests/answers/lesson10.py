"""Answers that learners give to the exercise of lesson 10: right ones, and each mistake as it is made."""

import math

import numpy as np
import pandas as pd
from scipy.stats import norm, sem
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier


def changed_by_loop(kept, now):
    found = []
    for name in [*kept, *(name for name in now if name not in kept)]:
        if name not in kept or name not in now:
            found.append(name)
        elif any(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in zip(kept[name], now[name])):
            found.append(name)
    return found


def changed_by_bytes(kept, now):
    def prints(table):
        return {name: table[name].to_numpy().tobytes() for name in table}

    then, today = prints(kept), prints(now)
    return sorted(name for name in then | today if then.get(name) != today.get(name))


def common(kept, now, unlike):
    both = [name for name in kept if name in now]
    gone = [name for name in kept if name not in now] + [name for name in now if name not in kept]
    return gone + [name for name in both if unlike(kept[name], now[name])]


def hits_by_loop(bars):
    found = [math.nan] * len(bars)
    opens, closes = bars["open"].tolist(), bars["close"].tolist()
    for decided in range(1, len(bars) - 2):
        rise = closes[decided] > closes[decided - 1]
        found[decided + 2] = float(rise == (opens[decided + 2] > opens[decided + 1]))
    return found


def hits_by_shift(bars):
    up, rose = bars["close"].diff(), bars["open"].diff()
    right = (up > 0) == (rose.shift(-2) > 0)
    return right.astype(float).where(up.notna() & rose.shift(-2).notna()).shift(2)


def at_decision(bars):
    call = bars["close"].diff() > 0
    return (call == (bars["open"].shift(-2) > bars["open"].shift(-1))).astype(int)


def one_early(bars):
    call = (bars["close"].diff() > 0).shift(1)
    return (call == (bars["open"].shift(-1) > bars["open"])).astype(float)


def alarms_with_state(messages, allowance, threshold):
    state, found = {"sum": 0.0, "day": None}, []
    for day, value in messages:
        if state["day"] is not None and day <= state["day"]:
            continue
        state = {"sum": max(0.0, state["sum"] + value - allowance), "day": day}
        if state["sum"] > threshold:
            found.append(day)
            state["sum"] = 0.0
    return found


def alarms_cleaned_first(messages, allowance, threshold):
    table = pd.DataFrame(messages, columns=["day", "value"])
    table = table[table["day"] > table["day"].cummax().shift(fill_value=-10**9)]
    level, days = 0.0, []
    for row in table.itertuples():
        level += row.value - allowance
        if level < 0:
            level = 0.0
        elif level > threshold:
            days.append(row.day)
            level = 0.0
    return np.array(days)


def sum_of(messages, allowance, threshold, again=True, floor=-math.inf):
    total, found = 0.0, []
    for day, value in messages:
        total = max(floor, total + value - allowance)
        if total > threshold:
            found.append(day)
            total = 0.0 if again else total
    return found


def in_order(messages, strictly=True):
    kept = []
    for day, value in messages:
        if not kept or (day > max(each for each, _ in kept) if strictly else day != kept[-1][0]):
            kept.append((day, value))
    return kept


def promotes_by_norm(arena, learned_from, alarm):
    gain = arena["champion"] - arena["challenger"]
    low, _ = norm.interval(0.9, gain.mean(), sem(gain))
    return low > 0 and learned_from > alarm


def promotes_by_t(arena, learned_from, alarm):
    if learned_from <= alarm:
        return False
    gain = (arena["champion"] - arena["challenger"]).to_numpy()
    return gain.mean() / (gain.std(ddof=1) / math.sqrt(len(gain))) > 1.645


def lead(arena):
    return (arena["champion"] - arena["challenger"]).mean()


def model():
    return make_pipeline(StandardScaler(), LogisticRegression())


def brier(fitted, X, y):
    return (fitted.predict_proba(X)[:, 1] - y) ** 2


def retrain(X, labels, champion, alarm, size=150, purge=True, since=True, make=model, everything=False, decide=None):
    y, arena = labels["label"], X.index[-size:]
    rows = X.index < arena[0]
    if since:
        rows &= X.index > alarm
    if purge:
        rows &= labels["end"] <= arena[0]
    if everything:
        rows |= True
    challenger = make().fit(X[rows], y[rows])
    losses = pd.DataFrame({"champion": brier(champion, X.loc[arena], y[arena]),
                           "challenger": brier(challenger, X.loc[arena], y[arena])})
    return challenger, arena, (decide or promotes_by_t)(losses, X.index[rows][0], alarm)


def scaled_before(X, labels, champion, alarm):
    scaler = StandardScaler().set_output(transform="pandas").fit(X)
    challenger, arena, _ = retrain(scaler.transform(X), labels, champion, alarm, make=LogisticRegression)
    challenger = make_pipeline(scaler, challenger)
    losses = {"champion": brier(champion, X.loc[arena], labels["label"][arena]),
              "challenger": brier(challenger, X.loc[arena], labels["label"][arena])}
    return challenger, arena, promotes_by_t(pd.DataFrame(losses), X.index[-1], alarm)


def nightly(X, labels, champion, alarm):
    challenger = LogisticRegression().fit(X, labels["label"])
    arena = X.index[-250:]
    old, new = (each.score(X.loc[arena], labels["label"][arena]) for each in (champion, challenger))
    return challenger, arena, new > old


def any_lead(losses, learned_from, alarm):
    return losses["challenger"].mean() < losses["champion"].mean()


RIGHT = {
    "q1": [changed_by_loop, changed_by_bytes,
           lambda kept, now: {name for name in set(kept) | set(now)
                              if name not in kept or name not in now or not kept[name].equals(now[name])}],
    "q2": [hits_by_loop, hits_by_shift],
    "q3": [alarms_with_state, alarms_cleaned_first],
    "q4": [promotes_by_norm, promotes_by_t],
    "q6": [retrain, lambda X, labels, champion, alarm: retrain(X, labels, champion, alarm, size=120),
           lambda X, labels, champion, alarm: retrain(
               X, labels, champion, alarm, make=lambda: DecisionTreeClassifier(max_depth=2, min_samples_leaf=20))],
}

WRONG = {
    "q1": {
        "looks at the names alone": lambda kept, now: set(kept.columns).symmetric_difference(now.columns),
        "a gap is unlike itself": lambda kept, now: common(kept, now, lambda a, b: not (a == b).all()),
        "nearly is good enough": lambda kept, now: common(
            kept, now, lambda a, b: not np.allclose(a, b, equal_nan=True)),
        "compares an average": lambda kept, now: common(kept, now, lambda a, b: abs(a.mean() - b.mean()) > 1e-12),
        "fills the gaps first": lambda kept, now: common(kept.fillna(0), now.fillna(0), lambda a, b: (a != b).any()),
        "only what both have": lambda kept, now: [
            name for name in kept if name in now and not kept[name].equals(now[name])],
    },
    "q2": {
        "written where it was decided": [at_decision, lambda bars: at_decision(bars).astype(float).where(
            bars["close"].shift().notna() & bars["open"].shift(-2).notna())],
        "a bar too early": [one_early, lambda bars: one_early(bars).where(
            bars["close"].shift(2).notna() & bars["open"].shift(-1).notna())],
        "from close to close": lambda bars: ((bars["close"].diff().shift() > 0) == (bars["close"].diff() > 0)).astype(
            float).where(bars["close"].shift(2).notna()),
        "the answer to another call": [
            lambda bars: ((bars["close"].diff() > 0) == (bars["open"].diff() > 0)).astype(float).where(
                bars["close"].shift().notna()),
            lambda bars: ((bars["close"].diff().shift() > 0) == (bars["open"].diff() > 0)).astype(float).where(
                bars["close"].shift(2).notna())],
        "a bar too late": lambda bars: hits_by_shift(bars).shift(1),
        "counts what was never called": lambda bars: (
            (bars["close"].diff() > 0).shift(2) == (bars["open"].diff() > 0)).astype(float),
        "looks ahead": lambda bars: hits_by_shift(bars).fillna(hits_by_shift(bars).mean()),
    },
    "q3": {
        "counts a bar twice": lambda messages, allowance, threshold: sum_of(messages, allowance, threshold, floor=0),
        "lets the late one in": [
            lambda messages, allowance, threshold: sum_of(
                in_order(messages, strictly=False), allowance, threshold, floor=0),
            lambda messages, allowance, threshold: sum_of(
                [each for at, each in enumerate(messages) if each[0] not in [day for day, _ in messages[:at]]],
                allowance, threshold, floor=0)],
        "cries on and on": lambda messages, allowance, threshold: sum_of(
            in_order(messages), allowance, threshold, again=False, floor=0),
        "saves up good days": lambda messages, allowance, threshold: sum_of(in_order(messages), allowance, threshold),
        "forgives nothing": lambda messages, allowance, threshold: sum_of(in_order(messages), 0, threshold, floor=0),
        "looks at single days": lambda messages, allowance, threshold: [
            day for day, value in in_order(messages) if value > threshold],
    },
    "q4": {
        "any lead will do": lambda arena, learned_from, alarm: lead(arena) > 0 and learned_from > alarm,
        "has not seen the new world": lambda arena, learned_from, alarm: promotes_by_norm(arena, 1, 0),
        "takes them for strangers": [
            lambda arena, learned_from, alarm: learned_from > alarm and lead(arena) > 1.645 * math.hypot(
                sem(arena["champion"]), sem(arena["challenger"])),
            lambda arena, learned_from, alarm: learned_from > alarm and lead(arena) > 1.645 * (
                sem(arena["champion"]) + sem(arena["challenger"]))],
        "the error of a day": lambda arena, learned_from, alarm: learned_from > alarm and lead(arena) > 1.645 * (
            arena["champion"] - arena["challenger"]).std(),
        "one end of the interval": lambda arena, learned_from, alarm: learned_from > alarm and lead(
            arena) > norm.ppf(0.9) * sem(arena["champion"] - arena["challenger"]),
        "the loser takes over": lambda arena, learned_from, alarm: promotes_by_norm(
            arena.rename(columns={"champion": "challenger", "challenger": "champion"}), learned_from, alarm),
    },
    "q6": {
        "learns from the arena": [nightly, scaled_before, lambda X, labels, champion, alarm: retrain(
            X, labels, champion, alarm, everything=True)],
        "another challenger each time": lambda X, labels, champion, alarm: retrain(
            X, labels, champion, alarm, make=lambda: RandomForestClassifier(5, max_depth=2)),
        "judges on what the champion knows": lambda X, labels, champion, alarm: retrain(
            X, labels, champion, alarm, size=350, since=False),
        "answers that were still open": lambda X, labels, champion, alarm: retrain(
            X, labels, champion, alarm, purge=False),
        "learns the old world again": lambda X, labels, champion, alarm: retrain(
            X, labels, champion, alarm, since=False),
        "an arena of a few days": lambda X, labels, champion, alarm: retrain(X, labels, champion, alarm, size=40),
        "any lead will do": lambda X, labels, champion, alarm: retrain(X, labels, champion, alarm, decide=any_lead),
        "never changes": lambda X, labels, champion, alarm: retrain(
            X, labels, champion, alarm, decide=lambda losses, learned_from, alarm: False),
    },
}
