"""Answers to exercise 04, as learners would write them."""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import train_test_split

from mlkit import FeatureSet, Volatility, WalkForward, next_return, next_volatility

RIGHT, WRONG = {}, {}

# ---- q1


def by_rows(bars, horizon):
    opens, n = bars["open"].to_numpy(), len(bars)
    found = np.full(n, np.nan)
    for row in range(n - horizon - 1):
        found[row] = opens[row + 1 + horizon] / opens[row + 1] - 1
    return found


RIGHT["q1"] = [by_rows, lambda bars, horizon: bars["open"].pct_change(horizon).shift(-horizon - 1),
               lambda bars, horizon: next_return(bars, horizon)["label"]]
WRONG["q1"] = {
    "from close to close": [lambda bars, horizon: bars["close"].pct_change(horizon).shift(-horizon),
                            lambda bars, horizon: next_return(bars, horizon, price="close")["label"]],
    "an open already gone": lambda bars, horizon: bars.open.shift(-horizon) / bars.open - 1,
    "a bar short": lambda bars, horizon: bars.open.shift(-horizon) / bars.open.shift(-1) - 1,
    "sold at a close": [lambda bars, horizon: bars.close.shift(-horizon) / bars.open.shift(-1) - 1,
                        lambda bars, horizon: bars.close.shift(-horizon - 1).div(bars.open.shift(-1)).sub(1)],
    "the past, not the future": [lambda bars, horizon: bars["close"].pct_change(horizon),
                                 lambda bars, horizon: bars["open"] / bars["open"].shift(horizon) - 1],
    "one bar, whatever the horizon": lambda bars, horizon: bars.open.shift(-2) / bars.open.shift(-1) - 1,
    "unknown is not zero": lambda bars, horizon: (bars.open.shift(-1 - horizon) / bars.open.shift(-1) - 1).fillna(0.0),
    "rows left out": lambda bars, horizon: next_return(bars, horizon)["label"].dropna(),
    "percent, not a fraction": lambda bars, horizon: bars.open.pct_change(horizon).shift(-horizon - 1) * 100,
    "money, not a return": lambda bars, horizon: bars.open.diff(horizon).shift(-horizon - 1),
    "a logarithm": lambda bars, horizon: np.log(bars.open.shift(-1 - horizon)) - np.log(bars.open.shift(-1)),
}

# ---- q2


def one_by_one(labels, fit):
    return [bool(time < fit and not pd.isna(end) and end <= fit) for time, end in labels["end"].items()]


def by_the_splitter(labels, fit):
    known = labels.dropna()
    at = known.index.searchsorted(fit)
    train, _ = next(WalkForward(at, len(known) - at, label_end=known["end"]).split(known))
    return labels.index.isin(known.index[train])


def all_but(rows):
    def answer(labels, fit):
        at = labels.index.get_loc(fit)
        return pd.Series(np.arange(len(labels)) < at - rows, labels.index)
    return answer


RIGHT["q2"] = [one_by_one, by_the_splitter, lambda labels, fit: labels[(labels.index < fit) & (labels.end <= fit)],
               lambda labels, fit: labels.loc[:fit].iloc[:-1].query("end <= @fit").index]
WRONG["q2"] = {
    "decided is not known": [lambda labels, fit: labels.index < fit, lambda labels, fit: labels.loc[:fit],
                             lambda labels, fit: labels.loc[:fit].iloc[:-1],
                             lambda labels, fit: (labels.index < fit) & labels["label"].notna()],
    "the rows of the test": [lambda labels, fit: labels.index >= fit, lambda labels, fit: labels.loc[fit:].iloc[1:],
                             lambda labels, fit: labels.dropna().loc[fit:].index],
    "a row that was known": [lambda labels, fit: labels["end"] < fit,
                             lambda labels, fit: (labels.index < fit) & (labels["end"] < fit)],
    "rows without a label": lambda labels, fit: (labels.index < fit) & ~(labels["end"] > fit),
    "counts rows": [all_but(1), all_but(2), all_but(4),
                    lambda labels, fit: labels.dropna().loc[:fit].iloc[:-4].index],
}

# ---- q3


def by_search(target, stop, cost_bps):
    both = 2 * cost_bps * 0.0001
    return brentq(lambda share: share * (target - both) - (1 - share) * (stop + both), 0, 1)


RIGHT["q3"] = [by_search, lambda target, stop, cost_bps: 1 - (target - cost_bps / 5000) / (target + stop)]
WRONG["q3"] = {
    "upside down": [lambda target, stop, cost_bps: (target + 2e-4 * cost_bps) / (stop + target),
                    lambda target, stop, cost_bps: target / (stop + target),
                    lambda target, stop, cost_bps: (target - 2e-4 * cost_bps) / (stop + target)],
    "costs forgotten": lambda target, stop, cost_bps: stop / (stop + target),
    "one side only": lambda target, stop, cost_bps: (stop + 1e-4 * cost_bps) / (stop + target),
    "a basis point is a hundredth of a percent": [
        lambda target, stop, cost_bps: (stop + 2 * cost_bps / 100) / (stop + target),
        lambda target, stop, cost_bps: (stop + 2 * cost_bps / 1000) / (stop + target),
        lambda target, stop, cost_bps: (stop + 2 * cost_bps) / (stop + target)],
    "costs on the losses alone": lambda target, stop, cost_bps: 1 / (1 + target / (stop + 2e-4 * cost_bps)),
    "costs that help": [lambda target, stop, cost_bps: (stop + 2e-4 * cost_bps) / (stop + target + 4e-4 * cost_bps),
                        lambda target, stop, cost_bps: (stop - 2e-4 * cost_bps) / (stop + target)],
    "half of them": lambda target, stop, cost_bps: 0.5,
    "percent, not a fraction": lambda target, stop, cost_bps: 100 * by_search(target, stop, cost_bps),
    "odds, not a share": [lambda target, stop, cost_bps: (stop + 2e-4 * cost_bps) / (target - 2e-4 * cost_bps),
                          lambda target, stop, cost_bps: stop / target],
}

# ---- q4


def with_arrays(forecast, close):
    forecast, close = np.asarray(forecast), np.asarray(close)
    return 1 - ((forecast[:-1] - close[1:]) ** 2).sum() / (np.diff(close) ** 2).sum()


RIGHT["q4"] = [with_arrays,
               lambda forecast, close: 1 - (mean_squared_error(close[1:], forecast[:-1])
                                            / mean_squared_error(close[1:], close[:-1]))]
WRONG["q4"] = {
    "an easy rival": [lambda forecast, close: r2_score(close[1:], forecast[:-1]),
                      lambda forecast, close: r2_score(close, forecast)],
    "not the day it is for": [lambda forecast, close: 1 - ((close - forecast) ** 2).mean() / close.diff().pow(2).mean(),
                              lambda forecast, close: 1 - (((close - forecast)[1:] ** 2).sum()
                                                           / ((close - close.shift(1))[1:] ** 2).sum())],
    "an old rival": lambda forecast, close: (1 - ((close.shift(-1) - forecast) ** 2).mean()
                                             / ((close.shift(-1) - close.shift(1)) ** 2).mean()),
    "what is left, not what is taken away": lambda forecast, close: (((close.shift(-1) - forecast) ** 2).mean()
                                                                     / (close.diff() ** 2).mean()),
    "sizes, not squares": lambda forecast, close: (1 - (close.shift(-1) - forecast).abs().mean()
                                                   / close.diff().abs().mean()),
    "roots": lambda forecast, close: 1 - np.sqrt(1 - with_arrays(forecast, close)),
    "percent, not a fraction": lambda forecast, close: 100 * with_arrays(forecast, close),
}

# ---- q6


def with_labels(bars):
    """With mlkit's label and its splitter."""
    X, labels = FeatureSet([Volatility(5), Volatility(20)])(bars), next_volatility(bars, 5)
    known = X.notna().all(axis=1) & labels["label"].notna()
    X, labels = X[known], labels[known]
    half = len(X) // 2
    train, test = next(WalkForward(half, len(X) - half, label_end=labels["end"]).split(X))
    y_train, y_test = labels["label"].iloc[train], labels["label"].iloc[test]
    made = LinearRegression().fit(X.iloc[train], y_train).predict(X.iloc[test])
    average = mean_squared_error(y_test, np.full(len(y_test), y_train.mean()))
    as_now = mean_squared_error(y_test, X["volatility_20"].iloc[test])
    return 1 - mean_squared_error(y_test, made) / min(average, as_now)


def by_hand(bars, ahead=5, gap=4, rival=min, shuffled=False, of_test=False):
    """With arrays and least squares."""
    returns = bars["close"].pct_change()
    X = np.column_stack([returns.rolling(5).std(), returns.rolling(20).std()])
    y = returns.rolling(5).std().shift(-ahead).to_numpy()
    good = ~np.isnan(X).any(axis=1) & ~np.isnan(y)
    rows = np.arange(len(y))[good]
    if shuffled:
        train, test = train_test_split(rows, test_size=0.5, random_state=0)
    else:
        train, test = rows[: len(rows) // 2 - gap], rows[len(rows) // 2 :]
    weights = np.linalg.lstsq(np.column_stack([np.ones(len(train)), X[train]]), y[train], rcond=None)[0]
    error = np.mean((y[test] - weights[0] - X[test] @ weights[1:]) ** 2)
    average = y[test].mean() if of_test else y[train].mean()
    return 1 - error / rival([np.mean((y[test] - average) ** 2), np.mean((y[test] - X[test][:, 1]) ** 2)])


def boast(bars):
    X = FeatureSet([Volatility(5), Volatility(20)])(bars)
    y = X["volatility_5"].shift(-1)
    rows = np.flatnonzero(X.notna().all(axis=1) & y.notna())
    train, test = train_test_split(rows, test_size=0.5, random_state=0)
    model = LinearRegression().fit(X.iloc[train], y.iloc[train])
    return r2_score(y.iloc[test], model.predict(X.iloc[test]))


def first(errors):
    return errors[0]


def second(errors):
    return errors[1]


RIGHT["q6"] = [with_labels, by_hand]
WRONG["q6"] = {
    "most of it is known already": [boast, lambda bars: by_hand(bars, ahead=1, gap=0),
                                    lambda bars: by_hand(bars, ahead=1, shuffled=True),
                                    lambda bars: by_hand(bars, ahead=1, gap=0, rival=first)],
    "shuffled": [lambda bars: by_hand(bars, shuffled=True), lambda bars: by_hand(bars, shuffled=True, rival=first)],
    "labels reach into the test": [lambda bars: by_hand(bars, gap=0), lambda bars: by_hand(bars, gap=0, rival=second)],
    "a row too many": lambda bars: by_hand(bars, gap=5),
    "knows the average of the test": lambda bars: by_hand(bars, rival=first, of_test=True),
    "only one rival": [lambda bars: by_hand(bars, rival=first), lambda bars: by_hand(bars, rival=second)],
    "the weaker rival": lambda bars: by_hand(bars, rival=max),
}
