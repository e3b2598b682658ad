"""`traceprop what-if`: what a prediction would be without some rows."""

import re
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
from traceprop_engine.cli.render_removal import render_group_removal
from traceprop_engine.explanation import choose_removed, group_effect, load_predictions
from traceprop_engine.explanation.explain import choose_row


class RowNumbers(click.ParamType):
    """Row numbers from 0, with commas between them and runs as ``3-7``."""

    name = "ROWS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[range]:
        """Return the runs of numbers that a text lists, a single number as a run of one."""
        rows: list[range] = []
        for part in str(value).split(","):
            found = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
            if found is None:
                self.fail(f"{part!r} is no row number; write such as 1,2 or 3-7.", param, ctx)
            first, last = int(found[1]), int(found[2] or found[1])
            if last < first:
                self.fail(f"{part!r} goes backwards.", param, ctx)
            rows.append(range(first, last + 1))
        return rows


def _listed(runs: list[range], n_rows: int) -> list[int]:
    """Return row numbers of runs; of those that no row has, the first of a run, to be refused."""
    return [row for run in runs for row in run[: max(n_rows - run.start, 0) + 1]]


@click.command("what-if", short_help="What a prediction would be without some rows.")
@click.argument("dataset", required=False)
@click.option("--row", type=click.IntRange(min=0), help="Row number of the prediction, from 0.")
@click.option("--where", metavar="CONDITION", help="Or a condition, such as 'id = 7'.")
@click.option("--remove-rows", type=RowNumbers(), help="Training rows, such as 1,2 or 3-7.")
@click.option("--remove-source", metavar="NAME", help="Or a source behind the model.")
@click.option("--remove-where", metavar="CONDITION", help="Only these rows of the source.")
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    help="Which output of the model to look at; what suits its family by default.",
)
@number_option("--newton-steps", "Steps of the estimate; two for large groups.", default=1)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Refit the model without the rows as well; by default where the store can, not for nets.",
)
@json_option(
    "prediction (dataset, dataset_version_id, row), training_run_id, removed, training_rows, "
    "n_training_rows, model, target, unit, before, predicted_change (by the scores), newton_change "
    "and newton_steps, found_change, found_error, n_models, gradient_norm and n_steps (by the "
    "refit), statistics, unknown. Null where it was not asked for, or is undefined."
)
@store_option
def what_if(  # noqa: PLR0913 (one argument for each option)
    directory: Path,
    dataset: str | None,
    row: int | None,
    where: str | None,
    *,
    remove_rows: list[range] | None,
    remove_source: str | None,
    remove_where: str | None,
    target: str | None,
    newton_steps: int,
    verify: bool | None,
    as_json: bool,
) -> None:
    """Say what a prediction would be if rows were taken out of the model.

    DATASET is a recorded set of predictions, by name or version; the newest by default. Of a
    source, every training row goes that one of the chosen source rows reached.

    """
    if (row is None) == (where is None):
        raise click.UsageError("Choose one prediction, with --row or with --where.")
    if (remove_rows is None) == (remove_source is None):
        raise click.UsageError("Choose what to remove, with --remove-rows or --remove-source.")
    if remove_where is not None and remove_source is None:
        raise click.UsageError("--remove-where chooses rows of --remove-source.")
    store = open_store(directory)
    progress("Reading the model and its predictions")
    predictions = load_predictions(store, dataset)
    number = choose_row(predictions, row=row, where=where)
    progress("Finding the training rows to remove")
    n_rows = predictions.model.run.n_train
    removed = choose_removed(
        store,
        predictions.model,
        training_rows=None if remove_rows is None else _listed(remove_rows, n_rows),
        source=remove_source,
        where=remove_where,
    )
    progress(f"Removing {len(removed.training_rows):,} training rows")
    effect = group_effect(
        predictions,
        number,
        removed,
        target=cast("Target | None", target),
        newton_steps=newton_steps,
        verify=not predictions.is_of_net if verify is None else verify,
    )
    version = predictions.version
    asked = {"dataset": version.dataset, "dataset_version_id": version.id, "row": number}
    if as_json:
        which = {"prediction": asked, "training_run_id": predictions.model.id}
        answer_json(which | effect.to_dict())
    else:
        answer(render_group_removal(effect, f"Row {number:,} of {version.dataset}", page()))
