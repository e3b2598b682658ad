"""What the prediction would be without some training rows: as estimated, and as found."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from traceprop_engine.attribution import Target, remove_rows
from traceprop_engine.attribution.targets import resolve_target
from traceprop_engine.explanation.prediction_set import PredictionSet, load_predictions
from traceprop_engine.store import Store


@dataclass(frozen=True)
class Counterfactual:
    """The change of one prediction when training rows are taken out of the model.

    The preprocessing is left as it was: statistics that the rows went into, such as means used
    for scaling, are not computed again.

    Attributes:
        training_rows: The rows that were taken out.
        target: The output that is looked at.
        unit: Its unit.
        before: The output of the model as trained.
        predicted_change: The change that the influence scores estimate.
        found_change: The change of the model after Newton steps on the retained rows.
        gradient_norm: Norm of the objective's gradient on the retained rows after the last step.
        n_steps: Newton steps that were taken from the trained parameters.
    """

    training_rows: tuple[int, ...]
    target: str
    unit: str
    before: float
    predicted_change: float
    found_change: float
    gradient_norm: float
    n_steps: int

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON can hold them."""
        return asdict(self)


def what_if_removed(
    store: Store,
    *,
    row: int,
    training_rows: Sequence[int],
    dataset: str | None = None,
    target: Target | None = None,
) -> Counterfactual:
    """Say how a prediction changes when training rows are taken out of the model.

    Args:
        store: Where the pipeline was recorded.
        row: Row number of the prediction.
        training_rows: Row numbers in the training run.
        dataset: The recorded predictions; the newest by default.
        target: As for `traceprop_engine.explanation.explain`.

    Raises:
        RowNotFoundError: There is no such prediction.
        TrainingRowError: There is no such training row, or no model remains without them.
        NetRemovalError: The model is a net.
        TracepropError: See `load_predictions`.
    """
    predictions = load_predictions(store, dataset)
    return removal_effect(predictions, row, training_rows, target=target)


def removal_effect(
    predictions: PredictionSet,
    row: int,
    training_rows: Sequence[int],
    *,
    target: Target | None = None,
) -> Counterfactual:
    """Do what `what_if_removed` says for a prediction of a loaded set."""
    run = predictions.model.convex
    features, labels = predictions.query(row)
    scores = predictions.scores(row, target=target)
    removal = remove_rows(run, training_rows)
    question = resolve_target(run, features, labels=labels, target=scores.target, of_class=None)
    before = float(question.values(run.outputs(features))[0])
    after = float(question.values(removal.run.outputs(features))[0])
    return Counterfactual(
        training_rows=tuple(map(int, removal.rows)),
        target=scores.target,
        unit=scores.unit,
        before=before,
        predicted_change=-float(scores.scores[0, removal.rows].sum()),
        found_change=after - before,
        gradient_norm=removal.gradient_norm,
        n_steps=removal.n_steps,
    )
