"""Links by which people stop what they are told: made, read, and followed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import attrs

from ..errors import ConfigurationError, InvalidInputError
from ..models import checks
from ..models.checks import optional
from ..models.preferences import Mute, Purpose, label, type_name
from ..models.recipient import MAX_NAME, Consent, Recipient
from ..models.unsubscribe import UnsubscribeScope
from ..policies.arguments import checked
from ..ports import Clock, Store
from ..templates.unsubscribe import LIFETIME, link_of
from ..vault import UnsubscribeTokens
from .preferences import Preferences

#: What the records of preferences say of how they came about.
ONE_CLICK, PAGE = "one-click unsubscribe of the mail program", "page of the unsubscribe link"
_TAKEN_BACK = "undone on the page of the unsubscribe link"
_HOWS = frozenset({ONE_CLICK, PAGE})
#: The purpose of a link that does not say it: every purpose of what it names, or else marketing.
AUTO = "auto"
_ARGUMENTS: Mapping[str, checks.Check] = {
    "recipient_id": checks.identifier,
    "channel": optional(label),
    "type": optional(type_name),
    "category": optional(label),
    "topic": optional(checks.string),
    "purpose": optional(checks.one_of((Purpose.TRANSACTIONAL.value, Purpose.MARKETING.value, AUTO))),
    "expires_in": checks.duration(timedelta(minutes=1), timedelta(days=3660)),
    "token": checks.string,
    "scope": checks.instance(UnsubscribeScope),
    "how": checks.text(most=MAX_NAME),
}


class UnsubscribeLinks:
    """Links for unsubscribing.  Nothing is stored until one is followed: the link itself says what it stops.

    Templates have the link of their message as ``unsubscribe_url``, and marketing e-mails have it in their header.
    """

    def __init__(self, store: Store, clock: Clock, tokens: UnsubscribeTokens, public_url: str | None) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._public_url = public_url

    @checked(refusal=InvalidInputError, **_ARGUMENTS)
    def url(
        self,
        recipient_id: str,
        *,
        tenant: str,
        channel: str | None = None,
        type: str | None = None,
        category: str | None = None,
        topic: str | None = None,
        purpose: Purpose | str | None = AUTO,
        expires_in: timedelta = LIFETIME,
    ) -> str:
        """Return a link that stops what is named, such as a category on a channel; without any name all marketing.

        Args:
            topic: A pattern of topics, such as ``project/7/**``.
            purpose: Only ``transactional`` or ``marketing`` messages; ``None`` for every purpose.  By default every
                purpose of the type, category or topic, and marketing if the link names none of them.

        Raises:
            ConfigurationError: The kit has no ``public_url``.
        """
        if self._public_url is None:
            raise ConfigurationError("there is no page for unsubscribing: set public_url= or NOTIFYKIT_PUBLIC_URL")
        if purpose == AUTO:
            purpose = Purpose.MARKETING if type is None and category is None and topic is None else None
        scope = UnsubscribeScope(
            tenant=tenant,
            recipient_id=recipient_id,
            channel=channel,
            type=type,
            category=category,
            topic=topic,
            purpose=None if purpose is None else Purpose(purpose),
            expires_at=self._clock.now() + expires_in,
        )
        return link_of(self._public_url, self._tokens.sign(scope))

    @checked(refusal=InvalidInputError, **_ARGUMENTS)
    def read(self, token: str) -> UnsubscribeScope:
        """Return what a link stops: the token is what follows the last slash.

        Raises:
            InvalidLinkError: It was not made with a key of this kit, was changed, or has expired.
        """
        return self._tokens.read(token, now=self._clock.now())

    @checked(refusal=InvalidInputError, **_ARGUMENTS)
    async def follow(self, scope: UnsubscribeScope, *, how: str = PAGE) -> bool:
        """Stop what a link says, and record who did it, when and how; repeating it changes nothing.

        All marketing is stopped by withdrawing the consent, anything narrower by a mute.

        Returns:
            Whether there is such a recipient.
        """
        current = await self._recipient(scope)
        if current is None:
            return False
        if _is_consent(scope):
            if Purpose.MARKETING in current.consented:
                await self._consent(scope, granted=False, how=how)
        elif _mute(current, scope) is None:
            named = attrs.asdict(scope.selector)
            await self._preferences(scope).mute(**named, by=scope.recipient_id, how=how)
        return True

    @checked(refusal=InvalidInputError, **_ARGUMENTS)
    async def undo(self, scope: UnsubscribeScope) -> bool:
        """Take back what a link has stopped; what the person or an operator has set otherwise stays.

        Returns:
            Whether there was something to take back.
        """
        current = await self._recipient(scope)
        if current is None:
            return False
        if _is_consent(scope):
            last = _last_consent(current)
            if last is None or last.granted or last.how not in _HOWS:
                return False
            await self._consent(scope, granted=True, how=_TAKEN_BACK)
            return True
        mute = _mute(current, scope)
        if mute is None or mute.how not in _HOWS:
            return False
        await self._preferences(scope).unmute(**attrs.asdict(scope.selector))
        return True

    async def _recipient(self, scope: UnsubscribeScope) -> Recipient | None:
        found = await self._store.get(Recipient, scope.tenant, [scope.recipient_id])
        return found[0] if found else None

    async def _consent(self, scope: UnsubscribeScope, *, granted: bool, how: str) -> None:
        await self._preferences(scope).consent(granted=granted, by=scope.recipient_id, how=how)

    def _preferences(self, scope: UnsubscribeScope) -> Preferences:
        return Preferences(self._store, self._clock, (), scope.tenant, scope.recipient_id)


def _is_consent(scope: UnsubscribeScope) -> bool:
    return scope.is_whole and scope.channel is None and scope.purpose is Purpose.MARKETING


def _last_consent(recipient: Recipient) -> Consent | None:
    return next((each for each in reversed(recipient.consents) if each.purpose is Purpose.MARKETING), None)


def _mute(recipient: Recipient, scope: UnsubscribeScope) -> Mute | None:
    """Return the mute that stops what a link says for good, if there is one."""
    return next((each for each in recipient.mutes if each.select == scope.selector and each.until is None), None)
