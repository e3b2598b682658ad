"""Errors of questions: something was asked for that is not there."""

from collections.abc import Sequence
from difflib import get_close_matches

from traceprop_engine.errors.base import TracepropError, quoted


class DatasetNotFoundError(TracepropError):
    """The store holds no version of a dataset or source."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        near = get_close_matches(name, known, n=3) or list(known[:10])
        listed = f"it knows {', '.join(near)}" if near else "nothing is recorded yet"
        super().__init__(f"The store has no dataset or source '{name}'; {listed}.")


class NoRowsKeptError(TracepropError):
    """A dataset version has no table of rows in the store."""

    def __init__(self, dataset: str) -> None:
        super().__init__(
            f"'{dataset}' has no table in the store: it is a model, or was recorded without its "
            "rows; ask for the training run, or read the rows where they are kept."
        )


class RowNotFoundError(TracepropError):
    """A row number is outside its dataset."""

    def __init__(self, dataset: str, row: int, n_rows: int) -> None:
        range_ = f"it has rows 0 to {n_rows - 1}" if n_rows else "it has no rows"
        super().__init__(f"'{dataset}' has no row {row}; {range_}.")


class TrainingRunNotFoundError(TracepropError):
    """The store holds no training run of that identifier."""

    def __init__(self, identifier: str) -> None:
        super().__init__(
            f"'{identifier}' is no training run of this store; materialize the model's asset first."
        )


class NoPredictionsError(TracepropError):
    """A dataset was not recorded as predictions of a training run."""

    def __init__(self, dataset: str | None) -> None:
        what = "The store holds no predictions" if dataset is None else f"'{dataset}' holds none"
        super().__init__(
            f"{what}; record what `TrainingRun.predict` returns, then it can be explained."
        )


class NoRowChosenError(TracepropError):
    """A row number or predicate does not choose exactly one prediction."""

    def __init__(self, dataset: str, where: str | None, n_matches: int) -> None:
        if where is None:
            message = f"No row of '{dataset}' is chosen; give a row number or a predicate."
        else:
            message = f"{n_matches} rows of '{dataset}' match {where!r}; choose one by its number."
        super().__init__(message)


class RowPredicateError(TracepropError):
    """A condition that cannot choose rows of the table."""

    def __init__(self, predicate: str, reason: str, way_out: str) -> None:
        super().__init__(f"The condition {predicate!r} cannot be used: {reason}; {way_out}.")


class CommandLoadError(TracepropError):
    """A subcommand of another package cannot be imported."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(
            f"The command {command!r} cannot be loaded ({reason}): install what it needs, or "
            "upgrade the package that offers it."
        )


class SourceVersionNotFoundError(TracepropError):
    """The store holds no such source, or no such version of it."""

    def __init__(self, source: str, version: str | None, known: Sequence[str]) -> None:
        what = f"source {source!r}"
        if version is None:
            way_out = f"it knows {quoted(known)}" if known else "no source was recorded in it"
        else:
            what = f"version {version!r} of {what}"
            way_out = f"it has {quoted(known)}" if known else "it has none of that source"
        super().__init__(f"The store holds no {what}; {way_out}.")


class SourceVersionAmbiguousError(TracepropError):
    """A name or prefix stands for several sources or versions."""

    def __init__(self, given: str, found: Sequence[str], way_out: str) -> None:
        super().__init__(f"{given!r} can mean {quoted(found)}; {way_out}.")


class SourceLineError(TracepropError):
    """A line of a source that belongs to no record."""

    def __init__(self, uri: str, line: int, reason: str) -> None:
        super().__init__(
            f"{uri}, line {line}: {reason}; give the line of a record, or its number with --row."
        )


class NoMatchingRowError(TracepropError):
    """A condition that holds for no row."""

    def __init__(self, what: str, predicate: str) -> None:
        super().__init__(f"No row of {what} matches {predicate!r}; check the condition.")


class PortUnavailableError(TracepropError):
    """The address to serve pages at cannot be used."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"Cannot serve at {host}:{port} ({reason}): choose another port with --port."
        )


class PageNotFoundError(TracepropError):
    """An address that no page has."""

    def __init__(self, address: str) -> None:
        super().__init__(f"There is no page {address!r}; the start page / leads to all there are.")


class NumberSizeError(TracepropError):
    """A column whose numbers are so large or small that their squares leave the range of floats."""

    def __init__(self, column: str, size: float) -> None:
        super().__init__(
            f"Column {column!r} holds numbers as {'large' if size > 1 else 'small'} as {size:.3g}, "
            "whose squares a float cannot hold; give it in another unit."
        )


class OnlySourceVersionError(TracepropError):
    """The previous version of a source that has been recorded once."""

    def __init__(self, source: str, version: str) -> None:
        super().__init__(
            f"Source {source!r} has one recorded version, {version}, so there is no previous one; "
            "record it again when the file has changed, in Dagster by materializing an asset that "
            "reads it."
        )
