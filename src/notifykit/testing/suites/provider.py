"""What every provider with an HTTP API must do, against a real server on the loopback.

A provider's tests subclass :class:`ProviderSuite` and say what the vendor's requests and answers are::

    class TestPostmark(ProviderSuite):
        url = "postmark://a-server-token@?sender=shop@example.org"
        secrets = ("a-server-token",)
        address = "ada@example.org"
        success = Reply(status=200, body=b'{"ErrorCode": 0, "MessageID": "m-1"}')
        reference = "m-1"
        outcomes = ((Reply(status=422, body=b'{"ErrorCode": 406}'), BadRecipient(reason="postmark_406")),)

        def check_request(self, request):
            assert request.json()["To"] == self.address
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import attrs
import pytest

from ...channels import provider_channel_from_url
from ...channels.http_provider import BODY_CAP
from ...channels.messages import MessageChannel
from ...errors import ConfigurationError
from ...models.delivery import Claim, Priority
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message, PushMessage, SmsMessage
from ...models.outcome import (
    NO_ANSWER,
    Accepted,
    CircuitEffect,
    Outcome,
    Throttled,
    Transient,
    Uncertain,
    outcome_problem,
)
from ...ports import Renderer
from ..builders import make_id
from ..clock import START
from ..receiver import ReceivedRequest, Reply, VendorServer

#: A message of each channel, unless a suite has one of its own.
MESSAGES: dict[str, Message] = {
    "email": EmailMessage(
        subject="Grüße, 50 % off & <more>", text="Dear Ada,\nit is here. ✓", html="<p>It is here. ✓</p>"
    ),
    "sms": SmsMessage(text="It is here & ready + paid. Grüße ✓"),
    "push": PushMessage(title="It is here", body="Grüße ✓", url="https://shop.example/orders/1", data={"order": "A-1"}),
}


@attrs.frozen
class _Fixed:
    """Renders every event as the same message."""

    message: Message

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:  # noqa: ARG002
        return self.message


def make_claim(channel: str, address: str) -> Claim:
    """Return a claim on the first attempt of a delivery."""
    return Claim(
        delivery_id=make_id("dlv_"),
        fence=1,
        attempt=1,
        tries=0,
        abandoned=0,
        tenant="acme",
        event_id=make_id("evt_"),
        event_type="order.shipped",
        subscription_id="sub_1",
        subscriber_id="user:42",
        channel=channel,
        priority=Priority.NORMAL,
        ordering_key=None,
        published_at=START,
        expires_at=None,
        lease_until=START + timedelta(seconds=60),
        body=b"{}",
        version=1,
        address=address,
    )


class ProviderSuite:
    """The contract of a provider with an HTTP API.

    Attributes:
        channel: ``email``, ``sms``, ``push`` or ``chat``.
        url: The provider's URL; the suite adds the option ``endpoint``.
        secrets: The secrets in the URL: they must show nowhere.
        address: Where the message goes.
        message: What is sent; by default one of the channel's kind.
        success: The vendor's answer to a message that it took.
        reference: The vendor's id of the message in that answer; ``None`` if it has none.
        outcomes: Answers, and the outcome that follows (its ``answer`` does not matter).
        statuses: Whether 401, 429 and 503 mean what they mean in HTTP.
    """

    channel: ClassVar[str] = "email"
    url: ClassVar[str]
    secrets: ClassVar[Sequence[str]] = ()
    address: ClassVar[str]
    message: ClassVar[Message | None] = None
    success: ClassVar[Reply]
    reference: ClassVar[str | None] = None
    outcomes: ClassVar[Sequence[tuple[Reply, Outcome]]] = ()
    statuses: ClassVar[bool] = True

    def check_request(self, request: ReceivedRequest) -> None:
        """Assert that a request is what the vendor wants for the message; a suite says how."""
        raise NotImplementedError

    def make_channel(self, url: str, renderer: Renderer) -> MessageChannel:
        """Return the channel of a URL; a suite of a provider outside this package overrides it."""
        channel = provider_channel_from_url(self.channel, url, renderer=renderer)
        assert isinstance(channel, MessageChannel)
        return channel

    # -- fixtures --------------------------------------------------------------------------------------

    @pytest.fixture
    def server(self) -> Iterator[VendorServer]:
        """The vendor."""
        with VendorServer(self.success) as server:
            yield server

    @pytest.fixture
    async def sender(self, server: VendorServer) -> AsyncIterator[_Sender]:
        """Sends the message to the vendor."""
        sender = self._sender(server.url)
        yield sender
        await sender.channel.aclose()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each row of ``outcomes``."""
        if "expected_outcome" in metafunc.fixturenames:
            ids = [f"{reply.status}-{getattr(outcome, 'reason', 'accepted')}" for reply, outcome in self.outcomes]
            metafunc.parametrize(("reply", "expected_outcome"), list(self.outcomes), ids=ids)

    def _sender(self, endpoint: str) -> _Sender:
        url = f"{self.url}{'&' if '?' in self.url else '?'}endpoint={quote(endpoint, safe='')}"
        message = MESSAGES[self.channel] if self.message is None else self.message
        return _Sender(self.make_channel(url, _Fixed(message)), self.address)

    def _assert_hidden(self, text: str) -> None:
        for secret in self.secrets:
            assert secret not in text

    # -- what is sent ----------------------------------------------------------------------------------

    async def test_sends_the_message_and_keeps_the_reference(self, server: VendorServer, sender: _Sender) -> None:
        """One request, as the vendor wants it; its id of the message is kept."""
        outcome = await sender.send()

        (request,) = server.requests
        self.check_request(request)
        assert isinstance(outcome, Accepted)
        assert (self.reference, self.success.status) == (outcome.answer.reference, outcome.answer.status)

    async def test_uses_one_connection(self, server: VendorServer, sender: _Sender) -> None:
        """The next message needs no new connection."""
        for _ in range(3):
            assert isinstance(await sender.send(), Accepted)

        assert (3, 1) == (len(server.requests), server.connections)

    # -- what is answered ------------------------------------------------------------------------------

    async def test_answers(
        self, server: VendorServer, sender: _Sender, reply: Reply, expected_outcome: Outcome
    ) -> None:
        """Each documented answer has its outcome."""
        server.reply(reply)

        assert expected_outcome == attrs.evolve(await sender.send(), answer=NO_ANSWER)

    async def test_a_refused_key_opens_the_circuit(self, server: VendorServer, sender: _Sender) -> None:
        """401 concerns every message, so that none becomes a dead letter for it."""
        self._needs_statuses()
        server.reply(401)

        outcome = await sender.send()

        assert isinstance(outcome, Transient)
        assert outcome.circuit is CircuitEffect.OPEN

    async def test_waits_as_long_as_the_vendor_asks(self, server: VendorServer, sender: _Sender) -> None:
        """429 with ``Retry-After``."""
        self._needs_statuses()
        server.reply(Reply(status=429, headers={"Retry-After": "7"}))

        outcome = await sender.send()

        assert isinstance(outcome, Throttled)
        assert timedelta(seconds=7) == outcome.retry_after

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_an_outage_is_transient(self, server: VendorServer, sender: _Sender, status: int) -> None:
        """An error of the server counts against the circuit."""
        self._needs_statuses()
        server.reply(status)

        outcome = await sender.send()

        assert isinstance(outcome, Transient)
        assert outcome.circuit is CircuitEffect.COUNT

    async def test_a_redirect_is_not_followed(self, server: VendorServer, sender: _Sender) -> None:
        """The message and the key go nowhere else."""
        server.reply(Reply(status=307, headers={"Location": f"{server.url}/elsewhere"}))

        assert not isinstance(await sender.send(), Accepted)
        assert 1 == len(server.requests)

    async def test_every_answer_has_an_outcome(self, server: VendorServer, sender: _Sender) -> None:
        """Whatever the vendor, or something before it, answers, an outcome can be recorded."""
        bodies = (b"", b"<html>", b"[1]", b"null", b'{"errors":7,"messages":7,"error":[]}', b"\xff\0", b"[" * 9999)
        for status in (200, 201, 400, 403, 404, 422, 500):
            for body in bodies:
                server.reply(Reply(status=status, body=body))
                assert outcome_problem(await sender.send()) is None

    async def test_a_huge_answer_is_cut(self, server: VendorServer, sender: _Sender) -> None:
        """No more of it is kept than the cap, and the next message arrives."""
        server.reply(Reply(status=400, body=b"x" * 1_000_000))

        assert len((await sender.send()).answer.body) <= BODY_CAP
        assert isinstance(await sender.send(), Accepted)

    # -- what is not answered --------------------------------------------------------------------------

    async def test_a_lost_answer_is_uncertain(self, server: VendorServer, sender: _Sender) -> None:
        """The request arrived, so the message may be on its way: it is not sent again, over no other connection."""
        server.reply(Reply(hang_up=True), self.success, Reply(hang_up=True))

        assert [Uncertain, Accepted, Uncertain] == [type(await sender.send()) for _ in range(3)]
        assert 3 == len(server.requests)

    async def test_a_late_answer_is_uncertain(self, server: VendorServer, sender: _Sender) -> None:
        """The attempt ends at its deadline."""
        assert isinstance(await sender.send(), Accepted)  # so that the next one need not connect
        server.reply(Reply(delay=timedelta(seconds=30)))

        assert Uncertain(reason="timeout") == await sender.send(timeout=timedelta(seconds=0.2))

    async def test_nobody_listens(self, free_tcp_port: int) -> None:
        """Nothing was sent, so a later attempt duplicates nothing."""
        sender = self._sender(f"http://127.0.0.1:{free_tcp_port}")

        assert Transient(reason="connect_failed") == await sender.send()
        await sender.channel.aclose()

    # -- secrets and configuration ---------------------------------------------------------------------

    async def test_secrets_show_nowhere(
        self, server: VendorServer, sender: _Sender, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in the names, the logs or the outcomes, even if the vendor repeats them."""
        caplog.set_level(logging.DEBUG)
        echo = " ".join(self.secrets).encode()
        server.reply(Reply(status=400, body=echo), Reply(status=401, body=echo))

        outcomes = [await sender.send(), await sender.send()]

        provider = sender.channel.provider
        self._assert_hidden(repr((provider, vars(provider), sender.channel, outcomes)) + provider.account + caplog.text)

    def test_an_unknown_option_is_refused(self) -> None:
        """A misspelt option is not ignored; the message names it and shows no secret."""
        joint = "&" if "?" in self.url else "?"

        with pytest.raises(ConfigurationError, match="mispelt") as caught:
            self.make_channel(f"{self.url}{joint}mispelt=1", _Fixed(SmsMessage(text="")))

        self._assert_hidden(str(caught.value))

    def test_an_insecure_endpoint_is_refused(self) -> None:
        """The key is never sent in the clear."""
        with pytest.raises(ConfigurationError, match="endpoint is"):
            self._sender("http://vendor.example")

    def _needs_statuses(self) -> None:
        if not self.statuses:
            pytest.skip("the vendor's statuses have another meaning")


@attrs.frozen
class _Sender:
    """Sends the message of a suite."""

    channel: MessageChannel
    address: str

    async def send(self, *, timeout: timedelta | None = None, **person: Any) -> Outcome:
        """Make one attempt."""
        name = self.channel.name
        address = self.channel.check_address(self.address)
        destination = self.channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        destination = attrs.evolve(destination, timeout=timeout or destination.timeout, **person)
        return await self.channel.send(make_claim(name, address), destination, now=START)
