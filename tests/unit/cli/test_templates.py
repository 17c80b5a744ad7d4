"""``notifykit preview`` and ``notifykit templates check`` work on a folder, without a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("minijinja", reason="needs minijinja")

FILES = {
    "order.shipped/email.html": "<p>Order {{ data.order_id }}</p>",
    "order.shipped/email.de.html": "<p>Bestellung {{ data.order_id }}</p>",
    "order.shipped/email.subject.txt": "Order\u202e",
    "order.shipped/email.de.subject.txt": "Bestellung",
    "order.shipped/in_app.title.txt": "Shipped",
    "order.shipped/in_app.de.title.txt": "Versandt",
    "order.shipped/example.json": '{"order_id": "A-1"}',
    "order.paid/chat.txt": "paid",
    "order.paid/chat.de.txt": "bezahlt",
    "order.paid/example.json": "{}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "templates"


@pytest.mark.parametrize("command", [["preview", "order.shipped"], ["templates", "check"]], ids=" ".join)
def test_the_extra_that_is_missing_is_named(folder, command):
    """In a process of its own, in which the engine cannot be imported."""
    script = f"import sys; sys.modules['minijinja'] = None; from notifykit.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NOTIFYKIT_TEMPLATES": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "pip install 'notifykit-sdk[templates]'" in done.stderr
    assert "unexpected" not in done.stderr
    assert 0 != done.returncode


def test_preview_renders_every_channel(cli, folder):
    """As text, with the template that was used; control characters of a template do not reach the terminal."""
    answer = cli("preview", "order.shipped", f"--templates={folder}", "--locale=de-AT")

    assert 0 == answer.code
    assert "Bestellung A-1" in answer.out
    assert "Versandt" in answer.out
    assert "order.shipped/email.de@" in answer.out
    assert "\u202e" not in cli("preview", "order.shipped", f"--templates={folder}").out


def test_preview_as_json_has_the_whole_message(cli, folder, monkeypatch):
    """The folder may be named by the environment."""
    monkeypatch.setenv("NOTIFYKIT_TEMPLATES", str(folder))

    answer = cli("preview", "order.shipped", "--channel=email", '--data={"order_id": "B-2"}', "--json")

    record = answer.record
    assert ("email", "<p>Order B-2</p>", "Order B-2") == (record["channel"], record["html"], record["text"])


def test_preview_is_of_a_tenant(cli, folder):
    """Whose files come before those of the host."""
    own = folder / "_tenants/acme/order.paid/chat.txt"
    own.parent.mkdir(parents=True)
    own.write_text("thanks")

    answers = [
        cli("preview", "order.paid", f"--templates={folder}", f"--tenant={name}").out for name in ("acme", "other")
    ]
    assert ["thanks", "paid"] == [answer.split()[-1] for answer in answers]


def test_preview_writes_the_html_to_a_file(cli, folder, tmp_path):
    """To look at it in a browser."""
    file = tmp_path / "order.html"

    answer = cli("preview", "order.shipped", f"--templates={folder}", f"--html={file}", "--json")

    assert {"file": str(file)} == answer.record
    assert "<p>Order A-1</p>" == file.read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["order.gone"], 3, "there are for: order.paid, order.shipped"),
        (["order.shipped", "--channel=sms"], 3, "only for email, in_app"),
        (["order.shipped", "--locale=!"], 2, "is no locale"),
        (["order.shipped", "--data=[]"], 2, "must be a JSON object"),
        (["order.shipped", '--data={"order_id": NaN}'], 1, "the payload cannot be one: data.order_id: "),
        (["order.shipped", "--data={}"], 1, "order.shipped/email.html, line 1: `data.order_id` is undefined"),
        (["order.shipped", "--html=\0"], 2, "cannot write"),
        (["order.shipped", "--html="], 2, "cannot write"),
        (["order.shipped", "--html=."], 2, "cannot write"),
        (["order.shipped", "--html=no/such/folder/x.html"], 2, "cannot write"),
        (["order.shipped", "--html=x", "--channel=in_app"], 2, "--html is for e-mail"),
        (["order.paid", "--html=x"], 3, "has no templates for 'email'"),
    ],
)
def test_preview_says_what_is_wrong(cli, folder, options, code, problem):
    """With the exit code of its kind, and without a file."""
    answer = cli("preview", *options, f"--templates={folder}")

    assert code == answer.code
    assert problem in answer.err


@pytest.mark.parametrize("command", [("preview", "order.shipped"), ("templates", "check")])
@pytest.mark.parametrize("given", ["", "\0", "no/such/folder", __file__, "x" * 5000])
def test_what_is_no_folder_is_a_usage_error(cli, command, given):
    """An empty name is not the current folder."""
    answer = cli(*command, f"--templates={given}")

    assert 2 == answer.code
    assert "templates: " in answer.err


def test_without_a_folder_both_say_how_to_name_one(cli, monkeypatch):
    """By the option or the environment."""
    monkeypatch.delenv("NOTIFYKIT_TEMPLATES", raising=False)

    assert "give --templates FOLDER, or set NOTIFYKIT_TEMPLATES" in cli("templates", "check").err


def test_check_finds_nothing_in_good_templates(cli, folder):
    """And says how much it has looked at."""
    answer = cli("templates", "check", f"--templates={folder}")

    assert (0, "checked 10 files: nothing found\n") == (answer.code, answer.out)


def test_check_lists_each_mistake(cli, folder):
    """A line each, with the code of the mistake, and exit code 1."""
    (folder / "order.paid/chat.txt").write_text("\n{{ data.nope }}")

    answer = cli("templates", "check", f"--templates={folder}", "--marketing=order.shipped")
    assert 1 == answer.code
    assert answer.out.splitlines() == [
        "order.paid/chat.txt: data.nope is not in example.json (unknown_variable)",
        "order.paid/chat.txt:2: `data.nope` is undefined (template_failed)",
        "order.shipped/email: marketing needs email.unsubscribe.txt or public_url, for unsubscribing (no_unsubscribe)",
    ]

    records = [
        json.loads(line) for line in cli("templates", "check", f"--templates={folder}", "--json").out.splitlines()
    ]
    assert ["unknown_variable", "template_failed"] == [record["code"] for record in records]


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--marketing=nope", "there are no templates for 'nope'"),
        ("--sms-segments=0", "is not a whole number from 1 up"),
        ("--default-locale=!", "default_locale: '!' is not a locale"),
    ],
)
def test_check_refuses_wrong_options(cli, folder, option, problem):
    """In one sentence."""
    answer = cli("templates", "check", f"--templates={folder}", option)

    assert 2 == answer.code
    assert problem in answer.err


def test_what_a_tenant_stores_is_set_listed_and_rolled_back(cli, folder, tmp_path, monkeypatch):
    """From a file or stdin; what could not be rendered is refused, and the host's file comes back."""
    monkeypatch.setenv("NOTIFYKIT_TEMPLATES", str(folder))
    name, file = "order.paid/chat.txt", tmp_path / "chat.txt"
    codes = []
    for text, who in (("Thanks", "eve"), ("Thank you", "ada")):
        file.write_text(text)
        codes.append(cli("templates", "set", name, str(file), "--by", who, "--note", "tone").code)
    file.write_text("{{ data.nope }}")

    refused, missing = cli("templates", "set", name, str(file)), cli("templates", "set", name, "nowhere.txt")
    listed, rolled = cli("templates", "list"), cli("templates", "rollback", name, "1", "--json")
    history = cli("templates", "history", name, "--json")
    codes += [cli("templates", "remove", name).code for _ in range(2)]

    assert [0, 0, 0, 1] == codes
    assert "line 1" in refused.err
    assert 0 not in (refused.code, missing.code)
    assert all(part in listed.out for part in (name, "2", "ada", "tone"))
    assert (name, 3) == (rolled.record["name"], rolled.record["revision"])
    assert [(3, "Thanks"), (2, "Thank you"), (1, "Thanks")] == [(r["revision"], r["text"]) for r in history.records]
    assert "has stored no templates" in cli("templates", "list").out
