"""Makes the tables of codes in the how-tos of e-mail, SMS, push and chat: ``python -m docs.generate_providers``.

The tables of the providers' modules decide; a test holds the pages to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notifykit.channels.chat import discord, slack
from notifykit.channels.email import mailgun, postmark, sendgrid, ses
from notifykit.channels.http_answers import Code
from notifykit.channels.push import apns, fcm, webpush
from notifykit.channels.sms import sns, twilio, vonage

FOLDER = Path(__file__).parent / "howto"
END = "% Here ends what is made."
#: By page: the module of each vendor, and what its codes are.
PAGES: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    "email-providers.md": {
        "sendgrid": (sendgrid, "status"),
        "mailgun": (mailgun, "status"),
        "postmark": (postmark, "`ErrorCode`"),
        "ses": (ses, "error"),
    },
    "sms.md": {"twilio": (twilio, "`code`"), "vonage": (vonage, "`status`"), "sns": (sns, "`Code`")},
    "push.md": {"fcm": (fcm, "`errorCode`"), "apns": (apns, "`reason`"), "webpush": (webpush, "status")},
    "chat.md": {"slack": (slack, "text"), "discord": (discord, "`code`")},
}


def begin(module: Any) -> str:
    """Return the line before a table."""
    return f"% Made from src/{module.__name__.replace('.', '/')}.py: python -m docs.generate_providers"


def table(vendor: str, module: Any, head: str) -> str:
    """Return the table of a vendor's codes."""
    codes: Mapping[int | str, Code] = module.CODES
    rows = [f"| `{code}` | {row.text} | `{row.meaning}` | `{vendor}_{code}` |" for code, row in codes.items()]
    return "\n".join([f"| {head} | what it says | outcome | reason |", "| --- | --- | --- | --- |", *rows])


def page(name: str, text: str) -> str:
    """Return the page with fresh tables.

    Args:
        name: One of ``PAGES``.
        text: The page as it is.
    """
    for vendor, (module, head) in PAGES[name].items():
        before, _, rest = text.partition(begin(module))
        _, _, after = rest.partition(END)
        text = f"{before}{begin(module)}\n\n{table(vendor, module, head)}\n\n{END}{after}"
    return text


if __name__ == "__main__":
    for name in PAGES:
        (FOLDER / name).write_text(page(name, (FOLDER / name).read_text("utf-8")), "utf-8")
