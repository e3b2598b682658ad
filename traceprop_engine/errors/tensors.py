"""Errors of tensors, training loops and JAX arrays that know their rows."""

from traceprop_engine.errors.base import TracepropError


class UnknownRowsError(TracepropError):
    """A loader, data set or index does not say which rows it gives."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")


class StepGranularityError(TracepropError):
    """Training steps were recorded too coarsely for what is asked of them."""

    def __init__(self, question: str, recorded: str, needed: str) -> None:
        super().__init__(
            f"The training steps were recorded at granularity {recorded}, which cannot tell "
            f"{question}; record them at {needed}."
        )


class NotRowWiseError(TracepropError):
    """A function that was to be row-wise is not: a row of its result depends on another row."""

    def __init__(self, function: str, problem: str, way_out: str) -> None:
        super().__init__(f"{function!r} is not row-wise: {problem}; {way_out}.")
