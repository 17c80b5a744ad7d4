"""How deep the tags of HTML nest, if that is certain.

Parsers of HTML repair what is written, so the depth of a broken document can be anything.  This accepts what every
parser understands in the same way: well-formed tags, each closed in the order in which they were opened.
"""

from __future__ import annotations

import re
from typing import Final

_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
#: Their end may be left out: by the next of the same name, or by the end of what they are in.
_OPTIONAL: Final = frozenset({"dd", "dt", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"})
#: What they contain is text, or is read by rules of its own.
_RAW: Final = frozenset(
    {"iframe", "noembed", "noframes", "noscript", "plaintext", "script", "select", "style", "template", "textarea"}
    | {"title", "xmp"}
)
_OPENING = re.compile("<[a-z]", re.IGNORECASE)
_ATTRIBUTES: Final = r"""(?:\s+[^\s"'<>/=]+(?:\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'=<>`]+))?)*\s*/?"""
_TOKEN = re.compile(
    rf"""<!--(?:>|->|.*?--!?>)                                         # a comment
      | <!(?!--|\[CDATA)[^<>]*>                                       # a doctype, a condition of mail programs
      | <(?P<text>style|title){_ATTRIBUTES}>[^<]*</(?P=text)\s*>
      | </(?P<end>[a-z][a-z0-9:-]*)\s*>
      | <(?P<start>[a-z][a-z0-9:-]*){_ATTRIBUTES}>
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def levels(html: str, most: int) -> int | None:
    """Return how deep the tags nest, or ``most`` or less without a look if there are no more; ``None`` if unsure."""
    count = len(_OPENING.findall(html))
    if count <= most:
        return count
    deepest, at = 0, html.find("<")
    open_: list[str] = []
    while at >= 0:
        match = _TOKEN.match(html, at)
        if match is None or not _follow(open_, match["start"], match["end"]):
            return None
        deepest = max(deepest, len(open_))
        at = html.find("<", match.end())
    return deepest


def _follow(open_: list[str], start: str | None, end: str | None) -> bool:
    """Open or close a tag; tell whether that is certain."""
    if start is not None:
        name = start.lower()
        if name == "tr" and open_ and open_[-1] in ("td", "th"):
            open_.pop()
        if name in _OPTIONAL and open_ and open_[-1] == name:
            open_.pop()
        if name not in _VOID:
            open_.append(name)
        return name not in _RAW
    if end is not None:
        name = end.lower()
        while open_ and open_[-1] != name and open_[-1] in _OPTIONAL:
            open_.pop()
        return bool(open_) and open_.pop() == name
    return True
