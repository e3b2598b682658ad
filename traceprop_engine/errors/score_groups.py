"""Errors of adding influence scores up over groups of rows."""

from traceprop_engine.errors.base import TracepropError


class ScoreGroupsError(TracepropError):
    """Groups that do not divide the training rows of the scores."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The scores cannot be added up by group: {reason}; {way_out}.")


class UntraceableRankError(TracepropError):
    """A rank that no training row has for a query."""

    def __init__(self, rank: int, n_ranked: int) -> None:
        known = f"ranks go from 1 to {n_ranked}" if n_ranked else "no training row has a score"
        super().__init__(f"There is no training row of rank {rank} for this query; {known}.")
