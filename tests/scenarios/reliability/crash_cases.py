"""The crash points: which process reaches them, how, and what may be repeated afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class CrashCase:
    """A process dies, or stops for longer than its lease, right after a step.

    Attributes:
        point: The failpoint, with ``@n`` if it is not the first passage.
        role: Whose process: ``worker``, ``publisher``, ``joined`` (a publisher in its host's transaction),
            ``operator``, ``sweeper`` (a worker that ends the leases of a dead one) or ``purger`` (one that
            keeps nothing).
        action: What happens there.
        kind: How the receiver answers.
        count: How many events are published.
        planned: Whether the deliveries were planned by another process before.
        metered: Whether the endpoint has a rate limit: then each delivery is leased separately before it is sent.
        duplicates: How many repeats the receiver may see at the most.
        expected: How deliveries have to end.
        retries: How often a failed attempt is repeated.
        settings: Of the worker that dies.
        command: The operator's command.
        why: What makes this case differ from another one at the same point.
    """

    point: str
    role: str = "worker"
    action: str = "kill"
    kind: str = "ok"
    count: int = 3
    planned: bool = False
    metered: bool = False
    duplicates: int = 0
    expected: str = "delivered"
    retries: int = 8
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    command: Mapping[str, Any] = attrs.field(factory=dict)
    why: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, [self.point, "" if self.action == "kill" else self.action, self.why or self.role]))


_ONE_BY_ONE = {"concurrency": 1, "max_unproven": 0}
CASES = [
    # publishing
    CrashCase(point="pub.inserted", role="publisher"),
    CrashCase(point="pub.committed", role="publisher"),
    CrashCase(point="pub.replied", role="publisher"),
    CrashCase(point="pub.inserted@2", role="joined"),
    CrashCase(point="pub.inserted@2", role="joined", action="raise"),
    # planning
    CrashCase(point="fan.leased"),
    CrashCase(point="fan.leased", action="stop"),
    CrashCase(point="fan.half", metered=True),
    CrashCase(point="fan.half", metered=True, action="stop"),
    CrashCase(point="fan.committed", metered=True),
    CrashCase(point="fan.committed", metered=True, action="stop"),
    CrashCase(point="fan.half", duplicates=3, why="sent_before"),
    CrashCase(point="fan.half", action="stop", duplicates=3, why="sent_before"),
    CrashCase(point="fan.committed", duplicates=2, why="sent_before"),
    CrashCase(point="fan.committed", action="stop", duplicates=2, why="sent_before"),
    # sending
    CrashCase(point="dlv.leased", planned=True),
    CrashCase(point="dlv.leased", planned=True, action="stop"),
    CrashCase(point="att.started"),
    CrashCase(point="att.signed"),
    CrashCase(point="att.connected"),
    CrashCase(point="att.partial_write"),
    CrashCase(point="att.sent", duplicates=3),
    CrashCase(point="att.sent", action="stop", duplicates=3),
    CrashCase(point="att.answered", duplicates=3),
    CrashCase(point="att.answered", action="stop", duplicates=3),
    CrashCase(point="att.answered", action="stop", settings=_ONE_BY_ONE, duplicates=1, why="others_wait"),
    # recording
    CrashCase(point="res.half", duplicates=3),
    CrashCase(point="res.half", action="stop", duplicates=3),
    CrashCase(point="res.committed", count=1),
    CrashCase(point="res.committed", kind="once", count=1, why="retry_set"),
    CrashCase(point="res.committed", kind="fail", count=1, retries=0, expected="dead", why="dead"),
    CrashCase(point="lease.renewed", kind="slow", count=12, settings=_ONE_BY_ONE, duplicates=1),
    CrashCase(point="stop.draining", kind="slow", count=6, settings=_ONE_BY_ONE, duplicates=1, why="stop.kill"),
    # repairing
    CrashCase(point="sweep.half", role="sweeper"),
    CrashCase(point="sweep.half", role="sweeper", action="stop"),
    CrashCase(point="sweep.committed", role="sweeper"),
    # operating
    CrashCase(point="ep.changed", role="operator", command={"task": "rotate"}),
    CrashCase(point="gc.half", role="purger"),
    CrashCase(point="replay.created", role="operator", kind="fail", count=1, retries=0, command={"task": "redrive"}),
]
