"""Errors of recorded trainings of PyTorch modules and of their per-sample gradients."""

from collections.abc import Sequence

from traceprop_engine.errors.base import TracepropError, quoted


class UndefinedRowGradientError(TracepropError):
    """A module whose output for a row is not a function of that row alone."""

    def __init__(self, module: str, reason: str, way_out: str) -> None:
        super().__init__(f"{module} has no gradient of a single row: {reason}; {way_out}.")


class UntrainableModuleError(TracepropError):
    """A module that cannot be recorded as it is."""

    def __init__(self, module: str, reason: str, way_out: str) -> None:
        super().__init__(f"{module} cannot be recorded: {reason}; {way_out}.")


class ModuleStateError(TracepropError):
    """Parameters that do not belong to the module they are meant for."""

    def __init__(self, origin: str, missing: Sequence[str], extra: Sequence[str]) -> None:
        lacks = f" lacks {quoted(missing)}" if missing else ""
        has = f" has {quoted(extra)}, which the module lacks" if extra else ""
        both = " and" if missing and extra else ""
        super().__init__(
            f"{origin}{lacks}{both}{has}; pass the module that was trained, built the same way."
        )


class ModuleShapeError(TracepropError):
    """A parameter of another shape or type than the module's."""

    def __init__(self, origin: str, parameter: str, wanted: str, got: str) -> None:
        super().__init__(
            f"{origin} has {parameter!r} as {got}, but the module has it as {wanted}; "
            "pass the module that was trained, built the same way."
        )


class RecordedStepsError(TracepropError):
    """Steps of a training that cannot be recorded, or of which nothing was kept."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")
