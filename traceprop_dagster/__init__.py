"""Traceprop in Dagster: assets whose rows can be traced."""
