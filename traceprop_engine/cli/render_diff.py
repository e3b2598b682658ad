"""What changed between two versions of a source, as text for a terminal."""

from collections.abc import Sequence

from traceprop_engine.cli.source_diff import SourceDiff
from traceprop_engine.cli.text import Page, display_width, padded, shorten, table, wrapped
from traceprop_engine.explanation import SourceLine
from traceprop_engine.presentation import counted, visible
from traceprop_engine.source_lines import place

_MEANINGS = {
    "same": "equal rows, in the order they had",
    "moved": "equal rows, at another place among the others",
    "edited": "the same key, other values",
    "gone": "in the old version alone",
    "new": "in the new version alone",
}


def render_diff(diff: SourceDiff, page: Page) -> str:
    """Return what changed as text."""
    counts = vars(diff.counts)
    kinds = [[kind, f"{counts[kind]:,}", meaning] for kind, meaning in _MEANINGS.items()]
    header, *rows = table(
        ["rows", "", "meaning"], kinds, width=page.width, aligns=["left", "right"]
    )
    old, new = diff.old, diff.new
    title = f"{new.name}  {old.sha256[:12]} → {new.sha256[:12]}"
    size = f"{counted(old.n_rows, 'row')} → {counted(new.n_rows, 'row')}"
    lines = [page.heading(title), page.faint(f"  {size}"), "", page.faint(header), *rows]
    lines += _remarks(diff, page)
    edited = [marked for pair in diff.edited for marked in zip("-+", pair, strict=True)]
    lines += _section("Edited", edited, counts["edited"] - len(diff.edited), page)
    for name, mark, found, total in (
        ("Gone", "-", diff.gone, counts["gone"]),
        ("New", "+", diff.added, counts["new"]),
    ):
        lines += _section(name, [(mark, line) for line in found], total - len(found), page)
    return "\n".join(lines)


def _remarks(diff: SourceDiff, page: Page) -> list[str]:
    remarks = []
    if diff.columns_gone:
        remarks.append(f"Columns of the old version alone: {', '.join(diff.columns_gone)}.")
    if diff.columns_new:
        remarks.append(f"Columns of the new version alone: {', '.join(diff.columns_new)}.")
    if diff.columns_gone or diff.columns_new:
        remarks.append("A row with a value in one of them is not equal to one without.")
    if not diff.key_columns and diff.counts.gone and diff.counts.new:
        key = " ".join(f"--key {name}" for name in diff.known_key or ("COLUMN",))
        remarks.append(f"With {key} edited rows are told from those that are gone and new.")
    text = visible(" ".join(remarks))
    return ["", *map(page.faint, wrapped(text, page.width))] if remarks else []


def _section(
    name: str, marked: Sequence[tuple[str, SourceLine]], n_more: int, page: Page
) -> list[str]:
    """Return rows under a heading, each with its place and its text, or one reason for all."""
    if not marked and not n_more:
        return []
    places = max((display_width(place(line)) for _, line in marked), default=0)
    lines = ["", page.heading(name)]
    for mark, line in marked:
        text = "" if line.text is None else visible(line.text)
        start = f"  {mark} {padded(place(line), places)}  row {line.row}"
        lines.append(shorten(f"{start}  {text}".rstrip(), page.width))
    if n_more:
        lines.append(page.faint(f"  … {n_more:,} more (--limit)"))
    for reason in dict.fromkeys(line.unavailable for _, line in marked if line.text is None):
        lines += map(page.faint, wrapped(visible(f"No text: {reason}"), page.width))
    return lines
