"""``notifykit migrate``: create or upgrade the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import OK
from .parser import Commands

if TYPE_CHECKING:
    from .context import Context


def add(commands: Commands) -> None:
    """Add the command."""
    commands.command(
        "migrate",
        migrate,
        help="create or upgrade the store's tables",
        description="Create the store's tables, or upgrade them to the version that this package needs. Does nothing "
        "if they are up to date. Run it at each deployment, before the new code starts.",
        example="notifykit migrate --url postgresql://app@db.internal/app",
    )


async def migrate(context: Context) -> int:
    """Create or upgrade the tables."""
    from ..stores.sql.database_url import backend_of

    kit = context.kit(create=True)
    if backend_of(context.url) in ("redis", "rediss"):
        context.out.answer({"url": context.shown_url, "schema": None}, f"{context.shown_url} has no tables to migrate")
        return OK
    version = await kit.migrate()
    context.out.answer({"url": context.shown_url, "schema": version}, f"{context.shown_url} has schema {version}")
    return OK
