"""Names of the columns of row numbers that the user's code cannot meet."""

from collections.abc import Iterable

from traceprop_engine.errors import CaptureError

ROW = "__traceprop_row__"
OTHER_ROW = "__traceprop_other_row__"


def require_free(columns: Iterable[object]) -> None:
    """Refuse a frame that has a column of the hidden name.

    Raises:
        CaptureError: It has.
    """
    taken = [name for name in columns if str(name).startswith((ROW, OTHER_ROW))]
    if taken:
        raise CaptureError(
            f"The frame has a column {taken[0]!r}, which is the name of hidden row numbers",
            "rename it",
        )
