"""The words by which people stop and start text messages.

Pure.  What counts is a message that consists of such a word: carriers and vendors read them alike, and "please stop by
on Friday" is no wish to stop.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Keyword(StrEnum):
    """What a person asks for."""

    STOP = "stop"
    START = "start"
    HELP = "help"


_STOP, _START, _HELP = Keyword.STOP, Keyword.START, Keyword.HELP
#: By language, in lower case and without accents; the English ones count everywhere, as carriers have it.
KEYWORDS: Final[Mapping[str, Mapping[Keyword, frozenset[str]]]] = {
    "en": {
        _STOP: frozenset({"stop", "stopall", "unsubscribe", "end", "quit", "cancel", "revoke", "optout"}),
        _START: frozenset({"start", "unstop", "yes"}),
        _HELP: frozenset({"help", "info"}),
    },
    "de": {
        _STOP: frozenset({"stopp", "abmelden", "ende"}),
        _START: frozenset({"anmelden"}),
        _HELP: frozenset({"hilfe"}),
    },
    "es": {_STOP: frozenset({"parar", "baja", "alto"}), _START: frozenset({"alta"}), _HELP: frozenset({"ayuda"})},
    "fr": {_STOP: frozenset({"arret", "arreter"}), _START: frozenset({"reprendre"}), _HELP: frozenset({"aide"})},
    "it": {_STOP: frozenset({"fine", "basta"}), _START: frozenset({"inizia"}), _HELP: frozenset({"aiuto"})},
    "nl": {_STOP: frozenset({"stoppen", "afmelden"}), _START: frozenset({"aanmelden"}), _HELP: frozenset()},
    "pt": {_STOP: frozenset({"parar", "sair"}), _START: frozenset({"iniciar"}), _HELP: frozenset({"ajuda"})},
}
#: The longest message that is looked at.
_MOST: Final = 40


def keyword_of(text: str, locale: str | None = None) -> Keyword | None:
    """Return what a text message asks for; ``None`` if it is no keyword.

    Args:
        locale: Of the person, such as ``fr-CA``: its language's words count beside the English ones.
    """
    if len(text) > _MOST:
        return None
    word = _plain(text)
    language = (locale or "").replace("_", "-").partition("-")[0].lower()
    for table in (KEYWORDS["en"], KEYWORDS.get(language, {})):
        for keyword, words in table.items():
            if word in words:
                return keyword
    return None


def _plain(text: str) -> str:
    """Return the letters of a text in lower case without accents: ``Stop!`` and ``STOP ALL`` are keywords too."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text).casefold() if letter.isalpha())
