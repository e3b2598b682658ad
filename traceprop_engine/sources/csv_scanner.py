"""Find the records of a CSV text, chunk by chunk, without a Python step for each of them.

The grammar is the one that Python's `csv` and pandas share: a quote opens a quoted field only where
a field begins, a doubled quote inside stands for one, text after the closing quote is plain, and a
line ends with LF, CRLF or a lone CR. Lines of nothing but blanks are no records.
"""

from dataclasses import dataclass

import numpy as np

from traceprop_engine.sources.csv_quotes import (
    AFTER_QUOTE,
    AFTER_TEXT,
    AT_FIELD_START,
    PLAIN,
    QUOTED,
    states_after_quotes,
)

_LF, _CR, _QUOTE = b'\n\r"'


def count_line_breaks(text: bytes) -> int:
    """Return how many lines end in ``text``: with LF, CRLF, or a lone CR."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


@dataclass(frozen=True)
class ScannedBlock:
    """A stretch of a CSV text, and the records that end in it.

    Attributes:
        text: The bytes; they may begin and end in the middle of a record.
        line_numbers: First line of each record, counted from 1.
        byte_starts: Offset of the first byte of each record in the whole text.
        byte_ends: Offset after the last byte of each record, its line break left out.
        n_fields: Number of fields of each record.
        drop_starts: Positions in ``text`` where bytes begin that are of no record and no line
            break of one: blank lines, and the CR of a CRLF; one for each line, blank or not.
        drop_ends: Positions where those bytes end, often where they begin.
        lone_crs: Positions in ``text`` of the lone CRs that end a line outside quotes.
    """

    text: bytes
    line_numbers: np.ndarray
    byte_starts: np.ndarray
    byte_ends: np.ndarray
    n_fields: np.ndarray
    drop_starts: np.ndarray
    drop_ends: np.ndarray
    lone_crs: np.ndarray

    def plain_lines(self) -> bytes:
        """Return the text without blank lines, and with LF after each record.

        A parser then sees the very records of the index: what it could take for a line break or a
        blank line is gone. (pandas 3.1 drops the blanks in front of a record that begins near the
        end of one of its buffers, unless it keeps blank lines.)
        """
        if np.array_equal(self.drop_starts, self.drop_ends) and not len(self.lone_crs):
            return self.text
        data = np.frombuffer(self.text, dtype=np.uint8).copy()
        data[self.lone_crs] = _LF
        depth = np.zeros(len(data) + 1, dtype=np.int8)
        depth[self.drop_starts] += 1
        depth[self.drop_ends] -= 1
        return data[np.cumsum(depth[:-1], dtype=np.int8) == 0].tobytes()


@dataclass(frozen=True)
class _Tokens:
    """The bytes that matter: line breaks, delimiters and quotes; running counts include each."""

    positions: np.ndarray
    ends_record: np.ndarray
    n_lines: np.ndarray
    n_delimiters: np.ndarray


class CsvScanner:
    """Scans one CSV text; `feed` it the chunks in order, then call `finish`.

    It holds a chunk and a few numbers, however long the text or a record is.

    Attributes:
        line: Number of the line where ``held`` begins.
        held: End of the last chunk that only what follows can decide: a CR that may belong to a
            CRLF, blanks that may make a blank line.
        quote_line: Line where the last quoted field began.
    """

    def __init__(self, delimiter: str, offset: int = 0) -> None:
        """Scan a text with fields between ``delimiter``, whose first byte stands at ``offset``."""
        self._delimiter = ord(delimiter)
        self._blanks = b" \t".replace(delimiter.encode(), b"")
        self.line = 1
        self.held = b""
        self.quote_line = 1
        self._offset = offset
        self._state = PLAIN
        self._previous = _LF
        self._record_start = offset
        self._record_line = 1
        self._record_delimiters = 0

    @property
    def in_quotes(self) -> bool:
        """Whether a quoted field is open."""
        return self._state == QUOTED

    def feed(self, chunk: bytes) -> ScannedBlock:
        """Return the records that end in ``chunk`` and what was held before it."""
        text = self.held + chunk
        n_decided = self._n_decided(text)
        self.held = text[n_decided:]
        return self._scan(text[:n_decided])

    def finish(self) -> ScannedBlock:
        """Return the last record, if no line break ended it."""
        text, self.held = self.held, b""
        if self._record_start == self._offset and not text.strip(self._blanks):
            return self._scan(b"")
        return self._scan(text if text.endswith(b"\r") else text + b"\n")

    def _n_decided(self, text: bytes) -> int:
        whole = text.removesuffix(b"\r")
        n_solid = len(whole.rstrip(self._blanks))
        before = whole[n_solid - 1] if n_solid else self._previous
        return n_solid if before in (_LF, _CR) else len(whole)

    def _scan(self, text: bytes) -> ScannedBlock:
        data = np.frombuffer(text, dtype=np.uint8)
        tokens = self._tokens(text, data)
        block = self._block(text, data, tokens)
        self._advance(text, tokens)
        return block

    def _tokens(self, text: bytes, data: np.ndarray) -> _Tokens:
        matters = (data == _LF) | (data == self._delimiter)
        if b"\r" in text:
            matters[_lone_crs(data)] = True
        if b'"' in text:
            matters |= data == _QUOTE
        positions = np.flatnonzero(matters)
        symbols = data[positions]
        outside = self._outside_quotes(text, data, positions[symbols == _QUOTE], symbols)
        ends_line = (symbols == _LF) | (symbols == _CR)
        return _Tokens(
            positions=positions,
            ends_record=np.flatnonzero(ends_line & outside),
            n_lines=np.cumsum(ends_line),
            n_delimiters=np.cumsum((symbols == self._delimiter) & outside),
        )

    def _outside_quotes(
        self, text: bytes, data: np.ndarray, quotes: np.ndarray, symbols: np.ndarray
    ) -> np.ndarray:
        """Return whether each token stands outside quoted fields, and step over the quotes."""
        if not len(quotes):
            return np.full(len(symbols), not self.in_quotes)
        places = self._places(data, quotes)
        states = np.concatenate([[self._state], states_after_quotes(places, self._state)])
        opening = quotes[(states[1:] == QUOTED) & (places == AT_FIELD_START)]
        self._state = int(states[-1])
        if len(opening):
            self.quote_line = self.line + count_line_breaks(text[: opening[-1]])
        return (states != QUOTED)[np.cumsum(symbols == _QUOTE)]

    def _places(self, data: np.ndarray, quotes: np.ndarray) -> np.ndarray:
        before = data[quotes - 1]
        if quotes[0] == 0:
            before[0] = self._previous
        places = np.full(len(quotes), AFTER_TEXT, dtype=np.int8)
        places[(before == self._delimiter) | (before == _LF) | (before == _CR)] = AT_FIELD_START
        places[before == _QUOTE] = AFTER_QUOTE
        return places

    def _block(self, text: bytes, data: np.ndarray, tokens: _Tokens) -> ScannedBlock:
        breaks = tokens.positions[tokens.ends_record]
        starts = _shifted(breaks + 1, self._record_start - self._offset)
        lines = _shifted(tokens.n_lines[tokens.ends_record] + self.line, self._record_line)
        delimiters = tokens.n_delimiters[tokens.ends_record] + self._record_delimiters
        n_fields = np.diff(delimiters, prepend=0) + 1
        ends = breaks - _ends_with_crlf(data, breaks)
        kept = ~self._are_blank(data, starts, ends, n_fields)
        return ScannedBlock(
            text=text,
            line_numbers=lines[kept],
            byte_starts=starts[kept] + self._offset,
            byte_ends=ends[kept] + self._offset,
            n_fields=n_fields[kept],
            drop_starts=np.where(kept, ends, starts),
            drop_ends=np.where(kept, breaks, breaks + 1),
            lone_crs=breaks[data[breaks] == _CR],
        )

    def _are_blank(
        self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, n_fields: np.ndarray
    ) -> np.ndarray:
        """Return whether each line is blank; one that began before ``data`` never is."""
        blank = np.zeros(len(starts), dtype=bool)
        first = data[np.maximum(starts, 0)]
        is_blank = np.isin(first, list(self._blanks)) | (starts == ends)
        maybe = np.flatnonzero((n_fields == 1) & (starts >= 0) & is_blank)
        if len(maybe):
            solid = np.flatnonzero(~np.isin(data, list(self._blanks)))
            blank[maybe] = solid[np.searchsorted(solid, starts[maybe])] >= ends[maybe]
        return blank

    def _advance(self, text: bytes, tokens: _Tokens) -> None:
        if len(tokens.positions):
            n_delimiters = int(tokens.n_delimiters[-1])
            if len(tokens.ends_record):
                last = tokens.ends_record[-1]
                self._record_start = self._offset + int(tokens.positions[last]) + 1
                self._record_line = self.line + int(tokens.n_lines[last])
                self._record_delimiters = -int(tokens.n_delimiters[last])
            self._record_delimiters += n_delimiters
            self.line += int(tokens.n_lines[-1])
        if text:
            self._previous = text[-1]
            self._offset += len(text)


def _lone_crs(data: np.ndarray) -> np.ndarray:
    positions = np.flatnonzero(data == _CR)
    followers = data[np.minimum(positions + 1, len(data) - 1)]
    return positions[followers != _LF]


def _ends_with_crlf(data: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    return (data[breaks] == _LF) & (breaks > 0) & (data[breaks - 1] == _CR)


def _shifted(values: np.ndarray, first: int) -> np.ndarray:
    return np.concatenate([[first], values[:-1]]) if len(values) else values
