"""Derivatives through a whole training, in the weight of each of its rows."""

from traceprop_engine.metagradients.magic import Magic
from traceprop_engine.metagradients.plan import MemoryPlan
from traceprop_engine.metagradients.replay import MagicProgress, replay
from traceprop_engine.metagradients.smoothness import Smoothness, metasmoothness

__all__ = ["Magic", "MagicProgress", "MemoryPlan", "Smoothness", "metasmoothness", "replay"]
