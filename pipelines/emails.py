"""E-mail addresses."""

import re
from collections.abc import Iterator

from pipelines.text_search import NO_DELIMITER, back, places

_LOCAL = re.compile(r"[A-Za-z0-9._%+À-ɏ-]")
_DOMAIN = re.compile(r"((?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+([A-Za-z]{2,24}))(?![\w(@-])")
# Besides the codes of countries: IANA lists 1,400, most of which are words that programs use as well.
_TOP_LEVEL = re.compile(
    r"(?i)com|org|net|edu|gov|mil|int|info|biz|name|pro|aero|coop|museum|jobs|mobi|tel|travel|cat|asia|xyz|online|site|"
    r"tech|cloud|email|app|dev|page|blog|shop|store|art|science|academy|education|university|institute|school|college|"
    r"foundation|agency|systems|solutions|software|technology|network|digital|media|news|press|world|global|group|team|"
    r"center|company|ventures|consulting|health|bio|eco|earth|energy|engineering|expert|live|life|london|paris|berlin|"
    r"hamburg|wien|koeln|tokyo|nyc|amsterdam|bayern|swiss|scot|ngo|ong|one|space|website|local|lan|internal|corp"
)
_NO_COUNTRIES = {"js", "ts", "go", "cs", "kt", "hs", "rb", "db", "gz", "xz"}
# RFC 2606 and RFC 6761
RESERVED = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$")
_NO_PERSON = {"git", "hg", "noreply", "no-reply", "donotreply", "do-not-reply"}


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of e-mail addresses of a text as it is searched."""
    for at in places(text, "@"):
        domain = _DOMAIN.match(text, at + 1)
        if domain is None or not _is_top_level(domain[2]) or RESERVED.search(domain[1]):
            continue
        local = back(_LOCAL, text, at, 64).lstrip(".%")
        start = at - len(local)
        if local and not local.endswith(".") and local.lower() not in _NO_PERSON and not _is_in_url(text, start):
            yield start, domain.end()


def _is_top_level(name: str) -> bool:
    if len(name) == 2:
        return name in (name.lower(), name.upper()) and name.lower() not in _NO_COUNTRIES
    return _TOP_LEVEL.fullmatch(name) is not None


def _is_in_url(text: str, start: int) -> bool:
    """Whether a place is within an address, but for the values of its query."""
    before = back(NO_DELIMITER, text, start)
    return "://" in before and not before.endswith("=")
