"""Trained tokenizers lose nothing unsaid, come out the same on every run, and are measured rightly."""

import hashlib
import itertools
import json
import math
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import train_tokenizer as recipe
from conftest import RECIPES, REPOSITORY, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.loading import load_corpus, text_batches
from pipelines.data.tokenization import get_tokenizer, token_bytes, tokenize
from pipelines.data.tokenizer_training import (
    BOS,
    EOS,
    MASK,
    PAD,
    UNK,
    count_words,
    sentinels,
    train_tokenizer,
)
from pipelines.data.unigram import Lattice, _losses, train_unigram
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation.tokenizer_quality import (
    Tally,
    _between,
    compare,
    evaluate_tokenizer,
    measure,
    script_of,
    spread,
)
from pipelines.run import run_recipe
from pipelines.sections import CorpusConfig, DataFiles, ModelConfig, TokenizerConfig

RECIPE = str(RECIPES / "train_tokenizer.py")
TYPES = ("bpe", "unigram", "wordpiece", "char")
BYTE_LEVEL = ("bpe", "unigram")
CHINESE = [
    "今天的天气很好，我们去公园散步。",
    "他昨天在图书馆借了三本书。",
    "这家饭馆的面条又便宜又好吃。",
    "请问，火车站怎么走？",
    "我妹妹在大学里学习数学。",
    "冬天这里常常下雪，路很滑。",
    "她每天早上六点起床跑步。",
    "我们明天下午三点开会。",
    "这本书我已经读了两遍。",
    "房间很干净，但是有点小。",
    "孩子们在院子里放风筝。",
    "手机没电了，我先去充电。",
    "老师让我们写一篇作文。",
    "夏天的晚上，大家坐在树下聊天。",
    "这件衣服太贵了，能便宜一点吗？",
    "医生说他需要多休息。",
    "飞机晚点了两个小时。",
    "我喜欢喝茶，不喜欢喝咖啡。",
    "城市的东边有一条大河。",
    "他的中文说得很流利。",
    "菜单上有很多我没吃过的菜。",
    "下雨的时候，她总是忘记带伞。",
    "图书馆里不能大声说话。",
    "我们坐地铁去博物馆吧。",
]
ODD = [
    "naïve café, déjà vu",
    "emoji 🙂👩‍👩‍👧 and flags 🇫🇮",
    "tabs\tand\nlines\r\n\n  and   many    blanks  ",
    "def f(x):\n    return {'a': x[0] ** 2}  # 3.14\n",
    "a mark \u2581 of blanks, a zero \x00, a soft\u00adhyphen, e\u0301",
    "Ελληνικά и русский 日本語 한국어 العربية",
    "x" * 150,
]
TEXTS = [*sentences(60), *CHINESE, *ODD]


def train(kind: str, texts: list[str], vocab_size: int, special: list[str] | None = None) -> Any:
    return train_tokenizer(iter([texts]), kind, vocab_size, special or [])


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    return {kind: train(kind, TEXTS, 900, [MASK, *sentinels(3)]) for kind in TYPES}


def encode(tokenizer: Any, text: str, **more: Any) -> Any:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, **more)


# ---------------------------------------------------------------- what comes back, and where every byte is


@pytest.mark.parametrize("text", TEXTS[-len(ODD) - 2 :])
@pytest.mark.parametrize("kind", TYPES)
def test_texts_come_back(kind: str, text: str, trained: dict[str, Any]) -> None:
    encoded = encode(trained[kind], text, return_offsets_mapping=True)
    back = trained[kind].decode(encoded["input_ids"])
    assert token_bytes(text, encoded["offset_mapping"]).sum() == len(text.encode())
    if kind != "wordpiece":
        assert back == text
        assert _between(text, encoded["offset_mapping"]) == ""
    elif len(text) < 100:
        assert "".join(back.split()) == "".join(text.split())
        assert _between(text, encoded["offset_mapping"]).strip() == ""
    else:
        assert back == UNK, "BERT's limit: a word of more than 100 characters is unknown"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_bytes_know_every_text(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    for kind in BYTE_LEVEL:
        encoded = encode(_cached(kind), text, return_offsets_mapping=True)
        assert _cached(kind).decode(encoded["input_ids"]) == text
        assert token_bytes(text, encoded["offset_mapping"]).sum() == len(text.encode())


@cache
def _cached(kind: str) -> Any:
    return train(kind, sentences(30), 300)


@pytest.mark.parametrize("kind", TYPES)
def test_bytes_of_the_token_stream_add_up(kind: str) -> None:
    documents = datasets.Dataset.from_dict({"text": TEXTS})
    config = TokenizerConfig(vocab_size=900, type=kind)
    tokenizer = get_tokenizer(config, ModelConfig(), lambda: text_batches(documents), f"odd-{kind}", [MASK])
    packed, counts = tokenize(documents, tokenizer, 16, f"odd-{kind}", "validation")
    assert packed.target_bytes() == counts["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert counts["unknown_tokens"] == (1 if kind == "wordpiece" else 0)
    assert tokenizer.mask_token == MASK


def test_wordpiece_is_berts() -> None:
    tokenizer = train("wordpiece", ["walk walking walked talk talking", "我爱你, Ünïcode"], 40)
    vocabulary = tokenizer.get_vocab()
    for word in ("walked", "talked", "inking", "code"):
        expected, start = [], 0
        while start < len(word):  # the longest entry that fits
            mark = "##" if start else ""
            end = next(end for end in range(len(word), start, -1) if mark + word[start:end] in vocabulary)
            expected.append(mark + word[start:end])
            start = end
        assert tokenizer.convert_ids_to_tokens(encode(tokenizer, word)["input_ids"]) == expected
        assert len(expected) > 1
    tokens = tokenizer.convert_ids_to_tokens(encode(tokenizer, "我爱你!")["input_ids"])
    assert tokens == ["我", "爱", "你", UNK], "each Chinese character is a word"
    assert "##我" not in vocabulary
    ids = encode(tokenizer, "Ünïcode,\t walking")["input_ids"]
    assert tokenizer.decode(ids) == "Ünïcode, walking", "nothing is lowercased; blanks are as BERT decodes them"


# ---------------------------------------------------------------- ids


def test_bpe_and_char_are_what_they_were() -> None:
    """Ids that figures of earlier runs depend on."""
    texts = [*sentences(60), "naïve café — 漢字 🙂\n\ttabs", "  blanks around  ", "a"]
    probe = "naïve café <|eos|>"
    bpe, char, few = train("bpe", texts, 400), train("char", texts, 400), train("char", texts, 20)
    assert bpe(probe, split_special_tokens=True)["input_ids"] == [
        *(0, 80, 67, 130, 110, 88, 71, 265, 67, 72, 130, 105, 223, 30, 94, 71, 81, 85, 94, 32)
    ]
    assert (len(bpe), bpe.convert_ids_to_tokens([395, 399])) == (400, ["Ġ62", "12"])
    assert char(probe, split_special_tokens=True)["input_ids"] == [
        *(0, 33, 21, 45, 40, 25, 6, 23, 21, 26, 44, 6, 3, 3, 25, 34, 37, 3, 3)
    ]
    assert (len(char), char.convert_ids_to_tokens([45, 49])) == (50, ["ï", "🙂"])
    assert few(probe, split_special_tokens=True)["input_ids"] == [
        *(0, 13, 6, 3, 3, 9, 4, 7, 6, 3, 3, 4, 3, 3, 9, 14, 16, 3, 3)
    ]


@pytest.mark.parametrize("kind", TYPES)
def test_special_tokens_come_first(kind: str, trained: dict[str, Any]) -> None:
    tokenizer = trained[kind]
    unknown = [] if kind in BYTE_LEVEL else [UNK]
    expected = [BOS, EOS, PAD, *unknown, MASK, "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]
    assert tokenizer.convert_ids_to_tokens(list(range(len(expected)))) == expected
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    assert (tokenizer.mask_token, tokenizer.unk_token) == (MASK, unknown[0] if unknown else None)
    assert tokenizer.extra_special_tokens == expected[-3:]
    assert sorted(tokenizer.all_special_ids) == list(range(len(expected)))
    assert len(tokenizer) == max(tokenizer.get_vocab().values()) + 1 <= 900
    assert tokenizer("a")["input_ids"][0] == 0
    assert tokenizer(f"{MASK}<extra_id_1>", add_special_tokens=False)["input_ids"] == [
        expected.index(MASK),
        expected.index("<extra_id_1>"),
    ]


@pytest.mark.parametrize("kind", TYPES)
def test_texts_that_spell_special_tokens_are_text(kind: str) -> None:
    spelt = "".join([BOS, EOS, PAD, UNK, MASK, "<extra_id_0>", " <extra_id_0> ##a"])
    tokenizer = train(kind, [spelt] * 50, 400, [MASK, *sentinels(1)])
    ids = encode(tokenizer, spelt)["input_ids"]
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids).replace(" ", "") == spelt.replace(" ", "")


PROGRAM = """
import hashlib, json, sys
from pipelines.data.tokenizer_training import MASK, train_tokenizer
texts = json.load(sys.stdin)
for kind in ("bpe", "unigram", "wordpiece", "char"):
    tokenizer = train_tokenizer(iter([texts[:7], texts[7:]]), kind, 700, [MASK])
    print(hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest())
"""


def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    """Ties abound: every made-up word occurs as often as its mirror image. Threads and hash seeds differ."""
    mirrored = [f"{word} {word[::-1]}" for word in map("".join, itertools.product("abc", "xyz", "ab", "yz"))]
    texts = [*TEXTS, *mirrored * 3]
    here = [
        hashlib.sha256(train(kind, texts, 700, [MASK]).backend_tokenizer.to_str().encode()).hexdigest()
        for kind in TYPES
    ]
    for seed, parallel in (("1", "false"), ("2", "true")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps(texts),
            env=os.environ
            | {"PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": "2"}
            | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == here


def test_words_are_counted_as_the_pre_tokenizer_splits() -> None:
    from tokenizers import pre_tokenizers

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert count_words(iter([["a b", "b a b"], ["é"]]), splitter) == {"a": 1, "Ġb": 2, "b": 1, "Ġa": 1, "Ã©": 1}


# ---------------------------------------------------------------- unigram, by hand and by brute force


def test_expected_counts_by_hand() -> None:
    """`ab` three times; p(a) = 1/2, p(b) = p(ab) = 1/4: written a b with 1/8 and ab with 2/8."""
    log_p_P = np.log([0.5, 0.25, 0.25])
    lattice = Lattice(np.array([0]), np.array([2]), {1: np.array([0, 1]), 2: np.array([2, -1])})
    assert lattice.expected_counts(log_p_P, np.array([3.0])) == pytest.approx([1.0, 1.0, 2.0])
    assert [part.tolist() for part in lattice.best_pieces(log_p_P)] == [[0], [2]]
    spelt = Lattice(np.array([0]), np.array([2]), {1: np.array([0, 1]), 2: np.array([2, -1])}, proper=True)
    assert sorted(spelt.best_pieces(log_p_P)[1].tolist()) == [0, 1]
    # Without ab there are six pieces, each of a and b a half of them: 3 log(3/3) - 3 (log(3/6) + log(3/6)).
    loss_P = _losses(lattice, spelt, log_p_P, np.array([3.0]), alphabet=2)
    assert loss_P[2] == pytest.approx(6 * math.log(2))
    assert np.isinf(loss_P[:2]).all()


def segmentations(word: str, pieces: dict[str, float]) -> list[list[str]]:
    if not word:
        return [[]]
    heads = [word[:end] for end in range(1, len(word) + 1) if word[:end] in pieces]
    return [[head, *rest] for head in heads for rest in segmentations(word[len(head) :], pieces)]


def test_expected_counts_and_best_pieces_by_brute_force() -> None:
    draw = np.random.default_rng(0)
    alphabet = "abc"
    words = {
        "".join(draw.choice(list(alphabet), size=size)): count
        for size, count in zip(range(1, 9), range(3, 11), strict=True)
    }
    names = [
        "a",
        "b",
        "c",
        *sorted({word[i : i + n] for word in words for n in (2, 3) for i in range(len(word) - n + 1)}),
    ]
    scores = np.log(draw.dirichlet(np.ones(len(names))))
    pieces = dict(zip(names, scores, strict=True))
    text = "".join(words)
    lengths = np.array([len(word) for word in words])
    ends = np.repeat(np.cumsum(lengths), lengths)
    piece_at = {
        n: np.array([names.index(text[i : i + n]) if i + n <= ends[i] else -1 for i in range(len(text))])
        for n in (1, 2, 3)
    }
    lattice = Lattice(np.cumsum(lengths) - lengths, lengths, piece_at)
    expected, best = dict.fromkeys(names, 0.0), []
    for number, (word, count) in enumerate(words.items()):
        ways = segmentations(word, pieces)
        weights = np.exp([sum(pieces[piece] for piece in way) for way in ways])
        for way, weight in zip(ways, weights / weights.sum(), strict=True):
            for piece in way:
                expected[piece] += count * weight
        best += [(number, names.index(piece)) for piece in ways[int(np.argmax(weights))]]
    found = lattice.expected_counts(scores, np.array(list(words.values()), dtype=float))
    assert found == pytest.approx(list(expected.values()))
    assert sorted(zip(*(part.tolist() for part in lattice.best_pieces(scores)), strict=True)) == sorted(best)
    # Dropping pieces is the same as never having had them.
    kept = np.array([0, 1, 2, 4, 6])
    lattice.keep(kept)
    smaller = {n: np.where(np.isin(at, kept), np.searchsorted(kept, at), -1) for n, at in piece_at.items()}
    fresh = Lattice(np.cumsum(lengths) - lengths, lengths, smaller)
    counts = np.array(list(words.values()), dtype=float)
    assert lattice.expected_counts(scores[kept], counts) == pytest.approx(fresh.expected_counts(scores[kept], counts))


def test_unigram_finds_the_words_that_texts_are_made_of() -> None:
    pieces = dict(train_unigram({"redblue": 40, "bluered": 40, "red": 30, "blue": 30}, 9, list("bdelru")))
    assert len(pieces) == 9
    assert set("bdelru") < set(pieces)
    assert {"red", "blue"} < set(pieces)
    assert max(pieces, key=lambda piece: pieces[piece]) in ("red", "blue")
    assert sum(map(math.exp, pieces.values())) == pytest.approx(1, abs=1e-3)


def test_unigram_stops_at_what_there_is() -> None:
    assert [piece for piece, _ in train_unigram({"ab": 1}, 50, list("ab"))] == ["a", "b"]
    assert {piece for piece, _ in train_unigram({"ab": 2}, 50, list("ab"))} == {"a", "b", "ab"}
    long = train_unigram({"ab" * 2_000: 1}, 10, list("ab"))
    assert len(long) == 10


# ---------------------------------------------------------------- figures


def test_figures_by_hand() -> None:
    tokenizer = train("char", ["aab "], 7)  # four special tokens, then blank, a and b
    tallies = measure([["ab a", "b é"], ["漢b漢"]], tokenizer)
    assert set(tallies) == {"latin", "han"}
    latin, han = tallies["latin"], tallies["han"]
    assert (latin.documents, latin.bytes, latin.characters, latin.words, latin.tokens) == (2, 8, 7, 4, 7)
    assert (latin.unknown_tokens, latin.exact_documents, latin.surviving_characters) == (1, 1, 6)
    assert latin.figures() == {
        "bytes_per_token": 8 / 7,
        "characters_per_token": 1.0,
        "tokens_per_word": 7 / 4,
        "unknown_rate": 1 / 7,
        "unknown_character_rate": 1 / 7,
        "character_coverage": 6 / 7,
        "round_trip_rate": 1 / 2,
    }
    assert (han.words, han.unknown_tokens, han.surviving_characters, han.bytes) == (0, 2, 1, 7)
    assert "tokens_per_word" not in han.figures()
    whole = latin + han
    assert (whole.bytes, whole.tokens, whole.lost) == (15, 10, {"漢": 2, "é": 1})
    assert whole.used == latin.used | han.used


def test_wordpiece_figures_by_hand() -> None:
    tokenizer = train("wordpiece", ["ab ab ab cd"], 30)
    tally = measure([["ab\n cd zab"]], tokenizer)["latin"]
    assert tokenizer.convert_ids_to_tokens(encode(tokenizer, "ab\n cd zab")["input_ids"]) == ["ab", "cd", UNK]
    assert (tally.tokens, tally.unknown_tokens, tally.unknown_characters, tally.bytes_between) == (3, 1, 3, 3)
    assert tally.bytes_of_tokens == tally.bytes == 10
    assert tally.surviving_characters == 5, "`ab cd` of ten characters"
    assert tally.lost == {"z": 1, "a": 1, "b": 1}


class Corpus:
    """Splits and their counts."""

    def __init__(self, **splits: list[str]) -> None:
        self.splits = {name: datasets.Dataset.from_dict({"text": texts}) for name, texts in splits.items()}
        self.receipt = {
            name: {"rows_read": len(texts), "rows_dropped": {}, "rows_kept": len(texts)}
            for name, texts in splits.items()
        }


def test_the_report_of_a_tiny_corpus() -> None:
    tokenizer = train("char", ["abc "], 8)
    corpus: Any = Corpus(train=["abc"], validation=["ab xx", "йab", "ййй"])
    metrics, receipt, unknown = evaluate_tokenizer(corpus, tokenizer, None)
    assert (metrics["eval_documents"], metrics["eval_tokens"], metrics["eval_bytes"]) == (3, 11, 15)
    assert metrics["eval_unknown_rate"] == 6 / 11
    assert metrics["eval_vocabulary_used"] == 3 / 4, "blank, a and b of four entries"
    assert metrics["training_vocabulary_used"] == 3 / 4, "a, b and c"
    assert metrics["training_round_trip_rate"] == 1.0
    assert metrics["eval_latin_documents"] == 2
    assert metrics["eval_cyrillic_unknown_rate"] == 1.0
    assert "eval_test_documents" not in metrics
    assert unknown == [("й", 4), ("x", 2)]
    assert receipt["validation"]["tokens"]["bytes_of_tokens"] == 15
    assert receipt["validation"]["rows"] is corpus.receipt["validation"]
    others = compare(corpus, {"bpe": train("bpe", ["ab"], 259)}, None)
    assert others["baseline_bpe_bytes_per_token"] == 1.0
    assert others["baseline_bytes_characters_per_token"] == 11 / 15
    assert others["baseline_bpe_characters_per_token"] == 11 / 15


def test_documents_are_measured_at_even_distances() -> None:
    documents = datasets.Dataset.from_dict({"text": list("abcdefghij")})
    assert spread(documents, 4)["text"][:] == ["a", "c", "f", "h"]
    assert len(spread(documents, None)) == len(spread(documents, 11)) == 10


def test_text_that_no_token_stands_for_is_found() -> None:
    assert _between("a  b ", [(0, 1), (3, 4)]) == "   "
    with pytest.raises(DataError, match="passes over 'x' in 'a x b'"):
        _between("a x b", [(0, 1), (4, 5)])
    assert Tally() + Tally() == Tally()


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello, 世界", "latin"),
        ("你好, ok?", "han"),
        ("ひらがなカタカナ漢", "kana"),
        ("Привет", "cyrillic"),
        ("123 + 4 = ?", "other"),
        ("𝐱𝐲𝐳", "other"),
        ("aβ", "greek"),
    ],
)
def test_scripts(text: str, script: str) -> None:
    assert script_of(text) == script


@pytest.mark.parametrize("kind", TYPES)
def test_chinese(kind: str) -> None:
    characters = {character for text in CHINESE for character in text}
    tokenizer = train(kind, CHINESE * 5, 700)
    tally = measure([CHINESE], tokenizer)["han"]
    assert tally.unknown_tokens == 0
    assert tally.surviving_characters == tally.characters == sum(map(len, CHINESE))
    assert tally.exact_documents == (0 if kind == "wordpiece" else len(CHINESE))
    if kind in BYTE_LEVEL:
        assert tally.bytes / tally.tokens > 3, "more than a character in a token"
        held_out = "龘靐齉爩"  # in no training text
        assert tokenizer.decode(encode(tokenizer, held_out)["input_ids"]) == held_out
    else:
        assert tally.tokens == tally.characters
        assert len(tokenizer) == len(characters) + 4
        assert measure([["龘天"]], tokenizer)["han"].unknown_tokens == 1


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("kind", "vocab_size", "message"),
    [
        ("bpe", 258, "vocab_size is 258; a bpe tokenizer needs at least 259"),
        ("unigram", 258, "vocab_size is 258; a unigram tokenizer needs at least 259"),
        ("char", 4, "vocab_size is 4; a char tokenizer needs at least 5"),
        (
            "wordpiece",
            40,
            r"needs at least \d+: 4 special tokens, and \d+ entries for the \d+ characters that make up 99% of it "
            r"\(it has \d+ different ones\)",
        ),
    ],
)
def test_a_vocabulary_that_is_too_small(kind: str, vocab_size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(kind, CHINESE, vocab_size)


def test_the_least_vocabulary_is_enough() -> None:
    with pytest.raises(ConfigError) as error:
        train("wordpiece", CHINESE, 40)
    least = int(re.findall(r"at least ([\d,]+)", str(error.value))[0])
    assert len(train("wordpiece", CHINESE, least)) == least
    with pytest.raises(ConfigError):
        train("wordpiece", CHINESE, least - 1)
    assert len(train("bpe", CHINESE, 259)) == len(train("unigram", CHINESE, 259)) == 259
    assert len(train("char", CHINESE, 5)) == 5


def run(*flags: str) -> int:
    return run_recipe(recipe.main, recipe.Config, RECIPE, list(flags))


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--tokenizer.type", "unigam"], ["tokenizer.type", "'unigram'", "'unigam'"]),
        (["--evaluation.compare_types", "[worpiece]"], ["evaluation.compare_types", "'wordpiece'"]),
        (["--tokenizer.name", "gpt2"], ["unknown key 'tokenizer.name'"]),
        (["--tokenizer.vocab_size", "100"], ["tokenizer.vocab_size is 100", "at least 260"]),
        (["--tokenizer.vocab_size", "300", "--tokenizer.sentinels", "99"], ["needs at least 359"]),
        (["--tokenizer.sentinels", "-1"], ["tokenizer.sentinels must be at least 0"]),
        (["--evaluation.max_documents", "0"], ["evaluation.max_documents must be at least 1"]),
        (["--data.files.train", "EMPTY"], ["empty (0 bytes)"]),
    ],
)
def test_mistakes_are_told_and_leave_nothing(flags, parts, corpus_file, tmp_path, capsys) -> None:
    (tmp_path / "empty.txt").touch()
    flags = [flag.replace("EMPTY", str(tmp_path / "empty.txt")) for flag in flags]
    files = [] if "--data.files.train" in flags else ["--data.files.train", str(corpus_file)]
    assert run("--run.dir", str(tmp_path / "run"), *files, *flags) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- the recipe


def tiny(corpus_file: Path, folder: Path, *flags: str) -> list[str]:
    return [
        *("--data.files.train", str(corpus_file), "--data.validation_share", "0.2", "--run.dir", str(folder)),
        *("--tokenizer.vocab_size", "400", "--evaluation.compare_types", "[]", *flags),
    ]


@pytest.fixture(scope="module")
def finished(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers") / "run"
    flags = ("--evaluation.compare_types", "[unigram, wordpiece, char]", "--tokenizer.sentinels", "2")
    assert run(*tiny(corpus_file, folder, *flags)) == 0
    return folder


def test_a_run_leaves_what_it_found(finished: Path) -> None:
    metrics, plan, receipt, environment = (
        json.loads((finished / f"{name}.json").read_text()) for name in ("metrics", "plan", "receipt", "environment")
    )
    assert plan["special_tokens"] == [BOS, EOS, PAD, MASK, "<extra_id_0>", "<extra_id_1>"]
    assert plan["entries"] == 400
    rows = receipt["train"]["rows"]
    assert receipt["training"] == {"documents": rows["rows_kept"], "bytes": rows["bytes"], "entries": 400}
    assert rows["rows_read"] == 300 == rows["rows_kept"] + rows["moved_to_validation"]
    tokens = receipt["validation"]["tokens"]
    assert tokens["bytes_measured"] == tokens["bytes_of_tokens"] == receipt["validation"]["rows"]["bytes"]
    assert metrics["eval_bytes_per_token"] == metrics["eval_bytes"] / metrics["eval_tokens"] > 2
    assert metrics["eval_round_trip_rate"] == metrics["baseline_unigram_round_trip_rate"] == 1.0
    assert metrics["baseline_char_bytes_per_token"] == metrics["baseline_bytes_bytes_per_token"] == 1.0
    assert 2 < metrics["baseline_unigram_bytes_per_token"] < 10
    assert metrics["baseline_wordpiece_tokens_per_word"] < metrics["baseline_char_tokens_per_word"]
    assert set(environment["data"]) == {"corpus", "tokenizer"}
    page = (finished / "report.html").read_text()
    assert f"{metrics['eval_bytes_per_token']:.4f}" in page
    assert "bytes per token on held-out data" in page
    assert not (finished / "checkpoints").exists()


def test_a_finished_run_is_not_run_again(finished: Path, corpus_file: Path, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    flags = ("--evaluation.compare_types", "[unigram, wordpiece, char]", "--tokenizer.sentinels", "2")
    assert run(*tiny(corpus_file, finished, *flags)) == 0
    assert "finished" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert run(*tiny(corpus_file, finished, *flags, "--tokenizer.type", "char")) == 2
    assert "holds a run of another config" in capsys.readouterr().err


def test_the_card_loads_what_was_trained(finished: Path, monkeypatch, capsys) -> None:
    card = (finished / "model" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(finished / "model")
    exec(blocks[0], {})  # the card's own code
    tokens, text = capsys.readouterr().out.splitlines()
    assert tokens.startswith(f"['{BOS}',")
    assert text == "Any text."
    metrics = json.loads((finished / "metrics.json").read_text())
    assert f"| bytes per token | {metrics['eval_bytes_per_token']:.3f} |" in card
    assert "| this tokenizer | unigram | wordpiece | char | bytes |" in card
    assert "No character was unknown." in card


@pytest.mark.parametrize("kind", TYPES)
def test_the_saved_tokenizer_is_the_trained_one(kind: str, corpus_file: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    flags = ("--tokenizer.type", kind, "--tokenizer.mask_token", "false", "--tokenizer.sentinels", "1")
    assert run(*tiny(corpus_file, tmp_path / "run", *flags)) == 0
    folder = tmp_path / "run" / "model"
    data = CorpusConfig(files=DataFiles(train=str(corpus_file)), validation_share=0.2)
    own = train(kind, load_corpus(data).splits["train"]["text"][:], 400, sentinels(1))
    saved = AutoTokenizer.from_pretrained(folder)
    loaded = get_tokenizer(TokenizerConfig(name=str(folder)), ModelConfig(), lambda: [], "unused")
    for tokenizer in (saved, loaded):
        assert tokenizer.backend_tokenizer.to_str() == own.backend_tokenizer.to_str()
        assert tokenizer.special_tokens_map == own.special_tokens_map
        assert (tokenizer.mask_token, tokenizer.extra_special_tokens) == (None, ["<extra_id_0>"])
    ids = [tokenizer(sentences(50, seed=1) + CHINESE)["input_ids"] for tokenizer in (own, saved, loaded)]
    assert ids[0] == ids[1] == ids[2]


def test_unknown_characters_are_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    texts = [*sentences(99), *(f"{text} ☃ № {place}" for place, text in enumerate(sentences(20, seed=1)))]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = ("--tokenizer.type", "char", "--tokenizer.vocab_size", "41")
    assert run(*tiny(path, tmp_path / "run", *flags)) == 0
    examples = json.loads((tmp_path / "run" / "examples.json").read_text())
    unknown = dict(examples["unknown_characters"])
    assert unknown["☃"] == unknown["№"] == 20
    assert "☃ U+2603 (20)" in (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["training_unknown_rate"] < 0.1
    assert metrics["training_round_trip_rate"] < 1


def test_committed_configs_parse() -> None:
    from pipelines.config import parse_config

    paths = sorted((RECIPES / "configs/train_tokenizer").glob("*.yaml"))
    assert len(paths) == 2
    for path in paths:
        config = parse_config(recipe.Config, RECIPE, ["--config", str(path)])
        assert config.tokenizer.type not in config.evaluation.compare_types


def test_an_interrupted_run_begins_again(corpus_file: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.training.tokenizers.save_tokenizer", interrupt)
        assert run(*tiny(corpus_file, tmp_path / "run")) == 130
    told = capsys.readouterr().err
    assert "keeps no checkpoints" in told
    assert "last checkpoint" not in told
    assert run(*tiny(corpus_file, tmp_path / "run")) == 0
