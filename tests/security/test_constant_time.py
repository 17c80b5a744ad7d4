"""Constant time: the time of a refusal does not reveal how much of a signature was right."""

from __future__ import annotations

import ast
import hmac
import random
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import notifykit
from notifykit.signing import Signer, VerificationError, Verifier, generate_secret
from tests import report

AT = 1_800_000_000
ID, BODY = "msg_1", b'{"type":"order.paid"}'
SECRETS = [generate_secret() for _ in range(3)]
WRONG = "v1," + "A" * 43 + "="

#: The modules that handle secrets and signatures, and the names of such values.
FOLDERS = ("signing", "vault", "contrib/receivers")
CONFIDENTIAL = re.compile(r"signature|digest|secret|\bmac\b|expected|tag$|plain$")


@pytest.mark.parametrize("right", [None, 0, 1, 2], ids=lambda key: "forged" if key is None else f"key {key}")
@pytest.mark.parametrize("place", [0, 2, 4])
def test_every_entry_is_compared_with_every_key(right, place, monkeypatch):
    """The same comparisons are made whichever key and entry match, and if none does."""
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def counted(ours: bytes, theirs: bytes) -> bool:
        compared.append(theirs)
        return compare(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    entries = [WRONG] * 5
    if right is not None:
        entries[place] = Signer(SECRETS[right]).sign(ID, AT, BODY)
    headers = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": " ".join(entries)}
    verifier = Verifier(SECRETS, clock=lambda: AT)

    if right is None:
        with pytest.raises(VerificationError, match="no_match"):
            verifier.verify(BODY, headers)
    else:
        assert BODY == verifier.verify(BODY, headers)

    assert len(SECRETS) * len(entries) == len(compared)


def comparisons(source: str) -> Iterator[str]:
    """Yield what a module compares with an operator although it is confidential."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Name | ast.Attribute) and _is_confidential(side) for side in sides):
                yield ast.unparse(node)


def _is_confidential(side: ast.Name | ast.Attribute) -> bool:
    return CONFIDENTIAL.search(side.id if isinstance(side, ast.Name) else side.attr) is not None


def test_nothing_confidential_is_compared_with_an_operator():
    """Signatures, digests and secrets are compared with ``compare_digest`` or by the library that made them."""
    root = Path(notifykit.__file__).parent
    files = [file for folder in FOLDERS for file in sorted((root / folder).glob("*.py"))]

    assert {} == {file.name: found for file in files if (found := list(comparisons(file.read_text("utf-8"))))}
    assert len(files) > 8
    assert ["signature == entry", "expected in found"] == list(comparisons("signature == entry\nexpected in found"))


@pytest.mark.soak
def test_the_place_of_the_first_wrong_byte_takes_no_time():
    """Welch's t of signatures that are wrong at the start and at the end, over a hundred thousand each, is noise."""
    verifier = Verifier(SECRETS[0], clock=lambda: AT)
    good = Signer(SECRETS[0]).sign(ID, AT, BODY)
    start, end = f"v1,{'B' if good[3] == 'A' else 'A'}{good[4:]}", f"{good[:-2]}{'A' if good[-2] != 'A' else 'B'}="
    took: dict[str, list[int]] = {start: [], end: []}
    for _ in range(200_000):
        signature = random.choice((start, end))
        headers = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": signature}
        before = time.perf_counter_ns()
        with pytest.raises(VerificationError):
            verifier.verify(BODY, headers)
        took[signature].append(time.perf_counter_ns() - before)
    # The slowest tenth has the delays by other work of the machine.
    a, b = (sorted(times)[: len(times) * 9 // 10] for times in took.values())
    spread = (statistics.variance(a) / len(a) + statistics.variance(b) / len(b)) ** 0.5
    t = (statistics.fmean(a) - statistics.fmean(b)) / spread

    report.note("constant time", samples=len(a) + len(b), welch_t=round(t, 2))
    assert abs(t) < 10
