"""The bytes of an e-mail say what the message says, for every reader that keeps to the standards."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage as ReadMessage
from email.policy import SMTPUTF8, compat32
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifykit.channels.email import InvalidMessageError, Mail, Mailbox, write
from notifykit.models.checks import UNPRINTABLE
from notifykit.models.messages import EmailMessage

pytestmark = pytest.mark.interop  # the standard library reads what we write
NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SHOP = Mailbox("shop@example.org", "Example Shop")
ADA = Mailbox("ada@example.org")


def written(message: EmailMessage | None = None, *, to: Mailbox = ADA, **changes: Any) -> Mail:
    """Write a message, made of the fields that the test is about."""
    wanted = message or EmailMessage(**{"subject": "Hello", "text": "Hello.", **changes})
    return write(wanted, sender=SHOP, to=to, id="dlv_01J_x", now=NOW)


def read(mail: Mail) -> ReadMessage:
    """Read it as the standard library does, and see that it keeps to the rules for lines."""
    assert all(len(line) <= 998 for line in mail.data.split(b"\r\n"))
    assert b"\n" not in mail.data.replace(b"\r\n", b"")
    assert b"\r" not in mail.data.replace(b"\r\n", b"")
    found = message_from_bytes(mail.data, policy=SMTPUTF8)
    assert [] == [defect for part in found.walk() for defect in part.defects]
    return found


def body(message: ReadMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


texts = st.text(max_size=300).filter(lambda text: not UNPRINTABLE.search(text)).map(lambda text: text.strip(" "))


def test_an_ordinary_mail() -> None:
    """Every field that mail programs and servers look for is there once."""
    found = read(
        written(html="<p>Hello.</p>", reply_to=("help@example.org", "Zoë <zoe@example.org>"), headers={"X-Tag": "a"})
    )

    assert "Fri, 20 Nov 2026 12:00:00 +0000" == found["Date"]
    assert ("Example Shop <shop@example.org>", "ada@example.org") == (found["From"], found["To"])
    assert ("Hello", "<dlv_01J_x@example.org>", "a") == (found["Subject"], found["Message-ID"], found["X-Tag"])
    assert ("auto-generated", "1.0") == (found["Auto-Submitted"], found["MIME-Version"])
    assert "help@example.org, Zoë <zoe@example.org>" == found["Reply-To"]
    assert ("multipart/alternative", "Hello.\n") == (found.get_content_type(), body(found, "plain"))
    assert "<p>Hello.</p>\n" == body(found, "html")
    assert len(found.keys()) == len(set(found.keys()))


def test_it_is_the_same_in_each_attempt() -> None:
    """Except for the date: mail programs recognise a repeated message."""
    later = write(EmailMessage(subject="Hello", text="Hello."), sender=SHOP, to=ADA, id="dlv_01J_x", now=NOW)

    assert written() == later


def test_a_date_keeps_its_zone() -> None:
    """As RFC 5322 writes it."""
    now = NOW.astimezone(timezone(timedelta(hours=-3, minutes=-30)))
    mail = write(EmailMessage(subject="", text=""), sender=SHOP, to=ADA, id="d", now=now)

    assert "Fri, 20 Nov 2026 08:30:00 -0330" == read(mail)["Date"]


def test_a_message_may_name_its_sender() -> None:
    """It is then the envelope's as well, unless bounces go elsewhere."""
    message = EmailMessage(subject="Hello", text="", sender="Blog <blog@bücher.example>")
    mail = written(message)
    other = write(message, sender=SHOP, to=ADA, id="d", now=NOW, return_path="bounces@example.org")

    assert "Blog <blog@xn--bcher-kva.example>" == read(mail)["From"]
    assert ("blog@xn--bcher-kva.example", "bounces@example.org") == (mail.sender, other.sender)
    assert "<d@xn--bcher-kva.example>" == read(other)["Message-ID"]


def test_one_click_unsubscribing() -> None:
    """Both fields of RFC 8058, and neither without an address."""
    found = read(written(unsubscribe_url="https://example.org/u/" + "x" * 900))

    assert "<https://example.org/u/" + "x" * 900 + ">" == found["List-Unsubscribe"]
    assert "List-Unsubscribe=One-Click" == found["List-Unsubscribe-Post"]
    assert read(written())["List-Unsubscribe"] is None


@given(texts)
@example("")
@example("=?utf-8?b?aGk=?=")
@example("a" * 300)
@example("word" + " word" * 60)
@example("a  b" * 40)
@example("Bon appétit\xa0!")
@example("👩‍👩‍👧‍👦" * 20)
@example("x" * 68 + " y")
def test_every_subject_comes_back(subject: str) -> None:
    """Short or long, ASCII or not; no line of the header is longer than 78 characters."""
    mail = written(subject=subject)
    head = mail.data.partition(b"\r\n\r\n")[0]

    assert subject == read(mail)["Subject"]
    assert head.isascii()
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))


@given(st.text(max_size=120).filter(lambda name: not UNPRINTABLE.search(name)))
@example('Ada "the first" \\ Lovelace')
@example("Lovelace, Ada (née Byron) <x@example.org>")
@example("=?utf-8?q?x?=")
@example("Ада Лавлейс " * 9)
@example("a  b")
def test_every_name_comes_back(name: str) -> None:
    """Of recipients and senders; a name is one name, whatever is in it."""
    name = " ".join(name.split(" ")).strip(" ")
    mail = written(to=Mailbox("ada@example.org", name))
    # The newer policies of the standard library put blanks between encoded words of a name.
    field = message_from_bytes(mail.data, policy=compat32)["To"].replace("\r\n", "")
    found = getaddresses([field])

    assert read(mail)["To"] is not None
    assert [(name, "ada@example.org")] == [(str(make_header(decode_header(shown))), spec) for shown, spec in found]


@given(
    st.dictionaries(st.from_regex(r"X-[A-Za-z0-9-]{1,40}", fullmatch=True), texts, max_size=3).filter(
        lambda headers: len({name.lower() for name in headers}) == len(headers)
    )
)
def test_every_header_of_a_message_comes_back(headers: dict[str, str]) -> None:
    """Unfolded and decoded."""
    found = read(written(headers=headers))

    assert headers == {name: found[name] for name in headers}


@given(st.text(max_size=400).filter(lambda text: not re.search("[\ud800-\udfff]", text)))
@example("x" * 5000)
@example("ä" * 5000)
@example("From me\n.\n..\n.x\r\ny\rz\n")
@example("trailing  \n\t\n=3D")
@example("\0")
@example("café" * 300)
@example("x" * 998 + "\n" + "y" * 999 + "\n")
def test_every_body_comes_back(text: str) -> None:
    """With its line ends made equal, and one at the end."""
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    expected += "" if expected.endswith("\n") else "\n"
    mail = written(text=text, html=text)

    assert expected == body(read(mail), "plain")
    assert expected == body(read(mail), "html")


def test_a_text_that_holds_the_boundary_stays_whole() -> None:
    """A reply may quote the mail that it answers."""
    first = written(html="<p></p>").data
    boundary = re.findall(rb'boundary="(.+)"', first)[0].decode()

    assert f"--{boundary}--\n" == body(read(written(text=f"--{boundary}--", html="<p></p>")), "plain")


def test_an_address_outside_ascii_needs_utf8() -> None:
    """It cannot be encoded; a domain can, and has been."""
    mail = written(to=Mailbox("ünal@example.org", "Ünal"))

    assert (True, False) == (mail.is_utf8, written(subject="ä", text="ä").is_utf8)
    assert "To: =?utf-8?b?w5xuYWw=?= <ünal@example.org>\r\n".encode() in mail.data


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subject": "Hello\r\nBcc: eve@example.org"}, "subject: has line breaks"),
        ({"subject": "Hello\nx"}, "subject: "),
        ({"subject": "Hello\x00"}, "subject: "),
        ({"subject": "Hello\u2028"}, "subject: "),
        ({"sender": "Shop\r\nBcc: eve@example.org <shop@example.org>"}, "sender: "),
        ({"sender": "shop"}, "sender: address: must be like"),
        ({"reply_to": ("a@example.org\nBcc: x@example.org",)}, "reply_to: "),
        ({"headers": {"X-A": "a\r\n\r\nbody"}}, "headers: X-A has line breaks"),
        ({"headers": {"X-A\r\nBcc": "eve@example.org"}}, "headers: a name"),
        ({"headers": {"X A": "a"}}, "headers: a name"),
        ({"headers": {"": "a"}}, "headers: a name"),
        ({"headers": {"bcc": "eve@example.org"}}, "headers: bcc is written by"),
        ({"headers": {"Content-Type": "text/html"}}, "headers: Content-Type is written by"),
        ({"unsubscribe_url": "http://example.org"}, "unsubscribe_url: must be an https"),
        ({"unsubscribe_url": "https://example.org/\r\nBcc: x"}, "unsubscribe_url: "),
        ({"unsubscribe_url": "https://example.org/>, <mailto:x@y.z"}, "unsubscribe_url: "),
        ({"unsubscribe_url": "https://example.org/" + "x" * 1000}, "unsubscribe_url: "),
        ({"text": "\ud800"}, "text: has half of a surrogate pair"),
        ({"html": "\ud800"}, "html: has half of a surrogate pair"),
    ],
)
def test_what_cannot_be_written_is_refused(changes: dict[str, Any], said: str) -> None:
    """No value gets a line of its own into the header; the error names the part."""
    with pytest.raises(InvalidMessageError, match=said) as refused:
        written(**changes)
    assert refused.value.field == next(iter(changes))


def test_an_id_that_is_no_id_is_refused() -> None:
    """It becomes a header field and a boundary."""
    with pytest.raises(InvalidMessageError, match="id: "):
        write(EmailMessage(subject="", text=""), sender=SHOP, to=ADA, id="dlv>\r\nBcc: x", now=NOW)


#: Rich in what ends lines, fields, names and addresses.
hostile = st.text(st.sampled_from('\r\n\0\u2028\x85 \t:;,<>@"\\()=?aé\ud800👩'), max_size=30)


@given(st.builds(Mailbox, st.just("a@b.example"), hostile), hostile, hostile)
@example(Mailbox("a@b.example", "x\r\nBcc: e@b.example"), "", "")
def test_nothing_can_be_injected(to: Mailbox, subject: str, header: str) -> None:
    """Whatever the values are, the header has the fields that it should have, or nothing is written."""
    message = EmailMessage(subject=subject, text="", headers={"X-A": header})
    try:
        mail = written(message, to=to)
    except InvalidMessageError:
        return
    found = read(mail)
    assert {*read(written()).keys(), "X-A"} == set(found.keys())
    assert subject.strip(" ") == found["Subject"]
