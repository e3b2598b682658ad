"""Arrays as tables, and back: a row of the array is a row of the table."""

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traceprop_engine.errors import ArrayNotKeptError

_KEY = b"traceprop.array"
_MATRIX = 2
_MOST_COLUMNS = 256
_KINDS = "biufUM"
_VALUES = "values"


def array_table(array: npt.NDArray[np.generic]) -> pa.Table:
    """Return a table whose rows are those of an array.

    Args:
        array: At least one axis; its first one counts rows. Truth values, numbers, texts or dates.

    Returns:
        The columns ``0``, ``1``, … of a vector or of a matrix with at most 256 columns; else one
        column ``values``, with the list of the other axes in each row. Shape and dtype are noted in
        the schema.

    Raises:
        ArrayNotKeptError: It has no axis, is masked, or has values of another kind.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ArrayNotKeptError("A masked array hides values, which a table would show")
    if array.ndim == 0:
        raise ArrayNotKeptError("An array without an axis has no rows")
    if array.dtype.kind not in _KINDS:
        raise ArrayNotKeptError(f"An array of {array.dtype} has no columns of Arrow")
    note = {"shape": array.shape, "dtype": array.dtype.str}
    table = pa.table(_columns(array))
    return table.replace_schema_metadata({_KEY: json.dumps(note).encode()})


def table_array(table: pa.Table) -> npt.NDArray[np.generic]:
    """Return the array that `array_table` made a table of; of other tables, the matrix of values.

    The array is the caller's own.
    """
    note = (table.schema.metadata or {}).get(_KEY)
    if note is None:
        return table.to_pandas().to_numpy(copy=True)
    facts = json.loads(note)
    shape, dtype = tuple(facts["shape"]), np.dtype(facts["dtype"])
    if table.column_names == [_VALUES]:
        flat = table.column(_VALUES).combine_chunks().flatten()
        return np.array(flat.to_numpy(zero_copy_only=False), dtype=dtype).reshape(shape)
    columns = [np.asarray(column.to_numpy(), dtype=dtype) for column in table.columns]
    return np.stack(columns, axis=1).astype(dtype, copy=False).reshape(shape)


def is_array_table(table: pa.Table) -> bool:
    """Say whether a table was made of an array, so that its column names say nothing."""
    return _KEY in (table.schema.metadata or {})


def _columns(array: npt.NDArray[np.generic]) -> dict[str, pa.Array]:
    if array.ndim == 1:
        return {"0": _arrow(array)}
    if array.ndim == _MATRIX and 0 < array.shape[1] <= _MOST_COLUMNS:
        return {str(at): _arrow(array[:, at]) for at in range(array.shape[1])}
    width = int(np.prod(array.shape[1:]))
    values = _arrow(array.reshape(-1))
    offsets = np.arange(len(array) + 1, dtype=np.int64) * width
    return {_VALUES: pa.LargeListArray.from_arrays(pa.array(offsets), values)}


def _arrow(values: npt.NDArray[np.generic]) -> pa.Array:
    # Arrow keeps numbers of this machine's byte order alone.
    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    try:
        return pa.array(native.tolist() if native.dtype.kind == "U" else native)
    except (pa.ArrowNotImplementedError, UnicodeEncodeError) as error:
        raise ArrayNotKeptError(
            f"An array of {native.dtype} has values that Arrow has no type for"
        ) from error
