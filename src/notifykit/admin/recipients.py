"""A tenant's recipients: save, read, remove and erase persons, and keep what is known of their addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Unpack

import attrs

from ..errors import InvalidInputError, NotFoundError
from ..models import checks
from ..models.addresses import MAX_ADDRESS, AddressState, Suppression
from ..models.checks import optional
from ..models.ids import ENDPOINT
from ..models.preferences import Purpose, label
from ..models.recipient import Recipient, RecipientAddress, recipient_id, stored_address
from ..policies.arguments import checked
from ..policies.push import canonical_token
from ..ports import Clock, Inbox, Store
from . import devices, recipient_export
from .imported import ImportReport
from .recipient_changes import RecipientFields, applied, checked_fields, edit
from .recipient_import import import_lines

#: Items that are erased in one transaction.
_PAGE = 500
#: What parameters of these names take, here and of preferences.
_ARGUMENTS: Mapping[str, checks.Check] = {
    "recipient_id": checks.identifier,
    "channel": label,
    "address": checks.text(most=MAX_ADDRESS),
    "app": optional(label),
    "platform": optional(label),
    "token": devices.is_token,
    "replaces": optional(devices.is_token),
    "state": checks.one_of(AddressState),
    "purposes": checks.many(checks.one_of(Purpose), most=len(Purpose), what="purposes"),
    "lines": checks.iterable,
    "format": checks.one_of({"jsonl", "csv"}),
    "progress": optional(checks.function),
}
_checked = partial(checked, refusal=InvalidInputError, **_ARGUMENTS)


class Recipients:
    """The persons of a tenant.

    Changes that are made at the same time, wherever, are made one after the other: none undoes another.  Planners and
    senders read recipients as they need them, so every change counts from the next decision on.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @checked(recipient_id=recipient_id, version=optional(checks.whole(0, 2**31 - 1)))
    async def save(
        self, recipient_id: str, *, tenant: str, version: int | None = None, **fields: Unpack[RecipientFields]
    ) -> Recipient:
        """Save a person: make a new recipient, or change what is given and keep the rest; ``None`` removes.

        ``email`` and ``sms`` replace the addresses of their channel, ``addresses`` those of all channels.  An address
        that the recipient has already keeps its state: one that is suppressed or gone does not come back with the
        next synchronisation.

        Args:
            recipient_id: Your own id of the person, such as ``user:42``.
            version: The version that the change was made from: 0 for a new recipient.  Without it the change is made
                to whatever is stored.
            fields: ``name``, ``locale`` (BCP 47), ``zone`` (IANA), ``traits`` (all of them: JSON, at most 64 kB),
                ``email`` and ``sms`` (one or several), ``addresses`` (of any channel, with state, app and platform).

        Raises:
            InvalidInputError: With every problem found; nothing is changed.
            StaleWriteError: The recipient has another version by now.
        """
        given = checked_fields(fields)
        return await edit(
            self._store,
            self._clock,
            tenant,
            recipient_id,
            lambda current: applied(current, given, self._clock.now()),
            version=version,
            may_create=True,
        )

    @_checked()
    async def get(self, recipient_id: str, *, tenant: str) -> Recipient:
        """Return a recipient.

        Raises:
            NotFoundError: The tenant has no such recipient.
        """
        found = await self._store.get(Recipient, tenant, [recipient_id])
        if not found:
            raise NotFoundError("recipient", recipient_id)
        return found[0]

    @_checked()
    async def list(self, *, tenant: str, limit: int = 50, after: str | None = None) -> Sequence[Recipient]:
        """Return a page of recipients in the order of their ids, from behind the id ``after``."""
        return await self._store.page(Recipient, tenant, limit=limit, after=after)

    @_checked()
    async def delete(self, recipient_id: str, *, tenant: str) -> None:
        """Remove a recipient with their subscriptions; what waits for them is cancelled, and history stays.

        Raises:
            NotFoundError: The tenant has no such recipient.
        """
        if not await self._store.remove(Recipient, tenant, recipient_id, now=self._clock.now()):
            raise NotFoundError("recipient", recipient_id)

    @_checked()
    async def erase(self, recipient_id: str, *, tenant: str) -> int:
        """Delete everything that is known of a person, with the history; return how many rows were deleted or changed.

        Deliveries and attempts are deleted, and so are events that were addressed to this person alone.  From other
        events the person is taken out as recipient and as actor; what you wrote into an event's data stays.  What
        operational events say of the person is deleted, and suppressed addresses stay on the list as hashes.
        Repeating it does no harm.
        """
        if recipient_id.startswith(ENDPOINT):
            return 0
        count = await self._store.erase(tenant, recipient_id, now=self._clock.now())
        if isinstance(self._store, Inbox):
            while gone := await self._store.inbox_erase(tenant, recipient_id, limit=_PAGE):
                count += gone
        return count

    @_checked()
    async def export(self, recipient_id: str, *, tenant: str) -> dict[str, Any]:
        """Return everything that is known of a person as JSON types.

        It has the record, subscriptions, inbox, deliveries, events, and the entries of their addresses in the
        suppression list.

        Raises:
            NotFoundError: Nothing is known of such a person.
        """
        if recipient_id.startswith(ENDPOINT):
            raise NotFoundError("recipient", recipient_id)
        return await recipient_export.export(self._store, tenant, recipient_id)

    @_checked()
    async def import_(
        self,
        lines: Iterable[str],
        *,
        tenant: str,
        format: str = "jsonl",
        progress: Callable[[ImportReport], None] | None = None,
    ) -> ImportReport:
        """Save a recipient for each line, 500 in a transaction; lines that are wrong are reported, and the others kept.

        A line says what :meth:`save` takes: as a JSON object with ``id``, or as a row of CSV below a header of
        ``id``, ``name``, ``email``, ``sms``, ``locale``, ``zone`` and ``traits.NAME`` (an empty cell says nothing,
        traits are added to those that are there, and several addresses are separated by ``;``)::

            with open("people.csv", newline="", encoding="utf-8") as file:
                report = await kit.recipients.import_(file, tenant="acme", format="csv")

        Args:
            lines: An open text file, or any iterable of lines.
            format: ``jsonl`` or ``csv``.
            progress: Called after each transaction with the report so far.

        Raises:
            InvalidInputError: The header of a CSV file is wrong; nothing is saved.
        """
        return await import_lines(self._store, self._clock, tenant, lines, format, progress or (lambda _: None))

    # -- addresses -------------------------------------------------------------------------------

    @_checked()
    async def add_address(
        self,
        recipient_id: str,
        channel: str,
        address: str,
        *,
        tenant: str,
        app: str | None = None,
        platform: str | None = None,
        state: AddressState = AddressState.ACTIVE,
    ) -> Recipient:
        """Add an address, such as the token of a device; one that is there already keeps its state.

        Raises:
            InvalidInputError: It is no address of that channel.
            NotFoundError: The tenant has no such recipient.
        """
        new = RecipientAddress(channel=channel, address=address, app=app, platform=platform, state=state)

        def added(current: Recipient) -> Recipient:
            others = [each for each in current.addresses if (each.channel, each.address) != (channel, new.address)]
            return applied(current, {"addresses": [*others, new]}, self._clock.now())

        return await edit(self._store, self._clock, tenant, recipient_id, added)

    @_checked()
    async def remove_address(self, recipient_id: str, channel: str, address: str, *, tenant: str) -> Recipient:
        """Remove an address with its suppressions.

        Raises:
            NotFoundError: The tenant has no such recipient, or the recipient no such address.
        """

        def removed(current: Recipient) -> Recipient:
            found = _require_address(current, channel, address)
            return attrs.evolve(
                current,
                addresses=tuple(_others(current.addresses, found)),
                suppressions=tuple(_others(current.suppressions, found)),
            )

        return await edit(self._store, self._clock, tenant, recipient_id, removed)

    @_checked()
    async def verify(
        self, recipient_id: str, channel: str, address: str, *, tenant: str, reason: str = "verified"
    ) -> Recipient:
        """Use an address from now on: the person has confirmed it.

        Raises:
            NotFoundError: The tenant has no such recipient, or the recipient no such address.
        """
        return await self._set_state(recipient_id, tenant, channel, address, AddressState.ACTIVE, reason)

    @_checked()
    async def mark_gone(
        self, recipient_id: str, channel: str, address: str, *, tenant: str, reason: str = "gone"
    ) -> Recipient:
        """Record that there is no such address any more: a mailbox that was closed, an app that was removed.

        Raises:
            NotFoundError: The tenant has no such recipient, or the recipient no such address.
        """
        return await self._set_state(recipient_id, tenant, channel, address, AddressState.GONE, reason)

    @_checked()
    async def suppress(
        self,
        recipient_id: str,
        channel: str,
        address: str,
        *,
        tenant: str,
        reason: str = "suppressed by the operator",
        purposes: Iterable[Purpose | str] = (),
        until: datetime | None = None,
    ) -> Recipient:
        """Stop using an address.

        Args:
            purposes: Only for these; for others it is used.
            until: Only until then.

        Raises:
            NotFoundError: The tenant has no such recipient, or the recipient no such address.
        """
        stopped = tuple(map(Purpose, purposes))
        if not stopped and until is None:
            return await self._set_state(recipient_id, tenant, channel, address, AddressState.SUPPRESSED, reason)

        def added(current: Recipient) -> Recipient:
            found = _require_address(current, channel, address)
            new = Suppression(channel=channel, address=found.address, purposes=stopped, until=until)
            kept = [each for each in current.suppressions if each != new]
            return attrs.evolve(current, suppressions=(*kept, new))

        return await edit(self._store, self._clock, tenant, recipient_id, added)

    @_checked()
    async def unsuppress(
        self, recipient_id: str, channel: str, address: str, *, tenant: str, reason: str = "allowed by the operator"
    ) -> Recipient:
        """Use a suppressed address again, for every purpose; an unverified one stays unverified.

        Raises:
            NotFoundError: The tenant has no such recipient, or the recipient no such address.
        """

        def lifted(current: Recipient) -> Recipient:
            found = _require_address(current, channel, address)
            is_suppressed = found.state is AddressState.SUPPRESSED
            changed = self._in_state(current, found, AddressState.ACTIVE, reason) if is_suppressed else current
            return attrs.evolve(changed, suppressions=tuple(_others(current.suppressions, found)))

        return await edit(self._store, self._clock, tenant, recipient_id, lifted)

    # -- devices ---------------------------------------------------------------------------------

    @_checked()
    async def register_device(
        self,
        recipient_id: str,
        token: str | Mapping[str, Any],
        *,
        tenant: str,
        platform: str | None = None,
        app: str | None = None,
        replaces: str | Mapping[str, Any] | None = None,
    ) -> Recipient:
        """Send pushes to a device from now on; call it when the app starts, and when the device gets another token.

        A token that was gone is used again, because the device itself has just named it; one that was suppressed stays
        so.  The person's other tokens that are gone are removed.

        Args:
            token: Of Firebase or Apple; of a browser its subscription, as JSON or parsed.
            platform: ``ios``, ``android``, ``web`` …: for your own use.
            app: The name of the app, if you have several; it says which account sends (the option ``app`` of its URL).
            replaces: The device's token before, which is removed in the same step.

        Raises:
            InvalidInputError: It is no token, or the recipient has 100 addresses already.
            NotFoundError: The tenant has no such recipient.
        """
        known = canonical_token(token)
        try:
            old = None if replaces is None else canonical_token(replaces)
        except InvalidInputError as error:
            raise InvalidInputError([f"replaces: {problem}" for problem in error.problems]) from error

        def registered(current: Recipient) -> Recipient:
            now = self._clock.now()
            return devices.registered(current, known, platform=platform, app=app, replaces=old, now=now)

        return await edit(self._store, self._clock, tenant, recipient_id, registered)

    @_checked()
    async def unregister_device(self, recipient_id: str, token: str | Mapping[str, Any], *, tenant: str) -> Recipient:
        """Send no more pushes to a device: its user has signed out.  Repeating it does no harm.

        Raises:
            InvalidInputError: It is no token.
            NotFoundError: The tenant has no such recipient.
        """
        gone = canonical_token(token)
        return await edit(
            self._store, self._clock, tenant, recipient_id, lambda current: devices.unregistered(current, gone)
        )

    async def _set_state(
        self, recipient_id: str, tenant: str, channel: str, address: str, state: AddressState, reason: str
    ) -> Recipient:
        def changed(current: Recipient) -> Recipient:
            return self._in_state(current, _require_address(current, channel, address), state, reason)

        return await edit(self._store, self._clock, tenant, recipient_id, changed)

    def _in_state(self, current: Recipient, found: RecipientAddress, state: AddressState, reason: str) -> Recipient:
        new = attrs.evolve(found, state=state, reason=reason, changed_at=self._clock.now())
        return attrs.evolve(current, addresses=tuple(new if each is found else each for each in current.addresses))


def _require_address(current: Recipient, channel: str, address: str) -> RecipientAddress:
    stored = stored_address(channel, address)
    for each in current.addresses:
        if (each.channel, each.address) == (channel, stored):
            return each
    raise NotFoundError(f"{channel} address of recipient {current.id}", address)


def _others(each_of: Iterable[Any], its: RecipientAddress) -> list[Any]:
    return [each for each in each_of if (each.channel, each.address) != (its.channel, its.address)]
