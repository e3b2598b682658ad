"""A session follows rows from pandas through SQL and back."""

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage import CaptureSession
from traceprop_engine.sql_queries import sql


def visits():
    return pd.DataFrame(
        {
            "id": np.arange(6),
            "patient": [1, 2, 1, 3, 2, 9],
            "dose": [3.0, np.nan, 5.0, 1.0, 2.0, 8.0],
        }
    )


def patients():
    return pd.DataFrame({"patient": [1, 2, 3], "age": [30, 50, 70]})


def test_rows_are_followed_from_pandas_through_sql_to_pandas():
    with CaptureSession() as session:
        v, p = session.load(visits(), "visits"), session.load(patients(), "patients")
        kept = v.dropna().sort_values("dose", ascending=False)
        joined = sql("SELECT id, age FROM v JOIN p USING (patient) WHERE age < 60", v=kept, p=p)
        result = joined[joined["id"] != 4].sort_values("id").reset_index(drop=True)
        result, lineage = session.finish(result)
    assert result["id"].tolist() == [0, 2]
    assert lineage.fidelity == "exact"
    assert [lineage.maps["visits"].backward([at]).tolist() for at in range(2)] == [[0], [2]]
    assert [lineage.maps["patients"].backward([at]).tolist() for at in range(2)] == [[0], [0]]
    assert not any(each.statistic.startswith("sql") for each in lineage.contexts)
    assert "sql" in [op.name for op in lineage.ops]


def test_a_group_of_sql_is_followed_to_its_rows_before_the_session_filtered_them():
    with CaptureSession() as session:
        v = session.load(visits(), "visits")
        query = "SELECT patient, sum(dose) AS dose FROM v GROUP BY patient ORDER BY patient"
        sums = sql(query, v=v[v["id"] > 0])
        _, lineage = session.finish(sums[sums["dose"] > 1.5])
    assert [lineage.maps["visits"].backward([at]).tolist() for at in range(3)] == [[2], [1, 4], [5]]


def test_what_a_query_only_looks_at_is_a_statistic_of_the_session():
    with CaptureSession() as session:
        v, p = session.load(visits(), "visits"), session.load(patients(), "patients")
        known = sql("SELECT * FROM v WHERE patient IN (SELECT patient FROM p)", v=v, p=p.head(2))
        _, lineage = session.finish(known)
    assert [lineage.maps["visits"].backward([at]).tolist() for at in range(4)] == [
        [0], [1], [2], [4],
    ]  # fmt: skip
    found = {(each.input, each.statistic): each.members for each in lineage.contexts}
    assert found["patients", "sql IN (SELECT ...)"].backward([0]).tolist() == [0, 1]
    assert lineage.maps["patients"].kind == "context"
    assert lineage.fidelity == "exact"


def test_rows_that_were_lost_before_the_query_stay_visibly_lost():
    with CaptureSession() as session:
        v = session.load(visits(), "visits")
        fresh = pd.DataFrame({"dose": list(v["dose"])})
        _, lineage = session.finish(sql("SELECT dose FROM v WHERE dose > 2", v=fresh))
    assert lineage.fidelity == "unknown" or lineage.maps["visits"].kind == "context"


def test_without_a_session_it_returns_the_plain_result():
    found = sql("SELECT patient FROM v WHERE dose > 4 ORDER BY patient", v=visits())
    pd.testing.assert_frame_equal(found, pd.DataFrame({"patient": [1, 9]}))


def test_the_frames_and_their_index_are_left_as_they_are():
    frame = visits().set_index(pd.Index(list("abcdef"), name="label"))
    with CaptureSession() as session:
        loaded = session.load(frame, "visits")
        result, lineage = session.finish(sql("SELECT * FROM v LIMIT 2", v=loaded))
        pd.testing.assert_frame_equal(loaded, frame)
    assert list(result.columns) == ["id", "patient", "dose"]
    assert lineage.maps["visits"].backward([1]).tolist() == [1]


def test_frames_of_two_sessions_are_refused():
    with CaptureSession() as one, CaptureSession() as other:
        v, p = one.load(visits(), "visits"), other.load(patients(), "patients")
        with pytest.raises(CaptureError, match="several capture sessions"):
            sql("SELECT * FROM v JOIN p USING (patient)", v=v, p=p)


def test_rows_that_were_turned_into_columns_are_noted():
    with CaptureSession() as session:
        v = session.load(visits(), "visits")
        turned = v[["dose"]].T
        turned.columns = [f"c{at}" for at in range(6)]
        wide = v[["dose"]].T
        _, lineage = session.finish(sql('SELECT "0" FROM w', w=wide))
    assert lineage.maps["visits"].kind in ("context", "unknown")
