"""Tokens of devices, and when an answer about one may be believed."""

from __future__ import annotations

import json

import pytest

from notifykit import InvalidInputError
from notifykit.policies.push import Belief, Evidence, Service, canonical_token, service_of, subscription_of

APNS = "0123456789abcdef" * 4
FCM = "cF1a-2_b:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ"
KEYS = {"p256dh": "B" * 87, "auth": "a" * 22}
ENDPOINT = "https://fcm.googleapis.com/fcm/send/dQw4:APA91b_-x"
BROWSER = {"endpoint": ENDPOINT, "expirationTime": None, "keys": KEYS}


@pytest.mark.parametrize(
    ("token", "service"),
    [
        (APNS, Service.APNS),
        (APNS.upper(), Service.APNS),
        (f"{APNS}\n", Service.FCM),
        ("ab" * 80, Service.APNS),
        (APNS[:-1], Service.FCM),
        (APNS[:-2], Service.FCM),
        (FCM, Service.FCM),
        (json.dumps(BROWSER), Service.WEBPUSH),
    ],
)
def test_the_form_says_who_issued_a_token(token, service):
    """Firebase issues tokens for every platform, Apple's are hexadecimal, and those of browsers are JSON."""
    assert service is service_of(token)


def test_a_token_is_stored_in_one_form():
    """So that the same device is not told twice."""
    padded = {**BROWSER, "keys": {"auth": "a" * 22 + "==", "p256dh": "B" * 87 + "="}}
    one = f'{{"endpoint":"{ENDPOINT}","keys":{{"auth":"{"a" * 22}","p256dh":"{"B" * 87}"}}}}'

    assert APNS == canonical_token(f" {APNS.upper()} ")
    assert FCM == canonical_token(f"{FCM}\n")
    for given in (BROWSER, json.dumps(BROWSER, indent=2), padded, canonical_token(BROWSER)):
        assert one == canonical_token(given)


@pytest.mark.parametrize("token", ["", "short", "token of a device", "x" * 5000, f"{FCM}/../..", "töken" * 9])
def test_what_is_no_token(token):
    """It would be refused by each service."""
    with pytest.raises(InvalidInputError, match="token: is neither one of Firebase"):
        canonical_token(token)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"endpoint": 7}, "a browser's subscription is"),
        ({"endpoint": "https://[x"}, "a browser's subscription is"),
        ({"endpoint": "https://x:99999/"}, "a browser's subscription is"),
        ({"keys": None}, "a browser's subscription is"),
        ({"keys": {"p256dh": "x"}}, "a browser's subscription is"),
        ({"keys": {"p256dh": 7, "auth": 8}}, "a browser's subscription is"),
        ({"endpoint": "http://fcm.googleapis.com/x"}, "must be an https:// URL"),
        ({"endpoint": "https:///x"}, "must be an https:// URL"),
        ({"endpoint": "https://fcm.googleapis.com:8443/x"}, "must be an https:// URL"),
        ({"endpoint": "https://a@fcm.googleapis.com/x"}, "must be an https:// URL"),
        ({"endpoint": "https://fcm.googleapis.com/x#y"}, "must be an https:// URL"),
        ({"endpoint": "https://fcm.googleapis.com/x y"}, "must be an https:// URL"),
        ({"endpoint": "https://fcm.googleapis.com"}, "must be an https:// URL"),
        ({"keys": {**KEYS, "auth": "a" * 21}}, "auth of a browser's subscription must be 22"),
        ({"keys": {**KEYS, "p256dh": "!" * 87}}, "p256dh of a browser's subscription must be 87"),
    ],
)
def test_what_is_no_subscription(change, problem):
    """The message says what it must be."""
    with pytest.raises(InvalidInputError) as raised:
        canonical_token({**BROWSER, **change})

    assert problem in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "[" * 100_000])
def test_what_is_stored_by_others(text):
    """A subscription is read again before each attempt."""
    with pytest.raises(InvalidInputError):
        subscription_of(text)


def test_the_host_of_a_subscription():
    """It decides whether anything is sent."""
    assert "fcm.googleapis.com" == subscription_of(json.dumps(BROWSER)).host


class TestEvidence:
    """Whether a token is wrong, or the settings are."""

    def test_nothing_is_known_at_first(self):
        """The message fails, and the token stays."""
        assert Belief.UNKNOWN is Evidence().refused()

    def test_others_are_accepted(self):
        """Then the settings are right."""
        evidence = Evidence()
        evidence.accepted()

        assert Belief.TOKEN is evidence.refused()

    def test_too_many_are_refused(self):
        """More than half of the last ones, if they are not few."""
        evidence = Evidence(most=40, few=20)
        for _ in range(10):
            evidence.accepted()

        beliefs = [evidence.refused() for _ in range(25)]
        assert [Belief.TOKEN] * 19 + [Belief.SETTINGS] * 6 == beliefs
        for _ in range(40):
            evidence.accepted()
        assert Belief.TOKEN is evidence.refused()
