"""Entity markers: how a classifier is told which two entities of a text a relation is between.

Both are put between tokens of their own, as in Baldini Soares et al. 2019, section 3.2, "entity markers"; the label is
read from the first position ("[CLS]"), so that a saved model is an ordinary sequence classifier.
"""

from typing import Any

from pipelines.data.labelled import Problem

MARKERS = ("[E1]", "[/E1]", "[E2]", "[/E2]")


def mark(text: str, head: Any, tail: Any) -> str | Problem:
    """The text with both entities marked, or why it cannot be.

    Args:
        text: the text.
        head, tail: an entity: its words, which must stand in the text once; or its place as [start, end] or
            {start, end}, in characters, the end exclusive.
    """
    spans = []
    for role, entity in (("head", head), ("tail", tail)):
        span = _span(text, entity)
        if isinstance(span, str):
            return Problem(f"{role}_not_found", f"the {role} {entity!r} {span}")
        spans.append(span)
    (first, last), (second, end) = spans
    if first < end and second < last:
        return Problem("entities_overlap", f"head {text[first:last]!r} and tail {text[second:end]!r} overlap.")
    marked = text
    for (start, stop), (opening, closing) in sorted(zip(spans, (MARKERS[:2], MARKERS[2:]), strict=True), reverse=True):
        marked = f"{marked[:start]}{opening} {marked[start:stop]} {closing}{marked[stop:]}"
    return marked


def _span(text: str, entity: Any) -> tuple[int, int] | str:
    if isinstance(entity, str):
        times = text.count(entity) if entity.strip() else 0
        if times != 1:
            advice = " Give its place as [start, end]." if times > 1 else ""
            return f"stands in the text {times} times, expected once.{advice}"
        start = text.index(entity)
        return start, start + len(entity)
    place = [entity.get("start"), entity.get("end")] if isinstance(entity, dict) else entity
    if not (isinstance(place, list) and len(place) == 2 and all(isinstance(one, int) for one in place)):
        return "is neither words of the text nor a place [start, end]."
    if not 0 <= place[0] < place[1] <= len(text):
        return f"is no place in a text of {len(text)} characters."
    return place[0], place[1]
