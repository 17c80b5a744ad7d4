"""Opening a connection to a mail server: greeting, STARTTLS, login.  aiosmtplib does it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from base64 import b64encode
from typing import NamedTuple, cast

from ...errors import MissingExtraError
from ...models.outcome import CircuitEffect, Outcome, Transient, Unsent
from ..webhook.shortage import NO_FILES
from .connection import Connection, DialError
from .options import SmtpOptions
from .replies import Reply, Stage, outcome_of

try:
    import aiosmtplib
except ImportError as error:
    raise MissingExtraError("sending e-mail", "email") from error

#: What a login fails with if no method is offered, or none that works without TLS.
_NO_LOGIN = Transient(reason="auth_missing", circuit=CircuitEffect.OPEN)


class _Client(aiosmtplib.SMTP):
    """A client that logs in with what every server has; the connection is encrypted."""

    AUTH_METHODS = ("plain", "login", "cram-md5")


class Greeting(NamedTuple):
    """What a server said of itself."""

    extensions: dict[str, str]
    tls: str | None


class Dialer:
    """Opens connections to one server.

    Args:
        tls: By default the server's certificate and name are verified against the system's authorities.
    """

    def __init__(self, options: SmtpOptions, tls: ssl.SSLContext | None = None) -> None:
        self._options = options
        self._tls = tls or (options.tls_context() if options.tls != "off" else None)
        self._secrets = _secrets(options)

    def kept(self, text: str) -> str:
        """Return a text of the server without the password, whatever form it is in."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text

    async def dial(self, timeout: float) -> tuple[Connection, Greeting]:
        """Open a connection that is ready for mails.

        Raises:
            DialError: It could not be opened.
        """
        client = self._client(timeout)
        try:
            async with asyncio.timeout(timeout):
                await self._open(client)
            return _taken_over(client)
        except (DialError, aiosmtplib.SMTPException, OSError) as error:
            raise self._failure(error) from None
        finally:
            client.close()  # unless the connection has taken over

    def _client(self, timeout: float) -> _Client:
        options = self._options
        return _Client(
            hostname=options.host,
            port=options.port,
            use_tls=options.tls == "implicit",
            start_tls=False,  # done below, so that what fails is known
            tls_context=self._tls,
            local_hostname=options.helo or _own_name() or "localhost",
            timeout=timeout,
        )

    async def _open(self, client: _Client) -> None:
        options = self._options
        await client.connect()
        if options.helo is None and _own_name() is None:
            client.local_hostname = _literal(client.get_transport_info("sockname")[0])
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in (500, 502):
                raise
            await client.helo()  # a server from before 1995
        if options.tls == "starttls":
            if not client.supports_extension("starttls"):
                outcome = Transient(reason="starttls_missing", circuit=CircuitEffect.OPEN)
                raise DialError(outcome, "the server offers no STARTTLS; for a trusted network: tls=off")
            await client.starttls()
            await client.ehlo()
        if options.user is not None and options.password is not None:
            await self._login(client, options.user, options.password)

    async def _login(self, client: _Client, user: str, password: str) -> None:
        try:
            await client.login(user, password)
        except aiosmtplib.SMTPAuthenticationError as error:
            reply = Reply(error.code, error.message)
            detail = f"the login was refused: {error.code} {self.kept(error.message)}"
            raise DialError(outcome_of(reply, Stage.LOGIN, kept=self.kept), detail) from None
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
            raise
        except aiosmtplib.SMTPException:
            raise DialError(_NO_LOGIN, "the server offers no login (AUTH) that is supported") from None

    def _failure(self, error: Exception) -> DialError:
        """Return what is raised for a failure; its cause is not chained, since it may show the password."""
        if isinstance(error, DialError):
            return error
        if isinstance(error, aiosmtplib.SMTPResponseException):
            if error.code < 0:
                return DialError(Transient(reason="bad_reply"), "the server sent what is no reply of a mail server")
            outcome = outcome_of(Reply(error.code, error.message), Stage.CONNECT, kept=self.kept)
            return DialError(outcome, f"the server refused: {error.code} {self.kept(error.message)}")
        if isinstance(error, TimeoutError):
            return DialError(Transient(reason="timeout"), "the server did not answer in time")
        cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPException) else error
        detail = f"the connection failed: {self.kept(str(cause or error))}"
        return DialError(_outcome_of_failure(cause), detail)


def _taken_over(client: _Client) -> tuple[Connection, Greeting]:
    tls = client.get_transport_info("ssl_object")
    greeting = Greeting(dict(client.esmtp_extensions), None if tls is None else tls.version())
    connection = Connection(cast("asyncio.Transport", client.transport), greeting.extensions)
    client.protocol = client.transport = None
    return connection, greeting


def _outcome_of_failure(error: BaseException | None) -> Outcome:
    if isinstance(error, ssl.SSLCertVerificationError):  # an operator has to look
        return Transient(reason="tls_failed", circuit=CircuitEffect.OPEN)
    if isinstance(error, ssl.SSLError):
        return Transient(reason="tls_failed")
    if isinstance(error, socket.gaierror):
        return Transient(reason="dns_failure")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return Unsent(reason=NO_FILES, pauses=True)
    return Transient(reason="connect_failed")


def _own_name() -> str | None:
    """Return this host's name if it has a domain; nothing is looked up."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() and not name.endswith(".local") else None


def _literal(address: str) -> str:
    """Return an IP address as EHLO has it."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _secrets(options: SmtpOptions) -> tuple[str, ...]:
    """Return the forms in which a password may come back in a reply, long ones first."""
    if options.password is None:
        return ()
    user, password = (options.user or "").encode(), options.password.encode()
    forms = {
        options.password,
        b64encode(password).decode(),
        b64encode(b"\0" + user + b"\0" + password).decode(),
    }
    return tuple(sorted(forms, key=len, reverse=True))
