"""Measure how people are told today (``mail/job.py``): Celery, SQLAlchemy and smtplib."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Connection, text

from notifykit.errors import NotifykitError

from ..processes import children_seconds
from ..stores import database
from .catalog import HERE, JOB, PEERS, PeerUnavailable
from .environments import environment
from .groups import Group
from .valkey import ValkeyServer

_STALLED = 30.0
_TOLD = "FROM notifications WHERE mailed_at IS NOT NULL"


def measure(*, events: int, people: int, port: int, skip: float, say: Callable[[str], None]) -> dict[str, float]:
    """Tell people of events that were enqueued before; return the rate, and the processor time for each of them.

    Args:
        port: Of the mail server.
        skip: The share of events that are not timed, because the workers are still starting.

    Raises:
        PeerUnavailable: It cannot be measured here.
    """
    programs = environment("mail", say)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notifykit-bench-")))
            valkey = stack.enter_context(ValkeyServer(programs))
            lent = stack.enter_context(database("postgres"))
            variables = {
                "BENCH_VALKEY": valkey.url,
                "BENCH_POSTGRES": lent.url.replace("postgresql://", "postgresql+psycopg://"),
                "BENCH_SMTP": str(port),
            }
            group = stack.enter_context(Group(programs, HERE / "mail", variables, folder / "log"))
            group.run([*JOB, "prepare", str(people)])
            group.run([*JOB, "publish", str(events), str(people)])
            first = int(events * skip)
            for _ in range(PEERS["celery"].copies):
                group.start(PEERS["celery"].worker)
            with lent.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                counted = events - _wait(connection, group, first)
                used = children_seconds()
                _wait(connection, group, events)
                used = children_seconds() - used
                times = connection.scalars(text(f"SELECT mailed_at {_TOLD} ORDER BY mailed_at")).all()
    except NotifykitError as error:  # a server of ours
        raise PeerUnavailable(f"there is no server: {error}") from error
    return {"rate": (events - first) / (times[-1] - times[first]), "cpu_us": used / counted * 1e6}


def _wait(connection: Connection, group: Group, wanted: int) -> int:
    """Wait until so many people were told; return how many were.

    Raises:
        PeerUnavailable: No more are.
    """
    moved, last = time.monotonic(), 0
    while last < wanted:
        time.sleep(0.2)
        if (now := connection.scalar(text(f"SELECT count(*) {_TOLD}")) or 0) != last:
            moved, last = time.monotonic(), now
        elif time.monotonic() - moved > _STALLED:
            raise group.failure(f"{last} of {wanted} people were told, and no more")
    return last
