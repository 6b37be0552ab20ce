"""Exercise to lesson 07, non-stationarity: memories that fade, by steps and by windows, and watches whose alarms count.

Markets are made, with an edge whose sign flips; the last question mends a strategy that knew too much of its own time.
"""

from functools import cache, lru_cache, partial

import numpy as np
import pandas as pd

from mlkit.exercises.comparing import on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question, call, faulty
from mlkit.features import Volatility
from mlkit.labels import next_return
from mlkit.leakage import audit_features
from mlkit.markets import random_walk, regime_switching

LESSON = "07_non_stationarity"

# ---- q1: a memory by steps


def _by_steps(values, step):
    """Each forecast is made before its value is seen, and begins at 0."""
    return values.shift(1, fill_value=0.0).ewm(alpha=step, adjust=False).mean()


def _series(seed):
    rng = np.random.default_rng([71, seed])
    return [(pd.Series(rng.normal(level, 1, n).round(2), pd.bdate_range("2019-01-01", periods=n)), step)
            for n, step, level in ((8, 0.5, 2), (120, 0.05, 1))]


STEPS = Question(
    "q1", reference=_by_steps, cases=_series, points=1,
    keep="Steps of one size let the past fade; a forecast is made before the value it is for, and only then steps.",
    hints=("Two things happen on each bar, in this order: you say a number, and you see what came.",
           "After each value the number goes a share `step` of the way from where it was to that value."),
    mistakes=(
        Mistake("knows what it forecasts",
                "Your number has stepped before it is said: it has seen the value that it is a forecast of.",
                lambda values, step: pd.Series([0.0, *values]).ewm(alpha=step, adjust=False).mean().iloc[1:]
                .set_axis(values.index), also=(lambda values, step: values.ewm(alpha=step, adjust=False).mean(),
                                               lambda values, step: values.ewm(alpha=step).mean())),
        Mistake("forgets nothing",
                "In your answer all values count the same, however old they are. That is what steps do that shrink as "
                "one over the number of values; these do not shrink.",
                lambda values, step: values.expanding().mean().shift(1, fill_value=0.0)),
        Mistake("begins as if it had a past",
                "Your number begins at the first values as if it had known many of them. It begins at 0 and goes the "
                "same share of the way each time.",
                lambda values, step: values.ewm(alpha=step).mean().shift(1, fill_value=0.0),
                also=(lambda values, step: values.ewm(alpha=step, adjust=False).mean().shift(1, fill_value=0.0),
                      lambda values, step: values.ewm(alpha=step, adjust=False).mean().shift(1).bfill(),
                      lambda values, step: values.ewm(alpha=step).mean().shift(1),
                      lambda values, step: values.ewm(alpha=step, adjust=False).mean().shift(1))),
        Mistake("a window in place of steps",
                "A window remembers some values in full and forgets the next at once. Steps forget a little on each "
                "bar.",
                lambda values, step: values.rolling(round(1 / step)).mean().shift(1),
                also=(lambda values, step: values.shift(1, fill_value=0.0).rolling(round(1 / step)).mean(),
                      lambda values, step: values.rolling(round(1 / step), min_periods=1).mean().shift(1).fillna(0))),
        Mistake("adds up, never forgets",
                "You add a share of each value and take nothing away: the number grows with the values. It should go a "
                "share of the way *from where it is*.",
                lambda values, step: (step * values).cumsum().shift(1, fill_value=0.0)),
        Mistake("the other share",
                "You keep the share `step` of the old number and take the rest from the new value: turned round.",
                lambda values, step: _by_steps(values, 1 - step)),
        Mistake("a span for a step",
                "You gave the step to something that asks for a length, a span or a half-life. A step is a share of "
                "the way.",
                lambda values, step: values.shift(1, fill_value=0.0).ewm(span=1 / step, adjust=False).mean(),
                also=tuple(lambda values, step, name=name: values.shift(1, fill_value=0.0)
                           .ewm(**{name: 1 / step}, adjust=False).mean() for name in ("halflife", "com"))),
    ))


# ---- q2: a memory by a window, of what was known


def _lean(bars, memory, wait=2, whole=None, centred=False, lean_only=False, least=None, wait_xx=None, squares=True):
    """The forecast of the next return by the lean of the pairs of the last bars, known or not."""
    x, y = bars["close"].pct_change(), next_return(bars)["label"]
    xy, xx = (x * y).shift(wait), (x * x).shift(wait if wait_xx is None else wait_xx)
    if centred:
        x_known, y_known = x.shift(wait), y.shift(wait)
        lean = x_known.rolling(memory).cov(y_known) / x_known.rolling(memory).var()
    elif whole == "expanding":
        lean = xy.expanding(memory).sum() / xx.expanding(memory).sum()
    elif whole == "all":
        lean = xy.sum() / xx.sum()
    else:
        lean = xy.rolling(memory, least).sum() / (xx.rolling(memory, least).sum() if squares else memory)
    return lean if lean_only else lean * x


def _of_all(bars, memory):
    x, y = bars["close"].pct_change(), next_return(bars)["label"]
    return x * (x * y).sum() / (x * x).sum()


def _worlds(seed):
    rng = np.random.default_rng([72, seed])
    return [(regime_switching(n, int(rng.integers(1e6)), strength=0.3, regime_length=60), memory)
            for n, memory in ((12, 3), (150, 20))]


MEMORY = Question(
    "q2", reference=_lean, cases=_worlds, points=3,
    audit=lambda answer: audit_features(lambda bars: on_index(answer(bars, 9), bars.index), random_walk(60, 7),
                                        n_cuts=1),
    keep="A rolling memory holds the last outcomes that were known, and the last two were not.",
    hints=("A pair is a return and what came of it. By which bar is the outcome of a decision at row 5 known?",
           "Make the pairs first, then shift them to where they are known, then roll.",
           "The outcome is paid from the next open to the one after: at the close of row t, that of row t - 2 is "
           "known."),
    mistakes=(
        Mistake("knows its own outcome",
                "The outcome of the very decision is among the pairs by which you decide it.", partial(_lean, wait=0)),
        Mistake("an outcome not yet known",
                "The last pair of your window has an outcome that is two opens away when you decide: at the close of a "
                "bar the last known one is older than you think.", partial(_lean, wait=1)),
        Mistake("leaves a known pair out", "Your memory is older than it has to be: a later pair was known.",
                partial(_lean, wait=3), also=(partial(_lean, wait=4),)),
        Mistake("forgets nothing",
                "Your memory begins at the first bar and grows. Asked for are the last pairs alone.",
                partial(_lean, whole="expanding")),
        Mistake("one lean for all time",
                "Your lean is that of the whole market, its future included.", partial(_lean, whole="all"),
                also=(partial(_lean, whole="all", wait=0), _of_all)),
        Mistake("takes the means out",
                "You took the means away, as a regression with an intercept does. The plainest model there is goes "
                "through the origin.", partial(_lean, centred=True), also=(partial(_lean, centred=True, wait=0),
                                                                      partial(_lean, centred=True, wait=1))),
        Mistake("too few pairs", "You forecast while fewer pairs are known than you were asked to remember.",
                partial(_lean, least=1)),
        Mistake("two different memories",
                "Your two sums are over different pairs. A pair has one date: that at which its outcome is known.",
                partial(_lean, wait_xx=0), also=(partial(_lean, wait_xx=1),)),
        Mistake("not over the squares",
                "That grows with how much the market moves. A lean is relative to it: divide by the sum of the "
                "squares.",
                partial(_lean, squares=False),
                also=(lambda bars, memory: memory * _lean(bars, memory, squares=False),)),
        Mistake("a direction, not a forecast", "That is only the direction. Asked for is how much.",
                lambda bars, memory: np.sign(_lean(bars, memory))),
        Mistake("the lean, not the forecast",
                "That is how much a return leans on the one before. The forecast is what it says of the return of this "
                "bar.",
                partial(_lean, lean_only=True)),
    ))


# ---- q3: the population stability index


def _index(reference, now, edges="reference", form="both", log=np.log, shares=True, ends="open"):
    reference, now = np.asarray(reference), np.asarray(now)
    cuts = {"reference": lambda: np.quantile(reference, np.linspace(0, 1, 11)),
            "now": lambda: np.quantile(now, np.linspace(0, 1, 11)),
            "both": lambda: np.quantile(np.append(reference, now), np.linspace(0, 1, 11)),
            "width": lambda: np.linspace(reference.min(), reference.max(), 11)}[edges]()
    if ends == "open":
        cuts = np.append(-np.inf, np.append(cuts[1:-1], np.inf))
    then_n, now_n = np.histogram(reference, cuts)[0], np.histogram(now, cuts)[0]
    then, new = (then_n / len(reference), now_n / len(now)) if shares else (then_n, now_n)
    if ends == "lost":
        new = now_n / now_n.sum()
    with np.errstate(all="ignore"):
        ratio = log(new / then)
        parts = {"both": (new - then) * ratio, "now": new * ratio, "then": -then * ratio,
                 "chi": (new - then) ** 2 / then, "size": np.abs(new - then)}[form]
    return float(parts.sum())


def _samples(seed):
    rng, cases = np.random.default_rng([73, seed]), []
    for n_then, n_now, shift, wider in ((60, 60, 0.4, 1.1), (400, 250, 0.3, 1.2), (600, 250, 0.0, 1.4)):
        while True:
            then, now = rng.normal(0, 1, n_then), rng.normal(shift, wider, n_now)
            tenths = np.searchsorted(np.quantile(then, np.linspace(0.1, 0.9, 9)), now)
            if np.bincount(tenths, minlength=10).min() > 1 and now.max() > then.max():
                break
        cases.append((pd.Series(then), pd.Series(now)))
    return cases


SHIFT = Question(
    "q3", reference=_index, cases=_samples,
    keep="The reference says what is usual: it cuts the tenths, and the new values fall where they fall.",
    hints=("Which values decide where the tenths end, and how many of the new ones may lie outside them?",
           "Nine cuts make ten parts, of which the first and the last have no end.",
           "In each part: the share now, the share then, and both enter twice."),
    mistakes=(
        Mistake("cut by the new values",
                "Your tenths are those of the new values, so they fill them evenly whatever has changed.",
                partial(_index, edges="now"), also=(partial(_index, edges="both"),)),
        Mistake("parts of equal width",
                "Your parts are equally wide, not equally full: the outer ones hold next to nothing, and what happens "
                "there is chance.", partial(_index, edges="width"), also=(partial(_index, edges="width", ends="closed"),
                                                                       partial(_index, edges="width", ends="lost"))),
        Mistake("what was never seen is left out",
                "New values outside of all that was seen before fall into none of your parts. They are the strongest "
                "sign of a change: the outer parts have no end.",
                partial(_index, ends="closed"), also=(partial(_index, ends="lost"),)),
        Mistake("one half of it",
                "You weigh the logarithms with one of the shares. The index weighs them with the difference of the "
                "two.",
                partial(_index, form="now"), also=(partial(_index, form="then"),)),
        Mistake("without the logarithm",
                "Differences alone are another index: this one multiplies each by the logarithm of a ratio.",
                partial(_index, form="chi"), also=(partial(_index, form="size"),)),
        Mistake("counts, not shares", "You compare counts. A larger sample would have changed by being larger.",
                partial(_index, shares=False)),
        Mistake("another logarithm", "Your logarithm is not the natural one.", partial(_index, log=np.log10),
                also=(partial(_index, log=np.log2),)),
        Mistake("an average of the parts", "You averaged over the ten parts. The index adds them up.",
                lambda reference, now: _index(reference, now) / 10),
        Mistake("turned round", "An index of change is above 0. In yours one of the two differences is turned round.",
                lambda reference, now: -_index(reference, now)),
    ))


# ---- q4: a CUSUM


def _cusum(right, rate, allowance, better=1, floor=True):
    """Sums of how far each bar was worse than usual less an allowance, never below 0."""
    sums, total = [], 0.0
    for worse in better * (rate - right) - allowance:
        total = max(0.0, total + worse) if floor else total + worse
        sums.append(total)
    return pd.Series(sums, right.index)


def _hits(seed):
    rng = np.random.default_rng([74, seed])
    by_hand = rng.permutation([1.0, 1, 1, 0, 0, 0, 1, 0])
    return [(pd.Series(each, pd.bdate_range("2020-01-01", periods=len(each))), rate, allowance)
            for each, rate, allowance in ((by_hand, 0.6, 0.1), ((rng.random(200) < 0.53).astype(float), 0.56, 0.04))]


CUSUM = Question(
    "q4", reference=_cusum, cases=_hits,
    keep="A CUSUM forgets good times at once and adds bad ones up: what went well before buys no patience.",
    hints=("Take four bars by hand: right, right, wrong, wrong, at a rate of 0.6 and an allowance of 0.1.",
           "On each bar the sum of the bar before changes, and where that would lead below 0 it is 0."),
    mistakes=(
        Mistake("never back to zero",
                "Your sum falls without end while all goes well, and has to climb back before it can warn. A year of "
                "good luck would hide a year of losses.", partial(_cusum, floor=False)),
        Mistake("cut off afterwards",
                "You add all up and then cut off what lies below 0. The sum itself has to stay at 0 and begin again "
                "from there.",
                lambda right, rate, allowance: _cusum(right, rate, allowance, floor=False).clip(lower=0)),
        Mistake("warns when it gets better",
                "Your sum rises when the model is right. It is to rise when it is wrong more often than usual.",
                partial(_cusum, better=-1)),
        Mistake("allowance forgotten",
                "Without the allowance the sum creeps up though nothing has changed: the steps are 0 on average, and "
                "what would take the sum below 0 is cut off.", lambda right, rate, allowance: _cusum(right, rate, 0.0)),
        Mistake("allowance added",
                "Your allowance makes the sum rise on each bar. It is what a bar may be worse without being counted.",
                lambda right, rate, allowance: _cusum(right, rate, -allowance)),
        Mistake("the usual rate",
                "You do not compare with what is usual: a bar is worse by the rate of hits less what it was, 1 or 0.",
                lambda right, rate, allowance: _cusum(right, 1.0, allowance),
                also=(lambda right, rate, allowance: _cusum(right, 1 - rate, allowance),)),
        Mistake("better bars count as none",
                "A bar that is better than usual leaves your sum as it is. It takes from it, though never below 0.",
                lambda right, rate, allowance: (rate - right - allowance).clip(lower=0).cumsum()),
        Mistake("single bars, not sums",
                "That is how bad each bar is by itself. One bar tells next to nothing: add them up.",
                lambda right, rate, allowance: (rate - right - allowance).clip(lower=0),
                also=(lambda right, rate, allowance: rate - right - allowance,)),
        Mistake("a bar behind", "Your sum of a bar does not hold that bar, only those before it.",
                lambda right, rate, allowance: _cusum(right, rate, allowance).shift(1, fill_value=0.0),
                also=(lambda right, rate, allowance: _cusum(right, rate, allowance).shift(1),)),
    ))


# ---- q5: alarms and chance

ALARMS = Choice(
    "q5", keep="Before you count alarms, work out how many chance would give.",
    hints=("How many false alarms does one detector give in so many bars, if nothing changes? And how many do six?",),
    options={
        "a": Option("That the market changed fourteen times, so the model has to be fitted again after each of them.",
                    "Twelve alarms are what you would expect if nothing ever changed. To refit after each would be to "
                    "dance to the noise.", "takes every alarm for news"),
        "b": Option("Nothing that chance does not explain: it would give about twelve, and fourteen is no rare number "
                    "then.",
                    "5,000 bars over a run length of 2,500 are two for each detector, and there are six."),
        "c": Option("That the model is still as good as it was: with so few alarms in 5,000 bars nothing can have "
                    "happened.",
                    "A fall of the hit rate by a few points would most likely not have been seen. No news is not good "
                    "news.",
                    "silence taken for proof"),
        "d": Option("That something changed, as one false alarm in 2,500 bars would make two in 5,000, and not "
                    "fourteen.",
                    "Two are due to each detector, and you have six of them, each with false alarms of its own.",
                    "forgets how many watch"),
    })


# ---- q6: a memory chosen honestly

MEMORIES = (10, 20, 40, 80)


def _by_memory(bars, wait=2):
    """Forecasts by each memory, and whether they were right (NaN where there is none): two arrays (rows, memories)."""
    return _of_prices(bars["open"].to_numpy().tobytes(), bars["close"].to_numpy().tobytes(), wait)


@lru_cache(maxsize=50)
def _of_prices(opens: bytes, closes: bytes, wait: int) -> tuple:
    """Worked out once for a market, as many mistakes begin with it."""
    open_, x = np.frombuffer(opens), pd.Series(np.frombuffer(closes)).pct_change()
    y = pd.Series(open_).pct_change().shift(-2)
    made = np.column_stack([x * (x * y).shift(wait).rolling(memory).sum() for memory in MEMORIES])
    known = ~np.isnan(made) & y.notna().to_numpy()[:, None]
    return made, np.where(known, (made > 0) == (y.to_numpy()[:, None] > 0), np.nan)


def _judged(n, half, way):
    """Rows by which a memory is chosen."""
    row = np.arange(n)
    return {"known": row <= half - 2, "a bar early": row < half, "through": row <= half, "all": row >= 0,
            "second half": row >= half}[way]


def _forecasts(bars, middle, wait=2, chosen="known", calm="so far", given="second half"):
    """Forecasts from the middle on, by the memory chosen at it, on calm days; the defaults are honest."""
    half = bars.index.get_loc(middle)
    made, right = _by_memory(bars, wait)
    volatility = Volatility(20)(bars).iloc[:, 0]
    usual = {"so far": lambda: volatility.expanding().median(), "all": lambda: volatility.median(),
             "first half": lambda: volatility.iloc[:half].median(), "never": lambda: np.inf}[calm]()
    best = (MEMORIES.index(chosen) if chosen in MEMORIES else
            np.nanmean(right[_judged(len(bars), half, chosen)], axis=0).argmax())
    forecast = pd.Series(made[:, best], bars.index).where(volatility < usual)
    return forecast.iloc[half:] if given == "second half" else forecast


def _second_half(answer, bars, middle):
    """The forecasts from the middle on; an answer may have NaN before it."""
    made = on_index(call(answer, bars, middle), bars.index)
    half = bars.index.get_loc(middle)
    if isinstance(made, pd.Series) and len(made) == len(bars) and made.iloc[:half].isna().all():
        return made.iloc[half:]
    return made


@cache
def _times(seed):
    """Worlds, and middles of them, at which another way to choose ends with another memory, and without ties."""
    rng, found = np.random.default_rng([76, seed]), {}
    ways = ("all", "second half", "a bar early", "through")
    while len(found) < len(ways):
        n = int(rng.integers(200, 300))
        bars = regime_switching(n, int(rng.integers(1e6)), strength=0.3, regime_length=80).drop(columns="regime")
        right = _by_memory(bars)[1]
        for half in rng.permutation(np.arange(n // 2 - 15, n // 2 + 15)):
            shares = [np.nanmean(right[_judged(n, half, way)], axis=0) for way in ("known", *ways)]
            best = [np.flatnonzero(share > share.max() - 1e-9).tolist() for share in shares]
            for way, other in zip(ways, best[1:]):
                if len(best[0]) == len(other) == 1 and best[0] != other:
                    found.setdefault(way, (bars, bars.index[half], best))
        if len(found) == len(ways) and any(each.count(each[0]) == len(each) for each in zip(*(
                case[2] for case in found.values()))):
            found.clear()  # some way to choose ends with the same memory in all of them
    return sorted((case[:2] for case in found.values()), key=lambda case: len(case[0]))


_with_fault = partial(faulty, _forecasts, {"wait": (2, 0, 1), "chosen": ("known", "all", "a bar early", "through"),
                                            "calm": ("so far", "all", "first half"), "given": ("second half", "all")})


def _audit(answer):
    bars = regime_switching(150, 5, strength=0.3).drop(columns="regime")
    middle = bars.index[100]

    def forecasts(part):
        return on_index(on_index(answer(part, middle), part.index[part.index >= middle]), part.index)

    return audit_features(forecasts, bars, n_cuts=1)


HONEST = Question(
    "q6", reference=_forecasts, cases=_times, run=_second_half, audit=_audit, points=4, tolerance=1e-11,
    keep="What adapts to its time may know its time's past alone: each outcome, each setting and each threshold has a "
    "date.",
    hints=("Three lines know something that nobody knew on the day: what, and since when was it known?",
           "An outcome of row s is known at the open of row s + 2.",
           "A memory that is used from the middle on has to be chosen by outcomes known at the middle.",
           "The median of a volatility so far: `expanding()`."),
    mistakes=(
        Mistake("outcomes not yet known",
                "Your sums hold outcomes that were not known on the day: the last two rows before a decision are still "
                "open.", also=_with_fault(wait=(0, 1))),
        Mistake("memory chosen with hindsight",
                "The memory is the one that did best on the very days you hand on. Choosing is a fit.",
                also=_with_fault(chosen=("all", "second half"))),
        Mistake("chosen by an outcome not yet known",
                "You choose by rows whose outcome was not known at the close of the middle row.",
                also=_with_fault(chosen=("a bar early", "through"))),
        Mistake("no memory is chosen", "Your memory is the same in each world. Let the first half choose it.",
                also=_with_fault(chosen=MEMORIES)),
        Mistake("calm by hindsight",
                "Your median is that of all days. Whether a day is calm is told by days that come after it.",
                also=_with_fault(calm=("all",))),
        Mistake("calm as in the first half",
                "Your median stands still at the middle. It is the median of all days up to each one, that day "
                "included.",
                also=_with_fault(calm=("first half",))),
        Mistake("trades wild days too", "You forecast on all days. Asked for are the calm ones, and NaN on the others.",
                also=_with_fault(calm=("never",))),
        Mistake("hands on the days it chose by",
                "The days by which you chose are among your forecasts. Their score would be the one you chose by.",
                also=_with_fault(given=("all",))),
    ))

QUESTIONS = [STEPS, MEMORY, SHIFT, CUSUM, ALARMS, HONEST]
