"""Views of tracked values: what they say is what was done, and nothing that was not."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traceprop_engine.errors import UntrackedValueError, ViewRowError
from traceprop_engine.lineage import (
    CapturedLineage,
    CaptureSession,
    ContextDependency,
    Op,
    RowMap,
    reset_graph,
)
from traceprop_engine.lineage.carriers import carried
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import Mark, Step, derived, lost_node, write_note
from traceprop_engine.provenance_views import provenance
from traceprop_engine.provenance_views.op_graph import MOST_OPS, Arrow, Box, OpGraph
from traceprop_engine.provenance_views.pictures import mermaid_of, svg_of


@pytest.fixture(autouse=True)
def fresh_graph():
    reset_graph()


def tracked(node, steps=()):
    """Return a value that carries the rows of a node."""
    return carried(object(), node, tuple(steps))


def step(name, inputs, before=(), rows=(3,), out=3):
    return Step(Op(name, "", tuple(inputs), rows, out), tuple(before))


def root(name, n_rows=3):
    return root_rows(default_graph(), n_rows, name).node


def chain(length, name="x"):
    """Return a value behind a chain of operations."""
    last = ()
    for number in range(length):
        last = (step(f"op{number}", [name], last),)
    return tracked(root(name), last)


def test_an_untouched_input_has_a_source_and_nothing_before_it():
    view = provenance(tracked(root("x")))
    assert (view.sources(), view.ops(), view.ancestors()) == (["x"], [], set())
    assert view.rows(2)["x"].tolist() == [2]
    assert view.lineage.fidelity == "exact"


def test_other_inputs_of_the_graph_are_no_sources():
    x = root("x")
    root("y")
    assert provenance(tracked(x, [step("neg", ["x"])])).sources() == ["x"]


def test_ancestors_are_the_sets_of_rows_on_the_way():
    x, y = root("x"), root("y")
    notes = default_graph()
    picked = derived(notes, 2, [(x, np.array([2, 0]))])
    both = derived(notes, 2, [(picked, range(2)), (y, np.array([1, 1]))])
    view = provenance(tracked(both, [step("add", ["x", "y"])]))
    assert view.ancestors() == {node.number for node in (x, y, picked, both)}
    assert {name: rows.tolist() for name, rows in view.rows(0).items()} == {"x": [2], "y": [1]}


def test_a_source_whose_rows_were_lost_stays_and_says_that_nobody_knows():
    x, y = root("x"), root("y")
    lost = lost_node(default_graph(), 4, [x], "numpy.linalg.inv")
    mixed = derived(default_graph(), 4, [(lost, range(4)), (y, np.array([0, 1, 2, -1]))])
    view = provenance(tracked(mixed))
    found = view.rows(1)
    assert found["x"] is None
    assert found["y"].tolist() == [1]
    assert view.lineage.fidelity == "unknown"
    text = str(view.trace(1))
    assert "x: which rows is unknown" in text
    assert "numpy.linalg.inv" in text


def test_a_statistic_that_an_operation_took_makes_its_input_a_source():
    """``y - x.mean()``: the mean is noted, and its step says which input it took."""
    x, y = root("x"), root("y")
    write_note(Mark(x, range(3)), "numpy.mean", None, range(3), 0, range(3))
    mean = step("numpy.mean", ["x"], out=1)
    view = provenance(tracked(y, [step("subtract", ["y"], [mean])]))
    assert view.sources() == ["x", "y"]
    assert view.rows(1)["x"].tolist() == []
    (statistic,) = view.statistics()
    assert (statistic.input, statistic.statistic) == ("x", "numpy.mean")
    assert statistic.members.backward([0]).tolist() == [0, 1, 2]
    assert view.left() == ()


def test_an_input_that_gave_no_row_is_no_source_unless_something_was_noted_of_it():
    """``concatenate([y, x[:0]])``; after a mean of ``x`` was noted, that might be what came in."""
    x, y = root("x"), root("y")
    value = tracked(y, [step("concat", ["y", "x"], rows=(3, 0))])
    assert provenance(value).sources() == ["y"]
    write_note(Mark(x, range(3)), "mean", None, range(3), 0, range(3))
    view = provenance(value)
    assert view.rows(0)["x"] is None
    assert view.lineage.fidelity == "unknown"


def test_what_left_tracking_is_told_apart_from_what_is_known():
    """A printed mean of ``x`` may have gone into anything, so it is said; ``x`` is no source."""
    x, y = root("x"), root("y")
    write_note(Mark(x, range(3)), "item", None, np.array([1]), 0, range(3))
    view = provenance(tracked(y, [step("neg", ["y"])]))
    assert view.sources() == ["y"]
    assert view.statistics() == ()
    (left,) = view.left()
    assert (left.input, left.statistic) == ("x", "item")
    assert "item: x, rows 1" in str(view.trace(0))


def test_in_a_session_a_view_says_what_the_session_says():
    visits = pd.DataFrame({"patient": [1, 1, 2, 3], "dose": [1.0, None, 3.0, 4.0]})
    with CaptureSession() as session:
        frame = session.load(visits, "visits")
        people = session.load(pd.DataFrame({"patient": [1, 2]}), "people")
        result = frame.dropna().merge(people, on="patient").sort_values("dose", ascending=False)
        result["dose"] -= frame["dose"].mean()
        view, lineage = provenance(result), session.lineage(result)
    for name, row_map in lineage.maps.items():
        assert view.lineage.maps[name].same_relation(row_map)
    assert [view.rows(i)["visits"].tolist() for i in range(2)] == [[2], [0]]
    assert [op.name for op in view.ops()] == [op.name for op in lineage.ops]
    assert len(view.statistics()) == len(lineage.contexts) > 0
    assert view.left() == ()


def test_a_view_of_a_handed_over_lineage_says_the_same():
    ops = (Op("first", "", ("a",), (5,), 4), Op("second", "on='k'", ("a", "b"), (4, 2), 3))
    lineage = CapturedLineage(
        3,
        {"a": RowMap.gather([4, -1, 0], 5), "b": RowMap.unknown(3, 2)},
        ops=ops,
        fidelity="unknown",
        reason="the rows of 'b' were not followed",
    )
    view = provenance(lineage)
    assert view.sources() == ["a", "b"]
    assert view.ops() == list(ops)
    assert [view.rows(i)["a"].tolist() for i in range(3)] == [[4], [], [0]]
    assert view.rows(0)["b"] is None
    assert view.lineage.reason == lineage.reason
    assert "-.->" in view.to_mermaid()
    assert "stroke-dasharray" in view.to_svg()


def test_a_handed_over_lineage_with_a_statistic_keeps_it_apart_from_the_rows():
    with CaptureSession() as session:
        frame = session.load(pd.DataFrame({"v": [1.0, 2.0, 4.0]}), "a")
        lineage = session.lineage(frame["v"] - frame["v"].mean())
    view = provenance(lineage)
    assert [view.rows(i)["a"].tolist() for i in range(3)] == [[0], [1], [2]]
    assert [context.statistic for context in view.statistics()] == [
        context.statistic for context in lineage.contexts
    ]


@pytest.mark.parametrize("noted", ["a", "b"])
def test_a_statistic_of_a_handed_over_map_is_kept_where_no_dependency_says_it(noted):
    other = ContextDependency(noted, "mean", None, RowMap.window([3], [4], 5))
    lineage = CapturedLineage(2, {"a": RowMap.context(2, [1, 2], 5)}, (other,))
    view = provenance(lineage)
    said = {
        (each.input, int(row)) for each in view.statistics() for row in each.members.backward([0])
    }
    assert said == {("a", 1), ("a", 2), (noted, 3)}


def test_a_view_does_not_change_when_the_graph_goes_on():
    x = root("x")
    view = provenance(tracked(x))
    write_note(Mark(x, range(3)), "item", None, range(3), 0, range(3))
    root("y")
    assert (view.left(), view.sources()) == ((), ["x"])
    reset_graph()
    assert view.rows(0)["x"].tolist() == [0]


@pytest.mark.parametrize("value", [np.zeros(3), pd.DataFrame({"a": [1]}), 3.0, "text", None])
def test_a_value_that_is_not_tracked_is_refused(value):
    with pytest.raises(UntrackedValueError, match=f"This {type(value).__name__} is not tracked"):
        provenance(value)


def test_a_value_of_a_graph_that_was_reset_is_refused():
    value = tracked(root("x"))
    reset_graph()
    with pytest.raises(UntrackedValueError, match="reset_graph"):
        provenance(value)


@pytest.mark.parametrize("row", [3, -1, True, 1.5, "0"])
def test_a_row_that_there_is_not_is_refused(row):
    with pytest.raises(ViewRowError, match="rows go from 0 to 2"):
        provenance(tracked(root("x"))).rows(row)
    with pytest.raises(ViewRowError, match="it has no rows"):
        provenance(tracked(root("empty", 0))).trace(0)


def test_numbers_of_numpy_are_rows_too():
    assert provenance(tracked(root("x"))).rows(np.int64(1))["x"].tolist() == [1]


@st.composite
def graphs(draw):
    """Return graphs of up to 14 boxes with any arrows downwards."""
    size = draw(st.integers(1, 14))
    kinds = draw(st.lists(st.sampled_from(["source", "op", "value"]), min_size=size, max_size=size))
    boxes = tuple(Box(kind, f"box {i}", "1 row") for i, kind in enumerate(kinds))
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return OpGraph(boxes, tuple(Arrow(a, b, draw(st.booleans())) for a, b in chosen))


def drawn(picture):
    """Return the circles, and the paths as lists of points."""
    svg = ET.fromstring(picture)  # noqa: S314 (made by the function under test)
    space = "{http://www.w3.org/2000/svg}"
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in svg.iter(f"{space}circle")]
    paths = [
        [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
        for path in svg.iter(f"{space}path")
    ]
    return circles, paths, svg


@given(graphs())
def test_each_arrow_joins_its_boxes_and_runs_through_no_other(graph):
    circles, paths, svg = drawn(svg_of(graph))
    assert len(circles) == len(graph.boxes) == len(set(circles))
    assert len(paths) == len(graph.arrows)
    width, height = float(svg.get("width")), float(svg.get("height"))
    assert all(0 < x < width and 0 < y < height for x, y in circles)
    for path, arrow in zip(paths, graph.arrows, strict=True):
        x1, y1, bend, *_, x2, y2 = path
        assert ((x1, y1), (x2, y2)) == (circles[arrow.start], circles[arrow.end])
        between = circles[arrow.start + 1 : arrow.end]
        assert all(x != x1 for x, _ in between)
        assert all(y <= bend for _, y in between)


def test_pictures_escape_what_names_hold():
    evil = '<script>alert("1")</script> & `x` \n\x1b[31m'
    graph = OpGraph((Box("source", evil, evil), Box("value", "result", "1 row")), (Arrow(0, 1),))
    picture = svg_of(graph)
    assert "<script" not in picture
    assert "\x1b" not in picture
    drawn(picture)
    text = mermaid_of(graph)
    label = text.splitlines()[1]
    assert label.count('"') == 2
    assert not set("<>&`\x1b").intersection(label.replace("<br/>", ""))
    assert len(text.splitlines()) == 4


def test_of_very_many_operations_the_earlier_ones_share_a_box():
    view = provenance(chain(MOST_OPS + 7))
    circles, _, _ = drawn(view.to_svg())
    assert len(circles) == MOST_OPS + 3  # the source, the earlier ones, the result
    assert "7 earlier operations" in view.to_svg()
    assert len(view.ops()) == MOST_OPS + 7
    exactly = provenance(chain(MOST_OPS, "y"))
    assert "earlier" not in exactly.to_svg()


def test_a_picture_shows_where_each_operation_took_its_rows():
    """``(x - mean(x)) + y``: x goes into both, y into the last."""
    x, y = root("x"), root("y")
    mean = step("mean", ["x"], out=1)
    minus = step("subtract", ["x"], [mean], rows=(3, 1))
    plus = step("add", ["x", "y"], [minus], rows=(3, 3))
    node = derived(default_graph(), 3, [(x, range(3)), (y, range(3))])
    lines = provenance(tracked(node, [plus])).to_mermaid().splitlines()
    numbers = {
        re.search(r'"(\w+)', line)[1]: line.split("[")[0].split("(")[0].strip()
        for line in lines
        if '"' in line
    }
    arrows = {tuple(line.split(" --> ")) for line in map(str.strip, lines) if "-->" in line}
    wanted = [
        ("x", "mean"),
        ("x", "subtract"),
        ("mean", "subtract"),
        ("subtract", "add"),
        ("y", "add"),
        ("add", "result"),
    ]
    assert arrows == {(numbers[a], numbers[b]) for a, b in wanted}


def test_notebooks_get_html_with_the_picture_a_picture_and_markdown():
    lost = lost_node(default_graph(), 3, [root("<b>x</b>")], "an <i>unknown</i> call")
    view = provenance(tracked(lost, [step("call", ["<b>x</b>"])]))
    html = view._repr_html_()
    assert view.to_svg() in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert view._repr_svg_() == view.to_svg()
    assert f"```mermaid\n{view.to_mermaid()}```" in view._repr_markdown_()
    assert repr(view).startswith("ProvenanceView(3 rows from '<b>x</b>'; 1 operation;")


def test_a_trace_in_a_notebook_keeps_its_fence_whatever_a_name_holds():
    view = provenance(tracked(root("a```b")))
    markdown = view.trace(0)._repr_markdown_()
    fence = re.match("`+", markdown)[0]
    assert len(fence) == 4
    assert markdown.count(fence) == 2
