"""The secret of a project's fingerprints: a file in the store that only its owner can read."""

import secrets
from pathlib import Path

from traceprop_engine.durable_files import publish, staged_file, sync_directory
from traceprop_engine.errors import ProjectSecretError

SECRET_NAME = "fingerprint.secret"  # noqa: S105 (the name of a file)
"""Name of the file in the store's directory."""

_N_BYTES = 32
_OWNER_ONLY = 0o600


def project_secret(directory: Path) -> bytes:
    """Return the secret of the store in ``directory``, made at the first call.

    The file appears whole and once, also when several processes ask at the same moment. Whoever
    loses it can still read the store, and new fingerprints match none of the old ones.

    Raises:
        ProjectSecretError: It cannot be made or read, or is no such secret.
    """
    path = directory / SECRET_NAME
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError as error:
        raise ProjectSecretError(
            path,
            f"the secret of the fingerprints is out of reach ({error.strerror or error})",
            "let the owner of the store give you access, or record sources with fingerprint=False",
        ) from error
    if len(secret) != _N_BYTES:
        raise ProjectSecretError(
            path,
            f"it holds {len(secret)} bytes where a secret has {_N_BYTES}",
            "restore it from a backup; without one, remove it, and fingerprints begin anew",
        )
    return secret


def _make(path: Path) -> None:
    secret = secrets.token_bytes(_N_BYTES)
    with staged_file(path.parent / "staging", secret, mode=_OWNER_ONLY) as staged:
        publish(staged, path)  # another process may have been first; then its secret stays
    sync_directory(path.parent)
