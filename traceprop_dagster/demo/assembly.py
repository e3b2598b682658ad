"""The demo pipeline: three hospital files to a risk model, its predictions, and their reasons."""

from pathlib import Path

import dagster as dg
import pandas as pd

from traceprop_dagster.checks import (
    build_attribution_quality_check,
    build_lineage_coverage_checks,
)
from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.nets import NETS
from traceprop_dagster.io_manager import TracepropIOManager
from traceprop_dagster.model_assets import build_attribution_asset, build_removal_asset
from traceprop_dagster.resources import TracepropStore
from traceprop_dagster.source_assets import source_file_assets
from traceprop_engine.training import Predictions, TrainingRun, train_logistic

DEFAULT_FOLDER = "traceprop_demo"
DEFAULT_PAGE_URL = "http://127.0.0.1:4004"
L2 = 1.0
MIN_CONVEX_LDS = 0.9
"""What the check of the logistic model asks of its influence scores."""


@dg.asset(group_name="preprocessing", kinds={"pandas"})
def cohort(patients: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Patients whose outcome in the five years after the index date is known, with that outcome."""
    return pipeline.cohort(patients, events)


@dg.asset(group_name="preprocessing", kinds={"pandas"})
def lab_features(labs: pd.DataFrame) -> pd.DataFrame:
    """Mean, last value and count of each lab test in the five years before the index date."""
    return pipeline.lab_features(labs)


@dg.asset(group_name="preprocessing", kinds={"pandas"})
def history_features(events: pd.DataFrame) -> pd.DataFrame:
    """Which diagnoses each patient had before the index date."""
    return pipeline.history_features(events)


@dg.asset(group_name="preprocessing", kinds={"pandas"})
def training_table(
    cohort: pd.DataFrame, lab_features: pd.DataFrame, history_features: pd.DataFrame
) -> pd.DataFrame:
    """One row for each patient: joined, imputed, one-hot encoded, scaled, and split."""
    return pipeline.training_table(cohort, lab_features, history_features)


@dg.asset(group_name="model", kinds={"python"})
def risk_model(context: dg.AssetExecutionContext, training_table: pd.DataFrame) -> TrainingRun:
    """Logistic regression of the outcome on the features, trained to convergence."""
    train, test = pipeline.split(training_table)
    run = train_logistic(
        train, features=pipeline.feature_columns(train), label="y", l2=L2, name="risk_model"
    )
    measured = run.evaluate(test)
    context.add_output_metadata({f"test/{name}": value for name, value in measured.items()})
    return run


@dg.asset(group_name="model", kinds={"python"})
def predictions(training_table: pd.DataFrame, risk_model: TrainingRun) -> Predictions:
    """The risk of each patient of the test split."""
    _, test = pipeline.split(training_table)
    return risk_model.predict(test, label="y", keep=["id"])


PREPROCESSING = [cohort, lab_features, history_features, training_table]
MODEL = [risk_model, predictions]


def demo_definitions(
    folder: Path,
    page_url: str | None = DEFAULT_PAGE_URL,
    hooks: frozenset[dg.HookDefinition] = frozenset(),
    *,
    nets: bool = True,
) -> dg.Definitions:
    """Return the demo pipeline over the files in a folder.

    Args:
        folder: It holds ``data`` with the three files; the store is made in ``store``.
        page_url: Address of `traceprop serve`, for links; ``None`` for no links.
        hooks: Called as the steps of the jobs succeed or fail.
        nets: Whether to have the nets, as far as their frameworks are installed.
    """
    root = folder.expanduser().absolute()
    store = TracepropStore(path=str(root / "store"), page_url=page_url)
    files = {name: root / "data" / f"{name}.csv" for name in ("patients", "labs", "events")}
    explained = build_attribution_asset("attributions", predictions=predictions.key)
    removed = build_removal_asset(
        "what_if_removed", predictions=predictions.key, attributions=explained.key
    )
    assets = [*PREPROCESSING, *MODEL, explained, removed]
    checked = [asset.key for asset in [*PREPROCESSING, *MODEL]]
    parts = [net.parts() for net in NETS if nets and net.is_there]
    of_nets = [asset for assets_of_net, _ in parts for asset in assets_of_net]
    quality = [
        build_attribution_quality_check(predictions=predictions.key, min_lds=MIN_CONVEX_LDS),
        *(check for _, check in parts),
    ]
    coverage = build_lineage_coverage_checks(assets=checked, min_coverage=1.0)
    selections = {
        "observe_sources": dg.AssetSelection.assets(*files),
        "demo": dg.AssetSelection.assets(*assets).without_checks()
        | dg.AssetSelection.checks(coverage),
        "nets": dg.AssetSelection.assets(*of_nets).without_checks() if of_nets else None,
        "attribution_quality": dg.AssetSelection.checks(*quality),
    }
    return dg.Definitions(
        assets=[*source_file_assets(files), *assets, *of_nets],
        asset_checks=[coverage, *quality],
        jobs=[
            dg.define_asset_job(name, selection=selection, hooks=hooks)
            for name, selection in selections.items()
            if selection is not None
        ],
        resources={"store": store, "io_manager": TracepropIOManager(store=store)},
    )
