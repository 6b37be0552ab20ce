"""A zoo for the leakage audits: builders that look ahead, builders that do not, and leaks no such audit can see.

Each builder is (bars) -> DataFrame or Series, as a learner might write it, one mistake each.
"""

import numpy as np
import pandas as pd
from scipy.signal import fftconvolve, filtfilt, hilbert, lfilter, savgol_filter
from sklearn.decomposition import PCA

from mlkit.features import MACD, RSI, CrossReturn, FeatureSet, LaggedReturns, PriceToAverage, Volatility
from mlkit.labels import direction, next_drawdown, next_return
from mlkit.markets import check_bars, random_walk, regime_switching


def zoo_bars(n=900, seed=3):
    """Bars with a regime, a sparse column of NaN, a flag, and volume in whole numbers."""
    bars = regime_switching(n, seed)
    rng = np.random.default_rng(seed)
    bars["dividend"] = np.where(rng.random(n) < 0.03, rng.lognormal(-1, 0.3, n), np.nan)
    bars["holiday_next"] = rng.random(n) < 0.05
    bars["trades"] = rng.integers(100, 1000, n)
    return bars


def returns(bars):
    return bars["close"].pct_change(fill_method=None)


# ------------------------------------------------------------------ leaky

def weekly_close_known_on_monday(bars):
    return bars["close"].resample("W-FRI").last().reindex(bars.index, method="bfill")


def month_end_close_merged_by_month(bars):
    month = bars.index.to_period("M")
    return pd.Series(month.map(bars["close"].groupby(month).last()).to_numpy(), bars.index)


def month_end_interpolated(bars):
    is_last = bars.index.to_period("M") != np.append(bars.index[1:].to_period("M"), None)
    return bars["close"].where(is_last).interpolate()


def first_component(bars):
    lags = pd.concat([returns(bars).shift(k) for k in range(4)], axis=1).fillna(0.0)
    return pd.Series(PCA(1).fit_transform(lags.to_numpy())[:, 0], bars.index)


def low_pass(bars):
    spectrum = np.fft.rfft(np.log(bars["close"].ffill()))
    spectrum[20:] = 0
    return pd.Series(np.fft.irfft(spectrum, len(bars)), bars.index)


def detrended(bars):
    t, y = np.arange(len(bars)), bars["close"]
    known = y.notna().to_numpy()
    return y - np.polyval(np.polyfit(t[known], y[known], 1), t)


def rows_kept_by_the_future(bars):
    table = pd.DataFrame({"return": returns(bars), "target": bars["close"].shift(-5) / bars["close"]}, bars.index)
    return table.dropna()[["return"]]


def rows_without_tomorrows_shock(bars):
    return returns(bars).to_frame("return")[~(returns(bars).shift(-1).abs() > 0.02)]


def leaks_in_the_last_fifth(bars):
    late = bars.index > pd.Timestamp("2002-12-01")
    return returns(bars).where(~late, returns(bars).shift(-1))


def leaks_in_a_rare_regime(bars):
    volatility = returns(bars).rolling(20).std()
    is_wild = volatility > volatility.expanding(50).quantile(0.99)  # on 0 to 4 % of the bars
    return returns(bars).where(~is_wild, returns(bars).shift(-1).fillna(0.0))


def wraps_around(bars):
    return bars["close"] / np.roll(bars["close"], 1) - 1


def weekday_target_encoding(bars):
    return (returns(bars).shift(-1)).groupby(bars.index.day_of_week).transform("mean")


def merged_with_the_nearest_week(bars):
    weeks = bars[["close"]].iloc[::5].rename(columns={"close": "week"})
    return pd.merge_asof(bars[["close"]], weeks, left_index=True, right_index=True, direction="nearest")["week"]


LEAKY = {
    "next return": lambda bars: returns(bars).shift(-1),
    "next open, hole filled": lambda bars: bars["open"].shift(-1).fillna(bars["close"]) / bars["close"],
    "centred average": lambda bars: bars["close"].rolling(5, center=True).mean(),
    "z-score of everything": lambda bars: (bars["close"] - bars["close"].mean()) / bars["close"].std(),
    "minimum and maximum of everything": lambda bars: (bars["close"] - bars["low"].min()) / np.ptp(bars["close"]),
    "warm-up filled from behind": lambda bars: bars["close"].rolling(20).mean().bfill(),
    "dividend filled from behind": lambda bars: bars["dividend"].bfill(),
    "month end interpolated": month_end_interpolated,
    "weekly close known on Monday": weekly_close_known_on_monday,
    "month end merged by month": month_end_close_merged_by_month,
    "mean of the month": lambda bars: bars["close"].groupby(bars.index.to_period("M")).transform("mean"),
    "coming drawdown": lambda bars: next_drawdown(bars.ffill(), 10)["label"],
    "exponential average backwards": lambda bars: bars["close"][::-1].ewm(span=10).mean()[::-1],
    "rank over everything": lambda bars: returns(bars).rank(pct=True),
    "deciles of everything": lambda bars: pd.qcut(returns(bars), 10, labels=False),
    "deciles of everything, as intervals": lambda bars: pd.qcut(returns(bars), 10),
    "winsorised by everything": lambda bars: returns(bars).clip(*returns(bars).quantile([0.01, 0.99])),
    "outliers of everything": lambda bars: returns(bars).abs() > 3 * returns(bars).std(),
    "first principal component": first_component,
    "next volume": lambda bars: bars["volume"].shift(-1) / bars["volume"],
    "next regime": lambda bars: bars["regime"].shift(-1),
    "flag of tomorrow": lambda bars: bars["holiday_next"].shift(-1, fill_value=False),
    "label as a feature": lambda bars: direction(bars)["label"],
    "label shifted too little": lambda bars: next_return(bars, 5)["label"].shift(3).ffill(),
    "detrended by one regression": detrended,
    "Fourier low pass": low_pass,
    "Hilbert amplitude": lambda bars: pd.Series(np.abs(hilbert(returns(bars).fillna(0.0))), bars.index),
    "filtered both ways": lambda bars: pd.Series(filtfilt([0.2], [1.0, -0.8], bars["close"]), bars.index),
    "Savitzky-Golay": lambda bars: pd.Series(savgol_filter(bars["close"], 11, 2), bars.index),
    "target encoding by weekday": weekday_target_encoding,
    "rows kept by the future": rows_kept_by_the_future,
    "rows without tomorrow's shock": rows_without_tomorrows_shock,
    "NaN where tomorrow falls": lambda bars: returns(bars).mask(bars["close"].shift(-1) < bars["close"]),
    "only after a date": leaks_in_the_last_fifth,
    "only in a rare regime": leaks_in_a_rare_regime,
    "rolled around the end": wraps_around,
    "highest still to come": lambda bars: bars["high"][::-1].cummax()[::-1] / bars["close"],
    "share of the table": lambda bars: pd.Series(np.arange(len(bars)) / len(bars), bars.index),
    "days to the last bar": lambda bars: pd.Series((bars.index[-1] - bars.index).days, bars.index),
    "scaled by the last close": lambda bars: bars["close"] / bars["close"].iloc[-1],
    "nearest week": merged_with_the_nearest_week,
    "a trace of tomorrow": lambda bars: returns(bars) + 1e-5 * returns(bars).shift(-1).fillna(0.0),
}


# ------------------------------------------------------------------ clean

def supertrend_like(bars):
    """A state that remembers, bar by bar."""
    state, states = 0.0, []
    for close, high in zip(bars["close"], bars["high"]):
        state = max(0.97 * state, close - 0.99 * high) if close == close else 0.0
        states.append(state)
    return pd.Series(states, bars.index)


def last_complete_week(bars):
    return bars["close"].resample("W-FRI").last().shift(1).reindex(bars.index, method="bfill")


def refitted_each_year(bars):
    """The slope of returns on the returns before, known from earlier years alone."""
    now, before = returns(bars), returns(bars).shift(1)
    slopes = pd.Series(np.nan, bars.index)
    for year in np.unique(bars.index.year)[1:]:
        past = bars.index.year < year
        slopes[bars.index.year == year] = now[past].cov(before[past]) / before[past].var()
    return slopes * now


def refuses_bad_bars(bars):
    return returns(check_bars(bars, positive=True)).rolling(5).mean()


def needs_sixty_bars(bars):
    if len(bars) < 60:
        raise ValueError(f"60 bars are needed, not {len(bars)}")
    return bars["close"].rolling(60).mean()


def writes_into_its_bars(bars):
    bars["close"] = bars["close"].shift(1)
    del bars["volume"]
    return bars["close"].rolling(3).mean()


def of_many_types(bars):
    up = returns(bars) > 0
    return pd.DataFrame({"is_up": up, "run": up.groupby((~up).cumsum()).cumsum(), "side": np.where(up, "rise", "fall"),
                         "trades": bars["trades"].astype("Int64"), "single": bars["close"].astype("float32"),
                         "volume": pd.cut(bars["volume"], [0, 9e5, np.inf]), "date": bars.index}, bars.index)


def one_sided_by_fourier(bars):
    """Rounding here depends on the whole table, the sense does not."""
    weights = 0.9 ** np.arange(100)
    return pd.Series(fftconvolve(bars["close"].fillna(0.0), weights)[: len(bars)], bars.index)


OTHER = random_walk(900, seed=8)

CLEAN = {
    "every shipped feature": FeatureSet([LaggedReturns(5), PriceToAverage(5, 10, 20), Volatility(20), RSI(14),
                                         MACD(12, 26, 9), CrossReturn(OTHER)]),
    "expanding z-score": lambda bars: (bars["low"] - bars["low"].expanding().mean()) / bars["low"].expanding().std(),
    "exponential average": lambda bars: bars["close"].ewm(span=20).mean(),
    "last dividend": lambda bars: bars["dividend"].ffill(),
    "rolling": lambda bars: returns(bars).rolling(20).corr(bars["volume"].pct_change(fill_method=None)),
    "rolling rank": lambda bars: bars["close"].rolling(50).rank(pct=True),
    "weekday": lambda bars: pd.Series(bars.index.day_of_week, bars.index),
    "one column a weekday": lambda bars: pd.get_dummies(pd.Series(bars.index.day_of_week, bars.index)),
    "one column a year": lambda bars: pd.get_dummies(pd.Series(bars.index.year, bars.index)),
    "days since the month began": lambda bars: bars.groupby(bars.index.to_period("M")).cumcount(),
    "expanding quantile": lambda bars: returns(bars) > returns(bars).expanding(50).quantile(0.9),
    "recursive state": supertrend_like,
    "recursive filter": lambda bars: pd.Series(lfilter([0.1], [1.0, -0.9], bars["close"]), bars.index),
    "warm-up dropped": lambda bars: pd.DataFrame({"average": bars["close"].rolling(20).mean()}).dropna(),
    "newest row first": lambda bars: returns(bars)[::-1],
    "last complete week": last_complete_week,
    "refitted each year": refitted_each_year,
    "refuses bad bars": refuses_bad_bars,
    "needs sixty bars": needs_sixty_bars,
    "writes into its bars": writes_into_its_bars,
    "numbers, flags, words, intervals, dates": of_many_types,
    "one-sided, by Fourier": one_sided_by_fourier,
    "drawdown so far": lambda bars: bars["close"] / bars["close"].cummax() - 1,
    "explodes now and then": lambda bars: 1 / (bars["close"].round(0) - bars["close"].shift(1).round(0)),
}


# ------------------------------------------------------------------ leaks that no audit of features can see

def precomputed(bars):
    table = returns(bars).shift(-1)
    return lambda given: table.reindex(given.index)


def remembered(bars):
    made = {}
    return lambda given: made.setdefault("all", returns(given).shift(-1)).reindex(given.index)


def scaled_beforehand(bars):
    mean, deviation = returns(bars).mean(), returns(bars).std()
    return lambda given: (returns(given) - mean) / deviation


def chosen_with_hindsight(bars):
    target = returns(bars).shift(-1)
    window = max(range(2, 60), key=lambda window: abs(returns(bars).rolling(window).mean().corr(target)))
    return lambda given: returns(given).rolling(window).mean()


def stamped_too_early(bars):
    close_of_new_york = bars.set_axis(bars.index.shift(-1, freq="D"))  # known tomorrow, stamped today
    return CrossReturn(close_of_new_york)


UNSEEN = {  # name: (bars -> builder, why)
    "precomputed": (precomputed, "the values are in a table of its own, which no change of the bars reaches"),
    "remembered from the first call": (remembered, "later calls give what the first one made from the whole table"),
    "scaled beforehand": (scaled_beforehand, "mean and deviation of everything are constants by now: audit_procedure"),
    "chosen with hindsight": (chosen_with_hindsight, "the window looks like any other constant: audit_procedure"),
    "stamped too early": (stamped_too_early, "the other market's stamps lie, and only its table could tell"),
}
