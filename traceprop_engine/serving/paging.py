"""One page of a long table at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

ROWS_OF_A_PAGE = 50
_MOST_DIGITS = 12


@dataclass(frozen=True)
class Paging:
    """Which rows of a table are on a page.

    Attributes:
        number: Of the page, counted from 1.
        n_pages: Pages of the table, at least 1.
        start: First row on the page.
        stop: Row after the last.
        n_rows: Rows of the table.
    """

    number: int
    n_pages: int
    start: int
    stop: int
    n_rows: int

    @classmethod
    def of(cls, n_rows: int, query: Mapping[str, str]) -> "Paging":
        """Return the page that ``?page=`` asks for, or the nearest there is."""
        n_pages = max(1, -(-n_rows // ROWS_OF_A_PAGE))
        number = min(max(1, asked_number(query, "page") or 1), n_pages)
        start = (number - 1) * ROWS_OF_A_PAGE
        return cls(number, n_pages, start, min(start + ROWS_OF_A_PAGE, n_rows), n_rows)

    @property
    def neighbours(self) -> list[int | None]:
        """Numbers of the pages to link to, with ``None`` where some are left out.

        Example:
            >>> Paging.of(1000, {"page": "10"}).neighbours
            [1, None, 8, 9, 10, 11, 12, None, 20]
        """
        wanted = {1, self.n_pages, *range(self.number - 2, self.number + 3)}
        shown: list[int | None] = []
        for number in sorted(n for n in wanted if 1 <= n <= self.n_pages):
            if shown and shown[-1] != number - 1:
                shown.append(None)
            shown.append(number)
        return shown


def asked_number(query: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from the query of an address; ``None`` if there is none."""
    text = query.get(name, "")
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None
