"""Which encodings a source can have, and whether its bytes are text in the one that was named."""

import codecs
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from traceprop_engine.errors import NotTextError, SourceOptionError


def check_encoding(path: Path, encoding: str) -> str:
    """Return the usual name of ``encoding``, ``"utf-8"`` for every spelling of UTF-8.

    The bytes of a line break, a quote and an ASCII delimiter must mean these characters wherever
    they stand. That holds for UTF-8, and for encodings that give each byte a character of its own
    and agree with ASCII.

    Raises:
        SourceOptionError: Python does not know the encoding, or it is not of that kind.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        problem = f"Python knows no encoding {encoding!r}"
        raise SourceOptionError(path, problem, "name another, such as 'latin-1'") from error
    if name in ("utf-8", "utf-8-sig"):
        return "utf-8"
    if not _is_bytewise(name):
        problem = f"in the encoding {encoding!r} a byte alone does not say which character it is"
        raise SourceOptionError(path, problem, "convert the file to UTF-8 first")
    return name


def _is_bytewise(encoding: str) -> bool:
    singles = [bytes((byte,)) for byte in range(256)]
    pairs = b"".join(first + second for first in singles for second in singles)
    try:
        letters = [single.decode(encoding, "replace") for single in singles]
        text = pairs.decode(encoding, "replace")
    except (LookupError, ValueError):
        return False
    agrees = "".join(letters[:128]) == bytes(range(128)).decode("ascii")
    return agrees and text == "".join(first + second for first in letters for second in letters)


def without_mark(chunks: Iterator[bytes], encoding: str) -> tuple[int, Iterator[bytes]]:
    """Take a byte order mark off UTF-8 text; return how many bytes it had, and the rest."""
    head = b""
    while len(head) < len(codecs.BOM_UTF8) and (chunk := next(chunks, b"")):
        head += chunk
    text = head.removeprefix(codecs.BOM_UTF8) if encoding == "utf-8" else head
    return len(head) - len(text), chain([text], chunks)


class TextCheck:
    """Checks that the chunks of a file, one after the other, are text without NUL characters.

    (pandas and `csv` disagree about NUL, and in practice it means that the file is no text.)
    """

    def __init__(self, path: Path, encoding: str, offset: int = 0) -> None:
        """Check the file ``path`` from ``offset`` on; `check_encoding` returned ``encoding``."""
        self._path = path
        self._encoding = encoding
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def check(self, chunk: bytes, line_after: Callable[[bytes], int], *, last: bool) -> None:
        """Check the next chunk.

        Args:
            chunk: The bytes.
            line_after: Returns the number of the line in which the bytes after a beginning of
                ``chunk`` stand.
            last: Whether the text ends with the chunk.

        Raises:
            NotTextError: The bytes are no text in the encoding.
        """
        pending = self._decoder.getstate()[0]
        nul = chunk.find(0)
        try:
            self._decode(chunk if nul < 0 else chunk[:nul], last=last)
        except UnicodeDecodeError as error:
            reason = f"byte 0x{error.object[error.start]:02x} is not {self._encoding}"
            raise self._error(chunk, error.start - len(pending), reason, line_after) from error
        if nul >= 0:
            raise self._error(chunk, nul, "a NUL byte", line_after)
        self._offset += len(chunk)

    def _decode(self, chunk: bytes, *, last: bool) -> None:
        if self._decoder.getstate()[0] or not chunk.isascii() or last:
            self._decoder.decode(chunk, last)

    def _error(
        self, chunk: bytes, position: int, reason: str, line_after: Callable[[bytes], int]
    ) -> NotTextError:
        offset = self._offset + position
        marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        if offset == 0 and chunk.startswith(marks):
            reason += " (the file looks like UTF-16)"
        return NotTextError(self._path, line_after(chunk[: max(position, 0)]), offset, reason)
