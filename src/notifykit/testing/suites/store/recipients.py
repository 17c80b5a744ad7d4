"""Recipients: kept exactly, read by the hundred, and named by the events that are addressed to them."""

from __future__ import annotations

from typing import Any

import attrs

from ....models.addresses import AddressState, Suppression
from ....models.delivery import DeliveryState
from ....models.event import OPERATIONAL
from ....models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting
from ....models.quiet_hours import QuietHours, Weekday, Window
from ....models.recipient import Consent, Recipient, RecipientAddress, TenantPreferences
from ....models.subscription import MatchQuery
from ....models.template import StoredTemplate
from ....models.throttle import Throttle
from ....policies.admit import body_without_data
from ....ports import DeliveryFilter, EventFilter, Settlement, Store, TokenRequest
from ...builders import make_delivery, make_endpoint, make_event, make_recipient, make_subscription
from ...clock import FakeClock
from .steps import (
    ACME,
    GLOBEX,
    HOUR,
    LEASE,
    TICK,
    find_event,
    finish,
    get_one,
    given_claim,
    given_delivery,
    given_ended,
    load,
    plan,
    read,
    take_one,
)

_NIGHTS = Window(days=tuple(Weekday), from_="22:00", to="07:30")


def _setting(scope: Scope, value: str, **select: Any) -> Setting:
    return Setting(scope=scope, select=Selector(**select), value=value)


class RecipientPromises:
    """What a store promises of recipients, and of events that are addressed to them."""

    async def test_a_recipient_reads_back_as_it_was_saved(self, store: Store, clock: FakeClock) -> None:
        """Every field is kept exactly, and a save replaces the recipient as a whole."""
        now = clock.now()
        recipient = make_recipient(
            "user:Ω/42 🐘",
            at=now,
            name="Ada ☃",
            locale="zh-Hant-TW",
            zone="Europe/Berlin",
            traits={"plan": "pro", "seats": 3, "tags": ["ü", None, True, {"x": 1.5}], "zone": "none of ours"},
            addresses=[
                RecipientAddress(channel="email", address="ada@bücher.example"),
                RecipientAddress(
                    channel="push", address="t" * 300, app="shop", platform="ios", state=AddressState.GONE,
                    reason="unregistered", changed_at=now + TICK,
                ),
                RecipientAddress(channel="sms", address="+4915123456789", state=AddressState.UNVERIFIED),
            ],
            settings=[
                _setting(Scope.RECIPIENT, "off", category="news"),
                _setting(Scope.RECIPIENT, "digest:daily", type="comment.created", channel="email"),
            ],
            mutes=[
                Mute(select=MuteSelector(topic="project/7/**"), until=now + HOUR),
                Mute(select=MuteSelector(channel="sms", purpose=Purpose.TRANSACTIONAL)),
            ],
            consents=[
                Consent(purpose=Purpose.MARKETING, at=now, by="user:42", how="form ☃"),
                Consent(purpose=Purpose.MARKETING, at=now + TICK, granted=False),
            ],
            suppressions=[
                Suppression(channel="email", address="ada@bücher.example", purposes=(Purpose.MARKETING,), until=now)
            ],
            quiet_hours=QuietHours(zone="Europe/Berlin", windows=[_NIGHTS], exceptions=["urgent"]),
            updated_at=now + TICK,
        )  # fmt: skip

        saved = await store.save(recipient)
        found = await get_one(store, Recipient, ACME, recipient.id)
        bare = await store.save(Recipient(id=recipient.id, tenant=ACME, created_at=now, updated_at=now, version=1))

        assert attrs.evolve(recipient, version=1) == saved == found
        assert bare == await get_one(store, Recipient, ACME, recipient.id)

    async def test_quiet_hours_of_a_recipient_without_a_zone_are_kept(self, store: Store, clock: FakeClock) -> None:
        """They have no zone of their own: the tenant's counts then."""
        quiet = QuietHours(windows=[_NIGHTS])

        saved = await store.save(make_recipient(at=clock.now(), quiet_hours=quiet))

        assert saved == await get_one(store, Recipient, ACME, saved.id)
        assert quiet == saved.quiet_hours

    async def test_many_recipients_are_read_at_once(self, store: Store, clock: FakeClock) -> None:
        """Those that there are of 700 ids, each once, and of this tenant alone."""
        for number in range(7):
            await store.save(make_recipient(f"user:{number * 100}", at=clock.now()))
        await store.save(make_recipient("user:1", tenant=GLOBEX, at=clock.now()))

        found = await store.get(Recipient, ACME, [f"user:{number}" for number in range(700)] * 2)

        assert [f"user:{number}00" if number else "user:0" for number in range(7)] == sorted(one.id for one in found)

    async def test_recipients_change_no_version(self, store: Store, clock: FakeClock) -> None:
        """No process caches them, so that nothing has to be loaded again."""
        await store.save(make_endpoint(at=clock.now()))
        before = await load(store, ACME)

        saved = await store.save(make_recipient(at=clock.now()))
        await store.remove(Recipient, ACME, saved.id, now=clock.now())

        assert before == await load(store, ACME)

    async def test_preferences_of_a_tenant_are_kept_and_change_its_version(
        self, store: Store, clock: FakeClock
    ) -> None:
        """What every recipient of a tenant depends on may be cached by the tenant's version."""
        lock = Setting(scope=Scope.TENANT, select=Selector(category="billing"), value="on", locked=True)
        default = _setting(Scope.TENANT, "off", category="news", channel="sms")
        preferences = TenantPreferences(tenant=ACME, settings=(default, lock), locale="pt-BR", zone="Asia/Tokyo")
        before = await load(store, ACME)

        saved = await store.save(preferences)
        found = await get_one(store, TenantPreferences, ACME, saved.id)
        changed = await store.save(TenantPreferences(tenant=ACME, version=1))
        raised = await load(store, ACME)
        await store.remove(TenantPreferences, ACME, saved.id, now=clock.now())

        assert attrs.evolve(preferences, version=1) == saved == found
        assert TenantPreferences(tenant=ACME, version=2) == changed
        assert before.version < raised.version < (await load(store, ACME)).version
        assert [] == await store.page(TenantPreferences, ACME, limit=9)

    async def test_stored_templates_are_kept_and_change_the_tenants_version(
        self, store: Store, clock: FakeClock
    ) -> None:
        """With every revision; renderers keep them by the tenant's version."""
        template = StoredTemplate(id="order.shipped/email.de.html", tenant=ACME, revisions=[])
        template = template.revised("<p>{{ data.id }} ☃</p>\n", at=clock.now(), by="eve", note="")
        before = await load(store, ACME)

        first = await store.save(template)
        saved = await store.save(first.revised("", at=clock.now() + TICK, by="", note="emptied ☃"))
        found = await get_one(store, StoredTemplate, ACME, template.id)
        raised = await load(store, ACME)
        await store.remove(StoredTemplate, ACME, template.id, now=clock.now())

        assert saved == found
        assert ([1, 2], 2) == ([each.number for each in found.revisions], found.version)
        assert before.version < raised.version < (await load(store, ACME)).version
        assert [] == await store.page(StoredTemplate, ACME, limit=9)

    async def test_many_records_are_saved_in_one_step(self, store: Store, clock: FakeClock) -> None:
        """Each has its next version; what was changed since it was read, or removed, is left as it is."""
        old, stale, gone = [await store.save(make_recipient(f"user:{n}", at=clock.now())) for n in range(3)]
        newer = await store.save(attrs.evolve(stale, name="newer"))
        await store.remove(Recipient, ACME, gone.id, now=clock.now())
        fresh = [make_recipient(f"user:{n}", at=clock.now(), name="Ωmega") for n in range(3, 700)]
        twice = make_recipient(old.id, at=clock.now(), name="unread")

        saved = await store.save_many([*fresh, attrs.evolve(old, name="changed"), stale, gone])
        again = await store.save_many([twice])

        assert [attrs.evolve(one, version=1) for one in fresh] == saved[:-3]
        assert [attrs.evolve(old, name="changed", version=2), None, None, None] == [*saved[-3:], *again]
        found = {one.id: one for one in await store.page(Recipient, ACME, limit=1000)}
        assert {one.id: one for one in (*saved, newer) if one is not None} == found
        assert [] == await store.save_many([])

    async def test_many_subscriptions_match_as_soon_as_they_are_saved(self, store: Store, clock: FakeClock) -> None:
        """And no longer as they did before; the tenant's version says so."""
        endpoint = await store.save(make_endpoint(at=clock.now()))
        first, second = (make_subscription(endpoint, at=clock.now(), event_types=("a.b",)) for _ in range(2))
        first = await store.save(first)
        before = await load(store, ACME)

        saved = await store.save_many([attrs.evolve(first, event_types=("c.d",)), second])

        found = await store.match(ACME, [MatchQuery("a.b"), MatchQuery("c.d")], limit=9)
        assert [[saved[1]], [saved[0]]] == [[one.subscription for one in answer] for answer in found]
        assert before.version < (await load(store, ACME)).version

    async def test_removing_a_recipient_cancels_what_waits(self, store: Store, clock: FakeClock) -> None:
        """Subscriptions go with it, what has ended stays, and other subscribers keep theirs."""
        person = await store.save(make_recipient(at=clock.now()))
        others = await store.save(make_subscription(make_endpoint(at=clock.now()), at=clock.now()))
        await store.save(attrs.evolve(others, id="sub_theirs", subscriber_id=person.id, channel="email", version=0))
        ended = await given_ended(store, clock, subscriber=person.id)
        waiting = await given_delivery(store, clock, subscriber=person.id, due_at=clock.now() + HOUR)
        other = await given_delivery(store, clock, subscriber="user:43", due_at=clock.now() + HOUR)
        before = await load(store, ACME)

        removed = [await store.remove(Recipient, ACME, person.id, now=clock.now()) for _ in range(2)]

        after, gone = await load(store, ACME), await read(store, waiting.id)
        assert [True, False] == removed
        assert ((others,), True) == (after.subscriptions, before.version < after.version)
        assert (DeliveryState.CANCELLED, "recipient_deleted") == (gone.state, gone.reason)
        assert DeliveryState.DEAD is (await read(store, ended.delivery_id)).state
        assert DeliveryState.PENDING is (await read(store, other.id)).state

    async def test_erasing_a_person_leaves_nothing_of_theirs(self, store: Store, clock: FakeClock) -> None:
        """Whatever state it is in; what other persons and businesses have stays as it is."""
        person, other = [await store.save(make_recipient(id_, at=clock.now())) for id_ in ("user:42", "user:420")]
        theirs = make_subscription(make_endpoint(at=clock.now()), at=clock.now(), subscriber_id=person.id)
        await store.save(theirs)
        await given_ended(store, clock, subscriber=person.id)
        await given_delivery(store, clock, subscriber=person.id, due_at=clock.now() + HOUR)
        kept = await given_delivery(store, clock, subscriber=other.id, due_at=clock.now() + HOUR)
        sending = await given_claim(store, clock, subscriber=person.id)
        cap = Throttle(1, HOUR)
        buckets = [TokenRequest(ACME, cap.bucket(each.id, "news", "email"), 1, cap.rate) for each in (person, other)]
        await store.acquire(buckets, now=clock.now())

        erased = await store.erase(ACME, person.id, now=clock.now())
        written = await finish(store, clock, sending)
        again = await store.erase(ACME, person.id, now=clock.now())

        assert erased >= 6
        assert [1, 0] == await store.acquire(buckets, now=clock.now())
        assert (set(), 0) == (written, again)
        assert [kept.id] == [one.id for one in await store.find_deliveries(ACME, DeliveryFilter(), limit=9)]
        assert [other] == await store.page(Recipient, ACME, limit=9)
        assert () == (await load(store, ACME)).subscriptions
        assert [] == await store.attempts(ACME, sending.delivery_id)

    async def test_erasing_takes_a_person_out_of_events(self, store: Store, clock: FakeClock) -> None:
        """An event that named no other recipient is deleted, unless another subscriber has a delivery of it."""
        person, quoted = 'user:"Ω_%\\42', '"user:\\"Ω_%\\\\42"'
        alone = make_event(at=clock.now(), key="k", audience=f'{{"to":[{quoted}],"channels":["email"]}}')
        shared = make_event(at=clock.now(), audience=f'{{"to":["user:43",{quoted}],"channels":["email"]}}')
        delivered = make_event(at=clock.now(), audience=f'{{"to":[{quoted}]}}', actor=person)
        others = make_event(at=clock.now(), audience=f'{{"to":["user:43"],"channels":[{quoted}]}}')
        public = make_event(at=clock.now(), actor=person)
        new = make_delivery(delivered, "end_receiver")
        await plan(store, clock, delivered, [new])
        await store.append([alone, shared, others, public])
        (taken,) = [one for one in await store.take(9, now=clock.now(), lease=LEASE) if one.id == shared.id]

        await store.erase(ACME, person, now=clock.now())
        stale = await store.settle(
            [Settlement(shared.id, taken.fence, [make_delivery(shared, person)])],
            now=clock.now(),
            lease=LEASE,
            worker="",
        )
        again = await store.take(9, now=clock.now(), lease=LEASE)

        assert [] == await store.find_events(ACME, EventFilter(ids=alone.id), limit=9)
        assert shared._replace(audience='{"to":["user:43"],"channels":["email"]}') == await find_event(
            store, ACME, shared.id
        )
        assert delivered._replace(audience=None, actor=None) == await find_event(store, ACME, delivered.id)
        assert others == await find_event(store, ACME, others.id)
        assert public._replace(actor=None) == await find_event(store, ACME, public.id)
        assert set() == stale
        assert [False] == [one.duplicate for one in await store.append([make_event(at=clock.now(), key="k")])]
        assert [(shared.id, '{"to":["user:43"],"channels":["email"]}')] == [(one.id, one.audience) for one in again]

    async def test_erasing_empties_operational_events(self, store: Store, clock: FakeClock) -> None:
        """They say to the tenant what became of a person's deliveries; those about other persons stay as they are."""
        body = b'{"type":"delivery.bounced","data":{"subscriber_id":"user:42"}}'
        told, others = [
            make_event(type="delivery.bounced", at=clock.now(), topic=OPERATIONAL, actor=actor, body=body)
            for actor in ("user:42", "user:420")
        ]
        await store.append([told, others])

        erased = await store.erase(ACME, "user:42", now=clock.now())
        again = await store.erase(ACME, "user:42", now=clock.now())
        taken = {each.id: each for each in await store.take(9, now=clock.now(), lease=LEASE)}

        empty = body_without_data("delivery.bounced", told.occurred_at)
        assert (1, 0) == (erased, again)
        assert told._replace(actor=None, body=empty) == await find_event(store, ACME, told.id)
        assert others == await find_event(store, ACME, others.id)
        assert [empty, body] == [taken[each.id].body for each in (told, others)]

    async def test_an_event_behind_an_erased_one_is_taken(self, store: Store, clock: FakeClock) -> None:
        """Of the same ordering key, it waits for none that is gone."""
        first = make_event(at=clock.now(), ordering_key="a", audience='{"to":["user:42"]}')
        second = make_event(at=clock.now(), ordering_key="a", audience='{"to":["user:43"]}')
        await store.append([first, second])
        await store.take(9, now=clock.now(), lease=LEASE)

        await store.erase(ACME, "user:42", now=clock.now())

        assert [second.id] == [one.id for one in await store.take(9, now=clock.now(), lease=LEASE)]

    async def test_planners_are_told_to_whom_an_event_is_addressed(self, store: Store, clock: FakeClock) -> None:
        """The text that was published comes with what is taken and read; most events have none."""
        event = make_event(at=clock.now(), audience='{"to":["user:Ω"],"channels":["email"]}')
        await store.append([event])

        taken = await take_one(store, clock)
        await store.append([make_event(at=clock.now())])

        assert event.audience == taken.audience
        assert event == await find_event(store, ACME, event.id)
        assert (await take_one(store, clock)).audience is None
