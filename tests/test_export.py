"""ONNX graphs: the outputs of the model for batches of any shape, or a message and no file."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from pipelines.errors import CheckpointError, ConfigError
from pipelines.publishing import export
from pipelines.publishing.export import TOLERANCE, check_export, export_onnx

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SHORT = {"vocab_size": 64, "max_position_embeddings": 32, "initializer_range": 0.3, "pad_token_id": 0}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
MODERNBERT = SIZES | SHORT | ENDS | {"cls_token_id": 1, "sep_token_id": 2, "num_hidden_layers": 3, "local_attention": 8}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "vocab_size": 64}
IDS, IDS_AND_TYPES = ["input_ids", "attention_mask"], ["input_ids", "attention_mask", "token_type_ids"]
KINDS = (
    ("BertForSequenceClassification", SIZES | SHORT | {"num_labels": 3}, IDS_AND_TYPES, ["logits"]),
    ("BertForTokenClassification", SIZES | SHORT | {"num_labels": 3}, IDS, ["logits"]),
    ("BertForQuestionAnswering", SIZES | SHORT, IDS_AND_TYPES, ["start_logits", "end_logits"]),
    ("BertForMultipleChoice", SIZES | SHORT, IDS, ["logits"]),
    ("BertModel", SIZES | SHORT, IDS, ["last_hidden_state", "pooler_output"]),
    ("ModernBertForMaskedLM", MODERNBERT, IDS, ["logits"]),
    ("LlamaForCausalLM", SIZES | SHORT | ENDS, IDS, ["logits"]),
)


def saved(folder: Path, kind: str, settings: dict[str, Any], inputs: list[str]) -> Path:
    """A model folder with random weights and a tokenizer of 64 words."""
    torch.manual_seed(0)
    model_class = getattr(transformers, kind)
    model_class(model_class.config_class(**settings)).save_pretrained(folder)
    words = {word: place for place, word in enumerate(["[PAD]", "[BOS]", "[EOS]", *map(str, range(61))])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[PAD]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", model_input_names=inputs).save_pretrained(
        folder
    )
    return folder


@pytest.mark.parametrize(("kind", "settings", "inputs", "outputs"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_graph_computes_what_the_model_does(
    tmp_path: Path,
    kind: str,
    settings: dict[str, Any],
    inputs: list[str],
    outputs: list[str],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, target = saved(tmp_path / "model", kind, settings, inputs), tmp_path / "made" / "onnx"
    assert export_onnx(folder, target) <= 1e-5 < TOLERANCE  # 3e-7 seen
    assert capsys.readouterr().out == ""
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    assert [path.name for path in target.iterdir()] == ["model.onnx"]
    assert [path.name for path in target.parent.iterdir()] == ["onnx"]
    content = (target / "model.onnx").read_bytes()
    for place in (transformers.__file__, torch.__file__, str(tmp_path)):
        assert str(Path(place).parent).encode() not in content

    session = onnxruntime.InferenceSession(target / "model.onnx", providers=["CPUExecutionProvider"])
    assert [put.name for put in session.get_inputs()] == inputs
    assert [output.name for output in session.get_outputs()] == outputs
    axes = ["batch", "choices", "sequence"] if kind.endswith("Choice") else ["batch", "sequence"]
    assert all(put.shape == axes for put in session.get_inputs())
    assert all(output.shape[0] == "batch" for output in session.get_outputs())

    model = getattr(transformers, kind).from_pretrained(folder).eval()
    for size in ((1, 1), (5, 32)):
        shape = (size[0], 4, size[1]) if kind.endswith("Choice") else size
        ids = torch.randint(3, 64, shape)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        batch = {name: batch[name] for name in inputs}
        with torch.no_grad():
            expected = model(**batch)
        found = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
        for name, array in zip(outputs, found, strict=True):
            torch.testing.assert_close(torch.from_numpy(array), expected[name], atol=1e-4, rtol=1e-4)


def test_a_graph_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "model", *KINDS[0][:3])

    def exported(model: Any, batch: dict[str, torch.Tensor]) -> Any:
        other = copy.deepcopy(model)
        torch.nn.init.constant_(other.classifier.bias, 0.5)
        return made(other, batch)

    made = export._export
    monkeypatch.setattr(export, "_export", exported)
    with pytest.raises(CheckpointError, match=r"outputs differ by 0\.\d+ of their largest value, allowed is 0\.0001"):
        export_onnx(folder, tmp_path / "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_outputs_that_are_not_numbers_are_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_compare", lambda *_: float("nan"))
    monkeypatch.setattr(export, "_export", lambda *_: None)
    monkeypatch.setattr(export, "_save", lambda *_: None)
    with pytest.raises(CheckpointError, match="differ by nan"):
        export_onnx(saved(tmp_path / "model", *KINDS[0][:3]), tmp_path / "onnx")


def test_what_the_exporter_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr(export, "_export", fail)
    folder = saved(tmp_path / "model", *KINDS[0][:3])
    with pytest.raises(CheckpointError, match="BertForSequenceClassification in .*: RuntimeError: no such operator"):
        export_onnx(folder, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_large_weights_lie_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, target = saved(tmp_path / "model", *KINDS[0][:3]), tmp_path / "onnx"
    monkeypatch.setattr(export, "PROTOBUF_LIMIT", 1000)
    export_onnx(folder, target)
    assert {path.name for path in target.iterdir()} == {"model.onnx", "model.onnx.data"}
    onnxruntime.InferenceSession(target / "model.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("T5ForConditionalGeneration", T5, "T5ForConditionalGeneration, .*encoder-decoder writes token by token"),
        ("BertForNextSentencePrediction", SIZES | SHORT, "BertForNextSentencePrediction, .* ends in .*MaskedLM"),
    ],
)
def test_models_of_other_kinds_are_refused(tmp_path: Path, kind: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export_onnx(saved(tmp_path / "model", kind, settings, IDS), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_export()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ConfigError, match=r"needs onnxruntime, not installed here. Run: pip install .*'\.\[onnx\]'"):
        export_onnx(tmp_path, tmp_path / "onnx")
