"""The store in Redis or Valkey."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from ...errors import NewerSchemaError, StoreUnavailableError
from ...failpoints import failpoint
from ...models.delivery import Claim, Delivery, DeliveryState, Lane
from ...models.event import StoredEvent, TakenEvent
from ...models.throttle import MAX_PER
from ...ports import Appended, NextDue, Outstanding, Record, Settlement, Ticket
from ...vault import KeyRing, Vault
from ...vault.development import state_file
from ..encoding.encryption import Encryption, is_loopback, payloads_are_encrypted
from ..encoding.rows import instant, micros
from . import layout
from .connections import Connections, Listening
from .durability import Durability, durability
from .inbox import RedisInbox
from .layout import json
from .operations import RedisOperations
from .records import RedisRecords
from .rekey import RedisRekeys
from .url import RedisUrl

#: The version of the layout of keys and values.
LAYOUT: Final = "1"
#: Why a delivery is held whose event cannot be decrypted here.
_MISSING_KEY: Final = "missing_key"


class RedisStore(RedisRecords, RedisOperations, RedisInbox, RedisRekeys):
    """A store in Redis (6.2 or newer) or Valkey.

    What is published is as durable as the server's settings make it: see the how-to about Redis.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://`` with TLS, ``redis+sentinel://`` or
            ``redis+cluster://``; ``?prefix=`` parts several stores in one database.
        pool_size: Connections kept open at the most, beside the one that hears notifications.
        create: Accepted, as other stores need it; nothing has to be created.
        keys: What secrets are encrypted under; by default ``NOTIFYKIT_KEYS``, or a key made for development.
        environment: ``production`` refuses to work without keys; by default ``NOTIFYKIT_ENV``.
        encrypt_payloads: Encrypt the content of events, too; by default ``NOTIFYKIT_ENCRYPT_PAYLOADS``.

    Raises:
        ConfigurationError: The URL is of no form that is known.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        create: bool = False,
        keys: KeyRing | None = None,
        environment: str | None = None,
        encrypt_payloads: bool | None = None,
    ) -> None:
        del create
        self.url = url
        its = RedisUrl.parse(url)
        is_local = all(is_loopback(host) for host, _ in its.hosts)
        vault = Vault(keys, environment, is_local=is_local, file=state_file())
        self.encryption = Encryption(vault, payloads=payloads_are_encrypted(encrypt_payloads))
        self._connections = Connections(its, pool_size)
        self._listening = Listening(self._connections)

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        self.encryption.vault.check()
        try:
            await self._connections.open()
            _refuse_newer(await self._connections.run("open", LAYOUT))
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        await self._listening.aclose()
        await self._connections.aclose()

    async def durability(self) -> Durability:
        """Return what the server's settings say of durability."""
        return await durability(self._connections)

    # -- the queue -------------------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        if not events:
            return []
        stored = self.encryption.events(events)
        metas, texts = json(list(map(layout.event_meta, stored))), map(layout.event_text, stored)
        failpoint("pub.inserted")
        known = await self._connections.run("append", metas, *texts)
        answers = [Appended(event.id) for event in events]
        for at, event_id, fingerprint in known:
            held = None if fingerprint is None else bytes.fromhex(fingerprint.decode())
            answers[at] = Appended(event_id.decode(), duplicate=True, fingerprint=held)
        self._listening.wake()
        return self.encryption.answers(stored, answers)

    async def take(
        self,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        exclude: Collection[str] = (),
        since: datetime | None = None,  # noqa: ARG002 - a backlog costs nothing here
    ) -> list[TakenEvent]:
        answers = await self._connections.run("take", micros(now), micros(now + lease), limit, json(list(exclude)))
        return self.encryption.taken(layout.each(layout.taken_from, answers, "event"))

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        if not settlements:
            return set()
        brought = layout.Brought(5)
        values = json([layout.settlement_values(one, brought) for one in self.encryption.settlements(settlements)])
        failpoint("fan.half")
        if any(settlement.records for settlement in settlements):
            failpoint("res.half")
        settled, is_work = await self._connections.run(
            "settle", micros(now), micros(now + lease), worker, values, *brought.texts
        )
        if is_work:
            self._listening.wake()
        return {id_.decode() for id_ in settled}

    async def claim(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        worker: str,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
        only: Collection[str] | None = None,
        ids: Collection[str] | None = None,
    ) -> list[Claim]:
        until = now + lease
        which = {"exclude": list(exclude), "exclude_tenants": list(exclude_tenants)}
        if only is not None:
            which["only"] = list(only)
        if ids is not None:
            which["ids"] = list(ids)
        answer = await self._connections.run(
            "claim", layout.lane_name(lane), limit, micros(now), micros(until), worker, json(which)
        )
        claims, locked = self.encryption.claims(layout.claims_from(answer, lane, until))
        if locked:  # another worker may have the key, or this one may get it
            held = DeliveryState.HELD
            await self.record(
                [Record(one.delivery_id, one.fence, held, _MISSING_KEY, until, now, None) for one in locked]
            )
        return claims

    async def hand_off(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        hold: timedelta,
        most: Outstanding,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
    ) -> list[Ticket]:
        which = json({"exclude": list(exclude), "exclude_tenants": list(exclude_tenants)})
        tickets = await self._connections.run(
            "hand_off", layout.lane_name(lane), limit, micros(now), micros(now + hold), which, *most
        )
        return [Ticket(id_.decode(), lane, tenant.decode(), its.decode()) for id_, tenant, its in tickets]

    async def record(self, records: Sequence[Record]) -> set[str]:
        if not records:
            return set()
        brought = layout.Brought(2)
        values = json([layout.record_values(record, brought) for record in self.encryption.records(records)])
        failpoint("res.half")
        written = await self._connections.run("record", values, *brought.texts)
        if brought.texts:
            self._listening.wake()
        return {id_.decode() for id_ in written}

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        if not claims:
            return set()
        arguments = [argument for claim in claims for argument in claim]
        held = await self._connections.run("extend", micros(until), *arguments)
        return {id_.decode() for id_ in held}

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        rescued = await self._connections.run("rescue", limit, micros(now), max_abandoned)
        if rescued:
            self._listening.wake()
        return [layout.delivery_from(row) for row in rescued]

    async def next_due(self) -> NextDue:
        version, event, is_open, pairs = await self._connections.run("next_due")
        _refuse_newer(version)
        lanes = {
            layout.lane_from(name.decode()): instant(int(float(due)))
            for name, due in zip(pairs[::2], pairs[1::2], strict=True)
        }
        return NextDue(None if event is None else instant(int(float(event))), lanes, bool(is_open))

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        if idle_timeout is not None and self._listening.hears:
            timeout = idle_timeout
        return await self._listening.work(timeout.total_seconds())

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        purged: int = await self._connections.run(
            "purge", micros(before), micros(keys_before), micros(before - MAX_PER), limit
        )
        return purged


def _refuse_newer(version: bytes | None) -> None:
    if version is None:
        raise StoreUnavailableError("the server has lost the store's keys: was it flushed, or is it another server?")
    if int(version) > int(LAYOUT):
        raise NewerSchemaError(version.decode(), LAYOUT)


if TYPE_CHECKING:
    from ...ports import Digests, Inbox, ListsTenants, Rekeys, Store

    _conforms: type[Store] = RedisStore
    _keeps_inboxes: type[Inbox] = RedisStore
    _collects: type[Digests] = RedisStore
    _rekeys: type[Rekeys] = RedisStore
    _lists: type[ListsTenants] = RedisStore
