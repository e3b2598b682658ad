"""Errors of attributions to the rows that boosted trees were trained on."""

from traceprop_engine.errors.base import TracepropError


class UnsupportedTreesError(TracepropError):
    """A fitted model whose trees cannot be refitted exactly."""

    def __init__(self, estimator: str, reason: str, way_out: str) -> None:
        super().__init__(f"The trees of {estimator} cannot be followed: {reason}; {way_out}.")


class TreeRowsError(TracepropError):
    """Rows that are not the ones that the trees were trained on."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"These are not the rows that {model} was trained on: {reason}; "
            "pass the features and labels that its `fit` was given, all of them and in that form."
        )


class TreeMemoryError(TracepropError):
    """Refitted leaf values that would not fit into the memory that was allowed."""

    def __init__(self, n_leaves: int, n_rows: int, needed: int, allowed: int) -> None:
        super().__init__(
            f"The values of {n_leaves:,} leaves without each of {n_rows:,} rows take {needed:,} "
            f"bytes, and {allowed:,} are allowed; raise memory_bytes, or use LeafInfluence, which "
            "keeps nothing for each pair."
        )


class GroupRefitError(TracepropError):
    """A model cannot be refitted without a group of rows."""

    def __init__(self, estimator: str, reason: str, way_out: str) -> None:
        super().__init__(f"{estimator} cannot be refitted without a group: {reason}; {way_out}.")
