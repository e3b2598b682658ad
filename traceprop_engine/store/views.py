"""SQL views over blocks: row maps and gradients stay in their files and are asked like tables.

DuckDB is given one directory of links per shape of block, so that the text of a view never changes.
What identifies a block's facts stands in the name of its link, and DuckDB skips every file whose
name a filter rules out.
"""

import io
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from traceprop_engine.durable_files import publish, staged_file
from traceprop_engine.store.blocks import BlockStore
from traceprop_engine.store.schema import Row

_SHAPES: Mapping[str, Mapping[str, pa.DataType]] = {
    "in_row": {"in_row": pa.int64()},
    "groups": {"out_row": pa.int64()},
    "many": {"out_row": pa.int64(), "in_row": pa.int64()},
    "window": {"lo": pa.int64(), "hi": pa.int64()},
    "gradient": {"values": pa.list_(pa.float64())},
}
"""The columns that the blocks of one directory of links have."""

_SHAPE_OF_KIND = {
    "select": "in_row",
    "gather": "in_row",
    "groups": "groups",
    "many": "many",
    "window": "window",
}
"""The shape of the block of each kind of row map that has one and whose rows can be listed."""

# An empty file of each shape, so that a view finds one in a new store. It sorts before every link,
# which start with a digit or a letter, and thereby decides the types of the columns.
_EMPTY = "!.parquet"

# Maps that are kept in pieces because they have too many pairs to be listed (a statistic, a product
# of maps) are in table `row_map` and not here.
_VIEWS = {
    "row_map": """
create or replace view row_map_row as
select try_cast(parse_filename(filename, true) as bigint) as map_id, file_row_number as out_row,
    in_row
from read_parquet({in_row}, {options}) where in_row >= 0
union all
select try_cast(parse_filename(filename, true) as bigint), out_row, file_row_number
from read_parquet({groups}, {options}) where out_row >= 0
union all
select try_cast(parse_filename(filename, true) as bigint), out_row, in_row
from read_parquet({many}, {options})
union all
select try_cast(parse_filename(filename, true) as bigint), file_row_number, unnest(range(lo, hi))
from read_parquet({window}, {options})
union all
select map_id, out_row, out_row
from (select map_id, unnest(range(n_out)) as out_row from row_map where kind = 'identity')
union all
select map_id, out_row, cast(json_extract(params, '$.start') as bigint)
    + cast(json_extract(params, '$.step') as bigint) * out_row
from (select map_id, params, unnest(range(n_out)) as out_row from row_map where kind = 'range')
""",
    "gradient_block": """
create or replace view gradient as
select url_decode(substr(split_part(parse_filename(filename, true), '@', 1), 2)) as training_run_id,
    try_cast(split_part(parse_filename(filename, true), '@', 2) as bigint) as checkpoint,
    try_cast(split_part(parse_filename(filename, true), '@', 3) as bigint) + file_row_number
        as training_row,
    cast("values" as double[]) as gradient
from read_parquet({gradient}, {options})
""",
}
"""The view over the blocks of each table that has one."""

_OPTIONS = "filename=true, file_row_number=true, hive_partitioning=false"


@dataclass(frozen=True)
class Link:
    """A name under which a view finds a block."""

    shape: str
    name: str
    block: str


def links_of(table: str, rows: Iterable[Row]) -> list[Link]:
    """Return the links that the stored ``rows`` of ``table`` need."""
    return [_link_of(table, row) for row in rows if row.get("block") and _is_listed(table, row)]


class BlockLinks:
    """The directory ``views``: links to blocks, named so that SQL can find them.

    It is derived from the log like the index, and made anew with it.
    """

    def __init__(self, directory: Path, staging: Path, blocks: BlockStore) -> None:
        """Use ``directory``, created by `prepare`; files are written in ``staging`` first."""
        self._directory = directory
        self._staging = staging
        self._blocks = blocks

    def prepare(self, connection: duckdb.DuckDBPyConnection, tables: Collection[str]) -> None:
        """Make the directories, and the views over blocks of ``tables`` in ``connection``.

        Raises:
            OSError: The directory is not writable.
        """
        for shape, columns in _SHAPES.items():
            folder = self._directory / shape
            folder.mkdir(parents=True, exist_ok=True)
            sink = io.BytesIO()
            pq.write_table(pa.schema(list(columns.items())).empty_table(), sink)
            with staged_file(self._staging, sink.getvalue()) as staged:
                publish(staged, folder / _EMPTY)
        globs = {shape: _glob(self._directory / shape) for shape in _SHAPES}
        for table in _VIEWS.keys() & set(tables):
            connection.execute(_VIEWS[table].format(options=_OPTIONS, **globs))

    def add(self, links: Iterable[Link]) -> None:
        """Make ``links``; those that are there are left.

        Raises:
            OSError: The directory is not writable.
        """
        for link in links:
            path = self._path(link)
            if path.exists() and self._leads_to_its_block(link, path):
                continue
            path.unlink(missing_ok=True)
            path.symlink_to(os.path.relpath(self._blocks.path(link.block), path.parent))

    def keep_only(self, links: Iterable[Link]) -> None:
        """Remove every link but ``links``.

        Raises:
            OSError: The directory is not writable.
        """
        kept = {self._path(link) for link in links}
        for shape in _SHAPES:
            for path in (self._directory / shape).glob("*.parquet"):
                if path.name != _EMPTY and path not in kept:
                    path.unlink()

    def missing(self, links: Iterable[Link]) -> list[Path]:
        """Return the paths of those of ``links`` that do not lead to their block."""
        paths = ((link, self._path(link)) for link in links)
        return [path for link, path in paths if not self._leads_to_its_block(link, path)]

    def _path(self, link: Link) -> Path:
        return self._directory / link.shape / f"{link.name}.parquet"

    def _leads_to_its_block(self, link: Link, path: Path) -> bool:
        block = self._blocks.path(link.block)
        return path.exists() and block.exists() and path.samefile(block)


def gradient_link_name(training_run_id: str, checkpoint: int, row_lo: int) -> str:
    """Return the name of the link of a gradient block; the view takes it apart again."""
    return f"r{quote(training_run_id, safe='')}@{checkpoint}@{row_lo}"


def _is_listed(table: str, row: Row) -> bool:
    return table == "gradient_block" or (table == "row_map" and row["kind"] in _SHAPE_OF_KIND)


def _link_of(table: str, row: Row) -> Link:
    block = str(row["block"])
    if table == "row_map":
        return Link(_SHAPE_OF_KIND[str(row["kind"])], str(row["map_id"]), block)
    name = gradient_link_name(
        str(row["training_run_id"]), cast("int", row["checkpoint"]), cast("int", row["row_lo"])
    )
    return Link("gradient", name, block)


def _glob(folder: Path) -> str:
    """Return an SQL literal that matches the Parquet files in ``folder`` and nothing else."""
    text = "".join(f"[{letter}]" if letter in "[*?" else letter for letter in str(folder))
    return "'" + text.replace("'", "''") + "/*.parquet'"
