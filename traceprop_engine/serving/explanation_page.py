"""The page of an explanation: why one prediction is what it is."""

from collections.abc import Callable
from typing import cast, get_args

from traceprop_engine.attribution import Target
from traceprop_engine.errors import PageNotFoundError
from traceprop_engine.explanation import (
    Explanation,
    PredictionSet,
    SourceLine,
    explain_prediction,
    removal_effect,
)
from traceprop_engine.recording import find_dataset_version
from traceprop_engine.serving.facts import Facts, facts, source_facts
from traceprop_engine.serving.svg import bar_svg
from traceprop_engine.serving.views import View
from traceprop_engine.store import Store

_TOP_K = 10
Predictions = Callable[[str], PredictionSet]


def explanation_page(
    store: Store, predictions: Predictions, dataset: str, row: int, target: str | None
) -> View:
    """Return the page that explains a prediction.

    Args:
        store: Where the prediction was recorded.
        predictions: Loads a set of predictions by its version.
        dataset: Name or version of the predictions.
        row: Row number of the prediction.
        target: The output to explain; what suits the model by default.

    Raises:
        DatasetNotFoundError: There is no such dataset.
        NoPredictionsError: It is not of predictions.
        RowNotFoundError: It has no such row.
        PageNotFoundError: There is no such target.
    """
    if target is not None and target not in get_args(Target):
        raise PageNotFoundError(f"?target={target}")
    version = find_dataset_version(store, dataset)
    return _page(store, predictions(version.id), row, cast("Target | None", target), None, _TOP_K)


def recorded_explanation_page(store: Store, predictions: Predictions, query_id: str) -> View:
    """Return the page of an explanation that was recorded, computed again from what is recorded.

    Raises:
        PageNotFoundError: There is no such explanation.
    """
    found = facts(
        store,
        """
        SELECT q.*, (SELECT max(rank) FROM attribution a WHERE a.query_id = q.query_id) AS top_k
        FROM query q WHERE query_id = ?
        """,
        [query_id],
    )
    if not found:
        raise PageNotFoundError(f"/explanation/{query_id}")
    query = found[0]
    top_k = query["top_k"] or _TOP_K
    predicted = predictions(query["dataset_version_id"])
    return _page(store, predicted, query["row"], query["target"], query, top_k)


def _page(
    store: Store,
    predictions: PredictionSet,
    row: int,
    target: Target | None,
    query: Facts | None,
    top_k: int,
) -> View:
    explanation = explain_prediction(store, predictions, row, top_k=top_k, target=target)
    largest = max((abs(found.influence) for found in explanation.rows), default=0.0)
    strongest = [found.training_row for found in explanation.rows[:1]]
    return View(
        "explanation",
        {
            "explanation": explanation,
            "sources": source_facts(store, _lines(explanation)),
            "bars": [bar_svg(found.influence, largest) for found in explanation.rows],
            "model_version_id": predictions.model.dataset_version_id,
            "effect": removal_effect(predictions, row, strongest, target=target)
            if strongest
            else None,
            "query": query,
            "removals": [] if query is None else _removals(store, query["query_id"]),
        },
    )


def _lines(explanation: Explanation) -> list[SourceLine]:
    own = explanation.prediction.lines
    return [*own, *(line for row in explanation.rows for line in row.lines)]


def _removals(store: Store, query_id: str) -> list[Facts]:
    return facts(
        store, "SELECT * FROM counterfactual WHERE query_id = ? ORDER BY commit_no", [query_id]
    )
