"""What is known of a store, and of the place it is used in, as text for a terminal."""

from collections.abc import Sequence

from traceprop_engine.cli.doctor import Finding
from traceprop_engine.cli.text import Page, flowed, padded, shorten, table, wrapped
from traceprop_engine.presentation import counted, visible
from traceprop_engine.store import (
    CollectionReport,
    IngestReport,
    SetAside,
    StoreInfo,
    VerificationReport,
)

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_STEP = 1000
_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def size(n_bytes: int) -> str:
    """Return a number of bytes in the unit that suits it.

    Example:
        >>> size(999), size(1_234_567)
        ('999 bytes', '1.2 MB')
    """
    value, unit = float(n_bytes), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def render_info(info: StoreInfo, page: Page) -> str:
    """Return what a store holds as text."""
    facts = (
        f"schema version {info.schema_version}, {counted(info.n_commits, 'commit')}, "
        f"{counted(info.n_blocks, 'block')}, {size(info.n_bytes)}"
    )
    rows = [[name, f"{count:,}"] for name, count in info.n_rows.items()]
    lines = table(["table", "rows"], rows, width=page.width, aligns=["left", "right"])
    shown = [page.heading(f"Store {info.directory}"), *wrapped(facts, page.width)]
    if info.n_set_aside:
        aside = f"{counted(info.n_set_aside, 'commit')} set aside; see `traceprop store verify`"
        shown += [page.alarm(line) for line in wrapped(aside, page.width)]
    return "\n".join([*shown, page.faint(lines[0]), *lines[1:]])


def render_verification(report: VerificationReport, page: Page) -> str:
    """Return what a check of a store found as text."""
    read = f"read {counted(report.n_commits, 'commit')} and {counted(report.n_blocks, 'block')}"
    if report.is_sound:
        verdict = page.heading(f"The store is sound: {read}")
    else:
        damaged = sum(problem.kind != "set aside" for problem in report.problems)
        verdict = page.alarm(f"The store has {counted(damaged, 'problem')}: {read}")
    lines = [verdict]
    for problem in report.problems:
        lines.append(shorten(f"  {problem.kind}: {visible(problem.subject)}", page.width))
        lines += wrapped(visible(problem.message), page.width, indent=4)
    return "\n".join(lines)


def render_ingest(title: str, report: IngestReport | None, page: Page) -> str:
    """Return what an ingest did as text."""
    numbers = report.commit_numbers if report else ()
    lines = [page.heading(f"{title}: {counted(len(numbers), 'commit')} taken over")]
    return "\n".join([*lines, *_set_aside(report.set_aside if report else (), page)])


def _set_aside(found: Sequence[SetAside], page: Page) -> list[str]:
    return [
        page.alarm(line)
        for aside in found
        for line in wrapped(f"commit {aside.commit_no} set aside: {aside.reason}", page.width)
    ]


def render_collection(report: CollectionReport) -> str:
    """Return what a collection removed as text."""
    return (
        f"Removed {counted(len(report.blocks), 'block')} and "
        f"{counted(report.n_staged, 'left-over file')}, {size(report.n_bytes)}"
    )


def render_findings(findings: Sequence[Finding], page: Page) -> str:
    """Return what `traceprop doctor` found as text."""
    subjects = max(len(finding.subject) for finding in findings)
    start = 2 + max(map(len, _MARKS.values())) + 2 + subjects + 2
    lines: list[str] = []
    for finding in findings:
        mark = padded(_MARKS[finding.level], max(map(len, _MARKS.values())))
        first, *rest = flowed(visible(finding.text).split(), page.width, indent=start) or [""]
        line = f"  {mark}  {padded(finding.subject, subjects)}  {first.strip()}"
        block = [line, *rest]
        lines += block if finding.level == "ok" else [page.alarm(text) for text in block]
    return "\n".join(lines)
