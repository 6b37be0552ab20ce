"""Leakage: the audits that prove, and do not promise, that nothing looks ahead.

After the engine in the flow, as an audit reaches from a feature up to the decisions of
a strategy. Each cuts the future off, or changes it, and looks whether the past moved.

    audit_features   a function that makes features from bars
    audit_procedure  all that lies between X, y and out-of-sample predictions: scaling, selection, choice
    audit_split      a splitter: which training labels reach into the test
    audit_strategy   what a strategy decides, before any fill

All give a `LeakageReport`: `.clean`, `.findings` with a sentence each, `.raise_if_leaky()`.
No single test suffices, so each audit makes several; a test that could not be made
("undetermined") is a finding too, as what was not looked at is not clean.

>>> from mlkit.markets import random_walk
>>> def build(bars):
...     return bars["close"].rolling(5, center=True).mean().to_frame("average_5")
>>> report = audit_features(build, random_walk(300, seed=1))
>>> report.clean
False
>>> report.findings["detail"][0].split(". ")[1]
'It uses at least 2 bars of the future'
"""

from mlkit.leakage.features import audit_features
from mlkit.leakage.procedure import audit_procedure
from mlkit.leakage.report import LeakageError, LeakageReport
from mlkit.leakage.split import audit_split
from mlkit.leakage.strategy import audit_strategy

__all__ = ["LeakageError", "LeakageReport", "audit_features", "audit_procedure", "audit_split", "audit_strategy"]
