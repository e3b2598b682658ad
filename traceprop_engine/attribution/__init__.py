"""How much each training row moved a prediction."""

from traceprop_engine.attribution.influence import InfluenceFunction
from traceprop_engine.attribution.removal import Removal, remove_rows
from traceprop_engine.attribution.scores import AttributionScores, SourceScores, TopRows
from traceprop_engine.attribution.targets import Target

__all__ = [
    "AttributionScores",
    "InfluenceFunction",
    "Removal",
    "SourceScores",
    "Target",
    "TopRows",
    "remove_rows",
]
