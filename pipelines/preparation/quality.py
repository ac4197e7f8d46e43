"""Quality rules of Gopher, C4 and FineWeb: the first that a document breaks is why it is dropped.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", appendix A.1.1; Raffel et
al. 2020, "Exploring the Limits of Transfer Learning", section 2.2; Penedo et al. 2024, "The FineWeb Datasets", section
3.6. A word is what blanks part. Where the papers leave a count open, it is as datatrove (FineWeb's code) has it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError
from pipelines.preparation.lines import line_shares, paragraph_shares, sentences
from pipelines.preparation.repetition import Repetition, Words, words_of_documents
from pipelines.preparation_sections import QualityConfig

Rules = Iterator[tuple[str, NDArray[np.bool_]]]  # (reason, which documents break the rule), in order

BLOCK_CHARACTERS = 1 << 20  # documents whose words are looked at together: the arrays stay in the cache of a core
TOP_GRAMS, DUPLICATE_GRAMS = range(2, 5), range(5, 11)
REASONS = (
    *("lorem_ipsum", "curly_bracket", "few_words", "many_words", "short_words", "long_words", "symbols"),
    *("non_alphabetic_words", "few_stop_words", "few_sentences", "bullet_lines", "ellipsis_lines", "duplicate_lines"),
    *("duplicate_line_characters", "unpunctuated_lines", "short_lines"),
    *("duplicate_paragraphs", "duplicate_paragraph_characters"),
    *(f"top_{n}_gram" for n in TOP_GRAMS),
    *(f"duplicate_{n}_grams" for n in DUPLICATE_GRAMS),
)
"""In the order in which the rules are looked at."""


def quality_reasons(texts: Sequence[str], config: QualityConfig) -> list[str | None]:
    """For each text the first rule that it breaks, or None."""
    reasons: list[str | None] = []
    start = 0
    while start < len(texts):
        end, characters = start, 0
        while end < len(texts) and (end == start or characters + len(texts[end]) <= BLOCK_CHARACTERS):
            characters += len(texts[end])
            end += 1
        reasons += _reasons(texts[start:end], config)
        start = end
    return reasons


def _reasons(texts: Sequence[str], config: QualityConfig) -> list[str | None]:
    reasons: list[str | None] = [None] * len(texts)
    words = words_of_documents(texts)
    _note(_content_rules(texts, config), list(range(len(texts))), reasons)
    _note(_word_rules(texts, words, config), list(range(len(texts))), reasons)
    # What follows takes many times the memory of the text: not for a document that is too long.
    left = [place for place, reason in enumerate(reasons) if reason is None]
    if left:
        _note(_line_rules([texts[place] for place in left], config), left, reasons)
        _note(_repetition_rules(Repetition(words.of(left)), config), left, reasons)
    return reasons


def _note(rules: Rules, places: list[int], reasons: list[str | None]) -> None:
    """Writes the first rule that each document breaks to its place."""
    for reason, broken_D in rules:
        for number in np.flatnonzero(broken_D).tolist():
            reasons[places[number]] = reasons[places[number]] or reason


def _content_rules(texts: Sequence[str], config: QualityConfig) -> Rules:
    if config.drop_lorem_ipsum:
        yield "lorem_ipsum", np.array(["lorem ipsum" in text.lower() for text in texts])
    if config.drop_curly_brackets:
        yield "curly_bracket", np.array(["{" in text or "}" in text for text in texts])


def _word_rules(texts: Sequence[str], words: Words, config: QualityConfig) -> Rules:
    count_D = words.counts_D
    some_D = np.maximum(count_D, 1)
    if config.min_words is not None:
        yield "few_words", count_D < config.min_words
    if config.max_words is not None:
        yield "many_words", count_D > config.max_words
    mean_D = words.per_document(words.characters_V.astype(np.float64)) / some_D
    if config.min_mean_word_length is not None:
        yield "short_words", mean_D < config.min_mean_word_length
    if config.max_mean_word_length is not None:
        yield "long_words", mean_D > config.max_mean_word_length
    if config.max_symbol_word_ratio is not None:
        hashes_D = np.array([text.count("#") for text in texts])
        ellipses_D = np.array([text.count("...") + text.count("…") for text in texts])
        yield "symbols", np.maximum(hashes_D, ellipses_D) / some_D > config.max_symbol_word_ratio
    if config.min_alphabetic_words_share is not None:
        has_letter_V = np.array([any(map(str.isalpha, word)) for word in words.vocabulary], np.float64)
        yield "non_alphabetic_words", words.per_document(has_letter_V) / some_D < config.min_alphabetic_words_share
    if config.min_stop_words is not None:
        number = {word: place for place, word in enumerate(dict.fromkeys(config.stop_words))}
        stop_V = np.array([number.get(word.lower(), -1) for word in words.vocabulary], np.int64)
        stop_W = stop_V[words.number_W]
        found = np.zeros((len(texts), len(number)), np.bool_)
        found[words.document_W[stop_W >= 0], stop_W[stop_W >= 0]] = True
        yield "few_stop_words", found.sum(axis=1) < config.min_stop_words
    if config.min_sentences is not None:
        yield "few_sentences", np.array([sentences(text) for text in texts]) < config.min_sentences


def _line_rules(texts: Sequence[str], config: QualityConfig) -> Rules:
    lines = [line_shares(text) for text in texts]
    rules = [
        ("bullet_lines", config.max_bullet_lines_share, "bullets"),
        ("ellipsis_lines", config.max_ellipsis_lines_share, "ellipses"),
        ("duplicate_lines", config.max_duplicate_lines_share, "duplicates"),
        ("duplicate_line_characters", config.max_duplicate_line_characters_share, "duplicate_characters"),
    ]
    for reason, most, share in rules:
        if most is not None:
            yield reason, np.array([getattr(one, share) for one in lines]) > most
    if config.min_punctuated_lines_share is not None:
        yield "unpunctuated_lines", np.array([one.punctuated for one in lines]) <= config.min_punctuated_lines_share
    if config.max_short_lines_share is not None:
        yield "short_lines", np.array([one.short for one in lines]) >= config.max_short_lines_share
    paragraphs = np.array([paragraph_shares(text) for text in texts])
    limits = (config.max_duplicate_paragraphs_share, config.max_duplicate_paragraph_characters_share)
    for place, reason in enumerate(("duplicate_paragraphs", "duplicate_paragraph_characters")):
        most = limits[place]
        if most is not None:
            yield reason, paragraphs[:, place] > most


def _repetition_rules(repetition: Repetition, config: QualityConfig) -> Rules:
    for n in TOP_GRAMS:
        most = getattr(config, f"max_top_{n}_gram_characters_share")
        if most is not None:
            yield f"top_{n}_gram", repetition.top_share_D(n) > most
    for n in DUPLICATE_GRAMS:
        most = getattr(config, f"max_duplicate_{n}_gram_characters_share")
        if most is not None:
            yield f"duplicate_{n}_grams", repetition.duplicate_share_D(n) > most


def check_quality(config: QualityConfig) -> None:
    """Raises ConfigError for a threshold that no document or every document would pass."""
    for one in fields(config):
        value = getattr(config, one.name)
        if value is None or isinstance(value, (bool, list)):
            continue
        is_share = one.name.endswith("_share")
        if not is_share and value < 0:
            raise ConfigError(f"quality.{one.name} is {value}; expected 0 or more, or null to leave the rule out.")
        if is_share and not 0 <= value <= 1:
            raise ConfigError(
                f"quality.{one.name} is {value}; expected a share from 0 to 1, or null to leave the rule out."
            )
    for least, most in (("min_words", "max_words"), ("min_mean_word_length", "max_mean_word_length")):
        low, high = getattr(config, least), getattr(config, most)
        if low is not None and high is not None and low > high:
            raise ConfigError(
                f"quality.{least} is {low} and quality.{most} {high}: every document would be dropped. "
                f"Lower {least} or raise {most}."
            )
    if config.min_stop_words is not None and config.min_stop_words > len(set(config.stop_words)):
        raise ConfigError(
            f"quality.min_stop_words is {config.min_stop_words}, but quality.stop_words has "
            f"{len(set(config.stop_words))} words: every document would be dropped. Lower it, or name more words."
        )
