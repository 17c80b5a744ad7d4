"""``notifykit providers``: which accounts carry messages to people, whether they work, and a test message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .failures import FAILED, NOT_FOUND, OK, CommandError, UsageError
from .parser import Commands, Parser
from .text import Cell, Column, plain

if TYPE_CHECKING:
    from ..channels.routed import Member
    from ..kit import Notifykit
    from ..models.circuit import OpenCircuit
    from ..models.messages import Message
    from ..models.outcome import Outcome
    from .context import Context

_CHANNELS = ("email", "sms", "push", "chat")
_OPERATOR, _TENANT = "operator", "tenant"
_TEXT = "This is a test message. The provider works."


class _Listed(NamedTuple):
    """An account of a channel.

    Attributes:
        owner: Whose it is: the operator's, for all tenants without one of their own, or the tenant's.
    """

    channel: str
    owner: str
    member: Member


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("providers", help="the accounts that carry messages to people: list, check, try")
    parser = group.command(
        "list",
        list_,
        help="list the accounts of each channel",
        description="List the provider accounts of each channel in the order in which they are used, with their "
        "weights and circuits: those of NOTIFYKIT_EMAIL, NOTIFYKIT_SMS, NOTIFYKIT_PUSH and NOTIFYKIT_CHAT, and those "
        "that the tenant has itself.",
        example="notifykit providers list\nnotifykit providers list --tenant acme --json",
    )
    _add_channel(parser)
    parser = group.command(
        "check",
        check,
        help="log in to each account, without sending anything",
        description="Log in to each provider account, without sending anything. An account whose provider has no "
        "request for that is skipped. The exit code is 1 if one cannot be used.",
        example="notifykit providers check\nnotifykit providers check email",
    )
    _add_channel(parser)
    parser = group.command(
        "test-send",
        test_send,
        help="send a test message to an address",
        description="Send a test message to an address over one account, past the queue, and show what the provider "
        "answers. Nothing is recorded. By default it is the account that the tenant's messages begin with.",
        example="notifykit providers test-send email ada@example.org\n"
        "notifykit providers test-send sms +4915123456789 --provider vonage",
    )
    parser.add_argument("channel", choices=_CHANNELS, help="email, sms, push or chat")
    parser.add_argument("address", metavar="ADDRESS", help="a mailbox, a telephone number, …")
    parser.add_argument("--provider", metavar="NAME", help="the account, as listed, or how its name begins")


def _add_channel(parser: Parser) -> None:
    parser.add_argument("channel", nargs="?", choices=_CHANNELS, help="only of this channel")


async def list_(context: Context) -> int:
    """List accounts."""
    async with context.open() as kit:
        found = await _listed(context, kit)
        circuits = {each.key: each for each in await kit.store.circuits()}
    columns = [Column("CHANNEL"), Column("PROVIDER"), Column("OF"), Column("WEIGHT", right=True), Column("CIRCUIT")]
    rows = [
        (each.channel, each.member.provider.account, each.owner, _weight(each.member), _circuit(each.member, circuits))
        for each in found
    ]
    if not rows:
        context.out.line("No provider: set NOTIFYKIT_EMAIL, NOTIFYKIT_SMS, NOTIFYKIT_PUSH or NOTIFYKIT_CHAT to a URL.")
    context.out.rows((_record(each, circuits) for each in found), columns, rows)
    return OK


async def check(context: Context) -> int:
    """Log in to accounts."""
    from ..errors import ConfigurationError
    from ..ports import ChecksConnection

    code = OK
    async with context.open() as kit:
        for channel, owner, member in await _listed(context, kit):
            provider, state = member.provider, "skipped"
            said = f"{provider.account}, which has no request to check it with: try test-send"
            if isinstance(provider, ChecksConnection):
                try:
                    state, said = "ok", await provider.check()
                except ConfigurationError as error:
                    code, state, said = FAILED, "failed", str(error)
            record = {"channel": channel, "provider": provider.account, "of": owner, "state": state, "said": said}
            context.out.answer(record, f"{channel:<8}{state:<9}{plain(said)}")
            await member.channel.aclose()
    return code


async def test_send(context: Context) -> int:
    """Send a test message."""
    from ..errors import InvalidInputError

    args = context.args
    async with context.open() as kit:
        found = [each.member for each in await _listed(context, kit)]
    wanted = [each for each in found if args.provider is None or each.provider.account.startswith(args.provider)]
    if not wanted:
        known = ", ".join(each.provider.account for each in found) or f"none: set NOTIFYKIT_{args.channel.upper()}"
        raise CommandError(f"there is no such provider for {args.channel}; there is: {known}", NOT_FOUND)
    try:
        outcome = await _sent(wanted[0], args.address, context.tenant)
    except InvalidInputError as error:
        raise UsageError(str(error)) from None
    account = wanted[0].provider.account
    name, answer = type(outcome).__name__.lower(), outcome.answer
    reason, said = getattr(outcome, "reason", None), answer.body.decode("utf-8", "replace").strip()
    record = {
        "provider": account,
        "outcome": name,
        "reason": reason,
        "status": answer.status,
        "reference": answer.reference,
        "response": said,
    }
    told = [name, reason, answer.reference and f"reference {answer.reference}", name != "accepted" and said[:500]]
    context.out.answer(record, plain(f"{account}: {', '.join(str(part) for part in told if part)}"))
    return OK if name == "accepted" else FAILED


async def _sent(member: Member, address: str, tenant: str) -> Outcome:
    from datetime import UTC, datetime, timedelta

    from ..models.delivery import Claim, Priority
    from ..models.ids import EVENT, new_id

    now, channel = datetime.now(UTC), member.channel
    claim = Claim(
        *(new_id("dlv_"), 1, 1, 0, 0, tenant, new_id(EVENT), "notifykit.test", "", "test", channel.name),
        *(Priority.HIGH, None, now, None, now + timedelta(minutes=5), b"{}", 0),
    )
    destination = channel.destination(tenant=tenant, subscriber_id="test", address=channel.check_address(address))
    try:
        return await member.provider.send(_message(channel.name), claim, destination, now=now)
    finally:
        await channel.aclose()


def _message(channel: str) -> Message:
    from ..models.messages import ChatMessage, EmailMessage, PushMessage, SmsMessage

    made: dict[str, Message] = {
        "email": EmailMessage(subject="Test message", text=_TEXT),
        "sms": SmsMessage(text=_TEXT),
        "push": PushMessage(title="Test message", body=_TEXT),
        "chat": ChatMessage(text=_TEXT),
    }
    return made[channel]


async def _listed(context: Context, kit: Notifykit) -> list[_Listed]:
    """Return the tenant's own accounts, and then those of the operator."""
    from ..channels import routed_channel
    from ..channels.accounts import accounts_of
    from ..models.provider_account import ProviderAccount
    from ..models.unreadable import UnreadableProviderAccount

    wanted: str | None = context.args.channel
    found: list[_Listed] = []
    for account in await kit.store.page(ProviderAccount, context.tenant, limit=len(_CHANNELS)):
        if isinstance(account, UnreadableProviderAccount):
            context.out.note(f"{account.id}: the tenant's own account cannot be read; the log says why")
        elif wanted in (None, account.id):
            made = routed_channel(account.id, accounts_of(account.url))
            found += [_Listed(account.id, _TENANT, member) for member in made.members]
    return found + [each for each in _of_operator(kit) if wanted in (None, each.channel)]


def _of_operator(kit: Notifykit) -> Iterator[_Listed]:
    from ..channels.routed import RoutedChannel

    for channel in kit.channels:
        if isinstance(channel, RoutedChannel):
            for member in channel.members:
                yield _Listed(channel.name, _OPERATOR, member)


def _weight(member: Member) -> str:
    weight = member.health.options.weight
    return "-" if weight is None else f"{weight:g}"


def _circuit(member: Member, circuits: dict[str, OpenCircuit]) -> Cell:
    from . import views

    found = circuits.get(member.provider.account)
    if found is None:
        return Cell("closed", "green")
    return Cell(f"open since {views.clock(found.since)}: {found.reason}", "red")


def _record(each: _Listed, circuits: dict[str, OpenCircuit]) -> dict[str, Any]:
    from . import views

    options, circuit = each.member.health.options, circuits.get(each.member.provider.account)
    return {
        "channel": each.channel,
        "provider": each.member.provider.account,
        "of": each.owner,
        "weight": options.weight,
        "costs": {country: str(cost) for country, cost in options.costs.items()},
        "circuit": None
        if circuit is None
        else {
            "since": views.instant(circuit.since),
            "probe_at": views.instant(circuit.probe_at),
            "reason": circuit.reason,
        },
    }
