"""A tensor that knows its rows, through every torch function that is called on it.

One thing is not seen: `plain.data = tracked` puts the values of a tracked tensor into a plain one,
and torch asks the plain one alone. No rows come with them, and what is made of the plain tensor
later lacks them without a word. Use `plain.copy_(tracked)`, which notes that values left, or go on
with the tracked tensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage.carriers import carried, placed_of, plain_of, unmarked
from traceprop_engine.lineage.granularity import Granularity, current_granularity
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import Mark, Node, Placed, Step
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.tensors.calls import Call, Outcome, n_rows_of, operands_in, tensors_in
from traceprop_engine.tensors.contributions import claimed, lost
from traceprop_engine.tensors.exits import EXITS, SHARED_MEMORY, note_exit
from traceprop_engine.tensors.function_names import FACTS, FRESH, is_in_place, name_of
from traceprop_engine.tensors.function_table import ELEMENTWISE, IN_PLACE_MOVES, RULES

_ALIASED = "a change in place, seen through another tensor of the same memory"
_HANDED_OUT = "the memory of a tensor was handed out, and writes to it are not seen"


@dataclass(slots=True)
class _Memory:
    """What tensors of one memory have in common.

    Attributes:
        version: The counter of changes in place up to which their rows are known; ``None`` in
            inference mode, where torch does not count.
        handed_out: Somebody may write to it unseen.
    """

    version: int | None
    handed_out: bool = False


class TrackedTensor(torch.Tensor):
    """A `torch.Tensor` whose axis 0 are known rows.

    It is the user's tensor in every other way: the same values, gradients and errors. Where a
    function is not known, or its memory was changed through a tensor that is not tracked, the rows
    are visibly lost. What leaves torch, what `torch.func` transforms and what `torch.compile` runs
    comes out as a plain tensor.

    All of this holds at granularity ``ROW``. At ``OP``, ``BATCH`` and ``EPOCH``, operations are
    kept and rows are said to be unknown; at ``OFF`` results are plain tensors.

    Make one with `from_torch`.
    """

    traceprop_rows: Outcome = None
    traceprop_memory: _Memory | None = None

    def __traceprop_placed__(self) -> Placed | None:
        """Return its mark and its rows; ``None`` when nobody knows them."""
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 (as torch's own subclasses)
            return _placed_now(self)

    def __traceprop_plain__(self) -> torch.Tensor:
        """Return the tensor without its rows; it shares the memory."""
        return self.as_subclass(torch.Tensor)

    def __reduce_ex__(self, proto: Any) -> Any:
        """Pickle it as a plain tensor: rows stay in the process."""
        return self.__traceprop_plain__().__reduce_ex__(proto)

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrackedTensor":
        """Return a copy of the same rows."""
        plain = self.__traceprop_plain__()
        copied = plain.__deepcopy__(memo) if plain.is_leaf else plain.clone()
        memo[id(self)] = found = _wrapped(copied, self.__traceprop_placed__())
        return found

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a torch function, and find which rows its results hold."""
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001
            if torch.compiler.is_dynamo_compiling():
                return func(*args, **(kwargs or {}))
            if func.__name__ == "detach_":
                return _detached_in_place(func, *args, **(kwargs or {}))
            if current_granularity() is Granularity.OFF:
                return func(*args, **(kwargs or {}))
            return _called(func, args, kwargs or {})


def from_torch(
    data: Any, source_id: str | None = None, *, session: CaptureSession | None = None
) -> TrackedTensor:
    """Return a tensor whose rows are followed through PyTorch.

    Args:
        data: A tensor, an array or a pandas object, tracked or not. A tensor is not copied: writes
            through it are noticed, writes through NumPy to memory that both share are not.
        source_id: Names the input, if ``data`` is not tracked yet; ``"tensor"`` without one.
            Several tensors of one input have the same name and length.
        session: The capture session that the rows belong to; the graph of the process without one.

    Raises:
        CaptureError: There is another input of that name, or the tensor has no rows or is sparse.

    Example:
        >>> with CaptureSession() as session:
        ...     x = from_torch(torch.arange(6.0).reshape(3, 2), "doses", session=session)
        ...     session.lineage(x[x[:, 0] > 1] * 2).maps["doses"].backward([0])
        array([1])
    """
    plain = as_plain_tensor(data)
    if not plain.ndim:
        raise CaptureError("A tensor without axes has no rows", "give it one with `reshape(1)`")
    if not _is_dense(plain):
        raise CaptureError("Sparse and nested tensors are not followed", "track a dense one")
    placed = placed_of(data)
    if placed is None or not placed[0].node.notes.is_open:
        notes = default_graph() if session is None else session.notes
        mark = root_rows(notes, len(plain), source_id or "tensor")
        placed = mark, range(len(plain))
    return _wrapped(plain, placed)


def as_plain_tensor(data: Any) -> torch.Tensor:
    """Return the values of any array, tracked or not, as a plain tensor; no copy if torch can."""
    plain = unmarked(data)
    if isinstance(plain, torch.Tensor):
        return plain
    values = np.asarray(plain)
    return torch.as_tensor(values if values.flags.writeable else values.copy())


@carried.register(torch.Tensor)
def _carried_by_tensor(value: torch.Tensor, node: Node, steps: tuple[Step, ...]) -> TrackedTensor:
    every = range(node.n_rows)
    return _wrapped(plain_of(value), (Mark(node, every, steps), every))


def _called(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = name_of(func)
    if name in FACTS or name in FRESH:
        return func(*args, **kwargs)
    outs = tensors_in(kwargs["out"]) if "out" in kwargs else []
    inputs = {key: each for key, each in kwargs.items() if key != "out"} if kwargs else kwargs
    tensors = operands_in(args, inputs)
    operands = tensors | {id(each): each for each in outs} if outs else tensors
    mine = [each for each in operands.values() if isinstance(each, TrackedTensor)]
    rows = {id(each): placed for each in mine if (placed := _placed_now(each)) is not None}
    versions = {id(each): _version(each) for each in mine}
    result = func(*args, **kwargs)
    if name in EXITS or name in SHARED_MEMORY:
        return _left(name, args[0], result, rows)
    call = Call(name, func, args, inputs, tensors, rows, fills=is_in_place(func))
    results = [result] if isinstance(result, torch.Tensor) else tensors_in(result)
    fresh = [each for each in results if id(each) not in operands]
    if fresh and len(fresh) == len(results) and not (call.fills or outs):
        return _tracked(result, _replacements(call, results, operands))
    written = _written(call, mine, versions, outs, results)
    if not (written or results) or _fills_plain(call, outs):
        for placed in rows.values():
            note_exit(placed, name)
    if written:
        return _after_writing(call, result, written, outs)
    return _tracked(result, _replacements(call, results, operands))


def _detached_in_place(func: Callable[..., Any], input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (torch's own name)
    """Detach a tensor from its graph in place, with the rows it has.

    torch refuses that for views, which tracked tensors are to it. So the tensor becomes a detached
    one; where autograd still needs it as it was, torch's own refusal stands.
    """
    if isinstance(input, TrackedTensor) and input.requires_grad:
        detached = input.as_subclass(torch.Tensor).detach()
        twin = _wrapped(detached, input.traceprop_rows, input.traceprop_memory)
        try:
            torch.utils.swap_tensors(input, twin)
        except RuntimeError:
            return func(input)
    return input


def _placed_now(tensor: TrackedTensor) -> Outcome:
    placed, memory = tensor.traceprop_rows, tensor.traceprop_memory
    if placed is None or memory is None or not placed[0].node.notes.is_open:
        return None
    if memory.version != _version(tensor):
        placed = lost([placed], n_rows_of(tensor), "alias", _ALIASED)
        tensor.traceprop_rows, tensor.traceprop_memory = placed, _Memory(_version(tensor))
    return claimed(placed, _HANDED_OUT) if memory.handed_out and placed else placed


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001 (torch has no other)


def _memory_id(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata  # noqa: SLF001 (torch has no other)


def _wrapped(plain: torch.Tensor, placed: Outcome, memory: _Memory | None = None) -> TrackedTensor:
    tracked = plain.as_subclass(TrackedTensor)
    tracked.traceprop_rows, tracked.traceprop_memory = placed, memory or _Memory(_version(plain))
    return tracked


def _written(
    call: Call,
    mine: Sequence[TrackedTensor],
    versions: dict[int, int | None],
    outs: Sequence[torch.Tensor],
    results: Sequence[torch.Tensor],
) -> list[TrackedTensor]:
    """Return the tracked tensors that the call was to write into."""
    given = {id(each) for each in (*outs, *results)}
    if call.fills:
        given.add(id(call.args[0]))
    return [
        each
        for each in mine
        if id(each) in given
        and (call.fills or id(each) in map(id, outs) or versions[id(each)] != _version(each))
    ]


def _fills_plain(call: Call, outs: Sequence[torch.Tensor]) -> bool:
    """Say whether values were written into plain tensors alone, which cannot say whose they are."""
    filled = [*outs, *(tensors_in(call.args[:1]) if call.fills else [])]
    return bool(filled) and not any(isinstance(each, TrackedTensor) for each in filled)


def _after_writing(
    call: Call, result: Any, written: Sequence[TrackedTensor], outs: Sequence[torch.Tensor]
) -> Any:
    if _only_elements_changed(call, written, outs):
        (target,) = written
        if target.traceprop_memory is not None and target.traceprop_rows is not None:
            target.traceprop_memory.version = _version(target)
            target.traceprop_rows = _ruled(call, [target])[0]
        return result
    before = {id(each): call.rows.get(id(each)) for each in written}
    sources = Call(
        call.name,
        call.func,
        call.args,
        call.kwargs,
        call.tensors,
        {key: placed for key, placed in call.rows.items() if key not in set(map(id, outs))},
        fills=call.fills,
    )
    known = outs or (call.name in ELEMENTWISE or call.name in IN_PLACE_MOVES)
    targets = [each for each in outs or written if isinstance(each, torch.Tensor)]
    outcomes = _ruled(sources, targets) if known and not _overlaps(call, targets) else None
    for each, outcome in zip(targets, outcomes or [None] * len(targets), strict=True):
        if isinstance(each, TrackedTensor):
            _place(call, each, outcome, before.get(id(each)))
    return result


def _place(call: Call, target: TrackedTensor, outcome: Outcome, before: Outcome) -> None:
    """Give a tensor that was written into its new rows; others of its memory keep the old count."""
    if outcome is None:
        everything = [placed for _, placed in call.tracked()]
        reason = f"torch.{call.name}, which wrote into the tensor"
        outcome = lost(
            [*everything, *([before] if before else [])], n_rows_of(target), call.name, reason
        )
    handed_out = target.traceprop_memory is not None and target.traceprop_memory.handed_out
    if target.traceprop_memory is not None:
        target.traceprop_memory.version = (
            -1 if target.is_inference() else target.traceprop_memory.version
        )
    target.traceprop_rows, target.traceprop_memory = outcome, _Memory(_version(target), handed_out)


def _only_elements_changed(
    call: Call, written: Sequence[TrackedTensor], outs: Sequence[torch.Tensor]
) -> bool:
    """Say whether each element changed by itself, so that all tensors of the memory keep rows."""
    tracked = call.tracked()
    return (
        not outs
        and call.name in ELEMENTWISE
        and len(written) == 1
        and all(tensor is written[0] for tensor, _ in tracked)
    )


def _overlaps(call: Call, targets: Sequence[torch.Tensor]) -> bool:
    """Say whether an index lies in the memory that was just written: it cannot be used again."""
    memories = {_memory_id(each) for each in targets}
    given = call.args[1] if call.name == "setitem" else (call.args[1:], call.kwargs)
    return any(
        _memory_id(each) in memories
        for each in tensors_in(given)
        if not each.is_floating_point() and not each.is_complex()
    )


def _ruled(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    rule = RULES.get(call.name)
    if not call.rows:
        return [None] * len(results)
    level = current_granularity()
    if level is not Granularity.ROW:
        return call.all_lost(results, f"granularity {level}, which records no rows")
    if rule is None or not all(map(_is_dense, results)):
        return call.all_lost(results)
    return rule(call, results)


def _replacements(
    call: Call, results: Sequence[torch.Tensor], operands: dict[int, torch.Tensor]
) -> dict[int, torch.Tensor]:
    """Return the tracked form of each result that is not an operand itself.

    Sparse and nested tensors have none, and stay plain.
    """
    wanted = [id(each) not in operands and _is_dense(each) for each in results]
    if not any(wanted):
        return {}
    memories = {
        _memory_id(each): each.traceprop_memory
        for each in operands.values()
        if isinstance(each, TrackedTensor)
    }
    return {
        id(each): _wrapped(each, outcome, memories.get(_memory_id(each)))
        for each, outcome, is_wanted in zip(results, _ruled(call, results), wanted, strict=True)
        if is_wanted and outcome is not None
    }


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _tracked(result: Any, replacements: dict[int, torch.Tensor]) -> Any:
    """Return a result, nested as it was, with its tensors in their tracked form."""
    if isinstance(result, torch.Tensor):
        return replacements.get(id(result), result)
    if isinstance(result, (tuple, list)):
        parts = [_tracked(each, replacements) for each in result]
        kind = type(result)
        # torch.return_types take one sequence, a user's named tuple its fields.
        return kind(*parts) if hasattr(kind, "_make") else kind(parts)
    return result


def _left(name: str, tensor: Any, result: Any, rows: dict[int, Placed]) -> Any:
    for placed in rows.values():
        note_exit(placed, name)
    if name in SHARED_MEMORY and isinstance(tensor, TrackedTensor) and tensor.traceprop_memory:
        tensor.traceprop_memory.handed_out = True
    return result
