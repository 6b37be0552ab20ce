"""Answers that learners give to the exercise of lesson 09: right ones, and each mistake as it is made."""

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, TimeSeriesSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def paid_by_loop(bars, cost_bps, price="open", wait=1, buy_cost=1.0, sell_cost=1.0, early=0):
    cost, days, rows = cost_bps / 10_000, list(bars.index), []
    decisions, prices = bars["decision"].tolist(), bars[price].tolist()
    for t, decision in enumerate(decisions):
        if decision != 1:
            continue
        sales = [s for s in range(t + 1, len(bars) - 1) if decisions[s] == -1]
        if sales:
            bought = prices[t + wait] * (1 + buy_cost * cost)
            sold = prices[sales[0] + wait] * (1 - sell_cost * cost)
            rows.append((days[t], sold > bought, days[sales[0] + 1 - early]))
    return pd.DataFrame(rows, columns=["day", "paid", "known"]).set_index("day")


def paid_from_behind(bars, cost_bps):
    cost = cost_bps * 1e-4
    buy = bars["open"].shift(-1) * (1 + cost)
    sale = (bars["open"].shift(-1) * (1 - cost)).where(bars["decision"] == -1).bfill().shift(-1)
    day = pd.Series(bars.index, bars.index).shift(-1).where(bars["decision"] == -1).bfill().shift(-1)
    table = pd.DataFrame({"known": day, "paid": (sale / buy - 1 > 0).astype(int)})
    return table[(bars["decision"] == 1) & day.notna()]


def next_day(bars, cost_bps):
    cost, opens = cost_bps / 1e4, bars["open"]
    paid = opens.shift(-2) * (1 - cost) > opens.shift(-1) * (1 + cost)
    table = pd.DataFrame({"paid": paid, "known": pd.Series(bars.index, bars.index).shift(-2)})
    return table[bars["decision"] == 1].dropna()


def with_open_trades(bars, cost_bps):
    closed, cost = paid_by_loop(bars, cost_bps), cost_bps / 1e4
    asked = bars.index[bars["decision"] == 1]
    rest = [day for day in asked if day not in closed.index and day < bars.index[-1]]
    bought = bars["open"].shift(-1)[rest] * (1 + cost)
    last = pd.DataFrame({"paid": bars["open"].iloc[-1] * (1 - cost) > bought, "known": bars.index[-1]}, rest)
    return pd.concat([closed, last])


def luck_by_loop(proposals):
    passes, earned, n = proposals["passes"].tolist(), proposals["earned"].tolist(), len(proposals)

    def profit(k):
        chosen = [earned[i] for i in range(n) if passes[(i - k) % n]]
        return sum(chosen) / len(chosen)

    return sum(profit(k) >= profit(0) for k in range(n)) / n


def all_rings(proposals):
    return np.array([proposals["earned"][np.roll(proposals["passes"], k)].mean() for k in range(len(proposals))])


def ships_by_z(leads, tried):
    z = leads["value"] / leads["error"]
    good = leads.index[z > norm.isf(0.05 / tried / 2)]
    return leads.loc[good, "value"].idxmax() if len(good) else "rule"


def ships_by_loop(leads, tried):
    best, name = 0.0, "rule"
    for way, row in leads.iterrows():
        if row["value"] - norm.ppf(1 - 0.025 / tried) * row["error"] > 0 and row["value"] > best:
            best, name = row["value"], way
    return name


def with_z(leads, z):
    clear = leads[leads["value"] - z * leads["error"] > 0]
    return clear["value"].idxmax() if len(clear) else "rule"


def leader_if_clear(leads, tried):
    name = leads["value"].idxmax()
    return name if leads.loc[name, "value"] > norm.ppf(1 - 0.025 / tried) * leads.loc[name, "error"] else "rule"


def clear_either_way(leads, tried):
    clear = leads[leads["value"].abs() > norm.ppf(1 - 0.025 / tried) * leads["error"]]
    return clear["value"].abs().idxmax() if len(clear) else "rule"


def model():
    return make_pipeline(StandardScaler(), LogisticRegression())


def walk(X, pays, step=40, purge=True, start=60, model=model):
    """Folds by hand: learn from what is over, predict the next rows."""
    parts = []
    for first in range(start, len(X), step):
        before = np.arange(first)
        if purge:
            before = before[(pays["end"].iloc[:first] <= X.index[first]).to_numpy()]
        fitted = model().fit(X.iloc[before], pays["label"].iloc[before])
        rows = X.iloc[first : first + step]
        parts.append(pd.Series(fitted.predict_proba(rows)[:, 1], rows.index))
    return pd.concat(parts)


def purged_series_split(X, pays):
    said = pd.Series(np.nan, X.index)
    for train, test in TimeSeriesSplit(5).split(X):
        known = pays["end"].iloc[train] < X.index[test[0]]
        fitted = model().fit(X.iloc[train][known], pays["label"].iloc[train][known])
        said.iloc[test] = fitted.predict_proba(X.iloc[test])[:, 1]
    return said


def one_fit(X, pays):
    half = len(X) // 2
    over = (pays["end"].iloc[:half] <= X.index[half]).to_numpy()
    fitted = model().fit(X.iloc[:half][over], pays["label"].iloc[:half][over])
    return pd.Series(fitted.predict_proba(X.iloc[half:])[:, 1], X.index[half:])


def tutorial(X, pays):
    X = (X - X.mean()) / X.std()
    folds = KFold(5, shuffle=True, random_state=0)
    return cross_val_predict(LogisticRegression(), X, pays["label"], cv=folds, method="predict_proba")[:, 1]


def in_sample(X, pays):
    return pd.Series(model().fit(X, pays["label"]).predict_proba(X)[:, 1], X.index)


def best_penalty(X, pays):
    def said(penalty):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=penalty)).fit(X[:70], pays["label"][:70])
        return pd.Series(fitted.predict_proba(X[70:])[:, 1], X.index[70:])

    runs = [said(penalty) for penalty in np.geomspace(1e-4, 100, 9)]
    return min(runs, key=lambda run: ((run - pays["label"][70:]) ** 2).mean())


RIGHT = {
    "q1": [lambda pays: len(set(pays["end"].dropna())), lambda pays: pays.dropna().groupby("end").ngroups,
           lambda pays: int((~pays["end"].dropna().duplicated()).sum())],
    "q2": [paid_by_loop, paid_from_behind],
    "q3": [luck_by_loop, lambda proposals: np.mean(all_rings(proposals) >= all_rings(proposals)[0])],
    "q5": [ships_by_z, ships_by_loop],
    "q6": [walk, purged_series_split, one_fit, lambda X, pays: walk(X, pays, step=60, start=75)],
}

WRONG = {
    "q1": {
        "counts the days": lambda pays: len(pays),
        "counts the proposals": [lambda pays: pays["label"].notna().sum(), lambda pays: len(pays.dropna())],
        "counts the paid ones": [lambda pays: (pays["label"] == 1).sum(),
                                 lambda pays: len(set(pays["end"][pays["label"] > 0]))],
        "counts the unknown as one": [lambda pays: pays["end"].nunique(dropna=False),
                                      lambda pays: len(set(pays["end"]))],
        "counts a sale twice": lambda pays: len(pays.dropna().drop_duplicates(["label", "end"])),
        "counts the kinds of answer": lambda pays: len(pays["label"].dropna().unique()),
    },
    "q2": {
        "fills at the close that decided": lambda bars, cost: paid_by_loop(bars, cost, price="close", wait=0),
        "one side only": [lambda bars, cost: paid_by_loop(bars, cost, buy_cost=0),
                          lambda bars, cost: paid_by_loop(bars, cost, sell_cost=0)],
        "no cost": lambda bars, cost: paid_by_loop(bars, 0),
        "hundredths for parts": lambda bars, cost: paid_by_loop(bars, 100 * cost),
        "knows it a bar early": lambda bars, cost: paid_by_loop(bars, cost, early=1),
        "the first day of a dip only": lambda bars, cost: paid_by_loop(bars, cost)[
            lambda table: ((bars["decision"] == 1) & (bars["decision"].shift() != 1)).reindex(table.index)],
        "sells the next day": next_day,
        "judges what is still open": with_open_trades,
    },
    "q3": {
        "leaves the filter out": [lambda proposals: (all_rings(proposals)[1:] >= all_rings(proposals)[0]).mean(),
                                  lambda proposals: (all_rings(proposals)[1:] > all_rings(proposals)[0]).mean()],
        "only the better ones": lambda proposals: (all_rings(proposals) > all_rings(proposals)[0]).mean(),
        "counts the worse ones": lambda proposals: (all_rings(proposals) <= all_rings(proposals)[0]).mean(),
        "counts trades, not filters": lambda proposals: (
            proposals["earned"] >= proposals["earned"][proposals["passes"]].mean()).mean(),
        "kept against refused": lambda proposals: proposals.groupby("passes")["earned"].mean().diff().iloc[-1],
        "moves the profits along": lambda proposals: np.mean(
            [proposals.apply(np.roll, shift=k).query("passes")["earned"].mean()
             >= proposals.query("passes")["earned"].mean() for k in range(len(proposals))]),
    },
    "q5": {
        "each as if tried alone": lambda leads, tried: with_z(leads, 1.959963984540054),
        "forgets what was dropped": lambda leads, tried: with_z(leads, norm.ppf(1 - 0.025 / len(leads))),
        "ships the best one anyway": [lambda leads, tried: leads.sort_values("value").index[-1],
                                      lambda leads, tried: with_z(leads, 0)],
        "one end of the interval": lambda leads, tried: with_z(leads, norm.ppf(1 - 0.05 / tried)),
        "looks at the leader alone": leader_if_clear,
        "clear of zero on the wrong side": clear_either_way,
    },
    "q6": {
        "learns from later answers": [tutorial, in_sample, best_penalty, lambda X, pays: cross_val_predict(
            model(), X, pays["label"], cv=KFold(5), method="predict_proba")[:, 1]],
        "scaled by all years": lambda X, pays: walk((X - X.mean()) / X.std(), pays, model=LogisticRegression),
        "learns from trades still open": [lambda X, pays: walk(X, pays, purge=False),
                                          lambda X, pays: walk(X, pays, start=70, step=11, purge=False)],
        "another answer each time": lambda X, pays: walk(X, pays) + np.random.uniform(0, 1e-3),
        "the other column": lambda X, pays: 1 - walk(X, pays),
        "throws most of it away": lambda X, pays: walk(X, pays, start=130),
        "knows nothing": lambda X, pays: walk(X[["volatility"]], pays),
    },
}
