"""Signed numbers as bars: inline SVG that follows a page's style, and has colours without one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from traceprop_engine.presentation import signed_column, visible

_NAMES, _WIDTH, _LINE, _BAR, _NUMBERS, _MARGIN = 240, 320, 24, 14, 96, 8
_MOST_LETTERS = 34
_UP, _DOWN = "#1f6fb2", "#c2571a"
_FONT = "ui-sans-serif,system-ui,sans-serif"


@dataclass(frozen=True)
class Bar:
    """One line of a picture: its name and its number; NaN has no bar."""

    name: str
    value: float


def bars_svg(bars: Sequence[Bar], title: str) -> Markup:
    """Return bars to the right for positive numbers and to the left for negative ones.

    Args:
        bars: One a line, from the top.
        title: What a reader who does not see the picture is told.
    """
    width, height = _NAMES + _WIDTH + _NUMBERS, len(bars) * _LINE + _MARGIN
    largest = max((abs(bar.value) for bar in bars if math.isfinite(bar.value)), default=0.0)
    shown = signed_column([bar.value for bar in bars])
    zero = _NAMES + _WIDTH / 2
    lines = [
        _line(bar, text, place * _LINE + _LINE / 2, bar.value / largest if largest else 0.0)
        for place, (bar, text) in enumerate(zip(bars, shown, strict=True))
    ]
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {0} {1}" width="{0}" '
        'height="{1}" role="img" font-family="{2}" font-size="12" fill="currentColor">'
        '<title>{3}</title>{4}<line class="axis" x1="{5:g}" y1="0" x2="{5:g}" y2="{1}" '
        'stroke="currentColor" stroke-opacity=".4"/></svg>'
    ).format(width, height, _FONT, visible(title), Markup().join(lines), zero)


def short_name(name: str) -> str:
    """Return a name that fits beside a bar."""
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def _line(bar: Bar, text: str, middle: float, share: float) -> Markup:
    """Return a line; ``share`` of the largest number is the length of its bar, NaN is none."""
    zero = _NAMES + _WIDTH / 2
    length = abs(share) * _WIDTH / 2 if math.isfinite(share) else 0.0
    name = visible(bar.name)
    rises = bar.value >= 0
    return Markup(
        '<text class="tick end" text-anchor="end" x="{}" y="{:g}">{}<title>{}</title></text>'
        '<rect class="{}" fill="{}" x="{:.1f}" y="{:g}" width="{:.1f}" height="{}"/>'
        '<text class="tick" x="{}" y="{:g}">{}</text>'
    ).format(
        *(_NAMES - 8, middle + 4, short_name(name), name),
        *("up" if rises else "down", _UP if rises else _DOWN),
        *(zero if rises else zero - length, middle - _BAR / 2, length, _BAR),
        *(_NAMES + _WIDTH + 8, middle + 4, "undefined" if math.isnan(bar.value) else text),
    )
