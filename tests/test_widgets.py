"""Predictions before results, and sliders: in a kernel, in a committed notebook, and where nothing can be moved."""

import base64
import html
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mlkit.batch import recorded
from mlkit.course import regenerate
from mlkit.notebooks import execute
from mlkit.plots import figure
from mlkit.widgets import VIEW, predict_first, predictions, slider, sliders

SOURCE = """from mlkit.plots import figure
from mlkit.widgets import predict_first, slider
guess = 0.55
def draw(height):
    fig, (axis,) = figure()
    axis.plot([0, height])
    axis.set(xlabel="bars", ylabel="price", title="It rises")
    return fig"""


@pytest.fixture(autouse=True)
def nothing_asked_yet(monkeypatch):
    monkeypatch.setattr(predictions, "_asked", [])


@pytest.fixture
def kernel(monkeypatch):
    """As if a kernel were listening."""
    monkeypatch.setattr(sliders, "in_notebook", lambda: True)


def draw(height):
    if height < 0:
        raise ValueError("no such height: <0")
    fig, (axis,) = figure()
    axis.plot([0, height])
    axis.set(xlabel="bars", ylabel="price", title=f"It rises to {1 / height:g}")
    return fig


def test_an_answer_is_what_the_learner_moved_to(kernel, capsys):
    asked = predict_first("How many?", 10, low=0, high=100, unit="days")
    asked._widget.value = 40
    asked.reveal(28.5)
    assert capsys.readouterr().out == "You said 40 days; it is 28.5 days. Off by 11.5 days.\n"


def test_a_question_is_no_markup(kernel, monkeypatch):
    asked, boxes = predict_first("Is P<Q & why?", 1, low=0, high=2), []
    monkeypatch.setattr(sliders, "view_of", lambda box: boxes.append(box) or {})
    asked._repr_mimebundle_()
    assert boxes[0].children[0].value == "<b>Is P&lt;Q &amp; why?</b>"


def test_an_answer_of_several(kernel, capsys):
    asked = predict_first("Which?", "rule", options=["model", "rule", "neither"])
    asked.reveal("neither")
    asked._widget.value = "neither"
    asked.reveal("neither")
    said = capsys.readouterr().out
    assert said == "You said rule; it is neither. Not this time.\nYou said neither; it is neither. Right.\n"
    with pytest.raises(ValueError, match="none of the answers"):
        asked.reveal("both")


@pytest.mark.parametrize("guess, options", [(2, {"low": 0, "high": 1}), (0.5, {}), ("c", {"options": ["a", "b"]})])
def test_answers_nobody_could_give(guess, options):
    with pytest.raises(ValueError, match="answer"):
        predict_first("How much?", guess, **options)


def shown(made):
    """The picture of some sliders: its bytes and its alternative text."""
    picture, = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)"', made._picture.value)
    return base64.b64decode(picture[0]), html.unescape(picture[1])


def test_a_slider_draws_again_when_it_is_moved_and_says_what_it_draws(kernel):
    made = slider(draw, height=[1, 2, 4])
    assert shown(made) == (draw(2).png(quick=True), draw(2).alt) and "It rises to 0.5" in shown(made)[1]
    made.controls["height"].value = 4
    assert shown(made) == (draw(4).png(quick=True), draw(4).alt)


@pytest.mark.parametrize("height, said", [(-1, "ValueError: no such height: &lt;0"), (0, "ZeroDivisionError: "),
                                          ("x", "TypeError: ")])
def test_any_error_is_shown_and_the_sliders_stay_alive(kernel, height, said):
    made = slider(draw, height=[height, 1, 3])
    before = shown(made)
    made.controls["height"].value = height
    assert said in made._message.value and 'role="alert"' in made._message.value and shown(made) == before
    made.controls["height"].value = 3
    assert made._message.value == "" and shown(made) != before


def test_a_switch_starts_off_and_a_figure_is_drawn_on_again(kernel):
    seen = []

    def switched(loud, on=None):
        seen.append((loud, on))
        return draw(2 if loud else 1)

    made = slider(switched, loud=[False, True])
    first = made.figure
    made.controls["loud"].value = True
    assert seen == [(False, None), (True, first)] and repr(made).startswith("Slider: loud off or on.")


def test_zero_and_one_are_numbers_and_no_switch(kernel):
    made = slider(lambda height: draw(height + 1), height=[0, 1])
    made.controls["height"].value = 1
    assert "It rises to 0.5" in shown(made)[1] and repr(made).startswith("Slider: height from 0 to 1.")


def test_of_a_picture_that_never_was_nothing_is_said(kernel):
    made = slider(draw, height=[1, 0])
    assert "ZeroDivisionError" in made._message.value and "picture" not in made._message.value
    made.controls["height"].value = 1
    made.controls["height"].value = 0
    assert "The picture is still that of the last setting." in made._message.value


def test_a_slider_needs_something_to_choose_from():
    with pytest.raises(ValueError, match="at least two values"):
        slider(draw, height=[1])


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook with both, regenerated."""
    path = tmp_path_factory.mktemp("widgets") / "lesson.ipynb"
    cells = [new_code_cell(SOURCE, metadata={"tags": ["parameters"]}),
             new_code_cell("asked = predict_first('What share?', guess, low=0, high=1, unit='%')\nasked"),
             new_code_cell("asked.reveal(0.503)"), new_code_cell("slider(draw, height=[1, 2, 3])")]
    nbformat.write(new_notebook(cells=cells), path)
    assert regenerate([path], progress=False)[0].status == "changed"
    return path


def test_what_is_committed_is_words_and_the_same_each_time(notebook):
    outputs = [cell.outputs[0] for cell in nbformat.read(notebook, as_version=4).cells[1:]]
    assert [list(output.data) for output in (outputs[0], outputs[2])] == [["text/plain"], ["text/plain"]]
    assert outputs[0].data["text/plain"] == "What share? Your answer: 55 %"
    assert outputs[1].data["text/plain"] == "You said 55 %; it is 50.3 %. Off by 4.7 percentage points."
    assert outputs[2].data["text/plain"].startswith("Slider: height from 1 to 3.")
    assert regenerate([notebook], progress=False)[0].status == "unchanged"


def test_papermill_gives_the_answer_and_the_record_keeps_it(notebook, tmp_path):
    done = execute(notebook, tmp_path / "run.ipynb", parameters={"guess": 0.9})
    assert done.status == "ok" and recorded(tmp_path / "run.ipynb") == {"prediction": 0.9, "prediction_truth": 0.503}
    shown = nbformat.read(tmp_path / "run.ipynb", as_version=4).cells[-1].outputs[0].data
    assert VIEW in shown  # where there is a kernel there is a slider


def test_two_questions_are_two_records_and_one_asked_again_is_not_a_third(tmp_path):
    cells = [new_code_cell(SOURCE, metadata={"tags": ["parameters"]})] + [
        new_code_cell(f"predict_first({question!r}, guess, low=0, high=1).reveal({truth})")
        for question, truth in (("First?", 0.1), ("Second?", 0.2), ("First?", 0.3))]
    nbformat.write(new_notebook(cells=cells), tmp_path / "lesson.ipynb")
    assert execute(tmp_path / "lesson.ipynb", tmp_path / "run.ipynb").status == "ok"
    assert recorded(tmp_path / "run.ipynb") == {"prediction": 0.55, "prediction_truth": 0.3, "prediction_2": 0.55,
                                                "prediction_2_truth": 0.2}
