"""What every command holds: its arguments, the kit, and where its answers go."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .failures import NO_STORE, CommandError, UsageError
from .output import Output
from .parser import merged
from .text import plain

if TYPE_CHECKING:
    from ..kit import EgressRules, Notifykit

DEFAULT_URL = "sqlite:///notifykit.db"


class Context:
    """The arguments of one command, global options included.

    Attributes:
        args: The command's own arguments.
        url: The store.
        given_url: The store, if the command line names it.
        tenant: Whose data it is.
        verbose: How often ``-v`` was given.
        out: Where answers go.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.given_url: str | None = merged(args, "url")
        self.url: str = self.given_url or os.environ.get("NOTIFYKIT_URL") or DEFAULT_URL
        self.tenant: str = merged(args, "tenant") or os.environ.get("NOTIFYKIT_TENANT") or "default"
        self.verbose: int = merged(args, "verbose")
        self.out = Output(json=bool(merged(args, "json")))
        self._allow: list[str] = merged(args, "allow")
        self._allow_http = bool(merged(args, "allow_http"))

    @property
    def shown_url(self) -> str:
        """The store's URL without its password."""
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            return plain(make_url(self.url).render_as_string(hide_password=True))
        except (ArgumentError, ValueError):
            return plain(self.url)

    def egress(self) -> EgressRules:
        """Return where deliveries may go: what the environment says and the command line adds."""
        from ..kit import EgressRules

        rules = EgressRules.from_environment()
        return EgressRules(
            allow=(*rules.allow, *self._allow),
            allow_http=rules.allow_http or self._allow_http,
            transport=rules.transport,
        )

    def kit(self, *, create: bool = False) -> Notifykit:
        """Return a kit that is not open yet.

        Args:
            create: Make the file and the tables of an SQLite store; a command that only reads
                must not answer "nothing" because of a mistyped name.
        """
        from sqlalchemy.exc import ArgumentError

        from ..kit import Notifykit

        egress = self.egress()
        egress.guard()  # a block that is none is reported before anything is opened
        try:
            if not self.is_sqlite:
                return Notifykit(self.url, egress=egress)
            if not create:
                self._need_file()
            return Notifykit(self.url, egress=egress, create=create)
        except ArgumentError as error:
            raise UsageError(
                f"{plain(self.url)} is not a store's URL; use sqlite:///file.db or postgresql://user@host/database"
            ) from error

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is an SQLite file."""
        return self.url.partition(":")[0].partition("+")[0].lower() == "sqlite"

    def _need_file(self) -> None:
        path = self.sqlite_file()
        if path is not None and not path.exists():
            raise CommandError(
                f"there is no store at {self.shown_url} yet; name yours with --url, or make it: notifykit migrate",
                NO_STORE,
            )

    def sqlite_file(self) -> Path | None:
        """Return the file of an SQLite store."""
        from sqlalchemy import make_url

        path = make_url(self.url).database
        return None if not path or path == ":memory:" else Path(path)

    @asynccontextmanager
    async def open(self, *, create: bool = False) -> AsyncIterator[Notifykit]:
        """Open the kit for the length of a block; see :meth:`kit`."""
        async with self.kit(create=create) as kit:
            yield kit
