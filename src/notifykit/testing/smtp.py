"""A mail server for tests: it keeps what it is sent, and refuses, drops or delays as a test says.

::

    with FakeSmtpServer() as server:
        server.reply("RCPT", "550 5.1.1 no such user", to="gone@example.org")
        kit = Notifykit("memory://", email=server.url)
        ...
        (mail,) = server.expect(1)
        assert mail.message["Subject"] == "Your order"
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any, AnyStr, Literal, Self, cast

import anyio
import attrs
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import MissingExtraError

try:
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
except ImportError as error:
    raise MissingExtraError("the mail server for tests", "testing") from error

#: The points of an exchange at which a reply can be scripted: commands, and the end of a mail.
Point = Literal["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"]


@attrs.frozen(kw_only=True)
class ReceivedMail:
    """A mail that the server accepted.

    Attributes:
        sender: Of the envelope.
        recipient: Of the envelope.
        raw: The bytes as they came.
        options: Parameters of the ``MAIL`` command.
    """

    sender: str
    recipient: str
    raw: bytes
    options: tuple[str, ...] = ()

    @property
    def message(self) -> EmailMessage:
        """The mail as the standard library reads it."""
        return message_from_bytes(self.raw, policy=SMTPUTF8)

    @property
    def text(self) -> str:
        """The plain form of its body; lines end with a line feed."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML form of its body; empty if there is none."""
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


@attrs.define
class _Script:
    """What the server does at a point instead of accepting."""

    point: Point
    reply: str | None
    to: str | None
    times: int | None
    accepts: bool = False


class FakeSmtpServer:
    """A mail server on a free port of this machine, in a thread of its own.

    Args:
        users: Passwords by user names; if there are any, a login is required.
        tls: Offer ``STARTTLS``, or speak TLS from the first byte if ``implicit``.
        implicit: Speak TLS from the first byte.
        pipelining: Offer ``PIPELINING``.
        utf8: Offer ``SMTPUTF8``.

    Attributes:
        mails: What was accepted, in order.
        connections: How many there have been.
        commands: How often each command came, in capitals.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        pipelining: bool = True,
        utf8: bool = True,
    ) -> None:
        self.mails: list[ReceivedMail] = []
        self.connections = 0
        self.commands: Counter[str] = Counter()
        self.port = 0
        self._users = dict(users or {})
        self._tls, self._implicit = tls, implicit
        self._pipelining, self._utf8 = pipelining, utf8
        self._scripts: list[_Script] = []
        self._greylisted: set[str] | None = None
        self._connected: set[asyncio.Transport] = set()
        self._came = threading.Condition()
        self._portal: BlockingPortal
        self._running = ExitStack()

    # -- what a test says --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL for ``Notifykit(email=…)``, with a sender and without a login."""
        scheme = "smtps" if self._implicit else "smtp"
        tls = "&tls=off" if self._tls is None else ""
        return f"{scheme}://{self.host}:{self.port}?sender=shop@example.org{tls}"

    def reply(self, point: Point, reply: str, *, to: str | None = None, times: int | None = 1) -> None:
        """Answer with ``reply`` at a point: ``server.reply("RCPT", "452 4.2.2 mailbox full")``.

        Args:
            point: ``CONNECT``, ``EHLO``, ``MAIL``, ``RCPT``, ``DATA``, or ``END`` after the whole mail.
            reply: A code and a text.
            to: Only for this recipient, from ``RCPT`` on.
            times: How often; ``None`` for always.
        """
        self._scripts.append(_Script(point, reply, to, times))

    def drop(self, point: Point, *, to: str | None = None, times: int | None = 1, accepts: bool = False) -> None:
        """Close the connection at a point without a reply.

        Args:
            accepts: With ``END``: keep the mail all the same, as a server does that dies before it answers.
        """
        self._scripts.append(_Script(point, None, to, times, accepts))

    def greylist(self) -> None:
        """Refuse each recipient the first time, as servers do that wait for a second try."""
        self._greylisted = set()

    def clear(self) -> None:
        """Accept everything again."""
        self._scripts.clear()
        self._greylisted = None

    def disconnect(self) -> None:
        """Close all connections, as a server does that restarts."""
        self._portal.call(self._close_connections)

    def expect(self, count: int = 1, *, timeout: float = 10) -> list[ReceivedMail]:
        """Wait until ``count`` mails have been accepted since the start; return all there are.

        Raises:
            TimeoutError: They were not within ``timeout`` seconds.
        """
        with self._came:
            if not self._came.wait_for(lambda: len(self.mails) >= count, timeout):
                raise TimeoutError(f"{len(self.mails)} of {count} mails came within {timeout} s")
            return list(self.mails)

    async def aexpect(self, count: int = 1, *, timeout: float = 10) -> list[ReceivedMail]:
        """Do the same as :meth:`expect` while the caller's event loop keeps running."""
        return await anyio.to_thread.run_sync(lambda: self.expect(count, timeout=timeout))

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._portal = opening.enter_context(start_blocking_portal("asyncio", name="notifykit-smtp"))
            server = self._portal.call(self._listen)
            opening.callback(self._portal.call, self._close, server)
            self.port = server.sockets[0].getsockname()[1]
            self._running = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    async def _listen(self) -> asyncio.Server:
        tls = self._tls if self._implicit else None
        return await asyncio.get_running_loop().create_server(self._protocol, self.host, self.port, ssl=tls)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        await self._close_connections()

    async def _close_connections(self) -> None:
        for transport in list(self._connected):
            transport.abort()
        await asyncio.sleep(0)  # lets the loop close the sockets

    def _accept(self, mail: ReceivedMail) -> None:
        with self._came:
            self.mails.append(mail)
            self._came.notify_all()

    def _protocol(self) -> SMTP:
        protocol = _Protocol(
            self,
            _Handler(self),
            hostname="fake.example",
            enable_SMTPUTF8=self._utf8,
            tls_context=None if self._implicit else self._tls,
            require_starttls=self._tls is not None and not self._implicit,
            auth_required=bool(self._users),
            authenticator=self._authenticate,
            loop=asyncio.get_running_loop(),
        )
        # Given as an argument it is a warning; and aiosmtpd does not see that TLS was there from the first byte.
        protocol._auth_require_tls = self._tls is not None and not self._implicit
        return protocol

    def _authenticate(self, _: object, __: object, ___: object, mechanism: str, given: Any) -> AuthResult:
        self.commands[f"AUTH {mechanism}"] += 1
        known = isinstance(given, LoginPassword) and self._users.get(given.login.decode()) == given.password.decode()
        return AuthResult(success=known, handled=False)

    def _scripted(self, point: Point, to: str | None = None) -> _Script | None:
        for script in self._scripts:
            if script.point == point and script.to in (None, to) and script.times != 0:
                if script.times is not None:
                    script.times -= 1
                return script
        return None

    def _greylists(self, recipient: str) -> bool:
        if self._greylisted is None or recipient in self._greylisted:
            return False
        self._greylisted.add(recipient)
        return True


class _Protocol(SMTP):
    """A connection of aiosmtpd, known to its server."""

    def __init__(self, owner: FakeSmtpServer, handler: _Handler, **options: Any) -> None:
        super().__init__(handler, **options)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.transport is None:  # otherwise TLS begins on a connection that is counted already
            self._owner.connections += 1
        super().connection_made(transport)
        self._owner._connected.add(cast("asyncio.Transport", transport))

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is not None:
            self._owner._connected.discard(self.transport)
        super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:
        """Answer as scripted."""
        script = self._owner._scripted("DATA") if self.envelope is not None and self.envelope.rcpt_tos else None
        if script is None:
            await super().smtp_DATA(arg)
        else:
            await self.push(_answered(self, script))

    async def push(self, status: AnyStr) -> None:
        if str(status).startswith("220 fake.example"):
            script = self._owner._scripted("CONNECT")
            if script is not None:
                if script.reply is not None:
                    await super().push(script.reply)
                _transport(self).close()
                return
        await super().push(status)


class _Handler:
    """What aiosmtpd asks at each point."""

    def __init__(self, owner: FakeSmtpServer) -> None:
        self._owner = owner

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self._owner.commands["EHLO"] += 1
        session.host_name = hostname
        script = self._owner._scripted("EHLO")
        if script is not None:
            return [_answered(server, script)]
        return [*responses[:-1], *(["250-PIPELINING"] if self._owner._pipelining else []), responses[-1]]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._owner.commands["MAIL"] += 1
        script = self._owner._scripted("MAIL")
        if script is not None:
            return _answered(server, script)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._owner.commands["RCPT"] += 1
        script = self._owner._scripted("RCPT", address)
        if script is not None:
            return _answered(server, script)
        if self._owner._greylists(address):
            return "451 4.7.1 greylisted, try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self._owner.commands["DATA"] += 1
        recipient = envelope.rcpt_tos[0]
        script = self._owner._scripted("END", recipient)
        if script is None or script.accepts:
            content = envelope.original_content or b""
            mail = ReceivedMail(
                sender=envelope.mail_from or "",
                recipient=recipient,
                raw=content,
                options=tuple(envelope.mail_options),
            )
            self._owner._accept(mail)
        if script is not None:
            return _answered(server, script)
        return f"250 2.0.0 OK: queued as {len(self._owner.mails):08X}"


def _answered(server: SMTP, script: _Script) -> str:
    """Return the reply that was scripted; close the connection if there is none, or after a 421."""
    transport = _transport(server)
    if script.reply is None:
        transport.abort()
        return "421 dropped"
    if script.reply.startswith("421"):
        asyncio.get_running_loop().call_later(0, transport.close)
    return script.reply


def _transport(server: SMTP) -> asyncio.Transport:
    return cast("asyncio.Transport", server.transport)
