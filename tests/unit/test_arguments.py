"""Wrong arguments, of every kind and everywhere: one clear error of the library's that names the argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import product
from typing import Any

import attrs
import pytest

import notifykit
from notifykit import (
    ConfigurationError,
    DeliveryFilter,
    DeliveryState,
    DispatchSettings,
    EgressRules,
    Event,
    EventType,
    InvalidEventError,
    InvalidInputError,
    KeyRing,
    Limits,
    Notifykit,
    NotifykitError,
    Priority,
    RateLimit,
    Resource,
    RetryPolicy,
    signing,
)
from notifykit.admin import (
    ApiKeys,
    Deliveries,
    Endpoints,
    Events,
    Preferences,
    Recipients,
    Subscriptions,
    TenantSettings,
)
from notifykit.catalog import EventCatalog
from notifykit.models import checks
from notifykit.ports import EventFilter
from notifykit.publisher import PublishOptions
from notifykit.signing import generate_secret

ACME = "acme"
URL = "http://127.0.0.1:8080/hooks"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def shared(levels: int) -> dict[str, Any]:
    """Return an object of so many levels that unfolds to 2 ** levels of them."""
    value: dict[str, Any] = {"end": 1}
    for _ in range(levels):
        value = {"left": value, "right": value}
    return value


#: A value of every kind that a caller may pass by mistake, or as an attack.
CORPUS: tuple[Any, ...] = (
    None,
    True,
    5,
    -1,
    2**70,
    10**5000,
    2.5,
    float("inf"),
    float("nan"),
    "",
    "\0",
    "\ud800",
    "x" * 100_000,
    b"x",
    [],
    [[]],
    ["\ud800"],
    {},
    {"a": object()},
    {5: 5},
    shared(24),
    {1, 2},
    object(),
    object,
    len,
    datetime(2026, 3, 1),  # noqa: DTZ001
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    timedelta(-1),
    timedelta.max,
    Priority.HIGH,
)


def what_is_raised(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - that is the question
        return error
    return None


def require_clear(error: Exception | None, argument: str, value: object) -> None:
    """Fail unless ``error`` is none, or one of the library's that names the argument and is short."""
    if error is None:
        return
    shown = f"a {type(value).__name__} for {argument} raised {type(error).__name__}: {error!s:.200}"
    assert isinstance(error, NotifykitError), shown
    assert len(str(error)) < 20_000, shown
    if isinstance(error, InvalidInputError | ConfigurationError):
        assert argument in str(error).lower(), shown


# ── the methods of a kit ───────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request) -> str:
    return "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_store_url")


@pytest.fixture
async def kit(url) -> Any:
    async with Notifykit(url, egress=EgressRules(allow=["127.0.0.0/8"], allow_http=True)) as kit:
        yield kit


@pytest.fixture
async def given(kit) -> Mapping[str, Any]:
    """A good value for every parameter, by its name."""
    subscription, endpoint = await kit.subscribe("**", tenant=ACME, endpoint=URL)
    receipt = await kit.apublish(Event(type="order.paid", data={}), tenant=ACME)
    key, _ = await kit.api_keys.create(tenant=ACME, role="viewer")
    return {
        "tenant": ACME,
        "endpoint_id": endpoint.id,
        "subscription_id": subscription.id,
        "delivery_id": "dlv_01M8HNSN7R9CWPDW9SW06TBYW4AAAAAAAAAAAAA",
        "event_id": receipt.event_id,
        "url": URL,
        "endpoint": endpoint.id,
        "event_types": "order.*",
        "secret": generate_secret(),
        "since": NOW,
        "headers": {},
        "wanted": DeliveryFilter(),
        "what": receipt.event_id,
        "recipient_id": (await kit.recipients.save("user:42", tenant=ACME, email="ada@example.org")).id,
        "channel": "email",
        "address": "ada@example.org",
        "lines": [],
        "value": "off",
        "token": "ab" * 32,
        "settings": (),
        "role": "viewer",
        "key_id": key.id,
        "key": key,
        "locale": None,
        "zone": None,
    }


def methods() -> Iterator[tuple[str, str]]:
    """Yield every public coroutine of a kit's parts, and those of the kit that take arguments of an operator."""
    for part, of in (
        ("endpoints", Endpoints),
        ("subscriptions", Subscriptions),
        ("deliveries", Deliveries),
        ("events", Events),
        ("recipients", Recipients),
        ("preferences", Preferences),
        ("api_keys", ApiKeys),
        ("tenant_preferences", TenantSettings),
    ):
        for name, member in vars(of).items():
            if inspect.iscoroutinefunction(member) and not name.startswith("_"):
                yield part, name
    yield "", "subscribe"
    yield "", "accept"
    yield "", "explain"


def parameters_of(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(method).parameters
    return {name: each for name, each in found.items() if each.kind is not each.VAR_KEYWORD}


def part_of(kit: Notifykit, name: str) -> Any:
    """Return a part of a kit; preferences are those of one person, or of one tenant."""
    match name:
        case "preferences":
            return kit.preferences("user:42", tenant=ACME)
        case "tenant_preferences":
            return kit.tenant_preferences(tenant=ACME)
        case _:
            return getattr(kit, name)


@pytest.mark.parametrize(("part", "name"), list(methods()), ids=lambda value: value)
async def test_every_method_answers_every_wrong_value_clearly(kit, given, part, name):
    """Any value for an argument: the call works, or an error of the library names the wrong argument."""
    method = getattr(part_of(kit, part) if part else kit, name)
    parameters = parameters_of(method)
    good = {key: given[key] for key, each in parameters.items() if each.default is each.empty}
    if (part, name) == ("subscriptions", "create"):
        good["endpoint_id"] = given["endpoint_id"]  # or else subscriber, channel and address
    if name == "subscribe":
        good["endpoint"] = given["endpoint"]  # or else a recipient

    for argument in parameters:
        for value in CORPUS:
            error = None
            try:
                await method(**{**good, argument: value})
            except Exception as raised:  # noqa: BLE001 - that is the question
                error = raised
            require_clear(error, argument, value)
            if type(value) is object:
                assert isinstance(error, InvalidInputError), f"{argument} takes any object"
            if isinstance(value, str) and value in {"\0", "\ud800"}:
                assert isinstance(error, NotifykitError), f"{argument} takes what no store can keep"


async def test_changes_of_a_subscription_are_checked(kit, given):
    """They come as options of any name."""
    for argument, value in product(("event_types", "topic", "filter", "description", "enabled"), CORPUS):
        error = None
        try:
            await kit.subscriptions.update(given["subscription_id"], tenant=ACME, **{argument: value})
        except Exception as raised:  # noqa: BLE001 - that is the question
            error = raised
        require_clear(error, argument, value)


async def test_every_option_of_publish_is_checked(kit):
    """As an option, and as a field of the event."""
    options = PublishOptions.__annotations__
    fields: dict[str, Any] = {"type": "order.paid", "data": {}}
    for argument in (*options, "version", "type", "data"):
        tenant = {} if argument == "tenant" else {"tenant": ACME}
        for value in CORPUS:
            ways: list[tuple[dict[str, Any], dict[str, Any]]] = [({**fields, argument: value}, tenant)]
            if argument in options:
                ways.append((fields, {**tenant, argument: value}))
            for own, given in ways:
                error = None
                try:
                    await kit.apublish(Event(**own), **given)
                except Exception as raised:  # noqa: BLE001 - that is the question
                    error = raised
                require_clear(error, argument, value)
                if type(value) is object:
                    assert isinstance(error, InvalidEventError)


async def test_a_resource_is_checked(kit):
    """A pair of anything can be made, and is checked when it is published."""
    for argument, value in product(("kind", "id"), CORPUS):
        resource = Resource(**{"kind": "order", "id": "A-1", argument: value})
        for options in ({"resource": resource}, {"resource": (resource.kind, resource.id)}):
            error = None
            try:
                await kit.apublish(Event(type="order.paid", data={}), tenant=ACME, **options)
            except Exception as raised:  # noqa: BLE001 - that is the question
                error = raised
            require_clear(error, f"resource.{argument}", value)


async def test_events_that_are_none_are_refused(kit):
    """One by one, or what was meant to be a list of them."""
    for value in CORPUS:
        with suppress(NotifykitError):
            await kit.apublish(value, tenant=ACME)
        with suppress(NotifykitError):
            await kit.apublish_many(value, tenant=ACME)
        with pytest.raises(InvalidEventError):
            await kit.apublish_many([value], tenant=ACME)


@pytest.mark.parametrize("argument", ["session", "connection"])
async def test_a_transaction_that_is_none_is_refused(kit, argument):
    """Before anything is stored."""
    for value in CORPUS[1:]:
        with pytest.raises(NotifykitError):
            await kit.apublish(Event(type="order.paid", data={}), tenant=ACME, **{argument: value})
        with pytest.raises(NotifykitError):
            kit.publish(Event(type="order.paid", data={}), tenant=ACME, **{argument: value})


async def test_a_dispatcher_is_made_of_channels_and_settings(kit):
    """Both are checked when it is made."""
    for value in CORPUS:
        require_clear(what_is_raised(partial(kit.dispatcher, channels=value)), "channel", value)
        require_clear(what_is_raised(partial(kit.dispatcher, settings=value)), "settings", value)


# ── what is made of arguments ──────────────────────────────────────────────────────────────────

MADE: Mapping[str, tuple[Callable[..., object], Mapping[str, Any]]] = {
    "Notifykit": (Notifykit, {"url": "memory://"}),
    "RateLimit": (RateLimit, {"per_second": 1}),
    "RetryPolicy": (RetryPolicy, {"delays": ()}),
    "RetryPolicy.exponential": (RetryPolicy.exponential, {}),
    "DeliveryFilter": (DeliveryFilter, {}),
    "DispatchSettings": (DispatchSettings, {}),
    "EgressRules": (EgressRules, {}),
    "Limits": (Limits, {}),
    "KeyRing": (KeyRing, {"keys": {}}),
    "KeyRing.parse": (KeyRing.parse, {"text": ""}),
    "EventCatalog": (EventCatalog, {}),
    "EventType": (lambda **fields: EventCatalog([EventType(**fields)]), {"name": "order.paid"}),
    "event": (lambda **options: notifykit.event(**options)(attrs.make_class("Paid", [])), {"name": "order.paid"}),
    "Verifier": (signing.Verifier, {"secrets": "whsec_" + "A" * 32}),
    "generate_secret": (signing.generate_secret, {}),
    "public_key": (signing.public_key, {"whsk": ""}),
}


def names_of(made: str) -> list[str]:
    make, good = MADE[made]
    if made == "EventType":
        return [field.name for field in attrs.fields(EventType)]
    if made == "event":
        make = notifykit.event
    return [name for name in parameters_of(make) if name not in {"self", "cls", "clock", "source"}] or list(good)


@pytest.mark.parametrize("made", MADE)
def test_what_is_made_is_sound_from_birth(made):
    """Settings and values are refused where they are written, and the error names the field."""
    make, good = MADE[made]
    one = len(names_of(made)) == 1

    for argument in names_of(made):
        for value in CORPUS:
            error = what_is_raised(partial(make, **{**good, argument: value}))
            require_clear(error, "" if one or made in {"Verifier", "EventCatalog"} else argument, value)


class TestDeliveryFilters:
    @pytest.mark.parametrize("filter_", [DeliveryFilter, EventFilter])
    def test_ids_are_one_or_any_number(self, filter_):
        """One id, a list, a set or an iterator of them."""
        assert [frozenset({"a"})] * 3 == [filter_(ids=ids).ids for ids in ("a", ["a", "a"], iter(["a"]))]
        assert frozenset() == filter_(ids=[]).ids
        assert filter_().ids is None

    @pytest.mark.parametrize("filter_", [DeliveryFilter, EventFilter])
    @pytest.mark.parametrize("ids", [5, [5], ["a\0"], [str(n) for n in range(1001)], {"a": "b"}])
    def test_what_are_no_ids_is_refused(self, filter_, ids):
        """The error names the field."""
        with pytest.raises(InvalidInputError, match="ids"):
            filter_(ids=ids)

    @pytest.mark.parametrize(
        "states",
        [
            [DeliveryState.DEAD, DeliveryState.HELD],
            ("dead", "held"),
            {DeliveryState.DEAD, "held"},
            iter(["dead", "held"]),
        ],
    )
    def test_states_are_any_iterable(self, states):
        """Of states, or of their names."""
        assert frozenset({DeliveryState.DEAD, DeliveryState.HELD}) == DeliveryFilter(states=states).states

    def test_one_state_is_a_set_of_one(self):
        """A text is no list of letters."""
        assert frozenset({DeliveryState.DEAD}) == DeliveryFilter(states="dead").states

    @pytest.mark.parametrize("states", ["asleep", ["asleep"], 5, [5]])
    def test_other_states_are_refused(self, states):
        """The error names those that there are."""
        with pytest.raises(InvalidInputError, match=r"states: must be states out of pending, sending, held"):
            DeliveryFilter(states=states)

    @pytest.mark.parametrize("field", ["since", "until"])
    def test_a_time_without_a_zone_is_refused(self, field):
        """Which instant it is depends on where the program runs."""
        with pytest.raises(InvalidInputError, match=f"{field}: has no zone"):
            DeliveryFilter(**{field: datetime(2026, 3, 1)})  # type: ignore[arg-type]  # noqa: DTZ001


class TestChecks:
    def test_a_parameter_without_a_check_is_found_at_once(self):
        """A new parameter cannot be forgotten."""
        with pytest.raises(KeyError, match="colour"):

            @checks.checked({})
            def paint(colour: str) -> None:
                """Paint."""

    def test_a_call_that_python_refuses_is_refused_by_python(self):
        """Missing and unknown arguments are reported by the call itself."""

        @checks.checked({"colour": checks.string})
        def paint(colour: str) -> str:
            return colour

        assert "red" == paint("red") == paint(colour="red")
        called: Any = paint
        for call in (called, partial(called, "red", "blue"), partial(called, "red", size=1)):
            with pytest.raises(TypeError, match=r"paint\(\)"):
                call()

    @pytest.mark.parametrize(
        ("check", "value", "problem"),
        [
            (checks.text(), 5, "must be text, not int"),
            (checks.text(), "", "is empty"),
            (checks.text(most=2), "abc", "longer than 2 characters"),
            (checks.text(), "a\nb", "has control characters"),
            (checks.text(lines=True), "a\nb", None),
            (checks.text(lines=True), "a\x1bb", "has control characters"),
            (checks.text(), "a\u200bb", None),  # cannot be shown, can be kept
            (checks.tenant, "a b", checks.TENANT_RULE),
            (checks.flag, 1, "must be true or false, not int"),
            (checks.whole(1, 9), True, "must be a whole number, not bool"),
            (checks.whole(1, 9), 10, "between 1 and 9, got 10"),
            (checks.whole(1, 9), 1 << 80, "between 1 and 9, got a number beyond 64 bits"),
            (checks.number(0, 1), float("nan"), "must be a finite number, got nan"),
            (checks.number(0, 1), 1.5, "between 0 and 1, got 1.5"),
            (checks.number(0, 1), 1 << 80, "between 0 and 1, got a number beyond 64 bits"),
            (checks.duration(timedelta(0)), 5, "must be a timedelta, not int"),
            (
                checks.duration(timedelta(0), timedelta(days=7)),
                timedelta(-1),
                "between 0 s and 7 days, got -1 day, 0:00:00",
            ),
            (checks.instant, "now", "must be a datetime, not str"),
            (checks.one_of({"b", "a"}), "c", "must be one of a, b, not 'c'"),
            (checks.one_of(tuple(Priority)), None, "must be one of high, low, normal, not None"),
            (checks.instance(int, str), None, "must be an int or str, not None"),
            (checks.having("now", what="Clock"), 5, "must be a Clock, not int"),
            (checks.function, 5, "must be a function, not int"),
            (checks.iterable, "ab", "must be a list, not str"),
            (checks.many(checks.string, most=2, what="texts"), "ab", "must be a list of texts, not str"),
            (checks.many(checks.string, most=2, what="texts"), [1], "[0] must be text, not int"),
            (checks.many(checks.string, most=2, what="texts"), ["a"] * 3, "at most 2, got 3"),
            (checks.mapping(checks.string, checks.string, most=2), {1: "a"}, "key 1 must be text, not int"),
            (checks.mapping(checks.string, checks.string, most=2), {"a": 1}, "the value of 'a' must be text, not int"),
            (checks.either(checks.flag, checks.string), 5, "must be text, not int"),
            (checks.either(checks.flag, checks.string), True, None),
        ],
    )
    def test_a_problem_follows_the_name(self, check, value, problem):
        """It says what was expected, and what came."""
        assert problem == check(value)
