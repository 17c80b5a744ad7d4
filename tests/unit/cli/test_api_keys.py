"""``notifykit api-keys``: secrets are printed once, and open what they should."""

from __future__ import annotations

import asyncio

import pytest

from notifykit import Notifykit


def opens(url: str, secret: str) -> bool:
    async def find() -> bool:
        async with Notifykit(url) as kit:
            return await kit.api_keys.find(secret) is not None

    return asyncio.run(find())


def created(cli, *options: str):
    return cli("api-keys", "create", "--role", "producer", *options, "--json").record


def test_a_key_is_created_listed_rotated_and_revoked(cli, store_url):
    """On a store that does not exist yet; only the first answer has the secret."""
    key = created(cli, "--tenant", "acme", "--name", "shop", "--scope", "events:write")
    before = opens(store_url, key["secret"])
    listed = cli("api-keys", "list", "--tenant", "acme")
    rotated = cli("api-keys", "rotate", key["id"], "--tenant", "acme", "--overlap", "0s", "--json").record
    after = [opens(store_url, secret) for secret in (key["secret"], rotated["secret"])]
    revoked = cli("api-keys", "revoke", key["id"], "--tenant", "acme")

    assert ("acme", "producer", ["events:write"]) == (key["tenant"], key["role"], key["scopes"])
    assert "shop" in listed.out
    assert key["secret"] not in listed.out
    assert (True, [False, True], 0) == (before, after, revoked.code)
    assert not opens(store_url, rotated["secret"])


def test_scopes_of_which_the_role_has_none_are_refused(cli):
    """The key would open nothing."""
    answer = cli("api-keys", "create", "--role", "producer", "--scope", "keys:write")

    assert 1 == answer.code
    assert "scopes: none of them is of the role producer" in answer.err


def test_an_operators_key_belongs_to_no_tenant(cli):
    """It is listed with ``--operators``, and may end by itself."""
    made = cli("api-keys", "create", "--role", "operator", "--expires-in", "90d", "--tenant", "acme")
    tenant = cli("api-keys", "list", "--tenant", "acme", "--json").records
    (operator,) = cli("api-keys", "list", "--operators", "--json").records

    assert "not shown again" in made.err
    assert [] == tenant
    assert operator["id"] in made.out
    assert operator["expires_at"] is not None
    assert "secrets" not in operator


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "--role", "producer", "--scope", "everything"), "there is no scope everything"),
        (("create", "--role", "king"), "invalid choice: 'king'"),
    ],
)
def test_mistakes_are_told(cli, arguments, problem):
    """With what there is."""
    answer = cli("api-keys", *arguments)

    assert 2 == answer.code
    assert problem in answer.err


def test_a_key_that_is_not_there(cli):
    """Of this tenant."""
    key = created(cli, "--tenant", "acme")

    answer = cli("api-keys", "revoke", key["id"], "--tenant", "globex")

    assert 0 < answer.code < 5
    assert key["id"] in answer.err
