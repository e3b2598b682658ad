"""`traceprop doctor`: what is known to break, looked for here."""

from pathlib import Path

import click
from click.core import ParameterSource

from traceprop_engine.cli.doctor import examine
from traceprop_engine.cli.options import answer, answer_json, json_option, page, store_option
from traceprop_engine.cli.render_store import render_findings


@click.command(short_help="What is known to break, looked for here.")
@json_option("healthy, findings (level: ok, note or problem; subject; text).")
@store_option
@click.pass_context
def doctor(ctx: click.Context, directory: Path, *, as_json: bool) -> None:
    """Show versions, the state of the store, and who holds its index; exit code 1 on a problem."""
    was_named = ctx.get_parameter_source("directory") is not ParameterSource.DEFAULT
    findings = examine(directory.expanduser(), must_exist=was_named)
    healthy = all(finding.level != "problem" for finding in findings)
    if as_json:
        answer_json({"healthy": healthy, "findings": findings})
    else:
        answer(render_findings(findings, page()))
    ctx.exit(0 if healthy else 1)
