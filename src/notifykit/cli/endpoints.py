"""``notifykit endpoints``: manage the endpoints of a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import endpoint_check, endpoint_secrets, endpoint_test, inputs
from .failures import OK, UsageError
from .paging import collect, note_more
from .parser import Commands, Parser
from .subscriptions import note_warnings
from .text import Cell, Column, fields, plain

if TYPE_CHECKING:
    from ..models.endpoint import RateLimit
    from ..models.retry import RetryPolicy
    from .context import Context


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("endpoints", help="the endpoints of a tenant: create, change, pause, test")
    parser = group.command(
        "list",
        list_,
        help="list the tenant's endpoints",
        description="List the tenant's endpoints, oldest first.",
        example="notifykit endpoints list --tenant acme",
    )
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")
    _add_create(group)
    _add_show_and_update(group)
    for name, handler, help, reason in (
        ("pause", pause, "hold deliveries; none is lost and no attempt is used", True),
        ("resume", resume, "deliver again; held deliveries are due at once", False),
        ("disable", disable, "stop deliveries; waiting ones are cancelled, new ones recorded as suppressed", True),
        ("delete", delete, "delete an endpoint with its subscriptions; waiting deliveries are cancelled", False),
    ):
        parser = group.command(
            name,
            handler,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            example=f"notifykit endpoints {name} end_01J…",
        )
        parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
        if reason:
            parser.add_argument("--reason", help="shown with the endpoint and its deliveries")
    endpoint_secrets.add(group)
    endpoint_test.add(group)
    endpoint_check.add(group)


def _add_create(group: Commands) -> None:
    parser = group.command(
        "create",
        create,
        help="create an endpoint and print its signing secret",
        description="Create an endpoint and print its signing secret, which the receiver needs to verify signatures. "
        "With --events, subscribe the endpoint in the same step.",
        example="notifykit endpoints create https://acme.example/hooks --events 'order.*' --tenant acme",
    )
    parser.add_argument("address", metavar="ADDRESS", help="the https://… URL that gets the events")
    parser.add_argument("--secret", help="your own whsec_… or whsk_…; generated if not given")
    parser.add_argument(
        "--events", action="append", metavar="PATTERN", help="subscribe it to: order.shipped, order.*, order.**, **"
    )
    parser.add_argument("--topic", metavar="PATTERN", help="with --events: only topics like shop/7/**")
    parser.add_argument("--filter", metavar="JSON", help="with --events: conditions on the data; also @FILE or -")
    _add_settings(parser)


def _add_show_and_update(group: Commands) -> None:
    parser = group.command(
        "show",
        show,
        help="show one endpoint",
        description="Show one endpoint. Secrets and header values are masked unless --secret is given.",
        example="notifykit endpoints show end_01J… --secret",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
    parser.add_argument("--secret", action="store_true", help="print signing secrets and header values in full")
    parser = group.command(
        "update",
        update,
        help="change an endpoint's address or settings",
        description="Change the given settings and keep the others. Waiting deliveries use the new settings.",
        example="notifykit endpoints update end_01J… --address https://acme.example/hooks/v2 --timeout 10s",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
    parser.add_argument("--address", metavar="ADDRESS", help="the new https://…")
    parser.add_argument("--no-headers", action="store_true", help="remove all extra headers")
    _add_settings(parser)


def _add_settings(parser: Parser) -> None:
    parser.add_argument("--description", metavar="TEXT", help="a note that lists show")
    parser.add_argument(
        "--header", type=inputs.header, action="append", metavar="'NAME: VALUE'", help="an extra header; repeatable"
    )
    parser.add_argument("--retry", type=inputs.durations, metavar="TIMES", help="the pauses: 5s,5m,30m,2h; or none")
    parser.add_argument("--timeout", type=inputs.duration, metavar="TIME", help="the deadline of one attempt (15s)")
    parser.add_argument(
        "--max-in-flight", type=inputs.positive, metavar="N", help="concurrent attempts of each process (64)"
    )
    parser.add_argument(
        "--rate-limit",
        type=inputs.rate_limit,
        metavar="N[,BURST]",
        help="attempts a second of all processes together, and the burst (none)",
    )


async def list_(context: Context) -> int:
    """List endpoints."""
    from . import views

    limit = context.args.limit
    async with context.open() as kit:
        found, more = await collect(
            lambda size, after: kit.endpoints.list(tenant=context.tenant, limit=size, after=after), limit
        )
    columns = [Column("ENDPOINT"), Column("STATE"), Column("ADDRESS"), Column("REASON", wraps=True)]
    rows = [(e.id, views.state(e.state), e.url, e.state_reason or e.description) for e in found]
    if not found:
        tenant = plain(context.tenant)
        context.out.line(f"Tenant {tenant} has no endpoints; create one: notifykit endpoints create ADDRESS")
    context.out.rows(map(views.endpoint, found), columns, rows)
    note_more(context.out, more, limit)
    return OK


async def create(context: Context) -> int:
    """Create an endpoint, and subscribe it if patterns were given."""
    from . import views

    args = context.args
    if (args.topic or args.filter) and not args.events:
        raise UsageError("--topic and --filter belong to a subscription; add --events PATTERN")
    options: dict[str, Any] = {**_settings(args), "secret": args.secret}
    given = {name: value for name, value in options.items() if value is not None}
    async with context.open(create=True) as kit:
        if args.events:
            subscription, endpoint = await kit.subscribe(
                args.events,
                tenant=context.tenant,
                endpoint=args.address,
                topic=args.topic,
                filter=None if args.filter is None else inputs.read_object(args.filter, "--filter"),
                **given,
            )
        else:
            subscription, endpoint = None, await kit.endpoints.create(args.address, tenant=context.tenant, **given)
        warnings = (
            () if subscription is None else await kit.subscriptions.warnings(subscription.id, tenant=context.tenant)
        )
    secret = endpoint.secrets[0].value
    record = views.endpoint(endpoint, reveal=True)
    if subscription is not None:
        record["subscription"] = views.subscription(subscription, warnings)
    context.out.record(record)
    context.out.line(f"Created {endpoint.id} -> {plain(endpoint.url)}")
    context.out.lines(_shown_secret(secret))
    if subscription is not None:
        context.out.line(f"Subscribed with {subscription.id}: {plain(views.conditions(subscription))}")
    else:
        context.out.line(f"Subscribe it: notifykit subscriptions create 'order.*' --endpoint {endpoint.id}")
    note_warnings(context.out, warnings)
    return OK


def _shown_secret(secret: str) -> list[str]:
    if secret.startswith("whsk_"):
        from ..signing import public_key

        return [f"The receiver verifies with {public_key(secret)}", f"Signing key: {secret}"]
    return [f"The receiver verifies with {secret}"]


async def show(context: Context) -> int:
    """Show an endpoint with its subscriptions."""
    from . import views

    reveal = context.args.secret
    async with context.open() as kit:
        endpoint = await kit.endpoints.get(context.args.endpoint, tenant=context.tenant)
        subscriptions = await kit.subscriptions.list(tenant=context.tenant, endpoint_id=endpoint.id, limit=100)
    context.out.record(
        {
            **views.endpoint(endpoint, reveal=reveal),
            "subscriptions": [views.subscription(subscription) for subscription in subscriptions],
        }
    )
    context.out.lines(fields(views.endpoint_fields(endpoint, reveal=reveal)))
    context.out.line()
    if not subscriptions:
        context.out.line("It has no subscriptions, so it gets only test events.")
    elif not context.out.json:
        rows = [
            (s.id, Cell("on", "green") if s.enabled else Cell("off", "red"), views.conditions(s)) for s in subscriptions
        ]
        context.out.rows([], [Column("SUBSCRIPTION"), Column("STATE"), Column("EVENTS", wraps=True)], rows)
    return OK


async def update(context: Context) -> int:
    """Change an endpoint."""
    args = context.args
    changes = {"url": args.address, **_settings(args)}
    if args.no_headers:
        if args.header:
            raise UsageError("--header and --no-headers exclude each other; give one of them")
        changes["headers"] = {}
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise UsageError("nothing to change; see: notifykit endpoints update --help")
    return await _changed(
        context, "updated", lambda kit: kit.endpoints.update(args.endpoint, tenant=context.tenant, **given)
    )


async def pause(context: Context) -> int:
    """Pause an endpoint."""
    return await _changed(
        context, "paused", lambda kit: kit.endpoints.pause(context.args.endpoint, **_arguments(context, reason=True))
    )


async def resume(context: Context) -> int:
    """Resume an endpoint."""
    return await _changed(
        context, "resumed", lambda kit: kit.endpoints.resume(context.args.endpoint, **_arguments(context))
    )


async def disable(context: Context) -> int:
    """Disable an endpoint."""
    return await _changed(
        context,
        "disabled",
        lambda kit: kit.endpoints.disable(context.args.endpoint, **_arguments(context, reason=True)),
    )


async def _changed(context: Context, done: str, change: Any) -> int:
    from . import views

    async with context.open() as kit:
        endpoint = await change(kit)
    context.out.answer(
        views.endpoint(endpoint), f"{endpoint.id} {done}: {plain(endpoint.url)} is {endpoint.state.value}"
    )
    return OK


def _arguments(context: Context, *, reason: bool = False) -> dict[str, Any]:
    given = {"tenant": context.tenant}
    if reason and context.args.reason:
        given["reason"] = context.args.reason
    return given


async def delete(context: Context) -> int:
    """Delete an endpoint."""
    endpoint_id = context.args.endpoint
    async with context.open() as kit:
        await kit.endpoints.delete(endpoint_id, tenant=context.tenant)
    context.out.answer({"id": endpoint_id, "deleted": True}, f"{endpoint_id} deleted")
    return OK


def _settings(args: Any) -> dict[str, Any]:
    return {
        "description": args.description,
        "headers": None if args.header is None else dict(args.header),
        "retry": None if args.retry is None else _policy(args.retry),
        "timeout": args.timeout,
        "max_in_flight": args.max_in_flight,
        "rate_limit": None if args.rate_limit is None else _rate_limit(*args.rate_limit),
    }


def _rate_limit(per_second: float, burst: int) -> RateLimit:
    from ..models.endpoint import RateLimit

    return RateLimit(per_second=per_second, burst=burst)


def _policy(delays: Any) -> RetryPolicy:
    from ..models.retry import RetryPolicy

    try:
        return RetryPolicy(delays=delays)
    except ValueError as error:
        raise UsageError(f"--retry: {error}; write it like 5s,5m,30m,2h") from error
