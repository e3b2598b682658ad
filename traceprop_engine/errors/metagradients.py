"""Errors of metagradients: of derivatives through a whole training."""

from traceprop_engine.errors.base import TracepropError


class ReplayError(TracepropError):
    """A replayed training that does not arrive where the recorded one did."""

    def __init__(self, name: str, step: int, leaf: str) -> None:
        super().__init__(
            f"Training {name!r} replayed differs from the recorded one at step {step} in {leaf}; "
            "its rows, net or recipe are not those it was recorded with, or JAX or the processor "
            "is another: train it again here."
        )


class RoughTrainingError(TracepropError):
    """A training whose metagradient does not tell what a change of weight does."""

    def __init__(self, name: str, error: float, limit: float) -> None:
        super().__init__(
            f"Metagradients of training {name!r} are off by {error:.0%} from finite differences "
            f"(limit {limit:.0%}), so its parameters are no smooth function of the rows' weights; "
            "train with tanh or GELU, larger batches and a lower learning rate, or pass "
            "allow_rough=True to see the scores nevertheless."
        )


class MetagradientMemoryError(TracepropError):
    """A memory bound that no plan of a metagradient fits."""

    def __init__(self, bound: int, least: int) -> None:
        super().__init__(
            f"The metagradient needs at least {least:,} bytes and memory_bytes is {bound:,}; "
            "raise memory_bytes."
        )


class ProbeError(TracepropError):
    """A smoothness probe that cannot be made as asked."""

    def __init__(self, setting: str, wanted: str, got: object) -> None:
        super().__init__(f"`{setting}` of the smoothness probe must be {wanted}, got {got!r}.")
