"""The URL grammar: what we accept means the same to every parser, and what is confusing is refused."""

from __future__ import annotations

import random
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifykit.channels.webhook import Refusal, addresses, parse
from notifykit.errors import DestinationRefusedError
from tests import report
from tests.everyday import examples

SEEDS = [
    "https://example.com/hook",
    "http://hooks.example.com:8443/a?b=c",
    "https://93.184.216.34/",
    "https://[2606:4700:4700::1111]:8443/x",
    "https://xn--bcher-kva.example/%2e%2e/?x=%0d%0a",
    "https://example.com./hook",
    "https://user:pass@example.com:443/#f",
    "http://127.0.0.1\\@example.com/",
    "http://0x7f.1/",
    "https://EXAMPLE.com:65535?q",
]
FRAGMENTS = [
    *("https://", "http://", "//", "/", "\\", "@", ":", "?", "#", "[", "]", "%", "%00", "%2e", ".", "..", ";", ","),
    *("example", "com", "localhost", "127", "0", "1", "0x7f", "0177", "2130706433", "::1", "::ffff:", "8.8.8.8"),
    *("443", "80", "65536", "-1", "+80", "_", "-", "xn--", "|", "{", '"', "^", "`", "<", "~", "!", "$", "'", "("),
    *(" ", "\t", "\r\n", "\x00", "\u3002", "\u2460", "\uff0e", "\u00ad", "a" * 64),
]
PIECES = st.sampled_from(FRAGMENTS)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good or a bad URL with pieces put in, taken out or replaced."""
    url = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(url)))
        url = url[:at] + draw(PIECES) + url[at + draw(st.integers(0, 3)) :]
    return url


@st.composite
def plausible(draw: st.DrawFn) -> str:
    """A URL that is put together from parts that are mostly good."""
    label = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,6}[A-Za-z0-9])?", fullmatch=True)
    name = st.lists(label, min_size=1, max_size=4).map(".".join) | st.just("example.com.")
    host = draw(name | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"))
    port = draw(st.just("") | st.integers(0, 70000).map(lambda port: f":{port}"))
    rest = draw(st.just("") | st.from_regex(r"[/?][!-~]{0,20}", fullmatch=True))
    return f"{draw(st.sampled_from(['https', 'http', 'HTTPS']))}://{host}{port}{rest}"


URLS = (
    plausible() | mutated() | st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40).map("https://".__add__)
)


def refusal(url: str, *, allow_http: bool = False) -> str | None:
    try:
        parse(url, allow_http=allow_http)
    except DestinationRefusedError as refused:
        return str(refused.reason)
    return None


def same_host(ours: str, theirs: str | None) -> bool:
    """Compare hosts, addresses by value and names by letter (a final dot means nothing to a connection)."""
    assert theirs is not None
    packed = addresses.pack(ours)
    return addresses.pack(theirs) == packed if packed else theirs.lower().removesuffix(".") == ours


@settings(max_examples=examples(3000), deadline=None)
@given(URLS)
@example("https://example.com:/")
@example("https://example.com.:443/")
@example("https://[::ffff:8.8.8.8]/")
def test_whatever_we_accept_the_other_parsers_read_alike(url):
    """Both urllib and httpx see the same scheme, host and port in the given and in the canonical URL."""
    assert_read_alike(url)


def assert_read_alike(url: str) -> bool:
    """Compare how we parse a URL with how others do; return whether we accept it."""
    try:
        target = parse(url, allow_http=True, judge=lambda _: None)
    except DestinationRefusedError:
        return False

    for text in (url, target.url):
        split = urlsplit(text)
        assert target.scheme == split.scheme.lower()
        assert same_host(target.host, split.hostname)
        assert target.port == (split.port or {"https": 443, "http": 80}[split.scheme.lower()])
        theirs = httpx.URL(text)
        assert target.scheme == theirs.scheme
        assert same_host(target.host, theirs.raw_host.decode("ascii"))
        assert target.port == (theirs.port or {"https": 443, "http": 80}[theirs.scheme])
    return True


@pytest.mark.parametrize("count", [20_000, pytest.param(2_000_000, marks=pytest.mark.soak)])
def test_many_mutations_are_read_alike(count):
    """Good URLs with pieces put in, taken out or replaced: all parsers read those that we accept alike."""
    start = random.SystemRandom().getrandbits(32)
    rng = random.Random(start)
    read = 0
    for _ in range(count):
        url = rng.choice(SEEDS)
        for _ in range(rng.randint(1, 3)):
            at = rng.randint(0, len(url))
            url = url[:at] + rng.choice(FRAGMENTS) + url[at + rng.randint(0, 3) :]
        try:
            read += assert_read_alike(url)
        except Exception as error:
            error.add_note(f"the URL was {url!r} (seed {start})")
            raise

    report.note(f"url grammar, {count:,}", cases=count, read=read, disagreements=0)
    assert read > count / 50


@settings(max_examples=examples(1500), deadline=None)
@given(URLS)
def test_the_canonical_url_is_a_fixed_point(url):
    """Reading the canonical URL again gives the same target, and it is plain visible ASCII."""
    try:
        target = parse(url, allow_http=True, judge=lambda _: None)
    except DestinationRefusedError:
        return

    assert target == parse(target.url, allow_http=True, judge=lambda _: None)
    assert all("!" <= character <= "~" for character in target.url)
    assert not set(target.url) & set('#\\"<>^`{|} ')
    assert target.path.startswith("/")


@settings(max_examples=examples(1500), deadline=None)
@given(URLS | st.text())
def test_nothing_but_a_refusal_is_raised(url):
    """Any text is either read or refused with a known reason."""
    reason = refusal(url, allow_http=True)

    assert reason is None or Refusal(reason)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.Com:443/Hook", "https://example.com/Hook"),
        ("https://example.com./", "https://example.com/"),
        ("https://example.com:8443?a=1", "https://example.com:8443/?a=1"),
        ("http://example.com:80/", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://[2606:4700:0:0::1]:8443/", "https://[2606:4700::1]:8443/"),
        ("https://example.com/a?x={y}|z", "https://example.com/a?x=%7By%7D%7Cz"),
        ("https://example.com/a@b:c;d/../%2e?u=http://x/?y", "https://example.com/a@b:c;d/../%2e?u=http://x/?y"),
    ],
)
def test_canonical_forms(url, canonical):
    """One spelling for one destination; the path is left as it is."""
    assert canonical == parse(url, allow_http=True).url


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://example.com/a", "https://example.com:443", "example.com"),
        ("https://example.com:8443/a", "https://example.com:8443", "example.com:8443"),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]:80", "[2606:4700::1]"),
    ],
)
def test_origin_and_host_header(url, origin, authority):
    """Connections are shared by origin, and the ``Host`` header leaves the default port out."""
    target = parse(url, allow_http=True)

    assert (origin, authority) == (target.origin, target.authority)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "syntax"),
        ("example.com", "syntax"),
        ("example.com:443/x", "syntax"),
        ("127.0.0.1:80", "syntax"),
        ("//example.com/", "syntax"),
        ("https:example.com", "syntax"),
        ("https:/example.com", "syntax"),
        ("https://", "syntax"),
        ("https://:443/", "syntax"),
        ("https://a:b:c/", "syntax"),
        ("https://[::1", "syntax"),
        ("https://[1.2.3.4]/", "syntax"),
        ("ftp://example.com/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("http://example.com/", "scheme"),
        ("wss://example.com/", "scheme"),
        (" https://example.com/", "control_character"),
        ("https://example.com/a b", "control_character"),
        ("https://example.com/\x7f", "control_character"),
        ("https://exämple.com/", "non_ascii"),
        ("https://example.com/ä", "non_ascii"),
        ("https://example.com\\.evil.test/", "backslash"),
        ("https://@example.com/", "userinfo"),
        ("https://example.com/#", "fragment"),
        ("https://example.com/" + "a" * 2029, "url_too_long"),
        ("https://exa_mple.com/", "host_syntax"),
        ("https://-example.com/", "host_syntax"),
        ("https://example-.com/", "host_syntax"),
        ("https://example..com/", "host_syntax"),
        ("https://example.com../", "host_syntax"),
        ("https://.example.com/", "host_syntax"),
        ("https://example%2ecom/", "host_syntax"),
        ("https://*.example.com/", "host_syntax"),
        ("https://" + "a" * 64 + ".com/", "host_too_long"),
        ("https://" + "a." * 126 + "com/", "host_too_long"),
        ("https://1.2.3/", "ip_notation"),
        ("https://1.2.3.4./", "ip_notation"),
        ("https://1.2.3.256/", "ip_notation"),
        ("https://01.2.3.4/", "ip_notation"),
        ("https://example.0x1f/", "ip_notation"),
        ("https://example.1e3/", "ip_notation"),
        ("https://localhost/", "localhost"),
        ("https://a.b.localhost./", "localhost"),
        ("https://intranet/", "single_label"),
        ("https://printer.local/", "reserved_name"),
        ("https://metadata.google.internal./", "reserved_name"),
        ("https://example.com:/", "port"),
        ("https://example.com:0443/", "port"),
        ("https://example.com:+443/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:22/", "port"),
        ("https://example.com:1023/", "port"),
        ("https://example.com:6379/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://10.0.0.1:22/", "private"),
        ("https://[fe80::1%25eth0]/", "scoped"),
    ],
)
def test_refusals(url, reason):
    """Each fault has its own stable reason."""
    assert reason == refusal(url)


@pytest.mark.parametrize("port", [80, 443, 1024, 3000, 5000, 8000, 8080, 8443, 9000, 49152, 65535])
def test_ports_where_web_servers_listen(port):
    """The usual ports pass."""
    assert port == parse(f"https://example.com:{port}/").port
