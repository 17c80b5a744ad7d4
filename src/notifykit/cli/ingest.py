"""``notifykit ingest``: turn messages of a broker into events."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .failures import UsageError
from .parser import Commands
from .run import Signals, die
from .serving import run_fast
from .text import plain

if TYPE_CHECKING:
    from ..ingest import Ingest, Mapper
    from ..kit import Notifykit
    from .context import Context


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "ingest",
        run,
        help="turn messages of a broker into events",
        description="Read a topic until SIGTERM or Ctrl-C, and publish an event for each message. A message is "
        "acknowledged when its event is durable, and becomes one event however often it comes. What cannot become an "
        "event goes to the dead letters of the topic, with the reason. Texts may have places: {order.id} stands for a "
        "value of the message, a JSON object, {@key} for its key.",
        example="notifykit ingest kafka://broker:9092 --topic orders --type 'order.{status}' --tenant '{shop}'\n"
        "notifykit ingest redis+stream://queue --topic orders --map shop.events:from_message\n"
        "notifykit ingest 'sqs://?region=eu-west-1' --topic orders --type order.placed --tenant acme",
    )
    parser.add_argument(
        "source", metavar="URL", help="the broker: kafka://, redis+stream://, amqp://, nats:// or sqs://"
    )
    parser.add_argument("--topic", required=True, metavar="NAME", help="the topic, stream, queue or subject")
    parser.add_argument("--type", metavar="TYPE", help="the type of the events")
    parser.add_argument("--event-topic", metavar="PATH", help="the topic of the events")
    parser.add_argument("--to", metavar="RECIPIENT", help="the recipient who is told")
    parser.add_argument("--data", metavar="PATH", help="what becomes the data; the whole message by default")
    parser.add_argument("--map", metavar="MODULE:FUNCTION", help="a function that makes the event of a message")
    parser.add_argument("--group", default="notifykit", metavar="NAME", help="the consumer group (notifykit)")


def run(context: Context) -> int:
    """Read and publish until a signal comes."""
    kit = context.kit(create=True)
    mapper = None if context.args.map is None else _function(context.args.map)
    ingest = _ingest(context, kit, mapper)
    return run_fast(_run(context, kit, ingest))


def _ingest(context: Context, kit: Notifykit, mapper: Mapper | None) -> Ingest:
    args = context.args
    if (args.type is None) == (mapper is None):
        raise UsageError("give either --type, or --map with a function that makes the events")
    if mapper is not None and (args.event_topic or args.to or args.data):
        raise UsageError("--event-topic, --to and --data go with --type; with --map the function decides")
    return kit.ingest(
        args.source,
        topic=args.topic,
        type=args.type,
        tenant=context.tenant,
        event_topic=args.event_topic,
        to=args.to,
        data=args.data,
        map=mapper,
        group=args.group,
    )


def _function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # the console script leaves it out
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # whatever the host's module raises
        raise UsageError(
            f"--map {plain(name)}: {type(error).__name__}: {error}; write module:function, of a module that can be "
            "imported in this folder"
        ) from error


async def _run(context: Context, kit: Notifykit, ingest: Ingest) -> int:
    stop = asyncio.Event()
    signals = Signals(stop.set, die)
    with signals:
        async with kit:
            reading = asyncio.create_task(ingest.run(), name="notifykit-ingest")
            reading.add_done_callback(lambda _: stop.set())  # it ends by itself only with an error
            context.out.answer({"ready": True, "pid": os.getpid()}, f"notifykit: reading {plain(context.args.topic)}")
            await stop.wait()
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.result()
    context.out.note(f"{ingest.published} messages became events, {ingest.buried} are dead letters")
    return signals.exit_code
