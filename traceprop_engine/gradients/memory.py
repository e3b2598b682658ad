"""What the gradients of a training take on disk and in memory, told before the work begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from traceprop_engine.errors import GradientMemoryError
from traceprop_engine.gradients.layers import BLOCK_BYTES, LayerShape
from traceprop_engine.gradients.stored_numbers import StoredDtype, itemsize

GradientForm = Literal["factors", "dense", "projected"]
"""How a row's gradient is kept: its factors, all its numbers, or fewer numbers for them."""

DEFAULT_MEMORY = 1 << 30
"""Bytes that may be used at once, unless another limit is given."""

_COMPUTED = 4  # bytes of a float32
_SCALARS = 3 * 8  # value, slope and curvature of a row, float64
_LARGEST_SHARD = 65_536
_PREFIXES = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of the gradients of some rows in each form, and how many rows fit at a time.

    Attributes:
        layout: The layers.
        n_rows: Rows of each checkpoint.
        n_checkpoints: Checkpoints.
        dtype: How numbers are stored.
        form: What is stored.
        n_features: Numbers of a projected row; 0 where nothing is projected.
        memory_limit: Bytes that may be used at once.
    """

    layout: tuple[LayerShape, ...]
    n_rows: int
    n_checkpoints: int
    dtype: StoredDtype
    form: GradientForm
    n_features: int
    memory_limit: int

    @property
    def n_parameters(self) -> int:
        """Parameters of all layers."""
        return sum(layer.n_parameters for layer in self.layout)

    def numbers(self, form: GradientForm) -> int:
        """Return the numbers that a row takes in a form."""
        if form == "factors":
            return sum(layer.n_kept for layer in self.layout)
        return self.n_features if form == "projected" else self.n_parameters

    def row_bytes(self, form: GradientForm) -> int:
        """Return the bytes of one row on disk in a form."""
        return self.numbers(form) * itemsize(self.dtype) + _SCALARS

    def total_bytes(self, form: GradientForm) -> int:
        """Return the bytes of all rows and checkpoints on disk in a form."""
        return self.row_bytes(form) * self.n_rows * self.n_checkpoints

    @property
    def kernel_bytes(self) -> int:
        """Bytes of the kernel of all rows of one checkpoint as float32."""
        return _COMPUTED * self.n_rows * self.n_rows

    @property
    def micro_batch(self) -> int:
        """Rows whose gradients are computed at once.

        In memory at once are the layers' inputs and deltas, twice: what the framework holds and
        what is taken from it; and what is stored of them. A quarter of the limit is left to the
        framework for everything else.

        Raises:
            GradientMemoryError: One row takes more than the limit.
        """
        in_framework = 2 * _COMPUTED * self.numbers("factors")
        return self._fitting(in_framework + _COMPUTED * self.numbers(self.form))

    @property
    def rows_per_shard(self) -> int:
        """Rows of a shard that can be written within the limit, a power of two.

        In memory at once are a shard's gradients as they were computed, and twice as they are
        stored.

        Raises:
            GradientMemoryError: One row takes more than the limit.
        """
        computed = _COMPUTED * self.numbers("factors" if self.form == "projected" else self.form)
        stored = self.numbers(self.form) * (_COMPUTED + 2 * itemsize(self.dtype))
        fitting = self._fitting(computed + stored)
        return min(1 << (fitting.bit_length() - 1), _LARGEST_SHARD)

    def text(self) -> str:
        """Return the plan in some lines for a person to read."""
        work = f"{_count(self.n_rows, 'row')} at {_count(self.n_checkpoints, 'checkpoint')}"
        model = f"{_count(self.n_parameters, 'parameter')} in {_count(len(self.layout), 'layer')}"
        forms: tuple[GradientForm, ...] = ("factors", "dense", "projected")
        at_once = f"{_count(self.micro_batch, 'row')} at a time, {self.rows_per_shard:,} a shard"
        lines = [
            f"Gradients of {work}: {model}, stored as {self.dtype}.",
            *(self._line(form) for form in forms if self.numbers(form)),
            f"Kernel of all rows at a checkpoint: {spelled_bytes(self.kernel_bytes)}.",
            f"Within {spelled_bytes(self.memory_limit)} of memory: {at_once}.",
        ]
        return "\n".join(lines)

    def _line(self, form: GradientForm) -> str:
        name = f"{form} ({_count(self.numbers(form), 'number')})"
        size = f"{spelled_bytes(self.row_bytes(form))} a row"
        total = f"{spelled_bytes(self.total_bytes(form))} in all"
        chosen = "  <- stored" if form == self.form else ""
        return f"  {name:<32} {size:>16} {total:>16}{chosen}"

    def _fitting(self, row_bytes: int) -> int:
        free = self.memory_limit * 3 // 4 - BLOCK_BYTES
        if free < row_bytes:
            needed = (row_bytes + BLOCK_BYTES) * 4 // 3 + 1
            raise GradientMemoryError(
                spelled_bytes(self.memory_limit), spelled_bytes(needed), "memory_limit"
            )
        return max(1, min(free // max(row_bytes, 1), max(self.n_rows, 1)))


def plan_memory(
    layout: Sequence[LayerShape],
    n_rows: int,
    *,
    n_checkpoints: int = 1,
    n_features: int = 0,
    dtype: StoredDtype = "float32",
    memory_limit: int = DEFAULT_MEMORY,
) -> MemoryPlan:
    """Plan how to keep gradients: in the smallest exact form, unless a projection is smaller.

    Factors and dense gradients are both exact, so the smaller is kept. Projecting loses something,
    so it is chosen only if it is asked for and takes fewer numbers than the smaller of the two.

    Args:
        layout: The layers, as `RowGradients.layout` gives them.
        n_rows: Rows of each checkpoint.
        n_checkpoints: Checkpoints.
        n_features: Numbers to project a row to; 0 for no projection.
        dtype: How numbers are stored.
        memory_limit: Bytes that may be used at once.

    Raises:
        GradientStorageError: There is no such dtype.
    """
    itemsize(dtype)
    plan = MemoryPlan(
        tuple(layout), n_rows, n_checkpoints, dtype, "factors", n_features, memory_limit
    )
    forms: list[GradientForm] = ["factors", "dense", *(["projected"] if n_features else [])]
    form = min(forms, key=plan.numbers)
    return MemoryPlan(plan.layout, n_rows, n_checkpoints, dtype, form, n_features, memory_limit)


def spelled_bytes(n_bytes: float) -> str:
    """Return a number of bytes with three digits and a decimal prefix.

    Example:
        >>> spelled_bytes(512), spelled_bytes(2362), spelled_bytes(1_050_000_000)
        ('512 B', '2.36 kB', '1.05 GB')
    """
    size, power = float(n_bytes), 0
    while size >= 999.5 and power < len(_PREFIXES) - 1:  # noqa: PLR2004 - rounds to 1000
        size /= 1000
        power += 1
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2  # noqa: PLR2004
    return f"{size:.{digits}f} {_PREFIXES[power]}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
