"""Research: predictions made out of sample, scores with their intervals, and what matters for them.

After `models` in the flow. Nothing here chooses anything: it fits, predicts and measures on the
folds it is given, so that what comes out is as honest as the splitter that goes in.
"""

from mlkit.research.expected import ExpectedReturn
from mlkit.research.importance import impurity_importance, permutation_importance, single_feature_importance
from mlkit.research.out_of_sample import OutOfSample, walk_forward
from mlkit.research.scores import evaluate

__all__ = ["ExpectedReturn", "OutOfSample", "evaluate", "impurity_importance", "permutation_importance",
           "single_feature_importance", "walk_forward"]
