"""Pictures as inline SVG. Colours come from the style sheet, so that they follow light and dark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from traceprop_engine.presentation import plain_value
from traceprop_engine.serving.chain import Chain, Edge, Node

_BOX_WIDTH = 184
_BOX_HEIGHT = 46
_GAP_X = 28
_GAP_Y = 38
_MARGIN = 2
_LANE_WIDTH = 12
_MOST_LETTERS = 22
_BAR_WIDTH = 160
_BAR_HEIGHT = 12
_PLOT_WIDTH = 560
_PLOT_HEIGHT = 180
_PLOT_LEFT = 78
_PLOT_BOTTOM = 24
_DOTTED_UP_TO = 40


_Place = tuple[str | Edge, int]


@dataclass(frozen=True)
class _Slot:
    """A place on a line of the picture: a box, or a lane that an edge passes through."""

    key: str | Edge
    level: int
    width: float
    inputs: tuple[_Place, ...]


def chain_svg(chain: Chain) -> Markup:
    """Return a chain of datasets as a picture, sources on top; every box links to its page."""
    lines = _lines(chain)
    middles = _middles(lines)
    levels = {node.id: node.level for node in chain.nodes}
    width = max(_line_width(line) for line in lines) + 2 * _MARGIN
    height = len(lines) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN
    body = [_edge(edge, levels, middles) for edge in chain.edges]
    body += [_node(node, middles[node.id, node.level], _top(node.level)) for node in chain.nodes]
    return _svg("chain", width, height, Markup().join(body), "From source files to this row")


def _lines(chain: Chain) -> list[list[_Slot]]:
    """Return what stands on each line: boxes, and lanes for edges that pass the line."""
    levels = {node.id: node.level for node in chain.nodes}
    lines: list[list[_Slot]] = [[] for _ in range(1 + max(levels.values()))]
    for node in chain.nodes:
        lines[node.level].append(_Slot(node.id, node.level, _BOX_WIDTH, ()))
    for edge in chain.edges:
        for level in range(levels[edge.start] + 1, levels[edge.end]):
            lines[level].append(_Slot(edge, level, _LANE_WIDTH, ()))
    return _ordered([[_with_inputs(slot, chain) for slot in line] for line in lines])


def _with_inputs(slot: _Slot, chain: Chain) -> _Slot:
    """Return a slot with the slots of the line above that it is joined to."""
    levels = {node.id: node.level for node in chain.nodes}
    edges = (
        [slot.key]
        if isinstance(slot.key, Edge)
        else [edge for edge in chain.edges if edge.end == slot.key]
    )
    above = slot.level - 1
    inputs = [edge.start if levels[edge.start] == above else edge for edge in edges]
    return replace(slot, inputs=tuple((key, above) for key in inputs))


def _ordered(lines: Sequence[Sequence[_Slot]]) -> list[list[_Slot]]:
    """Return each line in an order in which few edges cross.

    Every slot goes to the mean of the slots it is joined to: from above, from below, and from
    above again, which the first line has no say in.
    """
    ordered = [list(line) for line in lines]
    outputs: dict[_Place, list[_Place]] = {}
    for slot in (slot for line in lines for slot in line):
        for place in slot.inputs:
            outputs.setdefault(place, []).append((slot.key, slot.level))
    down = range(1, len(ordered))
    for level in (*down, *reversed(range(len(ordered) - 1)), *down):
        middles = _middles(ordered)
        ordered[level].sort(key=lambda slot: _mean_of_neighbours(slot, outputs, middles))
    return ordered


def _mean_of_neighbours(
    slot: _Slot, outputs: Mapping[_Place, Sequence[_Place]], middles: Mapping[_Place, float]
) -> float:
    joined = slot.inputs or outputs.get((slot.key, slot.level), ())
    return sum(middles[place] for place in joined) / len(joined) if joined else 0.0


def _middles(lines: Sequence[Sequence[_Slot]]) -> Mapping[_Place, float]:
    """Return the middle of each slot, every line centred."""
    widest = max(map(_line_width, lines), default=0.0)
    middles: dict[_Place, float] = {}
    for line in lines:
        x = _MARGIN + (widest - _line_width(line)) / 2
        for slot in line:
            middles[slot.key, slot.level] = x + slot.width / 2
            x += slot.width + _GAP_X
    return middles


def _line_width(line: Sequence[_Slot]) -> float:
    return sum(slot.width for slot in line) + _GAP_X * max(0, len(line) - 1)


def _top(level: int) -> float:
    return _MARGIN + level * (_BOX_HEIGHT + _GAP_Y)


def _edge(edge: Edge, levels: Mapping[str, int], middles: Mapping[_Place, float]) -> Markup:
    """Return an edge as a smooth line through the lanes of the lines that it passes."""
    start, end = levels[edge.start], levels[edge.end]
    stops = [middles[edge.start, start], *(middles[edge, n] for n in range(start + 1, end))]
    path = f"M{stops[0]:g} {_top(start) + _BOX_HEIGHT:g}"
    for level, x in enumerate([*stops[1:], middles[edge.end, end]], start=start + 1):
        bottom = _top(level - 1) + _BOX_HEIGHT
        bend = (bottom + _top(level)) / 2
        path += f" C{stops[level - start - 1]:g} {bend:g} {x:g} {bend:g} {x:g} {_top(level):g}"
        path += f" V{_top(level) + _BOX_HEIGHT:g}" if level < end else ""
    kind = "edge statistic" if edge.is_statistic else "edge"
    return Markup('<path class="{}" d="{}"/>').format(kind, path)


def _node(node: Node, middle: float, y: float) -> Markup:
    name = node.name if len(node.name) <= _MOST_LETTERS else f"{node.name[: _MOST_LETTERS - 1]}…"
    return Markup(
        '<a href="{}"><title>{}</title><rect class="box {}" x="{:g}" y="{:g}" width="{}" '
        'height="{}" rx="6"/><text class="name" x="{:g}" y="{:g}">{}</text>'
        '<text class="caption" x="{:g}" y="{:g}">{}</text></a>'
    ).format(
        node.address,
        node.name,
        "source" if node.is_source else "dataset",
        *(middle - _BOX_WIDTH / 2, y, _BOX_WIDTH, _BOX_HEIGHT),
        *(middle, y + 20, name),
        *(middle, y + 36, node.caption),
    )


def bar_svg(value: float, largest: float) -> Markup:
    """Return a bar from the middle: to the right if ``value`` is positive, else to the left."""
    middle = _BAR_WIDTH / 2
    length = middle * min(1.0, abs(value) / largest) if largest else 0.0
    start = middle if value >= 0 else middle - length
    body = Markup(
        '<rect class="{}" x="{:.1f}" y="1" width="{:.1f}" height="{}"/>'
        '<line class="axis" x1="{}" y1="0" x2="{}" y2="{}"/>'
    ).format(
        "up" if value >= 0 else "down",
        *(start, length, _BAR_HEIGHT - 2),
        *(middle, middle, _BAR_HEIGHT),
    )
    return _svg("bar", _BAR_WIDTH, _BAR_HEIGHT, body, None)


def curve_svg(values: Sequence[float], steps: Sequence[int] | None = None) -> Markup:
    """Return values over the steps of a training as a line, with the extremes at the axis.

    Args:
        values: In the order of the steps, evenly spaced.
        steps: The number of the step of each value; 0, 1, 2, ... without them.
    """
    first, last = (0, len(values) - 1) if steps is None else (steps[0], steps[-1])
    low, high = min(values), max(values)
    points = _curve_points(values, low, high)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [
        Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(*p) for p in points
    ]
    body = Markup(
        '<line class="axis" x1="{0}" y1="8" x2="{0}" y2="{1}"/>'
        '<line class="axis" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>'
        '<text class="tick end" x="{3}" y="14">{4}</text>'
        '<text class="tick end" x="{3}" y="{1}">{5}</text>'
        '<text class="tick" x="{0}" y="{6}">{7}</text>'
        '<text class="tick end" x="{2}" y="{6}">step {8}</text>'
        '<polyline class="curve" points="{9}"/>{10}'
    ).format(
        *(_PLOT_LEFT, _PLOT_HEIGHT - _PLOT_BOTTOM, _PLOT_WIDTH - 8, _PLOT_LEFT - 6),
        *(plain_value(high), plain_value(low), _PLOT_HEIGHT - 6),
        *(f"{first:,}", f"{last:,}", line),
        Markup().join(dots if len(values) <= _DOTTED_UP_TO else []),
    )
    title = f"From {plain_value(values[0])} to {plain_value(values[-1])}"
    return _svg("plot", _PLOT_WIDTH, _PLOT_HEIGHT, body, title)


def _curve_points(values: Sequence[float], low: float, high: float) -> list[tuple[float, float]]:
    spread = (high - low) or 1.0
    step = (_PLOT_WIDTH - 20 - _PLOT_LEFT) / max(1, len(values) - 1)
    depth = _PLOT_HEIGHT - _PLOT_BOTTOM - 16
    return [
        (_PLOT_LEFT + 6 + i * step, 10 + (high - value) / spread * depth)
        for i, value in enumerate(values)
    ]


def _svg(name: str, width: float, height: float, body: Markup, title: str | None) -> Markup:
    label = Markup("") if title is None else Markup("<title>{}</title>").format(title)
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img">{}{}</svg>'
    ).format(name, width, height, width, height, label, body)
