"""Hold the lineage of an asset against its function, as a check in Dagster or by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from traceprop_dagster.asset_replay import AssetReplay, asset_replay, read_options_of
from traceprop_dagster.metadata import shortened_table
from traceprop_dagster.resources import TracepropStore
from traceprop_engine.fuzz import CapturedFunction, LineageCheck, Perturbation, check_lineage
from traceprop_engine.presentation import row_numbers

CHECK_NAME = "lineage_fuzz"
_STORE = "store"
_FEW = 3


@dataclass(frozen=True)
class AssetLineageCheck:
    """What came of a check of an asset.

    Attributes:
        asset: Its name.
        dataset_version: Identifier of the recorded version whose inputs were used.
        is_sampled: Whether some inputs were too large to be used whole.
        outdated: Inputs whose recorded row map is not the one that the function has today;
            nothing is said of them when inputs were sampled.
        check: What perturbing found against the lineage that capture records today.
    """

    asset: str
    dataset_version: str
    is_sampled: bool
    outdated: tuple[str, ...]
    check: LineageCheck

    @property
    def is_refuted(self) -> bool:
        """Whether the lineage is wrong, or not what was recorded."""
        return bool(self.outdated) or self.check.is_refuted

    @property
    def ok(self) -> bool:
        """Whether all could be checked, and nothing was found against the lineage."""
        return self.check.ok and not self.outdated

    def summary(self) -> str:
        """Return the findings as text."""
        lines = [self.check.summary()]
        if self.outdated:
            names = ", ".join(self.outdated)
            lines.append(
                f"The recorded row maps of {names} are not those of the function today; "
                "materialize the asset again."
            )
        if self.is_sampled:
            sizes = ", ".join(f"{name}: {each.n_rows}" for name, each in self.check.inputs.items())
            lines.append(f"Samples of the inputs were used ({sizes} rows).")
        return "\n".join(lines)


def check_asset_lineage(
    replay: AssetReplay,
    *,
    trials: int = 40,
    seed: int = 0,
    rows: int = 2_000,
    progress: Callable[[str], None] | None = None,
) -> AssetLineageCheck:
    """Run an asset's function on perturbed inputs and compare with its lineage.

    Where the inputs are used whole, the recorded row maps must also be those that capture records
    today.

    Args:
        replay: The asset with its recorded inputs.
        trials: How many perturbations of each input are tried.
        seed: The same seed tries the same perturbations.
        rows: Most rows of one input; of larger ones a sample is used.
        progress: Called with what is being done.

    Raises:
        LineageFuzzError: The function fails on these inputs.
    """
    function = CapturedFunction(replay.run)
    check = check_lineage(
        replay.run,
        replay.frames,
        function,
        trials=trials,
        seed=seed,
        max_rows=rows,
        progress=progress,
    )
    is_sampled = any(len(frame) > rows for frame in replay.frames.values())
    is_comparable = not is_sampled and not check.nondeterministic
    return AssetLineageCheck(
        asset=replay.version.dataset,
        dataset_version=replay.version.id,
        is_sampled=is_sampled,
        outdated=_outdated(replay, function) if is_comparable else (),
        check=check,
    )


def _outdated(replay: AssetReplay, function: CapturedFunction) -> tuple[str, ...]:
    recorded, today = replay.lineage.maps, function(**replay.frames).maps
    return tuple(
        name
        for name, row_map in today.items()
        if {recorded[name].kind, row_map.kind} != {"context"}
        and not recorded[name].same_relation(row_map)
    )


def build_lineage_fuzz_check(
    asset: dg.AssetsDefinition,
    *,
    sources: Sequence[dg.SourceAsset] = (),
    trials: int = 40,
    seed: int = 0,
    rows: int = 2_000,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetChecksDefinition:
    """Return a check that perturbs an asset's inputs and compares what changes with its lineage.

    It needs a `TracepropStore` under the resource key ``store``, and the asset's own resources. The
    asset's function runs about 50 to 100 times for each input, and must not have side effects; what
    it returns is not kept.

    Args:
        asset: An asset written by a `TracepropIOManager`, made by one function.
        sources: The source files among its inputs, if they are read with options of their own.
        trials: How many perturbations of each input are tried.
        seed: The same seed tries the same perturbations.
        rows: Most rows of one input; of larger ones a sample is used.
        severity: What a failure means. A wrong map names the wrong people, so it is an error
            unless you say otherwise.

    Raises:
        ValueError: ``trials`` or ``rows`` is not positive.
    """
    if trials < 1 or rows < 1:
        raise ValueError(f"`trials` and `rows` must be positive, got {trials} and {rows}.")
    io_manager = asset.get_io_manager_key_for_asset_key(asset.key)
    own = set(asset.required_resource_keys) - set(asset.resource_defs) - {io_manager}

    @dg.asset_check(
        asset=asset.key,
        name=CHECK_NAME,
        description="What changes when input rows change is what the recorded row maps say.",
        required_resource_keys={_STORE, *own},
    )
    def check_lineage_by_fuzz(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        resources = {key: getattr(context.resources, key) for key in own}
        store: TracepropStore = getattr(context.resources, _STORE)
        partition = context.partition_key if context.has_partition_key else None
        with asset_replay(
            store.open(),
            asset,
            resources=resources,
            source_options=read_options_of(sources),
            partition_key=partition,
            run_id=context.run.run_id,
        ) as replay:
            found = check_asset_lineage(replay, trials=trials, seed=seed, rows=rows)
        return dg.AssetCheckResult(
            passed=found.ok,
            severity=severity,
            description=found.check.verdict,
            metadata=fuzz_metadata(found),
        )

    return check_lineage_by_fuzz


def fuzz_metadata(found: AssetLineageCheck) -> Mapping[str, dg.MetadataValue | str | int | bool]:
    """Return counts, and tables of what was found; rows by number, never their values."""
    check = found.check
    metadata: dict[str, dg.MetadataValue | str | int | bool] = {
        "traceprop/dataset_version": found.dataset_version,
        "traceprop/runs": check.runs,
        "traceprop/runs_refused": sum(each.refused for each in check.inputs.values()),
        "traceprop/violations": len(check.violations),
        "traceprop/contexts_missing": len(check.contexts_missing),
        "traceprop/idle_edges": len(check.idle_edges),
        "traceprop/presence_effects": len(check.presence_effects),
        "traceprop/nondeterministic": check.nondeterministic,
        "traceprop/sampled": found.is_sampled,
    }
    rows = [
        *(
            _line(each.perturbation, row_numbers(each.output_rows, _FEW))
            for each in check.violations
        ),
        *(
            _line(each.perturbation, f"{each.n_rows} of {each.n_out}")
            for each in check.contexts_missing
        ),
    ]
    if rows:
        header = ["input", "row", "changed", "output rows"]
        metadata["traceprop/found"] = dg.MetadataValue.md(shortened_table(header, rows))
    explained = [
        name for name, each in check.inputs.items() if each.in_context and not each.context_is_idle
    ]
    if explained:
        metadata["traceprop/in_context"] = f"{', '.join(explained)}: a context explains any change"
    if found.outdated:
        metadata["traceprop/outdated"] = ", ".join(found.outdated)
    for name, reason in (check.unchecked or {}).items():
        metadata[f"traceprop/unchecked/{name}"] = reason
    return metadata


def _line(made: Perturbation, output_rows: str) -> list[str]:
    changed = ", ".join(made.columns[:_FEW]) or "deleted"
    changed = f"{changed}: {made.kind}" if made.columns else changed
    return [made.input, row_numbers(made.rows, _FEW), changed, output_rows]
