"""The memory store's digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import attrs

from ...models.delivery import Collected, DigestEntry, DigestItem
from ...models.event import StoredEvent


class Item(NamedTuple):
    """What a digest keeps of a delivery."""

    event_id: str
    at: datetime


@attrs.define
class OpenDigest:
    """A digest, open or closed; the items by the ids of their deliveries."""

    id: str
    tenant: str
    closes_at: datetime
    entry: DigestEntry
    items: dict[str, Item]
    last_at: datetime
    is_open: bool = True


class MemoryDigests:
    """Which digests are open, and what each has collected."""

    def __init__(self) -> None:
        self._of_key: dict[tuple[str, str], OpenDigest] = {}
        self._of_id: dict[str, OpenDigest] = {}
        #: In which digest a delivery is.
        self._of_item: dict[str, OpenDigest] = {}

    def is_one(self, delivery_id: str) -> bool:
        """Tell whether a delivery is a digest's own."""
        return delivery_id in self._of_id

    def has(self, delivery_id: str) -> bool:
        """Tell whether a delivery has been collected."""
        return delivery_id in self._of_item

    def join(self, tenant: str, entry: DigestEntry, now: datetime) -> tuple[OpenDigest, bool, bool]:
        """Return the open digest with the key of an entry, whether it is new, and whether the first is sent at once."""
        held = self._of_key.get((tenant, entry.key))
        if held is not None and held.is_open:
            held.closes_at = min(held.entry.closes_by, max(held.closes_at, entry.closes_at))
            held.last_at = max(held.last_at, now)
            return held, False, False
        was_quiet = held is None or entry.quiet_since is None or held.last_at <= entry.quiet_since
        digest = OpenDigest(entry.delivery_id, tenant, entry.closes_at, entry, {}, now)
        self._of_key[tenant, entry.key] = self._of_id[digest.id] = digest
        return digest, True, entry.sends_first and was_quiet

    def add(self, digest: OpenDigest, delivery_id: str, item: Item) -> None:
        """Collect a delivery."""
        digest.items[delivery_id] = item
        self._of_item[delivery_id] = digest

    def close(self, delivery_id: str, now: datetime) -> None:
        """Close the digest that a delivery carries, if it carries one."""
        digest = self._of_id.get(delivery_id)
        if digest is not None and digest.is_open:
            digest.is_open = False
            digest.last_at = max(digest.last_at, now)

    def items(self) -> Iterator[tuple[str, Item, OpenDigest]]:
        """Yield every delivery that a digest has collected."""
        for delivery_id, digest in self._of_item.items():
            yield delivery_id, digest.items[delivery_id], digest

    def withdraw(self, delivery_id: str) -> None:
        """Take a delivery out of its digest."""
        del self._of_item.pop(delivery_id).items[delivery_id]

    def collected(self, tenant: str, delivery_id: str, events: Mapping[str, StoredEvent]) -> Collected | None:
        """Return what a digest of the tenant has collected."""
        digest = self._of_id.get(delivery_id)
        if digest is None or digest.tenant != tenant:
            return None
        items = (
            DigestItem(id_, event.id, event.type, event.published_at, event.body, event.details)
            for id_, event in ((id_, events[item.event_id]) for id_, item in sorted(digest.items.items()))
        )
        return Collected(len(digest.items), tuple(islice(items, digest.entry.max_items)))

    def events(self) -> set[str]:
        """Return the ids of the events that digests need."""
        return {item.event_id for _, item, _ in self.items()}

    def forget(self, delivery_id: str) -> None:
        """Forget the digest that a delivery carried."""
        digest = self._of_id.pop(delivery_id, None)
        if digest is not None:
            for item in digest.items:
                del self._of_item[item]
            if self._of_key.get((digest.tenant, digest.entry.key)) is digest:
                del self._of_key[digest.tenant, digest.entry.key]
