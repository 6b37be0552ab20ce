"""Exercise to lesson 08, how much: from the growth of a staked record to a size that outlives four markets.

Every market is made, so that its volatility is known; the last question takes any size that keeps what is asked of it.
"""

import numpy as np
import pandas as pd

from mlkit.exercises.comparing import on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question, is_blank
from mlkit.leakage import audit_features
from mlkit.markets import random_walk

LESSON = "08_risk_and_sizing"
YEAR = np.sqrt(252)
TARGET, BEAR, WORST = 0.10, 0.20, 0.15
BARS = random_walk(160, 5)


# ---- q1: growth


def _growth(returns, stake):
    return float(np.log1p(stake * returns).mean())


def _records(seed):
    rng = np.random.default_rng(seed)
    many = rng.choice([1.5, 0.6, -0.4, -0.8], 200) + rng.uniform(-0.1, 0.1, 200)
    return [(pd.Series([1.0, -0.5]), 0.5), (pd.Series(rng.uniform(-0.7, 1.0, 8).round(2)), 0.3), (pd.Series(many), 0.6)]


GROWTH = Question(
    "q1", reference=_growth, cases=_records, points=1,
    keep="Wealth that is staked again multiplies, so what adds up, and may be averaged, is its logarithm.",
    hints=("Work it out by hand for two bets, +100 % and -50 %, with half of your wealth staked each time.",
           "By what is your wealth multiplied in each bet? Growth is about the logarithms of those numbers."),
    mistakes=(
        Mistake("averages what multiplies", "That is what a bet adds to your wealth on average. It is the figure that "
                "promised a fortune to players who were ruined: a gain and a loss in a row do not add, they multiply.",
                lambda returns, stake: float((stake * returns).mean())),
        Mistake("averages before the logarithm", "The logarithm of the average wealth is what the luckiest players "
                "make. The typical player lives on the average of the logarithms: in which order do you take the two?",
                lambda returns, stake: float(np.log1p(stake * returns.mean()))),
        Mistake("all bets together", "That is the change over the whole record. Ten times the bets would give ten "
                "times the figure: how much is it for one bet?",
                lambda returns, stake: float(np.log1p(stake * returns).sum())),
        Mistake("stakes everything", "That is the growth of somebody who stakes all there is on each bet. Only a share "
                "was staked, the rest stayed in the pocket.", lambda returns, stake: float(np.log1p(returns).mean())),
        Mistake("a rate, not its logarithm", "That is how many percent a bet brings the typical player. It is right in "
                "its way, but such rates cannot be added; growth is the logarithm.",
                lambda returns, stake: float(np.expm1(np.log1p(stake * returns).mean()))),
    ))


# ---- q2: half of Kelly, where there is an edge


def _bet(returns, most, share=0.5, power=2, ddof=1, sure=1.96, years=1.0):
    deviation = float(np.std(np.asarray(returns), ddof=ddof))
    full = years * float(np.mean(returns)) / deviation**power
    if sure and full - sure / (deviation * np.sqrt(len(returns))) <= 0:
        return 0.0
    return min(share * max(full, 0.0), most)


def _capped_first(returns, most):
    return 0.5 * min(_bet(returns, np.inf, share=1.0), most)


def _with_edge(rng, n, deviation, errors):
    """Returns (n,) with this deviation, whose mean is as many standard errors above zero."""
    drawn = rng.standard_t(8, n) if n > 20 else rng.permutation(np.linspace(-1, 1, n)) + rng.uniform(-0.05, 0.05, n)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1)
    return pd.Series(deviation * (drawn + errors / np.sqrt(n)))


def _edges(seed):
    rng = np.random.default_rng([8, seed])
    about = rng.uniform(0.95, 1.05, 5)
    return [(_with_edge(rng, 8, 0.4 * about[0], 2.8), 2.0), (_with_edge(rng, 8, 0.4 * about[1], 1.3), 2.0),
            (_with_edge(rng, 400, 0.1 * about[2], 4.0), 0.6), (_with_edge(rng, 400, 0.1 * about[3], 2.6), 1.0),
            (_with_edge(rng, 400, 0.1 * about[4], -3.0), 1.0)]


BET = Question(
    "q2", reference=_bet, cases=_edges,
    keep="The mean is the weak spot of every Kelly size: where its interval reaches zero there is nothing to bet on, "
         "and half is for the rest of the doubt.",
    hints=("First the full size: the mean over the variance. Then its interval. Only then decide what to hold.",
           "The error of the mean is the deviation over the root of n; the size is the mean over the variance, so what "
           "is its error?"),
    mistakes=(
        Mistake("takes luck for an edge", "You bet on a record whose mean cannot be told from zero. Such a size is "
                "mostly luck: what does the interval say before you hold anything?",
                lambda returns, most: _bet(returns, most, sure=0),
                also=(lambda returns, most: min(0.5 * returns.mean() / returns.var(), most),)),
        Mistake("all of Kelly", "That is the size for someone who knows the edge. Yours is estimated, and whoever "
                "believes too much bets too much, where the curve falls fastest.",
                lambda returns, most: _bet(returns, most, share=1.0)),
        Mistake("deviation for variance", "A mean over a deviation is a Sharpe ratio, and that tells how good a bet "
                "is, not how large it should be. Risk counts twice in a size.",
                lambda returns, most: _bet(returns, most, power=1)),
        Mistake("no limit", "A good record can ask for several times what you have. The limit was to hold whatever the "
                "record says.",
                lambda returns, most: _bet(returns, np.inf)),
        Mistake("halves the limit, not the size", "Cut to the limit first and halved then, you never hold more than "
                "half of what you allowed yourself. Which of the two is the doubt about, the edge or the limit?",
                _capped_first),
        Mistake("two lengths of time", "A mean of a year over a variance of a bet is a size for neither. Stretch both "
                "or none: what happens to their ratio then?", lambda returns, most: _bet(returns, most, years=252.0)),
        Mistake("divides by n", "A sample looks calmer than what it was drawn from, as its own mean lies in its "
                "middle. That is why the variance of a sample is not divided by n.",
                lambda returns, most: _bet(returns, most, ddof=0)),
    ))


# ---- q3: a volatility target with a cap


def _size(bars, target, bear, worst):
    return _by(_volatility(bars), target, bear / worst)


def _returns(bars):
    return bars["close"].pct_change()


def _volatility(bars):
    return _returns(bars).rolling(20).std()


def _by(volatility, target, cap, year=YEAR):
    return (target / (volatility * year)).clip(upper=cap)


def _markets(seed):
    """A market that moves, one that goes to sleep, each long enough for a few sizes at least."""
    rng = np.random.default_rng([3, seed])
    awake, asleep = rng.normal(0, 0.012, 26), rng.normal(0, 0.011, 140)
    asleep[60:] *= 0.02
    days = pd.bdate_range("2012-01-02", periods=140)
    return [(pd.DataFrame({"close": 50 * np.exp(np.cumsum(moves))}, days[: len(moves)]), target, bear, worst)
            for moves, target, bear, worst in ((awake, 0.10, 0.20, 0.15), (asleep, 0.12, 0.10, 0.08))]


SIZE = Question(
    "q3", reference=_size, cases=_markets, points=2, tolerance=1e-7,
    audit=lambda answer: audit_features(lambda bars: _on(bars, answer(bars, TARGET, BEAR, WORST)), BARS, n_cuts=4),
    keep="Two sizes, one by the forecast and one by what you could bear if the forecast is blind, and the smaller of "
         "them counts.",
    hints=("How large may a position be that loses `bear` of the equity when the market moves by `worst`?",
           "The deviation of daily returns is one of a day. Variances add up over days: what does the deviation do?"),
    mistakes=(
        Mistake("no cap", "Where the market falls asleep you hold many times what you have. That was the franc: quiet "
                "for three years, and then one day at the size that the quiet had suggested.",
                lambda bars, target, bear, worst: _by(_volatility(bars), target, np.inf)),
        Mistake("the wrong root of time", "Deviations do not grow with time but with its root: variances add, "
                "deviations do not.",
                lambda bars, target, bear, worst: _by(_volatility(bars), target, bear / worst, 252)),
        Mistake("a day's volatility for a year's", "The target is one of a year, and you divide it by the deviation of "
                "a day. Bring both to the same length of time.",
                lambda bars, target, bear, worst: _by(_volatility(bars), target, bear / worst, 1)),
        Mistake("volatility of the price", "You measured how far the price strays, in units of money. A market at 200 "
                "is not twice as risky as one at 100: risk is about returns.",
                lambda bars, target, bear, worst: _by(bars["close"].rolling(20).std(), target, bear / worst)),
        Mistake("one volatility for all years", "You size the first day by a deviation that needs the last one. Who "
                "held the position then could not have known it.",
                lambda bars, target, bear, worst: _by(
                    pd.Series(_returns(bars).std(), bars.index), target, bear / worst)),
        Mistake("uses tomorrow", "Your window reaches past the close at which you decide.",
                lambda bars, target, bear, worst: _by(_volatility(bars).shift(-1), target, bear / worst),
                also=(lambda bars, target, bear, worst: _by(_returns(bars).rolling(20, center=True).std(), target,
                                                            bear / worst),)),
        Mistake("the loss taken for the size", "You hold no more than you may lose. But a position does not lose all "
                "of itself: how much of it is gone when the market moves by `worst`?",
                lambda bars, target, bear, worst: _by(_volatility(bars), target, bear)),
        Mistake("holds more when it is wilder", "Your size grows with the volatility, so the risk grows with its "
                "square.",
                lambda bars, target, bear, worst: (_volatility(bars) * YEAR / target).clip(upper=bear / worst)),
    ))


# ---- q4: a fair duel of forecasts


def _lead(said, common=True, over=("came", "said"), square=2, turned=False):
    if common:
        said = said.dropna()

    def loss(name):
        ratio = (said["came"] / said[name] if over == ("came", "said") else said[name] / said["came"]) ** square
        return float((ratio - np.log(ratio) - 1).mean())

    lead = loss("naive") - loss("model")
    return -lead if turned else lead


def _squared(said):
    said = said.dropna()
    return float(((said["naive"] - said["came"]) ** 2).mean() - ((said["model"] - said["came"]) ** 2).mean())


def _duels(seed):
    rng = np.random.default_rng([4, seed])
    tables = []
    for n in (8, 200):
        true = 0.01 * np.exp(np.cumsum(rng.normal(0, 0.1, n)))
        off = {"came": 0.5, "naive": 0.4, "model": 0.2}  # how far, as deviations of a logarithm
        table = pd.DataFrame({name: true * np.exp(rng.normal(0, by, n)) for name, by in off.items()},
                             pd.bdate_range("2015-01-01", periods=n))
        table.iloc[: n // 4, 2] = np.nan  # the model learns first
        table.iloc[-max(n // 40, 1):, 0] = np.nan  # and the last days are not over
        tables.append((table,))
    return tables


DUEL = Question(
    "q4", reference=_lead, cases=_duels,
    keep="A forecast is judged beside a rival, on the days on which both spoke: other days are another exam.",
    hints=("On which days did both say something, and is it known what came?", "Write the loss down for a day on which "
           "exactly what was said came: it has to be 0. And for one on which twice as much came as was said: is it "
           "more than for half as much?"),
    mistakes=(
        Mistake("each on its own days", "The two were not asked about the same days: the naive one also sat the early "
                "exam, while the model was still learning. Whose days were the harder ones?",
                lambda said: _lead(said, common=False)),
        Mistake("ratio upside down", "Yours is dearer for saying too much than for saying too little. For you it is "
                "the other way round: too little said is too much held.",
                lambda said: _lead(said, over=("said", "came"))),
        Mistake("deviation for variance", "The ratio is one of variances. Without the square, a wild day that was not "
                "foreseen counts for little.", lambda said: _lead(said, square=1)),
        Mistake("sign turned", "A loss is the better the smaller it is. Above 0 was to mean: the model is ahead.",
                lambda said: _lead(said, turned=True)),
        Mistake("squared errors", "Squared errors are decided by the few wildest days, as R2 is. The loss that was "
                "asked for looks at ratios, and counts a calm week as much as a wild one.", _squared),
    ))


# ---- q5: a limit inside the reach of luck

LIMIT = Choice(
    "q5",
    keep="A limit inside the reach of luck is an appointment: choose the size by how deep luck can take you, and put "
         "the limit beyond it.",
    hints=("Below the limit nothing may be bought. What has to happen so that the account is above it again?",),
    options={
        "a": Option("It has recovered: the edge is true, so in two years the rule's gains have made the drawdown good.",
                    "What would have made it good? Below the limit nothing is bought, and who holds nothing earns "
                    "nothing, however good the rule's next trades would have been.", "it heals by itself"),
        "b": Option("It stands where it stood: nothing was bought, so nothing was earned, so the limit never let go.",
                    "The loss is locked in. Whether luck or a lost edge took the account there makes no difference to "
                    "what comes after."),
        "c": Option("The question cannot come up: with a true edge no account falls a tenth below its peak.",
                    "A drawdown does not tell bad luck from a lost edge. In the lesson most accounts came so far with "
                    "the edge alive and well, in six years.", "a drawdown proves that the edge is gone"),
        "d": Option("It is a tenth below its peak to the cent, since the limit sold the position when it was reached.",
                    "A limit of this kind is asked when something is bought. It sells nothing: what is held when it is "
                    "reached can fall further.", "the limit sells"),
    })


# ---- q6: a size of your own

CALM, WILD = 0.006, 0.02


def _closes(rng, volatility):
    """Bars whose daily returns have these deviations (n,)."""
    moves = volatility * rng.standard_normal(len(volatility))
    return pd.DataFrame({"close": 100 * np.exp(np.cumsum(moves))}, pd.bdate_range("2010-01-01",
                                                                                  periods=len(volatility)))


def _on(bars, said):
    """What was said of each bar, as a Series whatever holds it; a blank stays one."""
    return said if is_blank(said) else pd.Series(np.asarray(on_index(said, bars.index), dtype=float), bars.index)


def _near(returns) -> str:
    volatility = returns.std() * YEAR
    return "too low" if not volatility > 0.08 else "too high" if volatility > 0.125 else "about 10 %"


def _outcomes(answer, _, seed):
    rng = np.random.default_rng([6, seed])
    wakes = np.tile(np.repeat([CALM, WILD], [300, 160]), 3)
    volatilities = {"calm market": np.full(700, CALM), "wild market": np.full(700, WILD), "after it woke up": wakes,
                    "a promise that ends": np.full(300, 0.0003)}
    found, held = {}, {}
    for name, volatility in volatilities.items():
        bars = _closes(rng, volatility)
        if name == "a promise that ends":
            bars.iloc[-5:] *= 1 - WORST
        size = _on(bars, answer(bars.copy()))
        if is_blank(size):
            return size
        returns, held[name] = size.shift(1) * _returns(bars), size.iloc[100:].mean()
        late = returns[np.arange(len(returns)) % 460 >= 380] if name == "after it woke up" else returns.iloc[100:]
        found[name] = _near(late) if name != "a promise that ends" else (
            "survived" if late.min() > -BEAR * 1.02 else f"lost more than {BEAR:.0%} in a day")
    found["in the wild it holds"] = "less" if held["wild market"] < 0.7 * held["calm market"] else "no less"
    return found


def _own(bars):
    return _by(_returns(bars).ewm(halflife=20, min_periods=20).std(), TARGET, BEAR / WORST).fillna(0.0)


def _found(**wanted):
    """Whether the outcomes (a list with one dict) are these; a name's spaces are written as underscores."""
    return lambda given, expected: all(given[0][name.replace("_", " ")] == value for name, value in wanted.items())


OWN = Question(
    "q6", reference=_own, cases=lambda seed: [("four markets, drawn with seed", seed)], run=_outcomes, points=3,
    audit=lambda answer: audit_features(lambda bars: _on(bars, answer(bars)), BARS, n_cuts=4),
    keep="A size is finished when it has met a calm market, a wild one, one that wakes up, and a promise that ends.",
    hints=("Begin with question 3, and look at each of the four markets: what does the size do there?",
           "How soon does your forecast notice that the market has woken up, and on how few days does it rest?"),
    mistakes=(
        Mistake("the same size in any weather", "In the wild market it holds no less than in the calm one, and so the "
                "account moves by whatever the market does.", when=_found(in_the_wild_it_holds="no less")),
        Mistake("not ten percent a year", "Even where nothing ever changes and no cap is near, the account moves by "
                "something else than ten percent a year. Look at what brings the deviation of a day to a year. If that "
                "is right, the forecast rests on so few days that it is mostly noise.",
                when=lambda given, expected: given[0]["wild market"] != "about 10 %"),
        Mistake("remembers too long", "Each market on its own is held right. But where a calm one wakes up, the years "
                "of quiet in your forecast outvote the storm for months.", when=_found(after_it_woke_up="too high")),
        Mistake("no cap", "It held what the quiet suggested when the promise ended. No history knows a move that has "
                "not happened yet; only you can suppose one.",
                when=_found(a_promise_that_ends=f"lost more than {BEAR:.0%} in a day")),
        Mistake("too timid", "It survives everything, and in a market that is merely calm it takes less risk than you "
                "chose.",
                when=_found(calm_market="too low")),
    ))

QUESTIONS = [GROWTH, BET, SIZE, DUEL, LIMIT, OWN]
