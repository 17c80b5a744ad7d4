"""The operating system's resolver in threads; names that hang leave enough threads for all others.

A look-up in a thread cannot be cancelled and may hang for half a minute, and the owner of a
domain can make any number of its names hang.  So a name is looked up once at a time; a
look-up that has become slow makes room for another one; and names of a domain whose look-ups were
slow lately share a part of the threads, unless they have answered quickly themselves.  A look-up that
found no thread does not count against its name.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

import attrs

from .shortage import LookupLimitError

_Value = TypeVar("_Value")

#: Look-ups that are not slow, and those that are or may become so, at a time.
QUICK, SLOW = 32, 32
_THREADS = QUICK + SLOW
#: Seconds after which a look-up is slow, and for how many it is remembered that one of the domain was.
SLOW_AFTER, REMEMBERED_FOR = 0.5, 60.0
#: Seconds that a look-up waits for a thread, unless its caller has another limit: half of the shortest timeout.
WAIT = 0.5
#: Seconds between two checks whether a running one has become slow, while others wait.
_TICK = 0.05
#: Names that have answered, and domains that were slow, that are remembered.
_MOST_KNOWN = 2048


@attrs.define(eq=False)
class _Lookup:
    """One name.

    Attributes:
        callers: How many callers wait for its start.
        since: When it began.
        is_suspect: Whether it is slow, or one of its domain was lately.
    """

    host: str
    port: int
    answer: asyncio.Future[list[str]]
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)
    callers: int = 0
    since: float = 0.0
    is_suspect: bool = False


class SystemResolver:
    """The operating system's resolver, in threads of its own.

    Callers give up after :data:`~.guard.LOOKUP_TIMEOUT`; the look-up continues, and
    other callers with the same name share it meanwhile.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookups] = WeakKeyDictionary()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Look ``host`` up; see :class:`~.guard.Resolver`."""
        return await asyncio.shield(await self.begin(host, port, WAIT))

    async def begin(self, host: str, port: int, patience: float) -> asyncio.Future[list[str]]:
        """Return the future of the addresses of ``host``, which callers may share, once the look-up has begun.

        Args:
            patience: Seconds for which a thread is waited for.

        Raises:
            LookupLimitError: There was no thread for it.
        """
        loop = asyncio.get_running_loop()
        lookups = self._of.get(loop)
        if lookups is None:
            lookups = self._of[loop] = _Lookups()
        return await lookups.begun(host, port, patience, loop)


class _Lookups:
    """The look-ups of one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="notifykit-dns")
        self._of: dict[str, _Lookup] = {}
        self._waiting: list[_Lookup] = []
        self._running: set[_Lookup] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._quick_names: OrderedDict[str, None] = OrderedDict()
        self._slow_domains: OrderedDict[str, float] = OrderedDict()

    async def begun(
        self, host: str, port: int, patience: float, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[list[str]]:
        """Return the future of the addresses of ``host``, once the look-up has begun."""
        lookup = self._of.get(host)
        if lookup is None:
            lookup = self._of[host] = _Lookup(host, port, loop.create_future())
            self._waiting.append(lookup)
            self._begin_what_fits(loop)
        if lookup.begun.is_set():
            return lookup.answer
        lookup.callers += 1
        try:
            async with asyncio.timeout(patience):
                await lookup.begun.wait()
        except TimeoutError:
            if not lookup.begun.is_set():
                raise LookupLimitError from None
        finally:
            lookup.callers -= 1
            if not lookup.callers and not lookup.begun.is_set():
                self._waiting.remove(lookup)
                del self._of[host]
        return lookup.answer

    def _begin_what_fits(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin look-ups for which there is a thread, in the order in which they came."""
        now = loop.time()
        for each in self._running:
            if not each.is_suspect and now - each.since >= SLOW_AFTER:
                each.is_suspect = True
                _remember(self._slow_domains, _domain(each.host), now + REMEMBERED_FOR)
        for each in self._running:  # the others of that domain began later, and are likely to become slow, too
            each.is_suspect = each.is_suspect or self._is_suspect(each.host, now)
        waiting, self._waiting = self._waiting, []
        slow = sum(each.is_suspect for each in self._running)
        for lookup in waiting:
            lookup.is_suspect = self._is_suspect(lookup.host, now)
            quick = len(self._running) - slow
            if len(self._running) < _THREADS and (slow < SLOW if lookup.is_suspect else quick < QUICK):
                slow += lookup.is_suspect
                self._begin(lookup, loop)
            else:
                self._waiting.append(lookup)
        if self._waiting and self._timer is None:
            self._timer = loop.call_later(_TICK, self._tick, loop)

    def _is_suspect(self, host: str, now: float) -> bool:
        return host not in self._quick_names and now < self._slow_domains.get(_domain(host), now)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._begin_what_fits(loop)

    def _begin(self, lookup: _Lookup, loop: asyncio.AbstractEventLoop) -> None:
        lookup.since = loop.time()
        lookup.begun.set()
        self._running.add(lookup)
        try:
            running = loop.run_in_executor(self._threads, _look_up, lookup.host, lookup.port)
        except RuntimeError as error:
            self._end(lookup, OSError(errno.ENOMEM, f"no thread for a lookup: {error}"))
        else:
            running.add_done_callback(partial(self._note, lookup, loop))

    def _note(self, lookup: _Lookup, loop: asyncio.AbstractEventLoop, done: asyncio.Future[list[str]]) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        now = loop.time()
        if now - lookup.since >= SLOW_AFTER:  # it may have become slow since the last check
            self._quick_names.pop(lookup.host, None)
            _remember(self._slow_domains, _domain(lookup.host), now + REMEMBERED_FOR)
        elif error is None:
            _remember(self._quick_names, lookup.host, None)
        self._end(lookup, done.result() if error is None else error)
        self._begin_what_fits(loop)

    def _end(self, lookup: _Lookup, found: list[str] | BaseException) -> None:
        self._running.discard(lookup)
        del self._of[lookup.host]
        if lookup.answer.done():
            return
        if isinstance(found, list):
            lookup.answer.set_result(found)
        elif isinstance(found, asyncio.CancelledError):
            lookup.answer.cancel()
        else:
            lookup.answer.set_exception(found)
            lookup.answer.exception()  # all callers may have given up


def _remember(known: OrderedDict[str, _Value], name: str, value: _Value) -> None:
    known[name] = value
    known.move_to_end(name)
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)


def _domain(host: str) -> str:
    """Return the last two labels; too much for ``co.uk``, but names there that answer are not affected."""
    return ".".join(host.rsplit(".", 2)[-2:])


def _look_up(host: str, port: int) -> list[str]:
    # The trailing dot keeps the resolver from trying search domains, which names of one label need.
    name = f"{host}." if "." in host else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
