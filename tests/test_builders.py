"""The embedded corpus: what is read, what is dropped, and that no near duplicate straddles two splits."""

import itertools
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.data import builders, installed_docs, near_duplicates
from pipelines.data.builders import SPLITS
from pipelines.data.installed_docs import Document, Source
from pipelines.errors import CardError, DataError

WORDS = [a + b for a, b in itertools.product(["ra", "lo", "mi", "te", "su", "no"], ["bel", "dan", "fir", "gos", "kum"])]


def prose(seed: int, words: int = 60) -> str:
    """Words that share no 13-gram with those of another seed."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def altered(text: str) -> str:
    """The same text but for its last third: it shares more than half of its 13-grams."""
    words = text.split()
    kept = len(words) * 2 // 3 + 6
    return " ".join(words[:kept] + ["other", "words", "here"])


def module(*texts: str) -> str:
    return "\n".join(f'def f{number}():\n    """{text}"""\n' for number, text in enumerate(texts))


def source(folder: Path, files: dict[str, str | bytes], name: str = "fake", version: str = "1.0") -> Source:
    for relative, content in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source(name, name, "MIT", version, folder)


@pytest.fixture
def tree(tmp_path: Path) -> Source:
    """200 documents in 20 files, every fourth one followed by an altered copy in another file."""
    files: dict[str, str | bytes] = {}
    for number in range(20):
        texts = [prose(100 * number + place) for place in range(8)]
        copies = [altered(prose(100 * ((number + 7) % 20) + place)) for place in (0, 4)]
        files[f"m{number:02}.py"] = module(*texts, *copies)
    return source(tmp_path / "site" / "fake", files)


def build(fake: Source, cache: Path) -> dict[str, Path]:
    return installed_docs.build_docs([fake], cache, held_out_share=0.15)


def read_receipt(paths: dict[str, Path]) -> dict:
    return json.loads((paths["train"].parent / "receipt.json").read_text())


def test_docstrings_of_nested_classes_and_functions_are_read_in_source_order(tmp_path: Path) -> None:
    code = '''"""  The module.

        Indented.
    """
class Outer:
    """Outer."""
    class Inner:
        "Inner."
        async def method(self):
            """Method.

            Body.
            """
    if True:
        def guarded(self): "Guarded."
def function():
    """Function."""
    def local(): "Local."
    x = "not a docstring"
try:
    pass
except ValueError:
    def fallback(): "Fallback."
'''
    (tmp_path / "m.py").write_text(code)
    assert installed_docs.read_docstrings(tmp_path / "m.py", "pkg.m") == [
        ("pkg.m", "The module.\n\nIndented."),
        ("pkg.m.Outer", "Outer."),
        ("pkg.m.Outer.Inner", "Inner."),
        ("pkg.m.Outer.Inner.method", "Method.\n\nBody."),
        ("pkg.m.Outer.guarded", "Guarded."),
        ("pkg.m.function", "Function."),
        ("pkg.m.function.<locals>.local", "Local."),
        ("pkg.m.fallback", "Fallback."),
    ]


def test_every_docstring_and_file_has_one_fate(tmp_path: Path) -> None:
    table = "Values:\n" + "\n".join(f"{i} {i / 7:.6f} {i * i}" for i in range(40))
    fake = source(
        tmp_path / "fake",
        {
            "__init__.py": f'"""{prose(1)}"""',
            "a/same.py": module(prose(1), prose(2), "Short.", table, prose(3) + "\\0"),
            "a/latin.py": b'"""caf\xe9"""',
            "a/broken.py": "def f(:\n",
            "a/nul.py": b"x = 1\x00",
            "a/tests/test_x.py": f'"""{prose(4)}"""',
            "conftest.py": f'"""{prose(5)}"""',
            "notes.txt": prose(6),
        },
    )
    documents, packages = installed_docs.collect([fake, Source("gone", "gone", "MIT", None, None)])
    assert documents == [Document("fake", "fake", prose(1)), Document("fake", "fake.a.same.f1", prose(2))]
    assert packages["fake"] == {
        "version": "1.0",
        "licence": "MIT",
        "files_read": 2,
        "files_unreadable": 3,
        "files_skipped": 2,
        "docstrings_found": 6,
        "too_short": 1,
        "not_prose": 2,
        "exact_duplicates": 1,
        "kept": 2,
        "moved_to_train": 0,
    }
    assert packages["gone"]["version"] is None and packages["gone"]["files_read"] == 0


def test_standard_library_modules_have_no_prefix_and_optional_parts_are_left_out(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "json/decoder.py": module(prose(1)),
        "tkinter/ttk.py": module(prose(2)),
        "site-packages/other.py": module(prose(3)),
    }
    folder = source(tmp_path / "lib", files).folder
    stdlib = Source("python", "", "PSF-2.0", "3.x", folder, frozenset({"tkinter"}))
    documents, packages = installed_docs.collect([stdlib])
    assert [document.name for document in documents] == ["json.decoder.f0"]
    assert packages["python"]["files_skipped"] == 1


def test_clusters_are_those_of_a_direct_comparison_of_word_sets() -> None:
    texts = [prose(seed, 20 + 3 * (seed % 9)) for seed in range(30)]
    texts += [altered(text) for text in texts[::3]] + ["One  two", "one two", "one three"]

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + 13]) for i in range(len(words) - 12)}

    sets = [grams(text) for text in texts]
    expected = list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        near = len(sets[i] & sets[j]) >= min(len(sets[i]), len(sets[j])) / 2 if sets[i] and sets[j] else False
        if near or (not sets[i] and texts[i].lower().split() == texts[j].lower().split()):
            expected = [expected[i] if label == expected[j] else label for label in expected]
    found = near_duplicates.clusters(texts, near_duplicates.gram_matrix(texts)).tolist()
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == len(set(expected)) < len(texts)
    assert [found.index(number) for number in range(max(found) + 1)] == sorted(map(found.index, set(found)))


def test_gram_matrix_counts_distinct_grams_within_one_text_only() -> None:
    twice = " ".join([prose(1, 13)] * 2)
    matrix = near_duplicates.gram_matrix([twice, "few words", prose(1, 13), prose(2, 12)])
    assert np.diff(matrix.indptr).tolist() == [13, 0, 1, 0]
    assert set(matrix[2].indices) <= set(matrix[0].indices)
    assert near_duplicates.gram_matrix([]).shape == near_duplicates.gram_matrix(["a b"])[:0].shape == (0, 0)


def test_no_near_duplicate_straddles_splits(tree: Source, tmp_path: Path) -> None:
    tables = {split: pq.read_table(path).to_pandas() for split, path in build(tree, tmp_path / "cache").items()}
    homes = {split: set(table["cluster"]) for split, table in tables.items()}
    assert sum(len(table) for table in tables.values()) == 200
    assert sum(map(len, homes.values())) == len(set().union(*homes.values())) == 160
    texts = [text for table in tables.values() for text in table["text"]]
    train = np.arange(len(texts)) < len(tables["train"])
    shared = near_duplicates.shared_with(near_duplicates.gram_matrix(texts), train)
    assert len(tables["validation"]) > 5 and len(tables["test"]) > 5
    assert shared[~train].max() < 0.5


def test_text_covered_by_the_union_of_training_texts_is_moved_with_its_cluster() -> None:
    # A mosaic takes a third of each of three long texts: near none of them, yet wholly covered by the three together.
    texts, mosaics = [], []
    for number in range(60):
        parts = [prose(1000 + 3 * number + place, 120) for place in range(3)]
        mosaic = " ".join(" ".join(part.split()[:32]) for part in parts)
        texts += [*parts, mosaic, mosaic.upper()]
        mosaics += [len(texts) - 2, len(texts) - 1]
    splits, cluster, figures = near_duplicates.assign_splits(texts, 0.1)
    rounds = figures["held_out_texts_half_in_train_by_round"]
    assert rounds[0] > 0 and rounds[-1] == 0
    moved = np.flatnonzero(figures["moved"])
    assert len(moved) >= rounds[0] and set(moved) <= set(mosaics) and not splits[moved].any()
    assert all(len(set(splits[cluster == number])) == 1 for number in set(cluster.tolist()))


def test_a_large_cluster_always_trains() -> None:
    texts = [f"{prose(1)} tail{number}" for number in range(17)] + [prose(seed) for seed in range(2, 60)]
    for share in (0.1, 0.5):
        splits, cluster, figures = near_duplicates.assign_splits(texts, share)
        assert figures["largest_cluster"] == 17 and not splits[:17].any() and splits[17:].any()


def test_splits_do_not_depend_on_file_order(tree: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(tree, tmp_path / "one")
    walk = os.walk

    def shuffled(*args, **kwargs):
        for place, inner, names in walk(*args, **kwargs):
            yield place, inner, random.Random(7).sample(names, len(names))

    monkeypatch.setattr(installed_docs.os, "walk", shuffled)
    second = build(tree, tmp_path / "two")
    assert all(first[split].read_bytes() == second[split].read_bytes() for split in SPLITS)


def test_text_keeps_its_split_when_packages_are_read_in_another_order() -> None:
    texts = [prose(seed) for seed in range(100)] + [altered(prose(seed)) for seed in range(0, 100, 5)]
    order = random.Random(3).sample(range(len(texts)), len(texts))
    here = near_duplicates.assign_splits(texts, 0.2)[0]
    there = near_duplicates.assign_splits([texts[place] for place in order], 0.2)[0]
    assert here[order].tolist() == there.tolist()


def test_second_build_reads_the_cache_and_a_new_version_does_not(
    tree: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(tree, tmp_path)
    calls = []
    collect = installed_docs.collect
    monkeypatch.setattr(installed_docs, "collect", lambda sources: calls.append(1) or collect(sources))
    assert build(tree, tmp_path) == first and not calls
    newer = Source(tree.name, tree.module, tree.licence, "1.1", tree.folder)
    assert build(newer, tmp_path)["train"].parent != first["train"].parent and calls


def test_receipt_closes(tree: Source, tmp_path: Path) -> None:
    paths = build(tree, tmp_path)
    receipt = read_receipt(paths)
    counts = receipt["packages"]["fake"]
    assert counts["kept"] == counts["docstrings_found"] == sum(split["rows"] for split in receipt["splits"].values())
    assert receipt["rows_read"] == counts["kept"] and set(receipt["rows_dropped"].values()) == {0}
    for split, path in paths.items():
        texts = pq.read_table(path)["text"].to_pylist()
        assert receipt["splits"][split]["rows"] == len(texts)
        assert receipt["splits"][split]["text_bytes"] == sum(len(text.encode()) for text in texts)
    counts["too_short"] += 1
    with pytest.raises(DataError, match="201 of 200 docstrings of fake"):
        installed_docs._check_totals(receipt["packages"])


def test_loser_of_a_race_uses_the_winners_folder(tree: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def beaten(fresh: Path, folder: Path) -> None:
        shutil.copytree(fresh, folder)
        (folder / "winner").touch()
        rename(fresh, folder)

    monkeypatch.setattr(builders.os, "rename", beaten)
    paths = build(tree, tmp_path / "cache")
    assert (paths["train"].parent / "winner").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [paths["train"].parent.name]


def test_failed_build_leaves_nothing_behind(tree: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fresh: Path, folder: Path) -> None:
        assert (fresh / "receipt.json").is_file()
        raise DataError("no place")

    monkeypatch.setattr(builders, "_publish", fail)
    with pytest.raises(DataError, match="no place"):
        build(tree, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_cache_is_refused(tree: Source, tmp_path: Path) -> None:
    paths = build(tree, tmp_path)
    damaged = bytearray(paths["test"].read_bytes())
    damaged[20] ^= 1
    paths["test"].write_bytes(damaged)
    with pytest.raises(DataError, match=r"SHA-256.*test\. Delete"):
        build(tree, tmp_path)
    paths["test"].unlink()
    with pytest.raises(DataError, match="whole corpus.*Delete"):
        build(tree, tmp_path)


def test_too_few_documents_for_every_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none in train, validation, test \(0 in all\)"):
        installed_docs.build_docs([Source("gone", "gone", "MIT", None, None)], tmp_path)
    with pytest.raises(DataError, match="none in validation, test"):
        installed_docs.build_docs([source(tmp_path / "fake", {"m.py": module(prose(1))})], tmp_path)


def test_unknown_builder_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"'instaled_doc'\. Did you mean 'installed_docs'\?"):
        builders.build("instaled_doc", tmp_path)


def test_builder_is_found_by_name_under_the_cache_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "here"))
    monkeypatch.setitem(builders.BUILDERS, "probe", lambda folder: {"train": folder})
    assert builders.build("probe") == {"train": tmp_path / "here"}
    assert builders.build("probe", tmp_path) == {"train": tmp_path}
    monkeypatch.delenv("PLUMBLINE_CACHE")
    assert builders.cache_root().name == "plumbline"


def test_installed_sources_are_the_closed_list_and_the_standard_library() -> None:
    sources = {found.name: found for found in installed_docs.find_sources()}
    assert set(sources) == {name for name, _, _ in installed_docs.PACKAGES} | {"python"}
    assert (sources["python"].folder / "json" / "decoder.py").is_file()
    assert (sources["numpy"].folder / "__init__.py").is_file() and sources["numpy"].version == np.__version__
