"""Answers to the exercise of lesson 00, right and wrong, as learners write them."""

import math

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit import (Costs, FeatureSet, LaggedReturns, MLStrategy, RealisticExecutionHandler, Volatility, backtest,
                   direction)

# ---- q1


def earned_in_a_loop(bars):
    opens = bars["open"].tolist()
    return [opens[t + 2] / opens[t + 1] - 1 if t + 2 < len(opens) else np.nan for t in range(len(opens))]


# ---- q2


def rows_in_a_loop(X, labels, split):
    learn = []
    for day in X.index:
        whole = not X.loc[day].isna().any()
        known = not pd.isna(labels.loc[day, "label"]) and labels.loc[day, "end"] < split
        learn.append(whole and known)
    return np.array(learn)


def rows_by_dropna(X, labels, split):
    kept = X.join(labels).dropna()
    kept = kept[kept["end"] < split]
    return pd.Series(X.index.isin(kept.index), X.index)


def decided(X, labels, split):
    return pd.Series(X.index.isin(X.join(labels).dropna().loc[:split - pd.Timedelta("1D")].index), X.index)


# ---- q3


def in_steps(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    away = (half_spread_bps + slippage_bps) / 10_000
    paid = quantity * buy * (1 + away)
    received = quantity * sell * (1 - away)
    return received - paid - (paid + received) * commission_bps / 10_000


def through_the_account(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    cash = 0.0
    for side, price in ((1, buy), (-1, sell)):
        fill = price + side * price * (half_spread_bps + slippage_bps) * 0.0001
        cash -= side * quantity * fill
        cash -= quantity * fill * commission_bps * 0.0001
    return cash


def percent(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    return in_steps(quantity, buy, sell, 100 * half_spread_bps, 100 * slippage_bps, 100 * commission_bps)


def purchase_only(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    paid = quantity * buy * (1 + (half_spread_bps + slippage_bps) / 1e4)
    return quantity * sell - paid - paid * commission_bps / 1e4


def seller_unharmed(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    paid = quantity * buy * (1 + (half_spread_bps + slippage_bps) / 1e4)
    return quantity * sell - paid - (paid + quantity * sell) * commission_bps / 1e4


def commission_on(*which):
    def answer(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
        away = (half_spread_bps + slippage_bps) / 1e4
        value = {"paid": quantity * buy * (1 + away), "received": quantity * sell * (1 - away)}
        return value["received"] - value["paid"] - sum(value[name] for name in which) * commission_bps / 1e4
    return answer


def seller_gains(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    away = (half_spread_bps + slippage_bps) / 1e4
    paid, received = quantity * buy * (1 + away), quantity * sell * (1 + away)
    return received - paid - (paid + received) * commission_bps / 1e4


def of_the_opens(quantity, buy, sell, half_spread_bps, slippage_bps, commission_bps):
    rate = (half_spread_bps + slippage_bps + commission_bps) / 1e4
    return quantity * sell * (1 - rate) - quantity * buy * (1 + rate)


# ---- q4


def with_pandas(returns):
    wealth = pd.concat([pd.Series([1.0]), (1 + returns).cumprod()])
    return {"total_return": wealth.iloc[-1] - 1, "sharpe": returns.mean() / returns.std() * 252**0.5,
            "max_drawdown": (wealth / wealth.cummax() - 1).min()}


def by_hand(returns):
    wealth = peak = 1.0
    deepest = 0.0
    for each in returns:
        wealth *= 1 + each
        peak = max(peak, wealth)
        deepest = min(deepest, wealth / peak - 1)
    mean = sum(returns) / len(returns)
    variance = sum((each - mean) ** 2 for each in returns) / (len(returns) - 1)
    return pd.Series({"total_return": wealth - 1, "sharpe": mean / math.sqrt(variance) * math.sqrt(252),
                      "max_drawdown": deepest})


def but(**figures):
    def answer(returns):
        return {**with_pandas(returns), **{name: figure(returns) for name, figure in figures.items()}}
    return answer


def drawdown_of(wealth):
    return (wealth / wealth.cummax() - 1).min()


# ---- q6


def run(bars, split, train, unseen, costs=Costs(1, 1, 1), **options):
    features = FeatureSet([LaggedReturns(3), Volatility(20)])
    X, labels = features.transform(bars), direction(bars)
    table = X.join(labels).dropna()
    table = table[train(table, split)]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table[X.columns], table["label"])
    strategy = MLStrategy(model, features, enter=0.52, exit=0.48)
    return backtest(unseen(bars, split), strategy, execution=RealisticExecutionHandler(costs, **options))


def known_before(table, split):
    return table["end"] < split


def with_history(bars, split):
    return bars.iloc[bars.index.get_loc(split) - 21:]


def honest(bars, split):
    return run(bars, split, known_before, with_history)


def honest_with_slices(bars, split):
    features = FeatureSet([LaggedReturns(3), Volatility(20)])
    past = bars[bars.index < split]
    X, labels = features(past), direction(past)      # made from the past alone: no label can reach over
    whole = X.notna().all(axis=1) & labels["label"].notna()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[whole], labels["label"][whole])
    unseen = pd.concat([past.tail(features.lookback), bars[bars.index >= split]])
    return backtest(unseen, MLStrategy(model, features, enter=0.52, exit=0.48), execution=RealisticExecutionHandler())


def colleague(bars, split):
    return run(bars, split, lambda table, split: slice(None), lambda bars, split: bars, Costs(0, 0, 0),
               unsafe_same_bar=True)


def but_for(train=known_before, unseen=with_history, **options):
    return lambda bars, split: run(bars, split, train, unseen, **options)


RIGHT = {
    "q1": [earned_in_a_loop, lambda bars: bars.open.pct_change().shift(-2),
           lambda bars: (bars["open"].diff() / bars["open"].shift()).shift(-2).to_numpy()],
    "q2": [rows_in_a_loop, rows_by_dropna],
    "q3": [in_steps, through_the_account],
    "q4": [with_pandas, by_hand],
    "q6": [honest, honest_with_slices],
}
WRONG = {
    "q1": {
        "bought at the close that decided": [lambda bars: bars["close"].pct_change().shift(-1),
                                             lambda bars: bars["open"].shift(-1) / bars["close"] - 1],
        "the return that was": [lambda bars: bars["close"].pct_change(), lambda bars: bars["open"].pct_change()],
        "an open too early": lambda bars: bars["open"].pct_change().shift(-1),
        "an open too late": lambda bars: bars["open"].pct_change().shift(-3),
        "sold at the close of the day": lambda bars: (bars["close"] / bars["open"] - 1).shift(-1),
        "shifted the wrong way": [lambda bars: bars["open"].pct_change().shift(2),
                                  lambda bars: bars["open"].shift(2) / bars["open"].shift(1) - 1],
        "a difference of prices": lambda bars: bars["open"].diff().shift(-2),
        "percent": lambda bars: 100 * bars["open"].pct_change().shift(-2),
        "a logarithm": lambda bars: np.log(bars["open"]).diff().shift(-2),
        "the unknown made zero": lambda bars: bars["open"].pct_change().shift(-2).fillna(0),
    },
    "q2": {
        "decided before the split, not known": [
            decided, lambda X, labels, split: X.notna().all(axis=1) & labels["label"].notna() & (labels.index < split)],
        "known on the day of the split": lambda X, labels, split: X.notna().all(axis=1) & (labels["end"] <= split),
        "rows with holes": lambda X, labels, split: labels["end"] < split,
        "one feature is enough": lambda X, labels, split: X.notna().any(axis=1) & (labels["end"] < split),
        "rows after the split too": lambda X, labels, split: pd.concat([X, labels], axis=1).notna().all(axis=1),
        "the test rows": lambda X, labels, split: X.notna().all(axis=1) & labels["label"].notna() & (X.index >= split),
        "turned round": lambda X, labels, split: [not each for each in rows_in_a_loop(X, labels, split)],
    },
    "q3": {
        "no costs at all": lambda quantity, buy, sell, *costs: (sell - buy) * quantity,
        "a basis point is smaller": [
            percent,
            lambda quantity, buy, sell, *costs: in_steps(quantity, buy, sell, *(1e4 * each for each in costs))],
        "one side only": [purchase_only, seller_unharmed],
        "the commission once": [commission_on("paid"), commission_on("received")],
        "no commission": commission_on(),
        "no slippage": lambda q, b, s, spread, slip, fee: in_steps(q, b, s, spread, 0, fee),
        "no spread": lambda q, b, s, spread, slip, fee: in_steps(q, b, s, 0, slip, fee),
        "the sign of a cost": seller_gains,
        "the whole spread on each side": lambda q, b, s, spread, slip, fee: in_steps(q, b, s, 2 * spread, slip, fee),
        "all costs on the open": of_the_opens,
        "spread and slippage multiplied": lambda q, b, s, spread, slip, fee: (
            q * s * (1 - spread / 1e4) * (1 - slip / 1e4) * (1 - fee / 1e4)
            - q * b * (1 + spread / 1e4) * (1 + slip / 1e4) * (1 + fee / 1e4)),
        "a share of nothing": [lambda q, b, s, *costs: q * (s - b) - q * sum(costs) / 1e4,
                               lambda q, b, s, *costs: q * (s - b) * (1 - 2 * sum(costs) / 1e4)],
        "one share": lambda quantity, *rest: in_steps(1, *rest),
        "a fraction, not money": lambda quantity, buy, *rest: in_steps(1, buy, *rest) / buy,
    },
    "q4": {
        "adds what multiplies": [but(total_return=sum), but(total_return=lambda returns: np.log1p(returns).sum())],
        "the wealth, not the return": but(total_return=lambda returns: np.prod(1 + returns),
                                          sharpe=lambda returns: 0.0),
        "a return a year": [but(total_return=lambda returns: (1 + returns).prod() ** (252 / len(returns)) - 1),
                            but(total_return=lambda returns: 252 * returns.mean())],
        "not scaled to a year": but(sharpe=lambda returns: returns.mean() / returns.std()),
        "scaled by the days, not by their root": but(sharpe=lambda returns: 252 * returns.mean() / returns.std()),
        "365 days a year": but(sharpe=lambda returns: 365**0.5 * returns.mean() / returns.std()),
        "the deviation of a population": but(
            sharpe=lambda returns: 252**0.5 * np.mean(returns.values) / np.std(returns.values)),
        "a variance, not a deviation": but(sharpe=lambda returns: 252**0.5 * returns.mean() / returns.var()),
        "the compound return over the deviation": but(
            sharpe=lambda returns: ((1 + returns).prod() ** (252 / len(returns)) - 1) / (returns.std() * 252**0.5)),
        "the start is no peak": but(max_drawdown=lambda returns: drawdown_of((1 + returns).cumprod())),
        "without its sign": but(max_drawdown=lambda returns: -by_hand(returns)["max_drawdown"]),
        "below the start, not below the peak": but(max_drawdown=lambda returns: (1 + returns).cumprod().min() - 1),
        "the worst day": but(max_drawdown=min),
        "the lowest against the highest": but(
            max_drawdown=lambda returns: (1 + returns).cumprod().min() / (1 + returns).cumprod().max() - 1),
        "added up, not multiplied": but(
            max_drawdown=lambda returns: (returns.cumsum() - returns.cumsum().cummax()).min()),
    },
    "q6": {
        "trades the days it learned from": [colleague, but_for(unseen=lambda bars, split: bars)],
        "no history before the split": but_for(unseen=lambda bars, split: bars.loc[split:]),
        "filled at the same close": but_for(unsafe_same_bar=True, costs=Costs(0, 0, 0)),
        "no costs": [but_for(costs=Costs(0, 0, 0)), but_for(lambda table, split: slice(None), costs=Costs(0, 0, 0))],
        "a cost left out": [but_for(costs=Costs(1, 1, 0)), but_for(costs=Costs(0, 0, 1))],
        "learned from all days": but_for(lambda table, split: slice(None)),
        "labels that reach over the split": [but_for(lambda table, split: table.index < split),
                                             but_for(lambda table, split: table["end"] <= split)],
        "learned from the days after": but_for(lambda table, split: table.index >= split),
    },
}
