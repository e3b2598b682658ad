"""What `dagster dev` shows here: the demo pipeline on hospital data."""

from traceprop_dagster.demo.definitions import defs

__all__ = ["defs"]
