"""Recipients as values: what they take, what they refuse and in which words, and what they are for a decision."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from notifykit import InvalidInputError
from notifykit.models.addresses import AddressState
from notifykit.models.preferences import Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import (
    Consent,
    Person,
    Recipient,
    RecipientAddress,
    TenantPreferences,
    email_address,
    locale_name,
    phone_number,
    spelled,
)
from notifykit.testing import make_recipient

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NIGHT = QuietHours(windows=(Window(days=tuple(Weekday), from_="22:00", to="07:00"),))


@pytest.mark.parametrize(
    "address",
    ["ada@example.org", "a+b.c_d@x-1.co.uk", "ä.b@bücher.example", "x" * 64 + "@example.org", "o'neil@example.ie"],
)
def test_mailboxes_are_taken_as_programs_write_them(address):
    """With plus signs, apostrophes and letters of any script."""
    assert email_address(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "", "ada", "ada@", "@example.org", "ada@example", "a b@example.org", "a..b@example.org", ".a@example.org",
        "ada@example..org", "ada@-example.org", "ada@example-.org", "ada@ex_ample.org", "ada@example.org\n",
        "ada@example.org\r\nBcc: eve@example.org", "Ada <ada@example.org>", '"ada"@example.org', "ada@[127.0.0.1]",
        "ada@example.org,eve@example.org", "x" * 65 + "@example.org", "ada@" + "x" * 250 + ".org",
        "\u202eada@example.org", "ada\u00a0@example.org", 5, None,
    ],
)  # fmt: skip
def test_what_is_no_mailbox_is_refused(address):
    """Also what mail programs show as one, or what would add a header or a recipient."""
    assert email_address(address) is not None


@pytest.mark.parametrize("number", ["+4915123456789", "+12025550123", "+290" + "1" * 4, "+49 (151) 234-56789"])
def test_telephone_numbers_are_in_e164(number):
    """Short and long ones, and as people write them: what they add is left out of what is stored."""
    assert phone_number(number) is None
    assert re.fullmatch(r"\+[0-9]+", RecipientAddress(channel="sms", address=number).address)


@pytest.mark.parametrize(
    "number", ["015123456789", "+0123456789", "0151 23456789", "+49 (0) 151 234567", "+49-1", "+49", "+" + "1" * 16, 5]
)
def test_what_is_no_telephone_number_is_refused(number):
    """A number without its country, or with a digit that is not dialled from abroad, could be another one's."""
    assert phone_number(number) is not None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("de", "de"),
        ("DE_at", "de-AT"),
        ("zh_hant_tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("ca-es-VALENCIA", "ca-ES-valencia"),
    ],
)
def test_locales_are_spelled_one_way(given, kept):
    """As BCP 47 does, whatever the host's framework writes."""
    assert kept == make_recipient(locale=given).locale


@pytest.mark.parametrize(
    "locale", ["", "e", "xx", "xx-DE", "english", "de-", "de_DE.UTF-8", "C", "../en", "de-" + "abcdef-" * 9, 5]
)
def test_what_is_no_locale_is_refused(locale):
    """The error shows what one looks like."""
    assert locale_name(spelled(locale)) is not None
    with pytest.raises(InvalidInputError, match=r"locale: .*de-AT"):
        make_recipient(locale=locale)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "id: is empty"),
        ({"id": "user:42\n"}, "id: has control characters"),
        ({"id": "x" * 256}, "id: longer than 255 characters"),
        ({"tenant": "a b"}, "tenant: must be 1 to 128 characters"),
        ({"zone": "Europe/Atlantis"}, "zone: there is no time zone 'Europe/Atlantis'"),
        ({"traits": {"bio": "x" * 2_000_000}}, "traits: have 2000011 bytes as JSON, at most 65536"),
        ({"traits": {"born": NOW}}, "traits: must be JSON types: .*datetime"),
        ({"traits": {"score": float("nan")}}, "traits: must be JSON types"),
        ({"traits": {"name": "\ud800"}}, "traits: must be JSON types"),
        ({"traits": ["plan"]}, "traits: must be a mapping, not list"),
        ({"addresses": "ada@example.org"}, "addresses: must be a list of addresses, not str"),
        ({"addresses": ["ada@example.org"]}, r"addresses: \[0\] must be a RecipientAddress, not str"),
        ({"addresses": [RecipientAddress(channel="chat", address="c")] * 101}, "addresses: at most 100, got 101"),
        (
            {"settings": [Setting(scope=Scope.TENANT, select=Selector(), value="off")]},
            "settings: must be of scope recipient, not tenant",
        ),
    ],
)
def test_what_no_recipient_can_have_is_refused(changes, message):
    """The error names the field and the limit, and repeats nothing private."""
    with pytest.raises(InvalidInputError, match=message) as caught:
        make_recipient(**changes)

    assert len(str(caught.value)) < 400


def test_traits_that_contain_themselves_are_refused():
    """As what is no JSON."""
    traits: dict[str, object] = {}
    traits["self"] = traits

    with pytest.raises(InvalidInputError, match="traits: must be JSON types"):
        make_recipient(traits=traits)


@pytest.mark.parametrize(
    ("channel", "address", "message"),
    [
        ("email", "ada", "address: is no e-mail address; one looks like ada@example.org"),
        ("sms", "0151", r"address: is no telephone number; write it like \+4915123456789"),
        ("push", "x" * 4097, "address: longer than 4096 characters"),
        ("push", "", "address: is empty"),
    ],
)
def test_addresses_fit_their_channel(channel, address, message):
    """A mailbox is none for text messages; the tokens of devices are any text."""
    with pytest.raises(InvalidInputError, match=message):
        RecipientAddress(channel=channel, address=address)


def test_states_and_purposes_may_be_given_by_their_names():
    """They are members of their enums from then on; other names are refused."""
    address = RecipientAddress(channel="email", address="ada@example.org", state="gone")
    consent = Consent(purpose="marketing", at=NOW)

    assert (AddressState.GONE, Purpose.MARKETING) == (address.state, consent.purpose)
    with pytest.raises(InvalidInputError, match="state: must be one of active, gone"):
        RecipientAddress(channel="email", address="ada@example.org", state="dead")


def test_quiet_hours_are_in_the_zone_of_the_recipient():
    """Whatever theirs says; without a zone they stay as they are."""
    here, nowhere = (make_recipient(zone=zone, quiet_hours=NIGHT) for zone in ("Asia/Tokyo", None))
    moved = attrs.evolve(here, zone="Europe/Berlin")

    assert ["Asia/Tokyo", "UTC", "Europe/Berlin"] == [one.quiet_hours.zone for one in (here, nowhere, moved)]
    assert NIGHT.windows == moved.quiet_hours.windows


def test_the_newest_consent_to_a_purpose_counts():
    """A withdrawal ends it, and a later grant begins it again."""
    grant, withdrawal = (Consent(purpose=Purpose.MARKETING, at=NOW, granted=granted) for granted in (True, False))

    assert frozenset() == make_recipient().consented
    assert {Purpose.MARKETING} == make_recipient(consents=[grant]).consented
    assert frozenset() == make_recipient(consents=[grant, withdrawal]).consented
    assert {Purpose.MARKETING} == make_recipient(consents=[grant, withdrawal, grant]).consented


def test_addresses_are_found_by_their_channel():
    """In the order in which they were given."""
    first, token, second = (
        RecipientAddress(channel=channel, address=address)
        for channel, address in (("email", "a@example.org"), ("push", "t"), ("email", "b@example.org"))
    )

    assert (first, second) == make_recipient(addresses=[first, token, second]).addresses_on("email")


def test_renderers_know_a_person_with_the_defaults_of_the_tenant():
    """Its locale and zone count for recipients that have none."""
    tenant = TenantPreferences(tenant="acme", locale="pt_br", zone="America/Sao_Paulo")
    plain = make_recipient(name="Ada", traits={"plan": "pro"})
    own = attrs.evolve(plain, locale="de", zone="Europe/Berlin")

    assert tenant.person(plain) == Person(
        id="user:42", locale="pt-BR", zone="America/Sao_Paulo", traits={"plan": "pro"}, name="Ada"
    )
    assert ("de", "Europe/Berlin") == (tenant.person(own).locale, tenant.person(own).zone)
    with pytest.raises(InvalidInputError, match="settings: must be of scope tenant, not recipient"):
        TenantPreferences(tenant="acme", settings=(Setting(scope=Scope.RECIPIENT, select=Selector(), value="off"),))


def test_a_recipient_hides_traits():
    """They are private, and may be long."""
    recipient = Recipient(
        id="user:42", tenant="acme", traits={"secret": "s"}, created_at=NOW, updated_at=NOW + timedelta(1)
    )

    assert "secret" not in repr(recipient)
