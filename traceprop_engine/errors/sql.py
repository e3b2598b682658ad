"""Errors of SQL whose rows are followed."""

from traceprop_engine.errors.base import TracepropError, quoted


class UnsupportedSqlError(TracepropError):
    """A clause whose rows cannot be followed exactly; nothing was run."""

    def __init__(self, clause: str, way_out: str) -> None:
        super().__init__(f"Rows cannot be followed through {clause}; {way_out}.")
        self.clause = clause


class SqlStatementError(TracepropError):
    """A text that is not one SELECT statement."""

    def __init__(self, found: str) -> None:
        super().__init__(f"Expected one SELECT statement, found {found}; pass a single query.")


class SqlTableError(TracepropError):
    """A table that the query names and nobody passed, or one that cannot be an input."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}; {way_out}.")

    @classmethod
    def unknown(cls, name: str, known: list[str]) -> "SqlTableError":
        """Return the error of a name that no table has."""
        return cls(
            f"The query reads {name!r}, which is not among the tables ({quoted(known) or 'none'})",
            "pass it as a table",
        )


class SqlQueryError(TracepropError):
    """A query that DuckDB refuses, or that fails while it runs."""

    def __init__(self, message: str) -> None:
        first_line = message.strip().splitlines()[0]
        super().__init__(f"DuckDB refuses the query: {first_line.rstrip('.')}; correct the query.")


class SqlTraceError(TracepropError):
    """The traced query did not do what the plain one does; its result is not handed out."""

    def __init__(self, difference: str) -> None:
        super().__init__(
            f"The query that carries row numbers differs from yours ({difference}); "
            "run it without tracing and declare the rows, and report the query as a bug."
        )
