"""Publish inside Django's own transaction.

::

    from notifykit.contrib.django import publish

    with transaction.atomic():
        order.save()
        publish(OrderShipped(order.reference), tenant="acme")    # commits, or rolls back, with the order

Publishing sends nothing: a dispatcher (``notifykit run``) delivers the committed events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote, urlencode

from notifykit.default import default_kit
from notifykit.errors import ConfigurationError, MissingExtraError
from notifykit.stores.sql.postgres.url import url_with
from notifykit.stores.sql.sqlite.url import url_of

try:
    from django.db import DEFAULT_DB_ALIAS, connections, transaction
except ImportError as error:
    raise MissingExtraError("publishing from Django", "django") from error

if TYPE_CHECKING:
    from notifykit.kit import Notifykit
    from notifykit.models.event import Receipt
    from notifykit.publisher import PublishOptions

__all__ = ["publish", "publish_many", "store_url"]

#: Options of a database that configure how Django uses its connections, not how it connects.
_OF_DJANGO = frozenset(
    {"autocommit", "context", "cursor_factory", "isolation_level", "pool", "prepare_threshold", "server_side_binding"}
)
_OF_DJANGOS_MYSQL = frozenset(
    {"autocommit", "charset", "conv", "init_command", "isolation_level", "read_timeout", "sql_mode", "use_unicode"}
    | {"write_timeout"}
)


def publish(
    event: object,
    *,
    using: str = DEFAULT_DB_ALIAS,
    kit: Notifykit | None = None,
    **options: Unpack[PublishOptions],
) -> Receipt:
    """Publish one event through a Django connection, as part of the connection's open transaction.

    Outside of ``atomic`` the event is stored at once, like other rows.

    Args:
        event: A typed event, or an :class:`~notifykit.Event`.
        using: The alias of the database.
        kit: The kit; by default the one of :func:`notifykit.configure`.
        options: See :class:`~notifykit.Event`: ``tenant``, ``topic``, ``resource``, ``idempotency_key`` …

    Raises:
        InvalidEventError: With every problem found; nothing is stored.
        IdempotencyConflictError: The key belongs to an event with different content.
        CannotJoinError: The kit's store is not in that database.
        SchemaError: The database has no notifykit tables; create them with ``notifykit migrate``.
    """
    return publish_many([event], using=using, kit=kit, **options)[0]


def publish_many(
    events: Iterable[object],
    *,
    using: str = DEFAULT_DB_ALIAS,
    kit: Notifykit | None = None,
    **options: Unpack[PublishOptions],
) -> list[Receipt]:
    """Publish many events, all or none; see :func:`publish`."""
    listed = list(events)
    with _at_once(using, len(listed)):
        return (kit or default_kit()).publish_many(listed, connection=connections[using], **options)


def _at_once(using: str, count: int) -> AbstractContextManager[Any]:
    """Make the statements atomic; a single event on PostgreSQL is a single statement and needs nothing.

    Inside of the caller's ``atomic`` this is a savepoint: after an error nothing of this publish
    remains, and the caller may catch the error and go on.
    """
    if count == 1 and connections[using].vendor == "postgresql":
        return nullcontext()
    return transaction.atomic(using)


def store_url(using: str = DEFAULT_DB_ALIAS) -> str:
    """Return the kit's URL for a database in ``settings.DATABASES``.

    Use it as ``notifykit.configure(store_url())`` in ``AppConfig.ready``.  The URL includes the ``OPTIONS`` of the
    database: ``sslmode``, ``service``, ``options``, ``assume_role`` … of PostgreSQL, ``ssl`` of MySQL.  A kit refuses a
    URL with an option that it cannot honour.

    Raises:
        ConfigurationError: The database is neither PostgreSQL, MySQL nor SQLite.
    """
    connection = connections[using]
    settings = connection.settings_dict
    name = str(settings["NAME"])
    match connection.vendor:
        case "sqlite":
            return url_of(name)
        case "postgresql":
            return _postgres_url(settings)
        case "mysql":
            return _mysql_url(settings)
    raise ConfigurationError(f"notifykit has no store on {connection.vendor}: use PostgreSQL, MySQL or SQLite")


def _postgres_url(settings: Mapping[str, Any]) -> str:
    query = {name: str(value) for name, value in settings["OPTIONS"].items() if name not in _OF_DJANGO}
    if role := query.pop("assume_role", ""):
        escaped = re.sub(r"([\\\s])", r"\\\1", role)
        query["options"] = f"{query.get('options', '')} -crole={escaped}".strip()
    # A socket's folder, and several hosts, are query parameters.
    query |= {key: str(settings[name]) for key, name in (("host", "HOST"), ("port", "PORT")) if settings[name]}
    parts: dict[str, Any] = {
        "username": settings["USER"] or None,
        "password": settings["PASSWORD"] or None,
        "database": str(settings["NAME"] or "") or None,
    }
    plain = "," not in query.get("host", ",") and not query["host"].startswith("/")
    if plain:
        parts |= {"host": query.pop("host"), "port": int(query.pop("port", 0)) or None}
    return url_with(query, **parts)


def _mysql_url(settings: Mapping[str, Any]) -> str:
    options = {name: value for name, value in settings["OPTIONS"].items() if name not in _OF_DJANGOS_MYSQL}
    files = options.pop("ssl", None) or {}
    query = {name: str(value) for name, value in options.items()} | {f"ssl-{name}": files[name] for name in files}
    host = settings["HOST"]
    if host.startswith("/"):
        query["unix_socket"], host = host, ""
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    user, password, database = (quote(str(settings[name]), safe="") for name in ("USER", "PASSWORD", "NAME"))
    login = f"{user}{f':{password}' if password else ''}@" if user else ""
    return f"mysql://{login}{host}{port}/{database}" + (f"?{urlencode(query)}" if query else "")
