"""Faults that the suite must detect: each breaks one promise of the core in the process that applies it.

``NOTIFYKIT_SABOTAGE=no_fence`` names one.  The core has no code for this: processes call
:func:`apply` before they work, and ``pytest -p tests.scenarios.reliability.sabotage``
runs any other test under a fault.  A fault rewrites the source of one function, so it
fails loudly once the line that it breaks is gone.
"""

from __future__ import annotations

import hmac
import inspect
import json
import os
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from typing import Any

VARIABLE = "NOTIFYKIT_SABOTAGE"

FAULTS: dict[str, Callable[[], None]] = {}


def fault(make: Callable[[], None]) -> Callable[[], None]:
    """Register a fault under the name of its function."""
    FAULTS[make.__name__] = make
    return make


def apply(name: str | None = None) -> None:
    """Apply the fault that the environment names, if it names one."""
    chosen = os.environ.get(VARIABLE) if name is None else name
    if chosen:
        FAULTS[chosen]()


def rewrite(place: str, *changes: tuple[str, str]) -> None:
    """Replace text in the source of a function or method ``module:name``, or in a constant that is text."""
    module_name, _, name = place.partition(":")
    module = import_module(f"notifykit.{module_name}")
    *owners, last = name.split(".")
    owner: Any = module
    for part in owners:
        owner = getattr(owner, part)
    found = inspect.getattr_static(owner, last)
    source = found if isinstance(found, str) else textwrap.dedent(inspect.getsource(found))
    for old, new in changes:
        if old not in source:
            raise AssertionError(f"{place} has no {old!r} any more: the fault must be written anew")
        source = source.replace(old, new)
    if isinstance(found, str):
        setattr(owner, last, source)
        return
    names: dict[str, Any] = {}
    exec(compile(source, f"<sabotaged {place}>", "exec"), vars(module), names)
    setattr(owner, last, names[last])


# ── claims ─────────────────────────────────────────────────────────────────────────────────────


@fault
def no_fence() -> None:
    """Results count although another worker owns the claim now."""
    for statement in ("_FINISH", "_KEEP", "_PLANNED"):
        rewrite(f"stores.sql.sqlite.verbs:{statement}", (" AND fence = ?", " AND ? > 0"))
    rewrite("stores.sql.sqlite.verbs:_ATTEMPT", ("INSERT INTO", "INSERT OR REPLACE INTO"))
    rewrite(
        "stores.sql.postgres.statements:RECORD",
        ("AND q.fence = r.fence ", ""),
        ("(id IN (SELECT id FROM kept)) IS TRUE", "(id IN (SELECT id FROM kept)) IS TRUE ON CONFLICT DO NOTHING"),
    )
    rewrite("stores.sql.postgres.statements:SETTLE", ("AND o.fence = s.fence ", ""))
    rewrite("stores.sql.postgres.statements:ALL_ARE_WHOLE", ("o.fence = $3::int", "$3::int IS NOT NULL"))
    rewrite(
        "stores.sql.postgres.statements:IS_WHOLE",
        ("((o.event_id, o.fence) IN (SELECT s.event_id, s.fence", "(o.event_id IN (SELECT s.event_id"),
    )


@fault
def record_before_send() -> None:
    """A delivery is recorded as delivered before it is sent."""
    from notifykit.dispatch.sending.sender import Sender
    from notifykit.models.delivery import Claim
    from notifykit.models.outcome import Accepted
    from notifykit.policies.retry import Complete

    async def deliver(self: Sender, claim: Claim) -> None:
        now = self.context.clock.now()
        destination = self.directory.destination(claim)
        assert destination is not None
        self._record(claim, destination, Accepted(), Complete(), now, now)
        await self.recorder.flush()
        await self._send(claim, destination, now)

    Sender._deliver = deliver  # type: ignore[method-assign]


@fault
def no_rescue() -> None:
    """No worker ends the leases of dead workers."""
    rewrite("dispatch.maintenance.janitor:Janitor.end_leases", ("total = 0", "return 0"))


@fault
def abandon_not_counted() -> None:
    """A delivery that kills its worker is retried for ever."""
    rewrite("stores.sql.transitions:rescue", ("abandoned=s.queue.c.abandoned + 1", "abandoned=s.queue.c.abandoned"))


@fault
def lease_short() -> None:
    """A lease ends before the attempt that it covers, and is not prolonged."""
    from notifykit.dispatch.settings import DispatchSettings

    DispatchSettings.__attrs_post_init__ = lambda self: None  # type: ignore[method-assign]
    rewrite("dispatch.maintenance.janitor:Janitor.extend", ("now = self.context.clock.now()", "return 0"))
    no_lease_check()


@fault
def no_lease_check() -> None:
    """A claim is sent although its lease has run out while it waited."""
    rewrite(
        "dispatch.sending.sender:Sender._deliver", ("if self.leases.until(claim) - started <", "if False and started <")
    )


@fault
def lease_ends_with_attempt() -> None:
    """A worker gives up the lease of a delivery when its attempt is over, although its result is not written."""
    rewrite(
        "dispatch.sending.recorder:Recorder.add",
        ("if not self", "self._leases.drop(record.delivery_id, record.fence)\n    if not self"),
    )
    rewrite("dispatch.sending.eager:EagerSends.flush_eager", ("for claim in eager.left()", "for claim in ()"))


@fault
def no_stall() -> None:
    """A worker keeps sending although it cannot record the results."""
    rewrite("dispatch.sending.recorder:Recorder._stall", ("if stalled is not", "if False and stalled is not"))


@fault
def rescue_at_once() -> None:
    """After an outage leases are ended before their workers, which still run, can prolong them."""
    rewrite("dispatch.maintenance.janitor:Janitor.rescue", ("min(now, ", "max(now, "))


@fault
def uncertain_sms_repeated() -> None:
    """A text message is sent again although the answer to it, and not the message, was lost."""
    rewrite("dispatch.sending.sender:Sender._deliver", ("may_repeat(claim.channel, claim.details.purpose)", "True"))


@fault
def request_repeated() -> None:
    """A request to a vendor is sent again if the connection ends before the answer."""
    rewrite("channels.http1:Http1Client.__init__", ("resends=False", "resends=True"))


# ── events ─────────────────────────────────────────────────────────────────────────────────────


@fault
def reply_before_commit() -> None:
    """Publishing is acknowledged before it is stored."""
    from notifykit.models.event import Receipt, StoredEvent
    from notifykit.publisher import Publisher

    written = Publisher._store
    writing: set[object] = set()

    async def store(self: Publisher, stored: StoredEvent) -> Receipt:
        writing.add(written(self, stored))
        return Receipt(event_id=stored.id, duplicate=False)

    Publisher._store = store  # type: ignore[assignment, method-assign]


@fault
def plan_twice() -> None:
    """A plan counts although its lease was lost, and the ids of equal deliveries differ."""
    plan = import_module("notifykit.policies.plan")
    new_id = import_module("notifykit.models.ids").new_id
    plan.delivery_id = lambda *_: new_id("dlv_")  # type: ignore[attr-defined]
    rewrite(
        "stores.sql.sqlite.verbs:settle",
        ("if group is None:\n                continue", "group = group or (None, None)"),
    )
    rewrite(
        "stores.sql.postgres.statements:SETTLE",
        ("SELECT event_id FROM gone UNION ALL SELECT event_id FROM paged", "SELECT event_id FROM s"),
    )


@fault
def digests_without_constraint() -> None:
    """No index allows one open digest of a key only; the detector drops it."""
    anything_goes = "ON CONFLICT (tenant, key) WHERE open", "ON CONFLICT (id)"
    for database in ("sqlite", "postgres"):
        rewrite(f"stores.sql.{database}.digests:JOIN", anything_goes)


@fault
def dedupe_in_memory() -> None:
    """Idempotency keys are kept in the process, not in the store."""
    from notifykit.models.event import Receipt
    from notifykit.publisher import Publisher

    publish, seen = Publisher.publish, dict[Any, Receipt]()

    async def remembering(self: Publisher, event: object, options: Any) -> Receipt:
        key = options.pop("idempotency_key", None)
        if key not in seen:
            seen[key] = await publish(self, event, options)
        return seen[key]

    Publisher.publish = remembering  # type: ignore[method-assign,assignment]


@fault
def body_reserialised() -> None:
    """A retry sends what JSON makes of the body, not the bytes that were stored."""
    from notifykit.dispatch.sending.sender import Sender

    send = Sender._send

    async def reserialising(self: Sender, claim: Any, *rest: Any) -> Any:
        if claim.tries:
            claim = claim._replace(body=json.dumps(json.loads(claim.body)).encode())
        return await send(self, claim, *rest)

    Sender._send = reserialising  # type: ignore[assignment,method-assign]


@fault
def tenant_filter_removed() -> None:
    """Deliveries of any tenant are found."""
    rewrite("stores.sql.reading:conditions", ("[table.c.tenant == tenant]", "[]"))


@fault
def relay_without_hold() -> None:
    """What was handed to the broker is never handed over again."""
    rewrite("dispatch.relay:Relay.turn", ("hold=settings.hold,", "hold=settings.hold * 10_000,"))


@fault
def relay_holds_nothing() -> None:
    """What was handed to the broker is handed over again at once."""
    rewrite("dispatch.relay:Relay.turn", ("hold=settings.hold,", "hold=settings.hold * 0,"))


@fault
def acknowledged_before_claim() -> None:
    """A ticket is acknowledged before its delivery was claimed."""
    rewrite(
        "dispatch.sending.broker_source:BrokerSource.turn",
        ("    try:\n", "    self.intake.done(taken)\n    try:\n"),
        ("        self.intake.put_back(self.lane, taken)\n", ""),
    )


@fault
def message_acknowledged_before_publish() -> None:
    """A message is acknowledged before its event is durable."""
    rewrite(
        "ingest:Ingest._take",
        (
            "await self._publish_each(events)\n    await self._feed.ack(messages)",
            "await self._feed.ack(messages)\n    await self._publish_each(events)",
        ),
    )


@fault
def no_versions() -> None:
    """A save replaces the record, whatever its version."""
    rewrite("stores.sql.records:save_row", (", table.c.version == version", ""))


# ── providers ──────────────────────────────────────────────────────────────────────────────────


@fault
def sms_repeated() -> None:
    """A text message that may have arrived is sent again."""
    rewrite("policies.retry:may_repeat", ("channel != _SMS and ", ""))


# ── the outside ────────────────────────────────────────────────────────────────────────────────


@fault
def guard_first_address_only() -> None:
    """Of a name's addresses only the first is judged."""
    rewrite(
        "channels.webhook.guard:Guard._vetted", ("for address in considered if", "for address in considered[:1] if")
    )


@fault
def redirects_on() -> None:
    """A redirect is followed."""
    from notifykit.channels.webhook.wire import Wire

    post = Wire.post

    async def following(self: Wire, target: Any, head: bytes, body: bytes, *, timeout: float) -> Any:
        response = await post(self, target, head, body, timeout=timeout)
        for name, value in response.headers:
            if response.status in range(300, 400) and name.lower() == b"location":
                return await post(self, self._guard.parse(value.decode()), head, body, timeout=timeout)
        return response

    Wire.post = following  # type: ignore[method-assign]


@fault
def compare_prefix() -> None:
    """A signature is right if it begins like the right one."""
    hmac.compare_digest = lambda a, b: a.startswith(b) or b.startswith(a)


if VARIABLE in os.environ and "pytest" in sys.modules:
    apply()
