"""Makes the tables of ``howto/email-providers.md`` from the codes: ``python -m docs.generate_email_providers``.

The tables of the modules decide; a test holds the page to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notifykit.channels.email import mailgun, postmark, sendgrid, ses
from notifykit.channels.http_answers import Code

PAGE = Path(__file__).parent / "howto" / "email-providers.md"
END = "% Here ends what is made."
#: The module of each vendor, and what its codes are.
VENDORS: Mapping[str, tuple[Any, str]] = {
    "sendgrid": (sendgrid, "status"),
    "mailgun": (mailgun, "status"),
    "postmark": (postmark, "`ErrorCode`"),
    "ses": (ses, "error"),
}


def begin(vendor: str) -> str:
    """Return the line before a table."""
    return f"% Made from src/notifykit/channels/email/{vendor}.py: python -m docs.generate_email_providers"


def table(vendor: str) -> str:
    """Return the table of a vendor's codes."""
    module, head = VENDORS[vendor]
    codes: Mapping[int | str, Code] = module.CODES
    rows = [f"| `{code}` | {row.text} | `{row.meaning}` | `{vendor}_{code}` |" for code, row in codes.items()]
    return "\n".join([f"| {head} | what it says | outcome | reason |", "| --- | --- | --- | --- |", *rows])


def page(text: str) -> str:
    """Return the page with fresh tables.

    Args:
        text: The page as it is.
    """
    for vendor in VENDORS:
        before, _, rest = text.partition(begin(vendor))
        _, _, after = rest.partition(END)
        text = f"{before}{begin(vendor)}\n\n{table(vendor)}\n\n{END}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
