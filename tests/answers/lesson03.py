"""Answers to the exercise of lesson 03, right and wrong, as learners write them."""

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss

from mlkit import CrossReturn

PRICES = ["open", "high", "low", "close"]

# ---- q1


def shock_in_a_loop(bars):
    closes = bars["close"].tolist()
    moves = [np.nan] + [closes[t] - closes[t - 1] for t in range(1, len(closes))]
    return [moves[t] / np.mean(np.abs(moves[t - 20:t])) if t > 20 else np.nan for t in range(len(moves))]


def shock_by(usual):
    def answer(bars):
        move = bars["close"] - bars["close"].shift(1)
        return move / usual(move)
    return answer


def of_percentages(bars):
    returns = bars["close"] / bars["close"].shift() - 1
    return returns / returns.abs().shift().rolling(20).mean()


def of_logarithms(bars):
    with np.errstate(invalid="ignore"):
        returns = pd.Series(np.log(bars["close"].to_numpy()), bars.index).diff()
    return returns / returns.abs().shift().rolling(20).mean()


# ---- q2


def other_as_of(bars, other, hours):
    known = pd.DataFrame({"known": other.index + pd.to_timedelta(hours, unit="h"),
                          "value": other["close"].pct_change().to_numpy()})
    left = pd.DataFrame({"now": bars.index})
    return pd.merge_asof(left, known, left_on="now", right_on="known")["value"].to_numpy()


def other_in_a_loop(bars, other, hours):
    returns = other["close"] / other["close"].shift() - 1
    out = []
    for now in bars.index:
        past = returns[other.index <= now - pd.Timedelta(hours=hours)]
        out.append(past.iloc[-1] if len(past) else np.nan)
    return pd.Series(out, bars.index)


def other_of_mlkit(bars, other, hours):
    return CrossReturn(other, known_delay=hours)(bars)


def by_stamp(bars, other, hours):
    return pd.merge_asof(pd.DataFrame({"now": bars.index}), other["close"].pct_change().rename("r"), left_on="now",
                         right_index=True)["r"].to_numpy()


def after_the_join(bars, other, hours):
    prices = other["close"].copy()
    prices.index = prices.index + pd.Timedelta(hours=hours)
    return prices.reindex(bars.index, method="ffill").pct_change()


# ---- q3


def units_of(bars, build, names=("open", "high", "low", "close")):
    scaled = bars.copy()
    for name in names:
        scaled[name] = scaled[name] * 1000
    one, two = build(bars), build(scaled)
    return [name for name in one if not np.allclose(one[name], two[name], rtol=1e-6, atol=0, equal_nan=True)]


def units_by_frames(bars, build):
    one, two = build(bars), build(bars.assign(**{name: bars[name] / 4 for name in ("open", "high", "low", "close")}))
    moved = set()
    for name in one:
        try:
            pd.testing.assert_series_equal(one[name], two[name], rtol=1e-8)
        except AssertionError:
            moved.add(name)
    return moved


def units_exactly(bars, build):
    one, two = build(bars), build(bars.assign(**{name: 10 * bars[name] for name in PRICES}))
    return {name for name in one if not one[name].equals(two[name])}


def units_with_holes(bars, build):
    one, two = build(bars), build(bars.assign(**{name: 10 * bars[name] for name in PRICES}))
    return {name for name in one if not np.allclose(one[name], two[name])}


def units_of_last_row(bars, build):
    one = build(bars).iloc[-1]
    two = build(bars.assign(**{name: 10 * bars[name] for name in PRICES})).iloc[-1]
    return {name for name in one.index if not np.isclose(one[name], two[name])}


def units_in_place(bars, build):
    scaled = bars
    scaled[PRICES] = scaled[PRICES] * 10
    return {name for name in build(bars) if not np.allclose(build(bars)[name], build(scaled)[name], equal_nan=True)}


# ---- q5


def cost_with_sklearn(model, X, y, columns, order):
    shuffled = X.copy()
    for name in columns:
        shuffled[name] = X[name].to_numpy()[order]
    return log_loss(y, model.predict_proba(shuffled)) - log_loss(y, model.predict_proba(X))


def cost_with_numpy(model, X, y, columns, order):
    def loss(values):
        up = model.predict_proba(pd.DataFrame(values, columns=X.columns))[:, 1]
        return -np.mean(np.where(y.to_numpy() == 1, np.log(up), np.log(1 - up)))
    values = X.to_numpy().copy()
    at = [list(X.columns).index(name) for name in columns]
    values[:, at] = values[np.ix_(order, at)]
    return loss(values) - loss(X.to_numpy())


def aligned_by_pandas(model, X, y, columns, order):
    shuffled = X.copy()
    shuffled[columns] = X[columns].iloc[order]
    return log_loss(y, model.predict_proba(shuffled)) - log_loss(y, model.predict_proba(X))


def one_by_one(model, X, y, columns, order):
    return sum(cost_with_sklearn(model, X, y, [name], order) for name in columns)


def whole_rows(model, X, y, columns, order):
    return log_loss(y, model.predict_proba(X.iloc[order])) - log_loss(y, model.predict_proba(X))


def in_accuracy(model, X, y, columns, order):
    shuffled = X.assign(**{name: X[name].to_numpy()[order] for name in columns})
    return accuracy_score(y, model.predict(X)) - accuracy_score(y, model.predict(shuffled))


def constant(value):
    def answer(model, X, y, columns, order):
        other = X.assign(**{name: value(X[name]) for name in columns})
        return log_loss(y, model.predict_proba(other)) - log_loss(y, model.predict_proba(X))
    return answer


def read_backwards(model, X, y, columns, order):
    values = X[columns].to_numpy()
    moved = values.copy()
    moved[order] = values
    other = X.assign(**dict(zip(columns, moved.T)))
    return log_loss(y, model.predict_proba(other)) - log_loss(y, model.predict_proba(X))


def fitted_again(model, X, y, columns, order):
    shuffled = X.assign(**{name: X[name].to_numpy()[order] for name in columns})
    return log_loss(y, clone(model).fit(shuffled, y).predict_proba(shuffled)) - log_loss(y, model.predict_proba(X))


# ---- q6


def columns_of(close, trend=None):
    fast, slow = close.rolling(5).mean(), close.rolling(20).mean()
    return pd.DataFrame({"return_1": close / close.shift() - 1, "price_to_average": (close - slow) / slow,
                         "trend": (fast - slow) / close if trend is None else trend(fast, slow, close)})


def back_adjusted(raw):
    factor, factors = 1.0, []
    for split in raw["split"].to_numpy()[::-1]:
        factors.append(factor)
        factor *= split
    return raw["raw_close"] / np.array(factors[::-1])


def stock_adjusted_back(raw):
    return columns_of(back_adjusted(raw))


def stock_adjusted_forward(raw):
    return columns_of(raw["raw_close"] * raw["split"].cumprod())


def stock_by_returns(raw):
    growth = raw["raw_close"] * raw["split"] / raw["raw_close"].shift()
    wealth = growth.fillna(1.0).cumprod()
    return columns_of(wealth).to_dict("series")


def of_the_colleague(raw):
    close = back_adjusted(raw)
    made = columns_of(close, lambda fast, slow, close: fast - slow)
    return made.assign(return_1=raw["raw_close"].pct_change())


def but(**columns):
    return lambda raw: stock_adjusted_back(raw).assign(**{name: column(raw) for name, column in columns.items()})


RIGHT = {
    "q1": [shock_in_a_loop, shock_by(lambda move: move.abs().shift().rolling(20).mean())],
    "q2": [other_as_of, other_in_a_loop, other_of_mlkit],
    "q3": [units_of, units_by_frames],
    "q5": [cost_with_sklearn, cost_with_numpy],
    "q6": [stock_adjusted_back, stock_adjusted_forward, stock_by_returns],
}
WRONG = {
    "q1": {
        "percentages": [of_percentages, lambda bars: bars["close"].pct_change()],
        "logarithms": of_logarithms,
        "the move measured by itself": shock_by(lambda move: move.abs().rolling(20).mean()),
        "the usual move of all times": shock_by(lambda move: np.nanmean(np.abs(move))),
        "moves around it": shock_by(lambda move: move.abs().rolling(20, center=True).mean()),
        "the moves after it": shock_by(lambda move: move.abs()[::-1].rolling(20).mean()[::-1].shift(-1)),
        "rises and falls cancel": shock_by(lambda move: move.shift().rolling(20).mean()),
        "without its sign": lambda bars: np.abs(shock_in_a_loop(bars)),
        "a standard deviation": shock_by(lambda move: move.shift().rolling(20).std()),
        "not divided": lambda bars: bars["close"].diff(),
        "fewer than twenty moves": shock_by(lambda move: move.abs().rolling(20, min_periods=1).mean().shift()),
        "filled from behind": lambda bars: pd.Series(shock_in_a_loop(bars), bars.index).bfill(),
        "looks ahead": [lambda bars: pd.Series(shock_in_a_loop(bars), bars.index).shift(-1),
                        lambda bars: pd.Series(shock_in_a_loop(bars), bars.index).rank(pct=True)],
    },
    "q2": {
        "joined by their stamps": by_stamp,
        "the delay turned round": lambda bars, other, hours: other_as_of(bars, other, -hours),
        "a delay in days": lambda bars, other, hours: other_as_of(bars, other, 24 * hours),
        "one of our bars late": lambda bars, other, hours: pd.Series(by_stamp(bars, other, hours), bars.index).shift(1),
        "one of its bars late": lambda bars, other, hours: other["close"].pct_change().shift(1).reindex(
            bars.index, method="ffill"),
        "returns made after the join": after_the_join,
        "holes where the clocks differ": [
            lambda bars, other, hours: other["close"].pct_change().reindex(bars.index),
            lambda bars, other, hours: other["close"].pct_change().shift(
                freq=pd.Timedelta(hours=hours)).reindex(bars.index)],
        "holes made zero": lambda bars, other, hours: other["close"].pct_change().reindex(bars.index).fillna(0),
        "filled from behind": lambda bars, other, hours: other["close"].pct_change().shift(
            freq=pd.Timedelta(hours=hours)).reindex(bars.index, method="bfill"),
        "the nearest in time": lambda bars, other, hours: other["close"].pct_change().shift(
            freq=pd.Timedelta(hours=hours)).reindex(bars.index, method="nearest"),
        "what is known just now left out": lambda bars, other, hours: pd.merge_asof(
            pd.DataFrame({"now": bars.index}), other["close"].pct_change().shift(freq=pd.Timedelta(hours=hours)),
            left_on="now", right_index=True, allow_exact_matches=False)["close"].to_numpy(),
        "our own return": lambda bars, other, hours: bars["close"].pct_change(),
    },
    "q3": {
        "only the close was changed": lambda bars, build: units_of(bars, build, ["close"]),
        "the volume was changed too": lambda bars, build: units_of(bars, build, list(bars)),
        "added, not multiplied": lambda bars, build: {
            name for name in build(bars) if not np.allclose(
                build(bars)[name], build(bars.assign(**{price: bars[price] + 10 for price in PRICES}))[name],
                equal_nan=True)},
        "blames rounding": units_exactly,
        "blames the holes": units_with_holes,
        "looks at the last row alone": units_of_last_row,
        "the clean ones": lambda bars, build: set(build(bars)) - set(units_of(bars, build)),
        "nothing was changed": units_in_place,
        "all columns": lambda bars, build: list(build(bars).columns),
    },
    "q5": {
        "nothing was shuffled": aligned_by_pandas,
        "one column at a time": [
            one_by_one, lambda model, X, y, columns, order: one_by_one(model, X, y, columns, order) / len(columns)],
        "all columns": whole_rows,
        "the sign turned round": lambda *given: -cost_with_sklearn(*given),
        "accuracy": in_accuracy,
        "a loss, not what it has grown": lambda model, X, y, columns, order: log_loss(
            y, model.predict_proba(X.assign(**{name: X[name].to_numpy()[order] for name in columns}))),
        "a ratio": lambda model, X, y, columns, order: log_loss(
            y, model.predict_proba(X.assign(**{name: X[name].to_numpy()[order] for name in columns}))) / log_loss(
                y, model.predict_proba(X)),
        "set to zero": [constant(lambda column: 0.0), constant(lambda column: column.mean())],
        "the labels were shuffled": lambda model, X, y, columns, order: (
            log_loss(y.to_numpy()[order], model.predict_proba(X)) - log_loss(y, model.predict_proba(X))),
        "the order read backwards": read_backwards,
        "calls, not probabilities": lambda model, X, y, columns, order: log_loss(
            y, model.predict(X.assign(**{name: X[name].to_numpy()[order] for name in columns}))) - log_loss(
                y, model.predict(X)),
        "another model": fitted_again,
    },
    "q6": {
        "a split taken for a crash": [of_the_colleague, lambda raw: columns_of(raw["raw_close"])],
        "the day of the split left out": [
            but(return_1=lambda raw: raw["raw_close"].pct_change().where(raw["split"] == 1)),
            but(return_1=lambda raw: raw["raw_close"].pct_change().where(raw["split"] == 1, 0))],
        "the day of the split alone was mended": [
            lambda raw: columns_of(raw["raw_close"] * raw["split"]),
            but(return_1=lambda raw: raw["raw_close"].pct_change() * raw["split"])],
        "a logarithm": but(return_1=lambda raw: np.log(back_adjusted(raw)).diff()),
        "adjusted the wrong way round": lambda raw: columns_of(raw["raw_close"] ** 2 / back_adjusted(raw)),
        "a day off": [lambda raw: columns_of(back_adjusted(raw) / raw["split"]),
                      lambda raw: columns_of(back_adjusted(raw) * raw["split"].shift(-1, fill_value=1.0))],
        "an average across a split": but(
            price_to_average=lambda raw: raw["raw_close"] / raw["raw_close"].rolling(20).mean() - 1),
        "a trend across a split": but(trend=lambda raw: columns_of(raw["raw_close"])["trend"]),
        "in dollars of today": but(
            trend=lambda raw: back_adjusted(raw).rolling(5).mean() - back_adjusted(raw).rolling(20).mean()),
        "a share of the price as traded": but(trend=lambda raw: (
            back_adjusted(raw).rolling(5).mean() - back_adjusted(raw).rolling(20).mean()) / raw["raw_close"]),
        "a share of another price": [
            but(trend=lambda raw: back_adjusted(raw).rolling(5).mean() / back_adjusted(raw).rolling(20).mean() - 1),
            but(trend=lambda raw: (back_adjusted(raw).rolling(5).mean() - back_adjusted(raw).rolling(20).mean())
                / raw["raw_close"].iloc[-1]),
            but(trend=lambda raw: (back_adjusted(raw).rolling(5).mean() - back_adjusted(raw).rolling(20).mean())
                / back_adjusted(raw).mean())],
    },
}
