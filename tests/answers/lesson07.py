"""Answers to exercise 07, as learners would write them."""

import numpy as np
import pandas as pd

from mlkit import Volatility, next_return

RIGHT, WRONG = {}, {}

# ---- q1


def with_weights(values, step):
    """Each forecast as a weighted sum of all that came before."""
    values = np.asarray(values)
    return [float(np.sum(step * (1 - step) ** np.arange(row)[::-1] * values[:row])) for row in range(len(values))]


def stepped(values, step, first=0.0, says_after=False, shrinks=False, keeps=1.0):
    """Number by number."""
    number, said = first, []
    for row, value in enumerate(values):
        before = number
        number = keeps * number + (1 / (row + 1) if shrinks else step) * (value - keeps * number)
        said.append(number if says_after else before)
    return pd.Series(said, values.index)


RIGHT["q1"] = [with_weights, stepped,
               lambda values, step: pd.Series([0.0, *values[:-1]], values.index).ewm(alpha=step, adjust=False).mean()]
WRONG["q1"] = {
    "knows what it forecasts": [lambda values, step: stepped(values, step, says_after=True),
                                lambda values, step: values.ewm(alpha=step, adjust=False).mean()],
    "forgets nothing": [lambda values, step: stepped(values, step, shrinks=True),
                        lambda values, step: values.expanding().mean().shift().fillna(0)],
    "begins as if it had a past": [lambda values, step: values.ewm(alpha=step, adjust=False).mean().shift().fillna(0),
                                   lambda values, step: values.ewm(alpha=step).mean().shift().fillna(0),
                                   lambda values, step: stepped(values, step, first=values.iloc[0])],
    "a window in place of steps": lambda values, step: values.rolling(int(1 / step)).mean().shift(),
    "adds up, never forgets": lambda values, step: (values * step).cumsum().shift().fillna(0),
    "the other share": lambda values, step: stepped(values, 1 - step),
    "a span for a step": [lambda values, step: values.shift(fill_value=0.0).ewm(span=1 / step, adjust=False).mean(),
                          lambda values, step: values.shift().fillna(0).ewm(halflife=1 / step, adjust=False).mean()],
}

# ---- q2


def fitted_at_each_bar(bars, memory):
    """Least squares through the origin, on the last pairs that are known."""
    x, y = bars["close"].pct_change().to_numpy(), next_return(bars)["label"].to_numpy()
    said = np.full(len(bars), np.nan)
    for row in range(memory + 2, len(bars)):
        known = slice(row - 1 - memory, row - 1)
        said[row] = np.linalg.lstsq(x[known, None], y[known])[0][0] * x[row]
    return said


def from_opens(bars, memory):
    """Without labels: what the open of this bar over that of the last one was the outcome of."""
    outcome = bars["open"].pct_change()
    x = bars["close"].pct_change()
    decided = x.shift(2)
    return (decided * outcome).rolling(memory).sum() / (decided**2).rolling(memory).sum() * x


def products(bars):
    return bars["close"].pct_change().shift(2) * bars["open"].pct_change()


def leaning(bars, memory, wait, window=None):
    x, y = bars["close"].pct_change(), next_return(bars)["label"]
    product, square = (x * y).shift(wait), (x**2).shift(wait)
    if window == "expanding":
        return x * product.expanding(memory).sum() / square.expanding(memory).sum()
    return x * product.rolling(memory).mean() / square.rolling(memory).mean()


def with_intercept(bars, memory):
    x, y = bars["close"].pct_change(), next_return(bars)["label"]
    known_x, known_y = x.shift(2), y.shift(2)
    return known_x.rolling(memory).cov(known_y) / known_x.rolling(memory).var() * x


RIGHT["q2"] = [fitted_at_each_bar, from_opens]
WRONG["q2"] = {
    "knows its own outcome": lambda bars, memory: leaning(bars, memory, wait=0),
    "an outcome not yet known": lambda bars, memory: leaning(bars, memory, wait=1),
    "leaves a known pair out": lambda bars, memory: leaning(bars, memory, wait=3),
    "forgets nothing": lambda bars, memory: leaning(bars, memory, wait=2, window="expanding"),
    "one lean for all time": lambda bars, memory: (
        bars["close"].pct_change() * (bars["close"].pct_change() * next_return(bars)["label"]).sum()
        / (bars["close"].pct_change() ** 2).sum()),
    "takes the means out": with_intercept,
    "too few pairs": lambda bars, memory: (
        bars["close"].pct_change() * (bars["close"].pct_change().shift(2) * bars["open"].pct_change())
        .rolling(memory, min_periods=1).sum() / (bars["close"].pct_change().shift(2) ** 2)
        .rolling(memory, min_periods=1).sum()),
    "two different memories": lambda bars, memory: (
        from_opens(bars, memory) * (bars["close"].pct_change() ** 2).shift(2).rolling(memory).mean()
        / (bars["close"].pct_change() ** 2).rolling(memory).mean()),
    "not over the squares": [lambda bars, memory: bars["close"].pct_change() * products(bars).rolling(memory).mean(),
                             lambda bars, memory: bars["close"].pct_change() * products(bars).rolling(memory).sum()],
    "a direction, not a forecast": lambda bars, memory: np.sign(from_opens(bars, memory)),
    "the lean, not the forecast": lambda bars, memory: from_opens(bars, memory) / bars["close"].pct_change(),
}

# ---- q3


def with_cut(reference, now):
    edges = [-np.inf, *reference.quantile(np.arange(1, 10) / 10), np.inf]
    then, new = (pd.cut(values, edges).value_counts(normalize=True, sort=False) for values in (reference, now))
    return np.sum((new - then) * (np.log(new) - np.log(then)))


def by_part(reference, now):
    total, edges = 0.0, [-np.inf, *np.quantile(reference, np.linspace(0.1, 0.9, 9)), np.inf]
    for low, high in zip(edges, edges[1:]):
        then, new = (np.mean((values > low) & (values <= high)) for values in (reference, now))
        total += (new - then) * np.log(new / then)
    return total


def shares(reference, now, edges):
    return np.histogram(reference, edges)[0] / len(reference), np.histogram(now, edges)[0] / len(now)


def open_ended(values):
    return [-np.inf, *np.quantile(values, np.linspace(0.1, 0.9, 9)), np.inf]


def by_edges(edges):
    def answer(reference, now):
        then, new = shares(reference, now, edges(reference, now))
        return float(np.sum((new - then) * np.log(new / then)))
    return answer


def by_parts(combine):
    def answer(reference, now):
        return float(np.sum(combine(*shares(reference, now, open_ended(reference)))))
    return answer


def of_counts(reference, now):
    then, new = (np.histogram(values, open_ended(reference))[0] for values in (reference, now))
    return float(np.sum((new - then) * np.log(new / then)))


RIGHT["q3"] = [with_cut, by_part]
WRONG["q3"] = {
    "cut by the new values": [by_edges(lambda reference, now: open_ended(now)),
                              by_edges(lambda reference, now: open_ended(pd.concat([reference, now])))],
    "parts of equal width": [
        by_edges(lambda reference, now: np.linspace(reference.min(), reference.max(), 11)),
        by_edges(lambda reference, now: [-np.inf, *np.linspace(reference.min(), reference.max(), 11)[1:-1], np.inf])],
    "what was never seen is left out": by_edges(lambda reference, now: np.quantile(reference, np.linspace(0, 1, 11))),
    "one half of it": [by_parts(lambda then, new: new * np.log(new / then)),
                       by_parts(lambda then, new: then * np.log(then / new))],
    "without the logarithm": [by_parts(lambda then, new: (new - then) ** 2 / then),
                              by_parts(lambda then, new: abs(new - then))],
    "counts, not shares": of_counts,
    "another logarithm": by_parts(lambda then, new: (new - then) * np.log10(new / then)),
    "an average of the parts": lambda reference, now: by_part(reference, now) / 10,
    "turned round": by_parts(lambda then, new: (new - then) * np.log(then / new)),
}

# ---- q4


def by_lowest(right, rate, allowance):
    """The sum of all less the lowest it has been, or 0."""
    total = (rate - right - allowance).cumsum()
    return total - total.cummin().clip(upper=0.0)


def added(right, change, floor=True):
    total, sums = 0.0, []
    for hit in right:
        total += change(hit)
        total = max(total, 0.0) if floor else total
        sums.append(total)
    return sums


RIGHT["q4"] = [by_lowest, lambda right, rate, allowance: added(right, lambda hit: rate - allowance - hit)]
WRONG["q4"] = {
    "never back to zero": [lambda right, rate, allowance: (rate - right - allowance).cumsum(),
                           lambda right, rate, slack: added(right, lambda hit: rate - hit - slack, floor=False)],
    "cut off afterwards": lambda right, rate, allowance: (rate - right - allowance).cumsum().clip(lower=0),
    "warns when it gets better": lambda right, rate, allowance: added(right, lambda hit: hit - rate - allowance),
    "allowance forgotten": lambda right, rate, allowance: added(right, lambda hit: rate - hit),
    "allowance added": lambda right, rate, allowance: added(right, lambda hit: rate - hit + allowance),
    "the usual rate": [lambda right, rate, allowance: added(right, lambda hit: (1 - hit) - allowance),
                       lambda right, rate, allowance: added(right, lambda hit: (1 - hit) - rate - allowance)],
    "better bars count as none": lambda right, rate, slack: added(right, lambda hit: max(0, rate - hit - slack)),
    "single bars, not sums": [lambda right, rate, allowance: (rate - right - allowance).clip(lower=0),
                              lambda right, rate, allowance: rate - right - allowance],
    "a bar behind": lambda right, rate, allowance: by_lowest(right, rate, allowance).shift(fill_value=0),
}

# ---- q6

MEMORIES = (10, 20, 40, 80)


def with_arrays(bars, middle):
    x, y = bars["close"].pct_change().to_numpy(), next_return(bars)["label"].to_numpy()
    half = bars.index.get_loc(middle)
    volatility = bars["close"].pct_change().rolling(20).std().to_numpy()

    def says(row, memory):
        return x[row] * np.sum((x * y)[row - 1 - memory : row - 1])

    def share(memory):
        rows = range(memory + 2, half - 1)
        return sum((says(row, memory) > 0) == (y[row] > 0) for row in rows) / max(len(rows), 1)

    best = max(MEMORIES, key=share)
    rows = range(half, len(bars))
    found = [says(row, best) if volatility[row] < np.nanmedian(volatility[: row + 1]) else np.nan for row in rows]
    return pd.Series(found, bars.index[half:])


def adaptive(bars, middle, wait=0, until=None, usual=lambda volatility, middle: volatility.median(), hand_on=True):
    """The strategy of the exercise, mended where a learner mends it."""
    x, y = bars["close"].pct_change(), next_return(bars)["label"]
    made = {memory: x * (x * y).shift(wait).rolling(memory).sum() for memory in MEMORIES}
    judged = bars.index if until is None else until(bars.index, bars.index.get_loc(middle))
    right = {}
    for memory, each in made.items():
        known = each.dropna().index.intersection(judged).intersection(y.dropna().index)
        right[memory] = ((each[known] > 0) == (y[known] > 0)).mean()
    volatility = Volatility(20)(bars)["volatility_20"]
    found = made[max(right, key=right.get)].where(volatility < usual(volatility, middle))
    return found.loc[middle:] if hand_on else found


def mended(**faults):
    honest = {"wait": 2, "until": lambda index, half: index[: half - 1],
              "usual": lambda volatility, middle: volatility.expanding().median()}
    return lambda bars, middle: adaptive(bars, middle, **honest | faults)


def only(memory):
    def answer(bars, middle):
        volatility = Volatility(20)(bars)["volatility_20"]
        said = bars["close"].pct_change() * products(bars).rolling(memory).sum()
        return said.where(volatility < volatility.expanding().median())[middle:]
    return answer


RIGHT["q6"] = [with_arrays, mended()]
WRONG["q6"] = {
    "outcomes not yet known": [adaptive, mended(wait=1), mended(wait=0), mended(wait=1, until=None)],
    "memory chosen with hindsight": [mended(until=None), mended(until=lambda index, half: index[half:])],
    "chosen by an outcome not yet known": [mended(until=lambda index, half: index[:half]),
                                           mended(until=lambda index, half: index[: half + 1])],
    "no memory is chosen": [only(10), only(20), only(40), only(80)],
    "calm by hindsight": mended(usual=lambda volatility, middle: volatility.median()),
    "calm as in the first half": mended(usual=lambda volatility, middle: volatility[:middle].iloc[:-1].median()),
    "trades wild days too": mended(usual=lambda volatility, middle: np.inf),
    "hands on the days it chose by": mended(hand_on=False),
}
