"""Asset-check factories: load what was recorded, measure it, report it."""

from collections.abc import Iterator, Sequence

import dagster as dg
from pydantic import Field

from traceprop_dagster.metadata import dataset_name, quality_metadata
from traceprop_dagster.resources import TracepropStore
from traceprop_engine.explanation import (
    QualityPlan,
    RetrainerOf,
    load_predictions,
    measure_attribution,
    record_attribution_quality,
)
from traceprop_engine.recording import find_dataset_version


def build_lineage_coverage_checks(
    *,
    assets: Sequence[dg.AssetKey],
    min_coverage: float,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetChecksDefinition:
    """Return one check for each asset that passes when enough of its rows reach an input row.

    It needs a `TracepropStore` under the resource key ``store``.

    Args:
        assets: Assets written by a `TracepropIOManager`.
        min_coverage: Least share of rows, in ``[0, 1]``, that must have a known parent.
        severity: What a failure means. Rows without a known parent can be neither audited nor
            erased, so a gap is an error unless you say otherwise.

    Raises:
        ValueError: ``assets`` is empty, or ``min_coverage`` is outside ``[0, 1]``.
    """
    if not assets:
        raise ValueError("`assets` is empty, so there is nothing to check.")
    if not 0.0 <= min_coverage <= 1.0:
        raise ValueError(f"`min_coverage` must lie in [0, 1], got {min_coverage}.")

    @dg.multi_asset_check(
        name="_".join(["lineage_coverage", *(key.to_python_identifier() for key in assets)]),
        specs=[
            dg.AssetCheckSpec(
                "lineage_coverage",
                asset=key,
                description=f"At least {min_coverage:.0%} of the rows have a known parent row.",
            )
            for key in assets
        ],
        can_subset=True,
    )
    def check_lineage_coverage(
        context: dg.AssetCheckExecutionContext, store: TracepropStore
    ) -> Iterator[dg.AssetCheckResult]:
        opened = store.open()
        for key in context.selected_asset_check_keys:
            version = find_dataset_version(
                opened, dataset_name(key.asset_key), run_id=context.run.run_id
            )
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=version.coverage >= min_coverage,
                severity=severity,
                description=version.reason,
                metadata={
                    "traceprop/coverage": version.coverage,
                    "traceprop/fidelity": version.fidelity,
                    "traceprop/dataset_version": version.id,
                },
            )

    return check_lineage_coverage


class QualityConfig(dg.Config):
    """On what the quality of an attribution is measured; see `QualityPlan`."""

    n_queries: int = Field(default=50, ge=1, description="Predictions to measure on.")
    n_subsets: int = Field(default=50, ge=3, description="Subsets of the training rows.")
    keep: float = Field(default=0.5, gt=0, lt=1, description="Share of the rows in each subset.")
    seeds_per_subset: int = Field(default=2, ge=1, description="Models of a net for each subset.")
    seed: int = Field(default=0, ge=0, description="Decides queries, subsets and models.")


def build_attribution_quality_check(
    *,
    predictions: dg.AssetKey,
    min_lds: float,
    retrainer: RetrainerOf | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetChecksDefinition:
    """Return a check that trains the model again on subsets, and compares what the scores say.

    It passes when the linear datamodeling score (Park et al. 2023) is at least ``min_lds``. It is
    a measurement and takes as long as training so many models; run it when the model changes, not
    with every prediction. It needs a `TracepropStore` under the resource key ``store``.

    Args:
        predictions: The asset of the predictions.
        min_lds: Least mean rank correlation, in ``[-1, 1]``, of summed scores with retraining.
        retrainer: What trains a net again; convex models need none.
        severity: What a failure means.

    Raises:
        ValueError: ``min_lds`` is outside ``[-1, 1]``.
    """
    if not -1.0 <= min_lds <= 1.0:
        raise ValueError(f"`min_lds` must lie in [-1, 1], got {min_lds}.")

    @dg.asset_check(
        asset=predictions,
        name="attribution_quality",
        description=f"Influence scores and retrained models: correlation {min_lds:g} or more.",
    )
    def attribution_quality(
        context: dg.AssetCheckExecutionContext, config: QualityConfig, store: TracepropStore
    ) -> dg.AssetCheckResult:
        opened = store.open()
        recorded = load_predictions(opened, dataset_name(predictions), run_id=context.run.run_id)
        quality = measure_attribution(
            recorded,
            QualityPlan(**config.model_dump()),
            retrainer=retrainer,
            progress=lambda step: context.log.info(
                "%d of %d models trained again", step.n_done, step.n_models
            ),
        )
        record_attribution_quality(opened, recorded, quality)
        return dg.AssetCheckResult(
            passed=quality.mean >= min_lds,
            severity=severity,
            description=str(quality),
            metadata=quality_metadata(quality, min_lds),
        )

    return attribution_quality
