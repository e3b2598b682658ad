"""Influence through the last layer alone: as if the layers below it were given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.checkpoints import MEMORY_BYTES, Progress, chosen_checkpoints
from traceprop_engine.attribution.damping import Damping
from traceprop_engine.attribution.ggn import GGN, Solver
from traceprop_engine.errors import EstimatorSettingError
from traceprop_engine.gradients import Loss, OutputTarget, RecordedTraining, RowGradients


@dataclass(frozen=True, eq=False)
class LastLayer(GGN):
    """`GGN` restricted to the parameters of the last layer, or of named layers.

    A score estimates what leaving out the row would change if only these layers were trained
    again. That is the whole effect where the layers below are frozen, and a share of it where they
    are not; it costs a small part of the time. See `GGN` for the unit, the sign and the rest.
    """

    @classmethod
    def fit(
        cls,
        training: RecordedTraining,
        *,
        checkpoints: Sequence[int] | None = None,
        damping: Damping = "auto",
        solver: Solver = "auto",
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
        layers: Sequence[str] | None = None,
    ) -> Self:
        """Factor the curvature of these layers at each checkpoint.

        Args:
            training: A recorded training.
            checkpoints: See `GGN.fit`, as for all but the last.
            damping: ``λ``, as for `GGN.fit`; what it reads off the training, it reads off these
                layers' gradients.
            solver: How the curvature is inverted.
            progress: Told the number of checkpoints fitted so far, and of all.
            memory_bytes: Bytes that the fitted curvatures may take.
            layers: Names of the layers; by default the last one that has parameters.

        Raises:
            EstimatorSettingError: There is no layer of that name.
            TracepropError: See `GGN.fit`.
        """
        chosen = chosen_checkpoints(training, checkpoints)
        first = training.train_gradients(chosen[0])
        names = _names(first, layers)
        part = _SomeLayers(training, frozenset(names), chosen[0], _restricted(first, names))
        fitted = super().fit(
            part,
            checkpoints=chosen,
            damping=damping,
            solver=solver,
            progress=progress,
            memory_bytes=memory_bytes,
        )
        return replace(fitted, method=f"layers {', '.join(names)} alone: {fitted.method}")


@dataclass(frozen=True, eq=False)
class _SomeLayers:
    """A recorded training as if it had some of its layers only; the first gradients are kept."""

    whole: RecordedTraining
    names: frozenset[str]
    first_checkpoint: int
    first: RowGradients

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def n_train(self) -> int:
        return self.whole.n_train

    @property
    def n_parameters(self) -> int:
        return self.first.n_parameters

    @property
    def n_outputs(self) -> int:
        return self.whole.n_outputs

    @property
    def loss(self) -> Loss:
        return self.whole.loss

    @property
    def steps(self) -> tuple[int, ...]:
        return self.whole.steps

    def train_gradients(self, checkpoint: int) -> RowGradients:
        if checkpoint == self.first_checkpoint:
            return self.first
        return _restricted(self.whole.train_gradients(checkpoint), self.names)

    def query_gradients(
        self,
        checkpoint: int,
        features: NDArray[np.floating],
        labels: NDArray[np.generic] | None,
        target: OutputTarget,
    ) -> RowGradients:
        whole = self.whole.query_gradients(checkpoint, features, labels, target)
        return _restricted(whole, self.names)


def _names(gradients: RowGradients, layers: Sequence[str] | None) -> tuple[str, ...]:
    known = [layer.name for layer in gradients.layers]
    names = (known[-1],) if layers is None else tuple(layers)
    if not names or not set(names) <= set(known):
        raise EstimatorSettingError("layers", f"names out of {', '.join(known)}", list(names))
    return names


def _restricted(gradients: RowGradients, names: frozenset[str] | tuple[str, ...]) -> RowGradients:
    layers = tuple(layer for layer in gradients.layers if layer.name in names)
    return replace(gradients, layers=layers)
