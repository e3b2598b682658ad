"""The public names, spelled out: a change here is a change for users."""

import ast
from pathlib import Path

import pytest

import traceprop_dagster.errors
import traceprop_engine.errors

ENGINE = """
Affected AttributionResult AttributionScores Bagged BoostIn CaptureSession CapturedLineage
Counterfactual Datamodel EKFAC EstimatorFollowing Explanation FittedStatistic Followed
FollowedLoader Functional GGN GradCos GradDot Granularity GroupGap GroupMean GroupRemoval
GroupScores HistogramBoosting InfluenceFunction InputRef JaxTraining KFAC LastLayer LayerGradients
LeafInfluence LeafRefit LineageCheck Magic Materialization Mlp NetPredictions NetProblem NetRun
Predictions ProvenanceView QualityPlan RecordedTraining RefitConvex Removal RowGradients RowMap
RowTrace SQLiteStore SmoothAuroc SourceTotals SourceVersion SqlResult Store StoredNet TRAK
TorchTraining TracIn Trace TracedSource TracepropError TrackedArray TrackedDataset TrackedJax
TrackedPolars TrackedStream TrackedTable TrackedTensor TrainingCallback TrainingLineage
TrainingRecipe TrainingRun TrainingStep TrainingSteps VmappedJax VmappedTorch affected_by array
attribution_engine brittleness bytes_per_row check_lineage compress concat_arrow concat_polars
declares_rows disable_compression enable_compression evaluate_lds evaluate_loo explain
export_lineage fingerprint_source fitted_statistic follow from_csv from_estimator from_jax
from_numpy from_pandas from_parquet from_torch granularity leave_groups_out load_fingerprints
load_fitted load_predictions load_source match_versions measure_attribution metasmoothness
provenance random_projection read_records read_source record record_dataset record_predictions
record_source record_training_run remove_rows reset_graph row_fingerprints row_wise scan_source
set_granularity sql to_pandas trace_back trace_query trace_rank track_arrow track_dataset
track_polars tracked_jit tracked_vmap train_jax train_linear train_logistic train_softmax
train_torch training_context training_lineage what_if_removed
"""
DAGSTER = """
ExplainConfig QualityConfig TracepropIOManager TracepropStore build_attribution_asset
build_attribution_quality_check
build_lineage_coverage_checks build_lineage_fuzz_check build_removal_asset source_file_assets
"""


def test_public_names_are_these_and_each_is_there_and_documented():
    for module, names in ((traceprop_engine, ENGINE), (traceprop_dagster, DAGSTER)):
        assert sorted(module.__all__) == sorted(names.split())
        for name in module.__all__:
            assert getattr(module, name).__doc__, name


def test_what_is_imported_when_it_is_used_is_what_type_checkers_see():
    source = ast.parse(Path(traceprop_engine.__file__).read_text())
    (for_types,) = [node for node in source.body if isinstance(node, ast.If)]
    seen = {name.name: node.module for node in for_types.body for name in node.names}
    lazily = traceprop_engine._MODULE_OF
    assert seen == {name: f"traceprop_engine.{module}" for name, module in lazily.items()}
    assert (
        {*lazily, "TracepropError"} == set(traceprop_engine.__all__) <= set(dir(traceprop_engine))
    )


def test_a_name_that_does_not_exist_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        traceprop_engine.nothing  # noqa: B018


def test_a_name_whose_library_is_missing_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

    monkeypatch.setattr(traceprop_engine, "import_module", missing)
    monkeypatch.delitem(vars(traceprop_engine), "from_torch", raising=False)
    with pytest.raises(traceprop_engine.errors.ExtraMissingError, match=r"dagster\[torch\]"):
        traceprop_engine.from_torch  # noqa: B018
    monkeypatch.setitem(traceprop_engine._MODULE_OF, "never_imported", "store")
    with pytest.raises(ModuleNotFoundError):
        traceprop_engine.never_imported  # noqa: B018


def test_every_error_of_both_packages_belongs_to_the_family():
    for module in (traceprop_engine.errors, traceprop_dagster.errors):
        for name, value in vars(module).items():
            if name.endswith("Error"):
                assert issubclass(value, traceprop_engine.TracepropError), name
