"""One connection to a mail server: sends mails one after the other, with pipelined commands where that is offered.

The connection is opened, encrypted and logged in by :mod:`.dial`; here is only what happens for each mail.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from ...models.outcome import Outcome
from .mime import Mail
from .replies import Reply, Stage

#: Bounds of a reply: a longer one is no reply of a mail server.
_LONGEST_REPLY, _MOST_LINES = 32_768, 128
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


class ConnectionLostError(Exception):
    """The connection ended, or the server sent what is no reply.

    Attributes:
        reason: ``connection_lost`` or ``bad_reply``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DialError(Exception):
    """No connection could be made.

    Attributes:
        outcome: What that means for mails that wait for one.
        detail: For operators; without secrets.
    """

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


class Connection(asyncio.Protocol):
    """A connection that is ready for mails.

    Args:
        transport: Whose protocol this becomes.
        extensions: What the server offers, by lower-case names.

    Attributes:
        stage: How far the current mail has come.
        uses: For how many mails it has been used.
        idle_since: When it was given back, on the monotonic clock.
    """

    def __init__(self, transport: asyncio.Transport, extensions: Mapping[str, str]) -> None:
        self.stage = Stage.MAIL
        self.uses = 0
        self.idle_since = 0.0
        self._transport = transport
        self._pipelines = "pipelining" in extensions
        self._takes_size = "size" in extensions
        self.takes_utf8 = "smtputf8" in extensions
        self._buffer = b""
        self._lines: list[bytes] = []
        self._replies: list[Reply] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None
        self._is_over = False
        self._in_transaction = False
        transport.set_protocol(self)
        if transport.is_closing():
            self._lost = "connection_lost"

    @property
    def is_usable(self) -> bool:
        """Whether the next mail can be sent; not if the server has closed, or said anything unasked."""
        is_quiet = not (self._replies or self._lines or self._buffer)
        return is_quiet and not self._is_over and self._lost is None and not self._transport.is_closing()

    async def send(self, mail: Mail) -> tuple[Reply, Stage]:
        """Send one mail; return the reply that decided, and which stage it answers.

        If it raises, or is cancelled, the connection must be closed.

        Raises:
            ConnectionLostError: ``stage`` says how far the mail had come.
        """
        self.stage = Stage.MAIL
        self.uses += 1
        if self._in_transaction:
            await self._exchange(b"RSET\r\n", 1)
        self._in_transaction = True
        commands = self._commands(mail)
        refused = await (self._pipelined(commands) if self._pipelines else self._one_by_one(commands))
        if refused is not None:
            return refused
        data = mail.data.replace(b"\r\n.", b"\r\n..")
        self.stage = Stage.END
        (reply,) = await self._exchange(data + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"), 1)
        self._in_transaction = False
        return reply, Stage.END

    def close(self) -> None:
        """Say goodbye and close; does not wait for the answer."""
        if self.is_usable:
            self._transport.write(b"QUIT\r\n")
        self._transport.close()

    def abort(self) -> None:
        """Close at once: what state the exchange is in is not known."""
        if self.stage is Stage.END and self._transport.get_write_buffer_size():
            self.stage = Stage.DATA  # the end of the mail has not left this process
        self._transport.abort()

    # -- the exchange ----------------------------------------------------------------------------

    def _commands(self, mail: Mail) -> tuple[bytes, bytes, bytes]:
        parameters = f" SIZE={len(mail.data)}" if self._takes_size else ""
        if mail.is_utf8:
            parameters += " SMTPUTF8 BODY=8BITMIME"
        return (
            f"MAIL FROM:<{mail.sender}>{parameters}\r\n".encode(),
            f"RCPT TO:<{mail.recipient}>\r\n".encode(),
            b"DATA\r\n",
        )

    async def _pipelined(self, commands: tuple[bytes, bytes, bytes]) -> tuple[Reply, Stage] | None:
        """Send all commands in one packet (RFC 2920); return the first reply that refuses."""
        replies = await self._exchange(b"".join(commands), 3)
        for reply, stage in zip(replies, _STAGES, strict=True):
            if _refuses(reply, stage):
                # The server waits for a text without a recipient, and would take commands for that text.
                self._is_over = self._is_over or replies[2].code == 354
                return reply, stage
        return None

    async def _one_by_one(self, commands: tuple[bytes, bytes, bytes]) -> tuple[Reply, Stage] | None:
        for command, stage in zip(commands, _STAGES, strict=True):
            self.stage = stage
            (reply,) = await self._exchange(command, 1)
            if _refuses(reply, stage):
                return reply, stage
        return None

    async def _exchange(self, data: bytes, replies: int) -> list[Reply]:
        """Write, and return so many replies."""
        if self._lost is None:
            self._wanted = replies
            self._waiter = asyncio.get_running_loop().create_future()
            self._transport.write(data)
            await self._waiter
            self._waiter = None
        found = list(self._replies)
        self._replies.clear()
        if self._is_over and found:  # a 421 may come in place of several replies
            found += [found[-1]] * (replies - len(found))
        if len(found) < replies:
            raise ConnectionLostError(self._lost or "connection_lost")
        if len(found) > replies:  # what comes next could be taken for the answer to something else
            self._is_over = True
            if self.stage is not Stage.END:
                raise ConnectionLostError("bad_reply")
        return found[:replies]

    # -- what arrives ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take replies apart."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if not self._take(line.removesuffix(b"\r")):
                self._fail("bad_reply")
                return
        if len(self._buffer) > _LONGEST_REPLY:
            self._fail("bad_reply")
        elif self._is_over or len(self._replies) >= self._wanted:
            self._wake()

    def _take(self, line: bytes) -> bool:
        """Take a line in; return whether it can belong to a reply."""
        found = _REPLY_LINE.fullmatch(line)
        if found is None or len(self._lines) >= _MOST_LINES or len(line) > _LONGEST_REPLY:
            return False
        code, mark, text = found.groups()
        self._lines.append(text or b"")
        if mark != b"-":
            joined = b"\n".join(self._lines).decode("utf-8", "replace")
            self._replies.append(Reply(int(code), joined))
            self._is_over = self._is_over or code == b"421"
            self._lines.clear()
        return len(self._replies) <= _MOST_LINES

    def eof_received(self) -> bool:
        """Close: a mail server that says nothing more takes nothing more."""
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - it has one meaning
        """Tell the exchange that waits."""
        self._lost = self._lost or "connection_lost"
        self._wake()

    def _fail(self, reason: str) -> None:
        self._lost = reason
        self._replies.clear()
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


_STAGES = (Stage.MAIL, Stage.RCPT, Stage.DATA)


def _refuses(reply: Reply, stage: Stage) -> bool:
    """Return whether a reply refuses the command of a stage.

    Raises:
        ConnectionLostError: It answers another command: which one the next reply belongs to is not known.
    """
    is_right = reply.code == 354 if stage is Stage.DATA else reply.is_positive
    if not is_right and reply.code < 400:
        raise ConnectionLostError("bad_reply")
    return not is_right
