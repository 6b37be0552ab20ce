"""A notebook over a grid of parameters: on one machine or on many, resumable, and one table at the end.

An executed notebook is its own record. Its last cell says what matters (`record`), and
anyone can read it back later (`recorded`); a batch runs it over a grid of parameters and
puts a row a run in one table (`run_grid`), which a folder of executed notebooks gives again
at any time (`collect`). Values given from outside are checked before a kernel starts.

    record(sharpe=0.41, trades=112)                                    # in the notebook's last cell
    recorded("runs/course/00_first_ml_strategy.ipynb")                 # {'sharpe': 0.41, 'trades': 112}
    run_grid("notebooks/00_first_ml_strategy.ipynb",                   # 6 runs; run it again to resume
             {"symbol": ["GE", "IBM"], "commission_bps": [0, 5, 10]}, "runs/costs", workers=2)
    collect("runs/costs")                                              # the same table

records     results in and out of a notebook
parameters  what a notebook takes, and whether a value fits
plan        a grid's runs: their names and identities
folder      where results lie: a folder or an object store; whole files only
task        one run, as a worker does it
engines     many runs at once on this machine (`cluster`: on a Dask cluster)
grid        run_grid
table       collect
page        index.html
"""

from importlib import import_module

from mlkit.batch.parameters import Parameter, ParameterError, check_parameters, parameters_of
from mlkit.batch.records import MIME, format_value, record, record_as, recorded

# A lesson that records loads none of it.
_LATER = {"run_grid": "grid", "BatchError": "plan", "BatchStopped": "plan", "collect": "table"}
__all__ = ["MIME", "BatchError", "BatchStopped", "Parameter", "ParameterError", "check_parameters", "collect",
           "format_value", "parameters_of", "record", "record_as", "recorded", "run_grid"]


def __getattr__(name: str):
    if name not in _LATER:
        raise AttributeError(f"module 'mlkit.batch' has no attribute {name!r}")
    return getattr(import_module(f"mlkit.batch.{_LATER[name]}"), name)
