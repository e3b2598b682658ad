"""Engine values to Dagster metadata: the one place where the two vocabularies meet.

Dagster shows Markdown inline below 1,000 characters and a base64 SVG below about 950; longer ones
open in a dialog. Metadata is copied into the event log, so it must stay small and free of personal
data: it names row numbers and scores, never the text of a source row.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from traceprop_engine.explanation import Counterfactual, Explanation, InfluentialRow, SourceLine
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.quality import LdsQuality
from traceprop_engine.sources import SourceVersion
from traceprop_engine.training import TrainingRun

INLINE_LIMIT = 1_000
_PLOT_WIDTH = 300
_PLOT_HEIGHT = 90
_PLOT_POINTS = 30


def dataset_name(key: dg.AssetKey) -> str:
    """Return the name under which the store knows an asset."""
    return key.to_user_string()


def frame_metadata(frame: pd.DataFrame) -> dict[str, Any]:
    """Return row count and column schema of a frame under Dagster's own keys."""
    columns = [
        dg.TableColumn(str(name), str(dtype))
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
    ]
    return {
        "dagster/row_count": len(frame),
        "dagster/column_schema": dg.TableSchema(columns),
    }


def table_metadata(table: pa.Table) -> dict[str, Any]:
    """Return row count and column schema of a table under Dagster's own keys."""
    columns = [dg.TableColumn(field.name, str(field.type)) for field in table.schema]
    return {
        "dagster/row_count": len(table),
        "dagster/column_schema": dg.TableSchema(columns),
    }


def column_lineage_metadata(
    followed: Sequence[tuple[str, str, str]], upstream: Mapping[str, dg.AssetKey]
) -> dict[str, Any]:
    """Return column lineage under Dagster's own key; nothing when no column is followed."""
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for column, name, input_column in followed:
        dep = dg.TableColumnDep(upstream[name], input_column)
        known = deps.setdefault(column, [])
        if dep not in known:  # partitions of one asset are inputs of their own
            known.append(dep)
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)} if deps else {}


def lineage_metadata(version_id: str, lineage: CapturedLineage) -> dict[str, Any]:
    """Return what was recorded about the rows: identifiers, coverage, and the map of each input."""
    metadata: dict[str, Any] = {
        "traceprop/dataset_version": version_id,
        "traceprop/coverage": float(lineage.coverage()),
        "traceprop/fidelity": lineage.fidelity,
        "traceprop/row_maps": dg.MetadataValue.md(_row_map_table(lineage)),
    }
    if lineage.ops:
        metadata["traceprop/operations"] = dg.MetadataValue.md(_op_table(lineage))
    if lineage.contexts:
        metadata["traceprop/statistics"] = dg.MetadataValue.md(_context_table(lineage))
    if lineage.reason:
        metadata["traceprop/reason"] = lineage.reason
    return metadata


def source_metadata(version: SourceVersion) -> dict[str, Any]:
    """Return what a source file was when it was read."""
    return {
        "dagster/row_count": version.n_rows,
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(c) for c in version.columns]),
        "traceprop/source_version": version.source_version_id,
        "traceprop/sha256": version.sha256,
        "traceprop/bytes": version.n_bytes,
    }


def training_run_metadata(run_id: str, run: TrainingRun) -> dict[str, Any]:
    """Return what a training run reached: its metrics, and how far it is from its minimum."""
    metadata: dict[str, Any] = {
        "traceprop/training_run": run_id,
        "dagster/row_count": run.n_train,
        "traceprop/family": run.family,
        "traceprop/l2": run.l2,
        "traceprop/gradient_norm": run.gradient_norm,
        "traceprop/converged": run.converged,
    }
    metadata |= {f"train/{name}": value for name, value in run.metrics.items()}
    if len(run.loss_curve) > 1:
        metadata["traceprop/loss_curve"] = line_plot(run.loss_curve, label="objective")
    return metadata


def net_run_metadata(run_id: str, net: StoredNet) -> dict[str, Any]:
    """Return what the training of a net reached: its size, its checkpoints, metrics and loss."""
    metadata: dict[str, Any] = {
        "traceprop/training_run": run_id,
        "dagster/row_count": net.n_train,
        "traceprop/family": net.family,
        "traceprop/parameters": net.n_parameters,
        "traceprop/steps": net.steps[-1],
        "traceprop/checkpoints": ", ".join(f"{step:,}" for step in net.steps),
    }
    metadata |= {f"train/{name}": value for name, value in net.metrics.items()}
    if len(net.loss_curve) > 1:
        caption = (
            f"{net.loss_curve[0]:.4g} to {net.loss_curve[-1]:.4g}, mean of the training rows at "
            f"{len(net.steps)} checkpoints"
        )
        metadata["traceprop/loss_curve"] = line_plot(net.loss_curve, label="loss", caption=caption)
    return metadata


def quality_metadata(quality: LdsQuality, min_lds: float) -> dict[str, Any]:
    """Return how good an attribution is, with what it takes to compare it with another one."""
    low, high = quality.interval
    metadata: dict[str, Any] = {
        "traceprop/lds": quality.mean,
        "traceprop/lds_low": low,
        "traceprop/lds_high": high,
        "traceprop/lds_wanted": min_lds,
        "traceprop/quality": dg.MetadataValue.md(
            markdown_table(
                ["measured", "value"],
                [
                    ["method", quality.method],
                    ["target", quality.target],
                    ["queries", f"{quality.n_query:,}"],
                    ["subsets", f"{quality.n_subsets:,} of {quality.keep:.0%} of the rows"],
                    ["training rows", f"{quality.n_train:,}"],
                    ["models a subset", quality.seeds_per_subset],
                    ["seeds", quality.seed_policy],
                ],
            )
        ),
    }
    if quality.ceiling is not None:
        metadata["traceprop/lds_ceiling"] = quality.ceiling
    return metadata


def explanation_metadata(
    explanations: Sequence[Explanation], pages: Sequence[str | None]
) -> dict[str, Any]:
    """Return which training rows moved predictions most: a table for each, and the first trace.

    Source rows are named by file and line; their text stays out of the event log.
    """
    metadata: dict[str, Any] = {"traceprop/explained": len(explanations)}
    for explanation, page in zip(explanations, pages, strict=True):
        row = explanation.prediction.row
        if page is not None:
            metadata[f"traceprop/page_{row}"] = dg.MetadataValue.url(page)
        metadata[f"traceprop/row_{row}"] = dg.MetadataValue.md(_influence_table(explanation))
    if explanations and explanations[0].rows:
        metadata["traceprop/trace"] = dg.MetadataValue.md(_trace_text(explanations[0]))
        metadata["traceprop/strongest"] = explanations[0].rows[0].influence
    return metadata


def counterfactual_metadata(effects: Sequence[tuple[int, Counterfactual]]) -> dict[str, Any]:
    """Return predicted beside found changes, and the largest residual of the Newton steps."""
    header = ["row", "removed", "before", "predicted", "found"]
    rows = [
        [
            row,
            ", ".join(map(str, effect.training_rows)),
            f"{effect.before:.4g}",
            f"{effect.predicted_change:+.3g}",
            f"{effect.found_change:+.3g}",
        ]
        for row, effect in effects
    ]
    metadata: dict[str, Any] = {
        "traceprop/removed": dg.MetadataValue.md(shortened_table(header, rows))
    }
    if effects:
        residuals = [effect.gradient_norm for _, effect in effects]
        errors = [abs(e.found_change - e.predicted_change) for _, e in effects]
        metadata["traceprop/unit"] = effects[0][1].unit
        metadata["traceprop/gradient_norm"] = max(residuals)
        metadata["traceprop/error"] = max(errors)
    return metadata


def line_plot(
    values: Sequence[float], *, label: str, caption: str | None = None
) -> dg.MarkdownMetadataValue:
    """Return a line plot of ``values`` as a Markdown image that Dagster shows inline."""
    step = max(1, -(-len(values) // _PLOT_POINTS))
    shown = [*values[::step], *([] if (len(values) - 1) % step == 0 else values[-1:])]
    low, high = min(shown), max(shown)
    spread = (high - low) or 1.0
    x_step = (_PLOT_WIDTH - 8) / max(1, len(shown) - 1)
    points = " ".join(
        f"{4 + i * x_step:.0f},{4 + (high - value) / spread * (_PLOT_HEIGHT - 8):.0f}"
        for i, value in enumerate(shown)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_PLOT_WIDTH}" height="{_PLOT_HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#4f43dd" stroke-width="2"/></svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    steps = f"{values[0]:.6g} to {values[-1]:.6g} in {len(values) - 1} steps"
    told = f"{label}: {caption or steps}"
    return dg.MetadataValue.md(f"![{label}](data:image/svg+xml;base64,{encoded})\n\n{told}")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; pipes in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def shortened_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table cut after the last row that keeps it short enough to show inline."""
    table = markdown_table(header, rows)
    shown = len(rows)
    while len(table) >= INLINE_LIMIT and shown:
        shown -= 1
        table = markdown_table(header, rows[:shown]) + f"\n\n… and {len(rows) - shown} more"
    return table


def _row_map_table(lineage: CapturedLineage) -> str:
    rows = [
        [
            name,
            row_map.kind,
            f"{row_map.n_in:,}",
            f"{row_map.coverage():.1%}" if row_map.is_known else "unknown",
        ]
        for name, row_map in lineage.maps.items()
    ]
    return shortened_table(["input", "row map", "rows in", "covered"], rows)


def _op_table(lineage: CapturedLineage) -> str:
    rows = [
        [
            f"`{op.name}`",
            " + ".join(f"{n:,}" for n in op.n_rows_in) + f" → {op.n_rows_out:,}",
        ]
        for op in lineage.ops
    ]
    return shortened_table(["operation", "rows"], rows)


def _context_table(lineage: CapturedLineage) -> str:
    rows = [
        [
            f"`{context.statistic}`",
            f"{context.input}.{context.column}" if context.column else context.input,
            f"{len(context.members.backward([0])):,}",
        ]
        for context in lineage.contexts
    ]
    return shortened_table(["statistic", "of", "rows"], rows)


def _influence_table(explanation: Explanation) -> str:
    strongest = max((abs(row.influence) for row in explanation.rows), default=1.0) or 1.0
    rows = [
        [
            row.training_row,
            f"{row.influence:+.3f} " + "█" * round(3 * abs(row.influence) / strongest),
            _first_place(row),
        ]
        for row in explanation.rows
    ]
    header = ["row", explanation.unit, "made from"]
    return shortened_table(header, rows)


def _first_place(row: InfluentialRow) -> str:
    """Return file and line of the source that has the fewest rows, and how many rows there are."""
    files: dict[str, list[SourceLine]] = {}
    for line in row.lines:
        files.setdefault(line.uri, []).append(line)
    if not files:
        return "unknown"
    first = min(files.values(), key=len)[0]
    number = first.row if first.line_number is None else first.line_number
    more = f" +{len(row.lines) - 1}" if len(row.lines) > 1 else ""
    return f"{first.source}:{number}{more}"


def _trace_text(explanation: Explanation) -> str:
    """Return the way from the strongest row to its source lines as a narrow tree."""
    row = explanation.rows[0]
    lines = [
        f"{explanation.prediction.dataset} row {explanation.prediction.row}",
        f"└─ {explanation.model}",
        f"   └─ row {row.training_row}: {row.influence:+.3f} {explanation.unit}",
    ]
    lines += [
        f"      └─ {step.dataset}: {step.n_rows:,} row{'s' if step.n_rows > 1 else ''}"
        for step in reversed(row.steps[:-1])
    ]
    files: dict[str, list[str]] = {}
    for line in row.lines:
        number = line.row if line.line_number is None else line.line_number
        files.setdefault(line.uri.rsplit("/", 1)[-1], []).append(str(number))
    lines += [
        f"         └─ {name}:{numbers[0]}" + (f" +{len(numbers) - 1}" if len(numbers) > 1 else "")
        for name, numbers in files.items()
    ]
    return "```\n" + "\n".join(lines) + "\n```"
