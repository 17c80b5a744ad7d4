"""Web Push: what a browser's service is sent, what its answers mean, and that browsers can read it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from urllib.parse import quote

import attrs
import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from notifykit import ConfigurationError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.http_answers import Meaning
from notifykit.channels.push import webpush
from notifykit.channels.push.encryption import MAX_BODY, MAX_TEXT, encrypt
from notifykit.models.delivery import Priority
from notifykit.models.outcome import Accepted, BadRecipient, CircuitEffect, Permanent, Transient
from notifykit.testing import START, Reply
from notifykit.testing.suites.provider import make_claim

from .push_keys import EC_KEY, EC_LINE, EC_PEM, public_pem
from .push_suite import PushSuite, outcome_for

BROWSER = ec.generate_private_key(ec.SECP256R1())
AUTH = b"0123456789abcdef"


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def subscription(endpoint: str = "https://updates.push.services.mozilla.com/wpush/v2/gAAAA") -> str:
    """Return what a browser's ``JSON.stringify(subscription)`` gives."""
    keys = {"p256dh": base64url(point(BROWSER)), "auth": base64url(AUTH)}
    return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": keys})


def decrypted(body: bytes) -> bytes:
    """Return what the browser reads, by another implementation."""
    found = http_ece.decrypt(body, private_key=BROWSER, auth_secret=AUTH, version="aes128gcm")
    assert isinstance(found, bytes)
    return found


class TestWebPush(PushSuite):
    """The push services of browsers."""

    name = "webpush"
    key_line = EC_LINE
    url = f"webpush://?key={quote(EC_PEM)}&subject=mailto:ops@example.org"
    address = subscription()
    success = Reply(status=201, headers={"location": "https://updates.push.services.mozilla.com/m/gAAAA-7"})
    reference = "https://updates.push.services.mozilla.com/m/gAAAA-7"
    outcomes = (
        *(
            (Reply(status=status), outcome_for(code.meaning, f"webpush_{status}"))
            for status, code in webpush.CODES.items()
        ),
        (Reply(status=200), Accepted()),
        (Reply(status=202), Accepted()),
        (Reply(status=502), Transient(reason="http_502")),
    )

    def check_request(self, request):
        assert ("POST", "/wpush/v2/gAAAA") == (request.method, request.path)
        assert ("aes128gcm", "2419200", "normal") == tuple(
            request.header(name) for name in ("content-encoding", "ttl", "urgency")
        )
        assert request.header("topic") is None
        kind, token, key = request.header("authorization").split(" ")
        assert ("vapid", f"k={base64url(point(EC_KEY))}") == (kind, key)
        claims = jwt.decode(
            token.removeprefix("t=").removesuffix(","),
            public_pem(EC_KEY),
            algorithms=["ES256"],
            audience="https://updates.push.services.mozilla.com",
            options={"verify_exp": False},
        )
        assert "mailto:ops@example.org" == claims["sub"]
        assert START < START.fromtimestamp(claims["exp"], START.tzinfo) <= START + timedelta(days=1)
        assert {
            "title": "Grüße",
            "body": "It is here ✓",
            "url": "https://shop.example/1",
            "tag": None,
            "data": {"order": "A-1", "aps": "x"},
        } == json.loads(decrypted(request.body))

    async def test_urgency_expiry_and_collapsing(self, server, sender):
        """They come from the event and the message."""
        message = attrs.evolve(self.message, collapse_key="orders")
        for priority in Priority:
            await self.send_at(sender, message=message, priority=priority, expires_at=START + timedelta(hours=1))

        assert ["high", "normal", "low"] == [request.header("urgency") for request in server.requests]
        assert {"3600"} == {request.header("ttl") for request in server.requests}
        assert {json.loads(decrypted(request.body))["tag"] for request in server.requests} == {
            request.header("topic") for request in server.requests
        }
        assert 32 == len(server.requests[0].header("topic"))

    async def test_a_token_is_used_for_six_hours(self, server, sender):
        """A signature for each message would cost more than its encryption."""
        for hours in (0, 5, 7):
            await self.send_at(sender, timedelta(hours=hours))

        first, second, third = (request.header("authorization") for request in server.requests)
        assert first == second != third

    async def test_what_is_too_large_is_not_sent(self, server, sender):
        """The service would take 4,096 bytes."""
        outcome = await self.send_at(sender, message=attrs.evolve(self.message, body="y" * 4097))

        assert Permanent(reason="payload_too_large") == outcome
        assert not server.requests

    async def test_a_token_for_each_service(self, server, sender):
        """They are not for others to use; only so many are kept."""
        vendor = sender.channel.provider.service(self.address, None).vendor
        tokens = [vendor._token(f"w{number}.notify.windows.com", START) for number in range(150)]

        assert 150 == len(set(tokens))
        assert 100 == len(vendor.secrets)

    async def test_a_subscription_with_another_key_is_not_a_wrong_key(self, server, sender):
        """If others are accepted, it concerns one browser: the circuit stays closed, and the subscription stays."""
        await self.send_at(sender)
        server.reply(403)

        assert Permanent(reason="webpush_403") == await self.send_at(sender)

    async def test_a_wrong_key_opens_the_circuit(self, server, sender):
        """Also if some messages were accepted before."""
        await self.send_at(sender)
        server.reply(*[403] * 20)
        outcomes = [await self.send_at(sender) for _ in range(20)]

        assert Transient(reason="webpush_403", circuit=CircuitEffect.OPEN) == outcomes[-1]

    @pytest.mark.parametrize(
        "endpoint",
        [
            "https://fcm.googleapis.com.evil.example/x",
            "https://evil-push.apple.com.example/x",
            "https://metadata.internal/x",
            "https://192.168.0.1/x",
            "https://notify.windows.com/x",
        ],
    )
    async def test_hosts_that_no_vendor_has(self, server, sender, endpoint):
        """Anyone can send in a subscription, which must not lead into the own network."""
        outcome = await attrs.evolve(sender, address=subscription(endpoint)).send()

        assert isinstance(outcome, Permanent)
        assert "host_not_allowed" == outcome.reason
        assert not server.requests

    async def test_hosts_that_the_operator_names(self, server, monkeypatch):
        """Such as a service of one's own."""
        monkeypatch.setattr(TestWebPush, "url", f"{self.url}&hosts=push.example.org,Other.example.org")
        sender = self._sender(server.url)
        for host, expected in (("push.example.org", Accepted), ("x.push.example.org", Permanent)):
            outcome = await attrs.evolve(sender, address=subscription(f"https://{host}/x")).send()
            assert isinstance(outcome, expected)
        await sender.channel.aclose()

    @pytest.mark.parametrize(
        "address",
        [
            "{}",
            "{",
            subscription("http://fcm.googleapis.com/x"),
            subscription().replace(base64url(AUTH), "short"),
            subscription().replace(base64url(point(BROWSER)), base64url(b"\4" + bytes(64))),
        ],
    )
    async def test_an_address_that_another_program_stored(self, server, sender, address):
        """It is checked again before each attempt."""
        destination = sender.channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        made = make_claim("push", address)
        outcome = await sender.channel.provider.send(self.message, made, destination, now=START)

        assert isinstance(outcome, BadRecipient)
        assert "invalid_address" == outcome.reason
        assert not server.requests

    def test_each_browser_has_its_circuit(self):
        """An outage of one vendor's service does not hold the messages to others."""
        channel = self.make_channel(self.url, None)  # type: ignore[arg-type]

        def circuit(endpoint: str) -> str | None:
            address = channel.check_address(subscription(endpoint))
            return channel.destination(tenant="acme", subscriber_id="user:42", address=address).circuit_key

        mozilla, google = (
            circuit("https://updates.push.services.mozilla.com/x"),
            circuit("https://fcm.googleapis.com/x"),
        )
        windows = {circuit(f"https://wns2-{place}.notify.windows.com/x") for place in ("by3p", "db5p")}
        assert 3 == len({mozilla, google, *windows})

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ("key=x&subject=mailto:a@b", "key is not a private key of VAPID: not a private key in PEM"),
            (f"key={quote(EC_PEM)}", "subject is whom"),
            (f"key={quote(EC_PEM)}&subject=ops@example.org", "subject is whom"),
            (f"key={quote(EC_PEM)}&subject=mailto:a@b&hosts=https://x", "hosts lists names of hosts"),
        ],
    )
    def test_what_is_wrong_with_a_url(self, options, problem):
        """The message says what to write."""
        with pytest.raises(ConfigurationError) as raised:
            provider_channel_from_url("push", f"webpush://?{options}")

        assert problem in str(raised.value)
        assert EC_LINE not in str(raised.value)


def test_the_example_of_the_rfc():
    """RFC 8291, appendix A, byte for byte."""

    def decoded(text: str) -> bytes:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))

    key = ec.derive_private_key(
        int.from_bytes(decoded("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
        key=key,
        salt=decoded("DGv6ra1nlYgDCS1FRnbzlw"),
    )

    assert (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        == base64url(body)
    )


@pytest.mark.interop
@given(st.binary(max_size=MAX_TEXT))
def test_browsers_read_what_is_encrypted(text):
    """Of any content and length."""
    body = encrypt(text, base64url(point(BROWSER)), base64url(AUTH))

    assert text == decrypted(body)
    assert len(body) <= MAX_BODY


def test_the_largest_text_fits():
    """One more byte would not."""
    keys = base64url(point(BROWSER)), base64url(AUTH)

    assert MAX_BODY == len(encrypt(b"x" * MAX_TEXT, *keys))


def test_a_key_and_what_a_page_needs_of_it():
    """Keys of other programs are read as well."""
    pem = webpush.generate_key()

    assert "push" == provider_channel_from_url("push", TestWebPush.url.replace(quote(EC_PEM), quote(pem))).name
    assert 87 == len(webpush.application_server_key(pem))
    assert base64url(point(EC_KEY)) == webpush.application_server_key(EC_PEM)


def test_the_table_names_what_is_believed():
    """These remove a subscription."""
    assert {404, 410} == {status for status, code in webpush.CODES.items() if code.meaning is Meaning.BAD_RECIPIENT}
