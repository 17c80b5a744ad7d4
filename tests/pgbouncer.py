"""PgBouncer in front of a PostgreSQL server: one process pools sessions under one name, transactions under another."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress

from notifykit.stores.sql.postgres.url import PostgresUrl
from notifykit.testing.servers import HOST, Server, ServerUnavailableError

#: Debian's package puts it where only root's path leads.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
#: The settings of ours that it refuses at the start of a session, unless it is set to ignore them.
IGNORED = "jit,enable_hashjoin,enable_mergejoin,enable_seqscan,enable_bitmapscan,search_path"


class PgBouncer(Server):
    """A pooler in front of a database.

    Args:
        upstream: The URL of the database.
        settings: More settings of PgBouncer.

    Attributes:
        upstream: The URL of the database.
    """

    name = "pgbouncer"

    def __init__(self, upstream: str, settings: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.upstream = upstream
        self._settings = settings or {}

    def to(self, mode: str) -> str:
        """Return the URL of a database of which ``session``, ``transaction`` or ``statement`` is pooled."""
        return f"{self.url}/{mode}"

    def _prepare(self) -> None:
        self._program = shutil.which("pgbouncer", path=_PATH)
        if self._program is None:
            raise ServerUnavailableError("no pgbouncer here: install the system's package")
        if os.geteuid() == 0:  # it refuses to run as root
            self._user = "nobody"
            shutil.chown(self.folder, self._user)
        up = PostgresUrl.parse(self.upstream)
        target = {
            "host": up.hosts[0],
            "port": up.ports[0] if up.ports else 5432,
            "dbname": up.database,
            "user": up.user,
            "password": up.password,
        }
        given = " ".join(f"{name}='{value}'" for name, value in target.items() if value is not None)
        settings = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "default_pool_size": 20,
            "server_lifetime": 3600,
            **self._settings,
        }
        lines = [
            "[databases]",
            *(f"{mode} = {given} pool_mode={mode}" for mode in ("session", "transaction", "statement")),
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        self.url = f"postgresql://postgres@{HOST}:{self.port}"

    def _command(self) -> list[str]:
        return [str(self._program), str(self.folder / "pgbouncer.ini")]

    def _is_ready(self, pid: int) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), 1):
            return True
        return False
