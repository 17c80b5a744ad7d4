"""E-mail through a mail server."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from ...errors import ConfigurationError, InvalidInputError
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message
from ...models.outcome import Answer, BadRecipient, Outcome, Permanent, Transient, Uncertain, Unsent
from ..messages import MessageChannel
from ..plain import PlainRenderer
from .address import Mailbox, canonical_address
from .connection import Connection, ConnectionLostError, DialError
from .mime import InvalidMessageError, Mail, write
from .options import SmtpOptions, parse_url
from .pool import Pool
from .replies import Reply, Stage, outcome_of

if TYPE_CHECKING:
    from ...ports import Provider, Renderer
    from .dial import Dialer

#: How long a check of the connection may take.
_CHECK = 15.0


class SmtpProvider:
    """Hands e-mails to a mail server.

    Args:
        options: The server, and the account on it.
        tls: TLS settings; by default certificates are verified against the system's authorities, or those of
            ``options.ca``.

    Raises:
        ConfigurationError: The file ``options.ca`` cannot be read, or has no certificates.
        MissingExtraError: The extra ``email`` is not installed.
    """

    name = "smtp"

    def __init__(self, options: SmtpOptions, *, tls: ssl.SSLContext | None = None) -> None:
        from .dial import Dialer

        if options.ca is not None and tls is None:
            options.tls_context()  # a wrong file is said now, and not by each attempt
        self.account = options.account
        self._options = options
        self._tls = tls
        self._dialer_class = Dialer

    @cached_property
    def _dialer(self) -> Dialer:
        # Only where mails are sent, because to read the certificates takes a while.
        return self._dialer_class(self._options, self._tls)

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self._dialer, self._options.connections)

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        if not isinstance(message, EmailMessage):
            raise TypeError(f"SMTP carries an EmailMessage, not a {type(message).__name__}")
        try:
            address = canonical_address(destination.address)  # another program may have stored it
        except InvalidInputError as error:
            return BadRecipient(reason="invalid_address", answer=Answer(body=str(error).encode()))
        to = Mailbox(address, getattr(destination.config, "name", None) or "")
        try:
            mail = write(
                message,
                sender=self._options.sender,
                to=to,
                id=claim.delivery_id,
                now=now,
                return_path=self._options.return_path,
            )
        except InvalidMessageError as error:
            return error.outcome
        own_sender = message.sender is None or self._options.return_path is not None
        return await self._deliver(mail, destination.timeout.total_seconds(), own_sender)

    async def _deliver(self, mail: Mail, timeout: float, own_sender: bool) -> Outcome:
        attempt = _Attempt(self._pool, mail)
        try:
            async with asyncio.timeout(timeout):
                reply, stage = await attempt.run()
        except TimeoutError:
            return attempt.failed("timeout")
        except DialError as error:
            return error.outcome
        except ConnectionLostError as error:
            return attempt.failed(error.reason)
        except _NeedsUtf8Error:
            return Permanent(reason="smtputf8_missing", answer=Answer(body=_NO_UTF8))
        return outcome_of(reply, stage, own_sender=own_sender, kept=self._dialer.kept)

    async def check(self) -> str:
        """See :class:`notifykit.ports.ChecksConnection`."""
        try:
            connection, greeting = await self._dialer.dial(_CHECK)
        except DialError as error:
            raise ConfigurationError(f"{self.account}: {error.detail}") from None
        connection.close()
        offered = [name.upper() for name in ("pipelining", "smtputf8") if name in greeting.extensions]
        return ", ".join([self.account, greeting.tls or "not encrypted", *offered])

    async def aclose(self) -> None:
        await self._pool.aclose()


_NO_UTF8 = b"the name before the @ has characters outside ASCII, and the mail server does not offer SMTPUTF8"


class _NeedsUtf8Error(Exception):
    """The server cannot take an address outside ASCII."""


class _Attempt:
    """One mail on its way, and over which connection."""

    def __init__(self, pool: Pool, mail: Mail) -> None:
        self._pool = pool
        self._mail = mail
        self._connection: Connection | None = None

    async def run(self) -> tuple[Reply, Stage]:
        """Send it; over a new connection if the server has closed the one that had been idle."""
        connection = await self._acquire()
        if connection.uses:
            try:
                reply, stage = await self._send(connection)
                if reply.code != 421 or stage is not Stage.MAIL:
                    return reply, stage
            except ConnectionLostError:
                if connection.stage is not Stage.MAIL:
                    raise
            connection = await self._acquire(fresh=True)
        return await self._send(connection)

    def failed(self, reason: str) -> Outcome:
        """Return the outcome of an attempt that ended without a reply."""
        if self._connection is None:
            return Unsent(reason="connection_limit") if self._pool.is_proven else Transient(reason=reason)
        if self._connection.stage is Stage.END:
            return Uncertain(reason=reason)
        return Transient(reason=reason)

    async def _acquire(self, *, fresh: bool = False) -> Connection:
        self._connection = None
        self._connection = await self._pool.acquire(fresh=fresh)
        return self._connection

    async def _send(self, connection: Connection) -> tuple[Reply, Stage]:
        if self._mail.is_utf8 and not connection.takes_utf8:
            self._pool.give_back(connection)
            raise _NeedsUtf8Error
        try:
            return await connection.send(self._mail)
        except BaseException:
            connection.abort()
            raise
        finally:
            self._pool.give_back(connection)


def channel_from_url(
    url: str, *, renderer: Renderer | None = None, tls: ssl.SSLContext | None = None
) -> MessageChannel:
    """Return the channel for ``smtp://`` and ``smtps://`` URLs; nothing is connected yet.

    Args:
        renderer: Makes the messages; by default plain texts of what the event says.
        tls: TLS settings; by default certificates are verified against the system's authorities.

    Raises:
        ConfigurationError: The URL is not acceptable.
        MissingExtraError: The extra ``email`` is not installed.
    """
    options = parse_url(url)
    return MessageChannel(
        "email",
        renderer or PlainRenderer(),
        SmtpProvider(options, tls=tls),
        check_address=canonical_address,
        timeout=options.timeout,
    )


if TYPE_CHECKING:
    _conforms: type[Provider] = SmtpProvider
