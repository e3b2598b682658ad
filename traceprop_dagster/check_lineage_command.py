"""`traceprop check-lineage`: perturb an asset's inputs and see whether its lineage holds."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click
import dagster as dg

from traceprop_dagster.asset_replay import asset_replay, read_options_of
from traceprop_dagster.code_locations import load_definitions
from traceprop_dagster.errors import AssetReplayError
from traceprop_dagster.io_manager import TracepropIOManager
from traceprop_dagster.lineage_checks import AssetLineageCheck, check_asset_lineage
from traceprop_dagster.metadata import dataset_name
from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    number_option,
    open_store,
    progress,
)
from traceprop_engine.errors.foreign import Attempt, told
from traceprop_engine.store import Store

_REFUTED, _UNCHECKED = 1, 2


@click.command("check-lineage", short_help="Run an asset on changed inputs and check its row maps.")
@click.argument("asset")
@click.option(
    "-f",
    "--python-file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the Dagster definitions.",
)
@click.option("-m", "--module-name", "module", help="Module with the Dagster definitions.")
@click.option(
    "--store",
    "directory",
    type=click.Path(path_type=Path),
    envvar="TRACEPROP_STORE",
    help="Directory of the store; by default that of the asset's IO manager.",
)
@click.option("--partition", help="Which partition of a partitioned asset.")
@number_option("--rows", "Most rows of one input; of a larger one a sample is used.", default=2_000)
@number_option("--trials", "How many perturbations of each input are tried.", default=40)
@number_option("--seed", "For the same perturbations.", default=0, least=0)
@json_option(
    "asset, dataset_version, ok, is_refuted, is_sampled, outdated, n_out, nondeterministic, "
    "inputs, unchecked, violations, contexts_missing, presence_effects, idle_edges."
)
@click.pass_context
def check_lineage(  # noqa: PLR0913 (click gives each option by its name)
    ctx: click.Context,
    asset: str,
    file: Path | None,
    module: str | None,
    directory: Path | None,
    partition: str | None,
    *,
    rows: int,
    trials: int,
    seed: int,
    as_json: bool,
) -> None:
    """Perturb the inputs of ASSET, run it again, and compare what changes with its lineage.

    The definitions are found as `dagster` finds them: -f, -m, workspace.yaml, pyproject.toml, or
    definitions.py. Nothing is written to the store; the asset's function runs many times, so it
    must not have side effects. The exit code is 1 if the lineage is wrong, 2 if it could not be
    checked.
    """
    definitions = load_definitions(file, module)
    wanted = _asset(definitions, asset)
    with ExitStack() as stack:
        store = _store(stack, definitions, wanted) if directory is None else open_store(directory)
        progress(f"Loading the inputs of {asset}")
        options = read_options_of(definitions.resolve_all_asset_specs())
        replay = stack.enter_context(
            asset_replay(
                store, wanted, resources={}, source_options=options, partition_key=partition
            )
        )
        found = check_asset_lineage(replay, trials=trials, seed=seed, rows=rows, progress=progress)
    if as_json:
        answer_json(_document(found))
    else:
        answer(f"{found.asset}: {found.summary()}")
    if not found.ok:
        ctx.exit(_REFUTED if found.is_refuted else _UNCHECKED)


def _asset(definitions: dg.Definitions, name: str) -> dg.AssetsDefinition:
    """Return the definition of an asset, with the resources that it needs."""
    key = dg.AssetKey.from_user_string(name)
    known = sorted(dataset_name(each.key) for each in definitions.resolve_all_asset_specs())
    if dataset_name(key) not in known:
        reason = f"there is no such asset; there are {', '.join(known) or 'none'}"
        raise AssetReplayError(name, reason, "name one of them")
    found = definitions.resolve_assets_def(key)
    if not found.is_materializable:
        reason = "it is a source, which no function makes"
        raise AssetReplayError(name, reason, "name an asset that is made from others")
    return found


def _store(stack: ExitStack, definitions: dg.Definitions, asset: dg.AssetsDefinition) -> Store:
    """Return the store of an asset's IO manager."""
    key = asset.get_io_manager_key_for_asset_key(asset.key)
    manager = (definitions.resources or {}).get(key)
    if not isinstance(manager, TracepropIOManager):
        reason = f"its IO manager '{key}' is no TracepropIOManager"
        raise AssetReplayError(dataset_name(asset.key), reason, "name the store with --store")
    path = None
    with Attempt() as attempt:
        made = stack.enter_context(dg.build_resources({key: manager}))
        path = Path(getattr(made, key).store.path)
    if path is None:
        assert attempt.error is not None  # noqa: S101 (nothing else leaves the block)
        reason = f"its IO manager '{key}' cannot be made ({told(attempt.error)})"
        raise AssetReplayError(dataset_name(asset.key), reason, "give it what it has in a run")
    return open_store(path)


def _document(found: AssetLineageCheck) -> dict[str, object]:
    facts = asdict(found.check)
    return {
        "asset": found.asset,
        "dataset_version": found.dataset_version,
        "ok": found.ok,
        "is_refuted": found.is_refuted,
        "is_sampled": found.is_sampled,
        "outdated": found.outdated,
        **facts,
    }
