"""mlkit: a fitted logistic regression end to end (features, predictions, decisions, fills, metrics).

In one batch as `backtest` does it, or with `row` as a third argument bar by bar through `handle_market`.
"""

import sys

import common
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlkit.engine import Costs, FixedQuantity, MLStrategy, RealisticExecutionHandler, backtest
from mlkit.features import FeatureSet, LaggedReturns, PriceToAverage, Volatility
from mlkit.labels import direction


class RowByRow(MLStrategy):
    decide = None
    handle_market = MLStrategy.handle_market


def prepare(bars):
    features = FeatureSet([LaggedReturns(5), PriceToAverage(20), Volatility(20)])
    past = common.bars(5_000, seed=2).rename(columns=str.lower)
    X, y = features.transform(past), direction(past)["label"]
    known = X.notna().all(axis=1) & y.notna()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[known], y[known])
    kind = RowByRow if "row" in sys.argv[3:] else MLStrategy
    strategy, bars = kind(model, features, enter=0.505, exit=0.495), bars.rename(columns=str.lower)
    options = {"execution": RealisticExecutionHandler(Costs(0, 5, 5)), "sizer": FixedQuantity(1), "cash": common.CASH}
    return lambda: backtest(bars, strategy, **options).metrics["n_trades"]


if __name__ == "__main__":
    common.main(prepare)
