"""Explanations and counterfactuals as facts of a store.

A question has one identifier, whoever asks it and when. What was answered once is not written
again: another machine may compute it with another last bit, which contradicts nothing.
"""

from datetime import UTC, datetime

from traceprop_engine.digests import identify
from traceprop_engine.explanation.counterfactual import Counterfactual
from traceprop_engine.explanation.values import Explanation
from traceprop_engine.store import Store


def record_explanation(store: Store, explanation: Explanation) -> str:
    """Record a query and its most influential training rows; return the query's identifier.

    Ranks that were recorded before stay as they are.
    """
    query_id = query_id_of(explanation)
    prediction = explanation.prediction
    known = store.query(
        "SELECT rank FROM attribution WHERE query_id = ? AND method = ?",
        [query_id, explanation.method],
    )
    recorded = set(known.column("rank").to_pylist())
    store.commit(
        {
            "query": [
                {
                    "query_id": query_id,
                    "dataset_version_id": prediction.dataset_version_id,
                    "row": prediction.row,
                    "training_run_id": explanation.training_run_id,
                    "target": explanation.target,
                    "created_at": datetime.now(UTC),
                }
            ],
            "attribution": [
                {
                    "query_id": query_id,
                    "method": explanation.method,
                    "rank": row.rank,
                    "training_row": row.training_row,
                    "score": row.influence,
                    "unit": explanation.unit,
                }
                for row in explanation.rows
                if row.rank not in recorded
            ],
        }
    )
    return query_id


def record_counterfactual(
    store: Store, explanation: Explanation, counterfactual: Counterfactual
) -> str:
    """Record what removing training rows does to a prediction; return the identifier."""
    query_id = query_id_of(explanation)
    identifier = identify(
        "cf", {"query_id": query_id, "training_rows": list(counterfactual.training_rows)}
    )
    if store.query(
        "SELECT 1 FROM counterfactual WHERE counterfactual_id = ?", [identifier]
    ).num_rows:
        return identifier
    store.commit(
        {
            "counterfactual": [
                {
                    "counterfactual_id": identifier,
                    "query_id": query_id,
                    "training_rows": list(counterfactual.training_rows),
                    "predicted_change": counterfactual.predicted_change,
                    "refitted_change": counterfactual.found_change,
                    "unit": counterfactual.unit,
                    "gradient_norm": counterfactual.gradient_norm,
                    "n_steps": counterfactual.n_steps,
                    "created_at": datetime.now(UTC),
                }
            ]
        }
    )
    return identifier


def query_id_of(explanation: Explanation) -> str:
    """Return the identifier of the question: this prediction of this model, and this target."""
    prediction = explanation.prediction
    return identify(
        "q",
        {
            "dataset_version_id": prediction.dataset_version_id,
            "row": prediction.row,
            "training_run_id": explanation.training_run_id,
            "target": explanation.target,
        },
    )
