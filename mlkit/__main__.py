"""`python -m mlkit ...` is the same as `mlkit ...`; `doctor` works even where nothing is installed."""

import sys


def main():
    """Run a command; where not even the command line can be imported, the doctor alone."""
    try:
        from mlkit.cli import main as command
    except ImportError as error:
        if sys.argv[1:] != ["doctor"]:
            raise SystemExit(f"mlkit cannot start: {error}. What is missing, and the cure: "
                             "python -m mlkit doctor") from error
        from mlkit.doctor import report

        raise SystemExit(report()) from error
    command(prog_name="mlkit")


if __name__ == "__main__":
    main()
