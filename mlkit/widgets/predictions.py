"""A prediction made before the answer is shown."""

from __future__ import annotations

import html

from mlkit.batch import record_as
from mlkit.widgets import sliders

STEPS = 100  # positions of a slider that was not given a step

_asked: list[str] = []  # questions of this kernel, in order: asked again, one keeps its place in the record


class Prediction:
    """A learner's answer to a question, asked before the result: `.value`, and `.reveal(truth)` to score it.

    Recorded as `prediction` and `prediction_truth`; those of a notebook's second question as `prediction_2`, ...
    """

    def __init__(self, question: str, guess, widget, unit: str):
        self.question, self.unit, self._guess, self._widget = question, unit, guess, widget
        if question not in _asked:
            _asked.append(question)
        self._number = _asked.index(question) + 1

    @property
    def value(self):
        """The answer: what the widget shows now, or what was given."""
        return self._guess if self._widget is None else self._widget.value

    def reveal(self, truth) -> None:
        """Show the answer beside the truth, and put both into the notebook's record.

        truth : a number, or one of the options. Raises ValueError for an option that was not offered.
        """
        guess, shown = self.value, self._shown
        if isinstance(guess, str):
            offered = self._widget.options if self._widget is not None else [guess, truth]
            if truth not in offered:
                raise ValueError(f"{truth!r} is none of the answers offered: {', '.join(offered)}.")
            verdict = "Right." if guess == truth else "Not this time."
        else:
            truth = float(truth)
            verdict = f"Off by {self._distance(abs(guess - truth))}."
        name = "prediction" if self._number == 1 else f"prediction_{self._number}"
        record_as(f"You said {shown(guess)}; it is {shown(truth)}. {verdict}", {name: guess, f"{name}_truth": truth})

    def _shown(self, value) -> str:
        if isinstance(value, str):
            return value
        if self.unit == "%":
            return f"{100 * value:.3g} %"
        return f"{value:.3g} {self.unit}".rstrip()

    def _distance(self, value: float) -> str:
        return f"{100 * value:.2g} percentage points" if self.unit == "%" else f"{value:.3g} {self.unit}".rstrip()

    def __repr__(self) -> str:
        return f"{self.question} Your answer: {self._shown(self.value)}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        if self._widget is None:
            return {"text/plain": repr(self)}
        from ipywidgets import HTML, VBox
        box = VBox([HTML(f"<b>{html.escape(self.question)}</b>"), self._widget])
        return {**sliders.view_of(box), "text/plain": repr(self)}


def predict_first(question: str, guess, *, low: float | None = None, high: float | None = None,
                  step: float | None = None, options=None, unit: str = "") -> Prediction:
    """Ask for an answer before the result is shown.

    guess : the answer unless the learner moves the widget: a number from `low` to `high`, or one of `options`
    unit : printed after the number; "%" takes and gives fractions and shows percentages

    In JupyterLab the last value of a cell shows as a slider (or as buttons). Raises ValueError
    for an answer outside what may be answered.
    """
    if options is not None:
        options = [str(option) for option in options]
        if guess not in options:
            raise ValueError(f"{guess!r} is none of the answers offered: {', '.join(options)}.")
    elif low is None or high is None or not low <= guess <= high:
        raise ValueError(f"An answer is a number between low and high, or one of options; {guess!r} is not "
                         f"between {low} and {high}.")
    return Prediction(question, guess, _answer_widget(guess, low, high, step, options, unit), unit)


def _answer_widget(guess, low, high, step, options, unit):
    if not sliders.in_notebook():
        return None
    import ipywidgets
    if options is not None:
        return ipywidgets.ToggleButtons(options=options, value=guess, style={"button_width": "auto"})
    return ipywidgets.FloatSlider(guess, min=low, max=high, step=step or (high - low) / STEPS,
                                  readout_format=".0%" if unit == "%" else ".4g", layout={"width": "60%"})
