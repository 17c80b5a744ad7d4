"""The page as HTML: one sentence and at most two buttons, with a style of its own and no script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape

import attrs

from notifykit.models.checks import field_check, text

_COLOR_LENGTHS = (4, 7)


def _color(value: object) -> str | None:
    is_hex = isinstance(value, str) and len(value) in _COLOR_LENGTHS and value.startswith("#")
    if is_hex and set(str(value)[1:].lower()) <= set("0123456789abcdef"):
        return None
    return "must be a color such as #1d4ed8"


@attrs.frozen(kw_only=True)
class Look:
    """What a tenant's page looks like.

    Attributes:
        name: Of the sender; empty for none.
        color: Of the main button, such as ``#1d4ed8``; its text is white.
    """

    name: str = attrs.field(default="", validator=field_check(text(most=100, empty=True)))
    color: str = attrs.field(default="#1d4ed8", validator=field_check(_color))


_STYLE = """\
:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:#f4f4f5;color:#18181b;
font:1.0625rem/1.5 system-ui,sans-serif}
main{box-sizing:border-box;width:min(30rem,100% - 2rem);margin:1rem;padding:2rem;border-radius:.75rem;background:#fff;
overflow-wrap:anywhere}
p{margin:0 0 1.5rem;font-size:1.25rem}
small{display:block;margin-bottom:.5rem;font-size:1rem;opacity:.75}
form{display:flex;flex-wrap:wrap;gap:.75rem}
button{padding:.75rem 1.25rem;border:1px solid currentcolor;border-radius:.5rem;background:none;color:inherit;
font:inherit;cursor:pointer}
button.main{border-color:COLOR;background:COLOR;color:#fff}
@media(prefers-color-scheme:dark){body{background:#18181b;color:#f4f4f5}main{background:#27272a}}
"""


@attrs.frozen(kw_only=True)
class Page:
    """What one response shows.

    Attributes:
        language: Of its texts.
        buttons: Value and text of each, the main one first.
    """

    look: Look
    language: str
    title: str
    sentence: str
    buttons: Sequence[tuple[str, str]] = ()

    def html(self) -> str:
        """Return the document; every text in it is escaped."""
        name = f"<small>{escape(self.look.name)}</small>" if self.look.name else ""
        buttons = "".join(
            f'<button name="action" value="{escape(value)}"{_MAIN * (at == 0)}>{escape(text)}</button>'
            for at, (value, text) in enumerate(self.buttons)
        )
        form = f'<form method="post">{buttons}</form>' if buttons else ""
        title = escape(" – ".join(filter(None, (self.title, self.look.name))))
        return (
            f'<!doctype html><html lang="{self.language}"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
            f"<style>{self._style}</style></head>"
            f"<body><main>{name}<p>{escape(self.sentence)}</p>{form}</main></body></html>"
        )

    def headers(self) -> Mapping[str, str]:
        """Return the header fields: nothing is loaded, framed, kept, or told to other sites."""
        style = b64encode(sha256(self._style.encode()).digest()).decode()
        return {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": f"default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'",
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-robots-tag": "noindex",
        }

    @property
    def _style(self) -> str:
        return _STYLE.replace("COLOR", self.look.color)


_MAIN = ' class="main"'
