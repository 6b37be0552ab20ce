"""`mlkit batch`: a grid from the command line. Part of `mlkit.batch`."""

import sys
from pathlib import Path

import click

ASK_ABOVE = 1_000           # runs; a larger grid is confirmed first
ASSUMED_SECONDS = 10.0      # a run, when nothing has been measured


class Refused(click.ClickException):
    """The batch did not start: what is wrong, and nothing was written."""

    exit_code = 2


@click.command()
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=A,B,...",
              help='Values for a parameter, separated by commas; one that holds a comma in double quotes: '
                   """-p 'pair="a,b",c'. May be repeated: all combinations are run.""")
@click.option("--grid", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A YAML file: a mapping of names to lists (all combinations), or a list of mappings (one run each).")
@click.option("--out", metavar="FOLDER|URL",
              help="For the executed notebooks, index.html and table.csv; an object store's URL through fsspec.  "
                   "[default: runs/NOTEBOOK]")
@click.option("--workers", type=click.IntRange(min=1), help="Runs at once on this machine; a core each.  [default: 1]")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Run on the workers of this Dask scheduler instead.")
@click.option("--timeout", default=1800.0, show_default=True, type=click.FloatRange(min=1),
              help="Seconds a run may take.")
@click.option("--force", is_flag=True, help="Run again what has a finished result.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first run that fails.")
@click.option("--pages/--no-pages", default=None, help="Render each executed notebook as a page too.  "
              "[default: up to 100 runs]")
@click.option("--yes", is_flag=True, help="Do not ask before more than 1,000 runs.")
def batch(notebook, given, file, out, workers, scheduler, yes, **options):
    """Run a notebook over a grid of parameters.

    Every combination is a run in a kernel of its own and leaves an executed notebook; a row each in table.csv and
    index.html. Finished runs are not repeated: the same command resumes a batch that was stopped or killed, and tries
    again what failed. Ends with status 0 when all runs are ok, 1 when some failed or it could not go on, 2 when it did
    not start.

    \b
    Example:
      mlkit batch notebooks/00_first_ml_strategy.ipynb -p symbol=GE,IBM -p commission_bps=0,5,10 --workers 2
      mlkit batch notebooks/00_first_ml_strategy.ipynb --grid grid.yaml --out runs/costs
      mlkit batch notebooks/00_first_ml_strategy.ipynb -p symbol=GE,IBM --out /shared/x --scheduler tcp://10.0.0.5:8786
    """
    from mlkit.batch.grid import run_grid
    from mlkit.batch.plan import BatchStopped

    if workers and scheduler:
        raise click.UsageError("--workers is for this machine, --scheduler for a cluster, which has its own: give one")
    out = out or f"runs/{notebook.stem}"
    try:
        grid = _grid(given, file)
        if not yes:
            _ask(notebook, grid, out, None if scheduler else workers or 1)
        table = run_grid(notebook, grid, out, workers=workers or 1, scheduler=scheduler, **options)
    except BatchStopped as error:
        raise click.ClickException(f"stopped half way: {error}\nWhat has finished is kept in {out}.") from error
    except (ValueError, OSError) as error:
        raise Refused(str(error)) from error
    except KeyboardInterrupt:
        click.echo(f"\nStopped. What has finished is kept in {out}: the same command goes on from there.", err=True)
        raise SystemExit(130) from None
    _tell(table, out)


def _grid(given, file):
    import csv

    from mlkit.batch.plan import read_grid, split_values, with_values

    if not given and not file:
        raise click.UsageError("nothing to vary: give -p NAME=A,B or --grid FILE")
    values = {}
    for text in given:
        name, equals, listed = text.partition("=")
        if not (equals and name.strip().isidentifier()):
            raise click.BadParameter(f"{text!r} is not NAME=A,B,...", param_hint="-p")
        if name.strip() in values:
            raise click.BadParameter(f"{name.strip()} is given twice: put all its values into one -p", param_hint="-p")
        try:
            values[name.strip()] = split_values(listed)
        except csv.Error as error:
            raise click.BadParameter(f"{text!r}: {error}; a value that holds a comma stands in double quotes",
                                     param_hint="-p") from error
    return with_values(read_grid(file), values) if file else values


def _ask(notebook: Path, grid, out: str, workers: int | None) -> None:
    """Before a large grid, say how large and how long; nothing is started, or made in full, until then.

    workers : of this machine; None on a cluster, whose workers are not counted before it is asked for
    """
    from mlkit.batch.plan import make_plan

    count = len(make_plan(notebook, grid))
    if count <= ASK_ABOVE:
        return
    seconds, source = _seconds_a_run(notebook, out)
    where = f"on {workers} worker{'s' * (workers > 1)}" if workers else "of work for all the cluster's workers together"
    told = (f"{count:,} runs of {notebook.name}: about {_span(count * seconds / (workers or 1))} {where}, at "
            f"{seconds:.1f} s a run ({source}).")
    if not sys.stdin.isatty():
        raise Refused(f"{told} Nobody is there to ask: add --yes if that is meant.")
    if not click.confirm(f"{told} Run them?"):
        raise Refused("Nothing was run.")


def _seconds_a_run(notebook: Path, out: str) -> tuple[float, str]:
    from mlkit.batch.folder import open_folder
    from mlkit.batch.table import collect

    if open_folder(out).exists():
        table = collect(out)
        measured = table.loc[(table["notebook"] == notebook.name) & (table["status"] == "ok"), "duration"]
        if len(measured):
            return measured.mean(), f"the mean of {len(measured):,} finished in {out}"
    return ASSUMED_SECONDS, f"assumed: none has finished in {out}; run a few there first for a better figure"


def _span(seconds: float) -> str:
    """A long time as a person says it."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _tell(table, out: str) -> None:
    counts = table["status"].value_counts()
    failed = counts.get("failed", 0)
    click.echo(f"{len(table):,} runs: {counts.get('ok', 0):,} ok, {failed:,} failed. Open {out}/index.html in a "
               f"browser; {out}/table.csv is the table."
               + (" The same command tries the failed ones again." if failed else ""))
    if failed:
        raise SystemExit(1)
