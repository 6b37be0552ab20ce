"""Lesson 05's helpers: what they count, choose and draw, on tables whose answer is known without them."""

import numpy as np
import pandas as pd
import pytest

from mlkit import (CATALOGUE, Costs, FeatureSet, LaggedReturns, MLStrategy, RealisticExecutionHandler, audit_split,
                   backtest, planted_edge)
from mlkit.lessons import comparison as lesson

DAYS = pd.bdate_range("2020-01-01", periods=1_000, name="timestamp")
FEATURES = FeatureSet([LaggedReturns(2)])


@pytest.fixture(scope="module")
def bars():
    return planted_edge(700, seed=2, strength=0.3)


@pytest.fixture(scope="module")
def found(bars):
    return lesson.run_families(["majority", "logistic", "ridge"], bars, FEATURES)


def coins(n_columns, seed, edge=0.0):
    """Days called right by columns that know nothing, the last of which is right more often by `edge`."""
    chance = 0.5 + edge * (np.arange(n_columns) == n_columns - 1)
    right = np.random.default_rng(seed).random((len(DAYS), n_columns)) < chance
    return pd.DataFrame(right.astype(float), DAYS, columns=[f"family {number}" for number in range(n_columns)])


def test_families_share_rows_and_folds_that_do_not_leak(bars, found):
    X, labels = lesson.known_rows(bars, FEATURES)
    assert not X.isna().any().any() and labels["label"].notna().all() and len(X) == len(bars) - 4
    splitter = lesson.folds_of(labels)
    assert audit_split(splitter, X, labels).clean
    tests = [test for _, test in splitter.split(X)]
    assert len(tests) == 4 and np.array_equal(np.concatenate(tests), np.arange(len(X) // 2, len(X)))
    for each in found.values():
        assert each.predictions.index.equals(X.index[len(X) // 2 :])


def test_scores_are_the_share_of_days_called_right(found):
    table, right = lesson.score_table(found, n_boot=100), lesson.calls(found)
    assert table["test"].to_numpy() == pytest.approx(right.mean().to_numpy())
    assert (table["low"] < table["test"]).all() and (table["test"] < table["high"]).all()
    assert table["train"]["logistic"] == found["logistic"].folds["train_score"].mean()


def test_a_difference_is_judged_on_the_same_days():
    first = coins(1, seed=1)["family 0"]
    almost = first.copy()
    almost.iloc[:20] = 1.0 - first.iloc[:20]  # right and wrong change places on twenty days
    right = pd.DataFrame({"a": almost, "b": first, "c": coins(1, seed=2)["family 0"]})
    table = lesson.paired_differences(right, n_boot=400)
    assert (table["difference"] >= 0).all()
    assert {frozenset(name.split(" - ")) for name in table.index} == {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    better, worse = table.index[0].split(" - ")
    assert table["difference"].iloc[0] == pytest.approx(right[better].mean() - right[worse].mean())
    width = table["high"] - table["low"]
    assert width.iloc[0] < width.iloc[1] / 2  # nearly the same calls: nearly no room between them
    independent = np.sqrt(right["a"].var() / len(right) + right["c"].var() / len(right))
    assert width.iloc[1] == pytest.approx(2 * 1.96 * independent, rel=0.25)


def test_luck_of_the_best_counts_how_many_were_tried():
    def luck(right, n_boot=100):
        return lesson.luck_of_the_best(right, right["family 0"], n_boot=n_boot)

    share = np.array([luck(coins(9, seed)) for seed in range(60)])
    # Where nobody knows anything it is spread from 0 to 1: below a tenth on about one market in ten.
    assert (share < 0.1).mean() <= 0.2 and share.mean() == pytest.approx(0.5, abs=0.15)
    one_by_one = [any(lesson.paired_differences(coins(9, seed), n_boot=100).filter(like="family 0", axis=0)["low"] > 0)
                  for seed in range(20)]
    assert np.mean(one_by_one) > 0.2  # looked at one by one, far more look better or worse than they are
    assert luck(coins(9, 1, edge=0.12), 200) < 0.02
    assert luck(coins(1, 1)) == 1.0
    # Against a coin nobody tossed the base has no luck of its own, and one family alone is a plain test.
    alone = np.array([lesson.luck_of_the_best(coins(1, seed), 0.5, n_boot=100) for seed in range(60)])
    assert (alone < 0.1).mean() <= 0.2 and alone.mean() == pytest.approx(0.5, abs=0.15)
    assert lesson.luck_of_the_best(coins(9, 1, edge=0.12), 0.5, n_boot=200) < 0.02


class Called:
    """What `choose` asks of an OutOfSample: predictions and labels."""

    def __init__(self, right):
        self.labels = pd.Series(1.0, right.index)
        self.predictions = right


def test_choosing_by_a_day_uses_only_labels_known_by_then():
    days = DAYS[:10]
    early, late = pd.Series(0.0, days), pd.Series(0.0, days)
    early.iloc[:3], late.iloc[3:] = 1.0, 1.0
    found = {"late": Called(late), "early": Called(early)}
    ends = pd.Series(days, days).shift(-2)  # each label is known two days later
    assert lesson.choose(found, ends) == "late"
    assert lesson.choose(found, ends, days[7]) == "late" and lesson.choose(found, ends, days[6]) == "early"


def test_the_chosen_is_judged_on_the_other_half():
    days = DAYS[:10]
    right = pd.DataFrame({"early": [1, 1, 1, 1, 0, 0, 0, 0, 0, 0], "late": [0, 0, 0, 0, 0, 1, 1, 1, 1, 0],
                          "base": [1, 0, 1, 0, 0, 1, 0, 1, 0, 1]}, days, dtype=float)
    found = {name: Called(right[name]) for name in right}
    judged = lesson.choose_then_judge(found, pd.Series(days, days).shift(-2), "base")  # four labels known by the middle
    assert judged == pytest.approx({"chosen": "early", "first half, %": 100.0, "second half, %": 0.0,
                                    "base there, %": 60.0, "rank correlation": -1.0})


def test_the_chosen_before_predicts_the_second_half_alone(bars):
    X, labels = lesson.known_rows(bars, FEATURES)
    give = {"names": ["logistic", "ridge"], "label_end": labels["end"]}
    everything = lesson.predictions_of_the_chosen(X, labels["label"], before=False, **give)
    second = lesson.predictions_of_the_chosen(X, labels["label"], before=True, **give)
    tested = X.index[len(X) // 2 :]
    assert everything.index.equals(tested) and second.index.equals(tested[len(tested) // 2 :])


def test_trades_and_grid_are_those_of_the_engine(bars, found):
    traded = lesson.trade_families(found, bars, FEATURES, 5.0)
    assert list(traded) == ["majority", "logistic", "ridge", "buy & hold"]
    assert len({result.returns.index[0] for result in traded.values()}) == 1
    grid = lesson.trading_grid(found, bars, FEATURES, edges=[0.0, 0.02], costs_bps=[0.0, 5.0])
    assert len(grid) == 12
    row = grid[(grid["family"] == "ridge") & (grid["edge"] == 0.02) & (grid["cost_bps"] == 5.0)].iloc[0]
    alone = backtest(bars, MLStrategy(found["ridge"], FEATURES, enter=0.52, exit=0.48),
                     execution=RealisticExecutionHandler(Costs(5.0, 0.0, 0.0)))
    assert row["sharpe"] == pytest.approx(alone.metrics["sharpe"]) and row["order_hash"] == alone.order_hash
    same = grid[(grid["family"] == "logistic") & (grid["edge"] == 0.0) & (grid["cost_bps"] == 5.0)].iloc[0]
    assert same["sharpe"] == pytest.approx(traded["logistic"].metrics["sharpe"])
    table = lesson.trade_table({"A": traded})
    assert list(table.index) == list(traded) and list(table.columns) == [("A", "Sharpe"), ("A", "turnover")]
    figures = traded["ridge"].metrics
    assert table.loc["ridge"].tolist() == [f"{figures['sharpe']:.2f}", f"{figures['turnover']:.1f}"]


def test_a_report_is_the_row_of_every_table(bars, found):
    report = lesson.report_of("ridge", bars, FEATURES, {"majority": found["majority"]}, cost_bps=5.0, n_boot=100)
    score = 100 * lesson.score_table(found, n_boot=100).loc["ridge"]
    assert report["test, %"] == f"{score['test']:.1f} ({score['low']:.1f} to {score['high']:.1f})"
    assert float(report["gap, points"]) == pytest.approx(score["train"] - score["test"], abs=0.05)
    lead = 100 * (lesson.calls(found)["ridge"] - lesson.calls(found)["majority"]).mean()
    assert lead > 0 and report["who leads, points"].startswith(f"ridge by {lead:.1f} (")
    traded = lesson.trade_table({"A": lesson.trade_families(found, bars, FEATURES, 5.0)}).loc["ridge", "A"]
    assert [report["Sharpe after costs"], report["turnover"]] == traded.tolist()


def test_cards_hold_the_whole_catalogue():
    page = lesson.cards().data
    assert "..." not in page
    for name, card in CATALOGUE.items():
        assert f"<th style='text-align: left'>{name}</th>" in page
        assert f"<td style='text-align: left'>{card.strengths}</td>" in page and card.avoid in page


def test_titles_and_bars_say_what_the_table_says(bars, found):
    table = lesson.score_table(found, n_boot=100)
    axis, = lesson.plot_families({"A": table}, {"A": "a title"}).axes
    assert axis.get_title(loc="left") == "a title"
    assert axis.lines[0].get_xdata() == pytest.approx(100 * table["test"].to_numpy())
    assert axis.lines[1].get_xdata() == pytest.approx(100 * table["train"].to_numpy())
    grid = pd.DataFrame({"family": ["a", "b", "c"] * 2, "edge": [0.01] * 6, "cost_bps": [1.0] * 3 + [3.0] * 3,
                         "sharpe": [0.5, 0.1, np.nan, 0.2, -0.4, np.nan]})
    axis, = lesson.plot_survivors(grid, 0.3, edge=0.01, cost_bps=1.0).axes
    assert axis.get_title(loc="left") == "1 of 3 ahead of buy & hold: 1 bp a side, buy above 51 %, sell below 49 %"
    assert [bar.get_width() for bar in axis.patches] == [0.5, 0.1, 0.0]
    assert [text.get_text() for text in axis.texts] == [" 0.50", " 0.10", " never trades"]
    other, = lesson.plot_survivors(grid, 0.3, edge=0.01, cost_bps=3.0).axes
    assert "0 of 3 ahead" in other.get_title(loc="left") and other.get_xlim() == axis.get_xlim()


def test_times_are_seconds_and_milliseconds_of_each_family(bars):
    names = [name for name in CATALOGUE if name in ("majority", "random_forest")]
    table = lesson.time_families(names, bars, FEATURES).astype(float)
    assert list(table.index) == names
    assert 0.0 < table["fit, seconds"]["majority"] < table["fit, seconds"]["random_forest"] < 60.0
    walks = 1_000 * lesson.N_FOLDS * table["fit, seconds"] / 60
    assert (0.4 * walks < table["1,000 walks, minutes"]).all() and (table["1,000 walks, minutes"] < 2.2 * walks).all()
