"""Makes the table of ``explanation/decisions.md`` from the codes: ``python -m docs.generate_decisions``.

The codes are the contract; a test holds the page to them.
"""

from __future__ import annotations

from pathlib import Path

from notifykit.policies.contact import REASONS

PAGE = Path(__file__).parent / "explanation" / "decisions.md"

BEGIN = "% Made from src/notifykit/policies/contact.py: python -m docs.generate_decisions"
END = "% Here ends what is made."


def table() -> str:
    """Return the table of codes."""
    rows = []
    for number, (code, reason) in enumerate(REASONS.items(), 1):
        security = "yes" if reason.security else "–"
        rows.append(f"| {number} | {reason.when} | {reason.verdict} | `{code}` | {security} | {reason.sentence} |")
    head = ["| | when | verdict | code | security | what people are told |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def page(text: str) -> str:
    """Return the page with a fresh table.

    Args:
        text: The page as it is.
    """
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
