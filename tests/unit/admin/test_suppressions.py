"""``kit.suppressions``: addresses are put on the list, looked up, taken off, imported and exported."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from notifykit import InvalidInputError, Notifykit
from notifykit.models.preferences import Purpose
from notifykit.models.suppression import SuppressedAddress, SuppressionReason, suppression_id
from notifykit.models.unreadable import UnreadableSuppression
from notifykit.policies.keywords import Keyword
from notifykit.testing import FakeClock

ACME = "acme"
MAIL, PHONE = "ada@example.org", "+4915123456789"
HOUR = timedelta(hours=1)


def said(suppressed: SuppressedAddress | None) -> list[tuple[str, tuple[str, ...]]]:
    """Return reasons and purposes."""
    return [] if suppressed is None else [(each.reason.value, tuple(each.purposes)) for each in suppressed.entries]


async def test_an_address_is_suppressed_for_each_reason_until_it_is_removed(kit: Notifykit, clock: FakeClock) -> None:
    """The same reason again replaces what was there; one reason can be removed alone."""
    its = kit.suppressions
    await its.add("email", MAIL, tenant=ACME, reason="hard_bounce", evidence="550 5.1.1")
    first = await its.add("email", MAIL.upper(), tenant=ACME, reason="complaint", until=clock.now() + HOUR)
    same = await its.add("email", MAIL, tenant=ACME, reason="complaint", until=clock.now() + HOUR)
    found = await its.check("email", "Ada@Example.ORG", tenant=ACME)
    clock.advance(HOUR)
    later = await its.check("email", MAIL, tenant=ACME)
    removed = [await its.remove("email", MAIL, tenant=ACME, reason="hard_bounce") for _ in range(2)]
    ended = await its.check("email", MAIL, tenant=ACME)
    all_of_it = [await its.remove("email", MAIL, tenant=ACME) for _ in range(2)]

    both = [("hard_bounce", ()), ("complaint", ("marketing", "transactional"))]
    assert (both, first) == (said(found), same)
    assert (both[:1], []) == (said(later), said(ended))
    assert ([True, False], [True, False]) == (removed, all_of_it)
    assert await its.check("email", MAIL, tenant="globex") is None


@pytest.mark.parametrize(
    ("reason", "purposes", "expected"),
    [
        ("unsubscribe", None, ["marketing"]),
        ("unsubscribe", [], []),
        ("manual", None, []),
        ("stop", ["transactional"], ["transactional"]),
    ],
)
async def test_a_reason_says_for_which_purposes(kit: Notifykit, reason: str, purposes: Any, expected: Any) -> None:
    """Unless the caller does; none at all means every one."""
    found = await kit.suppressions.add("sms", PHONE, tenant=ACME, reason=reason, purposes=purposes)

    assert [(reason, tuple(map(Purpose, expected)))] == said(found)


@pytest.mark.parametrize(
    ("channel", "address", "options", "problem"),
    [
        ("email", "ada", {}, "address: is no e-mail address"),
        ("sms", "12", {}, "address: is no telephone number"),
        ("in_app", "user:42", {}, "channel: in_app has no suppression list"),
        ("email", MAIL, {"reason": "spam"}, "reason: must be one of"),
        ("email", MAIL, {"purposes": ["all"]}, "purposes:"),
    ],
)
async def test_what_cannot_be_suppressed_is_refused(
    kit: Notifykit, channel: str, address: str, options: Any, problem: str
) -> None:
    """With the argument's name."""
    with pytest.raises(InvalidInputError, match=problem):
        await kit.suppressions.add(channel, address, tenant=ACME, **options)


async def test_what_is_no_address_is_not_called_free(kit: Notifykit) -> None:
    """Nothing can be said of it."""
    with pytest.raises(InvalidInputError, match="address: is no telephone number"):
        await kit.suppressions.check("sms", "0151", tenant=ACME)


async def test_changes_at_the_same_time_are_all_kept(kit: Notifykit) -> None:
    """A receipt and an operator do not undo each other; what is added while all is removed may stay."""
    reasons = list(SuppressionReason)
    await asyncio.gather(*(kit.suppressions.add("email", MAIL, tenant=ACME, reason=each) for each in reasons))

    assert sorted(reasons) == sorted(
        reason for reason, _ in said(await kit.suppressions.check("email", MAIL, tenant=ACME))
    )


async def test_the_list_comes_in_pages(kit: Notifykit) -> None:
    """Without what was taken off it."""
    for number in range(7):
        await kit.suppressions.add("email", f"{number}@example.org", tenant=ACME)
    for number in (1, 3, 5):
        await kit.suppressions.remove("email", f"{number}@example.org", tenant=ACME)

    first = await kit.suppressions.page(tenant=ACME, limit=3)
    rest = await kit.suppressions.page(tenant=ACME, limit=3, after=first[-1].id)

    expected = sorted(suppression_id(ACME, "email", f"{number}@example.org") for number in (0, 2, 4, 6))
    assert expected == [each.id for each in (*first, *rest)]


async def test_what_is_exported_can_be_imported(kit: Notifykit) -> None:
    """Through hashes: no address leaves the store."""
    await kit.suppressions.add("email", MAIL, tenant=ACME, reason="complaint", evidence="letter ☃")
    await kit.suppressions.add("email", MAIL, tenant=ACME, reason="manual", purposes=["security"])
    await kit.suppressions.add("sms", PHONE, tenant=ACME, reason="stop")
    lines: list[str] = []

    count = await kit.suppressions.export(lines.append, tenant=ACME)
    async with Notifykit("memory://") as other:
        report = await other.suppressions.import_(lines, tenant=ACME)
        again = await other.suppressions.import_(lines, tenant=ACME)
        copied = [await other.suppressions.check(*each, tenant=ACME) for each in (("email", MAIL), ("sms", PHONE))]

    assert (3, 3, 2, 0) == (count, report.lines, report.saved, again.saved)
    assert [await kit.suppressions.check(*each, tenant=ACME) for each in (("email", MAIL), ("sms", PHONE))] == [
        SuppressedAddress(id=each.id, tenant=ACME, entries=each.entries, version=version)
        for each, version in zip(copied, (2, 1), strict=True)
        if each is not None
    ]
    assert MAIL not in "".join(lines)


async def test_every_bad_line_is_reported(kit: Notifykit) -> None:
    """With its number; the others are saved, several lines of one address in one record."""
    lines = [
        '{"channel": "email", "address": "ada@example.org", "reason": "stop", "since": "2026-01-01T00:00:00Z"}\n',
        '{"channel": "email", "address": "ADA@example.org", "purposes": ["marketing"]}\n',
        "\n",
        "{nonsense\n",
        "[]\n",
        '{"address": "ada@example.org"}\n',
        '{"channel": "email"}\n',
        '{"channel": "email", "address": "ada@example.org", "id": "email:1"}\n',
        '{"channel": "sms", "address": "12"}\n',
        '{"channel": "webhook", "address": "x"}\n',
        '{"channel": "email", "address": "a@example.org", "reason": "spam", "when": 1}\n',
        "\udcff\n",
    ]
    seen: list[int] = []

    report = await kit.suppressions.import_(lines, tenant=ACME, progress=lambda so_far: seen.append(so_far.lines))

    found = await kit.suppressions.check("email", MAIL, tenant=ACME)
    assert [("stop", ()), ("manual", ("marketing",))] == said(found)
    assert ([11], 1) == (seen, report.saved)
    expected = {
        4: "is not JSON",
        5: "must be a JSON object",
        6: "channel: is missing",
        7: "address: give either",
        8: "id: is no id",
        9: "address: is no telephone number",
        10: "channel: webhook has no",
        11: "when: is unknown",
        12: "is not UTF-8",
    }
    assert [*expected] == [problem.line for problem in report.problems]
    assert [] == [problem for line, problem in report.problems if expected[line] not in problem]


async def test_rows_of_csv_are_imported(kit: Notifykit) -> None:
    """An empty cell says nothing, and what the caller says counts then."""
    rows = [
        "address,reason,purposes\n",
        "ada@example.org,,\n",
        ",,\n",
        "b@example.org,complaint,marketing; security\n",
        "c\n",
    ]

    report = await kit.suppressions.import_(rows, tenant=ACME, format="csv", channel="email", reason="hard_bounce")
    found = [said(await kit.suppressions.check("email", f"{name}@example.org", tenant=ACME)) for name in ("ada", "b")]

    assert [[("hard_bounce", ())], [("complaint", ("marketing", "security"))]] == found
    assert [(5, "has 1 cells, and the header 3")] == report.problems
    with pytest.raises(InvalidInputError, match=r"header: has no column address; header: 'e-mail' is unknown"):
        await kit.suppressions.import_(["e-mail\n"], tenant=ACME, format="csv")


async def test_stop_and_start_by_text_message(kit: Notifykit) -> None:
    """START takes back what STOP did, and nothing else; other messages do nothing."""
    its = kit.suppressions
    await its.add("sms", PHONE, tenant=ACME, reason="manual", purposes=["marketing"])

    async def sms(text: str, **options: Any) -> tuple[Keyword | None, list[Any]]:
        keyword = await its.inbound_sms(PHONE, "+15550001", text, tenant=ACME, **options)
        return keyword, said(await its.check("sms", PHONE, tenant=ACME))

    manual, stop = ("manual", ("marketing",)), ("stop", ())
    assert (Keyword.STOP, [manual, stop]) == await sms("Stop.")
    found = await its.check("sms", PHONE, tenant=ACME)
    assert "SMS 'Stop.' to +15550001" == (found.entries[1].evidence if found else None)
    assert (Keyword.HELP, [manual, stop]) == await sms("HELP")
    assert (None, [manual, stop]) == await sms("start with the soup")
    assert (Keyword.START, [manual]) == await sms("START")
    assert (Keyword.STOP, [manual, stop]) == await sms("arrêt", locale="fr")
    with pytest.raises(InvalidInputError, match="from_: is no telephone number"):
        await its.inbound_sms("shortcode", "", "STOP", tenant=ACME)


async def test_a_damaged_row_is_never_written_over(kit: Notifykit, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import names the line, and goes on with the others."""
    broken = UnreadableSuppression(id=suppression_id(ACME, "email", MAIL), tenant=ACME, entries=[])
    get = kit.store.get

    async def damaged(kind: Any, tenant: str, ids: Any) -> list[Any]:
        return [broken] if broken.id in ids else await get(kind, tenant, ids)

    monkeypatch.setattr(kit.store, "get", damaged)
    report = await kit.suppressions.import_([f'{{"channel": "email", "address": "{MAIL}"}}'], tenant=ACME)

    assert (0, 1) == (report.saved, report.problems[0].line)
    assert "is damaged" in report.problems[0].problem
