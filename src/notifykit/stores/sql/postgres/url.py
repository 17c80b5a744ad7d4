"""Reads a PostgreSQL URL once, for every connection of a store: those of its pool and the one that listens.

What hosts hand out is meant for libpq, what SQLAlchemy's documentation shows for asyncpg.
Parameters of both are understood; one that cannot be kept is refused by its name, because a
connection without it would be less safe than the URL demands, or lead elsewhere.
"""

from __future__ import annotations

import configparser
import os
import re
import ssl
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode

import attrs
from sqlalchemy import URL

from ....errors import ConfigurationError


class Pooling(StrEnum):
    """What connection a client has, as long as it is connected."""

    NONE = "none"
    """The server's own."""
    SESSION = "session"
    """A pooler's, and the same server connection behind it all the time."""
    TRANSACTION = "transaction"
    """A pooler's, with another server connection behind it for each transaction."""


_FORM = re.compile(
    r"[^:]+://(?:(?P<user>[^:/?]*)(?::(?P<password>[^@/?]*))?@)?(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(?P<host>/.*|\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?", re.DOTALL)
#: One setting of ``options``: ``-c name=value``, ``-cname=value`` or ``--name=value``; a backslash keeps a space.
_OPTION = re.compile(r"\s*(?:-c\s*|--)(?P<name>[\w.-]+)=(?P<value>(?:\\.|[^\s\\])*)(?=\s|$)", re.DOTALL)

#: What asyncpg reads from a URL by itself, and the values that it knows.
_DRIVER: Mapping[str, frozenset[str] | None] = {
    "sslmode": frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}),
    "sslnegotiation": frozenset({"postgres", "direct"}),
    "sslcert": None,
    "sslkey": None,
    "sslrootcert": None,
    "sslcrl": None,
    "sslpassword": None,
    "ssl_min_protocol_version": None,
    "ssl_max_protocol_version": None,
    "krbsrvname": None,
    "gsslib": frozenset({"gssapi", "sspi"}),
    "target_session_attrs": frozenset({"any", "primary", "standby", "read-write", "read-only", "prefer-standby"}),
}
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
_SWITCHES = {"true": "require", "on": "require", "1": "require", "false": "disable", "off": "disable", "0": "disable"}
#: What asyncpg takes as a number, by the names that URLs use.
_NUMBERS: Mapping[str, tuple[str, type[int | float]]] = {
    "connect_timeout": ("timeout", float),
    "timeout": ("timeout", float),
    "command_timeout": ("command_timeout", float),
    "statement_cache_size": ("statement_cache_size", int),
    "prepared_statement_cache_size": ("statement_cache_size", int),
    "max_cached_statement_lifetime": ("max_cached_statement_lifetime", int),
    "max_cacheable_statement_size": ("max_cacheable_statement_size", int),
}
_ANY = frozenset[str]()
#: What means nothing here, as long as it has one of these values: how libpq notices dead connections, and
#: what is so in any case.
_MOOT: Mapping[str, frozenset[str]] = {
    "keepalives": _ANY,
    "keepalives_idle": _ANY,
    "keepalives_interval": _ANY,
    "keepalives_count": _ANY,
    "tcp_user_timeout": _ANY,
    "async_fallback": _ANY,
    "channel_binding": frozenset({"disable", "prefer"}),
    "gssencmode": frozenset({"disable", "prefer", "allow"}),
    "client_encoding": frozenset({"utf8", "utf-8", "unicode", "auto"}),
    "load_balance_hosts": frozenset({"disable"}),
    "sslcompression": frozenset({"0"}),
    "sslsni": frozenset({"1"}),
}
_WHY_NOT = {
    "channel_binding": "the driver (asyncpg) has none; leave it out, and give sslmode=verify-full instead",
    "gssencmode": "the driver (asyncpg) has no such encryption; leave it out, and give sslmode=verify-full instead",
    "client_encoding": "notifykit always uses UTF-8; leave it out",
    "hostaddr": "give the address as the host",
    "require_auth": "the driver (asyncpg) has no such restriction; leave it out",
    "search_path": "write it as options=-csearch_path%3D…",
    "schema": "write it as options=-csearch_path%3D…",
    "statement_timeout": "write it as options=-cstatement_timeout%3D…",
    "pool_size": "it is an argument of Notifykit(), pool_size=…",
    "max_overflow": "the most connections are an argument of Notifykit(), pool_size=…",
}


@attrs.frozen(kw_only=True)
class PostgresUrl:
    """What a URL says.

    Attributes:
        hosts: Names, addresses or folders of sockets, in the order in which they are tried; without any,
            what the environment says (``PGHOST``), or this machine.
        settings: What holds on the server for each session, such as ``search_path``.
        driver: Parameters that asyncpg reads from a URL by itself.
        numbers: Arguments of ``asyncpg.connect``.
        pooling: What the URL says of a pooler; ``None`` if that is to be found out.
    """

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    database: str | None = None
    settings: Mapping[str, str] = attrs.field(factory=dict)
    driver: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    numbers: Mapping[str, Any] = attrs.field(factory=dict)
    passfile: str | None = None
    pooling: Pooling | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            ConfigurationError: It is not one, or has a parameter that cannot be kept.
        """
        found = _FORM.fullmatch(url)
        if found is None or "@" in found["hosts"] or "@" in (found["database"] or ""):
            raise ConfigurationError(
                "this is not a PostgreSQL URL; use postgresql://user:password@host:5432/database, "
                "and in the password write @ as %40, / as %2F, : as %3A, ? as %3F and % as %25"
            )
        address = {name: unquote(found[name] or "") for name in ("user", "password", "database")}
        given = _parameters({**address, "host": found["hosts"]}, found["query"] or "")
        hosts, ports = _hosts(given.pop("host", ""), given.pop("port", ""))
        target = {name: given.pop(name, None) for name in ("user", "password", "database", "passfile")}
        pooling, settings = _pooling(given), _settings(given)
        numbers, driver = _numbers(given), _driver(given)
        for name, value in given.items():
            if name not in _MOOT or (_MOOT[name] and value.lower() not in _MOOT[name]):
                what = f"{name}={value}" if name in _MOOT else name
                raise _refused(what, _WHY_NOT.get(name, "notifykit does not know it; leave it out"))
        if len(hosts) > 1:  # a store writes
            driver.setdefault("target_session_attrs", "read-write")
        return cls(
            hosts=hosts,
            ports=ports,
            settings=settings,
            driver=driver,
            numbers=numbers,
            pooling=pooling,
            **target,
        )

    @property
    def place(self) -> tuple[frozenset[tuple[str, int]], str | None]:
        """Which database it is, to be compared with that of another URL."""
        ports = self.ports or (5432,) * len(self.hosts)
        local = {"127.0.0.1": "localhost", "::1": "localhost"}
        hosts = frozenset((local.get(host, host), port) for host, port in zip(self.hosts, ports, strict=False))
        return hosts or frozenset({("localhost", ports[0] if ports else 5432)}), self.database or self.user

    def arguments(self) -> dict[str, Any]:
        """Return arguments for ``asyncpg.connect``, all but the settings of the server.

        Raises:
            ConfigurationError: A file that the URL names is not there.
        """
        driver = dict(self.driver)
        arguments: dict[str, Any] = {
            "host": list(self.hosts) or None,
            "port": list(self.ports) or None,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "passfile": self.passfile,
            **self.numbers,
        }
        if driver.get("sslrootcert") == "system":
            arguments["ssl"] = _trusting_the_system(driver)
        for name in _FILES:
            if name in driver and not Path(driver[name]).is_file():
                raise _refused(f"{name}={driver[name]}", "there is no such file")
        arguments["dsn"] = f"postgresql://?{urlencode(driver)}" if driver else None
        return arguments


def _refused(what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"the store's URL has {what}, which cannot be kept: {remedy}")


def _parameters(address: Mapping[str, str], query: str) -> dict[str, str]:
    """Return the parameters of a URL: those behind the question mark count most, those of a service least."""
    given: dict[str, str] = {}
    for written, value in parse_qsl(query, keep_blank_values=True):
        name = "database" if written == "dbname" else written
        given[name] = f"{given[name]},{value}" if name == "host" and name in given else value
    file = given.pop("servicefile", "") or os.environ.get("PGSERVICEFILE", "")
    service = given.pop("service", "")
    stated = {name: value for name, value in address.items() if value}
    return {**(_service(service, file) if service else {}), **stated, **given}


def _service(name: str, file: str) -> dict[str, str]:
    """Return what a file of connection services says of one."""
    folder = os.environ.get("PGSYSCONFDIR", "")
    files = [Path(file) if file else Path("~/.pg_service.conf").expanduser()]
    files += [Path(folder, "pg_service.conf")] if folder else []
    for path in files:
        services = configparser.RawConfigParser(strict=False)
        try:
            services.read(path, encoding="utf-8")
        except configparser.Error as error:
            raise ConfigurationError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        if name in services:
            return {"database" if key == "dbname" else key: value for key, value in services[name].items()}
    raise _refused(f"service={name}", f"there is no such section in {' or '.join(map(str, files))}")


def _hosts(hosts: str, ports: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return hosts, and a port for each; no ports if none are given."""
    names: list[str] = []
    numbers: list[int] = []
    is_given = bool(ports)
    default = ports.split(",") if ports else []
    listed = hosts.split(",") if hosts else []
    for index, text in enumerate(listed):
        found = _HOST.fullmatch(text)
        if found is None:
            raise ConfigurationError(f"the store's URL names the host {text!r}, which is none")
        shared = default[index if len(default) > 1 else 0] if index < len(default) or len(default) == 1 else ""
        names.append(unquote(found["host"]).strip("[]"))
        is_given |= bool(found["port"])
        numbers.append(_port(found["port"] or shared or "5432"))
    if default and len(default) not in {1, len(listed)} and listed:
        raise ConfigurationError(f"the store's URL has {len(listed)} hosts and {len(default)} ports; give one for each")
    if not listed:
        numbers = [_port(each) for each in default]
    return tuple(names), tuple(numbers) if is_given else ()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"the store's URL has the port {text!r}; a port is a number from 1 to 65535")
    return int(text)


def _pooling(given: dict[str, str]) -> Pooling | None:
    chosen = given.pop("pooler", None)
    if given.pop("pgbouncer", "false").lower() in {"true", "1"} and chosen is None:
        chosen = Pooling.TRANSACTION
    if chosen is None:
        return None
    try:
        return Pooling(chosen)
    except ValueError:
        raise _refused(f"pooler={chosen}", f"it is one of {', '.join(Pooling)}") from None


def _settings(given: dict[str, str]) -> dict[str, str]:
    """Return settings of the server."""
    settings: dict[str, str] = {}
    options = given.pop("options", "")
    end = 0
    for found in _OPTION.finditer(options):
        if found.start() == end:
            end = found.end()
            settings[found["name"].replace("-", "_")] = re.sub(r"\\(.)", r"\1", found["value"])
    if options[end:].strip():  # not settings alone: what the host of a database reads there, say
        settings = {"options": options}
    fallback = given.pop("fallback_application_name", "")
    if name := given.pop("application_name", "") or fallback:
        settings["application_name"] = name
    return settings


def _numbers(given: dict[str, str]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name in [name for name in given if name in _NUMBERS]:
        argument, kind = _NUMBERS[name]
        text = given.pop(name)
        try:
            value = kind(text)
            if not 0 <= value < 1e9:
                raise ValueError
        except ValueError:
            raise _refused(f"{name}={text}", "it is a number") from None
        if argument == "statement_cache_size":  # the caches of asyncpg and SQLAlchemy: off if either is
            value = min(value, numbers.get(argument, value))
        numbers[argument] = value or (None if argument.endswith("timeout") else 0)  # as libpq means it: no limit
    return numbers


def _driver(given: dict[str, str]) -> dict[str, str]:
    if "ssl" in given:
        text = given.pop("ssl")
        given.setdefault("sslmode", _SWITCHES.get(text.lower(), text))
    driver: dict[str, str] = {}
    for name, known in _DRIVER.items():
        if name not in given:
            continue
        value = driver[name] = given.pop(name)
        if known is not None and value not in known:
            raise _refused(f"{name}={value}", f"it is one of {', '.join(sorted(known))}")
    return driver


def _trusting_the_system(driver: dict[str, str]) -> ssl.SSLContext:
    """Return how a server is verified by the authorities that this machine trusts; take out what says so."""
    del driver["sslrootcert"]
    mode = driver.pop("sslmode", "verify-full")
    if mode != "verify-full":
        raise _refused(f"sslrootcert=system with sslmode={mode}", "give sslmode=verify-full")
    context = ssl.create_default_context()
    cert, key = driver.pop("sslcert", None), driver.pop("sslkey", None)
    if cert is not None:
        context.load_cert_chain(cert, key, driver.pop("sslpassword", None))
    return context


def url_with(query: Mapping[str, str], **parts: Any) -> str:
    """Return the URL of a database with these parts, each escaped as it must be.

    Args:
        query: The parameters behind the question mark.
        parts: ``username``, ``password``, ``host``, ``port`` and ``database``; ``None`` leaves a part out.
    """
    return URL.create("postgresql", query=dict(query), **parts).render_as_string(hide_password=False)
