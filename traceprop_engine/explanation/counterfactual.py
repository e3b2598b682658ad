"""What the prediction would be without some training rows: as estimated, and as found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution import Target, remove_rows
from traceprop_engine.attribution.targets import resolve_target
from traceprop_engine.errors import EstimatorSettingError, NetRemovalError, TrainingRowError
from traceprop_engine.explanation.attribution_quality import RetrainerOf
from traceprop_engine.explanation.prediction_set import PredictionSet, load_predictions
from traceprop_engine.explanation.removed_rows import RemovedRows, choose_removed
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.retraining import Retrainer
from traceprop_engine.store import Store
from traceprop_engine.training import TrainingRun

Rows = Sequence[int] | NDArray[np.integer]
"""Row numbers."""


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


@dataclass(frozen=True)
class GroupRemoval:
    """The change of one prediction when a group of rows is taken out, by up to three ways.

    The preprocessing is left as it was: statistics that the rows went into, such as means used
    for scaling, are not computed again, and `statistics` names them.

    Attributes:
        removed: What was asked to be removed, in words.
        training_rows: The training rows that went, ascending.
        n_training_rows: Training rows of the model before.
        model: Name and family of the model.
        target: The output that is looked at.
        unit: Its unit; of all changes as well.
        before: The output of the model as trained.
        predicted_change: An estimate: minus the sum of the rows' scores. What rows of the group do
            together is not in it. NaN where no model is determined without one of them.
        newton_change: An estimate: after ``newton_steps`` Newton steps on the rows that remain,
            exact for linear models; ``None`` for nets.
        newton_steps: How many; 0 for nets.
        found_change: What was found: of a convex model by refitting it on the rows that remain to
            its minimum; of a net by training it again with and without the rows, the mean over
            pairs of equal seed. ``None`` where it was not asked for.
        found_error: Standard error of that mean; ``None`` for convex models and a single pair.
        n_models: Models that were trained to find it.
        gradient_norm: Of a refitted convex model, on the rows that remain; else ``None``.
        n_steps: Newton steps of the refit.
        statistics: Statistics on the way to the model that depend on the removed source rows.
        unknown: Where the way from the source to the model is unknown, so that rows may be missing.
    """

    removed: str
    training_rows: tuple[int, ...]
    n_training_rows: int
    model: str
    target: Target
    unit: str
    before: float
    predicted_change: float
    newton_change: float | None = None
    newton_steps: int = 0
    found_change: float | None = None
    found_error: float | None = None
    n_models: int = 0
    gradient_norm: float | None = None
    n_steps: int = 0
    statistics: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON can hold them."""
        return asdict(self)


def what_if_removed(  # noqa: PLR0913 (what to ask about, what to remove, how to answer; by name)
    store: Store,
    *,
    row: int,
    training_rows: Rows | None = None,
    source: str | None = None,
    where: str | None = None,
    source_rows: Rows | None = None,
    dataset: str | None = None,
    target: Target | None = None,
    newton_steps: int = 1,
    verify: bool = True,
    retrainer: RetrainerOf | None = None,
    n_models: int = 4,
) -> GroupRemoval:
    """Say how a prediction changes when a group of rows is taken out of the model.

    Name the training rows, or a source: then every training row goes that a row of the source
    reached, of all of the source, of the rows for which ``where`` holds, or of ``source_rows``.

    Args:
        store: Where the pipeline was recorded.
        row: Row number of the prediction.
        training_rows: Row numbers in the training run.
        source: Name, file or version of a source behind the model.
        where: A condition on rows of the source, such as ``"id = 7"``.
        source_rows: Row numbers in the source.
        dataset: The recorded predictions; the newest by default.
        target: As for `traceprop_engine.explanation.explain`.
        newton_steps: Steps of the estimate for a convex model; two for large groups.
        verify: Find the change as well: refit a convex model, train a net again.
        retrainer: What trains a net again, since a store keeps none of its code.
        n_models: Pairs of nets to train, with and without the rows.

    Raises:
        RowNotFoundError: There is no such prediction.
        RemovalChoiceError: It is not clear which rows to remove.
        NotBehindModelError: No training row is known to come from the source rows.
        TrainingRowError: There is no such training row, or no model remains without them.
        NetRemovalError: A net shall be verified, and there is no ``retrainer``.
        TracepropError: See `load_predictions`.
    """
    predictions = load_predictions(store, dataset)
    removed = choose_removed(
        store,
        predictions.model,
        training_rows=training_rows,
        source=source,
        source_rows=source_rows,
        where=where,
    )
    return group_effect(
        predictions,
        row,
        removed,
        target=target,
        newton_steps=newton_steps,
        verify=verify,
        retrainer=retrainer,
        n_models=n_models,
    )


def group_effect(  # noqa: PLR0913 (settings of the answer, by name)
    predictions: PredictionSet,
    row: int,
    removed: RemovedRows,
    *,
    target: Target | None = None,
    newton_steps: int = 1,
    verify: bool = True,
    retrainer: RetrainerOf | None = None,
    n_models: int = 4,
) -> GroupRemoval:
    """Do what `what_if_removed` says for a prediction of a loaded set and chosen rows."""
    run = predictions.model.run
    if verify and predictions.is_of_net and retrainer is None:
        raise NetRemovalError(run.name)
    scores = predictions.scores(row, target=target)
    rows = _existing(removed.training_rows, run.n_train)
    told = GroupRemoval(
        removed=removed.told,
        training_rows=tuple(map(int, rows)),
        n_training_rows=run.n_train,
        model=f"{run.name} ({run.family})",
        target=scores.target,
        unit=scores.unit,
        before=float(predictions.outputs[row]),
        predicted_change=-float(scores.scores[0, rows].sum()),
        statistics=removed.statistics,
        unknown=removed.unknown,
    )
    if not isinstance(run, StoredNet):
        return _of_convex(predictions, row, told, newton_steps, verify=verify)
    if retrainer is None or not verify:
        return told
    numbers = np.array([row])
    trains = retrainer(run, predictions.features[numbers], predictions.explained_labels(numbers))
    return _retrained(told, trains, n_models)


def removal_effect(
    predictions: PredictionSet,
    row: int,
    training_rows: Sequence[int],
    *,
    target: Target | None = None,
) -> Counterfactual:
    """Do what `what_if_removed` says for a prediction of a loaded set."""
    scores = predictions.scores(row, target=target)
    removal = remove_rows(predictions.model.convex, training_rows)
    value = _value_of(predictions, row, scores.target)
    before = value(predictions.model.convex)
    return Counterfactual(
        training_rows=tuple(map(int, removal.rows)),
        target=scores.target,
        unit=scores.unit,
        before=before,
        predicted_change=-float(scores.scores[0, removal.rows].sum()),
        found_change=value(removal.run) - before,
        gradient_norm=removal.gradient_norm,
        n_steps=removal.n_steps,
    )


def _of_convex(
    predictions: PredictionSet, row: int, told: GroupRemoval, newton_steps: int, *, verify: bool
) -> GroupRemoval:
    value = _value_of(predictions, row, told.target)
    before = value(predictions.model.convex)
    stepped = predictions.influence.predict_removal(told.training_rows, n_steps=newton_steps)
    told = replace(
        told,
        before=before,
        newton_change=value(stepped.run) - before,
        newton_steps=newton_steps,
    )
    if not verify:
        return told
    removal = remove_rows(predictions.model.convex, told.training_rows)
    return replace(
        told,
        found_change=value(removal.run) - before,
        n_models=1,
        gradient_norm=removal.gradient_norm,
        n_steps=removal.n_steps,
    )


def _retrained(told: GroupRemoval, retrainer: Retrainer, n_models: int) -> GroupRemoval:
    """Return the answer with what nets trained again say, in pairs of equal seed."""
    if n_models < 1:
        raise EstimatorSettingError("n_models", "at least 1", n_models)
    masks = np.ones((2 * n_models, told.n_training_rows), dtype=bool)
    masks[n_models:, list(told.training_rows)] = False
    seeds = np.tile(np.arange(n_models), 2)
    values = retrainer.retrain(masks, seeds=seeds).of(told.target).values[:, 0]
    changes = values[n_models:] - values[:n_models]
    error = None if n_models == 1 else float(changes.std(ddof=1) / np.sqrt(n_models))
    return replace(
        told, found_change=float(changes.mean()), found_error=error, n_models=2 * n_models
    )


def _value_of(
    predictions: PredictionSet, row: int, target: Target
) -> Callable[[TrainingRun], float]:
    """Return what gives the target of a prediction by a convex model."""
    features, labels = predictions.query(row)
    run = predictions.model.convex
    question = resolve_target(run, features, labels=labels, target=target, of_class=None)
    return lambda model: float(question.values(model.outputs(features))[0])


def _existing(rows: NDArray[np.integer], n_train: int) -> NDArray[np.integer]:
    """Return rows to remove once there are some, and they are training rows.

    Raises:
        TrainingRowError: There are none, one does not exist, or they are all.
    """
    if not len(rows):
        raise TrainingRowError("none is named")
    if not np.issubdtype(rows.dtype, np.integer):
        raise TrainingRowError(f"they must be integer positions, not {rows.dtype}")
    for row in rows[(rows < 0) | (rows >= n_train)]:
        raise TrainingRowError(f"row {row} does not exist, it has rows 0 to {n_train - 1}")
    if len(rows) == n_train:
        raise TrainingRowError("they are all of its rows, so no model remains")
    return rows
