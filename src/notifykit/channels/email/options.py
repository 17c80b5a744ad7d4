"""Which server e-mail goes to, and how: ``smtp://user:password@host:587?sender=…``."""

from __future__ import annotations

import re
import ssl
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from ...errors import ConfigurationError, InvalidInputError
from ...models.checks import UNPRINTABLE
from ..provider_url import ProviderUrl
from .address import Mailbox, canonical_address, parse_mailbox

#: The ports of submission: with STARTTLS (RFC 6409) and with TLS from the start (RFC 8314).
_PORTS = {"smtp": 587, "smtps": 465}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f.]*:[0-9a-f:.]+")
_HELO = re.compile(r"[A-Za-z0-9.:\[\]-]+")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_KNOWN = ("sender", "return_path", "tls", "ca", "helo", "connections", "timeout")


@attrs.frozen(kw_only=True)
class SmtpOptions:
    """A mail server, the account on it, and how it is used.

    Attributes:
        tls: ``implicit`` from the first byte, ``starttls`` (required), or ``off``.
        sender: Of ``From``, unless a message names another one.
        return_path: Where bounces go; by default to the sender.
        ca: A file of certificates to trust in place of the system's.
        helo: The name that this host gives itself; by default its own, or its IP address if that has no domain.
        connections: How many connections there are at the most.
        timeout: The deadline of one attempt.
    """

    host: str
    port: int
    sender: Mailbox
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: Literal["implicit", "starttls", "off"] = "starttls"
    return_path: str | None = None
    ca: str | None = None
    helo: str | None = None
    connections: int = 8
    timeout: timedelta = timedelta(seconds=30)

    @property
    def account(self) -> str:
        """The URL without password and options: the name of the circuit, and what operators are shown."""
        scheme = "smtps" if self.tls == "implicit" else "smtp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{self.user + '@' if self.user else ''}{host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that verifies the server's certificate and name."""
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"email: ca: {self.ca}: {error.strerror or error}") from None


def parse_url(url: str) -> SmtpOptions:
    """Read the URL of a mail server.

    Raises:
        ConfigurationError: Something in it is wrong; the message never shows the password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        options = parts.query.replace("+", "%2B")  # frequent in addresses, where it is no blank
        query = dict(parse_qsl(options, keep_blank_values=True, strict_parsing=bool(options)))
    except ValueError:
        raise _wrong("is no URL such as smtp://user:password@mail.example.org:587?sender=shop@example.org") from None
    if parts.scheme not in _PORTS or not host or not _HOST.fullmatch(host):
        raise _wrong("begins with smtp:// or smtps:// and the name of the mail server")
    if parts.path not in ("", "/") or parts.fragment:
        raise _wrong(
            "has a path or a fragment; options follow a '?', and '/', '?', '#' and '@' in a password are "
            "written as %2F, %3F, %23 and %40"
        )
    if unknown := sorted(query.keys() - set(_KNOWN)):
        raise _wrong(f"has unknown options: {', '.join(unknown)}; known: {', '.join(_KNOWN)}")
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    if (user is None) is not (password is None):
        raise _wrong("has a user without a password, or a password without a user")
    if password is not None and password.startswith(("env:", "file:")):
        password = ProviderUrl(scheme=parts.scheme).read(password)
    if UNPRINTABLE.search(user or ""):
        raise _wrong("has a user with control characters")
    tls = _tls(parts.scheme, query.get("tls"))
    if tls == "off" and user is not None and host not in _LOOPBACK:
        raise _wrong("tls=off would send the password in the clear; remove tls=off")
    more: dict[str, Any] = {name: query[name] for name in ("ca", "helo") if query.get(name)}
    if not _HELO.fullmatch(more.get("helo", "localhost")):
        raise _wrong("helo is a host name, or an IP address in brackets")
    if "connections" in query:
        more["connections"] = _whole(query["connections"], "connections", most=1000)
    if "timeout" in query:
        more["timeout"] = timedelta(seconds=_whole(query["timeout"], "timeout", most=600))
    return SmtpOptions(
        host=host,
        port=port or _PORTS[parts.scheme],
        user=user,
        password=password,
        tls=tls,
        sender=_read(parse_mailbox, query.get("sender"), "sender"),
        return_path=_read(canonical_address, query["return_path"], "return_path") if "return_path" in query else None,
        **more,
    )


def _tls(scheme: str, given: str | None) -> Literal["implicit", "starttls", "off"]:
    if given not in (None, "required", "off"):
        raise _wrong("tls is required or off")
    if scheme == "smtps":
        if given == "off":
            raise _wrong("smtps:// is TLS from the first byte: use smtp:// with tls=off")
        return "implicit"
    return "off" if given == "off" else "starttls"


def _whole(text: str, name: str, *, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
        raise _wrong(f"{name} is a whole number between 1 and {most}")
    return int(text)


def _read(read: Any, text: str | None, name: str) -> Any:
    if not text:
        raise _wrong(f"{name}= is missing: the address in From, such as sender=shop@example.org")
    try:
        return read(text)
    except InvalidInputError as error:
        raise _wrong(f"{name}: {'; '.join(error.problems)}") from None


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"email: the URL {problem}")
