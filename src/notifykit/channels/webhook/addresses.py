"""Which IP addresses a delivery may be sent to.

The table is our own and dated, because the answers of :mod:`ipaddress` change
between patch releases of Python and let cloud metadata services through.

IPv4 is allowed unless it is listed; IPv6 is refused unless it is plain global
unicast (``2000::/3``) and not listed.  An IPv4-mapped address is judged as the
IPv4 address it carries; every other form of IPv4 inside IPv6 is refused.
An operator may allow these blocks, so :func:`carried` returns what an address carries:
both are judged.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from typing import Final

from .reasons import Refusal

#: When the table was last compared with the IANA special-purpose address registries.
TABLE_DATE: Final = "2026-11-20"

_V4: Final[dict[str, Refusal | None]] = {
    "0.0.0.0/0": None,
    "0.0.0.0/8": Refusal.UNSPECIFIED,
    "10.0.0.0/8": Refusal.PRIVATE,
    "100.64.0.0/10": Refusal.SHARED,
    "127.0.0.0/8": Refusal.LOOPBACK,
    "169.254.0.0/16": Refusal.LINK_LOCAL,
    "172.16.0.0/12": Refusal.PRIVATE,
    "192.0.0.0/24": Refusal.RESERVED,
    "192.0.2.0/24": Refusal.DOCUMENTATION,
    "192.31.196.0/24": Refusal.RESERVED,  # AS112
    "192.52.193.0/24": Refusal.RESERVED,  # AMT
    "192.88.99.0/24": Refusal.TRANSITION,  # 6to4 relays
    "192.168.0.0/16": Refusal.PRIVATE,
    "192.175.48.0/24": Refusal.RESERVED,  # AS112
    "198.18.0.0/15": Refusal.BENCHMARKING,
    "198.51.100.0/24": Refusal.DOCUMENTATION,
    "203.0.113.0/24": Refusal.DOCUMENTATION,
    "224.0.0.0/4": Refusal.MULTICAST,
    "240.0.0.0/4": Refusal.RESERVED,
    "255.255.255.255/32": Refusal.BROADCAST,
}
_V6: Final[dict[str, Refusal | None]] = {
    "::/0": Refusal.RESERVED,
    "::/96": Refusal.TRANSITION,  # IPv4-compatible
    "::/128": Refusal.UNSPECIFIED,
    "::1/128": Refusal.LOOPBACK,
    "::ffff:0:0:0/96": Refusal.TRANSITION,  # SIIT
    "64:ff9b::/96": Refusal.TRANSITION,  # NAT64
    "64:ff9b:1::/48": Refusal.TRANSITION,  # NAT64, local use
    "2000::/3": None,
    "2001::/23": Refusal.RESERVED,
    "2001::/32": Refusal.TRANSITION,  # Teredo
    "2001:2::/48": Refusal.BENCHMARKING,
    "2001:db8::/32": Refusal.DOCUMENTATION,
    "2002::/16": Refusal.TRANSITION,  # 6to4
    "2620:4f:8000::/48": Refusal.RESERVED,  # AS112
    "3ffe::/16": Refusal.RESERVED,  # 6bone
    "3fff::/20": Refusal.DOCUMENTATION,
    "fc00::/7": Refusal.PRIVATE,
    "fe80::/10": Refusal.LINK_LOCAL,
    "fec0::/10": Refusal.PRIVATE,
    "ff00::/8": Refusal.MULTICAST,
}
#: Services that give credentials or commands to every client that can reach them.  No allow-list lifts these.
_METADATA: Final = (
    "169.254.169.0/24",  # most clouds (.254), and the DNS and time services next to it
    "169.254.170.0/24",  # AWS container credentials
    "169.254.0.23/32",  # Tencent
    "169.254.42.42/32",  # Scaleway
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure's wire server: a public address
    "192.0.0.192/32",  # Oracle
    "fd00:ec2::/32",  # AWS
    "fd20:ce::254/128",  # Google
    "fd00:42::42/128",  # Scaleway
    "fd00:c1::a9fe:a9fe/128",  # Oracle
    "fe80::a9fe:a9fe/128",  # OpenStack
)

_MAPPED: Final = bytes(10) + b"\xff\xff"
_ISATAP: Final = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
_TEREDO: Final = b"\x20\x01\x00\x00"
#: Offsets of the four bytes of an IPv4 address behind a NAT64 prefix of 48, 56, 64 and 96 bits: byte 8 is
#: skipped (RFC 6052, section 2.2).
_NAT64: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
#: The transition forms that an operator may allow, and where each carries IPv4.
_CARRIERS: Final = (
    (bytes(12), _NAT64[3:]),  # IPv4-compatible
    (bytes(8) + b"\xff\xff\x00\x00", _NAT64[3:]),  # SIIT
    (b"\x00\x64\xff\x9b" + bytes(8), _NAT64[3:]),  # NAT64
    (b"\x00\x64\xff\x9b\x00\x01", _NAT64),  # NAT64, local use: RFC 8215 leaves the length of the prefix open
    (b"\x20\x02", ((2, 3, 4, 5),)),  # 6to4
    (_TEREDO, ((4, 5, 6, 7),)),  # the server; the client is written in another way
)


def pack(address: str) -> bytes | None:
    """Return the 4 or 16 bytes of ``address``, or ``None`` if it is not one in strict notation."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        return None


def text(packed: bytes) -> str:
    """Return the canonical text of an address of 4 or 16 bytes."""
    return socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed)


def judge(address: str | bytes) -> Refusal | None:
    """Return the reason why nothing may be sent to ``address``, or ``None`` if it is allowed.

    Args:
        address: Its text, or its 4 or 16 bytes in network order.
    """
    if isinstance(address, str):
        if "%" in address:
            return Refusal.SCOPED
        packed = pack(address)
        if packed is None:
            return Refusal.NOT_AN_ADDRESS
    else:
        packed = address
    if len(packed) == 16:
        if packed[:12] != _MAPPED:
            reason = _V6_RANGES.reason(int.from_bytes(packed))
            # A network may translate any prefix of its own to IPv4 (NAT64), in most cases with the IPv4
            # address at the end.
            if reason is not Refusal.TRANSITION and _judge_v4(packed[12:]) is Refusal.METADATA:
                return Refusal.METADATA
            return Refusal.TRANSITION if reason is None and packed[8:12] in _ISATAP else reason
        packed = packed[12:]
    elif len(packed) != 4:
        return Refusal.NOT_AN_ADDRESS
    return _judge_v4(packed)


def _judge_v4(packed: bytes) -> Refusal | None:
    return _V4_RANGES.reason(int.from_bytes(packed))


def block_of(address: str) -> str | None:
    """Return the smallest block of the table that refuses ``address`` and that an allow-list could lift.

    ``None`` if there is none: the address is allowed, or is no address, or it is a metadata service.
    """
    packed = pack(address)
    if packed is None or judge(packed) in (None, Refusal.METADATA):
        return None
    if len(packed) == 16 and packed[:12] == _MAPPED:
        packed = packed[12:]
    table, bits = (_V4, 32) if len(packed) == 4 else (_V6, 128)
    value = int.from_bytes(packed)
    blocks = [block for block, reason in table.items() if reason is not None and _holds(_span(block, bits), value)]
    smallest = max(blocks, key=lambda block: int(block.partition("/")[2]), default="::/0")
    return f"{text(packed)}/{bits}" if smallest == "::/0" else smallest  # not all of IPv6 for the sake of one address


def _holds(span: tuple[int, int], value: int) -> bool:
    return span[0] <= value <= span[1]


def carried(packed: bytes) -> tuple[bytes, ...]:
    """Return every IPv4 address that a transition address (16 bytes) may lead to.

    Where the length of a prefix is unknown, one address can be read in several ways.  All of them
    count, except those that give an address in ``0.0.0.0/8`` (no host has one), unless all of them do.
    """
    if len(packed) != 16 or int.from_bytes(packed) < 2:  # "::" and "::1" are no IPv4-compatible addresses
        return ()
    found = [
        bytes(packed[at] for at in places) for prefix, ways in _CARRIERS if packed.startswith(prefix) for places in ways
    ]
    if packed.startswith(_TEREDO):
        found.append(bytes(byte ^ 0xFF for byte in packed[12:]))
    elif packed[8:12] in _ISATAP:
        found.append(packed[12:])
    return tuple(inner for inner in found if inner[0]) or tuple(found)


class _Ranges:
    """A table of blocks, cut where the reason changes, so that one bisection finds the longest matching prefix."""

    def __init__(self, bits: int, blocks: dict[str, Refusal | None]) -> None:
        spans = [(*_span(block, bits), reason) for block, reason in blocks.items()]
        spans.sort(key=lambda span: span[1] - span[0])
        self._starts = sorted({edge for first, last, _ in spans for edge in (first, last + 1)})
        self._reasons = [
            next((reason for first, last, reason in spans if first <= start <= last), None) for start in self._starts
        ]

    def reason(self, value: int) -> Refusal | None:
        return self._reasons[bisect_right(self._starts, value) - 1]


def _span(block: str, bits: int) -> tuple[int, int]:
    address, _, length = block.partition("/")
    first = int.from_bytes(pack(address) or b"")
    return first, first + (1 << (bits - int(length))) - 1


_V4_RANGES = _Ranges(32, _V4 | {block: Refusal.METADATA for block in _METADATA if ":" not in block})
_V6_RANGES = _Ranges(128, _V6 | {block: Refusal.METADATA for block in _METADATA if ":" in block})
