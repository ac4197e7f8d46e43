"""recipes/prepare_corpus.py: what is planted is found with its reason, totals close, workers change no byte."""

import hashlib
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import prepare_corpus as recipe
import pyarrow.parquet as pq
import pytest
from conftest import RECIPES

from pipelines.data import sources
from pipelines.data.cards import load_card
from pipelines.data.decontamination import EvaluationLookup, EvaluationTexts
from pipelines.data.loading import load_corpus
from pipelines.preparation import opening, quality, steps
from pipelines.preparation.accounts import LONGEST_ADDRESS, SHOWN_CHARACTERS, Account, sample_text
from pipelines.preparation.chunks import cut_into_chunks, read_part, write_part
from pipelines.preparation.duplicates import EXACT, KEPT, NEAR, find_duplicates
from pipelines.preparation.lines import line_shares, sentences
from pipelines.preparation.minhash import near_pairs, signatures
from pipelines.preparation.normalising import normalise
from pipelines.preparation.opening import names_in_rows
from pipelines.preparation.personal_data import is_iban, passes_luhn, scrub
from pipelines.preparation.quality import REASONS, quality_reasons
from pipelines.preparation.repetition import Repetition, words_of_documents
from pipelines.preparation.scrubbing import Scrubbing, begin_scrubbing
from pipelines.preparation.shards import plan_shards
from pipelines.preparation_sections import NearDuplicatesConfig, PersonalDataConfig, QualityConfig
from pipelines.run import run_recipe
from pipelines.sections import CorpusConfig

RECIPE = str(RECIPES / "prepare_corpus.py")
WORDS = """
the of and to that with have be river mountain village teacher winter garden window letter morning evening
captain sailor island harbour market bread butter kitchen silver copper golden forest animal horse cattle farmer
soldier journey answer question reason memory silence thunder weather summer autumn spring orchard meadow bridge
castle church tower stone wooden narrow gentle quiet sudden bitter honest clever lonely weary distant ancient
modern public private carried brought opened followed remembered wondered gathered whispered travelled returned
listened promised believed between through before after during against without toward beneath beyond always
never often seldom perhaps quickly brother sister father mother daughter cousin neighbour stranger traveller
painter writer doctor lawyer judge officer paper candle lantern carriage railway station platform ticket engine
wheel anchor compass chart voyage storm current number figure measure weight length colour shadow light darkness
corner ceiling carpet curtain cupboard drawer basket
"""
ENGLISH = WORDS.split()
GERMAN = """
Der alte Mann ging langsam durch den verschneiten Wald und dachte an seine Kindheit zurück. Er hatte damals mit
seinen Geschwistern in einem kleinen Haus am Rande des Dorfes gewohnt, und jeden Morgen mussten sie das Holz für
den Ofen aus dem Schuppen holen. Die Winter waren lang und streng, aber niemand beklagte sich darüber. Am Abend
saßen alle um den Tisch, und die Großmutter erzählte Geschichten, die sie selbst als Mädchen gehört hatte.
Manche handelten von Königen.
"""
MENU = "\n".join(["Home.", "About us", "Products of the day", "Contact and imprint", "Terms that we have"] * 14)
COOKIES = "This site uses cookies.\nRead our privacy policy.\nPlease enable JavaScript in your browser."
ADDRESS = "jane.roe@acme-widgets.com"
PERSONAL = (
    f"Write to {ADDRESS} or call +49 30 9018 2233 today, says the note. The server at 8.8.4.4 and the "
    "card 4539 1488 0343 6467 belong to DE89 3704 0044 0532 0130 00 now."
)


def document(seed: int, words: int = 90) -> str:
    """Sentences of English words that no other seed has."""
    draw = random.Random(seed)
    text = [draw.choice(ENGLISH) if draw.random() < 0.75 else draw.choice(ENGLISH[:8]) for _ in range(words)]
    lines = [" ".join(text[start : start + 15]).capitalize() + "." for start in range(0, words, 15)]
    return "\n".join(lines)


def nearly(seed: int) -> str:
    """A document of 300 words of which two are others: 10 of 296 5-grams; Jaccard similarity 286 / 306."""
    words = document(seed, 300).split(" ")
    words[60], words[170] = "xylophone", "zeppelin"
    return " ".join(words)


TEST_ROWS = [document(5_000 + seed, 30) for seed in range(6)]
PLANTED = {  # reason -> documents that are to be dropped for it; the document before each of them is one that stays
    "exact_duplicate": [document(seed).upper().replace(" ", "  ") for seed in range(10)],
    "near_duplicate": [nearly(seed) for seed in range(100, 120)],
    "other_language": [f"{GERMAN} {number}" for number in range(5)],
    "boilerplate": [COOKIES],
    "short_lines": [f"{MENU}\n{document(seed)}" for seed in (900,)],
    "few_words": ["The end of the story, and that is all. It is so. Yes."],
    "few_stop_words": [" ".join(ENGLISH[8:80]) + ". Yes. No."],
    "lorem_ipsum": [
        f"Lorem ipsum dolor sit {document(seed, 150)[:570]} {ADDRESS} {document(seed)}" for seed in (901, 902)
    ],
    "top_2_gram": [document(903, 60) + "\n" + "Golden harbour. " * 30],
    "contaminated": [f"{document(950 + seed)}\n{row}\n{document(960 + seed)}" for seed, row in enumerate(TEST_ROWS)],
    "null": [None],
    "empty": [" \n\t"],
}
LATER = ("exact_duplicate", "near_duplicate", "contaminated")  # what a check does not look at
PERSONAL_ROWS = [f"{document(1_000 + seed)}\n{PERSONAL}\n" + document(1_100 + seed) for seed in range(3)]


def rows() -> list[tuple[str | None, str | None]]:
    """(text, reason to be dropped or None), the planted ones spread among documents that stay."""
    kept = [document(seed) for seed in range(60)] + [document(seed, 300) for seed in range(100, 120)]
    planted = [(text, reason) for reason, texts in PLANTED.items() for text in texts]
    random.Random(1).shuffle(planted)
    return [(text, None) for text in [*kept, *PERSONAL_ROWS]] + planted


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with corpus.jsonl, and the evaluation set test.jsonl."""
    folder = tmp_path_factory.mktemp("preparation")
    lines = [json.dumps({"text": text}) for text, _ in rows()]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "test.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in TEST_ROWS), encoding="utf-8")
    return folder


def arguments(place: Path, name: str, *more: str) -> list[str]:
    return [
        *("--config", str(RECIPES / "configs/prepare_corpus/default.yaml"), "--data.card", "null"),
        *("--data.files.train", str(place / "corpus.jsonl"), "--run.dir", str(place / name)),
        *("--decontamination.evaluation_sets", str(place / "test.jsonl"), "--quality.min_sentences", "3"),
        *("--quality.max_short_lines_share", "0.67", "--prepare.chunk_megabytes", "0.04", "--prepare.samples", "2"),
        *("--prepare.shard_megabytes", "0.03", "--quality.max_duplicate_line_characters_share", "null"),
        *("--quality.max_duplicate_lines_share", "null", "--prepare.workers", "1", *more),
    ]


def prepare(place: Path, name: str, *more: str) -> int:
    return run_recipe(recipe.main, recipe.Config, RECIPE, arguments(place, name, *more))


@pytest.fixture(scope="module")
def prepared(place: Path) -> Path:
    assert prepare(place, "run") == 0
    return place / "run"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def result(run: Path) -> dict[str, str]:
    """What must not depend on how a run went: file -> SHA-256."""
    files = [*sorted((run / "corpus").iterdir()), run / "receipt.json", run / "samples.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kept_rows(run: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((run / "corpus").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


# ---------------------------------------------------------------- what is planted is found


def test_every_planted_row_is_dropped_for_its_reason_and_no_other_row(prepared: Path) -> None:
    """Recall and precision of every filter on what is planted are 1."""
    receipt = read_json(prepared / "receipt.json")["train"]
    assert receipt["rows"]["rows_dropped"] == {reason: len(texts) for reason, texts in PLANTED.items()}
    stayed = {number for number, (_, reason) in enumerate(rows(), start=1) if reason is None}
    assert {row["source_row"] for row in kept_rows(prepared)} == stayed
    assert receipt["personal_data_replaced"] == dict.fromkeys(["card", "email", "iban", "ip", "phone"], 3)


def test_totals_close_against_the_files(prepared: Path, place: Path) -> None:
    receipt = read_json(prepared / "receipt.json")
    train, kept = receipt["train"], kept_rows(prepared)
    texts = [text for text, _ in rows()]
    assert train["rows"]["rows_read"] == len(texts)
    assert train["bytes"]["bytes_read"] == sum(len((text or "").encode()) for text in texts)
    assert train["rows"]["rows_kept"] == len(kept) == len(texts) - sum(train["rows"]["rows_dropped"].values())
    sizes = train["bytes"]
    changes = sum(value for name, value in sizes.items() if name.startswith(("bytes_added", "bytes_of")))
    assert sizes["bytes_kept"] == sum(len(row["text"].encode()) for row in kept)
    assert sizes["bytes_read"] + changes - sum(sizes["bytes_dropped"].values()) == sizes["bytes_kept"]
    assert all(one["text_bytes"] <= 30_000 for one in receipt["shards"]) and len(receipt["shards"]) > 1
    assert all(row["source_file"] == "corpus.jsonl" for row in kept)


def test_samples_show_each_reason_and_no_personal_data(prepared: Path) -> None:
    samples = read_json(prepared / "samples.json")["samples"]
    shown = [one["reference"].split("\n")[0] for one in samples]
    assert {reason: shown.count(reason) for reason in shown} == {r: min(len(t), 2) for r, t in PLANTED.items()}
    assert not any("jane" in one["prompt"] for one in samples)
    near = next(one for one in samples if one["reference"].startswith("near_duplicate"))
    number = int(near["output"].rsplit(" ", 1)[1])
    first = int(near["reference"].rsplit(" ", 1)[1])
    assert nearly(first - 60 + 99) == rows()[number - 1][0]  # rows from 61 on are the documents from 100 on
    page = (prepared / "report.html").read_text(encoding="utf-8")
    assert "83 of 133 rows kept" in page and "Dropped: near duplicate" in page and "off by" not in page
    assert not (prepared / "work").exists()


def test_personal_data_is_replaced(prepared: Path) -> None:
    texts = [row["text"] for row in kept_rows(prepared) if "<EMAIL>" in row["text"]]
    assert len(texts) == 3
    for tag in ("<EMAIL>", "<PHONE> today", "at <IP> and", "card <CARD> belong", "to <IBAN> now"):
        assert all(tag in text for text in texts)


def test_the_card_loads_as_a_corpus(prepared: Path) -> None:
    card = load_card(str(prepared / "corpus"))
    assert (card.language, card.license) == (("en",), "unknown")
    corpus = load_corpus(CorpusConfig(card=str(prepared / "corpus"), validation_share=0.1))
    documents = len(corpus.splits["train"]) + len(corpus.splits["validation"])
    assert documents == read_json(prepared / "receipt.json")["train"]["rows"]["rows_kept"]


# ---------------------------------------------------------------- the same bytes


def test_two_workers_write_the_bytes_of_one(prepared: Path, place: Path) -> None:
    assert prepare(place, "two", "--prepare.workers", "2") == 0
    assert result(place / "two") == result(prepared)


@pytest.mark.parametrize("step", ["cleaning", "scrubbing", "shards"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    step: str, prepared: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"cleaning": "begin_cleaning", "scrubbing": "begin_scrubbing", "shards": "begin_writing"}[step]
    begin, done = getattr(opening, name), list[Path]()

    def begin_and_stop(*settings: Any) -> Any:
        work = begin(*settings)

        def stop_at_the_second(path: Path, item: Any) -> None:
            if len(done) == 1:
                raise KeyboardInterrupt
            work(path, item)
            done.append(path)

        return stop_at_the_second

    with monkeypatch.context() as patched:
        patched.setattr(opening, name, begin_and_stop)
        assert prepare(place, step) == 130
    assert "To go on, run the same command again" in capsys.readouterr().err
    before = done[0].stat()
    done.append(done[0])  # nothing stops any more
    assert prepare(place, step) == 0
    assert "Going on with the run" in capsys.readouterr().err
    assert result(place / step) == result(prepared)
    if step == "shards":
        assert (done[0].stat().st_ino, done[0].stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_source_that_changed_is_refused(place: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    changed = tmp_path / "corpus.jsonl"
    changed.write_bytes((place / "corpus.jsonl").read_bytes())
    (tmp_path / "test.jsonl").write_bytes((place / "test.jsonl").read_bytes())

    def interrupt(run: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(steps, "drop_duplicates", interrupt)
        assert prepare(tmp_path, "run") == 130
    changed.write_text(changed.read_text(encoding="utf-8").replace("river", "stream"), encoding="utf-8")
    assert prepare(tmp_path, "run") == 2
    assert "has changed since the run" in capsys.readouterr().err


def test_a_check_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(place, "none", "--check", "--prepare.chunk_megabytes", "2") == 0
    out = " ".join(capsys.readouterr().out.split())
    dropped = {reason: len(texts) for reason, texts in PLANTED.items() if reason not in LATER}
    told = f"Of the first {len(rows())} rows {len(rows()) - sum(dropped.values())} pass the rules; dropped: "
    assert told in out and all(f"{count} {reason}" in out for reason, count in dropped.items())
    assert not (place / "none").exists()


# ---------------------------------------------------------------- small runs


def small(folder: Path, *more: str, rows: int = 4) -> int:
    """A run in folder/run of a few documents that all stay."""
    lines = [json.dumps({"text": document(seed)}) for seed in range(rows)]
    (folder / "small.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = [
        *("--config", str(RECIPES / "configs/prepare_corpus/default.yaml"), "--run.dir", str(folder / "run")),
        *("--data.card", "null", "--data.files.train", str(folder / "small.jsonl"), "--prepare.workers", "1"),
        *("--language.enabled", "false", "--quality.max_duplicate_line_characters_share", "null", *more),
    ]
    return run_recipe(recipe.main, recipe.Config, RECIPE, given)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_card_says_what_was_not_looked_for_and_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.jsonl").write_text('{"text": "two words"}\n', encoding="utf-8")
    off = [part for name in ("near_duplicates", "personal_data") for part in (f"--{name}.enabled", "false")]
    assert small(tmp_path, "--decontamination.evaluation_sets", str(tmp_path / "short.jsonl"), *off) == 0
    assert "every one of the 1 rows" in capsys.readouterr().err
    assert read_json(tmp_path / "run/receipt.json")["decontamination"][0]["rows_too_short"] == 1
    card = (tmp_path / "run/corpus/README.md").read_text(encoding="utf-8")
    size = sum(len(document(seed)) for seed in range(4))
    assert f"|---|---|---|\n| read | 4 | {size:,} |\n| **kept** | **4** | **{size:,}** |\n\n" in card
    assert "Near duplicates: not looked for." in card and "replaced by tags.** not looked for." in card
    assert "short.jsonl (1 rows, 1 of them too short to tell)" in card and str(tmp_path) not in card


def test_rows_that_a_card_states_are_counted(prepared: Path, tmp_path: Path, capsys: Any) -> None:
    card = (prepared / "corpus/README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(card.replace("train-*.parquet", "small.jsonl"), encoding="utf-8")
    assert small(tmp_path, "--data.card", str(tmp_path), "--data.files.train", "null") == 2
    assert "states 83 rows for train of default (dataset_info), its files have 4" in told(capsys)


@pytest.mark.parametrize("more", [[], ["--check"]])
@pytest.mark.parametrize(("split", "message"), [("train", "has no rows"), ("test", "has no split train")])
def test_a_dataset_without_training_rows_is_told(
    split: str, message: str, more: list[str], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    import datasets

    empty = datasets.Dataset.from_dict({"text": []}, features=datasets.Features({"text": datasets.Value("string")}))
    monkeypatch.setattr(sources, "load_hub_dataset", lambda *_: datasets.DatasetDict({split: empty}))
    assert small(tmp_path, "--data.name", "some/thing", "--data.files.train", "null", *more) == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).split()) and not (tmp_path / "run").exists()


def test_a_chunk_of_less_than_a_byte_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert small(tmp_path, "--prepare.chunk_megabytes", "1e-7") == 2
    assert "prepare.chunk_megabytes is 1e-07; expected 0.001 or more" in told(capsys)


def test_a_torn_work_item_is_told_and_done_anew(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def interrupt(run: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(steps, "drop_duplicates", interrupt)
        assert small(tmp_path) == 130
    part = tmp_path / "run/work/cleaned/0000000.arrow"
    for size in (100, 0):
        part.write_bytes(part.read_bytes()[:size])
        assert small(tmp_path) == 2
        assert f"{part.name}, a work item of this run, is damaged" in told(capsys)
    part.unlink()
    assert small(tmp_path) == 0
    (tmp_path / "run/work/cleaned").mkdir(parents=True)  # as if it had been stopped before it deleted them
    assert small(tmp_path) == 0 and not (tmp_path / "run/work").exists()


def test_rows_are_looked_up_in_evaluation_sets_before_tags_stand_in_them(tmp_path: Path) -> None:
    shared = "Please send your answers about the silver harbour to jane.roe@acme-widgets.com before the summer ends"
    texts = [document(1), f"{document(2)}\n{shared}", f"{document(3)}\nWrite to {ADDRESS} now.", document(1)]
    columns = {"text": texts, "source_file": ["a"] * 4, "source_row": [1, 2, 3, 4]}
    write_part(tmp_path / "cleaned.arrow", columns, {})
    kinds = np.array([KEPT, KEPT, KEPT, EXACT], np.int8).tobytes()
    lookup = EvaluationLookup([EvaluationTexts("test", ["test.jsonl"], [[shared]])])
    work = begin_scrubbing(PersonalDataConfig(), lookup, 1)
    work(tmp_path / "scrubbed.arrow", Scrubbing(tmp_path / "cleaned.arrow", kinds, {3: "kept: a, row 1"}))
    table, account = read_part(tmp_path / "scrubbed.arrow")
    assert table["text"].to_pylist() == [texts[0], texts[2].replace(ADDRESS, "<EMAIL>")]
    assert account["rows_dropped"] == {"contaminated": 1, "exact_duplicate": 1}
    assert account["bytes_dropped"] == {"contaminated": len(texts[1]), "exact_duplicate": len(texts[3])}
    assert account["personal_data"] == {"email": 1}
    assert account["counts"]["bytes_added_by_tags"] == len("<EMAIL>") - len(ADDRESS)
    assert account["samples"]["contaminated"][0]["detail"].startswith("test: ")


# ---------------------------------------------------------------- parts


def test_files_are_named_without_the_folders_around_them() -> None:
    files = [
        "/home/jane/a/x.jsonl",
        "/home/jane/b/x.jsonl",
        "/home/jane/ax.jsonl",
        "own/y.jsonl",
        "https://z.org/w.txt",
    ]
    expected = ["a/x.jsonl", "b/x.jsonl", "ax.jsonl", "own/y.jsonl", "https://z.org/w.txt"]
    assert [names_in_rows(files)[file] for file in files] == expected


def test_no_piece_of_an_address_is_shown() -> None:
    """Wherever it stands about the place where a sample is cut."""
    for start in range(SHOWN_CHARACTERS - 60, SHOWN_CHARACTERS + LONGEST_ADDRESS + 1):
        account = Account(most_samples=1)
        account.drop("symbols", ("word " * 400)[: start - 1] + f" {ADDRESS} " + "word " * 400, 1, "a, row 1")
        kept = account.samples["symbols"][0]["text"]
        shown = sample_text(kept, scrub(kept, ["email"])[0])
        assert "jane" not in shown and SHOWN_CHARACTERS - 40 < len(shown) <= SHOWN_CHARACTERS + 2
    for start in range(len(ADDRESS) + 1):  # a text that tags make much shorter
        kept = ("-" * start + f" {ADDRESS}" * 99)[: SHOWN_CHARACTERS + LONGEST_ADDRESS]
        assert "jane" not in sample_text(kept, scrub(kept, ["email"])[0])
    assert sample_text("short", "short") == "short"


def test_ascii_and_quotes_need_no_ftfy() -> None:
    import ftfy

    from pipelines.preparation.normalising import _settings

    draw = random.Random(3)
    characters = [*map(chr, range(32, 127)), "\t", *"“”‘’–—…" * 6]
    for _ in range(400):
        line = "".join(draw.choices(characters, k=40))
        assert ftfy.fix_text(line, _settings()) == line == normalise(line)


def test_text_is_repaired() -> None:
    assert normalise("The Mona Lisa doesnâ€™t.\r\nZu\u0308rich \x07ok") == "The Mona Lisa doesn’t.\nZürich ok"


def test_signatures_estimate_the_jaccard_similarity() -> None:
    """The mean error over 60 pairs with similarities from 0.2 to 0.95 is that of the formula: no bias, no excess."""
    texts, expected = [], []
    for seed in range(60):
        words = [f"word{seed}of{number}" for number in range(400)]
        changed = random.Random(seed).sample(range(10, 390), 1 + seed)
        other = [f"other{place}" if place in changed else word for place, word in enumerate(words)]
        texts += [" ".join(words), " ".join(other)]
        left, right = ({tuple(one[i : i + 5]) for i in range(396)} for one in (words, other))
        expected.append(len(left & right) / len(left | right))
    signature_DK = signatures(texts, 256, 5)
    found = np.array([(signature_DK[i] == signature_DK[i + 1]).mean() for i in range(0, 120, 2)])
    true = np.array(expected)
    deviations = (found - true) / np.sqrt(true * (1 - true) / 256)
    assert abs(deviations.mean()) < 3 / np.sqrt(60)
    assert 0.6 < np.sqrt((deviations**2).mean()) < 1.4


def test_signatures_do_not_depend_on_the_documents_beside() -> None:
    texts = [document(seed) for seed in range(9)] + ["", "!", "two words"]
    together = signatures(texts, 64, 5)
    assert all((signatures([text], 64, 5)[0] == one).all() for text, one in zip(texts, together, strict=True))


def test_clusters_keep_their_first_document() -> None:
    config = NearDuplicatesConfig(min_jaccard=0.6)
    chain = [document(1, 400)]
    for place in (50, 150, 250, 350):
        words = chain[-1].split(" ")
        chain.append(" ".join([*words[:place], "novelty", *words[place + 1 :]]))
    texts = [document(2), chain[2], chain[0], document(3), *chain[3:], chain[1], document(2)]
    hash_D = np.array([[hash(text) & 0xFFFF, 0] for text in texts], np.uint64)
    found = find_duplicates(hash_D, signatures(texts, 128, 5), config, len(texts))
    assert found.kind_D.tolist() == [KEPT, KEPT, NEAR, KEPT, NEAR, NEAR, NEAR, EXACT]
    assert found.first_D.tolist() == [0, 1, 1, 3, 1, 1, 1, 0]


def test_every_pair_above_the_threshold_is_found() -> None:
    """Recall and precision 1 for 40 pairs at 0.93 among 200 documents."""
    texts = [text for seed in range(40) for text in (document(seed, 300), nearly(seed))]
    texts += [document(seed, 300) for seed in range(100, 220)]
    left, right = near_pairs(signatures(texts, 128, 5), NearDuplicatesConfig(), np.arange(len(texts)))
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(2 * i, 2 * i + 1) for i in range(40)]


def test_signatures_stand_in_memory_once() -> None:
    draw = np.random.default_rng(0)
    signature_DK, hash_D = draw.integers(0, 1 << 32, (5_000, 128), np.uint32), draw.integers(0, 1 << 63, (5_000, 2))
    tracemalloc.start()
    find_duplicates(hash_D.astype(np.uint64), signature_DK, NearDuplicatesConfig(), 5_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < signature_DK.nbytes / 2


def test_lines_of_dropped_documents_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(quality, "line_shares", lambda text: seen.append(text) or line_shares(text))
    texts = ["too short", document(1), "lorem ipsum " + document(2), nearly(3)]
    config = QualityConfig(max_duplicate_line_characters_share=None)
    assert quality_reasons(texts, config) == ["few_words", None, "lorem_ipsum", None]
    assert seen == [texts[1], texts[3]]


def test_sentences_are_those_of_each_line() -> None:
    """C4 counts a line that is kept as one at least. By hand."""
    counted = {
        "no end": 1,
        "One. Two! Three 3.5": 3,
        "a\n\n b.\nc": 3,
        'He said "yes." (She did.)': 2,
        "Well... no…\nyes": 3,
        "यह है। वह है।।": 2,
        "یہ ہے۔ کیا؟ ہاں": 3,
        "是。「好！」走吗？": 3,
        " \n": 0,
    }
    assert {text: sentences(text) for text in counted} == counted
    assert line_shares("یہ ہے۔\nیہ").punctuated == 0.5


def test_repetition_of_a_small_text_by_hand() -> None:
    """a b a b a b c: 7 characters. "a b" stands three times: 6 of 7. Its later places cover the words 3 to 6."""
    repetition = Repetition(words_of_documents(["a b a b a b c", "", "one", "x y z w v", "a b"]))
    assert repetition.top_share_D(2).tolist() == pytest.approx([6 / 7, 0, 0, 0, 0])
    assert repetition.duplicate_share_D(2).tolist() == pytest.approx([4 / 7, 0, 0, 0, 0])
    assert repetition.top_share_D(3).tolist() == pytest.approx([6 / 7, 0, 0, 0, 0])  # a b a, twice
    assert repetition.duplicate_share_D(4).tolist() == pytest.approx([4 / 7, 0, 0, 0, 0])  # a b a b again, from word 3


OFF = {
    "remove_boilerplate_lines": False,
    "drop_lorem_ipsum": False,
    **dict.fromkeys([name for name in vars(QualityConfig()) if name.startswith(("min_", "max_"))]),
}
BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "curly_bracket": ("if (a) { b }", {"drop_curly_brackets": True}),
    "many_words": ("a b c d", {"max_words": 3}),
    "short_words": ("a b c dd", {"min_mean_word_length": 1.5}),
    "long_words": ("aaaa bbbb", {"max_mean_word_length": 3.5}),
    "symbols": ("a # b # c", {"max_symbol_word_ratio": 0.3}),
    "non_alphabetic_words": ("a 1 2 3", {"min_alphabetic_words_share": 0.5}),
    "few_sentences": ("One. And 3.5 no", {"min_sentences": 3}),
    "bullet_lines": ("- a\n• b\nc", {"max_bullet_lines_share": 0.6}),
    "ellipsis_lines": ("a...\nb…\nc", {"max_ellipsis_lines_share": 0.6}),
    "unpunctuated_lines": ("a\nb\nc.", {"min_punctuated_lines_share": 0.34}),
    "duplicate_lines": ("a\nb\na\na", {"max_duplicate_lines_share": 0.4}),
    "duplicate_line_characters": ("aaaa\nb\naaaa", {"max_duplicate_line_characters_share": 0.4}),
    "duplicate_paragraphs": ("a\n\nb\n\na", {"max_duplicate_paragraphs_share": 0.3}),
    "duplicate_paragraph_characters": ("aaaa\n\nb\n\naaaa", {"max_duplicate_paragraph_characters_share": 0.4}),
    "top_3_gram": ("a b c d a b c", {"max_top_3_gram_characters_share": 0.8}),
    "top_4_gram": ("a b c d a b c d e", {"max_top_4_gram_characters_share": 0.8}),
    **{
        f"duplicate_{n}_grams": (" ".join([*"abcdefghij"[:n], "x", *"abcdefghij"[:n]]), {
            f"max_duplicate_{n}_gram_characters_share": n / (2 * n + 1) - 0.01
        })
        for n in range(5, 11)
    },
}  # fmt: skip


@pytest.mark.parametrize("reason", BROKEN)
def test_each_rule_by_itself(reason: str) -> None:
    """A text that breaks the rule, and passes where the threshold is half as strict again."""
    text, settings = BROKEN[reason]
    looser = {name: value * (1.5 if name.startswith("max_") else 0.5) for name, value in settings.items()}
    looser = {} if reason == "curly_bracket" else looser
    assert quality_reasons(["", text], QualityConfig(**OFF | settings))[1] == reason
    assert quality_reasons(["", text], QualityConfig(**OFF | looser))[1] is None


def test_every_rule_is_tried() -> None:
    assert set(REASONS) == set(BROKEN) | set(PLANTED) & set(REASONS)


PERSONAL_DATA = {
    "Call (212) 555-0187 or 212-555-0187.": "Call <PHONE> or <PHONE>.",
    "In 2019-2020, 10,000,000 of 12345678 at 1.2.3 and 3.14159265": None,
    "version 10.0.0.1 and 127.0.0.1": None,
    "2001:4860:4860::8888 at 12:30:45": "<IP> at 12:30:45",
    "x[::2], DB::Add, should be:: that; 12::30 and x[:, ::2]": None,
    "ends in NO9386011117947.": "ends in <IBAN>.",
    "order 400000000002, id 60110000000000000004": None,
    "+49 (0)30 90182233, +1 212 555 0187 and +1234567": "<PHONE>, <PHONE> and +1234567",
    "+1234567890123456 has too many digits": None,
    "card 4539148803436468 has no checksum": None,
    "DE89370400440532013001 has none either": None,
    "GB82 WEST 1234 5698 7654 32 AND MORE": "<IBAN> AND MORE",
    "mail a@example.com, git@github.com": None,
}


@pytest.mark.parametrize("text", PERSONAL_DATA)
def test_personal_data_by_form_and_checksum(text: str) -> None:
    assert scrub(text, ["email", "phone", "ip", "iban", "card"])[0] == (PERSONAL_DATA[text] or text)


def test_checksums_by_the_examples_of_the_standards() -> None:
    assert passes_luhn("79927398713") and not passes_luhn("79927398710")  # the worked example of Luhn's patent
    assert is_iban("GB82 WEST 1234 5698 7654 32") and not is_iban("GB82 WEST 1234 5698 7654 33")


def test_chunks_depend_on_the_rows_alone() -> None:
    import pyarrow as pa

    texts = [document(seed, 20 + seed) for seed in range(50)] + [None]
    whole = list(cut_into_chunks([("a", pa.array(texts))], 1_000))
    parts = [("a", pa.array(texts[start : start + 7], pa.string())) for start in range(0, len(texts), 7)]
    pieces = list(cut_into_chunks(parts, 1_000))
    assert [one.digest for one in whole] == [one.digest for one in pieces] and len(whole) > 3
    assert [row for one in pieces for row in one.table["source_row"].to_pylist()] == list(range(1, 52))


def test_shards_hold_what_fits_and_at_least_one_document() -> None:
    parts = [(Path("a"), np.array([4, 4, 30])), (Path("b"), np.array([], np.int64)), (Path("c"), np.array([2, 7, 1]))]
    planned = [[(one.path.name, one.start, one.stop) for one in shard] for shard in plan_shards(parts, 10)]
    assert planned == [[("a", 0, 2)], [("a", 2, 3)], [("c", 0, 3)]]


def test_more_stop_words_than_there_are_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other wrong settings stand in tests/bad_inputs.py."""
    assert prepare(place, "wrong", "--quality.min_stop_words", "9") == 2
    assert "quality.stop_words has 8 words" in " ".join(capsys.readouterr().err.split())
    assert not (place / "wrong").exists()
