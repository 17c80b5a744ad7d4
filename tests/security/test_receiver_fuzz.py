"""Fuzz the receiver: it raises nothing but its own error, and accepts nothing that was not signed."""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifykit.signing import Signer, VerificationError, Verifier, generate_secret, public_key
from tests import report
from tests.everyday import examples

NOW = 1_800_000_000
SECRETS = [generate_secret(), generate_secret()]
PRIVATE = generate_secret("v1a")
STRANGER = generate_secret()

SIGNER = Signer([*SECRETS, PRIVATE])
VERIFIERS = [
    Verifier(keys, tolerance=timedelta(minutes=5), clock=lambda: NOW)
    for keys in (SECRETS, SECRETS[1], public_key(PRIVATE), [*SECRETS, public_key(PRIVATE)])
]

Pairs = list[tuple[Any, Any]]


@attrs.frozen
class Message:
    """What was really signed: its parts and the entries that were made for them."""

    id: str
    at: str
    body: bytes
    entries: frozenset[str]


def _message(id: str, at: int, body: bytes) -> Message:
    return Message(id, str(at), body, frozenset(SIGNER.sign(id, at, body).split(" ")))


MESSAGES = [
    _message("msg_1", NOW, b'{"type": "a.b"}'),
    _message("msg_12", NOW, b'{"type": "a.b"}'),
    _message("msg_1", NOW - 200, b'{"type": "a.b"}'),
    _message("msg_1", NOW - 301, b'{"type": "stale"}'),
    _message("msg_1", NOW + 301, b'{"type": "early"}'),
    _message("evt_01J9Z3K4M5N6P7Q8R9S0T1V2W3", NOW + 300, b""),
    _message("a-b_c", NOW, bytes(range(256)) * 4),
    _message("x" * 300, NOW, b"1.2.3"),
]
SIGNED = {(message.id, message.at, message.body): message for message in MESSAGES}

ODD = [
    "",
    " ",
    ".",
    ",",
    "=",
    "\x00",
    "\n",
    "\r\n",
    "\t",
    "\u00e9",
    "\u0661",
    "\ud800",
    "\u212a",
    "v1,",
    "v1a,",
    "\U0001f600",
]
ODD_VALUES: list[Any] = [None, 0, 1.5, NOW, True, b"", b"\xff", bytearray(b"v1"), [], ["v1"], {}, object(), "9" * 5000]
ODD_BODIES: list[Any] = [None, "", '{"type": "a.b"}', bytearray(b"x"), memoryview(b"x"), 7, [], {"type": "a.b"}]


def test_only_signed_messages_pass_and_only_one_error_is_raised():
    """Of 50,000 mutated requests none raises anything else, and no forgery passes."""
    verdicts = _fuzz(50_000, random.Random(20_211_120))

    assert 50_000 == verdicts.total()
    assert verdicts["accepted"] > 1000  # some mutations leave the message whole, so the oracle is exercised
    assert {"no_match", "header_missing", "header_duplicate", "id_malformed", "timestamp_malformed"} <= set(verdicts)
    assert {"headers_malformed", "body_type", "timestamp_too_old", "too_many_signatures", "header_too_long"} <= set(
        verdicts
    )


@pytest.mark.soak
def test_only_signed_messages_pass_however_long_one_tries():
    """Three million mutated requests with a fresh seed."""
    seed = random.SystemRandom().getrandbits(64)
    print(f"seed {seed}")

    assert 3_000_000 == _fuzz(3_000_000, random.Random(seed)).total()


def _fuzz(cases: int, rng: random.Random) -> Counter[str]:
    """Judge mutated requests, check every verdict against what was really signed, and count them."""
    verdicts: Counter[str] = Counter()
    for _ in range(cases):
        message = rng.choice(MESSAGES)
        body: Any = message.body
        entries = rng.sample(sorted(message.entries), rng.randint(1, 3))
        pairs: Pairs = [("webhook-id", message.id), ("webhook-timestamp", message.at)]
        pairs.append(("webhook-signature", " ".join(entries)))
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
            body, pairs = rng.choice(MUTATIONS)(body, pairs, rng)
        verifier = rng.choice(VERIFIERS)
        headers = _shaped(pairs, rng)
        try:
            accepted = verifier.verify(body, headers)
        except VerificationError as error:
            verdicts[error.reason] += 1
            continue
        verdicts["accepted"] += 1
        assert accepted is body
        _assert_genuine(body, pairs)
    report.note(f"receiver fuzz, {cases:,}", cases=cases, passed=verdicts["accepted"], false_accepts=0)
    return verdicts


def _assert_genuine(body: bytes, pairs: Pairs) -> None:
    """Check an acceptance without the code under test: these exact parts were signed, this entry is theirs."""
    seen: dict[str, str] = {}
    for name, value in pairs:
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        if isinstance(text, str) and text.isascii() and text.lower().startswith("webhook-"):
            assert text.lower() not in seen, pairs
            seen[text.lower()] = value.decode("latin-1") if isinstance(value, bytes) else value
    message = SIGNED.get((seen["webhook-id"], seen["webhook-timestamp"], body))
    assert message is not None, pairs
    assert message.entries & set(seen["webhook-signature"].split(" ")), pairs
    assert abs(int(message.at) - NOW) <= 300, pairs


def _shaped(pairs: Pairs, rng: random.Random) -> Any:
    """Pass the pairs as frameworks do, a mapping only where it loses none; sometimes in an invalid form."""
    form = rng.randrange(20)
    if form == 0:
        return rng.choice((None, 7, "webhook-id", object(), [*pairs, rng.choice((1, ("a",), None, "abc"))], zip(pairs)))
    if form < 7 and len({name for name, _ in pairs if isinstance(name, str | bytes)}) == len(pairs):
        return dict(pairs)
    return iter(pairs) if form < 14 else pairs


def _change_value(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    at = rng.randrange(len(pairs)) if pairs else None
    if at is None or not isinstance(pairs[at][1], str):
        return body, pairs
    name, value = pairs[at]
    return body, [*pairs[:at], (name, _noise(value, rng)), *pairs[at + 1 :]]


def _noise(text: str, rng: random.Random) -> str:
    """Delete, insert, replace, double, swap case or reorder a little."""
    at = rng.randrange(len(text) + 1)
    to = min(len(text), at + rng.randint(1, 4))
    match rng.randrange(8):
        case 0:
            return text[:at] + text[to:]
        case 1:
            return text[:at] + rng.choice(ODD) + text[at:]
        case 2:
            return text[:at] + rng.choice(string.printable) + text[to:]
        case 3:
            return text[:at] + text[at:to] * 2 + text[to:]
        case 4:
            return text[:at] + text[at:to].swapcase() + text[to:]
        case 5:
            return rng.choice(ODD) + text + rng.choice(ODD)
        case 6:  # another spelling of the same bytes: base64 has unused bits before the padding
            head, padding, tail = text.partition("=")
            return head[:-1] + rng.choice(string.ascii_letters) + padding + tail
        case _:
            return text[at:] + text[:at]


def _change_body(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    if not isinstance(body, bytes) or rng.random() < 0.1:
        return rng.choice(ODD_BODIES), pairs
    at = rng.randrange(len(body) + 1)
    return rng.choice((body[:at], body[at:], body[:at] + b"." + body[at:], body + b"\n", body.upper())), pairs


def _odd_value(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    at = rng.randrange(len(pairs) + 1)
    return body, [(n, rng.choice(ODD_VALUES) if i == at else v) for i, (n, v) in enumerate(pairs)]


def _drop(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    at = rng.randrange(len(pairs) + 1)
    return body, pairs[:at] + pairs[at + 1 :]


def _double(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    if not pairs:
        return body, pairs
    name, value = rng.choice(pairs)
    spelled = rng.choice((name, name.upper(), name.title())) if isinstance(name, str) else name
    return body, [*pairs, (spelled, rng.choice((value, "", "v1,x")))]


def _respell_names(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    spell: Callable[[str], Any] = rng.choice((str.upper, str.title, str.encode, lambda n: n.replace("k", "\u212a")))
    return body, [(spell(n) if isinstance(n, str) else n, v) for n, v in pairs]


def _other_headers(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    more: Pairs = [
        ("svix-id", "msg_9"),
        ("webhook_id", "x"),
        (rng.choice(ODD_VALUES[:6]), object()),
        ("Host", "\ud800"),
    ]
    return body, [*rng.sample(more, 2), *pairs, rng.choice(more)]


def _more_entries(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    junk = [
        "v1," + "A" * 43 + "=",
        "v1a," + "A" * 86 + "==",
        "v2,abc",
        "junk",
        "v1",
        "",
        Signer(STRANGER).sign("msg_1", NOW, b""),
    ]
    more = rng.choices(junk, k=rng.choice((1, 2, 12, 17, 100)))
    side = rng.random() < 0.5
    return body, [
        (n, " ".join([*more, v] if side else [v, *more])) if n == "webhook-signature" and isinstance(v, str) else (n, v)
        for n, v in pairs
    ]


def _transplant(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    """Take one part from another message, or shift the boundary between two parts."""
    other = rng.choice(MESSAGES)
    parts = {
        "webhook-id": other.id,
        "webhook-timestamp": other.at,
        "webhook-signature": " ".join(sorted(other.entries)),
    }
    shifted = {"webhook-id": f"{other.id}.{other.at[:4]}", "webhook-timestamp": other.at[4:]}
    taken = rng.choice((*({name: part} for name, part in parts.items()), parts, shifted))
    moved = other.body if rng.random() < 0.3 else body
    return moved, [(n, taken.get(n, v) if isinstance(n, str) else v) for n, v in pairs]


def _stranger(body: Any, pairs: Pairs, rng: random.Random) -> tuple[Any, Pairs]:
    """Sign the message with a foreign key, or with the public key as if it were a secret."""
    forger = Signer(rng.choice((STRANGER, "whsec_" + public_key(PRIVATE)[5:])))
    content = body if isinstance(body, bytes) else b""
    return body, list(forger.headers("msg_1", NOW, content).items())


MUTATIONS = [
    _change_value,
    _change_value,
    _change_value,
    _change_body,
    _odd_value,
    _drop,
    _double,
    _respell_names,
    _other_headers,
    _more_entries,
    _transplant,
    _stranger,
]

_texts = (
    st.text(max_size=60) | st.text(alphabet=st.characters(), max_size=5) | st.from_regex(r"v1a?,[A-Za-z0-9+/=]{0,90}")
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=60) | _texts
_names = st.sampled_from(["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", b"webhook-id"]) | _scalars
_values = st.sampled_from(["msg_1", str(NOW), MESSAGES[0].at]) | _scalars | st.lists(_texts, max_size=2)
_headers = (
    st.dictionaries(_names, _values, max_size=6)
    | st.lists(st.tuples(_names, _values), max_size=6)
    | st.lists(st.tuples(_names) | st.tuples(_names, _values, _values) | _scalars, max_size=4)
    | st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
)


@settings(max_examples=examples(500), deadline=None)
@given(body=st.binary(max_size=50) | _scalars, headers=_headers)
@example(body=b"", headers={"webhook-id": "a", "webhook-timestamp": str(NOW), "webhook-signature": "\ud800"})
def test_no_shape_of_input_raises_anything_else(body, headers):
    """Whatever its types, unsigned input raises the one error."""
    for verifier in VERIFIERS:
        with pytest.raises(VerificationError):
            verifier.verify(body, headers)


@settings(max_examples=examples(300), deadline=None)
@given(
    body=st.binary(max_size=300),
    seconds=st.integers(-300, 300),
    id=st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
)
def test_every_signed_message_passes(body, seconds, id):
    """Any bytes, any valid id, any time within the tolerance: what was signed is accepted, with any of the keys."""
    headers = SIGNER.headers(id, NOW + seconds, body)

    for verifier in VERIFIERS:
        assert body == verifier.verify(body, headers)
