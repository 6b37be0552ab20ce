"""`python -m mlkit ...` is the same as `mlkit ...`."""

from mlkit.cli import main

if __name__ == "__main__":
    main(prog_name="mlkit")
