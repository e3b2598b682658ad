"""How good an attribution is, measured against models that were trained again."""

from traceprop_engine.quality.brittleness import BrittlenessQuality, brittleness
from traceprop_engine.quality.comparison import Comparison, compare
from traceprop_engine.quality.lds import LdsQuality, evaluate_lds, judge
from traceprop_engine.quality.leave_one_out import LooQuality, evaluate_loo
from traceprop_engine.quality.subsets import SubsetTruth, retrain_subsets

__all__ = [
    "BrittlenessQuality",
    "Comparison",
    "LdsQuality",
    "LooQuality",
    "SubsetTruth",
    "brittleness",
    "compare",
    "evaluate_lds",
    "evaluate_loo",
    "judge",
    "retrain_subsets",
]
