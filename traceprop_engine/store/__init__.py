"""Where facts live: an append-only log, content-addressed blocks, and a DuckDB index over them."""
