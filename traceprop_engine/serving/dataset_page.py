"""The page of a dataset version: what it holds, how it was made, and its rows."""

from collections.abc import Mapping, Sequence

from pandas.api.types import is_bool_dtype, is_numeric_dtype

from traceprop_engine.answers import table_of
from traceprop_engine.presentation import plain_value
from traceprop_engine.recording import (
    DatasetVersion,
    describe_fitted,
    find_dataset_version,
    load_row_map,
)
from traceprop_engine.serving.facts import Facts, facts
from traceprop_engine.serving.paging import Paging, asked_number
from traceprop_engine.serving.views import Redirect, View, link
from traceprop_engine.store import Store


def dataset_page(store: Store, dataset: str, query: Mapping[str, str]) -> View | Redirect:
    """Return the page of a dataset version; with ``?row=`` the way to the page of a row.

    Raises:
        DatasetNotFoundError: There is no such version.
    """
    version = find_dataset_version(store, dataset)
    row = asked_number(query, "row")
    if row is not None:
        return Redirect(link("dataset", version.id, "row", row))
    paging = Paging.of(version.n_rows, query)
    header, rows = _table(store, version, paging)
    maps, statistics = _row_maps(store, version.id)
    return View(
        "dataset",
        {
            "version": version,
            "details": _details(store, version.id),
            "maps": maps,
            "statistics": statistics,
            "ops": _ops(store, version.id),
            "columns": _columns(store, version.id),
            "products": products(store, version.id),
            "versions": _versions(store, version),
            "paging": paging,
            "header": header,
            "rows": rows,
        },
    )


def _details(store: Store, version_id: str) -> Facts:
    (found,) = facts(
        store,
        """
        SELECT d.partition_key, d.run_id, d.code_version, d.created_at, d.columns,
            t.training_run_id, p.training_run_id AS predicted_by
        FROM dataset_version d
        LEFT JOIN training_run t USING (dataset_version_id)
        LEFT JOIN prediction_set p USING (dataset_version_id)
        WHERE d.dataset_version_id = ?
        """,
        [version_id],
    )
    return found


def _row_maps(store: Store, version_id: str) -> tuple[list[Facts], list[Facts]]:
    """Return the map to each input, with its coverage, and each statistic, with its size."""
    found = facts(
        store,
        """
        SELECT m.*, coalesce(d.dataset, s.name) AS input_of
        FROM row_map m
        LEFT JOIN dataset_version d ON d.dataset_version_id = m.input_id
        LEFT JOIN source_version s ON s.source_version_id = m.input_id
        WHERE m.dataset_version_id = ? ORDER BY ordinal
        """,
        [version_id],
    )
    direct = [row for row in found if row["role"] == "direct"]
    statistics = [row for row in found if row["role"] == "context"]
    for row in direct:
        row_map = load_row_map(store, row)
        row["coverage"] = row_map.coverage() if row_map.is_known else None
    for row in statistics:
        row["n_members"] = len(load_row_map(store, row).backward([0]))
        row["fitted"] = describe_fitted(row["fitted"])
    return direct, statistics


def _ops(store: Store, version_id: str) -> list[Facts]:
    return facts(
        store, "SELECT * FROM op WHERE dataset_version_id = ? ORDER BY ordinal", [version_id]
    )


def _columns(store: Store, version_id: str) -> Mapping[str, Sequence[str]]:
    """Return for each output column the columns of inputs that have its name."""
    found = facts(
        store,
        """
        SELECT column_name, input_name || '.' || input_column AS came_from
        FROM column_lineage WHERE dataset_version_id = ? ORDER BY input_name
        """,
        [version_id],
    )
    columns: dict[str, list[str]] = {}
    for row in found:
        columns.setdefault(row["column_name"], []).append(row["came_from"])
    return columns


def products(store: Store, input_id: str) -> list[Facts]:
    """Return the dataset versions that were made directly from a dataset or source version."""
    return facts(
        store,
        """
        SELECT dataset_version_id, dataset, partition_key, n_rows, created_at
        FROM dataset_version
        WHERE dataset_version_id IN (SELECT dataset_version_id FROM row_map WHERE input_id = ?)
        ORDER BY commit_no DESC LIMIT 50
        """,
        [input_id],
    )


def _versions(store: Store, version: DatasetVersion) -> list[Facts]:
    return facts(
        store,
        """
        SELECT dataset_version_id, partition_key, n_rows, run_id, created_at
        FROM dataset_version WHERE dataset = ? ORDER BY commit_no DESC LIMIT 50
        """,
        [version.dataset],
    )


def _table(
    store: Store, version: DatasetVersion, paging: Paging
) -> tuple[list[tuple[str, bool]], list[tuple[int, list[str]]]]:
    """Return a page of the table: titles, with whether numbers stand below, and numbered rows."""
    frame = table_of(store, version).iloc[paging.start : paging.stop]
    header = [
        (str(name), is_numeric_dtype(dtype) and not is_bool_dtype(dtype))
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
    ]
    cells = [[plain_value(v) for v in row] for row in frame.itertuples(index=False, name=None)]
    return header, list(zip(range(paging.start, paging.stop), cells, strict=True))
