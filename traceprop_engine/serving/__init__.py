"""Read-only pages of a store, served to this machine alone.

Addresses, for links from elsewhere such as Dagster's metadata:

====================================  ======================================================
``/``                                 datasets, sources, training runs, recent explanations
``/dataset/<version>``                one dataset version; ``?page=2`` turns its table
``/dataset/<version>/row/<n>``        where one of its rows came from
``/source/<version>``                 one version of a source file; ``?page=2``
``/source/<version>/row/<n>``         one record of it, and all that it reached
``/run/<training run>``               a training run
``/explain/<version>/<n>``            why one prediction is what it is; ``?target=loss``
``/explanation/<query>``              the same for a recorded explanation
====================================  ======================================================

``<version>`` of a dataset may be its name as well, which stands for the newest version. Names and
identifiers are percent-encoded, slashes included. Rows count from 0.
"""

from traceprop_engine.serving.server import HOST, bind
from traceprop_engine.serving.site import Response, Site

__all__ = ["HOST", "Response", "Site", "bind"]
