"""Makes the tables of ``explanation/decisions.md`` from the codes: ``python -m docs.generate_decisions``.

The codes are the contract; a test holds the page to them.
"""

from __future__ import annotations

from pathlib import Path

from notifykit.policies.audience import SENTENCES
from notifykit.policies.contact import REASONS

PAGE = Path(__file__).parent / "explanation" / "decisions.md"

BEGIN = "% Made from src/notifykit/policies/contact.py: python -m docs.generate_decisions"
BEGIN_STEPS = "% Made from src/notifykit/policies/audience.py: python -m docs.generate_decisions"
END = "% Here ends what is made."


def table() -> str:
    """Return the table of the decision's codes."""
    rows = []
    for number, (code, reason) in enumerate(REASONS.items(), 1):
        security = "yes" if reason.security else "–"
        rows.append(f"| {number} | {reason.when} | {reason.verdict} | `{code}` | {security} | {reason.sentence} |")
    head = ["| | when | verdict | code | security | what people are told |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def steps_table() -> str:
    """Return the table of the codes that come from steps and records."""
    rows = [f"| `{code}` | {sentence} |" for code, sentence in SENTENCES.items()]
    return "\n".join(["| code | what it means |", "| --- | --- |", *rows])


def page(text: str) -> str:
    """Return the page with fresh tables.

    Args:
        text: The page as it is.
    """
    for begin, made in ((BEGIN, table()), (BEGIN_STEPS, steps_table())):
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        text = f"{before}{begin}\n\n{made}\n\n{END}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
