"""JSON Web Tokens: only those of the issuer, for this audience, with an asymmetric signature, open the API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from notifykit import ConfigurationError
from notifykit.models.access import AccessScope, Role
from notifykit.web import JwtAccess, create_app
from notifykit.web.access.jwt import JwtCallers
from tests.unit.web.world import ACME, ADA, MARK, client_of

ISSUER, AUDIENCE = "https://id.example", "notifykit"
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(algorithm: str) -> str:
    public = KEYS[algorithm].public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def access(**more: Any) -> JwtAccess:
    keys = {algorithm: pem(algorithm) for algorithm in KEYS}
    return JwtAccess(**{"issuer": ISSUER, "audience": AUDIENCE, "keys": keys, **more})


def token(algorithm: str = "EdDSA", *, kid: str | None = None, **claims: Any) -> str:
    said = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "sub": "svc", "tenant": ACME, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, KEYS[algorithm], algorithm, headers={"kid": kid or algorithm})


@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_a_token_opens_what_its_claims_say(algorithm):
    """Tenant, role and scopes; scopes of others do not count."""
    caller = await JwtCallers(access()).find(token(algorithm, role="viewer", scope="openid events:read"))

    assert caller is not None
    assert (ACME, Role.VIEWER, frozenset({AccessScope.EVENTS_READ}), "svc") == (
        caller.tenant,
        caller.role,
        caller.scopes,
        caller.subject,
    )


async def test_a_token_without_a_role_is_a_persons():
    """They see their own; an operator's token names no tenant."""
    callers = JwtCallers(access())
    person = await callers.find(token(sub=ADA))
    operator = await callers.find(token(role="operator", tenant=None))

    assert person is not None
    assert operator is not None
    assert (ACME, Role.RECIPIENT, ADA) == (person.tenant, person.role, person.recipient)
    assert (None, Role.OPERATOR, None) == (operator.tenant, operator.role, operator.recipient)


def _unsigned(algorithm: str) -> str:
    """Return a token that says it has this algorithm, with a signature that anybody could make."""
    parts = [{"alg": algorithm, "kid": "RS256"}, {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60}]
    said = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    made = hmac.new(pem("RS256").encode(), said.encode(), hashlib.sha256).digest() if algorithm == "HS256" else b""
    return f"{said}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: token(role="viewer", exp=time.time() - 60),
        lambda: token(role="viewer", exp=None),
        lambda: token(role="viewer", nbf=time.time() + 600),
        lambda: token(role="viewer", iss="https://other.example"),
        lambda: token(role="viewer", aud="other"),
        lambda: token(role="viewer", aud=None),
        lambda: token(role="viewer", tenant="a b"),
        lambda: token(role="viewer", tenant=None),
        lambda: token(role="king"),
        lambda: token(role="recipient"),
        lambda: token(sub=None),
        lambda: token(sub="end_1"),
        lambda: token(role="viewer", kid="unknown"),
        lambda: token("RS256", role="viewer", kid="ES256"),
        lambda: token(role="viewer")[:-4],
        lambda: _unsigned("none"),
        lambda: _unsigned("HS256"),
        lambda: "eyJ" + "a" * 9000,
        lambda: "....",
    ],
)
async def test_other_tokens_open_nothing(make):
    """Expired, of others, for others, unsigned, or signed with what is public."""
    assert await JwtCallers(access()).find(make()) is None


async def test_the_issuers_keys_are_fetched_when_they_are_needed(monkeypatch):
    """An unknown key is looked for, not more often than each 30 s, and known ones outlast an outage."""
    now, fetched = [1000.0], []
    monkeypatch.setattr("notifykit.web.access.jwt.time.monotonic", lambda: now[0])
    known = ["ES256"]

    def answer(request: httpx.Request) -> httpx.Response:
        fetched.append(request.url)
        keys = [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEYS["ES256"].public_key())) | {"kid": k} for k in known]
        return httpx.Response(200, json={"keys": keys}) if known else httpx.Response(503)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        callers = JwtCallers(access(keys={}, jwks_url="https://id.example/jwks"), client)

        async def opens(kid: str) -> bool:
            return await callers.find(token("ES256", role="viewer", kid=kid)) is not None

        first = [await opens("ES256"), await opens("ES256"), await opens("new")]
        known.append("new")
        too_early = await opens("new")
        now[0] += 31
        later = await opens("new")
        known.clear()
        now[0] += 601
        outage = await opens("new")

    assert [True, True, False] == first
    assert (False, True, True) == (too_early, later, outage)
    assert 3 == len(fetched)


async def test_tokens_open_the_api_beside_keys(kit, world):
    """The whole way: of the tenant that the token names, and of no other."""
    async with client_of(create_app(kit, jwt=access())) as client:
        answers = [
            await client.get(
                "/v1/endpoints", headers={"Authorization": f"Bearer {token(role='viewer', tenant=tenant)}"}
            )
            for tenant in (ACME, "globex")
        ]
        own = await client.get(f"/v1/inbox/{ADA}", headers={"Authorization": f"Bearer {token(sub=ADA)}"})

    assert [200, 200, 200] == [answer.status_code for answer in (*answers, own)]
    assert [True, False] == [MARK in answer.text for answer in answers]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"keys": {}}, "either jwks_url or keys"),
        ({"jwks_url": "https://id.example"}, "either jwks_url or keys"),
        ({"issuer": ""}, "issuer: is empty"),
    ],
)
def test_options_that_cannot_work_are_refused(options, problem):
    """When they are given, not with the first token."""
    with pytest.raises(ConfigurationError, match=problem):
        access(**options)


def test_keys_that_are_none_are_refused():
    """In words that name the option."""
    with pytest.raises(ConfigurationError, match="JwtAccess: keys"):
        JwtCallers(access(keys={"a": "no key"}))
