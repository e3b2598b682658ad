"""The demo on generated data: run for the tests, and computed once more without the package.

What a row of each dataset is made from is found here by reading the files' lines in a loop. Only
the pipeline's own functions are shared with the product, as plain pandas.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dagster as dg
import pandas as pd

from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.assembly import demo_definitions
from traceprop_dagster.demo.data import write_demo_data
from traceprop_engine.store import Store

SOURCES = ("patients", "labs", "events")
_OUTCOMES = {"MI", "afib", "ang/isc", "cardiac arrest", "heart failure", "stroke"}
_DAYS = 5 * 365
_EVERYTHING = ("patients", "labs", "outcomes", "history")
PARTS = {
    "cohort": ("patients", "outcomes"),
    "lab_features": ("labs",),
    "history_features": ("history",),
    "training_table": _EVERYTHING,
    "risk_model": _EVERYTHING,
    "predictions": _EVERYTHING,
}
"""Which of a patient's lines each dataset of the demo is made from."""


@dataclass(frozen=True)
class SourceText:
    """A source file as bytes and as lines, the header first."""

    path: Path

    @cached_property
    def data(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def lines(self) -> list[str]:
        with self.path.open(newline="", encoding="utf-8") as file:
            return file.read().removesuffix("\n").split("\n")

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def numbers_of(self, patient: int) -> list[int]:
        """Line numbers, from 1, of a patient's records."""
        return [n for n, line in self.numbered() if line.split(",")[0] == str(patient)]

    def numbered(self) -> list[tuple[int, str]]:
        return list(enumerate(self.lines[1:], start=2))

    def frame_without(self, numbers: set[int] | frozenset[int] = frozenset()) -> pd.DataFrame:
        """What pandas reads from the file once lines were deleted from it."""
        kept = [line for n, line in enumerate(self.lines, start=1) if n not in numbers]
        return pd.read_csv(io.StringIO("\n".join(kept) + "\n"))


@dataclass(frozen=True)
class DemoRun:
    """A folder in which the demo ran."""

    root: Path

    @property
    def store_path(self) -> Path:
        return self.root / "store"

    @cached_property
    def store(self) -> Store:
        return Store.open(self.store_path)

    @cached_property
    def files(self) -> dict[str, SourceText]:
        return {name: SourceText(self.root / "data" / f"{name}.csv") for name in SOURCES}

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table of the demo, by plain pandas; of the model its training rows."""
        return tables({name: file.frame_without() for name, file in self.files.items()})

    def tables_without(self, deleted: Mapping[str, set[int]]) -> dict[str, pd.DataFrame]:
        """The tables that come of the files without some of their lines."""
        return tables(
            {
                name: file.frame_without(deleted.get(name, set()))
                for name, file in self.files.items()
            }
        )

    def lines_of(self, patient: int) -> dict[str, set[int]]:
        """All lines of a patient, of each file."""
        return {name: set(file.numbers_of(patient)) for name, file in self.files.items()}

    @cached_property
    def lines_used(self) -> dict[int, dict[str, set[tuple[str, int]]]]:
        """For each patient the lines that each part of the pipeline uses."""
        used = defaultdict(lambda: {part: set() for part in _EVERYTHING})
        for number, line in self.files["patients"].numbered():
            used[_patient(line)]["patients"].add(("patients", number))
        seen = set()
        for number, line in self.files["labs"].numbered():
            if -_DAYS < int(line.split(",")[1]) <= 0 and line not in seen:
                seen.add(line)
                used[_patient(line)]["labs"].add(("labs", number))
        for number, line in self.files["events"].numbered():
            _, days, event = line.split(",")
            if int(days) <= 0:
                used[_patient(line)]["history"].add(("events", number))
            elif int(days) <= _DAYS and event in _OUTCOMES:
                used[_patient(line)]["outcomes"].add(("events", number))
        return dict(used)

    def lines_behind(self, dataset: str, patient: int) -> set[tuple[str, int]]:
        """The lines, by source and number, that a patient's row of a dataset is made from."""
        return set().union(*(self.lines_used[patient][part] for part in PARTS[dataset]))


def _patient(line: str) -> int:
    return int(line.split(",", maxsplit=1)[0])


def tables(files: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Every table of the demo, and the joined table before it is scaled."""
    made = {
        "cohort": pipeline.cohort(files["patients"], files["events"]),
        "lab_features": pipeline.lab_features(files["labs"]),
        "history_features": pipeline.history_features(files["events"]),
    }
    joined = pipeline.joined_table(**made)
    table = pipeline.training_table(**made)
    train, test = pipeline.split(table)
    return made | {
        "joined_table": joined,
        "training_table": table,
        "risk_model": train.reset_index(drop=True),
        "predictions": test.reset_index(drop=True),
    }


def write_data(root: Path) -> Path:
    """Write the generated files where the demo looks for them."""
    write_demo_data(root / "data", "generated")
    return root


def run_demo(root: Path) -> DemoRun:
    """Write the files and run the demo's job in this process."""
    write_data(root)
    job = demo_definitions(root, nets=False).resolve_job_def("demo")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    return DemoRun(root)
