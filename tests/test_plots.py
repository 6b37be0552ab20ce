"""Pictures: read without colours and without eyes, the same bytes every time, and what each of them draws."""

import hashlib
import json
import os
import subprocess
import sys
from base64 import b64decode
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.colors import to_rgb
from nbconvert import HTMLExporter
from sklearn.calibration import calibration_curve

from mlkit import (BuyAndHold, LaggedReturns, MeanReversion, PurgedKFold, WalkForward, backtest, break_even_cost,
                   direction, make_model, probability_of_overfitting, random_walk, regime_switching, walk_forward)
from mlkit.analysis import cost_sensitivity
from mlkit.course import committed_notebooks
from mlkit.course_page import render_notebook
from mlkit.plots import (BLUE, CYCLE, GREEN, GREY, ORANGE, RED, faults, figure, headline, lightness, panels,
                         plot_break_even, plot_calibration, plot_cost_sensitivity, plot_equity, plot_fold_map,
                         plot_price, plot_regimes, plot_reliability, plot_result, plot_settings, plot_trades,
                         plot_waterfall, plot_waterfalls)
from mlkit.progress import UNATTENDED

ROOT = Path(__file__).parents[1]
COLOURS = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "grey": GREY, "red": RED}
# Machado, Oliveira & Fernandes (2009), IEEE TVCG 15, 1291: what is left of linear RGB without one kind of cone
BLIND = {"deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                          [-0.011820, 0.042940, 0.968881]],
         "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                [0.0193339, 0.1191920, 0.9503041]])


def linear(colour):
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB, under the white of a screen."""
    f = [np.cbrt(part) if part > 0.008856 else 7.787 * part + 16 / 116
         for part in XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# ------------------------------------------------------------------ colours


@pytest.mark.parametrize("name", COLOURS)
def test_each_colour_stands_out_against_white(name):
    """WCAG 2.1, 1.4.11: 3 to 1 for what must be seen in a picture."""
    luminance = linear(COLOURS[name]) @ XYZ[1]
    assert 1.05 / (luminance + 0.05) >= 3.0
    assert lightness(COLOURS[name]) == pytest.approx(lab(linear(COLOURS[name]))[0], abs=0.1)


@pytest.mark.parametrize("pair", list(combinations(COLOURS, 2)), ids="-".join)
def test_colours_are_told_apart_in_greyscale_and_by_the_colour_blind(pair):
    first, second = (COLOURS[name] for name in pair)
    assert abs(lightness(first) - lightness(second)) > 7
    for kind, matrix in BLIND.items():
        seen = [lab(np.array(matrix) @ linear(each)) for each in (first, second)]
        assert np.linalg.norm(seen[0] - seen[1]) > 15, kind


def test_no_two_lines_of_the_cycle_differ_by_their_colour_alone():
    fig, (axis,) = figure()
    for number, (colour, style) in enumerate(CYCLE):
        axis.plot([0, 1], [0, number], color=colour, linestyle=style, label=f"line {number}")
    axis.set(xlabel="bars", ylabel="price", title="Five lines")
    assert faults(fig) == []
    axis.plot([0, 1], [0, 9], color=GREEN, linestyle="--", label="a sixth")
    assert faults(fig) == ["told apart by colour alone: 'line 1' and 'a sixth'"]


def test_a_sixth_curve_that_is_drawn_as_the_first_is_told():
    held = backtest(random_walk(300, seed=3), BuyAndHold())
    five = {f"run {number}": held for number in range(5)}
    assert faults(plot_equity(five, "Five curves")) == []
    assert faults(plot_equity({**five, "one more": held}, "Six curves")) == ["drawn alike: 'run 0' and 'one more'"]


def test_money_and_yields_have_their_units():
    bars = random_walk(300, seed=3)
    for kind, unit in (("equity", "price, account currency"), ("rate", "yield, % a year")):
        bars.attrs = {"symbol": "X", "kind": kind}
        assert [axis.get_ylabel() for axis in plot_result(backtest(bars, MeanReversion())).axes] == [
            "equity, account currency (log scale)", "drawdown, %", f"X, {unit}"]


# --------------------------------------------------------- every picture there is


@pytest.fixture(scope="module")
def pictures():
    return make_pictures()


def make_pictures():
    bars = random_walk(900, seed=3)
    bars.attrs["symbol"] = "WALK"
    ruled, held = backtest(bars, MeanReversion(5)), backtest(bars, BuyAndHold())
    X, labels = LaggedReturns(3)(bars), direction(bars, horizon=10)
    known = X[labels["end"].notna()]
    folds = WalkForward(300, 100, label_end=labels["end"])
    found = walk_forward(make_model("logistic"), X, labels, folds)
    forecast = bars["close"].pct_change().rolling(20).std().dropna()
    world = regime_switching(600, seed=2)
    short, long = pd.Index([5, 10], name="short, bars"), pd.Index([20, 60], name="long, bars")
    table = pd.DataFrame([[0.5, np.nan], [-0.1, 1.5]], short, long)
    rules = {"rule": MeanReversion(5), "slow": MeanReversion(60)}
    came = forecast.shift(-5).ffill()
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(120, 4)), bars.index[:120], list("abcd"))
    return {
        "result": plot_result(ruled, held), "trades": plot_trades(ruled),
        "price": plot_price(bars, "It wanders", bars.index[500]),
        "equity": plot_equity({"rule": ruled, "buy & hold": held}, "The rule is behind"),
        "waterfall": plot_waterfall(ruled.waterfall, "Nothing is left"),
        "waterfalls": plot_waterfalls({"rule": ruled, "buy & hold": held}, "One of them pays"),
        "break-even": plot_break_even(break_even_cost(bars, MeanReversion(5), n_boot=20)),
        "sensitivity": plot_cost_sensitivity(cost_sensitivity(bars, rules, [0, 5], progress=False), "They cross"),
        "fold map": plot_fold_map(folds, known), "scores": found.plot(), "purged": plot_fold_map(
            PurgedKFold(3, label_end=labels["end"], embargo=5), known),
        "calibration": plot_calibration(found.predictions, found.labels),
        "reliability": plot_reliability({"last 20 bars": 100 * forecast}, 100 * came, "% a bar", "It follows"),
        "settings": plot_settings(table, "Sharpe ratio a year"),
        "regimes": plot_regimes(world["close"], world["regime"], "price", "It turns",
                                {1.0: "echoes", -1.0: "turns back"}),
        "overfitting": probability_of_overfitting(noise, 4).plot()}


NAMES = ("result", "trades", "price", "equity", "waterfall", "waterfalls", "break-even", "sensitivity", "fold map",
         "scores", "purged", "calibration", "reliability", "settings", "regimes", "overfitting")


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_has_a_title_and_labels_and_needs_no_colours(pictures, name):
    assert faults(pictures[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_says_in_words_what_it_shows(pictures, name):
    fig = pictures[name]
    shown, about = fig._repr_mimebundle_()
    alt = about["image/png"]["alt"]
    titles = [fig.get_suptitle(), *(axis.get_title(loc="left") for axis in fig.axes)]
    assert len(alt) > 60 and alt.startswith(next(title for title in titles if title).replace("\n", " "))
    assert all(axis.get_xlabel() in alt for axis in fig.axes) and any(letter.isdigit() for letter in alt)
    assert shown["image/png"].startswith(b"\x89PNG") and shown["text/plain"].startswith("Plot: ")


def test_who_has_the_notebook_open_gets_the_words_with_the_picture(pictures, monkeypatch):
    fig = pictures["waterfall"]
    assert "text/html" not in fig._repr_mimebundle_()[0], "a committed notebook keeps the PNG alone"
    monkeypatch.delenv(UNATTENDED)
    shown = fig._repr_mimebundle_()[0]
    image = BeautifulSoup(shown["text/html"], "html.parser").img
    assert image["alt"] == fig.alt and b64decode(image["src"].partition(",")[2]) == shown["image/png"] == fig.png()


def sums(pictures):
    return {name: [fig.digest(), fig.alt, *(hashlib.sha256(each).hexdigest()
                                            for each in (fig.png(), fig.svg().encode()))]
            for name, fig in pictures.items()}


def test_a_picture_is_the_same_bytes_in_every_run(pictures):
    """Another process, whose strings hash to other numbers."""
    code = "import json, test_plots; print(json.dumps(test_plots.sums(test_plots.make_pictures())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests",
                          env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)})
    elsewhere = json.loads(done.stdout)
    assert elsewhere == sums(pictures) and set(elsewhere) == set(NAMES)


def test_an_svg_can_be_read_by_a_machine_too(pictures):
    svg = pictures["waterfall"].svg()
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == pictures["waterfall"].alt
    assert "<dc:date>" not in svg and "Matplotlib" not in svg.split("<defs>")[0].replace("Created with", "")


# ---------------------------------------------------------- words, faults, digest


def squares(power=2.0, colour=BLUE, title="Area grows faster"):
    fig, (axis,) = figure()
    axis.plot([1, 2, 3], np.array([1.0, 2.0, 3.0]) ** power, color=colour, label="squares")
    axis.set(xlabel="side, m", ylabel="area, m2")
    axis.set_title(title, loc="left")
    return fig


def test_a_digest_sees_data_colours_and_words_and_no_rounding():
    digest = squares().digest()
    assert squares(2.0 + 1e-13).digest() == digest == squares().digest() and len(digest) == 16
    assert len({digest, squares(2.001).digest(), squares(colour=RED).digest(), squares(title="Another").digest()}) == 4


def test_words_of_lines_points_bars_and_bands():
    fig, (top, bottom) = figure(2)
    top.plot(pd.date_range("2020-01-01", periods=3), [1.0, 5.0, 2.0], color=BLUE, label="price")
    top.plot(pd.date_range("2020-01-01", periods=2), [3.0, 1.0], "^", color=ORANGE, label="buys")
    top.fill_between(pd.date_range("2020-01-01", periods=2), 0, [2, 2.5], label="band of luck")
    top.set_title("It rises", loc="left")
    top.set_ylabel("dollars")
    bottom.set_xlabel("date")
    assert fig.alt == ("It rises. Up: dollars. price (solid line): from 1 to 2, lowest 1, highest 5; "
                       "buys (triangles): 3 at 2020-01-01, 1 at 2020-01-02; band of luck (band): from 0 to 2.5. "
                       "Across: date, 2020-01-01 to 2020-01-03.")
    fig, (axis,) = figure()
    axis.bar(["one", "two"], [1_234.5, -0.25], hatch="//", label="profit")
    axis.set_title("Two bars", loc="left")
    assert fig.alt == "Two bars. profit (hatched bars): one 1,234, two -0.25."
    fig.sentence = "One wins"
    assert fig.alt == "Two bars. One wins."


def test_a_figure_that_is_hard_to_read_says_so_where_it_is_shown():
    fig, (top, bottom) = figure(2)
    top.plot([0, 1], [0, 1], color=GREEN, label="a")
    top.plot([0, 1], [1, 0], color=RED, label="b")
    bottom.bar([0, 1], [1, 2], color=[GREEN, RED])
    found = faults(fig)
    assert found[0] == "a figure without a title"
    assert [each for each in found if "label" in each] == ["an axis without a label: y of 'a panel'"] + [
        f"an axis without a label: {name} of 'a panel'" for name in "xy"]
    assert [each for each in found if "colour" in each] == ["told apart by colour alone: 'a' and 'b'",
                                                            "told apart by colour alone: bars of 'a panel'"]
    with pytest.warns(UserWarning, match="hard to read") as heard:
        fig._repr_mimebundle_()
    assert [str(each.message) for each in heard] == [f"hard to read: {each}" for each in found]
    fig, (axis,) = figure()
    axis.hlines([0, 1], [0, 0], [1, 2], colors=[GREEN, RED])
    axis.set(xlabel="bars", ylabel="row", title="Strokes")
    assert faults(fig) == ["told apart by colour alone: strokes"]


@pytest.mark.filterwarnings("error")
def test_a_title_that_is_cut_off_is_a_fault():
    """A title over the first of several panels is broken to its width: laid out by hand, there may be no room."""
    fig, axes = panels((8.0, 2.0), (0.2, 0.25, 0.2, 0.6), (0.6, 0.25, 0.2, 0.6))
    for axis in axes:
        axis.set(xlabel="day", ylabel="dollars")
    axes[0].set_title("Far too long a title for a panel as narrow as the first of these two", loc="left")
    with pytest.warns(UserWarning, match="hard to read: cut off: 'Far too long"):
        fig._repr_mimebundle_()
    axes[0].set_title("", loc="left")
    headline(fig, "Far too long a title for a panel as narrow as the first of these two")
    fig._repr_mimebundle_()


def test_a_title_that_is_too_long_is_broken_and_stays_inside():
    fig = squares(title="a title that goes on and on, " * 5)
    fig.png()
    title = fig.axes[0].title.axes.get_title(loc="left")
    assert "\n" in title and title.replace("\n", " ") == ("a title that goes on and on, " * 5).strip()
    drawn = [each for each in fig.axes[0].get_children() if getattr(each, "get_text", str)() == title]
    assert max(text.get_window_extent().x1 for text in drawn) <= fig.bbox.width
    assert "\n" not in squares(title="a short one").axes[0].get_title(loc="left")


# ------------------------------------------------------------- what each one draws


def test_the_fold_map_draws_the_rows_of_the_splitter():
    bars = random_walk(400, seed=1)
    labels = direction(bars, horizon=10)
    X = bars[labels["end"].notna()]
    splitter = WalkForward(150, 60, label_end=labels["end"])
    fig = plot_fold_map(splitter, X)
    train, purged, test = fig.axes[0].containers
    folds = list(splitter.split(X))
    first = np.datetime64(X.index[folds[1][1][0]], "D").astype(float)
    assert len(train) == len(purged) == len(test) == len(folds)
    assert test[1].get_x() == pytest.approx(first)
    assert purged[1].get_x() + purged[1].get_width() == pytest.approx(first)
    total = sum(150 - len(each) for each, _ in folds)
    assert total > 0 and fig.axes[0].get_title(loc="left") == f"{len(folds)} folds, which purge {total} rows in all"


def test_calibration_bins_are_those_of_scikit_learn():
    rng = np.random.default_rng(4)
    said = pd.Series(rng.uniform(0.3, 0.7, 1_000))
    came = pd.Series((rng.random(1_000) < 0.5 + 2 * (said - 0.5)).astype(float))
    true, predicted = calibration_curve(came, said, n_bins=10, strategy="quantile")
    axis, = plot_calibration(said, came).axes
    points = axis.containers[0][0]
    assert points.get_xdata() == pytest.approx(100 * predicted) and points.get_ydata() == pytest.approx(100 * true)
    (low, high), = (segments[0][:, 1] for segments in [axis.containers[0][2][0].get_segments()])
    assert (high - low) / 2 == pytest.approx(196 * np.sqrt(true[0] * (1 - true[0]) / 100))


def test_reliability_is_on_the_line_where_what_came_is_what_was_said():
    said = pd.Series(np.linspace(1.0, 5.0, 500))
    axis, = plot_reliability({"honest": said, "double": 2 * said}, said, "%", "t").axes
    honest, double = (line for line in axis.lines if line.get_label() in ("honest", "double"))
    assert honest.get_ydata() == pytest.approx(honest.get_xdata()) and len(honest.get_xdata()) == 10
    assert double.get_xdata() == pytest.approx(2 * double.get_ydata())


def test_settings_name_the_number_of_their_trials(pictures):
    title = pictures["settings"].axes[0].get_title(loc="left")
    assert title == "3 trials: the best shows 1.50, the median 0.50"
    assert "highest at 60 across, 10 up" in pictures["settings"].alt


def test_regimes_are_shaded_where_they_ruled():
    index = pd.date_range("2020-01-01", periods=6)
    fig = plot_regimes(pd.Series(range(6), index), pd.Series([1, 1, 0, 0, 1, 1], index), "price", "t", {1: "calm"})
    band, = fig.axes[0].collections
    assert len(band.get_paths()) == 2 and band.get_label() == "calm"


def test_trades_are_counted_in_the_title_of_their_picture():
    result = backtest(random_walk(300, seed=3), MeanReversion())
    buys, sells = (int((result.fills["quantity"] * sign > 0).sum()) for sign in (1, -1))
    assert f"{buys} times and sold it {sells} times" in plot_trades(result).axes[0].get_title(loc="left")


# ---------------------------------------------------------------- the course


@pytest.mark.parametrize("path", committed_notebooks(ROOT / "notebooks"), ids=lambda path: path.stem)
def test_each_picture_of_a_notebook_has_words_of_its_own(path):
    shown = [output for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
             for output in cell.outputs if "image/png" in output.get("data", {})]
    words = [output.metadata.get("image/png", {}).get("alt", "") for output in shown]
    assert all(len(each) > 60 for each in words), words
    assert len(set(words)) == len(words)


def test_words_reach_the_pages(tmp_path, caplog):
    """Of `mlkit run`, and of nbconvert's own templates that know them (its default, `lab`, does not)."""
    path = next((ROOT / "notebooks").glob("05_*.ipynb"))
    words = [output.metadata["image/png"]["alt"] for cell in nbformat.read(path, as_version=4).cells
             if cell.cell_type == "code" for output in cell.outputs if "image/png" in output.get("data", {})]
    copy = tmp_path / "run.ipynb"
    copy.write_bytes(path.read_bytes())
    for page in (render_notebook(copy).read_text(encoding="utf-8"),
                 HTMLExporter(template_name="classic").from_filename(str(path))[0]):
        pictures = BeautifulSoup(page, "html.parser").select("img")
        assert [picture.get("alt") for picture in pictures] == words and words
    assert "Alternative text is missing" not in caplog.text
