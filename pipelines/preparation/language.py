"""The language of a text, by the naive Bayes model over byte n-grams of py3langid (Lui and Baldwin 2012)."""

import functools
from typing import Any

from pipelines.errors import ConfigError, did_you_mean
from pipelines.preparation_sections import LanguageConfig

EXCERPT_CHARACTERS = 200


def language_of(text: str) -> tuple[str, float]:
    """ISO 639 code of the likeliest language, and its probability, from the beginning and the middle of a text."""
    if len(text) > 2 * EXCERPT_CHARACTERS:
        middle = (len(text) - EXCERPT_CHARACTERS) // 2
        middle = max(middle, EXCERPT_CHARACTERS)
        text = f"{text[:EXCERPT_CHARACTERS]} {text[middle : middle + EXCERPT_CHARACTERS]}"
    language, probability = _identifier().classify(text)
    return str(language), float(probability)


def language_reason(text: str, config: LanguageConfig) -> str | None:
    """Why a text is dropped: `other_language`, `uncertain_language`, or None."""
    language, probability = language_of(text)
    if language not in config.keep:
        return "other_language"
    return "uncertain_language" if probability < config.min_probability else None


def check_language(config: LanguageConfig) -> None:
    """Raises ConfigError for a language that the model does not know, none at all, or no probability."""
    if not config.keep:
        raise ConfigError("language.keep is empty. Name at least one language, or set --language.enabled false.")
    known = set(_identifier().nb_classes)
    for language in config.keep:
        if language not in known:
            raise ConfigError(
                f"language.keep names {language!r}, which is no language that py3langid knows."
                f"{did_you_mean(language, known)} It knows, by ISO 639 codes: {', '.join(sorted(known))}."
            )
    if not 0 <= config.min_probability <= 1:
        raise ConfigError(f"language.min_probability is {config.min_probability}; expected a number from 0 to 1.")


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
