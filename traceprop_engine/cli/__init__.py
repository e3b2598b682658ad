"""The command `traceprop`."""

from traceprop_engine.cli.app import main

__all__ = ["main"]
