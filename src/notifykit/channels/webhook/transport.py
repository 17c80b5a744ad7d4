"""What a webhook transport does: one POST, one deadline, one answer."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .url import Target

#: Bounds of what is read of an answer before it is called broken.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_LINES = 256
#: How much of an answer's body is kept unless the channel sets another cap.
BODY_CAP = 16 * 1024
#: How long an answer's body may take once its status is known.
BODY_GRACE = 1.0


class Response(NamedTuple):
    """The answer of a receiver.

    Attributes:
        headers: As received; names are in the receiver's spelling.
        body: Not decompressed, and cut at the transport's cap.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class WireError(Exception):
    """No status line came back.

    Attributes:
        reason: ``dns_failure``, ``connect_failed``, ``tls_failed``, ``timeout``, ``reset``,
            ``closed_early``, ``bad_response``, ``response_too_large`` or ``proxy_failed``; for shortages of
            this process ``connection_limit``, ``lookup_limit``, ``no_files``, ``no_memory`` or ``no_ports``.
        uncertain: Whether the receiver may have accepted the request all the same.
        own: Whether this process lacked what it takes to connect: nothing was sent, and the receiver is not at fault.
    """

    def __init__(self, reason: str, *, uncertain: bool = False, own: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.uncertain = uncertain
        self.own = own


class Transport(Protocol):
    """Carries one POST to a vetted address.

    It never follows a redirect, keeps no cookies, reads no environment and
    decompresses nothing.  A complete status line is an answer, whatever happens
    to the rest; cancellation closes the connection that was in use.  Only targets with
    the same ``pool_key`` share a connection, and one on which bytes arrive while no
    request is open is closed.
    """

    async def post(self, target: Target, head: bytes, body: bytes, *, timeout: float) -> Response:
        """Send ``head`` and ``body`` to ``target`` and return what came back within ``timeout`` seconds.

        Args:
            head: The request line and all headers, the blank line included.

        Raises:
            WireError: No status line was received.
            DestinationRefusedError: The guard refused the address; nothing was sent.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
