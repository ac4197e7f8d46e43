"""What a card says of a kind of model, beside what it says of every run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """The parts of a card that differ between kinds of models.

    Attributes:
        title: heading.
        about: what it is and how it was made, a paragraph.
        scores: lines of a Markdown table.
        scored: what the scores are of, a sentence or more.
        code: Python that uses it.
        limits: what it is not good for, a paragraph.
        pipeline_tag: the Hub's name of what it does, if it has one.
        library_name: what loads it, if the Hub knows that.
        tags: of the card.
        more: further sections or paragraphs, in Markdown.
    """

    title: str
    about: str
    scores: list[str]
    scored: str
    code: str
    limits: str
    pipeline_tag: str | None = None
    library_name: str | None = "transformers"
    tags: tuple[str, ...] = ()
    more: str = ""
