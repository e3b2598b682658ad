"""What an answer consists of. All values are frozen and can be written as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SourceLine:
    """One source row, with the very text of its record.

    Attributes:
        source: Name of the source.
        uri: Path of the file.
        sha256: Digest of the file's bytes when it was read.
        row: Record number in the file, counted from 0 without the header.
        line_number: Line on which the record begins, counted from 1; ``None`` for Parquet.
        text: The record as it stands in the file; ``None`` when it cannot be read any more.
        unavailable: Why ``text`` is ``None``.
    """

    source: str
    uri: str
    sha256: str
    row: int
    line_number: int | None
    text: str | None
    unavailable: str | None = None


@dataclass(frozen=True)
class Step:
    """One dataset on the way from source rows to the model, with the operations that made it."""

    dataset: str
    dataset_version_id: str
    n_rows: int
    operations: tuple[str, ...]


@dataclass(frozen=True)
class InfluentialRow:
    """One training row that moved the prediction.

    Attributes:
        rank: 1 for the strongest, by absolute influence.
        training_row: Row number in the training run.
        influence: The prediction with the row minus the prediction without it, in ``unit`` of the
            explanation; positive when the row raises it. An estimate, not a refit.
        lines: The source rows that the training row was made from.
        steps: The datasets on the way.
        unknown: Where the way was lost; empty when every step is known.
    """

    rank: int
    training_row: int
    influence: float
    lines: tuple[SourceLine, ...]
    steps: tuple[Step, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedPrediction:
    """The prediction in question.

    Attributes:
        dataset: Name of the dataset of predictions.
        dataset_version_id: The version it stands in.
        row: Row number in that version.
        values: The columns of the row.
        lines: The source rows that the model's input was made from.
    """

    dataset: str
    dataset_version_id: str
    row: int
    values: Mapping[str, Any]
    lines: tuple[SourceLine, ...]


@dataclass(frozen=True)
class Explanation:
    """Which rows moved a prediction most, and where they come from.

    Attributes:
        prediction: What is explained.
        training_run_id: The model that made it.
        model: The name and family of the model.
        n_training_rows: Rows that the model was trained on.
        target: The output that is explained, such as ``"logit"``.
        unit: The unit of the influences, such as ``"log-odds"``.
        method: How the influences were computed.
        rows: The most influential training rows, strongest first.
        statistics: Statistics that the rows on the way depend on, one sentence each.
    """

    prediction: ExplainedPrediction
    training_run_id: str
    model: str
    n_training_rows: int
    target: str
    unit: str
    method: str
    rows: tuple[InfluentialRow, ...]
    statistics: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as values that JSON can hold."""
        return asdict(self)
