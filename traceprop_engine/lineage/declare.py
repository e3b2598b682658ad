"""Rows that nobody can follow, and that the user declares.

A declaration replaces what was followed: its fidelity is *claimed*. The witness holds it against
the values when the result is written.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import DeclarationError
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.carriers import (
    carried_like,
    lent,
    node_of,
    placed_of,
    plain_of,
)
from traceprop_engine.lineage.marks import (
    Node,
    Notes,
    Step,
    Via,
    derived,
    distinct,
    write_note,
)
from traceprop_engine.lineage.open_sessions import notes_with
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import narrowed

Declared = Literal["row_wise"] | RowMap | Sequence[int] | NDArray[np.integer[Any]]
"""Which rows of an input the rows of a result are.

*row_wise*: row ``i`` comes from row ``i``. Row numbers: row ``i`` comes from row ``rows[i]``, from
none where that is -1. A `RowMap`: any relation, such as groups or a window.
"""

DeclaredInputs = Mapping[str, Declared] | Iterable[tuple[Any, Declared]]
"""The declared rows by the input's name, or in pairs with a name or a followed value."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def record(out: Any, inputs: DeclaredInputs, *, session: CaptureSession | None = None) -> Any:
    """Declare which rows of its inputs a result was made of.

    Args:
        out: Any value with a length: a frame, an array, a tensor.
        inputs: For each input that rows come from, which they are. An input is named as it was
            loaded, or is a followed value itself, in a pair with its rows.
        session: Whose inputs the names are of; without it, the one open session that has them.

    Returns:
        ``out`` with these rows: a pandas object of the same type, the tracked form of a value that
        has one, else a `Recorded` around it, which a Dagster asset may return. ``out`` itself is
        not changed.

    Raises:
        DeclarationError: ``out`` has no length, there is no such input, its rows are not followed,
            or a length or a row number does not fit.

    Example:
        >>> import pandas as pd
        >>> with CaptureSession() as session:
        ...     frame = session.load(pd.DataFrame({"text": ["a b", "c"]}), "docs")
        ...     words = pd.DataFrame({"word": ["a", "b", "c"]})
        ...     words = record(words, {"docs": [0, 0, 1]}, session=session)
        ...     session.lineage(words[words["word"] != "a"]).maps["docs"].backward([1])
        array([1])
    """
    value = plain_of(out)
    return carried_like([out], value, *_made_of(value, inputs, session))


def _made_of(
    value: Any, inputs: DeclaredInputs, session: CaptureSession | None
) -> tuple[Node, tuple[Step, ...]]:
    """Return the node of the declared rows of a plain value, and the step that made it."""
    n_rows = _length(value)
    pairs = list(inputs.items()) if isinstance(inputs, Mapping) else list(inputs)
    if not pairs:
        raise DeclarationError(
            "`record` got no inputs", "name at least one input that the rows come from"
        )
    parents = _parents_of([each for each, _ in pairs], session)
    notes = _one_of(parents)
    labels = [_label(each) for each, _ in pairs]
    edges = [
        (node, _via(declared, label, n_rows, node.n_rows))
        for (_, declared), label, (node, _) in zip(pairs, labels, parents, strict=True)
    ]
    claim = f"the rows of {', '.join(labels)} were declared with `record`"
    node = derived(notes, n_rows, edges, claims=(claim,))
    return node, (_step(node, edges, labels, parents),)


@overload
def row_wise(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]: ...
@overload
def row_wise(
    function: None = None, *, of: str | Sequence[str]
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]: ...
def row_wise(function: Any = None, *, of: str | Sequence[str] | None = None) -> Any:
    """Declare of a function that row ``i`` of its result comes from row ``i`` of its argument.

    Where no argument is followed, the function does what it did. Where one is, it gets plain values
    and runs as one operation, and the result is that of `record`; of arrays, which
    it gets to read from only, an array that knows its rows. Followed arguments that are not named
    in ``of`` count as context of every row.

    Args:
        function: The function.
        of: The names of the arguments whose rows are meant; without it, the one that is followed.

    Raises:
        DeclarationError: Later, at a call: several arguments are followed and ``of`` names none,
            or the result has another number of rows.
    """
    if function is None:
        return functools.partial(row_wise, of=of)
    signature = inspect.signature(function)
    wanted = [of] if isinstance(of, str) else list(of or ())
    unknown = [name for name in wanted if name not in signature.parameters]
    if unknown:
        raise DeclarationError(
            f"{function.__name__!r} has no argument {unknown[0]!r}",
            f"its arguments are {', '.join(signature.parameters)}",
        )

    @functools.wraps(function)
    def declared(*args: Any, **kwargs: Any) -> Any:
        followed, out = _called(function, signature, args, kwargs)
        if not followed:
            return out
        out = _own(out)
        if not wanted and len(followed) > 1:
            raise DeclarationError(
                f"Several arguments of {function.__name__!r} are followed: {', '.join(followed)}",
                "say which one the rows come from with `row_wise(of=...)`",
            )
        names = [name for name in wanted or followed if name in followed]
        return _declared(out, followed, dict.fromkeys(names, "row_wise"), function.__name__)

    return declared


def declares_rows(
    function: Callable[Parameters, tuple[Result, Mapping[str, Declared]]],
) -> Callable[Parameters, Result]:
    """Let a function say which rows its result has: it returns the result and a mapping.

    The mapping gives the declared rows by the name of the argument, as `record` takes them. A call
    returns the result alone; where an argument is followed, as `record` returns it.

    Example:
        >>> @declares_rows
        ... def longest(texts, n):
        ...     rows = sorted(range(len(texts)), key=lambda row: -len(texts[row]))[:n]
        ...     return [texts[row] for row in rows], {"texts": rows}
        >>> longest(["a", "ccc", "bb"], 2)
        ['ccc', 'bb']
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def declared(*args: Any, **kwargs: Any) -> Any:
        followed, (out, rows) = _called(function, signature, args, kwargs)
        unknown = [name for name in rows if name not in signature.parameters]
        if unknown:
            raise DeclarationError(
                f"{function.__name__!r} declared rows of {unknown[0]!r}",
                f"its arguments are {', '.join(signature.parameters)}",
            )
        if not followed:
            return out
        out = _own(out)
        mine = {name: each for name, each in rows.items() if name in followed}
        return _declared(out, followed, mine, function.__name__)

    return cast("Callable[Parameters, Result]", declared)


def _called(
    function: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
) -> tuple[dict[str, Any], Any]:
    """Return the followed arguments of a call, and what it gives for the values in them."""
    bound = signature.bind(*args, **kwargs)
    followed = {
        name: value for name, value in bound.arguments.items() if placed_of(value) is not None
    }
    for name, value in followed.items():
        bound.arguments[name] = lent(value)
    return followed, function(*bound.args, **bound.kwargs)


def _declared(out: Any, followed: Mapping[str, Any], rows: Mapping[str, Any], function: str) -> Any:
    for name, value in followed.items():
        placed = placed_of(value)
        if name not in rows and placed is not None:
            mark, every = placed
            write_note(mark, function, None, every, id(every), every)
    if not rows:
        return out
    made = _made_of(plain_of(out), [(followed[name], each) for name, each in rows.items()], None)
    return carried_like(followed.values(), plain_of(out), *made)


def _own(out: Any) -> Any:
    """Return what a function gave; a copy of an array that others hold, such as a buffer of it."""
    is_shared = sys.getrefcount(out) > _REFERENCES
    return out.copy(order="K") if type(out) is np.ndarray and is_shared else out


def _references() -> int:
    def counted(out: Any) -> int:
        return sys.getrefcount(out)

    out = np.empty(0)
    return counted(out)


_REFERENCES = _references()
"""References to a value that one variable holds, counted by a function that gets it."""


def _length(value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        raise DeclarationError(
            f"A {type(value).__name__} has no length, so no rows", "return one item for each row"
        ) from None


def _parents_of(
    inputs: Sequence[Any], session: CaptureSession | None
) -> list[tuple[Node, tuple[Step, ...]]]:
    found: list[tuple[Node, tuple[Step, ...]]] = []
    for each in inputs:
        if isinstance(each, str):
            known = found[0][0].notes if found and session is None else None
            found.append((_input_named(each, session, known), ()))
            continue
        placed = placed_of(each)
        if placed is None:
            raise DeclarationError(
                f"The rows of the {type(each).__name__} given to `record` are not followed",
                "give the name of an input, or a value made from one while its session is open",
            )
        found.append((node_of(placed), placed[0].steps))
    return found


def _input_named(name: str, session: CaptureSession | None, known: Notes | None) -> Node:
    notes = known if session is None else session.notes
    candidates = notes_with(name) if notes is None else [notes]
    holders = [each for each in candidates if each.is_open and name in each.inputs]
    if not holders:
        others = sorted({other for each in candidates for other in each.inputs})
        raise DeclarationError(
            f"No input {name!r} is loaded in an open session",
            f"the inputs are {', '.join(map(repr, others))}"
            if others
            else "pass `session=`, or the followed value instead of its name",
        )
    if len(holders) > 1:
        raise DeclarationError(
            f"{len(holders)} open sessions have an input {name!r}",
            "pass `session=`, or the followed value instead of its name",
        )
    return holders[0].inputs[name]


def _one_of(parents: Sequence[tuple[Node, tuple[Step, ...]]]) -> Notes:
    notes = distinct(node.notes for node, _ in parents)
    if len(notes) > 1:
        raise DeclarationError(
            "The inputs given to `record` belong to different sessions",
            "load all of them into one",
        )
    return notes[0]


def _via(declared: Any, label: str, n_out: int, n_in: int) -> Via:
    if isinstance(declared, RowMap):
        if (declared.n_out, declared.n_in) != (n_out, n_in):
            raise DeclarationError(
                f"The map declared for {label} is {declared}, but the result has {n_out:,} rows "
                f"and the input {n_in:,}",
                "declare a map of these sizes",
            )
        return declared
    if isinstance(declared, str):
        return _row_for_row(declared, label, n_out, n_in)
    rows = np.asarray(declared)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise DeclarationError(
            f"The rows declared for {label} are no row numbers",
            "give whole numbers, 'row_wise' or a RowMap",
        )
    if len(rows) != n_out:
        raise DeclarationError(
            f"{len(rows):,} rows are declared for {label}, but the result has {n_out:,} rows",
            "give one row number for each, -1 where there is none",
        )
    wrong = rows[(rows < -1) | (rows >= n_in)] if rows.size else rows
    if wrong.size:
        raise DeclarationError(
            f"Row {wrong[0]} is declared for {label}, which has {n_in:,} rows",
            "rows are counted from 0, and -1 is none",
        )
    return narrowed(rows.astype(np.int64))


def _row_for_row(declared: str, label: str, n_out: int, n_in: int) -> range:
    if declared != "row_wise":
        raise DeclarationError(
            f"{declared!r} is declared for {label}", "give row numbers, 'row_wise' or a RowMap"
        )
    if n_out != n_in:
        raise DeclarationError(
            f"The result is declared row-wise of {label}, but has {n_out:,} rows for its {n_in:,}",
            "declare the row numbers instead",
        )
    return range(n_in)


def _label(given: Any) -> str:
    if isinstance(given, str):
        return repr(given)
    placed = placed_of(given)
    if placed is None:
        return f"a {type(given).__name__}"
    roots = [name for name in placed[0].node.notes.inputs if name in placed[0].node.roots]
    return " and ".join(map(repr, roots)) or f"a {type(given).__name__}"


def _step(
    node: Node,
    edges: Sequence[tuple[Node, Via]],
    labels: Sequence[str],
    parents: Sequence[tuple[Node, tuple[Step, ...]]],
) -> Step:
    ways = ["row_wise" if isinstance(via, range) else "rows" for _, via in edges]
    op = Op(
        name="record",
        detail=", ".join(f"{label}: {way}" for label, way in zip(labels, ways, strict=True)),
        inputs=tuple(name for name in node.notes.inputs if name in node.roots),
        n_rows_in=tuple(parent.n_rows for parent, _ in edges),
        n_rows_out=node.n_rows,
    )
    return Step(op, distinct(step for _, steps in parents for step in steps))
