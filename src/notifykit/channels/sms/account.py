"""What every SMS provider shares: the sender, the countries it may send to, and how long a text may be.

An SMS costs money, so an answer that leaves open whether the vendor took it is ``Uncertain``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple

import attrs

from ...errors import InvalidInputError
from ...models.destination import Destination
from ...models.messages import Message, SmsMessage
from ...models.outcome import Answer, BadRecipient, Outcome, Permanent
from ...policies.sms import COUNTRIES, canonical_number, countries_of, plain, segments
from ..http_answers import HttpAnswer, Meaning
from ..http_provider import Vendor, http_channel
from ..messages import MessageChannel
from ..provider_url import ProviderUrl

if TYPE_CHECKING:
    from ...ports import Renderer

#: Options of every SMS provider's URL.
OPTIONS = ("callback", "countries", "from", "replace", "segments")
#: A telephone number, a short code, or a name, as GSM networks allow it.
SENDER = r"\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9 &._-]{1,11}"
_SWITCH = {"on": "on", "off": "off"}
#: A gateway in front of the vendor did not get its answer.
_GATEWAY = frozenset({502, 504})


class Text(NamedTuple):
    """A message that may be sent.

    Attributes:
        number: In canonical form.
        is_gsm: Whether GSM-7 has all characters of the text.
    """

    number: str
    text: str
    is_gsm: bool


@attrs.frozen(kw_only=True)
class SmsAccount:
    """An account with an SMS provider, and what it may be used for.

    Attributes:
        url: The provider's URL.
        sender: Whom the message comes from: a telephone number, a short code or a name; empty if the vendor chooses.
        countries: Where messages may go (ISO 3166-1); ``None`` for everywhere.
        most_segments: How many segments a text may have.
        callback: The URL that the vendor reports to, if it is told with each message.
        replaces: Whether typographic characters are replaced if the text is in GSM-7 then.
    """

    url: ProviderUrl
    sender: str
    countries: frozenset[str] | None
    most_segments: int = 10
    callback: str | None = None
    replaces: bool = True

    @classmethod
    def of(cls, url: ProviderUrl, *, sender: str = SENDER, needs_sender: bool = True) -> SmsAccount:
        """Read the options of a URL.

        Args:
            sender: A pattern of what the option ``from`` may be.
            needs_sender: Whether it must be there; otherwise the vendor may choose one.

        Raises:
            ConfigurationError: An option is missing or wrong.
        """
        given = url.options.get("from", "")
        if (given or needs_sender) and not re.fullmatch(sender, given):
            raise url.wrong(
                "from= is whom messages come from: a telephone number, a short code, or a name of up to 11 letters"
            )
        return cls(
            url=url,
            sender=given,
            countries=_countries(url),
            most_segments=url.whole("segments", 10, most=100),
            callback=_callback(url),
            replaces=url.choice("replace", _SWITCH) == "on",
        )

    @property
    def basic(self) -> str:
        """The credentials as HTTP's basic authentication sends them."""
        return b64encode(":".join(self.url.credentials).encode()).decode()

    def text_for(self, message: Message, destination: Destination) -> Text | Outcome:
        """Return what is sent, or the outcome of a message that must not be."""
        if not isinstance(message, SmsMessage):
            raise TypeError(f"{self.url.scheme} carries an SmsMessage, not a {type(message).__name__}")
        try:
            number = canonical_number(destination.address)  # another program may have stored it
        except InvalidInputError as error:
            return BadRecipient(reason="invalid_address", answer=Answer(body=str(error).encode()))
        if self.countries is not None and not countries_of(number) & self.countries:
            found = ",".join(sorted(countries_of(number))) or "no country"
            return Permanent(reason="country_not_allowed", answer=_said(f"the number is of {found}: see countries="))
        text = plain(message.text) if self.replaces else message.text
        count, outside_gsm = segments(text)
        if count > self.most_segments:
            return Permanent(reason="too_many_segments", answer=_said(f"the text has {count} segments: see segments="))
        return Text(number, text, outside_gsm is None)

    def channel(self, vendor: Vendor, renderer: Renderer | None) -> MessageChannel:
        """Return the channel that sends through ``vendor``."""
        return http_channel("sms", vendor, self.url, renderer=renderer, check_address=canonical_number)


def meaning_of(answer: HttpAnswer) -> Meaning:
    """Return what the status of an answer without a known code says about an SMS."""
    return Meaning.UNCERTAIN if answer.status in _GATEWAY else answer.meaning()


def _countries(url: ProviderUrl) -> frozenset[str] | None:
    given = url.options.get("countries", "")
    if given == "all":
        return None
    countries = frozenset(country.strip().upper() for country in given.split(",")) - {""}
    if not countries:
        raise url.wrong(
            "countries= is missing: the countries that you send to, such as countries=DE,AT, or countries=all. "
            "It protects against toll fraud, which makes you send to expensive numbers"
        )
    if unknown := sorted(countries - COUNTRIES):
        raise url.wrong(f"countries= has {', '.join(unknown)}: not the two letters of a country (ISO 3166-1)")
    return countries


def _callback(url: ProviderUrl) -> str | None:
    callback = url.options.get("callback")
    if callback is not None and not (len(callback) <= 100 and re.fullmatch(r"https?://[^\s?#]+", callback)):
        raise url.wrong("callback= is the URL that the vendor reports to, of up to 100 characters and without a query")
    return callback


def _said(text: str) -> Answer:
    return Answer(body=text.encode())
