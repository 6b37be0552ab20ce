"""Lesson 04's exhibits: scores against rivals, the timing of labels, trades between barriers, pictures."""

import numpy as np
import pandas as pd
import pytest

from mlkit import (FeatureSet, LaggedReturns, Volatility, WalkForward, backtest, direction, evaluate, next_level,
                   next_return, next_volatility, random_walk, triple_barrier)
from mlkit.engine import IdealExecutionHandler
from mlkit.lessons.targets import (BarrierTrades, against, barrier_figures, correlations, forecasts, improvement,
                                   known_rows, plot_break_even, plot_forecasts, plot_improvements, plot_outcomes,
                                   plot_purge, plot_volatility, timing, trade_figures, trade_table)

WORLD = random_walk(600, seed=3, volatility=0.005)


def series(values):
    return pd.Series(values, pd.date_range("2020-01-01", periods=len(values)), dtype=float)


@pytest.fixture(scope="module")
def asked():
    features = FeatureSet([LaggedReturns(2), Volatility(20), {"close": lambda bars: bars["close"]}])
    targets = {"level": next_level(WORLD), "direction": direction(WORLD), "volatility": next_volatility(WORLD, 5)}
    return known_rows(features(WORLD), targets)


@pytest.fixture(scope="module")
def model(asked):
    return forecasts("linear", *asked)


def test_rows_are_known_from_the_warm_up_to_the_last_label(asked):
    X, targets = asked
    assert X.index[0] == WORLD.index[20] and X.index[-1] == WORLD.index[-6]  # 20 returns before, 5 closes to come
    assert X.notna().all(axis=None)
    for labels in targets.values():
        assert labels.index.equals(X.index) and labels.notna().all(axis=None)


def test_forecasts_are_of_the_second_half_from_all_that_was_known_before(asked, model):
    X, targets = asked
    for task, found in model.items():
        assert found.predictions.index.equals(X.index[len(X) // 2:])
        assert len(found.folds) == 6 and (found.folds["train_from"] == X.index[0]).all()
        assert (found.folds["known_by"] <= found.folds["test_from"]).all()
        assert found.labels.equals(targets[task]["label"].loc[found.labels.index])
    assert (model["direction"].task, model["level"].task) == ("direction", "return")


def test_correlations_are_information_coefficients():
    truth = series(np.arange(100))
    table = correlations({"same": evaluate(truth, truth, task="level", n_boot=20),
                          "opposite": evaluate(-truth, truth, task="level", n_boot=20)})
    assert table["correlation"].tolist() == pytest.approx([1.0, -1.0])
    assert list(table) == ["correlation", "low", "high"] and (table.dtypes == float).all()


def test_rivals_are_the_average_and_where_there_is_one_the_value_of_now(asked, model):
    X, _ = asked
    average = forecasts("majority", *asked)
    table = against(X, model, average)
    assert table.index.tolist() == ["level, against the average", "level, against as now",
                                    "direction, against the average",
                                    "volatility, against the average", "volatility, against as now"]
    level = model["level"]
    now = ((level.labels - X["close"].loc[level.labels.index]) ** 2).mean()
    assert table.loc["level, against as now", "value"] == pytest.approx(
        1 - ((level.labels - level.predictions) ** 2).mean() / now)
    assert table.loc["level, against the average", "value"] > 0.5


def test_improvement_is_the_share_of_the_rivals_squared_error_taken_away():
    truth = series(np.tile([2.0, 4.0], 100))
    found = improvement(truth + 1.0, truth - 2.0, truth)
    assert found == pytest.approx({"value": 0.75, "low": 0.75, "high": 0.75})
    assert improvement(truth - 2.0, truth + 1.0, truth)["value"] == pytest.approx(-3.0)


def test_the_interval_of_an_improvement_draws_the_same_rows_for_both():
    rng = np.random.default_rng(0)
    truth, noise = series(np.zeros(400)), series(rng.standard_t(2.5, 400))
    same = improvement(noise, noise, truth)
    assert same["low"] == same["high"] == 0.0
    unlike = improvement(noise, series(rng.standard_t(2.5, 400)), truth)
    assert unlike["low"] < unlike["value"] < unlike["high"]
    with pytest.raises(ValueError, match="one index"):
        improvement(truth, truth.iloc[1:], truth)


def test_the_interval_of_an_improvement_holds_95_per_cent():
    errors = np.random.default_rng(1).standard_normal(500)
    found = improvement(series(errors), series(np.ones(500)), series(np.zeros(500)), block=1, n_boot=2000)
    by_the_book = 2 * 1.96 * (errors**2).std() / 500**0.5
    assert found["high"] - found["low"] == pytest.approx(by_the_book, rel=0.08)


@pytest.mark.parametrize("horizon, price, after, purged", [(1, "close", "1", "0"), (1, "open", "2", "1"),
                                                           (20, "open", "21", "20")])
def test_a_label_known_k_bars_on_costs_k_less_one_rows(horizon, price, after, purged):
    found = timing(next_return(WORLD, horizon, price), 200, 50)
    assert found == {"known after, bars": after, "purged before a block": purged}
    late = next_return(WORLD, horizon, price)
    late.iloc[:30] = np.nan  # a label that needs a warm-up
    assert timing(late, 200, 50) == found


def bars_of(*closes, width=0.001):
    """Bars that open at the close before and reach a tenth of a percent beyond both."""
    close = np.array(closes)
    open_ = np.append(close[0], close[:-1])
    index = pd.date_range("2024-01-01", periods=len(close), name="timestamp")
    return pd.DataFrame({"open": open_, "high": np.maximum(open_, close) * (1 + width),
                         "low": np.minimum(open_, close) * (1 - width), "close": close, "volume": 1e6}, index)


def traded(bars, **barriers):
    volatility = pd.Series(0.01, bars.index[:1])  # it may buy at the first close alone
    return backtest(bars, BarrierTrades(volatility, **barriers), execution=IdealExecutionHandler())


def test_target_stop_and_time_end_a_trade_where_they_should():
    up = traded(bars_of(100, 100.5, 103, 103, 103), target=2.0, stop=2.0, patience=10).trades
    assert up["exit_price"].tolist() == pytest.approx([102.0])
    down = traded(bars_of(100, 99.5, 96, 96, 96), target=2.0, stop=3.0, patience=10).trades
    assert down["exit_price"].tolist() == pytest.approx([97.0])
    flat = traded(bars_of(*[100.0] * 8), target=2.0, stop=2.0, patience=3).trades
    assert flat["bars_held"].tolist() == [3]


def test_it_buys_only_where_it_may():
    volatility = pd.Series([np.nan, 0.01], WORLD.index[[50, 70]])
    result = backtest(WORLD, BarrierTrades(volatility, 0.5, 0.5, 5))
    assert result.trades["entry_time"].tolist() == [WORLD.index[71]]


def test_trade_figures_balance():
    volatility = Volatility(20)(WORLD)["volatility_20"]
    entries = backtest(WORLD, BarrierTrades(volatility, 0.5, 2.0, 20)).trades
    last = entries["entry_time"][entries["bars_held"] > 1].iloc[-1]  # the bars end with this trade still open
    result = backtest(WORLD.loc[:last], BarrierTrades(volatility, 0.5, 2.0, 20))
    found, trades = trade_figures(result), result.trades[~result.trades["open"]]
    assert len(trades) == len(result.trades) - 1
    assert found["trades"] == len(trades) > 50
    profit = trades["net_profit"] / (trades["quantity"] * trades["entry_price"])
    assert found["wins"] == (profit > 0).mean()
    assert found["per_trade"] == pytest.approx(found["wins"] * found["average_win"]
                                               - (1 - found["wins"]) * found["average_loss"])
    assert found["needed"] * found["average_win"] == pytest.approx((1 - found["needed"]) * found["average_loss"])
    assert found["error"] == pytest.approx(profit.sem())
    assert barrier_figures(WORLD.loc[:last], 0.5, 2.0, 20) == found


def test_trades_are_tabled_as_people_read_them():
    figures = {"wins": 2 / 3, "needed": 0.75, "average_win": 0.002, "average_loss": 0.006, "per_trade": -0.00066,
               "error": 0.0001, "trades": 1200}
    assert trade_table({"market": figures}).loc["market"].to_dict() == {
        "trades": "1,200", "won": "67%", "needed": "75%", "a win": "+0.20%", "a loss": "-0.60%",
        "bps a trade": "-6.6 ± 2.0"}


def test_a_near_target_wins_often_and_a_far_one_seldom():
    assert barrier_figures(WORLD, 0.5, 2.0, 20)["wins"] > 0.55 > 0.45 > barrier_figures(WORLD, 2.0, 0.5, 20)["wins"]


def test_pictures_say_what_they_show():
    labels = triple_barrier(WORLD, 20, upper=2.0, lower=2.0)
    outcomes = plot_outcomes(WORLD, labels, 2.0, 2.0)
    assert len(outcomes.axes) == labels["label"].nunique()
    assert "target met" in outcomes.axes[0].get_title("left")
    closes = triple_barrier(WORLD[["close"]], 20, upper=2.0, lower=2.0)
    assert len(plot_outcomes(WORLD[["close"]], closes, 2.0, 2.0).axes) == closes["label"].nunique()
    others = pd.DataFrame([barrier_figures(WORLD, 1.0, 1.0, 20)])
    found = barrier_figures(WORLD, 2.0, 1.0, 20)
    assert f"{found['trades']} trades, needs {found['needed']:.0%}" in plot_break_even(
        WORLD, others, 2.0, 1.0, 20).axes[0].get_title("left")


def test_the_picture_of_the_purge_is_of_the_block_that_picks_most_rows():
    labels = triple_barrier(WORLD, 20, upper=2.0, lower=2.0)
    known = labels[labels["label"].notna()]
    picked = []
    for train, test in WalkForward(200, 50, label_end=labels["end"]).split(known):
        left_out = np.setdiff1d(np.arange(test[0] - 30, test[0]), train)
        picked.append((len(left_out), test[0] - left_out.min(initial=test[0]) - len(left_out)))
    most = max(picked, key=lambda each: each[1])
    axis = plot_purge(labels, 200, 50).axes[0]
    trains, purged = (line.get_xydata() for line in axis.lines[:2])
    assert axis.get_title("left") == f"Purged: {most[0]}; younger than the oldest of them, and fit to train: {most[1]}"
    assert len(purged) == most[0] > 0 and most[1] > 0
    assert (trains[:, 0] <= 0).all() and (purged[:, 0] > 0).all()


def test_the_picture_of_volatility_gives_the_correlation_of_all_bars(model):
    found = model["volatility"]
    fig = plot_volatility({"walk": found, "again": found})
    ic = found.scores(n_boot=1).loc["information_coefficient", "value"]
    assert fig.axes[0].get_title("left") == f"walk: correlation {ic:.2f}" and len(fig.axes) == 2
    assert fig.axes[0].lines[0].get_ydata() == pytest.approx(100 * found.labels[-500:].to_numpy())


def test_lines_and_intervals_stand_where_the_numbers_are():
    lines = pd.DataFrame({"truth": [1.0, 2.0], "forecast": [1.5, 1.5]})
    fig = plot_forecasts({"one": lines, "two": lines}, "unit")
    assert [axis.get_title("left") for axis in fig.axes] == ["one", "two"] and fig.axes[1].get_xlabel() == "bars"
    dated = lines.set_axis(pd.date_range("2024-01-01", periods=2))
    assert plot_forecasts({"one": dated}, "unit").axes[0].get_xlabel() == "date"
    table = pd.DataFrame({"value": [0.5, 0.0], "low": [0.4, -0.1], "high": [0.7, 0.1]}, index=["a", "b"])
    axis = plot_improvements({"market": table}, "title").axes[0]
    assert axis.containers[0].lines[0].get_xdata().tolist() == [50.0, 0.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    reach = axis.containers[0].lines[2][0].get_segments()[0][:, 0]
    assert reach.tolist() == pytest.approx([40.0, 70.0])
