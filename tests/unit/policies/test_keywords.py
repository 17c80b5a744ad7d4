"""The words by which people stop and start text messages."""

from __future__ import annotations

import pytest

from notifykit.policies.keywords import KEYWORDS, Keyword, keyword_of


@pytest.mark.parametrize(
    ("text", "locale", "expected"),
    [
        *((word, None, Keyword.STOP) for word in ("STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL")),
        *((word, None, Keyword.START) for word in ("START", "UNSTOP", "YES")),
        *((word, None, Keyword.HELP) for word in ("HELP", "INFO")),
        (" Stop!\n", None, Keyword.STOP),
        ("stop all", "de", Keyword.STOP),
        ("“STOP”", None, Keyword.STOP),
        ("ＳＴＯＰ", None, Keyword.STOP),
        ("ARRÊT", "fr-CA", Keyword.STOP),
        ("arret", "fr_FR", Keyword.STOP),
        ("Stopp", "de-AT", Keyword.STOP),
        ("Stopp", None, None),
        ("fine", "en", None),
        ("fine", "it", Keyword.STOP),
        ("AYUDA", "es", Keyword.HELP),
        ("please stop by on Friday", None, None),
        ("stop" + " " * 40, None, None),
        ("", None, None),
        ("2", None, None),
        ("да", "ru", None),
    ],
)
def test_a_message_is_a_keyword_only_as_a_whole(text: str, locale: str | None, expected: Keyword | None) -> None:
    """Whatever the case, the accents and the signs around it; in the person's language and in English."""
    assert expected is keyword_of(text, locale)


def test_no_word_means_two_things() -> None:
    """In one language, beside the English words."""
    for language, table in KEYWORDS.items():
        words = [
            word
            for tables in {id(t): t for t in (KEYWORDS["en"], table)}.values()
            for its in tables.values()
            for word in its
        ]
        assert len(words) == len(set(words)), language
        assert all(word.isascii() and word.islower() for word in words)
