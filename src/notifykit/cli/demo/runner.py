"""The steps of the demo: subscribe, publish, wait, compare, report."""

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
from urllib.parse import urlsplit

from ...dispatch.settings import DispatchSettings
from ...kit import Notifykit
from ...models.delivery import DeliveryState
from ...models.event import Event
from ...options import EgressRules
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
from . import people, texts
from .mail import MailBox
from .receivers import DemoReceiver
from .report import Report, compare, lines
from .samples import load
from .scenario import DemoEvent, DemoSubscription, demo_events, subscriptions

if TYPE_CHECKING:
    from ...models.delivery import Delivery
    from ...models.endpoint import Endpoint
    from ...testing.vendors import TwilioServer

EGRESS = EgressRules(allow=("127.0.0.0/8",), allow_http=True)
SETTINGS = DispatchSettings(poll=timedelta(milliseconds=250), grace=timedelta(seconds=3))
#: The demo gives up after this many seconds without progress.
PATIENCE = 20.0
_TICK = 0.02


class Demo:
    """One run of the demo.

    Args:
        own_store: Whether the store was created for the demo.  In another store the tenants get unique
            names, so that earlier demos do not interfere.
        events: A file of events instead of the samples.
        rate: Events per second.
        receivers: The receivers, which are listening already.
        mail: Where the e-mails of people go.
        vendor: Where their text messages go.
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
        receivers: Mapping[str, DemoReceiver],
        mail: MailBox,
        vendor: TwilioServer,
        verbose: int = 0,
    ) -> None:
        self._out = out
        self._url = url
        self._suffix = "" if own_store else f"-{secrets.token_hex(3)}"
        self._own_store = own_store
        samples = load(events)
        self._subscriptions = subscriptions(samples)
        self._events = demo_events(samples, count, seed)
        self._rate = rate
        self._receivers = receivers
        self._mail = mail
        self._vendor = vendor
        self._verbose = verbose
        self._endpoints: dict[DemoSubscription, Endpoint] = {}
        self._published: dict[str, float] = {}
        self._ids: list[str] = []
        self._told: dict[str, str] = {}
        self._progress = Progress("demo", every=1.5)
        self._started = time.monotonic()

    async def run(self) -> Report:
        """Run the demo and report the result."""
        options: dict[str, Any] = {"create": True} if self._url.startswith(("sqlite", "postgres")) else {}
        types = [*people.EVENT_TYPES, texts.CodeRequested]
        async with Notifykit(self._url, egress=EGRESS, event_types=types, **options) as kit:
            await self._refuse_pending_work(kit)
            await self._subscribe(kit)
            await people.prepare(kit, self._people)
            self._texts = texts.Texts(kit, self._vendor, self._people)
            async with self._texts.receiver:
                await self._work(kit)
            report = await self._compare(kit)
            told = await people.told(kit, self._people, self._mail.subjects)
            fates = await self._texts.fates()
            report = report._replace(problems=[*report.problems, *people.problems(told), *texts.problems(fates)])
            took = time.monotonic() - self._started
            await self._report(kit, report, told, fates, took)
            await self._suggest(kit)
        return report

    async def _work(self, kit: Notifykit) -> None:
        orders = encode(
            *(self._url, EGRESS, SETTINGS, self._verbose), email=self._mail.url, sms=self._texts.provider_url
        )
        worker = await Worker.start(orders)
        try:
            await worker.ready()
            self._started = time.monotonic()
            await self._deliver(kit, worker)
            await self._texts.report()
        finally:
            self._progress.clear()
            await worker.stop(SETTINGS.grace.total_seconds() + 2)

    async def _refuse_pending_work(self, kit: Notifykit) -> None:
        stats = await kit.stats()
        if not self._own_store and (stats.unplanned or stats.waiting or stats.sending):
            raise CommandError(
                "the store has pending work, which the demo's dispatcher would deliver; use an empty database"
            )

    async def _subscribe(self, kit: Notifykit) -> None:
        for subscription in self._subscriptions:
            receiver = self._receivers[subscription.role.name]
            _, endpoint = await kit.subscribe(
                subscription.event_types,
                tenant=self._tenant(subscription),
                endpoint=receiver.url(subscription.path),
                topic=subscription.topic,
                filter=subscription.filter,
                description=f"{subscription.role.name}: {subscription.role.behaviour}",
                retry=subscription.role.retry,
            )
            self._endpoints[subscription] = endpoint
            receiver.verifiers[subscription.path] = Verifier(endpoint.secrets[0].value)
        self._out.line(
            f"Telling {len(people.PEOPLE)} people by e-mail and in their inboxes, {len(texts.PHONES)} by SMS."
        )
        types = len({event.sample.type for event in self._events})
        self._out.line(f"Publishing {len(self._events)} events of {types} types at {self._rate:g}/s for 3 tenants.")
        self._out.line()
        columns = [Column("TENANT"), Column("RECEIVER"), Column("BEHAVIOUR"), Column("SUBSCRIBED TO", wraps=True)]
        rows = [
            (self._tenant(subscription), subscription.role.name, subscription.role.behaviour, _wanted(subscription))
            for subscription in self._subscriptions
        ]
        if not self._out.json:
            self._out.rows([], columns, rows)
        self._out.line()

    @property
    def _people(self) -> str:
        """The tenant of the people."""
        return people.TENANT + self._suffix

    def _tenant(self, subscription: DemoSubscription | DemoEvent) -> str:
        return subscription.tenant + self._suffix

    # -- publishing and waiting ------------------------------------------------------------------

    async def _deliver(self, kit: Notifykit, worker: Worker) -> None:
        dispatcher = asyncio.create_task(worker.wait(), name="demo-dispatcher")
        publishing = asyncio.create_task(self._publish_and_wait(kit), name="demo-publishing")
        try:
            await asyncio.wait({dispatcher, publishing}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise CommandError(f"the dispatcher ended during the demo ({ending(dispatcher.result())}); try -v")
            await publishing
        finally:
            dispatcher.cancel()
            publishing.cancel()
            await asyncio.gather(dispatcher, publishing, return_exceptions=True)

    async def _publish_and_wait(self, kit: Notifykit) -> None:
        watching = asyncio.create_task(self._watch(), name="demo-progress")
        try:
            async with asyncio.TaskGroup() as publishing:
                publishing.create_task(self._publish(kit))
                publishing.create_task(self._texts.publish())
                telling = publishing.create_task(people.publish(kit, self._people))
            self._told = telling.result()
            await self._wait(kit)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _publish(self, kit: Notifykit) -> None:
        """Publish at the rate; events that are due at the same time share a transaction."""
        started = time.monotonic()
        at = 0
        while at < len(self._events):
            due = min(int((time.monotonic() - started) * self._rate) + 1, len(self._events))
            if due > at:
                await self._publish_some(kit, self._events[at:due])
                at = due
            await asyncio.sleep(_TICK)

    async def _publish_some(self, kit: Notifykit, some: Sequence[DemoEvent]) -> None:
        now = time.monotonic()
        receipts = await asyncio.gather(
            *(
                kit.apublish(
                    Event(type=event.sample.type, data=event.sample.data), tenant=self._tenant(event), topic=event.topic
                )
                for event in some
            )
        )
        for receipt in receipts:
            self._ids.append(receipt.event_id)
            self._published[receipt.event_id] = now

    async def _wait(self, kit: Notifykit) -> None:
        """Return when no work is left, or after too long without a request."""
        seen, moved = -1, time.monotonic()
        while time.monotonic() - moved < PATIENCE:
            stats = await kit.stats()
            if not (stats.unplanned or stats.waiting - people.HELD or stats.sending):
                return
            if self._requests() != seen:
                seen, moved = self._requests(), time.monotonic()
            await asyncio.sleep(0.05)

    def _requests(self) -> int:
        return sum(receiver.requests for receiver in self._receivers.values())

    async def _watch(self) -> None:
        while True:
            arrived = sum(len(receiver.accepted) for receiver in self._receivers.values())
            retries = sum(receiver.attempts.total() - len(receiver.attempts) for receiver in self._receivers.values())
            self._progress.show(
                f"{time.monotonic() - self._started:4.1f} s  published {len(self._published)}/{len(self._events)}  "
                f"arrived {arrived}  requests {self._requests()}  retries {retries}"
            )
            await asyncio.sleep(0.1)

    # -- comparing and reporting -----------------------------------------------------------------

    async def _compare(self, kit: Notifykit) -> Report:
        by_id = dict(zip(self._ids, self._events, strict=True))
        expected = {
            subscription: {id_ for id_, event in by_id.items() if subscription.wants(event)}
            for subscription in self._subscriptions
        }
        dead = {subscription: len(await self._dead(kit, subscription)) for subscription in self._subscriptions}
        return compare(expected, self._receivers, dead, self._published)

    async def _dead(self, kit: Notifykit, subscription: DemoSubscription) -> list[Delivery]:
        return await self._deliveries(kit, subscription, DeliveryState.DEAD, len(self._events))

    async def _deliveries(
        self, kit: Notifykit, subscription: DemoSubscription, state: DeliveryState, limit: int
    ) -> list[Delivery]:
        wanted = DeliveryFilter(states=frozenset({state}), subscriber_id=self._endpoints[subscription].id)
        tenant = self._tenant(subscription)
        found, _ = await collect(
            lambda size, before: kit.deliveries.list(wanted, tenant=tenant, limit=size, before=before), limit
        )
        return found

    async def _report(
        self, kit: Notifykit, report: Report, told: Sequence[people.Told], fates: Sequence[texts.Fate], took: float
    ) -> None:
        self._out.record(
            {
                "ok": not report.problems,
                "problems": list(report.problems),
                "seconds": round(took, 2),
                "receivers": [row.record() for row in report.rows],
                "people": [each.record() for each in told],
                "texts": texts.records(fates),
                "total": report.total.record(),
                "url": self._url,
            }
        )
        self._out.lines(lines(report))
        self._out.line()
        self._out.line(f"Mails went to {self._mail.says}; what people were told:")
        self._out.lines(people.lines(told))
        self._out.line()
        self._out.line(f"Text messages went to a simulated Twilio on port {urlsplit(self._vendor.url).port}:")
        self._out.lines(texts.lines(fates))
        self._out.line()
        for person in people.ASKED:
            explanation = await kit.explain(person.id, self._told[person.id], tenant=self._people)
            self._out.lines(str(explanation).splitlines())
        self._out.line()
        if not report.problems:
            self._out.line(
                styled("Every receiver and person got what they should, and every signature was verified", "green")
                + f" ({took:.1f} s; the deliveries that the broken receiver refused are dead letters)."
            )

    async def _suggest(self, kit: Notifykit) -> None:
        if self._out.json:
            return
        broken = next(subscription for subscription in self._subscriptions if subscription.role.fails is None)
        flaky = next(subscription for subscription in self._subscriptions if subscription.role.fails)
        dead = await self._dead(kit, broken)
        delivered = await self._deliveries(kit, flaky, DeliveryState.DELIVERED, 1)
        me = called_as()
        port = self._receivers[broken.role.name].receiver.port
        say = self._out.line
        say()
        say(styled("What to try next", "bold") + " (the store is kept until you remove it):")
        say(f"  export NOTIFYKIT_URL={shlex.quote(self._url)} NOTIFYKIT_TENANT={self._tenant(broken)}")
        say("  export NOTIFYKIT_ALLOW=127.0.0.0/8 NOTIFYKIT_ALLOW_HTTP=1")
        commands = [("endpoints list", "the endpoints of this tenant"), ("check", "check that all is healthy")]
        if delivered:
            shown = f"--tenant {self._tenant(flaky)} deliveries show {delivered[0].id}"
            commands.append((shown, "a delivery that was refused twice before it was accepted"))
        if dead:
            commands += [
                (f"explain {dead[0].event_id}", "which endpoints got this event, and why"),
                ("dead list", "the deliveries that the broken receiver refused"),
                (f"listen --port {port}", "replace the broken receiver: run this in another terminal"),
                ("dead redrive --all", "make the dead letters due again"),
                ("run", "deliver them"),
            ]
        for command, what in commands:
            say(f"  {me} {command}" + styled(f"  # {what}", "dim"))


def called_as() -> str:
    """Return how this program was called, for commands that users copy."""
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


def _wanted(subscription: DemoSubscription) -> str:
    parts = [" ".join(subscription.event_types)]
    if subscription.topic is not None:
        parts.append(f"topic {subscription.topic}")
    if subscription.filter is not None:
        parts.append(f"where {plain(compact(subscription.filter))}")
    return ", ".join(parts)
