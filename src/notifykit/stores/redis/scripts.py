"""The scripts: a file for each verb, which begins with what several of them share.

The server knows a script by the hash of its text, until it is restarted or told to forget all scripts.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Final, NamedTuple

#: What scripts share (``scripts/shared``), in this order.
_SHARED: Final = ("base", "queue", "events", "deliveries", "digests", "planned", "listing", "records")
_SHARED_BY_INBOX: Final = ("base", "inbox")


class Script(NamedTuple):
    """A script, and the hash that the server knows it by."""

    text: str
    hash: str


@cache
def script(verb: str) -> Script:
    """Return the script of a verb."""
    folder = files(__package__) / "scripts"
    parts = _SHARED_BY_INBOX if verb.startswith("inbox_") else _SHARED
    texts = [(folder / "shared" / f"{name}.lua").read_text() for name in parts]
    text = "".join((*texts, (folder / f"{verb}.lua").read_text()))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
