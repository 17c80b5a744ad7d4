"""The suite is worth as much as what it finds: each broken store must head a named test red."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from notifykit import StoreUnavailableError
from notifykit.models.delivery import DeliveryState
from notifykit.models.subscription import Subscription
from notifykit.ports import Move, Outstanding
from notifykit.stores.memory import MemoryStore
from notifykit.stores.memory.fifo import FifoGroups
from notifykit.stores.memory.notifications import Notifications
from notifykit.stores.memory.tables import Tables
from notifykit.testing import FakeClock, StoreSuite
from notifykit.testing.suites.store.steps import finish

DAY = timedelta(days=1)


class HandsOverForGood(MemoryStore):
    """Holds what it has handed over until a ticket claims it."""

    async def hand_off(self, lane, limit, *, hold, **names):
        return await super().hand_off(lane, limit, hold=hold + DAY, **names)


class HandsOverWithoutHold(MemoryStore):
    """Hands over what is due whenever it is asked to."""

    async def hand_off(self, lane, limit, *, hold, **names):
        return await super().hand_off(lane, limit, hold=timedelta(0), **names)


class HandsOverEverything(MemoryStore):
    """Counts nothing of what is out."""

    async def hand_off(self, lane, limit, *, most, **names):
        return await super().hand_off(lane, limit, most=Outstanding(999, 999, 999), **names)


class ClaimsWhatIsNotDue(MemoryStore):
    """Believes every ticket."""

    async def claim(self, lane, limit, *, now, ids=None, **names):
        return await super().claim(lane, limit, now=now if ids is None else now + DAY, ids=ids, **names)


class TablesWithoutFences(Tables):
    def held_row(self, delivery_id, fence):
        return self.rows.get(delivery_id)


class AnyFence(MemoryStore):
    """Records and prolongs whatever it is asked to."""

    def __init__(self):
        super().__init__()
        self._tables = TablesWithoutFences()


class BlamesItself(MemoryStore):
    """Says of a value that it cannot hold what it would say if the database were away."""

    async def record(self, records):
        if any("\ud800" in (record.reason or "") for record in records):
            raise StoreUnavailableError("the database is not available")
        return await super().record(records)


class FenceFromZero(MemoryStore):
    """Starts the fence again with each generation."""

    def _redrive(self, row, now):
        super()._redrive(row, now)
        row.fence = 0


class SettlesStalePlans(MemoryStore):
    async def settle(self, settlements, *, now, lease, worker):
        held = self._tables.outbox
        current = [s._replace(fence=held[s.event_id].fence) for s in settlements if s.event_id in held]
        return await super().settle(current, now=now, lease=lease, worker=worker)


class DropsWhatWasSent(MemoryStore):
    """Settles plans as if nothing had been sent yet."""

    async def settle(self, settlements, *, now, lease, worker):
        unsent = [settlement._replace(records=()) for settlement in settlements]
        return await super().settle(unsent, now=now, lease=lease, worker=worker)


class TakesLeasedEvents(MemoryStore):
    def _take(self, unplanned, until):
        return super()._take(unplanned, unplanned.event.due_at)


class TakesEarly(MemoryStore):
    async def take(self, limit, *, now, lease, exclude=(), since=None):
        return await super().take(limit, now=now + DAY, lease=lease, exclude=exclude, since=since)


class OverlooksWhatHasJustCome(MemoryStore):
    async def take(self, limit, *, now, lease, exclude=(), since=None):
        return await super().take(limit, now=since or now, lease=lease, exclude=exclude)


class ForgetsKeys(MemoryStore):
    def _append(self, event):
        return super()._append(event._replace(idempotency_key=None))


class SharesKeys(MemoryStore):
    """Looks keys up without the tenant."""

    def _append(self, event):
        key = next((name for name in self._tables.keys if name[1] == event.idempotency_key), None)
        if key is not None and event.idempotency_key is not None:
            return super()._append(event._replace(tenant=key[0]))
        return super()._append(event)


class ForgetsCursor(MemoryStore):
    async def settle(self, settlements, *, now, lease, worker):
        settled = await super().settle(settlements, now=now, lease=lease, worker=worker)
        for unplanned in self._tables.outbox.values():
            unplanned.cursor = None
        return settled


class KeepsPagesLeased(MemoryStore):
    async def settle(self, settlements, *, now, lease, worker):
        settled = await super().settle(settlements, now=now, lease=lease, worker=worker)
        for unplanned in self._tables.outbox.values():
            self._tables.wait_for_planning(unplanned, now + lease)
        return settled


class PlansTwice(MemoryStore):
    """Overwrites deliveries that exist."""

    def _add(self, new, now, until, worker):
        self._tables.rows.pop(new.id, None)
        super()._add(new, now, until, worker)


class ReadsLanesTogether(MemoryStore):
    async def claim(self, lane, limit, *, now, lease, worker, exclude=(), **names):
        claims = []
        for other in list(self._tables.waiting):
            claims += await super().claim(other, limit, now=now, lease=lease, worker=worker, exclude=exclude, **names)
        return claims


class FirstComeFirstServed(MemoryStore):
    async def claim(self, lane, limit, *, now, lease, worker, exclude=(), **names):
        claims = await super().claim(lane, 1_000, now=now, lease=lease, worker=worker, exclude=exclude, **names)
        return sorted(claims)[:limit]


class ExcludesAfterLimit(FirstComeFirstServed):
    async def claim(self, lane, limit, *, now, lease, worker, exclude=(), **names):
        claims = await super().claim(lane, limit, now=now, lease=lease, worker=worker, **names)
        return [claim for claim in claims if claim.subscriber_id not in exclude]


class LeavesHeld(MemoryStore):
    async def claim(self, lane, limit, *, now, lease, worker, exclude=(), **names):
        held = {r.delivery.subscriber_id for r in self._tables.rows.values() if r.delivery.state is DeliveryState.HELD}
        exclude = {*exclude, *held}
        return await super().claim(lane, limit, now=now, lease=lease, worker=worker, exclude=exclude, **names)


class ReencodesBodies(MemoryStore):
    def _claim(self, row, now, until, worker):
        claim = super()._claim(row, now, until, worker)
        return claim._replace(body=claim.body.decode("utf-8", "replace").encode())


class CountsReleases(MemoryStore):
    """Counts a try for each record, attempt or not."""

    def _record(self, record):
        row = self._tables.held_row(record.delivery_id, record.fence)
        if row is not None and record.attempt is None:
            row.tries += 1
        return super()._record(record)


class StopsAtStaleRecords(MemoryStore):
    async def record(self, records):
        written: set[str] = set()
        for record in records:
            if not self._record(record):
                return written
            written.add(record.delivery_id)
        return written


class DropsHistoryOnRedrive(MemoryStore):
    def _redrive(self, row, now):
        self._tables.history.pop(row.delivery.id, None)
        super()._redrive(row, now)


class RedrivesDelivered(MemoryStore):
    async def move(self, tenant, wanted, to, *, now, limit=None):
        if to is Move.REDRIVE:
            wanted = attrs.evolve(wanted, states=wanted.states or frozenset(DeliveryState))
        return await super().move(tenant, wanted, to, now=now, limit=limit)


class RescuesUnderTheOldFence(MemoryStore):
    def _rescue(self, row, now, max_abandoned):
        row.fence -= 1
        return super()._rescue(row, now, max_abandoned)


class RescuesTheLiving(MemoryStore):
    async def rescue(self, limit, *, now, max_abandoned):
        return await super().rescue(limit, now=now + DAY, max_abandoned=max_abandoned)


class RescuesSilently(MemoryStore):
    """Leaves no trace of an abandoned attempt."""

    def _rescue(self, row, now, max_abandoned):
        delivery = super()._rescue(row, now, max_abandoned)
        self._tables.history[row.delivery.id].pop()
        return delivery


class NeverQuarantines(MemoryStore):
    def _rescue(self, row, now, max_abandoned):
        return super()._rescue(row, now, 1_000)


class ShowsDeliveriesToAll(MemoryStore):
    async def find_deliveries(self, tenant, wanted, *, limit, before=None):
        if wanted.ids is None:
            return await super().find_deliveries(tenant, wanted, limit=limit, before=before)
        return [self._tables.rows[id_].delivery for id_ in wanted.ids]


class ShowsHistoryToAll(MemoryStore):
    async def attempts(self, tenant, delivery_id):
        return list(self._tables.history.get(delivery_id, ()))


class WakesForAll(MemoryStore):
    async def move(self, tenant, wanted, to, *, now, limit=None):
        owners = {row.delivery.tenant for row in self._tables.rows.values()} if to is Move.WAKE else {tenant}
        return sum([await super(WakesForAll, self).move(owner, wanted, to, now=now, limit=limit) for owner in owners])


class KeepsVersionOnRemoval(MemoryStore):
    async def remove(self, kind, tenant, id, *, now):
        return self._tables.records[kind].pop((tenant, id), None) is not None


class SkipsMatches(MemoryStore):
    async def match(self, tenant, queries, *, limit):
        return [found[:-1] for found in await super().match(tenant, queries, limit=limit)]


class RepeatsPages(MemoryStore):
    def _matches(self, tenant, query, limit):
        return super()._matches(tenant, query._replace(after=""), limit)


class NamesAnybody(MemoryStore):
    def _matches(self, tenant, query, limit):
        return super()._matches(tenant, query._replace(named=False), limit)


class FindsTheDisabled(MemoryStore):
    async def save(self, record):
        return await super().save(attrs.evolve(record, enabled=True) if isinstance(record, Subscription) else record)


class SavesOverAnything(MemoryStore):
    """Replaces what is stored, whatever its version."""

    async def save(self, record):
        stored = self._tables.records[type(record)].get((record.tenant, record.id))
        return await super().save(attrs.evolve(record, version=stored.version if stored else 0))


class BringsBack(MemoryStore):
    """Inserts what was read before it was removed."""

    async def save(self, record):
        missing = (record.tenant, record.id) not in self._tables.records[type(record)]
        return await super().save(attrs.evolve(record, version=0) if missing else record)


class TakesAllForSmall(MemoryStore):
    async def load_tenants(self, tenants, *, most=None):
        return await super().load_tenants(tenants)


class EmptiesOneBucketTwice(MemoryStore):
    """Answers each request of a call as if it were the only one."""

    async def acquire(self, requests, *, now):
        before = dict(self._tables.buckets)
        acquired = []
        for request in requests:
            self._tables.buckets = dict(before)
            acquired += await super().acquire([request], now=now)
        return acquired


class ForgetsPlans(MemoryStore):
    """Says of every event that it has been planned."""

    def _is_wanted(self, event, wanted):
        return wanted.planned is not False and super()._is_wanted(event, attrs.evolve(wanted, planned=None))


class MovesWithoutLimit(MemoryStore):
    async def move(self, tenant, wanted, to, *, now, limit=None):
        return await super().move(tenant, wanted, to, now=now)


class KeepsVersionFromPlanners(MemoryStore):
    def _take(self, unplanned, until):
        return super()._take(unplanned, until)._replace(tenant_version=0)


class LosesMicroseconds(MemoryStore):
    def _append(self, event):
        return super()._append(event._replace(occurred_at=event.occurred_at.replace(microsecond=0)))


class CutsResponsesAtNul(MemoryStore):
    def _record(self, record):
        if record.attempt is not None:
            response = record.attempt.response.split(b"\0")[0]
            record = record._replace(attempt=record.attempt._replace(response=response))
        return super()._record(record)


class PurgesOpenEvents(MemoryStore):
    async def purge(self, *, before, keys_before, limit):
        old = [id_ for id_, event in self._tables.events.items() if event.published_at < before]
        self._tables.forget((), old)
        return len(old)


class PurgesKeysWithEvents(MemoryStore):
    async def purge(self, *, before, keys_before, limit):
        return await super().purge(before=before, keys_before=max(before, keys_before), limit=limit)


class Silence(Notifications):
    def give(self):
        pass


class NeverNotifies(MemoryStore):
    def __init__(self):
        super().__init__()
        self._notifications = Silence()


class TablesWithoutGroups(Tables):
    def _queue(self, delivery):
        self.offer(delivery)

    def wait_for_planning(self, unplanned, due_at):
        unplanned.due_at = due_at
        self._offer_event(unplanned)


class IgnoresOrderingKeys(MemoryStore):
    """Hands out what is due, whatever it waits behind."""

    def __init__(self):
        super().__init__()
        self._tables = TablesWithoutGroups()


class Queue(FifoGroups):
    """A group in the order of joining."""

    def join(self, group, item, *, handed_out=False):
        ids = self._ids.setdefault(group, [])
        if item not in ids:
            ids.append(item)
        if handed_out:
            self._handed_out.setdefault(group, set()).add(item)
        else:
            self._give_back(group, item)


class OrdersByArrival(MemoryStore):
    def __init__(self):
        super().__init__()
        self._tables._planning, self._tables._sending = Queue(), Queue()


class Unaware(FifoGroups):
    """A group that does not know which item is handed out."""

    def join(self, group, item, *, handed_out=False):
        super().join(group, item)


class SendsTwoOfAGroup(MemoryStore):
    def __init__(self):
        super().__init__()
        self._tables._sending = Unaware()


class TablesThatStick(Tables):
    def end(self, row, *args, **changes):
        delivery = super().end(row, *args, **changes)
        head = self._sending.head((delivery.subscriber_id, delivery.ordering_key or ""))
        if head is not None:
            self._withdraw(self.rows[head].delivery)
        return delivery


class LeavesBlocked(MemoryStore):
    """Leaves the next item of a group blocked."""

    def __init__(self):
        super().__init__()
        self._tables = TablesThatStick()


class CountsEverything(MemoryStore):
    async def stats(self, *, now):
        stats = await super().stats(now=now)
        return stats._replace(unplanned=len(self._tables.outbox))


class ForgetsEarlyReceipts(MemoryStore):
    async def record_receipts(self, records, *, now):
        found = await super().record_receipts(records, now=now)
        self._tables.receipts._waiting.clear()
        return found


class ForgetsReceiptsWhenFound(MemoryStore):
    """Finds a receipt that has waited once, whatever becomes of it."""

    async def record_receipts(self, records, *, now):
        found = await super().record_receipts(records, now=now)
        if not records:
            self._tables.receipts._waiting.clear()
        return found


class ShowsTheLastReceipt(MemoryStore):
    async def record_receipts(self, records, *, now):
        return await super().record_receipts([record._replace(rank=now.timestamp()) for record in records], now=now)


class ConfirmsAnything(MemoryStore):
    async def record_receipts(self, records, *, now):
        return await super().record_receipts([record._replace(confirms=True) for record in records], now=now)


class CountsReceiptsTwice(MemoryStore):
    async def record_receipts(self, records, *, now):
        others = [
            record._replace(receipt=attrs.evolve(record.receipt, id=f"{at} {record.receipt.id}"))
            for at, record in enumerate(records)
        ]
        return await super().record_receipts(others, now=now)


SABOTAGE: list[tuple[Callable[[], MemoryStore], str, dict[str, object]]] = [
    (AnyFence, "test_a_zombies_record_changes_nothing", {}),
    (AnyFence, "test_a_delivery_is_recorded_once_for_each_claim", {}),
    (AnyFence, "test_a_lost_lease_is_not_prolonged", {}),
    (FenceFromZero, "test_fences_grow_over_generations", {}),
    (SettlesStalePlans, "test_a_stale_settlement_writes_nothing", {}),
    (TakesLeasedEvents, "test_a_taken_event_is_left_alone_for_its_lease", {}),
    (TakesEarly, "test_an_event_is_not_taken_before_it_is_due", {}),
    (OverlooksWhatHasJustCome, "test_what_has_just_come_is_found_behind_any_backlog", {}),
    (ForgetsKeys, "test_a_repeated_key_is_answered_with_the_first_event", {}),
    (ForgetsKeys, "test_simultaneous_appends_of_one_key_store_one_event", {}),
    (SharesKeys, "test_a_key_belongs_to_its_tenant", {}),
    (ForgetsCursor, "test_a_page_keeps_the_event_in_the_outbox", {}),
    (KeepsPagesLeased, "test_a_page_keeps_the_event_in_the_outbox", {}),
    (PlansTwice, "test_deliveries_that_wait_already_stay_as_they_are", {}),
    (PlansTwice, "test_deliveries_that_have_ended_already_stay_ended", {}),
    (ReadsLanesTogether, "test_only_the_lane_is_claimed", {}),
    (FirstComeFirstServed, "test_a_batch_goes_round_subscribers", {}),
    (ExcludesAfterLimit, "test_an_excluded_backlog_hides_nothing", {}),
    (LeavesHeld, "test_held_deliveries_are_claimed_when_their_time_comes", {}),
    (ReencodesBodies, "test_a_claim_carries_what_sending_takes", {}),
    (HandsOverForGood, "test_what_is_handed_over_is_due_again_when_its_hold_runs_out", {}),
    (HandsOverWithoutHold, "test_what_is_handed_over_is_due_again_when_its_hold_runs_out", {}),
    (
        HandsOverEverything,
        "test_only_so_many_are_out_at_a_time",
        {"most": Outstanding(7, 100, 100), "counts": {7}},
    ),
    (ClaimsWhatIsNotDue, "test_a_late_ticket_does_not_hurry_a_retry", {}),
    (DropsWhatWasSent, "test_what_arrived_is_written_with_its_plan", {}),
    (DropsWhatWasSent, "test_what_failed_waits_for_its_second_attempt", {}),
    (DropsWhatWasSent, "test_an_event_comes_with_what_was_sent", {}),
    (SettlesStalePlans, "test_a_stale_settlement_writes_none_of_its_records", {}),
    (CountsReleases, "test_a_released_claim_counts_nothing", {}),
    (StopsAtStaleRecords, "test_a_stale_record_does_not_stop_the_others", {}),
    (DropsHistoryOnRedrive, "test_a_redriven_delivery_is_a_new_generation", {}),
    (RedrivesDelivered, "test_no_redrive_repeats_a_success_unasked", {}),
    (RescuesUnderTheOldFence, "test_a_rescue_raises_the_fence", {}),
    (RescuesTheLiving, "test_a_living_lease_is_not_rescued", {}),
    (RescuesSilently, "test_an_abandoned_attempt_is_recorded", {}),
    (BlamesItself, "test_a_value_that_is_refused_concerns_itself_alone", {}),
    (NeverQuarantines, "test_a_delivery_that_kills_its_workers_is_quarantined", {}),
    (ShowsDeliveriesToAll, "test_a_stranger_sees_nothing", {"verb": "find_delivery"}),
    (ShowsHistoryToAll, "test_a_stranger_sees_nothing", {"verb": "attempts"}),
    (WakesForAll, "test_a_stranger_changes_nothing", {"verb": "wake"}),
    (KeepsVersionOnRemoval, "test_every_change_raises_the_version", {}),
    (KeepsVersionFromPlanners, "test_planners_and_workers_see_the_version", {}),
    (EmptiesOneBucketTwice, "test_many_buckets_are_asked_at_once", {}),
    (ForgetsPlans, "test_an_event_is_planned_after_its_last_page", {}),
    (MovesWithoutLimit, "test_a_redrive_is_limited", {}),
    (SkipsMatches, "test_every_subscription_that_matches_is_found", {}),
    (RepeatsPages, "test_a_page_goes_on_behind_an_id_that_is_gone", {}),
    (RepeatsPages, "test_each_query_has_its_own_answer", {}),
    (NamesAnybody, "test_only_subscriptions_that_name_a_type_are_found_by_name", {}),
    (FindsTheDisabled, "test_matches_follow_every_change", {}),
    (TakesAllForSmall, "test_a_small_tenant_is_loaded_and_a_large_one_is_not", {}),
    (SavesOverAnything, "test_a_stale_save_changes_nothing", {"kind": "endpoint"}),
    (BringsBack, "test_a_stale_save_brings_nothing_back", {"kind": "subscription"}),
    (LosesMicroseconds, "test_instants_keep_their_microseconds_and_utc", {}),
    (CutsResponsesAtNul, "test_an_attempt_reads_back_as_it_was_made", {}),
    (PurgesOpenEvents, "test_an_event_stays_for_its_last_open_delivery", {}),
    (PurgesOpenEvents, "test_unplanned_events_stay", {}),
    (PurgesKeysWithEvents, "test_recent_keys_are_remembered", {}),
    (CountsEverything, "test_counts_are_capped", {}),
    (IgnoresOrderingKeys, "test_events_of_a_key_are_taken_one_by_one", {}),
    (IgnoresOrderingKeys, "test_a_page_holds_back_later_events", {}),
    (IgnoresOrderingKeys, "test_deliveries_of_a_key_are_claimed_one_by_one", {}),
    (IgnoresOrderingKeys, "test_a_retry_holds_back_its_followers", {}),
    (IgnoresOrderingKeys, "test_a_rescued_delivery_keeps_its_place", {}),
    (IgnoresOrderingKeys, "test_a_held_delivery_holds_back_its_followers", {}),
    (IgnoresOrderingKeys, "test_a_group_spans_all_lanes", {}),
    (IgnoresOrderingKeys, "test_a_blocked_group_is_not_due", {}),
    (OrdersByArrival, "test_the_order_of_ids_counts", {}),
    (OrdersByArrival, "test_a_redriven_delivery_goes_first_again", {}),
    (SendsTwoOfAGroup, "test_a_redriven_delivery_waits_for_a_later_one_that_is_being_sent", {}),
    (LeavesBlocked, "test_every_end_unblocks_the_next_one", {"end": finish}),
    (LeavesBlocked, "test_a_cancelled_follower_is_skipped", {}),
    (ForgetsEarlyReceipts, "test_a_receipt_that_comes_too_early_waits", {}),
    (ForgetsReceiptsWhenFound, "test_a_receipt_that_comes_too_early_waits", {}),
    (ShowsTheLastReceipt, "test_the_strongest_receipt_is_shown_first", {}),
    (ConfirmsAnything, "test_an_uncertain_delivery_is_delivered_once_it_is_confirmed", {}),
    (CountsReceiptsTwice, "test_a_receipt_is_stored_once", {}),
]


def promise(name, store, arguments):
    """Return the run of one test of the suite on ``store``."""
    test = getattr(StoreSuite(), name)
    fixtures = {"store": store, "clock": FakeClock(), **arguments}
    return test(**{name: fixtures[name] for name in inspect.signature(test).parameters})


@pytest.mark.parametrize(
    ("broken", "name", "arguments"),
    [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in SABOTAGE],
)
async def test_a_broken_store_is_found_out(broken, name, arguments):
    """The named test passes for the reference store and fails for one that breaks its promise."""
    await promise(name, MemoryStore(), arguments)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await promise(name, broken(), arguments)


async def test_a_store_without_notifications_is_found_out(monkeypatch):
    """A store that never wakes a waiting call makes the test of its promise time out."""
    monkeypatch.setattr("notifykit.testing.suites.store.liveness.PROMPTLY", 0.05)
    await promise("test_an_append_ends_the_wait", MemoryStore(), {})

    with pytest.raises(TimeoutError):
        await promise("test_an_append_ends_the_wait", NeverNotifies(), {})
