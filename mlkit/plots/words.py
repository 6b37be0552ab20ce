"""What a figure says without being seen: its alternative text, its faults, and a digest of what is drawn.

All three walk over the same artists: lines, bars, bands and heat maps of each panel.
"""

from __future__ import annotations

import hashlib
from itertools import combinations, cycle

import numpy as np
from matplotlib.category import StrCategoryFormatter
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import BarContainer
from matplotlib.dates import AutoDateFormatter, num2date
from matplotlib.ticker import FixedFormatter, FuncFormatter, NullFormatter

LINES = {"-": "solid line", "--": "dashed line", "-.": "dash-dot line", ":": "dotted line"}
MARKERS = {"o": "circles", ".": "dots", "s": "squares", "^": "triangles", "v": "triangles pointing down",
           "x": "crosses", "X": "filled crosses", "D": "diamonds", "+": "plus signs", "|": "strokes"}
LISTED = 12  # values, and series of a panel, that are listed one by one
UNLABELLED = "an axis without a label"
APART = 25  # difference in lightness (CIE L*, 0 to 100) from which two colours differ in greyscale too
DIGITS = 9  # significant ones that a digest looks at


# ---------------------------------------------------------- alternative text


def describe(figure, sentence: str = "") -> str:
    """Titles, axes and series of a figure in words; a sentence stands in place of the series."""
    panels = [axis for axis in figure.axes if axis.get_visible() and axis.get_label() != "<colorbar>"]
    said = [_ended(figure.get_suptitle())]
    for axis in panels:
        said += [_ended(title) for title in _titles(axis)] + [_axes_words(axis)]
        if not sentence:
            said.append(_series_words(axis))
    return " ".join(part for part in [*said, _ended(sentence)] if part)


def _titles(axis) -> list[str]:
    return [title.replace("\n", " ") for title in map(axis.get_title, ("left", "center", "right")) if title]


def _ended(text: str) -> str:
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."


def _axes_words(axis) -> str:
    across, up = axis.get_xlabel(), axis.get_ylabel()
    if across and isinstance(axis.xaxis.get_major_formatter(), AutoDateFormatter):
        ends = np.ravel([each.dataLim.intervalx for each in axis.get_shared_x_axes().get_siblings(axis)])
        across += ", {} to {}".format(*(_place(axis.xaxis, end(ends[np.isfinite(ends)])) for end in (min, max)))
    said = [f"{way}: {label}".replace("\n", " ") for way, label in (("Across", across), ("Up", up)) if label]
    return _ended(". ".join(said))


def _series_words(axis) -> str:
    said = [f"{name} ({marks}): {values}" if name else f"{marks}: {values}"
            for name, marks, values, _ in series_of(axis)]
    if len(said) > LISTED:
        said = [*said[:LISTED], f"and {len(said) - LISTED} more"]
    return _ended("; ".join(said))


def series_of(axis) -> list[tuple[str, str, str, list[str]]]:
    """What is drawn in a panel, in its order: name, marks, values in words, and its colours."""
    in_containers = {id(part) for container in axis.containers for part in _flat(container)}
    found, nameless = [], []
    for container in axis.containers:
        found.append(_bars(axis, container) if isinstance(container, BarContainer) else _with_errors(axis, container))
    for line in axis.lines:
        if id(line) in in_containers or line.get_transform() != axis.transData or not np.size(line.get_xdata()):
            continue
        (found if _name(line) else nameless).append((_name(line), _marks(line), _values(axis, line), [_colour(line)]))
    for mesh in (each for each in axis.collections if isinstance(each, QuadMesh)):
        found.append(_heat(axis, mesh))
    for band in (each for each in axis.collections if isinstance(each, PolyCollection) and _name(each)):
        found.append((_name(band), "band", _spans(band), []))
    if len(nameless) > 3 and not _words(axis.yaxis):
        nameless = [(f"{len(nameless)} lines without names", nameless[0][1], _overall(axis), nameless[0][3])]
    return found + nameless


def _flat(container):
    for part in container:
        yield from part if isinstance(part, tuple) else [part]


def _name(artist) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label.replace("\n", " ")


def _marks(line) -> str:
    words = [LINES.get(line.get_linestyle(), ""), MARKERS.get(line.get_marker(), "")]
    return " with ".join(word for word in words if word) or "points"


def _colour(line) -> str:
    return to_hex(line.get_color())


def _values(axis, line) -> str:
    """Values of a line in words: at each word of an axis, one by one if few, or its ends and extremes."""
    x, y = np.asarray(line.get_xdata(orig=False), float), np.asarray(line.get_ydata(orig=False), float)
    for at, values, ticks, across in ((x, y, axis.xaxis, axis.yaxis), (y, x, axis.yaxis, axis.xaxis)):
        if names := _words(ticks):
            return _at_words(_nearest(names, at), values, across)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not len(y):
        return "nothing"
    if LINES.get(line.get_linestyle()) is None:
        if len(y) <= 3:
            return ", ".join(f"{_number(up)} at {_place(axis.xaxis, across)}" for across, up in zip(x, y))
        return f"{len(y):,} points from {_number(y.min())} to {_number(y.max())}"
    said, room = f"from {_number(y[0])} to {_number(y[-1])}", 0.05 * np.ptp(y)
    if y.max() > max(y[0], y[-1]) + room or y.min() < min(y[0], y[-1]) - room:
        said += f", lowest {_number(y.min())}, highest {_number(y.max())}"
    return said


def _words(ticks) -> dict[float, str]:
    """The words at the ticks of an axis by their places; none where it counts or tells the time."""
    formatter = ticks.get_major_formatter()
    if not isinstance(formatter, (StrCategoryFormatter, FixedFormatter, FuncFormatter)):
        return {}
    places = ticks.get_majorticklocs()
    names = dict(zip(map(float, places), map(str, formatter.format_ticks(places))))
    return names if any(letter.isalpha() for name in names.values() for letter in name) else {}


def _nearest(names: dict[float, str], at: np.ndarray) -> list[str]:
    places = np.array(list(names))
    return [list(names.values())[int(np.abs(places - each).argmin())].replace("\n", " ") for each in at]


def _at_words(names: list[str], values, ticks) -> str:
    if len(names) > 1 and len(set(names)) == 1:
        return f"{len(names):,} points from {_place(ticks, min(values))} to {_place(ticks, max(values))}"
    return _listed(names, values)


def _listed(names, values) -> str:
    said = [f"{name} {_number(value)}" for name, value in zip(names, values)]
    return ", ".join(said[:LISTED]) + (f" and {len(said) - LISTED} more" if len(said) > LISTED else "")


def _bars(axis, container) -> tuple[str, str, str, list[str]]:
    lying = container.orientation == "horizontal"
    middles = np.array([bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2
                        for bar in container])
    lengths = [bar.get_width() if lying else bar.get_height() for bar in container]
    names = _words(axis.yaxis if lying else axis.xaxis)
    if names:
        values = _listed(_nearest(names, middles), lengths)
    else:
        highest = int(np.nanargmax(lengths))
        place = _place(axis.yaxis if lying else axis.xaxis, middles[highest])
        values = f"{len(lengths)}, the longest {_number(lengths[highest])} at {place}"
    hatches = {bar.get_hatch() or "" for bar in container}
    marks = "hatched bars" if hatches and "" not in hatches else "bars"
    return _name(container), marks, values, [to_hex(bar.get_facecolor()) for bar in container]


def _with_errors(axis, container) -> tuple[str, str, str, list[str]]:
    line = container[0]
    return _name(container), f"{_marks(line)} with intervals", _values(axis, line), [_colour(line)]


def _heat(axis, mesh) -> tuple[str, str, str, list[str]]:
    grid = np.ma.filled(np.ma.asarray(mesh.get_array(), float), np.nan)
    row, column = np.unravel_index(np.nanargmax(grid), grid.shape)
    across, up = (list(_words_or_numbers(each)) for each in (axis.xaxis, axis.yaxis))
    where = f" at {across[column]} across, {up[row]} up" if (len(up), len(across)) == grid.shape else ""
    return ("", f"heat map of {grid.shape[0]} x {grid.shape[1]} cells",
            f"from {_number(np.nanmin(grid))} to {_number(np.nanmax(grid))}, highest{where}", [])


def _words_or_numbers(ticks):
    return [label.get_text() for label in ticks.get_ticklabels()]


def _spans(band) -> str:
    edges = [path.vertices[:, 1] for path in band.get_paths()]
    if band.get_transform() != band.axes.transData or not edges:
        return f"{len(edges)} shaded"
    low, high = min(each.min() for each in edges), max(each.max() for each in edges)
    return f"from {_number(low)} to {_number(high)}"


def _overall(axis) -> str:
    return f"between {_number(axis.dataLim.y0)} and {_number(axis.dataLim.y1)}"


def _place(ticks, value: float) -> str:
    """A place on an axis, a date where it tells the time."""
    is_dated = isinstance(ticks.get_major_formatter(), AutoDateFormatter)
    return f"{num2date(value):%Y-%m-%d}" if is_dated else _number(value)


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "nothing"
    return f"{value + 0.0:,.0f}" if abs(value) >= 1_000 else f"{value + 0.0:.3g}"


# ------------------------------------------------------------------- faults


def faults(figure) -> list[str]:
    """What a reader would miss: a title, the label of an axis, or a way to tell two series apart without colours.

    Whether a label names its unit, nobody but a reader can judge.
    """
    panels = [axis for axis in figure.axes if axis.get_visible()]
    found = [] if figure.get_suptitle() or any(map(_titles, panels)) else ["a figure without a title"]
    for axis in panels:
        for name, ticks, label in (("x", axis.xaxis, axis.get_xlabel()), ("y", axis.yaxis, axis.get_ylabel())):
            if not label and _counts(ticks):
                found.append(f"{UNLABELLED}: {name} of {' '.join(_titles(axis)) or 'a panel'!r}")
        found += _told_by_colour_alone(axis)
    return found


def _counts(ticks) -> bool:
    """Whether an axis shows numbers or dates, which nobody can read without a label."""
    shown = any(tick.label1.get_visible() or tick.label2.get_visible() for tick in ticks.get_major_ticks())
    return shown and not isinstance(ticks.get_major_formatter(), NullFormatter) and not _words(ticks) and (
        len(ticks.get_majorticklocs()) > 0)


def _told_by_colour_alone(axis) -> list[str]:
    found, drawn = [], [each for each in series_of(axis) if each[3]]
    for (first, marks, _, one), (second, others, _, two) in combinations(drawn, 2):
        if marks == others and _alike_in_grey(one[0], two[0]) and (one[0] != two[0] or first and second):
            how = "told apart by colour alone" if one[0] != two[0] else "drawn alike"
            found.append(f"{how}: {first!r} and {second!r}")
    for container in (each for each in axis.containers if isinstance(each, BarContainer)):
        kinds = {(to_hex(bar.get_facecolor()), bar.get_hatch() or "") for bar in container}
        found += [f"told apart by colour alone: bars of {_name(container) or 'a panel'!r}"
                  for (one, hatch), (two, other) in combinations(sorted(kinds), 2)
                  if one != two and hatch == other and _alike_in_grey(one, two)][:1]
    for strokes in (each for each in axis.collections if isinstance(each, LineCollection)):
        kinds = {(to_hex(colour), repr(style)) for colour, style in zip(strokes.get_colors(), cycle(_styles(strokes)))}
        found += ["told apart by colour alone: strokes" for (one, style), (two, other) in combinations(sorted(kinds), 2)
                  if one != two and style == other and _alike_in_grey(one, two)][:1]
    return found


def _styles(strokes):
    return list(zip(cycle(strokes.get_linestyle()), strokes.get_linewidth()))


def _alike_in_grey(one: str, two: str) -> bool:
    return abs(lightness(one) - lightness(two)) < APART


def lightness(colour) -> float:
    """CIE L* of a colour, 0 (black) to 100 (white): what is left of it in greyscale."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return 116.0 * np.cbrt(luminance) - 16.0 if luminance > 0.008856 else 903.3 * luminance


# ------------------------------------------------------------------- digest


def digest(figure) -> str:
    """16 hexadecimal digits of sha256 over what is drawn: sizes, words, data to 9 digits, marks, colours."""
    found = hashlib.sha256()
    for part in _parts(figure):
        found.update(part if isinstance(part, bytes) else repr(part).encode())
        found.update(b"\n")
    return found.hexdigest()[:16]


def _parts(figure):
    yield _rounded(figure.get_size_inches())
    yield figure.get_suptitle()
    for axis in figure.axes:
        yield from (*_titles(axis), axis.get_xlabel(), axis.get_ylabel(), axis.get_xscale(), axis.get_yscale())
        yield _rounded(np.array([*axis.get_xlim(), *axis.get_ylim()]))
        for ticks in (axis.xaxis, axis.yaxis):
            yield tuple(_words(ticks).values())
        for line in axis.lines:
            yield (line.get_label(), _colour(line), line.get_linestyle(), str(line.get_marker()), line.get_linewidth(),
                   line.get_markersize(), line.get_alpha())
            yield from map(_rounded, (line.get_xdata(orig=False), line.get_ydata(orig=False)))
        for patch in axis.patches:
            yield to_hex(patch.get_facecolor(), keep_alpha=True), patch.get_hatch()
            yield _rounded(patch.get_patch_transform().transform(patch.get_path().vertices))
        for collection in axis.collections:
            yield from _collection_parts(collection)
        yield from ((text.get_text(), to_hex(text.get_color())) for text in axis.texts)


def _collection_parts(collection):
    yield type(collection).__name__, collection.get_label()
    yield from (_rounded(path.vertices) for path in collection.get_paths())
    if isinstance(collection, QuadMesh):  # its colours are made when it is drawn
        yield collection.get_cmap().name
        yield _rounded(np.ma.filled(np.ma.asarray(collection.get_array(), float), np.nan))
    else:
        yield from map(_rounded, (collection.get_facecolor(), collection.get_edgecolor()))


def _rounded(values) -> bytes:
    """Numbers as bytes that do not change with the last digits: a mantissa of 9 digits and an exponent each."""
    values = np.asarray(values, float).ravel()
    known = np.isfinite(values) & (values != 0.0)
    exponent = np.zeros(len(values), dtype=np.int64)
    exponent[known] = np.floor(np.log10(np.abs(values[known])))
    mantissa = np.zeros(len(values), dtype=np.int64)
    mantissa[known] = np.rint(values[known] * 10.0 ** (DIGITS - 1.0 - exponent[known]))
    return mantissa.tobytes() + exponent.tobytes() + np.isnan(values).tobytes()
