"""Source lines as a reader wants them: file by file, with their place in it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from traceprop_engine.explanation import Explanation, InfluentialRow, SourceLine
from traceprop_engine.presentation import visible


@dataclass(frozen=True)
class FileLines:
    """Lines of one version of one source, in the order of the file."""

    source: str
    uri: str
    sha256: str
    lines: tuple[SourceLine, ...]

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return file_name(self.uri)


def lines_by_file(lines: Iterable[SourceLine]) -> list[FileLines]:
    """Return lines grouped by file version, the file with the fewest first.

    So the one record of a person stands above the many of their visits.
    """
    groups: dict[tuple[str, str, str], list[SourceLine]] = {}
    for line in lines:
        groups.setdefault((line.source, line.uri, line.sha256), []).append(line)
    files = [FileLines(*key, lines=tuple(found)) for key, found in groups.items()]
    return sorted(files, key=lambda file: len(file.lines))


def file_name(uri: str) -> str:
    """Return the last part of the path of a source."""
    return PurePath(uri).name or uri


def place(line: SourceLine) -> str:
    """Return where a source row stands: ``file:line``, or ``file#row`` in a file without lines."""
    if line.line_number is None:
        return f"{file_name(line.uri)}#{line.row}"
    return f"{file_name(line.uri)}:{line.line_number}"


def text_of(line: SourceLine) -> str:
    """Return the text of a source row for one line of output, or why there is none."""
    if line.text is None:
        return f"(not readable: {visible(line.unavailable or 'no reason is known')})"
    return visible(line.text)


def key_lines(explanation: Explanation) -> list[SourceLine | None]:
    """Return for each influential row the one source line that tells it apart best.

    It is a line of the source that has the fewest lines over all rows, such as the one line of a
    patient beside many lab values; where a row has none of it, the row's own first line.
    """
    counts = Counter(line.source for row in explanation.rows for line in row.lines)
    present = Counter(name for row in explanation.rows for name in {ln.source for ln in row.lines})
    key = min(counts, key=lambda name: (-present[name], counts[name]), default=None)
    return [_key_line(row, key) for row in explanation.rows]


def _key_line(row: InfluentialRow, key: str | None) -> SourceLine | None:
    own = [line for line in row.lines if line.source == key]
    return next(iter([*own, *row.lines]), None)
