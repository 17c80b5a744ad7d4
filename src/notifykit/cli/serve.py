"""``notifykit serve``: the REST API, with a dispatcher beside it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from ..environment import ENVIRONMENT, JWKS_URL, JWT_AUDIENCE, JWT_ISSUER, KEYS, LIMITS, ORIGINS
from . import inputs
from .failures import CommandError, UsageError
from .metrics import add_option, metrics_of
from .parser import Commands
from .run import Signals, die
from .serving import collect_seldom, drop_dead_peers, open_many_files, run_fast
from .text import plain

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..web import JwtAccess, RequestLimits
    from .context import Context

PORT = 8400
#: Seconds for which a stop waits for requests; streams are ended then.
_GRACE = 5
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
#: Bytes of a message of a WebSocket's client, which has nothing to say.
_MAX_MESSAGE = 1024


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "serve",
        serve,
        help="serve the REST API, and deliver what is published",
        description="Serve the REST API until SIGTERM or Ctrl-C, with a dispatcher in the same process unless other "
        "processes run it. Requests need an API key: notifykit api-keys create. The reference is at /docs.",
        example="notifykit serve\nnotifykit serve --url postgresql://app@db.internal/app --host 0.0.0.0 --no-dispatch",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where it listens (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=inputs.port, default=PORT, help=f"the port; 0 means any free port ({PORT})")
    parser.add_argument("--no-dispatch", action="store_true", help="deliver nothing: notifykit run does it elsewhere")
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        dest="origins",
        metavar="URL",
        help=f"a site whose pages may call it; repeatable ({ORIGINS})",
    )
    parser.add_argument("--name", default="Notifications", help="what the pages are called (Notifications)")
    parser.add_argument("--accent", default="#0b57d0", metavar="COLOUR", help="the colour of the pages (#0b57d0)")
    parser.add_argument(
        "--embedded-in",
        action="append",
        default=[],
        metavar="URL",
        help="a site whose pages may show the portal in a frame; repeatable (none)",
    )
    parser.add_argument(
        "--limits",
        type=request_limits,
        metavar="WHOSE=N,…",
        help="requests that are accepted: a second (key=50, tenant=500, person=20) with a burst (key=50:200), or from "
        f"midnight to midnight UTC (key-day=100000, tenant-day=1000000) ({LIMITS}; person=20:100)",
    )
    parser.add_argument(
        "--proxy",
        type=_proxy,
        action="append",
        default=[],
        dest="proxies",
        metavar="ADDRESS",
        help="a reverse proxy whose X-Forwarded-For is believed; repeatable (none)",
    )
    add_option(parser)


@inputs.argument
def _proxy(text: str) -> str:
    try:
        if text != "*":
            ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{plain(text)!r} is not an address; write it like 10.0.0.7 or 10.0.0.0/8") from None
    return text


def serve(context: Context) -> int:
    """Serve the API."""
    context.kit(create=True)  # reports invalid options before anything starts
    return run_fast(_serve(context))


async def _serve(context: Context) -> int:
    from ..web import PageOptions, create_app

    args = context.args
    listed = [site.strip() for site in os.environ.get(ORIGINS, "").split(",") if site.strip()]
    metrics = metrics_of(args.metrics)
    kit = context.kit(create=True, subscribers=[] if metrics is None else [metrics.subscriber])
    app = create_app(
        kit,
        jwt=_jwt(),
        limits=_limits(args.limits),
        origins=[*listed, *args.origins],
        dispatch=not args.no_dispatch,
        pages=PageOptions(name=args.name, accent=args.accent, embedded_in=args.embedded_in),
    )
    open_many_files()
    server = _server(app, args)
    signals = Signals(lambda: setattr(server, "should_exit", True), die)
    measured = contextlib.nullcontext() if metrics is None else metrics.serving(kit)
    # The server does not open the kit itself: its errors would be tracebacks.
    with signals:
        async with measured, app.router.lifespan_context(app):
            await _answer(context, kit, server)
    return signals.exit_code


async def _answer(context: Context, kit: Notifykit, server: Any) -> None:
    """Answer requests until the server is told to exit."""
    serving = asyncio.create_task(server.serve(), name="notifykit-serve")
    try:
        while not (server.started or serving.done()):
            await asyncio.sleep(0.01)
        if server.started and not server.should_exit:
            collect_seldom()
            drop_dead_peers(server.servers[0].sockets[0])
            _tell(context, kit, server)
    except BaseException:
        server.should_exit = True
        raise
    finally:
        await serving


def _links(context: Context, kit: Notifykit, url: str) -> dict[str, str]:
    """Return where the pages are; in development links that open them, since whoever reads them runs the server."""
    from ..models.access import OPERATORS, Role

    named = os.environ.get(ENVIRONMENT, "").strip().lower()
    is_development = named == "development" or (not named and not os.environ.get(KEYS))
    if not (is_development and context.args.host in _THIS_MACHINE):
        return {"portal": f"{url}/portal", "operations": f"{url}/operations"}
    options: dict[str, Any] = {"expires_in": timedelta(hours=1), "lasts": timedelta(hours=8), "base_url": url}
    return {
        "portal": kit.portal_links.url(tenant=context.tenant, **options),
        "operations": kit.portal_links.url(tenant=OPERATORS, role=Role.OPERATOR, **options),
    }


def _tell(context: Context, kit: Notifykit, server: Any) -> None:
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://{context.args.host}:{port}"
    links = _links(context, kit, url)
    context.out.answer(
        {"ready": True, "api": url, "url": context.shown_url, **links},
        f"notifykit: API on {url}, its reference on {url}/docs, data in {context.shown_url}; Ctrl-C to stop",
    )
    context.out.lines(f"notifykit: {name}: {link}" for name, link in links.items())


def _server(app: Any, args: Any) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        """A server that leaves signals to the command."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: Any = None) -> None:
            """Listen; raise an error of the command where uvicorn ends the process."""
            log = logging.getLogger("uvicorn.error")
            log.disabled = True  # the command reports the error
            try:
                await super().startup(sockets)
            except (SystemExit, OSError, ValueError) as error:
                cause = error.__context__ if isinstance(error, SystemExit) else error
                raise inputs.cannot_listen(args.host, args.port, cause) from cause
            finally:
                log.disabled = False

    config = uvicorn.Config(
        app,
        host=args.host,
        port=args.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(args.proxies),
        forwarded_allow_ips=args.proxies,
        timeout_graceful_shutdown=_GRACE,
        ws_max_size=_MAX_MESSAGE,
        ws_per_message_deflate=False,  # the buffers of a stream that compresses take more than all of the rest of it
    )
    return Server(config)


@inputs.argument
def request_limits(text: str) -> RequestLimits:
    """Read ``key=50:200,tenant-day=100000``."""
    from ..models.endpoint import RateLimit
    from ..web import RequestLimits

    found: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        whose, _, number = part.partition("=")
        try:
            if whose in ("key-day", "tenant-day"):
                found[f"{whose.removesuffix('-day')}_per_day"] = inputs.positive(number)
            elif whose in ("key", "tenant", "person"):
                rate, _, burst = number.partition(":")
                each = inputs.rate(rate)
                found[whose] = RateLimit(per_second=each, burst=inputs.positive(burst) if burst else math.ceil(each))
            else:
                raise ValueError("it is none of key, tenant, person, key-day, tenant-day")
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise ValueError(f"{plain(part)!r}: {error}; write it like key=50:200,tenant-day=100000") from None
    return RequestLimits(**found)


def _limits(given: RequestLimits | None) -> RequestLimits | None:
    """Return the limits of the command line, or of the environment."""
    text = os.environ.get(LIMITS, "")
    try:
        return given or (request_limits(text) if text.strip() else None)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{LIMITS}: {error}") from None


def _jwt() -> JwtAccess | None:
    """Return which tokens are accepted, as the environment says."""
    from ..web import JwtAccess

    given = {name: os.environ.get(name, "").strip() for name in (JWT_ISSUER, JWT_AUDIENCE, JWKS_URL)}
    if not any(given.values()):
        return None
    if missing := [name for name, value in given.items() if not value]:
        raise CommandError(f"to accept JSON Web Tokens set {', '.join(missing)} as well")
    return JwtAccess(issuer=given[JWT_ISSUER], audience=given[JWT_AUDIENCE], jwks_url=given[JWKS_URL])
