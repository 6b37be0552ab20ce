"""Every strategy, sizer and model of risk that is shipped passes the audit; a planted leak in each does not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlkit import (EWMA, GARCH, HAR, BuyAndHold, CombinedStrategy, Confidence, DrawdownRisk, ExpectedReturn, FeatureSet,
                   FilteredStrategy, FixedFraction, FixedQuantity, Kelly, LaggedReturns, MLStrategy, MeanReversion, ModelSize,
                   MovingAverageCross, RegimeSwitch, RiskManager, Volatility, VolatilityRisk, VolatilityTarget,
                   audit_strategy, direction, next_drawdown, next_return, next_volatility, random_walk)

BARS, PAST = random_walk(400, seed=6), random_walk(900, seed=7)
FEATURES = FeatureSet([LaggedReturns(3), Volatility(5)])


def fitted(model, label, features=FEATURES):
    X = features(PAST)
    known = X.notna().all(axis=1) & label["label"].notna()
    return model.fit(X[known], label["label"][known])


UP = fitted(LogisticRegression(C=1e6), direction(PAST))
RATE = {name: fitted(model, next_volatility(PAST, 5), LaggedReturns(1)) for name, model in
        {"EWMA": EWMA(), "HAR": HAR(), "GARCH": GARCH(horizon=5)}.items()}
FALL = fitted(LinearRegression(), next_drawdown(PAST, 10))
SIZE = LinearRegression().fit(np.random.default_rng(0).random((50, 4)), np.random.default_rng(1).random(50))
WORTH = ExpectedReturn().fit(pd.Series(MLStrategy(UP, FEATURES).scores(PAST), PAST.index), next_return(PAST)["label"])

STRATEGIES = {
    "buy and hold": BuyAndHold(), "mean reversion": MeanReversion(10), "moving averages": MovingAverageCross(3, 12),
    "model": MLStrategy(UP, FEATURES, enter=0.5, exit=0.5),
    "filter": FilteredStrategy(MeanReversion(10), UP, FEATURES), "vote": CombinedStrategy([MeanReversion(10), BuyAndHold()], enter=0.6, exit=0.6),
    "switch": RegimeSwitch(lambda bars: bars["close"] > bars["close"].rolling(50).mean(),
                           {True: MovingAverageCross(3, 12), False: MeanReversion(10)}),
}
SIZERS = {"fraction": FixedFraction(0.7), "quantity": FixedQuantity(10), "volatility": VolatilityTarget(0.1),
          "ewma": VolatilityTarget(0.1, model="ewma"), "confidence": Confidence(), "kelly": Kelly(1.0),
          "model": ModelSize(SIZE)}
RISKS = {"limits": RiskManager(max_position=0.9, max_drawdown=0.05), "ewma": VolatilityRisk("ewma", max_volatility=0.1),
         **{name: VolatilityRisk(model, max_volatility=0.1) for name, model in RATE.items()},
         "drawdown": DrawdownRisk(lambda bars: np.minimum(FALL.predict(FEATURES(bars).fillna(0.0)), 0.0), max_drawdown=0.05)}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_shipped_strategy_is_clean(name):
    report = audit_strategy(STRATEGIES[name], BARS)
    assert report.clean, report


@pytest.mark.parametrize("name", SIZERS)
def test_a_shipped_sizer_is_clean(name):
    report = audit_strategy(STRATEGIES["model"], BARS, sizer=SIZERS[name])
    assert report.clean, report


@pytest.mark.parametrize("name", RISKS)
def test_a_shipped_risk_manager_is_clean(name):
    report = audit_strategy(MeanReversion(10), BARS, risk=RISKS[name])
    assert report.clean, report


def test_an_expected_return_is_clean():
    strategy = MLStrategy(UP, FEATURES, enter=0.5, exit=0.5, expected=WORTH)
    assert audit_strategy(strategy, BARS, minimum_edge_bps=1).clean


# ---- the same with a look at tomorrow


def tomorrow(bars):
    return bars["close"].pct_change().shift(-1).ffill()


def coming_volatility(bars):
    return bars["close"].pct_change().rolling(5, center=True).std().ffill().fillna(0.01)


AHEAD = FeatureSet({"ahead": tomorrow})
PEEK = fitted(LogisticRegression(C=1e6), direction(PAST, price="close"), AHEAD)


class Hindsight(FixedFraction):
    """Holds all of it if the next bar rises."""

    def forecast(self, bars):
        return np.where(tomorrow(bars) > 0, 1.0, 0.3)

    def size(self, signal, portfolio, forecast):
        return forecast * portfolio.equity / portfolio.price(signal.symbol)


class Clairvoyant(RiskManager):
    """Lets nothing through that falls on the next bar."""

    def forecast(self, bars):
        return tomorrow(bars).to_numpy()

    def review(self, symbol, quantity, portfolio, forecast):
        return (quantity, "") if forecast >= 0 or quantity < 0 else (0.0, "risk")


LEAKY = {
    "model": (MLStrategy(PEEK, AHEAD, enter=0.5, exit=0.5), {}),
    "filter": (FilteredStrategy(MeanReversion(10), PEEK, AHEAD), {}),
    "vote": (CombinedStrategy([MLStrategy(PEEK, AHEAD, enter=0.5, exit=0.5), MeanReversion(10)], enter=0.4, exit=0.4), {}),
    "switch": (RegimeSwitch(lambda bars: tomorrow(bars) > 0, {True: BuyAndHold()}), {}),
    "a sizer of one's own": (MeanReversion(10), {"sizer": Hindsight()}),
    "volatility target": (MeanReversion(10), {"sizer": VolatilityTarget(0.1, model=coming_volatility)}),
    "confidence and Kelly in a model's future": (MLStrategy(PEEK, AHEAD, enter=0.5, exit=0.5), {"sizer": Confidence()}),
    "a risk manager of one's own": (MeanReversion(10), {"risk": Clairvoyant()}),
    "volatility": (MeanReversion(10), {"risk": VolatilityRisk(coming_volatility, max_volatility=0.1)}),
    "a forecast that never bound": (MeanReversion(10), {"risk": VolatilityRisk(coming_volatility, max_volatility=1e6)}),
    "drawdown": (MeanReversion(10), {"risk": DrawdownRisk(lambda bars: -coming_volatility(bars), max_drawdown=0.02)}),
    "an expected return": (MLStrategy(UP, FEATURES, enter=0.5, exit=0.5, expected=lambda scores: scores.shift(-1).fillna(0.5) - 0.5),
                           {"minimum_edge_bps": 1.0}),
}


@pytest.mark.parametrize("name", LEAKY)
def test_a_planted_leak_is_caught(name):
    strategy, options = LEAKY[name]
    report = audit_strategy(strategy, BARS, **options)
    assert not report.clean and set(report.findings["kind"]) == {"lookahead"}, report
