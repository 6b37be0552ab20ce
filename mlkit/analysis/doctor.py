"""A doctor for backtests: what most often makes a result worth nothing, looked for in one result.

What it looks for, and from where on it speaks up, is in `mlkit.analysis.symptoms`.

>>> from mlkit import BuyAndHold, backtest, random_walk
>>> found = diagnose(backtest(random_walk(500, seed=1), BuyAndHold()))
>>> found["check"].tolist()
['noise', 'few trades', 'costs', 'the market']
"""

from __future__ import annotations

import html

import pandas as pd

from mlkit.analysis.symptoms import CHECKS, INVALID, UNKNOWN, VERDICTS, WARNING, Case
from mlkit.overfitting.ledger import trials_so_far


class Diagnosis(pd.DataFrame):
    """The findings as a table, worst first, a row each: check, verdict, measured, advice; no row when there is none.

    verdict : "invalid" (the figures mean nothing as they stand) or "warning"
    checks : DataFrame of every check, with the verdicts "cannot say" and "ok" too
    """

    _metadata = ["checks"]

    def __init__(self, checks: pd.DataFrame):
        super().__init__(checks[checks["verdict"].isin([INVALID, WARNING])].reset_index(drop=True))
        self.checks = checks

    @property
    def _constructor(self):
        return pd.DataFrame  # a part of it is a table like any other

    @property
    def summary(self) -> str:
        """How much was found, and what could not be looked into, in a sentence."""
        unknown = self.checks.loc[self.checks["verdict"] == UNKNOWN, "check"]
        found = f"{len(self)} finding{'' if len(self) == 1 else 's'}" if len(self) else "Nothing found"
        left = f"; nothing can be said of {', '.join(unknown)}" if len(unknown) else ""
        return f"{found} in {len(self.checks)} checks{left}."

    def __repr__(self) -> str:
        return "\n".join([self.summary, *(f"- {row.check} ({row.verdict}): {row.measured} {row.advice}"
                                          for row in self.itertuples())])

    def _repr_html_(self) -> str:
        heads = "".join(f"<th style='text-align:left'>{name}</th>" for name in self)
        rows = ["".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row)
                for row in self.itertuples(index=False)]
        table = "".join(f"<tr>{row}</tr>" for row in [heads, *rows]) if rows else ""
        return f"<p>{html.escape(self.summary)}</p><table>{table}</table>"


def diagnose(result, *, n_trials: float | None = None, benchmark=None) -> Diagnosis:
    """What speaks against believing this backtest: a table of findings, worst first, empty if there are none.

    result : BacktestResult
    n_trials : how many were tried before this one was chosen, itself included; default the count
        of the open TrialLedger (of several, the fullest), and without one nothing is said of it
    benchmark : BacktestResult over the same bars, such as buy and hold

    returns : Diagnosis, a DataFrame: check, verdict, measured, advice; `.checks` has all of them

    A finding is a reason to look, not a proof; thresholds are constants of `symptoms`. What it
    cannot see: leaks (`audit_strategy`). Raises ValueError for a result or a benchmark that is none,
    and for less than one trial.
    """
    for name, each in (("result", result), ("benchmark", benchmark)):
        if not hasattr(each, "waterfall") and not (name == "benchmark" and each is None):
            raise ValueError(f"{name} must be what backtest gives, a BacktestResult, not {each!r}")
    if n_trials is None and (counted := trials_so_far()) is not None:
        n_trials = max(counted, 1)
    case = Case(result, n_trials, benchmark)
    rows = []
    for name, (look, advice) in CHECKS.items():
        verdict, measured = look(case)
        rows.append((name, verdict, measured, advice if verdict in (INVALID, WARNING) else ""))
    table = pd.DataFrame(rows, columns=["check", "verdict", "measured", "advice"]).astype("str")
    worst_first = table["verdict"].map(VERDICTS.index).sort_values(kind="stable").index
    return Diagnosis(table.loc[worst_first].reset_index(drop=True))
