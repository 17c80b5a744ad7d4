"""``notifykit.testing.Receiver``: a real server with scripted answers that records requests."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from datetime import timedelta

import httpx
import pytest

from notifykit import DeliveryState, EgressRules, Event, Notifykit, RetryPolicy
from notifykit.signing import Signer, generate_secret
from notifykit.testing import FakeClock, Receiver, Reply

BODY = json.dumps({"type": "order.shipped", "timestamp": "2026-11-20T12:00:00Z", "data": {"id": "A-1"}}).encode()
QUICKLY = RetryPolicy(delays=[timedelta(milliseconds=1)] * 5, jitter=0)


def headers(secret, body=BODY, at=None):
    return Signer(secret).headers("msg_1", int(time.time() if at is None else at), body)


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


# ── what it reports to the test ─────────────────────────────────────────────────────────────────────


def test_an_authentic_request_is_verified_and_remembered(receiver):
    """A sync test reads the request: the event, the headers and the bytes."""
    answer = httpx.post(receiver.url + "?shop=7", content=BODY, headers={**headers(receiver.secret), "X-Shop": "7"})

    (request,) = receiver.expect(1)
    assert 204 == answer.status_code
    assert ("POST", "/hooks?shop=7", "7", None) == (
        request.method,
        request.path,
        request.header("x-shop"),
        request.header("x-other"),
    )
    assert ("msg_1", "order.shipped", {"id": "A-1"}) == (request.event.id, request.event.type, request.event.data)
    assert json.loads(BODY) == request.json()
    assert [request.event] == receiver.events


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (lambda h: {}, "header_missing"),
        (lambda h: {**h, "webhook-signature": "v1,AAAA"}, "no_match"),
        (lambda h: headers(generate_secret()), "no_match"),
    ],
)
def test_a_forgery_is_refused_and_does_not_use_up_the_script(receiver, changed, problem):
    """401 and the reason, for the sender and for the test."""
    receiver.reply(503)

    forged = httpx.post(receiver.url, content=BODY, headers=changed(headers(receiver.secret)))
    authentic = httpx.post(receiver.url, content=BODY, headers=headers(receiver.secret))

    assert (401, problem) == (forged.status_code, forged.text)
    assert 503 == authentic.status_code
    assert [problem, None] == [request.problem for request in receiver.requests]
    assert 1 == len(receiver.events)


def test_several_secrets_and_another_clock_are_accepted():
    """For rotations, and for senders whose clock is a test's."""
    clock = FakeClock()
    old, new = generate_secret(), generate_secret()

    with Receiver([new, old], clock=lambda: clock.now().timestamp()) as receiver:
        answers = [
            httpx.post(receiver.url, content=BODY, headers=headers(secret, at=clock.now().timestamp())).status_code
            for secret in (old, new)
        ]

    assert new == receiver.secret
    assert [204, 204] == answers


def test_waiting_for_missing_requests_ends(receiver):
    """With an error that says how many came."""
    httpx.post(receiver.url, content=BODY, headers=headers(receiver.secret))

    with pytest.raises(TimeoutError, match="1 of 2 requests"):
        receiver.expect(2, timeout=0.01)


# ── what it reports to the sender ───────────────────────────────────────────────────────────────────


def test_the_script_is_followed_and_then_requests_succeed(receiver):
    """Statuses, whole answers, and 204 once the script is over."""
    receiver.reply(500, Reply(status=429, headers={"Retry-After": "7"}, body=b"slow down"), 599)

    with httpx.Client() as client:
        answers = [client.post(receiver.url, content=BODY, headers=headers(receiver.secret)) for _ in range(4)]

    assert [500, 429, 599, 204] == [answer.status_code for answer in answers]
    assert ("7", "slow down") == (answers[1].headers["retry-after"], answers[1].text)


def test_it_can_hang_up_or_take_its_time(receiver):
    """A closed connection and a slow answer are what they would be on a network."""
    receiver.reply(Reply(hang_up=True), Reply(delay=timedelta(milliseconds=30)))

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(receiver.url, content=BODY, headers=headers(receiver.secret))
    started = time.monotonic()
    answer = httpx.post(receiver.url, content=BODY, headers=headers(receiver.secret))

    assert 204 == answer.status_code
    assert time.monotonic() - started >= 0.03


def test_every_way_to_send_a_body_is_understood(receiver):
    """Chunked bodies, a connection that is kept, one that is not, and ``Expect: 100-continue``."""
    signed = headers(receiver.secret)
    connection = http.client.HTTPConnection("127.0.0.1", int(receiver.url.split(":")[2].split("/")[0]))
    statuses = []
    for body, extra in (
        ([BODY[:9], BODY[9:]], {}),
        (BODY, {"Expect": "100-continue"}),
        (BODY, {"Connection": "close"}),
    ):
        connection.request("POST", "/hooks", body=body, headers=signed | extra)
        response = connection.getresponse()
        statuses.append((response.status, response.headers["connection"]))
        response.read()
    connection.close()

    assert [(204, None), (204, None), (204, "close")] == statuses
    assert [BODY] * 3 == [request.body for request in receiver.requests]


def test_what_is_not_http_is_cut_off(receiver):
    """A mistake in a sender does not hang the test."""
    port = int(receiver.url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"this is not HTTP\r\n\r\n")
        try:
            rest = connection.recv(1)
        except ConnectionResetError:
            rest = b""

    assert b"" == rest
    assert [] == receiver.requests


def test_nothing_is_left_behind():
    """The port is free and the thread has ended, even with a connection open and an answer outstanding."""
    before = set(threading.enumerate())
    with Receiver() as receiver:
        receiver.reply(Reply(delay=timedelta(minutes=1)))
        port = int(receiver.url.split(":")[2].split("/")[0])
        open_ended = http.client.HTTPConnection("127.0.0.1", port)
        open_ended.request("POST", "/hooks", body=BODY, headers=headers(receiver.secret))
        receiver.expect(1)
    open_ended.close()

    assert set() == {thread for thread in threading.enumerate() if thread.is_alive()} - before
    with Receiver(port=port) as again:
        assert f"http://127.0.0.1:{port}/hooks" == again.url


# ── with a kit ─────────────────────────────────────────────────────────────────────────────────


async def test_a_kit_delivers_to_it_until_it_accepts(tmp_path):
    """From publish over the wire, through failures, to a verified event, with the real dispatcher."""
    egress = EgressRules(allow=("127.0.0.0/8",), allow_http=True)
    async with Receiver() as receiver, Notifykit(f"sqlite:///{tmp_path / 'kit.db'}", egress=egress) as kit:
        receiver.reply(Reply(hang_up=True), 503, Reply(status=429, headers={"Retry-After": "0"}))
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, retry=QUICKLY)
        async with kit.dispatcher() as dispatcher:
            receipt = await kit.apublish(Event(type="order.shipped", data={"id": "A-1"}), tenant="acme")
            await receiver.aexpect(4)
            await dispatcher.drained()
        (delivery,) = await kit.deliveries.list(tenant="acme")

    assert (DeliveryState.DELIVERED, 4) == (delivery.state, delivery.attempts)
    assert [receipt.event_id] * 4 == [event.id for event in receiver.events]
    assert 1 == len({request.body for request in receiver.requests})
