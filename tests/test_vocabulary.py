"""Tables that grow with the tokenizer, for every supported encoder and two decoders; what new tokens do to text."""

import pytest
import torch
from architectures import ENCODERS, FewTokens, build
from conftest import sentences

from pipelines.data.new_tokens import add_new_tokens
from pipelines.data.tokenizer_training import MASK, train_tokenizer
from pipelines.errors import ConfigError
from pipelines.models.cost import count_parameters, training_flops_per_token
from pipelines.models.vocabulary import resize_embeddings, vocabulary_head


class MoreTokens(FewTokens):
    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(70)}


@pytest.mark.parametrize("model_type", [*ENCODERS, "gpt2", "llama"])
def test_new_rows_are_the_mean_of_the_pieces_and_nothing_else_changes(model_type: str, tmp_path) -> None:
    """Logits of a new token are the mean of its pieces' logits: table and bias alike."""
    model = build(model_type).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    ids = torch.arange(4, 12)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        resize_embeddings(model, MoreTokens(), {token: [5, 6, 9] for token in range(64, 70)})
        after = model(input_ids=ids).logits
    assert after.shape[-1] == model.config.vocab_size == 70
    torch.testing.assert_close(after[..., :64], before, atol=1e-5, rtol=1e-5)
    for token in range(64, 70):
        torch.testing.assert_close(after[..., token], before[..., [5, 6, 9]].mean(-1), atol=1e-4, rtol=1e-4)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        again = type(model).from_pretrained(tmp_path).eval()(input_ids=ids).logits
    torch.testing.assert_close(again, after, atol=1e-5, rtol=1e-5)


def test_a_head_share_leaves_out_rows_of_the_vocabulary() -> None:
    """DeBERTa's logits come from the input table: transformers names another layer as its head."""
    for model_type in ("bert", "deberta-v2", "modernbert"):
        model = build(model_type)
        whole, part = (training_flops_per_token(model, 16, share) for share in (1.0, 0.25))
        table = model.get_input_embeddings().weight.numel()
        assert whole - part == pytest.approx(3 * 2 * table * 0.75), model_type
        assert count_parameters(model)["embedding"] == table
    assert vocabulary_head(build("deberta-v2")) is None
    assert vocabulary_head(build("bert")) is not None


def test_a_checkpoint_of_deberta_v3_whose_config_does_not_name_its_head(tmp_path) -> None:
    import json

    from pipelines.models.build import build_model
    from pipelines.sections import ModelConfig

    model = build("deberta-v2")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("legacy") is False
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = build_model("masked", ModelConfig(name=str(tmp_path), attn_implementation="eager"), FewTokens(), 64)
    ids = torch.arange(4, 12)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_chosen_words_shorten_the_text_and_leave_it_as_it_is(kind: str) -> None:
    texts = [f"{text} The tokamak holds a plasmoid; tokamaks hold plasmoids." for text in sentences(40)]
    tokenizer = train_tokenizer([sentences(60, seed=1)], kind, 320, [MASK])
    before = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts}
    shown = {text: tokenizer.decode(ids) for text, ids in before.items()}
    added = add_new_tokens(tokenizer, 3, [texts])
    assert len(added) == 3 and min(added) == len(tokenizer) - 3
    after = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts}
    assert sum(map(len, after.values())) < 0.9 * sum(map(len, before.values()))
    if kind == "bpe":
        assert all(tokenizer.decode(ids) == text for text, ids in after.items())
    assert all(len(pieces) > 1 for pieces in added.values()) or kind == "wordpiece"
    assert set(shown) == set(after)


def test_words_that_cannot_be_added() -> None:
    tokenizer = train_tokenizer([sentences(60)], "bpe", 400, [MASK])
    with pytest.raises(ConfigError, match="'The'|'the'.*one token of this tokenizer already"):
        add_new_tokens(tokenizer, ["the"], [])
    with pytest.raises(ConfigError, match=r"tokenizer.new_tokens is 5,000, but only"):
        add_new_tokens(tokenizer, 5_000, [sentences(10)])


def test_a_tokenizer_that_would_not_use_them() -> None:
    """The blank that SentencePiece tokenizers put before every word keeps an added one from matching whole."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = [(piece, -1.0) for piece in ("<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz.")]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    with pytest.raises(ConfigError, match="would not use it or would change the text"):
        add_new_tokens(tokenizer, ["tokamak"], [])


def test_a_checkpoint_without_a_head_gets_a_new_one_only_if_asked(tmp_path) -> None:
    from pipelines.models.build import build_model
    from pipelines.sections import ModelConfig

    body = build("bert").bert
    body.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"lacks weights of a masked language model.*--model.new_head true"):
        build_model("masked", ModelConfig(name=str(tmp_path)), FewTokens(), 64)
    model = build_model("masked", ModelConfig(name=str(tmp_path), new_head=True), FewTokens(), 64)
    torch.testing.assert_close(model.bert.encoder.state_dict(), body.encoder.state_dict())
