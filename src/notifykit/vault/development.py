"""The key for development: a file on the developer's machine, made once by the first process that needs it."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path

from ..errors import ConfigurationError
from .ring import KeyRing

_log = logging.getLogger("notifykit")
_ADVICE = "set NOTIFYKIT_KEYS instead (notifykit keys generate)"


def state_file() -> Path:
    """Return the file for stores that have no folder of their own: one for each user of this machine."""
    if os.name == "nt":
        folder = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        folder = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(folder) / "notifykit" / "development.key"


def development_keys(file: Path) -> KeyRing:
    """Return the keys in ``file``; if the file does not exist, make one key and log that.

    Processes that start at the same time get the same key.

    Raises:
        ConfigurationError: The file cannot be read or made.
    """
    try:
        text = _read(file)
        if text is None:
            text = _make(file, KeyRing.generate("dev"))
    except OSError as error:
        raise ConfigurationError(
            f"the key for development in {file} cannot be used ({error.strerror or error}); {_ADVICE}"
        ) from error
    return KeyRing.parse(text, source=str(file))


def _read(file: Path) -> str | None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as opened:
        if os.name == "posix" and os.fstat(descriptor).st_mode & 0o077:
            _log.warning("vault.key_exposed file=%s next=%r", file, f"chmod 600 {file}")
        return opened.read()


def _make(file: Path, ring: KeyRing) -> str:
    """Write the file; the first of several processes wins, and all return what it wrote."""
    if file == state_file():  # the only folder that users do not name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(ring.text() + "\n")
            opened.flush()
            os.fsync(descriptor)
        # A link appears with its content, and never in place of another file.
        file.hardlink_to(draft)
    except FileExistsError:
        return _read(file) or ""
    finally:
        draft.unlink()
    _sync(file.parent)
    _log.warning(
        "vault.key_made key=%s file=%s: secrets in this store are encrypted with it; keep the file with the data, "
        "and before production %s",
        ring.current,
        file,
        _ADVICE,
    )
    return ring.text()


def _sync(folder: Path) -> None:
    # If a power cut loses the key, the secrets can no longer be decrypted.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
