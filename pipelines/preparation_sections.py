"""The typed sections of prepare_corpus. The docstring under a field is its `--help` text, with a threshold's source.

`null` switches a single rule off, `enabled: false` a whole step.
"""

from dataclasses import dataclass, field
from typing import Literal

from pipelines.sections import SourceConfig


@dataclass
class PreparationRunConfig:
    """run: where the run goes."""

    dir: str | None = None
    """Run folder. Default: runs/<recipe>/<config file>, plus a hash of the flags that make another run."""
    overwrite: bool = False
    """Delete the run folder first and start anew."""


@dataclass
class PreparedDataConfig(SourceConfig):
    """data: the text, from any source; its training split is prepared (docs/data_cards.md)."""

    sample_by: Literal["document", "paragraph", "line"] = "document"
    """What one document of a text file is."""


@dataclass
class PrepareConfig:
    """prepare: how the work is divided, and what is written (docs/preparation.md)."""

    engine: Literal["local", "ray"] = "local"
    """Where work items are done: on this machine, or on all nodes of a Ray cluster that share the run folder."""
    workers: int | None = None
    """Processes; with ray, items at once. Default: one for each core. Changes nothing that is written."""
    chunk_megabytes: float = 8.0
    """Text of one work item, which one process holds and which is not done again after an interruption."""
    shard_megabytes: float = 256.0
    """Text of one Parquet file at most; a single longer document has a file of its own."""
    samples: int = 5
    """Dropped rows of each reason that samples.json shows."""


@dataclass
class NormalisationConfig:
    """normalisation: repair of the text by ftfy (Speer 2019)."""

    enabled: bool = True
    """Repair wrongly decoded text, remove control characters, make line ends \\n and characters composed (NFC)."""


@dataclass
class LanguageConfig:
    """language: which languages are kept, by py3langid (Lui and Baldwin 2012)."""

    enabled: bool = True
    """Tell the language of each document, from up to 400 characters of its beginning and its middle."""
    keep: list[str] = field(default_factory=lambda: ["en"])
    """Languages that are kept, by their ISO 639 codes."""
    min_probability: float = 0.65
    """Least probability of the language (FineWeb, section 3.3, with fastText's model)."""


@dataclass
class QualityConfig:
    """quality: rules of Gopher (Rae et al. 2021, A.1.1), C4 (Raffel et al. 2020, 2.2), FineWeb (Penedo et al. 2024)."""

    enabled: bool = True
    """Drop documents by these rules; the first that a document breaks is the reason."""
    remove_boilerplate_lines: bool = True
    """Remove lines on JavaScript, cookies, privacy policies and terms of use (C4)."""
    require_line_punctuation: bool = False
    """Remove lines that do not end in punctuation (C4; FineWeb leaves it out, since it takes 30 % of the text)."""
    min_line_words: int | None = None
    """Remove lines of fewer words (C4: 5)."""
    drop_lorem_ipsum: bool = True
    """Drop documents with the words lorem ipsum (C4)."""
    drop_curly_brackets: bool = False
    """Drop documents with a curly bracket, which are mostly code (C4)."""
    min_words: int | None = 50
    """Least words of a document (Gopher)."""
    max_words: int | None = 100_000
    """Most words of a document (Gopher)."""
    min_mean_word_length: float | None = 3.0
    """Least mean length of the words, in characters (Gopher)."""
    max_mean_word_length: float | None = 10.0
    """Greatest mean length of the words, in characters (Gopher)."""
    max_symbol_word_ratio: float | None = 0.1
    """Most hash signs for each word, and most ellipses (Gopher)."""
    max_bullet_lines_share: float | None = 0.9
    """Greatest share of lines that begin with a bullet (Gopher)."""
    max_ellipsis_lines_share: float | None = 0.3
    """Greatest share of lines that end with an ellipsis (Gopher)."""
    min_alphabetic_words_share: float | None = 0.8
    """Least share of words with a letter (Gopher)."""
    min_stop_words: int | None = 2
    """Least number of different words of stop_words (Gopher)."""
    stop_words: list[str] = field(default_factory=lambda: ["the", "be", "to", "of", "and", "that", "have", "with"])
    """Words that running text has (Gopher's, English). Set others, or min_stop_words null, for other languages."""
    min_sentences: int | None = 3
    """Least number of sentences (C4)."""
    min_punctuated_lines_share: float | None = 0.12
    """The share of lines that end in punctuation must be greater (FineWeb)."""
    max_short_lines_share: float | None = 0.67
    """The share of lines of fewer than 30 characters must be less (FineWeb)."""
    max_duplicate_lines_share: float | None = 0.30
    """Greatest share of lines that stand before in the document (Gopher, table A1)."""
    max_duplicate_paragraphs_share: float | None = 0.30
    """Greatest share of paragraphs that stand before in the document (Gopher, table A1)."""
    max_duplicate_line_characters_share: float | None = 0.10
    """Greatest share of characters in such lines (FineWeb; Gopher: 0.20)."""
    max_duplicate_paragraph_characters_share: float | None = 0.20
    """Greatest share of characters in such paragraphs (Gopher, table A1)."""
    max_top_2_gram_characters_share: float | None = 0.20
    """Greatest share of characters in the commonest pair of words (Gopher, table A1)."""
    max_top_3_gram_characters_share: float | None = 0.18
    """The same of three words (Gopher, table A1)."""
    max_top_4_gram_characters_share: float | None = 0.16
    """The same of four words (Gopher, table A1)."""
    max_duplicate_5_gram_characters_share: float | None = 0.15
    """Greatest share of characters in any five words that stand before in the document (Gopher, table A1)."""
    max_duplicate_6_gram_characters_share: float | None = 0.14
    """The same of six words (Gopher, table A1)."""
    max_duplicate_7_gram_characters_share: float | None = 0.13
    """The same of seven words (Gopher, table A1)."""
    max_duplicate_8_gram_characters_share: float | None = 0.12
    """The same of eight words (Gopher, table A1)."""
    max_duplicate_9_gram_characters_share: float | None = 0.11
    """The same of nine words (Gopher, table A1)."""
    max_duplicate_10_gram_characters_share: float | None = 0.10
    """The same of ten words (Gopher, table A1)."""


@dataclass
class ExactDuplicatesConfig:
    """exact_duplicates: documents whose texts are equal; the first is kept."""

    enabled: bool = True
    """Drop documents equal to an earlier one, by 128-bit XXH3 of the text in lower case with blanks made one."""


@dataclass
class NearDuplicatesConfig:
    """near_duplicates: documents that share most of their word n-grams, by MinHash LSH (Broder 1997)."""

    enabled: bool = True
    """Drop documents that are near duplicates of an earlier one."""
    min_jaccard: float = 0.8
    """Least estimated Jaccard similarity of the sets of n-grams."""
    ngram_words: int = 5
    """Words of an n-gram (FineWeb: 5)."""
    signature_size: int = 128
    """Minima in a signature. The estimate's standard error is sqrt(j (1 - j) / signature_size): 0.035 at j = 0.8."""
    bands: int = 25
    """Pairs that agree in a band are compared: 1 - (1 - j**rows_per_band)**bands of all (Leskovec et al., 3.4)."""
    rows_per_band: int = 5
    """Minima in a band."""


@dataclass
class PersonalDataConfig:
    """personal_data: what is replaced by a tag such as <EMAIL>, and counted."""

    enabled: bool = True
    """Replace personal data."""
    kinds: list[Literal["email", "phone", "ip", "iban", "card"]] = field(
        default_factory=lambda: ["email", "phone", "ip", "iban", "card"]
    )
    """What is looked for: IBANs by their checksum (ISO 13616), cards by Luhn's (ISO/IEC 7812), public IP addresses."""


@dataclass
class DecontaminationConfig:
    """decontamination: evaluation sets whose texts the corpus must not hold (docs/data_cards.md)."""

    evaluation_sets: str | list[str] | None = None
    """Data cards (or card/config), paths or globs. Documents that share 13 words in a row are dropped."""


@dataclass
class PreparedCardConfig:
    """card: what the data card of the prepared corpus states beside its counts."""

    pretty_name: str | None = None
    """Name of the corpus. Default: that of the source, with (prepared)."""
    license: str | None = None
    """Licence id of the Hub. Default: the source's, or unknown."""
    license_name: str | None = None
    """Name of the licence, where license is other."""
