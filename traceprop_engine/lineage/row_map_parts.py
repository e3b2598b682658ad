"""Row maps as named numbers and columns of equal length, which fit one Parquet file, and back.

A simple kind has its own numbers and columns. What is made of several relations is a tree; it is
written as the list of its nodes, each before its children: ``"3:window": 0`` among the numbers says
that node 3 is a window and has no children, ``"3.n_out"`` how many rows it has, and the rows of the
columns whose ``node`` is 3 are its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from traceprop_engine.errors import RowMapError
from traceprop_engine.lineage.row_map_arrays import IntArray, checked_rows, joined, owned
from traceprop_engine.lineage.row_map_cheapest import flat
from traceprop_engine.lineage.row_map_checked import (
    gather_of,
    groups_of,
    many_of_pairs,
    range_of,
    select_of,
    window_of,
)
from traceprop_engine.lineage.row_map_compound import Chain, Segments, Union
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet, Unknown
from traceprop_engine.lineage.row_map_kinds import (
    Direct,
    Gather,
    Groups,
    Identity,
    Many,
    Range,
    Relation,
    RowMapKind,
    Select,
    Window,
)

Params = Mapping[str, int]
Columns = Mapping[str, IntArray]
Parts = tuple[RowMapKind, dict[str, int], dict[str, IntArray]]


@dataclass(frozen=True)
class _Node:
    """One relation of a tree, or one side of a box."""

    tag: str
    numbers: dict[str, int]
    columns: Sequence[IntArray] = ()
    children: Sequence["_Node"] = ()

    def walk(self) -> Iterator["_Node"]:
        yield self
        for child in self.children:
            yield from child.walk()


def parts_of(relation: Relation) -> Parts:
    """Return the kind, its numbers and its columns."""
    relation = flat(relation) if isinstance(relation, Direct) else relation
    if not isinstance(relation, (Context, Segments, Chain, Union)):
        return relation.kind, *_simple_parts(relation)
    kind: RowMapKind = "context" if isinstance(relation, Context) else "factored"
    return kind, *_tree_parts(_node(relation))


def _simple_parts(relation: Relation) -> tuple[dict[str, int], dict[str, IntArray]]:
    match relation:
        case Range():
            return {"start": relation.start, "step": relation.step}, {}
        case Select() | Gather():
            return {}, {"in_row": relation.in_rows}
        case Groups():
            return {}, {"out_row": relation.codes}
        case Window():
            return {}, {"lo": relation.lo, "hi": relation.hi}
        case Many():
            out_rows = owned(relation.pairs()[0], relation.n_out)
            return {}, {"out_row": out_rows, "in_row": relation.members}
        case _:
            return {}, {}


def _node(relation: Relation) -> _Node:
    size = {"n_out": relation.n_out, "n_in": relation.n_in}
    match relation:
        case Segments():
            return _Node("segments", size, children=[_node(each) for each in relation.children])
        case Chain():
            return _Node("chain", size, children=[_node(each) for each in relation.factors])
        case Union():
            return _Node("union", size, children=[_node(each) for each in relation.parts])
        case Context():
            sides = chain.from_iterable((box.outs, box.members) for box in relation.boxes)
            direct = [] if relation.direct is None else [_node(relation.direct)]
            return _Node("context", size, children=[*direct, *map(_rows_node, sides)])
        case _:
            params, columns = _simple_parts(relation)
            return _Node(relation.kind, size | params, list(columns.values()))


def _rows_node(rows: RowSet) -> _Node:
    if rows.rows is None:
        return _Node("every", {"n": rows.n})
    return _Node("rows", {"n": rows.n}, [rows.rows])


def _tree_parts(root: _Node) -> tuple[dict[str, int], dict[str, IntArray]]:
    params: dict[str, int] = {}
    pieces: list[tuple[IntArray, IntArray, IntArray]] = []
    for number, node in enumerate(root.walk()):
        params[f"{number}:{node.tag}"] = len(node.children)
        params |= {f"{number}.{name}": value for name, value in node.numbers.items()}
        if node.columns:
            numbers = np.full(len(node.columns[0]), number, dtype=np.int64)
            pieces.append((numbers, node.columns[0], node.columns[-1]))
    if not pieces:
        return params, {}
    columns = (joined(column) for column in zip(*pieces, strict=True))
    return params, dict(zip(("node", "first", "second"), columns, strict=True))


def relation_from_parts(
    kind: str, n_out: int, n_in: int, params: Params, columns: Columns
) -> Relation:
    """Return the relation that `parts_of` took apart.

    Raises:
        RowMapError: The parts do not make a relation of that kind and size.
    """
    try:
        if kind in {"context", "factored"}:
            made = _relation(_read_node(iter(_flat_nodes(params, columns))))
        else:
            made = _simple(kind, n_out, n_in, params, columns)
    except (KeyError, ValueError) as error:
        raise _damaged(kind, f"{type(error).__name__} {error}") from error
    if (made.n_out, made.n_in) != (n_out, n_in):
        raise _damaged(kind, f"{made.n_out} output rows of {made.n_in}, not {n_out} of {n_in}")
    return made


def _damaged(kind: str, reason: str) -> RowMapError:
    return RowMapError(f"The parts do not make a {kind} map ({reason})", "write the map again")


def _simple(kind: str, n_out: int, n_in: int, params: Params, columns: Columns) -> Relation:
    match kind:
        case "identity":
            return Identity(n_out, n_out)
        case "range":
            return range_of(params["start"], params["step"], n_out, n_in)
        case "unknown":
            return Unknown(n_out, n_in)
        case _:
            return _simple_of_columns(kind, n_out, n_in, columns)


def _simple_of_columns(kind: str, n_out: int, n_in: int, columns: Columns) -> Relation:
    match kind:
        case "select":
            return select_of(columns["in_row"], n_in)
        case "gather":
            return gather_of(columns["in_row"], n_in)
        case "groups":
            return groups_of(columns["out_row"], n_out)
        case "window":
            return window_of(columns["lo"], columns["hi"], n_in)
        case "many":
            return many_of_pairs(columns["out_row"], columns["in_row"], n_out, n_in)
        case _:
            raise _damaged(kind, "this release knows no such kind")


def _flat_nodes(params: Params, columns: Columns) -> list[tuple[_Node, int]]:
    """Return the nodes in order, each with the number of its children."""
    tags: dict[int, tuple[str, int]] = {}
    numbers: dict[int, dict[str, int]] = {}
    for key, value in params.items():
        if ":" in key:
            number, tag = key.split(":")
            tags[int(number)] = tag, value
        else:
            number, name = key.split(".")
            numbers.setdefault(int(number), {})[name] = value
    empty = np.empty(0, dtype=np.int64)
    owner, first, second = (columns.get(name, empty) for name in ("node", "first", "second"))
    bounds = {number: np.searchsorted(owner, (number, number + 1)) for number in tags}
    return [
        (_Node(tag, numbers.get(number, {}), (first[lo:hi], second[lo:hi])), n_children)
        for number, (tag, n_children) in sorted(tags.items())
        for lo, hi in (bounds[number],)
    ]


def _read_node(nodes: Iterator[tuple[_Node, int]]) -> _Node:
    node, n_children = next(nodes, (None, 0))
    if node is None:
        raise KeyError("node")
    return replace(node, children=[_read_node(nodes) for _ in range(n_children)])


def _relation(node: _Node) -> Relation:
    """Return the relation that ``node`` and its children say."""
    n_out, n_in = node.numbers["n_out"], node.numbers["n_in"]
    if node.tag == "context":
        return _context(node, n_out, n_in)
    made = [_direct(child) for child in node.children]
    match node.tag:
        case "segments":
            return Segments(n_out, n_in, tuple(made))
        case "chain":
            return Chain(n_out, n_in, tuple(made))
        case "union":
            return Union(n_out, n_in, tuple(made))
        case _:
            columns = dict(zip(_COLUMNS.get(node.tag, ()), node.columns, strict=False))
            return _simple(node.tag, n_out, n_in, node.numbers, columns)


def _direct(node: _Node) -> Direct:
    relation = _relation(node)
    if not isinstance(relation, Direct):
        raise _damaged(node.tag, "it stands where only single rows can be related")
    return relation


def _context(node: _Node, n_out: int, n_in: int) -> Context:
    sides = [child for child in node.children if child.tag in {"rows", "every"}]
    direct = [_direct(child) for child in node.children if child.tag not in {"rows", "every"}]
    boxes = [
        Box(_row_set(outs), _row_set(members))
        for outs, members in zip(sides[::2], sides[1::2], strict=True)
    ]
    return Context(n_out, n_in, direct[0] if direct else None, tuple(boxes))


def _row_set(node: _Node) -> RowSet:
    n = node.numbers["n"]
    if node.tag == "every":
        return RowSet.every(n)
    return RowSet.of(checked_rows(node.columns[0], n, "rows"), n)


_COLUMNS = {
    "select": ("in_row",),
    "gather": ("in_row",),
    "groups": ("out_row",),
    "window": ("lo", "hi"),
    "many": ("out_row", "in_row"),
}
