"""Fuzz: change one input row, run again; what changed must be reached by the captured lineage.

This oracle knows nothing of what a case does. It finds dependencies that are missing from the
lineage, whatever the case's author thought of it.
"""

import numpy as np
import pandas as pd
import pytest

from tests.oracle import (
    test_pandas_capture,
    test_pandas_capture_groups,
    test_pandas_capture_joins,
    test_pandas_capture_kinds,
    test_pandas_capture_leaks,
    test_pandas_capture_odd,
    test_pandas_capture_reshapes,
    test_pandas_capture_rows,
    test_pandas_capture_values,
)
from tests.oracle.pandas_capture_oracle import Case, frames_a, run_tracked, split

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

MODULES = (
    test_pandas_capture,
    test_pandas_capture_groups,
    test_pandas_capture_joins,
    test_pandas_capture_kinds,
    test_pandas_capture_leaks,
    test_pandas_capture_odd,
    test_pandas_capture_reshapes,
    test_pandas_capture_rows,
    test_pandas_capture_values,
)
CASES = {
    f"{module.__name__.rpartition('_')[2]}: {case.name}": case
    for module in MODULES
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, list)
    for case in value
    if isinstance(case, Case) and not case.unknown
}
STEP = 1e-7
EVERY_ROW = 3


def as_rows(result):
    """Text of each row of a result, with enough digits to see a small change."""
    frame = result.to_frame() if isinstance(result, pd.Series) else result
    columns = [list(map(_text, frame.iloc[:, i].astype(object))) for i in range(frame.shape[1])]
    return list(zip(*columns, strict=True)) if columns else [()] * len(frame)


def _text(value):
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return f"{float(value):.13e}" if is_number else str(value)


def perturbed(frames, name, row):
    """The inputs with the measured values of one row changed by a little."""
    changed = {key: frame.copy(deep=True) for key, frame in frames.items()}
    frame = changed[name]
    for column in ("v", "x", "y"):
        if column in frame:
            at = frame.columns.get_loc(column)
            frame.isetitem(at, frame[column] + np.where(np.arange(len(frame)) == row, STEP, 0))
    return changed


@pytest.mark.parametrize("name", CASES)
def test_what_changes_when_a_row_changes_is_reached_by_the_lineage(name):
    case = CASES[name]
    make = case.frames or frames_a
    result, _ = split(case.run(**make()))
    before = as_rows(result)
    _, _, lineage, _ = run_tracked(case)
    for source, frame in make().items():
        row_map = lineage.maps[source]
        through_statistics = set()
        for context in lineage.contexts:
            if context.input == source:
                through_statistics |= set(context.members.backward([0]).tolist())
        for row in range(0, len(frame), EVERY_ROW):
            again, _ = split(case.run(**perturbed(make(), source, row)))
            after = as_rows(again)
            if len(after) != len(before):
                continue
            changed = {i for i, (x, y) in enumerate(zip(before, after, strict=True)) if x != y}
            if row in through_statistics:
                continue
            unexplained = changed - set(row_map.forward([row]).tolist())
            assert not unexplained, f"{source} row {row} changed rows {sorted(unexplained)}"
