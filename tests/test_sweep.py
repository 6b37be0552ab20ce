"""Sweeps: every row is what `backtest` gives, whatever is shared and however many work at it."""

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from worlds import Scripted, costs, random_bars

from mlkit.engine import (BuyAndHold, Costs, FixedFraction, FixedQuantity, MeanReversion, MLStrategy,
                          MovingAverageCross, RealisticExecutionHandler, RiskManager, backtest, sweep)
from mlkit.engine.sharing import shared, sharing
from mlkit.features import FeatureSet, LaggedReturns
from mlkit.labels import direction
from mlkit.markets import BarsError, load_bars

BARS = load_bars("GE").loc["2000":"2005"]
CHARGES = [Costs(), Costs(5, 5, 5, commission_min=1)]


def strategies():
    features = FeatureSet([LaggedReturns(3)])
    X, y = features.transform(BARS), direction(BARS)["label"]
    known = X.notna().all(axis=1) & y.notna()
    model = LogisticRegression().fit(X[known], y[known])
    return [MeanReversion(20, enter, exit) for enter in (-2.0, -1.0) for exit in (0.0, 0.5)] + [
        MovingAverageCross(5, 20), MovingAverageCross(20, 60), BuyAndHold(),
        *(MLStrategy(model, features, enter=0.5 + edge, exit=0.5 - edge) for edge in (0.0, 0.01))]


def test_every_row_is_that_backtest():
    table = sweep(BARS, strategies(), costs=CHARGES, progress=False)
    assert len(table) == len(strategies()) * len(CHARGES)
    alone = [backtest(BARS, strategy, execution=RealisticExecutionHandler(charges))
             for strategy in strategies() for charges in CHARGES]
    assert table["order_hash"].tolist() == [result.order_hash for result in alone]
    for name in alone[0].metrics.index:
        np.testing.assert_allclose(table[name], [result.metrics[name] for result in alone], rtol=1e-9, atol=1e-9,
                                   err_msg=name)
    assert table["enter"].tolist()[:2] == [-2.0, -2.0] and np.isnan(table["enter"][8])
    assert table["commission_min"].tolist()[:2] == [0.0, 1.0]
    assert set(table["engine"]) == {"replay"}


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10_000), charges=costs(), latency=st.integers(0, 2), holes=st.booleans(),
       ideal_volume=st.sampled_from([200.0, 1e5, 1e9]), allow_short=st.booleans(), n=st.sampled_from([12, 40, 150]),
       sizer=st.sampled_from([FixedFraction(1.0), FixedFraction(0.3), FixedQuantity(10.0), FixedQuantity(950.0)]),
       risk=st.sampled_from([None, None, RiskManager(max_drawdown=0.03)]))
def test_rows_worked_out_together_are_those_of_single_runs(seed, charges, latency, holes, ideal_volume, allow_short, n,
                                                           sizer, risk):
    """Whatever can happen to some of them: no volume, too little cash or volume, no trade at all, an open end."""
    bars = random_bars(seed, n=n, holes=holes, volume=ideal_volume)
    rules = [MeanReversion(window, enter, exit) for window in (3, 5) for enter in (-1.0, -0.5) for exit in (0.0, 0.4)]
    rules += [BuyAndHold(), MovingAverageCross(2, 5), MeanReversion(5, -50.0, 0.0)]
    options = {"sizer": sizer, "risk": risk, "allow_short": allow_short}
    table = sweep(bars, rules, costs=charges, latency_bars=latency, progress=False, **options)
    for row, rule in zip(table.to_dict("records"), rules):
        alone = backtest(bars, rule, execution=RealisticExecutionHandler(charges, latency_bars=latency), **options)
        assert row["order_hash"] == alone.order_hash and row["engine"] == alone.engine
        np.testing.assert_allclose([row[name] for name in alone.metrics.index], alone.metrics, rtol=1e-9, atol=1e-7)


def test_processes_give_the_same_table():
    one, two = (sweep(BARS, strategies(), costs=CHARGES, n_jobs=n, progress=False) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    with joblib.parallel_config(backend="threading"):
        pd.testing.assert_frame_equal(one, sweep(BARS, strategies(), costs=CHARGES, n_jobs=2, progress=False))


class Fixed:
    """A model that always says the same, and what it says is all that tells it from another."""

    def __init__(self, probability):
        self.probability = probability

    def predict_proba(self, table):
        return np.tile([1 - self.probability, self.probability], (len(table), 1))


def test_no_model_is_handed_the_scores_of_another():
    """Where runs work on copies (several instruments), a copy may get the address of one that is gone."""
    bars = {"A": random_bars(1), "B": random_bars(2)}
    rules = [MLStrategy(Fixed(0.9 if number % 3 else 0.1), LaggedReturns(2)) for number in range(30)]
    table = sweep(bars, rules, progress=False)
    assert table["order_hash"].tolist() == [backtest(bars, rule).order_hash for rule in rules]
    assert table["order_hash"].nunique() == 2
    features = LaggedReturns(2)
    with sharing():
        for probability in np.linspace(0.1, 0.9, 20):  # each gone before the next is made
            assert MLStrategy(Fixed(probability), features).scores(BARS)[-1] == probability


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="execution"):
        sweep(BARS, [MeanReversion()], execution=RealisticExecutionHandler(), progress=False)


def test_options_and_names_go_through():
    table = sweep(BARS, {"calm": MeanReversion(40), "quick": MeanReversion(5)}, sizer=FixedQuantity(3.0), cash=1e6,
                  latency_bars=1, progress=False)
    assert table["strategy"].tolist() == ["calm", "quick"]
    alone = backtest(BARS, MeanReversion(40), sizer=FixedQuantity(3.0), cash=1e6,
                     execution=RealisticExecutionHandler(latency_bars=1))
    assert table["order_hash"][0] == alone.order_hash


def test_a_strategy_of_your_own_and_several_instruments_work_too():
    table = sweep(random_bars(1), [Scripted({3: "BUY", 9: "SELL"}), Scripted({4: "BUY"})], progress=False)
    assert table["engine"].tolist() == ["events", "events"] and table["n_trades"].tolist() == [1.0, 0.0]
    both = sweep({"A": random_bars(1), "B": random_bars(2)}, [MeanReversion(5)], progress=False)
    assert both["engine"].tolist() == ["events"]


def test_the_progress_bar_counts_combinations(capsys):
    sweep(BARS, [MeanReversion(20), MeanReversion(30)], costs=CHARGES)
    assert "4/4" in capsys.readouterr().err


def test_what_is_shared_is_computed_once_and_cannot_be_changed():
    calls = []

    def make():
        calls.append(1)
        return np.zeros(3)

    with sharing():
        first, second = shared(BARS, "zeros", make), shared(BARS, "zeros", make)
        assert first is second and calls == [1]
        shared(BARS.copy(), "zeros", make)
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 1.0
    shared(BARS, "zeros", make)
    assert len(calls) == 3


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"strategies": []}, ValueError, "at least one"),
    ({"strategies": MeanReversion()}, ValueError, "in a list or a dict"),
    ({"strategies": [MeanReversion], }, ValueError, "instance"),
    ({"strategies": [MeanReversion()], "costs": [3]}, ValueError, "Costs"),
    ({"strategies": [MeanReversion()], "bars": load_bars("WTI")}, BarsError, "36.98"),
])
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        sweep(**{"bars": BARS, "progress": False, **arguments})


def test_the_combination_at_fault_is_named():
    class Broken(MeanReversion):
        def decide(self, bars):
            return np.zeros(3)

    with pytest.raises(ValueError) as caught:
        sweep(BARS, {"good": MeanReversion(5), "bad": Broken(7)}, progress=False)
    assert "bad" in caught.value.__notes__[0]
