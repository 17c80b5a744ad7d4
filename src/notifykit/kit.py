"""The kit: wires the parts, opens and closes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from . import options
from .brokers import broker_from_url
from .catalog import EventCatalog, EventTypeOptions, event, event_type_of
from .channels import channels_of
from .environment import URL
from .errors import (
    ConfigurationError,
    InvalidEndpointError,
    InvalidInputError,
    InvalidSubscriptionError,
)
from .lifetime import Lifetime
from .models import checks
from .models.access import OPERATORS
from .models.checks import optional
from .models.endpoint import Endpoint
from .models.event import EventType, Receipt, StoredEvent
from .models.ids import EVENT, is_id
from .models.inbox import IN_APP
from .models.receipt import ProviderReceipt
from .models.subscription import Subscription
from .models.worker import WorkerRecord
from .options import (
    PARTS,
    EgressRules,
    GivenProviders,
    SystemClock,
    catcher_of,
    given_broker,
    given_channels,
    given_providers,
    given_public_url,
    given_templates,
    unusable,
)
from .policies.admit import DEFAULT_LIMITS, Limits
from .policies.arguments import checked
from .portal import Portal
from .ports import Broker, Channel, Clock, Inbox, ListsTenants, Renderer, Store, StoreStats
from .publisher import Publisher, PublishOptions, joined, sync_connection
from .stores import StoreOptions, store_from_url
from .vault import PageTokens, UnsubscribeTokens

if TYPE_CHECKING:
    from .admin import (
        ApiKeys,
        AuditLog,
        Deliveries,
        Endpoints,
        Events,
        PortalLinks,
        Preferences,
        Providers,
        RecipientInbox,
        Recipients,
        StoredTemplates,
        Subscriptions,
        Suppressions,
        TenantSettings,
        UnsubscribeLinks,
    )
    from .admin.endpoints import EndpointOptions
    from .admin.explain import PersonExplanation
    from .admin.inbox_watch import InboxWatch
    from .blocking import Blocking
    from .channels.webhook import Guard
    from .dispatch.receipts import Receipts
    from .dispatch.runtime.dispatcher import Dispatcher
    from .dispatch.settings import DispatchSettings
    from .ingest import Ingest, Mapper
    from .stores.sql.callers import AnyConnection, AnySession, SyncConnection, SyncSession
    from .telemetry import Subscriber, TelemetryEvent
    from .vault import KeyRing

C = TypeVar("C", bound=type)

#: Used when neither a URL is given nor ``NOTIFYKIT_URL`` is set.
DEFAULT_URL = "sqlite:///notifykit.db"


class Notifykit:
    """Everything an application holds of notifykit.

    One object per application is enough.  Asynchronous methods belong to the event
    loop in which the kit was opened; :meth:`publish` and :attr:`blocking` are for
    callers without a loop.

    Args:
        url: The store: ``sqlite:///file.db``, ``postgresql://…`` or ``memory://``; by default that of
            ``engine``, ``NOTIFYKIT_URL``, or an SQLite file in the current folder.
        event_types: Typed event classes and :class:`EventType` values that publishing checks against.
        channels: What deliveries go over beside webhooks: channels, or their URLs (``toy://``); by default what
            ``NOTIFYKIT_CHANNELS`` lists, with commas.  One whose name is ``webhook`` or ``in_app`` replaces ours.
        email: The provider of e-mails, such as ``smtp://user:password@host:587?sender=shop@example.org``; by default
            ``NOTIFYKIT_EMAIL``.  With ``catch://`` messages are not sent: ``notifykit catch`` shows them, and what
            is put into inboxes.  Several providers are URLs with ``||`` between them, or a list of URLs,
            :class:`Account` and :class:`~notifykit.ports.Provider` objects.
        sms: The provider of text messages; by default ``NOTIFYKIT_SMS``.
        push: The provider of pushes, or several joined by `` && ``; by default ``NOTIFYKIT_PUSH``.
        chat: The provider of chat messages; by default ``NOTIFYKIT_CHAT``.
        broker: What carries tickets of due deliveries to workers, such as ``redis://localhost``; by default
            ``NOTIFYKIT_BROKER``.  Without one, workers claim deliveries from the store themselves.
        templates: The folder of the templates that messages for people are made of; by default
            ``NOTIFYKIT_TEMPLATES``.
        public_url: Where people reach the page for unsubscribing (``https://notify.example.org``); by default
            ``NOTIFYKIT_PUBLIC_URL``.  Marketing e-mails need it.
        egress: Where deliveries may go; by default what the environment says.
        store: A store of your own instead of ``url``.
        clock: A clock of your own, for tests.
        subscribers: Callables that get every telemetry event of this kit's dispatchers.
        trace: Returns the W3C ``traceparent`` of an event that is published without one, when it is given the event's
            type; ``notifykit.contrib.opentelemetry`` has one.
        keys: What the store encrypts secrets with; by default ``NOTIFYKIT_KEYS``, or a key made for development.
        environment: ``production`` refuses to work without keys; by default ``NOTIFYKIT_ENV``.
        encrypt_payloads: Encrypt what events say, too; by default ``NOTIFYKIT_ENCRYPT_PAYLOADS``.
        store_options: What the store's constructor takes beside the URL: ``create``, ``pool_size`` …
    """

    @checked(refusal=unusable, **PARTS)
    def __init__(
        self,
        url: str | None = None,
        *,
        event_types: Iterable[type | EventType] = (),
        channels: Iterable[Channel | str] | None = None,
        email: GivenProviders | None = None,
        sms: GivenProviders | None = None,
        push: GivenProviders | None = None,
        chat: GivenProviders | None = None,
        broker: str | Broker | None = None,
        templates: str | os.PathLike[str] | None = None,
        public_url: str | None = None,
        egress: EgressRules | None = None,
        limits: Limits = DEFAULT_LIMITS,
        store: Store | None = None,
        clock: Clock | None = None,
        subscribers: Sequence[Subscriber] = (),
        trace: Callable[[str], str | None] | None = None,
        keys: KeyRing | None = None,
        environment: str | None = None,
        encrypt_payloads: bool | None = None,
        **store_options: Unpack[StoreOptions],
    ) -> None:
        sealing = {"keys": keys, "environment": environment, "encrypt_payloads": encrypt_payloads}
        options: dict[str, Any] = {**store_options, **{k: v for k, v in sealing.items() if v is not None}}
        if store is not None and (url is not None or options):
            raise ConfigurationError("give either a store or a url with its options, not both")
        self.url = url or _url_of(store_options.get("engine")) or os.environ.get(URL) or DEFAULT_URL
        self.store: Store = store or store_from_url(self.url, **options)
        if store is None:
            self.url = getattr(self.store, "url", self.url)  # of an SQLite file with its absolute path
        self.egress = egress or EgressRules.from_environment()
        self.catalog = EventCatalog(event_types)
        self._given_channels = given_channels(channels)
        self._providers = given_providers({"email": email, "sms": sms, "push": push, "chat": chat})
        self._broker = given_broker(broker)
        self._templates = given_templates(templates)
        self.public_url = given_public_url(public_url)
        self._channels: list[Channel] | None = None
        self._clock = clock or SystemClock()
        self._limits = limits
        self._store_options = options
        self._owns_store = store is None
        self._subscribers = tuple(subscribers)
        self._trace = trace
        self._publisher = Publisher(self.store, self.catalog, self._clock, limits, trace, self._channel_names)
        ring = _ring_of(self.store, keys, environment)
        self._tokens = UnsubscribeTokens(ring)
        self._page_tokens = PageTokens(ring)
        self._lifetime = Lifetime(self.store, is_taken=lambda: self._portal.is_open, finish=self._finish)
        self._portal: Portal[Notifykit] = Portal(self)
        self._blocking: Blocking | None = None
        self._guard: Guard | None = None
        self._inbox_watch: InboxWatch | None = None
        self._receipts: Receipts | None = None

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Connect the store; ``async with`` does it too.

        Raises:
            SchemaError: The database has no tables, or those of another version.
            StoreUnavailableError: The database does not answer.
        """
        await self._lifetime.open()
        return self

    async def aclose(self) -> None:
        """Stop the dispatchers that run on it, finish what was published, and disconnect.

        The kit then stays closed until it is opened again.
        """
        await self._lifetime.close()

    async def _finish(self) -> None:
        """End what works on the store, before it is closed."""
        if self._inbox_watch is not None:
            await self._inbox_watch.aclose()
        if self.is_open:
            await self._publisher.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """Disconnect what sync callers have used (:meth:`publish` without a session, :attr:`blocking`)."""
        self._portal.close()

    async def migrate(self) -> str:
        """Create or upgrade the tables; return the schema's version.

        Raises:
            ConfigurationError: The store is not in a database, or was not made from a URL.
            StoreUnavailableError: The database does not answer.
        """
        from .stores.sql.upgrade import migrate

        if not self._owns_store:
            raise ConfigurationError("this kit has a store of its own; migrate through a kit with the database's URL")
        for url in getattr(self.store, "urls", [self.url]):
            version = await migrate(url)
        return version

    # -- event types -----------------------------------------------------------------------------

    def event(self, name: str, **options: Unpack[EventTypeOptions]) -> Callable[[C], C]:
        """Declare that an attrs class is the payload of the event type ``name``, and take it into this kit.

        The same as :func:`notifykit.event` and ``Notifykit(event_types=[…])``, which explains the options.

        Raises:
            ConfigurationError: The declaration cannot work, or the kit knows another type of this name.
        """
        declare = event(name, **options)

        def take_in(payload: C) -> C:
            self.catalog.include([declare(payload)])
            return payload

        return take_in

    # -- publishing ------------------------------------------------------------------------------

    def publish(
        self,
        event: object,
        *,
        session: SyncSession | None = None,
        connection: SyncConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> Receipt:
        """Publish one event from sync code.

        Args:
            event: A typed event, or an :class:`Event`.
            session: A SQLAlchemy ``Session``: the event is part of its transaction.
            connection: A SQLAlchemy ``Connection`` instead, or one of Django.
            options: See :class:`Event`: ``tenant``, ``topic``, ``resource``, ``idempotency_key`` …

        Raises:
            InvalidEventError: With every problem found; nothing is stored.
            IdempotencyConflictError: The key belongs to an event with another content.
            CannotJoinError: The store cannot take part in that transaction.
        """
        if session is None and connection is None:
            return self._portal.call(lambda kit: kit.apublish(event, **options))
        return self.publish_many([event], session=session, connection=connection, **options)[0]

    def publish_many(
        self,
        events: Iterable[object],
        *,
        session: SyncSession | None = None,
        connection: SyncConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> list[Receipt]:
        """Publish many events from sync code; see :meth:`publish` and :meth:`apublish_many`."""
        if session is None and connection is None:
            return self._portal.call(lambda kit: kit.apublish_many(events, **options))
        return self._publisher.publish_joined(sync_connection(session, connection), events, options)

    async def apublish(
        self,
        event: object,
        *,
        session: AnySession | None = None,
        connection: AnyConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> Receipt:
        """Publish one event; return once it is durable, or part of the caller's transaction.

        Args:
            session: An ``AsyncSession`` (or ``Session``): the event is part of its transaction.
            connection: An ``AsyncConnection`` (or ``Connection``) instead.

        Raises:
            InvalidEventError: With every problem found; nothing is stored.
            IdempotencyConflictError: The key belongs to an event with another content.
            CannotJoinError: The store cannot take part in that transaction.
        """
        if session is None and connection is None:
            if self._lifetime.loop is not asyncio.get_running_loop():
                await self._lifetime.ensure_open()
            return await self._publisher.publish(event, options)
        return (await joined(self._publisher, session, connection, [event], options))[0]

    async def apublish_many(
        self,
        events: Iterable[object],
        *,
        session: AnySession | None = None,
        connection: AnyConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> list[Receipt]:
        """Publish many events, a few hundred in a transaction; see :meth:`apublish`.

        All are checked before the first is stored.  After an :class:`IdempotencyConflictError`
        all the others are stored, and its ``receipts`` say which.
        """
        if session is None and connection is None:
            if self._lifetime.loop is not asyncio.get_running_loop():
                await self._lifetime.ensure_open()
            return await self._publisher.publish_many(events, options)
        return await joined(self._publisher, session, connection, events, options)

    @checked(
        refusal=unusable,
        url=checks.text(most=4096),
        topic=checks.text(most=1000),
        type=optional(checks.text(most=1000)),
        tenant=optional(checks.text(most=1000)),
        event_topic=optional(checks.text(most=1000)),
        to=optional(checks.text(most=1000)),
        data=optional(checks.text(most=1000)),
        map=optional(checks.function),
        group=checks.text(most=200),
    )
    def ingest(
        self,
        url: str,
        *,
        topic: str,
        type: str | None = None,
        tenant: str | None = None,
        event_topic: str | None = None,
        to: str | None = None,
        data: str | None = None,
        map: Mapper | None = None,
        group: str = "notifykit",
    ) -> Ingest:
        """Return what turns the messages of a topic into events: ``async with kit.ingest(…): …``.

        Each message becomes one event, however often the broker hands it out within the time that idempotency keys
        are remembered.  It is acknowledged when the event is durable.

        Args:
            url: ``kafka://host``, ``redis+stream://host``, ``amqp://host``, ``nats://host`` or ``sqs://``.
            topic: The topic, stream, queue or subject to read.
            type: Of the events; with places like ``order.{status}`` (see :class:`~notifykit.ingest.EventMapping`), and
                so are ``tenant``, ``event_topic`` and ``to``.
            event_topic: The topic of the events.
            data: The path of what becomes an event's data in the message, which is a JSON object.
            map: A function that makes the event of a message, or ``None`` to skip it; in place of ``type`` and the
                others.
            group: Processes with the same one share the messages.

        Raises:
            ConfigurationError: There is no feed with this scheme, or neither ``type`` nor ``map`` is given.
            MissingExtraError: The broker's client is not installed.
        """
        from .brokers.feeds import feed_from_url
        from .ingest import EventMapping, Ingest
        from .telemetry import tell

        fields = {"type": type, "topic": event_topic, "to": to, "data": data}
        if (type is None) == (map is None) or (map is not None and any(fields.values())):
            raise ConfigurationError("give either map= or type= with what goes with it")
        if iscoroutinefunction(map):
            raise ConfigurationError("map= must be a function that is not async: it returns an event or None")
        mapper: Mapper = map or EventMapping(**fields, tenant=tenant)  # type: ignore[arg-type]
        return Ingest(
            feed_from_url(url, topic=topic, group=group),
            f"{url.partition(':')[0]}:{topic}",
            mapper,
            self.apublish,
            lambda event: tell(event, self._subscribers),
            tenant=tenant if map is not None else None,
        )

    # -- endpoints and subscriptions --------------------------------------------------------------------------

    @property
    def endpoints(self) -> Endpoints:
        """Endpoints: create, change, pause, rotate secrets, test."""
        from .admin import Endpoints

        return Endpoints(self.store, self, self._clock, self._publisher.publish_to)

    @property
    def subscriptions(self) -> Subscriptions:
        """Subscriptions: create, change, remove."""
        from .admin import Subscriptions

        return Subscriptions(self.store, self._clock, self.catalog, self._known_channels)

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries and dead letters: look, redrive, recover."""
        from .admin import Deliveries

        return Deliveries(self.store, self._clock)

    @property
    def events(self) -> Events:
        """Published events, and why each subscription did or did not match."""
        from .admin import Events

        return Events(self.store)

    @property
    def api_keys(self) -> ApiKeys:
        """Keys of the REST API: create, rotate, revoke."""
        from .admin import ApiKeys

        return ApiKeys(self.store, self._clock)

    @property
    def audit(self) -> AuditLog:
        """What callers of the REST API and of the pages did, for operators."""
        from .admin import AuditLog

        return AuditLog(self.store, self._clock)

    @property
    def recipients(self) -> Recipients:
        """Persons: save, import, export, erase, and what is known of their addresses."""
        from .admin import Recipients

        return Recipients(self.store, self._clock)

    @property
    def providers(self) -> Providers:
        """Provider accounts that tenants have themselves: set, look, remove."""
        from .admin import Providers

        return Providers(self.store, self._clock, lambda: self._the_guard().vet)

    @property
    def suppressions(self) -> Suppressions:
        """Addresses that must not be used: add, check, remove, import, export."""
        from .admin import Suppressions

        return Suppressions(self.store, self._clock)

    @property
    def templates(self) -> StoredTemplates:
        """Templates that tenants have stored in place of the host's: save, history, rollback."""
        from .admin import StoredTemplates

        return StoredTemplates(self.store, self._clock, self._templates)

    @property
    def unsubscribe_links(self) -> UnsubscribeLinks:
        """Links by which people stop what they are told: make them, and do what they say."""
        from .admin import UnsubscribeLinks

        return UnsubscribeLinks(self.store, self._clock, self._tokens, self.public_url)

    @property
    def portal_links(self) -> PortalLinks:
        """Links that open a tenant's portal of the server in a browser."""
        from .admin import PortalLinks

        return PortalLinks(self._clock, self._page_tokens, self.public_url)

    @checked(recipient_id=checks.identifier)
    def preferences(self, recipient_id: str, *, tenant: str) -> Preferences:
        """Return what a person wants, to change it: settings, mutes, quiet hours, consents."""
        from .admin import Preferences

        return Preferences(self.store, self._clock, self.catalog, tenant, recipient_id)

    @checked()
    def tenant_preferences(self, *, tenant: str) -> TenantSettings:
        """Return what a tenant says for all of its recipients, to change it: defaults, locks, locale, zone."""
        from .admin import TenantSettings

        return TenantSettings(self.store, self.catalog, tenant)

    @checked(refusal=InvalidInputError, recipient_id=checks.text(most=checks.MAX_ID))
    def inbox(self, recipient_id: str, *, tenant: str) -> RecipientInbox:
        """Return a person's in-app inbox: read, mark, follow.

        Args:
            recipient_id: The host's own id of the person; the inbox exists as soon as it has an item.

        Raises:
            ConfigurationError: The store keeps no inboxes.
        """
        from .admin import RecipientInbox
        from .admin.inbox_watch import InboxWatch

        store = _inboxes_of(self.store)
        if store is None:
            raise ConfigurationError(f"{type(self.store).__name__} keeps no inboxes (notifykit.ports.Inbox)")
        if self._inbox_watch is None:
            self._inbox_watch = InboxWatch(store)
        return RecipientInbox(
            store,
            self.store,
            self._clock,
            self._inbox_watch.next,
            self.catalog.get,
            tenant=tenant,
            recipient=recipient_id,
        )

    @overload
    async def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint: str,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        **endpoint_options: Unpack[EndpointOptions],
    ) -> tuple[Subscription, Endpoint]: ...

    @overload
    async def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        recipient: str,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Subscription: ...

    @checked(refusal=InvalidSubscriptionError, endpoint=optional(checks.string), recipient=optional(checks.identifier))
    async def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint: str | None = None,
        recipient: str | None = None,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        **endpoint_options: Unpack[EndpointOptions],
    ) -> tuple[Subscription, Endpoint] | Subscription:
        """Subscribe a URL (a new endpoint) or an existing endpoint's id to webhooks, or a recipient.

        What is reached over another channel is subscribed with ``subscriptions.create``.

        Returns:
            Of an endpoint the subscription and the endpoint, whose signing secret is ``secrets[0].value`` if it is
            new; of a recipient the subscription.

        Raises:
            InvalidEndpointError: The URL or an option is not acceptable.
            InvalidSubscriptionError: A pattern, the topic or the filter is not acceptable.
            NotFoundError: The tenant has no such endpoint or recipient.
        """
        from .admin.subscriptions import check, listed_patterns

        patterns = listed_patterns(event_types)
        check(patterns, topic, filter)
        if (endpoint is None) == (recipient is None):
            raise InvalidSubscriptionError(["endpoint: give either endpoint= or recipient="])
        if endpoint is None:
            if endpoint_options:
                raise InvalidSubscriptionError([f"{name}: is for endpoints only" for name in endpoint_options])
            return await self.subscriptions.create(
                patterns, tenant=tenant, recipient=recipient, topic=topic, filter=filter
            )
        if endpoint.startswith("end_"):
            if endpoint_options:
                raise InvalidEndpointError(
                    [f"{name}: the endpoint exists; change it with endpoints.update" for name in endpoint_options]
                )
            target = await self.endpoints.get(endpoint, tenant=tenant)
        else:
            target = await self.endpoints.create(endpoint, tenant=tenant, **endpoint_options)
        subscription = await self.subscriptions.create(
            patterns, tenant=tenant, endpoint_id=target.id, topic=topic, filter=filter
        )
        return subscription, target

    @checked(refusal=InvalidEndpointError, headers=checks.instance(Mapping))
    async def accept(self, url: str, headers: Mapping[str, str]) -> tuple[str, list[str]]:
        """Return the canonical form of an endpoint's URL and what is wrong with its headers.

        Raises:
            DestinationRefusedError: Nothing will be delivered to that URL.
        """
        from .channels.webhook import WireError, check_headers

        guard = self._the_guard()
        target = guard.parse(url)
        with contextlib.suppress(WireError):  # a name that does not resolve yet is the first attempt's problem
            await guard.vet(target.host, target.port)
        return target.url, check_headers(headers)

    # -- delivering ------------------------------------------------------------------------------

    @checked(refusal=unusable, channels=optional(options.channels), settings=optional(options.settings))
    def dispatcher(
        self, channels: Sequence[Channel] | None = None, settings: DispatchSettings | None = None
    ) -> Dispatcher:
        """Return a dispatcher over this kit's store: ``async with kit.dispatcher(): …`` or ``await ….run()``.

        It opens a kit that is not open, and then closes it when it ends.  It does not start on a kit that
        was closed, and :meth:`aclose` stops it.

        Args:
            channels: By default those of this kit, each made anew: a dispatcher closes its channels when it ends.
        """
        from .dispatch.runtime.dispatcher import Dispatcher
        from .dispatch.runtime.shards import ShardsDispatcher

        def over(store: Store, dispatchers: int = 1) -> Dispatcher:
            return Dispatcher(
                store,
                self._make_channels() if channels is None else channels,
                settings,
                clock=self._clock,
                subscribers=self._subscribers,
                opened=lambda dispatcher: self._lifetime.lend(dispatcher, self.sync_event_types),
                declared=self.catalog.get,
                broker=self.new_broker(),
                dispatchers=dispatchers,
            )

        views = getattr(self.store, "views", None)
        if views is None or self._broker:  # a broker's tickets are of all shards
            return over(self.store)
        shards = views()
        return ShardsDispatcher([over(shard, len(shards)) for shard in shards])

    def new_broker(self) -> Broker | None:
        """Return a broker for one dispatcher, which is not connected; or ``None`` if workers use none."""
        return broker_from_url(self._broker) if isinstance(self._broker, str) else self._broker

    def _make_channels(self) -> list[Channel]:
        from .channels.plain import PlainRenderer
        from .channels.tenant_accounts import TenantAccounts

        renderer = self.renderer(PlainRenderer())
        own: dict[str, dict[str, Any]] = {
            "webhook": {"guard": self._the_guard(), "transport": self.egress.transport},
        }
        if (store := _inboxes_of(self.store)) is not None:
            own[IN_APP] = {"store": store, "renderer": renderer, "catcher": catcher_of(self._providers)}
        tenants = TenantAccounts(self.store)
        return channels_of(self._given_channels, own, self._providers, renderer, tenants)

    @property
    def channels(self) -> Sequence[Channel]:
        """The channels of this kit, to ask them about addresses and connections; dispatchers have their own."""
        return self._known_channels()

    def renderer(self, otherwise: Renderer) -> Renderer:
        """Return what makes messages for people: a method of the event's class, or else a template.

        Args:
            otherwise: Makes the messages that there is neither for.

        Raises:
            MissingExtraError: There are templates, and the extra ``templates`` is not installed.
            TemplateError: A file of the folder has no name of a template.
        """
        from .templates import MethodRenderer
        from .templates.unsubscribe import MarketingRenderer, UnsubscribeUrls

        urls = UnsubscribeUrls(self._tokens, self.public_url, self.catalog)
        if self._templates is not None:
            from .templates import Templates

            otherwise = Templates(self._templates, otherwise=otherwise, urls=urls)
        return MarketingRenderer(MethodRenderer(self.catalog, otherwise), urls)

    def _channel_names(self) -> list[str]:
        return [channel.name for channel in self._known_channels()]

    def _known_channels(self) -> Sequence[Channel]:
        """Return the channels of this kit, to ask them about addresses."""
        if self._channels is None:
            self._channels = self._make_channels()
        return self._channels

    def _the_guard(self) -> Guard:
        if self._guard is None:
            self._guard = self.egress.guard()
        return self._guard

    async def sync_event_types(self) -> int:
        """Store the event types that this program declares; return how many were new or changed.

        So processes without the program's code know them.  A dispatcher of this kit does it when it starts; call it
        when you deploy a program that only publishes.

        Raises:
            StoreUnavailableError: The database does not answer.
        """
        await self._lifetime.ensure_open()
        if not len(self.catalog):
            return 0
        from .admin.event_types import save_types

        return await save_types(self.store, self.catalog)

    @checked(
        what=checks.instance(str, type, EventType),
        recipient_id=checks.identifier,
        topic=optional(checks.text(most=DEFAULT_LIMITS.topic, empty=True)),
        at=optional(options.moment),
    )
    async def explain(
        self,
        recipient_id: str,
        what: str | type | EventType,
        *,
        tenant: str,
        topic: str | None = None,
        at: datetime | None = None,
    ) -> PersonExplanation:
        """Explain why a person was told of an event or was not, or whether they would be.

        Args:
            recipient_id: The person.
            what: An event's id (``evt_…``), or a type: its name, its class, or what declares it.
            topic: For a type: of the event.
            at: When it would be planned; now by default.

        Returns:
            What is recorded, and what would become of each step; ``str()`` makes a text of it.

        Raises:
            InvalidInputError: ``what`` is neither an event nor a type that is known.
            NotFoundError: The tenant has no such event.
        """
        from .admin.explain import explain_person

        asked: StoredEvent | EventType | str
        known = None
        if isinstance(what, type):
            declared = event_type_of(what)
            if declared is None:
                raise InvalidInputError([f"what: {what.__name__} was not declared with @event"])
            asked = declared
        elif isinstance(what, EventType):
            asked = what
        elif is_id(what, EVENT):
            asked = await self.events.get(what, tenant=tenant)
            known = self.catalog.get(asked.type)
        else:
            asked = self.catalog.get(what) or what
        return await explain_person(
            self.store,
            recipient_id,
            asked,
            declared=known,
            tenant=tenant,
            topic=topic,
            now=at or self._clock.now(),
        )

    @checked(receipts=checks.iterable)
    async def record_receipts(self, receipts: Iterable[ProviderReceipt]) -> int:
        """Store what providers report, and apply what follows from it.

        An address that does not exist is marked as gone, one whose person complains or unsubscribes is suppressed, and
        a delivery that ended as ``uncertain`` is delivered if its message has arrived.  The same receipt may be given
        any number of times, and receipts in any order.  ``notifykit.contrib.provider_receipts`` does this for what
        vendors send.

        Returns:
            How many belong to a delivery that is known; the others wait for theirs for a day.

        Raises:
            StoreUnavailableError: The database does not answer; give them again.
        """
        from .dispatch.receipts import Receipts

        await self._lifetime.ensure_open()
        if self._receipts is None:
            self._receipts = Receipts(self.store, self._clock, self.tell)
        return await self._receipts.record(list(receipts))

    @property
    def is_open(self) -> bool:
        """Whether the store is connected."""
        return self._lifetime.loop is not None

    @property
    def clock(self) -> Clock:
        """What tells this kit the time."""
        return self._clock

    def tell(self, event: TelemetryEvent) -> None:
        """Log a telemetry event, and hand it to the subscribers of this kit."""
        from .telemetry import tell

        tell(event, self._subscribers)

    async def stats(self) -> StoreStats:
        """Return how much work waits."""
        return await self.store.stats(now=self._clock.now())

    @checked(refusal=InvalidInputError)
    async def tenants(self, *, limit: int = 100, after: str | None = None) -> list[str]:
        """Return the names of tenants in their order, from behind the name ``after``.

        Tenants are listed that have or had an endpoint, a subscription, a template, an account of a provider, defaults
        for their people, a suppressed address or a key of the REST API.  One that has only persons and events need not
        be among them.

        Raises:
            ConfigurationError: The store cannot tell.
        """
        if not isinstance(self.store, ListsTenants):
            raise ConfigurationError(f"{type(self.store).__name__} lists no tenants (notifykit.ports.ListsTenants)")
        return await self.store.tenants(limit=limit, after=after)

    @checked(refusal=InvalidInputError)
    async def workers(self, *, limit: int = 100, after: str | None = None) -> list[WorkerRecord]:
        """Return the dispatchers that work on this store, by their ids, from behind the id ``after``.

        Each says every half a minute that it works, and is gone when it stops.  One that died is listed for a day:
        :meth:`~notifykit.models.worker.WorkerRecord.is_silent` tells.
        """
        return await self.store.page(WorkerRecord, OPERATORS, limit=limit, after=after)

    # -- for sync callers ------------------------------------------------------------------------

    @property
    def blocking(self) -> Blocking:
        """The same calls for code without an event loop: ``kit.blocking.endpoints.create(...)``."""
        from .blocking import Blocking

        if self._blocking is None:
            self._blocking = Blocking(self._portal)
        return self._blocking

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The only event loop that may call the open store; ``None`` if a twin can open it in another."""
        return self._lifetime.home

    def twin(self) -> Notifykit:
        """Return a kit with the same settings, on the same data, for another event loop."""
        self._lifetime.check_process()
        again = self._owns_store and not self._lifetime.is_private
        options = self._store_options | ({"own_pool": True} if self._store_options.get("engine") else {})
        twin = Notifykit(
            self.url if again else None,
            channels=self._given_channels,
            email=self._providers.get("email", ""),
            sms=self._providers.get("sms", ""),
            push=self._providers.get("push", ""),
            chat=self._providers.get("chat", ""),
            broker=self._broker or "",
            templates=self._templates or "",
            public_url=self.public_url or "",
            egress=self.egress,
            limits=self._limits,
            store=None if again else self.store,
            clock=self._clock,
            subscribers=self._subscribers,
            trace=self._trace,
            **(options if again else {}),
        )
        twin.catalog = self.catalog
        twin._tokens = self._tokens
        twin._page_tokens = self._page_tokens
        twin._publisher = Publisher(
            twin.store, self.catalog, self._clock, self._limits, self._trace, twin._channel_names
        )
        return twin


def _url_of(engine: Any) -> str | None:
    """Return the URL of a SQLAlchemy engine, with its password."""
    url = getattr(engine, "url", None)
    render = getattr(url, "render_as_string", None)
    return render(hide_password=False) if callable(render) else None


def _ring_of(store: Any, keys: KeyRing | None, environment: str | None) -> Callable[[], KeyRing]:
    """Return what finds the keys of a store: its own, or else as if it were a database."""
    from .vault import Vault
    from .vault.development import state_file

    is_private: bool = getattr(store, "private", False)
    own: Vault | None = getattr(getattr(store, "encryption", None), "vault", None)
    vault = own or Vault(keys, environment, is_local=is_private, file=None if is_private else state_file())
    return lambda: vault.ring


def _inboxes_of(store: Any) -> Inbox | None:
    """Return a store that keeps inboxes; not every one that does is an instance of the protocol for Python 3.12."""
    return store if callable(getattr(store, "inbox_put", None)) else None
