"""Where the demo's mails go: a mail server on this machine, or a file where the extra for e-mail is not installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ...errors import MissingExtraError


class MailBox(NamedTuple):
    """Where mails go.

    Attributes:
        url: Of the provider.
        says: What it is.
        subjects: Returns the subjects of the mails that came for an address, in order.
    """

    url: str
    says: str
    subjects: Callable[[str], Sequence[str]]


@contextmanager
def open_mailbox(folder: Path) -> Iterator[MailBox]:
    """Start a mail server, or name a file in ``folder``."""
    try:
        import aiosmtplib  # noqa: F401 - what the dispatcher needs to send to the server

        from ...testing.smtp import FakeSmtpServer
    except (ImportError, MissingExtraError):
        file = folder / "caught.jsonl"
        yield MailBox(
            f"catch://{quote(str(file))}",
            "a file (the extras email and testing bring a mail server)",
            lambda to: _caught(file, to),
        )
        return
    with FakeSmtpServer() as server:
        yield MailBox(
            server.url,
            f"a mail server on port {server.port}",
            lambda to: [str(mail.message["Subject"]) for mail in server.mails if mail.recipient == to],
        )


def _caught(file: Path, address: str) -> list[str]:
    messages = [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
    return [message["message"]["subject"] for message in messages if message["to"] == address]
