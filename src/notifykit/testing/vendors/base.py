"""What the servers that stand in for vendors share: faults on request, addresses that name what happens, receipts."""

from __future__ import annotations

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import attrs

from ...policies.simulation import SLOW, Simulated, simulated_name
from ..receiver import ReceivedRequest, Reply, VendorServer

#: Faults that no address has.
UNAUTHORIZED, HALF = "unauthorized", "half"
#: What happens to a whole request, even if one address of many names it.
_WHOLE = (Simulated.THROTTLED, Simulated.UNAVAILABLE)
#: How many requests and messages a server keeps.
_KEPT = 20_000
_ALPHABET = "0123456789abcdef"
#: What the vendor finds out later, in the order in which it says so.
_LATER: Mapping[Simulated, tuple[Simulated, ...]] = {
    Simulated.BOUNCE: (Simulated.BOUNCE,),
    Simulated.DEFERRED: (Simulated.DEFERRED, Simulated.DELIVERED),
    Simulated.COMPLAINT: (Simulated.DELIVERED, Simulated.COMPLAINT),
}


@attrs.frozen(kw_only=True)
class Sending:
    """A message that a request asks for.

    Attributes:
        to: Its recipient's address.
        delivery_id: The delivery, if the vendor was told of it.
        content: What else the request says of it, with the vendor's names.
    """

    to: str
    delivery_id: str | None = None
    content: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def name(self) -> Simulated:
        """What its address names."""
        return simulated_name(self.to)


@attrs.frozen(kw_only=True)
class SimulatedMessage:
    """A message that a vendor took.

    Attributes:
        reference: The vendor's id of it; messages of one request may share it.
        at: When it was taken, in Unix seconds.
    """

    reference: str
    to: str
    delivery_id: str | None
    content: Mapping[str, Any]
    at: float

    @property
    def later(self) -> tuple[Simulated, ...]:
        """What its receipts say, in this order."""
        return _LATER.get(simulated_name(self.to), (Simulated.DELIVERED,))


@attrs.frozen(kw_only=True)
class SimulatedReceipt:
    """What a vendor posts of a message, signed as the vendor signs."""

    headers: Mapping[str, str]
    body: bytes


class RefusedError(Exception):
    """The request is not what the vendor wants.

    Args:
        code: The vendor's code for it.
        detail: What in the request is wrong, if the vendor says so.
    """

    def __init__(self, code: Any, detail: str | None = None) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


class SimulatedVendor(VendorServer, ABC):
    """A vendor's API on the loopback: it checks the key and the request, and answers as its documentation says.

    What happens to a message is named by its address (see :class:`~notifykit.policies.simulation.Simulated`), at any
    domain: ``bounce@shop.example``, ``+12025550101``.  :meth:`fail` sets what happens to requests whatever the address,
    and :meth:`~notifykit.testing.receiver.VendorServer.reply` scripts any other answer.

    Args:
        rate: How many requests a second it takes; more are throttled.
        clock: Returns now in Unix seconds.

    Attributes:
        messages: What it took, in order; the oldest are dropped once there are many.
        total: How many it took.
        retry_after: The pause that it asks for when it is throttling, in seconds.
    """

    #: Which channel it belongs to.
    channel: ClassVar[str]
    #: The vendor's codes for ``unauthorized``, ``invalid``, ``rejected``, ``throttled`` and ``unavailable``.
    codes: ClassVar[Mapping[str, Any]]
    #: The path that shows something of the account, and what; ``None`` if no path does.
    account: ClassVar[tuple[str, Mapping[str, Any]] | None] = None

    def __init__(self, *, rate: float | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Reply())
        self.messages: deque[SimulatedMessage] = deque(maxlen=_KEPT)
        self.total = 0
        self.retry_after = 1
        self._rate, self._tokens, self._filled = rate, rate or 0.0, time.monotonic()
        self._clock = clock
        self._faults: deque[Any] = deque()
        self._lasting: Any = None
        self._took = threading.Condition()

    @property
    @abstractmethod
    def provider_url(self) -> str:
        """The URL for :class:`~notifykit.Notifykit`, such as ``sms=server.provider_url``."""

    def address(self, name: str = "delivered") -> str:
        """Return an address whose messages have what ``name`` says happen to them.

        Args:
            name: One of :class:`~notifykit.policies.simulation.Simulated`.
        """
        if self.channel == "email":
            return f"{name}@shop.example"
        return f"+1202555010{list(Simulated).index(Simulated(name))}"

    # -- for the test ------------------------------------------------------------------------------

    def fail(self, how: Any, *, times: int | None = 1) -> None:
        """Let requests fail, whatever their addresses.

        Args:
            how: ``throttled``, ``unavailable``, ``unauthorized``, ``invalid``, ``rejected``; ``slow``; ``uncertain``
                (taken, but the answer is lost) or ``half`` (taken, but only half of the answer comes); or any code of
                the vendor.
            times: How many requests; ``None`` for all until :meth:`recover`.
        """
        if times is None:
            self._lasting = how
        else:
            self._faults.extend([how] * times)

    def recover(self) -> None:
        """Take everything again."""
        self._lasting = None
        self._faults.clear()

    def expect_messages(self, count: int = 1, *, timeout: float = 10) -> list[SimulatedMessage]:
        """Wait until it has taken ``count`` messages since the start; return those that are kept.

        Raises:
            TimeoutError: It has not within ``timeout`` seconds.
        """
        with self._took:
            if not self._took.wait_for(lambda: self.total >= count, timeout):
                raise TimeoutError(f"{self.total} of {count} messages came within {timeout} s")
            return list(self.messages)

    def receipts(self, url: str, messages: Iterable[SimulatedMessage] | None = None) -> list[SimulatedReceipt]:
        """Return what the vendor posts of messages, in order; by default of all that it took.

        Args:
            url: Where it posts them: the public URL, which some vendors sign.
        """
        chosen = list(self.messages if messages is None else messages)
        return [self.receipt(message, event, url) for message in chosen for event in message.later]

    def post_receipts(
        self, url: str, messages: Iterable[SimulatedMessage] | None = None, *, public_url: str | None = None
    ) -> list[int]:
        """Post the receipts of messages to ``url``; return the statuses of the answers.

        Args:
            public_url: What the vendor knows the URL as, if a proxy stands in front of it.
        """
        import httpx

        with httpx.Client(trust_env=False) as client:
            return [
                client.post(url, content=receipt.body, headers=dict(receipt.headers)).status_code
                for receipt in self.receipts(public_url or url, messages)
            ]

    # -- what a vendor defines ---------------------------------------------------------------------

    @abstractmethod
    def is_authentic(self, request: ReceivedRequest) -> bool:
        """Tell whether a request has the account's key."""

    def about_account(self, request: ReceivedRequest) -> Reply | None:
        """Return what a request gets that only asks for something of the account; ``None`` for any other one."""
        if self.account is None or request.method != "GET" or request.path != self.account[0]:
            return None
        return json_reply(200, self.account[1])

    @abstractmethod
    def read(self, request: ReceivedRequest) -> list[Sending]:
        """Return what a request asks for.

        Raises:
            RefusedError: It is not what the vendor wants.
        """

    @abstractmethod
    def answer(self, sendings: Sequence[Sending]) -> Reply:
        """Take the messages of a request and return the answer.

        Raises:
            RefusedError: One of them is not possible, and the vendor refuses the whole request for it.
        """

    @abstractmethod
    def error(self, code: Any, detail: str | None = None) -> Reply:
        """Return the answer with a code of the vendor."""

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:
        """Return what the vendor posts to ``url`` when it finds out something of a message.

        Raises:
            NotImplementedError: It posts no receipts.
        """
        raise NotImplementedError(f"{type(self).__name__}: the vendor posts no receipts")

    # -- what they share ---------------------------------------------------------------------------

    def take(self, sending: Sending, reference: str) -> None:
        """Keep a message that the vendor took."""
        message = SimulatedMessage(
            reference=reference,
            to=sending.to,
            delivery_id=sending.delivery_id,
            content=sending.content,
            at=self._clock(),
        )
        with self._took:
            self.messages.append(message)
            self.total += 1
            self._took.notify_all()

    def refuse_named(self, sendings: Sequence[Sending]) -> None:
        """Refuse the whole request if an address names it, as vendors do whose answers are not by recipient."""
        for number, sending in enumerate(sendings):
            if sending.name in (Simulated.INVALID, Simulated.REJECTED):
                raise RefusedError(self.codes[sending.name], str(number))

    def _reply_to(self, request: ReceivedRequest) -> Reply:
        if len(self.requests) > _KEPT:
            del self.requests[: _KEPT // 2]
        if not self.is_authentic(request):
            return self._pausing(self.error(self.codes[UNAUTHORIZED]))
        if self._is_over_rate():
            return self._throttling()
        how = self._faults.popleft() if self._faults else self._lasting
        damage = how if how in (Simulated.SLOW, Simulated.UNCERTAIN, HALF) else None
        if how is not None and damage is None:
            return self._throttling() if how == Simulated.THROTTLED else self.error(self.codes.get(how, how))
        if (shown := self.about_account(request)) is not None:
            return shown
        try:
            sendings = self.read(request)
            names = {sending.name for sending in sendings}
            for name in _WHOLE:
                if name in names:
                    return self._throttling() if name is Simulated.THROTTLED else self.error(self.codes[name])
            reply = self.answer(sendings)
        except RefusedError as refused:
            return self.error(refused.code, refused.detail)
        return _damaged(reply, {damage} if damage else names)

    def _throttling(self) -> Reply:
        return self._pausing(self.error(self.codes[Simulated.THROTTLED]))

    def _pausing(self, reply: Reply) -> Reply:
        if reply.status != 429:
            return reply
        return attrs.evolve(reply, headers={**reply.headers, "retry-after": str(self.retry_after)})

    def _is_over_rate(self) -> bool:
        if self._rate is None:
            return False
        now = time.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False


def _damaged(reply: Reply, names: set[Any]) -> Reply:
    if Simulated.UNCERTAIN in names:
        return attrs.evolve(reply, hang_up=True)
    if HALF in names:
        return attrs.evolve(reply, is_cut=True)
    if Simulated.SLOW in names:
        return attrs.evolve(reply, delay=SLOW)
    return reply


def new_id(length: int) -> str:
    """Return an id of hexadecimal digits, as vendors make them up."""
    return "".join(random.choices(_ALPHABET, k=length))  # noqa: S311 - no secret


def option(url: str) -> str:
    """Return the option ``endpoint`` of a provider's URL."""
    return f"endpoint={quote(url, safe='')}"


def json_reply(status: int, value: Any) -> Reply:
    """Return an answer in JSON."""
    return Reply(status=status, headers={"content-type": "application/json"}, body=json.dumps(value).encode())
