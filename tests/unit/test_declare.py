"""Rows that a user declares: what they become, and what is refused or contradicted."""

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import DeclarationError, LineageContradictionError
from traceprop_engine.lineage import CaptureSession, RowMap, check_witness
from traceprop_engine.lineage.carriers import Recorded
from traceprop_engine.lineage.declare import declares_rows, record, row_wise
from traceprop_engine.lineage.marks import Mark, lost_node

N = 12


def docs(n=N):
    return pd.DataFrame({"text": [f"text {i}" for i in range(n)], "size": np.arange(n) * 1.5})


@pytest.fixture
def session():
    with CaptureSession() as opened:
        yield opened


def rows_of(lineage, name="docs"):
    out_rows, in_rows = lineage.maps[name].pairs()
    return list(zip(out_rows.tolist(), in_rows.tolist(), strict=True))


def test_row_numbers_become_a_claimed_map(session):
    session.load(docs(), "docs")
    keep = [7, 2, 2, -1]
    lineage = session.lineage(record(np.zeros((4, 3)), {"docs": keep}, session=session))
    assert rows_of(lineage) == [(0, 7), (1, 2), (2, 2)]
    assert lineage.fidelity == "claimed"
    assert "declared with `record`" in lineage.reason
    assert lineage.coverage() == 0.75
    assert [op.name for op in lineage.ops] == ["record"]


def test_row_wise_is_the_identity(session):
    session.load(docs(), "docs")
    lineage = session.lineage(record(list("abcdefghijkl"), {"docs": "row_wise"}, session=session))
    assert rows_of(lineage) == [(i, i) for i in range(N)]
    assert lineage.fidelity == "claimed"


def test_a_row_map_is_taken_as_it_is(session):
    session.load(docs(), "docs")
    groups = RowMap.groups(np.arange(N) % 3, 3)
    lineage = session.lineage(record([1, 2, 3], {"docs": groups}, session=session))
    assert set(rows_of(lineage)) == {(i % 3, i) for i in range(N)}


def test_rows_of_a_changed_frame_lead_on_to_its_own_rows(session):
    frame = session.load(docs(), "docs").sort_values("size", ascending=False).iloc[::2]
    out = record(np.arange(3), [(frame, [5, 0, 1])], session=session)
    assert rows_of(session.lineage(out)) == [(0, 1), (1, 11), (2, 9)]


def test_rows_may_come_from_several_inputs(session):
    session.load(docs(), "docs")
    session.load(docs(5), "more")
    lineage = session.lineage(record([0, 0], {"docs": [0, -1], "more": [-1, 4]}, session=session))
    assert rows_of(lineage) == [(0, 0)]
    assert rows_of(lineage, "more") == [(1, 4)]
    assert lineage.coverage() == 1.0


def test_an_input_that_is_not_named_is_unknown(session):
    session.load(docs(), "docs")
    session.load(docs(5), "more")
    lineage = session.lineage(record([0, 0], {"docs": [0, 1]}, session=session))
    assert lineage.fidelity == "unknown"
    assert not lineage.maps["more"].is_known


def test_a_pandas_result_stays_pandas_and_goes_on(session):
    session.load(docs(), "docs")
    mine = pd.DataFrame({"z": [3.0, 1.0, 2.0]}, index=["a", "b", "c"])
    out = record(mine, {"docs": [9, 8, 7]}, session=session)
    pd.testing.assert_frame_equal(out, mine)
    assert rows_of(session.lineage(out.sort_values("z"))) == [(0, 8), (1, 7), (2, 9)]
    assert session.lineage(mine).fidelity == "unknown"


def test_another_declaration_replaces_what_was_followed(session):
    frame = session.load(docs(), "docs")
    moved = record(frame.head(3), {"docs": [2, 1, 0]}, session=session)
    assert rows_of(session.lineage(moved)) == [(0, 2), (1, 1), (2, 0)]


def test_a_series_is_declared_too(session):
    frame = session.load(docs(), "docs")
    sizes = record(pd.Series(frame["text"].map(len).tolist()), [(frame, "row_wise")])
    assert rows_of(session.lineage(sizes[sizes > 6])) == [(0, 10), (1, 11)]


def test_what_is_made_of_lost_rows_is_unknown(session):
    session.load(docs(), "docs")
    node = lost_node(session.notes, 3, session.notes.inputs.values(), "an experiment")
    lost = Recorded([1, 2, 3], (Mark(node, range(3)), range(3)))
    lineage = session.lineage(record([0, 0], [(lost, [2, 1])]))
    assert lineage.fidelity == "unknown"
    assert "were lost in an experiment" in lineage.reason


def test_what_was_recorded_is_given_back_plain(session):
    session.load(docs(), "docs")
    array = np.zeros(2)
    out = record(array, {"docs": [0, 1]}, session=session)
    plain, _ = session.finish(out)
    assert plain is array
    assert isinstance(out, Recorded)


def test_a_name_finds_the_one_open_session_that_has_it(session):
    session.load(docs(), "docs")
    assert rows_of(session.lineage(record([0], {"docs": [3]}))) == [(0, 3)]
    with CaptureSession() as other:
        other.load(docs(), "docs")
        with pytest.raises(DeclarationError, match="2 open sessions have an input 'docs'"):
            record([0], {"docs": [3]})
    assert rows_of(session.lineage(record([0], {"docs": [3]}))) == [(0, 3)]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ([0, 1], "2 rows are declared for 'docs', but the result has 3 rows"),
        ("row_wise", "has 3 rows for its 12"),
        ("rows", "'rows' is declared for 'docs'"),
        ([0, 1, 12], "Row 12 is declared for 'docs', which has 12 rows"),
        ([0, 1, -2], "Row -2 is declared"),
        ([0.0, 1.0, 2.0], "are no row numbers"),
        ([[0], [1], [2]], "are no row numbers"),
        ([True, False, True], "are no row numbers"),
        (RowMap.identity(3), "but the result has 3 rows and the input 12"),
        (RowMap.gather([0, 1], 12), "but the result has 3 rows and the input 12"),
    ],
)
def test_rows_that_do_not_fit_are_refused(session, declared, message):
    session.load(docs(), "docs")
    with pytest.raises(DeclarationError) as raised:
        record(np.zeros(3), {"docs": declared}, session=session)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_inputs_are_refused(session):
    session.load(docs(), "docs")
    with pytest.raises(DeclarationError, match=r"No input 'texts'.*the inputs are 'docs'"):
        record([0], {"texts": [0]}, session=session)
    with pytest.raises(DeclarationError, match=r"No input 'never loaded'.*pass `session=`"):
        record([0], {"never loaded": [0]})
    with pytest.raises(DeclarationError, match="rows of the DataFrame given"):
        record([0], [(docs(), [0])], session=session)
    with pytest.raises(DeclarationError, match="got no inputs"):
        record([0], {}, session=session)


@pytest.mark.parametrize("value", [7, np.array(1.0), (each for each in [1, 2])])
def test_a_value_without_a_length_is_refused(session, value):
    session.load(docs(), "docs")
    with pytest.raises(DeclarationError, match="has no length"):
        record(value, {"docs": [0]}, session=session)


def test_inputs_of_two_sessions_are_refused(session):
    mine = session.load(docs(), "docs")
    with CaptureSession() as other:
        theirs = other.load(docs(), "docs")
        with pytest.raises(DeclarationError, match="different sessions"):
            record([0], [(mine, [0]), (theirs, [0])])


def test_a_false_claim_is_contradicted_by_the_values(session):
    plain = docs(40)
    frame = session.load(plain, "docs")
    kept = pd.DataFrame({"text": frame["text"].tolist()[::-1]})
    true = record(kept, {"docs": list(range(39, -1, -1))}, session=session)
    false = record(kept, {"docs": "row_wise"}, session=session)
    result, lineage = session.finish(true)
    assert check_witness(lineage, {"docs": plain}, result) is lineage
    result, lineage = session.finish(false)
    with pytest.raises(LineageContradictionError):
        check_witness(lineage, {"docs": plain}, result)


def test_a_row_wise_function_needs_no_session():
    @row_wise
    def lengths(texts):
        """Say how long they are."""
        return [len(text) for text in texts["text"]]

    assert lengths(docs(2)) == [6, 6]
    assert lengths.__doc__ == "Say how long they are."


def test_a_row_wise_function_gives_the_rows_of_its_argument(session):
    @row_wise
    def lengths(texts, *, scale=1):
        return np.array([len(text) * scale for text in texts["text"].tolist()])

    frame = session.load(docs(), "docs")
    out = lengths(frame[frame["size"] > 9], scale=2)
    assert out.value.tolist() == [12, 12, 12, 14, 14]
    lineage = session.lineage(out)
    assert rows_of(lineage) == [(i, i + 7) for i in range(5)]
    assert {c.statistic for c in lineage.contexts} == {"Series.tolist"}


def test_a_row_wise_function_that_is_not_is_refused(session):
    frame = session.load(docs(), "docs")
    with pytest.raises(DeclarationError, match="declared row-wise of 'docs'"):
        row_wise(lambda texts: texts["text"].tolist()[:3])(frame)


def test_a_function_of_two_followed_arguments_must_say_which(session):
    frame, words = session.load(docs(), "docs"), session.load(docs(5), "words")

    def known(texts, vocabulary):
        return texts["text"].isin(vocabulary["text"].tolist()).tolist()

    with pytest.raises(DeclarationError, match="Several arguments of 'known'"):
        row_wise(known)(frame, words)
    lineage = session.lineage(row_wise(of="texts")(known)(frame, words))
    assert rows_of(lineage) == [(i, i) for i in range(N)]
    assert lineage.maps["words"].kind == "context"
    assert "known" in {c.statistic for c in lineage.contexts if c.input == "words"}


def test_a_wrong_name_of_an_argument_is_refused_at_once():
    with pytest.raises(DeclarationError, match="'len_of' has no argument 'text'"):

        @row_wise(of="text")
        def len_of(texts):
            return len(texts)


def test_a_function_may_say_its_rows(session):
    @declares_rows
    def longest(texts, n):
        rows = np.argsort([-len(text) for text in texts["text"]], kind="stable")[:n]
        return texts["text"].to_numpy()[rows], {"texts": rows}

    frame = session.load(docs(), "docs")
    out = longest(frame.iloc[::-1], 3)
    assert out.value.tolist() == ["text 11", "text 10", "text 9"]
    assert rows_of(session.lineage(out)) == [(0, 11), (1, 10), (2, 9)]
    assert longest(docs(2), 1).tolist() == ["text 0"]


def test_a_function_that_declares_rows_of_something_else_is_refused(session):
    wrong = declares_rows(lambda texts: ([1], {"text": [0]}))
    with pytest.raises(DeclarationError, match=r"declared rows of 'text'.*arguments are texts"):
        wrong(session.load(docs(), "docs"))
