"""The command ``notifykit demo``: its options, its store, and its exit code."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .. import inputs
from ..failures import OK, CommandError, UsageError
from ..parser import Commands

if TYPE_CHECKING:
    from ..context import Context
    from .report import Report

COUNT = 240
#: Events per second, unless publishing would take longer than this many seconds.
RATE, LONGEST = 60.0, 4.0
TERMINATED = 143


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "demo",
        demo,
        help="publish, deliver, retry and verify sample events with real processes",
        description="Publish sample events of three tenants, deliver them with a dispatcher in a separate process to "
        "four HTTP receivers on this machine (one healthy, one flaky, one broken, one slow), verify every signature, "
        "tell six people by e-mail and in their inboxes, send text messages through a simulated vendor that reports "
        "what became of them, and count. Exit code 0 only if all of them got what they "
        "should. The store is a file in a temporary folder, which is kept for you to explore. With --url "
        "the demo uses your own database: give an empty one, never one in production.",
        example="notifykit demo\nnotifykit demo --count 2000 --rate 500\n"
        "notifykit demo --events my-events.jsonl --keep demo.db",
    )
    parser.add_argument(
        "--events", metavar="FILE.jsonl", help="publish these: objects with 'type' and 'data' (or 'payload')"
    )
    parser.add_argument("--count", type=inputs.positive, default=COUNT, metavar="N", help=f"number of events ({COUNT})")
    parser.add_argument(
        "--rate", type=inputs.rate, metavar="N", help=f"events per second ({RATE:.0f}, or all in {LONGEST:.0f} s)"
    )
    parser.add_argument(
        "--seed", type=inputs.count, default=1, metavar="N", help="seed for the order of the events (1)"
    )
    parser.add_argument("--keep", metavar="FILE", help="the path of the SQLite store (a temporary folder)")


def demo(context: Context) -> int:
    """Run the demo."""
    if not context.verbose:  # the warning about a development key does not matter here
        logging.getLogger("notifykit").setLevel(logging.ERROR)
    try:
        report, url = asyncio.run(_until_terminated(context))
    except asyncio.CancelledError:
        return TERMINATED
    if report.problems:
        raise CommandError(f"the demo found problems ({'; '.join(report.problems)}); its store is {url}")
    return OK


async def _until_terminated(context: Context) -> tuple[Report, str]:
    """Run the demo; a SIGTERM ends it like a Ctrl-C.

    The folder is created here, because a Ctrl-C can cancel this task only at an ``await``.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    url, folder, own = _store(context)
    done = False
    try:
        report = await _show(context, url, own)
        done = True
    finally:
        if folder is not None and not done:
            shutil.rmtree(folder, ignore_errors=True)
        loop.remove_signal_handler(signal.SIGTERM)
    return report, url


async def _show(context: Context, url: str, own_store: bool) -> Report:
    from ...testing.vendors import TwilioServer
    from .mail import open_mailbox
    from .receivers import open_receivers
    from .runner import Demo
    from .scenario import ROLES

    args = context.args
    with (
        tempfile.TemporaryDirectory() as caught,
        open_mailbox(Path(caught)) as mail,
        open_receivers(ROLES) as receivers,
        TwilioServer() as vendor,
    ):
        show = Demo(
            context.out,
            url=url,
            own_store=own_store,
            events=args.events,
            count=args.count,
            rate=args.rate or max(RATE, args.count / LONGEST),
            seed=args.seed,
            receivers=receivers,
            mail=mail,
            vendor=vendor,
            verbose=context.verbose,
        )
        return await show.run()


def _store(context: Context) -> tuple[str, Path | None, bool]:
    """Return the store's URL, the folder that was created for it, and whether the store belongs to the demo."""
    from ...stores.sql.sqlite.url import url_of

    given, keep = context.given_url, context.args.keep
    if given is not None:
        if keep is not None:
            raise UsageError("--keep is the path of the demo's own store; leave it out, or leave out --url")
        if context.is_in_memory:
            raise UsageError("the dispatcher runs in a separate process, which cannot share a memory store")
        return given, None, False
    if keep is not None:
        file = Path(keep).absolute()
        if file.exists():
            raise CommandError(f"{keep} exists; give --keep another path, or remove the file")
        return url_of(str(file)), None, True
    folder = Path(tempfile.mkdtemp(prefix="notifykit-demo-"))
    return url_of(str(folder / "demo.db")), folder, True
