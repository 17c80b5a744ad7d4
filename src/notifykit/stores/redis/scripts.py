"""The scripts: a file for each verb, which begins with what it uses of the functions that several of them share.

The server knows a script by the hash of its text, until it is restarted or told to forget all scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

#: What scripts share (``scripts/shared``), in this order; what is about inboxes comes last.
_SHARED: Final = (
    "base",
    "writes",
    "queue",
    "events",
    "deliveries",
    "digests",
    "planned",
    "listing",
    "records",
    "receipts",
)
_SHARED_BY_INBOXES: Final = ("base", "writes", "inbox")
_WORD: Final = re.compile(r"\w+")
_COMMENT: Final = re.compile(r"--[^\n]*")
#: What a shared file consists of: functions and names, each beginning at the left margin.
_DEFINITION: Final = re.compile(r"^local .*?(?=^local |\Z)", re.MULTILINE | re.DOTALL)
_NAMES: Final = re.compile(r"local (?:function )?((?:\w+,\s*)*\w+)")


class Script(NamedTuple):
    """A script, and the hash that the server knows it by."""

    text: str
    hash: str


class _Definition(NamedTuple):
    """One or several names of a shared file, and the text that defines them."""

    names: frozenset[str]
    text: str


@cache
def script(verb: str) -> Script:
    """Return the script of a verb."""
    folder = files(__package__) / "scripts"
    shared = _definitions(_SHARED_BY_INBOXES if verb.startswith("inbox_") else _SHARED)
    own = _without_comments(folder / f"{verb}.lua")
    text = "".join((*_used_by(own, shared), own))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _used_by(text: str, shared: Iterable[_Definition]) -> list[str]:
    """Return the definitions that a text needs: the server runs through all of them at each call of the script."""
    used: list[str] = []
    words = set(_WORD.findall(text))
    for definition in reversed([*shared]):  # each uses only what stands before it
        if definition.names & words:
            used.append(definition.text)
            words.update(_WORD.findall(definition.text))
    return used[::-1]


@cache
def _definitions(names: tuple[str, ...]) -> tuple[_Definition, ...]:
    folder = files(__package__) / "scripts" / "shared"
    texts = [text for name in names for text in _DEFINITION.findall(_without_comments(folder / f"{name}.lua"))]
    return tuple(_Definition(_defined_by(text), text) for text in texts)


def _defined_by(text: str) -> frozenset[str]:
    found = _NAMES.match(text)
    assert found is not None, "a definition begins with its names"
    return frozenset(_WORD.findall(found[1]))


def _without_comments(file: Traversable) -> str:
    return _COMMENT.sub("", file.read_text())
