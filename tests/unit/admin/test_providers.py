"""Provider accounts that tenants have themselves: what may be set, and what is shown of it."""

from __future__ import annotations

import pytest

from notifykit import EgressRules, InvalidInputError, Notifykit
from notifykit.models.provider_account import ProviderAccount

TENANT = "acme"
POSTMARK = "postmark://SECRET@?sender=a@b.example"


async def test_set_get_list_remove() -> None:
    """Nothing that is returned has the secret; another tenant has nothing."""
    async with Notifykit("memory://") as kit:
        made = [await kit.providers.set("email", POSTMARK, tenant=TENANT) for _ in range(2)]
        await kit.providers.set(
            "sms",
            "twilio://AC00000000000000000000000000000000:SECRET@?from=+4915100&countries=DE&weight=2 || "
            "vonage://KEY:SECRET@?from=+4915100&countries=DE&weight=1",
            tenant=TENANT,
        )
        found = await kit.providers.get("email", tenant=TENANT)
        listed = await kit.providers.list(tenant=TENANT)
        others = await kit.providers.list(tenant="globex"), await kit.providers.get("email", tenant="globex")
        (stored,) = await kit.store.get(ProviderAccount, TENANT, ["email"])
        removed = [await kit.providers.remove("email", tenant=TENANT) for _ in range(2)]
        gone = await kit.providers.get("email", tenant=TENANT)

    assert found is not None
    assert [1, 2] == [each.version for each in made]
    assert "postmark://***@?sender=a@b.example" == found.url
    assert [("email", found.url), ("sms", listed[1].url)] == [(each.id, each.url) for each in listed]
    assert "SECRET" not in repr([made, found, listed, stored]) + listed[1].url
    assert listed[1].url.endswith(" || vonage://***@?from=+4915100&countries=DE&weight=1")
    assert POSTMARK == stored.url
    assert ([], None) == others
    assert ([True, False], None) == (removed, gone)


def test_sync_callers_have_them_too() -> None:
    """As every part of the kit."""
    kit = Notifykit("memory://")
    kit.blocking.providers.set("email", POSTMARK, tenant=TENANT)

    found = kit.blocking.providers.get("email", tenant=TENANT)
    kit.close()

    assert found is not None
    assert "SECRET" not in found.url


@pytest.mark.parametrize(
    ("channel", "url", "said"),
    [
        ("fax", POSTMARK, "channel: must be one of"),
        ("email", "", "url: "),
        ("email", "postmark://SECRET", "url: postmark: what follows|url: postmark: 1 secret"),
        ("sms", POSTMARK, "url: sms: the URL of a provider is needed"),
        ("email", "catch://", "catch:// writes into a file"),
        ("email", f"{POSTMARK} || catch:///tmp/x", "catch:// writes into a file"),
        ("email", "postmark://env:HOME@?sender=a@b.example", "env: and file: would read"),
        ("email", "postmark://file%3A%2Fetc%2Fpasswd@?sender=a@b.example", "env: and file: would read"),
        ("email", "ses://I:S@eu-west-1?sender=a@b.example&token=file:/etc/passwd", "env: and file: would read"),
        ("email", f"{POSTMARK}&endpoint=http://localhost:9", "endpoint= is for the operator's own accounts only"),
        ("email", f"{POSTMARK}&%65ndpoint=http://localhost:9", "endpoint= is for the operator's own accounts only"),
        ("email", f"{POSTMARK}&costs=/etc/passwd", "costs= is for the operator's own accounts only"),
        ("email", "smtp://93.184.216.34?sender=a@b.example&ca=/etc/x", "ca= is for the operator's own accounts only"),
        ("email", "smtp://93.184.216.34?sender=a@b.example&tls=off", "tls=off is for the operator's own"),
        ("email", "smtp://127.0.0.1?sender=a@b.example", "the mail server is not one that a tenant may name"),
        ("email", "smtps://10.0.0.1:465?sender=a@b.example", "the mail server is not one that a tenant may name"),
        ("email", "smtp://93.184.216.34:6379?sender=a@b.example", "6379 is not a port of mail servers"),
        ("email", "smtp://nowhere.invalid?sender=a@b.example", "the mail server"),
    ],
)
async def test_what_a_tenant_must_not_name(channel: str, url: str, said: str) -> None:
    """Nothing of the operator is read or reached; no secret is in the error, and nothing is stored."""
    async with Notifykit("memory://") as kit:
        with pytest.raises(InvalidInputError, match=said) as refused:
            await kit.providers.set(channel, url, tenant=TENANT)
        assert [] == await kit.providers.list(tenant=TENANT)
    assert "SECRET" not in str(refused.value)


async def test_a_mail_server_of_a_tenant() -> None:
    """A public one is taken; one of the own network if the operator allows that."""
    own = EgressRules(allow=("10.0.0.0/8",))
    async with Notifykit("memory://", egress=own) as kit:
        for host in ("93.184.216.34", "10.0.0.1"):
            await kit.providers.set("email", f"smtp://u:SECRET@{host}:587?sender=a@b.example", tenant=TENANT)
        found = await kit.providers.get("email", tenant=TENANT)

    assert found is not None
    assert "smtp://***@10.0.0.1:587?sender=a@b.example" == found.url
