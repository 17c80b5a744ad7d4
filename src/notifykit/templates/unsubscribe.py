"""The links by which people stop what they are told: in the texts of messages, and in the header of marketing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from ..errors import TemplateError
from ..models.delivery import Claim
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

        Returns:
            ``None`` if there is no page, or no person who could stop it: a delivery that is not for a recipient, and
            notifications of purpose ``security``.
        """
        purpose = self.purpose_of(claim)
        if self._public_url is None or purpose is Purpose.SECURITY or not _is_personal(claim):
            return None
        category = claim.details.category or self._declared(claim, "category")
        if category == DEFAULT_CATEGORY:  # which has nothing in common
            category = None
        scope = UnsubscribeScope(
            tenant=claim.tenant,
            recipient_id=claim.subscriber_id,
            channel=claim.channel,
            category=category,
            type=None if category else claim.event_type,
            purpose=purpose if purpose is Purpose.MARKETING else None,
            expires_at=now + LIFETIME,
        )
        return link_of(self._public_url, self._tokens.sign(scope))

    def purpose_of(self, claim: Claim) -> Purpose:
        """Return why the event is sent, as far as its publisher or this program knows."""
        return _PURPOSES.get(claim.details.purpose or self._declared(claim, "purpose") or "", Purpose.TRANSACTIONAL)

    def _declared(self, claim: Claim, field: str) -> str | None:
        declared = self._types.get(claim.event_type)
        value: str | None = getattr(declared, field, None)
        return value


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
