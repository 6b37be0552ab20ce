"""`mlkit audit` and what `mlkit data` says of worlds; the other commands: tests/test_course.py."""

import re

import pytest
from click.testing import CliRunner

from mlkit.cli import main

CODE = '''
import numpy as np
from mlkit import FeatureSet, LaggedReturns, MeanReversion, Strategy

clean_set = FeatureSet([LaggedReturns(3)])

def centred(bars):
    return bars["close"].rolling(5, center=True).mean().rename("centred")

class Peek(Strategy):
    def decide(self, bars):
        return np.where(bars["close"].shift(-1) > bars["close"], 1, -1)

rule = MeanReversion(10)
number = 3
'''


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize("name, status, words", [
    ("clean_set", 0, "LeakageReport of features"), ("rule", 0, "LeakageReport of strategy"),
    ("centred", 1, "It uses at least 2 bars of the future"), ("Peek", 1, "It uses the next bar"),
    ("number", 1, "no function, FeatureSet or Strategy 'number'; it has")])
def test_audit(code, name, status, words):
    done = CliRunner().invoke(main, ["audit", f"{code}:{name}", "--bars", "EURUSD", "--last", "400"])
    assert done.exit_code == status and words in done.output


@pytest.mark.parametrize("target, words", [("nothing.py:build", "is not FILE:NAME"), ("build", "is not FILE:NAME")])
def test_audit_of_nothing(target, words):
    done = CliRunner().invoke(main, ["audit", target])
    assert done.exit_code == 2 and words in done.output


def test_audit_of_a_file_that_fails_and_on_bars_that_are_not_there(tmp_path, code):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    done = CliRunner().invoke(main, ["audit", f"{broken}:build"])
    assert done.exit_code == 1 and "ZeroDivisionError" in done.output
    done = CliRunner().invoke(main, ["audit", f"{code}:centred", "--bars", "EURUDS"])
    assert done.exit_code == 1 and "did you mean EURUSD" in done.output


def test_data_knows_the_worlds():
    done = CliRunner().invoke(main, ["data", "RANDOM_WALK"])
    assert done.exit_code == 0 and "world whose truth is known" in done.output


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself_with_an_example(command):
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0 and re.search(rf"Example.*:\n  .*mlkit {command}", done.output, re.DOTALL)
    listed = CliRunner().invoke(main, ["--help"]).output
    assert re.search(rf"^  {command} +\w.*\w\.$", listed, re.MULTILINE), "one line says what it does"
