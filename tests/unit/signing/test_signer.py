"""Signing: what is signed, and what cannot be."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone

import pytest

from notifykit.errors import ConfigurationError, InvalidInputError
from notifykit.signing import Signer, generate_secret
from tests.unit.signing.messages import BODY, ID, NOON, NOW, OTHER_SECRET, PRIVATE_KEY, SECRET


def test_all_keys_sign_in_their_order():
    """During a rotation the header has one entry per key, the newest first."""
    keys = [OTHER_SECRET, SECRET, PRIVATE_KEY]

    signature = Signer(keys).sign(ID, NOW, BODY)

    assert [Signer(key).sign(ID, NOW, BODY) for key in keys] == signature.split(" ")
    assert ["v1", "v1", "v1a"] == [entry.partition(",")[0] for entry in signature.split(" ")]


@pytest.mark.parametrize("length", [16, 24, 63, 64, 65, 256])
@pytest.mark.parametrize("body", [b"", BODY, b"x" * 5000], ids=len)
def test_shared_secrets_of_every_length_sign_as_the_standard_library_does(length, body):
    """Shorter than a block of the hash, as long, and longer; and a second signature is like the first."""
    secret = bytes(range(256))[-length:]
    expected = b64encode(hmac.digest(secret, b"%b.%d.%b" % (ID.encode(), NOW, body), hashlib.sha256)).decode()
    signer = Signer(b64encode(secret).decode())

    assert [f"v1,{expected}"] * 2 == [signer.sign(ID, NOW, body) for _ in range(2)]


def test_the_longest_header_is_below_one_kibibyte():
    """Five Ed25519 keys are the worst case and still fit; a sixth key is refused."""
    keys = [generate_secret("v1a") for _ in range(5)]

    assert len(Signer(keys).sign(ID, NOW, BODY)) <= 1024
    with pytest.raises(ConfigurationError, match="at most 5"):
        Signer([*keys, SECRET])


def test_headers_carry_what_was_signed():
    """The three headers name the id, the second and the signature over both."""
    headers = Signer(SECRET).headers(ID, NOON, BODY)

    assert {
        "webhook-id": ID,
        "webhook-timestamp": str(NOW),
        "webhook-signature": Signer(SECRET).sign(ID, NOW, BODY),
    } == headers


@pytest.mark.parametrize(
    "instant",
    [NOON, NOON.astimezone(timezone(timedelta(hours=2))), NOON + timedelta(microseconds=999_999)],
)
def test_the_instant_is_signed_whatever_its_zone(instant):
    """The same second gives the same signature in every zone."""
    assert Signer(SECRET).sign(ID, NOW, BODY) == Signer(SECRET).sign(ID, instant, BODY)


@pytest.mark.parametrize(
    "timestamp", [NOON.replace(tzinfo=None), -1, 10**12, 1.5, "1614265330", datetime(1969, 1, 1, tzinfo=UTC)]
)
def test_timestamps_that_no_receiver_takes_are_refused(timestamp):
    """No naive datetime, nothing before 1970, no more than 12 digits, no other types."""
    with pytest.raises(InvalidInputError, match="webhook-timestamp"):
        Signer(SECRET).headers(ID, timestamp, BODY)


@pytest.mark.parametrize("id", ["", "a.b", "a b", "a\n", "\u00e9", "a\r\nx: y", "\ud800"])
def test_ids_that_could_shift_a_boundary_are_refused(id):
    """Ids with dots, blanks or line breaks are never signed."""
    with pytest.raises(InvalidInputError, match="webhook-id"):
        Signer(SECRET).sign(id, NOW, BODY)


def test_the_bytes_form_is_the_same_signature():
    """What the webhook channel calls signs the same content."""
    signature = Signer([SECRET, PRIVATE_KEY]).signature(ID.encode(), str(NOW).encode(), BODY)

    assert Signer([SECRET, PRIVATE_KEY]).sign(ID, NOW, BODY) == signature.decode()


def test_signing_leaves_no_trace_in_the_next_signature():
    """One signer signs many messages, each as if it were the first."""
    signer = Signer(SECRET)
    signer.sign("other", NOW + 9, b"other")

    assert Signer(SECRET).sign(ID, NOW, BODY) == signer.sign(ID, NOW, BODY)
