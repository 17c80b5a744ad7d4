"""Where a store's keys come from: the program, the environment, or a key made for development."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ..environment import ENVIRONMENT, KEYS, choice
from ..errors import ConfigurationError
from .development import development_keys
from .ring import HOW_TO_MAKE, KeyRing

#: Names of environments where a key may be made, and of those where none is.  There are no others: a mistyped name
#: must not decide about keys.
_LENIENT = ("development", "dev", "test", "testing", "local")
_STRICT = ("production", "prod", "staging")


class Vault:
    """The keys of one store, found when they are first needed.

    Args:
        keys: What the program passes; else ``NOTIFYKIT_KEYS`` counts.
        environment: ``production``, ``staging``, ``development``, ``test`` …; else ``NOTIFYKIT_ENV`` counts.
        is_local: Whether the store is one that a developer's machine would have.
        file: Where a key for development is kept; ``None`` for a store that does not outlive its process.

    Attributes:
        given: The keys that the program passed.
        environment: The environment that the program named.
    """

    def __init__(
        self, keys: KeyRing | None = None, environment: str | None = None, *, is_local: bool, file: Path | None
    ) -> None:
        self.given = keys
        self.environment = environment
        self._ring = keys
        self._is_local = is_local
        self._file = file
        self._lock = threading.Lock()

    @property
    def ring(self) -> KeyRing:
        """The keys.

        Raises:
            ConfigurationError: There are none, and none may be made here.
        """
        if self._ring is None:
            with self._lock:
                if self._ring is None:
                    self._ring = self._given() or self._made()
        return self._ring

    def check(self) -> None:
        """Raise what :attr:`ring` would raise, without making a key.

        Raises:
            ConfigurationError: Or the name of the environment is unknown.
        """
        self._named()
        if self._ring is None and self._given() is None:
            self._refuse_to_make_one()

    def _named(self) -> str | None:
        return choice(ENVIRONMENT, self.environment, (*_STRICT, *_LENIENT))

    def _given(self) -> KeyRing | None:
        text = os.environ.get(KEYS, "").strip()
        return KeyRing.parse(text, source=KEYS) if text else None

    def _made(self) -> KeyRing:
        self._refuse_to_make_one()
        return KeyRing.generate("memory") if self._file is None else development_keys(self._file)

    def _refuse_to_make_one(self) -> None:
        named = self._named()
        if self._file is None or named in _LENIENT or (not named and self._is_local):
            return
        why = f"in the environment {named!r}" if named else "for a database on another host"
        raise ConfigurationError(
            f"there are no keys to encrypt secrets with, and {why} none is made up: set {KEYS}; {HOW_TO_MAKE}"
            + ("" if named else f" (or say that this is no production with {ENVIRONMENT}=development)")
        )
