"""Personal data in a text: found by format and checksum, and replaced by tags.

What is found is what has a form: addresses, numbers. Names and what is told of people in words are not.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pipelines.emails import find_emails

Spans = Iterator[tuple[int, int]]

TAGS = {"email": "<EMAIL>", "phone": "<PHONE>", "ip": "<IP>", "iban": "<IBAN>", "card": "<CARD>"}
_ORDER = ("email", "iban", "card", "ip", "phone")  # a card number is no phone number

# ISO 13616: country, two check digits, 11 to 30 letters and digits, often in groups of four.
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
# ISO/IEC 7812: Visa, Mastercard, American Express and Discover by their first digits; 13 to 19 digits.
_CARD = re.compile(r"(?<![\w.+-])(?:4|5[1-5]|2[2-7]|3[47]|6011|65)(?:[ -]?[0-9]){11,17}(?![\w-]|\.\d)")
_IPV4 = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.\d)")
# All that IANA has assigned to machines (RFC 4291, section 2.4): `DB::Add` and `x[::2]` have the form, and lie outside.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
# E.164: + and 8 to 15 digits; the North American plan, whose area and exchange codes do not begin with 0 or 1.
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+[1-9](?:[ .\-/]?\(?[0-9]\)?){7,14}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4})(?![\w-]|\.\d)"
)
_DIGITS = re.compile(r"[0-9]")
_LONG_NUMBER = re.compile(r"[0-9](?:[^A-Za-z]{0,3}[0-9]){6}")  # every phone and card number has one


def scrub(text: str, kinds: Sequence[str]) -> tuple[str, Counter[str]]:
    """The text with personal data replaced by TAGS, and how many of each kind.

    Args:
        text: of a document.
        kinds: keys of TAGS.
    """
    counts: Counter[str] = Counter()
    for kind in _ORDER:
        if kind not in kinds:
            continue
        pieces, end = [], 0
        for start, stop in _FIND[kind](text):
            if start >= end:
                pieces += [text[end:start], TAGS[kind]]
                end = stop
                counts[kind] += 1
        if pieces:
            text = "".join([*pieces, text[end:]])
    return text, counts


def _ibans(text: str) -> Spans:
    for found in _IBAN.finditer(text) if _DIGITS.search(text) else ():
        # Groups behind the number may be other words in capitals.
        end = found.end()
        while end >= found.start() + 15:
            if is_iban(text[found.start() : end]):
                yield found.start(), end
                break
            end = text.rfind(" ", found.start(), end)


def is_iban(number: str) -> bool:
    """Whether the check digits are right: modulo 97 of the number, its first four characters last, is 1 (ISO 7064)."""
    number = number.replace(" ", "")
    if not 15 <= len(number) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _cards(text: str) -> Spans:
    for found in _CARD.finditer(text) if _LONG_NUMBER.search(text) else ():
        digits = "".join(_DIGITS.findall(found.group()))
        if 13 <= len(digits) <= 19 and passes_luhn(digits):
            yield found.span()


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _ips(text: str) -> Spans:
    found = [*_IPV4.finditer(text)] if text.count(".") > 2 else []
    found += _IPV6.finditer(text) if text.count(":") > 1 else []
    for match in sorted(found, key=lambda one: one.start()):
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        # Others name no machine that anybody else could reach.
        if address.is_global and (address.version == 4 or address in _GLOBAL_UNICAST):
            yield match.span()


def _phones(text: str) -> Spans:
    for found in _PHONE.finditer(text) if _LONG_NUMBER.search(text) else ():
        yield found.span()


_FIND: dict[str, Callable[[str], Spans]] = {
    "email": find_emails,
    "iban": _ibans,
    "card": _cards,
    "ip": _ips,
    "phone": _phones,
}
