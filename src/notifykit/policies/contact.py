"""Whether a person is sent a notification on one channel, now.

Pure and total: the clock and whether the frequency cap has tokens left are arguments, and every question has an answer.
Planning takes the decision, waking takes it again, and ``notifykit decide`` tries it from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, NamedTuple

import attrs

from ..models.addresses import Address, AddressState, Suppression
from ..models.checks import unchecked
from ..models.preferences import OFF, ON, Mute, Purpose, Setting
from ..models.quiet_hours import QuietHours
from ..models.recipient import IN_APP, Recipient, TenantPreferences
from .preferences import Notice, is_muted, setting_that_counts
from .quiet_hours import quiet_until


class Code(StrEnum):
    """Why a decision came out as it did; stable, and recorded with the delivery."""

    EXPIRED = "expired"
    LOCKED_OFF = "locked_off"
    TURNED_OFF = "turned_off"
    MUTED = "muted"
    NO_CONSENT = "no_consent"
    NO_ADDRESS = "no_address"
    ADDRESS_UNVERIFIED = "address_unverified"
    ADDRESS_SUPPRESSED = "address_suppressed"
    ADDRESS_GONE = "address_gone"
    SUPPRESSED = "suppressed"
    CAPPED = "capped"
    DIGEST = "digest"
    QUIET_HOURS = "quiet_hours"
    EXPIRED_IN_QUIET_HOURS = "expired_in_quiet_hours"
    OK = "ok"


class Verdict(StrEnum):
    """What a decision comes to."""

    SEND = "send"
    SKIP = "skip"
    DIGEST = "digest"
    DEFER = "defer"


class Reason(NamedTuple):
    """What a code means.

    Attributes:
        when: The rule, as the documentation states it.
        sentence: The explanation for the person or an operator.
        security: Whether the rule also applies to notifications of purpose ``security``.
    """

    verdict: Verdict
    when: str
    sentence: str
    security: bool = True


#: Every code, in the order in which the rules are tried; the documentation is made from this.
REASONS: Mapping[Code, Reason] = {
    Code.EXPIRED: Reason(
        Verdict.SKIP, "the event's `expires_at` has come", "It came too late to be of use, so it was not sent."
    ),
    Code.LOCKED_OFF: Reason(
        Verdict.SKIP,
        "the setting that counts says `off` and is locked",
        "Notifications of this kind are turned off for everyone here.",
        security=False,
    ),
    Code.TURNED_OFF: Reason(
        Verdict.SKIP,
        "the setting that counts says `off`",
        "Notifications of this kind are turned off on this channel.",
        security=False,
    ),
    Code.MUTED: Reason(
        Verdict.SKIP,
        "a mute fits that has not ended, and the setting that counts is not a locked `on`",
        "Notifications about this are muted.",
        security=False,
    ),
    Code.NO_CONSENT: Reason(
        Verdict.SKIP,
        "the purpose is `marketing` and there is no consent to it",
        "Marketing is sent only with consent, and there is none.",
        security=False,
    ),
    Code.NO_ADDRESS: Reason(
        Verdict.SKIP, "there is no address of the channel", "There is no address for this channel."
    ),
    Code.ADDRESS_UNVERIFIED: Reason(
        Verdict.SKIP,
        "no address of the channel is active, and the last one is unverified",
        "The address for this channel has not been confirmed yet.",
    ),
    Code.ADDRESS_SUPPRESSED: Reason(
        Verdict.SKIP,
        "no address of the channel is active, and the last one is suppressed",
        "The address for this channel must not be used.",
    ),
    Code.ADDRESS_GONE: Reason(
        Verdict.SKIP,
        "no address of the channel is active, and the last one is gone",
        "The address for this channel no longer exists.",
    ),
    Code.SUPPRESSED: Reason(
        Verdict.SKIP,
        "every active address of the channel has a suppression for this purpose that has not ended",
        "Every address for this channel is on the suppression list for notifications of this purpose.",
    ),
    Code.CAPPED: Reason(
        Verdict.SKIP,
        "the frequency cap has no tokens left",
        "There have been too many notifications of this kind lately, so this one was left out.",
        security=False,
    ),
    Code.DIGEST: Reason(
        Verdict.DIGEST,
        "the setting that counts says `digest:NAME`, or the event's type has a digest",
        "It is collected and comes with the next digest.",
        security=False,
    ),
    Code.EXPIRED_IN_QUIET_HOURS: Reason(
        Verdict.SKIP,
        "it is quiet, the category is no exception, and the quiet hours do not end before `expires_at`",
        "It would have been of no use any more at the end of the quiet hours, so it was not sent.",
        security=False,
    ),
    Code.QUIET_HOURS: Reason(
        Verdict.DEFER,
        "it is quiet, and the category is no exception",
        "It waits until the quiet hours end.",
        security=False,
    ),
    Code.OK: Reason(Verdict.SEND, "otherwise", "It is sent."),
}


@attrs.frozen
class Send:
    """Send it now."""

    code: ClassVar[Code] = Code.OK


@attrs.frozen
class Skip:
    """Do not send it."""

    code: Code


@attrs.frozen
class Collect:
    """Put it into the digest of this name."""

    digest: str
    code: ClassVar[Code] = Code.DIGEST


@attrs.frozen
class Defer:
    """Decide again at ``until``, when the quiet hours end."""

    until: datetime
    code: ClassVar[Code] = Code.QUIET_HOURS


Decision = Send | Skip | Collect | Defer

SEND = Send()


_NEVER_QUIET = QuietHours()


class Person(NamedTuple):
    """What the decision needs to know of a person.

    Attributes:
        settings: Those of the system, the type and the tenant with the person's own; of equals the later one counts.
        consents: The purposes that the person has agreed to.
        addresses: Of all channels.
        suppressions: Of these addresses, or of any: the recipient's own and those of the tenant's list.
    """

    settings: Sequence[Setting] = ()
    mutes: Sequence[Mute] = ()
    consents: frozenset[Purpose] = frozenset()
    addresses: Sequence[Address] = ()
    suppressions: Sequence[Suppression] = ()
    quiet_hours: QuietHours = _NEVER_QUIET


def person_of(
    recipient: Recipient,
    tenant: TenantPreferences | None = None,
    settings: Sequence[Setting] = (),
    listed: Sequence[Suppression] = (),
) -> Person:
    """Return what the decision needs to know of a recipient.

    Every recipient has an inbox, whose address is the recipient's id.

    Args:
        tenant: What the tenant says for all of its recipients.
        settings: Those of the system and of the event's type.
        listed: What the tenant's suppression list says of the recipient's addresses.
    """
    quiet = recipient.quiet_hours
    if tenant is not None:
        settings = (*settings, *tenant.settings)
        if tenant.zone is not None and recipient.zone is None and quiet.windows:
            quiet = attrs.evolve(quiet, zone=tenant.zone)
    inbox = unchecked(Address, channel=IN_APP, address=recipient.id, state=AddressState.ACTIVE)
    return Person(
        settings=(*settings, *recipient.settings),
        mutes=recipient.mutes,
        consents=recipient.consented,
        addresses=(*recipient.addresses, inbox),
        suppressions=(*recipient.suppressions, *listed) if listed else recipient.suppressions,
        quiet_hours=quiet,
    )


def decide_contact(
    notice: Notice, person: Person, channel: str, *, tokens_left: bool, now: datetime, collects: bool = True
) -> Decision:
    """Decide whether ``person`` is sent ``notice`` on ``channel`` at ``now``: the first rule that applies decides.

    Args:
        tokens_left: Whether the frequency cap lets another one through.
        collects: Whether a digest may collect it; what a digest sends is not collected again.
    """
    if notice.expires_at is not None and notice.expires_at <= now:
        return Skip(Code.EXPIRED)
    if notice.purpose == Purpose.SECURITY:
        refusal = _unreachable(person, channel, notice.purpose, now)
        return SEND if refusal is None else Skip(refusal)
    setting = setting_that_counts(person.settings, notice, channel)
    refusal = _unwanted(setting, notice, person, channel, now) or _unreachable(person, channel, notice.purpose, now)
    if refusal is not None:
        return Skip(refusal)
    if not tokens_left:
        return Skip(Code.CAPPED)
    if collects and setting is not None and (digest := setting.digest) is not None:
        return Collect(digest)
    return _undisturbed(notice, person.quiet_hours, now)


def _unwanted(setting: Setting | None, notice: Notice, person: Person, channel: str, now: datetime) -> Code | None:
    """Return why the person does not want it."""
    if setting is not None and setting.value == OFF:
        return Code.LOCKED_OFF if setting.locked else Code.TURNED_OFF
    locked_on = setting is not None and setting.locked and setting.value == ON
    if not locked_on and is_muted(person.mutes, notice, channel, now):
        return Code.MUTED
    if notice.purpose == Purpose.MARKETING and Purpose.MARKETING not in person.consents:
        return Code.NO_CONSENT
    return None


_ADDRESS_CODES = {
    AddressState.UNVERIFIED: Code.ADDRESS_UNVERIFIED,
    AddressState.SUPPRESSED: Code.ADDRESS_SUPPRESSED,
    AddressState.GONE: Code.ADDRESS_GONE,
}


def _unreachable(person: Person, channel: str, purpose: Purpose, now: datetime) -> Code | None:
    """Return why no address of the channel can be used; ``None`` if one can."""
    suppressed = _suppressed(person.suppressions, channel, purpose, now)
    code = Code.NO_ADDRESS
    for address in person.addresses:
        if address.channel != channel:
            continue
        if address.state != AddressState.ACTIVE:
            code = code if code is Code.SUPPRESSED else _ADDRESS_CODES[address.state]
        elif address.address in suppressed:
            code = Code.SUPPRESSED
        else:
            return None
    return code


def usable_addresses(person: Person, channel: str, purpose: Purpose, now: datetime) -> list[str]:
    """Return the addresses of the channel that a notification of this purpose may be sent to."""
    suppressed = _suppressed(person.suppressions, channel, purpose, now)
    return [
        each.address
        for each in person.addresses
        if each.channel == channel and each.state == AddressState.ACTIVE and each.address not in suppressed
    ]


_NOTHING: frozenset[str] = frozenset()


def _suppressed(
    suppressions: Sequence[Suppression], channel: str, purpose: Purpose, now: datetime
) -> frozenset[str] | set[str]:
    """Return the addresses of the channel that must not be used for this purpose."""
    if not suppressions:
        return _NOTHING
    return {
        each.address
        for each in suppressions
        if each.channel == channel
        and (not each.purposes or purpose in each.purposes)
        and (each.until is None or each.until > now)
    }


def _undisturbed(notice: Notice, quiet: QuietHours, now: datetime) -> Decision:
    """Decide what the quiet hours leave to decide."""
    if not quiet.windows or notice.category in quiet.exceptions:
        return SEND
    until = quiet_until(quiet, now)
    if until is None:
        return SEND
    if notice.expires_at is not None and until >= notice.expires_at:
        return Skip(Code.EXPIRED_IN_QUIET_HOURS)
    return Defer(until)
