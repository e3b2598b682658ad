"""One call of a torch function on tracked tensors, as the rules for rows see it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from traceprop_engine.lineage.marks import Placed
from traceprop_engine.tensors.contributions import Contribution, How, lost, single_row, together

Outcome = Placed | None
Rule = Callable[["Call", Sequence[torch.Tensor]], list[Outcome]]
"""Says which rows each result of a call holds."""


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """A call, and the rows of the tensors in its arguments.

    Attributes:
        name: The function without the underscores of its spellings: ``add`` for ``__iadd__``.
        func: What was called.
        args: Positional arguments, the tensor of a method first.
        kwargs: Named arguments, without ``out``.
        tensors: The tensors in both, by their ``id``.
        rows: The rows of each tracked tensor, by its ``id``.
        fills: The results are tensors that the call wrote into.
    """

    name: str
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    tensors: dict[int, torch.Tensor]
    rows: dict[int, Placed]
    fills: bool = False

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """Return an argument by its position, or by one of its names.

        What torch calls ``dim`` may be given as ``axis`` too.
        """
        if position < len(self.args):
            return self.args[position]
        names = (*names, "axis") if "dim" in names else names
        return next((self.kwargs[name] for name in names if name in self.kwargs), default)

    @property
    def first(self) -> Any:
        """The tensor that the function is about."""
        return self.args[0] if self.args else self.kwargs.get("input")

    def tracked(self) -> list[tuple[torch.Tensor, Placed]]:
        """Return the tensors of the arguments whose rows are known, once each."""
        rows = self.rows
        return [(each, rows[key]) for key, each in self.tensors.items() if key in rows]

    def placed(self, tensor: Any) -> Outcome:
        """Return the rows of a tensor of the arguments; ``None`` if it is not tracked."""
        return self.rows.get(id(tensor))

    def made(self, parts: Sequence[Contribution], result: torch.Tensor) -> Outcome:
        """Return the rows of a result that is made of these contributions."""
        return together(parts, n_rows_of(result), self.name)

    def lost(self, result: torch.Tensor, reason: str | None = None) -> Outcome:
        """Return visibly lost rows for a result."""
        found = [placed for _, placed in self.tracked()]
        return lost(found, n_rows_of(result), self.name, reason or f"torch.{self.name}")

    def all_lost(self, results: Sequence[torch.Tensor], reason: str | None = None) -> list[Outcome]:
        """Return visibly lost rows for each result."""
        return [self.lost(result, reason) for result in results]


def operands_in(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[int, torch.Tensor]:
    """Return the tensors in the arguments of a call, once each, by their ``id``."""
    found: dict[int, torch.Tensor] = {}
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            found[id(value)] = value
        elif isinstance(value, (tuple, list, dict)):
            found |= {id(each): each for each in tensors_in(value)}
    return found


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in an argument or a result, which may be nested."""
    found: list[torch.Tensor] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[torch.Tensor]) -> None:
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for each in value:
            _collect(each, found)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, found)


def n_rows_of(tensor: torch.Tensor) -> int:
    """Return the length of axis 0; a tensor without axes is one row."""
    return tensor.shape[0] if tensor.ndim else 1


def aligned(tensor: torch.Tensor, placed: Placed, result: torch.Tensor) -> Contribution:
    """Return what an operand gives to a result that it was broadcast to.

    An operand without the axis of the rows of the result gives all its rows to each of them.
    """
    if tensor.ndim == result.ndim and n_rows_of(tensor) == n_rows_of(result):
        return Contribution(placed)
    return to_all(placed, result)


def to_all(placed: Placed, result: torch.Tensor) -> Contribution:
    """Return the contribution of an operand all of whose rows go into every row of a result."""
    if placed[0].node.is_statistic or not single_row(placed[1]):
        return Contribution(placed, "statistic")
    return Contribution(placed, first_row(result))


def first_row(result: torch.Tensor) -> How:
    """Return the contribution of position 0 to every row of a result."""
    return torch.zeros(n_rows_of(result), dtype=torch.int32).numpy()
