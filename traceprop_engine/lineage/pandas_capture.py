"""Follow the rows of frames through ordinary pandas code.

While a session is open, a few internal functions of pandas, those by which every verb picks, aligns
and stacks rows, report what they did. The user's code runs unchanged on ordinary frames.
"""

from typing import Any, TypeVar

import pandas as pd

from traceprop_engine.errors import CaptureError, PandasInternalsError
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.carriers import unmarked
from traceprop_engine.lineage.decode import Followed, followed_value
from traceprop_engine.lineage.granularity import (
    Granularity,
    current_granularity,
    granularity_named,
)
from traceprop_engine.lineage.graph import root_rows
from traceprop_engine.lineage.marks import Notes, Placed, Tracked
from traceprop_engine.lineage.open_sessions import announce
from traceprop_engine.lineage.openable import Openable
from traceprop_engine.lineage.pandas_align import row_mark, set_row_mark
from traceprop_engine.lineage.pandas_exit_hooks import exit_hooks
from traceprop_engine.lineage.pandas_group_hooks import group_hooks
from traceprop_engine.lineage.pandas_index_hooks import index_hooks
from traceprop_engine.lineage.pandas_manager_hooks import manager_hooks
from traceprop_engine.lineage.pandas_marks import mark_of, positions, root_mark
from traceprop_engine.lineage.pandas_operand_hooks import operand_hooks
from traceprop_engine.lineage.pandas_patches import HookSet
from traceprop_engine.lineage.pandas_reshape_hooks import reshape_hooks
from traceprop_engine.lineage.pandas_statistic_hooks import statistic_hooks
from traceprop_engine.lineage.pandas_verb_hooks import verb_hooks

Frame = TypeVar("Frame", pd.DataFrame, pd.Series)

# The one piece of shared state: pandas is patched for the whole process, or not at all.
_HOOKS = HookSet(
    [
        *index_hooks(),
        *manager_hooks(),
        *reshape_hooks(),
        *group_hooks(),
        *operand_hooks(),
        *statistic_hooks(),
        *exit_hooks(),
        *verb_hooks(),
    ]
)


_KNOWN_RELEASES = ((3, 0), (3, 1))


def _require_known_release() -> None:
    """Refuse a pandas whose internals nobody has looked at: maps could be wrong, not only lost.

    Raises:
        PandasInternalsError: It is another release than those that capture was tested with.
    """
    major, minor, *_ = pd.__version__.split(".")
    if (int(major), int(minor)) not in _KNOWN_RELEASES:
        raise PandasInternalsError(f"pandas {pd.__version__} is not a release that was tested")


class CaptureSession(Openable):
    """Follows the rows of the frames that are loaded into it.

    Frames of no session are not followed, whatever else is open; sessions in several threads do not
    meet. A session may be opened once.

    Example:
        >>> visits = pd.DataFrame({"patient": [1, 1, 2], "dose": [3.0, None, 5.0]})
        >>> with CaptureSession() as session:
        ...     frame = session.load(visits, "visits")
        ...     doses = frame.dropna().groupby("patient", as_index=False)["dose"].sum()
        ...     doses, lineage = session.finish(doses)
        >>> lineage.maps["visits"].backward([1])
        array([2])
    """

    def __init__(self, *, granularity: Granularity | str | None = None) -> None:
        """Make a session that can be opened.

        Args:
            granularity: What is recorded; what is set here and now without one. With any other
                than ``ROW`` pandas is left alone: the inputs are known, their rows are not.

        Raises:
            GranularityError: There is no such granularity.
        """
        level = current_granularity() if granularity is None else granularity_named(granularity)
        self.keeps_rows = level is Granularity.ROW
        self._notes = Notes()
        self._was_open = False

    def open(self) -> None:
        """Begin to follow rows.

        Raises:
            CaptureError: The session was opened before.
            PandasInternalsError: This release of pandas cannot be followed.
        """
        if self._was_open:
            raise CaptureError("A capture session can be opened once", "make a new one")
        if self.keeps_rows:
            _require_known_release()
            _HOOKS.acquire()
        self._was_open = self._notes.is_open = True
        announce(self._notes)

    def close(self) -> None:
        """Stop following rows. Frames stay usable; nothing can be asked of the session any more."""
        if self._notes.is_open:
            self._notes.is_open = False
            self._notes.inputs.clear()
            self._notes.found.clear()
            if self.keeps_rows:
                _HOOKS.release()

    def load(self, frame: Frame, name: str) -> Frame:
        """Return a frame as an input of the session: the same to its user, but followed.

        Args:
            frame: What the input holds; it is not changed, and its data is not copied.
            name: What the lineage calls the input.

        Raises:
            CaptureError: The session is not open, the name is taken, or the frame is followed.
        """
        self._require_open("load a frame")
        if name in self._notes.inputs:
            raise CaptureError(
                f"There is an input {name!r} already", "give each input its own name"
            )
        mark = row_mark(frame)
        if mark is not None and mark.node.notes is self._notes:
            raise CaptureError(
                f"The frame for {name!r} comes from inputs of this session", "load it once only"
            )
        loaded = frame.copy(deep=False)
        if not self.keeps_rows:
            root_rows(self._notes, len(loaded), name)
            return loaded
        root = root_mark(loaded.index, self._notes, name)
        self._notes.inputs[name] = root.node
        set_row_mark(loaded, root)
        return loaded

    @property
    def notes(self) -> Notes:
        """What the session writes down; other kinds of values join it through this."""
        return self._notes

    def lineage(self, result: pd.DataFrame | pd.Series | pd.Index | Tracked) -> CapturedLineage:
        """Return how the rows of a result follow from the rows of the inputs.

        Raises:
            CaptureError: The session is not open: later changes would have gone unseen. Or the
                result is of a type that carries no rows, such as a plain array.
        """
        return self._followed(result).lineage()

    def finish(self, result: Any) -> tuple[Any, CapturedLineage]:
        """Return a result as the user's code made it, not followed any more, and its lineage.

        Raises:
            CaptureError: The session is not open, or the result is of a type that carries no rows.
        """
        plain, followed = self.detach(result)
        return plain, followed.lineage()

    def detach(self, result: Any) -> tuple[Any, Followed]:
        """Return a result, not followed any more, and what is known of its rows.

        That is worked out when it is asked for its lineage, which may be after the session.

        Raises:
            CaptureError: The session is not open, or the result is of a type that carries no rows.
        """
        followed = self._followed(result)
        return unmarked(result), followed

    def _followed(self, result: Any) -> Followed:
        self._require_open("ask for lineage")
        if isinstance(result, Tracked):
            return followed_value(result, self._notes)
        if isinstance(result, pd.Index):
            return Followed.now(len(result), self._placed(result), None, self._notes)
        if not isinstance(result, (pd.DataFrame, pd.Series)):
            raise CaptureError(
                f"A {type(result).__name__} cannot say which rows it holds",
                "ask for the frame, array or tensor that it was made of, or declare its rows with "
                "`record`",
            )
        *columns, index = [self._placed(axis) for axis in result._mgr.axes]
        return Followed.now(len(result), index, columns[0] if columns else None, self._notes)

    def _placed(self, index: Any) -> Placed | None:
        """Return the mark of an index and its rows, unless that belongs to another session."""
        mark = mark_of(index)
        if mark is None or mark.node.notes is not self._notes:
            return None
        return mark, positions(index, mark)

    def _require_open(self, what: str) -> None:
        if not self._notes.is_open:
            raise CaptureError(
                f"The capture session is not open, so it cannot {what}",
                "do it inside `with CaptureSession() as session:`",
            )
