"""What the subcommands have in common: where the store is, and how they answer."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from traceprop_engine.cli.text import Page
from traceprop_engine.store import Store

_Function = TypeVar("_Function", bound=Callable[..., Any])
_WIDTH_WITHOUT_TERMINAL = 100
_WIDEST = 160
_NARROWEST = 40


def store_option(function: _Function) -> _Function:
    """Give a command the option ``--store``, as the argument ``directory``."""
    return click.option(
        "--store",
        "directory",
        envvar="TRACEPROP_STORE",
        default=".traceprop",
        show_default=True,
        show_envvar=True,
        type=click.Path(path_type=Path, file_okay=True),
        help="Directory of the store.",
    )(function)


def number_option(
    name: str, text: str, *, default: int, least: int = 1
) -> Callable[[_Function], _Function]:
    """Give a command an option that takes a whole number.

    Args:
        name: Of the option, such as ``--limit``.
        text: For the help, which shows the default too.
        default: Without the option.
        least: Smaller numbers are refused.
    """
    return click.option(
        name, type=click.IntRange(min=least), default=default, show_default=True, help=text
    )


def json_option(keys: str) -> Callable[[_Function], _Function]:
    """Give a command the option ``--json``, as the argument ``as_json``.

    Args:
        keys: The keys of the document, for the help; they are a promise.
    """
    text = f"Answer with one JSON object on standard output. Its keys: {keys}"
    return click.option("--json", "as_json", is_flag=True, help=text)


def open_store(directory: Path) -> Store:
    """Return the store that ``--store`` names.

    Raises:
        StoreNotFoundError: There is none.
        StoreSchemaError: It was written by a newer release.
    """
    return Store.open(directory.expanduser())


def page() -> Page:
    """Return what is known of the terminal: its width, and whether it takes colour."""
    width = shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return Page(min(max(width, _NARROWEST), _WIDEST), colour=colour)


def progress(text: str) -> None:
    """Tell on standard error what is being done, if somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"{text} …", err=True)


def answer(text: str) -> None:
    """Write an answer to standard output; what the terminal cannot show becomes "?"."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))


def answer_json(document: Mapping[str, object]) -> None:
    """Write a document to standard output as JSON that any program can read."""
    click.echo(json.dumps(to_json(document), indent=2, ensure_ascii=True, allow_nan=False))


def to_json(value: object) -> object:
    """Return ``value`` as JSON can hold it: numbers that are not finite become null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    return str(value)
