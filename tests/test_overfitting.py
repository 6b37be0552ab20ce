"""Trials are counted, whoever runs them."""

from worlds import Scripted, random_bars

from mlkit.engine import Costs, MeanReversion, backtest, compare, sweep
from mlkit.overfitting import TrialLedger

BARS = random_bars(1, n=200)
RULES = [MeanReversion(window) for window in (4, 6, 8, 10)]


def test_every_backtest_and_every_combination_is_a_trial():
    backtest(BARS, RULES[0])
    with TrialLedger() as ledger:
        result = backtest(BARS, RULES[0])
        backtest(BARS, Scripted({3: "BUY"}))
        compare(BARS, {"a": RULES[1], "b": RULES[2]})
        table = sweep(BARS, RULES, costs=[Costs(), Costs(5)], progress=False)
    backtest(BARS, RULES[0])
    assert len(ledger) == 1 + 1 + 2 + 8
    assert ledger.trials["order_hash"][0] == result.order_hash
    assert ledger.trials["sharpe"][0] == result.metrics["sharpe"] and ledger.trials["n_bars"][0] == 196
    assert ledger.trials["order_hash"].tolist()[-8:] == table["order_hash"].tolist()


def test_trials_in_other_processes_are_counted_here_once():
    with TrialLedger() as outer, TrialLedger() as inner:
        sweep(BARS, RULES, n_jobs=2, progress=False)
    assert len(outer) == len(inner) == 4
