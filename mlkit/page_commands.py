"""The commands that open the course or make pages of it, and the one that says whether they can.

Part of `mlkit.cli`. What a command needs is imported when it runs.
"""

from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[JUPYTERLAB OPTIONS]")
def lab(options):
    """Open JupyterLab on the start page of the course.

    Takes JupyterLab's own options too. Stop it with Ctrl-C.

    \b
    Example:
      mlkit lab
      mlkit lab --no-browser --port=9000
    """
    from mlkit.start import open_lab

    try:
        open_lab("notebooks", options)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[VOILA OPTIONS]")
def dashboard(options):
    """Open the decision report as a page with controls.

    Instrument, model and cost are picked there. Takes Voila's own options too. Stop it with Ctrl-C.

    \b
    Example:
      mlkit dashboard
      mlkit dashboard --no-browser --port=9001
    """
    from mlkit.dashboard import serve

    try:
        serve(options)
    except (ModuleNotFoundError, OSError) as error:
        raise click.ClickException(str(error)) from error


@click.command()
@click.option("--out", default="runs/site", show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the site.")
def site(out):
    """Write the lessons as web pages to read anywhere.

    As they were last saved, with search, contents and next/previous links; nothing is run.
    Ends with status 1 if a link leads nowhere.

    \b
    Example:
      mlkit site
      mlkit site --out /tmp/course
    """
    from mlkit.site import build_site, stray_links

    try:
        index = build_site("notebooks", out)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    broken, elsewhere = stray_links(out)
    for page, link in elsewhere:
        click.echo(f"{page} links to the web, which is not there without a network: {link}", err=True)
    if broken:
        told = "; ".join(f"{page} to {link}" for page, link in broken)
        raise click.ClickException(f"{index} is written, but has links that lead nowhere: {told}")
    click.echo(f"Open {index} in a browser; the folder can be copied anywhere.")


@click.command()
def doctor():
    """Say whether all is here that the course needs.

    Looks at Python, the packages, the data, a kernel and the folders; each fault comes with its cure.
    Ends with status 1 if something must be cured.

    \b
    Example:
      mlkit doctor
    """
    from mlkit.doctor import report

    raise SystemExit(report())
