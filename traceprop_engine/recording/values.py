"""What is recorded, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from traceprop_engine.errors import NetRemovalError
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.training import TrainingRun

InputKind = Literal["source", "dataset"]


@dataclass(frozen=True)
class InputRef:
    """What an input of a dataset version was: a source version or another dataset version.

    Attributes:
        kind: Which of the two.
        id: Its identifier.
        columns: Names of its columns, for column lineage.
    """

    kind: InputKind
    id: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Materialization:
    """Who writes a dataset version, and from what.

    Attributes:
        dataset: Name of the dataset; in Dagster the asset key.
        inputs: What each input named in the lineage was.
        run_id: Identifier of the run, such as Dagster's.
        partition_key: The partition that is written; empty for an unpartitioned dataset.
        code_version: The version of the code that its author declared, if any.
    """

    dataset: str
    inputs: Mapping[str, InputRef]
    run_id: str
    partition_key: str = ""
    code_version: str | None = None


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A training run that a store holds.

    Attributes:
        id: Identifier of the training run.
        dataset_version_id: The dataset version whose rows are the training rows.
        run: The run itself: a convex model, whose index numbers the training rows, or a net.
    """

    id: str
    dataset_version_id: str
    run: TrainingRun | StoredNet

    @property
    def convex(self) -> TrainingRun:
        """The convex model.

        Raises:
            NetRemovalError: It is a net, for which there is no such thing as its minimum.
        """
        if isinstance(self.run, StoredNet):
            raise NetRemovalError(self.run.name)
        return self.run


@dataclass(frozen=True)
class DatasetVersion:
    """The rows that one materialization wrote, as the catalogue knows them."""

    id: str
    dataset: str
    run_id: str
    n_rows: int
    fidelity: str
    coverage: float
    reason: str | None
    content_block: str | None
    is_training_run: bool
    columns: tuple[str, ...]
    commit_no: int
