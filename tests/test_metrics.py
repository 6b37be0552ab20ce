"""Performance figures against closed forms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit import metrics

RETURNS = [0.01, -0.02, 0.015, 0.0, 0.005]


def test_sharpe_by_hand():
    """Mean 0.002, deviations 0.008 -0.022 0.013 -0.002 0.003: sum of squares 7.3e-4, / 4."""
    assert metrics.sharpe(RETURNS, 1) == pytest.approx(0.002 / np.sqrt(7.3e-4 / 4))
    assert metrics.sharpe(RETURNS, 252) == pytest.approx(metrics.sharpe(RETURNS, 1) * np.sqrt(252))


def test_sortino_by_hand():
    assert metrics.sortino(RETURNS, 1) == pytest.approx(0.002 / np.sqrt(4e-4 / 5))
    assert np.isnan(metrics.sortino([0.01, 0.02], 1)), "nothing lost: undefined, not infinite"


@pytest.mark.parametrize("size", [0.0, 0.1, 1 / 3, -0.2])
def test_a_constant_series_has_no_sharpe(size):
    assert np.isnan(metrics.sharpe([size] * 50))
    assert np.isnan(metrics.sharpe(np.cumsum([1e-17] * 50) + size))


def test_returns_compound_and_the_year_is_stated():
    assert metrics.total_return([0.1, -0.1]) == pytest.approx(-0.01)
    assert metrics.annual_return([0.1, 0.1], 4) == pytest.approx(1.1**4 - 1)
    assert metrics.annual_return([0.5, -1.5], 252) == -1.0, "lost more than everything"
    assert np.isnan(metrics.annual_return([]))
    assert metrics.volatility([0.01, 0.03], 100) == pytest.approx(np.sqrt(2e-4) * 10)


def test_the_initial_capital_heads_the_drawdown():
    assert metrics.max_drawdown([-0.1, 0.05]) == pytest.approx(-0.1)
    assert metrics.max_drawdown([0.1, 0.1]) == 0.0
    assert metrics.max_drawdown([0.25, -0.2, -0.5, 3.0]) == pytest.approx(-0.6)
    assert np.isnan(metrics.calmar([0.1, 0.1])) and np.isnan(metrics.max_drawdown([]))
    assert metrics.calmar([0.1, -0.2, 0.3], 3) == pytest.approx((1.1 * 0.8 * 1.3 - 1) / 0.2)


def test_trades():
    profits = np.array([10.0, -4.0, 6.0, 0.0])
    assert metrics.win_rate(profits) == 0.5
    assert metrics.profit_factor(profits) == 4.0
    assert (metrics.average_win(profits), metrics.average_loss(profits)) == (8.0, -4.0)
    for figure in (metrics.win_rate, metrics.profit_factor, metrics.average_win, metrics.average_loss):
        assert np.isnan(figure(np.array([])))
    assert np.isnan(metrics.profit_factor([5.0])), "no loss: undefined, not infinite"
    table = pd.DataFrame({"net_profit": [10.0, -4.0, 99.0], "exit_time": [pd.Timestamp(1), pd.Timestamp(2), pd.NaT]})
    assert metrics.win_rate(table) == 0.5, "an open trade has not won yet"


def test_turnover_is_a_year_s_trading_over_mean_equity():
    assert metrics.turnover(1000.0, [90.0, 110.0], 252) == pytest.approx(10 * 252 / 2)


@pytest.mark.parametrize(("index", "periods"), [
    (pd.bdate_range("2020", periods=100), 252), (pd.date_range("2020", periods=100), 365),
    (pd.date_range("2020", periods=50, freq="W"), 52), (pd.date_range("2020", periods=50, freq="MS"), 12),
    (pd.date_range("2020", periods=50, freq="YS"), 1), (pd.date_range("2020", periods=9000, freq="h", tz="UTC"), 8766)])
def test_periods_per_year(index, periods):
    assert metrics.periods_per_year(index) == periods


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=40))
def test_the_deepest_drawdown_is_one_that_happened(returns):
    growth = np.concatenate([[1.0], np.cumprod(1 + np.array(returns))])
    worst = min(growth[j] / growth[i] - 1 for i in range(len(growth)) for j in range(i, len(growth)))
    assert metrics.max_drawdown(returns) == pytest.approx(worst, abs=1e-12)
