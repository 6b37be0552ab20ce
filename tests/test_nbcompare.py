"""The comparison of committed and new outputs: what it forgives, and what it must not."""

import base64
import io
import socket

import numpy as np
import pytest
from PIL import Image

import nbcompare
import offline


@pytest.mark.parametrize("was, now", [
    ("Sharpe 0.41", "Sharpe 0.41"),
    ("0.3333333333333333", "0.33333333333333337"),
    ("0.123456", "0.123457"),                          # the last of six printed digits
    ("a  9.99999\nb  1.00000", "a  10.00000\nb  1.00000"),    # and the column it widens
    ("1,234.56", "1,234.57"),
    ("0.0", "-0.0"),
    ("1.23456e-05", "1.23457e-05"),
    ("<object at 0x7f0011223344>", "<object at 0x7f9911223344>"),
])
def test_rounding_is_forgiven(was, now):
    assert nbcompare.text_difference(was, now) == ""


@pytest.mark.parametrize("was, now", [
    ("Sharpe 0.41", "Sharpe 0.42"),                    # two printed digits are a claim
    ("71.5 %", "71.6 %"),
    ("112 trades", "113 trades"),
    ("1000000 bars", "1000001 bars"),
    ("It is 12345678.", "It is 12345679."),
    ("0.123456", "0.123459"),
    ("5", "5.0"),
    ("2006-01-03", "2006-01-04"),
    ("version 1.2.3", "version 1.2.4"),
    ("hash 12345678ab", "hash 12345679ab"),
    ("gain", "loss"),
    ("a b", "a  b"),
    ("0.5", "-0.5"),
    ("0.5", "nan"),
    ("1.5", "1.5 1.5"),
])
def test_everything_else_is_not(was, now):
    assert nbcompare.text_difference(was, now)


def test_json_values_compare_like_printed_ones():
    assert nbcompare.value_difference({"a": [1, 0.1, None]}, {"a": [1, 0.1 + 1e-12, None]}) == ""
    assert "a[0]" in nbcompare.value_difference({"a": [1]}, {"a": [2]})
    assert nbcompare.value_difference({"a": 1}, {"b": 1})
    assert nbcompare.value_difference({"a": True}, {"a": 1})


def picture(**changes):
    """A small picture as a notebook keeps it."""
    pixels = np.full((changes.get("height", 60), 80, 3), 250, dtype=np.uint8)
    pixels[20:40, 10:70] = changes.get("colour", (31, 119, 180))
    pixels[:changes.get("grown", 0)] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png", pnginfo=None, optimize=changes.get("optimize", False))
    return base64.b64encode(stream.getvalue()).decode()


def shown(content, **about):
    return [{"output_type": "display_data", "data": {"image/png": content}, "metadata": {"image/png": about}}]


@pytest.mark.parametrize("was, now, reason", [
    ({"digest": "a"}, {"digest": "a"}, ""), ({"digest": "a"}, {"digest": "b"}, "picture changed"),
    ({}, {}, "picture changed"), ({"digest": "a"}, {}, "picture changed")])
def test_a_picture_that_draws_the_same_may_look_a_little_different(was, now, reason):
    """Other pixels, as another version of the fonts makes them; another size is another picture."""
    smooth = {"colour": (180, 119, 31)}
    found = nbcompare.differences(shown(picture(), **was), shown(picture(**smooth), **now))
    assert len(found) == bool(reason) and reason in "".join(found)
    assert "pixels" in nbcompare.differences(shown(picture(), **was), shown(picture(height=70, **smooth), **now))[0]


def test_what_a_picture_says_in_words_is_compared():
    was = shown(picture(), alt="from 1.25 to 9")
    assert nbcompare.differences(was, shown(picture(), alt="from 1.25 to 9")) == []
    assert "1.25 was committed, 1.35" in nbcompare.differences(was, shown(picture(), alt="from 1.35 to 9"))[0]
    assert nbcompare.differences(shown(picture()), was)[0].startswith("alternative text: produced now, but not in")


def test_pictures_are_compared_by_pixels_not_bytes():
    assert picture() != picture(optimize=True)
    assert nbcompare.picture_difference(picture(), picture(optimize=True)) == ""
    assert nbcompare.picture_difference(picture(), picture(colour=(31, 119, 181))) == ""
    assert "changed" in nbcompare.picture_difference(picture(), picture(colour=(180, 119, 31)))
    assert "changed" in nbcompare.picture_difference(picture(), picture(grown=1))


def display(**data):
    return [{"output_type": "display_data", "metadata": {}, "data": {k.replace("_", "/"): v for k, v in data.items()}}]


def test_html_is_compared_by_its_words():
    styled = '<style>#T_{0} td {{}}</style><table id="T_{0}"><td>{1}</td></table>'
    old = display(text_html=styled.format("a1b2c", "0.333333"))
    assert nbcompare.differences(old, display(text_html=styled.format("d3e4f", "0.333334"))) == []
    assert nbcompare.differences(old, display(text_html=styled.format("a1b2c", "0.5")))


def test_a_missing_and_an_extra_output_are_differences():
    one = [{"output_type": "stream", "name": "stdout", "text": "1"}]
    assert "no longer produced" in nbcompare.differences(one, [])[0]
    assert "not in the committed" in nbcompare.differences([], one)[0]
    assert "2 outputs" in nbcompare.differences(display(text_plain="a") * 2, display(text_plain="a"))[0]


def test_sockets_off_this_machine_are_refused():
    with socket.socket() as far, pytest.raises(ConnectionRefusedError, match="offline"):
        far.connect(("192.0.2.1", 80))
    with socket.socket(type=socket.SOCK_DGRAM) as far, pytest.raises(ConnectionRefusedError, match="offline"):
        far.sendto(b"?", ("192.0.2.1", 53))
    with pytest.raises(socket.gaierror, match="offline"):
        socket.create_connection(("example.org", 80))


def test_sockets_on_this_machine_work():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    assert offline.is_near("/a/unix/socket") and offline.is_near(("::1", 80)) and not offline.is_near(("::2", 80))
