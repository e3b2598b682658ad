"""Pictures of the operations behind a value: inline SVG, and Mermaid text."""

from collections.abc import Iterator, Sequence
from html import escape

from traceprop_engine.presentation import visible
from traceprop_engine.provenance_views.op_graph import Arrow, Box, OpGraph

_ROW = 38
_LANE = 22
_RADIUS = 6
_MARGIN = 14
_LETTER = 7.2
_MOST_LETTERS = 96
_FILLS = {"source": "#2f7dd1", "op": "#8a8f98", "earlier": "none", "value": "#1f9d63"}
_FONT = "ui-sans-serif,system-ui,sans-serif"

_MERMAID_SHAPES = {
    "source": ('[("', '")]'),
    "op": ('["', '"]'),
    "earlier": ('["', '"]'),
    "value": ('(["', '"])'),
}
_MERMAID_CODES = {character: f"#{ord(character)};" for character in '"#<>&`\\[]{}()|'}


def svg_of(graph: OpGraph) -> str:
    """Return the graph as an SVG: one line for each box, with the arrows in lanes beside them."""
    lanes = _lanes(graph)
    left = _MARGIN + (max(lanes) + 1) * _LANE
    texts = [(_short(box.title), _short(box.caption)) for box in graph.boxes]
    width = left + _MARGIN + _LETTER * max(len(title) + len(rest) + 3 for title, rest in texts)
    height = _ROW * len(graph.boxes)
    arrows = "".join(_arrow(arrow, lanes) for arrow in graph.arrows)
    boxes = "".join(
        _box(box, number, lanes[number], left, text)
        for number, (box, text) in enumerate(zip(graph.boxes, texts, strict=True))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" '
        f'width="{width:g}" height="{height}" role="img" font-family="{_FONT}" font-size="13" '
        f'fill="currentColor"><title>From sources to the result</title>{arrows}{boxes}</svg>'
    )


def _lanes(graph: OpGraph) -> list[int]:
    """Return a lane for each box, so that the arrows that start at it pass no other box.

    A box keeps its lane down to the last box that depends on it; a box takes over the lane of one
    that ends at it, or the leftmost free one.
    """
    last = dict.fromkeys(range(len(graph.boxes)), -1)
    starts: dict[int, list[int]] = {}
    for arrow in graph.arrows:
        last[arrow.start] = max(last[arrow.start], arrow.end)
        starts.setdefault(arrow.end, []).append(arrow.start)
    lanes: list[int] = []
    taken: dict[int, int] = {}
    for number in range(len(graph.boxes)):
        taken = {lane: owner for lane, owner in taken.items() if last[owner] >= number}
        ending = [lanes[start] for start in starts.get(number, []) if last[start] == number]
        free = next(lane for lane in range(len(taken) + 1) if lane not in taken)
        lanes.append(min([*ending, free]) if ending else free)
        taken[lanes[-1]] = number
    return lanes


def _arrow(arrow: Arrow, lanes: Sequence[int]) -> str:
    """Return a line down the lane of its start, which bends into the lane of its end."""
    (x1, y1), (x2, y2) = (_place(number, lanes[number]) for number in (arrow.start, arrow.end))
    bend = y2 - _ROW
    middle = y2 - _ROW / 2
    path = f"M{x1:g} {y1:g} V{bend:g} C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    dashes = ' stroke-dasharray="2 4"' if arrow.is_order else ""
    return (
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".4" '
        f'stroke-width="1.5"{dashes}/>'
    )


def _box(box: Box, number: int, lane: int, left: float, text: tuple[str, str]) -> str:
    x, y = _place(number, lane)
    title, caption = (escape(part) for part in text)
    full = escape(visible(f"{box.title} {box.caption}".strip()))
    weight = ' font-weight="600"' if box.kind != "op" else ""
    return (
        f'<g><title>{full}</title><circle cx="{x:g}" cy="{y:g}" r="{_RADIUS}" '
        f'fill="{_FILLS[box.kind]}" stroke="currentColor" stroke-opacity=".4"/>'
        f'<text x="{left:g}" y="{y + 4:g}"{weight}>{title}'
        f'<tspan font-weight="400" fill-opacity=".65" dx="10">{caption}</tspan></text></g>'
    )


def _place(number: int, lane: int) -> tuple[float, float]:
    return _MARGIN + lane * _LANE, _ROW * number + _ROW / 2


def _short(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _MOST_LETTERS else f"{shown[: _MOST_LETTERS - 1]}…"


def mermaid_of(graph: OpGraph) -> str:
    """Return the graph as a Mermaid flowchart; arrows that only tell an order are dotted."""
    return "\n".join(["flowchart TD", *_mermaid_lines(graph)]) + "\n"


def _mermaid_lines(graph: OpGraph) -> Iterator[str]:
    for number, box in enumerate(graph.boxes):
        opened, closed = _MERMAID_SHAPES[box.kind]
        words = "<br/>".join(_mermaid_text(text) for text in (box.title, box.caption) if text)
        yield f"    n{number}{opened}{words}{closed}"
    for arrow in graph.arrows:
        yield f"    n{arrow.start} {'-.->' if arrow.is_order else '-->'} n{arrow.end}"


def _mermaid_text(text: str) -> str:
    return "".join(_MERMAID_CODES.get(character, character) for character in _short(text))
