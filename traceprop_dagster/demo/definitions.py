"""The demo as Dagster loads it.

The folder of data and store is ``TRACEPROP_DEMO_DIR``, by default ``traceprop_demo`` in the working
directory; `traceprop demo` writes the files there. ``TRACEPROP_PAGE_URL`` is the address of
`traceprop serve` that metadata links to.
"""

import os
from pathlib import Path

from traceprop_dagster.demo.assembly import DEFAULT_FOLDER, DEFAULT_PAGE_URL, demo_definitions

defs = demo_definitions(
    Path(os.environ.get("TRACEPROP_DEMO_DIR", DEFAULT_FOLDER)),
    os.environ.get("TRACEPROP_PAGE_URL", DEFAULT_PAGE_URL) or None,
)
