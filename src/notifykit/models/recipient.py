"""A person who is told things: where they can be reached, what they want, and how texts for them are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import attrs

from ..errors import InvalidInputError
from .addresses import Address, AddressState, Suppression
from .checks import field_check, flag, instance, instant, kind_of, listed, many, one_of, optional, prose, tenant, text
from .ids import ENDPOINT
from .preferences import Mute, Purpose, Scope, Setting, label
from .quiet_hours import QuietHours, zone_name
from .template import TenantTemplates

#: What traits may have as JSON.
MAX_TRAITS = 64 * 1024
#: More would be a mistake of a program, not the life of a person.
MAX_ADDRESSES, MAX_SETTINGS, MAX_MUTES, MAX_SUPPRESSIONS, MAX_CONSENTS = 100, 1000, 1000, 1000, 100
MAX_NAME = 255
#: The id of a tenant's only record of :class:`TenantPreferences`.
PREFERENCES = "preferences"

#: Of a person who may be told at any time.
NO_QUIET_HOURS = QuietHours()

EMAIL, SMS, PUSH, IN_APP = "email", "sms", "push", "in_app"

#: The address of a mailbox as programs write it: a dot-atom of RFC 5322 and a host name, both with non-ASCII letters.
_ATOM = r"[^\s\x00-\x1f\x7f-\xa0\"(),.:;<>@\[\\\]]+"
_LABEL = r"[^\W_](?:(?:[^\W_]|-)*[^\W_])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?=.{{1,255}}$){_LABEL}(?:\.{_LABEL})+")
#: E.164: a plus sign, the country code and the number.
#: What people write into telephone numbers.
_NUMBER_SIGNS = str.maketrans("", "", " \t\u00a0\u2009\u202f-.()/")
_PHONE = re.compile(r"\+[1-9][0-9]{5,14}")
#: Language, script, region and variants of BCP 47.
_LOCALE = re.compile(
    r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-(?:[A-Z]{2}|[0-9]{3}))?(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*", re.ASCII
)
_MAX_LOCALE = 35
#: The languages with two letters in the IANA registry, which ISO 639-1 has closed.
_LANGUAGES = (
    " aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz "
    "ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik "
    "in io is it iu iw ja ji jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh "
    "mi mk ml mn mo mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru "
    "rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug "
    "uk ur uz ve vi vo wa wo xh yi yo za zh zu "
)
_ID = text(most=MAX_NAME)
#: Made once: to make an encoder takes longer than to use it.
_as_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


# ── checks ─────────────────────────────────────────────────────────────────────────────────────


def recipient_id(value: object) -> str | None:
    """Check the id of a recipient, which must not be taken for an endpoint's."""
    wrong = _ID(value)
    if wrong is None and str(value).startswith(ENDPOINT):
        return "must not begin with end_, as ids of endpoints do"
    return wrong


def email_address(value: object) -> str | None:
    """Check the address of a mailbox."""
    if not isinstance(value, str):
        return f"must be text, not {kind_of(value)}"
    if len(value) > 254 or len(value.partition("@")[0]) > 64:
        return "is longer than an e-mail address may be"
    return (
        None
        if value.isprintable() and _EMAIL.fullmatch(value)
        else "is no e-mail address; one looks like ada@example.org"
    )


def phone_number(value: object) -> str | None:
    """Check a telephone number."""
    if not isinstance(value, str):
        return f"must be text, not {kind_of(value)}"
    is_number = "(0)" not in value and _PHONE.fullmatch(stored_address(SMS, value))
    return None if is_number else "is no telephone number; write it like +4915123456789"


def stored_address(channel: str, address: str) -> str:
    """Return an address as it is stored: numbers without blanks and separators, and others as they are."""
    return address.translate(_NUMBER_SIGNS) if channel == SMS else address


def locale_name(value: object) -> str | None:
    """Check a locale."""
    if not isinstance(value, str):
        return f"must be text such as de-AT, not {kind_of(value)}"
    if len(value) > _MAX_LOCALE or not _LOCALE.fullmatch(value):
        return f"{value[:40]!r} is no locale; one looks like de, de-AT or zh-Hant (BCP 47)"
    language = value.partition("-")[0]
    is_known = len(language) == 3 or f" {language} " in _LANGUAGES
    return None if is_known else f"there is no language {language!r}; a locale looks like de, de-AT or zh-Hant (BCP 47)"


def traits_problem(value: object) -> str | None:
    """Check traits: a mapping that is small as JSON."""
    if not isinstance(value, Mapping):
        return f"must be a mapping, not {kind_of(value)}"
    try:
        size = len(_as_json(value).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return f"must be JSON types: {str(error)[:200]}"
    return None if size <= MAX_TRAITS else f"have {size} bytes as JSON, at most {MAX_TRAITS}"


#: What an address of a channel must look like; those of other channels are any text.
ADDRESS_CHECKS = {EMAIL: email_address, SMS: phone_number}


def spelled(locale: Any) -> Any:
    """Return a locale as BCP 47 spells it: ``de_at`` is ``de-AT``; what is no text stays as it is."""
    return _spelled(locale) if isinstance(locale, str) and len(locale) <= _MAX_LOCALE else locale


@lru_cache(maxsize=256)
def _spelled(locale: str) -> str:
    language, *others = locale.replace("_", "-").split("-")
    return "-".join([language.lower(), *map(_spelled_part, others)])


def _spelled_part(part: str) -> str:
    if part.isalpha() and len(part) in (2, 4):
        return part.upper() if len(part) == 2 else part.capitalize()
    return part.lower()


# ── parts ──────────────────────────────────────────────────────────────────────────────────────


#: By their names, which callers may give in place of the members.
_STATES: Mapping[Any, AddressState] = {state.value: state for state in AddressState}
_PURPOSES: Mapping[Any, Purpose] = {purpose.value: purpose for purpose in Purpose}


def _member(known: Mapping[Any, Any], value: object) -> Any:
    """Return the member of an enum that is named; what names none stays as it is, for the check to refuse."""
    return known.get(value, value) if isinstance(value, str) else value


def _state(value: AddressState | str) -> AddressState:
    state: AddressState = _member(_STATES, value)
    return state


def _purpose(value: Purpose | str) -> Purpose:
    purpose: Purpose = _member(_PURPOSES, value)
    return purpose


@attrs.frozen(kw_only=True)
class RecipientAddress(Address):
    """One address of a recipient on one channel: a mailbox, a telephone number, the token of a device.

    Attributes:
        reason: Why it has its state.
        changed_at: Since when it has its state.
        app: Which app of the host a device's token belongs to.
        platform: Of a device: ``ios``, ``android``, ``web`` …
    """

    state: AddressState = attrs.field(
        default=AddressState.ACTIVE,
        converter=_state,
        validator=field_check(one_of(AddressState)),
    )
    reason: str | None = attrs.field(default=None, validator=field_check(optional(prose)))
    changed_at: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))
    app: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    platform: str | None = attrs.field(default=None, validator=field_check(optional(label)))

    def __attrs_post_init__(self) -> None:
        check = ADDRESS_CHECKS.get(self.channel)
        if check is not None and (wrong := check(self.address)) is not None:
            raise InvalidInputError([f"address: {wrong}"])
        object.__setattr__(self, "address", stored_address(self.channel, self.address))


@attrs.frozen(kw_only=True)
class Consent:
    """That a person agreed to a purpose, or withdrew their consent.

    Attributes:
        granted: Whether the person agreed; ``False`` for a withdrawal.
        at: When.
        by: Who recorded it: the person's id, an operator, a program.
        how: In what way: the form, its version, the text that was agreed to.
    """

    purpose: Purpose = attrs.field(converter=_purpose, validator=field_check(one_of(Purpose)))
    granted: bool = attrs.field(default=True, validator=field_check(flag))
    at: datetime = attrs.field(validator=field_check(instant))
    by: str = attrs.field(default="", validator=field_check(text(most=MAX_NAME, empty=True)))
    how: str = attrs.field(default="", validator=field_check(prose))


@attrs.frozen(kw_only=True)
class Person:
    """A recipient as templates and renderers know them.

    Attributes:
        locale: The recipient's, else the tenant's default.
        zone: As ``locale``.
        templates: What the tenant has stored in place of the host's templates.
    """

    id: str
    locale: str | None = None
    zone: str | None = None
    traits: Mapping[str, Any] = attrs.field(factory=dict)
    name: str | None = None
    templates: TenantTemplates | None = attrs.field(default=None, repr=False)


# ── the aggregate ──────────────────────────────────────────────────────────────────────────────


def _several(kind: type, most: int, what: str) -> Any:
    """Return a field of values of a class; most recipients have none of most kinds, and very many are read."""
    check = many(instance(kind), most=most, what=what)

    def convert(values: Iterable[Any]) -> Any:
        return values if type(values) is tuple else listed(values, most)

    return attrs.field(
        default=(), converter=convert, validator=field_check(lambda values: None if values == () else check(values))
    )


def _require_scope(settings: Iterable[Setting], scope: Scope) -> None:
    for setting in settings:
        if setting.scope != scope:
            raise InvalidInputError([f"settings: must be of scope {scope}, not {setting.scope}"])


@attrs.frozen(kw_only=True)
class Recipient:
    """A person of a tenant, with everything that decides whether and how they are told: read and written as a whole.

    Attributes:
        id: The host's own id, such as ``user:42``.
        name: What texts call the person.
        locale: BCP 47, such as ``de-AT``.
        zone: The IANA name of the time zone.
        traits: What templates may need of the person: JSON types, at most 64 kB.
        addresses: Of all channels, the preferred ones first.
        settings: The person's own, of scope ``recipient``; of equal ones the last counts.
        consents: Every grant and withdrawal, the newest last.
        suppressions: Addresses that are not used for some purposes, or for a time.
        quiet_hours: In the person's zone, whatever theirs says; if the person has none, in the tenant's.
        version: How often the recipient has been saved; 0 until it is.
    """

    id: str = attrs.field(validator=field_check(recipient_id))
    tenant: str = attrs.field(validator=field_check(tenant))
    name: str | None = attrs.field(default=None, validator=field_check(optional(text(most=MAX_NAME, empty=True))))
    locale: str | None = attrs.field(default=None, converter=spelled, validator=field_check(optional(locale_name)))
    zone: str | None = attrs.field(default=None, validator=field_check(optional(zone_name)))
    traits: Mapping[str, Any] = attrs.field(
        factory=dict, validator=field_check(lambda traits: None if traits == {} else traits_problem(traits)), repr=False
    )
    addresses: tuple[RecipientAddress, ...] = _several(RecipientAddress, MAX_ADDRESSES, "addresses")
    settings: tuple[Setting, ...] = _several(Setting, MAX_SETTINGS, "settings")
    mutes: tuple[Mute, ...] = _several(Mute, MAX_MUTES, "mutes")
    consents: tuple[Consent, ...] = _several(Consent, MAX_CONSENTS, "consents")
    suppressions: tuple[Suppression, ...] = _several(Suppression, MAX_SUPPRESSIONS, "suppressions")
    quiet_hours: QuietHours = attrs.field(default=NO_QUIET_HOURS, validator=field_check(instance(QuietHours)))
    created_at: datetime
    updated_at: datetime
    version: int = 0

    def __attrs_post_init__(self) -> None:
        _require_scope(self.settings, Scope.RECIPIENT)
        if self.quiet_hours.windows and self.zone not in (None, self.quiet_hours.zone):
            object.__setattr__(self, "quiet_hours", attrs.evolve(self.quiet_hours, zone=self.zone))

    @property
    def consented(self) -> frozenset[Purpose]:
        """The purposes that the person agrees to now: the newest record of each counts."""
        newest = {consent.purpose: consent.granted for consent in self.consents}
        return frozenset(purpose for purpose, granted in newest.items() if granted)

    def addresses_on(self, channel: str) -> tuple[RecipientAddress, ...]:
        """Return the addresses of a channel."""
        return tuple(address for address in self.addresses if address.channel == channel)


@attrs.frozen(kw_only=True)
class TenantPreferences:
    """What a tenant says for all of its recipients: one record for each tenant.

    Attributes:
        settings: Of scope ``tenant``: defaults, and locks that recipients cannot change.
        locale: For recipients that have none.
        zone: As ``locale``.
        version: How often it has been saved; 0 until it is.
    """

    id: str = attrs.field(default=PREFERENCES, init=False)
    tenant: str = attrs.field(validator=field_check(tenant))
    settings: tuple[Setting, ...] = _several(Setting, MAX_SETTINGS, "settings")
    locale: str | None = attrs.field(default=None, converter=spelled, validator=field_check(optional(locale_name)))
    zone: str | None = attrs.field(default=None, validator=field_check(optional(zone_name)))
    version: int = 0

    def __attrs_post_init__(self) -> None:
        _require_scope(self.settings, Scope.TENANT)

    def person(self, recipient: Recipient, templates: TenantTemplates | None = None) -> Person:
        """Return a recipient as renderers know them."""
        return Person(
            id=recipient.id,
            locale=recipient.locale or self.locale,
            zone=recipient.zone or self.zone,
            traits=recipient.traits,
            name=recipient.name,
            templates=templates,
        )
