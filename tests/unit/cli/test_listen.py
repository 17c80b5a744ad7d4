"""``notifykit listen``: a receiver for developers, over real sockets and in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from notifykit.cli.listen import _reached_at
from notifykit.signing import Signer, generate_secret
from tests.unit.cli.driving import Command, Desk, start

BODY = json.dumps({"type": "order.shipped", "timestamp": "2026-01-31T09:00:00Z", "data": {"name": "Zoë"}}).encode()
SECRET = generate_secret()


class Listening:
    """A ``notifykit listen`` that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url: str = self.next()["listening"]

    def next(self) -> Any:
        """Return the next JSON line."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def listening(*options: str) -> Iterator[Listening]:
    """Run ``notifykit listen --json`` on a free port; Ctrl-C ends it with 130 and without a word."""
    with start("listen", "--port", "0", "--json", *options) as process:
        try:
            yield Listening(process)
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert (130, "") == (process.returncode, err)


def signed(secret: str = SECRET, id_: str = "evt_1") -> dict[str, str]:
    """Return the headers of an authentic webhook."""
    return Signer(secret).headers(id_, int(time.time()), BODY)


def test_webhooks_are_verified_and_shown() -> None:
    """A good signature is taken, another key's is refused with 401, and both are told."""
    with listening("--secret", SECRET) as receiver:
        good = httpx.post(receiver.url, content=BODY, headers=signed())
        shown = receiver.next()
        bad = httpx.post(receiver.url, content=BODY, headers=signed(generate_secret()))
        refused = receiver.next()

    assert (200, 401) == (good.status_code, bad.status_code)
    assert ("verified", "order.shipped", "evt_1", {"name": "Zoë"}) == (
        shown["verdict"],
        shown["type"],
        shown["event_id"],
        shown["body"]["data"],
    )
    assert "no_match" == refused["verdict"]


def test_it_can_fail_first() -> None:
    """``--fail-first 2`` refuses two attempts of each event, then takes it."""
    with listening("--fail-first", "2") as receiver, httpx.Client() as client:
        statuses = [
            (id_, client.post(receiver.url, content=BODY, headers=signed(id_=id_)).status_code)
            for id_ in ("evt_1", "evt_1", "evt_2", "evt_1", "evt_2", "evt_2")
        ]

    assert [("evt_1", 503), ("evt_1", 503), ("evt_2", 503), ("evt_1", 200), ("evt_2", 503), ("evt_2", 200)] == statuses


def test_it_stops_after_as_many_as_asked() -> None:
    """With ``--count`` the exit code says whether all of them verified."""
    codes = []
    for secret in (SECRET, generate_secret()):
        with start("listen", "--port", "0", "--json", "--count", "1", "--secret", SECRET) as process:
            httpx.post(Listening(process).url, content=BODY, headers=signed(secret))
            process.communicate(timeout=60)
            codes.append(process.returncode)

    assert [0, 1] == codes


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", b"413"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nx: " + b"y" * 200_000, b"431"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", b"200"),
    ],
)
def test_whatever_is_sent_gets_an_answer(request_: bytes, status: bytes) -> None:
    """The receiver neither hangs nor ends when a client speaks HTTP badly, or oddly."""
    with listening() as receiver:
        url = httpx.URL(receiver.url)
        with socket.create_connection((url.host, url.port or 80), timeout=5) as client:
            client.sendall(request_)
            answer = client.recv(1000)
        after = httpx.post(receiver.url, content=BODY, headers=signed())

    assert b"HTTP/1.1 " + status == answer[:12]
    assert 200 == after.status_code


def test_a_port_that_is_taken_is_told() -> None:
    """One line, exit code 1, and what to do."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        start("listen", "--port", str(taken.getsockname()[1])) as process,
    ):
        _, err = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert "another --port" in err


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", ("127.0.0.1", "127.0.0.0/8")),
        ("localhost", ("localhost", "127.0.0.0/8")),
        ("0.0.0.0", ("127.0.0.1", "127.0.0.0/8")),
        ("10.1.2.3", ("10.1.2.3", "10.0.0.0/8")),
        ("::1", ("[::1]", "::1/128")),
        ("93.184.216.34", ("93.184.216.34", None)),
    ],
)
def test_the_hint_fits_the_address(host: str, reached: tuple[str, str | None]) -> None:
    """What is printed as the next command has a URL that can be delivered to, and lets the right block through."""
    assert reached == _reached_at(host)


def test_what_arrives_is_handed_on_to_a_program(desk: Desk) -> None:
    """The program gets method, headers and the exact body at its own URL; its answer is shown and given back."""
    desk.status, desk.headers = 418, [(b"retry-after", b"30")]
    with listening("--secret", SECRET, "--forward-to", f"{desk.url}?x=1") as receiver:
        answer = httpx.post(f"{receiver.url}elsewhere", content=BODY, headers=signed())
        shown = receiver.next()
        httpx.post(receiver.url, content=BODY, headers=signed(generate_secret()))

    (request,) = desk.requests  # what did not verify was not handed on
    headers = dict(request.headers)
    assert (418, b"thanks", "30") == (answer.status_code, answer.content, answer.headers["retry-after"])
    assert ("POST", "/hooks?x=1", BODY) == (request.method, request.path, request.body)
    assert {name.encode() for name in signed()} <= headers.keys()
    assert headers[b"host"].decode() in desk.url
    assert (418, "thanks", None) == tuple(shown["forwarded"][name] for name in ("status", "body", "error"))


def test_a_program_that_is_away_is_told() -> None:
    """The sender gets 502 and tries again; the reason is shown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with listening("--forward-to", f"http://127.0.0.1:{port}/") as receiver:
        answer = httpx.post(receiver.url, content=BODY, headers=signed())
        shown = receiver.next()

    assert 502 == answer.status_code
    assert shown["forwarded"]["status"] is None
    assert "ConnectError" in shown["forwarded"]["error"]


@pytest.mark.parametrize(
    "options",
    [
        ["--forward-to", "localhost:8000"],
        ["--forward-to", "http://localhost:99999/"],
        ["--forward-to", "ftp://localhost/"],
        ["--forward-to", "http://localhost:8000/", "--status", "503"],
    ],
    ids=" ".join,
)
def test_where_to_hand_on_must_be_clear(cli: Command, options: list[str]) -> None:
    """A URL that is none, or two answers at once, is a usage error."""
    answer = cli("listen", *options)

    assert 2 == answer.code
    assert 1 == len(answer.err.splitlines())
