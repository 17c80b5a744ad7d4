"""Every published test vector has its expected result."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import timedelta
from typing import Any

import pytest

from notifykit.errors import ConfigurationError
from notifykit.signing import Signer, VerificationError, Verifier, secret_problem
from tests.shared_data import shared_data

VECTORS: dict[str, Any] = json.loads(shared_data("standard-webhooks-vectors.json").read_bytes())


def _name(case: dict[str, Any]) -> str:
    return str(case.get("name") or case["value"])


def _payload(case: dict[str, Any]) -> bytes:
    if "payload_repeat" in case:
        return str(case["payload_repeat"]["char"]).encode() * int(case["payload_repeat"]["count"])
    return b64decode(case["payload_b64"])


@pytest.mark.parametrize("case", VECTORS["sign"], ids=_name)
def test_signs_as_the_vector_says(case):
    """The signature is the one that other implementations make."""
    signer = Signer(case["secret"])

    signature = signer.sign(case["msg_id"], case["timestamp"], _payload(case))

    assert case["signature"] == signature


@pytest.mark.parametrize("case", VECTORS["verify"], ids=_name)
def test_verifies_as_the_vector_says(case):
    """The receiver accepts and rejects what it should."""
    verifier = Verifier(
        case["secrets"], tolerance=timedelta(seconds=case["tolerance"]), clock=lambda: float(case["now"])
    )

    try:
        verdict = "accept" if verifier.verify(_payload(case), case["headers"]) == _payload(case) else "changed"
    except VerificationError:
        verdict = "reject"

    assert case["expect"] == verdict


@pytest.mark.parametrize("case", VECTORS["secrets"], ids=lambda case: repr(case["value"]))
def test_judges_secrets_as_the_vector_says(case):
    """What a tenant may bring is checked strictly, what a receiver uses more leniently."""
    sender = "accept" if secret_problem(case["value"]) is None else "reject"
    try:
        Verifier(case["value"])
        receiver = "accept"
    except ConfigurationError:
        receiver = "reject"

    assert (case["sender"], case["receiver"]) == (sender, receiver)
