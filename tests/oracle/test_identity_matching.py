"""The matching of two versions, against dictionaries of whole rows and planted identifiers."""

from collections import defaultdict
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traceprop_engine.errors import (
    KeyColumnsError,
    RepeatedKeyError,
    TracepropError,
    UnlikeFingerprintsError,
)
from traceprop_engine.identity import match_versions, row_fingerprints

pytestmark = pytest.mark.oracle

SECRET = b"a secret of the tests, 32 bytes!"


def prints(rows, key=()):
    frame = pd.DataFrame(rows, columns=["key", "value"])
    return row_fingerprints(frame, SECRET, key_columns=key)


def by_dictionaries(old, new, *, keyed):
    """Return the old row of each new row, and which are edited, from whole rows in dictionaries."""
    waiting = defaultdict(list)
    for row, values in enumerate(old):
        waiting[values].append(row)
    found = [waiting[values].pop(0) if waiting[values] else -1 for values in new]
    edited = [False] * len(new)
    if keyed:
        left = {old[row][0]: row for rows in waiting.values() for row in rows}
        for row, (key, _) in enumerate(new):
            if found[row] == -1 and key in left:
                found[row], edited[row] = left[key], True
    return found, edited


PAIRS = st.tuples(st.integers(0, 5), st.integers(0, 2))
LISTS = st.lists(PAIRS, max_size=12)


@given(LISTS, LISTS)
def test_rows_are_paired_as_whole_rows_are(old, new):
    match = match_versions(prints(old), prints(new))
    assert match.old_of_new.tolist() == by_dictionaries(old, new, keyed=False)[0]
    assert not match.is_edited.any()


def distinct_keys(pairs):
    return list(dict(pairs).items())


@given(LISTS.map(distinct_keys), LISTS.map(distinct_keys))
def test_with_a_key_edited_rows_are_known(old, new):
    match = match_versions(prints(old, ["key"]), prints(new, ["key"]), key_columns=["key"])
    found, edited = by_dictionaries(old, new, keyed=True)
    assert match.old_of_new.tolist() == found
    assert match.is_edited.tolist() == edited
    assert match.edited.tolist() == np.flatnonzero(edited).tolist()


@given(LISTS, LISTS)
def test_counts_gone_rows_new_rows_and_the_map_agree(old, new):
    match = match_versions(prints(old), prints(new))
    counts = match.counts
    assert counts.same + counts.moved + counts.edited + counts.gone == len(old)
    assert counts.same + counts.moved + counts.edited + counts.new == len(new)
    kept = set(match.old_of_new.tolist()) - {-1}
    assert match.gone.tolist() == sorted(set(range(len(old))) - kept)
    for row, before in enumerate(match.old_of_new.tolist()):
        assert match.row_map.backward([row]).tolist() == ([] if before == -1 else [before])
    assert (match.row_map.n_out, match.row_map.n_in) == (len(new), len(old))


@given(st.permutations(range(7)), st.integers(0, 7))
def test_the_fewest_rows_are_called_moved(order, n_kept):
    rows = [(row, 0) for row in range(7)]
    new = [rows[row] for row in order[:n_kept]]
    match = match_versions(prints(rows), prints(new))
    longest = max(
        size
        for size in range(n_kept + 1)
        for run in combinations(order[:n_kept], size)
        if list(run) == sorted(run)
    )
    assert match.counts.moved == n_kept - longest
    stay = [value for i, value in enumerate(order[:n_kept]) if i not in set(match.moved.tolist())]
    assert stay == sorted(stay)


def test_a_shuffled_and_changed_table_is_matched_record_by_record():
    """50,000 rows and 200 copies; 1,000 deleted, 500 added, 300 edited, all of them shuffled.

    The planted identifier is no column that is hashed: the frame's index holds it.
    """
    rng = np.random.default_rng(3)
    n = 50_000
    old = pd.DataFrame(
        {
            "no": rng.permutation(n),
            "name": [f"person {i}" for i in rng.integers(0, 1000, n)],
            "size": rng.normal(size=n).round(2),
            "k": rng.integers(0, 50, n),
        }
    )
    copies = old.iloc[:200]
    old = pd.concat([old, copies], ignore_index=True)
    deleted = rng.choice(np.arange(200, n), 1_000, replace=False)  # none that has a copy
    new = old.drop(index=deleted)
    edited = rng.choice(new.index[200:-200], 300, replace=False)
    new.loc[edited, "k"] = 99
    added = pd.DataFrame({"no": np.arange(500) + n, "name": "new", "size": 0.0, "k": 0})
    added.index = pd.RangeIndex(10**6, 10**6 + 500)
    new = pd.concat([new, added]).sample(frac=1, random_state=1)

    match = match_versions(row_fingerprints(old, SECRET), row_fingerprints(new, SECRET))
    planted = new.index.to_numpy()
    matched = match.old_of_new != -1
    assert matched.sum() == n + 200 - 1_000 - 300
    assert set(match.gone.tolist()) == set(deleted.tolist()) | set(edited.tolist())
    assert set(planted[match.new].tolist()) == set(added.index) | set(edited.tolist())
    twins = np.arange(n + 200)
    twins[n:] = np.arange(200)  # a copy is the row that it was copied from, for all one can tell
    found = match.old_of_new[matched]
    assert (twins[found] == twins[planted[matched]]).all()
    assert len(np.unique(found)) == len(found)

    keyed = [
        row_fingerprints(each.drop_duplicates(), SECRET, key_columns=["no"]) for each in (old, new)
    ]
    match = match_versions(*keyed, key_columns=["no"])
    planted = new.drop_duplicates()["no"].to_numpy()
    was = old.drop_duplicates()["no"].to_numpy()
    assert (match.counts.edited, match.counts.gone, match.counts.new) == (300, 1_000, 500)
    matched = match.old_of_new != -1
    assert (was[match.old_of_new[matched]] == planted[matched]).all()
    assert set(planted[match.edited].tolist()) == set(old.loc[edited, "no"].tolist())


@pytest.mark.parametrize("twice", ["old", "new"])
def test_a_key_that_stands_twice_is_refused_with_the_rows(twice):
    sides = {"old": [(1, 1), (2, 1)], "new": [(1, 1), (2, 1)]}
    sides[twice] = [(1, 1), (2, 1), (2, 2)]
    old, new = (prints(sides[side], ["key"]) for side in ("old", "new"))
    with pytest.raises(RepeatedKeyError, match=f"the {twice} version apart: rows 1 and 2"):
        match_versions(old, new, key_columns=["key"])


@pytest.mark.parametrize(
    ("other", "key", "error", "words"),
    [
        (lambda: row_fingerprints({"key": [1]}, bytes(32)), (), UnlikeFingerprintsError, "secrets"),
        (lambda: prints([(1, 1)], ["key"]), ["key"], KeyColumnsError, "no column 'key'"),
        (lambda: prints([(1, 1)]), ["key"], KeyColumnsError, "no column 'key'"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, key, error, words):
    with pytest.raises(error, match=words) as caught:
        match_versions(prints([(1, 1)]), other(), key_columns=key)
    assert isinstance(caught.value, TracepropError)
