"""The address table against an oracle that was written from the registries, not from the code."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest

from notifykit.channels.webhook import Guard, Refusal, addresses

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def v4(text: str) -> list[IPv4Network]:
    return [IPv4Network(block) for block in text.split()]


def v6(text: str) -> list[IPv6Network]:
    return [IPv6Network(block) for block in text.split()]


V4_DENIED = v4(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 "
    "203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32"
)
#: Refused behind every IPv6 prefix as well: the network may translate that prefix.
METADATA = v4(
    "169.254.169.0/24 169.254.170.0/24 169.254.0.23/32 169.254.42.42/32 100.100.100.200/32 168.63.129.16/32 "
    "192.0.0.192/32"
)
V6_UNICAST = IPv6Network("2000::/3")
V6_DENIED = v6("2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3ffe::/16 3fff::/20")
MAPPED = IPv6Network("::ffff:0:0/96")
EDGES: list[Network] = [
    *V4_DENIED,
    *V6_DENIED,
    V6_UNICAST,
    MAPPED,
    *v6("::/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/32 2001:2::/48 2001:20::/28"),
    *v6("5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"),
]


def may_be_dialled(address: Address) -> bool:
    """Return the reason by the registries."""
    if isinstance(address, IPv6Address):
        if address in MAPPED:
            return may_be_dialled(IPv4Address(int(address) & 0xFFFFFFFF))
        interface = int(address) & 0xFFFFFFFFFFFFFFFF
        if interface >> 32 in (0x5EFE, 0x02005EFE):
            return False
        if any(IPv4Address(int(address) & 0xFFFFFFFF) in block for block in METADATA):
            return False
        return address in V6_UNICAST and not any(address in block for block in V6_DENIED)
    return not any(address in block for block in V4_DENIED)


def agree(address: Address) -> bool:
    expected = may_be_dialled(address)
    return expected == (addresses.judge(str(address)) is None) == (addresses.judge(address.packed) is None)


def test_every_edge_of_every_block():
    """The first and the last address of each block, and the addresses next to them outside."""
    disagreed: list[Address] = []
    for block in EDGES:
        kind = IPv4Address if block.version == 4 else IPv6Address
        first, last = int(block.network_address), int(block.broadcast_address)
        edges = [
            n for n in (first - 1, first, first + 1, last - 1, last, last + 1) if 0 <= n < 1 << block.max_prefixlen
        ]
        disagreed += [kind(number) for number in edges if not agree(kind(number))]

    assert [] == disagreed


def test_twenty_thousand_random_addresses():
    """All over both number lines, inside every block, and with IPv4 inside IPv6."""
    rng = random.Random(20261120)
    blocks: list[Network] = [*EDGES, ip_network("0.0.0.0/0"), ip_network("::/0"), V6_UNICAST]
    disagreed = []
    for _ in range(20_000):
        block = rng.choice(blocks)
        number = int(block.network_address) + rng.getrandbits(block.max_prefixlen - block.prefixlen)
        address = IPv4Address(number) if block.version == 4 else IPv6Address(number)
        if not agree(address):
            disagreed.append(address)

    assert [] == disagreed


def test_isatap_interfaces_are_refused_in_every_network():
    """The interface id reveals ISATAP, whatever the prefix."""
    for interface in ("0:5efe", "200:5efe"):
        assert Refusal.TRANSITION == addresses.judge(f"2606:4700:1:1:{interface}:808:808")


def in_all_carriers(inner: str) -> dict[str, str]:
    """Return an IPv4 address inside each transition form of IPv6, in every way that the form allows."""
    packed = IPv4Address(inner).packed
    client = bytes(byte ^ 0xFF for byte in packed)
    public = IPv4Address("8.8.8.8").packed

    def v6_of(*parts: bytes) -> str:
        return str(IPv6Address(b"".join(parts).ljust(16, b"\0")))

    local_use = b"\x00\x64\xff\x9b\x00\x01"
    return {
        "IPv4-compatible": v6_of(bytes(12), packed),
        "IPv4-mapped": v6_of(bytes(10), b"\xff\xff", packed),
        "SIIT": v6_of(bytes(8), b"\xff\xff\0\0", packed),
        "NAT64": v6_of(b"\x00\x64\xff\x9b", bytes(8), packed),
        "NAT64 /48": v6_of(local_use, packed[:2], b"\0", packed[2:]),
        "NAT64 /48, filled": v6_of(local_use, packed[:2], b"\0", packed[2:], b"\0", public),
        "NAT64 /56": v6_of(local_use, b"\x08", packed[:1], b"\0", packed[1:]),
        "NAT64 /64": v6_of(local_use, b"\x08\x08", b"\0", packed),
        "NAT64 /96": v6_of(local_use, bytes(6), packed),
        "NAT64 /96 behind an address": v6_of(local_use, public[:2], b"\0", public[2:], b"\0", packed),
        "6to4": v6_of(b"\x20\x02", packed),
        "Teredo server": v6_of(b"\x20\x01\0\0", packed, bytes(4), bytes(byte ^ 0xFF for byte in public)),
        "Teredo client": v6_of(b"\x20\x01\0\0", public, bytes(4), client),
        "ISATAP": v6_of(b"\x26\x06\x47\0", bytes(4), b"\0\0\x5e\xfe", packed),
        "ISATAP, global": v6_of(b"\x26\x06\x47\0", bytes(4), b"\x02\0\x5e\xfe", packed),
        "ISATAP in 6to4": v6_of(b"\x20\x02", public, bytes(2), b"\0\0\x5e\xfe", packed),
        "ISATAP, unique local": v6_of(b"\xfd", bytes(7), b"\0\0\x5e\xfe", packed),
    }


EVERYTHING = Guard(allow=["0.0.0.0/0", "::/0"])
ALL_V6 = Guard(allow=["::/0"])


@pytest.mark.parametrize("form", in_all_carriers("8.8.8.8"))
@pytest.mark.parametrize("metadata", ["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200"])
def test_no_carrier_opens_a_metadata_service(form, metadata):
    """An IPv6 address that may lead to a metadata service is refused as such, whatever the operator allows."""
    carrier = in_all_carriers(metadata)[form]

    assert addresses.judge(carrier) in (Refusal.METADATA, Refusal.TRANSITION)
    assert Refusal.METADATA == EVERYTHING.judge(carrier)


@pytest.mark.parametrize("form", in_all_carriers("8.8.8.8"))
def test_a_carrier_that_is_allowed_is_judged_by_what_it_carries(form):
    """Allowing a carrier opens it for public addresses; a private one needs its own block on the list."""
    public, private = in_all_carriers("8.8.4.4")[form], in_all_carriers("10.1.2.3")[form]

    assert ALL_V6.judge(public) is None
    assert Refusal.PRIVATE == ALL_V6.judge(private)
    assert Guard(allow=["::/0", "10.0.0.0/8"]).judge(private) is None


@pytest.mark.parametrize(
    ("block", "address"),
    [
        ("64:ff9b:1::/48", "64:ff9b:1::a9fe:a9fe"),
        ("64:ff9b:1::/48", "64:ff9b:1:a9fe:a9:fe00::"),
        ("64:ff9b:1:1::/96", "64:ff9b:1:1::a9fe:a9fe"),
        ("2001::/16", "2001:0:808:808::5601:5601"),
        ("2001::/16", "2001:0:a9fe:a9fe::f7f7:f7f7"),
        ("::/0", "2001:470:64::a9fe:a9fe"),
        ("fd00::/8", "fd00:64::a9fe:a9fe"),
    ],
)
def test_blocks_that_hold_carriers_do_not_open_metadata(block, address):
    """Not even a NAT64 prefix that only its network knows leads to a metadata service."""
    assert Refusal.METADATA == Guard(allow=[block]).judge(address)


def test_the_loopback_of_ipv6_carries_nothing():
    """``::1`` looks like an IPv4-compatible address and is none: an operator may allow it."""
    assert Guard(allow=["::1/128"]).judge("::1") is None
    assert Refusal.UNSPECIFIED == ALL_V6.judge("::9")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0.0.0.0", Refusal.UNSPECIFIED),
        ("::", Refusal.UNSPECIFIED),
        ("127.8.8.8", Refusal.LOOPBACK),
        ("::1", Refusal.LOOPBACK),
        ("::ffff:127.0.0.1", Refusal.LOOPBACK),
        ("10.0.0.1", Refusal.PRIVATE),
        ("fd00::1", Refusal.PRIVATE),
        ("fec0::1", Refusal.PRIVATE),
        ("100.64.0.1", Refusal.SHARED),
        ("169.254.1.1", Refusal.LINK_LOCAL),
        ("fe80::1", Refusal.LINK_LOCAL),
        ("169.254.169.254", Refusal.METADATA),
        ("::ffff:169.254.169.254", Refusal.METADATA),
        ("168.63.129.16", Refusal.METADATA),
        ("192.0.0.192", Refusal.METADATA),
        ("100.100.100.200", Refusal.METADATA),
        ("fd00:ec2::254", Refusal.METADATA),
        ("fd20:ce::254", Refusal.METADATA),
        ("224.0.0.1", Refusal.MULTICAST),
        ("ff02::1", Refusal.MULTICAST),
        ("255.255.255.255", Refusal.BROADCAST),
        ("240.0.0.1", Refusal.RESERVED),
        ("4000::1", Refusal.RESERVED),
        ("203.0.113.9", Refusal.DOCUMENTATION),
        ("2001:db8::1", Refusal.DOCUMENTATION),
        ("198.18.0.1", Refusal.BENCHMARKING),
        ("2001:2::1", Refusal.BENCHMARKING),
        ("64:ff9b::808:808", Refusal.TRANSITION),
        ("2002:808:808::1", Refusal.TRANSITION),
        ("2001::1", Refusal.TRANSITION),
        ("::8.8.8.8", Refusal.TRANSITION),
        ("2606:4700::1%eth0", Refusal.SCOPED),
        ("127.1", Refusal.NOT_AN_ADDRESS),
        ("0177.0.0.1", Refusal.NOT_AN_ADDRESS),
        ("1.2.3.4 ", Refusal.NOT_AN_ADDRESS),
        ("1.2.3.4\x00", Refusal.NOT_AN_ADDRESS),
        ("[::1]", Refusal.NOT_AN_ADDRESS),
        ("", Refusal.NOT_AN_ADDRESS),
        ("é", Refusal.NOT_AN_ADDRESS),
        (b"\x7f\x00\x01", Refusal.NOT_AN_ADDRESS),
        ("8.8.8.8", None),
        ("::ffff:8.8.8.8", None),
        ("2606:4700:4700::1111", None),
    ],
)
def test_reasons(address, reason):
    """Each kind of address has its own stable reason."""
    assert reason == addresses.judge(address)
