"""The pages of a source version: its records, and what one of them reached."""

from collections.abc import Mapping

from traceprop_engine.answers import reach_of, source_lines
from traceprop_engine.recording import load_source
from traceprop_engine.serving.dataset_page import products
from traceprop_engine.serving.facts import Facts, facts, source_facts
from traceprop_engine.serving.paging import Paging, asked_number
from traceprop_engine.serving.views import Redirect, View, link
from traceprop_engine.sources import SourceVersion
from traceprop_engine.store import Store


def source_page(store: Store, source_id: str, query: Mapping[str, str]) -> View | Redirect:
    """Return the page of a source version; with ``?row=`` the way to the page of a record.

    Raises:
        SourceVersionNotFoundError: There is no such version.
    """
    source = load_source(store, source_id)
    row = asked_number(query, "row")
    if row is not None:
        return Redirect(link("source", source_id, "row", row))
    paging = Paging.of(source.n_rows, query)
    lines = source_lines(store, source, range(paging.start, paging.stop))
    return View(
        "source",
        {
            "source": source,
            "products": products(store, source_id),
            "versions": _versions(store, source),
            "paging": paging,
            "lines": lines,
            "sources": source_facts(store, lines),
        },
    )


def source_row_page(store: Store, source_id: str, row: int) -> View:
    """Return the page of a record.

    Raises:
        SourceVersionNotFoundError: There is no such version.
        SourceRowError: It has no such record.
    """
    source = load_source(store, source_id)
    reach = reach_of(store, source, [row])
    values = {"source": source, "row": row, "reach": reach}
    return View("source_row", values | {"sources": source_facts(store, reach.lines)})


def _versions(store: Store, source: SourceVersion) -> list[Facts]:
    return facts(
        store,
        """
        SELECT source_version_id, sha256, n_rows, seen_at FROM source_version
        WHERE name = ? AND uri = ? ORDER BY commit_no DESC LIMIT 50
        """,
        [source.name, source.uri],
    )
