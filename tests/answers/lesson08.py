"""Answers that learners give to the exercise of lesson 08: right ones, and each mistake as it is made."""

import math

import numpy as np
import pandas as pd


def growth_by_loop(returns, stake):
    wealth = 1.0
    for each in returns:
        wealth *= 1 + stake * each
    return math.log(wealth) / len(returns)


def half_kelly_in_steps(returns, most):
    mean, variance, n = returns.mean(), returns.var(), len(returns)
    kelly = mean / variance
    error = 1 / np.sqrt(variance * n)
    if kelly - 1.96 * error <= 0:
        return 0
    return min(kelly / 2, most)


def half_kelly_by_t(returns, most):
    errors = returns.mean() / (returns.std() / len(returns) ** 0.5)  # the same interval, of the mean
    return float(np.clip(returns.mean() / returns.var() / 2, 0, most)) if errors > 1.96 else 0.0


def size_by_loop(bars, target, bear, worst):
    returns = (bars["close"] / bars["close"].shift() - 1).to_numpy()
    sizes = np.full(len(bars), np.nan)
    for t in range(20, len(bars)):
        volatility = np.std(returns[t - 19 : t + 1], ddof=1) * math.sqrt(252)
        sizes[t] = min(target / volatility, bear / worst)
    return sizes


def size_by_minimum(bars, target, bear, worst):
    a_year = bars["close"].pct_change().rolling(20).std() * 252**0.5
    return np.minimum(target / a_year, bear / worst).rename("size")


def changes(bars):
    return bars["close"].pct_change()


def volatility_size(bars, target, window=20):
    return target / (changes(bars).rolling(window).std() * np.sqrt(252))


def capped_ten_percent(volatility, days=np.sqrt(252)):
    return (0.10 / (volatility * days)).clip(upper=1.3)


def squared_ratio(came, said):
    ratio = (came / said) ** 2
    return ratio - np.log(ratio) - 1


def duel_by_mask(said):
    both = said["model"].notna() & said["naive"].notna() & said["came"].notna()
    naive = squared_ratio(said.loc[both, "came"], said.loc[both, "naive"]).mean()
    return naive - squared_ratio(said.loc[both, "came"], said.loc[both, "model"]).mean()


def duel_by_differences(said):
    return (squared_ratio(said["came"], said["naive"]) - squared_ratio(said["came"], said["model"])).mean()


def own_by_60_days(bars):
    return volatility_size(bars, 0.10, 60).clip(upper=1.2)


def own_by_loop(bars):
    variance, sizes, previous = None, [], None
    for close in bars["close"]:
        move = 0.0 if previous is None else close / previous - 1
        variance = move**2 if not variance else 0.95 * variance + 0.05 * move**2
        sizes.append(min(0.10 / math.sqrt(252 * variance), 1.3) if variance else 0.0)
        previous = close
    return pd.Series(sizes, index=bars.index)


RIGHT = {
    "q1": [growth_by_loop, lambda returns, stake: np.mean([math.log(1 + stake * each) for each in returns]),
           lambda returns, stake: np.log((1 + stake * returns).prod()) / len(returns)],
    "q2": [half_kelly_in_steps, half_kelly_by_t],
    "q3": [size_by_loop, size_by_minimum],
    "q4": [duel_by_mask, duel_by_differences],
    "q6": [own_by_60_days, own_by_loop, lambda bars: size_by_minimum(bars, 0.10, 0.2, 0.15).fillna(0).to_numpy()],
}


def expected_growth(returns, stake):
    return sum(stake * each for each in returns) / len(returns)


def naive_total(returns, stake):
    return sum(math.log(1 + stake * each) for each in returns)


def in_sample(bars, target, bear, worst):
    everything = bars["close"].pct_change().std() * np.sqrt(252)
    return pd.Series(min(target / everything, bear / worst), index=bars.index)


def sharpe_size(returns, most):
    kelly, error = returns.mean() / returns.std(), 1 / (returns.std() * np.sqrt(len(returns)))
    return 0 if kelly - 1.96 * error <= 0 else min(kelly / 2, most)


def population_size(returns, most):
    variance = np.var(returns)
    kelly, error = np.mean(returns) / variance, 1 / np.sqrt(variance * len(returns))
    return 0 if kelly - 1.96 * error <= 0 else min(kelly / 2, most)


def halved_limit(returns, most):
    return 0.5 * min(2 * half_kelly_in_steps(returns, np.inf), most)


def a_years_mean(returns, most):
    kelly, error = returns.mean() * 252 / returns.var(), 1 / (returns.std() * np.sqrt(len(returns)))
    return 0 if kelly - 1.96 * error <= 0 else min(kelly / 2, most)


def on_own_days(said):
    return squared_ratio(said["came"], said["naive"]).mean() - squared_ratio(said["came"], said["model"]).mean()


def with_both(said, loss):
    said = said.dropna()
    return loss(said["came"], said["naive"]).mean() - loss(said["came"], said["model"]).mean()


WRONG = {
    "q1": {
        "averages what multiplies": [expected_growth, lambda returns, stake: stake * np.mean(returns)],
        "averages before the logarithm": lambda returns, stake: math.log(1 + stake * sum(returns) / len(returns)),
        "all bets together": [naive_total, lambda returns, stake: np.log((1 + stake * returns).prod())],
        "stakes everything": lambda returns, stake: np.log(1 + returns).mean(),
        "a rate, not its logarithm": lambda returns, stake: (1 + stake * returns).prod() ** (1 / len(returns)) - 1,
    },
    "q2": {
        "takes luck for an edge": [lambda returns, most: max(0, min(returns.mean() / returns.var() / 2, most)),
                                   lambda returns, most: min(returns.mean() / returns.var() / 2, most)],
        "all of Kelly": lambda returns, most: min(2 * half_kelly_in_steps(returns, np.inf), most),
        "deviation for variance": sharpe_size,
        "no limit": lambda returns, most: half_kelly_in_steps(returns, 1e9),
        "halves the limit, not the size": halved_limit,
        "two lengths of time": a_years_mean,
        "divides by n": population_size,
    },
    "q3": {
        "no cap": lambda bars, target, bear, worst: volatility_size(bars, target),
        "the wrong root of time": lambda bars, target, bear, worst: (
            target / (changes(bars).rolling(20).std() * 252)).clip(upper=bear / worst),
        "a day's volatility for a year's": lambda bars, target, bear, worst: np.minimum(
            target / changes(bars).rolling(20).std(), bear / worst),
        "volatility of the price": lambda bars, target, bear, worst: np.minimum(
            target / (bars["close"].rolling(20).std() * np.sqrt(252)), bear / worst),
        "one volatility for all years": in_sample,
        "uses tomorrow": [
            lambda bars, target, bear, worst: volatility_size(bars, target).shift(-1).clip(upper=bear / worst),
            lambda bars, target, bear, worst: np.minimum(
                target / (changes(bars).rolling(20, center=True).std() * np.sqrt(252)), bear / worst)],
        "the loss taken for the size": lambda bars, target, bear, worst: volatility_size(bars, target).clip(upper=bear),
        "holds more when it is wilder": lambda bars, target, bear, worst: (
            changes(bars).rolling(20).std() * 252**0.5 / target).clip(upper=bear / worst),
    },
    "q4": {
        "each on its own days": on_own_days,
        "ratio upside down": lambda said: with_both(said, lambda came, told: squared_ratio(told, came)),
        "deviation for variance": lambda said: with_both(
            said, lambda came, told: came / told - np.log(came / told) - 1),
        "sign turned": lambda said: -duel_by_mask(said),
        "squared errors": lambda said: with_both(said, lambda came, told: (came - told) ** 2),
    },
    "q6": {
        "not ten percent a year": [lambda bars: capped_ten_percent(changes(bars).rolling(20).std(), 252),
                                   lambda bars: capped_ten_percent(changes(bars).rolling(3).std())],
        "the same size in any weather": [lambda bars: pd.Series(1.0, bars.index), lambda bars: np.full(len(bars), 0.8),
                                         lambda bars: 0 * volatility_size(bars, 0.10)],
        "remembers too long": [lambda bars: capped_ten_percent(changes(bars).expanding(60).std()),
                               lambda bars: capped_ten_percent(changes(bars).rolling(500, min_periods=60).std()),
                               lambda bars: capped_ten_percent(changes(bars).rolling(250).std())],
        "no cap": [lambda bars: volatility_size(bars, 0.10), lambda bars: volatility_size(bars, 0.10).clip(upper=3)],
        "too timid": lambda bars: volatility_size(bars, 0.10).clip(upper=0.7),
        "looks ahead": lambda bars: volatility_size(bars, 0.10).shift(-1).clip(upper=1.3),
    },
}
