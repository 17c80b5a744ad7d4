"""The default kit: what ``notifykit.publish(...)`` uses.

Explicit objects are better; a default is for programs with one store, where handing
a kit to every function that publishes would add nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from .kit import Notifykit
    from .models.event import Receipt
    from .options import KitOptions
    from .publisher import PublishOptions
    from .stores.sql.callers import AnyConnection, AnySession, SyncConnection, SyncSession

_lock = threading.Lock()
_kit: Notifykit | None = None
_stand_in: Notifykit | None = None
_configure_stand_in: Callable[[KitOptions], None] | None = None


def configure(url: str | None = None, **options: Unpack[KitOptions]) -> Notifykit:
    """Make the default kit and return it; takes what :class:`notifykit.Notifykit` takes.

    Call it once at start-up.  Without it the first publish makes a kit from ``NOTIFYKIT_URL``.
    """
    from .kit import Notifykit

    global _kit  # noqa: PLW0603 - a default is global by nature
    with _lock:
        if _stand_in is not None:
            _stand_in.catalog.include(options.get("event_types", ()))
            if _configure_stand_in is not None:
                _configure_stand_in(options)
            return _stand_in
        if _kit is not None:
            _kit.close()
        _kit = Notifykit(url, **options)
        return _kit


def default_kit() -> Notifykit:
    """Return the default kit, made from the environment if none was configured."""
    global _kit  # noqa: PLW0603 - a default is global by nature
    if _stand_in is not None:
        return _stand_in
    if _kit is None:
        from .kit import Notifykit

        with _lock:
            if _kit is None:
                _kit = Notifykit()
    return _kit


def configured() -> Notifykit | None:
    """Return the default kit if there is one already; none is made."""
    return _stand_in or _kit


@contextmanager
def stand_in(kit: Notifykit, configure: Callable[[KitOptions], None] | None = None) -> Iterator[None]:
    """Use ``kit`` as the default kit inside the block, whatever is configured meanwhile: for tests.

    Args:
        configure: Gets what is configured meanwhile; the event types are in the kit's catalog already.
    """
    global _stand_in, _configure_stand_in
    with _lock:
        before = _stand_in, _configure_stand_in
        _stand_in, _configure_stand_in = kit, configure
    try:
        yield
    finally:
        with _lock:
            _stand_in, _configure_stand_in = before


def publish(
    event: object,
    *,
    session: SyncSession | None = None,
    connection: SyncConnection | None = None,
    **options: Unpack[PublishOptions],
) -> Receipt:
    """Publish one event from sync code; see :meth:`notifykit.Notifykit.publish`."""
    return default_kit().publish(event, session=session, connection=connection, **options)


def publish_many(
    events: Iterable[object],
    *,
    session: SyncSession | None = None,
    connection: SyncConnection | None = None,
    **options: Unpack[PublishOptions],
) -> list[Receipt]:
    """Publish many events from sync code; see :meth:`notifykit.Notifykit.publish_many`."""
    return default_kit().publish_many(events, session=session, connection=connection, **options)


async def apublish(
    event: object,
    *,
    session: AnySession | None = None,
    connection: AnyConnection | None = None,
    **options: Unpack[PublishOptions],
) -> Receipt:
    """Publish one event; see :meth:`notifykit.Notifykit.apublish`."""
    return await default_kit().apublish(event, session=session, connection=connection, **options)


async def apublish_many(
    events: Iterable[object],
    *,
    session: AnySession | None = None,
    connection: AnyConnection | None = None,
    **options: Unpack[PublishOptions],
) -> list[Receipt]:
    """Publish many events; see :meth:`notifykit.Notifykit.apublish_many`."""
    return await default_kit().apublish_many(events, session=session, connection=connection, **options)
