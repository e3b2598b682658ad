"""Asset-check factories: load what was recorded, measure it, report it."""

from collections.abc import Iterator, Sequence

import dagster as dg

from traceprop_dagster.metadata import dataset_name
from traceprop_dagster.resources import TracepropStore
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
