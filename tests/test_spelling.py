"""Every word that a reader meets stands in a list: an English one (pyspellchecker's, offline), or tests/words.txt.

And headings come in their order: whoever moves through a page by them falls into no gap.
"""

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from spellchecker import SpellChecker

from mlkit.course import committed_notebooks

ROOT = Path(__file__).parents[1]
OWN = ROOT / "tests" / "words.txt"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/*.md"), *ROOT.glob("benchmarks/*.md")])
NOTEBOOKS = committed_notebooks(ROOT / "notebooks")
MODULES = sorted((ROOT / "mlkit").rglob("*.py"))
NO_PROSE = re.compile(r"```.*?```|`[^`]*`|\$[^$\n]*\$|<[^>]*>|https?://\S+|\S*[/\\_=]\S*|\b[0-9a-f]{8,}\b|^ *>>>.*$",
                      re.DOTALL | re.MULTILINE)


@cache
def known_words():
    checker = SpellChecker(language="en")
    checker.word_frequency.load_words(OWN.read_text(encoding="utf-8").split())
    return checker


def misspelled(text: str) -> set[str]:
    """Words of four letters or more in a text of prose that no list has."""
    words = {word.lower() for word in re.findall(r"[A-Za-z][a-z]{3,}", NO_PROSE.sub(" ", text))}
    return {word for word in known_words().unknown(words)}


def prose(path: Path) -> str:
    """What a file says in words: a page itself, the markdown of a notebook, the docstrings of a module."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        places = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, places)]
        return "\n\n".join(ast.get_docstring(node) or "" for node in nodes)
    return text


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS, *MODULES], ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_spelled_right(path):
    wrong = misspelled(prose(path))
    assert not wrong, f"{', '.join(sorted(wrong))}: correct it; a true word goes into tests/words.txt"


@pytest.mark.parametrize("text, wrong", [
    ("We recieve a seperate label, and `recieve` it", {"recieve", "seperate"}),
    ("The drawdwon of the strategie", {"drawdwon", "strategie"}),
    ("A walk-forward's neighbours: backtest, drawdown, Sharpe", set()),
    ("see https://teh.example and mlkit_teh", set())])
def test_a_wrong_word_is_found(text, wrong):
    assert misspelled(text) == wrong


def test_our_own_words_are_in_order_and_needed():
    own = OWN.read_text(encoding="utf-8").split()
    assert own == sorted(set(own))
    usual = SpellChecker(language="en")
    assert not [word for word in own if word in usual], "the English list has them already"


def headings(text: str) -> list[int]:
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#{1,6}) ", text, re.MULTILINE)]


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_headings_begin_with_one_title_and_skip_no_level(path):
    assert not out_of_order(headings(prose(path)))


def out_of_order(levels: list[int]) -> str:
    if levels[:1] != [1] or levels.count(1) > 1:
        return "one title is due, and it comes first"
    skipped = [deeper for level, deeper in zip(levels, levels[1:]) if deeper > level + 1]
    return f"a heading of level {skipped[0]} skips one: {levels}" if skipped else ""


@pytest.mark.parametrize("text, fault", [
    ("# A\n## B\n### C\n## D\n```\n# no heading\n```\n", ""), ("# A\n### B\n", "skips one"), ("## A\n", "one title"),
    ("# A\n# B\n", "one title")])
def test_a_heading_out_of_order_is_found(text, fault):
    assert fault in out_of_order(headings(text)) and bool(fault) == bool(out_of_order(headings(text)))
