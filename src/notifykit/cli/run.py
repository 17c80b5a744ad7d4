"""``notifykit run``: run the dispatcher, in this process or in several."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import INTERRUPTED, OK, UsageError
from .metrics import Metrics, add_option, metrics_of
from .parser import Commands
from .serving import run_fast, serve
from .text import plain

if TYPE_CHECKING:
    from ..dispatch.settings import DispatchSettings
    from .context import Context

LANES = ("high", "normal", "low")
ROLES = ("plan", "relay", "send", "clean")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "run",
        run,
        help="run the dispatcher: deliver published events",
        description="Run the dispatcher until SIGTERM or Ctrl-C; then it claims nothing more and finishes the attempts "
        "in progress. A second signal ends it at once; nothing is lost, because another worker takes over when the "
        "leases run out. With --processes above 1 a supervisor runs the workers and restarts one that crashes.",
        example="notifykit run --url postgresql://app@db.internal/app --processes 2 -v\n"
        "notifykit run --concurrency high=64,low=16 --batch 200",
    )
    parser.add_argument("--processes", type=inputs.positive, default=1, metavar="N", help="worker processes (1)")
    parser.add_argument(
        "--concurrency",
        type=_concurrency,
        metavar="LANE=N,…",
        help="concurrent attempts in each lane of a process (high=128,normal=384,low=64), or one number for all lanes",
    )
    parser.add_argument("--batch", type=inputs.positive, metavar="N", help="the most rows in a statement (500)")
    parser.add_argument(
        "--prefetch", type=inputs.positive, metavar="N", help="the most claims in memory in each lane (1500)"
    )
    parser.add_argument("--lease", type=inputs.duration, metavar="TIME", help="how long a claim is valid (60s)")
    parser.add_argument("--poll", type=inputs.duration, metavar="TIME", help="how often to ask the store for work (1s)")
    parser.add_argument(
        "--grace", type=inputs.duration, metavar="TIME", help="how long a stop waits for attempts in progress (20s)"
    )
    parser.add_argument(
        "--retention", type=inputs.duration, metavar="TIME", help="how long ended deliveries are kept (30d)"
    )
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        dest="channels",
        metavar="URL",
        help="deliver over this channel, too, such as toy://; repeatable (NOTIFYKIT_CHANNELS)",
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="what carries tickets of due deliveries to workers, such as redis://localhost (NOTIFYKIT_BROKER)",
    )
    parser.add_argument(
        "--hold",
        type=inputs.duration,
        metavar="TIME",
        help="with a broker, when a delivery whose ticket was lost is handed over again (30s)",
    )
    parser.add_argument(
        "--roles", type=_roles, metavar="ROLE,…", help="the roles of these processes (plan,relay,send,clean)"
    )
    add_option(parser)


def _concurrency(text: str) -> dict[str, int]:
    try:
        if "=" not in text:
            return dict.fromkeys(LANES, inputs.positive(text))
        given = dict(inputs.pair(part.strip()) for part in text.split(","))
        if unknown := given.keys() - set(LANES):
            raise argparse.ArgumentTypeError(f"no lane {', '.join(map(plain, sorted(unknown)))}")
        return {lane: inputs.positive(number) for lane, number in given.items()}
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like high=64,normal=128 or 100") from error


def _roles(text: str) -> frozenset[str]:
    roles = frozenset(part.strip() for part in text.split(","))
    if not roles <= set(ROLES):
        raise argparse.ArgumentTypeError(f"{plain(text)!r} is not a list of {', '.join(ROLES)}")
    return roles


def settings_of(args: Any) -> DispatchSettings:
    """Return the settings that the options describe."""
    from ..dispatch.settings import DispatchSettings
    from ..models.delivery import Priority

    names = ("batch", "prefetch", "lease", "hold", "poll", "grace", "retention", "roles")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.batch is not None and args.prefetch is None:
        given["prefetch"] = max(args.batch, DispatchSettings().prefetch)
    if args.concurrency is not None:
        chosen = {Priority(lane): number for lane, number in args.concurrency.items()}
        given["concurrency"] = {**DispatchSettings().concurrency, **chosen}
    if given.get("poll") == timedelta(0):
        raise UsageError("--poll must be longer than 0; the default is 1s")
    if given.get("hold") == timedelta(0):
        raise UsageError("--hold must be longer than 0; the default is 30s")
    return DispatchSettings(**given)


def run(context: Context) -> int:
    """Run the dispatcher."""
    settings = settings_of(context.args)
    kit = context.kit(create=True)  # reports invalid options before anything starts
    if settings.roles == {"relay"} and kit.new_broker() is None:
        raise UsageError("--roles relay does nothing without a broker: give --broker or NOTIFYKIT_BROKER")
    metrics = metrics_of(context.args.metrics)
    if context.args.processes == 1:
        return run_fast(_run_here(context, settings, metrics))
    return asyncio.run(_supervise(context, settings, metrics))


async def _run_here(context: Context, settings: DispatchSettings, metrics: Metrics | None) -> int:
    stop = asyncio.Event()
    signals = Signals(stop.set, die)
    with signals:
        kit = context.kit(create=True, subscribers=[] if metrics is None else [metrics.subscriber])
        await serve(kit, settings, ready=lambda: _ready(context, [os.getpid()]), stop=stop, metrics=metrics)
    return signals.exit_code


async def _supervise(context: Context, settings: DispatchSettings, metrics: Metrics | None) -> int:
    from .supervisor import Supervisor
    from .worker import encode

    async with context.open(create=True):
        pass  # creates the tables once, and reports an unavailable store once
    orders = encode(
        context.url,
        context.egress(),
        settings,
        context.verbose,
        context.channels(),
        broker=context.broker,
        metrics=None if metrics is None else metrics.address._replace(ports=context.args.processes),
    )
    supervisor = Supervisor(orders, context.args.processes, context.out.note)
    signals = Signals(supervisor.stop, supervisor.kill)
    with signals:
        await supervisor.run(lambda: _ready(context, supervisor.pids))
    return signals.exit_code


def _ready(context: Context, pids: list[int]) -> None:
    workers = "1 worker" if len(pids) == 1 else f"{len(pids)} workers"
    context.out.answer(
        {"ready": True, "pids": pids, "url": context.shown_url},
        f"notifykit: {workers} ready (pid {', '.join(map(str, pids))}) on {context.shown_url}; Ctrl-C to stop",
    )


class Signals:
    """Handles SIGTERM and SIGINT inside a block.

    Args:
        drain: Called at the first signal.
        kill: Called at the second.
    """

    def __init__(self, drain: Callable[[], None], kill: Callable[[], None]) -> None:
        self._drain = drain
        self._kill = kill
        self._first: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """The exit code after an orderly stop: 130 for Ctrl-C, and 0 for SIGTERM, with which services are stopped."""
        return INTERRUPTED if self._first is signal.SIGINT else OK

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._take, number)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def _take(self, number: signal.Signals) -> None:
        if self._first is None:
            self._first = number
            self._drain()
        else:
            self._kill()


def die() -> None:
    """End this process now with SIGTERM's default action."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
