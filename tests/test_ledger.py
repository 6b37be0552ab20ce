"""The ledger counts every trial once, whoever runs it, and a file keeps the count whatever happens to the process."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from worlds import Scripted, random_bars

from mlkit.engine import (Costs, FixedFraction, FixedQuantity, IdealExecutionHandler, MeanReversion, MLStrategy,
                          RealisticExecutionHandler, backtest, compare, sweep)
from mlkit.features import LaggedReturns
from mlkit.metrics import sharpe
from mlkit.overfitting import TrialLedger, deflated_sharpe, expected_max_sharpe, probabilistic_sharpe
from mlkit.overfitting.ledger import is_counting, note_trials

BARS = random_bars(1, n=200)
RULES = [MeanReversion(window) for window in (4, 6, 8, 10)]


def count(run) -> int:
    """Trials in a ledger that was open while `run` ran."""
    with TrialLedger() as ledger:
        run()
    return len(ledger)


# ---- what is a trial


def test_every_backtest_and_every_combination_is_a_trial_once():
    backtest(BARS, RULES[0])
    with TrialLedger() as ledger:
        result = backtest(BARS, RULES[0])
        backtest(BARS, Scripted({3: "BUY"}))
        compare(BARS, {"a": RULES[1], "b": RULES[2]})
        table = sweep(BARS, RULES, costs=[Costs(), Costs(5)], progress=False)
    backtest(BARS, RULES[0])
    trials = ledger.trials
    assert trials["times"].sum() == 1 + 1 + 2 + 8
    assert len(ledger) == len(trials) == 12 - 2  # rules 0 and 2 at the same costs came twice
    assert trials["order_hash"][0] == result.order_hash and trials["times"][0] == 2
    assert trials["sharpe"][0] == result.metrics["sharpe"] and trials["n_bars"][0] == 196
    assert set(trials["order_hash"]) >= set(table["order_hash"])
    assert "10 trials" in repr(ledger) and "in memory" in repr(ledger)


def test_a_row_says_what_was_run():
    bars = BARS.copy()
    bars.attrs["symbol"] = "MADE"
    with TrialLedger() as ledger:
        result = backtest(bars, MeanReversion(4, -1.2), execution=RealisticExecutionHandler(Costs(7)))
        sweep(bars, {"mine": MeanReversion(5)}, latency_bars=1, progress=False)
    row, second = ledger.trials.to_dict("records")
    assert row["strategy"] == "MeanReversion" and row["description"] == "MeanReversion(window=4, enter=-1.2, exit=0.0)"
    assert row["symbol"] == "MADE" and row["first"] == str(BARS.index[0]) and row["last"] == str(BARS.index[-1])
    assert "half_spread_bps=7" in row["execution"] and "latency_bars=1" in second["execution"]
    assert second["strategy"] == "mine" and row["periods_per_year"] == result.periods_per_year
    assert row["sharpe_per_period"] == pytest.approx(sharpe(result.returns, 1.0), rel=1e-12)


@pytest.mark.parametrize("other", [
    lambda: backtest(BARS, MeanReversion(5)),
    lambda: backtest(BARS, MeanReversion(4, symbol="A")),
    lambda: backtest(BARS, MeanReversion(4, exit=1e-9)),
    lambda: backtest(BARS.iloc[:-1], MeanReversion(4)),
    lambda: backtest(BARS * 1.5, MeanReversion(4)),
    lambda: backtest({"OTHER": BARS}, MeanReversion(4)),
    lambda: backtest(BARS, MeanReversion(4), execution=IdealExecutionHandler()),
    lambda: backtest(BARS, MeanReversion(4), sizer=FixedFraction(0.5)),
    lambda: backtest(BARS, MeanReversion(4), cash=5000.0),
    lambda: sweep(BARS, [MeanReversion(4)], latency_bars=1, progress=False),
])
def test_anything_else_is_another_trial(other):
    assert count(lambda: (backtest(BARS, MeanReversion(4)), other())) == 2


@pytest.mark.parametrize("again", [
    lambda: backtest(BARS, MeanReversion(4)),
    lambda: backtest(BARS, MeanReversion(4), engine="events"),
    lambda: backtest(BARS, MeanReversion(4), execution=RealisticExecutionHandler(), sizer=FixedFraction(1.0)),
    lambda: backtest({"ASSET": BARS}, MeanReversion(4)),
    lambda: sweep(BARS, {"under another name": MeanReversion(4)}, costs=Costs(), progress=False),
    lambda: sweep(BARS, [MeanReversion(4)], engine="events", progress=False),
])
def test_the_same_run_in_another_way_is_the_same_trial(again):
    assert count(lambda: (backtest(BARS, MeanReversion(4)), again())) == 1


def test_the_same_orders_under_other_data_or_cash_are_other_trials():
    """Orders of a fixed size do not show it: what they earned does."""
    dearer = BARS.assign(open=BARS["open"] * 1.001, high=BARS["high"] * 1.001)
    script = {3: "BUY", 90: "SELL"}
    with TrialLedger() as ledger:
        for bars, cash in ((BARS, 1e5), (dearer, 1e5), (BARS, 2e5)):
            backtest(bars, Scripted(script), sizer=FixedQuantity(10.0), cash=cash)
        backtest(BARS, Scripted({}))
        backtest(BARS * 2, Scripted({}))
    assert len(ledger) == 5 and ledger.trials["order_hash"].nunique() == 2
    assert ledger.trials["sharpe"].isna().tolist() == [False] * 3 + [True] * 2  # one that never traded was tried too


def test_one_that_never_trades_is_another_trial_wherever_it_was_tried():
    later = BARS.set_axis(BARS.index + pd.Timedelta("1D"), axis=0)
    with TrialLedger() as ledger:
        for bars in (BARS, {"OTHER": BARS}, later):
            backtest(bars, Scripted({}))
        backtest(BARS, Scripted({}), execution=IdealExecutionHandler())
    assert len(ledger) == 4 and ledger.trials["order_hash"].nunique() == 1


def test_objects_without_a_name_of_their_own_are_known_by_their_class():
    class Coin:
        def predict_proba(self, table):
            return np.full((len(table), 2), 0.5) + [[-0.1, 0.1]]

    features = {"change": lambda bars: bars["close"].pct_change().fillna(0.0)}
    with TrialLedger() as ledger:
        for _ in range(2):
            backtest(BARS, MLStrategy(Coin(), features))
    assert ledger.trials["times"].tolist() == [2] and " at 0x" not in ledger.trials["description"][0]


def test_two_models_of_the_same_settings_fitted_differently_are_two_trials():
    features = LaggedReturns(2)
    X = features(BARS).dropna()
    y = np.random.default_rng(0).random((2, len(X))) > 0.5
    rules = [MLStrategy(LogisticRegression(C=1e4).fit(X, each), features, enter=0.5, exit=0.5) for each in y]
    with TrialLedger() as ledger:
        sweep(BARS, rules, progress=False)
    assert len(ledger) == 2 and ledger.trials["description"].nunique() == 1
    assert "LogisticRegression(C=10000.0)" in ledger.trials["description"][0]


def test_the_model_that_rules_share_is_described_once():
    """Its repr may take longer than the backtest of the rule."""
    class Slow:
        asked = 0

        def predict_proba(self, table):
            return np.tile([0.4, 0.6], (len(table), 1))

        def __repr__(self):
            Slow.asked += 1
            return "Slow()"

    model, features = Slow(), LaggedReturns(2)
    assert count(lambda: sweep(BARS, [MLStrategy(model, features, enter=0.5 + k / 100) for k in range(8)],
                               progress=False)) == 8
    assert Slow.asked == 1


# ---- who is counting


def test_ledgers_may_be_nested_and_opened_again():
    assert not is_counting()
    with TrialLedger() as outer:
        backtest(BARS, RULES[0])
        with TrialLedger() as inner, outer:  # the outer one open twice counts once
            backtest(BARS, RULES[1])
        backtest(BARS, RULES[2])
    assert not is_counting() and (len(outer), len(inner)) == (3, 1)
    assert outer.trials["times"].tolist() == [1, 1, 1]
    with inner:
        backtest(BARS, RULES[2])
    assert len(inner) == 2
    with pytest.raises(ZeroDivisionError), inner:
        1 / 0
    assert not is_counting()


def test_trials_in_other_processes_are_counted_here_once():
    with TrialLedger() as outer, TrialLedger() as inner:
        sweep(BARS, RULES, n_jobs=2, progress=False)
        with joblib.parallel_config(backend="threading"):
            sweep(BARS, RULES[:2], n_jobs=2, progress=False)
    assert len(outer) == len(inner) == 4 and outer.trials["times"].tolist() == [2, 2, 1, 1]


def test_backtests_in_threads_are_counted():
    with TrialLedger() as ledger:
        threads = [threading.Thread(target=lambda: [backtest(BARS, rule) for rule in RULES]) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ledger.trials["times"]) == [5] * 4


def test_threads_take_turns():
    result = backtest(BARS, RULES[0])
    row = {**result.figures, "strategy": "a"}

    def note(thread):
        for k in range(150):
            note_trials(BARS, [(RULES[0], result.execution, {**row, "order_hash": f"{thread} {k}"})])

    with TrialLedger() as ledger:
        threads = [threading.Thread(target=note, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ledger) == 600


def test_a_sweep_is_written_in_one_piece(tmp_path):
    """One transaction: another reader sees all of it or nothing."""
    bars, rules = BARS.iloc[:60], [MeanReversion(4, -0.5 - k / 1000) for k in range(300)]
    with TrialLedger(tmp_path / "trials") as ledger:
        seen, stop, reader = set(), threading.Event(), TrialLedger(tmp_path / "trials")

        def watch():
            while not stop.is_set():
                seen.add(len(reader))

        watcher = threading.Thread(target=watch)
        watcher.start()
        sweep(bars, rules, progress=False)
        stop.set()
        watcher.join()
    assert len(ledger) == 300 and seen <= {0, 300}


# ---- a file

CHILD = """
import sys
from worlds import random_bars
from mlkit.engine import MeanReversion, backtest, sweep
from mlkit.overfitting import TrialLedger
bars = random_bars(1, n=60)
with TrialLedger(sys.argv[1]) as ledger:
"""


def child(path, code) -> subprocess.Popen:
    """A second process that runs `code` while its ledger is open."""
    script = CHILD + "".join(f"    {line}\n" for line in code.splitlines())
    tests = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.path.dirname(tests)])}
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_file_is_there_next_time_and_a_rerun_counts_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        with TrialLedger("trials.ledger") as ledger:
            sweep(BARS, RULES, progress=False)
            os.makedirs("elsewhere", exist_ok=True)
            monkeypatch.chdir("elsewhere")
            backtest(BARS, RULES[0])
        monkeypatch.chdir(tmp_path)
    assert len(TrialLedger(tmp_path / "trials.ledger")) == 4 and os.listdir("elsewhere") == []
    assert ledger.trials["times"].tolist() == [6, 3, 3, 3] and repr(ledger) == "<TrialLedger trials.ledger: 4 trials>"
    with TrialLedger() as memory:
        sweep(BARS, RULES, progress=False)
    pd.testing.assert_frame_equal(memory.trials.drop(columns="times"), ledger.trials.drop(columns="times"))


def test_processes_write_and_read_one_file_at_the_same_time(tmp_path):
    path, seen, own = tmp_path / "trials", [], 0
    code = "for k in range(60):\n    backtest(bars, MeanReversion(4, -0.5 - k / 1000))\nprint(len(ledger))"
    writer = child(path, code)
    with TrialLedger(path) as ledger:
        while writer.poll() is None:
            if len(ledger) > own:  # the other has begun
                backtest(BARS, MeanReversion(4, -0.5 - own / 1000))
                own += 1
            seen.append(len(ledger.trials) - own)
            time.sleep(0.01)
    assert writer.returncode == 0 and 60 <= int(writer.communicate()[0])
    assert seen == sorted(seen) and len(set(seen)) > 3 and own > 3
    assert len(ledger) == 60 + own and (ledger.trials["times"] == 1).all()


def test_a_killed_process_leaves_a_file_that_can_be_read_and_added_to(tmp_path):
    """Killed while it does nothing but write: what it said was written is there, and nothing is half there."""
    path = tmp_path / "trials"
    code = ("from mlkit.overfitting.ledger import note_trials\n"
            "result = backtest(bars, MeanReversion(4))\n"
            "row = {**result.figures, 'strategy': 'a'}\n"
            "for batch in range(10**6):\n"
            "    note_trials(bars, [(MeanReversion(4), result.execution, {**row, 'order_hash': f'{batch} {k}'})"
            " for k in range(50)])\n"
            "    print(batch, flush=True)")
    writer = child(path, code)
    for _ in range(20):
        writer.stdout.readline()
    time.sleep(0.003)
    writer.send_signal(signal.SIGKILL)
    said = [int(line) for line in writer.communicate()[0].split("\n")[:-1]]
    ledger = TrialLedger(path)
    trials = ledger.trials
    batches = trials.loc[trials["strategy"] == "a", "order_hash"].str.split(expand=True)[0].astype(int)
    assert set(range(max(said, default=19) + 1)) <= set(batches) and (batches.value_counts() == 50).all()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    before = len(ledger)
    with ledger:
        backtest(BARS, RULES[0])
    assert len(ledger) == before + 1


def test_a_fork_writes_into_the_file_too(tmp_path):
    with TrialLedger(tmp_path / "trials") as ledger:
        backtest(BARS, RULES[0])
        pid = os.fork()
        if pid == 0:
            try:
                backtest(BARS, RULES[1])
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        backtest(BARS, RULES[2])
    assert len(ledger) == 3


def another_database(path, application_id, version):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (a)")
    database.execute(f"PRAGMA application_id = {application_id}")
    database.execute(f"PRAGMA user_version = {version}")
    database.close()


@pytest.mark.parametrize(("make", "message"), [
    (lambda path: path.write_text("strategy,sharpe\n"), "file is not a database"),
    (lambda path: path.write_bytes(os.urandom(5000)), "file is not a database"),
    (lambda path: another_database(path, 0, 0), "no trial ledger but another database"),
    (lambda path: another_database(path, 0x6D6C6B74, 2), "version 2, not 1"),
    (lambda path: path.mkdir(), "unable to open"),
])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path, make, message):
    path = tmp_path / "precious"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ValueError, match=message) as caught:
        TrialLedger(path)
    assert str(path) in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None) and os.listdir(tmp_path) == ["precious"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.*folder"):
        TrialLedger(tmp_path / "nowhere" / "trials")


def test_a_file_cut_short_is_refused_not_begun_anew(tmp_path):
    path = tmp_path / "trials"
    with TrialLedger(path):
        sweep(BARS, [MeanReversion(4, -0.5 - k / 100) for k in range(100)], progress=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ValueError, match="trials cannot be used as a trial ledger.*malformed"):
        TrialLedger(path).trials
    assert path.read_bytes() == whole[: len(whole) // 3]


# ---- the deflated Sharpe ratio of a result


def shape(result) -> dict[str, float]:
    returns = result.returns.to_numpy()
    return {"skew": stats.skew(returns), "kurtosis": stats.kurtosis(returns, fisher=False)}


@pytest.mark.parametrize("convention", ["2014", "2025"])
def test_a_result_is_deflated_by_the_trials_of_the_ledger(convention):
    with TrialLedger() as ledger:
        results = [backtest(BARS, rule) for rule in RULES]
        backtest(BARS, Scripted({}))  # counts, but has no Sharpe ratio
    best = max(results, key=lambda result: result.metrics["sharpe"])
    ratios = [sharpe(result.returns, 1.0) for result in results]
    expected = deflated_sharpe(max(ratios), len(best.returns), n_trials=5, variance=np.var(ratios, ddof=1),
                               **shape(best), convention=convention)
    assert ledger.deflated_sharpe(best, convention) == pytest.approx(expected, rel=1e-9)
    assert ledger.deflated_sharpe(best.returns, convention) == pytest.approx(expected, rel=1e-9)
    default = ledger.deflated_sharpe(best)
    assert (default == ledger.deflated_sharpe(best, convention)) == (convention == "2014")


def test_a_result_that_is_not_in_the_ledger_counts_as_one_more():
    with TrialLedger() as ledger:
        results = [backtest(BARS, rule) for rule in RULES[:2]]
    outside = backtest(BARS, RULES[2])
    ratios = [sharpe(result.returns, 1.0) for result in [*results, outside]]
    expected = deflated_sharpe(ratios[2], len(outside.returns), n_trials=3, variance=np.var(ratios, ddof=1),
                               **shape(outside))
    assert ledger.deflated_sharpe(outside) == pytest.approx(expected, rel=1e-9)
    assert len(ledger) == 2


def test_trials_on_other_bars_a_year_are_compared_by_the_year():
    weekly = BARS.set_axis(pd.date_range("2000-01-07", periods=len(BARS), freq="W-FRI", name="timestamp"))
    with TrialLedger() as ledger:
        daily_result, weekly_result = backtest(BARS, RULES[0]), backtest(weekly, RULES[1])
    year = [daily_result.metrics["sharpe"], weekly_result.metrics["sharpe"]]
    assert weekly_result.periods_per_year == 52
    for result, own in zip((daily_result, weekly_result), year):
        periods = result.periods_per_year
        expected = deflated_sharpe(own / periods**0.5, len(result.returns), n_trials=2,
                                   variance=np.var(year, ddof=1) / periods, **shape(result))
        assert ledger.deflated_sharpe(result) == pytest.approx(expected, rel=1e-9)


def test_a_single_trial_is_not_deflated():
    result = backtest(BARS, RULES[0])
    expected = probabilistic_sharpe(sharpe(result.returns, 1.0), len(result.returns), **shape(result))
    with TrialLedger() as ledger:
        assert ledger.deflated_sharpe(result) == pytest.approx(expected, rel=1e-12)
        backtest(BARS, RULES[0])
    assert len(ledger) == 1 and ledger.deflated_sharpe(result) == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_deflated_is_refused():
    with TrialLedger() as ledger:
        never = backtest(BARS, Scripted({}))
        result = backtest(BARS, Scripted({3: "BUY"}))
    with pytest.raises(ValueError, match="of 2 trials no two have Sharpe ratios that differ"):
        ledger.deflated_sharpe(result)
    with pytest.raises(ValueError, match="no two"):
        ledger.plot()
    with ledger:
        backtest(BARS, Scripted({3: "BUY", 500: "SELL"}))  # other parameters, the same orders
    assert len(ledger) == 3
    with pytest.raises(ValueError, match="of 3 trials no two"):
        ledger.deflated_sharpe(result)
    with pytest.raises(ValueError, match="constant"):
        ledger.deflated_sharpe(never)
    for other in (result.returns.to_numpy(), result.returns.reset_index(drop=True)):
        with pytest.raises(ValueError, match="BacktestResult or a Series of returns on its dates"):
            ledger.deflated_sharpe(other)


def test_an_empty_ledger_is_an_empty_table():
    trials = TrialLedger().trials
    assert len(trials) == 0 and trials["sharpe"].dtype == float and "times" in trials


def test_the_picture_holds_every_trial_and_the_best_to_expect():
    with TrialLedger() as ledger:
        sweep(BARS, RULES, progress=False)
        backtest(BARS, Scripted({}))
    known = ledger.trials["sharpe"]
    axis = ledger.plot().axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), known)
    luck = expected_max_sharpe(5, known.var())
    assert axis.lines[1].get_ydata()[-1] == pytest.approx(luck)
    title = axis.get_title(loc="left")
    assert f"{luck:.2f}" in title and f"{known.max():.2f}" in title and "5 trials" in title


def test_a_run_that_nobody_counts_leaves_no_trace():
    ledger = TrialLedger()
    backtest(BARS, RULES[0])
    result = backtest(BARS, RULES[0])
    note_trials(BARS, [(RULES[0], result.execution, {**result.figures, "strategy": "a", "order_hash": "b"})])
    assert len(ledger) == 0
