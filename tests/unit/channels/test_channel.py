"""The webhook channel: what is on the wire, and what each answer means."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from notifykit.channels.webhook import Guard, Response, WebhookChannel, WireError
from notifykit.channels.webhook import channel as channel_module
from notifykit.channels.webhook import connection as connection_module
from notifykit.channels.webhook import httpx_transport as httpx_module
from notifykit.channels.webhook.answers import LONGEST_PAUSE, retry_after
from notifykit.errors import ConfigurationError, DestinationRefusedError
from notifykit.models.destination import destination_of
from notifykit.models.endpoint import EndpointSecret
from notifykit.models.outcome import Accepted, BadRecipient, Permanent, Throttled, Transient, Uncertain
from notifykit.signing import Signer, Verifier

from .receivers import (
    NOW,
    OTHER_SECRET,
    PUBLIC,
    SECRET,
    Exchange,
    FixedResolver,
    Receiver,
    always_ok,
    answering,
    local_guard,
    make_claim,
    make_destination,
    make_endpoint,
)


@pytest.fixture(params=["wire", "httpx"])
async def channel(request):
    """The channel on both of its transports."""
    channel = WebhookChannel(guard=local_guard(), transport=request.param, user_agent="notifykit/1.2")
    yield channel
    await channel.aclose()
    await asyncio.sleep(0)


def fields(head: bytes) -> dict[str, str]:
    """Return a head's header lines by lower-case name, each of which must be there once."""
    lines = [line.decode("ascii").split(": ", 1) for line in head.split(b"\r\n")[1:] if line]
    names = [name.lower() for name, _ in lines]
    assert len(set(names)) == len(names)
    return {name.lower(): value for name, value in lines}


async def test_the_request_on_the_wire(channel):
    """Exactly these headers go out, the tenant's own among them, and the stored bytes as they are."""
    body = '{"name": "Zoë",  "n":1.0}'.encode()
    async with Receiver(always_ok) as receiver:
        endpoint = make_endpoint(
            receiver.url + "?a=b%20c", headers={"x-api-key": "s3cret", "authorization": "Bearer t"}
        )
        await channel.send(make_claim(body), destination_of(endpoint), now=NOW)
        (head, sent), *_ = receiver.requests

        assert b"POST /hook?a=b%20c HTTP/1.1" == head.split(b"\r\n")[0]
        assert body == sent
        signature = fields(head)["webhook-signature"]
        assert {
            "host": f"127.0.0.1:{receiver.port}",
            "user-agent": "notifykit/1.2",
            "content-type": "application/json",
            "accept-encoding": "identity",
            "x-api-key": "s3cret",
            "authorization": "Bearer t",
            "content-length": str(len(body)),
            "webhook-id": "evt_01JABCDEFGHJKMNPQRSTVWXYZA",
            "webhook-timestamp": str(int(NOW.timestamp())),
            "webhook-signature": signature,
        } == fields(head)


async def test_receivers_can_verify(channel):
    """Our verifier accepts what was received, and so does the reference library with a current timestamp."""
    now = datetime.now(UTC)
    async with Receiver(always_ok) as receiver:
        await channel.send(make_claim(b'{"a":1}'), make_destination(receiver.url), now=now)
        head, body = receiver.requests[0]

        Verifier(SECRET).verify(body, fields(head))
        assert {"a": 1} == Webhook(SECRET).verify(body, fields(head))


async def test_both_keys_sign_during_a_rotation(channel):
    """Receivers with the old key and with the new one both accept; an expired key signs no more."""
    now = datetime.now(UTC)
    secrets = (
        EndpointSecret(value=SECRET, created_at=now),
        EndpointSecret(value=OTHER_SECRET, created_at=now, expires_at=now + timedelta(seconds=30)),
    )
    async with Receiver(always_ok) as receiver:
        endpoint = make_endpoint(receiver.url, secrets=secrets)
        for when in (now, now + timedelta(seconds=31)):
            await channel.send(make_claim(b"{}"), destination_of(endpoint), now=when)
        during, after = (fields(head)["webhook-signature"].split() for head, _ in receiver.requests)

        Webhook(OTHER_SECRET).verify(b"{}", fields(receiver.requests[0][0]))
        assert (2, 1) == (len(during), len(after))


async def test_a_changed_endpoint_takes_effect_at_once(channel):
    """URL, headers and keys of the next delivery are those of the endpoint it was handed."""
    async with Receiver(always_ok) as receiver:
        endpoint = make_endpoint(receiver.url)
        await channel.send(make_claim(), destination_of(endpoint), now=NOW)
        changed = attrs.evolve(
            endpoint,
            url=receiver.url + "/new",
            headers={"x-new": "1"},
            secrets=(EndpointSecret(value=OTHER_SECRET, created_at=NOW),),
            updated_at=NOW + timedelta(seconds=1),
        )
        await channel.send(make_claim(), destination_of(changed), now=NOW)
        await channel.send(make_claim(), destination_of(endpoint), now=NOW)
        heads = [head for head, _ in receiver.requests]

        assert heads[1].startswith(b"POST /hook/new ")
        assert "1" == fields(heads[1])["x-new"]
        assert fields(heads[0])["webhook-signature"] != fields(heads[1])["webhook-signature"]
        assert heads[0] == heads[2]


async def test_endpoints_of_two_tenants_share_no_connection(channel):
    """Over either transport, a receiver that two tenants use sees a connection of each; those of one tenant share."""
    async with Receiver(always_ok) as receiver:
        for number, tenant in enumerate(("acme", "globex", "acme", "globex")):
            endpoint = make_endpoint(f"{receiver.url}/{number}", id=f"end_{number}", tenant=tenant)
            await channel.send(make_claim(tenant=tenant), destination_of(endpoint), now=NOW)

        assert (2, 4) == (receiver.connections, len(receiver.requests))


EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "answer", [EARLY, b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + EARLY], ids=["at once", "later"]
)
@pytest.mark.parametrize("then", ["closes", "stays"])
async def test_an_answer_to_half_a_request_counts(channel, answer, then):
    """The answer of a receiver that refuses a large body unread counts, whether or not it closes at once."""

    async def script(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        exchange.stop_reading()
        await exchange.send(answer)
        if then == "stays":
            await asyncio.sleep(60)

    async with Receiver(script) as receiver:
        outcome = await channel.send(make_claim(b"x" * (8 << 20)), make_destination(receiver.url), now=NOW)

        assert (Permanent, "http_413") == (type(outcome), outcome.reason)


async def test_an_answer_too_many_closes_the_connection(channel):
    """Bytes after an answer, in the same packet or later, are never read as the answer to the next request."""
    extra = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        if exchange.number % 2:
            await exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n" + extra)
        else:
            await exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            await asyncio.sleep(0)
            await exchange.send(extra)
        await always_ok(exchange)

    async with Receiver(script) as receiver:
        for _ in range(6):
            outcome = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)
            assert (Accepted, 204) == (type(outcome), outcome.answer.status)
            await asyncio.sleep(0.01)

        assert 6 == receiver.connections


async def test_an_endpoint_that_was_read_again_is_not_prepared_again(monkeypatch):
    """The same content in another object costs a comparison, not a new signer."""
    made = []

    def make(keys):
        made.append(keys)
        return Signer(keys)

    monkeypatch.setattr(channel_module, "Signer", make)
    channel = WebhookChannel(guard=local_guard())
    async with Receiver(always_ok) as receiver:
        for _ in range(3):
            await channel.send(make_claim(), make_destination(receiver.url), now=NOW)
        await channel.aclose()

    assert 1 == len(made)


async def test_prepared_endpoints_are_bounded(monkeypatch):
    """A process that serves many endpoints does not keep all of them prepared."""
    monkeypatch.setattr(channel_module, "MAX_PREPARED", 4)
    channel = WebhookChannel(guard=local_guard())
    async with Receiver(always_ok) as receiver:
        for number in range(9):
            await channel.send(make_claim(), make_destination(receiver.url, id=f"end_{number}"), now=NOW)
        await channel.aclose()

    assert 4 == len(channel._prepared)


def status_line(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *headers, "Content-Length: 4"]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\nbody"


OUTCOMES = [
    (200, Accepted, None),
    (201, Accepted, None),
    (202, Accepted, None),
    (299, Accepted, None),
    (300, Transient, "redirect"),
    (301, Transient, "redirect"),
    (302, Transient, "redirect"),
    (307, Transient, "redirect"),
    (308, Transient, "redirect"),
    (400, Transient, "http_400"),
    (401, Transient, "http_401"),
    (404, Transient, "http_404"),
    (408, Transient, "http_408"),
    (409, Transient, "http_409"),
    (410, BadRecipient, "http_410"),
    (413, Permanent, "http_413"),
    (418, Transient, "http_418"),
    (425, Transient, "http_425"),
    (429, Throttled, "http_429"),
    (451, Transient, "http_451"),
    (500, Transient, "http_500"),
    (503, Transient, "http_503"),
    (599, Transient, "http_599"),
]


@pytest.mark.parametrize(("status", "kind", "reason"), OUTCOMES)
async def test_what_each_status_means(channel, status, kind, reason):
    """The table of DESIGN section 4, row by row; the answer is kept with the outcome."""
    async with Receiver(answering(status_line(status, "Location: http://127.0.0.1:1/"))) as receiver:
        outcome = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)

        assert kind is type(outcome)
        assert reason == getattr(outcome, "reason", None)
        assert (status, b"body") == (outcome.answer.status, outcome.answer.body)
        assert 1 == len(receiver.requests)


async def test_a_status_beyond_599_is_transient():
    """An invented status is a failure like any other."""
    channel = WebhookChannel(guard=local_guard())
    async with Receiver(answering(status_line(999))) as receiver:
        outcome = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)
        await channel.aclose()

    assert isinstance(outcome, Transient)
    assert "http_999" == outcome.reason


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (503, Transient), (500, Transient), (408, Transient)])
async def test_retry_after_is_handed_on(channel, status, kind):
    """The pause that a receiver asks for is part of the outcome."""
    async with Receiver(answering(status_line(status, "Retry-After: 120"))) as receiver:
        outcome = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)

        assert kind is type(outcome)
        assert timedelta(seconds=120) == outcome.retry_after


RETRY_AFTER = [
    (["30"], timedelta(seconds=30)),
    ([" 30 "], timedelta(seconds=30)),
    (["0"], timedelta(0)),
    (["-5"], None),
    (["+5"], None),
    (["1.5"], None),
    (["0x10"], None),
    (["\u0663"], None),
    (["1000000000000"], LONGEST_PAUSE),
    (["9" * 18], LONGEST_PAUSE),
    (["9" * 5000], None),
    ([""], None),
    (["soon"], None),
    (["Fri, 20 Nov 2026 12:01:00 GMT"], timedelta(seconds=60)),
    (["Fri, 20 Nov 2026 12:01:00 -0000"], timedelta(seconds=60)),
    (["Thu, 01 Jan 1970 00:00:00 GMT"], None),
    (["Fri, 31 Dec 9999 23:59:59 GMT"], LONGEST_PAUSE),
    (["Fri, 99 Nov 2026 99:99:99 GMT"], None),
    (["Mon, 01 Jan 99999 00:00:00 GMT"], None),
    (["Fri, 20 Nov 2026 12:01:00 +9999"], None),
    (["10", "20"], timedelta(seconds=20)),
    (["10", "never"], timedelta(seconds=10)),
    ([], None),
]


@pytest.mark.parametrize(("values", "expected"), RETRY_AFTER)
def test_retry_after_is_read_or_ignored(values, expected):
    """Seconds and dates are understood and clamped; nonsense is no pause and no exception."""
    response = Response(503, [(b"Retry-After", value.encode("utf-8")) for value in values], b"")

    assert expected == retry_after(response, NOW)


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_no_retry_after_raises(values):
    """Whatever bytes a receiver sends, the result is a pause between nothing and the longest."""
    pause = retry_after(Response(429, [(b"rETRY-aFTER", value) for value in values], b""), NOW)

    assert pause is None or timedelta(0) <= pause <= LONGEST_PAUSE


async def test_an_answer_that_never_comes_is_uncertain(channel):
    """The receiver has the request and stays silent: it may have accepted it."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        endpoint = make_endpoint(receiver.url, timeout=timedelta(seconds=0.2))
        outcome = await channel.send(make_claim(), destination_of(endpoint), now=NOW)

        assert Uncertain(reason="timeout") == outcome


async def test_a_stalled_body_is_not_waited_for(channel, monkeypatch):
    """Once the status is known, the rest gets a moment and not the whole deadline."""
    monkeypatch.setattr(connection_module, "BODY_GRACE", 0.1)
    monkeypatch.setattr(httpx_module, "BODY_GRACE", 0.1)

    async def script(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        async with asyncio.timeout(2):
            outcome = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)

        assert isinstance(outcome, Accepted)
        assert b"part" == outcome.answer.body


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/", "blocked_private"),
        ("http://169.254.169.254/", "blocked_metadata"),
        ("https://user@hook.test/", "blocked_userinfo"),
        ("https://inner.test/", "blocked_loopback"),
        ("https://hook.test:25/", "blocked_port"),
    ],
)
async def test_a_blocked_destination_is_permanent(url, reason):
    """What the guard refuses is never sent, whether it refuses the URL or the resolved address."""
    guard = Guard(allow_http=True, resolver=FixedResolver({"inner.test": [PUBLIC, "127.0.0.1"]}))
    channel = WebhookChannel(guard=guard)

    assert Permanent(reason=reason) == await channel.send(make_claim(), make_destination(url), now=NOW)


async def test_a_name_without_an_address_is_transient():
    """DNS trouble passes."""
    channel = WebhookChannel(guard=Guard(resolver=FixedResolver({})))

    outcome = await channel.send(make_claim(), make_destination("https://gone.test/"), now=NOW)

    assert Transient(reason="dns_failure") == outcome


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secrets": ()}, "bad_signing_key"),
        ({"secrets": (EndpointSecret(value="whsec_!!!!!!!!", created_at=NOW),)}, "bad_signing_key"),
        ({"secrets": (EndpointSecret(value=SECRET, created_at=NOW, expires_at=NOW),)}, "bad_signing_key"),
        ({"headers": {"webhook-id": "evt_other"}}, "bad_headers"),
    ],
)
async def test_an_endpoint_that_cannot_be_signed_for_gets_nothing(changes, reason):
    """Without a valid key, or with headers of ours, nothing is sent rather than something unsigned."""
    channel = WebhookChannel(guard=local_guard())
    async with Receiver(always_ok) as receiver:
        outcome = await channel.send(make_claim(), make_destination(receiver.url, **changes), now=NOW)

        assert Permanent(reason=reason) == outcome
        assert 0 == receiver.connections


@pytest.mark.parametrize("event_id", ["evt_1\r\nx-evil: 1", "evt.1", "", "evt_é", "e" * 129])
async def test_an_id_that_cannot_be_signed_is_not_sent(event_id):
    """An id is a header and a part of the signed content: it must not extend beyond either."""
    channel = WebhookChannel(guard=local_guard())
    async with Receiver(always_ok) as receiver:
        outcome = await channel.send(make_claim(event_id=event_id), make_destination(receiver.url), now=NOW)

        assert Permanent(reason="bad_event_id") == outcome
        assert 0 == receiver.connections


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (WireError("reset", uncertain=True), Uncertain(reason="reset")),
        (WireError("tls_failed"), Transient(reason="tls_failed")),
        (DestinationRefusedError("private"), Permanent(reason="blocked_private")),
    ],
)
async def test_a_custom_transport_carries_requests(failure, expected):
    """Any object with ``post`` and ``aclose`` carries the requests, and its failures become outcomes."""

    class Broken:
        closed = False

        async def post(self, target, head, body, *, timeout):
            raise failure

        async def aclose(self):
            self.closed = True

    transport = Broken()
    channel = WebhookChannel(guard=local_guard(), transport=transport)

    assert expected == await channel.send(make_claim(), make_destination("http://127.0.0.1:8080/"), now=NOW)
    await channel.aclose()
    assert transport.closed


@pytest.mark.parametrize("options", [{"transport": "requests"}, {"user_agent": "a\r\nb"}, {"user_agent": " "}])
def test_wrong_options_are_refused(options):
    """A typing error is reported at the start, not at the first delivery."""
    with pytest.raises(ConfigurationError):
        WebhookChannel(**options)


async def test_ed25519_keys_sign_too(channel):
    """An endpoint may have an asymmetric key."""
    key = "whsk_" + b64encode(b"\x01" * 32).decode()
    async with Receiver(always_ok) as receiver:
        secrets = (EndpointSecret(value=key, created_at=NOW),)
        await channel.send(make_claim(), make_destination(receiver.url, secrets=secrets), now=NOW)

        assert fields(receiver.requests[0][0])["webhook-signature"].startswith("v1a,")
