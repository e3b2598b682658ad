"""Views to HTML, through the templates of this package; every value is escaped."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from traceprop_engine.presentation import (
    counted,
    logistic,
    plain_value,
    row_numbers,
    signed,
    signed_column,
    visible,
)
from traceprop_engine.source_lines import key_lines, lines_by_file, place


@dataclass(frozen=True)
class View:
    """A page before it is HTML: the name of its template and the values that stand in it."""

    template: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Redirect:
    """Another address that has what was asked for."""

    location: str


def render(view: View) -> str:
    """Return a view as an HTML document."""
    return _environment().get_template(f"{view.template}.html.jinja").render(view.values)


def link(*parts: object) -> str:
    """Return the address of a page from its parts, each percent-encoded.

    Example:
        >>> link("dataset", "a/b", "row", 3)
        '/dataset/a%2Fb/row/3'
    """
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


@cache
def _number(value: int) -> str:
    return f"{value:,}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _short(text: object, length: int = 12) -> str:
    return str(text)[:length]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("traceprop_engine.serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "counted": counted,
        "number": _number,
        "percent": _percent,
        "plain": plain_value,
        "row_numbers": row_numbers,
        "short": _short,
        "signed": signed,
        "source_text": _source_text,
        "time": _time,
        "visible": visible,
    }
    environment.filters |= filters
    functions: dict[str, Any] = {
        "key_lines": key_lines,
        "lines_by_file": lines_by_file,
        "link": link,
        "logistic": logistic,
        "place": place,
        "signed_column": signed_column,
    }
    environment.globals.update(functions)
    return environment


def _source_text(text: str) -> str:
    """Return the text of a record with its line breaks, other control characters shown."""
    return "\n".join(map(visible, text.split("\n")))


def _time(value: dt.datetime | None) -> str:
    return "\u2013" if value is None else f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
