"""Errors of adding influence scores up over groups of rows, and of following them to files."""

from traceprop_engine.errors.base import TracepropError


class ScoreGroupsError(TracepropError):
    """Groups that do not divide the training rows of the scores."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The scores cannot be added up by group: {reason}; {way_out}.")


class UntraceableRankError(TracepropError):
    """A rank that no training row has for a query."""

    def __init__(self, rank: int, n_ranked: int, first: int = 1) -> None:
        ranks = f"ranks go from {first} to {n_ranked - 1 + first}"
        known = ranks if n_ranked else "no training row has a score"
        super().__init__(f"There is no training row of rank {rank} for this query; {known}.")


class NoTrainingLineageError(TracepropError):
    """Scores were to be followed to files, and nobody said where the training rows come from."""

    def __init__(self) -> None:
        super().__init__(
            "Where the training rows come from is not known; give the tracked table or array that "
            "was trained on, as `attribution_engine(training, table)`."
        )


class NotTrainedError(TracepropError):
    """Something that is no training, and no estimator, was to be scored by."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"A {kind} cannot be asked about training rows; give a TrainingRun, a NetRun, what "
            "`run.training()` of a `training_context` returns, or a fitted estimator."
        )
