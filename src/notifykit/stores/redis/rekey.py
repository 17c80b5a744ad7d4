"""Keys of a Redis store: encrypt what it holds again under the current key, and find out whether it can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ...codec import loads
from ...errors import MissingKeyError, VaultError
from ...ports import TAMPERED, Rewrapped, Survey
from ...vault import KeyRing
from ...vault.ring import is_encrypted, key_id_of
from ..encoding.again import (
    Value,
    account_again,
    bytes_again,
    endpoint_again,
    event_again,
    values_of_account,
    values_of_endpoint,
    values_of_event,
)
from ..encoding.encryption import Encryption, item_context, response_context
from ..encoding.readable import DAMAGED
from .connections import Connections
from .layout import RESPONSE, event_row, event_text_of, json

#: Fields of a hash that one script looks at, and that a survey takes as a sample.
_AT_ONCE: Final = 200
#: Endpoints that a survey reads at the most.
_MOST_ENDPOINTS: Final = 10_000
#: Rounds at the most, for what was changed between reading and writing it.
_ROUNDS: Final = 5
#: What a value is: its hash, its field, and the text.
_Found = tuple[str, str, bytes]


def _pair(first: str, second: str) -> str:
    """Return two texts as one, as scripts do."""
    return f"{len(first.encode())}:{first}{second}"


def _second(pair: str) -> tuple[str, str]:
    """Return the two texts of a pair."""
    length, _, rest = pair.encode().partition(b":")
    return rest[: int(length)].decode(), rest[int(length) :].decode()


@attrs.frozen(kw_only=True)
class _Kind:
    """One kind of values that are encrypted.

    Attributes:
        owners: The hash whose fields name the hashes of this kind; empty if there is one hash.
        hash: Returns the name of a hash, by its owner.
        column: Where the text stands in a value; 0 if it is the value.
        again: Returns a text under the current key; the same if nothing has to change.
        values: Yields the values of a text, with their contexts.
        is_payload: Whether it is encrypted only where the store encrypts payloads.
    """

    owners: str
    hash: Callable[[str], str]
    column: int
    again: Callable[[_Found, KeyRing], bytes]
    values: Callable[[_Found], Iterator[Value]]
    is_payload: bool = True


class RedisRekeys:
    """The verbs of :class:`notifykit.ports.Rekeys`."""

    encryption: Encryption
    _connections: Connections

    async def rewrap(
        self, *, dry_run: bool = False, progress: Callable[[Rewrapped], None] = lambda _: None
    ) -> Rewrapped:
        ring = self.encryption.vault.ring
        done = Rewrapped(key=ring.current)
        for _ in range(_ROUNDS):
            done.endpoints, done.missed, done.unreadable = 0, 0, Counter()
            for kind in _KINDS:
                async for page in self._pages(kind):
                    changes = list(self._changes(kind, page, ring, done))
                    written = len(changes) if dry_run else await self._replace(kind, changes)
                    done.endpoints += len(page) if kind is _ENDPOINTS else 0
                    done.rows += written
                    done.missed += len(changes) - written
                    progress(done)
            if not done.missed:
                break
        return done

    def _changes(
        self, kind: _Kind, page: Iterable[_Found], ring: KeyRing, done: Rewrapped
    ) -> Iterator[tuple[_Found, bytes]]:
        for found in page:
            try:
                encrypted = [value for value, _ in kind.values(found) if is_encrypted(value)]
                if kind.is_payload and not encrypted and not self.encryption.payloads:
                    continue
                if kind.is_payload and encrypted and all(key_id_of(value) == ring.current for value in encrypted):
                    continue
                new = kind.again(found, ring)
            except MissingKeyError as error:
                done.unreadable[error.key_id] += 1
            except (VaultError, *DAMAGED):
                done.unreadable[TAMPERED] += 1
            else:
                if new != found[2]:
                    yield found, new

    async def _replace(self, kind: _Kind, changes: Sequence[tuple[_Found, bytes]]) -> int:
        replaced = 0
        for (hash_, field, old), new in changes:
            replaced += await self._connections.run("replace", hash_, kind.column, field, old, new)
        return replaced

    async def _pages(self, kind: _Kind) -> AsyncIterator[list[_Found]]:
        owners = [b""] if not kind.owners else await self._connections.run("names", kind.owners)
        for owner in owners:
            hash_, cursor = kind.hash(owner.decode()), b"0"
            while True:
                cursor, found = await self._connections.run("scan", hash_, cursor, kind.column, _AT_ONCE)
                yield [(hash_, field.decode(), text) for field, text in found]
                if cursor == b"0":
                    break

    async def survey(self) -> Survey:
        found = Survey()
        for kind in _KINDS:
            async for page in self._pages(kind):
                if kind is _ENDPOINTS:
                    found.endpoints += len(page)
                else:
                    found.sampled += len(page)
                for each in page:
                    self._count(found, kind, each)
                if kind.is_payload or found.endpoints >= _MOST_ENDPOINTS:
                    break
        return found

    def _count(self, found: Survey, kind: _Kind, each: _Found) -> None:
        try:
            encrypted = [(value, at) for value, at in kind.values(each) if is_encrypted(value)]
            found.encrypted += bool(encrypted)
            for value, at in encrypted:
                ring = self.encryption.vault.ring
                _ = ring.open(value, context=at) if isinstance(value, str) else ring.open_bytes(value, context=at)
        except MissingKeyError as error:
            found.unreadable[error.key_id] += 1
        except (VaultError, *DAMAGED):
            found.unreadable[TAMPERED] += 1


# ── kinds ──────────────────────────────────────────────────────────────────────────────────────


def _record(found: _Found) -> Mapping[str, Any]:
    row: Mapping[str, Any] = loads(found[2])
    return row


def _endpoint_again(found: _Found, ring: KeyRing) -> bytes:
    return _changed(found, endpoint_again(_record(found), ring))


def _account_again(found: _Found, ring: KeyRing) -> bytes:
    return _changed(found, account_again(_record(found), ring))


def _changed(found: _Found, columns: Mapping[str, Any]) -> bytes:
    return json({**_record(found), **columns}) if columns else found[2]


def _event_again(found: _Found, ring: KeyRing) -> bytes:
    row = event_row(found[2])
    return event_text_of({**row, **event_again(row, ring)})


def _responses(found: _Found) -> Iterator[tuple[list[Any], bytes, str]]:
    """Yield the attempts of a delivery, each with its response and the context of that."""
    for line in found[2].split(b"\n"):
        values = loads(line)
        yield values, (values[RESPONSE] or "").encode("latin-1"), response_context(found[1], values[0])


def _attempts_again(found: _Found, ring: KeyRing) -> bytes:
    lines = []
    for values, response, at in _responses(found):
        if response:
            values[RESPONSE] = bytes_again(response, ring, at).decode("latin-1")
        lines.append(json(values))
    return b"\n".join(lines)


def _item(found: _Found) -> tuple[bytes, bytes, str]:
    """Return the line and the content of an item, and the context of the content."""
    line, _, content = found[2].partition(b"\n")
    tenant, recipient = _second(found[0].partition(":")[2])
    return line, content, item_context(tenant, recipient, found[1])


def _item_again(found: _Found, ring: KeyRing) -> bytes:
    line, content, at = _item(found)
    return line + b"\n" + bytes_again(content, ring, at)


_ENDPOINTS = _Kind(
    owners="v",
    hash=lambda tenant: f"r:{_pair('endpoint', tenant)}",
    column=2,
    again=_endpoint_again,
    values=lambda found: values_of_endpoint(_record(found)),
    is_payload=False,
)
_KINDS = (
    _ENDPOINTS,
    _Kind(
        owners="v",
        hash=lambda tenant: f"r:{_pair('provider account', tenant)}",
        column=2,
        again=_account_again,
        values=lambda found: values_of_account(_record(found)),
        is_payload=False,
    ),
    _Kind(
        owners="",
        hash=lambda _: "e",
        column=0,
        again=_event_again,
        values=lambda found: values_of_event(event_row(found[2])),
    ),
    _Kind(
        owners="",
        hash=lambda _: "a",
        column=0,
        again=_attempts_again,
        values=lambda found: ((response, at) for _, response, at in _responses(found) if response),
    ),
    _Kind(
        owners="inboxes",
        hash=lambda name: f"inbox:{name}",
        column=10,
        again=_item_again,
        values=lambda found: iter([_item(found)[1:]]),
    ),
)
