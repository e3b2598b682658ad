"""Row identity over time: real files in two versions, the secret, and what is recorded."""

import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import (
    FingerprintsUnavailableError,
    KeyColumnsError,
    ProjectSecretError,
    RepeatedColumnError,
    SourceChangedError,
    TooManyRowsError,
    UnknownValueKindError,
)
from traceprop_engine.identity import (
    fingerprint_source,
    fingerprints,
    match_versions,
    project_secret,
    row_fingerprints,
)
from traceprop_engine.recording import load_fingerprints, load_source, record_source, write
from traceprop_engine.sources import iter_record_values, read_records, read_source, scan_source
from traceprop_engine.store import Store
from traceprop_engine.store.schema import SCHEMA, SCHEMA_VERSION

SECRET = b"a secret of the tests, 32 bytes!"
GOLDEN = Path(__file__).parent / "golden" / "store_v1"
N = 300


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def people():
    """Return rows with texts that need quotes, missing values, and numbers of both kinds."""
    rng = np.random.default_rng(4)
    notes = ['moved, "twice"\nsee file', "plain", "Zürich 東京", None]
    return pd.DataFrame(
        {
            "note": [notes[i % 4] for i in range(N)],
            "no": 10_000 + np.arange(N),
            "age": rng.normal(50, 9, N).round(1),
            "visits": rng.integers(0, 4, N),
        }
    )


def later(frame):
    """Return the next version: rows 5 to 9 and 40 gone, 3 edited, 2 new, the last 20 in front.

    The index holds the old row number, -1 for what is new: the planted identity.
    """
    new = frame.drop(index=[5, 6, 7, 8, 9, 40])
    new.loc[[50, 60, 250], "age"] = 99.5
    added = pd.DataFrame(
        {"note": ["new", None], "no": [1, 2], "age": [1.0, 2.5], "visits": [0, 1]}, index=[-1, -1]
    )
    return pd.concat([new.iloc[-20:], added, new.iloc[:-20]])


def save(frame, path):
    frame = frame.reset_index(drop=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        rows = [
            {key: value for key, value in row.items() if not pd.isna(value)}
            for row in frame.to_dict("records")
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        text = frame.to_csv(index=False)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_a_file_that_is_read_again_matches_row_by_row(tmp_path, store, name):
    old_frame, path = people(), tmp_path / name
    new_frame = later(old_frame)
    save(old_frame, path)
    old, _ = read_source(path)
    record_source(store, old, key_columns=["no"])
    save(new_frame, path)
    new, values = read_source(path)
    record_source(store, new)
    planted = new_frame.index.to_numpy()

    match = match_versions(*(load_fingerprints(store, version) for version in (old, new)))
    changed = np.isin(planted, [50, 60, 250])
    assert match.old_of_new.tolist() == np.where(changed, -1, planted).tolist()
    assert match.gone.tolist() == [5, 6, 7, 8, 9, 40, 50, 60, 250]
    assert len(match.moved) == 20

    keyed = [load_fingerprints(store, version, key_columns=["no"]) for version in (old, new)]
    match = match_versions(*keyed, key_columns=["no"])
    assert match.old_of_new.tolist() == planted.tolist()
    assert match.edited.tolist() == np.flatnonzero(changed).tolist()
    assert (match.counts.gone, match.counts.new, match.counts.edited) == (6, 2, 3)
    assert match.row_map.backward([0]).tolist() == [N - 20]
    # The record of the new file is the one that the frame has at this row.
    (record,) = read_records(new, [int(match.edited[0])])
    assert "99.5" in record.text
    assert values["age"][match.edited[0]] == 99.5


def test_one_odd_text_in_a_column_changes_no_other_fingerprint(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,zip\n1,007\n2,1.50\n3,\n4,NA\n")
    old = fingerprint_source(scan_source(path), SECRET)
    path.write_text("id,zip\n1,007\n2,1.50\n3,\n4,NA\n5,unknown\n")
    _, frame = read_source(path)
    assert frame["zip"].dtype != np.float64  # pandas reads all of the column otherwise now
    new = fingerprint_source(scan_source(path), SECRET)
    assert match_versions(old, new).old_of_new.tolist() == [0, 1, 2, 3, -1]


def test_a_whole_number_that_was_exported_as_a_float_is_the_same(tmp_path):
    prints = []
    for text in ("id,n\n1,5\n2,6\n", "id,n\n1,5.0\n2,6.0\n3,\n"):
        (tmp_path / "a.csv").write_text(text)
        prints.append(fingerprint_source(scan_source(tmp_path / "a.csv"), SECRET))
    assert match_versions(*prints).old_of_new.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a,b\n1,x\n2,y\n", ("a",)),
        ("a,b\n1,x\n1,y\n", ("b",)),
        ("a,b\n1,x\n,y\n", ("b",)),
        ("a,b\n1,x\n1,x\n", ()),
        ("a,b\n", ()),
    ],
)
def test_the_key_is_the_first_column_that_tells_rows_apart(tmp_path, text, key):
    (tmp_path / "a.csv").write_text(text)
    found = fingerprint_source(scan_source(tmp_path / "a.csv"), SECRET)
    assert found.key_columns == key
    assert found.columns == ("a", "b")
    assert found.n_rows == text.count("\n") - 1


def test_a_column_that_repeats_only_late_in_the_file_is_no_key(tmp_path):
    n = 70_000  # more than one chunk
    ids = [*range(n), 0]
    (tmp_path / "a.csv").write_text("id\n" + "\n".join(map(str, ids)) + "\n")
    version = scan_source(tmp_path / "a.csv")
    assert len(list(iter_record_values(version))) > 1
    found = fingerprint_source(version, SECRET)
    assert (found.key_columns, found.keys, found.n_rows) == ((), None, n + 1)
    assert found.occurrences[-1] == 1


def test_records_far_apart_or_without_any_column_are_read_in_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffa,b\r\n\r\n1,x\r\n   \r\n2,"y\nz"\r3,w'.encode())
    (chunk,) = iter_record_values(scan_source(path))
    assert [c.to_pylist() for c in chunk.values()] == [["1", "2", "3"], ["x", "y\nz", "w"]]
    (tmp_path / "b.jsonl").write_text('{}\n{}\n{"a": 1}\n')
    found = fingerprint_source(scan_source(tmp_path / "b.jsonl"), SECRET)
    assert found.occurrences.tolist() == [0, 1, 0]
    (tmp_path / "c.csv").write_bytes("name;n\nZürich;1\n".encode("latin-1"))
    version = scan_source(tmp_path / "c.csv", encoding="latin-1", delimiter=";")
    (chunk,) = iter_record_values(version)
    assert chunk["name"].to_pylist() == ["Zürich"]


def test_a_file_that_changed_gives_no_fingerprints(tmp_path, store):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    version = scan_source(path)
    path.write_text("a\n2\n")
    with pytest.raises(SourceChangedError, match="other bytes now"):
        record_source(store, version)
    path.unlink()
    with pytest.raises(SourceChangedError, match="no longer there"):
        record_source(store, version)
    assert store.query("select * from source_version").num_rows == 0
    record_source(store, version, fingerprint=False)
    assert store.query("select * from source_version").num_rows == 1
    with pytest.raises(FingerprintsUnavailableError, match="recorded without fingerprints"):
        load_fingerprints(store, version)


# --- what is recorded ----------------------------------------------------------------------------


def n_facts(store):
    return store.query("select count(*) from source_fingerprint").column(0).to_pylist()[0]


def test_fingerprints_are_recorded_once_and_come_back_as_they_were(tmp_path, store):
    save(people(), tmp_path / "a.csv")
    version = scan_source(tmp_path / "a.csv")
    for _ in range(2):
        record_source(store, version)
    made = fingerprint_source(version, project_secret(store.directory))
    (tmp_path / "a.csv").unlink()
    found = load_fingerprints(store, load_source(store, version.source_version_id))
    assert (found.rows == made.rows).all()
    assert (found.keys == made.keys).all()
    assert found.key_columns == ("no",)
    assert found.columns == ("age", "no", "note", "visits")
    assert n_facts(store) == 1
    assert store.verify().problems == ()
    assert store.gc(0).blocks == ()


def test_other_key_columns_are_recorded_beside(tmp_path, store):
    save(people(), tmp_path / "a.csv")
    version = scan_source(tmp_path / "a.csv")
    for _ in range(2):
        record_source(store, version)
        record_source(store, version, key_columns=["visits", "no"])
    assert n_facts(store) == 2
    (tmp_path / "a.csv").unlink()
    both = load_fingerprints(store, version, key_columns=["no", "visits"])
    assert both.key_columns == ("no", "visits")
    with pytest.raises(
        FingerprintsUnavailableError, match="with the key no or no, visits, not age"
    ):
        load_fingerprints(store, version, key_columns=["age"])


def test_many_rows_are_fingerprinted_only_when_asked(tmp_path, store, monkeypatch):
    monkeypatch.setattr("traceprop_engine.recording.fingerprints.FINGERPRINT_ROWS", N - 1)
    save(people(), tmp_path / "a.csv")
    version = scan_source(tmp_path / "a.csv")
    record_source(store, version)
    assert n_facts(store) == 0
    assert not (store.directory / "fingerprint.secret").exists()
    record_source(store, version, fingerprint=True)
    assert n_facts(store) == 1
    assert write.record_source is record_source


def test_fingerprints_of_a_lost_secret_are_known_as_such(tmp_path, store):
    save(people(), tmp_path / "a.csv")
    version = scan_source(tmp_path / "a.csv")
    record_source(store, version)
    (store.directory / "fingerprint.secret").unlink()
    old = load_fingerprints(store, version)  # from the file, with a new secret
    assert old.n_rows == N
    (tmp_path / "a.csv").unlink()
    with pytest.raises(FingerprintsUnavailableError, match="another secret"):
        load_fingerprints(store, version)


def test_a_store_of_the_first_schema_opens_and_takes_fingerprints(tmp_path):
    """The golden store was written by release 0.1 with schema version 1."""
    folder = tmp_path / "store"
    shutil.copytree(GOLDEN, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    store = Store.create(folder)
    versions = store.query("select distinct schema_version from bundle")
    assert versions["schema_version"].to_pylist() == [1]
    assert SCHEMA.version == SCHEMA_VERSION > 1
    (row,) = store.query("select name, n_rows, sha256 from source_version").to_pylist()
    assert (row["name"], row["n_rows"]) == ("people", 3)
    assert n_facts(store) == 0
    old = load_source(store, "sv_c5f695eff205af2ebf5b1ace")
    assert old.index.line_numbers.tolist() == [2, 3, 4]
    (tmp_path / "people.csv").write_text("id,name\n1,Ada\n2,Grace\n3,Alan\n")
    version = scan_source(tmp_path / "people.csv")
    assert version.sha256 == old.sha256
    record_source(store, version)
    assert n_facts(store) == 1
    assert store.verify().problems == ()
    assert all(path.read_bytes() == data for path, data in before.items())


# --- the secret ----------------------------------------------------------------------------------


def test_the_secret_is_for_its_owner_alone_and_stays(store):
    first = project_secret(store.directory)
    path = store.directory / "fingerprint.secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == first == project_secret(store.directory)
    assert len(first) == 32
    assert list((store.directory / "staging").iterdir()) == []


def test_the_secret_stands_in_no_other_file_of_the_store(tmp_path, store):
    save(people(), tmp_path / "a.csv")
    record_source(store, scan_source(tmp_path / "a.csv"))
    store.ingest(blocking=True)
    secret = project_secret(store.directory)
    holders = [
        path.name
        for path in store.directory.rglob("*")
        if path.is_file() and any(s in path.read_bytes() for s in (secret, secret.hex().encode()))
    ]
    assert holders == ["fingerprint.secret"]


def test_processes_that_ask_at_once_get_one_secret(store):
    code = (
        "import sys, pathlib; from traceprop_engine.identity import project_secret;"
        "sys.stdin.readline(); print(project_secret(pathlib.Path(sys.argv[1])).hex())"
    )
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(store.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in asking:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0].strip() for process in asking}
    assert answers == {project_secret(store.directory).hex()}


def test_a_secret_that_is_none_is_refused(store):
    (store.directory / "fingerprint.secret").write_bytes(b"short")
    with pytest.raises(ProjectSecretError, match="5 bytes where a secret has 32"):
        project_secret(store.directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_secret_of_somebody_else_is_refused(store):
    project_secret(store.directory)
    (store.directory / "fingerprint.secret").chmod(0)
    with pytest.raises(ProjectSecretError, match="out of reach"):
        project_secret(store.directory)


def test_another_secret_gives_other_fingerprints_and_says_so():
    frame = pd.DataFrame({"a": [1, 2, 3]})
    one, other = (row_fingerprints(frame, secret) for secret in (SECRET, SECRET[::-1]))
    assert not (one.rows == other.rows).any()
    assert one.secret_id != other.secret_id


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "key", "error", "words"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), (), RepeatedColumnError, "called 'a'"),
        ({"a": [object()]}, (), UnknownValueKindError, "Column 'a' holds a object"),
        ({"a": [1 + 2j]}, (), UnknownValueKindError, "holds a complex"),
        ({"a": [1]}, ["b"], KeyColumnsError, "no column 'b' to tell rows by; there are 'a'"),
    ],
)
def test_rows_that_cannot_be_fingerprinted_are_refused(values, key, error, words):
    with pytest.raises(error, match=words):
        row_fingerprints(values, SECRET, key_columns=key)


def test_more_rows_than_64_bits_tell_apart_are_refused(monkeypatch):
    monkeypatch.setattr(fingerprints, "MOST_ROWS", 4)
    assert row_fingerprints({"a": range(4)}, SECRET).n_rows == 4
    with pytest.raises(TooManyRowsError, match="5 rows are more than the 4"):
        row_fingerprints({"a": range(5)}, SECRET)


def test_fingerprints_stay_what_they_are_in_every_release():
    """Pinned: if these change, recorded fingerprints match nothing, and ALGORITHM must change."""
    frame = {"id": [1, 2], "name": ["Ada", None], "size": [0.1, 1e-7]}
    found = row_fingerprints(frame, SECRET, key_columns=["id"])
    encoded = [b"\x1fid\x1f1\x1fname\x1fAda\x1fsize\x1f0.1", b"\x1fid\x1f2\x1fsize\x1f1e-07"]
    digests = [
        hashlib.blake2b(row, digest_size=8, key=SECRET, person=b"traceprop row 1").digest()
        for row in encoded
    ]
    assert [int.from_bytes(digest, "little") for digest in digests] == found.rows.tolist()
    assert found.rows.tolist() == [5337761553133805998, 12823724192904721326]
    assert found.keys.tolist() == [5804926483709702401, 6271385716599818634]
    assert found.secret_id == "3d47683961e57251"  # noqa: S105 (no secret)
