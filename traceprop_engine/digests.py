"""Digests: SHA-256 of bytes, files and arrays, and canonical JSON whose bytes can be hashed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the bytes of the file ``path`` as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_arrays(arrays: Iterable[NDArray[Any]]) -> str:
    """Return one SHA-256 of arrays: their types, their shapes and every bit."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def canonical_json(value: object) -> str:
    """Return ``value`` as JSON with sorted keys and no blanks: equal values give equal text.

    Raises:
        TypeError: ``value`` holds something that JSON has no word for.
        ValueError: ``value`` holds NaN or an infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def identify(prefix: str, facts: Mapping[str, object]) -> str:
    """Return a stable identifier, ``prefix`` and 24 hexadecimal digits, of what ``facts`` say.

    The same facts give the same identifier in every process, so that writing them twice is
    harmless.

    Example:
        >>> identify("dv", {"a": 1, "b": 2}) == identify("dv", {"b": 2, "a": 1})
        True
    """
    return f"{prefix}_{sha256_bytes(canonical_json(dict(facts)).encode())[:24]}"
