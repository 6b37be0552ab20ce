"""Every lesson on other markets, as `mlkit run -p symbol=...` runs it: it ends well, its general claims hold.

`make test` runs each lesson on one of MARKETS, by turns; `make test-all` on each of them.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mlkit.batch import recorded
from mlkit.course import numbered_notebooks, run_course

LESSONS = numbered_notebooks(Path(__file__).parents[1] / "notebooks")
WALK = ("RANDOM_WALK",)                     # nothing can be predicted there
REAL = ("EURUSD", "IBM")                    # a currency with one price a day, a stock with four
MARKETS = (REAL[0], *WALK, REAL[1])


def near(value, truth, tolerance=0.04):
    """Within luck's reach: 0.04 is four standard errors of a share of 2,500 days, and more of a correlation of them."""
    return abs(value - truth) < tolerance


# What lessons record, and what must hold of it: lesson, markets, the claim, its test.
CLAIMS = [
    ("00", MARKETS, "who trades pays", lambda r: (r["trading_cost"] > 0) == (r["trades"] > 0)),
    ("00", WALK, "a model calls half of the days", lambda r: near(r["accuracy"], 0.5)),
    ("00", WALK, "a model is not worth it", lambda r: r["verdict"] == "not proven" and abs(r["t"]) < 2),
    ("01", MARKETS, "the leak fakes a score", lambda r: r["accuracy_too_good"] > 0.6 < r["walk_too_good"]),
    ("01", MARKETS, "cured, the walk scores one half", lambda r: near(r["walk_cured"], 0.5)),
    ("01", WALK, "cured, the market scores one half", lambda r: near(r["accuracy_cured"], 0.5)),
    ("02", MARKETS, "a forest learns by heart, a coin too", lambda r: min(r["train"], r["coin_train"]) > 0.95),
    ("02", MARKETS, "the best by luck is foretold", lambda r: near(r["best_by_luck"], r["expected_best"], 0.7)),
    ("02", MARKETS, "nothing is found in noise", lambda r: max(r["deflated_2014"], r["deflated_2025"]) < 0.95),
    ("02", MARKETS, "overfitting is told from an edge", lambda r: r["pbo_edge"] < 0.1 < r["pbo_noise"]),
    ("02", WALK, "the interval holds one half", lambda r: r["test_low"] <= 0.5 <= r["test_high"]),
    ("02", WALK, "no choice of settings helps", lambda r: near(r["nested"], 0.5)),
    ("03", MARKETS, "a fake earns a third of an equal share", lambda r: r["fake_share"] > 1 / 14 / 3),
    ("03", MARKETS, "a copy takes credit away", lambda r: r["kept_by_shuffling"] < r["kept_by_splits"] < 0.7),
    ("03", WALK, "no group of features helps", lambda r: r["steps_that_help"] <= 1 and near(r["lags_gain"], 0)),
    ("03", WALK, "hardly a column is needed", lambda r: r["needed"] <= 2),
    ("04", MARKETS, "the level's R2 is the naive forecast's", lambda r: near(r["level_r2"], r["naive_r2"], 0.01)),
    ("04", REAL, "volatility can be predicted", lambda r: r["volatility_ic_low"] > 0.1),
    ("04", WALK, "volatility cannot", lambda r: r["volatility_ic_low"] <= 0 and not r["model_needed"]),
    ("04", WALK, "neither can the change", lambda r: near(r["change_ic"], 0) and near(r["level_hit_rate"], 0.5)),
    ("04", WALK, "nor direction and return", lambda r: near(r["direction_ic"], 0) and near(r["return_ic"], 0)),
    ("05", MARKETS, "the leader leads", lambda r: r["accuracy_best"] >= r["accuracy_logistic"]),
    ("05", WALK, "a model calls half of the days", lambda r: near(r["accuracy_logistic"], 0.5)),
    ("05", WALK, "next to no family beats the coin", lambda r: r["beat_the_coin"] <= 2),
    ("05", WALK, "luck explains the leader", lambda r: r["luck_against_coin"] > 0.05),
    ("05", WALK, "nothing is found after counting the tries", lambda r: r["deflated_sharpe"] < 0.95),
    ("06", MARKETS, "the two lines cross", lambda r: 0 < r["crossing"] < 50),
    ("06", WALK, "no model can pay for its trades", lambda r: r["can_pay"] == 0),
    ("07", MARKETS, "a frozen model loses its edge, one that forgets keeps it",
     lambda r: r["frozen_in_world"] < 0.5 < r["rolling_250_in_world"]),
    ("07", MARKETS, "a hit rate is slow, residuals are quick", lambda r: 5 * r["delay_residual"] < r["delay_hit_rate"]),
    ("07", WALK, "half of the days, before and after", lambda r: near(r["tested"], 0.5) and near(r["live"], 0.5)),
    ("08", MARKETS, "three times Kelly ruins most", lambda r: r["players_with_less"] > 0.9),
    ("08", MARKETS, "EWMA is ahead of the last 20 days", lambda r: r["qlike_ewma"] < r["qlike_last_20"]),
    ("08", MARKETS, "a hard limit saves where the edge turned only",
     lambda r: r["hard_limit_turned"] > 0 and r["hard_limit_alive"] < 0.5),
    ("08", WALK, "luck explains the best size", lambda r: r["luck"] > 0.05),
    ("09", MARKETS, "where the truth is known, the filter beats coins", lambda r: r["coins_as_good_made"] < 0.1),
    ("09", WALK, "nothing is shipped", lambda r: r["shipped"] == "nothing" and r["coins_as_good"] > 0.05),
    ("10", MARKETS, "every attack but one is refused", lambda r: r["refused"] == 6),
    ("10", MARKETS, "the right challenger wins, the wrong one does not",
     lambda r: r["gain_low"] > 0 > r["refused_difference"]),
    ("10", WALK, "it is not shipped", lambda r: not r["ship"] and near(r["accuracy_held_out"], 0.5, 0.06)),
    ("11", MARKETS, "nothing leaks, and the verdict is that of all conditions",
     lambda r: r["findings"] == 0 and r["worth_it"] == (r["conditions_met"] == 6) == (r["failed"] == "")),
    ("11", MARKETS, "a ratio lies in its interval", lambda r: r["sharpe_low"] < r["sharpe_net"] < r["sharpe_high"]),
    ("11", WALK, "it is not worth it", lambda r: not r["worth_it"] and r["deflated"] < 0.95 and r["ahead_low"] <= 0),
    ("11", WALK, "it calls half of the days", lambda r: near(r["accuracy"], 0.5) and r["lead_low"] <= 0),
]


def variants():
    """Each lesson on each market; all but one market of a lesson are `long`, another one lesson by lesson."""
    first = {lesson: MARKETS[int(lesson.stem[:2]) % len(MARKETS)] for lesson in LESSONS}
    return [pytest.param(lesson, market, id=f"{lesson.stem[:2]}-{market}",
                         marks=[] if market == first[lesson] else [pytest.mark.long])
            for lesson in LESSONS for market in MARKETS]


def run(notebook, market, out):
    """What is wrong with a run of a lesson on a market, in words."""
    [outcome] = run_course([notebook], out, parameters={"symbol": market}, progress=False)
    if outcome.status != "ok":
        return [outcome.describe()]
    executed = nbformat.read(outcome.output, as_version=4)
    found = recorded(executed)
    faults = [f"cell {cell.id} wrote to stderr: {output.text}" for cell in executed.cells
              if cell.cell_type == "code" for output in cell.outputs if output.get("name") == "stderr"]
    if not found:
        faults.append("nothing was recorded")
    elif found.get("symbol") != market:
        faults.append(f"asked for {market}, it recorded symbol={found.get('symbol')!r}")
    return faults or broken_claims(notebook.stem[:2], market, found)


def broken_claims(number, market, found):
    return [f"{claim}: not so on {market}, it recorded {found}" for lesson, markets, claim, holds in CLAIMS
            if lesson == number and market in markets and not holds(found)]


@pytest.mark.parametrize("lesson, market", variants())
def test_a_lesson_holds_on_another_market(lesson, market, tmp_path):
    faults = run(lesson, market, tmp_path)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_claims_something_everywhere_or_on_a_random_walk(lesson):
    number = lesson.stem[:2]
    assert any(lesson == number for lesson, *_ in CLAIMS), f"CLAIMS has no general claim of lesson {number}"


def test_make_test_takes_every_kind_of_market_and_test_all_takes_all():
    short = {variant.values[1] for variant in variants() if not variant.marks}
    assert short == set(MARKETS) and len(variants()) == len(MARKETS) * len(LESSONS)


RECORD = "from mlkit import record\nrecord(symbol=symbol, walk_cured={}, walk_too_good=0.7, accuracy_too_good=0.7)"
WRONG = {
    "an assert fails": ("assert symbol == 'GE', 'about GE alone'", "about GE alone"),
    "it warns": (f"import warnings\nwarnings.warn('beware')\n{RECORD.format(0.5)}", "wrote to stderr: .*beware"),
    "it records nothing": ("1 + 1", "nothing was recorded"),
    "it is about GE": (f"symbol = 'GE'\n{RECORD.format(0.5)}", "recorded symbol='GE'"),
    "a claim is false": (RECORD.format(0.6), "cured, the walk scores one half: not so on IBM"),
    "it goes online": ("import socket\nsocket.create_connection(('192.0.2.1', 80), 5)", "lessons run offline"),
}


@pytest.mark.parametrize("source, told", [(RECORD.format(0.5), None), *WRONG.values()], ids=["good", *WRONG])
def test_a_lesson_that_goes_wrong_is_found(source, told, tmp_path):
    lesson = tmp_path / "01_lesson.ipynb"
    parameters = new_code_cell("symbol = 'GE'", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(source)]), lesson)
    faults = run(lesson, "IBM", tmp_path / "out")
    assert re.search(told, "\n".join(faults)) if told else not faults, faults
