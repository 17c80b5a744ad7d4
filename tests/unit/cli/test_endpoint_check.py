"""``notifykit endpoints check``: one verdict for each URL, whatever is in it."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from tests.shared_data import shared_data
from tests.unit.cli.driving import Command

PUBLIC = "acme.example=93.184.216.34"


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is let through but what a test allows."""
    monkeypatch.delenv("NOTIFYKIT_ALLOW")
    monkeypatch.delenv("NOTIFYKIT_ALLOW_HTTP")


def test_all_allowed_is_0_and_one_denied_is_1(cli: Command) -> None:
    """The exit code answers for all URLs together, and the lines for each."""
    good = cli("endpoints", "check", "https://acme.example/hooks", "--resolve", PUBLIC)
    mixed = cli("endpoints", "check", "https://acme.example/", "https://10.0.0.1/", "--resolve", PUBLIC, "--json")

    assert 0 == good.code
    assert "93.184.216.34" in good.out
    assert 1 == mixed.code
    assert [
        {"url": "https://acme.example/", "verdict": "allow", "reason": None},
        {"url": "https://10.0.0.1/", "verdict": "deny", "reason": "private"},
    ] == mixed.records


def test_it_needs_no_store(cli: Command) -> None:
    """Not even a URL that could be opened."""
    assert 0 == cli("--url", "nosuchdb://", "endpoints", "check", "https://93.184.216.34/").code


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("acme.example=10.0.0.1", "private"),
        ("acme.example=93.184.216.34,169.254.169.254", "metadata"),
        ("ACME.example.=::1", "loopback"),
        ("acme.example=", "dns_failure"),
    ],
)
def test_given_addresses_stand_for_the_dns(cli: Command, answer: str, reason: str) -> None:
    """``--resolve`` decides what a host points to, without asking anybody."""
    assert reason == cli("endpoints", "check", "--json", "https://acme.example/", "--resolve", answer).record["reason"]


def test_egress_options_apply(cli: Command) -> None:
    """What the operator lets through is allowed here too."""
    url = "http://127.0.0.1:8400/"

    assert "scheme" == cli("endpoints", "check", "--json", "--allow", "127.0.0.0/8", url).record["reason"]
    assert "loopback" == cli("endpoints", "check", "--json", "--allow-http", url).record["reason"]
    assert 0 == cli("--allow-http", "endpoints", "check", "--allow", "127.0.0.0/8", url).code


def test_names_can_be_allowed(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of a private network is let through by an option or the environment, and its address by its block."""
    given = ("endpoints", "check", "--json", "--resolve", "receiver=10.0.0.7", "https://receiver/")

    assert "single_label" == cli(*given).record["reason"]
    assert "private" == cli(*given, "--allow-name", "receiver").record["reason"]
    assert 0 == cli("--allow", "10.0.0.0/8", *given, "--allow-name", "receiver").code
    monkeypatch.setenv("NOTIFYKIT_ALLOW_NAMES", "other,receiver")
    assert 0 == cli(*given, "--allow", "10.0.0.0/8").code


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "\x00",
        "\n\r\t",
        "\udc80\udcff",
        "http://\udcff/",
        "https://a\x00b/",
        "💥",
        "https://[",
        "//",
        "a" * 100_000,
    ],
)
def test_garbage_is_denied_and_echoed(cli: Command, url: str) -> None:
    """Exactly one JSON line comes back with the same URL, and people see no control characters."""
    answer = cli("endpoints", "check", "--json", url)
    shown = cli("endpoints", "check", url)

    assert (1, 1) == (answer.code, shown.code)
    assert (url, "deny") == (answer.record["url"], answer.record["verdict"])
    assert isinstance(answer.record["reason"], str)
    assert 1 == len(shown.out.splitlines())
    assert shown.out[:-1].isprintable()


def test_urls_come_from_stdin_as_they_are(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are split at line feeds only; bytes that are not UTF-8 survive; an empty line is an empty URL."""
    stdin = io.TextIOWrapper(io.BytesIO(b"https://93.184.216.34/\n\nhttps://a\r/\n\xff\xfe\x0b\nhttps://10.0.0.1/"))
    monkeypatch.setattr(sys, "stdin", stdin)

    records = cli("endpoints", "check", "--json", "-").records

    assert ["https://93.184.216.34/", "", "https://a\r/", "\udcff\udcfe\x0b", "https://10.0.0.1/"] == [
        record["url"] for record in records
    ]
    assert [None, "syntax", "control_character", "control_character", "private"] == [r["reason"] for r in records]


def test_escaped_lines_are_unescaped(cli: Command) -> None:
    """With ``--escaped`` a URL is the inside of a JSON string; what is none means itself."""
    records = cli(
        *(
            "endpoints",
            "check",
            "--json",
            "--escaped",
            "https://a\\u0000b/",
            '"https://10.0.0.1/"',
            "https://a\\qb/",
            '"',
        ),
    ).records

    assert ["https://a\x00b/", "https://10.0.0.1/", "https://a\\qb/", '"'] == [record["url"] for record in records]
    assert ["control_character", "private", "backslash"] == [record["reason"] for record in records[:3]]


def test_a_process_takes_bytes_that_are_no_text() -> None:
    """Arguments that are not UTF-8 reach the guard as surrogates, and stdout stays valid JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "notifykit", "endpoints", "check", "--json", b"http://\xff\x01/", "-"],
        input=b"\x80\n",
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"},
    )

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (1, b"") == (done.returncode, done.stderr)
    assert ["http://\udcff\x01/", "\udc80"] == [line["url"] for line in lines]


def test_the_corpus_gets_the_right_verdicts(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every URL of the corpus that should be denied is denied, one line for each, none lost."""
    rows = [
        line.split("\t")
        for line in shared_data("ssrf-corpus.txt").read_text("utf-8").splitlines()
        if line.startswith("url\t")
    ]
    denied = [row[3] for row in rows if row[2] == "deny"]
    stdin = io.TextIOWrapper(io.BytesIO("\n".join(denied).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    hosts = [f"--resolve={name}=127.0.0.1" for name in _hosts(denied)]

    answer = cli("endpoints", "check", "--json", "--allow-http", "--escaped", *hosts, "-")

    assert len(denied) > 100
    assert 1 == answer.code
    assert len(denied) == len(answer.records)
    assert [] == [record for record in answer.records if record["verdict"] != "deny"]


def _hosts(urls: list[str]) -> set[str]:
    """Return names that would need the DNS."""
    from notifykit.channels.webhook import parse
    from notifykit.errors import DestinationRefusedError

    hosts = set()
    for url in urls:
        try:
            target = parse(json.loads(f'"{url}"'), allow_http=True)
        except DestinationRefusedError:
            continue
        if not target.literal:
            hosts.add(target.host)
    return hosts
