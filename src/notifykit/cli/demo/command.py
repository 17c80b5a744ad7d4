"""The command ``notifykit demo``: its options, its store, and its end."""

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
        help="see it work: publish, deliver, retry and verify, for real",
        description="Publish sample events of three tenants, deliver them with a dispatcher in a process of its own to "
        "four HTTP receivers on this machine (one healthy, one flaky, one broken, one slow), verify every signature, "
        "and count. Exit code 0 only if everyone got what they should. The store is a file in a temporary folder, "
        "which stays for a look around. With --url it is yours: use an empty database, never one in production.",
        example="notifykit demo\nnotifykit demo --count 2000 --rate 500\n"
        "notifykit demo --events my-events.jsonl --keep demo.db",
    )
    parser.add_argument(
        "--events", metavar="FILE.jsonl", help="other events: objects with 'type' and 'data' (or 'payload')"
    )
    parser.add_argument("--count", type=inputs.positive, default=COUNT, metavar="N", help=f"how many ({COUNT})")
    parser.add_argument(
        "--rate", type=inputs.rate, metavar="N", help=f"events per second ({RATE:.0f}, or all in {LONGEST:.0f} s)"
    )
    parser.add_argument("--seed", type=inputs.count, default=1, metavar="N", help="another seed, another order (1)")
    parser.add_argument("--keep", metavar="FILE", help="keep the SQLite store there instead")


def demo(context: Context) -> int:
    """Run the demo."""
    if not context.verbose:  # that a key is made for a store of a few seconds is no news
        logging.getLogger("notifykit").setLevel(logging.ERROR)
    try:
        report, url = asyncio.run(_until_terminated(context))
    except asyncio.CancelledError:
        return TERMINATED
    if report.problems:
        raise CommandError(f"the demo found problems ({'; '.join(report.problems)}); look into its store: {url}")
    return OK


async def _until_terminated(context: Context) -> tuple[Report, str]:
    """Run the show; a SIGTERM ends it as cleanly as a Ctrl-C does.

    The folder is made in here, where a Ctrl-C cancels and never comes between two statements.
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
    from .cast import ROLES
    from .show import Show
    from .stands import open_stands

    args = context.args
    with open_stands(ROLES) as stands:
        show = Show(
            context.out,
            url=url,
            own_store=own_store,
            events=args.events,
            count=args.count,
            rate=args.rate or max(RATE, args.count / LONGEST),
            seed=args.seed,
            stands=stands,
            verbose=context.verbose,
        )
        return await show.run()


def _store(context: Context) -> tuple[str, Path | None, bool]:
    """Return the store's URL, the folder that was made for it, and whether the store is the demo's own."""
    from ...stores.sql.sqlite.url import url_of

    given, keep = context.given_url, context.args.keep
    if given is not None:
        if keep is not None:
            raise UsageError("--keep is for the demo's own store; leave it out, or leave out --url")
        if context.is_in_memory:
            raise UsageError("the dispatcher runs in a process of its own, which a memory store cannot share")
        return given, None, False
    if keep is not None:
        file = Path(keep).absolute()
        if file.exists():
            raise CommandError(f"{keep} exists; give --keep a new name, or remove it")
        return url_of(str(file)), None, True
    folder = Path(tempfile.mkdtemp(prefix="notifykit-demo-"))
    return url_of(str(folder / "demo.db")), folder, True
