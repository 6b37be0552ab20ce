"""Answers that learners give to the exercise of lesson 11: right ones, and each mistake as it is made."""

import math

import numpy as np
import pandas as pd
from scipy.stats import norm

NAMES = ["open", "high", "low", "close"]


def bad_by_loop(bars):
    bad, latest = [], None
    for stamp, row in bars.iterrows():
        four = [row[name] for name in NAMES]
        wrong = any(math.isnan(price) or price <= 0 for price in four)
        wrong |= row["high"] < max(four) or row["low"] > min(four)
        wrong |= latest is not None and stamp <= latest
        latest = stamp if latest is None else max(stamp, latest)
        if wrong:
            bad.append(stamp)
    return bad


def bad_by_masks(bars):
    step = np.diff(bars.index.to_numpy(), prepend=bars.index.to_numpy()[:1] - np.timedelta64(1, "D"))
    prices = bars[NAMES]
    fine = prices.gt(0).all(axis=1) & prices.le(bars["high"], axis=0).all(axis=1)
    fine &= prices.ge(bars["low"], axis=0).all(axis=1)
    return bars.index[~fine.to_numpy() | (step <= np.timedelta64(0, "D"))]


def all_but(bars, *, time=True, zero=True, gaps=True, between=True):
    prices = bars[NAMES]
    wrong = bars["high"] < bars["low"]
    if between:
        wrong |= (prices.max(axis=1) > bars["high"]) | (prices.min(axis=1) < bars["low"])
    if zero:
        wrong |= (prices <= 0).any(axis=1)
    if gaps:
        wrong |= prices.isna().any(axis=1)
    late = bars.index.to_series().diff().to_numpy() <= np.timedelta64(0)
    return bars.index[wrong.to_numpy() | (late & time)]


def calls_right(calls, name):
    return np.mean((calls[name] > 0.5).astype(int) == calls["rose"])


def ahead_by_loop(calls):
    model = naive = 0
    for row in calls.itertuples():
        model += (row.probability > 0.5) == (row.rose == 1)
        naive += (row.naive > 0.5) == (row.rose == 1)
    n = len(calls)
    return (model / n - max(naive / n, 1 / 2)) * 100


def sharpe(returns):
    return returns.mean() / returns.std(ddof=1) * math.sqrt(252)


def lead_by_loop(returns):
    known = returns[returns.notna().all(axis=1)]
    best = 0.0
    for name in known.columns[1:]:
        best = max(best, sharpe(known[name]))
    return sharpe(known["strategy"]) - best


def lead_by_table(returns):
    ratios = returns.dropna().assign(out=0.0).agg(["mean", "std"]).T
    ratios = (ratios["mean"] / ratios["std"]).fillna(0) * 252**0.5
    return ratios["strategy"] - ratios.drop("strategy").max()


def steady_by_loop(returns):
    wealth = {}
    for stamp, each in returns.items():
        wealth.setdefault(stamp.year, []).append(1 + each)
    fullest = max(map(len, wealth.values()))
    years = {year: math.prod(factors) for year, factors in wealth.items() if 2 * len(factors) >= fullest}
    best = max(years, key=years.get)
    rest = math.prod(math.prod(factors) for year, factors in wealth.items() if year != best)
    return sum(each > 1 for each in years.values()) > len(years) / 2 and rest > 1 and rest * years[best] > 1


def steady_by_resample(returns):
    by = returns.resample("YE")
    made, bars = by.apply(lambda each: (1 + each).prod()), by.count()
    full = made[bars >= 0.5 * bars.max()]
    return bool((full > 1).mean() > 0.5 and made.prod() > 1 and made.prod() / full.max() > 1)


def yearly(returns):
    return (1 + returns).groupby(returns.index.year).prod() - 1


def most_gain(returns, years=yearly, most=lambda share: share > 0.5, best=True, stumps=False):
    made, bars = years(returns), returns.groupby(returns.index.year).size()
    full = made if stumps else made[2 * bars >= bars.max()]
    rest = years(returns[returns.index.year != full.idxmax()])
    total = made.sum() if years is not yearly else (1 + made).prod() - 1
    left = rest.sum() if years is not yearly else (1 + rest).prod() - 1
    return bool(total > 0 and most((full > 0).mean()) and (left > 0 or not best))


def t_of(returns):
    return returns.mean() / returns.std() * math.sqrt(len(returns))


def judged(returns, rival, tried, *, luck=True, count=True, ahead="clear", steady=True):
    if luck and t_of(returns) < norm.ppf(1 - 0.05 / (tried if count else 1)):
        return False
    difference = returns / returns.std() - rival / rival.std()
    if ahead == "clear" and t_of(difference) < 1.96 or ahead == "any" and difference.mean() < 0:
        return False
    made = yearly(returns)
    return not steady or bool((made > 0).mean() > 0.5 and made.sum() > made.max())


def judged_by_thirds(returns, rival, tried):
    n, together = len(returns), returns.corr(rival)
    ratios = [each.mean() / each.std() for each in (returns, rival)]
    ahead = (ratios[0] - ratios[1]) / math.sqrt(2 * (1 - together) / n)
    luck = math.sqrt(2 * math.log(tried)) if tried > 1 else 0.0
    thirds = [returns.iloc[k * n // 3 : (k + 1) * n // 3].mean() > 0 for k in range(3)]
    return all(thirds) and ahead > 1.645 and ratios[0] * math.sqrt(n) > luck + 1.645


RIGHT = {
    "q1": [bad_by_loop, bad_by_masks],
    "q2": [ahead_by_loop, lambda calls: 100 * min(calls_right(calls, "probability") - 0.5,
                                                  calls_right(calls, "probability") - calls_right(calls, "naive"))],
    "q3": [lead_by_loop, lead_by_table],
    "q4": [steady_by_loop, steady_by_resample],
    "q6": [judged, judged_by_thirds],
}

WRONG = {
    "q1": {
        "looks for gaps alone": [lambda bars: bars.index[bars.isnull().any(axis=1)], lambda bars: list(
            bars.index[bars[NAMES].isna().sum(axis=1) > 0])],
        "calls a fact a fault": [
            lambda bars: bad_by_loop(bars) + list(bars.index[bars["close"].pct_change(fill_method=None).abs() > 0.3]),
            lambda bars: set(bad_by_loop(bars)) | set(bars.index[bars["volume"] <= 0])],
        "forgets the order of time": [
            lambda bars: all_but(bars, time=False),
            lambda bars: [*all_but(bars, time=False), *bars.index[bars.index.duplicated()]]],
        "high against low alone": lambda bars: all_but(bars, between=False),
        "takes zero for a price": lambda bars: all_but(bars, zero=False),
        "lets gaps pass": lambda bars: all_but(bars, gaps=False),
    },
    "q2": {
        "against a coin alone": lambda calls: 100 * calls_right(calls, "probability") - 50,
        "against the naive forecast alone": lambda calls: 100 * (
            calls_right(calls, "probability") - calls_right(calls, "naive")),
        "a rival who knows the test": lambda calls: 100 * (
            calls_right(calls, "probability") - calls["rose"].value_counts(normalize=True).max()),
        "parts for points": lambda calls: ahead_by_loop(calls) / 100,
        "right about rises alone": lambda calls: 100 * (calls.query("probability > 0.5")["rose"].mean() - max(
            0.5, calls.query("naive > 0.5")["rose"].mean())),
    },
    "q3": {
        "forgets that one may stay out": lambda returns: sharpe(returns.dropna()["strategy"]) - max(
            sharpe(returns.dropna()[name]) for name in returns.columns[1:]),
        "each on its own days": lambda returns: sharpe(returns["strategy"]) - max(
            0, *(sharpe(returns[name]) for name in returns.columns[1:])),
        "buy & hold alone": [
            lambda returns: sharpe(returns.dropna()["strategy"]) - sharpe(returns.dropna()["buy & hold"]),
            lambda returns: sharpe(returns.dropna()["strategy"]) - max(0, sharpe(returns.dropna()["buy & hold"]))],
        "the average rival": lambda returns: sharpe(returns.dropna()["strategy"]) - sharpe(
            returns.dropna().drop(columns="strategy")).mean(),
        "a ratio of a day": lambda returns: lead_by_loop(returns) / math.sqrt(252),
        "the wrong root of time": lambda returns: lead_by_loop(returns) * math.sqrt(252),
    },
    "q4": {
        "adds what multiplies": lambda returns: most_gain(
            returns, years=lambda each: each.groupby(each.index.year).sum()),
        "counts the stumps": lambda returns: most_gain(returns, stumps=True),
        "half is not most": lambda returns: most_gain(returns, most=lambda share: share >= 0.5),
        "one year made it all": lambda returns: most_gain(returns, best=False),
        "counts days, not years": lambda returns: (returns > 0).sum() > len(returns) / 2,
        "looks at the end alone": lambda returns: np.prod(1 + returns) - 1 > 0,
    },
    "q6": {
        "always says yes": lambda returns, rival, tried: True,
        "hardly ever says yes": [lambda returns, rival, tried: False, lambda returns, rival, tried: t_of(returns) > 7],
        "any gain is enough": [lambda returns, rival, tried: (1 + returns).prod() > 1,
                               lambda returns, rival, tried: returns.mean() > max(0, rival.mean())],
        "does not count the tries": lambda returns, rival, tried: judged(returns, rival, tried, count=False),
        "does not look at the rival": lambda returns, rival, tried: judged(returns, rival, tried, ahead=""),
        "any lead will do": lambda returns, rival, tried: judged(returns, rival, tried, ahead="any"),
        "wins against a loser": lambda returns, rival, tried: t_of(
            returns / returns.std() - rival / rival.std()) > norm.ppf(1 - 0.01 / tried),
        "one good year": lambda returns, rival, tried: judged(returns, rival, tried, steady=False),
    },
}
