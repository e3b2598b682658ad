"""SQL whose rows are followed: a DuckDB query that carries row numbers along."""

from traceprop_engine.sql.trace import SqlResult, trace_query

__all__ = ["SqlResult", "trace_query"]
