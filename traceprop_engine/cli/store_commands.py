"""`traceprop store`: look after a store."""

import re
from pathlib import Path

import click

from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    open_store,
    page,
    progress,
    store_option,
)
from traceprop_engine.cli.render_store import (
    render_collection,
    render_info,
    render_ingest,
    render_verification,
)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


class Age(click.ParamType):
    """An age such as ``12h`` or ``7d``, as seconds."""

    name = "age"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the age in seconds."""
        if not isinstance(value, str):
            return value
        found = _AGE.fullmatch(value.strip().lower())
        if found is None:
            self.fail(f"{value!r} is no age; write it like 30m, 12h or 7d.", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


@click.group(
    invoke_without_command=True, short_help="Count, check, mend and tidy what is recorded."
)
@click.pass_context
def store(ctx: click.Context) -> None:
    """Count, check, mend and tidy what is recorded."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@store.command(short_help="Count what is recorded.")
@json_option(
    "directory, schema_version, n_commits, n_set_aside, n_rows (of each table), n_blocks, n_bytes."
)
@store_option
def info(directory: Path, *, as_json: bool) -> None:
    """Count what is recorded."""
    found = open_store(directory).info()
    if as_json:
        answer_json({**vars(found)})
    else:
        answer(render_info(found, page()))


@store.command(short_help="Find what is damaged or missing.")
@json_option("is_sound, n_commits, n_blocks, problems (kind, subject, message).")
@store_option
@click.pass_context
def verify(ctx: click.Context, directory: Path, *, as_json: bool) -> None:
    """Read everything, and say what is damaged or missing; exit code 1 if anything is.

    Commits that were set aside because they contradict earlier ones are listed, but are no damage.

    """
    opened = open_store(directory)
    progress("Reading every commit and every block")
    report = opened.verify()
    if as_json:
        answer_json({"is_sound": report.is_sound, **vars(report)})
    else:
        answer(render_verification(report, page()))
    ctx.exit(0 if report.is_sound else 1)


@store.command(short_help="Make the index anew from the log.")
@json_option("commit_numbers, set_aside (commit_no, reason).")
@store_option
def rebuild(directory: Path, *, as_json: bool) -> None:
    """Make the DuckDB index anew from the log, which holds everything."""
    opened = open_store(directory)
    progress("Reading the log")
    report = opened.rebuild()
    if as_json:
        answer_json({**vars(report)})
    else:
        answer(render_ingest("The index was made anew", report, page()))


@store.command(short_help="Remove what no commit refers to.")
@click.option(
    "--older-than",
    type=Age(),
    default="1d",
    show_default=True,
    help="Keep what is younger: a writer may be about to commit it.",
)
@json_option("blocks (the SHA-256 of each), n_staged, n_bytes.")
@store_option
def gc(directory: Path, older_than: float, *, as_json: bool) -> None:
    """Remove blocks that no commit refers to, and what crashed writers left behind."""
    report = open_store(directory).gc(older_than)
    if as_json:
        answer_json({**vars(report)})
    else:
        answer(render_collection(report))


@store.command(short_help="Bring the index to this release's schema.")
@json_option("schema_version, n_commits, commit_numbers, set_aside (commit_no, reason).")
@store_option
def migrate(directory: Path, *, as_json: bool) -> None:
    """Bring the index to the schema of this release; the log stays as it was written."""
    opened = open_store(directory)
    report = opened.ingest(blocking=True)
    found = opened.info()
    if as_json:
        numbers = {"schema_version": found.schema_version, "n_commits": found.n_commits}
        answer_json(numbers | ({**vars(report)} if report else {}))
    else:
        title = f"The index has schema version {found.schema_version}"
        answer(render_ingest(title, report, page()))
