"""Stores by URL: a table of schemes, and entry points for third parties (``notifykit.stores``)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import ConfigurationError
from .sql.database_url import without_password

if TYPE_CHECKING:
    from ..ports import Store
    from .sql.callers import AnyEngine

_SCHEMES = {
    "memory": "notifykit.stores.memory:MemoryStore.from_url",
    "sqlite": "notifykit.stores.sql.sqlite.store:SqliteStore",
    "postgresql": "notifykit.stores.sql.postgres.store:PostgresStore",
    "postgres": "notifykit.stores.sql.postgres.store:PostgresStore",
    "mysql": "notifykit.stores.sql.mysql.store:MysqlStore",
    "mariadb": "notifykit.stores.sql.mysql.store:MysqlStore",
    "redis": "notifykit.stores.redis.store:RedisStore",
    "rediss": "notifykit.stores.redis.store:RedisStore",
    "sharded": "notifykit.stores.sharded:ShardedStore.from_url",
}


class StoreOptions(TypedDict, total=False):
    """What the constructors of our stores take beside the URL; each takes some of it."""

    create: bool
    synchronous: str
    engine: AnyEngine | None
    pool_size: int
    notify: bool


def store_from_url(url: str, **options: Any) -> Store:
    """Return a store for ``url``; it is not open yet.

    Args:
        url: ``sqlite:///file.db``, ``postgresql://user@host/database``, ``mysql://user@host/database``,
            ``redis://host:6379/0``, ``memory://``, or several databases: ``sharded://?a=sqlite:///a.db&b=sqlite:///b.db``.
        options: What the store's constructor takes beside the URL.

    Raises:
        ConfigurationError: No store is registered for the URL's scheme.
        MissingExtraError: The store's driver is not installed.
    """
    scheme, found, _ = url.partition(":")
    name = scheme.partition("+")[0].lower()
    if not found or not name or not url.startswith(f"{scheme}://"):
        raise ConfigurationError(
            f"{without_password(url)!r} is not a store's URL; "
            "use sqlite:///file.db, postgresql://user@host/database, mysql://user@host/database, redis://host:6379/0 "
            "or memory://"
        )
    path = _SCHEMES.get(name)
    if path is None:
        third_party = {entry.name: entry for entry in entry_points(group="notifykit.stores")}
        if name not in third_party:
            known = ", ".join(sorted({*_SCHEMES, *third_party}))
            raise ConfigurationError(f"no store for {name!r} URLs; known: {known}")
        make = third_party[name].load()
    else:
        module, _, attribute = path.partition(":")
        make = import_module(module)
        for part in attribute.split("."):
            make = getattr(make, part)
    if options.get("engine") is not None and path and not path.endswith(":PostgresStore"):
        raise ConfigurationError(f"engine= goes with a PostgreSQL store, and this one is {name}: leave engine= out")
    store: Store = make(url, **options)
    return store
