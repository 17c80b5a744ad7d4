"""What a kit is made of: its options, with what each must be, and by default what the environment says."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

import attrs

from .brokers import broker_from_url
from .channels import routed_channel
from .channels.accounts import Account, accounts_of
from .environment import ALLOW, ALLOW_HTTP, ALLOW_NAMES, BROKER, CHANNELS, PROVIDERS, PUBLIC_URL, TEMPLATES, switch
from .errors import ConfigurationError, MissingExtraError
from .models import checks
from .models.checks import field_check, optional
from .models.event import EventType
from .policies.admit import Limits
from .ports import Broker, Channel, Clock, Provider, Store
from .stores import StoreOptions

if TYPE_CHECKING:
    from .channels.webhook import Guard
    from .telemetry import Subscriber
    from .vault import KeyRing


class SystemClock:
    """The clock of the machine.

    Attributes:
        now: Returns the current instant in UTC.  Each delivery asks several times, so the call runs no Python code.
    """

    now = staticmethod(partial(datetime.now, UTC))


#: The most blocks that an operator may let through, and names.
_MAX_BLOCKS = 1000


def _as_tuple(listed: Iterable[str]) -> tuple[str, ...]:
    found: tuple[str, ...] = checks.listed(listed, _MAX_BLOCKS)
    return found


def _listed(variable: str) -> list[str]:
    """Return what an environment variable lists, separated by commas."""
    return [part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()]


def given_channels(given: Iterable[Channel | str] | None) -> tuple[Channel | str, ...]:
    """Return the channels beside webhooks, by default those of the environment.

    Raises:
        ConfigurationError: One is neither a channel nor the URL of one.
    """
    channels: tuple[Channel | str, ...] = (
        tuple(_listed(CHANNELS)) if given is None else checks.listed(given, _MAX_CHANNELS)
    )
    if (wrong := _channels_or_urls(channels)) is not None:
        raise unusable([f"channels: {wrong}"])
    return channels


#: What may be given for the provider of a channel: a URL, several with ``||`` between them, objects, or a list.
GivenProviders = str | Provider | Account | Sequence[str | Provider | Account]


def given_providers(given: Mapping[str, GivenProviders | None]) -> dict[str, tuple[Account, ...]]:
    """Return the accounts of each channel to people, by default those of the environment.

    Raises:
        ConfigurationError: One is not acceptable.
    """
    accounts: dict[str, tuple[Account, ...]] = {}
    for name, providers in given.items():
        wanted = os.environ.get(PROVIDERS[name], "").strip() if providers is None else providers
        if not isinstance(wanted, str | tuple) or wanted:
            try:
                accounts[name] = accounts_of(wanted)
            except ConfigurationError as error:
                raise unusable([f"{name}: {error}"]) from None
            with contextlib.suppress(MissingExtraError):  # which a process that only publishes need not have
                routed_channel(name, accounts[name])
    return accounts


def catcher_of(providers: Mapping[str, Sequence[Account]]) -> str | None:
    """Return the first URL that is a catcher's: what is put into inboxes is shown beside what it takes."""
    given = (account.provider for accounts in providers.values() for account in accounts if account.scheme == "catch")
    return next((url for url in given if isinstance(url, str)), None)


def given_broker(given: str | Broker | None) -> str | Broker | None:
    """Return the broker or its URL, by default that of the environment.

    Raises:
        ConfigurationError: It is no URL of a broker.
    """
    broker = os.environ.get(BROKER, "").strip() if given is None else given
    if isinstance(broker, str) and broker:
        with contextlib.suppress(MissingExtraError):  # which a process that only publishes need not have
            broker_from_url(broker)
    return broker or None


def given_templates(given: str | os.PathLike[str] | None) -> str | None:
    """Return the folder of templates, by default that of the environment.

    Raises:
        ConfigurationError: It is no folder.
    """
    folder = os.environ.get(TEMPLATES, "") if given is None else os.fspath(given)
    if folder and not os.path.isdir(folder):  # noqa: PTH112 - Path refuses what is no name of a file
        raise unusable([f"templates: {folder[:200]!r} is not a folder"])
    return folder or None


#: Letters of a URL, without those that would end it in a header field.
_PUBLIC_URL = re.compile(
    r"(https://|http://(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$))[^\s/?#@<>\\]*(/[^\s?#<>\\]*)?"
)
_MAX_PUBLIC_URL = 300


def given_public_url(given: str | None) -> str | None:
    """Return where people reach the pages of this library, by default that of the environment, without a last slash.

    Raises:
        ConfigurationError: It is no such URL.
    """
    url = (os.environ.get(PUBLIC_URL, "") if given is None else given).strip().rstrip("/")
    name = PUBLIC_URL if given is None else "public_url"
    if url and not (len(url) <= _MAX_PUBLIC_URL and url.isascii() and _PUBLIC_URL.fullmatch(url) and len(url) > 8):
        what = (
            "must be like https://notify.example.org, in ASCII, without query and user; http:// is for localhost only"
        )
        raise unusable([f"{name}: {url[:80]!r} {what}"])
    return url or None


def unusable(problems: Sequence[str]) -> ConfigurationError:
    """Return the error of options that cannot be used."""
    return ConfigurationError("; ".join(problems))


def _keys(value: object) -> str | None:
    from .vault import KeyRing

    return checks.instance(KeyRing)(value)


def settings(value: object) -> str | None:
    """Say what is wrong with a dispatcher's settings."""
    from .dispatch.settings import DispatchSettings

    return checks.instance(DispatchSettings)(value)


def _channel(value: object) -> str | None:
    wrong = checks.having("send", "aclose", what="Channel")(value)
    return wrong or checks.text(most=64)(getattr(value, "name", None))


def _channel_or_url(value: object) -> str | None:
    return checks.text(most=4096)(value) if isinstance(value, str) else _channel(value)


def _broker_or_url(value: object) -> str | None:
    text = checks.text(most=4096, empty=True)
    return text(value) if isinstance(value, str) else checks.having("put", "receive", "ack", what="Broker")(value)


def moment(value: object) -> str | None:
    """Say what is wrong with an instant that a calendar is asked about."""
    wrong = checks.instant(value)
    if wrong is None and isinstance(value, datetime) and not 1970 <= value.year < 9000:
        return "must be between the years 1970 and 9000"
    return wrong


_MAX_CHANNELS = 100
channels = checks.many(_channel, most=_MAX_CHANNELS, what="channels")
_channels_or_urls = checks.many(_channel_or_url, most=_MAX_CHANNELS, what="channels or their URLs")


@attrs.frozen(kw_only=True)
class EgressRules:
    """Where deliveries may go; by default to public addresses over https.

    Attributes:
        allow: CIDR blocks to let through although they are private: ``127.0.0.0/8`` on a developer's machine.
        allow_names: Names to let through although they exist only inside a private network: ``receiver``,
            or ``*.svc.cluster.local`` for all below one.  Their addresses are judged as any others are, so
            the block that they are in must be in ``allow`` as well.
        allow_http: Whether plain ``http://`` is acceptable.
        transport: ``wire``, or ``httpx`` for a proxy or HTTP/2.
    """

    allow: tuple[str, ...] = attrs.field(
        default=(),
        converter=_as_tuple,
        validator=field_check(checks.many(checks.text(most=64), most=_MAX_BLOCKS, what="CIDR blocks"), unusable),
    )
    allow_names: tuple[str, ...] = attrs.field(
        default=(),
        converter=_as_tuple,
        validator=field_check(checks.many(checks.text(most=255), most=_MAX_BLOCKS, what="host names"), unusable),
    )
    allow_http: bool = attrs.field(default=False, validator=field_check(checks.flag, unusable))
    transport: Literal["wire", "httpx"] = attrs.field(
        default="wire", validator=field_check(checks.one_of({"wire", "httpx"}), unusable)
    )

    @classmethod
    def from_environment(cls) -> EgressRules:
        """Read ``NOTIFYKIT_ALLOW``, ``NOTIFYKIT_ALLOW_NAMES`` and ``NOTIFYKIT_ALLOW_HTTP``.

        The first two list their entries with commas, the last one is 1 or 0.

        Raises:
            ConfigurationError: The switch is neither on nor off.
        """
        return cls(
            allow=tuple(_listed(ALLOW)),
            allow_names=tuple(_listed(ALLOW_NAMES)),
            allow_http=switch(ALLOW_HTTP),
        )

    def guard(self) -> Guard:
        """Return the guard that enforces these rules."""
        from .channels.webhook import Guard

        return Guard(self.allow, allow_http=self.allow_http, allow_names=self.allow_names)


_url = checks.text(most=8192, empty=True)


def _providers(value: object) -> str | None:
    if isinstance(value, str):
        return _url(value)
    if isinstance(value, list | tuple | Account) or checks.having("send", "aclose", what="Provider")(value) is None:
        return None  # what they are made of is judged when they are taken apart
    return f"must be the URL of a provider, an Account, a Provider or a list of these, not {checks.kind_of(value)}"


#: What a kit is made of.
PARTS: Mapping[str, checks.Check] = {
    "url": optional(checks.text(most=4096)),
    "event_types": checks.iterable,
    "channels": optional(checks.iterable),
    **dict.fromkeys(PROVIDERS, optional(_providers)),
    "broker": optional(_broker_or_url),
    "templates": optional(checks.instance(str, os.PathLike)),
    "public_url": optional(checks.text(most=4096, empty=True)),
    "egress": optional(checks.instance(EgressRules)),
    "limits": checks.instance(Limits),
    "store": optional(checks.having("open", "append", "claim", what="Store")),
    "clock": optional(checks.having("now", what="Clock")),
    "subscribers": checks.iterable,
    "trace": optional(checks.function),
    "keys": optional(_keys),
    "environment": optional(checks.text(most=64, empty=True)),
    "encrypt_payloads": optional(checks.flag),
}


class KitOptions(StoreOptions, total=False):
    """What :class:`Notifykit` takes beside the URL."""

    event_types: Iterable[type | EventType]
    channels: Iterable[Channel | str] | None
    email: GivenProviders | None
    sms: GivenProviders | None
    push: GivenProviders | None
    chat: GivenProviders | None
    broker: str | Broker | None
    templates: str | os.PathLike[str] | None
    public_url: str | None
    egress: EgressRules | None
    limits: Limits
    store: Store | None
    clock: Clock | None
    subscribers: Sequence[Subscriber]
    trace: Callable[[str], str | None] | None
    keys: KeyRing | None
    environment: str | None
    encrypt_payloads: bool | None
