"""The links by which people stop what they are told: in the texts of messages, and in the header of marketing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from ..errors import TemplateError
from ..models.delivery import Claim, DigestItem
from ..models.destination import Destination
from ..models.event import DEFAULT_CATEGORY
from ..models.ids import is_for_person
from ..models.messages import EmailMessage, Message
from ..models.preferences import Purpose
from ..models.unsubscribe import UnsubscribeScope
from ..vault import UnsubscribeTokens
from .methods import EventTypes

if TYPE_CHECKING:
    from ..ports import Renderer

#: How long a link works: people keep their mail.
LIFETIME = timedelta(days=366)
_PURPOSES = {purpose.value: purpose for purpose in Purpose}


def link_of(public_url: str, token: str) -> str:
    """Return the address of the page for a token."""
    return f"{public_url}/unsubscribe/{token}"


class UnsubscribeUrls:
    """Makes the links of messages.

    Args:
        tokens: Signs them.
        public_url: Where the page can be reached; ``None`` if there is none.
        types: What the program knows of event types, for what their publisher did not say.
    """

    def __init__(self, tokens: UnsubscribeTokens, public_url: str | None, types: EventTypes) -> None:
        self._tokens = tokens
        self._public_url = public_url
        self._types = types

    def url_for(self, claim: Claim, now: datetime) -> str | None:
        """Return the link that stops messages of the event's category on the claim's channel.

        Of a digest it stops the marketing in it, all of the channel's if that has several categories.

        Returns:
            ``None`` if there is no page, or no person who could stop it: a delivery that is not for a recipient, and
            notifications of purpose ``security``.
        """
        purpose = self.purpose_of(claim)
        if self._public_url is None or purpose is Purpose.SECURITY or not _is_personal(claim):
            return None
        is_marketing = purpose is Purpose.MARKETING
        about = [each for each in _events(claim) if self._purpose(each) is purpose] if is_marketing else [claim]
        subjects = {self._subject(each) for each in about}
        category, type_ = subjects.pop() if len(subjects) == 1 else (None, None)
        scope = UnsubscribeScope(
            tenant=claim.tenant,
            recipient_id=claim.subscriber_id,
            channel=claim.channel,
            category=category,
            type=type_,
            purpose=purpose if is_marketing else None,
            expires_at=now + LIFETIME,
        )
        return link_of(self._public_url, self._tokens.sign(scope))

    def purpose_of(self, claim: Claim) -> Purpose:
        """Return why the message is sent, as far as is known: a digest for marketing, if anything in it is."""
        purposes = {self._purpose(each) for each in _events(claim)}
        return Purpose.MARKETING if Purpose.MARKETING in purposes else self._purpose(claim)

    def _purpose(self, event: Claim | DigestItem) -> Purpose:
        return _PURPOSES.get(event.details.purpose or self._declared(event, "purpose") or "", Purpose.TRANSACTIONAL)

    def _subject(self, event: Claim | DigestItem) -> tuple[str | None, str | None]:
        """Return the category that a link is about or, if the event has none, its type."""
        category = event.details.category or self._declared(event, "category")
        if category is None or category == DEFAULT_CATEGORY:  # which has nothing in common
            return None, event.event_type
        return category, None

    def _declared(self, event: Claim | DigestItem, field: str) -> str | None:
        declared = self._types.get(event.event_type)
        value: str | None = getattr(declared, field, None)
        return value


def _events(claim: Claim) -> tuple[Claim | DigestItem, ...]:
    """Return what a message is about."""
    return (claim,) if claim.collected is None else claim.collected.items


class MarketingRenderer:
    """Gives marketing e-mails the address for one-click unsubscribing, whatever has made the message.

    Mailbox providers require it of bulk senders, so an e-mail without any is not sent: it is held until there is one.

    Args:
        otherwise: Makes the messages.
    """

    def __init__(self, otherwise: Renderer, urls: UnsubscribeUrls) -> None:
        self._otherwise = otherwise
        self._urls = urls

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        message = self._otherwise.render(claim, destination, now=now)
        if not isinstance(message, EmailMessage) or message.unsubscribe_url is not None or not _is_personal(claim):
            return message
        if self._urls.purpose_of(claim) is not Purpose.MARKETING:
            return message
        url = self._urls.url_for(claim, now)
        if url is None:
            raise TemplateError(
                f"{claim.event_type} (email) is marketing and has no address for unsubscribing: set public_url= or "
                "NOTIFYKIT_PUBLIC_URL, or write email.unsubscribe.txt"
            )
        # On a developer's machine the page has no https, which the header needs.
        return attrs.evolve(message, unsubscribe_url=url) if url.startswith("https:") else message


def _is_personal(claim: Claim) -> bool:
    return is_for_person(claim.subscription_id, claim.address)


if TYPE_CHECKING:
    _conforms: type[Renderer] = MarketingRenderer
