"""Answers to the exercise of lesson 01, right and wrong, as learners write them."""

import numpy as np
import pandas as pd
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, TimeSeriesSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mlkit import PurgedKFold, WalkForward, direction, walk_forward

# ---- q1


def place_with_rolling(bars):
    lowest = bars["low"].rolling(10).min()
    return ((bars["close"] - lowest) / (bars["high"].rolling(10).max() - lowest)).rename("place")


def place_in_a_loop(bars):
    out = []
    for t in range(len(bars)):
        if t < 9:
            out.append(np.nan)
            continue
        last = bars.iloc[t - 9:t + 1]
        out.append((last["close"].iloc[-1] - last["low"].min()) / (last["high"].max() - last["low"].min()))
    return pd.Series(out, index=bars.index)


def place_with_strides(bars):
    low = np.lib.stride_tricks.sliding_window_view(bars["low"].to_numpy(), 10).min(axis=1)
    high = np.lib.stride_tricks.sliding_window_view(bars["high"].to_numpy(), 10).max(axis=1)
    return np.append([np.nan] * 9, (bars["close"].to_numpy()[9:] - low) / (high - low))


def centred(bars):
    lowest = bars["low"].rolling(window=10, center=True).min()
    highest = bars["high"].rolling(window=10, center=True).max()
    return (bars["close"] - lowest) / (highest - lowest)


def whole_table(bars):
    return (bars.close - min(bars.low)) / (max(bars.high) - min(bars.low))


def forward(bars):
    lowest, highest = bars["low"].rolling(10).min().shift(-9), bars["high"].rolling(10).max().shift(-9)
    return (bars["close"] - lowest) / (highest - lowest)


def without_itself(bars):
    lowest, highest = bars["low"].shift(1).rolling(10).min(), bars["high"].shift(1).rolling(10).max()
    return (bars["close"] - lowest) / (highest - lowest)


def from_the_first_bar(bars):
    lowest, highest = bars["low"].rolling(10, min_periods=1).min(), bars["high"].rolling(10, min_periods=1).max()
    return (bars["close"] - lowest) / (highest - lowest)


def ever_growing(bars):
    lowest, highest = bars["low"].cummin(), bars["high"].cummax()
    return ((bars["close"] - lowest) / (highest - lowest)).where(np.arange(len(bars)) >= 9)


def of_closes(bars):
    closes = bars["close"].rolling(10)
    return (bars["close"] - closes.min()) / (closes.max() - closes.min())


# ---- q2


def known_as_of(bars, releases):
    left = bars[["close"]].reset_index()
    return pd.merge_asof(left, releases.reset_index(), left_on="timestamp", right_on="published")["value"].to_numpy()


def known_in_a_loop(bars, releases):
    out = pd.Series(np.nan, bars.index)
    for day in bars.index:
        so_far = releases[releases.index <= day]
        if len(so_far):
            out[day] = so_far["value"].iloc[-1]
    return out


def known_by_search(bars, releases):
    at = releases.index.searchsorted(bars.index, side="right") - 1
    return pd.Series(np.where(at >= 0, releases["value"].to_numpy()[at], np.nan), bars.index)


def by_week(bars, releases):
    return pd.merge_asof(bars.reset_index(), releases, left_on="timestamp", right_on="week")["value"].to_numpy()


def by_week_from_behind(bars, releases):
    weekly = pd.Series(releases["value"].to_numpy(), releases["week"])
    return pd.Series([weekly[weekly.index >= day].iloc[0] if (weekly.index >= day).any() else np.nan
                      for day in bars.index], bars.index)


def from_behind(bars, releases):
    both = releases["value"].reindex(bars.index.union(releases.index))
    return both.bfill().loc[bars.index]


def on_a_line(bars, releases):
    both = pd.concat([pd.Series(np.nan, bars.index), releases["value"]]).groupby(level=0).last()
    return both.interpolate("time").loc[bars.index]


def nearest(bars, releases):
    right = releases.reset_index()
    return pd.merge_asof(bars.reset_index()[["timestamp"]], right, left_on="timestamp", right_on="published",
                         direction="nearest")["value"].to_numpy()


# ---- q3


def honest_pipeline(X, y, splitter):
    steps = [("scale", StandardScaler()), ("choose", SelectKBest(f_classif, k=3)), ("model", LogisticRegression())]
    return walk_forward(Pipeline(steps), X, y, splitter).predictions


def honest_by_hand(X, y, splitter):
    out = []
    for train, test in splitter.split(X):
        mean, spread = X.iloc[train].mean(), X.iloc[train].std(ddof=0)
        scaled = (X - mean) / spread
        scores = f_classif(scaled.iloc[train], y.iloc[train])[0]
        best = np.sort(np.argsort(-scores)[:3])
        model = LogisticRegression().fit(scaled.iloc[train, best].to_numpy(), y.iloc[train])
        out.extend(model.predict_proba(scaled.iloc[test, best].to_numpy())[:, 1])
    return np.array(out)


def all_before(X, y, splitter):
    Z = (X - X.mean()) / X.std(ddof=0)
    names = X.columns[SelectKBest(f_classif, k=3).fit(Z, y).get_support()]
    return walk_forward(LogisticRegression(), Z[names], y, splitter).predictions


def choice_before(X, y, splitter):
    chosen = SelectKBest(f_classif, k=3).fit(X, y).get_feature_names_out()
    steps = [("scale", StandardScaler()), ("model", LogisticRegression())]
    return walk_forward(Pipeline(steps), X[chosen], y, splitter).predictions


def scale_before(X, y, splitter):
    Z = (X - X.mean()) / X.std(ddof=0)
    return walk_forward(Pipeline([("c", SelectKBest(k=3)), ("m", LogisticRegression())]), Z, y, splitter).predictions


def in_sample(X, y, splitter):
    steps = [("scale", StandardScaler()), ("choose", SelectKBest(f_classif, k=3)), ("model", LogisticRegression())]
    rises = pd.Series(Pipeline(steps).fit(X, y).predict_proba(X)[:, 1], X.index)
    return rises.iloc[np.concatenate([test for _, test in splitter.split(X)])]


def with_test_rows(X, y, splitter):
    out = pd.Series(np.nan, X.index)
    for train, test in splitter.split(X):
        rows = np.append(train, test)
        steps = [("scale", StandardScaler()), ("choose", SelectKBest(f_classif, k=3)), ("model", LogisticRegression())]
        out.iloc[test] = Pipeline(steps).fit(X.iloc[rows], y.iloc[rows]).predict_proba(X.iloc[test])[:, 1]
    return out.dropna()


def all_columns(X, y, splitter):
    steps = [("scale", StandardScaler()), ("model", LogisticRegression())]
    return walk_forward(Pipeline(steps), X, y, splitter).predictions


def unscaled(X, y, splitter):
    steps = [("choose", SelectKBest(f_classif, k=3)), ("model", LogisticRegression())]
    return walk_forward(Pipeline(steps), X, y, splitter).predictions


# ---- q4


def by_intervals(ends, first, last):
    reach = max(end for start, end in ends.items() if first <= start <= last)
    return [bool(end <= first or start >= reach) for start, end in ends.items()]


def by_masks(ends, first, last):
    test = ends.loc[first:last]
    free = pd.Series(True, ends.index)
    free[(ends > first) & (ends.index < test.max())] = False
    return free


def not_purged(ends, first, last):
    return ~((ends.index >= first) & (ends.index <= last))


def before_only(ends, first, last):
    return pd.Series([end <= first if start < first else start > last for start, end in ends.items()], ends.index)


def after_only(ends, first, last):
    return (ends.index < first) | (ends.index >= ends[first:last].max())


def last_row(ends, first, last):
    return (ends <= first) | (ends.index >= ends.loc[last])


def rows_away(before, after):
    def answer(ends, first, last):
        out = np.ones(len(ends), dtype=bool)
        start, stop = ends.index.get_loc(first), ends.index.get_loc(last)
        out[max(start - before, 0):stop + after + 1] = False
        return out
    return answer


def strictly(before, after):
    def answer(ends, first, last):
        reach = ends[first:last].max()
        early = ends < first if before else ends <= first
        return early | (ends.index > reach if after else ends.index >= reach)
    return answer


# ---- q6


def mended(folds=None, sentiment=None, earned=None):
    def answer(bars, headlines, half_spread):
        labels = direction(bars, horizon=5).dropna()
        tone = headlines["tone"].reindex(bars.index, fill_value=0.0)
        buy, sell = bars["open"].shift(-1), bars["open"].shift(-6)
        honest = (sell - half_spread * sell) / (buy + half_spread * buy) - 1
        return {"folds": folds(labels) if folds else list(PurgedKFold(5, label_end=labels["end"]).split(labels)),
                "sentiment": sentiment(bars, headlines) if sentiment else tone,
                "earned": earned(buy, sell, half_spread) if earned else honest}
    return answer


def of_the_tutorial(bars, headlines, half_spread):
    labels = direction(bars, horizon=5).dropna()
    return {"folds": KFold(5, shuffle=True, random_state=0).split(labels), "sentiment": hindsight(bars, headlines),
            "earned": bars["open"].shift(-6) / (bars["open"].shift(-1) * (1 + half_spread)) - 1}


def in_a_loop(bars, headlines, half_spread):
    labels = direction(bars, horizon=5).dropna()
    folds, n = [], len(labels)
    for start in range(n // 4, n, n // 4):
        train = [row for row in range(n) if labels["end"].iloc[row] <= labels.index[start]]
        folds.append((train, list(range(start, min(start + n // 4, n)))))
    tones = headlines["tone"].to_dict()
    opens, earned = bars["open"].to_numpy(), np.full(len(bars), np.nan)
    for t in range(len(bars) - 6):
        earned[t] = opens[t + 6] * (1 - half_spread) / (opens[t + 1] * (1 + half_spread)) - 1
    return {"folds": folds, "sentiment": [tones.get(day, 0.0) for day in bars.index], "earned": earned}


def hindsight(bars, headlines):
    tomorrow = bars["close"].pct_change().shift(-1)
    good = pd.Series(-1.0, bars.index)
    good[tomorrow > 0] = 1.0
    good[~bars.index.isin(headlines.index)] = 0.0
    return good


def same_day(bars, headlines):
    return (np.sign(bars["close"].pct_change()) * bars.index.isin(headlines.index)).fillna(0)


RIGHT = {
    "q1": [place_with_rolling, place_in_a_loop, place_with_strides],
    "q2": [known_as_of, known_in_a_loop, known_by_search],
    "q3": [honest_pipeline, honest_by_hand],
    "q4": [by_intervals, by_masks],
    "q6": [mended(), in_a_loop,
           mended(folds=lambda labels: TimeSeriesSplit(5, gap=5).split(labels)),
           mended(folds=lambda labels: WalkForward(40, 20, label_end=labels["end"]))],
}
WRONG = {
    "q1": {
        "a window around the bar": centred,
        "the range of the whole table": whole_table,
        "the bars to come": forward,
        "the start filled from behind": lambda bars: place_with_rolling(bars).bfill(),
        "the bar itself left out": without_itself,
        "fewer than ten bars": from_the_first_bar,
        "all bars so far": ever_growing,
        "the range of the closes": of_closes,
        "looks ahead": [lambda bars: place_with_rolling(bars).shift(-1),
                        lambda bars: place_with_rolling(bars).fillna(place_with_rolling(bars).mean()),
                        lambda bars: place_with_rolling(bars).rank(pct=True)],
    },
    "q2": {
        "dated by its week": by_week,
        "dated by its week, filled from behind": by_week_from_behind,
        "filled from behind": from_behind,
        "a line between two publications": on_a_line,
        "the nearest publication": [
            nearest, lambda bars, releases: releases["value"].reindex(bars.index, method="nearest")],
        "what came out on a weekend is lost": lambda bars, releases: bars.join(releases)["value"].ffill(),
        "a day late": [lambda bars, releases: known_by_search(bars, releases).shift(1)],
        "on the day it came out alone": lambda bars, releases: bars.join(releases)["value"],
        "the start filled from behind": lambda bars, releases: known_by_search(bars, releases).bfill(),
        "looks ahead": lambda bars, releases: known_by_search(bars, releases).shift(-1),
    },
    "q3": {
        "everything before the split": all_before,
        "columns chosen on everything": choice_before,
        "scaled on everything": scale_before,
        "learned on the test rows": in_sample,
        "learned on the fold's test rows": with_test_rows,
        "chose nothing": all_columns,
        "scaled nothing": unscaled,
        "probability of a fall": lambda X, y, splitter: 1 - honest_by_hand(X, y, splitter),
        "a call, not a probability": lambda X, y, splitter: (honest_by_hand(X, y, splitter) > 0.5).astype(int),
    },
    "q4": {
        "nothing purged": [not_purged, rows_away(0, 0)],
        "purged before the block only": before_only,
        "purged after the block only": after_only,
        "only the past trains": [lambda ends, first, last: (ends <= first).to_numpy()],
        "by the label decided last": last_row,
        "a number of rows": [rows_away(5, 5), rows_away(12, 0), rows_away(1, 1)],
        "one day too many": [strictly(True, False), strictly(False, True), strictly(True, True)],
        "trains on its test": lambda ends, first, last: (ends <= first) | (ends.index >= first),
    },
    "q6": {
        "trains on its test": mended(folds=lambda labels: [
            (np.arange(len(labels)), np.arange(len(labels)))]),
        "shuffles overlapping labels": [
            of_the_tutorial, mended(folds=lambda labels: KFold(4, shuffle=True, random_state=3).split(labels))],
        "whole blocks, nothing purged": [mended(folds=lambda labels: KFold(5).split(labels)),
                                         mended(folds=lambda labels: TimeSeriesSplit(5), sentiment=hindsight)],
        "tests too little": mended(folds=lambda labels: [(np.arange(80), np.arange(100, 110))]),
        "trains on next to nothing": mended(folds=lambda labels: [(np.arange(3), np.arange(20, len(labels)))]),
        "sentiment in hindsight": mended(sentiment=hindsight,
                                         earned=lambda buy, sell, half: sell / buy / (1 + half) - 1),
        "sentiment after the day's move": mended(sentiment=same_day),
        "sentiment thrown out": mended(sentiment=lambda bars, headlines: np.zeros(len(bars))),
        "yesterday's headlines": mended(
            sentiment=lambda bars, headlines: headlines["tone"].reindex(bars.index).fillna(0).shift(1).fillna(0)),
        "old news carried on": mended(
            sentiment=lambda bars, headlines: headlines["tone"].reindex(bars.index, method="ffill").fillna(0)),
        "one side only": mended(earned=lambda buy, sell, half: sell / (buy * (1 + half)) - 1),
        "the other side only": mended(earned=lambda buy, sell, half: sell * (1 - half) / buy - 1),
        "no costs at all": [mended(earned=lambda buy, sell, half: (sell - buy) / buy),
                            mended(earned=lambda buy, sell, half: sell * (1 + half) / (buy * (1 + half)) - 1)],
        "the sign of a cost": mended(earned=lambda buy, sell, half: sell * (1 + half) / (buy * (1 - half)) - 1),
        "the whole spread on each side": mended(
            earned=lambda buy, sell, half: sell * (1 - 2 * half) / (buy * (1 + 2 * half)) - 1),
        "taken off the return": mended(earned=lambda buy, sell, half: sell / buy - 1 - 2 * half),
    },
}
