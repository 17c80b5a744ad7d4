"""Recipients: saved whole or not at all, synchronised without harm, imported with every bad line named."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import attrs
import pytest

from notifykit import DeliveryFilter, DeliveryState, InvalidInputError, NotFoundError, Notifykit, StaleWriteError
from notifykit.admin import recipient_import
from notifykit.admin.recipient_changes import MAX_RECIPIENT
from notifykit.codec import unstructure
from notifykit.models.addresses import AddressState, Suppression
from notifykit.models.preferences import Purpose
from notifykit.models.recipient import Recipient, RecipientAddress
from notifykit.testing import make_delivery, make_event, make_inbox_item, make_recipient, make_subscription
from notifykit.testing.suites.store.steps import given_ended, plan

ACME = "acme"
ADA = "user:42"
MAIL = "ada@example.org"


def texts(recipient: Recipient) -> list[str]:
    return [f"{one.channel} {one.address} {one.state}" for one in recipient.addresses]


class TestSaving:
    async def test_a_new_recipient_has_what_was_given(self, kit, clock):
        """Everything else is empty."""
        saved = await kit.recipients.save(
            ADA, tenant=ACME, name="Ada", email=MAIL, sms=["+4915123456789"], locale="de_at", zone="Europe/Vienna",
            traits={"plan": "pro"},
        )  # fmt: skip

        assert saved == await kit.recipients.get(ADA, tenant=ACME)
        assert (ADA, ACME, "Ada", "de-AT", "Europe/Vienna") == (
            saved.id, saved.tenant, saved.name, saved.locale, saved.zone,
        )  # fmt: skip
        assert ["email ada@example.org active", "sms +4915123456789 active"] == texts(saved)
        assert ({"plan": "pro"}, 1, clock.now()) == (saved.traits, saved.version, saved.created_at)

    async def test_a_number_is_stored_without_blanks_and_separators(self, kit):
        """And is found again as it was written, however it comes."""
        written, number = "+49 (151) 234-56789", "+4915123456789"
        saved = await kit.recipients.save(ADA, tenant=ACME, sms=[written, number])
        again = await kit.recipients.add_address(ADA, "sms", written, tenant=ACME)
        await kit.recipients.import_([json.dumps({"id": "user:43", "sms": written})], tenant=ACME)
        stopped = await kit.recipients.suppress(ADA, "sms", written, tenant=ACME, purposes=["marketing"])
        removed = await kit.recipients.remove_address(ADA, "sms", written, tenant=ACME)

        assert [f"sms {number} active"] == texts(saved) == texts(again)
        assert [f"sms {number} active"] == texts(await kit.recipients.get("user:43", tenant=ACME))
        assert [number] == [each.address for each in stopped.suppressions]
        assert ((), ()) == (removed.addresses, removed.suppressions)

    async def test_a_recipient_may_be_an_id_alone(self, kit):
        """Other systems may tell the rest later."""
        saved = await kit.recipients.save(ADA, tenant=ACME)

        assert (1, ()) == (saved.version, saved.addresses)

    async def test_what_is_not_given_is_kept(self, kit, clock):
        """None removes; the time of the change is the recipient's."""
        await kit.recipients.save(ADA, tenant=ACME, name="Ada", email=MAIL, sms="+4915123456789", locale="de")
        clock.advance(timedelta(1))

        saved = await kit.recipients.save(ADA, tenant=ACME, sms=None, locale=None, email=[MAIL, "b@example.org"])

        assert ("Ada", None, 2) == (saved.name, saved.locale, saved.version)
        assert ["email ada@example.org active", "email b@example.org active"] == texts(saved)
        assert timedelta(1) == saved.updated_at - saved.created_at

    async def test_saving_the_same_again_writes_nothing(self, kit, clock):
        """A nightly synchronisation of everyone costs no writes."""
        first = await kit.recipients.save(ADA, tenant=ACME, email=MAIL, traits={"n": 1})
        clock.advance(timedelta(1))

        again = await kit.recipients.save(ADA, tenant=ACME, email=iter([MAIL, MAIL]), traits={"n": 1})

        assert first == again

    async def test_an_address_keeps_its_state(self, kit):
        """One that has bounced does not come back because the host still has it; another state can be given."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL)
        await kit.recipients.mark_gone(ADA, "email", MAIL, tenant=ACME, reason="bounced")
        token = RecipientAddress(channel="push", address="t", app="shop", state=AddressState.UNVERIFIED)

        saved = await kit.recipients.save(ADA, tenant=ACME, email=[MAIL, "new@example.org"])
        known = RecipientAddress(channel="email", address=MAIL)
        whole = await kit.recipients.save(ADA, tenant=ACME, addresses=[token, known])
        renewed = attrs.evolve(token, platform="ios", state=AddressState.ACTIVE)
        again = await kit.recipients.save(ADA, tenant=ACME, addresses=[renewed])

        assert ["email ada@example.org gone", "email new@example.org active"] == texts(saved)
        assert ["push t unverified", "email ada@example.org gone"] == texts(whole)
        assert "bounced" == whole.addresses[1].reason
        assert [("shop", "ios", AddressState.UNVERIFIED)] == [(a.app, a.platform, a.state) for a in again.addresses]

    async def test_a_stale_save_is_refused(self, kit):
        """With a version, a change counts only if it was made from that version: 0 for a new recipient."""
        first = await kit.recipients.save(ADA, tenant=ACME, version=0, name="Ada")
        second = await kit.recipients.save(ADA, tenant=ACME, version=1, name="Ada L.")

        for version in (0, 1, 7):
            with pytest.raises(StaleWriteError, match="recipient 'user:42' was changed or removed since it was read"):
                await kit.recipients.save(ADA, tenant=ACME, version=version, name="Eve")
        same = await kit.recipients.save(ADA, tenant=ACME, version=2, name="Ada L.")

        assert [1, 2] == [first.version, second.version]
        assert second == same == await kit.recipients.get(ADA, tenant=ACME)

    @pytest.mark.parametrize(
        ("fields", "problems"),
        [
            (
                {"email": "ada", "sms": "0151", "locale": "english", "zone": "Mars/Olympus"},
                ["email", "locale", "sms", "zone"],
            ),
            ({"email": [MAIL, "ada"]}, ["email"]),
            ({"traits": {"bio": "x" * 2_000_000}}, ["traits"]),
            ({"traits": {"a": {"b": object()}, "n": {5: 5}}}, ["traits.a.b", "traits.n"]),
            ({"phone": "+4915123456789"}, ["phone"]),
            ({"addresses": [MAIL]}, ["addresses"]),
            ({"addresses": [RecipientAddress(channel="chat", address=str(n)) for n in range(101)]}, ["addresses"]),
        ],
    )  # fmt: skip
    async def test_every_problem_is_named_and_nothing_is_saved(self, kit, fields, problems):
        """Each with its field."""
        with pytest.raises(InvalidInputError) as refused:
            await kit.recipients.save(ADA, tenant=ACME, **fields)

        assert problems == sorted(problem.partition(":")[0] for problem in refused.value.problems)
        assert [] == await kit.recipients.list(tenant=ACME)

    async def test_two_megabytes_of_traits_have_a_clear_error(self, kit):
        """It says what is too large, and how large it may be."""
        with pytest.raises(InvalidInputError, match="traits: too large, at most 65536 bytes"):
            await kit.recipients.save(ADA, tenant=ACME, traits={"bio": "x" * 2_000_000})

    async def test_a_recipient_with_too_much_of_everything_is_refused(self, kit):
        """Each part is within its limit, but no row is that large."""
        addresses = [RecipientAddress(channel="push", address=f"{n}" * 1250) for n in range(10, 99)]
        await kit.recipients.save(ADA, tenant=ACME, addresses=addresses)

        with pytest.raises(InvalidInputError, match=f"recipient: has .* bytes as JSON, at most {MAX_RECIPIENT}"):
            await kit.recipients.save(ADA, tenant=ACME, traits={"bio": "x" * 60_000}, addresses=[
                *addresses, RecipientAddress(channel="chat", address="y" * 4000)
            ])  # fmt: skip

    @pytest.mark.parametrize("id_", ["", "end_01", "a\nb", "x" * 256])
    async def test_ids_are_the_hosts_own_but_no_endpoints(self, kit, id_):
        """Deliveries name both, and must not take one for the other."""
        with pytest.raises(InvalidInputError, match="recipient_id"):
            await kit.recipients.save(id_, tenant=ACME)


class TestReading:
    async def test_pages_are_in_the_order_of_ids(self, kit):
        """The next page begins behind the last id."""
        for number in (3, 1, 2):
            await kit.recipients.save(f"user:{number}", tenant=ACME)

        first = await kit.recipients.list(tenant=ACME, limit=2)
        rest = await kit.recipients.list(tenant=ACME, after=first[-1].id)

        assert ["user:1", "user:2"] == [one.id for one in first]
        assert ["user:3"] == [one.id for one in rest]

    async def test_who_is_not_there_is_not_found(self, kit):
        """Whatever was to be done."""
        calls = (
            kit.recipients.get(ADA, tenant=ACME),
            kit.recipients.delete(ADA, tenant=ACME),
            kit.recipients.export(ADA, tenant=ACME),
            kit.recipients.verify(ADA, "email", MAIL, tenant=ACME),
            kit.recipients.add_address(ADA, "email", MAIL, tenant=ACME),
            kit.preferences(ADA, tenant=ACME).set(value="off"),
            kit.preferences(ADA, tenant=ACME).matrix(),
        )
        for call in calls:
            with pytest.raises(NotFoundError, match="no recipient 'user:42'"):
                await call


class TestAddresses:
    async def test_addresses_come_and_go(self, kit):
        """A device registers its token again with every start of the app."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL)

        for _ in range(2):
            added = await kit.recipients.add_address(ADA, "push", "t1", tenant=ACME, app="shop", platform="ios")
        removed = await kit.recipients.remove_address(ADA, "email", MAIL, tenant=ACME)

        assert ["email ada@example.org active", "push t1 active"] == texts(added)
        assert ["push t1 active"] == texts(removed)
        assert (2, 3) == (added.version, removed.version)

    async def test_states_have_a_reason_and_a_time(self, kit, clock):
        """Unverified until the person confirms it; suppressed until that is lifted; gone."""
        await kit.recipients.save(ADA, tenant=ACME)
        found = [await kit.recipients.add_address(ADA, "email", MAIL, tenant=ACME, state=AddressState.UNVERIFIED)]
        given = clock.now()
        clock.advance(timedelta(hours=1))

        its = kit.recipients
        changes = (its.verify, its.suppress, its.unsuppress, its.mark_gone)
        found += [await change(ADA, "email", MAIL, tenant=ACME) for change in changes]

        states = [one.addresses[0] for one in found]
        assert ["unverified", "active", "suppressed", "active", "gone"] == [one.state for one in states]
        assert [None, "verified", "suppressed by the operator", "allowed by the operator", "gone"] == [
            one.reason for one in states
        ]
        assert [given, clock.now()] == [states[0].changed_at, states[-1].changed_at]

    async def test_an_address_is_suppressed_for_purposes_or_for_a_time(self, kit, clock):
        """It stays active for the rest; lifting it ends all of these, and leaves other states as they are."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL)
        until = clock.now() + timedelta(days=1)

        await kit.recipients.suppress(ADA, "email", MAIL, tenant=ACME, purposes=["marketing"])
        await kit.recipients.suppress(ADA, "email", MAIL, tenant=ACME, purposes=["marketing"])
        both = await kit.recipients.suppress(ADA, "email", MAIL, tenant=ACME, until=until)
        lifted = await kit.recipients.unsuppress(ADA, "email", MAIL, tenant=ACME)

        assert [
            Suppression(channel="email", address=MAIL, purposes=(Purpose.MARKETING,)),
            Suppression(channel="email", address=MAIL, until=until),
        ] == list(both.suppressions)
        assert ["email ada@example.org active"] == texts(both) == texts(lifted)
        assert () == lifted.suppressions

    async def test_suppressions_go_with_their_address(self, kit):
        """Of others they stay."""
        await kit.recipients.save(ADA, tenant=ACME, email=[MAIL, "b@example.org"])
        for address in (MAIL, "b@example.org"):
            await kit.recipients.suppress(ADA, "email", address, tenant=ACME, purposes=["marketing"])

        left = await kit.recipients.remove_address(ADA, "email", MAIL, tenant=ACME)

        assert ["b@example.org"] == [one.address for one in left.suppressions]

    async def test_an_address_must_be_there(self, kit):
        """Nothing is kept of one that the recipient does not have."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL)
        changes = kit.recipients
        for change in (changes.verify, changes.suppress, changes.unsuppress, changes.mark_gone, changes.remove_address):
            with pytest.raises(NotFoundError, match="no sms address of recipient user:42"):
                await change(ADA, "sms", MAIL, tenant=ACME)
        with pytest.raises(NotFoundError):
            await changes.suppress(ADA, "sms", MAIL, tenant=ACME, purposes=["marketing"])

        assert 1 == (await kit.recipients.get(ADA, tenant=ACME)).version


class TestEnding:
    async def test_deleting_cancels_what_waits_and_keeps_history(self, kit, clock):
        """What has ended can still be looked up."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL)
        ended = await given_ended(kit.store, clock, subscriber=ADA)
        event = make_event(at=clock.now())
        waiting = make_delivery(event, ADA, channel="email", address=MAIL, due_at=clock.now() + timedelta(1))
        await plan(kit.store, clock, event, [waiting])

        await kit.recipients.delete(ADA, tenant=ACME)

        found = await kit.deliveries.list(DeliveryFilter(subscriber_id=ADA), tenant=ACME)
        assert {ended.delivery_id: DeliveryState.DEAD, waiting.id: DeliveryState.CANCELLED} == {
            one.id: one.state for one in found
        }
        assert [] == await kit.recipients.list(tenant=ACME)

    async def test_an_export_has_everything_of_a_person_and_nothing_of_others(self, kit, clock):
        """As JSON types, with attempts, answers and events."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL, traits={"plan": "pro"})
        await given_ended(kit.store, clock, subscriber=ADA)
        await given_ended(kit.store, clock, subscriber="user:43")
        subscription = make_subscription(make_recipient(), at=clock.now(), channel="email", address=MAIL)  # type: ignore[arg-type]
        await kit.store.save(subscription)

        found = json.loads(json.dumps(await kit.recipients.export(ADA, tenant=ACME)))
        await kit.recipients.delete(ADA, tenant=ACME)
        left = await kit.recipients.export(ADA, tenant=ACME)

        assert {"recipient", "subscriptions", "inbox", "deliveries", "events", "suppressions"} == found.keys()
        assert ({"plan": "pro"}, [subscription.id]) == (
            found["recipient"]["traits"], [one["id"] for one in found["subscriptions"]],
        )  # fmt: skip
        (delivery,), (event,) = found["deliveries"], found["events"]
        assert (ADA, "permanent") == (delivery["subscriber_id"], delivery["attempts"][0]["outcome"])
        assert (delivery["event_id"], {"id": "A-1"}) == (event["id"], event["data"])
        assert (None, []) == (left["recipient"], left["subscriptions"])
        assert [delivery["id"]] == [one["id"] for one in left["deliveries"]]

    async def test_an_export_has_what_the_suppression_list_says_of_the_persons_addresses(self, kit, clock, monkeypatch):
        """Of those of the record, of subscriptions and of deliveries; not of others, nor of another tenant's list."""
        monkeypatch.setattr("notifykit.admin.recipient_export._PAGE", 2)
        old, other, phone = "ada@old.example", "ada@lists.example", "+4915112345678"
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL, sms=phone)
        await kit.store.save(make_subscription(make_recipient(), at=clock.now(), channel="email", address=other))  # type: ignore[arg-type]
        event = make_event(at=clock.now())
        await plan(kit.store, clock, event, [make_delivery(event, ADA, channel="email", address=old)])
        add = kit.suppressions.add
        await add("email", MAIL.upper(), tenant=ACME, reason="complaint", evidence="report 7")
        await add("email", MAIL, tenant=ACME, reason="unsubscribe", until=clock.now() + timedelta(1))
        for channel, address in (("email", old), ("email", other), ("sms", phone), ("email", "bob@example.org")):
            await add(channel, address, tenant=ACME, reason="hard_bounce")
        await add("email", MAIL, tenant="globex")
        await add("sms", phone, tenant="globex")

        found = json.loads(json.dumps((await kit.recipients.export(ADA, tenant=ACME))["suppressions"]))

        complaint = next(one for one in found if one["reason"] == "complaint")
        assert [
            ("email", MAIL, "complaint"),
            ("email", MAIL, "unsubscribe"),
            ("email", other, "hard_bounce"),
            ("email", old, "hard_bounce"),
            ("sms", phone, "hard_bounce"),
        ] == sorted((one["channel"], one["address"], one["reason"]) for one in found)
        assert ("report 7", ["marketing", "transactional"], None) == (
            complaint["evidence"],
            complaint["purposes"],
            complaint["until"],
        )
        assert clock.now() == datetime.fromisoformat(complaint["since"])

    async def test_an_export_is_json(self, kit, clock):
        """Also what the person did with items of their inbox, and when."""
        item = make_inbox_item("user:42", at=clock.now())
        await kit.store.inbox_put([item])
        await kit.inbox("user:42", tenant=ACME).mark(item.id, "read")

        exported = await kit.recipients.export("user:42", tenant=ACME)

        marks = json.loads(json.dumps(exported))["inbox"][0]["marks"]
        assert {"seen_at", "read_at", "archived_at", "snoozed_until"} == {*marks}
        assert clock.now() == datetime.fromisoformat(marks["read_at"])

    async def test_an_export_reads_every_page(self, kit, clock, monkeypatch):
        """However many subscriptions and deliveries there are."""
        monkeypatch.setattr("notifykit.admin.recipient_export._PAGE", 2)
        for number in range(5):
            await given_ended(kit.store, clock, subscriber=ADA)
            await kit.store.save(make_subscription(make_recipient(), at=clock.now(), id=f"sub_{number}"))  # type: ignore[arg-type]

        found = await kit.recipients.export(ADA, tenant=ACME)

        assert [5, 5, 5] == [len(found[what]) for what in ("subscriptions", "deliveries", "events")]


class TestImporting:
    async def test_lines_are_saved_as_if_one_by_one(self, kit):
        """New recipients, changes of those that are there, and two lines of one person."""
        await kit.recipients.save("user:1", tenant=ACME, name="Ada", email=MAIL)
        lines = [
            '{"id":"user:1","locale":"de"}\n',
            "\n",
            '{"id":"user:2","email":["b@example.org"],"traits":{"n":1}}\n',
            '{"id":"user:2","zone":"Asia/Tokyo"}\r\n',
            '{"id":"user:3"}',
        ]

        report = await kit.recipients.import_(lines, tenant=ACME)
        again = await kit.recipients.import_(lines, tenant=ACME)

        one, two, three = await kit.recipients.list(tenant=ACME)
        assert (4, 3, []) == (report.lines, report.saved, report.problems)
        assert (4, 0, []) == (again.lines, again.saved, again.problems)
        assert ("Ada", "de", 2) == (one.name, one.locale, one.version)
        assert (["email b@example.org active"], {"n": 1}, "Asia/Tokyo", 1) == (
            texts(two), two.traits, two.zone, two.version,
        )  # fmt: skip
        assert "user:3" == three.id

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("{", "is not JSON"),
            ("[1]", "must be a JSON object"),
            ('{"email":"a@example.org"}', "id: is missing"),
            ('{"id":7}', "id: must be text, not int"),
            ('{"id":"end_1"}', "id: must not begin with end_"),
            ('{"id":"u","email":"ada","zone":"Mars"}', "zone: there is no time zone 'Mars'"),
            ('{"id":"u","phone":"1"}', "phone: is unknown; known are addresses, email, locale, name, sms, "),
            ('{"id":"u","mutes":[{"select":{"topic":"a//b"}}]}', "mutes[0].select.topic: word 2 is empty"),
            ('{"id":"u","addresses":[{"channel":"sms","address":"1"}]}', "addresses[0].address: is no telephone"),
            ('{"id":"u","settings":[{"scope":"tenant","select":{},"value":"off"}]}', "settings: must be of scope"),
            ('{"id":"u\udc80"}', "is not UTF-8"),
            (7, "must be text, not int"),
        ],
    )  # fmt: skip
    async def test_a_bad_line_is_reported_and_the_others_are_saved(self, kit, line, problem):
        """With its number and everything that is wrong with it."""
        report = await kit.recipients.import_(['{"id":"a"}', line, '{"id":"b"}'], tenant=ACME)

        (found,) = report.problems
        assert (2, 3, 2) == (found.line, report.lines, report.saved)
        assert found.problem.startswith(problem)
        assert ["a", "b"] == [one.id for one in await kit.recipients.list(tenant=ACME)]

    async def test_csv_has_a_header_and_traits(self, kit):
        """Empty cells say nothing, several addresses are separated by semicolons, rows may have several lines."""
        rows = (
            "id,name,email,sms,traits.plan,traits.city\r\n"
            'user:1,"Ada, Countess",a@example.org; b@example.org,,pro,\r\n'
            ",,,,,\r\n"
            'user:2,Bob,c@example.org,,free,"Köln\r\nDeutz"\r\n'
            "user:3,,c@example.org\r\n"
            "user:4,,ada,,,\r\n"
            'user:5,"x"y,,,,\r\n'
            "user:6,,,+4915123456789,,\r\n"
        )

        await kit.recipients.save("user:2", tenant=ACME, traits={"plan": "pro", "since": 2020})

        report = await kit.recipients.import_(rows.splitlines(keepends=True), tenant=ACME, format="csv")

        one, two, six = await kit.recipients.list(tenant=ACME)
        assert ("Ada, Countess", {"plan": "pro"}) == (one.name, one.traits)
        assert ["email a@example.org active", "email b@example.org active"] == texts(one)
        assert {"plan": "free", "since": 2020, "city": "Köln\r\nDeutz"} == two.traits
        assert ["sms +4915123456789 active"] == texts(six)
        assert [(6, "has 3 cells, and the header 6"), (7, "email: [0] is no"), (8, "is not CSV")] == [
            (line, problem.partition(" e-mail")[0].partition(" (")[0]) for line, problem in report.problems
        ]

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ("", "header: has no column id"),
            ("name,email", "header: has no column id"),
            ("id,phone", "header: 'phone' is unknown; known are id, name, email, sms, locale, zone and traits.NAME"),
            ("id,name,name", "header: has a column twice"),
        ],
    )
    async def test_a_wrong_header_is_refused_before_anything_is_saved(self, kit, header, problem):
        """All lines would be wrong."""
        with pytest.raises(InvalidInputError, match=problem):
            await kit.recipients.import_([header, "user:1,Ada"], tenant=ACME, format="csv")

        assert [] == await kit.recipients.list(tenant=ACME)

    async def test_progress_is_told_after_each_transaction(self, kit, monkeypatch):
        """The report grows; it is the same that is returned."""
        monkeypatch.setattr(recipient_import, "BATCH", 2)
        told = []

        report = await kit.recipients.import_(
            [f'{{"id":"user:{n}"}}' for n in range(5)],
            tenant=ACME,
            progress=lambda so_far: told.append((so_far.lines, so_far.saved)),
        )

        assert [(2, 2), (4, 4), (5, 5)] == told
        assert told[-1] == (report.lines, report.saved)

    async def test_what_was_exported_can_be_imported(self, kit):
        """With settings, mutes and the states of addresses."""
        await kit.recipients.save(ADA, tenant=ACME, email=MAIL, zone="Asia/Tokyo")
        await kit.recipients.mark_gone(ADA, "email", MAIL, tenant=ACME)
        await kit.preferences(ADA, tenant=ACME).set(value="off", category="news")
        await kit.preferences(ADA, tenant=ACME).consent(by="ada")
        whole = await kit.preferences(ADA, tenant=ACME).mute(topic="a/**")
        exported = (await kit.recipients.export(ADA, tenant=ACME))["recipient"]
        await kit.recipients.erase(ADA, tenant=ACME)

        report = await kit.recipients.import_([json.dumps(exported)], tenant=ACME)

        assert [] == report.problems
        assert attrs.evolve(whole, version=1) == await kit.recipients.get(ADA, tenant=ACME)
        assert exported == unstructure(whole)

    async def test_a_recipient_that_is_changed_meanwhile_is_changed_anew(self, kit, monkeypatch):
        """The import's change is made to what another process has saved."""
        await kit.recipients.save(ADA, tenant=ACME, name="Ada")
        store = kit.store
        get = store.get

        async def raced(kind, tenant, ids):
            found = await get(kind, tenant, ids)
            monkeypatch.setattr(store, "get", get)
            await kit.recipients.save(ADA, tenant=ACME, zone="Asia/Tokyo")
            return found

        monkeypatch.setattr(store, "get", raced)
        report = await kit.recipients.import_(['{"id":"user:42","locale":"de"}', '{"id":"user:43"}'], tenant=ACME)

        ada = await kit.recipients.get(ADA, tenant=ACME)
        assert ("Ada", "Asia/Tokyo", "de", 3) == (ada.name, ada.zone, ada.locale, ada.version)
        assert (2, []) == (report.saved, report.problems)


async def test_a_long_file_is_imported_in_any_store(any_store_url):
    """Over many transactions, with each bad line named, and again without a write."""
    lines = [
        json.dumps({"id": f"user:{n}", "email": "nobody" if n % 100 == 7 else f"u{n}@example.org"}) for n in range(1200)
    ]
    async with Notifykit(any_store_url) as kit:
        first, again = [await kit.recipients.import_(lines, tenant=ACME) for _ in range(2)]
        found = await kit.recipients.list(tenant=ACME, limit=2000)

    bad = list(range(8, 1200, 100))
    assert (1200, 1188, bad) == (first.lines, first.saved, [line for line, _ in first.problems])
    assert (1200, 0, bad) == (again.lines, again.saved, [line for line, _ in again.problems])
    assert (1188, {1}) == (len(found), {one.version for one in found})
