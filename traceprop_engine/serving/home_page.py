"""The start page: what the store holds."""

from traceprop_engine.serving.facts import Facts, facts
from traceprop_engine.serving.views import View
from traceprop_engine.store import Store

_MOST_EXPLANATIONS = 20


def home_page(store: Store) -> View:
    """Return the start page."""
    return View(
        "home",
        {
            "directory": store.directory,
            "datasets": _datasets(store),
            "sources": _sources(store),
            "runs": _runs(store),
            "explanations": _explanations(store),
        },
    )


def _datasets(store: Store) -> list[Facts]:
    """Return the newest version of each dataset and partition, in the order of the pipeline."""
    return facts(
        store,
        """
        SELECT dataset_version_id, dataset, partition_key, n_rows, coverage, fidelity, created_at,
            count(*) OVER versions AS n_versions,
            dataset_version_id IN (SELECT dataset_version_id FROM prediction_set) AS is_predictions,
            dataset_version_id IN (SELECT dataset_version_id FROM training_run) AS is_model
        FROM dataset_version
        WINDOW versions AS (PARTITION BY dataset, partition_key)
        QUALIFY row_number() OVER (PARTITION BY dataset, partition_key ORDER BY commit_no DESC) = 1
        ORDER BY commit_no
        """,
    )


def _sources(store: Store) -> list[Facts]:
    return facts(
        store,
        """
        SELECT source_version_id, name, uri, sha256, n_rows, n_bytes, seen_at,
            count(*) OVER (PARTITION BY name, uri) AS n_versions
        FROM source_version
        QUALIFY row_number() OVER (PARTITION BY name, uri ORDER BY commit_no DESC) = 1
        ORDER BY name, uri
        """,
    )


def _runs(store: Store) -> list[Facts]:
    return facts(
        store,
        """
        SELECT training_run_id, name, family, n_rows, converged, metrics, created_at
        FROM training_run ORDER BY commit_no DESC LIMIT 50
        """,
    )


def _explanations(store: Store) -> list[Facts]:
    return facts(
        store,
        f"""
        SELECT q.query_id, dataset, q.row, target, q.created_at, a.score, a.unit, a.training_row
        FROM query q
        JOIN dataset_version USING (dataset_version_id)
        LEFT JOIN attribution a ON a.query_id = q.query_id AND a.rank = 1
        QUALIFY row_number() OVER (PARTITION BY q.query_id ORDER BY a.commit_no DESC) = 1
        ORDER BY q.commit_no DESC LIMIT {_MOST_EXPLANATIONS}
        """,
    )
