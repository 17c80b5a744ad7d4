"""``notifykit endpoints rotate`` and ``revoke``: change signing secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import inputs
from .failures import NOT_FOUND, OK, CommandError
from .parser import Commands

if TYPE_CHECKING:
    from ..models.endpoint import Endpoint
    from .context import Context

#: A shorter ending could match the wrong secret after a typing mistake.
_SHORTEST_ENDING = 4


def add(group: Commands) -> None:
    """Add the commands."""
    parser = group.command(
        "rotate",
        rotate,
        help="add a new signing secret and print it",
        description="Add a new signing secret and print it. During the overlap the current secret signs too, so that "
        "receivers can switch at any moment.",
        example="notifykit endpoints rotate end_01J… --overlap 48h",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
    parser.add_argument("--secret", help="your own whsec_… or whsk_…; generated if not given")
    parser.add_argument("--overlap", type=inputs.duration, metavar="TIME", help="how long both sign, up to 7d (24h)")
    parser = group.command(
        "revoke",
        revoke,
        help="stop signing with a secret at once",
        description="Stop signing with a secret at once. Give its last characters, as 'endpoints show' prints them, so "
        "that the secret need not be on a command line.",
        example="notifykit endpoints revoke end_01J… kQ8=",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
    parser.add_argument("ending", metavar="SECRET", help="the secret, or at least its last four characters")


async def rotate(context: Context) -> int:
    """Add a secret."""
    from . import views

    args = context.args
    options = {} if args.overlap is None else {"overlap": args.overlap}
    async with context.open() as kit:
        endpoint = await kit.endpoints.rotate_secret(
            args.endpoint, tenant=context.tenant, secret=args.secret, **options
        )
    new, *others = endpoint.secrets
    record = views.endpoint(endpoint)
    record["secrets"][0]["value"] = new.value
    context.out.answer(record, f"{endpoint.id} signs with {new.value}")
    for other in others:
        context.out.line(f"Until {views.clock(other.expires_at)} it also signs with {views.masked(other.value)}")
    return OK


async def revoke(context: Context) -> int:
    """Remove a secret."""
    from . import views

    args = context.args
    async with context.open() as kit:
        endpoint = await kit.endpoints.get(args.endpoint, tenant=context.tenant)
        secret = _with_ending(endpoint, args.ending)
        endpoint = await kit.endpoints.revoke_secret(args.endpoint, secret, tenant=context.tenant)
    context.out.answer(
        views.endpoint(endpoint),
        f"{endpoint.id} no longer signs with {views.masked(secret)}; "
        f"it signs with {', '.join(views.masked(kept.value) for kept in endpoint.secrets)}",
    )
    return OK


def _with_ending(endpoint: Endpoint, ending: str) -> str:
    text = ending.rpartition("…")[2]
    found = [s.value for s in endpoint.secrets if len(text) >= _SHORTEST_ENDING and s.value.endswith(text)]
    if len(found) != 1:
        how_many = "several secrets end" if found else "no secret ends"
        raise CommandError(f"{how_many} like that; see them with: notifykit endpoints show {endpoint.id}", NOT_FOUND)
    return found[0]
