"""The environment variables of the library: which there are, and how their values are read.

A value that is none of the known ones is an error that lists them: a switch that is set to ``on`` and silently stays
off is worse than one that stops the program.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from typing import Final

from .errors import ConfigurationError

URL: Final = "NOTIFYKIT_URL"
TENANT: Final = "NOTIFYKIT_TENANT"
ALLOW: Final = "NOTIFYKIT_ALLOW"
ALLOW_NAMES: Final = "NOTIFYKIT_ALLOW_NAMES"
ALLOW_HTTP: Final = "NOTIFYKIT_ALLOW_HTTP"
CHANNELS: Final = "NOTIFYKIT_CHANNELS"
#: The variable with the provider's URL, for each channel to people.
PROVIDERS: Final[Mapping[str, str]] = {name: f"NOTIFYKIT_{name.upper()}" for name in ("email", "sms", "push", "chat")}
BROKER: Final = "NOTIFYKIT_BROKER"
TEMPLATES: Final = "NOTIFYKIT_TEMPLATES"
PUBLIC_URL: Final = "NOTIFYKIT_PUBLIC_URL"
KEYS: Final = "NOTIFYKIT_KEYS"
ENVIRONMENT: Final = "NOTIFYKIT_ENV"
ENCRYPT_PAYLOADS: Final = "NOTIFYKIT_ENCRYPT_PAYLOADS"
#: What `notifykit serve` accepts: sites (CORS), how many requests, and the tokens of an identity provider.
ORIGINS: Final = "NOTIFYKIT_ORIGINS"
LIMITS: Final = "NOTIFYKIT_LIMITS"
JWT_ISSUER: Final = "NOTIFYKIT_JWT_ISSUER"
JWT_AUDIENCE: Final = "NOTIFYKIT_JWT_AUDIENCE"
JWKS_URL: Final = "NOTIFYKIT_JWKS_URL"
#: Where `notifykit run` and `notifykit serve` serve metrics.
METRICS: Final = "NOTIFYKIT_METRICS"
FAILPOINTS: Final = "NOTIFYKIT_FAILPOINTS"

#: Every variable that the library reads.
VARIABLES: Final = (
    URL,
    TENANT,
    ALLOW,
    ALLOW_NAMES,
    ALLOW_HTTP,
    CHANNELS,
    *PROVIDERS.values(),
    BROKER,
    TEMPLATES,
    PUBLIC_URL,
    KEYS,
    ENVIRONMENT,
    ENCRYPT_PAYLOADS,
    ORIGINS,
    LIMITS,
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWKS_URL,
    METRICS,
    FAILPOINTS,
)

#: In the order in which an error lists them.
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def switch(name: str) -> bool:
    """Return whether the variable ``name`` is switched on; one that is not set, or empty, is off.

    Raises:
        ConfigurationError: It has another value.
    """
    text = os.environ.get(name, "").strip()
    if not text or text.lower() in _OFF:
        return False
    if text.lower() in _ON:
        return True
    raise ConfigurationError(f"{name} is {text!r}: use {', '.join(_ON)} to switch it on, {', '.join(_OFF)} for off")


def choice(name: str, given: str | None, known: Collection[str]) -> str | None:
    """Return the one of ``known`` that the program chose, or else the variable ``name``, in lower case.

    Returns:
        ``None`` if neither is set.

    Raises:
        ConfigurationError: It is none of them.
    """
    text = (given or os.environ.get(name, "")).strip()
    if not text:
        return None
    if text.lower() not in known:
        raise ConfigurationError(f"{name if not given else 'environment='} is {text!r}: use {', '.join(known)}")
    return text.lower()


def misspelt(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return names that look like variables of the library but are not, each with the likely intended one."""
    found = {}
    for name in sorted(environment):
        plain = name.upper().replace("-", "_")
        if name not in VARIABLES and plain.replace("_", "").startswith("NOTIFYKIT"):
            found[name] = next(iter(difflib.get_close_matches(plain, VARIABLES, n=1, cutoff=0.8)), None)
    return found
