"""Exercise to lesson 09, rules and models: a rule's proposals as answers, filters that know nothing, what to ship.

The last question takes any way to learn a filter, and finds out what it had known by changing what it could not.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import norm

from mlkit.engine import MeanReversion
from mlkit.exercises.comparing import on_index
from mlkit.exercises.questions import Choice, Mistake, Option, Question, is_blank
from mlkit.labels import meta_label
from mlkit.leakage import audit_procedure
from mlkit.markets import random_walk
from mlkit.models import make_model

LESSON = "09_rules_and_models"


def _decided(n_bars, seed, window=5):
    """Bars with an open, a close and what a rule decided at each close."""
    bars = random_walk(n_bars, seed)[["open", "close"]]
    return bars.assign(decision=MeanReversion(window).decide(bars).astype(int))


# ---- q1: how many answers


def _tables(seed):
    made = (_decided(24, 31 + seed, 4), _decided(300, 41 + seed))
    return [(meta_label(bars, bars["decision"], 20),) for bars in made]


COUNT = Question(
    "q1", reference=lambda pays: pays["end"].nunique(), cases=_tables, points=1,
    keep="A filter learns from as many answers as the rule has sales, however many days it proposed on.",
    hints=("Proposals that are sold on the same day are the same trade, seen on another day.",
           "What do all rows of one trade have in common? And what stands there where nothing was sold?"),
    mistakes=(
        Mistake("counts the days", "On most days the rule proposed nothing, and there is nothing to learn from them.",
                lambda pays: len(pays)),
        Mistake("counts the proposals", "While the price stays low the rule proposes again, day after day, and all of "
                "that is sold at once: one trade, seen on several days.", lambda pays: int(pays["label"].count())),
        Mistake("counts the paid ones", "A proposal that did not pay is an answer too, and a filter needs it most.",
                lambda pays: int(pays["label"].sum()), also=(lambda pays: pays["end"][pays["label"] == 1].nunique(),)),
        Mistake("counts the unknown as one", "Where nothing was proposed, or nothing sold yet, there is no day of a "
                "sale. That is no answer, and you counted it as one more.", lambda pays: len(pays["end"].unique())),
        Mistake("counts a sale twice", "One sale may have paid for one proposal and not for another. It is still one "
                "sale.",
                lambda pays: int(pays.groupby("label")["end"].nunique().sum())),
        Mistake("counts the kinds of answer", "Yes and no are the kinds of answer. How often was one given?",
                lambda pays: pays["label"].nunique()),
    ))


# ---- q2: did it pay?


def _paid(bars, cost_bps):
    labels = meta_label(bars, bars["decision"], cost_bps).dropna()
    return pd.DataFrame({"paid": labels["label"], "known": labels["end"]})


def _pay(bars, cost, price="open", wait=1, sides=2, told=1, held=None, first_only=False, open_too=False):
    """The same with a mistake: a price and a delay of the fills, sides that cost, when it is thought to be known."""
    rows, n, sold = {}, len(bars), bars["decision"] < 0
    values, days = bars[price].to_numpy(), bars.index
    for at in np.flatnonzero(bars["decision"] > 0):
        if first_only and at and bars["decision"].iloc[at - 1] > 0:
            continue
        later = np.flatnonzero(sold[at + 1 :])
        leaves = at + held if held else at + 1 + later[0] if len(later) else n
        if leaves + 1 >= n and not (open_too and at + wait < n):
            continue
        last = min(leaves + wait, n - 1)
        gain = values[last] * (1 - cost * (sides > 0)) / (values[at + wait] * (1 + cost * (sides > 1))) - 1
        rows[days[at]] = (float(gain > 0), days[min(leaves + told, n - 1)])
    return pd.DataFrame(rows.values(), index=pd.DatetimeIndex(list(rows)), columns=["paid", "known"])


def _by_day(answer, bars, cost_bps):
    """What came out as day -> (paid, known), so that neither names nor orders matter."""
    table = answer(bars, cost_bps)
    if isinstance(table, Mapping) and all(isinstance(each, pd.Series) for each in table.values()):
        table = pd.DataFrame(table)
    if not isinstance(table, pd.DataFrame) or not {"paid", "known"} <= set(table):
        return table
    return {str(day).removesuffix(" 00:00:00"): (float(paid), pd.Timestamp(known))
            for day, paid, known in zip(table.index, table["paid"], table["known"])}


PAID = Question(
    "q2", reference=_paid, run=_by_day,
    cases=lambda seed: [(_decided(16, 31 + seed, 3), 30.0), (_decided(120, 51 + seed), 60.0)],
    keep="A filter predicts the rule, not the market: whether what it buys pays after costs, and that is known when it "
         "is sold.",
    hints=("An order decided at a close fills at the next open, the purchase and the sale alike.",
           "The cost is taken from both prices: you pay a little more than the open, and get a little less."),
    mistakes=(
        Mistake("fills at the close that decided", "You trade at the close that the decision was made from. By the "
                "time it is known nothing trades there any more.",
                lambda bars, cost: _pay(bars, cost / 1e4, price="close", wait=0)),
        Mistake("one side only", "A purchase costs, and so does the sale.",
                lambda bars, cost: _pay(bars, cost / 1e4, sides=1)),
        Mistake("no cost",
                "You ask whether the price was higher at the sale. Whether it paid is known after the costs.",
                lambda bars, cost: _pay(bars, 0.0)),
        Mistake("hundredths for parts", "A hundredth of a percent is a ten-thousandth. At your cost nothing pays, or "
                "next to nothing.", lambda bars, cost: _pay(bars, cost / 1e2)),
        Mistake("knows it a bar early", "On the day on which the rule says sell nobody knows yet at what price. A "
                "filter that is fitted that evening must not know it either.",
                lambda bars, cost: _pay(bars, cost / 1e4, told=0)),
        Mistake("the first day of a dip only", "While the price stays low the rule proposes again, and the filter is "
                "asked again: each of those days is a row, with an entry of its own.",
                lambda bars, cost: _pay(bars, cost / 1e4, first_only=True)),
        Mistake("sells the next day", "The rule sells when it says so. You asked what the next bar brings, and that is "
                "another question than whether the trade pays.", lambda bars, cost: _pay(bars, cost / 1e4, held=1)),
        Mistake("judges what is still open", "Where the bars end before the sale nobody knows what came of it, and the "
                "last price is no answer.", lambda bars, cost: _pay(bars, cost / 1e4, open_too=True)),
    ))


# ---- q3: filters that know nothing


def _rings(proposals):
    passes, earned = proposals["passes"].to_numpy(dtype=bool), proposals["earned"].to_numpy(dtype=float)
    return np.array([earned[np.roll(passes, places)].mean() for places in range(len(passes))])


def _luck(proposals):
    means = _rings(proposals)
    return float((means >= means[0]).mean())


def _heaps(seed):
    rng = np.random.default_rng([9, seed])
    tables = []
    for n, skill in ((8, 1.0), (60, 0.5), (90, 1.2)):
        earned = np.round(80 * rng.standard_t(5, n // 2).repeat(2) + rng.normal(20, 30, n))
        passes = earned * skill + rng.normal(0, 120, n) > 0
        passes[:2] = True, False
        days = pd.bdate_range("2010-01-04", periods=n)
        tables.append((pd.DataFrame({"passes": passes, "earned": earned}, days),))
    return tables


LUCK = Question(
    "q3", reference=_luck, cases=_heaps,
    keep="A filter is not compared with what it refuses, but with filters that say yes as often and know nothing.",
    hints=("`np.roll` moves the verdicts along in a ring. What must stay where it is?",
           "Count how many of the rings earn at least as much. The filter itself is one of them: it is its own first "
           "ring."),
    mistakes=(
        Mistake("leaves the filter out", "One of the rings is the filter itself, moved by nothing. Without it the "
                "answer could be 0, and no number of tries proves that luck never does it.",
                lambda proposals: float((_rings(proposals)[1:] >= _rings(proposals)[0]).mean())),
        Mistake("only the better ones", "A ring that earns just as much is as good, and so is the filter itself. Luck "
                "has reached you when it draws level.",
                lambda proposals: float((_rings(proposals) > _rings(proposals)[0]).mean())),
        Mistake("counts the worse ones", "Near 1 would then be good news. You were asked how often a filter without "
                "knowledge does as well: small is good.",
                lambda proposals: float((_rings(proposals) <= _rings(proposals)[0]).mean()),
                also=(lambda proposals: float((_rings(proposals) < _rings(proposals)[0]).mean()),)),
        Mistake("counts trades, not filters", "You counted proposals that earned more than the filter's average. Luck "
                "plays a whole filter at a time: so many proposals, chosen without knowledge.",
                lambda proposals: float((proposals["earned"] >= _rings(proposals)[0]).mean())),
        Mistake("kept against refused", "That is what the filter took less what it left. A filter is asked again while "
                "a dip lasts, so even a coin leaves other trades than it takes: that difference proves nothing.",
                lambda proposals: float(_rings(proposals)[0] - proposals["earned"][~proposals["passes"]].mean())),
        Mistake("moves the profits along", "Verdicts and profits went along together, so each ring is the same filter "
                "again. What has to be torn apart?", lambda proposals: 1.0),
    ))


# ---- q4: what a refusal proves

REFUSED = Choice(
    "q4",
    keep="Which trades a filter never makes depends on how often it was asked, so even coins seem to refuse winners.",
    hints=("How often is a filter asked about a dip that is over the next day, and how often about one that goes on "
           "for weeks?",),
    options={
        "a": Option("The model has learned the opposite of what it should: turn its verdicts round.",
                    "A coin's verdicts turned round are a coin's again, and they would refuse winners just the same.",
                    "reads knowledge into it"),
        "b": Option("The rule's winners look like losers to any model, so no filter can be of use here.",
                    "The model was never compared with anything. That a filter without knowledge shows the same says "
                    "nothing of what one with knowledge could do.", "takes it for a proof of no skill"),
        "c": Option("Nothing yet: short dips ask once or twice and can be refused for good, and in this rule the short "
                    "trades won.",
                    "A dip that goes on asks until even a coin says yes. First look at what coins refuse, then at the "
                    "model."),
        "d": Option("The threshold is too high: lower it until what is refused wins no more often than what is "
                    "followed.",
                    "Then you would have fitted the threshold to the test, and to a difference that says nothing about "
                    "the model.",
                    "fits the threshold to the test"),
    })


# ---- q5: what ships


def _ships(leads, tried, tail=0.025, share=True, best_of="clear", side=1):
    reach = norm.ppf(1 - tail / (tried if share else 1)) * leads["error"]
    clear = leads[(leads["value"] - reach > 0) | ((leads["value"] + reach < 0) if side == 2 else False)]
    if best_of == "all":
        clear = clear[clear.index == leads["value"].idxmax()]
    if not len(clear):
        return "rule"
    return (clear["value"].abs() if side == 2 else clear["value"]).idxmax()


def _leads(seed):
    rng = np.random.default_rng([5, seed])
    scale = rng.uniform(0.9, 1.1)

    def table(*errors):  # leads in errors, and how large the error is
        made = pd.DataFrame(errors, columns=["value", "error"]).assign(error=lambda t: t["error"] * scale)
        made["value"] *= made["error"]
        made.index = rng.permutation(["vote", "switch", "sized", "filtered", "replaced", "filter at 0.55"])[: len(made)]
        return made.iloc[rng.permutation(len(made))]

    return [(table((2.2, 0.1)), 1), (table((2.25, 0.12), (-0.3, 0.1), (0.4, 0.2)), 3),
            (table((2.6, 0.1), (1.0, 0.1)), 12), (table((3.2, 0.1), (1.6, 0.3), (0.2, 0.1)), 5),
            (table((2.37, 0.1), (0.5, 0.1), (0.1, 0.1), (-1.0, 0.1)), 4),
            (table((-3.5, 0.2), (0.5, 0.1), (1.0, 0.1)), 4)]


SHIPS = Question(
    "q5", reference=_ships, cases=_leads,
    keep="Share the error among everything that was tried, also among what you no longer show, and let the simpler one "
         "ship in doubt.",
    hints=("`norm.ppf(0.975)` is 1.96: the reach of one interval that misses in 5 % of all cases, 2.5 % at either end.",
           "Who comes into question at all? Only among those does the largest lead count."),
    mistakes=(
        Mistake("each as if tried alone", "With a dozen tries one in two such tables has a clear lead by luck. The 5 % "
                "are to be shared.",
                lambda leads, tried: _ships(leads, tried, share=False)),
        Mistake("forgets what was dropped", "You shared the 5 % among the ways in the table. Those that were tried and "
                "left out have had their chance of luck too.", lambda leads, tried: _ships(leads, len(leads))),
        Mistake("ships the best one anyway", "Something is always in front. It ships if its interval says so, or else "
                "the rule stays.",
                lambda leads, tried: leads["value"].idxmax(),
                also=(lambda leads, tried: leads["value"].idxmax() if leads["value"].max() > 0 else "rule",)),
        Mistake("one end of the interval", "An interval of 95 % misses in 2.5 % at either end. Yours takes all 5 % at "
                "the lower one, and is too narrow.", lambda leads, tried: _ships(leads, tried, tail=0.05)),
        Mistake("looks at the leader alone", "The largest lead need not be the surest. You gave up when the first one "
                "was not clear, and another one was.", lambda leads, tried: _ships(leads, tried, best_of="all")),
        Mistake("clear of zero on the wrong side", "An interval that lies wholly below zero is clear, too: clearly "
                "worse.",
                lambda leads, tried: _ships(leads, tried, side=2)),
    ))


# ---- q6: an honest filter


def _proposals(seed, n=160):
    """Features and answers of proposals in dips that overlap; one of the features knows something."""
    rng = np.random.default_rng([60, seed])
    dip = np.repeat(np.arange(n), rng.integers(4, 12, n))[:n]
    days = pd.bdate_range("2004-01-05", periods=n + 20)
    mood = rng.normal(size=n)[dip] + rng.normal(size=n)
    X = pd.DataFrame({"depth": 0.01 * mood + 0.02, "volatility": np.exp(rng.normal(0, 0.4, n))}, days[:n])
    last = pd.Series(np.arange(n)).groupby(dip).transform("max").to_numpy()
    paid = (2.5 * mood + rng.logistic(size=n) > -0.4).astype(float)
    return X, pd.DataFrame({"label": paid, "end": days[last + 5]}, X.index)


def _honest(X, pays):
    half = len(X) // 2
    over = (pays["end"].iloc[:half] <= X.index[half]).to_numpy()
    model = make_model("logistic").fit(X.iloc[:half][over], pays["label"].iloc[:half][over])
    return pd.Series(model.predict_proba(X.iloc[half:])[:, 1], X.index[half:])


def _told(answer, X, pays):
    """An answer's predictions where it made any, a Series; a blank stays one."""
    made = answer(X.copy(), pays.copy())
    if is_blank(made):
        return made
    made = on_index(on_index(made, X.index), X.index[len(X) // 2 :])
    return pd.Series(made).astype(float).dropna()


UNMOVED = "play no part"


def _known(answer, X, pays):
    """What became of the predictions when something was changed that they could not know, in words."""
    told = _told(answer, X, pays)
    if is_blank(told):
        return told
    n, rng = len(X), np.random.default_rng(0)
    cut, first = 3 * n // 4, X.index.get_indexer(told.index[:1])[0]
    later, flipped = X.copy(), pays["label"].copy()
    later.iloc[cut + 1 :] = 3 + 5 * rng.normal(size=(n - cut - 1, X.shape[1]))
    flipped.iloc[cut + 1 :] = 1 - flipped.iloc[cut + 1 :]
    still_open = (np.arange(n) < first) & (pays["end"] > X.index[first]).to_numpy()
    other = pays["label"].where(~still_open, 1 - pays["label"])
    late = told[told.index >= X.index[n // 2]]
    leaning = late.corr(pays["label"], method="spearman") if late.nunique() > 1 else 0.0
    return {"it predicts": "the second half" if len(late) == n - n // 2 else "less than the second half",
            "asked again": "the same" if _moved(answer, told, X, pays, n) == UNMOVED else "something else",
            "later answers": _moved(answer, told, X, pays.assign(label=flipped), cut),
            "later features": _moved(answer, told, later, pays, cut),
            "answers still open": _moved(answer, told, X, pays.assign(label=other), first),
            "it has learned": "something" if leaning > 0.2 else "the opposite" if leaning < -0.5 else "nothing"}


def _moved(answer, told, X, pays, cut) -> str:
    """Whether any prediction up to the row `cut` is another on these rows and answers."""
    there = np.isin(told.index, X.index[: cut + 1])
    again = _told(answer, X, pays).reindex(told.index)
    return UNMOVED if np.allclose(again[there], told[there], rtol=0, atol=1e-9) else "move its predictions"


def _peeked(*what):
    return lambda given, expected: any(given[0][name] == "move its predictions" for name in what)


X_AUDIT, PAYS_AUDIT = _proposals(99)


def _audit(answer):
    def procedure(X, y):
        return _told(answer, X, pd.DataFrame({"label": y, "end": PAYS_AUDIT["end"].reindex(X.index)}))

    return audit_procedure(procedure, X_AUDIT, PAYS_AUDIT["label"], label_end=PAYS_AUDIT["end"], n_cuts=2, n_null=0)


HONEST = Question(
    "q6", reference=_honest, cases=lambda seed: [_proposals(seed)], run=_known, audit=_audit, points=3,
    keep="Scale, choose and fit within each fold, on rows before the test whose trades were over when it began.",
    hints=("There are three places in the post where something is known too early: the line that scales, the folds, "
           "and their borders.",
           "What is the first thing in the post that uses all rows? Put it behind the split.",
           "A `WalkForward` that is told `label_end` leaves out what was not known yet."),
    mistakes=(
        Mistake("another answer each time", "Asked twice about the same rows it says two things, so nobody can tell "
                "what it had known. Give whatever draws at random a `random_state`.",
                when=lambda given, expected: given[0]["asked again"] == "something else"),
        Mistake("learns from later answers", "What a proposal is told depends on what came of later ones. Folds that "
                "are shuffled, or that train on both sides of the test, teach it the other days of the same dip.",
                when=_peeked("later answers")),
        Mistake("scaled by all years", "Means and deviations, or what you choose by, come from all rows, those of "
                "later years among them. The answers are kept apart, the features are not.",
                when=_peeked("later features")),
        Mistake("learns from trades still open", "Train and test are in order, but some trades that teach were not "
                "over when the first prediction was made. Purge by the day of the sale.",
                when=_peeked("answers still open")),
        Mistake("throws most of it away", "It is honest about the rows that it predicts, and leaves out some of the "
                "second half.",
                when=lambda given, expected: given[0]["it predicts"] == "less than the second half"),
        Mistake("the other column", "Your predictions go down where a proposal is likelier to pay. A classifier gives "
                "a probability for each class: which one is yours of?",
                when=lambda given, expected: given[0]["it has learned"] == "the opposite"),
        Mistake("knows nothing", "Nothing is known too early, and nothing in time either: the feature `depth` tells "
                "something, and your predictions do not.",
                when=lambda given, expected: given[0]["it has learned"] == "nothing"),
    ))

QUESTIONS = [COUNT, PAID, LUCK, REFUSED, SHIPS, HONEST]
