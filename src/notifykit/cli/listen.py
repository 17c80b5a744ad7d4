"""``notifykit listen``: receive webhooks on this machine, verify them, and show them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from . import inputs
from .failures import FAILED, OK, UsageError
from .forward import Forwarded, Forwarder, local_url
from .parser import Commands
from .receiver import Receiver, Reply, Request
from .text import plain, styled

if TYPE_CHECKING:
    from ..signing import Verifier
    from .context import Context

PORT = 8400
#: The most lines of an event's data that are shown.
_SHOWN_LINES = 30


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "listen",
        listen,
        help="receive webhooks on this machine, verify and show them",
        description="Listen on this machine, verify the signature of each webhook, and show it. Without --secret, "
        "signatures are not verified. With --secret, a request that fails verification is answered with 401. With "
        "--forward-to, each request is forwarded to your program, with its headers and its exact body, and the "
        "program's response is shown and returned.",
        example="notifykit listen --secret whsec_…\n"
        "notifykit listen --port 9000 --status 503              # a receiver that is down\n"
        "notifykit listen --secret whsec_… --fail-first 2       # fails twice for each event, then accepts it\n"
        "notifykit listen --forward-to http://localhost:8000/webhooks",
    )
    parser.add_argument("--port", type=inputs.port, default=PORT, help=f"the port; 0 means any free port ({PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument(
        "--secret", action="append", metavar="SECRET", help="whsec_… or whpk_…; repeatable while secrets rotate"
    )
    parser.add_argument("--status", type=_status, metavar="CODE", help="the status of responses (200)")
    parser.add_argument(
        "--forward-to",
        type=local_url,
        metavar="URL",
        help="forward each request to exactly this URL, and return its response",
    )
    parser.add_argument(
        "--fail-first",
        type=inputs.count,
        default=0,
        metavar="N",
        help="answer the first N attempts of each event with 503",
    )
    parser.add_argument("--delay", type=inputs.duration, metavar="TIME", help="wait before each response: 200ms")
    parser.add_argument("--count", type=inputs.positive, metavar="N", help="stop after N requests")


@inputs.argument
def _status(text: str) -> int:
    if not (len(text) == 3 and text.isascii() and text.isdigit() and 200 <= int(text) <= 599):
        raise ValueError(f"{plain(text)!r} is not an HTTP status from 200 to 599")
    return int(text)


async def listen(context: Context) -> int:
    """Receive until Ctrl-C, or until ``--count`` requests have arrived."""
    from ..signing import Verifier

    args = context.args
    if args.forward_to and args.status:
        raise UsageError("--forward-to returns the response of your program, --status a fixed one; give only one")
    forwarder = None if args.forward_to is None else Forwarder(args.forward_to)
    listener = _Listener(context, Verifier(args.secret) if args.secret else None, forwarder)
    try:
        async with forwarder or nullcontext(), Receiver(listener.handle, host=args.host, port=args.port) as receiver:
            _explain(context, receiver.port)
            await listener.enough.wait()
    except (OSError, ValueError) as error:
        raise inputs.cannot_listen(args.host, args.port, error) from error
    return FAILED if listener.refused else OK


def _explain(context: Context, port: int) -> None:
    args = context.args
    host, block = _reached_at(args.host)
    url = f"http://{host}:{port}/"
    context.out.record({"listening": url, "verifies": bool(args.secret), "forwards_to": args.forward_to})
    if args.forward_to:
        context.out.line(f"Forwarding requests to {plain(args.forward_to)}")
    if args.secret:
        context.out.line(f"Listening on {url} and verifying signatures; Ctrl-C to stop.")
        return
    egress = "--allow-http" + (f" --allow {block}" if block else "")
    context.out.lines(
        [
            f"Listening on {url} without verifying signatures; Ctrl-C to stop.",
            "To subscribe this receiver and deliver to it:",
            f"  notifykit endpoints create {url} --events '**' {egress}",
            f"  notifykit run {egress}",
            "To verify signatures, use the secret that the first command prints:",
            f"  notifykit listen --port {port} --secret whsec_…",
        ]
    )


def _reached_at(host: str) -> tuple[str, str | None]:
    """Return the host for the URL of a listener on this machine, and the block that egress rules must allow for it."""
    from ..channels.webhook.addresses import block_of

    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - it is compared, not bound
        host = "127.0.0.1"
    block = block_of("127.0.0.1" if host == "localhost" else host)
    return f"[{host}]" if ":" in host else host, block


class _Listener:
    """Handles requests and shows them.

    Attributes:
        enough: Set when ``--count`` requests have arrived.
        refused: How many requests failed verification.
    """

    def __init__(self, context: Context, verifier: Verifier | None, forwarder: Forwarder | None) -> None:
        self._context = context
        self._verifier = verifier
        self._forwarder = forwarder
        self._attempts: Counter[str] = Counter()
        self._requests = 0
        self.enough = asyncio.Event()
        self.refused = 0

    async def handle(self, request: Request) -> Reply:
        """Verify and show a request, and return the response."""
        args = self._context.args
        received_at = datetime.now(UTC)
        if args.delay is not None:
            await asyncio.sleep(args.delay.total_seconds())
        verdict = self._verdict(request)
        event_id = dict(request.headers).get(b"webhook-id", b"").decode("ascii", "replace")
        self._attempts[event_id] += 1
        attempt = self._attempts[event_id]
        forwarded = None
        if verdict not in (None, "verified"):
            self.refused += 1
            reply = Reply(401)
        elif attempt <= args.fail_first:
            reply = Reply(503)
        elif self._forwarder is None:
            reply = Reply(args.status or 200)
        else:
            forwarded = await self._forwarder.send(request)
            reply = forwarded.reply
        self._show(_Arrival(request, received_at, event_id, attempt, verdict), reply.status, forwarded)
        self._requests += 1
        if args.count is not None and self._requests >= args.count:
            asyncio.get_running_loop().call_later(0.05, self.enough.set)  # after the response is sent
        return reply

    def _verdict(self, request: Request) -> str | None:
        """Return ``verified``, the reason why not, or ``None`` if there is no key."""
        from ..signing import VerificationError

        if self._verifier is None:
            return None
        try:
            self._verifier.verify(request.body, request.headers)
        except VerificationError as error:
            return error.reason
        return "verified"

    def _show(self, arrival: _Arrival, status: int, forwarded: Forwarded | None) -> None:
        from . import views

        request, at, event_id, attempt, verdict = arrival
        body = _parsed(request.body)
        type_ = body.get("type") if isinstance(body, dict) else None
        out = self._context.out
        out.record(
            {
                **({} if forwarded is None else {"forwarded": _forwarded(forwarded)}),
                "received_at": views.instant(at),
                "path": request.path,
                "event_id": event_id or None,
                "type": type_ if isinstance(type_, str) else None,
                "attempt": attempt,
                "verdict": verdict,
                "status": status,
                "body": body,
            }
        )
        mark = {None: styled("not verified", "yellow"), "verified": styled("verified", "green")}.get(
            verdict, styled(f"refused: {verdict}", "red")
        )
        out.line()
        out.line(
            f"{views.clock(at, millis=True)}  {styled(plain(type_ or '(no type)'), 'bold')}  {plain(event_id or '-')}  "
            f"{mark}  attempt {attempt}  {len(request.body)} bytes  -> {status}"
        )
        if attempt == 1:
            out.lines(_pretty(body))
        if forwarded is not None:
            out.lines(self._response(forwarded))

    def _response(self, forwarded: Forwarded) -> list[str]:
        """Return the program's response as text."""
        from . import views

        assert self._forwarder is not None
        source = f"{plain(self._forwarder.url)} in {views.span(forwarded.took)}"
        if forwarded.error is not None:
            return [styled(f"no response from {source}: {plain(forwarded.error)}", "red")]
        style = "green" if forwarded.reply.status < 300 else "red"
        body = _parsed(forwarded.reply.body)
        return [
            styled(f"{forwarded.reply.status} from {source}", style),
            *(_pretty(body) if forwarded.reply.body else ()),
        ]


class _Arrival(NamedTuple):
    request: Request
    at: datetime
    event_id: str
    attempt: int
    verdict: str | None


def _forwarded(forwarded: Forwarded) -> dict[str, Any]:
    return {
        "status": None if forwarded.error else forwarded.reply.status,
        "took_ms": round(forwarded.took / timedelta(milliseconds=1), 3),
        "body": _parsed(forwarded.reply.body),
        "error": forwarded.error,
    }


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[:2000].decode("utf-8", "replace")


def _pretty(body: Any) -> Sequence[str]:
    shown = body.get("data", body) if isinstance(body, dict) else body
    lines = [f"  {plain(line)}" for line in json.dumps(shown, indent=2, ensure_ascii=False).split("\n")]
    left = len(lines) - _SHOWN_LINES
    return lines if left <= 1 else [*lines[:_SHOWN_LINES], f"  … {left} more lines"]
