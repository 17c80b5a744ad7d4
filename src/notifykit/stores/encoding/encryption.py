"""What is encrypted when a row is written and decrypted when it is read.

Always: the signing secrets and header values of endpoints, and the provider accounts of tenants.  With
``encrypt_payloads`` also the content of an event (body, metadata, fingerprint), the receiver's responses, and what
items of inboxes say (see :mod:`.inbox_rows`).  Values that were stored before either was encrypted are read as they
are.

A value that cannot be decrypted must not hide any other.  Reading that value alone raises the error; the
engine, which reads whole batches, goes on without it and logs the error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import TypeVar

import attrs

from ...environment import ENCRYPT_PAYLOADS, switch
from ...errors import MissingKeyError, VaultError
from ...models.delivery import Attempt, Claim, DigestItem, EventDetails
from ...models.endpoint import Endpoint, EndpointState
from ...models.event import StoredEvent, TakenEvent
from ...models.provider_account import ProviderAccount
from ...models.subscription import TenantConfig
from ...models.unreadable import (
    UnreadableAttempt,
    UnreadableEndpoint,
    UnreadableEvent,
    UnreadableProviderAccount,
    unreadable_body,
)
from ...ports import Appended, Record, Settlement
from ...vault import Vault, context
from ...vault.ring import is_encrypted

#: Why an endpoint is paused whose secrets cannot be decrypted.
UNREADABLE = "secrets_unreadable"
#: What the stand-in for an event says whose content cannot be decrypted.
UNREADABLE_PAYLOAD = "payload_unreadable"

_log = logging.getLogger("notifykit")
#: How encrypted bytes begin; a body begins with a brace.
_ENCRYPTED = b"nk1."

T = TypeVar("T", TakenEvent, Claim)


def payloads_are_encrypted(chosen: bool | None) -> bool:
    """Return what the program chose, else what the environment variable says."""
    return switch(ENCRYPT_PAYLOADS) if chosen is None else chosen


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: its loopback, or a Unix socket."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


# ── encryption contexts ─────────────────────────────────────────────────────────────────────────────────


def secret_context(tenant: str, endpoint_id: str) -> str:
    """Return the context of an endpoint's signing secrets."""
    return context("endpoints", tenant, endpoint_id, "secrets")


def header_context(tenant: str, endpoint_id: str, name: str) -> str:
    """Return the context of the value of one of an endpoint's headers."""
    return context("endpoints", tenant, endpoint_id, f"headers.{name}")


def account_context(tenant: str, channel: str) -> str:
    """Return the context of the URL of a tenant's provider account."""
    return context("provider_accounts", tenant, channel, "url")


def event_context(tenant: str, event_id: str, column: str) -> str:
    """Return the context of a column of an event."""
    return context("events", tenant, event_id, column)


def response_context(delivery_id: str, number: int) -> str:
    """Return the context of a response; a delivery's id is unique over all tenants."""
    return context("attempts", "", f"{delivery_id}/{number}", "response")


def item_context(tenant: str, recipient: str, item_id: str) -> str:
    """Return the context of the content of an item in a person's inbox."""
    return context("inbox_items", tenant, f"{recipient}/{item_id}", "content")


class Encryption:
    """Encrypts values for their rows, and decrypts them.

    Args:
        payloads: Whether new events and responses are encrypted; encrypted ones are always decrypted.
    """

    def __init__(self, vault: Vault, *, payloads: bool) -> None:
        self.vault = vault
        self.payloads = payloads

    # -- endpoints -------------------------------------------------------------------------------

    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint as it is stored."""
        encrypt, tenant, id_ = self.vault.ring.encrypt, endpoint.tenant, endpoint.id
        at = secret_context(tenant, id_)
        return attrs.evolve(
            endpoint,
            secrets=tuple(attrs.evolve(s, value=encrypt(s.value.encode(), context=at)) for s in endpoint.secrets),
            headers={
                name: encrypt(value.encode(), context=header_context(tenant, id_, name))
                for name, value in endpoint.headers.items()
            },
        )

    def decrypted_endpoint(self, stored: Endpoint) -> Endpoint:
        """Return the endpoint of a row.

        Raises:
            VaultError: A secret or a header cannot be decrypted.
        """
        tenant, id_ = stored.tenant, stored.id
        at = secret_context(tenant, id_)
        return attrs.evolve(
            stored,
            secrets=tuple(attrs.evolve(s, value=self._text(s.value, at)) for s in stored.secrets),
            headers={
                name: self._text(value, header_context(tenant, id_, name)) for name, value in stored.headers.items()
            },
        )

    def usable_config(self, config: TenantConfig) -> TenantConfig:
        """Return a tenant's configuration, with stand-ins for endpoints that cannot be decrypted."""
        return config._replace(endpoints=tuple(map(self.usable_endpoint, config.endpoints)))

    def usable_endpoint(self, stored: Endpoint) -> Endpoint:
        """Return the endpoint of a row; for one that cannot be decrypted a stand-in, so that its deliveries wait."""
        try:
            return self.decrypted_endpoint(stored)
        except VaultError as error:
            _log.error("endpoint.unreadable endpoint_id=%s tenant=%r error=%r", stored.id, stored.tenant, str(error))
            fields = {field.name: getattr(stored, field.name) for field in attrs.fields(Endpoint)}
            fields |= {"secrets": (), "headers": {}}
            if stored.state is EndpointState.ACTIVE:
                fields |= {"state": EndpointState.PAUSED, "state_reason": UNREADABLE}
            return UnreadableEndpoint(**fields, error=error)

    def _text(self, value: str, at: str) -> str:
        return self.vault.ring.open(value, context=at).decode() if is_encrypted(value) else value

    # -- provider accounts -----------------------------------------------------------------------

    def account(self, account: ProviderAccount) -> ProviderAccount:
        """Return a tenant's account as it is stored."""
        at = account_context(account.tenant, account.id)
        return attrs.evolve(account, url=self.vault.ring.encrypt(account.url.encode(), context=at))

    def usable_account(self, stored: ProviderAccount) -> ProviderAccount:
        """Return the account of a row; for one that cannot be decrypted a stand-in, so that its messages wait."""
        if isinstance(stored, UnreadableProviderAccount):
            return stored
        tenant, id_ = stored.tenant, stored.id
        try:
            return attrs.evolve(stored, url=self._text(stored.url, account_context(tenant, id_)))
        except VaultError as error:
            _log.error("provider_account.unreadable channel=%s tenant=%r error=%r", id_, tenant, str(error))
            return UnreadableProviderAccount(tenant=tenant, id=id_, url=UNREADABLE, version=stored.version, error=error)

    # -- events ----------------------------------------------------------------------------------

    def events(self, events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        """Return events as they are stored."""
        return [self._event(event) for event in events] if self.payloads else events

    def _event(self, event: StoredEvent) -> StoredEvent:
        ring, tenant, id_ = self.vault.ring, event.tenant, event.id
        body = ring.encrypt_bytes(event.body, context=event_context(tenant, id_, "body"))
        metadata, fingerprint = event.metadata, event.fingerprint
        if metadata is not None:
            metadata = ring.encrypt(metadata.encode(), context=event_context(tenant, id_, "metadata"))
        if fingerprint is not None:  # it is a digest of the content, and short contents can be guessed
            fingerprint = ring.encrypt_bytes(fingerprint, context=event_context(tenant, id_, "fingerprint"))
        return event._replace(body=body, metadata=metadata, fingerprint=fingerprint)

    def decrypted_event(self, stored: StoredEvent) -> StoredEvent:
        """Return the event of a row.

        Raises:
            VaultError: It cannot be decrypted.
        """
        tenant, id_ = stored.tenant, stored.id
        body = self._bytes(stored.body, event_context(tenant, id_, "body"))
        if body is stored.body:
            return stored
        metadata, fingerprint = stored.metadata, stored.fingerprint
        return stored._replace(
            body=body,
            metadata=None if metadata is None else self._text(metadata, event_context(tenant, id_, "metadata")),
            fingerprint=None if fingerprint is None else self._fingerprint(fingerprint, tenant, id_),
        )

    def listed_event(self, stored: StoredEvent) -> StoredEvent:
        """Return the event of a row; for one that cannot be decrypted a stand-in without its content."""
        try:
            return self.decrypted_event(stored)
        except VaultError as error:
            _log.error("event.unreadable event_id=%s tenant=%r error=%r", stored.id, stored.tenant, str(error))
            without = {"body": unreadable_body(UNREADABLE_PAYLOAD), "metadata": None, "fingerprint": None}
            event = UnreadableEvent(**{**stored._asdict(), **without})
            event.error = error
            return event

    def digest_items(self, stored: Iterable[tuple[str, StoredEvent]]) -> Iterator[DigestItem]:
        """Yield the items of a digest, from ids of deliveries and events; leave out what was tampered with.

        Raises:
            MissingKeyError: The key of one is not in the ring: another worker may have it.
        """
        for delivery_id, event in stored:
            try:
                its = self.decrypted_event(event)
            except MissingKeyError:
                raise
            except VaultError as error:
                _log.error("event.unreadable event_id=%s tenant=%r error=%r", event.id, event.tenant, str(error))
            else:
                yield DigestItem(delivery_id, its.id, its.type, its.published_at, its.body, its.details)

    def answers(self, events: Sequence[StoredEvent], answers: list[Appended]) -> list[Appended]:
        """Return what became of ``events``, with the fingerprints of those that were stored before."""
        if not any(answer.duplicate for answer in answers):
            return answers
        return [self._answer(event.tenant, answer) for event, answer in zip(events, answers, strict=True)]

    def _answer(self, tenant: str, answer: Appended) -> Appended:
        if answer.fingerprint is None:
            return answer
        try:
            return answer._replace(fingerprint=self._fingerprint(answer.fingerprint, tenant, answer.event_id))
        except VaultError as error:  # whether it is the same content is unknown, so it counts as different
            _log.error("event.unreadable event_id=%s tenant=%r error=%r", answer.event_id, tenant, str(error))
            return answer

    def _fingerprint(self, stored: bytes, tenant: str, event_id: str) -> bytes:
        # A fingerprint has 16 bytes, and one in 2**32 of the plain ones begins like an encrypted value.
        return stored if len(stored) <= 16 else self._bytes(stored, event_context(tenant, event_id, "fingerprint"))

    def taken(self, taken: list[TakenEvent]) -> list[TakenEvent]:
        """Return taken events with their bodies; one that cannot be decrypted is taken again after its lease."""
        if not any(event.body[:4] == _ENCRYPTED for event in taken):
            return taken
        return list(self._opened(taken, lambda event: event_context(event.tenant, event.id, "body")))

    def claims(self, claims: list[Claim]) -> tuple[list[Claim], list[Claim]]:
        """Return claims with their bodies, and those whose key is not in the ring.

        One that was tampered with is in neither list and counts as abandoned when its lease has run out.
        """
        if not any(claim.body[:4] == _ENCRYPTED for claim in claims):
            return claims, []
        locked: list[Claim] = []
        opened = self._opened(claims, lambda claim: event_context(claim.tenant, claim.event_id, "body"), locked)
        return list(opened), locked

    def _opened(self, items: Iterable[T], context_of: Callable[[T], str], locked: list[T] | None = None) -> Iterable[T]:
        refused: list[tuple[str, VaultError]] = []
        bodies: dict[str, bytes] = {}  # many claims of a batch may be of one event
        for item in items:
            at = context_of(item)
            try:
                if at not in bodies:
                    bodies[at] = self._bytes(item.body, at)
            except VaultError as error:
                refused.append((at, error))
                if locked is not None and isinstance(error, MissingKeyError):
                    locked.append(item)
            else:
                yield item._replace(body=bodies[at], details=self._opened_details(item))
        if refused:
            at, why = refused[0]
            _log.error("event.unreadable count=%d first=%r error=%r", len(refused), at, str(why))

    def _opened_details(self, item: TakenEvent | Claim) -> EventDetails:
        """Return what an event says beside its body; metadata that does not open is left out."""
        details = item.details
        if details.metadata is None:
            return details
        event_id = item.id if isinstance(item, TakenEvent) else item.event_id
        try:
            metadata = self._text(details.metadata, event_context(item.tenant, event_id, "metadata"))
        except VaultError as error:
            _log.error("event.unreadable event_id=%s tenant=%r error=%r", event_id, item.tenant, str(error))
            return details._replace(metadata=None)
        return details._replace(metadata=metadata)

    def _bytes(self, value: bytes, at: str) -> bytes:
        return self.vault.ring.open_bytes(value, context=at) if value[:4] == _ENCRYPTED else value

    # -- attempts --------------------------------------------------------------------------------

    def records(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return records as they are stored: receivers repeat in their answers what they were sent."""
        # A response that begins like an encrypted value is encrypted too, so that all that begin like one are one.
        if self.payloads or any(map(_looks_encrypted, records)):
            return list(map(self._record, records))
        return records

    def settlements(self, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
        """Return settlements with their records as they are stored."""
        if self.payloads or any(_looks_encrypted(record) for each in settlements for record in each.records):
            return [each._replace(records=self.records(each.records)) for each in settlements]
        return settlements

    def _record(self, record: Record) -> Record:
        attempt, event = record.attempt, record.event
        if event is not None and self.payloads:
            record = record._replace(event=self._event(event))
        if attempt is None or not attempt.response or not (self.payloads or is_encrypted(attempt.response)):
            return record
        at = response_context(attempt.delivery_id, attempt.number)
        encrypted = self.vault.ring.encrypt_bytes(attempt.response, context=at)
        return record._replace(attempt=attempt._replace(response=encrypted))

    def decrypted_attempt(self, stored: Attempt) -> Attempt:
        """Return the attempt of a row; for one whose response cannot be decrypted a stand-in without it."""
        if stored.response[:4] != _ENCRYPTED:
            return stored
        at = response_context(stored.delivery_id, stored.number)
        try:
            return stored._replace(response=self._bytes(stored.response, at))
        except VaultError as error:
            _log.error("attempt.unreadable delivery_id=%s error=%r", stored.delivery_id, str(error))
            return UnreadableAttempt(**{**stored._asdict(), "response": b""})


def _looks_encrypted(record: Record) -> bool:
    return record.attempt is not None and record.attempt.response[:4] == _ENCRYPTED
