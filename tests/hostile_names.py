"""A store whose names hold whatever a name may hold."""

from pathlib import Path

from traceprop_engine.lineage.captured import CapturedLineage, Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import InputRef, Materialization, record_lineage
from traceprop_engine.store import Store

NAMES = (
    "a/b:c",
    "%2F%",
    "<é> & \"quoted\" 'too'",
    "line\nbreak\ttab\x1b[31m",
    "東京 😀",
    "ends.with.",
    "-_~!$'()*,;=@|`\\{}[]^?#",
    "",
    " ",
    "_:blank",
    "dataset:x",
)


def record_hostile_names(folder: Path) -> Store:
    """Record a chain of datasets, each made from the one before it."""
    store = Store.create(folder / "store")
    before: InputRef | None = None
    for number, name in enumerate(NAMES):
        inputs = {} if before is None else {name: before}
        maps = {} if before is None else {name: RowMap.identity(3)}
        ops = (Op(name, name, tuple(inputs), (3,), 3),)
        made = Materialization(name, inputs, run_id=f"{name}-{number}", partition_key=name)
        lineage = CapturedLineage(3, maps, ops=ops, reason=name or None)
        before = InputRef("dataset", record_lineage(store, made, lineage))
    return store
