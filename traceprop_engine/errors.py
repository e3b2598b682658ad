"""Every error this package raises, in one leaf module.

Each error takes its culprits as data and writes its own one-line message: what happened, to which
object, and what the reader can do about it.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class TracepropError(Exception):
    """Base of the family; catch this one to catch them all. The CLI prints its message alone."""


class UnknownColumnError(TracepropError):
    """A column was asked for that the table does not have."""

    def __init__(self, column: str, available: Sequence[str]) -> None:
        near = get_close_matches(column, available, n=3)
        hint = f"did you mean {_quoted(near)}?" if near else f"it has {_quoted(available)}."
        super().__init__(f"There is no column {column!r} in the table; {hint}")


class FeatureListError(TracepropError):
    """The list of features cannot describe a model."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")


class NonNumericFeatureError(TracepropError):
    """A feature holds something other than real numbers."""

    def __init__(self, column: str, dtype: str) -> None:
        super().__init__(
            f"Feature {column!r} has dtype {dtype}, but a model needs numbers; "
            "encode it (for example one-hot) or leave it out of `features`."
        )


class NonFiniteColumnError(TracepropError):
    """A feature or label holds a missing or infinite value."""

    def __init__(self, column: str, position: int, row: Any, value: object) -> None:
        label = row.item() if hasattr(row, "item") else row  # 3, not np.int64(3)
        super().__init__(
            f"Column {column!r} is {value} first at row position {position} (index {label!r}); "
            "impute the value or drop the row."
        )


class LabelClassesError(TracepropError):
    """The label's classes do not fit the kind of model."""

    def __init__(self, label: str, classes: Sequence[object], wanted: str) -> None:
        super().__init__(f"Label {label!r} has {_classes(classes)}; {wanted}.")


class UnknownClassError(TracepropError):
    """A class that the model was not trained on."""

    def __init__(self, value: object, classes: Sequence[object]) -> None:
        super().__init__(
            f"{value!r} is not a class of this model; it was trained on {_quoted(classes)}."
        )


class EmptyTableError(TracepropError):
    """A table without rows where rows are needed."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"The table has no rows, so there is nothing to {purpose}; check the steps before it."
        )


class PenaltyError(TracepropError):
    """The strength of the penalty is not a number that a penalty can have."""

    def __init__(self, l2: float) -> None:
        super().__init__(f"`l2` must be finite and at least 0, got {l2!r}.")


class SingularCurvatureError(TracepropError):
    """The training objective has no unique minimum."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(
            f"Columns {_quoted(columns)} are constant or linearly dependent (an unpenalised "
            "intercept counts as a constant column), so the model has no unique parameters; "
            "set l2 > 0 or drop one of them."
        )


class SeparableClassesError(TracepropError):
    """Without a penalty the parameters of separable classes run to infinity."""

    def __init__(self, label: str) -> None:
        super().__init__(
            f"The features separate the classes of {label!r} perfectly (in whole or in part), so "
            "without a penalty the parameters grow without bound; set l2 > 0."
        )


class TrainingStalledError(TracepropError):
    """The solver stopped before it reached the minimum."""

    def __init__(self, name: str, gradient_norm: float, tolerance: float, n_steps: int) -> None:
        super().__init__(
            f"Training {name!r} stopped after {n_steps} steps at gradient norm {gradient_norm:.3g} "
            f"(wanted {tolerance:.3g}); scale the features to similar size or raise l2."
        )


class UnsupportedEstimatorError(TracepropError):
    """A fitted estimator whose objective cannot be written exactly."""

    def __init__(self, estimator: str, reason: str, way_out: str) -> None:
        super().__init__(f"{estimator} cannot be taken over exactly: {reason}; {way_out}.")


class UnconvergedRunError(TracepropError):
    """Influence was asked of a model that is not at its minimum."""

    def __init__(self, name: str, gradient_norm: float, tolerance: float) -> None:
        super().__init__(
            f"Training run {name!r} is not at its minimum (gradient norm {gradient_norm:.3g}, "
            f"tolerance {tolerance:.3g}), where influence is defined; finish it with "
            "`run.polish()`, or pass allow_unconverged=True to accept scores off by that much."
        )


class InfluenceTargetError(TracepropError):
    """A target that this model cannot be asked for, or not in this way."""

    def __init__(self, target: str, reason: str, way_out: str) -> None:
        super().__init__(f"Target {target!r} {reason}; {way_out}.")


class QueryShapeError(TracepropError):
    """Query features whose shape or values do not fit the model."""

    def __init__(self, what: str, wanted: str, got: str) -> None:
        super().__init__(f"{what} must be {wanted}, got {got}.")


class TrainingRowError(TracepropError):
    """Rows that cannot be taken out of a training run."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"These rows cannot be taken out of the training run: {reason}.")


class RollUpError(TracepropError):
    """Scores that cannot be carried through a row map."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The scores cannot be rolled up: {reason}; {way_out}.")


def _quoted(values: Sequence[object], limit: int = 8) -> str:
    shown = ", ".join(repr(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown}, and {len(values) - limit} more"


def _classes(classes: Sequence[object]) -> str:
    if len(classes) == 1:
        return f"only one class, {classes[0]!r}"
    return f"{len(classes)} classes, {_quoted(classes)}"


class StoreNotFoundError(TracepropError):
    """There is no store in the directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"No store in {directory}: name the directory of one with --store or TRACEPROP_STORE, "
            "or create one by running a pipeline that records into it."
        )
        self.directory = directory


class StoreExistsError(TracepropError):
    """A store was to be created where something else is."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"Cannot create a store in {directory}: {reason}.")
        self.directory = directory


class StoreSchemaError(TracepropError):
    """The store was written by a newer release, or by one whose layout has no migration."""

    def __init__(self, where: Path, found: int, known: int) -> None:
        way_out = "upgrade traceprop-dagster" if found > known else "a migration step is missing"
        super().__init__(
            f"{where} has schema version {found}, this release knows version {known}: {way_out}."
        )
        self.found = found
        self.known = known


class StoreCorruptError(TracepropError):
    """A file of the log or a block is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged ({reason}): restore this file from a backup; "
            "`traceprop store verify` lists everything that is damaged."
        )
        self.path = path


class StoreIndexError(TracepropError):
    """The DuckDB index cannot be read, or does not belong to the log."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The index {path} cannot be used ({reason}): the log holds everything, "
            "run `traceprop store rebuild`."
        )
        self.path = path


class StoreBusyError(TracepropError):
    """Another process held the index for longer than the caller would wait."""

    def __init__(self, path: Path, holder: str, waited_seconds: float) -> None:
        super().__init__(
            f"{path} is held by {holder} (waited {waited_seconds:.1f} s): "
            "close it there, or try again later."
        )
        self.path = path
        self.holder = holder


class StoreConflictError(TracepropError):
    """A commit says something else under a key that an earlier commit used: it is set aside."""

    def __init__(self, commit_no: int, reason: str) -> None:
        super().__init__(
            f"Commit {commit_no} contradicts what is recorded and is set aside ({reason}): record "
            "it under another identifier; `traceprop store verify` lists what was set aside."
        )
        self.commit_no = commit_no


class StoreRowError(TracepropError):
    """A row does not fit its declared table."""

    def __init__(self, table: str, column: str | None, reason: str) -> None:
        place = table if column is None else f"{table}.{column}"
        super().__init__(f"Cannot record a row of {place}: {reason}.")
        self.table = table
        self.column = column


class StoreWriteError(TracepropError):
    """The file system refused a write; nothing half-written is left."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"Cannot write {path} ({reason}): free space or fix the permissions, then try again; "
            "what was recorded before is safe."
        )
        self.path = path


class StoreQueryError(TracepropError):
    """DuckDB refused a query."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The query failed: {reason} (`SHOW TABLES` lists the tables, `DESCRIBE t` a table)."
        )


class BlockNotFoundError(TracepropError):
    """A block is referred to that is not in the store."""

    def __init__(self, block: str, directory: Path) -> None:
        super().__init__(
            f"Block {block} is not in {directory}: put it before you refer to it, or restore it "
            "from a backup."
        )
        self.block = block


class ModelSizeError(TracepropError):
    """A model with too many parameters for the exact method."""

    def __init__(self, n_parameters: int, limit: int) -> None:
        super().__init__(
            f"The model would have {n_parameters:,} parameters, and the exact method stops at "
            f"{limit:,}; use fewer features, or check that the label is one of few classes."
        )


class SourceError(TracepropError):
    """A source file cannot be read as asked; every error of `traceprop_engine.sources` is one."""

    def __init__(self, where: Path | str, problem: str, way_out: str) -> None:
        super().__init__(f"{where}: {problem}; {way_out}.")


class SourceNotFoundError(SourceError):
    """There is no file at the path."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "there is no such file", "check the path and the working directory")


class SourceUnreadableError(SourceError):
    """There is something at the path, but no regular file that may be read."""

    def __init__(self, path: Path, reason: str, way_out: str) -> None:
        super().__init__(path, f"cannot be read ({reason})", way_out)


class SourceOptionError(SourceError):
    """An argument does not fit the source: a format, an encoding, a delimiter, a read option."""


class EmptySourceError(SourceError):
    """The file holds no record, and not even a header that would name the columns."""

    def __init__(self, path: Path, wanted: str) -> None:
        super().__init__(path, "the file is empty", f"it needs {wanted}")


class NotTextError(SourceError):
    """Bytes of the file are no text in the encoding it was read with."""

    def __init__(self, path: Path, line: int, offset: int, reason: str) -> None:
        super().__init__(
            f"{path}, line {line}",
            f"{reason} at byte offset {offset}",
            "name the file's encoding, such as encoding='latin-1', or convert it to UTF-8",
        )
        self.line = line
        self.offset = offset


class RaggedRowError(SourceError):
    """A record of a CSV file has more or fewer fields than the header."""

    def __init__(self, path: Path, line: int, n_fields: int, n_columns: int) -> None:
        super().__init__(
            f"{path}, line {line}",
            f"the record has {n_fields} fields where the header has {n_columns}",
            "quote fields that hold a delimiter or line break, or pass the delimiter= of the file",
        )
        self.line = line
        self.n_fields = n_fields
        self.n_columns = n_columns


class UnterminatedQuoteError(SourceError):
    """A quoted field of a CSV file never ends."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(
            f"{path}, line {line}",
            "the quoted field that begins here is never closed",
            'close it, and write a quote inside a quoted field as ""',
        )
        self.line = line


class SourceColumnsError(SourceError):
    """The column names of a source cannot be told apart, or one has no name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem, "give every column a name of its own")


class JsonLineError(SourceError):
    """A line of a JSON Lines file is not one JSON object."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, line {line}", problem, "write one JSON object on each line")
        self.line = line


class CorruptSourceError(SourceError):
    """A gzip or Parquet file is damaged, or is no such file."""

    def __init__(self, path: Path, container: str, reason: str) -> None:
        super().__init__(
            path, f"is no sound {container} file ({reason})", "fetch or write the file again"
        )


class SourceParseError(SourceError):
    """The library that reads the values refused the file or the read options."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, f"its values cannot be read ({reason})", "change the read_options")


class SourceChangedError(SourceError):
    """The file no longer holds the bytes that were read, or that a source version names."""

    def __init__(self, path: Path, what: str, way_out: str) -> None:
        super().__init__(path, what, way_out)


class SourceRowError(SourceError):
    """A record number is outside the source version."""

    def __init__(self, path: Path, row: object, n_rows: int) -> None:
        super().__init__(
            path, f"there is no record {row!r}", f"the version has {n_rows} records, counted from 0"
        )


class SourceRecordError(TracepropError):
    """A stored source version or record index does not say what one must say."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"This is no source version: {problem}; scan the source file again.")


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


class StoreLogError(TracepropError):
    """A commit that the index knows is missing in the log, or is another one there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is missing or another commit, although the index knows it: restore the log "
            "from a backup, or accept the loss with `traceprop store rebuild`."
        )
        self.path = path


class RowPredicateError(TracepropError):
    """A condition that cannot choose rows of the table."""

    def __init__(self, predicate: str, reason: str, way_out: str) -> None:
        super().__init__(f"The condition {predicate!r} cannot be used: {reason}; {way_out}.")


class RowMapError(TracepropError):
    """Numbers that do not describe a row map, or a question that a row map cannot answer."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}; {way_out}.")


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
            way_out = f"it knows {_quoted(known)}" if known else "no source was recorded in it"
        else:
            what = f"version {version!r} of {what}"
            way_out = f"it has {_quoted(known)}" if known else "it has none of that source"
        super().__init__(f"The store holds no {what}; {way_out}.")


class SourceVersionAmbiguousError(TracepropError):
    """A name or prefix stands for several sources or versions."""

    def __init__(self, given: str, found: Sequence[str], way_out: str) -> None:
        super().__init__(f"{given!r} can mean {_quoted(found)}; {way_out}.")


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


class PandasInternalsError(TracepropError):
    """A release of pandas whose internals are not those that capture watches."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Rows cannot be followed through this pandas ({reason}); install pandas>=3.0,<3.2, or "
            "declare the rows of a result with `record`."
        )


class CaptureError(TracepropError):
    """A capture session was used in a way that it cannot follow."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")


class LineageContradictionError(TracepropError):
    """The values of a result contradict the row map that was captured for it."""

    def __init__(self, column: str, input_name: str, row: int, claimed: int, found: int) -> None:
        super().__init__(
            f"Column {column!r} contradicts the row map of input {input_name!r}: output row {row} "
            f"is mapped to input row {claimed}, but its value is that of input row {found}. Values "
            "were moved under a fixed index; move whole rows (sort_values, sample, shift), give "
            "the moved column another name, or declare the rows with `record`."
        )
        self.column = column
        self.input_name = input_name
