"""URLs of Redis stores: one server, servers that Sentinels watch, or a cluster."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import attrs

from ...errors import ConfigurationError
from ..sql.database_url import without_password

#: Every key begins with it.  The braces are a hash tag: in a cluster all keys are on one node, as scripts need them.
PREFIX: Final = "{notifykit}"
_FORMS: Final = (
    "redis://user:password@host:6379/0, rediss:// with TLS, "
    "redis+sentinel://host1:26379,host2:26379/primary/0, or redis+cluster://host1:6379,host2:6379"
)
_SENTINEL_PORT, _PORT = 26379, 6379
_SCHEMES: Final = frozenset(f"{name}{kind}" for name in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster"))
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@attrs.frozen(kw_only=True)
class RedisUrl:
    """Where a store is.

    Attributes:
        kind: Empty for one server, else ``sentinel`` or ``cluster``.
        hosts: The servers, or the Sentinels, with their ports.
        service: What the Sentinels call the primary.
        options: What the client takes beside, such as ``ssl_ca_certs``, as text.
    """

    kind: str
    has_tls: bool
    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    database: int
    service: str
    prefix: str
    options: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """Read a URL.

        Raises:
            ConfigurationError: It is not of a form that is known.
        """
        try:
            return cls._parse(url)
        except ValueError as error:
            raise ConfigurationError(f"{without_password(url)!r} is not the URL of a Redis store: {error}") from None

    @classmethod
    def _parse(cls, url: str) -> RedisUrl:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"use {_FORMS}")
        name, _, kind = parts.scheme.partition("+")
        login, _, addresses = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        path = [unquote(part) for part in parts.path.split("/") if part]
        service = ""
        if kind == "sentinel":
            if not path:
                raise ValueError("behind the hosts of the Sentinels stands what they call the primary")
            service = path.pop(0)
        database = path.pop(0) if path else "0"
        if path or not database.isdecimal():
            raise ValueError(f"{'/'.join((database, *path))!r} is not the number of a database")
        if kind == "cluster" and database != "0":
            raise ValueError("a cluster has only the database 0")
        options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return cls(
            kind=kind,
            has_tls=name == "rediss",
            hosts=tuple(_host(each, _SENTINEL_PORT if kind == "sentinel" else _PORT) for each in addresses.split(",")),
            username=unquote(username) or None,
            password=unquote(password) or None,
            database=int(database),
            service=service,
            prefix=_prefix(options.pop("prefix", "")),
            options=options,
        )

    def server_url(self) -> str:
        """Return the URL of one server, or of the first node of a cluster, as the client reads it."""
        host, port = self.hosts[0]
        login = ""
        if self.username or self.password:
            login = f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"
        address = f"[{host}]" if ":" in host else host
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{'rediss' if self.has_tls else 'redis'}://{login}{address}:{port}/{self.database}{query}"

    def credentials(self) -> dict[str, Any]:
        """Return what connections of Sentinels' clients are made with."""
        given: dict[str, Any] = {"username": self.username, "password": self.password, "ssl": self.has_tls}
        return {**{name: value for name, value in given.items() if value}, **self.options}


def _host(address: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{address}")
    return parts.hostname or "localhost", parts.port or port


def _prefix(given: str) -> str:
    if not given:
        return PREFIX
    if not _PREFIX.fullmatch(given):
        raise ValueError("prefix= takes up to 64 letters, digits, and _ . -")
    return f"{{{given}}}"
