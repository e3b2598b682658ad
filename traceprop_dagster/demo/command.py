"""`traceprop demo`: the question on real data, from three files to the lines behind a risk."""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import dagster as dg

from traceprop_dagster.demo.assembly import DEFAULT_FOLDER, demo_definitions
from traceprop_dagster.demo.data import DatasetName, write_demo_data
from traceprop_dagster.demo.nets import NETS
from traceprop_dagster.errors import DemoFailedError
from traceprop_engine.cli.render import render_explanation
from traceprop_engine.explanation import (
    Counterfactual,
    Explanation,
    explain_prediction,
    load_predictions,
    removal_effect,
)
from traceprop_engine.store import Store

_INSTANCE_CONFIG = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
_OUR_PACKAGES = ("traceprop_engine.", "traceprop_dagster.")


@click.command(short_help="Run the demo pipeline and explain a prediction.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(DEFAULT_FOLDER),
    show_default=True,
    help="Where data, store and Dagster's history go.",
)
@click.option(
    "--dataset",
    type=click.Choice(["nafld", "generated"]),
    default="nafld",
    show_default=True,
    help="Real hospital data, or a small generated hospital that needs no extra.",
)
@click.option("--row", type=int, default=None, help="The prediction to explain, by its row.")
@click.option(
    "--nets", is_flag=True, help="Train a PyTorch and a JAX net on the same table as well."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def demo(folder: Path, dataset: DatasetName, row: int | None, *, nets: bool, as_json: bool) -> None:
    """Run the demo pipeline through Dagster and explain one prediction.

    Without --row it explains the patient of the test split with the highest risk. With --nets it
    explains the same patient's risk by each net too.
    """
    root = folder.expanduser().absolute()
    say("Writing patients.csv, labs.csv and events.csv …")
    write_demo_data(root / "data", dataset)
    materialize(root, nets=nets)
    store = Store.open(root / "store")
    explanation, counterfactual = answer(store, row)
    of_nets = explained_by_nets(store, explanation.prediction.row) if nets else []
    if as_json:
        value = explanation.to_dict() | {"counterfactual": counterfactual.to_dict()}
        value |= {"nets": [each.to_dict() for each in of_nets]} if nets else {}
        click.echo(json.dumps(value, ensure_ascii=False, indent=2))
        return
    width = min(shutil.get_terminal_size((100, 40)).columns, 120)
    click.echo(render_explanation(explanation, counterfactual, width=width))
    for each in of_nets:
        click.echo("\n" + render_explanation(each, None, width=width))
    say(next_steps(root, explanation.prediction.row))


def explained_by_nets(store: Store, row: int) -> list[Explanation]:
    """Explain the same prediction by each net that was trained, its five strongest rows."""
    return [
        explain_prediction(store, load_predictions(store, net.predictions), row, top_k=5)
        for net in NETS
        if net.is_there
    ]


def materialize(root: Path, *, nets: bool = False) -> None:
    """Observe the sources and run the pipeline in this process, saying what it does.

    A file that cannot be read is refused before anything is recorded.

    Raises:
        DemoFailedError: A source or a step failed.
    """
    definitions = demo_definitions(root, hooks=frozenset({_say_step}), nets=nets)
    wanted = NETS if nets else ()
    with _instance(root / "dagster_home") as instance:
        say("Looking at the source files …")
        _run(definitions.resolve_job_def("observe_sources"), instance)
        say("Running the pipeline through Dagster …")
        _run(definitions.resolve_job_def("demo"), instance)
        for net in wanted:
            if not net.is_there:
                say(f"  {net.note}")
        if any(net.is_there for net in wanted):
            say("Training the nets …")
            _run(definitions.resolve_job_def("nets"), instance)


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance) -> None:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = job.execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)
    for event in result.all_node_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            raise DemoFailedError(str(event.step_key), _what_was_raised(error))


def answer(store: Store, row: int | None) -> tuple[Explanation, Counterfactual]:
    """Explain one prediction, and take its most influential training row out of the model."""
    predictions = load_predictions(store, "predictions")
    if row is None:
        row = int(predictions.frame["probability"].to_numpy().argmax())
    explanation = explain_prediction(store, predictions, row)
    first = explanation.rows[0].training_row
    return explanation, removal_effect(predictions, row, [first])


def next_steps(root: Path, row: int) -> str:
    """Return how to go on."""
    home, store = root / "dagster_home", root / "store"
    return (
        "\nGo on:\n"
        f"  traceprop explain predictions --store {store} --row {row} --all-lines\n"
        f"  traceprop affected patients --line 2 --store {store}\n"
        f"  traceprop serve --store {store}\n"
        f"  TRACEPROP_DEMO_DIR={root} DAGSTER_HOME={home} dagster dev -m "
        "traceprop_dagster.demo.definitions\n"
    )


def say(message: str) -> None:
    """Tell the person at the terminal how far it is; results alone go to standard output."""
    click.echo(message, err=True)


@dg.success_hook
def _say_step(context: dg.HookContext) -> None:
    say(f"  ✓ {context.op.name}")


@contextmanager
def _instance(home: Path) -> Generator[dg.DagsterInstance]:
    """Return a Dagster instance that keeps its history in ``home``, for `dagster dev` to show."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_INSTANCE_CONFIG)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def _what_was_raised(error: Any) -> str:
    """Return in one line what a step raised, without the errors that Dagster puts around it.

    The class is named unless it is one of ours, whose messages say all.
    """
    while error.cause is not None and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    line = str(error.message).strip().splitlines()[0]
    name, _, message = line.partition(": ")
    return message if name.startswith(_OUR_PACKAGES) else line
