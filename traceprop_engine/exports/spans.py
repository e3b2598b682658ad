"""Dataset versions and their operations as OpenTelemetry spans.

A trace is a run, a span is a dataset version, its children are its operations, and links lead to
the spans of the dataset versions that it was made from. Identifiers are digests: exporting twice
gives the same spans.

Nobody wrote down when an operation ran. Every span starts and ends when its dataset version was
recorded, so durations are zero, and the attribute ``traceprop.time`` says so.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from traceprop_engine.exports.recorded import OpFacts, RecordedLineage, VersionFacts

SCOPE = "traceprop"
SERVICE = "traceprop"
TIME = "when the dataset version was recorded; operations have no times of their own"

Value = str | bool | int | float | tuple[str, ...] | tuple[int, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SpanAddress:
    """What identifies a span: 16 and 8 bytes, in hexadecimal digits."""

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class LineageSpan:
    """One span.

    Attributes:
        parent_id: The span that it is part of; empty for a dataset version.
        time_unix_nano: Its start and its end, in nanoseconds since 1970.
    """

    address: SpanAddress
    parent_id: str
    name: str
    time_unix_nano: int
    attributes: Mapping[str, Value]
    links: tuple[SpanAddress, ...] = field(default=())


def traces_of(lineage: RecordedLineage) -> Iterator[list[LineageSpan]]:
    """Return the spans of one run after the other, in the order of their first commits.

    Raises:
        ExportTimeError: A dataset version was recorded without a time.
    """
    runs: dict[str, list[VersionFacts]] = {}
    for version in lineage.versions:
        runs.setdefault(version.run_id, []).append(version)
    for versions in runs.values():
        yield [span for version in versions for span in _spans(lineage, version)]


def _spans(lineage: RecordedLineage, version: VersionFacts) -> Iterator[LineageSpan]:
    address = _address(version)
    made_from = [lineage.by_id[one.id] for one in version.inputs if one.id in lineage.by_id]
    yield LineageSpan(
        address=address,
        parent_id="",
        name=version.dataset,
        time_unix_nano=_nanoseconds(version),
        attributes=_present(_version_attributes(version)),
        links=tuple(map(_address, made_from)),
    )
    for op in version.ops:
        yield LineageSpan(
            address=SpanAddress(address.trace_id, _digits(8, "op", version.id, str(op.ordinal))),
            parent_id=address.span_id,
            name=op.name,
            time_unix_nano=_nanoseconds(version),
            attributes=_present(_op_attributes(version, op)),
        )


def _version_attributes(version: VersionFacts) -> dict[str, Value | None]:
    model = version.model
    return {
        "traceprop.time": TIME,
        "traceprop.dataset": version.dataset,
        "traceprop.dataset_version_id": version.id,
        "traceprop.partition_key": version.partition_key or None,
        "traceprop.run_id": version.run_id,
        "traceprop.code_version": version.code_version,
        "traceprop.commit_no": version.commit_no,
        "traceprop.inputs": tuple(one.name for one in version.inputs),
        "traceprop.n_rows": version.n_rows,
        "traceprop.fidelity": version.fidelity,
        "traceprop.coverage": version.coverage,
        "traceprop.reason": version.reason,
        "traceprop.model": None if model is None else model.name,
        "traceprop.training_run_id": None if model is None else model.id,
    }


def _op_attributes(version: VersionFacts, op: OpFacts) -> dict[str, Value | None]:
    return {
        "traceprop.time": TIME,
        "traceprop.dataset": version.dataset,
        "traceprop.op": op.name,
        "traceprop.ordinal": op.ordinal,
        "traceprop.detail": op.detail,
        "traceprop.inputs": op.inputs,
        "traceprop.n_rows_in": op.n_rows_in,
        "traceprop.n_rows_out": op.n_rows_out,
        "traceprop.fidelity": version.fidelity,
        "traceprop.coverage": version.coverage,
    }


def _present(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}


def _address(version: VersionFacts) -> SpanAddress:
    return SpanAddress(_digits(16, "run", version.run_id), _digits(8, "dataset", version.id))


def _digits(n_bytes: int, *names: str) -> str:
    """Return a digest of ``names`` in ``n_bytes``; zero, which is no identifier, has no chance."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[: 2 * n_bytes]


def _nanoseconds(version: VersionFacts) -> int:
    return (version.recorded_at - _EPOCH) // timedelta(microseconds=1) * 1000
