"""How the pages look, and who may embed them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from ...contrib.unsubscribe import Look
from ...errors import ConfigurationError
from ...models.checks import field_check, flag, listed, text

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SITE = re.compile(r"https://(\*\.)?[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?")
_MOST_SITES = 50
#: The length of a colour such as ``#fff``.
_SHORT = 4


def _bad_options(problems: Any) -> ConfigurationError:
    return ConfigurationError("PageOptions: " + "; ".join(problems))


def _colour(value: object) -> str | None:
    return None if isinstance(value, str) and _COLOUR.fullmatch(value) else "must be like #0b57d0"


def _sites(value: object) -> str | None:
    assert isinstance(value, tuple)
    wrong = [each for each in value if not (isinstance(each, str) and _SITE.fullmatch(each))]
    return f"{str(wrong[0])[:80]!r} must be a site such as https://app.example.com" if wrong else None


def _as_sites(value: Iterable[str]) -> Any:
    return (value,) if isinstance(value, str) else listed(value, _MOST_SITES)


@attrs.frozen(kw_only=True)
class PageOptions:
    """How the pages look, and who may embed them.

    Attributes:
        name: What the portal is called: usually your product's name.
        accent: The colour of buttons, such as ``#0b57d0``; their text is black or white, whichever is readable.
        embedded_in: Sites whose pages may show the portal in a frame, such as ``https://app.example.com``.
        portal: Whether tenants have a portal.
        operations: Whether operators have pages.
        preferences: Whether people have a preference centre.
        look: Returns what the pages of a tenant's people look like; by default as all pages.

    Raises:
        ConfigurationError: A field is not what it should be.
    """

    name: str = attrs.field(default="Notifications", validator=field_check(text(most=80), _bad_options))
    accent: str = attrs.field(default="#0b57d0", validator=field_check(_colour, _bad_options))
    embedded_in: tuple[str, ...] = attrs.field(
        default=(), converter=_as_sites, validator=field_check(_sites, _bad_options)
    )
    portal: bool = attrs.field(default=True, validator=field_check(flag, _bad_options))
    operations: bool = attrs.field(default=True, validator=field_check(flag, _bad_options))

    preferences: bool = attrs.field(default=True, validator=field_check(flag, _bad_options))
    look: Callable[[str], Look] | None = None

    def look_of(self, tenant: str) -> Look:
        """Return what the pages of a tenant's people look like."""
        return Look(name=self.name, color=self.accent) if self.look is None else self.look(tenant)

    def theme(self, tenant: str | None = None) -> bytes:
        """Return the style sheet with the colours, of all pages or of a tenant's people."""
        accent = self.accent if tenant is None else self.look_of(tenant).color
        if len(accent) == _SHORT:
            accent = "#" + "".join(digit * 2 for digit in accent[1:])
        return f":root {{ --accent: {accent}; --on-accent: {_readable_on(accent)}; }}\n".encode()


def _readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast (WCAG 2.2, at least 4.58 to 1 on any colour)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#fff"
