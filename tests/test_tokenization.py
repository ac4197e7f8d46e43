"""Tokenizers lose nothing, and every byte of text belongs to exactly one token."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.array_files import ArrayWriter
from pipelines.data.loading import text_batches
from pipelines.data.tokenization import get_tokenizer, token_bytes, tokenize, tokenizer_hash
from pipelines.errors import ConfigError, HubError
from pipelines.sections import ModelConfig, TokenizerConfig

TEXTS = [*sentences(60), "naïve café — 漢字 🙂\n\ttabs", "  blanks around  ", "a"]


@pytest.fixture(scope="module")
def documents() -> datasets.Dataset:
    return datasets.Dataset.from_dict({"text": TEXTS})


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_text_comes_back_and_bytes_add_up(kind: str, documents: datasets.Dataset) -> None:
    tokenizer = get_tokenizer(
        TokenizerConfig(vocab_size=400, type=kind), ModelConfig(), lambda: text_batches(documents), f"texts-{kind}"
    )
    packed, counts = tokenize(documents, tokenizer, 16, f"texts-{kind}", "validation")
    starts = [*packed.document_starts_D, len(packed.tokens_N)]
    for index, text in enumerate(TEXTS):
        ids = packed.tokens_N[starts[index] : starts[index + 1]].tolist()
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.decode(ids[1:-1]) == text
        assert packed.bytes_N[starts[index] : starts[index + 1]].sum() == len(text.encode())
    assert counts["bytes"] == sum(len(text.encode()) for text in TEXTS) == packed.target_bytes()
    assert counts["documents"] == counts["bos_tokens"] == counts["eos_tokens"] == len(TEXTS)
    assert counts["unknown_tokens"] == 0


def test_bytes_of_a_char_by_hand() -> None:
    text = "é漢a"
    assert token_bytes(text, [(0, 1), (1, 2), (2, 3)]).tolist() == [0, 2, 3, 1, 0]
    assert token_bytes("a b ", [(0, 1), (2, 3)]).tolist() == [0, 1, 3, 0]
    assert token_bytes("", []).tolist() == [0, 0]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.randoms())
def test_any_offsets_share_out_all_bytes(text: str, draw) -> None:
    text = text.encode("utf-8", "ignore").decode()
    cuts = sorted(draw.randrange(len(text) + 1) for _ in range(3)) if text else []
    offsets = list(zip([0, *cuts], [*cuts, len(text)], strict=True)) if text else []
    assert token_bytes(text, offsets).sum() == len(text.encode())


def test_char_tokenizer_counts_what_it_does_not_know() -> None:
    train = datasets.Dataset.from_dict({"text": ["aaabbc"]})
    tokenizer = get_tokenizer(
        TokenizerConfig(vocab_size=6, type="char"), ModelConfig(), lambda: text_batches(train), "abc"
    )
    assert len(tokenizer) == 6  # four special tokens, a and b
    _, counts = tokenize(train, tokenizer, 4, "abc", "train")
    assert counts["unknown_tokens"] == 1


def test_the_same_texts_give_the_same_tokenizer_from_cache_or_not(documents, monkeypatch, tmp_path) -> None:
    config = TokenizerConfig(vocab_size=300)
    first = tokenizer_hash(get_tokenizer(config, ModelConfig(), lambda: text_batches(documents), "same"))
    assert tokenizer_hash(get_tokenizer(config, ModelConfig(), lambda: text_batches(documents), "same")) == first
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path))
    assert tokenizer_hash(get_tokenizer(config, ModelConfig(), lambda: text_batches(documents), "same")) == first


@pytest.mark.parametrize("bos_equals_eos", [True, False])
def test_a_loaded_tokenizer_with_or_without_bos(bos_equals_eos: bool, documents, tmp_path) -> None:
    own = get_tokenizer(TokenizerConfig(vocab_size=300), ModelConfig(), lambda: text_batches(documents), "own")
    own.bos_token = own.eos_token if bos_equals_eos else None
    own.save_pretrained(tmp_path / "saved")
    loaded = get_tokenizer(
        TokenizerConfig(name=str(tmp_path / "saved")), ModelConfig(), lambda: text_batches(documents), "own"
    )
    packed, counts = tokenize(documents, loaded, 16, "own", "validation")
    assert counts["bos_tokens"] == counts["eos_tokens"] == len(TEXTS)
    # EOS stands where there is no BOS: the first token of a document is predicted, and its bytes count.
    assert (packed.tokens_N[packed.document_starts_D] == loaded.eos_token_id).all()
    assert packed.target_bytes() == counts["bytes"]
    # Every end is supervised, also where pad = eos.
    ends = np.append(packed.document_starts_D[1:], len(packed.tokens_N)) - 1
    labels = np.concatenate([packed.block(index)["shift_labels"] for index in range(len(packed))])
    assert (labels[ends - 1] == loaded.eos_token_id).all()


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (TokenizerConfig(vocab_size=100), ConfigError, "vocab_size is 100; a bpe tokenizer needs at least 259"),
        (TokenizerConfig(), ConfigError, "set tokenizer.vocab_size to train one"),
        (TokenizerConfig(name="./nowhere"), ConfigError, "there is no such folder"),
        (TokenizerConfig(name="user/nothing"), HubError, "cannot be reached.*--tokenizer.name a folder"),
    ],
)
def test_wrong_tokenizers_are_answered(config, error, message, documents) -> None:
    with pytest.raises(error, match=message):
        get_tokenizer(config, ModelConfig(), lambda: text_batches(documents), "wrong")


def test_a_tokenizer_without_eos_is_refused(documents, tmp_path) -> None:
    own = get_tokenizer(TokenizerConfig(vocab_size=300), ModelConfig(), lambda: text_batches(documents), "own")
    own.eos_token = None
    own.save_pretrained(tmp_path / "saved")
    with pytest.raises(ConfigError, match=r"has no EOS \(or SEP\) token"):
        get_tokenizer(
            TokenizerConfig(name=str(tmp_path / "saved")), ModelConfig(), lambda: text_batches(documents), "own"
        )


def test_special_tokens_spelt_in_a_text_are_text(documents) -> None:
    own = get_tokenizer(TokenizerConfig(vocab_size=300), ModelConfig(), lambda: text_batches(documents), "own")
    spelt = datasets.Dataset.from_dict({"text": ["before <|eos|> after <|bos|>", "<|pad|>"]})
    packed, counts = tokenize(spelt, own, 8, "spelt", "validation")
    assert counts["eos_tokens"] == counts["bos_tokens"] == 2
    ids = packed.tokens_N[1 : packed.document_starts_D[1] - 1].tolist()
    assert own.decode(ids) == "before <|eos|> after <|bos|>"
    assert packed.target_bytes() == len("before <|eos|> after <|bos|>") + len("<|pad|>")


def test_an_array_written_in_pieces_is_the_file_of_the_whole(tmp_path: Path) -> None:
    pieces = [np.arange(7, dtype=np.int32), np.array([], dtype=np.int32), np.arange(5_000, dtype=np.int32)]
    with ArrayWriter(tmp_path / "pieces.npy", np.int32) as array:
        for piece in pieces:
            array.append(piece)
    np.save(tmp_path / "whole.npy", np.concatenate(pieces))
    assert (tmp_path / "pieces.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert array.length == 5_007
