"""The command line: `mlkit --help` lists the commands.

Each command ends with what to do next, and with a status other than 0 when
something failed. Run it in the folder that holds `notebooks/`.
"""

import shutil
import textwrap
from importlib import import_module
from pathlib import Path

import click

from mlkit import page_commands
from mlkit.batch.command import batch

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHORT_COLUMN = 16      # characters; a wider column of `mlkit data` is wrapped under its row


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """Machine learning for trading: a course you can run."""


for command in (batch, page_commands.lab, page_commands.site, page_commands.dashboard, page_commands.doctor):
    main.add_command(command)


@main.command()
@click.argument("notebooks", nargs=-1, type=FILE, metavar="[NOTEBOOK ...]")
@click.option("--out", default="runs/course", show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the executed notebooks and index.html.")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE",
              help="A value for the notebooks' parameters cell; may be repeated.")
@click.option("--timeout", default=1800.0, show_default=True, type=click.FloatRange(min=1),
              help="Seconds one notebook may take.")
def run(notebooks, out, given, timeout):
    """Run lessons and put them on one page.

    Without a name: the whole course.

    \b
    Example:
      mlkit run
      mlkit run notebooks/00_first_ml_strategy.ipynb -p symbol=IBM --out runs/ibm
    """
    from mlkit.batch import ParameterError
    from mlkit.course import numbered_notebooks, run_course

    notebooks = notebooks or numbered_notebooks("notebooks")
    _require(notebooks)
    try:
        outcomes = run_course(notebooks, out, parameters=_pairs(given), timeout=timeout)
    except (ParameterError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _report_failures(outcomes)
    click.echo(f"Open {out / 'index.html'} in a browser; `make lab` opens the notebooks to work in.")
    _exit(outcomes)


@main.command()
@click.argument("notebooks", nargs=-1, type=FILE, metavar="[NOTEBOOK ...]")
@click.option("--timeout", default=1800.0, show_default=True, type=click.FloatRange(min=1),
              help="Seconds one notebook may take.")
def notebooks(notebooks, timeout):
    """Write the lessons' outputs anew, in place.

    Byte for byte the same where nothing changed.

    \b
    Example:
      mlkit notebooks
      mlkit notebooks notebooks/00_first_ml_strategy.ipynb
    """
    from mlkit.course import committed_notebooks, regenerate

    notebooks = notebooks or committed_notebooks("notebooks")
    _require(notebooks)
    outcomes = regenerate(notebooks, timeout=timeout)
    _report_failures(outcomes)
    changed = sum(outcome.status == "changed" for outcome in outcomes)
    click.echo(f"{changed} of {len(outcomes)} notebooks changed. "
               + ("See what did with `git diff`, then `make test`." if changed else "`make test` checks them."))
    _exit(outcomes)


@main.command()
@click.argument("name", required=False)
def data(name):
    """Show the bundled market data, or all about one.

    What there is, from when to when, how many bars; with a NAME also its licence,
    its source and what to beware of.

    \b
    Example:
      mlkit data
      mlkit data WTI
    """
    from mlkit.markets import datasets, load_bars

    table = datasets()
    if name is None:
        click.echo(readable(table[["name", "kind", "first", "last", "rows"]], 110))
        click.echo("\nAll about one, quirks included: mlkit data WTI")
        return
    try:
        load_bars(name)
    except ValueError as error:
        raise click.ClickException(str(error).replace("datasets()", "`mlkit data`")) from error
    if name in set(table["name"]):
        click.echo(readable(table[table["name"] == name], shutil.get_terminal_size().columns))
    else:
        click.echo(f"{name} is no market but a world whose truth is known, made from a seed (see mlkit.synthetic).")
    click.echo(f"\nLoad it with: from mlkit import load_bars; bars = load_bars({name!r})")


@main.command()
@click.argument("target", metavar="FILE:NAME")
@click.option("--bars", "source", default="GE", show_default=True, metavar="NAME|FILE",
              help="A bundled instrument, or a .csv or .parquet file of bars.")
@click.option("--last", default=2500, show_default=True, type=click.IntRange(min=20), help="Use so many bars, the last ones.")
def audit(target, source, last):
    """Prove that features or a strategy do not look ahead.

    NAME in the Python FILE is a function of bars that gives features, a FeatureSet, or a Strategy.
    Ends with status 1 if anything looks ahead or could not be tested.

    \b
    Example:
      mlkit audit my_features.py:build
      mlkit audit my_strategy.py:MyStrategy --bars EURUSD --last 1000
    """
    from mlkit.engine import Strategy
    from mlkit.leakage import audit_features, audit_strategy
    from mlkit.markets import load_bars, read_bars

    audited = _named(target)
    try:
        bars = (read_bars(source) if Path(source).suffix else load_bars(source)).iloc[-last:]
        if isinstance(audited, type) and issubclass(audited, Strategy):
            audited = audited()
        report = (audit_strategy if isinstance(audited, Strategy) else audit_features)(audited, bars, progress=True)
    except (OSError, TypeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(report)
    raise SystemExit(0 if report.clean else 1)


@main.command()
@click.option("--registry", "folder", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The folder of the registry.")
@click.option("--name", required=True, help="The model's name in it.")
@click.option("--data", "source", required=True, metavar="NAME|FILE",
              help="All bars up to now: a bundled instrument, or a .csv or .parquet file of bars.")
@click.option("--holdout", default=250, show_default=True, type=click.IntRange(min=60),
              help="Judge on so many of the last bars, which neither model has seen.")
@click.option("--train-size", type=click.IntRange(min=1),
              help="Let the challenger learn from so many bars before them; all if left out.")
@click.option("--confidence", default=0.9, show_default=True, type=click.FloatRange(0.5, 0.999),
              help="Of the interval that must be won.")
def retrain(folder, name, source, holdout, train_size, confidence):
    """Train a challenger; promote it if it beats the champion.

    On bars that neither has seen. For cron: prints what was decided and why (the registry keeps it too), and ends with status 0 when it
    could decide, whichever way, and 1 when it could not.

    \b
    Example:
      mlkit retrain --registry registry --name ge-daily --data GE
    """
    from mlkit.markets import load_bars, read_bars
    from mlkit.production import ModelRegistry
    from mlkit.production import retrain as decide

    try:
        bars = read_bars(source) if Path(source).suffix else load_bars(source)
        decision = decide(ModelRegistry(folder), name, bars, holdout=holdout, train_size=train_size,
                          confidence=confidence)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"not decided: {error}") from error
    click.echo(decision.reason)
    click.echo(f"{name}: version {decision.challenger if decision.promoted else decision.champion} is the champion"
               f"{'' if decision.promoted else f'; version {decision.challenger} is kept beside it'}.")


class Later(click.Group):
    """The commands of a group in another module, which is imported when one of them is asked for."""

    def __init__(self, name: str, place: str, **told):
        super().__init__(name, **told)
        self.place = place

    def _group(self) -> click.Group:
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)

    def list_commands(self, context):
        return self._group().list_commands(context)

    def get_command(self, context, name):
        return self._group().get_command(context, name)

    def get_help(self, context):
        return self._group().get_help(context)


main.add_command(Later("exercises", "mlkit.exercises.commands:exercises",
                       short_help="Hand out the exercises, grade what comes back, read the result."))


def _named(target: str):
    """What FILE:NAME stands for; the file is run, its folder importable."""
    import runpy
    import sys

    path, colon, name = target.rpartition(":")
    if not colon or not Path(path).is_file():
        raise click.BadParameter(f"{target!r} is not FILE:NAME with a Python file that is there", param_hint="FILE:NAME")
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        made = runpy.run_path(path)
    except Exception as error:
        raise click.ClickException(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    if not callable(made.get(name)) and not hasattr(made.get(name), "handle_market"):
        found = [key for key, value in made.items() if callable(value) and not key.startswith("_")]
        raise click.ClickException(f"{path} has no function, FeatureSet or Strategy {name!r}; it has "
                                   f"{', '.join(found) or 'none at all'}.")
    return made[name]


def readable(table, width: int) -> str:
    """A table as text: narrow columns side by side, wide ones wrapped beneath their row."""
    texts = table.reset_index(drop=False) if table.index.name else table
    texts = texts.map(lambda value: str(value.date()) if hasattr(value, "date") else str(value)).astype(str)
    narrow = [name for name in texts if texts[name].str.len().max() <= SHORT_COLUMN]
    sizes = {name: max(len(name), texts[name].str.len().max()) for name in narrow}
    lines = ["  ".join(f"{name:<{size}}" for name, size in sizes.items()).rstrip()]
    for _, row in texts.iterrows():
        lines.append("  ".join(f"{row[name]:<{size}}" for name, size in sizes.items()).rstrip())
        for name in texts.columns.difference(narrow, sort=False):
            if row[name].strip():
                lines += textwrap.wrap(f"{name}: {row[name]}", max(40, min(width, 110)), break_on_hyphens=False,
                                       break_long_words=False, initial_indent="    ", subsequent_indent="      ")
    return "\n".join(lines)


def _pairs(given) -> dict[str, str]:
    """('symbol=IBM', ...) -> {'symbol': 'IBM', ...}"""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (equals and name.strip().isidentifier()):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="-p")
        if name.strip() in pairs:
            raise click.BadParameter(f"{name.strip()} is given twice", param_hint="-p")
        pairs[name.strip()] = value
    return pairs


def _require(notebooks) -> None:
    if not notebooks:
        raise click.ClickException("no notebooks here: run it in the folder that holds notebooks/, or name one")


def _report_failures(outcomes) -> None:
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        click.echo(f"{len(failed)} of {len(outcomes)} notebooks failed:", err=True)
    for outcome in failed:
        click.echo(f"  {outcome.describe()}", err=True)


def _exit(outcomes) -> None:
    if any(outcome.failed for outcome in outcomes):
        raise SystemExit(1)
