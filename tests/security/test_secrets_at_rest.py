"""Access to the database is not enough to sign, to log in anywhere, or to make a moved secret usable.

Every test runs on SQLite and on PostgreSQL, and searches everything the database holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import NullPool, create_engine, insert, make_url, select, update
from sqlalchemy import text as sqlalchemy_text

from notifykit import (
    ConfigurationError,
    DeliveryFilter,
    DeliveryState,
    DispatchSettings,
    EgressRules,
    EndpointState,
    Event,
    IdempotencyConflictError,
    Notifykit,
    Priority,
    RetryPolicy,
)
from notifykit.errors import MissingKeyError, StoreError, TamperedError
from notifykit.models.delivery import Lane
from notifykit.models.inbox import InboxItem, UnreadableInboxItem
from notifykit.models.provider_account import ProviderAccount
from notifykit.models.unreadable import UnreadableProviderAccount
from notifykit.ports import TAMPERED, Inbox, Rekeys, Store
from notifykit.signing import generate_secret
from notifykit.stores import store_from_url
from notifykit.stores.encoding.config_rows import endpoint_values
from notifykit.stores.encoding.encryption import UNREADABLE
from notifykit.stores.sql import rewrap as rewrapping
from notifykit.stores.sql import schema as s
from notifykit.stores.sql import survey as surveying
from notifykit.stores.sql.store import SqlStore
from notifykit.testing import Receiver, make_inbox_item
from notifykit.testing.receiver import Reply
from notifykit.vault import KeyRing
from tests.databases import mysql_connection, sync_url

LOOPBACK = EgressRules(allow=("127.0.0.0/8",), allow_http=True)
AT_ONCE = RetryPolicy(delays=(timedelta(0), timedelta(0)), jitter=0)
NEVER = RetryPolicy(delays=())
NOWHERE = "http://127.0.0.2:9999/"
HELD = DeliveryFilter(states=frozenset({DeliveryState.HELD}))
OLD, NEW = KeyRing.generate("old"), KeyRing.generate("new")
BOTH = KeyRing.parse(f"{NEW.text()},{OLD.text()}")
HEADER = "Bearer canary-of-a-header-0123456789"
PAYLOAD = "canary-of-a-payload-0123456789"
METADATA = "canary-of-metadata-0123456789"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("NOTIFYKIT_KEYS", "NOTIFYKIT_ENV", "NOTIFYKIT_ENCRYPT_PAYLOADS"):
        monkeypatch.delenv(name, raising=False)


def kit_on(url, keys=NEW, **options):
    return Notifykit(url, egress=LOOPBACK, keys=keys, **options)


def rekeys(store: Store) -> Rekeys:
    """Return a store whose keys can be rotated, by this part of its port."""
    assert isinstance(store, Rekeys)
    return store


def sql_store(store: Store) -> SqlStore:
    assert isinstance(store, SqlStore)
    return store


# ── everything the database holds ──────────────────────────────────────────────────────────────


def dump(url):
    """Return every byte of an SQLite store's files, or every row of every table of another database."""
    if url.startswith("sqlite"):
        file = Path(make_url(url).database or "")
        found = [file, *(file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal"))]
        return b"".join(part.read_bytes() for part in found if part.exists())
    pieces: list[bytes] = []
    if url.startswith("mysql"):  # the bytes of its files are those of pages, logs and copies of pages
        with mysql_connection(url) as mysql, mysql.cursor() as cursor:
            for table in s.metadata.sorted_tables:
                cursor.execute(f"SELECT * FROM {table.name}")
                values = (value for row in cursor.fetchall() for value in row)
                pieces += [value if isinstance(value, bytes) else str(value).encode() for value in values]
        return b"\0".join(pieces)
    with psycopg.connect(url) as connection:
        for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as rows:
                pieces += [bytes(part) for part in rows]
    return b"".join(pieces)


def spellings(secret):
    """Return a text as it is, in base64 (at each of its three offsets) and in hex; keys also as what they encode."""
    raw = [secret.encode()]
    if secret.startswith(("whsec_", "whsk_")):
        raw.append(base64.b64decode(secret.partition("_")[2]))
    for data in raw:
        yield data
        yield data.hex().encode()
        yield data.hex().upper().encode()
        for offset in range(3):
            text = base64.b64encode(b"\0" * offset + data)
            inner = text[4 if offset else 0 : -4]
            yield inner
            yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def hits(haystack, *secrets):
    return [secret for secret in secrets if any(needle in haystack for needle in spellings(secret))]


def run_sql(url, statement):
    """Change the database like an attacker with write access and without a key."""
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(statement)
        return result.mappings().all() if result.returns_rows else []


def endpoint_row(url, endpoint):
    (row,) = run_sql(url, select(s.endpoints).where(s.endpoints.c.id == endpoint.id))
    return row


def change_endpoint(url, endpoint, **values):
    run_sql(url, update(s.endpoints).where(s.endpoints.c.id == endpoint.id).values(**values))
    run_sql(url, update(s.tenants).values(version=s.tenants.c.version + 1))


async def drained(kit):
    async with kit.dispatcher() as dispatcher, asyncio.timeout(20):
        await dispatcher.drained()


async def publish(kit, number=0, **options):
    event = Event(type="order.shipped", data={"number": number, "note": PAYLOAD}, metadata={"note": METADATA})
    return await kit.apublish(event, tenant="acme", **options)


# ── nothing to be found ────────────────────────────────────────────────────────────────────────


async def work(kit, url, receiver):
    """Run everything that writes to the store; return all secrets that existed, and a dump taken in between."""
    receiver.reply(
        Reply(status=500, body=f"you sent Authorization: {HEADER}, {PAYLOAD}".encode()),
        Reply(status=204),
    )
    headers = {"authorization": HEADER}
    _, good = await kit.subscribe(
        "**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, headers=headers, retry=AT_ONCE
    )
    _, dead = await kit.subscribe(
        "**", tenant="acme", endpoint=NOWHERE, headers={"x-api-key": HEADER[::-1]}, retry=NEVER
    )
    await kit.subscriptions.create("delivery.*", tenant="acme", endpoint_id=good.id)
    ed25519 = await kit.endpoints.create(receiver.url, tenant="other", secret=generate_secret("v1a"))
    await publish(kit, 1, idempotency_key="ship-1")
    await publish(kit, 1, idempotency_key="ship-1")
    await drained(kit)
    during = dump(url)
    rotated = await kit.endpoints.rotate_secret(dead.id, tenant="acme")
    await kit.endpoints.revoke_secret(dead.id, rotated.secrets[1].value, tenant="acme")
    await kit.endpoints.update(good.id, tenant="acme", headers={"authorization": HEADER, "x-more": HEADER.upper()})
    await kit.endpoints.test(good.id, tenant="acme")
    (letter,) = await kit.deliveries.dead(tenant="acme")
    await kit.deliveries.redrive(letter.id, tenant="acme")
    await drained(kit)
    endpoints = (good, dead, ed25519, rotated)
    keys = [secret.value for endpoint in endpoints for secret in endpoint.secrets]
    return [*keys, HEADER, HEADER[::-1], HEADER.upper()], during


async def test_a_dump_has_no_secret_in_it(store_url):
    """After a full run, neither the open nor the closed database has a secret or a header value in any spelling."""
    async with Receiver() as receiver, kit_on(store_url) as kit:
        secrets, during = await work(kit, store_url, receiver)
        after = dump(store_url)
        (stored,) = (d for d in await kit.deliveries.list(tenant="acme") if d.attempts == 2 and d.reason is None)
        first, _ = await kit.deliveries.attempts(stored.id, tenant="acme")
    closed = dump(store_url)

    for held in (during, after, closed):
        assert [] == hits(held, *secrets)
        assert [PAYLOAD, METADATA] == hits(held, PAYLOAD, METADATA), "the search must be able to find something"
    assert HEADER in [request.header("authorization") for request in receiver.requests]
    assert f"you sent Authorization: [redacted], {PAYLOAD}".encode() == first.response


async def test_with_encrypted_payloads_a_dump_does_not_reveal_events_either(store_url):
    """Bodies, metadata and answers are encrypted too; receivers and operators get them as they were."""
    async with Receiver() as receiver, kit_on(store_url, encrypt_payloads=True) as kit:
        secrets, during = await work(kit, store_url, receiver)
        after = dump(store_url)
        (event,) = await kit.events.list(tenant="acme", type="order.shipped")
        (stored,) = (d for d in await kit.deliveries.list(tenant="acme") if d.attempts == 2 and d.reason is None)
        first, _ = await kit.deliveries.attempts(stored.id, tenant="acme")
    closed = dump(store_url)
    events = run_sql(store_url, select(s.events.c.type, s.events.c.body))

    for held in (during, after, closed):
        assert [] == hits(held, *secrets, PAYLOAD, METADATA)
        assert event.id.encode() in held, "the search must be able to find something"
    assert {"order.shipped", "notifykit.test", "delivery.exhausted"} == {row["type"] for row in events}
    assert all(bytes(row["body"]).startswith(f"nk1.{NEW.current}.".encode()) for row in events)
    assert PAYLOAD == json.loads(event.body)["data"]["note"]
    assert {"note": METADATA} == json.loads(event.metadata)
    assert {event.body} == {r.body for r in receiver.requests if r.event and r.event.type == "order.shipped"}
    assert f"you sent Authorization: [redacted], {PAYLOAD}".encode() == first.response


async def test_what_inboxes_say_is_encrypted_with_payloads(store_url):
    """It is read again, also under a new key; one that was tampered with, or whose key is gone, hides no other."""
    async with kit_on(store_url, OLD, encrypt_payloads=True) as kit:
        assert isinstance(kit.store, Inbox)
        items = [make_inbox_item("user:42", title=PAYLOAD, body=PAYLOAD, url=PAYLOAD, data={"x": PAYLOAD})]
        items.append(attrs.evolve(items[0], id=f"{items[0].id}X"))
        await kit.store.inbox_put(items)
    found = dump(store_url)
    async with kit_on(store_url, BOTH, encrypt_payloads=True) as kit:
        done = await rekeys(kit.store).rewrap()
        surveyed = await rekeys(kit.store).survey()
    run_sql(store_url, update(s.inbox_items).where(s.inbox_items.c.id == items[1].id).values(content=b"nk1.new.x"))
    async with kit_on(store_url, NEW) as kit:
        page = await kit.inbox("user:42", tenant=items[0].tenant).page()
    async with kit_on(store_url, OLD) as kit:
        locked = await kit.inbox("user:42", tenant=items[0].tenant).page()

    assert [] == hits(found, PAYLOAD)
    assert (2, 2, 0) == (done.rows, surveyed.encrypted, surveyed.unreadable.total())
    assert [UnreadableInboxItem, InboxItem] == list(map(type, page.items))
    assert ("", PAYLOAD, {"x": PAYLOAD}) == (page.items[0].title, page.items[1].title, page.items[1].data)
    assert [UnreadableInboxItem] * 2 == list(map(type, locked.items))


async def test_logs_telemetry_and_errors_have_no_secret_in_them(store_url, caplog):
    """With everything logged, and with a database that breaks in the middle of a write, no secret appears."""
    told: list[object] = []
    caplog.set_level(logging.DEBUG)
    async with Receiver() as receiver, kit_on(store_url, subscribers=[told.append]) as kit:
        secrets, _ = await work(kit, store_url, receiver)
        (good, *_) = await kit.endpoints.list(tenant="acme")
        run_sql(store_url, sqlalchemy_text("ALTER TABLE notifykit_endpoints RENAME TO gone"))
        try:
            with pytest.raises(Exception, match="endpoints") as caught:
                await kit.endpoints.create(receiver.url, tenant="acme", headers={"authorization": HEADER})
        finally:
            run_sql(store_url, sqlalchemy_text("ALTER TABLE gone RENAME TO notifykit_endpoints"))
    error = "".join(traceback.format_exception(caught.value))
    shown = f"{good!r} {kit!r} {kit.store!r} {vars(kit.store)!r} {vars(kit)!r}"

    text = "\n".join([caplog.text, *map(repr, told), *map(str, told), error, shown])
    assert [] == hits(text.encode(), *secrets, PAYLOAD)
    assert "delivery.attempted" in caplog.text
    assert "gone" in error or "endpoints" in error
    assert NEW.text().partition(":")[2] not in text


async def test_two_endpoints_with_one_secret_do_not_look_alike(store_url):
    """Equal secrets are not equal in the table."""
    secret = generate_secret()
    async with kit_on(store_url) as kit:
        one = await kit.endpoints.create(NOWHERE, tenant="acme", secret=secret)
        two = await kit.endpoints.create(NOWHERE, tenant="acme", secret=secret)

    encrypted = {json.loads(endpoint_row(store_url, endpoint)["secrets"])[0][0] for endpoint in (one, two)}

    assert 2 == len(encrypted)


# ── nothing to be moved ────────────────────────────────────────────────────────────────────────


async def test_a_secret_that_was_moved_is_refused(store_url):
    """A ciphertext decrypts neither in another row, nor in another tenant's, nor in another column or header."""
    async with kit_on(store_url) as kit:
        mine = await kit.endpoints.create(
            NOWHERE, tenant="acme", headers={"authorization": HEADER, "x-shown": "anything"}
        )
        yours = await kit.endpoints.create(NOWHERE, tenant="acme", headers={"authorization": "nothing"})
        theirs = await kit.endpoints.create(NOWHERE, tenant="evil", headers={"x-shown": "anything"})
        good = endpoint_row(store_url, mine)
        headers, secrets = json.loads(good["headers"]), json.loads(good["secrets"])
        moves = [
            (yours, {"secrets": good["secrets"]}),
            (yours, {"headers": json.dumps({"authorization": headers["authorization"]})}),
            (theirs, {"secrets": good["secrets"]}),
            (theirs, {"headers": json.dumps({"authorization": headers["authorization"]})}),
            (mine, {"headers": json.dumps({"x-shown": headers["authorization"]})}),
            (mine, {"headers": json.dumps({"authorization": secrets[0][0]})}),
            (mine, {"secrets": json.dumps([[headers["authorization"], *secrets[0][1:]]])}),
        ]
        for target, values in moves:
            before = endpoint_row(store_url, target)
            change_endpoint(store_url, target, **values)

            with pytest.raises(TamperedError):
                await kit.endpoints.get(target.id, tenant=target.tenant)

            change_endpoint(store_url, target, **{name: before[name] for name in values})
        again = await kit.endpoints.get(mine.id, tenant="acme")

    assert mine == again


async def test_a_row_of_the_same_id_in_another_tenant_does_not_open(store_url):
    """A whole row that was copied into another tenant, its id included, does not give that tenant the secret."""
    async with kit_on(store_url) as kit:
        mine = await kit.endpoints.create(NOWHERE, tenant="acme")
        mine_too = await kit.endpoints.create(NOWHERE, tenant="acme", headers={"authorization": HEADER})
        for endpoint in (mine, mine_too):
            row = {**endpoint_row(store_url, endpoint), "tenant": "evil"}
            run_sql(store_url, insert(s.endpoints).values(row))
        without_secrets = {"secrets": "[]"}
        run_sql(
            store_url,
            update(s.endpoints)
            .where(s.endpoints.c.tenant == "evil", s.endpoints.c.id == mine_too.id)
            .values(without_secrets),
        )

        for endpoint in (mine, mine_too):
            with pytest.raises(TamperedError):
                await kit.endpoints.get(endpoint.id, tenant="evil")
        read = await kit.endpoints.get(mine.id, tenant="acme")

    assert mine == read


async def test_only_an_endpoint_that_was_tampered_with_waits(store_url, caplog):
    """Its deliveries are held, none is sent unsigned or lost, and the log has the reason; others get theirs."""
    async with Receiver() as good, Receiver() as broken, kit_on(store_url) as kit:
        await kit.subscribe("**", tenant="acme", endpoint=good.url, secret=good.secret)
        _, changed = await kit.subscribe("**", tenant="acme", endpoint=broken.url, secret=broken.secret)
        before = endpoint_row(store_url, changed)
        values = json.loads(before["secrets"])
        values[0][0] = values[0][0][:-3] + ("AAA" if values[0][0][-3:] != "AAA" else "BBB")
        change_endpoint(store_url, changed, secrets=json.dumps(values))
        await publish(kit, 1)
        await drained(kit)
        held = await kit.deliveries.list(HELD, tenant="acme")
        config = (await kit.store.load_tenants(["acme"]))["acme"]
        listed = {endpoint.id: endpoint for endpoint in await kit.endpoints.list(tenant="acme")}
        with pytest.raises(TamperedError):
            await kit.endpoints.get(changed.id, tenant="acme")
        with pytest.raises(TamperedError):  # it would replace what may still be repaired
            await kit.store.save(listed[changed.id])
        seen = len(good.requests), len(broken.requests)
        change_endpoint(store_url, changed, secrets=before["secrets"])
        await kit.endpoints.resume(changed.id, tenant="acme")
        await drained(kit)

    (unusable,) = [endpoint for endpoint in config.endpoints if endpoint.id == changed.id]
    assert (EndpointState.PAUSED, UNREADABLE, ()) == (unusable.state, unusable.state_reason, unusable.secrets)
    assert (unusable, 2) == (listed[changed.id], len(listed))
    assert (1, 0) == seen
    assert [changed.id] == [delivery.subscriber_id for delivery in held]
    assert "endpoint.unreadable" in caplog.text
    assert [1] == [event.data["number"] for event in broken.events]


async def test_a_body_that_was_tampered_with_stops_no_other(store_url, caplog):
    """With encrypted payloads, an event that does not decrypt is not sent and does not block others."""
    async with Receiver() as receiver, kit_on(store_url, encrypt_payloads=True) as kit:
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
        changed = await publish(kit, 1)
        other = await publish(kit, 2)
        this = s.events.c.id == changed.event_id
        (row,) = run_sql(store_url, select(s.events.c.body).where(this))
        body = bytearray(row["body"])
        body[-1] ^= 1
        run_sql(store_url, update(s.events).where(this).values(body=bytes(body)))
        async with kit.dispatcher():
            await receiver.aexpect(1)
        with pytest.raises(TamperedError):
            await kit.events.get(changed.event_id, tenant="acme")
        intact, closed = await kit.events.list(tenant="acme")
        planned = not run_sql(store_url, select(s.outbox.c.event_id).where(s.outbox.c.event_id == changed.event_id))

    assert [other.event_id] == [event.id for event in receiver.events]
    assert not planned
    assert (other.event_id, 2) == (intact.id, json.loads(intact.body)["data"]["number"])
    assert (changed.event_id, b'{"data":{},"unreadable":"payload_unreadable"}') == (closed.id, closed.body)
    assert "event.unreadable" in caplog.text


async def test_a_claim_that_was_tampered_with_stops_no_other(store_url):
    """A delivery whose body does not decrypt ends with its lease, at last as a dead letter that can be redriven."""
    now = datetime.now(UTC)
    lease, lane = timedelta(seconds=60), Lane("webhook", Priority.NORMAL)
    async with kit_on(store_url, encrypt_payloads=True) as kit:
        await kit.subscribe("**", tenant="acme", endpoint=NOWHERE)
        changed, other = [await publish(kit, number) for number in (1, 2)]
        await kit.dispatcher(settings=DispatchSettings(roles=frozenset({"plan"}))).step()
        this = s.events.c.id == changed.event_id
        (row,) = run_sql(store_url, select(s.events.c.body).where(this))
        body = bytes(row["body"])
        run_sql(store_url, update(s.events).where(this).values(body=body[:-1]))

        claims = await kit.store.claim(lane, 10, now=now + lease, lease=lease, worker="w")
        after = now + lease + lease
        (rescued, _) = await kit.store.rescue(10, now=after + lease, max_abandoned=1)
        run_sql(store_url, update(s.events).where(this).values(body=body))
        dead = await kit.deliveries.dead(tenant="acme")
        for letter in dead:
            await kit.deliveries.redrive(letter.id, tenant="acme")
        again = await kit.store.claim(lane, 10, now=after + lease, lease=lease, worker="w")

    assert [other.event_id] == [claim.event_id for claim in claims]
    assert ("quarantined", DeliveryState.DEAD) == (rescued.reason, rescued.state)
    assert {changed.event_id, other.event_id} == {claim.event_id for claim in again}
    assert {1, 2} == {json.loads(claim.body)["data"]["number"] for claim in again}


async def test_a_worker_without_the_key_dead_letters_nothing(store_url):
    """A worker whose key ring is incomplete holds what it cannot decrypt; one that has the key sends it."""
    now = datetime.now(UTC)
    lease, lane = timedelta(seconds=60), Lane("webhook", Priority.NORMAL)
    async with kit_on(store_url, encrypt_payloads=True) as kit, kit_on(store_url, keys=OLD) as without:
        await kit.subscribe("**", tenant="acme", endpoint=NOWHERE)
        await publish(kit, 1)
        await kit.dispatcher(settings=DispatchSettings(roles=frozenset({"plan"}))).step()
        for _ in range(6):
            now += 2 * lease
            assert [] == await without.store.claim(lane, 10, now=now, lease=lease, worker="w")
            assert [] == await without.store.rescue(10, now=now + 2 * lease, max_abandoned=5)
        (held,) = await kit.deliveries.list(HELD, tenant="acme")
        (claim,) = await kit.store.claim(lane, 10, now=now + lease, lease=lease, worker="w")

    assert ("missing_key", 0, 0) == (held.reason, held.attempts, held.abandoned)
    assert b'"number":1' in claim.body.replace(b" ", b"")


async def test_an_answer_that_was_tampered_with_hides_no_other(store_url):
    """The attempts of a delivery are listed, that one without its answer."""
    async with Receiver() as receiver, kit_on(store_url, encrypt_payloads=True) as kit:
        receiver.reply(Reply(status=500, body=b"what was answered"))
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, retry=NEVER)
        await publish(kit, 1)
        await drained(kit)
        (letter,) = await kit.deliveries.dead(tenant="acme")
        (before,) = await kit.deliveries.attempts(letter.id, tenant="acme")
        this = s.deliveries.c.id == letter.id
        (row,) = run_sql(store_url, select(s.deliveries.c.last_response).where(this))
        changed = bytes(row["last_response"])[:-1]
        run_sql(store_url, update(s.deliveries).where(this).values(last_response=changed))
        (attempt,) = await kit.deliveries.attempts(letter.id, tenant="acme")

    assert b"what was answered" == before.response
    assert before._replace(response=b"") == attempt


async def test_a_body_does_not_open_in_another_event(store_url):
    """With encrypted payloads, the content of another event, tenant or column cannot be copied into an event."""
    async with kit_on(store_url, encrypt_payloads=True) as kit:
        one, two = [await publish(kit, number, idempotency_key=f"key-{number}") for number in (1, 2)]
        (row,) = run_sql(store_url, select(s.events).where(s.events.c.id == one.event_id))
        run_sql(store_url, insert(s.events).values({**row, "tenant": "evil"}))
        with pytest.raises(TamperedError):
            await kit.events.get(one.event_id, tenant="evil")
        for event, column in ((two, "body"), (two, "fingerprint"), (one, "fingerprint")):
            this = s.events.c.id == event.event_id
            run_sql(store_url, update(s.events).where(this).values(body=bytes(row[column])))
            with pytest.raises(TamperedError):
                await kit.events.get(event.event_id, tenant="acme")


# ── plain values of earlier versions ─────────────────────────────────────────────────────────────────────


def store_in_the_clear(url, endpoint):
    run_sql(url, insert(s.endpoints).values(endpoint_values(endpoint)))


async def test_plain_rows_are_read_and_encrypted_at_the_next_write(store_url):
    """An upgrade needs no migration: plain values work, and any change encrypts them."""
    async with kit_on(store_url) as kit:
        made = await kit.endpoints.create(NOWHERE, tenant="acme", headers={"authorization": HEADER})
        await kit.endpoints.delete(made.id, tenant="acme")
        store_in_the_clear(store_url, made)

        read = await kit.endpoints.get(made.id, tenant="acme")
        before = hits(str(dict(endpoint_row(store_url, made))).encode(), HEADER, made.secrets[0].value)
        await kit.endpoints.update(made.id, tenant="acme", description="changed")
        after = hits(str(dict(endpoint_row(store_url, made))).encode(), HEADER, made.secrets[0].value)

    assert made == read
    assert [HEADER, made.secrets[0].value] == before
    assert [] == after


async def test_payloads_from_before_and_after_the_option_are_read_with_and_without_it(store_url):
    """The option decides how payloads are written; both forms are read."""
    async with Receiver() as receiver:
        async with kit_on(store_url) as kit:
            await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
            await publish(kit, 1)
        async with kit_on(store_url, encrypt_payloads=True) as kit:
            await publish(kit, 2)
            await drained(kit)
            await publish(kit, 3)
        async with kit_on(store_url) as kit:
            await drained(kit)

    assert {1, 2, 3} == {event.data["number"] for event in receiver.events}


async def test_an_idempotency_key_works_with_encrypted_fingerprints(store_url):
    """The fingerprint is encrypted too, because short contents can be guessed from it; conflicts are still found."""
    async with kit_on(store_url, BOTH, encrypt_payloads=True) as kit:
        first = await publish(kit, 1, idempotency_key="a")
        again = await publish(kit, 1, idempotency_key="a")
        with pytest.raises(IdempotencyConflictError):
            await publish(kit, 2, idempotency_key="a")
        (row,) = run_sql(store_url, select(s.events.c.fingerprint))

    async with kit_on(store_url, BOTH) as plain:
        later = await publish(plain, 1, idempotency_key="a")

    assert (first.event_id, True) == (again.event_id, again.duplicate)
    assert (first.event_id, True) == (later.event_id, later.duplicate)
    assert bytes(row["fingerprint"]).startswith(b"nk1.")


def test_a_publish_in_the_callers_transaction_is_encrypted_too(store_url):
    """The kit is not open, the connection is the caller's, and the row is encrypted all the same."""
    engine = create_engine(sync_url(store_url), poolclass=NullPool)
    kit = kit_on(store_url, encrypt_payloads=True)

    with engine.begin() as connection:
        event = Event(type="order.shipped", data={"note": PAYLOAD}, metadata={"note": METADATA})
        receipts = [kit.publish(event, tenant="acme", connection=connection, idempotency_key="once") for _ in range(2)]

    assert [False, True] == [receipt.duplicate for receipt in receipts]
    assert [] == hits(dump(store_url), PAYLOAD, METADATA)


async def test_an_answer_that_looks_encrypted_is_kept_as_it_is(store_url):
    """A receiver cannot make an attempt unreadable."""
    async with Receiver() as receiver, kit_on(store_url) as kit:
        receiver.reply(Reply(status=200, body=b"nk1.x.gotcha"))
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
        await publish(kit)
        await drained(kit)
        (delivery,) = await kit.deliveries.list(tenant="acme")
        (attempt,) = await kit.deliveries.attempts(delivery.id, tenant="acme")
        done = await rekeys(kit.store).rewrap()

    assert b"nk1.x.gotcha" == attempt.response
    assert {} == done.unreadable


# ── other keys ─────────────────────────────────────────────────────────────────────────────────


async def test_the_accounts_of_tenants_are_encrypted(store_url, caplog):
    """They open under a new key after a rewrap; one whose key is gone is not replaced by mistake."""
    secret = "canary-of-an-account-0123456789"
    async with kit_on(store_url, OLD) as kit:
        shown = await kit.providers.set("email", f"postmark://{secret}@?sender=a@b.example", tenant="acme")
    found = dump(store_url)
    async with kit_on(store_url, NEW) as kit:
        (locked,) = await kit.store.get(ProviderAccount, "acme", ["email"])
        surveyed = await rekeys(kit.store).survey()
        with pytest.raises(MissingKeyError):
            await kit.store.save(locked)
    async with kit_on(store_url, BOTH) as kit:
        rewrapped, again = [await rekeys(kit.store).rewrap() for _ in range(2)]
    async with kit_on(store_url, NEW) as kit:
        (opened,) = await kit.store.get(ProviderAccount, "acme", ["email"])
    run_sql(store_url, update(s.provider_accounts).values(id="fax"))
    async with kit_on(store_url, NEW) as kit:
        (damaged,) = await kit.store.page(ProviderAccount, "acme", limit=9)
        with pytest.raises(StoreError, match="cannot be read"):
            await kit.store.save(damaged)

    assert [] == hits(found, secret)
    assert secret not in caplog.text + repr(shown) + repr(opened)
    assert "postmark://***@?sender=a@b.example" == shown.url
    assert {UnreadableProviderAccount} == {type(locked), type(damaged)}
    assert {OLD.current: 1} == surveyed.unreadable
    assert (1, 0) == (rewrapped.rows, again.rows)
    assert f"postmark://{secret}@?sender=a@b.example" == opened.url


async def fill(url, keys, count=7, **options):
    async with kit_on(url, keys, **options) as kit:
        return [
            await kit.endpoints.create(
                f"{NOWHERE}{number}", tenant=f"tenant-{number % 3}", headers={"authorization": HEADER}
            )
            for number in range(count)
        ]


async def test_after_a_rewrap_the_old_key_is_not_needed(store_url):
    """Endpoints, events and answers are all under the new key, and a second run finds nothing to do."""
    made = await fill(store_url, OLD)
    async with Receiver() as receiver, kit_on(store_url, OLD, encrypt_payloads=True) as kit:
        receiver.reply(Reply(status=500, body=b"what was answered"))
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, retry=NEVER)
        event = await publish(kit, 1, idempotency_key="a")
        await drained(kit)

    async with kit_on(store_url, BOTH) as kit:
        counted = await rekeys(kit.store).rewrap(dry_run=True)
        done = await rekeys(kit.store).rewrap()
        again = await rekeys(kit.store).rewrap()
    async with kit_on(store_url, NEW) as kit:
        read = [await kit.endpoints.get(endpoint.id, tenant=endpoint.tenant) for endpoint in made]
        stored = await kit.events.get(event.event_id, tenant="acme")
        (letter,) = await kit.deliveries.dead(tenant="acme")
        (attempt,) = await kit.deliveries.attempts(letter.id, tenant="acme")

    # Seven endpoints and one that was subscribed; two events, because the dead letter has one, too; an answer.
    assert done.rows == counted.rows >= len(made) + 3
    assert (0, 0, {}) == (again.rows, again.missed, again.unreadable)
    assert made == read
    assert 1 == json.loads(stored.body)["data"]["number"]
    assert b"what was answered" == attempt.response
    assert f"nk1.{OLD.current}.".encode() not in dump_of_rows(store_url)


def dump_of_rows(url):
    """Return the live rows, without what a database has not yet vacuumed."""
    return b"".join(
        str([bytes(v) if isinstance(v, memoryview) else v for v in row.values()]).encode()
        for table in (s.endpoints, s.events, s.deliveries, s.attempts)
        for row in run_sql(url, select(table))
    )


async def test_a_rewrap_encrypts_what_was_stored_in_the_clear(store_url):
    """Afterwards the whole database, free space included, has no secret in it."""
    made = await fill(store_url, NEW, 60)  # so many that not all of the old cells are overwritten anyway
    async with kit_on(store_url) as kit:
        for endpoint in made:
            await kit.endpoints.delete(endpoint.id, tenant=endpoint.tenant)
            store_in_the_clear(store_url, endpoint)
        before = dump(store_url)
        if store_url.startswith("sqlite"):  # some builds of SQLite overwrite deleted content by themselves
            kit.store._db.execute("PRAGMA secure_delete = OFF")
        done = await rekeys(kit.store).rewrap()
        read = [await kit.endpoints.get(endpoint.id, tenant=endpoint.tenant) for endpoint in made]
    after = dump(store_url)

    assert [HEADER, made[0].secrets[0].value] == hits(before, HEADER, made[0].secrets[0].value)
    assert len(made) == done.rows
    assert made == read
    assert [] == hits(after, HEADER, *(endpoint.secrets[0].value for endpoint in made))


async def test_a_rewrap_encrypts_old_payloads_only_if_payloads_are_encrypted(store_url):
    """Encrypting payloads stays optional."""
    async with kit_on(store_url) as kit:
        for number in range(5):
            await publish(kit, number, idempotency_key=f"key-{number}")
        left = await rekeys(kit.store).rewrap()
    async with kit_on(store_url, encrypt_payloads=True) as kit:
        done = await rekeys(kit.store).rewrap()
        repeated = await publish(kit, 3, idempotency_key="key-3")

    assert (0, 5) == (left.rows, done.rows)
    assert repeated.duplicate
    assert [] == hits(dump_of_rows(store_url), PAYLOAD, METADATA)


class StoppedError(Exception):
    """Stands for Ctrl-C."""


async def test_a_stopped_rewrap_resumes_where_it_was(store_url, monkeypatch):
    """Each page is a transaction of its own: what was done stays done, and the next run does the rest."""
    monkeypatch.setattr(rewrapping, "PAGE", 2)
    made = await fill(store_url, OLD)

    def stop(done):
        if done.rows >= 4:
            raise StoppedError

    async with kit_on(store_url, BOTH) as kit:
        with pytest.raises(StoppedError):
            await rekeys(kit.store).rewrap(progress=stop)
        read = [await kit.endpoints.get(endpoint.id, tenant=endpoint.tenant) for endpoint in made]
        rest = await rekeys(kit.store).rewrap()

    assert made == read
    assert len(made) - 4 == rest.rows


async def test_a_rewrap_leaves_what_it_cannot_decrypt(store_url):
    """A missing key is named and counted, tampering is counted, the rest is done, and nothing is overwritten."""
    lost, *others = await fill(store_url, KeyRing.generate("lost"), 1) + await fill(store_url, OLD, 4)
    broken = others.pop()
    change_endpoint(store_url, broken, secrets=endpoint_row(store_url, others[0])["secrets"])
    before = [endpoint_row(store_url, endpoint)["secrets"] for endpoint in (lost, broken)]

    async with kit_on(store_url, BOTH) as kit:
        done = await rekeys(kit.store).rewrap()
        with pytest.raises(MissingKeyError, match="lost-"):
            await kit.endpoints.get(lost.id, tenant=lost.tenant)

    missing = [key_id for key_id in done.unreadable if key_id != TAMPERED]
    assert len(others) == done.rows
    assert [1, 1] == sorted(done.unreadable.values())
    assert missing[0].startswith("lost-")
    assert before == [endpoint_row(store_url, endpoint)["secrets"] for endpoint in (lost, broken)]


async def test_a_damaged_row_stops_neither_a_rewrap_nor_a_survey(store_url):
    """It is counted and left as it is, and the others are encrypted again."""
    damaged, *others = await fill(store_url, OLD, 3)
    change_endpoint(store_url, damaged, secrets="[")

    async with kit_on(store_url, BOTH) as kit:
        done = await rekeys(kit.store).rewrap()
        found = await rekeys(kit.store).survey()

    assert (len(others), {TAMPERED: 1}) == (done.rows, done.unreadable)
    assert {TAMPERED: 1} == found.unreadable
    assert "[" == endpoint_row(store_url, damaged)["secrets"]


async def test_a_survey_decrypts_what_is_stored_and_changes_nothing(store_url, monkeypatch):
    """Every endpoint, page by page, and events with their answers; what cannot be decrypted is counted by key."""
    monkeypatch.setattr(surveying, "_PAGE", 2)
    made = await fill(store_url, OLD)
    async with Receiver() as receiver, kit_on(store_url, OLD, encrypt_payloads=True) as kit:
        receiver.reply(Reply(status=500, body=b"what was answered"))
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, retry=NEVER)
        await publish(kit, 1)
        await drained(kit)
    before = dump_of_rows(store_url)

    async with kit_on(store_url, BOTH) as kit:
        well = await rekeys(kit.store).survey()
    async with kit_on(store_url) as kit:
        badly = await rekeys(kit.store).survey()

    assert (len(made) + 1, {}) == (well.endpoints, well.unreadable)
    assert {OLD.current: len(made) + 3} == badly.unreadable
    assert (well.endpoints, well.sampled, well.encrypted) == (badly.endpoints, badly.sampled, badly.encrypted)
    assert before == dump_of_rows(store_url)


async def test_a_survey_of_very_many_endpoints_ends(store_url, monkeypatch):
    """It is bounded, whatever there is."""
    monkeypatch.setattr(surveying, "_PAGE", 2)
    monkeypatch.setattr(surveying, "MOST_ENDPOINTS", 4)
    await fill(store_url, NEW)

    async with kit_on(store_url) as kit:
        found = await rekeys(kit.store).survey()

    assert 4 == found.endpoints


async def test_a_survey_counts_what_was_tampered_with(store_url):
    """A value with a known key id that does not decrypt counts too: it may be of another key of the same id."""
    (endpoint, *_) = await fill(store_url, NEW, 2)
    async with kit_on(store_url) as kit:
        await kit.endpoints.delete(endpoint.id, tenant=endpoint.tenant)
    store_in_the_clear(store_url, endpoint)  # what is not encrypted is no fault
    other = KeyRing({NEW.current: KeyRing.generate()._keys.popitem()[1]})

    async with kit_on(store_url, other) as kit:
        found = await rekeys(kit.store).survey()

    assert {TAMPERED: 1} == found.unreadable


async def test_a_rewrap_beside_traffic_loses_nothing(store_url, monkeypatch):
    """Publishing, delivering, rotating and changing headers go on: every event arrives, every last change stands."""
    monkeypatch.setattr(rewrapping, "PAGE", 3)
    made = await fill(store_url, OLD, 12)
    numbers = range(150)
    async with Receiver() as receiver, kit_on(store_url, OLD, encrypt_payloads=True) as first:
        await first.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
        for number in numbers[:50]:
            await publish(first, number)

    changed = {}

    async def change(kit):
        for turn in range(4):
            for endpoint in made[::2]:
                new = await kit.endpoints.update(
                    endpoint.id, tenant=endpoint.tenant, headers={"authorization": f"{HEADER} {turn}"}
                )
                changed[endpoint.id] = new

    async def publish_more(kit):
        for number in numbers[50:]:
            await publish(kit, number)

    # The same port again: the endpoint in the store stays where it was.
    with Receiver(receiver.secret, port=int(receiver.url.split(":")[2].split("/")[0])) as receiver:
        async with (
            kit_on(store_url, BOTH, encrypt_payloads=True) as kit,
            kit_on(store_url, BOTH) as operator,
            kit.dispatcher() as dispatcher,
        ):
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(change(kit))
                group.create_task(publish_more(kit))
                for _ in range(3):
                    done = await rekeys(operator.store).rewrap()
                    await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await dispatcher.drained()
            done = await rekeys(operator.store).rewrap()
            last = await rekeys(operator.store).rewrap()
        got = sorted({event.data["number"] for event in receiver.events})
    async with kit_on(store_url, NEW) as kit:
        read = [await kit.endpoints.get(endpoint.id, tenant=endpoint.tenant) for endpoint in made]
        events = await kit.events.list(tenant="acme", limit=1000)

    assert list(numbers) == got
    assert [changed.get(endpoint.id, endpoint) for endpoint in made] == read
    assert (0, {}, {}) == (last.rows, last.unreadable, done.unreadable)
    assert len(numbers) == len([event for event in events if event.type == "order.shipped"])


async def test_a_row_that_is_changed_between_reading_and_writing_is_not_overwritten(store_url, monkeypatch):
    """A concurrent change wins over the rewrap, which then reads the row again."""
    (made,) = await fill(store_url, OLD, 1)
    async with kit_on(store_url, BOTH) as kit, kit_on(store_url, OLD) as other:
        reading = kit.store._read
        meddled = False

        async def read_then_meddle(work):
            nonlocal meddled
            page = await reading(work)
            if page and not meddled:
                meddled = True
                await other.endpoints.update(
                    made.id, tenant=made.tenant, headers={"authorization": "changed meanwhile"}
                )
            return page

        monkeypatch.setattr(kit.store, "_read", read_then_meddle)
        done = await rekeys(kit.store).rewrap()
        monkeypatch.undo()
    async with kit_on(store_url, NEW) as kit:
        read = await kit.endpoints.get(made.id, tenant=made.tenant)

    assert {"authorization": "changed meanwhile"} == read.headers
    assert (1, 0) == (done.rows, done.missed)


async def test_a_ring_without_the_key_says_which_and_holds_what_waits(store_url):
    """A process that was started with the wrong keys sends nothing, loses nothing, and names the missing key."""
    async with Receiver() as receiver:
        async with kit_on(store_url, OLD) as kit:
            _, endpoint = await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
            await publish(kit, 1)
        async with kit_on(store_url, NEW) as kit:
            with pytest.raises(MissingKeyError, match=OLD.current):
                await kit.endpoints.get(endpoint.id, tenant="acme")
            await drained(kit)
            held = await kit.deliveries.list(HELD, tenant="acme")
            sent = len(receiver.requests)
        async with kit_on(store_url, BOTH) as kit:
            await kit.endpoints.resume(endpoint.id, tenant="acme")
            await drained(kit)

    assert (1, 0) == (len(held), sent)
    assert [1] == [event.data["number"] for event in receiver.events]


# ── no keys ────────────────────────────────────────────────────────────────────────────────────


async def test_production_does_not_open_without_keys(store_url, tmp_path):
    """No argument or variable avoids that, and no file is made; with keys it opens."""
    with pytest.raises(ConfigurationError, match="notifykit keys generate"):
        await Notifykit(store_url, environment="production").open()
    async with Notifykit(store_url, environment="production", keys=NEW) as kit:
        await kit.stats()

    assert [] == list(tmp_path.rglob("*.key"))


async def test_production_makes_no_database_before_it_refuses(tmp_path):
    """A mistake in a deployment leaves nothing behind."""
    with pytest.raises(ConfigurationError):
        await Notifykit(f"sqlite:///{tmp_path / 'new' / 'store.db'}", environment="production").open()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("postgresql://app@db.internal/app", True),
        ("postgresql://app@10.0.0.5:5432/app", True),
        ("postgresql://app@localhost.example.com/app", True),
        ("postgresql://app@/app?host=/run/postgresql&host=db.internal", True),
        ("postgresql://app@localhost/app", False),
        ("postgresql://app@127.0.0.1:5432/app", False),
        ("postgresql://app@127.9.9.9/app", False),
        ("postgresql://app@[::1]/app", False),
        ("postgresql:///app", False),
        ("postgresql://app@/app?host=/run/postgresql", False),
    ],
)
def test_postgres_on_another_host_needs_keys(url, is_refused):
    """A key made on this machine would be missing on the next one; on the loopback it is accepted."""
    pytest.importorskip("asyncpg", reason="needs asyncpg")
    vault = sql_store(store_from_url(url)).encryption.vault

    if is_refused:
        with pytest.raises(ConfigurationError, match="another host"):
            vault.check()
    else:
        vault.check()


async def test_development_works_out_of_the_box_and_processes_share_the_key(store_url, state_folder, caplog):
    """Two kits without any configuration read each other's secrets, through one file that only its owner can read."""
    async with Notifykit(store_url, egress=LOOPBACK) as one, Notifykit(store_url, egress=LOOPBACK) as two:
        made = await one.endpoints.create(NOWHERE, tenant="acme", headers={"authorization": HEADER})
        read = await two.endpoints.get(made.id, tenant="acme")
        held = dump(store_url)
    file = state_folder / "notifykit" / "development.key"
    if store_url.startswith("sqlite"):
        file = Path(f"{make_url(store_url).database}.key")

    assert made == read
    assert [] == hits(held, HEADER, made.secrets[0].value)
    assert 0o600 == file.stat().st_mode & 0o777
    assert caplog.text.count("vault.key_made") <= 1


async def test_a_development_store_moves_to_keys_of_its_own(store_url, state_folder, monkeypatch):
    """The file has the form of the variable: put it behind the new key, rewrap, and it is not needed any more."""
    async with Notifykit(store_url, egress=LOOPBACK) as kit:
        made = await kit.endpoints.create(NOWHERE, tenant="acme")
        file = sql_store(kit.store).encryption.vault._file or Path()
    monkeypatch.setenv("NOTIFYKIT_KEYS", f"{NEW.text()},{file.read_text()}")

    async with Notifykit(store_url, environment="production") as kit:
        done = await rekeys(kit.store).rewrap()
    monkeypatch.setenv("NOTIFYKIT_KEYS", NEW.text())
    async with Notifykit(store_url, environment="production") as kit:
        read = await kit.endpoints.get(made.id, tenant="acme")

    assert (1, made) == (done.rows, read)


async def test_a_store_in_memory_takes_the_same_settings():
    """A test may run in memory with the options of production."""
    async with Notifykit("memory://", keys=NEW, environment="production", encrypt_payloads=True) as kit:
        assert 0 == (await kit.stats()).waiting
