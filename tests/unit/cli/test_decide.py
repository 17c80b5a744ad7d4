"""``notifykit decide``: one answer for each question, in order, whatever stands on the lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.cli import decide as command
from notifykit.models import quiet_hours
from tests.shared_data import shared_data
from tests.unit.cli.driving import Answer, Command, start

Ask = Callable[..., Answer]
GOOD: dict[str, Any] = {
    "now": "2026-03-28T22:30:00Z",
    "channel": "email",
    "type": {"name": "comment.created", "category": "comments", "purpose": "transactional"},
    "event": {"topic": "project/7", "expires_at": None},
    "settings": [{"scope": "tenant", "select": {"category": "comments"}, "value": "on", "locked": False}],
    "mutes": [{"select": {"topic": "project/8/**"}, "until": None}],
    "consents": ["marketing"],
    "tokens_left": True,
    "addresses": [{"channel": "email", "address": "ada@example.org", "state": "active"}],
    "suppressions": [{"channel": "email", "address": "old@example.org", "purposes": ["marketing"], "until": None}],
    "zone": "Europe/Berlin",
    "quiet_hours": [{"days": ["sat"], "from": "22:00", "to": "07:00"}],
    "quiet_except": ["billing"],
}
DEFERRED = {"verdict": "defer", "code": "quiet_hours", "until": "2026-03-29T05:00:00Z", "digest": None}
TIME = "must be a time with its zone, as in 2026-03-29T00:30:00Z"
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@pytest.fixture
def ask(cli: Command, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask on stdin, one question a line; bytes are given as they are."""

    def run(*questions: object, options: tuple[str, ...] = ()) -> Answer:
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in questions]
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"\n".join(lines))))
        return cli("decide", *options)

    return run


def problems(answer: Answer) -> list[tuple[str, str]]:
    return [(each["path"], each["message"]) for each in answer.record["problems"]]


def test_the_cases_of_the_contract_are_decided_as_it_says(ask):
    """Each question of the shared file has the answer that stands beside it."""
    cases = [json.loads(line) for line in shared_data("decide-cases.jsonl").read_bytes().splitlines()]

    answer = ask(*(case["in"] for case in cases))

    assert 0 == answer.code
    assert [case["out"] for case in cases] == answer.records


def test_what_need_not_be_said_may_be_left_out(ask):
    """Without settings, addresses and the like there are none; the zone is UTC, and tokens are left."""
    needed = {name: GOOD[name] for name in ("now", "channel", "type")}
    reached = needed | {"addresses": GOOD["addresses"]}
    short = {
        "settings": [{"scope": "system", "select": {}, "value": "on"}],
        "mutes": [{"select": {"channel": "sms"}}],
        "suppressions": [{"channel": "email", "address": "old@example.org"}],
        "quiet_hours": [{"days": ["sat"], "from": "22:30", "to": "22:31"}],
    }

    answers = ask(needed, reached, reached | short).records

    assert ["no_address", "ok", "quiet_hours"] == [each["code"] for each in answers]
    assert "2026-03-28T22:31:00Z" == answers[-1]["until"]


def test_a_sentence_for_people_comes_with_explain(ask):
    """The codes are the contract, the sentences are for people."""
    answer = ask(GOOD, options=("--explain",))

    assert DEFERRED | {"sentence": "It waits until the quiet hours end."} == answer.record


def test_a_bad_line_is_answered_in_its_place_and_the_others_go_on(ask):
    """Blank lines are no questions; the exit code says that one could not be decided."""
    answer = ask(GOOD, b"", b"{", b" \t\r", GOOD, b"\xff", GOOD)

    assert 1 == answer.code
    assert ["quiet_hours", None, "quiet_hours", None, "quiet_hours"] == [each.get("code") for each in answer.records]
    assert "line 3 was not decided: 1 problem; what is asked for: notifykit decide --help" == answer.records[1]["error"]
    assert [{"path": "$", "message": "not UTF-8 at byte 1"}] == answer.records[3]["problems"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"zone": "Mars/Base"}, [("zone", "there is no time zone 'Mars/Base'; …")]),
        *(
            ({"zone": name}, [("zone", f"there is no time zone {name!r}; …")])
            for name in ("Europe", "europe/berlin", "../UTC", "/etc/passwd", "localtime", "posix/UTC", "UTC\0", "")
        ),
        ({"zone": None}, [("zone", "must be the name of a time zone such as Europe/Berlin, not None")]),
        *(({"now": now}, [("now", TIME)]) for now in ("2026-03-28T22:30:00", "2026-03-28", "now", 5, None, ["x"])),
        ({"now": "9999-12-31T23:59:59Z"}, [("now", "is out of range")]),
        ({"now": "0001-01-01T00:00:00+14:00"}, [("now", "is out of range")]),
        ({"channel": ""}, [("channel", "is empty")]),
        ({"channel": ["email"]}, [("channel", "must be text, not list")]),
        ({"type": "comment.created"}, [("type", "must be an object, not str")]),
        (
            {"type": {"name": "comment.*", "category": "", "purpose": "advertising", "kind": 1}},
            [
                ("type.name", "must be words joined by full stops, no pattern"),
                ("type.category", "is empty"),
                ("type.purpose", "must be one of marketing, security, transactional, not 'advertising'"),
                ("type.kind", "is unknown; known are name, category, purpose"),
            ],
        ),
        ({"type": {"name": 1, "category": 2}}, [
            ("type.name", "must be text, not int"),
            ("type.category", "must be text, not int"),
            ("type.purpose", "is missing"),
        ]),
        ({"event": {"topic": "", "expires_at": "soon"}}, [("event.topic", "is empty"), ("event.expires_at", TIME)]),
        (
            {"settings": [{"scope": "galaxy", "select": {"topic": "x"}, "value": "maybe", "locked": "yes"}]},
            [
                ("settings[0].scope", "must be one of recipient, subscription, system, tenant, type, not 'galaxy'"),
                ("settings[0].select.topic", "is unknown; known are type, category, channel"),
                ("settings[0].value", "must be on, off or digest:NAME, not 'maybe'"),
                ("settings[0].locked", "must be true or false, not str"),
            ],
        ),
        *(
            (
                {"settings": [{"scope": scope, "select": {}, "value": "off", "locked": True}]},
                [("settings[0].locked", f"a setting of scope {scope} cannot be locked")],
            )
            for scope in ("recipient", "subscription")
        ),
        (
            {"settings": [{"scope": "type", "select": {"type": "a", "category": "b"}, "value": "digest:"}, 5]},
            [
                ("settings[0].select.category", "a setting is about a type or about a category, not both"),
                ("settings[0].value", "the name of the digest is empty"),
                ("settings[1]", "must be an object, not int"),
            ],
        ),
        ({"settings": [{"scope": "type", "select": {}, "value": True}]}, [
            ("settings[0].value", "must be on, off or digest:NAME, not bool"),
        ]),
        ({"settings": {}}, [("settings", "not a valid list")]),
        (
            {"mutes": [{"select": {"topic": "a/b**", "purpose": "x"}, "until": "never"}, {"select": {"topic": 7}}, {}]},
            [
                ("mutes[0].select.topic", "word 2 has a wildcard inside; a wildcard is a word of its own"),
                ("mutes[0].select.purpose", "must be one of marketing, security, transactional, not 'x'"),
                ("mutes[0].until", TIME),
                ("mutes[1].select.topic", "must be text"),
                ("mutes[2].select", "is missing"),
            ],
        ),
        ({"consents": "marketing"}, [("consents", "not a valid list")]),
        ({"consents": ["all"]}, [("consents[0]", "must be one of transactional, marketing, security")]),
        ({"tokens_left": 1}, [("tokens_left", "must be true or false, not int")]),
        (
            {"addresses": [{"channel": "email", "address": "", "state": "bounced"}]},
            [
                ("addresses[0].address", "is empty"),
                ("addresses[0].state", "must be one of active, gone, suppressed, unverified, not 'bounced'"),
            ],
        ),
        (
            {"suppressions": [{"channel": "email", "address": "a", "purposes": ["all"], "until": 1}]},
            [
                ("suppressions[0].purposes[0]", "must be one of transactional, marketing, security"),
                ("suppressions[0].until", TIME),
            ],
        ),
        (
            {"quiet_hours": [{"days": ["monday", "tue"], "from": "24:00", "to": "7:00", "a: b'": 1}]},
            [
                ("quiet_hours[0].days[0]", "must be one of mon, tue, wed, thu, fri, sat, sun"),
                ("quiet_hours[0].from", "must be a time from 00:00 to 23:59, with two digits each"),
                ("quiet_hours[0].to", "must be a time from 00:00 to 23:59, with two digits each"),
                ('quiet_hours[0]["a: b\'"]', "is unknown; known are days, from, to"),
            ],
        ),
        ({"quiet_hours": [{"days": ["mon"], "to": 7}]}, [
            ("quiet_hours[0].from", "is missing"),
            ("quiet_hours[0].to", "must be a time such as 22:00, not int"),
        ]),
        *(
            (
                {"quiet_hours": windows},
                [("quiet_hours", "the windows cover the whole week, …")],
            )
            for windows in (
                [{"days": DAYS, "from": "09:00", "to": "09:00"}],
                [{"days": DAYS, "from": "22:00", "to": "07:00"}, {"days": DAYS, "from": "07:00", "to": "22:00"}],
                [{"days": DAYS[:6], "from": "12:00", "to": "12:00"}, {"days": ["sun"], "from": "11:59", "to": "11:58"},
                 {"days": ["mon"], "from": "11:58", "to": "12:01"}],
            )
        ),
        ({"quiet_except": [1, ""]}, [("quiet_except[0]", "not a valid str")]),
        ({"quiet_except": [""]}, [("quiet_except", "[0] is empty")]),
        ({"colour": "red"}, [("colour", "is unknown; known are now, channel, type, event, …")]),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)  # fmt: skip
def test_bad_input_is_told_with_every_problem_and_its_path(ask, change, expected):
    """All that is wrong with a line comes at once, and where it is."""
    answer = ask(GOOD | change)

    assert 1 == answer.code
    found = problems(answer)
    assert [path for path, _ in expected] == [path for path, _ in found]
    for (_, message), (_, said) in zip(expected, found, strict=True):
        assert said.startswith(message.removesuffix("…")) if message.endswith("…") else message == said


def test_marketing_cannot_be_locked_on(ask):
    """Each lock is named; a lock that turns marketing off is fine."""
    lock = {"scope": "tenant", "select": {}, "value": "on", "locked": True}
    marketing = GOOD | {"type": {"name": "sale", "category": "offers", "purpose": "marketing"}}

    refused = ask(marketing | {"settings": [lock, lock | {"value": "off"}, lock | {"scope": "system"}]})
    allowed = ask(marketing | {"settings": [lock | {"value": "off"}]}, GOOD | {"settings": [lock]})

    wrong = "marketing cannot be locked on; lock it off, or leave it unlocked"
    assert [("settings[0].locked", wrong), ("settings[2].locked", wrong)] == problems(refused)
    assert ["locked_off", "quiet_hours"] == [each["code"] for each in allowed.records]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[]", "must be an object, not list"),
        (b"5", "must be an object, not int"),
        (b"null", "must be an object, not None"),
        (b'{"now": NaN}', "not JSON: NaN is not JSON"),
        (b'{"now": -Infinity}', "not JSON: -Infinity is not JSON"),
        (b'{"now": 1e999}', "not JSON: a number is too large"),
        (b'{"now": ' + b"9" * 10_000 + b"}", "not JSON: a number is too large"),
        (b'{"a":' * 5_000, "not JSON: nested too deeply"),
        (b'{"now": "\\ud800"}', "has half of a surrogate pair, which is no character"),
        (b"{'now': 1}", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\x00", "not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_json_object_is_told_as_a_whole(ask, line, message):
    """The path ``$`` stands for the line itself."""
    assert [("$", message)] == problems(ask(line))


def test_a_key_that_is_given_twice_is_a_problem(ask):
    """Which of the two values was meant cannot be known; the rest is checked all the same."""
    text = json.dumps(GOOD).encode()
    twice = text[:-1] + b', "zone": "UTC", "event": {"topic": "a", "topic": "b"}, "quiet_except": 1}'

    found = dict(problems(ask(twice)))

    assert {"zone", "event", "event.topic", "quiet_except"} == found.keys() - {"quiet_except_"}
    assert "is given more than once" == found["event.topic"]


def test_a_line_of_any_length_takes_little_memory(ask, monkeypatch):
    """What is too long is passed over, and the lines after it are read."""
    monkeypatch.setattr(command, "MAX_LINE", 2_000)

    answer = ask(b'{"channel": "' + b"x" * 300_000 + b'"}', GOOD, b"y" * 2_001)

    assert [None, "quiet_hours", None] == [each.get("code") for each in answer.records]
    assert (
        [{"path": "$", "message": "longer than 2000 bytes"}]
        == answer.records[0]["problems"]
        == answer.records[2]["problems"]
    )


def test_a_hundred_thousand_wrong_items_are_told_by_the_first_ones(ask):
    """A list is given up after fifty of them."""
    found = problems(ask(GOOD | {"settings": [5] * 100_000, "zone": 5}))

    assert ["settings[0]", "settings[49]", "zone"] == [found[0][0], found[49][0], found[50][0]]


def test_another_program_may_ask_one_question_after_the_other():
    """Each answer is written before the next question is read."""
    with start("decide", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(json.dumps(GOOD) + "\n")
            process.stdin.flush()
            assert DEFERRED == json.loads(process.stdout.readline())
        process.stdin.close()
        assert 0 == process.wait(timeout=60)


def test_a_stand_in_for_stdin_may_be_a_text_stream(cli, monkeypatch):
    """As under a test runner or in a notebook."""
    monkeypatch.setattr(sys, "stdin", StringIO(json.dumps(GOOD)))

    assert DEFERRED == cli("decide").record


def test_a_machine_without_time_zones_is_told_what_to_install(ask, monkeypatch):
    """The message names the package; UTC needs none."""

    def none_there(name: str) -> Any:
        raise LookupError(name)

    monkeypatch.setattr(quiet_hours, "ZoneInfo", none_there)
    quiet_hours.zone_named.cache_clear()
    try:
        here, utc = ask(GOOD, GOOD | {"zone": "UTC"}).records
    finally:
        quiet_hours.zone_named.cache_clear()

    told = "this machine has no time zones: install its package tzdata, or pip install tzdata"
    assert [{"path": "zone", "message": told}] == here["problems"]
    assert "quiet_hours" == utc["code"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "from", "to", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(name=st.sampled_from([*GOOD]), value=JSON)
def test_any_value_of_any_part_is_decided_or_told(name, value):
    """There is one answer, and it is an answer or a list of problems with paths."""
    found = command.answer(json.dumps(GOOD | {name: value}).encode())

    assert {"verdict", "code", "until", "digest"} == found.keys() or all(
        set(each) == {"path", "message"} and each["path"] and each["message"] for each in found["problems"]
    )


@given(line=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_answered(line):
    """Nothing that stands on a line ends the command."""
    assert command.answer(line)["problems"]
