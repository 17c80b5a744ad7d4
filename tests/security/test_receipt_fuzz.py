"""Fuzz the receipts of vendors: nothing is accepted that was not sent so, and only the one error is raised.

A changed request may still be genuine, because it means the same (a blank in JSON), or because the vendor does not
sign that part: Mailgun signs a token and a time, and Postmark sends a password.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from notifykit.channels.receipts.mailgun import MailgunReceipts
from notifykit.channels.receipts.postmark import PostmarkReceipts
from notifykit.channels.receipts.sendgrid import SendGridReceipts
from notifykit.channels.receipts.ses import SesReceipts
from notifykit.channels.receipts.twilio import TwilioReceipts
from notifykit.channels.receipts.vonage import VonageReceipts
from notifykit.models.receipt import ProviderReceipt
from notifykit.signing import VerificationError
from tests import report
from tests.unit.channels import vendor_reports as v

VERIFIERS: dict[str, Callable[[], Any]] = {
    "mailgun": lambda: MailgunReceipts(v.MAILGUN_KEY),
    "postmark": lambda: PostmarkReceipts(v.POSTMARK_LOGIN),
    "sendgrid": lambda: SendGridReceipts(v.spki(v.sendgrid_key())),
    "ses": lambda: SesReceipts(v.TOPIC, fetch=lambda _: v.certificate()),
    "twilio": lambda: TwilioReceipts(v.TWILIO_TOKEN),
    "vonage": lambda: VonageReceipts(v.VONAGE_SECRET),
    "vonage_message": lambda: VonageReceipts(v.VONAGE_SECRET),
}
EVERYDAY, THOROUGH = 300, 20_000
ODD = [b"", b"\x00", b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b"&", b"=", b"+", b"%00", b"\n", b":", b",", b"null"]
VALUES: list[Any] = [None, True, 0, -1, 1e308, 10**30, "", "x", "\ud800", "\x00", "9" * 400, [], [[]], {}, {"a": [1]}]

each_vendor = pytest.mark.parametrize("name", sorted(v.GENUINE))
how_many = pytest.mark.parametrize("count", [EVERYDAY, pytest.param(THOROUGH, marks=pytest.mark.thorough)])


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return other bytes: a bit, a byte, a stretch, or an odd piece more, less, twice or elsewhere."""
    at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    end = min(end, at + rng.choice((1, 2, 8, len(data))))
    match rng.randrange(6):
        case 0 if data:
            flipped = min(at, len(data) - 1)
            return data[:flipped] + bytes([data[flipped] ^ 1 << rng.randrange(8)]) + data[flipped + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:end] + data[at:]
        case 3:
            return data[:at] + rng.choice(ODD) + data[at:]
        case 4:
            return data[:at] + rng.choice(ODD) + data[end:]
        case _:
            return data[:at] + bytes(rng.choices(range(256), k=end - at)) + data[end:]


def mutated_text(text: str, rng: random.Random) -> str:
    return mutated(text.encode(), rng).decode("latin-1")


def mutated_request(genuine: v.Report, rng: random.Random) -> v.Report:
    """Return the request with one or several changes of its body, its headers or its URL."""
    changed = genuine
    while changed == genuine or rng.random() < 0.3:
        where = rng.random()
        if where < 0.5:
            changed = attrs.evolve(changed, body=mutated(changed.body, rng))
        elif where < 0.85 and genuine.headers:
            name = rng.choice(sorted(genuine.headers))
            changed = attrs.evolve(changed, headers={**changed.headers, name: mutated_text(changed.headers[name], rng)})
        else:
            changed = attrs.evolve(changed, url=mutated_text(changed.url, rng))
    return changed


def answer(verifier: Any, request: v.Report) -> list[ProviderReceipt] | str:
    """Return the receipts of a request, or why it is refused; anything else that is raised fails the test."""
    try:
        found: list[ProviderReceipt] = verifier.receipts(request.headers, request.body, request.url, now=v.NOW)
    except VerificationError as error:
        return error.reason
    return found


def is_unsigned(name: str, changed: v.Report, genuine: v.Report) -> bool:
    """Tell whether only a part was changed that the vendor does not sign."""
    if name == "postmark":
        return changed.headers == genuine.headers
    if name == "mailgun":
        return bool(json.loads(changed.body)["signature"] == json.loads(genuine.body)["signature"])
    return False


@each_vendor
@how_many
def test_what_was_changed_is_refused(name, count):
    """It is accepted only if it says the same, or if the vendor has not signed what was changed."""
    rng = random.Random(f"{name} {count}")
    verifier, genuine = VERIFIERS[name](), v.GENUINE[name]()
    expected = answer(verifier, genuine)
    answers: Counter[str] = Counter()

    for _ in range(count):
        changed = mutated_request(genuine, rng)
        found = answer(verifier, changed)
        if isinstance(found, str):
            answers[found] += 1
        else:
            answers["accepted"] += 1
            assert found == expected or is_unsigned(name, changed, genuine), changed

    report.note(f"receipts of {name}, fuzzed", cases=count, passed=answers["accepted"], false_accepts=0)
    assert answers["accepted"] < count


SIGNED: dict[str, tuple[Any, Callable[[Any], v.Report]]] = {
    "mailgun": (v.MAILGUN_EVENT, v.mailgun),
    "postmark": (v.POSTMARK_BOUNCE, v.postmark),
    "sendgrid": (v.SENDGRID_EVENT, v.sendgrid),
    "ses": (v.SES_BOUNCE, v.ses),
    "vonage": (v.VONAGE_FIELDS, lambda fields: v.vonage(fields, form="json")),
    "vonage_message": (v.VONAGE_STATUS, v.vonage_message),
}


def changed_value(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with a part of it replaced, removed, or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: changed_value(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        return [changed_value(value[0], rng), *value[1:], *rng.choice(([], [rng.choice(VALUES)]))]
    return rng.choice(VALUES)


@pytest.mark.parametrize("name", sorted(SIGNED))
@how_many
def test_a_vendor_may_say_anything(name, count):
    """What is signed and not what is documented is a receipt, none, or refused; a receipt can be stored."""
    rng = random.Random(f"{name} says {count}")
    content, sign = SIGNED[name]
    verifier = VERIFIERS[name]()

    for _ in range(count // 10):
        said = content
        for _ in range(rng.randint(1, 4)):
            said = changed_value(said, rng)
        try:
            request = sign(said)
        except (TypeError, UnicodeError, AttributeError):  # the test cannot sign it
            continue
        found = answer(verifier, request)
        for receipt in () if isinstance(found, str) else found:
            assert all("\ud800" not in str(part) and "\x00" not in str(part) for part in attrs.astuple(receipt))
