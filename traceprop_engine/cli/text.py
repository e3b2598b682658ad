"""Building blocks of text for a terminal: columns, bars, and lines that fit its width."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import click

Align = Literal["left", "right"]
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


@dataclass(frozen=True)
class Page:
    """What a renderer needs to know of the place its text will stand in.

    Attributes:
        width: Columns of the terminal.
        colour: Whether headings and signs may be coloured.
    """

    width: int
    colour: bool = False

    def heading(self, text: str) -> str:
        """Return a heading that fits."""
        return self._styled(shorten(text, self.width), bold=True)

    def faint(self, text: str) -> str:
        """Return text that matters less."""
        return self._styled(text, dim=True)

    def by_sign(self, text: str, value: float) -> str:
        """Return text in the colour of a rise or a fall."""
        return self._styled(text, fg="cyan" if value >= 0 else "magenta")

    def alarm(self, text: str) -> str:
        """Return text that a reader must not overlook."""
        return self._styled(text, fg="yellow")

    def _styled(self, text: str, *, fg: str | None = None, **style: bool) -> str:
        return click.style(text, fg=fg, **style) if self.colour else text


def display_width(text: str) -> int:
    """Return how many columns ``text`` takes in a terminal."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def shorten(text: str, width: int) -> str:
    """Return ``text`` cut to ``width`` columns, the last of them "…" if it was cut.

    Example:
        >>> shorten("a long line", 6)
        'a lon…'
    """
    if display_width(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += _character_width(character)
        if used > width - 1:
            break
        kept += character
    return f"{kept}…"


def padded(text: str, width: int, align: Align = "left") -> str:
    """Return ``text`` filled with spaces to ``width`` columns."""
    space = " " * max(0, width - display_width(text))
    return f"{text}{space}" if align == "left" else f"{space}{text}"


def bar(value: float, largest: float, cells: int = 12) -> str:
    """Return a bar whose length shows the size of ``value`` against ``largest``.

    Example:
        >>> bar(-0.5, 1.0, cells=4), bar(0.3, 1.0, cells=2)
        ('██', '▋')
    """
    if not largest > 0:
        return ""
    eighths = round(min(1.0, abs(value) / largest) * cells * 8)
    full, rest = divmod(eighths, 8)
    return _FULL * full + (_EIGHTHS[rest] if rest else "")


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    aligns: Sequence[Align] = (),
    indent: int = 2,
) -> list[str]:
    """Return the lines of a table whose last column takes what width is left.

    Args:
        header: One title for each column.
        rows: Cells; those of the last column are cut to fit.
        width: Columns of the terminal.
        aligns: How each column is aligned; left where nothing is said.
        indent: Spaces before each line.
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(display_width(line[i]) for line in lines) for i in range(len(header))]
    sides = [*aligns, *["left"] * (len(header) - len(aligns))]
    left = width - indent - sum(widths[:-1]) - 2 * (len(header) - 1)
    widths[-1] = max(8, min(widths[-1], left))
    shown = (" " * indent + "  ".join(_cells(line, widths, sides)) for line in lines)
    return [shorten(line.rstrip(), width) for line in shown]


def _cells(line: Sequence[str], widths: Sequence[int], sides: Sequence[str]) -> list[str]:
    return [
        padded(shorten(cell, width), width, "right" if side == "right" else "left")
        for cell, width, side in zip(line, widths, sides, strict=True)
    ]


def wrapped(text: str, width: int, indent: int = 2) -> list[str]:
    """Return ``text`` broken between words into lines that fit, each indented."""
    return flowed(text.split(), width, indent=indent)


def flowed(items: Sequence[str], width: int, *, indent: int = 2, gap: str = " ") -> list[str]:
    """Return ``items`` one after another in as many lines as they need, each indented.

    Example:
        >>> flowed(["id=7", "y=1", "age=50"], width=12, gap="  ")
        ['  id=7  y=1', '  age=50']
    """
    lines: list[str] = []
    current = ""
    for item in items:
        longer = f"{current}{gap}{item}" if current else item
        if current and display_width(longer) > width - indent:
            lines.append(current)
            longer = item
        current = longer
    return [" " * indent + shorten(line, width - indent) for line in [*lines, current] if line]
