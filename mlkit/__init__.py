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
        "labels": "direction next_drawdown next_level next_return next_volatility triple_barrier",
        "splits": "CombinatorialPurged PurgedKFold WalkForward",
        "models": "CATALOGUE UnknownModel load_model make_model save_model",
        "research": "OutOfSample evaluate impurity_importance permutation_importance single_feature_importance "
                    "walk_forward",
        "leakage": "LeakageError LeakageReport audit_features audit_procedure audit_split audit_strategy",
        "engine": "BacktestResult BuyAndHold Costs FillEvent FixedFraction FixedQuantity IdealExecutionHandler "
                  "MLStrategy MarketEvent MeanReversion MovingAverageCross OrderEvent RealisticExecutionHandler "
                  "RiskManager SignalEvent Strategy backtest compare sweep",
        "overfitting": "PBO TrialLedger deflated_sharpe expected_max_sharpe minimum_backtest_length minimum_track_record "
                       "probabilistic_sharpe probability_of_overfitting sharpe_standard_error",
        "batch": "record recorded",
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
