"""The grammar of a webhook URL, decided before any library sees it.

Parsers disagree on about a third of hostile URLs, so what two of them could read
in two ways is refused here, and everything is sent from the parts that this
module found.  It uses no DNS and opens no connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import attrs

from ...errors import DestinationRefusedError
from . import addresses
from .reasons import Refusal

MAX_URL: Final = 2048
MAX_NAME: Final = 253
MAX_LABEL: Final = 63
DEFAULT_PORTS: Final = {"https": 443, "http": 80}

#: Ports from 1024 up where something other than a web server listens, by convention.
DENIED_PORTS: Final = frozenset(
    {1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3128, 3306, 3389, 3659, 4045, 4190, 5060, 5061}
    | {5432, 5433, 5671, 5672, 5900, 5984, 6000, 6379, 6380, 6432, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679}
    | {6697, 7199, 8500, 9042, 9092, 9160, 9200, 9300, 10080, 10250, 10255, 11211, 26379, 27017, 27018, 27019}
)

_RESERVED_NAMES: Final = (".local", ".internal", ".localdomain", ".lan", ".intranet", ".home.arpa")

_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\x9f]|\s")
_OTHER_SCHEME: Final = re.compile(r"(?!https?:)(?:[a-z0-9+.-]+://|[a-z][a-z0-9+-]*:(?!\d))", re.IGNORECASE)
_PARTS: Final = re.compile(r"(https?)://([^/?]*)([^?]*)(\?.*)?", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::([^:\[\]]*))?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_QUAD: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
#: Characters that a URL must not contain unescaped, but that people write.
_QUOTED: Final = {ord(c): f"%{ord(c):02X}" for c in '"<>^`{|}'}

Judge = Callable[[str], Refusal | None]
ListsName = Callable[[str], bool]


@attrs.frozen(kw_only=True)
class Target:
    """Where a request goes, in the only spelling that is used from here on.

    Attributes:
        scheme: ``https`` or ``http``.
        host: A lower-case name without a trailing dot, or an address without brackets.
        port: The port, the scheme's default included.
        path: Path and query as they are sent; never empty.
        tenant: The tenant that the request belongs to.
        origin: ``scheme://host:port``.
        pool_key: The origin and the tenant: only requests with the same one may share a connection, so that a
        receiver's late bytes are never read as the answer to another tenant's request.
        authority: The value of the ``Host`` header: the port is left out if it is the default.
        literal: Whether the host is an address.
    """

    scheme: str
    host: str
    port: int
    path: str
    literal: bool
    tenant: str = ""
    origin: str = attrs.field(init=False)
    pool_key: str = attrs.field(init=False)
    authority: str = attrs.field(init=False)

    @origin.default
    def _origin(self) -> str:
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @pool_key.default
    def _pool_key(self) -> str:
        return f"{self.origin} {self.tenant}"  # an origin has no blanks: two pairs never make the same text

    @authority.default
    def _authority(self) -> str:
        return self._bracketed if self.port == DEFAULT_PORTS[self.scheme] else f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def url(self) -> str:
        """The canonical text of the URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


def _lists_none(_: str) -> bool:
    return False


def parse(
    url: str, *, allow_http: bool = False, judge: Judge = addresses.judge, lists_name: ListsName = _lists_none
) -> Target:
    """Read ``url``, or refuse it.

    Args:
        allow_http: Whether ``http://`` is acceptable.
        judge: What decides on a host that is an address (and on ``localhost``, as ``127.0.0.1``).
        lists_name: Whether the operator allows a name that exists only inside some network.

    Raises:
        DestinationRefusedError: With one of the codes of :class:`~.reasons.Refusal`.
    """
    _refuse_confusing(url)
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise _refused(Refusal.SYNTAX, "an absolute URL is needed: https://host/path")
    scheme, authority, path, query = parts.groups()
    scheme = scheme.lower()
    host, port, literal = _read_authority(authority, scheme)
    reason = judge(host) if literal else _judge_name(host, judge, lists_name)
    if reason is not None:
        lifted_by = host if literal else "127.0.0.1" if host == "localhost" else ""
        raise DestinationRefusedError(reason, host, block=addresses.block_of(lifted_by))
    if port in DENIED_PORTS or (port < 1024 and port not in (80, 443)):
        raise _refused(Refusal.PORT, str(port))
    if scheme == "http" and not allow_http:
        raise _refused(Refusal.SCHEME, "only https is allowed")
    return Target(
        scheme=scheme,
        host=host,
        port=port,
        path=((path or "/") + (query or "")).translate(_QUOTED),
        literal=literal,
    )


def _refuse_confusing(url: str) -> None:
    """Refuse what is wrong wherever in the URL it stands."""
    if _UNSAFE.search(url):
        raise _refused(Refusal.CONTROL_CHARACTER, "no blanks and no control characters")
    if not url.isascii():
        raise _refused(Refusal.NON_ASCII, "write the host in punycode (xn--…) and the rest percent-encoded")
    if _OTHER_SCHEME.match(url):
        raise _refused(Refusal.SCHEME, "only https is allowed")
    if "\\" in url:
        raise _refused(Refusal.BACKSLASH)
    if "#" in url:
        raise _refused(Refusal.FRAGMENT)
    if len(url) > MAX_URL:
        raise _refused(Refusal.URL_TOO_LONG, f"at most {MAX_URL} characters")


def _read_authority(authority: str, scheme: str) -> tuple[str, int, bool]:
    if "@" in authority:
        raise _refused(Refusal.USERINFO, "send credentials in a header instead")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _refused(Refusal.SYNTAX, "not a host and a port; IPv6 addresses are written in brackets")
    v6, name, port_text = match.groups()
    port = DEFAULT_PORTS[scheme] if port_text is None else _read_port(port_text)
    if v6 is not None:
        return _read_v6(v6), port, True
    if not name:
        raise _refused(Refusal.SYNTAX, "the host is missing")
    host = name.lower()
    if _QUAD.fullmatch(host) and addresses.pack(host) is not None:
        return host, port, True
    return read_name(host), port, False


def _read_port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise _refused(Refusal.PORT, "a number from 1 to 65535, without leading zeros")
    return int(text)


def _read_v6(text: str) -> str:
    if "%" in text:
        raise _refused(Refusal.SCOPED, "addresses with a zone are refused")
    packed = addresses.pack(text) if ":" in text else None
    if packed is None:
        raise _refused(Refusal.SYNTAX, "only an IPv6 address may stand in brackets")
    return addresses.text(packed)


def read_name(name: str) -> str:
    """Return a lower-case host name without its trailing dot.

    Raises:
        DestinationRefusedError: It is not a host name.
    """
    name = name.removesuffix(".")
    if len(name) > MAX_NAME:
        raise _refused(Refusal.HOST_TOO_LONG, f"at most {MAX_NAME} characters")
    labels = name.split(".")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise _refused(Refusal.HOST_SYNTAX, "labels are letters, digits and inner hyphens")
        if len(label) > MAX_LABEL:
            raise _refused(Refusal.HOST_TOO_LONG, f"at most {MAX_LABEL} characters between dots")
    if not labels[-1][0].isalpha():
        raise _refused(Refusal.IP_NOTATION, "addresses are written as 1.2.3.4 or [2001:…]")
    return name


def _judge_name(name: str, judge: Judge, lists_name: ListsName) -> Refusal | None:
    labels = name.split(".")
    if labels[-1] == "localhost":
        return Refusal.LOCALHOST if len(labels) > 1 or judge("127.0.0.1") else None
    if lists_name(name):
        return None
    if len(labels) == 1:
        return Refusal.SINGLE_LABEL
    return Refusal.RESERVED_NAME if name.endswith(_RESERVED_NAMES) else None


def _refused(reason: Refusal, detail: str = "") -> DestinationRefusedError:
    return DestinationRefusedError(reason, detail)
