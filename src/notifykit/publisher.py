"""Publishing: check, serialise once, store.

With a session or connection the event is part of the caller's transaction.  Without
one, publishes that happen at the same time share one transaction, and each returns
once that transaction is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, TypedDict

import attrs

from .catalog import EventCatalog
from .errors import CannotJoinError, IdempotencyConflictError, InvalidEventError, ValueRefusedError
from .failpoints import failpoint
from .models.checks import iterable, one_of
from .models.delivery import WEBHOOK, Priority
from .models.endpoint import Endpoint
from .models.event import Event, Receipt, Resource, StoredEvent
from .models.provider_account import CHANNELS
from .models.steps import IN_APP
from .policies.admit import NO_CHANNELS, Limits, admit
from .policies.plan import only_to
from .ports import Appended, Clock, JoinsTransactions, Queue

_PRIORITY = one_of(tuple(Priority))
#: The channels of people that every kit knows.
_CHANNELS = frozenset({IN_APP, *CHANNELS})
#: An event, and the future of its receipt.
_Waiting = tuple[StoredEvent, asyncio.Future[Receipt]]

#: Events of one shared transaction at the most.
GROUP = 500
#: Events of a batch in one transaction while others publish beside it and may have to wait for that transaction;
#: and for how many seconds after the last one that is assumed.
GROUP_BESIDE, _BESIDE = 12, 1.0
#: Events that are checked in one go: meanwhile this thread's event loop is blocked.
_CHECKED_AT_ONCE = 50
#: Shared transactions that a process has under way at a time: while one waits for the disk, the next is built.  Of one
#: shard it is a single one, as those of other shards are built meanwhile.
_AT_ONCE = 2


class PublishOptions(TypedDict, total=False):
    """The optional fields of an event beside its type and data; see :class:`~notifykit.models.event.Event`."""

    tenant: str
    topic: str
    resource: Resource | tuple[str, str]
    actor: str
    metadata: Mapping[str, str]
    idempotency_key: str
    trace: str
    occurred_at: datetime
    deliver_at: datetime
    delay: timedelta
    expires_at: datetime
    priority: Priority | Literal["high", "normal", "low"]
    ordering_key: str
    to: Iterable[str] | str
    channels: Iterable[str] | str


class Publisher:
    """Checks events and hands them to the outbox.

    Args:
        channels: Returns the names of the program's own channels; called for a name that is not known otherwise.
    """

    def __init__(
        self,
        outbox: Queue,
        catalog: EventCatalog,
        clock: Clock,
        limits: Limits,
        trace: Callable[[str], str | None] | None = None,
        channels: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._channels = channels
        self._outbox = outbox
        self._catalog = catalog
        self._clock = clock
        self._limits = limits
        self._trace = trace
        self._partition: Callable[[str], str] = getattr(outbox, "partition", lambda _: "")
        self._groups: dict[tuple[str, bool], _Group] = {}

    def prepare(self, event: object, options: PublishOptions) -> StoredEvent:
        """Check ``event`` and return it as it will be stored.

        Raises:
            InvalidEventError: With every problem found.
        """
        plain, event_type = self._catalog.to_event(event, most=self._limits.body)
        tenant = plain.tenant
        if tenant is None and len(options) == 1 and "tenant" in options:  # by far the most common: no copy for that
            tenant = options["tenant"]
        elif options:
            plain = _with(plain, options)
            tenant = plain.tenant
        if self._trace is not None and plain.trace is None:
            plain = attrs.evolve(plain, trace=self._trace(plain.type))
        return admit(
            plain,
            event_type,
            tenant=tenant or "",
            now=self._clock.now(),
            limits=self._limits,
            check=self._catalog.check(event_type, event),
            strange=self._strange,
        )

    def _strange(self, channel: str) -> str | None:
        """Return what is wrong with the name of a channel that no kit, type or configuration knows."""
        if channel in _CHANNELS or any(step.channel == channel for each in self._catalog for step in each.steps):
            return None
        own = set(self._channels())
        if channel in own:
            return None
        known = ", ".join(sorted(_CHANNELS | own - {WEBHOOK}))
        return (
            f"{channel[:40]!r} is none of {known}; for one of your own give Notifykit(channels=[...]) "
            "or set NOTIFYKIT_CHANNELS"
        )

    def publish(self, event: object, options: PublishOptions) -> asyncio.Future[Receipt]:
        """Store one event in a transaction that is shared with other publishes of the same moment."""
        return self._store(self.prepare(event, options))

    async def publish_to(self, event: Event, endpoint: Endpoint) -> Receipt:
        """Store an event of the library's own that only ``endpoint`` gets."""
        stored = admit(event, None, tenant=endpoint.tenant, now=self._clock.now(), limits=self._limits)
        return await self._store(stored._replace(topic=only_to(endpoint.id)))

    def _store(self, stored: StoredEvent) -> asyncio.Future[Receipt]:
        shard, is_ordered = key = self._partition(stored.tenant), stored.ordering_key is not None
        group = self._groups.get(key)
        if group is None:
            # One transaction at a time for events of a FIFO group: they must not overtake each other.
            group = self._groups[key] = _Group(self._append, 1 if is_ordered or shard else _AT_ONCE)
        return group.add(stored)

    async def _append(self, events: list[StoredEvent]) -> list[Appended]:
        answers = await self._outbox.append(events)
        failpoint("pub.committed")
        return answers

    async def publish_many(self, events: Iterable[object], options: PublishOptions) -> list[Receipt]:
        """Store many events, a few hundred in a transaction; all are checked before the first is stored."""
        stored: list[StoredEvent] = []
        problems: list[str] = []
        given = enumerate(_listed(events))
        while part := list(islice(given, _CHECKED_AT_ONCE)):
            good, bad = self._checked(part, options)
            stored += good
            problems += bad
            if len(part) == _CHECKED_AT_ONCE:  # there may be many more: let other tasks run
                await asyncio.sleep(0)
        if problems:
            raise InvalidEventError(problems)
        answers: list[Appended] = []
        while len(answers) < len(stored):
            beside = any(group.used_within(_BESIDE) for group in self._groups.values())
            group = GROUP_BESIDE if beside else GROUP
            answers += await self._outbox.append(stored[len(answers) : len(answers) + group])
        return _receipts(stored, answers)

    def publish_joined(self, connection: Any, events: Iterable[object], options: PublishOptions) -> list[Receipt]:
        """Store events through the caller's SQLAlchemy ``Connection``, in the caller's transaction."""
        stored = self._prepare_many(events, options)
        if not isinstance(self._outbox, JoinsTransactions):
            raise CannotJoinError(
                f"{type(self._outbox).__name__} (such as memory://) cannot take part in a transaction of yours: "
                "publish without session= and connection=, or give the kit the URL of your database"
            )
        return _receipts(stored, self._outbox.append_joined(connection, stored))

    def _prepare_many(self, events: Iterable[object], options: PublishOptions) -> list[StoredEvent]:
        stored, problems = self._checked(enumerate(_listed(events)), options)
        if problems:
            raise InvalidEventError(problems)
        return stored

    def _checked(
        self, events: Iterable[tuple[int, object]], options: PublishOptions
    ) -> tuple[list[StoredEvent], list[str]]:
        """Return numbered events as they will be stored, and what is wrong with the others."""
        stored = []
        problems = []
        for at, event in events:
            try:
                stored.append(self.prepare(event, options))
            except InvalidEventError as error:
                problems += [f"[{at}].{problem}" for problem in error.problems]
        return stored, problems

    async def aclose(self) -> None:
        """Wait for the last shared transactions."""
        for group in self._groups.values():
            await group.aclose()


class _Group:
    """Publishes that come together while earlier ones are being stored.

    Args:
        append: Stores events in one transaction.
        at_once: How many transactions may be under way; further events wait for the next one.
    """

    def __init__(self, append: Callable[[list[StoredEvent]], Awaitable[list[Appended]]], at_once: int) -> None:
        self._append = append
        self._at_once = at_once
        self._waiting: list[_Waiting] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._used = float("-inf")

    def add(self, stored: StoredEvent) -> asyncio.Future[Receipt]:
        """Return the future of the receipt of ``stored``."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((stored, future))
        # A task that has just been started has not yet taken the events that it will store.
        if len(self._flushes) < self._at_once and (len(self._waiting) == 1 or not self._flushes):
            flush = asyncio.create_task(self._flush(), name="notifykit-publish")
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)  # one that was cancelled before it began
        return future

    def used_within(self, seconds: float) -> bool:
        """Return whether this group was used in the last ``seconds``."""
        return asyncio.get_running_loop().time() - self._used < seconds

    async def _flush(self) -> None:
        try:
            await self._store_waiting()
        finally:  # at once: the next publish must not join this transaction
            task = asyncio.current_task()
            assert task is not None
            self._flushes.discard(task)

    async def _store_waiting(self) -> None:
        while self._waiting:
            self._used = asyncio.get_running_loop().time()
            group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            parts = [group]
            while parts:
                part = parts.pop()
                try:
                    answers = await self._append([stored for stored, _ in part])
                except ValueRefusedError as error:
                    middle = len(part) // 2
                    if middle:  # what is refused is found by halves, in the order in which they were published
                        parts += [part[middle:], part[:middle]]
                    else:
                        _fail(part, error)
                except Exception as error:  # noqa: BLE001 - any error is raised to the waiting publishers
                    _fail(part, error)
                except BaseException:
                    for left in (part, *parts):
                        _fail(left, asyncio.CancelledError())
                    raise
                else:
                    _answer(part, answers)

    async def aclose(self) -> None:
        """Wait until everything has been stored."""
        await asyncio.gather(*self._flushes, return_exceptions=True)


def _fail(group: Iterable[_Waiting], error: BaseException) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
            future.exception()  # a publisher that was cancelled needs no receipt


def _answer(group: Iterable[_Waiting], answers: Iterable[Appended]) -> None:
    for (stored, future), answer in zip(group, answers, strict=True):
        if future.done():
            continue
        try:
            future.set_result(_receipt(stored, answer))
        except Exception as error:  # noqa: BLE001 - whatever it is, one publisher gets it and no other waits
            future.set_exception(error.with_traceback(None))  # which would hold the whole group
            future.exception()


def _listed(events: Iterable[object]) -> Iterable[object]:
    if (wrong := iterable(events)) is not None:
        raise InvalidEventError([f"events: {wrong}"])
    return events


def _receipt(stored: StoredEvent, answer: Appended) -> Receipt:
    if answer.duplicate and answer.fingerprint != stored.fingerprint:
        raise IdempotencyConflictError(stored.idempotency_key or "", answer.event_id)
    return Receipt(event_id=answer.event_id, duplicate=answer.duplicate)


def _receipts(stored: Iterable[StoredEvent], answers: Iterable[Appended]) -> list[Receipt]:
    """Return the receipts of events; a conflict tells what became of the others."""
    receipts: list[Receipt] = []
    found: list[Receipt | None] = []
    first: IdempotencyConflictError | None = None
    for event, answer in zip(stored, answers, strict=True):
        try:
            receipts.append(_receipt(event, answer))
            found.append(receipts[-1])
        except IdempotencyConflictError as error:
            first = first or error
            found.append(None)
    if first is not None:
        raise IdempotencyConflictError(first.key, first.event_id, found)
    return receipts


def _with(event: Event, options: PublishOptions) -> Event:
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    resource = changes.get("resource")
    if isinstance(resource, tuple) and len(resource) == 2:
        changes["resource"] = Resource(*resource)
    if "channels" in changes and not changes["channels"]:
        raise InvalidEventError([NO_CHANNELS])
    priority = changes.get("priority")
    if priority is not None:
        if (wrong := _PRIORITY(priority)) is not None:
            raise InvalidEventError([f"priority: {wrong}"])
        changes["priority"] = Priority(priority)
    try:
        return attrs.evolve(event, **changes)
    except TypeError as error:
        raise InvalidEventError([f"options: {error}"]) from None


def sync_connection(session: Any, connection: Any) -> Any:
    """Return the SQLAlchemy ``Connection`` of what a sync caller passed.

    Raises:
        CannotJoinError: It is not a Session or Connection, or it is an asynchronous one.
    """
    if (session is None) == (connection is None):
        raise CannotJoinError("give either session= or connection=")
    given = session if session is not None else connection
    if hasattr(given, "run_sync"):
        raise CannotJoinError(f"{type(given).__name__} is asynchronous: use 'await apublish(...)'")
    if session is None:
        return given
    if not callable(getattr(session, "connection", None)):
        raise CannotJoinError(f"session= takes a SQLAlchemy Session, got {type(session).__name__}")
    return session.connection()


async def joined(
    publisher: Publisher, session: Any, connection: Any, events: Iterable[object], options: PublishOptions
) -> list[Receipt]:
    """Publish through a ``Session`` or ``AsyncSession``, or else a ``Connection`` or ``AsyncConnection``.

    Raises:
        CannotJoinError: Both are given, or the store cannot take part in that transaction.
    """
    if session is not None and connection is not None:
        raise CannotJoinError("give either session= or connection=")
    given = session if session is not None else connection

    def through(sync: Any) -> list[Receipt]:
        joined_to = sync.connection() if callable(getattr(sync, "connection", None)) else sync
        return publisher.publish_joined(joined_to, events, options)

    run_sync = getattr(given, "run_sync", None)
    if run_sync is None:
        return through(given)

    result: list[Receipt] = await run_sync(through)
    return result
