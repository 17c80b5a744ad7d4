"""What becomes of rendered HTML: style sheets written into the tags, and the plain text for programs without HTML.

Both are given what tenants' templates made, so they take linear time, and refuse what would take long.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final

from css_inline import CSSInliner, InlineError

from .limits import MAX_HTML, MAX_LEVELS, MAX_SELECTING, MAX_STYLES, MAX_STYLING, MAX_TAG_LENGTH, MAX_TAGS
from .nesting import levels
from .rendering import Problem

_BLOCKS: Final = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote br div dl dt dd fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr li "
        "main nav ol p pre section table tr ul",
    )
)
#: Blocks with an empty line around them.
_PARAGRAPHS: Final = frozenset({"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
_HIDDEN: Final = frozenset({"head", "script", "style", "title", "template"})
_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9]*)")
_HREF = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_ALT = re.compile(r"""\salt\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_SHEET = re.compile(r"<style(.*?)(?:</style|\Z)", re.IGNORECASE | re.DOTALL)
_DECLARATIONS = re.compile(r"\{[^{}]*\}")
#: A tag whose attributes would take long to compare with each other.
_LONG_TAG = re.compile(rf"<[^<>]{{{MAX_TAG_LENGTH},}}")
#: ``:has()`` walks through the whole message for each tag; an escape in such a name could hide it.
_HAS = re.compile(r":(?:has\b|[\w-]*\\)", re.IGNORECASE)

#: Reads neither files nor the network.  Rules that cannot be inlined, such as those for narrow screens, stay.
_INLINER = CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def inlined(html: str) -> str:
    """Return HTML with its style sheets written into the ``style`` of each tag, because mail programs drop sheets.

    Raises:
        Problem: There are more tags or rules than mail may have.
    """
    tags = html.count("<")
    if tags > MAX_TAGS:
        raise Problem(f"the HTML has more than {MAX_TAGS:,} tags")
    sheets = "".join(match[1] for match in _SHEET.finditer(html))
    if not sheets:
        return html
    deep = levels(html, MAX_LEVELS)
    if deep is None or deep > MAX_LEVELS:
        problem = f"nest more than {MAX_LEVELS} deep" if deep else "are not closed, or not in their order"
        raise Problem(f"tags of the HTML {problem}")
    if _LONG_TAG.search(html):
        raise Problem(f"a tag has more than {MAX_TAG_LENGTH:,} characters")
    if len(sheets) > MAX_STYLES:
        raise Problem(f"the style sheets have more than {MAX_STYLES:,} characters")
    if _HAS.search(sheets):
        raise Problem("the style sheets use :has(), which mail programs do not know")
    selectors = _DECLARATIONS.sub("{", sheets)
    if sum(map(selectors.count, "{, >~+:[")) * tags > MAX_SELECTING or len(sheets) * tags > MAX_STYLING:
        raise Problem(f"the style sheets have too many rules for {tags:,} tags")
    try:
        made = str(_INLINER.inline(html))
    except InlineError as error:
        raise Problem(f"the style sheets cannot be used: {error}") from error
    if len(made) > MAX_HTML:
        raise Problem(f"the HTML with its styles has more than {MAX_HTML:,} characters")
    return made


def text_of(html: str) -> str:
    """Return the text of HTML: blocks are lines, links are followed by their address."""
    writer = _Writer()
    at, length = 0, len(html)
    while at < length:
        start = html.find("<", at)
        if start < 0:
            writer.write(html[at:])
            break
        writer.write(html[at:start])
        comment = html.startswith("<!--", start)
        end = html.find("-->" if comment else ">", start)
        if end < 0:  # what is not closed is not shown
            break
        if not comment:
            writer.tag(html[start + 1 : end])
        at = end + (3 if comment else 1)
    return writer.text()


def _unescaped(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:  # the number of a character has more digits than Python converts
        return text


class _Writer:
    """Collects lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._hidden: str | None = None
        self._links: list[tuple[str, int]] = []

    def write(self, text: str) -> None:
        if self._hidden is None and text:
            self._line.append(re.sub(r"[ \t\r\n]+", " ", _unescaped(text)))

    def tag(self, tag: str) -> None:
        match = _NAME.match(tag)
        if match is None:
            return
        name, is_end = match[1].lower(), tag.startswith("/")
        if self._hidden is not None:
            if is_end and name == self._hidden:
                self._hidden = None
        elif name in _HIDDEN:
            self._hidden = None if is_end or tag.endswith("/") else name
        elif name in _BLOCKS:
            self._break(name in _PARAGRAPHS)
            if name == "li" and not is_end:
                self._line.append("- ")
        elif name in ("td", "th") and is_end:
            self._line.append(" ")
        elif name == "a":
            self._link(tag, is_end)
        elif name == "img" and (alt := _ALT.search(tag)) is not None:
            self.write(alt[1] or alt[2] or "")

    def _link(self, tag: str, is_end: bool) -> None:
        if not is_end:
            href = _HREF.search(tag)
            self._links.append((_unescaped(next(filter(None, href.groups()), "")) if href else "", len(self._line)))
        elif self._links:
            address, start = self._links.pop()
            shown = "".join(self._line[start:]).strip()
            if address.startswith(("http://", "https://")) and address != shown:
                self._line.append(f" ({address})" if shown else address)

    def _break(self, paragraph: bool) -> None:
        line = re.sub(" {2,}", " ", "".join(self._line)).strip()
        self._line.clear()
        self._links.clear()
        if line:
            self._lines.append(line)
        if paragraph and self._lines and self._lines[-1]:
            self._lines.append("")

    def text(self) -> str:
        self._break(paragraph=False)
        return "\n".join(self._lines).strip()
