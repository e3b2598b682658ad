"""The PROV document is one that the `prov` library reads, and writes again as it was."""

import json
import warnings
from urllib.parse import unquote

import pytest
from prov.model import ProvDerivation, ProvDocument, ProvEntity, ProvInfluence, ProvUsage

from tests.hostile_names import NAMES, record_hostile_names
from tests.recorded_store import record_pipeline
from traceprop_engine.exports import export_lineage, prov_document, read_lineage
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import InputRef, Materialization, record_lineage


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def text(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "lineage.json"
    export_lineage(recorded.store, out, format="prov")
    return out.read_text()


@pytest.fixture(scope="module")
def document(text):
    return read(text)


def read(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ProvDocument.deserialize(content=text, format="json")


def canonical(text):
    return json.dumps(json.loads(text), sort_keys=True)


def round_trip(text):
    document = read(text)
    again = document.serialize(format="json")
    assert read(again) == document
    assert canonical(again) == canonical(text)
    return document


def labels(document, of):
    """Return the label of each entity, and of each activity, by its name."""
    return {
        str(r.identifier): next(iter(r.get_attribute("prov:label")))
        for r in document.get_records(of)
    }


def test_the_round_trip_changes_nothing(text):
    assert round_trip(text).get_records()


@pytest.mark.parametrize("with_details", [False, True])
def test_the_round_trip_changes_nothing_for_any_name(tmp_path, with_details):
    lineage = read_lineage(record_hostile_names(tmp_path), with_details=with_details)
    document = round_trip(json.dumps(prov_document(lineage)))
    assert list(labels(document, ProvEntity).values()) == list(NAMES)
    encoded = [name.partition(":")[2].partition("/")[0] for name in labels(document, ProvEntity)]
    assert list(map(unquote, encoded)) == list(NAMES)
    assert len(list(document.get_records(ProvDerivation))) == len(NAMES) - 1
    used = [record.args[1] for record in document.get_records(ProvUsage)]
    assert set(map(str, used)) == set(labels(document, ProvEntity)) - {str(_last(document))}


def _last(document):
    return list(document.get_records(ProvEntity))[-1].identifier


def test_the_round_trip_changes_nothing_for_awkward_numbers(tmp_path):
    store = record_hostile_names(tmp_path)
    n_rows = 3_000_000_000
    made = Materialization("large", {"in": InputRef("source", "sv")}, "run")
    record_lineage(store, made, CapturedLineage(30_000, {"in": RowMap.range(0, 1, 30_000, n_rows)}))
    made = Materialization("a third", {"in": InputRef("source", "sv")}, "run")
    record_lineage(store, made, CapturedLineage(3, {"in": RowMap.gather([0, -1, -1], n_rows)}))
    text = json.dumps(prov_document(read_lineage(store)))
    assert '"xsd:long"' in text
    assert '"0.3333333333333333"' in text
    round_trip(text)


def test_derivations_lead_from_the_predictions_to_every_file(document):
    edges = {}
    for record in document.get_records(ProvDerivation):
        edges.setdefault(str(record.args[0]), set()).add(str(record.args[1]))
    (start,) = [name for name in edges if name.startswith("dataset:predictions/")]
    reached, waiting = set(), [start]
    while waiting:
        here = waiting.pop()
        reached.add(here)
        waiting += edges.get(here, set()) - reached
    names = sorted(name.partition("/")[0] for name in reached)
    assert names == [
        "dataset:predictions",
        "dataset:risk_model",
        "dataset:training_table",
        "dataset:visit_features",
        "model:risk",
        "source:areas",
        "source:people",
        "source:visits",
    ]


def test_a_derivation_says_how_rows_follow(recorded, document):
    rows = recorded.store.query("SELECT * FROM row_map WHERE fidelity <> 'unknown'").to_pylist()
    expected = sorted((row["map_id"], row["kind"], row["role"], row["n_in"]) for row in rows)
    told = []
    for record in document.get_records(ProvDerivation):
        said = {str(key): value for key, value in record.attributes}
        if "term:rowMap" in said:
            names = ("term:rowMap", "term:kind", "term:role", "term:nIn")
            told.append(tuple(said[name] for name in names))
    assert sorted(told) == expected


def test_lost_rows_are_an_influence_and_no_derivation(document):
    influences = [r for r in document.get_records() if r.get_type() == ProvInfluence._prov_type]
    (record,) = influences
    assert str(record.args[0]).startswith("dataset:mystery/")
    assert str(record.args[1]).startswith("source:people/")
    derived = {str(record.args[0]) for record in document.get_records(ProvDerivation)}
    assert not any(name.startswith("dataset:mystery/") for name in derived)


def test_every_end_of_a_relation_is_described(document):
    known = {str(record.identifier) for record in document.get_records() if record.is_element()}
    for record in document.get_records():
        if record.is_relation():
            assert {str(end) for end in record.args[:2]} <= known


def test_nobody_is_named(document):
    assert {record.get_type().localpart for record in document.get_records()} == {
        "Entity",
        "Activity",
        "Usage",
        "Generation",
        "Derivation",
        "Influence",
    }
