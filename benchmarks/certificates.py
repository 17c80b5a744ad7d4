"""A certificate authority for one run, and a certificate for the loopback addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import attrs
import trustme


@attrs.frozen
class Certificates:
    """Files in PEM.

    Attributes:
        authority: The certificate that a worker has to trust.
        server: The receiver's certificate, with its key.
    """

    authority: Path
    server: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make an authority, and a certificate for 127.0.0.1."""
        made = cls(folder / "authority.pem", folder / "server.pem")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(made.authority)
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(made.server)
        return made
