"""Signature Version 4 for channels: see :mod:`notifykit.signing.sigv4`."""

from ..signing.sigv4 import AwsCredentials, signed_headers

__all__ = ["AwsCredentials", "signed_headers"]
