"""Reads a MySQL URL, with the parameters that hosting platforms and other clients write behind it.

One that cannot be kept is refused by its name, because a connection without it would be less safe than the URL demands,
or lead elsewhere.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

import attrs

from ....errors import ConfigurationError
from ...encoding.encryption import is_loopback


class Encrypted(IntEnum):
    """How the connection is encrypted, in the words of MySQL's ``ssl-mode``."""

    DISABLED = 0
    PREFERRED = 1
    REQUIRED = 2
    VERIFY_CA = 3
    VERIFY_IDENTITY = 4


_FORM = re.compile(
    r"[^:]+://(?:(?P<user>[^:/?]*)(?::(?P<password>[^@/?]*))?@)?(?P<host>\[[^\]]*\]|[^@:/?]*)(?::(?P<port>[^@/?]*))?"
    r"(?:/(?P<database>[^?/]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_MODES: Mapping[str, Encrypted] = {
    **dict.fromkeys(("disabled", "disable", "false", "off", "0", "no"), Encrypted.DISABLED),
    **dict.fromkeys(("preferred", "prefer"), Encrypted.PREFERRED),
    **dict.fromkeys(("required", "require", "true", "on", "1", "yes", "accept_invalid_certs"), Encrypted.REQUIRED),
    **dict.fromkeys(("verify_ca",), Encrypted.VERIFY_CA),
    **dict.fromkeys(("verify_identity", "verify_full", "strict"), Encrypted.VERIFY_IDENTITY),
}
#: The spellings of each parameter, without hyphens, underscores and capitals.
_MODE = frozenset({"sslmode", "ssl", "tls", "usessl", "sslaccept", "requiressl"})
_FILES = {"sslca": "ca", "sslrootcert": "ca", "sslcert": "cert", "sslkey": "key"}
_TIMEOUTS = frozenset({"connecttimeout", "connectiontimeout"})
_SOCKETS = frozenset({"unixsocket", "socket"})
#: What means nothing here: instants are numbers, connections are made again, and text is always UTF-8.
_MOOT: Mapping[str, frozenset[str]] = {
    "charset": frozenset({"utf8", "utf8mb4", "utf-8"}),
    "encoding": frozenset({"utf8", "utf8mb4", "utf-8"}),
    "collation": frozenset(),
    "useunicode": frozenset({"true", "1"}),
    "reconnect": frozenset(),
    "autoreconnect": frozenset(),
    "timezone": frozenset(),
    "servertimezone": frozenset(),
    "parsetime": frozenset(),
    "loc": frozenset(),
    "allowpublickeyretrieval": frozenset(),
}
_WHY_NOT = {
    "poolsize": "it is an argument of Notifykit(), pool_size=…",
    "connectionlimit": "the most connections are an argument of Notifykit(), pool_size=…",
    "maxoverflow": "the most connections are an argument of Notifykit(), pool_size=…",
    "sqlmode": "notifykit sets its own, which is strict; leave it out",
    "charset": "notifykit always uses utf8mb4; leave it out",
    "encoding": "notifykit always uses utf8mb4; leave it out",
    "autocommit": "notifykit commits by itself; leave it out",
}


@attrs.frozen(kw_only=True)
class MysqlUrl:
    """What a URL says.

    Attributes:
        files: Paths of certificates and of a key: ``ca``, ``cert``, ``key``.
        connect_timeout: Seconds.
    """

    host: str = "localhost"
    port: int = 3306
    user: str | None = None
    password: str = attrs.field(default="", repr=False)
    database: str
    socket: str | None = None
    encrypted: Encrypted
    files: Mapping[str, str] = attrs.field(factory=dict)
    connect_timeout: float = 10

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            ConfigurationError: It is not one, or has a parameter that cannot be kept.
        """
        found = _FORM.fullmatch(url)
        if found is None or not found["database"]:
            raise ConfigurationError(
                "this is not a MySQL URL with a database; use mysql://user:password@host:3306/database, "
                "and in the password write @ as %40, / as %2F, : as %3A, ? as %3F and % as %25"
            )
        given = {_plain(name): (name, value) for name, value in parse_qsl(found["query"] or "", keep_blank_values=True)}
        host = unquote(found["host"]).strip("[]") or "localhost"
        files, mode = _files(given), _mode(given)
        socket = next((given.pop(name)[1] for name in [*given] if name in _SOCKETS), None)
        seconds = next((given.pop(name) for name in [*given] if name in _TIMEOUTS), None)
        for name, (written, value) in given.items():
            if name not in _MOOT or (_MOOT[name] and value.lower() not in _MOOT[name]):
                raise _refused(f"{written}={value}" if name in _MOOT else written, _WHY_NOT.get(name, _UNKNOWN))
        if mode is None:
            verified = Encrypted.VERIFY_CA if "ca" in files else Encrypted.PREFERRED
            mode = Encrypted.DISABLED if (socket or is_loopback(host)) and not files else verified
        return cls(
            host=host,
            port=_number("port", found["port"] or "3306", 65535),
            user=unquote(found["user"]) if found["user"] else None,
            password=unquote(found["password"] or ""),
            database=unquote(found["database"]),
            socket=socket,
            encrypted=mode,
            files=files,
            connect_timeout=10 if seconds is None else _number(seconds[0], seconds[1], 3600),
        )

    def context(self) -> ssl.SSLContext | None:
        """Return how the connection is encrypted; ``None`` if it is not.

        Raises:
            ConfigurationError: A file that the URL names is not there.
        """
        if self.encrypted is Encrypted.DISABLED:
            return None
        for name, file in self.files.items():
            if not Path(file).is_file():
                raise _refused(f"ssl-{name}={file}", "there is no such file")
        context = ssl.create_default_context(cafile=self.files.get("ca"))
        context.check_hostname = self.encrypted is Encrypted.VERIFY_IDENTITY
        if self.encrypted < Encrypted.VERIFY_CA:
            context.verify_mode = ssl.CERT_NONE
        if "cert" in self.files:
            context.load_cert_chain(self.files["cert"], self.files.get("key"))
        return context

    def arguments(self) -> dict[str, Any]:
        """Return arguments for ``asyncmy.connect``, all but the encryption."""
        place = {"unix_socket": self.socket} if self.socket else {"host": self.host, "port": self.port}
        return {
            **place,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "connect_timeout": self.connect_timeout,
        }


_UNKNOWN = "notifykit does not know it; leave it out"


def _refused(what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"the store's URL has {what}, which cannot be kept: {remedy}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _files(given: dict[str, tuple[str, str]]) -> dict[str, str]:
    files = {_FILES[name]: given.pop(name)[1] for name in [*given] if name in _FILES}
    if "key" in files and "cert" not in files:
        raise _refused("ssl-key without ssl-cert", "give both, or neither")
    return files


def _mode(given: dict[str, tuple[str, str]]) -> Encrypted | None:
    """Return the strictest of what the parameters demand."""
    demanded = []
    for name in [*given]:
        if name in _MODE:
            written, value = given.pop(name)
            demanded.append(_mode_of(written, value))
        elif name == "verifyservercertificate":
            demanded.append(Encrypted.VERIFY_IDENTITY if given.pop(name)[1].lower() == "true" else Encrypted.PREFERRED)
    return max(demanded, default=None)


def _mode_of(name: str, value: str) -> Encrypted:
    if value.startswith("{"):  # as clients for Node.js have it
        try:
            return (
                Encrypted.VERIFY_IDENTITY if json.loads(value).get("rejectUnauthorized", True) else Encrypted.REQUIRED
            )
        except ValueError:
            raise _refused(f"{name}={value}", "it is no JSON") from None
    mode = _MODES.get(value.lower().replace("-", "_"), _MODES.get(value.lower()))
    if mode is None:
        raise _refused(f"{name}={value}", f"it is one of {', '.join(each.name for each in Encrypted)}")
    return mode


def _number(name: str, text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= most:
        raise _refused(f"{name}={text}", f"it is a number from 1 to {most}")
    return int(text)
