"""The dashboard's answers as plain functions, and its controls; in a browser: tests/test_browser.py."""

import asyncio

import pytest
from click.testing import CliRunner

from mlkit import dashboard
from mlkit.cli import main
from mlkit.dashboard import decision_report, instruments, models, page, study
from mlkit.lessons import capstone, decision

CONDITIONS = list(decision.RULES)


@pytest.fixture(scope="module")
def report():
    return decision_report("PLANTED_EDGE", "logistic", 1.0)


def test_a_report_is_the_one_of_lesson_11():
    setup = capstone.Setup("logistic", n_boot=dashboard.N_BOOT).at_cost(2.0)
    bars = capstone.usable(capstone.bars_of("EURUSD", rows=dashboard.ROWS), setup)
    conditions = decision.judge(bars, setup)
    report = decision_report("EURUSD", "logistic", 2.0)
    assert report.verdict == decision.verdict(conditions) and report.is_worth_it == decision.is_worth_it(conditions)
    assert report.conditions.equals(decision.table_of(conditions)) and list(report.conditions.index) == CONDITIONS


def test_a_report_shows_equity_waterfall_and_break_even(report):
    shown = report._repr_html_()
    assert len(report.figures) == 3 and shown.count("<img ") == shown.count("data:image/png;base64,iVBOR") == 3
    assert "buy &amp; hold" in shown and "mean reversion" in shown and "at 1 bps a side" in shown
    assert all(f"<b>{name}</b>" in shown for name in CONDITIONS) and shown.count("<td>yes</td>") + shown.count("<td>no</td>") == 6


def test_another_cost_is_answered_without_fitting_again(report):
    fitted = study.cache_info().misses
    dear = decision_report("PLANTED_EDGE", "logistic", 20.0)
    assert study.cache_info().misses == fitted
    assert "trading costs 20" in dear.conditions.loc["it can pay its costs", "measured"]
    first = [next(iter(each.figures.values())).digest() for each in (report, dear)]
    assert first[0] != first[1]


@pytest.mark.parametrize("symbol, model, cost, why", [
    ("WTI", "logistic", 1.0, "non-positive close"), ("UST10Y", "logistic", 1.0, "is a yield, not a price"),
    ("EURUDS", "logistic", 1.0, "did you mean EURUSD"), ("GE", "oracle", 1.0, "oracle"),
    ("PLANTED_EDGE", "logistic", -1.0, "half_spread_bps")])
def test_what_no_report_can_be_made_of_says_why(symbol, model, cost, why):
    with pytest.raises(ValueError, match=why):
        decision_report(symbol, model, cost)


def test_what_can_be_chosen_is_what_is_bundled_and_installed():
    assert {"GE", "EURUSD", "BRENT", "RANDOM_WALK"} <= set(instruments()) and "UST10Y" not in instruments()
    assert {"logistic", "xgboost", "prophet"} <= set(models())


async def quiet():
    """As long as work takes to begin; it ends before anything else is heard."""
    await asyncio.sleep(dashboard.QUIET + 0.1)


def test_the_controls_change_the_report_and_an_error_is_shown(report, monkeypatch):
    async def learner():
        symbol, model, cost, status, shown = page().children
        assert "logistic on GE" in shown.value and "Done." in status.value
        cost.value = 10.0
        await quiet()
        assert "logistic on GE" in shown.value and "at 10 bps a side" in shown.value
        symbol.value = "WTI"
        await quiet()
        assert shown.value == "" and "BarsError:</b> WTI has a non-positive close (-36.98 on" in status.value
        symbol.value, cost.value = "PLANTED_EDGE", 1.0
        await quiet()
        assert shown.value == report._repr_html_() and "Error" not in status.value
        monkeypatch.setattr(dashboard, "verdict", lambda conditions: 1 / 0)
        cost.value = 2.0
        await quiet()
        assert shown.value == "" and "ZeroDivisionError" in status.value, "nor is one that nobody expected swallowed"

    asyncio.run(learner())


def test_what_the_arrow_keys_pass_by_is_not_worked_on(report, monkeypatch):
    asked = []
    monkeypatch.setattr(dashboard, "decision_report", lambda **settings: asked.append(settings["symbol"]) or report)

    async def learner():
        symbol = page().children[0]
        for name in instruments()[:6]:
            symbol.value = name
            await asyncio.sleep(0)
        await quiet()

    asyncio.run(learner())
    assert asked == ["GE", instruments()[5]]


def test_without_voila_it_says_how_to_have_it(monkeypatch):
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["dashboard"])
    assert done.exit_code == 1 and "needs Voila: make dashboard installs it" in done.output
