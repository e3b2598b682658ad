"""SQL whose rows are followed: a DuckDB query that carries row numbers along."""

from traceprop_engine.sql_queries.frames import sql
from traceprop_engine.sql_queries.trace import THREADS, SqlResult, trace_query

__all__ = ["THREADS", "SqlResult", "sql", "trace_query"]
