"""A disk that is full: a cap on the pages of an SQLite file, until SIGUSR1."""

from __future__ import annotations

import signal
import sqlite3
from typing import Any


def limit(pages: int | None) -> None:
    """Let no SQLite file grow beyond ``pages`` through connections that are made from now on."""
    if pages is None:
        return
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def limited(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.execute(f"PRAGMA max_page_count={pages}")
        connections.append(connection)
        return connection

    def lift(*_: Any) -> None:
        for connection in connections:
            connection.execute("PRAGMA max_page_count=1000000000")

    sqlite3.connect = limited  # type: ignore[assignment]
    signal.signal(signal.SIGUSR1, lift)
