"""Lineage as a W3C PROV document in PROV-JSON.

Entities are source versions, dataset versions and models; activities are materializations and
their operations. A row map is a derivation. Where it is not known how rows follow from an input,
the document says ``wasInfluencedBy`` and no more. No agent is named: who ran a pipeline is not
recorded.

Names are percent-encoded, so that every dataset name is a valid local name.
"""

from collections.abc import Mapping
from urllib.parse import quote

from traceprop_engine.exports.recorded import (
    Input,
    MapFacts,
    ModelFacts,
    OpFacts,
    RecordedLineage,
    SourceFacts,
    VersionFacts,
)

Json = dict[str, object]

_PREFIXES = {
    name: f"urn:traceprop:{name}:"
    for name in ("term", "source", "dataset", "model", "activity", "relation")
}
_LARGEST_INT = 2**31 - 1


def prov_document(lineage: RecordedLineage) -> dict[str, Json]:
    """Return a PROV-JSON document as JSON values.

    Numbers are typed literals and names of types are ``xsd:QName``, as the PROV-JSON submission
    writes them.
    """
    document = _Document(lineage)
    for source in lineage.sources.values():
        document.add_source(source)
    for version in lineage.versions:
        document.add_version(version)
    return document.parts


class _Document:
    """A document that grows by one source or dataset version at a time."""

    def __init__(self, lineage: RecordedLineage) -> None:
        self.parts: dict[str, Json] = {"prefix": dict(_PREFIXES)}
        self._lineage = lineage

    def add_source(self, source: SourceFacts) -> None:
        """Add the version of a file."""
        self._add(
            "entity",
            _name("source", source.name, source.id),
            {
                "prov:type": _qname("term:SourceVersion"),
                "prov:label": source.name,
                "prov:location": source.uri,
                "term:format": source.format,
                "term:sha256": source.sha256,
                "term:nBytes": _number(source.n_bytes),
                "term:nRows": _number(source.n_rows),
            },
        )

    def add_version(self, version: VersionFacts) -> None:
        """Add a dataset version, what made it, and what it was made from."""
        entity, activity = _entity(version), _activity(version)
        self._add("entity", entity, _version_attributes(version))
        self._add("activity", activity, _activity_attributes(version))
        self._generated(version, entity)
        for number, one in enumerate(version.row_inputs):
            self._used(activity, one, number)
        for facts in version.maps:
            self._derived(version, facts)
        for op in version.ops:
            self._add_op(version, op)
        if version.model is not None:
            self._add_model(version, version.model)
        if version.predicted_by is not None:
            self._predicted(version, version.predicted_by)

    def _add_op(self, version: VersionFacts, op: OpFacts) -> None:
        name = f"{_activity(version)}/{op.ordinal}"
        self._add(
            "activity",
            name,
            {
                "prov:type": _qname("term:Operation"),
                "prov:label": op.name,
                "term:partOf": _qname(_activity(version)),
                "term:ordinal": _number(op.ordinal),
                "term:detail": op.detail,
                "term:nRowsIn": " ".join(map(str, op.n_rows_in)),
                "term:nRowsOut": _number(op.n_rows_out),
            },
        )
        for number, one in enumerate(version.inputs_of(op)):
            self._used(name, one, number)

    def _add_model(self, version: VersionFacts, model: ModelFacts) -> None:
        entity = _model(model)
        self._add(
            "entity",
            entity,
            {
                "prov:type": _qname("term:Model"),
                "prov:label": model.name,
                "term:family": model.family,
                "term:nTrainingRows": _number(model.n_rows),
                "term:converged": model.converged,
            },
        )
        self._generated(version, entity)
        self._relate(
            "wasDerivedFrom",
            entity,
            {
                "prov:generatedEntity": entity,
                "prov:usedEntity": _entity(version),
                "term:role": "training rows",
            },
        )

    def _predicted(self, version: VersionFacts, model: ModelFacts) -> None:
        entity, activity = _entity(version), _activity(version)
        used: Json = {"prov:activity": activity, "prov:entity": _model(model)}
        self._relate("used", f"{activity}/model", used | {"term:inputName": model.name})
        self._relate(
            "wasDerivedFrom",
            f"{entity}/model",
            {
                "prov:generatedEntity": entity,
                "prov:usedEntity": _model(model),
                "prov:activity": activity,
                "term:role": "model",
            },
        )

    def _generated(self, version: VersionFacts, entity: str) -> None:
        recorded = version.created_at
        self._relate(
            "wasGeneratedBy",
            entity,
            {
                "prov:entity": entity,
                "prov:activity": _activity(version),
                "prov:time": None if recorded is None else recorded.isoformat(),
            },
        )

    def _used(self, activity: str, one: Input, number: int) -> None:
        named = {"prov:activity": activity, "prov:entity": self._input(one)}
        self._relate("used", f"{activity}/{number}", named | {"term:inputName": one.name})

    def _derived(self, version: VersionFacts, facts: MapFacts) -> None:
        entity, used = _entity(version), self._input(facts.input)
        described: Json = {
            "term:rowMap": _number(facts.map_id),
            "term:role": facts.role,
            "term:kind": facts.kind,
            "term:fidelity": facts.fidelity,
            "term:nOut": _number(facts.n_out),
            "term:nIn": _number(facts.n_in),
            "term:digest": facts.digest,
            "term:statistic": facts.statistic,
            "term:column": facts.column_name,
            "term:fitted": facts.fitted,
        }
        name = f"{entity}/{facts.ordinal}"
        if facts.fidelity == "unknown":
            ends: Json = {"prov:influencee": entity, "prov:influencer": used}
            self._relate("wasInfluencedBy", name, ends | described)
            return
        ends = {
            "prov:generatedEntity": entity,
            "prov:usedEntity": used,
            "prov:activity": _activity(version),
        }
        self._relate("wasDerivedFrom", name, ends | described)

    def _input(self, one: Input) -> str:
        """Return the entity of an input; one that the store does not know has its name there."""
        if one.id in self._lineage.sources:
            return _name("source", self._lineage.sources[one.id].name, one.id)
        if one.id in self._lineage.by_id:
            return _entity(self._lineage.by_id[one.id])
        return _name(one.kind, one.name, one.id)

    def _relate(self, kind: str, of: str, values: Mapping[str, object]) -> None:
        self._add(kind, f"relation:{kind}/{quote(of, safe='/%')}", values)

    def _add(self, kind: str, name: str, values: Mapping[str, object]) -> None:
        present = {key: value for key, value in values.items() if value is not None}
        self.parts.setdefault(kind, {})[name] = present


def _version_attributes(version: VersionFacts) -> Json:
    return {
        "prov:type": _qname("term:DatasetVersion"),
        "prov:label": version.dataset,
        "term:partitionKey": version.partition_key or None,
        "term:nRows": _number(version.n_rows),
        "term:fidelity": version.fidelity,
        "term:coverage": _number(version.coverage),
        "term:reason": version.reason,
    }


def _activity_attributes(version: VersionFacts) -> Json:
    return {
        "prov:type": _qname("term:Materialization"),
        "prov:label": version.dataset,
        "term:runId": version.run_id,
        "term:codeVersion": version.code_version,
    }


def _entity(version: VersionFacts) -> str:
    return _name("dataset", version.dataset, version.id)


def _activity(version: VersionFacts) -> str:
    return _name("activity", version.dataset, version.id)


def _model(model: ModelFacts) -> str:
    return _name("model", model.name, model.id)


def _name(prefix: str, *parts: str) -> str:
    return f"{prefix}:" + "/".join(quote(part, safe="") for part in parts)


def _qname(name: str) -> Json:
    return {"$": name, "type": "xsd:QName"}


def _number(value: float) -> Json:
    if isinstance(value, float):
        return {"$": repr(value), "type": "xsd:double"}
    return {"$": str(value), "type": "xsd:int" if abs(value) <= _LARGEST_INT else "xsd:long"}
