"""A mail server may say anything, or nothing: each attempt ends in time, with an outcome, and in bounded memory."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifykit.channels.email import channel_from_url
from notifykit.models.destination import Destination
from notifykit.models.messages import EmailMessage
from notifykit.models.outcome import (
    Accepted,
    BadRecipient,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
    outcome_problem,
)
from tests.unit.channels.receivers import make_claim

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = {
    "banner": b"220 hello\r\n",
    "EHLO": b"250-hello\r\n250 PIPELINING\r\n",
    "MAIL": b"250 ok\r\n",
    "RCPT": b"250 ok\r\n",
    "DATA": b"354 go on\r\n",
    "end": b"250 ok\r\n",
    "RSET": b"250 ok\r\n",
    "QUIT": b"221 bye\r\n",
}
MESSAGE = EmailMessage(subject="Hello", text="Hello.")


@attrs.define
class Talker:
    """A mail server that answers each command with the bytes that the test gives."""

    replies: Mapping[str, bytes]
    heard: list[str] = attrs.field(factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.replies["banner"])
        while line := (await reader.readline()).decode():
            verb = line[:4].strip().upper()
            self.heard.append(verb)
            writer.write(self.replies[verb])
            if verb == "DATA" and self.replies["DATA"].startswith(b"354"):
                while await reader.readline() not in (b".\r\n", b""):
                    pass
                writer.write(self.replies["end"])
            await writer.drain()


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """Run a server; yield the URL of a channel to it."""
    tasks = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, ValueError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}?sender=shop@example.org&tls=off"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


async def sent(url: str, *, mails: int = 1, timeout: float = 20.0) -> list[Outcome]:
    """Send mails one after the other; return what came of each."""
    channel = channel_from_url(url)
    destination = Destination(
        subscriber_id="user:42",
        tenant="acme",
        channel="email",
        address="ada@example.org",
        timeout=timedelta(seconds=timeout),
    )
    found = []
    for _ in range(mails):
        started = time.monotonic()
        outcome = await channel.provider.send(MESSAGE, make_claim(), destination, now=datetime.now(UTC))
        assert time.monotonic() - started < timeout + 10  # the machine may be busy
        assert outcome_problem(outcome) is None
        assert len(outcome.answer.body) < 40_000
        found.append(outcome)
    await channel.aclose()
    return found


# -- too much, too slow ---------------------------------------------------------------------------------


async def _endless(chunk: bytes, first: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(first)
    while True:
        writer.write(chunk * 1000)
        await writer.drain()


@pytest.mark.parametrize("chunk", [b"220-and on\r\n", b"x", b"\r\n", b"\0", b"250 ok\r\n220-"])
@pytest.mark.parametrize("stage", ["banner", "MAIL"])
async def test_what_never_ends_is_cut_off(chunk: bytes, stage: str) -> None:
    """Neither as a greeting nor as a reply; the connection is closed at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage == "MAIL":
            writer.write(GOOD["banner"])
            await reader.readline()
            writer.write(GOOD["EHLO"])
            await reader.readline()
        await _endless(chunk, b"", writer)

    async with listening(serve) as url:
        (outcome,) = await sent(url)

    assert isinstance(outcome, Transient | Throttled | Permanent), outcome


async def test_one_byte_at_a_time_ends_with_the_deadline() -> None:
    """However long the server goes on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"2")
            await asyncio.sleep(0.01)

    async with listening(serve) as url:
        assert [Transient(reason="timeout")] == await sent(url, timeout=0.1)


async def test_a_server_that_reads_nothing() -> None:
    """What has not left this process was not sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD["banner"])
        await reader.readline()
        writer.write(GOOD["EHLO"])
        await reader.readline()
        writer.write(GOOD["MAIL"] + GOOD["RCPT"] + GOOD["DATA"])
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async with listening(serve) as url:
        channel = channel_from_url(url)
        large = EmailMessage(subject="Hello", text="Hello.\n" * 3_000_000)
        destination = Destination(
            subscriber_id="a", tenant="b", channel="email", address="c@d.example", timeout=timedelta(seconds=1)
        )
        outcome = await channel.provider.send(large, make_claim(), destination, now=datetime.now(UTC))
        await channel.aclose()

    assert Transient(reason="timeout") == outcome


# -- wrong replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"banner": b"HTTP/1.1 400 Bad Request\r\n"}, "bad_reply"),
        ({"banner": b"554 go away\r\n"}, "smtp_554"),
        ({"banner": b"220 \xff\xfe\r\n"}, None),
        ({"EHLO": b"250-hello\r\n250-PIPELINING\r\n250\r\n"}, None),
        ({"EHLO": b"999 what\r\n"}, "unexpected_reply"),
        ({"MAIL": b"garbage\r\n"}, "bad_reply"),
        ({"MAIL": b"25\r\n"}, "bad_reply"),
        ({"MAIL": b"250x\r\n"}, "bad_reply"),
        ({"MAIL": b"150 go on\r\n"}, "bad_reply"),
        ({"MAIL": b"354 go on\r\n"}, "bad_reply"),
        ({"MAIL": b"334 \r\n"}, "bad_reply"),
        ({"MAIL": b"250\r\n"}, None),
        ({"MAIL": b"250 ok\n"}, None),
        ({"MAIL": b"250-one\r\n250-two\r\n250 \xff\r\n"}, None),
        ({"RCPT": b"250 ok\r\n250 and once more\r\n"}, "bad_reply"),
        ({"DATA": b"250 ok\r\n"}, "bad_reply"),
        ({"end": b"354 go on\r\n"}, "unexpected_reply"),
        ({"end": b"\0\0\0\r\n"}, "bad_reply"),
        ({"end": b"250-ok\r\n" * 500}, "bad_reply"),
    ],
)
async def test_wrong_replies(changes: Mapping[str, bytes], expected: str | None) -> None:
    """A reply that cannot be one ends the connection; what can be understood is."""
    talker = Talker({**GOOD, **changes})
    async with listening(talker.serve) as url:
        (outcome,) = await sent(url)

    assert expected == getattr(outcome, "reason", None)
    uncertain = expected is not None and "end" in changes
    assert isinstance(outcome, Accepted if expected is None else Uncertain if uncertain else Transient)


async def test_unsolicited_replies_are_not_taken_for_those_of_the_next_mail() -> None:
    """The connection is closed, and the next mail gets its own answer over another one."""
    talker = Talker({**GOOD, "end": b"250 ok\r\n550 5.1.1 for the next one\r\n"})
    async with listening(talker.serve) as url:
        outcomes = await sent(url, mails=3)

    assert [Accepted] * 3 == [type(outcome) for outcome in outcomes]
    assert 3 == talker.connections


@pytest.mark.parametrize("refused", ["MAIL", "RCPT"])
async def test_a_server_that_wants_a_text_without_a_recipient(refused: str) -> None:
    """It gets none: the mail of one person must not go to the recipient of the next."""
    talker = Talker({**GOOD, refused: b"550 5.1.1 no\r\n", "end": b"554 no valid recipients\r\n"})
    async with listening(talker.serve) as url:
        outcomes = await sent(url, mails=2)

    kind = BadRecipient if refused == "RCPT" else Transient
    assert [kind, kind] == [type(outcome) for outcome in outcomes]
    assert ["EHLO", "MAIL", "RCPT", "DATA"] * 2 == talker.heard
    assert 2 == talker.connections


async def test_a_421_answers_for_all_commands() -> None:
    """It may come in place of three replies, and the connection is over."""
    talker = Talker({**GOOD, "MAIL": b"421 4.3.2 shutting down\r\n", "RCPT": b"", "DATA": b""})
    async with listening(talker.serve) as url:
        (outcome,) = await sent(url, timeout=1)

    assert isinstance(outcome, Throttled), outcome
    assert "smtp_421" == outcome.reason


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from(sorted(GOOD)), st.binary(max_size=60), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_any_bytes_at_any_stage(changes: dict[str, bytes], seed: int) -> None:
    """Whatever a server answers, in whatever pieces, the attempt has an outcome."""
    pieces = random.Random(seed)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies = {**GOOD, **changes}

        async def say(data: bytes) -> None:
            while data:
                size = pieces.randint(1, 20)
                writer.write(data[:size])
                data = data[size:]
                await writer.drain()
                await asyncio.sleep(0)

        await say(replies["banner"])
        while line := await reader.readline():
            await say(replies.get(line[:4].decode("latin-1").upper(), replies["end"] if line == b".\r\n" else b""))

    async def main() -> list[Outcome]:
        async with listening(serve) as url:
            return await sent(url, timeout=0.05)

    (outcome,) = asyncio.run(main())
    assert isinstance(outcome, Outcome)
