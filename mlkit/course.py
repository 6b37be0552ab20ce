"""The whole course: run it and read the result on one page, or make its committed outputs anew.

    outcomes = run_course(numbered_notebooks("notebooks"), "runs/course")    # `make course`
    regenerate(["notebooks/00_first_ml_strategy.ipynb"])                     # `make notebooks`

A notebook that fails, hangs or kills its kernel is one failed row; the others run.
"""

import hashlib
import json
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

from mlkit.batch import check_parameters
from mlkit.course_page import render_notebook, write_index
from mlkit.notebooks import (KERNELSPEC, Outcome, Stopwatch, execute, explain, failed_cell, kernel_options,
                             refuse_itself)

LANGUAGE = {"codemirror_mode": {"name": "ipython", "version": 3}, "file_extension": ".py",
            "mimetype": "text/x-python", "name": "python", "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3"}
PASSING_METADATA = ("papermill", "mlkit", "widgets", "execution", "ExecuteTime", "collapsed", "scrolled", "signature")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
EXEMPT = {"nbval-ignore-output", "nbval-skip"}      # tags of cells that no test compares with their outputs in git
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


def numbered_notebooks(folder) -> list[Path]:
    """The lessons in a folder, `00_...ipynb` to `11_...ipynb`, in order."""
    return sorted(Path(folder).glob("[0-9][0-9]_*.ipynb"))


def committed_notebooks(folder) -> list[Path]:
    """Every notebook under a folder that is kept in git with its outputs."""
    return sorted(path for path in Path(folder).rglob("*.ipynb")
                  if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def run_course(notebooks, out, *, parameters: dict | None = None, timeout: float = 1800,
               progress: bool = True) -> list[Outcome]:
    """Run notebooks one after the other, and put them on one page.

    Parameters
    ----------
    notebooks : paths; they run in this order, each in its own folder.
    out : folder for the executed notebooks, a readable page of each, and `index.html`.
    parameters : name -> value, for each notebook's `parameters` cell.
    timeout : seconds a notebook may take.
    progress : show a bar: notebook i of n, its name, the time left.

    Returns
    -------
    list of Outcome, one a notebook.

    Raises
    ------
    ValueError if two notebooks would write to the same file, or one over itself, and ParameterError
    if one of them does not take the parameters: all before anything runs.
    """
    notebooks, out = [Path(notebook) for notebook in notebooks], Path(out)
    names = [notebook.name for notebook in notebooks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two notebooks are called {twice[0]}, and would write to the same file in {out}: "
                         "run them apart, each with its own output folder")
    for notebook in notebooks:
        refuse_itself(notebook, out / notebook.name)
    values = [check_parameters(notebook, parameters or {}) for notebook in notebooks]
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with Progress(notebooks, progress) as bar:
        for notebook, given in zip(notebooks, values):
            bar.begin(notebook)
            outcome = execute(notebook, out / notebook.name, parameters=given, timeout=timeout, on_cell=bar.cell_done)
            if outcome.output:
                render_notebook(outcome.output)
            outcomes.append(outcome)
            write_index(out, outcomes, waiting=notebooks[len(outcomes):])
            bar.end(outcome)
    return outcomes


class Progress:
    """One bar over all code cells of all notebooks, and a line for each notebook that ended."""

    def __init__(self, notebooks: list[Path], shown: bool):
        from tqdm import tqdm

        self.sizes = {notebook: _count_code_cells(notebook) for notebook in notebooks}
        self.seen = self.finished = 0
        self.bar = tqdm(total=sum(self.sizes.values()), disable=not shown, leave=False, file=sys.stderr,
                        mininterval=0.2 if sys.stderr.isatty() else 5, dynamic_ncols=True,
                        bar_format="{desc} {percentage:3.0f}% |{bar:24}| {elapsed} gone, {remaining} left")

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.bar.close()

    def begin(self, notebook: Path) -> None:
        self.seen += 1
        self.bar.set_description_str(f"notebook {self.seen} of {len(self.sizes)}: {notebook.stem}")

    def cell_done(self) -> None:
        self.bar.update(1)

    def end(self, outcome: Outcome) -> None:
        self.finished += self.sizes[outcome.notebook]
        self.bar.update(self.finished - self.bar.n)      # a failed notebook skipped the rest of its cells
        if not self.bar.disable:
            detail = "  " + ": ".join(filter(None, (outcome.cell, outcome.error))) if outcome.failed else ""
            self.bar.write(f"  {outcome.status:<9} {outcome.notebook.stem:<32} {outcome.seconds:6.1f} s{detail}")


def _count_code_cells(notebook: Path) -> int:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return sum(cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) for cell in cells)
    except (OSError, ValueError, KeyError, TypeError):
        return 1        # unreadable: running it says why


def regenerate(notebooks, *, timeout: float = 1800, progress: bool = True) -> list[Outcome]:
    """Run notebooks and write their outputs back into the same files, byte for byte the same each time.

    Kept: sources, cell ids (missing ones are derived from the cell's place and
    source), tags. Left out: timings, widget state, versions of Python. An output
    that would differ on another machine (one of its paths, a memory address) and a
    failing cell leave the file as it was, and so do other numbers, such as times, in
    cells exempt from comparison, if nothing else has changed.

    Returns
    -------
    list of Outcome: "changed", "unchanged" or "failed".
    """
    notebooks = [Path(notebook) for notebook in notebooks]
    outcomes = []
    with Progress(notebooks, progress) as bar:
        for notebook in notebooks:
            bar.begin(notebook)
            outcomes.append(_regenerate(notebook, Stopwatch(timeout, bar.cell_done)))
            bar.end(outcomes[-1])
    return outcomes


def _regenerate(path: Path, watch: Stopwatch) -> Outcome:
    import nbformat
    from nbclient import NotebookClient

    client = None
    try:
        before = path.read_text(encoding="utf-8")
        notebook = blank(before)
        client = NotebookClient(notebook, kernel_name="python3", record_timing=False, store_widget_state=False,
                                resources={"metadata": {"path": str(path.resolve().parent)}}, log=_unheard(),
                                **kernel_options(), **watch.hooks())
        client.execute()
    except Exception as error:      # one notebook's failure is its own: the others are made, the outcome says why
        if hasattr(client, "_async_cleanup_kernel_future"):     # nbclient's own answer to Ctrl-C ends the kernel alone
            raise KeyboardInterrupt from error
        return Outcome(path, "failed", watch.elapsed, failed_cell(watch), explain(error, watch.limit))
    fault = settle(notebook)
    if fault:
        return Outcome(path, "failed", watch.elapsed, *fault)
    after = text_of(notebook)
    keep_measured(notebook, nbformat.v4.reads(before))
    unchanged = before in (after, text_of(notebook))
    if not unchanged:
        replace_text(path, after)
    return Outcome(path, "unchanged" if unchanged else "changed", watch.elapsed, output=path)


def text_of(notebook) -> str:
    """A notebook as the text of its file."""
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _unheard() -> logging.Logger:
    """A logger for nbclient, whose remarks on a failure the outcome repeats."""
    logger = logging.getLogger("mlkit.regenerate")
    logger.setLevel(logging.CRITICAL)
    return logger


def blank(text: str):
    """The notebook in a file's text: never run, every cell with an id, only lasting metadata."""
    import nbformat

    raw = json.loads(text)
    if raw.get("nbformat") != 4:
        raise ValueError(f"notebook format {raw.get('nbformat')}: open it in JupyterLab and save it as format 4")
    taken: set[str] = set()
    for place, cell in enumerate(raw["cells"]):
        source = "".join(cell["source"])
        if cell.get("id") in taken or not cell.get("id"):
            cell["id"] = hashlib.sha256(f"{place} {cell['cell_type']} {source}".encode()).hexdigest()[:8]
        taken.add(cell["id"])
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
        cell["metadata"] = _lasting(cell.get("metadata", {}))
    raw["nbformat_minor"] = max(5, raw.get("nbformat_minor", 5))
    raw["metadata"] = {**_lasting(raw.get("metadata", {})), "kernelspec": KERNELSPEC, "language_info": LANGUAGE}
    return nbformat.reads(json.dumps(raw), as_version=4)


def _lasting(metadata: dict) -> dict:
    return {key: value for key, value in metadata.items() if key not in PASSING_METADATA}


def settle(notebook) -> tuple[str, str] | None:
    """Put an executed notebook's outputs into their one order; returns (cell, fault) if one cannot be committed."""
    notebook.metadata = {**_lasting(notebook.metadata), "kernelspec": KERNELSPEC, "language_info": LANGUAGE}
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.outputs = _in_order(cell.outputs)
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET_VIEW, None)  # its id is random, and without a kernel it shows nothing
            for where, text in output_texts(output):
                fault = machine_detail(text)
                if fault:
                    return f"cell {count} (id {cell.id})", f"its {where} shows {fault}, which is not the same elsewhere"
    return None


def keep_measured(notebook, committed) -> None:
    """Put back the committed outputs of exempt cells that differ from the new ones in numbers alone: times, say.

    The table of lessons (tagged `lessons`) is exempt for its ticks, but its numbers are no measurement.
    """
    for cell, was in zip(notebook.cells, committed.cells, strict=True):
        tags = set(cell.metadata.get("tags", []))
        if EXEMPT & tags and "lessons" not in tags and _without_numbers(cell) == _without_numbers(was):
            cell.outputs = was.outputs


def _without_numbers(cell) -> tuple:
    """A code cell and the words of its outputs; numbers are blank, and the room they take in a table does not count."""
    words = re.sub(r"\d[\d.,]*(e[-+]\d+)?", "0", json.dumps(cell.outputs, sort_keys=True).replace("\\n", " "))
    return cell.source, cell.execution_count, re.sub(r"\s+", "", words)


def _in_order(outputs: list) -> list:
    """stdout before stderr between two displays: their real order is a race in the kernel."""
    ordered: list = []
    for output in outputs:
        start = len(ordered)
        while output.output_type == "stream" and start and ordered[start - 1].output_type == "stream":
            start -= 1
        same = next((other for other in ordered[start:] if output.output_type == "stream"
                     and other.name == output.name), None)
        if same is not None:
            same.text += output.text
        else:
            ordered.append(output)
            ordered[start:] = sorted(ordered[start:], key=lambda other: other.get("name") == "stderr")
    return ordered


def output_texts(output):
    """The parts of an output that a person can read, as (what it is, text)."""
    if output.output_type == "stream":
        yield output.name, output.text
    elif output.output_type == "error":
        yield "traceback", "\n".join([output.evalue, *output.traceback])
    else:
        for mime, content in output.data.items():
            if not mime.startswith("image/") or mime == "image/svg+xml":
                yield mime, content if isinstance(content, str) else json.dumps(content)


def machine_detail(text: str) -> str:
    """A path of this machine or a memory address in a text, or ''."""
    address = ADDRESS.search(text)
    if address:
        return f"a memory address ({address.group()})"
    for folder in machine_folders():
        found = re.search(r"(?<![\w.])" + re.escape(folder) + r"(?![\w-])[^\s'\"<>]*", text)
        if found:
            return f"a path of this machine ({found.group()})"
    return ""


def machine_folders() -> list[str]:
    """The folders whose names differ from machine to machine: checkout, environment, home, temporary."""
    places = {Path(__file__).parents[1], Path.cwd(), Path(sys.prefix), Path.home(), Path(tempfile.gettempdir())}
    places |= {place.resolve() for place in places}
    spelled = {str(place) for place in places if place != Path(place.anchor)}
    return sorted(spelled | {place.replace("\\", "\\\\") for place in spelled}, key=len, reverse=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)
