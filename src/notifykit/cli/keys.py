"""``notifykit keys``: the keys with which secrets in the store are encrypted."""

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
    group = commands.group("keys", help="encryption keys for secrets in the store: generate, rewrap")
    parser = group.command(
        "generate",
        generate,
        help="generate a key for NOTIFYKIT_KEYS",
        description="Generate a key and print it in the format of NOTIFYKIT_KEYS. To rotate, put the new key before "
        "the others, separated by a comma: the first key encrypts, all of them decrypt. Needs no store. Keep the key "
        "where you keep passwords: without it the secrets in the store are lost.",
        example='export NOTIFYKIT_KEYS="$(notifykit keys generate)"\nnotifykit keys generate --name 2026q1',
    )
    parser.add_argument("--name", default="k", help="the prefix of its id: letters, digits and hyphens (k)")
    parser = group.command(
        "rewrap",
        rewrap,
        help="encrypt everything in the store again with the current key",
        description="Encrypt every secret in the store again with the first key of NOTIFYKIT_KEYS, including secrets "
        "that were stored unencrypted. It can run during normal operation, be stopped, and be run again. After exit "
        "code 0 the other keys are no longer needed, if every process has the new first key.",
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
    """Encrypt everything again with the current key."""
    from ..ports import Rekeys

    dry = bool(context.args.dry_run)
    progress = Progress("notifykit")
    async with context.open() as kit:
        if not isinstance(kit.store, Rekeys):
            raise UsageError("this store encrypts nothing; give --url sqlite:///…, postgresql://… or redis://…")
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
        context.out.note(f"notifykit: {done.missed:,} rows were changed at the same time; run this again")
    return FAILED if unreadable or done.missed or (dry and done.rows) else OK


def _told(done: Rewrapped, *, dry: bool) -> str:
    if dry:
        return f"{done.rows:,} rows are not encrypted with the key {done.key}"
    return f"{done.rows:,} rows encrypted again with the key {done.key}"


def _problem(key_id: str, count: int) -> str:
    from ..ports import TAMPERED

    if key_id == TAMPERED:
        return f"{count:,} rows cannot be decrypted: they were changed in the database; they were left as they are"
    return (
        f"{count:,} rows need the key {plain(key_id)!r}: add it after the others in NOTIFYKIT_KEYS and run this again"
    )
