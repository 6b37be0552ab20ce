"""One quiet style: its colours, a figure that knows how to be shown, and axes to draw on.

>>> fig, (axis,) = figure()
>>> _ = axis.plot([1, 2, 3], [1.0, 4.0, 9.0], label="squares")
>>> axis.set(xlabel="side, m", ylabel="area, m2", title="Area grows faster than its side") and None
>>> print(fig.alt)
Area grows faster than its side. Across: side, m. Up: area, m2. squares (solid line): from 1 to 9.
"""

from __future__ import annotations

import base64
import html
import io
import os
import textwrap
import warnings

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox, ScaledTranslation

from mlkit.plots.words import describe, digest, faults
from mlkit.progress import UNATTENDED

# At least 3 to 1 against white, and told apart in greyscale and by the colour-blind (tests/test_plots.py measures it).
# Colour never says anything alone: each series has its own line, marker or hatch too.
BLUE, ORANGE, GREEN, GREY, RED = "#003776", "#D57E00", "#00784D", "#808080", "#9B3400"
CYCLE = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (RED, ":"), (GREY, "-"))
HATCH = "////"  # of the second of two kinds of bars
TITLE = 11  # points
SALT = {"svg.hashsalt": "mlkit"}  # without it the names inside an SVG are drawn by lot


class Plot(Figure):
    """A Figure that is the same bytes every time, as PNG and as SVG, and that can say in words what it shows.

    alt : a sentence that says it better than the summary of what is drawn. A notebook keeps the PNG, with
        `.alt` and `.digest()` beside it (output metadata, image/png). Who has it open is shown `.html()`:
        JupyterLab gives a PNG no alternative text.
    """

    def __init__(self, *args, alt: str = "", **options):
        super().__init__(*args, **options)
        self.sentence = alt

    @property
    def alt(self) -> str:
        """What the figure shows, for those who cannot see it: titles, axes, and each series with its ends."""
        return describe(self, self.sentence)

    def digest(self) -> str:
        """A hash (16 hexadecimal digits) of what is drawn and how, the same in every run and on every machine."""
        return digest(self)

    def png(self, *, quick: bool = False) -> bytes:
        """The picture; quick: packed less tightly, as a slider does."""
        self._settle()
        picture = io.BytesIO()
        self.savefig(picture, format="png", metadata={"Software": None},
                     pil_kwargs={"compress_level": 1} if quick else None)
        return picture.getvalue()

    def html(self, *, quick: bool = False) -> str:
        """The picture as an image with its alternative text; quick: as for `png`."""
        width, height = (int(side * self.dpi) for side in self.get_size_inches())
        source = base64.b64encode(self.png(quick=quick)).decode()
        return (f'<img src="data:image/png;base64,{source}" alt="{_quoted(self.alt)}" width="{width}" '
                f'height="{height}" style="max-width: 100%; height: auto">')

    def svg(self) -> str:
        """The picture as one that can be enlarged, with its alternative text inside."""
        self._settle()
        picture = io.StringIO()
        with matplotlib.rc_context(SALT):
            self.savefig(picture, format="svg", metadata={"Date": None, "Creator": None, "Description": self.alt})
        return picture.getvalue().replace("<svg ", f'<svg role="img" aria-label="{_quoted(self.alt)}" ', 1)

    def _settle(self) -> None:
        """Lay the figure out, once: a second time the same steps end elsewhere, by fractions of a pixel."""
        is_laid_out = not isinstance(self.get_layout_engine(), ConstrainedLayoutEngine)
        if not is_laid_out:
            self.draw_without_rendering()
        if self._break_titles() and not is_laid_out:
            self.draw_without_rendering()
        self.set_layout_engine("none")

    def _break_titles(self) -> bool:
        """Give all titles one size, and break those that would leave the figure at its right edge; whether one was."""
        broken = False
        for axis in (each for each in self.axes if each.get_title(loc="left")):
            text = axis.get_title(loc="left")
            title = axis.set_title(text, loc="left", fontsize=TITLE, y=1.0)
            alone = all(other.bbox.x0 < axis.bbox.x1 for other in self.axes)
            room, width = (self.bbox.width if alone else axis.bbox.x1) - axis.bbox.x0, title.get_window_extent().width
            if width > room:
                title.set_text(textwrap.fill(text, int(len(text) * room / width)))
                broken = True
        return broken

    def _cut_off(self) -> list[str]:
        """Titles and labels that leave the figure, as it was drawn."""
        named = [text for axis in self.axes for text in (axis.title, axis._left_title, axis._right_title,
                                                         axis.xaxis.label, axis.yaxis.label)]
        texts = [text for text in [*named, *self.texts] if text.get_visible() and text.get_text()]
        return [f"cut off: {text.get_text()!r}" for text in texts
                if not _within(text.get_window_extent(), self.bbox.padded(1.0))]

    def _repr_mimebundle_(self, include=None, exclude=None):
        picture = self.png()
        for fault in [*faults(self), *self._cut_off()]:
            warnings.warn_explicit(f"hard to read: {fault}", UserWarning, "mlkit.plots", 0)
        titles = [self.get_suptitle(), *(axis.get_title(loc="left").replace("\n", " ") for axis in self.axes)]
        data = {"image/png": picture, "text/plain": "Plot: " + "; ".join(title for title in titles if title)}
        if UNATTENDED not in os.environ:
            data["text/html"] = self.html()
        return data, {"image/png": {"alt": self.alt, "digest": self.digest()}}


def _within(box: Bbox, other: Bbox) -> bool:
    return other.x0 <= box.x0 and other.y0 <= box.y0 and box.x1 <= other.x1 and box.y1 <= other.y1


def _quoted(text: str) -> str:
    return html.escape(" ".join(text.split()))


def figure(rows: int = 1, heights: list[float] | None = None, size: tuple[float, float] = (8.0, 3.6), columns: int = 1,
           alt: str = ""):
    """A Plot and its axes, one above another on a common x axis; in columns, row after row, on common axes."""
    fig = Plot(figsize=size, dpi=100, layout="constrained", alt=alt)
    axes = fig.subplots(rows, columns, sharex=rows * columns > 1, sharey=columns > 1, squeeze=False,
                        height_ratios=heights).ravel()
    for axis in axes:
        quiet(axis)
    return fig, axes


def panels(size: tuple[float, float], *places: tuple[float, float, float, float], on: Plot | None = None):
    """A Plot and axes at places given by hand, as shares of it: left, bottom, width, height. Half the time to draw.

    on : a Plot that was made in the same way: it is emptied and drawn on again, which halves the time once more
    """
    if on is not None:
        for axis in on.axes:
            _empty(axis)
        return on, on.axes
    fig = Plot(figsize=size, dpi=100)
    axes = [fig.add_axes(place) for place in places]
    for axis in axes:
        quiet(axis)
        for ticks, place, inches in ((axis.xaxis, (0.5, 0.0), (0.0, -0.26)), (axis.yaxis, (0.0, 0.5), (-0.5, 0.0))):
            ticks.set_label_coords(*place, transform=axis.transAxes + ScaledTranslation(*inches, fig.dpi_scale_trans))
    return fig, axes


def _empty(axis) -> None:
    """Take away all that was drawn; ticks, labels and scales stay, and limits are free again."""
    for artist in [*axis.lines, *axis.collections, *axis.patches, *axis.texts]:
        artist.remove()
    axis.containers.clear()
    axis.dataLim.set(Bbox.null())
    axis.ignore_existing_data_limits = True
    axis.set_autoscale_on(True)


def headline(fig: Plot, text: str) -> None:
    """A title over all panels, from the left edge on."""
    fig.suptitle(text, x=0.01, ha="left", fontsize=TITLE)


def quiet(axis) -> None:
    """Thin grey lines behind what is drawn, and no frame above it or at its right."""
    axis.grid(True, color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def log_scale(axis) -> None:
    """A logarithmic y axis with the labels 1, 2 and 5 of each power of ten, written out."""
    axis.set_yscale("log")
    log_labels(axis.yaxis, axis.get_ylim())


def log_labels(ticks, limits: tuple[float, float]) -> None:
    """Labels on an axis (`axis.xaxis`, say) that is logarithmic: 1, 2 and 5 of each power of ten, or more."""
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        places = [place for power in range(-6, 12) for place in np.multiply(steps, 10.0**power)
                  if limits[0] <= place <= limits[1]]
        if len(places) > 2:
            break
    ticks.set_ticks(places)
    ticks.set_major_formatter(lambda value, _: f"{value:,.10g}")
    ticks.set_minor_formatter(lambda value, _: "")
