"""The audits: every leak of the zoo is caught, no clean builder is blamed, and what cannot be seen is said."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from zoo import CLEAN, LEAKY, UNSEEN, returns, zoo_bars

from mlkit.engine import (BuyAndHold, Costs, FixedQuantity, MeanReversion, MLStrategy, MovingAverageCross,
                          RealisticExecutionHandler, SignalEvent, Strategy, backtest)
from mlkit.features import FeatureSet, LaggedReturns, PriceToAverage, Volatility
from mlkit.labels import direction, triple_barrier
from mlkit.leakage import LeakageError, audit_features, audit_procedure, audit_split, audit_strategy
from mlkit.leakage.futures import PHRASES, altered, stamps
from mlkit.leakage.trail import first_changes, table_of
from mlkit.markets import check_bars, load_bars, random_walk
from mlkit.overfitting import TrialLedger

BARS = zoo_bars()


def kinds(report):
    return set(report.findings["kind"])


# ------------------------------------------------------------------ another future

@pytest.mark.parametrize("test", PHRASES)
def test_another_future_leaves_the_past_and_the_table_it_came_from(test):
    bars = BARS.assign(single=BARS["close"].astype("float32"), word="a", nullable=BARS["close"].astype("Float64"))
    before, until = bars.copy(), stamps(bars.index)[600]
    made = altered({"": bars, "series": bars["close"]}, until, test, np.random.default_rng(1))
    pd.testing.assert_frame_equal(made[""].iloc[:601], bars.iloc[:601])
    pd.testing.assert_series_equal(made["series"].iloc[:601], bars["close"].iloc[:601])
    later = made[""].iloc[601:]
    if test == "truncation":
        assert len(later) == 0
    else:  # nearly all of it: a shuffle may leave a bar where it was
        assert (later["close"] != bars["close"].iloc[601:]).mean() > 0.9
    made[""].iloc[:, 0] = 0.0
    pd.testing.assert_frame_equal(bars, before)


@pytest.mark.parametrize("test", [test for test in PHRASES if test != "NaN"])
def test_another_future_has_bars_that_a_check_takes(test):
    made = altered({"": BARS}, stamps(BARS.index)[300], test, np.random.default_rng(2))[""]
    assert check_bars(made, positive=True) is made
    assert made.attrs == BARS.attrs


def test_tables_are_cut_at_one_moment():
    hours = pd.DataFrame({"close": 1.0}, pd.date_range("2024-01-01", periods=96, freq="h", tz="UTC"))
    days = pd.DataFrame({"close": 1.0}, pd.date_range("2024-01-01", periods=4).as_unit("s"))
    made = altered({"hours": hours, "days": days}, stamps(hours.index)[30], "truncation", np.random.default_rng(0))
    assert (len(made["hours"]), len(made["days"])) == (31, 2)


# ------------------------------------------------------------------ features

@pytest.mark.parametrize("name", LEAKY)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_leaky_builder_is_caught(name):
    report = audit_features(LEAKY[name], BARS, n_cuts=4)
    assert not report.clean
    assert kinds(report) & {"lookahead", "row set"}
    assert "not repeatable" not in kinds(report)


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_builder_is_not_blamed(name):
    report = audit_features(CLEAN[name], BARS, n_cuts=4, seed=1)
    assert report.clean, report
    assert report.tests["made"].sum() > 30 and set(report.tests.index) == {"truncation", "noise", "NaN", "shuffle",
                                                                          "times 1000"}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_no_test_on_features_can_see_is_not_found_and_noted_where_it_can_be(name):
    make, reason = UNSEEN[name]
    report = audit_features(make(BARS), BARS, n_cuts=4)
    assert report.clean, reason
    moves = name in ("scaled beforehand", "chosen with hindsight")
    assert bool(report.notes) != moves and (moves or "cannot look" in repr(report))


def test_no_single_test_sees_every_leak():
    blind = {"truncation": "warm-up filled from behind", "noise": "share of the table", "NaN": "Savitzky-Golay",
             "shuffle": "highest still to come", "times 1000": "rows kept by the future"}
    for test, name in blind.items():
        changed = audit_features(LEAKY[name], BARS, n_cuts=4).tests["changed"]
        assert changed[test] == 0 < changed.max(), name


def test_a_finding_names_column_bar_test_and_reach():
    def build(bars):
        close = bars["close"]
        return pd.DataFrame({"honest": close.rolling(5).mean(), "centred": close.rolling(7, center=True).mean()})

    report = audit_features(build, BARS)
    (finding,) = report.findings.itertuples()
    row = BARS.index.get_loc(finding.timestamp)
    assert (finding.kind, finding.column) == ("lookahead", "centred")
    assert finding.detail.startswith(f"centred at {finding.timestamp:%Y-%m-%d} changed when the bars after ")
    assert "at least 3 bars of the future" in finding.detail
    assert "truncation (" in finding.detail and "noise (" in finding.detail
    cut = pd.Timestamp(finding.detail.split("bars after ")[1][:10])
    assert 0 <= BARS.index.get_loc(cut) - row <= 2
    next_bar = audit_features(LEAKY["next return"], BARS).findings["detail"][0]
    assert "It uses the next bar." in next_bar and "NaN (" in next_bar and "times 1000 (" in next_bar
    assert "over the whole table" in audit_features(LEAKY["z-score of everything"], BARS).findings["detail"][0]


def test_the_earliest_bar_is_named():
    report = audit_features(LEAKY["warm-up filled from behind"], BARS)
    assert report.findings["timestamp"].tolist() == [BARS.index[0]]


def test_findings_and_report_have_one_shape_whatever_was_found():
    leaky = audit_features(LEAKY["next return"], BARS, n_cuts=4)
    clean = audit_features(CLEAN["rolling"], BARS, n_cuts=4)
    for report in (leaky, clean):
        assert list(report.findings) == ["kind", "column", "timestamp", "detail"]
        assert pd.api.types.is_datetime64_any_dtype(report.findings["timestamp"])
    with pytest.raises(LeakageError, match="close at .* changed") as raised:
        leaky.raise_if_leaky()
    assert isinstance(raised.value, ValueError) and str(raised.value) == "\n".join(leaky.findings["detail"])
    assert clean.raise_if_leaky() is None
    assert repr(clean).endswith("cuts: clean") and "1 finding\n- lookahead: close at" in repr(leaky)
    assert "#009E73" in clean._repr_html_() and "clean" in clean._repr_html_()
    assert "#D55E00" in leaky._repr_html_() and "lookahead" in leaky._repr_html_()
    named = audit_features(lambda bars: bars["close"].shift(-1).rename("<b>"), BARS, n_cuts=4)
    assert "<td><b>" not in named._repr_html_() and "<td>&lt;b&gt;" in named._repr_html_()


def test_the_same_seed_gives_the_same_report_and_another_seed_other_cuts():
    def report(seed):
        return audit_features(LEAKY["centred average"], BARS, n_cuts=5, seed=seed)

    pd.testing.assert_frame_equal(report(3).findings, report(3).findings)
    assert report(3).findings["detail"][0] != report(4).findings["detail"][0]


def test_an_exception_is_undetermined_and_never_clean():
    def needs_all(bars):
        if len(bars) < len(BARS):
            raise RuntimeError("too short\nfor me")
        return returns(bars)

    report = audit_features(needs_all, BARS)
    assert not report.clean and kinds(report) == {"undetermined"}
    assert report.tests["undetermined"].tolist() == [report.tests["made"]["truncation"], 0, 0, 0, 0]
    assert "were cut off (RuntimeError: too short for me)" in report.findings["detail"][0]
    with pytest.raises(LeakageError, match="not clean"):
        report.raise_if_leaky()

    def no_nan(bars):
        if bars["close"].isna().any():
            raise ValueError("Input contains NaN")
        return returns(bars)

    report = audit_features(no_nan, BARS)
    assert kinds(report) == {"undetermined"}
    assert "set to NaN (ValueError: Input contains NaN)" in report.findings["detail"][0]
    report = audit_features(lambda bars: returns(bars) if len(bars) == len(BARS) else None, BARS)
    assert kinds(report) == {"undetermined"} and "NoneType" in report.findings["detail"][0]


def test_a_leak_is_told_beside_what_could_not_be_tested():
    report = audit_features(LEAKY["Savitzky-Golay"], BARS)
    assert kinds(report) == {"lookahead", "undetermined"}


def test_refusing_bad_bars_is_no_failure_and_hides_no_leak():
    report = audit_features(lambda bars: returns(check_bars(bars)), BARS)
    assert report.clean and "NaN prices" in report.notes[0]
    leaky = audit_features(lambda bars: check_bars(bars)["volume"].shift(-1), BARS)
    assert leaky.tests["changed"]["NaN"] > 0 and leaky.tests["undetermined"].sum() == 0

    def refuses_big(bars):
        return returns(check_bars(bars, max_move=5.0))

    assert kinds(audit_features(refuses_big, BARS)) == {"undetermined"}  # times 1000


def test_what_is_random_or_remembers_is_not_repeatable():
    rng, calls = np.random.default_rng(1), []

    def build(bars):
        calls.append(1)
        return pd.DataFrame({"random": rng.normal(size=len(bars)), "calls": len(calls), "fine": returns(bars),
                             "leak": returns(bars).shift(-1)}, bars.index)

    report = audit_features(build, BARS)
    assert dict(zip(report.findings["column"], report.findings["kind"])) == {
        "leak": "lookahead", "random": "not repeatable", "calls": "not repeatable"}
    assert "seed" in report.findings.set_index("column")["detail"]["random"]


def test_the_callers_bars_stay_as_they_are():
    bars = BARS.copy()
    audit_features(CLEAN["writes into its bars"], bars, n_cuts=3)
    pd.testing.assert_frame_equal(bars, BARS)
    tables = {"a": bars, "b": BARS.iloc[100:]}
    audit_features(lambda tables: tables.pop("a")["close"].diff(), tables, n_cuts=3)
    assert list(tables) == ["a", "b"]


def test_a_leak_written_into_the_input_is_caught():
    def build(bars):
        bars["close"] = bars["close"].shift(-1)
        return bars["close"].rolling(3).mean()

    assert kinds(audit_features(build, BARS)) == {"lookahead"}


def test_several_tables_are_cut_together():
    other = random_walk(900, seed=8)
    tables = {"own": BARS, "other": other.iloc[200:], "daily index": other["close"]}

    def aligned(shift):
        return lambda tables: tables["other"]["close"].shift(shift).reindex(tables["own"].index, method="ffill")

    assert audit_features(aligned(1), tables).clean
    report = audit_features(aligned(-1), tables)
    assert kinds(report) == {"lookahead"} and "the next bar" in report.findings["detail"][0]
    assert kinds(audit_features(lambda tables: tables["daily index"].shift(-1), tables)) == {"lookahead"}


def test_intraday_and_negative_prices():
    hours = random_walk(400, seed=2).set_axis(pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC"), axis=0)
    assert audit_features(FeatureSet([LaggedReturns(2)]), hours).clean
    finding = audit_features(lambda bars: bars["close"].shift(-1), hours).findings.iloc[0]
    assert finding["timestamp"].tz is not None and str(finding["timestamp"]) in finding["detail"]
    oil = load_bars("WTI").loc["2018":"2021"]
    assert (oil["close"] < 0).any()
    assert audit_features(lambda bars: bars["close"].diff(), oil, n_cuts=4).clean
    assert not audit_features(lambda bars: bars["close"].diff(-1), oil, n_cuts=4).clean


def test_columns_that_come_with_the_future_say_something_only_if_they_vary():
    def build(bars):
        table = pd.DataFrame({"return": returns(bars)})
        return table.assign(early=bars["close"]) if bars.index[-1] > BARS.index[700] else table

    report = audit_features(build, BARS)
    assert report.findings["column"].tolist() == ["early"]


def test_rounding_is_no_leak_and_a_trace_is_one():
    def noisy(size):
        return lambda bars: bars["close"] * (1.0 + size * np.sin(len(bars)))

    assert audit_features(noisy(1e-12), BARS, n_cuts=4).clean
    assert not audit_features(noisy(1e-7), BARS, n_cuts=4).clean
    for one, other in ((np.inf, 1.0), (1.0, np.inf), (np.inf, -np.inf), (np.inf, np.nan)):
        tables = [table_of(pd.Series(value, DAYS[:3], name="x")) for value in (one, other)]
        assert first_changes(*tables) == {"x": stamps(DAYS)[0]}
        assert first_changes(tables[0], tables[0]) == {}


def test_features_that_cannot_be_audited_are_refused():
    def refuse(build, bars, message):
        with pytest.raises(ValueError, match=message):
            audit_features(build, bars)

    refuse(lambda bars: None, BARS, "fails on the bars as they are.* NoneType")
    refuse(lambda bars: returns(bars).reset_index(drop=True), BARS, "keep the index")
    refuse(lambda bars: 1 / 0, BARS, "ZeroDivisionError")
    refuse(lambda bars: returns(bars).iloc[:0], BARS, "empty")
    refuse(lambda bars: pd.concat([returns(bars)] * 2, axis=1), BARS, "column twice: close, close")
    refuse(returns, BARS.iloc[:15], "at least 20")
    refuse(returns, BARS[::-1], "increases")
    refuse(returns, BARS.reset_index(drop=True), "DatetimeIndex")
    refuse(returns, {"a": BARS, "b": 1}, "'b' is a int")
    refuse(lambda tables: returns(tables["a"]), {"a": BARS[:-1], "b": BARS[-1:]}, "begins when the others end")


# ------------------------------------------------------------------ procedures

DAYS = pd.bdate_range("2015-01-01", periods=500)
RNG = np.random.default_rng(5)
X = pd.DataFrame(RNG.normal(size=(500, 12)), DAYS).rename(columns=str)
Y = pd.Series(RNG.standard_t(4, size=500) * 0.01 + 0.001 * X["0"], DAYS)
END = pd.Series(DAYS.shift(3), DAYS)


class QuickRidge:
    """Ridge regression without the overhead: the audits fit it thousands of times."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, X, y):
        X, self.mean = X.to_numpy(), y.mean()
        self.slope = np.linalg.solve(X.T @ X + self.alpha * np.eye(X.shape[1]), X.T @ (y.to_numpy() - self.mean))
        return self

    def predict(self, X):
        return self.mean + X.to_numpy() @ self.slope


def walk_forward(X, y, model=None, gap=3, folds=4):
    model = QuickRidge() if model is None else model
    parts = []
    for train, test in TimeSeriesSplit(folds, gap=gap).split(X):
        fitted = model.fit(X.iloc[train], y.iloc[train])
        predict = getattr(fitted, "predict_proba", None)
        made = fitted.predict(X.iloc[test]) if predict is None else predict(X.iloc[test])[:, -1]
        parts.append(pd.Series(made, X.index[test]))
    return pd.concat(parts)


def scaled_on_everything(X, y):
    return walk_forward(pd.DataFrame(StandardScaler().fit_transform(X), X.index), y, QuickRidge(100.0))


def selected_on_everything(X, y):
    return walk_forward(X.loc[:, SelectKBest(f_regression, k=2).fit(X, y).get_support()], y)


def best_on_the_test_fold(X, y):
    candidates = [walk_forward(X[[column]], y) for column in X]
    blocks = [block for _, block in TimeSeriesSplit(4, gap=3).split(X)]
    return pd.concat([max((each.loc[X.index[block]] for each in candidates), key=lambda p: p.corr(y.loc[p.index]))
                      for block in blocks])


def best_by_todays_label(X, y):
    """Of two models, whichever was nearer today: the choice needs nothing later than today's label."""
    one, two = walk_forward(X[["0", "1"]], y), walk_forward(X[["2", "3"]], y)
    return one.where((one - y).abs() < (two - y).abs(), two)


def select_inside(X, y):
    return walk_forward(X, y, make_pipeline(StandardScaler(), SelectKBest(f_regression, k=3), Ridge()))


def shuffled(X, y):
    return pd.Series(cross_val_predict(Ridge(), X, y, cv=KFold(5, shuffle=True, random_state=1)), X.index)


PROCEDURES = {  # name: (procedure, seen by another future, seen by null labels)
    "honest": (walk_forward, False, False),
    "honest pipeline": (select_inside, False, False),
    "honest, deep enough to remember": (lambda X, y: walk_forward(X, y, QuickRidge(1e-6), folds=9), False, False),
    "honest majority": (lambda X, y: y.expanding().mean().shift(4)[100:], False, False),
    "scaled on everything": (scaled_on_everything, True, False),
    "selected on everything": (selected_on_everything, True, None),
    "labels demeaned by everything": (lambda X, y: walk_forward(X, y - y.mean()), True, False),
    "K-fold shuffled": (shuffled, True, False),
    "in sample": (lambda X, y: pd.Series(Ridge().fit(X, y).predict(X), X.index), True, True),
    "best on the test fold": (best_on_the_test_fold, None, True),
    "best by today's label": (best_by_todays_label, False, True),
}


@pytest.mark.parametrize("name", PROCEDURES)
def test_procedures_and_which_test_sees_what(name):
    procedure, by_future, by_null = PROCEDURES[name]
    report = audit_procedure(procedure, X, Y, n_cuts=4, n_null=12)
    assert report.clean == (not by_future and not by_null), report
    if by_future is not None:
        assert ("lookahead" in kinds(report)) == by_future
    if by_null is not None:
        assert ("null labels" in kinds(report)) == by_null
    assert "z = " in report.notes[0]


def test_honest_procedures_are_rarely_blamed():
    """15 honest audits: a threshold of 3.3 blames one in 2,000."""
    audits = [audit_procedure(walk_forward, X, Y, seed=seed, n_cuts=2, n_null=5) for seed in range(15)]
    blamed = [report for report in audits if not report.clean]
    assert blamed == []


def test_a_classifier_and_what_is_unpurged():
    y = (Y > 0).astype(float)
    model = LogisticRegression()

    def unpurged(X, y):
        return walk_forward(X, y, model, gap=0)

    assert audit_procedure(lambda X, y: walk_forward(X, y, model), X, y, label_end=END, n_null=5).clean
    assert audit_procedure(unpurged, X, y, n_null=5).clean  # without the ends of the labels nobody can tell
    report = audit_procedure(unpurged, X, y, label_end=END.to_frame("end"), n_null=5)
    assert kinds(report) == {"lookahead"}
    assert report.findings["timestamp"][0] == unpurged(X, y).index[0]
    assert kinds(audit_procedure(best_by_todays_label, X, Y, label_end=END, n_null=2)) >= {"lookahead"}


def test_a_finding_on_predictions_says_what_changed():
    detail = audit_procedure(scaled_on_everything, X, Y, n_null=0).findings["detail"][0]
    assert "predictions at" in detail and "rows of X and y after" in detail and "before a prediction" in detail
    detail = audit_procedure(best_by_todays_label, X, Y).findings["detail"][0]
    assert "z = " in detail and "3.3" in detail


def test_a_procedure_that_is_random_or_fails_is_not_clean():
    rng = np.random.default_rng(1)
    report = audit_procedure(lambda X, y: walk_forward(X, y) + 1e-3 * rng.normal(size=len(walk_forward(X, y))), X, Y)
    assert kinds(report) == {"not repeatable"}

    def fails(X, y):
        if not y.equals(Y):
            raise RuntimeError("odd labels")
        return walk_forward(X, y)

    report = audit_procedure(fails, X, Y, n_null=3)
    assert kinds(report) == {"undetermined"} and len(report.findings) == 3
    assert report.tests["undetermined"].tolist() == report.tests["made"].tolist()


def test_constant_predictions_have_nothing_to_say_on_null_labels():
    report = audit_procedure(lambda X, y: pd.Series(0.5, X.index), X, Y, n_null=3)
    assert report.clean and "constant" in report.notes[0]


def test_an_audit_of_a_procedure_changes_nothing():
    def procedure(X, y):
        X["0"] = 0.0
        y[:] = 1.0
        return pd.Series(np.arange(len(X), dtype=float), X.index)

    before, labels = X.copy(), Y.copy()
    audit_procedure(procedure, X, Y, n_cuts=2, n_null=1)
    pd.testing.assert_frame_equal(X, before)
    pd.testing.assert_series_equal(Y, labels)


def test_procedures_that_cannot_be_audited_are_refused():
    def refuse(message, procedure=walk_forward, X=X, y=Y, **options):
        with pytest.raises(ValueError, match=message):
            audit_procedure(procedure, X, y, **options)

    refuse("DataFrame on a DatetimeIndex", X=X.to_numpy())
    refuse("increases", X=X[::-1], y=Y[::-1])
    refuse("without NaN", y=Y.where(Y > 0))
    refuse("on the index of X", y=Y[5:])
    refuse("no label_end, the first on 2015-01-01", label_end=END[1:])
    refuse("not a ndarray", lambda X, y: np.zeros(len(X)))
    refuse("rows of X", lambda X, y: pd.Series(np.arange(500.0), X.index.shift(9)))
    refuse("each once", lambda X, y: pd.concat([Y, Y]))
    refuse("Series of numbers", lambda X, y: pd.Series("up", X.index))
    refuse("too few", lambda X, y: y[:5])


# ------------------------------------------------------------------ splits

def overlapping(train, test, start, end):
    """Training rows whose [start, end) meets a test row's, counted by looking at every pair."""
    return [i for i in train if i not in set(test) and any(start[i] < end[j] and start[j] < end[i] for j in test)]


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_are_counted_as_by_looking_at_every_pair(seed):
    rng = np.random.default_rng(seed)
    index = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.cumsum(rng.integers(1, 5, 120)), unit="D")
    ends = pd.Series(index + pd.to_timedelta(rng.integers(1, 40, 120), unit="D"), index)  # not in order
    table = pd.DataFrame({"x": 0.0}, index)
    shuffled = KFold(5, shuffle=True, random_state=seed)
    for splitter in (TimeSeriesSplit(4), TimeSeriesSplit(4, gap=6), KFold(5), shuffled):
        report = audit_split(splitter, table, ends)
        expected = {}
        for fold, (train, test) in enumerate(splitter.split(table), 1):
            rows = overlapping(train, test, index, ends.to_list())
            if rows:
                expected[f"fold {fold}"] = index[min(rows)], f" {len(train)} rows that fold {fold} trains on, {len(rows)} have"
        found = {row.column: row for row in report.findings.itertuples()}
        assert list(found) == list(expected) and report.clean == (not expected)
        for fold, (first, words) in expected.items():
            assert found[fold].kind == "overlap" and found[fold].timestamp == first and words in found[fold].detail


def test_half_open_intervals_and_both_sides_of_the_test():
    index = pd.date_range("2024-01-01", periods=30)
    table, ends = pd.DataFrame({"x": 0.0}, index), pd.Series(index.shift(2), index)
    fold = np.arange(10, 20)
    assert audit_split([(np.r_[0:9, 21:30], fold)], table, ends).clean  # row 8 ends where the test begins
    assert not audit_split([(np.r_[0:10], fold)], table, ends).clean
    assert not audit_split([(np.r_[20:30], fold)], table, ends).clean  # the test's last label reaches into it
    report = audit_split([(np.r_[0:12], fold)], table, ends)
    assert set(report.findings["kind"]) == {"shared", "overlap"}
    assert "trains on 2 of the 10 rows it tests, the first on 2024-01-11" in report.findings["detail"][0]
    assert "rows that fold 1 trains on, 1 have labels that reach" in report.findings["detail"][1]


def test_a_gap_of_rows_does_not_purge_labels_of_varying_length():
    bars = random_walk(800, seed=4)
    labels = triple_barrier(bars, 20).dropna()
    report = audit_split(TimeSeriesSplit(5, gap=2), bars.loc[labels.index], labels)
    assert not report.clean and report.tests["made"].tolist() == [5]


def test_splitters_that_need_labels_and_masks():
    y = pd.Series(np.arange(500) % 2, DAYS)
    assert not audit_split(StratifiedKFold(5), X, END, y).clean
    mask = np.arange(500) < 100
    assert audit_split([(mask, ~mask & (np.arange(500) > 102))], X, END).clean


def test_a_long_table_is_audited_quickly():
    import time

    index = pd.date_range("1990-01-01", periods=100_000, freq="h")
    ends = pd.Series(index + pd.to_timedelta(np.random.default_rng(0).integers(1, 500, 100_000), unit="h"), index)
    began = time.process_time()
    report = audit_split(KFold(10), pd.DataFrame(index=index), ends)
    assert time.process_time() - began < 2.0 and len(report.findings) == 10


def test_splits_that_cannot_be_audited_are_refused():
    for label_end, message in ((END[10:], "10 rows of X have no label_end, the first on 2015-01-01"),
                               (END.where(END.index > DAYS[3]), "4 rows"), (5, "not a int"),
                               (pd.Series(DAYS.shift(-1), DAYS), "before it is decided")):
        with pytest.raises(ValueError, match=message):
            audit_split(KFold(3), X, label_end)
    with pytest.raises(ValueError, match="no times"):
        audit_split(KFold(3), X.to_numpy(), END)
    with pytest.raises(ValueError, match="no fold"):
        audit_split([], X, END)


# ------------------------------------------------------------------ strategies

PRICES = random_walk(500, seed=6)
FEATURES = FeatureSet([LaggedReturns(2), PriceToAverage(5), Volatility(5)])


class Peek(Strategy):
    """Decides at t by the close of t + 1."""

    def decide(self, bars):
        return np.sign(bars["close"].shift(-1) - bars["close"]).fillna(0.0).to_numpy()


class HiddenScore(Strategy):
    """Scores look two bars ahead; no decision ever depends on them."""

    def scores(self, bars):
        return bars["close"].rolling(5, center=True).mean().to_numpy()

    def decide(self, bars):
        return (bars["close"] > 0).astype(int).to_numpy()


class HoldsTable(Strategy):
    """Reads a table of its own, `ahead` bars later than the bar it is told of."""

    def __init__(self, closes, ahead):
        super().__init__()
        self.parts, self.ahead = {"tables": [closes]}, ahead

    def handle_market(self, event):
        closes = self.parts["tables"][0]
        at = min(closes.index.get_loc(event.timestamp) + self.ahead, len(closes) - 1)
        now = closes.iloc[at] if closes.ndim == 1 else closes["close"].iloc[at]
        return self.signal(event, "BUY" if now > event.close * (1.0 if self.ahead else 0.9999) else "SELL")


class Targets(Strategy):
    """Buys every tenth bar; its target is tomorrow's high, or today's plus 5 %."""

    def __init__(self, highs):
        super().__init__()
        self.highs, self.bar = highs, -1

    def handle_market(self, event):
        self.bar += 1
        if self.bar % 10 or self.held(event.symbol) > 0:
            return []
        target = event.close * 1.05
        if self.highs is not None:
            target = max(self.highs.iloc[min(self.bar + 1, len(self.highs) - 1)], event.close * 1.0001)
        return [SignalEvent(event.timestamp, event.symbol, "BUY", event.close, target=target)]


class Momentum(Strategy):
    """Honest, bar by bar, and by what it holds."""

    lookback = 3

    def __init__(self):
        super().__init__()
        self.closes = []

    def handle_market(self, event):
        self.closes.append(event.close)
        if len(self.closes) < 3:
            return []
        rose = self.closes[-1] > self.closes[-3]
        return self.signal(event, "BUY" if rose else "SELL", strength=0.5 + 0.1 * rose)


def forest(rows):
    labels = direction(PRICES)["label"]
    table = FEATURES(PRICES)[:rows].dropna()
    table = table[labels[table.index].notna()]
    return RandomForestClassifier(10, max_depth=4, random_state=0).fit(table, labels[table.index])


class Warm(Strategy):
    """Its array before the first decision holds what it will; no one asks for it."""

    lookback = 250

    def decide(self, bars):
        return np.where(np.arange(len(bars)) < 249, len(bars) % 7, (bars["close"] > bars["open"]).astype(int))


HONEST = {
    "buy and hold": lambda: BuyAndHold(),
    "mean reversion": lambda: MeanReversion(10),
    "moving averages": lambda: MovingAverageCross(5, 20),
    "own handle_market": Momentum,
    "nothing before its lookback": Warm,
    "own table, of today": lambda: HoldsTable(PRICES["close"], 0),
    "targets": lambda: Targets(None),
    "model of the past": lambda: MLStrategy(forest(250), FEATURES),
}
DISHONEST = {  # name: (strategy, what has to be among the findings)
    "peek": (Peek, {"orders", "decision"}),
    "hidden score": (HiddenScore, {"score"}),
    "own table, of tomorrow": (lambda: HoldsTable(PRICES["close"], 1), {"orders"}),
    "own frame, of next week": (lambda: HoldsTable(PRICES, 5), {"orders"}),
    "targets of tomorrow": (lambda: Targets(PRICES["high"]), {"signal target"}),
}
OPTIONS = {"plain": {}, "short, slow and dear": {"allow_short": True, "execution": RealisticExecutionHandler(
    Costs(impact=0.5, borrow_bps_per_year=100, max_participation=0.01), latency_bars=2)}}


@pytest.mark.parametrize("name, options", [(name, "plain") for name in HONEST] + [
    (name, "short, slow and dear") for name in ("mean reversion", "own handle_market")])
def test_an_honest_strategy_is_not_blamed(name, options):
    report = audit_strategy(HONEST[name](), PRICES, **OPTIONS[options])
    assert report.clean, report
    assert report.tests["made"].sum() >= 8


@pytest.mark.parametrize("name", DISHONEST)
def test_a_strategy_that_peeks_is_caught(name):
    make, columns = DISHONEST[name]
    report = audit_strategy(make(), PRICES)
    assert kinds(report) == {"lookahead"} and columns <= set(report.findings["column"]), report
    if name == "hidden score":
        assert set(report.findings["column"]) == {"score"} and "at least 2 bars" in report.findings["detail"][0]


def test_fills_would_not_show_a_look_at_one_bar():
    cut = backtest(PRICES, Peek()).orders["timestamp"][100]
    runs = backtest(PRICES, Peek()), backtest(PRICES.loc[:cut], Peek())
    fills, orders = ([table.loc[table["timestamp"] <= cut, ["timestamp", "quantity"]] for table in tables]
                     for tables in ([run.fills for run in runs], [run.orders for run in runs]))
    assert len(fills[0]) and fills[0].equals(fills[1]) and not orders[0].equals(orders[1])


def test_a_model_fitted_on_every_bar_is_invisible_here_as_documented():
    assert audit_strategy(MLStrategy(forest(500), FEATURES), PRICES).clean
    assert "frozen" in audit_strategy.__doc__


def test_a_sizer_that_peeks_is_caught():
    class SizedByTomorrow(FixedQuantity):
        closes = None

        def size(self, signal, portfolio):
            at = min(self.closes.index.get_loc(signal.timestamp) + 1, len(self.closes) - 1)
            return 2.0 if self.closes.iloc[at] > signal.price else 1.0

    sizer = SizedByTomorrow(1.0)
    object.__setattr__(sizer, "closes", PRICES["close"])
    report = audit_strategy(Momentum(), PRICES, sizer=sizer)
    assert set(report.findings["column"]) >= {"order quantity"}


def test_several_instruments():
    tables = {"A": PRICES, "B": random_walk(400, seed=9)}
    assert audit_strategy(MeanReversion(10), tables).clean
    report = audit_strategy(Peek(symbol="B"), tables)
    assert "decision" in " ".join(report.findings["column"]) and not report.clean
    assert "decision of A" in set(audit_strategy(Peek(), tables).findings["column"])


def test_a_strategy_that_fails_or_is_random_is_not_clean():
    class Fails(Strategy):
        def decide(self, bars):
            if len(bars) < len(PRICES):
                raise RuntimeError("too short")
            return np.ones(len(bars))

    class Random(Strategy):
        draws = np.random.default_rng(1).random

        def decide(self, bars):
            return (type(self).draws(len(bars)) > 0.5).astype(int)

    assert kinds(audit_strategy(Fails(), PRICES)) == {"undetermined"}
    assert "not repeatable" in kinds(audit_strategy(Random(), PRICES))


def test_an_audit_of_a_strategy_changes_nothing_and_is_no_trial():
    class Writes(Strategy):
        calls, table = 0, None

        def decide(self, bars):
            self.calls += 1
            self.table.iloc[0] = bars["close"] = 1.0
            return np.ones(len(bars))

    def traded(X, y):
        backtest(PRICES, MeanReversion(20))
        return X.iloc[:, 0]

    bars, strategy = PRICES.copy(), Writes()
    strategy.table = PRICES["close"].copy()
    with TrialLedger() as ledger:
        assert audit_strategy(strategy, bars, minimum_edge_bps=0.0).clean
        audit_procedure(traded, X, Y)
    assert len(ledger) == 0 and strategy.calls == 0
    pd.testing.assert_frame_equal(bars, PRICES)
    pd.testing.assert_series_equal(strategy.table, PRICES["close"])


def test_strategies_that_cannot_be_audited_are_refused():
    with pytest.raises(ValueError, match="needs 20 for its first decision.*longer"):
        audit_strategy(MeanReversion(20), PRICES.iloc[:21])
    with pytest.raises(ValueError, match="engine must be"):
        audit_strategy(MeanReversion(20), PRICES, engine="none")
