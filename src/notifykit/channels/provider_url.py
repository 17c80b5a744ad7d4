"""The URL of a vendor's account: ``vendor://KEY@host?sender=…``.

Pure, except that ``env:NAME`` and ``file:PATH`` in place of a secret are read when the URL is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from ..errors import ConfigurationError
from ..models.checks import UNPRINTABLE

#: The options of every vendor.
COMMON = ("connections", "endpoint", "timeout")
#: Of what may have several lines.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PART = r"(?:(?:env|file):)?[^:]*"
_USERINFO = re.compile(rf"({_PART})(?::({_PART}))?")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@attrs.frozen(kw_only=True)
class ProviderUrl:
    """What a vendor's URL says.

    Attributes:
        credentials: What precedes the ``@``, separated by ``:``, with variables and files read.
        host: What follows it, in lower case; empty if nothing does.
        options: What follows the ``?``.
        timeout: The deadline of one attempt.
        connections: How many requests are under way at the most.
    """

    scheme: str
    credentials: tuple[str, ...] = attrs.field(default=(), repr=False)
    host: str = ""
    options: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @property
    def account(self) -> str:
        """The name of the circuit, and what operators are shown: instead of the key a few digits of its hash."""
        digest = blake2b("\0".join(self.credentials).encode(), digest_size=4, person=b"notifykit").hexdigest()
        mark = f"key-{digest}" if self.credentials else ""
        return f"{self.scheme}://{'@'.join(part for part in (mark, self.host) if part)}"

    @property
    def timeout(self) -> timedelta:
        return timedelta(seconds=self.whole("timeout", 30, most=600))

    @property
    def connections(self) -> int:
        return self.whole("connections", 32, most=1000)

    def endpoint(self, default: str) -> str:
        """Return the base of the vendor's URLs, without a slash at the end.

        Args:
            default: The vendor's own; the option ``endpoint`` replaces it, for a proxy or a test.

        Raises:
            ConfigurationError: The option is not an ``https://`` URL, or an ``http://`` URL of this machine.
        """
        given = self.options.get("endpoint")
        if given is None:
            return default
        try:
            parts = urlsplit(given)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        secure = bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
        if not secure or parts.username or parts.query or parts.fragment:
            raise self.wrong("endpoint is the base of an https:// URL, such as https://proxy.example.org")
        return given.rstrip("/")

    def secret(self, name: str) -> str | None:
        """Return an option that is a secret, or where to read one.

        Raises:
            ConfigurationError: It cannot be read.
        """
        return self.read(self.options[name]) if name in self.options else None

    def read(self, text: str) -> str:
        """Return a secret: the text itself, or what ``env:NAME`` or ``file:PATH`` has.

        Raises:
            ConfigurationError: It cannot be read.
        """
        return _secret(self, text)

    def document(self, name: str, what: str) -> str:
        """Return an option that is a secret of several lines, such as a key in PEM, or where to read one.

        Args:
            what: What it is, for errors.

        Raises:
            ConfigurationError: It is missing or cannot be read.
        """
        if name not in self.options:
            raise self.wrong(f"{name} is missing: {what}, as {name}=file:PATH or {name}=env:NAME")
        return _secret(self, self.options[name], _CONTROL)

    def choice(self, name: str, values: Mapping[str, str]) -> str:
        """Return the value that an option names; by default the first one.

        Raises:
            ConfigurationError: It names none.
        """
        given = self.options.get(name, next(iter(values)))
        if given not in values:
            raise self.wrong(f"{name} is one of {', '.join(values)}")
        return values[given]

    def whole(self, name: str, default: int, *, most: int) -> int:
        """Return an option that is a whole number from 1.

        Raises:
            ConfigurationError: It is none.
        """
        text = self.options.get(name, str(default))
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
            raise self.wrong(f"{name} is a whole number between 1 and {most}")
        return int(text)

    def wrong(self, problem: str) -> ConfigurationError:
        """Return the error for what is wrong with the URL; ``problem`` has no secrets."""
        return ConfigurationError(f"{self.scheme}: {problem}")


def parse_provider_url(
    url: str, *, example: str, credentials: int, options: Collection[str] = (), host: bool = False
) -> ProviderUrl:
    """Read the URL of a vendor's account.

    Args:
        example: Such a URL, for errors.
        credentials: How many secrets it must have before the ``@``: none, one (``KEY``) or two (``USER:SECRET``).
        options: Those that the vendor knows beside :data:`COMMON`.
        host: Whether a host must follow the ``@``.

    Raises:
        ConfigurationError: Something in it is wrong; the message never shows a secret.
    """
    try:
        parts = urlsplit(url)
        found = ProviderUrl(scheme=parts.scheme, host=parts.netloc.rpartition("@")[2].lower())
        text = parts.query.replace("+", "%2B")  # frequent in addresses and phone numbers, where it is no blank
        query = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
    except ValueError:
        raise ConfigurationError(f"this is not a provider's URL such as {example}") from None
    if parts.path not in ("", "/") or parts.fragment:
        raise found.wrong(
            f"the URL has a path or a fragment; it is like {example}. "
            "Write '/', '?', '#', '@' and ':' in a secret as %2F, %3F, %23, %40 and %3A"
        )
    if found.host and not _HOST.fullmatch(found.host):
        raise found.wrong(f"what follows the '@' is not a name; the URL is like {example}")
    if host and not found.host:
        raise found.wrong(f"a name must follow the '@'; the URL is like {example}")
    known = sorted({*COMMON, *options})
    if unknown := sorted(query.keys() - set(known)):
        raise found.wrong(f"unknown options: {', '.join(unknown)}; known: {', '.join(known)}")
    secrets = _secrets(found, parts.netloc.rpartition("@")[0])
    if len(secrets) != credentials:
        raise found.wrong(
            f"{credentials} secret(s) must precede the '@', not {len(secrets)}; the URL is like {example}"
        )
    found = attrs.evolve(found, credentials=secrets, options=query)
    _ = found.timeout, found.connections, found.endpoint("")  # refuses wrong ones
    return found


def _secrets(url: ProviderUrl, userinfo: str) -> tuple[str, ...]:
    if not userinfo:
        return ()
    parts = _USERINFO.fullmatch(userinfo)
    if parts is None:
        raise url.wrong("too many ':' before the '@'; write one inside a secret as %3A")
    return tuple(_secret(url, unquote(part)) for part in parts.groups() if part is not None)


def _secret(url: ProviderUrl, text: str, refused: re.Pattern[str] = UNPRINTABLE) -> str:
    """Return a secret: the text itself, or what ``env:NAME`` or ``file:PATH`` has."""
    kind, found, name = text.partition(":")
    if found and kind == "env":
        text = os.environ.get(name, "")
        if not text:
            raise url.wrong(f"the environment variable {name} is not set")
    elif found and kind == "file":
        try:
            text = Path(name).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise url.wrong(f"the file {name} with the secret cannot be read: {type(error).__name__}") from None
    if not text or refused.search(text):
        raise url.wrong("a secret is empty or has control characters")
    return text
