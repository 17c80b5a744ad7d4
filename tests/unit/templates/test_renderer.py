"""Templates make the message of each channel, for the person it goes to."""

from __future__ import annotations

from threading import Thread

import pytest

from notifykit import ConfigurationError, TemplateError
from notifykit.models.messages import ChatMessage, EmailMessage, InAppMessage, PushMessage, SmsMessage
from notifykit.templates import Templates
from tests.unit.templates.rendering import NOW, Ada, digest, message, to

TYPE = "order.shipped"
DATA = {"order_id": "A-1", "name": "<Té>"}


def of(**parts: str) -> Templates:
    """Return templates; ``_`` stands for a full stop in a name."""
    return Templates({f"{TYPE}/{name.replace('__', '.')}": text for name, text in parts.items()})


def test_an_email_has_subject_html_text_and_an_address_for_unsubscribing():
    """HTML is escaped, its styles are inlined, and its text is that of its file."""
    templates = of(
        email__html="<style>p{color:red}</style><p>{{ data.name }} <a href='{{ unsubscribe_url }}'>no</a></p>",
        email__txt="{{ data.name }}\n",
        email__subject__txt="Order\n {{ data.order_id }} \n",
        email__unsubscribe__txt="https://shop.example/u/{{ to.id|urlencode }}\n",
    )

    made = message(templates, "email", DATA)

    assert isinstance(made, EmailMessage)
    assert "Order A-1" == made.subject
    assert "<Té>" == made.text
    assert made.html is not None
    assert '<p style="color: red;">&lt;Té&gt; <a href="https://shop.example/u/user%3A42">no</a></p>' in made.html
    assert "https://shop.example/u/user%3A42" == made.unsubscribe_url
    assert str(made.template).startswith("order.shipped/email@")


def test_an_email_without_text_or_subject_gets_them():
    """The text is that of the HTML, the subject the type of the event in words."""
    made = message(of(email__html="<h1>Hi {{ to.name }}</h1><p>{{ data.name }}</p>"), "email", DATA)

    assert ("Order shipped", "Hi Ada\n\n<Té>") == (made.subject, made.text)
    assert made.unsubscribe_url is None


def test_a_subject_is_a_line():
    """A longer one is a mistake, and not cut off."""
    templates = of(email__txt="x", email__subject__txt="{% for i in range(500) %}long {% endfor %}")

    with pytest.raises(TemplateError, match=r"email.subject.txt, line 1: is longer than 2,000 characters"):
        message(templates, "email")


def test_an_email_may_be_plain():
    """Without HTML there is only text, in which nothing is escaped."""
    made = message(of(email__txt="{{ data.name }}"), "email", DATA)

    assert ("<Té>", None) == (made.text, made.html)


def test_each_channel_has_its_message():
    """Titles and addresses are lines of text, and missing ones are made up or left out."""
    templates = of(
        sms__txt="{{ 5|money('EUR') }}\n",
        push__txt="Body",
        push__title__txt="Title\n",
        push__url__txt="https://shop.example\n",
        in_app__title__txt="{{ data.order_id }}",
        chat__txt="a\n\nb\n",
    )
    made = [message(templates, channel, DATA, Ada(locale="fr")) for channel in ("sms", "push", "in_app", "chat")]

    assert [SmsMessage, PushMessage, InAppMessage, ChatMessage] == [type(each) for each in made]
    sms, push, in_app, chat = made
    assert "€5.00" == sms.text
    assert ("Title", "Body", "https://shop.example") == (push.title, push.body, push.url)
    assert ("A-1", "", None) == (in_app.title, in_app.body, in_app.url)
    assert "a\n\nb" == chat.text


def test_an_sms_has_no_space_that_costs_another_alphabet():
    """A no-break space would halve what fits."""
    assert "5,00 €" == message(of(sms__de__txt="{{ 5|money('EUR') }}"), "sms", {}, Ada(locale="de")).text


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        (None, "1,234.5"),
        ("en-GB", "1,234.5"),
        ("fr", "1,234.5"),
        ("nonsense!", "1,234.5"),
        ("de", "1.234,5"),
        ("de-CH", "1'234.5"),
        ("de-XX", "1.234,5"),
    ],
)
def test_numbers_are_in_the_language_of_the_message(locale, expected):
    """A French person who reads English finds an English number, and a Swiss one a Swiss number."""
    templates = of(chat__txt="{{ data.n|number }}", chat__de__txt="{{ data.n|number }}")

    assert expected == message(templates, "chat", {"n": 1234.5}, Ada(locale=locale)).text


def test_files_without_a_locale_may_be_in_another_language():
    """The default locale says in which."""
    templates = Templates({f"{TYPE}/chat.txt": "{{ data.n|number }}"}, default_locale="de")

    assert "1.234,5" == message(templates, "chat", {"n": 1234.5}).text
    assert "1.234,5" == message(templates, "chat", {"n": 1234.5}, Ada(locale="en")).text
    with pytest.raises(ConfigurationError, match=r"default_locale: 'x!' is not a locale"):
        Templates({}, default_locale="x!")


def test_what_templates_know_of_event_and_person():
    """The event, its data, its metadata, and the person with what the host knows of them."""
    source = (
        "{{ event.id }} {{ event.type }} {{ event.tenant }} {{ event.time|date('short') }} {{ event.actor }} "
        "{{ event.metadata.source }} {{ event.resource_id }}|{{ to.id }} {{ to.name }} {{ to.locale }} {{ to.zone }} "
        "{{ to.address }} {{ to.traits.vip }} {{ now|time }}"
    )
    person = Ada(locale="en", zone="Asia/Tokyo", traits={"vip": True})

    assert (
        "evt_1 order.shipped acme 3/29/26 user:7 shop |user:42 Ada en Asia/Tokyo ada@example.org true 7:30\u202fAM"
        == message(of(chat__txt=source), "chat", {}, person).text
    )


def test_a_recipient_of_whom_nothing_is_known_is_in_utc():
    """Neither locale nor zone, nor a zone that this machine does not know, is an error."""
    templates = of(chat__txt="{{ to.id }}{{ to.name }} {{ now|time }}")

    for person in (object(), Ada(zone="Mars/Olympus"), Ada(zone="/etc/passwd")):
        assert "user:42 10:30 PM" == message(templates, "chat", {}, person).text.replace("Ada", "").replace(
            "\u202f", " "
        )


def test_without_a_template_another_renderer_makes_the_message():
    """Or it is an error that names what is missing."""

    class Other:
        def render(self, claim, destination, *, now):
            return ChatMessage(text="plain")

    assert "plain" == message(Templates({}, otherwise=Other()), "chat").text
    with pytest.raises(TemplateError, match=r"there is no template order.shipped/chat"):
        message(Templates({}), "chat")


def test_a_message_that_is_the_same_for_others_is_made_once():
    """If a template uses nothing of the person, and for the same event, locale and zone."""
    same = of(chat__txt="{{ data.order_id }} {{ event.time|time }}")
    first = message(same, "chat", DATA, Ada(id="user:1"))

    assert first is message(same, "chat", DATA, Ada(id="user:2"))
    assert first is not message(same, "chat", DATA, Ada(zone="Asia/Tokyo"))
    assert first is not message(same, "chat", DATA, Ada(locale="de"))
    assert first is not message(same, "chat", DATA, event_id="evt_2")
    assert first is not message(same, "chat", DATA, tenant="other")
    for number in range(40):
        message(same, "chat", DATA, event_id=f"evt_{number}")
    assert len(same._kept) <= 32


def test_a_digest_has_templates_of_its_own():
    """It is about several events, and each person has another one."""
    source = "{{ data.total }}: {% for item in data.items %}{{ item.data.text }} {{ item.time|time }};{% endfor %}"
    templates = Templates({"digest.comments/chat.txt": source, "comment.created/chat.txt": "{{ data.text }}"})

    first, second = (
        templates.render(digest("chat", {"text": text}, {"text": "b"}, total=9), to(Ada()), now=NOW) for text in "ac"
    )

    assert ChatMessage(text="9: a 10:30\u202fPM;b 10:30\u202fPM;", template=first.template) == first
    assert "9: c" in second.text  # type: ignore[union-attr]
    assert str(first.template).startswith("digest.comments/chat@")
    with pytest.raises(TemplateError, match=r"there is no template digest\.comments/email"):
        templates.render(digest("email", {}, {}), to(Ada()), now=NOW)


@pytest.mark.parametrize(
    "source", ["{{ to.name }}", "{{ now }}", "{{ event.time|relative }}", "{% include '_p/a.txt' %}"]
)
def test_a_message_that_is_for_one_person_or_moment_is_made_each_time(source):
    """Also if only an included file says so."""
    templates = Templates({f"{TYPE}/chat.txt": source, "_p/a.txt": "{{ to.id }}"})

    assert message(templates, "chat") is not message(templates, "chat")


def test_threads_render_at_the_same_time():
    """Each has its own person."""
    source = "{% for i in range(200) %}{{ 1.5|number }}{{ to.name }} {% endfor %}"
    templates = of(chat__txt=source, chat__de__txt=source)
    made: dict[str, set[str]] = {}

    def render(name: str, locale: str) -> None:
        person = Ada(name=name, locale=locale)
        made[name] = {message(templates, "chat", person=person).text for _ in range(20)}

    threads = [Thread(target=render, args=(f"{locale}{n}", locale)) for n in range(3) for locale in ("en", "de")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    one = {"en": "1.5", "de": "1,5"}
    assert {f"{locale}{n}": {(f"{one[locale]}{locale}{n} " * 200).strip()} for n in range(3) for locale in one} == made


def test_a_failure_is_of_one_rendering():
    """What is left of the limits of one does not count for the next."""
    templates = of(chat__txt="{% for i in range(data.n) %}{% endfor %}{{ data.n }}")

    for number in range(2):
        with pytest.raises(TemplateError, match="too many steps"):
            message(templates, "chat", {"n": 90_000}, event_id=f"evt_{number}")
        assert "5" == message(templates, "chat", {"n": 5}, event_id=f"evt_{number}").text
