"""The size of the tables that every delivery passes through, after many deliveries."""

from __future__ import annotations

import time

from sqlalchemy import text

from .job import Job, run_once, stage
from .plan import Plan, Say
from .results import Column, Part, Row, Spread
from .rounds import Condition, note
from .stores import Database

_TABLES = ("outbox", "queue")
_SIZE = """
SELECT pg_total_relation_size(relid) / 1048576.0, n_dead_tup, autovacuum_count
FROM pg_stat_user_tables WHERE relname = :name
"""


def part(plan: Plan, say: Say) -> Part:
    """Deliver again and again on the same PostgreSQL store, and measure the tables each time."""
    say("bloat")
    columns = [
        column
        for table in _TABLES
        for column in (
            Column(key=f"{table}_mb", title=f"{table} with its indexes", unit="MB", digits=1, chart="lines"),
            Column(key=f"{table}_live", title="live rows"),
            Column(key=f"{table}_dead", title="dead rows"),
            Column(key=f"{table}_vacuums", title="vacuums"),
        )
    ]
    job = Job(store="postgres", events=plan.events)
    condition = Condition("bloat", job)
    rows = []
    with stage(job) as on:
        if on.database.pid is not None:  # a server of yours keeps its settings
            _vacuum_often(on.database)
        for turn in range(1, max(plan.runs, 3) + 1):
            note(condition, run_once(job, on), str(turn), say)
            delivered = turn * job.wanted
            rows.append(Row(label=f"{delivered:,}", at=delivered, cells=_look(on.database)))
    return Part(
        name="bloat",
        title="Tables after many deliveries",
        about=(
            "PostgreSQL. Every event passes through the outbox and every delivery through the queue; both are empty "
            "again after each round. Their size is read a second later, without waiting for the vacuum, which comes "
            "every 10 s on a private server, in place of once a minute."
        ),
        columns=columns,
        rows=rows,
        across="deliveries so far",
    )


def _vacuum_often(lent: Database) -> None:
    """Have the server look for dead rows every ten seconds: by default it does so once a minute."""
    with lent.engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("ALTER SYSTEM SET autovacuum_naptime = '10s'"))
        connection.execute(text("SELECT pg_reload_conf()"))


def _look(lent: Database) -> dict[str, Spread]:
    time.sleep(1)  # the server's statistics come a little later
    found = {}
    with lent.engine().connect() as connection:
        for table in _TABLES:
            name = f"notifykit_{table}"
            live = connection.scalar(text(f"SELECT count(*) FROM {name}"))  # the statistics only estimate it
            size, dead, vacuums = connection.execute(text(_SIZE), {"name": name}).one()
            for kind, value in {"mb": size, "live": live, "dead": dead, "vacuums": vacuums}.items():
                found[f"{table}_{kind}"] = Spread.of([float(value)])
    return found
