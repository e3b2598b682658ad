"""What is known of a graph beside its nodes: a name of its own, and the files its inputs were."""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from weakref import WeakKeyDictionary

from traceprop_engine.errors import SourceIdTakenError
from traceprop_engine.lineage.marks import Notes
from traceprop_engine.sources import SourceVersion


@dataclass(frozen=True, eq=False)
class _Facts:
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    versions: dict[str, SourceVersion] = field(default_factory=dict)


# Notes have no place for the file that an input was read from; the facts go when the notes do.
_lock = Lock()
_facts: WeakKeyDictionary[Notes, _Facts] = WeakKeyDictionary()


def versions_of(notes: Notes) -> Mapping[str, SourceVersion]:
    """Return the file version of each input that was read from a file."""
    with _lock:
        return MappingProxyType(dict(_of(notes).versions))


def require_version(notes: Notes, version: SourceVersion) -> None:
    """Check that the input of the version's name is this version of a file, or not read yet.

    Raises:
        SourceIdTakenError: The name stands for another one.
    """
    with _lock:
        known = _of(notes).versions.get(version.name, version)
    if (known.uri, known.sha256) != (version.uri, version.sha256):
        raise SourceIdTakenError(version.name, known.uri)


def remember_version(notes: Notes, version: SourceVersion) -> None:
    """Take note that the input of the version's name is this version of a file.

    Raises:
        SourceIdTakenError: The name stands for another one.
    """
    require_version(notes, version)
    with _lock:
        _of(notes).versions.setdefault(version.name, version)


def token_of(notes: Notes) -> str:
    """Return a name that no other graph has, in this process or another, one that forked too."""
    with _lock:
        return f"{_of(notes).token}-{os.getpid()}"


def _of(notes: Notes) -> _Facts:
    return _facts.setdefault(notes, _Facts())
