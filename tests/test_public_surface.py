"""The public names, spelled out: a change here is a change for users."""

import traceprop_dagster.errors
import traceprop_engine.errors

ENGINE = """
Affected AttributionScores CaptureSession CapturedLineage Counterfactual Explanation
InfluenceFunction InputRef Materialization Predictions Removal RowMap SourceVersion Store Trace
TracepropError TrainingRun affected_by explain from_estimator load_predictions read_records
read_source record_dataset record_predictions record_source record_training_run remove_rows
scan_source trace_back train_linear train_logistic train_softmax what_if_removed
"""
DAGSTER = """
ExplainConfig TracepropIOManager TracepropStore build_attribution_asset
build_lineage_coverage_checks build_removal_asset source_file_assets
"""


def test_public_names_are_these_and_each_is_there_and_documented():
    for module, names in ((traceprop_engine, ENGINE), (traceprop_dagster, DAGSTER)):
        assert sorted(module.__all__) == sorted(names.split())
        for name in module.__all__:
            assert getattr(module, name).__doc__, name


def test_every_error_of_both_packages_belongs_to_the_family():
    for module in (traceprop_engine.errors, traceprop_dagster.errors):
        for name, value in vars(module).items():
            if name.endswith("Error"):
                assert issubclass(value, traceprop_engine.TracepropError), name
