"""The table of the OWASP ASVS: each test that it names is there, and what it says of headers is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from notifykit.cli import serve
from notifykit.models.access import Role
from notifykit.testing import FakeClock
from notifykit.web import create_app
from tests.unit.web.world import ACME, client_of, made, new_kit

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "explanation" / "asvs.md"
ONLY_HTTPS = "max-age=31536000"
#: Requests of a viewer, one for each kind of answer, and their statuses.
ANSWERS = [
    ("GET", "/v1/events", 200),
    ("GET", "/v1/events?limit=x", 422),
    ("POST", "/v1/endpoints", 403),
    ("GET", "/healthz", 200),
    ("GET", "/v1/nothing", 404),
    ("POST", "/oauth/token", 400),
    ("DELETE", "/oauth/token", 405),
    ("GET", "/portal/sign-in", 200),
    ("GET", "/portal", 401),
    ("POST", "/portal/sign-out", 303),
    ("GET", "/portal/enter/l1.x", 403),
    ("GET", "/unsubscribe/x", 404),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/inbox.js", 302),
    ("GET", "/static/none.js", 404),
]
#: What is the same for everybody.
PUBLIC = {"GET /docs", "GET /openapi.json", "GET /inbox.js"}


def _rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _tests_of(path: Path) -> set[str]:
    """Return the names of a file's tests, with their classes."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for each in inside:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
                found.add(prefix + each.name)
    return found


def test_every_test_that_is_named_exists():
    """A table that names tests which are gone would show nothing."""
    named = [name for _, _, tests in _rows() for name in re.findall(r"`(tests/[^`]+)`", tests)]
    missing = []
    for name in named:
        file, _, test = name.partition("::")
        path = ROOT / file
        if not path.is_file() or (test and test not in _tests_of(path)) or not _tests_of(path):
            missing.append(name)

    assert [] == missing
    assert len(named) > 50


def test_every_row_has_items_and_a_test():
    """The numbers are those of the standard, and none is there twice for the same reason."""
    for items, asks, tests in _rows():
        assert re.fullmatch(r"\d+\.\d+\.\d+(, \d+\.\d+\.\d+)*", items), items
        assert asks
        assert "`tests/" in tests, items


@pytest.fixture
async def kit():
    async with new_kit(FakeClock()) as kit:
        yield kit


@pytest.fixture
async def client(kit):
    world = await made(kit)
    async with client_of(create_app(kit), headers=world.headers(ACME, Role.VIEWER)) as client:
        yield client


async def answers_of(client, base=""):
    """Return one answer of each kind: of the API, of pages, of files, and refusals of each."""
    found = [
        await client.request(method, base + path, follow_redirects=False, **({"data": {}} if method == "POST" else {}))
        for method, path, _ in ANSWERS
    ]
    assert [status for _, _, status in ANSWERS] == [answer.status_code for answer in found]
    return {f"{method} {path}": answer for (method, path, _), answer in zip(ANSWERS, found, strict=True)}


async def test_every_answer_has_the_headers_of_the_table(client):
    """Also a refusal; the version is told to nobody."""
    for request, answer in (await answers_of(client)).items():
        caching = "public, max-age=300" if request in PUBLIC else "no-store"
        assert (caching, "nosniff") == (answer.headers["cache-control"], answer.headers["x-content-type-options"]), (
            request
        )
        assert not {"server", "x-powered-by"} & answer.headers.keys()


async def test_a_browser_shows_no_answer_of_the_api(client):
    """It stores it as a file."""
    answers = await answers_of(client)

    for request in ("GET /v1/events", "GET /v1/events?limit=x", "POST /v1/endpoints", "GET /healthz"):
        assert 'attachment; filename="api.json"' == answers[request].headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    ["/static", "/static/", "/static/%2e%2e/render.py", "/static//etc/passwd", "/.git/config", "/portal/.git/HEAD"],
)
async def test_no_folder_is_listed_and_no_other_file_served(client, path):
    """Files are served by their own names alone."""
    answer = await client.get(path)

    assert 404 == answer.status_code
    assert "def " not in answer.text


def test_scripts_store_nothing_in_browsers():
    """No script of the pages or of the inbox uses what a browser keeps after the session."""
    scripts = [*(ROOT / "src" / "notifykit" / "web" / "pages" / "static").glob("*.js")]

    assert len(scripts) > 2
    for script in scripts:
        kept = re.findall(
            r"localStorage|sessionStorage|indexedDB|caches\b|\.cookie\b|serviceWorker", script.read_text()
        )
        assert [] == kept, script.name


@pytest.mark.parametrize(
    ("base", "public_url", "expected"),
    [
        ("http://api.test", None, None),
        ("http://api.test", "http://notify.example.org", None),
        ("http://api.test", "https://notify.example.org", ONLY_HTTPS),
        ("https://api.test", None, ONLY_HTTPS),
    ],
)
async def test_browsers_are_told_to_use_https(client, kit, base, public_url, expected):
    """Every answer over HTTPS says so: of the API, of pages, of files, and refusals; none over HTTP does."""
    kit.public_url = public_url

    answers = await answers_of(client, base)

    assert {expected} == {answer.headers.get("strict-transport-security") for answer in answers.values()}


@pytest.mark.parametrize(("proxies", "expected"), [(["127.0.0.1"], ONLY_HTTPS), (["10.0.0.1"], None), ([], None)])
async def test_only_a_proxy_of_the_options_is_believed(kit, proxies, expected):
    """What it says of HTTPS counts; of another client that is ignored."""
    options = SimpleNamespace(host="127.0.0.1", port=0, proxies=proxies)
    config = serve._server(create_app(kit), options).config
    config.ws = "none"  # the oldest uvicorn loads a module for sockets that is deprecated
    config.load()

    async with client_of(config.loaded_app) as client:
        answer = await client.get("/healthz", headers={"X-Forwarded-Proto": "https"})

    assert expected == answer.headers.get("strict-transport-security")


async def test_pages_have_a_content_security_policy(client):
    """The reference: nothing runs in it but what is its own."""
    policy = (await client.get("/docs")).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
