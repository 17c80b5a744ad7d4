"""A typed event class may make the messages itself."""

from __future__ import annotations

import sys

import attrs
import pytest

import notifykit.templates
from notifykit import ConfigurationError, MissingExtraError, Notifykit, TemplateError, event
from notifykit.catalog import EventCatalog
from notifykit.models.messages import ChatMessage, EmailMessage, Message
from notifykit.ports import Person, RendersEmail
from notifykit.templates import MethodRenderer
from tests.unit.templates.rendering import NOW, digest, message, to


@event("order.shipped")
@attrs.frozen
class OrderShipped(RendersEmail):
    order_id: str

    def email(self, to: Person) -> EmailMessage | None:
        if self.order_id == "none":
            return None
        return EmailMessage(subject=f"Order {self.order_id}", text=f"Hello {to.name}")

    def chat(self, to: Person) -> object:
        return "not a message"

    def sms(self, to: Person) -> object:
        raise KeyError("price")

    def webhook(self, to: Person) -> object:
        raise AssertionError("is no channel to people")


@event("user.created")
@attrs.frozen
class UserCreated(RendersEmail):
    email: str  # type: ignore[assignment]


class Plain:
    """Makes what there is no method for."""

    def render(self, claim, destination, *, now) -> Message:
        return ChatMessage(text="plain")


RENDERER = MethodRenderer(EventCatalog([OrderShipped, UserCreated]), Plain())


def test_a_method_makes_the_message():
    """From the event as its class, for the person; its name is recorded as the template."""
    made = message(RENDERER, "email", {"order_id": "A-1"})

    assert EmailMessage(subject="Order A-1", text="Hello Ada", template="OrderShipped.email") == made


@pytest.mark.parametrize(
    ("channel", "data", "type_"),
    [
        ("email", {"order_id": "none"}, "order.shipped"),
        ("push", {"order_id": "A-1"}, "order.shipped"),
        ("webhook", {"order_id": "A-1"}, "order.shipped"),
        ("email", {"email": "a@example.org"}, "user.created"),
        ("email", {}, "other.type"),
    ],
)
def test_what_has_no_method_is_made_otherwise(channel, data, type_):
    """A method that returns nothing, another channel, a field of the same name, a type that is not known."""
    assert ChatMessage(text="plain") == message(RENDERER, channel, data, event_type=type_)


def test_a_digest_is_of_no_class():
    """It is about several events."""
    renderer = MethodRenderer(EventCatalog([OrderShipped]), Plain())
    claim = digest("email", {"order_id": "A-1"}, {"order_id": "A-2"})._replace(event_type="order.shipped")

    assert ChatMessage(text="plain") == renderer.render(claim, to(None), now=NOW)


@pytest.mark.parametrize(
    ("channel", "data", "problem"),
    [
        ("chat", {"order_id": "A-1"}, "OrderShipped.chat must return ChatMessage, not str"),
        ("sms", {"order_id": "A-1"}, "OrderShipped.sms failed: KeyError: 'price'"),
        ("email", {"order_id": 5}, "OrderShipped.email failed: InvalidEventError"),
    ],
)
def test_a_method_that_fails_is_an_error_of_the_template(channel, data, problem):
    """So the delivery is held, and sent after the fix."""
    with pytest.raises(TemplateError) as caught:
        message(RENDERER, channel, data)

    assert problem in str(caught.value)


def test_without_the_extra_the_error_names_it(monkeypatch):
    """Methods of classes need none of it."""
    monkeypatch.delattr(notifykit.templates, "renderer", raising=False)
    monkeypatch.setitem(sys.modules, "notifykit.templates.renderer", None)

    with pytest.raises(MissingExtraError, match=r"notifykit-sdk\[templates\]"):
        notifykit.templates.Templates  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Template'"):
        notifykit.templates.Template  # noqa: B018


@pytest.mark.parametrize(
    ("given", "problem"),
    [("no/such/folder", "'no/such/folder' is not a folder"), ("\0", "is not a folder"), (5, "must be")],
)
def test_a_kit_refuses_what_is_no_folder_of_templates(given, problem):
    """When it is made, not with the first message."""
    with pytest.raises(ConfigurationError, match=f"templates: .*{problem}"):
        Notifykit("memory://", templates=given)


def test_a_kit_renders_with_methods_then_templates(tmp_path, monkeypatch):
    """The folder is given, or named by the environment; a twin has the same."""
    (tmp_path / "order.shipped").mkdir()
    (tmp_path / "order.shipped/email.txt").write_text("from the template")
    monkeypatch.setenv("NOTIFYKIT_TEMPLATES", str(tmp_path))

    kit = Notifykit("memory://", event_types=[OrderShipped])

    for each in (kit, kit.twin()):
        renderer = each.renderer(Plain())
        assert "Hello Ada" == message(renderer, "email", {"order_id": "A-1"}).text
        assert "from the template" == message(renderer, "email", {"order_id": "none"}).text
        assert "plain" == message(renderer, "chat", event_type="other.type").text
    without = Notifykit("memory://", event_types=[OrderShipped], templates="")
    assert "plain" == message(without.renderer(Plain()), "email", {"order_id": "none"}).text
