"""What a metagradient is taken of: targets of queries at the end of training, and their sums."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.functionals import Functional, functional_weights
from traceprop_engine.errors import QueryShapeError
from traceprop_engine.gradients import OutputTarget
from traceprop_engine.jax_gradients import JaxTraining
from traceprop_engine.jax_gradients.row_wise import Scalar, dense_gradients
from traceprop_engine.jax_gradients.scalars import encode_query_labels
from traceprop_engine.jax_gradients.steps import Apply, Params, outputs_of


@dataclass(frozen=True, eq=False)
class Functionals:
    """Weighted sums of the targets of queries, or each query's target by itself.

    Attributes:
        training: Of the net.
        features: The queries, ``[n_query, ...]``.
        labels: As the target reads them, ``[n_query]``.
        scalar: The target of one query.
        weights: ``[n_functionals, n_query]``; each query by itself where it is ``None``.
        names: What the sums are called.
    """

    training: JaxTraining
    features: NDArray[np.generic]
    labels: NDArray[np.generic]
    scalar: Scalar
    weights: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, training: JaxTraining, features: Any, labels: Any, target: OutputTarget, weights: Any
    ) -> "Functionals":
        """Return the functionals once they fit the training.

        Raises:
            QueryShapeError: Queries, labels or weights do not fit the training or each other.
            InfluenceTargetError: The net has no such target, or it needs labels.
            UnknownClassError: A label is no class of the net.
        """
        queries = training.check_query(features)
        loss, n = training.loss, len(queries)
        encoded = encode_query_labels(labels, loss, target, training.n_outputs, n)
        scalar = Scalar(loss, target)
        if weights is None:
            return cls(training, queries, encoded, scalar)
        given = np.asarray(weights, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != n or not np.isfinite(given).all():  # noqa: PLR2004 - a matrix
            wanted = f"finite, [n_functionals, {n}]"
            raise QueryShapeError("query_weights", wanted, str(list(given.shape)))
        names = tuple(f"query_weights[{at}]" for at in range(len(given)))
        return cls(training, queries, encoded, scalar, given, names)

    def mixed(self, functionals: Sequence[Functional]) -> "Functionals":
        """Return functionals of these targets, linearised at the final parameters.

        Raises:
            QueryShapeError: These are weighted sums already.
            FunctionalError: A functional is not defined for these queries.
        """
        if self.weights is not None:
            raise QueryShapeError("functionals and query_weights", "one of the two", "both")
        weights = functional_weights(functionals, self.values(self.training.final))
        return replace(self, weights=weights, names=tuple(each.name for each in functionals))

    @property
    def n_functionals(self) -> int:
        """How many numbers these are."""
        return len(self.features) if self.weights is None else len(self.weights)

    def values(self, params: Params) -> NDArray[np.float64]:
        """Return the functionals at any parameters, ``[n_functionals]``."""
        apply, labels = self.training.apply, self.labels
        targets = np.asarray(
            _targets(params, self.features, labels, apply=apply, scalar=self.scalar)
        )
        return (
            targets.astype(np.float64)
            if self.weights is None
            else self.weights @ targets.astype(np.float64)
        )

    def n_blocks(self, at_once: int) -> int:
        """Return how many blocks of at most so many functionals there are."""
        return -(-self.n_functionals // at_once)

    def gradients(self, at_once: int) -> Iterator[tuple[slice, Params]]:
        """Yield blocks of functionals and their gradients in the final parameters.

        All blocks have the same size: gradients of zero fill the last one.

        Args:
            at_once: Functionals in a block, at most.
        """
        size = -(-self.n_functionals // self.n_blocks(at_once))
        summed = None if self.weights is None else self._summed(at_once)
        for begin in range(0, self.n_functionals, size):
            block = slice(begin, min(begin + size, self.n_functionals))
            part = self._of_queries(block) if summed is None else _rows_of(summed, block)
            yield block, _filled(part, size)

    def _of_queries(self, block: slice) -> Params:
        training = self.training
        features, labels = self.features[block], self.labels[block]
        return dense_gradients(
            training.final, features, labels, apply=training.apply, scalar=self.scalar
        )[1]

    def _summed(self, at_once: int) -> Params:
        weights = jnp.asarray(self.weights, self.training.dtype)
        total: Params = None
        for begin in range(0, len(self.features), at_once):
            block = slice(begin, begin + at_once)
            part = _mixed(weights[:, block], self._of_queries(block))
            total = part if total is None else jax.tree.map(jnp.add, total, part)
        return total


@partial(jax.jit, static_argnames=("apply", "scalar"))
def _targets(params: Params, features: Any, labels: Any, *, apply: Apply, scalar: Scalar) -> Any:
    return jax.vmap(scalar)(outputs_of(apply, params, features), labels)


def _mixed(weights: jax.Array, gradients: Params) -> Params:
    def mixed(leaf: jax.Array) -> jax.Array:
        return jnp.tensordot(weights, leaf, axes=1)

    return jax.tree.map(mixed, gradients)


def _rows_of(gradients: Params, block: slice) -> Params:
    def rows(leaf: jax.Array) -> jax.Array:
        return leaf[block]

    return jax.tree.map(rows, gradients)


def _filled(gradients: Params, size: int) -> Params:
    def filled(leaf: jax.Array) -> jax.Array:
        if len(leaf) == size:
            return leaf
        missing = jnp.zeros((size - len(leaf), *leaf.shape[1:]), leaf.dtype)
        return jnp.concatenate([leaf, missing])

    return jax.tree.map(filled, gradients)
