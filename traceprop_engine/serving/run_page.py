"""The page of a training run."""

from dataclasses import asdict

from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.recording import load_training_run
from traceprop_engine.serving.facts import Facts, facts
from traceprop_engine.serving.svg import curve_svg
from traceprop_engine.serving.views import View
from traceprop_engine.store import Store
from traceprop_engine.training import TrainingRun


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
    run = recorded.run
    curve = run.loss_curve
    steps = run.steps if isinstance(run, StoredNet) else None
    return View(
        "run",
        {
            "run": run,
            "is_net": isinstance(run, StoredNet),
            "recipe": _recipe(run),
            "qualities": _qualities(store, recorded.id),
            "details": details,
            "curve": curve_svg(curve, steps) if len(curve) > 1 else None,
            "predictions": _predictions(store, recorded.id),
        },
    )


def _recipe(run: TrainingRun | StoredNet) -> list[tuple[str, object]]:
    """Return how a net was trained, setting by setting, as far as it is known."""
    if not isinstance(run, StoredNet) or run.recipe is None:
        return []
    return [
        (name.replace("_", " "), value)
        for name, value in asdict(run.recipe).items()
        if name != "checkpoint_fractions"
    ]


def _qualities(store: Store, training_run_id: str) -> list[Facts]:
    return facts(
        store,
        """
        SELECT measure, target, value, low, high, ceiling, method,
            detail AS quality_detail
        FROM attribution_quality WHERE training_run_id = ? ORDER BY commit_no DESC LIMIT 20
        """,
        [training_run_id],
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
