"""API keys: only their secrets open them, for as long as they are valid."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifykit import InvalidInputError, NotFoundError, StateError
from notifykit.admin.api_keys import hash_of, place_of
from notifykit.models.access import MAX_ACCESS_TOKENS, ROLE_SCOPES, AccessScope, ApiKey, Role, effective_scopes

ACME = "acme"
HOUR = timedelta(hours=1)


@pytest.fixture
async def issued(kit):
    return await kit.api_keys.create(tenant=ACME, role="tenant_admin", name="shop")


async def test_a_secret_finds_its_key_and_is_not_stored(kit, issued):
    """The store has a hash, and the key shows how the secret begins."""
    stored = await kit.api_keys.get(issued.key.id, tenant=ACME)

    assert issued.key == await kit.api_keys.find(issued.secret)
    assert issued.secret not in repr(stored)
    assert issued.secret.startswith(stored.hint[:-1])
    assert [hash_of(issued.secret)] == [each.hash for each in stored.secrets]


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: "",
        lambda secret: secret[:-1],
        lambda secret: secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        lambda secret: secret.replace("nk_", "nt_"),
        lambda secret: "nk_" + secret[3:].replace(secret[3:].partition(".")[0], "Z2xvYmV4"),  # globex
        lambda secret: "nk_!!" + secret[3:],
        lambda secret: "nk__w." + secret.partition(".")[2],  # no UTF-8
        lambda secret: "nk_A." + secret.partition(".")[2],  # no base 64
        lambda secret: "nk_IA." + secret.partition(".")[2],  # a space is no tenant
    ],
)
async def test_what_is_not_the_secret_finds_nothing(kit, issued, change):
    """Neither another text, nor the same one of another tenant."""
    assert await kit.api_keys.find(change(issued.secret)) is None


@pytest.mark.parametrize("tenant", ["acme", "a.b:c@d-e_f", ""])
async def test_a_secret_names_its_tenant(kit, tenant):
    """Whatever characters the name of a tenant has; operators have none."""
    role = Role.VIEWER if tenant else Role.OPERATOR

    issued = await kit.api_keys.create(tenant=tenant, role=role)

    assert (tenant, issued.key.id) == place_of(issued.secret)
    assert issued.key == await kit.api_keys.find(issued.secret)


async def test_keys_end(kit, clock):
    """At the time that was said when they were made."""
    issued = await kit.api_keys.create(tenant=ACME, role="viewer", expires_at=clock.now() + HOUR)

    clock.advance(HOUR - timedelta(seconds=1))
    before = await kit.api_keys.find(issued.secret)
    clock.advance(timedelta(seconds=1))

    assert (issued.key, None) == (before, await kit.api_keys.find(issued.secret))


async def test_a_rotation_overlaps(kit, clock, issued):
    """The old secret is valid for a day, the new one at once; without an overlap only the new one is."""
    new = await kit.api_keys.rotate(issued.key.id, tenant=ACME)
    during = [await kit.api_keys.find(secret) is not None for secret in (issued.secret, new.secret)]
    clock.advance(timedelta(days=1))
    after = [await kit.api_keys.find(secret) is not None for secret in (issued.secret, new.secret)]
    newest = await kit.api_keys.rotate(issued.key.id, tenant=ACME, overlap=timedelta(0))

    assert ([True, True], [False, True]) == (during, after)
    assert await kit.api_keys.find(new.secret) is None
    assert newest.key == await kit.api_keys.find(newest.secret)


async def test_a_key_has_five_secrets_at_the_most(kit, clock, issued):
    """A sixth is refused until one has ended."""
    for _ in range(4):
        await kit.api_keys.rotate(issued.key.id, tenant=ACME)

    with pytest.raises(StateError, match="5 valid secrets"):
        await kit.api_keys.rotate(issued.key.id, tenant=ACME)
    clock.advance(timedelta(days=1))
    await kit.api_keys.rotate(issued.key.id, tenant=ACME)


async def test_a_revoked_key_is_gone_with_its_tokens(kit, issued):
    """Another tenant cannot revoke it."""
    token = await kit.api_keys.issue_token(issued.key.id, tenant=ACME)
    found = await kit.api_keys.find(token.secret)
    with pytest.raises(NotFoundError):
        await kit.api_keys.revoke(issued.key.id, tenant="globex")

    await kit.api_keys.revoke(issued.key.id, tenant=ACME)

    assert token.key == found
    assert [None, None] == [await kit.api_keys.find(secret) for secret in (issued.secret, token.secret)]


async def test_access_tokens_end_by_time_and_by_number(kit, clock, issued):
    """They end after an hour, and the oldest when there are too many; the secret stays valid."""
    tokens = [(await kit.api_keys.issue_token(issued.key.id, tenant=ACME)).secret for _ in range(MAX_ACCESS_TOKENS + 1)]
    valid = [await kit.api_keys.find(token) is not None for token in tokens]
    clock.advance(HOUR)

    assert [False, *[True] * MAX_ACCESS_TOKENS] == valid
    assert await kit.api_keys.find(tokens[-1]) is None
    assert await kit.api_keys.find(issued.secret) is not None


async def test_use_is_noted_once_an_hour(kit, clock, issued):
    """The key itself tells when it was last used, roughly."""
    await kit.api_keys.note_use(issued.key)
    first = await kit.api_keys.get(issued.key.id, tenant=ACME)
    clock.advance(HOUR - timedelta(seconds=1))
    await kit.api_keys.note_use(first)
    await kit.api_keys.note_use(issued.key)  # read before another process noted it
    same = await kit.api_keys.get(issued.key.id, tenant=ACME)
    clock.advance(timedelta(seconds=1))
    await kit.api_keys.note_use(same)

    assert first == same
    assert clock.now() == (await kit.api_keys.get(issued.key.id, tenant=ACME)).last_used_at


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tenant": ACME, "role": "operator"}, "tenant: keys of operators have none"),
        ({"tenant": "", "role": "viewer"}, "tenant: keys of operators have none"),
        ({"tenant": "a b", "role": "viewer"}, "tenant: must be 1 to 128"),
        ({"tenant": ACME, "role": "recipient"}, "role: must be one of"),
        ({"tenant": ACME, "role": "viewer", "scopes": ["everything"]}, "scopes: \\[0\\] must be one of"),
        ({"tenant": ACME, "role": "viewer", "name": "n" * 129}, "name: longer than 128"),
    ],
)
async def test_mistakes_are_refused(kit, options, problem):
    """With what is wrong; no key is made."""
    with pytest.raises(InvalidInputError, match=problem):
        await kit.api_keys.create(**options)
    assert [] == await kit.api_keys.list(tenant=ACME)


async def test_a_key_that_has_ended_already_is_refused(kit, clock):
    """It would open nothing."""
    with pytest.raises(InvalidInputError, match="expires_at: must be later"):
        await kit.api_keys.create(tenant=ACME, role="viewer", expires_at=clock.now())


def test_scopes_only_take_away():
    """A scope that the role does not have adds nothing."""
    assert ROLE_SCOPES[Role.PRODUCER] == effective_scopes(Role.PRODUCER, ())
    assert {AccessScope.EVENTS_READ} == effective_scopes(Role.PRODUCER, ["events:read", "keys:write", "what"])


async def test_a_key_keeps_everything_in_a_database(store_url):
    """Role, scopes, times and hashes are read as they were saved."""
    from notifykit import Notifykit

    async with Notifykit(store_url) as kit:
        issued = await kit.api_keys.create(tenant=ACME, role="producer", name="shop", scopes=["events:write"])
        token = await kit.api_keys.issue_token(issued.key.id, tenant=ACME)
        found = await kit.api_keys.find(token.secret)
        listed = await kit.store.page(ApiKey, ACME, limit=9)

    assert token.key == found
    assert [token.key] == listed
