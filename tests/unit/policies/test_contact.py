"""The decision for one person and one channel: its order, its codes, and an oracle that decides everything again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit.cli.decide import answer_of
from notifykit.cli.question import Question
from notifykit.codec import structure
from notifykit.models.addresses import Address, AddressState, Suppression
from notifykit.models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import Consent, RecipientAddress, TenantPreferences
from notifykit.models.suppression import SuppressedAddress, SuppressionEntry, SuppressionReason, suppression_id
from notifykit.policies.contact import REASONS, SEND, Code, Person, Skip, Verdict, decide_contact, person_of
from notifykit.policies.preferences import Notice
from notifykit.testing import make_recipient
from tests.unit.policies import decisions

NOW = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
LATER, EARLIER = "2026-03-28T22:30:01Z", "2026-03-28T22:29:59Z"
MAIL = {"channel": "email", "address": "ada@example.org", "state": "active"}
NIGHT = {"days": ["sat"], "from": "22:00", "to": "07:00"}

#: Every rule at once: whatever a test takes away lets the next one decide.
REFUSED: dict[str, Any] = {
    "now": "2026-03-28T22:30:00Z",
    "channel": "email",
    "type": {"name": "comment.created", "category": "comments", "purpose": "marketing"},
    "event": {"topic": "project/7", "expires_at": "2026-03-28T22:30:00Z"},
    "settings": [{"scope": "tenant", "select": {}, "value": "off", "locked": True}],
    "mutes": [{"select": {}}],
    "addresses": [],
    "suppressions": [{"channel": "email", "address": "ada@example.org"}],
    "tokens_left": False,
    "zone": "Europe/Berlin",
    "quiet_hours": [NIGHT],
}
#: What takes away one refusal after the other, and the code that comes out next.
STEPS: list[tuple[dict[str, Any], str]] = [
    ({}, "expired"),
    ({"event": {"topic": "project/7", "expires_at": "2026-03-29T05:00:00Z"}}, "locked_off"),
    ({"settings": [{"scope": "recipient", "select": {}, "value": "off"}]}, "turned_off"),
    ({"settings": [{"scope": "recipient", "select": {}, "value": "digest:daily"}]}, "muted"),
    ({"mutes": [{"select": {}, "until": "2026-03-28T22:30:00Z"}]}, "no_consent"),
    ({"consents": ["marketing"]}, "no_address"),
    ({"addresses": [{**MAIL, "state": "gone"}, {**MAIL, "state": "suppressed"}]}, "address_suppressed"),
    ({"addresses": [{**MAIL, "state": "suppressed"}, {**MAIL, "state": "gone"}]}, "address_gone"),
    ({"addresses": [{**MAIL, "state": "unverified"}, {**MAIL, "channel": "sms"}]}, "address_unverified"),
    ({"addresses": [MAIL, {**MAIL, "state": "gone"}]}, "suppressed"),
    ({"suppressions": [{"channel": "email", "address": "ada@example.org", "purposes": ["security"]}]}, "capped"),
    ({"tokens_left": True}, "digest"),
    ({"settings": []}, "expired_in_quiet_hours"),
    ({"event": {"expires_at": "2026-03-29T05:00:01Z"}}, "quiet_hours"),
    ({"quiet_except": ["comments"]}, "ok"),
]


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    return answer_of(structure(asked, Question).decide())


def test_the_first_rule_that_applies_decides():
    """The order is the documented one: each rule decides once all before it have been satisfied."""
    asked = dict(REFUSED)
    found = []
    for change, _ in STEPS:
        asked |= change
        found.append(answer(asked)["code"])

    assert [code for _, code in STEPS] == found
    assert {code.value for code in Code} == set(found), "each code has its exit"


def test_security_leaves_out_wishes_and_pauses_but_not_dead_addresses():
    """Settings, mutes, consent, caps, digests and quiet hours do not count; expiry, addresses and suppressions do."""
    asked = REFUSED | {"type": {"name": "password.reset", "category": "account", "purpose": "security"}}
    found = []
    for change, _ in STEPS:
        asked |= change
        found.append(answer(asked)["code"])

    assert ["expired", *["no_address"] * 5] == found[:6]
    assert ["address_suppressed", "address_gone", "address_unverified", "suppressed"] == found[6:10]
    assert ["suppressed", *["suppressed"] * 4] == found[10:], "a suppression for security counts"
    assert "ok" == answer(asked | {"suppressions": []})["code"]


@pytest.mark.parametrize(
    ("value", "locked", "expected"),
    [("on", True, "ok"), ("on", False, "muted"), ("digest:daily", True, "muted")],
)
def test_only_a_locked_on_is_above_a_mute(value, locked, expected):
    """A tenant that locks something on is not muted; any other setting is."""
    asked = {
        **REFUSED,
        "type": {"name": "a", "category": "b", "purpose": "transactional"},
        "event": {},
        "tokens_left": True,
        "addresses": [MAIL],
        "suppressions": [],
        "quiet_hours": [],
        "settings": [{"scope": "tenant", "select": {}, "value": value, "locked": locked}],
    }

    assert expected == answer(asked)["code"]


def test_marketing_is_never_locked_on():
    """A catch-all lock of a tenant gives marketing no way around a person's own settings and mutes."""
    lock = Setting(scope=Scope.TENANT, select=Selector(), value="on", locked=True)
    off = Setting(scope=Scope.RECIPIENT, select=Selector(), value="off")
    notice = Notice(type="sale.begins", category="offers", purpose=Purpose.MARKETING)
    mail = Address(channel="email", address="ada@example.org", state=AddressState.ACTIVE)
    agreed = Person(settings=(lock,), consents=frozenset({Purpose.MARKETING}), addresses=(mail,))
    muted = Person(settings=(lock,), mutes=(Mute(select=MuteSelector()),), addresses=(mail,))
    turned_off = Person(settings=(lock, off), addresses=(mail,))

    def decided(person: Person) -> object:
        return decide_contact(notice, person, "email", tokens_left=True, now=NOW)

    assert [SEND, Skip(Code.MUTED), Skip(Code.TURNED_OFF)] == [*map(decided, (agreed, muted, turned_off))]


@pytest.mark.parametrize(
    ("suppressions", "expected"),
    [
        ([("ada", [], None)], "ok"),
        ([("ada", [], None), ("work", [], None)], "suppressed"),
        ([("ada", [], None), ("work", ["marketing"], LATER)], "suppressed"),
        ([("ada", [], None), ("work", ["marketing"], EARLIER)], "ok"),
        ([("ada", [], None), ("work", ["transactional"], None)], "ok"),
        ([("ada", [], None), ("WORK", [], None)], "ok"),
    ],
)
def test_a_suppression_is_for_an_address_a_purpose_and_a_time(suppressions, expected):
    """One address that may be used is enough."""
    asked = {
        **REFUSED,
        "event": {},
        "settings": [],
        "mutes": [],
        "consents": ["marketing"],
        "tokens_left": True,
        "quiet_hours": [],
        "addresses": [{**MAIL, "address": "ada"}, {**MAIL, "address": "work"}],
        "suppressions": [
            {"channel": "email", "address": address, "purposes": purposes, "until": until}
            for address, purposes, until in suppressions
        ],
    }

    assert expected == answer(asked)["code"]


def test_every_code_has_a_sentence_and_a_verdict():
    """What is recorded can be shown to people; the names do not change."""
    assert set(Code) == REASONS.keys()
    assert all(reason.sentence.endswith(".") and reason.when for reason in REASONS.values())
    assert {Verdict.SEND: 1, Verdict.DIGEST: 1, Verdict.DEFER: 1, Verdict.SKIP: 12} == {
        verdict: sum(reason.verdict is verdict for reason in REASONS.values()) for verdict in Verdict
    }


@pytest.mark.parametrize("count", [1_500, pytest.param(200_000, marks=[pytest.mark.thorough, pytest.mark.no_cover])])
def test_settings_mutes_and_addresses_are_decided_as_the_oracle_does(count):
    """Any question without quiet hours has the answer that the plain form of the rules gives."""
    rng = random.Random(18)
    seen = set()
    for _ in range(count):
        asked = decisions.question(rng)
        expected = decisions.answer(asked)
        seen.add(expected["code"])
        assert expected == answer(asked), asked

    assert {code.value for code in Code} - {"quiet_hours", "expired_in_quiet_hours", "address_suppressed"} == seen


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=[pytest.mark.thorough, pytest.mark.no_cover])])
def test_whole_questions_are_decided_as_the_oracle_does(count):
    """The same with quiet hours in several zones, over a whole year."""
    rng = random.Random(19)
    seen = set()
    for _ in range(count):
        asked = decisions.question(rng, windows=3)
        asked |= {"settings": [], "mutes": [], "addresses": [{**MAIL, "channel": asked["channel"]}]}
        expected = decisions.answer(asked)
        seen.add(expected["code"])
        assert expected == answer(asked), asked

    assert {"quiet_hours", "expired_in_quiet_hours", "ok"} <= seen


def test_a_decision_says_until_when_it_is_deferred_and_into_which_digest():
    """Seconds count: the quiet hours end with the minute."""
    asked = REFUSED | {"event": {}, "mutes": [], "consents": ["marketing"], "suppressions": [], "tokens_left": True}
    asked |= {"addresses": [MAIL], "settings": [], "now": "2026-03-28T23:30:00.5+01:00"}
    digest = [{"scope": "type", "select": {"category": "comments"}, "value": "digest:weekly news"}]

    deferred, collected = answer(asked), answer(asked | {"settings": digest})

    until = (NOW + timedelta(hours=6, minutes=30)).isoformat().replace("+00:00", "Z")
    assert {"verdict": "defer", "code": "quiet_hours", "until": until, "digest": None} == deferred
    assert {"verdict": "digest", "code": "digest", "until": None, "digest": "weekly news"} == collected


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=[pytest.mark.thorough, pytest.mark.no_cover])])
def test_the_tenants_list_counts_as_the_persons_own_suppressions_do(count):
    """However the address is spelled on the list, the oracle decides as if it were said of the person's address."""
    rng = random.Random(20)
    seen = set()
    for _ in range(count):
        asked = decisions.question(rng)
        asked |= {"settings": [], "mutes": [], "consents": ["marketing"], "event": {"topic": None, "expires_at": None}}
        own: list[Suppression] = []
        listed: list[Suppression] = []
        for each in asked["suppressions"]:
            (own if rng.random() < 0.3 else listed).append(structure(each, Suppression))
        records: dict[str, SuppressedAddress] = {}
        for at, each in enumerate(listed):
            id_ = suppression_id("acme", each.channel, each.address)
            entry = SuppressionEntry(
                reason=[*SuppressionReason][at], since=NOW, purposes=each.purposes, until=each.until
            )
            before = records[id_].entries if id_ in records else ()
            records[id_] = SuppressedAddress(id=id_, tenant="acme", entries=[*before, entry])
        addresses = [
            RecipientAddress(channel="push", address=each["address"], state=each["state"])
            for each in asked["addresses"]
        ]
        asked |= {"channel": "push", "addresses": [{**each, "channel": "push"} for each in asked["addresses"]]}
        found = [
            each
            for address in addresses
            if (record := records.get(suppression_id("acme", "push", address.address))) is not None
            for each in record.forbids(address.address)
        ]
        question = structure(asked, Question)
        person = person_of(
            make_recipient(addresses=addresses, suppressions=own, consents=[Consent(purpose="marketing", at=NOW)]),
            listed=found,
        )
        notice = Notice(type="a.b", category="c", purpose=question.type.purpose)

        decided = decide_contact(notice, person, "push", tokens_left=question.tokens_left, now=question.now)

        expected = decisions.answer(asked | {"quiet_hours": []})
        seen.add(expected["code"])
        assert expected == answer_of(decided), asked

    assert {"ok", "suppressed", "capped", "no_address"} <= seen


class TestPersonOf:
    """A recipient with what the tenant says for all."""

    def test_settings_go_from_wide_to_narrow(self):
        """Of equal ones the later counts, so the recipient's own are the last."""
        wide, tenants, own = (
            Setting(scope=scope, select=Selector(), value="off")
            for scope in (Scope.TYPE, Scope.TENANT, Scope.RECIPIENT)
        )
        recipient = make_recipient(settings=[own], mutes=[Mute(select=MuteSelector())])

        alone = person_of(recipient)
        person = person_of(recipient, TenantPreferences(tenant="acme", settings=(tenants,)), [wide])

        assert (own,) == alone.settings
        assert (wide, tenants, own) == person.settings
        assert recipient.mutes == person.mutes

    def test_everyone_has_an_inbox(self):
        """Its address is the recipient's id, beside those that the recipient has."""
        recipient = make_recipient()

        inbox = Address(channel="in_app", address="user:42", state=AddressState.ACTIVE)
        assert (*recipient.addresses, inbox) == person_of(recipient).addresses

    @pytest.mark.parametrize(
        ("own", "of_tenant", "counts"),
        [(None, None, "UTC"), (None, "Asia/Tokyo", "Asia/Tokyo"), ("Europe/Berlin", "Asia/Tokyo", "Europe/Berlin")],
    )
    def test_quiet_hours_are_in_the_first_zone_that_there_is(self, own, of_tenant, counts):
        """The recipient's, else the tenant's, else UTC."""
        night = QuietHours(windows=(Window(days=(Weekday.MON,), from_="22:00", to="07:00"),))
        recipient = make_recipient(zone=own, quiet_hours=night)

        person = person_of(recipient, TenantPreferences(tenant="acme", zone=of_tenant))

        assert counts == person.quiet_hours.zone

    def test_consents_and_suppressions_are_those_of_the_recipient(self):
        """Only the newest record of a purpose counts."""
        consent = Consent(purpose=Purpose.MARKETING, at=NOW)
        stop = Suppression(channel="email", address="ada@example.org")

        person = person_of(make_recipient(consents=[consent], suppressions=[stop]))

        assert (frozenset({Purpose.MARKETING}), (stop,)) == (person.consents, person.suppressions)

    def test_the_tenants_list_is_added(self):
        """To what the recipient's own record says."""
        own, listed = (Suppression(channel="email", address=f"{name}@example.org") for name in "ab")

        assert (own, listed) == person_of(make_recipient(suppressions=[own]), listed=[listed]).suppressions
