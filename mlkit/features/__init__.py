"""Features: what a model may know at the close of a bar, and nothing later.

Second in the flow, after `markets`. A feature is a pure function of past bars: it
takes a bars table (n rows) and gives a DataFrame (n, columns) on the same index,
NaN until its window is full. A value depends on its window alone, so the whole
table, any prefix and the last `lookback` bars give the same bits: what is trained
on is what is served. RSI and MACD have no window, they remember every bar since
the first; for them any prefix gives the same bits.

>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [100.0, 110.0, 99.0, 99.0]}, index=pd.date_range("2024-01-01", periods=4))
>>> FeatureSet([LaggedReturns(2), PriceToAverage(2)])(bars).round(3).to_numpy()
array([[   nan,    nan,    nan],
       [ 0.1  ,    nan,  0.048],
       [-0.1  ,  0.1  , -0.053],
       [ 0.   , -0.1  ,  0.   ]])
"""

from mlkit.features.cross import CrossReturn
from mlkit.features.feature_set import FeatureSet, parity
from mlkit.features.indicators import MACD, RSI, LaggedReturns, PriceToAverage, Volatility

__all__ = ["MACD", "RSI", "CrossReturn", "FeatureSet", "LaggedReturns", "PriceToAverage", "Volatility", "parity"]
