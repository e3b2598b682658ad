"""Does what a function does agree with the row maps claimed for it?"""

from traceprop_engine.fuzz.check import check_lineage
from traceprop_engine.fuzz.report import (
    ChangeKind,
    IdleEdge,
    InputRuns,
    LineageCheck,
    MissingContext,
    Perturbation,
    PresenceEffect,
    Violation,
)
from traceprop_engine.fuzz.running import CapturedFunction
from traceprop_engine.fuzz.sampling import sample_inputs

__all__ = [
    "CapturedFunction",
    "ChangeKind",
    "IdleEdge",
    "InputRuns",
    "LineageCheck",
    "MissingContext",
    "Perturbation",
    "PresenceEffect",
    "Violation",
    "check_lineage",
    "sample_inputs",
]
