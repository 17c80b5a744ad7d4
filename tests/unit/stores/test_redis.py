"""What is Redis's own: scripts that the server forgot, a server that restarts, evicts, is full, or is a replica."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta

import anyio
import anyio.to_thread
import pytest

from notifykit.errors import ConfigurationError, NewerSchemaError, StoreError, StoreUnavailableError
from notifykit.models.delivery import WEBHOOK, DeliveryState, Lane, Priority
from notifykit.models.endpoint import EndpointSecret
from notifykit.models.inbox import InboxFilter, InboxItem, InboxMark
from notifykit.models.provider_account import ProviderAccount
from notifykit.models.receipt import ReceiptRecord
from notifykit.models.unreadable import UnreadableProviderAccount
from notifykit.ports import DeliveryFilter, EventFilter, Move, Outstanding, Settlement
from notifykit.testing import START, make_delivery, make_endpoint, make_event, make_inbox_item
from notifykit.testing.builders import SECRET, make_attempt, make_receipt, make_record
from notifykit.testing.servers import HOST, ServerUnavailableError, ValkeyServer, free_port
from notifykit.vault import KeyRing
from tests.services import is_required

redis = pytest.importorskip("redis", reason="needs redis")

from notifykit.stores.redis.scripts import script  # noqa: E402
from notifykit.stores.redis.store import RedisStore  # noqa: E402
from notifykit.stores.redis.url import RedisUrl  # noqa: E402

LEASE = timedelta(seconds=30)
LANE = Lane(WEBHOOK, Priority.NORMAL)
PROMPTLY, LONG = 45, timedelta(seconds=60)


@contextmanager
def server(**settings):
    """Lend a server that the test has for itself."""
    try:
        with ValkeyServer(settings={name.replace("_", "-"): value for name, value in settings.items()}) as own:
            yield own
    except ServerUnavailableError as error:
        (pytest.fail if is_required("redis") else pytest.skip)(f"needs redis: {error}")


@contextmanager
def admin(url):
    """Lend a client beside the store's."""
    with redis.from_url(url) as client:
        yield client


@pytest.fixture
async def store(redis_store_url):
    store = RedisStore(redis_store_url)
    await store.open()
    yield store
    await store.aclose()


async def test_a_store_can_be_closed_and_opened_again(store):
    """What was stored is there; a store that is closed twice does not mind."""
    await store.append([make_event()])
    for _ in range(2):
        await store.aclose()

    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.next_due()
    await store.open()

    assert 1 == len(await store.take(10, now=START, lease=LEASE))


async def test_what_is_named_is_found_without_reading_the_rest():
    """An item of an inbox by its id, and an event by its idempotency key: a script holds up everybody else."""
    with server() as own:
        store = RedisStore(own.url)
        await store.open()
        await store.inbox_put([make_inbox_item("user:ada") for _ in range(300)])
        await store.append([make_event(key=f"order-{n}") for n in range(300)])
        (item,) = (await store.inbox_page("acme", "user:ada", InboxFilter(), now=START, limit=1)).items
        with admin(own.url) as client:
            client.config_resetstat()
            marked = await store.inbox_mark("acme", "user:ada", InboxMark.READ, now=START, ids=[item.id], limit=9)
            (event,) = await store.find_events("acme", EventFilter(idempotency_key="order-7"), limit=9)
            calls = client.info("commandstats")
        await store.aclose()

    assert ([item.id], "order-7") == (marked, event.idempotency_key)
    assert 2 == calls["cmdstat_hmget"]["calls"]
    assert not {"cmdstat_zrevrangebyscore", "cmdstat_zrevrangebylex"} & {*calls}


async def test_scripts_that_the_server_forgot_are_sent_again(store, redis_url):
    """After SCRIPT FLUSH, and so after a restart or a failover, every verb goes on."""
    await store.append([make_event()])
    with admin(redis_url) as client:
        client.script_flush()

    await store.append([make_event()])

    assert 2 == len(await store.take(10, now=START, lease=LEASE))


def test_a_script_has_only_what_it_uses():
    """The server runs through a whole script at each call, and idle processes ask when work is due."""
    text = script("next_due").text

    assert "first_due" in text
    assert "cjson" not in text
    assert "--" not in text


async def test_what_was_answered_survives_a_kill_of_the_server():
    """Events are in the append-only file when publish returns; the store finds the server when it is back."""
    with server(appendfsync="everysec") as own:
        store = RedisStore(own.url)
        await store.open()
        await store.append([make_event() for _ in range(300)])
        await anyio.to_thread.run_sync(own.crash)

        with pytest.raises(StoreUnavailableError):
            await store.append([make_event()])
        own.resume()
        taken = await store.take(1000, now=START, lease=LEASE)
        await store.aclose()

    assert 300 == len(taken)


async def test_a_wait_goes_on_when_the_server_was_away():
    """The listening connection is made anew, and a notification of another process ends the wait."""
    with server() as own:
        store, other = RedisStore(own.url), RedisStore(own.url)
        await store.open()
        await store.wait(timedelta(milliseconds=200))
        await anyio.to_thread.run_sync(own.crash)
        own.resume()
        await other.open()
        with anyio.fail_after(PROMPTLY):
            while not store._listening.hears:
                await store.wait(timedelta(milliseconds=100))
            await store.wait(timedelta(milliseconds=1))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.wait, LONG)
                await anyio.wait_all_tasks_blocked()
                await other.append([make_event()])
        await store.aclose()
        await other.aclose()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_a_server_that_may_evict_events_is_refused(policy):
    """It would lose what was published, so the store does not open."""
    with server(maxmemory_policy=policy) as own:
        with pytest.raises(ConfigurationError, match=f"maxmemory-policy {policy}.*noeviction"):
            await RedisStore(own.url).open()
        with admin(own.url) as client:
            client.config_set("maxmemory-policy", "volatile-lru")  # the store has no keys that expire
        store = RedisStore(own.url)
        await store.open()
        await store.aclose()


async def test_a_full_server_writes_all_or_nothing():
    """What does not fit is refused as a whole; what is there can be worked off."""
    with server() as own, admin(own.url) as client:
        store = RedisStore(own.url)
        await store.open()
        await store.append([make_event()])
        client.config_set("maxmemory", "1mb")

        with pytest.raises(StoreUnavailableError, match="raise its maxmemory, or keep less"):
            await store.append([make_event() for _ in range(10)])
        client.config_set("maxmemory", "0")
        taken = await store.take(100, now=START, lease=LEASE)
        await store.aclose()

    assert 1 == len(taken)


async def test_a_replica_is_no_store():
    """A process finds out that its server was demoted, instead of waiting for work for ever."""
    with server() as own, admin(own.url) as client:
        store = RedisStore(own.url)
        await store.open()
        client.replicaof(HOST, own.port + 1)

        with pytest.raises(StoreUnavailableError, match="replica"):
            await store.next_due()
        with pytest.raises(StoreUnavailableError):
            await store.append([make_event()])
        await store.aclose()


async def test_keys_of_a_newer_version_are_left_alone(store, redis_url):
    """A process of an older version stops when another one has changed the layout."""
    with admin(redis_url) as client:
        client.set(f"{store._connections.url.prefix}:layout", "99")

    with pytest.raises(NewerSchemaError):
        await store.next_due()
    await store.aclose()
    with pytest.raises(NewerSchemaError):
        await store.open()


async def test_a_server_that_was_flushed_is_reported(store, redis_url):
    """An emptied server is an error, not a store without work."""
    with admin(redis_url) as client:
        client.delete(f"{store._connections.url.prefix}:layout")

    with pytest.raises(StoreUnavailableError, match="flushed"):
        await store.next_due()


async def test_no_server_is_said_so():
    """A server that does not answer makes an error that can be tried again."""
    with pytest.raises(StoreUnavailableError, match="not available"):
        await RedisStore(f"redis://{HOST}:1/0").open()


@pytest.mark.parametrize("url", [f"redis+cluster://{HOST}:1", f"redis+sentinel://{HOST}:1,{HOST}:2/main"])
async def test_no_cluster_and_no_sentinel_are_said_so(url):
    """In one short sentence."""
    with pytest.raises(StoreUnavailableError) as unavailable:
        await RedisStore(url).open()

    assert len(str(unavailable.value)) < 300
    assert "object at" not in str(unavailable.value)
    assert "<" not in str(unavailable.value)


async def test_a_server_that_is_no_cluster_is_said_so(redis_url):
    """It answers, but not as a cluster."""
    with pytest.raises(StoreUnavailableError, match="the cluster is not available"):
        await RedisStore(redis_url.replace("redis://", "redis+cluster://").rpartition("/")[0]).open()


async def test_a_server_that_is_no_sentinel_is_said_so(redis_url):
    """It answers, but not as a Sentinel."""
    with pytest.raises(StoreError, match="is no Sentinel: name the Sentinels"):
        await RedisStore(redis_url.replace("redis://", "redis+sentinel://").rpartition("/")[0] + "/main").open()


@pytest.mark.parametrize("scheme", ["redis://h", "redis+cluster://h", "redis+sentinel://h/main"])
def test_an_option_that_is_not_known_is_refused(scheme):
    """When the store is made; those of the client are passed on."""
    with pytest.raises(ConfigurationError, match="no option 'bogus'"):
        RedisStore(f"{scheme}?bogus=1")
    with pytest.raises(ConfigurationError, match="health_check_interval"):
        RedisStore(f"{scheme}?health_check_interval=x")
    RedisStore(f"{scheme}?health_check_interval=5")


async def test_secrets_and_payloads_are_encrypted(redis_store_url, redis_url):
    """No value in the server holds a signing secret, a header or, if payloads are encrypted, a body."""
    store = RedisStore(redis_store_url, keys=KeyRing.generate("one"), encrypt_payloads=True)
    await store.open()
    endpoint = make_endpoint(
        at=START, secrets=(EndpointSecret(value=SECRET, created_at=START),), headers={"x-token": "tops3cret"}
    )
    await store.save(endpoint)
    await store.save(ProviderAccount(tenant="acme", id="email", url="resend://:re_s3cret@"))
    event = make_event(body=b'{"card":"4111-1111"}', metadata='{"who":"ada-lovelace"}')
    await store.append([event])

    with admin(redis_url) as client:
        stored = b"".join(client.dump(key) for key in client.scan_iter(f"{store._connections.url.prefix}:*"))
    (taken,) = await store.take(1, now=START, lease=LEASE)
    (read,) = await store.page(type(endpoint), endpoint.tenant, limit=9)
    await store.aclose()

    assert not any(
        secret in stored for secret in (SECRET.encode(), b"tops3cret", b"re_s3cret", b"4111-1111", b"ada-lovelace")
    )
    assert (event.body, endpoint.secrets, endpoint.headers) == (taken.body, read.secrets, read.headers)


async def test_keys_are_rotated(redis_store_url):
    """After a rewrap the old key is not needed for anything, and a repeated publish is still known."""
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    both = KeyRing.parse(f"{new.text()},{old.text()}")
    endpoint = make_endpoint(secrets=(EndpointSecret(value=SECRET, created_at=START),), headers={"x-token": "t"})
    event = make_event(key="k", body=b'{"card":"4111"}', metadata='{"who":"ada"}')
    item = InboxItem(
        id="dlv_1", tenant="acme", recipient="user:1", event_id=event.id, event_type="a.b", title="Hi", created_at=START
    )
    store = RedisStore(redis_store_url, keys=old, encrypt_payloads=True)
    await store.open()
    await store.save(endpoint)
    await store.save(ProviderAccount(tenant="acme", id="email", url="resend://:re_s3cret@"))
    await store.append([event])
    (taken,) = await store.take(1, now=START, lease=LEASE)
    new_delivery = make_delivery(event)
    await store.settle([Settlement(taken.id, taken.fence, [new_delivery])], now=START, lease=LEASE, worker="")
    (claimed,) = await store.claim(LANE, 1, now=START, lease=LEASE, worker="w")
    attempt = make_attempt(claimed, at=START, response=b"what it said")
    await store.record([make_record(claimed, DeliveryState.DELIVERED, at=START, attempt=attempt)])
    await store.inbox_put([item])
    await store.aclose()

    store = RedisStore(redis_store_url, keys=both, encrypt_payloads=True)
    await store.open()
    planned = await store.rewrap(dry_run=True)
    done, again = await store.rewrap(), await store.rewrap()
    await store.aclose()
    store = RedisStore(redis_store_url, keys=new, encrypt_payloads=True)
    await store.open()
    survey = await store.survey()
    (read,) = await store.page(type(endpoint), "acme", limit=9)
    (account,) = await store.page(ProviderAccount, "acme", limit=9)
    (found,) = await store.find_events("acme", EventFilter(), limit=9)
    history = await store.attempts("acme", new_delivery.id)
    page = await store.inbox_page("acme", "user:1", InboxFilter(), now=START, limit=9)
    (answer,) = await store.append([make_event(key="k")])
    await store.aclose()

    assert (both.current, 5, 5, 0, 1) == (done.key, planned.rows, done.rows, again.rows, done.endpoints)
    assert (1, 5, {}) == (survey.endpoints, survey.encrypted, dict(survey.unreadable))
    assert "resend://:re_s3cret@" == account.url
    assert (endpoint.secrets, endpoint.headers, event) == (read.secrets, read.headers, found)
    assert ([b"what it said"], ["Hi"]) == ([one.response for one in history], [one.title for one in page.items])
    assert (event.id, event.fingerprint) == (answer.event_id, answer.fingerprint)


async def test_a_damaged_event_hides_no_other(store, redis_url):
    """What cannot be read is shown as a stand-in, and is not handed out."""
    good, bad = make_event(), make_event()
    await store.append([good, bad])
    with admin(redis_url) as client:
        client.hset(f"{store._connections.url.prefix}:e", bad.id, b"no line of JSON\nbody")

    taken = await store.take(10, now=START, lease=LEASE)

    assert [good.id] == [one.id for one in taken]


async def test_a_damaged_account_is_not_taken_for_an_empty_one(store, redis_url):
    """Its messages wait, instead of going out over the operator's own account."""
    await store.save(ProviderAccount(tenant="acme", id="email", url="resend://:re_s3cret@"))
    with admin(redis_url) as client:
        client.hset(f"{store._connections.url.prefix}:r:16:provider accountacme", "email", b"damaged")

    (found,) = await store.get(ProviderAccount, "acme", ["email"])

    assert isinstance(found, UnreadableProviderAccount)


@pytest.mark.parametrize("is_erased", [True, False], ids=["erased", "purged"])
async def test_nothing_is_left_of_receipts(store, redis_url, is_erased):
    """With a delivery go the keys that hold its receipts and find it by its references."""
    event, later = make_event(), START + timedelta(days=2)
    await store.append([event])
    (taken,) = await store.take(1, now=START, lease=LEASE)
    new = make_delivery(event, "user:1", channel="email", address="ada@example.org")
    await store.settle([Settlement(taken.id, taken.fence, [new])], now=START, lease=LEASE, worker="")
    (claimed,) = await store.claim(Lane("email", Priority.NORMAL), 1, now=START, lease=LEASE, worker="w")
    attempt = make_attempt(claimed, at=START, reference="ref-1")
    await store.record([make_record(claimed, DeliveryState.DELIVERED, at=START, attempt=attempt)])
    await store.record_receipts([ReceiptRecord(make_receipt("r1", reference="ref-1"), 3, True)], now=START)

    with admin(redis_url) as client:
        prefix = store._connections.url.prefix
        before = set(client.scan_iter(f"{prefix}:p*")), client.hgetall(f"{prefix}:rf")
        if is_erased:
            await store.erase("acme", "user:1", now=later)
        else:
            await store.purge(before=later, keys_before=later, limit=10)
        after = set(client.scan_iter(f"{prefix}:p*")), client.hgetall(f"{prefix}:rf")

    assert ({f"{prefix}:p:{new.id}".encode()}, {b"ref-1": new.id.encode()}) == before
    assert (set(), {}) == after


async def test_nothing_is_left_of_what_was_handed_over(store, redis_url):
    """What says that a delivery is handed over goes when it is claimed, or ends without a claim."""
    event = make_event()
    await store.append([event])
    (taken,) = await store.take(1, now=START, lease=LEASE)
    made = [make_delivery(event, f"end_{n}") for n in range(2)]
    await store.settle([Settlement(taken.id, taken.fence, made)], now=START, lease=LEASE, worker="")
    await store.hand_off(LANE, 10, now=START, hold=LEASE, most=Outstanding(10, 10, 10))

    with admin(redis_url) as client:
        prefix = store._connections.url.prefix
        names = [f"{prefix}:{index}:1{WEBHOOK}" for index in ("h", "hd")]
        handed = [client.zcard(name) for name in names]
        await store.claim(LANE, 1, now=START, lease=LEASE, worker="w", ids=[made[0].id])
        await store.move("acme", DeliveryFilter(), Move.CANCEL, now=START)
        left = client.exists(*names)

    assert ([2, 2], 0) == (handed, left)


async def test_a_large_move_goes_in_steps(store, monkeypatch):
    """However few rows a step looks at, all that are meant are moved, and no more than the limit."""
    monkeypatch.setattr("notifykit.stores.redis.operations._AT_ONCE", 7)
    event = make_event()
    await store.append([event])
    (taken,) = await store.take(1, now=START, lease=LEASE)
    made = [make_delivery(event, f"end_{n}") for n in range(40)]
    await store.settle([Settlement(taken.id, taken.fence, made)], now=START, lease=LEASE, worker="")

    some = await store.move("acme", DeliveryFilter(), Move.CANCEL, now=START, limit=25)
    rest = await store.move("acme", DeliveryFilter(), Move.CANCEL, now=START)
    found = await store.find_deliveries("acme", DeliveryFilter(states="cancelled"), limit=100)

    assert (25, 15, 40) == (some, rest, len(found))


async def test_a_cluster_holds_the_store_on_one_node():
    """All keys have one hash tag, so scripts find them all where the first one is."""
    ports = {"cluster_port": str(free_port())}  # else one that is larger by 10,000, which may be taken
    with server(cluster_enabled="yes", appendonly="no", **ports) as own, admin(own.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for _ in range(500):
            if "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")).replace("'", ""):
                break
            time.sleep(0.01)  # noqa: ASYNC251 - the server needs a moment, and nothing else runs
        store = RedisStore(f"redis+cluster://{HOST}:{own.port}")
        with anyio.fail_after(PROMPTLY):
            while True:
                try:
                    await store.open()
                    break
                except StoreUnavailableError:
                    await anyio.sleep(0.05)
        await store.append([make_event() for _ in range(3)])
        taken = await store.take(10, now=START, lease=LEASE)
        with anyio.fail_after(PROMPTLY):
            while not store._listening.hears:
                await store.wait(timedelta(milliseconds=50))
        await store.aclose()

    assert 3 == len(taken)


class Sentinel(ValkeyServer):
    """A Sentinel that watches one primary."""

    def __init__(self, primary):
        super().__init__()
        self._primary = primary

    def _command(self):
        config = self.folder / "sentinel.conf"
        config.write_text(f"sentinel monitor main {HOST} {self._primary.port} 1\n")
        places = {"port": self.port, "bind": HOST, "dir": self.folder}
        words = (word for name, value in places.items() for word in (f"--{name}", str(value)))
        return [str(self._program), str(config), "--sentinel", *words]


async def test_sentinels_name_the_primary():
    """The store asks the Sentinels which server is the primary."""
    with server() as own, Sentinel(own) as sentinel:
        store = RedisStore(f"redis+sentinel://{HOST}:{sentinel.port}/main/0")
        await store.open()
        await store.append([make_event()])
        taken = await store.take(10, now=START, lease=LEASE)
        await store.aclose()

    assert 1 == len(taken)


URLS = {
    "redis://h": ("", False, (("h", 6379),), None, None, 0, "", "{notifykit}"),
    "rediss://u:p%40ss@h:1/3?prefix=a.b": ("", True, (("h", 1),), "u", "p@ss", 3, "", "{a.b}"),
    "redis://:p@[::1]:2": ("", False, (("::1", 2),), None, "p", 0, "", "{notifykit}"),
    "redis+sentinel://a,b:5/main/2": (
        "sentinel",
        False,
        (("a", 26379), ("b", 5)),
        None,
        None,
        2,
        "main",
        "{notifykit}",
    ),
    "rediss+cluster://a:1,b": ("cluster", True, (("a", 1), ("b", 6379)), None, None, 0, "", "{notifykit}"),
}


@pytest.mark.parametrize("url", URLS)
def test_urls_are_read(url):
    """Each form of URL says where the store is."""
    its = RedisUrl.parse(url)

    found = (its.kind, its.has_tls, its.hosts, its.username, its.password, its.database, its.service, its.prefix)
    assert URLS[url] == found


@pytest.mark.parametrize(
    "url",
    ["redis+other://h", "redis://h/x", "redis://h/1/2", "redis+sentinel://h", "redis+cluster://h/1",
     "redis://h?prefix={a}", "redis://h:port"],
)  # fmt: skip
def test_what_is_no_url_is_refused(url):
    """The error says what is wrong, and shows no password."""
    with pytest.raises(ConfigurationError, match="is not the URL of a Redis store"):
        RedisUrl.parse(url)


async def test_a_wrong_password_is_no_outage():
    """Trying again would not help."""
    with server() as own, admin(own.url) as client:
        client.config_set("requirepass", "right")
        with pytest.raises(StoreError, match="refused the login") as refused:
            await RedisStore(own.url.replace("//", "//:wrong@")).open()

    assert not isinstance(refused.value, StoreUnavailableError)
