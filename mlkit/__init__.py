"""mlkit: the small engine under a course on machine learning for trading.

The public names of every module are at hand here (`from mlkit import backtest`) and
are imported only when first asked for, so that `import mlkit` costs nothing.

>>> import mlkit
>>> mlkit.Costs().commission_bps
1.0
"""

from importlib import import_module

_MODULE_OF = {
    name: module
    for module, names in {
        "markets": "BarsError check_bars datasets load_bars planted_edge random_walk read_bars regime_switching "
                   "revisions",
        "features": "CrossReturn FeatureSet LaggedReturns MACD PriceToAverage RSI Volatility parity",
        "labels": "direction meta_label next_drawdown next_level next_return next_volatility trade_return triple_barrier",
        "splits": "CombinatorialPurged PurgedKFold WalkForward",
        "models": "CATALOGUE EWMA GARCH HAR UnknownModel load_model make_model save_model",
        "research": "ExpectedReturn OutOfSample evaluate impurity_importance permutation_importance "
                    "single_feature_importance walk_forward",
        "leakage": "LeakageError LeakageReport audit_features audit_procedure audit_split audit_strategy",
        "engine": "BacktestResult BuyAndHold CombinedStrategy Confidence Costs DrawdownRisk FillEvent FilteredStrategy "
                  "FixedFraction FixedQuantity IdealExecutionHandler Kelly KellyWarning MLStrategy MarketEvent "
                  "MeanReversion ModelSize MovingAverageCross OrderEvent RealisticExecutionHandler RegimeSwitch "
                  "RiskManager SignalEvent Strategy VolatilityRisk VolatilityTarget backtest compare kelly_estimate "
                  "kelly_size sizing_table sweep",
        "overfitting": "PBO TrialLedger deflated_sharpe expected_max_sharpe minimum_backtest_length minimum_track_record "
                       "probabilistic_sharpe probability_of_overfitting sharpe_standard_error",
        "analysis": "BreakEven Diagnosis break_even_cost cost_sensitivity diagnose",
        "production": "ModelRegistry Monitor Reference RegistryError retrain",
        "batch": "collect record recorded run_grid",
        "widgets": "predict_first slider",
    }.items()
    for name in names.split()
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mlkit' has no attribute {name!r}")
    return getattr(import_module(f"mlkit.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
