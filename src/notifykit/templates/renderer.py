"""Makes messages of templates: the :class:`~notifykit.ports.Renderer` of a folder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError

from ..codec import loads, timestamp
from ..errors import ConfigurationError, TemplateError
from ..models.delivery import Claim, Collected
from ..models.destination import Destination
from ..models.messages import ChatMessage, EmailMessage, InAppMessage, Message, PushMessage, SmsMessage, title_of
from ..models.template import TenantTemplates
from .html import inlined, text_of
from .library import Content, Library, chain, own_name, read_folder, tenants_of
from .limits import MAX_LINE
from .rendering import Problem, Rendering
from .syntax import Place
from .values import Wrapper

if TYPE_CHECKING:
    from ..ports import Renderer
    from .unsubscribe import UnsubscribeUrls

#: Messages that are kept because other people may get the same.
_MAX_KEPT: Final = 32
#: Tenants with stored templates whose compiled form is kept.
_MAX_TENANTS: Final = 200
#: Spaces that an SMS would cost a whole second alphabet for.
_PLAIN_SPACES: Final = {0xA0: " ", 0x202F: " "}


class Templates:
    """Renders messages from templates.

    Args:
        source: The folder of the templates, or their texts by name (``order.shipped/email.html``).
        default_locale: The language of the files without a locale; also of dates in them.
        otherwise: Renders what there is no template for; by default that is an error.
        urls: Makes the links for unsubscribing; by default there are none.

    Attributes:
        library: The templates of the host.
        tenants: Which tenants have templates of their own.

    Raises:
        ConfigurationError: The folder cannot be read, or the locale is none.
        TemplateError: A file has no name of a template.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, str],
        *,
        default_locale: str = "en",
        otherwise: Renderer | None = None,
        urls: UnsubscribeUrls | None = None,
    ) -> None:
        files = source if isinstance(source, Mapping) else read_folder(source)
        self.library = Library(files)
        self.tenants = tenants_of(files)
        self._libraries: dict[str, Library] = {}
        self._stored: OrderedDict[str, tuple[str, Library]] = OrderedDict()
        default = babel_locale(default_locale)
        if default is None:
            raise ConfigurationError(f"default_locale: {default_locale[:40]!r} is not a locale such as en or de-AT")
        self._default = default
        self._otherwise = otherwise
        self._urls = urls
        self._kept: OrderedDict[tuple[object, ...], Message] = OrderedDict()

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        person = destination.config
        wanted: str | None = getattr(person, "locale", None)
        # One event of a digest is sent as that event; ``collected`` has more.
        collected = claim.collected
        folder = claim.event_type if collected is None else f"digest.{claim.digest}"
        stored: TenantTemplates | None = getattr(person, "templates", None)
        _require_readable(stored, folder)
        library = self.library_of(claim.tenant, stored)
        content = library.content(folder, claim.channel, wanted)
        if content is None:
            if self._otherwise is None:
                raise TemplateError(f"there is no template {folder}/{claim.channel}")
            return self._otherwise.render(claim, destination, now=now)
        zone: str | None = getattr(person, "zone", None)
        key = (claim.event_id, claim.tenant, content, claim.channel, wanted, zone)
        if collected is None and (kept := self._kept.get(key)) is not None:
            return kept
        message = self._made(library, content, folder, claim, person, now)
        if collected is None and not content.uses & {"to", "now", "unsubscribe_url"}:
            self._kept[key] = message
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return message

    def library_of(self, tenant: str, stored: TenantTemplates | None = None) -> Library:
        """Return the templates that a tenant's messages are made of.

        Args:
            stored: What the tenant has stored, which takes the place of files of the same name.

        Raises:
            TemplateError: One of the tenant's files has no name of a template.
        """
        if stored is not None:
            return self._with_stored(tenant, stored)
        if tenant not in self.tenants:
            return self.library
        if (library := self._libraries.get(tenant)) is None:
            library = self._libraries[tenant] = Library(self.library.files, tenant)
        return library

    def with_own(self, tenant: str, files: Mapping[str, str]) -> Templates:
        """Return the same templates with files of a tenant's own; see :meth:`library_of`."""
        own = {own_name(tenant, name): text for name, text in files.items()}
        return Templates({**self.library.files, **own}, default_locale=str(self._default).replace("_", "-"))

    def _with_stored(self, tenant: str, stored: TenantTemplates) -> Library:
        kept = self._stored.get(tenant)
        if kept is None or kept[0] != stored.version:
            files = {**self.library.files, **{own_name(tenant, name): text for name, text in stored.files.items()}}
            kept = self._stored[tenant] = stored.version, Library(files, tenant)
            if len(self._stored) > _MAX_TENANTS:
                self._stored.popitem(last=False)
        self._stored.move_to_end(tenant)
        return kept[1]

    def _made(
        self, library: Library, content: Content, folder: str, claim: Claim, person: object, now: datetime
    ) -> Message:
        rendering = Rendering(
            self._locale(content, getattr(person, "locale", None)), zone_of(getattr(person, "zone", None)), now
        )
        values = _values(claim, person, now, rendering)
        if self._urls is not None and "unsubscribe_url" in content.uses:
            values["unsubscribe_url"] = self._urls.url_for(claim, now)
        name = ".".join(filter(None, (f"{folder}/{claim.channel}", content.locale)))
        message = _Parts(library, content, rendering, values, f"{name}@{content.version}")
        return _MAKERS[claim.channel](message, title_of(folder))

    def _locale(self, content: Content, wanted: str | None) -> Locale:
        """Return how dates and numbers are written: as the person has it, if the message is in the same language."""
        written = babel_locale(content.locale) or self._default
        personal = babel_locale(wanted or "")
        return personal if personal is not None and personal.language == written.language else written


def _require_readable(stored: TenantTemplates | None, folder: str) -> None:
    """Raise if a message may need a stored template that is damaged: the host's would say something else."""
    for name in () if stored is None else stored.unreadable:
        if name.startswith(("_", f"{folder}/")):
            raise TemplateError(f"the stored template {name} is damaged: save it anew, or remove it")


# ── what templates see ─────────────────────────────────────────────────────────────────────────


def _values(claim: Claim, person: object, now: datetime, rendering: Rendering) -> dict[str, Any]:
    wrap = Wrapper(rendering.step).wrap
    body = loads(claim.body)
    details = claim.details
    to = {name: getattr(person, name, None) for name in ("id", "name", "locale", "zone")}
    to["id"] = to["id"] or claim.subscriber_id
    event = {
        "id": claim.event_id,
        "type": claim.event_type,
        "tenant": claim.tenant,
        "time": body.get("timestamp"),
        "actor": details.actor,
        "resource_kind": details.resource_kind,
        "resource_id": details.resource_id,
        "category": details.category,
        "purpose": details.purpose,
        "metadata": {} if details.metadata is None else loads(details.metadata.encode()),
    }
    return {
        "data": wrap(body.get("data") or {} if claim.collected is None else _digest(claim.collected)),
        "to": wrap({**to, "address": claim.address, "traits": getattr(person, "traits", {})}),
        "event": wrap(event),
        "now": timestamp(now),
        "unsubscribe_url": None,
    }


def _digest(collected: Collected) -> dict[str, Any]:
    """Return what a digest has collected as the data of its templates."""
    events = [
        {
            "id": item.event_id,
            "type": item.event_type,
            "time": timestamp(item.published_at),
            "data": loads(item.body)["data"],
        }
        for item in collected.items
    ]
    return {"total": collected.total, "items": events}


@lru_cache(maxsize=1024)
def babel_locale(name: str) -> Locale | None:
    """Return the locale of a name such as ``de-AT``, or the nearest that is known; ``None`` for none."""
    for part in chain(name):
        try:
            if part:
                return Locale.parse(part, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


def zone_of(name: str | None) -> ZoneInfo:
    """Return a zone; that of a name which is no zone on this machine is UTC."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


# ── messages ───────────────────────────────────────────────────────────────────────────────────


class _Parts:
    """Renders the parts of one message, each when it is asked for."""

    def __init__(
        self, library: Library, content: Content, rendering: Rendering, values: dict[str, Any], template: str
    ) -> None:
        self._library = library
        self._content = content
        self._rendering = rendering
        self.values = values
        self.template = template

    def whole(self, part: str) -> str | None:
        """Return a part, or ``None`` if there is no file for it."""
        file = self._content.files.get(part)
        if file is None:
            return None
        return self._library.render(file, self._content.locale, self._rendering, self.values)

    def html(self) -> str | None:
        html = self.whole("html")
        try:
            return None if html is None else inlined(html)
        except Problem as problem:
            raise Place(self._content.files["html"], 1).error(str(problem)) from problem

    def text(self) -> str:
        return (self.whole("txt") or "").strip()

    def line(self, part: str) -> str | None:
        """Return a part as one line: a subject with a line break would be two header fields."""
        made = " ".join((self.whole(part) or "").split())
        if len(made) > MAX_LINE:
            raise Place(self._content.files[part], 1).error(f"is longer than {MAX_LINE:,} characters")
        return made or None


def _email(parts: _Parts, title: str) -> EmailMessage:
    unsubscribe = parts.line("unsubscribe")
    parts.values["unsubscribe_url"] = unsubscribe or parts.values["unsubscribe_url"]
    html, text = parts.html(), parts.text()
    return EmailMessage(
        subject=parts.line("subject") or title,
        text=text or text_of(html or ""),
        html=html,
        unsubscribe_url=unsubscribe,
        template=parts.template,
    )


def _sms(parts: _Parts, _: str) -> SmsMessage:
    return SmsMessage(text=parts.text().translate(_PLAIN_SPACES), template=parts.template)


def _push(parts: _Parts, title: str) -> PushMessage:
    return PushMessage(
        title=parts.line("title") or title, body=parts.text(), url=parts.line("url"), template=parts.template
    )


def _in_app(parts: _Parts, title: str) -> InAppMessage:
    return InAppMessage(
        title=parts.line("title") or title, body=parts.text(), url=parts.line("url"), template=parts.template
    )


def _chat(parts: _Parts, _: str) -> ChatMessage:
    return ChatMessage(text=parts.text(), template=parts.template)


_MAKERS: Final[Mapping[str, Callable[[_Parts, str], Message]]] = {
    "email": _email,
    "sms": _sms,
    "push": _push,
    "in_app": _in_app,
    "chat": _chat,
}

if TYPE_CHECKING:
    _conforms: type[Renderer] = Templates
