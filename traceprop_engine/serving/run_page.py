"""The page of a training run."""

from traceprop_engine.recording import load_training_run
from traceprop_engine.serving.facts import Facts, facts
from traceprop_engine.serving.svg import curve_svg
from traceprop_engine.serving.views import View
from traceprop_engine.store import Store


def run_page(store: Store, training_run_id: str) -> View:
    """Return the page of a training run.

    Raises:
        TrainingRunNotFoundError: There is no such run.
    """
    recorded = load_training_run(store, training_run_id)
    (details,) = facts(
        store,
        """
        SELECT t.*, d.dataset, d.run_id, i.dataset AS training_dataset
        FROM training_run t
        JOIN dataset_version d USING (dataset_version_id)
        LEFT JOIN dataset_version i ON i.dataset_version_id = t.training_input_id
        WHERE training_run_id = ?
        """,
        [recorded.id],
    )
    curve = recorded.run.loss_curve
    return View(
        "run",
        {
            "run": recorded.run,
            "details": details,
            "curve": curve_svg(curve) if len(curve) > 1 else None,
            "predictions": _predictions(store, recorded.id),
        },
    )


def _predictions(store: Store, training_run_id: str) -> list[Facts]:
    return facts(
        store,
        """
        SELECT dataset_version_id, dataset, n_rows, d.created_at
        FROM prediction_set p JOIN dataset_version d USING (dataset_version_id)
        WHERE p.training_run_id = ? ORDER BY d.commit_no DESC LIMIT 50
        """,
        [training_run_id],
    )
