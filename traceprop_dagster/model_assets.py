"""Asset factories on top of a model: why it predicted what it did, and what without a row."""

from collections.abc import Sequence

import dagster as dg
import numpy as np
from pydantic import Field

from traceprop_dagster.metadata import (
    counterfactual_metadata,
    dataset_name,
    explanation_metadata,
)
from traceprop_dagster.resources import TracepropStore
from traceprop_engine.errors import NoRowChosenError
from traceprop_engine.explanation import (
    PredictionSet,
    explain_prediction,
    load_predictions,
    record_counterfactual,
    record_explanation,
    removal_effect,
)
from traceprop_engine.row_predicate import rows_where


class ExplainConfig(dg.Config):
    """Which predictions to explain."""

    rows: list[int] = Field(default_factory=list, description="Row numbers of predictions.")
    where: str = Field(
        default="", description='A predicate that chooses predictions, such as "id = 7".'
    )
    highest: int = Field(
        default=3, ge=0, description="If nothing is chosen: this many with the highest output."
    )
    top_k: int = Field(default=10, ge=1, description="Training rows to name for each.")


def build_attribution_asset(
    name: str, *, predictions: dg.AssetKey, group_name: str = "explanations"
) -> dg.AssetsDefinition:
    """Return an asset that names the training rows, and their source lines, behind predictions.

    It needs a `TracepropStore` under the resource key ``store``, and an upstream asset that returns
    `traceprop_engine.training.Predictions`.

    Args:
        name: Name of the asset.
        predictions: The asset of the predictions.
        group_name: The group it is shown in.
    """

    @dg.asset(name=name, deps=[predictions], group_name=group_name, kinds={"python"})
    def attributions(
        context: dg.AssetExecutionContext, config: ExplainConfig, store: TracepropStore
    ) -> dg.MaterializeResult:
        """The training rows that moved chosen predictions most, and where they came from."""
        opened = store.open()
        recorded = load_predictions(opened, dataset_name(predictions), run_id=context.run.run_id)
        explanations = [
            explain_prediction(opened, recorded, row, top_k=config.top_k)
            for row in chosen_rows(recorded, config)
        ]
        query_ids = [record_explanation(opened, explanation) for explanation in explanations]
        pages = [store.page("explanation", query_id) for query_id in query_ids]
        return dg.MaterializeResult(metadata=explanation_metadata(explanations, pages))

    return attributions


def build_removal_asset(
    name: str,
    *,
    predictions: dg.AssetKey,
    attributions: dg.AssetKey,
    group_name: str = "explanations",
) -> dg.AssetsDefinition:
    """Return an asset that takes the most influential row of each prediction out of the model.

    It shows the change that the scores predict beside the change that Newton steps on the retained
    rows find; neither trains again from nothing.

    Args:
        name: Name of the asset.
        predictions: The asset of the predictions.
        attributions: The asset of `build_attribution_asset`, which runs before it.
        group_name: The group it is shown in.
    """

    @dg.asset(name=name, deps=[predictions, attributions], group_name=group_name, kinds={"python"})
    def what_if_removed(
        context: dg.AssetExecutionContext, config: ExplainConfig, store: TracepropStore
    ) -> dg.MaterializeResult:
        """How chosen predictions change when their most influential training row is removed."""
        opened = store.open()
        recorded = load_predictions(opened, dataset_name(predictions), run_id=context.run.run_id)
        effects = []
        for row in chosen_rows(recorded, config):
            explanation = explain_prediction(opened, recorded, row, top_k=1)
            strongest = [influential.training_row for influential in explanation.rows]
            effect = removal_effect(recorded, row, strongest)
            record_explanation(opened, explanation)
            record_counterfactual(opened, explanation, effect)
            effects.append((row, effect))
        return dg.MaterializeResult(metadata=counterfactual_metadata(effects))

    return what_if_removed


def chosen_rows(predictions: PredictionSet, config: ExplainConfig) -> Sequence[int]:
    """Return the row numbers that a configuration chooses, each once and in the order given.

    Raises:
        NoRowChosenError: The predicate holds for no prediction.
    """
    if config.rows:
        return list(dict.fromkeys(config.rows))
    if config.where:
        rows = [int(row) for row in rows_where(predictions.frame, config.where)]
        if not rows:
            raise NoRowChosenError(predictions.version.dataset, config.where, 0)
        return rows
    ranked = np.argsort(-predictions.outputs, kind="stable")
    return [int(row) for row in ranked[: config.highest]]
