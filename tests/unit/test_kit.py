"""The kit: one object that opens, closes, publishes and gives access to the other parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import pytest

from notifykit import (
    ConfigurationError,
    Dispatcher,
    EgressRules,
    Event,
    InvalidEndpointError,
    InvalidEventError,
    InvalidSubscriptionError,
    NotFoundError,
    Notifykit,
    SchemaError,
    StoreUnavailableError,
)
from notifykit.models.event import EventType
from notifykit.options import SystemClock
from notifykit.ports import EventFilter
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.testing import FakeClock
from tests.unit.dispatch.support import ScriptedChannel

ACME, GLOBEX = "acme", "globex"
SHIPPED = Event(type="order.shipped", data={"order_id": "A-1"})
LOCAL = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
URL = "http://127.0.0.1:8080/hooks"


@pytest.fixture
def outside():
    return ScriptedChannel()


@pytest.fixture
async def kit():
    async with Notifykit("memory://", egress=LOCAL, clock=FakeClock()) as kit:
        yield kit


class TestOpening:
    async def test_a_kit_without_settings_uses_a_file_here(self, tmp_path, monkeypatch):
        """Zero configuration is an SQLite file in the current folder, made when it is needed."""
        monkeypatch.delenv("NOTIFYKIT_URL", raising=False)
        monkeypatch.chdir(tmp_path)

        async with Notifykit() as kit:
            await kit.apublish(SHIPPED, tenant=ACME)

        assert f"sqlite:///{tmp_path}/notifykit.db" == kit.url
        assert (tmp_path / "notifykit.db").exists()

    async def test_the_environment_names_the_store(self, monkeypatch):
        """``NOTIFYKIT_URL`` is used where no URL is given, and no longer where one is."""
        monkeypatch.setenv("NOTIFYKIT_URL", "memory://")

        assert isinstance(Notifykit().store, MemoryStore)
        assert isinstance(Notifykit("sqlite:///x.db").store, SqliteStore)

    async def test_the_first_publish_opens(self, store_url):
        """A program that publishes at once need not open first, even in many tasks at the same time."""
        kit = Notifykit(store_url)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(lambda: kit.apublish(SHIPPED, tenant=ACME))

        assert 20 == (await kit.stats()).unplanned
        await kit.aclose()

    async def test_opening_and_closing_may_be_repeated(self, store_url):
        """A kit that was closed can be opened again, with what was stored before; twice changes nothing."""
        kit = Notifykit(store_url)
        for expected in (1, 2):
            async with kit:
                await kit.open()
                await kit.apublish(SHIPPED, tenant=ACME)
                assert expected == (await kit.stats()).unplanned
        await kit.aclose()

    def test_a_closed_kit_may_be_opened_in_another_loop(self, store_url):
        """Each ``asyncio.run`` has a loop of its own."""
        kit = Notifykit(store_url)

        async def publish_in_many_tasks() -> int:
            async with kit:
                async with anyio.create_task_group() as tasks:
                    for _ in range(5):
                        tasks.start_soon(lambda: kit.apublish(SHIPPED, tenant=ACME))
                return (await kit.stats()).unplanned

        assert [5, 10] == [anyio.run(publish_in_many_tasks) for _ in range(2)]

    async def test_an_open_kit_belongs_to_its_loop(self, store_url):
        """From another loop every way in is refused, with what to do instead."""
        async with Notifykit(store_url) as kit:
            ways: list[Callable[[], Awaitable[object]]] = [
                kit.open,
                lambda: kit.apublish(SHIPPED, tenant=ACME),
                lambda: kit.apublish_many([SHIPPED], tenant=ACME),
            ]
            for way in ways:
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await anyio.to_thread.run_sync(anyio.run, way)

            assert 0 == (await kit.stats()).unplanned

    async def test_a_kit_that_is_not_open_says_so(self, store_url):
        """Reading from a store that was not opened is an error with advice, not a crash."""
        with pytest.raises(StoreUnavailableError, match="not open"):
            await Notifykit(store_url).stats()

    async def test_a_failed_opening_can_be_repeated(self, tmp_path):
        """Missing tables stop the opening; once they are there the same kit opens."""
        kit = Notifykit(f"sqlite:///{tmp_path / 'store.db'}", create=False)
        with pytest.raises(SchemaError, match="notifykit migrate"):
            await kit.open()

        await kit.migrate()

        async with kit:
            assert 0 == (await kit.stats()).unplanned

    async def test_a_given_store_is_used(self):
        """A store object may be given instead of a URL, but not with one, and is not migrated."""
        store = MemoryStore()
        async with Notifykit(store=store) as kit:
            await kit.apublish(SHIPPED, tenant=ACME)
            assert 1 == len(await store.find_events(ACME, EventFilter(), limit=10))

        for wrong in ({"url": "memory://"}, {"create": True}):
            with pytest.raises(ConfigurationError, match="not both"):
                Notifykit(store=store, **wrong)
        with pytest.raises(ConfigurationError, match="store of its own"):
            await kit.migrate()

    async def test_a_store_that_is_no_database_is_not_migrated(self):
        """There is nothing to migrate in memory."""
        with pytest.raises(ConfigurationError, match="no migrations"):
            await Notifykit("memory://").migrate()

    def test_the_clock_of_the_machine_knows_its_zone(self):
        """Every instant is in UTC."""
        assert "UTC" == str(SystemClock().now().tzinfo)


class TestPublishing:
    async def test_the_catalog_checks(self):
        """An event of a known type must fit it; of an unknown type it may be anything."""
        known = EventType(name="order.shipped", schema={"type": "object", "required": ["order_id"]})
        async with Notifykit("memory://", event_types=[known]) as kit:
            with pytest.raises(InvalidEventError, match="order_id"):
                await kit.apublish(Event(type="order.shipped", data={}), tenant=ACME)
            await kit.apublish(SHIPPED, tenant=ACME)
            await kit.apublish(Event(type="order.other", data={}), tenant=ACME)

            assert 2 == (await kit.stats()).unplanned

    async def test_the_clock_is_the_kits(self, kit):
        """An event without a time of its own happened when it was published."""
        receipt = await kit.apublish(SHIPPED, tenant=ACME)

        event = await kit.events.get(receipt.event_id, tenant=ACME)
        assert (FakeClock().now(), FakeClock().now()) == (event.published_at, event.occurred_at)


class TestSubscribing:
    async def test_a_url_becomes_an_endpoint(self, kit):
        """One call makes endpoint and subscription; the secret is there to be shown once."""
        subscription, endpoint = await kit.subscribe(
            (pattern for pattern in ("order.*", "stock.*")),
            tenant=ACME,
            endpoint=URL,
            topic="shop/7/**",
            filter={"total": [{"numeric": [">", 5]}]},
            description="the shop",
        )

        assert (URL, "the shop") == (endpoint.url, endpoint.description)
        assert endpoint.secrets[0].value.startswith("whsec_")
        assert (endpoint.id, ("order.*", "stock.*")) == (subscription.subscriber_id, subscription.event_types)
        assert subscription == await kit.subscriptions.get(subscription.id, tenant=ACME)

    async def test_an_endpoint_may_be_subscribed_again(self, kit):
        """The id of an endpoint makes no new one."""
        _, endpoint = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)

        again, same = await kit.subscribe("stock.*", tenant=ACME, endpoint=endpoint.id)

        assert (endpoint, endpoint.id) == (same, again.subscriber_id)
        assert [endpoint] == await kit.endpoints.list(tenant=ACME)

    async def test_settings_of_an_endpoint_that_exists_are_refused(self, kit):
        """They would not be applied, so they are not taken in silence."""
        _, endpoint = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)

        with pytest.raises(InvalidEndpointError, match=r"max_in_flight: .*endpoints\.update"):
            await kit.subscribe("stock.*", tenant=ACME, endpoint=endpoint.id, max_in_flight=1)

        assert 1 == len(await kit.subscriptions.list(tenant=ACME))

    async def test_another_tenants_endpoint_is_not_found(self, kit):
        """Another tenant's endpoint cannot be subscribed."""
        _, endpoint = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)

        with pytest.raises(NotFoundError):
            await kit.subscribe("order.*", tenant=GLOBEX, endpoint=endpoint.id)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"event_types": "or*der"}, InvalidSubscriptionError),
            ({"event_types": []}, InvalidSubscriptionError),
            ({"topic": "a//b"}, InvalidSubscriptionError),
            ({"filter": {"$nonsense": 1}}, InvalidSubscriptionError),
            ({"endpoint": "http://10.0.0.1:8080/hooks"}, InvalidEndpointError),
            ({"endpoint": URL, "max_in_flight": 0}, InvalidEndpointError),
        ],
    )
    async def test_what_is_refused_leaves_nothing(self, kit, options, error):
        """Neither a half of a subscription nor an endpoint without a subscription is left behind."""
        with pytest.raises(error):
            await kit.subscribe(**({"event_types": "order.*", "endpoint": URL} | options), tenant=ACME)

        assert ([], []) == (await kit.endpoints.list(tenant=ACME), await kit.subscriptions.list(tenant=ACME))


class TestDispatching:
    """A dispatcher runs on an open store, or not at all."""

    async def test_a_dispatcher_opens_a_kit_that_is_not_open(self, store_url, outside):
        """A forgotten ``open`` does not make a dispatcher that looks healthy and delivers nothing."""
        kit = Notifykit(store_url)

        async with kit.dispatcher([outside]) as dispatcher:
            await kit.endpoints.create("https://93.184.216.34/hooks", tenant=ACME)
            (endpoint,) = await kit.endpoints.list(tenant=ACME)
            await kit.subscriptions.create("**", tenant=ACME, endpoint_id=endpoint.id)
            await kit.apublish(SHIPPED, tenant=ACME)
            await dispatcher.drained()

        assert 1 == len(outside.sent)
        with pytest.raises(StoreUnavailableError, match="not open"):  # it closed what it had opened
            await kit.stats()

    async def test_the_last_dispatcher_closes_what_dispatchers_have_opened(self, store_url, outside):
        """Two share it; and what the program opens in between stays open, and may publish after all have ended."""
        kit = Notifykit(store_url)

        async with kit.dispatcher([outside]):
            async with kit.dispatcher([outside]):
                pass
            await kit.stats()
        await kit.apublish(SHIPPED, tenant=ACME)
        async with kit.dispatcher([outside]):
            await kit.open()

        assert 0 <= (await kit.stats()).unplanned
        await kit.aclose()

    async def test_a_dispatcher_that_cannot_open_the_kit_raises_at_once(self, tmp_path, outside):
        """Missing tables and a database that is away are raised at the start, not only logged."""
        for url, error in (
            (f"sqlite:///{tmp_path / 'store.db'}", SchemaError),
            ("postgresql://nobody@127.0.0.1:1/nowhere", StoreUnavailableError),
        ):
            dispatcher = Notifykit(url, create=False).dispatcher([outside])
            with pytest.raises(error):
                await dispatcher.run()
            with pytest.raises(error):
                async with dispatcher:
                    pass

    async def test_a_closed_kit_stays_closed(self, store_url, outside):
        """After ``aclose`` neither a publish nor a dispatcher connects again; ``open`` does."""
        kit = Notifykit(store_url)
        dispatcher = kit.dispatcher([outside])
        await kit.open()
        await kit.aclose()

        ways: list[Callable[[], Awaitable[object]]] = [
            lambda: kit.apublish(SHIPPED, tenant=ACME),
            lambda: kit.apublish_many([SHIPPED], tenant=ACME),
            dispatcher.run,
            dispatcher.__aenter__,
            kit.stats,
        ]
        for way in ways:
            with pytest.raises(StoreUnavailableError, match="open"):
                await way()

        async with kit:
            await kit.apublish(SHIPPED, tenant=ACME)
            assert 1 == (await kit.stats()).unplanned

    async def test_closing_a_kit_stops_its_dispatchers(self, store_url, outside):
        """No dispatcher goes on over a store that was closed."""
        kit = Notifykit(store_url)
        await kit.open()
        running = anyio.Event()

        async def run() -> None:
            async with kit.dispatcher([outside]) as dispatcher:
                running.set()
                assert dispatcher._serving is not None
                await dispatcher._serving

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await running.wait()
            await kit.aclose()

        assert outside.closed

    async def test_a_dispatcher_by_hand_needs_an_open_store(self, store_url, outside):
        """Without a kit there is nothing that could open the store, so the start says that it is not open."""
        with pytest.raises(StoreUnavailableError, match="not open"):
            await Dispatcher(Notifykit(store_url).store, [outside]).run()


class TestEgressRules:
    def test_the_default_is_public_https(self, monkeypatch):
        """Without settings nothing private and nothing unencrypted is allowed."""
        for name in ("NOTIFYKIT_ALLOW", "NOTIFYKIT_ALLOW_NAMES", "NOTIFYKIT_ALLOW_HTTP"):
            monkeypatch.delenv(name, raising=False)

        assert EgressRules() == EgressRules.from_environment() == Notifykit("memory://").egress

    @pytest.mark.parametrize(
        ("text", "allowed"),
        [("1", True), ("TRUE", True), ("yes", True), ("on", True), ("0", False), ("off", False), ("", False)],
    )
    def test_the_environment_can_allow_more(self, monkeypatch, text, allowed):
        """Blocks are separated by commas; empty entries do not matter."""
        monkeypatch.setenv("NOTIFYKIT_ALLOW", " 127.0.0.0/8, ,fd00::/8,")
        monkeypatch.setenv("NOTIFYKIT_ALLOW_NAMES", "receiver, *.svc.cluster.local")
        monkeypatch.setenv("NOTIFYKIT_ALLOW_HTTP", text)

        assert EgressRules.from_environment() == EgressRules(
            allow=["127.0.0.0/8", "fd00::/8"],
            allow_names=["receiver", "*.svc.cluster.local"],
            allow_http=allowed,
        )

    @pytest.mark.parametrize("listed", [{"allow": "127.0.0.0/8"}, {"allow_names": "receiver"}])
    def test_a_text_in_place_of_a_list_is_refused(self, listed):
        """A text would be taken for a list of its letters."""
        with pytest.raises(ConfigurationError, match="must be a list"):
            EgressRules(**listed)

    def test_names_reach_the_guard(self):
        """The guard allows the names that the rules list."""
        rules = EgressRules(allow_names=["receiver"], allow_http=True)

        assert "receiver" == rules.guard().parse("http://receiver:8080/").host

    @pytest.mark.parametrize("text", ["enabled", "y", "2"])
    def test_a_switch_that_is_neither_on_nor_off_is_refused(self, monkeypatch, text):
        """The error names the variable and the values that it takes."""
        monkeypatch.setenv("NOTIFYKIT_ALLOW_HTTP", text)

        with pytest.raises(ConfigurationError, match=r"NOTIFYKIT_ALLOW_HTTP .* 1, true, yes, on .* 0, false, no, off"):
            EgressRules.from_environment()

    def test_a_block_that_is_none_is_refused(self):
        """A typing error must not open or close anything by accident."""
        with pytest.raises((ValueError, ConfigurationError)):
            EgressRules(allow=["127.0.0.0/33"]).guard()
