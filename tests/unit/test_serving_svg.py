"""Pictures: nothing lies on anything else, and lengths are what they stand for."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traceprop_engine.serving.chain import Chain, Edge, Node
from traceprop_engine.serving.svg import bar_svg, chain_svg, curve_svg

NUMBER = r"-?[\d.]+"


@st.composite
def chains(draw):
    """Return chains of up to 6 lines, with edges that may pass several lines."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    levels = [level for level, size in enumerate(sizes) for _ in range(size)]
    nodes = [
        Node(f"n{i}", f"dataset number {i}", "1 row", f"/dataset/n{i}", level == 0, level)
        for i, level in enumerate(levels)
    ]
    pairs = [(a, b) for a in nodes for b in nodes if a.level < b.level]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    return Chain(tuple(nodes), tuple(Edge(a.id, b.id, draw(st.booleans())) for a, b in chosen))


def parsed(picture):
    return ET.fromstring(picture)  # noqa: S314 (made by the function under test)


def boxes_of(picture):
    """Return (x, y, width, height) of each box by the address it links to."""
    found = {}
    for link in parsed(picture).iter("a"):
        rect = link.find("rect")
        found[link.get("href")] = [float(rect.get(k)) for k in ("x", "y", "width", "height")]
    return found


@given(chains())
def test_no_box_lies_on_another_and_all_lie_in_the_picture(chain):
    picture = chain_svg(chain)
    boxes = boxes_of(picture)
    assert set(boxes) == {node.address for node in chain.nodes}
    width, height = (float(parsed(picture).get(k)) for k in ("width", "height"))
    places = list(boxes.values())
    for i, (x, y, w, h) in enumerate(places):
        assert 0 <= x <= width - w
        assert 0 <= y <= height - h
        for x2, y2, w2, h2 in places[i + 1 :]:
            assert x + w < x2 or x2 + w2 < x or y + h < y2 or y2 + h2 < y


@given(chains())
def test_an_edge_joins_its_boxes_and_passes_beside_all_others(chain):
    picture = chain_svg(chain)
    boxes = boxes_of(picture)
    address = {node.id: node.address for node in chain.nodes}
    paths = list(parsed(picture).iter("path"))
    assert len(paths) == len(chain.edges)
    for path, edge in zip(paths, chain.edges, strict=True):
        points = re.findall(rf"({NUMBER}) ({NUMBER})(?= [CV]|$)| V({NUMBER})", path.get("d"))
        x, y, w, h = boxes[address[edge.start]]
        assert (float(points[0][0]), float(points[0][1])) == (x + w / 2, y + h)
        x, y, w, h = boxes[address[edge.end]]
        assert (float(points[-1][0]), float(points[-1][1])) == (x + w / 2, y)
        assert ("statistic" in path.get("class")) == edge.is_statistic
        lanes = [float(p[0]) for p in points[1:-1] if p[0]]
        tops = [float(p[1]) for p in points[1:-1] if p[0]]
        for lane, top in zip(lanes, tops, strict=True):
            beside = [b for b in boxes.values() if b[1] == top]
            assert all(lane < b[0] or lane > b[0] + b[2] for b in beside)


def test_straight_chains_cross_nowhere():
    """a → b and c → d stay in columns although their names are in another order."""
    nodes = [Node("a", "a", "", "/a", True, 0), Node("c", "c", "", "/c", True, 0)]
    nodes += [Node("d", "d", "", "/d", False, 1), Node("b", "b", "", "/b", False, 1)]
    boxes = boxes_of(chain_svg(Chain(tuple(nodes), (Edge("a", "b", False), Edge("c", "d", False)))))
    assert boxes["/a"][0] == boxes["/b"][0]
    assert boxes["/c"][0] == boxes["/d"][0]


def test_names_are_escaped_and_long_ones_cut():
    node = Node("n", "<b>" + "x" * 40, "1 & 2", "/dataset/n", False, 0)
    root = parsed(chain_svg(Chain((node,), ())))
    texts = [text.text for text in root.iter("text")]
    assert texts == ["<b>" + "x" * 18 + "…", "1 & 2"]
    assert root.find("a/title").text == node.name


@given(st.floats(-10, 10), st.floats(0.1, 10))
def test_a_bar_goes_from_the_middle_to_its_side(value, largest):
    root = parsed(bar_svg(value, largest))
    rect = root.find("rect")
    start, length = float(rect.get("x")), float(rect.get("width"))
    assert length == pytest.approx(80 * min(1, abs(value) / largest), abs=0.06)
    assert rect.get("class") == ("up" if value >= 0 else "down")
    assert (start if value >= 0 else start + length) == pytest.approx(80, abs=0.11)


def test_a_bar_against_nothing_has_no_length():
    assert parsed(bar_svg(0.0, 0.0)).find("rect").get("width") == "0.0"


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_a_curve_keeps_the_order_and_the_heights_of_its_values(values):
    root = parsed(curve_svg(values))
    points = [tuple(map(float, p.split(","))) for p in root.find("polyline").get("points").split()]
    assert len(points) == len(values)
    xs, ys = zip(*points, strict=True)
    assert list(xs) == sorted(xs)
    spread = max(values) - min(values)
    if spread > 1e-6:
        depth = max(ys) - min(ys)
        assert depth == pytest.approx(140, abs=0.11)
        for value, y in zip(values, ys, strict=True):
            assert (max(ys) - y) / depth == pytest.approx((value - min(values)) / spread, abs=2e-3)
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
