"""How much each training row moved what gradient-boosted trees predict."""

from traceprop_engine.trees.boost_in import BoostIn
from traceprop_engine.trees.boosted import BoostedTrees, TrainedTrees
from traceprop_engine.trees.estimator import TreeEstimator, TreeProgress
from traceprop_engine.trees.groups import GroupEffects, leave_groups_out
from traceprop_engine.trees.histogram_boosting import HistogramBoosting
from traceprop_engine.trees.leaf_influence import LeafInfluence
from traceprop_engine.trees.leaf_refit import LeafRefit, RefittedLeaves, refit_leaves

__all__ = [
    "BoostIn",
    "BoostedTrees",
    "GroupEffects",
    "HistogramBoosting",
    "LeafInfluence",
    "LeafRefit",
    "RefittedLeaves",
    "TrainedTrees",
    "TreeEstimator",
    "TreeProgress",
    "leave_groups_out",
    "refit_leaves",
]
