"""APNs: what Apple is sent, what its answers mean, and when a token is believed to be gone."""

from __future__ import annotations

import json
from datetime import timedelta

import attrs
import jwt
import pytest

from notifykit import ConfigurationError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.push import apns
from notifykit.models.delivery import Priority
from notifykit.models.outcome import (
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)
from notifykit.testing import START, Reply

from .push_keys import APNS_TOKEN, APNS_URL, EC_KEY, EC_LINE, EC_PEM, public_pem
from .push_suite import PushSuite, outcome_for, outcome_of

APNS_ID = "eabeae54-14a8-11e5-b60b-1697f925ec7b"
#: The HTTP status of each reason.
STATUSES = {
    400: "BadCollapseId BadDeviceToken BadExpirationDate BadMessageId BadPriority BadTopic DeviceTokenNotForTopic "
    "DuplicateHeaders IdleTimeout InvalidPushType MissingDeviceToken MissingTopic PayloadEmpty TopicDisallowed",
    403: "BadCertificate BadCertificateEnvironment BadEnvironmentKeyIdInToken ExpiredProviderToken Forbidden "
    "InvalidProviderToken MissingProviderToken UnrelatedKeyIdInToken",
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "ExpiredToken Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyProviderTokenUpdates TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable Shutdown",
}
#: What is not as the table says, for an account of which nothing is known.
EXPECTED: dict[str, Outcome] = {
    "BadDeviceToken": Permanent(reason="apns_BadDeviceToken"),
    "DeviceTokenNotForTopic": Permanent(reason="apns_DeviceTokenNotForTopic"),
    "TooManyRequests": Throttled(reason="apns_TooManyRequests", circuit=CircuitEffect.NONE),
}


def reason_reply(reason: str) -> Reply:
    status = next(status for status, reasons in STATUSES.items() if reason in reasons.split())
    return Reply(status=status, body=json.dumps({"reason": reason}).encode())


def test_the_table_has_every_reason():
    """Apple's documentation lists these."""
    assert sorted(" ".join(STATUSES.values()).split()) == sorted(apns.CODES)


#: Answers, and what follows from each.
OUTCOMES = (
    *(
        (reason_reply(name), EXPECTED.get(name, outcome_for(code.meaning, f"apns_{name}")))
        for name, code in apns.CODES.items()
    ),
    (Reply(status=400, body=b'{"reason": "SomethingNew"}'), Permanent(reason="http_400")),
    (Reply(status=410, body=b'{"reason": 7}'), Permanent(reason="http_410")),
    (Reply(status=403), Transient(reason="http_403", circuit=CircuitEffect.OPEN)),
)


@pytest.mark.parametrize(("reply", "expected"), OUTCOMES)
def test_what_each_answer_means(reply, expected):
    """Those that the documentation names, and others."""
    assert expected == outcome_of(APNS_URL, reply)


class TestApns(PushSuite):
    """Apple's service."""

    name = "apns"
    url = APNS_URL
    key_line = EC_LINE
    address = f" {APNS_TOKEN.upper()} "
    success = Reply(status=200, headers={"apns-id": APNS_ID})
    reference = APNS_ID
    outcomes = OUTCOMES[-1:]

    def check_request(self, request):
        assert ("POST", f"/3/device/{APNS_TOKEN}") == (request.method, request.path)
        assert ("org.example.shop", "alert", "10") == tuple(
            request.header(f"apns-{name}") for name in ("topic", "push-type", "priority")
        )
        assert str(int((START + timedelta(days=28)).timestamp())) == request.header("apns-expiration")
        assert request.header("apns-collapse-id") is None
        assert {
            "order": "A-1",
            "url": "https://shop.example/1",
            "aps": {"alert": {"title": "Grüße", "body": "It is here ✓"}},
        } == request.json()
        assert {"iss": "DEF123GHIJ", "iat": int(START.timestamp())} == self.verified(request)

    def verified(self, request):
        """Return the claims of the token, checked by another implementation."""
        kind, token = request.header("authorization").split()
        assert "bearer" == kind
        assert "ABC123DEFG" == jwt.get_unverified_header(token)["kid"]
        return jwt.decode(token, public_pem(EC_KEY), algorithms=["ES256"], options={"verify_iat": False})

    async def test_a_token_is_used_for_40_minutes(self, server, sender):
        """Apple refuses one that is older than an hour, and new ones all the time."""
        for minutes in (0, 39, 41, -10):
            await self.send_at(sender, timedelta(minutes=minutes))

        first, second, third, fourth = (request.header("authorization") for request in server.requests)
        assert first == second != third != fourth != first

    async def test_a_token_that_apple_calls_too_old_is_replaced(self, server, sender):
        """The next attempt has a new one, unless that is not allowed yet."""
        expired = reason_reply("ExpiredProviderToken")
        server.reply(expired, expired)
        for minutes in (0, 21, 22):
            await self.send_at(sender, timedelta(minutes=minutes))

        first, second, third = (request.header("authorization") for request in server.requests)
        assert first == second != third

    async def test_urgency_expiry_and_collapsing(self, server, sender):
        """They come from the event and the message."""
        collapsing = attrs.evolve(self.message, collapse_key="orders/" + "x" * 100)
        expires = START + timedelta(minutes=5)
        await self.send_at(sender, message=collapsing, priority=Priority.LOW, expires_at=expires)

        (request,) = server.requests
        assert "5" == request.header("apns-priority")
        assert str(int(expires.timestamp())) == request.header("apns-expiration")
        assert len(request.header("apns-collapse-id")) <= 64

    async def test_a_bad_token_is_believed_if_others_are_accepted(self, server, sender):
        """Then the settings are right."""
        bad = reason_reply("BadDeviceToken")
        server.reply(bad, 200, bad)
        server.reply(Reply(status=200, headers={"apns-id": APNS_ID}), bad)

        outcomes = [await self.send_at(sender) for _ in range(5)]

        assert Permanent(reason="apns_BadDeviceToken") == outcomes[0]
        assert [BadRecipient(reason="apns_BadDeviceToken")] * 2 == [outcomes[2], outcomes[4]]

    async def test_many_bad_tokens_are_a_wrong_environment(self, server, sender):
        """A key or an address of the sandbox must not cost a tenant all tokens."""
        await self.send_at(sender)
        server.reply(*[reason_reply("BadDeviceToken")] * 20)

        outcomes = [await self.send_at(sender) for _ in range(20)]

        assert Transient(reason="apns_BadDeviceToken", circuit=CircuitEffect.OPEN) == outcomes[-1]

    async def test_what_is_too_large_is_not_sent(self, server, sender):
        """The service would take 4,096 bytes."""
        outcome = await self.send_at(sender, message=attrs.evolve(self.message, body="y" * 4097))

        assert Permanent(reason="payload_too_large") == outcome
        assert not server.requests

    async def test_success_without_the_id(self, server, sender):
        """It may have been someone else who answered."""
        server.reply(200)

        assert Uncertain(reason="unexpected_answer") == await self.send_at(sender)

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            (
                "?key=-----BEGIN",
                "?key=-----BEGUN",
                "key is not the content of a .p8 file of Apple: not a private key",
            ),
            ("key=", "k=", "unknown options: k"),
            ("topic=org.example.shop", "topic=", "topic is the app's bundle id"),
            ("team=DEF123GHIJ", "team=a%0d", "team is the id of your team"),
            ("&key_id=ABC123DEFG", "", "key_id is the key's id"),
            ("topic=", "environment=test&topic=", "environment is one of production, sandbox"),
            ("topic=", "ttl=9999999&topic=", "ttl is a whole number"),
            ("apns://", "apns://key@", "0 secret"),
        ],
    )
    def test_what_is_wrong_with_a_url(self, old, new, problem):
        """The message says what to write, without the secret."""
        with pytest.raises(ConfigurationError) as raised:
            provider_channel_from_url("push", self.url.replace(old, new))

        assert problem in str(raised.value)
        assert EC_LINE not in str(raised.value)

    def test_the_key_may_be_in_a_file_or_in_the_environment(self, tmp_path, monkeypatch):
        """As for other secrets; without it, the message says so."""
        (tmp_path / "AuthKey.p8").write_text(EC_PEM)
        monkeypatch.setenv("APNS_KEY", EC_PEM)
        options = "key_id=ABC123DEFG&team=DEF123GHIJ&topic=org.example.shop&environment=sandbox"
        for key in (f"key=file:{tmp_path}/AuthKey.p8", "key=env:APNS_KEY"):
            provider = provider_channel_from_url("push", f"apns://?{key}&{options}").provider  # type: ignore[attr-defined]
            assert "apns://org.example.shop/sandbox" == provider.account

        with pytest.raises(ConfigurationError, match=r"key is missing: the \.p8 file"):
            provider_channel_from_url("push", f"apns://?{options}")
        with pytest.raises(ConfigurationError, match="cannot be read: FileNotFoundError"):
            provider_channel_from_url("push", f"apns://?key=file:{tmp_path}/none&{options}")
