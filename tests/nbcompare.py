"""When is a notebook's committed output still true? The comparison behind nbval.

nbval compares outputs as exact strings and never looks at a picture. Here two
outputs agree when their words are the same, their integers are the same, their
decimal numbers differ by no more than rounding, and their pictures look the
same, or draw the same (mlkit's figures carry a digest of what they draw, which does
not know how a machine smooths a letter) and say the same to those who cannot see
them. `conftest.py` hands nbval's cells to `differences`.

    differences([{"output_type": "stream", "name": "stdout", "text": "Sharpe 0.41"}],
                [{"output_type": "stream", "name": "stdout", "text": "Sharpe 0.47"}])
    # ['stdout: 0.41 was committed, 0.47 is computed now', ...]
"""

import base64
import html
import io
import json
import math
import re
from collections import defaultdict
from typing import NamedTuple

RELATIVE_TOLERANCE = 1e-6
ENOUGH_DIGITS = 5     # a number printed with fewer digits is a rounded claim: its last digit counts
GREY_LEVELS = 1.0     # root mean square over all pixels and colours, of 255

# A number stands alone: not inside a word, a version (1.2.3) or a hash (12ab).
NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?<![\w.)\]])[-+\u2212])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<exponent>[eE][-+]?\d+)?(?!\w)(?!\.\d)"
)
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
SKIPPED = {"metadata", "output_type", "execution_count", "traceback", "name",
           "application/vnd.jupyter.widget-view+json"}    # a widget's model id is random
PICTURES = {"image/png", "image/jpeg"}


class Picture(NamedTuple):
    """A base64 picture, and the digest of what it draws, if whoever drew it gave one."""

    content: str
    digest: str | None


def differences(committed: list, computed: list) -> list[str]:
    """What disagrees between the outputs of a cell in git and those of a new run.

    Parameters
    ----------
    committed, computed : lists of notebook outputs (format 4), streams merged.

    Returns
    -------
    list of str, one finding each; empty when the outputs agree.
    """
    old, new = _by_kind(committed), _by_kind(computed)
    found = [f"{kind}: committed, but no longer produced" for kind in old if kind not in new]
    found += [f"{kind}: produced now, but not in the committed notebook:\n{_short(new[kind][0])}"
              for kind in new if kind not in old]
    for kind in old:
        if kind not in new:
            continue
        if len(old[kind]) != len(new[kind]):
            found.append(f"{kind}: {len(old[kind])} outputs were committed, {len(new[kind])} are produced now")
            continue
        for was, now in zip(old[kind], new[kind]):
            reason = _compare(kind, was, now)
            if reason:
                found.append(f"{kind}: {reason}")
    return found


def _by_kind(outputs) -> dict[str, list]:
    """Outputs as lists by stream name or MIME type, as nbval groups them."""
    kinds = defaultdict(list)
    for output in outputs:
        if output["output_type"] == "stream":
            kinds[output["name"]].append(output["text"])
            continue
        for key, value in output.items():
            if key == "data":
                for mime, content in value.items():
                    if mime in PICTURES:
                        about = output.get("metadata", {}).get(mime, {})
                        kinds[mime].append(Picture(content, about.get("digest")))
                        if "alt" in about:
                            kinds["alternative text"].append(about["alt"])
                    elif mime not in SKIPPED:
                        kinds[mime].append(content)
            elif key not in SKIPPED:
                kinds[key].append(value)
    return kinds


def _compare(kind: str, was, now) -> str:
    if kind in PICTURES:
        return picture_difference(was.content, now.content, is_same_drawing=None is not was.digest == now.digest)
    if kind.endswith("json") or not isinstance(was, str):
        return value_difference(was, now)
    if kind == "text/html":                 # ids and styles are made anew in each run; the words are not
        was, now = visible_text(was), visible_text(now)
    reason = text_difference(was, now)
    return reason and f"{reason}\n  committed: {_short(was)}\n  computed:  {_short(now)}"


def text_difference(was: str, now: str) -> str:
    """Why two texts disagree, or '' when they agree up to rounding."""
    was, now = ADDRESS.sub("0x...", was), ADDRESS.sub("0x...", now)
    if was == now:
        return ""
    old, new = list(NUMBER.finditer(was)), list(NUMBER.finditer(now))
    for a, b in zip(old, new):
        if not same_number(a, b):
            return f"{a.group()} was committed, {b.group()} is computed now"
    words_was, words_now = NUMBER.sub("#", was), NUMBER.sub("#", now)
    if any(len(a.group()) != len(b.group()) for a, b in zip(old, new)):
        # 9.99999 that becomes 10.0000 moves the columns of a table with it
        words_was, words_now = (re.sub(r"[ \t]+", " ", words) for words in (words_was, words_now))
    return "" if words_was == words_now else "the words differ"


def same_number(a: re.Match, b: re.Match) -> bool:
    """Whether two printed numbers agree: integers exactly, decimals up to rounding."""
    if a.group() == b.group():
        return True
    if not (_is_decimal(a) and _is_decimal(b)):
        return False
    x, y = _value(a), _value(b)
    tolerance = RELATIVE_TOLERANCE * max(abs(x), abs(y))
    if min(_significant_digits(a), _significant_digits(b)) >= ENOUGH_DIGITS:
        tolerance = max(tolerance, 1.000001 * max(_last_digit(a), _last_digit(b)))
    return abs(x - y) <= tolerance


def _is_decimal(number: re.Match) -> bool:
    return "." in number["digits"] or number["exponent"] is not None


def _value(number: re.Match) -> float:
    return float(number.group().replace(",", "").replace("\u2212", "-"))


def _significant_digits(number: re.Match) -> int:
    return len(number["digits"].replace(",", "").replace(".", "").lstrip("0"))


def _last_digit(number: re.Match) -> float:
    """What one unit in the last printed digit is worth."""
    decimals = len(number["digits"].partition(".")[2])
    return 10.0 ** (int((number["exponent"] or "e0")[1:]) - decimals)


def value_difference(was, now, where: str = "") -> str:
    """The same for JSON: numbers up to rounding, everything else exactly."""
    place = where or "value"
    if isinstance(was, dict) and isinstance(now, dict):
        if was.keys() != now.keys():
            return f"{place}: the names differ: {sorted(was.keys() ^ now.keys())}"
        return next(filter(None, (value_difference(was[key], now[key], f"{where}.{key}".lstrip("."))
                                  for key in was)), "")
    if isinstance(was, list) and isinstance(now, list):
        if len(was) != len(now):
            return f"{place}: {len(was)} entries were committed, {len(now)} are computed now"
        return next(filter(None, (value_difference(a, b, f"{where}[{i}]")
                                  for i, (a, b) in enumerate(zip(was, now)))), "")
    if isinstance(was, float) and isinstance(now, float):
        same = math.isclose(was, now, rel_tol=RELATIVE_TOLERANCE) or (was != was and now != now)
    else:
        same = type(was) is type(now) and was == now
    return "" if same else f"{place}: {json.dumps(was)} was committed, {json.dumps(now)} is computed now"


def visible_text(page: str) -> str:
    """What a reader sees of an HTML output: its words, without tags, styles and scripts."""
    page = re.sub(r"<(style|script)\b.*?</\1\s*>", " ", page, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def picture_difference(was: str, now: str, *, is_same_drawing: bool = False) -> str:
    """Why two base64 pictures differ, or '' if no eye could tell them apart, or the same is drawn at one size."""
    if was.strip() == now.strip():
        return ""
    import numpy as np

    old, new = _pixels(was), _pixels(now)
    if old.shape != new.shape:
        return "the picture was {1} x {0} pixels, and is {3} x {2} now".format(*old.shape[:2], *new.shape[:2])
    distance = float(np.sqrt(np.mean((old - new) ** 2)))
    if is_same_drawing or distance <= GREY_LEVELS:
        return ""
    return f"the picture changed: {distance:.1f} grey levels (root mean square; {GREY_LEVELS:g} is allowed)"


def _pixels(encoded: str):
    """Height x width x RGB, laid on white."""
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"), dtype=float)


def _short(value, limit: int = 600) -> str:
    value = value.content if isinstance(value, Picture) else value
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= limit else text[:limit] + " ..."
