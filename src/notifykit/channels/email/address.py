"""E-mail addresses: what one is, and the one way in which it is stored.

Pure.  RFC 5321 and 6531, without what is never a person's mailbox: quoted local parts and address literals.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import attrs
import idna

from ...errors import InvalidInputError
from ...models.checks import UNPRINTABLE

#: RFC 5321, section 4.5.3.1, in octets.
_LONGEST_LOCAL, _LONGEST = 64, 254
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_ASCII_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAILBOX = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<>"]*?))\s*<([^<>]*)>\s*', re.DOTALL)


@attrs.frozen
class Mailbox:
    """An address with the name that is shown beside it.

    Attributes:
        address: In its canonical form.
    """

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        """What follows the ``@``, in ASCII."""
        return self.address.rpartition("@")[2]


def canonical_address(address: str) -> str:
    """Return the canonical form of ``name@domain``: the domain in lower case and punycode, Unicode composed (NFC).

    The case of what precedes the ``@`` is kept, because only the domain's own server may ignore it.

    Raises:
        InvalidInputError: It is no address.
    """
    local, found, domain = address.strip().rpartition("@")
    if not found or not local:
        raise _refused("must be like name@example.org")
    local = unicodedata.normalize("NFC", local)
    if local.startswith('"'):
        raise _refused("a quoted name before the @ is not supported")
    if not _LOCAL.fullmatch(local) or not local.isprintable() or any(map(str.isspace, local)):
        raise _refused("has characters before the @ that an address cannot have")
    if len(local.encode()) > _LONGEST_LOCAL:
        raise _refused(f"has more than {_LONGEST_LOCAL} bytes before the @")
    result = f"{local}@{_canonical_domain(domain)}"
    if len(result.encode()) > _LONGEST:
        raise _refused(f"is longer than {_LONGEST} bytes")
    return result


@lru_cache(maxsize=4096)
def _canonical_domain(domain: str) -> str:
    if domain.isascii():
        found = domain.lower()
    else:
        try:
            found = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise _refused("its domain has characters that a domain cannot have") from None
    if not _ASCII_DOMAIN.fullmatch(found):
        raise _refused("its domain is not one, such as example.org")
    return found


@lru_cache(maxsize=1024)
def parse_mailbox(text: str) -> Mailbox:
    """Read ``name@example.org`` or ``Name <name@example.org>``.

    Raises:
        InvalidInputError: It is neither.
    """
    if (found := _MAILBOX.fullmatch(text)) is None:
        return Mailbox(canonical_address(text))
    quoted, plain, address = found.groups()
    name = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
    if UNPRINTABLE.search(name):
        raise InvalidInputError(["name: has control characters"])
    return Mailbox(canonical_address(address), name)


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError([f"address: {why}"])
