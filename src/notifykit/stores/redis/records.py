"""The verbs of the Redis store about configuration records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from heapq import nsmallest
from typing import Any, Final, TypeVar

import attrs

from ...codec import dumps, loads
from ...errors import StaleWriteError, StoreUnavailableError
from ...failpoints import failpoint
from ...models.access import ApiKey
from ...models.audit import AuditEntry
from ...models.ended_session import EndedSession
from ...models.endpoint import Endpoint
from ...models.event import OPERATIONAL
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.recipient import Recipient, TenantPreferences
from ...models.subscription import Match, MatchQuery, Subscription, TenantConfig
from ...models.suppression import SuppressedAddress
from ...models.template import StoredTemplate
from ...models.throttle import buckets_of
from ...models.worker import WorkerRecord
from ...policies.admit import body_without_data
from ...policies.match_keys import MatchKey, keys_for, keys_of
from ...ports import ConfigRecord
from ..encoding import config_rows
from ..encoding import records as encoding
from ..encoding.encryption import Encryption
from ..encoding.readable import DAMAGED, endpoint_state
from ..encoding.records import FORMS, RecordForm
from ..encoding.rows import EVENT_COLUMNS, Row, instant, micros
from .connections import Connections
from .layout import json

R = TypeVar("R", bound=ConfigRecord)

#: Events that are looked at by one script, so that others are served in between.
_AT_ONCE: Final = 500
#: How often an erasure is begun again because an event has changed meanwhile.
_TRIES: Final = 10
_TYPE: Final = EVENT_COLUMNS.index("type")
_TOPIC: Final = EVENT_COLUMNS.index("topic")
_ACTOR: Final = EVENT_COLUMNS.index("actor")
_OCCURRED_AT: Final = EVENT_COLUMNS.index("occurred_at")


def _account_from(row: Row) -> ProviderAccount:
    """Return the account of a row; one that is damaged has no URL, and must not be taken for one that is empty."""
    return config_rows.account_from({**row, "url": row["url"] or None})


@attrs.frozen(kw_only=True)
class RecordKind:
    """What is particular to one kind of record in Redis.

    Attributes:
        form: How it is kept, whatever the database.
        beside: Returns a text that scripts need to know.
        keys: Returns its match keys.
    """

    form: RecordForm
    beside: Callable[[Any], str | bool] = lambda _: False
    keys: Callable[[Any], Iterable[MatchKey]] = lambda _: ()

    def arguments(self, encryption: Encryption, record: Any) -> tuple[Any, ...]:
        """Return what a script takes to save a record."""
        values = self.form.values(self.form.encrypted(encryption, record)) | {"version": record.version + 1}
        beside = [self.beside(record), list(map(_key, self.keys(record)))]
        return record.id, record.version, json(beside), json(values)

    def from_answer(self, encryption: Encryption, tenant: str, answer: Sequence[bytes]) -> Any:
        """Return the record of an answer."""
        id_, text = answer[:2]
        return self.form.decrypted(encryption, self.form.read(_row(tenant, id_, text)))


class _Row(dict[str, Any]):
    """What is kept of a record; of a damaged one everything but its id is missing."""

    def __missing__(self, name: str) -> Any:
        return 0 if name == "version" else None


def _row(tenant: str, id_: bytes, text: bytes | None) -> _Row:
    try:
        return _Row(loads(text or b""))
    except DAMAGED:
        return _Row(tenant=tenant, id=id_.decode(), subscriber_id="", url="", event_types="")


def _key(key: MatchKey) -> str:
    return f"{key.types}\n{key.topics}"


class RedisRecords:
    """The verbs of :class:`notifykit.ports.Records`."""

    encryption: Encryption
    _connections: Connections

    async def save(self, record: R) -> R:
        (saved,) = await self.save_many([record])
        if saved is None:
            raise StaleWriteError(_kind_of(record).form.name, record.id)
        failpoint("ep.changed")
        return saved

    async def save_many(self, records: Sequence[R]) -> list[R | None]:
        if not records:
            return []
        kind = _kind_of(records[0])
        arguments = [argument for record in records for argument in kind.arguments(self.encryption, record)]
        raises = "first" if kind.form.first_raises_version else int(kind.form.raises_version)
        answers = await self._connections.run("save", kind.form.name, records[0].tenant, raises, *arguments)
        return [
            attrs.evolve(record, version=record.version + 1) if saved else None  # type: ignore[misc]
            for record, saved in zip(records, answers, strict=True)
        ]

    async def get(self, kind: type[R], tenant: str, ids: Collection[str]) -> list[R]:
        its = KINDS[kind]
        answers = await self._connections.run("get", its.form.name, tenant, json(sorted({*ids})))
        return [its.from_answer(self.encryption, tenant, answer) for answer in answers]

    async def page(
        self, kind: type[R], tenant: str, *, limit: int, after: str | None = None, subscriber_id: str | None = None
    ) -> list[R]:
        its = KINDS[kind]
        of_subscriber = json([] if subscriber_id is None else [subscriber_id])
        answers = await self._connections.run("page", its.form.name, tenant, after or "", limit, of_subscriber)
        return [its.from_answer(self.encryption, tenant, answer) for answer in answers]

    async def remove(self, kind: type[R], tenant: str, id: str, *, now: datetime) -> bool:
        its = KINDS[kind]
        return bool(
            await self._connections.run("remove", its.form.name, tenant, id, micros(now), int(its.form.raises_version))
        )

    async def load_tenants(
        self, tenants: Collection[str], *, most: int | None = None
    ) -> dict[str, TenantConfig | None]:
        answers = await self._connections.run("load_tenants", json([*tenants]), "" if most is None else most)
        return {
            tenant: None if answer is None else self._config(tenant, answer)
            for tenant, answer in zip(tenants, answers, strict=True)
        }

    def _config(self, tenant: str, answer: list[Any]) -> TenantConfig:
        version, endpoints, subscriptions = answer
        return TenantConfig(
            tenant,
            int(version),
            tuple(KINDS[Endpoint].from_answer(self.encryption, tenant, one) for one in endpoints),
            tuple(KINDS[Subscription].from_answer(self.encryption, tenant, one) for one in subscriptions),
        )

    async def tenants(self, *, limit: int, after: str | None = None) -> list[str]:
        found: set[str] = set()
        cursor = b"0"
        while True:  # piece by piece: to ask for all of them at once would hold up the server
            cursor, answers = await self._connections.run("scan", "v", cursor, 0, _AT_ONCE)
            names = (name.decode() for name, _ in answers)
            found = {*nsmallest(limit, found | {name for name in names if name > (after or "")})}
            if cursor == b"0":
                return sorted(found)

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        asked = [[list(map(_key, keys_for(query))), query.after] for query in queries]
        answers = await self._connections.run("match", tenant, limit, json(asked))
        kind = KINDS[Subscription]
        return [
            [
                Match(
                    kind.from_answer(self.encryption, tenant, found),
                    None if found[2] is None else endpoint_state(found[2].decode()),
                )
                for found in answer
            ]
            for answer in answers
        ]

    async def erase(self, tenant: str, recipient_id: str, *, now: datetime) -> int:
        for _ in range(_TRIES):
            changes = [change async for change in self._mentions(tenant, recipient_id)]
            arguments = [argument for change in changes for argument in change]
            erased: int = await self._connections.run(
                "erase", tenant, recipient_id, micros(now), buckets_of(recipient_id), *arguments
            )
            if erased >= 0:
                return erased
        raise StoreUnavailableError("events of the tenant changed while they were read; try again")

    async def _mentions(self, tenant: str, recipient_id: str) -> Any:
        """Yield how each event changes that names a recipient, as the script takes it."""
        quoted = dumps(recipient_id)
        audience = dumps(quoted.decode())[1:-1]
        after: bytes = b""
        while after is not None:
            found, after = await self._connections.run("addressed", tenant, after, _AT_ONCE, quoted, audience)
            for id_, line in found:
                if change := _without(id_, line, recipient_id):
                    yield change


def _without(id_: bytes, line: bytes, recipient_id: str) -> tuple[Any, ...] | None:
    """Return an event without a recipient.

    Its id, line, new line, whether it has no audience left, or another one, and its body if that is another one.
    """
    values = loads(line)
    fields = loads(values[-1].encode()) if values[-1] else {}
    named = fields.get("to", ())
    others = [each for each in named if each != recipient_id]
    is_retold = len(others) < len(named)
    body = b""
    if values[_ACTOR] == recipient_id:
        values[_ACTOR] = None
        if values[_TOPIC] == OPERATIONAL:
            body = body_without_data(values[_TYPE], instant(values[_OCCURRED_AT]))
    elif not is_retold:  # only something that looks like the id
        return None
    if is_retold:
        values[-1] = dumps({**fields, "to": others}).decode() if others else None
    return id_, line, dumps(values), int(is_retold and not others), int(is_retold), body


def _kind_of(record: object) -> RecordKind:
    return encoding.kind_of(record, KINDS)


#: Every kind of record; a new one needs an entry here.
KINDS: dict[type[Any], RecordKind] = {
    Endpoint: RecordKind(form=FORMS[Endpoint], beside=lambda endpoint: str(endpoint.state.value)),
    Subscription: RecordKind(
        form=FORMS[Subscription],
        beside=lambda subscription: str(subscription.subscriber_id),
        keys=keys_of,
    ),
    StoredEventType: RecordKind(form=FORMS[StoredEventType]),
    Recipient: RecordKind(form=FORMS[Recipient]),
    TenantPreferences: RecordKind(form=FORMS[TenantPreferences]),
    ProviderAccount: RecordKind(form=attrs.evolve(FORMS[ProviderAccount], parse=_account_from)),
    SuppressedAddress: RecordKind(form=FORMS[SuppressedAddress]),
    StoredTemplate: RecordKind(form=FORMS[StoredTemplate]),
    ApiKey: RecordKind(form=FORMS[ApiKey]),
    AuditEntry: RecordKind(form=FORMS[AuditEntry]),
    WorkerRecord: RecordKind(form=FORMS[WorkerRecord]),
    EndedSession: RecordKind(form=FORMS[EndedSession]),
}
