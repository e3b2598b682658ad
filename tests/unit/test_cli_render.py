"""Answers as text, from values made by hand."""

import re

import numpy as np
import pytest

from tests.recorded_store import ESCAPE
from traceprop_engine.answers import Origin, Reach, ReachedVersion
from traceprop_engine.cli.render import render_explanation
from traceprop_engine.cli.render_walks import render_origin, render_reach
from traceprop_engine.cli.text import Page, display_width
from traceprop_engine.explanation import (
    Counterfactual,
    ExplainedPrediction,
    Explanation,
    InfluentialRow,
    SourceLine,
    Step,
)
from traceprop_engine.recording import DatasetVersion
from traceprop_engine.sources import SourceVersion

ANSI = re.compile(r"\x1b\[[0-9;]*m")
SHA = "ab12cd34ef56" + "0" * 52


def line(file, row, text, **more):
    return SourceLine(file, f"/data/{file}.csv", SHA, row, row + 2, text, **more)


def influential(rank, row, influence, n_visits):
    visits = [line("visits", 100 * rank + i, f"{row},visit {i}") for i in range(n_visits)]
    person = line("people", row, f"{row},{ESCAPE},{'long ' * 40}")
    steps = (
        Step("cohort", "dv_1", 1, ("DataFrame.query(age > 18): 17,549 → 17,000 rows",)),
        Step("training_table", "dv_2", 1, ("DataFrame.merge(on='id'): 9 + 8 → 7 rows",)),
    )
    return InfluentialRow(rank, row, influence, (*visits, person), steps, ())


def explanation(**changes):
    values = {
        "prediction": ExplainedPrediction(
            "predictions", "dv_9", 17, {"id": 1234, "logit": -1.2}, (line("people", 5, "1234,62"),)
        ),
        "training_run_id": "tr_1",
        "model": "risk (logistic)",
        "n_training_rows": 13_600,
        "target": "logit",
        "unit": "log-odds",
        "method": "the influence function",
        "rows": (influential(1, 4012, -0.0412, 15), influential(2, 33, 0.02, 1)),
        "statistics": ("training_table depends on Series.mean of age over 9 rows of cohort",),
    }
    return Explanation(**(values | changes))


REMOVAL = Counterfactual((4012,), "logit", "log-odds", -1.2, 0.0412, 0.0413, 2.1e-9, 3)


@pytest.mark.parametrize("width", [40, 60, 100, 160])
def test_no_line_is_wider_than_the_terminal(width):
    text = render_explanation(explanation(), REMOVAL, width=width, all_lines=True)
    assert max(map(display_width, text.splitlines())) <= width


def test_the_answer_holds_each_part_of_the_question():
    text = render_explanation(explanation(), REMOVAL, width=100)
    for words in (
        "Row 17 of predictions",
        "made by risk (logistic), trained on 13,600 rows",
        "id=1234   logit=-1.2",
        "people.csv:7  1234,62",
        "in log-odds",
        "DataFrame.merge(on='id'): 9 + 8 → 7 rows",
        "sha256 ab12cd34ef56",
        "training_table depends on Series.mean of age over 9 rows of cohort",
        "Without training row 4012",
        "Found with 3 Newton steps on the 13,599 retained rows",
        "2.1e-09",
    ):
        assert words in text


def test_the_table_names_sign_bar_and_the_line_that_tells_the_row_apart():
    text = render_explanation(explanation(), None, width=100)
    first, second = (row for row in text.splitlines() if re.match(r" +[12] +[+-]", row))
    assert "-0.041" in first
    assert "+0.020" in second
    assert first.count("█") == 12
    assert second.count("█") == 5  # 12 cells times 0.02 / 0.0412, and a part of a cell
    assert "people.csv:4014  4012," in first
    assert first.endswith("…")


def test_twelve_lines_of_a_file_are_shown_and_the_rest_counted():
    text = render_explanation(explanation(), None, width=100)
    assert text.count("visits.csv:") == 12
    assert "… 3 more (--all-lines)" in text
    strongest = text.split("The strongest, training row 4,012")[1]
    assert strongest.index("people.csv:4014") < strongest.index("visits.csv:102")
    everything = render_explanation(explanation(), None, width=100, all_lines=True)
    assert everything.count("visits.csv:") == 15
    assert "more (--all-lines)" not in everything


def test_a_long_call_is_cut_before_its_row_counts():
    call = f"DataFrame.reindex(columns={['chol'] * 40}): 13,421 → 13,421 rows"
    row = InfluentialRow(1, 3, 0.5, (), (Step("labs", "dv_1", 1, (call,)),), ())
    text = render_explanation(explanation(rows=(row,)), None, width=80)
    (line,) = (line for line in text.splitlines() if "reindex" in line)
    assert line.endswith("…: 13,421 → 13,421 rows")
    assert display_width(line) == 80


def test_source_text_cannot_act_on_the_terminal():
    text = render_explanation(explanation(), REMOVAL, width=100)
    assert "\x1b" not in text
    assert "␛[31mred" in text


def test_colour_changes_nothing_but_colour():
    plain = render_explanation(explanation(), REMOVAL, width=100)
    coloured = render_explanation(explanation(), REMOVAL, width=100, colour=True)
    assert coloured != plain
    assert ANSI.sub("", coloured) == plain


def test_the_removal_is_told_in_the_unit_and_as_a_probability():
    text = render_explanation(explanation(), REMOVAL, width=100)
    assert "as trained           -1.2  probability 23.15%" in text
    assert "change predicted  +0.0412  by the scores" in text
    assert "change found      +0.0413  by removing it" in text
    assert "after removal     -1.1587  probability 23.89%" in text
    linear = Counterfactual((3,), "prediction", "y", 5.0, 0.1, 0.1, 1e-9, 1)
    told = render_explanation(explanation(target="prediction"), linear, width=100)
    assert "probability" not in told.split("Without training row")[1]


def test_a_line_that_cannot_be_read_says_why():
    lost = line("people", 3, None, unavailable="the file is gone")
    row = InfluentialRow(1, 3, 0.5, (lost,), (), ())
    text = render_explanation(explanation(rows=(row,)), None, width=100)
    assert "people.csv:5  (not readable: the file is gone)" in text


def test_a_way_that_was_lost_is_said_loudly():
    row = InfluentialRow(1, 3, 0.5, (), (), ("How 'a' follows from 'b' is unknown.",))
    text = render_explanation(explanation(rows=(row,)), None, width=100)
    assert "Not the whole way is known" in text
    assert "How 'a' follows from 'b' is unknown." in text
    assert re.search(r"1 +\+0.500 .* 3  unknown", text)


def test_a_parquet_record_has_a_number_and_no_line():
    record = SourceLine("areas", "/data/areas.parquet", SHA, 7, None, '{"id": 7}')
    row = InfluentialRow(1, 3, 0.5, (record,), (), ())
    text = render_explanation(explanation(rows=(row,)), None, width=100)
    assert 'areas.parquet#7  {"id": 7}' in text


VERSION = DatasetVersion(
    "dv_2", "table", "run", 400, "claimed", 0.975, None, "b", False, ("id",), 3
)
SOURCE = SourceVersion(
    "people", "/data/people.csv", "csv", None, "utf-8", ",", SHA, 10, 9, ("id",), None
)


def test_a_trace_names_version_coverage_and_fidelity():
    origin = Origin((line("people", 1, "1,2"),), (), (), ())
    text = render_origin(VERSION, [3, 4, 5], origin, Page(100))
    assert text.startswith("Rows 3-5 of table\n")
    assert "version dv_2, 400 rows, 97.5% of them traced, claimed" in text
    assert "Made from 1 source line\n" in text


def reached(dataset, rows, **changes):
    values = {
        "dataset": dataset,
        "partition_key": "",
        "dataset_version_id": f"dv_{dataset}",
        "rows": np.array(rows),
        "n_rows": 100,
        "current": True,
        "training_run": None,
    }
    return ReachedVersion(**(values | changes))


def test_what_was_reached_is_told_newest_first_and_older_versions_are_counted():
    newest = (
        reached("table", [1, 2, 3, 9], partition_key="2024-01"),
        reached("model", [4], current=False, training_run=("tr_7", "risk")),
    )
    reach = Reach(
        (line("people", 1, "1,2"),), newest, (reached("table", [1]),), ("a mean",), ("lost",)
    )
    text = render_reach(SOURCE, 2, reach, Page(100))
    assert "What 1 row of people reached" in text
    assert "people.csv:3  1,2" in text
    assert "2 other versions of this source recorded" in text
    assert re.search(r"table \[2024-01\] +4 +100 +1-3, 9 +dv_table\n", text)
    assert re.search(r"model +1 +100 +4 +dv_model, replaced by a newer one since\n", text)
    assert "and 1 older version of these datasets" in text
    assert "Models trained with it\n  risk  tr_7" in text
    assert "statistics that they went into\n  a mean" in text
    assert "Not the whole way is known\n    lost" in text


def test_nothing_reached_is_not_told_as_certain_when_the_way_was_lost():
    lines = (line("people", 1, "1,2"),)
    sure = render_reach(SOURCE, 0, Reach(lines, (), (), (), ()), Page(100))
    assert "No dataset row was made from them" in sure
    unsure = render_reach(SOURCE, 0, Reach(lines, (), (), (), ("lost",)), Page(100))
    assert "No dataset row was made" not in unsure
