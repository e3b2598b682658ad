"""Many small JAX nets trained at once: `vmap` over stacked parameters, `scan` over steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.digests import digest_arrays, identify
from traceprop_engine.jax_gradients.steps import (
    Rows,
    Rule,
    outputs_of,
    schedule_of,
    start,
    update,
    weighted_gradient,
)
from traceprop_engine.retraining.nets import DEFAULT_MEMORY, NetProblem, NetRetrainer


@dataclass(frozen=True, eq=False)
class VmappedJax(NetRetrainer):
    """Retrainer of a JAX net, a group of models at a time.

    Every model takes the steps of the recipe, in float32 or the type of its parameters; several
    models in one group get what each would get alone, up to rounding.

    Attributes:
        apply: ``apply(params, rows)`` are the outputs of rows, ``[n, n_outputs]``; no state.
        initialise: ``initialise(seed)`` are the parameters that a seed starts from.
        problem: Rows, queries and recipe.
        name: Name of the model; results kept in `directory` are told apart by it too.
        directory: Where results are kept, so that a second run goes on.
        memory: Bytes that one group of models may take, estimated.

    Raises:
        RetrainingError: A label is no class of the net.
    """

    apply: Callable[[Any, Any], Any]
    initialise: Callable[[int], Any]
    problem: NetProblem
    name: str = "net"
    directory: Path | None = None
    memory: int = DEFAULT_MEMORY

    def __post_init__(self) -> None:
        answer = jax.eval_shape(self.apply, self.initialise(0), self._rows.features[:1])
        self.problem.check_outputs(answer.shape)

    def identity(self) -> str:
        """Return a digest of the net as compiled, two starts, rows, queries and recipe."""
        starts = [self.initialise(seed) for seed in (0, 1)]
        compiled = jax.jit(partial(self.apply)).lower(starts[0], self._rows.features[:1])
        facts = {
            **self.problem.facts(),
            "name": self.name,
            "net": compiled.as_text(),  # with the constants it closes over
            "start": digest_arrays(map(np.asarray, jax.tree.leaves(starts))),
        }
        return identify("jax", facts)

    def group_size(self, n_rows: int) -> int:
        """Return how many models of ``n_rows`` rows fit into the memory that is given."""
        return self.problem.fitting(self._bytes_of_model, n_rows, self.memory)

    def train_group(
        self, masks: NDArray[np.bool_], seeds: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Return the outputs of models with equally many rows, ``[m, n_query, n_outputs]``."""
        order = self.problem.rows_of_steps(masks, seeds)
        starts = [self.initialise(int(seed)) for seed in seeds]
        stacked = jax.tree.map(_stacked, *starts)
        drawn_from = self.problem.n_drawn_from(int(masks[0].sum()))
        factors = schedule_of(self.problem.recipe, drawn_from, self._rows.features.dtype).factors
        return np.asarray(self._train(stacked, order, masks, factors, self._rows))

    @cached_property
    def _rows(self) -> Rows:
        features = jnp.asarray(self.problem.features)
        whole = self.loss == "cross_entropy"
        labels = jnp.asarray(self.problem.labels, jnp.int32 if whole else features.dtype)
        return Rows(features, labels, jnp.ones(len(labels), features.dtype))

    @cached_property
    def _train(self) -> Callable[..., Any]:
        return jax.jit(jax.vmap(self._train_one, in_axes=(0, 0, 0, None, None)))

    def _train_one(
        self, params: Any, order: jax.Array, mask: jax.Array, factors: jax.Array, rows: Rows
    ) -> jax.Array:
        """Return the query outputs of one model after its steps."""
        rule = Rule.of(self.problem.recipe)

        def step(state: tuple[Any, Any], of_step: Any) -> tuple[Any, None]:
            (params, moments), (chosen, factor) = state, of_step
            weights = mask[chosen].astype(rows.features.dtype)
            batch = Rows(rows.features[chosen], rows.labels[chosen], weights)
            gradient, _ = weighted_gradient(self.apply, rule, params, batch)
            return update(rule, params, moments, gradient, factor), None

        begun = start(params, rule)
        (params, _), _ = jax.lax.scan(step, (begun.params, begun.moments), (order, factors))
        return outputs_of(self.apply, params, jnp.asarray(self.problem.query_features))

    @cached_property
    def _bytes_of_model(self) -> int:
        """Parameters with gradient, means and start, and every array of one step's trace."""
        params = self.initialise(0)
        of_params = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
        batch = Rows(*(array[: self.problem.recipe.batch_size] for array in self._rows))
        gradient = partial(weighted_gradient, self.apply, Rule.of(self.problem.recipe))
        step = jax.make_jaxpr(gradient)(params, batch)
        made: list[Any] = [out.aval for equation in step.jaxpr.eqns for out in equation.outvars]
        of_step = sum(math.prod(array.shape) * array.dtype.itemsize for array in made)
        return 5 * of_params + of_step + batch.features.nbytes


def _stacked(*leaves: Any) -> jax.Array:
    return jnp.stack(leaves)
