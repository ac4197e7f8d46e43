"""Streaming: every block once in an epoch, any place found by counting, the same run whatever reads it."""

import gzip
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pretrain_clm
import pretrain_mlm
import pretrain_seq2seq
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accelerate.data_loader import BatchSamplerShard
from conftest import RECIPES, sentences, tiny_run
from hub_server import HubServer
from hub_worker import HubWorker
from torch.utils.data import BatchSampler, SequentialSampler

from pipelines.checking import begin_check, leave_check
from pipelines.config import parse_config
from pipelines.data.files import find_files
from pipelines.data.packing import TrainingBlocks
from pipelines.data.readers import read_texts, with_text
from pipelines.data.streaming import units as cutting
from pipelines.data.streaming.lanes import PERIOD, Lanes, balanced_pattern
from pipelines.data.streaming.opening import open_text
from pipelines.data.streaming.receipt import run_receipt
from pipelines.data.streaming.shards import find_shards
from pipelines.data.streaming.units import Units
from pipelines.errors import ConfigError, DataError
from pipelines.run import Interrupted
from pipelines.run_folder import RunFolder
from pipelines.sections import DataConfig, DataFiles, MixedSource, ModelConfig, TokenizerConfig
from pipelines.verification.checks import read_run
from pipelines.verification.receipts import check_receipt

UNIT = 2_000  # bytes, so that small corpora have many units
BLOCK = 16
RECIPE = str(RECIPES / "pretrain_clm.py")


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "UNIT_BYTES", UNIT)


def write_jsonl(path: Path, texts: list[Any]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards of web, two of books and one of few units, no two documents the same."""
    folder = tmp_path_factory.mktemp("shards")
    texts = [f"{number} {text}" for number, text in enumerate(sentences(500, seed=1))]
    for shard in range(3):
        write_jsonl(folder / f"web-{shard}.jsonl", texts[shard * 120 : (shard + 1) * 120])
    for shard in range(2):
        part = texts[360 + shard * 60 : 420 + shard * 60]
        table = pa.table({"words": pa.array(part, pa.string()), "other": list(range(len(part)))})
        pq.write_table(table, folder / f"book-{shard}.parquet", row_group_size=35)
    (folder / "few.txt").write_text("\n".join(texts[480:]), encoding="utf-8")
    return folder


def mixture(folder: Path) -> dict[str, MixedSource]:
    return {
        "web": MixedSource(files=DataFiles(train=str(folder / "web-*.jsonl")), weight=6),
        "book": MixedSource(files=DataFiles(train=str(folder / "book-*.parquet")), columns={"words": "text"}, weight=3),
        "few": MixedSource(files=DataFiles(train=str(folder / "few.txt")), weight=1),
    }


def open_stream(data: DataConfig, **tokenizer: Any) -> Any:
    section = TokenizerConfig(**({"vocab_size": 300} | tokenizer))
    return open_text(data, section, ModelConfig(), BLOCK)


@pytest.fixture
def text(shards: Path, small_units: None) -> Any:
    return open_stream(DataConfig(streaming=True, sources=mixture(shards), sample_by="line"))


def shown(run: TrainingBlocks, places: Any) -> list[bytes]:
    """The blocks at places, by their content."""
    return [run[place]["input_ids"].tobytes() + run[place]["shift_labels"].tobytes() for place in places]


def run_of(text: Any, places: int, rows_per_step: int = 6, seed: int = 7) -> TrainingBlocks:
    return TrainingBlocks(text.train, text.train.order(seed, rows_per_step), places, places)


# ---------------------------------------------------------------- units


def texts_of_units(path: Path, sample_by: str, column: str = "text") -> list[str]:
    units = Units.of(find_shards(str(path), "data.files.train"), lambda columns, shown: column, sample_by)
    assert len(units) > 3 or path.suffix == ".gz"
    return [text for unit in range(len(units)) for batch in units.read(unit).batches() for text in batch]


def texts_of_reader(path: Path, sample_by: str, column: str = "text") -> list[str]:
    (file,) = find_files(str(path), "data.files.train")
    arrays = read_texts(file, lambda columns, shown: column, sample_by)
    return [text for array in arrays for text in with_text(array)[0].to_pylist()]


LINES = [*sentences(60, seed=3), "", "é" * 1500, "x" * 5000, "   ", *sentences(60, seed=4)]


@pytest.mark.parametrize(
    ("name", "content", "sample_by"),
    [
        ("a.txt", "\n".join(LINES), "line"),
        ("b.txt", "\r\n".join(LINES) + "\r\n", "line"),
        ("c.txt", "\n\n".join(LINES), "paragraph"),
        ("d.txt", "\ufeff\r\n\r\n\r\n" + "\r\n\r\n".join(LINES), "paragraph"),
        ("e.txt", "\n".join(f"{line}\n" * (number % 4) for number, line in enumerate(LINES)), "paragraph"),
        ("f.jsonl", "\ufeff" + "\n".join(json.dumps({"n": 1, "text": text}) for text in [*LINES, None]), "document"),
    ],
)
def test_units_hold_each_document_once(tmp_path: Path, name: str, content: str, sample_by: str) -> None:
    """Whatever line a cut falls into: all units together are what the reader of whole files reads."""
    (tmp_path / name).write_bytes(content.encode())
    assert texts_of_units(tmp_path / name, sample_by) == texts_of_reader(tmp_path / name, sample_by)


@pytest.mark.parametrize("unit_bytes", [1, 2, 7])
def test_every_cut_of_lines_and_paragraphs_is_right(
    tmp_path: Path, unit_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "UNIT_BYTES", unit_bytes)
    monkeypatch.setattr(cutting, "SEARCH_BYTES", 3)
    content = "one\n\ntwo\r\n\r\nthree\nfour\n\n\n\nfive\r\n\n six\r\nseven\n\n"
    (tmp_path / "a.txt").write_bytes(content.encode())
    for sample_by in ("line", "paragraph"):
        assert texts_of_units(tmp_path / "a.txt", sample_by) == texts_of_reader(tmp_path / "a.txt", sample_by)


def test_parquet_and_compressed_files_are_units_too(tmp_path: Path) -> None:
    texts = [*sentences(300, seed=5), None, "", "last"]
    pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), tmp_path / "a.parquet", row_group_size=170)
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    for name in ("a.parquet", "b.jsonl.gz"):
        assert texts_of_units(tmp_path / name, "document") == texts_of_reader(tmp_path / name, "document")


def test_text_files_by_document_are_read_together_and_whole(tmp_path: Path) -> None:
    for number, text in enumerate(sentences(30, seed=6)):
        (tmp_path / f"{number:02d}.txt").write_text(text)
    units = Units.of(find_shards(str(tmp_path / "*.txt"), "key"), lambda columns, shown: "text", "document")
    assert 1 < len(units) < 10
    read = [text for unit in range(len(units)) for batch in units.read(unit).batches() for text in batch]
    assert read == sentences(30, seed=6)


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("rows_per_step", [1, 6, 64, 67, 200])
def test_places_count_through_every_lane_of_every_source(rows_per_step: int) -> None:
    """The block number at a place is that of the places before it in the same lane of its source."""
    lanes = Lanes(rows_per_step, (7.0, 2.0, 1.0), (64, 5, 1))
    seen: Counter[tuple[int, int]] = Counter()
    for place in range(1_500):
        source, lane, block = lanes.find(place)
        assert block == seen[source, lane]
        seen[source, lane] += 1
    for source in range(3):
        assert lanes.drawn(source, 1_500).tolist() == [seen[source, lane] for lane in range(lanes.lanes_of(source))]


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0), (7.0, 2.0, 1.0), (5.0, 3.0, 1.0, 1.0, 0.01)])
def test_a_mixture_has_its_shares_to_one_block_at_any_time(weights: tuple[float, ...]) -> None:
    pattern = balanced_pattern(weights)
    taken = np.cumsum(pattern[:, None] == np.arange(len(weights)), axis=0)
    owed = np.arange(1, PERIOD + 1)[:, None] * np.array(weights) / sum(weights)
    assert np.abs(taken - owed).max() < 1.01  # 0.01: weights are rounded to 1/PERIOD


def test_a_weight_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigError, match="no block would come from"):
        balanced_pattern((1.0, 1e-6))


def by_epoch(run: TrainingBlocks, places: int) -> dict[int, dict[int, Counter[bytes]]]:
    """The blocks that a run shows, by source and by its passes over the source."""
    order: Any = run.order
    epochs: dict[int, dict[int, Counter[bytes]]] = {}
    for place in range(places):
        source, lane, block = order.lanes.find(place)
        content = shown(run, [place])[0]
        reader = order.reader(source, lane, run.rows)
        epoch = reader.order.epoch_of(lane, reader.lanes, reader.walk(block)[0])
        epochs.setdefault(source, {}).setdefault(epoch, Counter())[content] += 1
    return epochs


def blocks_of_source(text: Any, source: int) -> Counter[bytes]:
    """The blocks of all units trained on, made one by one."""
    one, blocks = text.train.sources[source], Counter[bytes]()
    for unit in one.trained.tolist():
        packed, _ = text.train.tokenize(one.units.read(unit))
        for block in range(len(packed)):
            row = packed.block(block)
            blocks[row["input_ids"].tobytes() + row["shift_labels"].tobytes()] += 1
    return blocks


@pytest.mark.parametrize("rows_per_step", [3, 100])
def test_every_block_comes_once_in_every_epoch(text: Any, rows_per_step: int) -> None:
    """By content, over several epochs of each source, which has its own number of lanes."""
    places = 5_000
    run = run_of(text, places, rows_per_step)
    for source, epochs in sorted(by_epoch(run, places).items()):
        expected = blocks_of_source(text, source)
        last = max(epochs)
        whole = [epoch for epoch in epochs if epochs[epoch].total() == expected.total()]
        assert len(whole) >= 1 and last >= 1
        assert all(epochs[epoch] == expected for epoch in whole)
        assert all(not epochs[epoch] - expected for epoch in epochs), "no block comes twice, nor one of another split"
    assert len(whole) > 4, "of the smallest source"
    assert shown(run, range(60)) != shown(run_of(text, places, rows_per_step, seed=8), range(60))


def test_planted_defects_are_seen(text: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that comes twice and one that is left out do not pass the check above."""
    find, places = Lanes.find, 5_000
    expected = blocks_of_source(text, 2)
    place = next(place for place in range(places) if run_of(text, places).order.lanes.find(place).source == 2)
    later = next(at for at in range(place + 1, places) if run_of(text, places).order.lanes.find(at).source == 2)
    assert by_epoch(run_of(text, places), places)[2][0] == expected
    monkeypatch.setattr(Lanes, "find", lambda self, at: find(self, place if at == later else at))
    found = by_epoch(run_of(text, places), places)[2][0]
    assert found.total() == expected.total() and found != expected
    assert (found - expected).total() == 1 == (expected - found).total()


def test_the_account_adds_up_to_what_was_shown(text: Any) -> None:
    """Targets by counting units = targets of the very rows; a row more or less does not close."""
    run = run_of(text, 3_333)
    targets = sum(int((run[place]["shift_labels"] != -100).sum()) for place in range(run.last_place))
    assert run.targets() == targets
    receipt = run_receipt(text, run, targets)
    sources = receipt["streaming"]["sources"]
    assert sum(one["blocks_trained"] for one in sources.values()) == 3_333
    assert [round(one["blocks_trained"] / 3_333, 2) for one in sources.values()] == [0.6, 0.3, 0.1]
    assert sources["few"]["epochs"] > 2 and sources["few"]["blocks_seen"] == sources["few"]["blocks"]
    assert sources["web"]["units_read"] <= sources["web"]["units"]
    with pytest.raises(DataError, match="targets of the run's rows"):
        run_receipt(text, run, targets - 1)


def numbers(decoded: str) -> set[str]:
    """The numbers that documents begin with, where they stand whole."""
    return set(re.findall(r"<\|bos\|>(\d+) ", decoded))


def test_validation_is_not_streamed(text: Any) -> None:
    """Each document begins with a number of its own, which no other has."""
    run = run_of(text, 2_000)
    decode = text.tokenizer.decode
    held = numbers(decode(text.validation.tokens_N.tolist()))
    streamed = {number for place in range(2_000) for number in numbers(decode(run[place]["input_ids"].tolist()))}
    assert len(held) > 20 and len(streamed) > 200
    assert not held & streamed
    assert text.receipt["validation_split"]["units"] == 3
    assert text.receipt["validation"]["rows"]["rows_read"] > 0


# ---------------------------------------------------------------- seeking


def test_a_place_is_found_without_the_places_before_it(text: Any) -> None:
    whole = shown(run_of(text, 3_000), range(3_000))
    fresh = run_of(text, 3_000)
    for place in (2_999, 1_000, 1_001, 17, 0, 2_500):  # late, back, on
        assert shown(fresh, [place]) == [whole[place]]


def test_lost_counts_are_made_again(text: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = shown(run_of(text, 3_000), range(2_800, 3_000))
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "elsewhere"))
    assert shown(run_of(text, 3_000), range(2_800, 3_000)) == whole
    torn = next((tmp_path / "elsewhere").glob("stream-*.counts"))
    data = bytearray(torn.read_bytes())
    data[8:12] = b"torn"  # of a record, which then does not count
    torn.write_bytes(data)
    assert shown(run_of(text, 3_000), range(2_800, 3_000)) == whole


@pytest.mark.parametrize(("processes", "micro"), [(1, 8), (2, 4), (4, 1), (2, 2)])
def test_the_run_is_the_same_for_any_processes_and_micro_batch(text: Any, processes: int, micro: int) -> None:
    """Each process has its own readers, and is given places as accelerate shards them."""
    per_step, steps = 8, 30
    whole = shown(run_of(text, per_step * steps, per_step), range(per_step * steps))
    found: dict[int, bytes] = {}
    for process in range(processes):
        mine = run_of(text, per_step * steps, per_step)
        sampler = BatchSampler(SequentialSampler(mine), micro, drop_last=False)
        for places in BatchSamplerShard(sampler, processes, process):
            assert not found.keys() & set(places)
            found |= dict(zip(places, shown(mine, places), strict=True))
    assert [found[place] for place in range(per_step * steps)] == whole


# ---------------------------------------------------------------- what goes wrong


def test_a_shard_that_vanishes_or_changes_is_named(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "copy")
    text = open_stream(DataConfig(streaming=True, files=DataFiles(train=str(tmp_path / "copy/web-*.jsonl"))))
    run, path = run_of(text, 3_000), tmp_path / "copy/web-1.jsonl"
    run[0]
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match=r"web-1\.jsonl.*cannot be read any more"):
        shown(run, range(3_000))
    path.write_bytes(kept)
    with pytest.raises(DataError, match=r"web-1\.jsonl.*was changed while the run read it"):
        shown(run_of(text, 3_000), range(3_000))


def test_a_text_that_changed_between_two_starts_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle of a large shard is in no fingerprint of the start, but the counts know each unit's texts."""
    monkeypatch.setattr("pipelines.data.streaming.shards.EDGE_BYTES", 1_000)
    path = write_jsonl(tmp_path / "a.jsonl", [f"{number} {text}" for number, text in enumerate(sentences(300))])
    data = DataConfig(streaming=True, files=DataFiles(train=str(path)))
    first = open_stream(data)
    shown(run_of(first, 1_500), range(1_500))
    content = path.read_bytes()
    middle = content.index(b"returns", 20_000)
    path.write_bytes(content[:middle] + b"RETURNS" + content[middle + 7 :])
    again = open_stream(data)
    assert again.hashes["corpus"] == first.hashes["corpus"]
    with pytest.raises(DataError, match="holds another text than when it was first read"):
        shown(run_of(again, 1_500), range(1_500))


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", sentences(200))
    lines = path.read_text().splitlines()
    lines[150] = '{"text": "half'
    path.write_text("\n".join(lines))
    units = Units.of(find_shards(str(path), "key"), lambda columns, shown: "text", "document")
    with pytest.raises(DataError, match=r"a\.jsonl: line 151 is not valid JSON"):
        [units.read(unit) for unit in range(len(units))]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--data.streaming", "true", "--training.max_steps", "null"), "needs training.max_steps"),
        (("--data.streaming", "true", "--data.decontaminate", "x.txt"), "recipes/prepare_corpus.py first"),
        (("--data.streaming", "true", "--data.max_train_documents", "5"), "does not go with data.streaming"),
        (("--data.streaming", "true", "--data.split_method", "tail"), "whole units are held out"),
        (("--data.sources", "{a: {files: {train: a.txt}}}"), "no effect without --data.streaming true"),
        (
            ("--data.streaming", "true", "--data.sources", "{a: {files: {train: a.txt}, weight: 0}}"),
            "data.sources.a.weight must be above 0",
        ),
    ],
)
def test_what_does_not_go_with_streaming_is_refused(flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_config(pretrain_clm.Config, RECIPE, list(flags))


def test_a_corpus_of_one_unit_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ["short"])
    with pytest.raises(DataError, match="better read whole"):
        open_stream(DataConfig(streaming=True, files=DataFiles(train=str(path))))


# ---------------------------------------------------------------- runs


def streamed_run(shards: Path, folder: Path, *flags: str) -> list[str]:
    more = ["--data.streaming", "true", "--training.logging_steps", "4", *flags]
    arguments = tiny_run(shards / "web-*.jsonl", folder, *more)
    pairs = [(name, value) for name, value in zip(arguments[::2], arguments[1::2], strict=True)]
    return [part for name, value in dict(pairs).items() for part in (name, value)]


def run(recipe: Any, arguments: list[str]) -> None:
    path = str(RECIPES / f"{recipe.__name__}.py")
    recipe.main(parse_config(recipe.Config, path, arguments))


def test_a_stopped_run_goes_on_bit_for_bit(shards: Path, tmp_path: Path) -> None:
    """Stopped, its counts lost, and gone on with: the weights of the run that was never stopped."""
    run(pretrain_clm, streamed_run(shards, tmp_path / "whole"))
    with pytest.raises(Interrupted):
        run(pretrain_clm, streamed_run(shards, tmp_path / "stopped", "--run.stop_at_step", "5"))
    shutil.copytree(tmp_path / "stopped", tmp_path / "run")  # this process still holds the lock of the first
    for counts in Path(os.environ["PLUMBLINE_CACHE"]).glob("stream-*.counts"):
        counts.unlink()
    run(pretrain_clm, streamed_run(shards, tmp_path / "run"))
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]
    plan = json.loads((tmp_path / "run/plan.json").read_text())
    receipt = json.loads((tmp_path / "run/receipt.json").read_text())
    assert plan["estimated"] is True
    assert receipt["training"]["rows"] == 48 == receipt["streaming"]["sources"]["web-0"]["blocks_trained"]
    assert check_receipt(read_run(RunFolder(tmp_path / "run"))).result == "holds"


MLM = (
    "{model_type: modernbert, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, "
    "local_attention: 8}"
)
T5 = "{model_type: t5, d_model: 32, d_kv: 16, d_ff: 32, num_layers: 1, num_decoder_layers: 1, num_heads: 2}"


@pytest.mark.parametrize(
    ("recipe", "model", "more"),
    [
        (pretrain_mlm, MLM, ("--evaluation.pseudo_perplexity_tokens", "null")),
        (pretrain_seq2seq, T5, ("--tokenizer.vocab_size", "500")),
    ],
)
def test_all_objectives_stream(recipe: Any, model: str, more: tuple[str, ...], shards: Path, tmp_path: Path) -> None:
    """Masks and damage are drawn by place, and the receipt closes against the targets that the trainer counted."""
    arguments = streamed_run(shards, tmp_path / "run", "--model.config", model, *more, "--training.max_steps", "3")
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    for name in ("--evaluation.sample_new_tokens", "--training.eval_steps", "--training.save_steps"):
        pairs.pop(name)
    run(recipe, [part for pair in pairs.items() for part in pair])
    receipt = json.loads((tmp_path / "run/receipt.json").read_text())
    assert receipt["training"]["targets_trained"] > 0
    assert check_receipt(read_run(RunFolder(tmp_path / "run"))).result == "holds"


def test_a_check_reads_a_sample(shards: Path) -> None:
    check = begin_check()
    try:
        text = open_stream(DataConfig(streaming=True, files=DataFiles(train=str(shards / "web-*.jsonl"))))
    finally:
        leave_check()
    assert not check.failed and check.is_sample
    assert any(one.topic == "sample" and "estimates" in one.told for one in check.findings)
    known = blocks_of_source(text, 0).total()
    assert abs(len(text.train) / known - 1) < 0.2


# ---------------------------------------------------------------- the Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[HubServer, Callable[[str], str]]]:
    with HubServer(tmp_path / "hub") as server, HubWorker(server.environment(tmp_path / "home")) as worker:

        def execute(code: str) -> str:
            done = worker.execute(code, tmp_path)
            assert done.code == 0, done.err
            return done.out.splitlines()[-1] if done.out else ""

        yield server, execute


@pytest.mark.processes
def test_parquet_is_streamed_from_the_hub_with_range_requests(
    hub: tuple[HubServer, Callable[[str], str]], tmp_path: Path
) -> None:
    server, execute = hub
    texts = sentences(3_000, seed=9)
    pq.write_table(pa.table({"text": texts}), tmp_path / "train.parquet", row_group_size=500, compression="none")
    execute(
        "from huggingface_hub import HfApi\n"
        "HfApi().create_repo('ada/corpus', repo_type='dataset')\n"
        "HfApi().upload_file(path_or_fileobj='train.parquet', path_in_repo='data/train-00000-of-00001.parquet', "
        "repo_id='ada/corpus', repo_type='dataset')"
    )
    told = execute(
        "import json\n"
        "from pipelines.data.streaming.shards import find_shards, hub_data_files\n"
        "from pipelines.data.streaming.units import Units\n"
        "found = find_shards('hf://datasets/ada/corpus/data/*.parquet', 'key')\n"
        "by_name = find_shards(hub_data_files('ada/corpus', None, None)['train'], 'key')\n"
        "units = Units.of(found, lambda columns, shown: 'text', 'document')\n"
        "some = [text for batch in units.read(4).batches() for text in batch]\n"
        "print(json.dumps([len(units), some, found == by_name, found[0].stamp(), found[0].file.shown]))"
    )
    count, some, same, stamp, name = json.loads(told)
    assert count == 6 and some == texts[2_000:2_500] and same
    assert stamp.startswith(f"{(tmp_path / 'train.parquet').stat().st_size} ")
    assert name == "hf://datasets/ada/corpus/data/train-00000-of-00001.parquet"
