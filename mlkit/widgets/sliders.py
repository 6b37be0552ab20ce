"""Sliders that redraw a figure when they are let go.

>>> slider(lambda width: None, width=[1, 2, 5])
Slider: width from 1 to 5. Run this notebook in JupyterLab to move it.
"""

from __future__ import annotations

import html
from inspect import signature

VIEW = "application/vnd.jupyter.widget-view+json"


class Sliders:
    """Sliders and the figure they change; what `slider` gives.

    controls : name -> ipywidgets control; a slider moves with the arrow keys, a switch with the space bar
    figure : the one that is shown
    """

    def __init__(self, draw, choices: dict):
        self._draw, self._choices = draw, choices
        self._draws_on = "on" in signature(draw).parameters
        self._widget, self.controls, self.figure = None, {}, None
        if in_notebook():
            self._build()

    def _build(self):
        import ipywidgets

        for name, choices in self._choices.items():
            words = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
            if _is_switch(choices):
                control = ipywidgets.Checkbox(value=False, indent=False, **words)
            else:
                control = ipywidgets.SelectionSlider(options=[(_shown(choice), choice) for choice in choices],
                                                     value=choices[len(choices) // 2], continuous_update=False,
                                                     layout={"width": "60%"}, **words)
            control.observe(self._redraw, names="value")
            self.controls[name] = control
        self._picture, self._message = ipywidgets.HTML(), ipywidgets.HTML()
        self._redraw()
        self._widget = ipywidgets.VBox([*self.controls.values(), self._message, self._picture])

    def _redraw(self, _change=None):
        values = {name: control.value for name, control in self.controls.items()}
        try:
            self.figure = self._draw(**values, **({"on": self.figure} if self._draws_on else {}))
            picture = self.figure.html(quick=True)
        except Exception as error:  # whatever goes wrong is shown where the learner looks; the sliders stay alive
            said = html.escape(f"{type(error).__name__}: {error}")
            kept = " The picture is still that of the last setting." if self._picture.value else ""
            self._message.value = f'<p role="alert"><b>{said}</b>{kept}</p>'
        else:
            self._picture.value, self._message.value = picture, ""

    def __repr__(self) -> str:
        ranges = "; ".join(f"{name.replace('_', ' ')} off or on" if _is_switch(choices) else
                           f"{name.replace('_', ' ')} from {choices[0]} to {choices[-1]}"
                           for name, choices in self._choices.items())
        return f"Slider: {ranges}. Run this notebook in JupyterLab to move it."

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {**(view_of(self._widget) if self._widget is not None else {}), "text/plain": repr(self)}


def _shown(choice) -> str:
    return f"{choice:g}" if isinstance(choice, (int, float)) else str(choice)


def _is_switch(choices: list) -> bool:
    """Whether these are [False, True], and not the numbers 0 and 1, which are equal to them."""
    return choices == [False, True] and isinstance(choices[0], bool)


def slider(draw, **choices) -> Sliders:
    """Sliders that redraw a figure when they are let go.

    draw : function of the settings -> figure of `mlkit.plots`; one that takes `on` is given the last figure
        to draw on again (`mlkit.plots.panels`), which is quicker
    choices : name=list of the values it can take, in order; it starts in the middle. [False, True] is a
        switch, which starts off

    Show `draw(...)` itself in the cell above: where nothing can be moved, that figure is all there is.
    An error of `draw` is shown under the sliders, by its name and its words.
    """
    if not choices or not all(len(list(each)) > 1 for each in choices.values()):
        raise ValueError("A slider needs a name and at least two values: slider(draw, horizon=[1, 5, 20]).")
    return Sliders(draw, {name: list(each) for name, each in choices.items()})


def in_notebook() -> bool:
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def view_of(widget) -> dict:
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}
