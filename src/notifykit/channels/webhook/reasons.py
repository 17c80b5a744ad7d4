"""The stable codes of the reasons why a destination is refused.

They appear in :class:`~notifykit.errors.DestinationRefusedError`, in verdicts, and,
with ``blocked_`` in front, as the reason of a delivery that may not be sent.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why nothing is sent to a URL or an address."""

    # the URL
    SYNTAX = "syntax"  #: not ``scheme://host[:port]/path?query``
    SCHEME = "scheme"  #: neither ``https`` nor (where it is allowed) ``http``
    CONTROL_CHARACTER = "control_character"  #: a blank or a control character, anywhere
    NON_ASCII = "non_ascii"  #: any character outside ASCII; host names are written in punycode
    BACKSLASH = "backslash"  #: parsers disagree on what it means
    USERINFO = "userinfo"  #: ``user:password@``; use a header instead
    FRAGMENT = "fragment"  #: ``#``
    URL_TOO_LONG = "url_too_long"  #: more than 2048 characters

    # the host
    HOST_SYNTAX = "host_syntax"  #: labels are letters, digits and inner hyphens; no percent signs
    HOST_TOO_LONG = "host_too_long"  #: a label above 63 or a name above 253 characters
    IP_NOTATION = "ip_notation"  #: an address that is not written as ``1.2.3.4`` or ``[2001:…]``
    LOCALHOST = "localhost"  #: ``localhost`` and all names below it
    SINGLE_LABEL = "single_label"  #: a name without a dot exists only inside some network
    RESERVED_NAME = "reserved_name"  #: ``.local``, ``.internal`` and their like
    PORT = "port"  #: 443, 80 and most ports from 1024 up are allowed

    # the address
    UNSPECIFIED = "unspecified"  #: ``0.0.0.0/8``, ``::``
    LOOPBACK = "loopback"
    PRIVATE = "private"  #: RFC 1918, unique local and site local addresses
    SHARED = "shared"  #: carrier-grade NAT, ``100.64.0.0/10``
    LINK_LOCAL = "link_local"
    METADATA = "metadata"  #: a cloud's metadata service; no allow-list lifts it
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    RESERVED = "reserved"  #: reserved by IANA, or not global unicast
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    TRANSITION = "transition"  #: IPv4 inside IPv6: NAT64, 6to4, Teredo, ISATAP, SIIT …
    SCOPED = "scoped"  #: an address with a zone (``fe80::1%eth0``)
    NOT_AN_ADDRESS = "not_an_address"
