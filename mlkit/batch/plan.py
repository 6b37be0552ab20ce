"""What a batch will run: a notebook's combinations, each with a file name and an identity. Part of `mlkit.batch`.

A run's **name** comes from the notebook's name and the parameters it was given, readable first, with a
hash at its end: the same combination has the same name on every machine, and no two share one.
A run's **identity** says whether a finished run is still true: a hash of the notebook (its cells' sources
and tags; outputs do not count), of the parameters, of a bars file among them (its content), and of `mlkit`
(every source file, the bundled data, the versions of the packages it needs). Parameters left at their
defaults are in it through the notebook, where the defaults stand.
"""

import csv
import datetime
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.batch.parameters import TAG_IT, Parameter, ParameterError, defaults_of, fitted, parameters_of
from mlkit.batch.records import read_notebook

SUMMARY = ("status", "error", "cell", "duration", "notebook", "notebook_version", "mlkit_version", "file")
BARS = (".csv", ".csv.gz", ".parquet")      # files whose content is a part of a run's identity
OPTIONAL = ("torch", "skorch")              # of requirements-deep.txt
READABLE = 100      # characters of a file name before its hash; systems allow 255 bytes, a whole path on Windows 260


class BatchError(ValueError):
    """A batch that cannot start or cannot go on; finished runs are kept, the sentence says what to do."""


class BatchStopped(BatchError):
    """A batch that had begun and cannot go on."""


class Blocks(list):
    """A grid as dicts of name -> values, whose combinations are run block after block."""


class Run(NamedTuple):
    """One combination: the executed notebook's file name, the parameters given, the identity."""

    name: str
    parameters: dict[str, Any]
    identity: str


@dataclass(frozen=True)
class Plan:
    """A notebook and all it will be run with.

    notebook : its path
    text : its JSON, never run
    version, code : hashes of the notebook (sources and tags of its cells) and of `mlkit`
    known : its parameters, name -> Parameter
    blocks : dicts of name -> values; the runs are the combinations of each, block after block
    """

    notebook: Path
    text: str
    version: str
    code: str
    known: dict[str, Parameter]
    blocks: list[dict[str, list]]

    def __len__(self) -> int:
        return sum(math.prod(map(len, block.values())) for block in self.blocks)

    def __iter__(self) -> Iterator[Run]:
        """The runs, the last parameter changing fastest; made one by one, as there may be a million."""
        defaults = {name: value for name, value in self.defaults.items() if _is_bars(value)}
        values = chain(defaults.values(), *(each for block in self.blocks for each in block.values()))
        contents = {value: _content(self.notebook.resolve().parent / value) for value in values if _is_bars(value)}
        for block in self.blocks:
            for values in product(*block.values()):
                given = dict(zip(block, values))
                bars = {name: contents[value] for name, value in (defaults | given).items() if _is_bars(value)}
                yield self._run({name: given[name] for name in self.known if name in given}, bars)

    def _run(self, given: dict, bars: dict[str, str]) -> Run:
        readable = "_".join([self.notebook.stem, *(f"{name}={value}" for name, value in given.items())])
        readable = re.sub(r"[^A-Za-z0-9.+=_-]+", "-", readable)[:READABLE]
        tail = digest([self.notebook.stem, given])[:16]
        return Run(f"{readable}_{tail}.ipynb", given, digest([self.version, given, self.code, bars]))

    @property
    def defaults(self) -> dict[str, Any]:
        """What a run has for the parameters that it is not given."""
        return defaults_of(self.known)


def make_plan(notebook, grid) -> Plan:
    """Check a grid against a notebook's `parameters` cell.

    notebook : path
    grid : name -> list of values, of which every combination is run; or a list of dicts name -> value,
        one a run. Values are cast to the parameters' types, as by `check_parameters`

    Raises ParameterError for a notebook without a `parameters` cell, an unknown name, a value that does not
    fit or is asked for twice; BatchError for a notebook that cannot be read and a grid without a run.
    """
    notebook = Path(notebook)
    try:
        content = read_notebook(notebook)
    except (OSError, ValueError) as error:
        raise BatchError(f"{notebook} cannot be read as a notebook: {error}") from error
    known = parameters_of(content)
    if known is None:
        raise ParameterError(f"{notebook} has no cell tagged 'parameters', so all its runs would be the same: {TAG_IT}")
    hidden = sorted(known.keys() & set(SUMMARY))
    if hidden:
        raise ParameterError(f"{notebook}: the parameter {hidden[0]} has the name of a column that every table of a "
                             f"batch has ({', '.join(SUMMARY)}): call it something else")
    blocks = _blocks(grid, known, notebook)
    return Plan(notebook, _blank(content), _notebook_version(content), code_version(), known, blocks)


def _blocks(grid, known: dict[str, Parameter], label) -> list[dict[str, list]]:
    given, cast = as_blocks(grid), {}
    for name, values in chain.from_iterable(block.items() for block in given):
        if (name, id(values)) not in cast:      # what blocks share is looked at once
            cast[name, id(values)] = _values(known, name, values, label)
    blocks = [{name: cast[name, id(values)] for name, values in block.items()} for block in given]
    _refuse_twice([{name: values[0] for name, values in block.items() if len(values) == 1} for block in blocks],
                  "combination")
    if not blocks:
        raise BatchError("the grid is empty: it holds no run")
    return blocks


def as_blocks(grid) -> Blocks:
    """Raises BatchError for what is neither a mapping nor a list of mappings."""
    if isinstance(grid, Blocks):
        return grid
    if isinstance(grid, Mapping):
        return Blocks([grid])
    combinations = list(grid) if isinstance(grid, Iterable) else [grid]
    if not all(isinstance(each, Mapping) for each in combinations):
        raise BatchError("a grid is a mapping of each parameter's name to its values, or a list of mappings, one a "
                         f"run, not {grid!r}")
    return Blocks({name: [value] for name, value in each.items()} for each in combinations)


def _values(known, name: str, values, label) -> list:
    alone = isinstance(values, (str, Mapping)) or not isinstance(values, Iterable)
    cast = [fitted(known, {name: value}, label)[name] for value in ([values] if alone else values)]
    if not cast:
        raise BatchError(f"the grid holds no run: {name} has no value")
    _refuse_twice(cast, f"value of {name}")
    return cast


def _refuse_twice(values: list, what: str) -> None:
    seen = set()
    for value in values:
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            raise ParameterError(f"the grid asks twice for the {what} {value!r}: take one of them out")
        seen.add(text)


def read_grid(path) -> dict | list:
    """A grid from a YAML file: a mapping of names to lists, or a list of mappings; no name twice in one."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            names = [key.value for key, _ in node.value]
            for name in names:
                if names.count(name) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"{name} is there twice", node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        grid = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BatchError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    return _dates_as_text(grid)


def _dates_as_text(value):
    """YAML makes a date of 2006-01-01; notebooks take dates as text."""
    if isinstance(value, dict):
        return {key: _dates_as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_dates_as_text(each) for each in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def split_values(text: str) -> list[str]:
    """'a,b' -> ['a', 'b']; a value that holds a comma stands in double quotes: '"a,b",c' -> ['a,b', 'c']."""
    return next(csv.reader([text], skipinitialspace=True, strict=True)) or [""]


def with_values(grid, more: dict[str, list]) -> Blocks:
    """A grid whose every run is combined with the values of further parameters, name -> list."""
    blocks = as_blocks(grid)
    twice = [name for name in more if any(name in block for block in blocks)]
    if twice:
        raise BatchError(f"{twice[0]} is in the grid's file and given with -p too: say it once")
    return Blocks({**block, **more} for block in blocks)


def digest(content) -> str:
    """sha256 of what JSON can write, whatever the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _notebook_version(notebook) -> str:
    return digest([[cell.cell_type, cell.source, sorted(cell.metadata.get("tags", []))]
                   for cell in notebook.cells])[:16]


def _blank(notebook) -> str:
    import nbformat

    for name in ("mlkit", "papermill", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    return nbformat.writes(notebook)


def _is_bars(value) -> bool:
    return isinstance(value, str) and value.lower().endswith(BARS)


def _content(path: Path) -> str:
    """Hash of a file's content, "" where there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return ""


def code_version() -> str:
    """Hash of this mlkit as it is on the disk now: its source files and the bundled data, whatever ends their lines,
    and the versions of the packages that it needs.
    """
    from mlkit.markets import DATA

    package, found = Path(__file__).resolve().parents[1], hashlib.sha256()
    for folder, pattern in ((package, "*.py"), (DATA, "*.csv*")):
        for path in sorted(folder.rglob(pattern)):
            content = path.read_bytes()
            if path.suffix in (".py", ".csv"):
                content = content.replace(b"\r\n", b"\n")
            found.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    found.update("\n".join(_packages()).encode())
    return found.hexdigest()[:16]


def _packages() -> list[str]:
    """Name and version of each, as a kernel that starts now imports it."""
    return _versions(tuple(os.stat(each).st_mtime_ns for each in sys.path if os.path.isdir(each)))


@lru_cache(maxsize=1)
def _versions(_changed: tuple[int, ...]) -> list[str]:
    """Looked up again when something was installed, which changes a folder of sys.path: it takes 30 ms."""
    try:
        needed = [re.match(r"[\w.-]+", line)[0] for line in requires("mlkit") or [] if "extra ==" not in line]
    except PackageNotFoundError:        # run from a checkout that was not installed
        needed = []
    return [f"{name} {_installed(name)}" for name in sorted({*needed, *OPTIONAL})]


def _installed(name: str) -> str:
    """A package's version; "0" if it is not installed, as in a checkout that was not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "0"


def mlkit_version(code: str) -> str:
    """The release and the hash of the code: "0.1.0+1f2e3d4c5b6a7988"."""
    return f"{_installed('mlkit')}+{code}"
