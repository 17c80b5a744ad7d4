"""``notifykit keys``: the keys that secrets are encrypted under in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import FAILED, OK, UsageError
from .parser import Commands
from .progress import Progress
from .text import plain

if TYPE_CHECKING:
    from ..ports import Rewrapped
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
    parser = group.command(
        "rewrap",
        rewrap,
        help="encrypt everything in the store again under the current key",
        description="Encrypt every secret in the store again under the first key of NOTIFYKIT_KEYS, and those that "
        "were stored before secrets were encrypted at all. It can run beside traffic, be stopped and be run again. "
        "Exit code 0 means that the other keys are not needed any more, once every process has the new first key.",
        example="NOTIFYKIT_KEYS=new-1f…:…,old-9c…:… notifykit keys rewrap\nnotifykit keys rewrap --dry-run",
    )
    parser.add_argument("--dry-run", action="store_true", help="only count what would be encrypted again")


def generate(context: Context) -> int:
    """Print a new key."""
    from ..vault import KeyRing

    ring = KeyRing.generate(context.args.name)
    context.out.answer({"id": ring.current, "keys": ring.text()}, ring.text())
    return OK


async def rewrap(context: Context) -> int:
    """Encrypt everything again under the current key."""
    from ..ports import Rekeys

    dry = bool(context.args.dry_run)
    progress = Progress("notifykit")
    async with context.open() as kit:
        if not isinstance(kit.store, Rekeys):
            raise UsageError("this store keeps nothing that outlives it; give --url sqlite:///… or postgresql://…")
        done = await kit.store.rewrap(
            dry_run=dry,
            progress=lambda done: progress.show(f"{done.endpoints:,} endpoints read, {done.rows:,} rows encrypted"),
        )
    progress.clear()
    unreadable = dict(sorted(done.unreadable.items()))
    context.out.answer(
        {"key": done.key, "rows": done.rows, "dry_run": dry, "missed": done.missed, "unreadable": unreadable},
        _told(done, dry=dry),
    )
    for key_id, count in unreadable.items():
        context.out.note(f"notifykit: {_problem(key_id, count)}")
    if done.missed:
        context.out.note(f"notifykit: {done.missed:,} rows were being changed all the time; run this again")
    return FAILED if unreadable or done.missed or (dry and done.rows) else OK


def _told(done: Rewrapped, *, dry: bool) -> str:
    if dry:
        return f"{done.rows:,} rows are not encrypted under the key {done.key}"
    return f"{done.rows:,} rows encrypted again under the key {done.key}"


def _problem(key_id: str, count: int) -> str:
    from ..ports import TAMPERED

    if key_id == TAMPERED:
        return f"{count:,} rows do not open: somebody changed them; they were left as they are"
    return (
        f"{count:,} rows need the key {plain(key_id)!r}: add it behind the others in NOTIFYKIT_KEYS and run this again"
    )
