"""The context of a command: its arguments, the kit, and its output."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..environment import CHANNELS, TENANT, URL
from .failures import NO_STORE, CommandError, UsageError
from .options import merged
from .output import Output
from .text import plain

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..options import EgressRules, KitOptions
    from ..telemetry import Subscriber

T = TypeVar("T")

DEFAULT_URL = "sqlite:///notifykit.db"


class Context:
    """The arguments of one command, global options included.

    Attributes:
        args: The command's own arguments.
        url: The URL of the store.
        given_url: The same, if the command line names it.
        tenant: The tenant that owns the data.
        verbose: How often ``-v`` was given.
        out: The output of the command.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.given_url: str | None = merged(args, "url")
        self.url: str = self.given_url or os.environ.get(URL) or DEFAULT_URL
        self.tenant: str = merged(args, "tenant") or os.environ.get(TENANT) or "default"
        self.verbose: int = merged(args, "verbose")
        self.out = Output(json=bool(merged(args, "json")))
        self._shows_addresses = bool(merged(args, "show_addresses"))
        self._allow: list[str] = merged(args, "allow")
        self._allow_names: list[str] = merged(args, "allow_name")
        self._allow_http = bool(merged(args, "allow_http"))

    @property
    def shown_url(self) -> str:
        """The store's URL without its password."""
        from ..stores.sql.database_url import without_password

        return plain(without_password(self.url))

    def shown(self, value: T) -> T:
        """Return records as they are shown: with people's addresses masked, unless they are asked for."""
        if self._shows_addresses:
            return value
        from .privacy import hidden

        return hidden(value)

    def egress(self) -> EgressRules:
        """Return the egress rules of the environment and the command line together."""
        from ..options import EgressRules

        rules = EgressRules.from_environment()
        return EgressRules(
            allow=(*rules.allow, *self._allow),
            allow_names=(*rules.allow_names, *self._allow_names),
            allow_http=rules.allow_http or self._allow_http,
            transport=rules.transport,
        )

    def channels(self) -> list[str]:
        """Return the URLs of channels beside webhooks: those of the environment and of the command line."""
        listed = [url.strip() for url in os.environ.get(CHANNELS, "").split(",") if url.strip()]
        return [*listed, *getattr(self.args, "channels", ())]

    @property
    def broker(self) -> str | None:
        """The URL of the broker that the command line names."""
        return getattr(self.args, "broker", None)

    def kit(self, *, create: bool = False, subscribers: Sequence[Subscriber] = ()) -> Notifykit:
        """Return a kit that is not open yet.

        Args:
            create: Create the file and the tables of an SQLite store.  A command that only reads does not,
                because a mistyped name would give an empty result.
            subscribers: Get the telemetry.
        """
        from ..kit import Notifykit

        egress = self.egress()
        egress.guard()  # reports an invalid block before anything is opened
        if self.is_in_memory:
            raise UsageError(
                "a store in memory ends with this command and loses its content; "
                "give --url sqlite:///file.db or postgresql://user@host/database"
            )
        given: KitOptions = {
            "egress": egress,
            "channels": self.channels(),
            "broker": self.broker,
            "subscribers": subscribers,
        }
        if all(map(_is_sqlite, self._databases())):
            given["create"] = create
        if not create:
            self._need_files()
        return Notifykit(self.url, **given)

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is an SQLite file."""
        return _is_sqlite(self.url)

    def _databases(self) -> Sequence[str]:
        """Return the URLs of the store's databases, of which a sharded one has several."""
        if not self.url.startswith("sharded:"):
            return [self.url]
        from ..stores.sharded.url import shards_of

        return [*shards_of(self.url).values()]

    @property
    def is_in_memory(self) -> bool:
        """Whether the store is in the memory of this process, which other processes cannot read."""
        return self.url.startswith("memory:") or (self.is_sqlite and self.sqlite_file() is None)

    def _need_files(self) -> None:
        for url in filter(_is_sqlite, self._databases()):
            path = _file_of(url)
            if path is not None and not path.exists():
                raise CommandError(
                    f"there is no store at {plain(url)}; give its URL with --url, or create it: notifykit migrate",
                    NO_STORE,
                )

    def sqlite_file(self) -> Path | None:
        """Return the file of an SQLite store."""
        return _file_of(self.url)

    @asynccontextmanager
    async def open(self, *, create: bool = False) -> AsyncIterator[Notifykit]:
        """Open the kit inside a block; see :meth:`kit`."""
        async with self.kit(create=create) as kit:
            yield kit


def _is_sqlite(url: str) -> bool:
    return url.partition(":")[0].partition("+")[0].lower() == "sqlite"


def _file_of(url: str) -> Path | None:
    from ..stores.sql.sqlite.url import file_of

    path = file_of(url)
    return None if path is None else Path(path)
