"""`traceprop explain`: which training rows moved a prediction, and what without the strongest."""

from pathlib import Path
from typing import cast, get_args

import click

from traceprop_engine.attribution import Target
from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    number_option,
    open_store,
    page,
    progress,
    store_option,
)
from traceprop_engine.cli.render import render_explanation
from traceprop_engine.explanation import explain_prediction, load_predictions, removal_effect
from traceprop_engine.explanation.explain import choose_row


@click.command(short_help="Which training rows moved a prediction.")
@click.argument("dataset", required=False)
@click.option("--row", type=click.IntRange(min=0), help="Row number of the prediction, from 0.")
@click.option("--where", metavar="CONDITION", help="Or a condition, such as 'id = 7'.")
@number_option("--top-k", "How many training rows to name.", default=10)
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    help="Which output of the model to explain; what suits its family by default.",
)
@click.option(
    "--remove-first/--no-remove-first",
    default=True,
    show_default=True,
    help="Take the strongest row out of the model, and see what that does; not for nets.",
)
@click.option("--all-lines", is_flag=True, help="Show every source line of the strongest row.")
@json_option(
    "prediction (dataset, dataset_version_id, row, values, lines), training_run_id, model, "
    "n_training_rows, target, unit, method, rows (rank, training_row, influence, lines, steps, "
    "unknown), statistics, and counterfactual (training_rows, target, unit, before, "
    "predicted_change, found_change, gradient_norm, n_steps), null with --no-remove-first and "
    "for nets. Each of lines has source, uri, sha256, row, line_number, text, unavailable."
)
@store_option
def explain(  # noqa: PLR0913 (one argument for each option)
    directory: Path,
    dataset: str | None,
    row: int | None,
    where: str | None,
    top_k: int,
    target: str | None,
    *,
    remove_first: bool,
    all_lines: bool,
    as_json: bool,
) -> None:
    """Name the training rows that moved one prediction most, and their source lines.

    DATASET is a recorded set of predictions, by name or version; the newest by default.

    """
    if (row is None) == (where is None):
        raise click.UsageError("Choose one prediction, with --row or with --where.")
    store = open_store(directory)
    asked = cast("Target | None", target)
    progress("Reading the model and its predictions")
    predictions = load_predictions(store, dataset)
    number = choose_row(predictions, row=row, where=where)
    progress("Scoring the training rows")
    explanation = explain_prediction(store, predictions, number, top_k=top_k, target=asked)
    counterfactual = None
    if remove_first and predictions.is_of_net:
        progress("The model is a net: no Newton step takes a row out of it, so none is removed")
    elif remove_first and explanation.rows:
        progress("Removing the strongest row")
        strongest = [explanation.rows[0].training_row]
        counterfactual = removal_effect(predictions, number, strongest, target=asked)
    if as_json:
        answer_json(explanation.to_dict() | {"counterfactual": counterfactual})
        return
    seen = page()
    answer(
        render_explanation(
            explanation,
            counterfactual,
            width=seen.width,
            all_lines=all_lines,
            colour=seen.colour,
        )
    )
