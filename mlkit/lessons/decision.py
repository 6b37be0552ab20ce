"""Lesson 11, the decision: six conditions that were written down before, each with what was measured, and a verdict.

>>> from mlkit import planted_edge, random_walk
>>> setup = Setup("logistic", train_size=500, test_size=250)
>>> for bars in (planted_edge(3_000, seed=1, strength=0.3), random_walk(3_000, seed=1)):
...     print(verdict(judge(bars, setup)))
Worth it: 6 of 6 conditions hold.
Not worth it: 1 of 6 conditions holds.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mlkit.analysis import BreakEven, break_even_cost, cost_sensitivity, diagnose
from mlkit.engine import BacktestResult, Strategy, backtest
from mlkit.lessons.capstone import (NAIVE, RIVALS, Setup, audits, by_year, drawn_again, ends, leader, research, trade,
                                    traders_of, usable)
from mlkit.lessons.comparison import LEFT, calls
from mlkit.overfitting import TrialLedger, deflated_sharpe, expected_max_sharpe

RULES = {
    "nothing leaks": "four audits find nothing",
    "it knows something": "right on more bars than a coin and than the naive forecast: the interval lies above 0",
    "it beats what is simpler": "Sharpe ratio above the best of mean reversion, buy & hold and staying out: the "
                                "interval lies above 0",
    "it is more than luck": "deflated Sharpe ratio above 0.95",
    "it can pay its costs": "break-even cost above what trading costs: the interval lies above it",
    "it is steady": "gains, in most years, and neither its best trades nor one third of the time made it all",
}
AGAINST = {  # what a condition that fails says: that nothing is shown, or that the opposite is
    "nothing leaks": ("it leaks", "it leaks"),
    "it knows something": ("it is not shown to know anything", "it is wrong more often than who knows nothing"),
    "it beats what is simpler": ("something simpler may do as well", "something simpler does better"),
    "it is more than luck": ("luck may explain it", "luck may explain it"),
    "it can pay its costs": ("it may not pay its costs", "it cannot pay its costs"),
    "it is steady": ("it is not steady", "it is not steady"),
}
SURE = 0.95
STEADY = {"one trade": "its best trades", "period": "one third of the time"}  # what `diagnose` may not find
NOTHING, NEVER = "staying out", "it never held anything"


@dataclass(frozen=True)
class Condition:
    """One of RULES: what was measured, in words, whether it holds, and the figure behind it with its 95 % interval.

    asked : what the figure has to be above
    """

    name: str
    measured: str
    passed: bool
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    asked: float = 0.0

    @property
    def is_against(self) -> bool:
        """Whether even the upper end of the interval is below what is asked."""
        return bool(self.high < self.asked)

    def __repr__(self) -> str:
        return f"{self.name}: {self.measured}. {'It holds.' if self.passed else 'It does not hold.'}"


# ------------------------------------------------------------ the six conditions


def rules_table() -> pd.DataFrame:
    """The conditions as they were written down before anything was measured."""
    return pd.DataFrame.from_dict(RULES, orient="index", columns=["holds if"]).rename_axis("condition")


def nothing_leaks(reports: dict) -> Condition:
    """reports : of `audits`."""
    findings = sum(len(report.findings) for report in reports.values())
    tests = sum(int(report.tests["made"].sum()) for report in reports.values())
    return Condition("nothing leaks", f"{findings} finding{'' if findings == 1 else 's'} in {tests} tests",
                     all(report.clean for report in reports.values()), findings)


def it_knows_something(found: dict, name: str, setup: Setup) -> Condition:
    """found : of `research`. Against the naive forecast on the same bars, or a coin where that one is better."""
    right = calls({each: found[each] for each in (name, NAIVE)})
    base, who = max((0.5, "a coin"), (right[NAIVE].mean(), "the naive forecast"))
    ahead = 100 * (right[name] - (base if who == "a coin" else right[NAIVE]))
    low, high = _ends_of_mean(ahead, setup)
    return Condition("it knows something", f"right on {right[name].mean():.1%} of {len(right):,} bars, "
                     f"{ahead.mean():+.1f} points over {who} ({low:+.1f} to {high:+.1f})", low > 0, ahead.mean(), low,
                     high)


def it_beats_what_is_simpler(results: dict, name: str, drawn: pd.DataFrame) -> Condition:
    """results : of `trade`; drawn : of `drawn_again`. Against the best of RIVALS, or staying out where both lose."""
    rival = leader(results, RIVALS)
    own, other = results[name].metrics["sharpe"], results[rival].metrics["sharpe"]
    if not own == own:
        return Condition("it beats what is simpler", NEVER, False)
    again = drawn[name, "sharpe"]
    if other > 0:
        again = again - drawn[rival, "sharpe"]
    else:
        rival, other = NOTHING, 0.0
    low, high = ends(again)
    return Condition("it beats what is simpler", f"Sharpe ratio {own:.2f}, {rival} {other:.2f}: {own - other:+.2f} "
                     f"({low:+.2f} to {high:+.2f})", low > 0, own - other, low, high)


def it_is_more_than_luck(result: BacktestResult, ledger: TrialLedger, tried_before: int = 0) -> Condition:
    """The deflated Sharpe ratio after all trials of the ledger, and those that were made before.

    Ratios of n returns without any edge have a variance of 1 / n. That of the ledger's own ratios (in
    `TrialLedger.deflated_sharpe`) tells luck where many alike were tried; a model and two rivals of another kind
    differ by what they do.
    """
    name, returns, sharpe = "it is more than luck", result.returns.to_numpy(), result.metrics["sharpe"]
    if not np.isfinite(sharpe):
        return Condition(name, NEVER, False)
    n, tried = len(returns), len(ledger) + tried_before
    standard = (returns - returns.mean()) / returns.std()
    deflated = deflated_sharpe(sharpe / np.sqrt(result.periods_per_year), n, n_trials=tried, variance=1.0 / n,
                               skew=(standard**3).mean(), kurtosis=(standard**4).mean())
    return Condition(name, f"deflated Sharpe ratio {deflated:.3f} after {tried} trial{'s' if tried > 1 else ''}",
                     deflated > SURE, deflated)


def sharpe_needed(result: BacktestResult, n_trials) -> pd.Series:
    """The Sharpe ratio a year that is more than luck on as many bars of normal returns, by how many were tried."""
    n = len(result.returns)
    needed = [expected_max_sharpe(tried, 1.0 / n) + ndtri(SURE) / np.sqrt(n) for tried in n_trials]
    return np.sqrt(result.periods_per_year) * pd.Series(needed, pd.Index(n_trials, name="tried"))


def limit_of(bars: pd.DataFrame, trader: Strategy, setup: Setup) -> BreakEven | None:
    """The cost a side at which nothing is left; None for a strategy that never trades."""
    if backtest(bars, trader).fills.empty:
        return None
    return break_even_cost(bars, trader, execution=setup.execution, n_boot=setup.n_boot, seed=setup.seed)


def it_can_pay(limit: BreakEven | None, setup: Setup) -> Condition:
    """limit : of `limit_of`."""
    if limit is None:
        return Condition("it can pay its costs", NEVER, False)
    return Condition("it can pay its costs", f"nothing is left at {limit:,.1f} bps a side ({limit.low:,.1f} to "
                     f"{limit.high:,.1f}); trading costs {setup.cost_bps:g}", limit.low > setup.cost_bps, float(limit),
                     limit.low, limit.high, setup.cost_bps)


def it_is_steady(result: BacktestResult) -> Condition:
    """The share of the calendar years that gain, and what `diagnose` says of one trade and of one period."""
    years = by_year({"": result})[""]
    gained, checks = int((years > 0).sum()), diagnose(result).checks.set_index("check")["verdict"]
    against = [words for check, words in STEADY.items() if checks[check] != "ok"]
    lost = result.metrics["total_return"] <= 0
    words = "; in all it gains nothing" if lost else f"; {' and '.join(against)} made it all" if against else ""
    return Condition("it is steady", f"{gained} of {len(years)} years gain{words}",
                     2 * gained > len(years) and not against and not lost, gained / len(years))


def _ends_of_mean(values: pd.Series, setup: Setup) -> tuple[float, float]:
    """95 % interval of the mean of values (n,): circular block bootstrap, blocks of the cube root of n."""
    from arch.bootstrap import CircularBlockBootstrap  # here, as it takes longer to import than pandas
    days = CircularBlockBootstrap(ceil(len(values) ** (1 / 3)), values.to_numpy(), seed=setup.seed)
    return ends(days.apply(np.mean, setup.n_boot))


# ------------------------------------------------------------ the decision


def table_of(conditions: list[Condition]) -> pd.DataFrame:
    """A row a condition: holds if, measured, passed."""
    rows = {each.name: {"holds if": RULES[each.name], "measured": each.measured, "passed": bool(each.passed)}
            for each in conditions}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("condition")


def is_worth_it(conditions: list[Condition]) -> bool:
    """Every condition of RULES, each once, holds. Raises ValueError if one was not asked."""
    if sorted(each.name for each in conditions) != sorted(RULES):
        raise ValueError(f"a decision needs each of the conditions once: {', '.join(RULES)}")
    return all(each.passed for each in conditions)


def verdict(conditions: list[Condition]) -> str:
    """The decision in a sentence."""
    count = sum(bool(each.passed) for each in conditions)
    return (f"{'Worth it' if is_worth_it(conditions) else 'Not worth it'}: {count} of {len(conditions)} conditions "
            f"hold{'s' if count == 1 else ''}.")


def reasons(conditions: list[Condition]) -> list[str]:
    """What failed, in words, a sentence each: what is against it, or only not shown."""
    return [f"{AGAINST[each.name][each.is_against]}: {each.measured}" for each in conditions if not each.passed]


def decide(bars: pd.DataFrame, setup: Setup, found: dict, traders: dict, leaks: Condition,
           limits: dict | None = None) -> list[Condition]:
    """All six conditions for the family of the highest Sharpe ratio at these costs, each family tried counted.

    found : of `research`; traders : of `traders_of`; leaks : `nothing_leaks`; limits : family -> `limit_of`, if known
    """
    with TrialLedger() as ledger:
        results = trade(bars, setup, traders)
    name = leader(results, setup.names)
    drawn = drawn_again(results, n_boot=setup.n_boot, seed=setup.seed)
    limit = limits[name] if limits and name in limits else limit_of(bars, traders[name], setup)
    return [leaks, it_knows_something(found, name, setup), it_beats_what_is_simpler(results, name, drawn),
            it_is_more_than_luck(results[name], ledger, setup.tried_before), it_can_pay(limit, setup),
            it_is_steady(results[name])]


def cost_lines(bars: pd.DataFrame, traders: dict, costs_bps) -> pd.DataFrame:
    """Sharpe ratio a year of families and rivals on the same days at each cost a side: `cost_sensitivity`."""
    strategies = copy.deepcopy(traders | RIVALS)
    lookback = 1 + max(strategy.first_decision(bars) for strategy in strategies.values())
    for strategy in strategies.values():
        strategy.lookback = lookback
    return cost_sensitivity(bars, strategies, costs_bps, progress=False)


def judge(bars: pd.DataFrame, setup: Setup, leaks: Condition | None = None) -> list[Condition]:
    """The whole report in one call: the six conditions, in the order of RULES.

    leaks : what the audits said, where the same features, model and split have been audited on other bars
    """
    found = research(usable(bars, setup), setup)
    leaks = leaks or nothing_leaks(audits(bars, setup, found[setup.names[0]]))
    return decide(bars, setup, found, traders_of(bars, setup, found), leaks)


def judge_worlds(worlds: dict, setup: Setup) -> pd.DataFrame:
    """name -> bars of a made world: a column a world, which conditions hold there, and the verdict.

    Audited in the first: features, model and split are the same in all.
    """
    columns, leaks = {}, None
    for name, bars in worlds.items():
        conditions = judge(bars, setup, leaks)
        leaks = conditions[0]
        columns[name] = {each.name: bool(each.passed) for each in conditions} | {"worth it": is_worth_it(conditions)}
    return pd.DataFrame(columns)


def summary(name: str, conditions: list[Condition], results: dict, drawn: pd.DataFrame, n_trials: int) -> dict:
    """What `record` keeps of a report: the verdict, and the figures behind each condition."""
    leaks, knows, beats, luck, pays, steady = conditions
    own, (low, high) = results[name].metrics, ends(drawn[name, "sharpe"])
    sharpes = {f"sharpe_{rival.replace(' & ', '_and_').replace(' ', '_')}": results[rival].metrics["sharpe"]
               for rival in RIVALS}
    return {"judged": name, "worth_it": is_worth_it(conditions), "verdict": verdict(conditions),
            "conditions_met": sum(bool(each.passed) for each in conditions),
            "failed": "; ".join(each.name for each in conditions if not each.passed), "findings": int(leaks.value),
            "lead": knows.value, "lead_low": knows.low, "lead_high": knows.high,
            "sharpe_net": own["sharpe"], "sharpe_low": low, "sharpe_high": high, **sharpes, "ahead": beats.value,
            "ahead_low": beats.low, "ahead_high": beats.high, "n_trials": n_trials, "deflated": luck.value,
            "break_even_bps": pays.value, "break_even_low": pays.low, "break_even_high": pays.high,
            "profitable_years": steady.value,
            **{metric: own[metric] for metric in ("annual_return", "max_drawdown", "turnover", "n_trades")}}


def page_of(table: pd.DataFrame):
    """A table with sentences in it, for reading (an IPython HTML): nothing cut off, words to the left."""
    from IPython.display import HTML  # here, as the rest of the module needs no notebook
    with pd.option_context("display.max_colwidth", None):
        page = table.replace({True: "yes", False: "no"}).rename_axis(None).to_html(justify="left", border=0)
    return HTML(page.replace("<td>", LEFT.format("td")).replace("<th>", LEFT.format("th")))
