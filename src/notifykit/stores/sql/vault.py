"""Where the encryption keys of a SQL store come from."""

from __future__ import annotations

import os
from pathlib import Path

from ...vault import KeyRing, Vault
from ...vault.development import state_file
from ..encoding.encryption import is_loopback
from .database_url import backend_of
from .mysql.url import MysqlUrl
from .postgres.url import PostgresUrl
from .sqlite.url import file_of


def vault_for(url: str, keys: KeyRing | None, environment: str | None) -> Vault:
    """Return the vault of the store behind ``url``.

    An SQLite file has its development key beside it, so that the two are moved together; servers on this machine
    share one key for each user of the machine.
    """
    if backend_of(url) == "mysql":
        return Vault(keys, environment, is_local=is_loopback(MysqlUrl.parse(url).host), file=state_file())
    if backend_of(url) != "sqlite":
        return Vault(keys, environment, is_local=_is_here(PostgresUrl.parse(url)), file=state_file())
    database = file_of(url)
    file = None if database is None else Path(f"{Path(database).resolve()}.key")
    return Vault(keys, environment, is_local=True, file=file)


def _is_here(url: PostgresUrl) -> bool:
    """Whether a server is reached without leaving this machine: over the loopback or a Unix socket."""
    return all(map(is_loopback, url.hosts or os.environ.get("PGHOST", "").split(",")))
