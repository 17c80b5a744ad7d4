"""Looks for mistakes in a folder of templates, without a store and without a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from ..codec import dumps, json_problems, timestamp
from ..errors import TemplateError
from ..models.delivery import Claim, EventDetails, Priority
from ..models.destination import Destination
from ..models.ids import EVENT, new_id
from ..models.messages import EmailMessage, Message, SmsMessage, is_empty
from ..policies.sms import segments
from .library import CONTENT, EXAMPLE, Content, Library, chain, own_name
from .renderer import Templates, babel_locale

#: Gmail cuts longer messages off, and with them the link to unsubscribe.
CLIPPED: Final = 102 * 1024
#: What every template can use.
VARIABLES: Final = frozenset({"data", "to", "event", "now", "unsubscribe_url"})


@attrs.frozen
class Finding:
    """One mistake.

    Attributes:
        template: The file, or the type and channel.
        code: What kind of mistake it is; does not change between versions.
        message: What is wrong, and what to do.
        line: The line, if one is known.
    """

    template: str
    code: str
    message: str
    line: int | None = None


@attrs.frozen(kw_only=True)
class Example:
    """A person for whom examples are rendered."""

    id: str = "user:42"
    name: str | None = "Ada Lovelace"
    locale: str | None = None
    zone: str | None = "UTC"
    traits: Mapping[str, Any] = attrs.field(factory=dict)


def render_example(
    templates: Templates,
    event_type: str,
    channel: str,
    data: Mapping[str, Any],
    locale: str | None = None,
    tenant: str = "",
    *,
    now: datetime | None = None,
) -> Message:
    """Render a type from a payload, as it would be for a person with this locale.

    Raises:
        TemplateError: It cannot be rendered.
    """
    now = now or datetime.now(UTC)
    if problems := json_problems(data, path="data"):
        raise TemplateError(f"{event_type}/{channel}: the payload cannot be one: {'; '.join(problems)}")
    envelope = {"type": event_type, "timestamp": timestamp(now), "data": data}
    claim = Claim(
        delivery_id="dlv_example",
        fence=1,
        attempt=1,
        tries=0,
        abandoned=0,
        tenant=tenant,
        event_id=new_id(EVENT),  # another event each time, whose message is not kept for the next
        event_type=event_type,
        subscription_id="",
        subscriber_id="user:42",
        channel=channel,
        priority=Priority.NORMAL,
        ordering_key=None,
        published_at=now,
        expires_at=None,
        lease_until=now,
        body=dumps(envelope),
        version=0,
        address="ada@example.org",
        details=EventDetails(),
    )
    person = Example(locale=locale)
    destination = Destination(
        subscriber_id=person.id, tenant=tenant, channel=channel, address="ada@example.org", config=person
    )
    return templates.render(claim, destination, now=now)


class Lint:
    """Checks the templates of a folder.

    Args:
        templates: The templates.
        marketing: The types whose purpose is ``marketing``.
        sms_segments: How many segments a text message may have.
        has_page: Whether there is a page for unsubscribing (``public_url``), so that the templates need not name one.
    """

    def __init__(
        self, templates: Templates, *, marketing: Iterable[str] = (), sms_segments: int = 1, has_page: bool = False
    ) -> None:
        self._templates = templates
        self._library = templates.library
        self._marketing = frozenset(marketing)
        self._segments = sms_segments
        self._has_page = has_page

    def findings(self) -> list[Finding]:
        """Return all mistakes, by template."""
        found = dict.fromkeys(finding for key in self._library.own for finding in self._of(*key))
        for tenant in self._templates.tenants:
            # What is missing is the host's business; a tenant's files only have to work.
            found |= dict.fromkeys(self._of_tenant(tenant))
        return list(found)

    def of_tenant(self, tenant: str) -> list[Finding]:
        """Return the mistakes in a tenant's own files, also in those that no message includes."""
        return list(dict.fromkeys(self._of_tenant(tenant)))

    def _of_tenant(self, tenant: str) -> Iterator[Finding]:
        try:
            library = self._templates.library_of(tenant)
        except TemplateError as error:
            yield Finding(str(error.template), "template_failed", _without_place(error), error.line)
            return
        for file in library.own_files:
            try:
                library.checked(file)
            except TemplateError as error:
                yield Finding(error.template or file, "template_failed", _without_place(error), error.line)
        includes = any(file.startswith(own_name(tenant, "_")) for file in library.own_files)
        for event_type, channel in library.parts if includes else library.own:
            for locale in ["", *library.locales()]:
                yield from self._of_locale(library, event_type, channel, locale, tenant)

    def _of(self, event_type: str, channel: str) -> Iterator[Finding]:
        parts = self._library.parts[event_type, channel]
        name = f"{event_type}/{channel}"
        if not any(part in parts for part in CONTENT):
            yield Finding(name, "no_content", f"there is no {channel}.txt" + (" or email.html" * (channel == "email")))
            return
        yield from self._missing(name, channel, parts)
        if event_type in self._marketing and channel == "email" and "unsubscribe" not in parts:
            yield from self._lacks_link(event_type, name)
        if event_type not in self._library.examples:
            yield Finding(event_type, "no_example", f"without {EXAMPLE} the templates cannot be rendered here")
        for locale in ["", *self._library.locales()]:
            yield from self._of_locale(self._library, event_type, channel, locale)

    def _lacks_link(self, event_type: str, name: str) -> Iterator[Finding]:
        if not self._has_page:
            why = "marketing needs email.unsubscribe.txt or public_url, for unsubscribing"
            yield Finding(name, "no_unsubscribe", why)
            return
        with contextlib.suppress(TemplateError):  # which is found by itself
            content = self._library.content(event_type, "email", "")
            if content is not None and "unsubscribe_url" not in content.uses:
                yield Finding(name, "no_unsubscribe", "marketing needs a link: {{ unsubscribe_url }}")

    def _missing(self, name: str, channel: str, parts: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
        content = {locale for part in CONTENT for locale in parts.get(part, {})}
        for locale in ["", *self._library.locales()]:
            if not any(each in content for each in chain(locale) if each or not locale):
                what = f"the locale {locale}" if locale else "people whose locale there is none for"
                yield Finding(name, "missing_locale", f"there is no template for {what}")
        if channel == "email" and (without := content - set(parts.get("subject", {}))):
            for locale in sorted(without):
                shown = f"email.{locale}.subject.txt" if locale else "email.subject.txt"
                yield Finding(name, "no_subject", f"there is no {shown}: the subject is in another language, or plain")
        for locale in sorted({each for by_locale in parts.values() for each in by_locale if each}):
            if babel_locale(locale) is None:
                yield Finding(name, "unknown_locale", f"{locale} is no locale that dates and numbers are known for")

    def _of_locale(
        self, library: Library, event_type: str, channel: str, locale: str, tenant: str = ""
    ) -> Iterator[Finding]:
        name = ".".join(filter(None, (f"{event_type}/{channel}", locale))) + (f" ({tenant})" if tenant else "")
        example = library.examples.get(event_type)
        try:
            content = library.content(event_type, channel, locale)
            if content is None or content.locale != locale:
                return
            files = [file for part, file in content.files.items() if part in CONTENT]
            if not any(library.checked(file).source.strip() for file in files):
                yield Finding(
                    name, "empty", f"there is nothing in {', '.join(files)}, and an empty message is not sent"
                )
                return
            yield from self._unknown(library, content, example)
            if example is not None:
                message = render_example(self._templates, event_type, channel, example, locale or None, tenant)
                yield from self._of_message(content, message, name)
        except TemplateError as error:
            yield Finding(error.template or name, "template_failed", _without_place(error), error.line)

    def _unknown(self, library: Library, content: Content, example: Mapping[str, Any] | None) -> Iterator[Finding]:
        for file in content.files.values():
            for variable in sorted(library.variables(file)):
                root, _, field = variable.partition(".")
                if root not in VARIABLES:
                    yield Finding(file, "unknown_variable", f"{root} is unknown: use {', '.join(sorted(VARIABLES))}")
                elif root == "data" and field and example is not None and field.partition(".")[0] not in example:
                    yield Finding(file, "unknown_variable", f"{variable} is not in {EXAMPLE}")

    def _of_message(self, content: Content, message: Message, name: str) -> Iterator[Finding]:
        if is_empty(message):
            yield Finding(name, "empty", "the example makes an empty message, which is not sent")
        if isinstance(message, EmailMessage) and message.html is not None:
            size = len(message.html.encode())
            if size > CLIPPED:
                yield Finding(name, "clipped", f"the HTML has {size // 1024} KB; mail programs cut it off after 102 KB")
        elif isinstance(message, SmsMessage):
            count, costly = segments(message.text)
            if count > self._segments:
                why = f", because of {costly!r}, which needs another alphabet" if costly else ""
                yield Finding(
                    content.files["txt"],
                    "sms_segments",
                    f"the example has {count} segments, at most {self._segments}{why}",
                )


def _without_place(error: TemplateError) -> str:
    text = str(error)
    return text.removeprefix(f"{error.template}, line {error.line}: ") if error.template else text
