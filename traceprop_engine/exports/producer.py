"""Who wrote an export."""

from importlib.metadata import PackageNotFoundError, version

NAME = "traceprop-dagster"
"""The distribution that this package comes with."""


def software_version() -> str:
    """Return the version of this package; ``"0"`` when it runs from its sources."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "0"
