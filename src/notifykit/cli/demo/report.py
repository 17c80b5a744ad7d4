"""The demo's report: the counts of the receivers, compared with the expected ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..text import Cell, Column, table
from .receivers import DemoReceiver
from .scenario import DemoSubscription


class Row(NamedTuple):
    """A line of the report.

    Attributes:
        events: The number of expected events.
        delivered: How many arrived, were verified, and were answered with 200.
        retries: Attempts beyond the first of each event.
        refused: Requests that failed verification.
        latencies: Seconds from publishing to arrival, of delivered events.
    """

    name: str
    events: int
    delivered: int
    retries: int
    dead: int
    refused: int
    latencies: Sequence[float]

    def percentile(self, share: float) -> float | None:
        """Return the latency in milliseconds below which this share of the events stayed."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000

    def record(self) -> dict[str, Any]:
        """Return the row for JSON."""
        values = self._asdict()
        values.pop("latencies")
        return {**values, "p50_ms": _rounded(self.percentile(0.5)), "p99_ms": _rounded(self.percentile(0.99))}


class Report(NamedTuple):
    """The outcome of a demo.

    Attributes:
        problems: What went wrong; empty if every receiver got exactly the expected events.
    """

    rows: Sequence[Row]
    total: Row
    problems: Sequence[str]


def compare(
    expected: Mapping[DemoSubscription, set[str]],
    receivers: Mapping[str, DemoReceiver],
    dead: Mapping[DemoSubscription, int],
    published: Mapping[str, float],
) -> Report:
    """Compare the counts of the receivers with the expected ones.

    Args:
        expected: The ids of the events that each subscription matches.
        dead: Dead letters of each subscription's endpoint, counted by the store.
        published: When each event was published, on the monotonic clock.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for name, receiver in receivers.items():
        wanted = {
            (subscription.path, id_)
            for subscription, ids in expected.items()
            if subscription.role.name == name
            for id_ in ids
        }
        dead_letters = sum(number for subscription, number in dead.items() if subscription.role.name == name)
        problems += _problems(receiver, wanted, dead_letters)
        rows.append(
            Row(
                name,
                len(wanted),
                len(wanted & receiver.accepted.keys()),
                receiver.attempts.total() - len(receiver.attempts),
                dead_letters,
                receiver.refused,
                [at - published[key[1]] for key, at in receiver.accepted.items() if key[1] in published],
            )
        )
    return Report(rows, _total(rows, len(published)), problems)


def _total(rows: Sequence[Row], events: int) -> Row:
    def add(values: Iterable[int]) -> int:
        return sum(values)

    return Row(
        f"total ({events} published)",
        add(row.events for row in rows),
        add(row.delivered for row in rows),
        add(row.retries for row in rows),
        add(row.dead for row in rows),
        add(row.refused for row in rows),
        [latency for row in rows for latency in row.latencies],
    )


def _problems(receiver: DemoReceiver, wanted: set[tuple[str, str]], dead: int) -> list[str]:
    name = receiver.role.name
    problems = []
    always_fails = receiver.role.fails is None
    got = receiver.attempts.keys() if always_fails else receiver.accepted.keys()
    if missing := len(wanted - got):
        problems.append(f"{name}: {missing} of {len(wanted)} events did not arrive")
    if others := len(receiver.attempts.keys() - wanted):
        problems.append(f"{name}: {others} unexpected events arrived")
    if receiver.refused:
        problems.append(f"{name}: {receiver.refused} requests failed verification")
    expected = len(wanted) if always_fails else 0
    if dead != expected:
        problems.append(f"{name}: {dead} dead letters, expected {expected}")
    return problems


def lines(report: Report) -> list[str]:
    """Return the report as a table."""
    columns = [
        Column("RECEIVER"),
        Column("EVENTS", right=True),
        Column("DELIVERED", right=True),
        Column("RETRIES", right=True),
        Column("DEAD", right=True),
        Column("BAD SIGNATURES", right=True),
        Column("P50", right=True),
        Column("P99", right=True),
    ]
    rows = [
        (
            Cell(row.name, "bold" if row is report.total else None),
            row.events,
            Cell(str(row.delivered), "green" if row.delivered == row.events else None),
            row.retries,
            Cell(str(row.dead), "yellow" if row.dead else None),
            Cell(str(row.refused), "red" if row.refused else None),
            _shown(row.percentile(0.5)),
            _shown(row.percentile(0.99)),
        )
        for row in (*report.rows, report.total)
    ]
    return table(columns, rows)


def _shown(millis: float | None) -> str:
    if millis is None:
        return "-"
    return f"{millis:.0f} ms" if millis < 1000 else f"{millis / 1000:.2f} s"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
