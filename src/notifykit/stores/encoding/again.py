"""Values encrypted again under the current key, when keys are rotated, and the values that are encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ...vault import KeyRing
from ...vault.ring import is_encrypted, key_id_of
from .encryption import account_context, event_context, header_context, item_context, response_context, secret_context
from .rows import Row

#: A stored value, which may be encrypted, and its context.
Value = tuple[str | bytes, str]


def endpoint_again(row: Row, ring: KeyRing) -> dict[str, Any]:
    """Return the columns of an endpoint that change when it is encrypted under the current key."""
    tenant, id_ = row["tenant"], row["id"]
    secrets, headers = json.loads(row["secrets"]), json.loads(row["headers"])
    at = secret_context(tenant, id_)
    encrypted = {
        "secrets": json.dumps([[_text(value, ring, at), *times] for value, *times in secrets]),
        "headers": json.dumps({n: _text(value, ring, header_context(tenant, id_, n)) for n, value in headers.items()}),
    }
    return {name: value for name, value in encrypted.items() if json.loads(value) != json.loads(row[name])}


def account_again(row: Row, ring: KeyRing) -> dict[str, Any]:
    """Return the URL of a tenant's provider account if it changes, under the current key."""
    url = _text(row["url"], ring, account_context(row["tenant"], row["id"]))
    return {} if url == row["url"] else {"url": url}


def event_again(row: Row, ring: KeyRing) -> dict[str, Any]:
    """Return the encrypted columns of an event, under the current key."""
    tenant, id_ = row["tenant"], row["id"]
    plain = not is_encrypted(bytes(row["body"]))
    changed: dict[str, Any] = {"body": bytes_again(bytes(row["body"]), ring, event_context(tenant, id_, "body"))}
    if row["metadata"] is not None:
        changed["metadata"] = _text(row["metadata"], ring, event_context(tenant, id_, "metadata"))
    if row["fingerprint"] is not None:
        at = event_context(tenant, id_, "fingerprint")
        stored = bytes(row["fingerprint"])
        changed["fingerprint"] = ring.encrypt_bytes(stored, context=at) if plain else bytes_again(stored, ring, at)
    return changed


def attempt_again(row: Row, ring: KeyRing) -> dict[str, Any]:
    """Return the response of an attempt, under the current key."""
    at = response_context(row["delivery_id"], row["number"])
    return {"response": bytes_again(bytes(row["response"]), ring, at)}


def item_again(row: Row, ring: KeyRing) -> dict[str, Any]:
    """Return the content of an item of an inbox, under the current key."""
    at = item_context(row["tenant"], row["recipient"], row["id"])
    return {"content": bytes_again(bytes(row["content"]), ring, at)}


def _text(value: str, ring: KeyRing, at: str) -> str:
    if not is_encrypted(value):
        return ring.encrypt(value.encode(), context=at)
    # A value under the current key is decrypted all the same: a run shows whether everything can be read.
    plain = ring.open(value, context=at)
    return value if key_id_of(value) == ring.current else ring.encrypt(plain, context=at)


def bytes_again(value: bytes, ring: KeyRing, at: str) -> bytes:
    """Return a value under the current key, whether it is encrypted or not."""
    return ring.encrypt_bytes(ring.open_bytes(value, context=at) if is_encrypted(value) else value, context=at)


def values_of_endpoint(row: Row) -> Iterator[Value]:
    """Yield the encrypted values of an endpoint, with their contexts."""
    tenant, id_ = row["tenant"], row["id"]
    for value, *_ in json.loads(row["secrets"]):
        yield value, secret_context(tenant, id_)
    for name, value in json.loads(row["headers"]).items():
        yield value, header_context(tenant, id_, name)


def values_of_account(row: Row) -> Iterator[Value]:
    """Yield the encrypted URL of a provider account, with its context."""
    yield row["url"], account_context(row["tenant"], row["id"])


def values_of_event(row: Row) -> Iterator[Value]:
    """Yield the encrypted values of an event, with their contexts."""
    tenant, id_ = row["tenant"], row["id"]
    yield bytes(row["body"]), event_context(tenant, id_, "body")
    if row["metadata"] is not None and is_encrypted(bytes(row["body"])):  # else it may only look like an encrypted one
        yield row["metadata"], event_context(tenant, id_, "metadata")
