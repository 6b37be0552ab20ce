"""The decision report of lesson 11 as one page with controls: `make dashboard`, `mlkit dashboard`.

Pick an instrument, a model and what trading costs; the page says what is left of it beside its rivals, where the
money went, and whether the model is worth its complexity. What takes long (fitting, the audits, the break-even) is
worked out once for an instrument and a model, so that a change of cost alone is answered at once.

    decision_report("GE", "logistic", cost_bps=3.0).verdict      # 'Not worth it: 1 of 6 conditions holds.'
"""

from __future__ import annotations

import asyncio
import html
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from mlkit.analysis import BreakEven
from mlkit.engine import Strategy
from mlkit.lessons.capstone import (REFUSED, RIVALS, Setup, audits, bars_of, leader, research, trade, traders_of,
                                    usable)
from mlkit.lessons.decision import Condition, decide, is_worth_it, limit_of, nothing_leaks, table_of, verdict
from mlkit.markets import WORLDS, datasets
from mlkit.models import CATALOGUE
from mlkit.models.scoring import Schedule
from mlkit.plots import Plot, plot_equity, plot_waterfalls

NOTEBOOK = Path(__file__).resolve().parents[1] / "dashboard" / "decision.ipynb"
PAGES = Path(__file__).with_name("pages")      # holds the template of Voila's page
EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8")      # all the page needs
ROWS, N_BOOT = 4000, 200      # the last bars, and draws of an interval: an answer within seconds
COSTS_BPS = [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0]
KEPT = 24                     # instruments with a model whose fits are kept
QUIET = 0.3                   # seconds without another change before work begins: each arrow key is one


@dataclass(frozen=True)
class Study:
    """What is the same at every cost: bars, fits and their decisions, the audits, the break-even."""

    bars: pd.DataFrame
    setup: Setup
    found: dict[str, Schedule]
    traders: dict[str, Strategy]
    leaks: Condition
    limit: BreakEven | None


@dataclass(frozen=True)
class DecisionReport:
    """The answer at one cost: verdict in a sentence, the six conditions as a table, and figures by what they show."""

    title: str
    verdict: str
    is_worth_it: bool
    conditions: pd.DataFrame
    figures: dict[str, Plot]

    def _repr_html_(self) -> str:
        figures = "".join(f"<figure style='flex:1 1 min(28rem,100%);margin:0;max-width:50rem'>{figure.html(quick=True)}"
                          f"<figcaption>{html.escape(about)}</figcaption></figure>" for about, figure in self.figures.items())
        rows = "".join(f"<tr><td><b>{html.escape(name)}</b><br>{html.escape(row['holds if'])}</td>"
                       f"<td>{html.escape(row['measured'])}</td><td>{'yes' if row['passed'] else 'no'}</td></tr>"
                       for name, row in self.conditions.iterrows())
        head = "<tr><th>condition, and when it holds</th><th>measured</th><th>holds?</th></tr>"
        return (f"<div style='line-height:1.5'><h2>{html.escape(self.verdict)}</h2><p>{html.escape(self.title)}</p>"
                f"<div style='overflow-x:auto'><table style='text-align:left'>{head}{rows}</table></div>"
                f"<div style='display:flex;flex-wrap:wrap;gap:1.5rem;margin-top:1rem'>{figures}</div></div>")


def instruments() -> list[str]:
    """What can be asked about: the bundled markets that somebody could trade, and the worlds whose truth is known."""
    table = datasets()
    return [*table["name"][~table["kind"].isin(REFUSED)], *WORLDS]


def models() -> list[str]:
    """The families of the catalogue that are installed."""
    return [name for name, card in CATALOGUE.items() if card.is_installed]


@lru_cache(maxsize=KEPT)
def study(symbol: str, model: str) -> Study:
    """Fit, audit and find the break-even, once for an instrument and a model.

    Raises UnknownModel, and ValueError (BarsError) for bars of which no report can be made.
    """
    setup = Setup(model, n_boot=N_BOOT)
    bars = usable(bars_of(symbol, rows=ROWS), setup)
    found = research(bars, setup)
    traders = traders_of(bars, setup, found)
    leaks = nothing_leaks(audits(bars, setup, found[model]))
    return Study(bars, setup, found, traders, leaks, limit_of(bars, traders[model], setup))


def decision_report(symbol: str, model: str, cost_bps: float) -> DecisionReport:
    """Is the model worth it on this instrument, if a side of a trade costs so much?

    cost_bps : in hundredths of a percent of the traded value, a side; Raises as `study`, and ValueError for a cost
        below 0
    """
    known = study(symbol, model)
    setup = known.setup.at_cost(cost_bps)
    results = trade(known.bars, setup, known.traders)
    conditions = decide(known.bars, setup, known.found, known.traders, known.leaks, {model: known.limit})
    rival = leader(results, RIVALS)
    total = {name: f"{name} {result.metrics['total_return']:+.0%}" for name, result in results.items()}
    figures = {
        "Equity after costs, on bars that the model has not learned from":
            plot_equity(results, f"After {cost_bps:g} bps a side: {', '.join(total.values())}"),
        "Where the money went, from the prices decided on to what was left":
            plot_waterfalls({name: results[name] for name in (model, rival)}, f"{total[model]}, {total[rival]}"),
    }
    if known.limit is not None:
        figures[f"What is left of {model} at each cost; a side costs {cost_bps:g} bps here"] = known.limit.plot()
    first, last = results[model].returns.index[[0, -1]]
    title = f"{model} on {symbol}, {first:%Y-%m-%d} to {last:%Y-%m-%d}, at {cost_bps:g} bps a side."
    return DecisionReport(title, verdict(conditions), is_worth_it(conditions), table_of(conditions), figures)


# ---------------------------------------------------------------- the page


def page():
    """The controls and the report they change, as an ipywidget."""
    import ipywidgets

    wide = {"style": {"description_width": "7rem"}, "layout": {"width": "min(28rem, 95%)"}}
    controls = {
        "symbol": ipywidgets.Dropdown(options=instruments(), value="GE", description="instrument", **wide),
        "model": ipywidgets.Dropdown(options=models(), value="logistic", description="model", **wide),
        "cost_bps": ipywidgets.SelectionSlider(options=[(f"{cost:g} bps", cost) for cost in COSTS_BPS], value=3.0,
                                               description="cost a side", continuous_update=False, **wide)}
    status, shown = ipywidgets.HTML(), ipywidgets.HTML()
    waiting = None

    def ask(_change):
        """Work on it soon; what is superseded by then is not worked on."""
        nonlocal waiting
        if waiting is not None:
            waiting.cancel()
        waiting = asyncio.get_running_loop().call_later(QUIET, answer)

    def answer():
        asked = {name: control.value for name, control in controls.items()}
        status.value = _status(f"Working: {asked['model']} on {asked['symbol']} ...")
        try:
            shown.value = decision_report(**asked)._repr_html_()
            status.value = _status("Done.")
        except Exception as error:      # whatever it is, the page says it, and the controls stay alive
            shown.value = ""
            status.value = _status(f"<b>{type(error).__name__}:</b> {html.escape(str(error))}")

    for control in controls.values():
        control.observe(ask, names="value")
    answer()
    return ipywidgets.VBox([*controls.values(), status, shown])


def _status(words: str) -> str:
    return f"<p role='status'>{words}</p>"


def serve(options=()) -> None:
    """Serve the page with Voila until it is stopped; options : Voila's own, such as --no-browser.

    Raises ModuleNotFoundError, with the cure, where Voila is not installed.
    """
    if find_spec("voila") is None:
        raise ModuleNotFoundError("the dashboard needs Voila: make dashboard installs it (without make: "
                                  "pip install -r requirements.txt -r requirements-dashboard.txt)")
    from voila.app import main

    from mlkit.notebooks import kernel_variables, set_environment

    paths = os.pathsep.join(filter(None, [str(PAGES), os.environ.get("JUPYTER_PATH")]))      # for the template
    set_environment(kernel_variables() | {"JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_PATH": paths})
    sys.argv[0] = "voila"
    main([str(NOTEBOOK), "--template=mlkit", "--theme=light",
          *(f"--VoilaConfiguration.extension_allowlist={name}" for name in EXTENSIONS), *options])
