"""What the demo found: counted by the receivers, compared with what should have been."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..text import Cell, Column, table
from .cast import Wish
from .stands import Stand


class Row(NamedTuple):
    """A line of the report.

    Attributes:
        events: How many events should have come.
        delivered: How many came, were verified, and were answered with 200.
        retries: Attempts beyond the first of each event.
        refused: Signature failures.
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
        """Return the latency in milliseconds that this share of the events stayed below."""
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
        problems: What went wrong; empty if every event got to everyone who should get it.
    """

    rows: Sequence[Row]
    total: Row
    problems: Sequence[str]


def compare(
    expected: Mapping[Wish, set[str]],
    stands: Mapping[str, Stand],
    dead: Mapping[Wish, int],
    published: Mapping[str, float],
) -> Report:
    """Compare what the receivers counted with what they should have got.

    Args:
        expected: The ids of the events that each subscription matches.
        dead: Dead letters of each subscription's endpoint, as the store counts them.
        published: When each event was handed to ``publish``, on the monotonic clock.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for name, stand in stands.items():
        wanted = {(wish.path, id_) for wish, ids in expected.items() if wish.role.name == name for id_ in ids}
        buried = sum(number for wish, number in dead.items() if wish.role.name == name)
        problems += _problems(stand, wanted, buried)
        rows.append(
            Row(
                name,
                len(wanted),
                len(wanted & stand.accepted.keys()),
                stand.attempts.total() - len(stand.attempts),
                buried,
                stand.refused,
                [at - published[key[1]] for key, at in stand.accepted.items() if key[1] in published],
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


def _problems(stand: Stand, wanted: set[tuple[str, str]], dead: int) -> list[str]:
    name = stand.role.name
    problems = []
    hopeless = stand.role.fails is None
    got = stand.attempts.keys() if hopeless else stand.accepted.keys()
    if missing := len(wanted - got):
        problems.append(f"{name}: {missing} of {len(wanted)} events did not arrive")
    if others := len(stand.attempts.keys() - wanted):
        problems.append(f"{name}: {others} events arrived that were not for it")
    if stand.refused:
        problems.append(f"{name}: {stand.refused} requests did not verify")
    should_die = len(wanted) if hopeless else 0
    if dead != should_die:
        problems.append(f"{name}: {dead} dead letters, there should be {should_die}")
    return problems


def lines(report: Report) -> list[str]:
    """Return the table that people read."""
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
