"""Exercise to lesson 06, what is left after costs: what a change of position costs, where each basis point goes, how
dear trading may be, and which trades to leave out; at last a tutorial's backtest, to be made honest."""

from functools import cache, partial

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from mlkit.exercises.comparing import by_name, on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question, call, faulty
from mlkit.leakage import audit_features
from mlkit.markets import planted_edge, random_walk

LESSON = "06_cost_aware_backtesting"
BPS = 1e-4

# ---- q1: what a change of position costs


def _cost(position, cost_bps):
    return position.diff().fillna(position).abs() * cost_bps * BPS


def _cost_in(unit, position, bps):
    return _cost(position, bps) * unit / BPS


def _positions(seed):
    rng = np.random.default_rng([61, seed])
    by_hand = [0.5, 1.0, 1.0, -1.0, 0.0, *rng.choice([-1.0, -0.5, 0.5, 1.0], 3)]
    return [(pd.Series(each, pd.bdate_range("2021-03-01", periods=len(each))), bps)
            for each, bps in ((by_hand, 4.0), (rng.choice([-1.0, 0.0, 0.5, 1.0], 120), float(rng.integers(2, 9))))]


COST = Question(
    "q1", reference=_cost, cases=_positions, points=1,
    keep="You pay on each side, for what changes hands, and a reversal changes hands twice.",
    hints=("How much is bought or sold on each bar, as a share of the account? On the first one too.",
           "From 1 to -1: how many accounts are sold?"),
    mistakes=(
        Mistake("one side only",
                "You pay when you buy and not when you sell. The broker has two hands, and both take.",
                lambda position, bps: position.diff().fillna(position).clip(lower=0) * bps * BPS,
                also=(lambda position, bps: position.diff().fillna(0).clip(lower=0) * bps * BPS,
                      lambda position, bps: (-position.diff().fillna(position)).clip(lower=0) * bps * BPS)),
        Mistake("sales give money back",
                "A sale has a negative cost in your answer: the broker pays you. A cost has no sign.",
                lambda position, bps: position.diff().fillna(position) * bps * BPS,
                also=(lambda position, bps: position.diff() * bps * BPS,
                      lambda position, bps: position.diff().fillna(0) * bps * BPS)),
        Mistake("the first purchase is free",
                "On the first bar there is a position where there was none: somebody bought it, and paid.",
                lambda position, bps: position.diff().fillna(0).abs() * bps * BPS,
                also=(lambda position, bps: position.diff().abs() * bps * BPS,)),
        Mistake("pays for holding",
                "You pay on every bar on which something is held. What costs is to trade, not to own.",
                lambda position, bps: position.abs() * bps * BPS),
        Mistake("every trade the same",
                "A trade costs as much in your answer whether half of the account changes hands or all of it twice.",
                lambda position, bps: (position.diff().fillna(position) != 0) * bps * BPS,
                also=(lambda position, bps: (position.diff().fillna(0) != 0) * bps * BPS,
                      lambda position, bps: np.sign(position.diff().fillna(position)).abs() * bps * BPS)),
        Mistake("a reversal is free",
                "You compare sizes: from long to short the size stays as it is, and all of it changes hands, twice.",
                lambda position, bps: _cost(position.abs(), bps)),
        Mistake("a cost below zero", "A cost is what is paid: a number of 0 or more.",
                lambda position, bps: -_cost(position, bps)),
        Mistake("all costs so far", "You add the costs up from bar to bar. Asked for is what each bar costs.",
                lambda position, bps: _cost(position, bps).cumsum()),
        Mistake("a basis point is a hundredth of a percent",
                "Your cost has another unit: how small a fraction is a basis point?",
                partial(_cost_in, 0.01),
                also=tuple(partial(_cost_in, unit) for unit in (1e-5, 1e-3, 1))),
        Mistake("a round trip each time",
                "You pay for two sides on each bar. The other side is paid when the position changes again.",
                lambda position, bps: _cost(position, 2 * bps)),
    ))


# ---- q2: where each basis point goes


def _per_side(fills, wait_sign=1, side_sign=1, begin="reference", way="sum", unit=BPS, of="sides"):
    """Delay, spread and commission of fills; the defaults are right."""
    quantity = fills["quantity"]
    value = quantity.abs() * fills["reference"]
    signed = quantity.abs() if side_sign == 0 else side_sign * quantity
    paid = pd.DataFrame({"delay": signed * (fills["reference"] - fills["decision_price"]),
                         "spread": signed * (fills["price"] - fills[begin]), "commission": fills["commission"]})
    if not wait_sign:
        paid["delay"] = paid["delay"].abs()
    if way == "each":
        return (paid.div(value, axis=0).mean() / unit).to_dict()
    traded = {"sides": value, "net": quantity * fills["reference"], "buys": value[quantity > 0],
              "one": pd.Series([1.0]), "fills": pd.Series([float(len(fills))]), "trips": value / 2}[of]
    paid = paid[quantity > 0] if way == "buys" else paid
    return (paid.sum() / traded.sum() / unit).to_dict()


def _fills(seed):
    rng, cases = np.random.default_rng([62, seed]), []
    for n in (4, 60):
        side = np.where(np.arange(n) % 2, -1.0, 1.0)
        quantity = side * np.repeat(rng.integers(20, 400, n // 2), 2)
        decision = 40 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
        reference = decision * (1 + rng.normal(0.0005 * side, 0.004))
        price = reference * (1 + side * rng.uniform(1, 6, n) * BPS)
        table = {"quantity": quantity, "decision_price": decision, "reference": reference, "price": price,
                 "commission": np.maximum(1.0, 0.0002 * np.abs(quantity) * price)}
        cases.append((pd.DataFrame(table).round({"decision_price": 2, "reference": 2, "price": 4, "commission": 2}),))
    return cases


WRONG_SIGN = ("Whoever sells below the price he saw has lost by it. In your answer he has gained: what is the sign of "
              "his quantity for?")
SIDE = Question(
    "q2", reference=_per_side, cases=_fills, run=lambda answer, fills: by_name(call(answer, fills)), points=3,
    keep="Divide what was paid by what was traded: then each cost is in the unit in which the broker speaks.",
    hints=("Do it for one fill first: you sell 10 shares, decided at 50.00, reference 49.90, filled at 49.89. What did "
           "the wait cost you in money, and what the spread?",
           "Buyers are hurt by a rise, sellers by a fall: what does the sign of the quantity do to that?",
           "Add up the money first, then divide by all that was traded."),
    mistakes=(
        Mistake("all fills alike",
                "You average the basis points of the fills. A fill of ten shares then counts as much as one of a "
                "thousand; the money does not.", partial(_per_side, way="each")),
        Mistake("buys less sales",
                "What was bought and what was sold nearly cancel in your sum of traded value. Both were traded.",
                partial(_per_side, of="net")),
        Mistake("one side only", "Half of the fills are missing: you look at the purchases, and sales cost as well.",
                partial(_per_side, of="buys", way="buys"), also=(partial(_per_side, of="buys"),)),
        Mistake("a round trip",
                "You divide by half of what was traded: that is a cost a round trip. Asked for is a side.",
                partial(_per_side, of="trips")),
        Mistake("money, not a rate", "That is money. Divide by the value that was traded.",
                partial(_per_side, of="one", unit=1), also=(partial(_per_side, of="fills", unit=1),)),
        Mistake("a fraction, not basis points", "Your figures have another unit: how many basis points are 0.0003?",
                partial(_per_side, unit=1), also=(partial(_per_side, unit=0.01),)),
        Mistake("gains taken for costs",
                "Your signs are turned round: a buyer who pays more than the reference has lost by it, and a cost is "
                "above 0.",
                partial(_per_side, side_sign=-1)),
        Mistake("delay without a sign",
                "In your answer the wait always costs. It is the one cost with a sign: at times the price comes "
                "towards you.", partial(_per_side, wait_sign=0), part="delay"),
        Mistake("sales with the wrong sign", WRONG_SIGN, partial(_per_side, side_sign=0), part="delay"),
        Mistake("sales with the wrong sign", WRONG_SIGN, partial(_per_side, side_sign=0), part="spread"),
        Mistake("delay with the sign of a gain",
                "Your wait is positive where it helped. A cost is above 0 where the price ran away from you.",
                partial(_per_side, side_sign=-1), part="delay"),
        Mistake("the wait charged twice",
                "Your spread begins at the price of the decision, so the wait is in it as well. At which price does "
                "the fill begin?", partial(_per_side, begin="decision_price"), part="spread"),
    ))


# ---- q3: how dear may it be


def _net_of(name, growth, trips):
    """A function of the cost, as a backtest that is run again would give it."""
    def net_at(cost_bps):
        cost = cost_bps * BPS
        return (1 + growth) * ((1 - cost) / (1 + cost)) ** trips - 1

    net_at.__name__ = f"<{name}: {growth:+.0%} at no cost>"
    return net_at


def _break_even(net_at):
    return brentq(net_at, 0, 9_999) if net_at(0) > 0 else 0.0


def _straight(net_at, step, lowest=0.0):
    """Where a straight line through the returns at no cost and at one cost comes to nothing."""
    return max(lowest, step * net_at(0) / (net_at(0) - net_at(step)))


def _whole(net_at, rounded=np.floor):
    return float(rounded(_break_even(net_at)))


def _rules(seed):
    rng = np.random.default_rng([63, seed])
    rules = [("a quick rule", rng.uniform(0.6, 3), int(rng.integers(400, 900))),
             ("a slow rule", rng.uniform(0.3, 1), int(rng.integers(30, 60))),
             ("a very slow rule", rng.uniform(0.8, 2), int(rng.integers(4, 8))),
             ("a poor rule", -rng.uniform(0.1, 0.3), int(rng.integers(100, 200)))]
    return [(_net_of(name, round(growth, 2), trips),) for name, growth, trips in rules]


BREAK_EVEN = Question(
    "q3", reference=_break_even, cases=_rules, tolerance=1e-3,
    keep="What trading may cost is found by trading again at that cost: a poorer account buys less the next time.",
    hints=("You can ask `net_at` as often as you like. Between which two costs does the answer change its sign?",
           "Halve the interval again and again, or let `scipy.optimize.brentq` do it. How large can a cost be?"),
    mistakes=(
        Mistake("a straight line",
                "You draw a straight line through two returns. It bends: the poorer the account, the less it buys, and "
                "so the less it pays.", also=tuple(partial(_straight, step=step, lowest=lowest)
                                                for step in (1, 2, 5, 10, 20, 50, 100) for lowest in (0.0, -np.inf))),
        Mistake("looks not far enough",
                "Your search ends before there is nothing left. A rule that trades four times can pay a great deal.",
                also=tuple(lambda net_at, most=most: min(most, _break_even(net_at))
                           for most in (10, 20, 30, 50, 99, 100, 200, 250))),
        Mistake("a cost below zero",
                "Where there is no gain at no cost there is nothing to pay with. A broker who pays you is none.",
                lambda net_at: brentq(net_at, -200, 9_999)),
        Mistake("whole basis points",
                "You try whole basis points. Of a quick rule one of them is a good part of all it can pay.", _whole,
                also=(partial(_whole, rounded=np.ceil), partial(_whole, rounded=np.round))),
        Mistake("a fraction, not basis points", "Your figure has another unit: how many basis points are 0.0008?",
                lambda net_at: _break_even(net_at) * BPS, also=(lambda net_at: _break_even(net_at) / 100,)),
        Mistake("a round trip", "That is what both sides may cost together. Asked for is one.",
                lambda net_at: 2 * _break_even(net_at), also=(lambda net_at: _break_even(net_at) / 2,)),
    ))


# ---- q4: trades that are not worth their cost


def _worth_it(signals, expected, cost_bps, margin_bps, sides=2, unit=BPS, exits=False):
    needed = (sides * cost_bps + margin_bps) * unit
    refused = (expected <= needed) & ((signals == 1) | (exits & (signals == -1)))
    return signals.where(~refused, 0)


def _exits_too(signals, expected, cost_bps, margin_bps):
    """An exit has to promise as much as an entry, downwards."""
    return signals.where(signals * expected > (2 * cost_bps + margin_bps) * BPS, 0)


def _signals(seed):
    rng, cases = np.random.default_rng([64, seed]), []
    for n, cost, margin in ((8, 5, 2), (150, int(rng.integers(3, 9)), int(rng.integers(1, 5)))):
        signals = rng.choice([1, 0, -1], n, p=[0.5, 0.2, 0.3])
        signals[:3], expected = [1, -1, 1], rng.normal(0.0006, 0.0012, n)
        expected[:3] = [0.0025, -0.0010, 0.0008]
        days = pd.bdate_range("2020-06-01", periods=n)
        cases.append((pd.Series(signals, days), pd.Series(expected.round(5), days), cost, margin))
    return cases


WORTH = Question(
    "q4", reference=_worth_it, cases=_signals,
    keep="Leave out the entries that are not expected to pay their round trip, and let every exit pass.",
    hints=("What does a trade cost from its purchase to its sale, in the unit of `expected`?",
           "Which of the three signals may be refused, and which must not be?"),
    mistakes=(
        Mistake("one side only",
                "The entry has to earn its purchase in your answer. What is bought is sold again, and that costs as "
                "much.",
                partial(_worth_it, sides=1)),
        Mistake("exits refused too",
                "You refuse sales as well. Who may not leave keeps what is expected to fall: exits always pass.",
                partial(_worth_it, exits=True), also=(partial(_worth_it, exits=True, sides=1), _exits_too)),
        Mistake("a basis point is a hundredth of a percent",
                "Cost and margin have another unit than what is expected: how small a fraction is a basis point?",
                partial(_worth_it, unit=0.01), also=(partial(_worth_it, unit=1), partial(_worth_it, unit=0.001))),
        Mistake("rising is not enough",
                "You follow every entry that is expected to rise. It has to rise by more than the trade costs.",
                partial(_worth_it, unit=0)),
        Mistake("margin forgotten", "You forgot the margin: what just pays its cost leaves nothing for being wrong.",
                lambda signals, expected, cost, margin: _worth_it(signals, expected, cost, 0)),
        Mistake("margin on both sides", "You count the margin twice. It comes on top of the round trip, once.",
                lambda signals, expected, cost, margin: _worth_it(signals, expected, cost, 2 * margin)),
        Mistake("keeps the wrong ones", "You refuse the entries that would have paid, and follow the others.",
                lambda signals, expected, cost, margin: signals.where(
                    (signals != 1) | (expected <= (2 * cost + margin) * BPS), 0)),
        Mistake("rows left out", "What is refused becomes a 0: every bar keeps its row.",
                lambda signals, expected, cost, margin: signals[_worth_it(signals, expected, cost, margin) == signals]),
        Mistake("signals made up", "Where nothing was signalled you buy. A filter leaves out, it never adds.",
                lambda signals, expected, cost, margin: signals.where(signals == -1, 0).where(
                    ~((expected > (2 * cost + margin) * BPS) & (signals != -1)), 1)),
    ))


# ---- q5: same skill, two speeds

SPEEDS = Choice(
    "q5", keep="An accuracy says nothing by itself: ask of what moves, and how often they are traded.",
    hints=("How far does a price that wanders without aim move in four days, if it moves 80 in one?",
           "What does a side earn: right minus wrong calls, as a share of all, times the average move."),
    options={
        "a": Option("Anna: she is right as often, and has four times as many chances to earn.",
                    "And four times as many bills. A side earns her 10 % of 80, which is 8 basis points, and costs 10.",
                    "more trades, more profit"),
        "b": Option("Both: whoever is right in 55 % of the calls earns more than he loses.",
                    "Before costs. What is earned with each side has to pay for it, and the two do not earn the same.",
                    "accuracy taken for profit"),
        "c": Option("Ben: each of his trades earns about twice as much, and costs the same.",
                    "In four days a price moves about twice as far as in one, so a side earns him about 16 basis "
                    "points."),
        "d": Option("Neither: right minus wrong is 10 % of a move of 80, and 8 is less than 10.",
                    "That is Anna's sum. Ben's moves are not those of a day.", "a day's move for all"),
    })


# ---- q6: make this backtest honest


def _backtest(bars, score="trailing", fill="next open", pays="both"):
    """Net returns, bar by bar; the defaults are honest."""
    change = bars["close"].pct_change()
    window = {"trailing": change.rolling(10), "whole": change, "expanding": change.expanding(10)}[score]
    wait, price = {"next open": (2, "open"), "same close": (1, "close"), "same bar": (0, "close"),
                   "open before": (1, "open"), "late": (3, "open"), "next close": (2, "close")}[fill]
    held = ((change - window.mean()) / window.std() > 0.5).astype(float).shift(wait, fill_value=0.0)
    traded = held.diff().fillna(held)
    bought, sold = traded.clip(lower=0), (-traded).clip(lower=0)
    paid = {"both": bought + sold, "buys": bought, "sales": sold, "none": 0.0, "gain": -bought - sold, "signed": traded,
            "holding": held}[pays]
    return (held * bars[price].pct_change() - 10 * BPS * paid).fillna(0.0)


def _with_zeros(answer, bars):
    """Net returns with 0 where an answer says nothing."""
    made = on_index(call(answer, bars), bars.index)
    return made.fillna(0.0) if isinstance(made, pd.Series) else made


@cache
def _markets(seed):
    rng = np.random.default_rng([66, seed])
    return [(planted_edge(n, int(rng.integers(1e6)), strength=0.3),) for n in (18, 150)]


_with_fault = partial(faulty, _backtest, {"score": ("trailing", "whole"),
                                           "fill": ("next open", "same close", "same bar", "open before"),
                                           "pays": ("both", "buys", "sales", "none", "signed")})


HONEST = Question(
    "q6", reference=_backtest, cases=_markets, run=_with_zeros, points=4,
    audit=lambda answer: audit_features(lambda bars: on_index(answer(bars), bars.index), random_walk(80, 6), n_cuts=2),
    keep="Ask of every backtest what was known, at which price it was filled, and who paid: here each answer was "
    "flattering.",
    hints=("Three lines flatter: what does each of them know, or leave unpaid?",
           "Which bars are in the mean and the deviation by which the change is judged on the tenth day?",
           "You learn of a rise when it is over. Between which two opens do you hold what you then buy?",
           "Count the sides of one trade."),
    mistakes=(
        Mistake("judged by days to come",
                "Your mean and deviation are those of the whole market, the days to come included. There may be more "
                "to mend: this comes first.", also=_with_fault(score=("whole",))),
        Mistake("earns what it had to see",
                "You earn the rise of the very bar by which you decide. When you know of it, it is over.",
                also=_with_fault(fill=("same bar",))),
        Mistake("filled at the close it decided on",
                "You buy at the close that you had to see first, and hold from there. The first price after it is the "
                "next open.", also=_with_fault(fill=("same close",))),
        Mistake("an open already gone",
                "You hold from the open of the bar by whose close you decide. That open was hours ago.",
                also=_with_fault(fill=("open before",))),
        Mistake("filled late", "You hold from a later price than the next open.",
                also=_with_fault(fill=("late", "next close"))),
        Mistake("one side only",
                "One side of each trade is free. What is bought is sold again, and the broker takes from both.",
                also=_with_fault(pays=("buys", "sales"))),
        Mistake("free", "Nobody pays the broker.", also=_with_fault(pays=("none",))),
        Mistake("a cost that is earned",
                "A cost is added somewhere instead of taken away: look at its sign when you sell.",
                also=_with_fault(pays=("gain", "signed"))),
        Mistake("pays for holding", "You pay on each bar on which something is held. What costs is to trade.",
                also=_with_fault(pays=("holding",))),
        Mistake("another window",
                "Your mean and deviation are those of all changes so far. Asked for are the last ten.",
                also=_with_fault(score=("expanding",))),
    ))

QUESTIONS = [COST, SIDE, BREAK_EVEN, WORTH, SPEEDS, HONEST]
