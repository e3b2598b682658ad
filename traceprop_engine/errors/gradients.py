"""Errors of per-sample gradients: their shapes, their projections, their shards."""

from pathlib import Path

from traceprop_engine.errors.base import TracepropError


class GradientShapeError(TracepropError):
    """Arrays of gradients that do not fit each other, or what is asked of them."""

    def __init__(self, what: str, wanted: str, got: str) -> None:
        super().__init__(f"{what} must be {wanted}, got {got}.")


class ProjectionError(TracepropError):
    """A projection that cannot be made, or not of these gradients."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The gradients cannot be projected: {reason}; {way_out}.")


class GradientStorageError(TracepropError):
    """Gradients that cannot be written as they are, or where they should go."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The gradients cannot be stored: {reason}; {way_out}.")


class GradientShardError(TracepropError):
    """A shard of gradients that is missing, damaged, or not of this set."""

    def __init__(self, path: Path, reason: str, way_out: str) -> None:
        super().__init__(f"{path}: {reason}; {way_out}.")


class GradientMemoryError(TracepropError):
    """A memory limit below what a single row takes."""

    def __init__(self, limit: str, needed: str, argument: str) -> None:
        super().__init__(
            f"The gradient of one row does not fit into {limit} of memory; "
            f"raise `{argument}` to {needed}."
        )
