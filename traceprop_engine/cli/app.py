"""The command `traceprop`: finds its subcommands, and turns errors into one line and a code.

Exit codes: 0, all is well; 1, the answer is bad news, such as a damaged store; 2, the question
could not be answered, and standard error says why in one line.

A subcommand is imported when it is called, and not before: the help lists ours from a table. Those
of other packages come from the entry points of the group ``traceprop.commands``; what they do
stands in their modules alone, which the help loads.
"""

import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

import click

from traceprop_engine.errors import CommandLoadError, TracepropError
from traceprop_engine.errors.foreign import Attempt, told

DISTRIBUTION = "traceprop-dagster"
GROUP = "traceprop.commands"
"""The group of entry points under which other packages offer subcommands."""

_OWN = {
    "explain": "traceprop_engine.cli.explain_command:explain",
    "what-if": "traceprop_engine.cli.what_if_command:what_if",
    "trace": "traceprop_engine.cli.trace_command:trace",
    "affected": "traceprop_engine.cli.affected_command:affected",
    "diff": "traceprop_engine.cli.diff_command:diff",
    "export": "traceprop_engine.cli.export_command:export",
    "serve": "traceprop_engine.cli.serve_command:serve",
    "store": "traceprop_engine.cli.store_commands:store",
    "doctor": "traceprop_engine.cli.doctor_command:doctor",
}
_SUMMARIES = {
    _OWN["explain"]: "Which training rows moved a prediction.",
    _OWN["what-if"]: "What a prediction would be without some rows.",
    _OWN["trace"]: "Which source lines a row was made from.",
    _OWN["affected"]: "What a source row reached.",
    _OWN["diff"]: "Which rows differ between two versions of a source.",
    _OWN["export"]: "Lineage as Parquet, OpenTelemetry, OpenLineage or PROV.",
    _OWN["serve"]: "Pages of a store, for this machine only.",
    _OWN["store"]: "Count, check, mend and tidy what is recorded.",
    _OWN["doctor"]: "What is known to break, looked for here.",
    "traceprop_dagster.check_lineage_command:check_lineage": (
        "Run an asset on changed inputs and check its row maps."
    ),
    "traceprop_dagster.demo.command:demo": "Run the demo pipeline and explain a prediction.",
}
"""What the commands of this distribution do, by entry point, so that the help loads none."""

_UNANSWERED = 2
_INTERRUPTED = 130


class Commands(click.Group):
    """Subcommands by name, loaded one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names of all subcommands: our own first, then those of other packages."""
        return list(_declared())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a subcommand, loaded; one that cannot be loaded says so when it is called."""
        declared = _declared().get(cmd_name)
        return None if declared is None else _load(declared)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of subcommands, without loading those of this distribution."""
        declared = _declared()
        limit = formatter.width - 6 - max(map(len, declared))
        with formatter.section("Commands"):
            told = [(name, _summary(each, limit)) for name, each in declared.items()]
            formatter.write_dl([(name, text) for name, text in told if text is not None])

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line; in standalone mode leave the process with its exit code."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except click.exceptions.Abort:
            sys.exit(_INTERRUPTED)
        except (click.ClickException, TracepropError, OSError) as error:
            click.echo(f"traceprop: error: {_message(error)}", err=True)
            sys.exit(_UNANSWERED)
        sys.exit(code if isinstance(code, int) else 0)


def _message(error: click.ClickException | TracepropError | OSError) -> str:
    if not isinstance(error, click.ClickException):
        return " ".join(str(error).split())
    help_of = getattr(getattr(error, "ctx", None), "command_path", None)
    hint = f" See `{help_of} --help`." if help_of else ""
    return " ".join(error.format_message().split()) + hint


def _declared() -> dict[str, EntryPoint]:
    own = {name: EntryPoint(name, value, GROUP) for name, value in _OWN.items()}
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return own | {entry.name: entry for entry in found if entry.name not in own}


def _summary(declared: EntryPoint, limit: int) -> str | None:
    """Return what a subcommand does in a line; ``None`` for one that wants to be hidden."""
    if declared.value in _SUMMARIES:
        return _SUMMARIES[declared.value]
    command = _load(declared)
    return None if command.hidden else command.get_short_help_str(limit)


def _load(declared: EntryPoint) -> click.Command:
    if declared.name in _OWN:
        return declared.load()
    command = None
    with Attempt() as attempt:
        command = declared.load()
    if attempt.error is not None:
        return _broken(declared, told(attempt.error))
    if not isinstance(command, click.Command):
        return _broken(declared, f"{declared.value} is no click command")
    return command


def _broken(declared: EntryPoint, reason: str) -> click.Command:
    def refuse() -> None:
        raise CommandLoadError(declared.name, reason)

    return click.Command(
        declared.name,
        callback=refuse,
        short_help=f"(cannot be loaded: {reason})",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def _tell_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:  # noqa: ARG001, FBT001 (click's signature)
    if not asked:
        return
    try:
        click.echo(f"traceprop {version(DISTRIBUTION)}")
    except PackageNotFoundError:
        click.echo("traceprop, run from its sources")
    ctx.exit()


@click.group(
    name="traceprop",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Say which rows of which source files made a prediction, and what they reached."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
