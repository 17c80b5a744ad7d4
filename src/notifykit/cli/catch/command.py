"""The command ``notifykit catch`` and the server of its page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import webbrowser
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .. import inputs
from ..failures import OK, CommandError
from ..parser import Commands
from ..receiver import Receiver, Reply, Request
from ..text import plain
from .tail import Tail

if TYPE_CHECKING:
    from ..context import Context
    from .vendors import CaughtVendor

PORT = 8425
#: Those that report what becomes of a message.
_VENDORS = ("mailgun", "postmark", "sendgrid", "twilio", "vonage")
#: How often the file is read, and how long a request for new messages waits for one, in seconds.
POLL, PATIENCE = 0.2, 20.0
#: What a page may be; a message's own HTML has a stricter rule, and no scripts.
_PAGE = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'"
_MESSAGE = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: https:"
_ASSETS = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "catch",
        catch,
        help="show what people's channels would have sent, in a browser",
        description="Open a page on this machine with every e-mail, text message, push and inbox row that the catcher "
        "took, newest first and live. A dispatcher whose e-mail URL is catch:// writes messages into a file in its "
        "working directory in place of sending them. With --vendor simulated vendors listen as well: what they take is "
        "shown, an address names what happens to its messages, and receipts are signed as the vendor signs.",
        example="notifykit catch\n"
        "NOTIFYKIT_EMAIL=catch:// notifykit run              # in another terminal, in the same folder\n"
        "notifykit catch --file /tmp/caught.jsonl --no-browser\n"
        "notifykit catch --vendor twilio --receipts http://127.0.0.1:8000/receipts",
    )
    parser.add_argument("--file", metavar="FILE", help="the catcher's file (notifykit-caught.jsonl)")
    parser.add_argument(
        "--vendor",
        action="append",
        choices=_VENDORS,
        default=[],
        help="simulate this vendor: its messages are shown, too; may be repeated",
    )
    parser.add_argument(
        "--receipts", type=inputs.http_url, metavar="URL", help="where simulated vendors post receipts: URL/VENDOR"
    )
    parser.add_argument("--port", type=inputs.port, default=PORT, help=f"the port; 0 means any free port ({PORT})")
    parser.add_argument("--no-browser", action="store_true", help="print the page's address only")


async def catch(context: Context) -> int:
    """Serve the page until Ctrl-C."""
    from ...channels.catcher import DEFAULT_FILE

    args = context.args
    file = _file(args.file or DEFAULT_FILE)
    page = Page(Tail(file))
    try:
        async with Receiver(page.handle, port=args.port) as receiver:
            page.port = receiver.port
            url = f"http://127.0.0.1:{receiver.port}/"
            with contextlib.ExitStack() as serving:
                vendors = _simulated(args.vendor, file, args.receipts)
                for vendor in vendors:
                    serving.enter_context(vendor.server)
                _say(context, url, file, vendors)
                if not args.no_browser:
                    await asyncio.to_thread(webbrowser.open, url)
                await asyncio.gather(page.follow(), *(vendor.follow() for vendor in vendors))
    except OSError as error:
        raise CommandError(
            f"cannot show {plain(str(file))} on port {args.port}: {inputs.unreadable(error)}; try another --port"
        ) from error
    return OK


def _simulated(names: Sequence[str], file: Path, receipts: str | None) -> list[CaughtVendor]:
    if not names:
        return []
    from ...channels.catcher import Catcher
    from .vendors import CaughtVendor

    return [CaughtVendor(name, Catcher(file), receipts) for name in dict.fromkeys(names)]


def _say(context: Context, url: str, file: Path, vendors: Sequence[CaughtVendor]) -> None:
    simulated = {
        vendor.name: {"provider": vendor.server.provider_url, "receipt_secret": vendor.secret} for vendor in vendors
    }
    context.out.record({"page": url, "file": str(file), **({"vendors": simulated} if simulated else {})})
    context.out.line(f"Messages from {plain(str(file))} are shown on {url}; Ctrl-C to stop.")
    for vendor in vendors:
        context.out.line(f"Simulated {vendor.name}; its receipts are verified with {vendor.secret}:")
        context.out.line(f"  export {vendor.variable}={shlex.quote(vendor.server.provider_url)}")


def _file(name: str) -> Path:
    file = Path(name).absolute()
    if "\0" in name or file.is_dir() or not file.parent.is_dir():
        raise CommandError(f"{plain(str(file))} cannot be a file of messages; give --file the path of one")
    return file


class Page:
    """Answers the requests of the page.

    Attributes:
        port: Where it listens.  Requests under another host's name are refused: a page elsewhere may have its own
            name resolve to this machine.
    """

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._changed = asyncio.Condition()
        self.port = 0

    async def follow(self) -> None:
        """Read the file for ever."""
        while True:
            if self._tail.read():
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(POLL)

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        host = dict(request.headers).get(b"host", b"").decode("ascii", "replace")
        if host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            return _reply("this page is only for this machine", status=403)
        if request.method != "GET":
            return _reply("only GET", status=405)
        path, _, query = request.path.partition("?")
        if path in _ASSETS:
            name, kind = _ASSETS[path]
            return _reply(files(__package__).joinpath(name).read_text("utf-8"), kind, csp=_PAGE)
        if path == "/messages":
            return await self._messages(parse_qs(query))
        if path.startswith("/html/"):
            return self._html(path.removeprefix("/html/"))
        return _reply("there is no such page", status=404)

    async def _messages(self, query: Mapping[str, list[str]]) -> Reply:
        """Return the messages after a number, or wait for one."""
        after = _number(query.get("after", ["0"])[0])
        if after is None:
            return _reply("after: a number is needed", status=400)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(lambda: self._tail.after(after))
        found = self._tail.after(after)
        return _reply(json.dumps({"messages": found, "bad_lines": self._tail.bad}), "application/json")

    def _html(self, number: str) -> Reply:
        wanted = _number(number)
        message = None if wanted is None else self._tail.get(wanted)
        html = message and message["message"].get("html")
        if not isinstance(html, str):
            return _reply("this message has no HTML", status=404)
        return _reply(html, "text/html", csp=_MESSAGE)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _reply(body: str, kind: str = "text/plain", *, status: int = 200, csp: str = "default-src 'none'") -> Reply:
    return Reply(
        status,
        body.encode(errors="replace"),
        (
            (b"content-type", f"{kind}; charset=utf-8".encode()),
            (b"content-security-policy", csp.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
        ),
    )
