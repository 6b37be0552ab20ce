"""`collect`: a folder of executed notebooks as one table, a row a run. Part of `mlkit.batch`.

A batch's notebooks are not parsed for that: each holds its record in its last 64 KB. Notebooks executed by papermill
or `mlkit run` are read whole, and give a row as well.
"""

from collections.abc import Iterable

import pandas as pd

from mlkit.batch.folder import open_folder
from mlkit.batch.parameters import ParameterError, defaults_of, parameters_of
from mlkit.batch.plan import SUMMARY, BatchError
from mlkit.batch.records import from_entries, results_in, to_entries
from mlkit.batch.task import find_records


def collect(folder) -> pd.DataFrame:
    """All executed notebooks of a folder in one table; sub-folders and other files are not looked at.

    Parameters
    ----------
    folder : path, or URL of an object store, that `run_grid` or `mlkit batch` wrote into.

    Returns
    -------
    DataFrame, one row a notebook, sorted by notebook and parameters (numbers as numbers). Its columns are each
    parameter (defaults too) and each recorded result under its own name, NaN where a run has none, and
    status : "ok", "failed" or "unreadable" (a file that is no executed notebook; `error` says why)
    error, cell : why and where it failed, "" if it did not
    duration : seconds, its kernel's start included
    notebook, notebook_version, mlkit_version : the notebook's file name, hashes of its sources and of `mlkit`
    file : name of the executed notebook

    Raises
    ------
    BatchError if there is no such folder; ValueError if a notebook records a result under the name of one of its
    parameters with another value, or of a column above, or if a name is one notebook's parameter and another's
    result.
    """
    place = open_folder(folder)
    if not place.exists():
        raise BatchError(f"there is no folder {place}")
    found = find_records(place, [name for name in place.names() if name.endswith(".ipynb")])
    return table_of(record | {"file": name} if record else _foreign(place, name) for name, record in found.items())


def _foreign(place, name: str) -> dict:
    """A record made of a notebook that no batch has executed."""
    import nbformat

    record = dict.fromkeys(SUMMARY, "") | {"file": name, "duration": None, "parameters": [], "results": []}
    try:
        content = nbformat.reads(place.read(name).decode(), as_version=4)
        by, cells = content.metadata["papermill"], content.cells
        results, parameters = results_in(cells), _defaults(content) | by.get("parameters", {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = "it is not a notebook" if isinstance(error, ValueError) else "neither a batch nor papermill executed it"
        return record | {"status": "unreadable", "error": why}
    whole = not by.get("exception") and all(map(_was_run, cells))
    failure = next((f"{output['ename']}: {output['evalue']}" for cell in cells for output in cell.get("outputs", [])
                    if output["output_type"] == "error"), "" if whole else "it did not end")
    return record | {"status": "failed" if failure else "ok", "error": failure, "duration": by.get("duration"),
                     "notebook": str(by.get("input_path") or "").replace("\\", "/").rsplit("/", 1)[-1],
                     "parameters": to_entries(parameters), "results": to_entries(results)}


def _was_run(cell) -> bool:
    skipped = cell.cell_type != "code" or not cell.source.strip() or "skip-execution" in cell.metadata.get("tags", [])
    return skipped or cell.execution_count is not None


def _defaults(notebook) -> dict:
    try:
        return defaults_of(parameters_of(notebook) or {})
    except ParameterError:      # its parameters are no plain Python
        return {}


def table_of(records: Iterable[dict]) -> pd.DataFrame:
    """The table of `collect` from records."""
    records = list(records)
    parameters, results = check_names(records)
    rows = [dict(zip(SUMMARY, (record[name] for name in SUMMARY))) | from_entries(record["results"])
            | from_entries(record["parameters"]) for record in records]
    rows.sort(key=lambda row: [row["notebook"], *(_sorting(row.get(name)) for name in parameters), row["file"]])
    table = pd.DataFrame(rows, columns=[*parameters, *results, *SUMMARY])
    return table.astype({"duration": "float64"})


def _sorting(value) -> tuple:
    """Numbers by size, then texts, then the rest; what is missing first."""
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, (bool, int, float)) else (2, 0.0, str(value))


def check_names(records: list[dict]) -> tuple[list[str], list[str]]:
    """The names of all parameters and of all results that are no parameter, in the order of their first appearance.

    Raises ValueError if one column would hold two different things.
    """
    parameters = dict.fromkeys(name for record in records for name in from_entries(record["parameters"]))
    results: dict[str, None] = {}
    for record in records:
        given, found = from_entries(record["parameters"]), from_entries(record["results"])
        for name, value in found.items():
            if name in SUMMARY:
                raise ValueError(f"{record['notebook']} records a result called {name!r}, and every table of a batch "
                                 f"has a column of that name ({', '.join(SUMMARY)}): record it under another one")
            if name in given and not _same(given[name], value):
                raise ValueError(f"{record['notebook']} records {name}={value!r} and has a parameter "
                                 f"{name}={given[name]!r} (in {record['file']}): a table has one column of that name; "
                                 "record it under another one")
            if name in parameters and name not in given:
                raise ValueError(f"{name!r} is a result of {record['notebook']} and a parameter of another notebook in "
                                 "this folder: collect them from a folder each")
        results |= dict.fromkeys(name for name in found if name not in parameters)
    return list(parameters), list(results)


def _same(one, other) -> bool:
    return one == other or (one != one and other != other)
