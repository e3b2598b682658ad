"""The page of one row of a dataset version: where it came from."""

from traceprop_engine.answers import origin_of, table_of
from traceprop_engine.presentation import plain_value
from traceprop_engine.recording import (
    DatasetVersion,
    find_dataset_version,
)
from traceprop_engine.serving.chain import chain_of
from traceprop_engine.serving.facts import facts, source_facts
from traceprop_engine.serving.svg import chain_svg
from traceprop_engine.serving.views import View
from traceprop_engine.store import Store


def row_page(store: Store, dataset: str, row: int) -> View:
    """Return the page of a row.

    Raises:
        DatasetNotFoundError: There is no such version.
        RowNotFoundError: It has no such row.
    """
    version = find_dataset_version(store, dataset)
    origin = origin_of(store, version.id, [row])
    chain = chain_of(store, version.id, [row])
    return View(
        "row",
        {
            "version": version,
            "row": row,
            "cells": _cells(store, version, row),
            "origin": origin,
            "sources": source_facts(store, origin.lines),
            "picture": chain_svg(chain),
            "has_dashes": any(edge.is_statistic for edge in chain.edges),
            "training_run_id": _training_run(store, version.id),
            "is_prediction": _is_prediction(store, version.id),
        },
    )


def _cells(store: Store, version: DatasetVersion, row: int) -> list[tuple[str, str]]:
    frame = table_of(store, version)
    values = next(frame.iloc[row : row + 1].itertuples(index=False, name=None))
    return [(str(name), plain_value(v)) for name, v in zip(frame.columns, values, strict=True)]


def _training_run(store: Store, version_id: str) -> str | None:
    found = facts(
        store, "SELECT training_run_id FROM training_run WHERE dataset_version_id = ?", [version_id]
    )
    return found[0]["training_run_id"] if found else None


def _is_prediction(store: Store, version_id: str) -> bool:
    found = facts(store, "SELECT 1 FROM prediction_set WHERE dataset_version_id = ?", [version_id])
    return bool(found)
