"""A tenant's suppression list: the addresses that must not be used, whoever they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

import attrs

from ..changes import change
from ..codec import dumps
from ..errors import InvalidInputError
from ..models import checks
from ..models.addresses import MAX_ADDRESS
from ..models.checks import optional
from ..models.preferences import Purpose
from ..models.recipient import ADDRESS_CHECKS, SMS, locale_name, phone_number, spelled
from ..models.suppression import (
    DEFAULT_PURPOSES,
    SuppressedAddress,
    SuppressionEntry,
    SuppressionReason,
    listed_channel,
    normalized,
    suppression_id,
)
from ..policies.arguments import checked
from ..policies.keywords import Keyword, keyword_of
from ..ports import Clock, Store
from .imported import ImportReport
from .suppression_lines import fields_of, import_lines

#: Records that are read at a time for an export.
_PAGE = 1000
_ARGUMENTS: Mapping[str, checks.Check] = {
    "channel": listed_channel,
    "address": checks.text(most=MAX_ADDRESS),
    "reason": checks.one_of(SuppressionReason),
    "purposes": optional(checks.many(checks.one_of(Purpose), most=len(Purpose), what="purposes")),
    "evidence": checks.prose,
    "lines": checks.iterable,
    "format": checks.one_of({"jsonl", "csv"}),
    "progress": optional(checks.function),
    "write": checks.function,
    "from_": phone_number,
    "to": checks.text(most=MAX_ADDRESS, empty=True),
    "text": checks.string,
    "locale": optional(lambda value: locale_name(spelled(value))),
}
_checked = partial(checked, refusal=InvalidInputError, **_ARGUMENTS)


class Suppressions:
    """The suppression lists of tenants.

    An address on the list is not used, whichever recipient has it, from the next decision on: when an event is planned,
    and again when what waits is sent.  Only a hash of the address is kept (see
    :func:`~notifykit.models.suppression.suppression_id`), so the list stays when a person is erased.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @_checked()
    async def add(
        self,
        channel: str,
        address: str,
        *,
        tenant: str,
        reason: SuppressionReason | str = SuppressionReason.MANUAL,
        purposes: Iterable[Purpose | str] | None = None,
        evidence: str = "",
        until: datetime | None = None,
    ) -> SuppressedAddress:
        """Put an address on the list; what is there for the same reason is replaced, other reasons stay.

        Args:
            channel: ``email``, ``sms``, ``push`` …
            reason: See :class:`~notifykit.models.suppression.SuppressionReason`.
            purposes: Only for these; none (``()``) for every one.  By default ``unsubscribe`` counts for marketing,
                ``complaint`` for everything but security, and every other reason for all.
            evidence: What shows it, such as the answer of the mail server.
            until: Only until then.

        Raises:
            InvalidInputError: It is no address of that channel, or something else is not acceptable.
        """
        _require_address(channel, address)
        why = SuppressionReason(reason)
        entry = SuppressionEntry(
            reason=why,
            purposes=tuple(map(Purpose, DEFAULT_PURPOSES.get(why, ()) if purposes is None else purposes)),
            evidence=evidence,
            since=self._clock.now(),
            until=until,
        )
        return await change(
            lambda: self._read(channel, address, tenant),
            lambda current: current.with_entries([entry]),
            self._store.save,
        )

    @_checked()
    async def check(self, channel: str, address: str, *, tenant: str) -> SuppressedAddress | None:
        """Return what the list says of an address; ``None`` if it may be used.

        Entries that have ended are left out.

        Raises:
            InvalidInputError: It is no address of that channel.
        """
        _require_address(channel, address)
        found = await self._read(channel, address, tenant)
        now = self._clock.now()
        active = tuple(entry for entry in found.entries if entry.is_active(now))
        return attrs.evolve(found, entries=active) if active else None

    @_checked(reason=optional(checks.one_of(SuppressionReason)))
    async def remove(
        self, channel: str, address: str, *, tenant: str, reason: SuppressionReason | str | None = None
    ) -> bool:
        """Take an address off the list, so that it is used again; return whether it was on it.

        Args:
            reason: Only what is there for this reason.
        """
        removed = False

        def left(current: SuppressedAddress) -> SuppressedAddress:
            nonlocal removed
            kept = tuple(each for each in current.entries if reason is not None and each.reason != reason)
            removed = len(kept) < len(current.entries)
            return attrs.evolve(current, entries=kept) if removed else current

        # A record without entries stays: to remove it would take along what is added at the same time.
        await change(lambda: self._read(channel, address, tenant), left, self._store.save)
        return removed

    @checked()
    async def page(self, *, tenant: str, limit: int = 50, after: str | None = None) -> Sequence[SuppressedAddress]:
        """Return a page of the list in the order of the ids, from behind the id ``after``."""
        found: list[SuppressedAddress] = []
        while len(found) < limit:
            rows = await self._store.page(SuppressedAddress, tenant, limit=limit, after=after)
            found += [each for each in rows if each.entries]
            if len(rows) < limit:
                break
            after = rows[-1].id
        return found[:limit]

    @_checked(channel=optional(listed_channel))
    async def import_(
        self,
        lines: Iterable[str],
        *,
        tenant: str,
        format: str = "jsonl",
        channel: str | None = None,
        reason: SuppressionReason | str = SuppressionReason.MANUAL,
        progress: Callable[[ImportReport], None] | None = None,
    ) -> ImportReport:
        """Put an address on the list for each line, 500 in a transaction; lines that are wrong are reported.

        A line is a JSON object, or a row of CSV below a header, with ``channel``, ``address`` (or ``id``, as an export
        has it), ``reason``, ``purposes`` (in CSV separated by ``;``), ``evidence``, ``since`` and ``until``.

        Args:
            lines: An open text file, or any iterable of lines.
            format: ``jsonl`` or ``csv``.
            channel: Of lines that name none.
            reason: Of lines that name none.
            progress: Called after each transaction with the report so far.

        Raises:
            InvalidInputError: The header of a CSV file is wrong; nothing is saved.
        """
        defaults = {"channel": channel, "reason": SuppressionReason(reason).value}
        return await import_lines(
            self._store, self._clock, tenant, lines, format, defaults, progress or (lambda _: None)
        )

    @checked(write=checks.function)
    async def export(self, write: Callable[[str], object], *, tenant: str) -> int:
        """Write the whole list as lines of JSON that :meth:`import_` reads; return how many.

        Lines have the hashes of addresses, not the addresses, and can be imported for the same tenant only.

        Args:
            write: Called with each line: the ``write`` of an open text file.
        """
        count, after = 0, None
        while page := await self._store.page(SuppressedAddress, tenant, limit=_PAGE, after=after):
            for suppressed in page:
                for entry in suppressed.entries:
                    write(dumps(fields_of(suppressed, entry)).decode() + "\n")
                    count += 1
            after = page[-1].id
        return count

    @_checked()
    async def inbound_sms(
        self, from_: str, to: str, text: str, *, tenant: str, locale: str | None = None
    ) -> Keyword | None:
        """Do what a text message from a person asks for: STOP suppresses the number, START takes that back.

        START never lifts another reason, such as a number that does not exist.

        Args:
            from_: The person's number.
            to: Your own number or sender, for the record.
            locale: Of the person: words of its language count beside the English ones.

        Returns:
            The keyword that the message is, so that you can answer ``HELP``; ``None`` for any other message.
        """
        keyword = keyword_of(text, locale)
        if keyword is Keyword.STOP:
            evidence = f"SMS {text.strip()!r} to {to}" if to else f"SMS {text.strip()!r}"
            await self.add(SMS, from_, tenant=tenant, reason=SuppressionReason.STOP, evidence=evidence)
        elif keyword is Keyword.START:
            await self.remove(SMS, from_, tenant=tenant, reason=SuppressionReason.STOP)
        return keyword

    async def _read(self, channel: str, address: str, tenant: str) -> SuppressedAddress:
        id_ = suppression_id(tenant, channel, address)
        found = await self._store.get(SuppressedAddress, tenant, [id_])
        return found[0] if found else SuppressedAddress(id=id_, tenant=tenant, entries=())


def _require_address(channel: str, address: str) -> None:
    check = ADDRESS_CHECKS.get(channel)
    if check is not None and (wrong := check(normalized(channel, address))) is not None:
        raise InvalidInputError([f"address: {wrong}"])
