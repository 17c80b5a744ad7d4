"""A tenant's headers: checked when they are stored, and unable to add a line to the wire."""

from __future__ import annotations

import asyncio

import pytest

from notifykit.channels.webhook import WebhookChannel, check_headers
from notifykit.models.destination import destination_of
from notifykit.models.outcome import Accepted, Permanent

from .receivers import NOW, Receiver, always_ok, local_guard, make_claim, make_destination, make_endpoint

INJECTIONS = [
    "a\rx-evil: 1",
    "a\nx-evil: 1",
    "a\r\nx-evil: 1",
    "a\r\n x-evil: 1",
    "a\n\tx-evil: 1",
    "a\x00x-evil: 1",
    "a\x0bx-evil: 1",
    "a\x0cx-evil: 1",
    "a\x85x-evil: 1",
    "a\u2028x-evil: 1",
    "a\u010ax-evil: 1",
    "a\u560ax-evil: 1",
    "a\x7f",
    "trailing ",
    " leading",
    "",
    "é",
    "x" * 65536,
]
BAD_NAMES = ["", "a:b", "a b", "a\r\nb", "a\n", "é", "x" * 65, "a\x00", "(a)", "a/b"]
DENIED = [
    *[
        "host",
        "Host",
        "HOST",
        "content-type",
        "Content-Length",
        "content_length",
        "transfer-encoding",
        "Transfer_Encoding",
    ],
    *["te", "trailer", "connection", "keep-alive", "upgrade", "proxy-authorization", "expect", "cookie", "forwarded"],
    *["x-forwarded-for", "X_Forwarded_Host", "via", "date", "user-agent", "accept-encoding", "webhook-id"],
    *["Webhook-Signature", "webhook_id", "notifykit-trace", "content-encoding"],
]


@pytest.mark.parametrize("name", ["authorization", "X-Api-Key", "x_tenant", "accept", "x-a.b~c"])
def test_ordinary_headers_pass(name):
    """Credentials and marks of the tenant's own are fine."""
    assert [] == check_headers({name: "Bearer abc def"})


@pytest.mark.parametrize("value", INJECTIONS)
def test_values_that_could_end_a_line_are_refused(value):
    """Only visible ASCII with blanks inside is a value."""
    assert 1 == len(check_headers({"x-note": value}))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_no_token_are_refused(name):
    """A name holds no separator, no blank and no control character."""
    assert 1 == len(check_headers({name: "v"}))


@pytest.mark.parametrize("name", DENIED)
def test_headers_of_the_sender_cannot_be_replaced(name):
    """Headers that frame, route or authenticate the request are refused, in every spelling."""
    assert ["this header is set by the sender"] == [p.partition(": ")[2] for p in check_headers({name: "v"})]


def test_the_number_is_bounded():
    """Thirty-two headers are enough."""
    assert [] == check_headers({f"x-{n}": "v" for n in range(32)})
    assert ["headers: at most 32, got 33"] == check_headers({f"x-{n}": "v" for n in range(33)})


def test_the_same_header_twice_is_refused():
    """Names differ in more than case."""
    assert ["headers.X-A: given twice"] == check_headers({"x-a": "1", "X-A": "2"})


async def test_nothing_is_injected_on_the_wire():
    """Every seed, as a value and as a name, either is refused or arrives as one header; the receiver counts lines."""
    channel = WebhookChannel(guard=local_guard())
    async with Receiver(always_ok) as receiver:
        plain = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)
        outcomes = []
        for number, seed in enumerate(INJECTIONS + BAD_NAMES + DENIED):
            for headers in ({"x-note": seed}, {seed: "v"}):
                endpoint = make_endpoint(
                    receiver.url, id=f"end_{number}_{len(headers)}{'x-note' in headers}", headers=headers
                )
                outcomes.append(await channel.send(make_claim(), destination_of(endpoint), now=NOW))
        await channel.aclose()
        await asyncio.sleep(0)

        assert isinstance(plain, Accepted)
        assert {"Accepted", "Permanent"} == {type(outcome).__name__ for outcome in outcomes}
        assert {"bad_headers"} == {outcome.reason for outcome in outcomes if isinstance(outcome, Permanent)}
        lines = len(receiver.requests[0][0].split(b"\r\n"))
        for head, _ in receiver.requests[1:]:
            assert lines + 1 == len(head.split(b"\r\n")) == len(head.splitlines()) + 1
            assert not any(line.startswith(b"x-evil") for line in head.splitlines())
