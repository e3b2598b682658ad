"""What every recorded training of a net can be asked: gradients of rows at its checkpoints."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients.rows import RowGradients

Loss = Literal["cross_entropy", "squared"]
"""What was minimised: cross-entropy of the outputs as logits, or half the squared error."""

NamedTarget = Literal["margin", "loss", "logit", "prediction"]
"""A scalar of one query's outputs.

*margin*: log-odds of the query's class against all others, ``z_y - logsumexp(others)``; for one
output ``z`` of a binary net ``z`` or ``-z``. Needs labels. *loss*: of the query's label. *logit*:
the output of the query's class, or the one output. *prediction*: the one output.
"""

OutputTarget = NamedTarget | Callable[[Any], Any]
"""A named target, or a function from one query's outputs ``[n_outputs]`` to a scalar.

The function is written in the framework of the net, so that it can be differentiated.
"""


class RecordedTraining(Protocol):
    """A training of a net whose parameters were kept at some of its steps.

    Gradients are those of the net in evaluation mode: no dropout, running statistics in batch
    normalisation. They are in the parameters that were trained, in the order of the net.
    """

    @property
    def name(self) -> str:
        """Name of the training."""
        ...

    @property
    def n_train(self) -> int:
        """Rows that it was trained on."""
        ...

    @property
    def n_parameters(self) -> int:
        """Numbers that were trained."""
        ...

    @property
    def n_outputs(self) -> int:
        """Outputs of the net for one row; a classifier of one output tells classes 0 and 1."""
        ...

    @property
    def loss(self) -> Loss:
        """What was minimised."""
        ...

    @property
    def steps(self) -> tuple[int, ...]:
        """Optimiser steps after which each checkpoint was taken, ascending."""
        ...

    def train_gradients(self, checkpoint: int) -> RowGradients:
        """Return the gradients of all training rows, with slopes and curvatures.

        Args:
            checkpoint: Position in `steps`.
        """
        ...

    def query_gradients(
        self,
        checkpoint: int,
        features: NDArray[np.floating],
        labels: NDArray[np.generic] | None,
        target: OutputTarget,
    ) -> RowGradients:
        """Return the gradients of the target of each query, without slopes and curvatures.

        Args:
            checkpoint: Position in `steps`.
            features: The queries, ``[n_query, ...]``, in the form of the training rows.
            labels: Their labels, for the targets that need them.
            target: Which scalar of the outputs.
        """
        ...
