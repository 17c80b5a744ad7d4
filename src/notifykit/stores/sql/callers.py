"""What a caller hands in to have an event in its own transaction, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session


class DjangoConnection(Protocol):
    """A connection of Django: ``django.db.connections[alias]``."""

    @property
    def vendor(self) -> str:
        """Which database it is."""
        ...

    @property
    def settings_dict(self) -> Mapping[str, Any]:
        """What ``settings.DATABASES`` says of it."""
        ...

    def cursor(self) -> Any:
        """Return a cursor."""
        ...


SyncSession: TypeAlias = "Session | scoped_session[Any]"
SyncConnection: TypeAlias = "Connection | DjangoConnection"
AnySession: TypeAlias = "AsyncSession | async_scoped_session[Any] | Session | scoped_session[Any]"
AnyEngine: TypeAlias = "AsyncEngine"
AnyConnection: TypeAlias = "AsyncConnection | Connection | DjangoConnection"
