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
from .failures import FAILED, OK, CommandError, UsageError
from .forward import Forwarded, Forwarder, local_url
from .parser import Commands
from .receiver import Receiver, Reply, Request
from .text import plain, styled

if TYPE_CHECKING:
    from ..signing import Verifier
    from .context import Context

PORT = 8400
#: How many lines of an event's data are shown.
_SHOWN_LINES = 30


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "listen",
        listen,
        help="receive webhooks on this machine, verify and show them",
        description="Listen on this machine, verify the signature of each webhook that arrives, and show it. Without "
        "--secret signatures are not checked. With --secret, what does not verify is answered with 401. With "
        "--forward-to each request is handed on to your program, with its headers and its exact body, and the "
        "program's answer is shown and given back.",
        example="notifykit listen --secret whsec_…\n"
        "notifykit listen --port 9000 --status 503              # a receiver that is down\n"
        "notifykit listen --secret whsec_… --fail-first 2       # fails twice for each event, then takes it\n"
        "notifykit listen --forward-to http://localhost:8000/webhooks",
    )
    parser.add_argument("--port", type=inputs.port, default=PORT, help=f"0 takes any that is free ({PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument(
        "--secret", action="append", metavar="SECRET", help="whsec_… or whpk_…; repeatable while secrets rotate"
    )
    parser.add_argument("--status", type=_status, metavar="CODE", help="what is answered (200)")
    parser.add_argument(
        "--forward-to",
        type=local_url,
        metavar="URL",
        help="hand each request on to exactly this URL, and give its answer back",
    )
    parser.add_argument(
        "--fail-first",
        type=inputs.count,
        default=0,
        metavar="N",
        help="answer the first N attempts of each event with 503",
    )
    parser.add_argument("--delay", type=inputs.duration, metavar="TIME", help="wait before each answer: 200ms")
    parser.add_argument("--count", type=inputs.positive, metavar="N", help="stop after N requests")


@inputs.argument
def _status(text: str) -> int:
    if not (len(text) == 3 and text.isascii() and text.isdigit() and 200 <= int(text) <= 599):
        raise ValueError(f"{plain(text)!r} is not an HTTP status from 200 to 599")
    return int(text)


async def listen(context: Context) -> int:
    """Receive until Ctrl-C, or until as many requests came as were asked for."""
    from ..signing import Verifier

    args = context.args
    if args.forward_to and args.status:
        raise UsageError("--forward-to gives your program's answer back and --status an answer of its own; give one")
    forwarder = None if args.forward_to is None else Forwarder(args.forward_to)
    desk = _Desk(context, Verifier(args.secret) if args.secret else None, forwarder)
    try:
        async with forwarder or nullcontext(), Receiver(desk.handle, host=args.host, port=args.port) as receiver:
            _explain(context, receiver.port)
            await desk.enough.wait()
    except (OSError, ValueError) as error:  # the second for a host that no resolver takes
        why = inputs.unreadable(error) if isinstance(error, OSError) else "that is no host"
        raise CommandError(
            f"cannot listen on {plain(args.host)}:{args.port}: {why}; try another --port or --host"
        ) from error
    return FAILED if desk.refused else OK


def _explain(context: Context, port: int) -> None:
    args = context.args
    host, block = _reached_at(args.host)
    url = f"http://{host}:{port}/"
    context.out.record({"listening": url, "verifies": bool(args.secret), "forwards_to": args.forward_to})
    if args.forward_to:
        context.out.line(f"What arrives is handed on to {plain(args.forward_to)}")
    if args.secret:
        context.out.line(f"Listening on {url} and verifying; Ctrl-C to stop.")
        return
    egress = "--allow-http" + (f" --allow {block}" if block else "")
    context.out.lines(
        [
            f"Listening on {url}, not verifying; Ctrl-C to stop.",
            "Subscribe it, and deliver to it:",
            f"  notifykit endpoints create {url} --events '**' {egress}",
            f"  notifykit run {egress}",
            "Then verify, with the secret that the first command prints:",
            f"  notifykit listen --port {port} --secret whsec_…",
        ]
    )


def _reached_at(host: str) -> tuple[str, str | None]:
    """Return the host of the URL at which this machine reaches a listener, and the block to let through for it."""
    from ..channels.webhook.addresses import block_of

    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - it is compared, not bound
        host = "127.0.0.1"
    block = block_of("127.0.0.1" if host == "localhost" else host)
    return f"[{host}]" if ":" in host else host, block


class _Desk:
    """Takes requests and shows them.

    Attributes:
        enough: Set once as many requests came as were asked for.
        refused: How many did not verify.
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
        """Judge, show and answer a request."""
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
            asyncio.get_running_loop().call_later(0.05, self.enough.set)  # after the answer is out
        return reply

    def _verdict(self, request: Request) -> str | None:
        """Return ``verified``, why not, or ``None`` if nobody gave us a key."""
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
            out.lines(self._answer(forwarded))

    def _answer(self, forwarded: Forwarded) -> list[str]:
        """Return what the program answered, for people."""
        from . import views

        assert self._forwarder is not None
        whence = f"{plain(self._forwarder.url)} in {views.span(forwarded.took)}"
        if forwarded.error is not None:
            return [styled(f"no answer from {whence}: {plain(forwarded.error)}", "red")]
        style = "green" if forwarded.reply.status < 300 else "red"
        body = _parsed(forwarded.reply.body)
        return [
            styled(f"{forwarded.reply.status} from {whence}", style),
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
    return lines if left <= 1 else [*lines[:_SHOWN_LINES], f"  … {left} lines more"]
