"""``notifykit keys``: the keys that secrets are encrypted under in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import OK
from .parser import Commands

if TYPE_CHECKING:
    from .context import Context


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("keys", help="keys that secrets are encrypted under in the store")
    parser = group.command(
        "generate",
        generate,
        help="make a key for NOTIFYKIT_KEYS",
        description="Make a key and print it as NOTIFYKIT_KEYS wants it. To rotate, put the new one in front of the "
        "others and a comma between them: the first one seals, all of them open. Needs no store. Keep it where you "
        "keep passwords: without it the secrets in the store are lost.",
        example='export NOTIFYKIT_KEYS="$(notifykit keys generate)"\nnotifykit keys generate --name 2026q1',
    )
    parser.add_argument("--name", default="k", help="how its id begins: letters, digits and hyphens (k)")


def generate(context: Context) -> int:
    """Print a new key."""
    from ..vault import KeyRing

    ring = KeyRing.generate(context.args.name)
    context.out.answer({"id": ring.current, "keys": ring.text()}, ring.text())
    return OK
