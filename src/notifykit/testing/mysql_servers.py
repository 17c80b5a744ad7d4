"""A private, throw-away MariaDB server for tests and benchmarks, out of the system's packages."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Mapping

from .servers import HOST, Server, ServerUnavailableError


class MariadbServer(Server):
    """MariaDB, which speaks MySQL's protocol.

    Args:
        fsync: Whether a commit reaches the disk.  Off, it reaches the operating system:
            that survives :meth:`crash`, not a power cut, and is much faster.
        settings: More server settings, such as ``{"innodb_buffer_pool_size": "256M"}``.
    """

    name = "mysql"

    def __init__(self, *, fsync: bool = False, settings: Mapping[str, str | int] | None = None) -> None:
        super().__init__()
        self._settings: dict[str, str | int] = {
            "innodb_flush_log_at_trx_commit": 1 if fsync else 2,
            "innodb_flush_method": "fsync" if fsync else "nosync",
            "sync_frm": "ON" if fsync else "OFF",
            "innodb_buffer_pool_size": "64M",
            "innodb_log_file_size": "32M",
            "max_connections": 200,
            "performance_schema": "OFF",
            "character_set_server": "utf8mb4",
            **(settings or {}),
        }
        self._program = ""

    def _prepare(self) -> None:
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])
        program, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
        if program is None or install is None:
            raise ServerUnavailableError("no MariaDB here: apt-get install mariadb-server, or give the URL of a server")
        self._program = program
        if os.geteuid() == 0:
            self._leave_root("MariaDB")
        self._run(
            *(
                install,
                "--no-defaults",
                f"--datadir={self._data}",
                f"--tmpdir={self.folder}",
                "--auth-root-authentication-method=normal",
            ),
            *("--skip-test-db", "--skip-name-resolve", "--innodb-flush-method=nosync", "--innodb-log-file-size=32M"),
        )
        self.url = f"mysql://root@{HOST}:{self.port}/notifykit"
        (self.folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS notifykit;\n")

    def _command(self) -> list[str]:
        places: dict[str, str | int] = {
            "datadir": str(self._data),
            "tmpdir": str(self.folder),
            "bind-address": HOST,
            "port": self.port,
            "socket": str(self.folder / "socket"),
            "pid-file": str(self.folder / "pid"),
            "init-file": str(self.folder / "init.sql"),
        }
        return [
            self._program,
            "--no-defaults",
            *(f"--{name}={value}" for name, value in (places | self._settings).items()),
        ]

    def _is_ready(self, pid: int) -> bool:
        del pid
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as client:
            return len(client.recv(5)) == 5  # its greeting
        return False

    @property
    def _data(self) -> str:
        return str(self.folder / "data")
