"""The decision for a person and a channel once more, written down as slowly and as plainly as its description reads.

It takes questions as ``notifykit decide`` does, knows nothing of the package but its topic patterns, and walks through
quiet hours minute by minute on the wall clock.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from notifykit.policies.patterns import TOPICS, compile_pattern

SCOPES = ["system", "type", "tenant", "recipient", "subscription"]
SHAPES = [{"type", "channel"}, {"type"}, {"category", "channel"}, {"category"}, {"channel"}, set[str]()]
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MINUTE = timedelta(minutes=1)


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is decided."""
    now = time(asked["now"])
    expires_at = asked["event"]["expires_at"] and time(asked["event"]["expires_at"])
    is_security = asked["type"]["purpose"] == "security"
    if expires_at and expires_at <= now:
        return skip("expired")
    rule = counting(asked) or {"value": "on", "locked": False}
    refusal = None if is_security else unwanted(rule, asked, now)
    refusal = refusal or unreachable(asked, now)
    if refusal is not None:
        return skip(refusal)
    if is_security:
        return {"verdict": "send", "code": "ok", "until": None, "digest": None}
    if not asked["tokens_left"]:
        return skip("capped")
    if rule["value"].startswith("digest:"):
        return {"verdict": "digest", "code": "digest", "until": None, "digest": rule["value"][len("digest:") :]}
    if asked["type"]["category"] not in asked["quiet_except"]:
        until = quiet_end(asked["quiet_hours"], ZoneInfo(asked["zone"]), now)
        if until is not None and expires_at and until >= expires_at:
            return skip("expired_in_quiet_hours")
        if until is not None:
            text = until.isoformat().replace("+00:00", "Z")
            return {"verdict": "defer", "code": "quiet_hours", "until": text, "digest": None}
    return {"verdict": "send", "code": "ok", "until": None, "digest": None}


def unwanted(rule: dict[str, Any], asked: dict[str, Any], now: datetime) -> str | None:
    """Return why the person does not want it."""
    if rule["value"] == "off":
        return "locked_off" if rule["locked"] else "turned_off"
    if any(mutes(mute, asked, now) for mute in asked["mutes"]) and not (rule["locked"] and rule["value"] == "on"):
        return "muted"
    if asked["type"]["purpose"] == "marketing" and "marketing" not in asked["consents"]:
        return "no_consent"
    return None


def unreachable(asked: dict[str, Any], now: datetime) -> str | None:
    """Return why no address can be used."""
    own = [each for each in asked["addresses"] if each["channel"] == asked["channel"]]
    active = [each for each in own if each["state"] == "active"]
    if not active:
        return "address_" + own[-1]["state"] if own else "no_address"
    purpose = asked["type"]["purpose"]
    if all(any(suppresses(each, address, purpose, now) for each in asked["suppressions"]) for address in active):
        return "suppressed"
    return None


def skip(code: str) -> dict[str, Any]:
    return {"verdict": "skip", "code": code, "until": None, "digest": None}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def facts(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that selectors name."""
    kind = asked["type"]
    return {**{name: kind[name] for name in ("category", "purpose")}, "type": kind["name"], "channel": asked["channel"]}


def counting(asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the setting that counts."""
    known = facts(asked)
    rules = [each for each in asked["settings"] if all(known[part] == value for part, value in each["select"].items())]
    locked = [each for each in rules if each["locked"]]
    scopes = SCOPES if locked else SCOPES[::-1]
    for scope in scopes:
        for shape in SHAPES:
            for rule in reversed(locked or rules):
                if rule["scope"] == scope and set(rule["select"]) == shape:
                    return dict(rule)
    return None


def mutes(mute: dict[str, Any], asked: dict[str, Any], now: datetime) -> bool:
    """Tell whether a mute denies it."""
    known = facts(asked)
    parts = dict(mute["select"])
    topic = parts.pop("topic", None)
    if topic is not None and not compile_pattern(topic, TOPICS)(asked["event"]["topic"] or ""):
        return False
    return (mute["until"] is None or time(mute["until"]) > now) and all(known[part] == parts[part] for part in parts)


def suppresses(each: dict[str, Any], address: dict[str, Any], purpose: str, now: datetime) -> bool:
    """Tell whether an address must not be used."""
    if (each["channel"], each["address"]) != (address["channel"], address["address"]):
        return False
    return (each["until"] is None or time(each["until"]) > now) and (
        not each["purposes"] or purpose in each["purposes"]
    )


# ── quiet hours ────────────────────────────────────────────────────────────────────────────────


def is_quiet(windows: Sequence[dict[str, Any]], wall: datetime) -> bool:
    """Tell whether a time of the wall clock lies in a window that begins on its day or on the day before."""
    wall = wall.replace(tzinfo=None)
    for window in windows:
        for date in (wall.date(), wall.date() - timedelta(days=1)):
            if DAYS[date.weekday()] in window["days"]:
                begin = datetime.fromisoformat(f"{date}T{window['from']}")
                end = datetime.fromisoformat(f"{date}T{window['to']}")
                if end <= begin:
                    end += timedelta(days=1)
                if begin <= wall < end:
                    return True
    return False


def quiet_end(windows: Sequence[dict[str, Any]], zone: ZoneInfo, now: datetime) -> datetime | None:
    """Walk from minute to minute until it is not quiet."""
    if not is_quiet(windows, now.astimezone(zone)):
        return None
    at = now.replace(second=0, microsecond=0)
    while is_quiet(windows, at.astimezone(zone)):
        at += MINUTE
    return at


# ── questions ──────────────────────────────────────────────────────────────────────────────────

ZONES = [
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "America/St_Johns",
    "Asia/Gaza",
]
PURPOSES = ["transactional", "marketing", "security"]
TYPES = [("comment.created", "collaboration"), ("invoice.due", "billing"), ("order.shipped", "orders")]
CHANNELS = ["email", "sms", "push"]
TOPICS_ASKED = ["project/7/thread/88", "project/9", None]
PATTERNS = ["project/7/**", "project/*/thread/88", "**", "project/8/**", "*/9"]


def question(rng: random.Random, *, windows: int = 0) -> dict[str, Any]:
    """Return any question, with so many windows of quiet hours at the most."""
    kind, category = rng.choice(TYPES)
    purpose = rng.choices(PURPOSES, [6, 3, 1])[0]
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(525_600), seconds=rng.choice([0, 1, 59]))

    def when() -> str:
        return (now + timedelta(minutes=rng.choice([-60, 0, 1, 60, 600, 2000]))).isoformat()

    addresses = [
        {
            "channel": rng.choice(CHANNELS),
            "address": f"a{at}",
            "state": rng.choice(["active", "active", "unverified", "gone"]),
        }
        for at in range(rng.randrange(4))
    ]
    return {
        "now": now.isoformat(),
        "channel": rng.choice(CHANNELS),
        "type": {"name": kind, "category": category, "purpose": purpose},
        "event": {"topic": rng.choice(TOPICS_ASKED), "expires_at": when() if rng.random() < 0.3 else None},
        "settings": [setting(rng, purpose) for _ in range(rng.randrange(6))],
        "mutes": [mute(rng, when) for _ in range(rng.choice([0, 0, 1, 2]))],
        "consents": rng.choice([[], ["marketing"], ["marketing", "transactional"]]),
        "tokens_left": rng.random() < 0.8,
        "addresses": addresses,
        "suppressions": [
            {
                "channel": rng.choice(CHANNELS),
                "address": f"a{rng.randrange(3)}",
                "purposes": rng.choice([[], ["marketing"], ["transactional", "security"]]),
                "until": rng.choice([None, when()]),
            }
            for _ in range(rng.choice([0, 0, 1, 4]))
        ],
        "zone": rng.choice(ZONES),
        "quiet_hours": [window(rng) for _ in range(rng.randrange(windows + 1))],
        "quiet_except": rng.choice([[], ["billing"], ["billing", "orders"]]),
    }


def setting(rng: random.Random, purpose: str) -> dict[str, Any]:
    scope = rng.choice(SCOPES)
    value = rng.choice(["on", "off", "digest:daily", "digest:weekly"])
    locked = scope in SCOPES[:3] and rng.random() < 0.25 and not (purpose == "marketing" and value == "on")
    shape = rng.choice(SHAPES)
    named = {"type": rng.choice([*(kind for kind, _ in TYPES), "other.type"]), "channel": rng.choice(CHANNELS)}
    named["category"] = rng.choice([*(category for _, category in TYPES), "other"])
    return {"scope": scope, "select": {part: named[part] for part in shape}, "value": value, "locked": locked}


def mute(rng: random.Random, when: Any) -> dict[str, Any]:
    named = {
        "type": rng.choice([kind for kind, _ in TYPES]),
        "category": rng.choice([category for _, category in TYPES]),
        "channel": rng.choice(CHANNELS),
        "topic": rng.choice(PATTERNS),
        "purpose": rng.choice(PURPOSES),
    }
    parts = [part for part in named if rng.random() < 0.3]
    return {"select": {part: named[part] for part in parts}, "until": rng.choice([None, when()])}


def window(rng: random.Random) -> dict[str, Any]:
    def clock() -> str:
        return f"{rng.randrange(24):02}:{rng.choice([0, 15, 30, 45, 59]):02}"

    # None begins on a Wednesday, so that they never cover the whole week.
    days = [day for day in rng.choice([DAYS[:6], DAYS[5:], rng.sample(DAYS, 3)]) if day != "wed"]
    return {"days": days, "from": clock(), "to": clock()}
