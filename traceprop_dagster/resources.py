"""The store as a Dagster resource: a path in, an engine value out."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from traceprop_engine.store import Store


class TracepropStore(dg.ConfigurableResource):
    """The store that assets write to and questions read from.

    ``path`` is resolved against the working directory of the process that reads it; give an
    absolute path when processes with different working directories share a store.
    """

    path: str = Field(description="Directory of the store; created at the first write.")
    page_url: str | None = Field(
        default=None,
        description="Address of a running `traceprop serve`, such as http://127.0.0.1:4004; "
        "metadata then links to its pages.",
    )

    def open(self) -> Store:
        """Return the store, created if it does not exist."""
        folder = Path(self.path).expanduser().resolve()
        return Store.open(folder) if (folder / "log").is_dir() else Store.create(folder)

    def page(self, *parts: str) -> str | None:
        """Return the address of a page of ``traceprop serve``, if one is configured."""
        if self.page_url is None:
            return None
        return "/".join([self.page_url.rstrip("/"), *parts])
