"""SQL views over blocks: row maps and gradients stay in their files and are asked like tables.

DuckDB is given one directory of links per shape of block, so that the text of a view never changes.
What identifies a block's facts stands in the name of its link, and DuckDB skips every file whose
name a filter rules out.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from traceprop_engine.store.blocks import BlockStore
from traceprop_engine.store.schema import Record

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
"""The shape of the block of each kind of row map that has one."""

# An empty file of each shape, so that a view finds one in a new store. It sorts before every link
# and thereby decides the types: links of maps start with a digit from 1 to 9, links of gradients
# with a character that `quote` leaves alone, or "%".
_EMPTY = "!0@0@0.parquet"

_VIEWS = """
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
select map_id, unnest(range(n_out)), unnest(range(n_out)) from row_map where kind = 'identity'
union all
select map_id, out_row, cast(json_extract(params, '$.start') as bigint)
    + cast(json_extract(params, '$.step') as bigint) * out_row
from (select map_id, params, unnest(range(n_out)) as out_row from row_map where kind = 'range');

create or replace view gradient as
select url_decode(split_part(parse_filename(filename, true), '@', 1)) as training_run_id,
    try_cast(split_part(parse_filename(filename, true), '@', 2) as bigint) as checkpoint,
    try_cast(split_part(parse_filename(filename, true), '@', 3) as bigint) + file_row_number
        as training_row,
    cast("values" as double[]) as gradient
from read_parquet({gradient}, {options});
"""


class BlockLinks:
    """The directory ``views``: links to blocks, named so that SQL can find them.

    It is derived from the log like the index, and made anew with it.
    """

    def __init__(self, directory: Path, blocks: BlockStore) -> None:
        """Use ``directory``, created if absent."""
        self._directory = directory
        self._blocks = blocks

    def create(self) -> None:
        """Make the directories, with an empty file of each shape.

        Raises:
            OSError: The directory is not writable.
        """
        for shape, columns in _SHAPES.items():
            folder = self._directory / shape
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / _EMPTY).exists():
                staged = folder / f"{_EMPTY}.{os.getpid()}.tmp"
                pq.write_table(pa.schema(list(columns.items())).empty_table(), staged)
                staged.replace(folder / _EMPTY)

    def clear(self) -> None:
        """Remove every link."""
        for shape in _SHAPES:
            for link in (self._directory / shape).glob("*.parquet"):
                if link.name != _EMPTY:
                    link.unlink()

    def add(self, records: Iterable[Record]) -> None:
        """Link the blocks of row maps, which have their ``map_id``, and of gradients.

        Raises:
            OSError: The directory is not writable.
        """
        for table, row in records:
            block = row.get("block")
            if table == "row_map" and block and row["kind"] in _SHAPE_OF_KIND:
                self._link(_SHAPE_OF_KIND[str(row["kind"])], str(row["map_id"]), str(block))
            if table == "gradient_block" and block:
                run = quote(str(row["training_run_id"]), safe="")
                self._link("gradient", f"{run}@{row['checkpoint']}@{row['row_lo']}", str(block))

    def create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create or refresh the views in the database of ``connection``."""
        globs = {shape: _glob(self._directory / shape) for shape in _SHAPES}
        options = "filename=true, file_row_number=true, hive_partitioning=false"
        connection.execute(_VIEWS.format(options=options, **globs))

    def _link(self, shape: str, name: str, block: str) -> None:
        link = self._directory / shape / f"{name}.parquet"
        if not link.is_symlink():
            target = os.path.relpath(self._blocks.path(block), link.parent)
            staged = link.with_name(f"{link.name}.{os.getpid()}.tmp")
            staged.unlink(missing_ok=True)
            staged.symlink_to(target)
            staged.replace(link)


def _glob(folder: Path) -> str:
    """Return an SQL literal that matches the Parquet files in ``folder`` and nothing else."""
    text = "".join(f"[{letter}]" if letter in "[*?" else letter for letter in str(folder))
    return "'" + text.replace("'", "''") + "/*.parquet'"
