"""Identity over time: which rows of a new version of a source are rows of the old one."""

from traceprop_engine.identity.fingerprints import (
    ALGORITHM,
    MOST_ROWS,
    Fingerprints,
    row_fingerprints,
    secret_id_of,
)
from traceprop_engine.identity.matching import MatchCounts, VersionMatch, match_versions
from traceprop_engine.identity.secret import project_secret
from traceprop_engine.identity.sources import fingerprint_source

__all__ = [
    "ALGORITHM",
    "MOST_ROWS",
    "Fingerprints",
    "MatchCounts",
    "VersionMatch",
    "fingerprint_source",
    "match_versions",
    "project_secret",
    "row_fingerprints",
    "secret_id_of",
]
