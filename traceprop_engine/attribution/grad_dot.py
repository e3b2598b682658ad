"""Products of gradients without a curvature: fast, rough, and a yardstick for other methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.checkpoints import (
    MEMORY_BYTES,
    BlockEffects,
    CheckpointEstimator,
    Progress,
    checked_memory,
    chosen_checkpoints,
    fit_checkpoints,
)
from traceprop_engine.attribution.curvature_solvers import question_products
from traceprop_engine.errors import EstimatorSettingError
from traceprop_engine.gradients import RecordedTraining, RowGradients
from traceprop_engine.training.recipe import TrainingRecipe


@runtime_checkable
class RecipeTraining(Protocol):
    """A recorded training that may know how it was trained."""

    @property
    def recipe(self) -> TrainingRecipe | None:
        """How it was trained, where that is known."""
        ...


@dataclass(frozen=True, eq=False)
class GradDot(CheckpointEstimator):
    """Products of the query's gradient and the gradient of each row's loss.

    A score says how much a small step of gradient descent on the row's loss alone raises the
    target, per unit of learning rate, averaged over checkpoints. It is no estimate of what leaving
    out the row would change: rows that are alike all count in full.

    References:
        Charpiat et al., 2019. Input similarity from the neural network perspective. Equation 2.
    """

    @classmethod
    def fit(
        cls,
        training: RecordedTraining,
        *,
        checkpoints: Sequence[int] | None = None,
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "GradDot":
        """Take the gradients at each checkpoint.

        Args:
            training: A recorded training.
            checkpoints: Which of its checkpoints, by position; all by default.
            progress: Told the number of checkpoints read so far, and of all.
            memory_bytes: Bytes that the answer to one block of queries may take.

        Raises:
            CheckpointChoiceError: There are no such checkpoints.
            EstimatorSettingError: There is too little memory.
            RowGradientsError: A gradient, slope or curvature is not finite.
        """
        checked_memory(memory_bytes)
        chosen, fitted, pushes = fit_checkpoints(training, checkpoints, PlainProducts, progress)
        return cls(
            training=training,
            checkpoints=chosen,
            fitted=fitted,
            pushes=pushes,
            method=f"products of gradients; mean over {len(chosen)} checkpoints",
            unit_form="{} per unit of learning rate",
            memory_bytes=memory_bytes,
        )


@dataclass(frozen=True, eq=False)
class TracIn(CheckpointEstimator):
    """Products of gradients, each checkpoint times its learning rate.

    A score is how much one step of gradient descent on the row alone, taken at every checkpoint,
    raises the target: the sum over checkpoints, in the target's unit. With more checkpoints it
    comes closer to what the row did in the whole training, for plain gradient descent of one row a
    step; momentum and Adam take other steps than these. Without learning rates it is `GradDot`.

    References:
        Pruthi et al., 2020. Estimating training data influence by tracing gradient descent.
        Section 3.3, TracInCP.
    """

    @classmethod
    def fit(
        cls,
        training: RecordedTraining,
        *,
        learning_rates: Sequence[float] | None = None,
        checkpoints: Sequence[int] | None = None,
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "TracIn":
        """Take the gradients at each checkpoint.

        Args:
            training: A recorded training.
            learning_rates: Of each chosen checkpoint; by default those of the training's recipe.
            checkpoints: Which of its checkpoints, by position; all by default.
            progress: Told the number of checkpoints read so far, and of all.
            memory_bytes: Bytes that the answer to one block of queries may take.

        Raises:
            CheckpointChoiceError: There are no such checkpoints.
            EstimatorSettingError: There is not one learning rate, finite and from 0, for each
                checkpoint, or too little memory.
            RowGradientsError: A gradient, slope or curvature is not finite.
        """
        checked_memory(memory_bytes)
        chosen = chosen_checkpoints(training, checkpoints)
        rates = _rates(training, chosen, learning_rates)
        _, fitted, pushes = fit_checkpoints(training, chosen, PlainProducts, progress, rates)
        return cls(
            training=training,
            checkpoints=chosen,
            fitted=fitted,
            pushes=pushes,
            method=f"TracIn; sum over {len(chosen)} checkpoints by their learning rates",
            memory_bytes=memory_bytes,
        )


@dataclass(frozen=True, eq=False)
class GradCos(CheckpointEstimator):
    """Cosine between the query's gradient and the downhill direction of each row's loss.

    From -1 to 1, averaged over checkpoints: likeness, not a size of effect. Scores of several rows
    or queries do not add up to anything; a functional's score is the cosine with its gradient.
    Rows, and queries, whose gradient is zero score 0.

    References:
        Charpiat et al., 2019. Input similarity from the neural network perspective. Equation 3.
    """

    @classmethod
    def fit(
        cls,
        training: RecordedTraining,
        *,
        checkpoints: Sequence[int] | None = None,
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "GradCos":
        """Take the gradients and their norms at each checkpoint; see `GradDot.fit`."""
        checked_memory(memory_bytes)
        chosen, fitted, pushes = fit_checkpoints(training, checkpoints, Cosines.fit, progress)
        return cls(
            training=training,
            checkpoints=chosen,
            fitted=fitted,
            pushes=tuple(np.sign(push) / len(chosen) for push in pushes),
            method=f"cosines of gradients; mean over {len(chosen)} checkpoints",
            unit_form="cosine",
            memory_bytes=memory_bytes,
        )


@dataclass(frozen=True, eq=False)
class PlainProducts:
    """Products with the gradients of the training rows at one checkpoint.

    Attributes:
        train: The gradients.
    """

    train: RowGradients

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: its factors."""
        return sum(layer.shape.n_kept for layer in self.train.layers)

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        return lambda rows: question_products(queries, weights, self.train.take(rows))


@dataclass(frozen=True, eq=False)
class Cosines:
    """Cosines with the gradients of the training rows at one checkpoint.

    Attributes:
        products: Products with the same gradients.
        inverse_norms: One over the length of each gradient, 0 where it is zero, ``[n_train]``.
    """

    products: PlainProducts
    inverse_norms: NDArray[np.float64]

    @classmethod
    def fit(cls, train: RowGradients) -> "Cosines":
        """Measure the gradients."""
        return cls(PlainProducts(train), _inverse_roots(train.squared_norms()))

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: its factors."""
        return self.products.floats_per_question

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        if weights is None:
            squares = queries.squared_norms()
        else:
            squares = np.sum(question_products(queries, weights, queries) * weights, axis=1)
        lengths, products = _inverse_roots(squares), self.products.ask(queries, weights)
        return lambda rows: products(rows) * lengths[:, None] * self.inverse_norms[rows]


def _inverse_roots(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    positive = squares > 0
    roots = np.sqrt(squares, out=np.ones_like(squares), where=positive)
    return positive / roots


def _rates(
    training: RecordedTraining, chosen: tuple[int, ...], given: Sequence[float] | None
) -> tuple[float, ...]:
    if given is not None:
        rates = tuple(given)
    elif isinstance(training, RecipeTraining) and training.recipe is not None:
        recipe = training.recipe
        of_steps = recipe.learning_rates(recipe.n_steps(training.n_train))
        rates = tuple(of_steps[max(training.steps[position], 1) - 1] for position in chosen)
    else:
        wanted = "given, for the training has no recipe (GradDot needs none)"
        raise EstimatorSettingError("learning_rates", wanted, None)
    if len(rates) != len(chosen) or not all(0 <= rate < float("inf") for rate in rates):
        wanted = f"{len(chosen)} finite numbers from 0, one for each checkpoint"
        raise EstimatorSettingError("learning_rates", wanted, rates)
    return rates
