"""E-mail over real sockets: what is sent, over how many connections, and what each failure becomes."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosmtplib
import attrs
import pytest
import trustme

from notifykit import ConfigurationError, Event, MissingExtraError, Notifykit
from notifykit.channels.email import channel_from_url, pool
from notifykit.channels.messages import MessageChannel
from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.destination import Destination
from notifykit.models.messages import EmailMessage, Message, SmsMessage
from notifykit.models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
    Unsent,
)
from notifykit.ports import ChecksConnection
from notifykit.testing import FakeClock, FakeSmtpServer

from .receivers import NOW, make_claim

HELLO = EmailMessage(subject="Hello", text="Hello, Ada.\n.\n..dots\n", html="<p>Hällo</p>")
PASSWORD = "hunter2-hunter2"


@attrs.define
class Fixed:
    """Renders one message."""

    message: Message = HELLO

    def render(self, claim: Claim, destination: Destination, *, now: Any) -> Message:
        return self.message


@attrs.define
class Post:
    """A channel, with a short way to send."""

    channel: MessageChannel
    renderer: Fixed
    timeout: timedelta = timedelta(seconds=20)

    async def send(self, to: str = "ada@example.org", *, id: str = "dlv_1", config: object = None) -> Outcome:
        """Send the message to an address."""
        address = self.channel.check_address(to)
        found = self.channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        destination = attrs.evolve(found, timeout=self.timeout, config=config)
        return await self.channel.send(make_claim(channel="email", delivery_id=id), destination, now=NOW)


@asynccontextmanager
async def post(url: str, *, message: Message = HELLO, tls: ssl.SSLContext | None = None) -> AsyncIterator[Post]:
    """Open a channel for a while."""
    renderer = Fixed(message)
    channel = channel_from_url(url, renderer=renderer, tls=tls)
    try:
        yield Post(channel, renderer)
    finally:
        await channel.aclose()


@pytest.fixture(params=[True, False], ids=["pipelined", "one by one"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeSmtpServer]:
    """A mail server that takes several commands at a time, and one that does not."""
    async with FakeSmtpServer(pipelining=request.param) as server:
        yield server


async def test_mails_arrive_as_they_were_rendered(server: FakeSmtpServer) -> None:
    """With the envelope, the dots, the name of the person, and the id of the server in the outcome."""

    @attrs.frozen
    class Person:
        name: str

    async with post(server.url) as p:
        outcome = await p.send(config=Person("Ada Lovelace"))

    (mail,) = server.mails
    assert isinstance(outcome, Accepted)
    assert (250, "00000001") == (outcome.answer.status, outcome.answer.reference)
    assert ("shop@example.org", "ada@example.org") == (mail.sender, mail.recipient)
    assert ("Hello, Ada.\n.\n..dots\n", "<p>Hällo</p>\n") == (mail.text, mail.html)
    assert "Ada Lovelace <ada@example.org>" == mail.message["To"]
    assert "<dlv_1@example.org>" == mail.message["Message-ID"]


async def test_a_connection_is_used_again(server: FakeSmtpServer) -> None:
    """A refused mail does not end it; no transaction is left open behind it."""
    server.reply("RCPT", "550 5.1.1 no such user", to="gone@example.org")
    server.reply("MAIL", "552 5.3.4 too big")
    server.reply("DATA", "451 4.3.0 later")
    server.reply("END", "554 5.7.1 spam")
    async with post(server.url) as p:
        outcomes = [await p.send() for _ in range(3)]
        outcomes += [await p.send("gone@example.org"), await p.send(), await p.send()]

    assert [Permanent, Throttled, Permanent, BadRecipient, Accepted, Accepted] == [type(each) for each in outcomes]
    assert ["message_too_big", "smtp_451", "smtp_554", "smtp_5.1.1"] == [each.reason for each in outcomes[:4]]  # type: ignore[union-attr]
    assert (1, 2) == (server.connections, len(server.mails))


async def test_many_mails_share_a_few_connections(server: FakeSmtpServer) -> None:
    """Each gets its own answer."""
    server.reply("RCPT", "550 5.1.1 no such user", to="user7@example.org")
    async with post(f"{server.url}&connections=3") as p:
        outcomes = await asyncio.gather(*(p.send(f"user{n}@example.org", id=f"dlv_{n}") for n in range(40)))

    assert [7] == [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Accepted)]
    assert 39 == len({mail.message["Message-ID"] for mail in server.mails})
    assert server.connections <= 3


async def test_a_connection_that_was_closed_meanwhile_is_replaced(server: FakeSmtpServer) -> None:
    """Servers close idle connections: the mail goes over a new one, and nothing is reported."""
    async with post(server.url) as p:
        await p.send()
        server.disconnect()
        closed = await p.send()
        server.reply("MAIL", "421 4.4.2 too many mails in this connection")
        told = await p.send()
        server.drop("MAIL")
        dropped = await p.send()

    assert [Accepted] * 3 == [type(each) for each in (closed, told, dropped)]
    assert (4, 4) == (server.connections, len(server.mails))


async def test_a_new_connection_is_not_tried_twice(server: FakeSmtpServer) -> None:
    """A server that has just been reached and says no has answered."""
    server.reply("MAIL", "421 4.3.2 shutting down")
    async with post(server.url) as p:
        told = await p.send()
        server.drop("MAIL")
        dropped = await p.send()

    assert (Throttled, "smtp_421") == (type(told), told.reason)  # type: ignore[union-attr]
    assert Transient(reason="connection_lost") == dropped


async def test_a_lost_answer_is_uncertain(server: FakeSmtpServer) -> None:
    """After the end of the mail the server may have accepted it; before it, the mail was not sent."""
    server.drop("END", accepts=True)
    server.drop("RCPT", to="eve@example.org")
    async with post(server.url) as p:
        assert Uncertain(reason="connection_lost") == await p.send()
        assert Transient(reason="connection_lost") == await p.send("eve@example.org")
        assert Accepted is type(await p.send())

    assert 2 == len(server.mails)


async def test_a_refusal_counts_although_the_connection_ends_with_it(server: FakeSmtpServer) -> None:
    """What was said of a recipient is not lost with the connection, and the next mail goes over another one."""
    server.reply("RCPT", "550 5.1.1 no such user")
    async with post(server.url) as p:
        refused = await p.send("gone@example.org")
        server.disconnect()
        accepted = await p.send()

    assert [BadRecipient, Accepted] == [type(each) for each in (refused, accepted)]
    assert 2 == server.connections


async def test_greylisting_is_waited_for(server: FakeSmtpServer) -> None:
    """It says nothing about other recipients, and the second try is accepted."""
    server.greylist()
    async with post(server.url) as p:
        first, second = await p.send(), await p.send()

    assert isinstance(first, Throttled)
    assert ("smtp_451", CircuitEffect.NONE) == (first.reason, first.circuit)
    assert isinstance(second, Accepted)


async def test_an_address_outside_ascii() -> None:
    """It needs a server that takes it; the domain is never a problem."""
    async with (
        FakeSmtpServer() as able,
        FakeSmtpServer(utf8=False) as unable,
        post(able.url) as p,
        post(unable.url) as q,
    ):
        taken = await p.send("ünal@bücher.example")
        refused, domain = await q.send("ünal@bücher.example"), await q.send("unal@bücher.example")

    assert [Accepted, Permanent, Accepted] == [type(each) for each in (taken, refused, domain)]
    assert isinstance(refused, Permanent)
    assert ("smtputf8_missing", True) == (refused.reason, b"SMTPUTF8" in refused.answer.body)
    assert ("ünal@xn--bcher-kva.example", True) == (able.mails[0].recipient, "SMTPUTF8" in able.mails[0].options)
    assert "SMTPUTF8" not in unable.mails[0].options


@pytest.mark.parametrize("subject", ["Hello\r\nBcc: eve@example.org", "x\ny"])
async def test_a_message_that_cannot_be_written_is_not_sent(server: FakeSmtpServer, subject: str) -> None:
    """The reason names the part, the answer says what is wrong with it."""
    async with post(server.url, message=EmailMessage(subject=subject, text="x")) as p:
        outcome = await p.send()

    said = b"invalid e-mail: subject: has line breaks or control characters"
    assert Permanent(reason="invalid_subject", answer=Answer(body=said)) == outcome
    assert 0 == server.connections


@pytest.mark.parametrize("address", ["ada@example.org>\r\nRCPT TO:<eve@example.org", "ada", "a b@example.org"])
async def test_an_address_that_another_program_stored_is_checked(server: FakeSmtpServer, address: str) -> None:
    """It becomes a part of a command: nothing but an address is sent."""
    async with post(server.url) as p:
        found = p.channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        outcome = await p.channel.send(make_claim(channel="email"), found, now=NOW)

    assert isinstance(outcome, BadRecipient)
    assert ("invalid_address", 0) == (outcome.reason, server.connections)


async def test_a_message_of_another_kind_is_a_bug(server: FakeSmtpServer) -> None:
    """The provider says which it carries."""
    async with post(server.url) as p:
        destination = p.channel.destination(tenant="acme", subscriber_id="user:42", address="ada@example.org")
        with pytest.raises(TypeError, match="an EmailMessage, not a SmsMessage"):
            await p.channel.provider.send(SmsMessage(text=""), make_claim(), destination, now=NOW)


# -- no connection -------------------------------------------------------------------------------------


def nowhere() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("place", "reason"),
    [("127.0.0.1:{port}", "connect_failed"), ("nowhere.invalid:{port}", "dns_failure")],
)
async def test_a_server_that_is_not_there(place: str, reason: str) -> None:
    """All mails that wait fail with the first try, and none is counted against its recipient."""
    async with post(f"smtp://{place.format(port=nowhere())}?sender=a@b.example&tls=off") as p:
        outcomes = await asyncio.gather(*(p.send() for _ in range(5)))

    assert {Transient(reason=reason)} == set(outcomes)


async def test_a_process_without_files_blames_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was tried, and the process pauses."""

    async def connect(_: aiosmtplib.SMTP) -> None:
        raise aiosmtplib.SMTPConnectError("no") from OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(aiosmtplib.SMTP, "connect", connect)
    async with post("smtp://127.0.0.1?sender=a@b.example&tls=off") as p:
        assert Unsent(reason="no_files", pauses=True) == await p.send()


async def test_a_server_that_does_not_greet_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a connection has a deadline of its own, for all that wait for it."""
    monkeypatch.setattr(pool, "_DIAL", 0.05)
    async with silent() as port, post(f"smtp://127.0.0.1:{port}?sender=a@b.example&tls=off") as p:
        assert Transient(reason="timeout") == await p.send()


async def test_a_server_without_tls() -> None:
    """A wrong port looks like that; it counts as a failure of the account."""
    async with FakeSmtpServer() as server, post(f"smtps://127.0.0.1:{server.port}?sender=a@b.example") as p:
        assert Transient(reason="tls_failed") == await p.send()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install, when the channel is made."""
    monkeypatch.setitem(sys.modules, "aiosmtplib", None)
    monkeypatch.delitem(sys.modules, "notifykit.channels.email.dial")
    with pytest.raises(MissingExtraError, match=r"notifykit-sdk\[email\]"):
        channel_from_url("smtp://127.0.0.1?sender=a@b.example")


async def test_a_server_that_refuses_connections_answers_for_all_that_wait() -> None:
    """One connection at a time is tried, until one works."""
    async with FakeSmtpServer() as server, post(server.url) as p:
        server.reply("CONNECT", "421 4.7.0 too many connections")
        refused = await asyncio.gather(*(p.send() for _ in range(20)))
        tried = server.connections
        accepted = await asyncio.gather(*(p.send() for _ in range(20)))

    assert {"smtp_421"} == {outcome.reason for outcome in refused}  # type: ignore[union-attr]
    assert 1 == tried
    assert {Accepted} == {type(outcome) for outcome in accepted}


async def test_a_refused_further_connection_fails_nothing() -> None:
    """The mails wait for a connection that there is."""
    async with FakeSmtpServer() as server, post(server.url) as p:
        await p.send()
        server.reply("CONNECT", "421 4.7.0 one connection is enough", times=None)
        outcomes = await asyncio.gather(*(p.send() for _ in range(20)))

    assert {Accepted} == {type(outcome) for outcome in outcomes}


async def test_a_server_that_knows_no_ehlo() -> None:
    """HELO does."""
    async with FakeSmtpServer() as server, post(server.url) as p:
        server.reply("EHLO", "502 5.5.1 not implemented")

        assert Accepted is type(await p.send())


async def test_what_is_not_answered_in_time() -> None:
    """Before the end of the mail it was not sent; while all connections are busy nothing was tried."""
    async with silent(b"220 hello\r\n") as port, post(f"smtp://127.0.0.1:{port}?sender=a@b.example&tls=off") as p:
        p.timeout = timedelta(milliseconds=50)
        assert Transient(reason="timeout") == await p.send()

    replies = b"220 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"
    async with (
        silent(*replies) as port,
        post(f"smtp://127.0.0.1:{port}?sender=a@b.example&tls=off&connections=1") as p,
    ):
        p.timeout = timedelta(milliseconds=100)
        first, second = await asyncio.gather(p.send(), p.send())

    assert Uncertain(reason="timeout") == first
    assert Unsent(reason="connection_limit") == second


@asynccontextmanager
async def silent(*replies: bytes) -> AsyncIterator[int]:
    """Answer with so many replies, one for each packet, and then with nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(reply)
            await reader.read(10_000)
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0)


# -- TLS and logins ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
]


class TestTls:
    """Both common event loops have a TLS layer of their own."""

    @pytest.fixture(params=LOOPS)
    def anyio_backend(self, request: pytest.FixtureRequest) -> Any:
        if request.param[1]["use_uvloop"]:
            pytest.importorskip("uvloop", reason="needs uvloop")
        return request.param

    @pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "starttls"])
    async def test_mails_go_encrypted_after_a_login(
        self, authority: trustme.CA, tmp_path: Path, implicit: bool
    ) -> None:
        """Both ways; the authority is one that the URL names, and the connection is used again."""
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        users = {"shop": PASSWORD}
        async with FakeSmtpServer(tls=certificate(authority), implicit=implicit, users=users) as server:
            url = server.url.replace("://", f"://shop:{PASSWORD}@") + f"&ca={tmp_path}/ca.pem"
            async with post(url) as p:
                outcomes = [await p.send(), await p.send()]
                provider = p.channel.provider
                assert isinstance(provider, ChecksConnection)
                found = await provider.check()

        assert [Accepted, Accepted] == [type(outcome) for outcome in outcomes]
        assert 2 == server.connections  # one of the check
        assert "TLSv1" in found
        assert PASSWORD not in found

    @pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "starttls"])
    async def test_a_certificate_that_is_not_trusted(self, authority: trustme.CA, implicit: bool) -> None:
        """Nothing is sent, neither the password nor a mail; an operator has to look."""
        async with FakeSmtpServer(tls=certificate(trustme.CA()), implicit=implicit, users={"a": "b"}) as server:
            context = ssl.create_default_context()
            authority.configure_trust(context)
            async with post(server.url.replace("://", "://a:b@"), tls=context) as p:
                assert Transient(reason="tls_failed", circuit=CircuitEffect.OPEN) == await p.send()

        assert not server.commands["AUTH PLAIN"]

    async def test_a_certificate_for_another_name(self, authority: trustme.CA) -> None:
        """A valid certificate of another server is none for this one."""
        async with FakeSmtpServer(tls=certificate(authority, "other.example")) as server:
            context = ssl.create_default_context()
            authority.configure_trust(context)
            async with post(server.url, tls=context) as p:
                assert Transient(reason="tls_failed", circuit=CircuitEffect.OPEN) == await p.send()


async def test_a_server_without_starttls_gets_nothing() -> None:
    """An attacker on the network may have removed the offer: TLS is required unless it was switched off."""
    async with FakeSmtpServer() as server, post(server.url.replace("&tls=off", "")) as p:
        assert Transient(reason="starttls_missing", circuit=CircuitEffect.OPEN) == await p.send()

    assert (0, []) == (server.commands["MAIL"], server.mails)


async def test_a_wrong_password_is_tried_once_for_all(authority: trustme.CA) -> None:
    """The outcome opens the circuit of the account, and shows no password, however the server repeats it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        FakeSmtpServer(tls=certificate(authority), implicit=True, users={"shop": "other"}) as server,
        post(server.url.replace("://", f"://shop:{PASSWORD}@"), tls=context) as p,
    ):
        outcomes = await asyncio.gather(*(p.send() for _ in range(10)))
        provider = p.channel.provider
        assert isinstance(provider, ChecksConnection)
        with pytest.raises(ConfigurationError, match="the login was refused: 535") as refused:
            await provider.check()

    assert 2 == server.connections
    assert {("auth_failed", CircuitEffect.OPEN)} == {(each.reason, each.circuit) for each in outcomes}  # type: ignore[union-attr]
    assert PASSWORD not in str(refused.value) + repr(outcomes)


async def test_a_server_that_repeats_the_password() -> None:
    """What it says is kept without it, in plain and in base64."""
    coded = "AHNob3AAaHVudGVyMi1odW50ZXIy"
    replies = (
        b"220 hello\r\n",
        b"250-hello\r\n250 AUTH PLAIN\r\n",
        f"535 5.7.8 AUTH PLAIN {coded} ({PASSWORD}) is wrong\r\n".encode(),
    )
    async with (
        silent(*replies) as port,
        post(f"smtp://shop:{PASSWORD}@127.0.0.1:{port}?sender=a@b.example&tls=off") as p,
    ):
        outcome = await p.send()

    assert b"5.7.8 AUTH PLAIN [redacted] ([redacted]) is wrong" == outcome.answer.body


async def test_a_server_without_logins() -> None:
    """The configuration does not fit the server."""
    async with (
        silent(b"220 hello\r\n", b"250 hello\r\n") as port,
        post(f"smtp://shop:{PASSWORD}@127.0.0.1:{port}?sender=a@b.example&tls=off") as p,
    ):
        assert Transient(reason="auth_missing", circuit=CircuitEffect.OPEN) == await p.send()


# -- through a dispatcher ------------------------------------------------------------------------------


async def test_a_kit_delivers_e_mails_and_retries() -> None:
    """From a published event to the mail; a mailbox that does not exist is not used again."""
    clock = FakeClock()
    async with FakeSmtpServer() as server, Notifykit("memory://", email=server.url, clock=clock) as kit:
        server.reply("RCPT", "550 5.1.1 no such user", to="gone@example.org", times=None)
        server.greylist()
        for name in ("ada", "gone"):
            await kit.subscriptions.create(
                "**", tenant="acme", subscriber=f"user:{name}", channel="email", address=f"{name}@example.org"
            )
        dispatcher = kit.dispatcher()
        await kit.apublish(Event(type="order.shipped", data={"order": "A-1"}), tenant="acme")
        for _ in range(3):
            await dispatcher.step()
            clock.advance(timedelta(minutes=10))
        deliveries = await kit.deliveries.list(tenant="acme")
        subscriptions = await kit.subscriptions.list(tenant="acme")
        circuits = await kit.store.circuits()
        await dispatcher.aclose()

    (mail,) = server.mails
    states = {delivery.subscriber_id: (delivery.state, delivery.reason) for delivery in deliveries}
    assert {"user:ada": (DeliveryState.DELIVERED, None), "user:gone": (DeliveryState.DEAD, "smtp_5.1.1")} == states
    assert ("Order shipped", "Order: A-1\n") == (mail.message["Subject"], mail.text)
    assert {True, False} == {each.enabled for each in subscriptions}
    assert [] == list(circuits)


async def test_a_wrong_configuration_holds_everything() -> None:
    """The circuit of the account opens at the first refusal; nothing is dead, and all is sent once it is corrected."""
    clock = FakeClock()
    async with FakeSmtpServer() as server, Notifykit("memory://", email=server.url, clock=clock) as kit:
        server.reply("MAIL", "530 5.7.0 authentication required", times=None)
        for n in range(5):
            await kit.subscriptions.create(
                "**", tenant="acme", subscriber=f"user:{n}", channel="email", address=f"user{n}@example.org"
            )
        dispatcher = kit.dispatcher()
        await kit.apublish(Event(type="order.shipped", data={}), tenant="acme")
        for _ in range(20):
            await dispatcher.step()
            clock.advance(timedelta(minutes=4))
        held = await kit.deliveries.list(tenant="acme")
        (circuit,) = await kit.store.circuits()
        server.clear()
        for _ in range(20):
            await dispatcher.step()
            clock.advance(timedelta(hours=1))
        delivered = await kit.deliveries.list(tenant="acme")
        await dispatcher.aclose()

    assert (f"smtp://127.0.0.1:{server.port}", "auth_failed") == (circuit.key, circuit.reason)
    assert not any(delivery.state.is_final for delivery in held)
    assert 25 > sum(delivery.attempts for delivery in held)  # a probe every few minutes, five times at the start
    assert {DeliveryState.DELIVERED} == {delivery.state for delivery in delivered}
