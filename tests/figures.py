"""The figures that a lesson's prose states, and whether its notebook has worked them out.

A figure is a percentage, a Sharpe ratio, any decimal number, or a share in words
("three in four", "two thirds", "9 of 10"). It stands if an output of the same notebook
shows it, an assert or a comparison holds it, or the parameters cell sets it. Not
counted: outputs that no test compares, what a learner guessed, other numbers in code.

>>> [figure.text for figure in figures("## Right 71 % of the time: a Sharpe ratio of 2, three days in four")]
['71', '2', 'three days in four']
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field

from nbcompare import visible_text
from nbval.plugin import find_comment_markers, find_metadata_tags

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()
TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10)))
WORDS = ({word: value for value, word in enumerate(ONES)} | TENS | {"half a": 0.5, "hundred": 100, "thousand": 1000}
         | {f"{ten}-{one}": TENS[ten] + value for ten in TENS for value, one in enumerate(ONES[1:10], 1)})
PARTS = {"third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
         "twentieth": 20, "hundredth": 100}

ANY = "|".join(sorted(WORDS, key=len, reverse=True))
PART = "|".join(PARTS)
DIGITS = r"(?<![\w.,/:])[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?![\d/]|[.:,]\d)"
NUMBER = rf"(?:{DIGITS}|\b(?:{ANY})\b)"
PERCENT = r"[ -]?(?:%|per ?cent\b|pct\b|percentage points?\b|(?<=\d )points?\b)"
JOINED = rf" ?(?:to|and|or|-|\u2013) ?[-+]?[\d.,]+{PERCENT}"        # the first of "40 to 45 %"
BEFORE_SHARPE = r"(?: (?:of|is|was|are|were|at|near|above|below|over|under|about|only|around|just|almost|nearly))*"

PERCENTAGES = re.compile(rf"({NUMBER})(?={PERCENT}|{JOINED})", re.I)
SHARPES = re.compile(rf"\bSharpe(?: ratios?)?\W*?{BEFORE_SHARPE} ?\(?({NUMBER})"
                     rf"|({NUMBER})(?= Sharpe\b(?! ratios))", re.I)
DECIMALS = re.compile(rf"(?=[-+\d,]*\.\d){DIGITS}(?!\w|{PERCENT}|{JOINED})", re.I)
SHARES = re.compile(rf"({NUMBER}) (of(?: the)?|(?:(?!and|or|to)\w+ )?(?:in|out of)) (?:every )?({NUMBER})(?!{PERCENT})",
                    re.I)
PARTS_OF = re.compile(rf"\b(?:(?:a|one|last|first) ({PART}) of(?! a per ?cent)|({ANY})[ -]({PART})s\b)", re.I)
SLASHED = re.compile(r"(?<![\w./])(\d+)/(\d+)(?![\w./])")
# The level of every interval here is part of its name, not a finding.
LEVEL = re.compile(r"95 ?%(?= (?:confidence )?intervals?\b|:)|(?<=interval of )95 ?%|(?<=intervals of )95 ?%|"
                   r"\bnineteen times in twenty\b", re.I)
SHOWN = re.compile(rf"(?<![\w.])([-+]?\d+(?:,\d{{3}})*(?:\.\d+)?(?:e[-+]?\d+)?)(?!\w|\.\d)({PERCENT})?")
GUESS = re.compile(r"Your answer: .*|You said [^;\n]*;")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as written; `kind` is percentage, number or share, `value` what it says (0.432 for 43.2 %)."""

    text: str
    kind: str
    value: float
    some: float = 0.0   # a share's parts: "three in four" is 3 of 4, a value of 0.75
    of: float = 0.0

    @property
    def is_signed(self) -> bool:
        return self.text[0] in "+-"


def number(text: str) -> float:
    word = text.lower()
    return float(WORDS[word]) if word in WORDS else float(word.replace(",", ""))


def plain(prose: str) -> str:
    """Prose as it is read: without code and emphasis, a paragraph a line, its minus and spaces the usual ones."""
    prose = re.sub(r"```.*?```|`[^`]*`", "code", prose, flags=re.DOTALL)
    prose = re.sub(r"</?[a-z][^>\n]*>", "", prose)
    prose = prose.replace("\u2212", "-").replace("&nbsp;", " ").replace("\u00a0", " ").replace("\u202f", " ")
    return re.sub(r"(?<!\n)\n(?!\n)", " ", re.sub(r"\*+|\b_|_\b", "", prose))


def figures(prose: str) -> list[Figure]:
    """Figures in a text, as written. Settings that "Try it" proposes are none, unless they are percentages."""
    text = LEVEL.sub("the usual", plain(prose))
    claims = "\n\n".join(part for part in text.split("\n\n") if not part.startswith("Try it"))
    found = [Figure(each[1], "percentage", number(each[1]) / 100) for each in PERCENTAGES.finditer(text)]
    sharpes = (each[1] or each[2] for each in SHARPES.finditer(text))
    decimals = (each[0] for each in DECIMALS.finditer(claims))
    found += [Figure(each, "number", number(each)) for each in dict.fromkeys([*sharpes, *decimals])]
    shares = [(each[0], number(each[1]), number(each[3])) for each in SHARES.finditer(text)
              if not (each[2].startswith("of") and number(each[1]) == 1)]      # "one of the four" counts nothing
    shares += [(each[0], number(each[2] or "one"), PARTS[(each[1] or each[3]).lower()])
               for each in PARTS_OF.finditer(text)]
    shares += [(each[0], float(each[1]), float(each[2])) for each in SLASHED.finditer(text)]
    return found + [Figure(written, "share", some / whole, some, whole) for written, some, whole in shares
                    if 0 < some < whole < 1500]      # beyond are years


@dataclass(slots=True)
class Evidence:
    """What a notebook shows and asserts: percentages (as fractions), fractions, all numbers, words, each assert's."""

    percentages: set[float] = field(default_factory=set)
    fractions: set[float] = field(default_factory=set)
    numbers: set[float] = field(default_factory=set)
    words: str = ""
    asserted: list[set[float]] = field(default_factory=list)

    def add_output(self, text: str) -> None:
        text = GUESS.sub("", text.replace("\u2212", "-"))
        percent_in_header = re.search(r"(?<!\d)(?<!\d )%|\bpoints\b", text)
        for shown, unit in SHOWN.findall(text):
            value = number(shown)
            self.numbers.add(value)
            if unit or percent_in_header:
                self.percentages.add(value / 100)
            if len(shown.partition(".")[2]) > 2:      # 0.432 says 43.2 %; 0.43 may be anything
                self.fractions.add(value)
        self.words += text.lower() + "\n"

    def add_constants(self, nodes, *, are_shares: bool = True) -> set[float]:
        values = {value for value in map(_constant, nodes) if value is not None}
        self.numbers |= values
        if are_shares:
            self.fractions |= values
        return values

    def holds(self, figure: Figure) -> bool:
        if figure.kind == "number":
            return _among(figure, figure.value, self.numbers | self.percentages)
        shares = self.percentages | self.fractions
        return _among(figure, figure.value, shares) or figure.kind == "share" and (
            _among(figure, 1 - figure.value, shares) or figure.text.lower() in self.words
            or re.search(rf"\b{figure.some:.0f} of {figure.of:.0f}\b", self.words) is not None
            or any({figure.some, figure.of} <= constants for constants in self.asserted)
            or " of the " in figure.text and {figure.some, figure.of} <= self.numbers)     # members of a small set


def _among(figure: Figure, value: float, values: set[float]) -> bool:
    signs = (1,) if figure.is_signed else (1, -1)
    return any(abs(sign * value - other) < 1e-9 for other in values for sign in signs)


def _constant(node) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _constant(node.operand)
        return None if value is None else -value
    is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return float(node.value) if is_number else None


def is_exempt(cell) -> bool:
    """Whether nbval does not compare a code cell's outputs, by tag or by comment."""
    options = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    return bool(options.get("skip")) or not options.get("check", True)


def evidence(notebook) -> Evidence:
    """Everything in a notebook that a figure in its prose may rest on."""
    found = Evidence()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for output in () if is_exempt(cell) else cell.outputs:
            data = output.get("data", {})
            for text in (output.get("text", ""), data.get("text/plain", ""), visible_text(data.get("text/html", ""))):
                found.add_output(text)
        tree = ast.parse(cell.source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                found.asserted.append(found.add_constants(ast.walk(node.test)))
            elif isinstance(node, ast.Compare):     # a rule: "found" if deflated > 0.95
                found.add_constants([node.left, *node.comparators])
        if "parameters" in cell.metadata.get("tags", []):
            found.add_constants(ast.walk(tree), are_shares=False)
    return found


def loose_figures(notebook) -> list[tuple[str, str]]:
    """(cell id, figure) of each figure in prose, or in a comment, that nothing in the notebook holds."""
    known = evidence(notebook)
    return [(cell.id, figure.text) for cell in notebook.cells
            for figure in figures(cell.source if cell.cell_type == "markdown" else comments(cell.source))
            if not known.holds(figure)]


def comments(code: str) -> str:
    """The comments of a code cell, a paragraph each."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return "\n\n".join(token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT)


def typed_figures(notebook) -> list[tuple[str, str]]:
    """(cell id, figure) of each figure typed into a title or a printed text that its cell does not work with."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            used, nodes = Evidence(), list(ast.walk(ast.parse(cell.source)))
            used.add_constants(nodes)
            aside = [getattr(node, part, None) for node in nodes for part in ("format_spec", "msg")]
            unseen = {id(node) for part in aside if part for node in ast.walk(part)}    # formats, an assert's message
            found += [(cell.id, figure.text) for node in nodes
                      if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in unseen
                      for figure in figures(re.sub(r"{.*?}", "", node.value)) if not used.holds(figure)]
    return found
