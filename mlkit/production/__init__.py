"""Production: versions of models, a watch over the one that trades, and when to replace it.

Last in the flow but for pictures. `ModelRegistry` keeps every version as it was; `Monitor` says when the
world has moved away from what a model learned; `retrain` lets a challenger take the champion's place only
if it wins on data that neither has seen.
"""

from mlkit.production.detectors import stability_index
from mlkit.production.monitor import Alert, LateBar, Monitor, Reference
from mlkit.production.registry import (BadName, ChampionChanged, FeatureMismatch, ModelRegistry, ModelVersion,
                                       RegistryError, Tampered, UnknownName, UnreadableVersion, UntrustedType,
                                       load_version)
from mlkit.production.retraining import CannotDecide, Decision, decisions, retrain

__all__ = ["Alert", "BadName", "CannotDecide", "ChampionChanged", "Decision", "FeatureMismatch", "LateBar", "ModelRegistry",
           "ModelVersion", "Monitor", "Reference", "RegistryError", "Tampered", "UnknownName", "UnreadableVersion",
           "UntrustedType", "decisions", "load_version", "retrain", "stability_index"]
