"""Verifying: what is accepted, and the reason code of what is not."""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import timedelta
from itertools import repeat
from typing import Any

import pytest

from notifykit.errors import ConfigurationError, NotifykitError
from notifykit.signing import VerificationError, Verifier
from tests.unit.signing.messages import (
    BODY,
    ID,
    NOW,
    OTHER_SECRET,
    PRIVATE_KEY,
    PUBLIC_KEY,
    SECRET,
    headers,
    verifier,
)

GOOD = headers()
SIGNATURE = GOOD["webhook-signature"]
V1A = headers(PRIVATE_KEY)["webhook-signature"]
BAD = "v1," + b64encode(bytes(32)).decode()


def reason_of(given: Any, body: Any = BODY, *, keys: str | list[str] = SECRET, now: float = NOW) -> str:
    """Return why the message is refused, or ``""``."""
    try:
        assert body == verifier(keys, now=now).verify(body, given)
    except VerificationError as error:
        return error.reason
    return ""


def with_(**changes: Any) -> dict[str, Any]:
    """Return good headers with some of them changed."""
    return GOOD | {f"webhook-{name}": value for name, value in changes.items()}


class Multi:
    """Headers as some frameworks have them: ``items()`` repeats a name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)


class Broken:
    """Headers that break while they are read."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield ("host", "example.com")
        raise self._error("from a foreign object")


@pytest.mark.parametrize(
    "given",
    [
        GOOD,
        {name.title(): value for name, value in GOOD.items()},
        list(GOOD.items()),
        iter(GOOD.items()),
        [(name.upper().encode(), value.encode()) for name, value in GOOD.items()],
        Multi(list(GOOD.items())),
        [("host", "example.com"), ("svix-id", "other"), ("webhook_id", "other"), (7, object()), *GOOD.items()],
        with_(signature=f"{BAD} {SIGNATURE}"),
        with_(signature=f"{SIGNATURE} {BAD}"),
        with_(signature=f" junk v1 v1, v9,x ,  {SIGNATURE} "),
        with_(signature=" ".join([BAD] * 15 + [SIGNATURE])),
    ],
)
def test_accepts_signed_messages_in_every_form_of_headers(given):
    """Mapping or pairs, text or bytes, in any case, with entries of other versions beside ours."""
    assert "" == reason_of(given)


@pytest.mark.parametrize(
    "given", [{}, [], (), {"Webhook-Id": ID}, *({k: v for k, v in GOOD.items() if k != name} for name in GOOD)]
)
def test_missing_headers_are_named(given):
    """Without all three headers there is nothing to verify."""
    assert "header_missing" == reason_of(given)


@pytest.mark.parametrize("name", GOOD)
def test_each_header_must_come_once(name):
    """A repeated header is refused in whatever case, even if both say the same."""
    doubled = [*GOOD.items(), (name.title(), GOOD[name])]

    assert "header_duplicate" == reason_of(doubled)
    assert "header_duplicate" == reason_of(dict(doubled))
    assert "header_duplicate" == reason_of(Multi(doubled))
    assert "header_duplicate" == reason_of([*GOOD.items(), (name.encode(), b"")])


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        "webhook-id",
        object(),
        [1, 2],
        [("a",)],
        [("a", "b", "c")],
        Broken(RuntimeError),
        Broken(KeyError),
        Broken(RecursionError),
        repeat(("a", "b")),
        with_(id=None),
        with_(timestamp=NOW),
        with_(signature=[SIGNATURE]),
        with_(id=bytearray(ID.encode())),
    ],
)
def test_headers_that_are_no_headers_are_refused(given):
    """Whatever is passed instead of headers ends in the one exception."""
    assert "headers_malformed" == reason_of(given)


@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
def test_long_headers_are_refused(name):
    """A header is at most 4 KiB."""
    assert "header_too_long" == reason_of(with_(**{name: "1" * 4097}))
    assert "header_too_long" != reason_of(with_(**{name: "1" * 4096}))


@pytest.mark.parametrize("id", ["", "a.b", "a b", " a", "a\n", "\u00e9", "\ud800", b"\xff", "a,a", "a/b"])
def test_ids_have_a_narrow_alphabet(id):
    """An id with a dot or with anything unusual is refused, however it was signed."""
    assert "id_malformed" == reason_of(with_(id=id))


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "1614265330.0",
        "1.61426533e9",
        "+1614265330",
        "-1",
        "01614265330",
        " 1614265330",
        "1614265330 ",
        "1614265330\n",
        "161_4265330",
        "0x6037bbf2",
        "nan",
        "inf",
        "1" * 13,
        "\u0661\u0666\u0661\u0664\u0662\u0666\u0665\u0663\u0663\u0660",
    ],
)
def test_timestamps_have_one_spelling(timestamp):
    """Only plain decimal digits without a leading zero are a timestamp."""
    assert "timestamp_malformed" == reason_of(with_(timestamp=timestamp))


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW - 300, ""),
        (NOW + 300, ""),
        (NOW - 300.001, "timestamp_too_new"),
        (NOW + 300.001, "timestamp_too_old"),
        (0, "timestamp_too_new"),
        (2 * NOW, "timestamp_too_old"),
    ],
)
def test_the_tolerance_reaches_both_ways(now, reason):
    """Five minutes early or late pass, more does not."""
    assert reason == reason_of(GOOD, now=now)


def test_the_tolerance_can_be_narrowed():
    """A receiver with an accurate clock may be stricter."""
    strict = Verifier(SECRET, tolerance=timedelta(0), clock=lambda: NOW + 1.0)

    with pytest.raises(VerificationError, match="1 s old, 0 s are tolerated") as caught:
        strict.verify(BODY, GOOD)

    assert "timestamp_too_old" == caught.value.reason


@pytest.mark.parametrize("tolerance", [300, None, timedelta(seconds=-1)])
def test_a_senseless_tolerance_is_refused(tolerance):
    """A bare number or a negative duration is a mistake in the wiring."""
    with pytest.raises(ConfigurationError, match="tolerance"):
        Verifier(SECRET, tolerance=tolerance)


@pytest.mark.parametrize("body", [BODY.decode(), bytearray(BODY), memoryview(BODY), None, {"type": "a"}])
def test_the_body_must_be_bytes(body):
    """Parsed or decoded bodies cannot be verified, so they are refused."""
    assert "body_type" == reason_of(GOOD, body)


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], BODY.replace(b" ", b""), BODY.replace(b"A-1", b"A-2")])
def test_every_byte_of_the_body_counts(body):
    """A body that was changed in any way does not match."""
    assert "no_match" == reason_of(GOOD, body)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        "v1",
        "v1,",
        BAD,
        SIGNATURE[3:],
        SIGNATURE.upper(),
        SIGNATURE.replace("v1,", "V1,"),
        SIGNATURE.replace("v1,", "v1a,"),
        SIGNATURE.replace("v1,", "v2,"),
        SIGNATURE.rstrip("="),
        SIGNATURE + "=",
        SIGNATURE + ",x",
        SIGNATURE + "\n",
        SIGNATURE + "\x00",
        "\t" + SIGNATURE,
        SIGNATURE[:-2] + chr(ord(SIGNATURE[-2]) + 1) + "=",
        "v1," + b64decode(SIGNATURE[3:]).hex(),
        "v1,\u00e9\u00e9",
        "\udcff",
        headers(OTHER_SECRET)["webhook-signature"],
    ],
)
def test_signatures_have_one_spelling(signature):
    """Only the canonical base64 of the right MAC under the right version matches."""
    assert "no_match" == reason_of(with_(signature=signature))


def test_signatures_are_counted():
    """More entries than any sender makes are refused before any is tried."""
    assert "too_many_signatures" == reason_of(with_(signature=" ".join([SIGNATURE] * 17)))


def test_every_key_of_a_rotation_verifies():
    """A receiver that holds several keys accepts a message signed with any one of them."""
    keys = [OTHER_SECRET, PUBLIC_KEY, SECRET]

    assert "" == reason_of(GOOD, keys=keys)
    assert "" == reason_of(headers(OTHER_SECRET), keys=keys)
    assert "" == reason_of(headers(PRIVATE_KEY), keys=keys)
    assert "" == reason_of(headers([OTHER_SECRET, SECRET]), keys=SECRET)
    assert "no_match" == reason_of(headers(OTHER_SECRET), keys=[SECRET, PUBLIC_KEY])


@pytest.mark.parametrize(
    "signature",
    [
        SIGNATURE,
        V1A.replace("v1a,", "v1,"),
        V1A[:-2],
        V1A[:-4] + "h" + V1A[-3:],
        V1A[:-3] + chr(ord(V1A[-3]) + 1) + "==",
        "v1a," + "A" * 88,
        "v1a," + "=" * 88,
        "v1a," + "\u00e9" * 88,
        "v1a," + V1A[5:],
    ],
)
def test_public_keys_accept_canonical_v1a_only(signature):
    """Neither an HMAC nor another spelling of the right signature passes for Ed25519."""
    assert "no_match" == reason_of(with_(signature=signature), keys=PUBLIC_KEY)


def test_a_public_key_is_never_an_hmac_secret():
    """The public key is not enough to forge: the MAC made with its bytes is refused."""
    forged = headers("whsec_" + PUBLIC_KEY[5:])

    assert "no_match" == reason_of(forged, keys=PUBLIC_KEY)
    assert "no_match" == reason_of(forged, keys=[SECRET, PUBLIC_KEY])


def test_lookalike_header_names_are_other_headers():
    """A letter that only folds to an ASCII one does not make a second webhook header."""
    kelvin = "webhoo\u212a-id"

    assert "" == reason_of({**GOOD, kelvin: "other"})
    assert "header_missing" == reason_of({kelvin: ID, **{k: v for k, v in GOOD.items() if k != "webhook-id"}})


def test_opens_events():
    """``open`` verifies and parses."""
    event = verifier().open(BODY, GOOD)

    assert (ID, "order.shipped", {"order_id": "A-1"}, BODY) == (event.id, event.type, event.data, event.raw)
    assert "2021-02-25T15:02:09+00:00" == event.timestamp.isoformat()
    assert "A-1" not in repr(event).partition("raw=")[2]


@pytest.mark.parametrize("timestamp", ["null", '"yesterday"', '"2021-02-25T15:02:09"', "7"])
def test_events_without_an_instant_have_that_of_the_attempt(timestamp):
    """Where the body names no instant the signed timestamp is used."""
    body = b'{"type": "a", "timestamp": %b}' % timestamp.encode()

    event = verifier().open(body, headers(body=body))

    assert NOW == event.timestamp.timestamp()
    assert event.data is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b'"type"',
        b"{}",
        b'{"type": 7}',
        b'{"type": "a", "data": NaN}',
        b"\xff\xfe",
        b'{"type": "a", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"a","data":' + b"9" * 5000 + b"}",
    ],
)
def test_authentic_bodies_that_are_no_events_are_refused_by_open_alone(body):
    """``verify`` takes any bytes; ``open`` wants a JSON object with a type."""
    signed = headers(body=body)

    assert body == verifier().verify(body, signed)
    with pytest.raises(VerificationError) as caught:
        verifier().open(body, signed)
    assert "payload_malformed" == caught.value.reason


def test_open_verifies_before_it_parses():
    """A forged body is never parsed."""
    with pytest.raises(VerificationError) as caught:
        verifier().open(b"not json", GOOD)

    assert "no_match" == caught.value.reason


def test_the_error_belongs_to_the_library_and_travels():
    """The exception is one of ours and keeps its facts between processes."""
    error = VerificationError("no_match", "a fact")

    copied = pickle.loads(pickle.dumps(error))

    assert isinstance(error, NotifykitError)
    assert ("no_match", "a fact", str(error)) == (copied.reason, copied.detail, str(copied))


def test_the_clock_is_the_wall_clock_by_default():
    """Without a clock of the program's own the system's is used."""
    with pytest.raises(VerificationError) as caught:
        Verifier(SECRET).verify(BODY, GOOD)

    assert "timestamp_too_old" == caught.value.reason
