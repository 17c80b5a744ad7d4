"""The course of the demo: set the scene, publish, wait, compare, tell."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dispatch.settings import DispatchSettings
from ...kit import EgressRules, Notifykit
from ...models.delivery import DeliveryState
from ...models.event import Event
from ...ports import DeliveryFilter
from ...signing import Verifier
from ..failures import CommandError
from ..output import Output
from ..paging import collect
from ..progress import Progress
from ..supervisor import Worker, ending
from ..text import Column, plain, styled
from ..views import compact
from ..worker import encode
from .cast import Act, Wish, acts, wishes
from .report import Report, compare, lines
from .samples import load
from .stands import Stand

if TYPE_CHECKING:
    from ...models.delivery import Delivery
    from ...models.endpoint import Endpoint

EGRESS = EgressRules(allow=("127.0.0.0/8",), allow_http=True)
SETTINGS = DispatchSettings(poll=timedelta(milliseconds=250), grace=timedelta(seconds=3))
#: Seconds without any progress after which the demo gives up.
PATIENCE = 20.0
_TICK = 0.02


class Show:
    """One run of the demo.

    Args:
        own_store: Whether the store was made for the demo; in another one its tenants get names of
            their own, so that earlier demos do not get in the way.
        events: A file of events instead of the samples.
        rate: Events per second.
        stands: The receivers, listening already.
    """

    def __init__(
        self,
        out: Output,
        *,
        url: str,
        own_store: bool,
        events: str | None,
        count: int,
        rate: float,
        seed: int,
        stands: Mapping[str, Stand],
        verbose: int = 0,
    ) -> None:
        self._out = out
        self._url = url
        self._suffix = "" if own_store else f"-{secrets.token_hex(3)}"
        self._own_store = own_store
        samples = load(events)
        self._subscriptions = wishes(samples)
        self._acts = acts(samples, count, seed)
        self._rate = rate
        self._stands = stands
        self._verbose = verbose
        self._endpoints: dict[Wish, Endpoint] = {}
        self._published: dict[str, float] = {}
        self._ids: list[str] = []
        self._progress = Progress("demo", every=1.5)
        self._started = time.monotonic()

    async def run(self) -> Report:
        """Run the demo and tell about it."""
        options: dict[str, Any] = {"create": True} if self._url.startswith(("sqlite", "postgres")) else {}
        async with Notifykit(self._url, egress=EGRESS, **options) as kit:
            await self._refuse_others(kit)
            await self._set_the_scene(kit)
            worker = await Worker.start(encode(self._url, EGRESS, SETTINGS, self._verbose))
            try:
                await worker.ready()
                self._started = time.monotonic()
                await self._play(kit, worker)
            finally:
                self._progress.clear()
                await worker.stop(SETTINGS.grace.total_seconds() + 2)
            report = await self._compare(kit)
            took = time.monotonic() - self._started
            self._tell(report, took)
            await self._tell_what_next(kit)
        return report

    async def _refuse_others(self, kit: Notifykit) -> None:
        stats = await kit.stats()
        if not self._own_store and (stats.unplanned or stats.waiting or stats.sending):
            raise CommandError(
                "the store has work of its own, which the demo's dispatcher would deliver; use an empty database"
            )

    async def _set_the_scene(self, kit: Notifykit) -> None:
        for wish in self._subscriptions:
            stand = self._stands[wish.role.name]
            _, endpoint = await kit.subscribe(
                wish.event_types,
                tenant=self._tenant(wish),
                endpoint=stand.url(wish.path),
                topic=wish.topic,
                filter=wish.filter,
                description=f"{wish.role.name}: {wish.role.behaviour}",
                retry=wish.role.retry,
            )
            self._endpoints[wish] = endpoint
            stand.verifiers[wish.path] = Verifier(endpoint.secrets[0].value)
        types = len({act.sample.type for act in self._acts})
        self._out.line(f"Publishing {len(self._acts)} events of {types} types at {self._rate:g}/s for 3 tenants.")
        self._out.line()
        columns = [Column("TENANT"), Column("RECEIVER"), Column("BEHAVIOUR"), Column("WANTS", wraps=True)]
        rows = [
            (self._tenant(wish), wish.role.name, wish.role.behaviour, _wanted(wish)) for wish in self._subscriptions
        ]
        if not self._out.json:
            self._out.rows([], columns, rows)
        self._out.line()

    def _tenant(self, wish: Wish | Act) -> str:
        return wish.tenant + self._suffix

    # -- the play --------------------------------------------------------------------------------

    async def _play(self, kit: Notifykit, worker: Worker) -> None:
        dispatcher = asyncio.create_task(worker.wait(), name="demo-dispatcher")
        course = asyncio.create_task(self._publish_and_wait(kit), name="demo-course")
        try:
            await asyncio.wait({dispatcher, course}, return_when=asyncio.FIRST_COMPLETED)
            if not course.done():
                raise CommandError(f"the dispatcher ended in the middle of it ({ending(dispatcher.result())}); try -v")
            await course
        finally:
            dispatcher.cancel()
            course.cancel()
            await asyncio.gather(dispatcher, course, return_exceptions=True)

    async def _publish_and_wait(self, kit: Notifykit) -> None:
        watching = asyncio.create_task(self._watch(), name="demo-progress")
        try:
            await self._publish(kit)
            await self._wait(kit)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _publish(self, kit: Notifykit) -> None:
        """Publish at the rate; what is due at the same moment shares a transaction."""
        started = time.monotonic()
        at = 0
        while at < len(self._acts):
            due = min(int((time.monotonic() - started) * self._rate) + 1, len(self._acts))
            if due > at:
                await self._publish_some(kit, self._acts[at:due])
                at = due
            await asyncio.sleep(_TICK)

    async def _publish_some(self, kit: Notifykit, some: Sequence[Act]) -> None:
        now = time.monotonic()
        receipts = await asyncio.gather(
            *(
                kit.apublish(
                    Event(type=act.sample.type, data=act.sample.data), tenant=self._tenant(act), topic=act.topic
                )
                for act in some
            )
        )
        for receipt in receipts:
            self._ids.append(receipt.event_id)
            self._published[receipt.event_id] = now

    async def _wait(self, kit: Notifykit) -> None:
        """Return when nothing is left to do, or nothing has moved for too long."""
        seen, moved = -1, time.monotonic()
        while time.monotonic() - moved < PATIENCE:
            stats = await kit.stats()
            if not (stats.unplanned or stats.waiting or stats.sending):
                return
            if self._requests() != seen:
                seen, moved = self._requests(), time.monotonic()
            await asyncio.sleep(0.05)

    def _requests(self) -> int:
        return sum(stand.requests for stand in self._stands.values())

    async def _watch(self) -> None:
        while True:
            arrived = sum(len(stand.accepted) for stand in self._stands.values())
            retries = sum(stand.attempts.total() - len(stand.attempts) for stand in self._stands.values())
            self._progress.show(
                f"{time.monotonic() - self._started:4.1f} s  published {len(self._published)}/{len(self._acts)}  "
                f"arrived {arrived}  requests {self._requests()}  retries {retries}"
            )
            await asyncio.sleep(0.1)

    # -- the end ---------------------------------------------------------------------------------

    async def _compare(self, kit: Notifykit) -> Report:
        by_id = dict(zip(self._ids, self._acts, strict=True))
        expected = {wish: {id_ for id_, act in by_id.items() if wish.wants(act)} for wish in self._subscriptions}
        dead = {wish: len(await self._dead(kit, wish)) for wish in self._subscriptions}
        return compare(expected, self._stands, dead, self._published)

    async def _dead(self, kit: Notifykit, wish: Wish) -> list[Delivery]:
        return await self._deliveries(kit, wish, DeliveryState.DEAD, len(self._acts))

    async def _deliveries(self, kit: Notifykit, wish: Wish, state: DeliveryState, limit: int) -> list[Delivery]:
        wanted = DeliveryFilter(states=frozenset({state}), subscriber_id=self._endpoints[wish].id)
        tenant = self._tenant(wish)
        found, _ = await collect(
            lambda size, before: kit.deliveries.list(wanted, tenant=tenant, limit=size, before=before), limit
        )
        return found

    def _tell(self, report: Report, took: float) -> None:
        self._out.record(
            {
                "ok": not report.problems,
                "problems": list(report.problems),
                "seconds": round(took, 2),
                "receivers": [row.record() for row in report.rows],
                "total": report.total.record(),
                "url": self._url,
            }
        )
        self._out.lines(lines(report))
        self._out.line()
        if not report.problems:
            self._out.line(
                styled("Everyone got what they should, every signature verified", "green")
                + f" ({took:.1f} s; what the broken receiver refused is kept as dead letters)."
            )

    async def _tell_what_next(self, kit: Notifykit) -> None:
        if self._out.json:
            return
        broken = next(wish for wish in self._subscriptions if wish.role.fails is None)
        flaky = next(wish for wish in self._subscriptions if wish.role.fails)
        dead = await self._dead(kit, broken)
        delivered = await self._deliveries(kit, flaky, DeliveryState.DELIVERED, 1)
        me = called_as()
        port = self._stands[broken.role.name].receiver.port
        say = self._out.line
        say()
        say(styled("What to try next", "bold") + " (the store stays where it is until you remove it):")
        say(f"  export NOTIFYKIT_URL={shlex.quote(self._url)} NOTIFYKIT_TENANT={self._tenant(broken)}")
        say("  export NOTIFYKIT_ALLOW=127.0.0.0/8 NOTIFYKIT_ALLOW_HTTP=1")
        commands = [("endpoints list", "who is told"), ("check", "is all well?")]
        if delivered:
            shown = f"--tenant {self._tenant(flaky)} deliveries show {delivered[0].id}"
            commands.append((shown, "one that was refused twice before it was taken"))
        if dead:
            commands += [
                (f"explain {dead[0].event_id}", "who got it, who did not, and why"),
                ("dead list", "what the broken receiver refused"),
                (f"listen --port {port}", "repair it: run this in another terminal"),
                ("dead redrive --all", "make the dead letters due again"),
                ("run", "and deliver them"),
            ]
        for command, what in commands:
            say(f"  {me} {command}" + styled(f"  # {what}", "dim"))


def called_as() -> str:
    """Return how this program was called, for commands that people copy."""
    if Path(sys.argv[0]).name != "__main__.py":
        return "notifykit"
    program = Path(sys.executable)
    beside = program.with_name("notifykit")
    command = beside if beside.exists() else program
    try:
        shown = command.relative_to(Path.cwd())
    except ValueError:
        shown = command
    return shlex.quote(str(shown)) + ("" if command is beside else " -m notifykit")


def _wanted(wish: Wish) -> str:
    parts = [" ".join(wish.event_types)]
    if wish.topic is not None:
        parts.append(f"topic {wish.topic}")
    if wish.filter is not None:
        parts.append(f"where {plain(compact(wish.filter))}")
    return ", ".join(parts)
