"""Row-level lineage, influence and evidence for machine-learning pipelines. No Dagster in it."""
