"""``notifykit api-keys``: the keys of the REST API."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK, UsageError
from .paging import collect, note_more
from .parser import Commands
from .text import Column, plain

if TYPE_CHECKING:
    from ..admin import IssuedKey
    from ..models.access import ApiKey
    from .context import Context

_ROLES = ("producer", "viewer", "tenant_admin", "operator")


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("api-keys", help="keys of the REST API: create, list, rotate, revoke")
    parser = group.command(
        "create",
        create,
        help="create a key and print its secret",
        description="Create a key of the tenant and print its secret, which is not stored and not shown again. A "
        "producer publishes, a viewer reads, a tenant_admin does everything in the tenant, and an operator does "
        "everything in every tenant.",
        example="notifykit api-keys create --tenant acme --role producer --name shop\n"
        "notifykit api-keys create --role operator --name ops --expires-in 90d",
    )
    parser.add_argument("--role", choices=_ROLES, required=True, help="what the key is for")
    parser.add_argument("--name", default="", help="what people call it")
    parser.add_argument(
        "--scope", action="append", default=[], dest="scopes", help="only this of what the role may do; repeatable"
    )
    parser.add_argument("--expires-in", type=inputs.duration, metavar="TIME", help="when it ends (never)")
    parser = group.command(
        "list",
        list_,
        help="list the tenant's keys",
        description="List the keys of the tenant in the order of their creation; --operators lists those of operators.",
        example="notifykit api-keys list --tenant acme",
    )
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")
    _add_operators(parser)
    parser = group.command(
        "rotate",
        rotate,
        help="give a key a new secret",
        description="Give a key a new secret and print it. The current one stays valid for a day, or as long as said.",
        example="notifykit api-keys rotate key_01J… --overlap 1h",
    )
    parser.add_argument("key", metavar="KEY", help="its id: key_…")
    parser.add_argument(
        "--overlap", type=inputs.duration, default=timedelta(days=1), metavar="TIME", help="up to 7d (1d)"
    )
    _add_operators(parser)
    parser = group.command(
        "revoke",
        revoke,
        help="remove a key",
        description="Remove a key: its secrets and access tokens open nothing any more, within five seconds.",
        example="notifykit api-keys revoke key_01J…",
    )
    parser.add_argument("key", metavar="KEY", help="its id: key_…")
    _add_operators(parser)


def _add_operators(parser: Any) -> None:
    parser.add_argument("--operators", action="store_true", help="it is about keys of operators, not of the tenant")


def _owner(context: Context) -> str:
    return "" if context.args.operators else context.tenant


async def create(context: Context) -> int:
    """Create a key and print its secret."""
    from ..models.access import AccessScope

    args = context.args
    if unknown := [scope for scope in args.scopes if scope not in tuple(AccessScope)]:
        raise UsageError(f"there is no scope {plain(unknown[0])}; there are {', '.join(AccessScope)}")
    async with context.open(create=True) as kit:
        issued = await kit.api_keys.create(
            tenant="" if args.role == "operator" else context.tenant,
            role=args.role,
            name=args.name,
            scopes=args.scopes,
            expires_at=None if args.expires_in is None else kit.clock.now() + args.expires_in,
        )
    return _show(context, issued)


async def list_(context: Context) -> int:
    """List keys."""
    owner, limit = _owner(context), context.args.limit
    async with context.open() as kit:

        async def page(size: int, after: str | None) -> Any:
            return await kit.api_keys.list(tenant=owner, limit=size, after=after)

        found, more = await collect(page, limit)
    if not found:
        context.out.line(f"There are no keys of {f'tenant {plain(owner)}' if owner else 'operators'}.")
    columns = (Column("id"), Column("role"), Column("name"), Column("secret"), Column("expires"), Column("last used"))
    context.out.rows([_record(key) for key in found], columns, [_row(key) for key in found])
    note_more(context.out, more, limit)
    return OK


async def rotate(context: Context) -> int:
    """Give a key a new secret."""
    async with context.open() as kit:
        issued = await kit.api_keys.rotate(context.args.key, tenant=_owner(context), overlap=context.args.overlap)
    return _show(context, issued)


async def revoke(context: Context) -> int:
    """Remove a key."""
    key = context.args.key
    async with context.open() as kit:
        await kit.api_keys.revoke(key, tenant=_owner(context))
    context.out.answer({"id": key, "revoked": True}, f"{plain(key)} is revoked")
    return OK


def _show(context: Context, issued: IssuedKey) -> int:
    context.out.answer({**_record(issued.key), "secret": issued.secret}, f"{issued.key.id}\n{issued.secret}")
    context.out.note("notifykit: keep the secret now, it is not shown again")
    return OK


def _record(key: ApiKey) -> dict[str, Any]:
    from ..codec import unstructure

    shown = unstructure(key)
    return {name: value for name, value in shown.items() if name not in ("secrets", "version")}


def _row(key: ApiKey) -> list[object]:
    return [
        key.id,
        key.role.value,
        key.name,
        key.hint,
        "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}",
        "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}",
    ]
