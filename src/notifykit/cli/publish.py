"""``notifykit publish``: one event from the command line, or many from a file."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import inputs
from .failures import OK, CommandError, UsageError
from .parser import Commands
from .progress import Progress
from .text import plain

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..models.event import Event, Receipt
    from .context import Context

#: Events of one transaction.
BATCH = 500

_TEXTS = ("topic", "actor", "trace", "ordering_key", "idempotency_key", "priority")
_TIMES = ("occurred_at", "deliver_at", "expires_at")
_LISTS = ("to", "channels")
_KNOWN = {"type", "data", "payload", "tenant", "resource", "metadata", "key", "version", *_TEXTS, *_TIMES, *_LISTS}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "publish",
        publish,
        help="publish an event, or many from a file",
        description="Publish one event and print its id, or publish every line of a file. A line is an object with "
        "'type' and 'data' (or 'payload'), and optionally topic, key, to, channels, resource, priority, actor, "
        "metadata, ordering_key, occurred_at, deliver_at, expires_at; other fields are ignored.",
        example="""notifykit publish order.shipped '{"order_id": "A-1"}' --topic shop/7/order/A-1 --key ship-A-1\n"""
        "notifykit publish invoice.created @invoice.json --deliver-at +30m\n"
        "notifykit publish --jsonl events.jsonl",
    )
    parser.add_argument("type", nargs="?", metavar="TYPE", help="words separated by full stops: order.shipped")
    parser.add_argument("data", nargs="?", metavar="DATA", help="a JSON object, @FILE, or - for stdin ({})")
    parser.add_argument("--jsonl", metavar="FILE", help="publish each line of a file; - for stdin")
    parser.add_argument(
        "--skip", type=inputs.count, default=0, metavar="N", help="with --jsonl: skip the first N lines"
    )
    parser.add_argument("--topic", help="a path that subscriptions can match: shop/7/order/A-1")
    parser.add_argument("--key", help="idempotency key: publishing again with the same key does nothing")
    parser.add_argument("--to", action="append", metavar="RECIPIENT", help="a person who is told; repeatable")
    parser.add_argument(
        "--channel", action="append", dest="over", metavar="NAME", help="tell people only over it; repeatable"
    )
    parser.add_argument("--resource", type=inputs.resource, metavar="KIND:ID", help="what the event is about")
    parser.add_argument("--actor", help="the user or program that caused it")
    parser.add_argument(
        "--metadata", type=inputs.pair, action="append", metavar="KEY=VALUE", help="stored, not sent; repeatable"
    )
    parser.add_argument("--priority", choices=("high", "normal", "low"), help="its lane (normal)")
    parser.add_argument("--ordering-key", metavar="KEY", help="events with the same key are sent in order")
    parser.add_argument("--trace", metavar="TRACEPARENT", help="a W3C traceparent")
    parser.add_argument("--occurred-at", type=inputs.past_time, metavar="TIME", help="when it happened (now)")
    parser.add_argument("--deliver-at", type=inputs.future_time, metavar="TIME", help="deliver not before: +30m")
    parser.add_argument("--expires-at", type=inputs.future_time, metavar="TIME", help="deliver not after: +1d")


async def publish(context: Context) -> int:
    """Publish one event or many."""
    args = context.args
    if args.jsonl is not None:
        if args.data is not None or args.type is not None or args.key is not None:
            raise UsageError("--jsonl takes types, data and keys from the file; leave out TYPE, DATA and --key")
        return await _publish_file(context)
    if args.type is None:
        raise UsageError("no event was given; give TYPE and DATA, or --jsonl FILE (see: notifykit publish --help)")
    from ..models.event import Event

    data = {} if args.data is None else inputs.read_object(args.data, "DATA")
    async with context.open(create=True) as kit:
        receipt = await kit.apublish(
            Event(type=args.type, data=data), **_options(args, context.tenant), idempotency_key=args.key
        )
    context.out.answer(_receipt(receipt), _told(receipt, args.type))
    return OK


def _options(args: Any, tenant: str) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "topic": args.topic,
        "to": args.to,
        "channels": args.over,
        "resource": args.resource,
        "actor": args.actor,
        "metadata": None if args.metadata is None else dict(args.metadata),
        "priority": args.priority,
        "ordering_key": args.ordering_key,
        "trace": args.trace,
        "occurred_at": args.occurred_at,
        "deliver_at": args.deliver_at,
        "expires_at": args.expires_at,
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"event_id": receipt.event_id, "duplicate": receipt.duplicate}


def _told(receipt: Receipt, type_: str) -> str:
    if receipt.duplicate:
        return f"{receipt.event_id} was published before with this key; nothing was stored"
    return f"{receipt.event_id} published ({plain(type_)})"


# -- files ---------------------------------------------------------------------------------------


class _Line(NamedTuple):
    number: int
    event: Event


async def _publish_file(context: Context) -> int:
    source = context.args.jsonl
    options = _options(context.args, context.tenant)
    progress = Progress("notifykit")
    published = duplicates = 0
    ignored: set[str] = set()
    started = time.monotonic()
    with _opened(source) as lines:
        async with context.open(create=True) as kit:
            for batch, failure in _batches(lines, context.args.skip, ignored):
                receipts, refused = await _store(kit, batch, options)
                published += len(receipts)
                duplicates += sum(receipt.duplicate for receipt in receipts)
                for receipt in receipts:
                    context.out.record(_receipt(receipt))
                progress.show(f"{published:,} events published")
                if problem := refused or failure:
                    progress.clear()
                    raise _stopped(source, problem, published)
    progress.clear()
    if ignored:
        context.out.note(f"notifykit: fields ignored: {', '.join(plain(name) for name in sorted(ignored))}")
    took = max(time.monotonic() - started, 1e-9)
    known = f", {duplicates:,} of them duplicates" if duplicates else ""
    context.out.line(f"{published:,} events published{known} in {took:.1f} s ({published / took:,.0f}/s)")
    return OK


class _Problem(NamedTuple):
    number: int
    text: str


def _stopped(source: str, problem: _Problem, published: int) -> CommandError:
    return CommandError(
        f"{plain(source)}, line {problem.number}: {problem.text}; the {published} events before it were published: "
        f"correct the line and continue with --skip {problem.number - 1}"
    )


@contextlib.contextmanager
def _opened(source: str) -> Iterator[Iterable[str | bytes]]:
    if source == "-":
        yield getattr(sys.stdin, "buffer", sys.stdin)
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(source).open("rb"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read {plain(source)}: {inputs.unreadable(error)}; give --jsonl FILE, or - for stdin"
            ) from error
        yield file


def _batches(
    lines: Iterable[str | bytes], skip: int, ignored: set[str]
) -> Iterator[tuple[list[_Line], _Problem | None]]:
    """Yield the events of the file in groups; the last group comes with the problem of the next line."""
    batch: list[_Line] = []
    for number, line in enumerate(lines, 1):
        if number <= skip or not line.strip():
            continue
        try:
            text = line.decode("utf-8") if isinstance(line, bytes) else line
            batch.append(_Line(number, _event(text, ignored)))
        except UnicodeDecodeError as error:
            yield batch, _Problem(number, inputs.unreadable(error))
            return
        except (ValueError, RecursionError) as error:
            yield batch, _Problem(number, plain(error))
            return
        if len(batch) == BATCH:
            yield batch, None
            batch = []
    if batch:
        yield batch, None


def _event(line: str, ignored: set[str]) -> Event:
    """Return the event that a line describes.

    Raises:
        ValueError: The line is not an event.
    """
    from ..models.event import Event, Resource

    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise ValueError("an object with 'type' and 'data' (or 'payload') is needed")
    data = found.get("data", found.get("payload"))
    if not isinstance(data, dict):
        raise ValueError("'data' (or 'payload') must be an object")
    ignored |= found.keys() - _KNOWN
    given = {name: found[name] for name in (*_TEXTS, *_LISTS, "tenant", "version") if found.get(name) is not None}
    if found.get("key") is not None:
        given["idempotency_key"] = found["key"]
    given |= {name: inputs.read_time(_text(found[name])) for name in _TIMES if found.get(name) is not None}
    if found.get("metadata") is not None:
        given["metadata"] = found["metadata"]
    if found.get("resource") is not None:
        given["resource"] = Resource(*_resource(found["resource"]))
    if "priority" in given:
        given["priority"] = _priority(given["priority"])
    return Event(type=found["type"], data=data, **given)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a time must be a string")
    return value


def _resource(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        kind, _, id_ = value.partition(":")
        return kind, id_
    if isinstance(value, dict) and value.keys() == {"kind", "id"}:
        return value["kind"], value["id"]
    raise ValueError('\'resource\' must be "kind:id" or {"kind": …, "id": …}')


def _priority(value: object) -> Any:
    from ..models.delivery import Priority

    try:
        return Priority(value)  # type: ignore[arg-type] # a file may contain any value
    except ValueError:
        raise ValueError(f"'priority' must be one of {', '.join(Priority)}") from None


async def _store(
    kit: Notifykit, batch: Sequence[_Line], options: dict[str, Any]
) -> tuple[list[Receipt], _Problem | None]:
    """Publish a group; if an event is refused, publish those before it and return its problem."""
    from ..errors import IdempotencyConflictError, InvalidEventError

    if not batch:
        return [], None
    try:
        return await kit.apublish_many([_own(line.event, options) for line in batch], **_common(options)), None
    except (InvalidEventError, IdempotencyConflictError):
        pass
    receipts = []
    for line in batch:
        try:
            receipts.append(await kit.apublish(_own(line.event, options), **_common(options)))
        except (InvalidEventError, IdempotencyConflictError) as error:
            return receipts, _Problem(line.number, plain(error))
    return receipts, None


def _own(event: Event, options: dict[str, Any]) -> Event:
    """Return the event with the tenant of the command line unless the line names one."""
    import attrs

    return event if event.tenant is not None else attrs.evolve(event, tenant=options["tenant"])


def _common(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the command line for all events; each event has its own tenant."""
    return {name: value for name, value in options.items() if name != "tenant" and value is not None}
