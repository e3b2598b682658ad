"""Traceprop in Dagster: assets whose rows can be traced, and whose predictions can be explained."""

from traceprop_dagster.checks import (
    QualityConfig,
    build_attribution_quality_check,
    build_lineage_coverage_checks,
)
from traceprop_dagster.io_manager import TracepropIOManager
from traceprop_dagster.lineage_checks import build_lineage_fuzz_check
from traceprop_dagster.model_assets import (
    ExplainConfig,
    build_attribution_asset,
    build_removal_asset,
)
from traceprop_dagster.resources import TracepropStore
from traceprop_dagster.source_assets import source_file_assets

__all__ = [
    "ExplainConfig",
    "QualityConfig",
    "TracepropIOManager",
    "TracepropStore",
    "build_attribution_asset",
    "build_attribution_quality_check",
    "build_lineage_coverage_checks",
    "build_lineage_fuzz_check",
    "build_removal_asset",
    "source_file_assets",
]
