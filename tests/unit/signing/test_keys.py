"""Keys: making them, and refusing those that are unusable."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

import pytest

from notifykit import signing
from notifykit.errors import ConfigurationError
from notifykit.signing import Signer, Verifier, generate_secret, public_key, secret_problem
from tests.unit.signing.messages import BODY, ID, NOW, OTHER_SECRET, PRIVATE_KEY, PUBLIC_KEY, SECRET, headers, verifier

SEED_ONLY = "whsk_" + b64encode(b64decode(PRIVATE_KEY[5:])[:32]).decode()
MIXED_PAIR = "whsk_" + b64encode(b64decode(PRIVATE_KEY[5:])[:32] + bytes(32)).decode()


def whsec(size: int) -> str:
    return "whsec_" + b64encode(bytes(n % 256 for n in range(size))).decode()


def test_generated_secrets_are_32_fresh_bytes():
    """A new shared secret has 32 random bytes and passes the strict check."""
    first, second = generate_secret(), generate_secret()

    assert first.startswith("whsec_")
    assert 32 == len(b64decode(first[6:], validate=True))
    assert first != second
    assert secret_problem(first) is None


def test_generated_private_keys_carry_both_halves():
    """A new Ed25519 key is emitted as seed and public half, and its public key verifies."""
    private = generate_secret("v1a")

    assert 64 == len(b64decode(private[5:], validate=True))
    assert secret_problem(private) is None
    assert BODY == verifier(public_key(private)).verify(BODY, headers(private))


def test_unknown_kinds_of_secret_are_refused():
    """A kind that does not exist is an error, not a default."""
    with pytest.raises(ConfigurationError, match="'v2'"):
        generate_secret("v2")  # type: ignore[arg-type]


@pytest.mark.parametrize("private", [PRIVATE_KEY, SEED_ONLY])
def test_both_spellings_of_a_private_key_are_one_key(private):
    """A seed alone and a seed with its public half sign alike and have the same public key."""
    signature = Signer(private).sign(ID, NOW, BODY)

    assert PUBLIC_KEY == public_key(private)
    assert headers(PRIVATE_KEY)["webhook-signature"] == signature
    assert secret_problem(private) is None


@pytest.mark.parametrize("key", [SECRET, PUBLIC_KEY])
def test_only_private_keys_have_a_public_half(key):
    """Asking for the public half of anything else is an error."""
    with pytest.raises(ConfigurationError, match="only a whsk_ key"):
        public_key(key)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "text is needed, not NoneType"),
        (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "text is needed, not bytes"),
        ("", "empty"),
        ("whsec_", "not base64"),
        (SECRET + " ", "line break"),
        ("\u00a0" + SECRET, "line break"),
        (SECRET[6:], "must start with"),
        (SECRET.upper(), "must start with"),
        ("whsec_" + "A" * 31, "lacks padding"),
        ("whsec_" + "A" * 33, "cut off"),
        ("whsec_" + "A" * 32 + "=", "cut off"),
        ("whsec_" + "A" * 41 + "B==", "stray bits"),
        ("whsec_" + "-_" * 16, "not base64"),
        ("whsec_" + "A" * 5000, "not base64"),
        (whsec(23), "23 bytes"),
        (whsec(65), "65 bytes"),
        (PUBLIC_KEY, "public key cannot sign"),
        (MIXED_PAIR, "does not belong"),
        ("whsk_" + b64encode(bytes(33)).decode(), "33 bytes"),
        (PRIVATE_KEY.rstrip("="), "lacks padding"),
    ],
)
def test_a_tenant_may_not_bring(value, words):
    """The strict check describes what is wrong, and never repeats the secret."""
    problem = secret_problem(value)

    assert problem is not None
    assert re.search(words, problem)
    assert SECRET[6:] not in problem


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_tenant_may_bring(size):
    """24 to 64 bytes of shared secret are what the standard asks for."""
    assert secret_problem(whsec(size)) is None


@pytest.mark.parametrize("size", [16, 23, 65, 75, 256])
def test_receivers_take_what_other_senders_issue(size):
    """A receiver takes keys out of the standard's range as long as they cannot be guessed."""
    secret = whsec(size)

    assert BODY == verifier(secret).verify(BODY, headers(secret))


@pytest.mark.parametrize("size", [1, 8, 15, 257])
def test_receivers_refuse_weak_or_senseless_secrets(size):
    """A key that can be guessed is refused by both sides."""
    with pytest.raises(ConfigurationError, match=f"{size} bytes"):
        Verifier(whsec(size))
    with pytest.raises(ConfigurationError, match=f"{size} bytes"):
        Signer(whsec(size))


def test_a_receiver_refuses_the_private_key():
    """A receiver must not be able to sign."""
    with pytest.raises(ConfigurationError, match="does not belong on a receiver"):
        Verifier([PUBLIC_KEY, PRIVATE_KEY])


def test_a_sender_refuses_a_public_key():
    """A public key cannot sign, least of all as an HMAC secret."""
    with pytest.raises(ConfigurationError, match="public key cannot sign"):
        Signer(PUBLIC_KEY)


def test_public_keys_have_32_bytes():
    """A public key of another size is refused when it is configured."""
    with pytest.raises(ConfigurationError, match="31 bytes"):
        Verifier("whpk_" + b64encode(bytes(31)).decode())


@pytest.mark.parametrize("side", [Signer, Verifier])
@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([], "none is configured"),
        (None, "not NoneType"),
        (7, "not int"),
        ([SECRET, None], "not NoneType"),
        (SECRET.encode(), "not int"),
        ([SECRET, OTHER_SECRET] * 9, "18 keys"),
    ],
)
def test_both_sides_fail_closed_without_usable_keys(side, secrets, words):
    """Neither side comes into being without at least one key, nor with more than it may hold."""
    with pytest.raises(ConfigurationError, match=words):
        side(secrets)


def test_the_package_has_no_other_names():
    """A name that is looked up lazily is there; one that does not exist is an AttributeError."""
    assert set(signing.__all__) == {name for name in signing.__all__ if getattr(signing, name, None) is not None}
    with pytest.raises(AttributeError, match="Sginer"):
        signing.Sginer  # noqa: B018
