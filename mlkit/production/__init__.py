"""Production: versions of models, a watch over the one that trades, and when to replace it.

Last in the flow but for pictures. `ModelRegistry` keeps every version as it was; `Monitor` says when the
world has moved away from what a model learned; `retrain` lets a challenger take the champion's place only
if it wins on data that neither has seen.
"""

from mlkit.production.registry import (BadName, ChampionChanged, FeatureMismatch, ModelRegistry, ModelVersion,
                                       RegistryError, Tampered, UnknownName, UnreadableVersion, UntrustedType)

__all__ = ["BadName", "ChampionChanged", "FeatureMismatch", "ModelRegistry", "ModelVersion", "RegistryError", "Tampered",
           "UnknownName", "UnreadableVersion", "UntrustedType"]
