"""SQL in the midst of pandas: the rows of marked frames are followed through a query."""

import duckdb
import pandas as pd

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage.captured import CapturedLineage, Op
from traceprop_engine.lineage.marks import Mark, Node, Notes, Step, derived, steps_of
from traceprop_engine.lineage.pandas_align import row_mark, set_row_mark
from traceprop_engine.lineage.pandas_marks import mark_of, place_all, row_node
from traceprop_engine.lineage.pandas_notes import note_rows
from traceprop_engine.sql_queries.trace import trace_query


def sql(
    query: str, /, *, connection: duckdb.DuckDBPyConnection | None = None, **tables: pd.DataFrame
) -> pd.DataFrame:
    """Run a SELECT of DuckDB on pandas frames, and follow their rows to the result.

    Frames that an open `CaptureSession` follows are followed through the query as through any verb
    of pandas; whatever the whole result depends on becomes a statistic of the session. Without a
    session it simply returns the result. The index of a frame is not a column of its table.

    Args:
        query: One SELECT statement; see `trace_query`.
        connection: Whose database to use, see `trace_query`; a fresh one by default.
        **tables: The frames by the names that the query uses.

    Returns:
        The result, with the types that Arrow gives pandas, and a new index.

    Raises:
        CaptureError: Frames belong to two sessions.
        TracepropError: See `trace_query`.

    Example:
        >>> visits = pd.DataFrame({"patient": [1, 1, 2], "dose": [3.0, None, 5.0]})
        >>> sql("SELECT patient FROM visits WHERE dose > 4", visits=visits)
           patient
        0        2
    """
    marks = {name: mark for name, frame in tables.items() if (mark := _mark(frame)) is not None}
    notes = _notes_of(marks)
    _note_columns(tables)
    plain = {name: _unmarked(frame, name in marks) for name, frame in tables.items()}
    traced = trace_query(query, plain, connection=connection)
    result = traced.table.to_pandas()
    if notes is not None:
        nodes = {name: row_node(tables[name].index, mark) for name, mark in marks.items()}
        _note_contexts(traced.lineage, tables, marks)
        node = _node(notes, traced.lineage, nodes)
        step = Step(_op(query, traced.lineage), steps_of(marks.values()))
        set_row_mark(result, place_all(result.index, node, (step,)))
    return result


def _note_columns(tables: dict[str, pd.DataFrame]) -> None:
    """Write down rows that were turned into columns: a query reads all of them at once."""
    for frame in tables.values():
        mark = mark_of(frame.columns) if isinstance(frame, pd.DataFrame) else None
        if mark is not None:
            note_rows(mark, frame.columns, "sql", None)


def _mark(frame: pd.DataFrame) -> Mark | None:
    return row_mark(frame) if isinstance(frame, pd.DataFrame) else None


def _unmarked(frame: pd.DataFrame, is_marked: bool) -> pd.DataFrame:  # noqa: FBT001 (private)
    """Return a frame that no hook follows: that DuckDB reads its values is no statistic."""
    if not is_marked:
        return frame
    plain = frame.copy(deep=False)
    set_row_mark(plain, None)
    return plain


def _notes_of(marks: dict[str, Mark]) -> Notes | None:
    """Return the session that the frames belong to.

    Raises:
        CaptureError: There are two.
    """
    found = {id(mark.node.notes): mark.node.notes for mark in marks.values()}
    if len(found) > 1:
        raise CaptureError(
            f"The tables {', '.join(map(repr, marks))} belong to several capture sessions",
            "load all of them into one",
        )
    return next(iter(found.values()), None)


def _node(notes: Notes, lineage: CapturedLineage, nodes: dict[str, Node]) -> Node:
    """Return the rows of the result; what is a mere context is no parent of them."""
    maps = {name: lineage.maps[name] for name in nodes}
    edges = [(nodes[name], each) for name, each in maps.items() if each.kind != "context"]
    return derived(notes, lineage.n_rows, edges)


def _note_contexts(
    lineage: CapturedLineage, tables: dict[str, pd.DataFrame], marks: dict[str, Mark]
) -> None:
    for each in lineage.contexts:
        if each.input in marks:
            index = tables[each.input].index
            note_rows(marks[each.input], index, f"sql {each.statistic}", None)


def _op(query: str, lineage: CapturedLineage) -> Op:
    names = tuple(lineage.maps)
    rows_in = tuple(each.n_in for each in lineage.maps.values())
    return Op("sql", " ".join(query.split()), names, rows_in, lineage.n_rows)
