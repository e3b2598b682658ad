"""Errors of row maps and of capture."""

from traceprop_engine.errors.base import TracepropError


class RowMapError(TracepropError):
    """Numbers that do not describe a row map, or a question that a row map cannot answer."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}; {way_out}.")


class PandasInternalsError(TracepropError):
    """A release of pandas whose internals are not those that capture watches."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Rows cannot be followed through this pandas ({reason}); install pandas>=3.0,<3.2, or "
            "declare the rows of a result with `record`."
        )


class CaptureError(TracepropError):
    """A capture session was used in a way that it cannot follow."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")


class LineageContradictionError(TracepropError):
    """The values of a result contradict the row map that was captured for it."""

    def __init__(self, column: str, input_name: str, row: int, claimed: int, found: int) -> None:
        super().__init__(
            f"Column {column!r} contradicts the row map of input {input_name!r}: output row {row} "
            f"is mapped to input row {claimed}, but its value is that of input row {found}. Values "
            "were moved under a fixed index; move whole rows (sort_values, sample, shift), give "
            "the moved column another name, or declare the rows with `record`."
        )
        self.column = column
        self.input_name = input_name
