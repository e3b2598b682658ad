"""How numbers and texts are shown to a reader, in a terminal and on a page alike."""

import datetime as dt
import math
import unicodedata
from collections.abc import Sequence

_C0_PICTURES = 0x2400
_DELETE = 0x7F
_DELETE_PICTURE = "\u2421"
_MOST_DECIMALS = 8
_LINE_BREAK = "\u23ce"


def visible(text: str) -> str:
    r"""Return ``text`` on one line, with characters that would act on a display shown instead.

    Line breaks, tabs, escapes and other control characters become pictures of themselves;
    characters that turn the direction of writing, or cannot be encoded, become their code.

    Example:
        >>> visible("a\tb") == "a\u2409b"
        True
    """
    plain = text.replace("\r\n", "\n").replace("\n", _LINE_BREAK)
    return "".join(map(_visible_character, plain))


def _visible_character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < ord(" "):
        return chr(_C0_PICTURES + code)
    if code == _DELETE:
        return _DELETE_PICTURE
    if unicodedata.category(character) == "Zs":
        return " "
    return f"\\u{code:04x}"


def signed(value: float) -> str:
    """Return an influence with its sign and three significant digits.

    Example:
        >>> signed(0.01234), signed(-2.0)
        ('+0.0123', '-2.00')
    """
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:+}"
    text = f"{value:+#.3g}"
    return text.rstrip(".") if "e" not in text else f"{value:+.2e}"


def signed_column(values: Sequence[float]) -> list[str]:
    """Return influences with equally many decimals, so that a column of them reads at a glance.

    Example:
        >>> signed_column([0.5, -0.0312])
        ['+0.500', '-0.031']
    """
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return [signed(value) for value in values]
    decimals = max(_decimals(max(sizes), 3), _decimals(min(sizes), 2))
    if decimals > _MOST_DECIMALS:
        return [signed(value) for value in values]
    return [f"{value:+,.{decimals}f}" for value in values]


def _decimals(size: float, significant: int) -> int:
    return max(0, significant - 1 - math.floor(math.log10(size)))


def plain_value(value: object) -> str:
    """Return a cell of a table for a reader: short numbers, dates without idle zeros."""
    if isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "\u2013"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return visible(str(value))


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "row"), counted(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def row_numbers(rows: Sequence[int], limit: int = 8) -> str:
    """Return ascending row numbers as a short list, with runs as one entry.

    Example:
        >>> row_numbers([0, 1, 2, 5]), row_numbers([1, 3, 5, 7], limit=2)
        ('0-2, 5', '1, 3, … (4 rows)')
    """
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    shown = ", ".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in runs[:limit])
    return shown if len(runs) <= limit else f"{shown}, … ({counted(len(rows), 'row')})"


def logistic(logit: float) -> float:
    """Return the probability that log-odds stand for.

    Example:
        >>> logistic(0.0)
        0.5
    """
    if logit < 0:
        return math.exp(logit) / (1.0 + math.exp(logit))
    return 1.0 / (1.0 + math.exp(-logit))
