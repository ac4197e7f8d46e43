"""The part of a card that its author writes, and that stays when the card is made again."""

import re

BEGIN = "<!-- Your own text: what stands from here to the end mark stays when this card is made again. -->"
END = "<!-- End of your own text. -->"


def framed(text: str) -> str:
    """The author's text between its marks."""
    return f"{BEGIN}\n{text}\n{END}" if text else f"{BEGIN}\n{END}"


def own_text(card: str) -> str | None:
    """The author's text in a card; None where the card has no such part, so that Plumbline did not make it."""
    found = re.search(re.escape(BEGIN) + r"(.*?)" + re.escape(END), card, re.DOTALL)
    return None if found is None else found[1].strip()
