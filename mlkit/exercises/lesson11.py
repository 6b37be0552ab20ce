"""Exercise to lesson 11, the capstone: the conditions of a report, one by one, and a judge who has to be judged.

The last question takes any way to decide, and lets it decide in worlds whose truth is known.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mlkit.exercises.questions import Choice, Mistake, Option, Question, is_blank
from mlkit.markets import random_walk
from mlkit.overfitting import deflated_sharpe

LESSON = "11_capstone"
PRICES = ["open", "high", "low", "close"]


# ---- q1: the bars first


def _bad_days(bars, missing=True, positive=True, inside=True, order=True, facts=()):
    prices, stamps = bars[PRICES], pd.Series(bars.index)
    bad = np.zeros(len(bars), dtype=bool)
    if missing:
        bad |= prices.isna().any(axis=1).to_numpy()
    if positive:
        bad |= (prices <= 0).any(axis=1).to_numpy()
    outside = (bars["high"] < prices.max(axis=1)) | (bars["low"] > prices.min(axis=1))
    bad |= (outside if inside else bars["high"] < bars["low"]).to_numpy()
    if order:
        bad |= (stamps <= stamps.cummax().shift(1)).to_numpy()
    if "move" in facts:
        bad |= (bars["close"].pct_change(fill_method=None).abs() > 0.3).to_numpy()
    if "volume" in facts:
        bad |= (bars["volume"] == 0).to_numpy()
    return set(bars.index[bad])


def _faulty(n, seed, at):
    """Bars with a fault of each kind, and with facts that are none; `at` : where, eight rows."""
    bars, column = random_walk(n, seed), {name: number for number, name in enumerate([*PRICES, "volume"])}
    bars.iloc[at[0] :, :4] *= 1.5  # a wild day, and no fault
    bars.iloc[at[1], column["volume"]] = 0.0
    bars.iloc[at[2], column["low"]] = np.nan
    bars.iloc[at[3], column["high"]] = bars[["open", "low"]].iloc[at[3]].mean()
    bars.iloc[at[4], column["open"]] = bars.iloc[at[4], column["low"]] = 0.0
    bars.iloc[at[5], column["high"]], bars.iloc[at[5], column["low"]] = bars.iloc[at[5]][["low", "high"]] * [0.99, 1.01]
    stamps = list(bars.index)
    stamps[at[6]], stamps[at[6] + 1] = stamps[at[6] + 1], stamps[at[6]]
    stamps[at[7]] = stamps[at[7] - 1]
    return bars.set_axis(pd.DatetimeIndex(stamps, name="timestamp"))


def _files(seed):
    rng = np.random.default_rng([1, seed])
    return [(_faulty(16, seed + 2, [2, 3, 7, 5, 8, 9, 11, 14]),),
            (_faulty(90, seed + 3, rng.choice(range(5, 85, 4), 8, replace=False)),)]


BAD_DAYS = Question(
    "q1", reference=_bad_days, cases=_files, points=1,
    keep="A fault is what cannot be, and is refused; a wild day or one without trade is a fact, and has to be lived "
         "with.",
    hints=("Go through the rules one by one: what is missing, what is not positive, what lies outside, what comes too "
           "late.",
           "The high is the highest of the four. So which comparisons are there to make?"),
    mistakes=(
        Mistake("looks for gaps alone", "What is missing is the fault that shows by itself. A price that is there and "
                "cannot be does more harm, as everything is worked out from it.",
                lambda bars: set(bars.index[bars[PRICES].isna().any(axis=1)]),
                also=(lambda bars: set(bars.index[bars.isna().any(axis=1)]),)),
        Mistake("calls a fact a fault", "A wild day happened, and so did one on which nobody traded. Whoever takes "
                "them out tests on a market that never was.", lambda bars: _bad_days(bars, facts=("move", "volume")),
                also=(lambda bars: _bad_days(bars, facts=("move",)), lambda bars: _bad_days(bars, facts=("volume",)))),
        Mistake("forgets the order of time", "A bar that comes twice, or after a later one, is a fault of the file: "
                "whatever counts rows counts wrong from there on.", lambda bars: _bad_days(bars, order=False),
                also=(lambda bars: _bad_days(bars, order=False) | set(bars.index[bars.index.duplicated()]),)),
        Mistake("high against low alone", "A high may be above the low and still below the open. It is to be the "
                "highest of the four.",
                lambda bars: _bad_days(bars, inside=False)),
        Mistake("takes zero for a price", "Somebody writes 0 for what is not known. A return from there is infinite.",
                lambda bars: _bad_days(bars, positive=False),
                also=(lambda bars: _bad_days(bars, positive=False) | set(bars.index[(bars[PRICES] < 0).any(axis=1)]),)),
        Mistake("lets gaps pass", "A comparison with a gap is False, so a price that is missing passes every test of "
                "this kind.",
                lambda bars: _bad_days(bars, missing=False)),
    ))


# ---- q2: does it know something?


def _right(calls, name):
    return ((calls[name] > 0.5) == (calls["rose"] == 1)).mean()


def _share(calls, answer):
    return (calls["rose"] == answer).mean()


def _ahead(calls):
    return float(100 * (_right(calls, "probability") - max(0.5, _right(calls, "naive"))))


def _tables(seed):
    rng = np.random.default_rng([2, seed])
    tables = []
    for n, rises, naive, skill in ((10, 0.7, 0.55, 0.3), (200, 0.6, 0.54, 0.1), (200, 0.4, 0.53, 0.15)):
        rose = (rng.random(n) < rises).astype(float)
        rose[:3] = 1.0, 0.0, 1.0
        said = 0.52 + skill * (rose - 0.5) + rng.normal(0, 0.12, n)
        known = naive + rng.normal(0, 0.01, n).round(3)  # mostly above one half
        known[: n // 5] = 0.48
        tables.append((pd.DataFrame({"probability": said.clip(0.01, 0.99), "naive": known, "rose": rose},
                                    pd.bdate_range("2012-01-02", periods=n)),))
    return tables


AHEAD = Question(
    "q2", reference=_ahead, cases=_tables,
    keep="To be right more often than a coin is no skill where the market mostly rises: the rival is the better of "
         "coin and naive forecast.",
    hints=("How often was the naive forecast right, called in the same way as the model?", "Who is the rival where the "
           "naive forecast is worse than a coin?"),
    mistakes=(
        Mistake("against a coin alone", "Where the market mostly rises, whoever always says rise beats a coin, and "
                "knows nothing.",
                lambda calls: 100 * (_right(calls, "probability") - 0.5)),
        Mistake("against the naive forecast alone", "The naive forecast may be worse than a coin, where the market has "
                "changed since. To beat it there is easy.",
                lambda calls: 100 * (_right(calls, "probability") - _right(calls, "naive"))),
        Mistake("a rival who knows the test", "You took the direction that was commoner in the test. Nobody knew that "
                "before: the naive forecast is the one from training.",
                lambda calls: 100 * (_right(calls, "probability") - max(_share(calls, 1), _share(calls, 0)))),
        Mistake("parts for points", "The question was for points, of which a hundred are all.",
                lambda calls: _ahead(calls) / 100),
        Mistake("right about rises alone", "You looked at the days on which a rise was called. To say no at the right "
                "time is knowledge too.", lambda calls: 100 * (calls["rose"][calls["probability"] > 0.5].mean() - max(
                    0.5, calls["rose"][calls["naive"] > 0.5].mean()))),
    ))


# ---- q3: does it beat what is simpler?


def _lead(returns, common=True, out=True, best=max, year=np.sqrt(252), rivals=None):
    if common:
        returns = returns.dropna()
    sharpe = year * returns.mean() / returns.std()
    others = list(sharpe.drop("strategy") if rivals is None else sharpe[rivals]) + [0.0] * out
    return float(sharpe["strategy"] - best(others))


def _accounts(seed):
    rng = np.random.default_rng([3, seed])
    tables = []
    for n, means in ((8, (0.004, 0.002, -0.001)), (250, (0.0009, 0.0012, 0.0004)), (250, (0.0003, 0.0, 0.001)),
                     (250, (-0.001, -0.002, -0.0015))):
        drawn = rng.normal(0, 1, (n, 3))
        drawn -= drawn.mean(axis=0) * 0.9  # so that the means below decide
        table = pd.DataFrame(0.01 * drawn + means, pd.bdate_range("2013-01-01", periods=n),
                             ["strategy", "mean reversion", "buy & hold"])
        table.iloc[: n // 4, 0] = np.nan  # it has to learn first
        table.iloc[: n // 8, 1] = np.nan
        tables.append((table,))
    return tables


LEAD = Question(
    "q3", reference=_lead, cases=_accounts,
    keep="The rival is the best of what is simpler, on the same days, and to stay out is the simplest of all.",
    hints=("On which days do all of them have a return?", "A rival that loses money is beaten by somebody who does "
           "nothing at all."),
    mistakes=(
        Mistake("forgets that one may stay out", "Where every rival loses, to lose less than they do is no feat: who "
                "keeps the money in the pocket has a ratio of 0.", lambda returns: _lead(returns, out=False)),
        Mistake("each on its own days", "The rivals' ratios hold days on which the strategy was still learning. Other "
                "days are another market.", lambda returns: _lead(returns, common=False)),
        Mistake("buy & hold alone", "The other rule needs no model either. The rival is whoever of them did best.",
                lambda returns: _lead(returns, rivals=["buy & hold"]), also=(lambda returns: _lead(
                    returns, rivals=["buy & hold"], out=False),)),
        Mistake("the average rival", "Half of the rivals are better than their average. The one to beat is the best.",
                lambda returns: _lead(returns, out=False, best=np.mean),
                also=(lambda returns: _lead(returns, best=np.mean),)),
        Mistake("a ratio of a day", "That is the lead of daily ratios; asked was for ratios of a year.",
                lambda returns: _lead(returns, year=1.0)),
        Mistake("the wrong root of time", "A mean grows with time and a deviation with its root. So with what does "
                "their ratio grow?",
                lambda returns: _lead(returns, year=252.0)),
    ))


# ---- q4: is it steady?


def _steady(returns, gain=lambda each: (1 + each).prod() - 1, stumps=False, half=False, best=True):
    years = returns.groupby(returns.index.year)
    made, bars = years.apply(gain), years.size()
    if len(made) < 2:
        raise ValueError("a single year has no best one to be taken away")
    full = made if stumps else made[bars >= bars.max() / 2]
    gained = (full > 0).sum()
    most = 2 * gained >= len(full) if half else 2 * gained > len(full)
    rest = returns[returns.index.year != full.idxmax()]
    return bool(gain(returns) > 0 and most and (gain(rest) > 0 or not best))


def _years(rng, *made):
    """Daily returns whose years make so much, each of (return, deviation a day, bars)."""
    parts = []
    for number, (total, deviation, n) in enumerate(made):
        days = pd.bdate_range(f"{2001 + number}-01-01", periods=n)
        logs = rng.normal(0, deviation, n)
        parts.append(pd.Series(np.expm1(logs - logs.mean() + np.log1p(total) / n), days))
    return pd.concat(parts)


def _histories(seed):
    rng = np.random.default_rng([4, seed])
    shift = rng.uniform(0, 0.01)

    def history(*totals, deviation=0.002):
        return _years(rng, *((total + shift, deviation, 240) for total in totals))

    stump = _years(rng, (0.2 + shift, 0.002, 240), (-0.05, 0.002, 240), (0.1, 0.002, 240), (-0.03, 0.002, 240),
                   (0.04, 0.002, 30))
    wild = _years(rng, (-0.05, 0.06, 240), (0.1, 0.002, 240), (-0.04, 0.05, 240), (0.3, 0.002, 240), (-0.1, 0.06, 240))
    few_wins = _rare(rng, shift)
    return [(history(0.1, 0.05, -0.04),), (history(0.1, 0.2, -0.02, -0.03),), (stump,),
            (history(0.02, 0.5, 0.01, -0.1, -0.12),), (wild,), (few_wins,), (history(0.02, -0.2, 0.01, 0.03),)]


def _rare(rng, shift):
    """Years that gain by a large day now and then: mostly losing days."""
    series = _years(rng, *((0.0, 1e-4, 240) for _ in range(3)))
    return series - 0.0005 + np.where(np.arange(len(series)) % 8 == 0, 0.006 + shift / 10, 0.0)


STEADY = Question(
    "q4", reference=_steady, cases=_histories,
    keep="A profit that one year made is hardly more than one observation: take the best year away and look again.",
    hints=("Work out what each calendar year made, as a fraction of what there was at its beginning.",
           "A year with few bars is no year. Compare its bars with those of the fullest."),
    mistakes=(
        Mistake("adds what multiplies", "Returns of days do not add: after a loss of a half it takes a gain of all "
                "there is. The wilder a year, the more its sum flatters it.",
                lambda returns: _steady(returns, gain=lambda each: each.sum())),
        Mistake("counts the stumps", "A year of which there are a few weeks is counted like a whole one, and decides "
                "the vote.",
                lambda returns: _steady(returns, stumps=True)),
        Mistake("half is not most", "Half of the years is what a coin gains.",
                lambda returns: _steady(returns, half=True)),
        Mistake("one year made it all", "Without its best year it gains nothing, and you call it steady.",
                lambda returns: _steady(returns, best=False)),
        Mistake("counts days, not years", "How many days gain says little: many small ones may be undone by a few "
                "large ones, or the other way round.", lambda returns: bool((returns > 0).mean() > 0.5)),
        Mistake("looks at the end alone", "It ends with a gain. On the way most years lost, or one made it all.",
                lambda returns: bool((1 + returns).prod() > 1)),
    ))


# ---- q5: what "not worth it" says

SAYS = Choice(
    "q5",
    keep="Not worth it does not mean that there is nothing: nothing was shown that pays, and the burden is on what is "
         "complex.",
    hints=("Which values of the true edge are inside the intervals?",),
    options={
        "a": Option("The model knows nothing about this market.",
                    "The intervals hold 0, and they hold 2 points as well. An edge that is real and small looks just "
                    "so on so many bars.",
                    "takes silence for a proof"),
        "b": Option("Nothing was shown that pays: there may be an edge, too small to be seen on so many bars.",
                    "That is a weaker sentence, and it is the one that the figures allow. It is enough to act on: what "
                    "is complex stays out."),
        "c": Option("The model is the better one, if only by a little: it is ahead in both comparisons.",
                    "One of two equals is always ahead. The interval says how far luck takes it, and that is further "
                    "than this.",
                    "any lead will do"),
        "d": Option("The report is too strict for this market: loosen the condition that it just misses.",
                    "A condition that is changed after the result is an opinion about the result. Then it will hold "
                    "for the next one that knows nothing.", "moves the bar"),
    })


# ---- q6: a judge of your own

DAYS = pd.bdate_range("2008-01-01", "2017-12-29")
WORLDS = 8
QUANTILES = (np.arange(WORLDS) + 0.5) / WORLDS
LUCK, BEST = ndtri(QUANTILES), ndtri(QUANTILES ** (1 / 40))  # what one account shows by luck, and the best of forty
# How far the strategy's mean and its rival's are from 0, in standard errors; what they share of their luck; how many
# were tried.
KINDS = {
    "nothing to know": (LUCK, LUCK[::-1], 0.3, 1), "the best of forty": (BEST, -1.5, 0.0, 40),
    "a true edge": (6.0, 1.0, 0.3, 5), "a rival does better": (4.0, 6.5, 0.6, 5),
    "hardly ahead of its rival": (4.2, 3.6, 0.5, 2), "a loser beside a worse one": (-1.0, -6.0, 0.3, 2),
    "one good year": (4.0, 0.0, 0.0, 1)}


@cache
def _worlds(seed):
    """Kind -> accounts: (returns, returns of the rival, how many were tried) of each."""
    rng, made = np.random.default_rng([70, seed]), {}
    for kind, (edge, rival, shared, tried) in KINDS.items():
        pairs = zip(np.broadcast_to(edge, WORLDS), np.broadcast_to(rival, WORLDS))
        made[kind] = [(*_pair(rng, *errors, shared, kind == "one good year"), tried) for errors in pairs]
    return made


def _pair(rng, edge, rival, shared, in_one_year):
    n, luck = len(DAYS), rng.normal(size=len(DAYS))
    both = [np.sqrt(shared) * luck + np.sqrt(1 - shared) * rng.normal(size=n) for _ in range(2)]
    one, other = ((each - each.mean()) / each.std(ddof=1) + errors / np.sqrt(n)
                  for each, errors in zip(both, (0.0 if in_one_year else edge, rival)))
    if in_one_year:
        year = rng.integers(2009, 2017)
        good = DAYS.year == year
        one = one - pd.Series(one, DAYS).groupby(DAYS.year).transform("mean").to_numpy() - 0.02
        one[good] += 0.02 * n / good.sum() + edge * np.sqrt(n) / good.sum()
    return pd.Series(0.01 * one, DAYS), pd.Series(0.01 * other, DAYS)


def _answers(answer, _, seed):
    """Kind of world -> what the judge mostly says there."""
    verdicts = {kind: [answer(returns.copy(), rival.copy(), tried) for returns, rival, tried in accounts]
                for kind, accounts in _worlds(seed).items()}
    if all(is_blank(each) for said in verdicts.values() for each in said):
        return None
    yes = {kind: sum(map(bool, said)) for kind, said in verdicts.items()}
    return {kind: "yes" if count >= WORLDS - 1 else "no" if count <= 1 else "now yes, now no"
            for kind, count in yes.items()}


def _judge(returns, rival, tried):
    n, steady = len(returns), (returns - returns.mean()) / returns.std(ddof=0)
    luck = deflated_sharpe(returns.mean() / returns.std(), n, n_trials=tried, variance=1 / n,
                           skew=(steady**3).mean(), kurtosis=(steady**4).mean())
    ahead = returns / returns.std() - rival / rival.std()
    return bool(luck > 0.95 and ahead.mean() > 1.96 * ahead.std() / np.sqrt(n) and _steady(returns))


def _not(kind, answer="no"):
    return lambda given, expected: given[0][kind] != answer


JUDGE = Question(
    "q6", reference=_judge, cases=lambda seed: [("worlds drawn with seed", seed)], run=_answers, points=3,
    keep="Judge the judge where the truth is known: one that always says no is as useless as one that always says yes.",
    hints=("Each world asks for one condition of the report. Write down which, and begin with that of luck.",
           "`deflated_sharpe` takes a ratio of a day and how many were tried; the variance of ratios without an edge "
           "is 1 over the number of days.",
           "For the rival take the daily difference, each at its own volatility, and ask how surely its mean is above "
           "0."),
    mistakes=(
        Mistake("always says yes", "Whatever it is shown, it is worth it. What would have to happen for it to say no?",
                when=lambda given, expected: set(given[0].values()) == {"yes"}),
        Mistake("hardly ever says yes", "A ratio of two a year over ten years, far ahead of its rival and in every "
                "year, and your judge sends it home. Who asks for too much hears of nothing.",
                when=_not("a true edge", "yes")),
        Mistake("any gain is enough", "Where there is nothing to know, half of all accounts gain. Is the gain larger "
                "than luck makes it?",
                when=_not("nothing to know")),
        Mistake("does not count the tries", "You were shown the best of forty that know nothing, and took it for one. "
                "Luck tries as often as you do.", when=_not("the best of forty")),
        Mistake("does not look at the rival", "It is surely better than nothing, and surely worse than what needs no "
                "model.",
                when=_not("a rival does better")),
        Mistake("any lead will do", "Strategy and rival are about equally good, and one of two equals is always ahead. "
                "Ask for the end of the interval of their difference.", when=_not("hardly ahead of its rival")),
        Mistake("wins against a loser", "It loses money, only less than its rival does. Who stays out has more than "
                "both.",
                when=_not("a loser beside a worse one")),
        Mistake("one good year", "All of the gain came in one year out of ten, and each of the others lost. That is "
                "one observation.",
                when=_not("one good year")),
    ))

QUESTIONS = [BAD_DAYS, AHEAD, LEAD, STEADY, SAYS, JUDGE]
